//! Compiled code beside the interpreter: the demo guest, and Linux up to where its kernel is unpacked and begins.

use ring86::boot::image;
use ring86::boot::linux::Entry;
use ring86::config::MachineConfig;
use ring86::lockstep::Lockstep;
use ring86_translator::engine::Config;
use std::path::Path;

/// Runs both machines for `instructions` and returns what the compiled one said on COM1.
fn agree(config: &MachineConfig, engine: Config, instructions: u64) -> String {
    let mut both = Lockstep::new(config, engine).expect("the host has memory for two machines");
    while both.compiled().retired() < instructions {
        match both.step(u64::MAX) {
            Ok(None) => {}
            Ok(Some(_)) => break,
            Err(difference) => panic!("{difference}"),
        }
    }
    let compiled = both.compiled().cpu().tier_stats().map_or(0, |t| t.retired);
    assert!(compiled > 1_000_000, "hardly anything ran in compiled code: {compiled} instructions");
    both.compiled().serial_text()
}

#[test]
fn the_demo_guest_is_the_same() {
    let config = ring86::demo::config(MachineConfig::new()).expect("the demo is in the binary");
    agree(&config, Config { threshold: 20, ..Config::default() }, 60_000_000);
}

#[test]
fn linux_is_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests");
    let (kernel, initrd) = (folder.join("vmlinuz-686"), folder.join("initrd-busybox.cpio.gz"));
    let (Ok(bytes), Ok(disk)) = (std::fs::read(&kernel), std::fs::read(&initrd)) else {
        assert!(std::env::var_os("CI").is_none(), "no guests: run tools/guests ci");
        eprintln!("skipped: no guests; run tools/guests ci");
        return;
    };
    let disk = Some(("initrd".to_owned(), disk));
    let mut config = MachineConfig::new();
    config.ram = 256 << 20;
    config.payload = Some(image::kernel("vmlinuz", &bytes, "console=ttyS0", disk, Entry::Real).expect("a kernel"));
    let instructions = std::env::var("RING86_LOCKSTEP").ok().and_then(|n| n.parse().ok()).unwrap_or(600_000_000);
    agree(&config, Config { threshold: 50, ..Config::default() }, instructions);
}
