//! What the firmware itself says on the screen, through int 10h.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{EBDA, bda, drive, ebda};
use iced_x86::code_asm::*;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        // Prints the zero-terminated text at CS:SI.
        print:
            pusha;
            mov bx, 7;
        .next:
            cs lodsb;
            or al, al;
            jz .done;
            mov ah, 0x0e;
            int 0x10;
            jmp .next;
        .done:
            popa;
            ret;
        // Prints the zero-terminated text at ES:SI, 60 characters at most; nothing if SI is 0.
        print_name:
            pusha;
            or si, si;
            jz .done;
            mov bx, 7;
            mov cx, 60;
        .next:
            mov al, byte_ptr(si).es();
            inc si;
            or al, al;
            jz .done;
            mov ah, 0x0e;
            int 0x10;
            loop_ .next;
        .done:
            popa;
            ret;
        // Prints EAX in decimal.
        print_number:
            pushad;
            mov ebx, 10;
            xor cx, cx;
        .divide:
            xor edx, edx;
            div ebx;
            push dx;
            inc cx;
            or eax, eax;
            jnz .divide;
        .digit:
            pop ax;
            add al, b'0' as i32;
            mov ah, 0x0e;
            mov bx, 7;
            int 0x10;
            loop_ .digit;
            popad;
            ret;
        show_banner:
            // The video BIOS normally leaves an empty screen in mode 3; setting a mode again takes time.
            cmp byte_ptr(bda::VIDEO_MODE), 3;
            jne .set_mode;
            cmp word_ptr(bda::CURSOR_POSITIONS), 0;
            je .ready;
        .set_mode:
            mov ax, 3;
            int 0x10;
        .ready:
            // The title line in white on blue across the screen.
            mov ax, 0x0920;
            mov bx, 0x1f;
            mov cx, 80;
            int 0x10;
            mov si, b.at("text_title");
            call @print;
            mov si, b.at("text_memory");
            call @print;
            call @memory_top;
            shr eax, 10;
            push eax;
            call @memory_above_4g;
            shrd eax, edx, 10;
            pop edx;
            add eax, edx;
            call @print_number;
            mov si, b.at("text_kib");
            call @print;
            ret;
        // One line for each floppy drive and each disk or CD.
        show_devices:
            mov al, 0x10;
            call @cmos_read;
            mov ah, al;
            shr al, 4;
            mov si, b.at("text_floppy_a");
            call .floppy;
            mov al, ah;
            and al, 0x0f;
            mov si, b.at("text_floppy_b");
            call .floppy;
            push EBDA;
            pop es;
            mov di, ebda::DRIVES;
            mov cx, 4;
        .drive:
            cmp byte_ptr(di + drive::KIND).es(), 1;
            jb .skip;
            mov si, b.at("text_cd");
            ja .cd;
            mov si, b.at("text_disk");
            call @print;
            mov eax, dword_ptr(di + drive::TOTAL).es();
            mov edx, dword_ptr(di + (drive::TOTAL + 4)).es();
            shrd eax, edx, 11;
            call @print_number;
            mov si, b.at("text_mib");
        .cd:
            call @print;
        .skip:
            add di, drive::SIZE;
            loop_ .drive;
            mov si, b.at("text_newline");
            call @print;
            ret;
        .floppy:
            cmp al, 5;
            ja .none;
            movzx bx, al;
            or bx, bx;
            jz .none;
            call @print;
            add bx, bx;
            mov si, word_ptr(bx + b.at("floppy_names")).cs();
            call @print;
        .none:
            ret;
        floppy_names:
    );
    b.addresses(&["text_none", "text_360", "text_1200", "text_720", "text_1440", "text_2880"])?;
    let texts = [
        ("text_title", concat!("Ring86 BIOS ", env!("CARGO_PKG_VERSION"), "\r\n\n")),
        ("text_memory", "Memory: "),
        ("text_kib", " KiB\r\n"),
        ("text_mib", " MiB\r\n"),
        ("text_disk", "Disk: "),
        ("text_cd", "CD-ROM drive\r\n"),
        ("text_floppy_a", "Floppy A: "),
        ("text_floppy_b", "Floppy B: "),
        ("text_none", "\r\n"),
        ("text_360", "360 KiB\r\n"),
        ("text_1200", "1.2 MiB\r\n"),
        ("text_720", "720 KiB\r\n"),
        ("text_1440", "1.44 MiB\r\n"),
        ("text_2880", "2.88 MiB\r\n"),
        ("text_newline", "\r\n"),
        ("text_menu", "Start from\r\n"),
        ("text_menu_floppy", "  1  floppy A\r\n"),
        ("text_menu_disk", "  2  the first disk\r\n"),
        ("text_menu_cd", "  3  CD\r\n"),
        ("text_menu_network", "  4  network: "),
        ("text_menu_usual", "  Esc  as usual\r\n"),
        ("text_boot_floppy", "Starting from floppy A.\r\n"),
        ("text_boot_disk", "Starting from the first disk.\r\n"),
        ("text_boot_cd", "Starting from CD.\r\n"),
        ("text_boot_network", "Starting from the network.\r\n"),
        ("text_unreadable", "  cannot read it.\r\n"),
        ("text_unbootable", "  it holds no boot sector.\r\n"),
        ("text_nothing", "\r\nNothing to start from: insert a bootable medium and press a key.\r\n"),
    ];
    for (name, text) in texts {
        b.define(name)?;
        b.text(text)?;
    }
    Ok(())
}
