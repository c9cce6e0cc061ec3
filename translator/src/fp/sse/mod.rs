//! The arithmetic of SSE and SSE2 on the bits of binary32 and binary64 (SDM vol. 1, chapters 10 and 11).
//!
//! The scalar kernels answer as if every exception were masked, and report every flag; [`settle`] then says which flags
//! MXCSR shows and whether the instruction faults, over all lanes of an operand.

mod approx;
mod arith;
mod convert;

pub use approx::{f32_rcp, f32_rsqrt};
pub use arith::{
    f32_add, f32_cmp, f32_comis, f32_div, f32_max, f32_min, f32_mul, f32_sqrt, f32_sub, f64_add, f64_cmp, f64_comis,
    f64_div, f64_max, f64_min, f64_mul, f64_sqrt, f64_sub,
};
pub use convert::{
    f32_to_f64, f32_to_i32, f32_to_i64, f64_to_f32, f64_to_i32, f64_to_i64, i32_to_f32, i32_to_f64, i64_to_f32,
    i64_to_f64,
};

use super::{Rounding, pack};

/// Flags of MXCSR, bits 0-5.
pub mod bit {
    /// Invalid operation.
    pub const IE: u32 = 0x01;
    /// Denormal operand.
    pub const DE: u32 = 0x02;
    /// Division by zero.
    pub const ZE: u32 = 0x04;
    /// Overflow.
    pub const OE: u32 = 0x08;
    /// Underflow.
    pub const UE: u32 = 0x10;
    /// Precision.
    pub const PE: u32 = 0x20;
    /// All six.
    pub const ALL: u32 = 0x3f;
}

/// SSE control and status register (SDM vol. 1, 10.2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mxcsr(pub u32);

impl Mxcsr {
    /// The bits LDMXCSR accepts; any other one is a general-protection fault.
    pub const VALID_MASK: u32 = 0xffff;
    /// The value after reset.
    pub const RESET: Self = Self(0x1f80);

    /// Rounding control.
    #[inline]
    pub fn rounding(self) -> Rounding {
        Rounding::from_bits(self.0 >> 13)
    }
    /// Exception masks, moved down to the places of the flags.
    #[inline]
    pub fn masks(self) -> u32 {
        self.0 >> 7 & bit::ALL
    }
    /// Denormals are zeros.
    #[inline]
    pub fn daz(self) -> bool {
        self.0 & 0x40 != 0
    }
    /// Flush to zero.
    #[inline]
    pub fn ftz(self) -> bool {
        self.0 & 0x8000 != 0
    }
}

/// Result of one lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lane<T> {
    /// The masked response.
    pub value: T,
    /// Exceptions raised, at the places of MXCSR bits 0-5.
    pub flags: u32,
}

impl<T> Lane<T> {
    #[inline]
    fn new(value: T, flags: u32) -> Self {
        Self { value, flags }
    }
    /// Changes the value and keeps the flags.
    #[inline]
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Lane<U> {
        Lane { value: f(self.value), flags: self.flags }
    }
}

/// What an instruction does with the flags of its lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// MXCSR afterwards.
    pub mxcsr: u32,
    /// An unmasked exception: #XM (#UD without CR4.OSXMMEXCPT), and the destination stays as it was.
    pub fault: bool,
}

/// Adds the flags of all lanes to MXCSR. An unmasked exception found before the computation (invalid operation, denormal
/// operand, division by zero) keeps any lane from being computed, so that the later kinds are not reported
/// (SDM vol. 1, 11.5.3).
#[inline]
pub fn settle(flags: u32, m: Mxcsr) -> Settled {
    let before = flags & (bit::IE | bit::DE | bit::ZE);
    let stopped = before & !m.masks() != 0;
    let shown = if stopped { before } else { flags };
    Settled { mxcsr: m.0 | shown, fault: shown & !m.masks() != 0 }
}

/// Applies a binary32 kernel to the low `lanes` lanes (at most 4); the others keep `a`.
#[inline]
pub fn packed_f32(a: u128, b: u128, lanes: usize, m: Mxcsr, f: impl Fn(u32, u32, Mxcsr) -> Lane<u32>) -> Lane<u128> {
    let mut out = Lane::new(a, 0);
    for lane in 0..lanes.min(4) {
        let at = lane * 32;
        let one = f((a >> at) as u32, (b >> at) as u32, m);
        out.value = out.value & !(0xffff_ffff << at) | u128::from(one.value) << at;
        out.flags |= one.flags;
    }
    out
}

/// Applies a binary64 kernel to the low `lanes` lanes (at most 2); the others keep `a`.
#[inline]
pub fn packed_f64(a: u128, b: u128, lanes: usize, m: Mxcsr, f: impl Fn(u64, u64, Mxcsr) -> Lane<u64>) -> Lane<u128> {
    let mut out = Lane::new(a, 0);
    for lane in 0..lanes.min(2) {
        let at = lane * 64;
        let one = f((a >> at) as u64, (b >> at) as u64, m);
        out.value = out.value & !(u128::from(u64::MAX) << at) | u128::from(one.value) << at;
        out.flags |= one.flags;
    }
    out
}

/// The shape of a format: `FRAC` bits of fraction below `EXP` bits of exponent, in the low bits of a `u64`.
struct Format<const FRAC: u32, const EXP: u32>;

impl<const FRAC: u32, const EXP: u32> Format<FRAC, EXP> {
    const SIGN: u64 = 1 << (FRAC + EXP);
    const FRACTION: u64 = (1 << FRAC) - 1;
    const INFINITY: u64 = ((1 << EXP) - 1) << FRAC;
    const QUIET: u64 = 1 << (FRAC - 1);
    const INDEFINITE: u64 = Self::SIGN | Self::INFINITY | Self::QUIET;
    const BIAS: i32 = (1 << (EXP - 1)) - 1;

    #[inline]
    fn sign(v: u64) -> bool {
        v & Self::SIGN != 0
    }
    #[inline]
    fn magnitude(v: u64) -> u64 {
        v & !Self::SIGN
    }
    #[inline]
    fn is_nan(v: u64) -> bool {
        Self::magnitude(v) > Self::INFINITY
    }
    #[inline]
    fn is_signalling(v: u64) -> bool {
        Self::is_nan(v) && v & Self::QUIET == 0
    }
    #[inline]
    fn is_infinity(v: u64) -> bool {
        Self::magnitude(v) == Self::INFINITY
    }
    #[inline]
    fn is_zero(v: u64) -> bool {
        Self::magnitude(v) == 0
    }
    #[inline]
    fn is_denormal(v: u64) -> bool {
        Self::magnitude(v).wrapping_sub(1) < Self::FRACTION
    }
    /// Neither zero, denormal, infinity nor NaN.
    #[inline]
    fn is_normal(v: u64) -> bool {
        Self::magnitude(v).wrapping_sub(Self::FRACTION + 1) < Self::INFINITY - (Self::FRACTION + 1)
    }
    #[inline]
    fn zero(sign: bool) -> u64 {
        u64::from(sign) << (FRAC + EXP)
    }
    #[inline]
    fn infinity(sign: bool) -> u64 {
        Self::zero(sign) | Self::INFINITY
    }
    /// A denormal read as zero where MXCSR asks for it.
    #[inline]
    fn load(v: u64, m: Mxcsr) -> u64 {
        if m.daz() && Self::is_denormal(v) { v & Self::SIGN } else { v }
    }
    /// DE if one of the operands is a denormal.
    #[inline]
    fn denormal(a: u64, b: u64) -> u32 {
        if Self::is_denormal(a) || Self::is_denormal(b) { bit::DE } else { 0 }
    }
    /// Biased exponent and significand with its top bit set, of a finite non-zero number.
    #[inline]
    fn split(v: u64) -> (i32, u64) {
        let exp = Self::magnitude(v) >> FRAC;
        let fraction = (v & Self::FRACTION) << (63 - FRAC);
        if exp != 0 {
            return (exp as i32, 1 << 63 | fraction);
        }
        let shift = fraction.leading_zeros();
        (1 - shift as i32, fraction << shift)
    }
    /// The NaN of two operands: the first one that is a NaN, quieted (SDM vol. 1, table 4-7, the column of SSE).
    #[inline]
    fn nan(a: u64, b: u64) -> Option<Lane<u64>> {
        if !Self::is_nan(a) && !Self::is_nan(b) {
            return None;
        }
        let chosen = if Self::is_nan(a) { a } else { b };
        let invalid = Self::is_signalling(a) || Self::is_signalling(b);
        Some(Lane::new(chosen | Self::QUIET, if invalid { bit::IE } else { 0 }))
    }
    /// Rounds `sig * 2^(exp - BIAS - 63)`; `flags` are those found before.
    #[inline]
    fn round(sign: bool, exp: i32, sig: u64, m: Mxcsr, flags: u32) -> Lane<u64> {
        let p = pack::pack::<FRAC, EXP>(sign, exp, sig, m.rounding());
        if !p.inexact && !p.tiny {
            return Lane::new(p.bits, flags);
        }
        let unbounded = if p.inexact_unbounded { bit::PE } else { 0 };
        if p.overflow {
            let precision = if m.masks() & bit::OE != 0 { bit::PE } else { unbounded };
            return Lane::new(p.bits, flags | bit::OE | precision);
        }
        if p.tiny {
            if m.masks() & bit::UE == 0 {
                return Lane::new(p.bits, flags | bit::UE | unbounded);
            }
            if m.ftz() {
                return Lane::new(Self::zero(sign), flags | bit::UE | bit::PE);
            }
        }
        let status = match (p.inexact, p.tiny) {
            (true, true) => bit::UE | bit::PE,
            (true, false) => bit::PE,
            _ => 0,
        };
        Lane::new(p.bits, flags | status)
    }
}

type F32 = Format<23, 8>;
type F64 = Format<52, 11>;
