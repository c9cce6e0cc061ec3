//! The 8254 interval timer, with port 61h: counter 2's gate and output, the speaker, and the NMI sources.

mod counter;
pub mod spec;
#[cfg(test)]
mod tests;

use crate::sound::{Step, Track};
use crate::{BytePorts, IrqLine, Latch, Time, Timed};
use counter::Counter;
use spec::{CLOCK, CONTROL_WORD, COUNTER_0, COUNTER_2, NMI_SC, REFRESH_TICKS, control, nmi_sc, read_back};

/// The interval timer at ports 40h-43h and the NMI status and control register at port 61h.
#[derive(Debug)]
pub struct Pit {
    // Wiring.
    out0: IrqLine,
    nmi: Latch,
    // Parts.
    counters: [Counter; 3],
    // Volatile state.
    /// Clock pulses applied so far.
    ticks: u64,
    port_b: u8,
    speaker: Track,
    /// The level of a speaker that is driven.
    amplitude: i32,
}

impl Pit {
    /// A timer as after power-on. `out0` is counter 0's output; `nmi` is raised by [`Pit::channel_check`] and
    /// [`Pit::system_error`] when port 61h lets them through.
    pub fn new(out0: IrqLine, nmi: Latch) -> Self {
        Self { out0, nmi, counters: Self::counters(), ticks: 0, port_b: 0, speaker: Track::default(), amplitude: 0 }
    }

    /// GATE 0 and 1 are tied high; GATE 2 is bit 0 of port 61h.
    fn counters() -> [Counter; 3] {
        [Counter::new(true), Counter::new(true), Counter::new(false)]
    }

    /// The system's reset: port 61h clears. The 8254 has no reset pin, so its counters run on.
    pub fn reset(&mut self, now: Time) {
        self.advance(now);
        self.set_port_b(0);
        self.note_speaker(now);
    }

    /// The level of a counter's OUT (0 to 2) at `now`; a counter that does not exist is low.
    pub fn out(&mut self, now: Time, counter: usize) -> bool {
        self.advance(now);
        self.counters.get(counter).is_some_and(|c| c.out)
    }

    /// The level that drives the speaker: counter 2's OUT while speaker data is enabled.
    fn speaker_level(&self) -> bool {
        self.counters[2].out && self.port_b & nmi_sc::SPKR_DAT_EN != 0
    }

    /// Whether the speaker is driven at `now`.
    pub fn speaker(&mut self, now: Time) -> bool {
        self.advance(now);
        self.speaker_level()
    }

    /// Keeps what the speaker plays from now on: 0, or `amplitude` while it is driven.
    pub fn listen(&mut self, amplitude: i32) {
        self.amplitude = amplitude;
        self.speaker.listen();
    }

    /// Moves what the speaker played up to `now` to `steps`.
    pub fn hear(&mut self, now: Time, steps: &mut Vec<Step>) {
        self.advance(now);
        self.speaker.take(steps);
    }

    /// Notes down the speaker's level at `time`.
    fn note_speaker(&mut self, time: Time) {
        let level = if self.speaker_level() { self.amplitude } else { 0 };
        self.speaker.set(time, level, level);
    }

    /// Applies `clocks` pulses to counter 2, the first of them behind pulse `done`. If the speaker is heard, stops at
    /// each change of OUT to note it down.
    fn run_speaker(&mut self, done: u64, clocks: u64) {
        let mut left = clocks;
        if self.port_b & nmi_sc::SPKR_DAT_EN != 0 {
            while self.speaker.has_room()
                && let Some(next) = self.counters[2].next_change().filter(|next| *next <= left)
            {
                self.counters[2].run(next);
                left -= next;
                if let Some(time) = CLOCK.time_of(done + (clocks - left)) {
                    self.note_speaker(time);
                }
            }
        }
        self.counters[2].run(left);
    }

    /// IOCHK# was asserted by an expansion card.
    pub fn channel_check(&mut self) {
        self.report(nmi_sc::IOCHK_EN, nmi_sc::IOCHK_NMI_STS);
    }

    /// SERR# was asserted by a PCI agent (or parity failed in older machines).
    pub fn system_error(&mut self) {
        self.report(nmi_sc::PCI_SERR_EN, nmi_sc::SERR_NMI_STS);
    }

    fn report(&mut self, disable: u8, source: u8) {
        if self.port_b & disable == 0 {
            self.port_b |= source;
            self.nmi.raise();
        }
    }

    fn set_port_b(&mut self, value: u8) {
        let mut sources = self.port_b & !nmi_sc::WRITABLE;
        if value & nmi_sc::PCI_SERR_EN != 0 {
            sources &= !nmi_sc::SERR_NMI_STS;
        }
        if value & nmi_sc::IOCHK_EN != 0 {
            sources &= !nmi_sc::IOCHK_NMI_STS;
        }
        self.port_b = sources | value & nmi_sc::WRITABLE;
        self.counters[2].set_gate(value & nmi_sc::TIM_CNT2_EN != 0);
    }

    fn event(&self, counter: usize) -> Option<Time> {
        let clocks = self.counters[counter].next_change()?;
        CLOCK.time_of(self.ticks.checked_add(clocks)?)
    }

    fn control(&mut self, value: u8) {
        let select = value >> control::SC_SHIFT;
        if select != control::READ_BACK {
            self.counters[usize::from(select)].control(value);
            return;
        }
        for (i, counter) in self.counters.iter_mut().enumerate() {
            if value & (read_back::COUNTER_0 << i) != 0 {
                if value & read_back::NO_COUNT == 0 {
                    counter.latch_count();
                }
                if value & read_back::NO_STATUS == 0 {
                    counter.latch_status();
                }
            }
        }
    }
}

impl Timed for Pit {
    fn next_event(&self) -> Option<Time> {
        self.event(0)
    }

    fn advance(&mut self, now: Time) {
        let ticks = CLOCK.ticks(now);
        let clocks = ticks.saturating_sub(self.ticks);
        if clocks == 0 {
            return;
        }
        let done = std::mem::replace(&mut self.ticks, ticks);
        let [zero, one, _] = &mut self.counters;
        if zero.run(clocks) {
            self.out0.pulse();
        }
        self.out0.set_level(zero.out);
        one.run(clocks);
        self.run_speaker(done, clocks);
    }
}

impl BytePorts for Pit {
    fn read8(&mut self, now: Time, port: u16) -> u8 {
        self.advance(now);
        match port {
            NMI_SC => {
                let toggle = if (self.ticks / REFRESH_TICKS) & 1 != 0 { nmi_sc::REF_TOGGLE } else { 0 };
                let out2 = if self.counters[2].out { nmi_sc::TMR2_OUT_STS } else { 0 };
                self.port_b | toggle | out2
            }
            COUNTER_0..=COUNTER_2 => self.counters[usize::from(port & 3)].read(),
            // The control word register cannot be read: nobody drives the bus.
            _ => 0xFF,
        }
    }

    fn write8(&mut self, now: Time, port: u16, value: u8) {
        self.advance(now);
        match port {
            NMI_SC => self.set_port_b(value),
            COUNTER_0..=COUNTER_2 => self.counters[usize::from(port & 3)].write(value),
            CONTROL_WORD => self.control(value),
            _ => {}
        }
        self.out0.set_level(self.counters[0].out);
        self.note_speaker(now);
    }
}
