//! int 15h (memory map, block move, A20, waits, configuration table), int 11h, int 12h.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{BDA, EBDA, bda, frame};
use iced_x86::code_asm::*;

use super::frames::enter;

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        int11:
            sti;
            push ds;
            push BDA;
            pop ds;
            mov ax, word_ptr(bda::EQUIPMENT);
            pop ds;
            iret;
        int12:
            sti;
            push ds;
            push BDA;
            pop ds;
            mov ax, word_ptr(bda::MEMORY_KIB);
            pop ds;
            iret;
        int15:
            // AH=4Fh leaves the scan code and CF as they are; it comes with every key.
            cmp ah, 0x4f;
            jne .other;
            push bp;
            mov bp, sp;
            or byte_ptr(bp + 6), 1;
            pop bp;
            iret;
        .other:
    );
    enter(b)?;
    x86!(b;
        cmp ah, 0x24;
        je @a20_service;
        cmp ah, 0x52; // nobody minds that a medium is ejected
        je @return_ok;
        cmp ah, 0x53;
        je @apm_service;
        cmp ah, 0xe8;
        je @memory_service;
        cmp ah, 0xc0;
        je @config_table_service;
        cmp ah, 0xc1;
        je @ebda_service;
        cmp ah, 0xc2;
        je @mouse_service;
        cmp ah, 0x80;
        jb @return_unsupported;
        cmp ah, 0x91;
        ja @return_unsupported;
        movzx bx, ah;
        shl bx, 1;
        jmp word_ptr(bx + (b.at("int15_table") - 0x100)).cs();
        int15_table:
    );
    b.jump_table(
        0x12,
        "return_unsupported",
        &[
            (0x00, "return_ok"),
            (0x01, "return_ok"),
            (0x02, "return_ok"),
            (0x03, "event_wait"),
            (0x05, "return_ok"),
            (0x06, "wait_service"),
            (0x07, "block_move"),
            (0x08, "extended_memory"),
            (0x10, "return_ok"),
            (0x11, "return_ok"),
        ],
    )?;
    emit_a20_and_tables(b)?;
    emit_memory(b)?;
    emit_block_move(b)?;
    emit_waits(b)
}

fn emit_a20_and_tables(b: &mut Builder) -> Emit {
    x86!(b;
        a20_service:
            cmp al, 0;
            je .off;
            cmp al, 1;
            je .on;
            cmp al, 2;
            je .status;
            cmp al, 3;
            jne @return_unsupported;
            mov word_ptr(bp + frame::BX), 3; // by keyboard controller and by port 92h
            jmp @return_ok;
        .off:
            call @a20_off;
            jmp @return_ok;
        .on:
            call @a20_on;
            jmp @return_ok;
        .status:
            in_ al, 0x92;
            shr al, 1;
            and al, 1;
            mov byte_ptr(bp + frame::AL), al;
            jmp @return_ok;
        config_table_service:
            mov word_ptr(bp + frame::ES), cs;
            mov word_ptr(bp + frame::BX), 0xe6f5;
            jmp @return_ok;
        ebda_service:
            mov word_ptr(bp + frame::ES), EBDA;
            jmp @return_clear;
    );
    Ok(())
}

fn emit_memory(b: &mut Builder) -> Emit {
    x86!(b;
        // AH=88h: KiB from 1 MiB, at most 15 MiB less the hole below 16 MiB that old callers expect, i.e. FC00h.
        extended_memory:
            call @memory_top;
            shr eax, 10;
            sub eax, 0x400;
            cmp eax, 0xfc00;
            jbe .fits;
            mov ax, 0xfc00;
        .fits:
            mov word_ptr(bp + frame::AX), ax;
            jmp @return_clear;
        memory_service:
            cmp al, 0x01;
            je .e801;
            cmp al, 0x20;
            jne @return_unsupported;
            cmp edx, 0x534d_4150; // "SMAP"
            jne @return_unsupported;
            cmp ecx, 20;
            jb @return_unsupported;
            cmp ebx, 5;
            ja @return_unsupported;
            // ES:DI = 20 bytes: base, length, type. EAX = base, EDX:ECX = end, SI = type, then.
            mov ax, bx;
            shl bx, 4;
            mov eax, dword_ptr(bx + b.at("memory_map")).cs();
            mov ecx, dword_ptr(bx + (b.at("memory_map") + 4)).cs();
            mov esi, dword_ptr(bx + (b.at("memory_map") + 8)).cs();
            mov dword_ptr(di).es(), eax;
            mov dword_ptr(di + 4).es(), 0;
            mov dword_ptr(di + 8).es(), ecx;
            mov dword_ptr(di + 12).es(), 0;
            mov dword_ptr(di + 16).es(), esi;
            mov ebx, dword_ptr(bp + frame::EBX);
            cmp bx, 3;
            jne .not_main;
            call @memory_top;
            sub eax, 0x10_0000;
            mov dword_ptr(di + 8).es(), eax;
        .not_main:
            inc ebx;
            cmp bx, 5;
            jb .more;
            call @memory_above_4g;
            mov ecx, eax;
            or ecx, edx;
            cmp bx, 6;
            je .above;
            or ecx, ecx;
            jnz .more;
            xor ebx, ebx; // nothing above 4 GiB: this was the last
            jmp .more;
        .above:
            or ecx, ecx;
            jz @return_unsupported;
            mov dword_ptr(di + 4).es(), 1;
            mov dword_ptr(di + 8).es(), eax;
            mov dword_ptr(di + 12).es(), edx;
            xor ebx, ebx;
        .more:
            mov dword_ptr(bp + frame::EBX), ebx;
            mov dword_ptr(bp + frame::EAX), 0x534d_4150;
            mov dword_ptr(bp + frame::ECX), 20;
            jmp @return_clear;
        .e801:
            call @memory_top;
            mov edx, eax;
            shr eax, 10;
            sub eax, 0x400;
            cmp eax, 0x3c00;
            jbe .below_16m;
            mov ax, 0x3c00;
        .below_16m:
            mov word_ptr(bp + frame::AX), ax;
            mov word_ptr(bp + frame::CX), ax;
            sub edx, 0x100_0000;
            jnc .above_16m;
            xor edx, edx;
        .above_16m:
            shr edx, 16;
            mov word_ptr(bp + frame::BX), dx;
            mov word_ptr(bp + frame::DX), dx;
            jmp @return_clear;
        memory_map:
    );
    // Base, length, type and padding. The lengths of entries 3 and 5 are filled in at run time.
    let map: [[u32; 4]; 6] = [
        [0, 0x9_fc00, 1, 0],
        [0x9_fc00, 0x400, 2, 0],
        [0xf_0000, 0x1_0000, 2, 0],
        [0x10_0000, 0, 1, 0],
        [0xfffc_0000, 0x4_0000, 2, 0],
        [0, 0, 1, 0],
    ];
    for word in map.iter().flatten() {
        b.db(&word.to_le_bytes())?;
    }
    Ok(())
}

fn emit_block_move(b: &mut Builder) -> Emit {
    x86!(b;
        // AH=87h: ES:SI = descriptor table, entry 2 the source and entry 3 the destination; CX = words.
        block_move:
            cmp cx, 0x8000;
            ja .too_long;
            mov bx, si;
            mov esi, dword_ptr(bx + 0x12).es();
            and esi, 0x00ff_ffff;
            mov ah, byte_ptr(bx + 0x17).es();
            movzx eax, ah;
            shl eax, 24;
            or esi, eax;
            mov edi, dword_ptr(bx + 0x1a).es();
            and edi, 0x00ff_ffff;
            mov ah, byte_ptr(bx + 0x1f).es();
            movzx eax, ah;
            shl eax, 24;
            or edi, eax;
            call @block_copy;
            and byte_ptr(bp + frame::FLAGS), 0xbe;
            or byte_ptr(bp + frame::FLAGS), 0x40;
            jmp @return_ok;
        .too_long:
            mov ah, 2;
            jmp @return_error;
        // Copies CX words from linear address ESI to EDI in protected mode. Interrupts are off meanwhile; DS and ES
        // keep their values, EAX, ECX, ESI and EDI change.
        block_copy:
            pushf;
            push ds;
            push es;
            cli;
            in_ al, 0x92;
            push ax;
            call @a20_on;
            movzx ecx, cx;
            call @flat_on;
            cld;
        .word:
            jecxz .copied;
            mov ax, word_ptr(esi);
            mov word_ptr(edi), ax;
            add esi, 2;
            add edi, 2;
            dec ecx;
            jmp .word;
        .copied:
            call @flat_off;
            pop ax;
            test al, 2;
            jnz .a20_stays;
            call @a20_off;
        .a20_stays:
            pop es;
            pop ds;
            popf;
            ret;
        // Protected mode with DS and ES at all memory, interrupts being off. Changes EAX, DS, ES.
        flat_on:
            lgdt fword_ptr(b.at("gdt_pointer")).cs();
            mov eax, cr0;
            or al, 1;
            mov cr0, eax;
            push 8;
            push b.at("flat_on.protected");
            retf;
        .protected:
            mov ax, 0x10;
            mov ds, ax;
            mov es, ax;
            ret;
        // Back to real mode; DS and ES get 64 KiB limits and are for the caller to load. Changes EAX, DS, ES.
        flat_off:
            mov ax, 0x18;
            mov ds, ax;
            mov es, ax;
            mov eax, cr0;
            and al, 0xfe;
            mov cr0, eax;
            push 0xf000;
            push b.at("flat_off.real");
            retf;
        .real:
            ret;
        gdt_pointer:
    );
    let base = 0xf_0000 + b.at("gdt") as u32;
    b.db(&31u16.to_le_bytes())?;
    b.db(&base.to_le_bytes())?;
    x86!(b; gdt:);
    b.db(&[0; 8])?;
    b.db(&[0xff, 0xff, 0x00, 0x00, 0x0f, 0x9b, 0x00, 0x00])?; // 08h: this segment, 16-bit code
    b.db(&[0xff, 0xff, 0x00, 0x00, 0x00, 0x93, 0x8f, 0x00])?; // 10h: all memory
    b.db(&[0xff, 0xff, 0x00, 0x00, 0x00, 0x93, 0x00, 0x00]) // 18h: a real-mode data segment
}

fn emit_waits(b: &mut Builder) -> Emit {
    x86!(b;
        // AH=86h: CX:DX microseconds, counted by 8254 counter 0, which steps down by two at 1193182 Hz in mode 3.
        wait_service:
            sti; // time goes on meanwhile
            movzx eax, cx;
            shl eax, 16;
            mov ax, dx;
            call @wait_microseconds;
            jmp @return_ok;
        // Waits EAX microseconds. Changes EAX, ECX, EDX.
        wait_microseconds:
            cmp eax, 3_500_000_000u32;
            jbe .short_enough;
            mov eax, 3_500_000_000u32;
        .short_enough:
            mov ecx, 1_193_182 * 2;
            mul ecx;
            mov ecx, 1_000_000;
            cmp edx, ecx;
            jb .divide;
            mov edx, 999_999;
        .divide:
            div ecx;
            mov ecx, eax;
            call @read_counter;
            mov dx, ax;
        .poll:
            call @read_counter;
            sub dx, ax;
            movzx edx, dx;
            sub ecx, edx;
            mov dx, ax;
            jnc .poll;
            ret;
        read_counter:
            pushf;
            cli;
            mov al, 0;
            out 0x43, al;
            in_ al, 0x40;
            mov ah, al;
            in_ al, 0x40;
            xchg al, ah;
            popf;
            ret;
        // AH=83h: sets bit 7 of ES:BX after CX:DX microseconds, by the clock's 1024 Hz interrupt. AL=1 cancels.
        event_wait:
            cmp al, 1;
            je .cancel;
            test byte_ptr(bda::WAIT_ACTIVE), 1;
            jnz @return_carry;
            mov ax, word_ptr(bp + frame::ES);
            mov word_ptr(bda::WAIT_POINTER + 2), ax;
            mov ax, word_ptr(bp + frame::BX);
            mov word_ptr(bda::WAIT_POINTER), ax;
            mov word_ptr(bda::WAIT_COUNT), dx;
            mov word_ptr(bda::WAIT_COUNT + 2), cx;
            mov byte_ptr(bda::WAIT_ACTIVE), 1;
            mov al, 0x0b;
            call @cmos_read;
            or al, 0x40;
            jmp .set;
        .cancel:
            mov byte_ptr(bda::WAIT_ACTIVE), 0;
            mov al, 0x0b;
            call @cmos_read;
            and al, 0xbf;
        .set:
            mov ah, al;
            mov al, 0x0b;
            call @cmos_write;
            jmp @return_ok;
    );
    Ok(())
}
