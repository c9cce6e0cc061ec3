//! int 19h, the boot service, and int 18h, what follows when nothing boots.
//!
//! The order comes from CMOS 3Dh and 38h as three nibbles (1 floppy, 2 disk, 3 CD); an empty order means floppy, disk,
//! CD.

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
            mov bh, al;
            mov al, 0x3d;
            call @cmos_read;
            mov bl, al;
            or bx, bx;
            jnz .order;
            mov bx, 0x0321;
        .order:
            mov cx, 3;
        .device:
            push bx;
            push cx;
            and bl, 0x0f;
            cmp bl, 1;
            je .floppy;
            cmp bl, 2;
            je .disk;
            cmp bl, 3;
            je .cd;
        .failed:
            xor ax, ax;
            mov ds, ax;
            mov es, ax;
            pop cx;
            pop bx;
            shr bx, 4;
            loop_ .device;
            int 0x18;
        .floppy:
            mov al, 0x10;
            call @cmos_read;
            test al, 0xf0;
            jz .failed;
            mov si, b.at("text_boot_floppy");
            mov dl, 0;
            jmp .sector;
        .disk:
            push crate::layout::BDA;
            pop es;
            cmp byte_ptr(crate::layout::bda::DISK_COUNT).es(), 0;
            je .failed;
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
            jmp .failed;
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
            je .failed;
            mov si, b.at("text_boot_cd");
            call @print;
            call @cd_load;
            jc .unreadable;
            or al, al;
            jnz .unbootable;
            mov dl, ah;
            xor ax, ax;
            mov ds, ax;
            mov es, ax;
            // BX = segment that the catalogue asks for.
            mov sp, 0x7000;
            push bx;
            push 0;
            cmp bx, 0x07c0;
            jne .cd_go;
            add sp, 4;
            push 0;
            push 0x7c00;
        .cd_go:
            retf;
        int18:
            mov si, b.at("text_nothing");
            call @print;
            sti;
            mov ah, 0;
            int 0x16;
            int 0x19;
    );
    Ok(())
}
