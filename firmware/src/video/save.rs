//! Saving and restoring what the adapter does: int 10h AH=1Ch, and AH=4Fh AL=04h with one part more.
//!
//! A saved state begins with the offset of each of its parts, zero for a part that was not asked for; so parts can be
//! restored one at a time.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{bda, frame};
use iced_x86::code_asm::*;

use super::vbe::dispi;

/// Bytes of the offsets, then of each part in the order of their bits in CX: hardware, BIOS data, colours, and the
/// display interface.
const HEAD: i32 = 8;
const HARDWARE: i32 = 6 + 5 + 9 + 25 + 21;
const COLOURS: i32 = 3 + 768;
const INTERFACE: i32 = 2 * dispi::Y_OFFSET;

/// What the BIOS knows of the adapter: addresses in segment 0 and how many bytes each has.
const BIOS_DATA: &[(i32, i32)] = &[
    (0x400 + bda::EQUIPMENT, 1),
    (0x400 + bda::VIDEO_MODE, 30),
    (0x400 + bda::VIDEO_LAST_ROW, 7),
    (0x400 + bda::VIDEO_SAVE_TABLE, 4),
    (0x400 + bda::VBE_MODE, 3),
    (4 * 0x1f, 4),
    (4 * 0x43, 4),
];

/// Places in the hardware's part: miscellaneous output, the index registers, feature control; registers follow.
const MISC: i32 = 0;
const SEQUENCER_INDEX: i32 = 1;
const GRAPHICS_INDEX: i32 = 2;
const CRTC_INDEX: i32 = 3;
const ATTRIBUTE_INDEX: i32 = 4;
const FEATURE: i32 = 5;
const REGISTERS: i32 = 6;

fn bios_data_size() -> i32 {
    BIOS_DATA.iter().map(|(_, bytes)| bytes).sum()
}

pub fn emit(b: &mut Builder) -> Emit {
    emit_services(b)?;
    emit_hardware(b)?;
    emit_bios_data(b)?;
    emit_colours(b)?;
    emit_interface(b)
}

fn emit_services(b: &mut Builder) -> Emit {
    x86!(b;
        // AH=1Ch, AL = 0: BX = 64-byte blocks for the parts CX; 1 and 2: they are saved to and restored from ES:BX.
        save_state_service:
            cmp al, 2;
            ja @video_return;
            and cx, 0x07;
            mov es, word_ptr(bp + frame::ES);
            cmp al, 1;
            jb .size;
            je .save;
            call @state_restore;
            jmp @video_return_ah;
        .save:
            call @state_save;
            jmp @video_return_ah;
        .size:
            call @state_blocks;
            jmp @video_return_ah;
        // The caller's BX = blocks that the parts CX need.
        state_blocks:
            mov bx, HEAD + 63;
            xor si, si;
        .part:
            shr cx, 1;
            jnc .next;
            add bx, word_ptr(si + b.at("state_sizes")).cs();
        .next:
            inc si;
            inc si;
            cmp si, 8;
            jb .part;
            shr bx, 6;
            mov word_ptr(bp + frame::BX), bx;
            ret;
        // The parts CX to ES:BX. Changes most registers.
        state_save:
            mov di, bx;
            push cx;
            mov cx, 4;
            xor ax, ax;
            rep stosw;
            pop cx;
            xor si, si;
        .part:
            shr cx, 1;
            jnc .next;
            mov ax, di;
            sub ax, bx;
            mov word_ptr(bx + si).es(), ax;
            push bx;
            push cx;
            push si;
            call word_ptr(si + b.at("state_savers")).cs();
            pop si;
            pop cx;
            pop bx;
        .next:
            inc si;
            inc si;
            cmp si, 8;
            jb .part;
            ret;
        // The parts CX that are saved at ES:BX. The interface's mode goes first and comes back before the colours,
        // whose width depends on it. Changes most registers.
        state_restore:
            test cl, 8;
            jz .own;
            call @dispi_off;
        .own:
            mov al, 1;
            mov si, 0;
            call .part;
            mov al, 8;
            mov si, 6;
            call .part;
            mov al, 2;
            mov si, 2;
            call .part;
            mov al, 4;
            mov si, 4;
        .part:
            test cl, al;
            jz .absent;
            mov di, si;
            mov si, word_ptr(bx + si).es();
            or si, si;
            jz .absent;
            add si, bx;
            push bx;
            push cx;
            call word_ptr(di + b.at("state_restorers")).cs();
            pop cx;
            pop bx;
        .absent:
            ret;
        state_sizes:
            dw &[HARDWARE as u16, bios_data_size() as u16, COLOURS as u16, INTERFACE as u16];
        state_savers:
    );
    b.addresses(&["save_hardware", "save_bios_data", "save_colours", "save_interface"])?;
    x86!(b; state_restorers:);
    b.addresses(&["restore_hardware", "restore_bios_data", "restore_colours", "restore_interface"])
}

fn emit_hardware(b: &mut Builder) -> Emit {
    x86!(b;
        save_hardware:
            mov dx, 0x3cc;
            in_ al, dx;
            stosb;
            call @state_crtc_port;
            mov dx, 0x3c4;
            in_ al, dx;
            stosb;
            mov dx, 0x3ce;
            in_ al, dx;
            stosb;
            mov dx, bx;
            in_ al, dx;
            stosb;
            lea dx, ptr(bx + 6);
            in_ al, dx; // the next access to 3C0h is to the index
            mov dx, 0x3c0;
            in_ al, dx;
            stosb;
            mov dx, 0x3ca;
            in_ al, dx;
            stosb;
            mov dx, 0x3c4;
            mov cx, 5;
            call .indexed;
            mov dx, 0x3ce;
            mov cx, 9;
            call .indexed;
            mov dx, bx;
            mov cx, 25;
            call .indexed;
            mov ah, 0;
        .attribute:
            lea dx, ptr(bx + 6);
            in_ al, dx;
            mov dx, 0x3c0;
            mov al, ah;
            out dx, al;
            inc dx;
            in_ al, dx;
            stosb;
            inc ah;
            cmp ah, 21;
            jb .attribute;
            lea si, ptr(di - HARDWARE);
            jmp @restore_indices;
        // Registers 0 to CX less one at DX.
        .indexed:
            mov ah, 0;
        .next:
            mov al, ah;
            out dx, al;
            inc dx;
            in_ al, dx;
            dec dx;
            stosb;
            inc ah;
            loop_ .next;
            ret;
        restore_hardware:
            push si;
            mov dx, 0x3c4;
            mov ax, 0x0100; // synchronous reset while the clock changes
            out dx, ax;
            mov al, byte_ptr(si + MISC).es();
            mov dx, 0x3c2;
            out dx, al;
            call @state_crtc_port;
            lea dx, ptr(bx + 6);
            mov al, byte_ptr(si + FEATURE).es();
            out dx, al;
            add si, REGISTERS + 1;
            mov dx, 0x3c4;
            mov ah, 1;
            mov cx, 4;
            call .indexed;
            mov al, 0;
            mov ah, byte_ptr(si - 5).es();
            out dx, ax;
            mov dx, 0x3ce;
            mov ah, 0;
            mov cx, 9;
            call .indexed;
            mov dx, bx;
            mov ax, 0x0011; // registers 0 to 7 writable
            out dx, ax;
            mov cx, 25;
            call .indexed;
            lea dx, ptr(bx + 6);
            in_ al, dx;
            mov dx, 0x3c0;
            mov ah, 0;
        .attribute:
            mov al, ah;
            out dx, al;
            mov al, byte_ptr(si).es();
            inc si;
            out dx, al;
            inc ah;
            cmp ah, 21;
            jb .attribute;
            pop si;
            jmp @restore_indices;
        // CX registers from AH at DX.
        .indexed:
            mov al, ah;
            out dx, al;
            inc dx;
            mov al, byte_ptr(si).es();
            inc si;
            out dx, al;
            dec dx;
            inc ah;
            loop_ .indexed;
            ret;
        // The index registers of the hardware saved at ES:SI; BX = the CRTC's port.
        restore_indices:
            mov al, byte_ptr(si + SEQUENCER_INDEX).es();
            mov dx, 0x3c4;
            out dx, al;
            mov al, byte_ptr(si + GRAPHICS_INDEX).es();
            mov dx, 0x3ce;
            out dx, al;
            mov al, byte_ptr(si + CRTC_INDEX).es();
            mov dx, bx;
            out dx, al;
            add dx, 6;
            in_ al, dx;
            push dx;
            mov al, byte_ptr(si + ATTRIBUTE_INDEX).es();
            mov dx, 0x3c0;
            out dx, al;
            pop dx;
            in_ al, dx;
            ret;
        // BX = the CRTC's port for AL in the miscellaneous output register.
        state_crtc_port:
            mov bx, 0x3d4;
            test al, 1;
            jnz .colour;
            mov bl, 0xb4;
        .colour:
            ret;
    );
    Ok(())
}

fn emit_bios_data(b: &mut Builder) -> Emit {
    x86!(b;
        save_bios_data:
            push ds;
            push 0;
            pop ds;
            mov bx, b.at("state_bios_data");
        .next:
            mov si, word_ptr(bx).cs();
            movzx cx, byte_ptr(bx + 2).cs();
            rep movsb;
            add bx, 3;
            cmp bx, b.at("state_bios_data_end");
            jb .next;
            pop ds;
            ret;
        restore_bios_data:
            push ds;
            push es;
            push es;
            pop ds;
            push 0;
            pop es;
            mov bx, b.at("state_bios_data");
        .next:
            mov di, word_ptr(bx).cs();
            movzx cx, byte_ptr(bx + 2).cs();
            rep movsb;
            add bx, 3;
            cmp bx, b.at("state_bios_data_end");
            jb .next;
            pop es;
            pop ds;
            ret;
        state_bios_data:
    );
    for (address, bytes) in BIOS_DATA {
        b.db(&(*address as u16).to_le_bytes())?;
        b.db(&[*bytes as u8])?;
    }
    x86!(b; state_bios_data_end:);
    Ok(())
}

fn emit_colours(b: &mut Builder) -> Emit {
    x86!(b;
        // PEL mask, whether colours are being read, the colour in turn, all colours.
        save_colours:
            mov dx, 0x3c6;
            in_ al, dx;
            stosb;
            inc dx;
            in_ al, dx;
            stosb;
            mov ah, al;
            inc dx;
            in_ al, dx;
            stosb;
            push ax;
            dec dx;
            mov al, 0;
            out dx, al;
            mov dx, 0x3c9;
            mov cx, 768;
            rep insb;
            pop ax;
            jmp @restore_colour_turn;
        restore_colours:
            push ds;
            push es;
            pop ds;
            mov dx, 0x3c6;
            lodsb;
            out dx, al;
            lodsw;
            xchg al, ah;
            push ax;
            mov dx, 0x3c8;
            mov al, 0;
            out dx, al;
            inc dx;
            mov cx, 768;
            rep outsb;
            pop ax;
            pop ds;
        // AL = colour in turn, AH = 3 if colours are being read.
        restore_colour_turn:
            mov dx, 0x3c8;
            test ah, 1;
            jz .writing;
            dec dx;
        .writing:
            out dx, al;
            ret;
    );
    Ok(())
}

fn emit_interface(b: &mut Builder) -> Emit {
    x86!(b;
        save_interface:
            mov bl, dispi::XRES;
        .next:
            mov al, bl;
            call @dispi_read;
            stosw;
            inc bl;
            cmp bl, dispi::Y_OFFSET;
            jbe .next;
            ret;
        // The mode first, then what can be changed while it is shown.
        restore_interface:
            mov di, b.at("state_interface_order");
        .next:
            mov al, byte_ptr(di).cs();
            inc di;
            movzx bx, al;
            add bx, bx;
            mov cx, word_ptr(bx + si - 2).es();
            cmp al, dispi::ENABLE;
            jne .write;
            test cl, 1;
            jz .write;
            or cl, 0x80; // the memory is kept
        .write:
            call @dispi_write;
            cmp di, b.at("state_interface_order_end");
            jb .next;
            ret;
        state_interface_order:
    );
    let order = [
        dispi::XRES,
        dispi::YRES,
        dispi::BPP,
        dispi::ENABLE,
        dispi::BANK,
        dispi::VIRT_WIDTH,
        dispi::X_OFFSET,
        dispi::Y_OFFSET,
    ];
    b.db(&order.map(|register| register as u8))?;
    x86!(b; state_interface_order_end:);
    Ok(())
}
