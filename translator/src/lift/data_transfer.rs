//! Data transfer: MOV, XCHG, LEA, MOVZX, CMOVcc, SETcc, segment loads, compare-and-exchange (SDM vol. 1, 5.1.1).

use super::{Lifter, seg_of};
use crate::helpers::Helper;
use crate::ir::{Cc, Mem, Op, Src, Width};
use crate::state::{SegReg, Slot, slot};
use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind, Register};

/// The condition of a Jcc, SETcc or CMOVcc.
pub(super) fn condition(ins: &Instruction) -> Option<Cc> {
    Some(match ins.condition_code() {
        ConditionCode::o => Cc::O,
        ConditionCode::no => Cc::No,
        ConditionCode::b => Cc::B,
        ConditionCode::ae => Cc::Ae,
        ConditionCode::e => Cc::E,
        ConditionCode::ne => Cc::Ne,
        ConditionCode::be => Cc::Be,
        ConditionCode::a => Cc::A,
        ConditionCode::s => Cc::S,
        ConditionCode::ns => Cc::Ns,
        ConditionCode::p => Cc::P,
        ConditionCode::np => Cc::Np,
        ConditionCode::l => Cc::L,
        ConditionCode::ge => Cc::Ge,
        ConditionCode::le => Cc::Le,
        ConditionCode::g => Cc::G,
        _ => return None,
    })
}

impl Lifter {
    pub(super) fn data_transfer(&mut self, ins: &Instruction) -> bool {
        use Mnemonic::*;
        match ins.mnemonic() {
            Mov => return self.mov(ins),
            // MOVZX r, r/m: the source is narrower, zero-extension is what slots do anyway.
            Movzx => {
                let from = self.width(ins, 1);
                if ins.op1_kind() == OpKind::Memory {
                    let mem = self.mem(ins);
                    self.compute(ins.op0_register(), |l, dst| l.load_into(from, dst, mem));
                } else {
                    let a = self.read_reg(ins.op1_register());
                    self.compute(ins.op0_register(), |l, dst| l.e(Op::Mov { w: from, dst, a }));
                }
            }
            Movsx => {
                let (from, w) = (self.width(ins, 1), self.width(ins, 0));
                let a = self.read(ins, 1);
                self.compute(ins.op0_register(), |l, dst| l.e(Op::Sext { from, w, dst, a }));
            }
            Xchg => self.xchg(ins),
            // LEA of a register form does not decode; the offset is cut to the address size.
            Lea => {
                let mem = self.mem(ins);
                self.compute(ins.op0_register(), |l, dst| l.e(Op::Lea { dst, mem }));
            }
            Lds => return self.load_pointer(ins, SegReg::Ds),
            Les => return self.load_pointer(ins, SegReg::Es),
            Lfs => return self.load_pointer(ins, SegReg::Fs),
            Lgs => return self.load_pointer(ins, SegReg::Gs),
            Lss => return self.load_pointer(ins, SegReg::Ss),
            Xlatb => {
                let index = self.temp();
                self.e(Op::Mov { w: Width::B, dst: index, a: slot::RAX });
                let asize = Width::of_bytes(ins.memory_base().size());
                let seg = seg_of(ins.memory_segment());
                let a = self.load(Width::B, Mem { base: slot::RBX, index, scale: 0, seg, asize, disp: 0 });
                self.write_reg(Register::AL, a);
            }
            Bswap => {
                let r = ins.op0_register();
                let (w, s) = (Width::of_bytes(r.size()), Self::gpr(r).0);
                let t = self.temp();
                self.e(Op::Bswap { w, dst: t, a: s });
                self.write_reg(r, t);
            }
            Cbw => self.extend(Register::AX, Width::B, Width::W),
            Cwde => self.extend(Register::EAX, Width::W, Width::D),
            Cwd | Cdq => {
                let (w, r) = if ins.mnemonic() == Cwd { (Width::W, Register::DX) } else { (Width::D, Register::EDX) };
                let t = self.temp();
                self.e(Op::Sext { from: w, w: Width::Q, dst: t, a: slot::RAX });
                self.e(Op::Sar { w: Width::Q, f: false, dst: t, a: t, b: Src { slot: slot::ZERO, imm: 63 } });
                self.write_reg(r, t);
            }
            // LAHF: AH <- SF:ZF:0:AF:0:PF:1:CF.
            Lahf => {
                let t = self.temp();
                self.e(Op::GetFlags { dst: t });
                self.e(Op::And { w: Width::D, f: false, dst: t, a: t, b: Src { slot: slot::ZERO, imm: 0xd5 } });
                self.e(Op::Or { w: Width::D, f: false, dst: t, a: t, b: Src { slot: slot::ZERO, imm: 2 } });
                self.write_reg(Register::AH, t);
            }
            Sahf => {
                let a = self.read_reg(Register::AH);
                self.e(Op::SetFlags { a, mask: 0xd5 });
            }
            Xadd => {
                let reg = ins.op1_register();
                let w = self.width(ins, 0);
                let b = self.read_reg(reg);
                let old = self.temp();
                let sum = self.temp();
                if ins.op0_kind() == OpKind::Register {
                    let a = self.read_reg(ins.op0_register());
                    self.e(Op::Mov { w, dst: old, a });
                    self.e(Op::Add { w, f: true, dst: sum, a: old, b: Src { slot: b, imm: 0 } });
                    self.write_reg(reg, old);
                    self.write_reg(ins.op0_register(), sum);
                } else {
                    let mem = self.mem(ins);
                    let a = self.load_rmw(w, mem);
                    self.e(Op::Add { w, f: true, dst: sum, a, b: Src { slot: b, imm: 0 } });
                    self.store(w, mem, sum);
                    self.write_reg(reg, a);
                }
            }
            Cmpxchg => self.cmpxchg(ins),
            Cmpxchg8b => {
                let (mem, off) = (self.mem(ins), self.temp());
                self.e(Op::Lea { dst: off, mem });
                self.call(Helper::Cmpxchg8b, off, slot::ZERO, mem.seg as u32);
            }
            _ => self.conditional(ins),
        }
        false
    }

    fn extend(&mut self, r: Register, from: Width, w: Width) {
        let t = self.temp();
        self.e(Op::Sext { from, w, dst: t, a: slot::RAX });
        self.write_reg(r, t);
    }

    /// CMOVcc reads its source even when the condition does not hold; SETcc writes a byte.
    fn conditional(&mut self, ins: &Instruction) {
        let Some(cc) = condition(ins) else {
            self.undefined();
            return;
        };
        let c = self.temp();
        if ins.op_count() == 1 {
            self.e(Op::Cond { cc, dst: c });
            self.write(ins, 0, c);
            return;
        }
        let w = self.width(ins, 0);
        let a = self.read(ins, 1);
        let old = self.read_reg(ins.op0_register());
        self.e(Op::Cond { cc, dst: c });
        self.compute(ins.op0_register(), |l, dst| l.e(Op::Select { w, dst, c, a, b: old }));
    }

    fn mov(&mut self, ins: &Instruction) -> bool {
        let (to, from) = (ins.op0_register(), ins.op1_register());
        if ins.op0_kind() == OpKind::Register {
            if to.is_segment_register() {
                let a = self.read(ins, 1);
                return self.load_segment(seg_of(to), a);
            }
            if to.is_cr() {
                let a = self.read(ins, 1);
                self.call(Helper::MovToCr, a, slot::ZERO, to.number() as u32);
                return self.end_here();
            }
            if to.is_dr() {
                let a = self.read(ins, 1);
                self.call(Helper::MovToDr, a, slot::ZERO, to.number() as u32);
                return self.end_here();
            }
        }
        if to.is_tr() || from.is_tr() {
            return self.undefined();
        }
        if ins.op1_kind() == OpKind::Register && (from.is_segment_register() || from.is_cr() || from.is_dr()) {
            let (helper, n) = if from.is_segment_register() {
                (Helper::ReadSeg, seg_of(from) as u32)
            } else if from.is_cr() {
                (Helper::MovFromCr, from.number() as u32)
            } else {
                (Helper::MovFromDr, from.number() as u32)
            };
            let a = self.call(helper, slot::ZERO, slot::ZERO, n);
            self.write(ins, 0, a);
            return false;
        }
        // A register destination of full width is loaded in place.
        if ins.op0_kind() == OpKind::Register && to.size() == 4 {
            let dst = Self::gpr(to).0;
            match ins.op1_kind() {
                OpKind::Memory => {
                    let mem = self.mem(ins);
                    let w = Width::D;
                    self.e(if self.flat(mem.seg, false) {
                        Op::Load { w, dst, mem }
                    } else {
                        Op::LoadSeg { w, dst, mem }
                    });
                }
                OpKind::Register => self.e(Op::Mov { w: Width::D, dst, a: Self::gpr(from).0 }),
                _ => self.e(Op::Const { dst, value: ins.immediate(1) & 0xffff_ffff }),
            }
            return false;
        }
        let a = self.read(ins, 1);
        self.write(ins, 0, a);
        false
    }

    /// Loads a segment register and ends the block, since its mode bits may have changed.
    pub(super) fn load_segment(&mut self, seg: SegReg, selector: Slot) -> bool {
        if seg == SegReg::Cs {
            return self.undefined();
        }
        self.call(Helper::LoadSeg, selector, slot::ZERO, seg as u32);
        if seg == SegReg::Ss {
            self.call(Helper::SsShadow, slot::ZERO, slot::ZERO, 0);
        }
        self.end_here()
    }

    fn load_pointer(&mut self, ins: &Instruction, seg: SegReg) -> bool {
        if ins.op1_kind() != OpKind::Memory {
            return self.undefined();
        }
        let w = self.width(ins, 0);
        let mem = self.mem(ins);
        let off = self.load(w, mem);
        let behind = self.behind(mem, i32::from(w.bytes()));
        let sel = self.load(Width::W, behind);
        self.call(Helper::LoadSeg, sel, slot::ZERO, seg as u32);
        self.write_reg(ins.op0_register(), off);
        self.end_here()
    }

    fn xchg(&mut self, ins: &Instruction) {
        let (w, reg) = (self.width(ins, 0), ins.op1_register());
        let t = self.temp();
        if ins.op0_kind() == OpKind::Register {
            let a = self.read_reg(ins.op0_register());
            self.e(Op::Mov { w, dst: t, a });
            let b = self.read_reg(reg);
            self.write_reg(ins.op0_register(), b);
            self.write_reg(reg, t);
        } else {
            let mem = self.mem(ins);
            let old = self.load_rmw(w, mem);
            let b = self.read_reg(reg);
            self.store(w, mem, b);
            self.write_reg(reg, old);
        }
    }

    /// CMPXCHG: compares the accumulator with the destination; the destination is written in either case.
    fn cmpxchg(&mut self, ins: &Instruction) {
        let w = self.width(ins, 0);
        let acc_reg = match w {
            Width::B => Register::AL,
            Width::W => Register::AX,
            _ => Register::EAX,
        };
        let mem = (ins.op0_kind() == OpKind::Memory).then(|| self.mem(ins));
        let old = match mem {
            Some(mem) => self.load_rmw(w, mem),
            None => {
                let a = self.read_reg(ins.op0_register());
                let t = self.temp();
                self.e(Op::Mov { w, dst: t, a });
                t
            }
        };
        let new = self.read_reg(ins.op1_register());
        let (diff, equal, value, acc) = (self.temp(), self.temp(), self.temp(), self.temp());
        self.e(Op::Sub { w, f: true, dst: diff, a: slot::RAX, b: Src { slot: old, imm: 0 } });
        self.e(Op::IsZero { w, dst: equal, a: diff });
        self.e(Op::Select { w, dst: value, c: equal, a: new, b: old });
        self.e(Op::Select { w, dst: acc, c: equal, a: slot::RAX, b: old });
        if let Some(mem) = mem {
            self.store(w, mem, value);
            self.write_reg(acc_reg, acc);
        } else {
            self.write_reg(acc_reg, acc);
            self.write_reg(ins.op0_register(), value);
        }
    }
}
