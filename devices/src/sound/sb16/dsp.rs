//! The DSP: commands, their arguments and answers, and the sample clock.

use super::adpcm::{Adpcm, Packing};
use super::spec::{COPYRIGHT, RATES, READY, VERSION, irq_status};
use super::transfer::{Format, PLAIN, Transfer};
use crate::Time;
use crate::clock::{Ratio, SECOND, earliest};
use crate::once::Reported;
use std::collections::VecDeque;

/// How fast samples go, by the command that said so.
#[derive(Clone, Copy, Debug)]
enum Rate {
    /// Microseconds for a sample of either side (40h).
    Constant(u8),
    /// Samples a second for each side (41h).
    Hertz(u32),
}

impl Rate {
    fn ratio(self, sides: u64) -> Ratio {
        match self {
            Self::Constant(constant) => Ratio::new(1, (256 - u64::from(constant)) * 1000),
            Self::Hertz(rate) => Ratio::new(u64::from(rate) * sides, SECOND),
        }
    }
}

/// How many bytes follow a command.
fn arguments(command: u8) -> usize {
    match command {
        0x04 | 0x08 | 0x0F | 0x10 | 0x38 | 0x40 | 0xE0 | 0xE2 | 0xE4 | 0xF9 => 1,
        0x05 | 0x0E | 0x14..=0x17 | 0x24 | 0x41 | 0x42 | 0x48 | 0x74..=0x77 | 0x80 | 0xFA => 2,
        0xB0..=0xCF => 3,
        _ => 0,
    }
}

/// The DSP's state.
#[derive(Debug)]
pub(super) struct Dsp {
    in_reset: bool,
    /// Bytes for the guest, and the last one it took.
    answers: VecDeque<u8>,
    last: u8,
    /// The command being received, with its arguments so far.
    command: Vec<u8>,
    /// What is written is for a MIDI device until the next reset.
    midi: bool,
    rate: Rate,
    /// Items in a block of the commands that do not say it themselves, less one.
    block: u16,
    speaker: bool,
    test: u8,
    pub(super) transfer: Option<Transfer>,
    /// When silence (80h) ends.
    silence: Option<Time>,
    /// Interrupts not yet acknowledged, as the mixer shows them.
    pub(super) interrupts: u8,
    reported: Reported,
}

/// A level that a command put out at once.
pub(super) type Direct = Option<i32>;

impl Dsp {
    pub(super) fn new() -> Self {
        Self {
            in_reset: false,
            answers: VecDeque::new(),
            last: 0,
            command: Vec::new(),
            midi: false,
            rate: Rate::Constant(256u16.wrapping_sub(45) as u8),
            block: 0x7FF,
            speaker: false,
            test: 0,
            transfer: None,
            silence: None,
            interrupts: 0,
            reported: Reported::default(),
        }
    }

    /// The reset port: high, then low.
    pub(super) fn reset_line(&mut self, high: bool) {
        if high {
            let (test, reported) = (self.test, std::mem::take(&mut self.reported));
            *self = Self { in_reset: true, test, reported, ..Self::new() };
        } else if std::mem::take(&mut self.in_reset) {
            self.answers.push_back(READY);
        }
    }

    /// The next answer; without one the last again.
    pub(super) fn read(&mut self) -> u8 {
        self.last = self.answers.pop_front().unwrap_or(self.last);
        self.last
    }

    /// Whether an answer waits.
    pub(super) fn has_answer(&self) -> bool {
        !self.answers.is_empty()
    }

    fn answer(&mut self, bytes: &[u8]) {
        self.answers = bytes.iter().copied().collect();
    }

    /// The end of a silence.
    pub(super) fn advance(&mut self, now: Time) {
        if self.silence.is_some_and(|end| end <= now) {
            self.silence = None;
            self.interrupts |= irq_status::DMA_8;
        }
    }

    pub(super) fn next_event(&self) -> Option<Time> {
        earliest(self.silence, self.transfer.as_ref().and_then(Transfer::next_event))
    }

    /// A byte of a command. What it puts out at once, if anything.
    pub(super) fn write(&mut self, now: Time, value: u8) -> Direct {
        if self.in_reset || self.midi {
            return None;
        }
        self.command.push(value);
        let command = self.command[0];
        if self.command.len() <= arguments(command) {
            return None;
        }
        let bytes = std::mem::take(&mut self.command);
        let argument = |i: usize| bytes.get(i).copied().unwrap_or(0);
        self.execute(now, command, [argument(1), argument(2), argument(3)])
    }

    fn execute(&mut self, now: Time, command: u8, arguments: [u8; 3]) -> Direct {
        let [first, second, third] = arguments;
        let word = u16::from(first) | u16::from(second) << 8;
        match command {
            0x10 => return Some((i32::from(first) - 0x80) << 8),
            0x14 | 0x15 => self.start(now, PLAIN, word, false),
            0x16 => self.start_packed(now, Packing::Two, false, word, false),
            0x17 => self.start_packed(now, Packing::Two, true, word, false),
            0x1C | 0x90 => self.start(now, PLAIN, self.block, true),
            0x91 => self.start(now, PLAIN, self.block, false),
            0x1F => self.start_packed(now, Packing::Two, true, self.block, true),
            // Nothing is connected to the inputs.
            0x20 => self.answer(&[0x80]),
            0x24 => self.start(now, Format { input: true, ..PLAIN }, word, false),
            0x2C | 0x98 => self.start(now, Format { input: true, ..PLAIN }, self.block, true),
            0x99 => self.start(now, Format { input: true, ..PLAIN }, self.block, false),
            0x34..=0x37 => self.midi = true,
            0x30..=0x33 | 0x38 => {}
            0x40 => self.rate = Rate::Constant(first),
            0x41 | 0x42 => {
                let hertz = u32::from(u16::from(first) << 8 | u16::from(second));
                self.rate = Rate::Hertz(hertz.clamp(RATES.0, RATES.1));
            }
            0x45 => self.set_auto(false, true),
            0x47 => self.set_auto(true, true),
            0x48 => self.block = word,
            0x74 => self.start_packed(now, Packing::Four, false, word, false),
            0x75 => self.start_packed(now, Packing::Four, true, word, false),
            0x76 => self.start_packed(now, Packing::Three, false, word, false),
            0x77 => self.start_packed(now, Packing::Three, true, word, false),
            0x7D => self.start_packed(now, Packing::Four, true, self.block, true),
            0x7F => self.start_packed(now, Packing::Three, true, self.block, true),
            0x80 => {
                let samples = u64::from(word) + 1;
                self.silence = self.rate.ratio(1).time_of(samples).and_then(|span| now.checked_add(span));
                return Some(0);
            }
            0xB0..=0xCF => {
                let format = Format {
                    wide: command < 0xC0,
                    signed: first & 0x10 != 0,
                    stereo: first & 0x20 != 0,
                    input: command & 0x08 != 0,
                };
                let length = u16::from(second) | u16::from(third) << 8;
                self.start(now, format, length, command & 0x04 != 0);
            }
            0xD0 => self.pause(now, false, true),
            0xD4 => self.pause(now, false, false),
            0xD5 => self.pause(now, true, true),
            0xD6 => self.pause(now, true, false),
            0xD1 => self.speaker = true,
            0xD3 => self.speaker = false,
            0xD8 => self.answer(&[if self.speaker { 0xFF } else { 0 }]),
            0xD9 => self.set_auto(true, false),
            0xDA => self.set_auto(false, false),
            0xE0 => self.answer(&[!first]),
            0xE1 => self.answer(&VERSION),
            0xE3 => self.answer(COPYRIGHT),
            0xE4 => self.test = first,
            0xE8 => self.answer(&[self.test]),
            0xF2 => self.interrupts |= irq_status::DMA_8,
            0xF3 => self.interrupts |= irq_status::DMA_16,
            0xF8 => self.answer(&[0]),
            _ => {
                if self.reported.first(command) {
                    log::warn!("Sound Blaster: command {command:02x}h of the DSP does nothing here");
                }
            }
        }
        None
    }

    /// Starts a transfer of `length` + 1 items in a block.
    fn start(&mut self, now: Time, format: Format, length: u16, auto: bool) {
        let rate = self.rate.ratio(if format.stereo { 2 } else { 1 });
        self.transfer = Some(Transfer::new(now, format, rate, u32::from(length) + 1, auto));
    }

    fn start_packed(&mut self, now: Time, packing: Packing, reference: bool, length: u16, auto: bool) {
        let transfer = Transfer::new(now, PLAIN, self.rate.ratio(1), u32::from(length) + 1, auto);
        self.transfer = Some(transfer.packed(Adpcm::new(packing), reference));
    }

    fn of_width(&mut self, wide: bool) -> Option<&mut Transfer> {
        self.transfer.as_mut().filter(|transfer| transfer.is_wide() == wide)
    }

    fn set_auto(&mut self, wide: bool, auto: bool) {
        if let Some(transfer) = self.of_width(wide) {
            transfer.auto = auto;
        }
    }

    fn pause(&mut self, now: Time, wide: bool, paused: bool) {
        match self.of_width(wide) {
            Some(transfer) if paused => transfer.paused = true,
            Some(transfer) if transfer.paused => transfer.resume(now),
            _ => {}
        }
    }
}
