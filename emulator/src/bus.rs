//! What the CPU sees of the machine: ports, memory that is not RAM, interrupt acknowledge and time.

use crate::board::Board;
use crate::scheduler::Clock;
use crate::trace::Trace;
use ring86_devices::{GuestMemory, Mmio, Time, Timed};
use ring86_translator::activity::{Activity, Doing};
use ring86_translator::pins::{self, Pins};
use ring86_translator::{Bus, Memory};
use std::sync::Arc;

/// A running account of everything that the CPU and the board said to each other. Chips do nothing of their own accord,
/// so two machines with the same account, at the same time, have the same chips.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// Accesses so far.
    pub count: u64,
    /// A hash of all of them.
    pub hash: u64,
    /// The last one: instructions retired before it, what it was, address or port, size, value.
    pub last: (u64, &'static str, u64, u8, u64),
}

impl Journal {
    fn note(&mut self, retired: u64, what: &'static str, address: u64, size: u8, value: u64) {
        self.count += 1;
        self.last = (retired, what, address, size, value);
        for word in [retired, what.len() as u64, address, u64::from(size), value] {
            // A bijection of the hash for each word, so that no single difference is lost.
            self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.hash ^= self.hash >> 29;
        }
    }
}

/// How many POST codes are kept.
const POSTS_KEPT: usize = 1 << 16;

/// The board with a clock: implements the CPU's [`Bus`].
pub struct SystemBus {
    /// The chips.
    pub board: Board,
    /// Guest time.
    pub clock: Clock,
    /// Where port and memory accesses are noted down, if the user wants that.
    pub trace: Trace,
    /// For lockstep.
    pub journal: Option<Journal>,
    /// Guest time at which the running slice ends. A chip that wants attention earlier ends the slice at once.
    pub deadline: Time,
    /// The port whose writes are kept, and what was written.
    pub post: (Option<u16>, Vec<u8>),
    pins: Arc<Pins>,
    activity: Arc<Activity>,
}

impl SystemBus {
    /// A bus for `board`, whose CPU listens to `pins` and shows its `activity`.
    pub fn new(board: Board, clock: Clock, pins: Arc<Pins>, activity: Arc<Activity>) -> Self {
        SystemBus {
            board,
            clock,
            trace: Trace::off(),
            journal: None,
            deadline: Time::MAX,
            post: (None, Vec::new()),
            pins,
            activity,
        }
    }

    fn note(&mut self, retired: u64, what: &'static str, address: u64, size: u8, value: u64) {
        if let Some(journal) = &mut self.journal {
            journal.note(retired, what, address, size, value);
        }
    }

    fn after(&mut self, event: Option<Time>) {
        if event.is_some_and(|t| t < self.deadline) {
            self.pins.raise(pins::EXIT);
        }
        self.board.drive_pins();
    }
}

impl Bus for SystemBus {
    fn port_read(&mut self, retired: u64, port: u16, size: u8) -> u32 {
        let before = self.activity.enter(Doing::Device);
        let now = self.clock.now(retired);
        let (value, event) = self.board.port_read(now, port, size);
        if self.trace.io() {
            self.trace.port(now, "in ", port, size, value, self.board.name_at(port));
        }
        self.note(retired, "in", port.into(), size, value.into());
        self.after(event);
        self.activity.leave(before);
        value
    }

    fn port_write(&mut self, retired: u64, port: u16, size: u8, value: u32) {
        let before = self.activity.enter(Doing::Device);
        let now = self.clock.now(retired);
        if self.trace.io() {
            self.trace.port(now, "out", port, size, value, self.board.name_at(port));
        }
        self.note(retired, "out", port.into(), size, value.into());

        if self.post.0 == Some(port) && self.post.1.len() < POSTS_KEPT {
            self.post.1.push(value as u8);
        }
        let event = self.board.port_write(now, port, size, value);
        self.after(event);
        self.activity.leave(before);
    }

    fn mem_read(&mut self, retired: u64, addr: u64, size: u8) -> u64 {
        let before = self.activity.enter(Doing::Device);
        let value = if let Some(apics) = self.board.apics.as_mut().filter(|apics| apics.claims(addr)) {
            let value = apics.read(self.clock.now(retired), addr, size);
            let event = apics.next_event();
            self.after(event);
            value
        } else if self.board.network_claims(addr) {
            let (value, event) = self.board.network_read(self.clock.now(retired), addr, size);
            self.after(event);
            value
        } else if self.board.display_claims(addr) {
            self.board.vga.lock().mmio_read(self.clock.now(retired), addr, size)
        } else {
            self.board.mem_read(addr, size)
        };
        self.note(retired, "load", addr, size, value);
        if self.trace.io() {
            let now = self.clock.now(retired);
            self.trace.memory(now, "load ", addr, size, value);
        }
        self.activity.leave(before);
        value
    }

    fn mem_write(&mut self, retired: u64, addr: u64, size: u8, value: u64) {
        let before = self.activity.enter(Doing::Device);
        if self.trace.io() {
            let now = self.clock.now(retired);
            self.trace.memory(now, "store", addr, size, value);
        }
        self.note(retired, "store", addr, size, value);
        if let Some(apics) = self.board.apics.as_mut().filter(|apics| apics.claims(addr)) {
            apics.write(self.clock.now(retired), addr, size, value);
            let event = apics.next_event();
            self.after(event);
        } else if self.board.network_claims(addr) {
            let event = self.board.network_write(self.clock.now(retired), addr, size, value);
            self.after(event);
        } else if self.board.display_claims(addr) {
            self.board.vga.lock().mmio_write(self.clock.now(retired), addr, size, value);
        } else {
            self.board.mem_write(addr, size, value);
        }
        self.activity.leave(before);
    }

    fn acknowledge(&mut self, retired: u64) -> u8 {
        let now = self.clock.now(retired);
        let vector = self.board.acknowledge(now);
        self.note(retired, "interrupt", vector.into(), 1, 0);
        if self.trace.interrupts() {
            self.trace.interrupt(now, vector);
        }
        self.board.drive_pins();
        vector
    }

    fn tsc(&mut self, retired: u64) -> u64 {
        self.clock.tsc(self.clock.now(retired))
    }

    fn set_apic_base(&mut self, retired: u64, base: u64) {
        self.note(retired, "apic base", base, 8, 0);
        if let Some(apics) = &mut self.board.apics {
            apics.set_base(base);
        }
        self.after(None);
    }

    fn tsc_deadline(&mut self, _retired: u64) -> Option<u64> {
        self.board.apics.as_ref()?.deadline().map(|time| self.clock.tsc(time))
    }

    fn set_tsc_deadline(&mut self, retired: u64, deadline: Option<u64>) {
        self.note(retired, "deadline", deadline.unwrap_or(0), 8, 0);
        let (now, time) = (self.clock.now(retired), deadline.map(|tsc| self.clock.time_of_tsc(tsc)));
        let event = self.board.apics.as_mut().and_then(|apics| {
            apics.set_deadline(now, time);
            apics.next_event()
        });
        self.after(event);
    }
}

/// Guest memory as bus masters reach it.
pub struct Dma(pub Arc<Memory>);

impl GuestMemory for Dma {
    fn read(&mut self, address: u64, buffer: &mut [u8]) {
        self.0.dma_read(address, buffer);
    }

    fn write(&mut self, address: u64, data: &[u8]) {
        self.0.dma_write(address, data);
    }
}
