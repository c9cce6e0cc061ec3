//! The wires between chips: interrupt lines, plain levels, and one-shot requests.
//!
//! Every handle is cheap to clone and may be moved to another thread. Nothing here blocks.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many inputs one [`IrqInputs`] bank has at most.
pub const MAX_INPUTS: usize = 32;

#[derive(Debug)]
struct Bank {
    /// One bit for each source of each input: an input is high while any of its sources drives it (wired OR).
    drivers: [AtomicU64; MAX_INPUTS],
    /// Inputs that rose since the owner last looked, so that a short low pulse between two looks is not lost.
    rises: AtomicU32,
    /// Some input has another level than when the owner last looked, or had in between.
    changed: AtomicBool,
    sources: [AtomicU32; MAX_INPUTS],
}

/// The receiving end of up to [`MAX_INPUTS`] interrupt lines; an interrupt controller owns one.
#[derive(Clone, Debug)]
pub struct IrqInputs(Arc<Bank>);

impl Default for IrqInputs {
    fn default() -> Self {
        Self::new()
    }
}

impl IrqInputs {
    /// A bank with every input low and no source attached.
    pub fn new() -> Self {
        Self(Arc::new(Bank {
            drivers: std::array::from_fn(|_| AtomicU64::new(0)),
            rises: AtomicU32::new(0),
            changed: AtomicBool::new(false),
            sources: std::array::from_fn(|_| AtomicU32::new(0)),
        }))
    }

    /// Attaches a new source to `input` and returns its line. Sources of one input are ORed.
    ///
    /// # Panics
    /// If `input` is not below [`MAX_INPUTS`], or has 64 sources already: both are mistakes in the wiring.
    pub fn line(&self, input: usize) -> IrqLine {
        assert!(input < MAX_INPUTS, "no such interrupt input");
        let source = self.0.sources[input].fetch_add(1, Ordering::Relaxed);
        assert!(source < 64, "too many sources on one interrupt input");
        IrqLine { taps: Arc::new([Tap::Input(Input { bank: Arc::clone(&self.0), input, mask: 1 << source })]) }
    }

    /// The present level of every input, one bit each.
    pub fn levels(&self) -> u32 {
        self.0
            .drivers
            .iter()
            .enumerate()
            .fold(0, |levels, (i, d)| levels | u32::from(d.load(Ordering::Acquire) != 0) << i)
    }

    /// The level of the first 16 inputs only: what a PC's interrupt controllers look at on every poll.
    pub fn levels16(&self) -> u16 {
        let low = &self.0.drivers[..16];
        low.iter().enumerate().fold(0, |levels, (i, d)| levels | u16::from(d.load(Ordering::Acquire) != 0) << i)
    }

    /// Inputs that rose since [`IrqInputs::take_rises`], without consuming the record.
    pub fn rises(&self) -> u32 {
        self.0.rises.load(Ordering::Acquire)
    }

    /// Whether some input rose or fell since this was last asked.
    pub fn take_changed(&self) -> bool {
        // The plain load first keeps the common case free of a locked instruction.
        self.0.changed.load(Ordering::Acquire) && self.0.changed.swap(false, Ordering::AcqRel)
    }

    /// Consumes the record of inputs that rose.
    pub fn take_rises(&self) -> u32 {
        self.0.rises.swap(0, Ordering::AcqRel)
    }
}

#[derive(Clone, Debug)]
struct Input {
    bank: Arc<Bank>,
    input: usize,
    mask: u64,
}

#[derive(Clone, Debug)]
enum Tap {
    Input(Input),
    Router { router: Router, mask: u64 },
}

impl Tap {
    fn set_level(&self, high: bool) {
        match self {
            Self::Input(Input { bank, input, mask }) => {
                let drivers = &bank.drivers[*input];
                if !high {
                    if drivers.fetch_and(!mask, Ordering::AcqRel) == *mask {
                        bank.changed.store(true, Ordering::Release);
                    }
                } else if drivers.fetch_or(*mask, Ordering::AcqRel) == 0 {
                    bank.rises.fetch_or(1 << input, Ordering::AcqRel);
                    bank.changed.store(true, Ordering::Release);
                }
            }
            Self::Router { router, mask } => router.drive(*mask, high),
        }
    }

    fn level(&self) -> bool {
        match self {
            Self::Input(Input { bank, input, mask }) => bank.drivers[*input].load(Ordering::Acquire) & mask != 0,
            Self::Router { router, mask } => router.with(|state| state.drivers & mask != 0),
        }
    }
}

/// The driving end of an interrupt line. Clones drive the same source.
#[derive(Clone, Debug)]
pub struct IrqLine {
    taps: Arc<[Tap]>,
}

impl IrqLine {
    /// A line that leads nowhere.
    pub fn unconnected() -> Self {
        Self { taps: Arc::new([]) }
    }

    /// One line that drives all of `lines` (a PIC input and an I/O APIC input, say).
    pub fn joined(lines: &[Self]) -> Self {
        Self { taps: lines.iter().flat_map(|line| line.taps.iter().cloned()).collect() }
    }

    /// Drives the line high or lets it go. A change from low to high is recorded even if the line falls again
    /// before anyone looks.
    pub fn set_level(&self, high: bool) {
        for tap in &*self.taps {
            tap.set_level(high);
        }
    }

    /// A low-going pulse that leaves the line high, which gives an edge-triggered input a fresh edge.
    pub fn pulse(&self) {
        self.set_level(false);
        self.set_level(true);
    }

    /// Whether this source drives the line high.
    pub fn level(&self) -> bool {
        self.taps.iter().any(Tap::level)
    }
}

#[derive(Debug)]
struct RouterState {
    drivers: u64,
    sources: u32,
    selected: Option<usize>,
    outputs: Vec<IrqLine>,
}

impl RouterState {
    fn output(&self, high: bool) {
        if let Some(line) = self.selected.and_then(|selected| self.outputs.get(selected)) {
            line.set_level(high);
        }
    }
}

/// A wired-OR interrupt line that software steers to one of several outputs (a PCI interrupt, say).
#[derive(Clone, Debug)]
pub struct Router(Arc<Mutex<RouterState>>);

impl Router {
    /// A router that leads nowhere until [`Router::select`].
    pub fn new(outputs: Vec<IrqLine>) -> Self {
        Self(Arc::new(Mutex::new(RouterState { drivers: 0, sources: 0, selected: None, outputs })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut RouterState) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn drive(&self, mask: u64, high: bool) {
        self.with(|state| {
            let before = state.drivers != 0;
            state.drivers = if high { state.drivers | mask } else { state.drivers & !mask };
            let after = state.drivers != 0;
            if before != after {
                state.output(after);
            }
        });
    }

    /// Attaches a new source.
    ///
    /// # Panics
    /// If 64 sources are attached already, which is a mistake in the wiring.
    pub fn line(&self) -> IrqLine {
        let mask = self.with(|state| {
            assert!(state.sources < 64, "too many sources on one routed interrupt");
            state.sources += 1;
            1 << (state.sources - 1)
        });
        IrqLine { taps: Arc::new([Tap::Router { router: self.clone(), mask }]) }
    }

    /// Steers the line to output number `output`; `None`, or a number without an output, disconnects it.
    pub fn select(&self, output: Option<usize>) {
        self.with(|state| {
            if state.selected != output {
                state.output(false);
                state.selected = output;
                let high = state.drivers != 0;
                state.output(high);
            }
        });
    }
}

/// A plain signal with one driver: the A20 gate, a speaker's data, a counter's output.
#[derive(Clone, Debug, Default)]
pub struct Level(Arc<AtomicBool>);

impl Level {
    /// A signal that starts at `high`.
    pub fn new(high: bool) -> Self {
        Self(Arc::new(AtomicBool::new(high)))
    }

    /// Drives the signal.
    pub fn set(&self, high: bool) {
        self.0.store(high, Ordering::Release);
    }

    /// The present level.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A request that stays until someone takes it: reset, NMI, SMI, power-off.
#[derive(Clone, Debug, Default)]
pub struct Latch(Arc<AtomicBool>);

impl Latch {
    /// A latch with nothing requested.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the request.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether a request waits.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Takes the request, if there is one.
    pub fn take(&self) -> bool {
        // The plain load first keeps the common case free of a locked instruction.
        self.is_raised() && self.0.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_one_input_are_ored() {
        let bank = IrqInputs::new();
        let (a, b) = (bank.line(5), bank.line(5));
        a.set_level(true);
        b.set_level(true);
        assert_eq!(bank.take_rises(), 1 << 5);
        a.set_level(false);
        assert_eq!(bank.levels(), 1 << 5);
        assert!(!a.level() && b.level());
        b.set_level(false);
        assert_eq!((bank.levels(), bank.levels16(), bank.rises()), (0, 0, 0));
        assert!(bank.take_changed() && !bank.take_changed());
        b.set_level(false);
        assert!(!bank.take_changed());
    }

    #[test]
    fn a_short_pulse_is_remembered() {
        let bank = IrqInputs::new();
        let line = bank.line(0);
        line.set_level(true);
        assert_eq!(bank.take_rises(), 1);
        line.pulse();
        assert_eq!((bank.rises(), bank.levels()), (1, 1));
    }

    #[test]
    fn joined_lines_drive_every_bank() {
        let (a, b) = (IrqInputs::new(), IrqInputs::new());
        let line = IrqLine::joined(&[a.line(4), b.line(9)]);
        line.set_level(true);
        assert_eq!((a.levels(), b.levels()), (1 << 4, 1 << 9));
        IrqLine::unconnected().set_level(true);
        assert!(!IrqLine::unconnected().level());
    }

    #[test]
    fn a_routed_line_follows_its_selection() {
        let bank = IrqInputs::new();
        let router = Router::new(vec![bank.line(0), bank.line(1)]);
        let (a, b) = (router.line(), router.line());
        a.set_level(true);
        assert_eq!(bank.levels(), 0);
        router.select(Some(1));
        assert_eq!(bank.levels(), 2);
        b.set_level(true);
        router.select(Some(0));
        assert_eq!(bank.levels(), 1);
        a.set_level(false);
        assert_eq!((bank.levels(), a.level(), b.level()), (1, false, true));
        b.set_level(false);
        router.select(Some(7));
        b.set_level(true);
        assert_eq!(bank.levels(), 0);
    }

    #[test]
    fn a_latch_is_taken_once() {
        let latch = Latch::new();
        latch.clone().raise();
        assert!(latch.is_raised() && latch.take() && !latch.take());
    }
}
