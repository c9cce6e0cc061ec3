//! What is attached to the two legacy ATA channels: drive records in the EBDA, BIOS drive numbers, geometry.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{EBDA, bda, drive, ebda};
use iced_x86::code_asm::*;

/// Status register bits.
const ERR: i32 = 0x01;
const DRQ: i32 = 0x08;

pub fn emit(b: &mut Builder) -> Emit {
    emit_detect(b)?;
    emit_identify(b)
}

fn emit_detect(b: &mut Builder) -> Emit {
    x86!(b;
        // Fills the drive records and the tables of int 41h and 46h.
        disk_init:
            push EBDA;
            pop es;
            mov si, ebda::DRIVES;
            mov bx, b.at("ata_places");
            mov cx, 4;
        .place:
            push cx;
            mov ax, word_ptr(bx).cs();
            mov word_ptr(si + drive::PORT).es(), ax;
            mov ax, word_ptr(bx + 2).cs();
            mov word_ptr(si + drive::CONTROL).es(), ax;
            mov al, byte_ptr(bx + 4).cs();
            mov byte_ptr(si + drive::SELECT).es(), al;
            mov byte_ptr(si + drive::KIND).es(), 0;
            push bx;
            call @ata_identify;
            pop bx;
            pop cx;
            add bx, 5;
            add si, drive::SIZE;
            loop_ .place;
            // BIOS numbers in the order of the records.
            mov si, ebda::DRIVES;
            mov di, ebda::DISK_MAP;
            xor ax, ax; // AL = index, AH = disks
        .number:
            cmp byte_ptr(si + drive::KIND).es(), 1;
            jb .next;
            ja .cd;
            mov byte_ptr(di).es(), al;
            inc di;
            inc ah;
            jmp .next;
        .cd:
            cmp byte_ptr(ebda::CD_DRIVE).es(), 0xff;
            jne .next;
            mov byte_ptr(ebda::CD_DRIVE).es(), al;
        .next:
            add si, drive::SIZE;
            inc al;
            cmp al, 4;
            jb .number;
            mov byte_ptr(bda::DISK_COUNT), ah;
        // The tables of int 41h and 46h, for drives 80h and 81h. Changes AX, SI, DI, DL, ES.
        disk_tables:
            push EBDA;
            pop es;
            mov dl, 0x80;
            mov di, ebda::DISK_TABLES;
        .table:
            call @disk_find;
            jc .done;
            mov ax, word_ptr(si + drive::CYLINDERS).es();
            mov word_ptr(di).es(), ax;
            mov word_ptr(di + 12).es(), ax;
            mov al, byte_ptr(si + drive::HEADS).es();
            mov byte_ptr(di + 2).es(), al;
            mov word_ptr(di + 5).es(), 0xffff;
            mov byte_ptr(di + 8).es(), 0x08; // more than eight heads
            mov al, byte_ptr(si + drive::SECTORS).es();
            mov byte_ptr(di + 14).es(), al;
            add di, 16;
            inc dl;
            cmp dl, 0x82;
            jb .table;
        .done:
            ret;
        ata_places:
    );
    for (port, control, select) in
        [(0x1f0u16, 0x3f6u16, 0u8), (0x1f0, 0x3f6, 0x10), (0x170, 0x376, 0), (0x170, 0x376, 0x10)]
    {
        b.db(&port.to_le_bytes())?;
        b.db(&control.to_le_bytes())?;
        b.db(&[select])?;
    }
    Ok(())
}

fn emit_identify(b: &mut Builder) -> Emit {
    x86!(b;
        // Finds out what answers at record ES:SI. A floating bus reads FFh, and registers that do not hold what is
        // written belong to nothing.
        ata_identify:
            call @ata_select;
            in_ al, dx;
            cmp al, 0xff;
            je .none;
            mov dx, word_ptr(si + drive::PORT).es();
            add dx, 2;
            mov al, 0x55;
            out dx, al;
            inc dx;
            mov al, 0xaa;
            out dx, al;
            dec dx;
            in_ al, dx;
            cmp al, 0x55;
            jne .none;
            inc dx;
            in_ al, dx;
            cmp al, 0xaa;
            jne .none;
            mov al, 0xec; // IDENTIFY DEVICE
            call @ata_command;
            in_ al, dx;
            or al, al;
            jz .none;
            call @ata_wait;
            jc .none;
            test al, ERR;
            jnz .packet;
            mov byte_ptr(si + drive::KIND).es(), 1;
            jmp .data;
        .packet:
            sub dx, 2; // cylinder registers hold the signature 14h EBh
            in_ al, dx;
            cmp al, 0xeb;
            jne .none;
            mov al, 0xa1; // IDENTIFY PACKET DEVICE
            call @ata_command;
            call @ata_wait;
            jc .none;
            mov byte_ptr(si + drive::KIND).es(), 2;
        .data:
            test al, DRQ;
            jz .forget;
            mov dx, word_ptr(si + drive::PORT).es();
            mov di, ebda::SECTOR;
            mov cx, 256;
            rep insw;
            cmp byte_ptr(si + drive::KIND).es(), 2;
            je .unbounded;
            jmp @ata_geometry;
        .unbounded:
            mov dword_ptr(si + drive::TOTAL).es(), 0xffff_ffffu32;
            mov dword_ptr(si + (drive::TOTAL + 4)).es(), 0;
            ret;
        .forget:
            mov byte_ptr(si + drive::KIND).es(), 0;
        .none:
            ret;
        // Geometry and size from the IDENTIFY data. Up to 1024 cylinders the drive's own geometry is shown; beyond,
        // 63 sectors and the least of 16 to 255 heads that suffices.
        ata_geometry:
            mov ax, word_ptr(ebda::SECTOR + 2).es();
            mov word_ptr(si + drive::PHYSICAL_CYLINDERS).es(), ax;
            mov word_ptr(si + drive::CYLINDERS).es(), ax;
            mov ax, word_ptr(ebda::SECTOR + 6).es();
            mov word_ptr(si + drive::PHYSICAL_HEADS).es(), ax;
            mov word_ptr(si + drive::HEADS).es(), ax;
            mov ax, word_ptr(ebda::SECTOR + 12).es();
            mov word_ptr(si + drive::PHYSICAL_SECTORS).es(), ax;
            mov word_ptr(si + drive::SECTORS).es(), ax;
            mov byte_ptr(si + drive::FLAGS).es(), 0;
            movzx eax, word_ptr(si + drive::CYLINDERS).es();
            movzx edx, word_ptr(si + drive::HEADS).es();
            imul_2 eax, edx;
            movzx edx, word_ptr(si + drive::SECTORS).es();
            imul_2 eax, edx;
            xor edx, edx;
            test byte_ptr(ebda::SECTOR + 99).es(), 0x02; // word 49 bit 9
            jz .sized;
            mov byte_ptr(si + drive::FLAGS).es(), 1;
            mov eax, dword_ptr(ebda::SECTOR + 120).es();
            test byte_ptr(ebda::SECTOR + 167).es(), 0x04; // word 83 bit 10
            jz .sized;
            mov ecx, dword_ptr(ebda::SECTOR + 200).es();
            mov edi, dword_ptr(ebda::SECTOR + 204).es();
            mov ebx, ecx;
            or ebx, edi;
            jz .sized;
            mov byte_ptr(si + drive::FLAGS).es(), 3;
            mov eax, ecx;
            mov edx, edi;
        .sized:
            mov dword_ptr(si + drive::TOTAL).es(), eax;
            mov dword_ptr(si + (drive::TOTAL + 4)).es(), edx;
            cmp word_ptr(si + drive::CYLINDERS).es(), 1024;
            jbe .done;
            or edx, edx;
            jz .small;
            mov eax, 0xffff_ffffu32;
        .small:
            mov word_ptr(si + drive::SECTORS).es(), 63;
            mov ebx, 16;
        .heads:
            push eax;
            mov ecx, ebx;
            imul_3 ecx, ecx, 63;
            xor edx, edx;
            div ecx;
            mov ecx, eax;
            pop eax;
            cmp ecx, 1024;
            jbe .fits;
            add bx, bx;
            cmp bx, 256;
            jb .heads;
            mov bx, 255;
            mov ecx, 255 * 63;
            xor edx, edx;
            div ecx;
            mov ecx, eax;
            cmp ecx, 1024;
            jbe .fits;
            mov cx, 1024;
        .fits:
            mov word_ptr(si + drive::HEADS).es(), bx;
            mov word_ptr(si + drive::CYLINDERS).es(), cx;
        .done:
            ret;
    );
    Ok(())
}
