//! Far JMP, CALL and RET, call gates, SYSENTER and SYSEXIT (SDM vol. 3, 5.8).

use super::descriptor::{Descriptor, code, is_null, kind, rpl};
use super::stack::{Stack, mask};
use super::task::{Reason, Switch};
use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::model::Model;
use crate::state::{SegReg, Segment, attr, eflags, slot};

/// Cuts an offset to the operand size.
pub(super) fn cut(off: u64, osize: u8) -> u64 {
    if osize == 2 { off & 0xffff } else { off & 0xffff_ffff }
}

impl Cpu {
    /// #GP(error) if `ip` is beyond the limit of `seg`.
    pub(super) fn check_ip(&self, seg: &Segment, ip: u64, error: u32) -> Res<()> {
        if ip > u64::from(seg.limit) && self.model != Model::I8086 { Err(Fault::gp(error)) } else { Ok(()) }
    }

    /// Loads CS and RIP outside protected mode. The offset has been checked.
    pub(super) fn enter_real_code(&mut self, sel: u16, ip: u64) {
        self.state.segs[SegReg::Cs as usize] = self.real_segment(SegReg::Cs, sel);
        self.state.rip = ip;
        self.state.update_mode();
    }

    /// Loads CS and RIP with a code segment that has been checked.
    fn enter_code(&mut self, d: &Descriptor, cpl: u8, ip: u64) {
        self.set_cs(d, cpl);
        self.state.rip = ip;
        self.state.update_mode();
    }

    /// The checks of a code segment that JMP and CALL name directly.
    fn check_direct_code(&self, d: &Descriptor) -> Res<()> {
        let cpl = self.state.cpl;
        let allowed = if d.is_conforming() { d.dpl() <= cpl } else { rpl(d.selector) <= cpl && d.dpl() == cpl };
        if !allowed {
            return Err(Fault::gp(d.code()));
        }
        if !d.present() {
            return Err(Fault::np(d.code()));
        }
        Ok(())
    }

    /// #GP(selector) unless a gate or TSS may be used with this CPL and RPL, #NP(selector) if it is not present.
    fn check_gate(&self, d: &Descriptor) -> Res<()> {
        if d.dpl() < self.state.cpl || d.dpl() < rpl(d.selector) {
            return Err(Fault::gp(d.code()));
        }
        if !d.present() {
            return Err(Fault::np(d.code()));
        }
        Ok(())
    }

    /// The code segment behind a call gate.
    fn call_gate_target(&mut self, bus: &mut dyn Bus, gate: &Descriptor, jump: bool) -> Res<Descriptor> {
        self.check_gate(gate)?;
        let d = self.read_descriptor(bus, gate.gate_selector())?;
        let cpl = self.state.cpl;
        if !d.is_code() || d.dpl() > cpl || (jump && !d.is_conforming() && d.dpl() != cpl) {
            return Err(Fault::gp(d.code()));
        }
        if !d.present() {
            return Err(Fault::np(d.code()));
        }
        Ok(d)
    }

    /// JMP or CALL to a task gate or an available TSS.
    fn transfer_to_task(&mut self, bus: &mut dyn Bus, d: Descriptor, reason: Reason, next_ip: u64) -> Res<()> {
        let tss = if d.system_type() == kind::TASK {
            self.check_gate(&d)?;
            self.tss_descriptor(bus, d.gate_selector(), false, Fault::gp, 0)?
        } else {
            if d.selector & 4 != 0 {
                return Err(Fault::gp(d.code()));
            }
            self.check_gate(&d)?;
            d
        };
        let switch = Switch { reason, ext: 0, error: None, ip: next_ip, flags: self.state.eflags() };
        self.task_switch(bus, tss, &switch)
    }

    /// JMP ptr16:16, ptr16:32, m16:16, m16:32. `next_ip` is the offset of the next instruction, which a task switch
    /// saves.
    pub(crate) fn far_jmp(&mut self, bus: &mut dyn Bus, sel: u16, off: u32, osize: u8, next_ip: u64) -> Res<()> {
        let off = cut(u64::from(off), osize);
        if !self.state.protected() {
            self.check_ip(&self.real_segment(SegReg::Cs, sel), off, 0)?;
            self.enter_real_code(sel, off);
            return Ok(());
        }
        let mut d = self.read_descriptor(bus, sel)?;
        if d.is_code() {
            self.check_direct_code(&d)?;
            self.check_ip(&d.segment(), off, 0)?;
            self.mark_accessed(bus, &mut d)?;
            self.enter_code(&d, self.state.cpl, off);
            return Ok(());
        }
        match d.system_type() {
            kind::CALL16 | kind::CALL32 => {
                let mut target = self.call_gate_target(bus, &d, true)?;
                self.check_ip(&target.segment(), d.gate_offset(), 0)?;
                self.mark_accessed(bus, &mut target)?;
                self.enter_code(&target, self.state.cpl, d.gate_offset());
                Ok(())
            }
            kind::TASK | kind::TSS16 | kind::TSS32 => self.transfer_to_task(bus, d, Reason::Jump, next_ip),
            _ => Err(Fault::gp(d.code())),
        }
    }

    /// CALL ptr16:16, ptr16:32, m16:16, m16:32.
    pub(crate) fn far_call(&mut self, bus: &mut dyn Bus, sel: u16, off: u32, osize: u8, next_ip: u64) -> Res<()> {
        let off = cut(u64::from(off), osize);
        let ret = [u32::from(self.state.segs[SegReg::Cs as usize].selector), next_ip as u32];
        if !self.state.protected() {
            self.check_ip(&self.real_segment(SegReg::Cs, sel), off, 0)?;
            let sp = self.push_frame(bus, &self.current_stack(0), osize, &ret)?;
            self.state.set_gpr(slot::RSP, sp);
            self.enter_real_code(sel, off);
            return Ok(());
        }
        let mut d = self.read_descriptor(bus, sel)?;
        if d.is_code() {
            self.check_direct_code(&d)?;
            return self.call_same_level(bus, &mut d, off, osize, &ret);
        }
        match d.system_type() {
            kind::CALL16 | kind::CALL32 => {
                let mut target = self.call_gate_target(bus, &d, false)?;
                if !target.is_conforming() && target.dpl() < self.state.cpl {
                    self.call_inner_level(bus, &d, &mut target, next_ip)
                } else {
                    self.call_same_level(bus, &mut target, d.gate_offset(), d.gate_size(), &ret)
                }
            }
            kind::TASK | kind::TSS16 | kind::TSS32 => self.transfer_to_task(bus, d, Reason::Call, next_ip),
            _ => Err(Fault::gp(d.code())),
        }
    }

    fn call_same_level(
        &mut self,
        bus: &mut dyn Bus,
        target: &mut Descriptor,
        off: u64,
        osize: u8,
        ret: &[u32],
    ) -> Res<()> {
        self.check_ip(&target.segment(), off, 0)?;
        self.mark_accessed(bus, target)?;
        let sp = self.push_frame(bus, &self.current_stack(0), osize, ret)?;
        self.state.set_gpr(slot::RSP, sp);
        self.enter_code(target, self.state.cpl, off);
        Ok(())
    }

    /// A call gate to a more privileged segment: stack switch and parameter copy.
    fn call_inner_level(
        &mut self,
        bus: &mut dyn Bus,
        gate: &Descriptor,
        target: &mut Descriptor,
        next_ip: u64,
    ) -> Res<()> {
        let cpl = target.dpl();
        let (mut ss, sp) = self.inner_stack(bus, cpl, 0)?;
        self.check_ip(&target.segment(), gate.gate_offset(), 0)?;
        let osize = gate.gate_size();
        let mut frame = [0u32; 35];
        let count = (gate.hi & 0x1f) as usize;
        frame[0] = u32::from(self.state.segs[SegReg::Ss as usize].selector);
        frame[1] = self.state.gpr(slot::RSP) as u32;
        for i in 0..count {
            // The parameter pushed first lies highest.
            let delta = u64::from(osize) * (count - 1 - i) as u64;
            frame[2 + i] = self.stack_read(bus, delta, osize)?;
        }
        frame[2 + count] = u32::from(self.state.segs[SegReg::Cs as usize].selector);
        frame[3 + count] = next_ip as u32;
        self.mark_accessed(bus, &mut ss)?;
        self.mark_accessed(bus, target)?;
        let st = Stack { seg: ss.segment(), sp, user: cpl == 3, error: ss.code() };
        let sp = self.push_frame(bus, &st, osize, &frame[..4 + count])?;
        self.state.segs[SegReg::Ss as usize] = st.seg;
        self.state.set_gpr(slot::RSP, sp);
        self.enter_code(target, cpl, gate.gate_offset());
        Ok(())
    }

    /// The stack that the current TSS names for privilege `cpl` (0 to 2), checked: descriptor and ESP.
    pub(super) fn inner_stack(&mut self, bus: &mut dyn Bus, cpl: u8, ext: u32) -> Res<(Descriptor, u64)> {
        let tr = self.state.tr;
        let n = u64::from(cpl);
        let wide = tr.system_type() & 8 != 0;
        let (at, last) = if wide { (n * 8 + 4, n * 8 + 9) } else { (n * 4 + 2, n * 4 + 5) };
        if last > u64::from(tr.limit) {
            return Err(Fault::ts(code(tr.selector) | ext));
        }
        let lin = tr.base.wrapping_add(at) & 0xffff_ffff;
        let (sp, ss_at) = if wide {
            (u64::from(self.read_lin::<u32>(bus, lin, false)?), lin + 4)
        } else {
            (u64::from(self.read_lin::<u16>(bus, lin, false)?), lin + 2)
        };
        let sel = self.read_lin::<u16>(bus, ss_at & 0xffff_ffff, false)?;
        let ss = self.stack_descriptor(bus, sel, cpl, Fault::ts, ext)?;
        Ok((ss, sp))
    }

    /// The code segment that RET and IRET return to: its privilege is the selector's RPL.
    pub(super) fn return_code(&mut self, bus: &mut dyn Bus, sel: u16) -> Res<Descriptor> {
        let d = self.read_descriptor(bus, sel)?;
        let r = rpl(sel);
        let level_ok = if d.is_conforming() { d.dpl() <= r } else { d.dpl() == r };
        if !d.is_code() || r < self.state.cpl || !level_ok {
            return Err(Fault::gp(d.code()));
        }
        if !d.present() {
            return Err(Fault::np(d.code()));
        }
        Ok(d)
    }

    /// Commits a return to an outer privilege: CS, SS, ESP, and the data segments that become null.
    pub(super) fn return_outer(&mut self, cs: &Descriptor, ip: u64, ss: &Descriptor, sp: u64) {
        let cpl = rpl(cs.selector);
        self.set_cs(cs, cpl);
        self.state.segs[SegReg::Ss as usize] = ss.segment();
        let m = mask(&ss.segment());
        let old = self.state.gpr(slot::RSP);
        // A 16-bit stack segment leaves the upper half of the inner ESP visible.
        self.state.set_gpr(slot::RSP, old & 0xffff_ffff & !m | sp & m);
        self.state.rip = ip;
        self.drop_inner_segments();
        self.state.update_mode_for(&[SegReg::Cs, SegReg::Ss]);
    }

    /// RET far, dropping `imm` bytes of parameters.
    pub(crate) fn far_ret(&mut self, bus: &mut dyn Bus, osize: u8, imm: u16) -> Res<()> {
        let size = u64::from(osize);
        let imm = u64::from(imm);
        let ip = u64::from(self.stack_read(bus, 0, osize)?);
        let sel = self.stack_read(bus, size, osize)? as u16;
        let sp = self.state.gpr(slot::RSP).wrapping_add(2 * size + imm);
        if !self.state.protected() {
            self.check_ip(&self.real_segment(SegReg::Cs, sel), ip, 0)?;
            self.set_sp(sp);
            self.enter_real_code(sel, ip);
            return Ok(());
        }
        let mut d = self.return_code(bus, sel)?;
        if rpl(sel) == self.state.cpl {
            self.check_ip(&d.segment(), ip, 0)?;
            self.mark_accessed(bus, &mut d)?;
            self.set_sp(sp);
            self.enter_code(&d, rpl(sel), ip);
            return Ok(());
        }
        let outer_sp = u64::from(self.stack_read(bus, 2 * size + imm, osize)?);
        let ss_sel = self.stack_read(bus, 3 * size + imm, osize)? as u16;
        let mut ss = self.stack_descriptor(bus, ss_sel, rpl(sel), Fault::gp, 0)?;
        self.check_ip(&d.segment(), ip, 0)?;
        self.mark_accessed(bus, &mut d)?;
        self.mark_accessed(bus, &mut ss)?;
        self.return_outer(&d, ip, &ss, outer_sp.wrapping_add(imm));
        Ok(())
    }

    /// A flat segment register as SYSENTER and SYSEXIT make it.
    fn flat(selector: u16, rights: u32, cpl: u8) -> Segment {
        let attr = rights | attr::DB | attr::G | u32::from(cpl) << 13;
        Segment { base: 0, limit: u32::MAX, attr, selector }
    }

    /// SYSENTER (SDM vol. 2).
    pub(crate) fn sysenter(&mut self) -> Res<()> {
        let cs = self.state.sysenter_cs as u16 & 0xfffc;
        if self.real_mode() || is_null(cs) {
            return Err(Fault::gp(0));
        }
        self.state.sys_flags &= !(eflags::VM | eflags::IF | eflags::RF);
        self.state.segs[SegReg::Cs as usize] = Self::flat(cs, attr::REAL_CODE, 0);
        self.state.segs[SegReg::Ss as usize] = Self::flat(cs.wrapping_add(8), attr::REAL_DATA, 0);
        self.state.cpl = 0;
        self.state.set_gpr(slot::RSP, self.state.sysenter_esp & 0xffff_ffff);
        self.state.rip = self.state.sysenter_eip & 0xffff_ffff;
        self.state.update_mode();
        Ok(())
    }

    /// SYSEXIT (SDM vol. 2).
    pub(crate) fn sysexit(&mut self) -> Res<()> {
        let cs = self.state.sysenter_cs as u16 & 0xfffc;
        if self.real_mode() || self.state.cpl != 0 || is_null(cs) {
            return Err(Fault::gp(0));
        }
        self.state.segs[SegReg::Cs as usize] = Self::flat(cs.wrapping_add(16) | 3, attr::REAL_CODE, 3);
        self.state.segs[SegReg::Ss as usize] = Self::flat(cs.wrapping_add(24) | 3, attr::REAL_DATA, 3);
        self.state.cpl = 3;
        self.state.set_gpr(slot::RSP, self.state.gpr(slot::RCX) & 0xffff_ffff);
        self.state.rip = self.state.gpr(slot::RDX) & 0xffff_ffff;
        self.state.update_mode();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, STACK0, STACK3, sel};
    use super::*;

    #[test]
    fn real_mode_call_and_return() {
        let mut r = Rig::real(Model::I386);
        r.run(|c, b| c.far_call(b, 0x2000, 0x1_0010, 2, 0x105)).unwrap();
        assert_eq!((r.cs(), r.cpu.state.rip, r.cpu.state.segs[1].base), (0x2000, 0x10, 0x20000));
        assert_eq!(r.cpu.state.gpr(slot::RSP), STACK0 - 4);
        r.run(|c, b| c.far_ret(b, 2, 6)).unwrap();
        assert_eq!((r.cs(), r.cpu.state.rip, r.cpu.state.gpr(slot::RSP)), (0, 0x105, STACK0 + 6));
        assert_eq!(r.run(|c, b| c.far_jmp(b, 0, 0x10000, 4, 0)), Err(Fault::gp(0)));
    }

    #[test]
    fn jump_checks() {
        // selector, CPL, CS and EIP
        type Row = (u16, u8, Res<(u16, u64)>);
        let table: [Row; 12] = [
            (0, 0, Err(Fault::gp(0))),
            (0xfff8, 0, Err(Fault::gp(0xfff8))),
            (sel::DATA0, 0, Err(Fault::gp(sel::DATA0 as u32))),
            (sel::CODE0 | 3, 0, Err(Fault::gp(sel::CODE0 as u32))),
            (sel::CODE0, 3, Err(Fault::gp(sel::CODE0 as u32))),
            (sel::CODE3 | 3, 0, Err(Fault::gp(sel::CODE3 as u32))),
            (sel::CODE3, 3, Ok((sel::CODE3 | 3, 0x1234))),
            (sel::CONFORMING, 3, Ok((sel::CONFORMING | 3, 0x1234))),
            (sel::ABSENT_CODE, 0, Err(Fault::np(sel::ABSENT_CODE as u32))),
            (sel::CALL0, 3, Err(Fault::gp(sel::CODE0 as u32))),
            (sel::CALL0, 0, Ok((sel::CODE0, 0x5678))),
            (sel::TSS_A, 0, Err(Fault::gp(sel::TSS_A as u32))),
        ];
        for (s, cpl, want) in table {
            let mut r = Rig::protected(Model::Max);
            if cpl == 3 {
                r.enter_ring3();
            }
            let got = r.run(|c, b| c.far_jmp(b, s, 0x1234, 4, 0)).map(|()| (r.cs(), r.cpu.state.rip));
            assert_eq!(got, want, "selector {s:x} CPL {cpl}");
            assert_eq!(r.cpu.state.cpl, cpl);
        }
    }

    #[test]
    fn call_gate_switches_stacks_and_copies_parameters() {
        let mut r = Rig::protected(Model::Max);
        r.enter_ring3();
        r.cpu.state.set_gpr(slot::RSP, STACK3);
        for v in [0x33, 0x22, 0x11] {
            r.push(4, v).unwrap();
        }
        r.run(|c, b| c.far_call(b, sel::CALL_PARAMS | 3, 0, 4, 0x400)).unwrap();
        assert_eq!((r.cs(), r.cpu.state.rip, r.cpu.state.cpl), (sel::CODE0, 0x5678, 0));
        assert_eq!(r.cpu.state.segs[2].selector, sel::DATA0);
        let sp = r.cpu.state.gpr(slot::RSP);
        assert_eq!(sp, STACK0 - 7 * 4);
        let want = [0x400, u32::from(sel::CODE3 | 3), 0x11, 0x22, 0x33, STACK3 as u32 - 12, u32::from(sel::DATA3 | 3)];
        for (i, v) in want.iter().enumerate() {
            assert_eq!(r.dword(sp + 4 * i as u64), *v, "frame {i}");
        }
        r.run(|c, b| c.load_seg(b, SegReg::Ds, sel::DATA0)).unwrap();
        r.run(|c, b| c.load_seg(b, SegReg::Es, sel::DATA3)).unwrap();
        r.run(|c, b| c.far_ret(b, 4, 12)).unwrap();
        assert_eq!((r.cs(), r.cpu.state.rip, r.cpu.state.cpl), (sel::CODE3 | 3, 0x400, 3));
        assert_eq!((r.cpu.state.gpr(slot::RSP), r.cpu.state.segs[2].selector), (STACK3, sel::DATA3 | 3));
        assert_eq!((r.cpu.state.segs[3].selector, r.cpu.state.segs[3].attr), (0, 0), "DS of DPL 0 becomes null");
        assert_eq!(r.cpu.state.segs[0].selector, sel::DATA3);
    }

    #[test]
    fn call_gate_with_a_bad_inner_stack() {
        let error = |s: u16| u32::from(s);
        for (ss, want) in [
            (0, Fault::ts(0)),
            (sel::DATA3 | 3, Fault::ts(error(sel::DATA3))),
            (sel::RO_DATA, Fault::ts(error(sel::RO_DATA))),
            (0x7f8, Fault::ts(0x7f8)),
            (sel::ABSENT, Fault::ss(error(sel::ABSENT))),
        ] {
            let mut r = Rig::protected(Model::Max);
            r.enter_ring3();
            r.set_inner_stack(ss, STACK0);
            let before = r.cpu.state.clone();
            assert_eq!(r.run(|c, b| c.far_call(b, sel::CALL0 | 3, 0, 4, 0)), Err(want));
            r.assert_same(&before);
        }
        let mut r = Rig::protected(Model::Max);
        r.enter_ring3();
        r.cpu.state.tr.limit = 8;
        assert_eq!(r.run(|c, b| c.far_call(b, sel::CALL0 | 3, 0, 4, 0)), Err(Fault::ts(error(sel::TSS_A))));
    }

    #[test]
    fn return_checks() {
        for (s, want) in [
            (0, Fault::gp(0)),
            (sel::DATA0, Fault::gp(sel::DATA0.into())),
            (sel::CODE0 | 3, Fault::gp(sel::CODE0.into())),
            (sel::ABSENT_CODE, Fault::np(sel::ABSENT_CODE.into())),
        ] {
            let mut r = Rig::protected(Model::Max);
            r.push(4, s.into()).unwrap();
            r.push(4, 0x10).unwrap();
            let before = r.cpu.state.clone();
            assert_eq!(r.run(|c, b| c.far_ret(b, 4, 0)), Err(want));
            r.assert_same(&before);
        }
        let mut r = Rig::protected(Model::Max);
        r.enter_ring3();
        r.cpu.state.set_gpr(slot::RSP, STACK3);
        r.push(4, sel::CODE0.into()).unwrap();
        r.push(4, 0x10).unwrap();
        assert_eq!(r.run(|c, b| c.far_ret(b, 4, 0)), Err(Fault::gp(sel::CODE0.into())), "inward return");
    }

    #[test]
    fn sysenter_and_sysexit() {
        let mut r = Rig::protected(Model::P3);
        assert_eq!(r.run(|c, _| c.sysenter()), Err(Fault::gp(0)));
        r.enter_ring3();
        r.cpu.state.sys_flags |= eflags::IF;
        (r.cpu.state.sysenter_cs, r.cpu.state.sysenter_esp, r.cpu.state.sysenter_eip) = (0x63, 0x9000, 0xc000_0100);
        assert_eq!(r.run(|c, _| c.sysexit()), Err(Fault::gp(0)), "CPL 3");
        r.run(|c, _| c.sysenter()).unwrap();
        assert_eq!((r.cs(), r.cpu.state.segs[2].selector, r.cpu.state.cpl), (0x60, 0x68, 0));
        assert_eq!((r.cpu.state.rip, r.cpu.state.gpr(slot::RSP)), (0xc000_0100, 0x9000));
        assert_eq!(r.cpu.state.sys_flags & eflags::IF, 0);
        assert!(r.cpu.state.segs[1].is_flat() && r.cpu.state.segs[2].is_flat());
        r.cpu.state.set_gpr(slot::RCX, 0x7000);
        r.cpu.state.set_gpr(slot::RDX, 0x8000);
        r.run(|c, _| c.sysexit()).unwrap();
        assert_eq!((r.cs(), r.cpu.state.segs[2].selector, r.cpu.state.cpl), (0x73, 0x7b, 3));
        assert_eq!((r.cpu.state.rip, r.cpu.state.gpr(slot::RSP)), (0x8000, 0x7000));
    }
}
