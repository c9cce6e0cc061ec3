//! Shared by the integration tests: guests, machines, and running the program.

use ring86::config::MachineConfig;
use ring86::machine::{Machine, Outcome};
use std::path::{Path, PathBuf};

/// The guest file `name` that `tools/guests` installs. Without it a test is skipped locally and fails in CI.
#[must_use]
pub fn guest(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests").join(name);
    if path.exists() {
        return Some(path);
    }
    let hint = format!("guests/{name} is missing: run 'tools/guests ci'");
    assert!(std::env::var_os("CI").is_none(), "{hint}");
    eprintln!("skipped: {hint}");
    None
}

/// A machine of `config`.
#[must_use]
pub fn machine(config: MachineConfig) -> Machine {
    Machine::new(config).expect("the host has memory for a test machine")
}

/// Runs until `done`, and explains a machine that stopped or took longer than `seconds` of guest time.
#[track_caller]
pub fn wait(machine: &mut Machine, what: &str, seconds: u64, mut done: impl FnMut(&mut Machine) -> bool) {
    let result = machine.run_until(|m| done(m), seconds * 1_000_000_000);
    let tail = |text: &str| text[text.len().saturating_sub(3000)..].to_owned();
    match result {
        Ok(true) => {}
        Ok(false) => panic!(
            "no {what} after {seconds} s of guest time\nserial: {}\nscreen: {}",
            tail(&String::from_utf8_lossy(machine.serial_output()).replace(|c: char| !c.is_ascii(), "?")),
            machine.screen_text()
        ),
        Err(outcome) => panic!(
            "waiting for {what}, but {}\nserial: {}\nscreen: {}",
            explain(&outcome),
            tail(&String::from_utf8_lossy(machine.serial_output()).replace(|c: char| !c.is_ascii(), "?")),
            machine.screen_text()
        ),
    }
}

/// An outcome as text.
#[must_use]
pub fn explain(outcome: &Outcome) -> String {
    match outcome {
        Outcome::TripleFault(fault) => fault.report.clone(),
        other => format!("{other:?}"),
    }
}
