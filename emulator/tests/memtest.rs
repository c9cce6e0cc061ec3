//! memtest86+ (i386) finds nothing wrong with 32 MiB.

mod support;

use ring86::boot::image;
use ring86::boot::linux::Entry;
use ring86::config::MachineConfig;
use std::fs;
use support::{guest, wait};

#[test]
fn tests_0_to_3_pass() {
    let Some(path) = guest("memtest86+ia32.bin") else { return };
    let bytes = fs::read(path).expect("memtest86+ is readable");
    let mut config = MachineConfig::new();
    config.ram = 32 << 20;
    config.payload = Some(image::kernel("memtest86+", &bytes, "", None, Entry::Real).expect("it is a bzImage"));
    let mut machine = support::machine(config);
    for test in 0..=4 {
        // Test 4 starting is test 3 ending.
        let title = format!("Test #{test}");
        wait(&mut machine, &title, 600, |m| m.screen_text().contains(&title));
    }
    let screen = machine.screen_text();
    assert!(screen.contains("Errors: 0"), "{screen}");
}
