//! Virtual-8086 mode, with and without the Pentium's extensions.

use iced_x86::code_asm::*;

use super::{Program, pm};
use crate::asm::{Asm, Emit, blob, code};
use crate::pm::*;

/// Runs 16-bit code at 0800:0000 in virtual-8086 mode with `eflags` and checks that `vector` with `error` is delivered
/// at `back` bytes before the end of the code.
fn v86(t: &mut Pm, eflags: u32, vector: u32, error: u32, back: u32, body: &dyn Fn(&mut Asm) -> Emit) -> Emit {
    let length = blob(0, 16, body)?.len() as u32;
    t.copy_code(0, 0x8000, 16, body)?;
    let what = if error == NO_ERROR { fault(vector) } else { fault_e(vector, error) };
    t.expect(what.at(Where::Addr(length - back)), |t| {
        for value in [0x4444, 0x3333, 0x2222, 0x1111, 0x0900, 0x1000, eflags | 0x2_0002, 0x0800, 0] {
            code!(t; push(value as i32));
        }
        code!(t; iretd());
        Ok(())
    })
}

/// Turns on CR4.VME, or passes where there is none.
fn vme(t: &mut Pm) -> Emit {
    t.unless_feature(1, "pass")?;
    // A TSS with a redirection map of zeros (32 bytes) below an empty I/O map.
    const TSS1: u32 = 0x0018_2000;
    t.gdt(FREE, desc(TSS1, 0x68 + 0x20, 0x89, 0))?;
    code!(t;
        mov(dword_ptr(TSS1 + 4), STACK0); mov(dword_ptr(TSS1 + 8), KDATA); mov(dword_ptr(TSS1 + 0x64), 0x0088_0000);
        mov(byte_ptr(TSS1 + 0x88), 0xFFu32); mov(eax, FREE); ltr(ax);
        mov(eax, cr4); or(eax, 1); mov(cr4, eax));
    Ok(())
}

pub(super) fn programs() -> Vec<Program> {
    vec![
        pm("v86-enter", "IRET with VM set enters virtual-8086 mode; a fault saves the segment registers and clears them", "SDM 3A 20.2.4, 20.2.5", |t| {
            v86(t, 0x200, 13, 0, 1, &|a| { code!(a; mov(ax, cs); mov(bx, ss); mov(cx, ds); hlt()); Ok(()) })?;
            t.mem_bits(EFL, 0x2_0200, 0x2_0200)?;
            for (at, value) in [(CS_, 0x800), (SS_, 0x900), (ESP_, 0x1000), (V86_ES, 0x1111), (V86_ES + 4, 0x2222), (V86_ES + 8, 0x3333), (V86_ES + 12, 0x4444)] {
                t.mem_bits(at, 0xFFFF, value)?;
            }
            for n in 0..4 {
                t.mem_bits(SREGS + n * 4, 0xFFFF, 0)?;
            }
            t.mem_bits(REGS + 28, 0xFFFF, 0x800)?;
            t.mem_bits(REGS + 24, 0xFFFF, 0x2222)
        }),
        pm("v86-addresses", "Segments in virtual-8086 mode are selector times 16, and reach above 1 MiB", "SDM 3A 20.1.1", |t| {
            code!(t; mov(dword_ptr(0x2_2225), 0x1234_5678));
            v86(t, 0, 13, 0, 1, &|a| {
                code!(a; mov(ebx, dword_ptr(5)); mov(ax, 0xFFFF); mov(ds, ax); mov(ecx, dword_ptr(0x0010)); hlt());
                Ok(())
            })?;
            t.mem_eq(REGS + 16, 0x1234_5678)?;
            // FFFF:0010 is the start of the image, whose first doubleword is the multiboot magic.
            t.mem_eq(REGS + 24, 0x1BAD_B002)
        }),
        pm("v86-iopl", "CLI, STI, PUSHF, POPF, INT n and IRET raise #GP(0) with IOPL below 3, and run with IOPL 3", "SDM 3A 20.2.7", |t| {
            for bytes in [&[0xFA][..], &[0xFB], &[0x9C], &[0x9D], &[0xCD, 0x80], &[0xCF]] {
                let bytes = bytes.to_vec();
                let length = bytes.len() as u32;
                v86(t, 0x2000, 13, 0, length, &move |a| { code!(a; db(&bytes)); Ok(()) })?;
            }
            v86(t, 0x3000, 13, 0, 1, &|a| { code!(a; cli(); sti(); pushf(); pop(ax); push(ax); popf(); hlt()); Ok(()) })?;
            t.mem_bits(REGS + 28, 0x3200, 0x3200)?;
            t.mem_bits(EFL, 0x2_3200, 0x2_3200)
        }),
        pm("v86-int", "INT n with IOPL 3 goes through the IDT to ring 0; INT3 does whatever IOPL is", "SDM 3A 20.3", |t| {
            v86(t, 0x3000, 0x80, NO_ERROR, 0, &|a| { code!(a; int(0x80u32)); Ok(()) })?;
            t.mem_bits(V86_ES, 0xFFFF, 0x1111)?;
            v86(t, 0, 3, NO_ERROR, 0, &|a| { code!(a; int3()); Ok(()) })
        }),
        pm("v86-io", "I/O in virtual-8086 mode goes by the permission bitmap alone, even with IOPL 3", "SDM 3A 20.2.8.1", |t| {
            v86(t, 0x3000, 13, 0, 2, &|a| { code!(a; out(0x80u32, al)); Ok(()) })
        }),
        pm("v86-limit", "Offsets above FFFFh raise #GP(0), or #SS(0) through SS", "SDM 3A 20.1.1", |t| {
            v86(t, 0, 13, 0, 3, &|a| { code!(a; mov(ax, word_ptr(0xFFFF))); Ok(()) })?;
            v86(t, 0, 12, 0, 4, &|a| { code!(a; mov(ecx, 0xFFFF); nop(); db(&[0x67, 0x36, 0x8B, 0x01])); Ok(()) })
        }).qemu_differs("QEMU checks no segment limit on data accesses"),
        pm("v86-invalid", "LAR, ARPL, LLDT, LTR, SLDT are #UD in virtual-8086 mode, MOV CR0 and LGDT are #GP(0)", "SDM 3A 20.1; 2A", |t| {
            for (bytes, vector) in [
                (&[0x0F, 0x02, 0xC0][..], 6), (&[0x63, 0xC0], 6), (&[0x0F, 0x00, 0xD0], 6), (&[0x0F, 0x00, 0xD8], 6), (&[0x0F, 0x00, 0xC0], 6),
                (&[0x0F, 0x20, 0xC0], 13), (&[0x0F, 0x01, 0x16, 0, 0], 13), (&[0x0F, 0x06], 13),
            ] {
                let bytes = bytes.to_vec();
                let (length, error) = (bytes.len() as u32, if vector == 6 { NO_ERROR } else { 0 });
                v86(t, 0, vector, error, length, &move |a| { code!(a; db(&bytes)); Ok(()) })?;
            }
            Ok(())
        }),
        pm("v86-vm-ring3", "IRET in ring 3 cannot set VM, nor can POPF in ring 0", "SDM 2A IRET; 2B POPF", |t| {
            code!(t; push(0x2_0002); popfd());
            t.flags(0x2_0000, 0)?;
            t.no_fault(true, |t| {
                code!(t; push(0x2_0002); push(UCODE as i32); push(t.addr("there") as i32); iretd());
                t.here("there")?;
                Ok(())
            })?;
            t.mem_bits(EFL, 0x2_0000, 0)
        }).qemu_differs("QEMU enters virtual-8086 mode from ring 3"),
        pm("vme-cli-sti", "With CR4.VME and IOPL 0, CLI and STI change VIF, and PUSHF shows VIF as IF with IOPL 3", "SDM 3A 20.3, table 20-2", |t| {
            vme(t)?;
            v86(t, 0x200, 13, 0, 1, &|a| { code!(a; sti(); pushf(); pop(ax); cli(); pushf(); pop(bx); hlt()); Ok(()) })?;
            t.mem_bits(REGS + 28, 0x3200, 0x3200)?;
            t.mem_bits(REGS + 16, 0x3200, 0x3000)?;
            t.mem_bits(EFL, 0x8_0200, 0x200)?;
            v86(t, 0x200, 13, 0, 1, &|a| { code!(a; sti(); hlt()); Ok(()) })?;
            t.mem_bits(EFL, 0x8_0200, 0x8_0200)?;
            // STI with a virtual interrupt pending faults.
            v86(t, 0x10_0200, 13, 0, 1, &|a| { code!(a; sti()); Ok(()) })
        }).cpu("pentium"),
        pm("vme-int-redirect", "With CR4.VME, INT n whose map bit is clear goes through the real-mode table without leaving the mode", "SDM 3A 20.3.3", |t| {
            vme(t)?;
            code!(t; mov(dword_ptr(0x60 * 4), 0x0800_0010));
            v86(t, 0x200, 13, 0, 1, &|a| {
                // The handler at 0800:0010 looks at its frame.
                code!(a; sti(); int(0x60)); code!(a; nop()); a.align(16)?; code!(a; mov(bp, sp); mov(ax, word_ptr(bp + 0)); mov(bx, word_ptr(bp + 2)); mov(cx, word_ptr(bp + 4)); hlt());
                Ok(())
            })?;
            t.mem_bits(REGS + 28, 0xFFFF, 3)?;
            t.mem_bits(REGS + 16, 0xFFFF, 0x800)?;
            t.mem_bits(REGS + 24, 0x3200, 0x3200)?;
            t.mem_bits(EFL, 0x8_0000, 0)?;
            t.mem_eq(ESP_, 0xFFA)
        }).cpu("pentium"),
        pm("v86-shared-code", "An exception from virtual-8086 mode needs a ring-0 handler: a gate to ring 3 is #GP(selector)", "SDM 3A 20.2.6", |t| {
            t.idt(6, gate(UCODE & !3, t.addr("v6"), 0xEE, 0))?;
            v86(t, 0, 13, (UCODE & !3) | 1, 2, &|a| { code!(a; ud2()); Ok(()) })
        }).qemu_differs("QEMU never sets EXT"),
    ]
}
