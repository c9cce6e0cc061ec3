//! PCI BIOS 2.1: int 1Ah AH=B1h, and the same functions by a far call in 32-bit protected mode.

use crate::asm::{Builder, Emit, x86};
use crate::layout::frame;
use crate::tables::routing::{LINES, PIRQA, ROUTER, SLOTS};
use iced_x86::code_asm::*;

/// Size of the routing table that function 0Eh gives.
const ROUTING_SIZE: i32 = 16 * (*SLOTS.end() as i32 - *SLOTS.start() as i32 + 1);

/// The real-mode service.
pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        pci_service:
            movzx edi, di;
            call @pci_function;
            mov word_ptr(bp + frame::AX), ax;
            mov word_ptr(bp + frame::BX), bx;
            mov dword_ptr(bp + frame::ECX), ecx;
            mov dword_ptr(bp + frame::EDX), edx;
            jc @return_carry;
            jmp @return_clear;
    );
    emit_function(b)
}

/// The functions, in 16-bit and 32-bit code: registers as the specification has them. CF set on failure, AH = status.
pub fn emit_function(b: &mut Builder) -> Emit {
    x86!(b;
        pci_function:
            call @pci_present;
            jc .unsupported;
            cmp al, 0x01;
            je .present;
            cmp al, 0x02;
            je .find_device;
            cmp al, 0x03;
            je .find_class;
            cmp al, 0x06;
            je .special_cycle;
            cmp al, 0x0e;
            je @pci_routing;
            cmp al, 0x0f;
            je @pci_route;
            cmp al, 0x08;
            jb .unsupported;
            cmp al, 0x0d;
            ja .unsupported;
            cmp di, 0x100;
            jae .bad_register;
            cmp al, 0x09;
            jb .read_byte;
            je .read_word;
            cmp al, 0x0b;
            jb .read_dword;
            je .write_byte;
            cmp al, 0x0d;
            je .write_dword;
            test di, 1;
            jnz .bad_register;
            push ax;
            mov ax, cx;
            call @pci_write_word;
            pop ax;
            jmp .ok;
        .write_byte:
            push ax;
            mov al, cl;
            call @pci_write_byte;
            pop ax;
            jmp .ok;
        .write_dword:
            test di, 3;
            jnz .bad_register;
            push eax;
            mov eax, ecx;
            call @pci_write_dword;
            pop eax;
            jmp .ok;
        .read_byte:
            push ax;
            call @pci_read_byte;
            mov cl, al;
            pop ax;
            jmp .ok;
        .read_word:
            test di, 1;
            jnz .bad_register;
            push ax;
            call @pci_read_word;
            mov cx, ax;
            pop ax;
            jmp .ok;
        .read_dword:
            test di, 3;
            jnz .bad_register;
            push eax;
            call @pci_read_dword;
            mov ecx, eax;
            pop eax;
            jmp .ok;
        .unsupported:
            mov ah, 0x81;
            stc;
            ret;
        .bad_register:
            mov ah, 0x87;
            stc;
            ret;
        .bad_vendor:
            mov ah, 0x83;
            stc;
            ret;
        .present:
            mov al, 0x11; // mechanism 1, special cycle by mechanism 1
            mov bx, 0x0210;
            mov cl, 0; // last bus
            mov edx, 0x2049_4350; // "PCI "
        .ok:
            mov ah, 0;
            clc;
            ret;
        .special_cycle:
            // EDX on bus BH: device 31, function 7, register 0 of mechanism 1.
            push eax;
            push edx;
            movzx eax, bx;
            shl eax, 8;
            and eax, 0x00ff_0000;
            or eax, 0x8000_ff00u32;
            mov dx, 0xcf8;
            out dx, eax;
            pop eax;
            push eax;
            mov dx, 0xcfc;
            out dx, eax;
            pop edx;
            pop eax;
            jmp .ok;
        .find_device:
            // CX device, DX vendor, SI index.
            cmp dx, 0xffff;
            je .bad_vendor;
            push ecx;
            shl ecx, 16;
            mov cx, dx;
            call .search;
            pop ecx;
            jnc .ok;
        .not_found:
            mov ah, 0x86;
            stc;
            ret;
        .find_class:
            // ECX = class, subclass and interface; SI index.
            push ecx;
            and ecx, 0x00ff_ffff;
            call .search;
            pop ecx;
            jnc .ok;
            jmp .not_found;
        // BX = function number SI of those with what function AL looks for in ECX. CF set, and BX as it is, if there is none.
        .search:
            push eax;
            push edx;
            push esi;
            push edi;
            mov dx, bx;
            mov bx, 0xffff;
        .next:
            call @pci_next;
            jc .end;
            push ax;
            cmp al, 0x03;
            je .class;
            xor di, di;
            call @pci_read_dword;
            jmp .compare;
        .class:
            mov di, 8;
            call @pci_read_dword;
            shr eax, 8;
        .compare:
            cmp eax, ecx;
            pop ax;
            jne .next;
            sub si, 1;
            jnc .next;
            mov dx, bx;
            clc;
        .end:
            mov bx, dx;
            pop edi;
            pop esi;
            pop edx;
            pop eax;
            ret;
    );
    emit_routing(b)
}

/// Interrupt routing: what the $PIR table says, worked out, since the 32-bit code has no data. A link is PIRQA and (slot
/// - 1 + pin) mod 4.
fn emit_routing(b: &mut Builder) -> Emit {
    x86!(b;
        // ES:EDI = size and address of a buffer. Its size becomes the table's; BX = interrupts that are PCI's alone.
        pci_routing:
            cmp word_ptr(edi).es(), ROUTING_SIZE;
            mov word_ptr(edi).es(), ROUTING_SIZE;
            mov ah, 0x89; // buffer too small
            jb .done;
            push es;
            push edi;
            push ecx;
    );
    // The address is a far pointer of the caller's kind.
    if b.is_32() {
        x86!(b;
            mov cx, word_ptr(edi + 6).es();
            mov edi, dword_ptr(edi + 2).es();
        );
    } else {
        x86!(b;
            mov cx, word_ptr(edi + 4).es();
            movzx edi, word_ptr(edi + 2).es();
        );
    }
    x86!(b;
            mov es, cx;
            mov bl, i32::from(*SLOTS.start());
        .slot:
            mov cl, bl;
            shl cl, 3;
            mov byte_ptr(edi).es(), 0; // bus
            mov byte_ptr(edi + 1).es(), cl;
            mov bh, 0;
        .pin:
            mov cl, bl;
            dec cl;
            add cl, bh;
            and cl, 3;
            add cl, i32::from(PIRQA);
            mov byte_ptr(edi + 2).es(), cl;
            mov word_ptr(edi + 3).es(), i32::from(LINES);
            add edi, 3;
            inc bh;
            cmp bh, 4;
            jb .pin;
            mov byte_ptr(edi + 2).es(), bl;
            mov byte_ptr(edi + 3).es(), 0;
            add edi, 4;
            inc bl;
            cmp bl, i32::from(*SLOTS.end());
            jbe .slot;
            mov bx, 0;
            pop ecx;
            pop edi;
            pop es;
            mov ah, 0;
            clc;
        .done:
            ret;
        // Routes pin CL (0Ah to 0Dh) of function BX to interrupt CH.
        pci_route:
            push eax;
            push ebx;
            push ecx;
            push edi;
            or bh, bh;
            jnz .failed;
            sub cl, 0x0a;
            cmp cl, 3;
            ja .failed;
            shr bl, 3;
            cmp bl, i32::from(*SLOTS.start());
            jb .failed;
            cmp bl, i32::from(*SLOTS.end());
            ja .failed;
            cmp ch, 15;
            ja .failed;
            mov ax, i32::from(LINES);
            movzx di, ch;
            bt ax, di;
            jnc .failed;
            dec bl;
            add cl, bl;
            and cl, 3;
            add cl, i32::from(PIRQA);
            mov bx, i32::from(ROUTER);
            mov di, 0;
            call @pci_read_dword;
            cmp eax, 0x7000_8086; // PIIX3
            je .known;
            cmp eax, 0x7110_8086; // PIIX4
            jne .failed;
        .known:
            movzx di, cl;
            mov al, ch;
            call @pci_write_byte;
            pop edi;
            pop ecx;
            pop ebx;
            pop eax;
            mov ah, 0;
            clc;
            ret;
        .failed:
            pop edi;
            pop ecx;
            pop ebx;
            pop eax;
            mov ah, 0x88;
            stc;
            ret;
    );
    Ok(())
}
