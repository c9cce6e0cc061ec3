//! IBM PS/2 Hardware Interface Technical Reference (1988), "Video Subsystem (Type 1 and 2 VGA)".

use crate::clock::Ratio;

/// The 25.175 MHz dot clock.
pub const CLOCK_25: Ratio = Ratio::new(1007, 40_000);
/// The 28.322 MHz dot clock.
pub const CLOCK_28: Ratio = Ratio::new(14_161, 500_000);

/// Ports.
pub mod port {
    /// CRT controller index, monochrome.
    pub const CRTC_INDEX_MONO: u16 = 0x3B4;
    /// CRT controller data, monochrome.
    pub const CRTC_DATA_MONO: u16 = 0x3B5;
    /// Input status 1 (read), feature control (write), monochrome.
    pub const STATUS_1_MONO: u16 = 0x3BA;
    /// Attribute controller index and data.
    pub const ATTRIBUTE: u16 = 0x3C0;
    /// Attribute controller data, read.
    pub const ATTRIBUTE_READ: u16 = 0x3C1;
    /// Miscellaneous output (write), input status 0 (read).
    pub const MISC_WRITE: u16 = 0x3C2;
    /// Video subsystem enable.
    pub const ENABLE: u16 = 0x3C3;
    /// Sequencer index.
    pub const SEQUENCER_INDEX: u16 = 0x3C4;
    /// Sequencer data.
    pub const SEQUENCER_DATA: u16 = 0x3C5;
    /// PEL mask.
    pub const PEL_MASK: u16 = 0x3C6;
    /// PEL address for reading (write), DAC state (read).
    pub const PEL_READ: u16 = 0x3C7;
    /// PEL address for writing.
    pub const PEL_WRITE: u16 = 0x3C8;
    /// PEL data.
    pub const PEL_DATA: u16 = 0x3C9;
    /// Feature control, read.
    pub const FEATURE_READ: u16 = 0x3CA;
    /// Miscellaneous output, read.
    pub const MISC_READ: u16 = 0x3CC;
    /// Graphics controller index.
    pub const GRAPHICS_INDEX: u16 = 0x3CE;
    /// Graphics controller data.
    pub const GRAPHICS_DATA: u16 = 0x3CF;
    /// CRT controller index, colour.
    pub const CRTC_INDEX: u16 = 0x3D4;
    /// CRT controller data, colour.
    pub const CRTC_DATA: u16 = 0x3D5;
    /// Input status 1 (read), feature control (write), colour.
    pub const STATUS_1: u16 = 0x3DA;
}

/// Miscellaneous output register.
pub mod misc {
    /// CRT controller at 3Dxh rather than 3Bxh.
    pub const IOS: u8 = 1 << 0;
    /// Enable RAM.
    pub const ERAM: u8 = 1 << 1;
    /// Clock select, in place: 0 is 25 MHz, 4 is 28 MHz.
    pub const CS: u8 = 3 << 2;
}

/// Sequencer registers.
pub mod seq {
    /// Clocking mode.
    pub const CLOCKING_MODE: usize = 1;
    /// Map mask.
    pub const MAP_MASK: usize = 2;
    /// Character map select.
    pub const CHARACTER_MAP: usize = 3;
    /// Memory mode.
    pub const MEMORY_MODE: usize = 4;
    /// Clocking mode: characters are 8 dots wide, not 9.
    pub const D89: u8 = 1 << 0;
    /// Clocking mode: dot clock halved.
    pub const DC: u8 = 1 << 3;
    /// Clocking mode: screen off.
    pub const SO: u8 = 1 << 5;
    /// Memory mode: odd/even addressing off.
    pub const OE: u8 = 1 << 2;
    /// Memory mode: chain 4.
    pub const CH4: u8 = 1 << 3;
    /// Bits of registers 0 to 4 that exist.
    pub const MASKS: [u8; 5] = [0x03, 0x3D, 0x0F, 0x3F, 0x0E];
}

/// Graphics controller registers.
pub mod gc {
    /// Set/reset.
    pub const SET_RESET: usize = 0;
    /// Enable set/reset.
    pub const ENABLE_SET_RESET: usize = 1;
    /// Color compare.
    pub const COLOR_COMPARE: usize = 2;
    /// Data rotate and function select.
    pub const DATA_ROTATE: usize = 3;
    /// Read map select.
    pub const READ_MAP: usize = 4;
    /// Graphics mode.
    pub const MODE: usize = 5;
    /// Miscellaneous.
    pub const MISC: usize = 6;
    /// Color don't care.
    pub const COLOR_DONT_CARE: usize = 7;
    /// Bit mask.
    pub const BIT_MASK: usize = 8;
    /// Mode: read type.
    pub const RM: u8 = 1 << 3;
    /// Mode: odd/even for reads.
    pub const OE: u8 = 1 << 4;
    /// Mode: shift register as CGA.
    pub const SR: u8 = 1 << 5;
    /// Mode: 256 colours.
    pub const C256: u8 = 1 << 6;
    /// Miscellaneous: graphics mode.
    pub const GM: u8 = 1 << 0;
    /// Bits of registers 0 to 8 that exist.
    pub const MASKS: [u8; 9] = [0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF];
}

/// CRT controller registers.
pub mod crtc {
    /// Horizontal total, less 5.
    pub const HORIZONTAL_TOTAL: usize = 0x00;
    /// Horizontal display enable end, less 1.
    pub const HORIZONTAL_DISPLAY_END: usize = 0x01;
    /// Vertical total, less 2, low byte.
    pub const VERTICAL_TOTAL: usize = 0x06;
    /// High bits of the vertical registers.
    pub const OVERFLOW: usize = 0x07;
    /// Preset row scan and byte panning.
    pub const PRESET_ROW_SCAN: usize = 0x08;
    /// Maximum scan line, double scanning.
    pub const MAXIMUM_SCAN_LINE: usize = 0x09;
    /// Cursor start.
    pub const CURSOR_START: usize = 0x0A;
    /// Cursor end.
    pub const CURSOR_END: usize = 0x0B;
    /// Start address high.
    pub const START_HIGH: usize = 0x0C;
    /// Start address low.
    pub const START_LOW: usize = 0x0D;
    /// Cursor location high.
    pub const CURSOR_HIGH: usize = 0x0E;
    /// Cursor location low.
    pub const CURSOR_LOW: usize = 0x0F;
    /// Vertical retrace start.
    pub const VERTICAL_RETRACE_START: usize = 0x10;
    /// Vertical retrace end; bit 7 protects registers 0 to 7.
    pub const VERTICAL_RETRACE_END: usize = 0x11;
    /// Vertical display enable end, less 1.
    pub const VERTICAL_DISPLAY_END: usize = 0x12;
    /// Offset of a row, in words of the addressing mode.
    pub const OFFSET: usize = 0x13;
    /// Underline location; bit 6 is doubleword mode.
    pub const UNDERLINE: usize = 0x14;
    /// Mode control.
    pub const MODE_CONTROL: usize = 0x17;
    /// Line compare.
    pub const LINE_COMPARE: usize = 0x18;
    /// How many there are.
    pub const COUNT: usize = 0x19;
    /// Memory latch read-back, selected by the read map.
    pub const LATCH_READ: usize = 0x22;
    /// Attribute flip-flop read-back.
    pub const FLIP_FLOP_READ: usize = 0x24;
    /// Write protection of registers 0 to 7.
    pub const PROTECT: u8 = 1 << 7;
    /// The one bit of the overflow register that stays writable (line compare bit 8).
    pub const OVERFLOW_LC8: u8 = 1 << 4;
    /// Bits of each register that exist.
    pub const MASKS: [u8; COUNT] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0x3F, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xEF, 0xFF,
    ];
}

/// Attribute controller registers.
pub mod attr {
    /// Mode control.
    pub const MODE: usize = 0x10;
    /// Overscan color.
    pub const OVERSCAN: usize = 0x11;
    /// Color plane enable.
    pub const PLANE_ENABLE: usize = 0x12;
    /// Horizontal PEL panning.
    pub const PANNING: usize = 0x13;
    /// Color select.
    pub const COLOR_SELECT: usize = 0x14;
    /// How many there are.
    pub const COUNT: usize = 0x15;
    /// Index: palette address source; 1 shows the picture.
    pub const PAS: u8 = 1 << 5;
    /// Mode: line graphics enable (ninth dot).
    pub const ELG: u8 = 1 << 2;
    /// Mode: blinking rather than bright backgrounds.
    pub const EB: u8 = 1 << 3;
    /// Mode: a line compare match ends panning.
    pub const PP: u8 = 1 << 5;
    /// Mode: colour select gives bits 4 and 5 too.
    pub const P54S: u8 = 1 << 7;
    /// Bits of each register that exist.
    pub const MASKS: [u8; COUNT] = [
        0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0xEF, 0xFF,
        0x3F, 0x0F, 0x0F,
    ];
}

/// Input status 1.
pub mod status1 {
    /// Display enable is off (blanking).
    pub const DE: u8 = 1 << 0;
    /// Vertical retrace.
    pub const VR: u8 = 1 << 3;
    /// The two bits that show two colour lines chosen in the plane enable register.
    pub const DIAGNOSTIC_SHIFT: u8 = 4;
}

/// Bytes that the registers take in memory.
pub const REGISTER_WINDOW: u32 = 0x1000;

/// Offsets in the register window.
pub mod mmio {
    /// Ports 3C0h and following.
    pub const PORTS: u16 = 0x400;
    /// Their end.
    pub const PORTS_END: u16 = 0x420;
    /// The dispi registers, two bytes each.
    pub const DISPI: u16 = 0x500;
    /// Their end.
    pub const DISPI_END: u16 = 0x516;
}

/// The Bochs display interface.
pub mod dispi {
    /// Port of the index register, 16 bits.
    pub const INDEX: u16 = 0x1CE;
    /// Port of the data register, 16 bits.
    pub const DATA: u16 = 0x1CF;
    /// The same on machines that want it aligned.
    pub const DATA_ALIGNED: u16 = 0x1D0;
    /// Oldest version of the interface.
    pub const ID_FIRST: u16 = 0xB0C0;
    /// The version with everything here.
    pub const ID_LAST: u16 = 0xB0C5;
    /// Widest picture.
    pub const MAX_X: u16 = 2560;
    /// Highest picture.
    pub const MAX_Y: u16 = 1600;
    /// Most bits of a pixel.
    pub const MAX_BPP: u16 = 32;
    /// Enable: the mode is shown.
    pub const ENABLED: u16 = 1 << 0;
    /// Enable: resolution and depth registers read as their maxima.
    pub const ENABLE_GETCAPS: u16 = 1 << 1;
    /// Enable: the DAC takes eight bits of each colour.
    pub const ENABLE_8BIT_DAC: u16 = 1 << 5;
    /// Enable: linear frame buffer.
    pub const ENABLE_LFB: u16 = 1 << 6;
    /// Enable: the memory is not cleared.
    pub const ENABLE_NOCLEAR: u16 = 1 << 7;
    /// Bits of the enable register that read back.
    pub const ENABLE_KEPT: u16 = ENABLED | ENABLE_GETCAPS | ENABLE_8BIT_DAC | ENABLE_LFB | ENABLE_NOCLEAR;

    /// Registers by index.
    pub mod index {
        /// Version.
        pub const ID: u16 = 0;
        /// Width in pixels.
        pub const XRES: u16 = 1;
        /// Height in lines.
        pub const YRES: u16 = 2;
        /// Bits of a pixel.
        pub const BPP: u16 = 3;
        /// Enable.
        pub const ENABLE: u16 = 4;
        /// Bank at A0000h, 64 KiB each.
        pub const BANK: u16 = 5;
        /// Pixels from one line to the next.
        pub const VIRT_WIDTH: u16 = 6;
        /// Lines that fit.
        pub const VIRT_HEIGHT: u16 = 7;
        /// First column shown.
        pub const X_OFFSET: u16 = 8;
        /// First line shown.
        pub const Y_OFFSET: u16 = 9;
        /// Memory in units of 64 KiB.
        pub const VIDEO_MEMORY_64K: u16 = 10;
    }
}
