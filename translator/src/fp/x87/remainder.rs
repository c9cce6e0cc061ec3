//! FPREM and FPREM1: partial remainders, their quotient bits and the incomplete reduction.

use super::round::round_pack_full;
use super::{Control, F80, Finite, Outcome, denormal, flag, invalid, special2};

/// FPREM: the remainder of a quotient rounded towards zero.
pub fn rem(a: F80, b: F80, c: Control) -> Outcome<F80> {
    partial(a, b, false, c)
}

/// FPREM1: the remainder of a quotient rounded to nearest, as IEEE 754 defines it.
pub fn rem1(a: F80, b: F80, c: Control) -> Outcome<F80> {
    partial(a, b, true, c)
}

fn partial(a: F80, b: F80, nearest: bool, c: Control) -> Outcome<F80> {
    if let Some(out) = special2(a, b, c) {
        return out;
    }
    if a.is_infinity() || b.is_zero() {
        return invalid(c);
    }
    let status = denormal(a, b);
    if c.unmasked(status) {
        return Outcome { value: a, status, write: false };
    }
    let mut out = if a.is_zero() {
        Outcome::done(a, 0)
    } else if b.is_infinity() {
        let n = Finite::new(a);
        round_pack_full(n.sign, n.exp, n.sig, 0, c)
    } else {
        reduce(Finite::new(a), Finite::new(b), nearest, c)
    };
    out.status |= status;
    out
}

fn reduce(a: Finite, b: Finite, nearest: bool, c: Control) -> Outcome<F80> {
    let distance = a.exp - b.exp;
    if distance >= 64 {
        // The SDM leaves the step of a partial reduction open between 32 and 63 bits: this one brings the distance to
        // a multiple of 32 below it, as the processors do.
        let step = distance & 31 | 32;
        let (_, rest) = divide(a.sig, b.sig, step as u32);
        let mut out = deliver(a.sign, rest, a.exp - step, c);
        out.status = out.status & !flag::CC | flag::C2;
        return out;
    }
    if distance < -1 || distance < 0 && !nearest {
        return deliver(a.sign, u128::from(a.sig), a.exp, c);
    }
    let (mut quotient, mut rest, mut sign) = (0u64, u128::from(a.sig), a.sign);
    let mut exp = b.exp;
    if distance >= 0 {
        (quotient, rest) = divide(a.sig, b.sig, distance as u32);
    } else {
        exp = a.exp;
    }
    if nearest {
        // The divisor in units of the rest.
        let divisor = u128::from(b.sig) << u32::from(distance < 0);
        let twice = rest * 2;
        if twice > divisor || twice == divisor && quotient & 1 != 0 {
            quotient = quotient.wrapping_add(1);
            rest = divisor - rest;
            sign = !sign;
        }
    }
    let mut out = deliver(sign, rest, exp, c);
    if rest == 0 {
        out.value = F80::zero(a.sign);
    }
    out.status = out.status & !flag::CC
        | if quotient & 1 != 0 { flag::C1 } else { 0 }
        | if quotient & 2 != 0 { flag::C3 } else { 0 }
        | if quotient & 4 != 0 { flag::C0 } else { 0 };
    out
}

/// Low 64 bits of the quotient, and the rest, of `a * 2^shift / b`; `shift` is below 64.
fn divide(a: u64, b: u64, shift: u32) -> (u64, u128) {
    let dividend = u128::from(a) << shift;
    ((dividend / u128::from(b)) as u64, dividend % u128::from(b))
}

/// The exact number `rest * 2^(exp - 16383 - 63)`.
fn deliver(sign: bool, rest: u128, exp: i32, c: Control) -> Outcome<F80> {
    if rest == 0 {
        return Outcome::done(F80::zero(sign), 0);
    }
    let shift = rest.leading_zeros();
    let full = rest << shift;
    round_pack_full(sign, exp + 64 - shift as i32, (full >> 64) as u64, full as u64, c)
}
