//! int 13h on floppy drives (also reached as int 40h).

use crate::asm::{Builder, Emit, x86};
use crate::layout::{EBDA, bda, ebda, frame};
use iced_x86::code_asm::*;

use super::frames::{dispatch_ah, enter};

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        int13:
            test dl, 0x80;
            jnz @disk_entry;
        int40:
            sti;
    );
    enter(b)?;
    x86!(b;
        cmp ah, 0x4a;
        jb .not_emulation;
        cmp ah, 0x4d;
        jbe @emulation_service;
        .not_emulation:
        push EBDA;
        pop es;
        cmp byte_ptr(ebda::CD_MEDIA).es(), 1;
        jb .real;
        cmp byte_ptr(ebda::CD_MEDIA).es(), 3;
        ja .real;
        // The CD's image is drive A, and the real drive A is drive B meanwhile.
        sub dl, 1;
        jc @emulated_floppy;
        .real:
        cmp ah, 0x01;
        je .status;
        cmp dl, 2;
        jae @floppy_bad_command;
    );
    dispatch_ah(b, 0x19, "floppy_table", "floppy_bad_command")?;
    x86!(b;
        .status:
            mov ah, byte_ptr(bda::FLOPPY_STATUS);
            or ah, ah;
            jz @return_ok;
            jmp @return_error;
        floppy_table:
    );
    b.jump_table(
        0x19,
        "floppy_bad_command",
        &[
            (0x00, "floppy_reset_service"),
            (0x02, "floppy_read"),
            (0x03, "floppy_write"),
            (0x04, "floppy_verify"),
            (0x05, "floppy_format"),
            (0x08, "floppy_parameters"),
            (0x15, "floppy_kind"),
            (0x16, "floppy_changed"),
            (0x17, "floppy_set_kind"),
            (0x18, "floppy_set_media"),
        ],
    )?;
    emit_queries(b)?;
    emit_transfer(b)
}

fn emit_queries(b: &mut Builder) -> Emit {
    x86!(b;
        floppy_bad_command:
            mov ah, 1;
        // Ends a service with status AH, kept at 40:41; motors go off two seconds later.
        floppy_return:
            mov byte_ptr(bda::FLOPPY_STATUS), ah;
            cmp byte_ptr(bda::FLOPPY_MOTOR_TICKS), 0;
            je .idle;
            mov byte_ptr(bda::FLOPPY_MOTOR_TICKS), 37;
        .idle:
            or ah, ah;
            jz @return_ok;
            jmp @return_error;
        floppy_reset_service:
            call @floppy_reset;
            jmp @floppy_return;
        // AL = CMOS type of drive DL; ZF set when it is not there.
        floppy_type:
            mov al, 0x10;
            call @cmos_read;
            test dl, 1;
            jnz .second;
            shr al, 4;
        .second:
            and al, 0x0f;
            cmp al, 5;
            jbe .known;
            mov al, 4;
        .known:
            or al, al;
            ret;
        floppy_parameters:
            call @floppy_type;
            jz @floppy_bad_command;
            movzx bx, al;
            mov byte_ptr(bp + frame::BL), al;
            mov byte_ptr(bp + frame::BH), 0;
            add bx, bx;
            mov ax, word_ptr(bx + b.at("floppy_geometry")).cs();
            mov word_ptr(bp + frame::CX), ax;
            mov byte_ptr(bp + frame::DH), 1;
            call @floppy_count;
            mov byte_ptr(bp + frame::DL), al;
            mov word_ptr(bp + frame::ES), cs;
            mov word_ptr(bp + frame::DI), 0xefc7;
            mov byte_ptr(bp + frame::AL), 0;
            mov ah, 0;
            jmp @floppy_return;
        // AL = drives that the equipment word has.
        floppy_count:
            mov al, byte_ptr(bda::EQUIPMENT);
            shr al, 1;
            jnc .none;
            shr al, 5;
            inc ax;
            ret;
        .none:
            mov al, 0;
            ret;
        // AH: 0 none, 1 no change line, 2 with change line.
        floppy_kind:
            call @floppy_type;
            mov ah, 0;
            jz .known;
            inc ah;
            cmp al, 1;
            je .known;
            inc ah;
        .known:
            mov byte_ptr(bp + frame::AH), ah;
            jmp @return_clear;
        floppy_changed:
            call @floppy_type;
            mov ah, 0x80;
            jz @floppy_return;
            call @floppy_motor_on;
            mov dx, 0x3f7;
            in_ al, dx;
            mov ah, 0;
            test al, 0x80;
            jz @floppy_return;
            mov ah, 6;
            jmp @floppy_return;
        floppy_set_media:
            mov word_ptr(bp + frame::ES), cs;
            mov word_ptr(bp + frame::DI), 0xefc7;
        floppy_set_kind:
            movzx bx, dl;
            mov byte_ptr(bx + bda::FLOPPY_MEDIA), 0; // found anew at the next access
            mov ah, 0;
            jmp @floppy_return;
        // Highest cylinder in the high byte, sectors in the low one, by CMOS type.
        floppy_geometry:
    );
    for (cylinders, sectors) in [(1u8, 0), (40, 9), (80, 15), (80, 9), (80, 18), (80, 36)] {
        b.db(&[sectors, cylinders - 1])?;
    }
    Ok(())
}

fn emit_transfer(b: &mut Builder) -> Emit {
    x86!(b;
        // Registers of a transfer: AL/SI sectors left, CH cylinder, CL sector, DH head, DL drive, EDI linear address.
        floppy_read:
            mov byte_ptr(bp + frame::AH), 0xe6; // READ DATA: MT, MFM, SK
            jmp @floppy_transfer;
        floppy_write:
            mov byte_ptr(bp + frame::AH), 0xc5; // WRITE DATA: MT, MFM
            jmp @floppy_transfer;
        floppy_verify:
            mov byte_ptr(bp + frame::AH), 0; // reads into the scratch sector
        floppy_transfer:
            movzx si, al;
            or si, si;
            jz @floppy_bad_command;
            call @floppy_prepare;
            or ah, ah;
            jnz .failed;
            movzx edi, word_ptr(bp + frame::ES);
            shl edi, 4;
            movzx eax, word_ptr(bp + frame::BX);
            add edi, eax;
        .chunk:
            cmp byte_ptr(bp + frame::AH), 0;
            je .bounce_read;
            // Whole sectors up to the end of the 64 KiB page, which DMA cannot cross.
            mov ax, di;
            neg ax;
            jz .full_page;
            shr ax, 9;
            jz .bounce;
            jmp .limit;
        .full_page:
            mov ax, 128;
        .limit:
            cmp ax, si;
            jbe .sized;
            mov ax, si;
        .sized:
            push ax;
            mov bx, ax;
            mov ah, byte_ptr(bp + frame::AH);
            call @floppy_data;
            pop bx;
            or ah, ah;
            jnz .failed;
            jmp .advance;
        .bounce:
            // This sector straddles a page: through the scratch sector.
            cmp byte_ptr(bp + frame::AH), 0xc5;
            jne .bounce_read;
            call @floppy_copy_out;
            push edi;
            mov edi, (EBDA << 4) + ebda::SECTOR;
            mov bx, 1;
            mov ah, 0xc5;
            call @floppy_data;
            pop edi;
            or ah, ah;
            jnz .failed;
            mov bx, 1;
            jmp .advance;
        .bounce_read:
            push edi;
            mov edi, (EBDA << 4) + ebda::SECTOR;
            mov bx, 1;
            mov ah, 0xe6;
            call @floppy_data;
            pop edi;
            or ah, ah;
            jnz .failed;
            cmp byte_ptr(bp + frame::AH), 0;
            je .bounced;
            call @floppy_copy_in;
        .bounced:
            mov bx, 1;
        .advance:
            movzx eax, bx;
            shl eax, 9;
            add edi, eax;
            sub si, bx;
            jz .complete;
            // The next sector: as the controller counts with MT, up to EOT on head 0, then head 1.
            add cl, bl;
            call @floppy_last_sector;
            cmp cl, al;
            jbe .chunk;
            sub cl, al;
            xor dh, 1;
            jnz .chunk;
            inc ch;
            jmp .chunk;
        .complete:
            mov ah, 0;
            jmp @floppy_return;
        .failed:
            // AL = sectors transferred.
            mov bx, si;
            sub byte_ptr(bp + frame::AL), bl;
            jmp @floppy_return;
        // One sector between EDI and the scratch sector.
        floppy_copy_out:
            pushad;
            push ds;
            push es;
            push EBDA;
            pop es;
            mov eax, edi;
            shr eax, 4;
            mov ds, ax;
            mov si, di;
            and si, 0x0f;
            mov di, ebda::SECTOR;
            mov cx, 128;
            rep movsd;
            pop es;
            pop ds;
            popad;
            ret;
        floppy_copy_in:
            pushad;
            push ds;
            push es;
            push EBDA;
            pop ds;
            mov eax, edi;
            shr eax, 4;
            mov es, ax;
            and di, 0x0f;
            mov si, ebda::SECTOR;
            mov cx, 128;
            rep movsd;
            pop es;
            pop ds;
            popad;
            ret;
        floppy_format:
            call @floppy_prepare;
            or ah, ah;
            jnz @floppy_return;
            movzx edi, word_ptr(bp + frame::ES);
            shl edi, 4;
            movzx eax, word_ptr(bp + frame::BX);
            add edi, eax;
            call @floppy_format_track;
            jmp @floppy_return;
    );
    Ok(())
}
