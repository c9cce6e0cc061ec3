//! Would a bug in any one flag of any one instruction form be noticed, and how soon? Each flag of each outcome is got
//! wrong in turn, as [`super::plant`] does for one form and one flag, and the comparison has to see it.

use super::generate::Encoding;
use super::layout::{NO_EXCEPTION, field, get32, put32};
use super::masks::Mask;
use super::plant::flags;
use super::report::compare;
use super::results::{Results, Status, Test};
use super::run::{Outcome, Pace};
use super::templates::completes_never;
use iced_x86::Code;
use std::collections::BTreeMap;

/// Which flags of one instruction form were noticed to be wrong, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// For each of [`flags`] the number of the encoding at which it was seen first, or the greatest number.
    found: [u64; 7],
    /// Flags that the comparison does not leave out.
    compared: u32,
    /// Whether a case completed, or raised the exception that is all it does in user mode.
    completed: bool,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { found: [u64::MAX; 7], compared: 0, completed: false }
    }
}

impl Seen {
    /// Gets the flags of a case wrong that did not differ, one at a time. `got` is as before at the end.
    pub fn look(
        &mut self,
        number: u64,
        encoding: &Encoding,
        mask: Mask,
        input: &[u8],
        expected: &[u8],
        got: &mut [u8],
    ) {
        self.compared |= mask.eflags;
        // What never completes here leaves its flags to the handler.
        if get32(got, field::VECTOR) != NO_EXCEPTION && !completes_never(encoding.instruction.code()) {
            return;
        }
        self.completed = true;
        for ((_, bit), found) in flags().zip(&mut self.found) {
            if *found <= number {
                continue;
            }
            let right = get32(got, field::EFLAGS);
            put32(got, field::EFLAGS, right ^ bit);
            if compare(encoding, mask, input, expected, got).is_some() {
                *found = number;
            }
            put32(got, field::EFLAGS, right);
        }
    }

    /// Joins what another thread saw.
    pub fn merge(&mut self, other: &Seen) {
        for (mine, theirs) in self.found.iter_mut().zip(other.found) {
            *mine = (*mine).min(theirs);
        }
        self.compared |= other.compared;
        self.completed |= other.completed;
    }

    /// The test of a form.
    fn test(&self, engine: &str, name: String, pace: &Pace) -> Test {
        let test = |status, detail: String| Test::new(SUITE, engine, name.clone(), status, detail);
        if !self.completed {
            return test(Status::Fail, "no case of it completed".to_owned());
        }
        let (asked, left_out): (Vec<_>, Vec<_>) =
            flags().zip(self.found).partition(|((_, bit), _)| self.compared & bit != 0);
        let names = |list: &[((&str, u32), u64)]| list.iter().map(|((name, _), _)| *name).collect::<Vec<_>>().join(" ");
        let missed: Vec<_> = asked.iter().copied().filter(|(_, found)| *found == u64::MAX).collect();
        let last = asked.iter().map(|(_, found)| *found).max().unwrap_or_default();
        let mut detail = match missed.is_empty() {
            true => format!("found within {} cases", pace.cases_before(last + 1)),
            false => format!("not found: {}", names(&missed)),
        };
        if !left_out.is_empty() {
            detail += &format!("; undefined and not compared: {}", names(&left_out));
        }
        let status = if missed.is_empty() { Status::Pass } else { Status::Fail };
        Test { cases: asked.len() as u64, failed: missed.len() as u64, ..test(status, detail) }
    }
}

/// What reports call it.
pub const SUITE: &str = "plants";

/// Adds a test for each form in code of either size, and one for each form that is not asked about. A form that cannot
/// complete in one environment (16-bit branches where all segments are flat) has another of that size.
pub fn add_to(outcome: &Outcome, whole: bool, engine: &str, results: &mut Results) {
    let mut forms: BTreeMap<(u32, u16), Seen> = BTreeMap::new();
    for ((environment, code), form) in &outcome.forms {
        forms.entry((environment.bits(), *code)).or_default().merge(&form.seen);
    }
    for ((bits, number), seen) in forms {
        let Ok(code) = Code::try_from(usize::from(number)) else { continue };
        results.tests.push(seen.test(engine, format!("{bits}-bit {code:?}"), &outcome.pace));
    }
    for bits in if whole { &[16, 32][..] } else { &[] } {
        for (code, reason) in super::coverage::not_asked(*bits) {
            let test = Test::new(SUITE, engine, format!("{bits}-bit {code}"), Status::Skip, reason);
            results.tests.push(test);
        }
    }
}
