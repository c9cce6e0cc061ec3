//! The timers against the HPET specification.

use super::spec::PERIOD;
use super::*;
use crate::IrqInputs;

struct Bench {
    hpet: Hpet,
    /// Inputs 0 and 8 are the legacy interrupts, 1 and 9 what they replace, 20 to 23 the I/O APIC's.
    inputs: IrqInputs,
    replaced: [IrqLine; 2],
    now: Time,
}

/// A million ticks.
const SPAN: u64 = 1_000_000;

fn time(ticks: u64) -> Time {
    CLOCK.time_of(ticks).unwrap()
}

impl Bench {
    fn new() -> Self {
        let inputs = IrqInputs::new();
        let replaced = [Router::new(vec![inputs.line(1)]), Router::new(vec![inputs.line(9)])];
        let lines = replaced.each_ref().map(Router::line);
        let routes = std::array::from_fn(|_| std::array::from_fn(|n| inputs.line(20 + n)));
        let wiring = Wiring { legacy: [inputs.line(0), inputs.line(8)], replaced, routes };
        Self { hpet: Hpet::new(wiring), inputs, replaced: lines, now: 0 }
    }

    fn read(&mut self, offset: u64) -> u64 {
        self.hpet.mmio_read(self.now, 0xFED0_0000 + offset, 8)
    }

    fn write(&mut self, offset: u64, value: u64) {
        self.hpet.mmio_write(self.now, 0xFED0_0000 + offset, 8, value);
    }

    /// Goes to the next event, which must be at `ticks`, and returns the inputs that rose.
    fn event(&mut self, ticks: u64) -> u32 {
        assert_eq!(self.hpet.next_event(), Some(time(ticks)));
        self.now = time(ticks) - 1;
        self.hpet.advance(self.now);
        assert_eq!(self.inputs.take_rises(), 0);
        self.now += 1;
        self.hpet.advance(self.now);
        self.inputs.take_rises()
    }
}

#[test]
fn capabilities_and_the_counter() {
    let mut b = Bench::new();
    assert_eq!(b.read(register::GCAP_ID), 0x0429_B176_8086_A201);
    // 14.31818 MHz: the period in femtoseconds fits the clock to one in a hundred million.
    let second = CLOCK.ticks(1_000_000_000);
    assert!(second == 14_318_181 && (second * PERIOD).abs_diff(1_000_000_000_000_000) < 100_000_000);
    b.now = time(5);
    assert_eq!(b.read(register::MAIN_CNT), 0, "it stands");
    b.write(register::MAIN_CNT, 1 << 33);
    b.write(register::GEN_CONF, gen_conf::ENABLE_CNF);
    b.now = time(105);
    assert_eq!(b.read(register::MAIN_CNT), (1 << 33) + 100);
    assert_eq!(b.hpet.mmio_read(b.now, 0xFED0_00F4, 4), 2);
    b.write(register::GEN_CONF, 0);
    b.now = time(200);
    assert_eq!(b.read(register::MAIN_CNT), (1 << 33) + 100);
    for n in 0..3 {
        assert_eq!(b.read(0x100 + 0x20 * n) >> 32, 0xF0_0000);
    }
    assert_eq!((b.read(0x160), b.read(0x180)), (0, 0));
}

#[test]
fn one_shot_on_a_routed_input() {
    let mut b = Bench::new();
    b.write(0x140, 22 << 9 | tim_conf::INT_ENB_CNF);
    b.write(0x148, SPAN);
    assert_eq!(b.hpet.next_event(), None, "it stands");
    b.write(register::GEN_CONF, gen_conf::ENABLE_CNF);
    assert_eq!(b.event(SPAN), 1 << 22);
    assert_eq!(b.hpet.next_event(), None, "the next match is 2^64 ticks away");
    assert_eq!(b.read(register::GINTR_STA), 0, "edges leave no status");
    // In 32-bit mode the counter comes round again.
    b.write(0x140, 22 << 9 | tim_conf::INT_ENB_CNF | tim_conf::MODE32_CNF);
    assert_eq!(b.event(SPAN + (1 << 32)), 1 << 22);
    // The next edge needs no one to take the last.
    b.write(0x148, SPAN + (1 << 32) + 50);
    assert_eq!(b.event(SPAN + (1 << 32) + 50), 1 << 22);
    b.write(0x140, 0);
    assert_eq!(b.inputs.levels(), 0);
}

#[test]
fn levels_stay_until_the_status_is_cleared() {
    let mut b = Bench::new();
    b.write(0x120, 20 << 9 | tim_conf::INT_ENB_CNF | tim_conf::INT_TYPE_CNF);
    b.write(0x128, SPAN);
    b.write(register::GEN_CONF, gen_conf::ENABLE_CNF);
    assert_eq!(b.event(SPAN), 1 << 20);
    assert_eq!((b.read(register::GINTR_STA), b.inputs.levels()), (2, 1 << 20));
    b.write(register::GINTR_STA, 1);
    assert_eq!(b.inputs.levels(), 1 << 20);
    b.write(register::GINTR_STA, 2);
    assert_eq!((b.read(register::GINTR_STA), b.inputs.levels()), (0, 0));
}

#[test]
fn periodic_in_place_of_the_8254() {
    let mut b = Bench::new();
    b.replaced[0].set_level(true);
    b.replaced[1].set_level(true);
    assert_eq!(b.inputs.take_rises(), 1 << 1 | 1 << 9);
    b.write(register::GEN_CONF, gen_conf::ENABLE_CNF | gen_conf::LEG_RT_CNF);
    assert_eq!(b.inputs.levels(), 0, "what is replaced is cut off");
    let conf = tim_conf::INT_ENB_CNF | tim_conf::TYPE_CNF;
    // The accumulator is set by the first write, the period by the second.
    b.write(0x100, conf | tim_conf::VAL_SET_CNF);
    b.write(0x108, SPAN + 17);
    assert_eq!(b.read(0x100) & tim_conf::VAL_SET_CNF, 0);
    b.write(0x108, SPAN);
    for round in 1..4 {
        assert_eq!(b.event(round * SPAN + 17), 1 << 0);
        assert_eq!(b.read(0x108), (round + 1) * SPAN + 17);
    }
    // Late by periods: one interrupt, and the comparator is ahead.
    b.now = time(10 * SPAN);
    assert_eq!(b.read(0x108), 10 * SPAN + 17);
    assert_eq!(b.inputs.take_rises(), 1 << 0);
    // Timer 1 is the clock chip's, timer 2 has its route.
    b.write(0x120, tim_conf::INT_ENB_CNF);
    b.write(0x128, 10 * SPAN + 5);
    assert_eq!(b.event(10 * SPAN + 5), 1 << 8);
    b.write(register::GEN_CONF, 0);
    assert_eq!((b.inputs.levels(), b.hpet.next_event()), (1 << 1 | 1 << 9, None));
    // With one write of both, as the specification's recipe has it.
    let mut b = Bench::new();
    b.write(0x100, conf | tim_conf::VAL_SET_CNF | 21 << 9);
    b.write(0x108, SPAN);
    b.write(register::GEN_CONF, gen_conf::ENABLE_CNF);
    assert_eq!((b.event(SPAN), b.event(2 * SPAN)), (1 << 21, 1 << 21));
    b.hpet.reset(b.now);
    assert_eq!((b.hpet.next_event(), b.inputs.levels(), b.read(0x108)), (None, 0, 0));
}
