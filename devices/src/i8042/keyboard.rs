//! The 101/102-key keyboard at the far end of the first cable.

use std::collections::VecDeque;

use super::keys::{KEYS, Key, KeyCode, Kind};
use super::spec::{BAT, KEY_BUFFER, answer, translate};
use crate::Time;
use crate::clock::earliest;

/// The keyboard's lights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leds {
    /// Scroll Lock.
    pub scroll: bool,
    /// Num Lock.
    pub num: bool,
    /// Caps Lock.
    pub caps: bool,
}

/// What the next data byte means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Command,
    Leds,
    ScanSet,
    Typematic,
    Kinds(Kind),
}

#[derive(Debug)]
pub(super) struct Keyboard {
    expect: Expect,
    scanning: bool,
    scan_set: u8,
    leds: Leds,
    /// Delay and period of typematic keys.
    delay: Time,
    period: Time,
    /// Set 3: what each key does, in the order of [`KEYS`].
    kinds: [Kind; KEYS.len()],
    down: [bool; KEYS.len()],
    /// The key that repeats and when it next does.
    repeating: Option<(KeyCode, Time)>,
    /// Answers go before scan codes.
    answers: VecDeque<u8>,
    codes: VecDeque<u8>,
    last_sent: u8,
    bat_done: Option<Time>,
}

/// Delay and period of the power-on default: 500 ms, 10.9 characters a second.
const DEFAULT_RATE: u8 = 0x2B;

fn typematic(rate: u8) -> (Time, Time) {
    let delay = (u64::from(rate >> 5 & 3) + 1) * 250_000_000;
    // (8 + A) * 2^B * 1/240 s
    let steps = (8 + u64::from(rate & 7)) << (rate >> 3 & 3);
    (delay, steps * 1_000_000_000 / 240)
}

impl Keyboard {
    pub(super) fn new() -> Self {
        let (delay, period) = typematic(DEFAULT_RATE);
        Self {
            expect: Expect::Command,
            scanning: true,
            scan_set: 2,
            leds: Leds::default(),
            delay,
            period,
            kinds: KEYS.map(|key| key.kind),
            down: [false; KEYS.len()],
            repeating: None,
            answers: VecDeque::new(),
            codes: VecDeque::new(),
            last_sent: 0,
            bat_done: None,
        }
    }

    pub(super) fn leds(&self) -> Leds {
        self.leds
    }

    /// Whether one more key fits the buffer whatever it is.
    pub(super) fn room(&self) -> bool {
        self.codes.len() + 10 <= KEY_BUFFER && self.bat_done.is_none()
    }

    fn defaults(&mut self) {
        (self.delay, self.period) = typematic(DEFAULT_RATE);
        self.kinds = KEYS.map(|key| key.kind);
        self.repeating = None;
        self.codes.clear();
    }

    fn is_down(&self, code: KeyCode) -> bool {
        self.down[code as usize]
    }

    fn shift(&self) -> bool {
        self.is_down(KeyCode::ShiftLeft) || self.is_down(KeyCode::ShiftRight)
    }

    fn control(&self) -> bool {
        self.is_down(KeyCode::ControlLeft) || self.is_down(KeyCode::ControlRight)
    }

    fn alt(&self) -> bool {
        self.is_down(KeyCode::AltLeft) || self.is_down(KeyCode::AltRight)
    }

    /// A key goes down or up.
    pub(super) fn key(&mut self, now: Time, code: KeyCode, pressed: bool) {
        let index = code as usize;
        if self.down[index] == pressed {
            return;
        }
        self.down[index] = pressed;
        if !self.scanning || self.bat_done.is_some() {
            return;
        }
        if pressed {
            self.report(code, true);
            self.repeating = self.repeats(code).then(|| (code, now.saturating_add(self.delay)));
        } else {
            if self.repeating.is_some_and(|(key, _)| key == code) {
                self.repeating = None;
            }
            self.report(code, false);
        }
    }

    fn repeats(&self, code: KeyCode) -> bool {
        match self.scan_set {
            3 => matches!(self.kinds[code as usize], Kind::Typematic | Kind::TypematicMakeBreak),
            _ => code != KeyCode::Pause,
        }
    }

    fn report(&mut self, code: KeyCode, pressed: bool) {
        let key = code.key();
        let mut codes = Vec::with_capacity(10);
        if self.scan_set == 3 {
            let breaks = matches!(self.kinds[code as usize], Kind::MakeBreak | Kind::TypematicMakeBreak);
            if key.set3 == 0 || (!pressed && !breaks) {
                return;
            }
            codes.extend_from_slice(if pressed { &[] } else { &[0xF0] });
            codes.push(key.set3);
        } else {
            self.set2(key, pressed, &mut codes);
            if self.scan_set == 1 {
                codes = to_set1(&codes);
            }
        }
        self.enqueue(&codes);
    }

    fn enqueue(&mut self, codes: &[u8]) {
        if self.codes.len() + codes.len() <= KEY_BUFFER {
            self.codes.extend(codes);
            return;
        }
        // The last place of a full buffer holds the overrun code, once.
        let overrun = if self.scan_set == 1 { 0xFF } else { 0x00 };
        self.codes.truncate(KEY_BUFFER - 1);
        if self.codes.back() != Some(&overrun) {
            self.codes.push_back(overrun);
        }
    }

    /// The set 2 sequence of a key, with the shift codes that make the grey keys look like keypad keys of old.
    fn set2(&self, key: &Key, pressed: bool, codes: &mut Vec<u8>) {
        let plain = |codes: &mut Vec<u8>, extended: bool, code: u8, pressed: bool| {
            if extended {
                codes.push(0xE0);
            }
            if !pressed {
                codes.push(0xF0);
            }
            codes.push(code);
        };
        match key.code {
            KeyCode::Pause if !pressed => {}
            KeyCode::Pause if self.control() => codes.extend_from_slice(&[0xE0, 0x7E, 0xE0, 0xF0, 0x7E]),
            KeyCode::Pause => codes.extend_from_slice(&[0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77]),
            KeyCode::PrintScreen if self.alt() => plain(codes, false, 0x84, pressed),
            KeyCode::PrintScreen if self.control() || self.shift() => plain(codes, true, 0x7C, pressed),
            KeyCode::PrintScreen => wrap(codes, &[(0x12, true)], pressed, |codes| plain(codes, true, 0x7C, pressed)),
            KeyCode::Insert
            | KeyCode::Delete
            | KeyCode::Home
            | KeyCode::End
            | KeyCode::PageUp
            | KeyCode::PageDown
            | KeyCode::ArrowLeft
            | KeyCode::ArrowRight
            | KeyCode::ArrowUp
            | KeyCode::ArrowDown => {
                let shifts = match (self.leds.num, self.shift()) {
                    (true, false) => vec![(0x12, true)],
                    (false, true) => self.held_shifts(),
                    _ => Vec::new(),
                };
                wrap(codes, &shifts, pressed, |codes| plain(codes, true, key.set2, pressed));
            }
            KeyCode::NumpadDivide => {
                let shifts = self.held_shifts();
                wrap(codes, &shifts, pressed, |codes| plain(codes, true, key.set2, pressed));
            }
            _ => plain(codes, key.extended, key.set2, pressed),
        }
    }

    /// The shifts that are down, to be taken back for the length of a key.
    fn held_shifts(&self) -> Vec<(u8, bool)> {
        [(KeyCode::ShiftLeft, 0x12), (KeyCode::ShiftRight, 0x59)]
            .into_iter()
            .filter(|&(shift, _)| self.is_down(shift))
            .map(|(_, code)| (code, false))
            .collect()
    }

    /// A byte from the host.
    pub(super) fn command(&mut self, now: Time, byte: u8) {
        if self.bat_done.is_some() && byte != 0xFF {
            return;
        }
        let expect = std::mem::replace(&mut self.expect, Expect::Command);
        // A command in place of a parameter ends the earlier command.
        if byte < 0xED || matches!(byte, 0xEF | 0xF1) {
            self.parameter(expect, byte);
            return;
        }
        match byte {
            0xED => self.expect_after_ack(Expect::Leds),
            0xEE => self.answers.push_back(answer::ECHO),
            0xF0 => self.expect_after_ack(Expect::ScanSet),
            0xF2 => self.answers.extend([answer::ACK, 0xAB, 0x83]),
            0xF3 => self.expect_after_ack(Expect::Typematic),
            0xF4 => {
                self.codes.clear();
                self.repeating = None;
                self.scanning = true;
                self.answers.push_back(answer::ACK);
            }
            0xF5 | 0xF6 => {
                self.defaults();
                self.scanning = byte == 0xF6;
                self.answers.push_back(answer::ACK);
            }
            0xF7..=0xFA => {
                let kind = match byte {
                    0xF7 => Kind::Typematic,
                    0xF8 => Kind::MakeBreak,
                    0xF9 => Kind::Make,
                    _ => Kind::TypematicMakeBreak,
                };
                self.kinds = [kind; KEYS.len()];
                self.answers.push_back(answer::ACK);
            }
            0xFB => self.expect_after_ack(Expect::Kinds(Kind::Typematic)),
            0xFC => self.expect_after_ack(Expect::Kinds(Kind::MakeBreak)),
            0xFD => self.expect_after_ack(Expect::Kinds(Kind::Make)),
            0xFE => self.answers.push_front(self.last_sent),
            _ => {
                let down = self.down;
                *self = Self { down, last_sent: self.last_sent, ..Self::new() };
                self.answers.push_back(answer::ACK);
                self.bat_done = Some(now.saturating_add(BAT));
            }
        }
    }

    fn expect_after_ack(&mut self, expect: Expect) {
        self.answers.push_back(answer::ACK);
        self.expect = expect;
    }

    fn parameter(&mut self, expect: Expect, byte: u8) {
        match expect {
            Expect::Command => {
                self.answers.push_back(answer::RESEND);
                return;
            }
            Expect::Leds => {
                self.leds = Leds { scroll: byte & 1 != 0, num: byte & 2 != 0, caps: byte & 4 != 0 };
            }
            Expect::ScanSet if byte == 0 => {
                self.answers.extend([answer::ACK, self.scan_set]);
                return;
            }
            Expect::ScanSet if byte <= 3 => {
                self.scan_set = byte;
                self.codes.clear();
                self.repeating = None;
            }
            Expect::Typematic if byte < 0x80 => (self.delay, self.period) = typematic(byte),
            Expect::Kinds(kind) => {
                for (key, slot) in KEYS.iter().zip(&mut self.kinds) {
                    if key.set3 == byte {
                        *slot = kind;
                    }
                }
                // More keys may follow, until the next command.
                self.expect = expect;
            }
            Expect::ScanSet | Expect::Typematic => {
                self.answers.push_back(answer::RESEND);
                self.expect = expect;
                return;
            }
        }
        self.answers.push_back(answer::ACK);
    }

    pub(super) fn has_data(&self) -> bool {
        !self.answers.is_empty() || (!self.codes.is_empty() && self.expect == Expect::Command)
    }

    /// The next byte for the host.
    pub(super) fn take(&mut self) -> Option<u8> {
        let byte = match self.answers.pop_front() {
            Some(byte) => byte,
            // Scan codes wait while a command is incomplete.
            None if self.expect == Expect::Command => self.codes.pop_front()?,
            None => return None,
        };
        if byte != answer::RESEND {
            self.last_sent = byte;
        }
        Some(byte)
    }

    pub(super) fn next_event(&self) -> Option<Time> {
        earliest(self.bat_done, self.repeating.map(|(_, at)| at))
    }

    pub(super) fn advance(&mut self, now: Time) {
        if self.bat_done.is_some_and(|at| at <= now) {
            self.bat_done = None;
            self.answers.push_back(answer::BAT_OK);
        }
        if let Some((code, at)) = self.repeating
            && at <= now
        {
            // A repeat the host had no time for is not made up for later.
            self.report(code, true);
            let late = (now - at) / self.period;
            self.repeating = Some((code, at.saturating_add((late + 1) * self.period)));
        }
    }
}

/// Puts the shift codes around a key's own codes: before its make code, after its break code reversed.
fn wrap(codes: &mut Vec<u8>, shifts: &[(u8, bool)], pressed: bool, key: impl FnOnce(&mut Vec<u8>)) {
    let shift = |codes: &mut Vec<u8>, code: u8, make: bool| {
        codes.extend_from_slice(if make { &[0xE0] } else { &[0xE0, 0xF0] });
        codes.push(code);
    };
    if pressed {
        for &(code, make) in shifts {
            shift(codes, code, make);
        }
        key(codes);
    } else {
        key(codes);
        for &(code, make) in shifts.iter().rev() {
            shift(codes, code, !make);
        }
    }
}

/// A set 2 sequence in set 1: the break prefix becomes bit 7.
fn to_set1(codes: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(codes.len());
    let mut released = 0;
    for &code in codes {
        match code {
            0xE0 | 0xE1 => result.push(code),
            0xF0 => released = 0x80,
            _ => result.push(translate(code) | std::mem::take(&mut released)),
        }
    }
    result
}
