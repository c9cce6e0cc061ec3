//! Single stepping, breakpoints, debug registers.

use iced_x86::code_asm::*;

use super::{Program, pm};
use crate::asm::{Emit, code, ins};
use crate::pm::*;

/// Sets a debug register.
fn dr(t: &mut Pm, register: AsmRegisterDr, value: u32) -> Emit {
    code!(t; mov(eax, value); mov(register, eax));
    Ok(())
}

pub(super) fn programs() -> Vec<Program> {
    vec![
        pm(
            "tf-step",
            "POPF that sets TF: the next instruction runs, then #DB with DR6.BS, EIP behind it",
            "SDM 3A 17.3.1.4",
            |t| {
                dr(t, dr6, 0)?;
                code!(t; mov(ebx, 1));
                t.expect(fault(1).at(Where::Name("stepped")), |t| {
                    code!(t; push(0x102); popfd(); inc(ebx));
                    t.here("stepped")?;
                    code!(t; inc(ebx); inc(ebx));
                    Ok(())
                })?;
                t.mem_eq(REGS + 16, 2)?;
                t.mem_bits(DR6_, 0xF, 0)?;
                t.mem_bits(DR6_, 0x4000, 0x4000)?;
                t.mem_bits(EFL, 0x100, 0x100)
            },
        ),
        pm(
            "tf-mov-ss",
            "The trap is held back behind MOV SS and POP SS until the following instruction has run",
            "SDM 3A 6.8.3",
            |t| {
                code!(t; mov(ebx, 1); mov(ecx, KDATA));
                t.expect(fault(1).at(Where::Name("after.mov")), |t| {
                    // The first trap comes behind the instruction after MOV SS, since POPF's own successor is MOV SS.
                    code!(t; push(0x102); popfd(); mov(ss, ecx); inc(ebx));
                    t.here("after.mov")?;
                    code!(t; nop());
                    Ok(())
                })?;
                t.mem_eq(REGS + 16, 2)?;
                t.expect(fault(1).at(Where::Name("after.pop")), |t| {
                    code!(t; push(KDATA as i32); push(0x102); popfd(); pop(ss); inc(ebx));
                    t.here("after.pop")?;
                    code!(t; nop());
                    Ok(())
                })
            },
        ),
        pm(
            "tf-rep",
            "With TF a repeated string instruction traps after each iteration, EIP still at it",
            "SDM 3A 17.3.1.4",
            |t| {
                code!(t; cld(); mov(edi, SCRATCH); mov(ecx, 3));
                t.expect(fault(1).at(Where::Name("rep")), |t| {
                    code!(t; push(0x102); popfd());
                    t.here("rep")?;
                    code!(t; rep().stosb(); nop());
                    Ok(())
                })?;
                t.mem_eq(REGS + 24, 2)
            },
        ),
        pm(
            "tf-int",
            "INT n clears TF for its handler; the IRET that sets it again steps the instruction after",
            "SDM 3A 17.3.1.4",
            |t| {
                t.idt(0x40, gate(KCODE, t.addr("handler"), 0x8E, 0))?;
                code!(t; xor(ebx, ebx); mov(dword_ptr(USER), 0));
                t.expect(fault(1).at(Where::Name("behind")), |t| {
                    code!(t; push(0x102); popfd(); int(0x40); inc(ebx));
                    t.here("behind")?;
                    code!(t; inc(ebx));
                    Ok(())
                })?;
                t.mem_eq(USER, 1)?;
                code!(t; jmp(t.at("over")));
                t.here("handler")?;
                code!(t; inc(dword_ptr(USER)); iretd());
                t.here("over")
            },
        ),
        pm(
            "tf-fault",
            "An instruction that faults does not trap: only its fault is delivered, TF kept in the frame",
            "SDM 3A 6.9",
            |t| {
                t.expect(fault(6), |t| {
                    code!(t; push(0x102); popfd());
                    t.mark()?;
                    code!(t; ud2());
                    Ok(())
                })?;
                t.mem_bits(EFL, 0x100, 0x100)
            },
        ),
        pm("icebp", "INT1 (F1h) traps through vector 1 with EIP behind it", "SDM 3A 6.15 #DB; 2A INT1", |t| {
            t.expect(fault(1).at(Where::End), ins!(t; int1()))
        })
        .qemu_differs("QEMU takes INT1 as a request to its own debugger"),
        pm(
            "rf-fault",
            "A fault other than a code breakpoint pushes EFLAGS with RF set, a trap with RF clear",
            "SDM 3A 17.3.1.1",
            |t| {
                t.expect(fault(6), ins!(t; ud2()))?;
                t.mem_bits(EFL, 0x1_0000, 0x1_0000)?;
                t.expect(fault(3).at(Where::End), ins!(t; int3()))?;
                t.mem_bits(EFL, 0x1_0000, 0)?;
                t.expect(fault_e(13, 0).user(), ins!(t; hlt()))?;
                t.mem_bits(EFL, 0x1_0000, 0x1_0000)
            },
        )
        .qemu_differs("QEMU never sets RF in the frame"),
        pm(
            "code-breakpoint",
            "A code breakpoint faults before the instruction with DR6.Bn and the frame's RF as it was; RF lets it run once",
            "SDM 3A 17.3.1.1",
            |t| {
                dr(t, dr6, 0)?;
                let target = t.addr("target");
                dr(t, dr1, target)?;
                dr(t, dr7, 0x408)?;
                code!(t; mov(ebx, 5));
                t.expect(fault(1).at(Where::Name("target")), |t| {
                    t.here("target")?;
                    code!(t; inc(ebx));
                    Ok(())
                })?;
                t.mem_eq(REGS + 16, 5)?;
                t.mem_bits(DR6_, 0x400F, 2)?;
                t.mem_bits(EFL, 0x1_0000, 0)?;
                // IRET to it with RF set: it runs, and comes round to it a second time without.
                code!(t; mov(ebx, 5));
                t.expect(fault(1).at(Where::Name("again")), |t| {
                    let again = t.addr("again");
                    dr(t, dr1, again)?;
                    code!(t; push(0x1_0002); push(KCODE as i32); push(again as i32); iretd());
                    t.here("again")?;
                    code!(t; inc(ebx); jmp(t.at("again")));
                    Ok(())
                })?;
                t.mem_eq(REGS + 16, 6)?;
                dr(t, dr7, 0x400)
            },
        ),
        pm(
            "data-breakpoint",
            "A write breakpoint traps after a write that touches it, not after a read; a read-write one after both",
            "SDM 3A 17.2.4, 17.3.1.2",
            |t| {
                dr(t, dr0, SCRATCH + 4)?;
                dr(t, dr7, 0x000D_0402)?;
                code!(t; mov(ecx, 3));
                t.no_fault(false, ins!(t; mov(eax, dword_ptr(SCRATCH + 4)); mov(dword_ptr(SCRATCH), eax); mov(dword_ptr(SCRATCH + 8), eax)))?;
                dr(t, dr6, 0)?;
                t.expect(fault(1).at(Where::Name("written")), |t| {
                    code!(t; mov(byte_ptr(SCRATCH + 7), 1));
                    t.here("written")?;
                    code!(t; nop());
                    Ok(())
                })?;
                t.mem_bits(DR6_, 0x400F, 1)?;
                // A doubleword that overlaps only its first byte.
                t.expect(fault(1).at(Where::Name("overlap")), |t| {
                    code!(t; mov(dword_ptr(SCRATCH + 1), ecx));
                    t.here("overlap")?;
                    code!(t; nop());
                    Ok(())
                })?;
                dr(t, dr7, 0x000F_0402)?;
                t.expect(fault(1).at(Where::Name("read")), |t| {
                    code!(t; mov(eax, dword_ptr(SCRATCH + 4)));
                    t.here("read")?;
                    code!(t; nop());
                    Ok(())
                })?;
                dr(t, dr7, 0x400)
            },
        ),
        pm(
            "dr7-gd",
            "With DR7.GD any MOV of a debug register faults with DR6.BD, and GD is cleared for the handler",
            "SDM 3A 17.2.4, 17.3.1.3",
            |t| {
                dr(t, dr6, 0)?;
                dr(t, dr7, 0x2400)?;
                // The catcher itself reads DR6, which would fault again were GD still set.
                t.expect(fault(1), ins!(t; mov(eax, dr0)))?;
                t.mem_bits(DR6_, 0x2000, 0x2000)?;
                code!(t; mov(eax, dr7); and(eax, 0x2000));
                t.eq(eax, 0)
            },
        )
        .qemu_differs("QEMU ignores GD"),
        pm(
            "dr-fixed-bits",
            "DR6 reads its reserved bits as ones and bit 12 as zero; DR7 reads bit 10 as one",
            "SDM 3A 17.2.3, 17.2.4",
            |t| {
                dr(t, dr6, 0)?;
                dr(t, dr7, 0)?;
                code!(t; mov(eax, dr6); mov(ebx, dr7));
                code!(t; and(eax, 0xF7F0); and(ebx, 0xFFFF_DFFFu32));
                t.eq(eax, 0x07F0)?;
                t.eq(ebx, 0x400)
            },
        ),
        pm(
            "dr4-dr5",
            "DR4 and DR5 are DR6 and DR7 while CR4.DE is clear, and #UD while it is set",
            "SDM 3A 17.2.2",
            |t| {
                dr(t, dr3, 0x1234)?;
                code!(t; db(&[0x0F, 0x21, 0xE8]); mov(ebx, dr7); sub(eax, ebx));
                t.eq(eax, 0)?;
                code!(t; mov(eax, cr4); or(eax, 8); mov(cr4, eax));
                t.expect(fault(6), ins!(t; db(&[0x0F, 0x21, 0xE8])))?;
                t.expect(fault(6), ins!(t; db(&[0x0F, 0x23, 0xE0])))
            },
        )
        .cpu("pentium"),
    ]
}
