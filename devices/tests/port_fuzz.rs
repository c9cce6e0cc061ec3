//! A million operations (streams of data not counted) on each drive and on the display, as a hostile guest would make them: mostly plausible command
//! sequences with wrong numbers in them, repeats, and now and then anything at all.
//!
//! The media and memory behind the chips check what they are asked: nothing outside the image, nothing on a
//! write-protected disk, and bounded work for each operation. Seeds are fixed, so what fails once fails again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ring86_devices::{
    BlockMedia, DmaPeer, GuestMemory, IrqLine, Mmio, PciFunction, PortIo, Time, Timed, dma, floppy, ide, vga,
};

const OPERATIONS: u64 = 1_000_000;
/// Bytes that one port access may make a chip move: the longest command there is, 65,536 sectors.
const MOST_WORK: u64 = 2 * 65_536 * 512;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A byte: small, a single bit, an edge, or any.
    fn byte(&mut self) -> u8 {
        match self.below(5) {
            0 => self.below(4) as u8,
            1 => self.below(24) as u8,
            2 => 1 << self.below(8),
            3 => self.of(&[0x7F, 0x80, 0xFE, 0xFF, 79, 80, 18, 19]),
            _ => self.next() as u8,
        }
    }

    fn word(&mut self) -> u32 {
        match self.below(4) {
            0 => self.below(64) as u32,
            1 => 1 << self.below(32),
            2 => (1u32 << self.below(32)).wrapping_sub(1),
            _ => self.next() as u32,
        }
    }
}

/// Bytes moved by media and memory: since the last look, and before it.
#[derive(Clone, Default)]
struct Work(Arc<(AtomicU64, AtomicU64)>);

impl Work {
    fn add(&self, bytes: usize) {
        self.0.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Looks, and checks that it was not too much.
    #[track_caller]
    fn check(&self) {
        let work = self.0.0.swap(0, Ordering::Relaxed);
        self.0.1.fetch_add(work, Ordering::Relaxed);
        assert!(work <= MOST_WORK, "one operation moved {work} bytes");
    }

    /// All of it: a fuzzer whose commands never move data would find nothing.
    fn total(&self) -> u64 {
        self.0.1.load(Ordering::Relaxed)
    }
}

/// Guest memory of 1 MiB.
struct Ram {
    bytes: Vec<u8>,
    work: Work,
}

impl Ram {
    fn new(work: &Work) -> Self {
        Self { bytes: vec![0xA5; 1 << 20], work: work.clone() }
    }
}

impl GuestMemory for Ram {
    fn read(&mut self, address: u64, buffer: &mut [u8]) {
        self.work.add(buffer.len());
        for (byte, at) in buffer.iter_mut().zip(address..) {
            *byte = self.bytes.get(at as usize).copied().unwrap_or(0xFF);
        }
    }

    fn write(&mut self, address: u64, data: &[u8]) {
        self.work.add(data.len());
        for (byte, at) in data.iter().zip(address..) {
            if let Some(cell) = self.bytes.get_mut(at as usize) {
                *cell = *byte;
            }
        }
    }
}

/// A disk that accepts no access outside itself. It fails now and then, as a host's disk may.
struct Image {
    bytes: Vec<u8>,
    read_only: bool,
    random: Random,
    work: Work,
}

impl Image {
    fn boxed(len: usize, read_only: bool, work: &Work) -> Box<dyn BlockMedia> {
        Box::new(Self { bytes: vec![0x5A; len], read_only, random: Random(len as u64 | 1), work: work.clone() })
    }

    #[track_caller]
    fn range(&mut self, offset: u64, len: usize) -> io::Result<std::ops::Range<usize>> {
        self.work.add(len);
        let start = offset as usize;
        let end = start.checked_add(len).expect("an address that wraps");
        assert!(end <= self.bytes.len(), "{offset}+{len} lies outside the medium of {}", self.bytes.len());
        if self.random.chance(500) { Err(io::Error::other("a bad sector")) } else { Ok(start..end) }
    }
}

impl BlockMedia for Image {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let range = self.range(offset, buffer.len())?;
        buffer.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        assert!(!self.read_only, "a write to a write-protected medium");
        let range = self.range(offset, data.len())?;
        self.bytes[range].copy_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.random.chance(100) { Err(io::Error::other("the host's disk is full")) } else { Ok(()) }
    }
}

/// Memory that this process uses, in bytes; 0 where the host does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Runs `operation`, which returns how many accesses it made, until there were enough; memory must not grow.
fn fuzz(seed: u64, mut operation: impl FnMut(&mut Random) -> u64) {
    let mut random = Random(seed);
    let mut done = 0;
    let mut early = None;
    while done < OPERATIONS {
        done += operation(&mut random);
        if done > OPERATIONS / 10 {
            early.get_or_insert_with(resident);
        }
    }
    // The other tests' fixtures are in the same process.
    let growth = resident().saturating_sub(early.unwrap_or(0));
    assert!(growth < 256 << 20, "{growth} bytes more than after the first tenth");
}

struct Floppy {
    chip: floppy::FloppyController,
    dma: dma::DmaPair,
    ram: Ram,
    work: Work,
    now: Time,
    accesses: u64,
    /// Where the last seek went.
    track: u8,
}

impl Floppy {
    fn settle(&mut self) {
        self.chip.advance(self.now);
        if self.chip.dreq() {
            self.dma.run(self.now, &mut self.ram, 2, &mut self.chip);
        }
        self.work.check();
        self.accesses += 1;
    }

    fn out(&mut self, port: u16, value: u8) {
        self.chip.port_write(self.now, port, 1, value.into());
        self.settle();
    }

    fn input(&mut self, port: u16) -> u8 {
        let value = self.chip.port_read(self.now, port, 1) as u8;
        self.settle();
        value
    }

    /// Lets time pass to the chip's next event.
    fn wait(&mut self) {
        for _ in 0..3 {
            let Some(at) = self.chip.next_event() else { return };
            self.now = self.now.max(at);
            self.chip.advance(self.now);
            let next = self.chip.next_event();
            assert!(next.is_none_or(|next| next > self.now), "an event that does not pass");
            self.settle();
        }
    }

    fn reset(&mut self, random: &mut Random) {
        self.out(0x3F2, 0);
        let drive = random.below(2) as u8;
        self.out(0x3F2, 0x0C | drive | 0x10 << drive);
        self.out(0x3F7, random.of(&[0, 0, 0, 2]));
        self.wait();
        self.track = 0;
        for _ in 0..random.below(5) {
            self.out(0x3F5, 8);
            self.input(0x3F5);
            self.input(0x3F5);
        }
    }

    /// Sets DMA channel 2 up, mostly in a mode that works.
    fn program_dma(&mut self, random: &mut Random) {
        let mode = if random.chance(4) { random.byte() } else { random.of(&[0x46, 0x4A, 0x42, 0x56]) };
        let count = if random.chance(3) { random.next() as u16 } else { random.of(&[511, 1023, 0, 0xFFFF]) };
        let address = random.next() as u16;
        let writes = [(0x0A, 6), (0x0C, 0), (0x0B, mode & 0xFC | 2), (4, address as u8), (4, (address >> 8) as u8)];
        let rest = [(5, count as u8), (5, (count >> 8) as u8), (0x81, random.below(18) as u8), (0x0A, 2)];
        for (port, value) in writes.into_iter().chain(rest).chain([(0xD6, 0xC0), (0xD4, 0)]) {
            self.dma.port_write(self.now, port, 1, value.into());
        }
    }

    fn command(&mut self, random: &mut Random) {
        // Every command the chip has, some of them with flags that it does not know.
        let commands: [u8; 24] = [
            2, 3, 4, 5, 6, 7, 8, 9, 0x0A, 0x0C, 0x0D, 0x0E, 0x0F, 0x11, 0x12, 0x13, 0x14, 0x16, 0x8F, 5, 6, 6, 0x0F,
            0x0F,
        ];
        let code = random.of(&commands);
        let code = if matches!(code, 2..=6 | 9..=0x0D | 0x11 | 0x16) { code | random.of(&[0x40, 0xC0]) } else { code };
        let code = if random.chance(8) { code | random.byte() & 0xE0 } else { code };
        self.out(0x3F5, if random.chance(10) { random.next() as u8 } else { code });
        let head = random.below(2) as u8;
        let track = if random.chance(4) { random.below(84) as u8 } else { self.track };
        if code & 0x1F == 0x0F {
            self.track = track;
        }
        let good = [head << 2 | random.below(2) as u8, track, head, 1 + random.below(20) as u8, 2, 18, 0x1B, 0xFF];
        let parameters = match code & 0x1F {
            _ if random.chance(10) => random.below(9),
            8 | 0x0E | 0x10 | 0x14 => 0,
            4 | 7 | 0x0A | 0x12 => 1,
            3 | 0x0F => 2,
            0x13 => 3,
            0x0D => 5,
            _ => 8,
        };
        for good in good.into_iter().take(parameters as usize) {
            let value = if random.chance(8) { random.byte() } else { good };
            self.out(0x3F5, value);
        }
        self.wait();
        // Results, or data without DMA.
        let data = if random.chance(20) { random.below(1200) } else { random.below(10) };
        let write = random.chance(3);
        let before = self.accesses;
        for _ in 0..data {
            if write {
                self.out(0x3F5, random.next() as u8);
            } else {
                self.input(0x3F5);
            }
        }
        // A stream counts once.
        self.accesses = before + 1;
        self.wait();
    }
}

#[test]
fn floppy_controller() {
    let work = Work::default();
    let mut f = Floppy {
        chip: floppy::FloppyController::new(IrqLine::unconnected(), 2),
        dma: dma::DmaPair::new(),
        ram: Ram::new(&work),
        work: work.clone(),
        now: 0,
        accesses: 0,
        track: 0,
    };
    f.chip.insert(0, Some(Image::boxed(1_474_560, false, &work)));
    f.chip.insert(1, Some(Image::boxed(737_280, true, &work)));
    let mut reads = 0;
    fuzz(0x0F10_9901, |random| {
        let before = f.accesses;
        f.now += random.of(&[0, 100, 10_000, 1_000_000]);
        match random.below(200) {
            0 => {
                let media = random.of(&[0, 163_840, 368_640, 1_228_800, 1_474_560, 2_949_120]);
                let media = (media != 0).then(|| Image::boxed(media, random.chance(3), &work));
                f.chip.insert(random.below(3) as usize, media);
            }
            1..14 => f.reset(random),
            14..16 => {
                // One access over and over: what overflows a FIFO whose index nobody bounds.
                let (port, value) = (0x3F0 + random.below(8) as u16, random.byte());
                for _ in 0..random.below(2500) {
                    f.out(if random.chance(50) { port } else { 0x3F5 }, value);
                }
                f.accesses = before;
            }
            16..40 => f.out(0x3F0 + random.below(8) as u16, random.byte()),
            40..60 => {
                reads += u64::from(f.input(0x3F0 + random.below(8) as u16));
            }
            60..62 => f.out(0x3F7, random.byte()),
            _ => {
                f.program_dma(random);
                f.command(random);
            }
        }
        f.accesses - before + 1
    });
    assert!(reads > 0 && work.total() > 1 << 20, "{} bytes moved", work.total());
    // It still works: after a reset the version command has its answer.
    f.out(0x3F2, 0);
    f.out(0x3F2, 0x1C);
    f.wait();
    f.out(0x3F5, 0x10);
    assert_eq!(f.input(0x3F5), 0x90);
}

const BUS_MASTER: u16 = 0xC000;

struct Ide {
    chip: ide::IdeController,
    ram: Ram,
    work: Work,
    accesses: u64,
}

impl Ide {
    fn new(work: &Work) -> Self {
        let mut chip = ide::IdeController::new([IrqLine::unconnected(), IrqLine::unconnected()]);
        chip.firmware_defaults();
        chip.config_write(0x20, 4, BUS_MASTER.into());
        Self { chip, ram: Ram::new(work), work: work.clone(), accesses: 0 }
    }

    fn out(&mut self, port: u16, size: u8, value: u32) {
        self.chip.port_write(0, port, size, value);
        self.chip.run_dma(&mut self.ram);
        self.work.check();
        self.accesses += 1;
    }

    fn input(&mut self, port: u16, size: u8) -> u32 {
        let value = self.chip.port_read(0, port, size);
        self.work.check();
        self.accesses += 1;
        value
    }

    /// Features, count and address, twice for 48-bit commands, and the device.
    fn task(&mut self, random: &mut Random, base: u16) {
        for _ in 0..=random.below(2) {
            for register in 1..6 {
                let value = match register {
                    _ if random.chance(20) => random.byte(),
                    1 => random.of(&[0, 2, 3, 0x82, 0xAA]),
                    2 => random.byte(),
                    5 => random.below(2) as u8,
                    _ => random.below(24) as u8,
                };
                self.out(base + register, 1, value.into());
            }
        }
        let head = if random.chance(8) { random.byte() & 0x0F } else { 0 };
        self.out(base + 6, 1, (random.of(&[0xA0, 0xB0, 0xE0, 0xE0, 0xE0]) | head).into());
    }

    /// A table for the bus master, good or bad, and a start.
    fn program_dma(&mut self, random: &mut Random, channel: u16) {
        let table = random.below(1 << 20) as u32 & !3;
        let mut at = table as usize;
        for entry in 0..random.below(20) {
            let (address, count) = (random.next() as u32 & 0x1F_FFFE, random.of(&[0u32, 2, 512, 1024, 0xFFFE]));
            let last = if entry > 10 || random.chance(4) { 1 << 31 } else { 0 };
            let bytes = [address.to_le_bytes(), (count | last).to_le_bytes()].concat();
            let end = (at + 8).min(self.ram.bytes.len());
            self.ram.bytes[at..end].copy_from_slice(&bytes[..end - at]);
            at = end;
        }
        let base = BUS_MASTER + 8 * channel;
        let table = if random.chance(6) { random.word() } else { table };
        self.out(base, 1, 0);
        self.out(base + 4, 4, table);
        self.out(base + 2, 1, 6);
        self.out(base, 1, random.of(&[1, 9, 9, 0]));
    }

    /// Moves data through the data register, sometimes far more than there is.
    fn data(&mut self, random: &mut Random, base: u16) {
        let most = random.of(&[1, 12, 256, 300, 2000]);
        let write = random.chance(2);
        let before = self.accesses;
        for _ in 0..random.below(most) {
            let size = random.of(&[2, 2, 2, 4, 1]);
            if write {
                let value = random.next() as u32;
                self.out(base, size, value);
            } else {
                self.input(base, size);
            }
        }
        // A stream counts once.
        self.accesses = before + 1;
    }

    fn anything(&mut self, random: &mut Random) {
        let port = random.of(&[0x1F0, 0x170, 0x3F0, 0x370, BUS_MASTER, BUS_MASTER + 8]) + random.below(8) as u16;
        let size = random.of(&[1, 1, 2, 4]);
        match random.below(40) {
            0 => {
                let offset = random.of(&[4, 0x0C, 0x20, 0x3C, 0x40, 0x44]);
                self.chip.config_write(offset, 4, random.word());
                self.accesses += 1;
            }
            1 => {
                self.chip.firmware_defaults();
                self.chip.config_write(0x20, 4, BUS_MASTER.into());
            }
            2..5 => {
                let control = random.of(&[0x3F6, 0x376]);
                self.out(control, 1, 4);
                self.out(control, 1, random.byte().into());
                self.out(control, 1, 0);
            }
            5..20 => {
                self.input(port, size);
            }
            _ => {
                let value = random.word();
                self.out(port, size, value);
            }
        }
    }
}

#[test]
fn ide_disks() {
    let work = Work::default();
    let mut i = Ide::new(&work);
    i.chip.attach_disk(0, 0, Image::boxed(512 * 70_000, false, &work), "1");
    i.chip.attach_disk(0, 1, Image::boxed(512 * 3, true, &work), "2");
    i.chip.attach_disk(1, 1, Image::boxed(0, false, &work), "3");
    let commands: [u8; 35] = [
        0x00, 0x08, 0x10, 0x20, 0x21, 0x24, 0x25, 0x27, 0x29, 0x30, 0x31, 0x34, 0x35, 0x39, 0x40, 0x42, 0x70, 0x90,
        0x91, 0xA0, 0xC4, 0xC5, 0xC6, 0xC8, 0xCA, 0xE0, 0xE5, 0xE7, 0xEA, 0xEC, 0xEF, 0xF8, 0x94, 0xA1, 0xC9,
    ];
    fuzz(0x1DE0_0001, |random| {
        let before = i.accesses;
        let channel = u16::from(random.chance(8));
        let base = [0x1F0, 0x170][usize::from(channel)];
        match random.below(12) {
            0 => i.anything(random),
            1 => i.data(random, base),
            _ => {
                i.task(random, base);
                if random.chance(2) {
                    i.program_dma(random, channel);
                }
                let code = if random.chance(10) { random.next() as u8 } else { random.of(&commands) };
                i.out(base + 7, 1, code.into());
                i.data(random, base);
                i.input(base + 7, 1);
            }
        }
        i.accesses - before + 1
    });
    assert!(work.total() > 32 << 20, "{} bytes moved", work.total());
    // It still works: reset, then IDENTIFY DEVICE has a sector for the host.
    i.chip.firmware_defaults();
    i.out(0x3F6, 1, 4);
    i.out(0x3F6, 1, 0);
    i.out(0x1F7, 1, 0xEC);
    assert_eq!(i.input(0x1F7, 1) & 0x89, 0x08);
}

#[test]
fn atapi_drive() {
    let work = Work::default();
    let mut i = Ide::new(&work);
    i.chip.attach_cdrom(1, 0, Some(Image::boxed(2048 * 700 + 7, true, &work)), "4");
    i.chip.attach_cdrom(1, 1, None, "5");
    let packets: [u8; 20] = [
        0x00, 0x03, 0x12, 0x1B, 0x1E, 0x25, 0x28, 0x2B, 0x42, 0x43, 0x46, 0x4A, 0x51, 0x5A, 0xA8, 0xBD, 0xBE, 0x15,
        0x23, 0x2A,
    ];
    let mut events = 0;
    fuzz(0xA7A9_1001, |random| {
        let before = i.accesses;
        match random.below(40) {
            0 => i.anything(random),
            1 => i.data(random, 0x170),
            2 => {
                let disc = random.of(&[0, 1, 2047, 2048, 2048 * 900]);
                let disc = (disc != 0).then(|| Image::boxed(disc, true, &work));
                i.chip.insert_disc(1, random.below(2) as usize, disc);
            }
            3 => {
                events += u32::from(i.chip.take_eject_request(1, 0)) + u32::from(i.chip.is_locked(1, 0));
            }
            4 => {
                i.task(random, 0x170);
                i.out(0x177, 1, random.byte().into());
            }
            _ => {
                // PACKET with a byte count limit of any kind, then twelve bytes and the data.
                i.out(0x176, 1, random.of(&[0xA0, 0xB0]));
                i.out(0x171, 1, if random.chance(8) { random.byte().into() } else { 0 });
                let limit = random.of(&[0, 1, 2, 0x7FF, 0x800, 0xFFFE, 0xFFFF]);
                i.out(0x174, 1, limit & 0xFF);
                i.out(0x175, 1, limit >> 8);
                i.out(0x177, 1, 0xA0);
                let mut packet = [0u8; 12];
                packet[0] = if random.chance(10) { random.next() as u8 } else { random.of(&packets) };
                for (at, byte) in packet.iter_mut().enumerate().skip(1) {
                    let low = at == 1 || at == 5 || at == 8;
                    *byte = if random.chance(if low { 2 } else { 10 }) { random.byte() } else { 0 };
                }
                for pair in packet.as_chunks::<2>().0 {
                    i.out(0x170, 2, u16::from_le_bytes(*pair).into());
                }
                i.data(random, 0x170);
                if random.chance(2) {
                    i.program_dma(random, 1);
                }
                i.input(0x177, 1);
            }
        }
        i.accesses - before + 1
    });
    assert!(events > 0, "no guest ever asked for the tray");
    assert!(work.total() > 1 << 20, "{} bytes moved", work.total());
    i.chip.firmware_defaults();
    i.out(0x376, 1, 4);
    i.out(0x376, 1, 0);
    assert_eq!((i.input(0x174, 1), i.input(0x175, 1)), (0x14, 0xEB));
}

struct Display {
    chip: vga::Vga,
    accesses: u64,
    now: Time,
}

impl Display {
    fn out(&mut self, port: u16, size: u8, value: u32) {
        self.chip.port_write(self.now, port, size, value);
        self.accesses += 1;
    }

    fn indexed(&mut self, port: u16, index: u8, value: u8) {
        self.out(port, 2, u32::from(value) << 8 | u32::from(index));
    }

    /// The registers of a mode that software uses, as a start for what comes next.
    fn mode(&mut self, random: &mut Random) {
        let modes: [(u8, u8, u8, u8, [u8; 11]); 4] = [
            // Miscellaneous, memory mode, graphics mode, graphics miscellaneous; CRT controller 0 to 9 and 17h.
            (0x67, 0x02, 0x10, 0x0E, [0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0, 0x4F, 0xA3]),
            (0x63, 0x06, 0x00, 0x05, [0x2D, 0x27, 0x28, 0x90, 0x2B, 0x80, 0xBF, 0x1F, 0, 0xC0, 0xE3]),
            (0xE3, 0x06, 0x00, 0x05, [0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0x0B, 0x3E, 0, 0x40, 0xE3]),
            (0x63, 0x0E, 0x40, 0x05, [0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0xBF, 0x1F, 0, 0x41, 0xA3]),
        ];
        let (misc, memory, mode, graphics, crtc) = random.of(&modes);
        self.out(0x3C2, 1, misc.into());
        self.indexed(0x3C4, 1, 1);
        self.indexed(0x3C4, 4, memory);
        self.indexed(0x3C4, 2, 0x0F);
        self.indexed(0x3CE, 5, mode);
        self.indexed(0x3CE, 6, graphics);
        self.indexed(0x3D4, 0x11, 0x0C);
        for (index, value) in (0..10).chain([0x17]).zip(crtc) {
            self.indexed(0x3D4, index, value);
        }
        self.indexed(0x3D4, 0x12, 0x8F);
        self.chip.port_read(self.now, 0x3DA, 1);
        self.out(0x3C0, 1, 0x20);
    }

    /// Registers of the display interface: resolutions, depths, banks and offsets, good and bad.
    fn interface(&mut self, random: &mut Random) {
        let register = random.below(12) as u32;
        let value = match register {
            3 => random.of(&[0, 4, 8, 15, 16, 24, 32, 33]),
            4 => random.of(&[0, 1, 0x41, 0x61, 0xC1, 3]),
            _ if random.chance(4) => random.word(),
            _ => random.of(&[0, 1, 8, 15, 16, 63, 64, 320, 640, 800, 1024, 2560, 0xFFFF]),
        };
        self.out(0x1CE, 2, register);
        self.out(0x1CF, 2, value);
    }
}

/// Pictures, most of which a fuzzed adapter would have made as large as it can, are what takes the time.
const PICTURES: u64 = 60;

#[test]
fn display_adapter() {
    let mut d = Display { chip: vga::Vga::with_ram(Box::new(vec![0u8; 1 << 20])), accesses: 0, now: 0 };
    let mut sum = 0u64;
    let mut shown = 0;
    fuzz(0x76A0_0001, |random| {
        let before = d.accesses;
        d.now += random.below(1 << 20);
        match random.below(100) {
            0 => d.mode(random),
            1..12 => d.interface(random),
            12..30 => {
                let port = random.of(&[0x3C4, 0x3CE, 0x3D4, 0x3B4]);
                d.indexed(port, random.below(0x28) as u8, random.byte());
            }
            30..40 => d.out(0x3B0 + random.below(0x30) as u16, random.of(&[1, 1, 2, 4]), random.word()),
            40..50 => {
                sum += u64::from(d.chip.port_read(d.now, 0x3B0 + random.below(0x30) as u16, random.of(&[1, 2, 4])));
                sum += u64::from(d.chip.port_read(d.now, 0x1CE + random.below(3) as u16, random.of(&[1, 2, 4])));
                d.accesses += 2;
            }
            50..60 => {
                let (offset, size) = (random.below(0x1000), random.of(&[1, 2, 4, 8]));
                d.chip.mmio_write(d.now, offset, size, random.next());
                sum += d.chip.mmio_read(d.now, random.below(1 << 33), size) & 1;
                d.accesses += 2;
            }
            60 => {
                d.chip.config_write(random.below(64) as u8 * 4, 4, random.word());
                sum += u64::from(d.chip.config_read(random.below(64) as u8 * 4, 4));
                d.accesses += 2;
            }
            61 if random.chance(500) => {
                d.chip.reset();
                d.accesses += 1;
            }
            _ => {
                // A stretch of memory, also beyond the window.
                let start = 0x9_FF00 + random.below(0x2_0200) as u32;
                for address in start..start + random.below(40) as u32 {
                    d.chip.mem_write(address, random.next() as u8);
                    sum += u64::from(d.chip.mem_read(address));
                    d.accesses += 2;
                }
            }
        }
        if d.accesses * PICTURES / OPERATIONS > shown {
            shown += 1;
            let frame = d.chip.render(d.now);
            assert_eq!(frame.rgb.len(), frame.width * frame.height * 3);
            assert!(frame.width <= 4608 && frame.height <= 2048, "{}x{}", frame.width, frame.height);
            d.chip.text_screen();
        }
        d.accesses - before + 1
    });
    assert!(sum > 0 && shown > 50);
    // It still works: a byte written through a plain mapping comes back.
    d.chip.reset();
    d.mode(&mut Random(3));
    d.out(0x3C2, 1, 0x63);
    for (port, index, value) in [(0x3C4, 4, 0x06), (0x3C4, 2, 0x0F), (0x3CE, 5, 0), (0x3CE, 6, 5), (0x3CE, 4, 0)] {
        d.indexed(port, index, value);
    }
    d.indexed(0x3CE, 8, 0xFF);
    d.indexed(0x3CE, 3, 0);
    d.indexed(0x3CE, 1, 0);
    d.chip.mem_write(0xA_1234, 0x5A);
    assert_eq!(d.chip.mem_read(0xA_1234), 0x5A);
}
