//! `--parallel`: what LPT1 prints, into a file.

use crate::error::{Error, Result};
use crate::machine::Machine;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

/// What is at the cable of LPT1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Nothing.
    #[default]
    None,
    /// A printer whose paper is this file, made anew.
    File(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.strip_prefix("file:") {
            Some(path) if !path.is_empty() => Ok(Target::File(path.into())),
            None if text == "none" => Ok(Target::None),
            _ => Err("use none or file:PATH".to_owned()),
        }
    }
}

/// The printer.
#[derive(Debug)]
pub struct Printer {
    paper: File,
    path: PathBuf,
}

impl Printer {
    /// Plugs a printer into `machine`, if `target` says so.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn open(target: &Target, machine: &mut Machine) -> Result<Option<Self>> {
        let Target::File(path) = target else { return Ok(None) };
        let paper = File::create(path).map_err(|e| Error::io("create", path, &e).of("--parallel"))?;
        machine.board().parallel.lock().connect_printer();
        Ok(Some(Printer { paper, path: path.clone() }))
    }

    /// Writes down what was printed.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn pump(&mut self, machine: &mut Machine) -> Result<()> {
        let printed = machine.board().parallel.lock().take_printed();
        if printed.is_empty() {
            return Ok(());
        }
        self.paper.write_all(&printed).map_err(|e| Error::io("write", &self.path, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        assert_eq!("none".parse(), Ok(Target::None));
        assert_eq!("file:a.txt".parse(), Ok(Target::File("a.txt".into())));
        for bad in ["", "file:", "a.txt"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
