//! National Semiconductor DP8390D/NS32490D datasheet (July 1995), Novell NE2000 board layout, Realtek RTL8029AS datasheet.

/// Register offsets; the page is selected in the command register.
pub mod register {
    /// Command, on every page.
    pub const CR: u16 = 0x00;

    /// Page 0, read: current local DMA address, low.
    pub const CLDA0: u16 = 0x01;
    /// Page 0, write: page start.
    pub const PSTART: u16 = 0x01;
    /// Page 0, read: current local DMA address, high.
    pub const CLDA1: u16 = 0x02;
    /// Page 0, write: page stop.
    pub const PSTOP: u16 = 0x02;
    /// Page 0: boundary pointer.
    pub const BNRY: u16 = 0x03;
    /// Page 0, read: transmit status.
    pub const TSR: u16 = 0x04;
    /// Page 0, write: transmit page start address.
    pub const TPSR: u16 = 0x04;
    /// Page 0, read: number of collisions.
    pub const NCR: u16 = 0x05;
    /// Page 0, write: transmit byte count, low.
    pub const TBCR0: u16 = 0x05;
    /// Page 0, read: FIFO.
    pub const FIFO: u16 = 0x06;
    /// Page 0, write: transmit byte count, high.
    pub const TBCR1: u16 = 0x06;
    /// Page 0: interrupt status.
    pub const ISR: u16 = 0x07;
    /// Page 0, read: current remote DMA address, low.
    pub const CRDA0: u16 = 0x08;
    /// Page 0, write: remote start address, low.
    pub const RSAR0: u16 = 0x08;
    /// Page 0, read: current remote DMA address, high.
    pub const CRDA1: u16 = 0x09;
    /// Page 0, write: remote start address, high.
    pub const RSAR1: u16 = 0x09;
    /// Page 0, read, RTL8029 only: `P`.
    pub const ID0_8029: u16 = 0x0A;
    /// Page 0, write: remote byte count, low.
    pub const RBCR0: u16 = 0x0A;
    /// Page 0, read, RTL8029 only: `C`.
    pub const ID1_8029: u16 = 0x0B;
    /// Page 0, write: remote byte count, high.
    pub const RBCR1: u16 = 0x0B;
    /// Page 0, read: receive status.
    pub const RSR: u16 = 0x0C;
    /// Page 0, write: receive configuration.
    pub const RCR: u16 = 0x0C;
    /// Page 0, read: frame alignment errors.
    pub const CNTR0: u16 = 0x0D;
    /// Page 0, write: transmit configuration.
    pub const TCR: u16 = 0x0D;
    /// Page 0, read: CRC errors.
    pub const CNTR1: u16 = 0x0E;
    /// Page 0, write: data configuration.
    pub const DCR: u16 = 0x0E;
    /// Page 0, read: missed packets.
    pub const CNTR2: u16 = 0x0F;
    /// Page 0, write: interrupt mask.
    pub const IMR: u16 = 0x0F;

    /// Page 1: physical address, first of six.
    pub const PAR0: u16 = 0x01;
    /// Page 1: physical address, last.
    pub const PAR5: u16 = 0x06;
    /// Page 1: current page.
    pub const CURR: u16 = 0x07;
    /// Page 1: multicast address, first of eight.
    pub const MAR0: u16 = 0x08;

    /// Page 3, RTL8029 only: serial EEPROM command.
    pub const CR_9346: u16 = 0x01;
    /// Page 3, RTL8029 only: configuration 0.
    pub const CONFIG0: u16 = 0x03;
    /// Page 3, RTL8029 only: configuration 2.
    pub const CONFIG2: u16 = 0x05;
    /// Page 3, RTL8029 only: configuration 3.
    pub const CONFIG3: u16 = 0x06;

    /// First port of the board's data register.
    pub const DATA: u16 = 0x10;
    /// First port whose access resets the chip.
    pub const RESET: u16 = 0x18;
}

/// Command register.
pub mod cr {
    /// Stop: software reset.
    pub const STP: u8 = 1 << 0;
    /// Start.
    pub const STA: u8 = 1 << 1;
    /// Transmit packet.
    pub const TXP: u8 = 1 << 2;
    /// Remote DMA command.
    pub const RD: u8 = 7 << 3;
    /// Remote read.
    pub const RD_READ: u8 = 1 << 3;
    /// Remote write.
    pub const RD_WRITE: u8 = 2 << 3;
    /// Send packet: a remote read of the packet at the boundary pointer.
    pub const RD_SEND: u8 = 3 << 3;
    /// Abort or complete remote DMA.
    pub const RD_ABORT: u8 = 4 << 3;
    /// Where the page number begins.
    pub const PAGE_SHIFT: u32 = 6;
}

/// Interrupt status register.
pub mod isr {
    /// Packet received.
    pub const PRX: u8 = 1 << 0;
    /// Packet transmitted.
    pub const PTX: u8 = 1 << 1;
    /// Transmit error.
    pub const TXE: u8 = 1 << 3;
    /// Overwrite warning: the ring was full, and a packet was lost.
    pub const OVW: u8 = 1 << 4;
    /// Remote DMA complete.
    pub const RDC: u8 = 1 << 6;
    /// Reset status; no interrupt comes of it.
    pub const RST: u8 = 1 << 7;
}

/// Data configuration register.
pub mod dcr {
    /// Word transfers.
    pub const WTS: u8 = 1 << 0;
    /// Auto-initialise remote.
    pub const AR: u8 = 1 << 4;
}

/// Transmit configuration register.
pub mod tcr {
    /// Loopback mode; not zero is some loopback.
    pub const LB: u8 = 3 << 1;
}

/// Transmit status register.
pub mod tsr {
    /// Packet transmitted.
    pub const PTX: u8 = 1 << 0;
    /// Transmit aborted.
    pub const ABT: u8 = 1 << 3;
}

/// Receive configuration register.
pub mod rcr {
    /// Accept runt packets.
    pub const AR: u8 = 1 << 1;
    /// Accept broadcast.
    pub const AB: u8 = 1 << 2;
    /// Accept multicast.
    pub const AM: u8 = 1 << 3;
    /// Promiscuous physical.
    pub const PRO: u8 = 1 << 4;
    /// Monitor mode: packets are checked and counted but not stored.
    pub const MON: u8 = 1 << 5;
}

/// Receive status register, and the first byte of a stored packet.
pub mod rsr {
    /// Packet received intact.
    pub const PRX: u8 = 1 << 0;
    /// Missed packet.
    pub const MPA: u8 = 1 << 4;
    /// Multicast or broadcast address.
    pub const PHY: u8 = 1 << 5;
    /// Receiver disabled: monitor mode.
    pub const DIS: u8 = 1 << 6;
}

/// The board's address PROM, each byte twice: address, then `W` twice as the mark of a 16-bit board.
pub const PROM_SIZE: usize = 32;
/// First address of the packet memory.
pub const MEMORY_START: u16 = 0x4000;
/// Bytes of packet memory: 16 KiB.
pub const MEMORY_SIZE: u16 = 0x4000;
/// Bytes in a page of the ring.
pub const PAGE: usize = 256;
/// Status, next page and length in front of a stored packet.
pub const PACKET_HEADER: usize = 4;
/// The check sequence behind a stored packet.
pub const FCS: usize = 4;
