//! SSE: when it may be used, its exceptions, MXCSR, FXSAVE.

use iced_x86::code_asm::*;

use super::{Program, pm};
use crate::asm::{Emit, code, ins};
use crate::pm::*;

/// Passes where there is no SSE, otherwise sets CR4 bits `cr4_bits`, with EM and TS clear.
fn on(t: &mut Pm, cr4_bits: u32) -> Emit {
    t.unless_feature(25, "pass")?;
    code!(t; mov(eax, cr0); and(eax, !0xC); or(eax, 0x22); mov(cr0, eax); mov(eax, cr4); and(eax, !0x600); or(eax, cr4_bits); mov(cr4, eax); fninit());
    Ok(())
}

/// Loads MXCSR.
fn mxcsr(t: &mut Pm, value: u32) -> Emit {
    code!(t; mov(dword_ptr(SCRATCH + 0xF0), value); ldmxcsr(dword_ptr(SCRATCH + 0xF0)));
    Ok(())
}

pub(super) fn programs() -> Vec<Program> {
    let programs = vec![
        pm("sse-osfxsr", "SSE instructions are #UD while CR4.OSFXSR is clear or CR0.EM set, #NM while CR0.TS is set", "SDM 3A 13.1, 2.5", |t| {
            on(t, 0)?;
            t.expect(fault(6), ins!(t; addps(xmm0, xmm1)))?;
            t.expect(fault(6), ins!(t; ldmxcsr(dword_ptr(SCRATCH))))?;
            on(t, 0x200)?;
            t.no_fault(false, ins!(t; addps(xmm0, xmm1)))?;
            code!(t; mov(eax, cr0); or(eax, 8); mov(cr0, eax));
            t.expect(fault(7), ins!(t; addps(xmm0, xmm1)))?;
            code!(t; mov(eax, cr0); xor(eax, 12); mov(cr0, eax));
            t.expect(fault(6), ins!(t; addps(xmm0, xmm1)))?;
            // The moves between the register files, too, unlike the rest of what works on MMX registers.
            on(t, 0)?;
            t.unless_feature(26, "pass")?;
            t.expect(fault(6), ins!(t; movdq2q(mm0, xmm0)))?;
            t.expect(fault(6), ins!(t; movq2dq(xmm0, mm0)))?;
            t.no_fault(false, ins!(t; paddq(mm0, mm0); pavgb(mm0, mm0); movnti(dword_ptr(SCRATCH), eax)))
        }).qemu_differs("QEMU moves between the register files while OSFXSR is clear"),
        pm("sse-xm", "An unmasked SIMD exception is #XM with OSXMMEXCPT, #UD without, and leaves the destination", "SDM 3A 6.15 #XM", |t| {
            on(t, 0x600)?;
            mxcsr(t, 0x1D80)?;
            code!(t; mov(eax, 0x3F80_0000); mov(dword_ptr(SCRATCH + 0xF8), eax); movss(xmm0, dword_ptr(SCRATCH + 0xF8)); xorps(xmm1, xmm1));
            t.expect(fault(19), ins!(t; divss(xmm0, xmm1)))?;
            code!(t; movss(dword_ptr(SCRATCH + 0xF8), xmm0); mov(eax, dword_ptr(SCRATCH + 0xF8)); stmxcsr(dword_ptr(SCRATCH)));
            t.eq(eax, 0x3F80_0000)?;
            t.mem_bits(SCRATCH, 0x3F, 4)?;
            code!(t; mov(eax, cr4); and(eax, !0x400); mov(cr4, eax));
            t.expect(fault(6), ins!(t; divss(xmm0, xmm1)))
        }).qemu_differs("QEMU raises no SIMD exception"),
        pm("sse-aligned", "MOVAPS and memory operands of packed arithmetic need 16-byte alignment: #GP(0); MOVUPS does not", "SDM 1 10.4.1.1", |t| {
            on(t, 0x200)?;
            t.no_fault(false, ins!(t; movups(xmm0, xmmword_ptr(SCRATCH + 1)); movaps(xmm0, xmmword_ptr(SCRATCH + 16)); addss(xmm0, dword_ptr(SCRATCH + 1))))?;
            t.expect(fault_e(13, 0), ins!(t; movaps(xmm0, xmmword_ptr(SCRATCH + 8))))?;
            t.expect(fault_e(13, 0), ins!(t; addps(xmm0, xmmword_ptr(SCRATCH + 4))))
        }),
        pm("sse-mxcsr", "LDMXCSR with a reserved bit set is #GP(0); after power-up MXCSR is 1F80", "SDM 2A LDMXCSR; 1 10.2.3", |t| {
            on(t, 0x200)?;
            code!(t; stmxcsr(dword_ptr(SCRATCH)));
            t.mem_eq(SCRATCH, 0x1F80)?;
            code!(t; mov(dword_ptr(SCRATCH), 0x1_1F80));
            t.expect(fault_e(13, 0), ins!(t; ldmxcsr(dword_ptr(SCRATCH))))
        }).qemu_differs("QEMU ignores reserved bits of MXCSR"),
        pm("sse-rounding", "CVTSS2SI rounds by MXCSR, CVTTSS2SI truncates, both give 80000000h out of range and set IE", "SDM 2A CVTSS2SI", |t| {
            on(t, 0x200)?;
            code!(t; mov(eax, 0xC020_0000u32); mov(dword_ptr(SCRATCH + 0xF8), eax); movss(xmm0, dword_ptr(SCRATCH + 0xF8)));
            for (rc, value) in [(0, -2i32), (1, -3), (2, -2), (3, -2)] {
                mxcsr(t, 0x1F80 | rc << 13)?;
                code!(t; cvtss2si(ebx, xmm0));
                t.eq(ebx, value as u32)?;
            }
            mxcsr(t, 0x1F80)?;
            code!(t; cvttss2si(ebx, xmm0));
            t.eq(ebx, -2i32 as u32)?;
            mxcsr(t, 0x1F80)?;
            code!(t; mov(eax, 0x4F80_0000); mov(dword_ptr(SCRATCH + 0xF8), eax); movss(xmm0, dword_ptr(SCRATCH + 0xF8)); cvtss2si(ebx, xmm0); stmxcsr(dword_ptr(SCRATCH)));
            t.eq(ebx, 0x8000_0000)?;
            t.mem_bits(SCRATCH, 0x3F, 1)
        }),
        pm("sse-compare", "COMISS orders by ZF, PF and CF and clears OF, SF, AF; UCOMISS is quiet about quiet NaNs", "SDM 2A COMISS", |t| {
            on(t, 0x200)?;
            mxcsr(t, 0x1F80)?;
            code!(t; mov(eax, 0x3F80_0000); mov(dword_ptr(SCRATCH + 0xF8), eax); movss(xmm0, dword_ptr(SCRATCH + 0xF8)); xorps(xmm1, xmm1); push(0x8D7); popfd(); comiss(xmm0, xmm1));
            t.flags(0x8D5, 0)?;
            code!(t; mov(eax, 0x7FC0_0000); mov(dword_ptr(SCRATCH + 0xF8), eax); movss(xmm1, dword_ptr(SCRATCH + 0xF8)); ucomiss(xmm0, xmm1));
            t.flags(0x8D5, 0x45)?;
            code!(t; stmxcsr(dword_ptr(SCRATCH)));
            t.mem_bits(SCRATCH, 0x3F, 0)?;
            code!(t; comiss(xmm0, xmm1); stmxcsr(dword_ptr(SCRATCH)));
            t.mem_bits(SCRATCH, 0x3F, 1)
        }),
        pm("fxsave", "FXSAVE: control, status, abridged tags, MXCSR at 24, ST0 at 32, XMM0 at 160; FXRSTOR takes it back", "SDM 2A FXSAVE", |t| {
            on(t, 0x200)?;
            code!(t; fldpi(); mov(eax, 0x1122_3344); mov(dword_ptr(SCRATCH + 0xF8), eax); movss(xmm0, dword_ptr(SCRATCH + 0xF8)); fxsave(ptr(SCRATCH)));
            t.mem16_eq(SCRATCH, 0x037F)?;
            t.mem16_eq(SCRATCH + 2, 7 << 11)?;
            t.mem8_eq(SCRATCH + 4, 0x80)?;
            t.mem_eq(SCRATCH + 24, 0x1F80)?;
            t.mem_eq(SCRATCH + 32, 0x2168_C235)?;
            t.mem16_eq(SCRATCH + 40, 0x4000)?;
            t.mem_eq(SCRATCH + 160, 0x1122_3344)?;
            t.mem_eq(SCRATCH + 164, 0)?;
            code!(t; fninit(); xorps(xmm0, xmm0); fxrstor(ptr(SCRATCH)); movss(dword_ptr(SCRATCH + 0x4F8), xmm0); mov(eax, dword_ptr(SCRATCH + 0x4F8)); fstp(tbyte_ptr(SCRATCH + 0x400)));
            t.eq(eax, 0x1122_3344)?;
            t.mem16_eq(SCRATCH + 0x408, 0x4000)?;
            t.expect(fault_e(13, 0), ins!(t; fxsave(ptr(SCRATCH + 8))))
        }),
        pm("sse2-doubles", "SSE2 doubles: ADDPD works on both halves, CVTSD2SS rounds, MOVQ2DQ crosses from MMX", "SDM 2A ADDPD, CVTSD2SS", |t| {
            on(t, 0x200)?;
            t.unless_feature(26, "pass")?;
            code!(t; mov(dword_ptr(SCRATCH), 0); mov(dword_ptr(SCRATCH + 4), 0x3FF0_0000); mov(dword_ptr(SCRATCH + 8), 0); mov(dword_ptr(SCRATCH + 12), 0x4000_0000);
                movapd(xmm0, xmmword_ptr(SCRATCH)); addpd(xmm0, xmm0); movapd(xmmword_ptr(SCRATCH), xmm0));
            t.mem_eq(SCRATCH + 4, 0x4000_0000)?;
            t.mem_eq(SCRATCH + 12, 0x4010_0000)?;
            code!(t; cvtsd2ss(xmm1, xmm0); movss(dword_ptr(SCRATCH + 0xF8), xmm1); mov(eax, dword_ptr(SCRATCH + 0xF8)));
            t.eq(eax, 0x4000_0000)
        }).cpu("max"),
    ];
    programs.into_iter().map(|p| if p.cpu == "486" { p.cpu("p3") } else { p }).collect()
}
