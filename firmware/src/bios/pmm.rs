//! The POST Memory Manager: memory for option ROMs while POST runs them, by the POST Memory Manager Specification 1.01.
//!
//! Conventional memory comes from behind the first 64 KiB, extended memory from the last 16 MiB below 4 GiB, where no
//! boot loader works. Extended blocks begin at an even megabyte while there is room: what follows them is still reached
//! when address line 20 is masked. All of it belongs to the operating system afterwards.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{BDA, EBDA, bda, ebda, frame};
use iced_x86::code_asm::*;

/// Segment of the table of blocks, in memory that nobody has a use for before something is started.
const TABLE: i32 = 0x60;
/// How many bytes of blocks there are, `SIZE` each.
const TABLE_SIZE: i32 = 32 * SIZE;
/// A block's first byte, where it ends (zero where there is none), and its handle.
const START: i32 = 0;
const END: i32 = 4;
const HANDLE: i32 = 8;
const SIZE: i32 = 16;

/// What the caller pushed, from the frame's bottom: behind the registers, DS, the flags and the return address.
const FUNCTION: i32 = 40;
/// A length in paragraphs, a handle, or a block's address.
const FIRST: i32 = 42;
const SECOND: i32 = 46;
const FLAGS: i32 = 50;

pub fn emit(b: &mut Builder) -> Emit {
    emit_phase(b)?;
    emit_entry(b)?;
    emit_search(b)
}

fn emit_phase(b: &mut Builder) -> Emit {
    x86!(b;
        // From here on until `pmm_close` there is memory to be had. Both keep DS.
        pmm_open:
            push TABLE;
            pop es;
            xor eax, eax;
            xor di, di;
            mov cx, TABLE_SIZE / 4;
            rep stosd;
            push EBDA;
            pop es;
            mov byte_ptr(ebda::PMM_OPEN).es(), 1;
            ret;
        pmm_close:
            push ds;
            push EBDA;
            pop es;
            mov byte_ptr(ebda::PMM_OPEN).es(), 0;
            // Segments are 64 KiB again for what is started.
            cli;
            call @flat_on;
            mov ax, 0x18;
            mov fs, ax;
            mov gs, ax;
            call @flat_off;
            xor ax, ax;
            mov fs, ax;
            mov gs, ax;
            sti;
            pop ds;
            ret;
        // Leaves the data segments with limits of 4 GiB: ROMs reach their extended memory so (3.2.4). Interrupts are off; DS,
        // ES, FS and GS are for the caller to load.
        big_real:
            push eax;
            call @flat_on;
            mov fs, ax;
            mov gs, ax;
            mov eax, cr0;
            and al, 0xfe;
            mov cr0, eax;
            push 0xf000;
            push b.at("big_real.real");
            retf;
        .real:
            xor ax, ax;
            mov gs, ax;
            pop eax;
            ret;
    );
    Ok(())
}

fn emit_entry(b: &mut Builder) -> Emit {
    x86!(b;
        // The entry point: a far call by C's conventions, the function's number last on the stack. DX:AX = result.
        pmm_entry:
            pushf;
            push ds;
            pushad;
            mov bp, sp;
            push EBDA;
            pop ds;
            cmp byte_ptr(ebda::PMM_OPEN), 0;
            push TABLE;
            pop ds;
            je .unsupported;
            mov eax, dword_ptr(bp + FIRST);
            cmp word_ptr(bp + FUNCTION), 1;
            jb .allocate;
            je .find;
            cmp word_ptr(bp + FUNCTION), 2;
            je .free;
        .unsupported:
            mov eax, 0xffff_ffffu32;
        .return:
            mov word_ptr(bp + frame::AX), ax;
            shr eax, 16;
            mov word_ptr(bp + frame::DX), ax;
            popad;
            pop ds;
            popf;
            retf;
        // The block with a handle; none has the one that stands for no handle.
        .find:
            cmp eax, 0xffff_ffffu32;
            je .none;
            mov si, HANDLE;
            call @pmm_find;
            jc .none;
            mov eax, dword_ptr(bx + START);
            jmp .return;
        // Zero if there was such a block.
        .free:
            mov si, START;
            call @pmm_find;
            mov eax, 1;
            jc .return;
            mov dword_ptr(bx + END), 0;
        .none:
            xor eax, eax;
            jmp .return;
        // Flags: bit 0 conventional memory, bit 1 extended memory, bit 2 aligned to the length's lowest bit.
        .allocate:
            test word_ptr(bp + FLAGS), 0xfff8;
            jnz .none;
            or eax, eax;
            jz .largest;
            cmp eax, 0x1000_0000;
            jae .none;
            shl eax, 4;
            mov ecx, eax;
            mov edx, 15;
            test byte_ptr(bp + FLAGS), 4;
            jz .aligned;
            mov edx, ecx;
            neg edx;
            and edx, ecx;
            dec edx;
        .aligned:
            test byte_ptr(bp + FLAGS), 2;
            jz .conventional;
            call @pmm_extended;
            call @pmm_fit;
            jnc .fits;
        .conventional:
            test byte_ptr(bp + FLAGS), 1;
            jz .none;
            call @pmm_conventional;
            call @pmm_fit;
            jc .none;
        .fits:
            xor bx, bx;
        .slot:
            cmp dword_ptr(bx + END), 0;
            je .take;
            add bx, SIZE;
            cmp bx, TABLE_SIZE;
            jb .slot;
            jmp .none;
        .take:
            mov dword_ptr(bx + START), eax;
            add ecx, eax;
            mov dword_ptr(bx + END), ecx;
            mov edx, dword_ptr(bp + SECOND);
            mov dword_ptr(bx + HANDLE), edx;
            jmp .return;
        // A length of zero asks for the longest free block, in paragraphs.
        .largest:
            xor edx, edx;
            test byte_ptr(bp + FLAGS), 2;
            jz .largest_conventional;
            call @pmm_extended;
            call @pmm_longest;
        .largest_conventional:
            test byte_ptr(bp + FLAGS), 1;
            jz .measured;
            call @pmm_conventional;
            call @pmm_longest;
        .measured:
            mov eax, edx;
            shr eax, 4;
            jmp .return;
    );
    Ok(())
}

fn emit_search(b: &mut Builder) -> Emit {
    x86!(b;
        // BX = the block whose field SI is EAX. CF set if there is none.
        pmm_find:
            xor bx, bx;
        .block:
            cmp dword_ptr(bx + END), 0;
            je .other;
            cmp eax, dword_ptr(bx + si);
            je .found; // CF is clear
        .other:
            add bx, SIZE;
            cmp bx, TABLE_SIZE;
            jb .block;
            stc;
        .found:
            ret;
        // ESI = first byte of a kind of memory, EDI = its end.
        pmm_extended:
            call @memory_top;
            mov edi, eax;
            sub eax, 0x100_0000;
            jbe .low;
            and eax, 0xffe0_0000u32;
            cmp eax, 0x20_0000;
            jae .based;
        .low:
            mov eax, 0x20_0000;
            cmp eax, edi;
            jbe .based;
            mov eax, edi;
        .based:
            mov esi, eax;
            ret;
        pmm_conventional:
            push ds;
            push BDA;
            pop ds;
            movzx edi, word_ptr(bda::MEMORY_KIB);
            shl edi, 10;
            mov esi, 0x1_0000;
            pop ds;
            ret;
        // EAX = the lowest free block of ECX bytes between ESI and EDI at a multiple of EDX + 1. CF set if there is none.
        pmm_fit:
            mov eax, esi;
        .at:
            add eax, edx;
            jc .none;
            not edx;
            and eax, edx;
            not edx;
            mov esi, eax;
            add esi, ecx;
            jc .none;
            cmp esi, edi;
            ja .none;
            xor bx, bx;
        .block:
            cmp eax, dword_ptr(bx + END);
            jae .clear;
            cmp esi, dword_ptr(bx + START);
            jbe .clear;
            mov eax, dword_ptr(bx + END);
            jmp .at;
        .clear:
            add bx, SIZE;
            cmp bx, TABLE_SIZE;
            jb .block;
            clc;
            ret;
        .none:
            stc;
            ret;
        // EDX = length of the longest free block between ESI and EDI, if that is more than EDX. Free blocks begin where others
        // end.
        pmm_longest:
            mov eax, esi;
            xor bx, bx;
        .candidate:
            cmp eax, esi;
            jb .next;
            cmp eax, edi;
            jae .next;
            mov ecx, edi;
            push bx;
            xor bx, bx;
        .block:
            cmp eax, dword_ptr(bx + END);
            jae .clear;
            cmp eax, dword_ptr(bx + START);
            jb .behind;
            mov ecx, eax; // taken
        .behind:
            cmp ecx, dword_ptr(bx + START);
            jbe .clear;
            mov ecx, dword_ptr(bx + START);
        .clear:
            add bx, SIZE;
            cmp bx, TABLE_SIZE;
            jb .block;
            pop bx;
            sub ecx, eax;
            jbe .next;
            cmp ecx, edx;
            jbe .next;
            mov edx, ecx;
        .next:
            cmp bx, TABLE_SIZE;
            jae .done;
            mov eax, dword_ptr(bx + END);
            add bx, SIZE;
            jmp .candidate;
        .done:
            ret;
    );
    Ok(())
}
