//! Exceptions: vector, error code, and the address at which the program would go on.

use iced_x86::code_asm::*;

use super::{Program, pm, rm};
use crate::asm::code;
use crate::pm::*;

pub(super) fn programs() -> Vec<Program> {
    vec![
        pm("de-div-by-zero", "DIV by zero raises #DE at the DIV, leaving EDX:EAX", "SDM 2A DIV; 3A 6.15 #DE", |t| {
            code!(t; mov(eax, 0x1234); xor(edx, edx); xor(ecx, ecx));
            t.expect(fault(0), |t| { code!(t; div(ecx)); Ok(()) })?;
            t.mem_eq(REGS + 28, 0x1234)?;
            t.mem_eq(REGS + 20, 0)
        }),
        pm("de-div-overflow", "DIV whose quotient exceeds 32 bits raises #DE; one below does not", "SDM 2A DIV", |t| {
            code!(t; xor(eax, eax); mov(edx, 5); mov(ecx, 5));
            t.expect(fault(0), |t| { code!(t; div(ecx)); Ok(()) })?;
            code!(t; mov(eax, 0xFFFF_FFFFu32); mov(edx, 4); mov(ecx, 5));
            t.no_fault(false, |t| { code!(t; div(ecx)); Ok(()) })?;
            t.eq(eax, 0xFFFF_FFFF)?;
            t.eq(edx, 4)
        }),
        pm("de-idiv-min", "IDIV of the most negative number by -1 raises #DE at 8, 16 and 32 bits", "SDM 2A IDIV", |t| {
            code!(t; mov(eax, 0x8000_0000u32); mov(edx, 0xFFFF_FFFFu32); mov(ecx, -1));
            t.expect(fault(0), |t| { code!(t; idiv(ecx)); Ok(()) })?;
            code!(t; mov(eax, 0x8000); mov(edx, 0xFFFF); mov(ecx, -1));
            t.expect(fault(0), |t| { code!(t; idiv(cx)); Ok(()) })?;
            code!(t; mov(eax, 0xFF80u32); mov(ecx, -1));
            t.expect(fault(0), |t| { code!(t; idiv(cl)); Ok(()) })?;
            code!(t; mov(eax, 0xFF80u32); mov(ecx, 1));
            t.no_fault(false, |t| { code!(t; idiv(cl)); Ok(()) })?;
            code!(t; and(eax, 0xFFFF));
            t.eq(eax, 0x80)
        }),
        pm("de-aam-zero", "AAM with base 0 raises #DE", "SDM 2A AAM", |t| {
            code!(t; mov(eax, 0x55));
            t.expect(fault(0), |t| { code!(t; aam(0)); Ok(()) })?;
            t.mem_eq(REGS + 28, 0x55)
        }),
        pm("bp-int3", "INT3 is a trap: the address pushed is behind it", "SDM 3A 6.15 #BP", |t| {
            t.expect(fault(3).at(Where::End), |t| { code!(t; int3()); Ok(()) })?;
            t.expect(fault(3).at(Where::End), |t| { code!(t; int(3)); Ok(()) })
        }),
        pm("of-into", "INTO traps to vector 4 only if OF is set", "SDM 2A INTO; 3A 6.15 #OF", |t| {
            code!(t; mov(al, 1); add(al, 1));
            t.no_fault(false, |t| { code!(t; db(&[0xCE])); Ok(()) })?;
            t.expect(fault(4).at(Where::End), |t| { code!(t; mov(al, 0x7F); add(al, 1); db(&[0xCE])); Ok(()) })
        }),
        pm("br-bound", "BOUND faults with vector 5 outside the bounds, which are inclusive and signed", "SDM 2A BOUND", |t| {
            code!(t; mov(dword_ptr(SCRATCH), -5); mov(dword_ptr(SCRATCH + 4), 7));
            for (value, ok) in [(-5, true), (7, true), (0, true), (-6, false), (8, false)] {
                code!(t; mov(eax, value));
                if ok {
                    t.no_fault(false, |t| { code!(t; bound(eax, dword_ptr(SCRATCH))); Ok(()) })?;
                } else {
                    t.expect(fault(5), |t| { code!(t; bound(eax, dword_ptr(SCRATCH))); Ok(()) })?;
                }
            }
            Ok(())
        }),
        pm("ud-ud2", "UD2 raises #UD at itself with no error code", "SDM 2B UD; 3A 6.15 #UD", |t| {
            t.expect(fault(6), |t| { code!(t; ud2()); Ok(()) })
        }),
        pm("ud-lock", "LOCK raises #UD before a register destination and before instructions it does not fit", "SDM 2A LOCK", |t| {
            // LOCK ADD EAX,EBX; LOCK MOV [SCRATCH],EAX; LOCK NOP; LOCK CMP [SCRATCH],EAX
            t.expect(fault(6), |t| { code!(t; db(&[0xF0, 0x01, 0xD8])); Ok(()) })?;
            code!(t; mov(edi, SCRATCH));
            t.expect(fault(6), |t| { code!(t; db(&[0xF0, 0x89, 0x07])); Ok(()) })?;
            t.expect(fault(6), |t| { code!(t; db(&[0xF0, 0x90])); Ok(()) })?;
            t.expect(fault(6), |t| { code!(t; db(&[0xF0, 0x39, 0x07])); Ok(()) })?;
            code!(t; mov(dword_ptr(SCRATCH), 1));
            t.no_fault(false, |t| { code!(t; mov(eax, 2); lock().add(dword_ptr(SCRATCH), eax)); Ok(()) })?;
            t.mem_eq(SCRATCH, 3)
        }).qemu_differs("QEMU runs LOCK MOV to memory"),
        pm("ud-mod3", "Instructions that need memory raise #UD with a register operand: LEA, BOUND, LES, CMPXCHG8B", "SDM 2A LEA, BOUND, LDS, CMPXCHG8B", |t| {
            // C4 C0 would be a VEX prefix on newer processors, where map 0 is #UD as well.
            for bytes in [&[0x8D, 0xC0][..], &[0x62, 0xC0], &[0xC4, 0xC0], &[0x0F, 0xC7, 0xC8]] {
                t.expect(fault(6), |t| { code!(t; db(bytes); nop(); nop(); nop(); nop()); Ok(()) })?;
            }
            Ok(())
        }).cpu("pentium"),
        pm("ud-mov-cr", "MOV to or from CR1, CR5, CR6, CR7 and MOV to CS raise #UD", "SDM 2B MOV; MOV CR", |t| {
            for bytes in [[0x0F, 0x22, 0xC8], [0x0F, 0x20, 0xC8], [0x0F, 0x20, 0xE8], [0x0F, 0x22, 0xF8], [0x8E, 0xC8, 0x90], [0x8E, 0xF0, 0x90], [0x8C, 0xF8, 0x90]] {
                t.expect(fault(6), |t| { code!(t; db(&bytes)); Ok(()) })?;
            }
            Ok(())
        }),
        pm("gp-15-bytes", "An instruction of 15 bytes runs, one of 16 raises #GP(0)", "SDM 2A 2.3.11; 3A 6.15 #GP", |t| {
            let mut bytes = [0x3E; 15];
            bytes[14] = 0x90;
            t.no_fault(false, |t| { code!(t; db(&bytes)); Ok(()) })?;
            t.expect(fault_e(13, 0), |t| { code!(t; db(&[0x3E; 15]); nop()); Ok(()) })
        }),
        pm("gp-15-before-ud", "Too long an instruction is #GP(0) even if its opcode is undefined", "SDM 3A 6.15 #GP", |t| {
            t.expect(fault_e(13, 0), |t| { code!(t; db(&[0x3E; 15]); db(&[0x0F, 0x0B])); Ok(()) })
        }),
        pm("nm-em-ts", "x87 instructions raise #NM while CR0.EM or CR0.TS is set; WAIT only with MP and TS", "SDM 3A 2.5 table 2-2", |t| {
            // (CR0 bits, x87 faults, WAIT faults): EM is bit 2, MP bit 1, TS bit 3.
            for (bits, x87, wait) in [(0, false, false), (4, true, false), (8, true, false), (0xA, true, true), (2, false, false), (0xE, true, true), (6, true, false)] {
                code!(t; mov(eax, cr0); and(eax, !0xE); or(eax, bits); mov(cr0, eax));
                if x87 {
                    t.expect(fault(7), |t| { code!(t; fld1()); Ok(()) })?;
                } else {
                    t.no_fault(false, |t| { code!(t; fninit(); fld1()); Ok(()) })?;
                }
                if wait {
                    t.expect(fault(7), |t| { code!(t; wait()); Ok(()) })?;
                } else {
                    t.no_fault(false, |t| { code!(t; wait()); Ok(()) })?;
                }
            }
            Ok(())
        }),
        pm("nm-clts", "CLTS clears CR0.TS and nothing else, so that x87 runs again", "SDM 2A CLTS", |t| {
            code!(t; mov(eax, cr0); and(eax, !0xE); or(eax, 0xA); mov(cr0, eax); mov(ebx, eax); clts(); mov(eax, cr0); xor(eax, ebx));
            t.eq(eax, 8)?;
            t.no_fault(false, |t| { code!(t; fninit()); Ok(()) })
        }),
        pm("gp-cr0", "MOV to CR0 with PG but not PE, or NW but not CD, raises #GP(0)", "SDM 3A 2.5; 2B MOV CR", |t| {
            code!(t; mov(ebx, cr0); mov(eax, ebx); and(eax, !1); or(eax, 0x8000_0000u32));
            t.expect(fault_e(13, 0), |t| { code!(t; mov(cr0, eax)); Ok(()) })?;
            code!(t; mov(eax, ebx); and(eax, 0xBFFF_FFFFu32); or(eax, 0x2000_0000u32));
            t.expect(fault_e(13, 0), |t| { code!(t; mov(cr0, eax)); Ok(()) })?;
            code!(t; mov(eax, cr0));
            code!(t; xor(eax, ebx));
            t.eq(eax, 0)
        }).qemu_differs("QEMU accepts NW without CD and PG without PE"),
        pm("gp-cr4-reserved", "Setting a reserved bit of CR4 raises #GP(0)", "SDM 3A 2.5", |t| {
            code!(t; mov(eax, cr4); or(eax, 0x8000_0000u32));
            t.expect(fault_e(13, 0), |t| { code!(t; mov(cr4, eax)); Ok(()) })
        }).cpu("pentium").qemu_differs("QEMU ends in a loop"),
        pm("gp-privileged", "Privileged instructions in ring 3 raise #GP(0)", "SDM 3A 5.9", |t| {
            code!(t; mov(dword_ptr(USER), 0));
            for bytes in [
                &[0xF4][..], &[0x0F, 0x06], &[0x0F, 0x20, 0xC0], &[0x0F, 0x22, 0xC0], &[0x0F, 0x21, 0xC0], &[0x0F, 0x23, 0xF8],
                &[0x0F, 0x01, 0x15, 0, 0, 0x30, 0], &[0x0F, 0x01, 0x1D, 0, 0, 0x30, 0], &[0x0F, 0x00, 0xD0], &[0x0F, 0x00, 0xD8],
                &[0x0F, 0x01, 0xF0], &[0x0F, 0x01, 0x3D, 0, 0, 0x30, 0], &[0x0F, 0x08], &[0x0F, 0x09], &[0xFA], &[0xFB],
                &[0xE4, 0x80], &[0xE6, 0x80],
            ] {
                t.expect(fault_e(13, 0).user(), |t| { code!(t; db(bytes)); Ok(()) })?;
            }
            t.no_fault(true, |t| {
                // Those that merely look: SMSW, SGDT, SIDT, STR, SLDT.
                code!(t; smsw(eax); sgdt(fword_ptr(SCRATCH)); sidt(fword_ptr(SCRATCH)); str(ax); sldt(ax));
                Ok(())
            })
        }),
        pm("gp-msr", "RDMSR and WRMSR of an MSR that does not exist raise #GP(0), as they do in ring 3", "SDM 2B RDMSR", |t| {
            // The catcher does not keep the registers: each attempt names its MSR.
            t.expect(fault_e(13, 0), |t| { code!(t; mov(ecx, 0x1234_5678)); t.mark()?; code!(t; rdmsr()); Ok(()) })?;
            t.expect(fault_e(13, 0), |t| { code!(t; mov(ecx, 0x1234_5678)); t.mark()?; code!(t; wrmsr()); Ok(()) })?;
            t.expect(fault_e(13, 0).user(), |t| { code!(t; mov(ecx, 0x10)); t.mark()?; code!(t; rdmsr()); Ok(()) })
        }).cpu("pentium").qemu_differs("QEMU reads 0 from an unknown MSR"),
        pm("gp-rdtsc-tsd", "RDTSC in ring 3 raises #GP(0) only while CR4.TSD is set", "SDM 2B RDTSC", |t| {
            t.no_fault(true, |t| { code!(t; rdtsc()); Ok(()) })?;
            code!(t; mov(eax, cr4); or(eax, 4); mov(cr4, eax));
            t.no_fault(false, |t| { code!(t; rdtsc()); Ok(()) })?;
            t.expect(fault_e(13, 0).user(), |t| { code!(t; rdtsc()); Ok(()) })
        }).cpu("pentium"),
        pm("gp-int-dpl", "INT n through a gate of lower DPL than CPL raises #GP(vector*8+2); INT3 likewise", "SDM 3A 6.12.1.1, 6.13", |t| {
            t.expect(fault_e(13, 0x21 * 8 + 2).user(), |t| { code!(t; int(0x21)); Ok(()) })?;
            t.idt(3, gate(KCODE, t.addr("v3"), 0x8E, 0))?;
            t.expect(fault_e(13, 3 * 8 + 2).user(), |t| { code!(t; int3()); Ok(()) })?;
            // A hardware-detected exception is not checked against the gate's DPL.
            t.expect(fault(0).user(), |t| { code!(t; xor(ecx, ecx)); t.mark()?; code!(t; div(ecx)); Ok(()) })
        }),
        pm("gp-idt-limit", "INT n beyond the IDT limit raises #GP(vector*8+2)", "SDM 3A 6.10, 6.13", |t| {
            t.expect(fault_e(13, 0x90 * 8 + 2), |t| { code!(t; int(0x90u32)); Ok(()) })
        }),
        pm("gp-idt-type", "INT n through a descriptor that is no gate raises #GP(vector*8+2), through an absent gate #NP", "SDM 2A INT n", |t| {
            t.idt(0x40, gate(KCODE, 0, 0x92, 0))?;
            t.expect(fault_e(13, 0x40 * 8 + 2), |t| { code!(t; int(0x40)); Ok(()) })?;
            t.idt(0x40, gate(KCODE, t.addr("v3"), 0x0E, 0))?;
            t.expect(fault_e(11, 0x40 * 8 + 2), |t| { code!(t; int(0x40)); Ok(()) })?;
            // A gate to a data segment: #GP of that selector.
            t.idt(0x40, gate(KDATA, t.addr("v3"), 0x8E, 0))?;
            t.expect(fault_e(13, KDATA), |t| { code!(t; int(0x40)); Ok(()) })?;
            t.idt(0x40, gate(0, t.addr("v3"), 0x8E, 0))?;
            t.expect(fault_e(13, 0), |t| { code!(t; int(0x40)); Ok(()) })
        }),
        pm("ext-bit", "The EXT bit of the error code is set when the fault came from delivering an exception, not INT n", "SDM 3A 6.13", |t| {
            // #UD is benign: what goes wrong while it is delivered is delivered itself, not as #DF.
            t.idt(6, gate(KDATA, t.addr("v6"), 0x8E, 0))?;
            t.expect(fault_e(13, KDATA | 1), |t| { code!(t; ud2()); Ok(()) })?;
            t.expect(fault_e(13, KDATA), |t| { code!(t; int(6)); Ok(()) })
        }).qemu_differs("QEMU never sets EXT"),
        pm("df-contributory", "A contributory exception while delivering one raises #DF(0)", "SDM 3A 6.15 #DF table 6-5", |t| {
            // #NP while #GP is delivered, both contributory.
            t.idt(13, gate(KCODE, t.addr("v13"), 0x0E, 0))?;
            code!(t; mov(eax, 0x1F8));
            t.expect(fault_e(8, 0).at(Where::Any), |t| { code!(t; mov(ds, eax)); Ok(()) })
        }),
        pm("df-not-benign", "A contributory exception while a benign one is delivered is delivered itself", "SDM 3A table 6-5", |t| {
            t.idt(6, gate(KCODE, t.addr("v6"), 0x0E, 0))?;
            t.expect(fault_e(11, 6 * 8 + 2 + 1), |t| { code!(t; ud2()); Ok(()) })
        }).qemu_differs("QEMU never sets EXT"),
        pm("df-page-fault", "A fault while #PF is delivered raises #DF(0)", "SDM 3A table 6-5", |t| {
            t.paging()?;
            t.pte(SCRATCH, 0)?;
            t.idt(14, gate(KCODE, t.addr("v14"), 0x0E, 0))?;
            t.expect(fault_e(8, 0).at(Where::Any), |t| { code!(t; mov(eax, dword_ptr(SCRATCH))); Ok(()) })?;
            t.mem_eq(CR2_, SCRATCH)
        }),
        pm("ac-alignment", "#AC(0) for a misaligned access in ring 3 with AM and AC set, not in ring 0", "SDM 3A 6.15 #AC", |t| {
            code!(t; mov(eax, cr0); or(eax, 0x4_0000); mov(cr0, eax));
            t.expect(fault_e(17, 0).user_flags(0x4_0002), |t| { code!(t; mov(eax, dword_ptr(SCRATCH + 1))); Ok(()) })?;
            t.expect(fault_e(17, 0).user_flags(0x4_0002), |t| { code!(t; mov(ax, word_ptr(SCRATCH + 3))); Ok(()) })?;
            t.expect(fault(0x80).user_flags(0x4_0002).at(Where::Any), |t| {
                code!(t; mov(eax, dword_ptr(SCRATCH + 4)); mov(ax, word_ptr(SCRATCH + 6)); mov(al, byte_ptr(SCRATCH + 1)));
                Ok(())
            })?;
            code!(t; push(0x4_0002); popfd());
            t.no_fault(false, |t| { code!(t; mov(eax, dword_ptr(SCRATCH + 1))); Ok(()) })
        }).qemu_differs("QEMU's system emulation does not check alignment"),
        rm("real-div-ip", "A divide error pushes the address of the DIV on a 286 and later", "SDM 3A 20.1.4", |t| {
            t.expect(0, None, |t| {
                code!(t; div(byte_ptr(t.addr("zero.byte"))));
                Ok(())
            })?;
            code!(t; jmp(t.at("past")));
            t.here("zero.byte")?;
            code!(t; db(&[0]));
            t.here("past")
        }).cpu("286"),
    ]
}
