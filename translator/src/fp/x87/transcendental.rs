//! FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1.
//!
//! Results are within one unit in the last place, and nearly always the correctly rounded ones. Trigonometric arguments
//! are reduced by the 66 bits of pi that the processors hold (SDM vol. 1, 8.3.8), so that large arguments agree.

use super::round::round_pack_full;
use super::wide::{ATAN, ATAN_EIGHTHS, COS, EXP, SIN, Wide, alternating, mul_high, series};
use super::{Control, F80, Finite, Outcome, denormal, flag, invalid, special1, special2};

/// Rounds an irrational result.
fn deliver(sign: bool, w: Wide, c: Control) -> Outcome<F80> {
    round_pack_full(sign, w.exp + 16383, (w.sig >> 64) as u64, w.sig as u64 | 1, c)
}

/// DE of the operands, and the end of the operation if it is not masked.
fn check<T>(status: u16, value: T, c: Control, compute: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    if c.unmasked(status) {
        return Outcome { value, status, write: false };
    }
    let mut out = compute();
    out.status |= status;
    out
}

/// An argument less whole quarter turns: the quarters counted modulo 4, and what is left, in [-pi/4, pi/4].
struct Angle {
    quarters: u32,
    negative: bool,
    rest: Wide,
}

/// Half of pi in units of 2^-65.
const HALF_PI_UNITS: u128 = 0x3_243f_6a88_85a3_08d3;

/// Reduces a magnitude below 2^63.
fn reduce(n: Finite) -> Angle {
    let power = n.exp - 16383;
    if power < -2 {
        return Angle { quarters: 0, negative: false, rest: Wide::from_finite(n) };
    }
    // The argument in units of 2^-65 is a whole number below 2^128, and so the reduction is exact.
    let units = u128::from(n.sig) << (power + 2);
    let (quarters, rest) = ((units / HALF_PI_UNITS) as u32, units % HALF_PI_UNITS);
    if rest * 2 > HALF_PI_UNITS {
        let rest = Wide::from_fixed(HALF_PI_UNITS - rest, 65);
        return Angle { quarters: quarters.wrapping_add(1), negative: true, rest };
    }
    Angle { quarters, negative: false, rest: Wide::from_fixed(rest, 65) }
}

impl Angle {
    fn square(&self) -> u128 {
        let r = self.rest.to_fraction();
        mul_high(r, r)
    }
    fn sin_of_rest(&self) -> Wide {
        self.rest.mul(Wide::from_fixed(alternating(&SIN, self.square()), 127))
    }
    fn cos_of_rest(&self) -> Wide {
        Wide::from_fixed(alternating(&COS, self.square()), 127)
    }
    /// Sine of the whole angle: negative, magnitude.
    fn sin(&self) -> (bool, Wide) {
        let behind = self.quarters & 2 != 0;
        if self.quarters & 1 == 0 {
            (self.negative != behind, self.sin_of_rest())
        } else {
            (behind, self.cos_of_rest())
        }
    }
    fn cos(&self) -> (bool, Wide) {
        let behind = self.quarters & 2 != 0;
        if self.quarters & 1 == 0 {
            (behind, self.cos_of_rest())
        } else {
            (self.negative == behind, self.sin_of_rest())
        }
    }
    fn tan(&self) -> (bool, Wide) {
        if self.quarters & 1 != 0 {
            (!self.negative, self.cos_of_rest().div(self.sin_of_rest()))
        } else if self.rest.exp < -60 {
            // Above the angle by less than the significand shows; the sticky bit of the rounding says so.
            (self.negative, self.rest)
        } else {
            (self.negative, self.sin_of_rest().div(self.cos_of_rest()))
        }
    }
}

/// Is a finite operand too large to reduce: C2 is set and nothing else happens.
fn out_of_range(a: F80) -> bool {
    a.exponent() >= 16383 + 63
}

fn incomplete<T>(value: T) -> Outcome<T> {
    Outcome { value, status: flag::C2, write: false }
}

/// FSIN. C2 says that the magnitude is 2^63 or above, and the operand stays.
pub fn sin(a: F80, c: Control) -> Outcome<F80> {
    if let Some(out) = special1(a, c) {
        return out;
    }
    if a.is_infinity() {
        return invalid(c);
    }
    if a.is_zero() {
        return Outcome::done(a, 0);
    }
    if out_of_range(a) {
        return incomplete(a);
    }
    check(denormal(a, a), a, c, || {
        let (sign, w) = reduce(Finite::new(a)).sin();
        deliver(sign != a.sign(), w, c)
    })
}

/// FCOS. C2 says that the magnitude is 2^63 or above, and the operand stays.
pub fn cos(a: F80, c: Control) -> Outcome<F80> {
    if let Some(out) = special1(a, c) {
        return out;
    }
    if a.is_infinity() {
        return invalid(c);
    }
    if a.is_zero() {
        return Outcome::done(F80::ONE, 0);
    }
    if out_of_range(a) {
        return incomplete(a);
    }
    check(denormal(a, a), a, c, || {
        let (sign, w) = reduce(Finite::new(a)).cos();
        deliver(sign, w, c)
    })
}

/// FSINCOS: sine for ST(0), cosine to push. C2 as for FSIN.
pub fn sincos(a: F80, c: Control) -> Outcome<(F80, F80)> {
    let (sine, cosine) = (sin(a, c), cos(a, c));
    Outcome {
        value: (sine.value, cosine.value),
        // C1 is that of the value pushed last.
        status: sine.status & !flag::C1 | cosine.status,
        write: sine.write && cosine.write,
    }
}

/// FPTAN: tangent for ST(0), and what to push above it: one, or the NaN. C2 as for FSIN.
pub fn tan(a: F80, c: Control) -> Outcome<(F80, F80)> {
    if let Some(out) = special1(a, c) {
        return out.map(|nan| (nan, nan));
    }
    if a.is_infinity() {
        return invalid(c).map(|nan| (nan, nan));
    }
    if a.is_zero() {
        return Outcome::done((a, F80::ONE), 0);
    }
    if out_of_range(a) {
        return incomplete((a, a));
    }
    check(denormal(a, a), (a, a), c, || {
        let (sign, w) = reduce(Finite::new(a)).tan();
        deliver(sign != a.sign(), w, c).map(|tangent| (tangent, F80::ONE))
    })
}

/// FPATAN: the angle of the point (x = `st0`, y = `st1`).
pub fn patan(st0: F80, st1: F80, c: Control) -> Outcome<F80> {
    let (x, y) = (st0, st1);
    if let Some(out) = special2(x, y, c) {
        return out;
    }
    let sign = y.sign();
    check(denormal(x, y), x, c, || match (y.is_infinity(), x.is_infinity()) {
        (true, true) => deliver(sign, if x.sign() { Wide::THREE_QUARTERS_PI } else { Wide::QUARTER_PI }, c),
        (true, false) => deliver(sign, Wide::HALF_PI, c),
        (false, true) if x.sign() => deliver(sign, Wide::PI, c),
        (false, true) => Outcome::done(F80::zero(sign), 0),
        (false, false) if y.is_zero() && x.sign() => deliver(sign, Wide::PI, c),
        (false, false) if y.is_zero() => Outcome::done(y, 0),
        (false, false) if x.is_zero() => deliver(sign, Wide::HALF_PI, c),
        (false, false) => {
            let (wx, wy) = (Wide::from_finite(Finite::new(x)), Wide::from_finite(Finite::new(y)));
            let steep = wy.at_least(wx);
            let acute = if steep { arc_tangent(wx, wy) } else { arc_tangent(wy, wx) };
            let angle = match (steep, x.sign()) {
                (false, false) => acute,
                (false, true) => Wide::PI.sub(acute),
                (true, false) => Wide::HALF_PI.sub(acute),
                (true, true) => Wide::HALF_PI.add(acute),
            };
            deliver(sign, angle, c)
        }
    })
}

/// `atan(n / d)` for `0 < n <= d`.
fn arc_tangent(n: Wide, d: Wide) -> Wide {
    let t = n.div(d);
    let eighths = if t.exp < -3 { 0 } else { (t.sig >> (124 - t.exp)) as usize };
    // atan(t) = atan(k/8) + atan((t - k/8) / (1 + t k/8)), the last argument below 1/8.
    let base = Wide::from_fixed(eighths as u128, 3);
    let u = if eighths == 0 { t } else { t.sub(base).div(Wide::ONE.add(t.mul(base))) };
    let fraction = u.to_fraction();
    let small = u.mul(Wide::from_fixed(alternating(&ATAN, mul_high(fraction, fraction)), 127));
    Wide::from_fixed(ATAN_EIGHTHS.get(eighths).copied().unwrap_or(0), 127).add(small)
}

/// F2XM1: `2^a - 1` for `a` in [-1, 1]. The manual leaves the result open beyond; here the operand comes back inexact, as
/// from AMD's processors.
pub fn f2xm1(a: F80, c: Control) -> Outcome<F80> {
    if let Some(out) = special1(a, c) {
        return out;
    }
    if a.is_infinity() {
        return Outcome::done(if a.sign() { F80::ONE.negate() } else { a }, 0);
    }
    if a.is_zero() {
        return Outcome::done(a, 0);
    }
    if a.exponent() >= 0x3fff {
        let half = F80::new(0xbffe, 1 << 63);
        return Outcome::done(if a == F80::ONE.negate() { half } else { a }, flag::PE);
    }
    check(denormal(a, a), a, c, || {
        let power = Wide::from_finite(Finite::new(a)).mul(Wide::LN2);
        let z = power.to_fraction();
        let slope = if a.sign() { alternating(&EXP, z) } else { series(&EXP, z) };
        deliver(a.sign(), power.mul(Wide::from_fixed(slope, 127)), c)
    })
}

/// Base-2 logarithm of a positive number that is no power of two: negative, magnitude.
fn log2(exp: i32, sig: u128) -> (bool, Wide) {
    // Between sqrt(1/2) and sqrt(2), so that exponent and logarithm do not cancel.
    let above = sig >> 64 > 0xb504_f333_f9de_6484;
    let exp = exp + i32::from(above);
    let m = Wide { exp: -i32::from(above), sig };
    let (below_one, distance) = if above { (true, Wide::ONE.sub(m)) } else { (false, m.sub(Wide::ONE)) };
    let part = log2_of_ratio(distance, m.add(Wide::ONE));
    let whole = Wide::from_fixed(u128::from(exp.unsigned_abs()), 0);
    match (exp < 0, below_one) {
        _ if exp == 0 => (below_one, part),
        (negative, part_negative) if negative == part_negative => (negative, whole.add(part)),
        (negative, _) => (negative, whole.sub(part)),
    }
}

/// `log2((1 + s) / (1 - s))` for `s = n / d`, at most about 0.18.
fn log2_of_ratio(n: Wide, d: Wide) -> Wide {
    let s = n.div(d);
    let fraction = s.to_fraction();
    let slope = Wide::from_fixed(series(&ATAN, mul_high(fraction, fraction)), 127);
    s.mul(slope).mul(Wide::LOG2_E).scaled(1)
}

/// The product of `factor` and a logarithm that is the whole number `exp`.
fn deliver_whole(sign: bool, exp: i32, factor: Finite, c: Control) -> Outcome<F80> {
    let product = u128::from(factor.sig) * u128::from(exp.unsigned_abs());
    let shift = product.leading_zeros();
    let product = product << shift;
    let exp = factor.exp + 64 - shift as i32;
    let mut out = round_pack_full(sign, exp, (product >> 64) as u64, product as u64, c);
    // The processors call the logarithm of a power of two inexact as well.
    out.status |= flag::PE | if out.value.exponent() == 0 { flag::UE } else { 0 };
    out
}

/// FYL2X: `st1 * log2(st0)`.
pub fn fyl2x(st0: F80, st1: F80, c: Control) -> Outcome<F80> {
    let (x, y) = (st0, st1);
    if let Some(out) = special2(x, y, c) {
        return out;
    }
    if x.sign() && !x.is_zero() {
        return invalid(c);
    }
    if x.is_zero() {
        if y.is_zero() {
            return invalid(c);
        }
        let infinity = F80::infinity(!y.sign());
        return if y.is_infinity() { Outcome::done(infinity, 0) } else { Outcome::checked(infinity, flag::ZE, c) };
    }
    if x.is_infinity() && y.is_zero() || x == F80::ONE && y.is_infinity() {
        return invalid(c);
    }
    check(denormal(x, y), x, c, || {
        if x.is_infinity() {
            return Outcome::done(F80::infinity(y.sign()), 0);
        }
        let n = Finite::new(x);
        let sign = y.sign() != (n.exp < 16383);
        if y.is_infinity() {
            return Outcome::done(F80::infinity(sign), 0);
        }
        let exp = n.exp - 16383;
        if y.is_zero() || x == F80::ONE {
            return Outcome::done(F80::zero(sign), 0);
        }
        let factor = Finite::new(y);
        if n.sig == 1 << 63 {
            return deliver_whole(sign, exp, factor, c);
        }
        let (_, logarithm) = log2(exp, u128::from(n.sig) << 64);
        deliver(sign, logarithm.mul(Wide::from_finite(factor)), c)
    })
}

/// FYL2XP1: `st1 * log2(st0 + 1)` for magnitudes of `st0` up to `1 - sqrt(1/2)`. The manual leaves the result open beyond;
/// here it is the logarithm as long as there is one, and otherwise `st0`, as from AMD's processors.
pub fn fyl2xp1(st0: F80, st1: F80, c: Control) -> Outcome<F80> {
    let (x, y) = (st0, st1);
    if let Some(out) = special2(x, y, c) {
        return out;
    }
    if x.is_infinity() && (x.sign() || y.is_zero()) || x.is_zero() && y.is_infinity() {
        return invalid(c);
    }
    let sign = x.sign() != y.sign();
    check(denormal(x, y), x, c, || {
        if y.is_infinity() || x.is_infinity() {
            return Outcome::done(F80::infinity(sign), 0);
        }
        if x.is_zero() || y.is_zero() {
            return Outcome::done(F80::zero(sign), 0);
        }
        if x.sign() && x.exponent() >= 0x3fff {
            return Outcome::done(x, flag::PE);
        }
        let w = Wide::from_finite(Finite::new(x));
        let factor = Finite::new(y);
        let two = Wide::ONE.scaled(1);
        let logarithm = if w.exp < -2 {
            // (1 + x) = (1 + s) / (1 - s) for s = x / (2 + x).
            log2_of_ratio(w, if x.sign() { two.sub(w) } else { two.add(w) })
        } else {
            let sum = if x.sign() { Wide::ONE.sub(w) } else { Wide::ONE.add(w) };
            if sum.sig == 1 << 127 {
                return deliver_whole(sign, sum.exp, factor, c);
            }
            log2(sum.exp, sum.sig).1
        };
        deliver(sign, logarithm.mul(Wide::from_finite(factor)), c)
    })
}
