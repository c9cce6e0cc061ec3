//! int 19h, the boot service, and int 18h, what follows when nothing boots.
//!
//! The order comes from CMOS 3Dh and 38h as three nibbles (1 floppy, 2 disk, 3 CD); an empty order means floppy, disk,
//! CD. Esc during POST, or bit 0 of CMOS 3Fh, opens a menu first; what is chosen there is tried before that order.

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
            call @emulation_end;
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
            push EBDA;
            pop es;
            mov al, 0;
            xchg byte_ptr(ebda::BOOT_CHOICE).es(), al;
            push 0;
            pop es;
            or al, al;
            jz .device;
            shl bx, 4;
            or bl, al;
            inc cx;
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
            cmp al, 3;
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
        // BX = bits of what there is: 1 floppy, 2 disk, 3 CD. ES = EBDA.
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
            pop ax;
            ret;
    );
    Ok(())
}
