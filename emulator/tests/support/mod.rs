//! Shared by the integration tests: building machines and waiting for what they do.

use ring86::config::MachineConfig;
use ring86::machine::{Machine, Outcome};

/// A machine of `config`.
#[must_use]
pub fn machine(config: MachineConfig) -> Machine {
    Machine::new(config).expect("the host has memory for a test machine")
}

/// Runs until `done`, and explains a machine that stopped or took longer than `seconds` of guest time.
#[track_caller]
pub fn wait(machine: &mut Machine, what: &str, seconds: u64, mut done: impl FnMut(&mut Machine) -> bool) {
    let result = machine.run_until(|m| done(m), seconds * 1_000_000_000);
    match result {
        Ok(true) => {}
        Ok(false) => panic!(
            "no {what} after {seconds} s of guest time\nserial: {}\nscreen: {}",
            serial_end(machine),
            machine.screen_text()
        ),
        Err(outcome) => panic!(
            "waiting for {what}, but {}\nserial: {}\nscreen: {}",
            explain(&outcome),
            serial_end(machine),
            machine.screen_text()
        ),
    }
}

/// The last that a machine said on its serial port: what a failure needs, where logs have a limit.
#[must_use]
pub fn serial_end(machine: &Machine) -> String {
    let text = String::from_utf8_lossy(machine.serial_output()).replace(|c: char| !c.is_ascii(), "?");
    text[text.len().saturating_sub(3000)..].to_owned()
}

/// An outcome as text.
#[must_use]
pub fn explain(outcome: &Outcome) -> String {
    match outcome {
        Outcome::TripleFault(fault) => fault.report.clone(),
        other => format!("{other:?}"),
    }
}
