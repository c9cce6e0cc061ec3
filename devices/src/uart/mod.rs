//! 16550A serial port.
//!
//! The far end of the cable is two byte queues: [`Uart::push_rx`] puts bytes on the line, [`Uart::drain_tx`]
//! takes what was sent. By default bytes move as fast as the guest handles them ([`Pacing::Free`]); interrupts
//! and status follow the datasheet either way.

pub mod spec;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::clock::{SECOND, earliest};
use crate::{BytePorts, IrqLine, Time, Timed};
use spec::{CRYSTAL_HZ, FIFO_SIZE, TRIGGER, fcr, ier, iir, lcr, lsr, mcr, msr, register};

/// Bytes that may wait on the line for the guest to take them.
const LINE_CAPACITY: usize = 1 << 16;

/// How fast bytes move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// As fast as the guest reads and writes.
    Free,
    /// One character in the time the divisor latch and line control say.
    Baud,
}

/// The modem lines driven by the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModemInputs {
    /// Clear to send.
    pub cts: bool,
    /// Data set ready.
    pub dsr: bool,
    /// Ring indicator.
    pub ri: bool,
    /// Data carrier detect.
    pub dcd: bool,
}

impl ModemInputs {
    /// A null-modem cable with a terminal switched on at the other end.
    pub const CONNECTED: Self = Self { cts: true, dsr: true, ri: false, dcd: true };

    fn bits(self) -> u8 {
        let bit = |on, bit| if on { bit } else { 0 };
        bit(self.cts, msr::CTS) | bit(self.dsr, msr::DSR) | bit(self.ri, msr::RI) | bit(self.dcd, msr::DCD)
    }
}

/// A received character with its error bits (PE, FE, BI of LSR).
type Received = (u8, u8);

/// A 16550A; it decodes the low three bits of the port.
#[derive(Debug)]
pub struct Uart {
    // Wiring.
    irq: IrqLine,
    inputs: ModemInputs,
    pacing: Pacing,
    /// Bytes on the line that have not reached the chip.
    line: VecDeque<Received>,
    sent: Vec<u8>,
    // Volatile state.
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    /// Delta bits only; the lines are computed.
    msr_deltas: u8,
    scr: u8,
    divisor: u16,
    overrun: bool,
    /// Error bits that the character at the top showed, kept until LSR is read.
    errors: u8,
    /// Whether the character at the top of the FIFO has shown its error bits.
    top_shown: bool,
    rx: VecDeque<Received>,
    tx: VecDeque<u8>,
    /// The transmitter shift register and when it empties.
    shifting: Option<(u8, Time)>,
    /// The THRE interrupt waits to be identified.
    thre_pending: bool,
    timeout_pending: bool,
    /// When four character times without traffic are over.
    timeout_at: Option<Time>,
    /// When the next character can have arrived (paced only).
    next_rx: Time,
}

impl Uart {
    /// A UART as after master reset, with a terminal connected and unpaced.
    pub fn new(irq: IrqLine) -> Self {
        Self {
            irq,
            inputs: ModemInputs::CONNECTED,
            pacing: Pacing::Free,
            line: VecDeque::new(),
            sent: Vec::new(),
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            msr_deltas: 0,
            scr: 0,
            divisor: 12,
            overrun: false,
            errors: 0,
            top_shown: false,
            rx: VecDeque::new(),
            tx: VecDeque::new(),
            shifting: None,
            thre_pending: false,
            timeout_pending: false,
            timeout_at: None,
            next_rx: 0,
        }
    }

    /// The MR pin. What is on the line or already sent is not the chip's and stays.
    pub fn reset(&mut self) {
        let fresh = Self::new(self.irq.clone());
        let line = std::mem::take(&mut self.line);
        let sent = std::mem::take(&mut self.sent);
        *self = Self { inputs: self.inputs, pacing: self.pacing, line, sent, ..fresh };
        self.irq.set_level(false);
    }

    /// Puts bytes on the receive line; how many of them it had room for.
    pub fn push_rx(&mut self, now: Time, bytes: &[u8]) -> usize {
        let accepted = bytes.len().min(LINE_CAPACITY - self.line.len().min(LINE_CAPACITY));
        self.line.extend(bytes[..accepted].iter().map(|&byte| (byte, 0)));
        self.advance(now);
        accepted
    }

    /// Puts one character with line errors (PE, FE, BI of LSR) on the line; whether there was room.
    pub fn push_rx_error(&mut self, now: Time, byte: u8, errors: u8) -> bool {
        let room = self.line.len() < LINE_CAPACITY;
        if room {
            self.line.push_back((byte, errors & lsr::CHARACTER));
            self.advance(now);
        }
        room
    }

    /// Bytes pushed that the guest has not read.
    pub fn pending_rx(&self) -> usize {
        self.line.len() + self.rx.len()
    }

    /// Takes everything sent since the last call.
    pub fn drain_tx(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    /// Whether the guest shows that it listens: it asserts RTS, or wants receive interrupts.
    pub fn receiver_ready(&self) -> bool {
        self.mcr & mcr::RTS != 0 || self.ier & ier::ERBFI != 0
    }

    /// The levels the guest drives on DTR and RTS (both inactive in loopback mode).
    pub fn modem_outputs(&self) -> (bool, bool) {
        let out = self.external_mcr();
        (out & mcr::DTR != 0, out & mcr::RTS != 0)
    }

    /// Whether the guest sends a break.
    pub fn sends_break(&self) -> bool {
        self.lcr & lcr::BREAK != 0 && self.mcr & mcr::LOOP == 0
    }

    /// Changes the modem lines driven by the far end.
    pub fn set_modem(&mut self, now: Time, inputs: ModemInputs) {
        self.advance(now);
        let before = self.modem_lines();
        self.inputs = inputs;
        self.note_modem_change(before);
        self.update_irq();
    }

    /// Chooses how fast bytes move.
    pub fn set_pacing(&mut self, now: Time, pacing: Pacing) {
        self.pacing = pacing;
        self.next_rx = now;
        self.advance(now);
    }

    /// Time of one character on the line, start and stop bits included.
    pub fn character_time(&self) -> Time {
        let data = u64::from(self.lcr & lcr::WLS) + 5;
        let parity = u64::from(self.lcr & lcr::PEN != 0);
        let stop_halves = match (self.lcr & lcr::STB != 0, data) {
            (false, _) => 2,
            (true, 5) => 3,
            (true, _) => 4,
        };
        let half_bits = 2 * (1 + data + parity) + stop_halves;
        let divisor = u64::from(self.divisor.max(1));
        (u128::from(half_bits * 8 * divisor) * u128::from(SECOND) / u128::from(CRYSTAL_HZ)) as Time
    }

    fn external_mcr(&self) -> u8 {
        if self.mcr & mcr::LOOP != 0 { 0 } else { self.mcr }
    }

    fn modem_lines(&self) -> u8 {
        if self.mcr & mcr::LOOP == 0 {
            return self.inputs.bits();
        }
        ModemInputs {
            cts: self.mcr & mcr::RTS != 0,
            dsr: self.mcr & mcr::DTR != 0,
            ri: self.mcr & mcr::OUT1 != 0,
            dcd: self.mcr & mcr::OUT2 != 0,
        }
        .bits()
    }

    fn note_modem_change(&mut self, before: u8) {
        let after = self.modem_lines();
        let changed = before ^ after;
        // The ring indicator counts only when it ends.
        let deltas = changed & !msr::RI | before & !after & msr::RI;
        self.msr_deltas |= (deltas & msr::LINES) >> 4;
    }

    fn fifos(&self) -> bool {
        self.fcr & fcr::ENABLE != 0
    }

    fn depth(&self) -> usize {
        if self.fifos() { FIFO_SIZE } else { 1 }
    }

    fn trigger(&self) -> usize {
        if self.fifos() { TRIGGER[usize::from(self.fcr >> fcr::TRIGGER_SHIFT)] } else { 1 }
    }

    fn word_mask(&self) -> u8 {
        0xFF >> (3 - (self.lcr & lcr::WLS))
    }

    /// A character arrives in the receiver shift register.
    fn receive(&mut self, now: Time, (byte, errors): Received) {
        let received = (byte & self.word_mask(), errors);
        if self.rx.len() < self.depth() {
            self.rx.push_back(received);
        } else {
            self.overrun = true;
            if !self.fifos() {
                // Without FIFOs the new character replaces the old one; with them the shift register is lost.
                self.rx.clear();
                self.rx.push_back(received);
                self.top_shown = false;
            }
        }
        self.restart_timeout(now);
        self.show_top();
    }

    /// The error bits of the character at the top appear in LSR when it gets there.
    fn show_top(&mut self) {
        if let (false, Some(&(_, errors))) = (self.top_shown, self.rx.front()) {
            self.errors |= errors;
            self.top_shown = true;
        }
    }

    fn restart_timeout(&mut self, now: Time) {
        self.timeout_pending = false;
        self.timeout_at = (self.fifos() && !self.rx.is_empty()).then(|| now.saturating_add(4 * self.character_time()));
    }

    /// Moves characters from the line into the receiver as far as there is room and time.
    fn refill(&mut self, now: Time) {
        if self.mcr & mcr::LOOP != 0 {
            return;
        }
        while self.rx.len() < self.depth() && (self.pacing == Pacing::Free || self.next_rx <= now) {
            let Some(received) = self.line.pop_front() else { break };
            let arrival = if self.pacing == Pacing::Free { now } else { self.next_rx };
            self.receive(arrival, received);
            self.next_rx = arrival.saturating_add(self.character_time());
        }
        if self.line.is_empty() && self.next_rx < now {
            self.next_rx = now;
        }
    }

    fn emit(&mut self, now: Time, byte: u8) {
        let byte = byte & self.word_mask();
        if self.mcr & mcr::LOOP != 0 {
            self.receive(now, (byte, 0));
        } else {
            self.sent.push(byte);
        }
    }

    /// Runs the transmitter up to `now`.
    fn transmit(&mut self, now: Time) {
        loop {
            let mut start = now;
            if let Some((byte, done)) = self.shifting {
                if done > now && self.pacing == Pacing::Baud {
                    return;
                }
                start = done.min(now);
                self.shifting = None;
                self.emit(start, byte);
            }
            let Some(byte) = self.tx.pop_front() else { return };
            let length = if self.pacing == Pacing::Free { 0 } else { self.character_time() };
            self.shifting = Some((byte, start.saturating_add(length)));
            if self.tx.is_empty() {
                self.thre_pending = true;
            }
        }
    }

    fn line_status(&self) -> u8 {
        let bit = |on, bit| if on { bit } else { 0 };
        let queued_error = self.fifos() && (self.errors != 0 || self.rx.iter().any(|&(_, errors)| errors != 0));
        bit(!self.rx.is_empty(), lsr::DR)
            | bit(self.overrun, lsr::OE)
            | self.errors
            | bit(self.tx.is_empty(), lsr::THRE)
            | bit(self.tx.is_empty() && self.shifting.is_none(), lsr::TEMT)
            | bit(queued_error, lsr::FIFO_ERROR)
    }

    /// The enabled interrupt of highest priority.
    fn identify(&self) -> u8 {
        let enabled = |bit| self.ier & bit != 0;
        if enabled(ier::ELSI) && (self.overrun || self.errors != 0) {
            iir::LINE_STATUS
        } else if enabled(ier::ERBFI) && self.rx.len() >= self.trigger() {
            iir::DATA
        } else if enabled(ier::ERBFI) && self.timeout_pending {
            iir::TIMEOUT
        } else if enabled(ier::ETBEI) && self.thre_pending {
            iir::THRE
        } else if enabled(ier::EDSSI) && self.msr_deltas != 0 {
            iir::MODEM
        } else {
            iir::NONE
        }
    }

    fn update_irq(&mut self) {
        // OUT2 opens the gate between INTR and the bus; in loopback mode its pin is inactive.
        let gate = self.external_mcr() & mcr::OUT2 != 0;
        self.irq.set_level(gate && self.identify() != iir::NONE);
    }

    fn clear_receiver(&mut self) {
        self.rx.clear();
        self.top_shown = false;
        self.errors = 0;
        self.timeout_at = None;
        self.timeout_pending = false;
    }

    fn write_fcr(&mut self, value: u8) {
        let toggled = (self.fcr ^ value) & fcr::ENABLE != 0;
        if toggled || value & (fcr::RCVR_RESET | fcr::ENABLE) == fcr::RCVR_RESET | fcr::ENABLE {
            self.clear_receiver();
        }
        if toggled || value & (fcr::XMIT_RESET | fcr::ENABLE) == fcr::XMIT_RESET | fcr::ENABLE {
            if !self.tx.is_empty() {
                self.thre_pending = true;
            }
            self.tx.clear();
        }
        // The other bits can only be programmed while the enable bit is written as 1; the resets clear themselves.
        self.fcr = if value & fcr::ENABLE != 0 { value & !(fcr::RCVR_RESET | fcr::XMIT_RESET) } else { 0 };
    }

    fn write_thr(&mut self, byte: u8) {
        self.thre_pending = false;
        if self.tx.len() == self.depth() {
            // Writing a full transmitter loses the character written before.
            self.tx.pop_back();
        }
        self.tx.push_back(byte);
    }

    fn read_rbr(&mut self, now: Time) -> u8 {
        let byte = self.rx.pop_front().map_or(0, |(byte, _)| byte);
        self.top_shown = false;
        self.show_top();
        self.restart_timeout(now);
        self.refill(now);
        byte
    }

    fn dlab(&self) -> bool {
        self.lcr & lcr::DLAB != 0
    }
}

impl Timed for Uart {
    fn next_event(&self) -> Option<Time> {
        let sending = self.shifting.map(|(_, done)| done);
        let receiving = (!self.line.is_empty() && self.pacing == Pacing::Baud && self.rx.len() < self.depth())
            .then_some(self.next_rx);
        let timeout = if self.timeout_pending || self.ier & ier::ERBFI == 0 { None } else { self.timeout_at };
        earliest(earliest(sending, receiving), timeout)
    }

    fn advance(&mut self, now: Time) {
        self.transmit(now);
        self.refill(now);
        if self.timeout_at.is_some_and(|at| at <= now) {
            self.timeout_at = None;
            self.timeout_pending = true;
        }
        self.update_irq();
    }
}

impl BytePorts for Uart {
    fn read8(&mut self, now: Time, port: u16) -> u8 {
        self.advance(now);
        let value = match port & 7 {
            register::RBR_THR_DLL if self.dlab() => self.divisor as u8,
            register::RBR_THR_DLL => self.read_rbr(now),
            register::IER_DLM if self.dlab() => (self.divisor >> 8) as u8,
            register::IER_DLM => self.ier,
            register::IIR_FCR => {
                let cause = self.identify();
                if cause == iir::THRE {
                    self.thre_pending = false;
                }
                cause | if self.fifos() { iir::FIFOS } else { 0 }
            }
            register::LCR => self.lcr,
            register::MCR => self.mcr,
            register::LSR => {
                let status = self.line_status();
                self.overrun = false;
                self.errors = 0;
                if let Some(top) = self.rx.front_mut() {
                    // The top character's error is shown once; later reads of LSR do not repeat it.
                    top.1 = 0;
                }
                status
            }
            register::MSR => {
                let deltas = std::mem::take(&mut self.msr_deltas);
                self.modem_lines() | deltas
            }
            _ => self.scr,
        };
        self.update_irq();
        value
    }

    fn write8(&mut self, now: Time, port: u16, value: u8) {
        self.advance(now);
        match port & 7 {
            register::RBR_THR_DLL if self.dlab() => self.divisor = self.divisor & 0xFF00 | u16::from(value),
            register::RBR_THR_DLL => self.write_thr(value),
            register::IER_DLM if self.dlab() => self.divisor = self.divisor & 0x00FF | u16::from(value) << 8,
            register::IER_DLM => {
                let value = value & ier::MASK;
                if value & !self.ier & ier::ETBEI != 0 && self.tx.is_empty() {
                    self.thre_pending = true;
                }
                self.ier = value;
            }
            register::IIR_FCR => self.write_fcr(value),
            register::LCR => {
                let starts_break = value & !self.lcr & lcr::BREAK != 0;
                self.lcr = value;
                if starts_break && self.mcr & mcr::LOOP != 0 {
                    self.receive(now, (0, lsr::BI | lsr::FE));
                }
            }
            register::MCR => {
                let before = self.modem_lines();
                self.mcr = value & mcr::MASK;
                self.note_modem_change(before);
            }
            // LSR is for factory tests only, MSR's lines are inputs: writes change nothing here.
            register::LSR | register::MSR => {}
            _ => self.scr = value,
        }
        self.advance(now);
    }
}
