//! The arithmetic flags in split form (see [`crate::state::slot`]) and how operations produce them.

use crate::ir::{Cc, Width};
use crate::state::{State, slot};

impl State {
    #[inline(always)]
    fn set(&mut self, s: u8, v: u64) {
        self.slots[s as usize] = v;
    }

    /// ZF, SF, PF from a result of width `w`.
    #[inline(always)]
    pub(crate) fn set_zsp(&mut self, w: Width, r: u64) {
        let up = 64 - w.bits();
        self.set(slot::NZ, r);
        self.set(slot::SP, ((r << up) as i64 >> up) as u64);
    }

    /// All six from an addition r = a + b (+ carry); operands cut to `w`.
    #[inline(always)]
    pub(crate) fn flags_add(&mut self, w: Width, a: u64, b: u64, r: u64) {
        self.set_zsp(w, r);
        self.set(slot::CO, ((a & b) | ((a | b) & !r)) << (64 - w.bits()));
        self.set(slot::AF, a ^ b ^ r);
    }

    /// All six from a subtraction r = a - b (- borrow); operands cut to `w`.
    #[inline(always)]
    pub(crate) fn flags_sub(&mut self, w: Width, a: u64, b: u64, r: u64) {
        self.set_zsp(w, r);
        self.set(slot::CO, ((!a & b) | ((!a | b) & r)) << (64 - w.bits()));
        self.set(slot::AF, a ^ b ^ r);
    }

    /// All six from a logical operation: CF, OF and AF clear.
    #[inline(always)]
    pub(crate) fn flags_logic(&mut self, w: Width, r: u64) {
        self.set_zsp(w, r);
        self.set(slot::CO, 0);
        self.set(slot::AF, 0);
    }

    /// CF and OF alone.
    #[inline(always)]
    pub(crate) fn set_cf_of(&mut self, cf: bool, of: bool) {
        self.set(slot::CO, u64::from(cf) << 63 | u64::from(cf ^ of) << 62);
    }

    /// CF alone; OF stays.
    pub(crate) fn set_cf(&mut self, cf: bool) {
        let of = self.of();
        self.set_cf_of(cf, of);
    }

    /// AF alone.
    #[inline(always)]
    pub(crate) fn set_af(&mut self, af: bool) {
        self.set(slot::AF, u64::from(af) << 4);
    }

    /// ZF alone; SF and PF stay.
    pub(crate) fn set_zf(&mut self, zf: bool) {
        self.set(slot::NZ, u64::from(!zf));
    }

    /// Whether a condition holds.
    #[inline(always)]
    pub(crate) fn holds(&self, cc: Cc) -> bool {
        match cc {
            Cc::O => self.of(),
            Cc::No => !self.of(),
            Cc::B => self.cf(),
            Cc::Ae => !self.cf(),
            Cc::E => self.zf(),
            Cc::Ne => !self.zf(),
            Cc::Be => self.cf() || self.zf(),
            Cc::A => !self.cf() && !self.zf(),
            Cc::S => self.sf(),
            Cc::Ns => !self.sf(),
            Cc::P => self.pf(),
            Cc::Np => !self.pf(),
            Cc::L => self.sf() != self.of(),
            Cc::Ge => self.sf() == self.of(),
            Cc::Le => self.zf() || self.sf() != self.of(),
            Cc::G => !self.zf() && self.sf() == self.of(),
        }
    }
}

/// A shift's or rotate's result with its CF and OF; `None` when the count is 0 and nothing changes.
pub(crate) type Shifted = Option<(u64, bool, bool)>;

fn msb(w: Width, v: u64) -> bool {
    v >> (w.bits() - 1) & 1 != 0
}

fn msb2(w: Width, v: u64) -> bool {
    v >> (w.bits() - 2) & 1 != 0
}

/// SHL: CF is the last bit shifted out, OF is CF XOR the result's sign (defined for a count of 1; SDM vol. 2).
#[inline]
pub(crate) fn shl(w: Width, a: u64, count: u32) -> Shifted {
    if count == 0 {
        return None;
    }
    let wide = if count > 64 { 0 } else { u128::from(a) << count };
    let r = wide as u64 & w.mask();
    let cf = wide >> w.bits() & 1 != 0;
    Some((r, cf, cf ^ msb(w, r)))
}

/// SHR: OF is the operand's sign bit for a count of 1, else clear.
#[inline]
pub(crate) fn shr(w: Width, a: u64, count: u32) -> Shifted {
    if count == 0 {
        return None;
    }
    let r = if count > 63 { 0 } else { a >> count };
    let cf = count <= 64 && a >> (count - 1) & 1 != 0;
    Some((r, cf, msb(w, r) ^ msb2(w, r)))
}

/// SAR: OF is clear.
#[inline]
pub(crate) fn sar(w: Width, a: u64, count: u32) -> Shifted {
    if count == 0 {
        return None;
    }
    let up = 64 - w.bits();
    let s = (a << up) as i64 >> up;
    let r = (s >> count.min(63)) as u64 & w.mask();
    let cf = s >> (count - 1).min(63) & 1 != 0;
    Some((r, cf, false))
}

/// ROL: CF is the result's low bit, OF is CF XOR the sign.
#[inline]
pub(crate) fn rol(w: Width, a: u64, count: u32) -> Shifted {
    if count == 0 {
        return None;
    }
    let c = count % w.bits();
    let r = if c == 0 { a } else { (a << c | a >> (w.bits() - c)) & w.mask() };
    let cf = r & 1 != 0;
    Some((r, cf, cf ^ msb(w, r)))
}

/// ROR: CF is the result's sign, OF is the XOR of its two top bits.
#[inline]
pub(crate) fn ror(w: Width, a: u64, count: u32) -> Shifted {
    if count == 0 {
        return None;
    }
    let c = count % w.bits();
    let r = if c == 0 { a } else { (a >> c | a << (w.bits() - c)) & w.mask() };
    Some((r, msb(w, r), msb(w, r) ^ msb2(w, r)))
}

/// RCL: a rotation of width + 1 bits through CF; OF is CF XOR the sign.
#[inline]
pub(crate) fn rcl(w: Width, a: u64, count: u32, cf: bool) -> Shifted {
    if count == 0 {
        return None;
    }
    let n = w.bits() + 1;
    let c = count % n;
    let v = u128::from(cf) << w.bits() | u128::from(a);
    let v = if c == 0 { v } else { v << c | v >> (n - c) };
    let r = v as u64 & w.mask();
    let cf = v >> w.bits() & 1 != 0;
    Some((r, cf, cf ^ msb(w, r)))
}

/// RCR: a rotation of width + 1 bits through CF; OF is the XOR of the result's two top bits.
#[inline]
pub(crate) fn rcr(w: Width, a: u64, count: u32, cf: bool) -> Shifted {
    if count == 0 {
        return None;
    }
    let n = w.bits() + 1;
    let c = count % n;
    let v = u128::from(cf) << w.bits() | u128::from(a);
    let v = if c == 0 { v } else { v >> c | v << (n - c) };
    let r = v as u64 & w.mask();
    Some((r, v >> w.bits() & 1 != 0, msb(w, r) ^ msb2(w, r)))
}

/// SHLD: `count` bits of b enter a from the right. For 16-bit operands counts 17-31 rotate on through b:a, as hardware
/// does where the SDM leaves the result undefined.
#[inline]
pub(crate) fn shld(w: Width, a: u64, b: u64, count: u32) -> Shifted {
    if count == 0 {
        return None;
    }
    let n = w.bits();
    let v = u128::from(a) << n | u128::from(b);
    if n == 64 {
        let r = (v << count >> 64) as u64;
        return Some((r, a >> (64 - count) & 1 != 0, msb(w, r) ^ msb(w, a)));
    }
    // a:b:a gives the bits that counts beyond the width bring in.
    let v = v << n | u128::from(a);
    let shifted = v << count;
    let r = (shifted >> (2 * n)) as u64 & w.mask();
    let cf = shifted >> (3 * n) & 1 != 0;
    Some((r, cf, msb(w, r) ^ msb(w, a)))
}

/// SHRD: `count` bits of b enter a from the left; counts beyond 16 as in [`shld`].
#[inline]
pub(crate) fn shrd(w: Width, a: u64, b: u64, count: u32) -> Shifted {
    if count == 0 {
        return None;
    }
    let n = w.bits();
    let low = u128::from(b) << n | u128::from(a);
    let v = if n == 64 { low } else { u128::from(a) << (2 * n) | low };
    let r = (v >> count) as u64 & w.mask();
    let cf = v >> (count - 1) & 1 != 0;
    Some((r, cf, msb(w, r) ^ msb(w, a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shift_values() {
        assert_eq!(shl(Width::B, 0x81, 1), Some((0x02, true, true)));
        assert_eq!(shl(Width::B, 0x01, 8), Some((0, true, true)));
        assert_eq!(shl(Width::B, 0xff, 9), Some((0, false, false)));
        assert_eq!(shr(Width::W, 0x8001, 1), Some((0x4000, true, true)));
        assert_eq!(sar(Width::B, 0x80, 200), Some((0xff, true, false)));
        assert_eq!(rol(Width::B, 0x80, 8), Some((0x80, false, true)));
        assert_eq!(ror(Width::D, 1, 1), Some((0x8000_0000, true, true)));
        assert_eq!(rcl(Width::B, 0x80, 1, false), Some((0, true, true)));
        assert_eq!(rcr(Width::W, 1, 1, true), Some((0x8000, true, true)));
        assert_eq!(rcl(Width::D, 5, 33, true), Some((5, true, true)));
        assert_eq!(shld(Width::D, 0x8000_0000, 0xc000_0000, 1), Some((1, true, true)));
        assert_eq!(shrd(Width::W, 0x0001, 0x8000, 1), Some((0, true, false)));
    }

    #[test]
    fn split_flags_round_trip() {
        let mut s = State::reset(crate::Model::Max);
        for f in 0..64u32 {
            let bits = f & 1 | (f & 2) << 1 | (f & 4) << 2 | (f & 8) << 3 | (f & 16) << 3 | (f & 32) << 6;
            s.set_arith_flags(bits);
            assert_eq!(s.arith_flags(), bits);
        }
    }

    #[test]
    fn addition_flags() {
        let mut s = State::reset(crate::Model::Max);
        s.flags_add(Width::B, 0x7f, 1, 0x80);
        assert_eq!(s.arith_flags(), 0x890); // OF SF AF
        s.flags_add(Width::B, 0xff, 1, 0);
        assert_eq!(s.arith_flags(), 0x55); // ZF AF PF CF
        s.flags_sub(Width::D, 0, 1, 0xffff_ffff);
        assert_eq!(s.arith_flags(), 0x95); // SF AF PF CF
        s.flags_sub(Width::W, 0x8000, 1, 0x7fff);
        assert_eq!(s.arith_flags(), 0x814); // OF AF PF
    }
}
