//! x87 (SDM vol. 1, chapter 8): how instructions become x87 operations.
//!
//! Memory operands travel in slots: integers and f32/f64 as their bits, 80-bit values as mantissa and sign-exponent.
//! A store first checks that its operand can be written, then computes ([`FpuOp`]s named `Get` set status and pop), then
//! writes memory: a page fault leaves the x87 state as it was, an unmasked exception leaves memory as it was.

mod exec;

pub use exec::FpuOp;
pub(crate) use exec::{SUPPRESSED, exec};

use super::Lifter;
use crate::helpers::{Helper, misc};
use crate::ir::{Op, Width};

use crate::state::{Slot, mode, slot};
use iced_x86::{Code, Instruction, Mnemonic, OpKind};

/// True for instructions of the x87 unit.
pub(crate) fn is_x87(ins: &Instruction) -> bool {
    // The codes of opcodes D8h to DFh are numbered one after the other, but for those of the 387 SL and of Cyrix. What
    // iced-x86 can say of each code's encoding would do too, but it makes its table of all of them first, which takes
    // milliseconds of every machine's start.
    use Code::{Cyrix_D9D7, Fadd_m32fp, Fcomip_st0_sti, Fnstdw_AX, Fnstsg_AX, Frinear};
    let within = |first: Code, last: Code| (first as usize..=last as usize).contains(&(ins.code() as usize));
    within(Fadd_m32fp, Fcomip_st0_sti)
        || within(Fnstdw_AX, Fnstsg_AX)
        || within(Cyrix_D9D7, Frinear)
        || ins.mnemonic() == Mnemonic::Wait
}

/// The last-opcode bits of an x87 instruction's encoding: the low three bits of its first byte and all of its ModR/M
/// (SDM vol. 1, 8.1.9). 0 for other instructions.
pub fn opcode(bytes: &[u8]) -> u16 {
    let at = bytes.iter().position(|b| (0xd8..=0xdf).contains(b));
    match at.map(|i| (bytes[i], bytes.get(i + 1))) {
        Some((first, Some(modrm))) => u16::from(first & 7) << 8 | u16::from(*modrm),
        _ => 0,
    }
}

/// What follows an operation: the stack pops.
const POP: u8 = 0x10;
const POP2: u8 = 0x20;

impl Lifter {
    fn fpu(&mut self, op: FpuOp, sti: u8, a: Slot, b: Slot) {
        self.e(Op::Fpu { op, sti, a, b });
    }

    /// #NM where the state forbids x87, then #MF for a pending exception unless the instruction does not wait.
    fn fpu_begin(&mut self, waits: bool) {
        if self.mode & mode::FPU == 0 {
            self.e(Op::NotAvailable);
        }
        if waits {
            self.fpu(FpuOp::Wait, 0, slot::ZERO, slot::ZERO);
        }
    }

    /// Remembers opcode, instruction and operand pointers.
    fn fpu_pointers(&mut self, ins: &Instruction) {
        let (ip, dp) = (self.temp(), self.temp());
        self.e(Op::Eip { w: Width::D, dst: ip, rel: self.start });
        let has_mem = ins.op_count() > 0 && (0..ins.op_count()).any(|n| ins.op_kind(n) == OpKind::Memory);
        if has_mem {
            let mem = self.mem(ins);
            self.e(Op::Lea { dst: dp, mem });
            self.fpu(FpuOp::DataPointer, mem.seg as u8, dp, slot::ZERO);
        }
        let opcode = self.constant(self.x87_opcode.into());
        self.fpu(FpuOp::CodePointer, 0, ip, opcode);
    }

    fn sti(ins: &Instruction, n: u32) -> u8 {
        if n < ins.op_count() && ins.op_kind(n) == OpKind::Register { ins.op_register(n).number() as u8 & 7 } else { 0 }
    }

    /// Loads the 80-bit memory operand: mantissa and sign-exponent.
    fn load_80(&mut self, ins: &Instruction) -> (Slot, Slot) {
        let mem = self.mem(ins);
        let lo = self.load(Width::Q, mem);
        let behind = self.behind(mem, 8);
        (lo, self.load(Width::W, behind))
    }

    fn load_mem(&mut self, ins: &Instruction) -> (Slot, usize) {
        let (bytes, mem) = (ins.memory_size().size(), self.mem(ins));
        (self.load(Width::of_bytes(bytes), mem), bytes)
    }

    pub(super) fn x87(&mut self, ins: &Instruction) -> bool {
        use Mnemonic::*;
        let m = ins.mnemonic();
        let z = slot::ZERO;
        match m {
            Wait => {
                if self.mode & mode::WAIT_NM != 0 {
                    self.e(Op::NotAvailable);
                }
                self.fpu(FpuOp::Wait, 0, z, z);
                return false;
            }
            Fnop | Feni | Fneni | Fdisi | Fndisi | Fsetpm | Fnsetpm | Frstpm => {
                self.fpu_begin(m == Fnop);
                return false;
            }
            Fninit | Finit | Fnclex | Fclex | Fnstsw | Fstsw | Fnstcw | Fstcw | Fldcw | Fnstenv | Fstenv | Fldenv
            | Fnsave | Fsave | Frstor => return self.x87_control(ins),
            _ => {}
        }
        self.fpu_begin(true);
        let mem = (0..ins.op_count()).any(|n| ins.op_kind(n) == OpKind::Memory);
        match m {
            Fld if mem && ins.memory_size().size() == 10 => {
                let (a, b) = self.load_80(ins);
                self.fpu(FpuOp::Load80, 0, a, b);
            }
            Fld if mem => {
                let (a, bytes) = self.load_mem(ins);
                self.fpu(if bytes == 4 { FpuOp::Load32 } else { FpuOp::Load64 }, 0, a, z);
            }
            Fld => self.fpu(FpuOp::LoadSt, Self::sti(ins, if ins.op_count() > 1 { 1 } else { 0 }), z, z),
            Fild => {
                let (a, bytes) = self.load_mem(ins);
                let op = match bytes {
                    2 => FpuOp::LoadI16,
                    4 => FpuOp::LoadI32,
                    _ => FpuOp::LoadI64,
                };
                self.fpu(op, 0, a, z);
            }
            Fbld => {
                let (a, b) = self.load_80(ins);
                self.fpu(FpuOp::LoadBcd, 0, a, b);
            }
            Fst | Fstp | Fist | Fistp | Fisttp | Fbstp | Fstpnce => self.x87_store(ins, mem),
            Fxch => {
                let i = if ins.op_count() > 1 { Self::sti(ins, 1) } else { Self::sti(ins, 0) };
                self.fpu(FpuOp::Exchange, i, z, z);
            }
            Fadd | Faddp | Fmul | Fmulp | Fsub | Fsubp | Fsubr | Fsubrp | Fdiv | Fdivp | Fdivr | Fdivrp | Fiadd
            | Fimul | Fisub | Fisubr | Fidiv | Fidivr => self.x87_arith(ins, mem),
            Fcom | Fcomp | Fcompp | Fucom | Fucomp | Fucompp | Ficom | Ficomp => self.x87_compare(ins, mem),
            Fcomi | Fcomip | Fucomi | Fucomip => {
                let op = if matches!(m, Fcomi | Fcomip) { FpuOp::CompareFlags } else { FpuOp::CompareFlagsQuiet };
                let pop = if matches!(m, Fcomip | Fucomip) { POP } else { 0 };
                self.fpu(op, Self::sti(ins, 1) | pop, z, z);
            }
            Fcmovb | Fcmove | Fcmovbe | Fcmovu | Fcmovnb | Fcmovne | Fcmovnbe | Fcmovnu => {
                use crate::ir::Cc;
                let cc = match m {
                    Fcmovb => Cc::B,
                    Fcmove => Cc::E,
                    Fcmovbe => Cc::Be,
                    Fcmovu => Cc::P,
                    Fcmovnb => Cc::Ae,
                    Fcmovne => Cc::Ne,
                    Fcmovnbe => Cc::A,
                    _ => Cc::Np,
                };
                let c = self.temp();
                self.e(Op::Cond { cc, dst: c });
                self.fpu(FpuOp::MoveIf, Self::sti(ins, 1), c, z);
            }
            Ffree => self.fpu(FpuOp::Free, Self::sti(ins, 0), z, z),
            Ffreep => self.fpu(FpuOp::Free, Self::sti(ins, 0) | POP, z, z),
            Fincstp => self.fpu(FpuOp::Rotate, 1, z, z),
            Fdecstp => self.fpu(FpuOp::Rotate, 7, z, z),
            _ => {
                let Some(op) = unary(m) else { return self.undefined() };
                self.fpu(op, 0, z, z);
            }
        }
        self.fpu_pointers(ins);
        false
    }

    fn x87_store(&mut self, ins: &Instruction, mem: bool) {
        use Mnemonic::*;
        let m = ins.mnemonic();
        let pop = if matches!(m, Fst | Fist) { 0 } else { POP };
        if !mem {
            let unchecked = if m == Fstpnce { exec::UNCHECKED } else { 0 };
            self.fpu(FpuOp::StoreSt, Self::sti(ins, 0) | pop | unchecked, slot::ZERO, slot::ZERO);
            return;
        }
        let bytes = ins.memory_size().size();
        let (a, b) = (self.temp(), self.temp());
        let op = match (m, bytes) {
            (Fst | Fstp, 4) => FpuOp::Get32,
            (Fst | Fstp, 8) => FpuOp::Get64,
            (Fst | Fstp, _) => FpuOp::Get80,
            (Fist | Fistp, 2) => FpuOp::GetI16,
            (Fist | Fistp, 4) => FpuOp::GetI32,
            (Fist | Fistp, _) => FpuOp::GetI64,
            (Fisttp, 2) => FpuOp::TruncI16,
            (Fisttp, 4) => FpuOp::TruncI32,
            (Fisttp, _) => FpuOp::TruncI64,
            _ => FpuOp::GetBcd,
        };
        // The address is checked first: an unmasked exception then leaves memory untouched.
        let (operand, off) = (self.mem(ins), self.temp());
        self.e(Op::Lea { dst: off, mem: operand });
        let imm = operand.seg as u32 | (bytes as u32) << 8;
        self.call(Helper::Probe, off, slot::ZERO, imm);
        self.fpu(op, pop, a, b);
        let imm = operand.seg as u32 | (bytes as u32) << 8 | u32::from(a) << 16 | u32::from(b) << 24;
        self.e(Op::Call { helper: Helper::FpuStore, dst: slot::TEMP, a: off, b: slot::ZERO, imm });
    }

    fn x87_arith(&mut self, ins: &Instruction, mem: bool) {
        use Mnemonic::*;
        let kind = match ins.mnemonic() {
            Fadd | Faddp | Fiadd => 0,
            Fmul | Fmulp | Fimul => 1,
            Fsub | Fsubp | Fisub => 2,
            Fsubr | Fsubrp | Fisubr => 3,
            Fdiv | Fdivp | Fidiv => 4,
            _ => 5,
        };
        if mem {
            let integer = matches!(ins.mnemonic(), Fiadd | Fimul | Fisub | Fisubr | Fidiv | Fidivr);
            let (a, bytes) = self.load_mem(ins);
            let op = match (integer, bytes) {
                (true, 2) => FpuOp::ArithI16,
                (true, _) => FpuOp::ArithI32,
                (false, 4) => FpuOp::Arith32,
                _ => FpuOp::Arith64,
            };
            self.fpu(op, kind, a, slot::ZERO);
            return;
        }
        let pop = matches!(ins.mnemonic(), Faddp | Fmulp | Fsubp | Fsubrp | Fdivp | Fdivrp);
        let (d, s) = (Self::sti(ins, 0), Self::sti(ins, 1));
        // sti: the register that is not ST(0) or both; `a` is a plain number: kind, direction, pop.
        if d == 0 && !pop {
            self.fpu(FpuOp::ArithSt0, s | kind << 3, slot::ZERO, slot::ZERO);
        } else {
            let op = if pop { FpuOp::ArithStiPop } else { FpuOp::ArithSti };
            self.fpu(op, d | kind << 3, slot::ZERO, slot::ZERO);
        }
    }

    fn x87_compare(&mut self, ins: &Instruction, mem: bool) {
        use Mnemonic::*;
        let m = ins.mnemonic();
        let pop = match m {
            Fcomp | Fucomp | Ficomp => POP,
            Fcompp | Fucompp => POP2,
            _ => 0,
        };
        if mem {
            let (a, bytes) = self.load_mem(ins);
            let op = match (m, bytes) {
                (Ficom | Ficomp, 2) => FpuOp::CompareI16,
                (Ficom | Ficomp, _) => FpuOp::CompareI32,
                (_, 4) => FpuOp::Compare32,
                _ => FpuOp::Compare64,
            };
            self.fpu(op, pop, a, slot::ZERO);
            return;
        }
        let i = match ins.op_count() {
            0 => 1,
            1 => Self::sti(ins, 0),
            _ => Self::sti(ins, 1),
        };
        let quiet = matches!(m, Fucom | Fucomp | Fucompp);
        self.fpu(if quiet { FpuOp::CompareQuiet } else { FpuOp::Compare }, i | pop, slot::ZERO, slot::ZERO);
    }

    /// Instructions on the unit itself; the FN forms do not wait.
    fn x87_control(&mut self, ins: &Instruction) -> bool {
        use Mnemonic::*;
        let m = ins.mnemonic();
        let z = slot::ZERO;
        let waits = matches!(m, Finit | Fclex | Fstsw | Fstcw | Fldcw | Fstenv | Fldenv | Fsave | Frstor);
        self.fpu_begin(waits);
        match m {
            Finit | Fninit => self.fpu(FpuOp::Init, 0, z, z),
            Fclex | Fnclex => self.fpu(FpuOp::Clear, 0, z, z),
            Fstsw | Fnstsw | Fstcw | Fnstcw => {
                let t = self.temp();
                let op = if matches!(m, Fstsw | Fnstsw) { FpuOp::StatusWord } else { FpuOp::ControlWord };
                self.fpu(op, 0, t, z);
                if ins.op0_kind() == OpKind::Register {
                    self.write_reg(ins.op0_register(), t);
                } else {
                    let mem = self.mem(ins);
                    self.store(Width::W, mem, t);
                }
            }
            Fldcw => {
                let mem = self.mem(ins);
                let a = self.load(Width::W, mem);
                self.fpu(FpuOp::LoadControl, 0, a, z);
            }
            _ => {
                let what = match m {
                    Fstenv | Fnstenv => misc::env::FSTENV,
                    Fldenv => misc::env::FLDENV,
                    Fsave | Fnsave => misc::env::FSAVE,
                    _ => misc::env::FRSTOR,
                };
                let (mem, off) = (self.mem(ins), self.temp());
                self.e(Op::Lea { dst: off, mem });
                let wide = u32::from(matches!(ins.memory_size().size(), 28 | 108));
                self.call(Helper::FpuEnv, off, z, mem.seg as u32 | what << 8 | wide << 16);
            }
        }
        false
    }
}

/// Operations on the top of the stack alone.
fn unary(m: Mnemonic) -> Option<FpuOp> {
    use Mnemonic::*;
    Some(match m {
        Fchs => FpuOp::Chs,
        Fabs => FpuOp::Abs,
        Ftst => FpuOp::Tst,
        Fxam => FpuOp::Xam,
        Fld1 => FpuOp::One,
        Fldl2t => FpuOp::L2t,
        Fldl2e => FpuOp::L2e,
        Fldpi => FpuOp::Pi,
        Fldlg2 => FpuOp::Lg2,
        Fldln2 => FpuOp::Ln2,
        Fldz => FpuOp::Zero,
        F2xm1 => FpuOp::F2xm1,
        Fyl2x => FpuOp::Fyl2x,
        Fyl2xp1 => FpuOp::Fyl2xp1,
        Fptan => FpuOp::Tan,
        Fpatan => FpuOp::Patan,
        Fxtract => FpuOp::Xtract,
        Fprem => FpuOp::Rem,
        Fprem1 => FpuOp::Rem1,
        Fsqrt => FpuOp::Sqrt,
        Fsincos => FpuOp::Sincos,
        Fsin => FpuOp::Sin,
        Fcos => FpuOp::Cos,
        Frndint => FpuOp::Rndint,
        Fscale => FpuOp::Scale,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{EncodingKind, OpCodeTableKind};

    #[test]
    fn the_codes_of_the_x87_unit_are_those_of_its_opcodes() {
        for code in Code::values() {
            let op = code.op_code();
            let opcode = op.encoding() == EncodingKind::Legacy
                && op.table() == OpCodeTableKind::Normal
                && ((0xd8..=0xdf).contains(&(op.op_code() & 0xff)) || op.op_code() >> 8 >= 0xd8);
            let mut ins = Instruction::default();
            ins.set_code(code);
            assert_eq!(is_x87(&ins), opcode || code == Code::Wait, "{code:?}");
        }
    }
}
