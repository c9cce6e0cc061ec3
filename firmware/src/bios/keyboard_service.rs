//! int 16h: the keyboard buffer and the shift state.
//!
//! The functions below 10h hide what an 84-key keyboard lacks: E0h in the character becomes 0, the grey Enter and slash
//! get their twins' scan codes, and codes of keys beyond it are dropped.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{EBDA, bda, ebda, frame};
use iced_x86::code_asm::*;

use super::frames::enter;

/// The typematic rate of power-on: 10.9 characters a second after half a second.
pub const POWER_ON_RATE: i32 = 0x2b;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b; int16: sti;);
    enter(b)?;
    x86!(b;
        cmp ah, 0x00;
        je .read;
        cmp ah, 0x01;
        je .peek;
        cmp ah, 0x02;
        je .shifts;
        cmp ah, 0x03;
        je .rate;
        cmp ah, 0x05;
        je .store;
        cmp ah, 0x09;
        je .capabilities;
        cmp ah, 0x0a;
        je .identity;
        cmp ah, 0x10;
        je .read_extended;
        cmp ah, 0x11;
        je .peek_extended;
        cmp ah, 0x12;
        je .shifts_extended;
        jmp @return_frame;
        .read:
            call @wait_key;
            call @classic_key;
            jc .read;
            jmp .got;
        .read_extended:
            call @wait_key;
            call @extended_key;
        .got:
            mov word_ptr(bp + frame::AX), ax;
            jmp @return_frame;
        .peek:
            call @next_key;
            jz .empty;
            call @classic_key;
            jnc .ready;
            call @drop_key;
            jmp .peek;
        .peek_extended:
            call @next_key;
            jz .empty;
            call @extended_key;
        .ready:
            mov word_ptr(bp + frame::AX), ax;
            and byte_ptr(bp + frame::FLAGS), 0xbf;
            jmp @return_frame;
        .empty:
            or byte_ptr(bp + frame::FLAGS), 0x40;
            jmp @return_frame;
        .shifts_extended:
            // AH: 40:18's key bits with both right-hand keys; bit 7 is Sys Req.
            mov ah, byte_ptr(bda::SHIFT_KEYS);
            mov bl, ah;
            and ah, 0x73;
            and bl, 0x04;
            shl bl, 5;
            or ah, bl;
            mov bl, byte_ptr(bda::KEYBOARD_STATE);
            and bl, 0x0c;
            or ah, bl;
            mov byte_ptr(bp + frame::AH), ah;
        .shifts:
            mov al, byte_ptr(bda::SHIFT_FLAGS);
            mov byte_ptr(bp + frame::AL), al;
            jmp @return_frame;
        .rate:
            push EBDA;
            pop es;
            cmp al, 6;
            je .rate_now;
            mov dl, POWER_ON_RATE;
            cmp al, 0;
            je .rate_set;
            cmp al, 5;
            jne @return_frame;
            mov dl, byte_ptr(bp + frame::BH);
            and dl, 3;
            shl dl, 5;
            mov dh, byte_ptr(bp + frame::BL);
            and dh, 0x1f;
            or dl, dh;
        .rate_set:
            call .mask;
            mov al, 0xf3;
            call @kbc_send;
            call @kbc_data;
            jc .unmask;
            mov al, dl;
            call @kbc_send;
            call @kbc_data;
            jc .unmask;
            mov byte_ptr(ebda::TYPEMATIC).es(), dl;
        .unmask:
            mov al, bh;
            out 0x21, al;
            jmp @return_frame;
        .rate_now:
            mov al, byte_ptr(ebda::TYPEMATIC).es();
            mov ah, al;
            and al, 0x1f;
            shr ah, 5;
            mov word_ptr(bp + frame::BX), ax; // BH = delay, BL = rate
            jmp @return_frame;
        // BH = the interrupt mask so far: the keyboard's answers are not for int 09h.
        .mask:
            in_ al, 0x21;
            mov bh, al;
            or al, 2;
            out 0x21, al;
            ret;
        // The two bytes that a keyboard gives for READ ID, zero without one.
        .identity:
            call .mask;
            xor cx, cx;
            mov al, 0xf2;
            call @kbc_send;
            call @kbc_data;
            jc .identified;
            call @kbc_data;
            jc .identified;
            mov ch, al;
            call @kbc_data;
            jc .identified;
            mov cl, al;
            xchg cl, ch;
        .identified:
            mov word_ptr(bp + frame::BX), cx;
            jmp .unmask;
        .store:
            mov ax, cx;
            cli;
            call @store_key;
            mov al, 0;
            adc al, 0;
            mov byte_ptr(bp + frame::AL), al;
            jmp @return_frame;
        .capabilities:
            // AH=10h-12h, AH=0Ah, AX=0306h, AX=0305h and AX=0300h are there.
            mov byte_ptr(bp + frame::AL), 0x3d;
            jmp @return_frame;
        // AX = the next key, taken out of the buffer; waits with HLT.
        wait_key:
            cli;
            call @next_key;
            jnz @take_key;
            sti;
            hlt;
            jmp @wait_key;
        drop_key:
        take_key:
            cli;
            mov si, word_ptr(bda::KEY_HEAD);
            add si, 2;
            cmp si, word_ptr(bda::KEY_BUFFER_END);
            jb .inside;
            mov si, word_ptr(bda::KEY_BUFFER_START);
        .inside:
            mov word_ptr(bda::KEY_HEAD), si;
            sti;
            ret;
        // AX = the next key, left in the buffer. ZF set when there is none. A key that comes in between must not be
        // counted before its place is read, so the comparison comes first.
        next_key:
            mov si, word_ptr(bda::KEY_HEAD);
            cmp si, word_ptr(bda::KEY_TAIL);
            mov ax, word_ptr(si);
            ret;
        // AX as an 84-key keyboard would give it; CF set if it has no such key.
        classic_key:
            cmp ah, 0xe0;
            je .grey;
            cmp ah, 0x84;
            ja .unknown;
            cmp al, 0xe0;
            jne .known;
            or ah, ah;
            jz .known;
            mov al, 0;
        .known:
            clc;
            ret;
        .grey:
            mov ah, 0x1c;
            cmp al, b'/' as i32;
            jne .known;
            mov ah, 0x35;
            jmp .known;
        .unknown:
            stc;
            ret;
        // AX with all of an extended keyboard's codes: only the marker F0h is hidden.
        extended_key:
            cmp al, 0xf0;
            jne .kept;
            or ah, ah;
            jz .kept;
            mov al, 0;
        .kept:
            ret;
    );
    Ok(())
}
