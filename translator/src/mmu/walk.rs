//! The guest's page tables (SDM vol. 3, chapter 4): 32-bit with PSE, and PAE with NX.

use crate::activity::Doing;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::mmu::shadow;
use crate::state::cr;

/// Why memory is touched; decides permission and the error code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Data read.
    Read,
    /// Data write, or the read of a read-modify-write.
    Write,
    /// Instruction fetch.
    Fetch,
}

/// Error code bits of #PF (SDM vol. 3, 4.7).
mod pf {
    pub const P: u32 = 1 << 0;
    pub const W: u32 = 1 << 1;
    pub const U: u32 = 1 << 2;
    pub const RSVD: u32 = 1 << 3;
    pub const I: u32 = 1 << 4;
}

/// Page table entry bits.
pub mod pte {
    /// Present.
    pub const P: u64 = 1 << 0;
    /// Writable.
    pub const RW: u64 = 1 << 1;
    /// User.
    pub const US: u64 = 1 << 2;
    /// Accessed.
    pub const A: u64 = 1 << 5;
    /// Dirty.
    pub const D: u64 = 1 << 6;
    /// Page size.
    pub const PS: u64 = 1 << 7;
    /// Global.
    pub const G: u64 = 1 << 8;
    /// No execute (PAE, EFER.NXE).
    pub const NX: u64 = 1 << 63;
}

/// What a walk found: the physical page and what each access may do with it.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    /// Physical address of the 4 KiB page.
    pub page: u64,
    /// Writes are allowed and the dirty bit is set.
    pub writable: bool,
    /// Fetches are allowed.
    pub executable: bool,
    /// Global and CR4.PGE.
    pub global: bool,
}

/// One level of a walk as a diagnostic shows it: table entry address and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkStep {
    /// Name of the level: PDPTE, PDE, PTE.
    pub level: &'static str,
    /// Physical address of the entry; all ones for the PDPTE registers.
    pub address: u64,
    /// Its value.
    pub value: u64,
}

impl Cpu {
    fn table_read(&self, addr: u64, wide: bool) -> u64 {
        let addr = self.mask_phys(addr);
        match self.mem.page(addr).read {
            Some(off) if wide => self.mem.ram().read((off + (addr & 0xff8)) as usize),
            Some(off) => u64::from(self.mem.ram().read::<u32>((off + (addr & 0xffc)) as usize)),
            None if wide => u64::MAX,
            None => u64::from(u32::MAX),
        }
    }

    fn table_set(&mut self, addr: u64, value: u64, bits: u64) {
        if value & bits == bits {
            return;
        }
        let addr = self.mask_phys(addr);
        if let Some(page) = self.mem.page(addr).write {
            // Accessed and dirty live in the low byte: writing that byte alone is the atomic update of hardware.
            let off = page + (addr & 0xfff);
            self.mem.ram().write(off as usize, (value | bits) as u8);
            self.code_written(off, 1);
        }
    }

    /// Walks the tables for `lin`, sets accessed and dirty bits, and returns the leaf. `user` selects the privilege.
    pub(crate) fn walk(&mut self, lin: u64, access: Access, user: bool) -> Res<Leaf> {
        if self.state.cr0 & cr::PG == 0 {
            return Ok(Leaf { page: lin & 0xffff_f000, writable: true, executable: true, global: false });
        }
        if self.state.cr4 & cr::PAE != 0 { self.walk_pae(lin, access, user) } else { self.walk_32(lin, access, user) }
    }

    fn page_fault(&self, lin: u64, access: Access, user: bool, code: u32) -> Fault {
        let mut e = code;
        if access == Access::Write {
            e |= pf::W;
        }
        if user {
            e |= pf::U;
        }
        if access == Access::Fetch && self.state.cr4 & cr::PAE != 0 && self.state.efer & cr::EFER_NXE != 0 {
            e |= pf::I;
        }
        Fault::pf(e, lin & 0xffff_ffff)
    }

    /// Permission check of the combined rights; true if the access may go on.
    fn allowed(&self, rights: u64, nx: bool, access: Access, user: bool) -> bool {
        if user && rights & pte::US == 0 {
            return false;
        }
        match access {
            Access::Read => true,
            Access::Write => rights & pte::RW != 0 || (!user && self.state.cr0 & cr::WP == 0),
            Access::Fetch => !nx,
        }
    }

    fn leaf(&self, page: u64, rights: u64, nx: bool, dirty: bool, global: bool, user: bool) -> Leaf {
        Leaf {
            page,
            writable: dirty && self.allowed(rights, nx, Access::Write, user),
            executable: !nx,
            global: global && self.state.cr4 & cr::PGE != 0,
        }
    }

    fn walk_32(&mut self, lin: u64, access: Access, user: bool) -> Res<Leaf> {
        let pde_at = (self.state.cr3 & 0xffff_f000) + (lin >> 22 & 0x3ff) * 4;
        let pde = self.table_read(pde_at, false);
        if pde & pte::P == 0 {
            return Err(self.page_fault(lin, access, user, 0));
        }
        if pde & pte::PS != 0 && self.state.cr4 & cr::PSE != 0 {
            // PSE-36: bits 13-16 are physical address bits 32-35; 17-21 are reserved.
            if pde & 0x003e_0000 != 0 {
                return Err(self.page_fault(lin, access, user, pf::P | pf::RSVD));
            }
            if !self.allowed(pde, false, access, user) {
                return Err(self.page_fault(lin, access, user, pf::P));
            }
            let set = if access == Access::Write { pte::A | pte::D } else { pte::A };
            self.table_set(pde_at, pde, set);
            let base = pde & 0xffc0_0000 | (pde & 0x1e000) << 19;
            return Ok(self.leaf(
                base | lin & 0x003f_f000,
                pde,
                false,
                (pde | set) & pte::D != 0,
                pde & pte::G != 0,
                user,
            ));
        }
        let pte_at = (pde & 0xffff_f000) + (lin >> 12 & 0x3ff) * 4;
        let entry = self.table_read(pte_at, false);
        if entry & pte::P == 0 {
            return Err(self.page_fault(lin, access, user, 0));
        }
        let rights = pde & entry;
        if !self.allowed(rights, false, access, user) {
            return Err(self.page_fault(lin, access, user, pf::P));
        }
        self.table_set(pde_at, pde, pte::A);
        let set = if access == Access::Write { pte::A | pte::D } else { pte::A };
        self.table_set(pte_at, entry, set);
        let dirty = (entry | set) & pte::D != 0;
        Ok(self.leaf(entry & 0xffff_f000, rights, false, dirty, entry & pte::G != 0, user))
    }

    fn walk_pae(&mut self, lin: u64, access: Access, user: bool) -> Res<Leaf> {
        const ADDR: u64 = 0x000f_ffff_ffff_f000;
        let max_phys = (1u64 << 36) - 1;
        let nxe = self.state.efer & cr::EFER_NXE != 0;
        let reserved = (ADDR & !max_phys) | 0x7ff0_0000_0000_0000 | if nxe { 0 } else { pte::NX };
        let pdpte = self.state.pdpte[(lin >> 30 & 3) as usize];
        if pdpte & pte::P == 0 {
            return Err(self.page_fault(lin, access, user, 0));
        }
        let pde_at = (pdpte & ADDR) + (lin >> 21 & 0x1ff) * 8;
        let pde = self.table_read(pde_at, true);
        if pde & pte::P == 0 {
            return Err(self.page_fault(lin, access, user, 0));
        }
        let large = pde & pte::PS != 0;
        let pde_reserved = reserved | if large { 0x1f_e000 } else { 0 };
        if pde & pde_reserved != 0 {
            return Err(self.page_fault(lin, access, user, pf::P | pf::RSVD));
        }
        let set = if access == Access::Write { pte::A | pte::D } else { pte::A };
        if large {
            let nx = pde & pte::NX != 0;
            if !self.allowed(pde, nx, access, user) {
                return Err(self.page_fault(lin, access, user, pf::P));
            }
            self.table_set(pde_at, pde, set);
            let page = pde & ADDR & !0x1f_ffff | lin & 0x1f_f000;
            return Ok(self.leaf(page, pde, nx, (pde | set) & pte::D != 0, pde & pte::G != 0, user));
        }
        let pte_at = (pde & ADDR) + (lin >> 12 & 0x1ff) * 8;
        let entry = self.table_read(pte_at, true);
        if entry & pte::P == 0 {
            return Err(self.page_fault(lin, access, user, 0));
        }
        if entry & reserved != 0 {
            return Err(self.page_fault(lin, access, user, pf::P | pf::RSVD));
        }
        let rights = pde & entry;
        let nx = (pde | entry) & pte::NX != 0;
        if !self.allowed(rights, nx, access, user) {
            return Err(self.page_fault(lin, access, user, pf::P));
        }
        self.table_set(pde_at, pde, pte::A);
        self.table_set(pte_at, entry, set);
        let dirty = (entry | set) & pte::D != 0;
        Ok(self.leaf(entry & ADDR, rights, nx, dirty, entry & pte::G != 0, user))
    }

    /// The entries a walk for `lin` would read, without side effects: for diagnostics.
    pub fn explain_walk(&self, lin: u64) -> Vec<WalkStep> {
        let mut steps = Vec::new();
        if self.state.cr0 & cr::PG == 0 {
            return steps;
        }
        let pae = self.state.cr4 & cr::PAE != 0;
        let (pde_at, mask) = if pae {
            let e = self.state.pdpte[(lin >> 30 & 3) as usize];
            steps.push(WalkStep { level: "PDPTE", address: u64::MAX, value: e });
            if e & pte::P == 0 {
                return steps;
            }
            ((e & 0x000f_ffff_ffff_f000) + (lin >> 21 & 0x1ff) * 8, 0x000f_ffff_ffff_f000)
        } else {
            ((self.state.cr3 & 0xffff_f000) + (lin >> 22 & 0x3ff) * 4, 0xffff_f000)
        };
        let pde = self.table_read(pde_at, pae);
        steps.push(WalkStep { level: "PDE", address: pde_at, value: pde });
        if pde & pte::P == 0 || (pde & pte::PS != 0 && (pae || self.state.cr4 & cr::PSE != 0)) {
            return steps;
        }
        let at = if pae { (pde & mask) + (lin >> 12 & 0x1ff) * 8 } else { (pde & mask) + (lin >> 12 & 0x3ff) * 4 };
        steps.push(WalkStep { level: "PTE", address: at, value: self.table_read(at, pae) });
        steps
    }

    /// Resolves the page of `lin` through the shadow, walking and filling on a miss. Returns a shadow entry that
    /// grants `access` (a write to a page with code is granted by [`shadow::GUEST_W`] alone).
    pub(crate) fn translate(&mut self, lin: u64, access: Access, user: bool) -> Res<u64> {
        let view = usize::from(user);
        let need = match access {
            Access::Read => shadow::R,
            Access::Write => shadow::GUEST_W,
            Access::Fetch => shadow::X,
        };
        let entry = self.shadow.get(view, lin);
        if entry & need != 0 {
            return Ok(entry);
        }
        self.stats.walks += 1;
        let before = self.activity.enter(Doing::Walk);
        let found = self.walk(lin, access, user);
        self.activity.leave(before);
        let leaf = found?;
        let phys = self.mask_phys(leaf.page);
        let target = self.mem.page(phys);
        let mut e = shadow::R;
        if leaf.global {
            e |= shadow::G;
        }
        if leaf.writable {
            e |= shadow::GUEST_W;
        }
        match target.read {
            Some(off) if target.write == Some(off) => {
                e |= off;
                if leaf.writable && !self.mem.is_code(off) {
                    e |= shadow::W;
                }
            }
            // ROM reads at full speed; a write has to find its physical address again.
            Some(off) => e = e & !shadow::GUEST_W | off,
            None => e |= phys | shadow::IO,
        }
        let same = (entry ^ e) & (!0xfff | shadow::IO) == 0;
        if access == Access::Fetch || (leaf.executable && entry & shadow::X != 0 && same) {
            e |= shadow::X;
        }
        let generation = self.shadow.generation;
        self.shadow.fill(view, lin, e);
        // The page that code runs in may be another one now: how much was decoded ahead must not show.
        self.bail |= access != Access::Fetch && self.shadow.generation != generation;
        Ok(e)
    }

    /// As [`Cpu::translate`] for a fetch, but only if the walk changes nothing that the guest could see: `None` where an
    /// accessed bit would have to be set, or on any fault.
    pub(crate) fn translate_quietly(&mut self, lin: u64, user: bool) -> Option<u64> {
        let steps = self.explain_walk(lin);
        // PDPTEs have no accessed bit.
        let accessed = steps.iter().all(|s| s.level == "PDPTE" || s.value & pte::A != 0);
        if !accessed {
            return None;
        }
        self.translate(lin, Access::Fetch, user).ok()
    }

    /// Physical page of `lin` as a write finds it: the slow way, for ROM and write-only RAM.
    pub(crate) fn write_target(&mut self, lin: u64, user: bool) -> Res<u64> {
        let leaf = self.walk(lin, Access::Write, user)?;
        Ok(self.mask_phys(leaf.page))
    }
}
