//! The suite `roms`: every program of `test-roms`, one architectural fact each.

use super::command::Context;
use super::guest::{self, Convention, Limits, Source};
use super::opinion::Emulator;
use super::qemu::Image;
use super::results::{Status, Test};
use super::shard::spread;
use crate::boot::image;
use crate::boot::linux::Entry;
use crate::config::MachineConfig;
use crate::drives::Bay;
use crate::storage;
use ring86_test_roms::{Kind, Rom};
use ring86_translator::Model;

/// The port that the programs end at.
const EXIT: u16 = 0xF4;
/// Memory of the machine they run in.
const RAM: u64 = 16 << 20;
/// Nanoseconds of guest time that each may take.
const TIME: u64 = 20_000_000_000;

/// Runs the programs of this shard.
///
/// # Errors
/// One sentence.
pub fn run(context: &Context) -> Result<Vec<Test>, String> {
    let roms: Vec<&Rom> = ring86_test_roms::all()
        .iter()
        .filter(|rom| context.wants(rom.name) || context.wants(rom.group))
        .zip(0..)
        .filter(|(_, number)| context.shard.has(*number))
        .map(|(rom, _)| rom)
        .collect();
    if roms.is_empty() && context.filter.is_some() {
        return Err(format!("--filter {}: no program matches", context.filter.as_deref().unwrap_or_default()));
    }
    spread(context.jobs, roms.len(), |n| one(roms[n], context)).into_iter().collect()
}

fn one(rom: &Rom, context: &Context) -> Result<Test, String> {
    let suite = context.against.map_or("roms".to_owned(), |other| format!("roms against {}", other.name()));
    let test = |status, detail: String| Test::new(&suite, context.engine_name, rom.name, status, detail);
    let model = context.cpu.unwrap_or(Model::Max);
    if rom.cpu.parse::<Model>().is_ok_and(|needed| model < needed) {
        return Ok(test(Status::Skip, format!("needs a {}", rom.cpu)));
    }
    let why = failure(rom, model, context)?;
    let about = format!("{} ({})", rom.fact, rom.section);
    let Some(emulator) = context.against else {
        return Ok(match why {
            None => test(Status::Pass, about),
            Some(why) => test(Status::Fail, format!("{about}\n{why}")),
        });
    };
    let image = match (rom.kind, emulator) {
        // A floppy loads the program where there is only a BIOS.
        (_, Emulator::Bochs) => Image::Floppy(ring86_test_roms::floppy(rom)),
        (Kind::Multiboot, _) => Image::Kernel(rom.image.to_vec()),
        (Kind::BootSector, _) => Image::Floppy(image::floppy(rom.image.to_vec())),
    };
    let other = emulator.run(&image, RAM >> 20, "", &Limits { time: TIME, ..Limits::default() })?;
    let (theirs, known) = match emulator {
        Emulator::Qemu => (judgement(rom, &other), rom.qemu_differs),
        Emulator::Bochs => (by_text(rom, &other), None),
    };
    let name = emulator.name();
    Ok(match (why, theirs, known) {
        (None, None, _) => test(Status::Pass, about),
        (None, Some(theirs), Some(known)) => {
            test(Status::Skip, format!("{about}\n{name} is known to differ: {known}\n{theirs}"))
        }
        (None, Some(theirs), None) => test(Status::Fail, format!("{about}\n{name}: {theirs}")),
        (Some(ours), None, _) => test(Status::Fail, format!("{about}\nring86, but not {name}: {ours}")),
        (Some(ours), Some(theirs), _) => test(Status::Fail, format!("{about}\nboth: {ours}; {theirs}")),
    })
}

/// Why the fact does not hold here, if it does not.
fn failure(rom: &Rom, model: Model, context: &Context) -> Result<Option<String>, String> {
    let mut config = MachineConfig::new();
    config.ram = RAM;
    config.model = model;
    config.engine = context.engine;
    config.debug_exit = Some(EXIT);
    match rom.kind {
        Kind::Multiboot => {
            let payload = image::kernel(rom.name, rom.image, "", None, Entry::Real);
            config.payload = Some(payload.map_err(|error| error.to_string())?);
        }
        Kind::BootSector => {
            let floppy = image::floppy(rom.image.to_vec());
            config.drives.floppies[0] = Bay::Loaded(storage::Image::memory(floppy, false));
        }
    }
    let left = guest::run(config, &Limits { time: TIME, ..Limits::default() })?;
    Ok(judgement(rom, &left))
}

fn judgement(rom: &Rom, left: &guest::Left) -> Option<String> {
    let convention =
        Convention { exit: Some(0), done: Some(rom.name.to_owned()), source: Source::Console, ..Convention::default() };
    let (_, why) = convention.judge(left);
    why.map(|why| format!("{why}\n{}", guest::tail(left)))
}

/// As [`judgement`], where there is no port to end at: by the line that the program writes.
fn by_text(rom: &Rom, left: &guest::Left) -> Option<String> {
    let done = Some(format!("PASS {}", rom.name));
    let (_, why) = Convention { done, source: Source::Console, ..Convention::default() }.judge(left);
    why.map(|why| format!("{why}\n{}", guest::tail(left)))
}
