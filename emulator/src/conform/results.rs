//! What a run found, in the form that every suite reports and every writer prints: tests, and cells of the coverage
//! matrix. As JSON lines it is what shards leave behind, and what [`merge`] joins (docs/conformance.md).

use super::coverage::{Cell, KINDS, Key};
use super::shard::Shard;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Number of the lines' form.
const FORMAT: u64 = 2;

/// How a test ended. The order is that of gravity: of several results for one test the gravest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Nothing differs.
    Pass,
    /// Left out, with the reason in the detail.
    Skip,
    /// Something differs.
    Fail,
    /// No result: the judge or the guest was lost.
    Error,
}

const STATUSES: [(Status, &str); 4] =
    [(Status::Pass, "pass"), (Status::Skip, "skip"), (Status::Fail, "fail"), (Status::Error, "error")];

impl Status {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        STATUSES[self as usize].1
    }

    fn named(name: &str) -> Option<Status> {
        STATUSES.into_iter().find(|(_, n)| *n == name).map(|(status, _)| status)
    }

    /// Whether it makes the run fail.
    pub fn is_bad(self) -> bool {
        self >= Status::Fail
    }
}

/// A failing case made as small as possible.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reproducer {
    /// What `ring86 conform replay` takes.
    pub line: String,
    /// The bytes, the state before, what the judge left and what the engine left, in several lines.
    pub text: String,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The suite: native, vectors, roms ...
    pub suite: String,
    /// Engine under test.
    pub engine: String,
    /// Unique within suite and engine.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// Cases run for it.
    pub cases: u64,
    /// Cases that differ.
    pub failed: u64,
    /// Cases left out.
    pub skipped: u64,
    /// What there is to say, in one line or a few.
    pub detail: String,
    /// The smallest case that shows the failure.
    pub reproducer: Option<Reproducer>,
}

impl Test {
    /// A result of one case.
    pub fn new(suite: &str, engine: &str, name: impl Into<String>, status: Status, detail: impl Into<String>) -> Test {
        Test {
            suite: suite.to_owned(),
            engine: engine.to_owned(),
            name: name.into(),
            status,
            cases: u64::from(status != Status::Skip),
            failed: u64::from(status.is_bad()),
            skipped: u64::from(status == Status::Skip),
            detail: detail.into(),
            reproducer: None,
        }
    }

    /// A result of many cases.
    pub fn of_cases(suite: &str, engine: &str, name: impl Into<String>, cases: u64, failed: u64) -> Test {
        let status = if failed > 0 { Status::Fail } else { Status::Pass };
        Test { cases, failed, skipped: 0, ..Test::new(suite, engine, name, status, "") }
    }
}

/// What was asked for: the same in all shards of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The words of the command line that name suites.
    pub suites: String,
    /// The options that change what is run.
    pub options: String,
    /// Version of the program that ran it.
    pub version: String,
}

/// Results of a run or of a shard of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// What was asked for.
    pub asked: Asked,
    /// Which shards these are.
    pub shards: Vec<(u64, u64)>,
    /// Vendor and signature of the processors that ran it.
    pub hosts: Vec<String>,
    /// The tests.
    pub tests: Vec<Test>,
    /// The coverage matrix.
    pub cells: BTreeMap<Key, Cell>,
    /// Seconds of wall-clock time, summed over shards.
    pub seconds: f64,
}

/// Totals of [`Results`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tests by [`Status`].
    pub tests: [u64; 4],
    /// Cases run.
    pub cases: u64,
    /// Cases that differ.
    pub failed: u64,
    /// Cases left out.
    pub skipped: u64,
}

impl Results {
    /// An empty report of one shard.
    pub fn new(asked: Asked, shard: Shard) -> Results {
        Results {
            asked,
            shards: vec![(shard.index + 1, shard.of)],
            hosts: vec![super::native::host()],
            ..Results::default()
        }
    }

    /// Sums over everything.
    pub fn totals(&self) -> Totals {
        totals(self.tests.iter())
    }

    /// Whether nothing failed.
    pub fn is_clean(&self) -> bool {
        self.tests.iter().all(|test| !test.status.is_bad())
    }

    /// The JSON lines, without line ends.
    pub fn json_lines(&self) -> Vec<String> {
        let mut lines = vec![
            json!({
                "type": "run", "format": FORMAT, "version": self.asked.version, "suites": self.asked.suites,
                "options": self.asked.options, "shards": self.shards, "hosts": self.hosts,
            })
            .to_string(),
        ];
        lines.extend(self.tests.iter().map(|test| json_test(test).to_string()));
        for (key, cell) in &self.cells {
            lines.push(json_cell(key, cell).to_string());
        }
        lines.push(end_of(self, &self.seconds.into()).to_string());
        lines
    }

    /// Reads the JSON lines of the file `name`.
    ///
    /// # Errors
    /// One sentence that names file and line.
    pub fn parse(name: &str, text: &str) -> Result<Results, String> {
        let mut results = Results::default();
        let (mut began, mut ended) = (false, None);
        for (number, line) in text.lines().enumerate() {
            let bad = |what: &str| format!("{name}, line {}: {what}", number + 1);
            let value: Value = serde_json::from_str(line).map_err(|_| bad("this is no JSON"))?;
            match value["type"].as_str() {
                _ if ended.is_some() => return Err(bad("more follows after the report's end")),
                Some("run") if began => return Err(bad("a second report begins in this file")),
                Some("run") if value["format"].as_u64() == Some(FORMAT) => {
                    began = true;
                    results.read_run(&value).ok_or_else(|| bad("a damaged 'run' line"))?;
                }
                Some("run") => return Err(bad("a report of another version")),
                Some("test") => results.tests.push(read_test(&value).ok_or_else(|| bad("a damaged 'test' line"))?),
                Some("coverage") => {
                    let (key, cell) = read_cell(&value).ok_or_else(|| bad("a damaged 'coverage' line"))?;
                    results.cells.insert(key, cell);
                }
                Some("end") => {
                    results.seconds = value["seconds"].as_f64().unwrap_or(0.0);
                    ended = Some(value);
                }
                _ => return Err(bad("this is no line of a conformance report")),
            }
        }
        match (began, ended) {
            (true, Some(end)) if end_of(&results, &end["seconds"]) != end => {
                Err(format!("{name}: lines are missing or there twice, its sums are others"))
            }
            (true, Some(_)) => Ok(results),
            (false, _) => Err(format!("{name}: this is no conformance report")),
            (true, None) => Err(format!("{name}: the report is truncated, its run did not end")),
        }
    }

    fn read_run(&mut self, value: &Value) -> Option<()> {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        self.asked = Asked { suites: text("suites")?, options: text("options")?, version: text("version")? };
        for pair in value["shards"].as_array()? {
            let (m, n) = (pair[0].as_u64()?, pair[1].as_u64()?);
            self.shards.push((1..=n).contains(&m).then_some((m, n))?);
        }
        self.hosts = value["hosts"].as_array()?.iter().filter_map(|h| h.as_str().map(str::to_owned)).collect();
        Some(())
    }
}

/// The line that ends a report.
fn end_of(results: &Results, seconds: &Value) -> Value {
    let totals = results.totals();
    let tests: serde_json::Map<String, Value> =
        STATUSES.iter().zip(totals.tests).map(|((_, name), count)| ((*name).to_owned(), count.into())).collect();
    json!({
        "type": "end", "tests": tests, "cases": totals.cases, "failed": totals.failed, "skipped": totals.skipped,
        "cells": results.cells.len(), "seconds": seconds,
    })
}

/// Sums over some tests.
pub fn totals<'a>(tests: impl Iterator<Item = &'a Test>) -> Totals {
    let mut totals = Totals::default();
    for test in tests {
        totals.tests[test.status as usize] += 1;
        totals.cases += test.cases;
        totals.failed += test.failed;
        totals.skipped += test.skipped;
    }
    totals
}

/// A test as JSON.
pub fn json_test(test: &Test) -> Value {
    json!({
        "type": "test", "suite": test.suite, "engine": test.engine, "name": test.name, "status": test.status.name(),
        "cases": test.cases, "failed": test.failed, "skipped": test.skipped, "detail": test.detail,
        "replay": test.reproducer.as_ref().map(|r| &r.line), "case": test.reproducer.as_ref().map(|r| &r.text),
    })
}

/// A cell of the coverage matrix as JSON.
fn json_cell(key: &Key, cell: &Cell) -> Value {
    let counts = |which: fn(&(u64, u64)) -> u64| cell.counts.iter().map(which).collect::<Vec<_>>();
    let mut line = json!({
        "type": "coverage", "judge": key.judge, "engine": key.engine, "code": key.code, "mode": key.mode,
        "cases": counts(|c| c.0), "failed": counts(|c| c.1), "masks": cell.masks,
    });
    if cell.reproducers.iter().any(Option::is_some) {
        let each = |which: fn(&Reproducer) -> &str| {
            cell.reproducers.iter().map(|found| found.as_ref().map(which).into()).collect::<Vec<Value>>()
        };
        line["replay"] = each(|found| &found.line).into();
        line["case"] = each(|found| &found.text).into();
    }
    line
}

fn read_test(value: &Value) -> Option<Test> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    Some(Test {
        suite: text("suite")?,
        engine: text("engine")?,
        name: text("name")?,
        status: Status::named(value["status"].as_str()?)?,
        cases: value["cases"].as_u64()?,
        failed: value["failed"].as_u64()?,
        skipped: value["skipped"].as_u64()?,
        detail: text("detail")?,
        reproducer: text("replay").zip(text("case")).map(|(line, text)| Reproducer { line, text }),
    })
}

fn read_cell(value: &Value) -> Option<(Key, Cell)> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let key = Key {
        code: text("code")?,
        mode: u8::try_from(value["mode"].as_u64()?).ok()?,
        judge: text("judge")?,
        engine: text("engine")?,
    };
    let mut cell = Cell { masks: text("masks")?, ..Cell::default() };
    for index in 0..KINDS.len() {
        cell.counts[index] = (value["cases"][index].as_u64()?, value["failed"][index].as_u64()?);
        let text = |key: &str| value[key][index].as_str().map(str::to_owned);
        cell.reproducers[index] = text("replay").zip(text("case")).map(|(line, text)| Reproducer { line, text });
    }
    Some((key, cell))
}

/// Joins reports of one run's shards. Each comes with the name of its file.
///
/// # Errors
/// One sentence if they are of different runs, overlap, or one is missing.
pub fn merge(parts: Vec<(String, Results)>) -> Result<Results, String> {
    let mut parts = parts.into_iter();
    let (first_name, mut whole) = parts.next().ok_or("merge: no report given")?;
    let of = whole.shards.first().map_or(1, |shard| shard.1);
    let mut tests: BTreeMap<(String, String, String), Test> = BTreeMap::new();
    let mut add = |list: Vec<Test>| {
        for test in list {
            let key = (test.suite.clone(), test.engine.clone(), test.name.clone());
            match tests.entry(key) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(test);
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => join(entry.get_mut(), test),
            }
        }
    };
    add(std::mem::take(&mut whole.tests));
    for (name, part) in parts {
        if part.asked != whole.asked || part.shards.iter().any(|shard| shard.1 != of) {
            return Err(format!("{name}: a shard of another run than {first_name}"));
        }
        if let Some((m, n)) = part.shards.iter().find(|shard| whole.shards.contains(shard)) {
            return Err(format!("{name}: shard {m}/{n} is there twice"));
        }
        whole.shards.extend(part.shards);
        whole.hosts.extend(part.hosts);
        whole.seconds += part.seconds;
        for (key, cell) in part.cells {
            whole.cells.entry(key).or_default().add(&cell);
        }
        add(part.tests);
    }
    if let Some(m) = (1..=of).find(|m| !whole.shards.contains(&(*m, of))) {
        return Err(format!("shard {m}/{of} is missing"));
    }
    whole.shards = vec![(1, 1)];
    whole.hosts.sort();
    whole.hosts.dedup();
    whole.tests = tests.into_values().collect();
    Ok(whole)
}

/// Adds `other`, the same test in another shard, to `test`.
fn join(test: &mut Test, other: Test) {
    test.cases += other.cases;
    test.failed += other.failed;
    test.skipped += other.skipped;
    if other.status > test.status {
        test.status = other.status;
        test.detail = other.detail;
    }
    // Whichever comes first in the order of their texts, so that the order of the shards does not matter.
    test.reproducer = match (test.reproducer.take(), other.reproducer) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(index: u64, of: u64, failed: u64) -> Results {
        let asked = Asked { suites: "native".to_owned(), options: "--seed 1".to_owned(), version: "1".to_owned() };
        let mut results = Results::new(asked, Shard { index, of });
        let mut test = Test::of_cases("native", "interpreter", "flat32 Add_rm32_r32", 10, failed);
        if failed > 0 {
            test.reproducer = Some(Reproducer { line: "env=flat32".to_owned(), text: "a\nb".to_owned() });
        }
        results.tests.push(test);
        results.tests.push(Test::new("roms", "interpreter", format!("rom{index}"), Status::Pass, "said \"yes\"\n"));
        let key = Key {
            code: "Add_rm32_r32".to_owned(),
            mode: 32,
            judge: "native".to_owned(),
            engine: "interpreter".to_owned(),
        };
        let mut cell = Cell { masks: "AF".to_owned(), ..Cell::default() };
        cell.counts[1] = (10, failed);
        results.cells.insert(key, cell);
        results.seconds = 1.5;
        results
    }

    #[test]
    fn lines_are_read_back() {
        let results = part(0, 1, 3);
        let text = results.json_lines().join("\n");
        assert_eq!(Results::parse("x", &text).unwrap(), results);
    }

    #[test]
    fn shards_become_one_report() {
        let whole = merge(vec![("b".to_owned(), part(1, 2, 4)), ("a".to_owned(), part(0, 2, 0))]).unwrap();
        let totals = whole.totals();
        assert_eq!((totals.cases, totals.failed, totals.tests), (22, 4, [2, 0, 1, 0]));
        assert!(!whole.is_clean());
        let test = &whole.tests[0];
        assert_eq!((test.cases, test.failed, test.status), (20, 4, Status::Fail));
        assert_eq!(test.reproducer.as_ref().unwrap().text, "a\nb");
        assert_eq!(whole.cells.values().next().unwrap().counts[1], (20, 4));
    }

    #[test]
    fn what_does_not_belong_together_is_one_sentence() {
        let merged = |parts: Vec<Results>| {
            merge(parts.into_iter().enumerate().map(|(n, part)| (format!("file{n}"), part)).collect()).unwrap_err()
        };
        assert_eq!(merged(vec![part(0, 3, 0), part(2, 3, 0)]), "shard 2/3 is missing");
        assert_eq!(merged(vec![part(0, 2, 0), part(0, 2, 0)]), "file1: shard 1/2 is there twice");
        assert_eq!(merged(vec![part(0, 2, 0), part(1, 3, 0)]), "file1: a shard of another run than file0");
        assert_eq!(merged(Vec::new()), "merge: no report given");
        let text = part(0, 1, 0).json_lines();
        let error = Results::parse("r.jsonl", &text[..2].join("\n")).unwrap_err();
        assert_eq!(error, "r.jsonl: the report is truncated, its run did not end");
        assert_eq!(Results::parse("r.jsonl", "").unwrap_err(), "r.jsonl: this is no conformance report");
        assert_eq!(Results::parse("r.jsonl", "{]").unwrap_err(), "r.jsonl, line 1: this is no JSON");
    }
}
