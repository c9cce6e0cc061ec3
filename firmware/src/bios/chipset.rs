//! Power-on state of the interrupt controllers, the timer, the clock and the keyboard controller.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{EBDA, ebda};
use iced_x86::code_asm::*;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        // 8259A pair: vectors 08h and 70h, edge triggered, cascade on IRQ2. All lines masked but timer, keyboard,
        // cascade, floppy; on the slave clock, mouse and the two disks.
        init_pic:
            mov al, 0x11; // ICW1: ICW4 follows
            out 0x20, al;
            out 0xa0, al;
            mov al, 0x08; // ICW2
            out 0x21, al;
            mov al, 0x70;
            out 0xa1, al;
            mov al, 0x04; // ICW3
            out 0x21, al;
            mov al, 0x02;
            out 0xa1, al;
            mov al, 0x01; // ICW4: 8086 mode
            out 0x21, al;
            out 0xa1, al;
            mov al, 0xb8; // OCW1
            out 0x21, al;
            mov al, 0x0e;
            out 0xa1, al;
            ret;
        // A processor with a local APIC gets the 8259A's interrupts through LINT0 ("virtual wire" of the MultiProcessor
        // specification) and NMI through LINT1. Spurious interrupts go to vector 0Fh. The I/O APIC gets an ID of its own.
        init_local_apic:
            pushfd;
            pop eax;
            mov ecx, eax;
            xor eax, 0x0020_0000; // the ID flag moves where CPUID exists
            push eax;
            popfd;
            pushfd;
            pop eax;
            push ecx;
            popfd;
            xor eax, ecx;
            test eax, 0x0020_0000;
            jz .absent;
            mov eax, 1;
            cpuid;
            test dh, 0x02;
            jz .absent;
            push ds;
            push es;
            call @flat_on;
            mov esi, 0xfee0_0000u32;
            mov dword_ptr(esi + 0xf0), 0x010f;
            mov dword_ptr(esi + 0x350), 0x0700; // ExtINT
            mov dword_ptr(esi + 0x360), 0x0400; // NMI
            mov esi, 0xfec0_0000u32;
            mov dword_ptr(esi), 0x00; // the I/O APIC's ID: 1
            mov dword_ptr(esi + 0x10), 0x0100_0000;
            call @flat_off;
            pop es;
            pop ds;
        .absent:
            ret;
        // 8254: counter 0 in mode 3 at 65536 (18.2 Hz), counter 1 in mode 2 at 18 (DRAM refresh), counter 2 in mode 3
        // for the speaker.
        init_timer:
            mov al, 0x36;
            out 0x43, al;
            mov al, 0;
            out 0x40, al;
            out 0x40, al;
            mov al, 0x54;
            out 0x43, al;
            mov al, 18;
            out 0x41, al;
            mov al, 0xb6;
            out 0x43, al;
            mov ax, 0x0533;
            out 0x42, al;
            mov al, ah;
            out 0x42, al;
            ret;
        // 8237A pair: master clear, channel 4 cascades the first controller, others masked by the clear.
        init_dma:
            out 0x0d, al;
            out 0xda, al;
            mov al, 0xc0;
            out 0xd6, al;
            mov al, 0;
            out 0xd4, al;
            ret;
        // MC146818: 32768 Hz time base, 1024 Hz rate, 24-hour BCD, no interrupts; the tick count follows the clock.
        init_clock:
            mov ax, 0x260a;
            call @cmos_write;
            mov ax, 0x020b;
            call @cmos_write;
            mov al, 0x0c;
            call @cmos_read;
            call @rtc_settle;
            // Ticks = seconds of the day * 1193182 / 65536, the numerator being a 64-bit product.
            mov al, 0x04;
            call @cmos_read;
            call @from_bcd;
            movzx ecx, al;
            imul_3 ecx, ecx, 60;
            mov al, 0x02;
            call @cmos_read;
            call @from_bcd;
            movzx eax, al;
            add ecx, eax;
            imul_3 ecx, ecx, 60;
            mov al, 0x00;
            call @cmos_read;
            call @from_bcd;
            movzx eax, al;
            add eax, ecx;
            cmp eax, 86_400;
            jb .valid;
            xor eax, eax;
        .valid:
            mov ecx, 1_193_182;
            mul ecx;
            shrd eax, edx, 16;
            mov dword_ptr(crate::layout::bda::TICKS), eax;
            mov byte_ptr(crate::layout::bda::MIDNIGHT), 0;
            ret;
        // 8042: self test, translation and IRQ1 on; mouse; keyboard. Each wait is bounded, so that a machine without a
        // keyboard still boots. At power-on a keyboard has tested itself and scans, so an echo is all that is asked of it,
        // and what was typed meanwhile is kept. Only after a reset it may be in any state, and is reset too, which takes
        // half a second on some.
        init_keyboard:
            call @kbc_flush;
            mov al, 0xaa;
            call @kbc_command;
            call @kbc_data;
            jc .absent;
            mov al, 0x60;
            call @kbc_command;
            mov al, 0x74; // translate, both ports off, system flag, IRQ1 off for now
            call @kbc_send;
            call @mouse_init;
            push EBDA;
            pop es;
            cmp byte_ptr(ebda::RESTART).es(), 0;
            jne .reset;
            mov al, 0xee;
            call @kbc_send;
            call @kbc_data;
            jc .enable;
            cmp al, 0xee;
            je .enable;
        .reset:
            mov al, 0xff; // FAh, then AAh when its test is over
            call @kbc_send;
            call @kbc_data;
            jc .enable;
            call @kbc_data;
            mov al, 0xf4; // scanning on
            call @kbc_send;
            call @kbc_data;
            call @kbc_flush;
        .enable:
            mov al, 0x60;
            call @kbc_command;
            mov al, 0x65;
            call @kbc_send;
        .absent:
            ret;
        kbc_flush:
            mov cx, 64;
        .next:
            in_ al, 0x64;
            test al, 1;
            jz .done;
            in_ al, 0x60;
            loop_ .next;
        .done:
            ret;
        // Waits until the input buffer is free. CF set after 65536 polls.
        kbc_ready:
            push cx;
            push ax;
            xor cx, cx;
        .poll:
            in_ al, 0x64;
            test al, 2;
            jz .free;
            loop_ .poll;
            stc;
        .free:
            pop ax;
            pop cx;
            ret;
        kbc_command:
            call @kbc_ready;
            out 0x64, al;
            ret;
        kbc_send:
            call @kbc_ready;
            out 0x60, al;
            ret;
        // AL = next byte from the controller. CF set when none comes for about a second: a device that was reset tests
        // itself for half of that. Port 61h bit 4 changes every 15 microseconds, however fast the processor is.
        kbc_data:
            push ecx;
            push dx;
            mov ecx, 0x1_0000;
        .poll:
            in_ al, 0x64;
            cmp al, 0xff;
            je .none;
            test al, 1;
            jnz .ready;
            in_ al, 0x61;
            and al, 0x10;
            cmp al, dl;
            je .poll;
            mov dl, al;
            dec ecx;
            jnz .poll;
        .none:
            pop dx;
            pop ecx;
            stc;
            ret;
        .ready:
            in_ al, 0x60;
            pop dx;
            pop ecx;
            clc;
            ret;
        // A20 through port 92h; changes AL.
        a20_on:
            in_ al, 0x92;
            or al, 2;
            and al, 0xfe;
            out 0x92, al;
            ret;
        a20_off:
            in_ al, 0x92;
            and al, 0xfc;
            out 0x92, al;
            ret;
        end_of_irq:
            push ax;
            mov al, 0x20;
            out 0x20, al;
            pop ax;
            ret;
        end_of_slave_irq:
            push ax;
            mov al, 0x20;
            out 0xa0, al;
            out 0x20, al;
            pop ax;
            ret;
        // IRQs that nobody serves: acknowledge, and remember the master's in-service bits at 40:6B as the AT does.
        // A master line that is in service with no handler is masked so that it cannot repeat for ever.
        unexpected_irq:
            push ax;
            push ds;
            push crate::layout::BDA;
            pop ds;
            mov al, 0x0b;
            out 0x20, al;
            in_ al, 0x20;
            mov byte_ptr(0x6b), al;
            or al, al;
            jz .done;
            mov al, 0x20;
            out 0x20, al;
        .done:
            pop ds;
            pop ax;
            iret;
        unexpected_slave_irq:
            push ax;
            mov al, 0x0b;
            out 0xa0, al;
            in_ al, 0xa0;
            or al, al;
            jz .spurious;
            mov al, 0x20;
            out 0xa0, al;
        .spurious:
            mov al, 0x20;
            out 0x20, al;
            pop ax;
            iret;
        just_return:
            iret;
    );
    Ok(())
}
