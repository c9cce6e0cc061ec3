//! Realtek RTL8139C(L)+ datasheet (rev 1.6), RTL8139D(L) datasheet, Microchip 93C46 datasheet.

/// Register offsets.
pub mod register {
    /// ID registers 0 to 5: the station address.
    pub const IDR0: u8 = 0x00;
    /// Multicast registers 0 to 7.
    pub const MAR0: u8 = 0x08;
    /// Transmit status of descriptors 0 to 3.
    pub const TSD0: u8 = 0x10;
    /// C+ mode: dump tally counter command and address.
    pub const DTCCR: u8 = 0x10;
    /// Transmit start address of descriptors 0 to 3; in C+ mode the normal priority ring (64 bits).
    pub const TSAD0: u8 = 0x20;
    /// C+ mode: high priority transmit ring (64 bits).
    pub const THPDS: u8 = 0x28;
    /// Receive buffer start address.
    pub const RBSTART: u8 = 0x30;
    /// Early receive byte count.
    pub const ERBCR: u8 = 0x34;
    /// Early receive status.
    pub const ERSR: u8 = 0x36;
    /// Command.
    pub const CR: u8 = 0x37;
    /// Current address of packet read.
    pub const CAPR: u8 = 0x38;
    /// Current buffer address.
    pub const CBR: u8 = 0x3A;
    /// Interrupt mask.
    pub const IMR: u8 = 0x3C;
    /// Interrupt status.
    pub const ISR: u8 = 0x3E;
    /// Transmit configuration.
    pub const TCR: u8 = 0x40;
    /// Receive configuration.
    pub const RCR: u8 = 0x44;
    /// Timer count.
    pub const TCTR: u8 = 0x48;
    /// Missed packet counter.
    pub const MPC: u8 = 0x4C;
    /// 93C46 command.
    pub const CR_9346: u8 = 0x50;
    /// Configuration 0.
    pub const CONFIG0: u8 = 0x51;
    /// Configuration 1.
    pub const CONFIG1: u8 = 0x52;
    /// Timer interrupt.
    pub const TIMER_INT: u8 = 0x54;
    /// Media status.
    pub const MSR: u8 = 0x58;
    /// Configuration 3.
    pub const CONFIG3: u8 = 0x59;
    /// Configuration 4.
    pub const CONFIG4: u8 = 0x5A;
    /// Multiple interrupt select.
    pub const MULINT: u8 = 0x5C;
    /// PCI revision.
    pub const RERID: u8 = 0x5E;
    /// Transmit status of all descriptors.
    pub const TSAD: u8 = 0x60;
    /// Basic mode control.
    pub const BMCR: u8 = 0x62;
    /// Basic mode status.
    pub const BMSR: u8 = 0x64;
    /// Auto-negotiation advertisement.
    pub const ANAR: u8 = 0x66;
    /// Auto-negotiation link partner.
    pub const ANLPAR: u8 = 0x68;
    /// Auto-negotiation expansion.
    pub const ANER: u8 = 0x6A;
    /// Configuration 5.
    pub const CONFIG5: u8 = 0xD8;
    /// C+ mode: transmit priority polling.
    pub const TPPOLL: u8 = 0xD9;
    /// C+ command.
    pub const CPCR: u8 = 0xE0;
    /// C+ mode: receive descriptor start address (64 bits).
    pub const RDSAR: u8 = 0xE4;
}

/// Command register.
pub mod cr {
    /// Receive buffer empty.
    pub const BUFE: u8 = 1 << 0;
    /// Transmitter enable.
    pub const TE: u8 = 1 << 2;
    /// Receiver enable.
    pub const RE: u8 = 1 << 3;
    /// Reset.
    pub const RST: u8 = 1 << 4;
}

/// Interrupt status and mask.
pub mod isr {
    /// Receive OK.
    pub const ROK: u16 = 1 << 0;
    /// Receive error.
    pub const RER: u16 = 1 << 1;
    /// Transmit OK.
    pub const TOK: u16 = 1 << 2;
    /// Transmit error.
    pub const TER: u16 = 1 << 3;
    /// Receive buffer overflow; in C+ mode receive descriptor unavailable.
    pub const RXOVW: u16 = 1 << 4;
    /// C+ mode: transmit descriptor unavailable.
    pub const TDU: u16 = 1 << 7;
    /// C+ mode: software interrupt.
    pub const SWINT: u16 = 1 << 8;
    /// Timer.
    pub const TIMEOUT: u16 = 1 << 14;
    /// The bits that exist.
    pub const MASK: u16 = 0xE1FF;
}

/// Transmit status of a descriptor.
pub mod tsd {
    /// Bytes to send.
    pub const SIZE: u32 = 0x1FFF;
    /// The descriptor belongs to the guest.
    pub const OWN: u32 = 1 << 13;
    /// Transmit OK.
    pub const TOK: u32 = 1 << 15;
    /// Early transmit threshold.
    pub const ERTXTH: u32 = 0x3F << 16;
    /// Transmit abort.
    pub const TABT: u32 = 1 << 30;
}

/// Transmit configuration register.
pub mod tcr {
    /// The bits that software sets.
    pub const WRITABLE: u32 = 0x0307_07F0;
    /// Loopback.
    pub const LBK: u32 = 3 << 17;
    /// Version of the RTL8139C+.
    pub const HWVERID: u32 = 0x7480_0000;
}

/// Receive configuration register.
pub mod rcr {
    /// Accept all physical destinations.
    pub const AAP: u32 = 1 << 0;
    /// Accept physical match.
    pub const APM: u32 = 1 << 1;
    /// Accept multicast.
    pub const AM: u32 = 1 << 2;
    /// Accept broadcast.
    pub const AB: u32 = 1 << 3;
    /// Packets go on behind the end of the buffer rather than wrap.
    pub const WRAP: u32 = 1 << 7;
    /// Where the code of the buffer's length begins: 8, 16, 32 or 64 KiB.
    pub const RBLEN_SHIFT: u32 = 11;
    /// The bits that exist.
    pub const MASK: u32 = 0x0F03_FFFF;
}

/// Status in front of a packet in the receive buffer.
pub mod rx {
    /// Receive OK.
    pub const ROK: u16 = 1 << 0;
    /// Broadcast address.
    pub const BAR: u16 = 1 << 13;
    /// Physical address matched.
    pub const PAM: u16 = 1 << 14;
    /// Multicast address.
    pub const MAR: u16 = 1 << 15;
}

/// 93C46 command register.
pub mod cr_9346 {
    /// Operating mode: normal, auto-load, programming, configuration write enable.
    pub const EEM: u8 = 3 << 6;
    /// Programming: software drives the EEPROM's pins.
    pub const EEM_PROGRAM: u8 = 2 << 6;
    /// Configuration registers may be written.
    pub const EEM_CONFIG: u8 = 3 << 6;
    /// Auto-load; resets the registers that the EEPROM fills.
    pub const EEM_AUTOLOAD: u8 = 1 << 6;
    /// Chip select.
    pub const EECS: u8 = 1 << 3;
    /// Clock.
    pub const EESK: u8 = 1 << 2;
    /// Data to the EEPROM.
    pub const EEDI: u8 = 1 << 1;
    /// Data from the EEPROM.
    pub const EEDO: u8 = 1 << 0;
}

/// C+ command register.
pub mod cpcr {
    /// Transmit enable.
    pub const CP_TX: u16 = 1 << 0;
    /// Receive enable.
    pub const CP_RX: u16 = 1 << 1;
    /// Receive checksum offload.
    pub const RX_CHKSUM: u16 = 1 << 5;
    /// Receive VLAN de-tagging.
    pub const RX_VLAN: u16 = 1 << 6;
    /// The bits that exist.
    pub const MASK: u16 = 0x007F;
}

/// Transmit polling register.
pub mod tppoll {
    /// High priority queue.
    pub const HPQ: u8 = 1 << 7;
    /// Normal priority queue.
    pub const NPQ: u8 = 1 << 6;
    /// Forced software interrupt.
    pub const FSWINT: u8 = 1 << 0;
}

/// Dump tally counter command.
pub mod dtccr {
    /// Dump.
    pub const CMD: u32 = 1 << 3;
}

/// First dword of a C+ descriptor.
pub mod opts1 {
    /// The descriptor belongs to the card.
    pub const OWN: u32 = 1 << 31;
    /// Last descriptor of the ring.
    pub const EOR: u32 = 1 << 30;
    /// First segment of a packet.
    pub const FS: u32 = 1 << 29;
    /// Last segment of a packet.
    pub const LS: u32 = 1 << 28;
    /// Transmit: large send.
    pub const LGSEN: u32 = 1 << 27;
    /// Transmit: where the largest segment size of a large send begins, 11 bits.
    pub const MSS_SHIFT: u32 = 16;
    /// Transmit: IP checksum offload.
    pub const IPCS: u32 = 1 << 18;
    /// Transmit: UDP checksum offload.
    pub const UDPCS: u32 = 1 << 17;
    /// Transmit: TCP checksum offload.
    pub const TCPCS: u32 = 1 << 16;
    /// Transmit: bytes in the buffer.
    pub const TX_LENGTH: u32 = 0xFFFF;
    /// Receive: bytes in the buffer, or in the packet.
    pub const RX_LENGTH: u32 = 0x1FFF;
    /// Receive: multicast address.
    pub const MAR: u32 = 1 << 27;
    /// Receive: physical address matched.
    pub const PAM: u32 = 1 << 26;
    /// Receive: broadcast address.
    pub const BAR: u32 = 1 << 25;
    /// Receive: where the protocol begins (0 other, 1 TCP, 2 UDP, 3 IP).
    pub const PID_SHIFT: u32 = 16;
    /// Receive: the IP checksum is wrong.
    pub const IPF: u32 = 1 << 15;
    /// Receive: the UDP checksum is wrong.
    pub const UDPF: u32 = 1 << 14;
    /// Receive: the TCP checksum is wrong.
    pub const TCPF: u32 = 1 << 13;
}

/// Second dword of a C+ descriptor.
pub mod opts2 {
    /// Transmit: a VLAN tag is to be inserted.
    pub const TAGC: u32 = 1 << 17;
    /// Receive: a VLAN tag was taken out.
    pub const TAVA: u32 = 1 << 16;
}

/// Descriptors in a C+ ring at most.
pub const RING_MAX: u32 = 64;
/// Bytes of registers.
pub const REGISTERS: u16 = 0x100;
/// The check sequence behind a received packet.
pub const FCS: usize = 4;
