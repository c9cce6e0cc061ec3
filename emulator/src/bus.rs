//! What the CPU sees of the machine: ports, memory that is not RAM, interrupt acknowledge and time.

use crate::board::Board;
use crate::scheduler::Clock;
use crate::trace::Trace;
use ring86_devices::{GuestMemory, Time};
use ring86_translator::activity::{Activity, Doing};
use ring86_translator::pins::{self, Pins};
use ring86_translator::{Bus, Memory};
use std::sync::Arc;

/// The board with a clock: implements the CPU's [`Bus`].
pub struct SystemBus {
    /// The chips.
    pub board: Board,
    /// Guest time.
    pub clock: Clock,
    /// Where port and memory accesses are noted down, if the user wants that.
    pub trace: Trace,
    /// Guest time at which the running slice ends. A chip that wants attention earlier ends the slice at once.
    pub deadline: Time,
    pins: Arc<Pins>,
    activity: Arc<Activity>,
}

impl SystemBus {
    /// A bus for `board`, whose CPU listens to `pins` and shows its `activity`.
    pub fn new(board: Board, clock: Clock, pins: Arc<Pins>, activity: Arc<Activity>) -> Self {
        SystemBus { board, clock, trace: Trace::off(), deadline: Time::MAX, pins, activity }
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
        let event = self.board.port_write(now, port, size, value);
        self.after(event);
        self.activity.leave(before);
    }

    fn mem_read(&mut self, retired: u64, addr: u64, size: u8) -> u64 {
        let before = self.activity.enter(Doing::Device);
        let value = if self.board.network_claims(addr) {
            let (value, event) = self.board.network_read(self.clock.now(retired), addr, size);
            self.after(event);
            value
        } else {
            self.board.mem_read(addr, size)
        };
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
        if self.board.network_claims(addr) {
            let event = self.board.network_write(self.clock.now(retired), addr, size, value);
            self.after(event);
            return;
        }
        self.board.mem_write(addr, size, value);
        self.activity.leave(before);
    }

    fn acknowledge(&mut self, retired: u64) -> u8 {
        let now = self.clock.now(retired);
        let vector = self.board.acknowledge(now);
        if self.trace.interrupts() {
            self.trace.interrupt(now, vector);
        }
        self.board.drive_pins();
        vector
    }

    fn tsc(&mut self, retired: u64) -> u64 {
        self.clock.tsc(self.clock.now(retired))
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
