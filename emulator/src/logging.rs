//! Warnings and notes on stderr.

use log::{LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The compiler's own notes are of no use to anybody here.
        metadata.level() <= log::Level::Warn || metadata.target().starts_with("ring86")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        say(format_args!("{}: {}", record.level().as_str().to_lowercase(), record.args()));
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

/// A line on stderr that starts with the program's name. A closed stderr loses it.
pub fn say(text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let end = if crate::terminal::is_raw() { "\r\n" } else { "\n" };
    let mut stderr = std::io::stderr().lock();
    drop(write!(stderr, "ring86: {text}{end}"));
}
