//! `--sound`: what the chips play, mixed, into a WAV file.
//!
//! After each slice the chips are asked what they played ([`crate::board::Board::hear`]); the chips are not woken for
//! it, and with `--sound none` they compute nothing. Samples follow guest time: with `--clock virtual` the same run
//! gives the same samples.

pub mod synthesis;
mod wav;

use crate::error::Result;
use crate::machine::Machine;
use ring86_devices::Time;
use ring86_devices::sound::{FULL_SCALE, Step};
use std::path::PathBuf;
use std::str::FromStr;
use synthesis::{Sample, Synthesis};
use wav::Wav;

/// How long after guest time samples are made: chips may tell what they played this much later, and the beginning of
/// each step lies before it.
const DELAY: Time = 4_000_000;

/// Where the sound goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Nowhere.
    #[default]
    None,
    /// Into this WAV file, made anew.
    Wav(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "none" => Ok(Target::None),
            "host" => Err("the host's own sound is not possible yet; use wav:FILE".to_owned()),
            _ => match text.strip_prefix("wav:") {
                Some(path) if !path.is_empty() => Ok(Target::Wav(path.into())),
                _ => Err("use none or wav:FILE".to_owned()),
            },
        }
    }
}

/// What the user wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where.
    pub target: Target,
    /// How loud the PC's own speaker is, in per cent of what the host can play.
    pub speaker_volume: u8,
}

/// The listener.
pub struct Sound {
    synthesis: Synthesis,
    wav: Wav,
    steps: Vec<Step>,
    samples: Vec<Sample>,
}

impl Sound {
    /// Listens to `machine` from now on, if `options` say so.
    ///
    /// # Errors
    /// If the file cannot be created or the host has no sound.
    pub fn open(options: &Options, machine: &mut Machine) -> Result<Option<Self>> {
        let wav = match &options.target {
            Target::None => return Ok(None),
            Target::Wav(path) => Wav::create(path)?,
        };
        let now = machine.now();
        machine.board().listen(FULL_SCALE * i32::from(options.speaker_volume.min(100)) / 100);
        Ok(Some(Sound { synthesis: Synthesis::new(now), wav, steps: Vec::new(), samples: Vec::new() }))
    }

    /// Takes what `machine` played.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn pump(&mut self, machine: &mut Machine) -> Result<()> {
        let now = machine.now();
        self.collect(machine, now, now.saturating_sub(DELAY))
    }

    fn collect(&mut self, machine: &mut Machine, now: Time, until: Time) -> Result<()> {
        machine.board().hear(now, &mut self.steps);
        self.steps.drain(..).for_each(|step| self.synthesis.add(&step));
        self.synthesis.take(until, &mut self.samples);
        self.wav.write(&self.samples)?;
        self.samples.clear();
        Ok(())
    }

    /// Takes the rest and completes the file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(mut self, machine: &mut Machine) -> Result<()> {
        let now = machine.now();
        self.collect(machine, now, now)?;
        self.wav.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const _: () = assert!(Synthesis::ahead() < DELAY);

    #[test]
    fn targets() {
        assert_eq!("none".parse(), Ok(Target::None));
        assert_eq!("wav:a b.wav".parse(), Ok(Target::Wav("a b.wav".into())));
        for bad in ["", "wav:", "mp3:x", "wav", "host"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
