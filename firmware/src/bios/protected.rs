//! The 32-bit part: what protected-mode programs call with a far call. It runs wherever its segment begins, so it uses
//! registers, ports and the stack only, and none of the ROM's data.

use super::{apm, pci, pci_service};
use crate::asm::{Builder, Emit, x86};
use iced_x86::code_asm::*;

/// Linear address and length of the BIOS, in whose code segment the services are.
const BASE: u32 = 0xf_0000;
const LENGTH: u32 = 0x1_0000;

pub fn emit(b: &mut Builder) -> Emit {
    emit_directory(b)?;
    pci::emit_access(b)?;
    pci_service::emit_function(b)?;
    apm::emit_function(b)
}

fn emit_directory(b: &mut Builder) -> Emit {
    let pci_entry = b.at("pci_entry");
    x86!(b;
        // BIOS32 service directory: EAX = a service's name, BL = 0. AL = 0: EBX = base, ECX = length, EDX = entry point;
        // 80h: there is no such service; 81h: no such function.
        bios32_entry:
            cmp eax, 0x4943_5024; // "$PCI"
            mov al, 0x80;
            jne .done;
            or bl, bl;
            mov al, 0x81;
            jnz .done;
            mov al, 0x80;
            call @pci_present;
            jc .done;
            mov ebx, BASE;
            mov ecx, LENGTH;
            mov edx, pci_entry;
            mov al, 0;
        .done:
            retf;
        pci_entry:
            call @pci_function;
            retf;
        // The data segment is two descriptors behind this code segment, as AX=5303h asks for.
        apm_entry:
            push ds;
            push edx;
            mov dx, cs;
            add dx, 16;
            mov ds, dx;
            pop edx;
            call @apm_function;
            pop ds;
            retf;
    );
    Ok(())
}
