//! Power-on self test: from the reset vector to the boot service.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{BASE_KIB, BDA, EBDA, bda, ebda};
use iced_x86::code_asm::*;

/// Vectors of segment F000h; whatever is not named here points to an IRET, IRQs to their acknowledging handlers.
const VECTORS: &[(u8, &str)] = &[
    (0x05, "int05"),
    (0x08, "int08"),
    (0x09, "int09"),
    (0x0a, "unexpected_irq"),
    (0x0b, "unexpected_irq"),
    (0x0c, "unexpected_irq"),
    (0x0d, "unexpected_irq"),
    (0x0e, "int0e"),
    (0x0f, "unexpected_irq"),
    (0x11, "int11"),
    (0x12, "int12"),
    (0x13, "int13"),
    (0x14, "int14"),
    (0x15, "int15"),
    (0x16, "int16"),
    (0x17, "int17"),
    (0x18, "int18"),
    (0x19, "int19"),
    (0x1a, "int1a"),
    (0x40, "int40"),
    (0x70, "int70"),
    (0x71, "int71"),
    (0x72, "unexpected_slave_irq"),
    (0x73, "unexpected_slave_irq"),
    (0x74, "int74"),
    (0x75, "int75"),
    (0x76, "int76"),
    (0x77, "int76"),
];

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        post:
            cli;
            cld;
            // A shutdown code in CMOS 0Fh means that a program reset the processor to leave protected mode.
            mov al, 0x8f;
            out 0x70, al;
            in_ al, 0x71;
            mov ah, al;
            mov al, 0x8f;
            out 0x70, al;
            mov al, 0;
            out 0x71, al;
            mov al, 0x0d;
            out 0x70, al;
            cmp ah, 0x05;
            je .resume_acknowledged;
            cmp ah, 0x0a;
            jne .cold;
            xor ax, ax;
            mov ds, ax;
            db &[0xff, 0x2e, 0x67, 0x04]; // jmp far [0467h]
        .resume_acknowledged:
            mov al, 0x20;
            out 0x20, al;
            xor ax, ax;
            mov ds, ax;
            db &[0xff, 0x2e, 0x67, 0x04];
        .cold:
            xor ax, ax;
            mov ss, ax;
            mov sp, 0x7000;
            mov es, ax;
            // Memory that still has what POST put there: the machine has been running since it was switched on.
            cmp word_ptr((BDA << 4) + bda::EBDA_SEGMENT).es(), EBDA;
            sete dl;
            xor di, di;
            mov cx, 0x500 / 4;
            xor eax, eax;
            rep stosd;
            push EBDA;
            pop es;
            xor di, di;
            mov cx, 0x400 / 4;
            rep stosd;
            mov byte_ptr(ebda::RESTART).es(), dl;
            push BDA;
            pop ds;
            call @a20_on;
            call @init_pic;
            call @init_local_apic;
            call @init_timer;
            call @init_dma;
            call @init_vectors;
            call @init_data_areas;
            call @pci_init;
            call @init_clock;
            call @video_init;
            call @show_banner;
            // Interrupts stay off until the keyboard controller has answered: int 09h would take its replies.
            call @init_keyboard;
            call @ports_init;
            sti;
            call @floppy_init;
            call @disk_init;
            call @show_devices;
            call @pmm_open;
            call @option_roms;
            call @boot_menu;
            call @pmm_close;
            int 0x19;
        .halt:
            hlt;
            jmp .halt;

        init_vectors:
            xor ax, ax;
            mov es, ax;
            xor di, di;
            mov cx, 0x78;
        .plain:
            mov ax, b.at("just_return");
            stosw;
            mov ax, cs;
            stosw;
            loop_ .plain;
            mov si, b.at("vector_table");
        .next:
            cs lodsb;
            cmp al, 0xff;
            je .pointers;
            movzx di, al;
            shl di, 2;
            cs lodsw;
            stosw;
            mov ax, cs;
            stosw;
            jmp .next;
        .pointers:
            mov dword_ptr(4 * 0x1d).es(), 0;
            mov word_ptr(4 * 0x1e).es(), 0xefc7;
            mov word_ptr(4 * 0x41).es(), ebda::DISK_TABLES;
            mov word_ptr(4 * 0x41 + 2).es(), EBDA;
            mov word_ptr(4 * 0x46).es(), ebda::DISK_TABLES + 16;
            mov word_ptr(4 * 0x46 + 2).es(), EBDA;
            // int 60h-67h are for programs and start out null.
            xor eax, eax;
            mov di, 4 * 0x60;
            mov cx, 8;
            rep stosd;
            ret;

        init_data_areas:
            push EBDA;
            pop es;
            mov byte_ptr(ebda::SIZE_KIB).es(), 1;
            mov byte_ptr(ebda::CD_DRIVE).es(), 0xff;
            mov byte_ptr(ebda::TYPEMATIC).es(), super::keyboard_service::POWER_ON_RATE;
            mov dword_ptr(ebda::DISK_MAP).es(), 0xffff_ffffu32;
            mov word_ptr(bda::EBDA_SEGMENT), EBDA;
            mov word_ptr(bda::MEMORY_KIB), BASE_KIB;
            mov word_ptr(bda::KEY_HEAD), bda::KEY_BUFFER;
            mov word_ptr(bda::KEY_TAIL), bda::KEY_BUFFER;
            mov word_ptr(bda::KEY_BUFFER_START), bda::KEY_BUFFER;
            mov word_ptr(bda::KEY_BUFFER_END), bda::KEY_BUFFER + 32;
            mov byte_ptr(bda::KEYBOARD_STATE), 0x10;
            mov dword_ptr(bda::LPT_TIMEOUTS), 0x1414_1414;
            mov dword_ptr(bda::COM_TIMEOUTS), 0x0101_0101;
            // Bit 1 of the equipment word: a coprocessor stores a zero status after FNINIT.
            push 0x5a5a;
            mov bp, sp;
            fninit;
            fnstsw word_ptr(bp);
            pop ax;
            or al, al;
            jnz .no_coprocessor;
            or byte_ptr(bda::EQUIPMENT), 2;
        .no_coprocessor:
            ret;

        // Initialises the video adapter through its ROM at C0000h, else through the VGA BIOS at the bottom of this
        // segment, which is position independent.
        video_init:
            call @pci_video_rom;
            push 0xc000;
            pop es;
            cmp word_ptr(0).es(), 0xaa55;
            jne .own;
            call @pci_video_address;
            push cs;
            push b.at("video_init.ready");
            push 0xc000;
            push 3;
            retf;
        .own:
            push cs;
            push b.at("video_init.ready");
            push cs;
            push 3;
            retf;
        .ready:
            push BDA;
            pop ds;
            cld;
            ret;
    );
    x86!(b; vector_table:);
    for (vector, name) in VECTORS {
        b.db(&[*vector])?;
        b.addresses(&[name])?;
    }
    b.db(&[0xff])
}
