//! IRQ0 (int 08h, the tick), IRQ8 (int 70h, the clock's periodic and alarm interrupts), int 1Ah time of day.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{bda, frame};
use iced_x86::code_asm::*;

use super::frames::{dispatch_ah, enter};

/// Ticks in a day: 24 * 3600 * 1193182 / 65536.
const TICKS_PER_DAY: i32 = 0x1800b0;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        int08:
            push ds;
            push ax;
            push dx;
            push crate::layout::BDA;
            pop ds;
            inc dword_ptr(bda::TICKS);
            cmp dword_ptr(bda::TICKS), TICKS_PER_DAY;
            jb .same_day;
            mov dword_ptr(bda::TICKS), 0;
            inc byte_ptr(bda::MIDNIGHT);
        .same_day:
            cmp byte_ptr(bda::FLOPPY_MOTOR_TICKS), 0;
            je .motors_off;
            dec byte_ptr(bda::FLOPPY_MOTOR_TICKS);
            jnz .motors_off;
            and byte_ptr(bda::FLOPPY_MOTORS), 0xf0;
            mov dx, 0x3f2;
            mov al, 0x0c;
            out dx, al;
        .motors_off:
            int 0x1c;
            cli;
            mov al, 0x20;
            out 0x20, al;
            pop dx;
            pop ax;
            pop ds;
            iret;
        // Periodic interrupts drive int 15h AH=83h and 86h at 976 microseconds each; alarms go to int 4Ah.
        int70:
            push ds;
            push es;
            push eax;
            push bx;
            push crate::layout::BDA;
            pop ds;
            mov al, 0x0c;
            call @cmos_read;
            mov ah, al;
            mov al, 0x0b;
            push ax;
            call @cmos_read;
            mov bl, al;
            pop ax;
            and bl, ah;
            test bl, 0x40;
            jz .no_period;
            test byte_ptr(bda::WAIT_ACTIVE), 1;
            jz .no_period;
            sub dword_ptr(bda::WAIT_COUNT), 976;
            jnc .no_period;
            mov al, 0x0b;
            call @cmos_read;
            and al, 0xbf;
            mov ah, al;
            mov al, 0x0b;
            call @cmos_write;
            mov byte_ptr(bda::WAIT_ACTIVE), 0;
            push bx;
            les bx, dword_ptr(bda::WAIT_POINTER);
            or byte_ptr(bx).es(), 0x80;
            pop bx;
        .no_period:
            test bl, 0x20;
            jz .no_alarm;
            int 0x4a;
        .no_alarm:
            call @end_of_slave_irq;
            pop bx;
            pop eax;
            pop es;
            pop ds;
            iret;
        int1a:
            sti;
    );
    enter(b)?;
    x86!(b;
        cmp ah, 0xb1;
        je @pci_service;
    );
    dispatch_ah(b, 8, "int1a_table", "return_carry")?;
    x86!(b; int1a_table:);
    b.addresses(&[
        "time_get_ticks",
        "time_set_ticks",
        "time_get",
        "time_set",
        "date_get",
        "date_set",
        "alarm_set",
        "alarm_clear",
    ])?;
    emit_time(b)
}

fn emit_time(b: &mut Builder) -> Emit {
    x86!(b;
        time_get_ticks:
            cli;
            mov ax, word_ptr(bda::TICKS);
            mov word_ptr(bp + frame::DX), ax;
            mov ax, word_ptr(bda::TICKS + 2);
            mov word_ptr(bp + frame::CX), ax;
            mov al, byte_ptr(bda::MIDNIGHT);
            mov byte_ptr(bp + frame::AL), al;
            mov byte_ptr(bda::MIDNIGHT), 0;
            jmp @return_ok;
        time_set_ticks:
            cli;
            mov word_ptr(bda::TICKS), dx;
            mov word_ptr(bda::TICKS + 2), cx;
            mov byte_ptr(bda::MIDNIGHT), 0;
            jmp @return_ok;
        time_get:
            call @rtc_settle;
            jc @return_carry;
            mov al, 0x04;
            call @cmos_read;
            mov byte_ptr(bp + frame::CH), al;
            mov al, 0x02;
            call @cmos_read;
            mov byte_ptr(bp + frame::CL), al;
            mov al, 0x00;
            call @cmos_read;
            mov byte_ptr(bp + frame::DH), al;
            mov al, 0x0b;
            call @cmos_read;
            and al, 1; // daylight saving
            mov byte_ptr(bp + frame::DL), al;
            mov al, byte_ptr(bp + frame::CH);
            mov byte_ptr(bp + frame::AL), al;
            jmp @return_ok;
        time_set:
            mov bx, dx;
            call @clock_stop;
            mov al, 0x04;
            mov ah, ch;
            call @cmos_write;
            mov al, 0x02;
            mov ah, cl;
            call @cmos_write;
            mov al, 0x00;
            mov ah, bh;
            call @cmos_write;
            call @clock_start;
            jmp @return_ok;
        date_get:
            call @rtc_settle;
            jc @return_carry;
            mov al, 0x32;
            call @cmos_read;
            mov byte_ptr(bp + frame::CH), al;
            mov al, 0x09;
            call @cmos_read;
            mov byte_ptr(bp + frame::CL), al;
            mov al, 0x08;
            call @cmos_read;
            mov byte_ptr(bp + frame::DH), al;
            mov al, 0x07;
            call @cmos_read;
            mov byte_ptr(bp + frame::DL), al;
            mov al, byte_ptr(bp + frame::CH);
            mov byte_ptr(bp + frame::AL), al;
            jmp @return_ok;
        date_set:
            mov bx, dx;
            call @clock_stop;
            mov al, 0x32;
            mov ah, ch;
            call @cmos_write;
            mov al, 0x09;
            mov ah, cl;
            call @cmos_write;
            mov al, 0x08;
            mov ah, bh;
            call @cmos_write;
            mov al, 0x07;
            mov ah, bl;
            call @cmos_write;
            call @clock_start;
            jmp @return_ok;
        alarm_set:
            mov bx, dx;
            mov al, 0x0b;
            call @cmos_read;
            test al, 0x20;
            jnz @return_carry;
            mov al, 0x05;
            mov ah, ch;
            call @cmos_write;
            mov al, 0x03;
            mov ah, cl;
            call @cmos_write;
            mov al, 0x01;
            mov ah, bh;
            call @cmos_write;
            mov al, 0x0b;
            call @cmos_read;
            or al, 0x20;
            mov ah, al;
            mov al, 0x0b;
            call @cmos_write;
            in_ al, 0xa1;
            and al, 0xfe;
            out 0xa1, al;
            jmp @return_ok;
        alarm_clear:
            mov al, 0x0b;
            call @cmos_read;
            and al, 0x5f;
            mov ah, al;
            mov al, 0x0b;
            call @cmos_write;
            jmp @return_ok;
        // Register B's SET bit holds updates while the clock is written.
        clock_stop:
            mov ax, 0x820b;
            jmp @cmos_write;
        clock_start:
            mov ax, 0x020b;
            jmp @cmos_write;
    );
    Ok(())
}
