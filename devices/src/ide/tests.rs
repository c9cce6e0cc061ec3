//! Register protocol, addressing, commands, packets and DMA, against ATA/ATAPI-6.

use std::io;
use std::sync::{Arc, Mutex};

use super::*;
use crate::IrqInputs;

#[derive(Default)]
struct Image {
    bytes: Arc<Mutex<Vec<u8>>>,
    read_only: bool,
    bad: Option<u64>,
    /// How often it was flushed.
    flushes: Arc<Mutex<u32>>,
    /// The host cannot make anything durable.
    no_flush: bool,
}

impl BlockMedia for Image {
    fn len(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        if self.bad.is_some_and(|bad| (offset..end).contains(&bad)) {
            return Err(io::ErrorKind::Other.into());
        }
        buffer.copy_from_slice(&self.bytes.lock().unwrap()[offset as usize..end as usize]);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = offset as usize;
        self.bytes.lock().unwrap()[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        *self.flushes.lock().unwrap() += 1;
        if self.no_flush { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

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

#[test]
fn reset_leaves_each_kind_its_signature() {
    let mut b = Bench::new();
    b.out(0x1F2, 1);
    assert!(!b.irq(), "nothing to report yet");
    assert_eq!((2..6).map(|r| b.inb(0x1F0 + r)).collect::<Vec<_>>(), [1, 1, 0, 0]);
    assert_eq!((b.inb(0x1F1), b.inb(0x1F7)), (1, 0x50));
    assert_eq!((2..6).map(|r| b.inb(0x170 + r)).collect::<Vec<_>>(), [1, 1, 0x14, 0xEB]);
    b.out(0x1F3, 0x55);
    b.out(0x3F6, 0x04);
    assert_eq!(b.inb(0x1F7), 0x80);
    b.out(0x3F6, 0x00);
    assert_eq!((b.inb(0x1F3), b.inb(0x1F7)), (1, 0x50));
    b.out(0x1F6, 0xB0);
    assert_eq!(b.inb(0x1F7), 0x00, "device 0 answers for the missing device 1");
    b.out(0x1F7, 0xEC);
    assert_eq!(b.inb(0x1F7), 0x00);
}

#[test]
fn empty_channels_and_disabled_ones_float() {
    let mut ide = IdeController::new([IrqLine::unconnected(), IrqLine::unconnected()]);
    assert_eq!(ide.port_read(0, 0x1F7, 1), 0xFF, "not decoded before firmware enables it");
    assert!(!ide.claims(0x1F0));
    ide.config_write(0x04, 2, 1);
    ide.config_write(0x40, 2, 0x8000);
    assert!(ide.claims(0x3F6) && !ide.claims(0x170));
    assert!(ide.take_decode_change());
    assert_eq!(ide.port_read(0, 0x1F7, 1), 0x7F);
}

#[test]
fn identify_describes_the_disk() {
    let mut b = Bench::new();
    b.out(0x1F6, 0xA0);
    b.out(0x1F7, 0xEC);
    assert!(b.irq());
    assert_eq!(b.inb(0x1F7), 0x58);
    assert!(!b.irq());
    let data = b.read_words(256);
    assert_eq!(b.inb(0x1F7), 0x50);
    let word = |i: usize| u16::from_le_bytes([data[2 * i], data[2 * i + 1]]);
    assert_eq!((word(0), word(1), word(3), word(6)), (0x40, 40, 16, 63));
    assert_eq!(u32::from(word(61)) << 16 | u32::from(word(60)), SECTORS as u32);
    assert_eq!(u32::from(word(101)) << 16 | u32::from(word(100)), SECTORS as u32);
    let text =
        |from: usize, to: usize| -> String { (from..to).flat_map(|i| word(i).to_be_bytes()).map(char::from).collect() };
    assert_eq!((text(10, 20).trim_end(), text(27, 47).trim_end()), ("R0001", "RING86 HARDDISK"));
    assert_eq!(data.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)), 0);
}

#[test]
fn sectors_are_read_in_lba_chs_and_48_bit_form() {
    let mut b = Bench::new();
    b.lba(0x20, 1000, 2);
    assert!(b.irq());
    for lba in 1000..1002 {
        assert_eq!(b.inb(0x1F7), 0x58);
        let data = b.read_words(256);
        assert_eq!((Bench::number(&data), data[511]), (lba, lba as u8));
        assert_eq!(b.irq(), lba == 1000, "one interrupt for each sector, none after the last");
    }
    assert_eq!(b.inb(0x3F6), 0x50);
    // Cylinder 2, head 3, sector 4.
    for (register, value) in [(2, 1), (3, 4), (4, 2), (5, 0), (6, 0xA3), (7, 0x20)] {
        b.out(0x1F0 + register, value);
    }
    assert_eq!(Bench::number(&b.read_words(256)), (2 * 16 + 3) * 63 + 3);
    b.lba48(0x24, 40_000, 1);
    assert_eq!(Bench::number(&b.read_words(256)), 40_000);
    // Doubleword accesses move two words.
    b.lba(0x20, 7, 1);
    assert_eq!(b.ide.port_read(0, 0x1F0, 4), 7);
}

#[test]
fn a_count_of_zero_is_256() {
    let mut b = Bench::new();
    b.lba(0x20, 0, 0);
    let mut sectors = 0;
    while b.inb(0x1F7) & 8 != 0 {
        b.read_words(256);
        sectors += 1;
    }
    assert_eq!(sectors, 256);
}

#[test]
fn the_translation_can_be_changed() {
    let mut b = Bench::new();
    b.out(0x1F6, 0xA7);
    b.out(0x1F2, 32);
    b.out(0x1F7, 0x91);
    for (register, value) in [(2, 1), (3, 1), (4, 1), (5, 0), (6, 0xA0), (7, 0x20)] {
        b.out(0x1F0 + register, value);
    }
    assert_eq!(Bench::number(&b.read_words(256)), 8 * 32);
}

#[test]
fn sectors_are_written() {
    let mut b = Bench::new();
    b.lba(0x30, 500, 2);
    assert!(!b.irq(), "no interrupt before the first block");
    for i in 0..512u32 {
        assert_eq!(b.inb(0x3F6), 0x58);
        b.ide.port_write(0, 0x1F0, 2, 0x4100 + i);
        assert_eq!(b.irq(), i >= 255);
    }
    assert_eq!(b.inb(0x1F7), 0x50);
    let bytes = b.bytes.lock().unwrap();
    assert_eq!(bytes[500 * 512..][..4], [0x00, 0x41, 0x01, 0x41]);
    assert_eq!((bytes[501 * 512], bytes[501 * 512 + 1], bytes[502 * 512]), (0x00, 0x42, 502u32 as u8));
}

#[test]
fn multiple_mode_moves_blocks() {
    let mut b = Bench::new();
    b.lba(0xC4, 0, 8);
    assert_eq!((b.inb(0x1F7), b.inb(0x1F1)), (0x51, 0x04), "aborted until set");
    b.out(0x1F2, 3);
    b.out(0x1F7, 0xC6);
    assert_eq!(b.inb(0x1F7), 0x51);
    b.out(0x1F2, 4);
    b.out(0x1F7, 0xC6);
    assert_eq!(b.inb(0x1F7), 0x50);
    b.lba(0xEC, 0, 0);
    assert_eq!(b.read_words(256)[118..120], [0x04, 0x01], "IDENTIFY tells the setting");
    b.lba(0xC4, 10, 6);
    let mut interrupts = 0;
    for lba in 10..16 {
        interrupts += u32::from(b.irq());
        b.inb(0x1F7);
        assert_eq!(Bench::number(&b.read_words(256)), lba);
    }
    assert_eq!((interrupts, b.inb(0x1F7)), (2, 0x50));
}

#[test]
fn errors_name_their_cause() {
    let mut b = Bench::new();
    b.lba(0x20, SECTORS as u32, 1);
    assert_eq!((b.inb(0x1F7), b.inb(0x1F1)), (0x51, 0x10));
    b.lba48(0x24, u64::MAX >> 16, 0xFFFF);
    assert_eq!(b.inb(0x1F1), 0x10);
    b.lba(0xFF, 0, 0);
    assert_eq!((b.inb(0x1F7), b.inb(0x1F1)), (0x51, 0x04));
    let image = Image { bytes: Arc::clone(&b.bytes), read_only: true, bad: Some(5 * 512), ..Image::default() };
    b.ide.attach_disk(0, 0, Box::new(image), "R0002");
    b.lba(0x20, 4, 3);
    b.read_words(256);
    assert_eq!((b.inb(0x1F7), b.inb(0x1F1), b.inb(0x1F3)), (0x51, 0x40, 5));
    b.lba(0x30, 4, 1);
    assert_eq!((b.inb(0x1F7), b.inb(0x1F1)), (0x51, 0x04), "read-only media");
    b.lba(0xEC, 0, 0);
    assert_eq!((b.inb(0x1F7), b.inb(0x1F1)), (0x58, 0x00), "the next command clears the error");
}

#[test]
fn a_flush_and_a_write_without_cache_wait_for_the_host() {
    let mut b = Bench::new();
    let flushes = Arc::new(Mutex::new(0));
    let count = || *flushes.lock().unwrap();
    let image = |no_flush| {
        let (bytes, flushes) = (Arc::new(Mutex::new(vec![0; 1 << 20])), Arc::clone(&flushes));
        Box::new(Image { bytes, flushes, no_flush, ..Image::default() })
    };
    let write = |b: &mut Bench| {
        b.lba(0x30, 5, 1);
        (0..256).for_each(|_| b.ide.port_write(0, 0x1F0, 2, 0));
        b.inb(0x1F7)
    };
    b.ide.attach_disk(0, 0, image(false), "R0002");
    assert_eq!((write(&mut b), count()), (0x50, 0));
    b.lba(0xE7, 0, 0);
    assert_eq!((b.inb(0x1F7), count()), (0x50, 1));
    b.out(0x1F1, 0x82);
    b.out(0x1F7, 0xEF);
    assert_eq!((write(&mut b), count()), (0x50, 3), "once for what the cache held, once for the write");
    b.lba(0xEC, 0, 0);
    assert_eq!(b.read_words(256)[170], 0x08, "IDENTIFY says that the cache is off");
    b.ide.attach_disk(0, 0, image(true), "R0002");
    b.lba(0xE7, 0, 0);
    assert_eq!((b.inb(0x1F7), b.inb(0x1F1)), (0x51, 0x04));
    b.out(0x1F1, 0x82);
    b.out(0x1F7, 0xEF);
    assert_eq!(write(&mut b), 0x51);
}

#[test]
fn other_commands_complete() {
    let mut b = Bench::new();
    for command in [0x10, 0x70, 0x40, 0x42, 0xE0, 0xE1, 0xE7, 0xEA] {
        b.lba(command, 0, 1);
        assert!(b.irq(), "{command:02X}");
        assert_eq!(b.inb(0x1F7), 0x50, "{command:02X}");
    }
    b.lba(0xE5, 0, 0);
    assert_eq!(b.inb(0x1F2), 0xFF);
    b.lba(0xF8, 0, 0);
    assert_eq!([b.inb(0x1F3), b.inb(0x1F4), b.inb(0x1F5)], (SECTORS as u32 - 1).to_le_bytes()[..3]);
    b.lba(0x90, 0, 0);
    assert_eq!((b.inb(0x1F1), b.inb(0x1F7)), (1, 0x50));
    b.out(0x1F1, 0x03);
    b.lba(0xEF, 0, 0x42);
    assert_eq!(b.inb(0x1F7), 0x50);
    b.lba(0xEF, 0, 0x47);
    assert_eq!(b.inb(0x1F7), 0x51);
}

#[test]
fn the_interrupt_can_be_disabled_and_alternate_status_keeps_it() {
    let mut b = Bench::new();
    b.out(0x3F6, 0x02);
    b.lba(0xE7, 0, 0);
    assert!(!b.irq());
    b.out(0x3F6, 0x00);
    assert!(b.irq());
    b.inb(0x3F6);
    assert!(b.irq());
    b.inb(0x1F7);
    assert!(!b.irq());
}

#[test]
fn high_order_bytes_read_back_under_hob() {
    let mut b = Bench::new();
    b.out(0x1F4, 0x12);
    b.out(0x1F4, 0x34);
    assert_eq!(b.inb(0x1F4), 0x34);
    b.out(0x3F6, 0x80);
    assert_eq!(b.inb(0x1F4), 0x12);
    b.out(0x1F3, 0);
    assert_eq!(b.inb(0x1F4), 0x34, "a register write ends it");
}

#[test]
fn all_of_a_wide_bus_master_base_can_be_written() {
    let irqs = [0, 1].map(|_| IrqLine::unconnected());
    for (mut ide, all) in
        [(IdeController::new(irqs.clone()), 0xFFF1), (IdeController::new(irqs).with_wide_base(), 0xFFFF_FFF1)]
    {
        ide.config_write(0x20, 4, u32::MAX);
        assert_eq!(ide.config_read(0x20, 4), all);
        ide.reset();
        ide.config_write(0x04, 2, 1);
        ide.config_write(0x20, 4, 0x1_C000);
        // Ports above 64 KiB do not exist.
        let place = if all > 0xFFFF { None } else { Some(0xC000) };
        assert_eq!(ide.bus_master_base(), place);
    }
}

#[test]
fn bus_master_dma_follows_the_descriptors() {
    let mut b = Bench::new();
    b.ide.config_write(0x20, 4, 0xC000);
    assert_eq!((b.ide.config_read(0x20, 4), b.ide.bus_master_base()), (0xC001, Some(0xC000)));
    let mut memory = Memory(vec![0; 0x1_0000]);
    // Two regions of 768 and 256 bytes.
    let mut table = Vec::new();
    for (address, control) in [(0x3000u32, 768u32), (0x5000, 256 | 1 << 31)] {
        table.extend(address.to_le_bytes());
        table.extend(control.to_le_bytes());
    }
    memory.write(0x1000, &table);
    b.ide.port_write(0, 0xC004, 4, 0x1000);
    b.lba(0xC8, 300, 2);
    assert!(!b.ide.dma_pending());
    b.out(0xC000, 0x09);
    assert_eq!((b.inb(0xC002) & 7, b.ide.dma_pending(), b.irq()), (1, true, false));
    b.ide.run_dma(&mut memory);
    assert!(b.irq());
    assert_eq!(b.inb(0xC002) & 7, 4);
    assert_eq!((b.inb(0x1F7), Bench::number(&memory.0[0x3000..])), (0x50, 300));
    assert_eq!((Bench::number(&memory.0[0x3200..]), memory.0[0x50FF]), (301, 301u32 as u8));
    b.out(0xC002, 0x64);
    assert_eq!(b.inb(0xC002), 0x60);
    // The other way.
    memory.0[0x3000] = 0x77;
    b.out(0xC000, 0x00);
    b.out(0xC000, 0x01);
    b.lba48(0x35, 600, 2);
    b.ide.run_dma(&mut memory);
    assert_eq!((b.inb(0x1F7), b.bytes.lock().unwrap()[600 * 512]), (0x50, 0x77));
    // A table too short stops the engine, not the device.
    b.out(0xC000, 0x00);
    b.lba(0xC8, 0, 9);
    b.out(0xC000, 0x09);
    b.ide.run_dma(&mut memory);
    assert_eq!((b.inb(0xC002) & 1, b.inb(0x3F6) & 8), (0, 8));
}

#[test]
fn the_packet_device_identifies_only_as_such() {
    let mut b = Bench::new();
    b.out(0x176, 0xA0);
    b.out(0x177, 0xEC);
    assert_eq!((b.inb(0x177), b.inb(0x171), b.inb(0x174), b.inb(0x175)), (0x51, 0x04, 0x14, 0xEB));
    b.out(0x177, 0xA1);
    assert_eq!(b.inb(0x177), 0x58);
    assert_eq!(b.ide.port_read(0, 0x170, 2), 0x85C0);
    b.out(0x177, 0x08);
    assert_eq!((b.inb(0x177), b.inb(0x172), b.inb(0x174)), (0x00, 1, 0x14));
}

#[test]
fn a_disk_has_no_packet_devices_identification() {
    let mut b = Bench::new();
    b.out(0x1F6, 0xA0);
    b.out(0x1F7, 0xA1);
    assert_eq!((b.inb(0x1F7), b.inb(0x1F1)), (0x51, 0x04));
    b.out(0x1F7, 0xEC);
    assert_eq!(b.inb(0x1F7), 0x58);
}

#[test]
fn packets_report_attention_then_the_lack_of_a_disc() {
    let mut b = Bench::new();
    assert_eq!(b.packet(&[0], 0x800).1, 0x41);
    assert_eq!(b.inb(0x171), 0x64);
    assert_eq!(b.sense(), [6, 0x29, 0]);
    assert_eq!(b.packet(&[0], 0x800).1, 0x41);
    assert_eq!(b.sense(), [2, 0x3A, 0]);
    assert_eq!(b.sense(), [0, 0, 0]);
    b.load_disc(4);
    assert_eq!(b.packet(&[0], 0x800).1, 0x41);
    assert_eq!(b.sense(), [6, 0x28, 0]);
    assert_eq!(b.packet(&[0], 0x800), (vec![], 0x40));
    assert_eq!(b.packet(&[0xFF], 0x800).1, 0x41);
    assert_eq!(b.sense(), [5, 0x20, 0]);
}

#[test]
fn a_disc_is_read_in_blocks_of_the_byte_limit() {
    let mut b = Bench::new();
    b.load_disc(100);
    b.packet(&[0], 8);
    let (data, status) = b.packet(&[0x25], 8);
    assert_eq!((data, status), (vec![0, 0, 0, 99, 0, 0, 8, 0], 0x40));
    for limit in [2048, 3000, 0xFFFE] {
        let (data, status) = b.packet(&[0x28, 0, 0, 0, 0, 20, 0, 0, 70], limit);
        assert_eq!((data.len(), status), (70 * 2048, 0x40));
        assert!(data.chunks(2048).zip(20u8..).all(|(block, number)| block.iter().all(|&byte| byte == number)));
    }
    assert_eq!(b.packet(&[0xA8, 0, 0, 0, 0, 5, 0, 0, 0, 1], 2048).0[0], 5);
    assert_eq!(b.packet(&[0x28, 0, 0, 0, 0, 99, 0, 0, 2], 2048), (vec![], 0x41));
    assert_eq!(b.sense(), [5, 0x21, 0]);
}

#[test]
fn the_disc_has_a_table_of_contents() {
    let mut b = Bench::new();
    b.load_disc(100);
    b.packet(&[0], 8);
    let (data, _) = b.packet(&[0x43, 0, 0, 0, 0, 0, 0, 0, 0xFF], 0x800);
    assert_eq!(data, [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xAA, 0, 0, 0, 0, 100]);
    let (data, _) = b.packet(&[0x43, 2, 0, 0, 0, 0, 0xAA, 0, 0xFF], 0x800);
    assert_eq!(data[4..], [0, 0x14, 0xAA, 0, 0, 0, 3, 25]);
    let (data, _) = b.packet(&[0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0x40], 0x800);
    assert_eq!(data, [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0]);
    let (data, _) = b.packet(&[0x12, 0, 0, 0, 36], 0x800);
    assert_eq!((data.len(), data[0], data[1], &data[8..14]), (36, 5, 0x80, &b"RING86"[..]));
    let (data, _) = b.packet(&[0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 0xFF], 0x800);
    assert_eq!((data.len(), data[1] as usize, data[8]), (28, 26, 0x2A));
}

#[test]
fn the_tray_can_be_locked_and_opened() {
    let mut b = Bench::new();
    b.load_disc(1);
    b.packet(&[0], 8);
    b.packet(&[0x1E, 0, 0, 0, 1], 8);
    assert!(b.ide.is_locked(1, 0));
    assert_eq!(b.packet(&[0x1B, 0, 0, 0, 2], 8).1, 0x41);
    assert_eq!(b.sense(), [5, 0x53, 2]);
    b.packet(&[0x1E, 0, 0, 0, 0], 8);
    assert_eq!(b.packet(&[0x1B, 0, 0, 0, 2], 8).1, 0x40);
    assert!(b.ide.take_eject_request(1, 0) && !b.ide.take_eject_request(1, 0));
    assert!(b.ide.insert_disc(1, 0, None).is_some());
    assert!(b.ide.insert_disc(0, 0, None).is_none(), "a disk is no CD-ROM drive");
}

#[test]
fn packet_data_move_by_dma() {
    let mut b = Bench::new();
    b.out(0x177, 0xA1);
    let identity: Vec<u16> = (0..256).map(|_| b.ide.port_read(0, 0x170, 2) as u16).collect();
    assert_eq!((identity[49] & 0x100, identity[62], identity[63], identity[88]), (0x100, 0, 7, 0x407));
    for (mode, status) in [(0x22, 0x50), (0x45, 0x51)] {
        b.out(0x171, 3);
        b.out(0x172, mode);
        b.out(0x177, 0xEF);
        assert_eq!(b.inb(0x177), status);
    }
    b.out(0x177, 0xA1);
    let identity: Vec<u16> = (0..256).map(|_| b.ide.port_read(0, 0x170, 2) as u16).collect();
    assert_eq!((identity[63], identity[88]), (0x407, 7));
    b.load_disc(100);
    b.packet(&[0], 8);
    let mut memory = Memory(vec![0xEE; 0x1_0000]);
    // One block, over two regions; the table is longer, so the bus master stays active.
    b.dma_packet([0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0, 0, 0], true, &mut memory);
    assert_eq!(b.dma_end(), (5, true, 3, 0x40));
    assert!(memory.0[0x3000..0x3000 + 1000].iter().chain(&memory.0[0x5000..0x5000 + 1048]).all(|&byte| byte == 7));
    assert_eq!((memory.0[0x3000 + 1000], memory.0[0x5000 + 1048]), (0xEE, 0xEE));
    // Data that are no blocks.
    b.dma_packet([0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], true, &mut memory);
    assert_eq!(b.dma_end(), (5, true, 3, 0x40));
    assert_eq!((&memory.0[0x3000..0x3009], memory.0[0x3009]), (&[0, 0, 0, 99, 0, 0, 8, 0, 7][..], 7));
    // None at all, and an error.
    b.dma_packet([0; 12], true, &mut memory);
    assert_eq!(b.dma_end(), (5, true, 3, 0x40));
    b.dma_packet([0x28, 0, 0, 0, 0, 100, 0, 0, 1, 0, 0, 0], true, &mut memory);
    assert_eq!(b.dma_end(), (5, true, 3, 0x41));
    assert_eq!(b.sense(), [5, 0x21, 0]);
    // More than the table has room for: the bus master stops, and the device waits until a reset.
    b.dma_packet([0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0], true, &mut memory);
    assert_eq!(b.dma_end(), (0, false, 2, 0x48));
    assert_eq!(b.ide.port_read(0, 0x170, 2), 0xFFFF, "nothing for the data register");
    b.out(0x177, 0x08);
    assert_eq!((b.inb(0x177), b.ide.dma_pending()), (0x00, false));
    // The wrong direction moves nothing.
    b.dma_packet([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], false, &mut memory);
    assert_eq!(b.dma_end(), (1, false, 2, 0x48));
    // From memory.
    b.dma_packet([0x55, 0x10, 0, 0, 0, 0, 0, 0x0B, 0xB8, 0, 0, 0], false, &mut memory);
    assert_eq!(b.dma_end(), (4, true, 3, 0x40), "a list that fills the table");
}

#[test]
fn a_dma_read_that_the_host_fails_is_an_error() {
    let mut b = Bench::new();
    let bytes = Arc::new(Mutex::new(vec![9; 4 * 2048]));
    let image = Image { bytes, read_only: true, bad: Some(2048 + 5), ..Image::default() };
    b.ide.insert_disc(1, 0, Some(Box::new(image)));
    b.packet(&[0], 8);
    let mut memory = Memory(vec![0; 0x1_0000]);
    b.dma_packet([0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0], true, &mut memory);
    assert_eq!(b.dma_end(), (5, true, 3, 0x41));
    assert_eq!(b.sense(), [3, 0x11, 0]);
}

#[test]
fn read_cd_gives_the_parts_that_it_is_asked_for() {
    let mut b = Bench::new();
    b.load_disc(100);
    b.packet(&[0], 8);
    let (data, status) = b.packet(&[0xBE, 0, 0, 0, 0, 20, 0, 0, 40, 0x10], 2048);
    assert_eq!((data.len(), status), (40 * 2048, 0x40));
    assert!(data.chunks(2048).zip(20u8..).all(|(block, number)| block.iter().all(|&byte| byte == number)));
    let (data, _) = b.packet(&[0xBE, 2 << 2, 0, 0, 0, 33, 0, 0, 2, 0xF8], 0xFFFE);
    assert_eq!(
        (data.len(), &data[..17]),
        (2 * 2352, &[0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 2, 0x33, 1, 33][..])
    );
    // The same by minutes, seconds and frames.
    assert!(b.packet(&[0xB9, 2 << 2, 0, 0, 2, 33, 0, 2, 35, 0xF8], 0xFFFE).0 == data);
    assert_eq!(b.packet(&[0xBE, 0, 0, 0, 0, 1, 0, 0, 1, 0x20], 64).0, [0, 2, 1, 1]);
    for nothing in
        [[0xBE, 0, 0, 0, 0, 1, 0, 0, 1, 0], [0xBE, 0, 0, 0, 0, 1, 0, 0, 0, 0x10], [0xB9, 0, 0, 0, 2, 1, 0, 2, 1, 0x10]]
    {
        assert_eq!(b.packet(&nothing, 64), (vec![], 0x40));
    }
    for (wrong, why) in [
        ([0xBE, 1 << 2, 0, 0, 0, 0, 0, 0, 1, 0x10, 0], [5, 0x64, 0]),
        ([0xBE, 0, 0, 0, 0, 0, 0, 0, 1, 0x12, 0], [5, 0x24, 0]),
        ([0xBE, 0, 0, 0, 0, 0, 0, 0, 1, 0x90, 0], [5, 0x24, 0]),
        ([0xBE, 0, 0, 0, 0, 0, 0, 0, 1, 0x10, 1], [5, 0x24, 0]),
        ([0xBE, 0, 0, 0, 0, 99, 0, 0, 2, 0x10, 0], [5, 0x21, 0]),
        ([0xB9, 0, 0, 0, 1, 74, 0, 2, 1, 0x10, 0], [5, 0x21, 0]),
        ([0xB9, 0, 0, 0, 2, 1, 0, 2, 0, 0x10, 0], [5, 0x24, 0]),
    ] {
        assert_eq!(b.packet(&wrong, 64).1, 0x41, "{wrong:02x?}");
        assert_eq!(b.sense(), why, "{wrong:02x?}");
    }
    // What follows is not touched by it.
    assert_eq!(b.packet(&[0x28, 0, 0, 0, 0, 5, 0, 0, 1], 2048).0, [5; 2048]);
}

#[test]
fn modes_speed_and_header() {
    let mut b = Bench::new();
    b.load_disc(100);
    b.packet(&[0], 8);
    assert_eq!(b.packet(&[0xBB, 0, 0xFF, 0xFF, 0xFF, 0xFF], 8), (vec![], 0x40));
    assert_eq!(b.packet(&[0x44, 0, 0, 0, 0, 5, 0, 0, 8], 8).0, [1, 0, 0, 0, 0, 0, 0, 5]);
    assert_eq!(b.packet(&[0x44, 2, 0, 0, 0, 5, 0, 0, 8], 8).0, [1, 0, 0, 0, 0, 0, 2, 5]);
    assert_eq!(b.packet(&[0x44, 0, 0, 0, 0, 100, 0, 0, 8], 8).1, 0x41);
    for (kind, number) in [(0, 99), (1, 1), (2, 1)] {
        let (data, _) = b.packet(&[0x52, kind, 0, 0, 0, number, 0, 0, 36], 64);
        assert_eq!((data.len(), &data[..7], &data[24..28]), (36, &[0, 34, 1, 1, 0, 4, 1][..], &[0, 0, 0, 100][..]));
    }
    assert_eq!(b.packet(&[0x52, 0, 0, 0, 0, 100, 0, 0, 36], 64).1, 0x41);
    assert_eq!(b.packet(&[0x52, 1, 0, 0, 0, 2, 0, 0, 36], 64).1, 0x41);
    assert_eq!(b.packet(&[0x55, 0x10], 8), (vec![], 0x40), "no list");
    // A list of 20 bytes in blocks of 8.
    for (port, value) in [(0x171, 0), (0x174, 8), (0x175, 0), (0x177, 0xA0)] {
        b.out(port, value);
    }
    for word in [0x1055, 0, 0, 0, 0x0014, 0] {
        b.ide.port_write(0, 0x170, 2, word);
    }
    for length in [8, 8, 4] {
        assert_eq!((b.inputs.levels() >> 15 & 1, b.inb(0x172) & 3, b.inb(0x174), b.inb(0x177)), (1, 0, length, 0x48));
        (0..length / 2).for_each(|_| b.ide.port_write(0, 0x170, 2, 0xFFFF));
    }
    assert_eq!((b.inb(0x172) & 3, b.inb(0x177)), (3, 0x40));
    let (data, _) = b.packet(&[0x5A, 0, 1, 0, 0, 0, 0, 0, 0xFF], 0x800);
    assert_eq!(data[8..], [1, 6, 0, 5, 0, 0, 0, 0]);
}

/// A disc of any size, of which nobody reads anything.
struct Vast(u64);

impl BlockMedia for Vast {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_only(&self) -> bool {
        true
    }

    fn read(&mut self, _: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        Ok(())
    }

    fn write(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_large_image_is_a_dvd() {
    let mut b = Bench::new();
    let mut configuration = |disc: Option<u64>, packet: &[u8]| {
        b.ide.insert_disc(1, 0, disc.map(|len| Box::new(Vast(len)) as Box<dyn BlockMedia>));
        b.packet(packet, 0x800).0
    };
    let all = [0x46, 0, 0, 0, 0, 0, 0, 0, 0xFF];
    for (disc, profile, current) in [
        (None, 0, [0, 0]),
        (Some(900 << 20), 8, [0, 1]),
        (Some((900 << 20) + 2048), 0x10, [1, 0]),
        (Some(8 << 30), 0x10, [1, 0]),
    ] {
        let data = configuration(disc, &all);
        assert_eq!((data.len() - 4, data[3] as usize, data[7]), (data.len() - 4, data.len() - 4, profile));
        assert_eq!(data[8..20], [0, 0, 3, 8, 0, 0x10, current[0], 0, 0, 8, current[1], 0]);
    }
    let data = configuration(Some(8 << 30), &[0x46, 2, 0, 0x1F, 0, 0, 0, 0, 0xFF]);
    assert_eq!(data[8..], [0, 0x1F, 1, 0]);
    let data = configuration(Some(4096), &[0x46, 1, 0, 0x10, 0, 0, 0, 0, 0xFF]);
    assert_eq!(data[8..], [0, 0x10, 1, 8, 0, 0, 8, 0, 0, 1, 0, 0, 0, 0x1E, 1, 4, 0, 0, 0, 0]);
    // One DMA command moves 65,535 blocks at most.
    configuration(Some(8 << 30), &all);
    b.packet(&[0], 8);
    let mut memory = Memory(vec![0; 0x1_0000]);
    b.dma_packet([0xA8, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], true, &mut memory);
    assert_eq!(b.dma_end().3, 0x41);
    assert_eq!(b.sense(), [5, 0x24, 0]);
}

#[test]
fn the_sector_buffer_is_written_and_read() {
    let mut b = Bench::new();
    b.lba(0xE8, 0, 0);
    assert_eq!((b.irq(), b.inb(0x3F6)), (false, 0x58));
    (0..256).for_each(|word| b.ide.port_write(0, 0x1F0, 2, 0xA500 | word));
    assert_eq!((b.irq(), b.inb(0x1F7)), (true, 0x50));
    b.lba(0x20, 3, 1);
    b.read_words(256);
    b.lba(0xE4, 0, 0);
    assert_eq!((b.irq(), b.inb(0x1F7)), (true, 0x58));
    let data = b.read_words(256);
    assert_eq!((&data[..4], data[511], b.inb(0x1F7)), (&[0, 0xA5, 1, 0xA5][..], 0xA5, 0x50));
}

#[test]
fn the_last_sector_can_be_moved_down() {
    let mut b = Bench::new();
    let native = SECTORS as u32 - 1;
    let last = |b: &mut Bench| {
        b.lba(0xEC, 0, 0);
        let data = b.read_words(256);
        u32::from_le_bytes([data[120], data[121], data[122], data[123]])
    };
    b.lba(0xF9, 999, 0);
    assert_eq!((b.inb(0x1F7), b.inb(0x1F1)), (0x51, 0x04), "not after READ NATIVE MAX ADDRESS");
    b.lba(0xF8, 0, 0);
    b.lba(0xF9, 999, 1);
    assert_eq!((b.inb(0x1F7), b.inb(0x1F1)), (0x51, 0x04), "not for ever");
    b.lba(0xF8, 0, 0);
    b.lba(0xF9, native + 1, 0);
    assert_eq!((b.inb(0x1F7), b.inb(0x1F1)), (0x51, 0x10));
    b.lba(0xF8, 0, 0);
    b.lba(0xF9, 999, 0);
    assert_eq!((b.inb(0x1F7), last(&mut b)), (0x50, 1000));
    b.lba(0x20, 1000, 1);
    assert_eq!((b.inb(0x1F7), b.inb(0x1F1)), (0x51, 0x10));
    b.lba(0xF8, 0, 0);
    assert_eq!([b.inb(0x1F3), b.inb(0x1F4), b.inb(0x1F5)], native.to_le_bytes()[..3]);
    b.lba48(0x27, 0, 0);
    b.lba48(0x37, 1999, 0);
    assert_eq!((b.inb(0x1F7), last(&mut b)), (0x50, 2000));
    b.out(0x3F6, 4);
    b.out(0x3F6, 0);
    assert_eq!(last(&mut b), 2000, "a software reset keeps it");
    b.ide.reset();
    b.ide.firmware_defaults();
    assert_eq!(last(&mut b), native + 1);
    // SMART is not there, whatever the subcommand.
    b.out(0x1F1, 0xD0);
    b.out(0x1F4, 0x4F);
    b.out(0x1F5, 0xC2);
    b.out(0x1F7, 0xB0);
    assert_eq!((b.inb(0x1F7), b.inb(0x1F1)), (0x51, 0x04));
}
