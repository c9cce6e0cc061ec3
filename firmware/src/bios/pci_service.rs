//! PCI BIOS 2.1 in real mode: int 1Ah AH=B1h.

use crate::asm::{Builder, Emit, x86};
use crate::layout::frame;
use iced_x86::code_asm::*;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        pci_service:
            call @pci_present;
            jc @return_unsupported_pci;
            cmp al, 0x01;
            je .present;
            cmp al, 0x02;
            je .find_device;
            cmp al, 0x03;
            je .find_class;
            cmp al, 0x08;
            jb @return_unsupported_pci;
            cmp al, 0x0d;
            ja @return_unsupported_pci;
            movzx si, al;
            add si, si;
            mov di, word_ptr(bp + frame::DI);
            mov bx, word_ptr(bp + frame::BX);
            cmp di, 0x100;
            jae .bad_register;
            jmp word_ptr(si + (b.at("pci_table") - 16)).cs();
        .bad_register:
            mov ah, 0x87;
            jmp @return_error;
        .present:
            mov byte_ptr(bp + frame::AL), 0x11; // mechanism 1, special cycle by mechanism 1
            mov word_ptr(bp + frame::BX), 0x0210;
            mov byte_ptr(bp + frame::CL), 0; // last bus
            mov dword_ptr(bp + frame::EDX), 0x2049_4350; // "PCI "
            jmp @return_ok;
        .find_device:
            // CX device, DX vendor, SI index.
            cmp dx, 0xffff;
            je .bad_vendor;
            mov si, word_ptr(bp + frame::SI);
            shl ecx, 16;
            mov cx, dx;
            mov bx, 0xffff;
        .next_device:
            call @pci_next;
            jc .not_found;
            xor di, di;
            call @pci_read_dword;
            cmp eax, ecx;
            jne .next_device;
            sub si, 1;
            jnc .next_device;
            jmp .found;
        .bad_vendor:
            mov ah, 0x83;
            jmp @return_error;
        .find_class:
            // ECX = class, subclass and interface; SI index.
            mov si, word_ptr(bp + frame::SI);
            and ecx, 0x00ff_ffff;
            mov bx, 0xffff;
        .next_class:
            call @pci_next;
            jc .not_found;
            mov di, 8;
            call @pci_read_dword;
            shr eax, 8;
            cmp eax, ecx;
            jne .next_class;
            sub si, 1;
            jnc .next_class;
        .found:
            mov word_ptr(bp + frame::BX), bx;
            jmp @return_ok;
        .not_found:
            mov ah, 0x86;
            jmp @return_error;
        return_unsupported_pci:
            mov ah, 0x81;
            jmp @return_error;
        pci_service_read_byte:
            call @pci_read_byte;
            mov byte_ptr(bp + frame::CL), al;
            jmp @return_ok;
        pci_service_read_word:
            call @pci_read_word;
            mov word_ptr(bp + frame::CX), ax;
            jmp @return_ok;
        pci_service_read_dword:
            call @pci_read_dword;
            mov dword_ptr(bp + frame::ECX), eax;
            jmp @return_ok;
        pci_service_write_byte:
            mov al, cl;
            call @pci_write_byte;
            jmp @return_ok;
        pci_service_write_word:
            mov ax, cx;
            call @pci_write_word;
            jmp @return_ok;
        pci_service_write_dword:
            mov eax, ecx;
            call @pci_write_dword;
            jmp @return_ok;
        pci_table:
    );
    b.addresses(&[
        "pci_service_read_byte",
        "pci_service_read_word",
        "pci_service_read_dword",
        "pci_service_write_byte",
        "pci_service_write_word",
        "pci_service_write_dword",
    ])
}
