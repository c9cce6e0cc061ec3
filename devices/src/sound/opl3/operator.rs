//! One operator: phase generator, envelope generator and the two ROMs.

use super::spec::{KEY_SCALE, MULTIPLES};
use std::f64::consts::PI;
use std::sync::OnceLock;

/// Attenuation of an operator that is off, in 3/16 dB.
const SILENT: u16 = 0x1FF;

/// The two ROMs: -log2 of a quarter sine, and the fraction of 2 to the power of x, each in 256 steps.
struct Roms {
    log_sine: [u16; 256],
    exponent: [u16; 256],
}

fn roms() -> &'static Roms {
    static ROMS: OnceLock<Roms> = OnceLock::new();
    ROMS.get_or_init(|| Roms {
        log_sine: std::array::from_fn(|i| (-((i as f64 + 0.5) * PI / 512.0).sin().log2() * 256.0).round() as u16),
        exponent: std::array::from_fn(|i| (((i as f64 / 256.0).exp2() - 1.0) * 1024.0).round() as u16),
    })
}

/// The amplitude for an attenuation in 1/256 of 6 dB: 4084 at most.
fn amplitude(attenuation: u16) -> i32 {
    let mantissa = roms().exponent[usize::from(attenuation & 0xFF ^ 0xFF)] | 0x400;
    i32::from(mantissa << 1) >> (attenuation >> 8)
}

/// Attenuation and sign of waveform `number` (0 to 7) at `phase` (10 bits); `None` where it is silent.
fn waveform(number: u8, phase: u16) -> Option<(u16, bool)> {
    let log_sine =
        |quarter: u16, back: bool| roms().log_sine[usize::from((if back { !quarter } else { quarter }) & 0xFF)];
    let sine = log_sine(phase, phase & 0x100 != 0);
    let second = phase & 0x200 != 0;
    let double = log_sine(phase << 1, phase & 0x80 != 0);
    match number & 7 {
        0 => Some((sine, second)),
        1 => (!second).then_some((sine, false)),
        2 => Some((sine, false)),
        3 => (phase & 0x100 == 0).then_some((sine, false)),
        4 => (!second).then_some((double, phase & 0x100 != 0)),
        5 => (!second).then_some((double, false)),
        6 => Some((0, second)),
        _ => Some(((if second { !phase & 0x1FF } else { phase & 0x1FF }) << 3, second)),
    }
}

/// What an envelope does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Attack,
    Decay,
    Sustain,
    Release,
}

/// The pitch of a note, as an operator needs it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pitch {
    /// F-NUM, 10 bits.
    pub(super) number: u16,
    /// Octave.
    pub(super) block: u8,
    /// Key scale number: octave and one bit of F-NUM.
    pub(super) key_scale: u8,
}

/// What all operators share at one sample.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shared {
    /// Samples so far, for the envelopes.
    pub(super) counter: u32,
    /// Attenuation by tremolo, in 3/16 dB.
    pub(super) tremolo: u16,
    /// Step of the vibrato, 0 to 7.
    pub(super) vibrato: u8,
    /// Vibrato of 14 cents.
    pub(super) deep_vibrato: bool,
    /// All eight waveforms.
    pub(super) new: bool,
}

/// One operator.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    // Registers 20h, 40h, 60h, 80h, E0h and up.
    control: u8,
    level: u8,
    attack_decay: u8,
    sustain_release: u8,
    wave: u8,
    // Volatile state.
    keys: u8,
    stage: Stage,
    /// Attenuation by the envelope, in 3/16 dB.
    envelope: u16,
    /// 10.9 bits.
    phase: u32,
    /// The last two outputs, newest first.
    pub(super) outputs: [i32; 2],
}

impl Default for Operator {
    fn default() -> Self {
        Self {
            control: 0,
            level: 0,
            attack_decay: 0,
            sustain_release: 0,
            wave: 0,
            keys: 0,
            stage: Stage::Release,
            envelope: SILENT,
            phase: 0,
            outputs: [0; 2],
        }
    }
}

impl Operator {
    /// Writes the operator's register in the group that begins at `group` (20h, 40h, 60h, 80h or E0h).
    pub(super) fn write(&mut self, group: u8, value: u8) {
        match group {
            0x20 => self.control = value,
            0x40 => self.level = value,
            0x60 => self.attack_decay = value,
            0x80 => self.sustain_release = value,
            _ => self.wave = value & 7,
        }
    }

    /// Whether nothing can be heard of it until a key is pressed.
    pub(super) fn is_off(&self) -> bool {
        self.envelope == SILENT && self.stage != Stage::Attack
    }

    /// Presses or releases one of the keys (bits of `source`) that the operator has; a note starts with the first.
    pub(super) fn key(&mut self, source: u8, pressed: bool, pitch: &Pitch) {
        let before = self.keys;
        self.keys = if pressed { before | source } else { before & !source };
        if before == 0 && self.keys != 0 {
            self.phase = 0;
            self.stage = Stage::Attack;
            if self.rate(pitch) >= 60 {
                self.envelope = 0;
                self.stage = Stage::Decay;
            }
        } else if before != 0 && self.keys == 0 {
            self.stage = Stage::Release;
        }
    }

    /// The rate of the present stage, 0 to 63; 0 stands still.
    fn rate(&self, pitch: &Pitch) -> u8 {
        let rate = match self.stage {
            Stage::Attack => self.attack_decay >> 4,
            Stage::Decay => self.attack_decay & 0xF,
            Stage::Sustain if self.control & 0x20 != 0 => 0,
            Stage::Sustain | Stage::Release => self.sustain_release & 0xF,
        };
        if rate == 0 {
            return 0;
        }
        let scale = if self.control & 0x10 != 0 { pitch.key_scale } else { pitch.key_scale >> 2 };
        (4 * rate + scale).min(63)
    }

    /// How far the envelope moves at this sample.
    fn movement(rate: u8, counter: u32) -> u16 {
        let (octave, fraction) = (rate >> 2, rate & 3);
        // Of four steps the fraction's number are twice as long as the others.
        let long =
            |step: u32| u16::from([0b0000, 0b1000, 0b1010, 0b1110][usize::from(fraction)] >> (step & 3) & 1 != 0);
        match octave {
            0..=12 => {
                let shift = 12 - u32::from(octave);
                if rate == 0 || counter & ((1 << shift) - 1) != 0 {
                    return 0;
                }
                // Below one step in a sample, every second step of a pair is left out unless it is a long one.
                let step = counter >> shift;
                if step & 1 != 0 { 1 } else { long(step >> 1) }
            }
            13 | 14 => 1 << (octave - 13) << long(counter),
            _ => 4,
        }
    }

    fn advance_envelope(&mut self, counter: u32, pitch: &Pitch) {
        let movement = Self::movement(self.rate(pitch), counter);
        match self.stage {
            Stage::Attack => {
                if movement > 0 && self.envelope > 0 {
                    let fall = ((self.envelope + 1) * movement).div_ceil(8);
                    self.envelope = self.envelope.saturating_sub(fall);
                }
                if self.envelope == 0 {
                    self.stage = Stage::Decay;
                }
            }
            Stage::Decay | Stage::Sustain | Stage::Release => {
                let until = match self.sustain_release >> 4 {
                    15 => 31,
                    level => u16::from(level),
                };
                if self.stage == Stage::Decay && self.envelope >> 4 >= until {
                    self.stage = Stage::Sustain;
                } else {
                    self.envelope += movement;
                }
                if self.envelope >= 0x1F8 {
                    self.envelope = SILENT;
                }
            }
        }
    }

    fn advance_phase(&mut self, shared: &Shared, pitch: &Pitch) {
        let mut number = i32::from(pitch.number);
        if self.control & 0x40 != 0 {
            let depth = i32::from(pitch.number >> 7);
            let step = shared.vibrato & 3;
            let swing = if step == 0 { 0 } else { depth >> (step & 1) >> u8::from(!shared.deep_vibrato) };
            number += if shared.vibrato & 4 != 0 { -swing } else { swing };
        }
        let octave = (number.max(0) as u32) << pitch.block >> 1;
        let multiple = MULTIPLES[usize::from(self.control & 0xF)];
        self.phase = (self.phase + ((octave * multiple) >> 1)) & 0x7_FFFF;
    }

    /// The phase as the ROM is addressed, 10 bits.
    pub(super) fn phase(&self) -> u16 {
        (self.phase >> 9) as u16
    }

    /// Attenuation by all but the wave, in 3/16 dB.
    fn attenuation(&self, shared: &Shared, pitch: &Pitch) -> u16 {
        let octave = (8 - u16::from(pitch.block)) << 5;
        let full = (KEY_SCALE[usize::from(pitch.number >> 6 & 0xF)] << 2).saturating_sub(octave);
        // None, 3, 1.5 and 6 dB an octave.
        let scale = match self.level >> 6 {
            0 => 0,
            1 => full >> 1,
            2 => full >> 2,
            _ => full,
        };
        let tremolo = if self.control & 0x80 != 0 { shared.tremolo } else { 0 };
        (self.envelope + (u16::from(self.level & 0x3F) << 2) + scale + tremolo).min(SILENT)
    }

    /// Computes the next output; `modulation` is added to the phase.
    pub(super) fn next(&mut self, shared: &Shared, pitch: &Pitch, modulation: i32) -> i32 {
        let phase = (i32::from(self.phase()) + modulation) as u16 & 0x3FF;
        self.next_at(shared, pitch, phase)
    }

    /// As [`Operator::next`] with the phase given.
    pub(super) fn next_at(&mut self, shared: &Shared, pitch: &Pitch, phase: u16) -> i32 {
        let wave = if shared.new { self.wave } else { self.wave & 3 };
        let output = match waveform(wave, phase) {
            Some((attenuation, negative)) if !self.is_off() => {
                let value = amplitude(attenuation + (self.attenuation(shared, pitch) << 3));
                if negative { !value } else { value }
            }
            _ => 0,
        };
        self.advance_phase(shared, pitch);
        self.advance_envelope(shared.counter, pitch);
        self.outputs = [output, self.outputs[0]];
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roms_hold_what_was_read_from_the_die() {
        let roms = roms();
        assert_eq!(roms.log_sine[..4], [0x859, 0x6C3, 0x607, 0x58B]);
        assert_eq!((roms.log_sine[127], roms.log_sine[128], roms.log_sine[255]), (0x081, 0x07F, 0));
        assert_eq!(roms.exponent[..4], [0, 3, 6, 8]);
        assert_eq!((roms.exponent[128], roms.exponent[255]), (0x1A8, 0x3FA));
        assert_eq!((amplitude(0), amplitude(0x100), amplitude(0xFFF)), (4084, 2042, 0));
    }

    #[test]
    fn waveforms_have_their_shapes() {
        let value = |number, phase| match waveform(number, phase) {
            Some((attenuation, true)) => -amplitude(attenuation),
            Some((attenuation, false)) => amplitude(attenuation),
            None => 0,
        };
        for phase in 0..1024 {
            let ideal = |turns: f64| 4084.0 * (turns * 2.0 * PI).sin();
            let at = (f64::from(phase) + 0.5) / 1024.0;
            let (sine, double) = (ideal(at), ideal(2.0 * (f64::from(phase) + 0.25) / 1024.0));
            let first = phase < 512;
            let close = |number, expected: f64| {
                let found = value(number, phase);
                assert!(
                    (f64::from(found) - expected).abs() < 30.0,
                    "waveform {number} at {phase}: {found}, {expected}"
                );
            };
            close(0, sine);
            close(1, if first { sine } else { 0.0 });
            close(2, sine.abs());
            close(3, if phase & 0x100 == 0 { sine.abs() } else { 0.0 });
            close(4, if first { double } else { 0.0 });
            close(5, if first { double.abs() } else { 0.0 });
            close(6, if first { 4084.0 } else { -4084.0 });
            let fall = if first { phase } else { 1023 - phase };
            close(7, 4084.0 * (-f64::from(fall) / 32.0).exp2() * if first { 1.0 } else { -1.0 });
        }
    }

    #[test]
    fn envelopes_move_at_the_rates_of_the_manual() {
        // The manual's times from 0 to 96 dB with rate 4n + fraction, in milliseconds.
        for (rate, milliseconds) in
            [(8, 19_640.3), (24, 1227.5), (40, 76.72), (41, 61.4), (42, 51.1), (43, 43.8), (60, 2.4)]
        {
            let mut counter = 0u32;
            let mut level = 0;
            while level < 512 {
                counter += 1;
                level += u32::from(Operator::movement(rate, counter));
            }
            let found = f64::from(counter) / 49.7159;
            // The manual counts to a little less than the end.
            assert!((0.9..1.02).contains(&(milliseconds / found)), "rate {rate}: {found} ms, not {milliseconds}");
        }
        assert!((0..9999).all(|counter| Operator::movement(0, counter) == 0));
    }
}
