//! Operands and results: slots, memory operands, and the operations too long for the loop.

use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res, vector};
use crate::flags;
use crate::frame::access;
use crate::ir::{Mem, Op, Src, Width};
use crate::mmu::shadow;
use crate::mmu::walk::Access;
use crate::model::Model;
use crate::state::{SegReg, Slot};

impl Cpu {
    #[inline(always)]
    pub(super) fn g(&self, s: Slot) -> u64 {
        self.state.slots[s as usize]
    }

    #[inline(always)]
    pub(super) fn p(&mut self, s: Slot, v: u64) {
        self.state.slots[s as usize] = v;
    }

    #[inline(always)]
    pub(super) fn src(&self, s: Src) -> u64 {
        self.state.slots[s.slot as usize].wrapping_add(s.imm as i64 as u64)
    }

    /// The offset of a memory operand.
    #[inline(always)]
    pub(crate) fn offset(&self, m: &Mem) -> u64 {
        let off = self.g(m.base).wrapping_add(self.g(m.index) << m.scale).wrapping_add(m.disp as i64 as u64);
        if m.asize == Width::D { off & 0xffff_ffff } else { off & m.asize.mask() }
    }

    #[inline(always)]
    pub(super) fn load(&mut self, bus: &mut dyn Bus, w: Width, lin: u64) -> Res<u64> {
        let user = self.user();
        match w {
            Width::D => self.read_lin::<u32>(bus, lin, user).map(u64::from),
            Width::B => self.read_lin::<u8>(bus, lin, user).map(u64::from),
            Width::W => self.read_lin::<u16>(bus, lin, user).map(u64::from),
            Width::Q => self.read_lin::<u64>(bus, lin, user),
        }
    }

    #[inline(always)]
    pub(super) fn store(&mut self, bus: &mut dyn Bus, w: Width, lin: u64, v: u64) -> Res<()> {
        let user = self.user();
        match w {
            Width::D => self.write_lin(bus, lin, user, v as u32),
            Width::B => self.write_lin(bus, lin, user, v as u8),
            Width::W => self.write_lin(bus, lin, user, v as u16),
            Width::Q => self.write_lin(bus, lin, user, v),
        }
    }

    pub(super) fn load_seg_w(&mut self, bus: &mut dyn Bus, w: Width, seg: SegReg, off: u64) -> Res<u64> {
        match w {
            Width::B => self.read_seg::<u8>(bus, seg, off).map(u64::from),
            Width::W => self.read_seg::<u16>(bus, seg, off).map(u64::from),
            Width::D => self.read_seg::<u32>(bus, seg, off).map(u64::from),
            Width::Q => self.read_seg::<u64>(bus, seg, off),
        }
    }

    pub(super) fn store_seg_w(&mut self, bus: &mut dyn Bus, w: Width, seg: SegReg, off: u64, v: u64) -> Res<()> {
        match w {
            Width::B => self.write_seg(bus, seg, off, v as u8),
            Width::W => self.write_seg(bus, seg, off, v as u16),
            Width::D => self.write_seg(bus, seg, off, v as u32),
            Width::Q => self.write_seg(bus, seg, off, v),
        }
    }

    #[inline(always)]
    pub(super) fn shift(&mut self, w: Width, f: bool, dst: Slot, a: u64, shifted: flags::Shifted) {
        match shifted {
            Some((r, cf, of)) => {
                self.p(dst, r);
                if f {
                    self.state.set_zsp(w, r);
                    self.state.set_cf_of(cf, of);
                    self.state.set_af(false);
                }
            }
            None => self.p(dst, a),
        }
    }

    #[inline(always)]
    pub(super) fn rotate(&mut self, f: bool, dst: Slot, a: u64, rotated: flags::Shifted) {
        match rotated {
            Some((r, cf, of)) => {
                self.p(dst, r);
                if f {
                    self.state.set_cf_of(cf, of);
                }
            }
            None => self.p(dst, a),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one operation")]
    pub(super) fn mul(&mut self, w: Width, signed: bool, f: bool, lo: Slot, hi: Slot, a: Slot, b: Slot) {
        let up = 64 - w.bits();
        let (x, y) = (self.g(a), self.g(b));
        let wide = if signed {
            (i128::from((x << up) as i64 >> up) * i128::from((y << up) as i64 >> up)) as u128
        } else {
            u128::from(x & w.mask()) * u128::from(y & w.mask())
        };
        let l = wide as u64 & w.mask();
        let h = (wide >> w.bits()) as u64 & w.mask();
        self.p(lo, l);
        self.p(hi, h);
        if f {
            let fill = if signed && l >> (w.bits() - 1) & 1 != 0 { w.mask() } else { 0 };
            self.state.set_zsp(w, l);
            self.state.set_cf_of(h != fill, h != fill);
            self.state.set_af(false);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one operation")]
    pub(super) fn div(
        &mut self,
        w: Width,
        signed: bool,
        quot: Slot,
        rem: Slot,
        hi: Slot,
        lo: Slot,
        b: Slot,
    ) -> Res<()> {
        let overflow = Fault::new(vector::DE);
        let n = w.bits();
        let d = self.g(b) & w.mask();
        if d == 0 {
            return Err(overflow);
        }
        let wide = u128::from(self.g(hi) & w.mask()) << n | u128::from(self.g(lo) & w.mask());
        let (q, r) = if signed {
            let up = 128 - 2 * n;
            let x = (wide << up) as i128 >> up;
            let d = i128::from((d << (64 - n)) as i64 >> (64 - n));
            let (Some(q), Some(r)) = (x.checked_div(d), x.checked_rem(d)) else { return Err(overflow) };
            // The 8086 and 8088 also refuse the most negative quotient.
            let min = -(1i128 << (n - 1)) + i128::from(self.model == Model::I8086);
            if q < min || q > (1i128 << (n - 1)) - 1 {
                return Err(overflow);
            }
            (q as u64, r as u64)
        } else {
            let q = wide / u128::from(d);
            if q > u128::from(w.mask()) {
                return Err(overflow);
            }
            (q as u64, (wide % u128::from(d)) as u64)
        };
        self.p(quot, q & w.mask());
        self.p(rem, r & w.mask());
        Ok(())
    }

    /// Makes an access to memory for compiled code, which packed into `info` what it is: see [`access`]. `None` if the
    /// interpreter has to run the whole instruction.
    pub(crate) fn make_access(&mut self, bus: &mut dyn Bus, off: u64, v: u64, info: u32) -> Res<Option<u64>> {
        let (what, w, seg, last) = access::unpack(info);
        let user = self.user();
        let write = what != access::LOAD;
        let lin = match seg {
            Some(seg) => self.seg_lin(seg, off, u64::from(w.bytes()), write)?,
            None => off,
        };
        if !last {
            // Which of the faults of two pages comes first, and of the limit behind the last one, is the interpreter's.
            if (lin & 0xfff) + u64::from(w.bytes()) > 4096 {
                return Ok(None);
            }
            let e = self.translate(lin, if write { Access::Write } else { Access::Read }, user)?;
            let plain = e & shadow::IO == 0 && (!write || e & shadow::GUEST_W != 0);
            if !plain {
                return Ok(None);
            }
        }
        if matches!(what, access::LOAD_RMW | access::PROBE) {
            self.probe_write(lin, w.bytes(), user)?;
        }
        let read = match what {
            access::STORE => self.store(bus, w, lin, v).map(|()| 0)?,
            access::PROBE => 0,
            _ => self.load(bus, w, lin)?,
        };
        // Compiled code may do it alone the next time.
        let view = usize::from(user);
        let e = self.shadow.get(view, lin);
        if e & shadow::R != 0 {
            self.shadow.window_miss(view, lin, 1, e & shadow::W != 0);
        }
        Ok(Some(read))
    }

    /// Runs an operation that compiled code has no code of its own for.
    pub(crate) fn plain_operation(&mut self, bus: &mut dyn Bus, op: &Op) -> Res<()> {
        let rotated = |s: &Self, a: Slot, w: Width| s.g(a) & w.mask();
        match *op {
            Op::Bcd { op, imm } => self.bcd(op, imm)?,
            Op::Rcl { w, f, dst, a, b } => {
                let (x, n) = (rotated(self, a, w), self.src(b) as u32 & 0xff);
                self.rotate(f, dst, x, flags::rcl(w, x, n, self.state.cf()));
            }
            Op::Rcr { w, f, dst, a, b } => {
                let (x, n) = (rotated(self, a, w), self.src(b) as u32 & 0xff);
                self.rotate(f, dst, x, flags::rcr(w, x, n, self.state.cf()));
            }
            Op::Shld { w, f, dst, a, b, count } => {
                let (x, y) = (rotated(self, a, w), rotated(self, b, w));
                let n = self.src(count) as u32 & 0xff;
                self.shift(w, f, dst, x, flags::shld(w, x, y, n));
            }
            Op::Shrd { w, f, dst, a, b, count } => {
                let (x, y) = (rotated(self, a, w), rotated(self, b, w));
                let n = self.src(count) as u32 & 0xff;
                self.shift(w, f, dst, x, flags::shrd(w, x, y, n));
            }
            Op::LoadV { dst, ref mem, aligned } => self.load_vector(bus, dst, mem, aligned)?,
            Op::StoreV { a, ref mem, aligned } => self.store_vector(bus, a, mem, aligned)?,
            // Nothing else is called for: see `lower::calls`.
            _ => return Err(Fault::ud()),
        }
        Ok(())
    }

    pub(super) fn vector_lin(&mut self, mem: &Mem, write: bool, aligned: bool) -> Res<u64> {
        let off = self.offset(mem);
        let lin = self.seg_lin(mem.seg, off, 16, write)?;
        if aligned && lin & 15 != 0 {
            return Err(Fault::gp(0));
        }
        Ok(lin)
    }

    pub(super) fn load_vector(&mut self, bus: &mut dyn Bus, dst: u8, mem: &Mem, aligned: bool) -> Res<()> {
        let lin = self.vector_lin(mem, false, aligned)?;
        let user = self.user();
        let lo = self.read_lin::<u64>(bus, lin, user)?;
        let hi = self.read_lin::<u64>(bus, lin.wrapping_add(8), user)?;
        self.state.vectors[usize::from(dst & 31)] = u128::from(hi) << 64 | u128::from(lo);
        Ok(())
    }

    pub(super) fn store_vector(&mut self, bus: &mut dyn Bus, a: u8, mem: &Mem, aligned: bool) -> Res<()> {
        let lin = self.vector_lin(mem, true, aligned)?;
        let user = self.user();
        self.probe_write(lin, 16, user)?;
        let v = self.state.vectors[usize::from(a & 31)];
        self.write_lin(bus, lin, user, v as u64)?;
        self.write_lin(bus, lin.wrapping_add(8), user, (v >> 64) as u64)
    }
}
