//! FADD, FSUB, FMUL, FDIV, FSQRT, FRNDINT, FSCALE, FXTRACT.

use super::super::pack::shift_right_sticky;
use super::convert::{from_i32, widen_f32, widen_f64};
use super::round::{round_pack, round_pack_full};
use super::{Control, F80, Finite, INTEGER_BIT, Outcome, Rounding, denormal, flag, invalid, special1, special2};

/// The six two-operand instructions that share an encoding group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// FADD.
    Add,
    /// FMUL.
    Mul,
    /// FSUB: destination minus source.
    Sub,
    /// FSUBR: source minus destination.
    SubR,
    /// FDIV: destination by source.
    Div,
    /// FDIVR: source by destination.
    DivR,
}

/// One of the six operations with `a` as destination and `b` as source.
#[inline]
pub fn arith(op: Op, a: F80, b: F80, c: Control) -> Outcome<F80> {
    match op {
        Op::Add => add(a, b, c),
        Op::Mul => mul(a, b, c),
        Op::Sub => sub(a, b, c),
        Op::SubR => sub(b, a, c),
        Op::Div => div(a, b, c),
        Op::DivR => div(b, a, c),
    }
}

/// One of the six operations with a binary32 memory operand as source.
pub fn arith_f32(op: Op, a: F80, b: u32, c: Control) -> Outcome<F80> {
    arith_narrow(op, a, widen_f32(b), b & 0x7f80_0000 == 0 && b << 1 != 0, c)
}

/// One of the six operations with a binary64 memory operand as source.
pub fn arith_f64(op: Op, a: F80, b: u64, c: Control) -> Outcome<F80> {
    arith_narrow(op, a, widen_f64(b), b & 0x7ff0_0000_0000_0000 == 0 && b << 1 != 0, c)
}

/// One of the six operations with an integer memory operand as source (FIADD and its kind, 16 or 32 bits).
pub fn arith_int(op: Op, a: F80, b: i32, c: Control) -> Outcome<F80> {
    arith(op, a, from_i32(b), c)
}

/// An operation whose source was widened: a denormal in its own format still raises DE.
fn arith_narrow(op: Op, a: F80, b: F80, b_denormal: bool, c: Control) -> Outcome<F80> {
    if !b_denormal {
        return arith(op, a, b, c);
    }
    // DE ranks below an operand that is no number and below the other invalid operations and division by zero.
    let quiet = arith(op, a, b, Control(c.0 | flag::ALL));
    let blocked = a.is_nan() || quiet.status & (flag::IE | flag::ZE) != 0;
    if blocked {
        return arith(op, a, b, c);
    }
    if c.unmasked(flag::DE) {
        return Outcome { value: a, status: flag::DE, write: false };
    }
    let mut out = arith(op, a, b, c);
    out.status |= flag::DE;
    out
}

/// `a + b`.
#[inline]
pub fn add(a: F80, b: F80, c: Control) -> Outcome<F80> {
    if a.is_normal() && b.is_normal() {
        return add_finite(Finite::normal(a), Finite::normal(b), c);
    }
    add_special(a, b, false, c)
}

/// `a - b`.
#[inline]
pub fn sub(a: F80, b: F80, c: Control) -> Outcome<F80> {
    if a.is_normal() && b.is_normal() {
        return add_finite(Finite::normal(a), Finite::normal(b.negate()), c);
    }
    add_special(a, b, true, c)
}

/// Adds two finite non-zero numbers.
#[inline]
fn add_finite(a: Finite, b: Finite, c: Control) -> Outcome<F80> {
    let (a, b) = if (b.exp, b.sig) > (a.exp, a.sig) { (b, a) } else { (a, b) };
    let distance = (a.exp - b.exp) as u32;
    // The smaller one shifted into 128 bits, what falls out of them kept as a sticky bit.
    let (high, low) = match distance {
        0..=63 => (b.sig >> distance, b.sig << 1 << (63 - distance)),
        64..=127 => (0, b.sig >> (distance - 64) | u64::from(b.sig << 1 << (127 - distance) != 0)),
        _ => (0, 1),
    };
    if a.sign == b.sign {
        let (sum, carry) = a.sig.overflowing_add(high);
        if carry {
            let low = sum << 63 | low >> 1 | low & 1;
            return round_pack(a.sign, a.exp + 1, sum >> 1 | INTEGER_BIT, low, c);
        }
        return round_pack(a.sign, a.exp, sum, low, c);
    }
    let (rest, borrow) = 0u64.overflowing_sub(low);
    let difference = a.sig - high - u64::from(borrow);
    if difference >> 63 != 0 {
        return round_pack(a.sign, a.exp, difference, rest, c);
    }
    let difference = u128::from(difference) << 64 | u128::from(rest);
    if difference == 0 {
        return Outcome::done(F80::zero(c.rounding() == Rounding::Down), 0);
    }
    let shift = difference.leading_zeros();
    let difference = difference << shift;
    round_pack(a.sign, a.exp - shift as i32, (difference >> 64) as u64, difference as u64, c)
}

#[cold]
fn add_special(a: F80, b: F80, subtract: bool, c: Control) -> Outcome<F80> {
    if let Some(out) = special2(a, b, c) {
        return out;
    }
    let b = if subtract { b.negate() } else { b };
    if a.is_infinity() && b.is_infinity() && a.sign() != b.sign() {
        return invalid(c);
    }
    let status = denormal(a, b);
    if c.unmasked(status) {
        return Outcome { value: a, status, write: false };
    }
    let mut out = match (a.is_infinity(), b.is_infinity()) {
        (true, _) => Outcome::done(a, 0),
        (_, true) => Outcome::done(b, 0),
        _ => match (a.is_zero(), b.is_zero()) {
            (true, true) if a.sign() == b.sign() => Outcome::done(a, 0),
            (true, true) => Outcome::done(F80::zero(c.rounding() == Rounding::Down), 0),
            // Precision control rounds, and a denormal underflows, even when the other operand is zero.
            (true, false) => repack(b, c),
            (false, true) => repack(a, c),
            _ => add_finite(Finite::new(a), Finite::new(b), c),
        },
    };
    out.status |= status;
    out
}

fn repack(a: F80, c: Control) -> Outcome<F80> {
    let a = Finite::new(a);
    round_pack(a.sign, a.exp, a.sig, 0, c)
}

/// `a * b`.
#[inline]
pub fn mul(a: F80, b: F80, c: Control) -> Outcome<F80> {
    if a.is_normal() && b.is_normal() {
        return mul_finite(Finite::normal(a), Finite::normal(b), c);
    }
    mul_special(a, b, c)
}

#[inline]
fn mul_finite(a: Finite, b: Finite, c: Control) -> Outcome<F80> {
    let product = u128::from(a.sig) * u128::from(b.sig);
    let carry = (product >> 127) as u32;
    let product = product << (1 - carry);
    let exp = a.exp + b.exp - 16383 + carry as i32;
    round_pack(a.sign != b.sign, exp, (product >> 64) as u64, product as u64, c)
}

#[cold]
fn mul_special(a: F80, b: F80, c: Control) -> Outcome<F80> {
    if let Some(out) = special2(a, b, c) {
        return out;
    }
    let sign = a.sign() != b.sign();
    if a.is_infinity() && b.is_zero() || a.is_zero() && b.is_infinity() {
        return invalid(c);
    }
    let status = denormal(a, b);
    if c.unmasked(status) {
        return Outcome { value: a, status, write: false };
    }
    let mut out = if a.is_infinity() || b.is_infinity() {
        Outcome::done(F80::infinity(sign), 0)
    } else if a.is_zero() || b.is_zero() {
        Outcome::done(F80::zero(sign), 0)
    } else {
        mul_finite(Finite::new(a), Finite::new(b), c)
    };
    out.status |= status;
    out
}

/// `a / b`.
#[inline]
pub fn div(a: F80, b: F80, c: Control) -> Outcome<F80> {
    if a.is_normal() && b.is_normal() {
        return div_finite(Finite::normal(a), Finite::normal(b), c);
    }
    div_special(a, b, c)
}

#[inline]
fn div_finite(a: Finite, b: Finite, c: Control) -> Outcome<F80> {
    let below = a.sig < b.sig;
    let dividend = u128::from(a.sig) << (63 + u32::from(below));
    let divisor = u128::from(b.sig);
    let quotient = (dividend / divisor) as u64;
    let rest = dividend - u128::from(quotient) * divisor;
    let lo = fraction_code(rest * 2, divisor, rest == 0);
    round_pack(a.sign != b.sign, a.exp - b.exp + 16383 - i32::from(below), quotient, lo, c)
}

/// A 64-bit stand-in for the fraction `twice_rest / 2 / divisor`: it compares with one half as the fraction does.
#[inline]
pub(super) fn fraction_code(twice_rest: u128, divisor: u128, exact: bool) -> u64 {
    if exact {
        return 0;
    }
    match twice_rest.cmp(&divisor) {
        std::cmp::Ordering::Less => 1,
        std::cmp::Ordering::Equal => INTEGER_BIT,
        std::cmp::Ordering::Greater => INTEGER_BIT | 1,
    }
}

#[cold]
fn div_special(a: F80, b: F80, c: Control) -> Outcome<F80> {
    if let Some(out) = special2(a, b, c) {
        return out;
    }
    let sign = a.sign() != b.sign();
    if a.is_infinity() && b.is_infinity() || a.is_zero() && b.is_zero() {
        return invalid(c);
    }
    if b.is_zero() && !a.is_infinity() {
        return Outcome::checked(F80::infinity(sign), flag::ZE, c);
    }
    let status = denormal(a, b);
    if c.unmasked(status) {
        return Outcome { value: a, status, write: false };
    }
    let mut out = if a.is_infinity() {
        Outcome::done(F80::infinity(sign), 0)
    } else if b.is_infinity() || a.is_zero() {
        Outcome::done(F80::zero(sign), 0)
    } else {
        div_finite(Finite::new(a), Finite::new(b), c)
    };
    out.status |= status;
    out
}

/// FSQRT.
pub fn sqrt(a: F80, c: Control) -> Outcome<F80> {
    if let Some(out) = special1(a, c) {
        return out;
    }
    if a.is_zero() {
        return Outcome::done(a, 0);
    }
    if a.sign() {
        return invalid(c);
    }
    if a.is_infinity() {
        return Outcome::done(a, 0);
    }
    let status = denormal(a, a);
    if c.unmasked(status) {
        return Outcome { value: a, status, write: false };
    }
    let n = Finite::new(a);
    let power = n.exp - 16383;
    let radicand = u128::from(n.sig) << (63 + (power & 1) as u32);
    let root = radicand.isqrt();
    let rest = radicand - root * root;
    let lo = match rest {
        0 => 0,
        _ if rest <= root => 1,
        _ => INTEGER_BIT | 1,
    };
    let mut out = round_pack(false, (power >> 1) + 16383, root as u64, lo, c);
    out.status |= status;
    out
}

/// FRNDINT: to an integral value under rounding control.
pub fn rndint(a: F80, c: Control) -> Outcome<F80> {
    if let Some(out) = special1(a, c) {
        return out;
    }
    if a.is_zero() || a.is_infinity() || a.exponent() >= 16383 + 63 {
        return Outcome::done(a, 0);
    }
    let status = denormal(a, a);
    if c.unmasked(status) {
        return Outcome { value: a, status, write: false };
    }
    let (kept, rest) = integer_and_rest(a);
    let up = c.rounding().up(a.sign(), kept & 1 != 0, rest);
    let magnitude = kept + u64::from(up);
    let status = status | if rest != 0 { flag::PE } else { 0 } | if up { flag::C1 } else { 0 };
    let value = if magnitude == 0 {
        F80::zero(a.sign())
    } else {
        let shift = magnitude.leading_zeros();
        F80::new((a.sign_exp & 0x8000) | (16383 + 63 - shift as u16), magnitude << shift)
    };
    Outcome::done(value, status)
}

/// Integer part of a magnitude below 2^64, and the fraction with its top bit worth one half (the lowest bit sticky).
pub(super) fn integer_and_rest(a: F80) -> (u64, u128) {
    let wide = u128::from(a.mantissa) << 64;
    match i32::from(a.exponent().max(1)) - 16383 {
        power @ 0..=63 => (a.mantissa >> (63 - power), wide << (power + 1)),
        power => (0, shift_right_sticky(wide, (-1 - power) as u32)),
    }
}

/// FSCALE: `a * 2^trunc(b)`.
pub fn scale(a: F80, b: F80, c: Control) -> Outcome<F80> {
    if let Some(out) = special2(a, b, c) {
        return out;
    }
    if b.is_infinity() && (if b.sign() { a.is_infinity() } else { a.is_zero() }) {
        return invalid(c);
    }
    let status = denormal(a, b);
    if c.unmasked(status) {
        return Outcome { value: a, status, write: false };
    }
    let mut out = if a.is_infinity() || a.is_zero() {
        Outcome::done(a, 0)
    } else if b.is_infinity() {
        Outcome::done(if b.sign() { F80::zero(a.sign()) } else { F80::infinity(a.sign()) }, 0)
    } else {
        let magnitude = if b.exponent() >= 16383 + 17 { 0x2_0000 } else { integer_and_rest(b).0 as i32 };
        let by = if b.sign() { -magnitude } else { magnitude };
        let n = Finite::new(a);
        round_pack_full(n.sign, n.exp + by, n.sig, 0, c)
    };
    out.status |= status;
    out
}

/// FXTRACT: (exponent, significand) as numbers.
pub fn xtract(a: F80, c: Control) -> Outcome<(F80, F80)> {
    if let Some(out) = special1(a, c) {
        return out.map(|nan| (nan, nan));
    }
    if a.is_infinity() {
        return Outcome::done((F80::infinity(false), a), 0);
    }
    if a.is_zero() {
        return Outcome::checked((F80::infinity(true), a), flag::ZE, c);
    }
    let n = Finite::new(a);
    let significand = F80::new(u16::from(n.sign) << 15 | 16383, n.sig);
    Outcome::checked((from_i32(n.exp - 16383), significand), denormal(a, a), c)
}
