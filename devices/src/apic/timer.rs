//! The local APIC's timer: a divided clock counting down once or again and again, or a time stamp to wait for.
//!
//! Nothing is counted: the count is worked out from when it began.

use crate::Time;

/// Nanoseconds of one cycle of the timer's clock: a bus of 100 MHz.
pub(super) const CYCLE: Time = 10;

/// What the LVT entry's mode field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    OneShot,
    Periodic,
    Deadline,
}

/// Volatile state of the timer.
#[derive(Clone, Debug)]
pub(super) struct Timer {
    mode: Mode,
    initial: u32,
    /// The divide configuration register.
    divide: u8,
    /// When the count last stood at `initial`, while it runs; what `left` was then.
    running: Option<(Time, u32)>,
    /// The guest time to wait for in deadline mode.
    deadline: Option<Time>,
}

impl Timer {
    pub(super) fn new() -> Self {
        Self { mode: Mode::OneShot, initial: 0, divide: 0, running: None, deadline: None }
    }

    pub(super) fn initial(&self) -> u32 {
        self.initial
    }

    pub(super) fn divide(&self) -> u8 {
        self.divide
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// Nanoseconds between two counts. The register's bits 3, 1 and 0 are a power of two less one; 7 stands for 1.
    fn unit(&self) -> Time {
        let code = (self.divide >> 1 & 4) | (self.divide & 3);
        CYCLE << ((code + 1) & 7)
    }

    fn end(&self) -> Option<Time> {
        let (start, left) = self.running?;
        start.checked_add(Time::from(left) * self.unit())
    }

    /// The present count.
    pub(super) fn count(&self, now: Time) -> u32 {
        let Some((start, left)) = self.running else { return 0 };
        let gone = now.saturating_sub(start) / self.unit();
        u64::from(left).saturating_sub(gone) as u32
    }

    /// A write of the initial count starts the count anew; zero stops it. In deadline mode it does nothing.
    pub(super) fn start(&mut self, now: Time, initial: u32) {
        if self.mode != Mode::Deadline {
            self.initial = initial;
            self.running = (initial != 0).then_some((now, initial));
        }
    }

    /// A new divider: the count goes on from where it is.
    pub(super) fn set_divide(&mut self, now: Time, divide: u8) {
        let count = self.count(now);
        self.divide = divide & 0xB;
        if let Some((start, left)) = &mut self.running {
            (*start, *left) = (now, count);
        }
    }

    /// A new mode. Between counting and waiting for a deadline everything is disarmed.
    pub(super) fn set_mode(&mut self, mode: Mode) {
        if (mode == Mode::Deadline) != (self.mode == Mode::Deadline) {
            (self.running, self.deadline, self.initial) = (None, None, 0);
        }
        self.mode = mode;
    }

    /// Waits for `deadline`, or no longer; does nothing in the other modes.
    pub(super) fn set_deadline(&mut self, deadline: Option<Time>) {
        if self.mode == Mode::Deadline {
            self.deadline = deadline;
        }
    }

    /// When the timer next expires.
    pub(super) fn next(&self) -> Option<Time> {
        self.deadline.or_else(|| self.end())
    }

    /// Goes on to `now`. Whether it expired since the last call.
    pub(super) fn advance(&mut self, now: Time) -> bool {
        if let Some(deadline) = self.deadline {
            let expired = deadline <= now;
            self.deadline = self.deadline.filter(|_| !expired);
            return expired;
        }
        let Some(end) = self.end().filter(|end| *end <= now) else { return false };
        self.running = None;
        if self.mode == Mode::Periodic && self.initial != 0 {
            let period = Time::from(self.initial) * self.unit();
            let start = end + (now - end) / period * period;
            self.running = Some((start, self.initial));
        }
        true
    }
}
