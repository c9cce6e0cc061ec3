//! The 82093AA I/O APIC: 24 inputs, each with a redirection entry that says which message it makes.

use super::spec::io::{IOAPICARB, IOAPICID, IOAPICVER, IOREDTBL, IOREGSEL, IOWIN, PINS, VERSION, WRITABLE};
use super::spec::lvt;
use super::{Delivery, Message};
use crate::{IrqInputs, Mmio, Time};

/// One redirection entry.
#[derive(Clone, Copy, Debug)]
struct Entry {
    low: u32,
    destination: u8,
}

impl Entry {
    fn is_level(self) -> bool {
        // Only vectored deliveries can be level triggered.
        self.low & lvt::LEVEL != 0 && matches!(Delivery::of(self.low), Delivery::Fixed | Delivery::Lowest)
    }

    fn message(self) -> Message {
        Message {
            destination: self.destination,
            logical: self.low & lvt::LOGICAL != 0,
            delivery: Delivery::of(self.low),
            vector: self.low as u8,
            level: self.is_level(),
        }
    }
}

/// An I/O APIC.
#[derive(Debug)]
pub struct IoApic {
    // Wiring.
    inputs: IrqInputs,
    /// Inputs whose wire is low while the line is driven, as PCI's interrupts are.
    inverted: u32,
    // Volatile state.
    select: u8,
    id: u8,
    entries: [Entry; PINS],
    /// Electrical levels when the inputs were last looked at.
    seen: u32,
    /// Registers changed since.
    touched: bool,
}

impl IoApic {
    /// An I/O APIC as after reset. The wires of the inputs whose bits are set in `inverted` are low while driven.
    pub fn new(inputs: IrqInputs, inverted: u32) -> Self {
        let entries = [Entry { low: lvt::MASKED, destination: 0 }; PINS];
        Self { inputs, inverted, select: 0, id: 0, entries, seen: inverted, touched: true }
    }

    /// The system's reset. The inputs keep their levels.
    pub fn reset(&mut self) {
        *self = Self { seen: self.seen, ..Self::new(self.inputs.clone(), self.inverted) };
    }

    /// Looks at the inputs and sends what they and the entries ask for. `send` says whether somebody accepted.
    pub fn service(&mut self, mut send: impl FnMut(&Message) -> bool) {
        if !self.inputs.take_changed() && !std::mem::take(&mut self.touched) {
            return;
        }
        self.touched = false;
        let rises = self.inputs.take_rises();
        let driven = self.inputs.levels();
        let before = self.seen;
        let now = driven ^ self.inverted;
        self.seen = now;
        // A line that was driven before and rose since has fallen in between.
        let was_driven = before ^ self.inverted;
        let starts = rises | driven & !was_driven;
        let ends = was_driven & !driven | was_driven & starts | starts & !driven;
        for (pin, entry) in self.entries.iter_mut().enumerate() {
            if entry.low & lvt::MASKED != 0 {
                continue;
            }
            let bit = 1 << pin;
            let active_low = entry.low & lvt::ACTIVE_LOW != 0;
            if entry.is_level() {
                let asserted = (now & bit != 0) != active_low;
                if asserted && entry.low & lvt::REMOTE_IRR == 0 && send(&entry.message()) {
                    entry.low |= lvt::REMOTE_IRR;
                }
            } else {
                let inverted = self.inverted & bit != 0;
                let edges = if active_low == inverted { starts } else { ends };
                if edges & bit != 0 {
                    // One that nobody accepts is lost.
                    send(&entry.message());
                }
            }
        }
    }

    /// The service of a level-triggered interrupt has ended: inputs that are still asserted interrupt again.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        for entry in &mut self.entries {
            if entry.is_level() && entry.low as u8 == vector {
                entry.low &= !lvt::REMOTE_IRR;
                self.touched = true;
            }
        }
    }

    /// A message that was refused may be accepted now: a local APIC's registers changed.
    pub fn retry(&mut self) {
        self.touched = true;
    }

    fn read_register(&self) -> u32 {
        match self.select {
            IOAPICID | IOAPICARB => u32::from(self.id) << 24,
            IOAPICVER => VERSION,
            _ => match self.entries.get(usize::from(self.select.wrapping_sub(IOREDTBL) >> 1)) {
                Some(entry) if self.select & 1 == 0 => entry.low,
                Some(entry) => u32::from(entry.destination) << 24,
                None => u32::MAX,
            },
        }
    }

    fn write_register(&mut self, value: u32) {
        self.touched = true;
        if self.select == IOAPICID {
            self.id = (value >> 24) as u8 & 0xF;
        } else if let Some(entry) = self.entries.get_mut(usize::from(self.select.wrapping_sub(IOREDTBL) >> 1)) {
            if self.select & 1 != 0 {
                entry.destination = (value >> 24) as u8;
                return;
            }
            entry.low = value & WRITABLE | entry.low & lvt::REMOTE_IRR;
            if value & lvt::LEVEL == 0 {
                entry.low &= !lvt::REMOTE_IRR;
            }
        }
    }
}

impl Mmio for IoApic {
    fn mmio_read(&mut self, _now: Time, address: u64, size: u8) -> u64 {
        let value = match address & 0xFC {
            IOREGSEL => self.select.into(),
            IOWIN => self.read_register(),
            _ => 0,
        };
        (u64::from(value) >> (8 * (address & 3))) & (u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8))))
    }

    fn mmio_write(&mut self, _now: Time, address: u64, size: u8, value: u64) {
        match address & 0xFF {
            IOREGSEL => self.select = value as u8,
            // The data register takes whole words.
            IOWIN if size >= 4 => self.write_register(value as u32),
            _ => {}
        }
    }
}
