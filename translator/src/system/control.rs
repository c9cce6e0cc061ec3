//! Control registers, descriptor table registers, and HLT (SDM vol. 3, 2.5 to 2.8).

use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::mmu::walk::pte;
use crate::model::Model;
use crate::state::{SegReg, TableReg, cr};

/// Bits that a present page-directory-pointer entry must have clear, with 36 physical address bits.
const PDPTE_RESERVED: u64 = 0x1e6 | !((1 << 36) - 1);

impl Cpu {
    /// CR0 bits that software can change.
    fn cr0_mask(&self) -> u64 {
        use cr::*;
        match self.model {
            Model::I8086 => 0,
            Model::I286 => PE | MP | EM | TS,
            Model::I386 => PE | MP | EM | TS | ET | PG,
            _ => PE | MP | EM | TS | NE | WP | AM | NW | CD | PG,
        }
    }

    /// CR4 bits of the model.
    fn cr4_mask(&self) -> u64 {
        use cr::*;
        let p5 = VME | PVI | TSD | DE | PSE;
        let p6 = p5 | PAE | PGE | PCE | OSFXSR | OSXMMEXCPT;
        match self.model {
            Model::Pentium => p5 | MCE,
            Model::P3 => p6 | MCE,
            Model::Max => p6,
            _ => 0,
        }
    }

    /// The four PDPTEs that CR3 value `cr3` points to; #GP(0) if a present one has reserved bits set.
    fn read_pdptes(&self, cr3: u64) -> Res<[u64; 4]> {
        let mut raw = [0u8; 32];
        self.mem.dma_read(self.mask_phys(cr3 & 0xffff_ffe0), &mut raw);
        let mut out = [0; 4];
        for (v, bytes) in out.iter_mut().zip(raw.as_chunks::<8>().0) {
            *v = u64::from_le_bytes(*bytes);
            if *v & 1 != 0 && *v & PDPTE_RESERVED != 0 {
                return Err(Fault::gp(0));
            }
        }
        Ok(out)
    }

    fn set_cr0(&mut self, v: u64) -> Res<()> {
        use cr::*;
        let mask = self.cr0_mask();
        let old = self.state.cr0;
        let mut new = old & !mask | v & mask;
        if self.model >= Model::I486 {
            new |= ET;
        }
        if (new & PG != 0 && new & PE == 0) || (new & NW != 0 && new & CD == 0) {
            return Err(Fault::gp(0));
        }
        let changed = old ^ new;
        if new & PG != 0 && self.state.cr4 & PAE != 0 && changed & (PG | CD | NW) != 0 {
            self.state.pdpte = self.read_pdptes(self.state.cr3)?;
        }
        self.state.cr0 = new;
        if changed & (PG | WP | PE) != 0 {
            self.flush_shadow(false);
        }
        self.state.update_mode();
        Ok(())
    }

    /// Loads CR3, also from a TSS.
    pub(super) fn set_cr3(&mut self, v: u64) -> Res<()> {
        let v = v & 0xffff_ffff;
        if self.state.cr0 & cr::PG != 0 && self.state.cr4 & cr::PAE != 0 {
            self.state.pdpte = self.read_pdptes(v)?;
        }
        self.state.cr3 = v;
        self.flush_shadow(self.state.cr4 & cr::PGE != 0);
        Ok(())
    }

    fn set_cr4(&mut self, v: u64) -> Res<()> {
        use cr::*;
        if v & !self.cr4_mask() != 0 {
            return Err(Fault::gp(0));
        }
        let changed = self.state.cr4 ^ v;
        if changed & (PAE | PGE | PSE) != 0 {
            if v & PAE != 0 && self.state.cr0 & PG != 0 {
                self.state.pdpte = self.read_pdptes(self.state.cr3)?;
            }
            self.state.cr4 = v;
            self.flush_shadow(false);
        }
        self.state.cr4 = v;
        self.state.update_mode();
        Ok(())
    }

    /// MOV to CRn.
    pub(crate) fn mov_to_cr(&mut self, _bus: &mut dyn Bus, n: u8, v: u64) -> Res<()> {
        self.check_cr(n)?;
        let v = v & 0xffff_ffff;
        match n {
            0 => self.set_cr0(v),
            2 => {
                self.state.cr2 = v;
                Ok(())
            }
            3 => self.set_cr3(v),
            _ => self.set_cr4(v),
        }
    }

    /// MOV from CRn.
    pub(crate) fn mov_from_cr(&mut self, n: u8) -> Res<u64> {
        self.check_cr(n)?;
        Ok(match n {
            0 => self.state.cr0,
            2 => self.state.cr2,
            3 => self.state.cr3,
            _ => self.state.cr4,
        })
    }

    fn check_cr(&self, n: u8) -> Res<()> {
        let exists = matches!(n, 0 | 2 | 3) || (n == 4 && self.cr4_mask() != 0);
        if !exists {
            return Err(Fault::ud());
        }
        self.require_cpl0()
    }

    /// LMSW: the low four bits of CR0; PE can be set but not cleared.
    pub(crate) fn lmsw(&mut self, v: u16) -> Res<()> {
        self.require_cpl0()?;
        let old = self.state.cr0;
        self.set_cr0(old & !0xe | u64::from(v & 0xf))
    }

    /// SMSW: CR0; the 80286 has ones above its four bits.
    pub(crate) fn smsw(&self) -> u64 {
        if self.model == Model::I286 { self.state.cr0 & 0xf | 0xfff0 } else { self.state.cr0 }
    }

    /// CLTS.
    pub(crate) fn clts(&mut self) -> Res<()> {
        self.require_cpl0()?;
        self.state.cr0 &= !cr::TS;
        self.state.update_mode();
        Ok(())
    }

    /// INVLPG of the page at linear address `lin`.
    pub(crate) fn invlpg(&mut self, lin: u64) -> Res<()> {
        self.require_cpl0()?;
        // The shadow has 4 KiB pieces. One piece is enough while the directory names a page table; where it maps a
        // large page, or did before it was cleared, all pieces of that page have to go.
        let pde = self.explain_walk(lin).into_iter().find(|s| s.level == "PDE");
        if pde.is_some_and(|s| s.value & (pte::P | pte::PS) == pte::P) {
            self.shadow.flush_page(lin & 0xffff_ffff);
        } else {
            self.flush_shadow(false);
        }
        Ok(())
    }

    fn read_table(&mut self, bus: &mut dyn Bus, seg: SegReg, off: u64, osize: u8) -> Res<TableReg> {
        self.require_cpl0()?;
        let limit = self.read_seg::<u16>(bus, seg, off)?;
        let base = u64::from(self.read_seg::<u32>(bus, seg, off.wrapping_add(2) & 0xffff_ffff)?);
        let base = if osize == 2 || self.model == Model::I286 { base & 0xff_ffff } else { base };
        Ok(TableReg { base, limit })
    }

    fn write_table(&mut self, bus: &mut dyn Bus, seg: SegReg, off: u64, t: TableReg) -> Res<()> {
        // The 80286 leaves ones in the byte behind its 24-bit base; later chips store all 32 bits in either size.
        let high = if self.model == Model::I286 { 0xff00_0000 } else { 0 };
        let base_at = off.wrapping_add(2) & 0xffff_ffff;
        self.probe_seg(seg, base_at, 4)?;
        self.write_seg::<u16>(bus, seg, off, t.limit)?;
        self.write_seg::<u32>(bus, seg, base_at, t.base as u32 | high)
    }

    /// LGDT.
    pub(crate) fn lgdt(&mut self, bus: &mut dyn Bus, seg: SegReg, off: u64, osize: u8) -> Res<()> {
        self.state.gdtr = self.read_table(bus, seg, off, osize)?;
        self.state.forget_descriptors();
        Ok(())
    }

    /// LIDT.
    pub(crate) fn lidt(&mut self, bus: &mut dyn Bus, seg: SegReg, off: u64, osize: u8) -> Res<()> {
        self.state.idtr = self.read_table(bus, seg, off, osize)?;
        Ok(())
    }

    /// SGDT. The operand size makes no difference.
    pub(crate) fn sgdt(&mut self, bus: &mut dyn Bus, seg: SegReg, off: u64, _osize: u8) -> Res<()> {
        self.write_table(bus, seg, off, self.state.gdtr)
    }

    /// SIDT. The operand size makes no difference.
    pub(crate) fn sidt(&mut self, bus: &mut dyn Bus, seg: SegReg, off: u64, _osize: u8) -> Res<()> {
        self.write_table(bus, seg, off, self.state.idtr)
    }

    /// HLT.
    pub(crate) fn hlt(&mut self) -> Res<()> {
        self.require_cpl0()?;
        self.state.halted = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use super::*;
    use crate::state::mode;

    #[test]
    fn cr0_rules() {
        for (model, from, v, want) in [
            (Model::I386, cr::ET, cr::PE | cr::ET | 0x7fff_ffe0, Ok(cr::PE | cr::ET)),
            (Model::I386, cr::ET, cr::PG, Err(Fault::gp(0))),
            (Model::I486, 0, cr::PE | cr::WP | cr::NE, Ok(cr::PE | cr::WP | cr::NE | cr::ET)),
            (Model::I486, 0, cr::NW, Err(Fault::gp(0))),
            (Model::I486, 0, cr::NW | cr::CD, Ok(cr::NW | cr::CD | cr::ET)),
            (Model::Max, cr::PE, 0, Ok(cr::ET)),
            (Model::Max, cr::PE, cr::PE | cr::PG, Ok(cr::PE | cr::PG | cr::ET)),
        ] {
            let mut r = Rig::real(model);
            r.cpu.state.cr0 = from;
            let got = r.run(|c, b| c.mov_to_cr(b, 0, v));
            assert_eq!(got.map(|()| r.cpu.state.cr0), want, "{model} {v:x}");
            if want.is_err() {
                assert_eq!(r.cpu.state.cr0, from);
            }
        }
    }

    #[test]
    fn which_registers_exist() {
        for (model, n, want) in [
            (Model::I386, 4, Err(Fault::ud())),
            (Model::I486, 1, Err(Fault::ud())),
            (Model::Pentium, 4, Ok(())),
            (Model::Max, 8, Err(Fault::ud())),
            (Model::Max, 3, Ok(())),
        ] {
            let mut r = Rig::real(model);
            assert_eq!(r.run(|c, b| c.mov_to_cr(b, n, 0)), want, "{model} CR{n}");
        }
        let mut r = Rig::real(Model::Pentium);
        assert_eq!(r.run(|c, b| c.mov_to_cr(b, 4, cr::PAE)), Err(Fault::gp(0)));
        let mut r = Rig::protected(Model::Max);
        r.enter_ring3();
        assert_eq!(r.run(|c, _| c.mov_from_cr(0)), Err(Fault::gp(0)));
        assert_eq!(r.run(|c, _| c.hlt()), Err(Fault::gp(0)));
        assert_eq!(r.run(|c, _| c.clts()), Err(Fault::gp(0)));
        assert_eq!(r.run(|c, _| c.invlpg(0)), Err(Fault::gp(0)));
        assert_eq!(r.run(|c, b| c.lgdt(b, SegReg::Ds, 0, 4)), Err(Fault::gp(0)));
    }

    #[test]
    fn pae_loads_and_checks_the_pdptes() {
        let mut r = Rig::protected(Model::Max);
        for (i, v) in [0x5001u64, 0, 0x6001, 0x7000_0000_0000_0000].iter().enumerate() {
            r.cpu.mem.ram().write(0x9020 + 8 * i, *v);
        }
        r.run(|c, b| c.mov_to_cr(b, 4, cr::PAE)).unwrap();
        r.run(|c, b| c.mov_to_cr(b, 3, 0x9020)).unwrap();
        let cr0 = r.cpu.state.cr0;
        r.run(|c, b| c.mov_to_cr(b, 0, cr0 | cr::PG)).unwrap();
        assert_eq!(r.cpu.state.pdpte, [0x5001, 0, 0x6001, 0x7000_0000_0000_0000]);
        r.cpu.mem.ram().write(0x9028, 0x21u64);
        assert_eq!(r.run(|c, b| c.mov_to_cr(b, 3, 0x9020)), Err(Fault::gp(0)));
        assert_eq!(r.cpu.state.pdpte[1], 0);
    }

    #[test]
    fn invlpg_forgets_all_of_a_large_page() {
        let mut r = Rig::protected(Model::Max);
        // 0 and 4 MiB: large pages at 0; 8 MiB: a table whose first two pages are at 0.
        r.poke32(0x30000, 0x83);
        r.poke32(0x30004, 0x83);
        r.poke32(0x30008, 0x31003);
        r.poke32(0x31000, 3);
        r.poke32(0x31004, 3);
        let cr0 = r.cpu.state.cr0;
        r.run(|c, b| c.mov_to_cr(b, 4, cr::PSE)).unwrap();
        r.run(|c, b| c.mov_to_cr(b, 3, 0x30000)).unwrap();
        r.run(|c, b| c.mov_to_cr(b, 0, cr0 | cr::PG)).unwrap();
        let read = |r: &mut Rig, lin: u64| r.run(|c, b| c.read_lin::<u8>(b, lin, false)).is_ok();
        let all = [0x40_0000, 0x40_1000, 0x80_0000, 0x80_1000];
        assert!(all.iter().all(|lin| read(&mut r, *lin)));
        // Without INVLPG the old translations may be used; with it the named page's may not.
        r.poke32(0x31000, 0);
        r.run(|c, _| c.invlpg(0x80_0123)).unwrap();
        assert_eq!(all.map(|lin| read(&mut r, lin)), [true, true, false, true]);
        r.poke32(0x30004, 0);
        r.run(|c, _| c.invlpg(0x40_0000)).unwrap();
        assert_eq!(all.map(|lin| read(&mut r, lin)), [false, false, false, true]);
    }

    #[test]
    fn lmsw_cannot_leave_protected_mode() {
        let mut r = Rig::protected(Model::I286);
        r.run(|c, _| c.lmsw(cr::TS as u16 | 0xfff0)).unwrap();
        assert_eq!(r.cpu.smsw(), 0xfff0 | cr::TS | cr::PE);
        r.run(|c, _| c.clts()).unwrap();
        assert_eq!(r.cpu.smsw(), 0xfff1);
        assert_ne!(r.cpu.state.mode & mode::PE, 0);
    }

    #[test]
    fn table_registers() {
        let mut r = Rig::real(Model::I386);
        r.poke16(0x500, 0x1234);
        r.poke32(0x502, 0x89ab_cdef);
        r.run(|c, b| c.lidt(b, SegReg::Ds, 0x500, 2)).unwrap();
        assert_eq!(r.cpu.state.idtr, TableReg { base: 0xab_cdef, limit: 0x1234 });
        r.run(|c, b| c.lgdt(b, SegReg::Ds, 0x500, 4)).unwrap();
        assert_eq!(r.cpu.state.gdtr, TableReg { base: 0x89ab_cdef, limit: 0x1234 });
        r.run(|c, b| c.sgdt(b, SegReg::Ds, 0x600, 2)).unwrap();
        assert_eq!((r.word(0x600), r.dword(0x602)), (0x1234, 0x89ab_cdef));
        // A base that does not fit under the limit: nothing is written.
        assert_eq!(r.run(|c, b| c.sidt(b, SegReg::Ds, 0xfffc, 4)), Err(Fault::gp(0)));
        assert_eq!(r.word(0xfffc), 0);
    }
}
