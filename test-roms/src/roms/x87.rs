//! The x87 and MMX: environment layouts, exceptions, rounding, the stack.

use iced_x86::code_asm::*;

use super::{Program, pm};
use crate::asm::{Emit, code, ins};
use crate::pm::*;

/// x87 running, CR0.NE set, EM and TS clear.
fn on(t: &mut Pm) -> Emit {
    code!(t; mov(eax, cr0); and(eax, !0xC); or(eax, 0x22); mov(cr0, eax); fninit());
    Ok(())
}

/// The control word.
fn control(t: &mut Pm, word: u32) -> Emit {
    code!(t; mov(word_ptr(SCRATCH + 0xF0), word); fldcw(word_ptr(SCRATCH + 0xF0)));
    Ok(())
}

/// The bits `mask` of the status word are `value`. Changes EAX.
fn status(t: &mut Pm, mask: u32, value: u32) -> Emit {
    code!(t; fnstsw(ax); and(eax, mask));
    t.eq(eax, value)
}

/// The value on top, popped, is this 80-bit number.
fn top_is(t: &mut Pm, exponent: u16, significand: u64) -> Emit {
    code!(t; fstp(tbyte_ptr(SCRATCH + 0xE0)));
    t.mem_eq(SCRATCH + 0xE0, significand as u32)?;
    t.mem_eq(SCRATCH + 0xE4, (significand >> 32) as u32)?;
    t.mem16_eq(SCRATCH + 0xE8, exponent)
}

pub(super) fn programs() -> Vec<Program> {
    vec![
        pm("x87-fninit", "FNINIT: control 037F, status 0, every register empty", "SDM 1 8.1.3 table 8-1; 2A FINIT", |t| {
            on(t)?;
            code!(t; fld1(); fninit(); fnstenv(ptr(SCRATCH)));
            t.mem16_eq(SCRATCH, 0x037F)?;
            t.mem16_eq(SCRATCH + 4, 0)?;
            t.mem16_eq(SCRATCH + 8, 0xFFFF)
        }),
        pm("x87-env-32", "The 32-bit protected environment: control, status, tags, FIP, FCS with opcode, FDP, FDS; FNSTENV masks exceptions", "SDM 1 8.1.10 figure 8-9", |t| {
            on(t)?;
            control(t, 0x0372)?;
            code!(t; mov(dword_ptr(SCRATCH + 0x80), 0x3F80_0000));
            t.here("load")?;
            code!(t; fld(dword_ptr(SCRATCH + 0x80)); fldz(); fldz(); fstp(st0));
            t.here("last")?;
            code!(t; fld(dword_ptr(SCRATCH + 0x80)); fnstenv(ptr(SCRATCH)); fnstcw(word_ptr(SCRATCH + 0x40)));
            t.mem16_eq(SCRATCH, 0x0372)?;
            t.mem16_eq(SCRATCH + 4, 5 << 11)?;
            // R5: 1.0 valid, R6: zero, R7: valid.
            t.mem16_eq(SCRATCH + 8, 0b0001_0011_1111_1111)?;
            let last = t.addr("last");
            t.mem_eq(SCRATCH + 12, last)?;
            t.mem_bits(SCRATCH + 16, 0x07FF_0000, 0x0105_0000)?;
            t.mem_eq(SCRATCH + 20, SCRATCH + 0x80)?;
            t.mem16_eq(SCRATCH + 0x40, 0x037F)
        }).qemu_differs("QEMU keeps no last opcode"),
        pm("x87-env-16", "With a 16-bit operand the environment is 14 bytes, FRSTOR takes what FNSAVE left", "SDM 1 8.1.10 figure 8-11", |t| {
            on(t)?;
            code!(t; fldpi(); fld1(); mov(edi, SCRATCH); mov(word_ptr(SCRATCH + 94), 0x7777); db(&[0x66, 0xDD, 0x37]));
            t.mem16_eq(SCRATCH, 0x037F)?;
            t.mem16_eq(SCRATCH + 2, 6 << 11)?;
            t.mem16_eq(SCRATCH + 4, 0x0FFF)?;
            t.mem16_eq(SCRATCH + 94, 0x7777)?;
            // ST0, 1.0, at 14; then pi.
            t.mem16_eq(SCRATCH + 22, 0x3FFF)?;
            t.mem16_eq(SCRATCH + 32, 0x4000)?;
            code!(t; db(&[0x66, 0xDD, 0x27]));
            top_is(t, 0x3FFF, 0x8000_0000_0000_0000)?;
            top_is(t, 0x4000, 0xC90F_DAA2_2168_C235)
        }),
        pm("x87-mf", "An unmasked exception sets ES and B and faults, as #MF, at the next waiting instruction; the destination stays", "SDM 1 8.6, 8.7", |t| {
            on(t)?;
            control(t, 0x037B)?;
            code!(t; fld1(); fldz());
            t.expect(fault(16), |t| {
                code!(t; fdivp(st1, st0); fnstsw(ax); mov(word_ptr(USER), ax));
                t.mark()?;
                code!(t; fld1());
                Ok(())
            })?;
            t.mem_bits(USER, 0x80BF, 0x8084)?;
            // The operands are still there: neither was popped.
            code!(t; fnclex());
            status(t, 0xB8FF, 6 << 11)?;
            code!(t; fldz(); fld1(); fnop());
            // WAIT too.
            code!(t; fninit(); mov(word_ptr(SCRATCH), 0x037B); fldcw(word_ptr(SCRATCH)); fld1(); fldz(); fdivp(st1, st0));
            t.expect(fault(16), ins!(t; wait()))
        }).qemu_differs("QEMU reports a pending exception at WAIT only"),
        pm("x87-stack-faults", "Pushing onto a full stack sets IE, SF and C1 and gives the default NaN; popping an empty one clears C1", "SDM 1 8.5.1.1", |t| {
            on(t)?;
            for _ in 0..8 {
                code!(t; fld1());
            }
            status(t, 0xFF, 0)?;
            code!(t; fldz());
            status(t, 0x2FF, 0x241)?;
            top_is(t, 0xFFFF, 0xC000_0000_0000_0000)?;
            code!(t; fninit(); fstp(dword_ptr(SCRATCH)));
            status(t, 0x2FF, 0x41)?;
            t.mem_eq(SCRATCH, 0xFFC0_0000)
        }).qemu_differs("QEMU detects no overflow of the x87 stack"),
        pm("x87-rounding", "FIST follows the rounding control: nearest even, down, up, toward zero", "SDM 1 8.1.5.3", |t| {
            on(t)?;
            code!(t; mov(dword_ptr(SCRATCH), 0xC020_0000u32)); // -2.5
            for (rc, value) in [(0, -2i32), (1, -3), (2, -2), (3, -2)] {
                control(t, 0x037F | rc << 10)?;
                code!(t; fld(dword_ptr(SCRATCH)); fistp(dword_ptr(SCRATCH + 4)));
                t.mem_eq(SCRATCH + 4, value as u32)?;
            }
            control(t, 0x037F)?;
            code!(t; fldpi(); fmul_2(st0, st0); fmul_2(st0, st0); fmul_2(st0, st0); fmul_2(st0, st0); fistp(word_ptr(SCRATCH)));
            t.mem16_eq(SCRATCH, 0x8000)?;
            status(t, 1, 1)
        }),
        pm("x87-precision", "The precision control rounds results of arithmetic to 24 or 53 bits, not loads", "SDM 1 8.1.5.2", |t| {
            on(t)?;
            control(t, 0x007F)?;
            code!(t; fld1(); mov(dword_ptr(SCRATCH), 3); fidiv(dword_ptr(SCRATCH)));
            top_is(t, 0x3FFD, 0xAAAA_AB00_0000_0000)?;
            control(t, 0x027F)?;
            code!(t; fld1(); fidiv(dword_ptr(SCRATCH)));
            top_is(t, 0x3FFD, 0xAAAA_AAAA_AAAA_A800)?;
            control(t, 0x007F)?;
            code!(t; fldpi());
            top_is(t, 0x4000, 0xC90F_DAA2_2168_C235)?;
            control(t, 0x037F)?;
            code!(t; fld1(); fidiv(dword_ptr(SCRATCH)));
            top_is(t, 0x3FFD, 0xAAAA_AAAA_AAAA_AAAB)
        }),
        pm("x87-constants", "FLDPI and the logarithms are rounded by the rounding control", "SDM 2A FLD1", |t| {
            on(t)?;
            control(t, 0x077F)?;
            code!(t; fldl2t());
            top_is(t, 0x4000, 0xD49A_784B_CD1B_8AFE)?;
            code!(t; fldpi());
            top_is(t, 0x4000, 0xC90F_DAA2_2168_C234)?;
            control(t, 0x0B7F)?;
            code!(t; fldl2t());
            top_is(t, 0x4000, 0xD49A_784B_CD1B_8AFF)?;
            code!(t; fldln2());
            top_is(t, 0x3FFE, 0xB172_17F7_D1CF_79AC)
        }),
        pm("x87-compare", "FCOM sets C3, C2, C0; a quiet NaN is invalid for FCOM, not for FUCOM", "SDM 2A FCOM, FUCOM", |t| {
            on(t)?;
            code!(t; fld1(); fldz(); fcom_2(st0, st1));
            status(t, 0x4500, 0x100)?;
            code!(t; fxch(st0, st1); fcom_2(st0, st1));
            status(t, 0x4500, 0)?;
            code!(t; fcom_2(st0, st0));
            status(t, 0x4500, 0x4000)?;
            code!(t; mov(dword_ptr(SCRATCH), 0x7FC0_0000); fld(dword_ptr(SCRATCH)); fucom(st0, st1));
            status(t, 0x4501, 0x4500)?;
            code!(t; fcom_2(st0, st1));
            status(t, 0x4501, 0x4501)
        }),
        pm("x87-fxam", "FXAM tells empty, zero, normal, infinity, NaN and denormal, and the sign in C1", "SDM 2A FXAM", |t| {
            on(t)?;
            code!(t; fxam());
            status(t, 0x4500, 0x4100)?;
            code!(t; fldz(); fchs(); fxam());
            status(t, 0x4700, 0x4200)?;
            code!(t; fld1(); fxam());
            status(t, 0x4700, 0x0400)?;
            for (bits, class) in [(0x7F80_0000u32, 0x500), (0x7FC0_0000, 0x100)] {
                code!(t; mov(dword_ptr(SCRATCH), bits); fld(dword_ptr(SCRATCH)); fxam());
                status(t, 0x4700, class)?;
            }
            code!(t; mov(dword_ptr(SCRATCH), 1); mov(dword_ptr(SCRATCH + 4), 0); mov(word_ptr(SCRATCH + 8), 0); fld(tbyte_ptr(SCRATCH)); fxam());
            status(t, 0x4700, 0x4400)
        }),
        pm("x87-bcd", "FBLD and FBSTP carry 18 digits and a sign", "SDM 2A FBLD, FBSTP", |t| {
            on(t)?;
            code!(t; mov(dword_ptr(SCRATCH), 0x8765_4321u32); mov(dword_ptr(SCRATCH + 4), 0x6543_2109); mov(word_ptr(SCRATCH + 8), 0x8098u32);
                fbld(tbyte_ptr(SCRATCH)); fld1(); faddp(st1, st0); fbstp(tbyte_ptr(SCRATCH + 16)));
            t.mem_eq(SCRATCH + 16, 0x8765_4320)?;
            t.mem_eq(SCRATCH + 20, 0x6543_2109)?;
            t.mem16_eq(SCRATCH + 24, 0x8098)
        }),
        pm("x87-fprem-fscale", "FPREM leaves the exact remainder and the quotient's low bits; FSCALE and FXTRACT take powers apart", "SDM 2A FPREM, FSCALE, FXTRACT", |t| {
            on(t)?;
            code!(t; mov(dword_ptr(SCRATCH), 7); mov(dword_ptr(SCRATCH + 4), 47); fild(dword_ptr(SCRATCH)); fild(dword_ptr(SCRATCH + 4)); fprem());
            // 47 = 6 * 7 + 5; the quotient 6 is C0 = 1, C3 = 1, C1 = 0.
            status(t, 0x4700, 0x4100)?;
            top_is(t, 0x4001, 0xA000_0000_0000_0000)?;
            code!(t; fld1(); fscale());
            top_is(t, 0x4006, 0x8000_0000_0000_0000)?;
            code!(t; fxtract());
            top_is(t, 0x3FFF, 0xE000_0000_0000_0000)?;
            top_is(t, 0x4000, 0x8000_0000_0000_0000)
        }),
        pm("x87-transcendental", "F2XM1, FYL2X, FPATAN, FPTAN are exact where the result is; FPTAN pushes 1.0", "SDM 2A F2XM1, FYL2X, FPATAN, FPTAN", |t| {
            on(t)?;
            code!(t; fld1(); f2xm1());
            top_is(t, 0x3FFF, 0x8000_0000_0000_0000)?;
            code!(t; mov(dword_ptr(SCRATCH), 8); fld1(); fild(dword_ptr(SCRATCH)); fyl2x());
            top_is(t, 0x4000, 0xC000_0000_0000_0000)?;
            code!(t; fld1(); fld1(); fpatan());
            top_is(t, 0x3FFE, 0xC90F_DAA2_2168_C235)?;
            code!(t; fldz(); fptan());
            top_is(t, 0x3FFF, 0x8000_0000_0000_0000)?;
            top_is(t, 0, 0)?;
            code!(t; mov(dword_ptr(SCRATCH), 0x7F00_0000); fld(dword_ptr(SCRATCH)); fsin());
            status(t, 0x400, 0x400)
        }),
        pm("mmx-alias", "An MMX write sets the register's exponent to ones, tags all valid, top to 0; EMMS empties", "SDM 1 9.5, 9.6", |t| {
            t.unless_feature(23, "pass")?;
            on(t)?;
            code!(t; fld1(); mov(dword_ptr(SCRATCH), 0x1234_5678); mov(dword_ptr(SCRATCH + 4), 0x9ABC_DEF0u32); movq(mm3, qword_ptr(SCRATCH)); fnstenv(ptr(SCRATCH + 0x40)));
            t.mem16_eq(SCRATCH + 0x44, 0)?;
            t.mem_bits(SCRATCH + 0x48, 0x00C0, 0x0080)?;
            code!(t; fnsave(ptr(SCRATCH + 0x40)));
            t.mem_eq(SCRATCH + 0x40 + 28 + 30, 0x1234_5678)?;
            t.mem16_eq(SCRATCH + 0x40 + 28 + 38, 0xFFFF)?;
            code!(t; frstor(ptr(SCRATCH + 0x40)); emms(); fnstenv(ptr(SCRATCH + 0x40)));
            t.mem16_eq(SCRATCH + 0x48, 0xFFFF)
        }).cpu("pentium").qemu_differs("QEMU leaves the exponent"),
        pm("fcomi-fcmov", "FCOMI sets ZF, PF and CF; FCMOVcc moves by them", "SDM 2A FCOMI, FCMOVcc", |t| {
            t.unless_feature(15, "pass")?;
            on(t)?;
            code!(t; fld1(); fldz(); fcomi(st0, st1));
            t.flags(0x45, 1)?;
            code!(t; stc(); fcmovb(st0, st1));
            top_is(t, 0x3FFF, 0x8000_0000_0000_0000)?;
            code!(t; mov(dword_ptr(SCRATCH), 0x7FC0_0000); fld(dword_ptr(SCRATCH)); fucomi(st0, st1));
            t.flags(0x45, 0x45)
        }).cpu("p3"),
    ]
}
