//! What a run costs the host and what it can say about itself: memory, shares of time, names and forms of compiled code.
#![cfg(target_os = "linux")]

#[path = "support/folder.rs"]
mod folder;
#[path = "support/guest.rs"]
mod guest;

use folder::{Folder, ring86};
use guest::guest;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Room that a process may take beside the guest's memory once Linux has booted.
const ROOM: u64 = 150 << 20;
/// Least share of the integer kernels' time that is compiled code, in per cent.
const COMPILED: u64 = 80;

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The sum of one member of `/proc/PID/smaps`, in bytes.
fn sum(pid: u32, member: &str) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).expect("a process of ours can be looked at");
    let kilobytes = |line: &str| line.strip_prefix(member)?.trim().strip_suffix(" kB")?.parse::<u64>().ok();
    maps.lines().filter_map(kilobytes).sum::<u64>() << 10
}

/// Bytes of guest memory that were ever touched: what the memory file holds.
fn touched(pid: u32) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process of ours can be looked at");
    open.flatten()
        .filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().contains("ring86-ram")))
        .filter_map(|fd| Some(std::fs::metadata(fd.path()).ok()?.blocks() * 512))
        .max()
        .expect("guest memory is a file of its own")
}

#[test]
fn memory_after_the_boot_of_linux() {
    let (Some(kernel), Some(initrd)) = (guest("vmlinuz-686"), guest("initrd-busybox.cpio.gz")) else { return };
    let child = Command::new(env!("CARGO_BIN_EXE_ring86"))
        .args(["run", "--engine", "translator", "--net", "none", "--append", "console=ttyS0 quiet", "--kernel"])
        .arg(kernel)
        .arg("--initrd")
        .arg(initrd)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut running = Running(child);
    let out = running.0.stdout.take().expect("its output is a pipe");
    let booted = BufReader::new(out).lines().map_while(Result::ok).any(|line| line.contains("ring86-init-ready"));
    assert!(booted, "Linux did not boot");
    let pid = running.0.id();
    let (resident, proportional, touched) = (sum(pid, "Rss:"), sum(pid, "Pss:"), touched(pid));
    println!("resident {} KiB, proportional {} KiB, guest {} KiB", resident >> 10, proportional >> 10, touched >> 10);
    assert!(touched > 20 << 20, "Linux touches more than {touched} bytes");
    assert!(resident <= touched + ROOM, "{resident} bytes are resident for {touched} of the guest's");
}

#[test]
fn integer_kernels_are_compiled_code() {
    let Some(kernels) = guest("bench/kernels.elf") else { return };
    let folder = Folder::new("overhead-share");
    let kernels = kernels.display().to_string();
    let words = "crc32,sieve,sha256,quicksort,bytecode,chase,fib,calls";
    let args = ["run", "--engine", "translator", "--debug-exit", "0xf4", "--append", "units=150 integer"];
    let stats = ["--stats-json", "stats.json", "--stats-at", words, "--kernel", &kernels];
    let ended = ring86(&folder.0, &[&args[..], &stats].concat());
    assert_eq!(ended.code, Some(33), "{}", ended.err);
    let stats: Value = serde_json::from_slice(&folder.read("stats.json")).expect("it is JSON");
    let phases = stats["phases"].as_array().expect("there are phases");
    assert_eq!(phases.len(), words.split(',').count(), "{}", ended.out);
    let (mut compiled, mut all) = (0, 0);
    for phase in phases {
        let of = |name: &str| {
            let part = phase["time"].as_array().into_iter().flatten().find(|p| p["name"] == name);
            part.and_then(|p| p["samples"].as_u64()).unwrap_or(0)
        };
        let sum: u64 = phase["time"].as_array().into_iter().flatten().filter_map(|p| p["samples"].as_u64()).sum();
        println!("{}: {} of {sum} samples in compiled code", phase["name"], of("compiled code"));
        compiled += of("compiled code");
        all += sum;
    }
    assert!(all > 200, "{all} samples say nothing");
    assert!(compiled * 100 >= all * COMPILED, "{compiled} of {all} samples in compiled code");
}

/// What the demo guest, followed for so many seconds of the host, wrote to standard error, and perf's map of it.
///
/// It has its timer's interrupts in the time of the host: what is compiled beside the guest has to be there while it still
/// comes by.
fn followed(folder: &Folder, seconds: &str) -> (String, String) {
    let args = ["demo", "--engine", "translator", "--clock", "host", "--hot", "5", "--serial", "none"];
    let show = ["--trace", "blocks,ir,clif,asm,exits", "--trace-range", "100000-10ffff", "--perf-map"];
    let child = Command::new(env!("CARGO_BIN_EXE_ring86"))
        .args(args)
        .args(["--max-time", seconds])
        .args(show)
        .current_dir(&folder.0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let map = format!("/tmp/perf-{}.map", child.id());
    let done = child.wait_with_output().expect("it ends");
    let names = std::fs::read_to_string(&map).expect("perf's map was written");
    // It is named after a process that is gone.
    drop(std::fs::remove_file(&map));
    (String::from_utf8_lossy(&done.stderr).into_owned(), names)
}

#[test]
fn compiled_code_is_named_and_shown() {
    let folder = Folder::new("overhead-trace");
    let wanted = [
        "block 0010",
        ", an entry",
        "operations of block 0010",
        "Cranelift IR of region 0010",
        "function u0:0",
        "host code of region 0010",
        "entered at 0010",
    ];
    let missing = |err: &str| wanted.into_iter().find(|what| !err.contains(what));
    let (mut err, mut names) = followed(&folder, "5");
    if missing(&err).is_some() {
        // The host may have stood still meanwhile.
        (err, names) = followed(&folder, "60");
    }
    assert_eq!(missing(&err), None, "{}", err.chars().take(3000).collect::<String>());
    assert!(!err.contains("region 000f"), "outside the range");
    assert!(names.lines().count() > 3, "{names}");
    for line in names.lines() {
        let mut words = line.splitn(3, ' ');
        let mut hex = || words.next().and_then(|w| u64::from_str_radix(w, 16).ok());
        let (address, len) = (hex(), hex());
        assert!(address > Some(0) && len > Some(0) && words.next().is_some_and(|name| !name.is_empty()), "{line}");
    }
    let file = folder.file("trace", "not yet");
    for (options, says) in [
        (&["--trace", "ir"][..], "--trace-range"),
        (&["--trace-range", "0-1"], "--trace-range"),
        (&["--trace", "ir", "--trace-range", "0-1", "--engine", "interpreter"], "compiles nothing"),
        (&["--trace", "ir", "--trace-range", "0-1", "--trace-file", &file], "go to stderr"),
    ] {
        let ended = ring86(&folder.0, &[&["demo"], options].concat());
        assert!(ended.code == Some(120) && ended.err.contains(says), "{}", ended.err);
    }
    assert_eq!(folder.read("trace"), b"not yet");
}
