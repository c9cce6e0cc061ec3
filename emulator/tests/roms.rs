//! Every program of `test-roms` on this machine: one architectural fact each.

use ring86::boot::image;
use ring86::boot::linux::Entry;
use ring86::config::{Engine, MachineConfig};
use ring86::drives::Bay;
use ring86::machine::{Machine, Outcome};
use ring86::storage::Image;
use ring86_test_roms::{Kind, Rom};
use ring86_translator::Model;
use ring86_translator::engine::{Config, Mmu};

const DEBUG_EXIT: u16 = 0xf4;

/// What happened to `rom` on a processor of `model` with `engine`; `None` if its fact holds.
fn failure(rom: &Rom, model: Model, engine: Engine) -> Option<String> {
    let mut config = MachineConfig::new();
    config.ram = 16 << 20;
    config.model = model;
    config.engine = engine;
    config.debug_exit = Some(DEBUG_EXIT);
    match rom.kind {
        Kind::Multiboot => match image::kernel(rom.name, rom.image, "", None, Entry::Real) {
            Ok(payload) => config.payload = Some(payload),
            Err(error) => return Some(error.to_string()),
        },
        Kind::BootSector => {
            config.drives.floppies[0] = Bay::Loaded(Image::memory(image::floppy(rom.image.to_vec()), false));
        }
    }
    let mut machine = Machine::new(config).expect("the host has memory for a test machine");
    let result = machine.run_until(|_| false, 20_000_000_000);
    let said = machine.console_text();
    match result {
        Err(Outcome::DebugExit(0)) if said.contains(rom.name) => None,
        Err(Outcome::DebugExit(0)) => Some(format!("it did not print its name: {said}")),
        Err(Outcome::DebugExit(check)) => Some(format!("check {check} failed: {said}")),
        Err(Outcome::TripleFault(fault)) => Some(format!("{}: {said}", fault.report)),
        Err(outcome) => Some(format!("{outcome:?}: {said}")),
        Ok(_) => Some(format!("no end: {said}\n{}", machine.screen_text())),
    }
}

#[test]
fn every_fact_holds() {
    all_hold(Engine::Interpreter);
}

/// Every block compiled before it runs, optimised, over the checked window.
#[test]
#[ignore = "compiles for minutes: cargo test --release -p ring86 --test roms -- --ignored"]
fn every_fact_holds_in_compiled_code() {
    all_hold(Engine::eager(Mmu::Window, true));
}

/// What runs four times compiled, not optimised, over the flat table: both tiers take turns.
#[test]
fn every_fact_holds_in_mixed_tiers() {
    all_hold(Engine::Translator(Config {
        mmu: Mmu::Table,
        optimise: false,
        threshold: 4,
        synchronous: true,
        ..Config::default()
    }));
}

fn all_hold(engine: Engine) {
    let roms = ring86_test_roms::all();
    assert!(!roms.is_empty());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(4) {
            scope.spawn(|| {
                while let Some(rom) = roms.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    if let Some(why) = failure(rom, Model::Max, engine) {
                        let text = format!("{} ({}; {}): {why}", rom.name, rom.fact, rom.section);
                        failures.lock().expect("no test panics with the lock").push(text);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no test panics with the lock");
    assert!(failures.is_empty(), "{} of {} facts fail:\n{}", failures.len(), roms.len(), failures.join("\n"));
}
