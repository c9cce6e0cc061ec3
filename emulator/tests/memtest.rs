//! memtest86+ (i386) finds nothing wrong with 32 MiB.

#[path = "support/guest.rs"]
mod guest;
mod support;

use guest::guest;
use ring86::boot::image;
use ring86::boot::linux::Entry;
use ring86::config::MachineConfig;
use std::fs;
use support::wait;

#[test]
fn tests_0_to_3_pass() {
    let Some(path) = guest("memtest86+ia32.bin") else { return };
    let bytes = fs::read(path).expect("memtest86+ is readable");
    let mut config = MachineConfig::new();
    config.ram = 32 << 20;
    config.payload = Some(image::kernel("memtest86+", &bytes, "", None, Entry::Real).expect("it is a bzImage"));
    let mut machine = support::machine(config);
    let mut seen = Vec::new();
    // Test 4 starting is test 3 ending.
    wait(&mut machine, "test #4", 60, |m| {
        let screen = m.screen_text();
        let number = screen.split("Test #").nth(1).and_then(|rest| rest.split_whitespace().next());
        if let Some(number) = number.filter(|number| number.parse::<u32>().is_ok()) {
            if seen.last().is_none_or(|last| last != number) {
                seen.push(number.to_owned());
            }
            assert!(screen.contains("Errors: 0"), "{screen}");
        }
        seen.last().is_some_and(|last| last == "4")
    });
    // Test 1 is part of test 2 and off by default.
    assert_eq!(seen, ["0", "2", "3", "4"]);
}
