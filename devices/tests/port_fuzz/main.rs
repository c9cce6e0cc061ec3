//! A million operations (streams of data not counted) on each drive and on the display, as a hostile guest would make
//! them: mostly plausible command sequences with wrong numbers in them, repeats, and now and then anything at all. Seeds
//! are fixed, so what fails once fails again. `escapes.rs` has what let guests out of other emulators.

mod escapes;
mod rigs;

use rigs::{Display, Floppy, Ide, Image, Random, Work};
use ring86_devices::{Mmio, PciFunction, PortIo};

const OPERATIONS: u64 = 1_000_000;
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

#[test]
fn floppy_controller() {
    let work = Work::default();
    let mut f = Floppy::new(&work, 2);
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

#[test]
fn ide_disks() {
    let work = Work::default();
    let mut i = Ide::new(&work);
    i.chip.attach_disk(0, 0, Image::boxed(512 * 70_000, false, &work), "1");
    i.chip.attach_disk(0, 1, Image::boxed(512 * 3, true, &work), "2");
    i.chip.attach_disk(1, 1, Image::boxed(0, false, &work), "3");
    let commands: [u8; 40] = [
        0x00, 0x08, 0x10, 0x20, 0x21, 0x24, 0x25, 0x27, 0x29, 0x30, 0x31, 0x34, 0x35, 0x39, 0x40, 0x42, 0x70, 0x90,
        0x91, 0xA0, 0xC4, 0xC5, 0xC6, 0xC8, 0xCA, 0xE0, 0xE5, 0xE7, 0xEA, 0xEC, 0xEF, 0xF8, 0x94, 0xA1, 0xC9, 0xF9,
        0x37, 0xE4, 0xE8, 0xB0,
    ];
    fuzz(0x1DE0_0001, |random| {
        let before = i.accesses;
        let channel = u16::from(random.chance(8));
        let base = [0x1F0, 0x170][usize::from(channel)];
        match random.below(12) {
            0 if random.chance(1000) => i.reset(),
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
    assert!(work.total() > 16 << 20, "{} bytes moved", work.total());
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
    let packets: [u8; 24] = [
        0x00, 0x03, 0x12, 0x1B, 0x1E, 0x25, 0x28, 0x2B, 0x42, 0x43, 0x46, 0x4A, 0x51, 0x5A, 0xA8, 0xBD, 0xBE, 0x15,
        0x23, 0x2A, 0x44, 0x55, 0xB9, 0xBB,
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
                let features = match random.below(8) {
                    0 => random.byte().into(),
                    // By DMA.
                    1..4 => 1,
                    _ => 0,
                };
                i.out(0x171, 1, features);
                let limit = random.of(&[0, 1, 2, 0x7FF, 0x800, 0xFFFE, 0xFFFF]);
                i.out(0x174, 1, limit & 0xFF);
                i.out(0x175, 1, limit >> 8);
                i.out(0x177, 1, 0xA0);
                let mut packet = [0u8; 12];
                packet[0] = if random.chance(10) { random.next() as u8 } else { random.of(&packets) };
                for (at, byte) in packet.iter_mut().enumerate().skip(1) {
                    let low = at == 1 || at == 5 || at == 8 || at == 9;
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

/// Pictures, most of which a fuzzed adapter would have made as large as it can, are what takes the time.
const PICTURES: u64 = 60;

#[test]
fn display_adapter() {
    let mut d = Display::new(1 << 20);
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
