//! Memory size from CMOS RAM, as the board's set-up leaves it there.

use crate::asm::{Builder, Emit, x86};
use iced_x86::code_asm::*;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        // EAX = end of RAM below 4 GiB in bytes: CMOS 34h/35h count 64 KiB from 16 MiB, 30h/31h (or 17h/18h) KiB from
        // 1 MiB.
        memory_top:
            mov al, 0x34;
            call @cmos_read_word;
            or ax, ax;
            jz .small;
            movzx eax, ax;
            shl eax, 16;
            add eax, 0x100_0000;
            ret;
        .small:
            mov al, 0x30;
            call @cmos_read_word;
            or ax, ax;
            jnz .found;
            mov al, 0x17;
            call @cmos_read_word;
        .found:
            movzx eax, ax;
            shl eax, 10;
            add eax, 0x10_0000;
            ret;
        // EDX:EAX = bytes of RAM above 4 GiB: CMOS 5Bh-5Dh count 64 KiB.
        memory_above_4g:
            mov al, 0x5d;
            call @cmos_read;
            movzx edx, al;
            mov al, 0x5b;
            call @cmos_read_word;
            movzx eax, ax;
            shl eax, 16;
            ret;
    );
    Ok(())
}
