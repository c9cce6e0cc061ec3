//! The instructions on whole EFLAGS: PUSHF, POPF, CLI, STI, with the rules of privilege and virtual-8086 mode.

use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::model::Model;
use crate::state::{cr, eflags};

impl Cpu {
    /// EFLAGS bits that exist in the present model and mode.
    pub(super) fn flag_mask(&self) -> u32 {
        use eflags::*;
        const OLDEST: u32 = ARITH | TF | IF | DF;
        match self.model {
            Model::I8086 => OLDEST,
            Model::I286 if self.real_mode() => OLDEST,
            Model::I286 => OLDEST | IOPL | NT,
            Model::I386 => OLDEST | IOPL | NT | RF | VM,
            // Late 80486 chips have CPUID.
            Model::I486 => OLDEST | IOPL | NT | RF | VM | AC | ID,
            _ => OLDEST | IOPL | NT | RF | VM | AC | VIF | VIP | ID,
        }
    }

    /// An EFLAGS image as this model pushes it: the 8086 has ones in bits 12-15.
    pub(super) fn flag_image(&self, flags: u32) -> u32 {
        if self.model == Model::I8086 { flags | 0xf000 } else { flags }
    }

    /// The image that VME shows to a virtual-8086 program: IF is VIF, IOPL is 3.
    pub(super) fn virtual_flags(&self) -> u32 {
        let f = self.state.eflags();
        let vif = if f & eflags::VIF != 0 { eflags::IF } else { 0 };
        f & !eflags::IF | vif | eflags::IOPL
    }

    fn vme(&self) -> bool {
        self.state.cr4 & cr::VME != 0
    }

    /// PUSHF, PUSHFD: the image to push.
    pub(crate) fn pushf(&mut self, osize: u8) -> Res<u32> {
        let keep = if osize == 2 { 0xffff } else { !(eflags::VM | eflags::RF) };
        if self.state.v86() && self.state.iopl() < 3 {
            if osize == 2 && self.vme() {
                return Ok(self.virtual_flags() & keep);
            }
            return Err(Fault::gp(0));
        }
        Ok(self.flag_image(self.state.eflags()) & keep)
    }

    /// POPF, POPFD of the image `v`.
    pub(crate) fn popf(&mut self, v: u32, osize: u8) -> Res<()> {
        use eflags::*;
        let (v86, iopl, cpl) = (self.state.v86(), self.state.iopl(), self.state.cpl);
        let mut mask = ARITH | TF | DF | NT;
        if osize == 4 {
            mask |= AC | ID;
        }
        let mut vif = None;
        if v86 && iopl < 3 {
            if osize != 2 || !self.vme() || v & TF != 0 || (v & IF != 0 && self.state.sys_flags & VIP != 0) {
                return Err(Fault::gp(0));
            }
            vif = Some(v & IF != 0);
        } else if cpl <= iopl || v86 {
            mask |= IF;
        }
        if cpl == 0 {
            mask |= IOPL;
        }
        mask &= self.flag_mask();
        let mut new = self.state.eflags() & !mask | v & mask;
        if osize == 4 {
            new &= !RF;
        }
        if let Some(on) = vif {
            new = new & !VIF | if on { VIF } else { 0 };
        }
        self.state.set_eflags(new);
        self.after_device();
        Ok(())
    }

    /// What CLI and STI work on: `Ok(true)` for IF, `Ok(false)` for VIF.
    fn interrupt_flag(&self) -> Res<bool> {
        let (iopl, cpl) = (self.state.iopl(), self.state.cpl);
        let allowed = if self.state.v86() { iopl == 3 } else { cpl <= iopl };
        if self.real_mode() || allowed {
            return Ok(true);
        }
        let virtual_if = if self.state.v86() { self.vme() } else { cpl == 3 && self.state.cr4 & cr::PVI != 0 };
        if virtual_if { Ok(false) } else { Err(Fault::gp(0)) }
    }

    /// CLI.
    pub(crate) fn cli(&mut self) -> Res<()> {
        let flag = if self.interrupt_flag()? { eflags::IF } else { eflags::VIF };
        self.state.sys_flags &= !flag;
        Ok(())
    }

    /// STI: the next instruction still runs before interrupts are recognised, if they were off.
    pub(crate) fn sti(&mut self) -> Res<()> {
        if !self.interrupt_flag()? {
            if self.state.sys_flags & eflags::VIP != 0 {
                return Err(Fault::gp(0));
            }
            self.state.sys_flags |= eflags::VIF;
            return Ok(());
        }
        if self.state.sys_flags & eflags::IF == 0 {
            self.state.sys_flags |= eflags::IF;
            self.sti_until = self.now() + 1;
            self.after_device();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use super::*;
    use eflags::*;

    #[test]
    fn popf_by_model_in_real_mode() {
        for (model, osize, want) in [
            (Model::I8086, 2, 0x0fd7),
            (Model::I286, 2, 0x0fd7),
            (Model::I386, 2, 0x7fd7),
            (Model::I386, 4, 0x7fd7),
            (Model::I486, 4, 0x24_7fd7),
            (Model::Pentium, 4, 0x24_7fd7),
        ] {
            let mut r = Rig::real(model);
            r.run(|c, _| c.popf(!0, osize)).unwrap();
            assert_eq!(r.cpu.state.eflags(), want, "{model}");
        }
        let mut r = Rig::real(Model::I8086);
        assert_eq!(r.run(|c, _| c.pushf(2)), Ok(0xf002));
    }

    #[test]
    fn popf_by_privilege() {
        for (cpl, iopl, want) in [(0, 0, IF | IOPL), (3, 0, 0), (3, 0x3000, IF | 0x3000), (1, 0x1000, IF | 0x1000)] {
            let mut r = Rig::protected(Model::Max);
            r.cpu.state.cpl = cpl;
            r.cpu.state.set_eflags(iopl);
            r.run(|c, _| c.popf(IF | IOPL | VM | RF | VIF | VIP, 4)).unwrap();
            assert_eq!(r.cpu.state.eflags(), want | ONE, "CPL {cpl} IOPL {iopl:x}");
        }
    }

    #[test]
    fn v86_with_and_without_vme() {
        let mut r = Rig::v86(0);
        r.cpu.state.sys_flags &= !IF;
        assert_eq!(r.run(|c, _| c.pushf(2)), Err(Fault::gp(0)));
        assert_eq!(r.run(|c, _| c.cli()), Err(Fault::gp(0)));
        r.cpu.state.cr4 |= cr::VME;
        assert_eq!(r.run(|c, _| c.pushf(4)), Err(Fault::gp(0)));
        r.run(|c, _| c.sti()).unwrap();
        assert_eq!(r.cpu.state.sys_flags & (IF | VIF), VIF);
        assert_eq!(r.run(|c, _| c.pushf(2)), Ok(0x3202));
        r.run(|c, _| c.popf(CF, 2)).unwrap();
        assert_eq!(r.cpu.state.eflags(), VM | CF | ONE);
        assert_eq!(r.run(|c, _| c.popf(TF, 2)), Err(Fault::gp(0)));
        r.cpu.state.sys_flags |= VIP;
        assert_eq!(r.run(|c, _| c.sti()), Err(Fault::gp(0)));
        assert_eq!(r.run(|c, _| c.popf(IF, 2)), Err(Fault::gp(0)));
        let mut r = Rig::v86(3);
        r.run(|c, _| c.popf(CF | NT, 4)).unwrap();
        assert_eq!(r.cpu.state.eflags(), VM | IOPL | CF | NT | ONE);
        assert_eq!(r.run(|c, _| c.pushf(4)), Ok(IOPL | CF | NT | ONE));
    }

    #[test]
    fn sti_shadow_and_pvi() {
        let mut r = Rig::protected(Model::Max);
        r.run(|c, _| c.sti()).unwrap();
        assert_eq!(r.cpu.sti_until, r.cpu.retired + 1);
        r.cpu.sti_until = u64::MAX;
        r.run(|c, _| c.sti()).unwrap();
        assert_eq!(r.cpu.sti_until, u64::MAX, "IF was already set");
        r.enter_ring3();
        assert_eq!(r.run(|c, _| c.cli()), Err(Fault::gp(0)));
        r.cpu.state.cr4 |= cr::PVI;
        r.cpu.state.sys_flags |= VIF;
        r.run(|c, _| c.cli()).unwrap();
        assert_eq!(r.cpu.state.sys_flags & (IF | VIF), IF);
    }
}
