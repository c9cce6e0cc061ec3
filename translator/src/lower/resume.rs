//! Loads and stores that often miss: the host makes them, and the region goes on behind them. A store to a page with
//! code, beside the code, is made here. Only instructions that were seen to miss are lowered like this, since it is
//! several times the code of a check that leaves.

use super::exits::Kind;
use super::{Lowerer, Mmu, memory};
use crate::block::Mark;
use crate::frame::{Bounds, Frame, access, exit};
use crate::ir::{Mem, Op, Width};
use crate::mmu::memory::CHUNK;
use crate::mmu::{shadow, window};
use crate::state::slot;
use core::mem::offset_of;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Value};

const _: () = assert!(CHUNK == 8);

/// The operand of an access that can be made by the host.
fn operand(op: &Op) -> Option<Mem> {
    if let Some(s) = super::string::element(op) {
        return Some(super::string::operand(&s));
    }
    match *op {
        Op::Load { mem, .. }
        | Op::Store { mem, .. }
        | Op::LoadRmw { mem, .. }
        | Op::LoadSeg { mem, .. }
        | Op::StoreSeg { mem, .. }
        | Op::LoadRmwSeg { mem, .. }
        | Op::ProbeSeg { mem, .. } => Some(mem),
        _ => None,
    }
}

/// The operations of instruction `n`.
fn of<'a>(ops: &'a [Op], marks: &[Mark], n: usize) -> &'a [Op] {
    let at = |n: usize| marks.get(n).map_or(ops.len(), |m| usize::from(m.op).min(ops.len()));
    ops.get(at(n)..at(n + 1)).unwrap_or_default()
}

/// Instruction `n` of a block often misses: the instructions to be lowered so that the region goes on, which are those
/// that reach for memory in the same way. Empty if it cannot be.
pub fn sites(ops: &[Op], marks: &[Mark], n: usize) -> Vec<u16> {
    let able = |n: usize| {
        let ops = of(ops, marks, n);
        !ops.iter().any(|op| matches!(op, Op::LoadV { .. } | Op::StoreV { .. }))
            && ops.iter().any(|op| operand(op).is_some())
    };
    if !able(n) {
        return Vec::new();
    }
    let wanted: Vec<Mem> = of(ops, marks, n).iter().filter_map(operand).collect();
    let alike = |m: &Mem| {
        let near = |w: &Mem| w.base != slot::ZERO || w.index != slot::ZERO || (w.disp ^ m.disp) as u32 >> 12 == 0;
        wanted.iter().any(|w| (w.base, w.index, w.seg) == (m.base, m.index, m.seg) && near(w))
    };
    (0..marks.len())
        .filter(|i| *i == n || (able(*i) && of(ops, marks, *i).iter().filter_map(operand).any(|m| alike(&m))))
        .map(|i| i as u16)
        .collect()
}

/// True if nothing in `ops`, which end an instruction, leaves for the interpreter to run the instruction again.
fn goes_through(ops: &[Op]) -> bool {
    ops.iter().all(|op| {
        let leaves = matches!(op, Op::CheckTarget { .. } | Op::Undefined | Op::NotAvailable | Op::Div { .. });
        !leaves && (!op.is_terminator() || matches!(op, Op::Fall { .. } | Op::After { .. } | Op::Exit))
    })
}

impl Lowerer<'_, '_> {
    /// True if what follows operation `i` in its instruction never leaves for the interpreter.
    fn is_final(&self, i: usize) -> bool {
        let block = &self.plan.blocks[self.block];
        let end = block.marks.iter().map(|m| usize::from(m.op)).find(|op| *op > i).unwrap_or(block.ops.len());
        goes_through(&block.ops[i + 1..end])
    }

    /// Lowers operation `i` of an instruction that often misses. False if it is not an access to memory.
    pub(super) fn resuming_op(&mut self, i: usize, op: &Op) -> bool {
        let last = self.is_final(i);
        match *op {
            Op::Load { w, dst, ref mem } | Op::LoadSeg { w, dst, ref mem } => {
                let v = self.made(access::LOAD, w, mem, None, last);
                self.p(dst, v);
            }
            Op::LoadRmw { w, dst, ref mem } | Op::LoadRmwSeg { w, dst, ref mem } => {
                let v = self.made(access::LOAD_RMW, w, mem, None, last);
                self.p(dst, v);
            }
            Op::Store { w, a, ref mem } | Op::StoreSeg { w, a, ref mem } => {
                let v = self.raw(a);
                self.made(access::STORE, w, mem, Some(v), last);
            }
            Op::ProbeSeg { w, ref mem } => {
                self.made(access::PROBE, w, mem, None, last);
            }
            _ => return false,
        }
        true
    }

    /// Makes one access, here or through the host. Returns what a load reads.
    pub(super) fn made(&mut self, what: u32, w: Width, mem: &Mem, value: Option<Value>, last: bool) -> Value {
        let (write, size) = (what != access::LOAD, u32::from(w.bytes()));
        let flat = memory::flat_segment(self.plan.mode, mem.seg, write);
        // What the cold code needs is made before the ways part.
        let off = self.offset(mem);
        let value = value.map(|v| self.fit(super::ty(w), v));
        let left = (!self.in_memory).then(|| self.left_after(0));
        let fault = self.exit_before(Kind::Fault);
        let again = (!last).then(|| self.exit_before(Kind::Miss));
        let ty = if w == Width::Q { I64 } else { I32 };
        let (slow, done) = (self.cold_block(), self.b.create_block());
        self.b.append_block_param(done, I8);
        self.b.append_block_param(done, ty);
        let nothing = self.b.ins().iconst(ty, 0);

        let addr = if flat { off } else { self.segment_address(mem, off, size, write, slow) };
        let beside = if write { self.cold_block() } else { slow };
        let at = self.permitted(addr, size, write, beside);
        self.finish(what, w, at, value, nothing, done);
        if write {
            self.enter(beside);
            let at = self.beside_code(addr, size, what == access::STORE, slow);
            self.finish(what, w, at, value, nothing, done);
        }

        self.enter(slow);
        let now = match left {
            Some(left) => self.b.ins().iadd_imm_s(left, -self.snap.done),
            None => self.left_after(self.snap.done),
        };
        self.frame_store(now, offset_of!(Frame, left));
        let info = access::pack(what, w, (!flat).then_some(mem.seg), last);
        let info = self.b.ins().iconst(I64, i64::from(info));
        let v = match value {
            Some(v) => self.zext(v),
            None => self.b.ins().iconst(I64, 0),
        };
        let st = self.st;
        let status = self.call_host(self.host.access, &[st, off, v, info]);
        if self.in_memory && self.counted != self.snap.done {
            // The count goes on from where the block's other ways think it is.
            let left = self.frame_load(I64, offset_of!(Frame, left));
            let left = self.b.ins().iadd_imm_s(left, self.snap.done - self.counted);
            self.frame_store(left, offset_of!(Frame, left));
        }
        for (out, code) in [(Some(fault), exit::FAULT), (again, exit::MISS)] {
            let Some(out) = out else { continue };
            let on = self.cold_block();
            let is = self.b.ins().icmp_imm_u(IntCC::Equal, status, i64::from(code));
            self.b.ins().brif(is, out, &[], on, &[]);
            self.enter(on);
        }
        let stop = self.b.ins().icmp_imm_u(IntCC::Equal, status, i64::from(exit::STOP));
        let v = self.frame_load(I64, offset_of!(Frame, loaded));
        let v = self.fit(ty, v);
        self.b.ins().jump(done, &[BlockArg::Value(stop), BlockArg::Value(v)]);

        self.enter(done);
        let (stop, v) = (self.b.block_params(done)[0], self.b.block_params(done)[1]);
        self.stop = Some(match self.stop {
            Some(other) => self.b.ins().bor(other, stop),
            None => stop,
        });
        // The host may have changed what is mapped where.
        self.checked.clear();
        self.rmw = None;
        v
    }

    /// The access itself at a host address, and on.
    fn finish(&mut self, what: u32, w: Width, at: Value, value: Option<Value>, nothing: Value, done: Block) {
        let v = match value {
            Some(v) => {
                self.b.ins().store(super::guest(), v, at, 0);
                nothing
            }
            None if what == access::PROBE => nothing,
            None => self.read_at(w, at, 0),
        };
        let go_on = self.b.ins().iconst(I8, 0);
        self.b.ins().jump(done, &[BlockArg::Value(go_on), BlockArg::Value(v)]);
    }

    /// Linear address of an access through a segment; `slow` unless the segment plainly allows it.
    fn segment_address(&mut self, mem: &Mem, off: Value, size: u32, write: bool, slow: Block) -> Value {
        let at = super::bounds_offset(mem.seg);
        let end = if write { offset_of!(Bounds, write_end) } else { offset_of!(Bounds, read_end) };
        let end = self.frame_load(I64, at + end);
        let last = self.b.ins().iadd_imm_u(off, i64::from(size));
        let inside = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, last, end);
        let on = self.b.create_block();
        self.b.ins().brif(inside, on, &[], slow, &[]);
        self.enter(on);
        let base = self.frame_load(I64, at + offset_of!(Bounds, base));
        let a = self.b.ins().iadd(base, off);
        let a = self.b.ins().ireduce(I32, a);
        self.b.ins().uextend(I64, a)
    }

    /// Host address of an access that the window or the table permits; otherwise on to `other`.
    pub(super) fn permitted(&mut self, addr: Value, size: u32, write: bool, other: Block) -> Value {
        if self.mmu == Mmu::Table {
            let need = if write { shadow::W } else { shadow::R };
            return self.through_table(addr, size, need | shadow::IO, need, other).0;
        }
        let p = self.permission(addr);
        let bit = if write { window::WRITE } else { window::READ };
        let t = self.b.ins().band_imm_u(p, i64::from(bit));
        let on = self.b.create_block();
        self.b.ins().brif(t, on, &[], other, &[]);
        self.enter(on);
        self.inside_page(addr, size, other);
        self.b.ins().iadd(self.window, addr)
    }

    /// On to `other` if `size` bytes at `addr` cross into the next page.
    fn inside_page(&mut self, addr: Value, size: u32, other: Block) {
        if size > 1 {
            let at = self.b.ins().band_imm_u(addr, 0xfff);
            let fits = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, at, i64::from(4096 - size));
            let on = self.b.create_block();
            self.b.ins().brif(fits, on, &[], other, &[]);
            self.enter(on);
        }
    }

    /// Host address and RAM offset of an access whose entry in the table has exactly `need` of the bits `of`.
    fn through_table(&mut self, addr: Value, size: u32, of: u64, need: u64, other: Block) -> (Value, Value) {
        let page = self.b.ins().ushr_imm_u(addr, 12);
        let at = self.b.ins().ishl_imm_u(page, 3);
        let table = self.frame_load(I64, offset_of!(Frame, table));
        let at = self.b.ins().iadd(table, at);
        let e = self.b.ins().load(I64, super::trusted(), at, 0);
        let t = self.b.ins().band_imm_u(e, of as i64);
        let t = self.b.ins().icmp_imm_u(IntCC::Equal, t, need as i64);
        let on = self.b.create_block();
        self.b.ins().brif(t, on, &[], other, &[]);
        self.enter(on);
        self.inside_page(addr, size, other);
        let frame = self.b.ins().band_imm_s(e, -4096);
        let place = self.b.ins().band_imm_u(addr, 0xfff);
        let phys = self.b.ins().bor(frame, place);
        let ram = self.frame_load(I64, offset_of!(Frame, ram));
        (self.b.ins().iadd(ram, phys), phys)
    }

    /// Host address of a write that is refused only because the page holds code; `slow` for any other reason, and with
    /// `look` if the bytes themselves may be code.
    fn beside_code(&mut self, addr: Value, size: u32, look: bool, slow: Block) -> Value {
        let bits = shadow::GUEST_W | shadow::W | shadow::IO;
        let (at, phys) = self.through_table(addr, size, bits, shadow::GUEST_W, slow);
        if look {
            let chunk = self.b.ins().ushr_imm_u(phys, 3);
            let byte = self.b.ins().ushr_imm_u(phys, 6);
            let chunks = self.frame_load(I64, offset_of!(Frame, chunks));
            let byte = self.b.ins().iadd(chunks, byte);
            let code = self.b.ins().uload16(I32, super::guest(), byte, 0);
            let chunk = self.b.ins().band_imm_u(chunk, 7);
            let code = self.b.ins().ushr(code, chunk);
            let mask = if size == 1 {
                self.b.ins().iconst(I32, 1)
            } else {
                // Two chunks if the last byte lies in the next one.
                let place = self.b.ins().band_imm_u(phys, 7);
                let second = self.b.ins().iadd_imm_s(place, i64::from(size) - 1);
                let second = self.b.ins().ushr_imm_u(second, 3);
                let second = self.b.ins().ireduce(I32, second);
                let second = self.b.ins().ishl_imm_u(second, 1);
                self.b.ins().bor_imm_u(second, 1)
            };
            let t = self.b.ins().band(code, mask);
            let on = self.b.create_block();
            self.b.ins().brif(t, slow, &[], on, &[]);
            self.enter(on);
        }
        at
    }
}
