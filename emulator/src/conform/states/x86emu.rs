//! Tests in the style of libx86emu: a `.init` file with registers and memory, as its `prepare_test` makes it from a
//! `.tst`, and a `.done` file with what they must be at HLT.
//!
//! Both are dumps: memory as `ADDRESS: BYTE...` in columns, a `*` before bytes that were written; registers as
//! `NAME=VALUE`; comments behind `;`.

use super::super::command::Context;
use super::super::results::{Status, Test};
use super::{Bench, file_name, read_text};
use ring86_translator::State;
use ring86_translator::state::{Segment, TableReg};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// A dump.
#[derive(Debug, Default, PartialEq, Eq)]
struct Dump {
    memory: BTreeMap<u32, u8>,
    registers: BTreeMap<String, u32>,
}

/// Columns of a line of memory: the first byte's, and from one to the next.
const FIRST: usize = 9;
const STEP: usize = 4;

fn parse(text: &str) -> Result<Dump, String> {
    let mut dump = Dump::default();
    for (number, line) in (1..).zip(text.lines()) {
        let bad = || format!("line {number} is damaged");
        let line = line.split(';').next().unwrap_or_default();
        if line.trim().is_empty() || line.starts_with("msr[") {
            continue;
        }
        if let Some((address, bytes)) = line.split_once(':') {
            let base = u32::from_str_radix(address.trim(), 16).map_err(|_| bad())?;
            let offset = address.len() + 1 - FIRST;
            for column in 0..16 {
                let at = offset + column * STEP;
                // Absent bytes are blanks.
                let Some(cell) = bytes.get(at..bytes.len().min(at + STEP)) else { break };
                let cell = cell.trim().trim_start_matches('*');
                if !cell.is_empty() {
                    let byte = u8::from_str_radix(cell, 16).map_err(|_| bad())?;
                    dump.memory.insert(base.wrapping_add(column as u32), byte);
                }
            }
            continue;
        }
        for pair in line.split_whitespace() {
            let (name, value) = pair.split_once('=').ok_or_else(bad)?;
            dump.registers.insert(name.to_owned(), u32::from_str_radix(value, 16).map_err(|_| bad())?);
        }
    }
    Ok(dump)
}

const GPR: [&str; 8] = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
const SEGMENTS: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];

/// The suite's access word has G, D/B, L and AVL above the type; the processor's attributes lie as in a descriptor.
fn attributes(access: u32) -> u32 {
    (access & 0xFF) << 8 | (access >> 8 & 0xF) << 20
}

fn access(attributes: u32) -> u32 {
    attributes >> 8 & 0xFF | (attributes >> 20 & 0xF) << 8
}

/// Runs one `.init` file.
pub fn run(path: &Path, context: &Context) -> Result<Vec<Test>, String> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let parsed = |path: &Path| parse(&read_text(path)?).map_err(|error| format!("{}: {error}", path.display()));
    let initial = parsed(path)?;
    let done = path.with_extension("done");
    if !done.exists() {
        let detail = format!("the suite has no {}", file_name(&done));
        return Ok(vec![Test::new("states", context.engine_name, name, Status::Skip, detail)]);
    }
    let expected = parsed(&done)?;
    let mut bench = Bench::new(context.cpu, context.engine)?;
    load(&mut bench, &initial);
    let mut text = bench.run_to_halt().map_or_else(String::new, |why| format!(" {why}"));
    compare(&bench, &initial, &expected, &mut text);
    let status = if text.is_empty() { Status::Pass } else { Status::Fail };
    Ok(vec![Test::new("states", context.engine_name, name, status, text.trim_start().to_owned())])
}

fn load(bench: &mut Bench, dump: &Dump) {
    for (address, byte) in &dump.memory {
        bench.write(*address, &[*byte]);
    }
    let value = |name: &str| dump.registers.get(name).copied().unwrap_or(0);
    bench.cpu.reset();
    let s = &mut bench.cpu.state;
    for (reg, name) in GPR.iter().enumerate() {
        s.slots[reg] = u64::from(value(name));
    }
    for (index, name) in SEGMENTS.iter().enumerate() {
        s.segs[index] = Segment {
            selector: value(name) as u16,
            base: u64::from(value(&format!("{name}.base"))),
            limit: value(&format!("{name}.limit")),
            attr: attributes(value(&format!("{name}.acc"))),
        };
    }
    s.gdtr = TableReg { base: u64::from(value("gdt.base")), limit: value("gdt.limit") as u16 };
    s.idtr = TableReg { base: u64::from(value("idt.base")), limit: value("idt.limit") as u16 };
    s.cr0 = s.cr0 & !1 | u64::from(value("cr0") & 1);
    s.rip = u64::from(value("eip"));
    s.set_eflags(value("eflags") | 2);
    s.cpl = 0;
    s.update_mode();
    bench.cpu.flush();
}

fn register(s: &State, name: &str) -> Option<u32> {
    if let Some(reg) = GPR.iter().position(|known| *known == name) {
        return Some(s.slots[reg] as u32);
    }
    let (first, part) = name.split_once('.').unwrap_or((name, ""));
    if let Some(index) = SEGMENTS.iter().position(|known| *known == first) {
        let segment = &s.segs[index];
        return match part {
            "" => Some(u32::from(segment.selector)),
            "base" => Some(segment.base as u32),
            "limit" => Some(segment.limit),
            _ => Some(access(segment.attr)),
        };
    }
    match name {
        "eip" => Some(s.rip as u32),
        "eflags" => Some(s.eflags()),
        // Of the rest the suite's machine has only PE.
        "cr0.pe" => Some((s.cr0 & 1) as u32),
        _ => None,
    }
}

fn compare(bench: &Bench, initial: &Dump, expected: &Dump, text: &mut String) {
    for (name, e) in &expected.registers {
        let Some(g) = register(&bench.cpu.state, name) else { continue };
        if *e != g {
            let _ = write!(text, " {name}: {e:x}/{g:x}");
        }
    }
    // What the end does not list is as it was.
    let kept = initial.memory.iter().filter(|(address, _)| !expected.memory.contains_key(address));
    for (address, e) in kept.chain(&expected.memory) {
        let mut g = [0];
        bench.read(*address, &mut g);
        if *e != g[0] {
            let _ = write!(text, " [{address:08x}]: {e:02x}/{:02x}", g[0]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_are_read() {
        let text = "; - - memory\n;           0   1   2\n00001000:  b8  01  f4\n0002aa90:                                     *44\n\
                    00029000: *55\n\nmsr[0010]    0000000000000022 ; tsc\neax=00000001 ebx=0000d844\neip=00000003 eflags=00000006 ; pf\n";
        let dump = parse(text).unwrap();
        let memory: Vec<_> = dump.memory.into_iter().collect();
        assert_eq!(memory, [(0x1000, 0xB8), (0x1001, 1), (0x1002, 0xF4), (0x29000, 0x55), (0x2AA99, 0x44)]);
        assert_eq!((dump.registers["ebx"], dump.registers["eflags"]), (0xD844, 6));
        assert_eq!(parse("eax").unwrap_err(), "line 1 is damaged");
        assert_eq!(access(attributes(0xC93)), 0xC93);
    }
}
