//! int 10h AH=00h: programs the VGA for a mode, loads its colours and font, clears its memory.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{bda, frame};
use iced_x86::code_asm::*;

use super::modes::{FEWER_LINES, LAST_MODE, PLANAR_800, PLANAR_800_PLACE, parameter};

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        // SI = parameters of mode AL. CF set for a mode that does not exist.
        find_mode:
            mov si, i32::from(PLANAR_800_PLACE);
            cmp al, PLANAR_800;
            je .listed;
            cmp al, LAST_MODE;
            ja .unknown;
            movzx si, al;
            cmp al, 3;
            ja .listed;
            // Modes 0 to 3 have parameters for 400 lines (bit 4), 200 (bit 7) or 350.
            test byte_ptr(bda::VIDEO_FLAGS), 0x10;
            jnz .listed;
            shr si, 1;
            add si, i32::from(FEWER_LINES);
            test byte_ptr(bda::VIDEO_FLAGS), 0x80;
            jnz .listed;
            inc si;
            inc si;
        .listed:
            add si, si;
            mov si, word_ptr(si + b.at("mode_offsets")).cs();
            or si, si;
            jz .unknown;
            clc;
            ret;
        .unknown:
            stc;
            ret;
        // SI = parameters of the current mode, AL = kind of its memory, ES = its segment.
        current_mode:
            mov al, byte_ptr(bda::VIDEO_MODE);
            call @find_mode;
            jnc .known;
            mov si, b.at("mode_parameters");
        .known:
            mov es, word_ptr(si + parameter::SEGMENT).cs();
            mov al, byte_ptr(si + parameter::KIND).cs();
            ret;
        mode_service:
            mov dl, al;
            and al, 0x7f;
            call @find_mode;
            jc @video_return;
            mov byte_ptr(bda::VIDEO_MODE), al;
            call @dispi_off;
            and byte_ptr(bda::VIDEO_CONTROL), 0x7f;
            and dl, 0x80; // bit 7: memory is kept
            or byte_ptr(bda::VIDEO_CONTROL), dl;
            call @set_registers;
            call @set_mode_data;
            test byte_ptr(bda::VIDEO_CONTROL), 0x80;
            jnz .kept;
            call @clear_memory;
        .kept:
            cmp byte_ptr(si + parameter::KIND).cs(), 0;
            jne .no_font;
            push si;
            mov bl, 0;
            mov al, byte_ptr(si + parameter::HEIGHT).cs();
            call @load_height_font;
            pop si;
        .no_font:
            call @set_font_vector;
            call @video_on;
            // AL as IBM's BIOS leaves it.
            mov al, 0x30;
            cmp byte_ptr(bda::VIDEO_MODE), 6;
            jb .value;
            mov al, 0x3f;
            je .value;
            mov al, 0x20;
            cmp byte_ptr(bda::VIDEO_MODE), 7;
            jne .value;
            mov al, 0x30;
        .value:
            mov byte_ptr(bp + frame::AL), al;
            jmp @video_return;
        // The attribute controller takes the palette's address source from the CRT again.
        video_on:
            mov dx, word_ptr(bda::CRTC_PORT);
            add dx, 6;
            in_ al, dx;
            mov dx, 0x3c0;
            mov al, 0x20;
            out dx, al;
            ret;
        // Loads the registers from the parameters at CS:SI.
        set_registers:
            push si;
            mov bx, si;
            mov dx, 0x3c2;
            mov al, byte_ptr(bx + parameter::MISC).cs();
            out dx, al;
            mov cx, 0x3d4;
            test al, 1;
            jnz .colour;
            mov cx, 0x3b4;
        .colour:
            mov word_ptr(bda::CRTC_PORT), cx;
            mov dx, 0x3c4;
            mov ax, 0x0100; // synchronous reset while the clock changes
            out dx, ax;
            lea si, ptr(bx + parameter::SEQUENCER);
            mov ah, 1;
            mov cx, 4;
            call .indexed;
            mov ax, 0x0300;
            out dx, ax;
            mov dx, word_ptr(bda::CRTC_PORT);
            mov ax, 0x0011; // registers 0 to 7 writable
            out dx, ax;
            lea si, ptr(bx + parameter::CRTC);
            mov ah, 0;
            mov cx, 25;
            call .indexed;
            mov dx, 0x3ce;
            lea si, ptr(bx + parameter::GRAPHICS);
            mov ah, 0;
            mov cx, 9;
            call .indexed;
            mov dx, word_ptr(bda::CRTC_PORT);
            add dx, 6;
            in_ al, dx;
            mov dx, 0x3c0;
            lea si, ptr(bx + parameter::ATTRIBUTES);
            mov ah, 0;
            mov cx, 20;
        .attribute:
            mov al, ah;
            out dx, al;
            cs lodsb;
            out dx, al;
            inc ah;
            loop_ .attribute;
            mov al, 0x14;
            out dx, al;
            mov al, 0;
            out dx, al;
            test byte_ptr(bda::VIDEO_FLAGS), 0x08; // the caller loads colours itself
            jnz .colours_done;
            call @load_colours;
        .colours_done:
            pop si;
            ret;
        // CX registers from index AH at DX, values from CS:SI.
        .indexed:
            cs lodsb;
            xchg al, ah;
            out dx, al;
            inc dx;
            xchg al, ah;
            out dx, al;
            dec dx;
            inc ah;
            loop_ .indexed;
            ret;
        // The DAC's colours for the parameters at BX.
        load_colours:
            mov dx, 0x3c6;
            mov al, 0xff;
            out dx, al;
            mov dx, 0x3c8;
            mov al, 0;
            out dx, al;
            inc dx;
            movzx di, byte_ptr(bx + parameter::DAC).cs();
            mov cx, 192;
            cmp di, 3;
            jne .small;
            mov cx, 768;
        .small:
            add di, di;
            mov si, word_ptr(di + b.at("dac_tables")).cs();
            push cx;
        .byte:
            cs lodsb;
            out dx, al;
            loop_ .byte;
            pop cx;
            or ch, ch;
            jnz .all; // 256 colours, as CL = 0
            mov cl, 64;
        .all:
            mov bl, 0;
            jmp @grey_if_wanted;
        // The BIOS data area for the parameters at CS:SI.
        set_mode_data:
            movzx ax, byte_ptr(si + parameter::COLUMNS).cs();
            mov word_ptr(bda::VIDEO_COLUMNS), ax;
            mov ax, word_ptr(si + parameter::PAGE_SIZE).cs();
            mov word_ptr(bda::VIDEO_PAGE_SIZE), ax;
            mov word_ptr(bda::VIDEO_PAGE_START), 0;
            mov byte_ptr(bda::VIDEO_PAGE), 0;
            mov byte_ptr(bda::VIDEO_POWER), 0;
            mov al, byte_ptr(si + parameter::LAST_ROW).cs();
            mov byte_ptr(bda::VIDEO_LAST_ROW), al;
            movzx ax, byte_ptr(si + parameter::HEIGHT).cs();
            mov word_ptr(bda::CHARACTER_HEIGHT), ax;
            push ds;
            pop es;
            xor ax, ax;
            mov di, bda::CURSOR_POSITIONS;
            mov cx, 8;
            rep stosw;
            mov word_ptr(bda::CURSOR_SHAPE), 0;
            cmp byte_ptr(si + parameter::KIND).cs(), 0;
            jne .no_cursor;
            mov ax, word_ptr(si + parameter::CRTC + 0x0a).cs();
            xchg al, ah;
            mov word_ptr(bda::CURSOR_SHAPE), ax;
        .no_cursor:
            movzx bx, byte_ptr(bda::VIDEO_MODE);
            mov byte_ptr(bda::VIDEO_PALETTE), 0x30;
            cmp bl, 6;
            jne .palette;
            mov byte_ptr(bda::VIDEO_PALETTE), 0x3f;
        .palette:
            cmp bl, 7;
            ja .no_select;
            mov al, byte_ptr(bx + b.at("mode_select_values")).cs();
            mov byte_ptr(bda::VIDEO_MODE_SELECT), al;
        .no_select:
            ret;
        clear_memory:
            push si;
            mov es, word_ptr(si + parameter::SEGMENT).cs();
            xor di, di;
            mov cx, 0x8000 / 4;
            mov eax, 0x0720_0720;
            cmp byte_ptr(si + parameter::KIND).cs(), 0;
            je .fill;
            xor eax, eax;
            cmp byte_ptr(si + parameter::KIND).cs(), 3;
            jb .fill;
            mov cx, 0x1_0000 / 4;
        .fill:
            rep stosd;
            pop si;
            ret;
        get_mode_service:
            mov al, byte_ptr(bda::VIDEO_CONTROL);
            and al, 0x80;
            or al, byte_ptr(bda::VIDEO_MODE);
            mov byte_ptr(bp + frame::AL), al;
            mov al, byte_ptr(bda::VIDEO_COLUMNS);
            mov byte_ptr(bp + frame::AH), al;
            mov al, byte_ptr(bda::VIDEO_PAGE);
            mov byte_ptr(bp + frame::BH), al;
            jmp @video_return;
        mode_select_values: // what a CGA's or MDA's mode register would hold
            db &[0x2c, 0x28, 0x2d, 0x29, 0x2a, 0x2e, 0x1e, 0x29];
    );
    Ok(())
}
