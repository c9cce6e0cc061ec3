//! The chips with what is behind them: memory and media that check what they are asked, nothing outside the image,
//! nothing on a write-protected disk, and bounded work for each operation.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ring86_devices::{
    BlockMedia, DmaPeer, GuestMemory, IrqLine, PciFunction, PortIo, Time, Timed, dma, floppy, ide, vga,
};

/// Bytes that one port access may make a chip move: the longest command there is, 65,536 sectors.
pub const MOST_WORK: u64 = 2 * 65_536 * 512;

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A byte: small, a single bit, an edge, or any.
    pub fn byte(&mut self) -> u8 {
        match self.below(5) {
            0 => self.below(4) as u8,
            1 => self.below(24) as u8,
            2 => 1 << self.below(8),
            3 => self.of(&[0x7F, 0x80, 0xFE, 0xFF, 79, 80, 18, 19]),
            _ => self.next() as u8,
        }
    }

    pub fn word(&mut self) -> u32 {
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
pub struct Work(Arc<(AtomicU64, AtomicU64)>);

impl Work {
    pub fn add(&self, bytes: usize) {
        self.0.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Looks, and checks that it was not too much.
    #[track_caller]
    pub fn check(&self) {
        let work = self.0.0.swap(0, Ordering::Relaxed);
        self.0.1.fetch_add(work, Ordering::Relaxed);
        assert!(work <= MOST_WORK, "one operation moved {work} bytes");
    }

    /// All of it: a fuzzer whose commands never move data would find nothing.
    pub fn total(&self) -> u64 {
        self.0.1.load(Ordering::Relaxed)
    }
}

/// Guest memory of 1 MiB.
pub struct Ram {
    pub bytes: Vec<u8>,
    pub work: Work,
}

impl Ram {
    pub fn new(work: &Work) -> Self {
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
pub struct Image {
    pub bytes: Vec<u8>,
    pub read_only: bool,
    pub random: Random,
    pub work: Work,
}

impl Image {
    pub fn boxed(len: usize, read_only: bool, work: &Work) -> Box<dyn BlockMedia> {
        Box::new(Self { bytes: vec![0x5A; len], read_only, random: Random(len as u64 | 1), work: work.clone() })
    }

    #[track_caller]
    pub fn range(&mut self, offset: u64, len: usize) -> io::Result<std::ops::Range<usize>> {
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

pub struct Floppy {
    pub chip: floppy::FloppyController,
    pub dma: dma::DmaPair,
    pub ram: Ram,
    pub work: Work,
    pub now: Time,
    pub accesses: u64,
    /// Where the last seek went.
    pub track: u8,
}

impl Floppy {
    /// With `drives` drives, all without disks.
    pub fn new(work: &Work, drives: usize) -> Self {
        let chip = floppy::FloppyController::new(IrqLine::unconnected(), drives);
        let (dma, ram, work) = (dma::DmaPair::new(), Ram::new(work), work.clone());
        Floppy { chip, dma, ram, work, now: 0, accesses: 0, track: 0 }
    }

    pub fn settle(&mut self) {
        self.chip.advance(self.now);
        if self.chip.dreq() {
            self.dma.run(self.now, &mut self.ram, 2, &mut self.chip);
        }
        self.work.check();
        self.accesses += 1;
    }

    pub fn out(&mut self, port: u16, value: u8) {
        self.chip.port_write(self.now, port, 1, value.into());
        self.settle();
    }

    pub fn input(&mut self, port: u16) -> u8 {
        let value = self.chip.port_read(self.now, port, 1) as u8;
        self.settle();
        value
    }

    /// Lets time pass to the chip's next event.
    pub fn wait(&mut self) {
        for _ in 0..3 {
            let Some(at) = self.chip.next_event() else { return };
            self.now = self.now.max(at);
            self.chip.advance(self.now);
            let next = self.chip.next_event();
            assert!(next.is_none_or(|next| next > self.now), "an event that does not pass");
            self.settle();
        }
    }

    pub fn reset(&mut self, random: &mut Random) {
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
    pub fn program_dma(&mut self, random: &mut Random) {
        let mode = if random.chance(4) { random.byte() } else { random.of(&[0x46, 0x4A, 0x42, 0x56]) };
        let count = if random.chance(3) { random.next() as u16 } else { random.of(&[511, 1023, 0, 0xFFFF]) };
        let address = random.next() as u16;
        let writes = [(0x0A, 6), (0x0C, 0), (0x0B, mode & 0xFC | 2), (4, address as u8), (4, (address >> 8) as u8)];
        let rest = [(5, count as u8), (5, (count >> 8) as u8), (0x81, random.below(18) as u8), (0x0A, 2)];
        for (port, value) in writes.into_iter().chain(rest).chain([(0xD6, 0xC0), (0xD4, 0)]) {
            self.dma.port_write(self.now, port, 1, value.into());
        }
    }

    pub fn command(&mut self, random: &mut Random) {
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

pub const BUS_MASTER: u16 = 0xC000;

pub struct Ide {
    pub chip: ide::IdeController,
    pub ram: Ram,
    pub work: Work,
    pub accesses: u64,
}

impl Ide {
    pub fn new(work: &Work) -> Self {
        let chip = ide::IdeController::new([IrqLine::unconnected(), IrqLine::unconnected()]);
        let mut new = Self { chip, ram: Ram::new(work), work: work.clone(), accesses: 0 };
        new.reset();
        new
    }

    /// The system's reset, and what a BIOS does after it.
    pub fn reset(&mut self) {
        self.chip.reset();
        self.chip.firmware_defaults();
        self.chip.config_write(0x20, 4, BUS_MASTER.into());
    }

    pub fn out(&mut self, port: u16, size: u8, value: u32) {
        self.chip.port_write(0, port, size, value);
        self.chip.run_dma(&mut self.ram);
        self.work.check();
        self.accesses += 1;
    }

    pub fn input(&mut self, port: u16, size: u8) -> u32 {
        let value = self.chip.port_read(0, port, size);
        self.work.check();
        self.accesses += 1;
        value
    }

    /// Features, count and address, twice for 48-bit commands, and the device.
    pub fn task(&mut self, random: &mut Random, base: u16) {
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
    pub fn program_dma(&mut self, random: &mut Random, channel: u16) {
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
    pub fn data(&mut self, random: &mut Random, base: u16) {
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

    pub fn anything(&mut self, random: &mut Random) {
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

pub struct Display {
    pub chip: vga::Vga,
    pub accesses: u64,
    pub now: Time,
}

impl Display {
    /// With `len` bytes of memory.
    pub fn new(len: usize) -> Self {
        Display { chip: vga::Vga::with_ram(Box::new(vec![0u8; len])), accesses: 0, now: 0 }
    }

    pub fn out(&mut self, port: u16, size: u8, value: u32) {
        self.chip.port_write(self.now, port, size, value);
        self.accesses += 1;
    }

    pub fn indexed(&mut self, port: u16, index: u8, value: u8) {
        self.out(port, 2, u32::from(value) << 8 | u32::from(index));
    }

    /// The registers of a mode that software uses, as a start for what comes next.
    pub fn mode(&mut self, random: &mut Random) {
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
    pub fn interface(&mut self, random: &mut Random) {
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
