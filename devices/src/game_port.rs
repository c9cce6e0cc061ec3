//! The game control adapter at port 201h: two joysticks with two axes and two buttons each.
//!
//! IBM, "Technical Reference: Options and Adapters", game control adapter. A write starts four one-shots, each as long as
//! the resistance of an axis makes it; software measures the lengths.

use crate::{BytePorts, Time};

/// Shortest time of a one-shot: 24.2 us at no resistance.
const LEAST: Time = 24_200;
/// Additional time at full resistance: 0.011 us for each of 100,000 ohms.
const SPAN: Time = 1_100_000;

/// A joystick: how far right and towards the user, and its buttons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joystick {
    /// Left to right and away to near; 0 is the middle.
    pub axes: [i16; 2],
    /// Which buttons are pressed.
    pub buttons: [bool; 2],
}

/// The adapter.
#[derive(Clone, Debug, Default)]
pub struct GamePort {
    sticks: [Option<Joystick>; 2],
    fired: Option<Time>,
}

impl GamePort {
    /// An adapter with nothing plugged in.
    pub fn new() -> Self {
        Self::default()
    }

    /// The system's reset, which the one-shots do not notice.
    pub fn reset(&mut self) {}

    /// Plugs joystick 0 or 1 in, moves it, or takes it out.
    pub fn set(&mut self, number: usize, stick: Option<Joystick>) {
        if let Some(place) = self.sticks.get_mut(number) {
            *place = stick;
        }
    }

    /// Whether the one-shot of an axis still runs: without a joystick it never ends.
    fn runs(&self, now: Time, stick: Option<Joystick>, axis: usize) -> bool {
        let (Some(stick), Some(fired)) = (stick, self.fired) else { return stick.is_none() };
        let position = (i64::from(stick.axes[axis & 1]) + 0x8000) as u64;
        now.saturating_sub(fired) < LEAST + SPAN * position / 0xFFFF
    }
}

impl BytePorts for GamePort {
    fn read8(&mut self, now: Time, _port: u16) -> u8 {
        (0..4usize).fold(0, |value, i| {
            let stick = self.sticks[i / 2];
            let released = !stick.is_some_and(|stick| stick.buttons[i & 1]);
            value | u8::from(self.runs(now, stick, i)) << i | u8::from(released) << (4 + i)
        })
    }

    fn write8(&mut self, now: Time, _port: u16, _value: u8) {
        self.fired = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_a_time() {
        let mut port = GamePort::new();
        port.write8(0, 0x201, 0);
        assert_eq!(port.read8(1 << 40, 0x201), 0xFF, "nothing is plugged in");
        for (position, microseconds) in [(i16::MIN, 24), (0, 574), (i16::MAX, 1124)] {
            port.set(1, Some(Joystick { axes: [position, i16::MIN], buttons: [false, true] }));
            let start = 5_000_000;
            port.write8(start, 0x201, 0xAA);
            assert_eq!(port.read8(start + 24_000, 0x201), 0x7F);
            let ends = (0..2000).find(|us| port.read8(start + us * 1000, 0x201) & 4 == 0);
            assert!(ends.is_some_and(|us| us.abs_diff(microseconds) <= 1), "{ends:?}, not {microseconds}");
            assert_eq!(port.read8(start + 1_200_000, 0x201), 0x73);
        }
        port.set(1, None);
        port.set(7, Some(Joystick::default()));
        assert_eq!(port.read8(1 << 41, 0x201), 0xFF);
    }
}
