//! One run of a machine for a user: host input and output, limits, and the exit code.

use crate::automation::{self, Automation};
use crate::config::MachineConfig;
use crate::display::terminal::TerminalDisplay;
use crate::display::{self, Display};
use crate::error::{Error, Result};
use crate::lockstep::{Focus, Lockstep, Maker, Trouble};
use crate::logging::say;
use crate::machine::{Machine, Outcome};
use crate::printer::{self, Printer};
use crate::scheduler::Waker;
use crate::serial::{self, Serial};
use crate::sound::{self, Sound};
use crate::stats::{self, Output, Phases, Sampler};
use crate::terminal::Stop;
use crate::trace::{Trace, What};
use ring86_devices::Time;
use ring86_translator::engine;
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
    /// What is at the parallel port.
    pub parallel: printer::Target,
    /// What is heard, and where.
    pub sound: sound::Options,
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
    /// Words at whose lines on COM1 a phase with counters of its own ends.
    pub stats_at: Vec<String>,
    /// Print the text screen at the end.
    pub dump_screen: bool,
    /// Where to write what the firmware said on its debug ports.
    pub firmware_log: Option<PathBuf>,
    /// Script and control socket.
    pub automation: automation::Options,
    /// What to tell the user about kernel and drives once nothing stands in the way of the run.
    pub notes: Vec<String>,
}

impl Options {
    fn tell(&self) {
        for note in &self.notes {
            say(format_args!("{note}"));
        }
    }
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

/// Runs two machines of what `make` says in lockstep, compiled code (by `engine`) beside the interpreter, looking closely
/// at `foci`. Returns the process's exit code.
///
/// # Errors
/// If the clock is the host's, or the host refuses something.
pub fn lockstep(make: Maker, engine: engine::Config, foci: &[Focus], options: &Options) -> Result<u8> {
    let reboots = make()?.reboot;
    let trace = Trace::new(&options.trace, options.trace_file.as_deref())?;
    let mut both = Lockstep::new(make, engine, options.max_time.unwrap_or(Time::MAX))?;
    both.focus(foci.to_vec());
    both.compiled_mut().set_trace(trace);
    // Steps are short, and nobody sleeps: whoever has input for the guest need not wake anybody, which would end a step
    // at another place than the next time.
    let nobody = Waker::new(Arc::default());
    let stop = Stop::on_signals(nobody.clone())?;
    let mut counters = Counters::start(options, both.compiled())?;
    let mut serial = Serial::open(&options.serial, nobody)?;
    let log = firmware_log(options)?;
    options.tell();
    if serial.is_terminal() {
        say(format_args!("COM1 is this terminal; Ctrl-A X leaves"));
    }
    let mut end = Ok(None);
    while matches!(end, Ok(None)) {
        end = match both.step() {
            Ok(outcome) => Ok(outcome.map(End::Outcome)),
            Err(trouble) => Err(trouble),
        };
        let sent = both.compiled_mut().take_serial();
        let leave = serial.exchange(&sent, |bytes| both.serial_input(bytes))?;
        if matches!(end, Ok(None)) && (leave || stop.requested()) {
            end = both.compare_all().map(|()| Some(End::Stopped));
        } else if matches!(end, Ok(None)) && both.is_over() {
            end = both.compare_all().map(|()| Some(End::Time));
        }
    }
    drop(serial);
    both.compiled_mut().flush_trace();
    if options.dump_screen {
        print!("{}", both.compiled().screen_text());
    }
    write_firmware_log(log, both.compiled())?;
    counters.finish(options, both.compiled())?;
    let code = match end {
        Err(Trouble::Host(error)) => return Err(error),
        Err(Trouble::Difference(difference)) => {
            say(format_args!(
                "compiled code and the interpreter differ after instruction {}: {}; looking for the smallest difference, \
                 which takes a few times as long again",
                difference.to,
                difference.summary()
            ));
            say(format_args!("{}", both.explain(*difference, &command_line())));
            code::DIFFERENT
        }
        Ok(Some(End::Outcome(outcome))) => conclude(outcome, reboots)?,
        Ok(Some(End::Time)) => {
            say(format_args!("the time limit is reached"));
            code::TIME
        }
        Ok(Some(End::Script(_) | End::Stopped) | None) => code::STOPPED,
    };
    if code != code::DIFFERENT {
        say(format_args!(
            "no difference in {} instructions: registers and chips compared {} times, all memory {} times",
            both.compiled().executed(),
            both.compared,
            both.ram_compared
        ));
    }
    Ok(code)
}

/// The command that started this process, as a shell takes it, without what a report of lockstep adds to it.
fn command_line() -> String {
    let mut words = Vec::new();
    let mut arguments = std::env::args();
    while let Some(word) = arguments.next() {
        if word == "--lockstep-from" {
            arguments.next();
        } else if !word.starts_with("--lockstep-from=") {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
            let quoted = word.is_empty() || !word.chars().all(plain);
            words.push(if quoted { format!("'{}'", word.replace('\'', "'\\''")) } else { word });
        }
    }
    words.join(" ")
}

/// What `--stats` and `--stats-json` ask for.
struct Counters {
    file: Option<Output>,
    sampler: Option<Sampler>,
    phases: Phases,
    begun: Instant,
}

impl Counters {
    fn start(options: &Options, machine: &Machine) -> Result<Self> {
        let file =
            options.stats_json.as_deref().map(|path| Output::open("counters", path).map_err(|e| e.of("--stats-json")));
        let file = file.transpose()?;
        let sampler = match options.stats || file.is_some() {
            true => Some(Sampler::start(Arc::clone(machine.cpu().activity()))?),
            false => None,
        };
        if sampler.is_none() && !options.stats_at.is_empty() {
            return Err(Error::new("--stats-at divides counters: give --stats or --stats-json with it"));
        }
        Ok(Counters { file, sampler, phases: Phases::new(&options.stats_at), begun: Instant::now() })
    }

    /// Called after each slice: a phase may have ended.
    fn look(&mut self, machine: &Machine) {
        if let Some(sampler) = &self.sampler {
            self.phases.look(machine, |m| stats::collect(m, self.begun.elapsed(), &sampler.samples()));
        }
    }

    fn finish(&mut self, options: &Options, machine: &Machine) -> Result<()> {
        let Some(sampler) = self.sampler.take() else { return Ok(()) };
        let mut stats = stats::collect(machine, self.begun.elapsed(), &sampler.finish());
        stats["phases"] = std::mem::replace(&mut self.phases, Phases::new(&[])).finish().into();
        if options.stats {
            eprint!("{}", stats::text(&stats));
        }
        match self.file.take() {
            Some(file) => file.write(&format!("{stats:#}\n")),
            None => Ok(()),
        }
    }
}

/// Builds the machine of `config` and runs it to its end. Returns the process's exit code.
///
/// # Errors
/// Whatever the host refuses, in one sentence.
pub fn run(config: MachineConfig, options: &Options) -> Result<u8> {
    if options.display == display::Target::Terminal && options.serial == serial::Target::Stdio {
        return Err(Error::new(
            "--display terminal and --serial stdio both want the terminal; use --serial file:F or none",
        ));
    }
    if options.display == display::Target::Terminal {
        TerminalDisplay::check()?;
    }
    let reboots = config.reboot;
    let mut automation = Automation::new(&options.automation, &config.drives)?;
    let trace = Trace::new(&options.trace, options.trace_file.as_deref())?;
    let mut machine = Machine::new(config)?;
    machine.set_trace(trace);
    automation.listen(&options.automation, &machine.waker())?;
    let stop = Stop::on_signals(machine.waker())?;
    let mut counters = Counters::start(options, &machine)?;
    let mut printer = Printer::open(&options.parallel, &mut machine)?;
    let mut sound = Sound::open(&options.sound, &mut machine)?;
    let log = firmware_log(options)?;
    let ended = connect_and_run(&mut machine, options, &mut automation, &stop, |machine| {
        counters.look(machine);
        printer.as_mut().map_or(Ok(()), |printer| printer.pump(machine))?;
        sound.as_mut().map_or(Ok(()), |sound| sound.pump(machine))
    });
    sound.map_or(Ok(()), |sound| sound.finish(&mut machine))?;
    machine.flush_trace();
    if options.dump_screen {
        print!("{}", machine.screen_text());
    }
    write_firmware_log(log, &machine)?;
    counters.finish(options, &machine)?;
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

/// The file of `--firmware-log`.
fn firmware_log(options: &Options) -> Result<Option<Output>> {
    let open = |path: &PathBuf| Output::open("firmware's lines", path).map_err(|e| e.of("--firmware-log"));
    options.firmware_log.as_ref().map(open).transpose()
}

fn write_firmware_log(log: Option<Output>, machine: &Machine) -> Result<()> {
    log.map_or(Ok(()), |log| log.write(&machine.console_text()))
}

/// How the loop ended.
enum End {
    Outcome(Outcome),
    Script(u8),
    Time,
    Stopped,
}

/// The loop, with the terminal taken over for as long as it runs. `look` is called after each slice.
fn connect_and_run(
    machine: &mut Machine,
    options: &Options,
    automation: &mut Automation,
    stop: &Stop,
    mut look: impl FnMut(&mut Machine) -> Result<()>,
) -> Result<End> {
    let mut serial = Serial::open(&options.serial, machine.waker())?;
    // On a terminal that is the screen nothing can be said later.
    let early = options.display == display::Target::Terminal;
    if early {
        options.tell();
    }
    let mut display = Display::open(&options.display, machine)?;
    if !early {
        options.tell();
    }
    if serial.is_terminal() {
        say(format_args!("COM1 is this terminal; Ctrl-A X leaves"));
    }
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
        look(machine)?;
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
