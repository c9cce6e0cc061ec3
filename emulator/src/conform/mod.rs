//! Conformance: Ring86's CPU against the host's ([`run`]) and against recordings from old chips ([`vectors`]).
//!
//! [`templates`] finds every instruction form, [`generate`] makes encodings and states, [`native`] and [`thunk`] run
//! them on the host CPU, [`subject`] on ours, and [`report`] compares, under the [`masks`]. Failing cases are lines
//! that `ring86 conform native --replay` runs again.

mod address;
mod content;
pub mod generate;
pub mod layout;
pub mod masks;
pub mod moo;
pub mod native;
pub mod report;
pub mod run;
pub mod subject;
pub mod templates;
pub mod thunk;
pub mod values;
pub mod vectors;

use crate::config::Engine;
use clap::Args;
use ring86_translator::Model;
use std::path::PathBuf;

/// Exit code of a conformance run that found differences.
pub const EXIT_DIFFERENT: u8 = 1;
/// Exit code of a conformance run that could not be made: the command's code for host errors.
pub const EXIT_HOST: u8 = 120;

/// `ring86 conform native`.
#[derive(Args, Clone, Debug)]
pub struct NativeArgs {
    /// Cases to run
    #[arg(long, default_value_t = 10_000_000, value_name = "N")]
    pub cases: u64,
    /// Seed of the generator
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub seed: u64,
    /// Engine under test: interpreter, or with every instruction compiled single, single-none (not optimised),
    /// single-table, single-none-table (flat table); translator compiles what is hot
    #[arg(long, default_value = "interpreter", value_name = "E", value_parser = engine)]
    pub engine: Engine,
    /// Threads, each with a native child of its own [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Only instruction forms whose name contains one of these, as in iced-x86 ("add_rm,imul")
    #[arg(long, value_name = "NAMES")]
    pub filter: Option<String>,
    /// Only this environment: flat32, seg32 or seg16
    #[arg(long, value_name = "ENV")]
    pub environment: Option<String>,
    /// Differences shown for each instruction form
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub lines: usize,
    /// Run only part M of N, counted from 1
    #[arg(long, value_name = "M/N")]
    pub shard: Option<String>,
    /// Run one line again, as printed for a difference
    #[arg(long, value_name = "LINE")]
    pub replay: Option<String>,
}

/// `ring86 conform vectors`.
#[derive(Args, Clone, Debug)]
pub struct VectorsArgs {
    /// Folder of .MOO or .MOO.gz files, or one of them
    pub path: PathBuf,
    /// CPU model that the tests were recorded on
    #[arg(long, value_name = "MODEL")]
    pub cpu: Model,
    /// Engine under test: interpreter, or with every instruction compiled single, single-none (not optimised),
    /// single-table, single-none-table (flat table); translator compiles what is hot
    #[arg(long, default_value = "interpreter", value_name = "E", value_parser = engine)]
    pub engine: Engine,
    /// Threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Differences shown for each file
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub lines: usize,
}

fn engine(name: &str) -> Result<Engine, String> {
    Engine::named(name).ok_or_else(|| "no such engine".to_owned())
}

fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |count| count.get()))
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once('/').and_then(|(m, n)| Some((m.parse::<u64>().ok()?, n.parse::<u64>().ok()?)));
    match parts {
        Some((m, n)) if m >= 1 && m <= n => Ok((m - 1, n)),
        _ => Err(format!("--shard {text}: not of the form M/N with M from 1 to N")),
    }
}

/// Runs `ring86 conform native` and gives its exit code.
pub fn native_main(args: &NativeArgs) -> u8 {
    match native(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ring86: {error}");
            EXIT_HOST
        }
    }
}

fn native(args: &NativeArgs) -> Result<u8, String> {
    if let Some(text) = &args.replay {
        let result = run::replay(text, args.engine)?;
        println!("{}", if result.is_empty() { "no difference" } else { &result });
        return Ok(if result.is_empty() { 0 } else { EXIT_DIFFERENT });
    }
    let environment = match &args.environment {
        None => None,
        Some(name) => Some(
            layout::Environment::from_name(name)
                .ok_or_else(|| format!("--environment {name}: not one of flat32, seg32, seg16"))?,
        ),
    };
    let plan = run::Plan {
        cases: args.cases,
        seed: args.seed,
        engine: args.engine,
        threads: threads(args.threads),
        filter: args.filter.as_ref().map(|filter| filter.to_lowercase()),
        environment,
        lines_per_form: args.lines,
        shard: args.shard.as_deref().map(shard).transpose()?.unwrap_or((0, 1)),
    };
    let outcome = run::run(&plan, &|text| eprintln!("{text}"))?;
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("{} (host {}, seed {})", outcome.summary(), native::host(), args.seed);
    Ok(if outcome.different + outcome.lost == 0 { 0 } else { EXIT_DIFFERENT })
}

/// Runs `ring86 conform vectors` and gives its exit code.
pub fn vectors_main(args: &VectorsArgs) -> u8 {
    let plan = vectors::Plan {
        path: args.path.clone(),
        model: args.cpu,
        engine: args.engine,
        threads: threads(args.threads),
        lines_per_file: args.lines,
    };
    match vectors::run(&plan) {
        Err(error) => {
            eprintln!("ring86: {error}");
            EXIT_HOST
        }
        Ok(outcome) => {
            for file in &outcome.files {
                for line in &file.lines {
                    println!("{line}");
                }
                if file.failed > 0 {
                    println!("{}: {} of {} tests differ", file.name, file.failed, file.tests);
                }
            }
            println!("{}", outcome.summary());
            if outcome.counts().1 == 0 { 0 } else { EXIT_DIFFERENT }
        }
    }
}
