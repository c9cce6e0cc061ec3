//! The pointing device on the 8042's auxiliary port: int 15h AH=C2h and IRQ12 (int 74h).

use crate::asm::{Builder, Emit, x86};
use crate::layout::{EBDA, bda, ebda, frame};
use iced_x86::code_asm::*;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        // Equipment bit 2 when something answers at the auxiliary port. The keyboard's is off meanwhile.
        mouse_init:
            mov al, 0xa8;
            call @kbc_command;
            mov al, 0xf6; // defaults, which also stops reporting
            call @mouse_send;
            jc .absent;
            or byte_ptr(bda::EQUIPMENT), 4;
        .absent:
            mov al, 0xa7;
            call @kbc_command;
            ret;
        // Sends AL to the mouse. CF set without an acknowledgement.
        mouse_send:
            push ax;
            mov al, 0xd4;
            call @kbc_command;
            pop ax;
            call @kbc_send;
            call @kbc_data;
            jc .done;
            cmp al, 0xfa;
            je .done;
            stc;
        .done:
            ret;
        mouse_service:
            push EBDA;
            pop es;
            cmp al, 7;
            ja .bad_function;
            // No packets and no key strokes while the mouse is spoken to.
            in_ al, 0x21;
            push ax;
            or al, 0x02;
            out 0x21, al;
            in_ al, 0xa1;
            push ax;
            or al, 0x10;
            out 0xa1, al;
            mov al, 0xa8;
            call @kbc_command;
            movzx bx, byte_ptr(bp + frame::AL);
            add bx, bx;
            mov ah, 0; // AH: the status to return
            call word_ptr(bx + b.at("mouse_table")).cs();
            mov bl, ah;
            mov byte_ptr(ebda::MOUSE_INDEX).es(), 0;
            pop ax;
            and al, 0xef;
            out 0xa1, al;
            pop ax;
            out 0x21, al;
            mov ah, bl;
            or ah, ah;
            jz @return_ok;
            jmp @return_error;
        .bad_function:
            mov ah, 1;
            jmp @return_error;
        mouse_table:
    );
    b.addresses(&[
        "mouse_enable",
        "mouse_reset",
        "mouse_rate",
        "mouse_resolution",
        "mouse_identify",
        "mouse_initialise",
        "mouse_extended",
        "mouse_set_handler",
    ])?;
    emit_functions(b)?;
    emit_irq(b)
}

/// The functions: parameters in the frame, ES at the EBDA, status left in AH.
fn emit_functions(b: &mut Builder) -> Emit {
    x86!(b;
        mouse_fail:
            mov ah, 4; // resend
            ret;
        mouse_bad:
            mov ah, 2; // invalid input
            ret;
        mouse_ok:
            mov ah, 0;
            ret;
        mouse_enable:
            mov bl, byte_ptr(bp + frame::BH);
            cmp bl, 1;
            ja @mouse_bad;
            jb .disable;
            test byte_ptr(ebda::MOUSE_FLAGS).es(), 0x80;
            jnz .enable;
            mov ah, 5; // no handler
            ret;
        .enable:
            mov al, 0xf4;
            call @mouse_send;
            jc @mouse_fail;
            // Command byte: both interrupts, both ports, translation.
            mov al, 0x60;
            call @kbc_command;
            mov al, 0x47;
            call @kbc_send;
            jmp @mouse_ok;
        .disable:
            mov al, 0xf5;
            call @mouse_send;
            jc @mouse_fail;
            jmp @mouse_ok;
        mouse_reset:
            mov al, 0xff;
            call @mouse_send;
            jc @mouse_fail;
            call @kbc_data;
            jc @mouse_fail;
            mov byte_ptr(bp + frame::BL), al;
            call @kbc_data;
            jc @mouse_fail;
            mov byte_ptr(bp + frame::BH), al;
            jmp @mouse_ok;
        mouse_rate:
            movzx bx, byte_ptr(bp + frame::BH);
            cmp bl, 6;
            ja @mouse_bad;
            mov al, 0xf3;
            call @mouse_send;
            jc @mouse_fail;
            mov al, byte_ptr(bx + b.at("mouse_rates")).cs();
            call @mouse_send;
            jc @mouse_fail;
            jmp @mouse_ok;
        mouse_resolution:
            mov bl, byte_ptr(bp + frame::BH);
            cmp bl, 3;
            ja @mouse_bad;
            mov al, 0xe8;
            call @mouse_send;
            jc @mouse_fail;
            mov al, bl;
            call @mouse_send;
            jc @mouse_fail;
            jmp @mouse_ok;
        mouse_identify:
            mov al, 0xf2;
            call @mouse_send;
            jc @mouse_fail;
            call @kbc_data;
            jc @mouse_fail;
            mov byte_ptr(bp + frame::BH), al;
            jmp @mouse_ok;
        mouse_initialise:
            mov al, byte_ptr(bp + frame::BH);
            dec al;
            cmp al, 7;
            ja @mouse_bad;
            and byte_ptr(ebda::MOUSE_FLAGS).es(), 0xf8;
            or byte_ptr(ebda::MOUSE_FLAGS).es(), al;
            jmp @mouse_reset;
        mouse_extended:
            mov bl, byte_ptr(bp + frame::BH);
            mov al, 0xe6;
            cmp bl, 1;
            je .scaling;
            mov al, 0xe7;
            cmp bl, 2;
            je .scaling;
            or bl, bl;
            jnz @mouse_bad;
            mov al, 0xe9;
            call @mouse_send;
            jc @mouse_fail;
            call @kbc_data;
            mov byte_ptr(bp + frame::BL), al;
            call @kbc_data;
            mov byte_ptr(bp + frame::CL), al;
            call @kbc_data;
            mov byte_ptr(bp + frame::DL), al;
            jmp @mouse_ok;
        .scaling:
            call @mouse_send;
            jc @mouse_fail;
            jmp @mouse_ok;
        mouse_set_handler:
            mov ax, word_ptr(bp + frame::BX);
            mov word_ptr(ebda::MOUSE_HANDLER).es(), ax;
            mov bx, word_ptr(bp + frame::ES);
            mov word_ptr(ebda::MOUSE_HANDLER + 2).es(), bx;
            and byte_ptr(ebda::MOUSE_FLAGS).es(), 0x7f;
            or ax, bx;
            jz @mouse_ok;
            or byte_ptr(ebda::MOUSE_FLAGS).es(), 0x80;
            jmp @mouse_ok;
        mouse_rates:
    );
    b.db(&[10, 20, 40, 60, 80, 100, 200])
}

fn emit_irq(b: &mut Builder) -> Emit {
    x86!(b;
        // Collects a packet and calls the handler with status, X, Y and a zero on the stack, one word each.
        int74:
            push ds;
            push es;
            pushad;
            cld;
            push EBDA;
            pop ds;
            in_ al, 0x64;
            and al, 0x21;
            cmp al, 0x21;
            jne .done;
            in_ al, 0x60;
            movzx bx, byte_ptr(ebda::MOUSE_INDEX);
            and bx, 7;
            mov byte_ptr(bx + ebda::MOUSE_PACKET), al;
            mov ah, byte_ptr(ebda::MOUSE_FLAGS);
            mov cl, ah;
            and cl, 7;
            cmp bl, cl;
            jae .complete;
            inc bx;
            mov byte_ptr(ebda::MOUSE_INDEX), bl;
            jmp .done;
        .complete:
            mov byte_ptr(ebda::MOUSE_INDEX), 0;
            test ah, 0x80;
            jz .done;
            movzx ax, byte_ptr(ebda::MOUSE_PACKET);
            push ax;
            movzx ax, byte_ptr(ebda::MOUSE_PACKET + 1);
            push ax;
            movzx ax, byte_ptr(ebda::MOUSE_PACKET + 2);
            push ax;
            push 0;
            push cs;
            push b.at("int74.called");
            push word_ptr(ebda::MOUSE_HANDLER + 2);
            push word_ptr(ebda::MOUSE_HANDLER);
            sti;
            retf;
        .called:
            cli;
            add sp, 8;
        .done:
            call @end_of_slave_irq;
            popad;
            pop es;
            pop ds;
            iret;
        // IRQ13, the coprocessor's error: clear it and go on as an NMI handler of the PC would (int 02h).
        int75:
            push ax;
            mov al, 0;
            out 0xf0, al;
            call @end_of_slave_irq;
            pop ax;
            int 0x02;
            iret;
        // IRQ2 moved to IRQ9: int 71h calls int 0Ah.
        int71:
            push ax;
            mov al, 0x20;
            out 0xa0, al;
            pop ax;
            int 0x0a;
            iret;
    );
    Ok(())
}
