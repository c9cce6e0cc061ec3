//! Automation: a script or clients of the control socket wait for text, press keys and take pictures.
//!
//! Everything happens at guest times that depend on the machine alone: with `--clock virtual` a script makes the same
//! pictures after the same number of instructions every time. Commands are described in `docs/scripts.md`.

pub mod client;
mod command;
mod control;
mod executor;
mod key_names;
mod png;
mod screen;
mod script;

pub use key_names::key;

use crate::drives::Drives;
use crate::error::Result;
use crate::machine::Machine;
use crate::scheduler::Waker;
use crate::storage::Access;
use control::Control;
use ring86_devices::Time;
use script::Script;
use std::path::PathBuf;

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// File with commands.
    pub script: Option<PathBuf>,
    /// Name or path of the control socket.
    pub control: Option<String>,
    /// How images are opened that commands insert.
    pub access: Access,
}

/// Whoever drives a machine beside its user.
#[derive(Debug)]
pub struct Automation {
    script: Option<Script>,
    control: Option<Control>,
}

impl Automation {
    /// Reads the script and checks it for a machine with `drives`; nothing else happens yet.
    ///
    /// # Errors
    /// One sentence with file, line and remedy.
    pub fn new(options: &Options, drives: &Drives) -> Result<Self> {
        let load = |path: &PathBuf| Script::load(path, options.access.clone(), drives);
        let script = options.script.as_ref().map(load).transpose()?;
        Ok(Automation { script, control: None })
    }

    /// Opens the control socket, if one is wanted, for a machine that `waker` wakes.
    ///
    /// # Errors
    /// One sentence if the host refuses, or its folder is open to others.
    pub fn listen(&mut self, options: &Options, waker: &Waker) -> Result<()> {
        if let Some(name) = &options.control {
            self.control = Some(Control::open(name, waker.clone(), options.access.clone())?);
        }
        Ok(())
    }

    /// When [`Automation::pump`] has something to do next; the machine must not run past that.
    pub fn next(&self) -> Time {
        let script = self.script.as_ref().and_then(Script::next);
        let control = self.control.as_ref().and_then(Control::next);
        script.into_iter().chain(control).min().unwrap_or(Time::MAX)
    }

    /// Does what is due. Returns the exit code if the run is to end.
    pub fn pump(&mut self, machine: &mut Machine) -> Option<u8> {
        let script = self.script.as_mut().and_then(|script| script.pump(machine));
        let end = script.or_else(|| self.control.as_mut().and_then(|control| control.pump(machine)));
        if let (Some(code), Some(control)) = (end, &mut self.control) {
            control.ended(code);
        }
        end
    }

    /// The machine ended by itself and the run with it, with exit code `exit` so far. Returns the one that counts.
    pub fn ended(&mut self, exit: u8) -> u8 {
        if let Some(control) = &mut self.control {
            control.ended(exit);
        }
        self.script.as_mut().map_or(exit, |script| script.ended(exit))
    }
}
