//! PCI: configuration mechanism #1, and the chips of the 440FX chipset that sit on bus 0.

pub mod config_space;
pub mod expansion_rom;
pub mod i440fx;
pub mod piix3;
pub mod piix4_pm;
pub mod spec;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::{Latch, PciFunction, PortIo, Time};
pub use config_space::ConfigSpace;
use spec::{CONE, CONFADD, CONFADD_MASK, CONFDATA, RC, rc};

/// The PIRQ input (0 is A) that interrupt `pin` (1 is INTA#) of a slot reaches: each slot rotates by one, and
/// device 1 starts at A.
pub fn pirq_of(device: u8, pin: u8) -> usize {
    usize::from(device.wrapping_add(pin).wrapping_add(2) & 3)
}

/// A function in a slot.
type Slot = Box<dyn PciFunction + Send>;

/// Bus 0 behind ports CF8h-CFFh, and the reset control register that shares them (CF9h).
pub struct PciBus {
    // Wiring.
    reset: Latch,
    // Parts.
    slots: BTreeMap<(u8, u8), Slot>,
    // Volatile state.
    address: u32,
    reset_control: u8,
}

impl std::fmt::Debug for PciBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PciBus").field("address", &self.address).field("slots", &self.slots.keys()).finish()
    }
}

impl PciBus {
    /// An empty bus. `reset` is raised through the reset control register.
    pub fn new(reset: Latch) -> Self {
        Self { reset, slots: BTreeMap::new(), address: 0, reset_control: 0 }
    }

    /// Puts a function into a slot (device 0 to 31, function 0 to 7), in place of what was there.
    pub fn insert(&mut self, device: u8, function: u8, slot: Slot) {
        self.slots.insert((device & 31, function & 7), slot);
    }

    /// The system's reset, for the registers of the mechanism itself; the functions are their owners' business.
    pub fn reset(&mut self) {
        (self.address, self.reset_control) = (0, 0);
    }

    /// The function that the address register selects, with the dword offset.
    fn selected(&mut self) -> Option<(&mut Slot, u8)> {
        let address = self.address;
        if address & CONE == 0 || address >> 16 & 0xFF != 0 {
            return None;
        }
        let slot = ((address >> 11 & 31) as u8, (address >> 8 & 7) as u8);
        self.slots.get_mut(&slot).map(|function| (function, (address & 0xFC) as u8))
    }

    /// Part of a dword at CFCh: a cycle cannot cross into the next one.
    fn lanes(port: u16, size: u8) -> (u8, u8) {
        let lane = (port & 3) as u8;
        (lane, size.min(4 - lane))
    }
}

impl PortIo for PciBus {
    fn port_read(&mut self, _now: Time, port: u16, size: u8) -> u32 {
        let open = if size >= 4 { u32::MAX } else { (1 << (8 * u32::from(size))) - 1 };
        match (port, size) {
            (CONFADD, 4) => self.address,
            (RC, 1) => u32::from(self.reset_control),
            (CONFDATA.., _) => {
                let (lane, lanes) = Self::lanes(port, size);
                let Some((function, offset)) = self.selected() else { return open };
                let value = naturally_aligned(lane, lanes)
                    .into_iter()
                    .flatten()
                    .fold(0, |value, (at, size)| value | function.config_read(offset | at, size) << (8 * (at - lane)));
                let beyond = if lanes < size { open << (8 * u32::from(lanes)) & open } else { 0 };
                value | beyond
            }
            _ => open,
        }
    }

    fn port_write(&mut self, _now: Time, port: u16, size: u8, value: u32) {
        match (port, size) {
            (CONFADD, 4) => self.address = value & CONFADD_MASK,
            (RC, 1) => {
                if value as u8 & !self.reset_control & rc::RCPU != 0 {
                    self.reset.raise();
                }
                self.reset_control = value as u8 & (rc::SRST | rc::RCPU);
            }
            (CONFDATA.., _) => {
                let (lane, lanes) = Self::lanes(port, size);
                let Some((function, offset)) = self.selected() else { return };
                for (at, size) in naturally_aligned(lane, lanes).into_iter().flatten() {
                    function.config_write(offset | at, size, value >> (8 * (at - lane)));
                }
            }
            _ => {}
        }
    }
}

/// Splits the byte lanes from `lane` on, `count` of them, into at most three aligned pieces.
fn naturally_aligned(lane: u8, count: u8) -> [Option<(u8, u8)>; 3] {
    match (lane, count) {
        (0, 4) | (0 | 2, 2) | (_, 1) => [Some((lane, count)), None, None],
        (0, 3) => [Some((0, 2)), Some((2, 1)), None],
        (1, 2) => [Some((1, 1)), Some((2, 1)), None],
        (1, 3) => [Some((1, 1)), Some((2, 2)), None],
        _ => [None; 3],
    }
}
