//! From steps at guest times to samples: each step becomes a band-limited one, so that square waves and samples of any
//! rate come out without false tones.
//!
//! A step adds a short pulse, a windowed sinc, to a line of differences at its place to 1/256 of a sample; the samples
//! are the running sum of the line. Everything is integer arithmetic on a table made without the host's mathematical
//! library: the same steps give the same samples everywhere. A pulse's sum is exactly one, so that a level once reached
//! stays exact.

use ring86_devices::sound::Step;
use ring86_devices::{Time, clock};
use std::collections::VecDeque;
use std::f64::consts::PI;

/// Samples a second.
pub const RATE: u32 = 48_000;
/// One sample of the left and of the right side.
pub type Sample = [i16; 2];

/// Places between two samples at which a step can be.
const PHASES: usize = 256;
/// Samples over which a step is spread.
const TAPS: usize = 32;
/// How far the sinc reaches either way, in samples.
const REACH: usize = TAPS / 2 - 1;
/// How long the pulse of a step reaches before it, in samples.
const AHEAD: u64 = TAPS as u64 / 2;
/// The sum of a pulse is one, in this unit.
const UNIT_BITS: u32 = 15;
/// Where the pulse's spectrum ends, as a part of half the sampling rate: the window needs the rest to fall.
const CUTOFF: f64 = 0.88;
/// Places counted in guest time: RATE * PHASES a second, as an exact ratio.
const PLACES: clock::Ratio = clock::Ratio::new(RATE as u64 * PHASES as u64 / 1000, clock::SECOND / 1000);

/// sin(x) by its series, good to the last bits for the arguments used here.
fn sine(x: f64) -> f64 {
    let x = x - (x / (2.0 * PI)).round() * 2.0 * PI;
    let (mut term, mut sum) = (x, x);
    for n in 1..16 {
        term *= -x * x / f64::from(2 * n * (2 * n + 1));
        sum += term;
    }
    sum
}

/// The windowed sinc at [`PHASES`] points a sample, from -[`REACH`] to [`REACH`] samples.
fn sinc() -> Vec<f64> {
    let cosine = |a: f64| sine(a + PI / 2.0);
    let value = |i: usize| {
        // Never 0: the points lie half a step beside whole numbers.
        let x = (i as f64 + 0.5) / PHASES as f64 - REACH as f64;
        // Blackman's window.
        let at = PI * (x / REACH as f64 + 1.0);
        let window = 0.42 - 0.5 * cosine(at) + 0.08 * cosine(2.0 * at);
        sine(PI * CUTOFF * x) / (PI * x) * window
    };
    (0..2 * REACH * PHASES).map(value).collect()
}

/// The pulse for each place between two samples: what the smooth step grows by from each sample to the next.
fn pulses() -> Vec<[i32; TAPS]> {
    let sinc = sinc();
    let all: f64 = sinc.iter().sum();
    let pulse = |phase: usize| {
        let growth = |tap: usize| {
            // The sinc begins one sample and the phase behind the start of the first tap.
            let from = ((tap * PHASES).saturating_sub(PHASES + phase)).min(sinc.len());
            let to = ((tap + 1) * PHASES).saturating_sub(PHASES + phase).min(sinc.len());
            (sinc[from..to].iter().sum::<f64>() / all * f64::from(1u32 << UNIT_BITS)).round() as i32
        };
        let mut pulse: [i32; TAPS] = std::array::from_fn(growth);
        // What rounding left over goes where it is heard least.
        pulse[TAPS / 2] += (1 << UNIT_BITS) - pulse.iter().sum::<i32>();
        pulse
    };
    (0..PHASES).map(pulse).collect()
}

/// Makes samples of steps.
pub struct Synthesis {
    pulses: Vec<[i32; TAPS]>,
    /// Differences of the samples from number `next` on.
    line: VecDeque<[i64; 2]>,
    /// Number of the sample that comes next.
    next: u64,
    sum: [i64; 2],
}

impl Synthesis {
    /// A synthesis whose first sample is that of guest time `start`.
    pub fn new(start: Time) -> Self {
        let next = PLACES.ticks(start) / PHASES as u64;
        Synthesis { pulses: pulses(), line: VecDeque::new(), next, sum: [0; 2] }
    }

    /// Adds a step. One that comes too late, when samples of its time are out already, is heard a little later.
    pub fn add(&mut self, step: &Step) {
        let place = PLACES.ticks(step.time);
        let (sample, phase) = (place / PHASES as u64, (place % PHASES as u64) as usize);
        // The pulse begins AHEAD - 1 samples before its middle; of a late one the beginning is moved.
        let first = (sample + 1).saturating_sub(AHEAD).max(self.next) - self.next;
        let end = first as usize + TAPS;
        if self.line.len() < end {
            self.line.resize(end, [0; 2]);
        }
        for (cell, weight) in self.line.range_mut(first as usize..end).zip(&self.pulses[phase]) {
            cell[0] += i64::from(step.left) * i64::from(*weight);
            cell[1] += i64::from(step.right) * i64::from(*weight);
        }
    }

    /// Appends the samples up to guest time `until` to `out`; all steps up to `AHEAD` samples later should be known.
    pub fn take(&mut self, until: Time, out: &mut Vec<Sample>) {
        let end = PLACES.ticks(until) / PHASES as u64;
        while self.next < end {
            let difference = self.line.pop_front().unwrap_or_default();
            let mut sample = [0; 2];
            for (i, out) in sample.iter_mut().enumerate() {
                self.sum[i] += difference[i];
                let rounded = (self.sum[i] + (1 << (UNIT_BITS - 1))) >> UNIT_BITS;
                *out = rounded.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
            }
            out.push(sample);
            self.next += 1;
        }
    }

    /// How much guest time a step reaches before itself.
    pub const fn ahead() -> Time {
        AHEAD * clock::SECOND / RATE as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square wave of `frequency` for `seconds`, asked for `every` nanoseconds.
    fn square(frequency: f64, seconds: u64, every: Time) -> Vec<Sample> {
        let mut synthesis = Synthesis::new(0);
        let mut out = Vec::new();
        let half = 5e8 / frequency;
        let end = seconds * clock::SECOND;
        let mut asked = 0;
        for n in 0.. {
            let time = (n as f64 * half) as Time;
            if time >= end {
                break;
            }
            let change = if n == 0 { 10_000 } else { 20_000 - 40_000 * (n & 1) };
            synthesis.add(&Step { time, left: change, right: -change });
            while asked + every + Synthesis::ahead() < time {
                asked += every;
                synthesis.take(asked, &mut out);
            }
        }
        synthesis.take(end, &mut out);
        out
    }

    /// Magnitude of the left side at `frequency`, as the peak of a sine.
    fn magnitude(samples: &[Sample], frequency: f64) -> f64 {
        let (mut re, mut im) = (0.0, 0.0);
        for (i, sample) in samples.iter().enumerate() {
            let angle = 2.0 * PI * frequency * i as f64 / f64::from(RATE);
            re += f64::from(sample[0]) * angle.cos();
            im += f64::from(sample[0]) * angle.sin();
        }
        2.0 * (re * re + im * im).sqrt() / samples.len() as f64
    }

    #[test]
    fn the_series_is_the_sine() {
        for i in -2000..2000 {
            let x = f64::from(i) * 0.037;
            assert!((sine(x) - x.sin()).abs() < 1e-12, "{x}");
        }
    }

    #[test]
    fn a_level_is_reached_exactly_and_kept() {
        let mut synthesis = Synthesis::new(0);
        for (time, level) in [(1_000_003, 12_345), (2_500_000, -345), (4_000_017, -12_000)] {
            synthesis.add(&Step { time, left: level, right: 2 });
        }
        let mut out = Vec::new();
        synthesis.take(10_000_000, &mut out);
        assert_eq!(out.len(), 480);
        assert_eq!((out[30], out[70], out[150], out[479]), ([0, 0], [12_345, 2], [12_000, 4], [0, 6]));
    }

    #[test]
    fn a_step_is_heard_at_its_time() {
        // 1.5 ms are 72 samples.
        let mut synthesis = Synthesis::new(0);
        synthesis.add(&Step { time: 1_500_000, left: 10_000, right: 0 });
        let mut out = Vec::new();
        synthesis.take(4_000_000, &mut out);
        assert!((4_900..5_100).contains(&out[72][0]), "{:?}", &out[68..76]);
        assert!(out[71][0] < 1_000 && out[73][0] > 9_000, "{:?}", &out[68..76]);
    }

    #[test]
    fn how_often_samples_are_taken_does_not_matter() {
        let all = square(1234.5, 1, u64::MAX / 4);
        assert_eq!(all.len(), RATE as usize);
        for every in [999_983, 5_000_000, 25_000_000] {
            assert!(square(1234.5, 1, every) == all, "{every}");
        }
    }

    #[test]
    fn a_square_wave_has_its_harmonics_and_nothing_else() {
        let samples = square(3100.0, 1, 5_000_000);
        for (harmonic, expected) in [(1.0, 12_732.0), (3.0, 4_244.0), (5.0, 2_546.0)] {
            let found = magnitude(&samples, 3100.0 * harmonic);
            assert!((found / expected - 1.0).abs() < 0.02, "harmonic {harmonic}: {found}");
        }
        // 7 to 25 times the tone lies above half the rate; folded back it would be heard at these frequencies.
        for harmonic in [9, 11, 13, 15, 17, 19, 21, 23, 25] {
            let folded = (3100 * harmonic) % 48_000;
            let folded = folded.min(48_000 - folded);
            let found = magnitude(&samples, f64::from(folded));
            assert!(found < 30.0, "harmonic {harmonic} at {folded} Hz: {found}");
        }
    }

    #[test]
    fn a_late_step_is_not_lost() {
        let mut synthesis = Synthesis::new(0);
        let mut out = Vec::new();
        synthesis.take(10_000_000, &mut out);
        synthesis.add(&Step { time: 0, left: 500, right: 500 });
        synthesis.take(20_000_000, &mut out);
        assert_eq!(out.last(), Some(&[500, 500]));
        // Too loud is cut off, not wrapped around.
        synthesis.add(&Step { time: 20_000_000, left: 50_000, right: -50_000 });
        synthesis.take(30_000_000, &mut out);
        assert_eq!(out.last(), Some(&[i16::MAX, i16::MIN]));
    }
}
