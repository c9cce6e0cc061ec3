//! Reader for the SingleStepTests sets that are JSON: an array of tests, each with registers and memory before and
//! after. The files do not say which CPU they come from.

use super::moo::{self, Exception, File, Registers, Test};
use ring86_translator::Model;
use serde_json::Value;
use std::path::Path;

/// Reads a file, compressed or not, of tests recorded on `model`. The error is a sentence that names the file.
///
/// # Errors
/// If it cannot be read, is damaged, or the CPU is not said.
pub fn read(path: &Path, model: Option<Model>) -> Result<File, String> {
    let name = path.display();
    let Some(model) = model else {
        return Err(format!("{name}: files of JSON do not say which CPU they were recorded on; give it with --cpu"));
    };
    let cpu = match model {
        Model::I8086 => "8086",
        Model::I286 => "C286",
        Model::I386 => "386E",
        _ => return Err(format!("{name}: there are no recorded vectors of the {model}")),
    };
    let tests = parse(&moo::read_plain(path)?).map_err(|error| format!("{name}: {error}"))?;
    Ok(File::of(cpu, tests))
}

/// Reads the text of a file.
///
/// # Errors
/// Part of a sentence.
pub fn parse(bytes: &[u8]) -> Result<Vec<Test>, String> {
    let json: Value = serde_json::from_slice(bytes).map_err(|error| match error.is_eof() {
        true => "the file is truncated".to_owned(),
        false => format!("this is no JSON ({error})"),
    })?;
    let list = json.as_array().ok_or("this is no list of tests")?;
    (0..).zip(list).map(|(n, value)| test(n, value).ok_or_else(|| format!("test {n} is damaged"))).collect()
}

fn test(number: u32, value: &Value) -> Option<Test> {
    let mut initial = Registers::default();
    registers(&value["initial"]["regs"], &mut initial)?;
    let mut last = initial;
    registers(&value["final"]["regs"], &mut last)?;
    let exception = &value["exception"];
    Some(Test {
        index: value["idx"].as_u64().map_or(number, |index| index as u32),
        name: value["name"].as_str().unwrap_or_default().to_owned(),
        bytes: value["bytes"].as_array()?.iter().map(byte).collect::<Option<_>>()?,
        initial,
        initial_memory: memory(&value["initial"]["ram"])?,
        last,
        last_memory: memory(&value["final"]["ram"])?,
        mask: None,
        exception: exception["number"].as_u64().map(|vector| Exception {
            vector: vector as u8,
            flags_address: exception["flag_addr"].as_u64().unwrap_or(0) as u32,
        }),
    })
}

fn byte(value: &Value) -> Option<u8> {
    u8::try_from(value.as_u64()?).ok()
}

fn memory(value: &Value) -> Option<Vec<(u32, u8)>> {
    value.as_array()?.iter().map(|pair| Some((u32::try_from(pair[0].as_u64()?).ok()?, byte(&pair[1])?))).collect()
}

/// Sets the registers that are named; unknown names are those of a CPU that this is not.
fn registers(value: &Value, into: &mut Registers) -> Option<()> {
    for (name, value) in value.as_object()? {
        let value = u32::try_from(value.as_u64()?).ok()?;
        let short = name.strip_prefix('e').filter(|rest| rest.len() == 2 || *rest == "flags").unwrap_or(name);
        let position = |names: &[&str]| names.iter().position(|known| *known == short);
        if let Some(reg) = position(&["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"]) {
            into.gpr[reg] = value;
        } else if let Some(segment) = position(&["es", "cs", "ss", "ds", "fs", "gs"]) {
            into.segments[segment] = value as u16;
        } else if let Some(system) = position(&["cr0", "cr3", "dr6", "dr7"]) {
            into.system[system] = value;
        } else if short == "ip" {
            into.ip = value;
        } else if short == "flags" {
            into.flags = value;
        } else {
            return None;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"[{"name":"nop","bytes":[144],"idx":3,"cycles":[],"hash":"x","initial":{"regs":{"ax":5,"es":7,
        "ip":256,"flags":61442},"ram":[[256,144]],"queue":[]},"final":{"regs":{"ip":257},"ram":[],"queue":[]}}]"#;

    #[test]
    fn a_test_is_read() {
        let tests = parse(ONE.as_bytes()).unwrap();
        let test = &tests[0];
        assert_eq!((test.index, test.name.as_str(), &test.bytes[..]), (3, "nop", &[0x90][..]));
        assert_eq!((test.initial.gpr[0], test.initial.segments[0], test.last.ip, test.last.gpr[0]), (5, 7, 257, 5));
        assert_eq!(test.initial_memory, [(256, 144)]);
    }

    #[test]
    fn what_is_damaged_is_one_sentence() {
        assert_eq!(parse(&ONE.as_bytes()[..100]).unwrap_err(), "the file is truncated");
        assert!(parse(b"x").unwrap_err().starts_with("this is no JSON"));
        assert_eq!(parse(b"{}").unwrap_err(), "this is no list of tests");
        assert_eq!(parse(ONE.replace("144", "1440").as_bytes()).unwrap_err(), "test 0 is damaged");
        let error = read(Path::new("00.json"), None).unwrap_err();
        assert_eq!(error, "00.json: files of JSON do not say which CPU they were recorded on; give it with --cpu");
    }
}
