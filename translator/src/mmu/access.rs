//! Loads and stores of the guest: segment checks, the shadow's fast path, and the slow path to walks and devices.

use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res, vector};
use crate::mmu::ram::Word;
use crate::mmu::shadow;
use crate::mmu::walk::Access;
use crate::model::Model;
use crate::state::{SegReg, attr, cr, eflags, mode};

/// A word of guest memory that fits the 64-bit slow path.
pub trait Data: Word + From<u8> + Into<u64> {
    /// Truncates.
    fn cut(v: u64) -> Self;
}
impl Data for u8 {
    fn cut(v: u64) -> Self {
        v as u8
    }
}
impl Data for u16 {
    fn cut(v: u64) -> Self {
        v as u16
    }
}
impl Data for u32 {
    fn cut(v: u64) -> Self {
        v as u32
    }
}
impl Data for u64 {
    fn cut(v: u64) -> Self {
        v
    }
}

impl Cpu {
    /// Applies the A20 gate and the physical address width of the model.
    pub(crate) fn mask_phys(&self, addr: u64) -> u64 {
        addr & self.phys_mask
    }

    /// True if the current privilege reads through the user's view.
    #[inline(always)]
    pub(crate) fn user(&self) -> bool {
        self.state.cpl == 3
    }

    /// Reads a word at linear address `lin` with the rights of `user`.
    #[inline(always)]
    pub(crate) fn read_lin<T: Data>(&mut self, bus: &mut dyn Bus, lin: u64, user: bool) -> Res<T> {
        let e = self.shadow.get(usize::from(user), lin);
        let off = lin & 0xfff;
        if e & (shadow::R | shadow::IO) == shadow::R && off <= 4096 - size_of::<T>() as u64 {
            return Ok(self.ram.read(((e & !0xfff) | off) as usize));
        }
        self.read_slow(bus, lin, size_of::<T>() as u8, user).map(T::cut)
    }

    /// Writes a word at linear address `lin` with the rights of `user`.
    #[inline(always)]
    pub(crate) fn write_lin<T: Data>(&mut self, bus: &mut dyn Bus, lin: u64, user: bool, v: T) -> Res<()> {
        let e = self.shadow.get(usize::from(user), lin);
        let off = lin & 0xfff;
        if e & (shadow::W | shadow::IO) == shadow::W && off <= 4096 - size_of::<T>() as u64 {
            self.ram.write(((e & !0xfff) | off) as usize, v);
            return Ok(());
        }
        self.write_slow(bus, lin, size_of::<T>() as u8, user, v.into())
    }

    #[cold]
    #[inline(never)]
    fn read_slow(&mut self, bus: &mut dyn Bus, lin: u64, size: u8, user: bool) -> Res<u64> {
        let lin = lin & 0xffff_ffff;
        let room = 4096 - (lin & 0xfff);
        if u64::from(size) > room {
            let next = (lin & !0xfff).wrapping_add(4096) & 0xffff_ffff;
            self.check_wrap(next)?;
            let a = self.translate(lin, Access::Read, user)?;
            let b = self.translate(next, Access::Read, user)?;
            let mut v = 0;
            for i in 0..u64::from(size) {
                let (e, at) = if i < room { (a, lin + i) } else { (b, next + i - room) };
                v |= self.read_entry(bus, e, at, 1) << (8 * i);
            }
            return Ok(v);
        }
        let e = self.translate(lin, Access::Read, user)?;
        Ok(self.read_entry(bus, e, lin, size))
    }

    /// Unchecked accesses through flat segments end at 4 GiB: an operand that wraps is beyond the limit.
    fn check_wrap(&self, next: u64) -> Res<()> {
        let flat = mode::FLAT << SegReg::Ss as u32 | mode::FLAT << SegReg::Ds as u32;
        if next == 0 && self.state.mode & flat == flat { Err(Fault::gp(0)) } else { Ok(()) }
    }

    fn read_entry(&mut self, bus: &mut dyn Bus, e: u64, lin: u64, size: u8) -> u64 {
        let at = (e & !0xfff) | (lin & 0xfff);
        if e & shadow::IO != 0 {
            self.stats.mmio += 1;
            let retired = self.now();
            let v = bus.mem_read(retired, at, size);
            self.after_device();
            return v & (u64::MAX >> (64 - 8 * u32::from(size)));
        }
        let ram = self.mem.ram();
        match size {
            1 => u64::from(ram.read::<u8>(at as usize)),
            2 => u64::from(ram.read::<u16>(at as usize)),
            4 => u64::from(ram.read::<u32>(at as usize)),
            _ => ram.read::<u64>(at as usize),
        }
    }

    #[cold]
    #[inline(never)]
    fn write_slow(&mut self, bus: &mut dyn Bus, lin: u64, size: u8, user: bool, v: u64) -> Res<()> {
        let lin = lin & 0xffff_ffff;
        let room = 4096 - (lin & 0xfff);
        if u64::from(size) > room {
            let next = (lin & !0xfff).wrapping_add(4096) & 0xffff_ffff;
            self.check_wrap(next)?;
            self.translate(lin, Access::Write, user)?;
            self.translate(next, Access::Write, user)?;
            for i in 0..u64::from(size) {
                let at = if i < room { lin + i } else { next + i - room };
                let e = self.translate(at, Access::Write, user)?;
                self.write_entry(bus, e, at, 1, user, v >> (8 * i))?;
            }
            return Ok(());
        }
        let e = self.translate(lin, Access::Write, user)?;
        self.write_entry(bus, e, lin, size, user, v)
    }

    fn write_entry(&mut self, bus: &mut dyn Bus, e: u64, lin: u64, size: u8, user: bool, v: u64) -> Res<()> {
        let at = (e & !0xfff) | (lin & 0xfff);
        if e & (shadow::IO | shadow::GUEST_W) == shadow::GUEST_W {
            self.ram_write(at, size, v);
            if !self.mem.is_code(e & !0xfff) {
                self.shadow.fill(usize::from(user), lin, e | shadow::W);
            }
            return Ok(());
        }
        let phys = self.write_target(lin, user)? | (lin & 0xfff);
        if let Some(page) = self.mem.page(phys).write {
            self.ram_write(page | (lin & 0xfff), size, v);
            return Ok(());
        }
        self.stats.mmio += 1;
        let retired = self.now();
        bus.mem_write(retired, phys, size, v & (u64::MAX >> (64 - 8 * u32::from(size))));
        self.after_device();
        Ok(())
    }

    /// Stores into RAM at byte offset `at` and drops translated code made from those bytes.
    fn ram_write(&mut self, at: u64, size: u8, v: u64) {
        let ram = self.mem.ram();
        match size {
            1 => ram.write(at as usize, v as u8),
            2 => ram.write(at as usize, v as u16),
            4 => ram.write(at as usize, v as u32),
            _ => ram.write(at as usize, v),
        }
        self.code_written(at, u64::from(size));
    }

    /// Raises what a write of `size` bytes at `lin` would raise, and leaves its page's dirty bit set, so that the write
    /// that follows cannot fault. Read-modify-write instructions fault as writes (SDM vol. 3, 4.7).
    #[inline(always)]
    pub(crate) fn probe_write(&mut self, lin: u64, size: u8, user: bool) -> Res<()> {
        let e = self.shadow.get(usize::from(user), lin);
        if e & shadow::W != 0 && (lin & 0xfff) + u64::from(size) <= 4096 {
            return Ok(());
        }
        let lin = lin & 0xffff_ffff;
        self.translate(lin, Access::Write, user)?;
        if (lin & 0xfff) + u64::from(size) > 4096 {
            self.translate((lin & !0xfff).wrapping_add(4096) & 0xffff_ffff, Access::Write, user)?;
        }
        Ok(())
    }

    /// Checks `size` bytes at offset `off` of `seg` and returns their linear address (SDM vol. 3, 5.3): limit, type,
    /// null selector; also alignment (#AC) and data breakpoints.
    pub(crate) fn seg_lin(&mut self, seg: SegReg, off: u64, size: u64, write: bool) -> Res<u64> {
        let s = &self.state.segs[seg as usize];
        // In real mode the 80286 reports the stack's limit like any other (vector 13).
        let stack = seg == SegReg::Ss && (self.model != Model::I286 || self.state.protected());
        let bad = || if stack { Fault::ss(0) } else { Fault::gp(0) };
        let off = off & 0xffff_ffff;
        let last = off + (size - 1);
        let code = s.attr & attr::CODE != 0;
        if self.state.protected() {
            if !s.present() {
                return Err(bad());
            }
            let denied = if write { code || s.attr & attr::RW == 0 } else { code && s.attr & attr::RW == 0 };
            if denied {
                return Err(bad());
            }
        }
        if !code && s.attr & attr::EC != 0 {
            let top = if s.big() { u64::from(u32::MAX) } else { 0xffff };
            if off <= u64::from(s.limit) || last > top {
                return Err(bad());
            }
        } else if last > u64::from(s.limit) {
            return Err(bad());
        }
        let lin = s.base.wrapping_add(off) & 0xffff_ffff;
        if self.user() {
            self.check_alignment(lin, size)?;
        }
        self.watch_data(lin, size, write);
        Ok(lin)
    }

    /// #AC(0) for a misaligned access at CPL 3 when CR0.AM and EFLAGS.AC are set.
    pub(crate) fn check_alignment(&self, lin: u64, size: u64) -> Res<()> {
        let on = self.state.cpl == 3 && self.state.cr0 & cr::AM != 0 && self.state.sys_flags & eflags::AC != 0;
        // An 80-bit operand is aligned like a quadword.
        let align = if size == 10 { 8 } else { size };
        if on && align.is_power_of_two() && align <= 8 && lin & (align - 1) != 0 {
            return Err(Fault::with(vector::AC, 0));
        }
        Ok(())
    }

    /// Notes data breakpoints that `size` bytes at `lin` hit (SDM vol. 3, 17.2.4).
    pub(crate) fn watch_data(&mut self, lin: u64, size: u64, write: bool) {
        if self.state.dr[7] & 0xff == 0 {
            return;
        }
        for i in 0..4 {
            let kind = self.state.dr[7] >> (16 + i * 4) & 3;
            let len = [1, 2, 8, 4][(self.state.dr[7] >> (18 + i * 4) & 3) as usize];
            if self.state.dr[7] >> (i * 2) & 3 == 0 || !(kind == 3 || (kind == 1 && write)) {
                continue;
            }
            let start = self.state.dr[i as usize] & !(len - 1) & 0xffff_ffff;
            if lin < start + len && start < lin + size {
                self.state.pending_debug |= 1 << i;
                self.bail = true;
            }
        }
    }

    /// Reads a word at `seg:off` with all checks, at the current privilege.
    #[inline]
    pub(crate) fn read_seg<T: Data>(&mut self, bus: &mut dyn Bus, seg: SegReg, off: u64) -> Res<T> {
        if self.model == Model::I8086 {
            return self.read_8086(bus, seg, off, size_of::<T>()).map(T::cut);
        }
        let lin = self.seg_lin(seg, off, size_of::<T>() as u64, false)?;
        let user = self.user();
        self.read_lin(bus, lin, user)
    }

    /// Writes a word at `seg:off` with all checks, at the current privilege.
    #[inline]
    pub(crate) fn write_seg<T: Data>(&mut self, bus: &mut dyn Bus, seg: SegReg, off: u64, v: T) -> Res<()> {
        if self.model == Model::I8086 {
            return self.write_8086(bus, seg, off, size_of::<T>(), v.into());
        }
        let lin = self.seg_lin(seg, off, size_of::<T>() as u64, true)?;
        let user = self.user();
        self.write_lin(bus, lin, user, v)
    }

    /// Raises what a write to `seg:off` would raise.
    pub(crate) fn probe_seg(&mut self, seg: SegReg, off: u64, size: u8) -> Res<()> {
        if self.model == Model::I8086 {
            return Ok(());
        }
        let lin = self.seg_lin(seg, off, u64::from(size), true)?;
        let user = self.user();
        self.probe_write(lin, size, user)
    }

    // The 8086 wraps an operand inside its 64 KiB segment.
    fn read_8086(&mut self, bus: &mut dyn Bus, seg: SegReg, off: u64, size: usize) -> Res<u64> {
        let base = self.state.segs[seg as usize].base;
        let mut v = 0;
        for i in 0..size as u64 {
            let lin = (base + (off.wrapping_add(i) & 0xffff)) & 0xf_ffff;
            v |= u64::from(self.read_lin::<u8>(bus, lin, false)?) << (8 * i);
        }
        Ok(v)
    }

    fn write_8086(&mut self, bus: &mut dyn Bus, seg: SegReg, off: u64, size: usize, v: u64) -> Res<()> {
        let base = self.state.segs[seg as usize].base;
        for i in 0..size as u64 {
            let lin = (base + (off.wrapping_add(i) & 0xffff)) & 0xf_ffff;
            self.write_lin::<u8>(bus, lin, false, (v >> (8 * i)) as u8)?;
        }
        Ok(())
    }
}
