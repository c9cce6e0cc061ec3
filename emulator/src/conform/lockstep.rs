//! The suite `lockstep`: a guest in compiled code beside the interpreter, by [`crate::lockstep`].

use super::command::Context;
use super::refused::Refused;
use super::results::{Status, Test};
use crate::boot::linux::Entry;
use crate::config::{Engine, MachineConfig};
use crate::drives::DriveArgs;
use crate::lockstep::{Lockstep, THRESHOLD, Trouble};
use ring86_devices::Time;
use ring86_translator::engine::Config;
use std::path::Path;
use std::rc::Rc;

/// Runs the guest for that many millions of instructions, or to its end. One image is one piece of work: it belongs to
/// the first shard.
///
/// # Errors
/// One sentence.
pub fn run(path: &Path, millions: u64, context: &Context) -> Result<Vec<Test>, String> {
    let name = path.display().to_string();
    if !context.wants(&name) {
        return Err(format!("--filter: it does not match {name}, the only test of lockstep"));
    }
    if !context.shard.has(0) {
        return Ok(Vec::new());
    }
    // What the interpreter is compared with is compiled code, whichever engine is asked for.
    let engine = match context.engine {
        Engine::Translator(config) => config,
        _ => Config { threshold: THRESHOLD, ..Config::default() },
    };
    let mut config = MachineConfig::new();
    config.ram = 256 << 20;
    config.model = context.cpu.unwrap_or(config.model);
    config.debug_exit = Some(0xF4);
    config.reboot = false;
    let mut drives = DriveArgs::default();
    drives.insert_bare(&mut config, path, "", None, Entry::Real).map_err(|error| error.to_string())?;
    // Two machines have the drives, each with its own writes. What is said of them is for a run.
    let drives = drives.ephemeral();
    let make = move || {
        let mut config = config.clone();
        drives.insert(&mut config)?;
        Ok(config)
    };
    let mut both = Lockstep::new(Rc::new(make), engine, Time::MAX).map_err(|error| error.to_string())?;
    let limit = millions.saturating_mul(1_000_000);
    let mut end = Ok(None);
    while matches!(end, Ok(None)) && both.compiled().retired() < limit {
        end = both.step();
    }
    let end = end.and_then(|outcome| both.compare_all().map(|()| outcome));
    let mut ended = String::new();
    let difference = match end {
        Ok(outcome) => {
            ended =
                outcome.map_or("; the guest goes on".to_owned(), |outcome| format!("; the guest ended: {outcome:?}"));
            None
        }
        Err(Trouble::Host(error)) => return Err(error.to_string()),
        Err(Trouble::Difference(difference)) => Some(difference),
    };
    let cases = both.compared;
    let engine = format!(
        "{} beside interpreter",
        if matches!(context.engine, Engine::Interpreter) { "translator" } else { context.engine_name }
    );
    let done = format!("{cases} comparisons over {} instructions{ended}", both.compiled().retired());
    let how = format!("ring86 run --engine lockstep --clock virtual '{name}'");
    let wrong = difference.map(|difference| both.explain(*difference, &how));
    let wrong = wrong.or_else(|| Refused::default().since(both.compiled().cpu()));
    let mut test = match wrong {
        None => Test::new("lockstep", &engine, name, Status::Pass, done),
        Some(text) => Test::new("lockstep", &engine, name, Status::Fail, format!("{text}\n{done}")),
    };
    test.cases = cases;
    Ok(vec![test])
}
