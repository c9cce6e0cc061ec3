//! The window's fault handler among others: it stops the process for a fault inside a window and hands every other one to
//! whoever was there before.
//!
//! A process has one handler and installs it once, so each case is a process of its own: this program again, told by
//! `RING86_FAULT` which.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(unsafe_code, reason = "it causes faults and handles them")]

use ring86_translator::engine::Config;
use ring86_translator::{Cpu, Memory, Model, Pins};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const CASE: &str = "RING86_FAULT";
const PAGE: usize = 4096;

/// What the foreign handler was told: how often it was called, and the last address.
static CALLS: AtomicUsize = AtomicUsize::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);
/// The page that it makes readable.
static GUARDED: AtomicUsize = AtomicUsize::new(0);

fn open_page() {
    CALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: a page of this process that nobody else uses; mprotect may be called from a signal handler.
    unsafe { libc::mprotect(GUARDED.load(Ordering::Relaxed) as *mut libc::c_void, PAGE, libc::PROT_READ) };
}

extern "C" fn with_information(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo of a fault.
    ADDRESS.store(unsafe { (*info).si_addr() } as usize, Ordering::Relaxed);
    open_page();
}

extern "C" fn without(_: libc::c_int) {
    open_page();
}

/// Makes `handler` what SIGSEGV calls.
fn install(handler: usize, flags: libc::c_int) {
    // SAFETY: an all-zero sigaction is a valid one, and the handler has the signature that its flags name.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut())
    };
    assert_eq!(done, 0);
}

/// A processor whose compiled code has a window.
fn cpu() -> Cpu {
    let pins = Arc::new(Pins::default());
    let memory = Arc::new(Memory::flat(1 << 20, pins.clone()).expect("memory"));
    let mut cpu = Cpu::new(Model::Max, memory, pins);
    cpu.enable_translator(Config::default()).expect("a host with a code generator");
    assert!(window().is_some(), "there is no window, so nothing is tested");
    cpu
}

/// The first address of a window's reservation: by far the largest mapping without permissions.
fn window() -> Option<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux says what is mapped");
    let hex = |text: &str| usize::from_str_radix(text, 16).expect("a number");
    let mut ranges = maps.lines().filter(|line| line.contains(" ---p ")).map(|line| {
        let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        (hex(start), hex(end))
    });
    ranges.find(|(start, end)| end - start >= 4 << 30).map(|range| range.0)
}

/// A page that cannot be read yet.
fn guarded() -> *const u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let page = unsafe { libc::mmap(ptr::null_mut(), PAGE, libc::PROT_NONE, flags, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED);
    GUARDED.store(page as usize, Ordering::Relaxed);
    page.cast()
}

/// A read that the compiler must make.
fn read(at: *const u8) -> u8 {
    // SAFETY: either a page of this process or none at all: then the process ends, as its parent expects.
    unsafe { at.read_volatile() }
}

/// What the process of a case does.
#[test]
fn case() {
    let Ok(name) = std::env::var(CASE) else { return };
    match name.as_str() {
        "information" => install(with_information as *const () as usize, libc::SA_SIGINFO),
        "plain" => install(without as *const () as usize, 0),
        "default" => install(libc::SIG_DFL, 0),
        _ => {}
    }
    let _cpu = cpu();
    if name == "window" {
        let inside = window().expect("a window") + 0x1_2345;
        read(inside as *const u8);
        return;
    }
    let page = guarded();
    assert_eq!(read(page), 0);
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    if name == "information" {
        assert_eq!(ADDRESS.load(Ordering::Relaxed), page as usize);
    }
    println!("went on");
}

fn outcome(case: &str) -> Output {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    // The trace of the end that is expected would only be in the way.
    command.args(["--exact", "case", "--nocapture", "--test-threads", "1"]).env(CASE, case).env("RUST_BACKTRACE", "0");
    command.output().expect("it starts")
}

#[test]
fn a_fault_elsewhere_is_for_the_handler_that_was_there() {
    for case in ["information", "plain"] {
        let output = outcome(case);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("went on"), "{case}: {output:?}");
    }
}

#[test]
fn a_fault_elsewhere_that_nobody_handles_ends_the_process() {
    for case in ["default", "none"] {
        let output = outcome(case);
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{case}: {output:?}");
    }
}

#[test]
fn a_fault_inside_a_window_is_named_and_ends_the_process() {
    let output = outcome("window");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    assert!(said.contains("ring86: bug: compiled code faulted in the guest memory window"), "{said}");
}
