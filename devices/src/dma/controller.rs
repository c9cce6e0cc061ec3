//! One 8237A: four channels and their registers.

use super::spec::{command, mode, register};

/// One channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Channel {
    base_address: u16,
    base_count: u16,
    pub(super) address: u16,
    count: u16,
    pub(super) mode: u8,
}

/// What one transfer did to its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Address (without page) of this transfer.
    pub(super) address: u16,
    /// The count ran out.
    pub(super) terminal: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Controller {
    pub(super) channels: [Channel; 4],
    pub(super) command: u8,
    /// Terminal counts reached since the status was read.
    reached: u8,
    /// Software requests.
    requests: u8,
    mask: u8,
    high_byte: bool,
    temporary: u8,
    /// DREQ inputs as last seen, for the status register.
    dreq: u8,
    /// The channel of lowest priority under rotation.
    lowest: u8,
}

impl Controller {
    pub(super) fn new() -> Self {
        Self {
            channels: Default::default(),
            command: 0,
            reached: 0,
            requests: 0,
            mask: 0xF,
            high_byte: false,
            temporary: 0,
            dreq: 0,
            lowest: 3,
        }
    }

    fn master_clear(&mut self) {
        let channels = std::mem::take(&mut self.channels);
        *self = Self { channels, dreq: self.dreq, ..Self::new() };
    }

    pub(super) fn set_dreq(&mut self, channel: u8, active: bool) {
        let bit = 1 << (channel & 3);
        self.dreq = if active { self.dreq | bit } else { self.dreq & !bit };
    }

    /// Whether the channel's turn would be granted.
    pub(super) fn ready(&self, channel: u8) -> bool {
        let bit = 1 << (channel & 3);
        let hardware = self.dreq & bit != 0 && self.mask & bit == 0;
        self.command & command::DISABLE == 0 && (hardware || self.requests & bit != 0)
    }

    /// The ready channel of highest priority.
    pub(super) fn next(&self) -> Option<u8> {
        let first = if self.command & command::ROTATING != 0 { self.lowest + 1 } else { 0 };
        (0..4).map(|i| (first + i) & 3).find(|&channel| self.ready(channel))
    }

    /// Performs one transfer's bookkeeping.
    pub(super) fn step(&mut self, number: u8) -> Step {
        let bit = 1 << (number & 3);
        let channel = &mut self.channels[usize::from(number & 3)];
        let address = channel.address;
        channel.address = if channel.mode & mode::DECREMENT != 0 {
            channel.address.wrapping_sub(1)
        } else {
            channel.address.wrapping_add(1)
        };
        channel.count = channel.count.wrapping_sub(1);
        let terminal = channel.count == 0xFFFF;
        if terminal {
            self.reached |= bit;
            self.requests &= !bit;
            if channel.mode & mode::AUTO != 0 {
                (channel.address, channel.count) = (channel.base_address, channel.base_count);
            } else {
                self.mask |= bit;
            }
        }
        self.lowest = number & 3;
        Step { address, terminal }
    }

    pub(super) fn read(&mut self, register: u16) -> u8 {
        match register {
            0..=register::CHANNELS_END => {
                let channel = &self.channels[usize::from(register >> 1)];
                let value = if register & 1 != 0 { channel.count } else { channel.address };
                let high = self.high_byte;
                self.high_byte = !high;
                (if high { value >> 8 } else { value }) as u8
            }
            register::COMMAND => {
                let status = (self.dreq | self.requests) << 4 | self.reached;
                self.reached = 0;
                status
            }
            register::MASTER_CLEAR => self.temporary,
            // The original chip leaves the other registers unreadable; mask bits come back on later ones.
            register::ALL_MASK => 0xF0 | self.mask,
            _ => 0xFF,
        }
    }

    pub(super) fn write(&mut self, register: u16, value: u8) {
        let bit = 1 << (value & 3);
        match register {
            0..=register::CHANNELS_END => {
                let high = self.high_byte;
                self.high_byte = !high;
                let set = |word: u16| {
                    if high { word & 0x00FF | u16::from(value) << 8 } else { word & 0xFF00 | u16::from(value) }
                };
                let channel = &mut self.channels[usize::from(register >> 1)];
                // Base and current registers are written together.
                if register & 1 != 0 {
                    channel.base_count = set(channel.base_count);
                    channel.count = channel.base_count;
                } else {
                    channel.base_address = set(channel.base_address);
                    channel.address = channel.base_address;
                }
            }
            register::COMMAND => self.command = value,
            register::REQUEST if value & 4 != 0 => self.requests |= bit,
            register::REQUEST => self.requests &= !bit,
            register::SINGLE_MASK if value & 4 != 0 => self.mask |= bit,
            register::SINGLE_MASK => self.mask &= !bit,
            register::MODE => self.channels[usize::from(value & 3)].mode = value & !3,
            register::CLEAR_POINTER => self.high_byte = false,
            register::MASTER_CLEAR => self.master_clear(),
            register::CLEAR_MASK => self.mask = 0,
            register::ALL_MASK => self.mask = value & 0xF,
            _ => {}
        }
    }

    /// Whether a software request for a memory-to-memory transfer waits.
    pub(super) fn wants_memory_to_memory(&self) -> bool {
        let enabled = self.command & (command::MEMORY_TO_MEMORY | command::DISABLE) == command::MEMORY_TO_MEMORY;
        enabled && self.requests & 1 != 0
    }

    /// Bookkeeping for one byte of a memory-to-memory transfer: source, destination, and whether it was the last.
    pub(super) fn memory_step(&mut self) -> (u16, u16, bool) {
        let source = self.channels[0].address;
        if self.command & command::ADDRESS_HOLD == 0 {
            let back = self.channels[0].mode & mode::DECREMENT != 0;
            self.channels[0].address = if back { source.wrapping_sub(1) } else { source.wrapping_add(1) };
        }
        let step = self.step(1);
        if step.terminal {
            self.requests &= !1;
        }
        (source, step.address, step.terminal)
    }

    pub(super) fn set_temporary(&mut self, value: u8) {
        self.temporary = value;
    }
}
