//! ATA and ATAPI transfers by programmed I/O.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{BDA, EBDA, bda, drive, ebda};
use iced_x86::code_asm::*;

/// Status register bits.
const ERR: i32 = 0x01;
const DRQ: i32 = 0x08;
const DF: i32 = 0x20;
const BSY: i32 = 0x80;
/// Ticks that a busy device gets: ten seconds.
const PATIENCE: i32 = 182;
/// Most sectors in one command.
const CHUNK: i32 = 128;

pub fn emit(b: &mut Builder) -> Emit {
    emit_primitives(b)?;
    emit_ata(b)?;
    emit_atapi(b)
}

fn emit_primitives(b: &mut Builder) -> Emit {
    x86!(b;
        // Selects the device of record ES:SI. DX = its status register. Changes AL.
        ata_select:
            mov dx, word_ptr(si + drive::PORT).es();
            add dx, 6;
            mov al, byte_ptr(si + drive::SELECT).es();
            or al, 0xa0;
            out dx, al;
            inc dx;
            push dx;
            mov dx, word_ptr(si + drive::CONTROL).es();
            in_ al, dx; // four reads of the alternate status take the 400 ns that selecting needs
            in_ al, dx;
            in_ al, dx;
            in_ al, dx;
            pop dx;
            ret;
        // Issues command AL. DX = status register afterwards.
        ata_command:
            mov dx, word_ptr(si + drive::PORT).es();
            add dx, 7;
            out dx, al;
            push dx;
            push ax;
            mov dx, word_ptr(si + drive::CONTROL).es();
            in_ al, dx;
            pop ax;
            pop dx;
            ret;
        // Waits while BSY. AL = status, DX = status register. CF set on time-out.
        ata_wait:
            push cx;
            push bx;
            push ds;
            push BDA;
            pop ds;
            mov dx, word_ptr(si + drive::PORT).es();
            add dx, 7;
            mov bx, word_ptr(bda::TICKS);
        .poll:
            in_ al, dx;
            test al, BSY;
            jz .done; // TEST cleared CF
            mov cx, word_ptr(bda::TICKS);
            sub cx, bx;
            cmp cx, PATIENCE;
            jbe .poll;
            stc;
        .done:
            pop ds;
            pop bx;
            pop cx;
            ret;
        int76:
            push ds;
            push BDA;
            pop ds;
            mov byte_ptr(0x8e), 0xff;
            pop ds;
            call @end_of_slave_irq;
            iret;
        // ES:DI = where the transfer's next byte goes; the offset is below 16, or above 1 MiB in segment FFFFh.
        transfer_pointer:
            mov edi, dword_ptr(ebda::TRANSFER_ADDRESS).fs();
            mov eax, edi;
            shr eax, 4;
            and di, 0x0f;
            cmp eax, 0xffff;
            jbe .below;
            mov edi, dword_ptr(ebda::TRANSFER_ADDRESS).fs();
            sub edi, 0xf_fff0;
            mov ax, 0xffff;
        .below:
            mov es, ax;
            ret;
        // Transfers ECX blocks from block EDX:EAX of the drive in record ES:SI at linear address EDI; BL = 0 read,
        // 1 write, 2 verify. AH = status, ECX = blocks not transferred.
        disk_transfer:
            cmp byte_ptr(si + drive::KIND).es(), 3;
            je @image_transfer;
            push fs;
            push EBDA;
            pop fs;
            mov dword_ptr(ebda::TRANSFER_BLOCK).fs(), eax;
            mov dword_ptr(ebda::TRANSFER_BLOCK + 4).fs(), edx;
            mov dword_ptr(ebda::TRANSFER_COUNT).fs(), ecx;
            mov dword_ptr(ebda::TRANSFER_ADDRESS).fs(), edi;
            mov byte_ptr(ebda::TRANSFER_OPERATION).fs(), bl;
            cmp byte_ptr(si + drive::KIND).es(), 2;
            je .packet;
        .command:
            mov ecx, dword_ptr(ebda::TRANSFER_COUNT).fs();
            or ecx, ecx;
            jz .complete;
            cmp ecx, CHUNK;
            jbe .sized;
            mov cx, CHUNK;
        .sized:
            mov word_ptr(ebda::TRANSFER_CHUNK).fs(), cx;
            call @ata_transfer;
            jnc .command;
            jmp .done;
        .packet:
            cmp dword_ptr(ebda::TRANSFER_COUNT).fs(), 0;
            je .complete;
            call @atapi_transfer;
            jnc .packet;
            jmp .done;
        .complete:
            mov ah, 0;
        .done:
            mov ecx, dword_ptr(ebda::TRANSFER_COUNT).fs();
            pop fs;
            ret;
        // One block is done: FS holds the EBDA; EAX = the block's length.
        transfer_advance:
            add dword_ptr(ebda::TRANSFER_ADDRESS).fs(), eax;
            dec dword_ptr(ebda::TRANSFER_COUNT).fs();
            add dword_ptr(ebda::TRANSFER_BLOCK).fs(), 1;
            adc dword_ptr(ebda::TRANSFER_BLOCK + 4).fs(), 0;
            ret;
        // AH = int 13h status for the error register of the device. CF set.
        ata_error:
            mov dx, word_ptr(si + drive::PORT).es();
            inc dx;
            in_ al, dx;
            mov ah, 0x04; // ID not found
            test al, 0x10;
            jnz .done;
            mov ah, 0x10; // uncorrectable
            test al, 0xc0;
            jnz .done;
            mov ah, 0x20;
            test al, 0x04; // aborted
            jnz .done;
            mov ah, 0xe0;
        .done:
            stc;
            ret;
    );
    Ok(())
}

fn emit_ata(b: &mut Builder) -> Emit {
    x86!(b;
        // Runs one command on TRANSFER_CHUNK sectors. CF set on failure, AH = status.
        ata_transfer:
            call @ata_select;
            call @ata_wait;
            jc .timeout;
            mov eax, dword_ptr(ebda::TRANSFER_BLOCK).fs();
            movzx ebx, byte_ptr(ebda::TRANSFER_OPERATION).fs();
            mov cx, word_ptr(ebda::TRANSFER_CHUNK).fs();
            mov dx, word_ptr(si + drive::PORT).es();
            add dx, 2;
            test byte_ptr(si + drive::FLAGS).es(), 1;
            jz .chs;
            cmp dword_ptr(ebda::TRANSFER_BLOCK + 4).fs(), 0;
            jne .wide;
            cmp eax, 0x1000_0000 - CHUNK;
            jae .wide;
            push ax;
            mov al, cl;
            out dx, al;
            pop ax;
            inc dx;
            out dx, al;
            shr eax, 8;
            inc dx;
            out dx, al;
            shr eax, 8;
            inc dx;
            out dx, al;
            mov al, ah;
            and al, 0x0f;
            or al, 0xe0;
        .head:
            or al, byte_ptr(si + drive::SELECT).es();
            inc dx;
            out dx, al;
            mov al, byte_ptr(bx + b.at("ata_commands")).cs();
            jmp .issue;
        .chs:
            push dx;
            movzx ebx, word_ptr(si + drive::PHYSICAL_SECTORS).es();
            xor edx, edx;
            div ebx;
            mov ch, dl;
            inc ch; // sector
            movzx ebx, word_ptr(si + drive::PHYSICAL_HEADS).es();
            xor edx, edx;
            div ebx;
            mov bl, dl; // head
            pop dx;
            push ax;
            mov al, cl;
            out dx, al;
            mov al, ch;
            inc dx;
            out dx, al;
            pop ax;
            inc dx;
            out dx, al;
            mov al, ah;
            inc dx;
            out dx, al;
            mov al, bl;
            or al, 0xa0;
            movzx bx, byte_ptr(ebda::TRANSFER_OPERATION).fs();
            jmp .head;
        .wide:
            test byte_ptr(si + drive::FLAGS).es(), 2;
            jz .beyond;
            mov al, 0;
            out dx, al;
            inc dx;
            mov al, byte_ptr(ebda::TRANSFER_BLOCK + 3).fs();
            out dx, al;
            inc dx;
            mov al, byte_ptr(ebda::TRANSFER_BLOCK + 4).fs();
            out dx, al;
            inc dx;
            mov al, byte_ptr(ebda::TRANSFER_BLOCK + 5).fs();
            out dx, al;
            sub dx, 3;
            mov al, cl;
            out dx, al;
            inc dx;
            mov al, byte_ptr(ebda::TRANSFER_BLOCK).fs();
            out dx, al;
            inc dx;
            mov al, byte_ptr(ebda::TRANSFER_BLOCK + 1).fs();
            out dx, al;
            inc dx;
            mov al, byte_ptr(ebda::TRANSFER_BLOCK + 2).fs();
            out dx, al;
            mov al, byte_ptr(si + drive::SELECT).es();
            or al, 0xe0;
            inc dx;
            out dx, al;
            mov al, byte_ptr(bx + b.at("ata_wide_commands")).cs();
        .issue:
            call @ata_command;
            cmp bl, 2;
            je .verified;
            mov cx, word_ptr(ebda::TRANSFER_CHUNK).fs();
        .sector:
            call @ata_wait;
            jc .timeout;
            test al, ERR + DF;
            jnz @ata_error;
            test al, DRQ;
            jz @ata_error;
            push cx;
            push si;
            push es;
            mov dx, word_ptr(si + drive::PORT).es();
            call @transfer_pointer;
            mov cx, 128;
            cmp bl, 1;
            je .write;
            rep insd;
            jmp .moved;
        .write:
            push ds;
            push es;
            pop ds;
            mov si, di;
            rep outsd;
            pop ds;
        .moved:
            pop es;
            pop si;
            pop cx;
            cmp bl, 1;
            jne .count;
            // A write is done when the device says so.
            call @ata_wait;
            jc .timeout;
            test al, ERR + DF;
            jnz @ata_error;
        .count:
            mov eax, 512;
            call @transfer_advance;
            loop_ .sector;
            clc;
            ret;
        .verified:
            call @ata_wait;
            jc .timeout;
            test al, ERR + DF;
            jnz @ata_error;
            movzx eax, word_ptr(ebda::TRANSFER_CHUNK).fs();
            sub dword_ptr(ebda::TRANSFER_COUNT).fs(), eax;
            add dword_ptr(ebda::TRANSFER_BLOCK).fs(), eax;
            adc dword_ptr(ebda::TRANSFER_BLOCK + 4).fs(), 0;
            clc;
            ret;
        .beyond:
            mov ah, 0x04;
            stc;
            ret;
        .timeout:
            mov ah, 0x80;
            stc;
            ret;
        ata_commands: // READ SECTORS, WRITE SECTORS, READ VERIFY
            db &[0x20, 0x30, 0x40];
        ata_wide_commands:
            db &[0x24, 0x34, 0x42];
    );
    Ok(())
}

fn emit_atapi(b: &mut Builder) -> Emit {
    x86!(b;
        // Reads one block of 2048 bytes with READ(10). CF set on failure, AH = status.
        atapi_transfer:
            mov dword_ptr(ebda::PACKET).fs(), 0x28;
            mov dword_ptr(ebda::PACKET + 4).fs(), 0;
            mov dword_ptr(ebda::PACKET + 8).fs(), 1; // length: byte 8
            mov eax, dword_ptr(ebda::TRANSFER_BLOCK).fs();
            bswap eax;
            mov dword_ptr(ebda::PACKET + 2).fs(), eax;
            mov cx, 2048;
            call @atapi_packet;
            jc .done;
            test al, DRQ;
            jz @atapi_error;
            push si;
            push es;
            mov dx, word_ptr(si + drive::PORT).es();
            call @transfer_pointer;
            mov cx, 1024;
            cmp byte_ptr(ebda::TRANSFER_OPERATION).fs(), 2;
            je .discard;
            movzx bx, byte_ptr(ebda::TRANSFER_PART).fs();
            sub bx, 1;
            jnc .part;
            rep insw;
            jmp .read;
        .part:
            // 256 words for each quarter before the wanted one are dropped, then the ones behind it.
            mov cx, bx;
            shl cx, 8;
            jz .at_part;
        .skip:
            in_ ax, dx;
            loop_ .skip;
        .at_part:
            mov cx, 256;
            rep insw;
            mov cx, 3;
            sub cx, bx;
            shl cx, 8;
            jz .read;
        .discard:
            in_ ax, dx;
            loop_ .discard;
        .read:
            pop es;
            pop si;
            call @ata_wait;
            jc @atapi_timeout;
            test al, ERR;
            jnz @atapi_error;
            mov eax, 2048;
            call @transfer_advance;
            clc;
        .done:
            ret;
        // Sends the packet of the EBDA to the device of record ES:SI, which may move CX bytes at once. AL = its status then.
        // CF set on failure, AH = status.
        atapi_packet:
            call @ata_select;
            call @ata_wait;
            jc @atapi_timeout;
            mov dx, word_ptr(si + drive::PORT).es();
            inc dx;
            mov al, 0; // no DMA
            out dx, al;
            add dx, 3;
            mov al, cl;
            out dx, al;
            inc dx;
            mov al, ch;
            out dx, al;
            mov al, 0xa0; // PACKET
            call @ata_command;
            call @ata_wait;
            jc @atapi_timeout;
            test al, ERR + DF;
            jnz @atapi_error;
            test al, DRQ;
            jz @atapi_error;
            push si;
            push ds;
            mov dx, word_ptr(si + drive::PORT).es();
            push EBDA;
            pop ds;
            mov si, ebda::PACKET;
            mov cx, 6;
            rep outsw;
            pop ds;
            pop si;
            call @ata_wait;
            jc @atapi_timeout;
            test al, ERR + DF;
            jnz @atapi_error;
            ret;
        atapi_error:
            // The sense key is in the high half of the error register: 2 no medium is ready, 6 it was changed.
            mov dx, word_ptr(si + drive::PORT).es();
            inc dx;
            in_ al, dx;
            shr al, 4;
            mov ah, 0x31;
            cmp al, 2;
            je .error;
            mov ah, 0x06;
            cmp al, 6;
            je .error;
            mov ah, 0x20;
        .error:
            stc;
            ret;
        atapi_timeout:
            mov ah, 0x80;
            stc;
            ret;
        // Packet command AL with AH in byte 4 for record ES:SI, ES being the EBDA; what it answers goes to the scratch sector.
        // CF set on failure, AH = status. Only command 0, TEST UNIT READY, reports that the medium was changed.
        atapi_simple:
            push bx;
            push cx;
            push dx;
            push di;
            mov bl, 2;
        .again:
            push ax;
            mov dword_ptr(ebda::PACKET).es(), 0;
            mov dword_ptr(ebda::PACKET + 4).es(), 0;
            mov dword_ptr(ebda::PACKET + 8).es(), 0;
            mov byte_ptr(ebda::PACKET).es(), al;
            mov byte_ptr(ebda::PACKET + 4).es(), ah;
            mov cx, 512;
            call @atapi_packet;
            jc .failed;
            test al, DRQ;
            jz .taken;
            mov dx, word_ptr(si + drive::PORT).es();
            add dx, 5;
            in_ al, dx;
            mov ah, al;
            dec dx;
            in_ al, dx;
            mov cx, 512; // no more than was allowed
            cmp ax, cx;
            ja .bounded;
            mov cx, ax;
        .bounded:
            shr cx, 1;
            sub dx, 4;
            mov di, ebda::SECTOR;
            cld;
            rep insw;
            call @ata_wait;
        .taken:
            pop ax;
            clc;
            jmp .done;
        .failed:
            mov bh, ah;
            pop ax;
            or al, al;
            jz .error;
            cmp bh, 0x06;
            jne .error;
            dec bl;
            jnz .again;
        .error:
            mov ah, bh;
            stc;
        .done:
            pop di;
            pop dx;
            pop cx;
            pop bx;
            ret;
        // Reads CX blocks of the CD from block EAX to segment BX. CF set on failure.
        cd_read:
            pushad;
            push ds;
            push es;
            push BDA;
            pop ds;
            mov dl, 0xe0;
            call @disk_find;
            jc .done;
            movzx edi, bx;
            shl edi, 4;
            movzx ecx, cx;
            xor edx, edx;
            mov bl, 0;
            call @disk_transfer;
            cmp ah, 1;
            cmc; // AH = 0: CF clear
        .done:
            pop es;
            pop ds;
            popad;
            ret;
    );
    Ok(())
}
