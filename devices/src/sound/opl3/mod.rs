//! Yamaha YMF262 (OPL3) FM synthesis, which starts up as the YM3812 (OPL2) of an AdLib card.
//!
//! The two timers are computed when somebody looks, since no interrupt line is connected on these cards. Sound is
//! computed sample by sample, only while it is heard and something plays.

mod operator;
pub mod spec;
#[cfg(test)]
mod tests;

use super::{Step, Track};
use crate::{BytePorts, Time};
use operator::{Operator, Pitch, Shared};
use spec::{
    CHANNELS, NEW, NTS, OPERATORS, SAMPLES, TIMER_1_SAMPLES, TIMER_2_SAMPLES, register, rhythm, status, timer_control,
};

/// Most samples computed at one go; a listener that stays away for longer misses some.
const CATCH_UP: u64 = 8192;
/// Unity of [`Opl3::set_volume`].
pub const UNITY: i32 = 1 << 16;
/// The key of a channel, and that of the rhythm section.
const KEY: u8 = 1;
const DRUM: u8 = 2;
/// Channels of the rhythm section.
const DRUMS: [usize; 3] = [6, 7, 8];

/// One timer: sets its flag after 256 - preset ticks, again and again.
#[derive(Clone, Debug, Default)]
struct Timer {
    preset: u8,
    /// The tick of the next overflow, if it runs.
    overflow: Option<u64>,
    flag: bool,
}

impl Timer {
    fn period(&self) -> u64 {
        256 - u64::from(self.preset)
    }

    fn advance(&mut self, tick: u64, masked: bool) {
        if let Some(overflow) = self.overflow
            && tick >= overflow
        {
            self.flag |= !masked;
            self.overflow = Some(overflow + ((tick - overflow) / self.period() + 1) * self.period());
        }
    }

    fn run(&mut self, tick: u64, on: bool) {
        match (on, self.overflow) {
            (true, None) => self.overflow = Some(tick + self.period()),
            (false, _) => self.overflow = None,
            _ => {}
        }
    }
}

/// Registers A0h, B0h and C0h of a channel.
#[derive(Clone, Copy, Debug, Default)]
struct Channel {
    number: u16,
    block: u8,
    key: bool,
    /// Outputs, feedback and connection.
    connection: u8,
}

impl Channel {
    fn is_additive(&self) -> bool {
        self.connection & 1 != 0
    }

    /// What of its own last outputs a first operator adds to its phase.
    fn feedback(&self, outputs: [i32; 2]) -> i32 {
        match self.connection >> 1 & 7 {
            0 => 0,
            strength => (outputs[0] + outputs[1]) >> (9 - strength),
        }
    }
}

/// The chip: index and data ports of two register arrays.
#[derive(Debug)]
pub struct Opl3 {
    // Registers.
    index: u16,
    channels: [Channel; CHANNELS],
    operators: [Operator; OPERATORS],
    timer_control: u8,
    note_select: u8,
    rhythm: u8,
    connection_select: u8,
    new: u8,
    // Volatile state.
    timers: [Timer; 2],
    /// Samples computed or passed over.
    samples: u64,
    noise: u32,
    /// Something may be heard.
    playing: bool,
    volume: [i32; 2],
    track: Track,
}

impl Default for Opl3 {
    fn default() -> Self {
        Self::new()
    }
}

/// The operators of a channel.
fn operators_of(channel: usize) -> [usize; 2] {
    let (array, number) = (channel / 9, channel % 9);
    let first = array * 18 + number / 3 * 6 + number % 3;
    [first, first + 3]
}

/// The operator with the low bits `offset` of its registers' numbers, in register array `array`.
fn operator_at(array: usize, offset: u8) -> Option<usize> {
    let (group, member) = (usize::from(offset >> 3), usize::from(offset & 7));
    (group < 3 && member < 6).then_some(array * 18 + group * 6 + member)
}

/// The channel of an operator.
fn channel_of(operator: usize) -> usize {
    let (array, number) = (operator / 18, operator % 18);
    array * 9 + number / 6 * 3 + number % 3
}

impl Opl3 {
    /// A chip as after reset, with its output at full volume.
    pub fn new() -> Self {
        Self {
            index: 0,
            channels: Default::default(),
            operators: std::array::from_fn(|_| Operator::default()),
            timer_control: 0,
            note_select: 0,
            rhythm: 0,
            connection_select: 0,
            new: 0,
            timers: Default::default(),
            samples: 0,
            noise: 1,
            playing: false,
            volume: [UNITY; 2],
            track: Track::default(),
        }
    }

    /// The system's reset.
    pub fn reset(&mut self, now: Time) {
        self.catch_up(now);
        let track = std::mem::take(&mut self.track);
        *self = Self { track, samples: SAMPLES.ticks(now), volume: self.volume, ..Self::new() };
        self.track.set(now, 0, 0);
    }

    /// Keeps what it plays from now on.
    pub fn listen(&mut self) {
        self.track.listen();
    }

    /// Moves what it played up to `now` to `steps`.
    pub fn hear(&mut self, now: Time, steps: &mut Vec<Step>) {
        self.catch_up(now);
        self.track.take(steps);
    }

    /// How loud the left and the right side are from `now` on: [`UNITY`] for a sum of all channels that just fits 16
    /// bits.
    pub fn set_volume(&mut self, now: Time, volume: [i32; 2]) {
        self.catch_up(now);
        self.volume = volume;
    }

    // -------------------------------------------------------------------------------------------------- registers

    fn advance_timers(&mut self, now: Time) {
        let sample = SAMPLES.ticks(now);
        for (i, per_tick) in [TIMER_1_SAMPLES, TIMER_2_SAMPLES].into_iter().enumerate() {
            let masked = self.timer_control & (timer_control::MASK_1 >> i) != 0;
            self.timers[i].advance(sample / per_tick, masked);
        }
    }

    fn status(&mut self, now: Time) -> u8 {
        self.advance_timers(now);
        let flags = self.timers.iter().enumerate().filter(|(_, timer)| timer.flag);
        flags.fold(0, |value, (i, _)| value | status::IRQ | status::TIMER_1 >> i)
    }

    fn set_timer_control(&mut self, now: Time, value: u8) {
        if value & timer_control::RESET != 0 {
            self.timers.iter_mut().for_each(|timer| timer.flag = false);
            return;
        }
        self.timer_control = value;
        let sample = SAMPLES.ticks(now);
        for (i, per_tick) in [TIMER_1_SAMPLES, TIMER_2_SAMPLES].into_iter().enumerate() {
            self.timers[i].run(sample / per_tick, value & (timer_control::START_1 << i) != 0);
            if value & (timer_control::MASK_1 >> i) != 0 {
                self.timers[i].flag = false;
            }
        }
    }

    fn is_new(&self) -> bool {
        self.new & NEW != 0
    }

    /// The channel that gives `channel` its pitch and key: the first of a pair with four operators.
    fn leader(&self, channel: usize) -> usize {
        if self.is_second(channel) { channel - 3 } else { channel }
    }

    /// Whether `channel` is the first of a pair with four operators.
    fn is_first(&self, channel: usize) -> bool {
        let (array, number) = (channel / 9, channel % 9);
        self.is_new() && number < 3 && self.connection_select >> (array * 3 + number) & 1 != 0
    }

    /// Whether `channel` is the second of such a pair.
    fn is_second(&self, channel: usize) -> bool {
        (3..6).contains(&(channel % 9)) && self.is_first(channel - 3)
    }

    fn pitch(&self, channel: usize) -> Pitch {
        let Channel { number, block, .. } = self.channels[self.leader(channel)];
        let split = if self.note_select & NTS != 0 { 8 } else { 9 };
        Pitch { number, block, key_scale: block << 1 | (number >> split & 1) as u8 }
    }

    /// Presses or releases keys as the registers say.
    fn apply_keys(&mut self) {
        for operator in 0..OPERATORS {
            let channel = channel_of(operator);
            let pitch = self.pitch(channel);
            let key = self.channels[self.leader(channel)].key;
            self.operators[operator].key(KEY, key, &pitch);
            let drum = match operator {
                12 | 15 => rhythm::BASS_DRUM,
                13 => rhythm::HI_HAT,
                16 => rhythm::SNARE_DRUM,
                14 => rhythm::TOM_TOM,
                17 => rhythm::CYMBAL,
                _ => continue,
            };
            let pressed = self.rhythm & rhythm::ENABLE != 0 && self.rhythm & drum != 0;
            self.operators[operator].key(DRUM, pressed, &pitch);
        }
        self.playing = true;
    }

    fn write_register(&mut self, now: Time, value: u8) {
        // The second array is there in OPL3 mode only, but for the register that switches it on.
        if self.index > 0xFF && !self.is_new() && self.index != register::NEW {
            return;
        }
        self.advance_timers(now);
        self.catch_up(now);
        let (array, low) = (usize::from(self.index >> 8 & 1), self.index as u8);
        match self.index {
            register::TIMER_1 => self.timers[0].preset = value,
            register::TIMER_2 => self.timers[1].preset = value,
            register::TIMER_CONTROL => self.set_timer_control(now, value),
            register::NOTE_SELECT => self.note_select = value,
            register::CONNECTION_SELECT => self.connection_select = value,
            register::NEW => self.new = value,
            register::RHYTHM => {
                self.rhythm = value;
                self.apply_keys();
            }
            _ => match low {
                0x20..=0x9F | 0xE0..=0xFF => {
                    if let Some(operator) = operator_at(array, low & 0x1F) {
                        self.operators[operator].write(low & 0xE0, value);
                    }
                }
                0xA0..=0xC8 if low & 0xF < 9 => {
                    self.write_channel(array * 9 + usize::from(low & 0xF), low & 0xF0, value)
                }
                _ => {}
            },
        }
    }

    fn write_channel(&mut self, number: usize, group: u8, value: u8) {
        let channel = &mut self.channels[number];
        match group {
            0xA0 => channel.number = channel.number & 0x300 | u16::from(value),
            0xB0 => {
                channel.number = channel.number & 0xFF | u16::from(value & 3) << 8;
                channel.block = value >> 2 & 7;
                channel.key = value & 0x20 != 0;
                self.apply_keys();
            }
            _ => channel.connection = value,
        }
    }

    // ------------------------------------------------------------------------------------------------------ sound

    fn catch_up(&mut self, now: Time) {
        let end = SAMPLES.ticks(now);
        if !self.track.is_heard() {
            self.samples = self.samples.max(end);
            return;
        }
        self.samples = self.samples.max(end.saturating_sub(CATCH_UP));
        while self.samples < end {
            if !self.playing || !self.track.has_room() {
                self.samples = end;
                break;
            }
            self.samples += 1;
            // One more sample is computed when all is off: the silence.
            self.playing = !self.samples.is_multiple_of(64) || !self.operators.iter().all(Operator::is_off);
            let [left, right] = self.sample();
            if let Some(time) = SAMPLES.time_of(self.samples) {
                let scaled = |level: i32, volume: i32| {
                    let level = level.clamp(i16::MIN.into(), i16::MAX.into());
                    ((i64::from(level) * i64::from(volume)) >> 16) as i32
                };
                self.track.set(time, scaled(left, self.volume[0]), scaled(right, self.volume[1]));
            }
        }
    }

    /// What the operators share at this sample. Tremolo: 3.7 Hz, a triangle of 210 steps; vibrato: 6.1 Hz in 8 steps.
    fn shared(&self) -> Shared {
        let step = self.samples / 64 % 210;
        let triangle = step.min(210 - step) as u16;
        Shared {
            counter: self.samples as u32,
            tremolo: triangle >> if self.rhythm & rhythm::DEEP_TREMOLO != 0 { 2 } else { 4 },
            vibrato: (self.samples >> 10 & 7) as u8,
            deep_vibrato: self.rhythm & rhythm::DEEP_VIBRATO != 0,
            new: self.is_new(),
        }
    }

    /// The sums of all channels at the next sample, left and right.
    fn sample(&mut self) -> [i32; 2] {
        let shared = self.shared();
        let feedback = (self.noise >> 14 ^ self.noise) & 1;
        self.noise = self.noise >> 1 | feedback << 22;
        let drums = self.rhythm & rhythm::ENABLE != 0;
        let mut sums = [0; 2];
        for channel in 0..CHANNELS {
            let output = if drums && channel == DRUMS[0] {
                self.bass_drum(&shared)
            } else if drums && channel == DRUMS[1] {
                self.hi_hat_and_snare_drum(&shared)
            } else if drums && channel == DRUMS[2] {
                self.tom_tom_and_cymbal(&shared)
            } else if self.is_first(channel) {
                self.four_operators(&shared, channel)
            } else if self.is_second(channel) {
                continue;
            } else {
                self.two_operators(&shared, channel)
            };
            let sides = if self.is_new() { self.channels[channel].connection >> 4 } else { 3 };
            for (side, sum) in sums.iter_mut().enumerate() {
                if sides >> side & 1 != 0 {
                    *sum += output;
                }
            }
        }
        sums
    }

    /// The next output of `operator`, modulated.
    fn operate(&mut self, shared: &Shared, operator: usize, modulation: i32) -> i32 {
        let pitch = self.pitch(channel_of(operator));
        self.operators[operator].next(shared, &pitch, modulation)
    }

    /// The next output of a channel's first operator, which feeds back into itself.
    fn operate_first(&mut self, shared: &Shared, channel: usize) -> i32 {
        let [first, _] = operators_of(channel);
        let modulation = self.channels[channel].feedback(self.operators[first].outputs);
        self.operate(shared, first, modulation)
    }

    fn all_off(&self, channel: usize) -> bool {
        operators_of(channel).into_iter().all(|operator| self.operators[operator].is_off())
    }

    fn two_operators(&mut self, shared: &Shared, channel: usize) -> i32 {
        if self.all_off(channel) {
            return 0;
        }
        let [_, second] = operators_of(channel);
        let one = self.operate_first(shared, channel);
        if self.channels[channel].is_additive() {
            one + self.operate(shared, second, 0)
        } else {
            self.operate(shared, second, one)
        }
    }

    fn four_operators(&mut self, shared: &Shared, channel: usize) -> i32 {
        if self.all_off(channel) && self.all_off(channel + 3) {
            return 0;
        }
        let ([_, second], [third, fourth]) = (operators_of(channel), operators_of(channel + 3));
        let one = self.operate_first(shared, channel);
        match (self.channels[channel].is_additive(), self.channels[channel + 3].is_additive()) {
            (false, false) => {
                let two = self.operate(shared, second, one);
                let three = self.operate(shared, third, two);
                self.operate(shared, fourth, three)
            }
            (false, true) => {
                let two = self.operate(shared, second, one);
                let three = self.operate(shared, third, 0);
                two + self.operate(shared, fourth, three)
            }
            (true, false) => {
                let two = self.operate(shared, second, 0);
                let three = self.operate(shared, third, two);
                one + self.operate(shared, fourth, three)
            }
            (true, true) => {
                let two = self.operate(shared, second, 0);
                let three = self.operate(shared, third, two);
                one + three + self.operate(shared, fourth, 0)
            }
        }
    }

    /// Percussion is twice as loud. The bass drum is an ordinary channel whose first operator is never heard itself.
    fn bass_drum(&mut self, shared: &Shared) -> i32 {
        let channel = DRUMS[0];
        let [_, second] = operators_of(channel);
        let one = self.operate_first(shared, channel);
        let modulation = if self.channels[channel].is_additive() { 0 } else { one };
        2 * self.operate(shared, second, modulation)
    }

    /// The bit that hi-hat and cymbal take from the phases of both.
    fn metal(&self) -> bool {
        let (hat, cymbal) = (self.operators[13].phase(), self.operators[17].phase());
        let bit = |phase: u16, n: u16| phase >> n & 1 != 0;
        (bit(hat, 2) ^ bit(hat, 7)) | (bit(hat, 3) ^ bit(cymbal, 5)) | (bit(cymbal, 3) ^ bit(cymbal, 5))
    }

    fn hi_hat_and_snare_drum(&mut self, shared: &Shared) -> i32 {
        let (metal, noise) = (self.metal(), self.noise & 1 != 0);
        let pitch = self.pitch(DRUMS[1]);
        let high = self.operators[13].phase() >> 8 & 1;
        let hat = u16::from(metal) << 9 | if metal ^ noise { 0xD0 } else { 0x34 };
        let snare = high << 9 | u16::from((high != 0) ^ noise) << 8;
        2 * (self.operators[13].next_at(shared, &pitch, hat) + self.operators[16].next_at(shared, &pitch, snare))
    }

    fn tom_tom_and_cymbal(&mut self, shared: &Shared) -> i32 {
        let cymbal = u16::from(self.metal()) << 9 | 0x80;
        let pitch = self.pitch(DRUMS[2]);
        let tom_tom = self.operators[14].next(shared, &pitch, 0);
        2 * (tom_tom + self.operators[17].next_at(shared, &pitch, cymbal))
    }
}

impl BytePorts for Opl3 {
    /// The low two bits of `port` are decoded.
    fn read8(&mut self, now: Time, port: u16) -> u8 {
        if port & 1 == 0 { self.status(now) } else { 0xFF }
    }

    fn write8(&mut self, now: Time, port: u16, value: u8) {
        match port & 3 {
            0 => self.index = value.into(),
            2 => self.index = 0x100 | u16::from(value),
            _ => self.write_register(now, value),
        }
    }
}
