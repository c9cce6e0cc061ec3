//! `ring86 control` and `ring86 screenshot`: the other end of the control socket.

use super::{command, control};
use crate::drives;
use crate::error::{Error, Result};
use crate::session::code;
use clap::Args;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Commands for a running machine.
#[derive(Debug, Args)]
pub struct ControlArgs {
    /// The name or path that the machine was given with --control.
    socket: String,
    /// The command and its arguments; without one, commands are read from standard input, one a line.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// A picture of a running machine's screen.
#[derive(Debug, Args)]
pub struct ScreenshotArgs {
    /// The name or path that the machine was given with --control.
    socket: String,
    /// The PNG file to write.
    file: PathBuf,
}

/// A connection to a machine.
struct Connection {
    reader: BufReader<UnixStream>,
    name: String,
}

impl Connection {
    fn open(name: &str) -> Result<Self> {
        let path = control::socket_path(name);
        let stream = UnixStream::connect(&path).map_err(|e| {
            let place = path.display();
            match e.kind() {
                // No socket, or one that a machine left behind that was killed.
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    Error::new(format!("no machine listens at '{place}'; start one with --control {name}"))
                }
                _ => Error::io("ask the machine at", &path, &e),
            }
        })?;
        Ok(Connection { reader: BufReader::new(stream), name: name.to_owned() })
    }

    fn gone(&self) -> Error {
        Error::new(format!("the machine behind '{}' is gone", self.name))
    }

    /// Sends a command, prints its answer, and returns the exit code for it.
    fn send(&mut self, line: &str) -> Result<u8> {
        self.reader.get_mut().write_all(format!("{line}\n").as_bytes()).map_err(|_| self.gone())?;
        loop {
            let mut answer = String::new();
            if self.reader.read_line(&mut answer).map_err(|_| self.gone())? == 0 {
                return Err(self.gone());
            }
            let answer = answer.trim_end_matches('\n');
            if let Some(text) = answer.strip_prefix("| ") {
                println!("{text}");
            } else if answer == "ok" {
                return Ok(code::OFF);
            } else if let Some(why) = answer.strip_prefix("timeout ") {
                crate::logging::say(format_args!("{why}"));
                return Ok(code::TIME);
            } else {
                return Err(Error::new(answer.strip_prefix("error ").unwrap_or(answer)));
            }
        }
    }
}

/// The words of a command with its file made independent of where this process runs.
fn with_whole_path(words: &[String]) -> Vec<String> {
    let mut words = words.to_vec();
    let at = match words.first().map(String::as_str) {
        Some("screenshot") => 1,
        Some("insert") => 2,
        _ => return words,
    };
    if let Some(file) = words.get_mut(at)
        && let (prefix, name) = drives::prefix_of(file)
        && !name.is_empty()
        && let Ok(whole) = std::path::absolute(Path::new(name))
    {
        *file = format!("{prefix}{}", whole.display());
    }
    words
}

/// `ring86 control`.
///
/// # Errors
/// If no machine listens, or it refuses a command.
pub fn control(args: &ControlArgs) -> Result<u8> {
    let mut connection = Connection::open(&args.socket)?;
    if !args.command.is_empty() {
        return connection.send(&command::join(&with_whole_path(&args.command)));
    }
    for line in io::stdin().lines() {
        let line = line.map_err(|e| Error::new(format!("cannot read standard input: {e}")))?;
        // A line that cannot be split goes to the machine as it is, which says what is wrong with it.
        let line = command::split(&line).map_or(line, |words| command::join(&with_whole_path(&words)));
        let exit = connection.send(&line)?;
        if exit != code::OFF {
            return Ok(exit);
        }
    }
    Ok(code::OFF)
}

/// `ring86 screenshot`.
///
/// # Errors
/// If no machine listens, or the picture cannot be written.
pub fn screenshot(args: &ScreenshotArgs) -> Result<u8> {
    let words = ["screenshot".to_owned(), args.file.display().to_string()];
    Connection::open(&args.socket)?.send(&command::join(&with_whole_path(&words)))
}
