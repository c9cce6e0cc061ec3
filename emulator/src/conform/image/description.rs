//! `suite.toml`: which images a folder holds, and how they say what they found. docs/conformance.md explains it.

use super::Start;
use crate::config;
use crate::conform::fields::{self, Fields};
use crate::conform::guest::{Convention, Source};
use ring86_translator::Model;
use std::path::Path;
use toml::Value;

/// Name of the file.
pub const FILE: &str = "suite.toml";

/// What a `suite.toml` says.
#[derive(Clone, Debug)]
pub struct Description {
    /// Name of the suite in reports.
    pub name: String,
    /// How guests report.
    pub convention: Convention,
    /// Port of the debug-exit device.
    pub exit_port: Option<u16>,
    /// Port of POST codes.
    pub post_port: Option<u16>,
    /// Whether the machine has the test device's ports.
    pub test_device: bool,
    /// Bytes of RAM.
    pub ram: u64,
    /// The model, if the suite wants one.
    pub cpu: Option<Model>,
    /// Nanoseconds of guest time for each image.
    pub time: u64,
    /// A kernel's arguments.
    pub arguments: String,
    /// The images, in the order of their names.
    pub images: Vec<Entry>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// File name in the folder.
    pub name: String,
    /// Arguments in place of the suite's.
    pub arguments: Option<String>,
    /// What it is started as, if its bytes do not show it.
    pub start: Option<Start>,
    /// What it must say in place of the suite's text.
    pub done: Option<String>,
    /// Why it is not run.
    pub skip: Option<String>,
    /// Why it may fail.
    pub verdict: Option<String>,
}

/// Keys of the whole, of `[[image]]`, and of the conventions' tables.
const KEYS: [&str; 14] = [
    "name",
    "convention",
    "memory",
    "cpu",
    "seconds",
    "arguments",
    "images",
    "start",
    "exit",
    "post",
    "text",
    "image",
    "test-device",
    "comment",
];

/// Reads the description in `folder`.
///
/// # Errors
/// One sentence that names file, field and fix.
pub fn read(folder: &Path) -> Result<Description, String> {
    let path = folder.join(FILE);
    let name = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{name}: there is no such file; it says how the images report"),
        _ => format!("{name}: {error}"),
    })?;
    let files = fields::files(folder)?;
    parse(&text, &files).map_err(|error| format!("{name}: {error}"))
}

fn parse(text: &str, files: &[String]) -> Result<Description, String> {
    let table = fields::table(text)?;
    let fields = Fields { table: &table, place: "" };
    fields.known(&KEYS)?;
    let mut description = preset(&fields.text("convention")?.unwrap_or_else(|| "exit".to_owned()))?;
    description.name = fields.text("name")?.ok_or("name is missing: what reports call the suite")?;
    if let Some(memory) = fields.text("memory")? {
        description.ram = config::parse_ram(&memory).map_err(|error| error.to_string().replace("-m ", "memory "))?;
    }
    if let Some(cpu) = fields.text("cpu")? {
        description.cpu = Some(cpu.parse().map_err(|_| format!("cpu {cpu} is no model"))?);
    }
    if let Some(seconds) = fields.number("seconds", 1_000_000)? {
        description.time = seconds as u64 * 1_000_000_000;
    }
    if let Some(flag) = fields.flag("test-device")? {
        description.test_device = flag;
    }
    description.arguments = fields.text("arguments")?.unwrap_or_default();
    report(&fields, &mut description)?;
    let start = fields.text("start")?.map(|start| named_start(&start)).transpose()?;
    description.images = images(&fields, files, start)?;
    Ok(description)
}

/// What a named convention stands for.
fn preset(name: &str) -> Result<Description, String> {
    let mut description = Description {
        name: String::new(),
        convention: Convention::default(),
        exit_port: None,
        post_port: None,
        test_device: false,
        ram: 64 << 20,
        cpu: None,
        time: 60_000_000_000,
        arguments: String::new(),
        images: Vec::new(),
    };
    let convention = &mut description.convention;
    let marks = || ["PASS", "FAIL", "SKIP"].map(|mark| Some(mark.to_owned()));
    match name {
        // Written to a port: a program that ends with 0 has passed.
        "exit" => {
            description.exit_port = Some(0xF4);
            convention.exit = Some(0);
        }
        // The same, with one line for each test on COM1, and the test device.
        "kvm-unit-tests" => {
            description.exit_port = Some(0xF4);
            description.test_device = true;
            convention.exit = Some(0);
            convention.source = Source::Serial;
            convention.marks = marks();
        }
        // A ROM in place of the firmware that counts up on a POST port and ends with FFh.
        "test386" => {
            description.post_port = Some(0x190);
            convention.post = Some(0xFF);
        }
        // Nothing but what the tables below say.
        "text" => convention.marks = marks(),
        "post" => {
            description.post_port = Some(0x80);
            convention.post = Some(0xFF);
        }
        _ => return Err(format!("convention {name} is none of exit, kvm-unit-tests, test386, post, text")),
    }
    Ok(description)
}

/// The tables `[exit]`, `[post]` and `[text]`, which change a convention or make one.
fn report(fields: &Fields, description: &mut Description) -> Result<(), String> {
    let convention = &mut description.convention;
    if let Some(table) = fields.table("exit")? {
        let exit = Fields { table, place: "exit." };
        exit.known(&["port", "pass"])?;
        description.exit_port = exit.number("port", 0xFFFF)?.map_or(Some(0xF4), |port| Some(port as u16));
        convention.exit = Some(exit.number("pass", 0xFFFF_FFFF)?.unwrap_or(0) as u32);
    }
    if let Some(table) = fields.table("post")? {
        let post = Fields { table, place: "post." };
        post.known(&["port", "pass"])?;
        description.post_port = post.number("port", 0xFFFF)?.map_or(Some(0x80), |port| Some(port as u16));
        convention.post = Some(post.number("pass", 0xFF)?.unwrap_or(0xFF) as u8);
    }
    if let Some(table) = fields.table("text")? {
        let text = Fields { table, place: "text." };
        text.known(&["from", "pass", "fail", "skip", "done", "never"])?;
        convention.source = match text.text("from")?.as_deref() {
            None => convention.source,
            Some("serial") => Source::Serial,
            Some("e9") => Source::Console,
            Some("both") => Source::Both,
            Some(other) => return Err(format!("text.from {other} is none of serial, e9, both")),
        };
        for (mark, key) in convention.marks.iter_mut().zip(["pass", "fail", "skip"]) {
            if let Some(given) = text.text(key)? {
                *mark = Some(given).filter(|given| !given.is_empty());
            }
        }
        convention.done = text.text("done")?;
        convention.never = text.text("never")?;
    }
    Ok(())
}

fn named_start(name: &str) -> Result<Start, String> {
    match name {
        "kernel" => Ok(Start::Kernel),
        "floppy" => Ok(Start::Floppy),
        "disk" => Ok(Start::Disk),
        "cd" => Ok(Start::Cd),
        "rom" => Ok(Start::Rom),
        _ => Err(format!("start {name} is none of kernel, floppy, disk, cd, rom")),
    }
}

fn images(fields: &Fields, files: &[String], start: Option<Start>) -> Result<Vec<Entry>, String> {
    let mut images: Vec<Entry> = fields
        .chosen("images", files)?
        .into_iter()
        .filter(|file| file != FILE)
        .map(|name| Entry { name, arguments: None, start, done: None, skip: None, verdict: None })
        .collect();
    for value in fields.table.get("image").and_then(Value::as_array).into_iter().flatten() {
        let table = value.as_table().ok_or("image must be a table: [[image]]")?;
        let image = Fields { table, place: "image." };
        image.known(&["name", "arguments", "start", "done", "skip", "verdict"])?;
        let name = image.text("name")?.ok_or("image.name is missing")?;
        if !files.contains(&name) {
            return Err(format!("image.name: there is no file '{name}'"));
        }
        let start = image.text("start")?.map(|start| named_start(&start)).transpose()?.or(start);
        let entry = Entry {
            name: name.clone(),
            arguments: image.text("arguments")?,
            start,
            done: image.text("done")?,
            skip: image.text("skip")?,
            verdict: image.text("verdict")?,
        };
        match images.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = entry,
            None => images.push(entry),
        }
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    if images.is_empty() {
        return Err("there is no image in this folder".to_owned());
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<String> {
        ["a.flat", "b.flat", "notes.txt", FILE].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_convention_is_filled_in_and_changed() {
        let text = "name = 'units'\nconvention = 'kvm-unit-tests'\nimages = ['*.flat']\nmemory = '128M'\nseconds = 5\n\
                    arguments = 'x y'\n[text]\nfrom = 'both'\nskip = ''\n[[image]]\nname = 'b.flat'\nskip = 'no APIC'\n";
        let description = parse(text, &files()).unwrap();
        assert_eq!((description.exit_port, description.convention.exit), (Some(0xF4), Some(0)));
        assert!(description.test_device);
        assert_eq!((description.ram, description.time), (128 << 20, 5_000_000_000));
        let marks = description.convention.marks.map(|mark| mark.unwrap_or_default());
        assert_eq!(marks, ["PASS", "FAIL", ""]);
        let images: Vec<_> = description.images.iter().map(|i| (i.name.as_str(), i.skip.as_deref())).collect();
        assert_eq!(images, [("a.flat", None), ("b.flat", Some("no APIC"))]);
    }

    #[test]
    fn mistakes_are_one_sentence() {
        for (text, says) in [
            ("", "name is missing"),
            ("name = 1", "name must be a text in quotes"),
            ("name = 'x'\nconvention = 'y'", "convention y is none of exit,"),
            ("name = 'x'\nspeed = 1", "speed is no key; there are name,"),
            ("name = 'x'\nmemory = 'lots'", "memory lots: not a size"),
            ("name = 'x'\ncpu = '6502'", "cpu 6502 is no model"),
            ("name = 'x'\nseconds = -1", "seconds must be a number from 0"),
            ("name = 'x'\n[exit]\nport = 70000", "exit.port must be a number from 0 to 0xffff"),
            ("name = 'x'\n[text]\nfrom = 'lpt'", "text.from lpt is none of"),
            ("name = 'x'\nimages = ['*.iso']", "images: no file is like '*.iso'"),
            ("name = 'x'\n[[image]]\nname = 'c'", "image.name: there is no file 'c'"),
            ("name = 'x'\nstart = 'tape'", "start tape is none of"),
            ("name = 'x\n", "line 1: "),
        ] {
            let error = parse(text, &files()).unwrap_err();
            assert!(error.contains(says) && !error.contains('\n'), "{text}: {error}");
        }
        let error = read(Path::new("/nowhere")).unwrap_err();
        assert_eq!(error, "/nowhere/suite.toml: there is no such file; it says how the images report");
    }
}
