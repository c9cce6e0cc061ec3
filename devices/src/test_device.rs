//! Ports for programs that test a processor, as the test device of other machines has them and kvm-unit-tests expects
//! them: registers that keep what is written, and interrupt lines that a program drives itself.

use crate::wire::IrqLine;
use crate::{PortIo, Time};

/// First of the four ports that read back what was written, in any width.
pub const REGISTER: u16 = 0xE0;
/// A write asks for a guest page to be unmapped and mapped again; nothing is cached here that could be stale.
pub const FLUSH: u16 = 0xE4;
/// A register of one byte.
pub const BYTE: u16 = 0xE8;
/// First of the ports that drive the interrupt lines: 1 raises, 0 lowers.
pub const LINES: u16 = 0x2000;
/// How many lines there are.
pub const LINE_COUNT: u16 = 24;

/// The device.
pub struct TestDevice {
    register: [u8; 4],
    byte: u8,
    /// The lines of the ISA bus. Those that the machine does not give away lead nowhere.
    lines: Vec<IrqLine>,
}

impl TestDevice {
    /// A device that drives `lines`, by number.
    pub fn new(lines: Vec<IrqLine>) -> TestDevice {
        TestDevice { register: [0; 4], byte: 0, lines }
    }
}

impl PortIo for TestDevice {
    fn port_read(&mut self, _now: Time, port: u16, size: u8) -> u32 {
        let open = u32::MAX >> (32 - 8 * u32::from(size.clamp(1, 4)));
        match port {
            REGISTER..FLUSH => {
                let at = usize::from(port - REGISTER);
                (at..4).take(usize::from(size)).rev().fold(0, |value, n| value << 8 | u32::from(self.register[n]))
            }
            BYTE => u32::from(self.byte),
            _ => open,
        }
    }

    fn port_write(&mut self, _now: Time, port: u16, size: u8, value: u32) {
        match port {
            REGISTER..FLUSH => {
                let at = usize::from(port - REGISTER);
                for (register, byte) in self.register[at..].iter_mut().zip(value.to_le_bytes()).take(usize::from(size))
                {
                    *register = byte;
                }
            }
            BYTE => self.byte = value as u8,
            LINES.. => {
                if let Some(line) = self.lines.get(usize::from(port - LINES)) {
                    line.set_level(value != 0);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_keep_what_is_written_in_any_width() {
        let mut device = TestDevice::new(Vec::new());
        device.port_write(0, 0xE0, 4, 0x1234_5678);
        assert_eq!(device.port_read(0, 0xE0, 4), 0x1234_5678);
        device.port_write(0, 0xE1, 1, 0xAB);
        assert_eq!((device.port_read(0, 0xE0, 2), device.port_read(0, 0xE1, 1)), (0xAB78, 0xAB));
        assert_eq!(device.port_read(0, 0xE2, 2), 0x1234);
        device.port_write(0, 0xE4, 4, 7);
        device.port_write(0, 0xE8, 1, 9);
        assert_eq!((device.port_read(0, 0xE4, 1), device.port_read(0, 0xE8, 1)), (0xFF, 9));
    }

    #[test]
    fn lines_follow_the_program() {
        let inputs = crate::wire::IrqInputs::new();
        let line = inputs.line(5);
        let lines = vec![IrqLine::unconnected(), line.clone()];
        let mut device = TestDevice::new(lines);
        device.port_write(0, 0x2001, 1, 1);
        assert!(line.level());
        device.port_write(0, 0x2001, 1, 0);
        device.port_write(0, 0x2017, 1, 1);
        assert!(!line.level());
    }
}
