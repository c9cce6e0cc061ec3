//! Paging: rights, error codes, CR2, accessed and dirty bits, large pages, PAE, NX, global pages.

use iced_x86::code_asm::*;

use super::{Program, pm};
use crate::asm::{code, ins};
use crate::pm::*;

/// Turns on PAE paging: the first 8 MiB one to one in 4 KiB pages, tables at `PD`. Changes EAX, ECX, EDI.
fn pae(t: &mut Pm) -> crate::asm::Emit {
    code!(t;
        mov(edi, PD); mov(ecx, 0x2000); xor(eax, eax); rep().stosd();
        mov(dword_ptr(PD), (PD + 0x1000) | 1));
    for i in 0..4u32 {
        code!(t; mov(dword_ptr(PD + 0x1000 + i * 8), (PD + 0x2000 + i * 0x1000) | 7));
    }
    code!(t; mov(edi, PD + 0x2000); mov(eax, 7); mov(ecx, 0x800));
    t.here("pae.next")?;
    code!(t;
        stosd(); add(edi, 4); add(eax, 0x1000); loop_(t.at("pae.next"));
        mov(eax, cr4); or(eax, 0x20); mov(cr4, eax);
        mov(eax, PD); mov(cr3, eax); mov(eax, cr0); or(eax, 0x8000_0000u32); mov(cr0, eax));
    Ok(())
}

/// The address of the PAE page-table entry of `linear`.
fn pae_pte(linear: u32) -> u32 {
    PD + 0x2000 + (linear >> 12) * 8
}

pub(super) fn programs() -> Vec<Program> {
    vec![
        pm("pf-not-present", "Access to an absent page: #PF with P clear, W and U as the access was, the address in CR2", "SDM 3A 4.7", |t| {
            t.paging()?;
            t.pte(SCRATCH, 0)?;
            t.expect(fault_e(14, 0), ins!(t; mov(eax, dword_ptr(SCRATCH + 0x10))))?;
            t.mem_eq(CR2_, SCRATCH + 0x10)?;
            t.expect(fault_e(14, 2), ins!(t; mov(dword_ptr(SCRATCH + 0x20), eax)))?;
            t.mem_eq(CR2_, SCRATCH + 0x20)?;
            t.expect(fault_e(14, 4).user(), ins!(t; mov(eax, dword_ptr(SCRATCH))))?;
            t.expect(fault_e(14, 6).user(), ins!(t; mov(dword_ptr(SCRATCH), eax)))
        }),
        pm("pf-protection", "Access against U/S or R/W: #PF with P set", "SDM 3A 4.6, 4.7", |t| {
            t.paging()?;
            t.pte(SCRATCH, SCRATCH | 3)?;
            t.expect(fault_e(14, 5).user(), ins!(t; mov(eax, dword_ptr(SCRATCH))))?;
            t.expect(fault_e(14, 7).user(), ins!(t; mov(dword_ptr(SCRATCH), eax)))?;
            t.pte(SCRATCH, SCRATCH | 5)?;
            t.no_fault(true, ins!(t; mov(eax, dword_ptr(SCRATCH))))?;
            t.expect(fault_e(14, 7).user(), ins!(t; mov(dword_ptr(SCRATCH), eax)))?;
            t.no_fault(false, ins!(t; mov(dword_ptr(SCRATCH), eax)))
        }),
        pm("pf-directory-rights", "Rights of directory and table entry combine: either may deny", "SDM 3A 4.6", |t| {
            t.paging()?;
            // The second directory entry (4 MiB up) denies, the table entry allows.
            code!(t; mov(dword_ptr(PD + 4), (PT + 0x1000) | 3); mov(eax, cr3); mov(cr3, eax));
            t.expect(fault_e(14, 5).user(), ins!(t; mov(eax, dword_ptr(0x40_0000))))?;
            code!(t; mov(dword_ptr(PD + 4), (PT + 0x1000) | 5); mov(eax, cr3); mov(cr3, eax));
            t.expect(fault_e(14, 7).user(), ins!(t; mov(dword_ptr(0x40_0000), eax)))
        }),
        pm("cr0-wp", "With CR0.WP set ring 0 may not write a read-only page: #PF error code 3", "SDM 3A 2.5, 4.6", |t| {
            t.paging()?;
            t.pte(SCRATCH, SCRATCH | 1)?;
            t.no_fault(false, ins!(t; mov(dword_ptr(SCRATCH), 1)))?;
            code!(t; mov(eax, cr0); or(eax, 0x1_0000); mov(cr0, eax));
            t.expect(fault_e(14, 3), ins!(t; mov(dword_ptr(SCRATCH), 2)))?;
            t.mem_eq(SCRATCH, 1)?;
            code!(t; mov(eax, cr0); and(eax, 0xFFFE_FFFFu32); mov(cr0, eax));
            t.no_fault(false, ins!(t; mov(dword_ptr(SCRATCH), 2)))
        }),
        pm("accessed-dirty", "A read sets A in both entries, a write sets D in the table entry; a faulting access sets neither", "SDM 3A 4.8", |t| {
            t.paging()?;
            let pte = Pm::pte_of(0x50_0000);
            t.mem_bits(pte, 0x60, 0)?;
            code!(t; mov(eax, dword_ptr(0x50_0000)));
            t.mem_bits(pte, 0x60, 0x20)?;
            t.mem_bits(PD + 4, 0x20, 0x20)?;
            code!(t; mov(dword_ptr(0x50_0000), eax));
            t.mem_bits(pte, 0x60, 0x60)?;
            t.pte(0x50_1000, 0x50_1000 | 5)?;
            t.expect(fault_e(14, 7).user(), ins!(t; mov(dword_ptr(0x50_1000), eax)))?;
            t.mem_bits(Pm::pte_of(0x50_1000), 0x40, 0)
        }),
        pm("dirty-cleared", "After D is cleared and the page invalidated, the next write sets it again", "SDM 3A 4.8, 4.10", |t| {
            t.paging()?;
            let pte = Pm::pte_of(0x50_0000);
            code!(t; mov(dword_ptr(0x50_0000), 1));
            t.pte(0x50_0000, 0x50_0000 | 7)?;
            code!(t; mov(dword_ptr(0x50_0000), 2));
            t.mem_bits(pte, 0x60, 0x60)
        }),
        pm("pse-4m", "With CR4.PSE a directory entry with PS maps 4 MiB, with A and D of its own", "SDM 3A 4.3", |t| {
            t.paging()?;
            code!(t; mov(eax, cr4); or(eax, 0x10); mov(cr4, eax);
                mov(dword_ptr(0x50_1234), 0x4321); mov(dword_ptr(PD + 0x800), 0x40_0087u32);
                mov(eax, dword_ptr(0x8010_1234u32)));
            t.eq(eax, 0x4321)?;
            t.mem_bits(PD + 0x800, 0x60, 0x20)?;
            code!(t; mov(dword_ptr(0x8000_0000u32), 0x99));
            t.mem_bits(PD + 0x800, 0x60, 0x60)?;
            t.mem_eq(0x40_0000, 0x99)?;
            // Reserved bits 21-13 (bit 21 stays reserved with PSE-36) raise #PF with RSVD.
            code!(t; mov(dword_ptr(PD + 0x800), 0x60_0087u32); mov(eax, cr3); mov(cr3, eax));
            t.expect(fault_e(14, 9), ins!(t; mov(eax, dword_ptr(0x8000_0000u32))))
        }).cpu("pentium").qemu_differs("QEMU sets RSVD without P"),
        pm("page-crossing", "An access across two pages faults with CR2 at the second page's first byte, and stores nothing", "SDM 3A 4.7", |t| {
            t.paging()?;
            t.pte(SCRATCH + 0x1000, 0)?;
            code!(t; mov(dword_ptr(SCRATCH + 0xFFC), 0x1111_1111));
            t.expect(fault_e(14, 2), ins!(t; mov(dword_ptr(SCRATCH + 0xFFE), 0x2222_2222)))?;
            t.mem_eq(CR2_, SCRATCH + 0x1000)?;
            t.mem_eq(SCRATCH + 0xFFC, 0x1111_1111)?;
            // Two pages that are no neighbours in memory.
            t.pte(SCRATCH + 0x1000, (SCRATCH + 0x3000) | 7)?;
            code!(t; mov(dword_ptr(SCRATCH + 0xFFE), 0xAABB_CCDDu32));
            t.mem16_eq(SCRATCH + 0xFFE, 0xCCDD)?;
            t.mem16_eq(SCRATCH + 0x3000, 0xAABB)?;
            code!(t; mov(eax, dword_ptr(SCRATCH + 0xFFD)));
            code!(t; and(eax, 0xFFFF_FF00u32));
            t.eq(eax, 0xBBCC_DD00)
        }),
        pm("fetch-crossing", "An instruction whose tail lies on an absent page faults with CR2 there and EIP at its start", "SDM 3A 4.7", |t| {
            t.paging()?;
            t.pte(SCRATCH + 0x1000, 0)?;
            // MOV EAX,imm32 with two bytes on the first page.
            code!(t; mov(word_ptr(SCRATCH + 0xFFE), 0x11B8));
            t.expect(fault_e(14, 0).at(Where::Addr(SCRATCH + 0xFFE)), ins!(t; mov(eax, SCRATCH + 0xFFE); jmp(eax)))?;
            t.mem_eq(CR2_, SCRATCH + 0x1000)
        }),
        pm("rmw-fault-state", "A read-modify-write that faults leaves memory, registers and flags as they were", "SDM 3A 6.5", |t| {
            t.paging()?;
            t.pte(SCRATCH, SCRATCH | 5)?;
            for bytes in [&[0x01, 0x07][..], &[0x0F, 0xC1, 0x07], &[0x87, 0x07], &[0x0F, 0xB1, 0x07], &[0xD1, 0x27], &[0xF7, 0x1F], &[0x0F, 0xBA, 0x2F, 0x03], &[0xFF, 0x07]] {
                t.expect(fault_e(14, 7).user_flags(0x202), |t| {
                    code!(t; mov(eax, 0x1234_5678); mov(edi, SCRATCH); push(0xAD7 & !0x300); popfd());
                    t.mark()?;
                    code!(t; db(bytes));
                    Ok(())
                })?;
                t.mem_eq(REGS + 28, 0x1234_5678)?;
                t.mem_bits(EFL, 0x8D5, 0x8D5)?;
            }
            Ok(())
        }),
        pm("cmpxchg-writes-always", "CMPXCHG writes its destination even when the comparison fails, so a read-only page faults", "SDM 2A CMPXCHG", |t| {
            t.paging()?;
            t.pte(SCRATCH, SCRATCH | 5)?;
            code!(t; mov(dword_ptr(SCRATCH), 5));
            t.expect(fault_e(14, 7).user(), |t| { code!(t; mov(eax, 6); mov(ecx, 7)); t.mark()?; code!(t; cmpxchg(dword_ptr(SCRATCH), ecx)); Ok(()) })
        }),
        pm("push-pop-faults", "PUSH, POP, CALL and PUSHA that fault leave ESP as it was", "SDM 3A 6.5", |t| {
            t.paging()?;
            t.pte(SCRATCH, 0)?;
            for (bytes, error) in [(&[0x50][..], 6), (&[0x60], 6), (&[0xE8, 0, 0, 0, 0], 6), (&[0x58], 4), (&[0x61], 4), (&[0xC3], 4), (&[0x9C], 6)] {
                let stack = SCRATCH + 0x40;
                t.expect(fault_e(14, error).user(), |t| { code!(t; mov(esp, stack); mov(eax, 0x77)); t.mark()?; code!(t; db(bytes)); Ok(()) })?;
                t.mem_eq(ESP_, stack)?;
                t.mem_eq(REGS + 28, 0x77)?;
            }
            Ok(())
        }),
        pm("pop-mem-esp", "POP [ESP] computes its address after the increment; a fault there leaves ESP", "SDM 2B POP", |t| {
            code!(t; mov(ebx, esp); push(0x11); push(0x22); pop(dword_ptr(esp)); pop(eax); mov(ecx, esp); mov(esp, ebx));
            t.eq(eax, 0x22)?;
            code!(t; sub(ebx, ecx));
            t.eq(ebx, 0)?;
            t.paging()?;
            t.pte(SCRATCH, SCRATCH | 5)?;
            t.expect(fault_e(14, 7).user(), |t| { code!(t; mov(dword_ptr(USER), esp)); t.mark()?; code!(t; pop(dword_ptr(SCRATCH))); Ok(()) })?;
            t.mem_eq(ESP_, USTACK)
        }),
        pm("enter-fault", "ENTER whose new frame lies on a page that may not be written faults and leaves ESP and EBP", "SDM 2A ENTER", |t| {
            t.paging()?;
            t.pte(SCRATCH, 0)?;
            t.expect(fault_e(14, 6).user(), |t| {
                code!(t; mov(esp, SCRATCH + 0x1010); mov(ebp, 0x4444));
                t.mark()?;
                code!(t; enter(0x100, 0));
                Ok(())
            })?;
            t.mem_eq(ESP_, SCRATCH + 0x1010)?;
            t.mem_eq(REGS + 8, 0x4444)
        }).qemu_differs("QEMU checks only what ENTER writes"),
        pm("cr3-flush", "A changed entry takes effect after CR3 is reloaded, or INVLPG", "SDM 3A 4.10.4", |t| {
            t.paging()?;
            code!(t; mov(dword_ptr(SCRATCH), 1); mov(dword_ptr(SCRATCH + 0x1000), 2); mov(eax, dword_ptr(SCRATCH)));
            code!(t; mov(dword_ptr(Pm::pte_of(SCRATCH)), (SCRATCH + 0x1000) | 7); mov(eax, cr3); mov(cr3, eax));
            t.mem_eq(SCRATCH, 2)?;
            code!(t; mov(dword_ptr(Pm::pte_of(SCRATCH)), SCRATCH | 7); invlpg(byte_ptr(SCRATCH + 0x123)));
            t.mem_eq(SCRATCH, 1)
        }),
        pm("global-pages", "A global page outlives a CR3 load while CR4.PGE is set; INVLPG and a PGE change remove it", "SDM 3A 4.10.2.4", |t| {
            t.paging()?;
            code!(t; mov(dword_ptr(SCRATCH), 1); mov(dword_ptr(SCRATCH + 0x1000), 2); mov(eax, cr4); or(eax, 0x80); mov(cr4, eax));
            t.pte(SCRATCH, SCRATCH | 0x107)?;
            code!(t; mov(eax, dword_ptr(SCRATCH)); mov(dword_ptr(Pm::pte_of(SCRATCH)), (SCRATCH + 0x1000) | 0x107); invlpg(byte_ptr(SCRATCH)));
            t.mem_eq(SCRATCH, 2)?;
            code!(t; mov(dword_ptr(Pm::pte_of(SCRATCH)), SCRATCH | 0x107); mov(eax, cr4); and(eax, !0x80); mov(cr4, eax));
            t.mem_eq(SCRATCH, 1)
        }).cpu("p3"),
        pm("pf-instruction-restart", "A page fault handler that maps the page and returns resumes the instruction", "SDM 3A 6.6", |t| {
            t.paging()?;
            t.pte(SCRATCH, 0)?;
            code!(t; mov(dword_ptr(Pm::pte_of(SCRATCH)), 0));
            t.idt(14, gate(KCODE, t.addr("mapper"), 0x8E, 0))?;
            code!(t; mov(eax, 5); mov(ebx, 7); add(dword_ptr(SCRATCH), eax); xadd(dword_ptr(SCRATCH), ebx); jmp(t.at("over")));
            t.here("mapper")?;
            code!(t; add(esp, 4); inc(dword_ptr(USER)); mov(dword_ptr(Pm::pte_of(SCRATCH)), SCRATCH | 7); iretd());
            t.here("over")?;
            t.mem_eq(USER, 1)?;
            code!(t; sub(dword_ptr(SCRATCH), ebx));
            t.mem_eq(SCRATCH, 7)
        }),
        pm("pae-basic", "PAE: 64-bit entries in three levels; CR3 load reads the four pointers, whose change needs a reload", "SDM 3A 4.4", |t| {
            pae(t)?;
            code!(t; mov(dword_ptr(SCRATCH), 1); mov(dword_ptr(SCRATCH + 0x1000), 2);
                mov(dword_ptr(pae_pte(SCRATCH)), (SCRATCH + 0x1000) | 7); invlpg(byte_ptr(SCRATCH)));
            t.mem_eq(SCRATCH, 2)?;
            code!(t; mov(dword_ptr(pae_pte(SCRATCH)), 0); invlpg(byte_ptr(SCRATCH)));
            t.expect(fault_e(14, 2), ins!(t; mov(dword_ptr(SCRATCH), eax)))?;
            // A 2 MiB page at C0000000h, through the fourth pointer.
            code!(t; mov(dword_ptr(PD + 24), (PD + 0x7000) | 1); mov(dword_ptr(PD + 0x7000), 0x0040_0087u32);
                mov(eax, cr3); mov(cr3, eax); mov(dword_ptr(0x41_0000), 0x777); mov(eax, dword_ptr(0xC001_0000u32)));
            t.eq(eax, 0x777)
        }).cpu("p3"),
        pm("pae-reserved-pdpte", "Loading CR3 with a reserved bit set in a present pointer raises #GP(0)", "SDM 3A 4.4.1", |t| {
            pae(t)?;
            code!(t; mov(dword_ptr(PD + 8), 0x21); mov(eax, cr3));
            t.expect(fault_e(13, 0), ins!(t; mov(cr3, eax)))
        }).cpu("p3").qemu_differs("QEMU reads the pointers at each walk"),
        pm("nx", "With EFER.NXE a fetch from an NX page raises #PF with I/D; without it the bit is reserved", "SDM 3A 4.6, 4.7", |t| {
            code!(t; mov(eax, 0x8000_0000u32); cpuid(); cmp(eax, 0x8000_0001u32 as i32); jb(t.at("pass"));
                mov(eax, 0x8000_0001u32); cpuid(); bt(edx, 20); jae(t.at("pass")));
            pae(t)?;
            code!(t; mov(byte_ptr(SCRATCH), 0xC3u32); mov(dword_ptr(pae_pte(SCRATCH) + 4), 0x8000_0000u32); invlpg(byte_ptr(SCRATCH)));
            t.expect(fault_e(14, 9), ins!(t; mov(eax, dword_ptr(SCRATCH))))?;
            code!(t; mov(ecx, 0xC000_0080u32); rdmsr(); or(eax, 0x800); wrmsr());
            t.no_fault(false, ins!(t; mov(eax, dword_ptr(SCRATCH))))?;
            t.expect(fault_e(14, 0x11).at(Where::Addr(SCRATCH)), ins!(t; mov(eax, SCRATCH); jmp(eax)))?;
            t.mem_eq(CR2_, SCRATCH)
        }).cpu("max").qemu_differs("QEMU sets RSVD without P"),
        pm("system-access-user", "Descriptor and TSS reads from ring 3 are made with supervisor rights", "SDM 3A 4.6.1", |t| {
            t.paging()?;
            // GDT, TSS and inner stack are supervisor-only, yet ring 3 loads segments and interrupts.
            const COPY: u32 = 0x0018_6000;
            code!(t; cld(); mov(esi, t.addr("gdt")); mov(edi, COPY); mov(ecx, (GDT_LIMIT + 1) / 4); rep().movsd();
                mov(word_ptr(SCRATCH), GDT_LIMIT); mov(dword_ptr(SCRATCH + 2), COPY); lgdt(fword_ptr(SCRATCH)));
            t.pte(COPY, COPY | 3)?;
            t.pte(TSS0, TSS0 | 3)?;
            t.pte(STACK0 - 0x1000, (STACK0 - 0x1000) | 3)?;
            t.no_fault(true, ins!(t; mov(eax, UDATA); mov(es, eax)))
        }),
    ]
}
