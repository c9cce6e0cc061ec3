//! Control transfers: jumps, calls, returns, loops, interrupts (SDM vol. 1, 5.1.7).

use super::Lifter;
use super::data_transfer::condition;
use crate::helpers::Helper;
use crate::ir::{Op, Src, Width};
use crate::model::Model;
use crate::state::{SegReg, Slot, mode, slot};
use iced_x86::{Code, Instruction, Mnemonic, OpKind};

impl Lifter {
    /// Width that a near branch cuts its target to, and the target's offset from the block's start.
    fn target(&self, ins: &Instruction) -> (Width, i32) {
        match ins.op0_kind() {
            OpKind::NearBranch16 => (Width::W, i32::from(ins.near_branch16() as i16)),
            _ => (Width::D, ins.near_branch32() as i32),
        }
    }

    /// Whether a target may be beyond the code segment.
    fn limited(&self) -> bool {
        self.mode & mode::FLAT << SegReg::Cs as u32 == 0 && self.model != Model::I8086
    }

    /// Before anything is written: #GP if the target is beyond a code segment that is not flat.
    fn check_target(&mut self, a: Slot) {
        if self.limited() {
            self.e(Op::CheckTarget { a });
        }
    }

    /// As [`Lifter::check_target`], for a jump of `rel` that is made where `c` is 1 and not where it is 0: 0 is in every
    /// segment.
    fn check_if(&mut self, c: Slot, w: Width, rel: i32) {
        if self.limited() {
            let (to, mask) = (self.temp(), self.temp());
            self.e(Op::Eip { w, dst: to, rel });
            self.e(Op::Sub { w: Width::D, f: false, dst: mask, a: slot::ZERO, b: Src { slot: c, imm: 0 } });
            self.e(Op::And { w: Width::D, f: false, dst: to, a: to, b: Src { slot: mask, imm: 0 } });
            self.check_target(to);
        }
    }

    fn fall_width(&self) -> Width {
        if self.model == Model::I8086 { Width::W } else { Width::D }
    }

    pub(super) fn control(&mut self, ins: &Instruction) -> bool {
        use Mnemonic::*;
        match ins.mnemonic() {
            Jmp => match ins.op0_kind() {
                OpKind::NearBranch16 | OpKind::NearBranch32 => {
                    let (w, rel) = self.target(ins);
                    self.e(Op::Jump { w, rel });
                }
                _ if is_far(ins) => return self.far(ins, Helper::FarJmp),
                _ => {
                    let (w, a) = (self.width(ins, 0), self.read(ins, 0));
                    let t = self.temp();
                    self.e(Op::Mov { w, dst: t, a });
                    self.e(Op::JumpInd { a: t });
                }
            },
            Call => return self.call_near_or_far(ins),
            Ret => {
                let word = matches!(ins.code(), Code::Retnw | Code::Retnw_imm16);
                let w = if word { Width::W } else { Width::D };
                let a = self.top(w);
                self.check_target(a);
                let extra = if ins.op_count() == 1 { i32::from(ins.immediate16()) } else { 0 };
                self.move_sp(i32::from(w.bytes()) + extra);
                self.e(Op::JumpInd { a });
            }
            Retf => {
                let w = if matches!(ins.code(), Code::Retfw | Code::Retfw_imm16) { 2 } else { 4 };
                let extra = if ins.op_count() == 1 { u32::from(ins.immediate16()) } else { 0 };
                self.call(Helper::FarRet, slot::ZERO, slot::ZERO, w | extra << 16);
                self.e(Op::Exit);
            }
            Iret | Iretd => {
                let w = if ins.mnemonic() == Iret { Width::W } else { Width::D };
                self.call(Helper::Iret, slot::ZERO, slot::ZERO, self.transfer_imm(w));
                self.e(Op::Exit);
            }
            Int => {
                let imm = u32::from(ins.immediate8()) | (self.next as u32 & 0xffff) << 8;
                self.call(Helper::Int, slot::ZERO, slot::ZERO, imm);
                self.e(Op::Exit);
            }
            Int3 => {
                self.call(Helper::Int3, slot::ZERO, slot::ZERO, self.transfer_imm(Width::B));
                self.e(Op::Exit);
            }
            Int1 => {
                self.call(Helper::Icebp, slot::ZERO, slot::ZERO, self.transfer_imm(Width::B));
                self.e(Op::Exit);
            }
            Into => {
                self.call(Helper::Into, slot::ZERO, slot::ZERO, self.transfer_imm(Width::B));
                self.e(Op::Exit);
            }
            Bound => {
                if ins.op1_kind() != OpKind::Memory {
                    return self.undefined();
                }
                let (w, mem) = (self.width(ins, 0), self.mem(ins));
                let value = Self::gpr(ins.op0_register()).0;
                let lo = self.load(w, mem);
                let behind = self.behind(mem, i32::from(w.bytes()));
                let hi = self.load(w, behind);
                let (l, v, h) = (self.temp(), self.temp(), self.temp());
                for (dst, a) in [(l, lo), (v, value), (h, hi)] {
                    self.e(Op::Sext { from: w, w: Width::Q, dst, a });
                }
                self.call(Helper::BoundLow, v, l, 0);
                self.call(Helper::BoundHigh, v, h, 0);
                return false;
            }
            Loop | Loope | Loopne => self.lift_loop(ins),
            Jcxz | Jecxz => {
                let w = if ins.mnemonic() == Jcxz { Width::W } else { Width::D };
                let c = self.temp();
                self.e(Op::IsZero { w, dst: c, a: slot::RCX });
                let (w, taken) = self.target(ins);
                self.e(Op::BranchIf { c, w, taken, fall: self.next });
            }
            _ => {
                let Some(cc) = condition(ins) else { return self.undefined() };
                let (w, taken) = self.target(ins);
                self.e(Op::Branch { cc, w, taken, fall: self.next });
            }
        }
        true
    }

    fn lift_loop(&mut self, ins: &Instruction) {
        use iced_x86::Code::*;
        let wide = matches!(
            ins.code(),
            Loop_rel8_16_ECX
                | Loop_rel8_32_ECX
                | Loope_rel8_16_ECX
                | Loope_rel8_32_ECX
                | Loopne_rel8_16_ECX
                | Loopne_rel8_32_ECX
        );
        let cw = if wide { Width::D } else { Width::W };
        let (count, done, c, cond) = (self.temp(), self.temp(), self.temp(), self.temp());
        self.e(Op::Sub { w: cw, f: false, dst: count, a: slot::RCX, b: Src { slot: slot::ZERO, imm: 1 } });
        self.e(Op::IsZero { w: cw, dst: done, a: count });
        self.e(Op::IsZero { w: Width::B, dst: c, a: done });
        let cc = match ins.mnemonic() {
            Mnemonic::Loope => Some(crate::ir::Cc::E),
            Mnemonic::Loopne => Some(crate::ir::Cc::Ne),
            _ => None,
        };
        if let Some(cc) = cc {
            self.e(Op::Cond { cc, dst: cond });
            self.e(Op::And { w: Width::B, f: false, dst: c, a: c, b: Src { slot: cond, imm: 0 } });
        }
        let (w, taken) = self.target(ins);
        self.check_if(c, w, taken);
        if wide {
            self.e(Op::Mov { w: cw, dst: slot::RCX, a: count });
        } else {
            self.e(Op::Insert { w: cw, hi: false, dst: slot::RCX, a: count });
        }
        self.e(Op::BranchIf { c, w, taken, fall: self.next });
    }

    fn call_near_or_far(&mut self, ins: &Instruction) -> bool {
        match ins.op0_kind() {
            OpKind::NearBranch16 | OpKind::NearBranch32 => {
                let (w, rel) = self.target(ins);
                if self.limited() {
                    let to = self.temp();
                    self.e(Op::Eip { w, dst: to, rel });
                    self.check_target(to);
                }
                let back = self.temp();
                self.e(Op::Eip { w, dst: back, rel: self.next });
                self.push(w, back);
                self.e(Op::Jump { w, rel });
            }
            _ if is_far(ins) => return self.far(ins, Helper::FarCall),
            _ => {
                let w = self.width(ins, 0);
                let a = self.read(ins, 0);
                let (to, back) = (self.temp(), self.temp());
                self.e(Op::Mov { w, dst: to, a });
                self.check_target(to);
                self.e(Op::Eip { w, dst: back, rel: self.next });
                self.push(w, back);
                self.e(Op::JumpInd { a: to });
            }
        }
        true
    }

    fn far(&mut self, ins: &Instruction, helper: Helper) -> bool {
        let (w, off, sel) = match ins.op0_kind() {
            OpKind::FarBranch16 | OpKind::FarBranch32 => {
                let w = if ins.op0_kind() == OpKind::FarBranch16 { Width::W } else { Width::D };
                let off = if w == Width::W { u64::from(ins.far_branch16()) } else { u64::from(ins.far_branch32()) };
                (w, self.constant(off), self.constant(u64::from(ins.far_branch_selector())))
            }
            OpKind::Memory => {
                let w = if ins.memory_size().size() == 4 { Width::W } else { Width::D };
                let mem = self.mem(ins);
                let off = self.load(w, mem);
                let behind = self.behind(mem, i32::from(w.bytes()));
                (w, off, self.load(Width::W, behind))
            }
            _ => return self.undefined(),
        };
        self.call(helper, sel, off, self.transfer_imm(w));
        self.e(Op::Exit);
        true
    }

    /// Width that a string repetition's branch back keeps.
    pub(super) fn repeat(&mut self, c: Slot) -> bool {
        let w = self.fall_width();
        self.e(Op::BranchIf { c, w, taken: self.start, fall: self.next });
        true
    }
}

fn is_far(ins: &Instruction) -> bool {
    ins.is_jmp_far() || ins.is_jmp_far_indirect() || ins.is_call_far() || ins.is_call_far_indirect()
}
