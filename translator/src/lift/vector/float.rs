//! The floating-point vector operations, on [`crate::fp::sse`]: flags collect in MXCSR, unmasked ones raise #XM and leave
//! the destination alone (SDM vol. 1, 11.5).

use super::VecOp;
use crate::fault::{Fault, Res, vector};
use crate::fp::sse::{self, Lane, Mxcsr};
use crate::state::{State, cr};

const LOW: u128 = u64::MAX as u128;

/// Commits the flags of an operation; an unmasked one becomes a fault.
fn settle(s: &mut State, flags: u32) -> Res<()> {
    let out = sse::settle(flags, Mxcsr(s.mxcsr));
    s.mxcsr = out.mxcsr;
    if !out.fault {
        return Ok(());
    }
    Err(if s.cr4 & cr::OSXMMEXCPT != 0 { Fault::new(vector::XM) } else { Fault::ud() })
}

fn dword(v: u128, i: usize) -> u32 {
    (v >> (32 * i)) as u32
}

fn qword(v: u128, i: usize) -> u64 {
    (v >> (64 * i)) as u64
}

/// Converts `n` lanes and packs the results of `out` bits from bit 0 up.
fn convert<T, U: Into<u64>>(n: usize, out: usize, source: impl Fn(usize) -> T, f: impl Fn(T) -> Lane<U>) -> Lane<u128> {
    let mut r = Lane { value: 0u128, flags: 0 };
    for i in 0..n {
        let lane = f(source(i));
        let bits: u64 = lane.value.into();
        let mask = if out == 64 { LOW } else { 0xffff_ffff };
        r.value |= (u128::from(bits) & mask) << (out * i);
        r.flags |= lane.flags;
    }
    r
}

fn lane<T>(l: Lane<T>, f: impl FnOnce(T) -> u128) -> Lane<u128> {
    Lane { flags: l.flags, value: f(l.value) }
}

/// Runs `op`; `None` if it writes flags and no vector.
pub(super) fn exec(s: &mut State, op: VecOp, x: u128, y: u128, imm: u8) -> Res<Option<u128>> {
    use VecOp::*;
    let m = Mxcsr(s.mxcsr);
    let upper32 = x & !0xffff_ffff;
    let upper64 = x & !LOW;
    let to_u32 = |l: Lane<i32>| Lane { value: l.value as u32, flags: l.flags };
    let ps = |n: usize, f: fn(u32, u32, Mxcsr) -> Lane<u32>| sse::packed_f32(x, y, n, m, f);
    let pd = |n: usize, f: fn(u64, u64, Mxcsr) -> Lane<u64>| sse::packed_f64(x, y, n, m, f);
    let r: Lane<u128> = match op {
        Addps => ps(4, sse::f32_add),
        Addss => ps(1, sse::f32_add),
        Addpd => pd(2, sse::f64_add),
        Addsd => pd(1, sse::f64_add),
        Subps => ps(4, sse::f32_sub),
        Subss => ps(1, sse::f32_sub),
        Subpd => pd(2, sse::f64_sub),
        Subsd => pd(1, sse::f64_sub),
        Mulps => ps(4, sse::f32_mul),
        Mulss => ps(1, sse::f32_mul),
        Mulpd => pd(2, sse::f64_mul),
        Mulsd => pd(1, sse::f64_mul),
        Divps => ps(4, sse::f32_div),
        Divss => ps(1, sse::f32_div),
        Divpd => pd(2, sse::f64_div),
        Divsd => pd(1, sse::f64_div),
        Minps => ps(4, sse::f32_min),
        Minss => ps(1, sse::f32_min),
        Minpd => pd(2, sse::f64_min),
        Minsd => pd(1, sse::f64_min),
        Maxps => ps(4, sse::f32_max),
        Maxss => ps(1, sse::f32_max),
        Maxpd => pd(2, sse::f64_max),
        Maxsd => pd(1, sse::f64_max),
        Sqrtps => ps(4, |_, b, m| sse::f32_sqrt(b, m)),
        Sqrtss => ps(1, |_, b, m| sse::f32_sqrt(b, m)),
        Sqrtpd => pd(2, |_, b, m| sse::f64_sqrt(b, m)),
        Sqrtsd => pd(1, |_, b, m| sse::f64_sqrt(b, m)),
        Rcpps => ps(4, |_, b, _| Lane { value: sse::f32_rcp(b), flags: 0 }),
        Rcpss => ps(1, |_, b, _| Lane { value: sse::f32_rcp(b), flags: 0 }),
        Rsqrtps => ps(4, |_, b, _| Lane { value: sse::f32_rsqrt(b), flags: 0 }),
        Rsqrtss => ps(1, |_, b, _| Lane { value: sse::f32_rsqrt(b), flags: 0 }),
        Cmpps => sse::packed_f32(x, y, 4, m, |a, b, m| sse::f32_cmp(a, b, imm & 7, m)),
        Cmpss => sse::packed_f32(x, y, 1, m, |a, b, m| sse::f32_cmp(a, b, imm & 7, m)),
        Cmppd => sse::packed_f64(x, y, 2, m, |a, b, m| sse::f64_cmp(a, b, imm & 7, m)),
        Cmpsd => sse::packed_f64(x, y, 1, m, |a, b, m| sse::f64_cmp(a, b, imm & 7, m)),
        Comiss | Ucomiss => {
            let l = sse::f32_comis(x as u32, y as u32, op == Ucomiss, m);
            settle(s, l.flags)?;
            s.set_arith_flags(l.value.eflags());
            return Ok(None);
        }
        Comisd | Ucomisd => {
            let l = sse::f64_comis(x as u64, y as u64, op == Ucomisd, m);
            settle(s, l.flags)?;
            s.set_arith_flags(l.value.eflags());
            return Ok(None);
        }
        Cvtss2sd => lane(sse::f32_to_f64(y as u32, m), |v| upper64 | u128::from(v)),
        Cvtsd2ss => lane(sse::f64_to_f32(y as u64, m), |v| upper32 | u128::from(v)),
        Cvtps2pd => convert(2, 64, |i| dword(y, i), |v| sse::f32_to_f64(v, m)),
        Cvtpd2ps => convert(2, 32, |i| qword(y, i), |v| sse::f64_to_f32(v, m)),
        Cvtps2dq => convert(4, 32, |i| dword(y, i), |v| to_u32(sse::f32_to_i32(v, false, m))),
        Cvttps2dq => convert(4, 32, |i| dword(y, i), |v| to_u32(sse::f32_to_i32(v, true, m))),
        Cvtdq2ps => convert(4, 32, |i| dword(y, i) as i32, |v| sse::i32_to_f32(v, m)),
        Cvtpd2dq | Cvtpd2pi => convert(2, 32, |i| qword(y, i), |v| to_u32(sse::f64_to_i32(v, false, m))),
        Cvttpd2dq | Cvttpd2pi => convert(2, 32, |i| qword(y, i), |v| to_u32(sse::f64_to_i32(v, true, m))),
        Cvtdq2pd | Cvtpi2pd => convert(2, 64, |i| dword(y, i) as i32, |v| sse::i32_to_f64(v, m)),
        Cvtpi2ps => {
            let l = convert(2, 32, |i| dword(y, i) as i32, |v| sse::i32_to_f32(v, m));
            Lane { value: upper64 | l.value, flags: l.flags }
        }
        Cvtsi2ss => lane(sse::i32_to_f32(y as i32, m), |v| upper32 | u128::from(v)),
        Cvtsi2sd => lane(sse::i32_to_f64(y as i32, m), |v| upper64 | u128::from(v)),
        Cvtps2pi => convert(2, 32, |i| dword(y, i), |v| to_u32(sse::f32_to_i32(v, false, m))),
        Cvttps2pi => convert(2, 32, |i| dword(y, i), |v| to_u32(sse::f32_to_i32(v, true, m))),
        Cvtss2si => lane(sse::f32_to_i32(y as u32, false, m), |v| u128::from(v as u32)),
        Cvttss2si => lane(sse::f32_to_i32(y as u32, true, m), |v| u128::from(v as u32)),
        Cvtsd2si => lane(sse::f64_to_i32(y as u64, false, m), |v| u128::from(v as u32)),
        Cvttsd2si => lane(sse::f64_to_i32(y as u64, true, m), |v| u128::from(v as u32)),
        _ => return Err(Fault::ud()),
    };
    settle(s, r.flags)?;
    Ok(Some(r.value))
}
