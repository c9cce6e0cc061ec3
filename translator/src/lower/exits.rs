//! Ways out of a region. The cold ones are emitted behind the hot code: each stores the registers that have changed,
//! the flags, the place and the instruction count, and returns.

use super::{Lowerer, flags::Fl};
use crate::frame::{Frame, exit};
use crate::state::State;
use core::mem::offset_of;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Block, InstBuilder, Value};

/// Why a region is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Miss = exit::MISS as isize,
    Fault = exit::FAULT as isize,
    Budget = exit::BUDGET as isize,
    Stop = exit::STOP as isize,
}

/// Registers and flags at an instruction's start.
#[derive(Clone, Copy)]
pub(super) struct Snapshot {
    pub regs: [Option<Value>; 8],
    pub dirty: u8,
    pub fl: Fl,
    /// Instructions of the block before this one.
    pub done: i64,
    /// Delta of the instruction.
    pub delta: i32,
}

/// An exit to be emitted behind the code.
pub(super) struct Exit {
    block: Block,
    /// The first parameter of `block` is the address that missed.
    address: bool,
    kind: Kind,
    values: [Option<Value>; 8],
    fl: Fl,
    left: Value,
    done: i64,
    delta: i32,
}

impl Lowerer<'_, '_> {
    /// Registers as they were at the start of the instruction, only those that have to be stored.
    fn dirty_values(&mut self, s: &Snapshot) -> [Option<Value>; 8] {
        let mut values = [None; 8];
        for (r, v) in values.iter_mut().enumerate() {
            if s.dirty >> r & 1 != 0 {
                *v = Some(match s.regs[r] {
                    Some(v) => v,
                    None => self.b.use_var(self.regs[r]),
                });
            }
        }
        values
    }

    fn exit_block(&mut self, kind: Kind, snapshot: Snapshot, address: bool) -> Block {
        let values = self.dirty_values(&snapshot);
        let left = self.left_now();
        let block = self.cold_block();
        if address {
            self.b.append_block_param(block, I64);
        }
        let (done, delta) = (snapshot.done, snapshot.delta);
        self.exits.push(Exit { block, address, kind, values, fl: snapshot.fl, left, done, delta });
        block
    }

    /// A block that leaves before the running instruction.
    pub(super) fn exit_before(&mut self, kind: Kind) -> Block {
        self.exit_block(kind, self.snap, false)
    }

    /// As [`Lowerer::exit_before`]; the block takes the address that missed.
    pub(super) fn exit_with_address(&mut self, kind: Kind) -> Block {
        if let Some(b) = self.miss {
            return b;
        }
        let b = self.exit_block(kind, self.snap, true);
        self.miss = Some(b);
        b
    }

    /// A block that leaves at the next instruction boundary, with the registers as they are now.
    pub(super) fn exit_after(&mut self, kind: Kind) -> Block {
        let regs = self.cur;
        let snapshot =
            Snapshot { regs, dirty: self.dirty, fl: self.fl, done: self.snap.done + 1, delta: self.next_delta };
        self.exit_block(kind, snapshot, false)
    }

    /// Lets the interpreter run this instruction unless `ok`.
    pub(super) fn leave_unless(&mut self, ok: Value) {
        let out = self.exit_before(Kind::Miss);
        let out_args = self.b.create_block();
        let go = self.b.create_block();
        self.b.ins().brif(ok, go, &[], out_args, &[]);
        self.b.set_cold_block(out_args);
        self.enter(out_args);
        self.b.ins().jump(out, &[]);
        self.enter(go);
    }

    /// Stores what an exit stores.
    fn store_state(&mut self, values: &[Option<Value>; 8], fl: Fl, left: Value) {
        for (r, v) in values.iter().enumerate() {
            if let Some(v) = v {
                self.state_store(*v, super::slot_offset(r as u8));
            }
        }
        self.spill_flags(fl);
        self.frame_store(left, offset_of!(Frame, left));
    }

    /// Leaves the region at the end of the block for RIP = anchor + `delta`, or for the RIP in `to`.
    pub(super) fn leave(&mut self, to: Result<i32, Value>, code: u32) {
        let snapshot = Snapshot { regs: self.cur, dirty: self.dirty, fl: self.fl, done: 0, delta: 0 };
        let values = self.dirty_values(&snapshot);
        let left = self.left_now();
        let n = self.block_instructions();
        let left = self.b.ins().iadd_imm_s(left, -n);
        self.store_state(&values, snapshot.fl, left);
        let rip = match to {
            Ok(delta) => self.rip(delta),
            Err(v) => v,
        };
        self.state_store(rip, offset_of!(State, rip));
        let code = self.b.ins().iconst(I32, i64::from(code));
        self.b.ins().return_(&[code]);
    }

    /// Leaves the region when a helper has set RIP and owns the state.
    pub(super) fn leave_done(&mut self) {
        let left = self.left_now();
        let n = self.block_instructions();
        let left = self.b.ins().iadd_imm_s(left, -n);
        let snapshot = Snapshot { regs: self.cur, dirty: self.dirty, fl: self.fl, done: 0, delta: 0 };
        let values = self.dirty_values(&snapshot);
        self.store_state(&values, snapshot.fl, left);
        let code = self.b.ins().iconst(I32, i64::from(exit::DONE));
        self.b.ins().return_(&[code]);
    }

    /// Emits the exits collected so far.
    pub(super) fn emit_exits(&mut self) {
        let mut site = 0;
        while let Some(e) = self.exits.pop() {
            self.enter(e.block);
            if e.address {
                let a = self.b.block_params(e.block)[0];
                self.frame_store(a, offset_of!(Frame, exit_addr));
            }
            let left = self.b.ins().iadd_imm_s(e.left, -e.done);
            self.store_state(&e.values, e.fl, left);
            let delta = self.b.ins().iconst(I32, i64::from(e.delta as u32));
            self.frame_store(delta, offset_of!(Frame, exit_delta));
            let n = self.b.ins().iconst(I32, site);
            self.frame_store(n, offset_of!(Frame, exit_site));
            site += 1;
            let code = self.b.ins().iconst(I32, e.kind as i64);
            self.b.ins().return_(&[code]);
        }
    }
}
