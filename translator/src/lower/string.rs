//! MOVS, STOS and LODS of one element. With a repetition prefix, and the comparing and port forms, they are calls.

use super::Lowerer;
use crate::frame::access;
use crate::helpers::{Helper, string};
use crate::ir::{Mem, Op, Width};
use crate::state::{SegReg, State, eflags, slot};
use core::mem::offset_of;
use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::types::I32;

/// The instruction that a call stands for, if it is lowered here.
pub(super) fn element(op: &Op) -> Option<string::Spec> {
    let Op::Call { helper: Helper::String, imm, .. } = *op else { return None };
    let s = string::Spec::unpack(imm);
    (!s.rep && matches!(s.kind, string::MOVS | string::STOS | string::LODS)).then_some(s)
}

/// The general registers that it writes.
pub(super) fn for_each_write(s: &string::Spec, mut f: impl FnMut(u8)) {
    if s.kind != string::LODS {
        f(slot::RDI);
    }
    if s.kind != string::STOS {
        f(slot::RSI);
    }
    if s.kind == string::LODS {
        f(slot::RAX);
    }
}

/// The operand that a missing access tells of: the destination, or else the source.
pub(super) fn operand(s: &string::Spec) -> Mem {
    let (base, seg) = if s.kind == string::LODS { (slot::RSI, s.seg) } else { (slot::RDI, SegReg::Es) };
    Mem { base, index: slot::ZERO, scale: 0, seg, asize: s.asize, disp: 0 }
}

impl Lowerer<'_, '_> {
    /// Lowers one element: all checks come before the first effect.
    pub(super) fn string_element(&mut self, s: &string::Spec) {
        let n = u32::from(s.w.bytes());
        let operand = |base, seg| Mem { base, index: slot::ZERO, scale: 0, seg, asize: s.asize, disp: 0 };
        let v = if s.kind == string::STOS {
            self.raw(slot::RAX)
        } else {
            let from = operand(slot::RSI, s.seg);
            if self.resuming {
                self.made(access::LOAD, s.w, &from, None, true)
            } else {
                let from = self.segmented(&from, n, false, false);
                self.read_at(s.w, from, 0)
            }
        };
        // The load above is done again if the store then leaves for the interpreter; memory does not mind.
        if s.kind == string::LODS {
            self.set_register(slot::RAX, s.w, v);
        } else if self.resuming {
            self.made(access::STORE, s.w, &operand(slot::RDI, SegReg::Es), Some(v), true);
        } else {
            let to = self.segmented(&operand(slot::RDI, SegReg::Es), n, true, false);
            self.write_at(s.w, v, to, 0);
        }
        let flags = self.state_load(I32, offset_of!(State, sys_flags));
        let down = self.b.ins().band_imm_u(flags, i64::from(eflags::DF));
        let (back, forth) =
            (self.b.ins().iconst(I32, i64::from((-(n as i32)) as u32)), self.b.ins().iconst(I32, i64::from(n)));
        let step = self.b.ins().select(down, back, forth);
        for r in [slot::RSI, slot::RDI] {
            let moves = if r == slot::RSI { s.kind != string::STOS } else { s.kind != string::LODS };
            if moves {
                let old = self.gw(r, Width::D);
                let new = self.b.ins().iadd(old, step);
                self.set_register(r, s.asize, new);
            }
        }
    }
}
