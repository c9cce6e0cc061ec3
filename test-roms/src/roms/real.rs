//! Real mode, from the 8086 on. Each program is one boot sector.

use iced_x86::code_asm::*;

use super::{Program, rm};
use crate::asm::code;
use crate::pm::desc;
use crate::rm::*;

pub(super) fn programs() -> Vec<Program> {
    vec![
        rm("real-push-sp", "PUSH SP pushes the value before the push from the 286 on", "SDM 2B PUSH; 3B 22.17", |t| {
            code!(t; mov(bx, sp); push(sp); pop(ax); cmp(ax, bx));
            t.check_zf()
        }).cpu("286"),
        rm("real-int-frame", "INT n pushes flags, CS, IP, and IRET takes them back", "SDM 3A 20.1.4", |t| {
            t.expect(0x60, Some("back"), |t| {
                code!(t; stc(); sti(); int(0x60));
                t.here("back")
            })?;
            t.mem_eq(CS_, 0)?;
            code!(t; mov(ax, word_ptr(FL)); and(ax, 0x201); cmp(ax, 0x201));
            t.check_zf()?;
            code!(t; mov(bx, sp); pushf(); push(cs); mov(ax, t.addr("iret") as i32); push(ax); iret());
            t.here("iret")?;
            code!(t; cmp(bx, sp));
            t.check_zf()
        }),
        rm("real-into", "INTO traps through vector 4 if OF is set", "SDM 2A INTO", |t| {
            t.expect(4, Some("back"), |t| {
                code!(t; mov(al, 0x7F); inc(al); db(&[0xCE]));
                t.here("back")
            })
        }),
        rm("real-bcd", "DAA, AAA, AAM, AAD as on the 8086", "8086 manual, DAA; SDM 2A", |t| {
            code!(t; mov(ax, 0x79); add(al, 0x35); daa());
            t.eq(ax, 0x14)?;
            code!(t; mov(ax, 73); aam(10));
            t.eq(ax, 0x703)?;
            code!(t; aad(10));
            t.eq(ax, 73)?;
            code!(t; mov(ax, 8); add(al, 7); aaa());
            t.eq(ax, 0x105)
        }),
        rm("real-string", "String instructions with REP, both directions, a segment prefix on the source", "SDM 2B REP", |t| {
            code!(t; mov(di, DATA as i32); mov(ax, 0x1122); mov(cx, 4); rep().stosw());
            t.eq(di, DATA as u16 + 8)?;
            t.eq(cx, 0)?;
            code!(t; mov(si, DATA as i32); mov(di, DATA as i32 + 8); mov(cx, 4); repe().cmpsw(); pushf(); pop(ax));
            t.eq(cx, 3)?;
            code!(t; std(); mov(si, DATA as i32 + 1); mov(di, DATA as i32 + 2); mov(cx, 2); rep().movsb(); cld());
            t.mem_eq(DATA, 0x2222)?;
            code!(t; mov(ax, 0x100); mov(ds, ax); xor(si, si); lodsw(); mov(bx, ax); xor(ax, ax); mov(ds, ax));
            t.eq(bx, 0x2222)
        }),
        rm("real-segment-wrap", "Offsets wrap at 64 KiB in an address computation", "SDM 3A 20.1.1", |t| {
            code!(t; mov(byte_ptr(DATA), 0x5A); mov(bx, 0x8000); mov(si, (0x8000 + DATA) as i32); mov(al, byte_ptr(bx + si)); xor(ah, ah));
            t.eq(ax, 0x5A)
        }),
        rm("real-limit", "A word at offset FFFFh raises vector 13 on a 286 and later, 12 through SS", "SDM 3A 20.1.1, 22.34", |t| {
            t.expect(13, None, |t| {
                code!(t; mov(ax, word_ptr(0xFFFF)));
                Ok(())
            })?;
            t.expect(12, Some("ss"), |t| {
                code!(t; mov(bp, 0xFFFF));
                t.here("ss")?;
                code!(t; mov(ax, word_ptr(bp + 0)));
                Ok(())
            })
        }).cpu("286").qemu_differs("QEMU checks no segment limit on data accesses"),
        rm("real-shift-mask", "Shift counts are taken modulo 32 from the 286 on", "SDM 2B SAL; 3B 22.17", |t| {
            code!(t; mov(ax, 0x1234); mov(cl, 32); shl(ax, cl));
            t.eq(ax, 0x1234)?;
            code!(t; mov(cl, 33); shl(ax, cl));
            t.eq(ax, 0x2468)
        }).cpu("286"),
        rm("real-flags-15", "In real mode flag bit 15 reads 0 from the 286 on, and bit 1 reads 1", "SDM 3B 22.16", |t| {
            code!(t; mov(ax, -1); and(ax, 0x80FFu32 as i32); push(ax); popf());
            t.flags(0x802A, 2)
        }).cpu("286"),
        rm("real-unreal", "A limit loaded in protected mode stays in real mode: 32-bit offsets reach all memory", "SDM 3A 9.9.2", |t| {
            code!(t; lgdt(fword_ptr(t.addr("gdtr"))); mov(eax, cr0); or(al, 1); mov(cr0, eax); mov(bx, 8); mov(fs, bx); and(al, 0xFEu32 as i32); mov(cr0, eax); xor(bx, bx));
            // FS keeps base 0; loading it in real mode changes the base only.
            code!(t; mov(fs, bx); mov(esi, 0x20_0000); mov(dword_ptr(esi).fs(), 0x1234_5678); mov(eax, dword_ptr(esi).fs()); shr(eax, 16));
            t.eq(ax, 0x1234)?;
            code!(t; mov(bx, 0x1000); mov(fs, bx); sub(esi, 0x1_0000); mov(ax, word_ptr(esi).fs()));
            t.eq(ax, 0x5678)?;
            code!(t; jmp(t.at("past")));
            t.here("gdt")?;
            t.a.dq(&[0, desc(0, 0xF_FFFF, 0x93, 0xC)])?;
            t.here("gdtr")?;
            code!(t; dw(&[15]); dd(&[t.addr("gdt")]));
            t.here("past")
        }).cpu("386"),
        rm("real-a20", "With the A20 gate closed (port 92h) FFFF:0010 is address 0, open it is 1 MiB", "PC hardware: port 92h bit 1", |t| {
            code!(t; mov(ax, 0xFFFF); mov(es, ax); mov(word_ptr(DATA), 0x1111));
            code!(t; in_(al, 0x92u32); or(al, 2); and(al, 0xFEu32 as i32); out(0x92u32, al); mov(word_ptr(DATA + 0x10).es(), 0x2222));
            t.mem_eq(DATA, 0x1111)?;
            code!(t; in_(al, 0x92u32); and(al, 0xFCu32 as i32); out(0x92u32, al); mov(ax, word_ptr(DATA + 0x10).es()));
            t.eq(ax, 0x1111)?;
            code!(t; in_(al, 0x92u32); or(al, 2); and(al, 0xFEu32 as i32); out(0x92u32, al); mov(ax, word_ptr(DATA + 0x10).es()));
            t.eq(ax, 0x2222)
        }).cpu("386"),
        rm("real-ud", "An undefined opcode raises vector 6 at itself; LOCK before NOP too", "SDM 3A 20.1.4", |t| {
            t.expect(6, None, |t| {
                code!(t; db(&[0x0F, 0x0B]));
                Ok(())
            })?;
            t.expect(6, None, |t| {
                code!(t; db(&[0xF0, 0x90]));
                Ok(())
            })
        }).cpu("386"),
        rm("real-protected-only", "LAR, VERR, STR, LLDT and ARPL are undefined in real mode", "SDM 2A LAR; 3A 20.1.3", |t| {
            for bytes in [[0x0F, 0x02, 0xC0], [0x0F, 0x00, 0xE0], [0x0F, 0x00, 0xC8], [0x0F, 0x00, 0xD0], [0x63, 0xC0, 0x90]] {
                t.expect(6, None, |t| {
                    code!(t; db(&bytes));
                    Ok(())
                })?;
            }
            Ok(())
        }).cpu("386"),
        rm("real-bound", "BOUND outside its bounds raises vector 5 at itself", "SDM 2A BOUND", |t| {
            code!(t; mov(word_ptr(DATA), 1); mov(word_ptr(DATA + 2), 5); mov(ax, 3); bound(ax, dword_ptr(DATA)); mov(ax, 6));
            t.expect(5, None, |t| {
                code!(t; db(&[0x62, 0x06]); dw(&[DATA as u16]));
                Ok(())
            })
        }).cpu("286"),
        rm("real-step", "TF steps one instruction, through vector 1", "SDM 3A 17.3.1.4", |t| {
            t.expect(1, Some("stepped"), |t| {
                code!(t; mov(ax, 0x102); push(ax); popf(); nop());
                t.here("stepped")?;
                code!(t; nop());
                Ok(())
            })
        }),
        rm("real-mul-div", "MUL, IMUL and DIV of bytes and words", "SDM 2A DIV, IMUL; 2B MUL", |t| {
            code!(t; mov(ax, 0x1234); mov(cx, 0x5678); mul(cx));
            t.eq(ax, 0x0060)?;
            t.eq(dx, 0x0626)?;
            code!(t; add(ax, 7); div(cx));
            t.eq(ax, 0x1234)?;
            t.eq(dx, 7)?;
            code!(t; mov(ax, -100); mov(cl, 7); idiv(cl));
            t.eq(ax, 0xFEF2)
        }),
    ]
}
