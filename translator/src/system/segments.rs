//! Loading segment registers, LDTR and TR, and the instructions that look at descriptors (SDM vol. 3, 5.4 to 5.10).

use super::descriptor::{Descriptor, code, is_null, kind, rpl};
use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::frame::Loaded;
use crate::state::{SegReg, Segment, attr, cr};

/// Attributes of every segment register in virtual-8086 mode: a writable data segment of DPL 3.
pub(super) const V86_DATA: u32 = attr::REAL_DATA | 3 << 13;

impl Cpu {
    /// What a load of `seg` with `sel` gives outside protected mode.
    ///
    /// Real mode changes the selector and the base only, so that a limit or size left over from protected mode stays
    /// ("unreal mode"); the access rights become those of a writable segment of DPL 0. Virtual-8086 mode has fixed
    /// limits and rights.
    pub(crate) fn real_segment(&self, seg: SegReg, sel: u16) -> Segment {
        let base = u64::from(sel) << 4;
        if self.state.v86() {
            return Segment { base, limit: 0xffff, attr: V86_DATA, selector: sel };
        }
        let old = &self.state.segs[seg as usize];
        let rights = if seg == SegReg::Cs { attr::REAL_CODE } else { attr::REAL_DATA };
        Segment { base, limit: old.limit, attr: old.attr & (attr::DB | attr::G) | rights, selector: sel }
    }

    /// A null data segment register. The limit stays, as real mode can see it again.
    pub(crate) fn null_segment(&self, seg: SegReg, sel: u16) -> Segment {
        Segment { base: 0, limit: self.state.segs[seg as usize].limit, attr: 0, selector: sel }
    }

    /// Checks `sel` as a stack segment for privilege `cpl`; `bad` makes the fault for everything but a segment that is
    /// not present (#SS).
    pub(crate) fn stack_descriptor(
        &mut self,
        bus: &mut dyn Bus,
        sel: u16,
        cpl: u8,
        bad: fn(u32) -> Fault,
        ext: u32,
    ) -> Res<Descriptor> {
        if is_null(sel) {
            return Err(bad(ext));
        }
        let error = code(sel) | ext;
        let d = self.find_descriptor(bus, sel)?.ok_or(bad(error))?;
        if rpl(sel) != cpl || !d.is_writable() || d.dpl() != cpl {
            return Err(bad(error));
        }
        if !d.present() {
            return Err(Fault::ss(error));
        }
        Ok(d)
    }

    /// Checks `sel`, which is not null, as a segment for DS, ES, FS or GS at privilege `cpl`.
    pub(crate) fn data_descriptor(
        &mut self,
        bus: &mut dyn Bus,
        sel: u16,
        cpl: u8,
        bad: fn(u32) -> Fault,
        ext: u32,
    ) -> Res<Descriptor> {
        let error = code(sel) | ext;
        let d = self.find_descriptor(bus, sel)?.ok_or(bad(error))?;
        if !d.is_readable() || (!d.is_conforming() && (rpl(sel) > d.dpl() || cpl > d.dpl())) {
            return Err(bad(error));
        }
        if !d.present() {
            return Err(Fault::np(error));
        }
        Ok(d)
    }

    /// Loads a segment register other than CS (MOV, POP, LDS and the like). On the 8086 CS too.
    pub(crate) fn load_seg(&mut self, bus: &mut dyn Bus, seg: SegReg, sel: u16) -> Res<()> {
        let mut loaded = Loaded::default();
        let new = if !self.state.protected() {
            self.real_segment(seg, sel)
        } else if seg == SegReg::Ss {
            let mut d = self.stack_descriptor(bus, sel, self.state.cpl, Fault::gp, 0)?;
            self.mark_accessed(bus, &mut d)?;
            d.segment()
        } else if is_null(sel) {
            self.null_segment(seg, sel)
        } else {
            let mut d = self.data_descriptor(bus, sel, self.state.cpl, Fault::gp, 0)?;
            self.mark_accessed(bus, &mut d)?;
            if d.at & 0xfff <= 0xff8 {
                let descriptor = u64::from(d.hi) << 32 | u64::from(d.lo);
                loaded = Loaded { selector: sel.into(), at: d.at as u32, descriptor, segment: d.segment() };
                if self.state.frame.loaded_segs[seg as usize] == loaded {
                    // Compiled code has looked for it in vain, since the table's page is not in the window.
                    self.shadow.window_miss(0, d.at, 8, false);
                }
            }
            d.segment()
        };
        let old = std::mem::replace(&mut self.state.segs[seg as usize], new);
        // The 8086 loads CS this way too; nothing else does.
        if seg == SegReg::Cs {
            self.state.update_mode();
        } else if (old.base, old.limit, old.attr) != (new.base, new.limit, new.attr) {
            self.state.update_segment(seg);
        }
        self.state.frame.loaded_segs[seg as usize] = loaded;
        Ok(())
    }

    fn require_protected(&self) -> Res<()> {
        if self.state.protected() { Ok(()) } else { Err(Fault::ud()) }
    }

    /// #GP(0) unless CPL is 0.
    pub(crate) fn require_cpl0(&self) -> Res<()> {
        if self.state.cpl == 0 { Ok(()) } else { Err(Fault::gp(0)) }
    }

    /// LLDT.
    pub(crate) fn load_ldt(&mut self, bus: &mut dyn Bus, sel: u16) -> Res<()> {
        self.require_protected()?;
        self.require_cpl0()?;
        self.state.ldtr = self.ldt_segment(bus, sel, Fault::gp, Fault::np, 0)?;
        self.state.forget_descriptors();
        Ok(())
    }

    /// Resolves an LDT selector, null included.
    pub(super) fn ldt_segment(
        &mut self,
        bus: &mut dyn Bus,
        sel: u16,
        bad: fn(u32) -> Fault,
        absent: fn(u32) -> Fault,
        ext: u32,
    ) -> Res<Segment> {
        if is_null(sel) {
            return Ok(Segment { selector: sel, ..Segment::default() });
        }
        let error = code(sel) | ext;
        if sel & 4 != 0 {
            return Err(bad(error));
        }
        let d = self.find_descriptor(bus, sel)?.ok_or(bad(error))?;
        if d.system_type() != kind::LDT {
            return Err(bad(error));
        }
        if !d.present() {
            return Err(absent(error));
        }
        Ok(d.segment())
    }

    /// LTR: the TSS becomes busy.
    pub(crate) fn load_tr(&mut self, bus: &mut dyn Bus, sel: u16) -> Res<()> {
        self.require_protected()?;
        self.require_cpl0()?;
        if is_null(sel) {
            return Err(Fault::gp(0));
        }
        let mut d = self.tss_descriptor(bus, sel, false, Fault::gp, 0)?;
        self.set_busy(bus, &mut d, true)?;
        self.state.tr = d.segment();
        Ok(())
    }

    /// The descriptor of `sel`; #GP(0) for a null selector, #GP(selector) for one outside its table.
    pub(crate) fn read_descriptor(&mut self, bus: &mut dyn Bus, sel: u16) -> Res<Descriptor> {
        if is_null(sel) {
            return Err(Fault::gp(0));
        }
        self.find_descriptor(bus, sel)?.ok_or(Fault::gp(code(sel)))
    }

    /// The descriptor LAR, LSL, VERR and VERW look at, if there is one that the present privilege may see.
    fn visible_descriptor(&mut self, bus: &mut dyn Bus, sel: u16) -> Res<Option<Descriptor>> {
        self.require_protected()?;
        if is_null(sel) {
            return Ok(None);
        }
        let cpl = self.state.cpl;
        Ok(self.find_descriptor(bus, sel)?.filter(|d| d.is_conforming() || (d.dpl() >= cpl && d.dpl() >= rpl(sel))))
    }

    /// LAR: the access rights in the positions of the descriptor's second doubleword, or `None` for ZF clear.
    pub(crate) fn lar(&mut self, bus: &mut dyn Bus, sel: u16) -> Res<Option<u32>> {
        use kind::*;
        let found = self.visible_descriptor(bus, sel)?.filter(|d| {
            let t = d.system_type();
            d.is_segment() || matches!(t, TSS16 | LDT | TSS16_BUSY | CALL16 | TASK | TSS32 | TSS32_BUSY | CALL32)
        });
        Ok(found.map(|d| d.hi & attr::MASK))
    }

    /// LSL: the limit in bytes, or `None` for ZF clear.
    pub(crate) fn lsl(&mut self, bus: &mut dyn Bus, sel: u16) -> Res<Option<u32>> {
        use kind::*;
        let found = self
            .visible_descriptor(bus, sel)?
            .filter(|d| d.is_segment() || matches!(d.system_type(), TSS16 | LDT | TSS16_BUSY | TSS32 | TSS32_BUSY));
        Ok(found.map(|d| d.limit()))
    }

    /// VERR: true for ZF set.
    pub(crate) fn verr(&mut self, bus: &mut dyn Bus, sel: u16) -> Res<bool> {
        Ok(self.visible_descriptor(bus, sel)?.is_some_and(|d| d.is_readable()))
    }

    /// VERW: true for ZF set.
    pub(crate) fn verw(&mut self, bus: &mut dyn Bus, sel: u16) -> Res<bool> {
        Ok(self.visible_descriptor(bus, sel)?.is_some_and(|d| d.is_writable()))
    }

    /// After a return to an outer privilege: data segments that it may not use become null (SDM vol. 3, 5.8.6). The
    /// caller updates the mode bits of CS and SS.
    pub(super) fn drop_inner_segments(&mut self) {
        for seg in [SegReg::Es, SegReg::Ds, SegReg::Fs, SegReg::Gs] {
            let s = &self.state.segs[seg as usize];
            let conforming = s.attr & (attr::CODE | attr::EC) == attr::CODE | attr::EC;
            if s.present() && !conforming && s.dpl() < self.state.cpl {
                self.state.segs[seg as usize] = self.null_segment(seg, 0);
                self.state.update_segment(seg);
            }
        }
    }

    /// Puts a code descriptor into CS at privilege `cpl`. The caller updates the mode bits.
    pub(super) fn set_cs(&mut self, d: &Descriptor, cpl: u8) {
        let mut s = d.segment();
        s.selector = s.selector & !3 | u16::from(cpl);
        self.state.segs[SegReg::Cs as usize] = s;
        self.state.cpl = cpl;
    }

    /// True in real mode.
    pub(super) fn real_mode(&self) -> bool {
        self.state.cr0 & cr::PE == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, sel};
    use super::*;
    use crate::model::Model;

    #[test]
    fn real_mode_keeps_limit_and_size() {
        let mut r = Rig::real(Model::I486);
        r.cpu.state.segs[3].limit = 0xffff_ffff;
        r.cpu.state.segs[3].attr |= attr::DB;
        r.run(|c, b| c.load_seg(b, SegReg::Ds, 0x1234)).unwrap();
        let ds = r.cpu.state.segs[3];
        assert_eq!((ds.base, ds.limit, ds.selector), (0x12340, 0xffff_ffff, 0x1234));
        assert_eq!(ds.attr, attr::REAL_DATA | attr::DB);
    }

    #[test]
    fn data_segment_checks() {
        let mut r = Rig::protected(Model::Max);
        let mut load = |seg, s| r.run(|c, b| c.load_seg(b, seg, s));
        assert_eq!(load(SegReg::Ds, sel::DATA0), Ok(()));
        assert_eq!(load(SegReg::Ds, sel::CODE0), Ok(()));
        assert_eq!(load(SegReg::Ds, sel::EXEC_ONLY), Err(Fault::gp(sel::EXEC_ONLY.into())));
        assert_eq!(load(SegReg::Ds, sel::DATA0 | 3), Err(Fault::gp(sel::DATA0.into())));
        assert_eq!(load(SegReg::Es, sel::ABSENT), Err(Fault::np(sel::ABSENT.into())));
        assert_eq!(load(SegReg::Ds, sel::TSS_A), Err(Fault::gp(sel::TSS_A.into())));
        assert_eq!(load(SegReg::Ds, 0xfff0), Err(Fault::gp(0xfff0)));
        assert_eq!(load(SegReg::Fs, 3), Ok(()));
        assert_eq!(load(SegReg::Ss, 0), Err(Fault::gp(0)));
        assert_eq!(load(SegReg::Ss, sel::ABSENT), Err(Fault::ss(sel::ABSENT.into())));
        assert_eq!(load(SegReg::Ss, sel::RO_DATA), Err(Fault::gp(sel::RO_DATA.into())));
        assert_eq!(load(SegReg::Ss, sel::DATA3 | 3), Err(Fault::gp(sel::DATA3.into())));
        assert_eq!(load(SegReg::Ss, sel::DATA16), Ok(()));
        assert_eq!(r.cpu.state.segs[4], Segment { base: 0, limit: r.cpu.state.segs[4].limit, attr: 0, selector: 3 });
        assert_eq!(r.cpu.state.segs[2].selector, sel::DATA16);
        assert_eq!(r.cpu.state.segs[3].selector, sel::CODE0);
    }

    /// Flat as it may be, a code segment can only be read through DS (SDM vol. 3, 3.4.5.1).
    #[test]
    fn code_in_a_data_segment_register_is_not_written() {
        let mut r = Rig::protected(Model::Max);
        r.run(|c, b| c.load_seg(b, SegReg::Ds, sel::CODE0)).unwrap();
        // MOV ECX, [3000h]; MOV [3000h], EAX
        r.cpu.mem.dma_write(0x100, &[0x8b, 0x0d, 0, 0x30, 0, 0, 0xa3, 0, 0x30, 0, 0]);
        (r.cpu.state.rip, r.cpu.intercept) = (0x100, true);
        let exit = r.cpu.run(&mut crate::bus::NullBus, 2);
        assert!(matches!(exit, crate::Exit::Exception(f) if f == Fault::gp(0)), "{exit:?}");
        assert_eq!(r.cpu.state.rip, 0x106);
    }

    #[test]
    fn loading_sets_the_accessed_bit() {
        let mut r = Rig::protected(Model::Max);
        let before = r.descriptor(sel::DATA16);
        assert_eq!(before >> 40 & 1, 0);
        r.run(|c, b| c.load_seg(b, SegReg::Es, sel::DATA16)).unwrap();
        assert_eq!(r.descriptor(sel::DATA16), before | 1 << 40);
        assert_ne!(r.cpu.state.segs[0].attr & attr::ACCESSED, 0);
    }

    #[test]
    fn ltr_marks_busy_and_refuses_busy() {
        let mut r = Rig::protected(Model::Max);
        assert_eq!(r.run(|c, b| c.load_tr(b, 0)), Err(Fault::gp(0)));
        assert_eq!(r.run(|c, b| c.load_tr(b, sel::TSS_B)), Ok(()));
        assert_eq!(r.descriptor(sel::TSS_B) >> 40 & 0xf, 0xb);
        assert_eq!(r.run(|c, b| c.load_tr(b, sel::TSS_B)), Err(Fault::gp(sel::TSS_B.into())));
        assert_eq!(r.run(|c, b| c.load_tr(b, sel::DATA0)), Err(Fault::gp(sel::DATA0.into())));
    }

    #[test]
    fn lldt() {
        let mut r = Rig::protected(Model::Max);
        assert_eq!(r.run(|c, b| c.load_ldt(b, sel::DATA0)), Err(Fault::gp(sel::DATA0.into())));
        assert_eq!(r.run(|c, b| c.load_seg(b, SegReg::Ds, 4)), Err(Fault::gp(4)));
        assert_eq!(r.run(|c, b| c.load_ldt(b, sel::LDT)), Ok(()));
        assert_eq!(r.cpu.state.ldtr.selector, sel::LDT);
        assert_eq!(r.run(|c, b| c.load_seg(b, SegReg::Ds, 4)), Ok(()));
        assert_eq!(r.run(|c, b| c.load_ldt(b, 0)), Ok(()));
        assert!(!r.cpu.state.ldtr.present());
        r.cpu.state.cpl = 3;
        assert_eq!(r.run(|c, b| c.load_ldt(b, sel::LDT)), Err(Fault::gp(0)));
    }

    #[test]
    fn lar_lsl_verr_verw() {
        let mut r = Rig::protected(Model::Max);
        // selector, LAR, LSL, VERR, VERW
        type Row = (u16, Option<u32>, Option<u32>, bool, bool);
        let table: [Row; 8] = [
            (0, None, None, false, false),
            (sel::CODE0, Some(0x00c0_9b00), Some(0xffff_ffff), true, false),
            (sel::DATA0, Some(0x00c0_9300), Some(0xffff_ffff), true, true),
            (sel::RO_DATA, Some(0x00c0_9100), Some(0xffff_ffff), true, false),
            (sel::EXEC_ONLY, Some(0x00c0_9900), Some(0xffff_ffff), false, false),
            (sel::TSS_A, Some(0x0000_8b00), Some(0x20ff), false, false),
            (sel::CALL0, Some(0x0000_ec00), None, false, false),
            (0xfff0, None, None, false, false),
        ];
        for (s, lar, lsl, verr, verw) in table {
            assert_eq!(r.run(|c, b| c.lar(b, s)), Ok(lar), "LAR {s:x}");
            assert_eq!(r.run(|c, b| c.lsl(b, s)), Ok(lsl), "LSL {s:x}");
            assert_eq!(r.run(|c, b| c.verr(b, s)), Ok(verr), "VERR {s:x}");
            assert_eq!(r.run(|c, b| c.verw(b, s)), Ok(verw), "VERW {s:x}");
        }
        assert_eq!(r.run(|c, b| c.verr(b, sel::DATA0 | 3)), Ok(false));
        r.cpu.state.cpl = 3;
        assert_eq!(r.run(|c, b| c.lar(b, sel::DATA0)), Ok(None));
        assert_eq!(r.run(|c, b| c.verr(b, sel::CONFORMING)), Ok(true));
        let mut real = Rig::real(Model::Max);
        assert_eq!(real.run(|c, b| c.lar(b, 8)), Err(Fault::ud()));
    }
}
