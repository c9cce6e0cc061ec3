//! Arithmetic on 128-bit significands, for the transcendental functions.
//!
//! Every operation truncates; a function built of a few dozen of them is good to some 120 bits, far more than the 64 that
//! are kept, so that its results are nearly always the correctly rounded ones.

use super::Finite;

/// A positive number `sig * 2^(exp - 127)` with the top bit of `sig` set, or zero.
#[derive(Clone, Copy)]
pub(super) struct Wide {
    pub(super) exp: i32,
    pub(super) sig: u128,
}

const TOP: u128 = 1 << 127;

impl Wide {
    pub(super) const ZERO: Self = Self { exp: 0, sig: 0 };
    pub(super) const ONE: Self = Self { exp: 0, sig: TOP };
    pub(super) const PI: Self = Self { exp: 1, sig: 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1 };
    pub(super) const HALF_PI: Self = Self { exp: 0, ..Self::PI };
    pub(super) const QUARTER_PI: Self = Self { exp: -1, ..Self::PI };
    /// Three quarters of pi.
    pub(super) const THREE_QUARTERS_PI: Self = Self { exp: 1, sig: 0x96cb_e3f9_990e_91a7_9394_c9e8_a0a5_159c };
    pub(super) const LN2: Self = Self { exp: -1, sig: 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af };
    pub(super) const LOG2_E: Self = Self { exp: 0, sig: 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e88 };

    pub(super) fn from_finite(n: Finite) -> Self {
        Self { exp: n.exp - 16383, sig: u128::from(n.sig) << 64 }
    }
    /// `fixed * 2^-fraction_bits`.
    pub(super) fn from_fixed(fixed: u128, fraction_bits: i32) -> Self {
        if fixed == 0 {
            return Self::ZERO;
        }
        let shift = fixed.leading_zeros();
        Self { exp: 127 - fraction_bits - shift as i32, sig: fixed << shift }
    }
    /// The number, below one, as a fraction of 2^128.
    pub(super) fn to_fraction(self) -> u128 {
        self.sig.checked_shr((-1 - self.exp) as u32).unwrap_or(0)
    }
    pub(super) fn is_zero(self) -> bool {
        self.sig == 0
    }
    pub(super) fn scaled(self, by: i32) -> Self {
        Self { exp: self.exp + by, ..self }
    }
    pub(super) fn at_least(self, other: Self) -> bool {
        (self.exp, self.sig) >= (other.exp, other.sig)
    }
    pub(super) fn mul(self, other: Self) -> Self {
        if self.is_zero() || other.is_zero() {
            return Self::ZERO;
        }
        let high = mul_high(self.sig, other.sig);
        if high & TOP != 0 {
            return Self { exp: self.exp + other.exp + 1, sig: high };
        }
        let next = self.sig.wrapping_mul(other.sig) >> 127;
        Self { exp: self.exp + other.exp, sig: high << 1 | next }
    }
    /// The divisor is not zero.
    pub(super) fn div(self, other: Self) -> Self {
        if self.is_zero() {
            return Self::ZERO;
        }
        if self.sig == other.sig {
            return Self { exp: self.exp - other.exp, sig: TOP };
        }
        if self.sig < other.sig {
            return Self { exp: self.exp - other.exp - 1, sig: fraction(self.sig, other.sig) };
        }
        // 1 <= quotient < 2: half of the dividend gives a quotient in [1/2, 1).
        Self { exp: self.exp - other.exp, sig: fraction(self.sig >> 1, other.sig) | TOP }
    }
    pub(super) fn add(self, other: Self) -> Self {
        let (big, small) = if self.at_least(other) { (self, other) } else { (other, self) };
        if small.is_zero() || big.is_zero() {
            return if big.is_zero() { small } else { big };
        }
        let (sum, carry) = big.sig.overflowing_add(small.sig.checked_shr((big.exp - small.exp) as u32).unwrap_or(0));
        if carry { Self { exp: big.exp + 1, sig: sum >> 1 | TOP } } else { Self { exp: big.exp, sig: sum } }
    }
    /// `other` is at most `self`.
    pub(super) fn sub(self, other: Self) -> Self {
        if other.is_zero() {
            return self;
        }
        let distance = (self.exp - other.exp) as u32;
        // Something taken away always shows, so that directed rounding sees on which side the exact value lies.
        let taken = other.sig.checked_shr(distance).unwrap_or(0).max(1);
        let rest = self.sig.saturating_sub(taken);
        if rest == 0 {
            return Self::ZERO;
        }
        let shift = rest.leading_zeros();
        Self { exp: self.exp - shift as i32, sig: rest << shift }
    }
}

/// High half of a 256-bit product.
pub(super) fn mul_high(a: u128, b: u128) -> u128 {
    let (a1, a0) = (a >> 64, a & u128::from(u64::MAX));
    let (b1, b0) = (b >> 64, b & u128::from(u64::MAX));
    let middle = a1 * b0 + ((a0 * b0) >> 64);
    let other = a0 * b1 + (middle & u128::from(u64::MAX));
    a1 * b1 + (middle >> 64) + (other >> 64)
}

/// `floor(n * 2^128 / d)` for `n < d`, the top bit of `d` set.
fn fraction(n: u128, d: u128) -> u128 {
    let (high, rest) = digit(n, d);
    let (low, _) = digit(rest, d);
    u128::from(high) << 64 | u128::from(low)
}

/// One 64-bit digit of a long division: quotient and rest of `n * 2^64 / d`, by Knuth's estimate from the top digits.
fn digit(n: u128, d: u128) -> (u64, u128) {
    let (top, bottom) = (d >> 64, d & u128::from(u64::MAX));
    let mut estimate = (n / top).min(u128::from(u64::MAX));
    let mut rest = n - estimate * top;
    while rest >> 64 == 0 && estimate * bottom > rest << 64 {
        estimate -= 1;
        rest += top;
    }
    (estimate as u64, (rest << 64).wrapping_sub(estimate.wrapping_mul(bottom)))
}

/// Sum of `coefficients[k] * z^k`; coefficients and result are fractions of 2^127 (below 2), `z` of 2^128.
pub(super) fn series(coefficients: &[u128], z: u128) -> u128 {
    coefficients.iter().rev().fold(0, |sum, &c| c + mul_high(sum, z))
}

/// The same with alternating signs, for falling terms. The first coefficient is taken a unit short, so that the sum
/// stays below it even where the other terms vanish.
pub(super) fn alternating(coefficients: &[u128], z: u128) -> u128 {
    coefficients.iter().rev().fold(0, |sum, &c| c - mul_high(sum, z)) - 1
}

const fn inverse_factorials() -> [u128; 36] {
    let mut table = [TOP; 36];
    let mut n = 1;
    while n < 36 {
        table[n] = table[n - 1] / n as u128;
        n += 1;
    }
    table
}

const fn every_second<const N: usize>(first: usize) -> [u128; N] {
    let all = inverse_factorials();
    let mut table = [0; N];
    let mut n = 0;
    while n < N {
        table[n] = all[first + 2 * n];
        n += 1;
    }
    table
}

const fn inverse_odd<const N: usize>() -> [u128; N] {
    let mut table = [0; N];
    let mut n = 0;
    while n < N {
        table[n] = TOP / (2 * n as u128 + 1);
        n += 1;
    }
    table
}

const fn after_first() -> [u128; 35] {
    let all = inverse_factorials();
    let mut table = [0; 35];
    let mut n = 0;
    while n < 35 {
        table[n] = all[n + 1];
        n += 1;
    }
    table
}

/// `sin(r) / r` in powers of `r^2`, alternating.
pub(super) static SIN: [u128; 17] = every_second(1);
/// `cos(r)` in powers of `r^2`, alternating.
pub(super) static COS: [u128; 17] = every_second(0);
/// `(exp(r) - 1) / r` in powers of `r`.
pub(super) static EXP: [u128; 35] = after_first();
/// `atan(r) / r` (alternating) and `atanh(r) / r` in powers of `r^2`.
pub(super) static ATAN: [u128; 26] = inverse_odd();

/// `atan(k / 8)` as fractions of 2^127.
pub(super) static ATAN_EIGHTHS: [u128; 9] = [
    0,
    0x0fea_dd4d_5617_b6e3_2c89_7989_f3e8_88ef,
    0x1f5b_75f9_2c80_dd62_adb8_f3de_bef4_42fc,
    0x2dec_3283_c9bd_e11c_e2a8_c848_b73f_9120,
    0x3b58_ce0a_c376_9ed1_5bf9_117b_2f0e_a340,
    0x4780_2eaf_7bfa_cfcd_ae41_af0b_32e2_1ba3,
    0x525e_3e8c_9a7b_8492_0cd4_3f95_22be_d64f,
    0x5c02_9f15_e118_cf39_e596_d2a9_0852_221e,
    0x6487_ed51_10b4_611a_6263_3145_c06e_0e68,
];
