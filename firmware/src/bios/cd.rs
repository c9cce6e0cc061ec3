//! Starting from CD by the El Torito specification, without emulation or with an image that stands for floppy A.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{EBDA, ebda, frame};
use iced_x86::code_asm::*;

pub fn emit(b: &mut Builder) -> Emit {
    emit_load(b)?;
    emit_emulated_floppy(b)
}

/// El Torito: the boot record volume descriptor at sector 17 names the catalogue, whose second entry is the image.
fn emit_load(b: &mut Builder) -> Emit {
    x86!(b;
        // Loads the CD's default boot image. CF set: unreadable; AL nonzero: not bootable; else BX = its segment and
        // AH = the drive number that it boots as.
        cd_load:
            mov di, 3; // a changed medium is reported once, as a unit attention
        .again:
            mov eax, 17;
            mov bx, 0x07c0;
            mov cx, 1;
            call @cd_read;
            jnc .descriptor;
            dec di;
            jnz .again;
            stc;
            ret;
        .descriptor:
            push 0x07c0;
            pop es;
            mov si, b.at("cd_signature");
            xor di, di;
            mov cx, 30;
        .compare:
            cs lodsb;
            cmp al, byte_ptr(di).es();
            jne .unbootable;
            inc di;
            loop_ .compare;
            mov eax, dword_ptr(0x47).es();
            mov bx, 0x07c0;
            mov cx, 1;
            call @cd_read;
            jc .done;
            push 0x07c0;
            pop es;
            cmp word_ptr(0x1e).es(), 0xaa55; // validation entry's key
            jne .unbootable;
            cmp byte_ptr(0x20).es(), 0x88; // bootable
            jne .unbootable;
            mov al, byte_ptr(0x21).es();
            and al, 0x0f; // 0 no emulation, 1 to 3 a floppy, 4 a hard disk
            cmp al, 3;
            ja .unbootable;
            mov bx, word_ptr(0x22).es();
            or bx, bx;
            jnz .segment;
            mov bx, 0x07c0;
        .segment:
            movzx ecx, word_ptr(0x26).es(); // 512-byte sectors
            add cx, 3;
            shr cx, 2;
            jnz .counted;
            inc cx;
        .counted:
            mov eax, dword_ptr(0x28).es();
            push ax;
            mov al, byte_ptr(0x21).es();
            and al, 0x0f;
            mov dl, al; // DL: media type
            pop ax;
            push bx;
            call @cd_read;
            pop bx;
            jc .done;
            push EBDA;
            pop es;
            mov byte_ptr(ebda::CD_MEDIA).es(), dl;
            mov dword_ptr(ebda::CD_IMAGE).es(), eax;
            mov ah, 0;
            or dl, dl;
            jnz .loaded;
            mov ah, 0xe0;
            mov byte_ptr(ebda::CD_BOOTED).es(), ah;
        .loaded:
            xor al, al;
        .done:
            ret;
        .unbootable:
            mov al, 1;
            clc;
            ret;
        cd_signature:
    );
    b.db(b"\x00CD001\x01EL TORITO SPECIFICATION\x00")
}

/// int 13h on drive 0 while a CD's image stands for it. ES is at the EBDA.
fn emit_emulated_floppy(b: &mut Builder) -> Emit {
    x86!(b;
        emulated_floppy:
            cmp ah, 0x02;
            je .read;
            cmp ah, 0x08;
            je .parameters;
            cmp ah, 0x15;
            je .kind;
            cmp ah, 0x4b;
            je .emulation;
            mov dl, ah;
            mov ah, 3; // write protected
            cmp dl, 3;
            je @floppy_return;
            cmp dl, 5;
            je @floppy_return;
            mov ah, 0;
            cmp dl, 4;
            jbe @floppy_return;
            cmp dl, 0x16;
            je @floppy_return;
            jmp @floppy_bad_command;
        .kind:
            mov byte_ptr(bp + frame::AH), 1;
            jmp @return_clear;
        .parameters:
            call .sectors;
            mov ch, 79;
            mov cl, al;
            mov word_ptr(bp + frame::CX), cx;
            mov word_ptr(bp + frame::DX), 0x0101;
            mov word_ptr(bp + frame::BX), 4;
            mov word_ptr(bp + frame::ES), cs;
            mov word_ptr(bp + frame::DI), 0xefc7;
            mov byte_ptr(bp + frame::AL), 0;
            mov ah, 0;
            jmp @floppy_return;
        // AL = sectors in a track.
        .sectors:
            mov al, 15;
            cmp byte_ptr(ebda::CD_MEDIA).es(), 2;
            jb .counted;
            mov al, 18;
            je .counted;
            mov al, 36;
        .counted:
            ret;
        .emulation:
            // AL = 0 ends the emulation, 1 only asks.
            cmp al, 1;
            ja @floppy_bad_command;
            mov di, word_ptr(bp + frame::SI);
            mov cl, byte_ptr(ebda::CD_MEDIA).es();
            mov ebx, dword_ptr(ebda::CD_IMAGE).es();
            or al, al;
            jnz .asked;
            mov byte_ptr(ebda::CD_MEDIA).es(), 0;
        .asked:
            mov es, word_ptr(bp + frame::DS);
            mov word_ptr(di).es(), 0x13;
            mov byte_ptr(di + 1).es(), cl;
            mov word_ptr(di + 2).es(), 0;
            mov dword_ptr(di + 4).es(), ebx;
            mov dword_ptr(di + 8).es(), 0;
            mov dword_ptr(di + 12).es(), 0;
            mov word_ptr(di + 16).es(), 0;
            mov byte_ptr(di + 18).es(), 0;
            mov ah, 0;
            jmp @floppy_return;
        .read:
            movzx ecx, al;
            or cx, cx;
            jz .done;
            movzx edi, word_ptr(bp + frame::ES);
            shl edi, 4;
            movzx eax, word_ptr(bp + frame::BX);
            add edi, eax;
            call .sectors;
            movzx ebx, al;
            movzx eax, byte_ptr(bp + frame::CH);
            add ax, ax;
            movzx dx, byte_ptr(bp + frame::DH);
            add ax, dx;
            imul_2 eax, ebx;
            movzx edx, byte_ptr(bp + frame::CL);
            add eax, edx;
            dec eax; // EAX: sector of the floppy
        .sector:
            push eax;
            push ecx;
            push edi;
            mov dl, al;
            and dl, 3;
            inc dl;
            mov byte_ptr(ebda::TRANSFER_PART).es(), dl;
            shr eax, 2;
            add eax, dword_ptr(ebda::CD_IMAGE).es();
            xor edx, edx;
            mov dl, 0xe0;
            push ax;
            call @disk_find;
            pop ax;
            mov dl, 0;
            mov ecx, 1;
            mov bl, 0;
            call @disk_transfer;
            mov byte_ptr(ebda::TRANSFER_PART).es(), 0;
            pop edi;
            pop ecx;
            mov dl, ah;
            pop eax;
            or dl, dl;
            jnz .failed;
            inc eax;
            add edi, 512;
            dec ecx;
            jnz .sector;
        .done:
            mov ah, 0;
            jmp @floppy_return;
        .failed:
            sub byte_ptr(bp + frame::AL), cl;
            mov ah, dl;
            jmp @floppy_return;
    );
    Ok(())
}
