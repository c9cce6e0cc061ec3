//! How blocks end: jumps and branches inside the region, and the ways out of it that are no accidents.

use super::{Lowerer, exits::Kind, flags::Fl};
use crate::block::End;
use crate::frame::exit;
use crate::ir::{Op, Width};
use crate::state::State;
use core::mem::offset_of;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{Block, InstBuilder, Value};
use cranelift_frontend::Switch;

impl Lowerer<'_, '_> {
    /// Where a static edge goes: a block of the region, or out.
    fn edge(&self, i: usize, rel: i32, wide: bool) -> Option<usize> {
        self.plan.target(i, rel, wide).and_then(|d| self.plan.at(d))
    }

    pub(super) fn terminate(&mut self, i: usize, op: &Op, flags_out: &mut [Option<Fl>]) {
        let stop = self.take_stop();
        match *op {
            Op::Jump { w, rel } => self.go(i, (rel, w == Width::D, false), stop),
            Op::Fall { rel } => self.go(i, (rel, true, true), stop),
            Op::Branch { cc, w, taken, fall } => {
                let c = self.cond(cc);
                flags_out[i] = Some(self.fl);
                self.branch(i, c, w == Width::D, taken, fall, stop);
            }
            Op::BranchIf { c, w, taken, fall } => {
                let c = self.raw(c);
                self.branch(i, c, w == Width::D, taken, fall, stop);
            }
            Op::JumpInd { a } => self.indirect(i, a, stop),
            Op::After { rel } => self.after(i, rel, stop),
            _ => self.leave_done(stop),
        }
    }

    /// What the code segment forbids, or a target that wraps, is the interpreter's.
    fn outside(&mut self, i: usize, to: (i32, bool, bool)) {
        match self.landing(i, to) {
            Some(delta) => self.leave(Ok(delta), exit::JUMP),
            None if self.plan.fixed.is_none() => {
                let delta = self.plan.blocks[i].delta.wrapping_add(to.0);
                let rip = self.rip(delta);
                let rip = self.b.ins().band_imm_u(rip, 0xffff);
                self.leave(Err(rip), exit::JUMP);
            }
            None => {
                let out = self.exit_before(Kind::Miss);
                self.b.ins().jump(out, &[]);
            }
        }
    }

    /// Where `rel` from block `i` leads, with an offset of 32 bits or 16, and without a jump or with one: running on
    /// over the segment's end is the next instruction's fault, and this one is not to be run again for it.
    fn landing(&self, i: usize, (rel, wide, runs_on): (i32, bool, bool)) -> Option<i32> {
        let on = runs_on.then(|| self.plan.blocks[i].delta.wrapping_add(rel));
        self.plan.target(i, rel, wide).or(on)
    }

    fn go(&mut self, i: usize, to: (i32, bool, bool), stop: Option<Value>) {
        self.stop_at(i, to, stop);
        match self.edge(i, to.0, to.1) {
            Some(to) => {
                self.flags_for(&[to]);
                self.commit();
                self.b.ins().jump(self.blocks[to], &[]);
            }
            None => self.outside(i, to),
        }
    }

    /// Behind an instruction that may have changed the mode: on in the region if it did not.
    fn after(&mut self, i: usize, rel: i32, stop: Option<Value>) {
        let to = (rel, true, true);
        self.stop_at(i, to, stop);
        if self.edge(i, rel, true).is_some() {
            let mode = self.state_load(I32, offset_of!(State, mode));
            let same = self.b.ins().icmp_imm_u(IntCC::Equal, mode, i64::from(self.plan.mode));
            let (other, on) = (self.b.create_block(), self.b.create_block());
            self.b.ins().brif(same, on, &[], other, &[]);
            self.enter(other);
            self.outside(i, to);
            self.enter(on);
        }
        self.go(i, to, None);
    }

    /// Leaves for where `to` leads if `stop` says so.
    fn stop_at(&mut self, i: usize, to: (i32, bool, bool), stop: Option<Value>) {
        let Some(stop) = stop else { return };
        let (out, on) = (self.cold_block(), self.b.create_block());
        self.b.ins().brif(stop, out, &[], on, &[]);
        self.enter(out);
        match self.landing(i, to) {
            Some(delta) => self.leave(Ok(delta), exit::STOP_AT),
            None => self.outside(i, to),
        }
        self.enter(on);
    }

    fn branch(&mut self, i: usize, c: Value, wide: bool, taken: i32, fall: i32, stop: Option<Value>) {
        let (to, next) = (self.edge(i, taken, wide), self.edge(i, fall, true));
        let (to, next) = if stop.is_some() { (None, None) } else { (to, next) };
        let inside: Vec<usize> = to.into_iter().chain(next).collect();
        self.flags_for(&inside);
        self.commit();
        let (a, b) = (self.arm(to), self.arm(next));
        self.b.ins().brif(c, a, &[], b, &[]);
        let (fl, dirty, cur) = (self.fl, self.dirty, self.cur);
        for (arm, block, there) in [(to, a, (taken, wide, false)), (next, b, (fall, true, true))] {
            if arm.is_none() {
                self.enter(block);
                (self.fl, self.dirty, self.cur) = (fl, dirty, cur);
                match (stop, self.landing(i, there)) {
                    (Some(stop), Some(delta)) => self.leave_or_stop(stop, delta),
                    _ => self.outside(i, there),
                }
            }
        }
    }

    /// Leaves for `delta`; the dispatcher looks at the pins first if `stop` says so.
    fn leave_or_stop(&mut self, stop: Value, delta: i32) {
        let (out, on) = (self.cold_block(), self.b.create_block());
        self.b.ins().brif(stop, out, &[], on, &[]);
        for (block, code) in [(out, exit::STOP_AT), (on, exit::JUMP)] {
            self.enter(block);
            self.leave(Ok(delta), code);
        }
    }

    fn arm(&mut self, to: Option<usize>) -> Block {
        match to {
            Some(i) => self.blocks[i],
            None => self.b.create_block(),
        }
    }

    /// Puts the flags into the state if one of the blocks that may come next wants them there.
    fn flags_for(&mut self, next: &[usize]) {
        let stored = |n: usize| self.order.inherits[n] != Some(self.block) && self.order.described[n].is_none();
        if next.iter().any(|n| self.order.flags_in[*n] && stored(*n)) {
            let fl = self.fl;
            self.spill_flags(fl);
        }
    }

    /// RET, JMP and CALL through a register or memory: known targets of this region stay in it.
    fn indirect(&mut self, i: usize, a: u8, stop: Option<Value>) {
        let to = self.g(a);
        if self.plan.blocks[i].end != End::Return {
            // Returns and calls have checked their target already.
            self.check_limit(to);
        }
        if let Some(stop) = stop {
            let (out, on) = (self.cold_block(), self.b.create_block());
            self.b.ins().brif(stop, out, &[], on, &[]);
            self.enter(out);
            self.leave(Err(to), exit::STOP_AT);
            self.enter(on);
        }
        let known = self.order.candidates[i].clone();
        self.flags_for(&known);
        if !known.is_empty() {
            self.commit();
            let other = self.b.create_block();
            if let [n] = known[..] {
                let there = self.rip(self.plan.blocks[n].delta);
                let hit = self.b.ins().icmp(IntCC::Equal, to, there);
                self.b.ins().brif(hit, self.blocks[n], &[], other, &[]);
            } else {
                self.one_of(known, to, other);
            }
            self.enter(other);
        }
        self.leave(Err(to), exit::JUMP);
    }

    /// Goes to that of the blocks `known` that begins at RIP `to`, or else to `other`.
    fn one_of(&mut self, known: Vec<usize>, to: Value, other: Block) {
        let base = self.rip(0);
        let rel = self.b.ins().isub(to, base);
        let rel = self.b.ins().ireduce(I32, rel);
        if known.len() <= 4 {
            for n in known {
                let next = self.b.create_block();
                let delta = self.plan.blocks[n].delta;
                let hit = self.b.ins().icmp_imm_u(IntCC::Equal, rel, i64::from(delta as u32));
                self.b.ins().brif(hit, self.blocks[n], &[], next, &[]);
                self.enter(next);
            }
            self.b.ins().jump(other, &[]);
        } else {
            let mut s = Switch::new();
            for n in known {
                s.set_entry(u128::from(self.plan.blocks[n].delta as u32), self.blocks[n]);
            }
            s.emit(&mut self.b, rel, other);
        }
    }
}
