//! `test`: self-tests of the processor, on the same checks as the programs of this crate.

use iced_x86::code_asm::*;

use super::*;
use crate::asm::ins;
use crate::pm::*;

/// One self-test: its name, and code that goes to `fail` when something is wrong.
fn test(t: &mut Pm, name: &str, body: impl FnOnce(&mut Pm) -> Emit) -> Emit {
    let (failed, end) = (t.fresh("failed"), t.fresh("end"));
    say(t, &format!("Test       {name:<58}"))?;
    code!(t; cli(); mov(dword_ptr(FAIL_TO), t.addr(&failed)); mov(dword_ptr(FAIL_ESP), esp));
    body(t)?;
    code!(t; sti(); mov(dword_ptr(FAIL_TO), 0); inc(dword_ptr(PASSED)));
    color(t, 10)?;
    say(t, "ok\n")?;
    code!(t; jmp(t.at(&end)));
    t.here(&failed)?;
    code!(t; inc(dword_ptr(FAILED)));
    color(t, 9)?;
    say(t, "FAILED, found ")?;
    code!(t; push(eax); call(t.at("hex8")));
    say(t, "\n")?;
    t.here(&end)?;
    color(t, 7)
}

pub(super) fn write(t: &mut Pm) -> Emit {
    // A check that fails while no self-test runs cannot happen; it would end here as a stray exception.
    t.here("fail")?;
    code!(t; mov(esp, dword_ptr(FAIL_ESP)); mov(ecx, cr0); and(ecx, 0x7FFF_FFFFu32); mov(cr0, ecx); sti();
        xor(ecx, ecx); xchg(dword_ptr(FAIL_TO), ecx); jmp(ecx));
    t.here("cmd.test")?;
    code!(t; mov(dword_ptr(PASSED), 0); mov(dword_ptr(FAILED), 0));
    test(t, "integer: carries, multiplication, division", |t| {
        code!(t; mov(eax, 0xFFFF_FFFFu32); add(eax, 1));
        t.flags(0x8D5, 0x55)?;
        code!(t; mov(eax, 0x7FFF_FFFF); adc(eax, 0); mov(ebx, 0x1234_5678); mov(eax, 0x9ABC_DEF0u32); mul(ebx));
        t.eq(edx, 0x0B00_EA4E)?;
        t.eq(eax, 0x242D_2080)?;
        code!(t; mov(edx, 0x0B00_EA4E); mov(eax, 0x242D_2085); div(ebx));
        t.eq(eax, 0x9ABC_DEF0)?;
        t.eq(edx, 5)
    })?;
    test(t, "integer: shifts, bits, decimal adjustment", |t| {
        code!(t; mov(eax, 0x8000_0001u32); mov(cl, 33); rol(eax, cl));
        t.eq(eax, 3)?;
        code!(t; mov(eax, 0x79); add(al, 0x35); daa(); movzx(eax, al));
        t.eq(eax, 0x14)?;
        code!(t; mov(eax, 0x0010_0000); bsr(ebx, eax));
        t.eq(ebx, 20)
    })?;
    test(t, "strings: overlapping copies both ways", |t| {
        code!(t; cld(); mov(edi, HEAP); mov(eax, 0x0403_0201); stosd(); mov(esi, HEAP); mov(edi, HEAP + 1); mov(ecx, 7); rep().movsb());
        t.mem_eq(HEAP + 4, 0x0101_0101)?;
        code!(t; mov(dword_ptr(HEAP), 0x0403_0201); std(); mov(esi, HEAP + 3); mov(edi, HEAP + 4); mov(ecx, 4); rep().movsb(); cld());
        t.mem_eq(HEAP + 1, 0x0403_0201)
    })?;
    test(t, "x87: 80-bit precision, rounding, constants", |t| {
        code!(t; fninit(); fldpi(); fstp(tbyte_ptr(HEAP)));
        t.mem_eq(HEAP, 0x2168_C235)?;
        t.mem_eq(HEAP + 4, 0xC90F_DAA2)?;
        code!(t; fld1(); fadd_2(st0, st0); fsqrt(); fstp(tbyte_ptr(HEAP)));
        t.mem_eq(HEAP, 0xF9DE_6484)?;
        t.mem_eq(HEAP + 4, 0xB504_F333)?;
        code!(t; mov(dword_ptr(HEAP), 5); mov(dword_ptr(HEAP + 4), 2); fild(dword_ptr(HEAP)); fidiv(dword_ptr(HEAP + 4)); fistp(dword_ptr(HEAP)));
        t.mem_eq(HEAP, 2)
    })?;
    test(t, "SSE: packed singles (where there is SSE)", |t| {
        code!(t; pushfd(); pop(eax); mov(ecx, eax); xor(eax, 0x20_0000); push(eax); popfd(); pushfd(); pop(eax); cmp(eax, ecx); je(t.at("sse.end")));
        t.unless_feature(25, "sse.end")?;
        code!(t; mov(eax, cr4); or(eax, 0x200); mov(cr4, eax);
            mov(dword_ptr(HEAP), 0x3F80_0000); mov(dword_ptr(HEAP + 4), 0x4000_0000); mov(dword_ptr(HEAP + 8), 0x4040_0000); mov(dword_ptr(HEAP + 12), 0x4080_0000);
            movups(xmm0, xmmword_ptr(HEAP)); addps(xmm0, xmm0); mulps(xmm0, xmm0); movups(xmmword_ptr(HEAP), xmm0));
        t.mem_eq(HEAP, 0x4080_0000)?;
        t.mem_eq(HEAP + 12, 0x4280_0000)?;
        t.here("sse.end")
    })?;
    test(t, "exceptions: divide error, invalid opcode, breakpoint", |t| {
        code!(t; xor(ecx, ecx));
        t.expect(fault(0), ins!(t; div(ecx)))?;
        t.expect(fault(6), ins!(t; ud2()))?;
        t.expect(fault(3).at(Where::End), ins!(t; int3()))
    })?;
    test(t, "protection: ring 3 may not, segments end at their limit", |t| {
        t.expect(fault_e(13, 0).user(), ins!(t; hlt()))?;
        t.expect(fault_e(13, 0).user(), ins!(t; in_(al, 0x20)))?;
        t.gdt(FREE, desc(HEAP, 0xFF, DATA0, 4))?;
        code!(t; mov(eax, FREE); mov(fs, eax); mov(al, byte_ptr(0xFF).fs()));
        t.no_fault(true, ins!(t; mov(eax, UDATA); mov(es, eax)))?;
        t.expect(fault_e(13, KDATA).user(), |t| {
            code!(t; mov(eax, KDATA));
            t.mark()?;
            code!(t; mov(es, eax));
            Ok(())
        })
    })?;
    test(t, "paging: rights, fault address, accessed and dirty", |t| {
        t.paging()?;
        // CR3 instead of INVLPG, which a 386 lacks.
        let entry = Pm::pte_of(0x50_0000);
        code!(t; mov(eax, dword_ptr(0x50_0000)));
        t.mem_bits(entry, 0x60, 0x20)?;
        code!(t; mov(dword_ptr(0x50_0000), eax));
        t.mem_bits(entry, 0x60, 0x60)?;
        code!(t; mov(dword_ptr(entry), 0); mov(eax, cr3); mov(cr3, eax));
        t.expect(fault_e(14, 6).user(), ins!(t; mov(dword_ptr(0x50_0123), eax)))?;
        t.mem_eq(CR2_, 0x50_0123)?;
        code!(t; mov(eax, cr0); and(eax, 0x7FFF_FFFFu32); mov(cr0, eax));
        Ok(())
    })?;
    test(t, "debug: single step", |t| t.expect(fault(1).at(Where::End), ins!(t; push(0x102); popfd(); nop())))?;
    test(t, "self-modifying code: the next instruction", |t| {
        t.here("smc.start")?;
        code!(t; mov(byte_ptr(t.addr("smc.patch") + 1), 0x22));
        t.here("smc.patch")?;
        code!(t; db(&[0xB0, 0x11]); movzx(eax, al); mov(byte_ptr(t.addr("smc.patch") + 1), 0x11));
        t.eq(eax, 0x22)
    })?;
    say(t, "           ")?;
    code!(t; push(dword_ptr(PASSED)); call(t.at("decimal")));
    say(t, " passed, ")?;
    code!(t; push(dword_ptr(FAILED)); call(t.at("decimal")));
    say(t, " failed\n")?;
    code!(t; ret());
    Ok(())
}
