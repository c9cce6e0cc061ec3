//! ADD, SUB, MUL, DIV, SQRT, MIN, MAX, CMP and COMIS.

use super::super::Relation;
use super::{F32, F64, Format, Lane, Mxcsr, Rounding, bit};

impl<const FRAC: u32, const EXP: u32> Format<FRAC, EXP> {
    #[inline]
    fn add(a: u64, b: u64, flip: u64, m: Mxcsr) -> Lane<u64> {
        if Self::is_normal(a) && Self::is_normal(b) {
            return Self::add_finite(a, b ^ flip, m, 0);
        }
        let (a, b) = (Self::load(a, m), Self::load(b, m));
        if let Some(nan) = Self::nan(a, b) {
            return nan;
        }
        let b = b ^ flip;
        let flags = Self::denormal(a, b);
        if Self::is_infinity(a) || Self::is_infinity(b) {
            if Self::is_infinity(a) && Self::is_infinity(b) && a != b {
                return Lane::new(Self::INDEFINITE, bit::IE);
            }
            return Lane::new(if Self::is_infinity(a) { a } else { b }, flags);
        }
        let opposite_zero = Self::zero(m.rounding() == Rounding::Down);
        match (Self::is_zero(a), Self::is_zero(b)) {
            (true, true) => return Lane::new(if a == b { a } else { opposite_zero }, flags),
            (true, false) => return Self::repack(b, m, flags),
            (false, true) => return Self::repack(a, m, flags),
            _ => {}
        }
        Self::add_finite(a, b, m, flags)
    }

    /// Adds two finite non-zero numbers.
    #[inline]
    fn add_finite(a: u64, b: u64, m: Mxcsr, flags: u32) -> Lane<u64> {
        let (sign_a, sign_b) = (Self::sign(a), Self::sign(b));
        let (x, y) = (Self::split(a), Self::split(b));
        let (big, small, sign) = if y > x { (y, x, sign_b) } else { (x, y, sign_a) };
        let distance = (big.0 - small.0) as u32;
        // Ten or more spare bits below: enough for the guard and sticky bits.
        let (hi, lo) = (big.1 >> 1, small.1 >> 1);
        let lo = match distance {
            0 => lo,
            1..=63 => lo >> distance | u64::from(lo << (64 - distance) != 0),
            _ => 1,
        };
        let (sum, exp) = if sign_a == sign_b { (hi + lo, big.0 + 1) } else { (hi - lo, big.0 + 1) };
        if sum == 0 {
            return Lane::new(Self::zero(m.rounding() == Rounding::Down), flags);
        }
        let shift = sum.leading_zeros();
        Self::round(sign, exp - shift as i32, sum << shift, m, flags)
    }

    /// A finite non-zero number through rounding: exact, but a denormal can underflow.
    #[inline]
    fn repack(v: u64, m: Mxcsr, flags: u32) -> Lane<u64> {
        if !Self::is_denormal(v) {
            return Lane::new(v, flags);
        }
        let (exp, sig) = Self::split(v);
        Self::round(Self::sign(v), exp, sig, m, flags)
    }

    #[inline]
    fn mul(a: u64, b: u64, m: Mxcsr) -> Lane<u64> {
        if Self::is_normal(a) && Self::is_normal(b) {
            return Self::mul_finite(a, b, m, 0);
        }
        let (a, b) = (Self::load(a, m), Self::load(b, m));
        if let Some(nan) = Self::nan(a, b) {
            return nan;
        }
        let sign = Self::sign(a) != Self::sign(b);
        let flags = Self::denormal(a, b);
        if Self::is_infinity(a) || Self::is_infinity(b) {
            if Self::is_zero(a) || Self::is_zero(b) {
                return Lane::new(Self::INDEFINITE, bit::IE);
            }
            return Lane::new(Self::infinity(sign), flags);
        }
        if Self::is_zero(a) || Self::is_zero(b) {
            return Lane::new(Self::zero(sign), flags);
        }
        Self::mul_finite(a, b, m, flags)
    }

    /// Multiplies two finite non-zero numbers.
    #[inline]
    fn mul_finite(a: u64, b: u64, m: Mxcsr, flags: u32) -> Lane<u64> {
        let sign = Self::sign(a) != Self::sign(b);
        let ((exp_a, sig_a), (exp_b, sig_b)) = (Self::split(a), Self::split(b));
        let product = u128::from(sig_a) * u128::from(sig_b);
        let carry = (product >> 127) as u32;
        let product = product << (1 - carry);
        let sig = (product >> 64) as u64 | u64::from(product as u64 != 0);
        Self::round(sign, exp_a + exp_b - Self::BIAS + carry as i32, sig, m, flags)
    }

    #[inline]
    fn div(a: u64, b: u64, m: Mxcsr) -> Lane<u64> {
        let (a, b) = (Self::load(a, m), Self::load(b, m));
        if let Some(nan) = Self::nan(a, b) {
            return nan;
        }
        let sign = Self::sign(a) != Self::sign(b);
        if Self::is_infinity(a) && Self::is_infinity(b) || Self::is_zero(a) && Self::is_zero(b) {
            return Lane::new(Self::INDEFINITE, bit::IE);
        }
        if Self::is_zero(b) && !Self::is_infinity(a) {
            return Lane::new(Self::infinity(sign), bit::ZE);
        }
        let flags = Self::denormal(a, b);
        if Self::is_infinity(a) {
            return Lane::new(Self::infinity(sign), flags);
        }
        if Self::is_infinity(b) || Self::is_zero(a) {
            return Lane::new(Self::zero(sign), flags);
        }
        let ((exp_a, sig_a), (exp_b, sig_b)) = (Self::split(a), Self::split(b));
        let below = sig_a < sig_b;
        let dividend = u128::from(sig_a) << (63 + u32::from(below));
        let divisor = u128::from(sig_b);
        let quotient = (dividend / divisor) as u64;
        let sticky = u64::from(u128::from(quotient) * divisor != dividend);
        Self::round(sign, exp_a - exp_b + Self::BIAS - i32::from(below), quotient | sticky, m, flags)
    }

    #[inline]
    fn sqrt(v: u64, m: Mxcsr) -> Lane<u64> {
        let v = Self::load(v, m);
        if let Some(nan) = Self::nan(v, v) {
            return nan;
        }
        if Self::is_zero(v) {
            return Lane::new(v, 0);
        }
        if Self::sign(v) {
            return Lane::new(Self::INDEFINITE, bit::IE);
        }
        if Self::is_infinity(v) {
            return Lane::new(v, 0);
        }
        let (exp, sig) = Self::split(v);
        let power = exp - Self::BIAS;
        let odd = (power & 1) as u32;
        let root = if FRAC == 23 {
            // 24 bits of significand: a 32-bit root of a 64-bit radicand has the bits that matter.
            let radicand = sig >> (1 - odd);
            let root = radicand.isqrt();
            root << 32 | u64::from(root * root != radicand)
        } else {
            let radicand = u128::from(sig) << (63 + odd);
            let root = radicand.isqrt();
            root as u64 | u64::from(root * root != radicand)
        };
        Self::round(false, (power >> 1) + Self::BIAS, root, m, Self::denormal(v, v))
    }

    /// MIN (`less`) or MAX: the second operand unless the first one is strictly below (above) it.
    #[inline]
    fn min_max(a: u64, b: u64, wanted: Relation, m: Mxcsr) -> Lane<u64> {
        let (a, b) = (Self::load(a, m), Self::load(b, m));
        let relation = Self::relation(a, b);
        if relation == Relation::Unordered {
            return Lane::new(b, bit::IE);
        }
        Lane::new(if relation == wanted { a } else { b }, Self::denormal(a, b))
    }

    #[inline]
    fn relation(a: u64, b: u64) -> Relation {
        if Self::is_nan(a) || Self::is_nan(b) {
            return Relation::Unordered;
        }
        let key = |v: u64| if Self::sign(v) { -(Self::magnitude(v) as i64) } else { v as i64 };
        Relation::of(key(a).cmp(&key(b)))
    }

    /// A comparison with its exceptions; a quiet one takes quiet NaNs without IE.
    #[inline]
    fn compare(a: u64, b: u64, quiet: bool, m: Mxcsr) -> Lane<Relation> {
        let (a, b) = (Self::load(a, m), Self::load(b, m));
        let relation = Self::relation(a, b);
        let flags = match relation {
            Relation::Unordered if quiet && !Self::is_signalling(a) && !Self::is_signalling(b) => 0,
            Relation::Unordered => bit::IE,
            _ => Self::denormal(a, b),
        };
        Lane::new(relation, flags)
    }

    /// CMPPS and its kind: predicates EQ, LT, LE, UNORD and, with bit 2, their negations.
    #[inline]
    fn cmp(a: u64, b: u64, predicate: u8, m: Mxcsr) -> Lane<bool> {
        let quiet = matches!(predicate & 3, 0 | 3);
        Self::compare(a, b, quiet, m).map(|relation| {
            let holds = match predicate & 3 {
                0 => relation == Relation::Equal,
                1 => relation == Relation::Less,
                2 => matches!(relation, Relation::Less | Relation::Equal),
                _ => relation == Relation::Unordered,
            };
            holds != (predicate & 4 != 0)
        })
    }
}

macro_rules! kernels {
    ($format:ident, $bits:ty, $add:ident, $sub:ident, $mul:ident, $div:ident, $sqrt:ident, $min:ident, $max:ident,
     $cmp:ident, $comis:ident) => {
        /// `a + b`.
        #[inline]
        pub fn $add(a: $bits, b: $bits, m: Mxcsr) -> Lane<$bits> {
            $format::add(u64::from(a), u64::from(b), 0, m).map(|v| v as $bits)
        }
        /// `a - b`.
        #[inline]
        pub fn $sub(a: $bits, b: $bits, m: Mxcsr) -> Lane<$bits> {
            $format::add(u64::from(a), u64::from(b), $format::SIGN, m).map(|v| v as $bits)
        }
        /// `a * b`.
        #[inline]
        pub fn $mul(a: $bits, b: $bits, m: Mxcsr) -> Lane<$bits> {
            $format::mul(u64::from(a), u64::from(b), m).map(|v| v as $bits)
        }
        /// `a / b`.
        #[inline]
        pub fn $div(a: $bits, b: $bits, m: Mxcsr) -> Lane<$bits> {
            $format::div(u64::from(a), u64::from(b), m).map(|v| v as $bits)
        }
        /// Square root.
        #[inline]
        pub fn $sqrt(b: $bits, m: Mxcsr) -> Lane<$bits> {
            $format::sqrt(u64::from(b), m).map(|v| v as $bits)
        }
        /// The lesser; the second operand if the two are zeros or one is a NaN.
        #[inline]
        pub fn $min(a: $bits, b: $bits, m: Mxcsr) -> Lane<$bits> {
            $format::min_max(u64::from(a), u64::from(b), Relation::Less, m).map(|v| v as $bits)
        }
        /// The greater; the second operand if the two are zeros or one is a NaN.
        #[inline]
        pub fn $max(a: $bits, b: $bits, m: Mxcsr) -> Lane<$bits> {
            $format::min_max(u64::from(a), u64::from(b), Relation::Greater, m).map(|v| v as $bits)
        }
        /// Compares by predicate 0-7 into all ones or zero.
        #[inline]
        pub fn $cmp(a: $bits, b: $bits, predicate: u8, m: Mxcsr) -> Lane<$bits> {
            $format::cmp(u64::from(a), u64::from(b), predicate, m).map(|holds| if holds { <$bits>::MAX } else { 0 })
        }
        /// COMIS, or UCOMIS if `quiet`.
        #[inline]
        pub fn $comis(a: $bits, b: $bits, quiet: bool, m: Mxcsr) -> Lane<Relation> {
            $format::compare(u64::from(a), u64::from(b), quiet, m)
        }
    };
}

kernels!(F32, u32, f32_add, f32_sub, f32_mul, f32_div, f32_sqrt, f32_min, f32_max, f32_cmp, f32_comis);
kernels!(F64, u64, f64_add, f64_sub, f64_mul, f64_div, f64_sqrt, f64_min, f64_max, f64_cmp, f64_comis);
