//! Which MMX, SSE and SSE2 instructions a batch takes, and how they are encoded there.

use super::MemUse;
use iced_x86::{Code, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

/// One SSE or MMX instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    /// XMM registers read, one bit each.
    pub reads: u16,
    /// XMM registers written.
    pub writes: u16,
    /// The result depends on MXCSR, or flags collect there.
    pub mxcsr: bool,
    /// Operand that is a general register read, with that register's number.
    pub gpr_in: Option<(u32, u8)>,
    /// Operand that is a general register written, with that register's number.
    pub gpr_out: Option<(u32, u8)>,
    /// ZF, PF and CF are set, the other arithmetic flags cleared.
    pub flags: bool,
    pub mem: Option<MemUse>,
    /// It works on MMX registers.
    pub mmx: bool,
}

/// Integer, logical and moving instructions: MXCSR has no part in them.
fn plain(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        m,
        Pand | Andps
            | Andpd
            | Pandn
            | Andnps
            | Andnpd
            | Por
            | Orps
            | Orpd
            | Pxor
            | Xorps
            | Xorpd
            | Paddb
            | Paddw
            | Paddd
            | Paddq
            | Psubb
            | Psubw
            | Psubd
            | Psubq
            | Paddsb
            | Paddsw
            | Paddusb
            | Paddusw
            | Psubsb
            | Psubsw
            | Psubusb
            | Psubusw
            | Pmullw
            | Pmulhw
            | Pmulhuw
            | Pmuludq
            | Pmaddwd
            | Pavgb
            | Pavgw
            | Pminub
            | Pmaxub
            | Pminsw
            | Pmaxsw
            | Psadbw
            | Pcmpeqb
            | Pcmpeqw
            | Pcmpeqd
            | Pcmpgtb
            | Pcmpgtw
            | Pcmpgtd
            | Psllw
            | Pslld
            | Psllq
            | Psrlw
            | Psrld
            | Psrlq
            | Psraw
            | Psrad
            | Pslldq
            | Psrldq
            | Packsswb
            | Packssdw
            | Packuswb
            | Punpcklbw
            | Punpcklwd
            | Punpckldq
            | Punpcklqdq
            | Unpcklpd
            | Punpckhbw
            | Punpckhwd
            | Punpckhdq
            | Punpckhqdq
            | Unpckhpd
            | Unpcklps
            | Unpckhps
            | Movaps
            | Movapd
            | Movdqa
            | Movups
            | Movupd
            | Movdqu
            | Movntps
            | Movntpd
            | Movntdq
            | Movss
            | Movsd
            | Movlps
            | Movlpd
            | Movhps
            | Movhpd
            | Movhlps
            | Movlhps
            | Movd
            | Movq
            | Pshufd
            | Pshufhw
            | Pshuflw
            | Shufps
            | Shufpd
            | Pinsrw
            | Pextrw
            | Pmovmskb
            | Movmskps
            | Movmskpd
            | Cvtdq2pd
            | Cvtsi2sd
    )
}

/// Instructions that compute under MXCSR.
fn floating(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        m,
        Addps
            | Addpd
            | Addss
            | Addsd
            | Subps
            | Subpd
            | Subss
            | Subsd
            | Mulps
            | Mulpd
            | Mulss
            | Mulsd
            | Divps
            | Divpd
            | Divss
            | Divsd
            | Minps
            | Minpd
            | Minss
            | Minsd
            | Maxps
            | Maxpd
            | Maxss
            | Maxsd
            | Sqrtps
            | Sqrtpd
            | Sqrtss
            | Sqrtsd
            | Cmpps
            | Cmppd
            | Cmpss
            | Cmpsd
            | Cvtss2sd
            | Cvtsd2ss
            | Cvtps2pd
            | Cvtpd2ps
            | Cvtps2dq
            | Cvttps2dq
            | Cvtdq2ps
            | Cvtpd2dq
            | Cvttpd2dq
            | Comiss
            | Ucomiss
            | Comisd
            | Ucomisd
            | Cvtsi2ss
            | Cvtss2si
            | Cvttss2si
            | Cvtsd2si
            | Cvttsd2si
    )
}

/// The instruction's needs; `None` if it is not for a batch.
pub(super) fn op(ins: &Instruction) -> Option<Op> {
    use Mnemonic::*;
    let m = ins.mnemonic();
    let mxcsr = floating(m);
    let mmx = m == Emms || (0..ins.op_count()).any(|n| ins.op_register(n).is_mm());
    let known = if mmx { matches!(m, Emms | Pshufw | Movntq) || plain(m) } else { mxcsr || plain(m) };
    if !known || ins.is_string_instruction() {
        return None;
    }
    let mut op = Op { reads: 0, writes: 0, mxcsr, gpr_in: None, gpr_out: None, flags: false, mem: None, mmx };
    op.flags = matches!(m, Comiss | Ucomiss | Comisd | Ucomisd);
    for n in 0..ins.op_count() {
        match ins.op_kind(n) {
            OpKind::Register if ins.op_register(n).is_xmm() || ins.op_register(n).is_mm() => {}
            OpKind::Register if ins.op_register(n).is_gpr32() => {
                let r = ins.op_register(n).number() as u8 & 15;
                // CRC32 and its kind apart, a general register is either the source or the whole destination.
                if n == 0 { op.gpr_out = Some((n, r)) } else { op.gpr_in = Some((n, r)) }
            }
            OpKind::Memory => {
                let bytes = ins.memory_size().size() as u8;
                let unaligned = matches!(m, Movups | Movupd | Movdqu);
                let write = n == 0;
                op.mem = Some(MemUse { bytes, read: !write, write, align16: bytes == 16 && !unaligned });
            }
            OpKind::Immediate8 => {}
            _ => return None,
        }
    }
    for used in InstructionInfoFactory::new().info(ins).used_registers() {
        let r = used.register();
        if !r.is_xmm() {
            continue;
        }
        let bit = 1u16.checked_shl(r.number() as u32)?;
        match used.access() {
            OpAccess::Read | OpAccess::CondRead => op.reads |= bit,
            OpAccess::Write => op.writes |= bit,
            OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => {
                op.reads |= bit;
                op.writes |= bit;
            }
            _ => {}
        }
    }
    Some(op)
}

/// Stores past the cache become ordinary ones: their weaker order belongs to the guest's memory, not to the host's.
fn cached(code: Code) -> Code {
    match code {
        Code::Movntps_m128_xmm => Code::Movaps_xmmm128_xmm,
        Code::Movntpd_m128_xmm => Code::Movapd_xmmm128_xmm,
        Code::Movntq_m64_mm => Code::Movq_mmm64_mm,
        Code::Movntdq_m128_xmm => Code::Movdqa_xmmm128_xmm,
        other => other,
    }
}

/// The same instruction with its memory operand at `[rax]`, a general register it reads at `[rsi + arg]`, and one that
/// it writes in EAX.
pub(super) fn encoded(ins: &Instruction, op: &Op, arg: i64) -> Instruction {
    let mut out = Instruction::default();
    out.set_code(cached(ins.code()));
    for n in 0..ins.op_count() {
        let kind = ins.op_kind(n);
        if op.gpr_in.is_some_and(|(k, _)| k == n) {
            out.set_op_kind(n, OpKind::Memory);
            out.set_memory_base(Register::RSI);
            out.set_memory_displacement64(arg as u64);
            out.set_memory_displ_size(8);
            continue;
        }
        out.set_op_kind(n, kind);
        match kind {
            OpKind::Register if op.gpr_out.is_some_and(|(k, _)| k == n) => out.set_op_register(n, Register::EAX),
            OpKind::Register => out.set_op_register(n, ins.op_register(n)),
            OpKind::Immediate8 => out.set_immediate8(ins.immediate8()),
            _ => out.set_memory_base(Register::RAX),
        }
    }
    out
}
