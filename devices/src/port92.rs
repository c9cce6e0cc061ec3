//! Port 92h: fast A20 and fast reset (82371SB PIIX3 datasheet, "Port 92 Register"; IBM PS/2 system control port A).

use crate::{BytePorts, Latch, Level, Time};

/// The port's bits.
pub mod bits {
    /// A 0 to 1 change resets the processor.
    pub const FAST_INIT: u8 = 1 << 0;
    /// Lets A20 through.
    pub const FAST_A20: u8 = 1 << 1;
}

/// System control port A. Its A20 gate may be the wire that the 8042 drives as well: the last write decides, as software
/// that uses one of the two and never looks at the other expects.
#[derive(Debug)]
pub struct Port92 {
    a20: Level,
    reset: Latch,
    value: u8,
}

impl Port92 {
    /// The register's only port.
    pub const PORT: u16 = 0x92;

    /// A register as after reset: A20 passes, so that the processor reaches its reset vector.
    pub fn new(a20: Level, reset: Latch) -> Self {
        a20.set(true);
        Self { a20, reset, value: bits::FAST_A20 }
    }

    /// The system's reset.
    pub fn reset(&mut self) {
        self.value = bits::FAST_A20;
        self.a20.set(true);
    }
}

impl BytePorts for Port92 {
    fn read8(&mut self, _now: Time, _port: u16) -> u8 {
        let gate = if self.a20.get() { bits::FAST_A20 } else { 0 };
        self.value & !bits::FAST_A20 | gate
    }

    fn write8(&mut self, _now: Time, _port: u16, value: u8) {
        if value & !self.value & bits::FAST_INIT != 0 {
            self.reset.raise();
        }
        self.value = value & (bits::FAST_INIT | bits::FAST_A20);
        self.a20.set(value & bits::FAST_A20 != 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_drive_their_wires() {
        let (a20, reset) = (Level::new(false), Latch::new());
        let mut port = Port92::new(a20.clone(), reset.clone());
        assert!(a20.get());
        port.write8(0, 0x92, 0xFC);
        assert!(!a20.get());
        port.write8(0, 0x92, 0xFE);
        assert!(a20.get() && !reset.is_raised());
        assert_eq!(port.read8(0, 0x92), 2);
        port.write8(0, 0x92, 1);
        assert!(!a20.get() && reset.take());
        port.write8(0, 0x92, 3);
        a20.set(false);
        assert_eq!(port.read8(0, 0x92), 1, "the gate is shared");
        assert!(!reset.take(), "only a change from 0 to 1 resets");
    }
}
