//! Text out to COM1 and the VGA screen, characters in from COM1 and the keyboard, the timer interrupt.
//!
//! Routines take one doubleword on the stack, drop it, and keep every register unless said otherwise.

use iced_x86::code_asm::*;

use super::*;
use crate::pm::{KCODE, gate};

const COM1: u32 = 0x3F8;
/// Scan set 1 to ASCII, codes 00h to 39h.
const KEYS: &[u8; 58] = b"\0\x1b1234567890-=\x08\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
/// The same with shift.
const SHIFTED: &[u8; 58] = b"\0\x1b!@#$%^&*()_+\x08\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";

pub(super) fn write(t: &mut Pm) -> Emit {
    t.here("console.init")?;
    // 115200 8N1, FIFO on, receive interrupt, OUT2 lets it through.
    for (register, value) in [(1, 0u32), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 7), (4, 0x0B), (1, 1)] {
        code!(t; mov(dx, COM1 + register); mov(al, value); out(dx, al));
    }
    // The 8254's counter 0 at 100 Hz: mode 2, 1193182 / 100.
    code!(t; mov(al, 0x34); out(0x43, al); mov(al, 11932 & 0xFF); out(0x40, al); mov(al, 11932 >> 8); out(0x40, al));
    for (vector, name) in [(0x20, "irq.timer"), (0x21, "irq.keyboard"), (0x24, "irq.serial")] {
        t.idt(vector, gate(KCODE, t.addr(name), 0x8E, 0))?;
    }
    // The 8042 gets its first port's interrupt and translation switched on; what it holds is thrown away.
    code!(t;
        in_(al, 0x60);
        call(t.at("kbd.ready")); mov(al, 0x60); out(0x64, al); call(t.at("kbd.ready")); mov(al, 0x45); out(0x60, al);
        call(t.at("kbd.ready")); mov(al, 0xAEu32); out(0x64, al);
        mov(dword_ptr(ATTR), 7); call(t.at("cmd.clear"));
        mov(al, 0xECu32); out(0x21, al); sti(); ret());
    t.here("kbd.ready")?;
    code!(t; mov(ecx, 10000));
    t.here("kbd.wait")?;
    code!(t; in_(al, 0x64); test(al, 2); loopne(t.at("kbd.wait")); ret());

    t.here("irq.timer")?;
    code!(t; push(eax); inc(dword_ptr(TICKS)); mov(al, 0x20); out(0x20, al); pop(eax); iretd());
    t.here("irq.serial")?;
    code!(t; push(eax); push(edx));
    t.here("irq.serial.next")?;
    code!(t;
        mov(dx, COM1 + 5); in_(al, dx); test(al, 1); je(t.at("irq.serial.end"));
        mov(dx, COM1); in_(al, dx); call(t.at("ring.put")); jmp(t.at("irq.serial.next")));
    t.here("irq.serial.end")?;
    code!(t; mov(dx, COM1 + 2); in_(al, dx); mov(al, 0x20); out(0x20, al); pop(edx); pop(eax); iretd());
    t.here("irq.keyboard")?;
    code!(t;
        push(eax); push(edx); in_(al, 0x60); movzx(eax, al);
        cmp(al, 0x2A); je(t.at("key.shift")); cmp(al, 0x36); je(t.at("key.shift"));
        cmp(al, 0xAAu32); je(t.at("key.unshift")); cmp(al, 0xB6u32); je(t.at("key.unshift"));
        cmp(al, 57); ja(t.at("key.end"));
        cmp(dword_ptr(SHIFT), 0); jne(t.at("key.shifted"));
        mov(al, byte_ptr(eax + t.addr("keys"))); jmp(t.at("key.put")));
    t.here("key.shifted")?;
    code!(t; mov(al, byte_ptr(eax + t.addr("keys.shifted"))));
    t.here("key.put")?;
    code!(t; test(al, al); je(t.at("key.end")); call(t.at("ring.put")); jmp(t.at("key.end")));
    t.here("key.shift")?;
    code!(t; mov(dword_ptr(SHIFT), 1); jmp(t.at("key.end")));
    t.here("key.unshift")?;
    code!(t; mov(dword_ptr(SHIFT), 0));
    t.here("key.end")?;
    code!(t; mov(al, 0x20); out(0x20, al); pop(edx); pop(eax); iretd());
    // AL goes into the ring; a full ring overwrites its oldest. Changes EDX.
    t.here("ring.put")?;
    code!(t;
        mov(edx, dword_ptr(RING_HEAD)); mov(byte_ptr(edx + RING), al); inc(dl); movzx(edx, dl);
        mov(dword_ptr(RING_HEAD), edx); ret());

    // A character into AL; sleeps until there is one.
    t.here("getc")?;
    code!(t; push(edx); call(t.at("cursor")));
    t.here("getc.next")?;
    code!(t; cli(); call(t.at("poll")); jne(t.at("getc.got")); sti(); hlt(); jmp(t.at("getc.next")));
    t.here("getc.got")?;
    code!(t; sti(); pop(edx); ret());
    // AL and ZF clear if there is a character, ZF set if not. Changes EDX.
    t.here("poll")?;
    code!(t; mov(edx, dword_ptr(RING_TAIL)); cmp(edx, dword_ptr(RING_HEAD)); je(t.at("poll.end"));
        mov(al, byte_ptr(edx + RING)); inc(dl); movzx(edx, dl); mov(dword_ptr(RING_TAIL), edx); or(edx, 0x100));
    t.here("poll.end")?;
    code!(t; ret());

    t.here("puts")?;
    code!(t; pushad(); mov(esi, dword_ptr(esp + 36)));
    t.here("puts.next")?;
    code!(t; movzx(eax, byte_ptr(esi)); inc(esi); test(eax, eax); je(t.at("puts.end")); push(eax); call(t.at("putc")); jmp(t.at("puts.next")));
    t.here("puts.end")?;
    code!(t; popad(); ret_1(4));
    t.here("putc")?;
    code!(t;
        pushad(); mov(al, byte_ptr(esp + 36));
        cmp(al, 10); jne(t.at("putc.serial")); mov(al, 13); call(t.at("serial")); mov(al, 10));
    t.here("putc.serial")?;
    code!(t; call(t.at("serial")); mov(ecx, dword_ptr(CURSOR));
        cmp(al, 10); je(t.at("putc.line")); cmp(al, 8); je(t.at("putc.back"));
        mov(ah, byte_ptr(ATTR)); mov(word_ptr(ecx * 2 + 0xB8000u32), ax); inc(ecx); jmp(t.at("putc.scroll")));
    t.here("putc.back")?;
    code!(t; test(ecx, ecx); je(t.at("putc.done")); dec(ecx); jmp(t.at("putc.done")));
    t.here("putc.line")?;
    code!(t; mov(eax, ecx); xor(edx, edx); mov(ebx, 80); div(ebx); inc(eax); mul(ebx); mov(ecx, eax));
    t.here("putc.scroll")?;
    code!(t;
        cmp(ecx, 2000); jb(t.at("putc.done"));
        push(ecx); cld(); mov(esi, 0xB8000u32 + 160); mov(edi, 0xB8000u32); mov(ecx, 960); rep().movsd();
        mov(eax, 0x0720_0720); mov(ecx, 40); rep().stosd(); pop(ecx); sub(ecx, 80));
    t.here("putc.done")?;
    code!(t; mov(dword_ptr(CURSOR), ecx); popad(); ret_1(4));
    // AL to COM1, once its holding register is empty or a while has passed. Keeps AL, changes AH, ECX, EDX.
    t.here("serial")?;
    code!(t; mov(ah, al); mov(dx, COM1 + 5); mov(ecx, 100_000));
    t.here("serial.wait")?;
    code!(t; in_(al, dx); test(al, 0x20); loope(t.at("serial.wait")); mov(al, ah); mov(dx, COM1); out(dx, al); ret());
    // A text to COM1 only.
    t.here("serial.puts")?;
    code!(t; pushad(); mov(esi, dword_ptr(esp + 36)));
    t.here("serial.next")?;
    code!(t; lodsb(); test(al, al); je(t.at("serial.end")); call(t.at("serial")); jmp(t.at("serial.next")));
    t.here("serial.end")?;
    code!(t; popad(); ret_1(4));
    // The colour on the stack: as attribute for VGA, whose red and blue are the other way round, and as ANSI sequence.
    t.here("color")?;
    let escape = t.string("\x1b[0;");
    let bright = t.string("1;");
    code!(t;
        pushad(); push(escape as i32); call(t.at("serial.puts"));
        mov(ebx, dword_ptr(esp + 36)); test(bl, 8); je(t.at("color.dim")); push(bright as i32); call(t.at("serial.puts")));
    t.here("color.dim")?;
    code!(t;
        mov(al, 0x33); call(t.at("serial")); mov(al, bl); and(al, 7); add(al, 0x30); call(t.at("serial")); mov(al, 0x6D); call(t.at("serial"));
        and(ebx, 15); mov(al, byte_ptr(ebx + t.addr("colors"))); mov(byte_ptr(ATTR), al); popad(); ret_1(4));
    t.here("colors")?;
    t.text(&[0, 4, 2, 6, 1, 5, 3, 7, 8, 12, 10, 14, 9, 13, 11, 15])?;
    let clear = t.string("\x1b[0m\x1b[2J\x1b[H");
    t.here("cmd.clear")?;
    code!(t;
        pushad(); push(clear as i32); call(t.at("serial.puts")); mov(dword_ptr(CURSOR), 0);
        cld(); mov(edi, 0xB8000u32); mov(eax, 0x0720_0720); mov(ecx, 1000); rep().stosd(); popad(); ret());
    let home = t.string("\x1b[H");
    t.here("home")?;
    code!(t; push(home as i32); call(t.at("serial.puts")); mov(dword_ptr(CURSOR), 0); ret());
    // Moves the blinking cursor to where the next character goes: CRT controller registers 0Eh and 0Fh.
    t.here("cursor")?;
    code!(t;
        pushad(); mov(ebx, dword_ptr(CURSOR)); mov(dx, 0x3D4); mov(al, 0x0E); mov(ah, bh); out(dx, ax);
        mov(al, 0x0F); mov(ah, bl); out(dx, ax); popad(); ret());

    // The doubleword on the stack in decimal.
    t.here("decimal")?;
    code!(t; pushad(); mov(eax, dword_ptr(esp + 36)); mov(ebx, 10); xor(ecx, ecx));
    t.here("decimal.next")?;
    code!(t; xor(edx, edx); div(ebx); push(edx); inc(ecx); test(eax, eax); jne(t.at("decimal.next")));
    t.here("decimal.put")?;
    code!(t; add(dword_ptr(esp), 0x30); call(t.at("putc")); loop_(t.at("decimal.put")); popad(); ret_1(4));
    // The doubleword, word or byte on the stack in hexadecimal.
    for (name, digits) in [("hex8", 8u32), ("hex4", 4), ("hex2", 2), ("hex1", 1)] {
        let next = format!("{name}.next");
        t.here(name)?;
        code!(t; pushad(); mov(ebx, dword_ptr(esp + 36)); mov(ecx, digits));
        if digits < 8 {
            code!(t; ror(ebx, digits * 4));
        }
        t.here(&next)?;
        code!(t;
            rol(ebx, 4); mov(eax, ebx); and(eax, 15); movzx(eax, byte_ptr(eax + t.addr("digits"))); push(eax); call(t.at("putc"));
            loop_(t.at(&next)); popad(); ret_1(4));
    }
    t.here("digits")?;
    t.text(b"0123456789ABCDEF")?;

    // A line into LINE, zero-terminated. Changes EAX, EDI.
    t.here("readline")?;
    code!(t; mov(edi, LINE));
    t.here("readline.next")?;
    code!(t;
        call(t.at("getc")); movzx(eax, al);
        cmp(al, 13); je(t.at("readline.end")); cmp(al, 10); je(t.at("readline.end"));
        cmp(al, 8); je(t.at("readline.back")); cmp(al, 127); je(t.at("readline.back"));
        cmp(al, 32); jb(t.at("readline.next")); cmp(edi, LINE + LINE_MAX); jae(t.at("readline.next"));
        mov(byte_ptr(edi), al); inc(edi); push(eax); call(t.at("putc")); jmp(t.at("readline.next")));
    t.here("readline.back")?;
    code!(t; cmp(edi, LINE); je(t.at("readline.next")); dec(edi));
    say(t, "\x08 \x08")?;
    code!(t; jmp(t.at("readline.next")));
    t.here("readline.end")?;
    code!(t; mov(byte_ptr(edi), 0); push(10); call(t.at("putc")); ret());
    // ZF if the first word of the line is the text at EDI; ARGS then is the address of what follows.
    t.here("match")?;
    code!(t; mov(esi, LINE));
    t.here("match.next")?;
    code!(t;
        mov(al, byte_ptr(esi)); mov(ah, byte_ptr(edi)); test(ah, ah); je(t.at("match.end"));
        inc(esi); inc(edi); cmp(al, ah); je(t.at("match.next")); ret());
    t.here("match.end")?;
    code!(t; cmp(al, 32); jne(t.at("match.whole")); inc(esi); mov(dword_ptr(ARGS), esi); xor(eax, eax); ret());
    t.here("match.whole")?;
    code!(t; mov(dword_ptr(ARGS), esi); test(al, al); ret());
    t.here("keys")?;
    t.text(KEYS)?;
    t.here("keys.shifted")?;
    t.text(SHIFTED)
}
