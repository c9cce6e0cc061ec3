//! The tiers: which blocks are compiled together, when, and how execution passes between the interpreter and compiled
//! code.
//!
//! The interpreter counts how often it enters a block. A hot one becomes the anchor of a plan (`plan`), which is
//! compiled on another thread (`worker`) and installed when the guest next comes by, if no block of it has changed
//! since. `native` is the only place that runs compiled code.

mod jumps;
mod native;
mod plan;
mod resume;
mod worker;

use crate::block::{Id, Key, RegionId};
use crate::bus::Bus;
use crate::code_cache::{CodeCache, Piece};
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::frame::exit;
use crate::ir::Op;
pub use crate::lower::Mmu;
use crate::lower::compile::{Compiler, Effort};
use crate::lower::trampoline::{self, Jump};
use crate::lower::{Entry, Kept};
use crate::mmu::shadow;
use crate::model::Model;
use crate::region::{Fixed, Plan, PlanPage};
use crate::state::{SegReg, mode};
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

/// A stretch of compiled code that needs more instructions than this is left to the interpreter.
const LONGEST_SHORT: u64 = 4096;

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

/// Slices of the run loop that begin in a quick region before it is optimised. A slice is some tenths of a millisecond.
const HOT_SAMPLES: u32 = 2;

/// How many times the usual threshold a block needs that begins in the middle of a compiled one.
const INSIDE: u32 = 64;
/// Bytes before a block in which the start of such a one is looked for.
const INSIDE_BYTES: u64 = 256;

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
            worker: worker::Worker::new(compiler()?, config.synchronous),
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

    /// After blocks were dropped: drops the regions that contained them.
    pub(crate) fn drop_dead_regions(&mut self) {
        if self.blocks.dead.is_empty() {
            return;
        }
        let dead = std::mem::take(&mut self.blocks.dead);
        let Some(engine) = &mut self.engine else { return };
        for id in dead {
            let Some(region) = engine.regions.get(id as usize).and_then(Option::as_ref) else { continue };
            for (block, serial) in region.blocks.clone() {
                if let Some(b) = self.blocks.alive(block, serial) {
                    b.profile.regions.retain(|r| *r != id);
                    if b.profile.native.is_some_and(|(r, _)| r == id) {
                        b.profile.native = None;
                        b.profile.count = 0;
                    }
                }
            }
            engine.drop_region(id);
            self.bail |= engine.running;
        }
    }

    /// Counters of the checked window, if there is one.
    pub fn window_stats(&self) -> Option<crate::mmu::window::WindowStats> {
        self.shadow.window_stats()
    }

    /// Runs until something needs the run loop, in whichever tier is best.
    pub(crate) fn run_tiers(&mut self, bus: &mut dyn Bus, end: u64) -> Res<()> {
        let mut interpret = false;
        loop {
            if self.engine.as_ref().is_some_and(|e| e.worker.ready()) {
                self.install_finished();
            }
            if !std::mem::take(&mut interpret) {
                match self.enter_native(bus, end)? {
                    None => {}
                    Some(exit::MISS) => {
                        interpret = true;
                        self.count_miss();
                        self.missed = Some(self.state.frame.exit_addr);
                    }
                    Some(exit::BUDGET) => interpret = true,
                    Some(exit::JUMP) => {}
                    Some(_) => return Ok(()),
                }
                if self.retired >= end || self.engine.as_ref().is_some_and(|e| e.left) {
                    return Ok(());
                }
                if !interpret && self.jump_known() {
                    continue;
                }
            }
            let id = self.lookup(bus)?;
            if !interpret && self.fill_jump(id) {
                continue;
            }
            if self.count(id) && !interpret && self.fill_jump(id) {
                continue;
            }
            interpret = false;
            let serial = self.blocks.get(id).serial;
            let missed = std::mem::take(&mut self.missed);
            let special = self.run_block(bus, id, end - self.retired)?;
            if let Some(lin) = missed {
                self.learn_miss(lin);
            }
            self.learn_target(id, serial);
            let mut special = special;
            if let Some(e) = &mut self.engine {
                e.look(self.retired);
                special |= e.left;
            }
            if special || self.retired >= end || self.pins.get() & self.watched() != 0 {
                return Ok(());
            }
        }
    }

    /// Whether the jump cache knows RIP.
    fn jump_known(&self) -> bool {
        self.engine.as_ref().is_some_and(|e| e.jumps.find(self.state.rip, self.state.mode).is_some())
    }

    /// Runs compiled code from RIP if the jump cache knows it. Returns why it was left.
    fn enter_native(&mut self, bus: &mut dyn Bus, end: u64) -> Res<Option<u32>> {
        let rip = self.state.rip;
        let flat_cs = self.state.mode & mode::FLAT << SegReg::Cs as u32 != 0;
        let cs = &self.state.segs[1];
        let cs = (cs.base, cs.limit);
        let Some(e) = &mut self.engine else { return Ok(None) };
        e.jumps.follow(&self.shadow);
        if !flat_cs {
            e.jumps.enter_segment(cs);
        }
        let mode = self.state.mode;
        if let Some(jump) = e.jumps.find(rip, mode)
            && std::mem::take(&mut e.sample)
        {
            self.sampled(jump.region);
        }
        let Some(e) = self.engine.as_ref() else { return Ok(None) };
        let Some(jump) = e.jumps.find(rip, mode) else { return Ok(None) };
        let (show, watch) = (e.config.show, e.config.watch);
        let from = self.state.segs[1].base.wrapping_add(rip) & 0xffff_ffff;
        let why = match watch {
            None => native::run(self, bus, &jump, end),
            Some(watch) => self.run_watched(bus, &jump, end, watch),
        };
        if show.exits && (show.from..=show.to).contains(&from) {
            let reason = EXIT_NAMES[(*why.as_ref().unwrap_or(&exit::FAULT) as usize).min(EXIT_NAMES.len() - 1)];
            log::info!(
                "entered at {from:08x}, left at {:04x}:{:08x}: {reason}",
                self.state.segs[1].selector,
                self.state.rip
            );
        }
        why.map(Some)
    }

    /// Runs compiled code in short stretches: see [`Config::watch`].
    fn run_watched(&mut self, bus: &mut dyn Bus, jump: &Jump, end: u64, watch: Watch) -> Res<u32> {
        let (before, mut most) = (self.retired, watch.most);
        let why = loop {
            let why = native::run(self, bus, jump, end.min(before + most));
            // A stretch runs whole or not at all.
            let none = matches!(why, Ok(exit::BUDGET)) && self.retired == before && before + most < end;
            if !none || most >= LONGEST_SHORT {
                break why;
            }
            most += 1;
        };
        if let Some(e) = &mut self.engine {
            e.look(self.retired);
        }
        why
    }

    /// A slice begins in region `id`: whatever is met so more than once takes time worth optimising for.
    #[cold]
    fn sampled(&mut self, id: RegionId) {
        let Some(e) = self.engine.as_mut().filter(|e| e.config.optimise && e.config.quick_first) else { return };
        let Some(region) = e.regions.get_mut(id as usize).and_then(Option::as_mut) else { return };
        region.samples = region.samples.saturating_add(1);
        // Other places of the region follow ever more rarely: most of what they need has been optimised with the first.
        if !region.is_quick() || region.samples < HOT_SAMPLES || !region.samples.is_power_of_two() {
            return;
        }
        let lin = self.state.segs[1].base.wrapping_add(self.state.rip) & 0xffff_ffff;
        let generations = [self.shadow.generation, self.shadow.global_generation];
        let Some(block) = self.blocks.hint(lin, self.state.mode, generations) else { return };
        self.request(block, Some(u32::MAX));
    }

    /// Puts the region that block `id` is an entry of into the jump cache for RIP. False if there is none, or if its
    /// pages are not where they were.
    fn fill_jump(&mut self, id: Id) -> bool {
        let Some((region_id, entry)) = self.blocks.get(id).profile.native else { return false };
        let (rip, user) = (self.state.rip, self.user());
        let cs = &self.state.segs[1];
        let (base, limit) = (cs.base, cs.limit);
        let Some(e) = &self.engine else { return false };
        let Some(region) = e.regions.get(region_id as usize).and_then(Option::as_ref) else { return false };
        let Some(&Entry { delta, need }) = region.entries.get(entry as usize) else { return false };
        let anchor = rip.wrapping_sub(delta as i64 as u64) & 0xffff_ffff;
        if region.fixed.is_some_and(|f| f.rip != anchor || f.limit != limit) {
            return false;
        }
        let code = e.cache.address(&region.piece) as u64;
        let mut global = shadow::G;
        for page in region.pages.clone() {
            let lin = base.wrapping_add(anchor).wrapping_add(page.delta as i64 as u64) & 0xffff_ffff;
            let Some(entry) = self.maps_code(lin, page.at, user) else { return false };
            global &= entry;
        }
        let tag = trampoline::tag(rip, self.state.mode);
        let Some(e) = &mut self.engine else { return false };
        e.jumps.follow(&self.shadow);
        let need = u16::try_from(need.max(0)).unwrap_or(u16::MAX);
        e.jumps.put(rip, Jump { tag, code, entry, region: region_id, delta, need, global: u16::from(global != 0) });
        true
    }

    /// The shadow's entry of linear page `lin` if it maps the RAM page at `at` for fetches, without side effects that the
    /// guest could see.
    fn maps_code(&mut self, lin: u64, at: u64, user: bool) -> Option<u64> {
        let e = self.shadow.get(usize::from(user), lin);
        let e = if e & shadow::X != 0 { e } else { self.translate_quietly(lin, user)? };
        (e & shadow::IO == 0 && e & !0xfff == at).then_some(e)
    }

    /// Counts an entry of the interpreter into a block, and asks for its compilation when it is hot. True if it has been
    /// compiled at once.
    fn count(&mut self, id: Id) -> bool {
        let Some(e) = &self.engine else { return false };
        let threshold = e.config.threshold;
        let b = self.blocks.get_mut(id);
        let threshold = threshold.saturating_mul(1 << b.profile.patience);
        b.profile.count = b.profile.count.saturating_add(1);
        // Asked again, ever more rarely, if nothing came of it.
        let n = b.profile.count;
        if b.profile.pending {
            // A tight loop must not wait behind everything that was merely warm before it.
            if n.is_power_of_two() {
                let anchor = (id, b.serial);
                if let Some(e) = &mut self.engine {
                    e.worker.hotter(anchor, n);
                }
            }
            return false;
        }
        if n >= threshold && (n == threshold || n.is_multiple_of(threshold.saturating_mul(16).max(1))) {
            self.request(id, None);
            return self.blocks.get(id).profile.native.is_some();
        }
        false
    }

    /// Asks for the region anchored at block `id`: a quick one, or with `hot` (its place in the queue) an optimised one.
    fn request(&mut self, id: Id, hot: Option<u32>) {
        if self.model < Model::I386 || self.state.mode & (mode::STEP | mode::CHECKED) != 0 {
            return;
        }
        let profile = &self.blocks.get(id).profile;
        if profile.pending || (profile.native.is_some() && hot.is_none()) {
            return;
        }
        let Some(config) = self.engine.as_ref().map(|e| e.config) else { return };
        let wide = hot.is_some() || !config.quick_first;
        // A slice ended in the middle of a block: nobody comes by here again unless by chance.
        if hot.is_none() && profile.count < config.threshold.saturating_mul(INSIDE) && self.inside_compiled(id) {
            return;
        }
        let Some(mut plan) = self.plan(id, wide) else { return };
        let lin = self.state.segs[1].base.wrapping_add(self.state.rip) & 0xffff_ffff;
        if let Some(plant) = config.plant {
            plan.blocks.iter_mut().flat_map(|b| &mut b.ops).for_each(plant);
        }
        plan.show = Some(config.show).filter(|s| s.wants(lin)).map(|s| (lin, s));
        let hot = hot.unwrap_or(self.blocks.get(id).profile.count);
        let Some(e) = &mut self.engine else { return };
        let effort = if config.optimise && wide { Effort::Speed } else { Effort::None };
        match e.worker.submit(hot, plan, effort) {
            worker::Submitted::Finished(finished) => self.install(*finished),
            worker::Submitted::Waiting(entries) => {
                for (id, _) in entries {
                    self.blocks.get_mut(id).profile.pending = true;
                }
            }
            worker::Submitted::Refused => {}
        }
    }

    /// Whether block `id` begins in the middle of one that has been compiled.
    fn inside_compiled(&self, id: Id) -> bool {
        let Some(key) = self.blocks.get(id).key else { return false };
        let room = (key.at & 0xfff).min(INSIDE_BYTES);
        (1..=room).any(|d| {
            let before = self.blocks.find(Key { at: key.at - d, ..key });
            before.is_some_and(|b| {
                let b = self.blocks.get(b);
                u64::from(b.len) > d && !b.profile.regions.is_empty()
            })
        })
    }

    fn install_finished(&mut self) {
        while let Some(finished) = self.engine.as_mut().and_then(|e| e.worker.take()) {
            self.install(finished);
        }
    }

    /// Publishes compiled code if every block it was made from is still there.
    fn install(&mut self, worker::Finished { plan, effort, code }: worker::Finished) {
        for (id, serial) in plan.entries() {
            if let Some(b) = self.blocks.alive(id, serial) {
                b.profile.pending = false;
            }
        }
        let alive = plan.ids.iter().all(|(id, serial)| self.blocks.alive(*id, *serial).is_some());
        let Some(e) = &mut self.engine else { return };
        let code = match code {
            Ok(code) if alive => code,
            Ok(_) => {
                e.stats.void += 1;
                return;
            }
            Err(why) => {
                e.stats.void += 1;
                log::warn!("a region was not compiled: {why}");
                return;
            }
        };
        e.stats.compile_ns += code.time.as_nanos() as u64;
        let piece = match e.cache.insert(&code.bytes) {
            Some(p) => p,
            None => {
                self.flush_regions();
                let Some(e) = &mut self.engine else { return };
                match e.cache.insert(&code.bytes) {
                    Some(p) => p,
                    None => return,
                }
            }
        };
        let Some(e) = &mut self.engine else { return };
        if e.config.perf_map {
            write_perf_map(e.cache.address(&piece), code.bytes.len(), &plan);
        }
        e.stats.regions += 1;
        e.stats.instructions += plan.instructions() as u64;
        e.stats.bytes += code.bytes.len() as u64;
        let region = Region {
            piece,
            kept: code.lowered.kept,
            entries: code.lowered.entries.clone(),
            pages: plan.pages.clone(),
            fixed: plan.fixed,
            blocks: plan.ids.clone(),
            effort,
            samples: 0,
        };
        let id = match e.free.pop() {
            Some(id) => {
                e.regions[id as usize] = Some(region);
                id
            }
            None => {
                e.regions.push(Some(region));
                (e.regions.len() - 1) as RegionId
            }
        };
        let better = effort == Effort::Speed;
        let mut replaced = Vec::new();
        for (n, (block, _)) in plan.ids.iter().enumerate() {
            let b = self.blocks.get_mut(*block);
            b.profile.regions.push(id);
            let entry = code.lowered.entries.iter().position(|e| e.delta == plan.blocks[n].delta);
            let quick = |id: RegionId| {
                let old = self.engine.as_ref().and_then(|e| e.regions.get(id as usize)?.as_ref());
                old.is_none_or(Region::is_quick)
            };
            // The anchor's own region replaces one that merely passes through it, and optimised code replaces quick code.
            if let Some(entry) = entry
                && (n == 0 || b.profile.native.is_none_or(|(old, _)| better && quick(old)))
                && let Some((old, _)) = b.profile.native.replace((id, entry as u32))
            {
                replaced.push(old);
            }
        }
        let Some(e) = &mut self.engine else { return };
        // Their places have to be looked up again.
        replaced.dedup();
        for old in replaced {
            e.jumps.forget(old);
        }
        // A loop that is in the quick region as a whole would never leave it for the optimised one.
        if better {
            let quick =
                |id: &RegionId| e.regions.get(*id as usize).is_some_and(|r| r.as_ref().is_some_and(Region::is_quick));
            let entered = plan.entries().map(|(block, _)| &self.blocks.get(block).profile.regions);
            let mut retired: Vec<RegionId> = entered.flatten().copied().filter(quick).collect();
            retired.sort_unstable();
            retired.dedup();
            self.blocks.dead.extend(retired);
            self.drop_dead_regions();
        }
    }

    /// The code cache is full: everything goes.
    fn flush_regions(&mut self) {
        let Some(e) = &mut self.engine else { return };
        e.stats.flushes += 1;
        let live: Vec<RegionId> =
            (0..e.regions.len() as RegionId).filter(|i| e.regions[*i as usize].is_some()).collect();
        self.blocks.dead.extend(live);
        self.drop_dead_regions();
        if let Some(e) = &mut self.engine
            && !e.running
        {
            e.bury();
        }
    }

    /// Compiled code missed at `lin` and the interpreter has done the access: the window may take the page in.
    fn learn_miss(&mut self, lin: u64) {
        let view = usize::from(self.user());
        let e = self.shadow.get(view, lin);
        if e & shadow::R != 0 {
            self.shadow.window_miss(view, lin, 1, e & shadow::W != 0);
        }
    }

    /// Remembers where an indirect transfer went.
    fn learn_target(&mut self, id: Id, serial: u64) {
        use crate::block::End;
        let lin = self.state.segs[1].base.wrapping_add(self.state.rip) & 0xffff_ffff;
        let start = self.last_start;
        if let Some(b) = self.blocks.alive(id, serial)
            && matches!(b.end, End::Indirect | End::IndirectCall)
            && b.profile.targets.len() < 8
        {
            let delta = lin.wrapping_sub(start) as i32;
            if !b.profile.targets.contains(&delta) {
                b.profile.targets.push(delta);
            }
        }
    }
}

/// Names a region for perf by the RAM offset of its anchor's page and its place there.
fn write_perf_map(address: usize, len: usize, plan: &Plan) {
    use std::io::Write;
    let path = format!("/tmp/perf-{}.map", std::process::id());
    let at = plan.pages.first().map_or(0, |p| p.at.wrapping_sub(i64::from(p.delta) as u64));
    let file = std::fs::File::options().create(true).append(true).open(path);
    // Names are a convenience: without them perf shows addresses.
    let _ = file.and_then(|mut f| writeln!(f, "{address:x} {len:x} region-{at:08x}-{}", plan.instructions()));
}
