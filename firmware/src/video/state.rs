//! What the adapter is and does: int 10h AH=12h, 1Ah, 1Bh.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{bda, frame};
use iced_x86::code_asm::*;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        alternate_service:
            cmp bl, 0x10;
            je .information;
            cmp bl, 0x20; // print screen for more than 25 rows: int 05h handles any size already
            je @video_return;
            cmp bl, 0x30;
            je .lines;
            cmp bl, 0x31;
            je .default_palette;
            cmp bl, 0x32;
            je .addressing;
            cmp bl, 0x33;
            je .grey;
            cmp bl, 0x34;
            je .cursor;
            cmp bl, 0x36;
            je .refresh;
            jmp @video_return;
        .information:
            mov byte_ptr(bp + frame::BH), 0;
            cmp byte_ptr(bda::VIDEO_MODE), 7;
            jne .colour;
            inc byte_ptr(bp + frame::BH);
        .colour:
            mov byte_ptr(bp + frame::BL), 3; // 256 KiB
            mov al, byte_ptr(bda::VIDEO_SWITCHES);
            mov ah, al;
            shr ah, 4;
            and al, 0x0f;
            mov word_ptr(bp + frame::CX), ax;
            jmp @video_return;
        .lines:
            // 0, 1, 2: 200, 350, 400 lines when modes 0 to 3 are set next.
            cmp al, 2;
            ja @video_return;
            mov bx, 0x8008; // BH: the flags' lines, BL: the switches of a display with 200 lines
            jb .few;
            mov bx, 0x1009;
        .few:
            cmp al, 1;
            jne .lines_known;
            mov bx, 0x0009;
        .lines_known:
            and byte_ptr(bda::VIDEO_FLAGS), 0x6f;
            or byte_ptr(bda::VIDEO_FLAGS), bh;
            and byte_ptr(bda::VIDEO_SWITCHES), 0xf0;
            or byte_ptr(bda::VIDEO_SWITCHES), bl;
            jmp .supported;
        .default_palette:
            and byte_ptr(bda::VIDEO_FLAGS), 0xf7;
            and al, 1;
            shl al, 3;
            or byte_ptr(bda::VIDEO_FLAGS), al;
            jmp .supported;
        .addressing:
            // Miscellaneous output bit 1: the CPU reaches video memory.
            mov ah, al;
            and ah, 1;
            xor ah, 1;
            add ah, ah;
            mov dx, 0x3cc;
            in_ al, dx;
            and al, 0xfd;
            or al, ah;
            mov dx, 0x3c2;
            out dx, al;
            jmp .supported;
        .grey:
            // 0: what is loaded into the DAC from now on becomes grey.
            and byte_ptr(bda::VIDEO_FLAGS), 0xfd;
            and al, 1;
            xor al, 1;
            add al, al;
            or byte_ptr(bda::VIDEO_FLAGS), al;
            jmp .supported;
        .cursor:
            and byte_ptr(bda::VIDEO_CONTROL), 0xfe;
            and al, 1;
            or byte_ptr(bda::VIDEO_CONTROL), al;
            jmp .supported;
        .refresh:
            mov ah, al;
            and ah, 1;
            call @screen_off;
        .supported:
            jmp @video_return_ah;
        // AL = 0: BL = display code, 8 colour VGA, 7 monochrome VGA. There is no second display.
        combination_service:
            or al, al;
            jnz .done;
            mov word_ptr(bp + frame::BX), 8;
            cmp byte_ptr(bda::VIDEO_MODE), 7;
            jne .done;
            mov word_ptr(bp + frame::BX), 7;
        .done:
            jmp @video_return_ah;
        // 64 bytes at ES:DI: pointer to the static functionality table, the BIOS data area's fields, derived values.
        state_service:
            or bx, bx;
            jnz @video_return;
            mov es, word_ptr(bp + frame::ES);
            mov ax, b.at("functionality");
            stosw;
            mov ax, cs;
            stosw;
            mov si, bda::VIDEO_MODE;
            mov cx, 30;
            rep movsb;
            mov al, byte_ptr(bda::VIDEO_LAST_ROW);
            inc al;
            stosb;
            mov ax, word_ptr(bda::CHARACTER_HEIGHT);
            stosw;
            mov ax, 0x0008; // active display, no other
            stosw;
            mov al, byte_ptr(bda::VIDEO_MODE);
            mov bx, 0x0810; // 16 colours, 8 pages
            cmp al, 0x13;
            jne .colours;
            mov bx, 0x0100;
        .colours:
            movzx ax, bl;
            or al, al;
            jnz .stored;
            inc ah; // 256
        .stored:
            stosw;
            mov al, bh;
            stosb;
            call @scan_lines_code;
            stosb;
            xor ax, ax;
            stosw; // primary and secondary font blocks
            // All modes on all displays; greys and default colours as the flags tell, cursor emulation, blinking.
            mov al, byte_ptr(bda::VIDEO_FLAGS);
            and al, 0x0a;
            mov ah, byte_ptr(bda::VIDEO_CONTROL);
            not ah;
            and ah, 1;
            shl ah, 4;
            or al, ah;
            mov ah, byte_ptr(bda::VIDEO_MODE_SELECT);
            and ah, 0x20;
            or al, ah;
            or al, 1;
            stosb;
            mov cx, 3;
            mov al, 0;
            rep stosb;
            mov al, 3; // 256 KiB
            stosb;
            mov cx, 14;
            mov al, 0;
            rep stosb;
            jmp @video_return_ah;
        // AL = 0, 1, 2, 3 for 200, 350, 400, 480 scan lines, by the CRTC's vertical display end and line doubling.
        scan_lines_code:
            mov dx, word_ptr(bda::CRTC_PORT);
            mov al, 0x09;
            out dx, al;
            inc dx;
            in_ al, dx;
            mov ah, al;
            dec dx;
            mov al, 0x12;
            out dx, al;
            inc dx;
            in_ al, dx;
            mov dl, al;
            mov al, 1;
            cmp dl, 0x5d; // 350, where the ninth bit is set
            je .known;
            mov al, 3;
            cmp dl, 0xdf;
            je .known;
            mov al, 2;
            test ah, 0x80;
            jz .known;
            mov al, 0;
        .known:
            ret;
        functionality: // modes 0-7, 0Dh-13h; 200, 350 and 400 lines; the functions there are
            db &[0xff, 0xe0, 0x0f, 0, 0, 0, 0, 0x07, 2, 8, 0xff, 0x0e, 0, 0, 0, 0];
        save_table: // only the parameter table's place is defined; the rest is null
    );
    b.db(&[0; 28])
}
