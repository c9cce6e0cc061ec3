//! Writing characters: int 10h AH=09h, 0Ah, 0Eh and 13h.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{bda, frame};
use iced_x86::code_asm::*;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        write_character_service:
            call @page_cursor;
            call @current_mode;
            or al, al;
            mov al, byte_ptr(bp + frame::AL);
            jnz @write_glyphs_service;
            mov ah, bl;
            call @cell_offset;
            rep stosw;
            jmp @video_return;
        write_only_character_service:
            call @page_cursor;
            call @current_mode;
            or al, al;
            mov al, byte_ptr(bp + frame::AL);
            jnz @write_glyphs_service;
            call @cell_offset;
            jcxz .done;
        .next:
            stosb;
            inc di;
            loop_ .next;
        .done:
            jmp @video_return;
        teletype_service:
            // The page is the active one; BH is ignored as newer BIOSes do.
            mov bh, byte_ptr(bda::VIDEO_PAGE);
            mov ah, 0;
            call @page_cursor;
            call @put;
            push bx;
            mov bl, bh;
            call @set_cursor;
            pop bx;
            jmp @video_return;
        // Writes AL at row DH, column DL of page BH and moves DX on: BEL, BS, LF and CR act, the last row scrolls.
        // AH = 0 keeps the attribute there and takes BL as the colour in graphics modes; AH = 1 writes attribute BL.
        // Keeps all registers but AX and DX.
        put:
            cmp al, 13;
            je .carriage_return;
            cmp al, 10;
            je .line_feed;
            cmp al, 8;
            je .backspace;
            cmp al, 7;
            je @beep;
            push es;
            push di;
            push si;
            push ax;
            call @current_mode;
            or al, al;
            pop ax;
            jnz .glyph;
            call @cell_offset;
            or ah, ah;
            jz .character;
            mov byte_ptr(di + 1).es(), bl;
        .character:
            mov byte_ptr(di).es(), al;
            jmp .written;
        .glyph:
            push cx;
            mov cx, 1;
            call @draw_glyphs;
            pop cx;
        .written:
            pop si;
            pop di;
            pop es;
            inc dl;
            cmp dl, byte_ptr(bda::VIDEO_COLUMNS);
            jb .done;
            mov dl, 0;
        .line_feed:
            cmp dh, byte_ptr(bda::VIDEO_LAST_ROW);
            jae .scroll;
            inc dh;
        .done:
            ret;
        .carriage_return:
            mov dl, 0;
            ret;
        .backspace:
            or dl, dl;
            jz .done;
            dec dl;
            ret;
        .scroll:
            // The new row gets the attribute at the cursor; graphics modes get black.
            push bx;
            push cx;
            push dx;
            push es;
            push di;
            push si;
            call @current_mode;
            or al, al;
            mov al, 0;
            jnz .fill;
            call @cell_offset;
            mov al, byte_ptr(di + 1).es();
        .fill:
            mov bh, al;
            xor cx, cx;
            mov dh, byte_ptr(bda::VIDEO_LAST_ROW);
            mov dl, byte_ptr(bda::VIDEO_COLUMNS);
            dec dl;
            mov ax, 0x0601;
            call @scroll;
            pop si;
            pop di;
            pop es;
            pop dx;
            pop cx;
            pop bx;
            ret;
        // The bell: about 896 Hz for an eighth of a second, timed by the tick count.
        beep:
            push bx;
            pushf;
            sti;
            mov al, 0xb6;
            out 0x43, al;
            mov al, 0x33;
            out 0x42, al;
            mov al, 0x05;
            out 0x42, al;
            in_ al, 0x61;
            push ax;
            or al, 3;
            out 0x61, al;
            mov bx, word_ptr(bda::TICKS);
        .wait:
            hlt;
            mov ax, word_ptr(bda::TICKS);
            sub ax, bx;
            cmp ax, 2;
            jb .wait;
            pop ax;
            out 0x61, al;
            popf;
            pop bx;
            ret;
        // AH=13h: string ES:BP of CX characters at DX; AL bit 0 moves the cursor, bit 1 has attributes between.
        write_string_service:
            movzx ecx, cx;
            jecxz .none;
            mov si, word_ptr(bp + frame::BP);
            mov es, word_ptr(bp + frame::ES);
            cmp dh, 0xff;
            jne .placed;
            call @page_cursor;
        .placed:
            push bx;
        .next:
            mov al, byte_ptr(si).es();
            inc si;
            test byte_ptr(bp + frame::AL), 2;
            jz .same_attribute;
            mov bl, byte_ptr(si).es();
            inc si;
        .same_attribute:
            mov ah, 1;
            call @put;
            loop_ .next;
            pop bx;
            test byte_ptr(bp + frame::AL), 1;
            jz .none;
            mov bl, bh;
            call @set_cursor;
        .none:
            jmp @video_return;
    );
    Ok(())
}
