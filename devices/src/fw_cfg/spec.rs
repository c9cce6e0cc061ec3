//! QEMU's firmware configuration device: register layout and selector keys as its specification (docs/specs/fw_cfg)
//! gives them, the keys of PCs as SeaBIOS and U-Boot read them.

/// Selector register, 16 bits, write only.
pub const SELECTOR: u16 = 0x510;
/// Data register, 8 bits, read only.
pub const DATA: u16 = 0x511;
/// First port of the DMA address register, 64 bits, most significant byte first.
pub const DMA_ADDRESS: u16 = 0x514;
/// Last port of the DMA address register: a write that reaches it starts the operation.
pub const DMA_ADDRESS_END: u16 = 0x51B;
/// What the DMA address register reads as.
pub const DMA_SIGNATURE: [u8; 8] = *b"QEMU CFG";
/// What the signature item holds.
pub const SIGNATURE_TEXT: [u8; 4] = *b"QEMU";

/// Selector bit that once chose an item for writing.
pub const WRITE_CHANNEL: u16 = 1 << 14;
/// Longest file name in the directory, with its terminating zero.
pub const NAME_SIZE: usize = 56;

/// Selector keys.
pub mod key {
    /// "QEMU".
    pub const SIGNATURE: u16 = 0x00;
    /// Feature bits.
    pub const ID: u16 = 0x01;
    /// Bytes of RAM below the PCI hole, 64 bits.
    pub const RAM_SIZE: u16 = 0x03;
    /// Processors that are started, 16 bits.
    pub const NB_CPUS: u16 = 0x05;
    /// Whether the firmware shows its boot menu, 16 bits.
    pub const BOOT_MENU: u16 = 0x0E;
    /// One more than the largest APIC number, 16 bits.
    pub const MAX_CPUS: u16 = 0x0F;
    /// The directory of files.
    pub const FILE_DIR: u16 = 0x19;
    /// The first file.
    pub const FILE_FIRST: u16 = 0x20;
    /// PCs: whether interrupt 0 arrives at input 2 of the I/O APIC, 8 bits.
    pub const IRQ0_OVERRIDE: u16 = 0x8002;
}

/// Bits of the item [`key::ID`].
pub mod id {
    /// Selector and data register.
    pub const TRADITIONAL: u32 = 1 << 0;
    /// DMA.
    pub const DMA: u32 = 1 << 1;
}

/// Bits of the control word of a DMA operation.
pub mod dma_control {
    /// Set by the device: the operation failed.
    pub const ERROR: u32 = 1 << 0;
    /// Copy from the item to memory.
    pub const READ: u32 = 1 << 1;
    /// Pass over bytes of the item.
    pub const SKIP: u32 = 1 << 2;
    /// Select the item whose key is in the upper 16 bits first.
    pub const SELECT: u32 = 1 << 3;
    /// Copy from memory to the item.
    pub const WRITE: u32 = 1 << 4;
}
