//! A guest that reports how its tests went: what it left behind, and the judgement by a convention.

use super::refused::Refused;
use super::results::Status;
use crate::config::MachineConfig;
use crate::machine::{Machine, Outcome};
use std::fmt::Write as _;

/// How a guest's run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It wrote this to the debug-exit port.
    Exit(u32),
    /// It switched the power off or asked for a reset.
    Off,
    /// It halted with interrupts off.
    Halted,
    /// What was waited for has come.
    Seen,
    /// The time given is over.
    Time,
    /// It, or the emulator under it, went down: why.
    Crashed(String),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Exit(value) => write!(f, "wrote {value} to the exit port"),
            End::Off => write!(f, "switched the power off"),
            End::Halted => write!(f, "halted with interrupts off"),
            End::Seen => write!(f, "said what it was to say"),
            End::Time => write!(f, "had not ended when its time was over"),
            End::Crashed(why) => write!(f, "crashed: {why}"),
        }
    }
}

/// What a guest left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// How it ended.
    pub end: End,
    /// What it wrote to port E9h.
    pub console: String,
    /// What it sent on COM1.
    pub serial: String,
    /// What it wrote to the POST port.
    pub posts: Vec<u8>,
    /// What of it was not compiled, in words, if there is something.
    pub refused: Option<String>,
}

/// When a guest may be stopped.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Nanoseconds of guest time.
    pub time: u64,
    /// A text that ends the run when it appears on COM1 or port E9h.
    pub until_text: Option<String>,
    /// A code on the POST port that ends it.
    pub until_post: Option<u8>,
}

/// Runs the guest of `config`.
///
/// # Errors
/// What the host refuses, in one sentence.
pub fn run(config: MachineConfig, limits: &Limits) -> Result<Left, String> {
    let mut machine = Machine::new(config).map_err(|error| error.to_string())?;
    let (mut looked, mut seen) = (0, 0);
    let ended = machine.run_until(
        |machine| {
            if limits.until_post.is_some_and(|code| machine.post_codes()[seen..].contains(&code)) {
                return true;
            }
            seen = machine.post_codes().len();
            let Some(text) = &limits.until_text else { return false };
            let new = machine.serial_output().len() + machine.console_length();
            if new == looked {
                return false;
            }
            looked = new;
            machine.serial_text().contains(text.as_str()) || machine.console_text().contains(text.as_str())
        },
        limits.time,
    );
    let end = match ended {
        Ok(true) => End::Seen,
        Ok(false) => End::Time,
        Err(Outcome::DebugExit(value)) => End::Exit(value),
        Err(Outcome::PowerOff | Outcome::Reset) => End::Off,
        Err(Outcome::Halted) => End::Halted,
        Err(Outcome::TripleFault(fault)) => End::Crashed(fault.report),
        Err(Outcome::Failed(error)) => return Err(error.to_string()),
    };
    Ok(Left {
        end,
        console: machine.console_text(),
        serial: machine.serial_text(),
        posts: machine.post_codes().to_vec(),
        refused: Refused::default().since(machine.cpu()),
    })
}

/// Which of a guest's texts counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// COM1.
    Serial,
    /// Port E9h.
    Console,
    /// Both.
    #[default]
    Both,
}

/// How a guest says what it found. What is not set does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Convention {
    /// The value that the debug-exit port must get.
    pub exit: Option<u32>,
    /// The last POST code.
    pub post: Option<u8>,
    /// Where text is looked for.
    pub source: Source,
    /// How a line begins that names a test that passed, failed, or was left out.
    pub marks: [Option<String>; 3],
    /// What must be said.
    pub done: Option<String>,
    /// What must not be said.
    pub never: Option<String>,
}

/// One of the tests that a guest names itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What follows the mark.
    pub name: String,
    /// Which mark it was.
    pub status: Status,
}

impl Convention {
    fn text(&self, left: &Left) -> String {
        match self.source {
            Source::Serial => left.serial.clone(),
            Source::Console => left.console.clone(),
            Source::Both => format!("{}\n{}", left.console, left.serial),
        }
    }

    /// The guest's own tests, and why the whole is not passed, if it is not.
    pub fn judge(&self, left: &Left) -> (Vec<Named>, Option<String>) {
        let text = self.text(left);
        let mut named = Vec::new();
        for line in text.lines() {
            let line = line.trim();
            for (mark, status) in self.marks.iter().zip([Status::Pass, Status::Fail, Status::Skip]) {
                if let Some(rest) = mark.as_deref().and_then(|mark| line.strip_prefix(mark)) {
                    let name = rest.trim_start_matches([':', ' ', '\t', ']', '-']).trim().to_owned();
                    named.push(Named { name, status });
                    break;
                }
            }
        }
        let mut why = String::new();
        match (self.exit, &left.end) {
            (Some(pass), End::Exit(value)) if *value == pass => {}
            (Some(pass), end) => {
                let _ = write!(why, "it was to write {pass} to the exit port, but {end}; ");
            }
            (None, End::Crashed(_)) => {
                let _ = write!(why, "it {}; ", left.end);
            }
            (None, End::Time) if self.post.is_none() && self.done.is_none() => {
                let _ = write!(why, "it {}; ", left.end);
            }
            (None, _) => {}
        }
        if let Some(pass) = self.post
            && left.posts.last() != Some(&pass)
        {
            let _ = match left.posts.last() {
                None => write!(why, "no POST code was shown, and it {}; ", left.end),
                Some(code) => write!(why, "the last POST code is {code:02x}h, not {pass:02x}h, and it {}; ", left.end),
            };
        }
        if let Some(done) = self.done.as_ref().filter(|done| !text.contains(done.as_str())) {
            let _ = write!(why, "it did not say '{done}' and {}; ", left.end);
        }
        if let Some(never) = self.never.as_ref().filter(|never| text.contains(never.as_str())) {
            let _ = write!(why, "it said '{never}'; ");
        }
        let failed = named.iter().filter(|test| test.status == Status::Fail).count();
        if failed > 0 {
            let _ = write!(why, "{failed} of its tests failed; ");
        }
        if let Some(refused) = &left.refused {
            let _ = write!(why, "{refused}; ");
        }
        let why = why.strip_suffix("; ").map(str::to_owned);
        (named, why)
    }
}

/// The last lines of what a guest said, for a report.
pub fn tail(left: &Left) -> String {
    let mut lines: Vec<&str> =
        left.console.lines().chain(left.serial.lines()).filter(|l| !l.trim().is_empty()).collect();
    if lines.len() > 12 {
        lines.drain(..lines.len() - 12);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(end: End, text: &str, posts: &[u8]) -> Left {
        Left { end, console: String::new(), serial: text.to_owned(), posts: posts.to_vec(), refused: None }
    }

    #[test]
    fn lines_with_marks_are_tests() {
        let marks = ["PASS", "FAIL", "SKIP"].map(|mark| Some(mark.to_owned()));
        let convention = Convention { exit: Some(0), marks, ..Convention::default() };
        let (named, why) = convention.judge(&left(End::Exit(0), "PASS: one\nx\n FAIL: two three\r\nSKIP: four\n", &[]));
        let named: Vec<_> = named.iter().map(|n| (n.name.as_str(), n.status)).collect();
        assert_eq!(named, [("one", Status::Pass), ("two three", Status::Fail), ("four", Status::Skip)]);
        assert_eq!(why.as_deref(), Some("1 of its tests failed"));
        assert_eq!(convention.judge(&left(End::Exit(0), "PASS: one", &[])).1, None);
        let why = convention.judge(&left(End::Halted, "PASS: one", &[])).1.unwrap();
        assert_eq!(why, "it was to write 0 to the exit port, but halted with interrupts off");
    }

    #[test]
    fn post_codes_and_texts_count() {
        let convention = Convention { post: Some(0xFF), ..Convention::default() };
        assert_eq!(convention.judge(&left(End::Halted, "", &[1, 2, 0xFF])).1, None);
        let why = convention.judge(&left(End::Halted, "", &[1, 2])).1.unwrap();
        assert_eq!(why, "the last POST code is 02h, not ffh, and it halted with interrupts off");
        let convention =
            Convention { done: Some("all good".into()), never: Some("panic".into()), ..Convention::default() };
        assert_eq!(convention.judge(&left(End::Off, "it is all good", &[])).1, None);
        let why = convention.judge(&left(End::Off, "all good but panic", &[])).1.unwrap();
        assert_eq!(why, "it said 'panic'");
        let refused = Left { refused: Some("none was compiled".to_owned()), ..left(End::Off, "it is all good", &[]) };
        assert_eq!(convention.judge(&refused).1.as_deref(), Some("none was compiled"));
        // A guest that reports nothing at all must at least end.
        assert!(Convention::default().judge(&left(End::Time, "", &[])).1.is_some());
    }
}
