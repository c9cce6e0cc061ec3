//! Tests recorded from an 8086 and an 80286, where the checkout has them beside it, and the runner's own manners.

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
    Plan { path, model, threads, lines_per_file: 1 }
}

fn passes(name: &str, model: Model) {
    let Some(path) = folder(name) else { return };
    let outcome = run(&plan(path, model)).unwrap();
    for line in outcome.files.iter().flat_map(|file| &file.lines) {
        println!("{line}");
    }
    println!("{}", outcome.summary());
    let (tests, failed) = outcome.counts();
    assert!(tests > 100_000, "{}", outcome.summary());
    assert_eq!(failed, 0, "{}", outcome.summary());
}

#[test]
fn the_8086_model_matches_the_chip() {
    passes("8086", Model::I8086);
}

#[test]
fn the_286_model_matches_the_chip() {
    passes("80286", Model::I286);
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
    assert!(error.contains("nothing.MOO: ") && !error.contains('\n'), "{error}");
    let path = folder.join("short.MOO");
    std::fs::write(&path, b"MOO \x0c\0\0\0\x01\0\0\0\x05\0\0\x008086").unwrap();
    let error = run(&plan(path.clone(), Model::I8086)).unwrap_err();
    assert_eq!(error, format!("{}: the file is truncated: 0 of 5 tests", path.display()));
    let path = folder.join("short.MOO.gz");
    std::fs::write(&path, b"\x1f\x8b\x08\x00\x00").unwrap();
    let error = run(&plan(path, Model::I8086)).unwrap_err();
    assert!(error.contains("short.MOO.gz: the compressed file is damaged or truncated"), "{error}");
}
