//! The same state on every host: what recorded runs end in, as hashes that hold on x86-64 and, through `tools/cross`,
//! elsewhere.
//!
//! The hashes stand in `state_hash.txt`. A change of a chip, the firmware or an instruction changes them; run this test
//! with `RING86_BLESS=1` on x86-64 then, where the native differential has judged the change. A difference on another
//! kind of host alone is a fault of Ring86.

#[path = "support/hash.rs"]
mod hash;
mod support;

use hash::{Hash, of_machine};
use ring86::config::Engine;
use ring86::config::MachineConfig;
use ring86::conform::generate::Encoding;
use ring86::conform::layout::{ARENA_LEN, ENVIRONMENTS, arena_pattern};
use ring86::conform::subject::{CpuSubject, Subject};
use ring86::conform::templates;
use ring86::conform::values::Random;
use ring86_translator::State;
use ring86_translator::engine::{Config, Mmu};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use support::wait;

const PROMPT: &str = "ring86> ";
/// States tried with each encoding of the instruction run.
const STATES: usize = 24;

fn recorded_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/state_hash.txt")
}

/// Compares `hash` with the recorded one of `name`, or records it if asked to.
#[track_caller]
fn check(name: &str, hash: u64) {
    static FILE: Mutex<()> = Mutex::new(());
    let _one_at_a_time = FILE.lock();
    let path = recorded_file();
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let mut hashes: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let hash = format!("{hash:016x}");
    println!("{name} {hash} on {}", std::env::consts::ARCH);
    if std::env::var_os("RING86_BLESS").is_some() {
        assert_eq!(std::env::consts::ARCH, "x86_64", "hashes are recorded on x86-64, where instructions have a judge");
        hashes.insert(name, &hash);
        let text: String = hashes.iter().map(|(name, hash)| format!("{name} {hash}\n")).collect();
        std::fs::write(&path, text).expect("the recorded hashes can be written");
        return;
    }
    assert_eq!(
        hashes.get(name),
        Some(&hash.as_str()),
        "{name}: another state than recorded; if a change to the machine meant that, run with RING86_BLESS=1 on x86-64"
    );
}

#[test]
fn the_demo_ends_in_the_recorded_state() {
    demo(Engine::Interpreter);
}

/// The recorded hashes are the interpreter's: with the virtual clock a run is the same in every tier.
#[test]
fn the_demo_ends_in_the_recorded_state_when_compiled() {
    demo(Engine::Translator(Config { mmu: Mmu::Table, threshold: 50, ..Config::default() }));
}

fn demo(engine: Engine) {
    let mut config = ring86::demo::config(MachineConfig::new()).expect("the demo's image is a good one");
    config.ram = 16 << 20;
    config.engine = engine;
    let mut machine = support::machine(config);
    wait(&mut machine, "the prompt", 120, |m| m.serial_text().contains(PROMPT));
    check("demo-prompt", of_machine(&machine));
    let from = machine.serial_output().len();
    machine.type_text("test\n");
    wait(&mut machine, "the tests' end", 120, |m| String::from_utf8_lossy(&m.serial_output()[from..]).contains(PROMPT));
    check("demo-test", of_machine(&machine));
    // Stopped in the midst of the x87 kernel, with its registers in use.
    let before = machine.executed();
    machine.type_text("bench\n");
    assert!(matches!(machine.run_until(|_| false, 900_000_000), Ok(false)));
    assert!(machine.serial_text().contains("calls and returns"), "{}", machine.serial_text());
    assert!(machine.executed() - before > 50_000_000, "{}", machine.executed() - before);
    check("demo-bench", of_machine(&machine));
    if matches!(engine, Engine::Translator(_)) {
        let compiled = machine.cpu().tier_stats().map_or(0, |t| t.retired);
        assert!(compiled * 2 > machine.executed(), "{compiled} of {} instructions were compiled", machine.executed());
    }
}

#[test]
fn every_instruction_form_gives_the_recorded_results() {
    instruction_forms(Engine::Interpreter);
}

#[test]
fn every_compiled_instruction_form_gives_the_recorded_results() {
    instruction_forms(Engine::single(Mmu::Table, false));
}

fn instruction_forms(engine: Engine) {
    let mut subject = CpuSubject::new(engine).expect("the host has memory for a processor");
    let pattern = arena_pattern();
    let mut arena = vec![0; ARENA_LEN as usize];
    for environment in ENVIRONMENTS {
        let mut hash = Hash::new();
        let (mut forms_run, mut cases) = (0u64, 0u64);
        for (code, forms) in templates::forms(environment.bits()) {
            let mut random = Random::new(u64::from(code) + 1);
            let Some(encoding) = (0..20).find_map(|_| Encoding::new(environment, code, &forms, &mut random)) else {
                continue;
            };
            let stride = encoding.shape.stride();
            let (mut input, mut output) = (vec![0; stride], vec![0; stride]);
            subject.load(encoding.placement, encoding.shape, &encoding.bytes, &pattern);
            let before = cases;
            for _ in 0..STATES {
                // Not every encoding has a safe state.
                if encoding.state(&mut input, &mut random) {
                    subject.run_case(&input, &mut output);
                    hash.bytes(&output);
                    cases += 1;
                }
            }
            forms_run += u64::from(cases > before);
            subject.arena(&mut arena);
            hash.bytes(&arena);
        }
        println!("{}: {cases} cases, {forms_run} instruction forms", environment.name());
        assert!(forms_run > 1000 && cases > 20_000, "{forms_run} forms, {cases} cases");
        check(&format!("instructions-{}", environment.name()), hash.0);
    }
}

#[test]
fn the_hash_sees_every_part() {
    let machine = || {
        let mut config = MachineConfig::new();
        config.ram = 1 << 20;
        support::machine(config)
    };
    let fresh = of_machine(&machine());
    assert_eq!(of_machine(&machine()), fresh);
    let changes: [fn(&mut State); 8] = [
        |s| s.set_gpr(7, 1),
        |s| s.rip ^= 1,
        |s| s.set_eflags(s.eflags() ^ 1),
        |s| s.segs[5].limit ^= 1 << 31,
        |s| s.idtr.limit ^= 1,
        |s| s.fpu.regs[7].sign_exp ^= 1 << 15,
        |s| s.vectors[7] ^= 1 << 127,
        |s| s.dr[7] ^= 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut other = machine();
        change(&mut other.cpu_mut().state);
        assert_ne!(of_machine(&other), fresh, "change {number}");
    }
    let other = machine();
    let ram = other.layout().memory().ram();
    ram.write::<u8>(ram.len() - 1, ram.read::<u8>(ram.len() - 1) ^ 0x80);
    assert_ne!(of_machine(&other), fresh, "memory");
}
