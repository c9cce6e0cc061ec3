//! Intel 8259A datasheet (231468-003) and 82371SB PIIX3 datasheet (290550), sections "Interrupt Controller" and ELCR.

/// Initialization command word 1.
pub mod icw1 {
    /// ICW4 follows.
    pub const IC4: u8 = 1 << 0;
    /// Single chip: no ICW3 follows.
    pub const SNGL: u8 = 1 << 1;
    /// Call address interval of four (8080 mode).
    pub const ADI: u8 = 1 << 2;
    /// Level-triggered mode.
    pub const LTIM: u8 = 1 << 3;
    /// Marks ICW1 at A0 = 0.
    pub const ICW1: u8 = 1 << 4;
}

/// Initialization command word 4.
pub mod icw4 {
    /// 8086 mode.
    pub const UPM: u8 = 1 << 0;
    /// Automatic end of interrupt.
    pub const AEOI: u8 = 1 << 1;
    /// Special fully nested mode.
    pub const SFNM: u8 = 1 << 4;
}

/// Operation command word 2.
pub mod ocw2 {
    /// Rotate.
    pub const R: u8 = 1 << 7;
    /// Specific: the level field counts.
    pub const SL: u8 = 1 << 6;
    /// End of interrupt.
    pub const EOI: u8 = 1 << 5;
    /// The level.
    pub const L: u8 = 7;
}

/// Operation command word 3.
pub mod ocw3 {
    /// Enable special mask mode change.
    pub const ESMM: u8 = 1 << 6;
    /// Special mask mode.
    pub const SMM: u8 = 1 << 5;
    /// Marks OCW3 at A0 = 0.
    pub const OCW3: u8 = 1 << 3;
    /// Poll command.
    pub const P: u8 = 1 << 2;
    /// Read register command.
    pub const RR: u8 = 1 << 1;
    /// Which register: 1 is ISR, 0 is IRR.
    pub const RIS: u8 = 1 << 0;
}

/// Set in a poll byte when a request was there.
pub const POLL_INT: u8 = 1 << 7;

/// Edge/level control register of the first controller; IRQ 0, 1 and 2 stay edge-triggered.
pub const ELCR1: u16 = 0x4D0;
/// Edge/level control register of the second controller; IRQ 8 and 13 stay edge-triggered.
pub const ELCR2: u16 = 0x4D1;
/// Writable bits of ELCR1 and ELCR2.
pub const ELCR_MASK: [u8; 2] = [0xF8, 0xDE];

/// The master input the slave's INT output drives.
pub const CASCADE: u8 = 2;
