//! What a run did and where its time went: `--stats` as text, `--stats-json` for programs.
//!
//! Shares of time are sampled: a thread looks some thousand times a second at what the processor's thread is doing, at
//! uneven distances, so that nothing periodic in the guest is seen always or never.

use crate::error::{Error, Result};
use crate::machine::Machine;
use ring86_translator::activity::{Activity, Doing};
use ring86_translator::helpers::{Helper, Rewrite};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Version of what `--stats-json` writes; a number changes its meaning only with it.
pub const SCHEMA: u64 = 1;

/// How often each activity was seen.
pub type Samples = [u64; Doing::ALL.len()];

/// The thread that looks.
#[derive(Debug)]
pub struct Sampler {
    stop: Arc<AtomicBool>,
    seen: Arc<[AtomicU64; Doing::ALL.len()]>,
    thread: JoinHandle<()>,
}

impl Sampler {
    /// Begins to look at `activity`.
    ///
    /// # Errors
    /// If the host has no thread left.
    pub fn start(activity: Arc<Activity>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let seen: Arc<[AtomicU64; Doing::ALL.len()]> = Arc::default();
        let counts = Arc::clone(&seen);
        let look = move || {
            let mut microseconds = 700;
            while !stopped.load(Ordering::Relaxed) {
                // 700 to 1,298 microseconds: 23 and 599 have no common divisor, so all are visited.
                microseconds = 700 + (microseconds - 700 + 23) % 599;
                std::thread::sleep(Duration::from_micros(microseconds));
                counts[activity.now() as usize].fetch_add(1, Ordering::Relaxed);
            }
        };
        let thread = std::thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(look)
            .map_err(|e| Error::new(format!("--stats: the host gives no thread: {e}")))?;
        Ok(Sampler { stop, seen, thread })
    }

    /// What it has seen so far.
    pub fn samples(&self) -> Samples {
        self.seen.each_ref().map(|n| n.load(Ordering::Relaxed))
    }

    /// Ends it.
    pub fn finish(self) -> Samples {
        self.stop.store(true, Ordering::Relaxed);
        let samples = self.samples();
        // Only a panic in the thread could be lost here, and nothing in it panics.
        drop(self.thread.join());
        samples
    }
}

/// Parts of a run that lines on COM1 divide: a line that begins with one of the given words ends a phase.
#[derive(Debug)]
pub struct Phases {
    words: Vec<String>,
    /// How much of COM1's output was looked at.
    position: u64,
    line: Vec<u8>,
    last: Value,
    list: Vec<Value>,
}

/// Phases that are kept; a guest may print for hours.
const PHASES_MAX: usize = 1000;
/// Bytes of a line that are kept.
const LINE_MAX: usize = 200;

impl Phases {
    /// No phase has begun yet but the first.
    pub fn new(words: &[String]) -> Self {
        Phases { words: words.to_vec(), position: 0, line: Vec::new(), last: json!({}), list: Vec::new() }
    }

    /// Looks at what the guest has printed since the last look; `now` collects the counters of the run so far.
    pub fn look(&mut self, machine: &Machine, now: impl Fn(&Machine) -> Value) {
        if self.words.is_empty() {
            return;
        }
        let (from, new) = machine.serial_from(self.position);
        self.position = from + new.len() as u64;
        for &byte in new {
            match byte {
                b'\n' => {
                    let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim().to_owned();
                    let word = line.split_whitespace().next().unwrap_or_default();
                    if self.words.iter().any(|w| w == word) && self.list.len() < PHASES_MAX {
                        let total = now(machine);
                        let mut phase = since(&total, &self.last);
                        phase["name"] = word.into();
                        phase["line"] = line.into();
                        self.list.push(phase);
                        self.last = total;
                    }
                }
                _ if self.line.len() < LINE_MAX => self.line.push(byte),
                _ => {}
            }
        }
    }

    /// The phases, each with the members of [`collect`] for its own part, and `name` and `line`.
    pub fn finish(self) -> Vec<Value> {
        self.list
    }
}

/// What counters have grown by. Items of lists are found by their name or reason.
fn since(new: &Value, old: &Value) -> Value {
    match new {
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), since(v, &old[k]))).collect(),
        Value::Array(items) => {
            let key = |v: &Value| v["name"].as_str().or(v["reason"].as_str()).map(str::to_owned);
            let before = |item: &Value| old.as_array().into_iter().flatten().find(|o| key(o) == key(item));
            items.iter().map(|item| since(item, before(item).unwrap_or(&Value::Null))).collect()
        }
        Value::Number(n) => match n.as_u64() {
            Some(n) => n.saturating_sub(old.as_u64().unwrap_or(0)).into(),
            None => new.clone(),
        },
        other => other.clone(),
    }
}

/// A file that a report goes to at the end of a run, opened at its beginning so that nobody waits in vain.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: File,
    /// It was not there before.
    created: bool,
    written: bool,
}

impl Output {
    /// Opens `path` for writing. What it holds stays until [`Output::write`].
    ///
    /// # Errors
    /// One sentence if it cannot be written.
    pub fn open(what: &str, path: &Path) -> Result<Self> {
        let created = !path.exists();
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| Error::io(&format!("write the {what} to"), path, &e))?;
        Ok(Output { path: path.to_owned(), file, created, written: false })
    }

    /// Replaces the contents.
    ///
    /// # Errors
    /// If the host refuses, for example because the disk is full.
    pub fn write(mut self, text: &str) -> Result<()> {
        let regular = self.file.metadata().is_ok_and(|m| m.is_file());
        let result = (|| {
            if regular {
                self.file.set_len(0)?;
            }
            self.file.write_all(text.as_bytes())?;
            self.file.flush()
        })();
        self.written = result.is_ok();
        result.map_err(|e| Error::io("write", &self.path, &e))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.created && !self.written {
            // An empty file that stays behind harms nothing.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Everything that is known about a run of `machine` that took `host` and was sampled as `samples`.
///
/// The members: `schema`, `engine`, `guest_instructions`, `interpreted_instructions`, `host_ns`, `guest_ns`, `at`,
/// `time` (`[{name, samples, ns}]`), `calls` (`[{name, sensitive, count, ns}]`), `no_calls` (`[{name, when}]`: what compiled
/// code does without a call that would be counted), `side_exits` (`[{reason, count}]`),
/// `translations` (`{blocks, regions, instructions, ns, bytes}`), `invalidations`, `window_fills`, and `counters`, an
/// object of further numbers by name. What an engine does not have is zero or empty. A caller that divides the run adds
/// `phases`, a list of the same for each part, with `name` and `line`.
pub fn collect(machine: &Machine, host: Duration, samples: &Samples) -> Value {
    let s = machine.stats();
    let (resets, slices) = machine.counts();
    let executed = machine.executed();
    let host_ns = u64::try_from(host.as_nanos()).unwrap_or(u64::MAX);
    let seen: u64 = samples.iter().sum();
    let share = |n: u64| if seen == 0 { 0 } else { (u128::from(host_ns) * u128::from(n) / u128::from(seen)) as u64 };
    let time: Vec<Value> = Doing::ALL
        .iter()
        .zip(samples)
        .map(|(doing, &n)| json!({"name": doing.name(), "samples": n, "ns": share(n)}))
        .collect();
    let calls: Vec<Value> = machine
        .cpu()
        .calls()
        .iter()
        .map(
            |(h, count, ns)| json!({"name": format!("{h:?}"), "sensitive": h.is_sensitive(), "count": count, "ns": ns}),
        )
        .collect();
    let no_calls: Vec<Value> = Helper::ALL
        .iter()
        .filter_map(|helper| match helper.rewrite() {
            Rewrite::Call => None,
            Rewrite::Inline(when) | Rewrite::Beside(when) => Some(json!({"name": format!("{helper:?}"), "when": when})),
        })
        .filter(|_| machine.kvm().is_none() && machine.cpu().tier_stats().is_some())
        .collect();
    let exits_to_here = machine.kvm().map(|k| k.exits()).unwrap_or_default();
    let exits_to_here = exits_to_here
        .into_iter()
        .map(|(name, count, ns)| json!({"name": name, "sensitive": true, "count": count, "ns": ns}));
    let calls: Vec<Value> = calls.into_iter().chain(exits_to_here).collect();
    let state = &machine.cpu().state;
    let at = crate::trace::disassemble(machine.cpu());
    let tiers = machine.cpu().tier_stats();
    let t = tiers.unwrap_or_default();
    let window = machine.cpu().window_stats().unwrap_or_default();
    let exits: Vec<Value> = ring86_translator::engine::EXIT_NAMES
        .iter()
        .zip(t.exits)
        .filter(|(_, count)| *count != 0)
        .map(|(reason, count)| json!({"reason": reason, "count": count}))
        .collect();
    json!({
        "schema": SCHEMA,
        "engine": match (machine.kvm(), tiers) {
            (Some(_), _) => "kvm",
            (None, Some(_)) => "translator",
            (None, None) => "interpreter",
        },
        "guest_instructions": executed,
        "interpreted_instructions": executed.saturating_sub(t.retired),
        "host_ns": host_ns,
        "guest_ns": machine.now(),
        "at": format!("{:04x}:{:08x} {at}", state.segs[1].selector, state.rip),
        "time": time,
        "calls": calls,
        "no_calls": no_calls,
        "side_exits": exits,
        "translations": {
            "blocks": s.blocks_lifted,
            "regions": t.regions,
            "instructions": t.instructions,
            "ns": t.compile_ns,
            "bytes": t.bytes,
        },
        "invalidations": s.invalidated,
        "window_fills": window.fills,
        "counters": {
            "slices": slices,
            "resets": resets,
            "blocks run": s.blocks_run,
            "page walks": s.walks,
            "shadow flushes": s.flushes,
            "device loads/stores": s.mmio,
            "port accesses": s.ports,
            "exceptions": s.exceptions,
            "interrupts": s.interrupts,
            "helper calls": s.helpers,
            "entries into compiled code": t.entries,
            "regions dropped": t.dropped,
            "accesses compiled anew to resume": t.resuming,
            "code cache flushes": t.flushes,
            "plans void": t.void,
            "window maps": window.maps,
        },
    })
}

/// The number at `name`, 0 if there is none.
fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

/// The items of the list at `name`.
fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// The same as lines for people.
pub fn text(stats: &Value) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name:<20} {value}");
    };
    let (instructions, host_ns) = (number(stats, "guest_instructions"), number(stats, "host_ns"));
    let seconds = host_ns as f64 / 1e9;
    line("guest instructions", instructions.to_string());
    line("host seconds", format!("{seconds:.3}"));
    line("guest seconds", format!("{:.3}", number(stats, "guest_ns") as f64 / 1e9));
    line("million instr/s", format!("{:.1}", instructions as f64 / seconds.max(1e-9) / 1e6));
    let interpreted = number(stats, "interpreted_instructions");
    line("interpreted", format!("{interpreted} ({:.1}%)", interpreted as f64 * 100.0 / (instructions as f64).max(1.0)));
    line("at", stats["at"].as_str().unwrap_or_default().to_owned());
    let translations = &stats["translations"];
    line("blocks lifted", number(translations, "blocks").to_string());
    if number(translations, "regions") != 0 {
        line("regions compiled", number(translations, "regions").to_string());
        line("  instructions", number(translations, "instructions").to_string());
        line("  bytes", number(translations, "bytes").to_string());
        line("  milliseconds", format!("{:.1}", number(translations, "ns") as f64 / 1e6));
        line("window fills", number(stats, "window_fills").to_string());
    }
    line("blocks invalidated", number(stats, "invalidations").to_string());
    for (name, value) in stats["counters"].as_object().into_iter().flatten() {
        line(name, value.to_string());
    }
    for exit in list(stats, "side_exits") {
        line("side exit", format!("{:>12} {}", number(exit, "count"), exit["reason"].as_str().unwrap_or_default()));
    }
    let mut calls: Vec<&Value> = list(stats, "calls").iter().collect();
    calls.sort_by_key(|c| std::cmp::Reverse(number(c, "count")));
    for call in calls {
        let (count, ns) = (number(call, "count"), number(call, "ns"));
        let mean = ns as f64 / count.max(1) as f64;
        let name = call["name"].as_str().unwrap_or_default();
        let mark = if call["sensitive"] == true { "*" } else { " " };
        line("call", format!("{count:>12} {mark} {name:<12} {mean:>9.0} ns {:>9.3} s", ns as f64 / 1e9));
    }
    for kind in list(stats, "no_calls") {
        let text = |key: &str| kind[key].as_str().unwrap_or_default().to_owned();
        line("not counted", format!("{:>12}   {:<12} if {}", "", text("name"), text("when")));
    }
    for part in list(stats, "time").iter().filter(|p| number(p, "samples") != 0) {
        let share = number(part, "ns") as f64 * 100.0 / host_ns.max(1) as f64;
        line("time", format!("{share:>5.1}% {}", part["name"].as_str().unwrap_or_default()));
    }
    for phase in list(stats, "phases") {
        let ns = number(phase, "host_ns").max(1);
        let mut parts: Vec<&Value> = list(phase, "time").iter().filter(|p| number(p, "ns") * 100 >= ns).collect();
        parts.sort_by_key(|p| std::cmp::Reverse(number(p, "ns")));
        let share = |p: &&Value| {
            format!("{:.0}% {}", number(p, "ns") as f64 * 100.0 / ns as f64, p["name"].as_str().unwrap_or_default())
        };
        let shares: Vec<String> = parts.iter().map(share).collect();
        let name = phase["name"].as_str().unwrap_or_default();
        line("phase", format!("{:>9.3} s {name}: {}", ns as f64 / 1e9, shares.join(", ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampler_sees_what_goes_on() {
        let activity = Arc::new(Activity::default());
        let before = activity.enter(Doing::Compiled);
        let sampler = Sampler::start(Arc::clone(&activity)).expect("a thread");
        // However long the host lets its thread stand still.
        while sampler.samples().iter().sum::<u64>() < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let samples = sampler.finish();
        activity.leave(before);
        let total: u64 = samples.iter().sum();
        assert!(samples[Doing::Compiled as usize] >= total - 1, "{samples:?}");
    }

    #[test]
    fn counters_grow() {
        let old = json!({"schema": 1, "a": 5, "list": [{"name": "x", "count": 2}], "at": "here"});
        let new =
            json!({"schema": 1, "a": 7, "list": [{"name": "y", "count": 9}, {"name": "x", "count": 3}], "at": "there"});
        let grown = since(&new, &old);
        assert_eq!(grown["a"], 2);
        assert_eq!(grown["list"], json!([{"name": "y", "count": 9}, {"name": "x", "count": 1}]));
        assert_eq!(grown["at"], "there");
        assert_eq!(since(&new, &json!({})), new);
    }

    #[test]
    fn an_output_that_is_not_written_leaves_nothing() {
        let folder = std::env::temp_dir().join(format!("ring86-output-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("report");
        drop(Output::open("report", &path).expect("it can be made"));
        assert!(!path.exists());
        std::fs::write(&path, "what was there before, and longer").expect("a file");
        drop(Output::open("report", &path).expect("it can be opened"));
        assert!(std::fs::read(&path).is_ok_and(|b| b.starts_with(b"what was")));
        Output::open("report", &path).expect("it can be opened").write("new").expect("it can be written");
        assert!(std::fs::read(&path).is_ok_and(|b| b == b"new"));
        let error = Output::open("report", &folder).expect_err("a folder is no file").to_string();
        assert!(error.contains("report") && error.contains("it is a folder"), "{error}");
        std::fs::remove_dir_all(&folder).expect("it can be removed");
    }
}
