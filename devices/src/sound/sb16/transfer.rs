//! A DMA transfer of the DSP: which samples are due when, and what each of them sounds like.
//!
//! The DSP is not woken for each sample. It asks for all that became due whenever the board looks: at the end of a
//! block, each millisecond, and before the guest reads the DMA controller or speaks to the card. Each sample is heard
//! at its exact time all the same.

use super::adpcm::Adpcm;
use crate::Time;
use crate::clock::Ratio;

/// Longest time that a sample waits to be fetched, unless nothing depends on it.
const LATEST: Time = 1_000_000;

/// How far samples may be behind; more is passed over, since then the host slept.
const FORGIVEN: Time = 50_000_000;

/// The form of the samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    pub(super) wide: bool,
    pub(super) signed: bool,
    pub(super) stereo: bool,
    pub(super) input: bool,
}

/// 8-bit mono without sign, out: what the older commands play.
pub(super) const PLAIN: Format = Format { wide: false, signed: false, stereo: false, input: false };

/// A transfer in progress.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    format: Format,
    adpcm: Option<Adpcm>,
    /// The next byte is a whole sample from which ADPCM begins.
    reference: bool,
    /// Goes on with the next block by itself.
    pub(super) auto: bool,
    /// Samples of either side as time passes.
    rate: Ratio,
    /// When sample 0 was due.
    anchor: Time,
    /// The next sample's number.
    next: u64,
    /// Items (bytes, or words of 16-bit samples) in a block, and how many of this one are left.
    block: u32,
    left: u32,
    pub(super) paused: bool,
    /// An item is due but the DMA controller does not serve the channel: time begins anew when it does.
    stalled: bool,
    /// Low half of a 16-bit sample that comes over an 8-bit channel.
    half: Option<u8>,
    /// The left side's level, until the right side's is known.
    left_level: i32,
    right_next: bool,
}

/// What an item brought.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrival {
    /// Levels by time: at most four.
    pub(super) levels: [Option<(Time, [i32; 2])>; 4],
    /// The block is over.
    pub(super) block_end: bool,
    /// The transfer is over.
    pub(super) done: bool,
}

impl Transfer {
    /// A transfer of blocks of `block` items that starts now.
    pub(super) fn new(now: Time, format: Format, rate: Ratio, block: u32, auto: bool) -> Self {
        let block = block.max(1);
        Self {
            format,
            adpcm: None,
            reference: false,
            auto,
            rate,
            anchor: now,
            next: 0,
            block,
            left: block,
            paused: false,
            stalled: false,
            half: None,
            left_level: 0,
            right_next: false,
        }
    }

    /// The same with `decoder`; the first byte may be the reference.
    pub(super) fn packed(mut self, decoder: Adpcm, reference: bool) -> Self {
        self.adpcm = Some(decoder);
        self.reference = reference;
        self
    }

    /// Whether samples have 16 bits.
    pub(super) fn is_wide(&self) -> bool {
        self.format.wide
    }

    fn per_item(&self) -> u64 {
        self.adpcm.as_ref().map_or(1, Adpcm::count)
    }

    fn time_of(&self, sample: u64) -> Time {
        self.rate.time_of(sample).map_or(Time::MAX, |time| self.anchor.saturating_add(time))
    }

    /// Whether an item is due at `now`.
    pub(super) fn is_due(&self, now: Time) -> bool {
        !self.paused && (self.stalled || self.half.is_some() || self.time_of(self.next) <= now)
    }

    /// When the board should look again.
    pub(super) fn next_event(&self) -> Option<Time> {
        if self.paused || self.stalled {
            return None;
        }
        let last = self.time_of(self.next.saturating_add(u64::from(self.left - 1) * self.per_item()));
        Some(last.min(self.time_of(self.next).saturating_add(LATEST)))
    }

    /// Nobody serves what is due.
    pub(super) fn stall(&mut self) {
        self.stalled = true;
    }

    /// Passes over what is too late to be fetched by `now`.
    pub(super) fn forgive(&mut self, now: Time) {
        if !self.stalled && self.time_of(self.next).saturating_add(FORGIVEN) < now {
            self.anchor = now - FORGIVEN;
            self.next = 0;
        }
    }

    /// Lets time begin anew, as after a pause.
    pub(super) fn resume(&mut self, now: Time) {
        self.paused = false;
        self.anchor = now;
        self.next = 0;
    }

    fn level(&self, value: u16) -> i32 {
        match (self.format.wide, self.format.signed) {
            (false, false) => (i32::from(value as u8) - 0x80) << 8,
            (false, true) => i32::from(value as u8 as i8) << 8,
            (true, false) => i32::from(value) - 0x8000,
            (true, true) => i32::from(value as i16),
        }
    }

    /// An item moved, `narrow` if over an 8-bit channel. Recording hears silence, so only its number counts.
    pub(super) fn item(&mut self, now: Time, value: u16, narrow: bool) -> Arrival {
        let mut arrival = Arrival::default();
        if std::mem::take(&mut self.stalled) {
            self.anchor = now;
            self.next = 0;
        }
        let mut value = value;
        if self.format.wide && narrow {
            match self.half.take() {
                None => {
                    self.half = Some(value as u8);
                    return arrival;
                }
                Some(low) => value = value << 8 | u16::from(low),
            }
        }
        if !self.format.input {
            self.play(value, &mut arrival);
        }
        self.next = self.next.saturating_add(self.per_item());
        self.left -= 1;
        if self.left == 0 {
            self.left = self.block;
            arrival.block_end = true;
            arrival.done = !self.auto;
        }
        arrival
    }

    fn play(&mut self, value: u16, arrival: &mut Arrival) {
        let time = self.time_of(self.next);
        if let Some(mut decoder) = self.adpcm {
            let byte = value as u8;
            if std::mem::take(&mut self.reference) {
                decoder.reference(byte);
                let level = self.level(byte.into());
                arrival.levels[0] = Some((time, [level; 2]));
            } else {
                for (number, place) in (0..decoder.count()).zip(&mut arrival.levels) {
                    let level = self.level(decoder.next(byte, number).into());
                    *place = Some((self.time_of(self.next.saturating_add(number)), [level; 2]));
                }
            }
            self.adpcm = Some(decoder);
            return;
        }
        let level = self.level(value);
        if !self.format.stereo {
            arrival.levels[0] = Some((time, [level; 2]));
        } else if std::mem::take(&mut self.right_next) {
            arrival.levels[0] = Some((time, [self.left_level, level]));
        } else {
            self.left_level = level;
            self.right_next = true;
        }
    }
}
