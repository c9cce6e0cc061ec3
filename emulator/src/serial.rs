//! `--serial`: COM1 on the terminal, a pipe or a file.

use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::scheduler::Waker;
use crate::terminal::RawMode;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

/// Where COM1 leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard input and output.
    Stdio,
    /// Output into this file, made anew; no input.
    File(PathBuf),
    /// Nowhere.
    None,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "stdio" => Ok(Target::Stdio),
            "none" => Ok(Target::None),
            _ => match text.strip_prefix("file:") {
                Some(path) if !path.is_empty() => Ok(Target::File(path.into())),
                _ => Err("use stdio, none or file:PATH".to_owned()),
            },
        }
    }
}

/// Ctrl-A, which starts a command to Ring86 when typed at a terminal.
const ESCAPE: u8 = 1;

/// Takes the Ctrl-A commands out of what is typed.
#[derive(Debug, Default)]
struct Escapes {
    pending: bool,
}

impl Escapes {
    /// Appends the bytes meant for the guest to `out`; true if the user wants to leave.
    fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        for &byte in typed {
            if std::mem::take(&mut self.pending) {
                match byte {
                    b'x' | b'X' => return true,
                    ESCAPE => out.push(ESCAPE),
                    // Not a command: dropped, so that a mistyped one does not reach the guest.
                    _ => {}
                }
            } else if byte == ESCAPE {
                self.pending = true;
            } else {
                out.push(byte);
            }
        }
        false
    }
}

/// The far end of COM1's cable.
pub struct Serial {
    input: Option<Receiver<Vec<u8>>>,
    output: Option<Box<dyn Write>>,
    name: String,
    /// Input that the machine had no room for.
    waiting: Vec<u8>,
    escapes: Option<Escapes>,
    _raw: Option<RawMode>,
}

impl Serial {
    /// Connects to `target`. Input from stdin is read by a thread that wakes the machine through `waker`.
    ///
    /// # Errors
    /// If the file cannot be created or the terminal not be made raw.
    pub fn open(target: &Target, waker: Waker) -> Result<Self> {
        let mut serial =
            Serial { input: None, output: None, name: String::new(), waiting: Vec::new(), escapes: None, _raw: None };
        match target {
            Target::None => {}
            Target::File(path) => {
                let file = File::create(path).map_err(|e| Error::io("create", path, &e).of("--serial"))?;
                serial.output = Some(Box::new(file));
                serial.name = format!("'{}'", path.display());
            }
            Target::Stdio => {
                if io::stdin().is_terminal() {
                    serial._raw = Some(RawMode::enter()?);
                    serial.escapes = Some(Escapes::default());
                }
                serial.input = Some(read_stdin(waker));
                serial.output = Some(Box::new(io::stdout()));
                serial.name = "standard output".to_owned();
            }
        }
        Ok(serial)
    }

    /// True if leaving is done with Ctrl-A X.
    pub fn is_terminal(&self) -> bool {
        self.escapes.is_some()
    }

    /// Moves bytes both ways. True if the user wants to leave.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn pump(&mut self, machine: &mut Machine) -> Result<bool> {
        let sent = machine.take_serial();
        self.exchange(&sent, |bytes| machine.serial_input(bytes))
    }

    /// As [`Serial::pump`], for whoever has taken what was `sent`; `take` takes as much input as there is room for and
    /// returns how much that was.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn exchange(&mut self, sent: &[u8], mut take: impl FnMut(&[u8]) -> usize) -> Result<bool> {
        if !sent.is_empty()
            && let Some(output) = &mut self.output
        {
            output
                .write_all(sent)
                .and_then(|()| output.flush())
                .map_err(|e| Error::new(format!("cannot write the serial output to {}: {e}", self.name)))?;
        }
        loop {
            if !self.waiting.is_empty() {
                let taken = take(&self.waiting);
                self.waiting.drain(..taken);
                if !self.waiting.is_empty() {
                    return Ok(false);
                }
            }
            let Some(input) = &self.input else { return Ok(false) };
            match input.try_recv() {
                Ok(bytes) => match &mut self.escapes {
                    Some(escapes) => {
                        if escapes.filter(&bytes, &mut self.waiting) {
                            return Ok(true);
                        }
                    }
                    None => self.waiting = bytes,
                },
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => self.input = None,
            }
        }
    }
}

/// Reads stdin on a thread of its own until it ends. At most 16 blocks wait; then the thread does.
fn read_stdin(waker: Waker) -> Receiver<Vec<u8>> {
    let (sender, receiver) = sync_channel(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match io::stdin().read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => {
                    if sender.send(buffer[..n].to_vec()).is_err() {
                        return;
                    }
                    waker.wake();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        assert_eq!("stdio".parse(), Ok(Target::Stdio));
        assert_eq!("file:a b".parse(), Ok(Target::File("a b".into())));
        assert!("file:".parse::<Target>().is_err());
        assert!("tcp:1".parse::<Target>().is_err());
    }

    #[test]
    fn escapes_work_across_reads() {
        let (mut e, mut out) = (Escapes::default(), Vec::new());
        assert!(!e.filter(b"ab\x01", &mut out));
        assert!(!e.filter(b"\x01c\x01qd", &mut out));
        assert_eq!(out, b"ab\x01cd");
        assert!(e.filter(b"e\x01x rest", &mut out));
        assert_eq!(out, b"ab\x01cde");
    }
}
