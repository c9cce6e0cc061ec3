//! The high precision event timers: one counter, three comparators, interrupts to the I/O APIC or in place of the 8254's
//! and the clock chip's.

pub mod spec;
#[cfg(test)]
mod tests;

use crate::clock::earliest;
use crate::{IrqLine, Mmio, Router, Time, Timed};
use spec::{CAPABILITIES, CLOCK, FIRST_ROUTE, ROUTES, TIMERS, gen_conf, register, tim_conf};

/// Where the interrupts go.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// In legacy replacement mode: timer 0 to IRQ 0 and timer 1 to IRQ 8.
    pub legacy: [IrqLine; 2],
    /// The wires that timers 0 and 1 replace: the 8254's and the clock chip's, whose output 0 is their interrupt.
    pub replaced: [Router; 2],
    /// For each timer its line to I/O APIC inputs 20 to 23.
    pub routes: [[IrqLine; 4]; TIMERS],
}

/// Volatile state of one timer.
#[derive(Clone, Copy, Debug, Default)]
struct Timer {
    conf: u64,
    /// The counter value that is waited for.
    comparator: u64,
    /// What a periodic timer adds to it.
    period: u64,
}

impl Timer {
    fn mask(&self) -> u64 {
        if self.conf & tim_conf::MODE32_CNF != 0 { u32::MAX.into() } else { u64::MAX }
    }

    /// Ticks from `counter` to the next match, at least one; `None` for 2^64.
    fn distance(&self, counter: u64) -> Option<u64> {
        let mask = self.mask();
        match self.comparator.wrapping_sub(counter) & mask {
            0 => mask.checked_add(1),
            distance => Some(distance),
        }
    }

    /// Whether a match occurs within `ticks` from `counter` on; a periodic timer is then set to the next one.
    fn run(&mut self, counter: u64, ticks: u64) -> bool {
        let Some(distance) = self.distance(counter).filter(|distance| *distance <= ticks) else { return false };
        if self.conf & tim_conf::TYPE_CNF != 0 && self.period != 0 {
            let periods = 1 + (ticks - distance) / self.period;
            self.comparator = self.comparator.wrapping_add(periods.wrapping_mul(self.period)) & self.mask();
        }
        true
    }
}

/// The timer block; its registers fill 1 KiB.
#[derive(Debug)]
pub struct Hpet {
    // Wiring.
    wiring: Wiring,
    // Volatile state.
    conf: u64,
    status: u64,
    counter: u64,
    /// Clock ticks up to which the counter was brought.
    ticks: u64,
    timers: [Timer; TIMERS],
}

impl Hpet {
    /// Timers as after reset.
    pub fn new(wiring: Wiring) -> Self {
        let mut hpet = Self { wiring, conf: 0, status: 0, counter: 0, ticks: 0, timers: Default::default() };
        hpet.rewire();
        hpet
    }

    /// The system's reset.
    pub fn reset(&mut self, now: Time) {
        *self = Self { ticks: CLOCK.ticks(now), ..Self::new(self.wiring.clone()) };
    }

    fn is_running(&self) -> bool {
        self.conf & gen_conf::ENABLE_CNF != 0
    }

    /// The line that a timer drives now.
    fn line(&self, number: usize) -> Option<&IrqLine> {
        if self.conf & gen_conf::LEG_RT_CNF != 0
            && let Some(line) = self.wiring.legacy.get(number)
        {
            return Some(line);
        }
        let route = (self.timers[number].conf >> tim_conf::INT_ROUTE_SHIFT & 0x1F) as usize;
        self.wiring.routes[number].get(route.checked_sub(FIRST_ROUTE)?)
    }

    /// After configuration changed: connects the legacy interrupts, and drives the lines that are in use.
    fn rewire(&mut self) {
        let replaces = self.conf & gen_conf::LEG_RT_CNF != 0;
        for router in &self.wiring.replaced {
            router.select((!replaces).then_some(0));
        }
        for number in 0..TIMERS {
            let conf = self.timers[number].conf;
            let level = conf & tim_conf::INT_TYPE_CNF != 0;
            let open = self.is_running() && conf & tim_conf::INT_ENB_CNF != 0;
            let used = self.line(number);
            // An edge leaves its line high until the next one.
            let high = open && if level { self.status >> number & 1 != 0 } else { used.is_some_and(IrqLine::level) };
            if let Some(line) = used {
                line.set_level(high);
            }
            for line in self.wiring.routes[number].iter().chain(self.wiring.legacy.get(number)) {
                if !used.is_some_and(|used| std::ptr::eq(used, line)) {
                    line.set_level(false);
                }
            }
        }
    }

    fn fire(&mut self, number: usize) {
        let conf = self.timers[number].conf;
        let level = conf & tim_conf::INT_TYPE_CNF != 0;
        if level {
            self.status |= 1 << number;
        }
        let Some(line) = self.line(number).filter(|_| conf & tim_conf::INT_ENB_CNF != 0) else { return };
        if level {
            line.set_level(true);
        } else {
            line.pulse();
        }
    }

    fn read(&self, offset: u64) -> u64 {
        match offset {
            register::GCAP_ID => CAPABILITIES,
            register::GEN_CONF => self.conf,
            register::GINTR_STA => self.status,
            register::MAIN_CNT => self.counter,
            _ => {
                let Some((timer, register)) = timer_at(offset) else { return 0 };
                let timer = &self.timers[timer];
                match register {
                    register::TIM_CONF => timer.conf | ROUTES << 32 | tim_conf::PER_INT_CAP | tim_conf::SIZE_CAP,
                    register::TIM_COMP => timer.comparator,
                    _ => 0,
                }
            }
        }
    }

    /// Writes the bits of `mask` in the register at `offset`.
    fn write(&mut self, offset: u64, value: u64, mask: u64) {
        let merged = |old: u64| old & !mask | value & mask;
        match offset {
            register::GEN_CONF => self.conf = merged(self.conf) & 3,
            register::GINTR_STA => self.status &= !(value & mask),
            // The counter is to be written while it stands; a running one takes the value too.
            register::MAIN_CNT => self.counter = merged(self.counter),
            _ => {
                let Some((number, register)) = timer_at(offset) else { return };
                let timer = &mut self.timers[number];
                match register {
                    register::TIM_CONF => {
                        timer.conf = merged(timer.conf) & tim_conf::WRITABLE;
                        timer.comparator &= timer.mask();
                        timer.period &= timer.mask();
                        if timer.conf & tim_conf::INT_TYPE_CNF == 0 {
                            self.status &= !(1 << number);
                        }
                    }
                    register::TIM_COMP => {
                        let periodic = timer.conf & tim_conf::TYPE_CNF != 0;
                        if !periodic || timer.conf & tim_conf::VAL_SET_CNF != 0 {
                            timer.comparator = merged(timer.comparator) & timer.mask();
                        }
                        if periodic {
                            timer.period = merged(timer.period) & timer.mask();
                        }
                        timer.conf &= !tim_conf::VAL_SET_CNF;
                    }
                    _ => {}
                }
            }
        }
        self.rewire();
    }
}

/// Which timer's registers are at `offset`, and which of them.
fn timer_at(offset: u64) -> Option<(usize, u64)> {
    let timer = offset.checked_sub(register::TIMER)? / 0x20;
    (timer < TIMERS as u64).then_some((timer as usize, offset & 0x1F))
}

impl Timed for Hpet {
    fn next_event(&self) -> Option<Time> {
        if !self.is_running() {
            return None;
        }
        let open = self.timers.iter().filter(|timer| timer.conf & tim_conf::INT_ENB_CNF != 0);
        let ticks = open.filter_map(|timer| self.ticks.checked_add(timer.distance(self.counter)?));
        ticks.fold(None, |event, tick| earliest(event, CLOCK.time_of(tick)))
    }

    fn advance(&mut self, now: Time) {
        let ticks = CLOCK.ticks(now);
        let gone = ticks.saturating_sub(self.ticks);
        self.ticks = self.ticks.max(ticks);
        if gone == 0 || !self.is_running() {
            return;
        }
        for number in 0..TIMERS {
            if self.timers[number].run(self.counter, gone) {
                self.fire(number);
            }
        }
        self.counter = self.counter.wrapping_add(gone);
    }
}

impl Mmio for Hpet {
    fn mmio_read(&mut self, now: Time, address: u64, size: u8) -> u64 {
        self.advance(now);
        let value = self.read(address & 0x3F8) >> (8 * (address & 7));
        value & (u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8))))
    }

    fn mmio_write(&mut self, now: Time, address: u64, size: u8, value: u64) {
        self.advance(now);
        let shift = 8 * (address & 7);
        let mask = u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)));
        self.write(address & 0x3F8, value << shift, mask << shift);
    }
}
