//! Hardware task switches (SDM vol. 3, chapter 7).

use super::descriptor::{Descriptor, code, is_null, kind, rpl};
use super::segments::V86_DATA;
use super::stack::Stack;
use super::{EXT, NEW_TASK};
use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::state::{SegReg, Segment, cr, eflags, slot};

/// What switches tasks; decides about busy bits, NT and the back link (SDM vol. 3, table 7-2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// JMP.
    Jump,
    /// CALL.
    Call,
    /// IRET with NT set.
    Iret,
    /// Interrupt or exception through a task gate.
    Event,
}

/// A task switch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch {
    /// What switches.
    pub reason: Reason,
    /// [`EXT`] or 0.
    pub ext: u32,
    /// Error code to push on the new task's stack.
    pub error: Option<u32>,
    /// EIP to save.
    pub ip: u64,
    /// EFLAGS to save.
    pub flags: u32,
}

/// Offsets in a TSS (SDM vol. 3, figures 7-2 and 7-10).
struct Layout {
    wide: bool,
    ip: u64,
    flags: u64,
    gprs: u64,
    segs: u64,
    ldt: u64,
    /// Bytes that must be there.
    len: u64,
}

const TSS32: Layout = Layout { wide: true, ip: 0x20, flags: 0x24, gprs: 0x28, segs: 0x48, ldt: 0x60, len: 0x68 };
const TSS16: Layout = Layout { wide: false, ip: 0x0e, flags: 0x10, gprs: 0x12, segs: 0x22, ldt: 0x2a, len: 0x2c };

/// Offset of CR3 in a 32-bit TSS.
const CR3: u64 = 0x1c;
/// Offset of the debug trap bit in a 32-bit TSS.
const TRAP: u64 = 0x64;
/// DR6: task switch.
const DR6_BT: u32 = 1 << 15;
/// DR7: the local enable bits, which a task switch clears.
const DR7_LOCAL: u64 = 0x155;

impl Layout {
    fn of(system_type: u8) -> &'static Layout {
        if system_type & 8 != 0 { &TSS32 } else { &TSS16 }
    }
    fn segments(&self) -> usize {
        if self.wide { 6 } else { 4 }
    }
    /// Size of a segment register's field.
    fn seg_step(&self) -> u64 {
        if self.wide { 4 } else { 2 }
    }
}

impl Cpu {
    /// The descriptor of a TSS in the GDT, available or `busy`, present. `bad` makes every fault but #NP.
    pub(super) fn tss_descriptor(
        &mut self,
        bus: &mut dyn Bus,
        sel: u16,
        busy: bool,
        bad: fn(u32) -> Fault,
        ext: u32,
    ) -> Res<Descriptor> {
        let error = code(sel) | ext;
        if sel & 4 != 0 || is_null(sel) {
            return Err(bad(error));
        }
        let d = self.find_descriptor(bus, sel)?.ok_or(bad(error))?;
        let fits = match d.system_type() {
            kind::TSS16 | kind::TSS32 => !busy,
            kind::TSS16_BUSY | kind::TSS32_BUSY => busy,
            _ => false,
        };
        if !fits {
            return Err(bad(error));
        }
        if !d.present() {
            return Err(Fault::np(error));
        }
        Ok(d)
    }

    /// Sets or clears the busy bit of a TSS descriptor in memory.
    pub(super) fn set_busy(&mut self, bus: &mut dyn Bus, d: &mut Descriptor, busy: bool) -> Res<()> {
        d.hi = d.hi & !0x200 | if busy { 0x200 } else { 0 };
        self.write_lin::<u8>(bus, d.at.wrapping_add(5) & 0xffff_ffff, false, (d.hi >> 8) as u8)
    }

    fn tss_read(&mut self, bus: &mut dyn Bus, base: u64, at: u64, wide: bool) -> Res<u32> {
        let lin = base.wrapping_add(at) & 0xffff_ffff;
        if wide { self.read_lin::<u32>(bus, lin, false) } else { self.read_lin::<u16>(bus, lin, false).map(u32::from) }
    }

    fn tss_write(&mut self, bus: &mut dyn Bus, base: u64, at: u64, wide: bool, v: u32) -> Res<()> {
        let lin = base.wrapping_add(at) & 0xffff_ffff;
        if wide { self.write_lin(bus, lin, false, v) } else { self.write_lin(bus, lin, false, v as u16) }
    }

    /// Makes sure that writes to the `len` (under a page) bytes at `lin` cannot fault.
    fn probe_range(&mut self, lin: u64, len: u64) -> Res<()> {
        self.probe_write(lin & 0xffff_ffff, 1, false)?;
        self.probe_write(lin.wrapping_add(len - 1) & 0xffff_ffff, 1, false)
    }

    /// Switches to the task of `tss`, whose descriptor the caller has checked. Faults before the switch belong to the
    /// old task and change nothing; later ones have [`NEW_TASK`] set and happen with the new task's registers.
    pub(super) fn task_switch(&mut self, bus: &mut dyn Bus, mut tss: Descriptor, sw: &Switch) -> Res<()> {
        let old = self.state.tr;
        let from = Layout::of(old.system_type());
        let to = Layout::of(tss.system_type());
        if u64::from(tss.limit()) + 1 < to.len {
            return Err(Fault::ts(tss.code() | sw.ext));
        }
        // The static fields at the end of the old TSS are not written.
        let saved = from.segs + from.segments() as u64 * from.seg_step();
        if u64::from(old.limit) + 1 < saved {
            return Err(Fault::ts(code(old.selector) | sw.ext));
        }

        // Everything that will be touched before the new task's context is complete.
        let new_base = tss.base();
        self.probe_range(old.base.wrapping_add(from.ip), saved - from.ip)?;
        self.tss_read(bus, new_base, 0, false)?;
        self.tss_read(bus, new_base, to.len - 2, false)?;
        let leaves = matches!(sw.reason, Reason::Jump | Reason::Iret);
        let nested = matches!(sw.reason, Reason::Call | Reason::Event);
        let old_entry = self.state.gdtr.base.wrapping_add(u64::from(old.selector & 0xfff8)) & 0xffff_ffff;
        if leaves {
            self.probe_write(old_entry.wrapping_add(5) & 0xffff_ffff, 1, false)?;
        }
        if nested {
            self.probe_range(new_base, 2)?;
        }
        self.probe_write(tss.at.wrapping_add(5) & 0xffff_ffff, 1, false)?;

        // Save the old task.
        if leaves {
            let mut d = self.descriptor_at(bus, old_entry, old.selector)?;
            self.set_busy(bus, &mut d, false)?;
        }
        self.tss_write(bus, old.base, from.ip, from.wide, sw.ip as u32)?;
        self.tss_write(bus, old.base, from.flags, from.wide, sw.flags)?;
        let step = from.seg_step();
        for i in 0..8u8 {
            let v = self.state.gpr(i) as u32;
            self.tss_write(bus, old.base, from.gprs + u64::from(i) * step, from.wide, v)?;
        }
        for i in 0..from.segments() {
            let sel = self.state.segs[i].selector;
            self.tss_write(bus, old.base, from.segs + i as u64 * step, false, u32::from(sel))?;
        }

        // Read the new one.
        if nested {
            self.tss_write(bus, new_base, 0, false, u32::from(old.selector))?;
        }
        let ip = self.tss_read(bus, new_base, to.ip, to.wide)?;
        let mut flags = self.tss_read(bus, new_base, to.flags, to.wide)?;
        let step = to.seg_step();
        let mut gprs = [0u32; 8];
        for (i, v) in gprs.iter_mut().enumerate() {
            *v = self.tss_read(bus, new_base, to.gprs + i as u64 * step, to.wide)?;
        }
        let mut sels = [0u16; 6];
        for (i, v) in sels.iter_mut().take(to.segments()).enumerate() {
            *v = self.tss_read(bus, new_base, to.segs + i as u64 * step, false)? as u16;
        }
        let ldt = self.tss_read(bus, new_base, to.ldt, false)? as u16;
        let cr3 = if to.wide { Some(self.tss_read(bus, new_base, CR3, true)?) } else { None };
        let trap = to.wide && self.tss_read(bus, new_base, TRAP, false)? & 1 != 0;

        // From here on the new task runs.
        if sw.reason != Reason::Iret {
            self.set_busy(bus, &mut tss, true)?;
        }
        self.state.tr = tss.segment();
        self.state.cr0 |= cr::TS;
        self.state.dr[7] &= !DR7_LOCAL;
        let paging = match cr3 {
            Some(v) if self.state.cr0 & cr::PG != 0 => self.set_cr3(u64::from(v)),
            _ => Ok(()),
        };
        if nested {
            flags |= eflags::NT;
        }
        for (i, v) in gprs.iter().enumerate() {
            self.state.set_gpr(i as u8, u64::from(*v));
        }
        self.state.rip = u64::from(ip);
        self.state.set_eflags(flags & self.flag_mask());
        // Until they are loaded the segment registers are unusable.
        for (i, sel) in sels.iter().enumerate() {
            self.state.segs[i].selector = *sel;
            self.state.segs[i].attr = 0;
        }
        self.state.ldtr = Segment { selector: ldt, ..Segment::default() };
        self.state.cpl = if self.state.v86() { 3 } else { rpl(sels[SegReg::Cs as usize]) };
        self.state.update_mode();
        if trap {
            self.state.pending_debug |= DR6_BT;
        }
        self.bail = true;
        let result = paging.and_then(|()| self.enter_task(bus, sels, ldt, to.wide, sw));
        self.state.update_mode();
        result.map_err(|f| Fault { dr6: f.dr6 | NEW_TASK, ..f })
    }

    /// Loads the new task's LDTR and segment registers and pushes the error code.
    fn enter_task(&mut self, bus: &mut dyn Bus, sels: [u16; 6], ldt: u16, wide: bool, sw: &Switch) -> Res<()> {
        let ext = sw.ext & EXT;
        self.state.ldtr = self.ldt_segment(bus, ldt, Fault::ts, Fault::ts, ext)?;
        if self.state.v86() {
            for (seg, selector) in self.state.segs.iter_mut().zip(sels) {
                *seg = Segment { base: u64::from(selector) << 4, limit: 0xffff, attr: V86_DATA, selector };
            }
        } else {
            let cpl = self.state.cpl;
            let mut ss = self.stack_descriptor(bus, sels[SegReg::Ss as usize], cpl, Fault::ts, ext)?;
            self.mark_accessed(bus, &mut ss)?;
            self.state.segs[SegReg::Ss as usize] = ss.segment();
            let cs = sels[SegReg::Cs as usize];
            let error = code(cs) | ext;
            if is_null(cs) {
                return Err(Fault::ts(error));
            }
            let mut d = self.find_descriptor(bus, cs)?.ok_or(Fault::ts(error))?;
            let level_ok = if d.is_conforming() { d.dpl() <= cpl } else { d.dpl() == cpl };
            if !d.is_code() || !level_ok {
                return Err(Fault::ts(error));
            }
            if !d.present() {
                return Err(Fault::np(error));
            }
            self.mark_accessed(bus, &mut d)?;
            self.set_cs(&d, cpl);
            for seg in [SegReg::Es, SegReg::Ds, SegReg::Fs, SegReg::Gs] {
                let sel = sels[seg as usize];
                self.state.segs[seg as usize] = if is_null(sel) {
                    self.null_segment(seg, sel)
                } else {
                    let mut d = self.data_descriptor(bus, sel, cpl, Fault::ts, ext)?;
                    self.mark_accessed(bus, &mut d)?;
                    d.segment()
                };
            }
        }
        self.state.update_mode();
        if let Some(error) = sw.error {
            let st = Stack { error: ext, ..self.current_stack(0) };
            let sp = self.push_frame(bus, &st, if wide { 4 } else { 2 }, &[error])?;
            self.state.set_gpr(slot::RSP, sp);
        }
        let cs = self.state.segs[SegReg::Cs as usize];
        self.check_ip(&cs, self.state.rip, ext)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, STACK0, TSS_A, TSS_B, TSS16 as TSS_16, sel};
    use super::*;
    use crate::model::Model;

    fn rig() -> Rig {
        let mut r = Rig::protected(Model::Max);
        r.fill_tss32(TSS_B, 0x2000, eflags::CF, sel::CODE0, sel::DATA0, 0x7000);
        r
    }

    #[test]
    fn call_and_return_nest() {
        let mut r = rig();
        r.cpu.state.set_gpr(slot::RBX, 0x1234_5678);
        r.cpu.state.set_eflags(eflags::IF);
        r.cpu.state.dr[7] = 0x403;
        r.run(|c, b| c.far_call(b, sel::TSS_B, 0, 4, 0x505)).unwrap();
        assert_eq!((r.cs(), r.cpu.state.rip, r.cpu.state.gpr(slot::RSP)), (sel::CODE0, 0x2000, 0x7000));
        assert_eq!(r.cpu.state.eflags(), eflags::CF | eflags::NT | eflags::ONE);
        assert_eq!(r.cpu.state.cr0 & cr::TS, cr::TS);
        assert_eq!(r.cpu.state.dr[7], 0x402);
        assert_eq!(r.cpu.state.tr.selector, sel::TSS_B);
        assert_eq!((r.busy(sel::TSS_A), r.busy(sel::TSS_B)), (true, true));
        assert_eq!(r.word(TSS_B), sel::TSS_A);
        assert_eq!((r.dword(TSS_A + 0x20), r.dword(TSS_A + 0x24)), (0x505, eflags::IF | eflags::ONE));
        assert_eq!((r.dword(TSS_A + 0x34), r.word(TSS_A + 0x50)), (0x1234_5678, sel::DATA0));
        // The nested task returns.
        r.run(|c, b| c.iret(b, 4, 0x2002)).unwrap();
        assert_eq!((r.cpu.state.tr.selector, r.cpu.state.rip), (sel::TSS_A, 0x505));
        assert_eq!(r.cpu.state.eflags(), eflags::IF | eflags::ONE);
        assert_eq!((r.busy(sel::TSS_A), r.busy(sel::TSS_B)), (true, false));
        assert_eq!(r.cpu.state.gpr(slot::RBX), 0x1234_5678);
        assert_eq!(r.dword(TSS_B + 0x20), 0x2002);
        assert_eq!(r.dword(TSS_B + 0x24) & eflags::NT, 0, "IRET clears NT in the image it saves");
    }

    #[test]
    fn jump_leaves_the_old_task() {
        let mut r = rig();
        r.run(|c, b| c.far_jmp(b, sel::TASK_GATE, 0, 4, 0x505)).unwrap();
        assert_eq!((r.busy(sel::TSS_A), r.busy(sel::TSS_B)), (false, true));
        assert_eq!(r.cpu.state.eflags() & eflags::NT, 0);
        assert_eq!(r.run(|c, b| c.far_jmp(b, sel::TSS_B, 0, 4, 0)), Err(Fault::gp(sel::TSS_B.into())), "busy");
    }

    #[test]
    fn exception_through_a_task_gate_pushes_its_error_code() {
        let mut r = rig();
        r.set_task_gate(13, sel::TSS_B);
        r.cpu.state.rip = 0x333;
        r.run(|c, b| c.deliver_exception(b, Fault::gp(0x28), true)).unwrap();
        assert_eq!((r.cpu.state.gpr(slot::RSP), r.dword(0x6ffc)), (0x6ffc, 0x28));
        assert_eq!((r.dword(TSS_A + 0x20), r.dword(TSS_A + 0x24)), (0x333, eflags::RF | eflags::ONE));
    }

    #[test]
    fn sixteen_bit_tss() {
        let mut r = Rig::protected(Model::I286);
        let values = [0, 0, 0, 0, 0, 0, 0, 0x4000, 0x3, 1, 2, 3, 4, STACK0 as u16 - 64, 6, 7, 8];
        for (i, v) in values.iter().enumerate() {
            r.poke16(TSS_16 + 2 * i as u64, *v);
        }
        for (i, v) in [sel::DATA16, sel::CODE16, sel::DATA16, sel::DATA16, 0].iter().enumerate() {
            r.poke16(TSS_16 + 0x22 + 2 * i as u64, *v);
        }
        r.run(|c, b| c.far_call(b, sel::TSS16, 0, 2, 0x10)).unwrap();
        let gprs: Vec<u64> = (0..8).map(|i| r.cpu.state.gpr(i)).collect();
        assert_eq!(gprs, [1, 2, 3, 4, STACK0 - 64, 6, 7, 8]);
        assert_eq!((r.cs(), r.cpu.state.rip), (sel::CODE16, 0x4000));
        assert_eq!(r.cpu.state.eflags(), 0x4003);
    }

    #[test]
    fn faults_before_and_after_the_switch() {
        // Too small: the old task faults.
        let mut r = rig();
        r.set_limit(sel::TSS_B, 0x66);
        let before = r.cpu.state.clone();
        assert_eq!(r.run(|c, b| c.far_jmp(b, sel::TSS_B, 0, 4, 0)), Err(Fault::ts(sel::TSS_B.into())));
        r.assert_same(&before);
        // Bad segments: the new task faults.
        let marked = |f: Fault| Fault { dr6: NEW_TASK, ..f };
        for (at, value, want) in [
            (0x60, sel::DATA0, Fault::ts(sel::DATA0.into())),
            (0x50, 0, Fault::ts(0)),
            (0x50, sel::ABSENT, Fault::ss(sel::ABSENT.into())),
            (0x4c, sel::DATA0, Fault::ts(sel::DATA0.into())),
            (0x4c, sel::ABSENT_CODE, Fault::np(sel::ABSENT_CODE.into())),
            (0x54, sel::EXEC_ONLY, Fault::ts(sel::EXEC_ONLY.into())),
            (0x54, sel::ABSENT, Fault::np(sel::ABSENT.into())),
        ] {
            let mut r = rig();
            r.poke16(TSS_B + at, value);
            assert_eq!(r.run(|c, b| c.far_jmp(b, sel::TSS_B, 0, 4, 0)), Err(marked(want)), "field {at:x}");
            assert_eq!((r.cpu.state.tr.selector, r.cpu.state.rip), (sel::TSS_B, 0x2000));
        }
    }

    #[test]
    fn trap_bit() {
        let mut r = rig();
        r.poke16(TSS_B + TRAP, 1);
        r.run(|c, b| c.far_jmp(b, sel::TSS_B, 0, 4, 0)).unwrap();
        assert_eq!(r.cpu.state.pending_debug, DR6_BT);
    }
}
