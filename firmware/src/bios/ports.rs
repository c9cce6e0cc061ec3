//! Serial ports (int 14h), printers (int 17h), print screen (int 05h).

use crate::asm::{Builder, Emit, x86};
use crate::layout::{BDA, bda, frame};
use iced_x86::code_asm::*;

use super::frames::enter;

pub fn emit(b: &mut Builder) -> Emit {
    emit_detection(b)?;
    emit_serial(b)?;
    emit_printer(b)?;
    emit_print_screen(b)
}

fn emit_detection(b: &mut Builder) -> Emit {
    x86!(b;
        // A 16550's IER keeps its low four bits; a printer port's data register reads back.
        ports_init:
            mov si, b.at("serial_bases");
            mov di, bda::COM_PORTS;
            xor bx, bx;
            mov cx, 4;
        .serial:
            cs lodsw;
            mov dx, ax;
            inc dx;
            mov al, 0x02;
            out dx, al;
            in_ al, dx;
            cmp al, 0x02;
            jne .no_serial;
            mov al, 0;
            out dx, al;
            dec dx;
            mov word_ptr(di), dx;
            add di, 2;
            add bx, 0x0200;
        .no_serial:
            loop_ .serial;
            mov di, bda::LPT_PORTS;
            mov cx, 3;
        .printer:
            cs lodsw;
            mov dx, ax;
            mov al, 0xaa;
            out dx, al;
            in_ al, dx;
            cmp al, 0xaa;
            jne .no_printer;
            mov word_ptr(di), dx;
            add di, 2;
            add bx, 0x4000;
        .no_printer:
            loop_ .printer;
            or word_ptr(bda::EQUIPMENT), bx;
            ret;
        serial_bases:
    );
    for base in [0x3f8u16, 0x2f8, 0x3e8, 0x2e8, 0x378, 0x278, 0x3bc] {
        b.db(&base.to_le_bytes())?;
    }
    Ok(())
}

fn emit_serial(b: &mut Builder) -> Emit {
    x86!(b; int14: sti;);
    enter(b)?;
    x86!(b;
            cmp dx, 4;
            jae @return_frame;
            mov bx, dx;
            mov cl, byte_ptr(bx + bda::COM_TIMEOUTS);
            add bx, bx;
            mov dx, word_ptr(bx);
            or dx, dx;
            jz @return_frame;
            cmp ah, 1;
            jb .init;
            je .send;
            cmp ah, 3;
            jb .receive;
            je .status;
            jmp @return_frame;
        .init:
            push ax;
            add dx, 3;
            mov al, 0x83;
            out dx, al;
            pop ax;
            push ax;
            movzx bx, al;
            shr bx, 5;
            add bx, bx;
            mov ax, word_ptr(bx + b.at("baud_divisors")).cs();
            sub dx, 3;
            out dx, al;
            inc dx;
            mov al, ah;
            out dx, al;
            pop ax;
            and al, 0x1f;
            add dx, 2;
            out dx, al;
            sub dx, 2;
            mov al, 0;
            out dx, al;
            dec dx;
        .status:
            add dx, 5;
            in_ al, dx;
            mov ah, al;
            inc dx;
            in_ al, dx;
            mov word_ptr(bp + frame::AX), ax;
            jmp @return_frame;
        .send:
            push ax;
            add dx, 4;
            mov al, 0x03; // DTR and RTS
            out dx, al;
            inc dx;
            mov bl, 0x20; // transmitter empty
            call @serial_wait;
            pop bx;
            mov byte_ptr(bp + frame::AH), ah;
            jc .timeout;
            mov al, bl;
            sub dx, 5;
            out dx, al;
            jmp @return_frame;
        .receive:
            add dx, 4;
            mov al, 0x01;
            out dx, al;
            inc dx;
            mov bl, 0x01; // data ready
            call @serial_wait;
            mov byte_ptr(bp + frame::AH), ah;
            jc .timeout;
            and byte_ptr(bp + frame::AH), 0x1e;
            sub dx, 5;
            in_ al, dx;
            mov byte_ptr(bp + frame::AL), al;
            jmp @return_frame;
        .timeout:
            or byte_ptr(bp + frame::AH), 0x80;
            jmp @return_frame;
        // Waits for a bit of BL in the line status at DX, CL seconds. AH = line status; CF set on time-out.
        serial_wait:
            movzx ax, cl;
            imul_3 ax, ax, 18;
            inc ax;
            mov cx, ax;
            mov di, word_ptr(bda::TICKS);
        .poll:
            in_ al, dx;
            mov ah, al;
            test al, bl;
            jnz .ready;
            mov si, word_ptr(bda::TICKS);
            sub si, di;
            cmp si, cx;
            jbe .poll;
            stc;
            ret;
        .ready:
            clc;
            ret;
        baud_divisors:
    );
    for divisor in [1047u16, 768, 384, 192, 96, 48, 24, 12] {
        b.db(&divisor.to_le_bytes())?;
    }
    Ok(())
}

fn emit_printer(b: &mut Builder) -> Emit {
    x86!(b; int17: sti;);
    enter(b)?;
    x86!(b;
            cmp dx, 3;
            jae @return_frame;
            mov bx, dx;
            add bx, bx;
            mov dx, word_ptr(bx + bda::LPT_PORTS);
            or dx, dx;
            jz @return_frame;
            cmp ah, 1;
            jb .print;
            je .init;
            cmp ah, 2;
            je .status;
            jmp @return_frame;
        .print:
            out dx, al;
            inc dx;
            mov cx, 0xffff;
        .busy:
            in_ al, dx;
            test al, 0x80;
            jnz .free;
            loop_ .busy;
            dec dx;
            call @printer_status;
            or ah, 1;
            jmp .return;
        .free:
            inc dx;
            mov al, 0x0d; // strobe
            out dx, al;
            mov al, 0x0c;
            out dx, al;
            sub dx, 2;
            jmp .status;
        .init:
            add dx, 2;
            mov al, 0x08;
            out dx, al;
            mov cx, 200;
        .pulse:
            in_ al, dx;
            loop_ .pulse;
            mov al, 0x0c;
            out dx, al;
            sub dx, 2;
        .status:
            call @printer_status;
        .return:
            mov byte_ptr(bp + frame::AH), ah;
            jmp @return_frame;
        // AH = status register of the port at DX, with acknowledge and I/O error inverted as int 17h shows them.
        printer_status:
            inc dx;
            in_ al, dx;
            mov ah, al;
            and ah, 0xf8;
            xor ah, 0x48;
            dec dx;
            ret;
    );
    Ok(())
}

/// 0050:0000 is 1 while printing, 0 after success, FFh after an error.
fn emit_print_screen(b: &mut Builder) -> Emit {
    x86!(b;
        int05:
            sti;
            push ds;
            pusha;
            push 0x50;
            pop ds;
            cmp byte_ptr(0), 1;
            je .done;
            mov byte_ptr(0), 1;
            mov ah, 0x0f;
            int 0x10;
            mov cl, ah; // columns; BH = page
            push BDA;
            pop ds;
            mov ch, byte_ptr(bda::VIDEO_LAST_ROW);
            push 0x50;
            pop ds;
            push cx;
            mov ah, 3;
            int 0x10;
            pop cx;
            push dx;
            xor dx, dx;
        .row:
            mov dl, 0;
        .column:
            mov ah, 2;
            int 0x10;
            mov ah, 8;
            int 0x10;
            or al, al;
            jnz .visible;
            mov al, b' ' as i32;
        .visible:
            call .put;
            jc .failed;
            inc dl;
            cmp dl, cl;
            jb .column;
            mov al, 13;
            call .put;
            jc .failed;
            mov al, 10;
            call .put;
            jc .failed;
            inc dh;
            cmp dh, ch;
            jbe .row;
            mov byte_ptr(0), 0;
            jmp .restore;
        .failed:
            mov byte_ptr(0), 0xff;
        .restore:
            pop dx;
            mov ah, 2;
            int 0x10;
        .done:
            popa;
            pop ds;
            iret;
        .put:
            push dx;
            xor dx, dx;
            mov ah, 0;
            int 0x17;
            pop dx;
            test ah, 0x29;
            jz .printed;
            stc;
        .printed:
            ret;
    );
    Ok(())
}
