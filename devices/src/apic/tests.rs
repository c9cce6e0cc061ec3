//! The APICs against the SDM and the 82093AA datasheet.

use super::spec::{BASE_ENABLE, LOCAL_BASE, esr, local as reg, lvt};
use super::*;
use crate::{IrqInputs, Mmio, Time, Timed};

const ENABLED: u32 = 0x1FF;
const PERIODIC: u32 = 1 << 17;
const DEADLINE: u32 = 2 << 17;

struct Local {
    apic: LocalApic,
    wiring: Wiring,
}

impl Local {
    fn new(generation: Generation) -> Self {
        let wiring = Wiring::default();
        Self { apic: LocalApic::new(generation, wiring.clone()), wiring }
    }

    /// A Pentium 4's, enabled by software.
    fn enabled() -> Self {
        let mut local = Self::new(Generation::P4);
        local.write(reg::SVR, ENABLED);
        local
    }

    fn read_at(&mut self, now: Time, offset: u16) -> u32 {
        self.apic.mmio_read(now, LOCAL_BASE + u64::from(offset), 4) as u32
    }

    fn read(&mut self, offset: u16) -> u32 {
        self.read_at(0, offset)
    }

    fn write_at(&mut self, now: Time, offset: u16, value: u32) {
        self.apic.mmio_write(now, LOCAL_BASE + u64::from(offset), 4, value.into());
    }

    fn write(&mut self, offset: u16, value: u32) {
        self.write_at(0, offset, value);
    }

    fn send(&mut self, vector: u8, level: bool) -> bool {
        self.apic.accept(&Message { destination: 0, logical: false, delivery: Delivery::Fixed, vector, level })
    }

    fn take(&mut self) -> Acknowledged {
        assert!(self.apic.intr());
        self.apic.acknowledge()
    }
}

#[test]
fn registers_after_reset() {
    for (generation, version) in
        [(Generation::P5, 0x0003_0010), (Generation::P6, 0x0004_0011), (Generation::P4, 0x0005_0014)]
    {
        let mut local = Local::new(generation);
        assert_eq!(local.read(reg::VERSION), version);
        assert_eq!([reg::SVR, reg::DFR, reg::LDR, reg::TPR].map(|r| local.read(r)), [0xFF, u32::MAX, 0, 0]);
        assert_eq!([reg::LVT_TIMER, reg::LVT_LINT0, reg::LVT_ERROR].map(|r| local.read(r)), [lvt::MASKED; 3]);
        // Entries that a generation lacks are registers that do not exist.
        local.write(reg::ESR, 0);
        local.read(reg::LVT_THERMAL);
        local.write(reg::ESR, 0);
        assert_eq!(local.read(reg::ESR) & esr::REGISTER != 0, generation < Generation::P4);
    }
}

#[test]
fn the_8259a_passes_until_software_takes_over_and_then_as_lint0_says() {
    let mut local = Local::new(Generation::P6);
    local.apic.set_lint0(Some(true));
    assert_eq!(local.take(), Acknowledged::External);
    // Enabled with LINT0 masked: blocked.
    local.write(reg::SVR, ENABLED);
    assert!(!local.apic.listens_to_lint0() && !local.apic.intr() && !local.apic.lint1());
    // Virtual wire.
    local.write(reg::LVT_LINT0, 0x700);
    local.write(reg::LVT_LINT1, 0x400);
    assert!(local.apic.listens_to_lint0());
    local.apic.set_lint0(Some(true));
    // Neither task priority nor vectors matter to it.
    local.write(reg::TPR, 0xFF);
    assert_eq!(local.take(), Acknowledged::External);
    local.apic.set_lint0(Some(false));
    assert!(!local.apic.intr() && local.apic.lint1());
    // Switched off by software again, all entries are masked and stay so.
    local.apic.set_lint0(Some(true));
    local.write(reg::SVR, 0xFF);
    local.write(reg::LVT_LINT0, 0x700);
    assert_eq!(local.read(reg::LVT_LINT0), 0x700 | lvt::MASKED);
    assert!(!local.apic.intr());
    // Switched off altogether, the pins pass; back on it is as after reset.
    local.apic.set_base(LOCAL_BASE);
    local.apic.set_lint0(Some(true));
    assert!(local.apic.page().is_none() && local.apic.intr());
    local.apic.set_base(0x8_0000 | BASE_ENABLE);
    assert_eq!(local.apic.page(), Some(0x8_0000));
    assert_eq!(local.read(reg::LVT_LINT0), lvt::MASKED);
}

#[test]
fn lint0_as_an_ordinary_interrupt() {
    let mut local = Local::enabled();
    local.apic.set_lint0(Some(true));
    local.write(reg::LVT_LINT0, 0x60);
    local.apic.set_lint0(Some(true));
    assert!(!local.apic.intr(), "no edge");
    local.apic.set_lint0(Some(false));
    local.apic.set_lint0(Some(true));
    assert_eq!(local.take(), Acknowledged::Vector(0x60));
    local.write(reg::EOI, 0);
    // Level triggered: again and again while it is asserted, once for each service.
    local.write(reg::LVT_LINT0, 0x61 | lvt::LEVEL);
    for _ in 0..2 {
        local.apic.set_lint0(Some(true));
        local.apic.set_lint0(Some(true));
        assert_eq!(local.take(), Acknowledged::Vector(0x61));
        assert!(!local.apic.intr() && local.read(reg::LVT_LINT0) & lvt::REMOTE_IRR != 0);
        local.write(reg::EOI, 0);
    }
    assert_eq!(local.read(reg::LVT_LINT0) & lvt::REMOTE_IRR, 0);
}

#[test]
fn priorities_hold_requests_back() {
    let mut local = Local::enabled();
    assert!(local.send(0x31, false) && local.send(0x52, false) && local.send(0x38, false));
    assert_eq!(local.read(reg::IRR + 0x10), 1 << 17 | 1 << 24);
    local.write(reg::TPR, 0x50);
    assert!(!local.apic.intr(), "the class of the task's priority is held back too");
    local.write(reg::TPR, 0x4F);
    assert_eq!(local.take(), Acknowledged::Vector(0x52));
    assert_eq!((local.read(reg::PPR), local.read(reg::ISR + 0x20)), (0x50, 1 << 18));
    // The same class waits for the end of the service, a higher one does not.
    local.write(reg::TPR, 0);
    assert!(local.send(0x5F, false) && !local.apic.intr());
    assert!(local.send(0x60, false));
    assert_eq!(local.take(), Acknowledged::Vector(0x60));
    local.write(reg::EOI, 0);
    assert!(!local.apic.intr());
    local.write(reg::EOI, 0);
    for vector in [0x5F, 0x38, 0x31] {
        assert_eq!(local.take(), Acknowledged::Vector(vector));
        local.write(reg::EOI, 0);
    }
    // A request that the task's priority outran gives the spurious vector, which is not in service.
    assert!(local.send(0x40, false) && local.apic.intr());
    local.write(reg::TPR, 0x40);
    assert_eq!(local.apic.acknowledge(), Acknowledged::Vector(0xFF));
    assert_eq!((0..8).map(|n| local.read(reg::ISR + 0x10 * n)).sum::<u32>(), 0);
}

#[test]
fn the_timer_counts_once_again_and_again_or_to_a_deadline() {
    // 100 MHz divided by each value of the register.
    for (divide, by) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
        let mut local = Local::enabled();
        local.write(reg::LVT_TIMER, 0x40);
        local.write(reg::DIVIDE, divide);
        local.write_at(1_000, reg::INITIAL_COUNT, 100);
        assert_eq!(local.apic.next_event(), Some(1_000 + 1_000 * by), "divided by {by}");
        assert_eq!(local.read_at(1_000 + 300 * by, reg::CURRENT_COUNT), 70);
        local.apic.advance(999 + 1_000 * by);
        assert!(!local.apic.intr());
        local.apic.advance(1_000 + 1_000 * by);
        assert_eq!((local.take(), local.apic.next_event()), (Acknowledged::Vector(0x40), None));
        assert_eq!(local.read_at(1 << 40, reg::CURRENT_COUNT), 0);
    }
    let mut local = Local::enabled();
    local.write(reg::LVT_TIMER, 0x41 | PERIODIC);
    local.write(reg::DIVIDE, 0xB);
    local.write(reg::INITIAL_COUNT, 100);
    for round in 1..4 {
        assert_eq!(local.apic.next_event(), Some(round * 1_000));
        local.apic.advance(round * 1_000);
        assert_eq!(local.take(), Acknowledged::Vector(0x41));
        local.write_at(round * 1_000, reg::EOI, 0);
    }
    // Late by several periods: one interrupt, and the count is where it would be.
    assert_eq!(local.read_at(9_250, reg::CURRENT_COUNT), 75);
    assert_eq!((local.take(), local.apic.next_event()), (Acknowledged::Vector(0x41), Some(10_000)));
    local.write(reg::EOI, 0);
    // Masked it wakes nobody, and counts on.
    local.write_at(9_250, reg::LVT_TIMER, 0x41 | PERIODIC | lvt::MASKED);
    assert_eq!((local.apic.next_event(), local.read_at(20_500, reg::CURRENT_COUNT)), (None, 50));
    assert!(!local.apic.intr());
    local.write_at(20_500, reg::INITIAL_COUNT, 0);
    assert_eq!(local.read_at(20_600, reg::CURRENT_COUNT), 0);
    // Deadlines: nothing in the other modes, once in theirs.
    local.apic.set_deadline(20_600, Some(30_000));
    assert_eq!(local.apic.deadline(), None);
    local.write_at(20_600, reg::LVT_TIMER, 0x42 | DEADLINE);
    local.write_at(20_600, reg::INITIAL_COUNT, 7);
    local.apic.set_deadline(20_600, Some(30_000));
    assert_eq!((local.apic.next_event(), local.read_at(29_999, reg::INITIAL_COUNT)), (Some(30_000), 0));
    local.apic.advance(30_000);
    assert_eq!((local.take(), local.apic.deadline()), (Acknowledged::Vector(0x42), None));
    local.write(reg::EOI, 0);
    // One that has passed fires at once.
    local.apic.set_deadline(30_000, Some(1));
    assert_eq!(local.take(), Acknowledged::Vector(0x42));
    // Earlier generations have no such mode.
    let mut p6 = Local::new(Generation::P6);
    p6.write(reg::SVR, ENABLED);
    p6.write(reg::LVT_TIMER, 0x42 | DEADLINE);
    assert_eq!(p6.read(reg::LVT_TIMER), 0x42);
}

#[test]
fn commands_reach_the_processor_itself() {
    let mut local = Local::enabled();
    local.write(reg::ICR_LOW, 0x0004_4050);
    assert_eq!((local.take(), local.read(reg::ICR_LOW)), (Acknowledged::Vector(0x50), 0x0004_4050));
    local.write(reg::EOI, 0);
    // By its ID, to everyone, by its logical ID.
    local.write(reg::ID, 3 << 24);
    local.write(reg::ICR_HIGH, 3 << 24);
    local.write(reg::ICR_LOW, 0x51);
    assert_eq!(local.take(), Acknowledged::Vector(0x51));
    local.write(reg::EOI, 0);
    local.write(reg::ICR_LOW, 0x0008_0052);
    assert_eq!(local.take(), Acknowledged::Vector(0x52));
    local.write(reg::EOI, 0);
    local.write(reg::LDR, 0x24 << 24);
    for (format, destination, reached) in
        [(u32::MAX, 0x04, true), (u32::MAX, 0x08, false), (0, 0x26, true), (0, 0x14, false), (0, 0xFF, true)]
    {
        local.write(reg::DFR, format);
        local.write(reg::ICR_HIGH, destination << 24);
        local.write(reg::ICR_LOW, 0x853);
        assert_eq!(local.apic.intr(), reached, "{format:x} {destination:x}");
        if reached {
            assert_eq!(local.take(), Acknowledged::Vector(0x53));
            local.write(reg::EOI, 0);
        }
    }
    // Everyone but itself is nobody.
    local.write(reg::ICR_LOW, 0x000C_0054);
    assert!(!local.apic.intr());
    // NMI, and INIT, which resets the APIC.
    local.write(reg::ICR_HIGH, 3 << 24);
    local.write(reg::ICR_LOW, 0x4400);
    assert!(local.wiring.nmi.take());
    local.write(reg::ICR_LOW, 0x8500);
    assert!(!local.wiring.init.is_raised(), "level de-assert");
    local.write(reg::ICR_LOW, 0x4500);
    assert!(local.wiring.init.take());
    assert_eq!(local.read(reg::SVR), 0xFF);
}

#[test]
fn errors_are_latched_by_a_write() {
    let mut local = Local::enabled();
    local.write(reg::LVT_ERROR, 0xE0);
    local.write(reg::ICR_LOW, 0x0004_0005);
    assert_eq!(local.take(), Acknowledged::Vector(0xE0));
    local.write(reg::EOI, 0);
    assert_eq!(local.read(reg::ESR), 0);
    local.write(reg::ESR, 0);
    assert_eq!(local.read(reg::ESR), esr::SEND_VECTOR);
    local.send(0x0F, false);
    local.write(0x3F0, 0);
    local.write(reg::ESR, 0);
    assert_eq!(local.read(reg::ESR), esr::RECEIVED_VECTOR | esr::REGISTER);
    local.write(reg::ESR, 0);
    assert_eq!(local.read(reg::ESR), 0);
    // A P6 notices that nobody accepts.
    let mut p6 = Local::new(Generation::P6);
    p6.write(reg::SVR, ENABLED);
    p6.write(reg::ICR_HIGH, 5 << 24);
    p6.write(reg::ICR_LOW, 0x50);
    p6.write(reg::ESR, 0);
    assert_eq!(p6.read(reg::ESR), esr::SEND_ACCEPT);
}

/// An I/O APIC with a local one.
struct Pair {
    local: Local,
    io: IoApic,
    inputs: IrqInputs,
}

impl Pair {
    fn new() -> Self {
        let inputs = IrqInputs::new();
        Self { local: Local::enabled(), io: IoApic::new(inputs.clone(), 0x00FF_0000), inputs }
    }

    fn read(&mut self, register: u8) -> u32 {
        self.io.mmio_write(0, 0xFEC0_0000, 4, register.into());
        self.io.mmio_read(0, 0xFEC0_0010, 4) as u32
    }

    fn write(&mut self, register: u8, value: u32) {
        self.io.mmio_write(0, 0xFEC0_0000, 4, register.into());
        self.io.mmio_write(0, 0xFEC0_0010, 4, value.into());
        self.service();
    }

    fn service(&mut self) {
        let apic = &mut self.local.apic;
        self.io.service(|message| apic.accept(message));
    }

    fn end(&mut self) {
        self.local.write(reg::EOI, 0);
        if let Some(vector) = self.local.apic.take_ended() {
            self.io.end_of_interrupt(vector);
        }
        self.service();
    }
}

#[test]
fn io_apic_registers() {
    let mut pair = Pair::new();
    assert_eq!((pair.read(0), pair.read(1), pair.read(0x10)), (0, 0x0017_0011, lvt::MASKED));
    pair.write(0, u32::MAX);
    assert_eq!((pair.read(0), pair.read(2)), (0x0F00_0000, 0x0F00_0000));
    pair.write(0x3E, u32::MAX);
    pair.write(0x3F, u32::MAX);
    // Delivery status and remote IRR are the chip's own.
    assert_eq!((pair.read(0x3E), pair.read(0x3F)), (0x0001_AFFF, 0xFF00_0000));
    pair.write(0x40, 1);
    assert_eq!(pair.read(0x40), u32::MAX);
    // The select register can be read back, a byte at a time too.
    assert_eq!(pair.io.mmio_read(0, 0xFEC0_0000, 1), 0x40);
    pair.io.reset();
    assert_eq!((pair.read(0), pair.read(0x3E)), (0, lvt::MASKED));
}

#[test]
fn edges_count_once_and_are_lost_while_masked() {
    let mut pair = Pair::new();
    let line = pair.inputs.line(4);
    line.set_level(true);
    pair.service();
    pair.write(0x18, 0x34);
    assert!(!pair.local.apic.intr(), "the edge came while the input was masked");
    line.pulse();
    pair.service();
    assert_eq!(pair.local.take(), Acknowledged::Vector(0x34));
    pair.service();
    pair.end();
    assert!(!pair.local.apic.intr());
    // A pulse between two looks.
    line.set_level(false);
    pair.service();
    line.set_level(true);
    line.set_level(false);
    pair.service();
    assert_eq!(pair.local.take(), Acknowledged::Vector(0x34));
    pair.end();
    // Active low: the falling edge, even if it is over already.
    pair.write(0x18, 0x35 | lvt::ACTIVE_LOW);
    line.set_level(true);
    pair.service();
    assert!(!pair.local.apic.intr());
    line.pulse();
    pair.service();
    assert_eq!(pair.local.take(), Acknowledged::Vector(0x35));
}

#[test]
fn levels_repeat_after_the_end_of_their_service() {
    // An ISA line is high while driven, a PCI line low.
    for (pin, polarity) in [(9, 0), (17, lvt::ACTIVE_LOW)] {
        let mut pair = Pair::new();
        let line = pair.inputs.line(pin);
        let entry = 0x10 + 2 * pin as u8;
        pair.write(entry, 0x71 | lvt::LEVEL | polarity);
        assert!(!pair.local.apic.intr());
        line.set_level(true);
        pair.service();
        assert_eq!(pair.read(entry) & lvt::REMOTE_IRR, lvt::REMOTE_IRR);
        assert_eq!(pair.local.take(), Acknowledged::Vector(0x71));
        assert_eq!(pair.local.read(reg::TMR + 0x30), 1 << 17);
        pair.service();
        assert!(!pair.local.apic.intr(), "it is in service");
        pair.end();
        assert_eq!(pair.local.take(), Acknowledged::Vector(0x71));
        // Masked and back, it waits for the end of the service all the same.
        pair.write(entry, 0x71 | lvt::LEVEL | polarity | lvt::MASKED);
        pair.write(entry, 0x71 | lvt::LEVEL | polarity);
        line.set_level(false);
        pair.end();
        assert!(!pair.local.apic.intr() && pair.read(entry) & lvt::REMOTE_IRR == 0);
        // With the other polarity an idle line interrupts.
        pair.write(entry, 0x72 | lvt::LEVEL | polarity ^ lvt::ACTIVE_LOW);
        assert_eq!(pair.local.take(), Acknowledged::Vector(0x72));
    }
}

#[test]
fn a_level_that_nobody_accepts_is_sent_again() {
    let mut pair = Pair::new();
    pair.local.apic.reset();
    let line = pair.inputs.line(10);
    pair.write(0x24, 0x45 | lvt::LEVEL);
    line.set_level(true);
    pair.service();
    assert_eq!(pair.read(0x24) & lvt::REMOTE_IRR, 0);
    pair.local.write(reg::SVR, ENABLED);
    pair.io.retry();
    pair.service();
    assert_eq!(pair.local.take(), Acknowledged::Vector(0x45));
}

#[test]
fn redirection_reaches_nmi_and_the_8259a() {
    let mut pair = Pair::new();
    let line = pair.inputs.line(0);
    pair.write(0x10, 0x400);
    line.pulse();
    pair.service();
    assert!(pair.local.wiring.nmi.take());
    pair.write(0x10, 0x700);
    line.pulse();
    pair.service();
    assert_eq!(pair.local.take(), Acknowledged::External);
    assert!(!pair.local.apic.intr());
    // For another processor.
    pair.write(0x11, 5 << 24);
    pair.write(0x10, 0x50);
    line.pulse();
    pair.service();
    assert!(!pair.local.apic.intr());
}
