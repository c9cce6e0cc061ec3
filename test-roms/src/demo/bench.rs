//! `bench`: a few kernels, each for a quarter of a second of guest time.

use iced_x86::code_asm::*;

use super::*;

/// Timer ticks for which each kernel runs.
const TICKS_EACH: u32 = 25;
/// Times a kernel's loop goes round between looks at the clock.
const ROUNDS: u32 = 20_000;

/// One kernel: its name, the unit, how many of them one round is, and the loop's body, which keeps ECX.
fn kernel(t: &mut Pm, name: &str, unit: &str, per_round: u32, body: impl FnOnce(&mut Pm) -> Emit) -> Emit {
    let (outer, inner) = (t.fresh("bench"), t.fresh("bench"));
    say(t, &format!("Bench      {name:<28}"))?;
    code!(t; mov(dword_ptr(TEMP), 0); call(t.at("tick")); add(eax, TICKS_EACH + 1); mov(dword_ptr(TEMP + 4), eax);
        fninit(); fld1(); fld1(); mov(eax, 1); mov(ebx, 3); mov(edx, 5); mov(esi, HEAP); mov(edi, HEAP + 0x1_0000));
    t.here(&outer)?;
    code!(t; mov(ecx, ROUNDS));
    t.here(&inner)?;
    body(t)?;
    code!(t; dec(ecx); jne(t.at(&inner)); inc(dword_ptr(TEMP)); mov(ebp, dword_ptr(TICKS)); cmp(ebp, dword_ptr(TEMP + 4)); jb(t.at(&outer)));
    // Hundredths of a million a second: passes * rounds * units * 100 / 1000000 / (ticks / 100).
    code!(t;
        mov(eax, dword_ptr(TEMP)); mov(ecx, ROUNDS / 100 * per_round); mul(ecx); mov(ecx, 100 * TICKS_EACH / 100); div(ecx);
        xor(edx, edx); mov(ecx, 100); div(ecx); push(eax); call(t.at("decimal")); push(0x2E); call(t.at("putc"));
        mov(eax, edx); aam(10); shl(ah, 4); or(al, ah); push(eax); call(t.at("hex2")));
    say(t, &format!(" million {unit}/s\n"))
}

pub(super) fn write(t: &mut Pm) -> Emit {
    t.here("cmd.bench")?;
    kernel(t, "integer arithmetic", "instructions", 8, |t| {
        code!(t; add(eax, ebx); xor(edx, eax); imul_3(ebx, ebx, 69069); ror(edx, 7); lea(eax, dword_ptr(eax + edx * 4 + 1)); adc(ebx, 0));
        Ok(())
    })?;
    kernel(t, "memory read and write", "accesses", 4, |t| {
        code!(t; movzx(ebp, dx); and(ebp, 0x7FFC); mov(eax, dword_ptr(esi + ebp)); add(dword_ptr(edi + ebp), eax); mov(dword_ptr(esi + ebp), edx); add(edx, 68));
        Ok(())
    })?;
    kernel(t, "calls and returns", "calls", 1, |t| {
        code!(t; call(t.at("bench.leaf")));
        Ok(())
    })?;
    kernel(t, "x87 multiply and add", "operations", 2, |t| {
        code!(t; fmul_2(st0, st1); fadd_2(st0, st1));
        Ok(())
    })?;
    kernel(t, "block copy, REP MOVSD", "bytes", 64, |t| {
        code!(t; push(ecx); push(esi); push(edi); mov(ecx, 16); rep().movsd(); pop(edi); pop(esi); pop(ecx));
        Ok(())
    })?;
    code!(t; fninit(); ret());
    t.here("bench.leaf")?;
    code!(t; add(eax, 1); ret());
    Ok(())
}
