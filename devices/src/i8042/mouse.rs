//! The mouse at the far end of the second cable: two or three buttons, then a wheel, then five buttons,
//! according to the sampling rates the host plays.

use std::collections::VecDeque;

use super::spec::{BAT, answer};
use crate::Time;
use crate::clock::{SECOND, earliest};

/// The mouse's buttons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buttons {
    /// Left.
    pub left: bool,
    /// Right.
    pub right: bool,
    /// Middle, or the wheel pressed.
    pub middle: bool,
    /// Fourth (back).
    pub fourth: bool,
    /// Fifth (forward).
    pub fifth: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Stream,
    Remote,
    Wrap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Command,
    Resolution,
    SampleRate,
}

#[derive(Debug)]
pub(super) struct Mouse {
    mode: Mode,
    /// The mode that leaving wrap mode returns to.
    unwrapped: Mode,
    expect: Expect,
    reporting: bool,
    scaling: bool,
    resolution: u8,
    rate: u8,
    /// The last three sampling rates, which unlock the wheel and the extra buttons.
    knock: [u8; 3],
    id: u8,
    x: i32,
    y: i32,
    z: i32,
    buttons: Buttons,
    /// Movement or a button change waits to be reported.
    changed: bool,
    /// When the next report may be made.
    next_report: Time,
    queue: VecDeque<u8>,
    last_sent: Vec<u8>,
    refused: bool,
    bat_done: Option<Time>,
}

const RATES: [u8; 7] = [10, 20, 40, 60, 80, 100, 200];

impl Mouse {
    pub(super) fn new() -> Self {
        Self {
            mode: Mode::Stream,
            unwrapped: Mode::Stream,
            expect: Expect::Command,
            reporting: false,
            scaling: false,
            resolution: 2,
            rate: 100,
            knock: [0; 3],
            id: 0,
            x: 0,
            y: 0,
            z: 0,
            buttons: Buttons::default(),
            changed: false,
            next_report: 0,
            queue: VecDeque::new(),
            last_sent: Vec::new(),
            refused: false,
            bat_done: None,
        }
    }

    pub(super) fn moved(&mut self, now: Time, (dx, dy, dz): (i32, i32, i32), buttons: Buttons) {
        if self.bat_done.is_some() {
            return;
        }
        // Counts beyond one report are kept for the next; the bound keeps a host that never stops honest.
        let add = |sum: i32, d: i32| sum.saturating_add(d).clamp(-0x7FFF, 0x7FFF);
        (self.x, self.y, self.z) = (add(self.x, dx), add(self.y, dy), add(self.z, dz));
        self.changed |= (dx, dy) != (0, 0) || (dz != 0 && self.id != 0) || buttons != self.buttons;
        self.buttons = buttons;
        self.advance(now);
    }

    fn clear_counts(&mut self) {
        (self.x, self.y, self.z, self.changed) = (0, 0, 0, false);
    }

    fn defaults(&mut self) {
        self.mode = Mode::Stream;
        self.reporting = false;
        self.scaling = false;
        self.resolution = 2;
        self.rate = 100;
        self.clear_counts();
    }

    fn button_bits(&self) -> u8 {
        u8::from(self.buttons.left) | u8::from(self.buttons.right) << 1 | u8::from(self.buttons.middle) << 2
    }

    fn packet(&mut self, scaled: bool) -> Vec<u8> {
        let scale = |n: i32| match n.abs() {
            _ if !scaled => n,
            0..=1 => n,
            2 => n.signum(),
            3 => 3 * n.signum(),
            4 => 6 * n.signum(),
            5 => 9 * n.signum(),
            _ => 2 * n,
        };
        let limit = if scaled { 127 } else { 255 };
        let take = |sum: &mut i32, low: i32, high: i32| {
            let part = (*sum).clamp(low, high);
            *sum -= part;
            part
        };
        let x = scale(take(&mut self.x, -limit, limit));
        let y = scale(take(&mut self.y, -limit, limit));
        let signs = u8::from(x < 0) << 4 | u8::from(y < 0) << 5;
        let mut packet = vec![0x08 | self.button_bits() | signs, x as u8, y as u8];
        if self.id != 0 {
            let z = take(&mut self.z, -8, 7);
            packet.push(match self.id {
                3 => z as u8,
                _ => z as u8 & 0xF | u8::from(self.buttons.fourth) << 4 | u8::from(self.buttons.fifth) << 5,
            });
        } else {
            self.z = 0;
        }
        self.changed = (self.x, self.y, self.z) != (0, 0, 0);
        packet
    }

    /// Answers the host with `bytes`, which is what a resend request repeats.
    fn answer(&mut self, bytes: &[u8]) {
        self.queue.extend(bytes);
        self.last_sent = bytes.to_vec();
    }

    fn refuse(&mut self) {
        // The second invalid byte in a row is an error.
        let answer = if self.refused { answer::ERROR } else { answer::RESEND };
        self.refused = !self.refused;
        self.queue.push_back(answer);
    }

    /// A byte from the host.
    pub(super) fn command(&mut self, now: Time, byte: u8) {
        if self.bat_done.is_some() && byte != 0xFF {
            return;
        }
        // A new byte from the host ends whatever was being sent.
        self.queue.clear();
        if self.mode == Mode::Wrap && !matches!(byte, 0xEC | 0xFF) {
            self.answer(&[byte]);
            return;
        }
        match std::mem::replace(&mut self.expect, Expect::Command) {
            Expect::Resolution if byte <= 3 => {
                self.resolution = byte;
                self.acknowledge();
                return;
            }
            Expect::SampleRate if RATES.contains(&byte) => {
                self.set_rate(byte);
                self.acknowledge();
                return;
            }
            expect @ (Expect::Resolution | Expect::SampleRate) if byte < 0xE6 => {
                self.refuse();
                if self.refused {
                    self.expect = expect;
                }
                return;
            }
            _ => {}
        }
        match byte {
            0xE6 | 0xE7 => self.scaling = byte == 0xE7,
            0xE8 => self.expect = Expect::Resolution,
            0xE9 => {
                let left = u8::from(self.buttons.left) << 2;
                let middle = u8::from(self.buttons.middle) << 1;
                let state = u8::from(self.mode == Mode::Remote) << 6
                    | u8::from(self.reporting) << 5
                    | u8::from(self.scaling) << 4
                    | left
                    | middle
                    | u8::from(self.buttons.right);
                self.answer(&[answer::ACK, state, self.resolution, self.rate]);
                self.refused = false;
                return;
            }
            0xEA | 0xF0 => {
                self.mode = if byte == 0xEA { Mode::Stream } else { Mode::Remote };
                self.clear_counts();
            }
            0xEB => {
                let packet = self.packet(false);
                self.queue.push_back(answer::ACK);
                self.answer(&packet);
                self.refused = false;
                return;
            }
            0xEC => {
                if self.mode == Mode::Wrap {
                    self.mode = self.unwrapped;
                }
                self.clear_counts();
            }
            0xEE => {
                self.unwrapped = self.mode;
                self.mode = Mode::Wrap;
                self.clear_counts();
            }
            0xF2 => {
                self.answer(&[answer::ACK, self.id]);
                self.refused = false;
                return;
            }
            0xF3 => self.expect = Expect::SampleRate,
            0xF4 | 0xF5 => {
                self.reporting = byte == 0xF4;
                self.clear_counts();
            }
            0xF6 => self.defaults(),
            0xFE => {
                let last = self.last_sent.clone();
                self.queue.extend(last);
                return;
            }
            0xFF => {
                let buttons = self.buttons;
                *self = Self { buttons, ..Self::new() };
                self.queue.push_back(answer::ACK);
                self.bat_done = Some(now.saturating_add(BAT));
                return;
            }
            _ => {
                self.refuse();
                return;
            }
        }
        self.acknowledge();
    }

    fn acknowledge(&mut self) {
        self.refused = false;
        self.answer(&[answer::ACK]);
    }

    fn set_rate(&mut self, rate: u8) {
        self.rate = rate;
        self.knock = [self.knock[1], self.knock[2], rate];
        match self.knock {
            [200, 100, 80] if self.id == 0 => self.id = 3,
            [200, 200, 80] if self.id == 3 => self.id = 4,
            _ => {}
        }
    }

    pub(super) fn has_data(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next byte for the host.
    pub(super) fn take(&mut self) -> Option<u8> {
        self.queue.pop_front()
    }

    fn wants_report(&self) -> bool {
        self.changed
            && self.reporting
            && self.mode == Mode::Stream
            && self.queue.is_empty()
            && self.expect == Expect::Command
            && self.bat_done.is_none()
    }

    pub(super) fn next_event(&self) -> Option<Time> {
        earliest(self.bat_done, self.wants_report().then_some(self.next_report))
    }

    pub(super) fn advance(&mut self, now: Time) {
        if self.bat_done.is_some_and(|at| at <= now) {
            self.bat_done = None;
            self.answer(&[answer::BAT_OK, self.id]);
        }
        if self.wants_report() && self.next_report <= now {
            let packet = self.packet(self.scaling);
            self.answer(&packet);
            self.next_report = now.saturating_add(SECOND / u64::from(self.rate.max(1)));
        }
    }
}
