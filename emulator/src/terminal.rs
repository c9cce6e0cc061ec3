//! The host terminal: raw mode that is always undone, and signals turned into a polite stop.

use crate::error::{Error, Result};
use crate::scheduler::Waker;
use crossterm::terminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

static RAW: AtomicBool = AtomicBool::new(false);

/// True while the terminal is raw, so that lines for the user need a carriage return.
pub fn is_raw() -> bool {
    RAW.load(Ordering::Relaxed)
}

/// Raw mode until dropped, which a panic does as well.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Makes the terminal raw: every key reaches the program, nothing is echoed.
    ///
    /// # Errors
    /// If there is no terminal.
    pub fn enter() -> Result<Self> {
        terminal::enable_raw_mode().map_err(|e| Error::new(format!("cannot make the terminal raw: {e}")))?;
        RAW.store(true, Ordering::Relaxed);
        Ok(RawMode(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        RAW.store(false, Ordering::Relaxed);
        if terminal::disable_raw_mode().is_err() {
            log::warn!("the terminal could not be restored; type 'reset'");
        }
    }
}

/// A request from outside to end the run.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A stop that SIGINT, SIGTERM and SIGHUP request; `waker` gets the machine's attention.
    ///
    /// # Errors
    /// If the host does not let signals be caught.
    pub fn on_signals(waker: Waker) -> Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let stop = Stop::default();
        let flag = stop.clone();
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
            .map_err(|e| Error::new(format!("cannot catch signals: {e}")))?;
        std::thread::spawn(move || {
            for _ in &mut signals {
                flag.request();
                waker.wake();
            }
        });
        Ok(stop)
    }

    /// Asks for the end.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the end was asked for.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
