//! `ring86 compare`: the overhead report. The same guest under each runner in turn, and what the difference is made of.
//!
//! `guest` says what is started, `runner` by whom, `child` runs one of them; `results` are written by `table`,
//! `html` and as JSON.

mod child;
mod guest;
mod html;
mod initrd;
mod plot;
mod results;
mod runner;
mod table;

use crate::config;
use crate::error::{Error, Result};
use crate::logging::say;
use crate::session::code;
use crate::stats::Output;
use guest::{Request, Start};
use results::{Report, Row};
use runner::{Host, RUNNERS, Runner};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Exit code of a comparison in which a run failed or results differ.
const FAILED: u8 = 1;

/// Arguments of `ring86 compare`.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// The word bench, a Linux or multiboot kernel, or a static i386 program of Linux.
    guest: String,
    /// Arguments of a program, after --.
    #[arg(last = true)]
    arguments: Vec<String>,
    /// Repetitions; the smallest time counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Only these runners: interpreter, translator, translator-table, kvm, native, qemu (several with commas).
    #[arg(long, value_name = "RUNNER", value_delimiter = ',')]
    runner: Vec<String>,
    /// Ask QEMU for a second opinion as well.
    #[arg(long)]
    with_qemu: bool,
    /// The QEMU to ask.
    #[arg(long, value_name = "FILE", default_value = "qemu-system-i386", requires = "with_qemu")]
    qemu: PathBuf,
    /// Only these workloads of bench (several with commas).
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    only: Vec<String>,
    /// Units of work of each workload of bench under Linux.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    units: u32,
    /// Units of work of each workload of bench without an operating system.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    bare_units: u32,
    /// Guest memory: a number with K, M or G (a bare number is MiB).
    #[arg(short = 'm', value_name = "SIZE", default_value = "256M", allow_hyphen_values = true)]
    memory: String,
    /// Initial RAM disk of a kernel given as the guest.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Command line of a kernel given as the guest.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    append: Option<String>,
    /// The Linux kernel that bench and programs run under; default: vmlinuz-686 among the guests.
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Where tools/guests and benches/guest/build.sh put things.
    #[arg(long, value_name = "DIR", default_value = "guests")]
    guests: PathBuf,
    /// Longest that one run may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as a page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// A folder for what is made on the way; it goes with this value.
struct Work(PathBuf);

impl Work {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("ring86-compare-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|e| Error::io("create the folder", &path, &e))?;
        Ok(Work(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // A folder that stays behind among temporary files harms nothing.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl CompareArgs {
    fn runners(&self) -> Result<Vec<&'static Runner>> {
        if let Some(bad) = self.runner.iter().find(|id| !RUNNERS.iter().any(|r| r.id == id.as_str())) {
            let list: Vec<&str> = RUNNERS.iter().map(|r| r.id).collect();
            return Err(Error::new(format!("--runner {bad}: there is no such runner; there are {}", list.join(", "))));
        }
        let wanted = |r: &&Runner| self.runner.is_empty() || self.runner.iter().any(|id| id == r.id);
        Ok(RUNNERS
            .iter()
            .filter(wanted)
            .filter(|r| r.id != "qemu" || self.with_qemu || !self.runner.is_empty())
            .collect())
    }

    fn output(what: &str, path: Option<&Path>) -> Result<Option<Output>> {
        path.map(|path| Output::open(what, path)).transpose()
    }

    /// Runs the comparison and returns the process's exit code.
    ///
    /// # Errors
    /// One sentence, before anything is run, if an argument or a file is of no use.
    pub fn run(&self) -> Result<u8> {
        let runners = self.runners()?;
        let bytes = config::parse_ram(&self.memory)?;
        let work = Work::new()?;
        let ring86 =
            std::env::current_exe().map_err(|e| Error::new(format!("cannot find this program's own file: {e}")))?;
        let host = Host {
            ring86,
            qemu: self.with_qemu.then(|| self.qemu.clone()),
            memory: (self.memory.clone(), bytes.div_ceil(1 << 20)),
            limit: Duration::from_secs(self.limit),
            work: work.0.clone(),
        };
        let request = Request {
            guest: &self.guest,
            arguments: &self.arguments,
            only: &self.only,
            initrd: self.initrd.as_deref(),
            append: self.append.as_deref(),
            kernel: self.kernel.as_deref(),
            guests: &self.guests,
            units: self.units,
            bare_units: self.bare_units,
            work: &work.0,
        };
        let starts = request.starts()?;
        if self.json.is_some() && self.json == self.html {
            return Err(Error::new("--json and --html name the same file; give them two"));
        }
        let json = Self::output("JSON report", self.json.as_deref())?;
        let html = Self::output("HTML report", self.html.as_deref())?;

        let report = self.measure(&runners, &starts, &host);
        print!("{}", table::text(&report));
        if let Some(file) = json {
            file.write(&format!("{:#}\n", report.json()))?;
        }
        if let Some(file) = html {
            file.write(&html::page(&report))?;
        }
        Ok(if report.failures.is_empty() { code::OFF } else { FAILED })
    }

    fn measure(&self, runners: &[&Runner], starts: &[Start], host: &Host) -> Report {
        let mut report = Report {
            guest: self.guest.clone(),
            date: date(),
            host: processor(),
            versions: versions(host),
            runs: self.runs,
            starts: starts.iter().map(|s| s.name.clone()).collect(),
            ..Report::default()
        };
        for runner in runners {
            let mut row = Row { id: runner.id.to_owned(), title: runner.title.to_owned(), ..Row::default() };
            row.unavailable = runner.unavailable(host);
            if row.unavailable.is_none() {
                row.notes.extend(starts.iter().filter_map(|s| Some(format!("{}: {}", s.name, runner.declines(s)?))));
            }
            report.rows.push(row);
        }
        for run in 1..=self.runs {
            for start in starts {
                for (row, runner) in runners.iter().enumerate() {
                    let failed = report.rows[row].notes.iter().any(|n| n.starts_with(&format!("{}: ", start.name)));
                    if report.rows[row].unavailable.is_some() || failed {
                        continue;
                    }
                    say(format_args!("run {run} of {}: {} under {}", self.runs, start.name, runner.title));
                    if let Err(sentence) = one_run(&mut report, row, runner, start, host) {
                        let note = format!("{}: {sentence}", start.name);
                        report.failures.push(format!("{} under {}: {sentence}", start.name, runner.title));
                        report.rows[row].notes.push(note);
                    }
                }
            }
        }
        report
    }
}

/// Runs one guest under one runner and takes the times in.
fn one_run(
    report: &mut Report,
    row: usize,
    runner: &Runner,
    start: &Start,
    host: &Host,
) -> std::result::Result<(), String> {
    let stats = host.work.join("stats.json");
    let done = child::run(runner.command(start, host, &stats), host.limit)?;
    let times = start.times(&done, runner.is_native())?;
    for time in times {
        report.add(row, time);
    }
    if runner.has_stats() {
        let text = std::fs::read_to_string(&stats).map_err(|e| format!("its counters cannot be read: {e}"))?;
        let new = results::read_stats(&text).map_err(|e| e.to_string())?;
        let slot = report.rows[row].stats.entry(start.name.clone()).or_insert_with(|| new.clone());
        if new["host_ns"].as_u64() < slot["host_ns"].as_u64() {
            *slot = new;
        }
    }
    Ok(())
}

fn date() -> String {
    let d = config::host_date();
    format!("{:04}-{:02}-{:02} {:02}:{:02} UTC", d.year, d.month, d.day, d.hour, d.minute)
}

/// The name of the host's processor and how many of it there are.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ").map(|p| p.1.trim().to_owned()));
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} ({count} usable)", name.unwrap_or_else(|| std::env::consts::ARCH.to_owned()))
}

fn versions(host: &Host) -> Vec<String> {
    let build = if cfg!(debug_assertions) { "development build" } else { "release build" };
    let mut list = vec![format!("ring86 {} ({build})", env!("CARGO_PKG_VERSION"))];
    if let Some(qemu) = &host.qemu {
        let mut command = std::process::Command::new(qemu);
        command.arg("--version");
        if let Ok(done) = child::run(command, Duration::from_secs(60)) {
            list.extend(done.lines.into_iter().next().map(|(_, line)| line));
        }
    }
    list
}
