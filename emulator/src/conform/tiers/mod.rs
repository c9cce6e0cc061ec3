//! The suite `tiers`: what the host cannot be asked about, between our own engines with nothing masked. One case is a few
//! instructions at some privilege level over a small machine (`machine`); the interpreter runs it, the engine under test
//! runs it, and for privilege, segment loads, string restarts and the forms that the host is not asked about the manual's
//! `rules` judge both.

mod forms;
mod generate;
mod machine;
mod rules;
mod smaller;

use super::command::Context;
use super::coverage::{Cell, Key, code_name, kind_of_instruction};
use super::plant::{Plant, flags};
use super::results::{Reproducer, Results, Status, Test};
use super::shard::spread;
use crate::config::Engine;
use forms::Forms;
use generate::{Case, Expect, FAMILIES, Family, case};
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use machine::{Bench, NO_EXCEPTION, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Runs `cases` cases over all families, those of this shard, and adds the tests and the cells of the coverage matrix.
///
/// # Errors
/// One sentence.
pub fn run(
    cases: u64,
    seed: u64,
    context: &Context,
    plant: Option<Plant>,
    results: &mut Results,
) -> Result<(), String> {
    let forms = Forms::new();
    let families: Vec<(Family, &str)> = FAMILIES.into_iter().filter(|(_, name)| context.wants(name)).collect();
    if families.is_empty() {
        let names = FAMILIES.map(|(_, name)| name).join(", ");
        return Err(format!(
            "--filter {}: no family matches, of {names}",
            context.filter.as_deref().unwrap_or_default()
        ));
    }
    let count = cases.div_ceil(families.len() as u64);
    for (family, name) in families {
        let parts = spread(context.jobs, context.jobs, |job| {
            let mut pair = Pair::new(context.engine, plant)?;
            let (mut done, mut failed, mut first) = (0, 0, None);
            let mut cells = Cells::new();
            let mut shown = 0;
            for number in (0..count).filter(|number| context.shard.has(*number)) {
                if (number / context.shard.of) % context.jobs as u64 != job as u64 {
                    continue;
                }
                done += 1;
                let case = case(family, seed, number, &forms);
                let difference = pair.differs(&case);
                let mut cell = cell_of(&mut cells, &case, pair.excepted);
                if let Some((cell, kind)) = &mut cell {
                    cell.counts[*kind].0 += 1;
                }
                if let Some(difference) = difference {
                    failed += 1;
                    let mut reproducer = None;
                    let is_new = cell.as_ref().is_some_and(|(cell, kind)| cell.reproducers[*kind].is_none());
                    if first.is_none() || is_new && shown < REPRODUCERS {
                        shown += 1;
                        let line = format!("tiers={name} seed={seed} case={number}");
                        reproducer = Some(pair.minimise(&line, &case, difference));
                    }
                    first = first.or_else(|| reproducer.clone().map(|reproducer| (number, reproducer)));
                    if let Some((cell, kind)) = cell {
                        cell.counts[kind].1 += 1;
                        cell.reproducers[kind] = cell.reproducers[kind].take().or(reproducer);
                    }
                }
            }
            Ok((done, failed, first, cells))
        });
        let parts = parts.into_iter().collect::<Result<Vec<(u64, u64, _, Cells)>, String>>()?;
        let (done, failed) = parts.iter().fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        let mut test = Test::of_cases("tiers", context.engine_name, name, done, failed);
        for ((code, mode), cell) in parts.iter().flat_map(|part| &part.3) {
            let engine = context.engine_name.to_owned();
            let key = Key { code: code_name(*code), mode: *mode, judge: "tiers".to_owned(), engine };
            results.cells.entry(key).or_default().add(cell);
        }
        test.reproducer = parts.into_iter().filter_map(|part| part.2).min_by_key(|first| first.0).map(|first| first.1);
        if failed > 0 {
            test.detail = format!("{failed} of {done} cases differ from the interpreter or from the manual");
        }
        results.tests.push(test);
    }
    Ok(())
}

/// Failing cases that a thread makes small: each takes hundreds of runs.
const REPRODUCERS: u32 = 64;

/// By the code of a case's first instruction and its mode in bits.
type Cells = BTreeMap<(u16, u8), Cell>;

/// The cell of a case and the kind of its operand, unless its first bytes are no instruction.
fn cell_of<'a>(cells: &'a mut Cells, case: &Case, excepted: bool) -> Option<(&'a mut Cell, usize)> {
    let first = Decoder::new(case.bits(), &case.code, DecoderOptions::NONE).decode();
    let key = (first.code() as u16, case.bits() as u8);
    (!first.is_invalid()).then(|| (cells.entry(key).or_default(), kind_of_instruction(&first, excepted) as usize))
}

/// Whether a bug in any one flag of any form of the family `forms` would be noticed by the manual's rule, and how soon:
/// one case of each form, a test for each instruction form and code size.
///
/// # Errors
/// One sentence.
pub fn sweep(seed: u64, context: &Context) -> Result<Vec<Test>, String> {
    let forms = Forms::new();
    let mut pair = Pair::new(context.engine, None)?;
    // A machine of its own: the pair's time stamp counters go on side by side.
    let mut alone = Bench::new(Engine::Interpreter, None)?;
    let mut found: BTreeMap<String, (u64, Vec<String>)> = BTreeMap::new();
    for number in (0..forms.kernels()).filter(|number| context.shard.has(*number)) {
        let form = forms.kernel(number);
        let name = format!("{}-bit {:?} at CPL 0", form.bits, form.code);
        if !context.wants(&name) {
            continue;
        }
        let case = case(Family::Forms, seed, number, &forms);
        let (_, missed) = found.entry(name).or_insert((number + 1, Vec::new()));
        missed.extend(pair.differs(&case).map(|found| format!("without a bug: {}", found.text)));
        if let Expect::Ends(ending) = case.expect {
            missed.extend(forms::unnoticed(ending, &alone.run(&case).0).into_iter().map(str::to_owned));
        }
    }
    let tests = found.into_iter().map(|(name, (within, missed))| {
        let (status, detail) = match missed.is_empty() {
            true => (Status::Pass, format!("found within {within} cases of the family forms")),
            false => (Status::Fail, format!("not found: {}", missed.join(", "))),
        };
        let (cases, failed) = (flags().count() as u64, missed.len() as u64);
        Test { cases, failed, ..Test::new(super::sweep::SUITE, context.engine_name, name, status, detail) }
    });
    Ok(tests.collect())
}

/// Runs the case of a line `tiers=FAMILY seed=S case=N` again, with `less=`, after what `smaller` takes away: what
/// differs, empty if nothing does, and the case in words.
///
/// # Errors
/// If the line is damaged.
pub fn replay(line: &str, engine: Engine, plant: Option<Plant>) -> Result<(String, String), String> {
    let value = |key: &str| {
        let found = line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        found.ok_or_else(|| format!("the line to replay has no valid {key}="))
    };
    let number = |key: &str| value(key)?.parse().map_err(|_| format!("the line to replay has no valid {key}="));
    let name = value("tiers")?;
    let family = FAMILIES.into_iter().find(|(_, known)| *known == name);
    let (family, _) = family.ok_or_else(|| format!("the line to replay names no family of tiers: {name}"))?;
    let case = case(family, number("seed")?, number("case")?, &Forms::new());
    let less = value("less").unwrap_or_default();
    let case = smaller::after(case, less).ok_or("the line to replay has no valid less=")?;
    let difference = Pair::new(engine, plant)?.differs(&case).map(|found| found.text).unwrap_or_default();
    let text = explain(&case, &difference);
    Ok((difference, text))
}

/// The interpreter and the engine under test.
struct Pair {
    model: Bench,
    other: Bench,
    /// Whether the last case ended with an exception.
    excepted: bool,
}

/// What is wrong with a case.
struct Difference {
    text: String,
    /// The fields in which the engines differ, or that code was refused; none if it is the manual that says otherwise.
    fields: BTreeSet<String>,
}

impl Pair {
    fn new(engine: Engine, plant: Option<Plant>) -> Result<Pair, String> {
        Ok(Pair { model: Bench::new(Engine::Interpreter, None)?, other: Bench::new(engine, plant)?, excepted: false })
    }

    /// What is wrong, if something is.
    fn differs(&mut self, case: &Case) -> Option<Difference> {
        let (model, memory) = self.model.run(case);
        self.excepted = model.ends[0].0 < NO_EXCEPTION;
        if let Some(text) = wrong(case, &model) {
            return Some(Difference { text, fields: BTreeSet::new() });
        }
        let (other, other_memory) = self.other.run(case);
        if let Some(text) = self.other.refused() {
            return Some(Difference { text, fields: BTreeSet::from(["refused".to_owned()]) });
        }
        if model != other {
            let text = differing(&model, &other);
            let fields = text.lines().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect();
            return Some(Difference { text, fields });
        }
        let at = memory.iter().zip(&other_memory).position(|(a, b)| a != b)?;
        let shown = |memory: &[u8]| format!("{:02x?}", &memory[at..(at + 8).min(memory.len())]);
        let text = format!("memory at {at:05x}: {} / {}", shown(&memory), shown(&other_memory));
        Some(Difference { text, fields: BTreeSet::from(["memory".to_owned()]) })
    }

    /// A failure of the engines as a small case. What the manual says is of the case as it was made.
    fn minimise(&mut self, line: &str, case: &Case, found: Difference) -> Reproducer {
        let same = |pair: &mut Pair, case: &Case| {
            pair.differs(case).is_some_and(|now| !now.fields.is_empty() && now.fields.is_subset(&found.fields))
        };
        let (case, steps) = smaller::smallest(case, |case| same(self, case));
        if steps.is_empty() {
            return Reproducer { line: line.to_owned(), text: explain(&case, &found.text) };
        }
        let steps: Vec<String> = steps.iter().map(usize::to_string).collect();
        let text = self.differs(&case).map_or(found.text, |now| now.text);
        Reproducer { line: format!("{line} less={}", steps.join(",")), text: explain(&case, &text) }
    }
}

/// What the manual says against how a case ended.
fn wrong(case: &Case, seen: &Seen) -> Option<String> {
    match case.expect {
        Expect::Open => None,
        Expect::Privilege(rule) => rules::privilege(rule, case, seen),
        Expect::Load(selector, stack) => {
            let end = (seen.ends[0].0, seen.ends[0].1);
            let should = rules::load(selector, stack, case.cpl).unwrap_or((NO_EXCEPTION, None));
            (end != should).then(|| {
                format!("loading {selector:04x} at CPL {}: the manual asks for {should:x?}, it was {end:x?}", case.cpl)
            })
        }
        Expect::Ends(ending) => forms::wrong(ending, seen),
        Expect::String(size, source, destination) => {
            // What ECX has counted, ESI and EDI have gone.
            let count = case.gpr[1].wrapping_sub(seen.gpr[1] as u32);
            let step = count.wrapping_mul(if case.flags & 0x400 != 0 { size.wrapping_neg() } else { size });
            let at = |index: usize, moves: bool| case.gpr[index].wrapping_add(if moves { step } else { 0 });
            let (esi, edi) = (at(6, source), at(7, destination));
            (seen.gpr[6] as u32 != esi || seen.gpr[7] as u32 != edi).then(|| {
                format!(
                    "after {count:x} elements ESI is {:x} and EDI {:x}, not {esi:x} and {edi:x}",
                    seen.gpr[6], seen.gpr[7]
                )
            })
        }
    }
}

/// The fields that differ, interpreter first.
fn differing(a: &Seen, b: &Seen) -> String {
    let (a, b) = (format!("{a:#x?}"), format!("{b:#x?}"));
    let lines = a.lines().zip(b.lines()).filter(|(x, y)| x != y).take(16);
    lines.map(|(x, y)| format!("{} / {}", x.trim(), y.trim())).collect::<Vec<_>>().join("\n")
}

fn explain(case: &Case, difference: &str) -> String {
    let mut text = String::new();
    let ip = if case.bits() == 16 { case.at - machine::CODE } else { case.at };
    let mut decoder = Decoder::with_ip(case.bits(), &case.code, ip.into(), DecoderOptions::NONE);
    let mut formatter = IntelFormatter::new();
    while decoder.can_decode() {
        let instruction = decoder.decode();
        let _ = write!(text, "{:08x} ", instruction.ip());
        formatter.format(&instruction, &mut text);
        text.push('\n');
    }
    let mode = if case.v86 { "virtual-8086 mode".to_owned() } else { format!("CPL {}", case.cpl) };
    let _ = writeln!(text, "{mode}, eflags {:x}, gpr {:x?}, dr {:x?}", case.flags, case.gpr, case.dr);
    text + difference
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::refused::tests::without_add;
    use crate::conform::shard::Shard;

    fn ran(cases: u64, seed: u64, context: &Context, plant: Option<Plant>) -> Vec<Test> {
        let mut results = Results::default();
        run(cases, seed, context, plant, &mut results).unwrap();
        let sum = |sum, cell: &Cell| cell.counts.iter().fold(sum, |sum: (u64, u64), n| (sum.0 + n.0, sum.1 + n.1));
        let (cases, failed) = results.cells.values().fold((0, 0), sum);
        let totals = results.totals();
        // Some random bytes are no instruction.
        assert!(cases <= totals.cases && cases > totals.cases * 9 / 10, "{cases} of {}", totals.cases);
        assert_eq!(failed, totals.failed);
        results.tests
    }

    fn context(engine: Engine) -> Context<'static> {
        let shard = Shard::parse("1/1").unwrap();
        Context { engine, engine_name: "x", cpu: None, shard, jobs: 1, filter: None, against: None }
    }

    #[test]
    fn the_interpreter_does_as_the_manual_says() {
        for test in ran(24_000, 3, &context(Engine::Interpreter), None) {
            let why = test.reproducer.map(|r| format!("{}\n{}", r.line, r.text)).unwrap_or_default();
            assert_eq!((test.status, test.cases), (Status::Pass, 4000), "{}: {why}", test.name);
        }
    }

    #[test]
    fn compiled_code_does_as_the_interpreter() {
        for name in ["quick", "optimised-table"] {
            for test in ran(600, 4, &context(Engine::named(name).unwrap()), None) {
                let why = test.reproducer.map(|r| format!("{}\n{}", r.line, r.text)).unwrap_or_default();
                assert_eq!(test.status, Status::Pass, "{name} {}: {why}", test.name);
            }
        }
    }

    #[test]
    fn code_that_is_not_compiled_is_noticed() {
        let tests = ran(600, 4, &context(without_add("quick")), None);
        let texts: Vec<_> = tests.iter().filter_map(|test| test.reproducer.as_ref()).map(|r| &r.text).collect();
        assert!(texts.iter().any(|text| text.ends_with("\n1 pieces of code could not be compiled")), "{texts:?}");
    }

    #[test]
    fn every_flag_at_cpl_0_is_looked_at() {
        let tests = sweep(5, &context(Engine::Interpreter)).unwrap();
        assert_eq!(tests.len(), 180);
        for test in tests {
            assert_eq!((test.status, test.cases), (Status::Pass, 7), "{}: {}", test.name, test.detail);
        }
        for plant in ["Cli:CF", "Ud2:ZF", "Hlt:DF", "Iretd:OF", "Mov_cr_r32:AF"] {
            let context = Context { filter: Some("forms".to_owned()), ..context(Engine::named("quick").unwrap()) };
            let tests = ran(400, 6, &context, Some(Plant::parse(plant).unwrap()));
            let text = tests[0].reproducer.as_ref().map(|r| r.text.clone()).unwrap_or_default();
            assert_eq!((tests.len(), tests[0].status), (1, Status::Fail), "{plant}");
            let name = plant.split([':', '_']).next().unwrap().to_lowercase();
            assert!(text.lines().next().unwrap().contains(&name), "{plant}: {text}");
        }
    }

    #[test]
    fn a_wrong_rule_is_noticed() {
        let case = case(Family::Segments, 1, 0, &Forms::new());
        let (mut seen, _) = Bench::new(Engine::Interpreter, None).unwrap().run(&case);
        let case = Case { expect: Expect::Load(0x08, true), cpl: 3, ..case };
        seen.ends[0] = (NO_EXCEPTION, None, 0, 0);
        assert!(wrong(&case, &seen).unwrap().contains("loading 0008 at CPL 3"));
        let error = replay("tiers=none seed=1 case=1", Engine::Interpreter, None).unwrap_err();
        assert_eq!(error, "the line to replay names no family of tiers: none");
        let error = replay("tiers=debug seed=1 case=1 less=99", Engine::Interpreter, None).unwrap_err();
        assert_eq!(error, "the line to replay has no valid less=");
    }
}
