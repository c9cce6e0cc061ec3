//! Integer instructions: flags, counts, decimal adjustment, stack instructions, bit addressing.

use iced_x86::code_asm::*;

use super::{Program, pm};
use crate::asm::{code, ins};
use crate::pm::*;

/// CF, PF, AF, ZF, SF, OF.
const ARITH: u32 = 0x8D5;

pub(super) fn programs() -> Vec<Program> {
    vec![
        pm("shift-count-mask", "Shift counts are taken modulo 32; a count of 0 changes no flag", "SDM 2B SAL", |t| {
            code!(t; mov(eax, 1); mov(cl, 33); shl(eax, cl));
            t.eq(eax, 2)?;
            code!(t; push(0x8D7); popfd(); mov(cl, 32); shl(eax, cl));
            t.flags(ARITH, ARITH)?;
            code!(t; push(0x8D7); popfd(); mov(cl, 0); sar(ax, cl); rol(al, cl); rcr(eax, cl); shld(eax, ebx, cl));
            t.flags(ARITH, ARITH)?;
            t.eq(eax, 2)
        }),
        pm("shift-narrow", "An 8-bit shift by 9 to 31 clears the operand; SAR fills with the sign", "SDM 2B SAL", |t| {
            code!(t; mov(eax, 0xFF80u32); mov(cl, 9); shr(al, cl));
            t.eq(eax, 0xFF00)?;
            code!(t; mov(eax, 0x80); mov(cl, 20); sar(al, cl));
            t.flags(1, 1)?;
            t.eq(eax, 0xFF)?;
            code!(t; mov(eax, 0x101); mov(cl, 8); shl(al, cl));
            t.flags(1, 1)?;
            t.eq(eax, 0x100)
        }),
        pm("rcl-modulo", "RCL and RCR of 8 and 16 bits count modulo 9 and 17, through CF", "SDM 2B RCL", |t| {
            code!(t; mov(eax, 0x5A); stc(); mov(cl, 9); rcl(al, cl));
            t.flags(1, 1)?;
            t.eq(eax, 0x5A)?;
            code!(t; clc(); mov(cl, 10); rcl(al, cl));
            t.eq(eax, 0xB4)?;
            code!(t; mov(eax, 0x8001); clc(); mov(cl, 18); rcr(ax, cl));
            t.flags(1, 1)?;
            t.eq(eax, 0x4000)
        }),
        pm("rotate-flags", "ROL and ROR change only CF (and OF for one bit); a full turn still sets CF", "SDM 2B RCL", |t| {
            code!(t; push(0xD7 & !1); popfd(); mov(eax, 0x8000_0000u32); rol(eax, 1));
            t.flags(0x8D5, 0x8D5)?;
            code!(t; clc(); mov(eax, 0x81); mov(cl, 8); rol(al, cl));
            t.flags(1, 1)?;
            t.eq(eax, 0x81)
        }),
        pm("shld-shrd", "SHLD and SHRD fill from the second operand, CF the last bit out", "SDM 2B SHLD", |t| {
            code!(t; mov(eax, 0x1234_5678); mov(ebx, 0x9ABC_DEF0u32); shld(eax, ebx, 8));
            t.eq(eax, 0x3456_789A)?;
            code!(t; mov(eax, 0x1234_5678); shrd(eax, ebx, 4));
            t.flags(1, 1)?;
            t.eq(eax, 0x0123_4567)
        }),
        pm("inc-keeps-cf", "INC and DEC leave CF; NEG sets it unless the operand was 0; NOT changes no flag", "SDM 2A INC; 2B NEG, NOT", |t| {
            code!(t; stc(); mov(eax, 0x7FFF_FFFF); inc(eax));
            t.flags(ARITH, 0x800 | 0x80 | 0x10 | 4 | 1)?;
            code!(t; xor(eax, eax); neg(eax));
            t.flags(0x41, 0x40)?;
            code!(t; mov(eax, 0x8000_0000u32); neg(eax));
            t.flags(0x841, 0x801)?;
            code!(t; push(0x8D7); popfd(); not(eax));
            t.flags(ARITH, ARITH)
        }),
        pm("mul-flags", "MUL and IMUL set CF and OF together when the upper half matters", "SDM 2A IMUL; 2B MUL", |t| {
            code!(t; mov(al, 16); mov(bl, 16); mul(bl));
            t.flags(0x801, 0x801)?;
            code!(t; mov(al, 15); mul(bl));
            t.flags(0x801, 0)?;
            code!(t; mov(al, 0xFFu32); mov(bl, 1); imul(bl));
            t.flags(0x801, 0)?;
            code!(t; mov(eax, 0x1_0000); imul_3(ebx, eax, 0x8000));
            t.flags(0x801, 0x801)?;
            t.eq(ebx, 0x8000_0000)
        }),
        pm("bcd", "DAA, DAS, AAA, AAS, AAM and AAD give the manual's results", "SDM 2A DAA, DAS, AAA, AAS, AAM, AAD", |t| {
            code!(t; mov(eax, 0x79); add(al, 0x35); daa());
            t.flags(0x11, 0x11)?;
            t.eq(eax, 0x14)?;
            code!(t; mov(eax, 0x35); sub(al, 0x47); das());
            t.flags(0x11, 0x11)?;
            t.eq(eax, 0x88)?;
            code!(t; mov(eax, 0x008); add(al, 7); aaa());
            t.flags(0x11, 0x11)?;
            t.eq(eax, 0x105)?;
            code!(t; mov(eax, 0x203); sub(al, 5); aas());
            t.flags(0x11, 0x11)?;
            t.eq(eax, 0x108)?;
            code!(t; mov(eax, 73); aam(10));
            t.eq(eax, 0x703)?;
            code!(t; aad(10));
            t.eq(eax, 73)
        }),
        pm("cmpxchg", "CMPXCHG sets flags as CMP; on a difference it loads the accumulator", "SDM 2A CMPXCHG", |t| {
            code!(t; mov(dword_ptr(SCRATCH), 5); mov(eax, 5); mov(ecx, 9); cmpxchg(dword_ptr(SCRATCH), ecx));
            t.flags(0x40, 0x40)?;
            t.mem_eq(SCRATCH, 9)?;
            code!(t; mov(eax, 3); mov(ecx, 1); cmpxchg(dword_ptr(SCRATCH), ecx));
            t.flags(0x41, 1)?;
            t.eq(eax, 9)?;
            t.mem_eq(SCRATCH, 9)
        }),
        pm("cmpxchg8b", "CMPXCHG8B compares EDX:EAX, stores ECX:EBX or loads, and changes ZF only", "SDM 2A CMPXCHG8B", |t| {
            code!(t; mov(dword_ptr(SCRATCH), 1); mov(dword_ptr(SCRATCH + 4), 2); mov(eax, 1); mov(edx, 2); mov(ebx, 3); mov(ecx, 4);
                push(0x897); popfd(); cmpxchg8b(qword_ptr(SCRATCH)));
            t.flags(ARITH, 0x8D5)?;
            t.mem_eq(SCRATCH, 3)?;
            t.mem_eq(SCRATCH + 4, 4)?;
            code!(t; push(0x42); popfd(); cmpxchg8b(qword_ptr(SCRATCH)));
            t.flags(ARITH, 0)?;
            t.eq(eax, 3)?;
            t.eq(edx, 4)
        }).cpu("pentium"),
        pm("xadd-bswap", "XADD exchanges and adds; BSWAP turns the bytes round", "SDM 2B XADD; 2A BSWAP", |t| {
            code!(t; mov(eax, 0x1122_3344); bswap(eax));
            t.eq(eax, 0x4433_2211)?;
            code!(t; mov(eax, 7); mov(ebx, 8); xadd(eax, ebx));
            t.eq(eax, 15)?;
            t.eq(ebx, 7)?;
            code!(t; mov(eax, 7); xadd(eax, eax));
            t.eq(eax, 14)
        }),
        pm("bit-string", "BT with a register offset reaches memory outside the operand, negative offsets before it", "SDM 2A BT", |t| {
            code!(t; mov(dword_ptr(SCRATCH + 0xFC), 0x8000_0000u32); mov(dword_ptr(SCRATCH + 0x100), 0); mov(dword_ptr(SCRATCH + 0x104), 0);
                mov(eax, -1); bt(dword_ptr(SCRATCH + 0x100), eax));
            t.flags(1, 1)?;
            code!(t; mov(eax, 33); bts(dword_ptr(SCRATCH + 0x100), eax));
            t.flags(1, 0)?;
            t.mem_eq(SCRATCH + 0x104, 2)?;
            code!(t; btc(dword_ptr(SCRATCH + 0x100), 33));
            t.mem_eq(SCRATCH + 0x100, 2)
        }),
        pm("bsf-bsr", "BSF and BSR set ZF for 0, otherwise find the lowest and the highest bit", "SDM 2A BSF", |t| {
            code!(t; mov(ebx, 0x0010_8000); bsf(eax, ebx); bsr(ecx, ebx));
            t.flags(0x40, 0)?;
            t.eq(eax, 15)?;
            t.eq(ecx, 20)?;
            code!(t; xor(ebx, ebx); bsf(eax, ebx));
            t.flags(0x40, 0x40)
        }),
        pm("push-esp", "PUSH ESP pushes the value before; POP ESP ends with the value popped; PUSHA pushes the old ESP", "SDM 2B PUSH, POP, PUSHA", |t| {
            code!(t; mov(ebx, esp); push(esp); pop(eax); sub(eax, ebx));
            t.eq(eax, 0)?;
            code!(t; push(STACK as i32 - 0x80); pop(esp); mov(eax, esp); mov(esp, ebx));
            t.eq(eax, STACK - 0x80)?;
            code!(t; pushad(); mov(eax, dword_ptr(esp + 12)); sub(eax, ebx); mov(dword_ptr(esp + 12), 0); mov(dword_ptr(esp + 28), eax); popad(); sub(ebx, esp));
            t.eq(eax, 0)?;
            t.eq(ebx, 0)
        }),
        pm("push-imm", "PUSH of a byte is sign-extended to the operand size; PUSH of a segment register moves ESP by 4", "SDM 2B PUSH", |t| {
            code!(t; push(-2); pop(eax));
            t.eq(eax, 0xFFFF_FFFE)?;
            code!(t; mov(ebx, esp); db(&[0x66, 0x6A, 0x80]); mov(ecx, esp); movzx(eax, word_ptr(esp)); mov(esp, ebx); sub(ebx, ecx));
            t.eq(eax, 0xFF80)?;
            t.eq(ebx, 2)?;
            code!(t; mov(ebx, esp); push(ds); mov(ecx, esp); movzx(eax, word_ptr(esp)); mov(esp, ebx); sub(ebx, ecx));
            t.eq(eax, KDATA)?;
            t.eq(ebx, 4)
        }),
        pm("enter-leave", "ENTER builds nested frames by copying the display; LEAVE takes them down", "SDM 2A ENTER, LEAVE", |t| {
            code!(t;
                mov(edi, esp); mov(ebp, SCRATCH + 0x100); mov(dword_ptr(SCRATCH + 0xFC), 0xAAAA); mov(dword_ptr(SCRATCH + 0xF8), 0xBBBB);
                enter(8, 3); mov(ebx, ebp); mov(ecx, esp));
            code!(t; mov(eax, dword_ptr(edi - 4)));
            t.eq(eax, SCRATCH + 0x100)?;
            code!(t; mov(eax, dword_ptr(edi - 8)));
            t.eq(eax, 0xAAAA)?;
            code!(t; mov(eax, dword_ptr(edi - 12)));
            t.eq(eax, 0xBBBB)?;
            code!(t; mov(eax, dword_ptr(edi - 16)); sub(eax, ebx));
            t.eq(eax, 0)?;
            code!(t; mov(eax, edi); sub(eax, ecx));
            t.eq(eax, 24)?;
            code!(t; leave(); mov(eax, esp); sub(eax, edi));
            t.eq(eax, 0)?;
            t.eq(ebp, SCRATCH + 0x100)
        }),
        pm("sahf-salc-xlat", "SAHF and LAHF move five flags, SALC spreads CF, XLAT indexes by AL", "SDM 2A LAHF; 2B SAHF, XLAT", |t| {
            code!(t; mov(eax, 0xFF00u32); sahf());
            t.flags(0xD5, 0xD5)?;
            code!(t; mov(eax, 0); sahf(); lahf());
            t.eq(eax, 0x0200)?;
            code!(t; stc(); salc());
            t.eq(eax, 0x02FF)?;
            code!(t; mov(byte_ptr(SCRATCH + 0x85), 0x77); mov(ebx, SCRATCH); mov(eax, 0x85); xlatb());
            t.eq(eax, 0x77)
        }),
        pm("address-size", "A 16-bit address wraps at 64 KiB; LOOP and JECXZ count in CX with an address prefix", "SDM 1 3.6; 2A LOOP", |t| {
            code!(t; mov(byte_ptr(0x1234), 0x66); mov(ebx, 0xFFFF_2000u32); mov(esi, 0xFFFF_F234u32); xor(eax, eax); db(&[0x67, 0x8A, 0x00]));
            t.eq(eax, 0x66)?;
            code!(t; db(&[0x67, 0x8D, 0x00]));
            t.eq(eax, 0x1234)?;
            code!(t; mov(ecx, 0x1_0001); mov(eax, 0); db(&[0x67, 0xE2, 0x05]); mov(eax, 1));
            t.eq(eax, 1)?;
            t.eq(ecx, 0x1_0000)?;
            code!(t; db(&[0x67, 0xE3, 0x05]); mov(eax, 2));
            t.eq(eax, 1)
        }),
        pm("operand-16-branch", "A near jump with an operand prefix clears the upper half of EIP", "SDM 2A JMP", |t| {
            t.copy_code(0x8000, 0x8000, 32, &|a| { code!(a; jmp(ebx)); Ok(()) })?;
            // JMP rel16 to 8000h, from wherever this is in the first 64 KiB of the image.
            code!(t; mov(ebx, t.addr("back")));
            t.here("jump")?;
            let displacement = 0x8000u32.wrapping_sub(t.addr("jump") + 4) as u16;
            code!(t; db(&[0x66, 0xE9]); dw(&[displacement]));
            t.unreachable()?;
            t.here("back")
        }),
        pm("adc-sbb", "ADC and SBB carry over; CMC, STC and CLC act on CF only", "SDM 2A ADC; 2B SBB", |t| {
            code!(t; stc(); mov(eax, 0xFFFF_FFFFu32); adc(eax, 0));
            t.flags(ARITH, 0x55)?;
            code!(t; stc(); mov(eax, 0x8000_0000u32); sbb(eax, 0x7FFF_FFFF));
            t.flags(ARITH, 0x800 | 0x40 | 0x10 | 4)?;
            code!(t; stc(); mov(eax, 5); sbb(eax, eax));
            t.eq(eax, 0xFFFF_FFFF)?;
            code!(t; push(0x8D7); popfd(); cmc());
            t.flags(ARITH, 0x8D4)
        }),
        pm("cpuid-flag", "EFLAGS.ID can be changed where CPUID exists; EFLAGS bits 1, 3, 5 and 15 read 1, 0, 0, 0", "SDM 1 3.4.3", |t| {
            code!(t; push(!0x0014_7D00i32); popfd(); pushfd(); pop(eax); push(2); popfd(); and(eax, 0x20_802A));
            t.eq(eax, 0x20_0002)
        }).cpu("pentium"),
        pm("sysenter", "SYSENTER goes to ring 0 by three MSRs and clears IF; SYSEXIT goes back to ring 3; a null CS MSR is #GP(0)", "SDM 2B SYSENTER, SYSEXIT", |t| {
            t.unless_feature(11, "pass")?;
            code!(t; xor(eax, eax); xor(edx, edx); mov(ecx, 0x174); wrmsr());
            t.expect(fault_e(13, 0).user(), ins!(t; sysenter()))?;
            // SYSEXIT wants ring-3 segments behind the two of ring 0.
            code!(t; xor(edx, edx); mov(eax, KCODE); mov(ecx, 0x174); wrmsr(); mov(eax, STACK0 - 0x100); mov(ecx, 0x175); wrmsr(); mov(eax, t.addr("entry0")); mov(ecx, 0x176); wrmsr());
            t.expect(fault(0x80).user_flags(0x202).at(Where::Any), |t| {
                code!(t; sysenter());
                t.here("entry0")?;
                code!(t; pushfd(); mov(eax, cs); mov(ebx, esp); mov(esi, ss); mov(edi, dword_ptr(esp)); mov(edx, t.addr("ring3")); mov(ecx, USTACK - 0x20); sysexit());
                t.here("ring3")?;
                Ok(())
            })?;
            t.mem_bits(REGS + 28, 0xFFFF, KCODE)?;
            t.mem_eq(REGS + 16, STACK0 - 0x104)?;
            t.mem_bits(REGS + 4, 0xFFFF, KDATA)?;
            t.mem_bits(REGS, 0x200, 0)?;
            t.mem_eq(ESP_, USTACK - 0x20)?;
            t.mem_bits(CS_, 0xFFFF, UCODE)
        }).cpu("p3"),
    ]
}
