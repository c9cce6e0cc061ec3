//! Ways out of a region. The cold ones are emitted behind the hot code: each stores the registers that have changed,
//! the flags, the place and the instruction count, and returns.

use super::{Lowerer, flags::Fl};
use crate::frame::{Frame, exit};
use crate::state::State;
use core::mem::offset_of;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Value};

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
    values: [Option<Value>; 8],
    fl: Fl,
    /// What the region returns.
    packed: i64,
    tail: Block,
}

/// What the exits of one block have in common: the registers that the block never writes, and the count.
pub(super) struct Tail {
    block: Block,
    values: [Option<Value>; 8],
    left: Option<Value>,
}

impl Lowerer<'_, '_> {
    /// Registers as they were at the start of the instruction, only those that have to be stored.
    fn dirty_values(&mut self, s: &Snapshot) -> [Option<Value>; 8] {
        let mut values = [None; 8];
        for (r, v) in values.iter_mut().enumerate() {
            if s.dirty >> r & 1 != 0 {
                *v = Some(match s.regs[r] {
                    Some(v) => v,
                    None => self.register(r as u8),
                });
            }
        }
        values
    }

    fn exit_block(&mut self, kind: Kind, snapshot: Snapshot, address: bool) -> Block {
        let tail = self.tail();
        let written = self.order.writes[self.block];
        let values = self.dirty_values(&Snapshot { dirty: snapshot.dirty & written, ..snapshot });
        let block = self.cold_block();
        if address {
            self.b.append_block_param(block, I64);
        }
        let packed = exit::pack(kind as u32, (snapshot.done - self.counted) as i32, snapshot.delta) as i64;
        self.exits.push(Exit { block, address, values, fl: snapshot.fl, packed, tail });
        block
    }

    /// The common end of the block's exits: it takes the address and [`pack`]'s number.
    fn tail(&mut self) -> Block {
        if let Some(t) = self.tail.or(self.last) {
            return t;
        }
        let dirty = if self.in_memory { 0 } else { self.order.dirty_in[self.block] & !self.order.writes[self.block] };
        let mut values = [None; 8];
        for (r, v) in values.iter_mut().enumerate() {
            if dirty >> r & 1 != 0 {
                *v = Some(self.raw(r as u8));
            }
        }
        let left = if self.in_memory { None } else { Some(self.left_after(0)) };
        let block = self.cold_block();
        self.b.append_block_param(block, I64);
        self.b.append_block_param(block, I64);
        self.tails.push(Tail { block, values, left });
        *(if self.in_memory { &mut self.last } else { &mut self.tail }) = Some(block);
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
        let go = self.b.create_block();
        self.b.ins().brif(ok, go, &[], out, &[]);
        self.enter(go);
    }

    /// Stores what an exit at the end of the block stores.
    fn store_state(&mut self, values: &[Option<Value>; 8], fl: Fl) {
        for (r, v) in values.iter().enumerate() {
            if let Some(v) = v {
                self.state_store(*v, super::slot_offset(r as u8) + super::LOW_HALF);
            }
        }
        self.spill_flags(fl);
        let n = self.block_instructions();
        if !self.in_memory || self.counted != n {
            let left = self.left_after(n);
            self.frame_store(left, offset_of!(Frame, left));
        }
    }

    /// Leaves the region at the end of the block for RIP = anchor + `delta`, or for the RIP in `to`.
    pub(super) fn leave(&mut self, to: Result<i32, Value>, code: u32) {
        let snapshot = Snapshot { regs: self.cur, dirty: self.dirty, fl: self.fl, done: 0, delta: 0 };
        let values = self.dirty_values(&snapshot);
        self.store_state(&values, snapshot.fl);
        let rip = match to {
            Ok(delta) => self.rip(delta),
            Err(v) => v,
        };
        self.state_store(rip, offset_of!(State, rip));
        let code = self.b.ins().iconst(I64, exit::pack(code, 0, 0) as i64);
        self.b.ins().return_(&[code]);
    }

    /// Leaves the region when a helper has set RIP and owns the state: on to the next region unless `stop` says that the
    /// run loop has to look first.
    pub(super) fn leave_done(&mut self, stop: Option<Value>) {
        let snapshot = Snapshot { regs: self.cur, dirty: self.dirty, fl: self.fl, done: 0, delta: 0 };
        let values = self.dirty_values(&snapshot);
        self.store_state(&values, snapshot.fl);
        let done = self.b.ins().iconst(I64, exit::pack(exit::DONE, 0, 0) as i64);
        let code = match stop {
            Some(stop) => {
                let jump = self.b.ins().iconst(I64, exit::pack(exit::JUMP, 0, 0) as i64);
                self.b.ins().select(stop, done, jump)
            }
            None => done,
        };
        self.b.ins().return_(&[code]);
    }

    /// Emits the exits collected so far.
    pub(super) fn emit_exits(&mut self) {
        // Exits that differ in nothing but the place share the code that stores the flags.
        let mut shared: Vec<(Fl, Block, Block)> = Vec::new();
        for e in std::mem::take(&mut self.exits) {
            self.enter(e.block);
            for (r, v) in e.values.iter().enumerate() {
                if let Some(v) = v {
                    self.state_store(*v, super::slot_offset(r as u8) + super::LOW_HALF);
                }
            }
            let to = match e.fl {
                Fl::Memory => e.tail,
                fl if !self.in_memory => {
                    self.spill_flags(fl);
                    e.tail
                }
                fl => match shared.last() {
                    Some((last, tail, block)) if *last == fl && *tail == e.tail => *block,
                    _ => {
                        let block = self.cold_block();
                        self.b.append_block_param(block, I64);
                        self.b.append_block_param(block, I64);
                        shared.push((fl, e.tail, block));
                        block
                    }
                },
            };
            let address = match e.address {
                true => self.b.block_params(e.block)[0],
                false => self.b.ins().iconst(I64, i64::from(u32::MAX)),
            };
            let packed = self.b.ins().iconst(I64, e.packed);
            self.b.ins().jump(to, &[BlockArg::Value(address), BlockArg::Value(packed)]);
        }
        for (fl, tail, block) in shared {
            self.enter(block);
            let (address, packed) = (self.b.block_params(block)[0], self.b.block_params(block)[1]);
            self.spill_flags(fl);
            self.b.ins().jump(tail, &[BlockArg::Value(address), BlockArg::Value(packed)]);
        }
        for t in std::mem::take(&mut self.tails) {
            self.enter(t.block);
            let (address, packed) = (self.b.block_params(t.block)[0], self.b.block_params(t.block)[1]);
            for (r, v) in t.values.iter().enumerate() {
                if let Some(v) = v {
                    self.state_store(*v, super::slot_offset(r as u8) + super::LOW_HALF);
                }
            }
            self.frame_store(address, offset_of!(Frame, exit_addr));
            if let Some(left) = t.left {
                self.frame_store(left, offset_of!(Frame, left));
            }
            self.b.ins().return_(&[packed]);
        }
    }
}
