//! x87 against the host.

use super::super::x87::{self, Control, Op, Outcome};
use super::super::{F80, Relation, flag};
use super::native::{self, Saved, X87};
use super::random::Random;

const CASES: u32 = 1_000_000;
const UNTOUCHED: [u8; 10] = [0xa5; 10];

/// Counts differences and shows the first few.
struct Verdict {
    name: &'static str,
    wrong: u32,
}

impl Verdict {
    fn new(name: &'static str) -> Self {
        Self { name, wrong: 0 }
    }
    fn check(&mut self, same: bool, show: impl FnOnce() -> String) {
        if !same {
            self.wrong += 1;
            if self.wrong <= 12 {
                eprintln!("{}: {}", self.name, show());
            }
        }
    }
    fn end(self) {
        assert_eq!(self.wrong, 0, "{}: results that differ from the host's", self.name);
    }
}

fn hex(v: F80) -> String {
    format!("{:04x}:{:016x}", v.sign_exp, v.mantissa)
}

/// ES and B go with an unmasked exception; TOP is left out.
fn expected_status(status: u16, c: Control) -> u16 {
    status | if c.unmasked(status) { flag::ES | flag::B } else { 0 }
}

const SHOWN: u16 = !0x3800;

fn register(name: &'static str, native: X87, ours: impl Fn(F80, F80, Control) -> Outcome<F80>) {
    let mut random = Random::new(name.len() as u64 * 77 + u64::from(name.as_bytes()[1]));
    let mut verdict = Verdict::new(name);
    for _ in 0..CASES {
        let a = random.f80();
        let b = if random.below(3) == 0 { random.f80_near(a) } else { random.f80() };
        let c = Control(random.control());
        let real = native(a, b, c.0, UNTOUCHED);
        let out = ours(a, b, c);
        let value = if out.write { out.value } else { a };
        let status = expected_status(out.status, c);
        let same = value == real.st(0) && status == real.status() & SHOWN;
        // A tiny operand that comes back as it is: with underflow unmasked Intel's processors do not report it.
        let passed = matches!(name, "fscale" | "fprem" | "fprem1")
            && a.exponent() == 0
            && c.unmasked(flag::UE)
            && (real.st(0), real.status() & SHOWN) == (a, flag::DE);
        verdict.check(same || native::is_intel() && passed, || {
            format!(
                "{} {} cw {:04x}: ours {} {:04x}, host {} {:04x}",
                hex(a),
                hex(b),
                c.0,
                hex(value),
                status,
                hex(real.st(0)),
                real.status() & SHOWN
            )
        });
    }
    verdict.end();
}

macro_rules! registers {
    ($($name:ident: $ours:expr;)*) => { $(
        #[test]
        fn $name() {
            register(stringify!($name), native::$name, $ours);
        }
    )* };
}

registers! {
    fadd: x87::add;
    fsub: x87::sub;
    fsubr: |a, b, c| x87::arith(Op::SubR, a, b, c);
    fmul: x87::mul;
    fdiv: x87::div;
    fdivr: |a, b, c| x87::arith(Op::DivR, a, b, c);
    fsqrt: |a, _, c| x87::sqrt(a, c);
    frndint: |a, _, c| x87::rndint(a, c);
    fscale: x87::scale;
    fprem: x87::rem;
    fprem1: x87::rem1;
}

#[test]
fn fxtract() {
    let mut random = Random::new(3);
    let mut verdict = Verdict::new("fxtract");
    for _ in 0..CASES {
        let (a, c) = (random.f80(), Control(random.control()));
        let real = native::fxtract(a, F80::ONE, c.0, UNTOUCHED);
        let out = x87::xtract(a, c);
        let status = expected_status(out.status, c);
        let same = if out.write {
            real.top() == 5 && real.st(0) == out.value.1 && real.st(1) == out.value.0
        } else {
            real.top() == 6 && real.st(0) == a
        };
        verdict.check(same && status == real.status() & SHOWN, || {
            format!(
                "{} cw {:04x}: ours {} {} {:04x}, host {} {} {:04x} top {}",
                hex(a),
                c.0,
                hex(out.value.1),
                hex(out.value.0),
                status,
                hex(real.st(0)),
                hex(real.st(1)),
                real.status() & SHOWN,
                real.top()
            )
        });
    }
    verdict.end();
}

fn comparison(
    name: &'static str,
    native: X87,
    ours: impl Fn(F80, F80, [u8; 10], Control) -> Outcome<Relation>,
    frac: u32,
) {
    let mut random = Random::new(frac.into());
    let mut verdict = Verdict::new(name);
    for _ in 0..CASES {
        let a = random.f80();
        let mut b = if random.below(3) == 0 { random.f80_near(a) } else { random.f80() };
        if random.below(8) == 0 {
            b = a;
        }
        let mut memory = UNTOUCHED;
        match frac {
            23 => memory[..4].copy_from_slice(&(random.narrow(23, 8) as u32).to_le_bytes()),
            52 => memory[..8].copy_from_slice(&random.narrow(52, 11).to_le_bytes()),
            _ => {}
        }
        let c = Control(random.control());
        let real = native(a, b, c.0, memory);
        let out = ours(a, b, memory, c);
        let eflags = frac == 0;
        let mut status = expected_status(out.status, c);
        let mut same = true;
        if !eflags {
            status |= out.value.condition_codes();
        } else if out.write {
            same = real.rflags & 0x45 == u64::from(out.value.eflags());
        }
        if name.starts_with("fcomp") {
            same = real.top() == if out.write { 7 } else { 6 };
        }
        verdict.check(same && status == real.status() & SHOWN, || {
            format!(
                "{} {} {memory:02x?} cw {:04x}: ours {:?} {status:04x}, host {:04x} {:x}",
                hex(a),
                hex(b),
                c.0,
                out.value,
                real.status() & SHOWN,
                real.rflags
            )
        });
    }
    verdict.end();
}

#[test]
fn fcom() {
    comparison("fcom", native::fcom, |a, b, _, c| x87::compare(a, b, false, c), 1);
}

#[test]
fn fcomp() {
    comparison("fcomp", native::fcomp, |a, b, _, c| x87::compare(a, b, false, c), 1);
    comparison("ftst", native::ftst, |a, _, _, c| x87::compare(a, F80::ZERO, false, c), 1);
}

#[test]
fn fucom() {
    comparison("fucom", native::fucom, |a, b, _, c| x87::compare(a, b, true, c), 1);
}

#[test]
fn fcomi() {
    comparison("fcomi", native::fcomi, |a, b, _, c| x87::compare(a, b, false, c), 0);
}

#[test]
fn fcom_memory() {
    comparison("fcom m32", native::fcom_m32, |a, _, m, c| x87::compare_f32(a, low32(m), c), 23);
    comparison("fcom m64", native::fcom_m64, |a, _, m, c| x87::compare_f64(a, low64(m), c), 52);
}

#[test]
fn fxam() {
    let mut random = Random::new(5);
    let mut verdict = Verdict::new("fxam");
    for _ in 0..CASES / 4 {
        let a = random.f80();
        let real = native::fxam(a, a, 0x37f, UNTOUCHED).status() & SHOWN;
        let ours = x87::xam(a, false);
        verdict.check(ours == real, || format!("{}: ours {ours:04x}, host {real:04x}", hex(a)));
    }
    verdict.end();
}

fn low32(m: [u8; 10]) -> u32 {
    u32::from_le_bytes([m[0], m[1], m[2], m[3]])
}

fn low64(m: [u8; 10]) -> u64 {
    u64::from_le_bytes([m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7]])
}

/// Random bytes of memory of one kind of operand.
fn memory(random: &mut Random, kind: &str) -> [u8; 10] {
    let mut m = UNTOUCHED;
    let value = match kind {
        "f32" => random.narrow(23, 8),
        "f64" => random.narrow(52, 11),
        "int" => (random.next() as i64 >> random.below(64)) as u64,
        _ => {
            for byte in &mut m {
                let tens = if random.below(30) == 0 { random.below(16) } else { random.below(10) };
                *byte = (tens << 4 | random.below(10)) as u8;
            }
            if random.below(2) == 0 {
                m[9] = (random.below(2) << 7) as u8;
            }
            return m;
        }
    };
    m[..8].copy_from_slice(&value.to_le_bytes());
    m
}

fn memory_arith(name: &'static str, native: X87, kind: &str, ours: impl Fn(F80, [u8; 10], Control) -> Outcome<F80>) {
    let mut random = Random::new(name.len() as u64);
    let mut verdict = Verdict::new(name);
    for _ in 0..CASES / 2 {
        let a = random.f80();
        let m = memory(&mut random, kind);
        let c = Control(random.control());
        let real = native(a, F80::ONE, c.0, m);
        let out = ours(a, m, c);
        let value = if out.write { out.value } else { a };
        let status = expected_status(out.status, c);
        verdict.check(value == real.st(0) && status == real.status() & SHOWN, || {
            format!(
                "{} {m:02x?} cw {:04x}: ours {} {:04x}, host {} {:04x}",
                hex(a),
                c.0,
                hex(value),
                status,
                hex(real.st(0)),
                real.status() & SHOWN
            )
        });
    }
    verdict.end();
}

#[test]
fn arith_memory() {
    use native as n;
    memory_arith("fadd m32", n::fadd_m32, "f32", |a, m, c| x87::arith_f32(Op::Add, a, low32(m), c));
    memory_arith("fadd m64", n::fadd_m64, "f64", |a, m, c| x87::arith_f64(Op::Add, a, low64(m), c));
    memory_arith("fsub m32", n::fsub_m32, "f32", |a, m, c| x87::arith_f32(Op::Sub, a, low32(m), c));
    memory_arith("fsubr m64", n::fsubr_m64, "f64", |a, m, c| x87::arith_f64(Op::SubR, a, low64(m), c));
    memory_arith("fmul m32", n::fmul_m32, "f32", |a, m, c| x87::arith_f32(Op::Mul, a, low32(m), c));
    memory_arith("fmul m64", n::fmul_m64, "f64", |a, m, c| x87::arith_f64(Op::Mul, a, low64(m), c));
    memory_arith("fdiv m32", n::fdiv_m32, "f32", |a, m, c| x87::arith_f32(Op::Div, a, low32(m), c));
    memory_arith("fdiv m64", n::fdiv_m64, "f64", |a, m, c| x87::arith_f64(Op::Div, a, low64(m), c));
    memory_arith("fdivr m32", n::fdivr_m32, "f32", |a, m, c| x87::arith_f32(Op::DivR, a, low32(m), c));
    memory_arith("fdivr m64", n::fdivr_m64, "f64", |a, m, c| x87::arith_f64(Op::DivR, a, low64(m), c));
    memory_arith("fiadd m32", n::fiadd_m32, "int", |a, m, c| x87::arith_int(Op::Add, a, low32(m) as i32, c));
    memory_arith("fidivr m16", n::fidivr_m16, "int", |a, m, c| {
        x87::arith_int(Op::DivR, a, i32::from(low32(m) as i16), c)
    });
}

fn load(name: &'static str, native: X87, kind: &str, ours: impl Fn([u8; 10], Control) -> Outcome<F80>) {
    let mut random = Random::new(name.len() as u64);
    let mut verdict = Verdict::new(name);
    for _ in 0..CASES / 2 {
        let m = memory(&mut random, kind);
        let c = Control(random.control());
        let real = native(F80::ONE, F80::ONE, c.0, m);
        let out = ours(m, c);
        let status = expected_status(out.status, c);
        let same = if out.write { real.top() == 5 && real.st(0) == out.value } else { real.top() == 6 };
        verdict.check(same && status == real.status() & SHOWN, || {
            format!(
                "{m:02x?} cw {:04x}: ours {} {:04x}, host {} {:04x} top {}",
                c.0,
                hex(out.value),
                status,
                hex(real.st(0)),
                real.status() & SHOWN,
                real.top()
            )
        });
    }
    verdict.end();
}

#[test]
fn loads() {
    let exact = |v| Outcome { value: v, status: 0, write: true };
    load("fld m32", native::fld_m32, "f32", |m, c| x87::from_f32(low32(m), c));
    load("fld m64", native::fld_m64, "f64", |m, c| x87::from_f64(low64(m), c));
    load("fild m16", native::fild_m16, "int", |m, _| exact(x87::from_i16(low32(m) as i16)));
    load("fild m32", native::fild_m32, "int", |m, _| exact(x87::from_i32(low32(m) as i32)));
    load("fild m64", native::fild_m64, "int", |m, _| exact(x87::from_i64(low64(m) as i64)));
    load("fbld", native::fbld, "bcd", |m, _| exact(x87::from_bcd(m)));
    load("fldl2t", native::fldl2t, "int", |_, c| exact(x87::l2t(c)));
    load("fldl2e", native::fldl2e, "int", |_, c| exact(x87::l2e(c)));
    load("fldpi", native::fldpi, "int", |_, c| exact(x87::pi(c)));
    load("fldlg2", native::fldlg2, "int", |_, c| exact(x87::lg2(c)));
    load("fldln2", native::fldln2, "int", |_, c| exact(x87::ln2(c)));
}

fn store<const N: usize>(name: &'static str, native: X87, pops: bool, ours: impl Fn(F80, Control) -> Outcome<[u8; N]>) {
    let mut random = Random::new(name.len() as u64 * 5);
    let mut verdict = Verdict::new(name);
    for _ in 0..CASES / 2 {
        let a = random.f80();
        let c = Control(random.control());
        let real: Saved = native(a, F80::ONE, c.0, UNTOUCHED);
        let out = ours(a, c);
        let mut m = UNTOUCHED;
        if out.write {
            m[..N].copy_from_slice(&out.value);
        }
        let status = expected_status(out.status, c);
        let top = if pops && out.write { 7 } else { 6 };
        verdict.check(m == real.memory && status == real.status() & SHOWN && top == real.top(), || {
            format!(
                "{} cw {:04x}: ours {m:02x?} {:04x}, host {:02x?} {:04x} top {}",
                hex(a),
                c.0,
                status,
                real.memory,
                real.status() & SHOWN,
                real.top()
            )
        });
    }
    verdict.end();
}

#[test]
fn stores() {
    use native as n;
    store("fst m32", n::fst_m32, false, |a, c| x87::to_f32(a, c).map(u32::to_le_bytes));
    store("fst m64", n::fst_m64, false, |a, c| x87::to_f64(a, c).map(u64::to_le_bytes));
    store("fist m16", n::fist_m16, false, |a, c| x87::to_i16(a, c).map(i16::to_le_bytes));
    store("fist m32", n::fist_m32, false, |a, c| x87::to_i32(a, c).map(i32::to_le_bytes));
    store("fistp m64", n::fistp_m64, true, |a, c| x87::to_i64(a, c).map(i64::to_le_bytes));
    store("fisttp m16", n::fisttp_m16, true, |a, c| x87::trunc_i16(a, c).map(i16::to_le_bytes));
    store("fisttp m32", n::fisttp_m32, true, |a, c| x87::trunc_i32(a, c).map(i32::to_le_bytes));
    store("fisttp m64", n::fisttp_m64, true, |a, c| x87::trunc_i64(a, c).map(i64::to_le_bytes));
    store("fbstp", n::fbstp, true, x87::to_bcd);
}
