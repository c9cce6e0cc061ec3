//! int 13h on hard disks and CD drives: CHS functions, the extensions 41h-49h and 4Eh.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{EBDA, bda, drive, ebda, frame};
use iced_x86::code_asm::*;

use super::frames::enter;

/// Index of the record of the disk that a CD's image stands for, counted from the first drive record.
pub const CD_DISK: i32 = (ebda::CD_DISK - ebda::DRIVES) / drive::SIZE;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b; disk_entry: sti;);
    enter(b)?;
    x86!(b;
            cmp ah, 0x4a;
            jb .drive;
            cmp ah, 0x4d;
            jbe @emulation_service;
        .drive:
            call @disk_find; // ES:SI = drive record
            jc .unknown;
            cmp ah, 0x4e;
            ja @disk_bad_command;
            cmp byte_ptr(si + drive::KIND).es(), 2;
            jne .disk;
            cmp ah, 0x41; // a CD only has the extensions
            jae .disk;
            cmp ah, 1;
            ja @disk_bad_command;
        .disk:
            movzx bx, ah;
            add bx, bx;
            jmp word_ptr(bx + b.at("disk_table")).cs();
        .unknown:
            cmp ah, 0x15;
            je .no_drive;
            cmp ah, 0x08;
            jne @disk_bad_command;
            mov ah, 7;
            jmp @disk_return;
        .no_drive:
            mov byte_ptr(bp + frame::AH), 0;
            jmp @return_clear;
        disk_table:
    );
    b.jump_table(
        0x4f,
        "disk_bad_command",
        &[
            (0x00, "disk_reset"),
            (0x01, "disk_last_status"),
            (0x02, "disk_read"),
            (0x03, "disk_write"),
            (0x04, "disk_verify"),
            (0x08, "disk_parameters"),
            (0x09, "disk_success"),
            (0x0c, "disk_verify"),
            (0x0d, "disk_reset"),
            (0x10, "disk_success"),
            (0x11, "disk_success"),
            (0x14, "disk_success"),
            (0x15, "disk_kind"),
            (0x41, "extensions_check"),
            (0x42, "extended_read"),
            (0x43, "extended_write"),
            (0x44, "extended_verify"),
            (0x45, "disk_lock"),
            (0x46, "disk_eject"),
            (0x47, "disk_success"),
            (0x48, "extended_parameters"),
            (0x49, "disk_changed"),
            (0x4e, "disk_configure"),
        ],
    )?;
    emit_services(b)?;
    emit_reset(b)?;
    emit_chs(b)?;
    emit_extended(b)?;
    emit_parameters(b)
}

fn emit_services(b: &mut Builder) -> Emit {
    x86!(b;
        disk_bad_command:
            mov ah, 1;
        // Ends a service with status AH, kept at 40:74.
        disk_return:
            mov byte_ptr(bda::DISK_STATUS), ah;
            or ah, ah;
            jz @return_ok;
            jmp @return_error;
        disk_success:
            mov ah, 0;
            jmp @disk_return;
        disk_last_status:
            mov ah, byte_ptr(bda::DISK_STATUS);
            or ah, ah;
            jz @return_ok;
            jmp @return_error;
        // ES:SI = record of BIOS drive DL. CF set when there is none. Keeps AX.
        disk_find:
            push bx;
            push EBDA;
            pop es;
            movzx bx, dl;
            cmp dl, 0xe0;
            je .cd;
            sub bx, 0x80;
            cmp bx, 4;
            jae .none;
            mov bl, byte_ptr(bx + ebda::DISK_MAP).es();
            jmp .record;
        .cd:
            mov bl, byte_ptr(ebda::CD_DRIVE).es();
        .record:
            cmp bl, CD_DISK;
            ja .none;
            movzx si, bl;
            shl si, 5;
            add si, ebda::DRIVES;
            pop bx;
            clc;
            ret;
        .none:
            pop bx;
            stc;
            ret;
        // AH=15h: AH=3, CX:DX = sectors.
        disk_kind:
            mov eax, dword_ptr(si + drive::TOTAL).es();
            mov word_ptr(bp + frame::DX), ax;
            shr eax, 16;
            mov word_ptr(bp + frame::CX), ax;
            mov byte_ptr(bp + frame::AH), 3;
            jmp @return_clear;
        disk_parameters:
            mov ax, word_ptr(si + drive::CYLINDERS).es();
            dec ax; // the highest cylinder
            mov byte_ptr(bp + frame::CH), al;
            shl ah, 6;
            mov al, byte_ptr(si + drive::SECTORS).es();
            or al, ah;
            mov byte_ptr(bp + frame::CL), al;
            mov ax, word_ptr(si + drive::HEADS).es();
            dec ax;
            mov byte_ptr(bp + frame::DH), al;
            mov al, byte_ptr(bda::DISK_COUNT);
            mov byte_ptr(bp + frame::DL), al;
            mov byte_ptr(bp + frame::AL), 0;
            jmp @disk_success;
    );
    Ok(())
}

fn emit_reset(b: &mut Builder) -> Emit {
    x86!(b;
        // AH=00h resets the floppies too, as the AT does; AH=0Dh only the drive's channel.
        disk_reset:
            or ah, ah;
            jnz .drive;
            mov al, 0x10; // the floppies that there are
            call @cmos_read;
            or al, al;
            jz .drive;
            call @floppy_reset;
        .drive:
            cmp byte_ptr(si + drive::KIND).es(), 2;
            je .packet;
            ja @disk_success; // an image has nothing to reset
            // SRST resets both devices of the channel. It is held for some microseconds; BSY is valid 400 ns after its end.
            mov dx, word_ptr(si + drive::CONTROL).es();
            mov al, 0x0c;
            out dx, al;
            mov cx, 10;
        .hold:
            in_ al, dx;
            loop_ .hold;
            mov al, 0x08;
            out dx, al;
            call @ata_select;
        .settle:
            call @ata_wait;
            mov ah, 0;
            jnc @disk_return;
            mov ah, 0x05; // reset failed
            jmp @disk_return;
        .packet:
            call @ata_select;
            mov al, 0x08; // DEVICE RESET
            call @ata_command;
            jmp .settle;
        // AH=4Eh: prefetch on, off, fastest PIO mode, mode 0, the default; DMA for int 13h, which has none, and none. AL = 0:
        // it is for this drive alone.
        disk_configure:
            cmp byte_ptr(si + drive::KIND).es(), 1;
            jne @disk_bad_command;
            cmp al, 5;
            je @disk_bad_command;
            cmp al, 6;
            ja @disk_bad_command;
            je .done;
            movzx bx, al;
            add bx, bx;
            mov bx, word_ptr(bx + b.at("disk_features")).cs();
            call @ata_select;
            call @ata_wait;
            mov ah, 0x80;
            jc @disk_return;
            mov dx, word_ptr(si + drive::PORT).es();
            inc dx;
            mov al, bl;
            out dx, al;
            inc dx;
            mov al, bh;
            out dx, al;
            mov al, 0xef; // SET FEATURES
            call @ata_command;
            call @ata_wait;
            mov ah, 0x80;
            jc @disk_return;
            test al, 0x01; // ERR: the drive cannot
            jnz @disk_bad_command;
        .done:
            mov byte_ptr(bp + frame::AL), 0;
            jmp @disk_success;
        disk_features: // subcommand and sector count of SET FEATURES
            db &[0xaa, 0, 0x55, 0, 0x03, 0x0c, 0x03, 0x08, 0x03, 0x00];
    );
    Ok(())
}

fn emit_chs(b: &mut Builder) -> Emit {
    x86!(b;
        disk_read:
            mov bl, 0;
            jmp @disk_chs;
        disk_write:
            mov bl, 1;
            cmp byte_ptr(si + drive::KIND).es(), 1;
            je @disk_chs;
            mov byte_ptr(bp + frame::AL), 0;
            mov ah, 3; // write protected
            jmp @disk_return;
        disk_verify:
            mov bl, 2;
        // EDX:EAX = block of CH/CL/DH, ECX = blocks, EDI = linear address, BL = 0 read, 1 write, 2 verify.
        disk_chs:
            movzx edi, al;
            or edi, edi;
            jz @disk_bad_command;
            movzx eax, ch;
            mov ah, cl;
            shr ah, 6;
            cmp ax, word_ptr(si + drive::CYLINDERS).es();
            jae .missing;
            and cx, 0x3f;
            jz .missing;
            cmp cx, word_ptr(si + drive::SECTORS).es();
            ja .missing;
            movzx dx, dh;
            cmp dx, word_ptr(si + drive::HEADS).es();
            jae .missing;
            push dx;
            movzx edx, word_ptr(si + drive::HEADS).es();
            imul_2 eax, edx;
            pop dx;
            movzx edx, dx;
            add eax, edx;
            movzx edx, word_ptr(si + drive::SECTORS).es();
            imul_2 eax, edx;
            movzx ecx, cx;
            dec ecx;
            add eax, ecx;
            xor edx, edx;
            mov ecx, edi;
            movzx edi, word_ptr(bp + frame::ES);
            shl edi, 4;
            push eax;
            movzx eax, word_ptr(bp + frame::BX);
            add edi, eax;
            pop eax;
            call @disk_transfer;
            or ah, ah;
            jz @disk_return;
            // AL = blocks that were transferred.
            sub byte_ptr(bp + frame::AL), cl;
            jmp @disk_return;
        .missing:
            mov ah, 4;
            mov byte_ptr(bp + frame::AL), 0;
            jmp @disk_return;
    );
    Ok(())
}

fn emit_extended(b: &mut Builder) -> Emit {
    x86!(b;
        extensions_check:
            cmp word_ptr(bp + frame::BX), 0x55aa;
            jne @disk_bad_command;
            mov word_ptr(bp + frame::BX), 0xaa55;
            mov cx, 5; // packet access and EDD
            cmp byte_ptr(si + drive::KIND).es(), 2;
            jne .fixed;
            mov cl, 7; // and locking and ejecting
        .fixed:
            mov word_ptr(bp + frame::CX), cx;
            mov byte_ptr(bp + frame::AH), 0x21; // version 1.1
            mov byte_ptr(bda::DISK_STATUS), 0;
            jmp @return_clear;
        extended_read:
            mov bl, 0;
            jmp @disk_extended;
        extended_write:
            mov bl, 1;
            cmp byte_ptr(si + drive::KIND).es(), 1;
            je @disk_extended;
            mov ah, 3;
            jmp @disk_return;
        extended_verify:
            mov bl, 2;
        // The packet at DS:SI: size, count at 2, far buffer at 4, block at 8.
        disk_extended:
            mov di, word_ptr(bp + frame::SI);
            mov ds, word_ptr(bp + frame::DS);
            cmp byte_ptr(di), 0x10;
            jb .bad_packet;
            movzx ecx, word_ptr(di + 2);
            mov eax, dword_ptr(di + 8);
            mov edx, dword_ptr(di + 12);
            push edx;
            movzx edx, word_ptr(di + 6);
            shl edx, 4;
            movzx edi, word_ptr(di + 4);
            add edi, edx;
            pop edx;
            push BDA_SEGMENT;
            pop ds;
            // Past the end: nothing is transferred.
            push eax;
            push edx;
            push ecx;
            add eax, ecx;
            adc edx, 0;
            cmp edx, dword_ptr(si + (drive::TOTAL + 4)).es();
            ja .outside;
            jb .inside;
            cmp eax, dword_ptr(si + drive::TOTAL).es();
            ja .outside;
        .inside:
            clc;
            jmp .checked;
        .outside:
            stc;
        .checked:
            pop ecx;
            pop edx;
            pop eax;
            jc .past_end;
            call @disk_transfer;
            or ah, ah;
            jz @disk_return;
            // The packet's count becomes what was transferred.
            mov di, word_ptr(bp + frame::SI);
            mov es, word_ptr(bp + frame::DS);
            sub word_ptr(di + 2).es(), cx;
            jmp @disk_return;
        .past_end:
            mov ah, 4;
            mov di, word_ptr(bp + frame::SI);
            mov es, word_ptr(bp + frame::DS);
            mov word_ptr(di + 2).es(), 0;
            jmp @disk_return;
        .bad_packet:
            push BDA_SEGMENT;
            pop ds;
            jmp @disk_bad_command;
    );
    Ok(())
}

/// Segment of the BIOS data area, for DS after it served a packet.
const BDA_SEGMENT: i32 = crate::layout::BDA;

fn emit_parameters(b: &mut Builder) -> Emit {
    x86!(b;
        // AH=48h: the result buffer at DS:SI; its first word is its size.
        extended_parameters:
            mov di, word_ptr(bp + frame::SI);
            mov ds, word_ptr(bp + frame::DS);
            mov cx, word_ptr(di);
            cmp cx, 0x1a;
            jb .too_small;
            mov word_ptr(di), 0x1a;
            cmp cx, 0x1e;
            jb .plain;
            mov word_ptr(di), 0x1e;
            mov dword_ptr(di + 0x1a), 0xffff_ffffu32; // no configuration parameters
        .plain:
            mov eax, dword_ptr(si + drive::TOTAL).es();
            mov dword_ptr(di + 0x10), eax;
            mov edx, dword_ptr(si + (drive::TOTAL + 4)).es();
            mov dword_ptr(di + 0x14), edx;
            cmp byte_ptr(si + drive::KIND).es(), 2;
            je .cd;
            mov word_ptr(di + 2), 2; // geometry valid
            movzx eax, word_ptr(si + drive::PHYSICAL_CYLINDERS).es();
            mov dword_ptr(di + 4), eax;
            movzx eax, word_ptr(si + drive::PHYSICAL_HEADS).es();
            mov dword_ptr(di + 8), eax;
            movzx eax, word_ptr(si + drive::PHYSICAL_SECTORS).es();
            mov dword_ptr(di + 12), eax;
            mov word_ptr(di + 0x18), 512;
            jmp .done;
        .cd:
            mov word_ptr(di + 2), 0x74; // removable, change line, lockable; no medium, so the most that could be
            mov dword_ptr(di + 4), 0xffff_ffffu32;
            mov dword_ptr(di + 8), 0xffff_ffffu32;
            mov dword_ptr(di + 12), 0xffff_ffffu32;
            mov word_ptr(di + 0x18), 2048;
            mov ax, 0x25; // READ CAPACITY: the last block, its length
            call @atapi_simple;
            jc .done;
            mov byte_ptr(di + 2), 0x34;
            mov eax, dword_ptr(ebda::SECTOR).es();
            bswap eax;
            inc eax;
            mov dword_ptr(di + 0x10), eax;
        .done:
            push BDA_SEGMENT;
            pop ds;
            jmp @disk_success;
        .too_small:
            push BDA_SEGMENT;
            pop ds;
            jmp @disk_bad_command;
    );
    Ok(())
}
