//! Bit tests and scans (SDM vol. 1, 5.1.6).

use super::Lifter;
use crate::ir::{BitOp, Mem, Op, Src, Width};
use crate::state::slot;
use iced_x86::{Instruction, Mnemonic, OpKind};

impl Lifter {
    pub(super) fn bit(&mut self, ins: &Instruction) -> bool {
        let w = self.width(ins, 0);
        let op = match ins.mnemonic() {
            m @ (Mnemonic::Bsf | Mnemonic::Bsr) => {
                let a = self.read(ins, 1);
                let old = Self::gpr(ins.op0_register()).0;
                let dst = self.temp();
                self.e(if m == Mnemonic::Bsf { Op::Bsf { w, dst, a, old } } else { Op::Bsr { w, dst, a, old } });
                self.write_reg(ins.op0_register(), dst);
                return false;
            }
            Mnemonic::Bts => BitOp::Set,
            Mnemonic::Btr => BitOp::Reset,
            Mnemonic::Btc => BitOp::Complement,
            _ => BitOp::Test,
        };
        let b = match ins.op1_kind() {
            OpKind::Register => Src { slot: Self::gpr(ins.op1_register()).0, imm: 0 },
            _ => Src { slot: slot::ZERO, imm: i32::from(ins.immediate8()) },
        };
        if ins.op0_kind() == OpKind::Register {
            let a = Self::gpr(ins.op0_register()).0;
            let dst = self.temp();
            self.e(Op::Bit { op, w, dst, a, b });
            if op != BitOp::Test {
                self.write_reg(ins.op0_register(), dst);
            }
            return false;
        }
        let mut mem = self.mem(ins);
        if ins.op1_kind() == OpKind::Register {
            // A register bit offset is signed and reaches beyond the operand.
            let (base, index) = (self.temp(), self.temp());
            self.e(Op::Lea { dst: base, mem });
            self.e(Op::Sext { from: w, w: Width::Q, dst: index, a: b.slot });
            let log = w.bits().trailing_zeros() as i32;
            self.e(Op::Sar { w: Width::Q, f: false, dst: index, a: index, b: Src { slot: slot::ZERO, imm: log } });
            mem = Mem { base, index, scale: w as u8, disp: 0, ..mem };
        }
        let dst = self.temp();
        if op == BitOp::Test {
            let a = self.load(w, mem);
            self.e(Op::Bit { op, w, dst, a, b });
        } else {
            let a = self.load_rmw(w, mem);
            self.e(Op::Bit { op, w, dst, a, b });
            self.store(w, mem, dst);
        }
        false
    }
}
