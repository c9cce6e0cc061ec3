//! Helpers for single instructions that touch several words of memory, and the decimal adjustments.

use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res, vector};
use crate::ir::{Bcd, Width};
use crate::model::Model;
use crate::state::{SegReg, mode, slot};

/// ENTER (SDM vol. 2): pushes the frame pointer, copies `level - 1` frame pointers, reserves `size` bytes.
pub(crate) fn enter(cpu: &mut Cpu, bus: &mut dyn Bus, imm: u32) -> Res<()> {
    let (size, level, osize) = (u64::from(imm & 0xffff), imm >> 16 & 31, u64::from(imm >> 24));
    let smask = if cpu.state.mode & mode::STACK32 != 0 { 0xffff_ffff } else { 0xffff };
    let omask = if osize == 2 { 0xffff } else { 0xffff_ffff };
    let mut sp = cpu.state.gpr(slot::RSP) & smask;
    let mut bp = cpu.state.gpr(slot::RBP);
    let put = |cpu: &mut Cpu, bus: &mut dyn Bus, at: u64, v: u64| match osize {
        2 => cpu.write_seg(bus, SegReg::Ss, at, v as u16),
        _ => cpu.write_seg(bus, SegReg::Ss, at, v as u32),
    };
    sp = sp.wrapping_sub(osize) & smask;
    put(cpu, bus, sp, bp)?;
    let frame = sp;
    for i in 0..level {
        let v = if i + 1 == level {
            (cpu.state.gpr(slot::RSP) & !smask) | frame
        } else {
            bp = bp.wrapping_sub(osize);
            let at = bp & smask;
            match osize {
                2 => u64::from(cpu.read_seg::<u16>(bus, SegReg::Ss, at)?),
                _ => u64::from(cpu.read_seg::<u32>(bus, SegReg::Ss, at)?),
            }
        };
        sp = sp.wrapping_sub(osize) & smask;
        put(cpu, bus, sp, v)?;
    }
    sp = sp.wrapping_sub(size) & smask;
    // The new top of stack has to be writable (SDM: checked like a write of the operand size).
    if cpu.model > Model::I286 {
        cpu.probe_seg(SegReg::Ss, sp, osize as u8)?;
    }
    let old_bp = cpu.state.gpr(slot::RBP);
    let old_sp = cpu.state.gpr(slot::RSP);
    // The frame temporary is all of the stack pointer, so a 32-bit EBP gets what lies above a 16-bit SP.
    let frame = old_sp & !smask | frame;
    cpu.state.set_gpr(slot::RBP, old_bp & !omask | frame & omask);
    cpu.state.set_gpr(slot::RSP, old_sp & !smask | sp);
    Ok(())
}

/// CMPXCHG8B: the destination is written in either case.
pub(crate) fn cmpxchg8b(cpu: &mut Cpu, bus: &mut dyn Bus, seg: SegReg, off: u64) -> Res<()> {
    cpu.probe_seg(seg, off, 8)?;
    let old = cpu.read_seg::<u64>(bus, seg, off)?;
    let want = (cpu.state.gpr(slot::RDX) & 0xffff_ffff) << 32 | cpu.state.gpr(slot::RAX) & 0xffff_ffff;
    let equal = old == want;
    let new = (cpu.state.gpr(slot::RCX) & 0xffff_ffff) << 32 | cpu.state.gpr(slot::RBX) & 0xffff_ffff;
    cpu.write_seg(bus, seg, off, if equal { new } else { old })?;
    if !equal {
        cpu.state.set_gpr(slot::RAX, old & 0xffff_ffff);
        cpu.state.set_gpr(slot::RDX, old >> 32);
    }
    cpu.state.set_zf(equal);
    Ok(())
}

impl Cpu {
    /// The decimal adjustments (SDM vol. 2). Undefined flags are as hardware leaves them: AAA and AAS clear nothing but
    /// what the manual says, DAA and DAS leave OF clear.
    pub(crate) fn bcd(&mut self, op: Bcd, imm: u8) -> Res<()> {
        let ax = self.state.gpr(slot::RAX);
        let (al, ah) = (ax as u8, (ax >> 8) as u8);
        let (cf, af) = (self.state.cf(), self.state.af());
        let put = |c: &mut Cpu, al: u8, ah: u8| {
            c.state.set_gpr(slot::RAX, ax & !0xffff | u64::from(ah) << 8 | u64::from(al));
        };
        match op {
            Bcd::Daa | Bcd::Das => {
                let low = al & 15 > 9 || af;
                // The 8086 compares with 9Fh where AF was set (seen in recordings of the chip).
                let limit = if self.model == Model::I8086 && af { 0x9f } else { 0x99 };
                let high = al > limit || cf;
                let fix = u8::from(low) * 6 + u8::from(high) * 0x60;
                let r = if op == Bcd::Daa { al.wrapping_add(fix) } else { al.wrapping_sub(fix) };
                let borrow = op == Bcd::Das && low && al < 6 && self.model != Model::I8086;
                put(self, r, ah);
                self.state.set_zsp(Width::B, u64::from(r));
                let v = if op == Bcd::Daa { (al ^ r) & (fix ^ r) } else { (al ^ fix) & (al ^ r) };
                let of = self.model <= Model::I286 && v & 0x80 != 0;
                self.state.set_cf_of(high || borrow, of);
                self.state.set_af(low);
            }
            Bcd::Aaa | Bcd::Aas => {
                let adjust = al & 15 > 9 || af;
                let (mut r, mut h) = (al, ah);
                if adjust && self.model == Model::I8086 {
                    // AL and AH change apart on the 8086; later chips add to AX as a whole.
                    r = if op == Bcd::Aaa { al.wrapping_add(6) } else { al.wrapping_sub(6) };
                    h = if op == Bcd::Aaa { ah.wrapping_add(1) } else { ah.wrapping_sub(1) };
                } else if adjust {
                    let w =
                        if op == Bcd::Aaa { (ax as u16).wrapping_add(0x106) } else { (ax as u16).wrapping_sub(0x106) };
                    r = w as u8;
                    h = (w >> 8) as u8;
                }
                put(self, r & 15, h);
                // The 80286 sets the undefined flags from the sum (or difference) before it is cut to a digit.
                let (shown, of) = match (self.model, op) {
                    (Model::I286, Bcd::Aaa) => (r, !al & r & 0x80 != 0),
                    (Model::I286, _) => (r, al & !r & 0x80 != 0),
                    _ => (r & 15, false),
                };
                self.state.set_zsp(Width::B, u64::from(shown));
                self.state.set_cf_of(adjust, of);
                self.state.set_af(adjust);
            }
            Bcd::Aam => {
                if imm == 0 {
                    return Err(Fault::new(vector::DE));
                }
                put(self, al % imm, al / imm);
                self.state.flags_logic(Width::B, u64::from(al % imm));
            }
            Bcd::Aad => {
                let product = ah.wrapping_mul(imm);
                let r = al.wrapping_add(product);
                put(self, r, 0);
                self.state.flags_add(Width::B, u64::from(al), u64::from(product), u64::from(r));
                if self.model == Model::I286 {
                    let cf = self.state.cf();
                    self.state.set_cf_of(cf, cf);
                }
            }
        }
        Ok(())
    }
}

/// MASKMOVQ and MASKMOVDQU: bytes whose mask byte has its sign set are stored.
pub(crate) fn mask_move(cpu: &mut Cpu, bus: &mut dyn Bus, seg: SegReg, off: u64, imm: u32) -> Res<()> {
    let v = |n: u32| cpu.state.vectors[(n & 31) as usize];
    let (data, mask) = (v(imm >> 8), v(imm >> 16));
    let n = if imm >> 24 & 1 != 0 { 8 } else { 16 };
    // Faults are those of the whole operand, even if no byte is selected.
    cpu.probe_seg(seg, off, n as u8)?;
    for i in 0..n {
        if mask >> (i * 8 + 7) & 1 != 0 {
            cpu.write_seg(bus, seg, off.wrapping_add(i) & 0xffff_ffff, (data >> (i * 8)) as u8)?;
        }
    }
    Ok(())
}

/// What only the 8086 or the 80286 does; `what` is one of the constants of [`crate::lift::i8086`] or
/// [`crate::lift::i286`].
pub(crate) fn i8086(cpu: &mut Cpu, bus: &mut dyn Bus, a: u64, b: u64, what: u32) -> Res<()> {
    use crate::lift::{i286, i8086 as op};
    let w = Width::of_bytes((what >> 8 & 0xff) as usize);
    match what & 0xff {
        op::POP_CS => {
            let sp = cpu.state.gpr(slot::RSP) & 0xffff;
            let cs = cpu.read_seg::<u16>(bus, SegReg::Ss, sp)?;
            let old = cpu.state.gpr(slot::RSP);
            cpu.state.set_gpr(slot::RSP, old & !0xffff | sp.wrapping_add(2) & 0xffff);
            cpu.load_seg(bus, SegReg::Cs, cs)
        }
        op::SETMO => {
            // D0-D3 /6: all ones and the flags of a logical result, if the count is not zero.
            let r = if b & 0xff != 0 { w.mask() } else { a };
            if b & 0xff != 0 {
                cpu.state.flags_logic(w, r);
            }
            cpu.state.slots[slot::VTEMP_8086 as usize] = r;
            Ok(())
        }
        i286::SHIFT_LEFT | i286::SHIFT_RIGHT if b & 0xff == 0 => Ok(()),
        i286::SHIFT_LEFT => {
            // The last step adds the operand to itself: AF is the carry from bit 3 to bit 4.
            cpu.state.set_af(a >> 4 & 1 != 0);
            Ok(())
        }
        i286::SHIFT_RIGHT => {
            cpu.state.set_af(true);
            Ok(())
        }
        i286::MULTIPLY => {
            cpu.state.set_zsp(w, a);
            cpu.state.set_af(true);
            Ok(())
        }
        i286::PROBE_PUSHA => {
            let sp = cpu.state.gpr(slot::RSP);
            (1..=8).try_for_each(|n| cpu.probe_seg(SegReg::Ss, sp.wrapping_sub(2 * n) & 0xffff, 2))
        }
        i286::DIVIDE | i286::DIVIDE_SIGNED => {
            divide_flags_286(cpu, w, what & 0xff == i286::DIVIDE_SIGNED, a, b);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The flags that DIV and IDIV leave on the 80286, whether they succeed or raise #DE: those of the microcode's last
/// subtraction. `hi` is the upper half of the dividend.
fn divide_flags_286(cpu: &mut Cpu, w: Width, signed: bool, hi: u64, divisor: u64) {
    let (n, mask) = (w.bits(), w.mask());
    let negative = |v: u64, bits: u32| v >> (bits - 1) & 1 != 0;
    let (hi, d, lo) = (hi & mask, divisor & mask, cpu.state.gpr(slot::RAX) & mask);
    let wide = hi << n | lo;
    // One step of the long division: the next bit of the dividend comes in.
    let shifted = |r: u64, dividend: u64, bit: u32| r << 1 | dividend >> bit & 1;
    if signed {
        // The magnitudes are divided; a bit shifted out at the top is lost. The remainder gets the dividend's sign.
        let dividend = if negative(wide, 2 * n) { wide.wrapping_neg() } else { wide };
        let by = if negative(d, n) { d.wrapping_neg() & mask } else { d };
        let mut r = dividend >> n & mask;
        for bit in (0..n).rev() {
            let x = shifted(r, dividend, bit) & mask;
            r = if x >= by { x - by } else { x };
        }
        let carry = (r < by) != negative(d, n);
        cpu.state.set_zsp(w, if negative(wide, 2 * n) { r.wrapping_neg() & mask } else { r });
        cpu.state.set_cf_of(carry, carry);
        cpu.state.set_af(true);
    } else if hi < d {
        let (mut r, mut last) = (hi, hi);
        for bit in (0..n).rev() {
            last = shifted(r, wide, bit);
            r = if last >= d { last - d } else { last };
        }
        let carry = last & mask < d;
        cpu.state.set_zsp(w, r);
        cpu.state.set_cf_of(carry, carry);
        cpu.state.set_af(true);
    } else {
        // A quotient too large begins with a subtraction, so the loop is one step short.
        let (mut r, mut last) = (hi - d, hi);
        for bit in (1..n).rev() {
            let x = shifted(r, wide, bit);
            last = x & mask;
            r = if x >= d { (x - d) & mask } else { x };
        }
        cpu.state.flags_sub(w, last, d, last.wrapping_sub(d) & mask);
    }
}

/// Which state [`super::fpu_env`] moves.
pub mod env {
    /// FSTENV.
    pub const FSTENV: u32 = 0;
    /// FLDENV.
    pub const FLDENV: u32 = 1;
    /// FSAVE.
    pub const FSAVE: u32 = 2;
    /// FRSTOR.
    pub const FRSTOR: u32 = 3;
    /// FXSAVE.
    pub const FXSAVE: u32 = 4;
    /// FXRSTOR.
    pub const FXRSTOR: u32 = 5;
}
