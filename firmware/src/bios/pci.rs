//! PCI configuration (mechanism 1, ports CF8h/CFCh) and the resources of bus 0: BARs, interrupt lines, decoding.
//!
//! Known chips get what their datasheets need: 82441FX PAM registers, PIIX3 interrupt routing and IDE decoding, PIIX4
//! power management base.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{EBDA, ebda};
use iced_x86::code_asm::*;

/// First I/O port handed out.
const FIRST_PORT: i32 = 0xc000;
/// First memory address handed out.
const FIRST_MEMORY: u32 = 0xe000_0000;
/// PIIX4 power management I/O base; the ACPI tables name it too.
pub const PM_BASE: i32 = 0x600;
/// PIIX4 SMBus I/O base.
const SMBUS_BASE: i32 = 0x700;

pub fn emit(b: &mut Builder) -> Emit {
    emit_access(b)?;
    emit_init(b)?;
    emit_bars(b)?;
    emit_video_rom(b)
}

/// Configuration access, in 16-bit and 32-bit code. BX = bus << 8 | device << 3 | function, DI = register.
pub fn emit_access(b: &mut Builder) -> Emit {
    x86!(b;
        pci_select:
            push eax;
            movzx eax, bx;
            shl eax, 8;
            or eax, 0x8000_0000u32;
            push di;
            and di, 0xfc;
            or ax, di;
            pop di;
            mov dx, 0xcf8;
            out dx, eax;
            mov dx, di;
            and dx, 3;
            add dx, 0xcfc;
            pop eax;
            ret;
        pci_read_byte:
            push dx;
            call @pci_select;
            in_ al, dx;
            pop dx;
            ret;
        pci_read_word:
            push dx;
            call @pci_select;
            in_ ax, dx;
            pop dx;
            ret;
        pci_read_dword:
            push dx;
            call @pci_select;
            in_ eax, dx;
            pop dx;
            ret;
        pci_write_byte:
            push dx;
            call @pci_select;
            out dx, al;
            pop dx;
            ret;
        pci_write_word:
            push dx;
            call @pci_select;
            out dx, ax;
            pop dx;
            ret;
        pci_write_dword:
            push dx;
            call @pci_select;
            out dx, eax;
            pop dx;
            ret;
        // CF clear if configuration mechanism 1 answers.
        pci_present:
            push eax;
            push dx;
            mov eax, 0x8000_0000u32;
            mov dx, 0xcf8;
            out dx, eax;
            in_ eax, dx;
            cmp eax, 0x8000_0000u32;
            pop dx;
            pop eax;
            jne .absent;
            clc;
            ret;
        .absent:
            stc;
            ret;
        // Steps BX to the next function of bus 0 that exists; start with BX = FFFFh. CF set at the end.
        // Functions 1-7 are skipped where function 0 is not multi-function.
        pci_next:
            push eax;
            push di;
        .step:
            inc bx;
            cmp bx, 0x100;
            jae .end;
            test bl, 7;
            jz .probe;
            push bx;
            and bl, 0xf8;
            mov di, 0x0e;
            call @pci_read_byte;
            pop bx;
            test al, 0x80;
            jz .step;
            cmp al, 0xff;
            je .step;
        .probe:
            xor di, di;
            call @pci_read_word;
            cmp ax, 0xffff;
            je .step;
            or ax, ax;
            jz .step;
            pop di;
            pop eax;
            clc;
            ret;
        .end:
            pop di;
            pop eax;
            stc;
            ret;
    );
    Ok(())
}

fn emit_init(b: &mut Builder) -> Emit {
    x86!(b;
        pci_init:
            call @pci_present;
            jc .done;
            push ds;
            push EBDA;
            pop ds;
            mov word_ptr(ebda::PCI_NEXT_PORT), FIRST_PORT;
            mov dword_ptr(ebda::PCI_NEXT_MEMORY), FIRST_MEMORY;
            mov bx, 0xffff;
        .next:
            call @pci_next;
            jc .end;
            xor di, di;
            call @pci_read_dword;
            cmp eax, 0x7000_8086;
            je .south_bridge;
            cmp eax, 0x7110_8086;
            je .south_bridge;
            cmp eax, 0x7113_8086;
            je .power;
            cmp eax, 0x7010_8086;
            je .ide;
            cmp eax, 0x7111_8086;
            je .ide;
        .resources:
            mov di, 0x0e;
            call @pci_read_byte;
            and al, 0x7f;
            jnz .next; // bridges keep their power-on windows
            call @pci_assign_bars;
            call @pci_assign_line;
            jmp .next;
        .south_bridge:
            // PIRQA-D to IRQ 10, 10, 11, 11, which must be level triggered (ELCR2).
            mov di, 0x60;
            mov eax, 0x0b0b_0a0a;
            call @pci_write_dword;
            mov al, 0;
            mov dx, 0x4d0;
            out dx, al;
            mov al, 0x0c;
            inc dx;
            out dx, al;
            jmp .resources;
        .power:
            mov di, 0x40;
            mov eax, PM_BASE + 1;
            call @pci_write_dword;
            mov di, 0x80; // PMREGMISC: I/O space enabled
            mov al, 1;
            call @pci_write_byte;
            mov di, 0x90;
            mov eax, SMBUS_BASE + 1;
            call @pci_write_dword;
            mov di, 0xd2; // SMBus host enabled, IRQ9
            mov al, 9;
            call @pci_write_byte;
            mov di, 0x3c;
            mov al, 9;
            call @pci_write_byte;
            jmp .next;
        .ide:
            // IDETIM: decode both legacy channels.
            mov di, 0x40;
            mov eax, 0x8000_8000u32;
            call @pci_write_dword;
            // The bus master function is on, as drivers expect it of a BIOS.
            mov di, 4;
            call @pci_read_byte;
            or al, 4;
            call @pci_write_byte;
            jmp .resources;
        .end:
            pop ds;
        .done:
            ret;
        // Interrupt line of a function: pin and slot select PIRQA-D as the board wires them, (slot - 1 + pin - 1) mod 4.
        pci_assign_line:
            mov di, 0x3d;
            call @pci_read_byte;
            or al, al;
            jz .done;
            cmp al, 4;
            ja .done;
            mov ah, bl;
            shr ah, 3;
            add al, ah;
            sub al, 2;
            and al, 3;
            shr al, 1;
            add al, 10;
            mov di, 0x3c;
            call @pci_write_byte;
        .done:
            ret;
    );
    Ok(())
}

fn emit_bars(b: &mut Builder) -> Emit {
    x86!(b;
        // Gives each BAR of function BX an address of its own and turns decoding on.
        pci_assign_bars:
            mov di, 4;
            call @pci_read_word;
            push ax;
            and al, 0xfc; // no decoding while BARs are sized
            call @pci_write_word;
            mov di, 0x10;
        .bar:
            mov eax, 0xffff_ffffu32;
            call @pci_write_dword;
            call @pci_read_dword;
            or eax, eax;
            jz .advance;
            mov edx, eax;
            test al, 1;
            jnz .port;
            and al, 0xf0;
            neg eax; // the BAR's size
            mov ecx, dword_ptr(ebda::PCI_NEXT_MEMORY);
            dec eax;
            add ecx, eax;
            not eax;
            and ecx, eax; // aligned up to its size
            not eax;
            lea eax, ptr(eax + ecx);
            inc eax;
            cmp eax, 0xfec0_0000u32;
            ja .unassigned;
            cmp eax, ecx;
            jb .unassigned;
            mov dword_ptr(ebda::PCI_NEXT_MEMORY), eax;
            mov eax, ecx;
            call @pci_write_dword;
        .wide:
            and dl, 6;
            cmp dl, 4;
            jne .advance;
            add di, 4; // upper half of a 64-bit BAR
            xor eax, eax;
            call @pci_write_dword;
            jmp .advance;
        .unassigned:
            xor eax, eax;
            call @pci_write_dword;
            jmp .wide;
        .port:
            and al, 0xfc;
            neg ax;
            mov cx, word_ptr(ebda::PCI_NEXT_PORT);
            dec ax;
            add cx, ax;
            not ax;
            and cx, ax;
            not ax;
            inc ax;
            add ax, cx;
            mov word_ptr(ebda::PCI_NEXT_PORT), ax;
            movzx eax, cx;
            call @pci_write_dword;
        .advance:
            add di, 4;
            cmp di, 0x28;
            jb .bar;
            mov di, 0x30; // expansion ROM off
            xor eax, eax;
            call @pci_write_dword;
            pop ax;
            or al, 3;
            mov di, 4;
            call @pci_write_word;
            ret;
    );
    Ok(())
}

fn emit_video_rom(b: &mut Builder) -> Emit {
    x86!(b;
        // AX = bus, device and function of the VGA controller, for its option ROM. CF set if there is none.
        pci_video_address:
            call @pci_present;
            jc .none;
            mov bx, 0xffff;
        .next:
            call @pci_next;
            jc .none;
            mov di, 0x0a;
            call @pci_read_word;
            cmp ax, 0x0300;
            jne .next;
            mov ax, bx;
            clc;
            ret;
        .none:
            mov ax, 0;
            stc;
            ret;
        // On a board whose host bridge can map RAM at C0000h (82441FX PAM), copies a VGA BIOS there: the adapter's own
        // from its expansion ROM, else this firmware's.
        pci_video_rom:
            push 0xc000;
            pop es;
            cmp word_ptr(0).es(), 0xaa55;
            je .done;
            call @pci_present;
            jc .done;
            xor bx, bx;
            xor di, di;
            call @pci_read_dword;
            cmp eax, 0x1237_8086;
            jne .done;
            mov di, 0x5a; // PAM1: C0000h-C7FFFh read and write RAM
            mov al, 0x33;
            call @pci_write_byte;
            mov di, 0x5b;
            call @pci_write_byte;
            call @pci_video_address;
            jc .own;
            mov di, 0x30;
            mov eax, 0xffff_f800u32;
            call @pci_write_dword;
            call @pci_read_dword;
            and ax, 0xf800;
            jz .own;
            // Mapped at the next free address aligned to 16 MiB, for the copy only.
            push EBDA;
            pop es;
            mov eax, dword_ptr(ebda::PCI_NEXT_MEMORY).es();
            add eax, 0x00ff_ffff;
            and eax, 0xff00_0000u32;
            push eax;
            or al, 1;
            call @pci_write_dword;
            pop esi;
            mov edi, 0xc_0000;
            mov cx, 0x8000; // 64 KiB in words
            push bx;
            call @block_copy;
            pop bx;
            mov di, 0x30;
            xor eax, eax;
            call @pci_write_dword;
            push 0xc000;
            pop es;
            cmp word_ptr(0).es(), 0xaa55;
            je .protect;
        .own:
            push ds;
            push cs;
            pop ds;
            push 0xc000;
            pop es;
            xor si, si;
            xor di, di;
            mov cx, 0x8000 / 4;
            rep movsd;
            pop ds;
            // The second half is RAM that nothing needs.
            xor bx, bx;
            mov di, 0x5b;
            mov al, 0;
            call @pci_write_byte;
            mov di, 0x5a;
            mov al, 0x11;
            call @pci_write_byte;
            ret;
        .protect:
            xor bx, bx;
            mov di, 0x5a;
            mov al, 0x11; // read RAM, writes to the bus
            call @pci_write_byte;
            mov di, 0x5b;
            call @pci_write_byte;
        .done:
            ret;
    );
    Ok(())
}
