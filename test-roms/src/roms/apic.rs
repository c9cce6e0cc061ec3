//! Local APIC, I/O APIC and high precision event timers: the interrupts that pass the 8259A by.

use iced_x86::code_asm::*;

use super::{Program, pm};
use crate::asm::{Emit, code};
use crate::pm::*;

const LOCAL: u32 = 0xFEE0_0000;
const IO: u32 = 0xFEC0_0000;
const HPET: u32 = 0xFED0_0000;

/// Both 8259A masked, the local APIC on with ESI at its registers, and a handler at vectors 40h and 50h that counts in
/// `USER` and ends the service.
fn local(t: &mut Pm) -> Emit {
    for vector in [0x40, 0x50] {
        t.idt(vector, gate(KCODE, t.addr("handler"), 0x8E, 0))?;
    }
    code!(t; mov(al, 0xFFu32); out(0x21, al); out(0xA1, al);
        mov(esi, LOCAL); mov(dword_ptr(esi + 0xF0), 0x1FF); mov(dword_ptr(esi + 0x80), 0); mov(dword_ptr(USER), 0);
        jmp(t.at("handler.past")));
    t.here("handler")?;
    code!(t; inc(dword_ptr(USER)); mov(dword_ptr(esi + 0xB0), 0); iretd());
    t.here("handler.past")
}

/// Writes `value` to register `number` of the I/O APIC, whose registers are at EDI.
fn redirect(t: &mut Pm, number: i32, value: u32) -> Emit {
    code!(t; mov(dword_ptr(edi), number); mov(dword_ptr(edi + 0x10), value));
    Ok(())
}

/// Lets interrupts in until the handler has run `count` times, or until that has taken too long.
fn wait(t: &mut Pm, count: i32) -> Emit {
    code!(t; mov(ecx, 100_000_000u32); sti());
    t.here("wait")?;
    code!(t; cmp(dword_ptr(USER), count); jae(t.at("came")); dec(ecx); jne(t.at("wait")));
    t.here("came")?;
    code!(t; cli(); xor(eax, eax); cmp(dword_ptr(USER), count); setae(al));
    t.eq(eax, 1)
}

pub(super) fn programs() -> Vec<Program> {
    let list = vec![
        pm(
            "apic-self",
            "An interrupt command to itself is requested, then in service until EOI",
            "SDM 3A 10.6, 10.8",
            |t| {
                local(t)?;
                code!(t; mov(dword_ptr(esi + 0x300), 0x0004_4040); mov(eax, dword_ptr(esi + 0x220)); and(eax, 1));
                t.eq(eax, 1)?;
                // No end of the service at first.
                t.idt(0x40, gate(KCODE, t.addr("mute"), 0x8E, 0))?;
                code!(t; sti(); nop(); nop(); cli(); jmp(t.at("over")));
                t.here("mute")?;
                code!(t; inc(dword_ptr(USER)); iretd());
                t.here("over")?;
                t.mem_eq(USER, 1)?;
                code!(t; mov(eax, dword_ptr(esi + 0x120)); and(eax, 1); mov(ebx, dword_ptr(esi + 0xA0)));
                t.eq(eax, 1)?;
                t.eq(ebx, 0x40)?;
                // The same class waits for it, a higher one does not.
                code!(t; mov(dword_ptr(esi + 0x300), 0x0004_4050); mov(dword_ptr(esi + 0x300), 0x0004_4040);
                    sti(); nop(); nop(); cli());
                t.mem_eq(USER, 2)?;
                code!(t; mov(dword_ptr(esi + 0xB0), 0); sti(); nop(); nop(); cli(); mov(dword_ptr(esi + 0xB0), 0));
                t.mem_eq(USER, 3)
            },
        ),
        pm("apic-tpr", "The task priority holds back its own class and those below", "SDM 3A 10.8.3", |t| {
            local(t)?;
            code!(t; mov(dword_ptr(esi + 0x80), 0x40); mov(dword_ptr(esi + 0x300), 0x0004_4040);
                sti(); nop(); nop(); cli());
            t.mem_eq(USER, 0)?;
            code!(t; mov(dword_ptr(esi + 0x80), 0x3F); sti(); nop(); nop(); cli());
            t.mem_eq(USER, 1)
        }),
        pm("apic-timer", "The local timer counts down and interrupts, once and periodically", "SDM 3A 10.5.4", |t| {
            local(t)?;
            code!(t; mov(dword_ptr(esi + 0x3E0), 3); mov(dword_ptr(esi + 0x320), 0x40);
                mov(dword_ptr(esi + 0x380), 10_000));
            wait(t, 1)?;
            code!(t; mov(eax, dword_ptr(esi + 0x390)));
            t.eq(eax, 0)?;
            t.mem_eq(USER, 1)?;
            code!(t; mov(dword_ptr(esi + 0x320), 0x2_0050); mov(dword_ptr(esi + 0x380), 10_000); sti(); mov(ecx, 100_000_000u32));
            t.here("more")?;
            code!(t; cmp(dword_ptr(USER), 4); loopne(t.at("more")); cli(); mov(dword_ptr(esi + 0x380), 0));
            code!(t; xor(eax, eax); cmp(dword_ptr(USER), 4); setae(al));
            t.eq(eax, 1)
        }),
        pm(
            "ioapic-timer",
            "The 8254 reaches input 2 of the I/O APIC, edge triggered",
            "82093AA data sheet; MultiProcessor specification 5.1",
            |t| {
                local(t)?;
                code!(t; mov(edi, IO));
                redirect(t, 0x15, 0)?;
                redirect(t, 0x14, 0x40)?;
                code!(t; mov(al, 0x34); out(0x43, al); mov(al, 1193 & 0xFF); out(0x40, al); mov(al, 1193 >> 8); out(0x40, al));
                wait(t, 3)?;
                redirect(t, 0x14, 0x1_0040)?;
                code!(t; mov(dword_ptr(edi), 1); mov(eax, dword_ptr(edi + 0x10)); shr(eax, 16));
                t.eq(eax, 23)
            },
        ),
        pm(
            "hpet-legacy",
            "Timer 0 in legacy replacement mode interrupts in the 8254's place",
            "IA-PC HPET specification 2.3.8, 2.4.4",
            |t| {
                local(t)?;
                code!(t; mov(edi, IO));
                redirect(t, 0x15, 0)?;
                redirect(t, 0x14, 0x50)?;
                code!(t; mov(edi, HPET); mov(eax, dword_ptr(edi)); shr(eax, 15); and(eax, 1));
                t.eq(eax, 1)?;
                code!(t; mov(dword_ptr(edi + 0x10), 0); mov(dword_ptr(edi + 0xF0), 0); mov(dword_ptr(edi + 0xF4), 0);
                    mov(dword_ptr(edi + 0x100), 0x04); mov(dword_ptr(edi + 0x108), 50_000); mov(dword_ptr(edi + 0x10C), 0);
                    mov(dword_ptr(edi + 0x10), 3));
                wait(t, 1)?;
                code!(t; xor(eax, eax); cmp(dword_ptr(edi + 0xF0), 50_000); setae(al); mov(dword_ptr(edi + 0x10), 0));
                t.eq(eax, 1)
            },
        ),
    ];
    list.into_iter().map(|program| program.cpu("pentium")).collect()
}
