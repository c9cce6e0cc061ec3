//! int 10h AH=4Fh: VESA BIOS Extensions 3.0 over the Bochs display interface (index and data ports 1CEh and 1CFh), with
//! banks at A0000h and a linear frame buffer at the adapter's PCI BAR 0.
//!
//! 800 by 600 in planes goes through the VGA's registers (`vbe_planar`).

use crate::asm::{Builder, Emit, x86};
use crate::layout::{bda, frame};
use iced_x86::code_asm::*;

use super::vbe_modes::{self, ENTRY, ENTRY_BITS, ENTRY_HEIGHT, ENTRY_WIDTH};
use super::vbe_monitor::{self, HIGHEST_CLOCK};
use super::{modes::PLANAR_800, vbe_planar, vbe_protected};

/// Registers of the display interface.
pub mod dispi {
    pub const ID: i32 = 0;
    pub const XRES: i32 = 1;
    pub const YRES: i32 = 2;
    pub const BPP: i32 = 3;
    pub const ENABLE: i32 = 4;
    pub const BANK: i32 = 5;
    pub const VIRT_WIDTH: i32 = 6;
    pub const VIRT_HEIGHT: i32 = 7;
    pub const X_OFFSET: i32 = 8;
    pub const Y_OFFSET: i32 = 9;
    pub const MEMORY_64K: i32 = 10;
}

/// Entries of the jump table.
const VBE_FUNCTIONS: i32 = 0x16;

pub fn emit(b: &mut Builder) -> Emit {
    emit_interface(b)?;
    emit_controller(b)?;
    emit_mode_information(b)?;
    emit_set_mode(b)?;
    emit_state(b)?;
    emit_window(b)?;
    emit_start(b)?;
    emit_palette(b)?;
    vbe_monitor::emit(b)?;
    vbe_planar::emit(b)?;
    vbe_protected::emit(b)?;
    vbe_modes::emit(b)
}

fn emit_interface(b: &mut Builder) -> Emit {
    x86!(b;
        vbe_service:
            mov al, dispi::ID;
            call @dispi_read;
            and al, 0xf0;
            cmp ax, 0xb0c0;
            jne @video_return;
            mov bx, word_ptr(bp + frame::BX);
            mov cx, word_ptr(bp + frame::CX);
            mov dx, word_ptr(bp + frame::DX);
            mov es, word_ptr(bp + frame::ES);
            mov di, word_ptr(bp + frame::DI);
            movzx si, byte_ptr(bp + frame::AL);
            cmp si, VBE_FUNCTIONS;
            jae @video_return;
            add si, si;
            jmp word_ptr(si + b.at("vbe_table")).cs();
        vbe_done:
            mov word_ptr(bp + frame::AX), 0x004f;
            jmp @video_return;
        vbe_failed:
            mov word_ptr(bp + frame::AX), 0x014f;
            jmp @video_return;
        // Not in the present mode.
        vbe_invalid:
            mov word_ptr(bp + frame::AX), 0x034f;
            jmp @video_return;
        vbe_table:
    );
    b.jump_table(
        VBE_FUNCTIONS as usize,
        "video_return",
        &[
            (0, "vbe_controller"),
            (1, "vbe_mode_information"),
            (2, "vbe_set_mode"),
            (3, "vbe_get_mode"),
            (4, "vbe_state"),
            (5, "vbe_window"),
            (6, "vbe_line_length"),
            (7, "vbe_start"),
            (8, "vbe_dac_width"),
            (9, "vbe_palette"),
            (0x0a, "vbe_protected"),
            (0x0b, "vbe_pixel_clock"),
            (0x10, "vbe_power"),
            (0x15, "vbe_monitor"),
        ],
    )?;
    x86!(b;
        // AX = register AL.
        dispi_read:
            push dx;
            mov ah, 0;
            mov dx, 0x1ce;
            out dx, ax;
            inc dx;
            in_ ax, dx;
            pop dx;
            ret;
        // Register AL = CX.
        dispi_write:
            push dx;
            push ax;
            mov ah, 0;
            mov dx, 0x1ce;
            out dx, ax;
            inc dx;
            mov ax, cx;
            out dx, ax;
            pop ax;
            pop dx;
            ret;
        // Leaves a mode of the interface, if there is one, for the VGA's own.
        dispi_off:
            push ax;
            push cx;
            mov al, dispi::ID;
            call @dispi_read;
            and al, 0xf0;
            cmp ax, 0xb0c0;
            jne .done;
            mov al, dispi::ENABLE;
            xor cx, cx;
            call @dispi_write;
        .done:
            pop cx;
            pop ax;
            ret;
        // CF set unless a mode of the interface is shown.
        dispi_on:
            push ax;
            mov al, dispi::ENABLE;
            call @dispi_read;
            xor al, 1;
            shr al, 1;
            pop ax;
            ret;
        // EAX = physical address of the frame buffer: BAR 0 of device 1234h:1111h on bus 0.
        vbe_frame_buffer:
            push ecx;
            push dx;
            mov dx, 0xcf8;
            in_ eax, dx;
            push eax;
            mov ecx, 0x8000_0000u32;
        .next:
            mov eax, ecx;
            mov dx, 0xcf8;
            out dx, eax;
            mov dx, 0xcfc;
            in_ eax, dx;
            cmp eax, 0x1111_1234;
            je .found;
            add ecx, 0x800;
            cmp ecx, 0x8001_0000u32;
            jb .next;
            mov eax, 0xe000_0000u32; // an adapter on ISA
            jmp .done;
        .found:
            lea eax, ptr(ecx + 0x10);
            mov dx, 0xcf8;
            out dx, eax;
            mov dx, 0xcfc;
            in_ eax, dx;
            and al, 0xf0;
        .done:
            mov ecx, eax;
            pop eax;
            mov dx, 0xcf8;
            out dx, eax;
            mov eax, ecx;
            pop dx;
            pop ecx;
            ret;
        // SI = entry of mode BX, flags ignored. CF set if there is none.
        vbe_find:
            push ax;
            push bx;
            and bx, 0x1ff;
            mov si, b.at("vbe_modes");
        .next:
            mov ax, word_ptr(si).cs();
            cmp ax, 0xffff;
            je .none;
            cmp ax, bx;
            je .found;
            add si, ENTRY;
            jmp .next;
        .none:
            stc;
        .found: // equal: carry is clear
            pop bx;
            pop ax;
            ret;
        // AX = bytes of a pixel with AL bits.
        vbe_pixel_bytes:
            mov ah, 0;
            add al, 7;
            shr al, 3;
            ret;
    );
    Ok(())
}

fn emit_controller(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = 0: VbeInfoBlock, 512 bytes for a caller that writes 'VBE2' there, else 256.
        vbe_controller:
            push dword_ptr(di).es();
            push di;
            mov cx, 128;
            xor ax, ax;
            rep stosw;
            pop di;
            mov dword_ptr(di).es(), 0x4153_4556; // 'VESA'
            mov word_ptr(di + 4).es(), 0x0300;
            mov word_ptr(di + 6).es(), b.at("vbe_text_product");
            mov word_ptr(di + 8).es(), cs;
            mov dword_ptr(di + 10).es(), 1; // the DAC's width can be set
            mov word_ptr(di + 14).es(), b.at("vbe_mode_list");
            mov word_ptr(di + 16).es(), cs;
            mov al, dispi::MEMORY_64K;
            call @dispi_read;
            mov word_ptr(di + 18).es(), ax;
            pop eax;
            cmp eax, 0x3245_4256; // 'VBE2'
            jne @vbe_done;
            mov word_ptr(di + 20).es(), 0x0100;
            mov word_ptr(di + 22).es(), b.at("vbe_text_vendor");
            mov word_ptr(di + 24).es(), cs;
            mov word_ptr(di + 26).es(), b.at("vbe_text_product");
            mov word_ptr(di + 28).es(), cs;
            mov word_ptr(di + 30).es(), b.at("vbe_text_revision");
            mov word_ptr(di + 32).es(), cs;
            jmp @vbe_done;
    );
    Ok(())
}

fn emit_mode_information(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = 1, CX = mode: ModeInfoBlock, 256 bytes.
        vbe_mode_information:
            mov bx, cx;
            call @vbe_find;
            jc @vbe_failed;
            push di;
            mov cx, 128;
            xor ax, ax;
            rep stosw;
            pop di;
            // Supported, colour, graphics, banks and linear frame buffer.
            mov word_ptr(di).es(), 0x009b;
            mov byte_ptr(di + 2).es(), 7; // window A: relocatable, readable, writable
            mov word_ptr(di + 4).es(), 64;
            mov word_ptr(di + 6).es(), 64;
            mov word_ptr(di + 8).es(), 0xa000;
            mov word_ptr(di + 12).es(), b.at("vbe_window_call");
            mov word_ptr(di + 14).es(), cs;
            mov al, byte_ptr(si + ENTRY_BITS).cs();
            mov byte_ptr(di + 0x19).es(), al;
            call @vbe_pixel_bytes;
            mov cx, word_ptr(si + ENTRY_WIDTH).cs();
            mov word_ptr(di + 0x12).es(), cx;
            cmp byte_ptr(si + ENTRY_BITS).cs(), 4;
            jne .packed;
            shr cx, 3;
        .packed:
            mul cx;
            mov word_ptr(di + 0x10).es(), ax;
            mov word_ptr(di + 0x32).es(), ax;
            mov bx, word_ptr(si + ENTRY_HEIGHT).cs();
            mov word_ptr(di + 0x14).es(), bx;
            mov word_ptr(di + 0x16).es(), 0x1008; // characters of 8 by 16
            mov byte_ptr(di + 0x18).es(), 1;
            mov byte_ptr(di + 0x1a).es(), 1;
            mov byte_ptr(di + 0x1e).es(), 1;
            // Pictures that fit, less one.
            mul bx;
            shl edx, 16;
            mov dx, ax;
            mov ebx, edx;
            mov al, dispi::MEMORY_64K;
            call @dispi_read;
            movzx eax, ax;
            shl eax, 16;
            xor edx, edx;
            div ebx;
            dec eax;
            js .pages_known;
            cmp eax, 255;
            jbe .pages_fit;
            mov al, 255;
        .pages_fit:
            mov byte_ptr(di + 0x1d).es(), al;
            mov byte_ptr(di + 0x34).es(), al;
            mov byte_ptr(di + 0x35).es(), al;
        .pages_known:
            call @vbe_frame_buffer;
            mov dword_ptr(di + 0x28).es(), eax;
            mov dword_ptr(di + 0x3e).es(), HIGHEST_CLOCK;
            mov byte_ptr(di + 0x1b).es(), 4; // packed pixels
            mov bx, b.at("vbe_masks_15");
            mov al, byte_ptr(di + 0x19).es();
            cmp al, 8;
            je @vbe_done;
            jb @vbe_planar_information;
            mov byte_ptr(di + 0x1b).es(), 6; // direct colour
            cmp al, 15;
            je .masks;
            add bx, 8;
            cmp al, 16;
            je .masks;
            add bx, 8;
            cmp al, 24;
            je .masks;
            add bx, 8;
            mov byte_ptr(di + 0x27).es(), 2; // the fourth byte may be used
        .masks:
            mov eax, dword_ptr(bx).cs();
            mov dword_ptr(di + 0x1f).es(), eax;
            mov dword_ptr(di + 0x36).es(), eax;
            mov eax, dword_ptr(bx + 4).cs();
            mov dword_ptr(di + 0x23).es(), eax;
            mov dword_ptr(di + 0x3a).es(), eax;
            jmp @vbe_done;
        vbe_masks_15: // size and place of red, green, blue and what is left
            db &[5, 10, 5, 5, 5, 0, 1, 15];
            db &[5, 11, 6, 5, 5, 0, 0, 0];
            db &[8, 16, 8, 8, 8, 0, 0, 0];
            db &[8, 16, 8, 8, 8, 0, 8, 24];
    );
    Ok(())
}

fn emit_set_mode(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = 2, BX = mode: bit 11 timings at ES:DI, bit 14 linear frame buffer, bit 15 the memory is kept.
        vbe_set_mode:
            test bx, 0x0100;
            jnz .extended;
            mov al, bl;
            and al, 0x7f;
            call @find_mode;
            jc @vbe_failed;
        .own:
            mov al, bl;
            and al, 0x7f;
            shr bx, 8;
            and bl, 0x80;
            or al, bl;
            mov ah, 0;
            int 0x10;
            jmp @vbe_done;
        .extended:
            call @vbe_find;
            jc @vbe_failed;
            test bx, 0x0800;
            jz .timings_known;
            call @vbe_check_timings;
            jc @vbe_failed;
        .timings_known:
            cmp byte_ptr(si + ENTRY_BITS).cs(), 4;
            jne .packed;
            test bx, 0x4000; // without a linear frame buffer
            jnz @vbe_failed;
            mov bl, PLANAR_800;
            jmp .own;
        .packed:
            // The VGA in a graphics mode behind the picture, with its 256 colours.
            push bx;
            push si;
            call @dispi_off;
            mov al, 0x13;
            call @find_mode;
            call @set_registers;
            call @set_mode_data;
            call @video_on;
            pop si;
            pop bx;
            mov al, dispi::XRES;
            mov cx, word_ptr(si + ENTRY_WIDTH).cs();
            call @dispi_write;
            shr cx, 3;
            mov word_ptr(bda::VIDEO_COLUMNS), cx;
            mov al, dispi::YRES;
            mov cx, word_ptr(si + ENTRY_HEIGHT).cs();
            call @dispi_write;
            shr cx, 4;
            dec cx;
            mov byte_ptr(bda::VIDEO_LAST_ROW), cl;
            mov word_ptr(bda::CHARACTER_HEIGHT), 16;
            mov al, dispi::BPP;
            movzx cx, byte_ptr(si + ENTRY_BITS).cs();
            call @dispi_write;
            mov cx, bx;
            shr cx, 8;
            and cx, 0xc0; // kept and linear have the same places in the enable register
            or cl, 1;
            mov al, dispi::ENABLE;
            call @dispi_write;
            call @dispi_on;
            jc .refused;
            // No text service knows this mode.
            mov byte_ptr(bda::VIDEO_MODE), 0xff;
            and bx, 0x41ff;
            mov word_ptr(bda::VBE_MODE), bx;
            and byte_ptr(bda::VIDEO_CONTROL), 0x7f;
            jmp @vbe_done;
        .refused:
            mov ax, 3;
            int 0x10;
            jmp @vbe_failed;
        // AL = 3: BX = mode.
        vbe_get_mode:
            movzx bx, byte_ptr(bda::VIDEO_MODE);
            call @dispi_on;
            jc .own;
            mov bx, word_ptr(bda::VBE_MODE);
        .own:
            cmp bx, PLANAR_800;
            jne .known;
            mov bx, 0x102;
        .known:
            mov word_ptr(bp + frame::BX), bx;
            jmp @vbe_done;
    );
    Ok(())
}

fn emit_state(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = 4, DL = 0: BX = 64-byte blocks for the parts CX; 1 and 2: they are saved to and restored from ES:BX.
        vbe_state:
            and cx, 0x0f;
            cmp dl, 1;
            jb .size;
            je .save;
            cmp dl, 2;
            jne @vbe_failed;
            call @state_restore;
            jmp @vbe_done;
        .save:
            call @state_save;
            jmp @vbe_done;
        .size:
            call @state_blocks;
            jmp @vbe_done;
    );
    Ok(())
}

fn emit_window(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = 5, BH = 0: window BL at 64 KiB times DX; BH = 1: DX = where it is.
        vbe_window:
            or bl, bl;
            jnz @vbe_failed;
            call @dispi_on;
            jc @vbe_planar_window;
            call @vbe_window_do;
            jc @vbe_failed;
            mov word_ptr(bp + frame::DX), dx;
            jmp @vbe_done;
        // The same by a far call, as the mode's information offers it.
        vbe_window_call:
            or bl, bl;
            jnz .done;
            push cx;
            call @vbe_window_do;
            pop cx;
        .done:
            retf;
        vbe_window_do:
            cmp bh, 1;
            ja .failed;
            je .get;
            mov cx, dx;
            mov al, dispi::BANK;
            call @dispi_write;
            call @dispi_read;
            cmp ax, dx;
            jne .failed;
            clc;
            ret;
        .get:
            mov al, dispi::BANK;
            call @dispi_read;
            mov dx, ax;
            clc;
            ret;
        .failed:
            stc;
            ret;
        // AL = 6: BL = 0 or 2 sets CX pixels or bytes as the distance of lines, 1 gets it, 3 the greatest.
        // BX = bytes, CX = pixels, DX = lines that fit.
        vbe_line_length:
            call @dispi_on;
            jc @vbe_planar_line;
            mov al, dispi::BPP;
            call @dispi_read;
            call @vbe_pixel_bytes;
            mov si, ax;
            cmp bl, 1;
            je .get;
            jb .set;
            cmp bl, 3;
            ja @vbe_failed;
            je .greatest;
            // Bytes to pixels, rounded up.
            mov ax, cx;
            xor dx, dx;
            add ax, si;
            adc dx, 0;
            dec ax;
            div si;
            mov cx, ax;
        .set:
            add cx, 7;
            jc @vbe_failed;
            and cl, 0xf8;
            mov al, dispi::VIRT_WIDTH;
            call @dispi_write;
            call @dispi_read;
            cmp ax, cx;
            jne @vbe_failed;
        .get:
            mov al, dispi::VIRT_HEIGHT;
            call @dispi_read;
            mov word_ptr(bp + frame::DX), ax;
            mov al, dispi::VIRT_WIDTH;
            call @dispi_read;
        .answer:
            mov word_ptr(bp + frame::CX), ax;
            mul si;
            mov word_ptr(bp + frame::BX), ax;
            jmp @vbe_done;
        .greatest:
            // As many pixels as let all lines of the picture fit.
            mov al, dispi::YRES;
            call @dispi_read;
            mov word_ptr(bp + frame::DX), ax;
            mul si;
            shl edx, 16;
            mov dx, ax;
            mov ecx, edx;
            mov al, dispi::MEMORY_64K;
            call @dispi_read;
            movzx eax, ax;
            shl eax, 16;
            xor edx, edx;
            div ecx;
            // The answer has 16 bits of bytes.
            mov ecx, eax;
            mov eax, 0xffff;
            xor edx, edx;
            movzx esi, si;
            div esi;
            cmp eax, ecx;
            jb .narrow;
            mov eax, ecx;
        .narrow:
            and al, 0xf8;
            jmp .answer;
    );
    Ok(())
}

fn emit_start(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = 7: BL = 0 or 80h (in vertical retrace) shows the picture from pixel CX of line DX on, 1 tells.
        vbe_start:
            call @dispi_on;
            jc @vbe_planar_start;
            cmp bl, 1;
            je .get;
            cmp bl, 0x80;
            je .retrace;
            or bl, bl;
            jnz @vbe_failed;
            jmp .set;
        .retrace:
            call @vbe_retrace;
        .set:
            mov al, dispi::X_OFFSET;
            call @dispi_write;
            call @dispi_read;
            mov si, ax;
            cmp ax, cx;
            mov cx, dx;
            mov al, dispi::Y_OFFSET;
            jne .wrong;
            call @dispi_write;
            call @dispi_read;
            cmp ax, cx;
            jne @vbe_failed;
            jmp @vbe_done;
        .wrong:
            call @dispi_write;
            jmp @vbe_failed;
        .get:
            mov al, dispi::X_OFFSET;
            call @dispi_read;
            mov word_ptr(bp + frame::CX), ax;
            mov al, dispi::Y_OFFSET;
            call @dispi_read;
            mov word_ptr(bp + frame::DX), ax;
            mov byte_ptr(bp + frame::BH), 0;
            jmp @vbe_done;
        // Waits for the start of a vertical retrace, at most some thousand looks.
        vbe_retrace:
            push cx;
            push dx;
            push ax;
            mov dx, 0x3da;
            mov cx, 0x7fff;
        .in_one:
            in_ al, dx;
            test al, 8;
            loopne .in_one;
            mov cx, 0x7fff;
        .before:
            in_ al, dx;
            test al, 8;
            loope .before;
            pop ax;
            pop dx;
            pop cx;
            ret;
    );
    Ok(())
}

fn emit_palette(b: &mut Builder) -> Emit {
    x86!(b;
        // AL = 8: BL = 0 sets BH bits of each colour, 1 tells; BH = bits.
        vbe_dac_width:
            call @dispi_on;
            jc @vbe_invalid;
            mov al, dispi::ENABLE;
            call @dispi_read;
            cmp bl, 1;
            je .get;
            ja @vbe_failed;
            and al, 0xdf;
            cmp bh, 8;
            jb .narrow;
            or al, 0x20;
        .narrow:
            mov cx, ax;
            mov al, dispi::ENABLE;
            call @dispi_write;
            call @dispi_read;
        .get:
            mov bh, 6;
            test al, 0x20;
            jz .answer;
            mov bh, 8;
        .answer:
            mov byte_ptr(bp + frame::BH), bh;
            jmp @vbe_done;
        // AL = 9: BL = 0 or 80h (in vertical retrace) sets CX colours from DX on from ES:DI (blue, green, red, nothing),
        // 1 gets them.
        vbe_palette:
            cmp cx, 256;
            ja @vbe_failed;
            jcxz @vbe_done;
            cmp dx, 255;
            ja @vbe_failed;
            mov ax, dx;
            add ax, cx;
            cmp ax, 256;
            ja @vbe_failed;
            mov al, dl;
            cmp bl, 1;
            je .get;
            cmp bl, 0x80;
            je .retrace;
            or bl, bl;
            jnz @vbe_failed;
            jmp .set;
        .retrace:
            call @vbe_retrace;
        .set:
            mov dx, 0x3c8;
            out dx, al;
            inc dx;
        .next_set:
            mov al, byte_ptr(di + 2).es();
            out dx, al;
            mov al, byte_ptr(di + 1).es();
            out dx, al;
            mov al, byte_ptr(di).es();
            out dx, al;
            add di, 4;
            loop_ .next_set;
            jmp @vbe_done;
        .get:
            mov dx, 0x3c7;
            out dx, al;
            add dx, 2;
        .next_get:
            in_ al, dx;
            mov byte_ptr(di + 2).es(), al;
            in_ al, dx;
            mov byte_ptr(di + 1).es(), al;
            in_ al, dx;
            mov byte_ptr(di).es(), al;
            mov byte_ptr(di + 3).es(), 0;
            add di, 4;
            loop_ .next_get;
            jmp @vbe_done;
    );
    Ok(())
}
