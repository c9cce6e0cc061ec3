//! Register protocol, addressing, commands, packets and DMA, against ATA/ATAPI-6.

mod disk;
mod dma;
mod packets;

use std::io;
use std::sync::{Arc, Mutex};

use super::*;
use crate::IrqInputs;
use crate::capability::testing::Image;

struct Memory(Vec<u8>);

impl GuestMemory for Memory {
    fn read(&mut self, address: u64, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0[address as usize..][..buffer.len()]);
    }

    fn write(&mut self, address: u64, data: &[u8]) {
        self.0[address as usize..][..data.len()].copy_from_slice(data);
    }
}

struct Bench {
    ide: IdeController,
    inputs: IrqInputs,
    bytes: Arc<Mutex<Vec<u8>>>,
}

/// 40 cylinders of 16 heads and 63 sectors.
const SECTORS: usize = 40 * 16 * 63;

impl Bench {
    /// A disk as master of the first channel, each sector starting with its number; a CD-ROM as master of the
    /// second.
    fn new() -> Self {
        let mut bytes = vec![0; SECTORS * 512];
        for (lba, sector) in (0u32..).zip(bytes.chunks_exact_mut(512)) {
            sector[..4].copy_from_slice(&lba.to_le_bytes());
            sector[511] = lba as u8;
        }
        let (bytes, inputs) = (Arc::new(Mutex::new(bytes)), IrqInputs::new());
        let mut ide = IdeController::new([inputs.line(14), inputs.line(15)]);
        ide.firmware_defaults();
        let image = Image { bytes: Arc::clone(&bytes), read_only: false, bad: None, ..Image::default() };
        ide.attach_disk(0, 0, Box::new(image), "R0001");
        ide.attach_cdrom(1, 0, None, "C0001");
        Self { ide, inputs, bytes }
    }

    fn out(&mut self, port: u16, value: u8) {
        self.ide.port_write(0, port, 1, u32::from(value));
    }

    fn inb(&mut self, port: u16) -> u8 {
        self.ide.port_read(0, port, 1) as u8
    }

    fn irq(&self) -> bool {
        self.inputs.levels() & 1 << 14 != 0
    }

    /// Issues a 28-bit LBA command.
    fn lba(&mut self, command: u8, lba: u32, count: u8) {
        let [low, mid, high, top] = lba.to_le_bytes();
        for (register, value) in (2..).zip([count, low, mid, high, 0xE0 | top, command]) {
            self.out(0x1F0 + register, value);
        }
    }

    fn lba48(&mut self, command: u8, lba: u64, count: u16) {
        let b = lba.to_le_bytes();
        let [count_low, count_high] = count.to_le_bytes();
        for (register, value) in [(2, count_high), (3, b[3]), (4, b[4]), (5, b[5])] {
            self.out(0x1F0 + register, value);
        }
        for (register, value) in [(2, count_low), (3, b[0]), (4, b[1]), (5, b[2]), (6, 0x40), (7, command)] {
            self.out(0x1F0 + register, value);
        }
    }

    fn read_words(&mut self, words: usize) -> Vec<u8> {
        (0..words).flat_map(|_| (self.ide.port_read(0, 0x1F0, 2) as u16).to_le_bytes()).collect()
    }

    /// Number of the sector in a sector's data.
    fn number(data: &[u8]) -> u32 {
        u32::from_le_bytes([data[0], data[1], data[2], data[3]])
    }

    fn load_disc(&mut self, blocks: usize) {
        let bytes = (0..blocks).flat_map(|block| vec![block as u8; 2048]).collect();
        let image = Image { bytes: Arc::new(Mutex::new(bytes)), read_only: true, bad: None, ..Image::default() };
        assert!(self.ide.insert_disc(1, 0, Some(Box::new(image))).is_none());
    }

    /// Sends a packet with a byte count limit; returns the data and the final status.
    fn packet(&mut self, packet: &[u8], limit: u16) -> (Vec<u8>, u8) {
        let [low, high] = limit.to_le_bytes();
        for (port, value) in [(0x176, 0xA0), (0x171, 0), (0x174, low), (0x175, high), (0x177, 0xA0)] {
            self.out(port, value);
        }
        assert_eq!((self.inb(0x177) & 0x89, self.inb(0x172) & 3), (0x08, 1));
        let mut padded = packet.to_vec();
        padded.resize(12, 0);
        for pair in padded.chunks(2) {
            self.ide.port_write(0, 0x170, 2, u32::from(u16::from_le_bytes([pair[0], pair[1]])));
        }
        let mut data = Vec::new();
        while self.inb(0x376) & 8 != 0 {
            assert_eq!((self.inputs.levels() >> 15 & 1, self.inb(0x172) & 3), (1, 2));
            self.inb(0x177);
            let count = usize::from(u16::from_le_bytes([self.inb(0x174), self.inb(0x175)]));
            assert!(count > 0 && count <= usize::from(limit));
            let mut block = Vec::new();
            while block.len() < count {
                block.extend((self.ide.port_read(0, 0x170, 2) as u16).to_le_bytes());
            }
            block.truncate(count);
            data.extend(block);
        }
        assert_eq!((self.inputs.levels() >> 15 & 1, self.inb(0x172) & 3), (1, 3));
        (data, self.inb(0x177))
    }

    /// Sends a packet whose data, if any, move by DMA, and starts the bus master over two regions of 3000 bytes in all.
    fn dma_packet(&mut self, packet: [u8; 12], to_memory: bool, memory: &mut Memory) {
        self.ide.config_write(0x20, 4, 0xC000);
        let table = [0x3000u32, 1000, 0x5000, 2000 | 1 << 31];
        memory.write(0x1000, &table.map(u32::to_le_bytes).concat());
        self.ide.port_write(0, 0xC00C, 4, 0x1000);
        self.out(0xC00A, 0x06);
        for (port, value) in [(0x176, 0xA0), (0x171, 1), (0x174, 0), (0x175, 0), (0x177, 0xA0)] {
            self.out(port, value);
        }
        for pair in packet.as_chunks::<2>().0 {
            self.ide.port_write(0, 0x170, 2, u32::from(u16::from_le_bytes(*pair)));
        }
        let direction = if to_memory { 0x08 } else { 0x00 };
        self.out(0xC008, direction);
        self.out(0xC008, direction | 1);
        self.ide.run_dma(memory);
    }

    /// What a DMA packet left: the bus master's status, the interrupt, its reason, and the device's status.
    fn dma_end(&mut self) -> (u8, bool, u8, u8) {
        let irq = self.inputs.levels() & 1 << 15 != 0;
        (self.inb(0xC00A) & 7, irq, self.inb(0x172) & 3, self.inb(0x177))
    }

    fn sense(&mut self) -> [u8; 3] {
        let (data, _) = self.packet(&[3, 0, 0, 0, 18], 18);
        [data[2], data[12], data[13]]
    }
}
