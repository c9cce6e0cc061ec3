//! RCPSS and RSQRTSS.
//!
//! The manual bounds the relative error by 1.5 * 2^-12 and leaves the bits open; the tables of Intel's and AMD's
//! processors differ. These answers are the exact ones rounded to 12 fraction bits, an error of 2^-13, whatever the host.

use super::F32;

/// Fraction bits of an answer.
const KEPT: u32 = 12;

/// RCPSS: about `1 / v`. Raises nothing and ignores MXCSR; denormals are zeros on both sides.
pub fn f32_rcp(v: u32) -> u32 {
    let bits = u64::from(v);
    let sign = F32::sign(bits);
    if F32::is_nan(bits) {
        return (bits | F32::QUIET) as u32;
    }
    if F32::is_infinity(bits) {
        return F32::zero(sign) as u32;
    }
    if F32::is_zero(bits) || F32::is_denormal(bits) {
        return F32::infinity(sign) as u32;
    }
    let (exp, sig) = F32::split(bits);
    // With sig = s * 2^63 and s in [1, 2): 2^126 / sig is 2^63 / s, in (2^62, 2^63].
    deliver(sign, 2 * F32::BIAS - exp, ((1u128 << 126) / u128::from(sig)) as u64)
}

/// RSQRTSS: about `1 / sqrt(v)`. Raises nothing and ignores MXCSR; denormals are zeros.
pub fn f32_rsqrt(v: u32) -> u32 {
    let bits = u64::from(v);
    let sign = F32::sign(bits);
    if F32::is_nan(bits) {
        return (bits | F32::QUIET) as u32;
    }
    if F32::is_zero(bits) || F32::is_denormal(bits) {
        return F32::infinity(sign) as u32;
    }
    if sign {
        return F32::INDEFINITE as u32;
    }
    if F32::is_infinity(bits) {
        return 0;
    }
    let (exp, sig) = F32::split(bits);
    let power = exp - F32::BIAS;
    // The root of s * 2^62 (of 2 s * 2^62 when the power is odd), in [2^31, 2^32).
    let root = (sig >> (1 - (power & 1))).isqrt();
    deliver(false, F32::BIAS - (power >> 1), ((1u128 << 94) / u128::from(root)) as u64)
}

/// Rounds `mantissa * 2^(exp - BIAS - 63)`, the mantissa in (2^62, 2^63], to [`KEPT`] fraction bits.
fn deliver(sign: bool, exp: i32, mantissa: u64) -> u32 {
    let (mantissa, exp) = if mantissa >> 63 != 0 { (mantissa, exp) } else { (mantissa << 1, exp - 1) };
    let (mut kept, mut exp) = ((mantissa >> (63 - KEPT - 1)).wrapping_add(1) >> 1, exp);
    if kept >> (KEPT + 1) != 0 {
        kept >>= 1;
        exp += 1;
    }
    if exp < 1 {
        return F32::zero(sign) as u32;
    }
    let fraction = (kept & ((1 << KEPT) - 1)) << (23 - KEPT);
    (F32::zero(sign) | (exp as u64) << 23 | fraction) as u32
}
