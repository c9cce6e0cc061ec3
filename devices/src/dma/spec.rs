//! Intel 8237A datasheet (231466-005); page registers and the second controller as in the PC/AT and 82371SB PIIX3.

/// Registers of the first controller, at ports 00h-0Fh; the second has them at C0h-DEh, two ports apart.
pub mod register {
    /// Base of the address and count registers: two for each channel.
    pub const CHANNELS_END: u16 = 7;
    /// Status (read), command (write).
    pub const COMMAND: u16 = 8;
    /// Request.
    pub const REQUEST: u16 = 9;
    /// Single mask bit.
    pub const SINGLE_MASK: u16 = 10;
    /// Mode.
    pub const MODE: u16 = 11;
    /// Clear byte pointer flip-flop.
    pub const CLEAR_POINTER: u16 = 12;
    /// Temporary register (read), master clear (write).
    pub const MASTER_CLEAR: u16 = 13;
    /// Clear mask.
    pub const CLEAR_MASK: u16 = 14;
    /// All mask bits.
    pub const ALL_MASK: u16 = 15;
}

/// Command register.
pub mod command {
    /// Memory to memory.
    pub const MEMORY_TO_MEMORY: u8 = 1 << 0;
    /// Channel 0 address hold.
    pub const ADDRESS_HOLD: u8 = 1 << 1;
    /// Controller disable.
    pub const DISABLE: u8 = 1 << 2;
    /// Rotating priority.
    pub const ROTATING: u8 = 1 << 4;
    /// DREQ sense active low.
    pub const DREQ_LOW: u8 = 1 << 6;
}

/// Mode register.
pub mod mode {
    /// Transfer type, in place.
    pub const TRANSFER: u8 = 3 << 2;
    /// Transfer type: write to memory.
    pub const WRITE: u8 = 1 << 2;
    /// Transfer type: read from memory.
    pub const READ: u8 = 2 << 2;
    /// Autoinitialization.
    pub const AUTO: u8 = 1 << 4;
    /// Address decrement.
    pub const DECREMENT: u8 = 1 << 5;
    /// Mode select, in place.
    pub const SELECT: u8 = 3 << 6;
    /// Mode select: single.
    pub const SINGLE: u8 = 1 << 6;
    /// Mode select: cascade.
    pub const CASCADE: u8 = 3 << 6;
}

/// Which channel each page register from 80h to 8Fh serves; the others are spare storage.
pub const PAGE_CHANNEL: [Option<u8>; 16] = [
    None,
    Some(2),
    Some(3),
    Some(1),
    None,
    None,
    None,
    Some(0),
    None,
    Some(6),
    Some(7),
    Some(5),
    None,
    None,
    None,
    Some(4),
];
