//! Model-specific registers, RDTSC and RDPMC (SDM vol. 4).

use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::model::Model;
use crate::state::{cr, slot};

const P5_MC_ADDR: u32 = 0x0;
const P5_MC_TYPE: u32 = 0x1;
const TIME_STAMP_COUNTER: u32 = 0x10;
const PLATFORM_ID: u32 = 0x17;
const APIC_BASE: u32 = 0x1b;
const EBL_CR_POWERON: u32 = 0x2a;
const BIOS_UPDT_TRIG: u32 = 0x79;
const BIOS_SIGN_ID: u32 = 0x8b;
const PERFCTR0: u32 = 0xc1;
const PERFCTR1: u32 = 0xc2;
const MTRRCAP: u32 = 0xfe;
const BBL_CR_CTL3: u32 = 0x11e;
const SYSENTER_CS: u32 = 0x174;
const SYSENTER_ESP: u32 = 0x175;
const SYSENTER_EIP: u32 = 0x176;
const MCG_CAP: u32 = 0x179;
const MCG_STATUS: u32 = 0x17a;
const EVNTSEL0: u32 = 0x186;
const EVNTSEL1: u32 = 0x187;
const MISC_ENABLE: u32 = 0x1a0;
const DEBUGCTL: u32 = 0x1d9;
const LASTBRANCHFROMIP: u32 = 0x1db;
const LASTINTTOIP: u32 = 0x1de;
const MTRR_PHYSBASE0: u32 = 0x200;
const MTRR_PHYSMASK7: u32 = 0x20f;
const MTRR_FIX64K_00000: u32 = 0x250;
const MTRR_FIX16K_80000: u32 = 0x258;
const MTRR_FIX16K_A0000: u32 = 0x259;
const MTRR_FIX4K_C0000: u32 = 0x268;
const MTRR_FIX4K_F8000: u32 = 0x26f;
const PAT: u32 = 0x277;
const MTRR_DEF_TYPE: u32 = 0x2ff;
const TSC_DEADLINE: u32 = 0x6e0;
const EFER: u32 = 0xc000_0080;

/// In IA32_APIC_BASE: the local APIC is on.
pub(super) const APIC_ENABLE: u64 = 1 << 11;

/// Eight variable ranges, fixed ranges, write combining.
const MTRRCAP_VALUE: u64 = 0x508;
/// Fast strings; no branch trace store, no precise events.
const MISC_ENABLE_VALUE: u64 = 1 | 1 << 11 | 1 << 12;
/// Physical address bits that exist.
const PHYS: u64 = (1 << 36) - 1;

/// Where an MTRR is kept in [`crate::State::mtrr`].
fn mtrr_index(n: u32) -> Option<usize> {
    Some(match n {
        MTRR_PHYSBASE0..=MTRR_PHYSMASK7 => n - MTRR_PHYSBASE0,
        MTRR_FIX64K_00000 => 16,
        MTRR_FIX16K_80000 | MTRR_FIX16K_A0000 => 17 + (n - MTRR_FIX16K_80000),
        MTRR_FIX4K_C0000..=MTRR_FIX4K_F8000 => 19 + (n - MTRR_FIX4K_C0000),
        MTRR_DEF_TYPE => 27,
        _ => return None,
    } as usize)
}

/// Memory types that MTRRs accept: UC, WC, WT, WP, WB.
fn mtrr_type(t: u64) -> bool {
    matches!(t & 0xff, 0 | 1 | 4 | 5 | 6)
}

fn mtrr_valid(n: u32, v: u64) -> bool {
    match n {
        MTRR_PHYSBASE0..=MTRR_PHYSMASK7 if n & 1 == 0 => v & !(PHYS & !0xf00) == 0 && mtrr_type(v),
        MTRR_PHYSBASE0..=MTRR_PHYSMASK7 => v & !(PHYS & !0x7ff) == 0,
        MTRR_DEF_TYPE => v & !0xcff == 0 && mtrr_type(v),
        _ => v.to_le_bytes().iter().all(|t| mtrr_type(u64::from(*t))),
    }
}

impl Cpu {
    fn check_msr(&self) -> Res<u32> {
        if self.model < Model::Pentium {
            return Err(Fault::ud());
        }
        self.require_cpl0()?;
        Ok(self.state.gpr(slot::RCX) as u32)
    }

    fn set_edx_eax(&mut self, v: u64) {
        self.state.set_gpr(slot::RAX, v & 0xffff_ffff);
        self.state.set_gpr(slot::RDX, v >> 32);
    }

    /// The time stamp counter.
    fn tsc(&mut self, bus: &mut dyn Bus) -> u64 {
        bus.tsc(self.now()).wrapping_add(self.state.tsc_offset)
    }

    /// IA32_TSC_DEADLINE: the time stamp that the local APIC's timer waits for, 0 for none.
    fn tsc_deadline(&mut self, bus: &mut dyn Bus) -> u64 {
        if !self.local_apic {
            return 0;
        }
        // One that falls on a time stamp of 0 would read as none; it is never armed.
        bus.tsc_deadline(self.now()).map_or(0, |raw| raw.wrapping_add(self.state.tsc_offset))
    }

    fn set_tsc_deadline(&mut self, bus: &mut dyn Bus, deadline: u64) {
        let now = self.now();
        let raw = bus.tsc(now);
        let ahead = deadline.saturating_sub(raw.wrapping_add(self.state.tsc_offset));
        bus.set_tsc_deadline(now, (deadline != 0).then_some(raw.saturating_add(ahead)));
        self.after_device();
    }

    /// The value of an MSR, if the model has it.
    fn msr(&mut self, bus: &mut dyn Bus, n: u32) -> Option<u64> {
        let p6 = self.model >= Model::P3;
        let max = self.model == Model::Max;
        let s = &self.state;
        Some(match n {
            TIME_STAMP_COUNTER => self.tsc(bus),
            P5_MC_ADDR | P5_MC_TYPE => 0,
            _ if !p6 => return None,
            APIC_BASE => s.apic_base,
            MTRRCAP => MTRRCAP_VALUE,
            SYSENTER_CS => s.sysenter_cs,
            SYSENTER_ESP => s.sysenter_esp,
            SYSENTER_EIP => s.sysenter_eip,
            PAT => s.pat,
            // No microcode, no machine check banks, no counters, no branch records.
            PLATFORM_ID
            | EBL_CR_POWERON
            | BIOS_SIGN_ID
            | BBL_CR_CTL3
            | MCG_CAP
            | MCG_STATUS
            | PERFCTR0
            | PERFCTR1
            | EVNTSEL0
            | EVNTSEL1
            | DEBUGCTL
            | LASTBRANCHFROMIP..=LASTINTTOIP => 0,
            MISC_ENABLE if max => MISC_ENABLE_VALUE,
            EFER if max => s.efer,
            TSC_DEADLINE if max && self.local_apic => self.tsc_deadline(bus),
            _ => *s.mtrr.get(mtrr_index(n)?)?,
        })
    }

    /// Writes an MSR; `None` for #GP(0).
    fn set_msr(&mut self, bus: &mut dyn Bus, n: u32, v: u64) -> Option<()> {
        let p6 = self.model >= Model::P3;
        let max = self.model == Model::Max;
        match n {
            TIME_STAMP_COUNTER => {
                // Only the low half can be written before family 15.
                let v = if max { v } else { v & 0xffff_ffff };
                let deadline = self.tsc_deadline(bus);
                self.state.tsc_offset = v.wrapping_sub(bus.tsc(self.now()));
                if deadline != 0 {
                    self.set_tsc_deadline(bus, deadline);
                }
            }
            P5_MC_ADDR | P5_MC_TYPE => {}
            _ if !p6 => return None,
            // Base in bits 12-35, enable, and the bootstrap bit, which cannot be written.
            APIC_BASE if v & !(PHYS & !0xfff | 0x900) == 0 => {
                self.state.apic_base = v & !0x100 | self.state.apic_base & 0x100;
                if self.local_apic {
                    bus.set_apic_base(self.now(), self.state.apic_base);
                    self.after_device();
                }
            }
            TSC_DEADLINE if max && self.local_apic => self.set_tsc_deadline(bus, v),
            SYSENTER_CS => self.state.sysenter_cs = v & 0xffff_ffff,
            SYSENTER_ESP => self.state.sysenter_esp = v & 0xffff_ffff,
            SYSENTER_EIP => self.state.sysenter_eip = v & 0xffff_ffff,
            PAT if v.to_le_bytes().iter().all(|t| matches!(t, 0 | 1 | 4..=7)) => self.state.pat = v,
            BIOS_SIGN_ID | BIOS_UPDT_TRIG | EBL_CR_POWERON | BBL_CR_CTL3 | MCG_STATUS | PERFCTR0 | PERFCTR1
            | EVNTSEL0 | EVNTSEL1 => {}
            DEBUGCTL if v == 0 => {}
            DEBUGCTL => self.log_once("IA32_DEBUGCTL"),
            MISC_ENABLE if max => {}
            EFER if max && v & !cr::EFER_NXE == 0 => {
                if self.state.efer != v {
                    self.state.efer = v;
                    self.flush_shadow(false);
                }
            }
            _ => {
                let i = mtrr_index(n)?;
                if !mtrr_valid(n, v) {
                    return None;
                }
                *self.state.mtrr.get_mut(i)? = v;
            }
        }
        Some(())
    }

    /// RDMSR.
    pub(crate) fn rdmsr(&mut self, bus: &mut dyn Bus) -> Res<()> {
        let n = self.check_msr()?;
        let Some(v) = self.msr(bus, n) else {
            self.unknown_msr("RDMSR of an unknown register", n);
            return Err(Fault::gp(0));
        };
        self.set_edx_eax(v);
        Ok(())
    }

    /// WRMSR.
    pub(crate) fn wrmsr(&mut self, bus: &mut dyn Bus) -> Res<()> {
        let n = self.check_msr()?;
        let v = (self.state.gpr(slot::RDX) & 0xffff_ffff) << 32 | self.state.gpr(slot::RAX) & 0xffff_ffff;
        if self.set_msr(bus, n, v).is_none() {
            self.unknown_msr("WRMSR of an unknown register or value", n);
            return Err(Fault::gp(0));
        }
        Ok(())
    }

    fn unknown_msr(&mut self, what: &'static str, n: u32) {
        log::debug!("{what}: {n:08x}h");
        self.log_once(what);
    }

    /// RDTSC.
    pub(crate) fn rdtsc(&mut self, bus: &mut dyn Bus) -> Res<()> {
        if self.state.cr4 & cr::TSD != 0 && self.state.cpl != 0 {
            return Err(Fault::gp(0));
        }
        let v = self.tsc(bus);
        self.set_edx_eax(v);
        Ok(())
    }

    /// RDPMC: two counters that do not count.
    pub(crate) fn rdpmc(&mut self) -> Res<()> {
        let denied = self.state.cr4 & cr::PCE == 0 && self.state.cpl != 0;
        if denied || self.state.gpr(slot::RCX) & 0xffff_ffff > 1 {
            return Err(Fault::gp(0));
        }
        self.set_edx_eax(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use super::*;

    fn read(r: &mut Rig, n: u32) -> Res<u64> {
        r.cpu.state.set_gpr(slot::RCX, n.into());
        r.run(|c, b| c.rdmsr(b))?;
        Ok(r.cpu.state.gpr(slot::RDX) << 32 | r.cpu.state.gpr(slot::RAX))
    }

    fn write(r: &mut Rig, n: u32, v: u64) -> Res<()> {
        r.cpu.state.set_gpr(slot::RCX, n.into());
        r.set_edx_eax(v);
        r.run(|c, b| c.wrmsr(b))
    }

    impl Rig {
        fn set_edx_eax(&mut self, v: u64) {
            self.cpu.set_edx_eax(v);
        }
    }

    #[test]
    fn models_differ() {
        let gp = Err(Fault::gp(0));
        for (model, n, want) in [
            (Model::I486, TIME_STAMP_COUNTER, Err(Fault::ud())),
            (Model::Pentium, SYSENTER_CS, gp),
            (Model::P3, SYSENTER_CS, Ok(0)),
            (Model::P3, EFER, gp),
            (Model::Max, EFER, Ok(0)),
            (Model::Max, MTRRCAP, Ok(0x508)),
            (Model::Max, MCG_CAP, Ok(0)),
            (Model::Max, 0xc000_0081, gp),
            (Model::Max, 0x1234, gp),
        ] {
            assert_eq!(read(&mut Rig::real(model), n), want, "{model} {n:x}");
        }
    }

    #[test]
    fn values_are_checked() {
        let mut r = Rig::real(Model::Max);
        for (n, v, ok) in [
            (EFER, cr::EFER_NXE, true),
            (EFER, 0x100, false),
            (PAT, 0x0007_0406_0007_0406, true),
            (PAT, 2, false),
            (MTRR_PHYSBASE0, 0xf_ffff_f006, true),
            (MTRR_PHYSBASE0, 0x2, false),
            (MTRR_PHYSMASK7, 0xf_f000_0800, true),
            (MTRR_PHYSMASK7, 0x1f_f000_0800, false),
            (MTRR_FIX4K_F8000, 0x0606_0606_0505_0505, true),
            (MTRR_FIX64K_00000, 0x07, false),
            (MTRR_DEF_TYPE, 0xc06, true),
            (MTRR_DEF_TYPE, 0x100, false),
            (SYSENTER_EIP, 0xc000_1234, true),
        ] {
            let want = if ok { Ok(()) } else { Err(Fault::gp(0)) };
            assert_eq!(write(&mut r, n, v), want, "{n:x} {v:x}");
            if ok {
                assert_eq!(read(&mut r, n), Ok(v), "{n:x}");
            }
        }
    }

    #[test]
    fn tsc_can_be_set_and_restricted() {
        let mut r = Rig::protected(Model::Max);
        write(&mut r, TIME_STAMP_COUNTER, 0x1_0000_0000).unwrap();
        r.cpu.retired += 5;
        r.run(|c, b| c.rdtsc(b)).unwrap();
        assert_eq!((r.cpu.state.gpr(slot::RDX), r.cpu.state.gpr(slot::RAX)), (1, 5));
        r.enter_ring3();
        r.run(|c, b| c.rdtsc(b)).unwrap();
        r.cpu.state.cr4 |= cr::TSD;
        assert_eq!(r.run(|c, b| c.rdtsc(b)), Err(Fault::gp(0)));
        assert_eq!(read(&mut r, TIME_STAMP_COUNTER), Err(Fault::gp(0)));
    }
}
