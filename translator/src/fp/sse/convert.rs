//! CVT*: between integers, binary32 and binary64.

use super::{F32, F64, Format, Lane, Mxcsr, bit};

impl<const FRAC: u32, const EXP: u32> Format<FRAC, EXP> {
    #[inline]
    fn from_int(v: i64, m: Mxcsr) -> Lane<u64> {
        if v == 0 {
            return Lane::new(0, 0);
        }
        let magnitude = v.unsigned_abs();
        let shift = magnitude.leading_zeros();
        Self::round(v < 0, Self::BIAS + 63 - shift as i32, magnitude << shift, m, 0)
    }

    /// To a signed integer of `bits` bits; whatever does not fit is the integer indefinite, with IE alone.
    #[inline]
    fn to_int(v: u64, bits: u32, truncate: bool, m: Mxcsr) -> Lane<i64> {
        let v = Self::load(v, m);
        let limit = 1u64 << (bits - 1);
        let indefinite = Lane::new((limit as i64).wrapping_neg(), bit::IE);
        if Self::magnitude(v) >= Self::INFINITY {
            return indefinite;
        }
        if Self::is_zero(v) {
            return Lane::new(0, 0);
        }
        let sign = Self::sign(v);
        let (exp, sig) = Self::split(v);
        let power = exp - Self::BIAS;
        let wide = u128::from(sig) << 64;
        let (kept, rest) = match power {
            64.. => return indefinite,
            0..=63 => (sig >> (63 - power), wide << (power + 1)),
            _ => (0, super::pack::shift_right_sticky(wide, (-1 - power) as u32)),
        };
        let up = !truncate && m.rounding().up(sign, kept & 1 != 0, rest);
        let Some(magnitude) = kept.checked_add(u64::from(up)).filter(|&n| n <= limit - u64::from(!sign)) else {
            return indefinite;
        };
        let value = if sign { (magnitude as i64).wrapping_neg() } else { magnitude as i64 };
        Lane::new(value, if rest != 0 { bit::PE } else { 0 })
    }
}

/// CVTSI2SS and CVTDQ2PS.
#[inline]
pub fn i32_to_f32(v: i32, m: Mxcsr) -> Lane<u32> {
    F32::from_int(i64::from(v), m).map(|v| v as u32)
}

/// CVTSI2SS with a 64-bit source.
#[inline]
pub fn i64_to_f32(v: i64, m: Mxcsr) -> Lane<u32> {
    F32::from_int(v, m).map(|v| v as u32)
}

/// CVTSI2SD and CVTDQ2PD: always exact.
#[inline]
pub fn i32_to_f64(v: i32, m: Mxcsr) -> Lane<u64> {
    F64::from_int(i64::from(v), m)
}

/// CVTSI2SD with a 64-bit source.
#[inline]
pub fn i64_to_f64(v: i64, m: Mxcsr) -> Lane<u64> {
    F64::from_int(v, m)
}

/// CVTSS2SI and CVTPS2DQ; truncating, CVTTSS2SI and CVTTPS2DQ.
#[inline]
pub fn f32_to_i32(v: u32, truncate: bool, m: Mxcsr) -> Lane<i32> {
    F32::to_int(u64::from(v), 32, truncate, m).map(|v| v as i32)
}

/// CVTSS2SI and CVTTSS2SI with a 64-bit destination.
#[inline]
pub fn f32_to_i64(v: u32, truncate: bool, m: Mxcsr) -> Lane<i64> {
    F32::to_int(u64::from(v), 64, truncate, m)
}

/// CVTSD2SI and CVTPD2DQ; truncating, CVTTSD2SI and CVTTPD2DQ.
#[inline]
pub fn f64_to_i32(v: u64, truncate: bool, m: Mxcsr) -> Lane<i32> {
    F64::to_int(v, 32, truncate, m).map(|v| v as i32)
}

/// CVTSD2SI and CVTTSD2SI with a 64-bit destination.
#[inline]
pub fn f64_to_i64(v: u64, truncate: bool, m: Mxcsr) -> Lane<i64> {
    F64::to_int(v, 64, truncate, m)
}

/// CVTSS2SD and CVTPS2PD.
#[inline]
pub fn f32_to_f64(v: u32, m: Mxcsr) -> Lane<u64> {
    let v = F32::load(u64::from(v), m);
    let sign = F32::sign(v);
    if F32::is_nan(v) {
        let fraction = (v & F32::FRACTION) << 29 | F64::QUIET;
        return Lane::new(F64::infinity(sign) | fraction, if F32::is_signalling(v) { bit::IE } else { 0 });
    }
    if F32::is_infinity(v) {
        return Lane::new(F64::infinity(sign), 0);
    }
    if F32::is_zero(v) {
        return Lane::new(F64::zero(sign), 0);
    }
    let (exp, sig) = F32::split(v);
    F64::round(sign, exp - F32::BIAS + F64::BIAS, sig, m, F32::denormal(v, v))
}

/// CVTSD2SS and CVTPD2PS.
#[inline]
pub fn f64_to_f32(v: u64, m: Mxcsr) -> Lane<u32> {
    let v = F64::load(v, m);
    let sign = F64::sign(v);
    if F64::is_nan(v) {
        let fraction = (v & F64::FRACTION) >> 29 | F32::QUIET;
        let flags = if F64::is_signalling(v) { bit::IE } else { 0 };
        return Lane::new((F32::infinity(sign) | fraction) as u32, flags);
    }
    if F64::is_infinity(v) {
        return Lane::new(F32::infinity(sign) as u32, 0);
    }
    if F64::is_zero(v) {
        return Lane::new(F32::zero(sign) as u32, 0);
    }
    let (exp, sig) = F64::split(v);
    F32::round(sign, exp - F64::BIAS + F32::BIAS, sig, m, F64::denormal(v, v)).map(|v| v as u32)
}
