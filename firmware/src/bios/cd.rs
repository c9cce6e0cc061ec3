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
    emit_removable(b)?;
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
            xor di, di;
            call @boot_record;
            jne .unbootable;
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
            call @image_load;
            jc .done;
            call @image_begin;
            mov al, 0;
            jnc .done;
        .unbootable:
            mov al, 1;
            clc;
        .done:
            ret;
        // ZF set if ES:DI is El Torito's boot record volume descriptor; EAX = the catalogue's block. Changes CX, SI, DI.
        boot_record:
            mov eax, dword_ptr(di + 0x47).es();
            mov cx, 30;
            mov si, b.at("cd_signature");
            push ds;
            push cs;
            pop ds;
            repe cmpsb;
            pop ds;
            ret;
        // Loads CX sectors of the image at block EAX, in whole blocks and at least one, to segment BX. CF set on failure.
        image_load:
            push cx;
            add cx, 3;
            shr cx, 2;
            jnz .counted;
            inc cx;
        .counted:
            call @cd_read;
            pop cx;
            ret;
        // The image at block EAX is what media type DL says: 0 itself, 1 to 3 floppy A, 4 disk 80h. BX and CX are its load
        // segment and sectors. AH = the drive number. CF set if it has no partition table where it needs one.
        image_begin:
            push EBDA;
            pop es;
            mov word_ptr(ebda::CD_SEGMENT).es(), bx;
            mov word_ptr(ebda::CD_SECTORS).es(), cx;
            mov dword_ptr(ebda::CD_IMAGE).es(), eax;
            cmp dl, 4;
            je .disk;
            mov byte_ptr(ebda::CD_MEDIA).es(), dl;
            mov ah, 0xe0;
            or dl, dl;
            jz .no_emulation;
            call @equipment_more;
            mov ah, 0;
            clc;
            ret;
        .no_emulation:
            mov byte_ptr(ebda::CD_BOOTED).es(), ah;
            ret;
        .disk:
            // Its first sector tells the geometry.
            push bx;
            xor eax, eax;
            mov ecx, 1;
            mov edi, (EBDA << 4) + ebda::SECTOR;
            mov bl, 0;
            call @image_transfer;
            mov bx, EBDA + (ebda::SECTOR >> 4);
            cmp ah, 1;
            cmc; // AH = 0: CF clear
            jc .refused;
            call @image_attach;
        .refused:
            pop bx;
            mov ah, 0x80;
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
        // Takes note of a unit attention, which would fail the next command. Keeps all registers but ES, the EBDA.
        cd_settle:
            pushad;
            mov dl, 0xe0;
            call @disk_find;
            jc .done;
            mov ax, 0; // TEST UNIT READY
            call @atapi_simple;
        .done:
            popad;
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

/// int 13h AH=4Ah to 4Dh.
fn emit_service(b: &mut Builder) -> Emit {
    x86!(b;
        // AH=4Bh: AL = 0 ends the emulation on drive DL (7Fh: on any), 1 only asks; both describe it at the caller's DS:SI.
        emulation_service:
            push EBDA;
            pop es;
            cmp ah, 0x4d;
            je @catalogue_service;
            cmp ah, 0x4b;
            jne @emulation_start;
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
        // AH=4Ah starts an emulation as the caller's DS:SI describes it, AH=4Ch starts the program in the image as well.
        emulation_start:
            or al, al;
            jnz .refused;
            mov di, word_ptr(bp + frame::SI);
            mov ds, word_ptr(bp + frame::DS);
            // Controller and device must be the drive's; without one nothing is FFh.
            mov al, byte_ptr(di + 3);
            add al, al;
            mov ah, byte_ptr(di + 8);
            and ah, 1;
            add al, ah;
            cmp al, byte_ptr(ebda::CD_DRIVE).es();
            mov dl, byte_ptr(di + 1);
            mov eax, dword_ptr(di + 4);
            mov bx, word_ptr(di + 12);
            mov cx, word_ptr(di + 14);
            push BDA;
            pop ds;
            jne .refused;
            and dl, 0x0f;
            cmp dl, 4;
            ja .refused;
            or bx, bx;
            jnz .segment;
            mov bx, 0x07c0;
        .segment:
            call @emulation_end;
            call @cd_settle;
            cmp byte_ptr(bp + frame::AH), 0x4a;
            je .begin;
            call @image_load;
            jc .unreadable;
        .begin:
            call @image_begin;
            jc .refused;
            cmp byte_ptr(bp + frame::AH), 0x4c;
            je @cd_start;
            mov ah, 0;
            jmp .return;
        .unreadable:
            mov ah, 0x04;
            jmp .return;
        .refused:
            mov ah, 0x01;
        .return:
            test byte_ptr(bp + frame::DL), 0x80;
            jz @floppy_return;
            jmp @disk_return;
        // AH=4Dh: blocks of the boot catalogue, as the packet at the caller's DS:SI says: size, count, far buffer at 2, first
        // at 6. The buffer holds the volume descriptor first.
        catalogue_service:
            mov di, word_ptr(bp + frame::SI);
            mov ds, word_ptr(bp + frame::DS);
            mov bl, byte_ptr(di);
            movzx cx, byte_ptr(di + 1);
            movzx edx, word_ptr(di + 4);
            shl edx, 4;
            movzx eax, word_ptr(di + 2);
            add edx, eax;
            movzx eax, word_ptr(di + 6);
            push BDA;
            pop ds;
            cmp byte_ptr(bp + frame::AL), 0;
            jne .refused;
            cmp bl, 8;
            jb .refused;
            jcxz .done;
            call @cd_settle;
            push eax;
            push cx;
            mov eax, 17;
            mov ecx, 1;
            call .read;
            pop cx;
            jc .unreadable;
            mov eax, edx;
            shr eax, 4;
            mov es, ax;
            mov di, dx;
            and di, 0x0f;
            push cx;
            call @boot_record;
            pop cx;
            pop ebx;
            jne .refused;
            add eax, ebx;
            movzx ecx, cx;
            call .read;
            mov ah, 0x04;
            jc .return;
        .done:
            mov ah, 0;
            jmp .return;
        .refused:
            mov ah, 0x01;
            jmp .return;
        .unreadable:
            pop eax;
            mov ah, 0x04;
        .return:
            test byte_ptr(bp + frame::DL), 0x80;
            jz @floppy_return;
            jmp @disk_return;
        // ECX blocks from block EAX to linear address EDX, which is kept. CF set on failure.
        .read:
            push edx;
            mov edi, edx;
            mov dl, 0xe0;
            call @disk_find;
            jc .no_drive;
            mov bl, 0;
            xor edx, edx;
            call @disk_transfer;
            cmp ah, 1;
            cmc;
        .no_drive:
            pop edx;
            ret;
    );
    Ok(())
}

/// int 13h AH=45h, 46h and 49h: removable media. ES:SI is the drive's record.
fn emit_removable(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = 0 locks, 1 unlocks, 2 asks; AL = 1 if it is locked then. Locks are counted.
        disk_lock:
            cmp byte_ptr(si + drive::KIND).es(), 2;
            mov ah, 0xb2; // not removable
            jne @disk_return;
            cmp al, 2;
            ja @disk_bad_command;
            je .state;
            mov bl, byte_ptr(ebda::CD_LOCKS).es();
            or al, al;
            jnz .unlock;
            inc bl;
            mov ah, 0xb4; // too many locks
            jz @disk_return;
            jmp .set;
        .unlock:
            sub bl, 1;
            mov ah, 0xb0; // not locked
            jc @disk_return;
        .set:
            mov ax, 0x011e; // PREVENT MEDIUM REMOVAL
            or bl, bl;
            jnz .send;
            mov ah, 0; // ALLOW
        .send:
            call @atapi_simple;
            jc @disk_return;
            mov byte_ptr(ebda::CD_LOCKS).es(), bl;
        .state:
            cmp byte_ptr(ebda::CD_LOCKS).es(), 0;
            setne al;
            mov byte_ptr(bp + frame::AL), al;
            jmp @disk_success;
        // int 15h AH=52h may refuse.
        disk_eject:
            cmp byte_ptr(si + drive::KIND).es(), 2;
            mov ah, 0xb2;
            jne @disk_return;
            or al, al;
            jnz @disk_bad_command;
            cmp byte_ptr(ebda::CD_LOCKS).es(), 0;
            mov ah, 0xb1; // locked
            jne @disk_return;
            mov ah, 0x52;
            int 0x15;
            jc @disk_return;
            mov ax, 0x021b; // START STOP UNIT: eject
            call @atapi_simple;
            jnc @disk_success;
            cmp ah, 0x20;
            jne @disk_return;
            mov ah, 0xb5; // somebody else has locked it
            jmp @disk_return;
        disk_changed:
            cmp byte_ptr(si + drive::KIND).es(), 2;
            jne @disk_success;
            mov ax, 0; // TEST UNIT READY
            call @atapi_simple;
            jnc @disk_success;
            jmp @disk_return;
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
