//! Entering handlers: INT n, INT3, INTO, ICEBP, external interrupts, and the part that exceptions share with them (SDM
//! vol. 3, 6.12 and 20.3).

use super::descriptor::{code, kind};
use super::stack::Stack;
use super::task::{Reason, Switch};
use super::{EXT, IDT};
use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res, vector};
use crate::model::Model;
use crate::state::{SegReg, cr, eflags, slot};

/// What is to be delivered through an interrupt vector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// Vector number.
    pub vector: u8,
    /// [`EXT`] or 0: goes into the error code of a fault during delivery.
    pub ext: u32,
    /// INT n, INT3, INTO: the gate's DPL is checked.
    pub software: bool,
    /// Error code to push (protected mode only).
    pub error: Option<u32>,
    /// EFLAGS image to push.
    pub flags: u32,
    /// Return address.
    pub ip: u64,
}

impl Cpu {
    /// INT n (SDM vol. 2; SDM vol. 3, table 20-2 for virtual-8086 mode).
    pub(crate) fn software_int(&mut self, bus: &mut dyn Bus, vector: u8, next_ip: u64) -> Res<()> {
        if self.state.v86() {
            if self.state.cr4 & cr::VME != 0 && !self.redirection_bit(bus, vector)? {
                return self.redirect_to_v86(bus, vector, next_ip);
            }
            if self.state.iopl() < 3 {
                return Err(Fault::gp(0));
            }
        }
        self.software_event(bus, vector, true, 0, next_ip)
    }

    /// INT3. Never redirected and not sensitive to IOPL.
    pub(crate) fn int3(&mut self, bus: &mut dyn Bus, next_ip: u64) -> Res<()> {
        self.software_event(bus, vector::BP, true, 0, next_ip)
    }

    /// INTO with OF set.
    pub(crate) fn into(&mut self, bus: &mut dyn Bus, next_ip: u64) -> Res<()> {
        self.software_event(bus, vector::OF, true, 0, next_ip)
    }

    /// ICEBP (INT1): #DB without a DPL check and without DR6.
    pub(crate) fn icebp(&mut self, bus: &mut dyn Bus, next_ip: u64) -> Res<()> {
        self.software_event(bus, vector::DB, false, EXT, next_ip)
    }

    fn software_event(&mut self, bus: &mut dyn Bus, vector: u8, software: bool, ext: u32, next_ip: u64) -> Res<()> {
        if self.intercept {
            return Err(Fault::new(vector));
        }
        let stepping = self.state.sys_flags & eflags::TF != 0;
        let flags = self.state.eflags();
        self.enter_vector(bus, &Event { vector, ext, software, error: None, flags, ip: next_ip })?;
        // The handler is entered with TF clear, and the instruction's own single-step trap is lost.
        self.tf_consumed |= stepping;
        Ok(())
    }

    /// A maskable interrupt or NMI at an instruction boundary: RIP is the return address.
    pub(crate) fn external_interrupt(&mut self, bus: &mut dyn Bus, vector: u8) -> Res<()> {
        self.state.halted = false;
        let ev =
            Event { vector, ext: EXT, software: false, error: None, flags: self.state.eflags(), ip: self.state.rip };
        self.enter_vector(bus, &ev)
    }

    /// Bit `vector` of the software interrupt redirection bitmap, the 32 bytes below the I/O permission bitmap (SDM
    /// vol. 3, 20.3.3): clear means the interrupt stays in virtual-8086 mode.
    fn redirection_bit(&mut self, bus: &mut dyn Bus, vector: u8) -> Res<bool> {
        let tr = self.state.tr;
        if tr.system_type() & 8 == 0 || tr.limit < 0x67 {
            return Err(Fault::gp(0));
        }
        let map = u64::from(self.read_lin::<u16>(bus, tr.base.wrapping_add(0x66) & 0xffff_ffff, false)?);
        let at = (map + u64::from(vector / 8)).wrapping_sub(32);
        if at > u64::from(tr.limit) {
            return Err(Fault::gp(0));
        }
        let byte = self.read_lin::<u8>(bus, tr.base.wrapping_add(at) & 0xffff_ffff, false)?;
        Ok(byte >> (vector & 7) & 1 != 0)
    }

    /// INT n inside virtual-8086 mode with VME: through the 8086 vector table at linear address 0.
    fn redirect_to_v86(&mut self, bus: &mut dyn Bus, vector: u8, next_ip: u64) -> Res<()> {
        let target: u32 = self.read_lin(bus, u64::from(vector) * 4, true)?;
        let virtual_if = self.state.iopl() < 3;
        let image = if virtual_if { self.virtual_flags() } else { self.state.eflags() };
        let cs = self.state.segs[SegReg::Cs as usize].selector;
        let sp = self.push_frame(bus, &self.current_stack(0), 2, &[image, u32::from(cs), next_ip as u32])?;
        self.state.set_gpr(slot::RSP, sp);
        self.tf_consumed |= self.state.sys_flags & eflags::TF != 0;
        let cleared = if virtual_if { eflags::VIF } else { eflags::IF };
        self.state.sys_flags &= !(cleared | eflags::TF | eflags::RF);
        self.enter_real_code((target >> 16) as u16, u64::from(target & 0xffff));
        Ok(())
    }

    /// Enters the handler of an event. A fault leaves the CPU as it was.
    pub(super) fn enter_vector(&mut self, bus: &mut dyn Bus, ev: &Event) -> Res<()> {
        if self.real_mode() { self.enter_real(bus, ev) } else { self.enter_protected(bus, ev) }
    }

    fn enter_real(&mut self, bus: &mut dyn Bus, ev: &Event) -> Res<()> {
        let at = u64::from(ev.vector) * 4;
        if at + 3 > u64::from(self.state.idtr.limit) && self.model != Model::I8086 {
            // Vector 8 means "interrupt table too small" in real mode on the older chips.
            return Err(if self.model <= Model::I386 {
                Fault::new(vector::DF)
            } else {
                Fault::gp((u32::from(ev.vector) * 8) | IDT | ev.ext)
            });
        }
        let target: u32 = self.read_lin(bus, self.state.idtr.base.wrapping_add(at) & 0xffff_ffff, false)?;
        let (sel, ip) = ((target >> 16) as u16, u64::from(target & 0xffff));
        let cs = self.state.segs[SegReg::Cs as usize];
        self.check_ip(&cs, ip, ev.ext)?;
        let frame = [self.flag_image(ev.flags), u32::from(cs.selector), ev.ip as u32];
        let sp = self.push_frame(bus, &self.current_stack(ev.ext), 2, &frame)?;
        self.state.set_gpr(slot::RSP, sp);
        self.state.sys_flags &= !(eflags::IF | eflags::TF | eflags::RF | eflags::AC);
        self.enter_real_code(sel, ip);
        Ok(())
    }

    fn enter_protected(&mut self, bus: &mut dyn Bus, ev: &Event) -> Res<()> {
        let ext = ev.ext;
        let error = (u32::from(ev.vector) * 8) | IDT | ext;
        let at = u64::from(ev.vector) * 8;
        if at + 7 > u64::from(self.state.idtr.limit) {
            return Err(Fault::gp(error));
        }
        let gate = self.descriptor_at(bus, self.state.idtr.base.wrapping_add(at), 0)?;
        let ty = gate.system_type();
        let valid = matches!(ty, kind::TASK | kind::INT16 | kind::TRAP16 | kind::INT32 | kind::TRAP32);
        if !valid || (ev.software && gate.dpl() < self.state.cpl) {
            return Err(Fault::gp(error));
        }
        if !gate.present() {
            return Err(Fault::np(error));
        }
        if ty == kind::TASK {
            let tss = self.tss_descriptor(bus, gate.gate_selector(), false, Fault::gp, ext)?;
            let switch = Switch { reason: Reason::Event, ext, error: ev.error, ip: ev.ip, flags: ev.flags };
            return self.task_switch(bus, tss, &switch);
        }
        let sel = gate.gate_selector();
        if sel & 0xfffc == 0 {
            return Err(Fault::gp(ext));
        }
        let sel_error = code(sel) | ext;
        let mut cs = self.find_descriptor(bus, sel)?.ok_or(Fault::gp(sel_error))?;
        let cpl = self.state.cpl;
        if !cs.is_code() || cs.dpl() > cpl {
            return Err(Fault::gp(sel_error));
        }
        if !cs.present() {
            return Err(Fault::np(sel_error));
        }
        let inner = !cs.is_conforming() && cs.dpl() < cpl;
        let v86 = self.state.v86();
        if v86 && (!inner || cs.dpl() != 0) {
            return Err(Fault::gp(sel_error));
        }
        let ip = gate.gate_offset();
        let new_cpl = if inner { cs.dpl() } else { cpl };

        let mut frame = Frame::default();
        let sels = self.state.segs.map(|s| u32::from(s.selector));
        let mut stack = self.current_stack(ext);
        let mut new_ss = None;
        if inner {
            let (ss, sp) = self.inner_stack(bus, new_cpl, ext)?;
            stack = Stack { seg: ss.segment(), sp, user: false, error: ss.code() | ext };
            new_ss = Some(ss);
            if v86 {
                for seg in [SegReg::Gs, SegReg::Fs, SegReg::Ds, SegReg::Es] {
                    frame.add(sels[seg as usize]);
                }
            }
            frame.add(sels[SegReg::Ss as usize]);
            frame.add(self.state.gpr(slot::RSP) as u32);
        }
        frame.add(ev.flags);
        frame.add(sels[SegReg::Cs as usize]);
        frame.add(ev.ip as u32);
        if let Some(e) = ev.error {
            frame.add(e);
        }
        self.check_ip(&cs.segment(), ip, ext)?;
        self.mark_accessed(bus, &mut cs)?;
        if let Some(ss) = &mut new_ss {
            self.mark_accessed(bus, ss)?;
            stack.seg = ss.segment();
        }
        let sp = self.push_frame(bus, &stack, gate.gate_size(), frame.values())?;

        self.state.segs[SegReg::Ss as usize] = stack.seg;
        self.state.set_gpr(slot::RSP, sp);
        if v86 {
            for seg in [SegReg::Es, SegReg::Ds, SegReg::Fs, SegReg::Gs] {
                self.state.segs[seg as usize] = self.null_segment(seg, 0);
            }
        }
        let mut cleared = eflags::TF | eflags::NT | eflags::RF | eflags::VM;
        if matches!(ty, kind::INT16 | kind::INT32) {
            cleared |= eflags::IF;
        }
        self.state.sys_flags &= !cleared;
        self.set_cs(&cs, new_cpl);
        self.state.rip = ip;
        if v86 {
            self.state.update_mode();
        } else {
            self.state.update_mode_for(&[SegReg::Cs, SegReg::Ss]);
        }
        Ok(())
    }
}

/// Values of an interrupt frame in pushing order.
#[derive(Default)]
struct Frame {
    values: [u32; 10],
    len: usize,
}

impl Frame {
    fn add(&mut self, v: u32) {
        if let Some(place) = self.values.get_mut(self.len) {
            *place = v;
            self.len += 1;
        }
    }
    fn values(&self) -> &[u32] {
        &self.values[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{HANDLER, Rig, STACK0, STACK3, sel};
    use super::*;

    #[test]
    fn real_mode_interrupt() {
        let mut r = Rig::real(Model::I486);
        r.poke32(0x21 * 4, 0x1234_5678);
        r.cpu.state.set_eflags(eflags::IF | eflags::TF | eflags::CF | eflags::AC);
        r.run(|c, b| c.software_int(b, 0x21, 0x102)).unwrap();
        assert_eq!((r.cs(), r.cpu.state.rip), (0x1234, 0x5678));
        assert_eq!(r.cpu.state.eflags(), eflags::CF | eflags::ONE);
        assert!(r.cpu.tf_consumed);
        assert_eq!([r.word(STACK0 - 2), r.word(STACK0 - 4), r.word(STACK0 - 6)], [0x0303, 0, 0x102]);
        r.cpu.state.idtr.limit = 0x83;
        assert_eq!(r.run(|c, b| c.software_int(b, 0x21, 0)), Err(Fault::gp(0x21 * 8 + 2)));
    }

    #[test]
    fn the_8086_pushes_ones_in_the_top_of_flags() {
        let mut r = Rig::real(Model::I8086);
        r.run(|c, b| c.software_int(b, 0x21, 0x102)).unwrap();
        assert_eq!(r.word(STACK0 - 2), 0xf002);
    }

    #[test]
    fn gates_and_levels() {
        // vector, CPL, expected
        let table: [(u8, u8, Res<u16>); 9] = [
            (0x30, 0, Ok(sel::CODE0)),
            (0x30, 3, Err(Fault::gp(0x30 * 8 + 2))),
            (0x80, 3, Ok(sel::CODE0)),
            (0x81, 3, Err(Fault::np(0x81 * 8 + 2))),
            (0x82, 3, Err(Fault::gp(0x82 * 8 + 2))),
            (0x83, 3, Ok(sel::CONFORMING | 3)),
            (0x84, 0, Err(Fault::gp(sel::DATA0.into()))),
            (0x85, 0, Err(Fault::np(sel::ABSENT_CODE.into()))),
            (0xff, 0, Err(Fault::gp(0xff * 8 + 2))),
        ];
        for (v, cpl, want) in table {
            let mut r = Rig::protected(Model::Max);
            if cpl == 3 {
                r.enter_ring3();
            }
            let before = r.cpu.state.clone();
            let got = r.run(|c, b| c.software_int(b, v, 0x400));
            assert_eq!(got.map(|()| r.cs()), want, "vector {v:x} CPL {cpl}");
            if want.is_err() {
                r.assert_same(&before);
            } else {
                assert_eq!(r.cpu.state.rip, HANDLER + u64::from(v));
            }
        }
    }

    #[test]
    fn frame_of_an_inner_interrupt() {
        let mut r = Rig::protected(Model::Max);
        r.enter_ring3();
        r.cpu.state.set_gpr(slot::RSP, STACK3);
        r.cpu.state.set_eflags(eflags::IF | eflags::NT | eflags::CF);
        r.cpu.state.rip = 0x1111;
        r.cpu.state.halted = true;
        r.run(|c, b| c.external_interrupt(b, 0x30)).unwrap();
        assert!(!r.cpu.state.halted);
        let sp = r.cpu.state.gpr(slot::RSP);
        assert_eq!(sp, STACK0 - 20);
        let frame: Vec<u32> = (0..5).map(|i| r.dword(sp + i * 4)).collect();
        let want = [0x1111, (sel::CODE3 | 3).into(), 0x4203, STACK3 as u32, (sel::DATA3 | 3).into()];
        assert_eq!(frame, want);
        assert_eq!(r.cpu.state.eflags(), eflags::CF | eflags::ONE);
        // Vector 80h is a trap gate: IF stays.
        let mut r = Rig::protected(Model::Max);
        r.cpu.state.set_eflags(eflags::IF);
        r.run(|c, b| c.software_int(b, 0x80, 0x400)).unwrap();
        assert_eq!(r.cpu.state.eflags(), eflags::IF | eflags::ONE);
        assert_eq!(r.cpu.state.gpr(slot::RSP), STACK0 - 12);
    }

    #[test]
    fn out_of_v86_and_redirection() {
        let mut r = Rig::v86(3);
        r.run(|c, b| c.software_int(b, 0x80, 0x99)).unwrap();
        assert_eq!((r.cs(), r.cpu.state.cpl, r.cpu.state.v86()), (sel::CODE0, 0, false));
        let sp = r.cpu.state.gpr(slot::RSP);
        assert_eq!(sp, STACK0 - 36);
        let frame: Vec<u32> = (0..9).map(|i| r.dword(sp + i * 4)).collect();
        assert_eq!(frame, [0x99, 0x100, 0x2_3202, 0x800, 0x200, 1, 2, 3, 4]);
        assert!(r.cpu.state.segs[3].attr == 0 && r.cpu.state.segs[5].attr == 0);

        let mut r = Rig::v86(0);
        assert_eq!(r.run(|c, b| c.software_int(b, 0x80, 0)), Err(Fault::gp(0)));
        // VME with a clear redirection bit: the 8086 handler, IF taken from VIF.
        r.cpu.state.cr4 |= cr::VME;
        r.cpu.state.sys_flags |= eflags::VIF;
        r.cpu.state.sys_flags &= !eflags::IF;
        r.poke32(0x10 * 4, 0x0400_0123);
        r.run(|c, b| c.software_int(b, 0x10, 0x99)).unwrap();
        assert_eq!((r.cs(), r.cpu.state.rip, r.cpu.state.v86()), (0x400, 0x123, true));
        let ss = 0x2000;
        assert_eq!([r.word(ss + 0x7fe), r.word(ss + 0x7fc), r.word(ss + 0x7fa)], [0x3202, 0x100, 0x99]);
        assert_eq!(r.cpu.state.sys_flags & eflags::VIF, 0);
        // Bit set: #GP(0) at IOPL 0. The rig sets it for 80h.
        assert_eq!(r.run(|c, b| c.software_int(b, 0x80, 0)), Err(Fault::gp(0)));
    }

    #[test]
    fn icebp_ignores_dpl() {
        let mut r = Rig::protected(Model::Max);
        r.enter_ring3();
        assert_eq!(r.run(|c, b| c.int3(b, 0x10)), Err(Fault::gp(3 * 8 + 2)));
        r.run(|c, b| c.icebp(b, 0x10)).unwrap();
        assert_eq!(r.cpu.state.rip, HANDLER + 1);
    }
}
