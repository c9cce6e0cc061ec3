//! IRQ1 (int 09h): scan codes to shift state and key codes in the buffer at 40:1E.

use crate::asm::{Builder, Emit, x86};
use crate::layout::bda;
use iced_x86::code_asm::*;

use super::keyboard_codes::LAST_SCAN;

/// 40:17 bits.
const RIGHT_SHIFT: i32 = 0x01;
const LEFT_SHIFT: i32 = 0x02;
const CTRL: i32 = 0x04;
const ALT: i32 = 0x08;
/// 40:18 bit 3: the machine pauses until a key is pressed.
const PAUSED: i32 = 0x08;
/// 40:96 bits: the last byte was a prefix; right Ctrl and right Alt are down.
const LAST_E1: i32 = 0x01;
const LAST_E0: i32 = 0x02;
const RIGHT_CTRL: i32 = 0x04;
const RIGHT_ALT: i32 = 0x08;

pub fn emit(b: &mut Builder) -> Emit {
    emit_entry(b)?;
    emit_modifiers(b)?;
    emit_special(b)?;
    emit_translate(b)
}

fn emit_entry(b: &mut Builder) -> Emit {
    x86!(b;
        int09:
            push ds;
            push es;
            pusha;
            push crate::layout::BDA;
            pop ds;
            cld;
            in_ al, 0x64;
            test al, 0x01;
            jz .finish;
            in_ al, 0x60;
            // int 15h AH=4Fh may change or swallow the scan code.
            mov ah, 0x4f;
            stc;
            int 0x15;
            jnc .finish;
            call @key_byte;
        .finish:
            mov al, 0x20;
            out 0x20, al;
            call @update_leds;
            popa;
            pop es;
            pop ds;
            iret;
        // One byte from the keyboard in AL.
        key_byte:
            cmp al, 0xe0;
            je .prefix_e0;
            cmp al, 0xe1;
            je .prefix_e1;
            cmp al, 0xfa; // acknowledge, resend, overrun: replies, not keys
            jae .reply;
            mov dl, byte_ptr(bda::KEYBOARD_STATE); // DL: the prefixes that apply to this byte
            test dl, LAST_E1;
            jnz .after_e1;
            and byte_ptr(bda::KEYBOARD_STATE), 0xff - LAST_E0;
            mov dh, al;
            and al, 0x7f; // AL: key, DH bit 7: released
            jmp @key_event;
        .prefix_e0:
            or byte_ptr(bda::KEYBOARD_STATE), LAST_E0;
            ret;
        .prefix_e1:
            or byte_ptr(bda::KEYBOARD_STATE), LAST_E1;
            ret;
        .reply:
            ret;
        // Pause sends E1 1D 45 E1 9D C5; its last make byte pauses.
        .after_e1:
            cmp al, 0x1d;
            je .reply;
            cmp al, 0x9d;
            je .reply;
            and byte_ptr(bda::KEYBOARD_STATE), 0xff - LAST_E1;
            cmp al, 0x45;
            jne .reply;
        pause:
            or byte_ptr(bda::SHIFT_KEYS), PAUSED;
            mov al, 0x20;
            out 0x20, al;
            sti;
        .wait:
            hlt;
            test byte_ptr(bda::SHIFT_KEYS), PAUSED;
            jnz .wait;
            cli;
            ret;
    );
    Ok(())
}

/// A modifier that is held: sets or clears `mask` in 40:17 by DH bit 7.
fn emit_modifiers(b: &mut Builder) -> Emit {
    x86!(b;
        key_event:
            test dl, LAST_E0;
            jnz .extended;
            mov ah, LEFT_SHIFT;
            cmp al, 0x2a;
            je @shift_key;
            mov ah, RIGHT_SHIFT;
            cmp al, 0x36;
            je @shift_key;
            cmp al, 0x1d;
            je @left_ctrl;
            cmp al, 0x38;
            je @left_alt;
            mov cl, 0x10;
            cmp al, 0x46;
            je @scroll_lock_key;
            mov cl, 0x20;
            cmp al, 0x45;
            je @num_lock_key;
            mov cl, 0x40;
            cmp al, 0x3a;
            je @lock_key;
            cmp al, 0x54;
            je @system_request;
            jmp @plain_key;
        .extended:
            cmp al, 0x1d;
            je @right_ctrl;
            cmp al, 0x38;
            je @right_alt;
            cmp al, 0x2a; // false shifts around the grey keys
            je .ignore;
            cmp al, 0x36;
            je .ignore;
            cmp al, 0x37;
            je @print_screen_key;
            cmp al, 0x46;
            je @break_key;
            jmp @plain_key;
        .ignore:
            ret;
        shift_key:
            or dh, dh;
            js .up;
            or byte_ptr(bda::SHIFT_FLAGS), ah;
            ret;
        .up:
            not ah;
            and byte_ptr(bda::SHIFT_FLAGS), ah;
            ret;
        // 40:18 bits 0 and 1 tell the left Ctrl and Alt; 40:17 has both sides together.
        left_ctrl:
            mov cx, 0x0100 + CTRL;
            jmp @left_modifier;
        left_alt:
            mov cx, 0x0200 + ALT;
            jmp @left_modifier;
        right_ctrl:
            mov cx, (RIGHT_CTRL << 8) + CTRL;
            jmp @right_modifier;
        right_alt:
            mov cx, (RIGHT_ALT << 8) + ALT;
            jmp @right_modifier;
        left_modifier:
            mov si, bda::SHIFT_KEYS;
            jmp @either_modifier;
        right_modifier:
            mov si, bda::KEYBOARD_STATE;
        either_modifier:
            or dh, dh;
            js .up;
            or byte_ptr(si), ch;
            or byte_ptr(bda::SHIFT_FLAGS), cl;
            ret;
        .up:
            not ch;
            and byte_ptr(si), ch;
            // The other side may still be down: bits 0/1 of 40:18 on the left, 2/3 of 40:96 on the right.
            mov al, byte_ptr(bda::KEYBOARD_STATE);
            shr al, 2;
            or al, byte_ptr(bda::SHIFT_KEYS);
            and al, 3;
            shl al, 2;
            and byte_ptr(bda::SHIFT_FLAGS), 0xff - CTRL - ALT;
            or byte_ptr(bda::SHIFT_FLAGS), al;
            cmp cl, ALT;
            jne .done;
            test al, ALT;
            jnz .done;
            // Alt released: a number typed on the keypad becomes a character.
            mov al, 0;
            xchg byte_ptr(bda::ALT_NUMPAD), al;
            or al, al;
            jz .done;
            mov ah, 0;
            jmp @store_key;
        .done:
            ret;
    );
    Ok(())
}

fn emit_special(b: &mut Builder) -> Emit {
    x86!(b;
        scroll_lock_key:
            // With Ctrl, an 84-key keyboard's Break.
            test byte_ptr(bda::SHIFT_FLAGS), CTRL;
            jnz @break_key;
            jmp @lock_key;
        num_lock_key:
            test byte_ptr(bda::SHIFT_FLAGS), CTRL;
            jz @lock_key;
            or dh, dh;
            jns @pause;
            ret;
        // CL: bit in 40:17 (the lock) and in 40:18 (the key is down, so that repeats do not toggle).
        lock_key:
            or dh, dh;
            js .up;
            test byte_ptr(bda::SHIFT_KEYS), cl;
            jnz .done;
            or byte_ptr(bda::SHIFT_KEYS), cl;
            xor byte_ptr(bda::SHIFT_FLAGS), cl;
        .done:
            ret;
        .up:
            not cl;
            and byte_ptr(bda::SHIFT_KEYS), cl;
            ret;
        system_request:
            mov ax, 0x8500;
            or dh, dh;
            jns .call;
            inc ax;
        .call:
            push ax;
            mov al, 0x20;
            out 0x20, al;
            pop ax;
            sti;
            int 0x15;
            cli;
            ret;
        print_screen_key:
            or dh, dh;
            js .done;
            test byte_ptr(bda::SHIFT_FLAGS), CTRL;
            jnz .ctrl;
            mov al, 0x20;
            out 0x20, al;
            sti;
            int 0x05;
            cli;
        .done:
            ret;
        .ctrl:
            mov ax, 0x7200;
            jmp @store_key;
        break_key:
            or dh, dh;
            js .done;
            mov byte_ptr(bda::BREAK_FLAG), 0x80;
            mov ax, word_ptr(bda::KEY_BUFFER_START);
            mov word_ptr(bda::KEY_HEAD), ax;
            mov word_ptr(bda::KEY_TAIL), ax;
            int 0x1b;
            xor ax, ax;
            jmp @store_key;
        .done:
            ret;
        // Ctrl-Alt-Del: a warm start by the reset control register, else by the keyboard controller.
        reboot:
            mov word_ptr(bda::RESET_FLAG), 0x1234;
        hard_reset:
            cli;
            mov dx, 0xcf9;
            mov al, 0x02;
            out dx, al;
            mov al, 0x06;
            out dx, al;
            call @kbc_ready;
            mov al, 0xfe;
            out 0x64, al;
        .wait:
            hlt;
            jmp .wait;
        // The keyboard's lights follow 40:17; 40:97 has what was sent last. The acknowledgements arrive as interrupts
        // or are read here, whichever comes first.
        update_leds:
            mov al, byte_ptr(bda::SHIFT_FLAGS);
            shr al, 4;
            and al, 7;
            mov ah, byte_ptr(bda::KEYBOARD_LEDS);
            and ah, 7;
            cmp al, ah;
            je .same;
            and byte_ptr(bda::KEYBOARD_LEDS), 0xf8;
            or byte_ptr(bda::KEYBOARD_LEDS), al;
            push ax;
            mov al, 0xed;
            call @kbc_send;
            call @kbc_data;
            pop ax;
            call @kbc_send;
            call @kbc_data;
        .same:
            ret;
    );
    Ok(())
}

fn emit_translate(b: &mut Builder) -> Emit {
    x86!(b;
        // A key that is not a modifier: AL make code, DL bit 1 extended, DH bit 7 released.
        plain_key:
            or dh, dh;
            js .done;
            test byte_ptr(bda::SHIFT_KEYS), PAUSED;
            jz .running;
            and byte_ptr(bda::SHIFT_KEYS), 0xff - PAUSED;
        .done:
            ret;
        .running:
            mov cl, byte_ptr(bda::SHIFT_FLAGS);
            cmp al, 0x53;
            jne .not_delete;
            mov ch, cl;
            and ch, CTRL + ALT;
            cmp ch, CTRL + ALT;
            je @reboot;
        .not_delete:
            test dl, LAST_E0;
            jz .main;
            mov si, b.at("extended_key_table");
        .find:
            mov ah, byte_ptr(si).cs();
            inc si;
            or ah, ah;
            jz .done;
            cmp ah, al;
            je .column;
            add si, 8;
            jmp .find;
        .main:
            cmp al, LAST_SCAN;
            ja .done;
            movzx si, al;
            shl si, 3;
            add si, b.at("key_table");
            // Alt with the keypad's digits collects a character code.
            test cl, ALT;
            jz .column;
            cmp al, 0x47;
            jb .column;
            cmp al, 0x52;
            ja .column;
            mov bl, byte_ptr(si + 2).cs(); // the digit is in the shifted code
            sub bl, b'0' as i32;
            cmp bl, 9;
            ja .column;
            mov al, byte_ptr(bda::ALT_NUMPAD);
            mov ah, 10;
            mul ah;
            add al, bl;
            mov byte_ptr(bda::ALT_NUMPAD), al;
            ret;
        // CS:SI = four codes; choose by Alt, then Ctrl, then Shift.
        .column:
            test cl, ALT;
            jz .not_alt;
            add si, 6;
            jmp .load;
        .not_alt:
            test cl, CTRL;
            jz .not_ctrl;
            add si, 4;
            jmp .load;
        .not_ctrl:
            mov ch, 0; // CH: nonzero when the shifted code applies
            test cl, LEFT_SHIFT + RIGHT_SHIFT;
            jz .no_shift;
            inc ch;
        .no_shift:
            test dl, LAST_E0;
            jnz .choose;
            cmp al, 0x47;
            jb .letters;
            cmp al, 0x53;
            ja .choose;
            test cl, 0x20; // Num Lock
            jz .choose;
            xor ch, 1;
            jmp .choose;
        .letters:
            test cl, 0x40; // Caps Lock
            jz .choose;
            movzx bx, al;
            bt word_ptr(b.at("letter_bits")).cs(), bx;
            jnc .choose;
            xor ch, 1;
        .choose:
            or ch, ch;
            jz .load;
            add si, 2;
        .load:
            mov ax, word_ptr(si).cs();
            or ax, ax;
            jz .done;
        // Puts AX into the keyboard buffer. A full buffer drops it: CF set.
        store_key:
            mov bx, word_ptr(bda::KEY_TAIL);
            mov si, bx;
            add bx, 2;
            cmp bx, word_ptr(bda::KEY_BUFFER_END);
            jb .inside;
            mov bx, word_ptr(bda::KEY_BUFFER_START);
        .inside:
            cmp bx, word_ptr(bda::KEY_HEAD);
            je .full;
            mov word_ptr(si), ax;
            mov word_ptr(bda::KEY_TAIL), bx;
            clc;
            ret;
        .full:
            stc;
            ret;
    );
    Ok(())
}
