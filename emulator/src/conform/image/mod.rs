//! The suite `image`: a folder of guests that report by themselves, with a `suite.toml` that says how
//! ([`description`]). Each image is a test, and so is each test that a guest names itself.

pub mod description;

use super::command::Context;
use super::guest::{self, Convention, Limits};
use super::opinion::Emulator;
use super::qemu;
use super::results::{Status, Test};
use super::shard::spread;
use crate::boot::image::{self, Kind};
use crate::boot::linux::Entry;
use crate::config::{MachineConfig, TestPorts};
use crate::drives::Bay;
use crate::session::read_file;
use crate::storage::Image;
use description::{Description, Entry as Described};
use std::path::Path;

/// What an image is started as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Linux, multiboot or ELF.
    Kernel,
    /// A floppy disk.
    Floppy,
    /// A hard disk.
    Disk,
    /// A CD.
    Cd,
    /// In place of the firmware.
    Rom,
}

/// Runs the images of this shard.
///
/// # Errors
/// One sentence.
pub fn run(folder: &Path, context: &Context) -> Result<Vec<Test>, String> {
    let description = description::read(folder)?;
    let images: Vec<&Described> = description
        .images
        .iter()
        .filter(|image| context.wants(&image.name))
        .zip(0..)
        .filter(|(_, number)| context.shard.has(*number))
        .map(|(image, _)| image)
        .collect();
    if let Some(filter) = &context.filter
        && !description.images.iter().any(|image| context.wants(&image.name))
    {
        return Err(format!("--filter {filter}: no image in {} matches", folder.display()));
    }
    let lists = spread(context.jobs, images.len(), |n| one(folder, &description, images[n], context));
    Ok(lists.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn one(folder: &Path, description: &Description, entry: &Described, context: &Context) -> Result<Vec<Test>, String> {
    let suite = match context.against {
        Some(other) => format!("{} against {}", description.name, other.name()),
        None => description.name.clone(),
    };
    let test = |name: &str, status, detail: &str| Test::new(&suite, context.engine_name, name, status, detail);
    if let Some(reason) = &entry.skip {
        return Ok(vec![test(&entry.name, Status::Skip, reason)]);
    }
    let path = folder.join(&entry.name);
    let bytes = read_file(&path).map_err(|error| error.to_string())?;
    let start = start_of(&path, &bytes, entry.start)?;
    let mut convention = description.convention.clone();
    if entry.done.is_some() {
        convention.done.clone_from(&entry.done);
    }
    let limits =
        Limits { time: description.time, until_text: convention.done.clone(), until_post: description.convention.post };
    if let Some(emulator) = context.against {
        return against(emulator, description, &convention, entry, (start, bytes), context, &limits, &test);
    }
    let left = guest::run(config(&path, description, entry, start, bytes, context)?, &limits)?;
    let (named, why) = convention.judge(&left);
    let mut tests: Vec<Test> = Vec::new();
    for (number, one) in (1..).zip(&named) {
        let plain = format!("{}: {}", entry.name, one.name);
        // Guests may give two tests one name.
        let name = if tests.iter().any(|t| t.name == plain) { format!("{plain} ({number})") } else { plain };
        tests.push(test(&name, one.status, ""));
    }
    let detail = match &why {
        None => format!("{}; {} tests of its own", left.end, named.len()),
        Some(why) => format!("{why}\n{}", guest::tail(&left)),
    };
    let mut status = if why.is_some() { Status::Fail } else { Status::Pass };
    let mut detail = detail;
    if let Some(verdict) = &entry.verdict {
        // A failure that has a verdict is left out, and must still be one.
        for test in tests.iter_mut().filter(|test| test.status == Status::Fail) {
            *test = Test::new(&suite, context.engine_name, test.name.clone(), Status::Skip, verdict.clone());
        }
        (status, detail) = match why {
            Some(why) => (Status::Skip, format!("{verdict}\n{why}")),
            None => (Status::Fail, format!("it passes, so its verdict in suite.toml is out of date: {verdict}")),
        };
    }
    tests.push(test(&entry.name, status, &detail));
    Ok(tests)
}

/// Runs a guest here and in another emulator. Both must come to the same judgement of each test.
#[expect(clippy::too_many_arguments, reason = "what one image is, as it was read")]
fn against(
    emulator: Emulator,
    description: &Description,
    convention: &Convention,
    entry: &Described,
    (start, bytes): (Start, Vec<u8>),
    context: &Context,
    limits: &Limits,
    test: &dyn Fn(&str, Status, &str) -> Test,
) -> Result<Vec<Test>, String> {
    if convention.post.is_some() {
        let why = format!("{} does not show POST codes", emulator.name());
        return Ok(vec![test(&entry.name, Status::Skip, &why)]);
    }
    let theirs = match start {
        Start::Kernel => qemu::Image::Kernel(bytes.clone()),
        Start::Floppy => qemu::Image::Floppy(image::floppy(bytes.clone())),
        Start::Disk => qemu::Image::Disk(bytes.clone()),
        Start::Rom => qemu::Image::Rom(bytes.clone()),
        Start::Cd => return Ok(vec![test(&entry.name, Status::Skip, "CDs are not given to other emulators")]),
    };
    let arguments = entry.arguments.as_deref().unwrap_or(&description.arguments);
    if let Some(why) = emulator.unable(&theirs, convention.exit.is_some()) {
        return Ok(vec![test(&entry.name, Status::Skip, why)]);
    }
    let theirs = emulator.run(&theirs, description.ram >> 20, arguments, limits)?;
    let ours =
        guest::run(config(&Path::new("").join(&entry.name), description, entry, start, bytes, context)?, limits)?;
    let (our_named, our_why) = convention.judge(&ours);
    let (their_named, their_why) = convention.judge(&theirs);
    let said = |why: &Option<String>| why.clone().unwrap_or_else(|| "pass".to_owned());
    let detail = format!("ring86: {}\n{}: {}", said(&our_why), emulator.name(), said(&their_why));
    let same = our_named == their_named && our_why.is_some() == their_why.is_some();
    Ok(vec![test(&entry.name, if same { Status::Pass } else { Status::Fail }, &detail)])
}

/// What the file at `path` is started as: as asked, or by what it is.
fn start_of(path: &Path, bytes: &[u8], asked: Option<Start>) -> Result<Start, String> {
    if let Some(start) = asked {
        return Ok(start);
    }
    match image::recognise(bytes, bytes.len() as u64) {
        Some(Kind::Linux | Kind::Multiboot | Kind::Elf) => Ok(Start::Kernel),
        Some(Kind::Floppy) => Ok(Start::Floppy),
        Some(Kind::Disk) => Ok(Start::Disk),
        Some(Kind::Cd) => Ok(Start::Cd),
        // A ROM has a jump 16 bytes before its end.
        None if matches!(bytes.len(), 0x4000 | 0x8000 | 0x1_0000) && matches!(bytes[bytes.len() - 16], 0xE9..=0xEB) => {
            Ok(Start::Rom)
        }
        _ => Err(format!(
            "'{}' ({} bytes) is no image that ring86 knows: say with 'start' in suite.toml whether it is a kernel, floppy, disk, cd or rom",
            path.display(),
            bytes.len()
        )),
    }
}

fn config(
    path: &Path,
    description: &Description,
    entry: &Described,
    start: Start,
    bytes: Vec<u8>,
    context: &Context,
) -> Result<MachineConfig, String> {
    let mut config = MachineConfig::new();
    config.ram = description.ram;
    config.model = context.cpu.or(description.cpu).unwrap_or(config.model);
    config.engine = context.engine;
    config.reboot = false;
    config.debug_exit = description.exit_port;
    config.test_ports = TestPorts { post: description.post_port, device: description.test_device };
    let memory = |bytes| Bay::Loaded(Image::memory(bytes, false));
    match start {
        Start::Kernel => {
            let arguments = entry.arguments.as_deref().unwrap_or(&description.arguments);
            let name = path.display().to_string();
            let payload = image::kernel(&name, &bytes, arguments, None, Entry::Real);
            config.payload = Some(payload.map_err(|error| error.to_string())?);
        }
        Start::Floppy => config.drives.floppies[0] = memory(image::floppy(bytes)),
        Start::Disk => config.drives.disks.push(Image::memory(bytes, false)),
        Start::Cd => config.drives.cd = memory(bytes),
        Start::Rom => config.rom = Some(bytes),
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_is_shows_or_is_said() {
        let path = Path::new("x.bin");
        let mut rom = vec![0; 0x1_0000];
        rom[0xFFF0] = 0xEA;
        assert_eq!(start_of(path, &rom, None), Ok(Start::Rom));
        assert_eq!(start_of(path, &rom, Some(Start::Disk)), Ok(Start::Disk));
        let error = start_of(path, b"text", None).unwrap_err();
        assert!(error.starts_with("'x.bin' (4 bytes) is no image that ring86 knows: say with 'start'"), "{error}");
    }
}
