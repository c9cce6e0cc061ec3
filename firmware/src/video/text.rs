//! Cursor, pages, scrolling and reading characters: int 10h AH=01h to 08h.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{bda, frame};
use iced_x86::code_asm::*;

pub fn emit(b: &mut Builder) -> Emit {
    emit_cursor(b)?;
    emit_cells(b)?;
    emit_scroll(b)
}

fn emit_cursor(b: &mut Builder) -> Emit {
    x86!(b;
        // CH start and CL end line. Shapes for eight-line characters are stretched to the height in use unless cursor
        // emulation is off.
        cursor_shape_service:
            mov word_ptr(bda::CURSOR_SHAPE), cx;
            mov ax, cx;
            test byte_ptr(bda::VIDEO_CONTROL), 1;
            jnz .program;
            test ah, 0x20; // switched off
            jnz .program;
            mov bl, byte_ptr(bda::CHARACTER_HEIGHT);
            cmp bl, 8;
            jbe .program;
            cmp al, 8;
            jae .program;
            cmp ah, 8;
            jae .program;
            mov dl, al;
            sub dl, ah; // DL: lines less one
            inc al;
            mov cl, ah; // CL: start
            mul bl;
            shr ax, 3;
            dec al;
            mov bh, al; // BH: end
            mov ah, al;
            dec ah;
            cmp dl, 1;
            je .stretched;
            mov al, cl;
            inc al;
            mul bl;
            shr ax, 3;
            dec al;
            mov ah, al;
        .stretched:
            mov al, bh;
        .program:
            mov bx, ax;
            mov dx, word_ptr(bda::CRTC_PORT);
            mov al, 0x0a;
            mov ah, bh;
            out dx, ax;
            mov al, 0x0b;
            mov ah, bl;
            out dx, ax;
            jmp @video_return;
        cursor_set_service:
            mov bl, bh;
            call @set_cursor;
            jmp @video_return;
        // Moves the cursor of page BL to row DH, column DL. Keeps all registers.
        set_cursor:
            pusha;
            and bx, 7;
            mov al, bl;
            add bx, bx;
            mov word_ptr(bx + bda::CURSOR_POSITIONS), dx;
            cmp al, byte_ptr(bda::VIDEO_PAGE);
            jne .hidden;
            call @program_cursor;
        .hidden:
            popa;
            ret;
        // CRTC cursor location for the active page. Changes AX, BX, CX, DX.
        program_cursor:
            movzx bx, byte_ptr(bda::VIDEO_PAGE);
            add bx, bx;
            mov cx, word_ptr(bx + bda::CURSOR_POSITIONS);
            mov al, byte_ptr(bda::VIDEO_COLUMNS);
            mul ch;
            mov ch, 0;
            add cx, ax;
            mov ax, word_ptr(bda::VIDEO_PAGE_START);
            shr ax, 1;
            add cx, ax;
            mov dx, word_ptr(bda::CRTC_PORT);
            mov al, 0x0e;
            mov ah, ch;
            out dx, ax;
            mov al, 0x0f;
            mov ah, cl;
            out dx, ax;
            ret;
        cursor_get_service:
            movzx bx, bh;
            and bl, 7;
            add bx, bx;
            mov ax, word_ptr(bx + bda::CURSOR_POSITIONS);
            mov word_ptr(bp + frame::DX), ax;
            mov ax, word_ptr(bda::CURSOR_SHAPE);
            mov word_ptr(bp + frame::CX), ax;
            jmp @video_return;
        light_pen_service: // there is none
            mov byte_ptr(bp + frame::AH), 0;
            jmp @video_return;
        page_service:
            cmp al, 7;
            ja @video_return;
            mov byte_ptr(bda::VIDEO_PAGE), al;
            movzx ax, al;
            mul word_ptr(bda::VIDEO_PAGE_SIZE);
            mov word_ptr(bda::VIDEO_PAGE_START), ax;
            mov cx, ax;
            call @current_mode;
            cmp al, 3;
            jae .bytes;
            shr cx, 1; // the CRTC counts words
        .bytes:
            mov dx, word_ptr(bda::CRTC_PORT);
            mov al, 0x0c;
            mov ah, ch;
            out dx, ax;
            mov al, 0x0d;
            mov ah, cl;
            out dx, ax;
            call @program_cursor;
            jmp @video_return;
    );
    Ok(())
}

fn emit_cells(b: &mut Builder) -> Emit {
    x86!(b;
        // DX = cursor of page BH.
        page_cursor:
            push bx;
            movzx bx, bh;
            and bl, 7;
            add bx, bx;
            mov dx, word_ptr(bx + bda::CURSOR_POSITIONS);
            pop bx;
            ret;
        // DI = offset of the cell at row DH, column DL of page BH in a text mode. Keeps the other registers.
        cell_offset:
            push ax;
            push dx;
            mov al, byte_ptr(bda::VIDEO_COLUMNS);
            mul dh;
            mov dh, 0;
            add ax, dx;
            add ax, ax;
            mov di, ax;
            movzx ax, bh;
            and al, 7;
            mul word_ptr(bda::VIDEO_PAGE_SIZE);
            add di, ax;
            pop dx;
            pop ax;
            ret;
        read_character_service:
            call @current_mode;
            or al, al;
            jnz @read_glyph_service;
            call @page_cursor;
            call @cell_offset;
            mov ax, word_ptr(di).es();
            mov word_ptr(bp + frame::AX), ax;
            jmp @video_return;
    );
    Ok(())
}

fn emit_scroll(b: &mut Builder) -> Emit {
    x86!(b;
        scroll_up_service:
            mov ah, 6;
            call @scroll;
            jmp @video_return;
        scroll_down_service:
            mov ah, 7;
            call @scroll;
            jmp @video_return;
        // Scrolls the window CH, CL to DH, DL of the active page by AL rows, up for AH = 6, down for 7, and fills with
        // BH. AL = 0 clears the window. Keeps all registers but AX.
        scroll:
            pusha;
            push es;
            // The window is cut to the screen.
            mov bl, byte_ptr(bda::VIDEO_LAST_ROW);
            cmp dh, bl;
            jbe .rows_fit;
            mov dh, bl;
        .rows_fit:
            mov bl, byte_ptr(bda::VIDEO_COLUMNS);
            dec bl;
            cmp dl, bl;
            jbe .columns_fit;
            mov dl, bl;
        .columns_fit:
            cmp ch, dh;
            ja .done;
            cmp cl, dl;
            ja .done;
            mov bl, dh;
            sub bl, ch;
            inc bl; // rows in the window
            or al, al;
            jz .all;
            cmp al, bl;
            jbe .counted;
        .all:
            mov al, bl;
        .counted:
            push ax;
            call @current_mode;
            mov bl, al;
            pop ax;
            or bl, bl;
            jnz .graphics;
            call @scroll_text;
            jmp .done;
        .graphics:
            call @scroll_graphics;
        .done:
            pop es;
            popa;
            ret;
        // As above with a window and a count that fit, ES = video memory.
        scroll_text:
            push bp;
            push ds;
            // BP = bytes in a line, SI = distance to the source, BL = columns, DH = rows, AL = rows that move.
            movzx bp, byte_ptr(bda::VIDEO_COLUMNS);
            add bp, bp;
            push dx;
            push bx;
            push ax;
            mov bh, byte_ptr(bda::VIDEO_PAGE);
            cmp ah, 7;
            je .from_below;
            mov dx, cx;
        .from_below:
            mov dl, cl;
            call @cell_offset;
            pop ax;
            pop bx;
            pop dx;
            mov bl, dl;
            sub bl, cl;
            inc bl;
            sub dh, ch;
            inc dh;
            push ax;
            push dx;
            movzx ax, al;
            mul bp;
            mov si, ax;
            pop dx;
            pop ax;
            cmp ah, 7;
            jne .directed;
            neg si;
            neg bp;
        .directed:
            push es;
            pop ds;
            sub dh, al; // rows to move; AL rows to fill
            mov ah, bh;
            jz .fill;
        .move:
            push si;
            push di;
            add si, di;
            movzx cx, bl;
            rep movsw;
            pop di;
            pop si;
            add di, bp;
            dec dh;
            jnz .move;
        .fill:
            mov dh, al;
            mov al, b' ' as i32;
        .fill_row:
            push di;
            movzx cx, bl;
            rep stosw;
            pop di;
            add di, bp;
            dec dh;
            jnz .fill_row;
            pop ds;
            pop bp;
            ret;
    );
    Ok(())
}
