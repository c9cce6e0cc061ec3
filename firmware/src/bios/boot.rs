//! int 19h, the boot service, and int 18h, what follows when nothing boots.
//!
//! The order comes from CMOS 3Dh and 38h as three nibbles (1 floppy, 2 disk, 3 CD, 4 network); what it leaves out comes
//! behind it. Esc during POST, or bit 0 of CMOS 3Fh, opens a menu first; what is chosen there is tried before that order.
//! int 18h goes on with what comes next.

use super::entry_points::PNP;
use crate::asm::{Builder, Emit, x86};
use crate::layout::{EBDA, ebda};
use iced_x86::code_asm::*;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        int19:
            cli;
            xor ax, ax;
            mov ss, ax;
            mov sp, 0x7000;
            mov ds, ax;
            mov es, ax;
            sti;
            cld;
            mov al, 0x38;
            call @cmos_read;
            shr al, 4;
            movzx ebx, al;
            shl ebx, 8;
            mov al, 0x3d;
            call @cmos_read;
            mov bl, al;
            // What is not in it follows: each of 1 to 4 is looked for, CL being where the order ends.
            mov dl, 1;
        .complete:
            mov eax, ebx;
            mov cl, 0;
        .look:
            or eax, eax;
            jz .append;
            mov dh, al;
            and dh, 0x0f;
            cmp dh, dl;
            je .present;
            shr eax, 4;
            add cl, 4;
            jmp .look;
        .append:
            movzx eax, dl;
            shl eax, cl;
            or ebx, eax;
        .present:
            inc dl;
            cmp dl, 4;
            jbe .complete;
            push EBDA;
            pop es;
            mov al, 0;
            xchg byte_ptr(ebda::BOOT_CHOICE).es(), al;
            or al, al;
            jz .ordered;
            shl ebx, 4;
            or bl, al;
        .ordered:
            mov dword_ptr(ebda::BOOT_ORDER).es(), ebx;
        // Tries what comes next in the order, with a fresh stack.
        boot_next:
            cli;
            xor ax, ax;
            mov ss, ax;
            mov sp, 0x7000;
            mov ds, ax;
            sti;
            cld;
            call @emulation_end;
            push EBDA;
            pop es;
            mov eax, dword_ptr(ebda::BOOT_ORDER).es();
            or eax, eax;
            jz .nothing;
            mov bl, al;
            shr eax, 4;
            mov dword_ptr(ebda::BOOT_ORDER).es(), eax;
            push 0;
            pop es;
            and bl, 0x0f;
            cmp bl, 1;
            je .floppy;
            cmp bl, 2;
            je .disk;
            cmp bl, 3;
            je .cd;
            cmp bl, 4;
            jne @boot_next;
            // A ROM that can start something does so by its bootstrap entry vector; it comes back if it cannot.
            push EBDA;
            pop ds;
            cmp word_ptr(ebda::BEV_SEGMENT), 0;
            je @boot_next;
            mov si, b.at("text_boot_network");
            call @print;
            push cs;
            push b.at("boot_next");
            push word_ptr(ebda::BEV_SEGMENT);
            push word_ptr(ebda::BEV_OFFSET);
            push cs;
            pop es;
            mov di, PNP as i32;
            retf;
        .nothing:
            mov si, b.at("text_nothing");
            call @print;
            mov ah, 0;
            int 0x16;
            int 0x19;
        .floppy:
            mov al, 0x10;
            call @cmos_read;
            test al, 0xf0;
            jz @boot_next;
            mov si, b.at("text_boot_floppy");
            mov dl, 0;
            jmp .sector;
        .disk:
            push crate::layout::BDA;
            pop es;
            cmp byte_ptr(crate::layout::bda::DISK_COUNT).es(), 0;
            je @boot_next;
            xor ax, ax;
            mov es, ax;
            mov si, b.at("text_boot_disk");
            mov dl, 0x80;
        .sector:
            call @print;
            mov di, 4;
        .retry:
            xor ax, ax;
            mov es, ax;
            mov ax, 0x0201;
            mov bx, 0x7c00;
            mov cx, 1;
            mov dh, 0;
            int 0x13;
            jnc .loaded;
            cmp ah, 0x80; // time-out: no medium, trying again only costs time
            je .unreadable;
            mov ah, 0;
            int 0x13;
            dec di;
            jnz .retry;
        .unreadable:
            mov si, b.at("text_unreadable");
            jmp .complain;
        .unbootable:
            mov si, b.at("text_unbootable");
        .complain:
            call @print;
            jmp @boot_next;
        .loaded:
            // A disk needs the signature; floppies older than it only have to start with something.
            cmp word_ptr(0x7dfe), 0xaa55;
            je .go;
            or dl, dl;
            js .unbootable;
            mov ax, word_ptr(0x7c00);
            or ax, ax;
            jz .unbootable;
            cmp ax, 0xf6f6;
            je .unbootable;
        .go:
            xor ax, ax;
            mov bx, ax;
            mov cx, ax;
            mov si, ax;
            mov di, ax;
            mov bp, ax;
            mov dh, 0;
            mov sp, 0x7000;
            db &[0xea, 0x00, 0x7c, 0x00, 0x00]; // jmp 0000:7C00
        .cd:
            push EBDA;
            pop es;
            cmp byte_ptr(ebda::CD_DRIVE).es(), 0xff;
            je @boot_next;
            mov si, b.at("text_boot_cd");
            call @print;
            call @cd_load;
            jc .unreadable;
            or al, al;
            jnz .unbootable;
        // Starts what was loaded from a CD to segment BX, as drive AH.
        cd_start:
            mov dl, ah;
            cli;
            xor ax, ax;
            mov ss, ax;
            mov sp, 0x7000;
            mov ds, ax;
            mov es, ax;
            sti;
            cmp bx, 0x07c0;
            je .customary;
            push bx;
            push 0;
            retf;
        .customary:
            push 0;
            push 0x7c00;
            retf;
        int18:
            jmp @boot_next;
    );
    emit_menu(b)
}

/// The menu of what can be started.
fn emit_menu(b: &mut Builder) -> Emit {
    x86!(b;
        // Asks if the user pressed Esc during POST or the set-up says so.
        boot_menu:
            mov al, 0x3f;
            call @cmos_read;
            test al, 1;
            jnz .ask;
            // A key that was pressed before the keyboard was switched on may still be on its way: eleven bits at 12.5 kHz.
            mov eax, 1000;
            call @wait_microseconds;
            mov ah, 1;
            int 0x16;
            jz .done;
            cmp al, 0x1b;
            jne .done;
            mov ah, 0;
            int 0x16;
        .ask:
            push EBDA;
            pop es;
            mov si, b.at("text_menu");
            call @print;
            call @boot_choices;
            test bl, 1 << 1;
            jz .no_floppy;
            mov si, b.at("text_menu_floppy");
            call @print;
        .no_floppy:
            test bl, 1 << 2;
            jz .no_disk;
            mov si, b.at("text_menu_disk");
            call @print;
        .no_disk:
            test bl, 1 << 3;
            jz .no_cd;
            mov si, b.at("text_menu_cd");
            call @print;
        .no_cd:
            test bl, 1 << 4;
            jz .no_network;
            mov si, b.at("text_menu_network");
            call @print;
            push es;
            mov si, word_ptr(ebda::BEV_NAME).es();
            mov es, word_ptr(ebda::BEV_SEGMENT).es();
            call @print_name;
            pop es;
            mov si, b.at("text_newline");
            call @print;
        .no_network:
            mov si, b.at("text_menu_usual");
            call @print;
        .key:
            mov ah, 0;
            int 0x16;
            cmp al, 0x1b;
            je .chosen;
            cmp al, 0x0d;
            je .chosen;
            sub al, b'0' as i32;
            jbe .key;
            cmp al, 4;
            ja .key;
            call @boot_choices;
            movzx cx, al;
            bt bx, cx;
            jnc .key;
            mov byte_ptr(ebda::BOOT_CHOICE).es(), al;
        .chosen:
            mov si, b.at("text_newline");
            call @print;
        .done:
            ret;
        // BX = bits of what there is: 1 floppy, 2 disk, 3 CD, 4 network. ES = EBDA.
        boot_choices:
            push ax;
            xor bx, bx;
            mov al, 0x10;
            call @cmos_read;
            test al, 0xf0;
            jz .no_floppy;
            or bl, 1 << 1;
        .no_floppy:
            push ds;
            push crate::layout::BDA;
            pop ds;
            cmp byte_ptr(crate::layout::bda::DISK_COUNT), 0;
            pop ds;
            je .no_disk;
            or bl, 1 << 2;
        .no_disk:
            cmp byte_ptr(ebda::CD_DRIVE).es(), 0xff;
            je .no_cd;
            or bl, 1 << 3;
        .no_cd:
            cmp word_ptr(ebda::BEV_SEGMENT).es(), 0;
            je .no_network;
            or bl, 1 << 4;
        .no_network:
            pop ax;
            ret;
    );
    Ok(())
}
