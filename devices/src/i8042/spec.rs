//! IBM PS/2 Hardware Interface Technical Reference (1988), "Keyboard and Auxiliary Device Controller", "Keyboard (101- and 102-Key)", "Mouse".

use crate::Time;

/// Data port.
pub const DATA: u16 = 0x60;
/// Command (write) and status (read) port.
pub const COMMAND: u16 = 0x64;

/// Status register.
pub mod status {
    /// Output buffer full.
    pub const OBF: u8 = 1 << 0;
    /// System flag.
    pub const SYS: u8 = 1 << 2;
    /// The last write was a command.
    pub const A2: u8 = 1 << 3;
    /// Keyboard is not inhibited by the key lock.
    pub const INH: u8 = 1 << 4;
    /// The output buffer holds auxiliary device data.
    pub const MOBF: u8 = 1 << 5;
}

/// Command byte.
pub mod command_byte {
    /// Enable keyboard interrupt.
    pub const INT: u8 = 1 << 0;
    /// Enable auxiliary interrupt.
    pub const INT2: u8 = 1 << 1;
    /// System flag.
    pub const SYS: u8 = 1 << 2;
    /// Disable keyboard interface.
    pub const EN_N: u8 = 1 << 4;
    /// Disable auxiliary interface.
    pub const EN2_N: u8 = 1 << 5;
    /// Translate scan set 2 to 1.
    pub const XLATE: u8 = 1 << 6;
}

/// Output port.
pub mod output_port {
    /// Not reset.
    pub const RESET_N: u8 = 1 << 0;
    /// A20 gate.
    pub const A20: u8 = 1 << 1;
    /// Auxiliary data line.
    pub const AUX_DATA: u8 = 1 << 2;
    /// Auxiliary clock line.
    pub const AUX_CLOCK: u8 = 1 << 3;
    /// Keyboard interrupt.
    pub const IRQ1: u8 = 1 << 4;
    /// Auxiliary interrupt.
    pub const IRQ12: u8 = 1 << 5;
    /// Keyboard clock line.
    pub const KBD_CLOCK: u8 = 1 << 6;
    /// Keyboard data line.
    pub const KBD_DATA: u8 = 1 << 7;
}

/// Input port: not locked, jumper off, RAM jumper, both data lines idle.
pub const INPUT_PORT: u8 = 0xB3;

/// Controller commands.
pub mod command {
    /// Test password installed.
    pub const TEST_PASSWORD: u8 = 0xA4;
    /// Load password.
    pub const LOAD_PASSWORD: u8 = 0xA5;
    /// Enable password.
    pub const ENABLE_PASSWORD: u8 = 0xA6;
    /// Disable auxiliary interface.
    pub const DISABLE_AUX: u8 = 0xA7;
    /// Enable auxiliary interface.
    pub const ENABLE_AUX: u8 = 0xA8;
    /// Auxiliary interface test.
    pub const TEST_AUX: u8 = 0xA9;
    /// Self-test.
    pub const SELF_TEST: u8 = 0xAA;
    /// Keyboard interface test.
    pub const TEST_KBD: u8 = 0xAB;
    /// Disable keyboard interface.
    pub const DISABLE_KBD: u8 = 0xAD;
    /// Enable keyboard interface.
    pub const ENABLE_KBD: u8 = 0xAE;
    /// Read input port.
    pub const READ_INPUT: u8 = 0xC0;
    /// Poll input port low.
    pub const POLL_LOW: u8 = 0xC1;
    /// Poll input port high.
    pub const POLL_HIGH: u8 = 0xC2;
    /// Read output port.
    pub const READ_OUTPUT: u8 = 0xD0;
    /// Write output port.
    pub const WRITE_OUTPUT: u8 = 0xD1;
    /// Write keyboard output buffer.
    pub const WRITE_KBD_BUFFER: u8 = 0xD2;
    /// Write auxiliary output buffer.
    pub const WRITE_AUX_BUFFER: u8 = 0xD3;
    /// Write to auxiliary device.
    pub const WRITE_AUX: u8 = 0xD4;
    /// Disable A20 (later controllers).
    pub const DISABLE_A20: u8 = 0xDD;
    /// Enable A20 (later controllers).
    pub const ENABLE_A20: u8 = 0xDF;
    /// Read test inputs.
    pub const READ_TEST: u8 = 0xE0;
}

/// Self-test passed.
pub const SELF_TEST_PASSED: u8 = 0x55;
/// Password installed.
pub const PASSWORD_INSTALLED: u8 = 0xFA;
/// No password installed.
pub const NO_PASSWORD: u8 = 0xF1;

/// Device answers.
pub mod answer {
    /// Acknowledge.
    pub const ACK: u8 = 0xFA;
    /// Resend.
    pub const RESEND: u8 = 0xFE;
    /// Second invalid byte in a row (mouse).
    pub const ERROR: u8 = 0xFC;
    /// Basic assurance test passed.
    pub const BAT_OK: u8 = 0xAA;
    /// Echo.
    pub const ECHO: u8 = 0xEE;
}

/// One frame on a device's cable: 11 bits at 12.5 kHz.
pub const FRAME: Time = 880_000;
/// How long a device's basic assurance test takes. Real devices need up to 750 ms; nothing depends on the
/// lower end, and firmware waits for this with the processor spinning.
pub const BAT: Time = 20_000_000;
/// Bytes of scan codes a keyboard keeps.
pub const KEY_BUFFER: usize = 16;

/// What the controller makes of a scan set 2 byte when it translates to set 1.
pub const TRANSLATE: [u8; 128] = [
    0xFF, 0x43, 0x41, 0x3F, 0x3D, 0x3B, 0x3C, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3E, 0x0F, 0x29, 0x59, //
    0x65, 0x38, 0x2A, 0x70, 0x1D, 0x10, 0x02, 0x5A, 0x66, 0x71, 0x2C, 0x1F, 0x1E, 0x11, 0x03, 0x5B, //
    0x67, 0x2E, 0x2D, 0x20, 0x12, 0x05, 0x04, 0x5C, 0x68, 0x39, 0x2F, 0x21, 0x14, 0x13, 0x06, 0x5D, //
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5E, 0x6A, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5F, //
    0x6B, 0x33, 0x25, 0x17, 0x18, 0x0B, 0x0A, 0x60, 0x6C, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0C, 0x61, //
    0x6D, 0x73, 0x28, 0x74, 0x1A, 0x0D, 0x62, 0x6E, 0x3A, 0x36, 0x1C, 0x1B, 0x75, 0x2B, 0x63, 0x76, //
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7A, 0x0E, 0x7B, 0x7C, 0x4F, 0x7D, 0x4B, 0x47, 0x7E, 0x7F, 0x6F, //
    0x52, 0x53, 0x50, 0x4C, 0x4D, 0x48, 0x01, 0x45, 0x57, 0x4E, 0x51, 0x4A, 0x37, 0x49, 0x46, 0x54, //
];

/// [`TRANSLATE`] with the codes above 7Fh: F7 and Alt+SysRq have one each, the rest pass.
pub fn translate(code: u8) -> u8 {
    match code {
        0x83 => 0x41,
        0x84 => 0x54,
        _ => TRANSLATE.get(usize::from(code)).copied().unwrap_or(code),
    }
}
