//! Self-modifying code: the processor runs what memory holds.

use iced_x86::code_asm::*;

use super::{Program, pm};
use crate::asm::code;
use crate::pm::*;

pub(super) fn programs() -> Vec<Program> {
    vec![
        pm("smc-next", "A store into the very next instruction takes effect at once", "SDM 3A 11.6", |t| {
            code!(t; mov(byte_ptr(t.addr("patch") + 1), 0x22));
            t.here("patch")?;
            code!(t; db(&[0xB8, 0x11, 0, 0, 0]));
            t.eq(eax, 0x22)
        }),
        pm("smc-loop", "Code that changes on each turn of a loop runs as changed on each", "SDM 3A 11.6", |t| {
            code!(t; xor(ebx, ebx); mov(ecx, 200));
            t.here("again")?;
            t.here("patch")?;
            code!(t; db(&[0x81, 0xC3, 1, 0, 0, 0]); inc(dword_ptr(t.addr("patch") + 2)); loop_(t.at("again")));
            t.eq(ebx, 200 * 201 / 2)
        }),
        pm("smc-own-bytes", "An instruction that overwrites itself completes as it was fetched", "SDM 3A 11.6", |t| {
            code!(t; mov(edi, t.addr("self")); mov(eax, 0x9090_9090u32); mov(ebx, 5); jmp(t.at("self")));
            t.align(16)?;
            t.here("self")?;
            // MOV [EDI],EAX; INC EBX; NOP: the second time round its bytes are NOPs.
            code!(t; db(&[0x89, 0x07, 0x43, 0x90]));
            t.mem_eq(t.addr("self"), 0x9090_9090)?;
            code!(t; and(ebx, 0xFE));
            t.eq(ebx, 4)
        }),
        pm("smc-rep-movs", "REP MOVSB over the instructions behind it: they run as copied", "SDM 3A 11.6", |t| {
            code!(t; cld(); mov(esi, t.addr("new")); mov(edi, t.addr("old")); mov(ecx, 10); jmp(t.at("copy")));
            t.here("new")?;
            code!(t; db(&[0xB8, 1, 2, 3, 4, 0xBB, 5, 6, 7, 8]));
            t.here("copy")?;
            code!(t; rep().movsb());
            t.here("old")?;
            code!(t; db(&[0x0F, 0x0B, 0x0F, 0x0B, 0x0F, 0x0B, 0x0F, 0x0B, 0x0F, 0x0B]));
            t.eq(eax, 0x0403_0201)?;
            t.eq(ebx, 0x0807_0605)
        }),
        pm(
            "smc-page-crossing",
            "An instruction across two pages changes with the bytes on the second",
            "SDM 3A 11.6",
            |t| {
                code!(t; mov(word_ptr(SCRATCH + 0xFFE), 0x01B8); mov(dword_ptr(SCRATCH + 0x1000), 0xC300_0000u32); mov(edi, SCRATCH + 0xFFE); call(edi));
                t.eq(eax, 1)?;
                code!(t; call(edi); mov(byte_ptr(SCRATCH + 0x1000), 0x77); call(edi));
                t.eq(eax, 0x7701)
            },
        ),
        pm(
            "smc-alias",
            "A store through another linear address of the same page changes the code too",
            "SDM 3A 11.6",
            |t| {
                t.paging()?;
                t.pte(0x60_0000, SCRATCH | 7)?;
                code!(t; mov(dword_ptr(SCRATCH), 0x0000_11B8); mov(word_ptr(SCRATCH + 4), 0xC300u32); mov(edi, SCRATCH); mov(ebx, 50));
                t.here("warm")?;
                code!(t; call(edi); dec(ebx); jne(t.at("warm")));
                t.eq(eax, 0x11)?;
                code!(t; mov(byte_ptr(0x60_0001), 0x22); call(edi));
                t.eq(eax, 0x22)
            },
        ),
        pm(
            "smc-remap",
            "Code runs from the page that is mapped now, and the old page's code is intact when mapped back",
            "SDM 3A 4.10",
            |t| {
                t.paging()?;
                code!(t; mov(edi, 0x60_0000));
                for (page, value) in [(SCRATCH, 0x11u32), (SCRATCH + 0x1000, 0x22)] {
                    code!(t; mov(dword_ptr(page), 0xB8 | value << 8); mov(word_ptr(page + 4), 0xC300u32));
                }
                for (page, value) in [(SCRATCH, 0x11), (SCRATCH + 0x1000, 0x22), (SCRATCH, 0x11)] {
                    t.pte(0x60_0000, page | 7)?;
                    code!(t; mov(ebx, 20));
                    let warm = t.fresh("warm");
                    t.here(&warm)?;
                    code!(t; call(edi); dec(ebx); jne(t.at(&warm)));
                    t.eq(eax, value)?;
                }
                Ok(())
            },
        ),
        pm(
            "smc-fpu-store",
            "An x87 store of ten bytes, the read-modify-write of a LOCK ADD and a PUSH change code as any store does",
            "SDM 3A 11.6",
            |t| {
                // FLD of a routine's bytes as an 80-bit number, FSTP over another.
                code!(t; mov(dword_ptr(SCRATCH), 0x0000_11B8); mov(dword_ptr(SCRATCH + 4), 0x9090_C300u32); mov(edi, SCRATCH); call(edi));
                t.eq(eax, 0x11)?;
                code!(t; mov(dword_ptr(SCRATCH + 0x100), 0x0000_33B8); mov(dword_ptr(SCRATCH + 0x104), 0x8000_C300u32); mov(word_ptr(SCRATCH + 0x108), 0x9090u32);
                mov(ebx, cr0); and(ebx, !0xC); mov(cr0, ebx); fninit(); fld(tbyte_ptr(SCRATCH + 0x100)); fstp(tbyte_ptr(SCRATCH)); call(edi));
                t.eq(eax, 0x33)?;
                code!(t; lock().add(byte_ptr(SCRATCH + 1), 0x11); call(edi));
                t.eq(eax, 0x44)?;
                code!(t; mov(ebx, esp); mov(esp, SCRATCH + 4); push(0x0000_55B8); mov(esp, ebx); call(edi));
                t.eq(eax, 0x55)
            },
        ),
        pm(
            "smc-call-return",
            "A callee that changes the code behind its return address is obeyed",
            "SDM 3A 11.6",
            |t| {
                code!(t; call(t.at("callee")));
                t.here("behind")?;
                code!(t; db(&[0xB8, 0x11, 0, 0, 0]));
                t.eq(eax, 0x22)?;
                code!(t; jmp(t.at("over")));
                t.here("callee")?;
                code!(t; mov(eax, dword_ptr(esp)); mov(byte_ptr(eax + 1), 0x22); ret());
                t.here("over")
            },
        ),
    ]
}
