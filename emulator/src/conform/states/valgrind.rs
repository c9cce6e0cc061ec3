//! Tests in the style of Valgrind's `.def` files: one instruction a line, as
//! `NAME [PRESET... :] [ARGUMENT...] => RESULT...`, where each preset, argument and result is `PLACE.TYPE[VALUE,...]`.
//!
//! Arguments are in AT&T order. `r8`, `mm`, `m32` and so on stand for any register or memory operand; a result names
//! an argument by its number or a register by its name; flags are `eflags[MASK,VALUE]`, likewise `fpucw` and `fpusw`. Of
//! the files for 64-bit code the lines without its registers are tests here too.

use super::super::command::Context;
use super::super::results::{Status, Test};
use super::super::values::widen;
use super::assemble::gnu_lines;
use super::{Bench, file_name, read_text};
use ring86_translator::State;
use ring86_translator::fp::F80;
use std::fmt::Write as _;
use std::path::Path;

/// Where the instruction lies, the memory operands (64 bytes each), and the stack.
const CODE: u32 = 0x1_0000;
const DATA: u32 = 0x2_0000;
const STACK: u32 = 0x3_0000;
/// The bits of EFLAGS that exist.
const EXISTING: u32 = 0x003F_7FD5;

/// A place that holds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A general register: number in an instruction, offset in bits, width in bits.
    General(usize, u32, u32),
    Mmx(usize),
    Xmm(usize),
    /// From the top of the stack.
    Fpu(usize),
    /// Its address.
    Memory(u32),
    Immediate,
}

/// Values as bytes, and how they are to be compared.
#[derive(Clone, Debug, PartialEq)]
struct Values {
    bytes: Vec<u8>,
    /// Bytes in each, and whether they are floating point.
    size: usize,
    float: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Operand {
    place: Place,
    values: Values,
    /// As the assembler wants it.
    text: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Expected {
    At(Place, Values),
    Flags(u32, u32),
    Control(u32, u32),
    Status(u32, u32),
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq)]
struct Line {
    name: String,
    presets: Vec<Operand>,
    arguments: Vec<Operand>,
    flags: Option<(u32, u32)>,
    control: Option<(u32, u32)>,
    expected: Vec<Expected>,
}

/// The registers not used yet, in the order in which the suite hands them out.
struct Free {
    general: Vec<usize>,
    mmx: Vec<usize>,
    xmm: Vec<usize>,
}

/// Names of the general registers by the suite's numbers: A, B, C, D, then their upper bytes.
const LETTERS: [(char, usize); 4] = [('a', 0), ('b', 3), ('c', 1), ('d', 2)];

/// The suite's number and the place of a named general register.
fn named(name: &str) -> Option<(usize, Place)> {
    let (letter, rest) = match name.strip_prefix('e') {
        Some(rest) => (rest.chars().next()?, "e"),
        None => (name.chars().next()?, &name[1..]),
    };
    let index = LETTERS.iter().position(|(known, _)| *known == letter)?;
    let number = LETTERS[index].1;
    match (name.len(), rest) {
        (3, "e") if name.ends_with('x') => Some((index, Place::General(number, 0, 32))),
        (2, "x") => Some((index, Place::General(number, 0, 16))),
        (2, "l") => Some((index, Place::General(number, 0, 8))),
        (2, "h") => Some((4 + index, Place::General(number, 8, 8))),
        _ => None,
    }
}

fn register_text(place: Place) -> String {
    match place {
        Place::General(number, shift, width) => {
            let letter = LETTERS.iter().find(|(_, n)| *n == number).map_or('a', |(letter, _)| *letter);
            match (width, shift) {
                (32, _) => format!("%e{letter}x"),
                (16, _) => format!("%{letter}x"),
                (_, 8) => format!("%{letter}h"),
                _ => format!("%{letter}l"),
            }
        }
        Place::Mmx(n) => format!("%mm{n}"),
        Place::Xmm(n) => format!("%xmm{n}"),
        Place::Fpu(n) => format!("%st({n})"),
        Place::Memory(address) => format!("{address:#x}"),
        Place::Immediate => String::new(),
    }
}

fn number(text: &str) -> Option<u64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

fn values(kind: &str, list: &str) -> Option<Values> {
    let (size, float) = match kind {
        "sb" | "ub" => (1, false),
        "sw" | "uw" => (2, false),
        "sd" | "ud" => (4, false),
        "sq" | "uq" => (8, false),
        "ps" => (4, true),
        "pd" => (8, true),
        _ => return None,
    };
    let mut bytes = Vec::new();
    for text in list.split(',') {
        match (float, size) {
            (true, 4) => bytes.extend_from_slice(&(text.parse::<f64>().ok()? as f32).to_le_bytes()),
            (true, _) => bytes.extend_from_slice(&text.parse::<f64>().ok()?.to_le_bytes()),
            (false, _) => bytes.extend_from_slice(&number(text)?.to_le_bytes()[..size]),
        }
    }
    Some(Values { bytes, size, float })
}

/// `PLACE.TYPE[LIST]` or `PLACE[LIST]` in its parts.
fn split(token: &str) -> Option<(&str, &str, &str)> {
    let (head, list) = token.strip_suffix(']')?.split_once('[')?;
    let (place, kind) = head.split_once('.').unwrap_or((head, ""));
    Some((place, kind, list))
}

fn pair(list: &str) -> Option<(u32, u32)> {
    let (mask, value) = list.split_once(',')?;
    Some((number(mask)? as u32, number(value)? as u32))
}

impl Free {
    /// The place for an operand of class `class`, and marks it as used.
    fn take(&mut self, class: &str, memory: &mut u32) -> Option<Place> {
        let mut general = |width: u32, reserve_only: bool| {
            let index = (!self.general.is_empty()).then(|| self.general.remove(0))?;
            let place = match index {
                0..4 => Place::General(LETTERS[index].1, 0, width),
                _ => Place::General(LETTERS[index - 4].1, 8, 8),
            };
            (reserve_only || index < 4 || width == 8).then_some(place)
        };
        let mut at = || {
            *memory += 64;
            Some(Place::Memory(*memory - 64))
        };
        match class {
            "r8" => general(8, false),
            "r16" => general(16, false),
            "r32" => general(32, false),
            "mm" => Some(Place::Mmx(self.mmx.remove(0))),
            "xmm" => Some(Place::Xmm(self.xmm.remove(0))),
            // Memory operands take a register too, through which their results are read.
            "m8" | "m16" | "m32" => general(32, true).and_then(|_| at()),
            "m64" | "m128" => at(),
            _ => None,
        }
    }
}

fn parse(text: &str) -> Option<Line> {
    let (left, right) = text.split_once("=>").unwrap_or((text, ""));
    let (presets, arguments) =
        left.split_once(" : ").or_else(|| left.trim_end().split_once(" :")).unwrap_or(("", left));
    let (name, presets, arguments) = match presets {
        "" => {
            let (name, rest) = arguments.trim().split_once(char::is_whitespace).unwrap_or((arguments.trim(), ""));
            (name, "", rest)
        }
        presets => {
            let (name, rest) = presets.trim().split_once(char::is_whitespace)?;
            (name, rest, arguments)
        }
    };
    let mut line = Line { name: name.to_owned(), ..Line::default() };
    let mut free =
        Free { general: (0..8).collect(), mmx: vec![6, 7, 0, 1, 2, 3, 4, 5], xmm: vec![4, 5, 0, 1, 2, 3, 6, 7] };
    // Named registers first, so that nothing else gets them.
    let tokens: Vec<(bool, &str)> = presets
        .split_whitespace()
        .map(|token| (true, token))
        .chain(arguments.split_whitespace().map(|token| (false, token)))
        .collect();
    for (_, token) in &tokens {
        if let Some((index, _)) = named(split(token)?.0) {
            free.general.retain(|known| *known != index);
        }
    }
    let mut memory = DATA;
    for (is_preset, token) in tokens {
        let (place, kind, list) = split(token)?;
        match place {
            "eflags" | "rflags" => line.flags = Some(pair(list)?),
            "fpucw" => line.control = Some(pair(list)?),
            // The suite's programs cannot set it either.
            "fpusw" => {}
            "imm8" | "imm16" | "imm32" => {
                let values = Values { bytes: Vec::new(), size: 1, float: false };
                line.arguments.push(Operand { place: Place::Immediate, values, text: format!("${list}") });
            }
            _ => {
                let values = values(kind, list)?;
                let place = match (named(place), place.strip_prefix("st")) {
                    (Some((_, place)), _) => place,
                    (None, Some(index)) => Place::Fpu(index.parse().ok()?),
                    (None, None) => free.take(place, &mut memory)?,
                };
                let operand = Operand { place, values, text: register_text(place) };
                if is_preset { line.presets.push(operand) } else { line.arguments.push(operand) }
            }
        }
    }
    for token in right.split_whitespace() {
        let (place, kind, list) = split(token)?;
        let expected = match place {
            "eflags" | "rflags" => {
                let (mask, value) = pair(list)?;
                // Where nothing else is asked for, the flags begin as the opposite of what they must become.
                line.flags.get_or_insert((mask, mask & !value));
                Expected::Flags(mask, value)
            }
            "fpucw" => {
                let (mask, value) = pair(list)?;
                line.control.get_or_insert((mask, mask & !value));
                Expected::Control(mask, value)
            }
            "fpusw" => pair(list).map(|(mask, value)| Expected::Status(mask, value))?,
            _ => {
                let values = values(kind, list)?;
                let at = match (place.parse::<usize>(), named(place), place.strip_prefix("st")) {
                    (Ok(index), _, _) => line.arguments.get(index)?.place,
                    (_, Some((_, place)), _) => place,
                    (_, _, Some(index)) => Place::Fpu(index.parse().ok()?),
                    _ => return None,
                };
                Expected::At(at, values)
            }
        };
        line.expected.push(expected);
    }
    Some(line)
}

/// Whether a line of the suite for 64-bit processors has registers that 32-bit code does not.
fn wide(text: &str) -> bool {
    text.split_whitespace().filter_map(split).any(|(place, ..)| {
        matches!(place, "r64" | "imm64" | "rax" | "rbx" | "rcx" | "rdx" | "rsi" | "rdi" | "rbp" | "rsp")
            || place.strip_prefix('r').or_else(|| place.strip_prefix("xmm")).is_some_and(|rest| {
                // R8 to R15 and XMM8 to XMM15; 'r8', 'r16' and 'r32' alone are classes.
                !matches!(place, "r8" | "r16" | "r32") && rest.parse::<u8>().is_ok_and(|number| number >= 8)
            })
    })
}

impl Line {
    fn assembly(&self) -> String {
        let operands: Vec<&str> = self.arguments.iter().map(|operand| operand.text.as_str()).collect();
        format!("{} {}", self.name, operands.join(", "))
    }

    fn load(&self, bench: &mut Bench) {
        bench.cpu.reset();
        bench.enter_flat();
        for operand in self.presets.iter().chain(&self.arguments) {
            if let Place::Memory(address) = operand.place {
                bench.write(address, &operand.values.bytes);
            }
        }
        let s = &mut bench.cpu.state;
        s.rip = u64::from(CODE);
        s.slots[..8].fill(0);
        s.slots[4] = u64::from(STACK);
        s.fpu.cw = 0x037F;
        s.fpu.sw = 0;
        s.fpu.empty = 0xFF;
        s.mxcsr = 0x1F80;
        let all = || self.presets.iter().chain(&self.arguments);
        for operand in all() {
            store(s, operand);
        }
        // The suite pushes from the highest named register down, with zeros between.
        let depth = all().filter_map(|o| if let Place::Fpu(n) = o.place { Some(n + 1) } else { None }).max();
        if let Some(depth) = depth {
            let top = (8 - depth.min(8)) & 7;
            s.fpu.sw = (top as u16) << 11;
            for index in 0..depth.min(8) {
                let value = all().find(|operand| operand.place == Place::Fpu(index));
                let number = value.map_or(0.0, |operand| as_f64(&operand.values));
                let (mantissa, sign_exp) = widen(number);
                let slot = (top + index) & 7;
                s.fpu.regs[slot] = F80 { mantissa, sign_exp };
                s.fpu.empty &= !(1 << slot);
            }
        }
        if let Some((mask, value)) = self.control {
            s.fpu.cw = s.fpu.cw & !(mask as u16) | value as u16;
        }
        let flags = self.flags.map_or(0x2, |(mask, value)| 0x2 & !mask | value | 2);
        // POPF, with which the suite's programs set them, drops the reserved bits.
        s.set_eflags(flags & EXISTING | 2);
    }
}

fn as_f64(values: &Values) -> f64 {
    if values.size == 4 {
        f64::from(f32::from_le_bytes(array(&values.bytes)))
    } else {
        f64::from_le_bytes(array(&values.bytes))
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|n| bytes.get(n).copied().unwrap_or(0))
}

fn store(s: &mut State, operand: &Operand) {
    let bytes = &operand.values.bytes;
    match operand.place {
        Place::General(number, shift, width) => {
            let mask = (u64::MAX >> (64 - width)) << shift;
            s.slots[number] = s.slots[number] & !mask | u64::from(u32::from_le_bytes(array(bytes))) << shift & mask;
        }
        Place::Mmx(number) => {
            // As MOVQ leaves it: all registers valid, the top 0.
            s.fpu.regs[number] = F80 { mantissa: u64::from_le_bytes(array(bytes)), sign_exp: 0xFFFF };
            s.fpu.empty = 0;
        }
        Place::Xmm(number) => s.vectors[number] = u128::from_le_bytes(array(bytes)),
        Place::Fpu(_) | Place::Memory(_) | Place::Immediate => {}
    }
}

/// The bytes at a place, or None if the FPU register is empty.
fn fetch(bench: &Bench, place: Place, values: &Values) -> Option<Vec<u8>> {
    let s = &bench.cpu.state;
    Some(match place {
        Place::General(number, shift, width) => (s.slots[number] >> shift).to_le_bytes()[..width as usize / 8].to_vec(),
        Place::Mmx(number) => s.fpu.regs[number].mantissa.to_le_bytes().to_vec(),
        Place::Xmm(number) => s.vectors[number].to_le_bytes().to_vec(),
        Place::Memory(address) => {
            let mut bytes = vec![0; values.bytes.len()];
            bench.read(address, &mut bytes);
            bytes
        }
        Place::Fpu(index) => {
            let slot = (usize::from(s.fpu.top()) + index) & 7;
            if s.fpu.empty >> slot & 1 != 0 {
                return None;
            }
            let number = narrow(s.fpu.regs[slot]);
            if values.size == 4 { (number as f32).to_le_bytes().to_vec() } else { number.to_le_bytes().to_vec() }
        }
        Place::Immediate => Vec::new(),
    })
}

/// An extended number as a double, good enough for a comparison of a dozen bits.
fn narrow(value: F80) -> f64 {
    let exponent = i32::from(value.sign_exp & 0x7FFF);
    let magnitude = match exponent {
        0x7FFF if value.mantissa << 1 == 0 => f64::INFINITY,
        0x7FFF => f64::NAN,
        _ => value.mantissa as f64 * f64::powi(2.0, (exponent - 0x3FFF - 63).max(-1074)),
    };
    if value.sign_exp & 0x8000 != 0 { -magnitude } else { magnitude }
}

/// The suite's own tolerance: 1.5 * 2^-12 of the value.
fn near(expected: f64, got: f64) -> bool {
    expected == got || (expected - got).abs() < expected.abs() * 1.5 / 4096.0
}

fn compare(line: &Line, bench: &Bench) -> String {
    let mut text = String::new();
    let s = &bench.cpu.state;
    for expected in &line.expected {
        let words = match expected {
            Expected::Flags(mask, value) => Some(("eflags", *mask, *value, s.eflags())),
            Expected::Control(mask, value) => Some(("fpucw", *mask, *value, u32::from(s.fpu.cw))),
            Expected::Status(mask, value) => Some(("fpusw", *mask, *value, u32::from(s.fpu.sw))),
            Expected::At(place, values) => {
                match fetch(bench, *place, values) {
                    Some(got) if same(values, &got) => {}
                    got => {
                        let _ = write!(text, " {place:?}: {:02x?}/{:02x?}", values.bytes, got.unwrap_or_default());
                    }
                }
                None
            }
        };
        if let Some((name, mask, value, got)) = words
            && (value ^ got) & mask != 0
        {
            let _ = write!(text, " {name}: {value:x}/{:x}", got & mask);
        }
    }
    text
}

fn same(values: &Values, got: &[u8]) -> bool {
    if got.len() < values.bytes.len() {
        return false;
    }
    if !values.float {
        return got[..values.bytes.len()] == values.bytes[..];
    }
    values.bytes.chunks_exact(values.size).zip(got.chunks_exact(values.size)).all(|(expected, got)| {
        let number = |bytes: &[u8]| as_f64(&Values { bytes: bytes.to_vec(), size: values.size, float: true });
        near(number(expected), number(got))
    })
}

/// Runs one `.def` file: a test for each instruction name.
pub fn run(path: &Path, context: &Context) -> Result<Vec<Test>, String> {
    let text = read_text(path)?;
    let file = file_name(path);
    let lines: Vec<(usize, &str)> =
        (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty()).collect();
    let mut parsed = Vec::new();
    let mut wide_lines = std::collections::BTreeMap::<&str, u64>::new();
    for (number, line) in &lines {
        if wide(line) {
            *wide_lines.entry(line.split_whitespace().next().unwrap_or_default()).or_default() += 1;
            continue;
        }
        let line = parse(line).ok_or_else(|| format!("{}, line {number}: not a test", path.display()))?;
        parsed.push((*number, line));
    }
    let sources: Vec<String> = parsed.iter().map(|(_, line)| line.assembly()).collect();
    let slots = gnu_lines(&sources).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut bench = Bench::new(context.cpu, context.engine)?;
    bench.cpu.intercept = true;
    let mut tests: Vec<Test> = Vec::new();
    for (name, count) in wide_lines {
        let name = format!("{file} {name}");
        let test = Test::new("states", context.engine_name, name, Status::Skip, "registers of 64-bit code");
        tests.push(Test { skipped: count, ..test });
    }
    for (((number, line), source), slot) in parsed.iter().zip(&sources).zip(slots) {
        let (status, detail) = match slot {
            Err(complaint) => (Status::Skip, format!("the assembler: {complaint}")),
            Ok(slot) => one(line, &slot, &mut bench),
        };
        let detail = if detail.is_empty() { detail } else { format!("line {number}, {source}: {detail}") };
        let name = format!("{file} {}", line.name);
        let one = Test::new("states", context.engine_name, name.clone(), status, detail);
        match tests.iter_mut().find(|test| test.name == name) {
            None => tests.push(one),
            Some(test) => {
                test.cases += one.cases;
                test.failed += one.failed;
                test.skipped += one.skipped;
                if one.status > test.status {
                    test.status = one.status;
                    test.detail = one.detail;
                } else if one.status == Status::Fail {
                    test.detail = format!("{}\n{}", test.detail, one.detail);
                }
            }
        }
    }
    Ok(tests)
}

fn one(line: &Line, slot: &[u8], bench: &mut Bench) -> (Status, String) {
    bench.write(CODE, slot);
    line.load(bench);
    match bench.run_to_halt() {
        Some(why) if why == "exception 6" => (Status::Skip, "not an instruction of this model".to_owned()),
        Some(why) => (Status::Fail, why),
        None => {
            let text = compare(line, bench);
            (if text.is_empty() { Status::Pass } else { Status::Fail }, text.trim_start().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let line = parse("adcb eflags[0x1,0x1] : imm8[12] m8.ub[34] => 1.ub[47]").unwrap();
        assert_eq!((line.name.as_str(), line.flags), ("adcb", Some((1, 1))));
        assert_eq!(line.assembly(), "adcb $12, 0x20000");
        let Expected::At(Place::Memory(DATA), values) = &line.expected[0] else { panic!("{:?}", line.expected) };
        assert_eq!(values.bytes, [47]);
        let line = parse("cmpxchgl eax.ud[5] : r32.ud[1] r32.ud[-1] => eax.ud[5] eflags[0x40,0x40]").unwrap();
        assert_eq!(line.assembly(), "cmpxchgl %ebx, %ecx");
        assert_eq!(line.flags, Some((0x40, 0)));
        assert_eq!(parse("stc rflags[0x1,0x0] : => rflags[0x1,0x1]").unwrap().flags, Some((1, 0)));
        let line = parse("fadd st0.ps[1.5] st2.ps[2] => st2.ps[3.5]").unwrap();
        assert_eq!(line.assembly(), "fadd %st(0), %st(2)");
        assert_eq!(parse("cwtl ax.sw[-1] : => eax.sd[-1]").unwrap().assembly(), "cwtl ");
        assert_eq!(parse("emms").unwrap().name, "emms");
        assert!(parse("add r32.zz[1]").is_none());
        for (text, expected) in [
            ("adcq eflags[0x1,0x0] : imm8[12] rbx.uq[1] => 1.uq[2]", true),
            ("bswapq r64.uq[1] => 0.uq[2]", true),
            ("addps xmm.ps[1,2,3,4] xmm9.ps[1,2,3,4]", true),
            ("adcb r8.ub[1] m8.ub[2] => 1.ub[3]", false),
            ("paddd m64.ud[1,2] mm.ud[1,2] => 1.ud[2,4]", false),
        ] {
            assert_eq!(wide(text), expected, "{text}");
        }
    }

    #[test]
    fn floats_are_compared_as_the_suite_does() {
        assert!(near(1.0, 1.0003) && !near(1.0, 1.0004) && near(-2.0, -2.0));
        assert_eq!(narrow(F80 { mantissa: 3 << 62, sign_exp: 0xBFFF }), -1.5);
        assert_eq!(narrow(F80 { mantissa: 0, sign_exp: 0 }), 0.0);
    }
}
