//! Loads and stores of the guest: the check against the checked window or the flat table, shared by neighbouring
//! accesses off the same registers.

use super::batch::Run;
use super::{Lowerer, Mmu, exits::Kind};
use crate::frame::Bounds;
use crate::ir::{Mem, Op, Width};
use crate::mmu::{shadow, window};
use crate::model::Model;
use crate::region::PlanBlock;
use crate::state::{SegReg, mode, slot};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value};
use std::collections::HashMap;

/// Accesses further apart than this are checked apart: one test of a permission byte covers no more.
const SPAN: i32 = window::GRANULE as i32;

/// Accesses of one block that share base and index: offsets from what these add up to at some point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    lo: i32,
    /// Behind the last byte.
    hi: i32,
    write_lo: i32,
    write_hi: i32,
}

/// Which group each operation of a block belongs to, with its offset.
#[derive(Debug, Default)]
pub(super) struct Groups {
    of: HashMap<usize, (usize, i32)>,
    all: Vec<Group>,
}

/// A check that holds: addresses `at + (offset - from)` for offsets in `from..to`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    group: usize,
    from: i32,
    to: i32,
    write: bool,
    at: Value,
}

/// Version of each general register as a base: a number and a constant distance from it.
struct Bases {
    version: [(u32, i32); 256],
    next: u32,
}

impl Bases {
    fn new() -> Self {
        let mut b = Bases { version: [(0, 0); 256], next: 0 };
        b.forget();
        b
    }
    fn fresh(&mut self, s: u8) {
        self.next += 1;
        self.version[s as usize] = (self.next, 0);
    }
    /// Nothing is known: after a call.
    fn forget(&mut self) {
        for s in 0..=255 {
            self.fresh(s);
        }
    }
    fn step(&mut self, op: &Op) {
        match *op {
            Op::Add { w: Width::D, dst, a, b, .. } if b.slot == slot::ZERO => {
                let (v, off) = self.version[a as usize];
                self.version[dst as usize] = (v, off.wrapping_add(b.imm));
            }
            Op::Sub { w: Width::D, dst, a, b, .. } if b.slot == slot::ZERO => {
                let (v, off) = self.version[a as usize];
                self.version[dst as usize] = (v, off.wrapping_sub(b.imm));
            }
            Op::Inc { w: Width::D, dst, a, .. } => {
                let (v, off) = self.version[a as usize];
                self.version[dst as usize] = (v, off.wrapping_add(1));
            }
            Op::Dec { w: Width::D, dst, a, .. } => {
                let (v, off) = self.version[a as usize];
                self.version[dst as usize] = (v, off.wrapping_sub(1));
            }
            Op::Lea { dst, mem } if mem.index == slot::ZERO && mem.asize == Width::D => {
                let (v, off) = self.version[mem.base as usize];
                self.version[dst as usize] = (v, off.wrapping_add(mem.disp));
            }
            Op::Mov { w: Width::D, dst, a } => self.version[dst as usize] = self.version[a as usize],
            _ => {
                if super::reloads(op) {
                    self.forget();
                } else {
                    super::for_each_write(op, |s| self.fresh(s));
                }
            }
        }
    }
}

/// Whether compiled code touches guest memory for `op`.
pub(super) fn touches(op: &Op) -> bool {
    matches!(
        op,
        Op::Load { .. }
            | Op::Store { .. }
            | Op::LoadRmw { .. }
            | Op::LoadSeg { .. }
            | Op::StoreSeg { .. }
            | Op::LoadRmwSeg { .. }
            | Op::ProbeSeg { .. }
            | Op::LoadV { .. }
            | Op::StoreV { .. }
    ) || super::string::element(op).is_some()
        || super::privileged::reloads_segment(op)
}

/// A memory operation's operand, its size, and whether it needs to write.
fn access(op: &Op) -> Option<(&Mem, u32, bool)> {
    match op {
        Op::Load { w, mem, .. } => Some((mem, u32::from(w.bytes()), false)),
        Op::Store { w, mem, .. } | Op::LoadRmw { w, mem, .. } => Some((mem, u32::from(w.bytes()), true)),
        _ => None,
    }
}

/// Groups the flat accesses of a block. `runs` are the accesses of instructions that are lowered as a batch: mark
/// number, operand, bytes, whether it is written; their own operations do not count.
pub(super) fn groups(block: &PlanBlock, runs: &[Run], model: Model, mode: u32) -> Groups {
    let mut bases = Bases::new();
    let mut found = Groups::default();
    // By the versions of base and index and the index's scale.
    let mut open: HashMap<(u32, u32, u8), Vec<usize>> = HashMap::new();
    let mut batched: HashMap<usize, Option<(Mem, u32, bool)>> = HashMap::new();
    for run in runs {
        for n in run.first..run.first + run.len() {
            batched.insert(n, None);
        }
        for (n, mem, bytes, write) in run.accesses(model, mode) {
            batched.insert(n, Some((mem, bytes, write)));
        }
    }
    let mut mark = 0;
    for (i, op) in block.ops.iter().enumerate() {
        let starts = block.marks.get(mark).is_some_and(|m| usize::from(m.op) == i);
        if starts {
            mark += 1;
        }
        let of_run = batched.get(&mark.wrapping_sub(1));
        let resumes = block.resume.contains(&(mark.wrapping_sub(1) as u16));
        let used = match of_run {
            Some(Some((mem, bytes, write))) if starts && flat_segment(mode, mem.seg, *write) => {
                Some((*mem, *bytes, *write))
            }
            Some(_) => None,
            None if resumes => None,
            None => access(op).map(|(m, n, w)| (*m, n, w)),
        };
        if let Some((mem, size, write)) = used
            && mem.asize == Width::D
        {
            let (base, off) = bases.version[mem.base as usize];
            let (index, steps) = bases.version[mem.index as usize];
            let lo = off.wrapping_add(steps << mem.scale).wrapping_add(mem.disp);
            let hi = lo.wrapping_add(size as i32);
            if hi < lo {
                bases.step(op);
                continue;
            }
            let near = open.entry((base, index, mem.scale)).or_default();
            let joined = near.iter().copied().find(|g| {
                let g = &found.all[*g];
                i64::from(g.hi.max(hi)) - i64::from(g.lo.min(lo)) <= i64::from(SPAN)
            });
            let g = joined.unwrap_or_else(|| {
                found.all.push(Group { lo, hi, write_lo: i32::MAX, write_hi: i32::MIN });
                near.push(found.all.len() - 1);
                found.all.len() - 1
            });
            let group = &mut found.all[g];
            (group.lo, group.hi) = (group.lo.min(lo), group.hi.max(hi));
            if write {
                (group.write_lo, group.write_hi) = (group.write_lo.min(lo), group.write_hi.max(hi));
            }
            found.of.insert(i, (g, lo));
        }
        match of_run {
            // A batch leaves the bases of later accesses alone but for the registers it writes.
            Some(_) => super::for_each_write(op, |s| bases.fresh(s)),
            None => bases.step(op),
        }
    }
    found
}

/// Accesses through `seg` need no check of the segment.
pub(super) fn flat_segment(bits: u32, seg: SegReg, write: bool) -> bool {
    bits & mode::FLAT << seg as u32 != 0 && !(write && seg == SegReg::Cs)
}

impl Lowerer<'_, '_> {
    /// The offset of a memory operand, zero-extended.
    pub(super) fn offset(&mut self, m: &Mem) -> Value {
        let mut sum = None;
        if m.base != slot::ZERO {
            sum = Some(self.gw(m.base, Width::D));
        }
        if m.index != slot::ZERO {
            let v = self.gw(m.index, Width::D);
            let v = if m.scale == 0 { v } else { self.b.ins().ishl_imm_u(v, i64::from(m.scale)) };
            sum = Some(match sum {
                Some(s) => self.b.ins().iadd(s, v),
                None => v,
            });
        }
        let v = match sum {
            Some(s) if m.disp == 0 => s,
            Some(s) => self.b.ins().iadd_imm_s(s, i64::from(m.disp)),
            None => self.b.ins().iconst(I32, i64::from(m.disp as u32)),
        };
        let v = if m.asize == Width::W { self.b.ins().band_imm_u(v, 0xffff) } else { v };
        self.zext(v)
    }

    /// The permission byte for what begins at linear `addr` (a 64-bit value below 2^32).
    pub(super) fn permission(&mut self, addr: Value) -> Value {
        let granule = self.b.ins().ushr_imm_u(addr, i64::from(window::GRANULE_BITS));
        let at = self.b.ins().iadd(self.window, granule);
        self.b.ins().load(I8, super::trusted(), at, -(window::PERM_BELOW as i32))
    }

    /// Leaves for the interpreter unless `span` bytes at linear `addr` (a 64-bit value below 2^32) are plain memory with
    /// the rights asked for. Returns their host address.
    fn check(&mut self, addr: Value, span: u32, write: bool) -> Value {
        let miss = self.exit_with_address(Kind::Miss);
        let args = [BlockArg::Value(addr)];
        let fits = |s: &mut Self| {
            let at = s.b.ins().band_imm_u(addr, 0xfff);
            s.b.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, at, i64::from(4096 - span))
        };
        let go = self.b.create_block();
        match self.mmu {
            Mmu::Window => {
                let p = self.permission(addr);
                let (one, two) = if write { (window::WRITE, window::WRITE2) } else { (window::READ, window::READ2) };
                let (one, two) = (i64::from(one), i64::from(two));
                if span == 1 {
                    let t = self.b.ins().band_imm_u(p, one);
                    self.b.ins().brif(t, go, &[], miss, &args);
                } else {
                    let (last, near) = (self.cold_block(), self.cold_block());
                    let t = self.b.ins().band_imm_u(p, two);
                    self.b.ins().brif(t, go, &[], last, &[]);
                    self.enter(last);
                    let t = self.b.ins().band_imm_u(p, one);
                    self.b.ins().brif(t, near, &[], miss, &args);
                    self.enter(near);
                    let inside = fits(self);
                    self.b.ins().brif(inside, go, &[], miss, &args);
                }
                self.enter(go);
                self.b.ins().iadd(self.window, addr)
            }
            Mmu::Table => {
                let page = self.b.ins().ushr_imm_u(addr, 12);
                let at = self.b.ins().ishl_imm_u(page, 3);
                let at = self.b.ins().iadd(self.table, at);
                let e = self.b.ins().load(I64, super::trusted(), at, 0);
                let need = (if write { shadow::W } else { shadow::R }) as i64;
                let t = self.b.ins().band_imm_u(e, need | shadow::IO as i64);
                let mut t = self.b.ins().icmp_imm_u(IntCC::Equal, t, need);
                if span > 1 {
                    let inside = fits(self);
                    t = self.b.ins().band(t, inside);
                }
                self.b.ins().brif(t, go, &[], miss, &args);
                self.enter(go);
                let frame = self.b.ins().band_imm_s(e, -4096);
                let frame = self.b.ins().iadd(self.ram, frame);
                let at = self.b.ins().band_imm_u(addr, 0xfff);
                self.b.ins().iadd(frame, at)
            }
        }
    }

    /// Host address and displacement of a flat access by operation `i`.
    fn flat(&mut self, i: usize, mem: &Mem, size: u32, write: bool) -> (Value, i32) {
        let addr = |s: &mut Self| s.offset(mem);
        let Some(&(g, lo)) = self.groups.of.get(&i) else {
            if let Some((_, at)) = self.rmw.filter(|(m, _)| write && m == mem) {
                return (at, 0);
            }
            let a = addr(self);
            let at = self.check(a, size, write);
            if write {
                self.rmw = Some((*mem, at));
            }
            return (at, 0);
        };
        let hi = lo + size as i32;
        let known = self.checked.iter().find(|c| c.group == g && c.from <= lo && hi <= c.to && (c.write || !write));
        if let Some(c) = known {
            return (c.at, lo - c.from);
        }
        let group = self.groups.all[g];
        // The first access looks at all that are to come; a first write behind reads looks at the writes.
        let seen = self.checked.iter().any(|c| c.group == g);
        let (from, to) = match (write, seen) {
            (true, true) => (group.write_lo, group.write_hi),
            _ => (group.lo, group.hi),
        };
        let a = addr(self);
        let a = if from == lo {
            a
        } else {
            let a = self.b.ins().ireduce(I32, a);
            let a = self.b.ins().iadd_imm_s(a, i64::from(from) - i64::from(lo));
            self.b.ins().uextend(I64, a)
        };
        let at = self.check(a, (to - from) as u32, write);
        self.checked.push(Checked { group: g, from, to, write, at });
        (at, lo - from)
    }

    /// Host address and displacement of a memory operand of instruction `n`, which is in a run.
    pub(super) fn run_operand(&mut self, n: usize, mem: &Mem, size: u32, write: bool, aligned: bool) -> (Value, i32) {
        let i = usize::from(self.plan.blocks[self.block].marks[n].op);
        if !flat_segment(self.plan.mode, mem.seg, write) {
            return (self.segmented(mem, size, write, aligned), 0);
        }
        if aligned {
            let addr = self.offset(mem);
            let low = self.b.ins().band_imm_u(addr, i64::from(size - 1));
            let ok = self.b.ins().icmp_imm_u(IntCC::Equal, low, 0);
            self.leave_unless(ok);
        }
        self.rmw = None;
        self.flat(i, mem, size, write)
    }

    /// Host address of an access through a segment.
    pub(super) fn segmented(&mut self, mem: &Mem, size: u32, write: bool, aligned: bool) -> Value {
        let off = self.offset(mem);
        let addr = if flat_segment(self.plan.mode, mem.seg, write) {
            off
        } else {
            let at = super::bounds_offset(mem.seg);
            let end = at
                + if write {
                    core::mem::offset_of!(Bounds, write_end)
                } else {
                    core::mem::offset_of!(Bounds, read_end)
                };
            let end = self.frame_load(I64, end);
            let last = self.b.ins().iadd_imm_u(off, i64::from(size));
            let inside = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, last, end);
            self.leave_unless(inside);
            let base = self.frame_load(I64, at + core::mem::offset_of!(Bounds, base));
            let a = self.b.ins().iadd(base, off);
            let a = self.b.ins().ireduce(I32, a);
            self.b.ins().uextend(I64, a)
        };
        if aligned {
            let low = self.b.ins().band_imm_u(addr, i64::from(size - 1));
            let ok = self.b.ins().icmp_imm_u(IntCC::Equal, low, 0);
            self.leave_unless(ok);
        }
        self.check(addr, size, write)
    }

    pub(super) fn read_at(&mut self, w: Width, at: Value, disp: i32) -> Value {
        let f = super::guest();
        let v = match w {
            Width::B => self.b.ins().uload8(I64, f, at, disp),
            Width::W => self.b.ins().uload16(I64, f, at, disp),
            Width::D => self.b.ins().uload32(f, at, disp),
            Width::Q => return self.b.ins().load(I64, f, at, disp),
        };
        self.low_half(v)
    }

    pub(super) fn write_at(&mut self, w: Width, v: Value, at: Value, disp: i32) {
        let v = self.narrow(w, v);
        self.b.ins().store(super::guest(), v, at, disp);
    }

    /// Lowers operation `i` if it is an access to memory. False if it is something else.
    pub(super) fn memory_op(&mut self, i: usize, op: &Op) -> bool {
        match *op {
            Op::Load { w, dst, ref mem } => {
                let (at, d) = self.flat(i, mem, u32::from(w.bytes()), false);
                let v = self.read_at(w, at, d);
                self.p(dst, v);
            }
            Op::LoadRmw { w, dst, ref mem } => {
                let (at, d) = self.flat(i, mem, u32::from(w.bytes()), true);
                let v = self.read_at(w, at, d);
                self.p(dst, v);
            }
            Op::Store { w, a, ref mem } => {
                let (at, d) = self.flat(i, mem, u32::from(w.bytes()), true);
                let v = self.raw(a);
                self.write_at(w, v, at, d);
            }
            Op::LoadSeg { w, dst, ref mem } => {
                let at = self.segmented(mem, u32::from(w.bytes()), false, false);
                let v = self.read_at(w, at, 0);
                self.p(dst, v);
            }
            Op::LoadRmwSeg { w, dst, ref mem } => {
                let at = self.segmented(mem, u32::from(w.bytes()), true, false);
                let v = self.read_at(w, at, 0);
                self.p(dst, v);
                self.rmw = Some((*mem, at));
            }
            Op::StoreSeg { w, a, ref mem } => {
                let at = match self.rmw.filter(|(m, _)| m == mem) {
                    Some((_, at)) => at,
                    None => self.segmented(mem, u32::from(w.bytes()), true, false),
                };
                let v = self.raw(a);
                self.write_at(w, v, at, 0);
            }
            Op::ProbeSeg { w, ref mem } => {
                self.segmented(mem, u32::from(w.bytes()), true, false);
            }
            Op::LoadV { dst, ref mem, aligned } => {
                let at = self.segmented(mem, 16, false, aligned);
                for half in [0, 8] {
                    let v = self.read_at(Width::Q, at, half);
                    self.state_store(v, super::vector_offset(dst) + half as usize);
                }
            }
            Op::StoreV { a, ref mem, aligned } => {
                let at = self.segmented(mem, 16, true, aligned);
                for half in [0, 8] {
                    let v = self.state_load(I64, super::vector_offset(a) + half as usize);
                    self.write_at(Width::Q, v, at, half);
                }
            }
            _ => return false,
        }
        true
    }
}
