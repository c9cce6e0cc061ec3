//! The built-in guest: its prompt answers on the serial line and on the keyboard, and its self-tests pass.

mod support;

use ring86::config::MachineConfig;
use ring86::machine::{Machine, Outcome};
use support::wait;

const PROMPT: &str = "ring86> ";

fn started() -> Machine {
    let config = ring86::demo::config(MachineConfig::new()).expect("the demo's image is a good one");
    let mut machine = support::machine(config);
    wait(&mut machine, "the prompt", 120, |m| m.serial_text().contains(PROMPT));
    machine
}

/// What comes out on the serial line until the next prompt.
fn answer(machine: &mut Machine, ask: impl FnOnce(&mut Machine)) -> String {
    let from = machine.serial_output().len();
    ask(machine);
    wait(machine, "an answer", 120, |m| String::from_utf8_lossy(&m.serial_output()[from..]).contains(PROMPT));
    String::from_utf8_lossy(&machine.serial_output()[from..]).into_owned()
}

#[test]
fn serial_line_and_keyboard() {
    let mut machine = started();
    let cpu = answer(&mut machine, |m| {
        m.serial_input(b"cpu\r");
    });
    assert!(cpu.contains("Ring86") && cpu.contains("sse2"), "{cpu}");
    let echo = answer(&mut machine, |m| m.type_text("echo Hello, PC!\n"));
    assert!(echo.contains("Hello, PC!"), "{echo}");
    assert!(machine.screen_text().contains("Hello, PC!"), "{}", machine.screen_text());
    let tests = answer(&mut machine, |m| m.type_text("test\n"));
    assert!(tests.contains(" 0 failed"), "{tests}");
    machine.type_text("poweroff\n");
    let end = machine.run_until(|_| false, 10_000_000_000);
    assert!(matches!(end, Err(Outcome::PowerOff)), "{end:?}");
}

#[test]
fn a_crash_is_explained_and_a_reboot_comes_back() {
    let mut machine = started();
    let before = machine.serial_output().len();
    machine.type_text("reboot\n");
    wait(&mut machine, "the prompt again", 120, |m| {
        String::from_utf8_lossy(&m.serial_output()[before..]).contains(PROMPT)
    });
    assert!(machine.counts().0 >= 1);
    machine.type_text("crash\n");
    let end = machine.run_until(|_| false, 10_000_000_000);
    let Err(Outcome::TripleFault(fault)) = end else { panic!("{end:?}") };
    assert!(fault.chain.len() >= 2, "{}", fault.report);
}

#[test]
fn two_runs_are_the_same_to_the_instruction() {
    let run = || {
        let mut machine = started();
        machine.type_text("mem\nclock\n");
        assert!(machine.run_until(|_| false, 1_000_000_000).is_ok());
        (machine.retired(), machine.executed(), machine.serial_output().to_vec(), machine.screen_text())
    };
    assert!(run() == run());
}
