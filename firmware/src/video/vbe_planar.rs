//! VBE services in mode 102h, which is mode 6Ah: 800 by 600 in four planes. The display interface has no planes, so the
//! VGA's own registers show it, and its window, lines and start are theirs. What needs more than 64 KiB in a plane
//! (1024 by 768) this adapter cannot show.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{bda, frame};
use iced_x86::code_asm::*;

use super::modes::PLANAR_800;

/// Lines of the picture, bytes of a line in a plane, and the most that let the picture fit, even as the CRTC wants it.
const LINES: i32 = 600;
const PITCH: i32 = 100;
const LARGEST_PITCH: i32 = 108;
/// The VGA's faster clock in Hz.
const CLOCK: u32 = 28_322_000;

pub fn emit(b: &mut Builder) -> Emit {
    emit_window(b)?;
    emit_start(b)
}

fn emit_window(b: &mut Builder) -> Emit {
    x86!(b;
        // The ModeInfoBlock at ES:DI, filled in for packed pixels, becomes that of a planar mode.
        vbe_planar_information:
            mov word_ptr(di).es(), 0x001f; // supported, characters by the BIOS, colour, graphics; the VGA's registers
            mov byte_ptr(di + 2).es(), 6; // the window stays
            mov byte_ptr(di + 0x18).es(), 4;
            mov byte_ptr(di + 0x1b).es(), 3;
            mov byte_ptr(di + 0x1d).es(), 0;
            mov word_ptr(di + 0x34).es(), 0;
            mov dword_ptr(di + 0x28).es(), 0;
            mov word_ptr(di + 0x32).es(), 0;
            mov dword_ptr(di + 0x3e).es(), CLOCK;
            jmp @vbe_done;
        vbe_planar_window:
            cmp byte_ptr(bda::VIDEO_MODE), PLANAR_800;
            jne @vbe_invalid;
            cmp bh, 1;
            ja @vbe_failed;
            je .get;
            or dx, dx;
            jnz @vbe_failed;
        .get:
            mov word_ptr(bp + frame::DX), 0;
            jmp @vbe_done;
        // AX = bytes from one line to the next. Changes DX.
        vbe_planar_pitch:
            mov dx, word_ptr(bda::CRTC_PORT);
            mov al, 0x13;
            out dx, al;
            inc dx;
            in_ al, dx;
            mov ah, 0;
            add ax, ax;
            ret;
        vbe_planar_line:
            cmp byte_ptr(bda::VIDEO_MODE), PLANAR_800;
            jne @vbe_invalid;
            mov ax, LARGEST_PITCH;
            cmp bl, 3;
            ja @vbe_failed;
            je .answer;
            cmp bl, 1;
            je .get;
            ja .bytes;
            add cx, 7;
            jc @vbe_failed;
            shr cx, 3;
        .bytes:
            inc cx;
            and cl, 0xfe;
            cmp cx, PITCH;
            jb @vbe_failed;
            cmp cx, LARGEST_PITCH;
            ja @vbe_failed;
            mov ah, cl;
            shr ah, 1;
            mov al, 0x13;
            mov dx, word_ptr(bda::CRTC_PORT);
            out dx, ax;
        .get:
            call @vbe_planar_pitch;
        .answer:
            mov word_ptr(bp + frame::BX), ax;
            mov cx, ax;
            shl ax, 3;
            mov word_ptr(bp + frame::CX), ax;
            xor ax, ax;
            mov dx, 1;
            div cx;
            mov word_ptr(bp + frame::DX), ax;
            jmp @vbe_done;
    );
    Ok(())
}

fn emit_start(b: &mut Builder) -> Emit {
    x86!(b;
        vbe_planar_start:
            cmp byte_ptr(bda::VIDEO_MODE), PLANAR_800;
            jne @vbe_invalid;
            cmp bl, 1;
            je .get;
            test bl, 0x7f;
            jnz @vbe_failed;
            mov si, dx;
            call @vbe_planar_pitch;
            mov di, ax;
            mul si;
            or dx, dx;
            jnz @vbe_failed;
            mov dx, cx;
            shr dx, 3;
            add ax, dx;
            jc @vbe_failed;
            // The picture ends inside the plane.
            mov si, ax;
            mov ax, LINES;
            mul di;
            neg ax;
            cmp si, ax;
            ja @vbe_failed;
            or bl, bl;
            jz .set;
            call @vbe_retrace;
        .set:
            mov bx, si;
            mov dx, word_ptr(bda::CRTC_PORT);
            mov al, 0x0c;
            mov ah, bh;
            out dx, ax;
            mov al, 0x0d;
            mov ah, bl;
            out dx, ax;
            mov bl, 0x13; // panning
            mov bh, cl;
            and bh, 7;
            call @attribute_write;
            jmp @vbe_done;
        .get:
            mov dx, word_ptr(bda::CRTC_PORT);
            mov al, 0x0c;
            out dx, al;
            inc dx;
            in_ al, dx;
            mov ah, al;
            dec dx;
            mov al, 0x0d;
            out dx, al;
            inc dx;
            in_ al, dx;
            mov bx, ax;
            call @vbe_planar_pitch;
            mov di, ax;
            mov ax, bx;
            xor dx, dx;
            div di;
            mov word_ptr(bp + frame::DX), ax;
            mov cx, dx;
            shl cx, 3;
            mov bl, 0x13;
            call @attribute_read;
            and al, 7;
            or cl, al;
            mov word_ptr(bp + frame::CX), cx;
            mov byte_ptr(bp + frame::BH), 0;
            jmp @vbe_done;
    );
    Ok(())
}
