//! PCI Local Bus Specification 2.1, configuration mechanism #1 and the type 00h header.

/// Configuration address register; only whole dwords reach it.
pub const CONFADD: u16 = 0xCF8;
/// Reset control register of the PIIX3, a byte inside the address register.
pub const RC: u16 = 0xCF9;
/// Configuration data register.
pub const CONFDATA: u16 = 0xCFC;
/// Enables configuration cycles.
pub const CONE: u32 = 1 << 31;
/// The bits of the address register that exist.
pub const CONFADD_MASK: u32 = 0x80FF_FFFC;

/// Header offsets.
pub mod header {
    /// Vendor identification.
    pub const VENDOR_ID: u8 = 0x00;
    /// Device identification.
    pub const DEVICE_ID: u8 = 0x02;
    /// Command.
    pub const COMMAND: u8 = 0x04;
    /// Status.
    pub const STATUS: u8 = 0x06;
    /// Revision.
    pub const REVISION_ID: u8 = 0x08;
    /// Class code: programming interface, sub-class, base class.
    pub const CLASS_CODE: u8 = 0x09;
    /// Header type; bit 7 says that there are more functions.
    pub const HEADER_TYPE: u8 = 0x0E;
    /// First base address register.
    pub const BAR0: u8 = 0x10;
    /// Interrupt line.
    pub const INTERRUPT_LINE: u8 = 0x3C;
    /// Interrupt pin.
    pub const INTERRUPT_PIN: u8 = 0x3D;
}

/// Command register bits.
pub mod command {
    /// I/O space.
    pub const IOSE: u16 = 1 << 0;
    /// Memory space.
    pub const MSE: u16 = 1 << 1;
    /// Bus master.
    pub const BME: u16 = 1 << 2;
}

/// Bits of the reset control register.
pub mod rc {
    /// A hard reset, rather than one of the processor only.
    pub const SRST: u8 = 1 << 1;
    /// A 0 to 1 change resets.
    pub const RCPU: u8 = 1 << 2;
}
