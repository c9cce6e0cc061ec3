//! Warnings and notes on stderr.

use log::{LevelFilter, Log, Metadata, Record};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

struct Stderr;

/// Warnings of one run. A guest that tries again and again must not fill the host's disk with them.
const MAX_WARNINGS: usize = 1000;

static WARNINGS: AtomicUsize = AtomicUsize::new(0);

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The compiler's own notes are of no use to anybody here.
        metadata.level() <= log::Level::Warn || metadata.target().starts_with("ring86")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = record.level().as_str().to_lowercase();
        if record.level() > log::Level::Warn {
            return say(format_args!("{level}: {}", record.args()));
        }
        match WARNINGS.fetch_add(1, Ordering::Relaxed) {
            0..MAX_WARNINGS => say(format_args!("{level}: {}", record.args())),
            MAX_WARNINGS => say(format_args!("{level}: {MAX_WARNINGS} warnings; the rest is not shown")),
            _ => {}
        }
    }

    fn flush(&self) {}
}

/// Prints warnings from now on.
pub fn init() {
    // A second call, as in tests, keeps the first logger.
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// Lines that wait for the terminal to be free again.
static HELD: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// While this lives, lines for a terminal are kept back: they would land on the guest's screen.
#[derive(Debug)]
pub struct Held(());

impl Held {
    /// Keeps lines back from now on, if stderr is a terminal.
    pub fn begin() -> Held {
        if std::io::stderr().is_terminal() {
            HELD.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
        }
        Held(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let lines = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
        for line in lines.into_iter().flatten() {
            print(format_args!("{line}"));
        }
    }
}

/// A line on stderr that starts with the program's name. A closed stderr loses it.
pub fn say(text: std::fmt::Arguments<'_>) {
    match HELD.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        Some(lines) => lines.push(text.to_string()),
        None => print(text),
    }
}

fn print(text: std::fmt::Arguments<'_>) {
    let end = if crate::terminal::is_raw() { "\r\n" } else { "\n" };
    let mut stderr = std::io::stderr().lock();
    drop(write!(stderr, "ring86: {text}{end}"));
}
