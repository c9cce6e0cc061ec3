//! Gates, far returns, IRET and hardware task switches.

use iced_x86::code_asm::*;

use super::{Program, pm};
use crate::asm::{code, ins};
use crate::pm::*;

const TSS1: u32 = 0x0018_2000;
const TASK: u32 = FREE + 0x40;

/// Fills `TSS1` with a ring-0 task that starts at `entry`, on a stack of its own, and describes it as `TASK`.
fn task(t: &mut Pm, entry: &str) -> crate::asm::Emit {
    t.gdt(TASK, desc(TSS1, 0x67, 0x89, 0))?;
    let entry = t.addr(entry);
    for (offset, value) in [
        (0x20, entry),
        (0x24, 0x202 & !0x200),
        (0x28, 0xAAAA_0001),
        (0x38, STACK - 0x4000),
        (0x48, KDATA),
        (0x4C, KCODE),
        (0x50, KDATA),
        (0x54, KDATA),
        (0x58, KDATA),
        (0x5C, KDATA),
        (0x64, 0x0068_0000),
    ] {
        code!(t; mov(dword_ptr(TSS1 + offset), value));
    }
    Ok(())
}

pub(super) fn programs() -> Vec<Program> {
    vec![
        pm(
            "callgate-same",
            "A far call through a gate at the same level uses the gate's offset and ignores its own",
            "SDM 3A 5.8.4",
            |t| {
                t.gdt(FREE, gate(KCODE, t.addr("target"), 0x8C, 0))?;
                code!(t; mov(ebx, esp); call_far(FREE as u16, 0xDEAD_BEEF));
                t.here("back")?;
                t.eq(ecx, 0x77)?;
                code!(t; sub(ebx, esp));
                t.eq(ebx, 0)?;
                code!(t; jmp(t.at("over")));
                t.here("target")?;
                code!(t; mov(ecx, 0x77); mov(eax, dword_ptr(esp)); cmp(eax, t.addr("back") as i32); jne(t.at("fail")); mov(eax, dword_ptr(esp + 4)); cmp(eax, KCODE as i32); jne(t.at("fail")); retf());
                t.here("over")
            },
        ),
        pm(
            "callgate-inner",
            "A call gate from ring 3 switches to the TSS's stack, copies the parameters and pushes SS:ESP; RETF n undoes it",
            "SDM 3A 5.8.5",
            |t| {
                t.gdt(FREE, gate(KCODE, t.addr("target"), 0xEC, 2))?;
                t.no_fault(true, |t| {
                code!(t; push(0x1111); push(0x2222); mov(esi, esp); call_far(FREE as u16 | 3, 0));
                t.here("back")?;
                // RETF 8 dropped the parameters from both stacks.
                code!(t; sub(esp, esi); mov(edi, esp); lea(esp, dword_ptr(esi + 8)); mov(eax, cs); mov(ebx, dword_ptr(USER)); jmp(t.at("done")));
                t.here("target")?;
                code!(t;
                    mov(eax, KDATA); mov(ds, eax);
                    mov(dword_ptr(USER), esp);
                    mov(eax, dword_ptr(esp)); mov(dword_ptr(USER + 4), eax);
                    mov(eax, dword_ptr(esp + 4)); mov(dword_ptr(USER + 8), eax);
                    mov(eax, dword_ptr(esp + 8)); mov(dword_ptr(USER + 12), eax);
                    mov(eax, dword_ptr(esp + 12)); mov(dword_ptr(USER + 16), eax);
                    mov(eax, dword_ptr(esp + 16)); mov(dword_ptr(USER + 20), eax);
                    mov(eax, dword_ptr(esp + 20)); mov(dword_ptr(USER + 24), eax);
                    mov(eax, UDATA); mov(ds, eax);
                    retf_1(8));
                t.here("done")
            })?;
                t.mem_eq(USER, STACK0 - 24)?;
                let back = t.addr("back");
                t.mem_eq(USER + 4, back)?;
                t.mem_bits(USER + 8, 0xFFFF, UCODE)?;
                t.mem_eq(USER + 12, 0x2222)?;
                t.mem_eq(USER + 16, 0x1111)?;
                t.mem_eq(USER + 20, USTACK - 8)?;
                t.mem_bits(USER + 24, 0xFFFF, UDATA)?;
                t.mem_eq(REGS, 8)?;
                t.mem_bits(REGS + 28, 0xFFFF, UCODE)
            },
        ),
        pm(
            "callgate-faults",
            "Call gate: DPL below CPL or RPL #GP(gate), absent #NP(gate), bad target #GP(target), JMP inward #GP(target)",
            "SDM 2A CALL",
            |t| {
                t.gdt(FREE, gate(KCODE, t.addr("pass"), 0x8C, 0))?;
                t.expect(fault_e(13, FREE).user(), ins!(t; call_far(FREE as u16 | 3, 0)))?;
                t.gdt(FREE, gate(KCODE, t.addr("pass"), 0x6C, 0))?;
                t.expect(fault_e(11, FREE).user(), ins!(t; call_far(FREE as u16 | 3, 0)))?;
                t.gdt(FREE, gate(KDATA, t.addr("pass"), 0xEC, 0))?;
                t.expect(fault_e(13, KDATA).user(), ins!(t; call_far(FREE as u16 | 3, 0)))?;
                t.gdt(FREE, gate(0, t.addr("pass"), 0xEC, 0))?;
                t.expect(fault_e(13, 0).user(), ins!(t; call_far(FREE as u16 | 3, 0)))?;
                t.gdt(FREE, gate(KCODE, t.addr("pass"), 0xEC, 0))?;
                t.expect(fault_e(13, KCODE).user(), ins!(t; jmp_far(FREE as u16 | 3, 0)))
            },
        ),
        pm(
            "far-direct-faults",
            "A direct far JMP or CALL to data, to an inner ring, to null or to an absent segment faults",
            "SDM 2A JMP",
            |t| {
                t.expect(fault_e(13, KDATA), ins!(t; jmp_far(KDATA as u16, 0)))?;
                t.expect(fault_e(13, 0), ins!(t; jmp_far(0, 0)))?;
                t.expect(fault_e(13, KCODE).user(), ins!(t; jmp_far(KCODE as u16, 0)))?;
                t.expect(fault_e(13, UCODE & !3), ins!(t; call_far(UCODE as u16, 0)))?;
                t.gdt(FREE, desc(0, 0xF_FFFF, 0x1B, 0xC))?;
                t.expect(fault_e(11, FREE), ins!(t; jmp_far(FREE as u16, 0)))
            },
        ),
        pm(
            "far-conforming",
            "A conforming segment of an inner ring is entered without changing CPL",
            "SDM 3A 5.8.1.2",
            |t| {
                t.gdt(FREE, desc(0, 0xF_FFFF, 0x9F, 0xC))?;
                t.no_fault(true, |t| {
                    code!(t; jmp_far(FREE as u16, t.addr("in")));
                    t.here("in")?;
                    code!(t; mov(eax, cs));
                    Ok(())
                })?;
                t.mem_bits(REGS + 28, 0xFFFF, FREE | 3)
            },
        ),
        pm(
            "int-frame",
            "An interrupt from ring 3 pushes SS, ESP, EFLAGS, CS, EIP on the TSS's stack",
            "SDM 3A 6.12.1",
            |t| {
                t.expect(fault(0x80).user_flags(0x202).at(Where::End), ins!(t; int(0x80)))?;
                t.mem_eq(ESP_, USTACK)?;
                t.mem_bits(SS_, 0xFFFF, UDATA)?;
                t.mem_bits(CS_, 0xFFFF, UCODE)?;
                t.mem_bits(EFL, 0x202, 0x202)?;
                // Five words, the stand-in for the error code, the vector, four segment registers, PUSHAD.
                t.mem_eq(HANDLER_ESP, STACK0 - 20 - 8 - 16 - 32)
            },
        )
        .cpu("486"),
        pm(
            "int-trap-gate",
            "An interrupt gate clears IF, a trap gate leaves it; both clear TF and NT",
            "SDM 3A 6.12.1.2",
            |t| {
                t.idt(0x40, gate(KCODE, t.addr("handler"), 0x8E, 0))?;
                t.idt(0x41, gate(KCODE, t.addr("handler"), 0x8F, 0))?;
                code!(t; push(0x4202); popfd(); int(0x40); mov(ebx, eax); push(0x4202); popfd(); int(0x41); cli(); push(2); popfd(); jmp(t.at("over")));
                t.here("handler")?;
                code!(t; pushfd(); pop(eax); mov(ecx, dword_ptr(esp + 8)); and(dword_ptr(esp + 8), 0xFFFF_BFFFu32); iretd());
                t.here("over")?;
                code!(t; and(ebx, 0x4300); and(eax, 0x4300); and(ecx, 0x4300));
                t.eq(ebx, 0)?;
                t.eq(eax, 0x200)?;
                t.eq(ecx, 0x4200)
            },
        ),
        pm("int-16-bit-gate", "A 16-bit gate pushes words and enters at 16 bits of offset", "SDM 3A 6.11", |t| {
            t.copy_code(0x8000, 0x8000, 32, &|a| {
                code!(a; mov(esi, esp); movzx(eax, word_ptr(esp)); add(esp, 6); jmp(ebx));
                Ok(())
            })?;
            t.idt(0x40, gate(KCODE, 0x8000, 0x86, 0))?;
            code!(t; mov(edi, esp); mov(ebx, t.addr("back")); int(0x40));
            t.here("after")?;
            t.unreachable()?;
            t.here("back")?;
            let after = t.addr("after") & 0xFFFF;
            t.eq(eax, after)?;
            code!(t; sub(edi, esi));
            t.eq(edi, 6)
        }),
        pm(
            "int-bad-stack",
            "Entering ring 0 with a bad SS0 in the TSS raises #TS(SS0) with EXT",
            "SDM 2A INT n; 3A 6.15 #TS",
            |t| {
                // The #TS itself goes through a task gate-free way only if the stack is good again: give #TS a ring-3 origin by conforming code.
                t.gdt(FREE, desc(0, 0xF_FFFF, 0xF3, 0xC))?;
                t.gdt(FREE + 8, gate(KCODE, t.addr("pass"), 0xEC, 0))?;
                task(t, "task")?;
                t.idt(10, gate(TASK, 0, 0x85, 0))?;
                code!(t; mov(dword_ptr(TSS0 + 8), KCODE));
                t.enter_user("user", 2)?;
                t.here("user")?;
                code!(t; call_far(FREE as u16 + 8, 0));
                t.here("task")?;
                code!(t; pop(eax); mov(ebx, dword_ptr(TSS0 + 0x20)));
                t.eq(eax, KCODE)?;
                let user = t.addr("user");
                t.eq(ebx, user)
            },
        ),
        pm(
            "iret-outer-nulls",
            "IRET to ring 3 makes DS, ES, FS and GS null if they hold inner data segments",
            "SDM 2A IRET",
            |t| {
                code!(t; mov(eax, KDATA); mov(fs, eax); mov(gs, eax); mov(eax, UDATA); mov(es, eax));
                t.arm("caught")?;
                code!(t; push(UDATA as i32); push(USTACK as i32); push(2); push(UCODE as i32); push(t.addr("user") as i32); iretd());
                t.here("user")?;
                code!(t; mov(eax, ds); mov(ebx, es); mov(ecx, fs); mov(edx, gs); int(0x80));
                t.here("caught")?;
                t.mem_bits(REGS + 28, 0xFFFF, 0)?;
                t.mem_bits(REGS + 16, 0xFFFF, UDATA)?;
                t.mem_bits(REGS + 24, 0xFFFF, 0)?;
                t.mem_bits(REGS + 20, 0xFFFF, 0)
            },
        ),
        pm(
            "iret-faults",
            "IRET to a null, inner, data or absent CS faults before anything is popped",
            "SDM 2A IRET",
            |t| {
                t.gdt(FREE, desc(0, 0xF_FFFF, 0x1B, 0xC))?;
                for (selector, vector) in [(0, 13), (KDATA, 13), (FREE, 11), (0x300, 13)] {
                    code!(t; push(2); push(selector); push(0x1000); mov(ebx, esp));
                    t.expect(fault_e(vector, selector), ins!(t; iretd()))?;
                    code!(t; sub(ebx, esp));
                    t.eq(ebx, 0)?;
                    code!(t; add(esp, 12));
                }
                // Ring 3 may not return inward.
                t.expect(fault_e(13, KCODE).user(), |t| {
                    code!(t; push(2); push(KCODE as i32); push(0));
                    t.mark()?;
                    code!(t; iretd());
                    Ok(())
                })?;
                // To ring 3 with a ring-0 stack.
                code!(t; push(KDATA as i32); push(0x1000); push(2); push(UCODE as i32); push(0x1000));
                t.expect(fault_e(13, KDATA), ins!(t; iretd()))
            },
        ),
        pm(
            "popf-privilege",
            "POPF in ring 3 with IOPL 0 changes neither IF nor IOPL, and does not fault",
            "SDM 2B POPF",
            |t| {
                t.no_fault(true, ins!(t; push(0x3ED7); popfd(); pushfd(); pop(ebx)))?;
                t.mem_bits(REGS + 16, 0x7ED7, 0x0CD7)
            },
        ),
        pm("ret-outer", "RETF to ring 3 loads SS:ESP from behind CS:EIP", "SDM 2B RET", |t| {
            t.arm("caught")?;
            code!(t; push(UDATA as i32); push(USTACK as i32 - 0x40); push(UCODE as i32); push(t.addr("user") as i32); retf());
            t.here("user")?;
            code!(t; int(0x80));
            t.here("caught")?;
            t.mem_eq(VEC, 0x80)?;
            t.mem_eq(ESP_, USTACK - 0x40)?;
            t.mem_bits(SS_, 0xFFFF, UDATA)
        }),
        pm(
            "task-jmp",
            "JMP to a TSS saves the old state, loads the new, moves the busy bit and sets CR0.TS",
            "SDM 3A 7.3",
            |t| {
                task(t, "task")?;
                code!(t; clts(); mov(ebx, 0x1357_9BDF); mov(edi, esp); jmp_far(TASK as u16, 0));
                t.here("back")?;
                t.unreachable()?;
                t.here("task")?;
                t.eq(eax, 0xAAAA_0001)?;
                t.eq(esp, STACK - 0x4000)?;
                t.flags(0x4000, 0)?;
                code!(t; mov(eax, cr0); and(eax, 8));
                t.eq(eax, 8)?;
                let back = t.addr("back");
                t.mem_eq(TSS0 + 0x20, back)?;
                t.mem_eq(TSS0 + 0x34, 0x1357_9BDF)?;
                t.mem_bits(TSS0 + 0x4C, 0xFFFF, KCODE)?;
                t.mem_bits(TSS0 + 0x48, 0xFFFF, KDATA)?;
                let gdt = t.addr("gdt");
                t.mem8_eq(gdt + TSS0_SEL + 5, 0x89)?;
                t.mem8_eq(gdt + TASK + 5, 0x8B)?;
                code!(t; str(eax));
                t.eq(eax, TASK)
            },
        ),
        pm(
            "task-call-iret",
            "CALL to a TSS nests: back link, NT, both busy; IRET returns and clears the inner busy bit",
            "SDM 3A 7.4",
            |t| {
                task(t, "task")?;
                code!(t; mov(ebx, 0x55); call_far(TASK as u16, 0));
                let gdt = t.addr("gdt");
                t.mem8_eq(gdt + TASK + 5, 0x89)?;
                t.mem8_eq(gdt + TSS0_SEL + 5, 0x8B)?;
                t.eq(ebx, 0x55)?;
                t.flags(0x4000, 0)?;
                t.mem_eq(USER, 1)?;
                // The task goes on behind its IRET the next time, and NT was clear when it was saved.
                t.mem_bits(TSS1 + 0x24, 0x4000, 0)?;
                code!(t; call_far(TASK as u16, 0));
                t.mem_eq(USER, 2)?;
                code!(t; jmp(t.at("over")));
                t.here("task")?;
                t.flags(0x4000, 0x4000)?;
                t.mem_bits(TSS1, 0xFFFF, TSS0_SEL)?;
                t.mem8_eq(gdt + TASK + 5, 0x8B)?;
                t.mem8_eq(gdt + TSS0_SEL + 5, 0x8B)?;
                code!(t; inc(dword_ptr(USER)); iretd());
                t.here("task.again")?;
                t.flags(0x4000, 0x4000)?;
                code!(t; inc(dword_ptr(USER)); iretd());
                t.here("over")
            },
        ),
        pm(
            "task-gate-int",
            "INT through a task gate switches tasks; an exception pushes its error code on the new stack",
            "SDM 3A 6.12.2",
            |t| {
                task(t, "task")?;
                t.idt(13, gate(TASK, 0, 0x85, 0))?;
                code!(t; mov(eax, 0x300));
                t.here("bad")?;
                code!(t; mov(ds, eax));
                t.here("task")?;
                code!(t; mov(ebx, esp); pop(eax));
                t.eq(eax, 0x300)?;
                t.eq(ebx, STACK - 0x4004)?;
                let bad = t.addr("bad");
                t.mem_eq(TSS0 + 0x20, bad)?;
                t.flags(0x4000, 0x4000)
            },
        ),
        pm(
            "task-faults",
            "A switch to a busy TSS is #GP, to an absent one #NP, to one too short #TS, all with its selector",
            "SDM 3A 7.3",
            |t| {
                task(t, "pass")?;
                t.gdt(TASK, desc(TSS1, 0x67, 0x8B, 0))?;
                t.expect(fault_e(13, TASK), ins!(t; jmp_far(TASK as u16, 0)))?;
                t.gdt(TASK, desc(TSS1, 0x67, 0x09, 0))?;
                t.expect(fault_e(11, TASK), ins!(t; jmp_far(TASK as u16, 0)))?;
                t.gdt(TASK, desc(TSS1, 0x66, 0x89, 0))?;
                t.expect(fault_e(10, TASK), ins!(t; jmp_far(TASK as u16, 0)))?;
                t.expect(fault_e(13, TSS0_SEL), ins!(t; jmp_far(TSS0_SEL as u16, 0)))
            },
        ),
        pm("task-cr3-ldt", "A task switch loads CR3 (with paging on) and LDTR from the new TSS", "SDM 3A 7.3", |t| {
            t.paging()?;
            task(t, "task")?;
            t.gdt(FREE, desc(LDT, 0x1F, 0x82, 0))?;
            // A second directory that maps the scratch page elsewhere.
            code!(t;
                mov(esi, PD); mov(edi, 0x20_4000); mov(ecx, 0x400); rep().movsd();
                mov(esi, PT); mov(edi, 0x20_5000); mov(ecx, 0x400); rep().movsd();
                mov(dword_ptr(0x20_4000), 0x20_5007); mov(dword_ptr(0x20_5000 + (SCRATCH >> 12) * 4), (SCRATCH + 0x1000) | 7);
                mov(dword_ptr(SCRATCH), 1); mov(dword_ptr(SCRATCH + 0x1000), 2);
                mov(dword_ptr(TSS1 + 0x1C), 0x20_4000); mov(dword_ptr(TSS1 + 0x60), FREE);
                jmp_far(TASK as u16, 0));
            t.here("task")?;
            t.mem_eq(SCRATCH, 2)?;
            code!(t; mov(eax, cr3); sldt(ebx); and(ebx, 0xFFFF));
            t.eq(eax, 0x20_4000)?;
            t.eq(ebx, FREE)
        }),
        pm(
            "task-t-bit",
            "A task whose T bit is set raises #DB with DR6.BT before its first instruction",
            "SDM 3A 17.3.1.5",
            |t| {
                task(t, "task")?;
                code!(t; mov(dword_ptr(TSS1 + 0x64), 0x0068_0001); xor(eax, eax); mov(dr6, eax));
                t.expect(fault(1).at(Where::Name("task")), ins!(t; jmp_far(TASK as u16, 0)))?;
                t.mem_bits(DR6_, 0x8000, 0x8000)?;
                code!(t; jmp(t.at("over")));
                t.here("task")?;
                t.unreachable()?;
                t.here("over")
            },
        )
        .qemu_differs("QEMU ignores the T bit"),
        pm("ltr", "LTR marks the TSS busy; LTR of a busy one is #GP(selector), of null #GP(0)", "SDM 2A LTR", |t| {
            let gdt = t.addr("gdt");
            t.mem8_eq(gdt + TSS0_SEL + 5, 0x8B)?;
            code!(t; mov(eax, TSS0_SEL));
            t.expect(fault_e(13, TSS0_SEL), ins!(t; ltr(ax)))?;
            code!(t; xor(eax, eax));
            t.expect(fault_e(13, 0), ins!(t; ltr(ax)))
        })
        .qemu_differs("QEMU loads a null TR"),
        pm(
            "io-bitmap",
            "Ring 3 I/O is allowed where every bit of the TSS's map is 0; the map must lie within the limit",
            "SDM 1 19.5.2",
            |t| {
                code!(t; mov(eax, 0x0000_0089 << 8));
                t.gdt(FREE + 0x20, desc(TSS1, 0x68 + 0x20, 0x89, 0))?;
                code!(t; mov(dword_ptr(TSS1 + 4), STACK0); mov(dword_ptr(TSS1 + 8), KDATA); mov(dword_ptr(TSS1 + 0x64), 0x0068_0000);
                mov(edi, TSS1 + 0x68); mov(eax, -1); mov(ecx, 9); rep().stosd();
                // Ports 80h and 81h allowed.
                mov(byte_ptr(TSS1 + 0x68 + 0x10), 0xFCu32); mov(eax, FREE + 0x20); ltr(ax));
                t.no_fault(true, ins!(t; out(0x80u32, al); out(0x81u32, al); out(0x80u32, ax)))?;
                t.expect(fault_e(13, 0).user(), ins!(t; out(0x82u32, al)))?;
                t.expect(fault_e(13, 0).user(), ins!(t; out(0x81u32, ax)))?;
                t.expect(fault_e(13, 0).user(), ins!(t; out(0x80u32, eax)))?;
                // Port 400h: beyond the limit.
                t.expect(fault_e(13, 0).user(), |t| {
                    code!(t; mov(edx, 0x400));
                    t.mark()?;
                    code!(t; in_(al, dx));
                    Ok(())
                })?;
                // IOPL 3 needs no map.
                t.expect(fault(0x80).user_flags(0x3002).at(Where::Any), ins!(t; out(0x82u32, al)))
            },
        ),
    ]
}
