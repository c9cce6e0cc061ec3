//! Rounding to binary32 and binary64, shared by x87 stores and SSE.

use super::Rounding;

/// A magnitude rounded to a narrow format, as if every exception were masked.
pub(super) struct Packed {
    /// Sign, exponent and fraction.
    pub(super) bits: u64,
    /// The rounded magnitude exceeds the format.
    pub(super) overflow: bool,
    /// The magnitude, rounded with an unbounded exponent, is below the smallest normal number.
    pub(super) tiny: bool,
    /// The value delivered differs from the exact one.
    pub(super) inexact: bool,
    /// Rounding with an unbounded exponent is inexact: what an unmasked underflow or overflow reports.
    pub(super) inexact_unbounded: bool,
    /// The last rounding went up in magnitude.
    pub(super) up: bool,
}

/// Rounds `sig * 2^(exp - bias - 63)` to `FRAC` bits of fraction and `EXP` bits of exponent.
///
/// `sig` has its top bit set, and its lowest bit may stand for any further non-zero bits (it is sticky); `exp` is biased
/// as the format is, but may lie outside of it.
#[inline]
pub(super) fn pack<const FRAC: u32, const EXP: u32>(sign: bool, exp: i32, sig: u64, rounding: Rounding) -> Packed {
    let drop = 63 - FRAC;
    let max_exp = (1i32 << EXP) - 1;
    let top = u64::from(sign) << (FRAC + EXP);
    let rest = sig << (64 - drop);
    let kept = sig >> drop;
    let up = rounding.up64(sign, kept & 1 != 0, rest);
    let rounded = kept + u64::from(up);
    let carry = rounded >> (FRAC + 1) != 0;
    if exp >= 1 {
        let exp = exp + i32::from(carry);
        if exp >= max_exp {
            let infinite = rounding.overflows_to_infinity(sign);
            let magnitude = ((max_exp as u64) << FRAC) - u64::from(!infinite);
            return Packed {
                bits: top | magnitude,
                overflow: true,
                tiny: false,
                inexact: true,
                inexact_unbounded: rest != 0,
                up: infinite,
            };
        }
        let fraction = if carry { 0 } else { rounded & ((1 << FRAC) - 1) };
        return Packed {
            bits: top | (exp as u64) << FRAC | fraction,
            overflow: false,
            tiny: false,
            inexact: rest != 0,
            inexact_unbounded: rest != 0,
            up,
        };
    }
    let tiny = exp + i32::from(carry) < 1;
    let shift = drop + (1 - exp).min(64) as u32;
    let (kept, denormal_rest) = if shift < 64 {
        (sig >> shift, sig << (64 - shift))
    } else {
        // Shifted out whole: at most one half of the last place is left, and only at 64.
        let distance = (shift - 64).min(63);
        let sticky = sig & ((1 << distance) - 1) != 0;
        (0, sig >> distance | u64::from(sticky))
    };
    let denormal_up = rounding.up64(sign, kept & 1 != 0, denormal_rest);
    Packed {
        bits: top | (kept + u64::from(denormal_up)),
        overflow: false,
        tiny,
        inexact: denormal_rest != 0,
        inexact_unbounded: rest != 0,
        up: denormal_up,
    }
}

/// Shifts right, keeping in the lowest bit whether any set bit was lost.
#[inline]
pub(super) fn shift_right_sticky(value: u128, by: u32) -> u128 {
    match by {
        0 => value,
        1..=127 => value >> by | u128::from(value << (128 - by) != 0),
        _ => u128::from(value != 0),
    }
}
