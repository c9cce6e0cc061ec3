//! The conformance laboratory from its command line: shards, planted bugs, suites of other people's making, reports.

use ring86::conform::native::Oracle;
use ring86::conform::results::Results;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

mod guests;
#[path = "../support/linux_program.rs"]
mod linux_program;
mod planted;
mod programs;
mod shards;
mod wrong_input;

/// A folder of one test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ring86-lab-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Folder(path)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("a temporary file can be written");
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind harms nothing.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ring86"));
    command.arg("conform").args(args).stdin(Stdio::null());
    command
}

/// Runs `ring86 conform` and gives exit code and output.
fn conform(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(args).output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// Runs it with JSON lines and reads them.
fn results(args: &[&str]) -> (i32, Results) {
    let (code, out, err) = conform(&[args, &["--format", "jsonl"]].concat());
    let results = Results::parse("output", &out).unwrap_or_else(|error| panic!("{error}\n{out}\n{err}"));
    (code, results)
}

/// As [`results`], within `limit` seconds. A host that is a guest itself may be kept from its processors in the midst of
/// it: the quickest of three runs counts.
fn results_within(limit: f64, args: &[&str]) -> (i32, Results) {
    let mut all = Vec::new();
    while all.len() < 3 {
        let (code, results, seconds) = timed(args);
        if seconds < limit {
            return (code, results);
        }
        all.push(seconds);
    }
    panic!("{args:?}: {all:?} s, {limit} are allowed");
}

/// As [`results`], with the seconds that it took: the processor's if other programs kept it waiting.
fn timed(args: &[&str]) -> (i32, Results, f64) {
    let start = Instant::now();
    // The shell tells the times of its children in the second line: minutes and seconds, of user and system.
    let output = Command::new("sh")
        .args(["-c", "\"$@\"; code=$?; times >&2; exit $code", "sh", env!("CARGO_BIN_EXE_ring86"), "conform"])
        .args(args)
        .args(["--format", "jsonl"])
        .output()
        .expect("a shell starts");
    let elapsed = start.elapsed().as_secs_f64();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let seconds = |time: &str| {
        let (minutes, seconds) = time.strip_suffix('s')?.split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
    };
    let times: Option<Vec<f64>> = errors.lines().last().unwrap_or_default().split_whitespace().map(seconds).collect();
    let busy: f64 = times.filter(|times| times.len() == 2).expect("the shell's times").iter().sum();
    let results = Results::parse("output", &String::from_utf8_lossy(&output.stdout)).expect("a report");
    (output.status.code().unwrap_or(-1), results, elapsed.min(busy))
}

fn has_judge() -> bool {
    match Oracle::new() {
        Ok(_) => true,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            false
        }
    }
}

/// Says why a test is left out. In CI nothing is.
fn missing(what: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{what}");
    eprintln!("skipped: {what}");
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        missing(&format!("{program} is not installed"));
    }
    found
}

fn statuses(results: &Results) -> Vec<(&str, &str)> {
    results.tests.iter().map(|test| (test.name.as_str(), test.status.name())).collect()
}
