//! Random programs in the interpreter and in every compiled tier: state, memory, device accesses, instruction counts
//! and faults are identical at every slice's end.
//!
//! `RING86_TIER_PROGRAMS` is the number of programs of each theme (a million programs that rewrite themselves:
//! `RING86_TIER_PROGRAMS=1000000 cargo test --release -p ring86-translator --test tiers rewrit`),
//! `RING86_TIER_SEED` the first seed.

mod generate;
mod machine;

use generate::Theme;
use machine::{Machine, Program, compare, disassemble, minimise, tiers};
use ring86_translator::engine::Config;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// The tier for a program: all of them in turn for the first thousand. Of later programs only every 32nd goes to those
/// that compile whatever runs once, where it takes some 30 ms rather than 3.
fn tier_of(seed: u64, first: u64, tiers: &[(&str, Config)]) -> usize {
    let eager = |t: usize| tiers[t].1.threshold == 1;
    let t = seed as usize % tiers.len();
    if seed - first < 1000 || !eager(t) || (seed / tiers.len() as u64).is_multiple_of(32) {
        return t;
    }
    let patient: Vec<usize> = (0..tiers.len()).filter(|t| !eager(*t)).collect();
    patient[(seed / tiers.len() as u64) as usize % patient.len()]
}

/// Runs the programs, each in the interpreter and in one of the tiers.
fn run(theme: Theme, default: u64) {
    let count = number("RING86_TIER_PROGRAMS", default);
    let first = number("RING86_TIER_SEED", 1);
    let mut model = Machine::new("interpreter", None);
    let tiers = tiers();
    let mut machines: Vec<Machine> = tiers.iter().map(|(n, c)| Machine::new(n, Some(*c))).collect();
    let mut failures = Vec::new();
    for seed in first..first + count {
        let p = Program::random(seed, theme);
        let t = tier_of(seed, first, &tiers);
        let Some(why) = compare(&p, &mut model, &mut machines[t]) else { continue };
        let (name, config) = tiers[t];
        let (small, found) = minimise(&p, name, config);
        let alone = if found.is_some() { "" } else { " (only on a machine that ran other programs before)" };
        let text = format!("{theme:?} seed {seed}, {name}{alone}: {}\n{}", found.unwrap_or(why), disassemble(&small));
        println!("{text}");
        failures.push(seed);
        if failures.len() >= number("RING86_TIER_FAILURES", 3) as usize {
            break;
        }
    }
    for m in &machines {
        let s = m.stats();
        println!(
            "{theme:?}, {}: {} regions in {} ms, {} dropped, {} resuming, {} instructions compiled, {:?} exits",
            m.name,
            s.regions,
            s.compile_ns / 1_000_000,
            s.dropped,
            s.resuming,
            s.retired,
            s.exits
        );
    }
    let compiled: u64 = machines.iter().map(|m| m.stats().retired).sum();
    assert!(!failures.is_empty() || compiled > count * 10, "hardly anything ran in compiled code");
    assert!(failures.is_empty(), "{theme:?}: tiers differ with seeds {failures:?}");
}

#[test]
fn straight_code_and_loops() {
    run(Theme::Plain, 300);
}

#[test]
fn programs_that_rewrite_themselves() {
    run(Theme::Rewrite, 300);
}

#[test]
fn page_tables_and_faults() {
    run(Theme::Paging, 300);
}

#[test]
fn short_segments_and_real_mode() {
    run(Theme::Short, 300);
}

#[test]
fn interrupts_at_exact_counts() {
    run(Theme::Interrupts, 300);
}

/// Programs that have found something, each in every tier.
#[test]
fn programs_that_once_differed() {
    // A CALL that pushes across 4 GiB: the fault of the first page came before that of the limit.
    // DS with a flat code segment: compiled stores asked whether the segment is flat, not whether it may be written.
    for (theme, seed) in [(Theme::Rewrite, 75_932), (Theme::Rewrite, 160_157)] {
        let p = Program::random(seed, theme);
        for (name, config) in tiers() {
            let why = compare(&p, &mut Machine::new("interpreter", None), &mut Machine::new(name, Some(config)));
            assert_eq!(why, None, "{theme:?} seed {seed}, {name}:\n{}", disassemble(&p));
        }
    }
}
