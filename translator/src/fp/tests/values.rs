//! Values known beforehand: these run on any host.

use super::super::sse::{self, Mxcsr, bit};
use super::super::x87::{self, Control};
use super::super::{F80, Relation, flag};

const USUAL: Control = Control(0x37f);
const MXCSR: Mxcsr = Mxcsr::RESET;

fn int(v: i64) -> F80 {
    x87::from_i64(v)
}

#[test]
fn thirds_round_at_every_precision() {
    for (control, mantissa, up) in [
        (0x37fu16, 0xaaaa_aaaa_aaaa_aaabu64, true),
        (0xf7f, 0xaaaa_aaaa_aaaa_aaaa, false),
        (0xb7f, 0xaaaa_aaaa_aaaa_aaab, true),
        (0x27f, 0xaaaa_aaaa_aaaa_a800, false),
        (0x07f, 0xaaaa_ab00_0000_0000, true),
    ] {
        let third = x87::div(F80::ONE, int(3), Control(control));
        assert_eq!(third.value, F80::new(0x3ffd, mantissa), "control {control:04x}");
        assert_eq!(third.status, flag::PE | if up { flag::C1 } else { 0 }, "control {control:04x}");
    }
}

#[test]
fn masked_and_unmasked_overflow() {
    let largest = F80::new(0x7ffe, u64::MAX);
    let masked = x87::add(largest, largest, USUAL);
    assert_eq!((masked.value, masked.status), (F80::infinity(false), flag::OE | flag::PE | flag::C1));
    let unmasked = x87::add(largest, largest, Control(0x377));
    assert_eq!((unmasked.value, unmasked.status), (F80::new(0x7fff - 24576, u64::MAX), flag::OE));
    assert!(unmasked.write);
    assert!(!x87::to_f32(largest, Control(0x377)).write);
}

#[test]
fn unmasked_invalid_writes_nothing() {
    let out = x87::mul(F80::infinity(false), F80::ZERO, Control(0x37e));
    assert_eq!((out.write, out.status), (false, flag::IE));
    let out = x87::mul(F80::infinity(false), F80::ZERO, USUAL);
    assert_eq!((out.write, out.value), (true, F80::INDEFINITE));
}

#[test]
fn decimal_goes_both_ways() {
    let out = x87::to_bcd(int(-123_456_789_012_345_678), USUAL);
    assert_eq!(out.value, [0x78, 0x56, 0x34, 0x12, 0x90, 0x78, 0x56, 0x34, 0x12, 0x80]);
    assert_eq!(x87::from_bcd(out.value), int(-123_456_789_012_345_678));
}

#[test]
fn remainder_tells_the_quotient() {
    // 23 = 4 * 5 + 3: quotient bits 100 in C0, C3, C1; to nearest 5 * 5 - 2.
    let out = x87::rem(int(23), int(5), USUAL);
    assert_eq!((out.value, out.status), (int(3), flag::C0));
    let out = x87::rem1(int(23), int(5), USUAL);
    assert_eq!((out.value, out.status), (int(-2), flag::C0 | flag::C1));
}

#[test]
fn comparisons_tell_their_codes() {
    let nan = F80::INDEFINITE;
    assert_eq!(x87::compare(int(1), int(2), false, USUAL).value.condition_codes(), flag::C0);
    assert_eq!(x87::compare(F80::ZERO, F80::zero(true), false, USUAL).value, Relation::Equal);
    assert_eq!(x87::compare(nan, int(2), true, USUAL).status, 0);
    assert_eq!(x87::compare(nan, int(2), false, USUAL).status, flag::IE);
    assert_eq!(x87::xam(F80::ONE.negate(), false), flag::C2 | flag::C1);
    assert_eq!(x87::xam(F80::ONE, true), flag::C3 | flag::C0);
}

#[test]
fn trigonometry_of_known_angles() {
    // FLDPI rounds the 66 bits of pi that the reduction has up by 2^-64: that is what the sine shows.
    let out = x87::sin(x87::pi(USUAL), USUAL);
    assert_eq!((out.value, out.status & !flag::C1), (F80::new(0xbfbf, 1 << 63), flag::PE));
    let large = F80::new(0x403e, 1 << 63);
    assert_eq!((x87::sin(large, USUAL).status, x87::sin(large, USUAL).write), (flag::C2, false));
    assert_eq!(x87::patan(F80::ONE, F80::ONE, USUAL).value, F80::new(0x3ffe, 0xc90f_daa2_2168_c235));
    assert_eq!(x87::fyl2x(int(8), int(5), USUAL).value, int(15));
    assert_eq!(x87::f2xm1(F80::ONE, USUAL).value, F80::ONE);
}

#[test]
fn sse_picks_the_first_nan() {
    let (quiet, signalling) = (0x7fc0_0001u32, 0x7f80_0002);
    let out = sse::f32_add(signalling, quiet, MXCSR);
    assert_eq!((out.value, out.flags), (0x7fc0_0002, bit::IE));
    let out = sse::f32_add(quiet, signalling, MXCSR);
    assert_eq!((out.value, out.flags), (quiet, bit::IE));
    assert_eq!(sse::f32_min(quiet, 0x3f80_0000, MXCSR).value, 0x3f80_0000);
}

#[test]
fn denormals_flush_and_vanish() {
    let (smallest, half) = (0x0080_0000u32, 0x3f00_0000u32);
    assert_eq!(sse::f32_mul(smallest, half, MXCSR).value, 0x0040_0000);
    let flushed = sse::f32_mul(smallest, half, Mxcsr(0x9f80));
    assert_eq!((flushed.value, flushed.flags), (0, bit::UE | bit::PE));
    let denormal = sse::f32_mul(1, 0x3f80_0000, MXCSR);
    assert_eq!((denormal.value, denormal.flags), (1, bit::DE));
    assert_eq!(sse::f32_mul(1, 0x3f80_0000, Mxcsr(0x1fc0)).value, 0);
}

#[test]
fn unmasked_division_hides_later_flags() {
    // One lane divides by zero, the other is inexact: unmasked ZE alone is shown.
    let flags = sse::f32_div(0x3f80_0000, 0, MXCSR).flags | sse::f32_div(0x3f80_0000, 0x4040_0000, MXCSR).flags;
    assert_eq!(sse::settle(flags, MXCSR).mxcsr, 0x1f80 | bit::ZE | bit::PE);
    let m = Mxcsr(0x1f80 & !(bit::ZE << 7));
    assert_eq!(sse::settle(flags, m), sse::Settled { mxcsr: m.0 | bit::ZE, fault: true });
}

#[test]
fn packed_helpers_keep_the_other_lanes() {
    let a = 0x4000_0000_4000_0000_4000_0000_4000_0000u128;
    let one = sse::packed_f32(a, a, 1, MXCSR, sse::f32_add);
    assert_eq!(one.value, 0x4000_0000_4000_0000_4000_0000_4080_0000);
    let all = sse::packed_f32(a, a, 4, MXCSR, sse::f32_add);
    assert_eq!(all.value, 0x4080_0000_4080_0000_4080_0000_4080_0000);
    let double = sse::packed_f64(1 << 126, 1 << 126, 2, MXCSR, sse::f64_add);
    assert_eq!(double.value, 0x4010_0000_0000_0000u128 << 64);
}
