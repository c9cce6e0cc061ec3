//! Two 8237A DMA controllers with page registers, as in the PC/AT.
//!
//! Channels 0 to 3 move bytes, channels 5 to 7 words; channel 4 is the cascade. A transfer happens when the board
//! runs a channel with its peripheral: [`DmaPair::run`].

mod controller;
pub mod spec;
#[cfg(test)]
mod tests;

use crate::{BytePorts, DmaPeer, GuestMemory, Time};
use controller::Controller;
use spec::{PAGE_CHANNEL, mode};

/// The DMA controllers at ports 00h-0Fh and C0h-DFh, with the page registers at 80h-8Fh.
#[derive(Debug)]
pub struct DmaPair {
    // Parts.
    bytes: Controller,
    words: Controller,
    // Volatile state.
    pages: [u8; 16],
}

impl Default for DmaPair {
    fn default() -> Self {
        Self::new()
    }
}

impl DmaPair {
    /// Controllers as after reset: everything masked.
    pub fn new() -> Self {
        Self { bytes: Controller::new(), words: Controller::new(), pages: [0; 16] }
    }

    /// The system's reset.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    fn page(&self, channel: u8) -> u8 {
        let index = PAGE_CHANNEL.iter().position(|&owner| owner == Some(channel));
        index.map_or(0, |index| self.pages[index])
    }

    /// The physical address: bytes use the page as bits 16 to 23; words drop its lowest bit, and their address
    /// counts words.
    fn address(&self, channel: u8, low: u16) -> u64 {
        let page = u64::from(self.page(channel)) << 16;
        if channel < 4 { page | u64::from(low) } else { page & !0x1_FFFF | u64::from(low) << 1 }
    }

    /// Runs `channel` (0 to 3, 5 to 7) while its peripheral asserts DREQ and the channel is enabled. Whether
    /// anything moved. Channels 5 to 7 depend on the cascade: channel 4 must be unmasked.
    pub fn run(&mut self, now: Time, memory: &mut dyn GuestMemory, channel: u8, peer: &mut dyn DmaPeer) -> bool {
        let wide = channel >= 4;
        let number = channel & 3;
        let mut moved = false;
        loop {
            let dreq = peer.dreq();
            let controller = if wide { &mut self.words } else { &mut self.bytes };
            controller.set_dreq(number, dreq);
            if channel == 4 || !controller.ready(number) {
                return moved;
            }
            // The first controller reaches the bus through channel 4 of the second.
            if !wide && !self.cascade_open() {
                return moved;
            }
            let controller = if wide { &mut self.words } else { &mut self.bytes };
            let transfer = controller.channels[usize::from(number)].mode & mode::TRANSFER;
            if controller.channels[usize::from(number)].mode & mode::SELECT == mode::CASCADE {
                return moved;
            }
            let step = controller.step(number);
            let address = self.address(channel, step.address);
            let length = if wide { 2 } else { 1 };
            let mut data = [0; 2];
            match transfer {
                mode::WRITE => {
                    data = peer.dma_take(now).to_le_bytes();
                    memory.write(address, &data[..length]);
                }
                mode::READ => {
                    memory.read(address, &mut data[..length]);
                    peer.dma_give(now, u16::from_le_bytes(data));
                }
                // A verify transfer addresses memory but neither side moves data: the peripheral sees DACK only.
                _ => {
                    peer.dma_take(now);
                }
            }
            if step.terminal {
                peer.terminal_count(now);
            }
            moved = true;
        }
    }

    /// Whether channel 4 passes on the first controller's requests. It is in cascade mode and unmasked on every
    /// PC that firmware has set up; the board's wiring cannot do anything else.
    fn cascade_open(&mut self) -> bool {
        self.words.set_dreq(0, true);
        let open = self.words.ready(0);
        self.words.set_dreq(0, false);
        open
    }

    /// Performs a software-requested memory-to-memory transfer on channels 0 and 1, if one waits. Whether it did.
    pub fn run_memory_to_memory(&mut self, memory: &mut dyn GuestMemory) -> bool {
        if !self.bytes.wants_memory_to_memory() {
            return false;
        }
        loop {
            let (source, destination, last) = self.bytes.memory_step();
            let mut byte = [0];
            memory.read(self.address(0, source), &mut byte);
            self.bytes.set_temporary(byte[0]);
            memory.write(self.address(1, destination), &byte);
            if last {
                return true;
            }
        }
    }

    /// The ready channel of highest priority among those whose DREQ is known to be active.
    pub fn pending(&self) -> Option<u8> {
        self.bytes.next().or_else(|| self.words.next().filter(|&channel| channel != 0).map(|channel| channel + 4))
    }
}

impl BytePorts for DmaPair {
    fn read8(&mut self, _now: Time, port: u16) -> u8 {
        match port {
            0x00..=0x0F => self.bytes.read(port),
            0x80..=0x8F => self.pages[usize::from(port & 0xF)],
            0xC0..=0xDF => self.words.read(port >> 1 & 0xF),
            _ => 0xFF,
        }
    }

    fn write8(&mut self, _now: Time, port: u16, value: u8) {
        match port {
            0x00..=0x0F => self.bytes.write(port, value),
            0x80..=0x8F => self.pages[usize::from(port & 0xF)] = value,
            0xC0..=0xDF => self.words.write(port >> 1 & 0xF, value),
            _ => {}
        }
    }
}
