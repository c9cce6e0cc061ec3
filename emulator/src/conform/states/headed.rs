//! Tests in the style of FEX: assembly for NASM that begins with a JSON header between `%ifdef CONFIG` and `%endif`,
//! which says what the registers and the memory must hold at HLT. Only 32-bit programs are run (`"Mode": "32BIT"`).

use super::super::command::Context;
use super::super::results::{Status, Test};
use super::assemble::nasm;
use super::{Bench, file_name, read_text};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

/// Where the program lies.
const CODE: u32 = 0x1_0000;
/// Where its stack begins.
const STACK: u32 = 0xE000_F000;

const GPR: [&str; 8] = ["AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI"];

/// How a header begins.
const HEADER: &str = "%ifdef CONFIG";

/// The header of a program, and None if it has none.
fn header(text: &str) -> Result<Option<Value>, String> {
    let Some((_, rest)) = text.split_once(HEADER) else { return Ok(None) };
    let (json, _) = rest.split_once("%endif").ok_or("the header has no %endif")?;
    serde_json::from_str(json).map(Some).map_err(|error| format!("the header is no JSON ({error})"))
}

/// Whether a file has a header. What cannot be read says so when it is run.
pub fn is_test(path: &Path) -> bool {
    read_text(path).is_ok_and(|text| text.contains(HEADER)) || !path.is_file()
}

fn hex(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok(),
        Value::Array(list) => hex(list.first()?),
        other => other.as_u64(),
    }
}

/// Runs one `.asm` file.
pub fn run(path: &Path, context: &Context) -> Result<Vec<Test>, String> {
    let text = read_text(path)?;
    let name = file_name(path);
    let fail = |error: String| format!("{}: {error}", path.display());
    let Some(header) = header(&text).map_err(fail)? else { return Ok(Vec::new()) };
    let skip = |why: &str| Ok(vec![Test::new("states", context.engine_name, name.clone(), Status::Skip, why)]);
    if header["Mode"].as_str() != Some("32BIT") {
        return skip("64-bit code");
    }
    let source = text.replacen("%ifdef CONFIG", "bits 32\norg 0x10000\n%ifdef CONFIG", 1);
    let program = nasm(&source).map_err(fail)?;
    let mut bench = Bench::new(context.cpu, context.engine)?;
    bench.cpu.reset();
    bench.enter_flat();
    bench.cpu.intercept = true;
    bench.write(CODE, &program);
    bench.cpu.state.rip = u64::from(CODE);
    bench.cpu.state.set_gpr(4, u64::from(STACK));
    bench.cpu.state.set_eflags(2);
    let mut differences = bench.run_to_halt().map_or_else(String::new, |why| format!(" {why}"));
    compare(&header, &bench, &mut differences).map_err(fail)?;
    let status = if differences.is_empty() { Status::Pass } else { Status::Fail };
    Ok(vec![Test::new("states", context.engine_name, name, status, differences.trim_start())])
}

fn compare(header: &Value, bench: &Bench, text: &mut String) -> Result<(), String> {
    let s = &bench.cpu.state;
    for (name, value) in header["RegData"].as_object().into_iter().flatten() {
        let damaged = || format!("RegData.{name} is no number");
        if let Some(number) = name.strip_prefix("XMM").and_then(|n| n.parse::<usize>().ok()).filter(|n| *n < 8) {
            let halves = value.as_array().ok_or_else(damaged)?;
            for (index, half) in halves.iter().take(2).enumerate() {
                let (e, g) = (hex(half).ok_or_else(damaged)?, (s.vectors[number] >> (64 * index)) as u64);
                if e != g {
                    let _ = write!(text, " {name}.{index}: {e:x}/{g:x}");
                }
            }
            continue;
        }
        let e = hex(value).ok_or_else(damaged)?;
        let plain = name.trim_start_matches(['R', 'E']);
        let g = if let Some(reg) = GPR.iter().position(|known| *known == plain) {
            u64::from(s.slots[reg] as u32)
        } else if let Some(number) = name.strip_prefix("MM").and_then(|n| n.parse::<usize>().ok()).filter(|n| *n < 8) {
            s.fpu.regs[number].mantissa
        } else {
            return Err(format!("RegData.{name} is no register of a 32-bit program"));
        };
        if e != g {
            let _ = write!(text, " {name}: {e:x}/{g:x}");
        }
    }
    for (address, value) in header["MemoryData"].as_object().into_iter().flatten() {
        let damaged = || format!("MemoryData.{address} is no address and bytes");
        let at = hex(&Value::String(address.clone())).ok_or_else(damaged)?;
        let e = hex(value).ok_or_else(damaged)?;
        let digits = value.as_str().map_or(8, |text| text.trim().len().saturating_sub(2).div_ceil(2));
        let mut got = vec![0; digits.clamp(1, 8)];
        bench.read(at as u32, &mut got);
        if got[..] != e.to_le_bytes()[..got.len()] {
            let _ = write!(text, " [{at:08x}]: {e:x}/{got:02x?}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let text =
            "%ifdef CONFIG\n{ \"RegData\": { \"RAX\": \"0x41\" }, \"Mode\": \"32BIT\" }\n%endif\nmov eax, 0x41\nhlt\n";
        let value = header(text).unwrap().unwrap();
        assert_eq!((value["Mode"].as_str(), hex(&value["RegData"]["RAX"])), (Some("32BIT"), Some(0x41)));
        assert_eq!(header("mov eax, 1"), Ok(None));
        assert_eq!(header("%ifdef CONFIG\n{}").unwrap_err(), "the header has no %endif");
        assert!(header("%ifdef CONFIG\n{\n%endif").unwrap_err().starts_with("the header is no JSON"));
    }
}
