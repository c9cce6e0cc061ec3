//! Runs recorded tests: one instruction from a state captured on a real chip to the state the chip left.

use super::coverage::{Cell, Key, code_name, describe_mask, kind_of_instruction};
use super::masks::{Mask, NOTHING_LEFT_OUT};
use super::moo::{self, Registers, Test};
use super::refused::Refused;
use super::results::{self, Reproducer, Results};
use super::shard::Shard;
use super::vectors_json;
use crate::config::Engine;
use crate::error::Error;
use iced_x86::{Decoder, DecoderOptions};
use ring86_translator::{Cpu, Exit, Memory, Model, NullBus, Pins, state};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bits of FLAGS that exist on every model. The four topmost read as ones on the 8086 and depend on the mode later:
/// what PUSHF shows of them is compared where it lands in memory.
const FLAGS: u32 = 0x0FD5;

const PREFIXES: [u8; 7] = [0x26, 0x2E, 0x36, 0x3E, 0xF0, 0xF2, 0xF3];

/// Guest memory: more than real mode reaches.
const RAM: usize = 0x20_0000;

/// What real mode reaches: 1 MiB and nearly 64 KiB above it.
const REACH: usize = 0x11_0000;

/// Result of one file.
#[derive(Clone, Debug, Default)]
pub struct FileOutcome {
    /// File name.
    pub name: String,
    /// Tests run.
    pub tests: u64,
    /// Tests that differ.
    pub failed: u64,
    /// Tests left out, with the reason why.
    pub skipped: BTreeMap<&'static str, u64>,
    /// One line for each of the first differences.
    pub lines: Vec<String>,
    /// By iced code.
    cells: BTreeMap<u16, Cell>,
    /// The first difference.
    first: Option<Reproducer>,
}

/// Result of a folder.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// One entry a file, by name.
    pub files: Vec<FileOutcome>,
}

impl Outcome {
    /// Tests run, tests that differ.
    pub fn counts(&self) -> (u64, u64) {
        self.files.iter().fold((0, 0), |(tests, failed), file| (tests + file.tests, failed + file.failed))
    }

    /// The summary line.
    pub fn summary(&self) -> String {
        let (tests, failed) = self.counts();
        let skipped: u64 = self.files.iter().flat_map(|file| file.skipped.values()).sum();
        format!("vectors: {} files, {tests} tests, {skipped} skipped, {failed} differences", self.files.len())
    }

    /// Adds a test for each file, and the cells of the coverage matrix.
    pub fn add_to(self, results: &mut Results, engine: &str, folder: &Path) {
        let place = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        for file in self.files {
            let name = if place.is_empty() { file.name } else { format!("{place}/{}", file.name) };
            let mut test = results::Test::of_cases("vectors", engine, name, file.tests, file.failed);
            test.skipped = file.skipped.values().sum();
            let skipped = file.skipped.iter().map(|(reason, count)| format!("{count} left out: {reason}"));
            test.detail = skipped.chain(file.lines).collect::<Vec<_>>().join("\n");
            test.reproducer = file.first;
            results.tests.push(test);
            for (code, cell) in file.cells {
                let key =
                    Key { code: code_name(code), mode: 16, judge: "vectors".to_owned(), engine: engine.to_owned() };
                results.cells.entry(key).or_default().add(&cell);
            }
        }
    }
}

/// The undefined flags of a folder of 8086 tests, by file stem ("F6.7"), from its metadata.json.
type Masks = BTreeMap<String, u32>;

fn read_metadata(folder: &Path) -> Result<Masks, String> {
    let path = folder.join("metadata.json");
    let mut masks = Masks::new();
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(masks) };
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let mask = |entry: &serde_json::Value| entry["flags-mask"].as_u64().map(|mask| mask as u32);
    for (opcode, entry) in json["opcodes"].as_object().into_iter().flatten() {
        if let Some(mask) = mask(entry) {
            masks.insert(opcode.clone(), mask);
        }
        for (reg, entry) in entry["reg"].as_object().into_iter().flatten() {
            if let Some(mask) = mask(entry) {
                masks.insert(format!("{opcode}.{reg}"), mask);
            }
        }
    }
    Ok(masks)
}

/// Tests of the 80286 left out, by file stem and index: the flags that IDIV leaves at #DE, which the manual calls
/// undefined and the model of the long division gets wrong. See docs/verdicts.md.
const IDIV_FLAGS: [(&str, &[u32]); 2] = [("F6.7", &[1815]), ("F7.7", &[1695, 2379, 3183, 4539])];

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// A folder of MOO or JSON files, or one file.
    pub path: PathBuf,
    /// The CPU under test; without it, what MOO files say that they were recorded on.
    pub model: Option<Model>,
    /// Engine under test.
    pub engine: Engine,
    /// Threads.
    pub threads: usize,
    /// Differences shown for each file.
    pub lines_per_file: usize,
    /// Only files whose name contains one of these, in lower case, separated by commas.
    pub filter: Option<String>,
    /// Which part of the files.
    pub shard: Shard,
    /// Only the test with this number.
    pub only: Option<u32>,
}

/// The model that a set of tests was recorded on, and whether the tests end in HLT.
fn recorded_on(tag: &str) -> Option<Model> {
    match tag {
        "8086" | "8088" => Some(Model::I8086),
        "C286" => Some(Model::I286),
        "386E" => Some(Model::I386),
        _ => None,
    }
}

fn is_vectors(name: &str) -> bool {
    let name = name.to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.ends_with(".moo") || name.ends_with(".json") && name != "metadata.json"
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The files of a plan, and the folder they are in.
fn paths(plan: &Plan) -> Result<(PathBuf, Vec<PathBuf>), String> {
    if !plan.path.is_dir() {
        return Ok((plan.path.parent().unwrap_or(Path::new("")).to_path_buf(), vec![plan.path.clone()]));
    }
    let entries = std::fs::read_dir(&plan.path).map_err(|error| Error::io("read", &plan.path, &error).to_string())?;
    let all = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = all.filter(|path| is_vectors(&file_name(path))).collect();
    if paths.is_empty() {
        return Err(format!("{}: no .MOO, .MOO.gz or .json file here", plan.path.display()));
    }
    if let Some(filter) = &plan.filter {
        paths.retain(|path| filter.split(',').any(|part| file_name(path).to_lowercase().contains(part)));
        if paths.is_empty() {
            return Err(format!("--filter {filter}: no file in {} matches", plan.path.display()));
        }
    }
    paths.sort();
    Ok((plan.path.clone(), paths))
}

fn read(path: &Path, model: Option<Model>) -> Result<moo::File, String> {
    let name = file_name(path).to_lowercase();
    if name.ends_with(".json") || name.ends_with(".json.gz") {
        vectors_json::read(path, model)
    } else {
        moo::read(path)
    }
}

/// The model that a file was recorded on, if Ring86 has it and it is the one asked for.
fn model_of(path: &Path, file: &moo::File, asked: Option<Model>) -> Result<Model, String> {
    match recorded_on(&file.cpu) {
        None => Err(format!("{}: tests of a CPU that Ring86 has no model of ({})", path.display(), file.cpu)),
        Some(model) if asked.is_some_and(|asked| asked != model) => {
            let asked = asked.unwrap_or(model);
            Err(format!("{}: tests of the {model}, but the CPU asked for is {asked}", path.display()))
        }
        Some(model) => Ok(model),
    }
}

/// Runs every file. The error is one sentence.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    let (folder, paths) = paths(plan)?;
    let model = match plan.model {
        Some(model) => model,
        None => model_of(&paths[0], &read(&paths[0], None)?, None)?,
    };
    let mine: Vec<&PathBuf> = (0..).zip(&paths).filter(|(number, _)| plan.shard.has(*number)).map(|(_, p)| p).collect();
    let masks = read_metadata(&folder)?;
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..plan.threads.max(1) {
            scope.spawn(|| {
                let bench = Bench::new(model, plan.engine);
                let Ok(mut bench) = bench.map_err(|error| {
                    results.lock().unwrap_or_else(PoisonError::into_inner).push(Err(error));
                }) else {
                    return;
                };
                while let Some(path) = mine.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = bench.file(path, plan, model, &masks);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut files = results.into_iter().collect::<Result<Vec<_>, String>>()?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Outcome { files })
}

/// One CPU in real mode.
struct Bench {
    cpu: Cpu,
    memory: Arc<Memory>,
    /// What the last test left: addresses to clear.
    dirty: Vec<u32>,
    refused: Refused,
}

/// What the CPU under test left.
struct Left {
    registers: Registers,
    shutdown: bool,
}

impl Bench {
    fn new(model: Model, engine: Engine) -> Result<Bench, String> {
        let pins = Arc::new(Pins::default());
        pins.set_a20(true);
        let memory = Arc::new(Memory::flat(RAM, pins.clone()).map_err(|error| format!("no guest memory: {error}"))?);
        let mut cpu = Cpu::new(model, memory.clone(), pins);
        engine.apply(&mut cpu).map_err(|e| e.to_string())?;
        Ok(Bench { cpu, memory, dirty: Vec::new(), refused: Refused::default() })
    }

    fn file(&mut self, path: &Path, plan: &Plan, model: Model, masks: &Masks) -> Result<FileOutcome, String> {
        let file = read(path, plan.model)?;
        let name = file_name(path);
        model_of(path, &file, Some(model))?;
        let stem = name.split(".MOO").next().unwrap_or_default().split(".json").next().unwrap_or_default().to_string();
        let defined = match model {
            Model::I8086 => masks.get(&stem).copied().unwrap_or(u32::MAX),
            _ => u32::MAX,
        };
        if file.is_empty() {
            return Err(format!("{}: no tests in it", path.display()));
        }
        let eflags = file.mask.map_or(u32::MAX, |mask| mask.flags) & defined;
        let masks = describe_mask(&Mask { eflags, ..NOTHING_LEFT_OUT });
        let mut outcome = FileOutcome { name, ..FileOutcome::default() };
        let wrong = IDIV_FLAGS.iter().find(|(of, _)| model == Model::I286 && *of == stem).map_or(&[][..], |w| w.1);
        let mut test = Test::default();
        for position in 0..file.len() {
            file.read_test(position, &mut test).map_err(|error| format!("{}: {error}", path.display()))?;
            if plan.only.is_some_and(|only| only != test.index) {
                continue;
            }
            if wrong.contains(&test.index) {
                *outcome.skipped.entry("undefined flags of IDIV").or_default() += 1;
                continue;
            }
            let mut mask = Registers::all();
            for given in [file.mask, test.mask].into_iter().flatten() {
                mask = given;
            }
            mask.flags &= FLAGS & defined;
            let verdict = self.test(&test, model, &mask);
            if !matches!(verdict, Verdict::Skipped(_)) {
                let instruction = Decoder::new(16, &test.bytes, DecoderOptions::NO_INVALID_CHECK).decode();
                let kind = kind_of_instruction(&instruction, test.exception.is_some()) as usize;
                let cell = outcome.cells.entry(instruction.code() as u16);
                let cell = cell.or_insert_with(|| Cell { masks: masks.clone(), ..Cell::default() });
                cell.counts[kind].0 += 1;
                if let Verdict::Different(differences) = &verdict {
                    cell.counts[kind].1 += 1;
                    let reproducer = cell.reproducers[kind].get_or_insert_with(|| Reproducer {
                        line: format!("vectors={} test={} cpu={model}", path.display(), test.index),
                        text: explain(&test, &self.left(false).registers, differences),
                    });
                    // The file's first difference is the first of its cell, too.
                    outcome.first.get_or_insert_with(|| reproducer.clone());
                }
            }
            match verdict {
                Verdict::Same => outcome.tests += 1,
                Verdict::Skipped(reason) => *outcome.skipped.entry(reason).or_default() += 1,
                Verdict::Different(text) => {
                    outcome.tests += 1;
                    outcome.failed += 1;
                    let bytes: String = test.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    if outcome.lines.len() < plan.lines_per_file {
                        outcome.lines.push(format!("{} #{} {bytes} | {} |{text}", outcome.name, test.index, test.name));
                    }
                }
            }
        }
        if let Some(refused) = self.refused.since(&self.cpu) {
            outcome.failed += 1;
            outcome.lines.push(format!("{} | {refused}", outcome.name));
        }
        self.clear();
        if let Some(address) = self.stray() {
            outcome.failed += 1;
            outcome.lines.push(format!("{} | a test wrote where none of them does: {address:05x}", outcome.name));
        }
        Ok(outcome)
    }

    /// Clears what the last test may have left.
    fn clear(&mut self) {
        const ZERO: [u8; 64] = [0; 64];
        let dirty = &mut self.dirty;
        dirty.sort_unstable();
        dirty.dedup();
        for run in dirty.chunk_by(|a, b| a + 1 == *b) {
            let mut at = u64::from(run[0]);
            for part in run.chunks(ZERO.len()) {
                self.memory.store(at, &ZERO[..part.len()]);
                at += part.len() as u64;
            }
        }
        dirty.clear();
    }

    /// The first byte of memory that is not zero, which it is everywhere between files; all of it is zero after.
    fn stray(&self) -> Option<usize> {
        let ram = self.memory.ram();
        // In words: this looks at a megabyte after every file.
        let mut words = (0..REACH).step_by(8).filter(|at| ram.read::<u64>(*at) != 0);
        let word = words.next()?;
        let found = (word..word + 8).find(|at| ram.read::<u8>(*at) != 0);
        self.memory.dma_write(word as u64, &vec![0; REACH - word]);
        found
    }

    /// Writes what a test lists, in runs: the instruction's bytes follow each other. All addresses are below [`RAM`],
    /// which the memory map has in its place.
    fn poke(&mut self, list: &[(u32, u8)]) {
        let mut bytes = [0; 64];
        for run in list.chunk_by(|a, b| a.0 + 1 == b.0) {
            for part in run.chunks(bytes.len()) {
                for (byte, (_, value)) in bytes.iter_mut().zip(part) {
                    *byte = *value;
                }
                self.memory.store(u64::from(part[0].0), &bytes[..part.len()]);
            }
        }
        self.dirty.extend(list.iter().map(|(address, _)| *address));
    }

    fn test(&mut self, test: &Test, model: Model, mask: &Registers) -> Verdict {
        if test.initial_memory.iter().any(|(address, _)| *address as usize >= RAM) {
            return Verdict::Skipped("memory above 2 MiB");
        }
        self.clear();
        self.poke(&test.initial_memory);
        self.dirty.extend(test.last_memory.iter().map(|(address, _)| *address).filter(|at| (*at as usize) < RAM));
        self.load(&test.initial);
        let exceptions = self.cpu.stats.exceptions;
        let left = if model == Model::I8086 { self.run_one() } else { self.run_to_halt() };
        let verdict = self.compare(test, model, mask, &left);
        let escape = test.bytes.iter().find(|byte| !PREFIXES.contains(byte)).is_some_and(|byte| byte >> 3 == 0x1B);
        let overrun = escape && test.exception.is_none() && self.cpu.stats.exceptions != exceptions;
        match verdict {
            // The board that the 80286 tests were recorded on had no coprocessor, so the operand was not read.
            Verdict::Different(_) if overrun => {
                // What delivering the exception wrote is no stray write.
                self.stray();
                Verdict::Skipped("coprocessor operand beyond the segment")
            }
            verdict => verdict,
        }
    }

    fn load(&mut self, registers: &Registers) {
        self.cpu.reset();
        let s = &mut self.cpu.state;
        for (reg, value) in registers.gpr.iter().enumerate() {
            s.slots[reg] = u64::from(*value);
        }
        for (index, selector) in registers.segments.iter().enumerate() {
            let attr = s.segs[index].attr;
            s.segs[index] = state::Segment { attr, ..state::Segment::real(*selector) };
        }
        s.idtr = state::TableReg { base: 0, limit: 0x3FF };
        s.rip = u64::from(registers.ip);
        s.set_eflags(registers.flags & (FLAGS | 0x1002) & !0x1000 | 2);
        s.update_mode();
    }

    fn left(&self, shutdown: bool) -> Left {
        let s = &self.cpu.state;
        Left {
            registers: Registers {
                gpr: std::array::from_fn(|reg| s.slots[reg] as u32),
                segments: std::array::from_fn(|index| s.segs[index].selector),
                ip: s.rip as u32,
                flags: s.eflags(),
                system: [0; 4],
            },
            shutdown,
        }
    }

    fn run_one(&mut self) -> Left {
        let start = self.cpu.state.rip;
        let mut shutdown = false;
        // A repeated string instruction may stop between iterations.
        for _ in 0..0x2_0000 {
            match self.cpu.run(&mut NullBus, 1) {
                Exit::Budget if self.cpu.state.rip == start && self.repeats(start) => {}
                Exit::TripleFault(_) => {
                    shutdown = true;
                    break;
                }
                _ => break,
            }
        }
        self.left(shutdown)
    }

    /// Whether the instruction at IP begins with REP.
    fn repeats(&self, ip: u64) -> bool {
        let mut bytes = [0; 8];
        self.memory.dma_read(self.cpu.state.segs[1].base + ip, &mut bytes);
        bytes
            .iter()
            .take_while(|byte| matches!(byte, 0x26 | 0x2E | 0x36 | 0x3E | 0xF0 | 0xF2 | 0xF3))
            .any(|b| *b >= 0xF2)
    }

    fn run_to_halt(&mut self) -> Left {
        for _ in 0..64 {
            match self.cpu.run(&mut NullBus, 1000) {
                Exit::Budget => {}
                Exit::TripleFault(_) => return self.left(true),
                _ => break,
            }
        }
        self.left(false)
    }

    fn compare(&self, test: &Test, model: Model, mask: &Registers, left: &Left) -> Verdict {
        use std::fmt::Write as _;
        if left.shutdown && test.exception.is_some() && test.initial.gpr[4] as u16 <= 6 {
            // No room to push the frame: the chip shuts down, and the recording shows what its bus did then.
            return Verdict::Skipped("CPU shutdown");
        }
        let mut text = String::new();
        let mut note = |name: &str, expected: u32, got: u32| {
            let _ = write!(text, " {name}: {expected:x}/{got:x}");
        };
        let (e, g) = (&test.last, &left.registers);
        let width = if model >= Model::I386 { u32::MAX } else { 0xFFFF };
        for (reg, name) in ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"].into_iter().enumerate() {
            if (e.gpr[reg] ^ g.gpr[reg]) & mask.gpr[reg] & width != 0 {
                note(name, e.gpr[reg], g.gpr[reg]);
            }
        }
        for (index, name) in ["es", "cs", "ss", "ds", "fs", "gs"].into_iter().enumerate() {
            if index < 4 || model >= Model::I386 {
                let (e, g) = (e.segments[index], g.segments[index]);
                if e != g {
                    note(name, u32::from(e), u32::from(g));
                }
            }
        }
        if (e.ip ^ g.ip) & mask.ip & width != 0 {
            note("ip", e.ip, g.ip);
        }
        if (e.flags ^ g.flags) & mask.flags != 0 {
            note("flags", e.flags, g.flags);
        }
        if left.shutdown {
            note("shutdown", 0, 1);
        }
        // Flags pushed for an exception are masked like the register. They are the top of the frame; the address in
        // the recording is the bus's, without bit 0. The 8086 sets do not name exceptions: a divide error pushed
        // three words.
        let excepted = match model {
            Model::I8086 => e.gpr[4] == test.initial.gpr[4].wrapping_sub(6) & 0xFFFF,
            _ => test.exception.is_some(),
        };
        let top = (u32::from(e.segments[2]) << 4) + (e.gpr[4].wrapping_add(4) & 0xFFFF);
        let flags_at = excepted.then_some(if model == Model::I8086 { top & 0xF_FFFF } else { top });
        // Memory after a test is what it lists, and what was there before elsewhere.
        let kept = test.initial_memory.iter().filter(|(at, _)| test.last_memory.iter().all(|(other, _)| other != at));
        for &(address, expected) in kept.chain(&test.last_memory) {
            // Nothing answers above.
            let got = if (address as usize) < RAM { self.memory.ram().read::<u8>(address as usize) } else { 0 };
            let bits = match flags_at.map(|at| address.wrapping_sub(at)) {
                Some(0) => mask.flags as u8 | !FLAGS as u8,
                // The topmost four flags depend on the chip, not on the instruction.
                Some(1) if model == Model::I8086 => (mask.flags >> 8) as u8 | 0xF0,
                Some(1) => (mask.flags >> 8) as u8,
                _ => 0xFF,
            };
            if (expected ^ got) & bits != 0 {
                note(&format!("[{address:05x}]"), u32::from(expected), u32::from(got));
            }
        }
        if text.is_empty() { Verdict::Same } else { Verdict::Different(text) }
    }
}

/// A case in several lines.
fn explain(test: &Test, got: &Registers, differences: &str) -> String {
    use std::fmt::Write as _;
    let bytes: Vec<String> = test.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut text = format!("{}  ({}, test {})\n", bytes.join(" "), test.name, test.index);
    for (name, registers) in [("before", &test.initial), ("judge ", &test.last), ("ring86", got)] {
        let _ = write!(text, "{name} ");
        for (reg, value) in ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"].iter().zip(registers.gpr) {
            let _ = write!(text, " {reg}={value:04x}");
        }
        for (segment, value) in ["es", "cs", "ss", "ds"].iter().zip(registers.segments) {
            let _ = write!(text, " {segment}={value:04x}");
        }
        let _ = writeln!(text, " ip={:04x} flags={:04x}", registers.ip, registers.flags);
    }
    let _ = write!(text, "differs (judge/ring86):{differences}");
    text
}

enum Verdict {
    Same,
    Different(String),
    Skipped(&'static str),
}
