//! IRET: returns in real mode, in and to virtual-8086 mode, within and out of a privilege level, and out of a nested
//! task (SDM vol. 2, IRET).

use super::descriptor::rpl;
use super::segments::V86_DATA;
use super::task::{Reason, Switch};
use super::transfer::cut;
use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::state::{SegReg, Segment, cr, eflags, slot};

/// EFLAGS bits that every return loads.
const BASE: u32 = eflags::ARITH | eflags::TF | eflags::DF | eflags::NT;
/// Bits that a 32-bit return loads besides.
const WIDE: u32 = eflags::RF | eflags::AC | eflags::ID;

impl Cpu {
    /// Loads the EFLAGS bits of `mask` from `image`.
    pub(super) fn load_flags(&mut self, image: u32, mask: u32) {
        let mask = mask & self.flag_mask();
        let rf = self.state.sys_flags & eflags::RF != 0;
        self.state.set_eflags(self.state.eflags() & !mask | image & mask);
        // An image with RF covers the instruction returned to, even if RF also covered this one.
        if rf && mask & image & eflags::RF != 0 {
            self.rf_loaded = true;
        }
        self.after_device();
    }

    /// IRET, IRETD. `next_ip` is the offset of the next instruction, which a task return saves.
    pub(crate) fn iret(&mut self, bus: &mut dyn Bus, osize: u8, next_ip: u64) -> Res<()> {
        // NMIs are unblocked even if the return faults (SDM vol. 3, 6.7.1).
        self.state.nmi_blocked = false;
        if self.state.protected() {
            if self.state.sys_flags & eflags::NT != 0 {
                return self.iret_task(bus, next_ip);
            }
            return self.iret_protected(bus, osize);
        }
        if self.state.v86() && self.state.iopl() < 3 && (osize != 2 || self.state.cr4 & cr::VME == 0) {
            return Err(Fault::gp(0));
        }
        let size = u64::from(osize);
        let ip = u64::from(self.stack_read(bus, 0, osize)?);
        let sel = self.stack_read(bus, size, osize)? as u16;
        let image = self.stack_read(bus, 2 * size, osize)?;
        let mut mask = if osize == 4 { BASE | WIDE } else { BASE };
        let mut vif = None;
        if !self.state.v86() {
            mask |= eflags::IF | eflags::IOPL;
        } else if self.state.iopl() == 3 {
            mask |= eflags::IF;
        } else {
            let blocked = image & eflags::IF != 0 && self.state.sys_flags & eflags::VIP != 0;
            if blocked || image & eflags::TF != 0 {
                return Err(Fault::gp(0));
            }
            vif = Some(image & eflags::IF != 0);
        }
        self.check_ip(&self.real_segment(SegReg::Cs, sel), ip, 0)?;
        self.set_sp(self.state.gpr(slot::RSP).wrapping_add(3 * size));
        self.enter_real_code(sel, ip);
        self.load_flags(image, mask);
        if let Some(on) = vif {
            self.state.sys_flags = self.state.sys_flags & !eflags::VIF | if on { eflags::VIF } else { 0 };
        }
        Ok(())
    }

    fn iret_protected(&mut self, bus: &mut dyn Bus, osize: u8) -> Res<()> {
        let size = u64::from(osize);
        let ip = u64::from(self.stack_read(bus, 0, osize)?);
        let sel = self.stack_read(bus, size, osize)? as u16;
        let image = self.stack_read(bus, 2 * size, osize)?;
        let cpl = self.state.cpl;
        if osize == 4 && image & eflags::VM != 0 && cpl == 0 {
            return self.iret_to_v86(bus, ip, sel, image);
        }
        let mut mask = if osize == 4 { BASE | WIDE } else { BASE };
        // What may be loaded depends on the privilege before the return.
        if cpl <= self.state.iopl() {
            mask |= eflags::IF;
        }
        if cpl == 0 {
            mask |= eflags::IOPL;
            if osize == 4 {
                mask |= eflags::VIF | eflags::VIP;
            }
        }
        let mut cs = self.return_code(bus, sel)?;
        if rpl(sel) == cpl {
            self.check_ip(&cs.segment(), ip, 0)?;
            self.mark_accessed(bus, &mut cs)?;
            self.set_cs(&cs, cpl);
            self.state.update_mode_for(&[SegReg::Cs]);
            self.state.rip = ip;
            self.set_sp(self.state.gpr(slot::RSP).wrapping_add(3 * size));
        } else {
            let sp = u64::from(self.stack_read(bus, 3 * size, osize)?);
            let ss_sel = self.stack_read(bus, 4 * size, osize)? as u16;
            let mut ss = self.stack_descriptor(bus, ss_sel, rpl(sel), Fault::gp, 0)?;
            self.check_ip(&cs.segment(), ip, 0)?;
            self.mark_accessed(bus, &mut cs)?;
            self.mark_accessed(bus, &mut ss)?;
            self.return_outer(&cs, ip, &ss, sp);
        }
        self.load_flags(image, mask);
        Ok(())
    }

    fn iret_to_v86(&mut self, bus: &mut dyn Bus, ip: u64, cs: u16, image: u32) -> Res<()> {
        let mut rest = [0u32; 6];
        for (i, v) in rest.iter_mut().enumerate() {
            *v = self.stack_read(bus, 12 + 4 * i as u64, 4)?;
        }
        let [sp, ss, es, ds, fs, gs] = rest;
        let ip = cut(ip, 4);
        if ip > 0xffff {
            return Err(Fault::gp(0));
        }
        let sels = [es, u32::from(cs), ss, ds, fs, gs];
        for (seg, sel) in self.state.segs.iter_mut().zip(sels) {
            let selector = sel as u16;
            *seg = Segment { base: u64::from(selector) << 4, limit: 0xffff, attr: V86_DATA, selector };
        }
        self.state.cpl = 3;
        self.state.set_gpr(slot::RSP, u64::from(sp));
        self.state.rip = ip;
        // VM changes, and with it everything that derives from what was set above.
        self.load_flags(image, !0);
        Ok(())
    }

    /// NT is set: back to the task whose selector the current TSS links to.
    fn iret_task(&mut self, bus: &mut dyn Bus, next_ip: u64) -> Res<()> {
        let link = self.read_lin::<u16>(bus, self.state.tr.base & 0xffff_ffff, false)?;
        let tss = self.tss_descriptor(bus, link, true, Fault::ts, 0)?;
        let flags = self.state.eflags() & !eflags::NT;
        self.task_switch(bus, tss, &Switch { reason: Reason::Iret, ext: 0, error: None, ip: next_ip, flags })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, STACK0, STACK3, sel};
    use super::*;
    use crate::model::Model;

    fn push(r: &mut Rig, osize: u8, values: &[u32]) {
        for v in values {
            r.push(osize, *v).unwrap();
        }
    }

    #[test]
    fn real_mode() {
        let mut r = Rig::real(Model::I486);
        r.cpu.state.nmi_blocked = true;
        push(&mut r, 2, &[0x7fd7, 0x1000, 0x55]);
        r.run(|c, b| c.iret(b, 2, 0)).unwrap();
        assert_eq!((r.cs(), r.cpu.state.rip, r.cpu.state.gpr(slot::RSP)), (0x1000, 0x55, STACK0));
        assert_eq!(r.cpu.state.eflags(), 0x7fd7);
        assert!(!r.cpu.state.nmi_blocked);
        let mut r = Rig::real(Model::I286);
        push(&mut r, 2, &[0xffff, 0x1000, 0x55]);
        r.run(|c, b| c.iret(b, 2, 0)).unwrap();
        assert_eq!(r.cpu.state.eflags(), 0x0fd7, "no IOPL or NT on the 80286 in real mode");
    }

    #[test]
    fn outer_return_and_flag_rights() {
        let mut r = Rig::protected(Model::Max);
        push(&mut r, 4, &[(sel::DATA3 | 3).into(), STACK3 as u32, 0x0021_7fd7, (sel::CODE3 | 3).into(), 0x99]);
        r.run(|c, b| c.iret(b, 4, 0)).unwrap();
        assert_eq!((r.cs(), r.cpu.state.rip, r.cpu.state.cpl), (sel::CODE3 | 3, 0x99, 3));
        assert_eq!((r.cpu.state.segs[2].selector, r.cpu.state.gpr(slot::RSP)), (sel::DATA3 | 3, STACK3));
        assert_eq!(r.cpu.state.eflags(), 0x0021_7fd7);
        // At CPL 3 with IOPL 0 neither IF nor IOPL move.
        r.cpu.state.set_eflags(eflags::IF);
        push(&mut r, 4, &[0x3000, (sel::CODE3 | 3).into(), 0x77]);
        r.run(|c, b| c.iret(b, 4, 0)).unwrap();
        assert_eq!(r.cpu.state.eflags(), eflags::IF | eflags::ONE);
        push(&mut r, 4, &[0x3000, sel::CODE0.into(), 0x77]);
        let before = r.cpu.state.clone();
        assert_eq!(r.run(|c, b| c.iret(b, 4, 0)), Err(Fault::gp(sel::CODE0.into())));
        r.assert_same(&before);
    }

    #[test]
    fn to_v86_and_its_iopl() {
        let mut r = Rig::protected(Model::Max);
        push(&mut r, 4, &[6, 5, 4, 3, 2, 0x1_0100, 0x2_3202, 0x1000, 0x10]);
        r.run(|c, b| c.iret(b, 4, 0)).unwrap();
        assert!(r.cpu.state.v86());
        assert_eq!((r.cs(), r.cpu.state.rip, r.cpu.state.cpl), (0x1000, 0x10, 3));
        assert_eq!(r.cpu.state.segs.map(|s| s.selector), [3, 0x1000, 2, 4, 5, 6]);
        assert_eq!((r.cpu.state.segs[2].base, r.cpu.state.segs[2].limit), (0x20, 0xffff));
        assert_eq!(r.cpu.state.gpr(slot::RSP), 0x1_0100);
        // IOPL 3: IRET works and keeps VM and IOPL.
        push(&mut r, 2, &[0x0041, 0x2000, 0x20]);
        r.run(|c, b| c.iret(b, 2, 0)).unwrap();
        assert_eq!((r.cs(), r.cpu.state.eflags()), (0x2000, 0x2_3043));
        // IOPL 0: not without VME.
        r.cpu.state.set_eflags(eflags::VM | eflags::IF);
        push(&mut r, 2, &[0x0200, 0x3000, 0x30]);
        assert_eq!(r.run(|c, b| c.iret(b, 2, 0)), Err(Fault::gp(0)));
        r.cpu.state.cr4 |= cr::VME;
        assert_eq!(r.run(|c, b| c.iret(b, 4, 0)), Err(Fault::gp(0)));
        r.run(|c, b| c.iret(b, 2, 0)).unwrap();
        assert_eq!(r.cpu.state.eflags(), eflags::VM | eflags::IF | eflags::VIF | eflags::ONE);
        r.cpu.state.sys_flags |= eflags::VIP;
        push(&mut r, 2, &[0x0200, 0x3000, 0x30]);
        assert_eq!(r.run(|c, b| c.iret(b, 2, 0)), Err(Fault::gp(0)), "VIP is pending");
    }
}
