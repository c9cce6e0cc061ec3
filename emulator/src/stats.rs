//! What a run did and where its time went: `--stats` as text, `--stats-json` for programs.
//!
//! Shares of time are sampled: a thread looks some thousand times a second at what the processor's thread is doing, at
//! uneven distances, so that nothing periodic in the guest is seen always or never.

use crate::error::{Error, Result};
use crate::machine::Machine;
use ring86_translator::activity::{Activity, Doing};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    thread: JoinHandle<Samples>,
}

impl Sampler {
    /// Begins to look at `activity`.
    ///
    /// # Errors
    /// If the host has no thread left.
    pub fn start(activity: Arc<Activity>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let look = move || {
            let mut samples = Samples::default();
            let mut microseconds = 700;
            while !stopped.load(Ordering::Relaxed) {
                // 700 to 1,298 microseconds: 23 and 599 have no common divisor, so all are visited.
                microseconds = 700 + (microseconds - 700 + 23) % 599;
                std::thread::sleep(Duration::from_micros(microseconds));
                samples[activity.now() as usize] += 1;
            }
            samples
        };
        let thread = std::thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(look)
            .map_err(|e| Error::new(format!("--stats: the host gives no thread: {e}")))?;
        Ok(Sampler { stop, thread })
    }

    /// Ends it.
    pub fn finish(self) -> Samples {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
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
/// `time` (`[{name, samples, ns}]`), `calls` (`[{name, sensitive, count, ns}]`), `side_exits` (`[{reason, count}]`),
/// `translations` (`{blocks, regions, instructions, ns, bytes}`), `invalidations`, `window_fills`, and `counters`, an
/// object of further numbers by name. What an engine does not have is zero or empty.
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
    for part in list(stats, "time").iter().filter(|p| number(p, "samples") != 0) {
        let share = number(part, "ns") as f64 * 100.0 / host_ns.max(1) as f64;
        line("time", format!("{share:>5.1}% {}", part["name"].as_str().unwrap_or_default()));
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
        std::thread::sleep(Duration::from_millis(50));
        let samples = sampler.finish();
        activity.leave(before);
        let total: u64 = samples.iter().sum();
        assert!(total >= 2 && samples[Doing::Compiled as usize] >= total - 1, "{samples:?}");
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
