//! ROMs of adapters: on ISA cards in place, on PCI cards copied into the RAM behind C8000h to EFFFFh.
//!
//! PCI Firmware Specification 3.0, chapter 5 (images, initialisation); Plug and Play BIOS Specification 1.0A
//! (expansion header, installation check); BIOS Boot Specification 1.01 (what starts a system by itself, the bootstrap
//! entry vector, and what hooks int 13h, the boot connection vector).

use super::entry_points::PNP;
use crate::asm::{Builder, Emit, x86};
use crate::layout::{EBDA, ebda};
use iced_x86::code_asm::*;

/// The halves of "$PnP", and "PCIR".
const PNP_LOW: u32 = u16::from_le_bytes(*b"$P") as u32;
const PNP_HIGH: u32 = u16::from_le_bytes(*b"nP") as u32;
const PCIR_SIGNATURE: u32 = u32::from_le_bytes(*b"PCIR");
/// 82441FX: where the first of the 16 KiB regions that PAM1 to PAM6 govern begins, in units of their length.
const FIRST_REGION: i32 = 0xc_0000 >> 14;
/// PAM1, and a region's attributes: reads or both reads and writes go to RAM.
const PAM1: i32 = 0x5a;
const READ: i32 = 1;
const READ_WRITE: i32 = 3;

pub fn emit(b: &mut Builder) -> Emit {
    emit_scan(b)?;
    emit_pci(b)?;
    emit_run(b)?;
    emit_shadow(b)?;
    emit_pnp_entry(b)
}

fn emit_scan(b: &mut Builder) -> Emit {
    x86!(b;
        // Runs all ROMs. Keeps DS.
        option_roms:
            push EBDA;
            pop fs;
            // From C8000h, or from where a longer video BIOS ends.
            mov bx, 0xc800;
            push 0xc000;
            pop es;
            cmp word_ptr(0).es(), 0xaa55;
            jne .start;
            movzx ax, byte_ptr(2).es();
            shl ax, 5;
            add ax, 0xc07f;
            and al, 0x80;
            cmp ax, bx;
            jbe .start;
            mov bx, ax;
        .start:
            mov word_ptr(ebda::SHADOW_NEXT).fs(), bx;
        .next:
            mov es, bx;
            mov dx, 0x80; // paragraphs to the next candidate
            call @rom_check;
            jc .advance;
            mov ax, 0;
            call @rom_run;
            // Shadow RAM begins in the region behind it, so that it does not hide this ROM.
            lea ax, ptr(bx + 0x3ff);
            add ax, dx;
            and ax, 0xfc00;
            mov word_ptr(ebda::SHADOW_NEXT).fs(), ax;
        .advance:
            add bx, dx;
            cmp bx, 0xf000;
            jb .next;
            jmp @pci_roms;
        // Whether a ROM is at ES:0: 55h AAh, a length in 512-byte units, bytes that sum to zero. CF set if not; else
        // DX = its length in paragraphs, rounded up to 2 KiB.
        rom_check:
            cmp word_ptr(0).es(), 0xaa55;
            jne .none;
            push eax;
            push ecx;
            push si;
            push es;
            movzx ecx, byte_ptr(2).es();
            shl ecx, 9;
            jz .wrong;
            xor si, si;
            xor al, al;
        .sum:
            add al, byte_ptr(si).es();
            inc si;
            jnz .same_segment;
            mov dx, es;
            add dx, 0x1000;
            mov es, dx;
        .same_segment:
            dec ecx;
            jnz .sum;
            or al, al;
            jnz .wrong;
            pop es;
            pop si;
            pop ecx;
            pop eax;
            movzx dx, byte_ptr(2).es();
            shl dx, 5;
            add dx, 0x7f;
            and dl, 0x80;
            clc;
            ret;
        .wrong:
            mov dx, 0x80;
            pop es;
            pop si;
            pop ecx;
            pop eax;
        .none:
            stc;
            ret;
    );
    Ok(())
}

fn emit_pci(b: &mut Builder) -> Emit {
    x86!(b;
        // Copies the ROMs on PCI cards, other than the display adapter's, behind each other and runs them. This takes a
        // host bridge that can map RAM there (82441FX). FS holds the EBDA.
        pci_roms:
            call @pci_present;
            jc .done;
            xor bx, bx;
            xor di, di;
            call @pci_read_dword;
            cmp eax, 0x1237_8086;
            jne .done;
            mov bx, 0xffff;
        .next:
            call @pci_next;
            jc .protect;
            mov di, 0x0e;
            call @pci_read_byte;
            and al, 0x7f;
            jnz .next; // a bridge has another register there
            mov di, 0x0a;
            call @pci_read_word;
            cmp ax, 0x0300;
            je .next;
            mov di, 0x30;
            mov eax, 0xffff_f800u32;
            call @pci_write_dword;
            call @pci_read_dword;
            and eax, 0xffff_f800u32;
            jz .next;
            neg eax;
            mov ebp, eax;
            // Mapped at the next free address aligned to 16 MiB, which suits every size, for the copy only.
            mov esi, dword_ptr(ebda::PCI_NEXT_MEMORY).fs();
            add esi, 0x00ff_ffff;
            and esi, 0xff00_0000u32;
            add ebp, esi;
            cmp ebp, 0xfec0_0000u32;
            ja .unmap;
            lea eax, ptr(esi + 1);
            call @pci_write_dword;
            push ds;
            cli;
            call @flat_on;
            call @pci_rom_copy;
            pushf;
            call @flat_off;
            popf;
            sti;
            pop ds;
            jc .unmap;
            call .unmap_rom;
            mov es, word_ptr(ebda::SHADOW_NEXT).fs();
            call @rom_check;
            jc .next;
            mov ax, bx;
            call @rom_run;
            // It may have given up some of its room, or all.
            movzx ax, byte_ptr(2).es();
            shl ax, 5;
            add ax, 0x7f;
            and al, 0x80;
            add word_ptr(ebda::SHADOW_NEXT).fs(), ax;
            jmp .next;
        .unmap:
            call .unmap_rom;
            jmp .next;
        .unmap_rom:
            mov di, 0x30;
            xor eax, eax;
            call @pci_write_dword;
            ret;
        .protect:
            // What was copied can only be read from now on.
            xor bx, bx;
            mov di, PAM1 + 1;
        .register:
            call @pci_read_byte;
            and al, 0x11 * READ;
            call @pci_write_byte;
            inc di;
            cmp di, PAM1 + 5;
            jbe .register;
        .done:
            ret;
        // In protected mode, FS still at the EBDA: copies the image for PCs in the ROM from ESI to EBP, if it is for
        // function BX. CF set if there is none, or no room for it. Changes EAX, ECX, EDX, ESI, EDI.
        pci_rom_copy:
            xor di, di;
            call @pci_read_dword;
            mov edx, eax; // EDX: vendor and device
        .image:
            cmp word_ptr(esi), 0xaa55;
            jne .none;
            movzx edi, word_ptr(esi + 0x18);
            add edi, esi; // EDI: PCI data structure
            cmp dword_ptr(edi), PCIR_SIGNATURE;
            jne .none;
            cmp byte_ptr(edi + 0x14), 0; // code type: PC
            jne .other;
            mov eax, dword_ptr(edi + 4);
            or eax, eax;
            jz .found; // some are for a family of cards, and name none
            cmp eax, edx;
            je .found;
            cmp ax, dx;
            jne .other;
            cmp byte_ptr(edi + 0x0c), 3; // revision 3 has a list of devices
            jb .other;
            movzx ecx, word_ptr(edi + 8);
            jecxz .other;
            add ecx, edi;
            shld eax, edx, 16;
        .listed:
            cmp ecx, ebp;
            jae .other;
            cmp word_ptr(ecx), ax;
            je .found;
            cmp word_ptr(ecx), 0;
            lea ecx, ptr(ecx + 2);
            jne .listed;
        .other:
            test byte_ptr(edi + 0x15), 0x80; // the last image
            jnz .none;
            movzx eax, word_ptr(edi + 0x10);
            shl eax, 9;
            jz .none;
            add esi, eax;
            cmp esi, ebp;
            jb .image;
        .none:
            stc;
            ret;
        .found:
            movzx ecx, byte_ptr(esi + 2);
            shl ecx, 9;
            jz .none;
            movzx edi, word_ptr(ebda::SHADOW_NEXT).fs();
            shl edi, 4;
            lea eax, ptr(edi + ecx);
            cmp eax, 0xf_0000;
            ja .none;
            mov al, READ_WRITE;
            call @shadow_open;
            shr ecx, 2;
            cld;
            db &[0x67, 0xf3, 0x66, 0xa5]; // rep movsd with ESI, EDI and ECX
            clc;
            ret;
    );
    Ok(())
}

fn emit_run(b: &mut Builder) -> Emit {
    x86!(b;
        // Initialises the ROM at ES:0 of function AX, and keeps what it can start. FS holds the EBDA. Keeps BX, DX, DS, ES.
        rom_run:
            pusha;
            push ds;
            push es;
            mov si, 3;
            call .vector;
            // A length of zero: it does not want to stay.
            cmp byte_ptr(2).es(), 0;
            je .done;
            mov cx, 8; // headers at most
            mov bx, 0x1a;
        .header:
            mov bx, word_ptr(bx).es();
            or bx, bx;
            jz .done;
            cmp bx, 0xffe0;
            jae .done;
            // In two halves, so that nobody who looks for the installation check finds this instead.
            cmp word_ptr(bx).es(), PNP_LOW;
            jne .done;
            cmp word_ptr(bx + 2).es(), PNP_HIGH;
            jne .done;
            cmp word_ptr(ebda::BEV_SEGMENT).fs(), 0;
            jne .connect;
            mov si, word_ptr(bx + 0x1a).es();
            or si, si;
            jz .connect;
            mov word_ptr(ebda::BEV_OFFSET).fs(), si;
            mov word_ptr(ebda::BEV_SEGMENT).fs(), es;
            mov si, word_ptr(bx + 0x10).es();
            mov word_ptr(ebda::BEV_NAME).fs(), si;
        .connect:
            mov si, word_ptr(bx + 0x16).es();
            or si, si;
            jz .following;
            call .vector;
        .following:
            add bx, 6;
            loop_ .header;
        .done:
            pop es;
            pop ds;
            popa;
            ret;
        // Calls ES:SI as the specifications say: AX = bus, device and function, BX and DX = FFFFh for want of an ISA Plug
        // and Play card, ES:DI = installation check.
        .vector:
            pushad;
            push ds;
            push es;
            push fs;
            cli;
            call @big_real;
            mov bp, sp;
            mov fs, word_ptr(bp);
            mov es, word_ptr(bp + 2);
            mov ds, word_ptr(bp + 4);
            sti;
            push cs;
            push b.at("rom_run.returned");
            push es;
            push si;
            mov bx, 0xffff;
            mov dx, bx;
            push cs;
            pop es;
            mov di, PNP as i32;
            retf;
        .returned:
            pop fs;
            pop es;
            pop ds;
            popad;
            cld;
            sti;
            ret;
    );
    Ok(())
}

fn emit_shadow(b: &mut Builder) -> Emit {
    x86!(b;
        // Gives the regions of the ECX bytes from address EDI the attributes AL. Keeps all registers.
        shadow_open:
            pushad;
            mov ah, al;
            lea esi, ptr(edi + ecx - 1);
            shr esi, 14;
            shr edi, 14;
            xor bx, bx;
        .region:
            push edi;
            mov cx, di;
            and cx, 1;
            shl cx, 2;
            sub di, FIRST_REGION;
            shr di, 1;
            add di, PAM1;
            call @pci_read_byte;
            mov dl, 0xf0;
            ror dl, cl;
            and al, dl;
            mov dl, ah;
            shl dl, cl;
            or al, dl;
            call @pci_write_byte;
            pop edi;
            inc edi;
            cmp edi, esi;
            jbe .region;
            popad;
            ret;
    );
    Ok(())
}

/// The entry points that the installation check structure names.
fn emit_pnp_entry(b: &mut Builder) -> Emit {
    x86!(b;
        // Function 60h says that this BIOS knows the BIOS Boot Specification 1.01; there are no others.
        pnp_entry:
            push bp;
            mov bp, sp;
            mov ax, 0x82; // FUNCTION_NOT_SUPPORTED
            cmp word_ptr(bp + 6), 0x60;
            jne .done;
            push es;
            push di;
            les di, dword_ptr(bp + 8);
            mov word_ptr(di).es(), 0x0101;
            pop di;
            pop es;
            xor ax, ax;
        .done:
            pop bp;
            retf;
        // The stack may be one of 32 bits, which this does not look at.
        pnp_protected_entry:
            mov ax, 0x82;
            retf;
    );
    Ok(())
}
