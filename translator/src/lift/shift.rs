//! Shifts and rotates (SDM vol. 1, 5.1.5).

use super::Lifter;
use crate::ir::{Op, Src, Width};
use crate::model::Model;
use crate::state::slot;
use iced_x86::{Instruction, Mnemonic, OpKind};

impl Lifter {
    /// The count in operand `n`. From the 80186 on only its low five bits count.
    fn count(&mut self, ins: &Instruction, n: u32) -> Src {
        let masked = self.model != Model::I8086;
        match ins.op_kind(n) {
            OpKind::Register if masked => {
                let t = self.temp();
                self.e(Op::And { w: Width::B, f: false, dst: t, a: slot::RCX, b: Src { slot: slot::ZERO, imm: 31 } });
                Src { slot: t, imm: 0 }
            }
            OpKind::Register => Src { slot: slot::RCX, imm: 0 },
            _ => Src { slot: slot::ZERO, imm: ins.immediate(n) as i32 & if masked { 31 } else { 255 } },
        }
    }

    pub(super) fn shift(&mut self, ins: &Instruction) -> bool {
        use Mnemonic::*;
        let m = ins.mnemonic();
        let f = true;
        if matches!(m, Shld | Shrd) {
            let count = self.count(ins, 2);
            let b = Self::gpr(ins.op1_register()).0;
            self.modify(ins, |l, w, dst, a| {
                l.e(if m == Shld { Op::Shld { w, f, dst, a, b, count } } else { Op::Shrd { w, f, dst, a, b, count } });
            });
            return false;
        }
        let b = self.count(ins, 1);
        self.modify(ins, |l, w, dst, a| {
            l.e(match m {
                Shr => Op::Shr { w, f, dst, a, b },
                Sar => Op::Sar { w, f, dst, a, b },
                Rol => Op::Rol { w, f, dst, a, b },
                Ror => Op::Ror { w, f, dst, a, b },
                Rcl => Op::Rcl { w, f, dst, a, b },
                Rcr => Op::Rcr { w, f, dst, a, b },
                _ => Op::Shl { w, f, dst, a, b },
            });
            if l.model == Model::I286 && matches!(m, Shr | Sar | Shl | Sal) {
                l.shift_flags_286(matches!(m, Shl | Sal), dst, b);
            }
        });
        false
    }
}
