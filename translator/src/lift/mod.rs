//! The meaning of each instruction, written once: one file per group of the manual, from iced's [`Instruction`] to
//! [`Op`]s. This file holds the dispatch and the operand plumbing that all groups share.

mod arith;
mod bit;
mod control;
mod data_transfer;
pub(crate) mod i286;
pub(crate) mod i8086;
mod io;
mod shift;
mod stack;
mod string;
mod system;
pub mod vector;
pub mod x87;

use crate::helpers::Helper;
use crate::ir::{Mem, Op, Src, Width};
use crate::model::Model;
use crate::state::{SegReg, Slot, mode, slot};
use iced_x86::{CpuidFeature, EncodingKind, Instruction, Mnemonic, OpKind, Register};

/// Lifts instructions one after the other into the operations of a block.
pub struct Lifter {
    /// The operations so far.
    pub ops: Vec<Op>,
    pub(crate) model: Model,
    pub(crate) mode: u32,
    next_temp: Slot,
    /// Offset of the next instruction from the block's start.
    pub(crate) next: i32,
    /// Offset of this instruction from the block's start.
    pub(crate) start: i32,
    /// The eleven bits of an x87 instruction that FSTENV shows.
    x87_opcode: u16,
}

/// The number of a segment register.
pub(crate) fn seg_of(r: Register) -> SegReg {
    match r {
        Register::CS => SegReg::Cs,
        Register::SS => SegReg::Ss,
        Register::DS => SegReg::Ds,
        Register::FS => SegReg::Fs,
        Register::GS => SegReg::Gs,
        _ => SegReg::Es,
    }
}

/// The memory operand of an instruction that has one.
pub(crate) fn memory_operand(ins: &Instruction) -> Mem {
    let slot_of = |r: Register| if r == Register::None { slot::ZERO } else { Lifter::gpr(r).0 };
    let (base, index) = (ins.memory_base(), ins.memory_index());
    let size = match (base, index) {
        (Register::None, Register::None) => ins.memory_displ_size() as usize,
        (Register::None, i) => i.size(),
        (b, _) => b.size(),
    };
    Mem {
        base: slot_of(base),
        index: slot_of(index),
        scale: ins.memory_index_scale().trailing_zeros() as u8,
        seg: seg_of(ins.memory_segment()),
        asize: Width::of_bytes(size),
        disp: ins.memory_displacement64() as i32,
    }
}

/// What each generation brought; later ones keep it.
const SINCE: [(Model, &[CpuidFeature]); 7] = {
    use CpuidFeature::*;
    [
        (Model::I8086, &[INTEL8086, FPU, FPU287]),
        (Model::I286, &[INTEL186, INTEL286]),
        (Model::I386, &[INTEL386, FPU387]),
        (Model::I486, &[INTEL486, CPUID, SMM]),
        (Model::Pentium, &[TSC, MSR, CX8, MMX]),
        (Model::P3, &[CMOV, SEP, FXSR, SSE, MULTIBYTENOP]),
        (Model::Max, &[SSE2, CLFSH, PAUSE, CET_IBT]),
    ]
};

/// What one generation alone has.
const ONLY: [(Model, &[CpuidFeature]); 2] = {
    use CpuidFeature::*;
    [(Model::I8086, &[INTEL8086_ONLY, FPU387]), (Model::I286, &[INTEL286_ONLY, FPU287XL_ONLY])]
};

fn has_feature(model: Model, feature: CpuidFeature) -> bool {
    SINCE.iter().any(|(since, list)| *since <= model && list.contains(&feature))
        || ONLY.iter().any(|(only, list)| *only == model && list.contains(&feature))
}

/// Whether `model` has this instruction.
pub fn supported(model: Model, ins: &Instruction) -> bool {
    if ins.encoding() != EncodingKind::Legacy {
        return false;
    }
    // PAUSE is a NOP with a prefix, RDPMC came with CMOV, ENDBR is a NOP on everything older.
    match ins.mnemonic() {
        Mnemonic::Pause | Mnemonic::Nop | Mnemonic::Salc | Mnemonic::Fucomi | Mnemonic::Fcomi => {}
        // 0F 18 to 0F 1F are NOPs since the Pentium Pro (SDM vol. 2, appendix A, note on reserved NOPs).
        Mnemonic::Reservednop => return model >= Model::P3,
        Mnemonic::Rdpmc | Mnemonic::Ud2 => return model >= Model::P3,
        Mnemonic::Rsm | Mnemonic::Loadall | Mnemonic::Syscall | Mnemonic::Sysret => return false,
        _ => {}
    }
    if model < Model::I386 && (0..ins.op_count()).any(|n| matches!(ins.op_register(n), Register::FS | Register::GS)) {
        return false;
    }
    ins.code().cpuid_features().iter().all(|f| has_feature(model, *f))
}

impl Lifter {
    /// An empty block for `model` in a mode ([`mode`] bits).
    pub fn new(model: Model, mode: u32) -> Self {
        Lifter { ops: Vec::with_capacity(64), model, mode, next_temp: slot::TEMP, next: 0, start: 0, x87_opcode: 0 }
    }

    /// Lifts one instruction, encoded as `bytes`, that was decoded with the block's start as IP 0 and ends at offset
    /// `next`. True if it ends the block.
    pub fn instruction(&mut self, ins: &Instruction, bytes: &[u8], next: usize) -> bool {
        self.x87_opcode = x87::opcode(bytes);
        self.next = next as i32;
        self.start = next as i32 - ins.len() as i32;
        self.next_temp = slot::TEMP;
        if !supported(self.model, ins) || (ins.has_lock_prefix() && self.model >= Model::I386 && !lockable(ins)) {
            return self.undefined();
        }
        self.dispatch(ins)
    }

    fn dispatch(&mut self, ins: &Instruction) -> bool {
        use Mnemonic::*;
        match ins.mnemonic() {
            Mov | Movzx | Movsx | Xchg | Lea | Lds | Les | Lfs | Lgs | Lss | Xlatb | Bswap | Cbw | Cwde | Cwd | Cdq
            | Lahf | Sahf | Xadd | Cmpxchg | Cmpxchg8b | Cmova | Cmovae | Cmovb | Cmovbe | Cmove | Cmovg | Cmovge
            | Cmovl | Cmovle | Cmovne | Cmovno | Cmovnp | Cmovns | Cmovo | Cmovp | Cmovs | Seta | Setae | Setb
            | Setbe | Sete | Setg | Setge | Setl | Setle | Setne | Setno | Setnp | Setns | Seto | Setp | Sets => {
                self.data_transfer(ins)
            }
            Add | Adc | Sub | Sbb | And | Or | Xor | Cmp | Test | Inc | Dec | Neg | Not | Mul | Imul | Div | Idiv
            | Daa | Das | Aaa | Aas | Aam | Aad | Clc | Stc | Cmc | Salc => self.arith(ins),
            Shl | Sal | Shr | Sar | Rol | Ror | Rcl | Rcr | Shld | Shrd => self.shift(ins),
            Bt | Bts | Btr | Btc | Bsf | Bsr => self.bit(ins),
            Push | Pop | Pusha | Pushad | Popa | Popad | Pushf | Pushfd | Popf | Popfd | Enter | Leave => {
                self.stack(ins)
            }
            Jmp | Call | Ret | Retf | Iret | Iretd | Int | Int1 | Int3 | Into | Bound | Loop | Loope | Loopne
            | Jcxz | Jecxz | Ja | Jae | Jb | Jbe | Je | Jg | Jge | Jl | Jle | Jne | Jno | Jnp | Jns | Jo | Jp | Js => {
                self.control(ins)
            }
            Movsb | Movsw | Stosb | Stosw | Stosd | Lodsb | Lodsw | Lodsd | Scasb | Scasw | Scasd | Cmpsb | Cmpsw
            | Insb | Insw | Insd | Outsb | Outsw | Outsd => self.string(ins),
            // The same mnemonics name string and SSE2 instructions.
            Movsd | Cmpsd if ins.is_string_instruction() => self.string(ins),
            In | Out => self.io(ins),
            Nop | Reservednop | Pause | Endbr32 | Endbr64 | Prefetchnta | Prefetcht0 | Prefetcht1 | Prefetcht2
            | Clflush | Sfence | Lfence | Mfence | Cli | Sti | Cld | Std | Hlt | Cpuid | Rdtsc | Rdpmc | Rdmsr
            | Wrmsr | Clts | Lmsw | Smsw | Lgdt | Lidt | Sgdt | Sidt | Lldt | Ltr | Sldt | Str | Lar | Lsl | Verr
            | Verw | Arpl | Invlpg | Invd | Wbinvd | Sysenter | Sysexit | Ud0 | Ud1 | Ud2 => self.system(ins),
            _ if x87::is_x87(ins) => self.x87(ins),
            _ => self.vector(ins),
        }
    }

    /// #UD, and the block ends.
    pub(crate) fn undefined(&mut self) -> bool {
        self.e(Op::Undefined);
        self.e(Op::Exit);
        true
    }

    /// Emits an operation.
    #[inline]
    pub(crate) fn e(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// A temporary for the rest of this instruction.
    pub(crate) fn temp(&mut self) -> Slot {
        let t = self.next_temp;
        // Longest user is PUSHA with 20; 224 are there.
        self.next_temp = self.next_temp.wrapping_add(1).max(slot::TEMP);
        t
    }

    /// A temporary holding `value`.
    pub(crate) fn constant(&mut self, value: u64) -> Slot {
        let dst = self.temp();
        self.e(Op::Const { dst, value });
        dst
    }

    /// Emits a helper call with a result.
    pub(crate) fn call(&mut self, helper: Helper, a: Slot, b: Slot, imm: u32) -> Slot {
        let dst = self.temp();
        self.e(Op::Call { helper, dst, a, b, imm });
        dst
    }

    /// Ends the block after an instruction that may have changed mode, flags or pending interrupts.
    pub(crate) fn end_here(&mut self) -> bool {
        self.e(Op::After { rel: self.next });
        true
    }

    /// The immediate that tells a transfer helper its operand size and the offset of the next instruction.
    pub(crate) fn transfer_imm(&self, osize: Width) -> u32 {
        u32::from(osize.bytes()) | (self.next as u32 & 0xffff) << 8
    }

    /// Width of operand `n`.
    pub(crate) fn width(&self, ins: &Instruction, n: u32) -> Width {
        match ins.op_kind(n) {
            OpKind::Register => Width::of_bytes(ins.op_register(n).size()),
            _ => Width::of_bytes(ins.memory_size().size()),
        }
    }

    /// The slot of a general register, and whether it is one of AH, CH, DH, BH.
    pub(crate) fn gpr(r: Register) -> (Slot, bool) {
        if (Register::AH as u32..=Register::BH as u32).contains(&(r as u32)) {
            return ((r as u32 - Register::AH as u32) as Slot, true);
        }
        (r.number() as Slot & 15, false)
    }

    /// A slot whose low bits are the register's value.
    pub(crate) fn read_reg(&mut self, r: Register) -> Slot {
        let (s, hi) = Self::gpr(r);
        if !hi {
            return s;
        }
        let dst = self.temp();
        self.e(Op::High8 { dst, a: s });
        dst
    }

    /// Writes a general register from the low bits of `a`.
    pub(crate) fn write_reg(&mut self, r: Register, a: Slot) {
        let (dst, hi) = Self::gpr(r);
        match r.size() {
            8 => self.e(Op::Mov { w: Width::Q, dst, a }),
            4 => self.e(Op::Mov { w: Width::D, dst, a }),
            2 => self.e(Op::Insert { w: Width::W, hi: false, dst, a }),
            _ => self.e(Op::Insert { w: Width::B, hi, dst, a }),
        }
    }

    /// Lets `f` compute into a general register: in place if it is 32 bits wide, through a temporary otherwise. The
    /// operation that writes the slot must be the last of `f` that can fault.
    pub(crate) fn compute(&mut self, r: Register, f: impl FnOnce(&mut Self, Slot)) {
        if r.size() == 4 {
            f(self, Self::gpr(r).0);
        } else {
            let t = self.temp();
            f(self, t);
            self.write_reg(r, t);
        }
    }

    /// Loads from memory into `dst`.
    pub(crate) fn load_into(&mut self, w: Width, dst: Slot, mem: Mem) {
        self.e(if self.flat(mem.seg, false) { Op::Load { w, dst, mem } } else { Op::LoadSeg { w, dst, mem } });
    }

    /// The memory operand.
    pub(crate) fn mem(&self, ins: &Instruction) -> Mem {
        memory_operand(ins)
    }

    /// True if accesses through `seg` need no check.
    pub(crate) fn flat(&self, seg: SegReg, write: bool) -> bool {
        self.mode & mode::CHECKED == 0 && self.mode & mode::FLAT << seg as u32 != 0 && !(write && seg == SegReg::Cs)
    }

    /// Loads from memory into a temporary.
    pub(crate) fn load(&mut self, w: Width, mem: Mem) -> Slot {
        let dst = self.temp();
        self.load_into(w, dst, mem);
        dst
    }

    /// Loads for a read-modify-write.
    pub(crate) fn load_rmw(&mut self, w: Width, mem: Mem) -> Slot {
        let dst = self.temp();
        self.e(if self.flat(mem.seg, true) { Op::LoadRmw { w, dst, mem } } else { Op::LoadRmwSeg { w, dst, mem } });
        dst
    }

    /// Stores to memory.
    pub(crate) fn store(&mut self, w: Width, mem: Mem, a: Slot) {
        self.e(if self.flat(mem.seg, true) { Op::Store { w, a, mem } } else { Op::StoreSeg { w, a, mem } });
    }

    /// A memory operand `delta` bytes behind another.
    pub(crate) fn behind(&mut self, mem: Mem, delta: i32) -> Mem {
        match mem.disp.checked_add(delta) {
            Some(disp) => Mem { disp, ..mem },
            None => {
                let base = self.temp();
                self.e(Op::Lea { dst: base, mem });
                Mem { base, index: slot::ZERO, scale: 0, disp: delta, ..mem }
            }
        }
    }

    /// Value of operand `n` (register, memory or immediate) in a slot.
    pub(crate) fn read(&mut self, ins: &Instruction, n: u32) -> Slot {
        match ins.op_kind(n) {
            OpKind::Register => self.read_reg(ins.op_register(n)),
            OpKind::Memory => {
                let (w, mem) = (self.width(ins, n), self.mem(ins));
                self.load(w, mem)
            }
            _ => {
                let v = ins.immediate(n);
                self.constant(v)
            }
        }
    }

    /// Value of operand `n` as a source; immediates stay immediates.
    pub(crate) fn source(&mut self, ins: &Instruction, n: u32) -> Src {
        match ins.op_kind(n) {
            OpKind::Register | OpKind::Memory => Src { slot: self.read(ins, n), imm: 0 },
            _ => Src { slot: slot::ZERO, imm: ins.immediate(n) as i32 },
        }
    }

    /// Writes operand `n`.
    pub(crate) fn write(&mut self, ins: &Instruction, n: u32, a: Slot) {
        match ins.op_kind(n) {
            OpKind::Register => self.write_reg(ins.op_register(n), a),
            _ => {
                let (w, mem) = (self.width(ins, n), self.mem(ins));
                self.store(w, mem, a);
            }
        }
    }

    /// Reads operand 0, lets `f` compute a new value into the slot it is given, and writes that back: `f(self, w, dst,
    /// value)`. A 32-bit register is computed in place. Flags that `f` sets are set after everything that can fault.
    pub(crate) fn modify(&mut self, ins: &Instruction, f: impl FnOnce(&mut Self, Width, Slot, Slot)) {
        let w = self.width(ins, 0);
        if ins.op_kind(0) == OpKind::Register {
            let r = ins.op_register(0);
            let a = self.read_reg(r);
            if matches!(w, Width::D | Width::Q) {
                f(self, w, a, a);
            } else {
                let t = self.temp();
                f(self, w, t, a);
                self.write_reg(r, t);
            }
        } else {
            let mem = self.mem(ins);
            let a = self.load_rmw(w, mem);
            let t = self.temp();
            f(self, w, t, a);
            self.store(w, mem, t);
        }
    }
}

/// Instructions that take a LOCK prefix with a memory destination (SDM vol. 2, LOCK); iced rejects the others while
/// decoding, this covers those it lets through for newer processors.
fn lockable(ins: &Instruction) -> bool {
    use Mnemonic::*;
    ins.op0_kind() == OpKind::Memory
        && matches!(
            ins.mnemonic(),
            Add | Adc
                | And
                | Btc
                | Btr
                | Bts
                | Cmpxchg
                | Cmpxchg8b
                | Dec
                | Inc
                | Neg
                | Not
                | Or
                | Sbb
                | Sub
                | Xor
                | Xadd
                | Xchg
        )
}
