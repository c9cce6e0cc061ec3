//! The character generators: int 10h AH=11h, and the glyphs themselves.
//!
//! Text modes take their glyphs from plane 2, 32 bytes for each character in eight blocks.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{bda, frame};
use iced_x86::code_asm::*;

/// 8x8 glyphs of code page 437.
pub const FONT_8X8: &[u8; 2048] = include_bytes!("../../fonts/cp437-8x8.bin");
/// 8x16 glyphs of code page 437.
const FONT_8X16: &[u8; 4096] = include_bytes!("../../fonts/cp437-8x16.bin");

/// The font with glyphs of `height` lines.
pub fn font(height: usize) -> Option<Vec<u8>> {
    match height {
        8 => Some(FONT_8X8.to_vec()),
        14 => Some(FONT_8X16.chunks_exact(16).flat_map(|glyph| &glyph[1..15]).copied().collect()),
        16 => Some(FONT_8X16.to_vec()),
        _ => None,
    }
}

pub fn emit(b: &mut Builder) -> Emit {
    emit_loading(b)?;
    emit_service(b)?;
    emit_height(b)?;
    x86!(b; font_8x16:);
    b.db(FONT_8X16)?;
    x86!(b; font_8x8:);
    b.db(FONT_8X8)?;
    // The 8x14 font is the 8x16 one without its first and last line.
    x86!(b; font_8x14:);
    for glyph in FONT_8X16.chunks_exact(16) {
        b.db(&glyph[1..15])?;
    }
    Ok(())
}

fn emit_loading(b: &mut Builder) -> Emit {
    x86!(b;
        // ROM fonts into block BL; this one by the height AL.
        load_height_font:
            cmp al, 14;
            je @load_font_8x14;
            jb @load_font_8x8;
        load_font_8x16:
            mov si, b.at("font_8x16");
            mov bh, 16;
            jmp @load_rom_font;
        load_font_8x14:
            mov si, b.at("font_8x14");
            mov bh, 14;
            jmp @load_rom_font;
        load_font_8x8:
            mov si, b.at("font_8x8");
            mov bh, 8;
        load_rom_font:
            push cs;
            pop fs;
            xor dx, dx;
            mov cx, 256;
        // CX glyphs of BH bytes from FS:SI to characters DX and on of block BL. Keeps BX.
        load_font:
            push es;
            push bx;
            jcxz .done;
            push dx;
            push cx;
            mov cx, 4;
            push si;
            mov si, b.at("font_access");
            call .registers;
            pop si;
            pop cx;
            pop dx;
            push 0xa000;
            pop es;
            // Block n starts at (n & 3) * 16 KiB + (n >> 2) * 8 KiB.
            movzx di, bl;
            and di, 3;
            shl di, 14;
            test bl, 4;
            jz .low;
            add di, 0x2000;
        .low:
            shl dx, 5;
            add di, dx;
        .glyph:
            push cx;
            movzx cx, bh;
            mov ax, 32;
            sub ax, cx;
        .line:
            mov dl, byte_ptr(si).fs();
            mov byte_ptr(di).es(), dl;
            inc si;
            inc di;
            loop_ .line;
            add di, ax;
            pop cx;
            loop_ .glyph;
            mov si, b.at("font_access_done");
            call .registers;
            // The end of the graphics controller's memory map depends on the adapter being monochrome.
            mov dx, 0x3ce;
            mov ax, 0x0e06;
            cmp byte_ptr(bda::VIDEO_MODE), 7;
            jne .colour;
            mov ah, 0x0a;
        .colour:
            out dx, ax;
        .done:
            pop bx;
            pop es;
            ret;
        // Two sequencer and three graphics controller registers from CS:SI.
        .registers:
            mov dx, 0x3c4;
            cs lodsw;
            out dx, ax;
            cs lodsw;
            out dx, ax;
            mov dx, 0x3ce;
            cs lodsw;
            out dx, ax;
            cs lodsw;
            out dx, ax;
            cs lodsw;
            out dx, ax;
            ret;
        font_access: // plane 2, sequential; reads from plane 2, no odd/even, 64 KiB at A0000h
            dw &[0x0402, 0x0704, 0x0204, 0x0005, 0x0406];
        font_access_done:
            dw &[0x0302, 0x0304, 0x0004, 0x1005, 0x0e06];
        // int 43h: the font of the current mode's character height.
        set_font_vector:
            push es;
            push si;
            xor ax, ax;
            mov es, ax;
            mov si, b.at("font_8x16");
            mov al, byte_ptr(bda::CHARACTER_HEIGHT);
            cmp al, 16;
            je .chosen;
            mov si, b.at("font_8x14");
            cmp al, 14;
            je .chosen;
            mov si, b.at("font_8x8");
        .chosen:
            mov word_ptr(4 * 0x43).es(), si;
            mov word_ptr(4 * 0x43 + 2).es(), cs;
            pop si;
            pop es;
            ret;
    );
    Ok(())
}

fn emit_service(b: &mut Builder) -> Emit {
    x86!(b;
        font_service:
            cmp al, 0x30;
            je .information;
            cmp al, 0x20;
            jae .graphics;
            cmp al, 0x03;
            je .block;
            mov ah, al;
            and ah, 0x0f;
            cmp ah, 4;
            ja @video_return;
            cmp byte_ptr(bda::VIDEO_LAST_ROW), 0;
            jz @video_return;
            push ax;
            or ah, ah;
            jz .user;
            cmp ah, 1;
            je .rom_14;
            cmp ah, 2;
            je .rom_8;
            cmp ah, 4;
            jne .unknown;
            call @load_font_8x16;
            jmp .loaded;
        .rom_14:
            call @load_font_8x14;
            jmp .loaded;
        .rom_8:
            call @load_font_8x8;
            jmp .loaded;
        .user:
            // ES:BP = glyphs, CX count, DX first, BH bytes for each, BL block.
            mov fs, word_ptr(bp + frame::ES);
            mov si, word_ptr(bp + frame::BP);
            call @load_font;
        .loaded:
            pop ax;
            test al, 0x10; // 11h to 14h also change the screen's geometry
            jz @video_return;
            call @set_character_height;
            jmp @video_return;
        .unknown:
            pop ax;
            jmp @video_return;
        .block:
            mov dx, 0x3c4;
            mov al, 3;
            mov ah, bl;
            out dx, ax;
            jmp @video_return;
        .graphics:
            call @graphics_font;
            jmp @video_return;
        .information:
            mov al, byte_ptr(bda::CHARACTER_HEIGHT);
            mov ah, 0;
            mov word_ptr(bp + frame::CX), ax;
            mov al, byte_ptr(bda::VIDEO_LAST_ROW);
            mov byte_ptr(bp + frame::DL), al;
            mov word_ptr(bp + frame::ES), cs;
            cmp bh, 1;
            jbe .vector;
            cmp bh, 7;
            ja @video_return;
            movzx si, bh;
            add si, si;
            mov ax, word_ptr(si + (b.at("font_pointers") - 4)).cs();
            mov word_ptr(bp + frame::BP), ax;
            jmp @video_return;
        .vector:
            xor si, si;
            mov es, si;
            mov si, 4 * 0x1f;
            or bh, bh;
            jz .load;
            mov si, 4 * 0x43;
        .load:
            les si, dword_ptr(si).es();
            mov word_ptr(bp + frame::ES), es;
            mov word_ptr(bp + frame::BP), si;
            jmp @video_return;
        font_pointers:
    );
    // BH = 2 to 7: 8x14, 8x8, upper half of 8x8, 9x14 supplement, 8x16, 9x16 supplement (both empty).
    b.addresses(&["font_8x14", "font_8x8"])?;
    let upper = (b.at("font_8x8") + 1024) as u16;
    b.db(&upper.to_le_bytes())?;
    b.addresses(&["no_glyphs", "font_8x16", "no_glyphs"])?;
    x86!(b; no_glyphs:);
    b.db(&[0])
}

fn emit_height(b: &mut Builder) -> Emit {
    x86!(b;
        // Fonts for the graphics modes: AL = 20h int 1Fh, 21h int 43h, 22h to 24h ROM fonts. BL: rows by code 1 to 3 =
        // 14, 25, 43, or DL for 0.
        graphics_font:
            xor si, si;
            mov fs, si;
            mov si, word_ptr(bp + frame::BP);
            mov es, word_ptr(bp + frame::ES);
            cmp al, 0x20;
            je .upper;
            cmp al, 0x21;
            je .user;
            push cs;
            pop es;
            mov cx, 14;
            mov si, b.at("font_8x14");
            cmp al, 0x22;
            je .user;
            mov cx, 8;
            mov si, b.at("font_8x8");
            cmp al, 0x23;
            je .user;
            mov cx, 16;
            mov si, b.at("font_8x16");
            cmp al, 0x24;
            je .user;
            ret;
        .upper:
            mov word_ptr(4 * 0x1f).fs(), si;
            mov word_ptr(4 * 0x1f + 2).fs(), es;
            ret;
        .user:
            mov word_ptr(4 * 0x43).fs(), si;
            mov word_ptr(4 * 0x43 + 2).fs(), es;
            mov word_ptr(bda::CHARACTER_HEIGHT), cx;
            mov al, 13;
            cmp bl, 1;
            je .rows;
            mov al, 24;
            cmp bl, 2;
            je .rows;
            mov al, 42;
            cmp bl, 3;
            je .rows;
            mov al, dl;
            dec al;
        .rows:
            mov byte_ptr(bda::VIDEO_LAST_ROW), al;
            ret;
        // Text mode with characters of BH lines: CRTC cell height, cursor, displayed lines, and the BIOS data area.
        set_character_height:
            movzx bx, bh;
            mov word_ptr(bda::CHARACTER_HEIGHT), bx;
            mov dx, word_ptr(bda::CRTC_PORT);
            mov al, 0x09;
            out dx, al;
            inc dx;
            in_ al, dx;
            and al, 0xe0;
            movzx si, al; // bit 7: each line is shown twice
            mov ah, bl;
            dec ah;
            or al, ah;
            out dx, al;
            dec dx;
            mov ah, bl;
            sub ah, 2;
            mov ch, ah;
            mov al, 0x0a;
            out dx, ax;
            inc ah;
            mov cl, ah;
            mov al, 0x0b;
            out dx, ax;
            mov word_ptr(bda::CURSOR_SHAPE), cx;
            // Lines: vertical display end with its bits 8 and 9 in the overflow register.
            mov al, 0x07;
            out dx, al;
            inc dx;
            in_ al, dx;
            mov ch, 0;
            test al, 0x02;
            jz .no_bit_8;
            or ch, 1;
        .no_bit_8:
            test al, 0x40;
            jz .no_bit_9;
            or ch, 2;
        .no_bit_9:
            dec dx;
            mov al, 0x12;
            out dx, al;
            inc dx;
            in_ al, dx;
            dec dx;
            mov cl, al;
            inc cx;
            test si, 0x80;
            jz .single;
            shr cx, 1;
        .single:
            mov ax, cx;
            push dx;
            xor dx, dx;
            div bx;
            pop dx;
            mov cx, ax; // rows
            dec al;
            mov byte_ptr(bda::VIDEO_LAST_ROW), al;
            // Whole rows only.
            mov ax, cx;
            imul_2 ax, bx;
            test si, 0x80;
            jz .shown_once;
            add ax, ax;
        .shown_once:
            dec ax;
            mov ah, al;
            mov al, 0x12;
            out dx, ax;
            mov ax, word_ptr(bda::VIDEO_COLUMNS);
            imul_2 ax, cx;
            add ax, ax;
            add ax, 0xff;
            mov al, 0;
            mov word_ptr(bda::VIDEO_PAGE_SIZE), ax;
            ret;
    );
    Ok(())
}
