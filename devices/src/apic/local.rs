//! The local APIC of one processor (xAPIC): priorities, local vector table, interrupt command, timer.
//!
//! Until software enables it for the first time after reset, its pins LINT0 and LINT1 pass as INTR and NMI, so that a
//! PC/AT BIOS which knows of no APIC finds its 8259A ("PIC mode" of the MultiProcessor specification, 3.6.2.1). The
//! registers read as the manual says meanwhile.

use super::spec::{BASE_ENABLE, LOCAL_BASE, esr, icr, local as reg, lvt, svr};
use super::timer::{Mode, Timer};
use super::{Delivery, Message};
use crate::once::Reported;
use crate::{Latch, Mmio, Time, Timed};

/// Which processors had such an APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// Pentium: no performance counter entry, base address fixed.
    P5,
    /// Pentium Pro to Pentium III.
    P6,
    /// Pentium 4: thermal sensor entry, 8-bit IDs.
    P4,
}

impl Generation {
    /// What the version register reads: version, number of the last LVT entry.
    fn version(self) -> u32 {
        match self {
            Self::P5 => 0x0003_0010,
            Self::P6 => 0x0004_0011,
            Self::P4 => 0x0005_0014,
        }
    }

    /// Bits of an ID, and the physical destination that stands for everyone.
    fn id_mask(self) -> u8 {
        if self == Self::P4 { 0xFF } else { 0x0F }
    }
}

/// What the processor gets through the APIC beside vectors.
#[derive(Clone, Debug, Default)]
pub struct Wiring {
    /// Non-maskable interrupt.
    pub nmi: Latch,
    /// INIT: the processor is to be reset.
    pub init: Latch,
    /// LINT0 is ExtINT from reset on instead of masked, as QEMU and Bochs have it: BIOSes written for them enable the
    /// APIC and go on with the 8259A.
    pub virtual_wire: bool,
}

/// The answer to the processor's interrupt acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// This vector.
    Vector(u8),
    /// The 8259A has the vector.
    External,
}

/// 256 bits, one for each vector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Vectors([u32; 8]);

impl Vectors {
    fn get(&self, vector: u8) -> bool {
        self.0[usize::from(vector >> 5)] >> (vector & 31) & 1 != 0
    }

    fn set(&mut self, vector: u8, on: bool) {
        let bit = 1 << (vector & 31);
        let word = &mut self.0[usize::from(vector >> 5)];
        *word = if on { *word | bit } else { *word & !bit };
    }

    fn highest(&self) -> Option<u8> {
        let word = self.0.iter().rposition(|word| *word != 0)?;
        Some((word as u32 * 32 + self.0[word].ilog2()) as u8)
    }
}

/// Numbers of the local vector table's entries, in the order of their registers.
mod entry {
    pub const TIMER: usize = 0;
    pub const THERMAL: usize = 1;
    pub const PERFORMANCE: usize = 2;
    pub const LINT0: usize = 3;
    pub const LINT1: usize = 4;
    pub const ERROR: usize = 5;
}

/// LINT0 as ExtINT, not masked.
const VIRTUAL_WIRE: u32 = 7 << 8;

/// Bits of each entry that can be written.
const WRITABLE: [u32; 6] = [0x0007_00FF, 0x0001_07FF, 0x0001_07FF, 0x0001_A7FF, 0x0001_A7FF, 0x0001_00FF];

/// A local APIC. Its ID is 0: it is the only processor's.
#[derive(Debug)]
pub struct LocalApic {
    // Wiring.
    wiring: Wiring,
    generation: Generation,
    // Volatile state.
    base: u64,
    id: u8,
    tpr: u8,
    ldr: u8,
    dfr: u32,
    svr: u32,
    isr: Vectors,
    tmr: Vectors,
    irr: Vectors,
    /// The error status register, and the errors since it was last written.
    esr: [u32; 2],
    icr: [u32; 2],
    lvt: [u32; 6],
    timer: Timer,
    /// The software has enabled the APIC since reset.
    was_enabled: bool,
    /// Level of LINT0 when it was last looked at.
    lint0: bool,
    /// An ExtINT message waits.
    external: bool,
    /// Vectors of level-triggered interrupts whose service ended and which the I/O APIC was not told of.
    ended: Option<u8>,
    reported: Reported,
}

impl LocalApic {
    /// An APIC as after power-on.
    pub fn new(generation: Generation, wiring: Wiring) -> Self {
        let mut lvt = [lvt::MASKED; 6];
        if wiring.virtual_wire {
            lvt[entry::LINT0] = VIRTUAL_WIRE;
        }
        Self {
            wiring,
            generation,
            base: LOCAL_BASE | BASE_ENABLE,
            id: 0,
            tpr: 0,
            ldr: 0,
            dfr: u32::MAX,
            svr: 0xFF,
            isr: Vectors::default(),
            tmr: Vectors::default(),
            irr: Vectors::default(),
            esr: [0; 2],
            icr: [0; 2],
            lvt,
            timer: Timer::new(),
            was_enabled: false,
            lint0: false,
            external: false,
            ended: None,
            reported: Reported::default(),
        }
    }

    /// Reset or INIT.
    pub fn reset(&mut self) {
        *self = Self { reported: self.reported.clone(), ..Self::new(self.generation, self.wiring.clone()) };
    }

    /// IA32_APIC_BASE was written: moves the registers, and switches the APIC on or off. One that was off comes back as
    /// after reset.
    pub fn set_base(&mut self, base: u64) {
        if base & BASE_ENABLE != 0 && self.base & BASE_ENABLE == 0 {
            self.reset();
        }
        self.base = base;
    }

    /// The page of its registers, unless it is switched off.
    pub fn page(&self) -> Option<u64> {
        self.is_on().then_some(self.base & !0xFFF)
    }

    fn is_on(&self) -> bool {
        self.base & BASE_ENABLE != 0
    }

    fn is_enabled(&self) -> bool {
        self.is_on() && self.svr & svr::ENABLE != 0
    }

    /// LINT0 and LINT1 are the processor's INTR and NMI.
    fn is_bypassed(&self) -> bool {
        !self.is_on() || !self.was_enabled
    }

    /// Whether the level of LINT0 matters now.
    pub fn listens_to_lint0(&self) -> bool {
        self.is_bypassed() || self.lvt[entry::LINT0] & lvt::MASKED == 0
    }

    /// Tells the level of LINT0, if [`LocalApic::listens_to_lint0`]; `None` if it is not known.
    pub fn set_lint0(&mut self, level: Option<bool>) {
        // An edge counts only if the pin was seen low before.
        let before = std::mem::replace(&mut self.lint0, level.unwrap_or(true));
        let Some(level) = level else { return };
        let entry = self.lvt[entry::LINT0];
        if self.is_bypassed() || entry & lvt::MASKED != 0 || Delivery::of(entry) == Delivery::ExtInt {
            return;
        }
        let asserted = level != (entry & lvt::ACTIVE_LOW != 0);
        let triggered = entry & lvt::LEVEL != 0 && Delivery::of(entry) == Delivery::Fixed;
        if triggered && asserted && entry & lvt::REMOTE_IRR == 0 {
            self.lvt[entry::LINT0] |= lvt::REMOTE_IRR;
            self.local(entry::LINT0);
        } else if !triggered && asserted && before != level {
            self.local(entry::LINT0);
        }
    }

    /// An edge on LINT1, the board's NMI. Whether it passes as the processor's NMI.
    pub fn lint1(&mut self) -> bool {
        if self.is_bypassed() {
            return true;
        }
        let entry = self.lvt[entry::LINT1];
        let open = entry & lvt::MASKED == 0;
        if open && Delivery::of(entry) == Delivery::Nmi {
            return true;
        }
        if open {
            self.local(entry::LINT1);
        }
        false
    }

    /// An interrupt of the local vector table.
    fn local(&mut self, number: usize) {
        let value = self.lvt[number];
        if value & lvt::MASKED == 0 && self.is_enabled() {
            let has_mode = !matches!(number, entry::TIMER | entry::ERROR);
            let delivery = if has_mode { Delivery::of(value) } else { Delivery::Fixed };
            let level = has_mode && value & lvt::LEVEL != 0 && delivery == Delivery::Fixed;
            self.take(delivery, value as u8, level);
        }
    }

    /// Whether a message is for this processor.
    fn is_addressed(&self, message: &Message) -> bool {
        let to = message.destination;
        if !message.logical {
            let mask = self.generation.id_mask();
            return to & mask == self.id & mask || to & mask == mask;
        }
        if self.dfr >> 28 == 0xF {
            to & self.ldr != 0
        } else {
            to == 0xFF || to >> 4 == self.ldr >> 4 && to & self.ldr & 0xF != 0
        }
    }

    /// A message on the APIC bus. Whether this APIC accepts it.
    pub fn accept(&mut self, message: &Message) -> bool {
        let vectored = matches!(message.delivery, Delivery::Fixed | Delivery::Lowest | Delivery::ExtInt);
        if !self.is_on() || !self.is_addressed(message) || vectored && !self.is_enabled() {
            return false;
        }
        self.take(message.delivery, message.vector, message.level);
        true
    }

    fn take(&mut self, delivery: Delivery, vector: u8, level: bool) {
        match delivery {
            Delivery::Fixed | Delivery::Lowest if vector < 16 => self.error(esr::RECEIVED_VECTOR),
            Delivery::Fixed | Delivery::Lowest => {
                self.irr.set(vector, true);
                self.tmr.set(vector, level);
            }
            Delivery::Nmi => self.wiring.nmi.raise(),
            Delivery::Init => {
                self.reset();
                self.wiring.init.raise();
            }
            Delivery::ExtInt => self.external = true,
            Delivery::Smi => self.unimplemented(0, "system management interrupts"),
            Delivery::Reserved => {}
        }
    }

    fn unimplemented(&mut self, code: u8, what: &str) {
        if self.reported.first(code) {
            log::warn!("local APIC: {what}: not implemented");
        }
    }

    fn error(&mut self, bits: u32) {
        self.esr[1] |= bits;
        let value = self.lvt[entry::ERROR];
        if value & lvt::MASKED == 0 && self.is_enabled() {
            if (value as u8) < 16 {
                self.esr[1] |= esr::RECEIVED_VECTOR;
            } else {
                self.irr.set(value as u8, true);
                self.tmr.set(value as u8, false);
            }
        }
    }

    /// Processor priority: the task's, or that of what is in service.
    fn ppr(&self) -> u8 {
        let serving = self.isr.highest().unwrap_or(0);
        if self.tpr >> 4 >= serving >> 4 { self.tpr } else { serving & 0xF0 }
    }

    /// The request that may interrupt now.
    fn request(&self) -> Option<u8> {
        self.irr.highest().filter(|vector| vector >> 4 > self.ppr() >> 4)
    }

    /// Whether the 8259A interrupts now, its INT being what [`LocalApic::set_lint0`] was told last.
    fn is_external(&self) -> bool {
        let entry = self.lvt[entry::LINT0];
        let wired = entry & lvt::MASKED == 0 && Delivery::of(entry) == Delivery::ExtInt;
        self.external || self.lint0 && (self.is_bypassed() || wired)
    }

    /// The level of the processor's interrupt request.
    pub fn intr(&self) -> bool {
        self.is_external() || !self.is_bypassed() && self.request().is_some()
    }

    /// The processor takes the interrupt. A request that went away meanwhile gives the spurious vector.
    pub fn acknowledge(&mut self) -> Acknowledged {
        if self.is_external() || self.is_bypassed() {
            self.external = false;
            return Acknowledged::External;
        }
        let Some(vector) = self.request() else { return Acknowledged::Vector(self.svr as u8) };
        self.irr.set(vector, false);
        self.isr.set(vector, true);
        Acknowledged::Vector(vector)
    }

    fn end_of_interrupt(&mut self) {
        let Some(vector) = self.isr.highest() else { return };
        self.isr.set(vector, false);
        if self.tmr.get(vector) {
            self.ended = Some(vector);
            for pin in [entry::LINT0, entry::LINT1] {
                if self.lvt[pin] as u8 == vector {
                    self.lvt[pin] &= !lvt::REMOTE_IRR;
                }
            }
        }
    }

    /// The vector of a level-triggered interrupt whose service has just ended, for the I/O APIC; once.
    pub fn take_ended(&mut self) -> Option<u8> {
        self.ended.take()
    }

    fn command(&mut self, value: u32) {
        self.icr[0] = value & icr::WRITABLE;
        let delivery = Delivery::of(value);
        if matches!(delivery, Delivery::Fixed | Delivery::Lowest) && value & 0xFF < 16 {
            self.error(esr::SEND_VECTOR);
            return;
        }
        if delivery == Delivery::Init && value & icr::ASSERT == 0 {
            // INIT level de-assert: sets arbitration IDs only.
            return;
        }
        let message = Message {
            destination: (self.icr[1] >> 24) as u8,
            logical: value & lvt::LOGICAL != 0,
            delivery,
            vector: value as u8,
            level: false,
        };
        let accepted = match value >> icr::SHORTHAND_SHIFT & 3 {
            0 if delivery == Delivery::Reserved => true,
            0 => self.accept(&message),
            // To itself and to everyone: fixed, and what the processor may send itself.
            1 | 2 if matches!(delivery, Delivery::Fixed | Delivery::Lowest | Delivery::Nmi) => {
                if self.is_enabled() || delivery == Delivery::Nmi {
                    self.take(delivery, message.vector, false);
                }
                true
            }
            // Everyone but itself is nobody.
            _ => true,
        };
        if !accepted && self.generation < Generation::P4 {
            self.error(esr::SEND_ACCEPT);
        }
    }

    /// The entry of the local vector table at `offset`, if this generation has it.
    fn entry_at(&self, offset: u16) -> Option<usize> {
        let number = usize::from((offset.checked_sub(reg::LVT_TIMER)?) >> 4);
        match number {
            entry::THERMAL if self.generation < Generation::P4 => None,
            entry::PERFORMANCE if self.generation < Generation::P6 => None,
            0..=entry::ERROR => Some(number),
            _ => None,
        }
    }

    fn read_register(&mut self, now: Time, offset: u16) -> u32 {
        if let Some(number) = self.entry_at(offset) {
            return self.lvt[number];
        }
        let part = |vectors: &Vectors| vectors.0[usize::from(offset >> 4 & 7)];
        match offset {
            reg::ID => u32::from(self.id) << 24,
            reg::VERSION => self.generation.version(),
            reg::TPR => self.tpr.into(),
            // With one processor nobody arbitrates: the priority of what it does or wants.
            reg::APR => u32::from(self.ppr().max(self.irr.highest().unwrap_or(0) & 0xF0)),
            reg::PPR => self.ppr().into(),
            reg::EOI | reg::RRD => 0,
            reg::LDR => u32::from(self.ldr) << 24,
            reg::DFR => self.dfr,
            reg::SVR => self.svr,
            reg::ISR..reg::TMR => part(&self.isr),
            reg::TMR..reg::IRR => part(&self.tmr),
            reg::IRR..=reg::IRR_LAST => part(&self.irr),
            reg::ESR => self.esr[0],
            reg::ICR_LOW => self.icr[0],
            reg::ICR_HIGH => self.icr[1],
            reg::INITIAL_COUNT => self.timer.initial(),
            reg::CURRENT_COUNT => self.timer.count(now),
            reg::DIVIDE => self.timer.divide().into(),
            _ => {
                self.error(esr::REGISTER);
                0
            }
        }
    }

    fn write_register(&mut self, now: Time, offset: u16, value: u32) {
        if let Some(number) = self.entry_at(offset) {
            self.write_entry(number, value);
            return;
        }
        match offset {
            reg::ID => self.id = (value >> 24) as u8 & self.generation.id_mask(),
            reg::TPR => self.tpr = value as u8,
            reg::EOI => self.end_of_interrupt(),
            reg::LDR => self.ldr = (value >> 24) as u8,
            reg::DFR => self.dfr = value | 0x0FFF_FFFF,
            reg::SVR => {
                // The Pentium and the P6 have the vector's low four bits hardwired to one.
                let fixed = if self.generation < Generation::P4 { 0xF } else { 0 };
                self.svr = value & svr::WRITABLE | fixed;
                self.was_enabled |= self.is_enabled();
                if !self.is_enabled() {
                    self.lvt.iter_mut().for_each(|entry| *entry |= lvt::MASKED);
                }
            }
            reg::ESR => self.esr = [self.esr[1], 0],
            reg::ICR_LOW => self.command(value),
            reg::ICR_HIGH => self.icr[1] = value & 0xFF00_0000,
            reg::INITIAL_COUNT => self.timer.start(now, value),
            reg::DIVIDE => self.timer.set_divide(now, value as u8),
            // Read-only.
            reg::VERSION | reg::APR | reg::PPR | reg::RRD | reg::CURRENT_COUNT | reg::ISR..=reg::IRR_LAST => {}
            _ => self.error(esr::REGISTER),
        }
    }

    fn write_entry(&mut self, number: usize, value: u32) {
        // TSC deadline mode came with the last generation's successors, and is offered with it here.
        let mode_bits = if self.generation < Generation::P4 { 1 << 18 } else { 0 };
        let kept = self.lvt[number] & lvt::REMOTE_IRR;
        let masked = if self.is_enabled() { 0 } else { lvt::MASKED };
        self.lvt[number] = value & WRITABLE[number] & !mode_bits | kept | masked;
        if number == entry::TIMER {
            self.timer.set_mode(match value >> lvt::TIMER_MODE_SHIFT & if mode_bits == 0 { 3 } else { 1 } {
                0 => Mode::OneShot,
                1 => Mode::Periodic,
                _ => Mode::Deadline,
            });
        } else if value as u8 & 0xF0 == 0 && value & lvt::MASKED == 0 && Delivery::of(value) == Delivery::Fixed {
            self.error(esr::RECEIVED_VECTOR);
        }
    }

    /// IA32_TSC_DEADLINE as the guest time that it stands for, if it is armed.
    pub fn deadline(&self) -> Option<Time> {
        self.timer.deadline()
    }

    /// IA32_TSC_DEADLINE was written: waits for that guest time, or no longer. Nothing happens unless the timer is in
    /// deadline mode.
    pub fn set_deadline(&mut self, now: Time, deadline: Option<Time>) {
        self.timer.set_deadline(deadline);
        self.advance(now);
    }
}

impl Timed for LocalApic {
    fn next_event(&self) -> Option<Time> {
        // What nobody sees does not wake anyone. A deadline that passes disarms itself even so.
        let heard = self.lvt[entry::TIMER] & lvt::MASKED == 0 && self.is_enabled();
        if heard || self.timer.mode() == Mode::Deadline { self.timer.next() } else { None }
    }

    fn advance(&mut self, now: Time) {
        if self.timer.advance(now) {
            self.local(entry::TIMER);
        }
    }
}

impl Mmio for LocalApic {
    fn mmio_read(&mut self, now: Time, address: u64, size: u8) -> u64 {
        self.advance(now);
        let (offset, byte) = (address as u16 & 0xFF0, address & 0xF);
        if byte >= 4 {
            // Between the registers.
            return 0;
        }
        let value = u64::from(self.read_register(now, offset)) >> (8 * byte);
        value & (u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8))))
    }

    fn mmio_write(&mut self, now: Time, address: u64, size: u8, value: u64) {
        self.advance(now);
        if address & 0xF != 0 {
            return;
        }
        if size < 4 {
            self.unimplemented(1, "writes of less than 32 bits");
            return;
        }
        self.write_register(now, address as u16 & 0xFF0, value as u32);
    }
}
