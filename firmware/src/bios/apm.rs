//! Advanced Power Management 1.2: int 15h AH=53h, and the same functions by far calls in 16-bit and 32-bit protected mode.
//!
//! What is managed is the whole machine (device 0001h): it idles, it can be switched off, it runs on the mains. Its devices
//! are not managed one by one.

use super::pci::PM_BASE;
use crate::asm::{Builder, Emit, Symbols, x86};
use crate::layout::{EBDA, ebda, frame};
use iced_x86::code_asm::*;

/// Bits of `ebda::APM_STATE`: the interface that is connected, and what has been switched off.
const CONNECTED: i32 = 0x03;
const DISABLED: i32 = 0x04;
const DISENGAGED: i32 = 0x08;
/// Size of the data segment, the EBDA.
const DATA_SIZE: i32 = 0x400;

/// The real-mode service and the 16-bit entry point.
pub fn emit(b: &mut Builder, protected: &Symbols) -> Emit {
    let entry_32 = i32::from(protected["apm_entry"]);
    x86!(b;
        apm_service:
            push EBDA;
            pop ds;
            cmp al, 1;
            jb .call;
            cmp al, 3;
            jbe .connect;
        .call:
            call @apm_function;
            mov word_ptr(bp + frame::AX), ax;
            mov word_ptr(bp + frame::BX), bx;
            mov word_ptr(bp + frame::CX), cx;
            mov word_ptr(bp + frame::DX), dx;
            jc @return_carry;
            jmp @return_clear;
        .connect:
            mov ah, 0x09; // unrecognised device
            or bx, bx;
            jnz @return_error;
            // Errors 02h, 05h and 07h name the interface that is connected already.
            mov ah, byte_ptr(ebda::APM_STATE);
            and ah, CONNECTED;
            jz .free;
            add ah, ah;
            cmp ah, 2;
            je @return_error;
            inc ah;
            jmp @return_error;
        .free:
            or byte_ptr(ebda::APM_STATE), al;
            cmp al, 2;
            jb @return_ok;
            // Segments: code, and data in the EBDA. Lengths cannot say 64 KiB.
            mov word_ptr(bp + frame::AX), cs;
            mov word_ptr(bp + frame::DI), DATA_SIZE;
            ja .wide;
            mov word_ptr(bp + frame::BX), b.at("apm_entry_16");
            mov word_ptr(bp + frame::CX), EBDA;
            mov word_ptr(bp + frame::SI), 0xffff;
            jmp @return_clear;
        .wide:
            mov dword_ptr(bp + frame::EBX), entry_32;
            mov word_ptr(bp + frame::CX), cs; // 16-bit code
            mov word_ptr(bp + frame::DX), EBDA;
            mov dword_ptr(bp + frame::ESI), 0xffff_ffffu32;
            jmp @return_clear;
        // The data segment is the descriptor behind this code segment, as AX=5302h asks for.
        apm_entry_16:
            push ds;
            push dx;
            mov dx, cs;
            add dx, 8;
            mov ds, dx;
            pop dx;
            call @apm_function;
            pop ds;
            retf;
    );
    emit_function(b)
}

/// The functions, in 16-bit and 32-bit code: AL, BX, CX as the specification has them, DS at the EBDA.
/// CF set on failure, AH = status.
pub fn emit_function(b: &mut Builder) -> Emit {
    x86!(b;
        apm_function:
            cmp al, 0x00;
            je .check;
            cmp al, 0x04;
            jb .unsupported;
            cmp al, 0x10;
            ja .unsupported;
            test byte_ptr(ebda::APM_STATE), CONNECTED;
            mov ah, 0x03; // interface not connected
            jz .error;
            cmp al, 0x05;
            jb .disconnect;
            je .idle;
            cmp al, 0x07;
            jb .ok; // CPU busy
            je .set_state;
            cmp al, 0x09;
            jb .enable;
            je .defaults;
            cmp al, 0x0b;
            jb .power;
            je .event;
            cmp al, 0x0d;
            jb .get_state;
            je .enable;
            cmp al, 0x0f;
            jb .version;
            je .engage;
            // 10h: capabilities of the BIOS: no batteries, nothing that wakes the machine.
            or bx, bx;
            jnz .unrecognised;
            mov cx, 0;
            jmp .ok;
        .unsupported:
            mov ah, 0x0c;
            jmp .error;
        .unrecognised:
            mov ah, 0x09;
            jmp .error;
        .range:
            mov ah, 0x0a;
            jmp .error;
        .unable:
            mov ah, 0x60;
        .error:
            stc;
            ret;
        .disconnect:
            or bx, bx;
            jnz .unrecognised;
            and byte_ptr(ebda::APM_STATE), !CONNECTED & 0xff;
        .ok:
            mov ah, 0;
            clc;
            ret;
        .check:
            or bx, bx;
            jnz .unrecognised;
            // 16-bit and 32-bit interface; CPU Idle stops the clock, if nothing else does; disabled; disengaged.
            mov cl, byte_ptr(ebda::APM_STATE);
            and cx, DISABLED | DISENGAGED;
            add cx, cx;
            or cx, 3;
            mov bx, 0x504d; // "PM"
            mov ax, 0x0102;
            clc;
            ret;
        .idle:
            pushf;
            sti;
            hlt;
            popf;
            jmp .ok;
        .event:
            mov ah, 0x80; // none
            jmp .error;
        .version:
            or bx, bx;
            jnz .unrecognised;
            // What both speak: from 1.0 to 1.2.
            mov ax, 0x0100;
            cmp cx, 0x0101;
            jb .agreed;
            mov ax, cx;
            cmp cx, 0x0102;
            jb .agreed;
            mov ax, 0x0102;
        .agreed:
            clc;
            ret;
        .enable:
            cmp cx, 1;
            ja .range;
            call .machine;
            jne .unrecognised;
            mov ah, DISABLED;
        .switch:
            not ah;
            and byte_ptr(ebda::APM_STATE), ah;
            not ah;
            or cl, cl;
            jnz .ok;
            or byte_ptr(ebda::APM_STATE), ah;
            jmp .ok;
        .engage:
            cmp cx, 1;
            ja .range;
            call .machine;
            jne .unrecognised;
            mov ah, DISENGAGED;
            jmp .switch;
        .defaults:
            call .machine;
            jne .unrecognised;
            and byte_ptr(ebda::APM_STATE), CONNECTED;
            jmp .ok;
        .power:
            cmp bx, 1;
            jne .unrecognised; // there are no batteries to ask for
            mov bx, 0x01ff; // on line; battery unknown
            mov cx, 0x80ff; // no battery; percentage unknown
            mov dx, 0xffff; // time unknown
            jmp .ok;
        .get_state:
            cmp bx, 1;
            jne .unrecognised;
            test byte_ptr(ebda::APM_STATE), DISABLED;
            mov ah, 0x01; // power management disabled
            jnz .error;
            mov cx, 0; // enabled
            jmp .ok;
        .set_state:
            cmp bx, 1;
            jne .unrecognised;
            or cx, cx;
            jz .range; // "enabled" is for single devices
            cmp cx, 5;
            ja .range;
            cmp cx, 4;
            jae .ok; // the last request is being processed, or was rejected
            test byte_ptr(ebda::APM_STATE), DISABLED;
            mov ah, 0x01;
            jnz .error;
            test byte_ptr(ebda::APM_STATE), DISENGAGED;
            mov ah, 0x0b; // interface not engaged
            jnz .error;
            cmp cx, 2;
            jb .idle; // standby, until the next interrupt
            je .unable; // nothing would wake it from suspension
            // Off: PM1a control with SLP_EN and SLP_TYP 0, which PIIX4 calls soft off.
            cli;
            mov dx, PM_BASE + 4;
            mov ax, 0x2000;
            out dx, ax;
        .wait:
            hlt;
            jmp .wait;
        // ZF set if BX names all that is managed: 0001h, or FFFFh.
        .machine:
            cmp bx, 1;
            je .named;
            cmp bx, -1;
        .named:
            ret;
    );
    Ok(())
}
