//! Transfers, modes and registers, against the 8237A datasheet.

use super::*;

struct Memory(Vec<u8>);

impl GuestMemory for Memory {
    fn read(&mut self, address: u64, buffer: &mut [u8]) {
        for (i, byte) in buffer.iter_mut().enumerate() {
            *byte = self.0.get(address as usize + i).copied().unwrap_or(0xFF);
        }
    }

    fn write(&mut self, address: u64, data: &[u8]) {
        for (i, &byte) in data.iter().enumerate() {
            if let Some(cell) = self.0.get_mut(address as usize + i) {
                *cell = byte;
            }
        }
    }
}

/// A peripheral that asks for `wants` transfers and counts up in what it gives.
#[derive(Default)]
struct Peer {
    wants: usize,
    next: u16,
    received: Vec<u16>,
    ended: usize,
}

impl DmaPeer for Peer {
    fn dreq(&self) -> bool {
        self.wants > 0
    }

    fn dma_take(&mut self, _now: Time) -> u16 {
        self.wants -= 1;
        self.next += 1;
        self.next
    }

    fn dma_give(&mut self, _now: Time, value: u16) {
        self.wants -= 1;
        self.received.push(value);
    }

    fn terminal_count(&mut self, _now: Time) {
        self.ended += 1;
    }
}

struct Bench {
    dma: DmaPair,
    memory: Memory,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self { dma: DmaPair::new(), memory: Memory(vec![0; 0x40_0000]) };
        bench.out(0xD6, 0xC0);
        bench.out(0xD4, 0x00);
        bench
    }

    fn out(&mut self, port: u16, value: u8) {
        self.dma.write8(0, port, value);
    }

    fn inb(&mut self, port: u16) -> u8 {
        self.dma.read8(0, port)
    }

    /// Programs channel 2 as a floppy driver does.
    fn program_2(&mut self, mode: u8, page: u8, address: u16, count: u16) {
        self.out(0x0A, 0x06);
        self.out(0x0C, 0);
        self.out(0x0B, mode | 2);
        for (port, value) in [(4, address), (5, count)] {
            self.out(port, value as u8);
            self.out(port, (value >> 8) as u8);
        }
        self.out(0x81, page);
        self.out(0x0A, 0x02);
    }

    fn run(&mut self, channel: u8, peer: &mut Peer) -> bool {
        self.dma.run(0, &mut self.memory, channel, peer)
    }
}

#[test]
fn a_write_transfer_fills_memory_and_masks_at_the_end() {
    let mut b = Bench::new();
    b.program_2(0x44, 0x12, 0xFFFE, 3);
    let mut peer = Peer { wants: 10, ..Peer::default() };
    assert!(b.run(2, &mut peer));
    assert_eq!((peer.ended, peer.wants), (1, 6));
    // The address wraps inside its 64 KiB page.
    assert_eq!(b.memory.0[0x12_FFFE..0x13_0001], [1, 2, 0]);
    assert_eq!(b.memory.0[0x12_0000..0x12_0002], [3, 4]);
    assert_eq!(b.inb(8), 0x44, "terminal count, and DREQ still there");
    assert_eq!(b.inb(8), 0x40);
    assert!(!b.run(2, &mut peer), "the channel masked itself");
    assert_eq!(b.inb(0x0F), 0xFF);
}

#[test]
fn a_read_transfer_empties_memory_and_the_registers_read_back() {
    let mut b = Bench::new();
    b.memory.0[0x5000..0x5003].copy_from_slice(&[7, 8, 9]);
    b.program_2(0x48, 0, 0x5000, 9);
    let mut peer = Peer { wants: 3, ..Peer::default() };
    b.run(2, &mut peer);
    assert_eq!((peer.received, peer.ended), (vec![7, 8, 9], 0));
    b.out(0x0C, 0);
    assert_eq!([b.inb(4), b.inb(4), b.inb(5), b.inb(5)], [0x03, 0x50, 6, 0]);
    assert_eq!(b.inb(0x81), 0);
}

#[test]
fn autoinitialization_starts_over_and_decrement_goes_down() {
    let mut b = Bench::new();
    b.program_2(0x44 | 0x10 | 0x20, 0, 0x103, 1);
    let mut peer = Peer { wants: 4, ..Peer::default() };
    b.run(2, &mut peer);
    assert_eq!(peer.ended, 2);
    assert_eq!(b.memory.0[0x100..0x105], [0, 0, 4, 3, 0]);
}

#[test]
fn verify_moves_nothing() {
    let mut b = Bench::new();
    b.program_2(0x40, 0, 0x100, 1);
    let mut peer = Peer { wants: 2, ..Peer::default() };
    b.run(2, &mut peer);
    assert_eq!((peer.ended, b.memory.0[0x100]), (1, 0));
}

#[test]
fn words_use_the_second_controller() {
    let mut b = Bench::new();
    b.out(0xD8, 0);
    b.out(0xD6, 0x45);
    for (port, value) in [(0xC4, 0x8000u16), (0xC6, 1)] {
        b.out(port, value as u8);
        b.out(port, (value >> 8) as u8);
    }
    b.out(0x8B, 0x13);
    b.out(0xD4, 0x01);
    let mut peer = Peer { wants: 2, next: 0x1110, ..Peer::default() };
    assert!(b.run(5, &mut peer));
    // Page bit 0 is not used, the address counts words.
    assert_eq!(b.memory.0[0x13_0000..0x13_0004], [0x11, 0x11, 0x12, 0x11]);
    assert_eq!((peer.ended, b.inb(0xD0)), (1, 0x22 & 0x0F));
}

#[test]
fn nothing_runs_masked_disabled_or_without_the_cascade() {
    let mut b = Bench::new();
    b.program_2(0x44, 0, 0, 9);
    let mut peer = Peer { wants: 1, ..Peer::default() };
    b.out(0x08, 0x04);
    assert!(!b.run(2, &mut peer));
    b.out(0x08, 0x00);
    b.out(0x0A, 0x06);
    assert!(!b.run(2, &mut peer));
    assert_eq!(b.dma.pending(), None);
    b.out(0x0A, 0x02);
    assert_eq!(b.dma.pending(), Some(2));
    b.out(0xD4, 0x04);
    assert!(!b.run(2, &mut peer));
    b.out(0xD4, 0x00);
    assert!(b.run(2, &mut peer));
    b.out(0x0D, 0);
    assert!(!b.run(2, &mut Peer { wants: 1, ..Peer::default() }), "master clear masks everything");
}

#[test]
fn memory_to_memory_copies_and_may_hold_its_source() {
    let mut b = Bench::new();
    b.memory.0[0x100..0x104].copy_from_slice(b"copy");
    for (hold, expected) in [(0x00, *b"copy"), (0x02, *b"cccc")] {
        b.out(0x0C, 0);
        for (port, value) in [(0, 0x100u16), (2, 0x200), (3, 3)] {
            b.out(port, value as u8);
            b.out(port, (value >> 8) as u8);
        }
        b.out(0x0B, 0x88);
        b.out(0x0B, 0x85);
        b.out(0x08, 0x01 | hold);
        assert!(!b.dma.run_memory_to_memory(&mut b.memory));
        b.out(0x09, 0x04);
        assert!(b.dma.run_memory_to_memory(&mut b.memory));
        assert_eq!(b.memory.0[0x200..0x204], expected);
        assert_eq!(b.inb(0x0D), expected[3]);
    }
}

#[test]
fn spare_page_registers_store() {
    let mut b = Bench::new();
    b.out(0x80, 0x5A);
    b.out(0x8F, 0xA5);
    assert_eq!((b.inb(0x80), b.inb(0x8F)), (0x5A, 0xA5));
    b.dma.reset();
    assert_eq!(b.inb(0x80), 0);
}
