//! Integer operations.

use super::flags::{Fl, Shift};
use super::{Lowerer, exits::Kind, ty};
use crate::ir::{BitOp, Op, Src, Width};
use crate::model::Model;
use crate::state::slot;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use std::cmp::Ordering;

impl Lowerer<'_, '_> {
    /// A slot cut to `w`, with the type of that width.
    pub(super) fn gw(&mut self, s: u8, w: Width) -> Value {
        let v = self.raw(s);
        self.fit(ty(w), v)
    }

    /// A value of any width as one of type `to`: cut or zero-extended.
    pub(super) fn fit(&mut self, to: Type, v: Value) -> Value {
        let have = self.b.func.dfg.value_type(v);
        match have.bits().cmp(&to.bits()) {
            Ordering::Equal => v,
            Ordering::Greater => self.b.ins().ireduce(to, v),
            Ordering::Less if to == I64 => self.zext(v),
            Ordering::Less => self.b.ins().uextend(to, v),
        }
    }

    pub(super) fn narrow(&mut self, w: Width, v: Value) -> Value {
        self.fit(ty(w), v)
    }

    /// A source operand with the type of width `w`.
    pub(super) fn src(&mut self, s: Src, w: Width) -> Value {
        let imm = self.b.ins().iconst(ty(w), (i64::from(s.imm) as u64 & w.mask()) as i64);
        if s.slot == slot::ZERO {
            return imm;
        }
        let v = self.gw(s.slot, w);
        if s.imm == 0 { v } else { self.b.ins().iadd(v, imm) }
    }

    pub(super) fn zext(&mut self, v: Value) -> Value {
        if self.b.func.dfg.value_type(v) == I64 {
            return v;
        }
        let wide = self.wide.get(&v).copied();
        wide.unwrap_or_else(|| self.b.ins().uextend(I64, v))
    }

    /// The low half of a 64-bit value whose upper half is zero.
    pub(super) fn low_half(&mut self, wide: Value) -> Value {
        let v = self.b.ins().ireduce(I32, wide);
        self.wide.insert(v, wide);
        v
    }

    pub(super) fn sext(&mut self, w: Width, v: Value) -> Value {
        if w == Width::Q { v } else { self.b.ins().sextend(I64, v) }
    }

    /// Sets the low `w` bits of a general register as instructions of that operand size do: 32 bits clear the rest.
    pub(super) fn set_register(&mut self, dst: u8, w: Width, v: Value) {
        if matches!(w, Width::D | Width::Q) {
            return self.p(dst, v);
        }
        let old = self.gw(dst, Width::D);
        let old = self.b.ins().band_imm_u(old, i64::from(!(w.mask() as u32)));
        let new = self.narrow(w, v);
        let new = self.fit(I32, new);
        let v = self.b.ins().bor(old, new);
        self.p(dst, v);
    }

    /// Bit `n` of a value as an I8.
    pub(super) fn bit_of(&mut self, v: Value, n: u32) -> Value {
        let t = if n == 0 { v } else { self.b.ins().ushr_imm_u(v, i64::from(n)) };
        let t = self.fit(I8, t);
        self.b.ins().band_imm_u(t, 1)
    }

    fn result(&mut self, dst: u8, r: Value) {
        self.p(dst, r);
    }

    /// Lowers an integer operation. False if `op` is something else.
    pub(super) fn int_op(&mut self, op: &Op) -> bool {
        match *op {
            Op::Const { dst, value } => {
                let ty = if value <= u64::from(u32::MAX) { I32 } else { I64 };
                let v = self.b.ins().iconst(ty, value as i64);
                self.p(dst, v);
            }
            Op::Mov { w, dst, a } => {
                let v = self.gw(a, w);
                self.result(dst, v);
            }
            Op::Sext { from, w, dst, a } => {
                let v = self.gw(a, from);
                let v = if from == w { v } else { self.b.ins().sextend(ty(w), v) };
                self.result(dst, v);
            }
            Op::Insert { w, hi: false, dst, a } => {
                let new = self.raw(a);
                self.set_register(dst, w, new);
            }
            Op::Insert { dst, a, .. } => {
                let old = self.gw(dst, Width::D);
                let old = self.b.ins().band_imm_u(old, 0xffff_00ff);
                let new = self.gw(a, Width::B);
                let new = self.fit(I32, new);
                let new = self.b.ins().ishl_imm_u(new, 8);
                let v = self.b.ins().bor(old, new);
                self.p(dst, v);
            }
            Op::High8 { dst, a } => {
                let v = self.gw(a, Width::D);
                let v = self.b.ins().ushr_imm_u(v, 8);
                let v = self.b.ins().ireduce(I8, v);
                self.p(dst, v);
            }
            Op::Lea { dst, ref mem } => {
                let v = self.offset(mem);
                self.p(dst, v);
            }
            Op::Eip { w, dst, rel } => {
                let delta = self.plan.blocks[self.block].delta.wrapping_add(rel);
                let v = self.rip(delta);
                let v = if w == Width::W { self.b.ins().band_imm_u(v, 0xffff) } else { v };
                self.p(dst, v);
            }
            Op::Add { w, f, dst, a, b } => {
                let (a, b) = (self.gw(a, w), self.src(b, w));
                let r = self.b.ins().iadd(a, b);
                self.result(dst, r);
                self.flags(f, Fl::Add { w, a, b, r });
            }
            Op::Sub { w, f, dst, a, b } => {
                let (a, b) = (self.gw(a, w), self.src(b, w));
                let r = self.b.ins().isub(a, b);
                self.result(dst, r);
                self.flags(f, Fl::Sub { w, a, b, r });
            }
            Op::Adc { w, f, dst, a, b } => {
                let (a, b, carry) = (self.gw(a, w), self.src(b, w), self.carry());
                let c = self.fit(ty(w), carry);
                let r = self.b.ins().iadd(a, b);
                let r = self.b.ins().iadd(r, c);
                self.result(dst, r);
                self.flags(f, Fl::Adc { w, a, b, r, carry });
            }
            Op::Sbb { w, f, dst, a, b } => {
                let (a, b, carry) = (self.gw(a, w), self.src(b, w), self.carry());
                let c = self.fit(ty(w), carry);
                let r = self.b.ins().isub(a, b);
                let r = self.b.ins().isub(r, c);
                self.result(dst, r);
                self.flags(f, Fl::Sbb { w, a, b, r, carry });
            }
            Op::And { w, f, dst, a, b } => {
                let (a, b) = (self.gw(a, w), self.src(b, w));
                let r = if a == b { a } else { self.b.ins().band(a, b) };
                self.result(dst, r);
                self.flags(f, Fl::Logic { w, r });
            }
            Op::Or { w, f, dst, a, b } => {
                let (a, b) = (self.gw(a, w), self.src(b, w));
                let r = if a == b { a } else { self.b.ins().bor(a, b) };
                self.result(dst, r);
                self.flags(f, Fl::Logic { w, r });
            }
            Op::Xor { w, f, dst, a, b } => {
                let r = if a == b.slot && b.imm == 0 {
                    self.b.ins().iconst(ty(w), 0)
                } else {
                    let (a, b) = (self.gw(a, w), self.src(b, w));
                    self.b.ins().bxor(a, b)
                };
                self.result(dst, r);
                self.flags(f, Fl::Logic { w, r });
            }
            Op::Inc { w, f, dst, a } | Op::Dec { w, f, dst, a } => {
                let inc = matches!(op, Op::Inc { .. });
                let a = self.gw(a, w);
                let r = self.b.ins().iadd_imm_s(a, if inc { 1 } else { -1 });
                self.result(dst, r);
                if f {
                    let cf = match self.fl {
                        Fl::Memory => None,
                        Fl::Step { cf, .. } => cf,
                        _ => Some(self.carry()),
                    };
                    self.fl = Fl::Step { w, inc, r, cf };
                }
            }
            Op::Neg { w, f, dst, a } => {
                let zero = self.b.ins().iconst(ty(w), 0);
                let b = self.gw(a, w);
                let r = self.b.ins().isub(zero, b);
                self.result(dst, r);
                self.flags(f, Fl::Sub { w, a: zero, b, r });
            }
            Op::Not { w, dst, a } => {
                let a = self.gw(a, w);
                let r = self.b.ins().bnot(a);
                self.result(dst, r);
            }
            Op::Shl { w, f, dst, a, b } => self.shift(Shift::Shl, w, f, dst, a, b),
            Op::Shr { w, f, dst, a, b } => self.shift(Shift::Shr, w, f, dst, a, b),
            Op::Sar { w, f, dst, a, b } => self.shift(Shift::Sar, w, f, dst, a, b),
            Op::Rol { w, f, dst, a, b } => self.shift(Shift::Rol, w, f, dst, a, b),
            Op::Ror { w, f, dst, a, b } => self.shift(Shift::Ror, w, f, dst, a, b),
            Op::Rcl { w, f, dst, a, b } if b.slot == slot::ZERO && b.imm == 1 => self.rotate_carry(true, w, f, dst, a),
            Op::Rcr { w, f, dst, a, b } if b.slot == slot::ZERO && b.imm == 1 => self.rotate_carry(false, w, f, dst, a),
            Op::Shld { w: Width::D, f, dst, a, b, count } => self.double_shift(true, f, dst, a, b, count),
            Op::Shrd { w: Width::D, f, dst, a, b, count } => self.double_shift(false, f, dst, a, b, count),
            Op::Mul { w, signed, f, lo, hi, a, b } if w != Width::Q => self.multiply(w, signed, f, lo, hi, a, b),
            Op::Imul { w, f, dst, a, b } if w != Width::Q => {
                let (a, b) = (self.gw(a, w), self.src(b, w));
                let (x, y) = (self.sext(w, a), self.sext(w, b));
                let wide = self.b.ins().imul(x, y);
                let r = self.b.ins().imul(a, b);
                self.result(dst, r);
                if f {
                    let back = self.sext(w, r);
                    self.fl = Fl::Product { w, r, x: back, y: wide };
                }
            }
            Op::Div { w, signed, quot, rem, hi, lo, b } if w != Width::Q => {
                self.divide(w, signed, quot, rem, hi, lo, b);
            }
            Op::Bsf { w, dst, a, old } | Op::Bsr { w, dst, a, old } => {
                let forward = matches!(op, Op::Bsf { .. });
                let (x, old) = (self.gw(a, w), self.gw(old, w));
                let (x, old) = (self.zext(x), self.zext(old));
                let n = if forward {
                    self.b.ins().ctz(x)
                } else {
                    let n = self.b.ins().clz(x);
                    let top = self.b.ins().iconst(I64, 63);
                    self.b.ins().isub(top, n)
                };
                let r = self.b.ins().select(x, n, old);
                self.p(dst, r);
                let mut p = self.parts();
                p.nz = x;
                self.fl = Fl::Parts(p);
            }
            Op::Bit { op, w, dst, a, b } => {
                let x = self.gw(a, w);
                let x = self.zext(x);
                let n = self.src(b, Width::D);
                let n = self.b.ins().band_imm_u(n, i64::from(w.bits() - 1));
                let n = self.zext(n);
                let cf = self.b.ins().ushr(x, n);
                let cf = self.b.ins().ireduce(I8, cf);
                let cf = self.b.ins().band_imm_u(cf, 1);
                let one = self.b.ins().iconst(I64, 1);
                let bit = self.b.ins().ishl(one, n);
                let r = match op {
                    BitOp::Test => x,
                    BitOp::Set => self.b.ins().bor(x, bit),
                    BitOp::Reset => self.b.ins().band_not(x, bit),
                    BitOp::Complement => self.b.ins().bxor(x, bit),
                };
                self.p(dst, r);
                let of = self.cond(crate::ir::Cc::O);
                self.set_carry_overflow(cf, of);
            }
            Op::Bswap { w, dst, a } => {
                let v = match w {
                    Width::D => {
                        let v = self.gw(a, w);
                        self.b.ins().bswap(v)
                    }
                    Width::Q => {
                        let v = self.g(a);
                        self.b.ins().bswap(v)
                    }
                    _ => self.b.ins().iconst(I64, 0),
                };
                self.result(dst, v);
            }
            Op::Cond { cc, dst } => {
                let v = self.cond(cc);
                self.result(dst, v);
            }
            Op::Select { w, dst, c, a, b } => {
                let (c, a, b) = (self.g(c), self.gw(a, w), self.gw(b, w));
                let v = self.b.ins().select(c, a, b);
                self.result(dst, v);
            }
            Op::IsZero { w, dst, a } => {
                let v = self.gw(a, w);
                let v = self.b.ins().icmp_imm_u(IntCC::Equal, v, 0);
                self.result(dst, v);
            }
            Op::GetFlags { dst } => {
                let v = self.flags_image();
                self.p(dst, v);
            }
            Op::SetFlags { a, mask } => {
                let v = self.g(a);
                self.set_flags_image(v, mask);
            }
            Op::Cmc => {
                let (cf, of) = (self.carry(), self.cond(crate::ir::Cc::O));
                let cf = self.b.ins().bxor_imm_u(cf, 1);
                self.set_carry_overflow(cf, of);
            }
            _ => return false,
        }
        true
    }

    fn flags(&mut self, f: bool, fl: Fl) {
        if f {
            self.fl = fl;
        }
    }

    /// Counts are below 32 (see [`Op::Shl`]); a count of 0 changes nothing.
    fn shift(&mut self, kind: Shift, w: Width, f: bool, dst: u8, a: u8, b: Src) {
        let bits = w.bits();
        let constant = (b.slot == slot::ZERO).then_some(b.imm as u32 & 0xff);
        let a = self.gw(a, w);
        if constant == Some(0) {
            self.p(dst, a);
            return;
        }
        let n = match constant {
            Some(n) => self.b.ins().iconst(I32, i64::from(n)),
            None => {
                let n = self.src(b, Width::B);
                let n = self.b.ins().uextend(I32, n);
                if self.plan.model == Model::I8086 {
                    // An 8086 shifts as often as CL says; the host looks at five bits of it.
                    let few = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, n, 32);
                    self.leave_unless(few);
                }
                n
            }
        };
        // Counts beyond a narrow operand's width are shifts of the wider value, cut.
        let wide = if w == Width::Q { I64 } else { I32 };
        let r = match kind {
            Shift::Shl => {
                let x = self.fit(wide, a);
                let v = self.b.ins().ishl(x, n);
                self.fit(ty(w), v)
            }
            Shift::Shr => {
                let x = self.fit(wide, a);
                let v = self.b.ins().ushr(x, n);
                self.fit(ty(w), v)
            }
            Shift::Sar => {
                let x = if ty(w) == wide { a } else { self.b.ins().sextend(wide, a) };
                let v = self.b.ins().sshr(x, n);
                self.fit(ty(w), v)
            }
            Shift::Rol => self.b.ins().rotl(a, n),
            Shift::Ror => self.b.ins().rotr(a, n),
        };
        if !f {
            self.p(dst, r);
            return;
        }
        if let (Some(n), Shift::Shl | Shift::Shr | Shift::Sar) = (constant, kind) {
            self.p(dst, r);
            self.fl = Fl::Shift { kind, w, a, n, r };
            return;
        }
        let old = if constant.is_none() { Some(self.parts()) } else { None };
        self.p(dst, r);
        let (cf, of) = match kind {
            Shift::Shl => {
                let x = self.zext(a);
                let v = self.b.ins().ishl(x, n);
                let cf = self.bit_of(v, bits);
                let sign = self.bit_of(r, bits - 1);
                (cf, self.b.ins().bxor(cf, sign))
            }
            Shift::Shr | Shift::Sar => {
                let x = if kind == Shift::Sar { self.sext(w, a) } else { self.zext(a) };
                let less = self.b.ins().iadd_imm_s(n, -1);
                let v = self.b.ins().ushr(x, less);
                let cf = self.bit_of(v, 0);
                let of = if kind == Shift::Sar {
                    self.b.ins().iconst(I8, 0)
                } else {
                    let (x, y) = (self.bit_of(r, bits - 1), self.bit_of(r, bits - 2));
                    self.b.ins().bxor(x, y)
                };
                (cf, of)
            }
            Shift::Rol => {
                let cf = self.bit_of(r, 0);
                let sign = self.bit_of(r, bits - 1);
                (cf, self.b.ins().bxor(cf, sign))
            }
            Shift::Ror => {
                let (x, y) = (self.bit_of(r, bits - 1), self.bit_of(r, bits - 2));
                (x, self.b.ins().bxor(x, y))
            }
        };
        if matches!(kind, Shift::Rol | Shift::Ror) {
            self.set_carry_overflow(cf, of);
        } else {
            self.set_result_flags(w, r, cf, of);
        }
        if let Some(old) = old {
            self.keep_flags_if_zero(n, old);
        }
    }

    /// With a count of 0 the flags stay as they were.
    fn keep_flags_if_zero(&mut self, count: Value, old: super::flags::Parts) {
        let new = self.parts();
        let nz = self.b.ins().select(count, new.nz, old.nz);
        let sp = self.b.ins().select(count, new.sp, old.sp);
        let co = self.b.ins().select(count, new.co, old.co);
        let af = self.b.ins().select(count, new.af, old.af);
        self.fl = Fl::Parts(super::flags::Parts { nz, sp, co, af });
    }

    /// RCL and RCR by one.
    fn rotate_carry(&mut self, left: bool, w: Width, f: bool, dst: u8, a: u8) {
        let bits = w.bits();
        let a = self.gw(a, w);
        let a = self.zext(a);
        let old = self.carry();
        let c = self.b.ins().uextend(I64, old);
        let (r, cf) = if left {
            let v = self.b.ins().ishl_imm_u(a, 1);
            let v = self.b.ins().bor(v, c);
            (self.b.ins().band_imm_u(v, w.mask() as i64), self.bit_of(a, bits - 1))
        } else {
            let v = self.b.ins().ushr_imm_u(a, 1);
            let c = self.b.ins().ishl_imm_u(c, i64::from(bits - 1));
            (self.b.ins().bor(v, c), self.bit_of(a, 0))
        };
        self.p(dst, r);
        if f {
            let sign = self.bit_of(r, bits - 1);
            let with = if left { cf } else { self.bit_of(r, bits - 2) };
            let of = self.b.ins().bxor(sign, with);
            self.set_carry_overflow(cf, of);
        }
    }

    /// SHLD and SHRD of 32 bits.
    fn double_shift(&mut self, left: bool, f: bool, dst: u8, a: u8, b: u8, count: Src) {
        let w = Width::D;
        let constant = (count.slot == slot::ZERO).then_some(count.imm as u32 & 0xff);
        let (a, b) = (self.gw(a, w), self.gw(b, w));
        let (a, b) = (self.zext(a), self.zext(b));
        if constant == Some(0) {
            self.p(dst, a);
            return;
        }
        let n = self.src(count, Width::B);
        let n = self.zext(n);
        let (hi, lo) = if left { (a, b) } else { (b, a) };
        let hi = self.b.ins().ishl_imm_u(hi, 32);
        let v = self.b.ins().bor(hi, lo);
        let (r, cf) = if left {
            let v = self.b.ins().ishl(v, n);
            let r = self.b.ins().ushr_imm_u(v, 32);
            let c = self.b.ins().ishl(a, n);
            (r, self.bit_of(c, 32))
        } else {
            let r = self.b.ins().ushr(v, n);
            let r = self.b.ins().ireduce(I32, r);
            let less = self.b.ins().iadd_imm_s(n, -1);
            let c = self.b.ins().ushr(a, less);
            (self.zext(r), self.bit_of(c, 0))
        };
        if !f {
            self.p(dst, r);
            return;
        }
        let old = if constant.is_none() { Some(self.parts()) } else { None };
        self.p(dst, r);
        let (x, y) = (self.bit_of(r, 31), self.bit_of(a, 31));
        let of = self.b.ins().bxor(x, y);
        let typed = self.narrow(w, r);
        self.set_result_flags(w, typed, cf, of);
        if let Some(old) = old {
            self.keep_flags_if_zero(n, old);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one operation")]
    fn multiply(&mut self, w: Width, signed: bool, f: bool, lo: u8, hi: u8, a: u8, b: u8) {
        let (x, y) = (self.gw(a, w), self.gw(b, w));
        let (x, y) = if signed { (self.sext(w, x), self.sext(w, y)) } else { (self.zext(x), self.zext(y)) };
        let wide = self.b.ins().imul(x, y);
        let l = self.narrow(w, wide);
        let h = self.b.ins().ushr_imm_u(wide, i64::from(w.bits()));
        let h = self.narrow(w, h);
        self.p(lo, l);
        self.p(hi, h);
        if f {
            let fill = if signed {
                self.b.ins().sshr_imm_u(l, i64::from(w.bits() - 1))
            } else {
                self.b.ins().iconst(ty(w), 0)
            };
            self.fl = Fl::Product { w, r: l, x: h, y: fill };
        }
    }

    /// The interpreter raises #DE: what could overflow leaves the region.
    #[expect(clippy::too_many_arguments, reason = "the fields of one operation")]
    fn divide(&mut self, w: Width, signed: bool, quot: u8, rem: u8, hi: u8, lo: u8, b: u8) {
        let bits = i64::from(w.bits());
        let d = self.gw(b, w);
        let (h, l) = (self.gw(hi, w), self.gw(lo, w));
        let l = self.zext(l);
        let h = if signed { self.sext(w, h) } else { self.zext(h) };
        let h = self.b.ins().ishl_imm_u(h, bits);
        let n = self.b.ins().bor(h, l);
        let d = if signed { self.sext(w, d) } else { self.zext(d) };
        let nonzero = self.b.ins().icmp_imm_u(IntCC::NotEqual, d, 0);
        self.leave_unless(nonzero);
        if signed {
            // The one quotient that overflows 64 bits.
            let min = self.b.ins().iconst(I64, i64::MIN);
            let is_min = self.b.ins().icmp(IntCC::Equal, n, min);
            let minus = self.b.ins().icmp_imm_s(IntCC::Equal, d, -1);
            let both = self.b.ins().band(is_min, minus);
            let ok = self.b.ins().bxor_imm_u(both, 1);
            self.leave_unless(ok);
        }
        let (q, r) = if signed {
            (self.b.ins().sdiv(n, d), self.b.ins().srem(n, d))
        } else {
            (self.b.ins().udiv(n, d), self.b.ins().urem(n, d))
        };
        let cut = self.narrow(w, q);
        let back = if signed { self.sext(w, cut) } else { self.zext(cut) };
        let fits = self.b.ins().icmp(IntCC::Equal, back, q);
        self.leave_unless(fits);
        let q = cut;
        let r = self.narrow(w, r);
        self.p(quot, q);
        self.p(rem, r);
    }

    /// Leaves for the interpreter unless a near transfer to `to` stays inside the code segment.
    pub(super) fn check_limit(&mut self, to: Value) {
        if let Some(f) = self.plan.fixed {
            let ok = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, to, i64::from(f.limit));
            self.leave_unless(ok);
        }
    }

    /// An operation that only the interpreter can finish.
    pub(super) fn always_leave(&mut self) {
        let out = self.exit_before(Kind::Miss);
        self.b.ins().jump(out, &[]);
        // What follows is never reached, but has to be well-formed.
        let rest = self.b.create_block();
        self.b.set_cold_block(rest);
        self.enter(rest);
    }
}
