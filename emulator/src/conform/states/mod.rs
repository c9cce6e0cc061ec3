//! The suite `states`: programs with the state that they must end in, written by others. A folder is searched for
//! files of the kinds that [`x86emu`], [`valgrind`] and [`headed`] read.

mod assemble;
pub mod headed;
pub mod valgrind;
pub mod x86emu;

use super::command::Context;
use super::results::{Status, Test};
use super::shard::{Shard, spread};
use crate::config::Engine;
use crate::error::Error;
use ring86_translator::state::{Segment, attr, cr};
use ring86_translator::{Cpu, Exit, Memory, Model, NullBus, Pins};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs what belongs to this shard: a file is one piece of work.
///
/// # Errors
/// One sentence.
pub fn run(folder: &Path, context: &Context) -> Result<Vec<Test>, String> {
    let verdicts = Verdicts::read(folder)?;
    let entries = std::fs::read_dir(folder).map_err(|error| Error::io("read", folder, &error).to_string())?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.sort();
    let files: Vec<(Reader, PathBuf)> =
        files.into_iter().filter_map(|path| reader_of(&path).map(|reader| (reader, path))).collect();
    if files.is_empty() {
        return Err(format!(
            "{}: no .init, .def or .asm file with a JSON header here (for .init files run the suite's own prepare_test)",
            folder.display()
        ));
    }
    let mine: Vec<&(Reader, PathBuf)> =
        files.iter().zip(0..).filter(|(_, number)| context.shard.has(*number)).map(|(file, _)| file).collect();
    let lists = spread(context.jobs, mine.len(), |n| {
        let (reader, path) = mine[n];
        reader(path, context)
    });
    let mut tests = Vec::new();
    for list in lists {
        tests.extend(list?.into_iter().filter(|test| context.wants(&test.name)).map(|test| verdicts.apply(test)));
    }
    if let Some(filter) = context.filter.as_ref().filter(|_| tests.is_empty() && context.shard == Shard::WHOLE) {
        return Err(format!("--filter {filter}: no test in {} matches", folder.display()));
    }
    Ok(tests)
}

type Reader = fn(&Path, &Context) -> Result<Vec<Test>, String>;

fn reader_of(path: &Path) -> Option<Reader> {
    match path.extension()?.to_str()? {
        "init" => Some(x86emu::run),
        "def" => Some(valgrind::run),
        "asm" if headed::is_test(path) => Some(headed::run),
        _ => None,
    }
}

/// The name of a file, for tests in it.
fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A file's text.
fn read_text(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, &error).to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Tests that may fail, with the reason: lines `NAME: REASON` of the file `verdicts.txt` in the folder.
struct Verdicts(BTreeMap<String, String>);

impl Verdicts {
    fn read(folder: &Path) -> Result<Verdicts, String> {
        let path = folder.join("verdicts.txt");
        let Ok(text) = std::fs::read_to_string(&path) else { return Ok(Verdicts(BTreeMap::new())) };
        let mut verdicts = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, reason) = line
                .split_once(": ")
                .ok_or_else(|| format!("{}, line {number}: not of the form 'NAME: REASON'", path.display()))?;
            verdicts.insert(name.to_owned(), reason.trim().to_owned());
        }
        Ok(Verdicts(verdicts))
    }

    /// A failure that has a verdict is left out; a verdict on what passes is a failure itself.
    fn apply(&self, test: Test) -> Test {
        let Some(reason) = self.0.get(&test.name) else { return test };
        let (status, detail) = match test.status {
            Status::Fail => (Status::Skip, format!("{reason}\n{}", test.detail)),
            Status::Pass => (Status::Fail, format!("it passes, so its verdict is out of date: {reason}")),
            _ => return test,
        };
        Test::new(&test.suite, &test.engine, test.name, status, detail)
    }
}

/// A CPU with nothing but 4 GiB of memory around it.
struct Bench {
    cpu: Cpu,
    memory: Arc<Memory>,
}

/// Flat code and data segments of 32 bits, at CPL 0.
fn flat_segment(code: bool, selector: u16) -> Segment {
    let kind = if code { attr::REAL_CODE } else { attr::REAL_DATA };
    Segment { base: 0, limit: u32::MAX, attr: kind | attr::G | attr::DB, selector }
}

impl Bench {
    fn new(model: Option<Model>, engine: Engine) -> Result<Bench, String> {
        let pins = Arc::new(Pins::default());
        pins.set_a20(true);
        let memory = Memory::flat(1 << 32, pins.clone()).map_err(|error| format!("no guest memory: {error}"))?;
        let memory = Arc::new(memory);
        let mut cpu = Cpu::new(model.unwrap_or(Model::Max), memory.clone(), pins);
        engine.apply(&mut cpu).map_err(|error| error.to_string())?;
        Ok(Bench { cpu, memory })
    }

    /// Protected mode with flat segments, SSE on, no paging.
    fn enter_flat(&mut self) {
        let s = &mut self.cpu.state;
        for (index, segment) in s.segs.iter_mut().enumerate() {
            *segment = if index == 1 { flat_segment(true, 8) } else { flat_segment(false, 16) };
        }
        s.cr0 = cr::PE | cr::ET | cr::NE | cr::MP;
        s.cr4 = cr::OSFXSR | cr::OSXMMEXCPT;
        s.cpl = 0;
        s.update_mode();
        self.cpu.flush();
    }

    fn write(&self, address: u32, bytes: &[u8]) {
        self.memory.dma_write(u64::from(address), bytes);
    }

    fn read(&self, address: u32, bytes: &mut [u8]) {
        self.memory.dma_read(u64::from(address), bytes);
    }

    /// Runs to HLT. Gives what happened instead, if something did.
    fn run_to_halt(&mut self) -> Option<String> {
        for _ in 0..1000 {
            match self.cpu.run(&mut NullBus, 10_000) {
                Exit::Budget | Exit::Attention => {}
                Exit::Halted => return None,
                Exit::Exception(fault) => return Some(format!("exception {}", fault.vector)),
                Exit::TripleFault(fault) => return Some(fault.report.trim_end().to_owned()),
            }
        }
        Some("no HLT within 10 million instructions".to_owned())
    }
}
