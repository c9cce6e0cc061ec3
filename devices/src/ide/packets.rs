//! A packet device: its commands, and how packets and their data move.

use super::cdrom::Outcome;
use super::device::{Device, Kind, Transfer};
use super::identify;
use super::spec::{command as c, error, packet_features, reason, sense, status};

/// Blocks that one packet command may move by DMA, as many as READ (10) can ask for: the bus master moves all of a
/// command before the guest goes on.
const DMA_BLOCKS: u32 = 0xFFFF;

impl Device {
    pub(super) fn packet_device_command(&mut self, code: u8) {
        match code {
            c::PACKET => {
                let limit = usize::from(u16::from_le_bytes([self.task.mid[0], self.task.high[0]]));
                self.byte_limit = if limit == 0 { 0xFFFE } else { limit };
                self.packet_dma = self.task.features[0] & packet_features::DMA != 0;
                self.transfer = Transfer::Packet;
                self.task.count[0] = reason::COD;
                self.buffer = vec![0; 12];
                self.offer(false);
                self.status = status::DRDY | status::DRQ;
            }
            c::IDENTIFY_PACKET => {
                self.buffer = identify::cdrom(self.modes, &self.serial);
                self.transfer = Transfer::Read { lba: 0, left: 0, block: 1 };
                self.offer(true);
            }
            c::SET_FEATURES => {
                let accepted = self.task.features[0] != 0x03 || self.modes.select(self.task.count[0]);
                if accepted { self.done() } else { self.fail(error::ABRT) }
            }
            c::FLUSH | 0xE0..=0xE3 => self.done(),
            c::CHECK_POWER => {
                self.task.count[0] = 0xFF;
                self.done();
            }
            // IDENTIFY DEVICE and the read commands abort, and show the signature.
            c::IDENTIFY | c::READ | c::READ_ONCE => {
                self.signature();
                self.fail(error::ABRT);
            }
            _ => self.fail(error::ABRT),
        }
    }

    pub(super) fn run_packet(&mut self) {
        let packet = std::mem::take(&mut self.buffer);
        let Kind::Cdrom(cdrom) = &mut self.kind else { return };
        let outcome = cdrom.execute(&packet);
        (self.position, self.block_end) = (0, 0);
        match outcome {
            Outcome::Done => self.packet_done(),
            Outcome::Data(data) => {
                self.buffer = data;
                self.packet_data(0, 0);
            }
            Outcome::Blocks(_, count) if self.packet_dma && count > DMA_BLOCKS => {
                self.packet_check(sense::INVALID_FIELD);
            }
            Outcome::Blocks(first, count) => self.packet_data(first, count),
            Outcome::Accept(length) => self.packet_accept(length),
            Outcome::Check(why) => self.packet_check(why),
        }
    }

    /// Offers the next packet data, reading more blocks when the buffer is empty: a DRQ block, or to the bus master.
    pub(super) fn packet_data(&mut self, mut block: u32, mut left: u32) {
        const AT_ONCE: u32 = 32;
        if self.position >= self.buffer.len() && left > 0 {
            let Kind::Cdrom(cdrom) = &mut self.kind else { return };
            self.buffer.clear();
            self.position = 0;
            for _ in 0..left.min(AT_ONCE) {
                if let Err(why) = cdrom.append_block(block, &mut self.buffer) {
                    self.packet_check(why);
                    return;
                }
                (block, left) = (block.wrapping_add(1), left - 1);
            }
        }
        let rest = self.buffer.len().saturating_sub(self.position);
        if rest == 0 {
            self.packet_done();
            return;
        }
        self.transfer = Transfer::PacketData { block, left };
        if self.packet_dma {
            self.want_dma(reason::IO);
            return;
        }
        // Only the last block may have an odd length.
        let length = if rest <= self.byte_limit { rest } else { (self.byte_limit & !1).max(2) };
        self.block_end = self.position + length;
        self.packet_block(length, reason::IO);
    }

    /// Wants `length` more bytes from the host, which nothing keeps.
    pub(super) fn packet_accept(&mut self, length: usize) {
        if length == 0 {
            self.packet_done();
            return;
        }
        if self.packet_dma {
            self.transfer = Transfer::PacketAccept { left: length };
            self.want_dma(0);
            return;
        }
        let now = if length <= self.byte_limit { length } else { (self.byte_limit & !1).max(2) };
        self.buffer.clear();
        self.buffer.resize(now, 0);
        (self.position, self.block_end) = (0, now);
        self.transfer = Transfer::PacketAccept { left: length.saturating_sub(now) };
        self.packet_block(now, 0);
    }

    /// A DRQ block of `length` bytes is ready to be moved.
    fn packet_block(&mut self, length: usize, direction: u8) {
        let count = (length as u16).to_le_bytes();
        (self.task.mid[0], self.task.high[0]) = (count[0], count[1]);
        self.task.count[0] = direction;
        self.status = status::DRDY | status::DRQ;
        self.error = 0;
        self.interrupt = true;
    }

    /// Waits for the bus master, without an interrupt.
    fn want_dma(&mut self, direction: u8) {
        self.task.count[0] = direction;
        self.status = status::DRDY | status::DRQ;
        self.error = 0;
    }

    /// Moves one piece of packet data by DMA; whether that went well.
    pub(super) fn packet_dma_piece(&mut self, data: &mut [u8]) -> bool {
        match self.transfer {
            Transfer::PacketData { block, left } => {
                for (out, byte) in data.iter_mut().zip(self.buffer.iter().skip(self.position)) {
                    *out = *byte;
                }
                self.position = self.position.saturating_add(data.len());
                if self.position >= self.buffer.len() {
                    self.packet_data(block, left);
                }
            }
            Transfer::PacketAccept { left } => self.packet_accept(left.saturating_sub(data.len())),
            _ => return false,
        }
        self.status & status::ERR == 0
    }

    fn packet_done(&mut self) {
        self.done();
        self.status = status::DRDY;
        self.task.count[0] = reason::COD | reason::IO;
    }

    fn packet_check(&mut self, why: sense::Sense) {
        if let Kind::Cdrom(cdrom) = &mut self.kind {
            cdrom.sense = why;
        }
        self.fail(why[0] << 4 | error::ABRT);
        self.status = status::DRDY | status::ERR;
        self.task.count[0] = reason::COD | reason::IO;
    }
}
