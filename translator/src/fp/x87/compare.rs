//! FCOM, FUCOM, FTST and FXAM.

use super::super::Relation;
use super::convert::{widen_f32, widen_f64};
use super::{Control, F80, Finite, Outcome, denormal, flag};

/// Compares; a quiet comparison (FUCOM) takes quiet NaNs without an exception.
///
/// An unmasked exception keeps FCOM from popping. Condition codes and FCOMI's flags are written all the same: the manual's
/// footnote has them untouched after an unmasked #IA, the processors set them (docs/verdicts.md).
pub fn compare(a: F80, b: F80, quiet: bool, c: Control) -> Outcome<Relation> {
    compare_with(a, b, quiet, denormal(a, b), c)
}

/// FCOM with a binary32 memory operand.
pub fn compare_f32(a: F80, b: u32, c: Control) -> Outcome<Relation> {
    let wide = widen_f32(b);
    let narrow = if b & 0x7f80_0000 == 0 && b << 1 != 0 { flag::DE } else { 0 };
    compare_with(a, wide, false, narrow | denormal(a, wide), c)
}

/// FCOM with a binary64 memory operand.
pub fn compare_f64(a: F80, b: u64, c: Control) -> Outcome<Relation> {
    let wide = widen_f64(b);
    let narrow = if b & 0x7ff0_0000_0000_0000 == 0 && b << 1 != 0 { flag::DE } else { 0 };
    compare_with(a, wide, false, narrow | denormal(a, wide), c)
}

fn compare_with(a: F80, b: F80, quiet: bool, denormal: u16, c: Control) -> Outcome<Relation> {
    if a.is_normal() && b.is_normal() && denormal == 0 {
        let magnitudes = (a.exponent(), a.mantissa).cmp(&(b.exponent(), b.mantissa));
        let order = match (a.sign(), b.sign()) {
            (false, false) => magnitudes,
            (true, true) => magnitudes.reverse(),
            (false, true) => std::cmp::Ordering::Greater,
            (true, false) => std::cmp::Ordering::Less,
        };
        return Outcome::done(Relation::of(order), 0);
    }
    if a.is_unsupported() || b.is_unsupported() {
        return Outcome::checked(Relation::Unordered, flag::IE, c);
    }
    if a.is_nan() || b.is_nan() {
        let invalid = !quiet || a.is_signalling() || b.is_signalling();
        return Outcome::checked(Relation::Unordered, if invalid { flag::IE } else { 0 }, c);
    }
    Outcome::checked(Relation::of(key(a).cmp(&key(b))), denormal, c)
}

/// Orders numbers as their values do.
fn key(a: F80) -> i128 {
    if a.is_zero() {
        return 0;
    }
    let n = Finite::new(a);
    // Exponents of denormals go down to -62: one bias keeps them positive.
    let magnitude = i128::from(n.exp + 128) << 64 | i128::from(n.sig);
    if n.sign { -magnitude } else { magnitude }
}

/// FXAM: the class of a register in C3, C2, C0 and its sign in C1 (SDM vol. 1, table 8-8).
pub fn xam(a: F80, empty: bool) -> u16 {
    let sign = if a.sign() { flag::C1 } else { 0 };
    sign | if empty {
        flag::C3 | flag::C0
    } else if a.is_unsupported() {
        0
    } else if a.is_nan() {
        flag::C0
    } else if a.is_infinity() {
        flag::C2 | flag::C0
    } else if a.is_zero() {
        flag::C3
    } else if a.is_denormal() {
        flag::C3 | flag::C2
    } else {
        flag::C2
    }
}
