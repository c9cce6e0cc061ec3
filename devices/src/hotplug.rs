//! The general purpose events and hot-plug registers of QEMU's PC, which the ACPI tables inside SeaBIOS know
//! (QEMU, docs/specs: `acpi_pci_hotplug`, `acpi_cpu_hotplug`). Nothing can be plugged in or pulled out here; that has to
//! be said, since on an open bus every slot asks to be ejected.

use crate::{BytePorts, Time};

/// GPE0 block of the FADT: two bytes of status, two that enable events.
pub const EVENTS: u16 = 0xAFE0;
/// Slots that came (4 bytes), slots to eject (4), ejection (4), slots that can be removed (4).
pub const SLOTS: u16 = 0xAE00;
/// A bit for each processor, 32 bytes.
pub const PROCESSORS: u16 = 0xAF00;

/// The registers.
#[derive(Debug, Default)]
pub struct HotPlug {
    enabled: [u8; 2],
}

impl HotPlug {
    /// After reset, no event is enabled.
    pub fn new() -> Self {
        Self::default()
    }

    /// RESET#.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

impl BytePorts for HotPlug {
    fn read8(&mut self, _: Time, port: u16) -> u8 {
        match port {
            PROCESSORS => 1,
            _ if port == EVENTS + 2 => self.enabled[0],
            _ if port == EVENTS + 3 => self.enabled[1],
            _ => 0,
        }
    }

    fn write8(&mut self, _: Time, port: u16, value: u8) {
        match port.wrapping_sub(EVENTS + 2) {
            0 => self.enabled[0] = value,
            1 => self.enabled[1] = value,
            // Events are cleared, or a slot ejected in which nothing can be.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PortIo;

    #[test]
    fn nothing_comes_or_goes() {
        let mut h = HotPlug::new();
        h.port_write(0, EVENTS, 4, 0x1234_FFFF);
        assert_eq!(h.port_read(0, EVENTS, 4), 0x1234_0000);
        for offset in [0, 4, 8, 12] {
            h.port_write(0, SLOTS + offset, 4, u32::MAX);
            assert_eq!(h.port_read(0, SLOTS + offset, 4), 0);
        }
        assert_eq!((h.port_read(0, PROCESSORS, 4), h.port_read(0, PROCESSORS + 31, 1)), (1, 0));
        h.reset();
        assert_eq!(h.port_read(0, EVENTS, 4), 0);
    }
}
