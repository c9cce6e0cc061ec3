//! The typed operations that guest instructions are lifted to: one table, [`Op`].
//!
//! An operation works on *slots* (see [`crate::state`]): general registers and flags are slots with fixed numbers,
//! temporaries are slots that live for one instruction. A slot holds a value zero-extended to 64 bits; an operation of
//! width `w` reads the low `w` bits of its sources and writes its result zero-extended, so that writing a 32-bit general
//! register is the operation itself and narrower ones need [`Op::Insert`]. Operations of one block run in order and
//! there are no jumps inside a block: the last operation is a terminator ([`Op::is_terminator`]).
//!
//! An operation that can fault leaves slots and memory unchanged when it does, and the lifter orders operations so that
//! everything an instruction writes comes after everything in it that can fault.

mod liveness;
mod printer;

pub use liveness::drop_dead_flags;
pub use printer::print;

use crate::state::{SegReg, Slot, VSlot};

/// Operand width.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum Width {
    /// 8 bits.
    B = 0,
    /// 16 bits.
    W = 1,
    /// 32 bits.
    D = 2,
    /// 64 bits.
    Q = 3,
}

impl Width {
    /// Size in bits.
    #[inline(always)]
    pub fn bits(self) -> u32 {
        8 << self as u32
    }
    /// Size in bytes.
    #[inline(always)]
    pub fn bytes(self) -> u8 {
        1 << self as u8
    }
    /// All ones in this width.
    #[inline(always)]
    pub fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }
    /// The width of this many bytes; 8 bytes for anything else.
    pub fn of_bytes(n: usize) -> Width {
        match n {
            1 => Width::B,
            2 => Width::W,
            4 => Width::D,
            _ => Width::Q,
        }
    }
}

/// A source operand: the sum of a slot and a constant. An immediate is the constant with [`crate::state::slot::ZERO`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Src {
    /// The slot.
    pub slot: Slot,
    /// Added to it, sign-extended.
    pub imm: i32,
}

/// A memory operand: `base + index * 2^scale + disp`, cut to the address size, in segment `seg`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mem {
    /// Base slot or ZERO.
    pub base: Slot,
    /// Index slot or ZERO.
    pub index: Slot,
    /// 0 to 3.
    pub scale: u8,
    /// Segment register, for the checked operations.
    pub seg: SegReg,
    /// Address size.
    pub asize: Width,
    /// Displacement, sign-extended.
    pub disp: i32,
}

/// Condition codes in encoding order (SDM vol. 1, appendix B).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the manual's names")]
pub enum Cc {
    O,
    No,
    B,
    Ae,
    E,
    Ne,
    Be,
    A,
    S,
    Ns,
    P,
    Np,
    L,
    Ge,
    Le,
    G,
}

impl Cc {
    /// From the low four bits of an opcode.
    pub fn from_bits(n: u8) -> Cc {
        use Cc::*;
        [O, No, B, Ae, E, Ne, Be, A, S, Ns, P, Np, L, Ge, Le, G][usize::from(n & 15)]
    }
}

/// Decimal adjustments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the manual's names")]
pub enum Bcd {
    Daa,
    Das,
    Aaa,
    Aas,
    Aam,
    Aad,
}

/// How a bit test changes its operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BitOp {
    /// BT.
    Test,
    /// BTS.
    Set,
    /// BTR.
    Reset,
    /// BTC.
    Complement,
}

/// One operation. `f` asks for the arithmetic flags; without it they are left alone.
#[derive(Clone, Copy, PartialEq, Debug)]
#[expect(missing_docs, reason = "fields follow one scheme: dst <- a op b")]
pub enum Op {
    /// dst <- value.
    Const {
        dst: Slot,
        value: u64,
    },
    /// dst <- a, cut to w.
    Mov {
        w: Width,
        dst: Slot,
        a: Slot,
    },
    /// dst <- a sign-extended from `from`, cut to `w`.
    Sext {
        from: Width,
        w: Width,
        dst: Slot,
        a: Slot,
    },
    /// Low `w` bits of dst (bits 8-15 if `hi`) <- a; the other bits stay.
    Insert {
        w: Width,
        hi: bool,
        dst: Slot,
        a: Slot,
    },
    /// dst <- bits 8-15 of a.
    High8 {
        dst: Slot,
        a: Slot,
    },
    /// dst <- the offset of a memory operand.
    Lea {
        dst: Slot,
        mem: Mem,
    },
    /// dst <- linear or real RIP of the block start plus `rel`, cut to `w`.
    Eip {
        w: Width,
        dst: Slot,
        rel: i32,
    },

    Add {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    Adc {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    Sub {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    Sbb {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    And {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    Or {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    Xor {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    /// CF stays.
    Inc {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
    },
    /// CF stays.
    Dec {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
    },
    Neg {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
    },
    Not {
        w: Width,
        dst: Slot,
        a: Slot,
    },

    /// Shifts and rotates: the count is the low 8 bits of b, already masked as the CPU model does. A count of 0 changes
    /// no flag. Flags follow SDM vol. 2; where it leaves them undefined, what current hardware does.
    Shl {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    Shr {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    Sar {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    Rol {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    Ror {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    Rcl {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    Rcr {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    /// dst <- a shifted left by `count`, filled from b.
    Shld {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Slot,
        count: Src,
    },
    /// dst <- a shifted right by `count`, filled from b.
    Shrd {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Slot,
        count: Src,
    },

    /// hi:lo <- a * b.
    Mul {
        w: Width,
        signed: bool,
        f: bool,
        lo: Slot,
        hi: Slot,
        a: Slot,
        b: Slot,
    },
    /// dst <- a * b, flags as two-operand IMUL.
    Imul {
        w: Width,
        f: bool,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    /// quot, rem <- hi:lo / b; #DE.
    Div {
        w: Width,
        signed: bool,
        quot: Slot,
        rem: Slot,
        hi: Slot,
        lo: Slot,
        b: Slot,
    },

    /// dst <- index of the lowest set bit; ZF if none, dst then keeps `old`.
    Bsf {
        w: Width,
        dst: Slot,
        a: Slot,
        old: Slot,
    },
    /// dst <- index of the highest set bit; ZF if none, dst then keeps `old`.
    Bsr {
        w: Width,
        dst: Slot,
        a: Slot,
        old: Slot,
    },
    /// CF <- bit (b mod width) of a; dst <- a changed.
    Bit {
        op: BitOp,
        w: Width,
        dst: Slot,
        a: Slot,
        b: Src,
    },
    Bswap {
        w: Width,
        dst: Slot,
        a: Slot,
    },
    /// AX <- AX adjusted; AAM may raise #DE.
    Bcd {
        op: Bcd,
        imm: u8,
    },

    /// dst <- 1 if the condition holds, else 0.
    Cond {
        cc: Cc,
        dst: Slot,
    },
    /// dst <- c != 0 ? a : b.
    Select {
        w: Width,
        dst: Slot,
        c: Slot,
        a: Slot,
        b: Slot,
    },
    /// dst <- a == 0 ? 1 : 0 in width w.
    IsZero {
        w: Width,
        dst: Slot,
        a: Slot,
    },
    /// dst <- the six arithmetic flags in EFLAGS positions.
    GetFlags {
        dst: Slot,
    },
    /// The arithmetic flags in `mask` <- a.
    SetFlags {
        a: Slot,
        mask: u32,
    },
    /// CF <- CF XOR 1.
    Cmc,

    /// dst <- memory at a linear address: no segment check is needed (flat segment).
    Load {
        w: Width,
        dst: Slot,
        mem: Mem,
    },
    /// Memory <- a, linear.
    Store {
        w: Width,
        a: Slot,
        mem: Mem,
    },
    /// As Load, for a read-modify-write: faults as a write.
    LoadRmw {
        w: Width,
        dst: Slot,
        mem: Mem,
    },
    /// As Load, with the segment's checks.
    LoadSeg {
        w: Width,
        dst: Slot,
        mem: Mem,
    },
    /// As Store, with the segment's checks.
    StoreSeg {
        w: Width,
        a: Slot,
        mem: Mem,
    },
    /// As LoadRmw, with the segment's checks.
    LoadRmwSeg {
        w: Width,
        dst: Slot,
        mem: Mem,
    },
    /// Raises what a write of `w` would raise.
    ProbeSeg {
        w: Width,
        mem: Mem,
    },

    /// v <- 128 bits of memory, with the segment's checks; #GP(0) if `aligned` and the address is not.
    LoadV {
        dst: VSlot,
        mem: Mem,
        aligned: bool,
    },
    /// 128 bits of memory <- v.
    StoreV {
        a: VSlot,
        mem: Mem,
        aligned: bool,
    },
    /// dst <- quadword `hi` of a.
    GetV {
        dst: Slot,
        a: VSlot,
        hi: bool,
    },
    /// Quadword `hi` of dst <- a; the other quadword is kept, or cleared with `clear`.
    SetV {
        dst: VSlot,
        a: Slot,
        hi: bool,
        clear: bool,
    },
    /// dst <- a.
    MovV {
        dst: VSlot,
        a: VSlot,
    },
    /// An SSE, SSE2 or MMX operation on vectors: see [`crate::lift::vector`].
    Vec {
        op: crate::lift::vector::VecOp,
        dst: VSlot,
        a: VSlot,
        b: VSlot,
        imm: u8,
    },
    /// An x87 operation: see [`crate::lift::x87`]. `a` and `b` are operands or results in slots.
    Fpu {
        op: crate::lift::x87::FpuOp,
        sti: u8,
        a: Slot,
        b: Slot,
    },

    /// A hypervisor call: see [`crate::helpers`].
    Call {
        helper: crate::helpers::Helper,
        dst: Slot,
        a: Slot,
        b: Slot,
        imm: u32,
    },
    /// Nothing: gives an instruction without effect a place of its own in the block.
    Nop,
    /// Raises #UD.
    Undefined,
    /// Raises #NM.
    NotAvailable,

    /// Ends the block: RIP <- block start + rel, cut to w.
    Jump {
        w: Width,
        rel: i32,
    },
    /// Ends the block: RIP <- block start + (cc holds ? taken : fall), cut to w.
    Branch {
        cc: Cc,
        w: Width,
        taken: i32,
        fall: i32,
    },
    /// Ends the block: RIP <- block start + (c != 0 ? taken : fall), cut to w.
    BranchIf {
        c: Slot,
        w: Width,
        taken: i32,
        fall: i32,
    },
    /// Ends the block: RIP <- a.
    JumpInd {
        a: Slot,
    },
    /// Raises #GP(0) if a is beyond the code segment: near transfers check before they write anything.
    CheckTarget {
        a: Slot,
    },
    /// Ends the block: RIP <- block start + rel, the next instruction.
    Fall {
        rel: i32,
    },
    /// Ends the block: RIP <- block start + rel, the next instruction. What came before may have changed the mode or let
    /// an interrupt in.
    After {
        rel: i32,
    },
    /// Ends the block: a call before this has set RIP.
    Exit,
}

impl Op {
    /// Whether it is to set the arithmetic flags, of the operations that can do without.
    pub fn wants_flags(&mut self) -> Option<&mut bool> {
        match self {
            Op::Add { f, .. }
            | Op::Adc { f, .. }
            | Op::Sub { f, .. }
            | Op::Sbb { f, .. }
            | Op::And { f, .. }
            | Op::Or { f, .. }
            | Op::Xor { f, .. }
            | Op::Inc { f, .. }
            | Op::Dec { f, .. }
            | Op::Neg { f, .. }
            | Op::Shl { f, .. }
            | Op::Shr { f, .. }
            | Op::Sar { f, .. }
            | Op::Rol { f, .. }
            | Op::Ror { f, .. }
            | Op::Rcl { f, .. }
            | Op::Rcr { f, .. }
            | Op::Shld { f, .. }
            | Op::Shrd { f, .. }
            | Op::Mul { f, .. }
            | Op::Imul { f, .. } => Some(f),
            _ => None,
        }
    }

    /// True for the operations that end a block.
    pub fn is_terminator(&self) -> bool {
        matches!(
            self,
            Op::Jump { .. }
                | Op::Branch { .. }
                | Op::BranchIf { .. }
                | Op::JumpInd { .. }
                | Op::Fall { .. }
                | Op::After { .. }
                | Op::Exit
        )
    }
}
