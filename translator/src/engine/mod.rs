//! The tiers: which blocks are compiled together, when, and how execution passes between the interpreter and compiled
//! code.
//!
//! The interpreter counts how often it enters a block. A hot one becomes the anchor of a plan (`plan`), which is
//! compiled on another thread (`worker`) and installed when the guest next comes by, if no block of it has changed
//! since (`regions`). `dispatch` is the loop above both tiers, `native` the only place that runs compiled code.

mod dispatch;
mod jumps;
mod native;
mod plan;
mod regions;
mod resume;
mod worker;

use crate::block::{Id, RegionId};
use crate::code_cache::{CodeCache, Piece};
use crate::cpu::Cpu;
use crate::fault::Fault;
use crate::ir::Op;
pub use crate::lower::Mmu;
use crate::lower::compile::{Compiler, Effort};
use crate::lower::trampoline;
use crate::lower::{Entry, Kept};
use crate::region::{Fixed, PlanPage};
use std::sync::Arc;

/// What to write to the log about regions whose anchor lies in a range of linear addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Show {
    /// First address.
    pub from: u64,
    /// Last address.
    pub to: u64,
    /// The guest's operations.
    pub ir: bool,
    /// Cranelift's IR.
    pub clif: bool,
    /// The host's instructions.
    pub asm: bool,
    /// The guest's instructions, block by block.
    pub blocks: bool,
    /// Each time compiled code that was entered in the range is left, and why.
    pub exits: bool,
}

impl Show {
    fn wants(&self, lin: u64) -> bool {
        (self.ir || self.clif || self.asm || self.blocks) && (self.from..=self.to).contains(&lin)
    }
}

/// Choices of the user.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Regions to write to the log.
    pub show: Show,
    /// How compiled code reaches guest memory.
    pub mmu: Mmu,
    /// Size of the code cache in bytes.
    pub code_cache: usize,
    /// How often the interpreter enters a block before it is compiled.
    pub threshold: u32,
    /// Compile on the calling thread, at once: for tests and conformance runs.
    pub synchronous: bool,
    /// Write each region to `/tmp/perf-PID.map`, where Linux's perf looks for names of compiled code.
    pub perf_map: bool,
    /// The threshold doubles at most so often for code whose compiled form was dropped because the code had changed.
    pub patience: u8,
    /// How often an instruction misses before it is compiled anew so that its region goes on there.
    pub resume_after: u32,
    /// Optimise.
    pub optimise: bool,
    /// Compile quickly first, and optimise what then turns out to take the time.
    pub quick_first: bool,
    /// Guest instructions in a block at most. With 1, and compiled at once, every single step is compiled code.
    pub block_limit: usize,
    /// For lockstep.
    pub watch: Option<Watch>,
    /// Changes operations before they are compiled, the interpreter's stay as they are: for tests of whoever is to find
    /// compiled code that is wrong.
    #[doc(hidden)]
    pub plant: Option<fn(&mut Op)>,
}

/// When [`Cpu::run`] returns so that its caller can look at the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// At the first exit from a block or from compiled code after this many instructions.
    pub least: u64,
    /// Compiled code runs at most this many at a time, or the shortest stretch it can do if that is longer.
    pub most: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            show: Show::default(),
            mmu: Mmu::Window,
            code_cache: 256 << 20,
            threshold: 60,
            synchronous: false,
            perf_map: false,
            patience: 12,
            resume_after: 1024,
            optimise: true,
            quick_first: true,
            block_limit: crate::decode::MAX_INSTRUCTIONS,
            watch: None,
            plant: None,
        }
    }
}

/// Counters of the compiled tiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierStats {
    /// Regions compiled.
    pub regions: u64,
    /// Guest instructions in them.
    pub instructions: u64,
    /// Bytes of host code.
    pub bytes: u64,
    /// Nanoseconds spent compiling, on whichever thread.
    pub compile_ns: u64,
    /// Plans that were void when they came back, or could not be compiled.
    pub void: u64,
    /// Those of them that the code generator did not take: a fault of this program.
    pub refused: u64,
    /// Regions dropped because their code changed or an optimised one took their place.
    pub dropped: u64,
    /// Instructions whose regions were compiled anew because their accesses missed too often.
    pub resuming: u64,
    /// Times everything was dropped because the cache was full.
    pub flushes: u64,
    /// Times compiled code was entered from the dispatcher.
    pub entries: u64,
    /// Times it was left, by reason: see [`EXIT_NAMES`].
    pub exits: [u64; 7],
    /// Instructions retired in compiled code.
    pub retired: u64,
}

/// Names of [`TierStats::exits`].
pub const EXIT_NAMES: [&str; 7] = [
    "no compiled code there",
    "access missed or rare operation",
    "fault in a call",
    "slice over",
    "stop asked for by a call",
    "call that ends a block",
    "stop asked for at a jump",
];

/// A region that can be run.
struct Region {
    piece: Piece,
    /// Referred to by the code.
    kept: Kept,
    entries: Vec<Entry>,
    pages: Vec<PlanPage>,
    fixed: Option<Fixed>,
    blocks: Vec<(Id, u64)>,
    effort: Effort,
    /// Slices of the run loop that began in it.
    samples: u32,
}

impl Region {
    fn is_quick(&self) -> bool {
        self.effort == Effort::None
    }
}

/// Everything behind the compiled tiers of one CPU.
pub(crate) struct Engine {
    config: Config,
    pub stats: TierStats,
    worker: worker::Worker,
    cache: CodeCache,
    regions: Vec<Option<Region>>,
    free: Vec<RegionId>,
    sites: resume::Sites,
    rewrites: resume::Rewrites,
    /// Code that was dropped while compiled code was running, with the operations it refers to.
    graveyard: Vec<(Piece, Kept)>,
    jumps: jumps::JumpCache,
    /// Address of the code that brings floating-point state home.
    settle: usize,
    trampoline: usize,
    /// Compiled code is running.
    pub running: bool,
    /// With [`Config::watch`]: the caller of [`Cpu::run`] wants to look at the state.
    pub left: bool,
    /// Retired instructions when that last happened.
    stopped: u64,
    /// Retired instructions at which the running stretch ends.
    pub end: u64,
    /// What a helper raised.
    pub fault: Option<Fault>,
    /// The next region entered is where a slice begins: a sample of where time goes.
    pub sample: bool,
}

impl Engine {
    fn new(config: Config) -> Result<Engine, String> {
        let host = [native::resolve_address(), native::operation_address(), native::access_address()];
        let compiler = || Compiler::new(host, config.mmu);
        let mut cache = CodeCache::new(config.code_cache).map_err(|e| format!("no memory for code: {e}"))?;
        // Never given back.
        let settle = crate::passthrough::settle().and_then(|code| cache.insert(&code));
        let settle = settle.map_or(0, |p| cache.address(&p));
        Ok(Engine {
            worker: worker::Worker::new(compiler()?, config.synchronous)?,
            config,
            stats: TierStats::default(),
            cache,
            regions: Vec::new(),
            free: Vec::new(),
            sites: resume::Sites::new(),
            rewrites: resume::Rewrites::default(),
            graveyard: Vec::new(),
            jumps: jumps::JumpCache::new(),
            settle,
            trampoline: trampoline::trampoline()?,
            running: false,
            left: false,
            stopped: 0,
            end: 0,
            fault: None,
            sample: false,
        })
    }

    /// With [`Config::watch`]: notes at an exit after `retired` instructions whether the caller is to look.
    fn look(&mut self, retired: u64) {
        if let Some(watch) = self.config.watch
            && retired - self.stopped >= watch.least
        {
            self.left = true;
            self.stopped = retired;
        }
    }

    /// Forgets a region. Its code goes at once, or when compiled code has been left.
    fn drop_region(&mut self, id: RegionId) {
        let Some(region) = self.regions.get_mut(id as usize).and_then(Option::take) else { return };
        self.stats.dropped += 1;
        self.jumps.forget(id);
        self.graveyard.push((region.piece, region.kept));
        self.free.push(id);
    }

    fn bury(&mut self) {
        for (piece, _) in self.graveyard.drain(..) {
            self.cache.free(piece);
        }
    }
}

impl Cpu {
    /// Runs hot code compiled from now on.
    ///
    /// # Errors
    /// One sentence when this host cannot: the interpreter goes on alone.
    pub fn enable_translator(&mut self, config: Config) -> Result<(), String> {
        let mut config = config;
        if config.mmu == Mmu::Window && !self.shadow.enable_window(self.mem.ram()) {
            log::info!("this host has no checked window; using the flat table");
            config.mmu = Mmu::Table;
        }
        self.flush_shadow(false);
        self.engine = Some(Box::new(Engine::new(config)?));
        self.block_limit = config.block_limit.clamp(1, crate::decode::MAX_INSTRUCTIONS);
        Ok(())
    }

    /// Forgets all compiled code and every block. From now on a block is compiled when it first runs, on this thread,
    /// with at most `block_limit` instructions. What the shadow and the window know stays.
    ///
    /// # Errors
    /// As for [`Cpu::enable_translator`].
    pub fn compile_anew(&mut self, block_limit: usize) -> Result<(), String> {
        let Some(e) = &self.engine else { return Ok(()) };
        let config = Config { threshold: 1, synchronous: true, block_limit, ..e.config };
        let (stats, stopped) = (e.stats, e.stopped);
        let mem = Arc::clone(&self.mem);
        self.blocks.clear(&mem);
        // They are regions of the engine that goes.
        self.blocks.dead.clear();
        self.engine = Some(Box::new(Engine { stats, stopped, ..Engine::new(config)? }));
        self.block_limit = config.block_limit.clamp(1, crate::decode::MAX_INSTRUCTIONS);
        Ok(())
    }

    /// Sets [`Config::watch`].
    pub fn watch(&mut self, watch: Watch) {
        if let Some(e) = &mut self.engine {
            e.config.watch = Some(watch);
        }
    }

    /// Counters of the compiled tiers, if there are any.
    pub fn tier_stats(&self) -> Option<TierStats> {
        self.engine.as_ref().map(|e| e.stats)
    }

    /// Counters of the checked window, if there is one.
    pub fn window_stats(&self) -> Option<crate::mmu::window::WindowStats> {
        self.shadow.window_stats()
    }
}
