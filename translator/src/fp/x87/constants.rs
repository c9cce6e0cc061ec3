//! FLD1, FLDZ, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2: constants held with 66 bits and rounded under rounding control.

use super::{Control, F80, Rounding};

/// FLD1.
pub fn one() -> F80 {
    F80::ONE
}

/// FLDZ.
pub fn zero() -> F80 {
    F80::ZERO
}

/// FLDL2T: log2(10).
pub fn l2t(c: Control) -> F80 {
    rounded(0x4000, 0xd49a_784b_cd1b_8afe, false, c)
}

/// FLDL2E: log2(e).
pub fn l2e(c: Control) -> F80 {
    rounded(0x3fff, 0xb8aa_3b29_5c17_f0bb, true, c)
}

/// FLDPI.
pub fn pi(c: Control) -> F80 {
    rounded(0x4000, 0xc90f_daa2_2168_c234, true, c)
}

/// FLDLG2: log10(2).
pub fn lg2(c: Control) -> F80 {
    rounded(0x3ffd, 0x9a20_9a84_fbcf_f798, true, c)
}

/// FLDLN2: the natural logarithm of 2.
pub fn ln2(c: Control) -> F80 {
    rounded(0x3ffe, 0xb172_17f7_d1cf_79ab, true, c)
}

/// A positive constant from its truncated significand and whether the rest is above one half.
fn rounded(sign_exp: u16, truncated: u64, above_half: bool, c: Control) -> F80 {
    let up = match c.rounding() {
        Rounding::Nearest => above_half,
        Rounding::Up => true,
        Rounding::Down | Rounding::Zero => false,
    };
    F80::new(sign_exp, truncated + u64::from(up))
}
