//! Operations that are calls into the host: hypervisor calls, and everything that has no code of its own here.

use super::{Lowerer, exits::Kind, flags::Fl};
use crate::frame::{Frame, exit};
use crate::helpers::Helper;
use crate::ir::{Op, print};
use crate::lift::vector::VecOp;
use crate::lift::x87::FpuOp;
use crate::state::{State, slot};
use core::mem::offset_of;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value};

/// What a host call does to the registers and flags that compiled code holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// Reads and writes slots `a` and `b` and its `dst` at most.
    Operands,
    /// As `Operands`, and overwrites all arithmetic flags.
    Flags,
    /// Anything.
    All,
}

/// How far a call reaches; `None` for operations that are never calls.
pub(super) fn reach(op: &Op) -> Option<Reach> {
    Some(match op {
        Op::Fpu { op: FpuOp::CompareFlags | FpuOp::CompareFlagsQuiet, .. } => Reach::Flags,
        Op::Fpu { .. } => Reach::Operands,
        Op::Vec { op: VecOp::Comiss | VecOp::Ucomiss | VecOp::Comisd | VecOp::Ucomisd, .. } => Reach::Flags,
        Op::Vec { .. } => Reach::Operands,
        Op::Call { helper, .. } => match helper {
            Helper::ReadSeg
            | Helper::SetDf
            | Helper::In
            | Helper::Out
            | Helper::Cli
            | Helper::Smsw
            | Helper::Sldt
            | Helper::Str
            | Helper::CheckCpl0
            | Helper::BoundLow
            | Helper::BoundHigh
            | Helper::Probe
            | Helper::MovFromCr
            | Helper::MovFromDr
            | Helper::LoadSeg
            | Helper::Pushf
            | Helper::Sti
            | Helper::SsShadow => Reach::Operands,
            _ => Reach::All,
        },
        Op::Rcl { .. }
        | Op::Rcr { .. }
        | Op::Shld { .. }
        | Op::Shrd { .. }
        | Op::Bcd { .. }
        | Op::Mul { .. }
        | Op::Imul { .. }
        | Op::Div { .. } => Reach::All,
        _ => return None,
    })
}

impl Lowerer<'_, '_> {
    /// Calls a host function, given by its address, with 64-bit arguments. Returns its I32 result.
    pub(super) fn call_host(&mut self, address: usize, args: &[Value]) -> Value {
        let sig = self.host_signature(args.len());
        let f = self.b.ins().iconst(I64, address as i64);
        let call = self.b.ins().call_indirect(sig, f, args);
        self.b.inst_results(call)[0]
    }

    /// Lowers `op` to a call of the interpreter's own code for it.
    pub(super) fn call_op(&mut self, op: &Op, reach: Reach) {
        let address = self.kept.keep(*op);
        if self.trace_calls {
            log::trace!("call {}", print(std::slice::from_ref(op)));
        }
        // Temporaries may be named by the operation's constant as well: all of them go to memory.
        for n in slot::TEMP..=u8::MAX {
            if let Some(v) = self.temps[n as usize]
                && !self.spilled[n as usize]
            {
                let v = self.zext(v);
                self.state_store(v, super::slot_offset(n));
                self.spilled[n as usize] = true;
            }
        }
        if reach == Reach::All {
            self.spill_registers();
            let fl = self.fl;
            self.spill_flags(fl);
            self.fl = Fl::Memory;
        } else {
            if matches!(op, Op::Call { helper: Helper::Pushf, .. }) {
                let fl = self.fl;
                self.spill_flags(fl);
            }
            for s in operands(op) {
                if s < 8 && self.dirty >> s & 1 != 0 {
                    let v = self.raw(s);
                    self.state_store(v, super::slot_offset(s) + super::LOW_HALF);
                }
            }
        }
        if !self.in_memory || self.counted != self.snap.done {
            let left = self.left_after(self.snap.done);
            self.frame_store(left, offset_of!(Frame, left));
            if self.in_memory {
                self.counted = self.snap.done;
            }
        }
        if matches!(op, Op::Call { .. }) {
            let rip = self.rip(self.plan.blocks[self.block].delta);
            self.state_store(rip, offset_of!(State, rip));
        }
        // What the cold code needs is made before the ways part.
        let out = if reach == Reach::All { self.exit_before_owned() } else { self.exit_before(Kind::Fault) };
        let short = self.short_way(op);
        let at = self.b.ins().iconst(I64, address as i64);
        let st = self.st;
        let status = self.call_host(self.host.operation, &[st, at]);
        let fault = self.b.ins().icmp_imm_u(IntCC::Equal, status, i64::from(exit::FAULT));
        let go = self.b.create_block();
        self.b.ins().brif(fault, out, &[], go, &[]);
        self.enter(go);
        let mut stop = self.b.ins().icmp_imm_u(IntCC::Equal, status, i64::from(exit::STOP));
        if let Some(done) = short {
            self.b.ins().jump(done, &[BlockArg::Value(stop)]);
            self.enter(done);
            stop = self.b.block_params(done)[0];
        }
        if reach == Reach::All {
            // The state is the helper's: only the place and the count are ours.
            self.reload();
        }
        if reach == Reach::Flags {
            self.fl = Fl::Memory;
        }
        for s in results(op) {
            match s {
                slot::TEMP.. => {
                    self.temps[s as usize] = None;
                    self.spilled[s as usize] = false;
                }
                0..8 if self.in_memory => self.cur[s as usize] = None,
                0..8 if reach != Reach::All => {
                    let v = self.state_load(I64, super::slot_offset(s));
                    self.p(s, v);
                }
                _ => {}
            }
        }
        self.checked.clear();
        self.rmw = None;
        self.miss = None;
        self.stop = Some(match self.stop {
            Some(other) => self.b.ins().bor(other, stop),
            None => stop,
        });
    }

    /// Stores the registers that have changed.
    pub(super) fn spill_registers(&mut self) {
        for r in 0..8 {
            if self.dirty >> r & 1 != 0 {
                let v = self.raw(r);
                self.state_store(v, super::slot_offset(r) + super::LOW_HALF);
            }
        }
        self.dirty = 0;
    }

    /// Takes all registers from the state.
    pub(super) fn reload(&mut self) {
        if self.in_memory {
            self.cur = [None; 8];
            self.fl = Fl::Memory;
            return;
        }
        for r in 0..8 {
            let v = self.state_load(I32, super::slot_offset(r) + super::LOW_HALF);
            self.cur[r as usize] = Some(v);
            self.written |= 1 << r;
        }
        self.dirty = 0;
        self.fl = Fl::Memory;
    }

    /// An exit for a fault raised by a helper that owns the state.
    fn exit_before_owned(&mut self) -> cranelift_codegen::ir::Block {
        let snap = self.snap;
        self.snap.dirty = 0;
        self.snap.fl = Fl::Memory;
        let out = self.exit_before(Kind::Fault);
        self.snap = snap;
        out
    }

    /// At an instruction's end, if one of its calls may ask to stop there.
    pub(super) fn stop_here(&mut self) {
        let Some(stop) = self.stop.take() else { return };
        let out = self.exit_after(Kind::Stop);
        let go = self.b.create_block();
        self.b.ins().brif(stop, out, &[], go, &[]);
        self.enter(go);
    }

    /// The stop request so far as an I8, for terminators.
    pub(super) fn take_stop(&mut self) -> Option<Value> {
        let stop = self.stop.take()?;
        debug_assert_eq!(self.b.func.dfg.value_type(stop), I8);
        Some(stop)
    }

    /// A function signature of the host with `n` 64-bit arguments.
    fn host_signature(&mut self, n: usize) -> cranelift_codegen::ir::SigRef {
        if let Some(s) = self.signatures[n] {
            return s;
        }
        use cranelift_codegen::ir::{AbiParam, Signature};
        let mut s = Signature::new(self.host.convention);
        s.params = vec![AbiParam::new(I64); n];
        s.returns = vec![AbiParam::new(I32)];
        let s = self.b.import_signature(s);
        self.signatures[n] = Some(s);
        s
    }
}

/// Slots that a call of limited reach reads.
fn operands(op: &Op) -> Vec<u8> {
    match *op {
        Op::Fpu { a, b, .. } | Op::Call { a, b, .. } => vec![a, b],
        _ => Vec::new(),
    }
}

/// Slots that a call writes.
fn results(op: &Op) -> Vec<u8> {
    match *op {
        Op::Fpu { a, b, .. } => vec![a, b],
        Op::Call { dst, .. } => vec![dst.max(slot::TEMP)],
        _ => {
            let mut all = Vec::new();
            super::for_each_write(op, |s| all.push(s));
            all
        }
    }
}
