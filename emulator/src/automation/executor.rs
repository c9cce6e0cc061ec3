//! Carries out commands on a machine, at exact guest times.

use super::command::{Command, Drive};
use super::{png, screen};
use crate::drives;
use crate::error::Error;
use crate::machine::Machine;
use crate::storage::{self, Access};
use ring86_devices::Time;
use ring86_devices::i8042::KeyCode;
use std::collections::VecDeque;

const MILLISECOND: Time = 1_000_000;
/// Time between two looks at what is waited for.
const POLL: Time = 10 * MILLISECOND;
/// The same in graphics modes, where a look costs more.
const POLL_GRAPHICS: Time = 100 * MILLISECOND;
/// Time between two events of the keyboard: slow enough for a program that looks at its keys now and then.
const KEY_GAP: Time = 20 * MILLISECOND;
/// How long waits last unless a `timeout` command says otherwise.
const TIMEOUT: Time = 60_000 * MILLISECOND;

/// How a command stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Done, with text for whoever gave it.
    Done(String),
    /// Not before [`Executor::next`].
    Waiting,
    /// The run is to end.
    Quit,
}

/// Why a command failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// What was waited for did not come in time.
    Timeout(String),
    /// The machine or the host cannot do it.
    Refused(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Refused(error.to_string())
    }
}

/// A command under way.
#[derive(Debug)]
enum Running {
    Screen {
        text: String,
        next: Time,
        end: Time,
    },
    /// Output before `from` was looked at.
    Serial {
        text: String,
        from: u64,
        next: Time,
        end: Time,
    },
    Keys(VecDeque<(Time, KeyCode, bool)>),
    Sleep(Time),
    Exit {
        code: u8,
        end: Time,
    },
}

/// Carries out one command after another for one script or client.
#[derive(Debug)]
pub struct Executor {
    access: Access,
    timeout: Time,
    /// Position in COM1's output behind the last match.
    serial: u64,
    running: Option<Running>,
}

type Step = Result<Progress, Failure>;

fn done() -> Step {
    Ok(Progress::Done(String::new()))
}

impl Executor {
    /// One that opens images with `access`.
    pub fn new(access: Access) -> Self {
        Executor { access, timeout: TIMEOUT, serial: 0, running: None }
    }

    /// When the command under way wants [`Executor::poll`] next.
    pub fn next(&self) -> Option<Time> {
        match self.running.as_ref()? {
            Running::Screen { next, end, .. } | Running::Serial { next, end, .. } => Some(*next.min(end)),
            Running::Keys(events) => events.front().map(|(at, ..)| *at),
            Running::Sleep(end) | Running::Exit { end, .. } => Some(*end),
        }
    }

    /// The exit code that is waited for.
    pub fn expected_exit(&self) -> Option<u8> {
        match &self.running {
            Some(Running::Exit { code, .. }) => Some(*code),
            _ => None,
        }
    }

    /// Whether all keys of the command under way were pressed, and only have to come up.
    pub fn keys_are_pressed(&self) -> bool {
        matches!(&self.running, Some(Running::Keys(events)) if events.iter().all(|(_, _, pressed)| !pressed))
    }

    /// Starts a command; the one before it must be over.
    ///
    /// # Errors
    /// Why it cannot be done, in a sentence without its place.
    pub fn start(&mut self, machine: &mut Machine, command: &Command) -> Step {
        let now = machine.now();
        let end = now.saturating_add(self.timeout);
        let takes_time = match command {
            Command::WaitScreen(text) => Some(Running::Screen { text: text.clone(), next: now, end }),
            Command::WaitSerial(text) => {
                Some(Running::Serial { text: text.clone(), from: self.serial, next: now, end })
            }
            Command::Keys(combinations) => Some(Running::Keys(strokes(combinations, now))),
            Command::Sleep(span) => Some(Running::Sleep(now.saturating_add(*span))),
            Command::ExpectExit(code) => Some(Running::Exit { code: *code, end }),
            _ => None,
        };
        if let Some(running) = takes_time {
            if machine.is_paused() {
                return Err(Failure::Refused("the machine is paused, so this never ends; write 'resume' first".into()));
            }
            self.running = Some(running);
            return self.poll(machine);
        }
        match command {
            Command::Mouse(right, down, buttons) => machine.mouse(*right, -*down, *buttons),
            Command::Screenshot(path) => png::write(&machine.frame(), path)?,
            Command::Screen => return Ok(Progress::Done(screen::text(machine))),
            Command::Eject(drive) => Self::change(machine, *drive, None)?,
            Command::Insert(drive, path) => {
                let image = drives::open(path, drive.role(), &self.access)?.image;
                Self::change(machine, *drive, Some(image))?;
            }
            Command::Timeout(span) => self.timeout = *span,
            Command::Pause => machine.pause(true),
            Command::Resume => machine.pause(false),
            Command::Reset => machine.reset(),
            Command::Quit => return Ok(Progress::Quit),
            _ => {}
        }
        done()
    }

    fn change(machine: &mut Machine, drive: Drive, image: Option<storage::Image>) -> Result<(), Failure> {
        let board = machine.board();
        let changed = match drive {
            Drive::Floppy(number) => board.change_floppy(number, image),
            Drive::Cd => board.change_disc(image),
        };
        changed.map_err(|why| Failure::Refused(why.into()))
    }

    /// Goes on with the command under way.
    ///
    /// # Errors
    /// If its time is over.
    pub fn poll(&mut self, machine: &mut Machine) -> Step {
        let now = machine.now();
        let Some(running) = &mut self.running else { return done() };
        let over = match running {
            Running::Screen { text, next, end } => {
                if now < *next && now < *end {
                    return Ok(Progress::Waiting);
                }
                if screen::rows(machine).iter().any(|row| row.contains(text.as_str())) {
                    true
                } else if now >= *end {
                    let seconds = self.timeout as f64 / 1e9;
                    let why = format!("no '{text}' on the screen after {seconds} s");
                    self.running = None;
                    return Err(Failure::Timeout(why));
                } else {
                    *next = now + if machine.screen().is_some() { POLL } else { POLL_GRAPHICS };
                    false
                }
            }
            Running::Serial { text, from, next, end } => {
                if now < *next && now < *end {
                    return Ok(Progress::Waiting);
                }
                let (first, bytes) = machine.serial_from(*from);
                let found = bytes.windows(text.len()).position(|window| window == text.as_bytes());
                if let Some(at) = found {
                    self.serial = first + (at + text.len()) as u64;
                    true
                } else if now >= *end {
                    let seconds = self.timeout as f64 / 1e9;
                    let why = format!("no '{text}' on COM1 after {seconds} s");
                    self.running = None;
                    return Err(Failure::Timeout(why));
                } else {
                    // The text's start may be there already.
                    *from = first + (bytes.len() as u64).saturating_sub(text.len() as u64 - 1);
                    *next = now + POLL;
                    false
                }
            }
            Running::Keys(events) => {
                while let Some((at, key, pressed)) = events.front().copied()
                    && at <= now
                {
                    events.pop_front();
                    machine.key(key, pressed);
                }
                events.is_empty()
            }
            Running::Sleep(end) => now >= *end,
            Running::Exit { end, .. } => {
                if now >= *end {
                    let seconds = self.timeout as f64 / 1e9;
                    self.running = None;
                    return Err(Failure::Timeout(format!("the machine still runs after {seconds} s")));
                }
                false
            }
        };
        if over {
            self.running = None;
            return done();
        }
        Ok(Progress::Waiting)
    }
}

/// When each key goes down and up: the keys of a combination one after the other, and up in the opposite order.
fn strokes(combinations: &[Vec<KeyCode>], start: Time) -> VecDeque<(Time, KeyCode, bool)> {
    let mut events = VecDeque::new();
    let mut at = start;
    for keys in combinations {
        let down = keys.iter().map(|key| (*key, true));
        for (key, pressed) in down.chain(keys.iter().rev().map(|key| (*key, false))) {
            events.push_back((at, key, pressed));
            at += KEY_GAP;
        }
    }
    events
}
