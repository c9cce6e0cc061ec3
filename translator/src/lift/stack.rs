//! The stack: PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE (SDM vol. 1, 6.2). The stack pointer is written only
//! after the last access that can fault.

use super::{Lifter, seg_of};
use crate::helpers::Helper;
use crate::ir::{Mem, Op, Src, Width};
use crate::model::Model;
use crate::state::{SegReg, Slot, mode, slot};
use iced_x86::{Instruction, Mnemonic, OpKind};

impl Lifter {
    /// Width of the stack pointer.
    pub(super) fn stack_width(&self) -> Width {
        if self.mode & mode::STACK32 != 0 { Width::D } else { Width::W }
    }

    /// A stack operand at stack pointer slot `base` plus `disp`.
    pub(super) fn stack_mem(&self, base: Slot, disp: i32) -> Mem {
        Mem { base, index: slot::ZERO, scale: 0, seg: SegReg::Ss, asize: self.stack_width(), disp }
    }

    /// Moves the stack pointer by `delta`.
    pub(super) fn move_sp(&mut self, delta: i32) {
        let b = Src { slot: slot::ZERO, imm: delta };
        match self.stack_width() {
            Width::D => self.e(Op::Add { w: Width::D, f: false, dst: slot::RSP, a: slot::RSP, b }),
            w => {
                let t = self.temp();
                self.e(Op::Add { w, f: false, dst: t, a: slot::RSP, b });
                self.e(Op::Insert { w, hi: false, dst: slot::RSP, a: t });
            }
        }
    }

    /// Pushes the low bits of `a`.
    pub(super) fn push(&mut self, w: Width, a: Slot) {
        let mem = self.stack_mem(slot::RSP, -i32::from(w.bytes()));
        self.store(w, mem, a);
        self.move_sp(-i32::from(w.bytes()));
    }

    /// Reads the top of the stack; the caller moves the stack pointer.
    pub(super) fn top(&mut self, w: Width) -> Slot {
        let mem = self.stack_mem(slot::RSP, 0);
        self.load(w, mem)
    }

    /// Operand size of an instruction without explicit operands of that size.
    fn osize(&self, ins: &Instruction) -> Width {
        match ins.stack_pointer_increment().unsigned_abs() {
            n if n % 4 == 2 => Width::W,
            _ => Width::D,
        }
    }

    pub(super) fn stack(&mut self, ins: &Instruction) -> bool {
        use Mnemonic::*;
        match ins.mnemonic() {
            Push => {
                let w = self.osize(ins);
                self.push_operand(ins, w);
            }
            Pop => return self.pop_operand(ins),
            Pusha | Pushad => {
                let w = if ins.mnemonic() == Pusha { Width::W } else { Width::D };
                // All eight stores can fault before the stack pointer moves.
                if self.model == Model::I286 {
                    self.call(Helper::I8086, slot::ZERO, slot::ZERO, super::i286::PROBE_PUSHA);
                }
                for n in 0..8u8 {
                    let mem = self.stack_mem(slot::RSP, -i32::from(w.bytes()) * (i32::from(n) + 1));
                    self.store(w, mem, n);
                }
                self.move_sp(-8 * i32::from(w.bytes()));
            }
            Popa | Popad => {
                let w = if ins.mnemonic() == Popa { Width::W } else { Width::D };
                let mut values = [slot::ZERO; 8];
                for (i, n) in [7usize, 6, 5, 3, 2, 1, 0].into_iter().enumerate() {
                    let at = if i >= 3 { i + 1 } else { i } as i32;
                    let mem = self.stack_mem(slot::RSP, at * i32::from(w.bytes()));
                    values[n] = self.load(w, mem);
                }
                self.move_sp(8 * i32::from(w.bytes()));
                for n in [7u8, 6, 5, 3, 2, 1, 0] {
                    let a = values[usize::from(n)];
                    self.e(if w == Width::W {
                        Op::Insert { w, hi: false, dst: n, a }
                    } else {
                        Op::Mov { w, dst: n, a }
                    });
                }
            }
            Pushf | Pushfd => {
                let w = if ins.mnemonic() == Pushf { Width::W } else { Width::D };
                let a = self.call(Helper::Pushf, slot::ZERO, slot::ZERO, u32::from(w.bytes()));
                self.push(w, a);
            }
            Popf | Popfd => {
                let w = if ins.mnemonic() == Popf { Width::W } else { Width::D };
                let a = self.top(w);
                self.call(Helper::Popf, a, slot::ZERO, u32::from(w.bytes()));
                self.move_sp(i32::from(w.bytes()));
                return self.end_here();
            }
            Enter => {
                let w = self.osize_of_frame(ins);
                let imm = u32::from(ins.immediate16())
                    | u32::from(ins.immediate8_2nd() & 31) << 16
                    | u32::from(w.bytes()) << 24;
                self.call(Helper::Enter, slot::ZERO, slot::ZERO, imm);
            }
            // LEAVE: the frame pointer becomes the stack pointer, then is popped.
            _ => {
                let w = self.osize_of_frame(ins);
                let mem = self.stack_mem(slot::RBP, 0);
                let a = self.load(w, mem);
                match self.stack_width() {
                    Width::D => self.e(Op::Mov { w: Width::D, dst: slot::RSP, a: slot::RBP }),
                    w => self.e(Op::Insert { w, hi: false, dst: slot::RSP, a: slot::RBP }),
                }
                self.move_sp(i32::from(w.bytes()));
                self.e(if w == Width::W {
                    Op::Insert { w, hi: false, dst: slot::RBP, a }
                } else {
                    Op::Mov { w, dst: slot::RBP, a }
                });
            }
        }
        false
    }

    fn osize_of_frame(&self, ins: &Instruction) -> Width {
        use iced_x86::Code::*;
        if matches!(ins.code(), Enterw_imm16_imm8 | Leavew) { Width::W } else { Width::D }
    }

    fn push_operand(&mut self, ins: &Instruction, w: Width) {
        match ins.op0_kind() {
            OpKind::Register if ins.op0_register().is_segment_register() => {
                let seg = seg_of(ins.op0_register()) as u32;
                let a = self.call(Helper::ReadSeg, slot::ZERO, slot::ZERO, seg);
                // A 32-bit push of a segment register writes only the low word and moves the pointer by four.
                let mem = self.stack_mem(slot::RSP, -i32::from(w.bytes()));
                self.store(Width::W, mem, a);
                self.move_sp(-i32::from(w.bytes()));
            }
            OpKind::Register => {
                let a = Self::gpr(ins.op0_register()).0;
                if a == slot::RSP && self.model == Model::I8086 {
                    // The 8086 pushes the new value of SP.
                    let t = self.temp();
                    self.e(Op::Sub { w, f: false, dst: t, a, b: Src { slot: slot::ZERO, imm: 2 } });
                    self.push(w, t);
                } else {
                    self.push(w, a);
                }
            }
            OpKind::Memory => {
                let mem = self.mem(ins);
                let a = self.load(w, mem);
                self.push(w, a);
            }
            _ => {
                let a = self.constant(ins.immediate(0) & w.mask());
                self.push(w, a);
            }
        }
    }

    fn pop_operand(&mut self, ins: &Instruction) -> bool {
        let w = self.osize(ins);
        if w == Width::D && ins.op0_kind() == OpKind::Register && ins.op0_register().is_gpr32() {
            let dst = Self::gpr(ins.op0_register()).0;
            if dst != slot::RSP {
                let mem = self.stack_mem(slot::RSP, 0);
                self.load_into(w, dst, mem);
                self.move_sp(4);
                return false;
            }
        }
        let a = self.top(w);
        match ins.op0_kind() {
            OpKind::Register if ins.op0_register().is_segment_register() => {
                let seg = seg_of(ins.op0_register());
                if seg == SegReg::Cs && self.model != Model::I8086 {
                    return self.undefined();
                }
                self.call(Helper::LoadSeg, a, slot::ZERO, seg as u32);
                self.move_sp(i32::from(w.bytes()));
                if seg == SegReg::Ss {
                    self.call(Helper::SsShadow, slot::ZERO, slot::ZERO, 0);
                }
                return self.end_here();
            }
            OpKind::Register => {
                self.move_sp(i32::from(w.bytes()));
                self.write_reg(ins.op0_register(), a);
            }
            _ => {
                let mut mem = self.mem(ins);
                // An address that uses the stack pointer sees it already moved (SDM vol. 2, POP).
                if mem.base == slot::RSP {
                    let b = Src { slot: slot::ZERO, imm: i32::from(w.bytes()) };
                    let (moved, base) = (self.temp(), self.temp());
                    let stack = self.stack_width();
                    self.e(Op::Add { w: stack, f: false, dst: moved, a: slot::RSP, b });
                    // A 16-bit stack pointer wraps below what ESP holds above it.
                    self.e(Op::Mov { w: Width::D, dst: base, a: slot::RSP });
                    self.e(match stack {
                        Width::D => Op::Mov { w: Width::D, dst: base, a: moved },
                        w => Op::Insert { w, hi: false, dst: base, a: moved },
                    });
                    mem.base = base;
                }
                if self.model == Model::I286 {
                    // The 80286 does not take the increment back when the store faults.
                    self.move_sp(2);
                    self.store(w, mem, a);
                } else {
                    self.store(w, mem, a);
                    self.move_sp(i32::from(w.bytes()));
                }
            }
        }
        false
    }
}
