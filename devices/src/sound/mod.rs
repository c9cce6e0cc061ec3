//! What can be heard: outputs as steps at guest times, and the chips that make sound.
//!
//! An output is a level that changes now and then, on the left and on the right. Its chip notes down each change with
//! the guest time of it while somebody listens ([`Track::listen`]); otherwise nothing is computed and nothing kept. No
//! chip is woken for being heard: whoever listens asks often enough, and the chip catches up then.

pub mod opl3;
pub mod sb16;

use crate::Time;

/// Most steps kept between two looks, more than any output makes in a twentieth of a second. What comes later is lost:
/// the listener fell asleep.
const STEPS_KEPT: usize = 1 << 17;
/// The largest level that an output may have, either way.
pub const FULL_SCALE: i32 = 32_767;

/// A change of an output's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub time: Time,
    /// By how much the left side's level changes.
    pub left: i32,
    /// By how much the right side's level changes.
    pub right: i32,
}

/// The record of one output.
#[derive(Clone, Debug, Default)]
pub struct Track {
    listening: bool,
    level: (i32, i32),
    steps: Vec<Step>,
}

impl Track {
    /// Keeps steps from now on. The first one starts from silence.
    pub fn listen(&mut self) {
        self.listening = true;
    }

    /// Whether anybody listens. A chip that is not heard need not compute what it would play.
    pub fn is_heard(&self) -> bool {
        self.listening
    }

    /// Whether there is room for another step; if not, the chip need not compute any.
    pub fn has_room(&self) -> bool {
        self.listening && self.steps.len() < STEPS_KEPT
    }

    /// The output has these levels from `time` on, which is not before the time given last.
    pub fn set(&mut self, time: Time, left: i32, right: i32) {
        if self.has_room() && (left, right) != self.level {
            self.steps.push(Step { time, left: left - self.level.0, right: right - self.level.1 });
            self.level = (left, right);
        }
    }

    /// Moves the steps since the last call to `steps`, in order of time.
    pub fn take(&mut self, steps: &mut Vec<Step>) {
        steps.append(&mut self.steps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_keeps_changes_while_somebody_listens() {
        let mut track = Track::default();
        let mut steps = Vec::new();
        track.set(5, 100, -100);
        track.take(&mut steps);
        assert!(steps.is_empty() && !track.is_heard());
        track.listen();
        for (time, level) in [(6, 10), (7, 10), (8, -10)] {
            track.set(time, level, 2 * level);
        }
        track.take(&mut steps);
        assert_eq!(steps, [Step { time: 6, left: 10, right: 20 }, Step { time: 8, left: -20, right: -40 }]);
        track.set(9, -10, -20);
        track.take(&mut steps);
        assert_eq!(steps.len(), 2);
    }

    #[test]
    fn a_track_that_nobody_empties_stays_small_and_keeps_its_level() {
        let mut track = Track::default();
        track.listen();
        for time in 0..2 * STEPS_KEPT as u64 {
            track.set(time, (time & 1) as i32 * 7, 0);
        }
        let mut steps = Vec::new();
        track.take(&mut steps);
        assert_eq!(steps.len(), STEPS_KEPT);
        let reached: i32 = steps.iter().map(|s| s.left).sum();
        track.set(u64::MAX, 5, 0);
        track.take(&mut steps);
        assert_eq!(steps.last().map(|s| s.left), Some(5 - reached));
    }
}
