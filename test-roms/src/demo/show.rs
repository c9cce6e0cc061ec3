//! `mandel` and `life`: something to look at, on both screens.

use iced_x86::code_asm::*;

use super::*;

/// Cells of a row, and rows, of the game of life; both powers of two, so that the edges join by masking.
const COLUMNS: u32 = 64;
const ROWS: u32 = 16;
const CELLS: u32 = COLUMNS * ROWS;

pub(super) fn write(t: &mut Pm) -> Emit {
    mandel(t)?;
    life(t)
}

fn mandel(t: &mut Pm) -> Emit {
    // Fixed point with 12 bits of fraction. EBX, EBP: c; ESI, EDI: z; ECX: iterations left.
    const ITERATIONS: u32 = 48;
    t.here("cmd.mandel")?;
    code!(t; cld(); mov(ebp, -4915); mov(dword_ptr(TEMP + 8), 99));
    t.here("mandel.row")?;
    code!(t; mov(ebx, -8800));
    t.here("mandel.point")?;
    code!(t; xor(esi, esi); xor(edi, edi); mov(ecx, ITERATIONS));
    t.here("mandel.next")?;
    code!(t;
        mov(eax, esi); imul_2(eax, esi); sar(eax, 12); mov(edx, edi); imul_2(edx, edi); sar(edx, 12);
        mov(dword_ptr(TEMP), eax); add(eax, edx); cmp(eax, 4 << 12); ja(t.at("mandel.out"));
        imul_2(edi, esi); sar(edi, 11); add(edi, ebp); mov(esi, dword_ptr(TEMP)); sub(esi, edx); add(esi, ebx);
        dec(ecx); jne(t.at("mandel.next")));
    t.here("mandel.out")?;
    // The colour changes only where it must, which keeps the serial line short.
    code!(t;
        movzx(eax, byte_ptr(ecx + t.addr("mandel.colors"))); cmp(eax, dword_ptr(TEMP + 8)); je(t.at("mandel.same"));
        mov(dword_ptr(TEMP + 8), eax); push(eax); call(t.at("color")));
    t.here("mandel.same")?;
    code!(t; movzx(eax, byte_ptr(ecx + t.addr("mandel.shades"))); push(eax); call(t.at("putc"));
        add(ebx, 160); cmp(ebx, -8800 + 160 * 78); jl(t.at("mandel.point"));
        push(10); call(t.at("putc")); add(ebp, 447); cmp(ebp, 4916); jl(t.at("mandel.row")));
    color(t, 7)?;
    code!(t; ret());
    t.here("mandel.colors")?;
    let left = 0..=ITERATIONS as usize;
    let colors: Vec<u8> = left
        .clone()
        .map(|n| if n == 0 { 0 } else { [12, 4, 14, 6, 10, 2, 13, 5, 9, 11, 15, 7][(ITERATIONS as usize - n) % 12] })
        .collect();
    t.text(&colors)?;
    t.here("mandel.shades")?;
    let shades: Vec<u8> =
        left.map(|n| if n == 0 { b' ' } else { b".,:;+*o%#@&$"[(ITERATIONS as usize - n).min(11)] }).collect();
    t.text(&shades)
}

fn life(t: &mut Pm) -> Emit {
    t.here("cmd.life")?;
    // A random start, from the timer.
    code!(t; cld(); call(t.at("cmd.clear")); mov(edi, HEAP); mov(ecx, CELLS); mov(ebx, dword_ptr(TICKS)); or(ebx, 1));
    t.here("life.seed")?;
    code!(t; imul_3(ebx, ebx, 1_664_525); add(ebx, 1_013_904_223); mov(eax, ebx); shr(eax, 30); cmp(eax, 1); setb(al); stosb(); loop_(t.at("life.seed")));
    code!(t; mov(dword_ptr(TEMP), 0));
    t.here("life.draw")?;
    code!(t; call(t.at("home")));
    color(t, 14)?;
    say(t, "The game of life, generation ")?;
    code!(t; push(dword_ptr(TEMP)); call(t.at("decimal")));
    say(t, "; any key ends it\n")?;
    color(t, 10)?;
    code!(t; mov(esi, HEAP); mov(edx, ROWS));
    t.here("life.row")?;
    code!(t; mov(ecx, COLUMNS));
    t.here("life.cell")?;
    code!(t; lodsb(); movzx(eax, al); movzx(eax, byte_ptr(eax + t.addr("life.faces"))); push(eax); call(t.at("putc")); loop_(t.at("life.cell"));
        push(10); call(t.at("putc")); dec(edx); jne(t.at("life.row")));
    color(t, 7)?;
    // The next generation: a cell's eight neighbours, counted modulo the size of the field.
    code!(t; xor(ebx, ebx));
    t.here("life.step")?;
    code!(t; xor(eax, eax));
    for (right, down) in [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)] {
        code!(t;
            mov(ecx, ebx); and(ecx, !(COLUMNS - 1)); add(ecx, down * COLUMNS as i32); and(ecx, CELLS - 1);
            lea(edx, dword_ptr(ebx + right)); and(edx, COLUMNS - 1); add(al, byte_ptr(ecx + edx + HEAP)));
    }
    code!(t;
        or(al, byte_ptr(ebx + HEAP)); cmp(al, 3); sete(al); mov(byte_ptr(ebx + (HEAP + CELLS)), al);
        inc(ebx); cmp(ebx, CELLS); jb(t.at("life.step"));
        mov(esi, HEAP + CELLS); mov(edi, HEAP); mov(ecx, CELLS / 4); rep().movsd(); inc(dword_ptr(TEMP));
        mov(ebx, 8));
    t.here("life.wait")?;
    code!(t; call(t.at("tick")); dec(ebx); jne(t.at("life.wait")); cli(); call(t.at("poll")); sti(); je(t.at("life.draw")); ret());
    t.here("life.faces")?;
    t.text(b" O")
}
