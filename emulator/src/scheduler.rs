//! Guest time: where it comes from, and how many instructions fit before a device wants attention.
//!
//! Two clocks. The virtual one counts retired instructions at a fixed rate, so that a run is the same every time; the
//! host-paced one is the host's monotonic clock. The time stamp counter is guest time at [`TSC_HZ`] with either.

use ring86_devices::Time;
use std::time::{Duration, Instant};

/// Guest nanoseconds that one instruction takes on the virtual clock: 100 million instructions a second.
pub const NS_PER_INSTRUCTION: u64 = 10;
/// Frequency of the time stamp counter: one tick for each nanosecond of guest time.
pub const TSC_HZ: u64 = 1_000_000_000;
/// Longest slice between two looks at the devices and at the host, in guest nanoseconds.
pub const MAX_SLICE: Time = 5_000_000;

/// Where guest time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ClockKind {
    /// Retired instructions at 100 MIPS; HLT skips ahead. Deterministic.
    Virtual,
    /// The host's monotonic clock; HLT sleeps.
    Host,
}

/// The clock of one machine.
#[derive(Debug)]
pub struct Clock {
    kind: ClockKind,
    origin: Instant,
    /// When the host-paced clock was stopped, if it was.
    stopped: Option<Instant>,
    /// Host-paced: how many instructions the CPU ran in a millisecond lately.
    instructions_per_ms: u64,
}

impl Clock {
    /// A clock that shows 0 now.
    pub fn new(kind: ClockKind) -> Self {
        Clock { kind, origin: Instant::now(), stopped: None, instructions_per_ms: 20_000 }
    }

    /// Which clock this is.
    pub fn kind(&self) -> ClockKind {
        self.kind
    }

    /// Guest time, given the instructions retired so far.
    pub fn now(&self, retired: u64) -> Time {
        match self.kind {
            ClockKind::Virtual => retired.saturating_mul(NS_PER_INSTRUCTION),
            ClockKind::Host => {
                let now = self.stopped.unwrap_or_else(Instant::now);
                u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
            }
        }
    }

    /// Stops guest time, or lets it go on where it stopped.
    pub fn stop(&mut self, stopped: bool) {
        match self.stopped {
            None if stopped => self.stopped = Some(Instant::now()),
            Some(since) if !stopped => {
                self.origin += since.elapsed();
                self.stopped = None;
            }
            _ => {}
        }
    }

    /// Whether guest time stands still.
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// The time stamp counter at guest time `now`.
    pub fn tsc(&self, now: Time) -> u64 {
        // TSC_HZ is one tick a nanosecond.
        now
    }

    /// The guest time at which the time stamp counter reaches `tsc`.
    pub fn time_of_tsc(&self, tsc: u64) -> Time {
        tsc
    }

    /// How many instructions to run so as to arrive at guest time `until`; at least one.
    pub fn budget(&self, now: Time, until: Time) -> u64 {
        let span = until.saturating_sub(now).min(MAX_SLICE);
        match self.kind {
            ClockKind::Virtual => span.div_ceil(NS_PER_INSTRUCTION).max(1),
            // A little short of the aim: arriving early costs one more round, arriving late delays a timer.
            ClockKind::Host => (span.saturating_mul(self.instructions_per_ms) / 1_200_000).max(200),
        }
    }

    /// Learns how fast the CPU ran: `instructions` between guest times `from` and `to`.
    pub fn learn(&mut self, instructions: u64, from: Time, to: Time) {
        let span = to.saturating_sub(from);
        // Short slices and those with sleeping in between say nothing about speed.
        if self.kind == ClockKind::Host && instructions > 2_000 && span > 10_000 {
            let rate = (instructions.saturating_mul(1_000_000) / span).clamp(1_000, 10_000_000);
            self.instructions_per_ms = (self.instructions_per_ms * 7 + rate) / 8;
        }
    }

    /// The CPU halts at `now` and nothing is due before `until`: passes the time. Returns the instructions to skip, on
    /// the virtual clock; the host-paced clock sleeps (until woken by [`Waker::wake`]) and returns 0.
    pub fn idle(&self, now: Time, until: Time) -> u64 {
        let span = until.saturating_sub(now);
        match self.kind {
            ClockKind::Virtual => span.div_ceil(NS_PER_INSTRUCTION).max(1),
            ClockKind::Host => {
                std::thread::park_timeout(Duration::from_nanos(span.min(100_000_000)));
                0
            }
        }
    }
}

/// Wakes the machine's thread from another one: out of HLT's sleep and out of the CPU's run.
#[derive(Clone, Debug)]
pub struct Waker {
    thread: std::thread::Thread,
    pins: std::sync::Arc<ring86_translator::Pins>,
}

impl Waker {
    /// A waker for a machine that the calling thread runs.
    pub fn new(pins: std::sync::Arc<ring86_translator::Pins>) -> Self {
        Waker { thread: std::thread::current(), pins }
    }

    /// The machine looks at its host inputs soon.
    pub fn wake(&self) {
        self.pins.raise(ring86_translator::pins::EXIT);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_virtual_clock_counts_instructions() {
        let clock = Clock::new(ClockKind::Virtual);
        assert_eq!(clock.now(0), 0);
        assert_eq!(clock.now(100_000_000), 1_000_000_000);
        assert_eq!(clock.now(u64::MAX), u64::MAX);
        assert_eq!(clock.budget(100, 105), 1);
        assert_eq!(clock.budget(105, 100), 1);
        assert_eq!(clock.budget(0, u64::MAX), MAX_SLICE / NS_PER_INSTRUCTION);
        assert_eq!(clock.idle(0, 1_000), 100);
        assert_eq!(clock.tsc(clock.now(1)), TSC_HZ / 100_000_000);
        assert_eq!(clock.time_of_tsc(clock.tsc(12_345)), 12_345);
    }

    #[test]
    fn a_stopped_clock_goes_on_where_it_stopped() {
        let mut clock = Clock::new(ClockKind::Host);
        clock.stop(true);
        let before = clock.now(0);
        std::thread::sleep(Duration::from_millis(30));
        assert!(clock.is_stopped() && clock.now(0) == before);
        let since = Instant::now();
        clock.stop(false);
        let after = clock.now(0);
        let most = before + since.elapsed().as_nanos() as Time;
        assert!((before..=most).contains(&after), "{before} {after} {most}");
    }

    #[test]
    fn the_host_clock_learns_its_rate() {
        let mut clock = Clock::new(ClockKind::Host);
        for _ in 0..64 {
            clock.learn(100_000, 0, 1_000_000);
        }
        let budget = clock.budget(0, 1_000_000);
        assert!((70_000..100_000).contains(&budget), "{budget}");
        clock.learn(1, 0, 1);
        assert_eq!(clock.budget(0, 1_000_000), budget);
        assert!(clock.now(5) <= clock.now(0));
    }
}
