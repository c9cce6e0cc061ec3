//! The native differential: encodings and states through the host CPU, or another judge, and through Ring86, on every
//! core.

use super::coverage::{Cell, Key, code_name, describe_mask, kind_of};
use super::generate::Encoding;
use super::judge::{self, Judge};
use super::layout::{ENVIRONMENTS, Environment, NO_EXCEPTION, arena_pattern, field, get32};
use super::minimise::{Trial, explain};
use super::plant::{Plant, Planted};
use super::report::{compare, line};
use super::results::{Reproducer, Results, Status, Test};
use super::shard::Shard;
use super::subject::{CpuSubject, Subject};
use super::sweep::Seen;
use super::templates::{Form, forms};
use super::values::Random;
use crate::config::Engine;
use iced_x86::Code;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Cases in all, about.
    pub cases: u64,
    /// Seed.
    pub seed: u64,
    /// Engine under test.
    pub engine: Engine,
    /// Threads, each with a native child of its own.
    pub threads: usize,
    /// Only instructions whose form name contains one of these, in lower case, separated by commas.
    pub filter: Option<String>,
    /// Only this environment.
    pub environment: Option<Environment>,
    /// Lines printed for one instruction form before the rest is only counted.
    pub lines_per_form: usize,
    /// Which part of the encodings.
    pub shard: Shard,
    /// A bug to find.
    pub plant: Option<Plant>,
    /// Look whether a bug in any flag would be found.
    pub sweep: bool,
    /// Compare what the masks leave out, too.
    pub unmasked: bool,
    /// Who is believed.
    pub judge: judge::Kind,
}

/// What one instruction form did.
#[derive(Clone, Debug, Default)]
pub struct FormOutcome {
    /// Cases and differences by kind of operand.
    pub counts: [(u64, u64); 4],
    /// What the comparison left out.
    pub masks: String,
    /// Batches that the judge did not survive.
    pub lost: u64,
    /// The first of them: a line to replay, and how the judge ended.
    pub lost_at: Option<String>,
    /// Cases in which the judge is known to be wrong.
    pub left_out: u64,
    /// The reasons.
    pub known: BTreeSet<&'static str>,
    /// Which wrong flags were noticed.
    pub seen: Seen,
    /// The first difference, made small.
    pub smallest: Option<Reproducer>,
}

impl FormOutcome {
    fn sums(&self) -> (u64, u64) {
        self.counts.iter().fold((0, 0), |(cases, failed), count| (cases + count.0, failed + count.1))
    }
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Cases run on both sides.
    pub cases: u64,
    /// Cases that differ.
    pub different: u64,
    /// Cases that raised an exception natively.
    pub faults: u64,
    /// Encodings run.
    pub encodings: u64,
    /// Batches that the judge did not survive.
    pub lost: u64,
    /// Cases left out, since the judge is known to be wrong about them.
    pub left_out: u64,
    /// One line for each difference shown.
    pub lines: Vec<String>,
    /// By environment and iced code.
    pub forms: BTreeMap<(Environment, u16), FormOutcome>,
    /// Who was believed.
    pub judge: judge::Kind,
    /// How many states each encoding had.
    pub pace: Pace,
}

impl Outcome {
    /// The summary line.
    pub fn summary(&self) -> String {
        format!(
            "{}: {} cases, {} encodings, {} instruction forms, {} faults, {} lost batches, {} left out, {} differences",
            self.judge.name(),
            self.cases,
            self.encodings,
            self.forms.len(),
            self.faults,
            self.lost,
            self.left_out,
            self.different
        )
    }

    fn merge(&mut self, other: Outcome) {
        self.cases += other.cases;
        self.different += other.different;
        self.faults += other.faults;
        self.encodings += other.encodings;
        self.lost += other.lost;
        self.left_out += other.left_out;
        self.lines.extend(other.lines);
        for (form, theirs) in other.forms {
            let mine = self.forms.entry(form).or_default();
            for (count, more) in mine.counts.iter_mut().zip(theirs.counts) {
                count.0 += more.0;
                count.1 += more.1;
            }
            mine.lost += theirs.lost;
            mine.lost_at = mine.lost_at.take().or(theirs.lost_at);
            mine.left_out += theirs.left_out;
            mine.known.extend(theirs.known);
            mine.seen.merge(&theirs.seen);
            mine.masks = theirs.masks;
            mine.smallest = mine.smallest.take().or(theirs.smallest);
        }
    }

    /// Adds a test for each instruction form in each environment, and the cells of the coverage matrix.
    pub fn add_to(self, results: &mut Results, engine: &str) {
        let (judge, title) = (self.judge.name(), self.judge.title());
        for ((environment, code), form) in self.forms {
            let code = code_name(code);
            let (cases, failed) = form.sums();
            let mut test = Test::of_cases(judge, engine, format!("{} {code}", environment.name()), cases, failed);
            // The host is never lost but by a fault of ours. Unicorn gives up by itself, and another batch has to judge.
            if form.lost > 0 && (self.judge == judge::Kind::Host || cases == 0) {
                test.status = Status::Error;
                let first = form.lost_at.unwrap_or_default();
                test.detail = format!("the judge was lost in {} batches, first of all in\n{first}", form.lost);
            } else if failed > 0 {
                test.detail = format!("{failed} of {cases} cases differ from {title}");
            } else if form.lost > 0 {
                test.detail = format!("{title} gave up in {} batches", form.lost);
            } else if form.left_out > 0 {
                let reasons: Vec<&str> = form.known.iter().copied().collect();
                test.detail = format!("{title} is known to differ in {}: {}", form.left_out, reasons.join("; "));
            }
            test.skipped = form.left_out;
            test.reproducer = form.smallest;
            results.tests.push(test);
            let mode = environment.bits() as u8;
            let key = Key { code, mode, judge: judge.to_owned(), engine: engine.to_owned() };
            results.cells.entry(key).or_default().add(&Cell {
                counts: form.counts,
                masks: form.masks,
                ..Cell::default()
            });
        }
    }
}

/// States in each encoding of the first rounds over all forms: few, so that every form has its turn at once.
const FIRST_STATES: u64 = 16;
/// Rounds over all forms that are so short. Some encodings of a form only fault, or have no safe state.
const FIRST_ROUNDS: u64 = 4;

/// How many states each encoding has, by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Encodings of [`FIRST_STATES`].
    first: u64,
    /// States of each encoding that follows.
    states: u64,
    /// Encodings in all.
    encodings: u64,
}

impl Pace {
    /// For about `cases` over `items` instruction forms.
    fn new(cases: u64, items: u64) -> Pace {
        let first = (items * FIRST_ROUNDS).min(cases.div_ceil(FIRST_STATES)).max(1);
        let states = (cases / (items * 4)).clamp(FIRST_STATES, 1024);
        let rest = cases.saturating_sub(first * FIRST_STATES);
        Pace { first, states, encodings: first + rest.div_ceil(states) }
    }

    fn states(self, number: u64) -> usize {
        (if number < self.first { FIRST_STATES } else { self.states }) as usize
    }

    /// Most cases in the encodings before that of a number.
    pub fn cases_before(self, number: u64) -> u64 {
        number.min(self.first) * FIRST_STATES + number.saturating_sub(self.first) * self.states
    }
}

/// One instruction form in one environment.
struct Item {
    environment: Environment,
    code: u16,
    forms: Vec<Form>,
}

fn items(plan: &Plan) -> Vec<Item> {
    let by_bits = [(16, forms(16)), (32, forms(32))];
    let mut items = Vec::new();
    for environment in ENVIRONMENTS {
        if plan.environment.is_some_and(|only| only != environment) {
            continue;
        }
        for (bits, forms) in &by_bits {
            if *bits != environment.bits() {
                continue;
            }
            for (code, forms) in forms {
                if Code::try_from(usize::from(*code)).is_ok_and(|code| plan.judge.not_asked(code).is_some()) {
                    continue;
                }
                let name = code_name(*code).to_lowercase();
                if plan.filter.as_ref().is_none_or(|filter| filter.split(',').any(|part| name.contains(part))) {
                    items.push(Item { environment, code: *code, forms: forms.clone() });
                }
            }
        }
    }
    items
}

/// Runs a plan. The error says why the judge is absent.
pub fn run(plan: &Plan, progress: &(dyn Fn(&str) + Sync)) -> Result<Outcome, String> {
    let items = items(plan);
    if items.is_empty() {
        return Err(format!("--filter {}: no instruction form matches", plan.filter.as_deref().unwrap_or_default()));
    }
    let pace = Pace::new(plan.cases, items.len() as u64);
    let next = AtomicU64::new(0);
    let total = Mutex::new(Outcome { judge: plan.judge, pace, ..Outcome::default() });
    // Children are forked before the threads start.
    let mut workers = Vec::new();
    for _ in 0..plan.threads.max(1) {
        workers.push((plan.judge.start()?, Planted::new(CpuSubject::new(plan.engine)?, plan.plant)));
    }
    std::thread::scope(|scope| {
        for (judge, subject) in workers {
            let (items, next, total) = (&items, &next, &total);
            scope.spawn(move || {
                let mut bench = Bench::new(judge, subject, plan, progress);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= pace.encodings {
                        break;
                    }
                    if !plan.shard.has(number) {
                        continue;
                    }
                    let item = &items[(number % items.len() as u64) as usize];
                    let mut random = Random::new(plan.seed.wrapping_mul(0x1_0000_0001).wrapping_add(number));
                    let encoding =
                        (0..20).find_map(|_| Encoding::new(item.environment, item.code, &item.forms, &mut random));
                    let Some(encoding) = encoding else { continue };
                    bench.batch(number, &encoding, (item.environment, item.code), pace.states(number), &mut random);
                    if number % 20_000 == 0 && number > 0 {
                        let different = bench.outcome.different;
                        progress(&format!("{number} of {} encodings, {different} different here", pace.encodings));
                    }
                }
                total.lock().unwrap_or_else(PoisonError::into_inner).merge(bench.outcome);
            });
        }
    });
    Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What one thread has.
struct Bench<'a> {
    judge: Box<dyn Judge>,
    subject: Planted,
    plan: &'a Plan,
    progress: &'a (dyn Fn(&str) + Sync),
    outcome: Outcome,
    pattern: Vec<u8>,
    arena: Vec<u8>,
    got: Vec<u8>,
}

impl<'a> Bench<'a> {
    fn new(judge: Box<dyn Judge>, subject: Planted, plan: &'a Plan, progress: &'a (dyn Fn(&str) + Sync)) -> Bench<'a> {
        let pattern = arena_pattern();
        let arena = pattern.clone();
        Bench { judge, subject, plan, progress, outcome: Outcome::default(), pattern, arena, got: vec![0; 4096] }
    }

    fn batch(
        &mut self,
        number: u64,
        encoding: &Encoding,
        form: (Environment, u16),
        states: usize,
        random: &mut Random,
    ) {
        let shape = encoding.shape;
        let stride = shape.stride();
        let mut count = 0;
        for _ in 0..states.min(shape.capacity()) {
            let record = &mut self.judge.input()[count * stride..(count + 1) * stride];
            if encoding.state(record, random) {
                count += 1;
            } else if count == 0 {
                // Nothing safe to try with this encoding.
                return;
            }
        }
        self.judge.load(encoding.placement, shape, &encoding.bytes);
        self.judge.arena().copy_from_slice(&self.pattern);
        self.outcome.encodings += 1;
        let tally = self.outcome.forms.entry(form).or_default();
        let mut ran = self.judge.run(count);
        if ran.is_err() && self.plan.judge == judge::Kind::Host {
            // A host that stood still is not the instruction's fault: what is has it happen again.
            self.judge.load(encoding.placement, shape, &encoding.bytes);
            self.judge.arena().copy_from_slice(&self.pattern);
            ran = self.judge.run(count);
        }
        if let Err(lost) = ran {
            self.outcome.lost += 1;
            tally.lost += 1;
            let record = self.judge.input()[lost.index * stride..(lost.index + 1) * stride].to_vec();
            let line = line(encoding, &record, &format!(" lost: {}", lost.reason));
            self.outcome.lines.push(line.clone());
            tally.lost_at.get_or_insert(line);
            return;
        }
        self.subject.load(encoding.placement, shape, &encoding.bytes, &self.pattern);
        let mask = self.judge.mask(encoding, self.plan.unmasked);
        if tally.masks.is_empty() {
            tally.masks = describe_mask(&mask);
        }
        let mut counts = [(0, 0); 4];
        let mut first = None;
        let mut different = 0;
        let mut left_out = 0;
        let mut doubtful = Vec::new();
        let in_part = self.judge.stores_in_part(encoding);
        for index in 0..count {
            let range = index * stride..(index + 1) * stride;
            let input = self.judge.input_ref(range.clone());
            let got = &mut self.got[..stride];
            self.subject.run_case(input, got);
            let expected = &self.judge.output()[range];
            let vector = get32(expected, field::VECTOR);
            self.outcome.faults += u64::from(vector != NO_EXCEPTION);
            let differences = compare(encoding, mask, input, expected, got);
            if differences.is_some()
                && let Some(reason) = self.judge.known(encoding, input, expected, got, self.plan.unmasked)
            {
                tally.known.insert(reason);
                left_out += 1;
                continue;
            }
            if self.plan.sweep && differences.is_none() {
                tally.seen.look(number, encoding, mask, input, expected, got);
            }
            let kind = kind_of(encoding, input, vector) as usize;
            counts[kind].0 += 1;
            if differences.is_some() && (left_out > 0 || in_part) {
                doubtful.push((kind, input.to_vec()));
            } else if let Some(differences) = differences {
                counts[kind].1 += 1;
                different += 1;
                if different <= self.plan.lines_per_form {
                    self.outcome.lines.push(line(encoding, input, &differences));
                }
                if first.is_none() {
                    let text = explain(encoding, input, expected, got, &differences);
                    first = Some((input.to_vec(), Reproducer { line: line(encoding, input, &differences), text }));
                }
            }
        }
        tally.left_out += left_out;
        self.outcome.left_out += left_out;
        self.outcome.cases += count as u64 - left_out;
        // What a judge that is wrong left in memory is wrong too.
        let comparable = left_out == 0 && mask.memory[0] == (0, 0) && !in_part;
        let refused = self.subject.refused().map(|why| self.of_batch(encoding, stride, &why));
        if first.is_none()
            && let Some(text) = refused.or_else(|| if comparable { self.stray(encoding, stride) } else { None })
        {
            counts[0].1 += 1;
            different += 1;
            self.outcome.lines.push(text.line.clone());
            first = Some((Vec::new(), text));
        }
        // What was left out or stored in part may have left other memory to the cases after it: these are judged alone.
        for (kind, record) in doubtful {
            let mut trial = Trial::new(self.judge.as_mut(), &mut self.subject, self.plan.unmasked);
            let differences = trial.differences(encoding, &record).unwrap_or_else(|reason| format!(" lost: {reason}"));
            if !differences.is_empty() {
                counts[kind].1 += 1;
                different += 1;
                let text = trial.explain(encoding, &record, &differences);
                let line = line(encoding, &record, &differences);
                self.outcome.lines.push(line.clone());
                first.get_or_insert((record, Reproducer { line, text }));
            }
        }
        self.outcome.different += different as u64;
        self.tally(encoding, form, counts, first);
    }

    /// What a case wrote where its record does not show it. Masked bytes stay behind in the arena.
    fn stray(&mut self, encoding: &Encoding, stride: usize) -> Option<Reproducer> {
        self.subject.arena(&mut self.arena);
        let theirs = self.judge.arena();
        let at = theirs.iter().zip(&self.arena).position(|(a, b)| a != b)?;
        let text = format!("[arena+{at:x}]: {:02x}/{:02x}", theirs[at], self.arena[at]);
        Some(self.of_batch(encoding, stride, &text))
    }

    /// What is true of a batch: its first case stands for it.
    fn of_batch(&self, encoding: &Encoding, stride: usize, what: &str) -> Reproducer {
        let text = format!(" some case of this batch, {what}");
        let line = line(encoding, self.judge.input_ref(0..stride), &text);
        Reproducer { line, text: format!("{}:{text}", encoding.text()) }
    }

    /// Notes a batch's figures, and makes the form's first failure small.
    fn tally(
        &mut self,
        encoding: &Encoding,
        form: (Environment, u16),
        counts: [(u64, u64); 4],
        first: Option<(Vec<u8>, Reproducer)>,
    ) {
        let tally = self.outcome.forms.entry(form).or_default();
        for (count, more) in tally.counts.iter_mut().zip(counts) {
            count.0 += more.0;
            count.1 += more.1;
        }
        let Some((record, as_found)) = first else { return };
        if tally.smallest.is_some() {
            return;
        }
        let smallest = if record.is_empty() {
            as_found
        } else {
            Trial::new(self.judge.as_mut(), &mut self.subject, self.plan.unmasked)
                .minimise(encoding, &record)
                .unwrap_or(as_found)
        };
        let smallest = Reproducer { line: format!("{}{}", self.plan.judge.mark(), smallest.line), ..smallest };
        (self.progress)(&format!("difference in {} {}:\n{}", form.0.name(), code_name(form.1), smallest.text));
        self.outcome.forms.entry(form).or_default().smallest = Some(smallest);
    }
}

/// Runs one line again and says what each side does: what differs, empty if nothing does, and the case in words.
///
/// # Errors
/// If the line is damaged or its judge is absent.
pub fn replay(text: &str, engine: Engine, plant: Option<Plant>, unmasked: bool) -> Result<(String, String), String> {
    let (encoding, record) = super::report::parse(text)?;
    let mut judge = judge::Kind::of_line(text).start()?;
    let mut subject = Planted::new(CpuSubject::new(engine)?, plant);
    let mut trial = Trial::new(judge.as_mut(), &mut subject, unmasked);
    let differences = trial.differences(&encoding, &record)?;
    let mut text = trial.explain(&encoding, &record, &differences);
    if let Some(reason) = trial.known {
        text += &format!("\nthe judge is known to differ here: {reason}");
    }
    Ok((differences, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::refused::tests::without_add;

    #[test]
    fn code_that_is_not_compiled_is_a_failure() {
        if let Err(reason) = judge::Kind::Host.start() {
            eprintln!("skipped: {reason}");
            return;
        }
        let plan = Plan {
            cases: 100,
            seed: 1,
            engine: without_add("single"),
            threads: 1,
            filter: Some("add_rm32_r32".to_owned()),
            environment: Some(Environment::Flat32),
            lines_per_form: 1,
            shard: Shard::WHOLE,
            plant: None,
            sweep: false,
            unmasked: false,
            judge: judge::Kind::Host,
        };
        let outcome = run(&plan, &|_| {}).unwrap();
        // The interpreter's results are right.
        assert!(outcome.different > 0);
        for line in &outcome.lines {
            assert!(line.ends_with("pieces of code could not be compiled"), "{line}");
        }
    }

    #[test]
    fn every_form_has_its_turn_at_once() {
        // However many cases are asked for, a bug that shows in any state is found among the first.
        for cases in [100_000, 10_000_000, 1_000_000_000] {
            let pace = Pace::new(cases, 2800);
            assert!(pace.cases_before(2800) <= 44_800, "{cases}");
            let all = pace.cases_before(pace.encodings);
            assert!(all >= cases && all < cases + 1024, "{cases}: {all}");
        }
        assert_eq!(Pace::new(1, 3).encodings, 1);
    }
}
