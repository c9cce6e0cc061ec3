//! What the vector operations compute. Floating point is in [`super::float`].

use super::float;
use crate::fault::{Fault, Res};
use crate::fp::F80;
use crate::state::{State, VSlot, cr};

/// Vector operations, named as the instructions. `dst <- a op b`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[rustfmt::skip]
#[expect(missing_docs, reason = "the manual's names")]
pub enum VecOp {
    /// Raises what CR0 and CR4 demand before an SSE instruction.
    CheckSse,
    /// As CheckSse for MMX, pending x87 exceptions included; then TOP <- 0 and all tags valid (imm 1: tags stay).
    CheckMmx,
    /// As CheckSse for FXSAVE and FXRSTOR.
    CheckFx,
    /// Vector dst <- MMX register a.
    ReadMm,
    /// MMX register dst <- vector a.
    WriteMm,
    /// All tags empty.
    Emms,
    /// MXCSR <- b; #GP(0) for reserved bits.
    Ldmxcsr,
    /// dst <- MXCSR.
    Stmxcsr,
    And, AndNot, Or, Xor,
    Paddb, Paddw, Paddd, Paddq, Psubb, Psubw, Psubd, Psubq,
    Paddsb, Paddsw, Paddusb, Paddusw, Psubsb, Psubsw, Psubusb, Psubusw,
    Pmullw, Pmulhw, Pmulhuw, Pmuludq, Pmaddwd, Pavgb, Pavgw, Pminub, Pmaxub, Pminsw, Pmaxsw, Psadbw,
    Pcmpeqb, Pcmpeqw, Pcmpeqd, Pcmpgtb, Pcmpgtw, Pcmpgtd,
    Psllw, Pslld, Psllq, Psrlw, Psrld, Psrlq, Psraw, Psrad, Pslldq, Psrldq,
    Packsswb, Packssdw, Packuswb,
    Punpcklbw, Punpcklwd, Punpckldq, Punpcklqdq, Punpckhbw, Punpckhwd, Punpckhdq, Punpckhqdq,
    Pshufd, Pshufhw, Pshuflw, Shufps, Shufpd, Pinsrw, Pextrw, Pmovmskb, Movmskps, Movmskpd,
    /// Low 32 or 64 bits of dst <- those of b, the rest from a.
    Movss, Movsd,
    Addps, Addpd, Addss, Addsd, Subps, Subpd, Subss, Subsd, Mulps, Mulpd, Mulss, Mulsd, Divps, Divpd, Divss, Divsd,
    Minps, Minpd, Minss, Minsd, Maxps, Maxpd, Maxss, Maxsd, Sqrtps, Sqrtpd, Sqrtss, Sqrtsd,
    Rcpps, Rcpss, Rsqrtps, Rsqrtss, Cmpps, Cmppd, Cmpss, Cmpsd, Comiss, Ucomiss, Comisd, Ucomisd,
    Cvtss2sd, Cvtsd2ss, Cvtps2pd, Cvtpd2ps, Cvtps2dq, Cvttps2dq, Cvtdq2ps, Cvtpd2dq, Cvttpd2dq, Cvtdq2pd,
    Cvtpi2ps, Cvtpi2pd, Cvtsi2ss, Cvtsi2sd,
    Cvtps2pi, Cvttps2pi, Cvtpd2pi, Cvttpd2pi, Cvtss2si, Cvttss2si, Cvtsd2si, Cvttsd2si,
}

/// Applies `f` to the lanes of `bits` width.
#[inline(always)]
fn lanes(bits: u32, a: u128, b: u128, f: impl Fn(u64, u64) -> u64) -> u128 {
    let m = u64::MAX >> (64 - bits);
    let mut r = 0;
    let mut at = 0;
    while at < 128 {
        r |= u128::from(f((a >> at) as u64 & m, (b >> at) as u64 & m) & m) << at;
        at += bits;
    }
    r
}

fn clamp(v: i64, lo: i64, hi: i64) -> u64 {
    v.clamp(lo, hi) as u64
}

fn s8(v: u64) -> i64 {
    i64::from(v as i8)
}

fn s16(v: u64) -> i64 {
    i64::from(v as i16)
}

/// Saturates the lanes of a, then of b, to half their width.
fn pack(bits: u32, half: bool, a: u128, b: u128, f: impl Fn(u64) -> u64) -> u128 {
    let n = if half { 64 } else { 128 } / bits;
    let (m, out) = (u64::MAX >> (64 - bits), bits / 2);
    let mut r = 0;
    for i in 0..n {
        r |= u128::from(f((a >> (i * bits)) as u64 & m) & (m >> out)) << (i * out);
        r |= u128::from(f((b >> (i * bits)) as u64 & m) & (m >> out)) << ((n + i) * out);
    }
    r
}

/// Interleaves lanes of `bits` width from the low or high halves (of 64 bits with `half`).
fn interleave(bits: u32, half: bool, high: bool, a: u128, b: u128) -> u128 {
    let total = if half { 64 } else { 128 };
    let start = if high { total / 2 } else { 0 };
    let m = u128::MAX >> (128 - bits);
    let mut r = 0;
    for i in 0..total / (2 * bits) {
        let at = start + i * bits;
        r |= (a >> at & m) << (2 * i * bits);
        r |= (b >> at & m) << ((2 * i + 1) * bits);
    }
    r
}

fn shuffle_words(a: u128, base: u32, imm: u8) -> u128 {
    let mut r = a & !(u128::from(u64::MAX) << base);
    for i in 0..4 {
        let from = base + u32::from(imm >> (2 * i) & 3) * 16;
        r |= (a >> from & 0xffff) << (base + i * 16);
    }
    r
}

fn dword(v: u128, i: u8) -> u128 {
    v >> (u32::from(i & 3) * 32) & 0xffff_ffff
}

fn sign_mask(v: u128, bits: u32) -> u128 {
    (0..128 / bits).fold(0, |r, i| r | (v >> (i * bits + bits - 1) & 1) << i)
}

/// Pending unmasked x87 exception.
pub(super) fn x87_pending(s: &State) -> bool {
    s.fpu.sw & 0x80 != 0
}

fn check(s: &mut State, op: VecOp, imm: u8) -> Res<()> {
    if s.cr0 & cr::EM != 0 || (op == VecOp::CheckSse && s.cr4 & cr::OSFXSR == 0) {
        // FXSAVE with CR0.EM raises #NM instead (SDM vol. 2, FXSAVE).
        return Err(if op == VecOp::CheckFx { Fault::nm() } else { Fault::ud() });
    }
    if s.cr0 & cr::TS != 0 {
        return Err(Fault::nm());
    }
    if op == VecOp::CheckMmx {
        if x87_pending(s) {
            return Err(Fault::new(crate::fault::vector::MF));
        }
        if imm == 0 {
            s.fpu.set_top(0);
            s.fpu.empty = 0;
        }
    }
    Ok(())
}

/// Runs one operation.
pub(crate) fn exec(s: &mut State, op: VecOp, dst: VSlot, a: VSlot, b: VSlot, imm: u8) -> Res<()> {
    use VecOp::*;
    let x = s.vectors[usize::from(a & 31)];
    let y = s.vectors[usize::from(b & 31)];
    let half = imm == 1;
    let r = match op {
        CheckSse | CheckMmx | CheckFx => return check(s, op, imm),
        ReadMm => u128::from(s.fpu.regs[usize::from(a & 7)].mantissa),
        WriteMm => {
            s.fpu.regs[usize::from(dst & 7)] = F80 { mantissa: x as u64, sign_exp: 0xffff };
            return Ok(());
        }
        Emms => {
            s.fpu.empty = 0xff;
            s.fpu.set_top(0);
            return Ok(());
        }
        Ldmxcsr => {
            if y as u32 & !0xffff != 0 {
                return Err(Fault::gp(0));
            }
            s.mxcsr = y as u32;
            return Ok(());
        }
        Stmxcsr => u128::from(s.mxcsr),
        And => x & y,
        AndNot => !x & y,
        Or => x | y,
        Xor => x ^ y,
        Paddb => lanes(8, x, y, u64::wrapping_add),
        Paddw => lanes(16, x, y, u64::wrapping_add),
        Paddd => lanes(32, x, y, u64::wrapping_add),
        Paddq => lanes(64, x, y, u64::wrapping_add),
        Psubb => lanes(8, x, y, u64::wrapping_sub),
        Psubw => lanes(16, x, y, u64::wrapping_sub),
        Psubd => lanes(32, x, y, u64::wrapping_sub),
        Psubq => lanes(64, x, y, u64::wrapping_sub),
        Paddsb => lanes(8, x, y, |p, q| clamp(s8(p) + s8(q), -0x80, 0x7f)),
        Paddsw => lanes(16, x, y, |p, q| clamp(s16(p) + s16(q), -0x8000, 0x7fff)),
        Paddusb => lanes(8, x, y, |p, q| (p + q).min(0xff)),
        Paddusw => lanes(16, x, y, |p, q| (p + q).min(0xffff)),
        Psubsb => lanes(8, x, y, |p, q| clamp(s8(p) - s8(q), -0x80, 0x7f)),
        Psubsw => lanes(16, x, y, |p, q| clamp(s16(p) - s16(q), -0x8000, 0x7fff)),
        Psubusb | Psubusw => lanes(if op == Psubusb { 8 } else { 16 }, x, y, u64::saturating_sub),
        Pmullw => lanes(16, x, y, u64::wrapping_mul),
        Pmulhw => lanes(16, x, y, |p, q| ((s16(p) * s16(q)) >> 16) as u64),
        Pmulhuw => lanes(16, x, y, |p, q| (p * q) >> 16),
        Pmuludq => lanes(64, x, y, |p, q| (p & 0xffff_ffff) * (q & 0xffff_ffff)),
        Pmaddwd => lanes(32, x, y, |p, q| (s16(p) * s16(q) + s16(p >> 16) * s16(q >> 16)) as u64),
        Pavgb => lanes(8, x, y, |p, q| (p + q + 1) >> 1),
        Pavgw => lanes(16, x, y, |p, q| (p + q + 1) >> 1),
        Pminub => lanes(8, x, y, u64::min),
        Pmaxub => lanes(8, x, y, u64::max),
        Pminsw => lanes(16, x, y, |p, q| s16(p).min(s16(q)) as u64),
        Pmaxsw => lanes(16, x, y, |p, q| s16(p).max(s16(q)) as u64),
        Psadbw => lanes(64, x, y, |p, q| {
            (0..8).map(|i| u64::from(((p >> (i * 8)) as u8).abs_diff((q >> (i * 8)) as u8))).sum()
        }),
        Pcmpeqb => lanes(8, x, y, |p, q| if p == q { u64::MAX } else { 0 }),
        Pcmpeqw => lanes(16, x, y, |p, q| if p == q { u64::MAX } else { 0 }),
        Pcmpeqd => lanes(32, x, y, |p, q| if p == q { u64::MAX } else { 0 }),
        Pcmpgtb => lanes(8, x, y, |p, q| if s8(p) > s8(q) { u64::MAX } else { 0 }),
        Pcmpgtw => lanes(16, x, y, |p, q| if s16(p) > s16(q) { u64::MAX } else { 0 }),
        Pcmpgtd => lanes(32, x, y, |p, q| if p as i32 > q as i32 { u64::MAX } else { 0 }),
        // Counts are the low quadword of the source; too large a count clears, or fills with the sign.
        Psllw | Pslld | Psllq | Psrlw | Psrld | Psrlq => {
            let bits = match op {
                Psllw | Psrlw => 16,
                Pslld | Psrld => 32,
                _ => 64,
            };
            let left = matches!(op, Psllw | Pslld | Psllq);
            let n = y as u64;
            if n >= u64::from(bits) { 0 } else { lanes(bits, x, 0, |p, _| if left { p << n } else { p >> n }) }
        }
        Psraw => lanes(16, x, 0, |p, _| (s16(p) >> (y as u64).min(15)) as u64),
        Psrad => lanes(32, x, 0, |p, _| (i64::from(p as i32) >> (y as u64).min(31)) as u64),
        Pslldq => {
            if y as u64 > 15 {
                0
            } else {
                x << (y as u32 * 8)
            }
        }
        Psrldq => {
            if y as u64 > 15 {
                0
            } else {
                x >> (y as u32 * 8)
            }
        }
        Packsswb => pack(16, half, x, y, |v| clamp(s16(v), -0x80, 0x7f)),
        Packssdw => pack(32, half, x, y, |v| clamp(i64::from(v as i32), -0x8000, 0x7fff)),
        Packuswb => pack(16, half, x, y, |v| clamp(s16(v), 0, 0xff)),
        Punpcklbw => interleave(8, half, false, x, y),
        Punpcklwd => interleave(16, half, false, x, y),
        Punpckldq => interleave(32, half, false, x, y),
        Punpcklqdq => interleave(64, false, false, x, y),
        Punpckhbw => interleave(8, half, true, x, y),
        Punpckhwd => interleave(16, half, true, x, y),
        Punpckhdq => interleave(32, half, true, x, y),
        Punpckhqdq => interleave(64, false, true, x, y),
        Pshufd => (0..4).fold(0, |r, i| r | dword(y, imm >> (2 * i)) << (32 * i)),
        Pshuflw => shuffle_words(y, 0, imm),
        Pshufhw => shuffle_words(y, 64, imm),
        Shufps => dword(x, imm) | dword(x, imm >> 2) << 32 | dword(y, imm >> 4) << 64 | dword(y, imm >> 6) << 96,
        Shufpd => {
            let q = |v: u128, n: u8| v >> (u32::from(n & 1) * 64) & u128::from(u64::MAX);
            q(x, imm) | q(y, imm >> 1) << 64
        }
        Pinsrw => {
            let at = u32::from(imm & 7) * 16;
            x & !(0xffff << at) | (y & 0xffff) << at
        }
        Pextrw => y >> (u32::from(imm & 7) * 16) & 0xffff,
        Pmovmskb => sign_mask(y, 8),
        Movmskps => sign_mask(y, 32),
        Movmskpd => sign_mask(y, 64),
        Movss => x & !0xffff_ffff | y & 0xffff_ffff,
        Movsd => x & !u128::from(u64::MAX) | y & u128::from(u64::MAX),
        _ => match float::exec(s, op, x, y, imm)? {
            Some(r) => r,
            None => return Ok(()),
        },
    };
    s.vectors[usize::from(dst & 31)] = r;
    Ok(())
}
