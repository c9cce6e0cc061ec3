//! With the virtual clock a run is the same in the interpreter and in compiled code, to the instruction: the same
//! registers, memory, screen and serial log at the same moments.

#[path = "support/guest.rs"]
mod guest;
#[path = "support/hash.rs"]
mod hash;
#[path = "support/shared_guest.rs"]
mod shared_guest;
mod support;

use guest::guest;
use hash::of_machine;
use ring86::boot::image;
use ring86::boot::linux::Entry;
use ring86::config::{Engine, MachineConfig};
use ring86::drives::Bay;
use ring86::machine::Machine;
use ring86::storage::Image;
use ring86_translator::engine::{Config, Mmu};
use shared_guest::shared_guest;

/// The engines whose runs must be one another's equal, and how each is told in a complaint.
fn engines() -> [(&'static str, Engine); 3] {
    let compiled = |mmu, threshold| Engine::Translator(Config { mmu, threshold, ..Config::default() });
    [
        ("interpreter", Engine::Interpreter),
        ("window", compiled(Config::default().mmu, Config::default().threshold)),
        ("table", compiled(Mmu::Table, 60)),
    ]
}

/// Runs what `machine` makes under each engine, for `stops` times `span` nanoseconds, typing a line at each stop. What
/// compiled code retired must be `share` per cent of all at least.
fn same(machine: impl Fn(Engine) -> Machine, stops: u32, span: u64, keys: &str, share: u64) {
    let mut first: Vec<(u64, u64)> = Vec::new();
    for (name, engine) in engines() {
        let mut machine = machine(engine);
        for stop in 0..stops {
            let end = machine.now() + span;
            support::wait(&mut machine, name, 600, |m| m.now() >= end);
            let seen = (machine.retired(), of_machine(&machine));
            match first.get(stop as usize) {
                None => first.push(seen),
                Some(interpreted) => assert_eq!(
                    (seen.0, format!("{:016x}", seen.1)),
                    (interpreted.0, format!("{:016x}", interpreted.1)),
                    "{name}, stop {stop}: another state than the interpreter's\n{}{}",
                    machine.serial_text(),
                    machine.screen_text()
                ),
            }
            machine.type_text(keys);
        }
        if let Some(tiers) = machine.cpu().tier_stats() {
            let (compiled, all) = (tiers.retired, machine.executed());
            println!("{name}: {compiled} of {all} instructions in compiled code");
            assert!(compiled * 100 > all * share, "{name}: only {compiled} of {all} instructions were compiled");
        }
        println!("{name}: {} {}", machine.serial_output().len(), machine.screen_text().lines().last().unwrap_or(""));
    }
}

/// A PC with a floppy in drive A.
fn from_floppy(bytes: &[u8], engine: Engine) -> Machine {
    let mut config = MachineConfig::new();
    config.ram = 16 << 20;
    config.engine = engine;
    config.drives.floppies[0] = Bay::Loaded(Image::memory(bytes.to_vec(), false));
    support::machine(config)
}

#[test]
fn freedos_is_the_same() {
    let Some(image) = shared_guest("freedos722.img") else { return };
    same(|engine| from_floppy(&image, engine), 5, 800_000_000, "dir\n", 20);
}

#[test]
fn linux_is_the_same() {
    let (Some(kernel), Some(initrd)) = (guest("vmlinuz-686"), guest("initrd-busybox.cpio.gz")) else { return };
    let kernel = std::fs::read(kernel).expect("the kernel is readable");
    let initrd = std::fs::read(initrd).expect("the initial RAM disk is readable");
    // A kernel takes 65 s of the virtual clock to its shell. By default it is followed to where it unpacks itself.
    let seconds = std::env::var("RING86_SAME_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let machine = |engine| {
        let mut config = MachineConfig::new();
        config.ram = 128 << 20;
        config.engine = engine;
        let initrd = Some(("initrd".to_owned(), initrd.clone()));
        let payload = image::kernel("kernel", &kernel, "console=ttyS0 earlyprintk=serial", initrd, Entry::Real);
        config.payload = Some(payload.expect("the kernel is a good one"));
        support::machine(config)
    };
    same(machine, 4, seconds * 250_000_000, "", 50);
}
