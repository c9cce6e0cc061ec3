//! What is compared: a guest becomes one or more starts, each with its workloads and the way to read their times.

use super::child::Finished;
use super::initrd;
use crate::boot::elf::Elf;
use crate::boot::image::{self, Kind};
use crate::error::{Error, Result};
use crate::session;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The workloads of the benchmark guest under Linux: name and what it stands for. `benches/guest` holds them.
pub const SUITE: &[(&str, &str)] = &[
    ("crc32", "integer"),
    ("sieve", "integer"),
    ("sha256", "integer"),
    ("quicksort", "integer"),
    ("bytecode", "indirect jumps"),
    ("chase", "pointer chasing"),
    ("fib", "calls"),
    ("calls", "calls"),
    ("copy-loop", "memcpy"),
    ("rep-movsd", "memcpy"),
    ("rep-movsb-short", "memcpy"),
    ("rep-stosd", "memcpy"),
    ("nbody-x87", "x87"),
    ("matrix-x87", "x87"),
    ("matrix-sse2", "SSE2"),
    ("dot-sse2", "SSE2"),
    ("getppid", "system calls"),
    ("pipe", "pipes"),
    ("fork", "fork"),
    ("page-faults", "page faults"),
];

/// The workloads of the image without an operating system: name, its word on the command line, the programs of
/// [`SUITE`] that do the same work.
pub const BARE: &[(&str, &str, &[&str])] = &[
    ("no-os-integer", "integer", &["crc32", "sieve", "sha256", "quicksort", "bytecode", "chase", "fib", "calls"]),
    ("no-os-memory", "memory", &["copy-loop", "rep-movsd", "rep-movsb-short", "rep-stosd"]),
    ("no-os-float", "float", &["nbody-x87", "matrix-x87", "matrix-sse2", "dot-sse2"]),
];

/// The time from power-on to the first program.
pub const BOOT: &str = "boot";

/// Programs of Linux are linked for addresses from here on; kernels that run without one lie lower.
const LOWEST_PROGRAM: u32 = 0x0800_0000;

/// One measured time.
#[derive(Clone, Debug, PartialEq)]
pub struct Time {
    /// The workload's name.
    pub workload: String,
    /// Seconds.
    pub seconds: f64,
    /// What must be the same under every runner.
    pub result: Option<String>,
}

/// How times are read from what a run printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Lines `name seconds checksum`, after the line of /init.
    Suite,
    /// The whole run is one workload; lines `name checksum` or `name seconds checksum` are its result.
    Whole,
    /// The line of our own /init around one program.
    Program,
}

/// One guest that is started as a whole.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its name in the report.
    pub name: String,
    /// A kernel that our own loaders start.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    pub append: String,
    /// The same work as a command of the host.
    pub native: Option<Vec<String>>,
    /// How its times are read.
    pub reads: Reads,
    /// The exit code of a good run; `None`: 0 and all odd ones.
    pub good_exit: Option<i32>,
}

/// A time that a line `name seconds checksum` states.
fn suite_line(line: &str) -> Option<Time> {
    let mut words = line.split(' ');
    let (name, seconds, sum) = (words.next()?, words.next()?, words.next()?);
    let is_sum = sum.len() == 8 && sum.bytes().all(|b| b.is_ascii_hexdigit());
    if words.next().is_some() || !is_sum || !seconds.contains('.') {
        return None;
    }
    Some(Time { workload: name.to_owned(), seconds: seconds.parse().ok()?, result: Some(sum.to_owned()) })
}

/// `name checksum` of a line with or without seconds in between.
fn bare_line(line: &str) -> Option<String> {
    if let Some(time) = suite_line(line) {
        return Some(format!("{} {}", time.workload, time.result.unwrap_or_default()));
    }
    let (name, sum) = line.split_once(' ')?;
    (!name.is_empty() && sum.len() == 8 && sum.bytes().all(|b| b.is_ascii_hexdigit())).then(|| line.to_owned())
}

/// The seconds and the exit of the program that our /init states.
fn program_line(line: &str) -> Option<(f64, String)> {
    let words: Vec<u32> = line
        .strip_prefix(initrd::TIMES)?
        .split_ascii_whitespace()
        .map(|w| u32::from_str_radix(w, 16))
        .collect::<std::result::Result<_, _>>()
        .ok()?;
    let [s0, ns0, s1, ns1, status] = words[..] else { return None };
    let seconds = f64::from(s1.wrapping_sub(s0)) + (f64::from(ns1) - f64::from(ns0)) / 1e9;
    let exit =
        if status & 0x7f == 0 { format!("exit {}", status >> 8 & 0xff) } else { format!("signal {}", status & 0x7f) };
    Some((seconds, exit))
}

impl Start {
    /// The times of a run of this guest (`native`: of the same work on the host).
    ///
    /// # Errors
    /// One sentence if the run was no good one.
    pub fn times(&self, done: &Finished, native: bool) -> std::result::Result<Vec<Time>, String> {
        self.check_exit(done, native)?;
        let lines = || done.lines.iter().map(|(_, line)| line.as_str());
        let seconds = done.took.as_secs_f64();
        let booted = || {
            let at = done.lines.iter().find(|(_, line)| line.contains(initrd::READY)).map(|(at, _)| at.as_secs_f64());
            at.map(|seconds| Time { workload: BOOT.to_owned(), seconds, result: None })
                .ok_or_else(|| format!("the guest ended without the line '{}'", initrd::READY))
        };
        Ok(match self.reads {
            Reads::Suite => {
                let mut times: Vec<Time> = if native { Vec::new() } else { vec![booted()?] };
                times.extend(lines().filter_map(suite_line));
                if times.is_empty() {
                    return Err("it printed no times".to_owned());
                }
                times
            }
            Reads::Whole => {
                let results: Vec<String> = lines().filter_map(bare_line).collect();
                let result = (!results.is_empty()).then(|| results.join(", "));
                // A program states its own time, which leaves out what the host needs to start it.
                let stated: f64 = lines().filter_map(suite_line).map(|t| t.seconds).sum();
                let seconds = if native && stated > 0.0 { stated } else { seconds };
                vec![Time { workload: self.name.clone(), seconds, result }]
            }
            Reads::Program if native => {
                let exit = done.code.map_or_else(|| "signal".to_owned(), |c| format!("exit {c}"));
                vec![Time { workload: self.name.clone(), seconds, result: Some(exit) }]
            }
            Reads::Program => {
                let Some((seconds, exit)) = lines().find_map(program_line) else {
                    return Err("the guest ended before the program did".to_owned());
                };
                vec![booted()?, Time { workload: self.name.clone(), seconds, result: Some(exit) }]
            }
        })
    }

    fn check_exit(&self, done: &Finished, native: bool) -> std::result::Result<(), String> {
        let good = match (done.code, self.reads, native) {
            (Some(_), Reads::Program, true) => true,
            (code, _, true) => code == Some(0),
            (Some(code), _, false) => self.good_exit.map_or(code == 0 || code % 2 == 1, |good| code == good),
            (None, ..) => false,
        };
        if good {
            return Ok(());
        }
        let how = done.code.map_or_else(|| "a signal ended it".to_owned(), |c| format!("it ended with {c}"));
        let last = done.last_words.trim().trim_start_matches("ring86: ");
        Err(if last.is_empty() { how } else { format!("{how}: {last}") })
    }
}

/// What the user asked for, as far as it concerns guests.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// `bench`, or the path of a kernel or a program.
    pub guest: &'a str,
    /// Arguments of a program.
    pub arguments: &'a [String],
    /// Only these workloads of `bench`.
    pub only: &'a [String],
    /// Initial RAM disk of a kernel.
    pub initrd: Option<&'a Path>,
    /// Command line of a kernel.
    pub append: Option<&'a str>,
    /// The Linux kernel that programs run under.
    pub kernel: Option<&'a Path>,
    /// Where `tools/guests` and `benches/guest/build.sh` put things.
    pub guests: &'a Path,
    /// Units of work of each program under Linux.
    pub units: u32,
    /// Units of work without an operating system.
    pub bare_units: u32,
    /// A folder for what is made on the way.
    pub work: &'a Path,
}

impl Request<'_> {
    /// What is to be started.
    ///
    /// # Errors
    /// One sentence if a file is missing or of no use, or a word names nothing.
    pub fn starts(&self) -> Result<Vec<Start>> {
        if self.guest == "bench" {
            return self.bench();
        }
        if !self.only.is_empty() {
            return Err(Error::new("--only chooses among the workloads of 'bench', and this guest has but one"));
        }
        let path = Path::new(self.guest);
        let bytes = session::read_file(path)?;
        match image::recognise(&bytes, bytes.len() as u64) {
            Some(Kind::Elf) if is_program(&bytes) => self.program(path, &bytes),
            Some(Kind::Linux | Kind::Multiboot | Kind::Elf) => self.kernel(path, &bytes),
            Some(_) => Err(Error::new(format!(
                "'{}' is a disk image; compare takes a kernel, an i386 program, or the word bench",
                self.guest
            ))),
            None => Err(image::unknown(self.guest, bytes.len() as u64)),
        }
    }

    /// A file below the folder of guests that must be there.
    fn need(&self, name: &str, remedy: &str) -> Result<PathBuf> {
        let path = self.guests.join(name);
        if path.is_file() {
            return Ok(path);
        }
        Err(Error::new(format!("'{}' is missing: {remedy}, or say with --guests where it is", path.display())))
    }

    fn no_kernel_options(&self) -> Result<()> {
        if self.initrd.is_some() || self.append.is_some() {
            return Err(Error::new("--initrd and --append belong to a kernel given as the guest"));
        }
        Ok(())
    }

    fn no_arguments(&self) -> Result<()> {
        if self.arguments.is_empty() {
            return Ok(());
        }
        Err(Error::new("words after -- are arguments of a Linux program given as the guest; a kernel takes --append"))
    }

    fn linux_kernel(&self) -> Result<PathBuf> {
        match self.kernel {
            Some(path) => {
                let bytes = session::read_file(path).map_err(|e| e.of("--kernel"))?;
                match image::recognise(&bytes, bytes.len() as u64) {
                    Some(Kind::Linux) => Ok(path.to_owned()),
                    _ => Err(Error::new(format!("--kernel '{}' is no Linux kernel", path.display()))),
                }
            }
            None => self.need("vmlinuz-686", "run tools/guests linux-686"),
        }
    }

    fn bench(&self) -> Result<Vec<Start>> {
        self.no_kernel_options()?;
        self.no_arguments()?;
        let known: BTreeSet<&str> = SUITE.iter().map(|w| w.0).chain(BARE.iter().map(|w| w.0)).chain([BOOT]).collect();
        if let Some(bad) = self.only.iter().find(|name| !known.contains(name.as_str())) {
            let list: Vec<&str> =
                [BOOT].into_iter().chain(SUITE.iter().map(|w| w.0)).chain(BARE.iter().map(|w| w.0)).collect();
            return Err(Error::new(format!("--only {bad}: there is no such workload; there are {}", list.join(", "))));
        }
        let wanted = |name: &str| self.only.is_empty() || self.only.iter().any(|o| o == name);
        let remedy = "run tools/guests busybox and benches/guest/build.sh";
        let suite = self.need("bench/suite", remedy)?.display().to_string();
        let mut starts = Vec::new();
        let names: Vec<&str> = SUITE.iter().map(|w| w.0).filter(|name| wanted(name)).collect();
        if !names.is_empty() || wanted(BOOT) {
            // Without a name all run; a name that stands for nothing runs none.
            let chosen = if names.len() == SUITE.len() {
                String::new()
            } else if names.is_empty() {
                ",boot-only".to_owned()
            } else {
                format!(",{}", names.join(","))
            };
            let native: Vec<String> = [suite.clone(), "-u".to_owned(), self.units.to_string()]
                .into_iter()
                .chain(names.iter().map(|&n| n.to_owned()))
                .collect();
            starts.push(Start {
                name: "linux".to_owned(),
                kernel: self.linux_kernel()?,
                initrd: Some(self.need("initrd-bench.cpio.gz", remedy)?),
                append: format!("console=ttyS0 quiet ring86.run=suite,-u,{}{chosen}", self.units),
                native: (!names.is_empty()).then_some(native),
                reads: Reads::Suite,
                good_exit: Some(0),
            });
        }
        for (name, word, same) in BARE.iter().filter(|w| wanted(w.0)) {
            let native = [suite.as_str(), "-u", &self.bare_units.to_string()]
                .iter()
                .chain(*same)
                .map(|&s| s.to_owned())
                .collect();
            starts.push(Start {
                name: (*name).to_owned(),
                kernel: self.need("bench/kernels.elf", remedy)?,
                initrd: None,
                append: format!("units={} {word}", self.bare_units),
                native: Some(native),
                reads: Reads::Whole,
                // (10h << 1) | 1: the image's way to say that all went well.
                good_exit: Some(33),
            });
        }
        Ok(starts)
    }

    fn kernel(&self, path: &Path, bytes: &[u8]) -> Result<Vec<Start>> {
        self.no_arguments()?;
        let initrd = match self.initrd {
            Some(path) => Some((path.display().to_string(), session::read_file(path).map_err(|e| e.of("--initrd"))?)),
            None => None,
        };
        let append = self.append.unwrap_or_default();
        // Parsed here as well, so that what is wrong with it is said once and at once.
        image::kernel(self.guest, bytes, append, initrd, crate::boot::linux::Entry::Real)?;
        Ok(vec![Start {
            name: short(path),
            kernel: path.to_owned(),
            initrd: self.initrd.map(Path::to_owned),
            append: append.to_owned(),
            native: None,
            reads: Reads::Whole,
            good_exit: None,
        }])
    }

    fn program(&self, path: &Path, bytes: &[u8]) -> Result<Vec<Start>> {
        self.no_kernel_options()?;
        if has_interpreter(bytes) {
            return Err(Error::new(format!(
                "'{}' is dynamically linked, and the guest has no libraries; link it with -static",
                self.guest
            )));
        }
        Elf::parse(self.guest, bytes)?;
        let kernel = self.linux_kernel()?;
        let initrd = self.work.join("initrd.cpio");
        std::fs::write(&initrd, initrd::around(bytes, self.arguments)?).map_err(|e| Error::io("write", &initrd, &e))?;
        let here = if path.components().count() == 1 { Path::new(".").join(path) } else { path.to_owned() };
        let native = std::iter::once(here.display().to_string()).chain(self.arguments.iter().cloned()).collect();
        Ok(vec![Start {
            name: short(path),
            kernel,
            initrd: Some(initrd),
            append: "console=ttyS0 quiet".to_owned(),
            native: Some(native),
            reads: Reads::Program,
            good_exit: Some(0),
        }])
    }
}

/// A path's last part.
fn short(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}

/// The program headers of an ELF32 file: type and virtual address.
fn program_headers(bytes: &[u8]) -> Vec<(u32, u32)> {
    let word = |at: usize| bytes.get(at..at.checked_add(4)?).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let half = |at: usize| bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes);
    let (Some(table), Some(size), Some(count)) = (word(28), half(42), half(44)) else { return Vec::new() };
    let at = |i: u16| (table as usize).saturating_add(usize::from(i) * usize::from(size));
    (0..count).filter_map(|i| Some((word(at(i))?, word(at(i).checked_add(8)?)?))).collect()
}

/// An i386 ELF file that is a program of Linux rather than a kernel: position-independent, or linked for addresses
/// where kernels do not lie. The header itself does not tell: most programs leave the OS field at "System V".
fn is_program(bytes: &[u8]) -> bool {
    let i386 = bytes.get(4) == Some(&1) && bytes.get(18..20) == Some(&[3, 0]);
    let linux_abi = matches!(bytes.get(7), Some(0 | 3));
    let independent = bytes.get(16..18) == Some(&[3, 0]);
    let loads: Vec<u32> = program_headers(bytes).into_iter().filter(|h| h.0 == 1).map(|h| h.1).collect();
    let high = loads.iter().min().is_some_and(|&low| (LOWEST_PROGRAM..0xc000_0000).contains(&low));
    i386 && linux_abi && (independent || high)
}

/// PT_INTERP: the program needs a dynamic linker.
fn has_interpreter(bytes: &[u8]) -> bool {
    program_headers(bytes).iter().any(|h| h.0 == 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn finished(code: i32, lines: &[&str]) -> Finished {
        Finished {
            code: Some(code),
            took: Duration::from_secs(9),
            lines: lines.iter().zip(1..).map(|(l, n)| (Duration::from_secs(n), (*l).to_owned())).collect(),
            last_words: "ring86: the last words".to_owned(),
        }
    }

    fn start(reads: Reads, good_exit: Option<i32>) -> Start {
        Start {
            name: "whole".to_owned(),
            kernel: PathBuf::new(),
            initrd: None,
            append: String::new(),
            native: None,
            reads,
            good_exit,
        }
    }

    #[test]
    fn times_of_the_suite() {
        let lines = ["noise", initrd::READY, "crc32 0.120000 92779d6c", "dot-sse2 - no-sse2", "crc32 0.1 x"];
        let times = start(Reads::Suite, Some(0)).times(&finished(0, &lines), false).expect("a good run");
        let found: Vec<_> = times.iter().map(|t| (t.workload.as_str(), t.seconds)).collect();
        assert_eq!(found, [("boot", 2.0), ("crc32", 0.12)]);
        assert_eq!(times[1].result.as_deref(), Some("92779d6c"));
        let error = start(Reads::Suite, Some(0)).times(&finished(0, &["noise"]), false).expect_err("it never booted");
        assert!(error.contains(initrd::READY), "{error}");
        let error = start(Reads::Suite, Some(0)).times(&finished(126, &lines), false).expect_err("a triple fault");
        assert_eq!(error, "it ended with 126: the last words");
    }

    #[test]
    fn whole_runs() {
        let whole = start(Reads::Whole, Some(33));
        let guest = whole.times(&finished(33, &["crc32 92779d6c", "fib 00000001", "done"]), false).expect("good");
        let native = whole.times(&finished(0, &["crc32 0.250000 92779d6c", "fib 0.500000 00000001"]), true);
        let native = native.expect("good");
        assert_eq!((guest[0].seconds, native[0].seconds), (9.0, 0.75));
        assert_eq!(guest[0].result, native[0].result);
        assert!(whole.times(&finished(35, &[]), false).is_err());
        let any = start(Reads::Whole, None);
        assert!(any.times(&finished(7, &[]), false).is_ok() && any.times(&finished(122, &[]), false).is_err());
    }

    #[test]
    fn times_of_one_program() {
        let line = "ring86-program 0000000a 3b9ac9ff 0000000c 00000000 00000300";
        let times = start(Reads::Program, Some(0)).times(&finished(0, &[initrd::READY, line]), false).expect("good");
        assert!((times[1].seconds - 1.000_000_001).abs() < 1e-12, "{times:?}");
        assert_eq!(times[1].result.as_deref(), Some("exit 3"));
        let native = start(Reads::Program, Some(0)).times(&finished(3, &[]), true).expect("good");
        assert_eq!(native[0].result.as_deref(), Some("exit 3"));
        assert_eq!(program_line("ring86-program 0 0 0 0 9").map(|p| p.1).as_deref(), Some("signal 9"));
        assert_eq!(program_line("ring86-program 0 0"), None);
    }

    #[test]
    fn programs_and_kernels() {
        let program = initrd::around(b"", &[]).expect("it assembles");
        let at = program.windows(4).position(|w| w == b"\x7fELF").expect("the program is in it");
        let mut elf = program[at..].to_vec();
        assert!(is_program(&elf) && !has_interpreter(&elf));
        // Loaded at 1 MiB: a kernel.
        elf[52 + 8..52 + 12].copy_from_slice(&0x10_0000u32.to_le_bytes());
        assert!(!is_program(&elf));
        elf[16] = 3;
        assert!(is_program(&elf));
        elf[18] = 62;
        assert!(!is_program(&elf));
        elf[52] = 3;
        assert!(has_interpreter(&elf));
        assert!(!is_program(b"\x7fELF"));
    }
}
