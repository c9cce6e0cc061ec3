//! The transcendental instructions against the host: flags alike, values within one unit in the last place.

use super::super::x87::{self, Control, Outcome};
use super::super::{F80, flag};
use super::native::{self, X87};
use super::random::Random;

const CASES: u32 = 200_000;

/// Distance in units of the last place; None if one of the two is no finite number.
fn distance(a: F80, b: F80) -> Option<u128> {
    let key = |v: F80| {
        let magnitude = i128::from(v.exponent()) << 63 | i128::from(v.mantissa & (u64::MAX >> 1));
        if v.sign() { -magnitude } else { magnitude }
    };
    if a == b {
        return Some(0);
    }
    (a.exponent() != 0x7fff && b.exponent() != 0x7fff).then(|| key(a).abs_diff(key(b)))
}

/// Whether this is the smallest normal number or the largest below it, also with the exponent of an unmasked underflow.
fn at_tiny(v: F80) -> bool {
    [(1, 1 << 63), (0, u64::MAX >> 1), (0x6000, u64::MAX)].contains(&(v.exponent(), v.mantissa))
}

struct Tally {
    cases: u32,
    equal: u32,
    wrong: u32,
    worst: u128,
}

fn judge(
    name: &str,
    native: X87,
    operands: impl Fn(&mut Random) -> (F80, F80),
    ours: impl Fn(F80, F80, Control) -> Outcome<(F80, Option<F80>)>,
) {
    let mut random = Random::new(name.len() as u64 * 13 + u64::from(name.as_bytes()[2]));
    let mut tally = Tally { cases: 0, equal: 0, wrong: 0, worst: 0 };
    for _ in 0..CASES {
        let (a, b) = operands(&mut random);
        let c = Control(if random.below(4) == 0 { random.control() } else { 0x37f });
        let real = native(a, b, c.0, [0; 10]);
        let out = ours(a, b, c);
        let status = out.status | if c.unmasked(out.status) { flag::ES | flag::B } else { 0 };
        // C1 depends on the last bit, which is not promised.
        let mut same = (status ^ real.status()) & !(flag::C1 | 0x3800) == 0;
        let (value, second) = out.value;
        if out.write {
            let (first, real_first) = match second {
                Some(pushed) => {
                    same &= distance(pushed, real.st(0)).is_some_and(|d| d <= 1);
                    (value, real.st(1))
                }
                None => (value, real.st(0)),
            };
            let apart = distance(first, real_first);
            same &= apart.is_some_and(|d| d <= 1);
            // With one of them tiny, which is another unit away if that is not masked, the flags follow.
            let known = (status ^ real.status()) & !(flag::C1 | flag::UE | flag::ES | flag::B | 0x3800) == 0;
            same |= native::is_intel() && known && at_tiny(first) && at_tiny(real_first);
            tally.worst = tally.worst.max(apart.unwrap_or(0));
            tally.cases += 1;
            tally.equal += u32::from(apart == Some(0));
        } else {
            same &= real.st(0) == a;
        }
        if !same {
            tally.wrong += 1;
            if tally.wrong <= 12 {
                eprintln!(
                    "{name} {:04x}:{:016x} {:04x}:{:016x} cw {:04x}: ours {:04x}:{:016x} {:x?} {status:04x}, host {:04x}:{:016x} {:04x}:{:016x} {:04x}",
                    a.sign_exp,
                    a.mantissa,
                    b.sign_exp,
                    b.mantissa,
                    c.0,
                    value.sign_exp,
                    value.mantissa,
                    second,
                    real.st(0).sign_exp,
                    real.st(0).mantissa,
                    real.st(1).sign_exp,
                    real.st(1).mantissa,
                    real.status()
                );
            }
        }
    }
    eprintln!("{name}: {} of {} equal, worst {} ulp, {} wrong", tally.equal, tally.cases, tally.worst, tally.wrong);
    assert_eq!(tally.wrong, 0, "{name}: results too far from the host's");
}

fn one(out: Outcome<F80>) -> Outcome<(F80, Option<F80>)> {
    out.map(|v| (v, None))
}

fn two(out: Outcome<(F80, F80)>) -> Outcome<(F80, Option<F80>)> {
    out.map(|(v, pushed)| (v, Some(pushed)))
}

/// Any operand, more often one of ordinary size.
fn ordinary(random: &mut Random) -> F80 {
    let v = random.f80();
    if random.below(2) == 0 || v.exponent() == 0x7fff {
        return v;
    }
    F80::new(v.sign_exp & 0x8000 | (0x3fff - 8 + random.below(12) as u16), random.next() | 1 << 63)
}

/// Mostly below the bound in magnitude, sometimes anything.
fn small(random: &mut Random, top: u16) -> F80 {
    let v = random.f80();
    if random.below(8) == 0 {
        return if random.below(16) == 0 { F80::new(v.sign_exp & 0x8000 | 0x3fff, 1 << 63) } else { v };
    }
    F80::new(v.sign_exp & 0x8000 | (top - 1 - random.below(24) as u16), random.next() | 1 << 63)
}

#[test]
fn sine() {
    judge("fsin", native::fsin, |r| (ordinary(r), F80::ONE), |a, _, c| one(x87::sin(a, c)));
}

#[test]
fn cosine() {
    judge("fcos", native::fcos, |r| (ordinary(r), F80::ONE), |a, _, c| one(x87::cos(a, c)));
}

#[test]
fn sine_and_cosine() {
    judge("fsincos", native::fsincos, |r| (ordinary(r), F80::ONE), |a, _, c| two(x87::sincos(a, c)));
}

#[test]
fn tangent() {
    judge("fptan", native::fptan, |r| (ordinary(r), F80::ONE), |a, _, c| two(x87::tan(a, c)));
}

#[test]
fn arc_tangent() {
    judge("fpatan", native::fpatan, |r| (ordinary(r), ordinary(r)), |a, b, c| one(x87::patan(a, b, c)));
}

#[test]
fn power_of_two() {
    judge("f2xm1", native::f2xm1, |r| (small(r, 0x3fff), F80::ONE), |a, _, c| one(x87::f2xm1(a, c)));
}

#[test]
fn logarithm() {
    judge("fyl2x", native::fyl2x, |r| (ordinary(r), ordinary(r)), |a, b, c| one(x87::fyl2x(a, b, c)));
}

#[test]
fn logarithm_near_one() {
    judge("fyl2xp1", native::fyl2xp1, |r| (small(r, 0x3ffd), ordinary(r)), |a, b, c| one(x87::fyl2xp1(a, b, c)));
}

/// Where the logarithm is a whole number the product is as exact as it can be, up to the last number before infinity.
#[test]
fn whole_logarithms() {
    let whole = |r: &mut Random| {
        let bits = 1 + r.below(63) as u16;
        F80::new([0x3fff + bits - 1, 0xbffe][r.below(2) as usize], u64::MAX << (64 - bits))
    };
    let factor = |r: &mut Random| {
        let ends = [(0x7ffe, u64::MAX), (1, 1 << 63), (0, 1), (0x3fff, 1 << 63)];
        match ends.get(r.below(6) as usize) {
            Some((exponent, mantissa)) => F80::new(exponent | (r.below(2) as u16) << 15, *mantissa),
            None => ordinary(r),
        }
    };
    judge("fyl2xp1", native::fyl2xp1, |r| (whole(r), factor(r)), |a, b, c| one(x87::fyl2xp1(a, b, c)));
}
