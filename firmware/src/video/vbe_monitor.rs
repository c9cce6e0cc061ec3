//! VBE services for the monitor: power (AH=4Fh AL=10h), description (15h), pixel clocks (0Bh), and the timings that a
//! program brings along when it sets a mode.
//!
//! The display interface has no dot clock and no CRT counters of its own. Every pixel clock up to the highest is there,
//! and timings that fit the mode are accepted; how often the picture is shown stays the display's business.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{bda, frame};
use iced_x86::code_asm::*;

/// Highest pixel clock in Hz, as the modes' information tells it.
pub const HIGHEST_CLOCK: u32 = 230_000_000;

/// Fields of a CRTCInfoBlock.
const HORIZONTAL_TOTAL: i32 = 0;
const HORIZONTAL_SYNC_START: i32 = 2;
const HORIZONTAL_SYNC_END: i32 = 4;
const VERTICAL_TOTAL: i32 = 6;
const VERTICAL_SYNC_START: i32 = 8;
const VERTICAL_SYNC_END: i32 = 10;
const PIXEL_CLOCK: i32 = 13;

pub fn emit(b: &mut Builder) -> Emit {
    emit_clocks(b)?;
    emit_power(b)?;
    x86!(b;
        // AL = 15h: BL = 0: DDC2, a second for a block; BL = 1: block DX = 0 to ES:DI.
        vbe_monitor:
            cmp bl, 1;
            ja @vbe_failed;
            je .read;
            mov word_ptr(bp + frame::BX), 0x0102;
            jmp @vbe_done;
        .read:
            or dx, dx;
            jnz @vbe_failed;
            mov si, b.at("vbe_edid");
            mov cx, 128;
        .next:
            cs lodsb;
            stosb;
            loop_ .next;
            jmp @vbe_done;
    );
    Ok(())
}

fn emit_clocks(b: &mut Builder) -> Emit {
    use super::vbe_modes::{ENTRY_HEIGHT, ENTRY_WIDTH};
    x86!(b;
        // AL = 0Bh, BL = 0: ECX = the clock nearest to ECX Hz in mode DX.
        vbe_pixel_clock:
            or bl, bl;
            jnz @vbe_failed;
            mov bx, dx;
            call @vbe_find;
            jc @vbe_failed;
            mov ecx, dword_ptr(bp + frame::ECX);
            or ecx, ecx;
            jz @vbe_failed;
            cmp ecx, HIGHEST_CLOCK;
            jbe .possible;
            mov ecx, HIGHEST_CLOCK;
        .possible:
            mov dword_ptr(bp + frame::ECX), ecx;
            jmp @vbe_done;
        // CF set unless the timings at ES:DI can show the mode with the entry SI. Changes EAX.
        vbe_check_timings:
            mov eax, dword_ptr(di + PIXEL_CLOCK).es();
            dec eax;
            cmp eax, HIGHEST_CLOCK;
            jae .wrong;
            mov ax, word_ptr(di + HORIZONTAL_SYNC_START).es();
            cmp ax, word_ptr(si + ENTRY_WIDTH).cs();
            jb .wrong;
            cmp ax, word_ptr(di + HORIZONTAL_SYNC_END).es();
            jae .wrong;
            mov ax, word_ptr(di + HORIZONTAL_TOTAL).es();
            cmp ax, word_ptr(di + HORIZONTAL_SYNC_END).es();
            jb .wrong;
            mov ax, word_ptr(di + VERTICAL_SYNC_START).es();
            cmp ax, word_ptr(si + ENTRY_HEIGHT).cs();
            jb .wrong;
            cmp ax, word_ptr(di + VERTICAL_SYNC_END).es();
            jae .wrong;
            mov ax, word_ptr(di + VERTICAL_TOTAL).es();
            cmp ax, word_ptr(di + VERTICAL_SYNC_END).es();
            ret; // with carry if it ends before its synchronisation does
        .wrong:
            stc;
            ret;
    );
    Ok(())
}

fn emit_power(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = 10h (VBE/PM 1.0), BL = 0: BL = version, BH = states; 1: BH is set; 2: BH = state. 0 is on, 1 stand-by,
        // 2 suspend, 4 off: the adapter has one way to switch the picture off.
        vbe_power:
            cmp bl, 1;
            jb .states;
            je .set;
            cmp bl, 2;
            jne @vbe_failed;
            mov dx, 0x3c4;
            mov al, 1;
            out dx, al;
            inc dx;
            in_ al, dx;
            mov ah, 0;
            test al, 0x20;
            jz .known;
            mov ah, byte_ptr(bda::VIDEO_POWER);
        .known:
            mov byte_ptr(bp + frame::BH), ah;
            jmp @vbe_done;
        .states:
            mov word_ptr(bp + frame::BX), 0x0710;
            jmp @vbe_done;
        .set:
            mov ah, 0;
            or bh, bh;
            jz .possible;
            inc ah;
            cmp bh, 2;
            jbe .possible;
            cmp bh, 4;
            jne @vbe_failed;
        .possible:
            mov byte_ptr(bda::VIDEO_POWER), bh;
            call @screen_off;
            jmp @vbe_done;
        // Clocking mode bit 5 blanks the screen for AH = 1, and shows it for 0. Changes AX, DX.
        screen_off:
            shl ah, 5;
            mov dx, 0x3c4;
            mov al, 1;
            out dx, al;
            inc dx;
            in_ al, dx;
            and al, 0xdf;
            or al, ah;
            out dx, al;
            ret;
    );
    Ok(())
}
