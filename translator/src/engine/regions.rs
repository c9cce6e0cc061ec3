//! The life of a region: blocks become hot, are planned and compiled together, installed, optimised, and dropped.

use super::{Region, worker};
use crate::block::{Id, Key, RegionId};
use crate::cpu::Cpu;
use crate::lower::compile::Effort;
use crate::region::Plan;
use crate::state::mode;

/// Slices of the run loop that begin in a quick region before it is optimised. A slice is some tenths of a millisecond.
const HOT_SAMPLES: u32 = 2;

/// How many times the usual threshold a block needs that begins in the middle of a compiled one.
const INSIDE: u32 = 64;
/// Bytes before a block in which the start of such a one is looked for.
const INSIDE_BYTES: u64 = 256;

impl Cpu {
    /// Counts an entry of the interpreter into a block, and asks for its compilation when it is hot. True if it has been
    /// compiled at once.
    pub(super) fn count(&mut self, id: Id) -> bool {
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
        if self.state.mode & (mode::STEP | mode::CHECKED) != 0 {
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

    pub(super) fn install_finished(&mut self) {
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
                e.stats.refused += 1;
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

    /// A slice begins in region `id`: whatever is met so more than once takes time worth optimising for.
    #[cold]
    pub(super) fn sampled(&mut self, id: RegionId) {
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
