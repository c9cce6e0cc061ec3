//! Commands, results and transfers, against the 82077AA datasheet.

use std::sync::{Arc, Mutex};

use super::*;
use crate::IrqInputs;
use crate::capability::testing::Image;

struct Bench {
    chip: FloppyController,
    inputs: IrqInputs,
    bytes: Arc<Mutex<Vec<u8>>>,
    now: Time,
}

const DISK: usize = 1_474_560;

impl Bench {
    /// Two drives; a 1.44 MB disk, each sector filled with its low LBA byte, in the first; reset done.
    fn new() -> Self {
        let bytes = (0..DISK).map(|i| (i / 512) as u8 ^ (i % 512) as u8).collect();
        let mut b = Self::empty(Arc::new(Mutex::new(bytes)));
        b.load(0, false);
        b.start();
        b
    }

    fn empty(bytes: Arc<Mutex<Vec<u8>>>) -> Self {
        let inputs = IrqInputs::new();
        Self { chip: FloppyController::new(inputs.line(6), 2), inputs, bytes, now: 0 }
    }

    fn load(&mut self, drive: usize, read_only: bool) {
        let image = Image { bytes: Arc::clone(&self.bytes), read_only, ..Image::default() };
        assert!(self.chip.insert(drive, Some(Box::new(image))).is_none());
    }

    fn start(&mut self) {
        self.out(2, 0x1C);
        self.wait();
        for drive in 0..4 {
            assert_eq!(self.command(&[0x08]), [0xC0 | drive, 0]);
        }
        self.out(7, 0);
        // 3 ms step rate, DMA.
        self.command(&[0x03, 0xDF, 0x02]);
    }

    fn out(&mut self, register: u16, value: u8) {
        self.chip.write8(self.now, 0x3F0 + register, value);
    }

    fn inb(&mut self, register: u16) -> u8 {
        self.chip.read8(self.now, 0x3F0 + register)
    }

    fn irq(&self) -> bool {
        self.inputs.levels() & 0x40 != 0
    }

    /// Lets time pass until nothing more is due.
    fn wait(&mut self) {
        while let Some(at) = self.chip.next_event() {
            self.now = at;
            self.chip.advance(at);
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            assert_eq!(self.inb(4) & 0xC0, 0x80, "ready for a command byte");
            self.out(5, byte);
        }
    }

    fn result(&mut self) -> Vec<u8> {
        let mut result = Vec::new();
        while self.inb(4) & 0xD0 == 0xD0 {
            result.push(self.inb(5));
        }
        result
    }

    fn command(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.send(bytes);
        self.result()
    }

    /// Reads up to `count` bytes by DMA with terminal count at the end.
    fn dma_read(&mut self, count: usize) -> Vec<u8> {
        self.wait();
        let mut data = Vec::new();
        while data.len() < count && self.chip.dreq() {
            data.push(self.chip.dma_take(self.now) as u8);
        }
        if data.len() == count {
            self.chip.terminal_count(self.now);
        }
        data
    }

    fn dma_write(&mut self, data: &[u8]) {
        self.wait();
        for &byte in data {
            assert!(self.chip.dreq());
            self.chip.dma_give(self.now, u16::from(byte));
        }
        self.chip.terminal_count(self.now);
    }

    fn sector(&self, lba: usize) -> Vec<u8> {
        self.bytes.lock().unwrap()[lba * 512..][..512].to_vec()
    }
}

#[test]
fn reset_interrupts_and_is_sensed_four_times() {
    let mut b = Bench::empty(Arc::new(Mutex::new(vec![0; DISK])));
    assert_eq!(b.inb(4), 0x00);
    b.out(2, 0x0C);
    assert!(!b.irq());
    b.wait();
    assert!(b.irq());
    assert_eq!(b.inb(4), 0x80);
    assert_eq!(b.command(&[0x08]), [0xC0, 0]);
    assert!(!b.irq());
    for drive in 1..4 {
        assert_eq!(b.command(&[0x08]), [0xC0 | drive, 0]);
    }
    assert_eq!(b.command(&[0x08]), [0x80], "nothing more to sense");
    b.out(4, 0x82);
    b.wait();
    assert!(b.irq());
    b.out(2, 0x04);
    assert!(!b.irq(), "the gate closes the interrupt");
}

/// As BSD's probes do: nothing is sensed after the reset, and each drive is recalibrated and sensed once.
#[test]
fn a_seeks_end_takes_the_place_of_what_polling_found() {
    let mut b = Bench::empty(Arc::new(Mutex::new(vec![0; DISK])));
    b.out(2, 0x1C);
    b.wait();
    b.send(&[0x07, 0x00]);
    b.wait();
    assert!(b.irq());
    assert_eq!(b.command(&[0x08]), [0x20, 0]);
    assert!(!b.irq(), "what polling found interrupts once");
    b.out(2, 0x2D);
    b.send(&[0x07, 0x01]);
    b.wait();
    assert_eq!(b.command(&[0x08]), [0x21, 0]);
    for drive in 2..4 {
        assert_eq!(b.command(&[0x08]), [0xC0 | drive, 0]);
    }
    assert_eq!(b.command(&[0x08]), [0x80]);
}

#[test]
fn simple_commands_answer() {
    let mut b = Bench::new();
    assert_eq!(b.command(&[0x10]), [0x90]);
    assert_eq!(b.command(&[0x1F]), [0x80]);
    assert_eq!(b.command(&[0x94]), [0x10]);
    assert_eq!(b.command(&[0x13, 0, 0x57, 0x05]), []);
    assert_eq!(b.command(&[0x12, 0x84]), []);
    assert_eq!(b.command(&[0x0E]), [0, 0, 0, 0, 0xDF, 0x02, 0, 0x84, 0x57, 0x05]);
    b.out(4, 0x80);
    b.wait();
    assert_eq!(b.command(&[0x0E])[8..], [0x57, 0x05], "locked values survive a reset");
    assert_eq!(b.command(&[0x14]), [0x00]);
    b.out(4, 0x80);
    b.wait();
    assert_eq!(b.command(&[0x0E])[8..], [0, 0]);
    assert_eq!(b.command(&[0x04, 0x04]), [0x3C]);
}

#[test]
fn seeks_take_time_and_end_with_an_interrupt() {
    let mut b = Bench::new();
    let start = b.now;
    b.send(&[0x0F, 0x00, 10]);
    assert_eq!(b.inb(4), 0x81);
    assert!(!b.irq());
    b.wait();
    assert!((30_000_000..31_000_000).contains(&(b.now - start)), "ten steps of 3 ms");
    assert!(b.irq());
    assert_eq!(b.command(&[0x08]), [0x20, 10]);
    assert!(!b.irq());
    b.send(&[0xCF, 0x00, 3]);
    b.wait();
    assert_eq!(b.command(&[0x08]), [0x20, 13]);
    b.send(&[0x8F, 0x00, 5]);
    b.wait();
    assert_eq!(b.command(&[0x08]), [0x20, 8]);
    assert_eq!(b.command(&[0x04, 0x00]), [0x28]);
    b.send(&[0x07, 0x00]);
    b.wait();
    assert_eq!(b.command(&[0x08]), [0x20, 0]);
    assert_eq!(b.command(&[0x04, 0x00]), [0x38]);
    b.send(&[0x07, 0x02]);
    b.wait();
    assert_eq!(b.command(&[0x08]), [0x72, 0], "there is no third drive");
}

#[test]
fn a_sector_is_read_by_dma() {
    let mut b = Bench::new();
    b.send(&[0xE6, 0x00, 0, 0, 3, 2, 18, 0x1B, 0xFF]);
    assert_eq!(b.inb(4) & 0x90, 0x10);
    assert_eq!(b.dma_read(512), b.sector(2));
    assert!(b.irq());
    assert_eq!(b.result(), [0, 0, 0, 0, 0, 4, 2]);
    assert!(!b.irq());
    assert_eq!(b.inb(4), 0x80);
}

#[test]
fn multi_track_reads_cross_heads_and_stop_at_the_cylinder() {
    let mut b = Bench::new();
    b.send(&[0xE6, 0x00, 0, 0, 18, 2, 18, 0x1B, 0xFF]);
    assert_eq!(b.dma_read(1024), [b.sector(17), b.sector(18)].concat());
    assert_eq!(b.result(), [0x04, 0, 0, 0, 1, 2, 2]);
    b.send(&[0xE6, 0x04, 0, 1, 18, 2, 18, 0x1B, 0xFF]);
    assert_eq!(b.dma_read(512), b.sector(35));
    assert_eq!(b.result(), [0, 0, 0, 1, 0, 1, 2], "terminal count with the last byte is a normal end");
    b.send(&[0xE6, 0x04, 0, 1, 18, 2, 18, 0x1B, 0xFF]);
    assert_eq!(b.dma_read(1024).len(), 512);
    assert_eq!(b.result(), [0x40, 0x80, 0, 1, 0, 1, 2], "end of cylinder");
    b.send(&[0x46, 0x00, 0, 0, 18, 2, 18, 0x1B, 0xFF]);
    assert_eq!(b.dma_read(1024).len(), 512);
    assert_eq!(b.result(), [0x40, 0x80, 0, 1, 0, 1, 2]);
}

#[test]
fn an_end_of_track_beyond_the_track_does_not_spoil_an_exact_count() {
    let mut b = Bench::new();
    b.send(&[0xE6, 0x00, 0, 0, 18, 2, 36, 0x1B, 0xFF]);
    assert_eq!(b.dma_read(512), b.sector(17));
    assert_eq!(b.result(), [0, 0, 0, 0, 0, 19, 2]);
}

#[test]
fn errors_say_why() {
    let mut b = Bench::new();
    b.send(&[0xE6, 0x00, 5, 0, 1, 2, 18, 0x1B, 0xFF]);
    assert_eq!(b.dma_read(512), []);
    assert_eq!(b.result()[..3], [0x40, 0x04, 0x10], "wrong cylinder");
    b.send(&[0xE6, 0x00, 0, 0, 19, 2, 19, 0x1B, 0xFF]);
    b.wait();
    assert_eq!(b.result()[..3], [0x40, 0x04, 0x00], "no such sector");
    b.out(7, 2);
    b.send(&[0x4A, 0x00]);
    b.wait();
    assert_eq!(b.result()[..3], [0x40, 0x01, 0x00], "wrong data rate");
    b.out(7, 0);
    b.send(&[0x4A, 0x04]);
    b.wait();
    assert_eq!(b.result(), [0x04, 0, 0, 0, 1, 1, 2]);
    b.load_read_only();
    b.send(&[0xC5, 0x01, 0, 0, 1, 2, 18, 0x1B, 0xFF]);
    b.wait();
    assert_eq!(b.result()[..3], [0x41, 0x02, 0x00], "write protected");
    assert_eq!(b.command(&[0x04, 0x01]), [0x79]);
}

impl Bench {
    fn load_read_only(&mut self) {
        self.load(1, true);
        self.out(2, 0x3D);
    }
}

#[test]
fn implied_seek_moves_the_head() {
    let mut b = Bench::new();
    b.command(&[0x13, 0, 0x50, 0]);
    b.send(&[0xE6, 0x00, 5, 0, 1, 2, 18, 0x1B, 0xFF]);
    assert_eq!(b.dma_read(512), b.sector(5 * 36));
    assert_eq!(b.result()[..3], [0, 0, 0]);
    assert_eq!(b.command(&[0x0E])[0], 5);
}

#[test]
fn sectors_are_written_whole_even_if_the_count_ends_early() {
    let mut b = Bench::new();
    b.send(&[0xC5, 0x00, 0, 0, 2, 2, 18, 0x1B, 0xFF]);
    b.dma_write(&[0xEE; 700]);
    assert_eq!(b.result(), [0, 0, 0, 0, 0, 4, 2]);
    assert_eq!(b.sector(1), [0xEE; 512]);
    assert_eq!(b.sector(2), [vec![0xEE; 188], vec![0; 324]].concat());
    assert_eq!(b.sector(3)[0], 3);
}

#[test]
fn a_write_ends_when_it_is_durable() {
    let mut b = Bench::new();
    let flushes = Arc::new(Mutex::new(0));
    for (no_flush, status) in [(false, [0x00, 0x00]), (true, [0x40, 0x20])] {
        let image = Image { bytes: Arc::clone(&b.bytes), flushes: Arc::clone(&flushes), no_flush, ..Image::default() };
        b.chip.insert(0, Some(Box::new(image)));
        *flushes.lock().unwrap() = 0;
        b.send(&[0xC5, 0x00, 0, 0, 2, 2, 18, 0x1B, 0xFF]);
        b.dma_write(&[0xEE; 1024]);
        assert_eq!((b.result()[..2].to_vec(), *flushes.lock().unwrap()), (status.to_vec(), 1));
        // The last sector of a track, where the command's end comes before terminal count.
        b.send(&[0x45, 0x00, 0, 0, 18, 2, 18, 0x1B, 0xFF]);
        b.dma_write(&[0xEE; 512]);
        assert_eq!((b.result()[..2].to_vec()[0], *flushes.lock().unwrap()), (status[0], 2));
        b.send(&[0xC6, 0x00, 0, 0, 2, 2, 18, 0x1B, 0xFF]);
        b.dma_read(512);
        assert_eq!((b.result()[0], *flushes.lock().unwrap()), (0, 2), "reading flushes nothing");
    }
}

#[test]
fn format_fills_a_track() {
    let mut b = Bench::new();
    b.send(&[0x4D, 0x04, 2, 18, 0x54, 0xF6]);
    let ids: Vec<u8> = (1..=18).flat_map(|record| [0, 1, record, 2]).collect();
    b.wait();
    for byte in ids {
        assert!(b.chip.dreq());
        b.chip.dma_give(b.now, u16::from(byte));
    }
    assert_eq!(b.result()[..3], [0x04, 0, 0]);
    assert!((18..36).all(|lba| b.sector(lba) == [0xF6; 512]));
    assert_eq!(b.sector(17)[0], 17);
}

#[test]
fn the_fifo_moves_data_without_dma() {
    let mut b = Bench::new();
    b.command(&[0x03, 0xDF, 0x03]);
    b.send(&[0x46, 0x00, 0, 0, 1, 2, 1, 0x1B, 0xFF]);
    assert_eq!(b.inb(4), 0x70);
    b.wait();
    assert!(b.irq() && !b.chip.dreq());
    let mut data = Vec::new();
    while b.inb(4) == 0xF0 {
        data.push(b.inb(5));
    }
    assert_eq!(data, b.sector(0));
    assert!(b.irq());
    assert_eq!(b.result()[..3], [0x40, 0x80, 0], "without terminal count it ends at the end of track");
    b.send(&[0x45, 0x00, 0, 0, 1, 2, 1, 0x1B, 0xFF]);
    b.wait();
    while b.inb(4) == 0xB0 {
        b.out(5, 0x11);
    }
    assert_eq!((b.result()[0], b.sector(0)), (0x40, vec![0x11; 512]));
}

#[test]
fn verify_read_track_and_deleted_data() {
    let mut b = Bench::new();
    b.send(&[0x56, 0x00, 0, 0, 1, 2, 18, 0x1B, 0xFF]);
    b.wait();
    assert_eq!(b.result(), [0, 0, 0, 1, 0, 1, 2]);
    b.send(&[0x56, 0x80, 0, 0, 1, 2, 18, 0x1B, 2]);
    b.wait();
    assert_eq!(b.result(), [0, 0, 0, 0, 0, 3, 2]);
    b.send(&[0x42, 0x00, 0, 0, 7, 2, 18, 0x1B, 0xFF]);
    assert_eq!(b.dma_read(512), b.sector(0), "a track is read from its first sector");
    assert_eq!(b.result()[..3], [0, 0, 0]);
    b.send(&[0x4C, 0x00, 0, 0, 1, 2, 18, 0x1B, 0xFF]);
    assert_eq!(b.dma_read(512), b.sector(0));
    assert_eq!(b.result()[..3], [0, 0, 0x40], "control mark");
    b.send(&[0x6C, 0x00, 0, 0, 1, 2, 18, 0x1B, 0xFF]);
    b.wait();
    assert_eq!(b.result()[..3], [0x40, 0x80, 0x40], "skipped to the end");
}

#[test]
fn scan_compares() {
    for (code, delta, expected) in [(0x51, 0i16, 0x08), (0x51, 1, 0x04), (0x59, 1, 0x00), (0x5D, 1, 0x04)] {
        let mut b = Bench::new();
        b.send(&[code, 0x00, 0, 0, 1, 2, 1, 0x1B, 1]);
        b.wait();
        for byte in b.sector(0) {
            let byte = if byte < 0x80 { i16::from(byte) + delta } else { i16::from(byte) };
            b.chip.dma_give(b.now, byte as u16);
        }
        assert_eq!(b.result()[2], expected, "{code:02X} {delta}");
    }
}

#[test]
fn disk_change_shows_until_a_step() {
    let mut b = Bench::new();
    assert_eq!(b.inb(7), 0x80);
    b.send(&[0x0F, 0x00, 1]);
    b.wait();
    assert_eq!(b.inb(7), 0x00);
    assert!(b.chip.insert(0, None).is_some());
    assert_eq!(b.inb(7), 0x80);
    b.send(&[0x0F, 0x00, 2]);
    b.wait();
    assert_eq!(b.inb(7), 0x80, "an empty drive keeps it");
    b.out(2, 0x0C);
    assert_eq!(b.inb(7), 0x00, "not without its motor");
    assert!(!b.chip.motor(0));
}

#[test]
fn an_absent_or_still_disk_never_answers() {
    let mut b = Bench::new();
    b.out(2, 0x0C);
    b.send(&[0xE6, 0x00, 0, 0, 1, 2, 18, 0x1B, 0xFF]);
    assert_eq!(b.chip.next_event(), None);
    assert_eq!(b.inb(4), 0x50);
    b.out(2, 0x08);
    b.out(2, 0x1C);
    b.wait();
    assert_eq!(b.inb(4), 0x80);
}

#[test]
fn formats_are_told_by_length() {
    let of = |length: u64| Geometry::of_length(length).map(|g| (g.cylinders, g.heads, g.sectors));
    assert_eq!(of(1_474_560), Some((80, 2, 18)));
    assert_eq!(of(1_228_800), Some((80, 2, 15)));
    assert_eq!(of(737_280), Some((80, 2, 9)));
    assert_eq!(of(368_640), Some((40, 2, 9)));
    assert_eq!(of(163_840), Some((40, 1, 8)));
    assert_eq!(of(2_949_120), Some((80, 2, 36)));
    // Tracks more than 80, and sectors more than usual.
    assert_eq!(of(1_511_424), Some((82, 2, 18)));
    assert_eq!(of(1_638_400), Some((80, 2, 20)));
    let tracks =
        [(9, 80..=83), (10, 80..=83), (15, 80..=83), (18, 80..=83), (20, 80..=83), (21, 80..=83), (36, 80..=83)];
    for (sectors, cylinders) in tracks {
        for cylinders in cylinders {
            let bytes = u64::from(cylinders) * 2 * u64::from(sectors) * 512;
            assert_eq!(of(bytes), Some((cylinders, 2, sectors)));
        }
    }
    for (kib, format) in [(160, (40, 1, 8)), (180, (40, 1, 9)), (320, (40, 2, 8)), (360, (40, 2, 9))] {
        assert_eq!(of(kib << 10), Some(format));
    }
    // What is shorter than any, and what lies between them.
    assert_eq!(of(512), Some((80, 2, 18)));
    assert_eq!(of(1_228_800 + 512), Some((80, 2, 18)));
    assert_eq!(of(1_500_000), Some((80, 2, 21)));
    assert_eq!(of(1_800_000), Some((80, 2, 36)));
    assert_eq!(of(2_949_120 + 512), None);
    assert_eq!(of(5_000_000), None);
    // Double density wants 250 kb/s, or 300 in a 1.2 MB drive; extra density 1 Mb/s.
    for (length, rates) in [(737_280, [false, true, true, false]), (2_949_120, [false, false, false, true])] {
        let mut b = Bench::empty(Arc::new(Mutex::new(vec![0; length])));
        b.load(0, false);
        b.start();
        for (rate, fits) in (0..).zip(rates) {
            b.out(7, rate);
            b.send(&[0x4A, 0x00]);
            b.wait();
            assert_eq!(b.result()[1] == 0, fits, "{length} at rate {rate}");
        }
    }
    let mut b = Bench::empty(Arc::new(Mutex::new(b"short".repeat(103))));
    b.load(0, false);
    b.start();
    b.send(&[0xE6, 0x00, 0, 0, 2, 2, 18, 0x1B, 0xFF]);
    assert_eq!(b.dma_read(512), [b"ort".to_vec(), vec![0; 509]].concat());
}
