//! Palette registers and the DAC: int 10h AH=10h, and the CGA's AH=0Bh.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{bda, frame};
use iced_x86::code_asm::*;

/// Entries of the AH=10h jump table.
const FUNCTIONS: i32 = 0x1c;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        palette_service:
            cmp al, FUNCTIONS;
            jae @video_return;
            movzx si, al;
            add si, si;
            jmp word_ptr(si + b.at("palette_table")).cs();
        palette_table:
    );
    b.jump_table(
        FUNCTIONS as usize,
        "video_return",
        &[
            (0x00, "palette_set"),
            (0x01, "border_set"),
            (0x02, "palette_set_all"),
            (0x03, "blink_set"),
            (0x07, "palette_get"),
            (0x08, "border_get"),
            (0x09, "palette_get_all"),
            (0x10, "dac_set"),
            (0x12, "dac_set_block"),
            (0x13, "dac_page_set"),
            (0x15, "dac_get"),
            (0x17, "dac_get_block"),
            (0x18, "dac_mask_set"),
            (0x19, "dac_mask_get"),
            (0x1a, "dac_page_get"),
            (0x1b, "dac_grey"),
        ],
    )?;
    emit_attributes(b)?;
    emit_dac(b)?;
    emit_cga(b)
}

fn emit_attributes(b: &mut Builder) -> Emit {
    x86!(b;
        // Attribute controller register BL = BH. Reading the input status resets the port's flip-flop; index bit 5 is
        // set again so that the display goes on. Changes AL, DX.
        attribute_write:
            mov dx, word_ptr(bda::CRTC_PORT);
            add dx, 6;
            in_ al, dx;
            mov dx, 0x3c0;
            mov al, bl;
            out dx, al;
            mov al, bh;
            out dx, al;
            mov al, 0x20;
            out dx, al;
            ret;
        // AL = attribute controller register BL. Changes DX.
        attribute_read:
            mov dx, word_ptr(bda::CRTC_PORT);
            add dx, 6;
            in_ al, dx;
            mov dx, 0x3c0;
            mov al, bl;
            out dx, al;
            inc dx;
            in_ al, dx;
            push ax;
            mov dx, word_ptr(bda::CRTC_PORT);
            add dx, 6;
            in_ al, dx;
            mov dx, 0x3c0;
            mov al, 0x20;
            out dx, al;
            pop ax;
            ret;
        palette_set:
            cmp bl, 0x14;
            ja @video_return;
            call @attribute_write;
            jmp @video_return;
        border_set:
            mov bl, 0x11;
            call @attribute_write;
            jmp @video_return;
        palette_set_all:
            mov es, word_ptr(bp + frame::ES);
            mov di, word_ptr(bp + frame::DX);
            mov bl, 0;
        .next:
            mov bh, byte_ptr(di).es();
            inc di;
            call @attribute_write;
            inc bl;
            cmp bl, 16;
            jb .next;
            mov bh, byte_ptr(di).es();
            jmp @border_set;
        // BL = 1: bit 7 of an attribute blinks; 0: it makes the background bright.
        blink_set:
            mov cl, bl;
            mov bl, 0x10;
            call @attribute_read;
            and al, 0xf7;
            and cl, 1;
            shl cl, 3;
            or al, cl;
            mov bh, al;
            call @attribute_write;
            shl cl, 2;
            and byte_ptr(bda::VIDEO_MODE_SELECT), 0xdf;
            or byte_ptr(bda::VIDEO_MODE_SELECT), cl;
            jmp @video_return;
        palette_get:
            call @attribute_read;
            mov byte_ptr(bp + frame::BH), al;
            jmp @video_return;
        border_get:
            mov bl, 0x11;
            jmp @palette_get;
        palette_get_all:
            mov es, word_ptr(bp + frame::ES);
            mov di, word_ptr(bp + frame::DX);
            mov bl, 0;
        .next:
            call @attribute_read;
            stosb;
            inc bl;
            cmp bl, 16;
            jb .next;
            inc bl;
            call @attribute_read;
            stosb;
            jmp @video_return;
    );
    Ok(())
}

fn emit_dac(b: &mut Builder) -> Emit {
    x86!(b;
        // BX = colour; DH red, CH green, CL blue.
        dac_set:
            mov ah, dh;
            mov dx, 0x3c8;
            mov al, bl;
            out dx, al;
            inc dx;
            mov al, ah;
            out dx, al;
            mov al, ch;
            out dx, al;
            mov al, cl;
            out dx, al;
            mov cx, 1;
            call @grey_if_wanted;
            jmp @video_return;
        // BX = first, CX = count, ES:DX = values.
        dac_set_block:
            mov es, word_ptr(bp + frame::ES);
            mov si, dx;
            mov dx, 0x3c8;
            mov al, bl;
            out dx, al;
            inc dx;
            jcxz .none;
            push cx;
            imul_3 cx, cx, 3;
        .byte:
            mov al, byte_ptr(si).es();
            inc si;
            out dx, al;
            loop_ .byte;
            pop cx;
            call @grey_if_wanted;
        .none:
            jmp @video_return;
        dac_get:
            mov dx, 0x3c7;
            mov al, bl;
            out dx, al;
            mov dx, 0x3c9;
            in_ al, dx;
            mov byte_ptr(bp + frame::DH), al;
            in_ al, dx;
            mov byte_ptr(bp + frame::CH), al;
            in_ al, dx;
            mov byte_ptr(bp + frame::CL), al;
            jmp @video_return;
        dac_get_block:
            mov es, word_ptr(bp + frame::ES);
            mov di, dx;
            mov dx, 0x3c7;
            mov al, bl;
            out dx, al;
            mov dx, 0x3c9;
            imul_3 cx, cx, 3;
            jcxz .done;
        .byte:
            in_ al, dx;
            stosb;
            loop_ .byte;
        .done:
            jmp @video_return;
        dac_mask_set:
            mov dx, 0x3c6;
            mov al, bl;
            out dx, al;
            jmp @video_return;
        dac_mask_get:
            mov dx, 0x3c6;
            in_ al, dx;
            mov byte_ptr(bp + frame::BL), al;
            jmp @video_return;
        // BL = 0: BH chooses four pages of 64 (0) or sixteen of 16 (1); BL = 1: BH is the page.
        dac_page_set:
            mov cx, bx;
            mov bl, 0x10;
            call @attribute_read;
            cmp cl, 1;
            je .page;
            and al, 0x7f;
            and ch, 1;
            shl ch, 7;
            or al, ch;
            mov bh, al;
            call @attribute_write;
            jmp @video_return;
        .page:
            test al, 0x80;
            jnz .small_pages;
            shl ch, 2;
        .small_pages:
            and ch, 0x0f;
            mov bh, ch;
            mov bl, 0x14;
            call @attribute_write;
            jmp @video_return;
        dac_page_get:
            mov bl, 0x10;
            call @attribute_read;
            shr al, 7;
            mov cl, al;
            mov bl, 0x14;
            call @attribute_read;
            and al, 0x0f;
            or cl, cl;
            jnz .small_pages;
            shr al, 2;
        .small_pages:
            mov byte_ptr(bp + frame::BL), cl;
            mov byte_ptr(bp + frame::BH), al;
            jmp @video_return;
        // CX colours from BX become greys.
        dac_grey:
            jcxz .done;
            call @grey;
        .done:
            jmp @video_return;
        // The same for CL colours (0 for 256) from BL if the caller wants what is loaded to be grey.
        grey_if_wanted:
            test byte_ptr(bda::VIDEO_FLAGS), 2;
            jnz @grey;
            ret;
        // CL colours from BL: 30% red, 59% green, 11% blue. Changes most registers.
        grey:
            mov dx, 0x3c7;
            mov al, bl;
            out dx, al;
            mov dx, 0x3c9;
            in_ al, dx;
            movzx si, al;
            imul_3 si, si, 77;
            in_ al, dx;
            movzx di, al;
            imul_3 di, di, 151;
            add si, di;
            in_ al, dx;
            movzx di, al;
            imul_3 di, di, 28;
            add si, di;
            shr si, 8;
            mov dx, 0x3c8;
            mov al, bl;
            out dx, al;
            inc dx;
            mov ax, si;
            out dx, al;
            out dx, al;
            out dx, al;
            inc bl;
            dec cl;
            jnz @grey;
            ret;
    );
    Ok(())
}

fn emit_cga(b: &mut Builder) -> Emit {
    x86!(b;
        // BH = 0: BL is the border or background colour with the intensity in bit 4; BH = 1: BL chooses the palette of
        // modes 4 and 5.
        cga_palette_service:
            mov al, byte_ptr(bda::VIDEO_PALETTE);
            or bh, bh;
            jnz .palette;
            and al, 0xe0;
            and bl, 0x1f;
            or al, bl;
            jmp .store;
        .palette:
            and al, 0xdf;
            and bl, 1;
            shl bl, 5;
            or al, bl;
        .store:
            mov byte_ptr(bda::VIDEO_PALETTE), al;
            mov cl, al;
            // The background, and in text modes the border.
            mov bh, cl;
            and bh, 0x0f;
            test bh, 8;
            jz .dark;
            add bh, 8;
        .dark:
            cmp byte_ptr(bda::VIDEO_MODE), 3;
            jbe .border;
            mov bl, 0;
            call @attribute_write;
        .border:
            mov bl, 0x11;
            call @attribute_write;
            mov al, byte_ptr(bda::VIDEO_MODE);
            cmp al, 4;
            je .four;
            cmp al, 5;
            jne @video_return;
        .four:
            // Green, red, brown or cyan, magenta, white; bright with bit 4.
            mov bh, 2;
            test cl, 0x20;
            jz .bright;
            inc bh;
        .bright:
            test cl, 0x10;
            jz .write;
            add bh, 0x10;
        .write:
            mov bl, 1;
        .register:
            call @attribute_write;
            add bh, 2;
            inc bl;
            cmp bl, 4;
            jb .register;
            jmp @video_return;
    );
    Ok(())
}
