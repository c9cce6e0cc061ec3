//! What each x87 instruction does to the register stack, and the simulation of that stack over a batch.
//!
//! Registers are numbered relative to the top of stack at the batch's start: v is ST(v) there, and the first push goes
//! to 7. The host's stack holds the registers that the batch touches, in the guest's order, so the guest's ST(0) is the
//! host's and a deeper ST(i) lies at most i deep.

use iced_x86::{Code, Instruction, Mnemonic, OpCodeOperandKind, OpKind, Register};

/// Condition codes that comparisons define.
pub(super) const COMPARED: u16 = 0x4700;
/// C1, which nearly all instructions define.
pub(super) const C1: u16 = 0x200;

/// One x87 instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    /// The instruction without its pops.
    pub core: Option<Code>,
    /// The instruction with its pops, if it pops.
    pub popping: Option<Code>,
    /// The register besides ST(0).
    pub i: u8,
    /// How often it pops.
    pub pops: u8,
    /// It pushes a register.
    pub push: bool,
    /// It reads ST(0).
    pub reads_top: bool,
    /// It reads ST(i).
    pub reads_i: bool,
    /// It writes ST(0).
    pub writes_top: bool,
    /// It writes ST(i).
    pub writes_i: bool,
    /// Condition codes it defines.
    pub defines: u16,
    /// It sets EFLAGS. C1 stays, so that the guest's own unit has to be on the host.
    pub sets_flags: bool,
}

fn sti(ins: &Instruction) -> u8 {
    let code = ins.code().op_code();
    let n = (0..code.op_count()).find(|n| code.op_kind(*n) == OpCodeOperandKind::sti_opcode);
    n.map_or(0, |n| ins.op_register(n).number() as u8 & 7)
}

/// The instruction's effects; `None` if it is not for a batch.
pub(super) fn op(ins: &Instruction) -> Option<Op> {
    use Mnemonic::*;
    let code = ins.code();
    let mem = ins.op_count() > 0 && ins.op0_kind() == OpKind::Memory;
    let base = Op {
        core: Some(code),
        popping: None,
        i: sti(ins),
        pops: 0,
        push: false,
        reads_top: true,
        reads_i: false,
        writes_top: false,
        writes_i: false,
        defines: C1,
        sets_flags: false,
    };
    Some(match ins.mnemonic() {
        Fld | Fild | Fld1 | Fldl2t | Fldl2e | Fldpi | Fldlg2 | Fldln2 | Fldz => {
            Op { push: true, reads_top: false, reads_i: code == Code::Fld_sti, ..base }
        }
        Fchs | Fabs | Fsqrt | Frndint => Op { writes_top: true, ..base },
        Fadd | Fmul | Fsub | Fsubr | Fdiv | Fdivr | Fiadd | Fimul | Fisub | Fisubr | Fidiv | Fidivr if mem => {
            Op { writes_top: true, ..base }
        }
        Fadd | Fmul | Fsub | Fsubr | Fdiv | Fdivr => {
            let to_top = code.op_code().op_kind(0) == OpCodeOperandKind::st0;
            Op { reads_i: true, writes_top: to_top, writes_i: !to_top, ..base }
        }
        Faddp | Fmulp | Fsubp | Fsubrp | Fdivp | Fdivrp => {
            let core = match code {
                Code::Faddp_sti_st0 => Code::Fadd_sti_st0,
                Code::Fmulp_sti_st0 => Code::Fmul_sti_st0,
                Code::Fsubp_sti_st0 => Code::Fsub_sti_st0,
                Code::Fsubrp_sti_st0 => Code::Fsubr_sti_st0,
                Code::Fdivp_sti_st0 => Code::Fdiv_sti_st0,
                Code::Fdivrp_sti_st0 => Code::Fdivr_sti_st0,
                _ => return None,
            };
            Op { core: Some(core), popping: Some(code), pops: 1, reads_i: true, writes_i: true, ..base }
        }
        Fxch => Op { core: Some(Code::Fxch_st0_sti), reads_i: true, writes_top: true, writes_i: true, ..base },
        Ftst | Fxam => Op { defines: COMPARED, ..base },
        Fcom | Fcomp | Ficom | Ficomp if mem => {
            let core = match code {
                Code::Fcomp_m32fp => Code::Fcom_m32fp,
                Code::Fcomp_m64fp => Code::Fcom_m64fp,
                Code::Ficomp_m16int => Code::Ficom_m16int,
                Code::Ficomp_m32int => Code::Ficom_m32int,
                other => other,
            };
            let pops = u8::from(core != code);
            Op { core: Some(core), popping: (pops != 0).then_some(code), pops, defines: COMPARED, ..base }
        }
        Fcom => Op { core: Some(Code::Fcom_st0_sti), reads_i: true, defines: COMPARED, ..base },
        Fcomp => compare(base, Code::Fcom_st0_sti, Code::Fcomp_st0_sti, 1),
        Fcompp => compare(Op { i: 1, ..base }, Code::Fcom_st0_sti, Code::Fcompp, 2),
        Fucom => Op { reads_i: true, defines: COMPARED, ..base },
        Fucomp => compare(base, Code::Fucom_st0_sti, Code::Fucomp_st0_sti, 1),
        Fucompp => compare(Op { i: 1, ..base }, Code::Fucom_st0_sti, Code::Fucompp, 2),
        // SDM vol. 2, FCOMI: C1 is set to 0; processors of both makers leave it (docs/verdicts.md).
        Fcomi | Fucomi => Op { reads_i: true, defines: 0, sets_flags: true, ..base },
        Fcomip | Fucomip => {
            let core = if code == Code::Fcomip_st0_sti { Code::Fcomi_st0_sti } else { Code::Fucomi_st0_sti };
            Op { defines: 0, sets_flags: true, ..compare(base, core, code, 1) }
        }
        Fcmovb | Fcmove | Fcmovbe | Fcmovu | Fcmovnb | Fcmovne | Fcmovnbe | Fcmovnu => {
            Op { reads_i: true, writes_top: true, defines: 0, ..base }
        }
        Fst | Fstp | Fist | Fistp if mem => {
            let core = match code {
                Code::Fstp_m32fp => Some(Code::Fst_m32fp),
                Code::Fstp_m64fp => Some(Code::Fst_m64fp),
                Code::Fistp_m16int => Some(Code::Fist_m16int),
                Code::Fistp_m32int => Some(Code::Fist_m32int),
                // These only exist with a pop.
                Code::Fstp_m80fp | Code::Fistp_m64int => None,
                other => Some(other),
            };
            let pops = u8::from(core != Some(code));
            Op { core, popping: (pops != 0).then_some(code), pops, ..base }
        }
        // To itself it changes C1 alone.
        Fst => Op { writes_i: base.i != 0, ..base },
        Fstp => {
            let writes_i = base.i != 0;
            Op { core: Some(Code::Fst_sti), popping: Some(Code::Fstp_sti), pops: 1, writes_i, ..base }
        }
        _ => return None,
    })
}

fn compare(base: Op, core: Code, popping: Code, pops: u8) -> Op {
    Op { core: Some(core), popping: Some(popping), pops, reads_i: true, defines: COMPARED, ..base }
}

/// What is known about a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tag {
    /// As it was at the batch's start.
    Untouched,
    /// Not empty, and on the host's stack.
    Full,
    Empty,
}

/// The guest's register stack over a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack {
    tags: [Tag; 8],
    /// TOP relative to the batch's start.
    pub top: u8,
    /// Registers that must not be empty at the start, one bit each.
    pub full_before: u8,
    /// Registers that must be empty at the start.
    pub empty_before: u8,
    /// Registers to load onto the host's stack.
    pub loads: u8,
    /// For each register, one more than the number of the last instruction that pushed it.
    pub last_push: [usize; 8],
}

impl Default for Stack {
    fn default() -> Self {
        Stack { tags: [Tag::Untouched; 8], top: 0, full_before: 0, empty_before: 0, loads: 0, last_push: [0; 8] }
    }
}

impl Stack {
    /// The register that is ST(i) now.
    pub fn at(&self, i: u8) -> u8 {
        self.top.wrapping_add(i) & 7
    }

    fn read(&mut self, v: u8) -> Option<()> {
        match self.tags[usize::from(v)] {
            Tag::Untouched => {
                self.full_before |= 1 << v;
                self.loads |= 1 << v;
                self.tags[usize::from(v)] = Tag::Full;
            }
            Tag::Full => {}
            Tag::Empty => return None,
        }
        Some(())
    }

    /// A register whose old value and tag do not matter; it has to have a place on the host's stack.
    fn overwrite(&mut self, v: u8) -> Option<()> {
        match self.tags[usize::from(v)] {
            Tag::Untouched => {
                self.loads |= 1 << v;
                self.tags[usize::from(v)] = Tag::Full;
            }
            Tag::Full => {}
            Tag::Empty => return None,
        }
        Some(())
    }

    /// Lets instruction number `n` work on the stack; `None` if it certainly faults, or cannot be followed.
    pub fn step(&mut self, op: &Op, n: usize) -> Option<()> {
        if op.reads_top {
            self.read(self.at(0))?;
        }
        if op.reads_i {
            self.read(self.at(op.i))?;
        }
        if op.writes_i {
            self.overwrite(self.at(op.i))?;
        }
        if op.push {
            let v = self.at(7);
            match self.tags[usize::from(v)] {
                Tag::Untouched => self.empty_before |= 1 << v,
                Tag::Empty => {}
                Tag::Full => return None,
            }
            self.tags[usize::from(v)] = Tag::Full;
            self.top = v;
            self.last_push[usize::from(v)] = n + 1;
        }
        for _ in 0..op.pops {
            self.tags[usize::from(self.top)] = Tag::Empty;
            self.top = self.at(1);
        }
        Some(())
    }

    fn tagged(&self, tag: Tag) -> u8 {
        (0..8u8).filter(|v| self.tags[usize::from(*v)] == tag).fold(0, |m, v| m | 1 << v)
    }
    /// Registers whose tag the batch may change to not empty.
    pub fn filled(&self) -> u8 {
        self.tagged(Tag::Full) & !self.full_before
    }
    /// Registers whose tag the batch changes to empty.
    pub fn emptied(&self) -> u8 {
        self.tagged(Tag::Empty) & !self.empty_before
    }
}

/// The same instruction with ST(i) replaced and its memory operand at `[rax]`.
pub(super) fn encoded(code: Code, i: u8) -> Instruction {
    let mut ins = Instruction::default();
    ins.set_code(code);
    let op = code.op_code();
    for n in 0..op.op_count() {
        match op.op_kind(n) {
            OpCodeOperandKind::st0 => {
                ins.set_op_kind(n, OpKind::Register);
                ins.set_op_register(n, Register::ST0);
            }
            OpCodeOperandKind::sti_opcode => {
                ins.set_op_kind(n, OpKind::Register);
                ins.set_op_register(n, Register::ST0 + u32::from(i & 7));
            }
            _ => {
                ins.set_op_kind(n, OpKind::Memory);
                ins.set_memory_base(Register::RAX);
            }
        }
    }
    ins
}
