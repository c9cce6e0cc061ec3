//! Two machines, one with compiled code and one with the interpreter, run the same guest side by side and are compared
//! whenever compiled code is left. Instruction counts are exact in both, so with the virtual clock the second can be
//! run to exactly where the first is.
//!
//! A run is the same every time: what the compiled machine compiles, and where it stops to be compared, depends on
//! nothing but the guest. So a difference is narrowed by running anew up to the last agreement and going on from there
//! in shorter stretches ([`Focus`]), which the user can do as well with `--lockstep-from`.

mod report;
mod view;

use crate::config::{Engine, MachineConfig};
use crate::error::{Error, Result};
use crate::machine::{Machine, Outcome};
use crate::scheduler::{ClockKind, NS_PER_INSTRUCTION};
use ring86_devices::Time;
use ring86_translator::State;
use ring86_translator::engine::{Config, Watch};
use std::rc::Rc;
use view::Line;

/// All of RAM is compared each time this many instructions have passed.
const RAM_EVERY: u64 = 20_000_000;

/// Comparisons with all of RAM after the last focus has begun.
const CLOSE: u64 = 32;

/// Offsets of differing RAM that are looked at closely.
const RAM_WATCHED: usize = 64;

/// Fewest instructions between two comparisons: an exit from compiled code sooner than that is passed over.
const LEAST: u64 = 64;

/// Compiled code runs at most this many instructions before a comparison, in turns: short ones, since a difference is
/// found where it arises, and long ones, since a fault may need a loop that goes round often.
const MOST: [u64; 8] = [64, 300, 128, 1000, 64, 200, 500, 2000];

/// How often a block runs before it is compiled, unless the user says otherwise: low, so that much is compiled.
pub const THRESHOLD: u32 = 50;

/// From where on, and how, differences are looked for closely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Focus {
    /// Instructions retired when it begins.
    pub from: u64,
    /// Compiled code runs at most so many instructions before a comparison, or the least it can if that is more.
    pub stretch: u64,
    /// Forget all compiled code first, and compile each block when it first runs, with at most so many instructions.
    pub block: Option<usize>,
}

impl std::fmt::Display for Focus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.from, self.stretch)?;
        self.block.map_or(Ok(()), |block| write!(f, ",{block}"))
    }
}

impl std::str::FromStr for Focus {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers: Option<Vec<u64>> = text.split(',').map(|n| n.parse().ok()).collect();
        let focus = match numbers.as_deref() {
            Some(&[from]) => Focus { from, stretch: 1, block: None },
            Some(&[from, stretch]) => Focus { from, stretch, block: None },
            Some(&[from, stretch, block]) => Focus { from, stretch, block: Some(block as usize) },
            _ => Focus { from: 0, stretch: 0, block: None },
        };
        if focus.stretch == 0 || focus.block.is_some_and(|b| !(1..=64).contains(&b)) {
            return Err(
                "use FROM, FROM,STRETCH or FROM,STRETCH,BLOCK as a report of --engine lockstep names them".into()
            );
        }
        Ok(focus)
    }
}

/// One instruction that the interpreter ran in the last step, or an interrupt or exception that it took.
#[derive(Clone, Debug)]
struct Traced {
    /// The state before it.
    before: State,
    /// Bytes at its CS:EIP, as far as they are mapped.
    bytes: Vec<u8>,
    /// The watched RAM before it.
    ram: Vec<u8>,
}

/// Where compiled code and the interpreter differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Instructions retired when they last agreed.
    pub from: u64,
    /// Instructions that the compiled machine had retired when they were found to differ.
    pub to: u64,
    /// What differs: as it is after compiled code, and after the interpreter.
    lines: Vec<(Line, Line)>,
    /// RAM offsets that differ.
    ram: Vec<usize>,
    /// Their contents.
    ram_bytes: [Vec<u8>; 2],
    /// What the interpreter has at the watched offsets.
    watched_after: Vec<u8>,
    /// What the interpreter ran since the agreement, if that was noted down.
    trace: Vec<Traced>,
    /// The interpreter's state when they were found to differ.
    after: Box<State>,
}

impl Difference {
    /// What differs, in a line: before it is known where it began.
    pub fn summary(&self) -> String {
        let registers = self.lines.iter().map(|(a, b)| format!("{} {} and {}", a.0, a.1, b.1));
        let memory = self.ram.first().map(|at| format!("{} bytes of RAM from offset {at:x}", self.ram.len()));
        registers.chain(memory).take(8).collect::<Vec<_>>().join(", ")
    }
}

/// Makes the machine's configuration, as often as one is needed.
pub type Maker = Rc<dyn Fn() -> Result<MachineConfig>>;

/// Two machines in step.
pub struct Lockstep {
    make: Maker,
    engine: Config,
    compiled: Machine,
    interpreted: Machine,
    limit: Time,
    /// Comparisons made.
    pub compared: u64,
    /// Comparisons of all RAM made.
    pub ram_compared: u64,
    steps: usize,
    foci: Vec<Focus>,
    /// How many of `foci` have begun.
    begun: usize,
    /// Nothing is compared before this many instructions.
    quiet: u64,
    /// Note down what the interpreter runs, with these RAM offsets, once nothing is quiet any more.
    trace: Option<Vec<usize>>,
    input: Vec<(u64, Vec<u8>)>,
    ram_at: u64,
    /// Instructions at the last agreement.
    agreed: u64,
}

impl Lockstep {
    /// Two machines of what `make` says, which asks for the virtual clock, until guest time `limit`. `engine` is that
    /// of the first.
    ///
    /// # Errors
    /// If the host cannot provide them, or the clock is the host's.
    pub fn new(make: Maker, engine: Config, limit: Time) -> Result<Self> {
        let engine = Config { watch: Some(Watch { least: LEAST, most: MOST[0] }), synchronous: true, ..engine };
        let machine = |engine| -> Result<Machine> {
            let config = make()?;
            if config.clock != ClockKind::Virtual {
                return Err(Error::new("--engine lockstep needs --clock virtual: two runs are only the same with it"));
            }
            let mut machine = Machine::new(MachineConfig { engine, ..config })?;
            machine.keep_journal();
            Ok(machine)
        };
        let compiled = machine(Engine::Translator(engine))?;
        if compiled.cpu().tier_stats().is_none() {
            return Err(Error::new("--engine lockstep: this host has no compiled code to compare"));
        }
        let interpreted = machine(Engine::Interpreter)?;
        Ok(Lockstep {
            make,
            engine,
            compiled,
            interpreted,
            limit,
            compared: 0,
            ram_compared: 0,
            steps: 0,
            foci: Vec::new(),
            begun: 0,
            quiet: 0,
            trace: None,
            input: Vec::new(),
            ram_at: 0,
            agreed: 0,
        })
    }

    /// Looks closely from the given places on, and not at all before the last. They are in ascending order.
    pub fn focus(&mut self, foci: Vec<Focus>) {
        self.quiet = foci.last().map_or(0, |f| f.from);
        self.foci = foci;
    }

    /// The machine with compiled code.
    pub fn compiled(&self) -> &Machine {
        &self.compiled
    }

    /// The machine with compiled code, for its output.
    pub fn compiled_mut(&mut self) -> &mut Machine {
        &mut self.compiled
    }

    /// Gives both the same input on COM1. Returns how many bytes were taken.
    pub fn serial_input(&mut self, bytes: &[u8]) -> usize {
        let taken = self.compiled.serial_input(bytes);
        self.interpreted.serial_input(&bytes[..taken]);
        self.input.push((self.compiled.retired(), bytes[..taken].to_vec()));
        taken
    }

    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        self.compiled.now() >= self.limit
    }

    /// Says how the next step is to stop.
    fn prepare(&mut self) -> Result<()> {
        let at = self.compiled.retired();
        while let Some(focus) = self.foci.get(self.begun).filter(|f| f.from <= at) {
            self.begun += 1;
            if let Some(block) = focus.block {
                self.compiled.cpu_mut().compile_anew(block).map_err(Error::new)?;
            }
        }
        let watch = match self.begun.checked_sub(1).and_then(|n| self.foci.get(n)) {
            Some(focus) => Watch { least: 1, most: focus.stretch },
            None => Watch { least: LEAST, most: MOST[self.steps % MOST.len()] },
        };
        self.compiled.cpu_mut().watch(watch);
        self.steps += 1;
        Ok(())
    }

    /// Takes one step and compares. Returns how the guest ended, if it did.
    ///
    /// # Errors
    /// Where the machines differ, or what the host refused.
    pub fn step(&mut self) -> std::result::Result<Option<Outcome>, Trouble> {
        self.prepare()?;
        let outcome = self.compiled.slice(self.limit);
        let now = self.compiled.now();
        let quiet = self.compiled.retired() <= self.quiet;
        let mut trace = Vec::new();
        let mut other = None;
        while self.interpreted.now() < now && other.is_none() {
            let mut until = now;
            if let Some(offsets) = self.trace.as_ref().filter(|_| !quiet) {
                trace.push(report::traced(&self.interpreted, offsets));
                if !self.interpreted.is_halted() {
                    until = now.min(self.interpreted.now() + NS_PER_INSTRUCTION);
                }
            }
            other = self.interpreted.slice(until);
        }
        if quiet && outcome.is_none() {
            self.agreed = self.compiled.retired();
            self.ram_at = self.agreed;
            return Ok(None);
        }
        self.compared += 1;
        let watched = self.trace.as_deref().unwrap_or_default();
        let mut ram: Vec<usize> = Vec::new();
        if !watched.is_empty() {
            let (x, y) = (view::ram_bytes(&self.compiled, watched), view::ram_bytes(&self.interpreted, watched));
            ram.extend(watched.iter().zip(x.iter().zip(y)).filter(|(_, (x, y))| *x != y).map(|(at, _)| *at));
        }
        let same_end = match (&outcome, &other) {
            (None, None) => true,
            (a, b) => view::outcome_text(a.as_ref()) == view::outcome_text(b.as_ref()),
        };
        if !ram.is_empty() || !same_end || !view::same(&self.compiled, &self.interpreted) {
            if self.trace.is_none() {
                // Registers may differ because memory did long before.
                ram = view::ram_differences(&self.compiled, &self.interpreted, RAM_WATCHED);
            }
            let mut d = self.difference(outcome.as_ref(), other.as_ref(), ram);
            if self.trace.is_none() && !d.ram.is_empty() {
                d.from = self.ram_at;
            }
            d.trace = trace;
            return Err(Trouble::Difference(Box::new(d)));
        }
        self.agreed = self.compiled.retired();
        if outcome.is_some() {
            self.compare_all()?;
        } else if self.agreed - self.ram_at >= RAM_EVERY || self.is_close() {
            self.compare_ram()?;
        }
        Ok(outcome)
    }

    /// Whether the last focus has just begun: then all RAM is compared, unless it is known where to look.
    fn is_close(&self) -> bool {
        self.compared <= CLOSE && self.trace.is_none() && !self.foci.is_empty() && self.begun == self.foci.len()
    }

    fn compare_ram(&mut self) -> std::result::Result<(), Trouble> {
        let ram = view::ram_differences(&self.compiled, &self.interpreted, RAM_WATCHED);
        if !ram.is_empty() {
            let mut d = self.difference(None, None, ram);
            d.from = self.ram_at;
            return Err(Trouble::Difference(Box::new(d)));
        }
        self.ram_compared += 1;
        self.ram_at = self.agreed;
        Ok(())
    }

    /// At the end of a run: compares RAM and what is only worth it then.
    ///
    /// # Errors
    /// Where the machines differ.
    pub fn compare_all(&mut self) -> std::result::Result<(), Trouble> {
        self.compare_ram()?;
        if let Some(lines) = view::difference_at_end(&self.compiled, &self.interpreted) {
            let mut d = self.difference(None, None, Vec::new());
            d.from = 0;
            d.lines.push(lines);
            return Err(Trouble::Difference(Box::new(d)));
        }
        Ok(())
    }

    fn difference(&self, outcome: Option<&Outcome>, other: Option<&Outcome>, ram: Vec<usize>) -> Difference {
        let (a, b) = (view::lines(&self.compiled, outcome), view::lines(&self.interpreted, other));
        Difference {
            from: self.agreed,
            to: self.compiled.retired(),
            lines: a.into_iter().zip(b).filter(|(x, y)| x != y).collect(),
            ram_bytes: [&self.compiled, &self.interpreted].map(|m| view::ram_bytes(m, &ram)),
            ram,
            watched_after: view::ram_bytes(&self.interpreted, self.trace.as_deref().unwrap_or_default()),
            trace: Vec::new(),
            after: Box::new(self.interpreted.cpu().state.clone()),
        }
    }

    /// The same run from its beginning, with `foci`. Compares and notes down what runs after `quiet` instructions; RAM
    /// only at the offsets `ram`, and as ever now and then. Goes on until a difference is found, the guest ends or
    /// `until` instructions have retired.
    fn again(&self, foci: Vec<Focus>, quiet: u64, ram: &[usize], until: u64) -> Result<Option<Difference>> {
        let mut run = Lockstep::new(Rc::clone(&self.make), self.engine, self.limit)?;
        run.quiet = quiet;
        run.foci = foci;
        run.trace = Some(ram.to_vec());
        let mut input = self.input.iter();
        let mut next = input.next();
        while run.compiled.retired() < until && !run.is_over() {
            while let Some((_, bytes)) = next.filter(|(at, _)| *at <= run.compiled.retired()) {
                run.serial_input(bytes);
                next = input.next();
            }
            match run.step() {
                Ok(None) => {}
                Ok(Some(_)) => break,
                Err(Trouble::Difference(d)) => return Ok(Some(*d)),
                Err(Trouble::Host(error)) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// Why a step failed.
#[derive(Debug)]
pub enum Trouble {
    /// Compiled code and the interpreter differ.
    Difference(Box<Difference>),
    /// The host refused something.
    Host(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Host(error)
    }
}
