//! Integer arithmetic and logic: two-operand, one-operand, multiply, divide, decimal (SDM vol. 1, 5.1.2 to 5.1.4).

use super::Lifter;
use crate::ir::{Bcd, Op, Src, Width};
use crate::model::Model;
use crate::state::{Slot, slot};
use iced_x86::{Instruction, Mnemonic, Register};

impl Lifter {
    pub(super) fn arith(&mut self, ins: &Instruction) -> bool {
        use Mnemonic::*;
        let m = ins.mnemonic();
        match m {
            Add | Adc | Sub | Sbb | And | Or | Xor => {
                // The destination may be the source of an address: memory sources are loaded before it changes.
                let src = self.source(ins, 1);
                self.modify(ins, |l, w, dst, a| l.binary(m, w, dst, a, src));
            }
            // CMP and TEST compute into nowhere.
            Cmp | Test => {
                let w = self.width(ins, 0);
                let a = self.read(ins, 0);
                let b = self.source(ins, 1);
                let t = self.temp();
                self.binary(if m == Cmp { Sub } else { And }, w, t, a, b);
            }
            Inc => self.modify(ins, |l, w, dst, a| l.e(Op::Inc { w, f: true, dst, a })),
            Dec => self.modify(ins, |l, w, dst, a| l.e(Op::Dec { w, f: true, dst, a })),
            Neg => self.modify(ins, |l, w, dst, a| l.e(Op::Neg { w, f: true, dst, a })),
            Not => self.modify(ins, |l, w, dst, a| l.e(Op::Not { w, dst, a })),
            Mul => self.multiply(ins, false),
            Imul if ins.op_count() == 1 => self.multiply(ins, true),
            // IMUL r, r/m and IMUL r, r/m, imm.
            Imul => {
                let w = self.width(ins, 0);
                let (a, b) = if ins.op_count() == 2 {
                    (self.read(ins, 1), Src { slot: Self::gpr(ins.op0_register()).0, imm: 0 })
                } else {
                    (self.read(ins, 1), self.source(ins, 2))
                };
                if self.model == Model::I286 {
                    let b = if b.slot == slot::ZERO { self.constant(b.imm as u64) } else { b.slot };
                    let (lo, hi) = (self.temp(), self.temp());
                    self.e(Op::Mul { w, signed: true, f: true, lo, hi, a, b });
                    self.multiply_flags_286(w, hi);
                    self.write_reg(ins.op0_register(), lo);
                } else {
                    self.compute(ins.op0_register(), |l, dst| l.e(Op::Imul { w, f: true, dst, a, b }));
                }
            }
            Div => self.divide(ins, false),
            Idiv => self.divide(ins, true),
            Daa => self.e(Op::Bcd { op: Bcd::Daa, imm: 0 }),
            Das => self.e(Op::Bcd { op: Bcd::Das, imm: 0 }),
            Aaa => self.e(Op::Bcd { op: Bcd::Aaa, imm: 0 }),
            Aas => self.e(Op::Bcd { op: Bcd::Aas, imm: 0 }),
            Aam if self.model == Model::I286 && ins.immediate8() == 0 => {
                // The 80286 sets the flags from AL before it raises the divide error.
                let t = self.temp();
                let b = Src { slot: slot::ZERO, imm: 0 };
                self.e(Op::Or { w: Width::B, f: true, dst: t, a: slot::RAX, b });
                self.e(Op::Bcd { op: Bcd::Aam, imm: 0 });
            }
            Aam => self.e(Op::Bcd { op: Bcd::Aam, imm: ins.immediate8() }),
            Aad => self.e(Op::Bcd { op: Bcd::Aad, imm: ins.immediate8() }),
            Clc => self.e(Op::SetFlags { a: slot::ZERO, mask: 1 }),
            Stc => {
                let one = self.constant(1);
                self.e(Op::SetFlags { a: one, mask: 1 });
            }
            Cmc => self.e(Op::Cmc),
            // SALC: AL <- CF ? FF : 00, undocumented and used.
            _ => {
                let t = self.temp();
                self.e(Op::Sbb { w: Width::B, f: false, dst: t, a: slot::ZERO, b: Src { slot: slot::ZERO, imm: 0 } });
                self.write_reg(Register::AL, t);
            }
        }
        false
    }

    fn binary(&mut self, m: Mnemonic, w: Width, dst: Slot, a: Slot, b: Src) {
        let f = true;
        self.e(match m {
            Mnemonic::Add => Op::Add { w, f, dst, a, b },
            Mnemonic::Adc => Op::Adc { w, f, dst, a, b },
            Mnemonic::Sub => Op::Sub { w, f, dst, a, b },
            Mnemonic::Sbb => Op::Sbb { w, f, dst, a, b },
            Mnemonic::And => Op::And { w, f, dst, a, b },
            Mnemonic::Or => Op::Or { w, f, dst, a, b },
            _ => Op::Xor { w, f, dst, a, b },
        });
    }

    /// MUL and one-operand IMUL: AX <- AL * r/m8, xDX:xAX <- xAX * r/m.
    fn multiply(&mut self, ins: &Instruction, signed: bool) {
        let w = self.width(ins, 0);
        let b = self.read(ins, 0);
        let (lo, hi) = (self.temp(), self.temp());
        self.e(Op::Mul { w, signed, f: true, lo, hi, a: slot::RAX, b });
        if self.model == Model::I286 {
            self.multiply_flags_286(w, hi);
        }
        self.write_pair(w, lo, hi);
    }

    /// DIV and IDIV: quotient to AL or xAX, remainder to AH or xDX.
    fn divide(&mut self, ins: &Instruction, signed: bool) {
        let w = self.width(ins, 0);
        let b = self.read(ins, 0);
        let hi = if w == Width::B { self.read_reg(Register::AH) } else { slot::RDX };
        let (quot, rem) = (self.temp(), self.temp());
        if self.model == Model::I286 {
            self.divide_flags_286(w, signed, hi, b);
        }
        self.e(Op::Div { w, signed, quot, rem, hi, lo: slot::RAX, b });
        self.write_pair(w, quot, rem);
    }

    fn write_pair(&mut self, w: Width, lo: Slot, hi: Slot) {
        let (l, h) = match w {
            Width::B => (Register::AL, Register::AH),
            Width::W => (Register::AX, Register::DX),
            _ => (Register::EAX, Register::EDX),
        };
        self.write_reg(l, lo);
        self.write_reg(h, hi);
    }
}
