//! The x87 unit's arithmetic (SDM vol. 1, chapter 8), including the responses to unmasked exceptions.
//!
//! The masked response to each exception is delivered as the value. Unmasked invalid-operation, zero-divide and
//! denormal-operand exceptions suppress the result; unmasked overflow and underflow deliver one whose exponent is moved
//! by 24576, and suppress a store in a narrower format.

mod arith;
mod bcd;
mod compare;
mod constants;
mod convert;
mod remainder;
mod round;
mod transcendental;
mod wide;

pub use arith::{Op, add, arith, arith_f32, arith_f64, arith_int, div, mul, rndint, scale, sqrt, sub, xtract};
pub use bcd::{from_bcd, to_bcd};
pub use compare::{compare, compare_f32, compare_f64, xam};
pub use constants::{l2e, l2t, lg2, ln2, one, pi, zero};
pub use convert::{
    from_f32, from_f64, from_i16, from_i32, from_i64, to_f32, to_f64, to_i16, to_i32, to_i64, trunc_i16, trunc_i32,
    trunc_i64, widen_f32, widen_f64,
};
pub use remainder::{rem, rem1};
pub use transcendental::{cos, f2xm1, fyl2x, fyl2xp1, patan, sin, sincos, tan};

use super::{F80, INTEGER_BIT, Rounding, flag};

/// The x87 control word (SDM vol. 1, 8.1.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Control(pub u16);

impl Control {
    /// Rounding control.
    #[inline]
    pub fn rounding(self) -> Rounding {
        Rounding::from_bits(u32::from(self.0 >> 10))
    }
    /// Significand bits that precision control asks for. The reserved encoding 01 acts as 64 bits.
    #[inline]
    pub fn precision_bits(self) -> u32 {
        match self.0 >> 8 & 3 {
            0 => 24,
            2 => 53,
            _ => 64,
        }
    }
    /// Exception masks, bits 0-5.
    #[inline]
    pub fn masks(self) -> u16 {
        self.0 & flag::ALL
    }
    /// Does `status` hold an exception that is not masked?
    #[inline]
    pub fn unmasked(self, status: u16) -> bool {
        status & flag::ALL & !self.0 != 0
    }
    /// The same control word with full precision: precision control is for add, subtract, multiply, divide and square
    /// root alone.
    #[inline]
    fn full_precision(self) -> Self {
        Self(self.0 | 0x300)
    }
    /// Rounding to nearest and 64 bits.
    #[inline]
    fn is_ordinary(self) -> bool {
        self.0 & 0xf00 == 0x300
    }
}

/// Result of an x87 operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome<T> {
    /// The result; meaningless if it is not to be written.
    pub value: T,
    /// Exceptions raised and condition codes defined, at their places in the status word.
    pub status: u16,
    /// Write the result; false if an unmasked exception leaves the destination and the stack as they are.
    pub write: bool,
}

impl<T> Outcome<T> {
    #[inline]
    fn done(value: T, status: u16) -> Self {
        Self { value, status, write: true }
    }
    /// A result that exceptions found before the computation accompany.
    #[inline]
    fn checked(value: T, status: u16, c: Control) -> Self {
        Self { value, status, write: !c.unmasked(status & flag::BEFORE) }
    }
    /// Changes the value and keeps the rest.
    #[inline]
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U> {
        Outcome { value: f(self.value), status: self.status, write: self.write }
    }
}

/// A finite non-zero number: `sig * 2^(exp - 16383 - 63)`, top bit of `sig` set.
#[derive(Clone, Copy)]
struct Finite {
    sign: bool,
    exp: i32,
    sig: u64,
}

impl Finite {
    /// Takes a normal number apart.
    #[inline]
    fn normal(a: F80) -> Self {
        Self { sign: a.sign(), exp: i32::from(a.exponent()), sig: a.mantissa }
    }
    /// Normalizes; the operand must be normal, denormal or pseudo-denormal.
    #[inline]
    fn new(a: F80) -> Self {
        let shift = a.mantissa.leading_zeros();
        Self {
            sign: a.sign(),
            exp: i32::from(a.exponent().max(1)) - shift as i32,
            sig: a.mantissa.checked_shl(shift).unwrap_or(INTEGER_BIT),
        }
    }
}

/// Masked response to an invalid operation.
#[cold]
fn invalid(c: Control) -> Outcome<F80> {
    Outcome::checked(F80::INDEFINITE, flag::IE, c)
}

/// Result of a one-operand instruction whose operand is a NaN or unsupported, if it is.
#[inline]
fn special1(a: F80, c: Control) -> Option<Outcome<F80>> {
    if a.is_unsupported() {
        return Some(invalid(c));
    }
    a.is_nan().then(|| Outcome::checked(a.quieted(), if a.is_signalling() { flag::IE } else { 0 }, c))
}

/// Result of a two-operand instruction one of whose operands is a NaN or unsupported, if one is (SDM vol. 1, table 4-7,
/// the column of the x87 unit).
#[inline]
fn special2(a: F80, b: F80, c: Control) -> Option<Outcome<F80>> {
    if a.is_unsupported() || b.is_unsupported() {
        return Some(invalid(c));
    }
    if !a.is_nan() && !b.is_nan() {
        return None;
    }
    let status = if a.is_signalling() || b.is_signalling() { flag::IE } else { 0 };
    Some(Outcome::checked(larger_nan(a, b), status, c))
}

/// The NaN that two operands, at least one of them a NaN, deliver.
fn larger_nan(a: F80, b: F80) -> F80 {
    let first = match (a.is_nan(), b.is_nan()) {
        (true, false) => true,
        (false, true) => false,
        _ => match (a.is_signalling(), b.is_signalling()) {
            (true, false) => false,
            (false, true) => true,
            // Of two equal significands the positive one wins.
            _ => a.mantissa > b.mantissa || a.mantissa == b.mantissa && !a.sign(),
        },
    };
    if first { a.quieted() } else { b.quieted() }
}

/// DE if one of the operands is a denormal.
#[inline]
fn denormal(a: F80, b: F80) -> u16 {
    if a.is_denormal() || b.is_denormal() { flag::DE } else { 0 }
}
