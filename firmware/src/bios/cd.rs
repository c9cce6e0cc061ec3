//! Starting from CD by the El Torito specification 1.0: without emulation, or with an image that stands for floppy A or
//! for disk 80h.

use super::disk::CD_DISK;
use crate::asm::{Builder, Emit, x86};
use crate::layout::{BDA, EBDA, bda, drive, ebda, frame};
use iced_x86::code_asm::*;

pub fn emit(b: &mut Builder) -> Emit {
    emit_load(b)?;
    emit_attach(b)?;
    emit_image(b)?;
    emit_service(b)?;
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
            cmp al, 4;
            ja .unbootable;
            mov bx, word_ptr(0x22).es();
            or bx, bx;
            jnz .segment;
            mov bx, 0x07c0;
        .segment:
            movzx ecx, word_ptr(0x26).es(); // 512-byte sectors
            mov dl, al; // DL: media type
            mov eax, dword_ptr(0x28).es();
            push ds;
            push EBDA;
            pop ds;
            mov word_ptr(ebda::CD_SEGMENT), bx;
            mov word_ptr(ebda::CD_SECTORS), cx;
            mov dword_ptr(ebda::CD_IMAGE), eax;
            pop ds;
            add cx, 3;
            shr cx, 2;
            jnz .counted;
            inc cx;
        .counted:
            call @cd_read;
            jc .done;
            push EBDA;
            pop es;
            cmp dl, 4;
            je .disk;
            mov byte_ptr(ebda::CD_MEDIA).es(), dl;
            mov ah, 0xe0;
            or dl, dl;
            jz .no_emulation;
            call @equipment_more;
            mov ah, 0;
            jmp .loaded;
        .no_emulation:
            mov byte_ptr(ebda::CD_BOOTED).es(), ah;
        .loaded:
            xor al, al;
        .done:
            ret;
        .disk:
            call @image_attach;
            jc .unbootable;
            mov ah, 0x80;
            jmp .loaded;
        .unbootable:
            mov al, 1;
            clc;
            ret;
        cd_signature:
    );
    b.db(b"\x00CD001\x01EL TORITO SPECIFICATION\x00")
}

/// The image as disk 80h. The specification wants it to have a partition table, which tells its geometry.
fn emit_attach(b: &mut Builder) -> Emit {
    x86!(b;
        // Makes the image whose first sector is at BX:0 disk 80h; the others move up by one. CF set if it has no
        // partition table. Keeps BX. ES is at the EBDA, then and afterwards.
        image_attach:
            push ds;
            mov ds, bx;
            cmp word_ptr(0x1fe), 0xaa55;
            jne .refused;
            mov si, 0x1be;
        .entry:
            cmp byte_ptr(si + 4), 0; // its type
            jne .found;
            add si, 16;
            cmp si, 0x1fe;
            jb .entry;
        .refused:
            pop ds;
            stc;
            ret;
        .found:
            // The partition ends with the disk: at head, sector and cylinder of bytes 5 to 7.
            mov di, ebda::CD_DISK;
            movzx eax, byte_ptr(si + 5);
            inc ax;
            mov word_ptr(di + drive::HEADS).es(), ax;
            mov word_ptr(di + drive::PHYSICAL_HEADS).es(), ax;
            mov ecx, eax;
            movzx eax, byte_ptr(si + 6);
            and al, 0x3f;
            jz .refused;
            mov word_ptr(di + drive::SECTORS).es(), ax;
            mov word_ptr(di + drive::PHYSICAL_SECTORS).es(), ax;
            imul_2 ecx, eax;
            movzx eax, byte_ptr(si + 6);
            shl eax, 2;
            mov al, byte_ptr(si + 7);
            inc ax;
            mov word_ptr(di + drive::CYLINDERS).es(), ax;
            mov word_ptr(di + drive::PHYSICAL_CYLINDERS).es(), ax;
            imul_2 ecx, eax;
            // Beyond what cylinders count, the partition's length does.
            mov eax, dword_ptr(si + 8);
            add eax, dword_ptr(si + 12);
            jc .sized;
            cmp eax, ecx;
            jbe .sized;
            mov ecx, eax;
        .sized:
            mov dword_ptr(di + drive::TOTAL).es(), ecx;
            mov dword_ptr(di + (drive::TOTAL + 4)).es(), 0;
            mov byte_ptr(di + drive::KIND).es(), 3;
            mov byte_ptr(di + drive::FLAGS).es(), 1;
            mov byte_ptr(ebda::CD_MEDIA).es(), 4;
            mov eax, dword_ptr(ebda::DISK_MAP).es();
            shl eax, 8;
            mov al, CD_DISK;
            mov dword_ptr(ebda::DISK_MAP).es(), eax;
            push BDA;
            pop ds;
            inc byte_ptr(bda::DISK_COUNT);
            call @disk_tables;
            pop ds;
            clc;
            ret;
        // What stands for a drive no longer does.
        emulation_end:
            pushad;
            push ds;
            push es;
            push BDA;
            pop ds;
            push EBDA;
            pop es;
            mov al, 0;
            xchg byte_ptr(ebda::CD_MEDIA).es(), al;
            or al, al;
            jz .done;
            cmp al, 4;
            jne .floppy;
            mov eax, dword_ptr(ebda::DISK_MAP).es();
            shr eax, 8;
            or eax, 0xff00_0000u32;
            mov dword_ptr(ebda::DISK_MAP).es(), eax;
            dec byte_ptr(bda::DISK_COUNT);
            call @disk_tables;
        .done:
            pop es;
            pop ds;
            popad;
            ret;
        .floppy:
            call @equipment_less;
            jmp .done;
        // The equipment word's floppies (bit 0 any, bits 7-6 how many less one) become one more and one fewer. Changes AL.
        equipment_more:
            push ds;
            push BDA;
            pop ds;
            mov al, byte_ptr(bda::EQUIPMENT);
            test al, 1;
            jz .first;
            add al, 0x40 - 1;
        .first:
            inc ax;
            mov byte_ptr(bda::EQUIPMENT), al;
            pop ds;
            ret;
        equipment_less:
            push ds;
            push BDA;
            pop ds;
            mov al, byte_ptr(bda::EQUIPMENT);
            dec ax;
            cmp al, 0x40;
            jb .last;
            sub al, 0x40 - 1;
        .last:
            mov byte_ptr(bda::EQUIPMENT), al;
            pop ds;
            ret;
    );
    Ok(())
}

/// Sectors of the image, four of which make a block of the CD.
fn emit_image(b: &mut Builder) -> Emit {
    x86!(b;
        // `disk_transfer` on the image: ECX sectors from sector EAX at linear address EDI; BL = 0 read, 2 verify.
        // AH = status, ECX = sectors not transferred.
        image_transfer:
            push es;
            push si;
            push edx;
            push EBDA;
            pop es;
            mov dl, 0;
        .next:
            or ecx, ecx;
            jz .done;
            push eax;
            push ecx;
            push edi;
            push bx;
            mov dl, 0; // DL: 0 whole blocks, else which quarter
            test al, 3;
            jnz .part;
            shr ecx, 2;
            jnz .counted;
        .part:
            mov dl, al;
            and dl, 3;
            inc dl;
            mov ecx, 1;
        .counted:
            mov byte_ptr(ebda::TRANSFER_PART).es(), dl;
            push ecx;
            push dx;
            shr eax, 2;
            add eax, dword_ptr(ebda::CD_IMAGE).es();
            mov dl, 0xe0;
            call @disk_find;
            xor edx, edx;
            call @disk_transfer;
            mov byte_ptr(ebda::TRANSFER_PART).es(), 0;
            pop dx;
            pop esi;
            sub esi, ecx;
            or dl, dl;
            jnz .quarter;
            shl esi, 2;
        .quarter:
            mov dl, ah;
            pop bx;
            pop edi;
            pop ecx;
            pop eax;
            add eax, esi;
            sub ecx, esi;
            shl esi, 9;
            add edi, esi;
            or dl, dl;
            jz .next;
        .done:
            mov ah, dl;
            pop edx;
            pop si;
            pop es;
            ret;
    );
    Ok(())
}

/// int 13h AH=4Bh on the drive that was booted.
fn emit_service(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = 0 ends the emulation on drive DL (7Fh: on any), 1 only asks; both describe it at the caller's DS:SI.
        emulation_service:
            push EBDA;
            pop es;
            cmp al, 1;
            ja .refused;
            mov cl, byte_ptr(ebda::CD_MEDIA).es();
            or cl, cl;
            jz .none;
            mov ch, 0;
            cmp cl, 4;
            jne .drive;
            mov ch, 0x80;
        .drive:
            cmp dl, ch;
            je .describe;
            cmp ax, 0x4b00;
            jne .refused;
            cmp dl, 0x7f;
            je .describe;
        .refused:
            mov ah, 1;
        .return:
            test byte_ptr(bp + frame::DL), 0x80;
            jz @floppy_return;
            jmp @disk_return;
        .none:
            mov ch, byte_ptr(ebda::CD_BOOTED).es();
            or ch, ch;
            jz .refused;
            test dl, 0x80;
            jz .refused;
        .describe:
            // Size, media type, drive, controller, first block, which device, load segment, sectors, geometry.
            mov di, word_ptr(bp + frame::SI);
            mov ds, word_ptr(bp + frame::DS);
            mov byte_ptr(di), 0x13;
            mov word_ptr(di + 1), cx;
            mov al, byte_ptr(ebda::CD_DRIVE).es();
            shr al, 1;
            mov byte_ptr(di + 3), al;
            mov eax, dword_ptr(ebda::CD_IMAGE).es();
            mov dword_ptr(di + 4), eax;
            movzx ax, byte_ptr(ebda::CD_DRIVE).es();
            and al, 1;
            mov word_ptr(di + 8), ax;
            mov word_ptr(di + 10), 0;
            mov ax, word_ptr(ebda::CD_SEGMENT).es();
            mov word_ptr(di + 12), ax;
            mov ax, word_ptr(ebda::CD_SECTORS).es();
            mov word_ptr(di + 14), ax;
            mov word_ptr(di + 16), 0;
            mov byte_ptr(di + 18), 0;
            or cl, cl;
            jz .described;
            cmp cl, 4;
            je .disk;
            call @emulated_sectors;
            mov byte_ptr(di + 16), 79;
            mov byte_ptr(di + 17), al;
            mov byte_ptr(di + 18), 1;
            jmp .described;
        .disk:
            mov ax, word_ptr(ebda::CD_DISK + drive::CYLINDERS).es();
            dec ax;
            mov byte_ptr(di + 16), al;
            shl ah, 6;
            or ah, byte_ptr(ebda::CD_DISK + drive::SECTORS).es();
            mov byte_ptr(di + 17), ah;
            mov al, byte_ptr(ebda::CD_DISK + drive::HEADS).es();
            dec al;
            mov byte_ptr(di + 18), al;
        .described:
            push BDA;
            pop ds;
            cmp byte_ptr(bp + frame::AL), 0;
            jne .asked;
            call @emulation_end;
        .asked:
            mov ah, 0;
            jmp .return;
    );
    Ok(())
}

/// int 13h on drive 0 while a CD's image stands for it: DL is FFh, ES at the EBDA. The real drives are one further up.
fn emit_emulated_floppy(b: &mut Builder) -> Emit {
    x86!(b;
        emulated_floppy:
            cmp ah, 0x02;
            je .read;
            cmp ah, 0x08;
            je .parameters;
            cmp ah, 0x15;
            je .kind;
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
            call @emulated_sectors;
            mov ch, 79;
            mov cl, al;
            mov word_ptr(bp + frame::CX), cx;
            call @floppy_count;
            mov ah, 1; // the highest head
            mov word_ptr(bp + frame::DX), ax;
            mov word_ptr(bp + frame::BX), 4;
            mov word_ptr(bp + frame::ES), cs;
            mov word_ptr(bp + frame::DI), 0xefc7;
            mov byte_ptr(bp + frame::AL), 0;
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
            call @emulated_sectors;
            movzx ebx, al;
            movzx eax, byte_ptr(bp + frame::CH);
            add ax, ax;
            movzx dx, byte_ptr(bp + frame::DH);
            add ax, dx;
            imul_2 eax, ebx;
            movzx edx, byte_ptr(bp + frame::CL);
            add eax, edx;
            dec eax; // EAX: sector of the floppy
            mov bl, 0;
            call @image_transfer;
            or ah, ah;
            jz @floppy_return;
            sub byte_ptr(bp + frame::AL), cl; // sectors transferred
            jmp @floppy_return;
        .done:
            mov ah, 0;
            jmp @floppy_return;
        // AL = sectors in a track of the emulated floppy. ES is at the EBDA.
        emulated_sectors:
            mov al, 15;
            cmp byte_ptr(ebda::CD_MEDIA).es(), 2;
            jb .counted;
            mov al, 18;
            je .counted;
            mov al, 36;
        .counted:
            ret;
    );
    Ok(())
}
