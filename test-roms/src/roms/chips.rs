//! Interrupts from the timer through the interrupt controllers: delivery, masks, HLT, the STI and MOV SS shadows.

use iced_x86::code_asm::*;

use super::{Program, pm};
use crate::asm::{Emit, code, ins};
use crate::pm::*;

/// The timer as a rate generator at about 1 kHz, its interrupt open, and a handler at vector 20h that counts in `USER`,
/// keeps the return address at `USER + 4` and acknowledges.
fn timer(t: &mut Pm) -> Emit {
    t.idt(0x20, gate(KCODE, t.addr("timer"), 0x8E, 0))?;
    code!(t;
        mov(al, 0x34); out(0x43, al); mov(al, 1193 & 0xFF); out(0x40, al); mov(al, 1193 >> 8); out(0x40, al);
        mov(al, 0xFEu32); out(0x21, al); jmp(t.at("timer.past")));
    t.here("timer")?;
    code!(t; push(eax); inc(dword_ptr(USER)); mov(eax, dword_ptr(esp + 4)); mov(dword_ptr(USER + 4), eax); mov(al, 0x20); out(0x20, al); pop(eax); iretd());
    t.here("timer.past")
}

/// Reads the first controller's request register until the timer's bit is set: an interrupt is pending then.
fn pending(t: &mut Pm) -> Emit {
    let again = t.fresh("pending");
    code!(t; mov(al, 0x0A); out(0x20, al));
    t.here(&again)?;
    code!(t; in_(al, 0x20); test(al, 1); je(t.at(&again)));
    Ok(())
}

pub(super) fn programs() -> Vec<Program> {
    vec![
        pm("hlt-wake", "HLT with IF set ends at an interrupt, which returns behind it", "SDM 2A HLT", |t| {
            timer(t)?;
            code!(t; sti(); hlt());
            t.here("behind")?;
            code!(t; cli());
            let behind = t.addr("behind");
            t.mem_eq(USER + 4, behind)
        }),
        pm(
            "timer-rate",
            "The timer interrupts again and again once each is acknowledged",
            "8254, 8259A data sheets",
            |t| {
                timer(t)?;
                code!(t; sti());
                t.here("wait")?;
                code!(t; hlt(); cmp(dword_ptr(USER), 10); jb(t.at("wait")); cli());
                Ok(())
            },
        ),
        pm("sti-shadow", "STI keeps interrupts out until the instruction behind it is done", "SDM 2B STI", |t| {
            timer(t)?;
            pending(t)?;
            code!(t; mov(dword_ptr(USER), 0); sti());
            code!(t; nop());
            t.here("first")?;
            code!(t; nop(); nop(); cli());
            t.mem_eq(USER, 1)?;
            let first = t.addr("first");
            t.mem_eq(USER + 4, first)?;
            // STI; CLI lets none in.
            pending(t)?;
            code!(t; mov(dword_ptr(USER), 0); sti(); cli(); nop());
            t.mem_eq(USER, 0)
        }),
        pm("mov-ss-shadow", "No interrupt comes between MOV SS and the instruction behind it", "SDM 3A 6.8.3", |t| {
            timer(t)?;
            t.idt(0x20, gate(KCODE, t.addr("watch"), 0x8E, 0))?;
            code!(t; mov(ecx, KDATA); sti(); nop());
            t.here("again")?;
            code!(t; mov(ss, ecx));
            t.here("between")?;
            code!(t; mov(esp, STACK); cmp(dword_ptr(USER), 50); jb(t.at("again")); cli());
            t.mem_eq(USER + 8, 0)?;
            code!(t; jmp(t.at("over")));
            t.here("watch")?;
            code!(t; push(eax); inc(dword_ptr(USER)); mov(eax, t.addr("between")); cmp(dword_ptr(esp + 4), eax); jne(t.at("watch.end")); inc(dword_ptr(USER + 8)));
            t.here("watch.end")?;
            code!(t; mov(al, 0x20); out(0x20, al); pop(eax); iretd());
            t.here("over")
        }),
        pm(
            "popf-if",
            "POPF that sets IF lets a pending interrupt in before the next instruction",
            "SDM 2B POPF",
            |t| {
                timer(t)?;
                pending(t)?;
                code!(t; mov(dword_ptr(USER), 0); push(0x202); popfd());
                t.here("first")?;
                code!(t; nop(); nop(); cli());
                let first = t.addr("first");
                t.mem_eq(USER + 4, first)
            },
        ),
        pm("pic-mask", "A masked request waits, and is delivered when the mask opens", "8259A data sheet", |t| {
            timer(t)?;
            code!(t; mov(al, 0xFFu32); out(0x21, al); mov(dword_ptr(USER), 0));
            pending(t)?;
            code!(t; sti(); nop(); nop());
            t.mem_eq(USER, 0)?;
            code!(t; mov(al, 0xFEu32); out(0x21, al); mov(ecx, 1_000_000));
            t.here("opened")?;
            code!(t; cmp(dword_ptr(USER), 0); loope(t.at("opened")); cli(); cmp(dword_ptr(USER), 0); setne(al); movzx(eax, al));
            t.eq(eax, 1)
        }),
        pm(
            "pic-eoi",
            "Without an end of interrupt no further request of that level or below is delivered",
            "8259A data sheet",
            |t| {
                timer(t)?;
                t.idt(0x20, gate(KCODE, t.addr("v32"), 0x8E, 0))?;
                t.expect(fault(0x20).at(Where::Any), ins!(t; sti(); hlt()))?;
                t.idt(0x20, gate(KCODE, t.addr("timer"), 0x8E, 0))?;
                // The catcher did not acknowledge: the in-service bit is set.
                code!(t; mov(al, 0x0B); out(0x20, al); in_(al, 0x20); movzx(eax, al));
                t.eq(eax, 1)?;
                code!(t; mov(dword_ptr(USER), 0));
                pending(t)?;
                code!(t; sti(); nop(); nop(); nop(); cli());
                t.mem_eq(USER, 0)?;
                code!(t; mov(al, 0x20); out(0x20, al); sti(); mov(ecx, 1_000_000));
                t.here("again")?;
                code!(t; cmp(dword_ptr(USER), 0); loope(t.at("again")); cli(); cmp(dword_ptr(USER), 0); setne(al); movzx(eax, al));
                t.eq(eax, 1)
            },
        ),
        pm(
            "pit-readback",
            "The counter counts down; a latched count stays until both bytes are read",
            "8254 data sheet",
            |t| {
                code!(t;
                mov(al, 0x34); out(0x43, al); mov(al, 0); out(0x40, al); out(0x40, al);
                xor(eax, eax); out(0x43, al); in_(al, 0x40); mov(bl, al); in_(al, 0x40); mov(bh, al));
                t.here("later")?;
                code!(t; xor(eax, eax); out(0x43, al); in_(al, 0x40); mov(cl, al); in_(al, 0x40); mov(ch, al); cmp(cx, bx); je(t.at("later")));
                // Status of counter 0 by read-back: mode 2, both bytes.
                code!(t; mov(al, 0xE2u32); out(0x43, al); in_(al, 0x40); and(eax, 0x3F));
                t.eq(eax, 0x34)
            },
        ),
    ]
}
