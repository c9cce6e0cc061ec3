//! Tests recorded from an 8086 and an 80286, where the checkout has them beside it, and the runner's own manners.

use ring86::config::Engine;
use ring86::conform::shard::Shard;
use ring86::conform::vectors::{Plan, run};
use ring86_translator::Model;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(name);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: no recorded vectors at {}", path.display());
    None
}

fn plan(path: PathBuf, model: Model) -> Plan {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    Plan {
        path,
        model: Some(model),
        engine: Engine::Interpreter,
        threads,
        lines_per_file: 1,
        filter: None,
        shard: Shard::WHOLE,
        only: None,
    }
}

/// Every test passes, but for those that docs/verdicts.md gives a reason for. Compiling each takes time, so that
/// engines which do take an eighth of the files.
fn passes(name: &str, model: Model, engine: Option<&str>, verdicts: u64) {
    let Some(path) = folder(name) else { return };
    let whole = plan(path, model);
    let part = engine.map(|name| Plan {
        engine: Engine::named(name).expect("an engine"),
        shard: Shard { index: 2, of: 8 },
        ..whole.clone()
    });
    let least = if part.is_some() { 10_000 } else { 100_000 };
    let outcome = run(&part.unwrap_or(whole)).unwrap();
    for line in outcome.files.iter().flat_map(|file| &file.lines) {
        println!("{line}");
    }
    println!("{}", outcome.summary());
    let (tests, failed) = outcome.counts();
    assert!(tests > least, "{}", outcome.summary());
    assert_eq!(failed, 0, "{}", outcome.summary());
    let skipped: u64 = outcome.files.iter().flat_map(|file| file.skipped.values()).sum();
    assert_eq!(skipped, verdicts, "{}", outcome.summary());
}

#[test]
fn the_8086_model_matches_the_chip() {
    passes("8086", Model::I8086, None, 0);
}

#[test]
fn the_286_model_matches_the_chip() {
    passes("80286", Model::I286, None, 8);
}

#[test]
fn compiled_code_matches_the_chips() {
    for engine in ["quick", "optimised", "optimised-table"] {
        passes("8086", Model::I8086, Some(engine), 0);
        passes("80286", Model::I286, Some(engine), 0);
    }
}

#[test]
fn the_wrong_cpu_is_one_sentence() {
    let Some(path) = folder("80286") else { return };
    let path = path.join("00.MOO.gz");
    let error = run(&plan(path.clone(), Model::I8086)).unwrap_err();
    assert_eq!(error, format!("{}: tests of the 286, but the CPU asked for is 8086", path.display()));
}

#[test]
fn bad_input_is_one_sentence() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conform-vectors");
    std::fs::create_dir_all(&folder).unwrap();
    let error = run(&plan(folder.join("nothing.MOO"), Model::I8086)).unwrap_err();
    assert!(error.ends_with("nothing.MOO': there is no such file") && error.starts_with("cannot read '"), "{error}");
    let path = folder.join("short.MOO");
    std::fs::write(&path, b"MOO \x0c\0\0\0\x01\0\0\0\x05\0\0\x008086").unwrap();
    let error = run(&plan(path.clone(), Model::I8086)).unwrap_err();
    assert_eq!(error, format!("{}: the file is truncated: 0 of 5 tests", path.display()));
    let path = folder.join("short.MOO.gz");
    std::fs::write(&path, b"\x1f\x8b\x08\x00\x00").unwrap();
    let error = run(&plan(path, Model::I8086)).unwrap_err();
    assert!(error.contains("short.MOO.gz: the compressed file is damaged or truncated"), "{error}");
}

/// A chunk of a MOO file.
fn chunk(tag: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = tag.to_vec();
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A RG32 chunk: bit number and value of each register.
fn registers32(values: &[(u32, u32)]) -> Vec<u8> {
    let mut payload = values.iter().fold(0u32, |mask, (bit, _)| mask | 1 << bit).to_le_bytes().to_vec();
    values.iter().for_each(|(_, value)| payload.extend_from_slice(&value.to_le_bytes()));
    chunk(b"RG32", &payload)
}

#[test]
fn tests_of_a_386_are_run() {
    // INC EAX, then the HLT that ends such a test, at 0100:0200. EAX, CS, EIP and EFLAGS are bits 2, 10, 16 and 17.
    let file = |last_eax: u32| {
        let memory: Vec<u8> = [(0x1200u32, 0x66u8), (0x1201, 0x40), (0x1202, 0xF4)].iter().fold(
            3u32.to_le_bytes().to_vec(),
            |mut bytes, (address, value)| {
                bytes.extend_from_slice(&address.to_le_bytes());
                bytes.push(*value);
                bytes
            },
        );
        let initial = registers32(&[(2, 0x7FFF_FFFF), (10, 0x100), (16, 0x200), (17, 0x2)]);
        let last = registers32(&[(2, last_eax), (16, 0x203), (17, 0x896)]);
        let test = [
            0u32.to_le_bytes().to_vec(),
            chunk(b"NAME", b"\x07\0\0\0inc eax"),
            chunk(b"BYTS", &[3, 0, 0, 0, 0x66, 0x40, 0xF4]),
            chunk(b"INIT", &[initial, chunk(b"RAM ", &memory)].concat()),
            chunk(b"FINA", &last),
        ]
        .concat();
        [chunk(b"MOO ", b"\x01\x01\0\0\x01\0\0\x00386E"), chunk(b"TEST", &test)].concat()
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conform-386");
    std::fs::create_dir_all(&folder).unwrap();
    for (eax, differences) in [(0x8000_0000, 0), (0x8000_0001, 1)] {
        let path = folder.join("6640.MOO");
        std::fs::write(&path, file(eax)).unwrap();
        let outcome = run(&plan(path, Model::I386)).unwrap();
        assert_eq!(outcome.counts(), (1, differences), "{:?}", outcome.files[0].lines);
    }
}
