//! MC146818 RTC and CMOS RAM access. Bit 7 of port 70h keeps NMI masked while a register is selected.

use crate::asm::{Builder, Emit, x86};
use iced_x86::code_asm::*;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = CMOS[AL].
        cmos_read:
            pushf;
            cli;
            or al, 0x80;
            out 0x70, al;
            in_ al, 0x71;
            push ax;
            mov al, 0x0d;
            out 0x70, al;
            pop ax;
            popf;
            ret;
        // CMOS[AL] = AH.
        cmos_write:
            pushf;
            cli;
            push ax;
            or al, 0x80;
            out 0x70, al;
            mov al, ah;
            out 0x71, al;
            mov al, 0x0d;
            out 0x70, al;
            pop ax;
            popf;
            ret;
        // AX = CMOS[AL + 1] : CMOS[AL].
        cmos_read_word:
            push cx;
            mov cl, al;
            inc al;
            call @cmos_read;
            mov ah, al;
            mov al, cl;
            call @cmos_read;
            pop cx;
            ret;
        // Waits until the clock is not in an update, at most 65536 polls. CF set on a clock that never settles.
        rtc_settle:
            push cx;
            xor cx, cx;
        .poll:
            mov al, 0x0a;
            call @cmos_read;
            test al, 0x80;
            jz .settled;
            loop_ .poll;
            stc;
        .settled:
            pop cx;
            ret;
        // AL = binary of BCD AL.
        from_bcd:
            push cx;
            mov cl, al;
            shr al, 4;
            mov ch, 10;
            mul ch;
            and cl, 0x0f;
            add al, cl;
            pop cx;
            ret;
    );
    Ok(())
}
