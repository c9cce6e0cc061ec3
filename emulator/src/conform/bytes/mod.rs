//! Random bytes at the end of a page or of the code segment: does the host consume as many of them as Ring86, and does it
//! end in the same exception? A case is bytes that end where no more are to be had. An instruction that fits is run,
//! and its successor's fetch faults; one that does not fit faults at the edge; what is none raises #UD, or #GP(0) when it
//! is too long.

mod make;
mod outcome;

use super::content::empty_fx;
use super::layout::{
    ABSENT_CODE, CODE_ALIAS, CODE_LEN, ENVIRONMENTS, Environment, FX_LEN, Placement, Shape, arena_pattern, field,
    put32, seg,
};
use super::native::{Maker, Oracle};
use super::plant::Plant;
use super::results::{Reproducer, Results, Status, Test};
use super::run::Plan;
use super::subject::{CpuSubject, Subject};
use super::values::Random;
use crate::config::Engine;
use make::{Asked, asked, registers};
use outcome::Outcome;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Most bytes in a case: one more than an instruction may have.
const MOST: usize = 16;
/// Bytes of code that a record holds: the case's, behind INT3.
const WINDOW: usize = 32;
/// Cases in a batch.
const BATCH: usize = 512;
const SHAPE: Shape = Shape { window: [WINDOW, 0], fx: true, segments: false, code: true };
/// What filters and reports call it.
pub const NAME: &str = "bytes";

/// What comes after the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A page that is not present.
    Page,
    /// The code segment's end; in the flat environment a page that is not present, too.
    Limit,
}

impl End {
    /// Offset in the code area of the first byte that cannot be had.
    fn offset(self) -> u32 {
        match self {
            End::Page => ABSENT_CODE,
            End::Limit => CODE_LEN,
        }
    }

    fn name(self) -> &'static str {
        match self {
            End::Page => "page",
            End::Limit => "limit",
        }
    }
}

/// Bytes before an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    environment: Environment,
    end: End,
    bytes: Vec<u8>,
}

impl Case {
    fn placement(&self) -> Placement {
        Placement { environment: self.environment, offset: self.end.offset() - self.bytes.len() as u32 }
    }

    /// What `conform replay` takes.
    fn line(&self) -> String {
        let mut text = format!("end={} env={} bytes=", self.end.name(), self.environment.name());
        for byte in &self.bytes {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    fn parse(line: &str) -> Result<Case, String> {
        let value = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let bad = |key: &str| format!("the line to replay has no valid {key}=");
        let end = [End::Page, End::Limit].into_iter().find(|end| value("end") == Some(end.name()));
        let bytes = value("bytes").filter(|text| text.is_ascii() && text.len().is_multiple_of(2)).unwrap_or_default();
        let pairs = (0..bytes.len() / 2).map(|at| u8::from_str_radix(&bytes[2 * at..2 * at + 2], 16).ok());
        let case = Case {
            environment: value("env").and_then(Environment::from_name).ok_or_else(|| bad("env"))?,
            end: end.ok_or_else(|| bad("end"))?,
            bytes: pairs.collect::<Option<Vec<u8>>>().ok_or_else(|| bad("bytes"))?,
        };
        if (1..=MOST).contains(&case.bytes.len()) { Ok(case) } else { Err(bad("bytes")) }
    }

    /// The state that the case begins with, with its code.
    fn record(&self, record: &mut [u8]) {
        record.fill(0);
        for (value, offset) in registers(self.environment).into_iter().zip(field::GPR) {
            put32(record, offset, value);
        }
        put32(record, field::SS, u32::from(self.environment.segments()[seg::SS].selector));
        put32(record, field::EFLAGS, 0x202);
        put32(record, field::WINDOW[0], CODE_ALIAS + self.end.offset() - WINDOW as u32);
        let at = SHAPE.window_offset(0);
        record[at..at + WINDOW].fill(0xCC);
        record[at + WINDOW - self.bytes.len()..at + WINDOW].copy_from_slice(&self.bytes);
        let at = SHAPE.fx_offset();
        record[at..at + FX_LEN].copy_from_slice(&empty_fx());
    }
}

/// The judge and the engine under test.
struct Bench {
    oracle: Oracle,
    subject: CpuSubject,
    pattern: Vec<u8>,
    plant: Option<Plant>,
}

impl Bench {
    fn new(engine: Engine, plant: Option<Plant>) -> Result<Bench, String> {
        Ok(Bench { oracle: Oracle::new()?, subject: CpuSubject::new(engine)?, pattern: arena_pattern(), plant })
    }

    /// Runs cases of one environment, end and length, and gives what the host did and what Ring86 did.
    fn run(&mut self, cases: &[Case]) -> Result<Vec<(Outcome, Outcome)>, String> {
        let Some(first) = cases.first() else { return Ok(Vec::new()) };
        let (stride, placement) = (SHAPE.stride(), first.placement());
        for (case, record) in cases.iter().zip(self.oracle.input().chunks_exact_mut(stride)) {
            case.record(record);
        }
        self.oracle.load_bytes(placement, SHAPE);
        self.oracle.arena().copy_from_slice(&self.pattern);
        self.oracle.run(cases.len()).map_err(|lost| format!("{}: {}", cases[lost.index].line(), lost.reason))?;
        self.subject.load(placement, SHAPE, &[], &self.pattern);
        let mut got = vec![0; stride];
        let mut outcomes = Vec::with_capacity(cases.len());
        for (index, case) in cases.iter().enumerate() {
            let range = index * stride..(index + 1) * stride;
            self.subject.run_case(self.oracle.input_ref(range.clone()), &mut got);
            let host = Outcome::of_host(case, &self.oracle.output()[range]);
            outcomes.push((host, Outcome::of_ring86(case, &got, self.plant)));
        }
        Ok(outcomes)
    }

    /// The two outcomes of one case alone, if they differ.
    fn differs(&mut self, case: &Case) -> Result<Option<(Outcome, Outcome)>, String> {
        let asked = asked(case, case.bytes.len());
        if matches!(asked, Asked::No(_)) {
            return Ok(None);
        }
        let (mut host, ring86) = self.run(std::slice::from_ref(case))?.remove(0);
        if asked == Asked::Undefined {
            host = Outcome::undefined(case);
        }
        let differ = host != ring86 && outcome::known(Maker::of_host(), case, host, ring86).is_none();
        Ok(differ.then_some((host, ring86)))
    }

    /// Leaves out bytes, and makes bytes zeros, for as long as there is a difference.
    fn minimise(&mut self, case: &Case) -> Result<Option<Reproducer>, String> {
        let Some(mut outcomes) = self.differs(case)? else { return Ok(None) };
        let mut case = case.clone();
        loop {
            let before = case.bytes.clone();
            for at in (0..before.len()).rev() {
                let mut shorter = case.clone();
                if at < shorter.bytes.len() && shorter.bytes.len() > 1 {
                    shorter.bytes.remove(at);
                }
                let mut zero = case.clone();
                if let Some(byte) = zero.bytes.get_mut(at) {
                    *byte = 0;
                }
                for candidate in [shorter, zero] {
                    if candidate.bytes != case.bytes
                        && candidate.bytes.len() <= case.bytes.len()
                        && let Ok(Some(found)) = self.differs(&candidate)
                    {
                        (case, outcomes) = (candidate, found);
                        break;
                    }
                }
            }
            if case.bytes == before {
                break;
            }
        }
        Ok(Some(Reproducer { line: case.line(), text: explain(&case, &outcomes.0, &outcomes.1) }))
    }
}

fn explain(case: &Case, host: &Outcome, ring86: &Outcome) -> String {
    let placement = case.placement();
    let bits = placement.environment.bits();
    let end = match case.end {
        End::Limit if placement.environment != Environment::Flat32 => "the segment's limit",
        _ => "a page that is not present",
    };
    let bytes: Vec<String> = case.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}  ({bits}-bit code at {:x}, then {end})\njudge   {host}\nring86  {ring86}",
        bytes.join(" "),
        placement.eip()
    )
}

/// What came out for one environment and end.
#[derive(Clone, Debug, Default)]
struct Tally {
    cases: u64,
    failed: u64,
    skipped: BTreeMap<&'static str, u64>,
    lost: Vec<String>,
    smallest: Option<Reproducer>,
}

/// Runs about `plan.cases` / 50 cases (each ends in an exception, which the host takes that much longer for).
///
/// # Errors
/// Why the native judge is absent.
pub fn run(plan: &Plan, engine_name: &str, results: &mut Results) -> Result<(), String> {
    let batches = plan.cases.div_ceil(50 * BATCH as u64).max(6);
    let next = AtomicU64::new(0);
    let total = Mutex::new(BTreeMap::<(Environment, End), Tally>::new());
    let mut benches = Vec::new();
    for _ in 0..plan.threads.max(1) {
        benches.push(Bench::new(plan.engine, plan.plant)?);
    }
    std::thread::scope(|scope| {
        for mut bench in benches {
            let (next, total) = (&next, &total);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= batches {
                        break;
                    }
                    if !plan.shard.has(number) {
                        continue;
                    }
                    let mut total = |key, tally: Tally| {
                        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                        total.entry(key).or_default().add(tally);
                    };
                    batch(&mut bench, plan, number, &mut total);
                }
            });
        }
    });
    for ((environment, end), tally) in total.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let name = format!("{} {NAME} {}", environment.name(), end.name());
        results.tests.push(tally.test(engine_name, name));
    }
    Ok(())
}

fn batch(bench: &mut Bench, plan: &Plan, number: u64, total: &mut dyn FnMut((Environment, End), Tally)) {
    let mut random = Random::new(plan.seed.wrapping_mul(0x1_0000_0001).wrapping_add(number) ^ 0xB17E5 << 32);
    let environment = ENVIRONMENTS[(number % 3) as usize];
    let end = if (number / 3).is_multiple_of(2) { End::Page } else { End::Limit };
    if plan.environment.is_some_and(|only| only != environment) {
        return;
    }
    let len = 1 + random.below(MOST as u32) as usize;
    let mut tally = Tally::default();
    let mut cases = Vec::with_capacity(BATCH);
    let mut undefined = Vec::with_capacity(BATCH);
    for _ in 0..BATCH {
        let mut case = make::random(environment, end, len, &mut random);
        let asked = asked(&case, len);
        case.bytes.truncate(len);
        match asked {
            Asked::No(reason) => *tally.skipped.entry(reason).or_default() += 1,
            asked => {
                cases.push(case);
                undefined.push(asked == Asked::Undefined);
            }
        }
    }
    match bench.run(&cases) {
        Err(lost) => tally.lost.push(lost),
        Ok(outcomes) => {
            tally.cases = cases.len() as u64;
            for ((case, (mut host, ring86)), undefined) in cases.iter().zip(outcomes).zip(undefined) {
                if undefined {
                    host = Outcome::undefined(case);
                }
                if host == ring86 {
                    continue;
                }
                if let Some(reason) = outcome::known(Maker::of_host(), case, host, ring86) {
                    *tally.skipped.entry(reason).or_default() += 1;
                    tally.cases -= 1;
                    continue;
                }
                match bench.minimise(case) {
                    // What an earlier case of the batch left in memory decided it.
                    Ok(None) => {}
                    Ok(Some(reproducer)) => {
                        tally.failed += 1;
                        tally.smallest.get_or_insert(reproducer);
                    }
                    Err(lost) => tally.lost.push(lost),
                }
            }
        }
    }
    total((environment, end), tally);
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.cases += other.cases;
        self.failed += other.failed;
        for (reason, count) in other.skipped {
            *self.skipped.entry(reason).or_default() += count;
        }
        self.lost.extend(other.lost);
        let reproducers = [self.smallest.take(), other.smallest];
        // The same whatever the order in which threads end.
        self.smallest = reproducers.into_iter().flatten().min_by_key(|found| (found.line.len(), found.line.clone()));
    }

    fn test(self, engine: &str, name: String) -> Test {
        let mut test = Test::of_cases("native", engine, name, self.cases, self.failed);
        test.skipped = self.skipped.values().sum();
        if let Some(lost) = self.lost.first() {
            test.status = Status::Error;
            test.detail = format!("the native child was lost in {} batches, first at {lost}", self.lost.len());
        } else if self.failed > 0 {
            test.detail = format!("{} of {} cases differ from the host's processor", self.failed, self.cases);
        }
        test.reproducer = self.smallest;
        test
    }
}

/// Runs one line again: what differs, empty if nothing does, and the case in words.
///
/// # Errors
/// If the line is damaged, there is no native judge, or the host cannot be asked.
pub fn replay(line: &str, engine: Engine, plant: Option<Plant>) -> Result<(String, String), String> {
    let case = Case::parse(line)?;
    if let Asked::No(reason) = asked(&case, case.bytes.len()) {
        return Err(format!("the host is not asked about these bytes: {reason}"));
    }
    let mut bench = Bench::new(engine, plant)?;
    match bench.differs(&case)? {
        Some((host, ring86)) => Ok((format!("{host} / {ring86}"), explain(&case, &host, &ring86))),
        None => {
            let (host, ring86) = bench.run(std::slice::from_ref(&case))?.remove(0);
            Ok((String::new(), explain(&case, &host, &ring86)))
        }
    }
}
