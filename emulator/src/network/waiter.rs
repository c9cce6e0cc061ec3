//! The thread that waits for the host's sockets and wakes the machine.
//!
//! It moves no data: the machine's thread looks at its sockets after each wake-up, so nothing is shared but the
//! registry of sockets and one flag. It starts with the first socket; a network that nobody uses has no thread.

use crate::scheduler;
use mio::event::Source;
use mio::{Events, Interest, Poll, Registry, Token};
use ring86_translator::Pins;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The token of the waiter's own waker. Sockets need no telling apart.
const OWN: Token = Token(0);
/// The token of all sockets.
const SOCKET: Token = Token(1);

#[derive(Debug, Default)]
struct Flags {
    /// Some socket has something new.
    ready: AtomicBool,
    stop: AtomicBool,
}

#[derive(Debug)]
struct Running {
    registry: Registry,
    waker: mio::Waker,
    thread: Option<JoinHandle<()>>,
}

/// Waits for sockets, beside the machine.
#[derive(Debug)]
pub(super) struct Waiter {
    pins: Arc<Pins>,
    flags: Arc<Flags>,
    running: Option<Running>,
}

impl Waiter {
    /// A waiter that raises EXIT on `pins`. The thread that registers the first socket is the machine's.
    pub(super) fn new(pins: Arc<Pins>) -> Self {
        Waiter { pins, flags: Arc::default(), running: None }
    }

    /// Whether a socket has had something new since the last call.
    pub(super) fn take_ready(&self) -> bool {
        self.flags.ready.load(Ordering::Acquire) && self.flags.ready.swap(false, Ordering::AcqRel)
    }

    /// Whether a socket has something new.
    pub(super) fn is_ready(&self) -> bool {
        self.flags.ready.load(Ordering::Acquire)
    }

    /// Waits for `source` from now on, until it is closed.
    ///
    /// # Errors
    /// If the host has no more descriptors or threads.
    pub(super) fn watch(&mut self, source: &mut dyn Source) -> io::Result<()> {
        if self.running.is_none() {
            self.running = Some(self.start()?);
        }
        let Some(running) = &self.running else { return Ok(()) };
        source.register(&running.registry, SOCKET, Interest::READABLE | Interest::WRITABLE)
    }

    fn start(&self) -> io::Result<Running> {
        let mut poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(&registry, OWN)?;
        let flags = Arc::clone(&self.flags);
        let machine = scheduler::Waker::new(Arc::clone(&self.pins));
        let wait = move || {
            let mut events = Events::with_capacity(256);
            while !flags.stop.load(Ordering::Acquire) {
                match poll.poll(&mut events, None) {
                    Ok(()) => {
                        flags.ready.store(true, Ordering::Release);
                        machine.wake();
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        log::warn!(
                            "the host's sockets cannot be waited for: {error}; the guest's network stands still"
                        );
                        return;
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("network".to_owned()).spawn(wait)?;
        Ok(Running { registry, waker, thread: Some(thread) })
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.flags.stop.store(true, Ordering::Release);
        if let Some(running) = &mut self.running
            && running.waker.wake().is_ok()
            && let Some(thread) = running.thread.take()
        {
            // A thread that panicked has said so already.
            drop(thread.join());
        }
    }
}
