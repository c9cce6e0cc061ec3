//! Registers, timers and tones against the YMF262 and YM3812 manuals.

use super::*;
use crate::clock::SECOND;

struct Bench {
    chip: Opl3,
    now: Time,
    level: [i32; 2],
}

impl Bench {
    fn new() -> Self {
        let mut chip = Opl3::new();
        chip.listen();
        Self { chip, now: 0, level: [0; 2] }
    }

    /// A chip in OPL3 mode.
    fn new_mode() -> Self {
        let mut b = Self::new();
        b.set(register::NEW, NEW);
        b
    }

    fn set(&mut self, register: u16, value: u8) {
        self.chip.write8(self.now, 0x388 + (register >> 7 & 2), register as u8);
        self.chip.write8(self.now, 0x389, value);
    }

    fn status(&mut self) -> u8 {
        self.chip.read8(self.now, 0x388)
    }

    /// An operator that sounds at once, for ever, `level` below full (3/4 dB each) with `multiple` and `wave`.
    fn operator(&mut self, operator: u16, level: u8, multiple: u8, wave: u8) {
        self.set(0x20 + operator, 0x20 | multiple);
        self.set(0x40 + operator, level);
        self.set(0x60 + operator, 0xF0);
        self.set(0x80 + operator, 0x0F);
        self.set(0xE0 + operator, wave);
    }

    /// Presses the key of channel `channel` (with bit 8 for the second array).
    fn key(&mut self, channel: u16, number: u16, block: u8) {
        self.set(0xA0 + channel, number as u8);
        self.set(0xB0 + channel, 0x20 | block << 2 | (number >> 8) as u8);
    }

    /// The level of each sample in the next `span`.
    fn play(&mut self, span: Time) -> Vec<[i32; 2]> {
        let first = SAMPLES.ticks(self.now);
        let mut steps = Vec::new();
        let end = self.now + span;
        while self.now < end {
            self.now = (self.now + 20_000_000).min(end);
            self.chip.hear(self.now, &mut steps);
        }
        let mut samples = vec![[0; 2]; (SAMPLES.ticks(end) - first) as usize];
        for step in steps {
            let at = SAMPLES.ticks(step.time).saturating_sub(first + 1) as usize;
            samples[at][0] += step.left;
            samples[at][1] += step.right;
        }
        for sample in &mut samples {
            self.level = [self.level[0] + sample[0], self.level[1] + sample[1]];
            *sample = self.level;
        }
        samples
    }
}

fn peak(samples: &[[i32; 2]]) -> i32 {
    samples.iter().flatten().map(|s| s.abs()).max().unwrap_or(0)
}

/// Frequency by rising zero crossings of the left side.
fn frequency(samples: &[[i32; 2]]) -> f64 {
    let rises: Vec<usize> = (1..samples.len()).filter(|&i| samples[i - 1][0] < 0 && samples[i][0] >= 0).collect();
    let periods = rises.len() - 1;
    periods as f64 * 49_715.9 / (rises[periods] - rises[0]) as f64
}

#[test]
fn adlib_is_detected_by_its_timers() {
    let mut b = Bench::new();
    b.set(4, 0x60);
    b.set(4, 0x80);
    assert_eq!(b.status(), 0x00);
    b.set(2, 0xFF);
    b.set(4, 0x21);
    b.now += 80_500;
    assert_eq!(b.status() & 0xE0, 0xC0);
    b.set(4, 0x60);
    b.set(4, 0x80);
    // The low bits are 0 on an OPL3, 6 on an OPL2.
    assert_eq!(b.status(), 0x00);
}

#[test]
fn timers_count_in_80_and_320_microseconds() {
    let mut b = Bench::new();
    b.set(2, 256u16.wrapping_sub(100) as u8);
    b.set(3, 256u16.wrapping_sub(50) as u8);
    b.set(4, 0x03);
    let flag_at = |b: &mut Bench, flag: u8| {
        let start = b.now;
        while b.status() & flag == 0 {
            b.now += 10_000;
        }
        b.now - start
    };
    assert!((8_040_000..8_060_000).contains(&flag_at(&mut b, 0x40)));
    assert!((7_990_000..8_060_000).contains(&flag_at(&mut b, 0x20)), "8 ms after timer 1");
    b.set(4, 0x80);
    assert_eq!(b.status(), 0);
    assert!(flag_at(&mut b, 0x40) < 8_060_000, "it runs on");
    // A masked timer runs without a flag.
    b.set(4, 0x60 | 3);
    b.now += SECOND;
    assert_eq!(b.status(), 0);
}

#[test]
fn a_note_has_the_frequency_of_the_manual() {
    for (number, block, multiple, expected) in
        [(0x244, 4, 1, 440.0), (0x244, 5, 1, 880.0), (0x244, 4, 3, 1320.0), (0x244, 4, 0, 220.0), (0x16B, 2, 1, 68.86)]
    {
        let mut b = Bench::new();
        b.operator(3, 0, multiple, 0);
        b.operator(0, 63, 1, 0);
        b.key(0, number, block);
        let samples = b.play(SECOND / 2);
        let found = frequency(&samples);
        assert!((found / expected - 1.0).abs() < 0.002, "{found} Hz, not {expected}");
        assert!((4_070..=4_085).contains(&peak(&samples)), "{}", peak(&samples));
    }
}

#[test]
fn total_level_and_key_scale_attenuate() {
    let level = |scale: u8, level: u8, block: u8| {
        let mut b = Bench::new();
        b.operator(0, 63, 1, 0);
        b.operator(3, scale << 6 | level, 1, 0);
        b.key(0, 0x3FF, block);
        20.0 * (f64::from(peak(&b.play(SECOND / 4))) / 4084.0).log10()
    };
    for (scale, total, block, expected) in [
        (0, 0, 7, 0.0),
        (0, 8, 7, -6.02),
        (0, 40, 7, -30.1),
        // The manual's table: 21 dB at octave 7 with 3 dB an octave.
        (1, 0, 7, -21.0),
        (1, 0, 6, -18.0),
        (2, 0, 7, -10.5),
        (3, 0, 4, -24.0),
    ] {
        let found = level(scale, total, block);
        assert!((found - expected).abs() < 0.6, "KSL {scale}, TL {total}, block {block}: {found} dB, not {expected}");
    }
}

#[test]
fn an_envelope_attacks_decays_holds_and_is_released() {
    let mut b = Bench::new();
    b.operator(0, 63, 1, 0);
    b.operator(3, 0, 1, 0);
    // Attack 4, decay 6, sustain level 2 (-6 dB), release 8.
    b.set(0x63, 0x46);
    b.set(0x83, 0x28);
    b.key(0, 0x244, 4);
    let levels: Vec<i32> = b.play(2 * SECOND).chunks(497).map(peak).collect();
    // In steps of 10 ms. The key scale makes it rate 18, for which the manual gives 235.52 ms.
    let top = levels.iter().position(|l| *l > 4_000).expect("the attack ends");
    assert!((21..=25).contains(&top), "{top}");
    let sustained = *levels.last().expect("two seconds");
    assert!((2_000..2_100).contains(&sustained), "{sustained}");
    b.set(0xB0, 0x12);
    let levels: Vec<i32> = b.play(3 * SECOND).chunks(497).map(peak).collect();
    assert!(levels.is_sorted_by(|a, b| a >= b));
    // Rate 34: 205 ms for 96 dB, of which 6 are gone.
    let end = levels.iter().position(|l| *l == 0).expect("the release ends");
    assert!((12..=22).contains(&end), "{end}");
    assert_eq!(levels.last(), Some(&0));
    // A percussive note (EG type 0) does not hold.
    b.set(0x23, 0x01);
    b.key(0, 0x244, 4);
    assert_eq!(peak(&b.play(4 * SECOND)[180_000..]), 0);
}

#[test]
fn tremolo_and_vibrato_have_the_depths_of_the_manual() {
    for (deep, decibels, cents) in [(0, 1.0, 7.0), (0xC0, 4.8, 14.0)] {
        let mut b = Bench::new();
        b.set(0xBD, deep);
        b.operator(0, 63, 1, 0);
        b.operator(3, 0, 1, 0);
        b.set(0x23, 0xA1);
        b.key(0, 0x200, 7);
        let levels: Vec<i32> = b.play(SECOND).chunks(497).map(peak).collect();
        let (low, high) = (levels[..99].iter().min().unwrap(), levels[..99].iter().max().unwrap());
        let depth = 20.0 * (f64::from(*high) / f64::from(*low)).log10();
        assert!((depth - decibels).abs() < 0.25, "{depth} dB, not {decibels}");
        // Two highs and two lows of 3.7 Hz at least.
        let middle = (low + high) / 2;
        let crossings = levels.windows(2).filter(|w| (w[0] > middle) != (w[1] > middle)).count();
        assert!((6..=9).contains(&crossings), "{crossings}");

        b.set(0x23, 0x61);
        // A step of the vibrato takes 1024 samples; cut there.
        let start = SAMPLES.ticks(b.now) as usize + 1;
        let samples = b.play(SECOND);
        let found: Vec<f64> = samples[start.next_multiple_of(1024) - start..]
            .chunks(1024)
            .filter(|c| c.len() == 1024)
            .map(frequency)
            .collect();
        let (low, high) = (found.iter().copied().fold(f64::MAX, f64::min), found.iter().copied().fold(0.0, f64::max));
        let depth = 1200.0 * (high / low).log2();
        assert!((depth - 2.0 * cents).abs() < 4.0, "{depth} cents from low to high, not {}", 2.0 * cents);
    }
}

/// How strong the harmonics of 440 Hz are, fundamental first.
fn harmonics(samples: &[[i32; 2]]) -> Vec<f64> {
    let tone = 440.03;
    (1..=6)
        .map(|n| {
            let (mut re, mut im) = (0.0, 0.0);
            for (i, sample) in samples.iter().enumerate() {
                let angle = 2.0 * std::f64::consts::PI * tone * f64::from(n) * i as f64 / 49_715.909;
                re += f64::from(sample[0]) * angle.cos();
                im += f64::from(sample[0]) * angle.sin();
            }
            2.0 * (re * re + im * im).sqrt() / samples.len() as f64
        })
        .collect()
}

#[test]
fn one_operator_modulates_or_joins_the_other() {
    let play = |connection: u8, level: u8| {
        let mut b = Bench::new();
        b.operator(0, level, 2, 0);
        b.operator(3, 0, 1, 0);
        b.set(0xC0, connection);
        b.key(0, 0x244, 4);
        harmonics(&b.play(SECOND))
    };
    // Joined: the sum of two sines, the second of twice the frequency and 6 dB less.
    let sum = play(1, 8);
    assert!((sum[0] - 4084.0).abs() < 60.0 && (sum[1] - 2042.0).abs() < 60.0 && sum[2] < 20.0, "{sum:?}");
    // Modulated by a sine of twice its frequency: odd harmonics with Bessel functions as their strengths. 24 dB below
    // full (32 steps of 3/4 dB), the index is 8 pi / 16.
    let fm = play(0, 32);
    // J0(pi / 2) = 0.472, J1 = 0.567, J2 = 0.250; tones below zero fold back with their sign changed.
    let expected = [(0.472 + 0.567) * 4084.0, 0.0, (0.567 - 0.250) * 4084.0];
    assert!((0..3).all(|i: usize| (fm[i] - expected[i]).abs() < 130.0), "{fm:?}, not {expected:?}");
    // Feedback makes a sawtooth of a sine: the second harmonic appears.
    let mut b = Bench::new();
    b.operator(0, 0, 1, 0);
    b.operator(3, 63, 1, 0);
    b.set(0xC0, 0x09);
    b.key(0, 0x244, 4);
    let fed = harmonics(&b.play(SECOND));
    assert!(fed[1] > 800.0 && fed[0] > 2_500.0, "{fed:?}");
}

#[test]
fn four_operators_and_two_sides() {
    // Additive in both halves: operators 1, 3 (through 2 on top) and 4 are heard.
    let play = |first: u8, second: u8| {
        let mut b = Bench::new_mode();
        b.set(register::CONNECTION_SELECT, 1);
        for (operator, level, multiple) in [(0x00, 0, 1), (0x03, 63, 1), (0x08, 8, 2), (0x0B, 16, 3)] {
            b.operator(operator, level, multiple, 0);
        }
        b.set(0xC0, 0x30 | first);
        b.set(0xC3, 0x30 | second);
        b.key(0, 0x244, 4);
        harmonics(&b.play(SECOND))
    };
    let all = play(1, 1);
    for (found, expected) in all.iter().zip([4084.0, 2042.0, 1021.0, 0.0]) {
        // The second operator, at its softest, still modulates the third a little.
        assert!((found - expected).abs() < 130.0, "{all:?}");
    }
    // 1 + (2 -> 3 -> 4): the third is heard as a modulation only.
    let mixed = play(1, 0);
    assert!((mixed[0] - all[0]).abs() < 800.0 && mixed[1] < 1_800.0, "{mixed:?}");
    let chain = play(0, 0);
    assert!(chain[0] < 1_200.0, "{chain:?}");

    // The second array, and one side each.
    let mut b = Bench::new_mode();
    for (operator, connection) in [(0x003, 0x10), (0x103, 0x20)] {
        b.operator(operator, 0, 1, 0);
        b.operator(operator - 3, 63, 1, 0);
        b.set((operator & 0x100) + 0xC0, connection);
        b.key(operator & 0x100, 0x244, 4 + u8::from(operator > 0xFF));
    }
    let samples = b.play(SECOND / 2);
    let right: Vec<[i32; 2]> = samples.iter().map(|s| [s[1], 0]).collect();
    assert!((frequency(&samples) - 440.0).abs() < 1.0 && (frequency(&right) - 880.0).abs() < 2.0);
    // The second array is not there in OPL2 mode.
    let mut b = Bench::new();
    b.operator(0x103, 0, 1, 0);
    b.key(0x100, 0x244, 4);
    assert_eq!(peak(&b.play(SECOND / 10)), 0);
}

#[test]
fn waveforms_beyond_the_third_are_for_opl3() {
    let square = |mut b: Bench| {
        b.operator(0, 63, 1, 0);
        b.operator(3, 0, 1, 6);
        b.set(0xC0, 0x30);
        b.key(0, 0x244, 4);
        let samples = b.play(SECOND / 4);
        samples.iter().filter(|s| s[0].abs() > 4_000).count() as f64 / samples.len() as f64
    };
    assert!(square(Bench::new_mode()) > 0.99 && square(Bench::new()) < 0.5);
}

#[test]
fn the_rhythm_section_plays_five_instruments() {
    for (drum, operator) in [(0x10, 0x13), (0x08, 0x14), (0x04, 0x12), (0x02, 0x15), (0x01, 0x11)] {
        let mut b = Bench::new();
        for operator in 0x10..0x16 {
            b.operator(operator, 63, 1, 0);
        }
        b.operator(operator, 0, 1, 0);
        for (channel, number, block) in [(6, 0x244, 2), (7, 0x200, 4), (8, 0x244, 3)] {
            b.set(0xA0 + channel, number as u8);
            b.set(0xB0 + channel, block << 2 | (number >> 8) as u8);
        }
        b.set(0xBD, 0x20);
        assert_eq!(peak(&b.play(SECOND / 10)), 0);
        b.set(0xBD, 0x20 | drum);
        let samples = b.play(SECOND / 4);
        // The cymbal plays an eighth of a turn away from the top of its wave.
        let expected = if drum == 0x02 { 5_700..=5_900 } else { 7_700..=8_170 };
        assert!(expected.contains(&peak(&samples)), "drum {drum:02x}: {}", peak(&samples));
        if drum & 0x14 != 0 {
            let expected = if drum == 0x10 { 110.0 } else { 220.0 };
            assert!((frequency(&samples) / expected - 1.0).abs() < 0.01, "{}", frequency(&samples));
        }
        b.set(0xBD, 0x20);
        b.play(SECOND / 4);
        assert_eq!(peak(&b.play(SECOND / 4)), 0, "released");
    }
}

#[test]
fn nothing_is_computed_unheard_and_little_after_long_silence() {
    let mut chip = Opl3::new();
    let mut steps = Vec::new();
    chip.hear(SECOND, &mut steps);
    chip.write8(SECOND, 0, 0xB0);
    chip.write8(SECOND, 1, 0x32);
    chip.hear(1 << 60, &mut steps);
    assert!(steps.is_empty());
    let mut b = Bench::new();
    b.operator(3, 0, 1, 0);
    b.key(0, 0x244, 4);
    b.chip.hear(1 << 60, &mut steps);
    assert!((1_000..10_000).contains(&steps.len()));
    b.chip.reset(1 << 60);
    steps.clear();
    b.chip.hear((1 << 60) + SECOND, &mut steps);
    assert!(steps.len() <= 1);
}
