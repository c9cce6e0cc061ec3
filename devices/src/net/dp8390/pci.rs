//! The RTL8029AS: an NE2000 on the PCI bus (Realtek RTL8029AS datasheet, chapter 6, configuration space).

use super::{Dp8390, PORTS};
use crate::net::{MacAddress, NetPort, NetworkCard};
use crate::pci::ConfigSpace;
use crate::pci::spec::{command, header};
use crate::{IrqLine, PciFunction, PortIo, Time, Timed};

/// An RTL8029AS in a PCI slot.
pub struct Rtl8029 {
    chip: Dp8390,
    space: ConfigSpace,
    decode_changed: bool,
}

impl std::fmt::Debug for Rtl8029 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rtl8029").field("io", &self.io_range()).finish_non_exhaustive()
    }
}

impl Rtl8029 {
    /// A card with address `mac` in its EEPROM; `irq` is what INTA# of its slot reaches.
    pub fn new(irq: IrqLine, port: Box<dyn NetPort>, mac: MacAddress) -> Self {
        Self { chip: Dp8390::new(irq, port, mac, true), space: Self::registers(), decode_changed: true }
    }

    fn registers() -> ConfigSpace {
        let mut space = ConfigSpace::new(0x10EC, 0x8029, 0x02_0000, 0);
        space.register(header::COMMAND, 2, 0, u32::from(command::IOSE));
        space.register(header::STATUS, 2, 0x0200, 0);
        space.register(header::BAR0, 4, 1, !u32::from(PORTS - 1) & !1);
        space.register(0x2C, 4, 0x8029_10EC, 0);
        space.register(header::INTERRUPT_LINE, 1, 0, 0xFF);
        space.register(header::INTERRUPT_PIN, 1, 1, 0);
        space
    }
}

impl PortIo for Rtl8029 {
    fn port_read(&mut self, _now: Time, port: u16, size: u8) -> u32 {
        self.chip.port_read(port, size)
    }

    fn port_write(&mut self, now: Time, port: u16, size: u8, value: u32) {
        self.chip.port_write(now, port, size, value);
    }
}

impl Timed for Rtl8029 {
    fn next_event(&self) -> Option<Time> {
        self.chip.next_event()
    }

    fn advance(&mut self, now: Time) {
        self.chip.advance(now);
    }
}

impl PciFunction for Rtl8029 {
    fn config_read(&mut self, offset: u8, size: u8) -> u32 {
        self.space.read(offset, size)
    }

    fn config_write(&mut self, offset: u8, size: u8, value: u32) {
        let before = self.io_range();
        self.space.write(offset, size, value);
        self.decode_changed |= self.io_range() != before;
    }
}

impl NetworkCard for Rtl8029 {
    fn reset(&mut self) {
        self.space = Self::registers();
        self.decode_changed = true;
        self.chip.reset();
    }

    fn io_range(&self) -> Option<(u16, u16)> {
        let base = self.space.get16(header::BAR0) & !(PORTS - 1);
        (base != 0 && self.space.get16(header::COMMAND) & command::IOSE != 0).then_some((base, PORTS))
    }

    fn take_decode_change(&mut self) -> bool {
        std::mem::take(&mut self.decode_changed)
    }
}
