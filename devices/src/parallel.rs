//! A parallel port of a PC in its compatible mode (SPP), with a printer or nothing at its cable.
//!
//! IBM, "Technical Reference: Personal Computer AT", parallel adapter; IEEE 1284-1994 for the handshake. The printer takes
//! each byte at once: it is never busy.

use crate::{BytePorts, IrqLine, Time};

/// Status register.
pub mod status {
    /// The printer is not busy (the pin is active low).
    pub const NOT_BUSY: u8 = 1 << 7;
    /// ACK# is high.
    pub const ACK_HIGH: u8 = 1 << 6;
    /// Out of paper.
    pub const PAPER_OUT: u8 = 1 << 5;
    /// The printer is selected.
    pub const SELECTED: u8 = 1 << 4;
    /// ERROR# is high.
    pub const NO_ERROR: u8 = 1 << 3;
    /// Bits without a pin.
    pub const UNUSED: u8 = 7;
}

/// Control register.
pub mod control {
    /// STROBE# is low.
    pub const STROBE: u8 = 1 << 0;
    /// INIT# is high: the printer works.
    pub const NOT_INIT: u8 = 1 << 2;
    /// The interrupt line is driven.
    pub const INTERRUPT: u8 = 1 << 4;
    /// The data lines are inputs.
    pub const INPUT: u8 = 1 << 5;
    /// Bits that do not exist.
    pub const UNUSED: u8 = 3 << 6;
}

/// Most bytes that wait to be taken away; a printer whose tray is full is busy.
const WAITING: usize = 1 << 16;

/// The port: data, status and control registers.
#[derive(Debug)]
pub struct ParallelPort {
    irq: IrqLine,
    has_printer: bool,
    data: u8,
    control: u8,
    printed: Vec<u8>,
}

impl ParallelPort {
    /// A port with nothing at its cable. `irq` is its interrupt line.
    pub fn new(irq: IrqLine) -> Self {
        Self { irq, has_printer: false, data: 0, control: control::NOT_INIT, printed: Vec::new() }
    }

    /// Plugs a printer in that takes everything.
    pub fn connect_printer(&mut self) {
        self.has_printer = true;
    }

    /// The system's reset.
    pub fn reset(&mut self) {
        self.data = 0;
        self.control = control::NOT_INIT;
        self.irq.set_level(false);
    }

    /// What was printed since the last call.
    pub fn take_printed(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.printed)
    }

    fn is_busy(&self) -> bool {
        self.printed.len() >= WAITING
    }

    fn status(&self) -> u8 {
        let printer = if !self.has_printer {
            // Open inputs are pulled up, and the busy pin is inverted.
            status::ACK_HIGH | status::PAPER_OUT | status::SELECTED | status::NO_ERROR
        } else {
            let ready = if self.is_busy() { 0 } else { status::NOT_BUSY };
            ready | status::ACK_HIGH | status::SELECTED | status::NO_ERROR
        };
        printer | status::UNUSED
    }

    fn set_control(&mut self, value: u8) {
        let strobes = value & !self.control & control::STROBE != 0;
        self.control = value & !control::UNUSED;
        if strobes && self.has_printer && value & control::NOT_INIT != 0 && !self.is_busy() {
            self.printed.push(self.data);
            // ACK# falls and rises; the interrupt comes with its rising edge.
            if value & control::INTERRUPT != 0 {
                self.irq.pulse();
            }
        }
        if value & control::INTERRUPT == 0 {
            self.irq.set_level(false);
        }
    }
}

impl BytePorts for ParallelPort {
    fn read8(&mut self, _now: Time, port: u16) -> u8 {
        match port & 3 {
            // Nobody drives the lines when they are inputs.
            0 if self.control & control::INPUT != 0 => 0xFF,
            0 => self.data,
            1 => self.status(),
            2 => self.control | control::UNUSED,
            _ => 0xFF,
        }
    }

    fn write8(&mut self, _now: Time, port: u16, value: u8) {
        match port & 3 {
            0 => self.data = value,
            2 => self.set_control(value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IrqInputs;

    fn print(port: &mut ParallelPort, text: &[u8]) {
        for byte in text {
            port.write8(0, 0x378, *byte);
            port.write8(0, 0x37A, 0x0D);
            port.write8(0, 0x37A, 0x0C);
        }
    }

    #[test]
    fn each_strobe_prints_one_byte() {
        let mut port = ParallelPort::new(IrqLine::unconnected());
        print(&mut port, b"lost");
        assert_eq!((port.take_printed(), port.read8(0, 0x379)), (vec![], 0x7F));
        port.connect_printer();
        print(&mut port, b"Hello");
        assert_eq!((port.take_printed(), port.take_printed()), (b"Hello".to_vec(), vec![]));
        assert_eq!((port.read8(0, 0x378), port.read8(0, 0x379), port.read8(0, 0x37A)), (b'o', 0xDF, 0xCC));
        // A strobe that stays, and one while the printer is held in reset, print nothing.
        for control in [0x0D, 0x0D, 0x00, 0x01] {
            port.write8(0, 0x37A, control);
        }
        assert_eq!(port.take_printed(), b"o");
        port.write8(0, 0x37A, 0x2C);
        assert_eq!(port.read8(0, 0x378), 0xFF);
    }

    #[test]
    fn a_printed_byte_interrupts_if_wanted_and_a_full_tray_is_busy() {
        let inputs = IrqInputs::new();
        let mut port = ParallelPort::new(inputs.line(7));
        port.connect_printer();
        print(&mut port, b"a");
        assert_eq!(inputs.take_rises(), 0);
        port.write8(0, 0x37A, 0x1D);
        assert_eq!(inputs.take_rises(), 1 << 7);
        port.reset();
        assert_eq!(inputs.levels(), 0);
        print(&mut port, &vec![b'x'; WAITING + 5]);
        assert_eq!((port.read8(0, 0x379) & status::NOT_BUSY, port.take_printed().len()), (0, WAITING));
        assert_eq!(port.read8(0, 0x379) & status::NOT_BUSY, status::NOT_BUSY);
    }
}
