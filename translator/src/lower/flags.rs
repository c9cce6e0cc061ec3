//! The arithmetic flags while lowering: symbolic, computed only where somebody asks.

use super::Lowerer;
use super::describe::Desc;
use crate::frame::lazy;
use crate::ir::{Cc, Width};
use crate::state::slot;
use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};

/// Shifts and rotates by the name of their operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shift {
    Shl,
    Shr,
    Sar,
    Rol,
    Ror,
}

/// Who made the flags. Values have the type of width `w`; those of [`Fl::Parts`] are slots (see [`slot`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fl {
    /// They are in the state, perhaps lazy.
    Memory,
    /// r = a + b.
    Add { w: Width, a: Value, b: Value, r: Value },
    /// r = a - b.
    Sub { w: Width, a: Value, b: Value, r: Value },
    /// r = a + b + carry.
    Adc { w: Width, a: Value, b: Value, r: Value, carry: Value },
    /// r = a - b - borrow.
    Sbb { w: Width, a: Value, b: Value, r: Value, carry: Value },
    /// A logical operation.
    Logic { w: Width, r: Value },
    /// A shift by a constant that is not 0.
    Shift { kind: Shift, w: Width, a: Value, n: u32, r: Value },
    /// A product that overflowed if x and y differ.
    Product { w: Width, r: Value, x: Value, y: Value },
    /// INC or DEC with CF as an I8, or as it is in the state.
    Step { w: Width, inc: bool, r: Value, cf: Option<Value> },
    /// The four slots.
    Parts(Parts),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parts {
    pub nz: Value,
    pub sp: Value,
    pub co: Value,
    pub af: Value,
}

impl Lowerer<'_, '_> {
    /// The flags that a statement about the registers means.
    pub(super) fn described(&mut self, d: Desc) -> Fl {
        match d {
            Desc::Compare { w, a, b } => {
                let (a, b) = (self.gw(a, w), self.src(b, w));
                let r = self.b.ins().isub(a, b);
                Fl::Sub { w, a, b, r }
            }
            Desc::Test { w, a, b } => {
                let (a, b) = (self.gw(a, w), self.src(b, w));
                let r = if a == b { a } else { self.b.ins().band(a, b) };
                Fl::Logic { w, r }
            }
            Desc::Logic { w, r } => {
                let r = self.gw(r, w);
                Fl::Logic { w, r }
            }
            Desc::Added { r, b } => {
                let w = Width::D;
                let (r, b) = (self.gw(r, w), self.b.ins().iconst(I32, i64::from(b as u32)));
                let a = self.b.ins().isub(r, b);
                Fl::Add { w, a, b, r }
            }
            Desc::Subtracted { r, b } => {
                let w = Width::D;
                let (r, b) = (self.gw(r, w), self.b.ins().iconst(I32, i64::from(b as u32)));
                let a = self.b.ins().iadd(r, b);
                Fl::Sub { w, a, b, r }
            }
            Desc::Step { inc, r } => {
                let r = self.gw(r, Width::D);
                Fl::Step { w: Width::D, inc, r, cf: None }
            }
        }
    }

    /// Makes sure that the flag slots in the state are up to date.
    fn resolve_memory(&mut self) {
        let st = self.st;
        let kind = self.frame_load(I64, core::mem::offset_of!(crate::frame::Frame, lazy));
        let (cold, go) = (self.cold_block(), self.b.create_block());
        self.b.ins().brif(kind, cold, &[], go, &[]);
        self.enter(cold);
        self.call_host(self.host.resolve, &[st]);
        self.b.ins().jump(go, &[]);
        self.enter(go);
    }

    fn flag_slot(&mut self, s: u8) -> Value {
        self.state_load(I64, super::slot_offset(s))
    }

    /// The flags as slots.
    pub(super) fn parts(&mut self) -> Parts {
        match self.fl {
            Fl::Parts(p) => p,
            Fl::Memory => {
                self.resolve_memory();
                let p = Parts {
                    nz: self.flag_slot(slot::NZ),
                    sp: self.flag_slot(slot::SP),
                    co: self.flag_slot(slot::CO),
                    af: self.flag_slot(slot::AF),
                };
                self.fl = Fl::Parts(p);
                p
            }
            Fl::Step { cf: None, w, inc, r } => {
                self.resolve_memory();
                let co = self.flag_slot(slot::CO);
                let cf = self.top_bit(co);
                self.fl = Fl::Step { w, inc, r, cf: Some(cf) };
                self.parts()
            }
            fl => {
                let p = self.parts_of(fl);
                self.fl = Fl::Parts(p);
                p
            }
        }
    }

    /// Bit 63 of a 64-bit value as an I8.
    fn top_bit(&mut self, v: Value) -> Value {
        let t = self.b.ins().ushr_imm_u(v, 63);
        self.b.ins().ireduce(I8, t)
    }

    fn parts_of(&mut self, fl: Fl) -> Parts {
        let zero = |s: &mut Self| s.b.ins().iconst(I64, 0);
        match fl {
            Fl::Memory | Fl::Step { cf: None, .. } => unreachable!("resolved by the caller"),
            Fl::Parts(p) => p,
            Fl::Logic { w, r } => {
                let z = zero(self);
                Parts { nz: self.zext(r), sp: self.sext(w, r), co: z, af: z }
            }
            Fl::Add { w, a, b, r } | Fl::Adc { w, a, b, r, .. } => {
                let both = self.b.ins().band(a, b);
                let any = self.b.ins().bor(a, b);
                let any = self.b.ins().band_not(any, r);
                let co = self.b.ins().bor(both, any);
                self.parts_carry(w, a, b, r, co)
            }
            Fl::Sub { w, a, b, r } | Fl::Sbb { w, a, b, r, .. } => {
                let both = self.b.ins().band_not(b, a);
                let na = self.b.ins().bnot(a);
                let any = self.b.ins().bor(na, b);
                let any = self.b.ins().band(any, r);
                let co = self.b.ins().bor(both, any);
                self.parts_carry(w, a, b, r, co)
            }
            Fl::Shift { kind, w, a, n, r } => {
                let (cf, of) = self.shift_carry(kind, w, a, n, r);
                let zero = zero(self);
                Parts { nz: self.zext(r), sp: self.sext(w, r), co: self.co(cf, of), af: zero }
            }
            Fl::Product { w, r, x, y } => {
                let over = self.b.ins().icmp(IntCC::NotEqual, x, y);
                let zero = zero(self);
                Parts { nz: self.zext(r), sp: self.sext(w, r), co: self.co(over, over), af: zero }
            }
            Fl::Step { w, inc, r, cf: Some(cf) } => {
                let ty = super::ty(w);
                let one = self.b.ins().iconst(ty, 1);
                let a = if inc { self.b.ins().isub(r, one) } else { self.b.ins().iadd(r, one) };
                let x = self.b.ins().bxor(a, r);
                let x = self.b.ins().bxor(x, one);
                let of = self.step_overflow(w, inc, r);
                Parts { nz: self.zext(r), sp: self.sext(w, r), co: self.co(cf, of), af: self.zext(x) }
            }
        }
    }

    fn parts_carry(&mut self, w: Width, a: Value, b: Value, r: Value, co: Value) -> Parts {
        let co = self.zext(co);
        let co = self.b.ins().ishl_imm_u(co, i64::from(64 - w.bits()));
        let x = self.b.ins().bxor(a, b);
        let x = self.b.ins().bxor(x, r);
        Parts { nz: self.zext(r), sp: self.sext(w, r), co, af: self.zext(x) }
    }

    fn step_overflow(&mut self, w: Width, inc: bool, r: Value) -> Value {
        let min = 1u64 << (w.bits() - 1);
        let edge = if inc { min } else { min - 1 };
        let edge = self.b.ins().iconst(super::ty(w), edge as i64);
        self.b.ins().icmp(IntCC::Equal, r, edge)
    }

    /// The CO slot from CF and OF as I8.
    pub(super) fn co(&mut self, cf: Value, of: Value) -> Value {
        let x = self.b.ins().bxor(cf, of);
        let (cf, x) = (self.b.ins().uextend(I64, cf), self.b.ins().uextend(I64, x));
        let cf = self.b.ins().ishl_imm_u(cf, 63);
        let x = self.b.ins().ishl_imm_u(x, 62);
        self.b.ins().bor(cf, x)
    }

    /// Flags whose result is `r`, of width `w`, with CF and OF given and AF clear.
    pub(super) fn set_result_flags(&mut self, w: Width, r: Value, cf: Value, of: Value) {
        let (sp, co, af) = (self.sext(w, r), self.co(cf, of), self.b.ins().iconst(I64, 0));
        let nz = self.zext(r);
        self.fl = Fl::Parts(Parts { nz, sp, co, af });
    }

    /// CF and OF of a shift by a constant. See [`crate::flags`].
    fn shift_carry(&mut self, kind: Shift, w: Width, a: Value, n: u32, r: Value) -> (Value, Value) {
        let bits = w.bits();
        match kind {
            Shift::Shl => {
                let cf = if n > bits { self.b.ins().iconst(I8, 0) } else { self.bit_of(a, bits - n) };
                let sign = self.bit_of(r, bits - 1);
                (cf, self.b.ins().bxor(cf, sign))
            }
            Shift::Shr => {
                let cf = if n > bits { self.b.ins().iconst(I8, 0) } else { self.bit_of(a, n - 1) };
                let (x, y) = (self.bit_of(r, bits - 1), self.bit_of(r, bits - 2));
                (cf, self.b.ins().bxor(x, y))
            }
            _ => (self.bit_of(a, (n - 1).min(bits - 1)), self.b.ins().iconst(I8, 0)),
        }
    }

    /// CF and OF change, the others stay.
    pub(super) fn set_carry_overflow(&mut self, cf: Value, of: Value) {
        let p = self.parts();
        let co = self.co(cf, of);
        self.fl = Fl::Parts(Parts { co, ..p });
    }

    /// Puts the flags into the state. [`Lowerer::fl`] is left alone: the caller knows whether they stay symbolic.
    pub(super) fn spill_flags(&mut self, fl: Fl) {
        let over = core::mem::offset_of!(crate::frame::Frame, lazy) + 4;
        let kind = |k: u32, w: Width| k + w as u32;
        match fl {
            Fl::Memory => {}
            Fl::Add { w, a, b, .. } => self.spill_lazy(kind(lazy::ADD, w), a, Some(b)),
            Fl::Sub { w, a, b, .. } => self.spill_lazy(kind(lazy::SUB, w), a, Some(b)),
            Fl::Logic { w, r } => self.spill_lazy(kind(lazy::LOGIC, w), r, None),
            Fl::Step { w, inc, r, cf: None } => {
                let k = self.b.ins().iconst(I32, i64::from(kind(if inc { lazy::INC } else { lazy::DEC }, w)));
                self.frame_store(k, over);
                let r = self.zext(r);
                self.frame_store(r, core::mem::offset_of!(crate::frame::Frame, lazy_over));
            }
            Fl::Shift { kind, w, a, n, .. } => {
                let k = match kind {
                    Shift::Shl => lazy::SHL,
                    Shift::Shr => lazy::SHR,
                    _ => lazy::SAR,
                };
                let n = self.b.ins().iconst(I64, i64::from(n));
                self.spill_lazy(k + w as u32, a, Some(n));
            }
            Fl::Product { w, r, x, y } => {
                let over = self.b.ins().icmp(IntCC::NotEqual, x, y);
                self.spill_lazy(lazy::PRODUCT + w as u32, r, Some(over));
            }
            Fl::Adc { w, a, b, r, .. } | Fl::Sbb { w, a, b, r, .. } => {
                let k = if matches!(fl, Fl::Adc { .. }) { lazy::ADC } else { lazy::SBB };
                self.spill_lazy(k + w as u32, a, Some(b));
                let r = self.zext(r);
                self.frame_store(r, core::mem::offset_of!(crate::frame::Frame, lazy_r));
            }
            Fl::Parts(_) | Fl::Step { .. } => {
                let p = self.parts_of(fl);
                for (s, v) in [(slot::NZ, p.nz), (slot::SP, p.sp), (slot::CO, p.co), (slot::AF, p.af)] {
                    self.state_store(v, super::slot_offset(s));
                }
                let zero = self.b.ins().iconst(I64, 0);
                self.frame_store(zero, core::mem::offset_of!(crate::frame::Frame, lazy));
            }
        }
    }

    fn spill_lazy(&mut self, kind: u32, a: Value, b: Option<Value>) {
        use crate::frame::Frame;
        let k = self.b.ins().iconst(I64, i64::from(kind));
        self.frame_store(k, core::mem::offset_of!(Frame, lazy));
        let a = self.zext(a);
        self.frame_store(a, core::mem::offset_of!(Frame, lazy_a));
        if let Some(b) = b {
            let b = self.zext(b);
            self.frame_store(b, core::mem::offset_of!(Frame, lazy_b));
        }
    }

    /// CF as an I8.
    pub(super) fn carry(&mut self) -> Value {
        self.cond(Cc::B)
    }

    fn negative(&mut self, w: Width, r: Value) -> Value {
        let zero = self.b.ins().iconst(super::ty(w), 0);
        self.b.ins().icmp(IntCC::SignedLessThan, r, zero)
    }

    fn not(&mut self, v: Value) -> Value {
        self.b.ins().bxor_imm_u(v, 1)
    }

    /// Whether a condition holds, as an I8.
    pub(super) fn cond(&mut self, cc: Cc) -> Value {
        let negated = cc as u8 & 1 != 0;
        match (self.fl, Cc::from_bits(cc as u8 & !1)) {
            (Fl::Sub { a, b, r, w, .. }, even) => {
                let compare = match even {
                    Cc::E => Some(IntCC::Equal),
                    Cc::B => Some(IntCC::UnsignedLessThan),
                    Cc::Be => Some(IntCC::UnsignedLessThanOrEqual),
                    Cc::L => Some(IntCC::SignedLessThan),
                    Cc::Le => Some(IntCC::SignedLessThanOrEqual),
                    _ => None,
                };
                if let Some(c) = compare {
                    return self.b.ins().icmp(if negated { c.complement() } else { c }, a, b);
                }
                if even == Cc::S {
                    let v = self.negative(w, r);
                    return if negated { self.not(v) } else { v };
                }
            }
            (Fl::Logic { w, r }, even) => {
                let zero = self.b.ins().iconst(super::ty(w), 0);
                let compare = match even {
                    Cc::E | Cc::Be => Some(IntCC::Equal),
                    Cc::S | Cc::L => Some(IntCC::SignedLessThan),
                    Cc::Le => Some(IntCC::SignedLessThanOrEqual),
                    _ => None,
                };
                if let Some(c) = compare {
                    return self.b.ins().icmp(if negated { c.complement() } else { c }, r, zero);
                }
                if matches!(even, Cc::O | Cc::B) {
                    return self.b.ins().iconst(I8, i64::from(negated));
                }
            }
            (Fl::Add { w, a, r, .. }, even) => {
                let zero = self.b.ins().iconst(super::ty(w), 0);
                let compare = match even {
                    Cc::E => Some((IntCC::Equal, zero)),
                    Cc::S => Some((IntCC::SignedLessThan, zero)),
                    Cc::B => Some((IntCC::UnsignedLessThan, a)),
                    _ => None,
                };
                if let Some((c, with)) = compare {
                    return self.b.ins().icmp(if negated { c.complement() } else { c }, r, with);
                }
            }
            (
                Fl::Adc { w, r, .. }
                | Fl::Sbb { w, r, .. }
                | Fl::Step { w, r, .. }
                | Fl::Shift { w, r, .. }
                | Fl::Product { w, r, .. },
                even @ (Cc::E | Cc::S),
            ) => {
                let zero = self.b.ins().iconst(super::ty(w), 0);
                let c = if even == Cc::E { IntCC::Equal } else { IntCC::SignedLessThan };
                return self.b.ins().icmp(if negated { c.complement() } else { c }, r, zero);
            }
            (Fl::Step { w, inc, r, .. }, Cc::O) => {
                let v = self.step_overflow(w, inc, r);
                return if negated { self.not(v) } else { v };
            }
            (Fl::Step { w, inc, r, .. }, even @ (Cc::L | Cc::Le)) => {
                let (s, o) = (self.negative(w, r), self.step_overflow(w, inc, r));
                let mut v = self.b.ins().bxor(s, o);
                if even == Cc::Le {
                    let zero = self.b.ins().iconst(super::ty(w), 0);
                    let z = self.b.ins().icmp(IntCC::Equal, r, zero);
                    v = self.b.ins().bor(v, z);
                }
                return if negated { self.not(v) } else { v };
            }
            (Fl::Shift { kind, w, a, n, r }, Cc::B) => {
                let (cf, _) = self.shift_carry(kind, w, a, n, r);
                return if negated { self.not(cf) } else { cf };
            }
            (Fl::Product { x, y, .. }, Cc::O | Cc::B) => {
                return self.b.ins().icmp(if negated { IntCC::Equal } else { IntCC::NotEqual }, x, y);
            }
            (Fl::Adc { a, r, carry, .. }, Cc::B) => {
                // Out of the top if the result is below a, or is a with all of b and the carry gone round.
                let below = self.b.ins().icmp(IntCC::UnsignedLessThan, r, a);
                let same = self.b.ins().icmp(IntCC::Equal, r, a);
                let round = self.b.ins().band(same, carry);
                let cf = self.b.ins().bor(below, round);
                return if negated { self.not(cf) } else { cf };
            }
            (Fl::Sbb { a, b, carry, .. }, Cc::B) => {
                let below = self.b.ins().icmp(IntCC::UnsignedLessThan, a, b);
                let same = self.b.ins().icmp(IntCC::Equal, a, b);
                let round = self.b.ins().band(same, carry);
                let cf = self.b.ins().bor(below, round);
                return if negated { self.not(cf) } else { cf };
            }
            (Fl::Step { cf: Some(cf), .. }, Cc::B) => return if negated { self.not(cf) } else { cf },
            _ => {}
        }
        let v = self.cond_of_parts(cc);
        if negated { self.not(v) } else { v }
    }

    /// The even condition of a pair, from the slots.
    fn cond_of_parts(&mut self, cc: Cc) -> Value {
        let p = self.parts();
        let zero = self.b.ins().iconst(I64, 0);
        let is_zero = |s: &mut Self| s.b.ins().icmp(IntCC::Equal, p.nz, zero);
        let overflow = |s: &mut Self| {
            let up = s.b.ins().ishl_imm_u(p.co, 1);
            let x = s.b.ins().bxor(p.co, up);
            s.top_bit(x)
        };
        match Cc::from_bits(cc as u8 & !1) {
            Cc::O => overflow(self),
            Cc::B => self.top_bit(p.co),
            Cc::E => is_zero(self),
            Cc::Be => {
                let (c, z) = (self.top_bit(p.co), is_zero(self));
                self.b.ins().bor(c, z)
            }
            Cc::S => self.top_bit(p.sp),
            Cc::P => {
                let low = self.b.ins().ireduce(I8, p.sp);
                let low = self.b.ins().uextend(I32, low);
                let n = self.b.ins().popcnt(low);
                let n = self.b.ins().ireduce(I8, n);
                let odd = self.b.ins().band_imm_u(n, 1);
                self.not(odd)
            }
            even => {
                let (s, o) = (self.top_bit(p.sp), overflow(self));
                let l = self.b.ins().bxor(s, o);
                if even == Cc::L {
                    return l;
                }
                let z = is_zero(self);
                self.b.ins().bor(l, z)
            }
        }
    }

    /// The six flags in their EFLAGS positions.
    pub(super) fn flags_image(&mut self) -> Value {
        let mut image = self.b.ins().iconst(I64, 0);
        for (cc, bit) in [(Cc::B, 0), (Cc::P, 2), (Cc::E, 6), (Cc::S, 7), (Cc::O, 11)] {
            let v = self.cond_of_parts(cc);
            let v = self.b.ins().uextend(I64, v);
            let v = self.b.ins().ishl_imm_u(v, bit);
            image = self.b.ins().bor(image, v);
        }
        let af = self.parts().af;
        let af = self.b.ins().band_imm_u(af, 0x10);
        self.b.ins().bor(image, af)
    }

    /// Sets the flags of `mask` from an image in EFLAGS positions.
    pub(super) fn set_flags_image(&mut self, image: Value, mask: u32) {
        use crate::state::eflags as e;
        let mut v = self.b.ins().band_imm_u(image, i64::from(mask));
        if mask & e::ARITH != e::ARITH {
            let old = self.flags_image();
            let old = self.b.ins().band_imm_u(old, i64::from(e::ARITH & !mask));
            v = self.b.ins().bor(v, old);
        }
        let bit = |s: &mut Self, n: i64| {
            let t = s.b.ins().ushr_imm_u(v, n);
            let t = s.b.ins().ireduce(I8, t);
            s.b.ins().band_imm_u(t, 1)
        };
        let (cf, pf, zf, sf, of) = (bit(self, 0), bit(self, 2), bit(self, 6), bit(self, 7), bit(self, 11));
        let co = self.co(cf, of);
        let nz = self.not(zf);
        let nz = self.b.ins().uextend(I64, nz);
        let np = self.not(pf);
        let np = self.b.ins().uextend(I64, np);
        let sf = self.b.ins().uextend(I64, sf);
        let sf = self.b.ins().ishl_imm_u(sf, 63);
        let sp = self.b.ins().bor(sf, np);
        let af = self.b.ins().band_imm_u(v, 0x10);
        self.fl = Fl::Parts(Parts { nz, sp, co, af });
    }
}
