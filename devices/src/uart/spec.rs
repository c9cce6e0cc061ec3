//! National Semiconductor PC16550D datasheet (RRD-B30M75, June 1995).

/// Register offsets.
pub mod register {
    /// Receiver buffer (read), transmitter holding (write), divisor latch LS (DLAB).
    pub const RBR_THR_DLL: u16 = 0;
    /// Interrupt enable, divisor latch MS (DLAB).
    pub const IER_DLM: u16 = 1;
    /// Interrupt identification (read), FIFO control (write).
    pub const IIR_FCR: u16 = 2;
    /// Line control.
    pub const LCR: u16 = 3;
    /// Modem control.
    pub const MCR: u16 = 4;
    /// Line status.
    pub const LSR: u16 = 5;
    /// Modem status.
    pub const MSR: u16 = 6;
    /// Scratch.
    pub const SCR: u16 = 7;
}

/// Interrupt enable register.
pub mod ier {
    /// Received data available (and character timeout).
    pub const ERBFI: u8 = 1 << 0;
    /// Transmitter holding register empty.
    pub const ETBEI: u8 = 1 << 1;
    /// Receiver line status.
    pub const ELSI: u8 = 1 << 2;
    /// Modem status.
    pub const EDSSI: u8 = 1 << 3;
    /// The bits that exist.
    pub const MASK: u8 = 0x0F;
}

/// Interrupt identification register.
pub mod iir {
    /// No interrupt pending.
    pub const NONE: u8 = 0x01;
    /// Receiver line status.
    pub const LINE_STATUS: u8 = 0x06;
    /// Received data available.
    pub const DATA: u8 = 0x04;
    /// Character timeout indication.
    pub const TIMEOUT: u8 = 0x0C;
    /// Transmitter holding register empty.
    pub const THRE: u8 = 0x02;
    /// Modem status.
    pub const MODEM: u8 = 0x00;
    /// FIFOs enabled.
    pub const FIFOS: u8 = 0xC0;
}

/// FIFO control register.
pub mod fcr {
    /// FIFO enable.
    pub const ENABLE: u8 = 1 << 0;
    /// Receiver FIFO reset.
    pub const RCVR_RESET: u8 = 1 << 1;
    /// Transmitter FIFO reset.
    pub const XMIT_RESET: u8 = 1 << 2;
    /// Receiver trigger's shift.
    pub const TRIGGER_SHIFT: u8 = 6;
}

/// Line control register.
pub mod lcr {
    /// Word length select.
    pub const WLS: u8 = 3;
    /// Number of stop bits.
    pub const STB: u8 = 1 << 2;
    /// Parity enable.
    pub const PEN: u8 = 1 << 3;
    /// Set break.
    pub const BREAK: u8 = 1 << 6;
    /// Divisor latch access.
    pub const DLAB: u8 = 1 << 7;
}

/// Modem control register.
pub mod mcr {
    /// Data terminal ready.
    pub const DTR: u8 = 1 << 0;
    /// Request to send.
    pub const RTS: u8 = 1 << 1;
    /// Output 1.
    pub const OUT1: u8 = 1 << 2;
    /// Output 2; on a PC it lets the interrupt out.
    pub const OUT2: u8 = 1 << 3;
    /// Local loopback.
    pub const LOOP: u8 = 1 << 4;
    /// The bits that exist.
    pub const MASK: u8 = 0x1F;
}

/// Line status register.
pub mod lsr {
    /// Data ready.
    pub const DR: u8 = 1 << 0;
    /// Overrun error.
    pub const OE: u8 = 1 << 1;
    /// Parity error.
    pub const PE: u8 = 1 << 2;
    /// Framing error.
    pub const FE: u8 = 1 << 3;
    /// Break interrupt.
    pub const BI: u8 = 1 << 4;
    /// Transmitter holding register empty.
    pub const THRE: u8 = 1 << 5;
    /// Transmitter empty.
    pub const TEMT: u8 = 1 << 6;
    /// Error in receiver FIFO.
    pub const FIFO_ERROR: u8 = 1 << 7;
    /// What travels with a character.
    pub const CHARACTER: u8 = PE | FE | BI;
}

/// Modem status register.
pub mod msr {
    /// Delta clear to send.
    pub const DCTS: u8 = 1 << 0;
    /// Delta data set ready.
    pub const DDSR: u8 = 1 << 1;
    /// Trailing edge ring indicator.
    pub const TERI: u8 = 1 << 2;
    /// Delta data carrier detect.
    pub const DDCD: u8 = 1 << 3;
    /// Clear to send.
    pub const CTS: u8 = 1 << 4;
    /// Data set ready.
    pub const DSR: u8 = 1 << 5;
    /// Ring indicator.
    pub const RI: u8 = 1 << 6;
    /// Data carrier detect.
    pub const DCD: u8 = 1 << 7;
    /// The four inputs.
    pub const LINES: u8 = 0xF0;
}

/// Depth of each FIFO.
pub const FIFO_SIZE: usize = 16;
/// Receiver FIFO trigger levels.
pub const TRIGGER: [usize; 4] = [1, 4, 8, 14];
/// Crystal frequency of a PC's UART in Hz; the baud clock is this over 16 times the divisor.
pub const CRYSTAL_HZ: u64 = 1_843_200;
