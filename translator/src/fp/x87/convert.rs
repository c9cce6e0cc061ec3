//! FLD, FST, FILD, FIST and FISTTP: between the register format and those of memory.

use super::super::pack::{Packed, pack};
use super::arith::integer_and_rest;
use super::{Control, F80, Finite, INTEGER_BIT, Outcome, Rounding, flag};

/// The same value, NaNs with their payload and signalling ones still signalling. No flags.
pub fn widen_f32(v: u32) -> F80 {
    widen::<23, 8>(u64::from(v))
}

/// The same value, NaNs with their payload and signalling ones still signalling. No flags.
pub fn widen_f64(v: u64) -> F80 {
    widen::<52, 11>(v)
}

#[inline]
fn widen<const FRAC: u32, const EXP: u32>(v: u64) -> F80 {
    let sign = (v >> (FRAC + EXP) << 15) as u16;
    let max_exp = (1u64 << EXP) - 1;
    let exp = v >> FRAC & max_exp;
    let fraction = (v & ((1 << FRAC) - 1)) << (63 - FRAC);
    let bias = 16383 - (max_exp >> 1) as u16;
    if exp == max_exp {
        F80::new(sign | 0x7fff, INTEGER_BIT | fraction)
    } else if exp != 0 {
        F80::new(sign | (exp as u16 + bias), INTEGER_BIT | fraction)
    } else if fraction == 0 {
        F80::new(sign, 0)
    } else {
        let shift = fraction.leading_zeros();
        F80::new(sign | (1 + bias - shift as u16), fraction << shift)
    }
}

/// FLD m32.
pub fn from_f32(v: u32, c: Control) -> Outcome<F80> {
    load(widen_f32(v), v & 0x7f80_0000 == 0 && v << 1 != 0, c)
}

/// FLD m64.
pub fn from_f64(v: u64, c: Control) -> Outcome<F80> {
    load(widen_f64(v), v & 0x7ff0_0000_0000_0000 == 0 && v << 1 != 0, c)
}

fn load(wide: F80, denormal: bool, c: Control) -> Outcome<F80> {
    if wide.is_signalling() {
        return Outcome::checked(wide.quieted(), flag::IE, c);
    }
    // The value is pushed even when DE is not masked: the exception is about what it was in memory.
    Outcome::done(wide, if denormal { flag::DE } else { 0 })
}

/// FILD m16.
pub fn from_i16(v: i16) -> F80 {
    from_i64(i64::from(v))
}

/// FILD m32.
pub fn from_i32(v: i32) -> F80 {
    from_i64(i64::from(v))
}

/// FILD m64.
pub fn from_i64(v: i64) -> F80 {
    if v == 0 {
        return F80::ZERO;
    }
    let magnitude = v.unsigned_abs();
    let shift = magnitude.leading_zeros();
    F80::new(u16::from(v < 0) << 15 | (16383 + 63 - shift as u16), magnitude << shift)
}

/// FST m32.
pub fn to_f32(a: F80, c: Control) -> Outcome<u32> {
    store::<23, 8>(a, c).map(|bits| bits as u32)
}

/// FST m64.
pub fn to_f64(a: F80, c: Control) -> Outcome<u64> {
    store::<52, 11>(a, c)
}

fn store<const FRAC: u32, const EXP: u32>(a: F80, c: Control) -> Outcome<u64> {
    let sign = u64::from(a.sign()) << (FRAC + EXP);
    let special = ((1u64 << EXP) - 1) << FRAC;
    if a.is_unsupported() {
        let indefinite = 1 << (FRAC + EXP) | special | 1 << (FRAC - 1);
        return Outcome::checked(indefinite, flag::IE, c);
    }
    if a.is_nan() {
        let fraction = a.quieted().mantissa << 1 >> (64 - FRAC);
        return Outcome::checked(sign | special | fraction, if a.is_signalling() { flag::IE } else { 0 }, c);
    }
    if a.is_infinity() {
        return Outcome::done(sign | special, 0);
    }
    if a.is_zero() {
        return Outcome::done(sign, 0);
    }
    let n = Finite::new(a);
    let bias = (1i32 << (EXP - 1)) - 1;
    let p = pack::<FRAC, EXP>(n.sign, n.exp - 16383 + bias, n.sig, c.rounding());
    let (status, write) = store_status(&p, c);
    Outcome { value: p.bits, status, write }
}

/// Exceptions of a store, and whether it happens: an unmasked overflow or underflow keeps memory as it is, and comes
/// alone.
fn store_status(p: &Packed, c: Control) -> (u16, bool) {
    if p.overflow && c.unmasked(flag::OE) {
        return (flag::OE, false);
    }
    if p.tiny && c.unmasked(flag::UE) {
        return (flag::UE, false);
    }
    let mut status = if p.up { flag::C1 } else { 0 };
    if p.inexact {
        status |= flag::PE | if p.tiny { flag::UE } else { 0 } | if p.overflow { flag::OE } else { 0 };
    }
    (status, true)
}

/// FIST m16.
pub fn to_i16(a: F80, c: Control) -> Outcome<i16> {
    to_int(a, 16, c.rounding(), c).map(|v| v as i16)
}

/// FIST m32.
pub fn to_i32(a: F80, c: Control) -> Outcome<i32> {
    to_int(a, 32, c.rounding(), c).map(|v| v as i32)
}

/// FISTP m64.
pub fn to_i64(a: F80, c: Control) -> Outcome<i64> {
    to_int(a, 64, c.rounding(), c)
}

/// FISTTP m16.
pub fn trunc_i16(a: F80, c: Control) -> Outcome<i16> {
    to_int(a, 16, Rounding::Zero, c).map(|v| v as i16)
}

/// FISTTP m32.
pub fn trunc_i32(a: F80, c: Control) -> Outcome<i32> {
    to_int(a, 32, Rounding::Zero, c).map(|v| v as i32)
}

/// FISTTP m64.
pub fn trunc_i64(a: F80, c: Control) -> Outcome<i64> {
    to_int(a, 64, Rounding::Zero, c)
}

/// Rounds to a signed integer of `bits` bits; whatever does not fit is the integer indefinite, with IE alone.
fn to_int(a: F80, bits: u32, rounding: Rounding, c: Control) -> Outcome<i64> {
    let limit = 1u64 << (bits - 1);
    let indefinite = Outcome::checked((limit as i64).wrapping_neg(), flag::IE, c);
    let Some((magnitude, status)) = to_magnitude(a, rounding) else { return indefinite };
    if magnitude > limit - u64::from(!a.sign()) {
        return indefinite;
    }
    let value = if a.sign() { (magnitude as i64).wrapping_neg() } else { magnitude as i64 };
    Outcome::done(value, status)
}

/// Rounds a magnitude to an integer, with PE and C1; None if it is no number or 2^64 and above.
pub(super) fn to_magnitude(a: F80, rounding: Rounding) -> Option<(u64, u16)> {
    if a.is_unsupported() || a.exponent() >= 16383 + 64 {
        return None;
    }
    let (kept, rest) = integer_and_rest(a);
    let up = rounding.up(a.sign(), kept & 1 != 0, rest);
    let magnitude = kept.checked_add(u64::from(up))?;
    Some((magnitude, if rest != 0 { flag::PE } else { 0 } | if up { flag::C1 } else { 0 }))
}
