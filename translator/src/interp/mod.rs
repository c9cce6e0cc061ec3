//! Tier 0: the interpreter. It looks blocks up, runs their operations one after the other, and is the oracle that
//! compiled code is compared with.

mod exec;
mod values;

use crate::activity::Doing;
use crate::block::{Id, Key, Mark};
use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::ir::Op;
use crate::mmu::shadow;
use crate::mmu::walk::Access;
use crate::model::Model;
use crate::state::slot;

impl Cpu {
    /// Runs blocks until something needs the run loop: a pin, a halt, a shadow, single-stepping, the end of the budget.
    pub(crate) fn run_blocks(&mut self, bus: &mut dyn Bus, end: u64) -> Res<()> {
        loop {
            let id = self.lookup(bus)?;
            let special = self.run_block(bus, id, end - self.retired)?;
            if special || self.retired >= end || self.pins.get() & self.watched() != 0 {
                return Ok(());
            }
        }
    }

    /// Runs one instruction.
    pub(crate) fn run_one(&mut self, bus: &mut dyn Bus) -> Res<()> {
        let id = self.lookup(bus)?;
        self.run_block(bus, id, 1).map(|_| ())
    }

    /// The block at CS:RIP, decoded and lifted if need be. Faults are those of the fetch.
    #[inline]
    pub(crate) fn lookup(&mut self, bus: &mut dyn Bus) -> Res<Id> {
        let lin = self.state.segs[1].base.wrapping_add(self.state.rip) & 0xffff_ffff;
        let mode = self.state.mode;
        if let Some(id) = self.blocks.hint(lin, mode, [self.shadow.generation, self.shadow.global_generation]) {
            let last = self.state.rip + u64::from(self.blocks.get(id).len) - 1;
            if last <= u64::from(self.state.segs[1].limit) {
                return Ok(id);
            }
        }
        let before = self.activity.enter(Doing::Dispatch);
        let found = self.lookup_slow(bus, lin, mode);
        self.activity.leave(before);
        found
    }

    #[cold]
    #[inline(never)]
    fn lookup_slow(&mut self, bus: &mut dyn Bus, lin: u64, mode: u32) -> Res<Id> {
        let limit = u64::from(self.state.segs[1].limit);
        if self.state.rip > limit {
            return Err(Fault::gp(0));
        }
        let user = self.user();
        let entry = self.translate(lin, Access::Fetch, user)?;
        if entry & shadow::IO != 0 {
            return self.lift_uncached(bus, lin);
        }
        let key = Key { at: (entry & !0xfff) | (lin & 0xfff), mode };
        if let Some(id) = self.blocks.find(key) {
            let (len, tail) = (self.blocks.get(id).len, self.blocks.get(id).tail);
            let fits = self.state.rip + u64::from(len) - 1 <= limit;
            let mut global = entry & shadow::G;
            let same_tail = match tail {
                None => true,
                Some(page) => {
                    let next = (lin & !0xfff).wrapping_add(4096) & 0xffff_ffff;
                    let e = self.translate(next, Access::Fetch, user)?;
                    global &= e;
                    e & shadow::IO == 0 && e & !0xfff == page
                }
            };
            if fits && same_tail {
                let generation = if global != 0 { self.shadow.global_generation } else { self.shadow.generation };
                self.blocks.set_hint(lin, mode, generation, id);
                return Ok(id);
            }
            if !fits {
                return self.lift_uncached(bus, lin);
            }
            // The page behind the last instruction is another one now.
            self.code_written(key.at, 1);
        }
        let before = self.activity.enter(Doing::Translate);
        let lifted = self.lift_block(bus, lin, key.at, limit);
        self.activity.leave(before);
        let mut block = lifted?;
        block.profile.patience = self.patience(key.at, block.len);
        let beyond = self.state.rip + u64::from(block.len) - 1 > limit;
        if self.model == Model::I8086 && (beyond || self.state.rip + 15 > 0xffff) {
            return Ok(self.blocks.insert_private(block));
        }
        if beyond {
            // The first instruction runs over the segment's end: fetched byte by byte it faults where it has to.
            return self.lift_uncached(bus, lin);
        }
        self.stats.blocks_lifted += 1;
        let pages: Vec<u64> = std::iter::once(key.at & !0xfff).chain(block.tail).collect();
        for page in pages {
            if !self.mem.is_code(page) {
                self.shadow.protect(page);
            }
        }
        let mem = self.mem.clone();
        let id = self.blocks.insert(key, block, &mem);
        self.drop_dead_regions();
        self.blocks.set_hint(lin, mode, self.shadow.generation, id);
        Ok(id)
    }

    /// Lifts the one instruction at RIP into a block that is used once: code in device memory or at a segment's limit.
    fn lift_uncached(&mut self, bus: &mut dyn Bus, lin: u64) -> Res<Id> {
        let block = self.lift_single(bus, lin)?;
        Ok(self.blocks.insert_private(block))
    }

    /// Runs at most `budget` instructions of a block. True if the run loop has to look at the state.
    #[inline]
    pub(crate) fn run_block(&mut self, bus: &mut dyn Bus, id: Id, budget: u64) -> Res<bool> {
        let count = self.blocks.get(id).marks.len() as u64;
        let cut = if count > budget { self.cut_block(bus, id, budget) } else { None };
        let block = self.blocks.get_mut(id);
        let (ops, serial) = (std::mem::take(&mut block.ops), block.serial);
        self.blocks.running = Some(id);
        let (start, end) = (self.state.rip, self.retired + budget);
        self.last_start = self.state.segs[1].base.wrapping_add(start) & 0xffff_ffff;
        let mut result = self.exec(bus, cut.as_deref().unwrap_or(&ops), id, budget);
        // A block that branches to its own start goes round without a new look-up.
        while matches!(result, Ok(false)) && self.state.rip == start && self.retired + count <= end {
            if self.pins.get() & self.watched() != 0 || self.engine.is_some() {
                break;
            }
            result = self.exec(bus, &ops, id, end - self.retired);
        }
        self.blocks.running = None;
        if let Some(b) = self.blocks.alive(id, serial) {
            b.ops = ops;
        }
        result
    }

    /// The first `budget` instructions of block `id`, lifted as if the block ended there: in the block itself, flags
    /// that later instructions overwrite are not computed, and the end of the budget would show that.
    #[cold]
    #[inline(never)]
    fn cut_block(&mut self, bus: &mut dyn Bus, id: Id, budget: u64) -> Option<Vec<Op>> {
        let key = self.blocks.get(id).key?;
        let (lin, limit) =
            (self.state.segs[1].base.wrapping_add(self.state.rip) & 0xffff_ffff, self.state.segs[1].limit);
        let before = std::mem::replace(&mut self.block_limit, budget as usize);
        let block = self.lift_block(bus, lin, key.at, u64::from(limit));
        self.block_limit = before;
        // The operations have the places that they have in the block, so its marks serve.
        block.ok().filter(|b| b.marks.len() as u64 == budget).map(|b| b.ops)
    }

    fn mark(&self, id: Id, n: usize) -> Option<Mark> {
        self.blocks.get(id).marks.get(n).copied()
    }

    /// Number of instructions of block `id` that begin at or before operation `op`.
    fn begun(&self, id: Id, op: usize) -> usize {
        self.blocks.get(id).marks.partition_point(|m| usize::from(m.op) <= op)
    }

    /// Leaves the block at operation `op` before its instruction: RIP and the count are those of its start.
    #[cold]
    #[inline(never)]
    fn leave_before(&mut self, id: Id, op: usize) {
        let n = self.begun(id, op).saturating_sub(1);
        let offset = self.mark(id, n).map_or(0, |m| m.offset);
        self.retired += n as u64;
        self.state.rip = self.wrap_ip(self.state.rip.wrapping_add(u64::from(offset)));
    }

    fn wrap_ip(&self, ip: u64) -> u64 {
        // An 8086 wraps at 64 KiB; everything later runs into the segment limit instead.
        if self.model == Model::I8086 { ip & 0xffff } else { ip & 0xffff_ffff }
    }

    /// Commits a near transfer, checked against the code segment's limit: the fault belongs to the branch itself.
    #[inline(always)]
    fn go(&mut self, ip: u64) -> Res<()> {
        if ip > u64::from(self.state.segs[1].limit) {
            return Err(Fault::gp(0));
        }
        self.state.rip = ip;
        Ok(())
    }
}

const _: () = assert!(slot::TEMP > slot::ZERO && size_of::<Op>() <= 16);
