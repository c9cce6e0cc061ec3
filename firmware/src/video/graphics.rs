//! Graphics modes: glyphs, scrolling, pixels.
//!
//! Memory differs by kind: 1 CGA with 2 bits a pixel, 2 CGA with 1 bit, 3 planes, 4 a byte for each pixel. A glyph's line
//! always starts on a byte.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{bda, frame};
use iced_x86::code_asm::*;

pub fn emit(b: &mut Builder) -> Emit {
    emit_addresses(b)?;
    emit_glyphs(b)?;
    emit_glyph_lines(b)?;
    emit_reading(b)?;
    emit_scroll(b)?;
    emit_pixels(b)?;
    emit_pixel_kinds(b)
}

fn emit_addresses(b: &mut Builder) -> Emit {
    x86!(b;
        // BL = kind of the current mode, ES = its memory. Keeps the rest.
        graphics_kind:
            push ax;
            push si;
            call @current_mode;
            mov bl, al;
            pop si;
            pop ax;
            ret;
        // DI = offset of pixel line AX in memory of kind BL. Changes AX.
        line_offset:
            push dx;
            cmp bl, 3;
            ja .linear;
            je .planar;
            xor di, di;
            shr ax, 1;
            jnc .even;
            mov di, 0x2000;
        .even:
            imul_3 ax, ax, 80;
            add di, ax;
            pop dx;
            ret;
        .planar:
            mul word_ptr(bda::VIDEO_COLUMNS);
            mov di, ax;
            pop dx;
            ret;
        .linear:
            imul_3 di, ax, 320;
            pop dx;
            ret;
        // AX = bytes that a character cell is wide in memory of kind BL.
        cell_bytes:
            mov ax, 1;
            cmp bl, 1;
            je .two;
            cmp bl, 4;
            jne .done;
            mov ax, 8;
            ret;
        .two:
            mov ax, 2;
        .done:
            ret;
    );
    Ok(())
}

fn emit_glyphs(b: &mut Builder) -> Emit {
    x86!(b;
        write_glyphs_service:
            call @draw_glyphs;
            jmp @video_return;
        // Draws CX copies of character AL from row DH, column DL of page BH in colour BL; bit 7 of BL XORs, except with
        // 256 colours. Keeps all registers.
        draw_glyphs:
            pushad;
            push es;
            push fs;
            mov ah, bl; // AH: colour
            call @graphics_kind;
            call @glyph_address;
            push ax;
            mov al, dh;
            mul byte_ptr(bda::CHARACTER_HEIGHT);
            mov bp, ax; // BP: pixel line
            pop ax;
            jcxz .done;
        .copy:
            push cx;
            push si;
            movzx cx, byte_ptr(bda::CHARACTER_HEIGHT);
            push bp;
        .line:
            push ax;
            mov ax, bp;
            call @line_offset;
            call @cell_bytes;
            mul dl;
            add di, ax;
            cmp bl, 3;
            jne .one_page;
            push dx;
            movzx ax, bh;
            and al, 7;
            mul word_ptr(bda::VIDEO_PAGE_SIZE);
            add di, ax;
            pop dx;
        .one_page:
            pop ax;
            mov al, byte_ptr(si).fs();
            call @glyph_line;
            inc si;
            inc bp;
            loop_ .line;
            pop bp;
            pop si;
            pop cx;
            inc dl;
            loop_ .copy;
        .done:
            pop fs;
            pop es;
            popad;
            ret;
        // FS:SI = glyph of character AL: int 43h, or for 80h and up in the CGA modes int 1Fh.
        glyph_address:
            push ax;
            xor si, si;
            mov fs, si;
            mov si, 4 * 0x43;
            cmp bl, 3;
            jae .chosen;
            test al, 0x80;
            jz .chosen;
            and al, 0x7f;
            mov si, 4 * 0x1f;
        .chosen:
            mul byte_ptr(bda::CHARACTER_HEIGHT);
            lfs si, dword_ptr(si).fs();
            add si, ax;
            pop ax;
            ret;
    );
    Ok(())
}

fn emit_glyph_lines(b: &mut Builder) -> Emit {
    x86!(b;
        // Draws the eight pixels of AL in colour AH at ES:DI, memory of kind BL. Keeps all registers but DI.
        glyph_line:
            push ax;
            push cx;
            push dx;
            cmp bl, 3;
            je .planar;
            ja .linear;
            cmp bl, 2;
            je .one_bit;
            // Each bit becomes two: the colour where it is set.
            mov cx, 8;
        .pair:
            shl dx, 2;
            shl al, 1;
            jnc .pair_clear;
            mov ch, ah;
            and ch, 3;
            or dl, ch;
            mov ch, 0;
        .pair_clear:
            loop_ .pair;
            xchg dl, dh;
            test ah, 0x80;
            jnz .pair_xor;
            mov word_ptr(di).es(), dx;
            jmp .done;
        .pair_xor:
            xor word_ptr(di).es(), dx;
            jmp .done;
        .one_bit:
            test ah, 1;
            jnz .coloured;
            mov al, 0;
        .coloured:
            test ah, 0x80;
            jnz .bit_xor;
            mov byte_ptr(di).es(), al;
            jmp .done;
        .bit_xor:
            xor byte_ptr(di).es(), al;
            jmp .done;
        .linear:
            mov cx, 8;
        .pixel:
            shl al, 1;
            mov dl, 0;
            jnc .background;
            mov dl, ah;
        .background:
            mov byte_ptr(di).es(), dl;
            inc di;
            loop_ .pixel;
            jmp .done;
        .planar:
            mov cx, ax; // CL bits, CH colour
            mov dx, 0x3c4;
            mov ax, 0x0f02; // all planes
            out dx, ax;
            mov dx, 0x3ce;
            mov ax, 0x0f01; // set/reset on all planes
            out dx, ax;
            mov ax, 0x1803; // XOR with the latches
            test ch, 0x80;
            jnz .function;
            mov ax, 0x0000;
            out dx, ax;
            mov ax, 0xff08;
            out dx, ax;
            mov byte_ptr(di).es(), al; // background
            mov ax, 0x0003;
        .function:
            out dx, ax;
            mov ah, ch;
            and ah, 0x0f;
            mov al, 0x00;
            out dx, ax;
            mov ah, cl;
            mov al, 0x08; // only the glyph's pixels
            out dx, ax;
            mov al, byte_ptr(di).es();
            mov byte_ptr(di).es(), al;
            call @planar_defaults;
        .done:
            pop dx;
            pop cx;
            pop ax;
            ret;
        // Graphics controller as a mode set leaves it. Changes AX, DX.
        planar_defaults:
            mov dx, 0x3ce;
            mov ax, 0x0000;
            out dx, ax;
            mov ax, 0x0001;
            out dx, ax;
            mov ax, 0x0003;
            out dx, ax;
            mov ax, 0x0005;
            out dx, ax;
            mov ax, 0xff08;
            out dx, ax;
            ret;
    );
    Ok(())
}

fn emit_reading(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = the character whose glyph stands at the cursor of page BH, the lowest if several look alike, 0 if none.
        // Every colour but 0 counts as drawn.
        read_glyph_service:
            call @page_cursor;
            call @graphics_kind;
            mov al, dh;
            mul byte_ptr(bda::CHARACTER_HEIGHT);
            mov si, ax; // pixel line
            sub sp, 32;
            mov bp, sp; // the lines that stand there
            movzx cx, byte_ptr(bda::CHARACTER_HEIGHT);
            cmp cx, 32;
            jbe .line;
            mov cx, 32;
        .line:
            push cx;
            mov ax, si;
            call @line_offset;
            call @cell_bytes;
            mul dl;
            add di, ax;
            cmp bl, 3;
            jne .one_page;
            push dx;
            movzx ax, bh;
            and al, 7;
            mul word_ptr(bda::VIDEO_PAGE_SIZE);
            add di, ax;
            pop dx;
        .one_page:
            call @read_glyph_line;
            mov byte_ptr(bp), al;
            inc bp;
            inc si;
            pop cx;
            loop_ .line;
            mov bp, sp;
            mov al, 0;
        .candidate:
            call @glyph_address;
            mov di, bp;
            movzx cx, byte_ptr(bda::CHARACTER_HEIGHT);
        .compare:
            mov dl, byte_ptr(di).ss();
            cmp dl, byte_ptr(si).fs();
            jne .next;
            inc si;
            inc di;
            loop_ .compare;
            jmp .found;
        .next:
            inc al;
            jnz .candidate;
        .found:
            add sp, 32;
            mov bp, sp;
            mov byte_ptr(bp + frame::AL), al;
            jmp @video_return;
        // AL = a bit for each of eight pixels at ES:DI, memory of kind BL. Changes AH, CX, DI.
        read_glyph_line:
            push dx;
            cmp bl, 3;
            je .planar;
            ja .linear;
            mov al, byte_ptr(di).es();
            cmp bl, 2;
            je .done;
            // Two bits become one.
            mov ah, al;
            mov al, byte_ptr(di + 1).es();
            mov cx, 8;
        .pair:
            add dl, dl;
            test ah, 0xc0;
            jz .pair_clear;
            inc dl;
        .pair_clear:
            shl ax, 2;
            loop_ .pair;
            mov al, dl;
            jmp .done;
        .linear:
            mov cx, 8;
        .pixel:
            cmp byte_ptr(di).es(), 1; // carry for colour 0
            cmc;
            rcl al, 1;
            inc di;
            loop_ .pixel;
            jmp .done;
        .planar:
            mov dx, 0x3ce;
            mov ax, 0x0304;
            mov ch, 0;
        .plane:
            out dx, ax;
            or ch, byte_ptr(di).es();
            dec ah;
            jns .plane;
            mov al, ch;
        .done:
            pop dx;
            ret;
    );
    Ok(())
}

/// Locals of a scroll, from SS:BP.
const WIDTH: i32 = 0;
const INDENT: i32 = 2;
const LINE: i32 = 4;
const STEP: i32 = 6;
const MOVES: i32 = 8;
const DISTANCE: i32 = 10;
const FILL: i32 = 12;
const LOCALS: i32 = 14;

fn emit_scroll(b: &mut Builder) -> Emit {
    x86!(b;
        // Window CH, CL to DH, DL by AL rows, up for AH = 6, fill BH, kind BL, memory ES. Changes most registers.
        scroll_graphics:
            push bp;
            sub sp, LOCALS;
            mov bp, sp;
            push ax;
            call @cell_bytes;
            mov si, ax;
            movzx ax, cl;
            imul_2 ax, si;
            mov word_ptr(bp + INDENT), ax;
            mov al, dl;
            sub al, cl;
            inc al;
            mov ah, 0;
            imul_2 ax, si;
            mov word_ptr(bp + WIDTH), ax;
            pop ax;
            push ax;
            mul byte_ptr(bda::CHARACTER_HEIGHT);
            mov word_ptr(bp + DISTANCE), ax;
            mov word_ptr(bp + FILL), ax;
            mov al, dh;
            sub al, ch;
            inc al;
            mul byte_ptr(bda::CHARACTER_HEIGHT);
            mov si, ax; // lines in the window
            sub ax, word_ptr(bp + DISTANCE);
            mov word_ptr(bp + MOVES), ax;
            mov al, ch;
            mul byte_ptr(bda::CHARACTER_HEIGHT);
            mov word_ptr(bp + LINE), ax;
            mov word_ptr(bp + STEP), 1;
            pop ax;
            cmp ah, 7;
            jne .up;
            add word_ptr(bp + LINE), si;
            dec word_ptr(bp + LINE);
            neg word_ptr(bp + STEP);
            neg word_ptr(bp + DISTANCE);
        .up:
            cmp bl, 3;
            jne .move;
            mov dx, 0x3c4;
            mov ax, 0x0f02;
            out dx, ax;
            mov dx, 0x3ce;
            mov ax, 0x0105; // write mode 1 copies the latches
            out dx, ax;
        .move:
            cmp word_ptr(bp + MOVES), 0;
            je .fill;
            mov ax, word_ptr(bp + LINE);
            add ax, word_ptr(bp + DISTANCE);
            call .offset;
            mov si, di;
            mov ax, word_ptr(bp + LINE);
            call .offset;
            mov cx, word_ptr(bp + WIDTH);
            push ds;
            push es;
            pop ds;
            rep movsb;
            pop ds;
            mov ax, word_ptr(bp + STEP);
            add word_ptr(bp + LINE), ax;
            dec word_ptr(bp + MOVES);
            jmp .move;
        .fill:
            cmp bl, 3;
            jne .fill_line;
            call @planar_defaults;
            mov ax, 0x0f01;
            out dx, ax;
            mov ah, bh;
            mov al, 0;
            out dx, ax;
        .fill_line:
            cmp word_ptr(bp + FILL), 0;
            je .done;
            mov ax, word_ptr(bp + LINE);
            call .offset;
            mov cx, word_ptr(bp + WIDTH);
            mov al, bh;
            rep stosb;
            mov ax, word_ptr(bp + STEP);
            add word_ptr(bp + LINE), ax;
            dec word_ptr(bp + FILL);
            jmp .fill_line;
        .done:
            cmp bl, 3;
            jne .leave;
            call @planar_defaults;
        .leave:
            add sp, LOCALS;
            pop bp;
            ret;
        .offset:
            call @line_offset;
            add di, word_ptr(bp + INDENT);
            cmp bl, 3;
            jne .first_page;
            add di, word_ptr(bda::VIDEO_PAGE_START);
        .first_page:
            ret;
    );
    Ok(())
}

fn emit_pixels(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = colour, BH = page, CX = column, DX = row. Text modes have no pixels.
        write_pixel_service:
            call @pixel_address;
            jz @video_return;
            mov ah, byte_ptr(bp + frame::AL);
            cmp bl, 4;
            je .byte;
            cmp bl, 3;
            je .planar;
            // AL = mask at the pixel, CL = its shift.
            mov ch, ah;
            and ah, 3;
            cmp bl, 1;
            je .colour;
            and ah, 1;
        .colour:
            shl ah, cl;
            test ch, 0x80;
            jnz .xor;
            not al;
            and byte_ptr(di).es(), al;
            or byte_ptr(di).es(), ah;
            jmp @video_return;
        .xor:
            xor byte_ptr(di).es(), ah;
            jmp @video_return;
        .byte:
            mov byte_ptr(di).es(), ah;
            jmp @video_return;
        .planar:
            mov cl, al; // CL: mask
            mov ch, ah; // CH: colour
            mov dx, 0x3c4;
            mov ax, 0x0f02;
            out dx, ax;
            mov dx, 0x3ce;
            mov ax, 0x0f01;
            out dx, ax;
            mov ah, ch;
            and ah, 0x0f;
            mov al, 0;
            out dx, ax;
            mov ah, cl;
            mov al, 8;
            out dx, ax;
            mov ax, 0x0003;
            test ch, 0x80;
            jz .function;
            mov ah, 0x18;
        .function:
            out dx, ax;
            mov al, byte_ptr(di).es();
            mov byte_ptr(di).es(), al;
            call @planar_defaults;
            jmp @video_return;
        read_pixel_service:
            call @pixel_address;
            jz @video_return;
            cmp bl, 3;
            jb .packed;
            je .planar;
            mov al, byte_ptr(di).es();
            jmp .value;
        .packed:
            and al, byte_ptr(di).es();
            shr al, cl;
            jmp .value;
        .planar:
            // Plane by plane through the read map select register, highest first.
            mov cl, al;
            mov bx, 0x0300; // BH: plane, BL: colour
            mov dx, 0x3ce;
        .plane:
            mov ah, bh;
            mov al, 4;
            out dx, ax;
            add bl, bl;
            test byte_ptr(di).es(), cl;
            jz .clear;
            inc bx;
        .clear:
            dec bh;
            jns .plane;
            mov al, bl;
        .value:
            mov byte_ptr(bp + frame::AL), al;
            jmp @video_return;
    );
    Ok(())
}

fn emit_pixel_kinds(b: &mut Builder) -> Emit {
    x86!(b;
        // ES:DI = byte of pixel CX, DX on page BH; BL = kind, AL = mask in the byte, CL = shift. ZF set in text modes.
        pixel_address:
            call @graphics_kind;
            or bl, bl;
            jz .done;
            mov ax, dx;
            call @line_offset;
            cmp bl, 4;
            je .byte;
            cmp bl, 1;
            je .pair;
            mov ax, cx;
            shr ax, 3;
            add di, ax;
            not cl;
            and cl, 7;
            mov al, 1;
            shl al, cl;
            cmp bl, 3;
            jne .found;
            push ax;
            movzx ax, bh;
            and al, 7;
            mul word_ptr(bda::VIDEO_PAGE_SIZE);
            add di, ax;
            pop ax;
            jmp .found;
        .pair:
            mov ax, cx;
            shr ax, 2;
            add di, ax;
            not cl;
            and cl, 3;
            add cl, cl;
            mov al, 3;
            shl al, cl;
            jmp .found;
        .byte:
            add di, cx;
        .found:
            or bl, bl;
        .done:
            ret;
    );
    Ok(())
}
