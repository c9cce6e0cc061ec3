//! The 82077AA floppy controller at 3F0h with 8237A channel 2, and its interrupt, IRQ6 (int 0Eh).
//!
//! Head and motor delays come from the drive parameter table only where the controller needs them in SPECIFY: the
//! controller itself waits for the drive, so no time passes here that the hardware does not take.

use crate::asm::{Builder, Emit, x86};
use crate::layout::bda;
use iced_x86::code_asm::*;

/// Digital output register: interrupts and DMA on, not in reset.
const DOR_RUN: i32 = 0x0c;
/// Ticks to wait for an interrupt: two seconds.
const PATIENCE: i32 = 37;

pub fn emit(b: &mut Builder) -> Emit {
    emit_primitives(b)?;
    emit_drive(b)?;
    emit_data(b)?;
    emit_init(b)
}

fn emit_primitives(b: &mut Builder) -> Emit {
    x86!(b;
        int0e:
            push ax;
            push ds;
            push crate::layout::BDA;
            pop ds;
            or byte_ptr(bda::FLOPPY_RECALIBRATED), 0x80;
            mov al, 0x20;
            out 0x20, al;
            pop ds;
            pop ax;
            iret;
        // Waits for IRQ6. CF set on time-out. Keeps all registers.
        floppy_wait:
            push ax;
            push bx;
            mov bx, word_ptr(bda::TICKS);
        .again:
            cli;
            test byte_ptr(bda::FLOPPY_RECALIBRATED), 0x80;
            jnz .arrived;
            mov ax, word_ptr(bda::TICKS);
            sub ax, bx;
            cmp ax, PATIENCE;
            ja .late;
            sti;
            hlt;
            jmp .again;
        .late:
            sti;
            stc;
            jmp .done;
        .arrived:
            and byte_ptr(bda::FLOPPY_RECALIBRATED), 0x7f;
            sti;
            clc;
        .done:
            pop bx;
            pop ax;
            ret;
        // Sends command byte AL. CF set if the controller does not want one.
        floppy_send:
            push ax;
            push cx;
            push dx;
            mov ah, al;
            mov dx, 0x3f4;
            xor cx, cx;
        .poll:
            in_ al, dx;
            and al, 0xc0;
            cmp al, 0x80;
            je .ready;
            loop_ .poll;
            stc;
            jmp .done;
        .ready:
            inc dx;
            mov al, ah;
            out dx, al;
            clc;
        .done:
            pop dx;
            pop cx;
            pop ax;
            ret;
        // Reads the result phase into 40:42. CF set if there is none.
        floppy_result:
            push ax;
            push bx;
            push cx;
            push dx;
            mov bx, bda::FLOPPY_RESULT;
            mov dx, 0x3f4;
        .byte:
            xor cx, cx;
        .poll:
            in_ al, dx;
            and al, 0xd0;
            cmp al, 0xd0;
            je .ready;
            test al, 0x10; // not busy: no result byte is left
            jz .end;
            loop_ .poll;
            stc;
            jmp .done;
        .ready:
            inc dx;
            in_ al, dx;
            dec dx;
            mov byte_ptr(bx), al;
            inc bx;
            cmp bx, bda::FLOPPY_RESULT + 7;
            jb .byte;
        .end:
            cmp bx, bda::FLOPPY_RESULT + 1;
        .done:
            pop dx;
            pop cx;
            pop bx;
            pop ax;
            ret;
        // Controller reset: four SENSE INTERRUPTs, one for each drive, then SPECIFY. AH = status.
        floppy_reset:
            push dx;
            push cx;
            and byte_ptr(bda::FLOPPY_RECALIBRATED), 0x70;
            mov dx, 0x3f2;
            mov al, byte_ptr(bda::FLOPPY_MOTORS);
            shl al, 4;
            push ax;
            out dx, al;
            pop ax;
            or al, DOR_RUN;
            out dx, al;
            call @floppy_wait;
            jc .failed;
            mov cx, 4;
        .sense:
            mov al, 0x08;
            call @floppy_send;
            jc .failed;
            call @floppy_result;
            loop_ .sense;
            mov al, 0x03; // SPECIFY
            call @floppy_send;
            mov al, 0xdf;
            call @floppy_send;
            mov al, 0x02;
            call @floppy_send;
            jc .failed;
            mov ah, 0;
            jmp .done;
        .failed:
            mov ah, 0x20;
        .done:
            pop cx;
            pop dx;
            ret;
    );
    Ok(())
}

fn emit_drive(b: &mut Builder) -> Emit {
    x86!(b;
        // Selects drive DL and turns its motor on. Changes AX.
        floppy_motor_on:
            push cx;
            push dx;
            mov byte_ptr(bda::FLOPPY_MOTOR_TICKS), 0xff;
            mov cl, dl;
            mov al, 1;
            shl al, cl;
            or byte_ptr(bda::FLOPPY_MOTORS), al;
            mov al, byte_ptr(bda::FLOPPY_MOTORS);
            shl al, 4;
            or al, DOR_RUN;
            or al, dl;
            mov dx, 0x3f2;
            out dx, al;
            pop dx;
            pop cx;
            ret;
        // Waits for a seek or recalibration to end. CF set on failure.
        floppy_sense:
            call @floppy_wait;
            jc .done;
            mov al, 0x08;
            call @floppy_send;
            jc .done;
            call @floppy_result;
            jc .done;
            mov al, byte_ptr(bda::FLOPPY_RESULT);
            and al, 0xc0;
            jz .done;
            stc;
        .done:
            ret;
        // Recalibrates drive DL. CF set on failure.
        floppy_recalibrate:
            push bx;
            mov al, 0x07;
            call @floppy_send;
            mov al, dl;
            call @floppy_send;
            call @floppy_sense;
            jc .done;
            movzx bx, dl;
            mov byte_ptr(bx + bda::FLOPPY_CYLINDERS), 0;
            mov al, 1;
            xchg bx, cx;
            shl al, cl;
            xchg bx, cx;
            or byte_ptr(bda::FLOPPY_RECALIBRATED), al;
            clc;
        .done:
            pop bx;
            ret;
        // Moves drive DL to cylinder CH under head DH. CF set on failure.
        floppy_seek:
            push bx;
            movzx bx, dl;
            bt word_ptr(bda::FLOPPY_RECALIBRATED), bx;
            jnc .calibrate;
            cmp byte_ptr(bx + bda::FLOPPY_CYLINDERS), ch;
            clc;
            je .done;
            jmp .move;
        .calibrate:
            call @floppy_recalibrate;
            jc .done;
            or ch, ch;
            jz .done;
        .move:
            mov al, 0x0f; // SEEK
            call @floppy_send;
            mov al, dh;
            shl al, 2;
            or al, dl;
            call @floppy_send;
            mov al, ch;
            call @floppy_send;
            call @floppy_sense;
            jc .done;
            mov byte_ptr(bx + bda::FLOPPY_CYLINDERS), ch;
            clc;
        .done:
            pop bx;
            ret;
        // Makes drive DL ready: motor, change line, data rate. AH = status.
        floppy_prepare:
            push cx;
            push dx;
            push bx;
            call @floppy_type;
            mov ah, 0x80;
            jz .done;
            mov bl, al; // BL: CMOS type
            call @floppy_motor_on;
            cmp bl, 1; // 40-track drives have no change line
            je .rate;
            call .change_line;
            jz .rate;
            // Changed: a seek away and back clears the latch, if there is a medium.
            movzx si, dl;
            mov byte_ptr(si + bda::FLOPPY_MEDIA), 0;
            and byte_ptr(bda::FLOPPY_RECALIBRATED), 0xf0;
            mov ch, 1;
            mov dh, 0;
            // Steps are counted in the data rate's clock: not at the slow one that a reset leaves.
            call .rates;
            mov al, byte_ptr(si).cs();
            call .set_rate;
            call @floppy_seek;
            jc .seek_failed;
            mov ch, 0;
            call @floppy_seek;
            call .change_line;
            mov ah, 0x80; // still set: nothing in the drive
            jnz .done;
            mov ah, 6;
            jmp .done;
        .seek_failed:
            call @floppy_reset;
            mov ah, 0x80;
            jmp .done;
        .rate:
            movzx si, dl;
            mov al, byte_ptr(si + bda::FLOPPY_MEDIA);
            test al, 0x10;
            jz .find;
            shr al, 6;
            call .set_rate;
            mov ah, 0;
            jmp .done;
        .find:
            // Tries the rates that the drive can do until READ ID finds a sector.
            mov ch, 0;
            mov dh, 0;
            call @floppy_seek;
            jc .seek_failed;
            call .rates;
            mov bx, si;
            movzx si, dl;
        .try_rate:
            mov al, byte_ptr(bx).cs();
            inc bx;
            cmp al, 0xff;
            je .no_rate;
            call .set_rate;
            push ax;
            mov al, 0x4a; // READ ID, MFM
            call @floppy_send;
            mov al, dl;
            call @floppy_send;
            call @floppy_wait;
            pop ax;
            jc .seek_failed;
            call @floppy_result;
            test byte_ptr(bda::FLOPPY_RESULT), 0xc0;
            jnz .try_rate;
            shl al, 6;
            or al, 0x17; // established, media state 7 "other"
            mov byte_ptr(si + bda::FLOPPY_MEDIA), al;
            mov ah, 0;
            jmp .done;
        .no_rate:
            mov ah, 2; // no address mark
        .done:
            pop bx;
            pop dx;
            pop cx;
            movzx si, byte_ptr(bp + crate::layout::frame::AL);
            ret;
        // SI = the list of rates for a drive of CMOS type BL.
        .rates:
            movzx si, bl;
            and si, 7;
            add si, si;
            mov si, word_ptr(si + b.at("floppy_rates")).cs();
            ret;
        .change_line:
            push dx;
            mov dx, 0x3f7;
            in_ al, dx;
            pop dx;
            test al, 0x80;
            ret;
        .set_rate:
            push dx;
            mov dx, 0x3f7;
            out dx, al;
            pop dx;
            mov byte_ptr(bda::FLOPPY_RATE), al;
            ret;
        // Data rate select values by CMOS type: 0 500, 1 300, 2 250, 3 1000 kbit/s.
        floppy_rates:
    );
    b.addresses(&["rates_720", "rates_360", "rates_1200", "rates_720", "rates_1440", "rates_2880"])?;
    for (name, rates) in [
        ("rates_360", &[2, 0xff][..]),
        ("rates_720", &[2, 0xff]),
        ("rates_1200", &[0, 1, 2, 0xff]),
        ("rates_1440", &[0, 2, 0xff]),
        ("rates_2880", &[3, 0, 2, 0xff]),
    ] {
        b.define(name)?;
        b.db(rates)?;
    }
    Ok(())
}

fn emit_data(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = byte AL of the drive parameter table at int 1Eh.
        floppy_parameter:
            push ds;
            push si;
            push bx;
            movzx bx, al;
            xor si, si;
            mov ds, si;
            lds si, dword_ptr(4 * 0x1e);
            mov al, byte_ptr(bx + si);
            pop bx;
            pop si;
            pop ds;
            ret;
        // AL = last sector of a track.
        floppy_last_sector:
            mov al, 4;
            call @floppy_parameter;
            or al, al;
            jnz .given;
            mov al, 18;
        .given:
            ret;
        // Programs channel 2 for EBX bytes at EDI; AL = mode.
        floppy_dma:
            push ax;
            mov al, 0x06;
            out 0x0a, al;
            out 0x0c, al;
            pop ax;
            out 0x0b, al;
            mov eax, edi;
            out 0x04, al;
            mov al, ah;
            out 0x04, al;
            shr eax, 16;
            out 0x81, al;
            mov ax, bx;
            dec ax;
            out 0x05, al;
            mov al, ah;
            out 0x05, al;
            mov al, 0x02;
            out 0x0a, al;
            ret;
        // Runs command AH (READ or WRITE DATA) on BX sectors at EDI. AH = status.
        floppy_data:
            push bx;
            push ax;
            call @floppy_seek;
            pop ax;
            jc .seek;
            shl bx, 9;
            mov al, 0x46; // single, increment, to memory
            cmp ah, 0xe6;
            je .direction;
            mov al, 0x4a;
        .direction:
            push ax;
            call @floppy_dma;
            pop ax;
            mov al, ah;
            call @floppy_send;
            jc .controller;
            call .drive_and_head;
            mov al, ch;
            call @floppy_send;
            mov al, dh;
            call @floppy_send;
            mov al, cl;
            call @floppy_send;
            mov al, 2; // N: 512 bytes
            call @floppy_send;
            call @floppy_last_sector;
            cmp al, cl;
            jae .last;
            mov al, cl;
        .last:
            call @floppy_send;
            mov al, 5;
            call @floppy_parameter;
            call @floppy_send;
            mov al, 0xff;
            call @floppy_send;
            jc .controller;
            jmp .finish;
        .drive_and_head:
            mov al, dh;
            shl al, 2;
            or al, dl;
            jmp @floppy_send;
        .seek:
            mov ah, 0x40;
            pop bx;
            ret;
        .controller:
            call @floppy_reset;
            mov ah, 0x20;
            pop bx;
            ret;
        .finish:
            pop bx;
        // Waits for the end of a data command and turns ST0 and ST1 into a status in AH.
        floppy_finish:
            call @floppy_wait;
            jc .timeout;
            call @floppy_result;
            jc .controller;
            mov ah, 0;
            test byte_ptr(bda::FLOPPY_RESULT), 0xc0;
            jz .done;
            mov al, byte_ptr(bda::FLOPPY_RESULT + 1);
            mov ah, 0x03; // write protected
            test al, 0x02;
            jnz .done;
            mov ah, 0x02; // no address mark
            test al, 0x01;
            jnz .forget;
            mov ah, 0x04; // sector not found, end of cylinder
            test al, 0x84;
            jnz .done;
            mov ah, 0x10; // CRC
            test al, 0x20;
            jnz .done;
            mov ah, 0x08; // overrun
            test al, 0x10;
            jnz .done;
        .controller:
            mov ah, 0x20;
        .done:
            ret;
        .forget:
            // Perhaps another density: the rate is found anew.
            push bx;
            movzx bx, dl;
            mov byte_ptr(bx + bda::FLOPPY_MEDIA), 0;
            pop bx;
            ret;
        .timeout:
            call @floppy_reset;
            mov ah, 0x80;
            ret;
        // FORMAT TRACK with the table of C, H, R, N at EDI. AH = status.
        floppy_format_track:
            call @floppy_seek;
            mov ah, 0x40;
            jc .done;
            call @floppy_last_sector;
            movzx bx, al;
            shl bx, 2;
            mov al, 0x4a;
            call @floppy_dma;
            mov al, 0x4d;
            call @floppy_send;
            mov al, dh;
            shl al, 2;
            or al, dl;
            call @floppy_send;
            mov al, 2;
            call @floppy_send;
            call @floppy_last_sector;
            call @floppy_send;
            mov al, 7;
            call @floppy_parameter;
            call @floppy_send;
            mov al, 8;
            call @floppy_parameter;
            call @floppy_send;
            jmp @floppy_finish;
        .done:
            ret;
    );
    Ok(())
}

fn emit_init(b: &mut Builder) -> Emit {
    x86!(b;
        // Equipment bits from CMOS 10h: bit 0 any drive, bits 7-6 drives less one. Resets a controller that is there.
        floppy_init:
            mov al, 0x10;
            call @cmos_read;
            or al, al;
            jz .none;
            or byte_ptr(bda::EQUIPMENT), 1;
            test al, 0x0f;
            jz .one;
            test al, 0xf0;
            jz .one;
            or byte_ptr(bda::EQUIPMENT), 0x40;
        .one:
            mov dx, 0x3f4;
            in_ al, dx;
            cmp al, 0xff;
            je .none;
            call @floppy_reset;
        .none:
            ret;
    );
    Ok(())
}
