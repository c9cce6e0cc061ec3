//! `--script FILE`: commands from a file, with what their failure means for the run.

use super::command::{self, Command, Drive};
use super::executor::{Executor, Failure, Progress};
use super::screen;
use crate::drives::{self, Drives};
use crate::error::{Error, Result};
use crate::logging::say;
use crate::machine::Machine;
use crate::session::code;
use crate::storage::Access;
use ring86_devices::Time;
use std::io::Write;
use std::path::Path;

/// Longest script, in bytes.
const MAX_LEN: u64 = 1 << 20;

/// A script under way.
#[derive(Debug)]
pub struct Script {
    name: String,
    commands: std::vec::IntoIter<(usize, Command, String)>,
    /// Line and text of the command under way.
    current: Option<(usize, String)>,
    executor: Executor,
}

impl Script {
    /// Reads and checks the script at `path` for a machine with `drives`. Images that it inserts are opened with `access`.
    ///
    /// # Errors
    /// One sentence with file, line and remedy.
    pub fn load(path: &Path, access: Access, drives: &Drives) -> Result<Self> {
        let refused = |e| Error::io("read", path, &e).of("--script");
        let meta = std::fs::metadata(path).map_err(refused)?;
        if meta.len() > MAX_LEN {
            return Err(Error::new(format!("'{}' is larger than a script may be, 1 MiB", path.display())));
        }
        let bytes = std::fs::read(path).map_err(refused)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::new(format!("'{}' is no script: it is not UTF-8 text", path.display())))?;
        Self::parse(&path.display().to_string(), &text, access, drives)
    }

    fn parse(name: &str, text: &str, access: Access, drives: &Drives) -> Result<Self> {
        let mut commands: Vec<(usize, Command, String)> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let wrong = |why: String| Error::new(format!("script '{name}', line {line}: {why}"));
            let Some(command) = command::parse(text).map_err(wrong)? else { continue };
            if let Some((exit, Command::ExpectExit(_), _)) = commands.last() {
                return Err(wrong(format!(
                    "nothing can follow 'expect-exit' (line {exit}), since the machine is gone"
                )));
            }
            if let Some(missing) = check_files(&command, drives).map_err(|e| wrong(e.to_string()))? {
                say(format_args!("script '{name}', line {line}: {missing} so far"));
            }
            commands.push((line, command, text.trim().to_owned()));
        }
        if commands.is_empty() {
            return Err(Error::new(format!("script '{name}' has no commands; see docs/scripts.md")));
        }
        let executor = Executor::new(access);
        Ok(Script { name: name.to_owned(), commands: commands.into_iter(), current: None, executor })
    }

    /// When it wants [`Script::pump`] next.
    pub fn next(&self) -> Option<Time> {
        self.executor.next()
    }

    fn place(&self) -> String {
        let line = self.current.as_ref().map_or(0, |(line, _)| *line);
        format!("script '{}', line {line}", self.name)
    }

    /// Goes on as far as guest time allows. Returns the run's exit code at the script's end.
    pub fn pump(&mut self, machine: &mut Machine) -> Option<u8> {
        let mut step = self.executor.poll(machine);
        loop {
            match step {
                Ok(Progress::Waiting) => return None,
                Ok(Progress::Quit) => return Some(code::OFF),
                Ok(Progress::Done(text)) => {
                    let mut stdout = std::io::stdout().lock();
                    // A closed standard output loses the text only.
                    drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
                }
                Err(failure) => return Some(self.fail(machine, failure)),
            }
            let Some((line, command, text)) = self.commands.next() else { return Some(code::OFF) };
            self.current = Some((line, text));
            step = self.executor.start(machine, &command);
        }
    }

    fn fail(&self, machine: &mut Machine, failure: Failure) -> u8 {
        match failure {
            Failure::Timeout(why) => {
                say(format_args!("{}: {why}; the screen shows:", self.place()));
                let text = screen::text(machine);
                eprint!("{}", if text.is_empty() { "(nothing)\n" } else { &text });
                code::TIME
            }
            Failure::Refused(why) => {
                say(format_args!("{}: {why}", self.place()));
                code::HOST
            }
        }
    }

    /// The machine ended with `exit`. Returns what the run ends with.
    pub fn ended(&mut self, exit: u8) -> u8 {
        let mut expected = self.executor.expected_exit();
        // A key may end the machine before it is up again.
        if self.executor.keys_are_pressed()
            && let Some((line, Command::ExpectExit(code), text)) = self.commands.as_slice().first()
        {
            expected = Some(*code);
            self.current = Some((*line, text.clone()));
        }
        if expected == Some(exit) {
            return code::OFF;
        }
        let doing = self.current.as_ref().map_or("", |(_, text)| text);
        say(format_args!("{}: the machine ended with exit code {exit} during '{doing}'", self.place()));
        if exit == code::OFF { code::UNEXPECTED } else { exit }
    }
}

/// Whether a machine with `drives` has the drive of `command`, and its file has a name that can be one. Returns what is
/// missing that may still come before the command does.
fn check_files(command: &Command, drives: &Drives) -> Result<Option<String>> {
    if let Command::Insert(drive, _) | Command::Eject(drive) = command {
        match drive {
            Drive::Cd if !drives.cd.is_present() => return Err(Error::new(drives::NO_CD_DRIVE)),
            Drive::Floppy(1) if drives.floppy_drives() < 2 => return Err(Error::new(drives::NO_DRIVE_B)),
            _ => {}
        }
    }
    Ok(match command {
        Command::Insert(drive, path) => {
            drives::check_name(path, drive.role())?;
            let file = drives::file_of(path);
            (!file.exists()).then(|| format!("there is no file '{}'", file.display()))
        }
        Command::Screenshot(path) => match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
                Some(format!("there is no folder '{}'", folder.display()))
            }
            _ => None,
        },
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_their_line() {
        let drives = Drives::default();
        let error = |text: &str| Script::parse("s", text, Access::default(), &drives).unwrap_err().to_string();
        assert_eq!(error("\n# x\nkye a\n"), "script 's', line 3: unknown command 'kye'; did you mean 'key'?");
        assert!(error("expect-exit 0\nquit\n").contains("line 2: nothing can follow"));
        assert!(error("# nothing\n").contains("has no commands"));
        assert!(error("eject cd\n").contains("line 1: the machine has no CD drive"));
        assert!(error("insert b x.img\n").contains("line 1: the machine has no drive B"));
        assert!(error("insert a fat:x\n").contains("line 1: fat:x: "));
        // What may come later is no mistake.
        assert!(Script::parse("s", "insert a no/such/x.img\n", Access::default(), &drives).is_ok());
    }
}
