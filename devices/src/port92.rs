//! Port 92h: fast A20 and fast reset (82371SB PIIX3 datasheet, "Port 92 Register"; IBM PS/2 system control port A).

use crate::{BytePorts, Latch, Level, Time};

/// The port's bits.
pub mod bits {
    /// A 0 to 1 change resets the processor.
    pub const FAST_INIT: u8 = 1 << 0;
    /// Lets A20 through.
    pub const FAST_A20: u8 = 1 << 1;
}

/// System control port A. The A20 signal at the processor is this one ORed with the 8042's.
#[derive(Debug)]
pub struct Port92 {
    a20: Level,
    reset: Latch,
    value: u8,
}

impl Port92 {
    /// The register's only port.
    pub const PORT: u16 = 0x92;

    /// A register as after reset, with A20 off on its side.
    pub fn new(a20: Level, reset: Latch) -> Self {
        a20.set(false);
        Self { a20, reset, value: 0 }
    }

    /// The system's reset.
    pub fn reset(&mut self) {
        self.value = 0;
        self.a20.set(false);
    }
}

impl BytePorts for Port92 {
    fn read8(&mut self, _now: Time, _port: u16) -> u8 {
        self.value
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
        let (a20, reset) = (Level::new(true), Latch::new());
        let mut port = Port92::new(a20.clone(), reset.clone());
        assert!(!a20.get());
        port.write8(0, 0x92, 0xFE);
        assert!(a20.get() && !reset.is_raised());
        assert_eq!(port.read8(0, 0x92), 2);
        port.write8(0, 0x92, 1);
        assert!(!a20.get() && reset.take());
        port.write8(0, 0x92, 3);
        assert!(!reset.take(), "only a change from 0 to 1 resets");
    }
}
