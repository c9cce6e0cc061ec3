//! ATA/ATAPI-6 (T13/1410D), SFF-8020i for CD-ROM packets, and the bus master registers of the 82371SB PIIX3 datasheet.

/// Command block register offsets (1F0h or 170h).
pub mod register {
    /// Data.
    pub const DATA: u16 = 0;
    /// Error (read), features (write).
    pub const ERROR_FEATURES: u16 = 1;
    /// Sector count; interrupt reason for packets.
    pub const COUNT: u16 = 2;
    /// LBA low, sector number.
    pub const LBA_LOW: u16 = 3;
    /// LBA mid, cylinder low, byte count low.
    pub const LBA_MID: u16 = 4;
    /// LBA high, cylinder high, byte count high.
    pub const LBA_HIGH: u16 = 5;
    /// Device and head.
    pub const DEVICE: u16 = 6;
    /// Status (read), command (write).
    pub const STATUS_COMMAND: u16 = 7;
    /// Alternate status (read), device control (write), in the control block (3F6h or 376h).
    pub const CONTROL: u16 = 6;
    /// Set in the port numbers of the control block only.
    pub const CONTROL_BLOCK: u16 = 0x200;
}

/// Status register.
pub mod status {
    /// Busy.
    pub const BSY: u8 = 1 << 7;
    /// Device ready.
    pub const DRDY: u8 = 1 << 6;
    /// Device fault.
    pub const DF: u8 = 1 << 5;
    /// Seek complete.
    pub const DSC: u8 = 1 << 4;
    /// Data request.
    pub const DRQ: u8 = 1 << 3;
    /// Error; check condition for packets.
    pub const ERR: u8 = 1 << 0;
}

/// Error register.
pub mod error {
    /// Uncorrectable data.
    pub const UNC: u8 = 1 << 6;
    /// Address not found.
    pub const IDNF: u8 = 1 << 4;
    /// Aborted.
    pub const ABRT: u8 = 1 << 2;
    /// What diagnostics say of a healthy device.
    pub const PASSED: u8 = 1;
}

/// Device register.
pub mod device {
    /// LBA rather than CHS addressing.
    pub const LBA: u8 = 1 << 6;
    /// Device 1 selected.
    pub const DEV: u8 = 1 << 4;
    /// Bits that always read as 1.
    pub const OBSOLETE: u8 = 0xA0;
}

/// Device control register.
pub mod control {
    /// High order byte: the earlier contents are read.
    pub const HOB: u8 = 1 << 7;
    /// Software reset.
    pub const SRST: u8 = 1 << 2;
    /// Interrupt disable.
    pub const NIEN: u8 = 1 << 1;
}

/// Commands.
pub mod command {
    /// No operation.
    pub const NOP: u8 = 0x00;
    /// Device reset (packet devices).
    pub const DEVICE_RESET: u8 = 0x08;
    /// Recalibrate; the low four bits do not matter.
    pub const RECALIBRATE: u8 = 0x10;
    /// Read sectors.
    pub const READ: u8 = 0x20;
    /// Read sectors without retries.
    pub const READ_ONCE: u8 = 0x21;
    /// Read sectors, 48-bit.
    pub const READ_EXT: u8 = 0x24;
    /// Read DMA, 48-bit.
    pub const READ_DMA_EXT: u8 = 0x25;
    /// Read native max address, 48-bit.
    pub const READ_NATIVE_MAX_EXT: u8 = 0x27;
    /// Read multiple, 48-bit.
    pub const READ_MULTIPLE_EXT: u8 = 0x29;
    /// Write sectors.
    pub const WRITE: u8 = 0x30;
    /// Write sectors without retries.
    pub const WRITE_ONCE: u8 = 0x31;
    /// Write sectors, 48-bit.
    pub const WRITE_EXT: u8 = 0x34;
    /// Write DMA, 48-bit.
    pub const WRITE_DMA_EXT: u8 = 0x35;
    /// Write multiple, 48-bit.
    pub const WRITE_MULTIPLE_EXT: u8 = 0x39;
    /// Set max address, 48-bit.
    pub const SET_MAX_EXT: u8 = 0x37;
    /// Read verify.
    pub const VERIFY: u8 = 0x40;
    /// Read verify without retries.
    pub const VERIFY_ONCE: u8 = 0x41;
    /// Read verify, 48-bit.
    pub const VERIFY_EXT: u8 = 0x42;
    /// Seek; the low four bits do not matter.
    pub const SEEK: u8 = 0x70;
    /// Execute device diagnostic.
    pub const DIAGNOSTIC: u8 = 0x90;
    /// Initialize device parameters.
    pub const INITIALIZE_PARAMETERS: u8 = 0x91;
    /// Packet.
    pub const PACKET: u8 = 0xA0;
    /// Identify packet device.
    pub const IDENTIFY_PACKET: u8 = 0xA1;
    /// SMART, whose subcommands are in the features register.
    pub const SMART: u8 = 0xB0;
    /// Read multiple.
    pub const READ_MULTIPLE: u8 = 0xC4;
    /// Write multiple.
    pub const WRITE_MULTIPLE: u8 = 0xC5;
    /// Set multiple mode.
    pub const SET_MULTIPLE: u8 = 0xC6;
    /// Read DMA.
    pub const READ_DMA: u8 = 0xC8;
    /// Read DMA without retries.
    pub const READ_DMA_ONCE: u8 = 0xC9;
    /// Write DMA.
    pub const WRITE_DMA: u8 = 0xCA;
    /// Write DMA without retries.
    pub const WRITE_DMA_ONCE: u8 = 0xCB;
    /// Check power mode.
    pub const CHECK_POWER: u8 = 0xE5;
    /// Read buffer.
    pub const READ_BUFFER: u8 = 0xE4;
    /// Write buffer.
    pub const WRITE_BUFFER: u8 = 0xE8;
    /// Flush cache.
    pub const FLUSH: u8 = 0xE7;
    /// Flush cache, 48-bit.
    pub const FLUSH_EXT: u8 = 0xEA;
    /// Identify device.
    pub const IDENTIFY: u8 = 0xEC;
    /// Set features.
    pub const SET_FEATURES: u8 = 0xEF;
    /// Read native max address.
    pub const READ_NATIVE_MAX: u8 = 0xF8;
    /// Set max address.
    pub const SET_MAX: u8 = 0xF9;
}

/// Features register of the PACKET command.
pub mod packet_features {
    /// Data move by DMA.
    pub const DMA: u8 = 1 << 0;
}

/// Interrupt reason, in the count register of packet devices.
pub mod reason {
    /// A command packet rather than data.
    pub const COD: u8 = 1 << 0;
    /// To the host.
    pub const IO: u8 = 1 << 1;
}

/// Packet commands.
pub mod packet {
    /// Test unit ready.
    pub const TEST_UNIT_READY: u8 = 0x00;
    /// Request sense.
    pub const REQUEST_SENSE: u8 = 0x03;
    /// Inquiry.
    pub const INQUIRY: u8 = 0x12;
    /// Start/stop unit.
    pub const START_STOP: u8 = 0x1B;
    /// Prevent/allow medium removal.
    pub const PREVENT_ALLOW: u8 = 0x1E;
    /// Read capacity.
    pub const READ_CAPACITY: u8 = 0x25;
    /// Read (10).
    pub const READ_10: u8 = 0x28;
    /// Seek (10).
    pub const SEEK_10: u8 = 0x2B;
    /// Read subchannel.
    pub const READ_SUBCHANNEL: u8 = 0x42;
    /// Read table of contents.
    pub const READ_TOC: u8 = 0x43;
    /// Read header.
    pub const READ_HEADER: u8 = 0x44;
    /// Get configuration.
    pub const GET_CONFIGURATION: u8 = 0x46;
    /// Get event status notification.
    pub const GET_EVENT_STATUS: u8 = 0x4A;
    /// Read disc information.
    pub const READ_DISC_INFORMATION: u8 = 0x51;
    /// Read track information.
    pub const READ_TRACK_INFORMATION: u8 = 0x52;
    /// Mode select (10).
    pub const MODE_SELECT_10: u8 = 0x55;
    /// Mode sense (10).
    pub const MODE_SENSE_10: u8 = 0x5A;
    /// Read (12).
    pub const READ_12: u8 = 0xA8;
    /// Read CD, by minutes, seconds and frames.
    pub const READ_CD_MSF: u8 = 0xB9;
    /// Set CD speed.
    pub const SET_CD_SPEED: u8 = 0xBB;
    /// Mechanism status.
    pub const MECHANISM_STATUS: u8 = 0xBD;
    /// Read CD.
    pub const READ_CD: u8 = 0xBE;
}

/// Sense: key, additional sense code and qualifier.
pub mod sense {
    /// Sense key, additional sense code, qualifier.
    pub type Sense = [u8; 3];
    /// Nothing to report.
    pub const NONE: Sense = [0, 0, 0];
    /// Medium not present.
    pub const NO_MEDIUM: Sense = [2, 0x3A, 0];
    /// Unrecovered read error.
    pub const READ_ERROR: Sense = [3, 0x11, 0];
    /// Invalid command operation code.
    pub const INVALID_COMMAND: Sense = [5, 0x20, 0];
    /// Logical block address out of range.
    pub const OUT_OF_RANGE: Sense = [5, 0x21, 0];
    /// Invalid field in the packet.
    pub const INVALID_FIELD: Sense = [5, 0x24, 0];
    /// Medium removal prevented.
    pub const REMOVAL_PREVENTED: Sense = [5, 0x53, 2];
    /// The medium may have changed.
    pub const MEDIUM_CHANGED: Sense = [6, 0x28, 0];
    /// Illegal mode for this track.
    pub const ILLEGAL_MODE: Sense = [5, 0x64, 0];
    /// Power on or reset.
    pub const RESET: Sense = [6, 0x29, 0];
}

/// Bus master IDE registers of a channel.
pub mod bus_master {
    /// Command: start.
    pub const START: u8 = 1 << 0;
    /// Command: the device's data goes to memory.
    pub const TO_MEMORY: u8 = 1 << 3;
    /// Status: active.
    pub const ACTIVE: u8 = 1 << 0;
    /// Status: error.
    pub const ERROR: u8 = 1 << 1;
    /// Status: the device interrupted.
    pub const INTERRUPT: u8 = 1 << 2;
    /// Status: the drives can do DMA, for software to note.
    pub const CAPABLE: u8 = 0x60;
    /// End of table, in a region descriptor's second dword.
    pub const END_OF_TABLE: u32 = 1 << 31;
}
