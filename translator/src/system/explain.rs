//! Text for people: a register dump, and the diagnosis of a triple fault.

use super::descriptor::{Descriptor, kind};
use crate::cpu::Cpu;
use crate::fault::{Fault, vector};
use crate::mmu::walk::pte;
use crate::state::{SegReg, State, attr, cr, eflags, slot};
use std::fmt::{self, Write};

/// Short name of an exception vector.
fn name(v: u8) -> &'static str {
    match v {
        vector::DE => "#DE divide error",
        vector::DB => "#DB debug",
        vector::NMI => "NMI",
        vector::BP => "#BP breakpoint",
        vector::OF => "#OF overflow",
        vector::BR => "#BR bound range exceeded",
        vector::UD => "#UD invalid opcode",
        vector::NM => "#NM device not available",
        vector::DF => "#DF double fault",
        vector::TS => "#TS invalid TSS",
        vector::NP => "#NP segment not present",
        vector::SS => "#SS stack fault",
        vector::GP => "#GP general protection",
        vector::PF => "#PF page fault",
        vector::MF => "#MF x87 error",
        vector::AC => "#AC alignment check",
        vector::XM => "#XM SIMD error",
        _ => "exception",
    }
}

/// What an error code says.
fn error_text(f: &Fault) -> String {
    let Some(e) = f.error else { return String::new() };
    if f.vector == vector::PF {
        let why = if e & 1 == 0 { "page not present" } else { "rights of a present page" };
        let what = if e & 16 != 0 {
            "fetch"
        } else if e & 2 != 0 {
            "write"
        } else {
            "read"
        };
        let who = if e & 4 != 0 { "user" } else { "supervisor" };
        let reserved = if e & 8 != 0 { ", reserved bit set" } else { "" };
        return format!(": {who} {what} of {:08x}, {why}{reserved}", f.address);
    }
    if matches!(f.vector, vector::DF | vector::AC) || e & !1 == 0 {
        return if e & 1 != 0 { ": while delivering an event".into() } else { String::new() };
    }
    let ext = if e & 1 != 0 { ", while delivering an event" } else { "" };
    if e & 2 != 0 {
        return format!(": IDT entry {:02x}h{ext}", e >> 3);
    }
    let table = if e & 4 != 0 { "LDT" } else { "GDT" };
    format!(": selector {:04x} in the {table}{ext}", e & 0xfff8)
}

/// What a descriptor is, in a few words.
fn descriptor_text(d: &Descriptor) -> String {
    let absent = if d.present() { "" } else { ", not present" };
    let dpl = d.dpl();
    if d.is_segment() {
        let what = if d.is_code() { "code" } else { "data" };
        let size = if d.hi & attr::DB != 0 { 32 } else { 16 };
        let access = match (d.is_code(), d.hi & attr::RW != 0) {
            (true, true) => "readable",
            (true, false) => "execute-only",
            (false, true) => "writable",
            (false, false) => "read-only",
        };
        let ec = match (d.hi & attr::EC != 0, d.is_code()) {
            (true, true) => " conforming",
            (true, false) => " expand-down",
            _ => "",
        };
        return format!(
            "{size}-bit{ec} {what}, {access}, base {:08x} limit {:08x} DPL {dpl}{absent}",
            d.base(),
            d.limit()
        );
    }
    let what = match d.system_type() {
        kind::TSS16 => "16-bit TSS",
        kind::LDT => "LDT",
        kind::TSS16_BUSY => "busy 16-bit TSS",
        kind::CALL16 => "16-bit call gate",
        kind::TASK => "task gate",
        kind::INT16 => "16-bit interrupt gate",
        kind::TRAP16 => "16-bit trap gate",
        kind::TSS32 => "32-bit TSS",
        kind::TSS32_BUSY => "busy 32-bit TSS",
        kind::CALL32 => "32-bit call gate",
        kind::INT32 => "32-bit interrupt gate",
        kind::TRAP32 => "32-bit trap gate",
        t => return format!("invalid type {t}, DPL {dpl}{absent}"),
    };
    let gate = matches!(
        d.system_type(),
        kind::CALL16 | kind::TASK | kind::INT16 | kind::TRAP16 | kind::CALL32 | kind::INT32 | kind::TRAP32
    );
    if gate {
        format!("{what} to {:04x}:{:08x} DPL {dpl}{absent}", d.gate_selector(), d.gate_offset())
    } else {
        format!("{what}, base {:08x} limit {:08x} DPL {dpl}{absent}", d.base(), d.limit())
    }
}

/// Names of the EFLAGS bits that are set.
fn flag_names(f: u32) -> String {
    use eflags::*;
    let names = [
        (CF, "CF"),
        (PF, "PF"),
        (AF, "AF"),
        (ZF, "ZF"),
        (SF, "SF"),
        (TF, "TF"),
        (IF, "IF"),
        (DF, "DF"),
        (OF, "OF"),
        (NT, "NT"),
        (RF, "RF"),
        (VM, "VM"),
        (AC, "AC"),
        (VIF, "VIF"),
        (VIP, "VIP"),
        (ID, "ID"),
    ];
    let set: Vec<_> = names.iter().filter(|(b, _)| f & b != 0).map(|(_, n)| *n).collect();
    set.join(" ")
}

impl fmt::Display for State {
    /// All registers but the x87 and vector ones, several lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = |n| self.gpr(n) as u32;
        writeln!(
            f,
            "EAX={:08x} EBX={:08x} ECX={:08x} EDX={:08x}",
            r(slot::RAX),
            r(slot::RBX),
            r(slot::RCX),
            r(slot::RDX)
        )?;
        writeln!(
            f,
            "ESI={:08x} EDI={:08x} EBP={:08x} ESP={:08x}",
            r(slot::RSI),
            r(slot::RDI),
            r(slot::RBP),
            r(slot::RSP)
        )?;
        let flags = self.eflags();
        writeln!(
            f,
            "EIP={:08x} EFLAGS={flags:08x} [{}] IOPL={} CPL={}{}",
            self.rip,
            flag_names(flags),
            self.iopl(),
            self.cpl,
            if self.halted { " halted" } else { "" }
        )?;
        for (name, seg) in ["ES", "CS", "SS", "DS", "FS", "GS"].iter().zip(SegReg::ALL) {
            let s = &self.segs[seg as usize];
            writeln!(f, "{name}={:04x} base {:08x} limit {:08x} attr {:06x}", s.selector, s.base, s.limit, s.attr)?;
        }
        for (name, s) in [("LDTR", &self.ldtr), ("TR", &self.tr)] {
            writeln!(f, "{name}={:04x} base {:08x} limit {:08x} attr {:06x}", s.selector, s.base, s.limit, s.attr)?;
        }
        let (g, i) = (&self.gdtr, &self.idtr);
        writeln!(f, "GDT base {:08x} limit {:04x}, IDT base {:08x} limit {:04x}", g.base, g.limit, i.base, i.limit)?;
        writeln!(f, "CR0={:08x} CR2={:08x} CR3={:08x} CR4={:08x}", self.cr0, self.cr2, self.cr3, self.cr4)?;
        write!(f, "DR6={:08x} DR7={:08x} EFER={:x}", self.dr[6], self.dr[7], self.efer)
    }
}

impl Cpu {
    /// The registers, several lines.
    pub fn dump(&self) -> String {
        self.state.to_string()
    }

    /// Physical address of `lin` without side effects: permission is not looked at.
    fn peek_phys(&self, lin: u64) -> Option<u64> {
        let lin = lin & 0xffff_ffff;
        if self.state.cr0 & cr::PG == 0 {
            return Some(self.mask_phys(lin));
        }
        let pae = self.state.cr4 & cr::PAE != 0;
        let last = self.explain_walk(lin).pop().filter(|s| s.value & pte::P != 0)?;
        let frame = if pae { last.value & 0x000f_ffff_ffff_f000 } else { last.value & 0xffff_f000 };
        let offset_mask = match last.level {
            "PTE" => 0xfff,
            "PDE" if pae => 0x1f_ffff,
            "PDE" => 0x3f_ffff,
            _ => return None,
        };
        let high = if !pae && last.level == "PDE" { (last.value & 0x1e000) << 19 } else { 0 };
        Some(self.mask_phys(high | frame & !offset_mask | lin & offset_mask))
    }

    /// Reads RAM at linear addresses without side effects; `None` where nothing is mapped.
    fn peek<const N: usize>(&self, lin: u64) -> Option<[u8; N]> {
        let mut out = [0; N];
        for (i, b) in out.iter_mut().enumerate() {
            let phys = self.peek_phys(lin.wrapping_add(i as u64))?;
            self.mem.dma_read(phys, std::slice::from_mut(b));
        }
        Some(out)
    }

    fn peek_descriptor(&self, at: u64, selector: u16) -> Option<Descriptor> {
        let raw = u64::from_le_bytes(self.peek::<8>(at)?);
        Some(Descriptor { selector, lo: raw as u32, hi: (raw >> 32) as u32, at })
    }

    fn explain_entry(&self, out: &mut String, what: &str, base: u64, limit: u32, offset: u32, selector: u16) {
        let at = base.wrapping_add(u64::from(offset)) & 0xffff_ffff;
        let text = if offset + 7 > limit {
            format!("outside the table, whose limit is {limit:04x}")
        } else {
            match self.peek_descriptor(at, selector) {
                Some(d) => format!("{:08x}{:08x} at {at:08x}: {}", d.hi, d.lo, descriptor_text(&d)),
                None => format!("at {at:08x}, which is not mapped"),
            }
        };
        let _ = writeln!(out, "  {what}: {text}");
    }

    fn explain_selector(&self, out: &mut String, selector: u16) {
        if selector & 0xfffc == 0 {
            return;
        }
        let s = &self.state;
        let (table, base, limit) = if selector & 4 == 0 {
            ("GDT", s.gdtr.base, u32::from(s.gdtr.limit))
        } else {
            ("LDT", s.ldtr.base, s.ldtr.limit)
        };
        let what = format!("{table} entry {:04x}", selector & 0xfff8);
        self.explain_entry(out, &what, base, limit, u32::from(selector & 0xfff8), selector);
    }

    fn explain_page(&self, out: &mut String, what: &str, lin: u64) {
        let lin = lin & 0xffff_ffff;
        if self.state.cr0 & cr::PG == 0 {
            return;
        }
        let _ = write!(out, "  walk of {what} {lin:08x}:");
        for step in self.explain_walk(lin) {
            let v = step.value;
            let flag = |bit, name| if v & bit != 0 { name } else { "" };
            let _ = write!(
                out,
                " {} {v:x}{} ({}{}{}{}{})",
                step.level,
                if step.address == u64::MAX { String::new() } else { format!(" at {:x}", step.address) },
                if v & pte::P != 0 { "P" } else { "not present" },
                flag(pte::RW, " RW"),
                flag(pte::US, " US"),
                flag(pte::A, " A"),
                flag(pte::D, " D"),
            );
        }
        let _ = match self.peek_phys(lin) {
            Some(p) => writeln!(out, " -> {p:x}"),
            None => writeln!(out, " -> nothing"),
        };
    }

    /// The diagnosis of a triple fault from the chain and the present state.
    pub(crate) fn explain_triple_fault(&self) -> String {
        let mut out = String::from("triple fault: the processor has shut down\nfaults, oldest first:\n");
        for (i, (f, cs, ip, lin)) in self.chain.iter().enumerate() {
            let code = f.error.map_or(String::new(), |e| format!(" error code {e:04x}"));
            let _ = writeln!(
                out,
                "  {}. {}{code}{} (at {cs:04x}:{ip:08x}, linear {lin:08x})",
                i + 1,
                name(f.vector),
                error_text(f)
            );
        }
        out.push_str("registers:\n");
        for line in self.state.to_string().lines() {
            let _ = writeln!(out, "  {line}");
        }
        out.push_str("descriptors:\n");
        let s = &self.state;
        let real = s.cr0 & cr::PE == 0;
        let mut seen = Vec::new();
        for (f, ..) in &self.chain {
            if seen.contains(&f.vector) {
                continue;
            }
            seen.push(f.vector);
            let what = format!("IDT entry {:02x}h", f.vector);
            if real {
                let at = s.idtr.base.wrapping_add(u64::from(f.vector) * 4) & 0xffff_ffff;
                let text = match self.peek::<4>(at) {
                    Some([a, b, c, d]) => format!("{d:02x}{c:02x}:{b:02x}{a:02x}"),
                    None => "not mapped".into(),
                };
                let _ = writeln!(out, "  vector {:02x}h at {at:08x}: {text}", f.vector);
                continue;
            }
            let offset = u32::from(f.vector) * 8;
            self.explain_entry(&mut out, &what, s.idtr.base, u32::from(s.idtr.limit), offset, 0);
            let gate = self.peek_descriptor(s.idtr.base.wrapping_add(u64::from(offset)), 0);
            if let Some(d) = gate.filter(|_| offset + 7 <= u32::from(s.idtr.limit)) {
                self.explain_selector(&mut out, d.gate_selector());
            }
        }
        if !real {
            let mut sels: Vec<u16> = [SegReg::Cs, SegReg::Ss].iter().map(|r| s.segs[*r as usize].selector).collect();
            let in_table = |f: &Fault| {
                let selector = matches!(f.vector, vector::TS | vector::NP | vector::SS | vector::GP);
                f.error.filter(|e| selector && e & 2 == 0).map(|e| (e & 0xfffc) as u16)
            };
            sels.extend(self.chain.iter().filter_map(|(f, ..)| in_table(f)));
            sels.sort_unstable();
            sels.dedup();
            for sel in sels.into_iter().filter(|_| !s.v86()) {
                self.explain_selector(&mut out, sel);
            }
        }
        out.push_str("memory:\n");
        let lin = s.segs[SegReg::Cs as usize].base.wrapping_add(s.rip) & 0xffff_ffff;
        self.explain_page(&mut out, "EIP", lin);
        let mut addresses: Vec<u64> =
            self.chain.iter().filter(|(f, ..)| f.vector == vector::PF).map(|(f, ..)| f.address).collect();
        addresses.dedup();
        for a in addresses {
            self.explain_page(&mut out, "fault address", a);
        }
        let _ = write!(out, "  bytes at EIP:");
        for i in 0..16 {
            let _ = match self.peek::<1>(lin.wrapping_add(i)) {
                Some([b]) => write!(out, " {b:02x}"),
                None => write!(out, " ??"),
            };
        }
        out.push('\n');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, sel};
    use super::*;
    use crate::model::Model;

    #[test]
    fn report_of_a_page_fault_chain() {
        let mut r = Rig::protected(Model::Max);
        // One large page at 0, everything else absent.
        r.poke32(0x30000, 0x83);
        let (cr0, cr4) = (r.cpu.state.cr0, r.cpu.state.cr4);
        r.run(|c, b| c.mov_to_cr(b, 4, cr4 | cr::PSE)).unwrap();
        r.run(|c, b| c.mov_to_cr(b, 3, 0x30000)).unwrap();
        r.run(|c, b| c.mov_to_cr(b, 0, cr0 | cr::PG)).unwrap();
        r.cpu.state.idtr.base = 0xc000_0000;
        r.cpu.state.rip = 0x7c00;
        r.poke32(0x7c00, 0x4433_22f4);
        let fault = Fault::pf(2, 0xdead_beef);
        let t = r.run(|c, b| c.deliver_exception(b, fault, true)).unwrap_err();
        for part in [
            "1. #PF page fault error code 0002: supervisor write of deadbeef, page not present (at 0008:00007c00",
            "2. #PF page fault error code 0000: supervisor read of c0000070",
            "3. #DF double fault",
            "4. #PF page fault error code 0000: supervisor read of c0000040",
            "EIP=00007c00",
            "IDT entry 0eh: at c0000070, which is not mapped",
            "GDT entry 0008: 00cf9b000000ffff at 00020008: 32-bit code, readable, base 00000000 limit ffffffff DPL 0",
            "walk of EIP 00007c00: PDE 83 at 30000 (P RW) -> 7c00",
            "walk of fault address deadbeef: PDE 0 at 30de8 (not present) -> nothing",
            "bytes at EIP: f4 22 33 44",
        ] {
            assert!(t.report.contains(part), "{part}\n{}", t.report);
        }
        assert_eq!(t.state.cr2, 0xc000_0040);
    }

    #[test]
    fn dump_names_everything() {
        let mut r = Rig::protected(Model::Max);
        r.cpu.state.set_eflags(eflags::IF | eflags::CF);
        let text = r.cpu.dump();
        assert!(text.contains("EFLAGS=00000203 [CF IF] IOPL=0 CPL=0"), "{text}");
        assert!(text.contains(&format!("TR={:04x}", sel::TSS_A)), "{text}");
    }
}
