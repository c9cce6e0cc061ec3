//! Comparison of two outcomes, and failing cases as lines that can be run again.

use super::generate::{Encoding, encoding_of};
use super::layout::{
    ARENA, ARENA_LEN, Environment, FX_LEN, HARNESS_LEN, NO_EXCEPTION, Placement, field, get32, put32, seg,
};
use super::masks::{LONGEST_OPERAND, Mask};
use std::fmt::Write as _;

/// Names of the general registers, by number.
pub(super) const REGISTERS: [&str; 8] = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];

/// The bits of each u64 of an FXSAVE image that count: not the opcode and pointers of the last x87 instruction, the
/// MXCSR mask, and reserved bytes.
const FX_MASK: [u64; 36] = {
    let mut mask = [u64::MAX; 36];
    mask[0] = 0x0000_00FF_FFFF_FFFF;
    mask[1] = 0;
    mask[2] = 0;
    mask[3] = 0xFFFF_FFFF;
    let mut register = 0;
    while register < 8 {
        mask[4 + 2 * register + 1] = 0xFFFF;
        register += 1;
    }
    mask
};

fn get64(bytes: &[u8], at: usize) -> u64 {
    u64::from(get32(bytes, at)) | u64::from(get32(bytes, at + 4)) << 32
}

/// What a fault leaves behind in memory is not compared for instructions that store more than once: the manual does
/// not say how far they got.
pub(super) fn many_stores(encoding: &Encoding) -> bool {
    use iced_x86::Mnemonic as M;
    matches!(
        encoding.instruction.mnemonic(),
        M::Pusha | M::Pushad | M::Enter | M::Fxsave | M::Fnsave | M::Fnstenv | M::Maskmovq | M::Maskmovdqu
    )
}

/// How many registers POPA has loaded when it faults is not specified; it starts again from the beginning.
fn many_loads(encoding: &Encoding) -> bool {
    matches!(encoding.instruction.mnemonic(), iced_x86::Mnemonic::Popa | iced_x86::Mnemonic::Popad)
}

/// The fields in which `got` differs from `expected`, or None.
pub fn compare(encoding: &Encoding, mask: Mask, input: &[u8], expected: &[u8], got: &[u8]) -> Option<String> {
    let shape = encoding.shape;
    let mut text = String::new();
    let mut note = |name: &str, expected: u64, got: u64| {
        let _ = write!(text, " {name}: {expected:x}/{got:x}");
    };
    let vector = get32(expected, field::VECTOR);
    for (reg, offset) in field::GPR.iter().enumerate() {
        let (e, g) = (get32(expected, *offset), get32(got, *offset));
        if e != g && (vector == NO_EXCEPTION || !many_loads(encoding)) {
            note(REGISTERS[reg], e.into(), g.into());
        }
    }
    let (e, g) = (get32(expected, field::EFLAGS), get32(got, field::EFLAGS));
    // The flags at a fault are those before the instruction, defined or not.
    let pending = shape.fx && get32(expected, shape.fx_offset()) >> 16 & 0x80 != 0;
    let mut defined = mask.eflags & if pending { mask.eflags_unmasked } else { u32::MAX };
    if mask.of_single && encoding.count(input).is_some_and(|count| count > 1) {
        defined &= !super::masks::flag::OF;
    }
    let flags = if vector == NO_EXCEPTION { defined } else { mask.eflags | super::masks::ARITHMETIC };
    if (e ^ g) & flags != 0 {
        note("eflags", e.into(), g.into());
    }
    for (name, offset) in [("eip", field::EIP), ("vector", field::VECTOR)] {
        let (e, g) = (get32(expected, offset), get32(got, offset));
        if e != g {
            note(name, e.into(), g.into());
        }
    }
    if shape.segments {
        for (index, offset) in field::SELECTORS {
            let (e, g) = (get32(expected, offset) & 0xFFFF, get32(got, offset) & 0xFFFF);
            if e != g {
                note(["es", "cs", "ss", "ds", "fs", "gs"][index], e.into(), g.into());
            }
        }
    }
    if vector != NO_EXCEPTION && vector == get32(got, field::VECTOR) {
        // The host pages with NX: bit 4 says that the fetch faulted.
        let ignored = if mask.many_accesses && vector == 14 { 0x11 } else { 0x10 };
        let (e, g) = (get32(expected, field::ERROR) & !ignored, get32(got, field::ERROR) & !ignored);
        if e != g && (8..=17).contains(&vector) && vector != 16 && !mask.no_error_code {
            note("error", e.into(), g.into());
        }
        let (e, g) = (get32(expected, field::CR2), get32(got, field::CR2));
        if vector == 14 && e != g && !(mask.many_accesses && e.abs_diff(g) < LONGEST_OPERAND) {
            note("cr2", e.into(), g.into());
        }
    }
    if vector == NO_EXCEPTION || !many_stores(encoding) {
        for index in 0..2 {
            let at = shape.window_offset(index);
            let range = at..at + shape.window[index];
            if expected[range.clone()] != got[range.clone()] {
                compare_window(encoding, mask, input, index, &expected[range.clone()], &got[range], &mut note);
            }
        }
    }
    if shape.fx {
        let at = shape.fx_offset();
        compare_fx(mask, &expected[at..at + FX_LEN], &got[at..at + FX_LEN], &mut note);
    }
    if text.is_empty() { None } else { Some(text) }
}

fn compare_window(
    encoding: &Encoding,
    mask: Mask,
    input: &[u8],
    index: usize,
    expected: &[u8],
    got: &[u8],
    note: &mut impl FnMut(&str, u64, u64),
) {
    let operand = if index == 0 { encoding.operand_offset(input) } else { None };
    for (offset, (e, g)) in expected.iter().zip(got).enumerate() {
        if e == g {
            continue;
        }
        let counts = operand.is_none_or(|operand| {
            let offset = offset as i64 - operand;
            !mask.memory.iter().any(|(start, end)| (*start..*end).contains(&offset))
        });
        if counts {
            let start = get32(input, field::WINDOW[index]);
            let at = offset & !3;
            let name = format!("[{:08x}]", start + at as u32);
            note(&name, get32(expected, at).into(), get32(got, at).into());
            return;
        }
    }
}

fn compare_fx(mask: Mask, expected: &[u8], got: &[u8], note: &mut impl FnMut(&str, u64, u64)) {
    for (word, bits) in FX_MASK.iter().enumerate() {
        let (e, g) = (get64(expected, word * 8), get64(got, word * 8));
        if (e ^ g) & bits == 0 {
            continue;
        }
        match word {
            0 => {
                let pending = e >> 16 & 0x80 != 0;
                let status = mask.fsw & if pending { mask.fsw_unmasked } else { 0xFFFF };
                let fields = [("fcw", 0, 0xFFFF), ("fsw", 16, u64::from(status)), ("ftw", 32, 0xFF)];
                for (name, shift, bits) in fields {
                    if (e ^ g) >> shift & bits != 0 {
                        note(name, e >> shift & 0xFFFF, g >> shift & 0xFFFF);
                    }
                }
            }
            3 => note("mxcsr", e & 0xFFFF_FFFF, g & 0xFFFF_FFFF),
            4..20 => {
                let index = (word - 4) / 2;
                let at = 32 + 16 * index;
                let value = |bytes: &[u8]| (get64(bytes, at), get32(bytes, at + 8) as u16);
                let (e80, g80) = (value(expected), value(got));
                if word % 2 == 0 && !(mask.ulp && within_ulp(e80, g80)) || word % 2 == 1 && e80.0 == g80.0 {
                    let name = format!("st{index}({:04x}/{:04x})", e80.1, g80.1);
                    note(&name, e80.0, g80.0);
                }
            }
            20.. if mask.approximate && near(e as u32, g as u32) && near((e >> 32) as u32, (g >> 32) as u32) => {}
            _ => note(&format!("xmm{}.{}", (word - 20) / 2, word & 1), e, g),
        }
    }
}

/// Whether two extended numbers are neighbours or the same.
fn within_ulp(a: (u64, u16), b: (u64, u16)) -> bool {
    let line = |(significand, exponent): (u64, u16)| {
        let magnitude = i128::from(exponent & 0x7FFF) << 63 | i128::from(significand & u64::MAX >> 1);
        if exponent & 0x8000 != 0 { -magnitude } else { magnitude }
    };
    (line(a) - line(b)).abs() <= 1
}

/// Whether two singles that each are within 1.5 * 2^-12 of the same value can be that value.
fn near(a: u32, b: u32) -> bool {
    let (x, y) = (f64::from(f32::from_bits(a)), f64::from(f32::from_bits(b)));
    a == b || (x - y).abs() <= x.abs() * (3.0 / 4096.0) && x.is_finite()
}

/// A failing case as one line: everything needed to run it again, then what it is, then the differences as
/// expected/got.
pub fn line(encoding: &Encoding, input: &[u8], differences: &str) -> String {
    let mut text = String::new();
    let placement = encoding.placement;
    let _ = write!(text, "env={} at={:x} bytes=", placement.environment.name(), placement.offset);
    hex(&mut text, &encoding.bytes);
    for (reg, offset) in field::GPR.iter().enumerate() {
        let _ = write!(text, " {}={:x}", REGISTERS[reg], get32(input, *offset));
    }
    let _ = write!(text, " eflags={:x}", get32(input, field::EFLAGS));
    for index in 0..2 {
        if encoding.shape.window[index] > 0 {
            let _ = write!(text, " mem{index}={:x}:", get32(input, field::WINDOW[index]));
            let at = encoding.shape.window_offset(index);
            hex(&mut text, &input[at..at + encoding.shape.window[index]]);
        }
    }
    if encoding.shape.fx {
        text.push_str(" fx=");
        let at = encoding.shape.fx_offset();
        hex(&mut text, &input[at..at + 288]);
    }
    let _ = write!(text, " | {} |{differences}", encoding.text());
    text
}

fn hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// Reads a line written by [`line()`].
pub fn parse(text: &str) -> Result<(Encoding, Vec<u8>), String> {
    let state = text.split('|').next().unwrap_or_default();
    let value = |key: &str| state.split_whitespace().find_map(|token| token.strip_prefix(key)?.strip_prefix('='));
    let bad = |key: &str| format!("the line to replay has no valid {key}=");
    let number = |key: &str| value(key).and_then(|v| u32::from_str_radix(v, 16).ok()).ok_or_else(|| bad(key));
    let environment = value("env").and_then(Environment::from_name).ok_or_else(|| bad("env"))?;
    let offset = number("at")?;
    if !(HARNESS_LEN + 0x40..HARNESS_LEN + 0x2F00).contains(&offset) {
        return Err(bad("at"));
    }
    let bytes = value("bytes").and_then(unhex).ok_or_else(|| bad("bytes"))?;
    let placement = Placement { environment, offset };
    let encoding = encoding_of(placement, &bytes).ok_or_else(|| bad("bytes"))?;
    let mut record = vec![0; encoding.shape.stride()];
    for (reg, offset) in field::GPR.iter().enumerate() {
        put32(&mut record, *offset, number(REGISTERS[reg])?);
    }
    put32(&mut record, field::EFLAGS, number("eflags")?);
    put32(&mut record, field::SS, u32::from(environment.segments()[seg::SS].selector));
    for index in 0..2 {
        let len = encoding.shape.window[index];
        if len > 0 {
            let key = format!("mem{index}");
            let (address, content) = value(&key).and_then(|v| v.split_once(':')).ok_or_else(|| bad(&key))?;
            let address = u32::from_str_radix(address, 16).map_err(|_| bad(&key))?;
            let content = unhex(content).filter(|c| c.len() == len).ok_or_else(|| bad(&key))?;
            if address < ARENA || address + len as u32 > ARENA + ARENA_LEN {
                return Err(bad(&key));
            }
            put32(&mut record, field::WINDOW[index], address);
            let at = encoding.shape.window_offset(index);
            record[at..at + len].copy_from_slice(&content);
        }
    }
    if encoding.shape.fx {
        let image = value("fx").and_then(unhex).filter(|image| image.len() == 288).ok_or_else(|| bad("fx"))?;
        let at = encoding.shape.fx_offset();
        record[at..at + 288].copy_from_slice(&image);
    }
    Ok((encoding, record))
}
