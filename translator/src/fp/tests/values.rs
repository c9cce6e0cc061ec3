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

/// Sign with exponent, and significand.
type Parts = (u16, u64);

/// Instruction, ST(0), ST(1), and the correctly rounded result as a multiple-precision library has it, the reduction with
/// 66 bits of pi included.
#[rustfmt::skip]
const TRANSCENDENTAL: [(&str, Parts, Parts, Parts); 28] = [
    ("sin", (0xc013, 0xc3c668427821f4eb), (0xc075, 0xb0d48e2a6565c2f2), (0x3ffd, 0x977ee7e88074c42d)),
    ("sin", (0xbfe5, 0xcf507d70c476cfa3), (0x3f9e, 0xd67bd23c5476d1a1), (0xbfe5, 0xcf507d70c476c9f9)),
    ("sin", (0xbfff, 0xb7e0fc5f6770c411), (0xbffb, 0xf21f65add8ad0d2e), (0xbffe, 0xfdb25eb06358b2d9)),
    ("sin", (0xbffb, 0xd4840d23f2bd54df), (0x4000, 0xbcdfb58b01af2ceb), (0xbffb, 0xd4227833309b4a50)),
    ("cos", (0x3ffc, 0xef5755875dc1e9ba), (0xbff9, 0xf6c609c8fe35ac54), (0x3ffe, 0xf90a010720cd9dcb)),
    ("cos", (0xbff9, 0x9c88e7d8058313f8), (0xbffa, 0xe6c1096d9894b003), (0x3ffe, 0xfff4093362bee811)),
    ("cos", (0xc001, 0xa29c342c84c6c2dc), (0xc046, 0xea14991980a370be), (0x3ffd, 0xb8c14c3cfe30de1d)),
    ("cos", (0xc000, 0xf3adc89fa1348e73), (0x3ffc, 0x9439281a4596b72f), (0xbffe, 0xc94f658e57f43092)),
    ("tan", (0xc027, 0xa37354db1aedfc09), (0xbf3e, 0x8e031dfb52e19eb8), (0xbffd, 0xb006e7b3808f299a)),
    ("tan", (0x3ff7, 0xbf32cd9f68d3243d), (0x3fe3, 0xec9e2e3116fd3050), (0x3ff7, 0xbf335bd423227673)),
    ("tan", (0x3ffc, 0x91e13b49ba26ef7d), (0xbf42, 0xb9734d81df4185af), (0x3ffc, 0x92dff0db33ed45db)),
    ("tan", (0xc013, 0xf794dbdfe1969a52), (0xbf55, 0xe8adedeb4fabd8bb), (0xbffd, 0xd8690109a90bed70)),
    ("patan", (0x3ffa, 0x9cdb98f8a775b34c), (0xbff9, 0x895a6ff7c8955890), (0xbffd, 0xd34b78485dbb8154)),
    ("patan", (0x401b, 0xae4eb8a1d10b53ff), (0xc05b, 0x9455f12e4354f57f), (0xbfff, 0xc90fdaa22168c234)),
    ("patan", (0xbffd, 0x935ef7fdefc70219), (0x3ffe, 0xcfe5f873a3776396), (0x3fff, 0xf4a92ae97fa5b538)),
    ("patan", (0x3ffb, 0x82d009513a2ac950), (0xbffa, 0xb50eddf8dab1fbb2), (0xbffe, 0x9af99b8817b144b6)),
    ("fyl2x", (0x3fff, 0xe1afc20a87ecb1ea), (0x3ff9, 0xb81697ee5ccd035b), (0x3ff9, 0x969de100c039e93b)),
    ("fyl2x", (0x3ffb, 0xb8be384aec067d76), (0x3ffb, 0x841f92182a7b7d90), (0xbffc, 0xe546719cb6b62ccf)),
    ("fyl2x", (0x3ffa, 0xac6915e6c2f70903), (0xbffa, 0xf5af00f27c9eebaa), (0x3ffd, 0x8c5b1996a0ae35b6)),
    ("fyl2x", (0x3ffd, 0xce46c9e23fd33c11), (0x3ffc, 0xdd600b915a150df6), (0xbffd, 0x912c835e29810449)),
    ("fyl2xp1", (0x3ff8, 0xb6833866e3467c9c), (0xbffd, 0xf1314f7b228d54bc), (0xbff7, 0xf6b54cd967d58db2)),
    ("fyl2xp1", (0xbff8, 0xd86cfc0d300a4127), (0x3ff9, 0xb80316dd5c5bfbc4), (0xbff3, 0xe1ee1adb24994dfd)),
    ("fyl2xp1", (0x3fe8, 0x81bc73ed3ef5bbb4), (0x40c1, 0x99367c803ca2ec33), (0x40aa, 0xe0099870d33d4c12)),
    ("fyl2xp1", (0xbff8, 0x8c5fc3f87074f970), (0xbffa, 0xd168632abcf95fec), (0x3ff4, 0xa65f59423f78377a)),
    ("f2xm1", (0x3fe8, 0xf3170324b2acebbb), (0xc0a6, 0xca84eae7aa4dd140), (0x3fe8, 0xa87f410bf81ffe79)),
    ("f2xm1", (0x3fc8, 0xee321131e8e215ed), (0x3f6a, 0xd0a33e946b4de616), (0x3fc8, 0xa51ac67c3f50057b)),
    ("f2xm1", (0xbff6, 0xb90b2a21b9766f16), (0xbf9a, 0xde7ce22ee849cc9c), (0xbff6, 0x802314294275522b)),
    ("f2xm1", (0xbff9, 0x892ef79ed9ea604c), (0x3ff4, 0xefda54f408617140), (0xbff8, 0xbd13c2aa3fce2614)),
];

#[test]
fn transcendental_values_are_correctly_rounded() {
    for (name, a, b, expected) in TRANSCENDENTAL {
        let (a, b) = (F80::new(a.0, a.1), F80::new(b.0, b.1));
        let out = match name {
            "sin" => x87::sin(a, USUAL),
            "cos" => x87::cos(a, USUAL),
            "tan" => x87::tan(a, USUAL).map(|(tangent, _)| tangent),
            "patan" => x87::patan(a, b, USUAL),
            "fyl2x" => x87::fyl2x(a, b, USUAL),
            "fyl2xp1" => x87::fyl2xp1(a, b, USUAL),
            _ => x87::f2xm1(a, USUAL),
        };
        assert_eq!(out.value, F80::new(expected.0, expected.1), "{name} of {a:x?}, {b:x?}");
    }
}
