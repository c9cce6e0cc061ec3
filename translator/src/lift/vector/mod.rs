//! MMX, SSE and SSE2 (SDM vol. 1, 5.4 to 5.6): how instructions become vector operations.
//!
//! An MMX register is read into a vector temporary, worked on with its upper half zero, and written back; so both
//! register files share [`VecOp`]. Operations whose 64-bit form is not the low half of the 128-bit one get `imm` = 1.

mod exec;
mod float;
mod table;

pub use exec::VecOp;
pub(crate) use exec::exec;

use super::Lifter;
use crate::helpers::{Helper, misc};
use crate::ir::{Op, Width};
use crate::state::{VSlot, mode, slot};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// The vector temporaries an instruction uses.
const T0: VSlot = slot::VTEMP;
const T1: VSlot = slot::VTEMP + 1;

fn is_mm(r: Register) -> bool {
    r.is_mm()
}

impl Lifter {
    pub(super) fn vec(&mut self, op: VecOp, dst: VSlot, a: VSlot, b: VSlot, imm: u8) {
        self.e(Op::Vec { op, dst, a, b, imm });
    }

    /// #UD or #NM where the state forbids SSE.
    fn check_sse(&mut self) {
        if self.mode & mode::SSE == 0 {
            self.vec(VecOp::CheckSse, 0, 0, 0, 0);
        }
    }

    /// #UD, #NM or #MF where the state forbids MMX.
    fn check_mmx(&mut self) {
        self.vec(VecOp::CheckMmx, 0, 0, 0, 1);
    }

    /// TOP <- 0 and all tags valid: after the last operation that can fault.
    fn enter_mmx(&mut self) {
        self.vec(VecOp::CheckMmx, 0, 0, 0, 0);
    }

    /// The source operand `n` in a vector slot: `bytes` of memory zero-extended, or the register itself.
    fn vsource(&mut self, ins: &Instruction, n: u32, bytes: usize, aligned: bool) -> VSlot {
        match ins.op_kind(n) {
            OpKind::Register => {
                let r = ins.op_register(n);
                if is_mm(r) {
                    self.vec(VecOp::ReadMm, T1, r.number() as u8, 0, 0);
                    T1
                } else if r.is_xmm() {
                    r.number() as u8
                } else {
                    let a = self.read_reg(r);
                    let t = self.temp();
                    self.e(Op::Mov { w: Width::of_bytes(r.size()), dst: t, a });
                    self.e(Op::SetV { dst: T1, a: t, hi: false, clear: true });
                    T1
                }
            }
            _ => {
                let mem = self.mem(ins);
                if bytes == 16 {
                    self.e(Op::LoadV { dst: T1, mem, aligned });
                } else {
                    let a = self.load(Width::of_bytes(bytes), mem);
                    self.e(Op::SetV { dst: T1, a, hi: false, clear: true });
                }
                T1
            }
        }
    }

    /// dst <- dst op source, for XMM or MMX destinations.
    fn vbinary(&mut self, ins: &Instruction, op: VecOp, bytes: usize, imm: u8) {
        let r = ins.op0_register();
        if is_mm(r) {
            self.check_mmx();
            let b = self.vsource(ins, 1, bytes.min(8), false);
            self.enter_mmx();
            self.vec(VecOp::ReadMm, T0, r.number() as u8, 0, 0);
            self.vec(op, T0, T0, b, imm);
            self.vec(VecOp::WriteMm, r.number() as u8, T0, 0, 0);
        } else {
            self.check_sse();
            let b = self.vsource(ins, 1, bytes, true);
            let d = r.number() as u8;
            self.vec(op, d, d, b, imm);
        }
    }

    /// A scalar or packed floating-point operation; unmasked exceptions leave the destination alone.
    fn vfloat(&mut self, ins: &Instruction, op: VecOp, bytes: usize, imm: u8) {
        self.check_sse();
        let b = self.vsource(ins, 1, bytes, true);
        let d = ins.op0_register().number() as u8;
        self.vec(op, d, d, b, imm);
    }

    pub(super) fn vector(&mut self, ins: &Instruction) -> bool {
        let m = ins.mnemonic();
        let mm = is_mm(ins.op0_register());
        if let Some((op, width_differs)) = table::integer(m) {
            let imm = u8::from(mm && width_differs);
            // Shifts by an immediate have no vector source.
            if ins.op1_kind() == OpKind::Immediate8 {
                return self.shift_immediate(ins, op);
            }
            // The interleaves of low halves read 32 bits of an MMX memory operand.
            let bytes = if !mm {
                16
            } else if matches!(m, Mnemonic::Punpcklbw | Mnemonic::Punpcklwd | Mnemonic::Punpckldq) {
                4
            } else {
                8
            };
            self.vbinary(ins, op, bytes, imm);
            return false;
        }
        if let Some((op, bytes)) = table::float(m) {
            let imm = if ins.op_count() == 3 { ins.immediate8() } else { 0 };
            self.vfloat(ins, op, bytes, imm);
            return false;
        }
        self.vector_other(ins)
    }

    fn shift_immediate(&mut self, ins: &Instruction, op: VecOp) -> bool {
        let r = ins.op0_register();
        let count = self.constant(u64::from(ins.immediate8()));
        if is_mm(r) {
            self.check_mmx()
        } else {
            self.check_sse()
        }
        self.e(Op::SetV { dst: T1, a: count, hi: false, clear: true });
        if is_mm(r) {
            self.enter_mmx();
            self.vec(VecOp::ReadMm, T0, r.number() as u8, 0, 0);
            self.vec(op, T0, T0, T1, 0);
            self.vec(VecOp::WriteMm, r.number() as u8, T0, 0, 0);
        } else {
            let d = r.number() as u8;
            self.vec(op, d, d, T1, 0);
        }
        false
    }

    fn vector_other(&mut self, ins: &Instruction) -> bool {
        use Mnemonic::*;
        match ins.mnemonic() {
            Movaps | Movapd | Movdqa | Movntps | Movntpd | Movntdq => self.move_full(ins, true),
            Movups | Movupd | Movdqu => self.move_full(ins, false),
            Movss => self.move_scalar(ins, Width::D),
            Movsd => self.move_scalar(ins, Width::Q),
            Movlps | Movlpd => self.move_half(ins, false),
            Movhps | Movhpd => self.move_half(ins, true),
            Movhlps | Movlhps => {
                self.check_sse();
                let t = self.temp();
                let high_source = ins.mnemonic() == Movhlps;
                self.e(Op::GetV { dst: t, a: ins.op1_register().number() as u8, hi: high_source });
                self.e(Op::SetV { dst: ins.op0_register().number() as u8, a: t, hi: !high_source, clear: false });
            }
            Movd | Movq | Movq2dq | Movdq2q | Movntq => self.move_low(ins),
            Movnti => {
                self.store_gpr(ins);
            }
            Pshufw | Pshufd | Pshufhw | Pshuflw => {
                let op = match ins.mnemonic() {
                    Pshufd => VecOp::Pshufd,
                    Pshufhw => VecOp::Pshufhw,
                    _ => VecOp::Pshuflw,
                };
                let bytes = if is_mm(ins.op0_register()) { 8 } else { 16 };
                self.vbinary(ins, op, bytes, ins.immediate8());
            }
            Shufps => self.vbinary(ins, VecOp::Shufps, 16, ins.immediate8()),
            Shufpd => self.vbinary(ins, VecOp::Shufpd, 16, ins.immediate8()),
            Pinsrw => {
                let lanes = if is_mm(ins.op0_register()) { 3 } else { 7 };
                self.vbinary(ins, VecOp::Pinsrw, 2, ins.immediate8() & lanes);
            }
            Pextrw | Pmovmskb | Movmskps | Movmskpd => {
                let r = ins.op1_register();
                if is_mm(r) {
                    self.check_mmx()
                } else {
                    self.check_sse()
                }
                let b = self.vsource(ins, 1, 16, true);
                if is_mm(r) {
                    self.enter_mmx();
                }
                let (op, imm) = match ins.mnemonic() {
                    Pextrw => (VecOp::Pextrw, ins.immediate8() & if is_mm(r) { 3 } else { 7 }),
                    Pmovmskb => (VecOp::Pmovmskb, 0),
                    Movmskps => (VecOp::Movmskps, 0),
                    _ => (VecOp::Movmskpd, 0),
                };
                self.vec(op, T0, T0, b, imm);
                let t = self.temp();
                self.e(Op::GetV { dst: t, a: T0, hi: false });
                self.write_reg(ins.op0_register(), t);
            }
            Maskmovq | Maskmovdqu => self.mask_move(ins),
            Emms => {
                self.vec(VecOp::CheckMmx, 0, 0, 0, 1);
                self.vec(VecOp::Emms, 0, 0, 0, 0);
            }
            Comiss | Ucomiss | Comisd | Ucomisd => {
                let (op, bytes) = match ins.mnemonic() {
                    Comiss => (VecOp::Comiss, 4),
                    Ucomiss => (VecOp::Ucomiss, 4),
                    Comisd => (VecOp::Comisd, 8),
                    _ => (VecOp::Ucomisd, 8),
                };
                self.vfloat(ins, op, bytes, 0);
            }
            Cvtpi2ps | Cvtpi2pd | Cvtsi2ss | Cvtsi2sd => self.convert_from_int(ins),
            Cvtps2pi | Cvttps2pi | Cvtpd2pi | Cvttpd2pi | Cvtss2si | Cvttss2si | Cvtsd2si | Cvttsd2si => {
                self.convert_to_int(ins);
            }
            Ldmxcsr => {
                self.check_sse();
                let mem = self.mem(ins);
                let a = self.load(Width::D, mem);
                self.e(Op::SetV { dst: T1, a, hi: false, clear: true });
                self.vec(VecOp::Ldmxcsr, 0, 0, T1, 0);
            }
            Stmxcsr => {
                self.check_sse();
                self.vec(VecOp::Stmxcsr, T0, 0, 0, 0);
                let t = self.temp();
                self.e(Op::GetV { dst: t, a: T0, hi: false });
                let mem = self.mem(ins);
                self.store(Width::D, mem, t);
            }
            Fxsave | Fxrstor => {
                self.vec(VecOp::CheckFx, 0, 0, 0, 0);
                let (mem, off) = (self.mem(ins), self.temp());
                self.e(Op::Lea { dst: off, mem });
                let what = if ins.mnemonic() == Fxsave { misc::env::FXSAVE } else { misc::env::FXRSTOR };
                self.call(Helper::FpuEnv, off, slot::ZERO, mem.seg as u32 | what << 8);
            }
            _ => return self.undefined(),
        }
        false
    }

    fn store_gpr(&mut self, ins: &Instruction) {
        let a = self.read_reg(ins.op1_register());
        let mem = self.mem(ins);
        self.store(Width::D, mem, a);
    }

    fn move_full(&mut self, ins: &Instruction, aligned: bool) {
        self.check_sse();
        match (ins.op0_kind(), ins.op1_kind()) {
            (OpKind::Register, OpKind::Register) => {
                self.e(Op::MovV { dst: ins.op0_register().number() as u8, a: ins.op1_register().number() as u8 });
            }
            (OpKind::Register, _) => {
                let mem = self.mem(ins);
                self.e(Op::LoadV { dst: ins.op0_register().number() as u8, mem, aligned });
            }
            _ => {
                let mem = self.mem(ins);
                self.e(Op::StoreV { a: ins.op1_register().number() as u8, mem, aligned });
            }
        }
    }

    /// MOVSS, MOVSD: between registers only the low element moves; a load clears the rest.
    fn move_scalar(&mut self, ins: &Instruction, w: Width) {
        self.check_sse();
        let t = self.temp();
        if ins.op0_kind() == OpKind::Register && ins.op1_kind() == OpKind::Register {
            let (d, s) = (ins.op0_register().number() as u8, ins.op1_register().number() as u8);
            self.vec(if w == Width::D { VecOp::Movss } else { VecOp::Movsd }, d, d, s, 0);
        } else if ins.op0_kind() == OpKind::Register {
            let mem = self.mem(ins);
            let a = self.load(w, mem);
            self.e(Op::SetV { dst: ins.op0_register().number() as u8, a, hi: false, clear: true });
        } else {
            self.e(Op::GetV { dst: t, a: ins.op1_register().number() as u8, hi: false });
            let mem = self.mem(ins);
            self.store(w, mem, t);
        }
    }

    fn move_half(&mut self, ins: &Instruction, hi: bool) {
        self.check_sse();
        let mem = self.mem(ins);
        if ins.op0_kind() == OpKind::Register {
            let a = self.load(Width::Q, mem);
            self.e(Op::SetV { dst: ins.op0_register().number() as u8, a, hi, clear: false });
        } else {
            let t = self.temp();
            self.e(Op::GetV { dst: t, a: ins.op1_register().number() as u8, hi });
            self.store(Width::Q, mem, t);
        }
    }

    /// MOVD, MOVQ, MOVQ2DQ, MOVDQ2Q, MOVNTQ: the low 32 or 64 bits, zero-extended.
    fn move_low(&mut self, ins: &Instruction) {
        let uses_mm = is_mm(ins.op0_register()) || is_mm(ins.op1_register());
        if !uses_mm || matches!(ins.mnemonic(), Mnemonic::Movq2dq | Mnemonic::Movdq2q) {
            self.check_sse();
        }
        if uses_mm {
            self.check_mmx();
        }
        let w = if ins.mnemonic() == Mnemonic::Movd { Width::D } else { Width::Q };
        let value = self.temp();
        match ins.op1_kind() {
            OpKind::Register => {
                let b = self.vsource(ins, 1, w.bytes().into(), false);
                self.e(Op::GetV { dst: value, a: b, hi: false });
            }
            _ => {
                let mem = self.mem(ins);
                let a = self.load(w, mem);
                self.e(Op::Mov { w, dst: value, a });
            }
        }
        match ins.op0_kind() {
            OpKind::Register => {
                let r = ins.op0_register();
                let t = self.temp();
                self.e(Op::Mov { w, dst: t, a: value });
                if is_mm(r) {
                    self.e(Op::SetV { dst: T0, a: t, hi: false, clear: true });
                    self.vec(VecOp::WriteMm, r.number() as u8, T0, 0, 0);
                } else if r.is_xmm() {
                    self.e(Op::SetV { dst: r.number() as u8, a: t, hi: false, clear: true });
                } else {
                    self.write_reg(r, t);
                }
            }
            _ => {
                let mem = self.mem(ins);
                self.store(w, mem, value);
            }
        }
        if uses_mm {
            self.enter_mmx();
        }
    }

    fn mask_move(&mut self, ins: &Instruction) {
        let (data, mask) = (ins.op1_register(), ins.op2_register());
        let mm = is_mm(data);
        let (d, m) = if mm {
            self.check_mmx();
            self.vec(VecOp::ReadMm, T0, data.number() as u8, 0, 0);
            self.vec(VecOp::ReadMm, T1, mask.number() as u8, 0, 0);
            (T0, T1)
        } else {
            self.check_sse();
            (data.number() as u8, mask.number() as u8)
        };
        let wide = matches!(ins.op0_kind(), OpKind::MemorySegEDI);
        let off = self.temp();
        self.e(Op::Mov { w: if wide { Width::D } else { Width::W }, dst: off, a: slot::RDI });
        let seg = super::seg_of(ins.memory_segment()) as u32;
        let imm = seg | u32::from(d) << 8 | u32::from(m) << 16 | u32::from(mm) << 24;
        if mm {
            // Even if the store faults.
            self.enter_mmx();
        }
        self.call(Helper::MaskMove, off, slot::ZERO, imm);
    }

    fn convert_from_int(&mut self, ins: &Instruction) {
        use Mnemonic::*;
        let d = ins.op0_register().number() as u8;
        let (op, bytes) = match ins.mnemonic() {
            Cvtpi2ps => (VecOp::Cvtpi2ps, 8),
            Cvtpi2pd => (VecOp::Cvtpi2pd, 8),
            Cvtsi2ss => (VecOp::Cvtsi2ss, 4),
            _ => (VecOp::Cvtsi2sd, 4),
        };
        self.check_sse();
        // From memory neither touches the x87 state. The manual (SDM vol. 2) says so of CVTPI2PD alone: docs/verdicts.md.
        let mm = bytes == 8 && ins.op1_kind() == OpKind::Register;
        if mm {
            self.check_mmx();
        }
        let b = self.vsource(ins, 1, bytes, false);
        if mm {
            // Even if the conversion raises #XM.
            self.enter_mmx();
        }
        self.vec(op, d, d, b, 0);
    }

    fn convert_to_int(&mut self, ins: &Instruction) {
        use Mnemonic::*;
        let (op, bytes) = match ins.mnemonic() {
            Cvtps2pi => (VecOp::Cvtps2pi, 8),
            Cvttps2pi => (VecOp::Cvttps2pi, 8),
            Cvtpd2pi => (VecOp::Cvtpd2pi, 16),
            Cvttpd2pi => (VecOp::Cvttpd2pi, 16),
            Cvtss2si => (VecOp::Cvtss2si, 4),
            Cvttss2si => (VecOp::Cvttss2si, 4),
            Cvtsd2si => (VecOp::Cvtsd2si, 8),
            _ => (VecOp::Cvttsd2si, 8),
        };
        self.check_sse();
        let r = ins.op0_register();
        if is_mm(r) {
            self.check_mmx();
        }
        let b = self.vsource(ins, 1, bytes, true);
        if is_mm(r) {
            // Even if the conversion raises #XM.
            self.enter_mmx();
        }
        self.vec(op, T0, T0, b, 0);
        if is_mm(r) {
            self.vec(VecOp::WriteMm, r.number() as u8, T0, 0, 0);
        } else {
            let t = self.temp();
            self.e(Op::GetV { dst: t, a: T0, hi: false });
            self.write_reg(r, t);
        }
    }
}
