//! SSE against the host.

use super::super::sse::{self, Lane, Mxcsr};
use super::native::{self, Sse};
use super::random::Random;

const CASES: u32 = 1_000_000;

fn run(name: &str, native: Sse, wide: bool, ours: impl Fn(u64, u64, Mxcsr) -> Lane<u64>) {
    native::catch_simd_exceptions();
    let mut random = Random::new(name.len() as u64 * 31);
    let mut wrong = 0;
    for _ in 0..CASES {
        let mut operand = |integer: bool| match integer {
            true => (random.next() as i64 >> random.below(64)) as u64,
            false if wide => random.narrow(52, 11),
            false => random.narrow(23, 8),
        };
        let a = operand(false);
        let b = operand(name.starts_with("cvtsi"));
        let b = if random.below(6) == 0 { a ^ random.below(4) } else { b };
        let masks = if random.below(8) == 0 { random.next() as u32 & 0x1f80 } else { 0x1f80 };
        let m = Mxcsr(masks | (random.next() as u32 & 0xe040));
        let host = native(a, b, m.0);
        let out = ours(a, b, m);
        let settled = sse::settle(out.flags, m);
        let same = host.mxcsr == settled.mxcsr && host.faulted == settled.fault;
        if !same || !settled.fault && host.value != out.value {
            wrong += 1;
            if wrong <= 12 {
                eprintln!("{name} {a:016x} {b:016x} {:04x}: ours {out:x?} {settled:x?}, host {host:x?}", m.0);
            }
        }
    }
    assert_eq!(wrong, 0, "{name}: results that differ from the host's");
}

fn single(name: &str, native: Sse, ours: impl Fn(u32, u32, Mxcsr) -> Lane<u32>) {
    run(name, native, false, |a, b, m| {
        let out = ours(a as u32, b as u32, m);
        Lane { value: a & !0xffff_ffff | u64::from(out.value), flags: out.flags }
    });
}

fn to<T, U>(out: Lane<T>, f: impl Fn(T) -> U) -> Lane<U> {
    Lane { value: f(out.value), flags: out.flags }
}

#[test]
fn binary32() {
    single("addss", native::addss, sse::f32_add);
    single("subss", native::subss, sse::f32_sub);
    single("mulss", native::mulss, sse::f32_mul);
    single("divss", native::divss, sse::f32_div);
    single("sqrtss", native::sqrtss, |_, b, m| sse::f32_sqrt(b, m));
    single("minss", native::minss, sse::f32_min);
    single("maxss", native::maxss, sse::f32_max);
}

#[test]
fn binary64() {
    run("addsd", native::addsd, true, sse::f64_add);
    run("subsd", native::subsd, true, sse::f64_sub);
    run("mulsd", native::mulsd, true, sse::f64_mul);
    run("divsd", native::divsd, true, sse::f64_div);
    run("sqrtsd", native::sqrtsd, true, |_, b, m| sse::f64_sqrt(b, m));
    run("minsd", native::minsd, true, sse::f64_min);
    run("maxsd", native::maxsd, true, sse::f64_max);
}

#[test]
fn comparisons() {
    use native as n;
    let singles: [Sse; 8] = [n::cmpss0, n::cmpss1, n::cmpss2, n::cmpss3, n::cmpss4, n::cmpss5, n::cmpss6, n::cmpss7];
    let doubles: [Sse; 8] = [n::cmpsd0, n::cmpsd1, n::cmpsd2, n::cmpsd3, n::cmpsd4, n::cmpsd5, n::cmpsd6, n::cmpsd7];
    for predicate in 0..8u8 {
        single("cmpss", singles[usize::from(predicate)], |a, b, m| sse::f32_cmp(a, b, predicate, m));
        run("cmpsd", doubles[usize::from(predicate)], true, |a, b, m| sse::f64_cmp(a, b, predicate, m));
    }
    // LAHF shows bit 1 as well.
    let flags = |r: super::super::Relation| u64::from(r.eflags() | 2);
    run("comiss", n::comiss, false, |a, b, m| to(sse::f32_comis(a as u32, b as u32, false, m), flags));
    run("ucomiss", n::ucomiss, false, |a, b, m| to(sse::f32_comis(a as u32, b as u32, true, m), flags));
    run("comisd", n::comisd, true, |a, b, m| to(sse::f64_comis(a, b, false, m), flags));
    run("ucomisd", n::ucomisd, true, |a, b, m| to(sse::f64_comis(a, b, true, m), flags));
}

#[test]
fn conversions() {
    use native as n;
    run("cvtss2sd", n::cvtss2sd, false, |_, b, m| sse::f32_to_f64(b as u32, m));
    run("cvtsd2ss", n::cvtsd2ss, true, |a, b, m| to(sse::f64_to_f32(b, m), |v| a & !0xffff_ffff | u64::from(v)));
    single("cvtsi2ss 32", n::cvtsi2ss32, |_, b, m| sse::i32_to_f32(b as i32, m));
    run("cvtsi2ss 64", n::cvtsi2ss64, false, |a, b, m| {
        to(sse::i64_to_f32(b as i64, m), |v| a & !0xffff_ffff | u64::from(v))
    });
    run("cvtsi2sd 32", n::cvtsi2sd32, true, |_, b, m| sse::i32_to_f64(b as i32, m));
    run("cvtsi2sd 64", n::cvtsi2sd64, true, |_, b, m| sse::i64_to_f64(b as i64, m));
    let unsigned = |v: i32| u64::from(v as u32);
    run("cvtss2si 32", n::cvtss2si32, false, |_, b, m| to(sse::f32_to_i32(b as u32, false, m), unsigned));
    run("cvttss2si 32", n::cvttss2si32, false, |_, b, m| to(sse::f32_to_i32(b as u32, true, m), unsigned));
    run("cvtsd2si 32", n::cvtsd2si32, true, |_, b, m| to(sse::f64_to_i32(b, false, m), unsigned));
    run("cvttsd2si 32", n::cvttsd2si32, true, |_, b, m| to(sse::f64_to_i32(b, true, m), unsigned));
    run("cvtss2si 64", n::cvtss2si64, false, |_, b, m| to(sse::f32_to_i64(b as u32, false, m), |v| v as u64));
    run("cvttss2si 64", n::cvttss2si64, false, |_, b, m| to(sse::f32_to_i64(b as u32, true, m), |v| v as u64));
    run("cvtsd2si 64", n::cvtsd2si64, true, |_, b, m| to(sse::f64_to_i64(b, false, m), |v| v as u64));
    run("cvttsd2si 64", n::cvttsd2si64, true, |_, b, m| to(sse::f64_to_i64(b, true, m), |v| v as u64));
}

/// RCPSS and RSQRTSS: the special values are the host's, the others within 1.5 * 2^-12 of the exact answer.
#[test]
fn approximations() {
    let mut random = Random::new(9);
    for _ in 0..CASES {
        let v = random.narrow(23, 8) as u32;
        let x = f64::from(f32::from_bits(v));
        for (native, ours, exact) in [
            (native::rcpss as Sse, sse::f32_rcp(v), 1.0 / x),
            (native::rsqrtss as Sse, sse::f32_rsqrt(v), 1.0 / x.sqrt()),
        ] {
            let host = native(0, u64::from(v), 0x1f80).value as u32;
            let got = f64::from(f32::from_bits(ours));
            if f32::from_bits(host).is_normal() && f32::from_bits(ours).is_normal() {
                let error = ((got - exact) / exact).abs();
                assert!(error <= 1.5 / 4096.0, "{v:08x}: {ours:08x}, exact {exact:e}");
            } else if exact.abs() > 1.1 * f64::from(f32::MIN_POSITIVE) || exact == 0.0 || exact.is_nan() {
                assert_eq!(ours, host, "{v:08x}");
            }
        }
    }
}
