//! The stack: reads that move nothing, and frames that are checked before the first byte is written.

use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::mmu::shadow;
use crate::model::Model;
use crate::state::{SegReg, Segment, attr, mode};

const RSP: u8 = crate::state::slot::RSP;

/// A stack to push a frame on; not necessarily the current one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    /// Stack segment.
    pub seg: Segment,
    /// ESP before the pushes.
    pub sp: u64,
    /// The writes have the rights of CPL 3.
    pub user: bool,
    /// Error code of the #SS that a frame beyond the limit raises.
    pub error: u32,
}

/// The part of ESP that a stack segment uses.
pub(super) fn mask(seg: &Segment) -> u64 {
    if seg.big() { 0xffff_ffff } else { 0xffff }
}

impl Cpu {
    /// The bits of ESP that the current stack segment uses.
    pub(crate) fn sp_mask(&self) -> u64 {
        mask(&self.state.segs[SegReg::Ss as usize])
    }

    /// Sets ESP, or only SP with a 16-bit stack segment.
    pub(crate) fn set_sp(&mut self, v: u64) {
        let m = self.sp_mask();
        let old = self.state.gpr(RSP);
        self.state.set_gpr(RSP, old & 0xffff_ffff & !m | v & m);
    }

    /// Reads `osize` bytes at `delta` above the stack pointer; nothing moves.
    pub(crate) fn stack_read(&mut self, bus: &mut dyn Bus, delta: u64, osize: u8) -> Res<u32> {
        const FLAT32: u32 = mode::FLAT << SegReg::Ss as u32 | mode::STACK32;
        if osize == 4 && self.state.mode & (FLAT32 | mode::CHECKED) == FLAT32 {
            let at = self.state.gpr(RSP).wrapping_add(delta) & 0xffff_ffff;
            let user = self.user();
            return self.read_lin::<u32>(bus, at, user);
        }
        let at = self.state.gpr(RSP).wrapping_add(delta) & self.sp_mask();
        if osize == 2 {
            self.read_seg::<u16>(bus, SegReg::Ss, at).map(u32::from)
        } else {
            self.read_seg::<u32>(bus, SegReg::Ss, at)
        }
    }

    /// The current stack, for a frame; a limit violation has error code `error`.
    pub(super) fn current_stack(&self, error: u32) -> Stack {
        Stack { seg: self.state.segs[SegReg::Ss as usize], sp: self.state.gpr(RSP), user: self.user(), error }
    }

    fn stack_lin(&self, st: &Stack, off: u64, size: u64) -> Res<u64> {
        let s = &st.seg;
        let last = off + (size - 1);
        let denied = self.state.protected() && s.attr & (attr::P | attr::CODE | attr::RW) != attr::P | attr::RW;
        let outside = if s.attr & (attr::CODE | attr::EC) == attr::EC {
            off <= u64::from(s.limit) || last > mask(s)
        } else {
            last > u64::from(s.limit)
        };
        if denied || outside {
            return Err(Fault::ss(st.error));
        }
        Ok(s.base.wrapping_add(off) & 0xffff_ffff)
    }

    /// [`Cpu::push_frame`] on a flat stack inside one page of RAM that can be written: what kernels have.
    fn push_plain(&mut self, st: &Stack, osize: u8, values: &[u32]) -> Option<u64> {
        let len = 4 * values.len() as u64;
        let low = st.sp.wrapping_sub(len) & 0xffff_ffff;
        let checked = st.user || self.state.dr[7] & 0xff != 0;
        if osize != 4 || checked || !st.seg.is_flat() || !st.seg.big() || (low & 0xfff) + len > 4096 {
            return None;
        }
        let e = self.shadow.get(0, low);
        if e & (shadow::W | shadow::IO) != shadow::W || st.seg.attr & attr::CODE != 0 {
            return None;
        }
        for (v, i) in values.iter().rev().zip(0..) {
            self.ram.write::<u32>(((e & !0xfff) | (low & 0xfff)) as usize + 4 * i, *v);
        }
        Some(low)
    }

    /// Pushes `values`, first one first, `osize` bytes each, on `st`. Everything is checked before anything is written.
    /// Returns the new ESP, which the caller commits.
    pub(super) fn push_frame(&mut self, bus: &mut dyn Bus, st: &Stack, osize: u8, values: &[u32]) -> Res<u64> {
        if let Some(sp) = self.push_plain(st, osize, values) {
            return Ok(sp);
        }
        let m = mask(&st.seg);
        let size = u64::from(osize);
        let at = |i: usize| st.sp.wrapping_sub(size * (i as u64 + 1)) & m;
        if self.model != Model::I8086 {
            for i in 0..values.len() {
                let lin = self.stack_lin(st, at(i), size)?;
                if st.user {
                    self.check_alignment(lin, size)?;
                }
                self.probe_write(lin, osize, st.user)?;
            }
        }
        for (i, v) in values.iter().enumerate() {
            if self.model == Model::I8086 {
                self.write_seg::<u16>(bus, SegReg::Ss, at(i), *v as u16)?;
                continue;
            }
            let lin = self.stack_lin(st, at(i), size)?;
            self.watch_data(lin, size, true);
            if osize == 2 {
                self.write_lin::<u16>(bus, lin, st.user, *v as u16)?;
            } else {
                self.write_lin::<u32>(bus, lin, st.user, *v)?;
            }
        }
        let new = st.sp.wrapping_sub(size * values.len() as u64);
        Ok(st.sp & 0xffff_ffff & !m | new & m)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, sel};
    use super::*;

    #[test]
    fn push_wraps_at_64k_and_keeps_the_upper_half() {
        let mut r = Rig::real(Model::I386);
        r.cpu.state.set_gpr(RSP, 0xdead_0000);
        r.push(2, 0x1234).unwrap();
        assert_eq!(r.cpu.state.gpr(RSP), 0xdead_fffe);
        assert_eq!(r.pop(2), Ok(0x1234));
        assert_eq!(r.cpu.state.gpr(RSP), 0xdead_0000);
        r.cpu.state.set_gpr(RSP, 1);
        assert_eq!(r.push(2, 0), Err(Fault::ss(0)));
        assert_eq!(r.cpu.state.gpr(RSP), 1);
    }

    #[test]
    fn the_8086_wraps_inside_a_word() {
        let mut r = Rig::real(Model::I8086);
        r.cpu.state.segs[2] = Segment::real(0x100);
        r.cpu.state.set_gpr(RSP, 1);
        r.push(2, 0x1234).unwrap();
        assert_eq!((r.byte(0x1000 + 0xffff), r.byte(0x1000)), (0x34, 0x12));
    }

    #[test]
    fn a_frame_that_does_not_fit_writes_nothing() {
        let mut r = Rig::protected(Model::Max);
        r.run(|c, b| c.load_seg(b, SegReg::Ss, sel::EXPAND_DOWN)).unwrap();
        // Valid offsets are 1000h to ffffh.
        r.cpu.state.set_gpr(RSP, 0x1008);
        let st = r.cpu.current_stack(7);
        assert_eq!(r.run(|c, b| c.push_frame(b, &st, 4, &[1, 2, 3])), Err(Fault::ss(7)));
        assert_eq!(r.dword(0x1004), 0);
        assert_eq!(r.run(|c, b| c.push_frame(b, &st, 4, &[1, 2])), Ok(0x1000));
        assert_eq!((r.dword(0x1004), r.dword(0x1000)), (1, 2));
        assert_eq!(r.cpu.state.gpr(RSP), 0x1008);
    }
}
