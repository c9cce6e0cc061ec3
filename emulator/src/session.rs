//! One run of a machine for a user: host input and output, limits, and the exit code.

use crate::automation::{self, Automation};
use crate::config::{Engine, MachineConfig};
use crate::display::{self, TerminalDisplay};
use crate::error::{Error, Result};
use crate::lockstep::Lockstep;
use crate::logging::say;
use crate::machine::{Machine, Outcome};
use crate::serial::{self, Serial};
use crate::stats::{self, Output, Sampler};
use crate::terminal::Stop;
use crate::trace::{Trace, What};
use ring86_devices::Time;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Exit codes other than the debug exit's, which are odd. All of these are even.
pub mod code {
    /// The guest switched the power off, or asked for a reset under `--no-reboot`.
    pub const OFF: u8 = 0;
    /// The command line is wrong (clap's own code).
    pub const USAGE: u8 = 2;
    /// The guest halted with interrupts off.
    pub const HALTED: u8 = 122;
    /// `--max-time` is over.
    pub const TIME: u8 = 124;
    /// Compiled code and the interpreter differ.
    pub const DIFFERENT: u8 = 116;
    /// The machine ended well, but not when or how its script expected it.
    pub const UNEXPECTED: u8 = 118;
    /// The processor shut down after a triple fault.
    pub const TRIPLE_FAULT: u8 = 126;
    /// The host: a file, the terminal or memory.
    pub const HOST: u8 = 120;
    /// Stopped from outside: Ctrl-A X or a signal.
    pub const STOPPED: u8 = 128;
}

/// Most bytes that a kernel or an initial RAM disk may have, since they are held in memory.
const MAX_FILE: u64 = 2 << 30;

/// Longest sleep of a paused machine between two looks at its inputs.
const PAUSE: Duration = Duration::from_millis(50);

/// How a run is connected to the host.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where COM1 leads.
    pub serial: serial::Target,
    /// Where the screen is shown.
    pub display: display::Target,
    /// End after this much guest time.
    pub max_time: Option<Time>,
    /// What to trace.
    pub trace: Vec<What>,
    /// Where to.
    pub trace_file: Option<PathBuf>,
    /// Print counters at the end.
    pub stats: bool,
    /// Write them to this file, as JSON.
    pub stats_json: Option<PathBuf>,
    /// Print the text screen at the end.
    pub dump_screen: bool,
    /// Script and control socket.
    pub automation: automation::Options,
}

/// Reads all of a file.
///
/// # Errors
/// If the host refuses, or it is too large to be held in memory.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let meta = std::fs::metadata(path).map_err(|e| Error::io("read", path, &e))?;
    if meta.is_dir() {
        return Err(Error::new(format!("cannot read '{}': it is a folder", path.display())));
    }
    if meta.len() > MAX_FILE {
        return Err(Error::new(format!("'{}' is larger than the 2 GiB this build holds in memory", path.display())));
    }
    std::fs::read(path).map_err(|e| Error::io("read", path, &e))
}

/// Runs two machines of `config` in lockstep, compiled code beside the interpreter. COM1 is shown. Returns the process's
/// exit code.
///
/// # Errors
/// If the clock is the host's, or the host refuses something.
pub fn lockstep(mut config: MachineConfig, options: &Options) -> Result<u8> {
    let Engine::Translator(engine) = config.engine else {
        return Err(Error::new("--engine lockstep: this host has no compiled code to compare"));
    };
    // The world outside is not the same twice.
    config.network = None;
    let mut both = Lockstep::new(&config, engine)?;
    let limit = options.max_time.unwrap_or(Time::MAX);
    let mut shown = 0;
    let end = loop {
        match both.step(limit) {
            Ok(outcome) => {
                let new = both.compiled().serial_output().get(shown..).unwrap_or_default();
                shown += new.len();
                std::io::stdout().write_all(new).and_then(|()| std::io::stdout().flush()).ok();
                if let Some(outcome) = outcome {
                    break conclude(outcome, config.reboot)?;
                }
            }
            Err(difference) => {
                say(format_args!("{difference}"));
                break code::DIFFERENT;
            }
        }
        if both.compiled().now() >= limit {
            say(format_args!("the time limit is reached"));
            break code::TIME;
        }
    };
    if options.stats {
        eprintln!("compared             {} times over {} instructions", both.compared, both.compiled().executed());
    }
    Ok(end)
}

/// Builds the machine of `config` and runs it to its end. Returns the process's exit code.
///
/// # Errors
/// Whatever the host refuses, in one sentence.
pub fn run(config: MachineConfig, options: &Options) -> Result<u8> {
    if options.display == display::Target::Window {
        return Err(Error::new("--display window is not in this build; use --display terminal or none"));
    }
    if options.display == display::Target::Terminal && options.serial == serial::Target::Stdio {
        return Err(Error::new(
            "--display terminal and --serial stdio both want the terminal; use --serial file:F or none",
        ));
    }
    let reboots = config.reboot;
    let mut automation = Automation::new(&options.automation)?;
    let trace = Trace::new(&options.trace, options.trace_file.as_deref())?;
    let mut machine = Machine::new(config)?;
    machine.set_trace(trace);
    automation.listen(&options.automation, &machine.waker())?;
    let stop = Stop::on_signals(machine.waker())?;
    let stats_file = match &options.stats_json {
        Some(path) => Some(Output::open("counters", path)?),
        None => None,
    };
    let sampler = match options.stats || stats_file.is_some() {
        true => Some(Sampler::start(Arc::clone(machine.cpu().activity()))?),
        false => None,
    };
    let start = Instant::now();
    let ended = connect_and_run(&mut machine, options, &mut automation, &stop);
    let elapsed = start.elapsed();
    machine.flush_trace();
    if options.dump_screen {
        print!("{}", machine.screen_text());
    }
    if let Some(sampler) = sampler {
        let stats = stats::collect(&machine, elapsed, &sampler.finish());
        if options.stats {
            eprint!("{}", stats::text(&stats));
        }
        if let Some(file) = stats_file {
            file.write(&format!("{stats:#}\n"))?;
        }
    }
    Ok(match ended? {
        End::Outcome(outcome) => automation.ended(conclude(outcome, reboots)?),
        End::Script(code) => code,
        End::Time => {
            say(format_args!("the time limit is reached"));
            code::TIME
        }
        End::Stopped => code::STOPPED,
    })
}

/// How the loop ended.
enum End {
    Outcome(Outcome),
    Script(u8),
    Time,
    Stopped,
}

/// The loop, with the terminal taken over for as long as it runs.
fn connect_and_run(machine: &mut Machine, options: &Options, automation: &mut Automation, stop: &Stop) -> Result<End> {
    let mut serial = Serial::open(&options.serial, machine.waker())?;
    if serial.is_terminal() {
        say(format_args!("COM1 is this terminal; Ctrl-A X leaves"));
    }
    let mut display = match options.display {
        display::Target::Terminal => Some(TerminalDisplay::open(machine.waker())?),
        _ => None,
    };
    let limit = options.max_time.unwrap_or(Time::MAX);
    loop {
        if let Some(code) = automation.pump(machine) {
            serial.pump(machine)?;
            return Ok(End::Script(code));
        }
        let outcome = if machine.is_paused() {
            // Until a command or a signal wakes this thread.
            std::thread::park_timeout(PAUSE);
            None
        } else {
            machine.slice(limit.min(automation.next()))
        };
        let mut leave = serial.pump(machine)?;
        if let Some(display) = &mut display {
            leave |= display.pump(machine)?;
        }
        if let Some(outcome) = outcome {
            return Ok(End::Outcome(outcome));
        }
        if leave || stop.requested() {
            return Ok(End::Stopped);
        }
        if machine.now() >= limit {
            return Ok(End::Time);
        }
    }
}

/// Tells the user why it ended, where that is not plain, and picks the exit code.
fn conclude(outcome: Outcome, reboots: bool) -> Result<u8> {
    Ok(match outcome {
        Outcome::PowerOff => code::OFF,
        Outcome::Reset => {
            debug_assert!(!reboots, "a machine that may reboot does not end with a reset");
            code::OFF
        }
        Outcome::DebugExit(value) => (value << 1 | 1) as u8,
        Outcome::TripleFault(fault) => {
            eprintln!("{}", fault.report.trim_end());
            code::TRIPLE_FAULT
        }
        Outcome::Halted => {
            say(format_args!("the guest halted with interrupts off, so nothing can happen any more"));
            code::HALTED
        }
        Outcome::Failed(error) => return Err(error),
    })
}
