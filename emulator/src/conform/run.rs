//! The native differential: encodings and states through the host CPU and through Ring86, on every core.

use super::generate::Encoding;
use super::layout::{ENVIRONMENTS, Environment, arena_pattern};
use super::masks::mask;
use super::native::Oracle;
use super::report::{compare, line};
use super::subject::{CpuSubject, Subject};
use super::templates::{Form, forms};
use super::values::Random;
use crate::config::Engine;
use iced_x86::Code;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Only instructions whose form name contains this, in lower case.
    pub filter: Option<String>,
    /// Only this environment.
    pub environment: Option<Environment>,
    /// Lines printed for one instruction form before the rest is only counted.
    pub lines_per_form: usize,
    /// Part `.0` of `.1`, for runs spread over machines.
    pub shard: (u64, u64),
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
    /// Instruction forms (iced codes, per environment) run at least once.
    pub forms: u64,
    /// Batches that the native child did not survive.
    pub lost: u64,
    /// One line for each difference shown.
    pub lines: Vec<String>,
    /// Differences per form.
    pub by_form: BTreeMap<String, u64>,
}

impl Outcome {
    /// The summary line.
    pub fn summary(&self) -> String {
        format!(
            "native: {} cases, {} encodings, {} instruction forms, {} faults, {} lost batches, {} differences",
            self.cases, self.encodings, self.forms, self.faults, self.lost, self.different
        )
    }

    fn merge(&mut self, other: Outcome) {
        self.cases += other.cases;
        self.different += other.different;
        self.faults += other.faults;
        self.encodings += other.encodings;
        self.lost += other.lost;
        self.lines.extend(other.lines);
        for (form, count) in other.by_form {
            *self.by_form.entry(form).or_default() += count;
        }
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
                let name = name(*code).to_lowercase();
                if plan.filter.as_ref().is_none_or(|filter| filter.split(',').any(|part| name.contains(part))) {
                    items.push(Item { environment, code: *code, forms: forms.clone() });
                }
            }
        }
    }
    items
}

/// The name of an iced code by number.
fn name(code: u16) -> String {
    Code::try_from(usize::from(code)).map_or_else(|_| code.to_string(), |code| format!("{code:?}"))
}

/// Runs a plan. The error says why the native judge is absent.
pub fn run(plan: &Plan, progress: &(dyn Fn(&str) + Sync)) -> Result<Outcome, String> {
    let items = items(plan);
    if items.is_empty() {
        return Err("no instruction form matches".to_string());
    }
    let states = (plan.cases / (items.len() as u64 * 4)).clamp(16, 1024) as usize;
    let encodings = plan.cases.div_ceil(states as u64).max(1);
    let next = AtomicU64::new(0);
    let total = Mutex::new(Outcome { forms: (items.len() as u64).min(encodings), ..Outcome::default() });
    // Children are forked before the threads start.
    let mut workers = Vec::new();
    for _ in 0..plan.threads.max(1) {
        workers.push((Oracle::new()?, CpuSubject::new(plan.engine)?));
    }
    std::thread::scope(|scope| {
        for (mut oracle, mut subject) in workers {
            let (items, next, total) = (&items, &next, &total);
            scope.spawn(move || {
                let mut outcome = Outcome::default();
                let mut bench = Bench::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= encodings {
                        break;
                    }
                    if number % plan.shard.1 != plan.shard.0 {
                        continue;
                    }
                    let item = &items[(number % items.len() as u64) as usize];
                    let mut random = Random::new(plan.seed.wrapping_mul(0x1_0000_0001).wrapping_add(number));
                    let encoding =
                        (0..20).find_map(|_| Encoding::new(item.environment, item.code, &item.forms, &mut random));
                    let Some(encoding) = encoding else { continue };
                    bench.batch(&mut oracle, &mut subject, &encoding, states, &mut random, plan, &mut outcome);
                    if number % 20_000 == 0 && number > 0 {
                        progress(&format!("{number} of {encodings} encodings, {} different here", outcome.different));
                    }
                }
                total.lock().unwrap_or_else(std::sync::PoisonError::into_inner).merge(outcome);
            });
        }
    });
    Ok(total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Buffers of one thread.
struct Bench {
    pattern: Vec<u8>,
    arena: Vec<u8>,
    got: Vec<u8>,
}

impl Bench {
    fn new() -> Bench {
        let pattern = arena_pattern();
        Bench { arena: pattern.clone(), pattern, got: vec![0; 4096] }
    }

    #[expect(clippy::too_many_arguments, reason = "one batch joins everything there is")]
    fn batch(
        &mut self,
        oracle: &mut Oracle,
        subject: &mut dyn Subject,
        encoding: &Encoding,
        states: usize,
        random: &mut Random,
        plan: &Plan,
        outcome: &mut Outcome,
    ) {
        let shape = encoding.shape;
        let stride = shape.stride();
        let mut count = 0;
        for _ in 0..states.min(shape.capacity()) {
            let record = &mut oracle.input()[count * stride..(count + 1) * stride];
            if encoding.state(record, random) {
                count += 1;
            } else if count == 0 {
                // Nothing safe to try with this encoding.
                return;
            }
        }
        oracle.load(encoding.placement, shape, &encoding.bytes);
        oracle.arena().copy_from_slice(&self.pattern);
        outcome.encodings += 1;
        if let Err(lost) = oracle.run(count) {
            outcome.lost += 1;
            let record = oracle.input()[lost.index * stride..(lost.index + 1) * stride].to_vec();
            outcome.lines.push(line(encoding, &record, &format!(" lost: {}", lost.reason)));
            return;
        }
        subject.load(encoding.placement, shape, &encoding.bytes, &self.pattern);
        let mask = mask(encoding);
        let before = outcome.different;
        for index in 0..count {
            let range = index * stride..(index + 1) * stride;
            let got = &mut self.got[..stride];
            subject.run_case(oracle.input_ref(range.clone()), got);
            outcome.cases += 1;
            let expected = &oracle.output()[range.clone()];
            if super::layout::get32(expected, super::layout::field::VECTOR) != super::layout::NO_EXCEPTION {
                outcome.faults += 1;
            }
            if let Some(differences) = compare(encoding, mask, oracle.input_ref(range.clone()), expected, got) {
                let text = line(encoding, oracle.input_ref(range), &differences);
                self.note(outcome, encoding, plan, text);
            }
        }
        // Masked bytes stay behind in the arena.
        if outcome.different == before && mask.memory[0] == (0, 0) {
            subject.arena(&mut self.arena);
            let native = oracle.arena();
            if native[..] != self.arena[..] {
                let at = native.iter().zip(&self.arena).position(|(a, b)| a != b).unwrap_or(0);
                let (expected, got) = (native[at], self.arena[at]);
                let text = line(
                    encoding,
                    oracle.input_ref(0..stride),
                    &format!(" some case of this batch, [arena+{at:x}]: {expected:02x}/{got:02x}"),
                );
                self.note(outcome, encoding, plan, text);
            }
        }
    }

    fn note(&self, outcome: &mut Outcome, encoding: &Encoding, plan: &Plan, text: String) {
        outcome.different += 1;
        let form = format!("{} {:?}", encoding.placement.environment.name(), encoding.instruction.code());
        let count = outcome.by_form.entry(form).or_default();
        *count += 1;
        if *count <= plan.lines_per_form as u64 {
            outcome.lines.push(text);
        }
    }
}

/// Runs one line again and says what each side does.
pub fn replay(text: &str, engine: Engine) -> Result<String, String> {
    let (encoding, record) = super::report::parse(text)?;
    let mut oracle = Oracle::new()?;
    let mut subject = CpuSubject::new(engine)?;
    let pattern = arena_pattern();
    oracle.load(encoding.placement, encoding.shape, &encoding.bytes);
    oracle.arena().copy_from_slice(&pattern);
    oracle.input()[..record.len()].copy_from_slice(&record);
    oracle.run(1).map_err(|lost| lost.reason)?;
    subject.load(encoding.placement, encoding.shape, &encoding.bytes, &pattern);
    let mut got = vec![0; record.len()];
    subject.run_case(&record, &mut got);
    let expected = &oracle.output()[..record.len()];
    Ok(match compare(&encoding, mask(&encoding), &record, expected, &got) {
        Some(differences) => line(&encoding, &record, &differences),
        None => String::new(),
    })
}
