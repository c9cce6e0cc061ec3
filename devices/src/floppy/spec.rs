//! Intel 82077AA datasheet (290166-007), AT mode.

use crate::Time;

/// Register offsets from the controller's base (3F0h or 370h).
pub mod register {
    /// Digital output register.
    pub const DOR: u16 = 2;
    /// Tape drive register.
    pub const TDR: u16 = 3;
    /// Main status register (read), data rate select register (write).
    pub const MSR_DSR: u16 = 4;
    /// Data FIFO.
    pub const FIFO: u16 = 5;
    /// Digital input register (read), configuration control register (write).
    pub const DIR_CCR: u16 = 7;
}

/// Digital output register.
pub mod dor {
    /// Drive select.
    pub const DRIVE_SEL: u8 = 3;
    /// Not reset.
    pub const RESET_N: u8 = 1 << 2;
    /// Lets interrupt and DMA request out.
    pub const DMAGATE_N: u8 = 1 << 3;
    /// Motor enable of drive 0; the others follow.
    pub const MOT_EN0: u8 = 1 << 4;
}

/// Main status register.
pub mod msr {
    /// The host may use the FIFO.
    pub const RQM: u8 = 1 << 7;
    /// The host reads.
    pub const DIO: u8 = 1 << 6;
    /// Execution phase without DMA.
    pub const NON_DMA: u8 = 1 << 5;
    /// A command is in progress.
    pub const CMD_BUSY: u8 = 1 << 4;
}

/// Data rate select register.
pub mod dsr {
    /// Software reset, clears itself.
    pub const SW_RESET: u8 = 1 << 7;
    /// Data rate.
    pub const DRATESEL: u8 = 3;
}

/// Disk change, in the digital input register.
pub const DSKCHG: u8 = 1 << 7;

/// Status register 0.
pub mod st0 {
    /// Abnormal termination.
    pub const ABNORMAL: u8 = 1 << 6;
    /// Invalid command.
    pub const INVALID: u8 = 2 << 6;
    /// Ended by polling: what each drive says after a reset.
    pub const POLLING: u8 = 3 << 6;
    /// Seek end.
    pub const SE: u8 = 1 << 5;
    /// Equipment check: recalibrate found no track 0.
    pub const EC: u8 = 1 << 4;
}

/// Status register 1.
pub mod st1 {
    /// End of cylinder.
    pub const EN: u8 = 1 << 7;
    /// Data error.
    pub const DE: u8 = 1 << 5;
    /// No data: the sector was not found.
    pub const ND: u8 = 1 << 2;
    /// Not writable.
    pub const NW: u8 = 1 << 1;
    /// Missing address mark.
    pub const MA: u8 = 1 << 0;
}

/// Status register 2.
pub mod st2 {
    /// Control mark: the other kind of data address mark.
    pub const CM: u8 = 1 << 6;
    /// Data error in the data field.
    pub const DD: u8 = 1 << 5;
    /// Wrong cylinder.
    pub const WC: u8 = 1 << 4;
    /// Scan hit: equal.
    pub const SH: u8 = 1 << 3;
    /// Scan not satisfied.
    pub const SN: u8 = 1 << 2;
}

/// Status register 3.
pub mod st3 {
    /// Write protected.
    pub const WP: u8 = 1 << 6;
    /// Track 0.
    pub const T0: u8 = 1 << 4;
    /// Bits 5 and 3 are always set.
    pub const FIXED: u8 = 0x28;
}

/// Command codes, in the low five bits of the first byte.
pub mod command {
    /// Read a whole track.
    pub const READ_TRACK: u8 = 0x02;
    /// Specify.
    pub const SPECIFY: u8 = 0x03;
    /// Sense drive status.
    pub const SENSE_DRIVE: u8 = 0x04;
    /// Write data.
    pub const WRITE: u8 = 0x05;
    /// Read data.
    pub const READ: u8 = 0x06;
    /// Recalibrate.
    pub const RECALIBRATE: u8 = 0x07;
    /// Sense interrupt status.
    pub const SENSE_INTERRUPT: u8 = 0x08;
    /// Write deleted data.
    pub const WRITE_DELETED: u8 = 0x09;
    /// Read ID.
    pub const READ_ID: u8 = 0x0A;
    /// Read deleted data.
    pub const READ_DELETED: u8 = 0x0C;
    /// Format track.
    pub const FORMAT: u8 = 0x0D;
    /// Dump registers.
    pub const DUMPREG: u8 = 0x0E;
    /// Seek; with bit 7, relative seek.
    pub const SEEK: u8 = 0x0F;
    /// Version.
    pub const VERSION: u8 = 0x10;
    /// Scan equal.
    pub const SCAN_EQUAL: u8 = 0x11;
    /// Perpendicular mode.
    pub const PERPENDICULAR: u8 = 0x12;
    /// Configure.
    pub const CONFIGURE: u8 = 0x13;
    /// Lock.
    pub const LOCK: u8 = 0x14;
    /// Verify.
    pub const VERIFY: u8 = 0x16;
    /// Scan low or equal.
    pub const SCAN_LOW: u8 = 0x19;
    /// Scan high or equal.
    pub const SCAN_HIGH: u8 = 0x1D;
    /// Multi-track.
    pub const MT: u8 = 1 << 7;
    /// MFM; for relative seek, the direction towards higher cylinders.
    pub const MFM: u8 = 1 << 6;
    /// Skip deleted data.
    pub const SK: u8 = 1 << 5;
}

/// Implied seek, in the configure command's second byte.
pub const EIS: u8 = 1 << 6;
/// Polling disabled, in the same byte.
pub const POLL_DISABLE: u8 = 1 << 4;
/// What the version command answers: an enhanced controller.
pub const ENHANCED: u8 = 0x90;
/// Step pulses a recalibrate gives before it gives up.
pub const RECALIBRATE_STEPS: u8 = 79;

/// From a command's last byte to its first data or result. A real drive turns the disk (up to 200 ms); software
/// only sees that some time passes.
pub const ACCESS: Time = 100_000;
/// From the end of reset to the interrupt.
pub const RESET_TIME: Time = 20_000;

/// How many bytes a command has; `None` if it is invalid.
pub fn command_length(first: u8) -> Option<usize> {
    let code = first & 0x1F;
    Some(match code {
        command::READ
        | command::READ_DELETED
        | command::WRITE
        | command::WRITE_DELETED
        | command::VERIFY
        | command::SCAN_EQUAL
        | command::SCAN_LOW
        | command::SCAN_HIGH => 9,
        command::READ_TRACK if first & command::MT == 0 => 9,
        command::FORMAT if first & 0xA0 == 0 => 6,
        command::CONFIGURE if first == code => 4,
        command::SPECIFY if first == code => 3,
        command::SEEK if first == code || first & 0x80 != 0 => 3,
        command::RECALIBRATE | command::SENSE_DRIVE | command::PERPENDICULAR if first == code => 2,
        command::READ_ID if first & 0xA0 == 0 => 2,
        command::SENSE_INTERRUPT | command::DUMPREG | command::VERSION if first == code => 1,
        command::LOCK if first & 0x60 == 0 => 1,
        _ => return None,
    })
}
