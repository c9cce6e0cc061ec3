//! Segments: limits, types, privilege, null selectors, and the instructions that inspect descriptors.

use iced_x86::code_asm::*;

use super::{Program, pm};
use crate::asm::{code, ins};
use crate::pm::*;

const NO_LIMITS: &str = "QEMU checks no segment limit on data accesses";
const NO_TYPES: &str = "QEMU checks neither limit nor type on data accesses";

pub(super) fn programs() -> Vec<Program> {
    vec![
        pm("seg-limit", "An access of which any byte lies above the limit raises #GP(0); the last bytes below it do not", "SDM 3A 5.3", |t| {
            t.gdt(FREE, desc(SCRATCH, 0xFFF, DATA0, 4))?;
            code!(t; mov(eax, FREE); mov(es, eax); mov(dword_ptr(SCRATCH + 0xFFC), 0x1234_5678));
            t.no_fault(false, ins!(t; mov(eax, dword_ptr(0xFFC).es()); mov(ax, word_ptr(0xFFE).es()); mov(al, byte_ptr(0xFFF).es())))?;
            t.expect(fault_e(13, 0), ins!(t; mov(eax, dword_ptr(0xFFD).es())))?;
            code!(t; mov(eax, FREE); mov(es, eax));
            t.expect(fault_e(13, 0), ins!(t; mov(ax, word_ptr(0xFFF).es())))?;
            code!(t; mov(eax, FREE); mov(es, eax));
            t.expect(fault_e(13, 0), ins!(t; mov(byte_ptr(0x1000).es(), al)))?;
            code!(t; mov(eax, FREE); mov(es, eax));
            t.expect(fault_e(13, 0), ins!(t; mov(al, byte_ptr(0xFFFF_FFFFu32).es())))
        }).qemu_differs(NO_LIMITS),
        pm("seg-granularity", "With G set the limit counts 4 KiB units and its low 12 bits read as ones", "SDM 3A 3.4.5", |t| {
            t.gdt(FREE, desc(SCRATCH, 1, DATA0, 0xC))?;
            code!(t; mov(eax, FREE); lsl(ebx, eax); mov(es, eax));
            t.eq(ebx, 0x1FFF)?;
            t.no_fault(false, ins!(t; mov(al, byte_ptr(0x1FFF).es())))?;
            t.expect(fault_e(13, 0), ins!(t; mov(al, byte_ptr(0x2000).es())))
        }).qemu_differs(NO_LIMITS),
        pm("seg-expand-down", "An expand-down segment is valid above its limit, up to FFFFh or FFFFFFFFh by its B bit", "SDM 3A 5.3", |t| {
            t.gdt(FREE, desc(SCRATCH, 0xFFF, 0x97, 0))?;
            code!(t; mov(eax, FREE); mov(es, eax));
            t.no_fault(false, ins!(t; mov(al, byte_ptr(0x1000).es()); mov(al, byte_ptr(0xFFFF).es())))?;
            t.expect(fault_e(13, 0), ins!(t; mov(al, byte_ptr(0xFFF).es())))?;
            code!(t; mov(eax, FREE); mov(es, eax));
            t.expect(fault_e(13, 0), ins!(t; mov(ax, word_ptr(0xFFFF).es())))?;
            t.gdt(FREE, desc(SCRATCH, 0xFFF, 0x97, 4))?;
            code!(t; mov(eax, FREE); mov(es, eax));
            t.no_fault(false, ins!(t; mov(eax, dword_ptr(0xFFFF).es())))?;
            t.expect(fault_e(13, 0), ins!(t; mov(al, byte_ptr(0).es())))
        }).qemu_differs(NO_LIMITS),
        pm("seg-null", "Loading a null selector into DS, ES, FS or GS is allowed; using it raises #GP(0)", "SDM 3A 5.4.1", |t| {
            for null in [0, 3] {
                code!(t; mov(eax, null));
                t.no_fault(false, ins!(t; mov(es, eax); mov(fs, eax); mov(gs, eax)))?;
                t.expect(fault_e(13, 0), ins!(t; mov(al, byte_ptr(SCRATCH).es())))?;
                code!(t; mov(eax, null); mov(gs, eax));
                t.expect(fault_e(13, 0), ins!(t; mov(byte_ptr(SCRATCH).gs(), al)))?;
            }
            Ok(())
        }).qemu_differs(NO_LIMITS),
        pm("seg-null-ss", "Loading a null selector into SS raises #GP(0)", "SDM 3A 5.4.1; 2B MOV", |t| {
            code!(t; xor(eax, eax));
            t.expect(fault_e(13, 0), ins!(t; mov(ss, eax)))?;
            t.expect(fault_e(13, 0).user(), |t| { code!(t; xor(eax, eax)); t.mark()?; code!(t; mov(ss, eax)); Ok(()) })
        }),
        pm("seg-types", "Writing read-only data or code and reading execute-only code raise #GP(0)", "SDM 3A 5.5", |t| {
            t.gdt(FREE, desc(0, 0xF_FFFF, 0x91, 0xC))?;
            code!(t; mov(eax, FREE); mov(es, eax); mov(eax, dword_ptr(SCRATCH).es()));
            t.expect(fault_e(13, 0), ins!(t; mov(dword_ptr(SCRATCH).es(), eax)))?;
            t.expect(fault_e(13, 0), ins!(t; mov(dword_ptr(SCRATCH).cs(), eax)))?;
            t.no_fault(false, ins!(t; mov(eax, dword_ptr(SCRATCH).cs())))
        }).qemu_differs(NO_TYPES),
        pm("seg-load-errors", "Loading a selector: beyond the table, wrong type or privilege #GP(selector), absent #NP(selector)", "SDM 2B MOV", |t| {
            t.gdt(FREE, desc(0, 0xFFFF, 0x13, 4))?; // absent data
            t.gdt(FREE + 8, desc(0, 0xFFFF, 0x99, 4))?; // execute-only code
            t.gdt(FREE + 16, desc(0, 0xFFFF, 0x91, 4))?; // read-only data
            t.gdt(FREE + 24, desc(TSS0, 0x67, 0x89, 0))?; // a TSS
            for (selector, vector) in [(0x1F8 | 8, 13), (0x200, 13), (FREE, 11), (FREE + 8, 13), (FREE + 24, 13)] {
                code!(t; mov(eax, selector));
                t.expect(fault_e(vector, selector & !3), ins!(t; mov(es, eax)))?;
            }
            // SS: absent is #SS; read-only, code, or RPL differing from CPL is #GP.
            for (selector, vector) in [(FREE, 12), (FREE + 16, 13), (KCODE, 13), (KDATA | 3, 13), (UDATA, 13)] {
                code!(t; mov(eax, selector));
                t.expect(fault_e(vector, selector & !3), ins!(t; mov(ss, eax)))?;
            }
            // Ring 3 may not load ring-0 data, not even with RPL 0.
            t.expect(fault_e(13, KDATA).user(), |t| { code!(t; mov(eax, KDATA)); t.mark()?; code!(t; mov(es, eax)); Ok(()) })
        }),
        pm("seg-load-keeps", "A failing segment load leaves the register as it was", "SDM 2B MOV", |t| {
            t.gdt(FREE, desc(0, 0xFFFF, 0x13, 4))?;
            code!(t; mov(eax, KDATA); mov(fs, eax); mov(eax, FREE));
            t.expect(fault_e(11, FREE), ins!(t; mov(fs, eax)))?;
            t.mem_bits(SREGS + 4, 0xFFFF, KDATA)?;
            code!(t; push(FREE as i32); mov(ebx, esp));
            t.expect(fault_e(11, FREE), ins!(t; pop(fs)))?;
            // ESP is unchanged by the failed POP: the frame lies right below it.
            code!(t; mov(eax, dword_ptr(REGS + 12)); add(eax, 16 + 8 + 12); sub(eax, dword_ptr(REGS + 16)));
            t.eq(eax, 0)
        }),
        pm("seg-accessed", "Loading a segment register sets the accessed bit of its descriptor", "SDM 3A 3.4.5.1", |t| {
            t.gdt(FREE, desc(0, 0xFFFF, 0x92, 4))?;
            code!(t; mov(eax, FREE); mov(es, eax));
            let at = t.addr("gdt") + FREE + 5;
            t.mem8_eq(at, 0x93)
        }),
        pm("seg-stack-limit", "A stack access beyond SS's limit raises #SS(0), through ESP or EBP alike", "SDM 3A 6.15 #SS", |t| {
            t.gdt(FREE, desc(0x16_0000, 0xFFF, DATA3, 4))?;
            for which in 0..3 {
                t.expect(fault_e(12, 0).user(), |t| {
                    code!(t; mov(eax, FREE | 3); mov(ss, eax); mov(esp, if which == 0 { 2 } else { 0x800 }); mov(ebp, 0x1000));
                    t.mark()?;
                    match which {
                        0 => { code!(t; push(eax)); }
                        1 => { code!(t; mov(eax, dword_ptr(ebp))); }
                        _ => { code!(t; mov(eax, dword_ptr(0x2000).ss())); }
                    }
                    Ok(())
                })?;
            }
            Ok(())
        }).qemu_differs(NO_LIMITS),
        pm("seg-code-limit", "Fetching beyond CS's limit raises #GP(0) at the instruction", "SDM 3A 5.3", |t| {
            t.gdt(FREE, desc(SCRATCH, 0xFF, CODE0, 4))?;
            code!(t; mov(byte_ptr(SCRATCH + 0xFE), 0x90u32); mov(byte_ptr(SCRATCH + 0xFF), 0xB0u32));
            t.expect(fault_e(13, 0).at(Where::Addr(0xFF)), ins!(t; jmp_far(FREE as u16, 0xFE)))?;
            t.mem_bits(CS_, 0xFFFF, FREE)?;
            // A branch beyond the limit faults at the branch.
            code!(t; mov(byte_ptr(SCRATCH), 0xE9u32); mov(dword_ptr(SCRATCH + 1), 0x1000));
            t.expect(fault_e(13, 0).at(Where::Addr(0)), ins!(t; jmp_far(FREE as u16, 0)))?;
            // LOOP keeps its count then, and takes the last one without looking at the target.
            code!(t; mov(word_ptr(SCRATCH + 0xF0), 0x7FE2); mov(ecx, 0x1234));
            t.expect(fault_e(13, 0).at(Where::Addr(0xF0)), ins!(t; jmp_far(FREE as u16, 0xF0)))?;
            t.mem_eq(REGS + 24, 0x1234)?;
            code!(t; mov(word_ptr(SCRATCH + 0xF2), 0x0B0F); mov(ecx, 1));
            t.expect(fault(6).at(Where::Addr(0xF2)), ins!(t; jmp_far(FREE as u16, 0xF0)))?;
            t.mem_eq(REGS + 24, 0)
        }).qemu_differs("QEMU checks no CS limit"),
        pm("seg-16-bit-stack", "With SS.B clear PUSH uses SP and leaves the upper half of ESP", "SDM 1 6.2.3", |t| {
            code!(t; mov(ebx, esp); mov(eax, KDATA16); mov(ss, eax); mov(esp, 0xABCD_9000u32); push(0x1234_5678u32 as i32);
                mov(ecx, esp); mov(eax, KDATA); mov(ss, eax); mov(esp, ebx));
            t.eq(ecx, 0xABCD_8FFC)?;
            t.mem_eq(0x8FFC, 0x1234_5678)?;
            code!(t; mov(ebx, esp); mov(eax, KDATA16); mov(ss, eax); mov(esp, 0xABCD_0002u32); mov(eax, 0x5566); push(ax); push(ax);
                mov(ecx, esp); mov(eax, KDATA); mov(ss, eax); mov(esp, ebx));
            t.eq(ecx, 0xABCD_FFFE)
        }),
        pm("seg-ldt", "A selector with TI set names the LDT, and error codes keep TI", "SDM 3A 3.5.1, 6.13", |t| {
            t.gdt(FREE, desc(LDT, 0x1F, 0x82, 0))?;
            t.store64(LDT + 8, desc(SCRATCH, 0xFFF, DATA0, 4))?;
            t.store64(LDT + 16, desc(SCRATCH, 0xFFF, 0x13, 4))?;
            code!(t; mov(dword_ptr(SCRATCH), 0x7777); mov(eax, FREE); lldt(ax); mov(eax, 0x0C); mov(es, eax); mov(ebx, dword_ptr(0).es()));
            t.eq(ebx, 0x7777)?;
            code!(t; mov(eax, 0x14));
            t.expect(fault_e(11, 0x14), ins!(t; mov(es, eax)))?;
            code!(t; mov(eax, 0x24));
            t.expect(fault_e(13, 0x24), ins!(t; mov(es, eax)))?;
            code!(t; xor(eax, eax); lldt(ax); mov(eax, 0x0C));
            t.expect(fault_e(13, 0x0C), ins!(t; mov(es, eax)))?;
            code!(t; mov(eax, KDATA));
            t.expect(fault_e(13, KDATA), ins!(t; lldt(ax)))
        }),
        pm("lar-lsl", "LAR and LSL give rights and limit with ZF set, and only clear ZF where not allowed", "SDM 2A LAR, LSL", |t| {
            code!(t; mov(ecx, UDATA); lar(eax, ecx));
            t.flags(0x40, 0x40)?;
            // Bits 19-16 are undefined.
            code!(t; and(eax, 0xFFF0_FFFFu32));
            t.eq(eax, 0x00C0_F300)?;
            code!(t; mov(ecx, KCODE16); lsl(eax, ecx));
            t.flags(0x40, 0x40)?;
            t.eq(eax, 0xFFFF)?;
            code!(t; mov(eax, 0x1234); xor(ecx, ecx); lar(eax, ecx));
            t.flags(0x40, 0)?;
            t.eq(eax, 0x1234)?;
            code!(t; mov(ecx, 0x208); lsl(eax, ecx));
            t.flags(0x40, 0)?;
            // An interrupt gate is not a type either accepts; a call gate is one for LAR only.
            t.gdt(FREE, gate(KCODE, 0, 0x8C, 0))?;
            code!(t; mov(ecx, FREE); lar(eax, ecx));
            t.flags(0x40, 0x40)?;
            code!(t; lsl(eax, ecx));
            t.flags(0x40, 0)?;
            t.gdt(FREE, gate(KCODE, 0, 0x8E, 0))?;
            code!(t; lar(eax, ecx));
            t.flags(0x40, 0)?;
            // The TSS: not from ring 3.
            t.no_fault(true, ins!(t; mov(ecx, TSS0_SEL); lar(eax, ecx); setz(dl); mov(ecx, UDATA); lar(eax, ecx); setz(dh)))?;
            t.mem_bits(REGS + 20, 0xFFFF, 0x0100)
        }),
        pm("verr-verw", "VERR and VERW tell whether a segment is readable and writable from here", "SDM 2B VERR", |t| {
            t.gdt(FREE, desc(0, 0xFFFF, 0x99, 4))?;
            for (selector, read, write) in [(KDATA, 1, 1), (KCODE, 1, 0), (FREE, 0, 0), (TSS0_SEL, 0, 0), (0, 0, 0), (0x300, 0, 0), (KDATA | 3, 0, 0)] {
                code!(t; mov(ecx, selector); verr(cx));
                t.flags(0x40, read << 6)?;
                code!(t; verw(cx));
                t.flags(0x40, write << 6)?;
            }
            Ok(())
        }),
        pm("arpl", "ARPL raises the RPL of the destination to that of the source and says so in ZF", "SDM 2A ARPL", |t| {
            code!(t; mov(eax, 0xFF10); mov(ecx, 3); arpl(ax, cx));
            t.flags(0x40, 0x40)?;
            t.eq(eax, 0xFF13)?;
            code!(t; mov(ecx, 1); arpl(ax, cx));
            t.flags(0x40, 0)?;
            t.eq(eax, 0xFF13)
        }),
        pm("sgdt-forms", "SGDT stores limit and base; LGDT with a 16-bit operand loads 24 bits of base", "SDM 2A LGDT; 2B SGDT", |t| {
            code!(t; sgdt(fword_ptr(SCRATCH)));
            t.mem16_eq(SCRATCH, GDT_LIMIT as u16)?;
            let gdt = t.addr("gdt");
            t.mem_eq(SCRATCH + 2, gdt)?;
            code!(t; mov(byte_ptr(SCRATCH + 5), 0x55); mov(edi, SCRATCH); db(&[0x66, 0x0F, 0x01, 0x17]); sgdt(fword_ptr(SCRATCH + 8)));
            t.mem_eq(SCRATCH + 10, gdt)
        }),
        pm("lss", "LSS loads ESP and SS together; a bad selector leaves both", "SDM 2A LDS", |t| {
            code!(t; mov(ebx, esp); mov(dword_ptr(SCRATCH), STACK - 0x100); mov(dword_ptr(SCRATCH + 4), KDATA); lss(esp, fword_ptr(SCRATCH)); mov(ecx, esp); mov(esp, ebx));
            t.eq(ecx, STACK - 0x100)?;
            code!(t; mov(dword_ptr(SCRATCH + 4), KCODE));
            t.expect(fault_e(13, KCODE), ins!(t; lss(esp, fword_ptr(SCRATCH))))
        }),
    ]
}
