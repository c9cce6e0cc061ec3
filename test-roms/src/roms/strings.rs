//! String instructions: counts, direction, segments, restart after a fault.

use iced_x86::code_asm::*;

use super::{Program, pm};
use crate::asm::{code, ins};
use crate::pm::*;

pub(super) fn programs() -> Vec<Program> {
    vec![
        pm(
            "rep-fault-restart",
            "REP MOVSD that faults in the middle leaves ECX, ESI and EDI at the iteration, EIP at itself",
            "SDM 2B REP",
            |t| {
                t.paging()?;
                t.pte(SCRATCH + 0x2000, 0)?;
                code!(t; mov(dword_ptr(SCRATCH + 0xFFC), 0x55));
                t.expect(fault_e(14, 6).user(), |t| {
                    code!(t; cld(); mov(esi, SCRATCH); mov(edi, SCRATCH + 0x1000); mov(ecx, 0x500));
                    t.mark()?;
                    code!(t; rep().movsd());
                    Ok(())
                })?;
                t.mem_eq(CR2_, SCRATCH + 0x2000)?;
                t.mem_eq(REGS + 24, 0x100)?;
                t.mem_eq(REGS + 4, SCRATCH + 0x1000)?;
                t.mem_eq(REGS, SCRATCH + 0x2000)?;
                t.mem_eq(SCRATCH + 0x1FFC, 0x55)
            },
        ),
        pm(
            "rep-source-fault",
            "REP MOVSB backwards that faults on its source leaves the registers at the iteration",
            "SDM 2B REP",
            |t| {
                t.paging()?;
                t.pte(SCRATCH, 0)?;
                t.expect(fault_e(14, 4).user(), |t| {
                    code!(t; std(); mov(esi, SCRATCH + 0x1001); mov(edi, SCRATCH + 0x3000); mov(ecx, 9));
                    t.mark()?;
                    code!(t; rep().movsb());
                    Ok(())
                })?;
                t.mem_eq(CR2_, SCRATCH + 0xFFF)?;
                t.mem_eq(REGS + 24, 7)?;
                t.mem_eq(REGS + 4, SCRATCH + 0xFFF)?;
                t.mem_eq(REGS, SCRATCH + 0x2FFE)
            },
        ),
        pm(
            "rep-zero",
            "With ECX 0 a repeated string instruction touches nothing, not even an absent page, and no flag",
            "SDM 2B REP",
            |t| {
                t.paging()?;
                t.pte(SCRATCH, 0)?;
                code!(t; cld(); xor(ecx, ecx); mov(esi, SCRATCH); mov(edi, SCRATCH); push(0x8D7); popfd());
                t.no_fault(false, ins!(t; push(0x8D7); popfd(); repe().cmpsb(); repne().scasd(); rep().stosb()))?;
                code!(t; push(0x8D7); popfd(); repe().cmpsb());
                t.flags(0x8D5, 0x8D5)?;
                t.eq(edi, SCRATCH)
            },
        ),
        pm(
            "repe-cmps",
            "REPE CMPSB stops behind the first difference with its flags, REPNE SCASB behind the first match",
            "SDM 2A CMPS; 2B SCAS",
            |t| {
                code!(t; cld(); mov(dword_ptr(SCRATCH), 0x4433_2211); mov(dword_ptr(SCRATCH + 8), 0x4434_2211); mov(esi, SCRATCH); mov(edi, SCRATCH + 8); mov(ecx, 4); repe().cmpsb());
                t.flags(0x41, 1)?;
                t.eq(ecx, 1)?;
                t.eq(esi, SCRATCH + 3)?;
                code!(t; mov(edi, SCRATCH); mov(ecx, 100); mov(al, 0x33); repne().scasb());
                t.flags(0x40, 0x40)?;
                t.eq(ecx, 97)?;
                t.eq(edi, SCRATCH + 3)
            },
        ),
        pm("movs-overlap", "REP MOVSB onto the next byte replicates; backwards it moves", "SDM 2B MOVS", |t| {
            code!(t; cld(); mov(edi, SCRATCH); mov(eax, 0x0403_0201); stosd(); mov(esi, SCRATCH); mov(edi, SCRATCH + 1); mov(ecx, 7); rep().movsb());
            t.mem_eq(SCRATCH + 4, 0x0101_0101)?;
            code!(t; mov(dword_ptr(SCRATCH), 0x0403_0201); std(); mov(esi, SCRATCH + 3); mov(edi, SCRATCH + 4); mov(ecx, 4); rep().movsb(); cld());
            t.mem_eq(SCRATCH + 1, 0x0403_0201)?;
            t.eq(edi, SCRATCH)?;
            // Two apart, by doublewords.
            code!(t; mov(dword_ptr(SCRATCH), 0x4433_2211); mov(dword_ptr(SCRATCH + 4), 0x8877_6655u32); mov(esi, SCRATCH); mov(edi, SCRATCH + 2); mov(ecx, 2); rep().movsd());
            t.mem_eq(SCRATCH + 2, 0x4433_2211)?;
            t.mem_eq(SCRATCH + 6, 0x8877_4433)
        }),
        pm(
            "string-16",
            "With a 16-bit address size SI, DI and CX wrap and the upper halves stay",
            "SDM 1 3.6; 2B REP",
            |t| {
                code!(t; cld(); mov(byte_ptr(0xFFFF), 0x11); mov(byte_ptr(0x1_0000), 0x99u32); mov(esi, 0x1234_FFFF); mov(edi, 0x5678_9000); mov(ecx, 0x9ABC_0001u32);
                // A32 prefix, REP, MOVSB: one byte from 0000FFFFh to 00009000h.
                db(&[0x67, 0xF3, 0xA4]));
                t.mem8_eq(0x9000, 0x11)?;
                t.eq(esi, 0x1234_0000)?;
                t.eq(edi, 0x5678_9001)?;
                t.eq(ecx, 0x9ABC_0000)
            },
        ),
        pm(
            "string-override",
            "A segment prefix applies to the source of a string instruction, never to its ES destination",
            "SDM 2B MOVS",
            |t| {
                t.gdt(FREE, desc(SCRATCH, 0xFFFF, DATA0, 4))?;
                code!(t; cld(); mov(eax, FREE); mov(fs, eax); mov(byte_ptr(SCRATCH + 4), 0x5A); mov(esi, 4); mov(edi, 0x9000); db(&[0x64, 0xA4]));
                t.mem8_eq(0x9000, 0x5A)?;
                code!(t; mov(eax, 0x66); mov(edi, 0x9000); db(&[0x64, 0xAA]));
                t.mem8_eq(0x9000, 0x66)
            },
        ),
        pm(
            "ins-privilege",
            "INS and OUTS check I/O permission first: #GP(0) rather than the page fault",
            "SDM 2A INS; 3A 6.9",
            |t| {
                t.paging()?;
                t.pte(SCRATCH, 0)?;
                t.expect(fault_e(13, 0).user(), |t| {
                    code!(t; mov(edi, SCRATCH); mov(edx, 0x80));
                    t.mark()?;
                    code!(t; insb());
                    Ok(())
                })
            },
        ),
        pm(
            "cmps-order",
            "CMPS subtracts the destination from the source, SCAS memory from the accumulator",
            "SDM 2A CMPS; 2B SCAS",
            |t| {
                code!(t; cld(); mov(byte_ptr(SCRATCH), 1); mov(byte_ptr(SCRATCH + 1), 2); mov(esi, SCRATCH); mov(edi, SCRATCH + 1); cmpsb());
                t.flags(1, 1)?;
                code!(t; mov(al, 3); mov(edi, SCRATCH); scasb());
                t.flags(0x41, 0)
            },
        ),
    ]
}
