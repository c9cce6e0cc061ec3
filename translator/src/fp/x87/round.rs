//! Rounding to the double extended-precision format under rounding, precision and mask control.

use super::super::pack::shift_right_sticky;
use super::{Control, F80, Outcome, flag};

/// What unmasked overflow and underflow move the exponent by (SDM vol. 1, 8.5.4 and 8.5.5).
const EXPONENT_ADJUSTMENT: i32 = 24576;

/// Rounds `(hi:lo) * 2^(exp - 16383 - 127)` and packs it. `hi` has its top bit set; the lowest bit of `lo` is sticky.
#[inline]
pub(super) fn round_pack(sign: bool, exp: i32, hi: u64, lo: u64, c: Control) -> Outcome<F80> {
    if exp.wrapping_sub(1) as u32 > 0x7ffc {
        return round_pack_general(sign, exp, hi, lo, c);
    }
    // The last place kept, and what lies below it with its top bit worth one half.
    let (place, rest) = if c.is_ordinary() { (1, lo) } else { split(hi, lo, c) };
    let odd = hi & place != 0;
    let up = c.rounding().up64(sign, odd, rest);
    let (mantissa, carry) = (hi & place.wrapping_neg()).overflowing_add(if up { place } else { 0 });
    let mantissa = mantissa | u64::from(carry) << 63;
    let exp = exp as u16 + u16::from(carry);
    let status = if rest != 0 { flag::PE } else { 0 } | if up { flag::C1 } else { 0 };
    Outcome::done(F80 { mantissa, sign_exp: u16::from(sign) << 15 | exp }, status)
}

/// The last place that precision control keeps, and the rest below it, sticky.
fn split(hi: u64, lo: u64, c: Control) -> (u64, u64) {
    let bits = c.precision_bits();
    if bits == 64 {
        return (1, lo);
    }
    (1 << (64 - bits), hi << bits | u64::from(lo != 0))
}

/// A significand rounded to `bits` bits: the top 64 bits, whether it carried out of them, inexact, up.
fn round_to(sign: bool, full: u128, bits: u32, c: Control) -> (u64, bool, bool, bool) {
    let drop = 128 - bits;
    let rest = full << bits;
    let kept = full >> drop;
    let up = c.rounding().up(sign, kept & 1 != 0, rest);
    let rounded = kept + u128::from(up);
    let carry = rounded >> bits != 0;
    ((rounded << (64 - bits)) as u64, carry, rest != 0, up)
}

#[cold]
fn round_pack_general(sign: bool, exp: i32, hi: u64, lo: u64, c: Control) -> Outcome<F80> {
    let full = u128::from(hi) << 64 | u128::from(lo);
    let bits = c.precision_bits();
    let sign_bit = u16::from(sign) << 15;
    let (sig, carry, inexact, up) = round_to(sign, full, bits, c);
    let sig = sig | u64::from(carry) << 63;
    let rounded_exp = exp + i32::from(carry);
    let mut status = if inexact { flag::PE } else { 0 } | if up { flag::C1 } else { 0 };
    if rounded_exp > 0x7ffe {
        status |= flag::OE;
        if c.unmasked(flag::OE) {
            let moved = rounded_exp - EXPONENT_ADJUSTMENT;
            if moved > 0x7ffe {
                // Only FSCALE can be this far out (SDM vol. 1, 8.5.4).
                return Outcome::done(F80::infinity(sign), flag::OE | flag::PE | flag::C1);
            }
            return Outcome::done(F80 { mantissa: sig, sign_exp: sign_bit | moved as u16 }, status);
        }
        if c.rounding().overflows_to_infinity(sign) {
            return Outcome::done(F80::infinity(sign), flag::OE | flag::PE | flag::C1);
        }
        let largest = u64::MAX << (64 - bits);
        return Outcome::done(F80 { mantissa: largest, sign_exp: sign_bit | 0x7ffe }, flag::OE | flag::PE);
    }
    if exp >= 1 {
        return Outcome::done(F80 { mantissa: sig, sign_exp: sign_bit | rounded_exp as u16 }, status);
    }
    let tiny = rounded_exp < 1;
    if tiny && c.unmasked(flag::UE) {
        status |= flag::UE;
        let moved = rounded_exp + EXPONENT_ADJUSTMENT;
        if moved < 1 {
            return Outcome::done(F80::zero(sign), flag::UE | flag::PE);
        }
        return Outcome::done(F80 { mantissa: sig, sign_exp: sign_bit | moved as u16 }, status);
    }
    let shifted = shift_right_sticky(full, (1 - exp) as u32);
    let (sig, carry, inexact, up) = round_to(sign, shifted, bits, c);
    debug_assert!(!carry, "a shifted significand has room");
    let mut status = if up { flag::C1 } else { 0 };
    if inexact {
        status |= flag::PE | if tiny { flag::UE } else { 0 };
    }
    Outcome::done(F80 { mantissa: sig, sign_exp: sign_bit | (sig >> 63) as u16 }, status)
}

/// Rounds to 64 bits of precision whatever precision control says.
pub(super) fn round_pack_full(sign: bool, exp: i32, hi: u64, lo: u64, c: Control) -> Outcome<F80> {
    round_pack(sign, exp, hi, lo, c.full_precision())
}
