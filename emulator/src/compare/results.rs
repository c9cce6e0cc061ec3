//! What was measured, and the figures that follow from it.

use super::guest::{BARE, BOOT, SUITE, Time};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Version of the report's JSON form.
pub const SCHEMA: u64 = 1;

/// The measured times of one workload under one runner.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// Seconds of every run.
    pub all: Vec<f64>,
}

impl Cell {
    /// The smallest: what disturbs a run only makes it longer.
    pub fn best(&self) -> f64 {
        self.all.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// What one runner did.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Name on the command line.
    pub id: String,
    /// Name in the report.
    pub title: String,
    /// Why it did not run at all.
    pub unavailable: Option<String>,
    /// Why it left a guest out, or what went wrong there, each a sentence.
    pub notes: Vec<String>,
    /// Times by workload.
    pub cells: BTreeMap<String, Cell>,
    /// Counters of the fastest run by start.
    pub stats: BTreeMap<String, Value>,
}

/// A workload: its name and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Name.
    pub name: String,
    /// Category.
    pub stands_for: &'static str,
}

/// The whole comparison.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was compared.
    pub guest: String,
    /// Date, UTC.
    pub date: String,
    /// The host's processor.
    pub host: String,
    /// Versions of the programs.
    pub versions: Vec<String>,
    /// Repetitions.
    pub runs: u32,
    /// Workloads in the order in which they were first seen.
    pub workloads: Vec<Workload>,
    /// Starts in their order.
    pub starts: Vec<String>,
    /// Runners.
    pub rows: Vec<Row>,
    /// A run failed, or results differ: sentences.
    pub failures: Vec<String>,
    /// What each workload computed, and by whom first.
    pub results: BTreeMap<String, (String, String)>,
}

/// What a workload stands for.
fn stands_for(name: &str) -> &'static str {
    let suite = SUITE.iter().find(|w| w.0 == name).map(|w| w.1);
    let bare = BARE.iter().find(|w| w.0 == name).map(|_| "without an operating system");
    let boot = (name == BOOT).then_some("power-on to /init");
    suite.or(bare).or(boot).unwrap_or("whole run")
}

impl Report {
    /// Takes in a time under runner number `row`. A result that differs from that of another runner is a failure.
    pub fn add(&mut self, row: usize, time: Time) {
        if !self.workloads.iter().any(|w| w.name == time.workload) {
            self.workloads.push(Workload { name: time.workload.clone(), stands_for: stands_for(&time.workload) });
        }
        let title = self.rows[row].title.clone();
        if let Some(result) = time.result {
            let (by, first) =
                self.results.entry(time.workload.clone()).or_insert_with(|| (title.clone(), result.clone()));
            if *first != result {
                let sentence = format!("{}: {title} computed '{result}' where {by} computed '{first}'", time.workload);
                if !self.failures.contains(&sentence) {
                    self.failures.push(sentence);
                }
            }
        }
        self.rows[row].cells.entry(time.workload).or_default().all.push(time.seconds);
    }

    /// Best time of a workload under a runner.
    pub fn best(&self, row: &Row, workload: &str) -> Option<f64> {
        row.cells.get(workload).map(Cell::best).filter(|s| s.is_finite())
    }

    /// Best native time of a workload.
    pub fn native(&self, workload: &str) -> Option<f64> {
        self.rows.iter().find(|r| r.id == "native").and_then(|r| self.best(r, workload)).filter(|&s| s > 0.0)
    }

    /// Best time of a workload under any runner.
    pub fn fastest(&self, workload: &str) -> Option<f64> {
        self.rows.iter().filter_map(|r| self.best(r, workload)).filter(|&s| s > 0.0).min_by(f64::total_cmp)
    }

    /// How many times longer than native a workload takes under a runner, or, without a native time, than under the
    /// fastest.
    pub fn slowdown(&self, row: &Row, workload: &str) -> Option<f64> {
        let base = self.native(workload).or_else(|| self.fastest(workload))?;
        Some(self.best(row, workload)? / base)
    }

    /// Rows that ran something.
    pub fn ran(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|r| !r.cells.is_empty())
    }

    /// The JSON form: `schema`, `guest`, `date`, `host`, `versions`, `runs`, `workloads` (`[{name, stands_for}]`),
    /// `runners` (`[{id, title, unavailable, notes, times: [{workload, seconds, all, to_native, to_fastest}], stats}]`
    /// with `stats` by start as `--stats-json` writes them) and `failures`.
    pub fn json(&self) -> Value {
        let runner = |row: &Row| {
            let times: Vec<Value> = self
                .workloads
                .iter()
                .filter_map(|w| {
                    let seconds = self.best(row, &w.name)?;
                    Some(json!({
                        "workload": w.name,
                        "seconds": seconds,
                        "all": row.cells[&w.name].all,
                        "to_native": self.native(&w.name).map(|n| seconds / n),
                        "to_fastest": self.fastest(&w.name).map(|f| seconds / f),
                    }))
                })
                .collect();
            let stats: Map<String, Value> = row.stats.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            json!({
                "id": row.id, "title": row.title, "unavailable": row.unavailable, "notes": row.notes,
                "times": times, "stats": stats,
            })
        };
        let workloads: Vec<Value> =
            self.workloads.iter().map(|w| json!({"name": w.name, "stands_for": w.stands_for})).collect();
        json!({
            "schema": SCHEMA, "guest": self.guest, "date": self.date, "host": self.host, "versions": self.versions,
            "runs": self.runs, "workloads": workloads, "failures": self.failures,
            "runners": self.rows.iter().map(runner).collect::<Vec<_>>(),
        })
    }
}

/// Counters as `--stats-json` wrote them.
///
/// # Errors
/// If they are not there or of another version.
pub fn read_stats(text: &str) -> Result<Value> {
    let value: Value =
        serde_json::from_str(text).map_err(|e| Error::new(format!("the counters of the run are damaged: {e}")))?;
    if value["schema"].as_u64() != Some(crate::stats::SCHEMA) {
        return Err(Error::new("the counters of the run are of another version"));
    }
    Ok(value)
}

/// A time as people read it.
pub fn seconds(s: f64) -> String {
    match s {
        s if s >= 100.0 => format!("{s:.0} s"),
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.1} ms", s * 1e3),
        s if s >= 1e-6 => format!("{:.1} µs", s * 1e6),
        s => format!("{:.0} ns", s * 1e9),
    }
}

/// A ratio as people read it.
pub fn ratio(r: f64) -> String {
    match r {
        r if r >= 100.0 => format!("{r:.0}"),
        r if r >= 10.0 => format!("{r:.1}"),
        r => format!("{r:.2}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn sample() -> Report {
        let mut report = Report { guest: "<guest>".to_owned(), runs: 2, ..Report::default() };
        for (id, title) in [("interpreter", "interpreter"), ("kvm", "KVM"), ("native", "native")] {
            report.rows.push(Row { id: id.to_owned(), title: title.to_owned(), ..Row::default() });
        }
        report.rows[1].unavailable = Some("no & such device".to_owned());
        let time = |workload: &str, seconds, result: &str| Time {
            workload: workload.to_owned(),
            seconds,
            result: Some(result.to_owned()),
        };
        report.add(0, time("crc32", 2.0, "1"));
        report.add(0, time("crc32", 1.0, "1"));
        report.add(2, time("crc32", 0.1, "1"));
        report.add(0, time("boot", 40.0, "-"));
        report.starts.push("linux".to_owned());
        let stats = json!({
            "schema": 1, "engine": "interpreter", "guest_instructions": 1000, "host_ns": 2_000_000_000u64,
            "time": [{"name": "interpret", "samples": 90, "ns": 1_800_000_000u64},
                     {"name": "idle", "samples": 10, "ns": 200_000_000u64}],
            "calls": [{"name": "Cli", "sensitive": true, "count": 1000, "ns": 20_000},
                      {"name": "String", "sensitive": false, "count": 5, "ns": 900}],
            "side_exits": [{"reason": "page fault", "count": 12}],
            "translations": {"blocks": 7, "regions": 3, "instructions": 50, "ns": 4_000_000, "bytes": 900},
            "invalidations": 2, "window_fills": 5, "counters": {"page walks": 17},
            "phases": [{"name": "crc32", "line": "crc32 1.0 1", "host_ns": 1_000_000_000u64,
                "guest_instructions": 500, "interpreted_instructions": 5,
                "time": [{"name": "interpret", "samples": 50, "ns": 1_000_000_000u64}],
                "calls": [{"name": "Sti", "sensitive": true, "count": 3, "ns": 60}], "side_exits": [],
                "counters": {"page walks": 2}}],
        });
        report.rows[0].stats.insert("linux".to_owned(), stats);
        report
    }

    #[test]
    fn slowdowns() {
        let report = sample();
        let row = &report.rows[0];
        assert_eq!(report.best(row, "crc32"), Some(1.0));
        assert_eq!(report.slowdown(row, "crc32"), Some(10.0));
        assert_eq!(report.slowdown(row, "boot"), Some(1.0));
        assert_eq!(report.slowdown(&report.rows[1], "crc32"), None);
        let json = report.json();
        assert_eq!(json["runners"][0]["times"][0]["to_native"], 10.0);
        assert_eq!(json["runners"][0]["times"][1]["to_native"], Value::Null);
        assert_eq!(json["runners"][1]["unavailable"], "no & such device");
        assert_eq!(json["workloads"][0]["stands_for"], "integer");
    }

    #[test]
    fn differing_results_are_failures() {
        let mut report = sample();
        assert!(report.failures.is_empty());
        let wrong = Time { workload: "crc32".to_owned(), seconds: 1.0, result: Some("2".to_owned()) };
        report.add(2, wrong.clone());
        report.add(2, wrong);
        assert_eq!(report.failures, ["crc32: native computed '2' where interpreter computed '1'"]);
    }

    #[test]
    fn counters_of_another_version_are_refused() {
        assert!(read_stats("{\"schema\": 1}").is_ok());
        assert!(read_stats("{\"schema\": 2}").is_err());
        assert!(read_stats("{").is_err());
    }

    #[test]
    fn figures_for_people() {
        assert_eq!(
            (seconds(123.4), seconds(1.5), seconds(0.0123)),
            ("123 s".into(), "1.50 s".into(), "12.3 ms".into())
        );
        assert_eq!((ratio(123.4), ratio(12.34), ratio(1.234)), ("123".into(), "12.3".into(), "1.23".into()));
    }
}
