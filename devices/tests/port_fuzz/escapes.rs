//! Replicas of what let guests out of other emulators, on drives with media in them and on such as are not there.

use super::rigs::{BUS_MASTER, Display, Floppy, Ide, Image, Work};
use ring86_devices::{Mmio, PortIo};

/// Port accesses of a flood: far more than any FIFO or buffer of these chips has bytes.
const FLOOD: u32 = 100_000;

fn floppies() -> [(&'static str, Floppy); 2] {
    ["with disks", "without drives"].map(|what| {
        let mut f = Floppy::new(&Work::default(), if what == "with disks" { 2 } else { 0 });
        if what == "with disks" {
            f.insert(1_474_560);
        }
        f.start();
        (what, f)
    })
}

impl Floppy {
    fn insert(&mut self, len: usize) {
        let work = self.work.clone();
        self.chip.insert(0, Some(Image::boxed(len, false, &work)));
    }

    /// Out of reset, the motor of drive A on.
    fn start(&mut self) {
        self.out(0x3F2, 0);
        self.out(0x3F2, 0x1C);
        self.wait();
    }

    /// The version command still has its answer after a reset.
    fn check(&mut self, what: &str) {
        self.start();
        self.out(0x3F5, 0x10);
        assert_eq!(self.input(0x3F5), 0x90, "{what}");
    }
}

/// CVE-2015-3456 (VENOM): parameters of READ ID and DRIVE SPECIFICATION without end went on behind the FIFO.
#[test]
fn floppy_commands_with_parameters_without_end() {
    for (what, mut f) in floppies() {
        for command in [0x0A, 0x4A, 0x8E, 0x0E, 0x13, 0x0D] {
            f.start();
            f.out(0x3F5, command);
            for _ in 0..FLOOD {
                // Bit 7 clear: DRIVE SPECIFICATION is never done.
                f.out(0x3F5, 0x41);
            }
            f.wait();
            for _ in 0..FLOOD / 10 {
                f.input(0x3F5);
            }
            f.check(what);
        }
    }
}

/// CVE-2021-3507: a read whose end of track lies before its start, with a longer DMA count than the sector has.
/// CVE-2021-20196: a transfer with a drive selected that is not there.
#[test]
fn floppy_transfers_that_end_before_they_begin() {
    for (what, mut f) in floppies() {
        for drive in 0..4u8 {
            for (sector, last, size, length) in [(9, 1, 2, 0xFF), (1, 0, 7, 0), (255, 255, 0xFF, 0xFF), (0, 0, 0, 0)] {
                for command in [0x46, 0xE6, 0x45, 0xC5, 0x42, 0x51] {
                    f.start();
                    f.out(0x3F2, 0x1C | drive);
                    for (port, value) in [(0x0A, 6), (0x0B, 0x46), (0x0C, 0), (4, 0), (4, 0xFF), (5, 0xFF), (5, 0xFF)] {
                        f.dma.port_write(f.now, port, 1, value);
                    }
                    f.dma.port_write(f.now, 0x0A, 1, 2);
                    for byte in [command, drive, 0, 0, sector, size, last, 0x1B, length] {
                        f.out(0x3F5, byte);
                    }
                    f.wait();
                    for _ in 0..2000 {
                        f.input(0x3F5);
                    }
                }
            }
        }
        f.check(what);
    }
}

fn drives() -> [(&'static str, Ide); 2] {
    let work = Work::default();
    let (mut with, without) = (Ide::new(&work), Ide::new(&work));
    with.chip.attach_disk(0, 0, Image::boxed(512 * 4096, false, &work), "1");
    with.chip.attach_cdrom(1, 0, Some(Image::boxed(2048 * 100, true, &work)), "2");
    [("with drives", with), ("without drives", without)]
}

impl Ide {
    fn packet(&mut self, features: u16, limit: u16, packet: [u8; 12]) {
        for (port, value) in
            [(0x176, 0xA0), (0x171, features), (0x174, limit & 0xFF), (0x175, limit >> 8), (0x177, 0xA0)]
        {
            self.out(port, 1, value.into());
        }
        for pair in packet.as_chunks::<2>().0 {
            self.out(0x170, 2, u16::from_le_bytes(*pair).into());
        }
    }

    /// A reset of both channels leaves the signatures of what is there.
    fn check(&mut self, what: &str) {
        self.out(BUS_MASTER, 1, 0);
        self.out(BUS_MASTER + 8, 1, 0);
        for control in [0x3F6, 0x376] {
            self.out(control, 1, 4);
            self.out(control, 1, 0);
        }
        let cylinder = (self.input(0x174, 1), self.input(0x175, 1));
        assert_eq!(cylinder == (0x14, 0xEB), what == "with drives", "{what}: {cylinder:02x?}");
    }
}

/// CVE-2014-9718: tables of the bus master that hold less than a sector, or nothing, or come around again for ever.
#[test]
fn bus_master_tables_that_never_advance() {
    for (what, mut i) in drives() {
        for count in [0u32, 1, 2, 510] {
            for last in [0, 1 << 31] {
                for entry in i.ram.bytes.as_chunks_mut::<8>().0.iter_mut().take(0x2000) {
                    entry[..4].copy_from_slice(&0x8_0000u32.to_le_bytes());
                    entry[4..].copy_from_slice(&(count | last).to_le_bytes());
                }
                for (base, ports, direction) in [
                    (BUS_MASTER, 0x1F0, 8),
                    (BUS_MASTER, 0x1F0, 0),
                    (BUS_MASTER + 8, 0x170, 8),
                    (BUS_MASTER + 8, 0x170, 0),
                ] {
                    i.out(base, 1, 0);
                    i.out(base + 4, 4, 0);
                    i.out(base + 2, 1, 6);
                    i.out(base, 1, direction | 1);
                    if ports == 0x170 {
                        // By DMA: blocks to memory, parameters from it.
                        let (code, count) = if direction == 8 { (0x28, [0, 64]) } else { (0x55, [0xFF, 0xFF]) };
                        i.packet(1, 0xFFFE, [code, 0, 0, 0, 0, 0, 0, count[0], count[1], 0, 0, 0]);
                        i.packet(0, 0xFFFE, [code, 0, 0, 0, 0, 0, 0, count[0], count[1], 0, 0, 0]);
                    } else {
                        for (port, value) in
                            [(6, 0xE0), (2, 0), (3, 0), (4, 0), (5, 0), (7, [0xCA, 0xC8][usize::from(direction == 8)])]
                        {
                            i.out(ports + port, 1, value);
                        }
                    }
                    i.input(base + 2, 1);
                }
                i.check(what);
            }
        }
    }
}

/// CVE-2015-5154: a new command, a reset or a packet in the middle of a transfer, and then the data of the old one.
#[test]
fn transfers_that_are_torn_off() {
    for (what, mut i) in drives() {
        for torn_by in [0x00, 0x08, 0x90, 0xA0, 0xA1, 0xEC, 0xE7, 0xC6] {
            for (base, command) in [(0x1F0, 0x20), (0x1F0, 0x30), (0x1F0, 0xC4), (0x1F0, 0xC5), (0x170, 0xA0)] {
                if base == 0x170 {
                    i.packet(0, 0x7FE, [0x28, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0]);
                } else {
                    for (port, value) in [(6, 0xE0), (2, 0), (3, 1), (4, 0), (5, 0), (7, command)] {
                        i.out(base + port, 1, value);
                    }
                }
                for n in 0..400u32 {
                    // Data in the right direction, to the middle of the transfer.
                    if matches!(command, 0x30 | 0xC5) {
                        i.out(base, 2, n);
                    } else {
                        i.input(base, 2);
                    }
                }
                i.out(base + 7, 1, torn_by);
                for n in 0..FLOOD / 10 {
                    i.input(base, 4);
                    i.out(base, 2, n);
                }
            }
            i.check(what);
        }
    }
}

/// CVE-2020-29443: a read at block FFFFFFFFh, and others at and over the disc's end.
#[test]
fn reads_beyond_the_disc() {
    for (what, mut i) in drives() {
        for block in [u32::MAX, u32::MAX - 1, 1 << 31, 100, 99] {
            for code in [0x28, 0xA8, 0xBE] {
                let mut packet = [code, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                packet[2..6].copy_from_slice(&block.to_be_bytes());
                (packet[8], packet[9]) = (2, if code == 0xBE { 0x10 } else { 2 });
                i.packet(0, 0xFFFE, packet);
                for _ in 0..5000 {
                    i.input(0x170, 2);
                }
            }
        }
        i.check(what);
    }
}

fn display() -> Display {
    Display::new(1 << 20)
}

impl Display {
    fn dispi(&mut self, register: u32, value: u32) {
        self.out(0x1CE, 2, register);
        self.out(0x1CF, 2, value);
    }

    fn touch(&mut self) {
        for address in (0xA_0000..0xC_0000).step_by(0xFF1) {
            self.chip.mem_write(address, 0x5A);
            self.chip.mem_read(address);
        }
        let frame = self.chip.render(self.now);
        assert_eq!(frame.rgb.len(), frame.width * frame.height * 3);
        self.chip.text_screen();
    }
}

/// CVE-2016-3710: banks beyond the memory, with the window's other maps and with modes of other sizes.
#[test]
fn banks_beyond_the_memory() {
    let mut d = display();
    for bpp in [4, 8, 15, 16, 24, 32] {
        for bank in [0, 1, 15, 16, 17, 0xFF, 0x1FF, 0xFFFF] {
            for map in [0x00, 0x04, 0x08, 0x0C, 0x05] {
                for (register, value) in [(4, 0), (1, 640), (2, 480), (3, bpp), (4, 0x01), (5, bank)] {
                    d.dispi(register, value);
                }
                d.indexed(0x3CE, 6, map);
                d.indexed(0x3C4, 4, 0x0E);
                d.indexed(0x3C4, 2, 0x0F);
                d.touch();
            }
        }
    }
}

/// CVE-2016-3712: VGA registers changed under a mode of the display interface, so that a picture is wider or begins
/// elsewhere than was checked. CVE-2017-13673: start addresses and split screens that run over the memory's end.
#[test]
fn pictures_that_begin_or_end_beyond_the_memory() {
    let mut d = display();
    for bpp in [0, 4, 8, 32] {
        for index in [0x01, 0x07, 0x0C, 0x0D, 0x12, 0x13, 0x18] {
            d.chip.reset();
            d.mode(&mut super::rigs::Random(bpp.into()));
            if bpp != 0 {
                for (register, value) in [(4, 0), (1, 2560), (2, 1600), (3, bpp), (4, 0x41)] {
                    d.dispi(register, value);
                }
            }
            for (register, value) in [(6, 0xFFFF), (7, 0xFFFF), (8, 0xFFFF), (9, 0xFFFF)] {
                d.dispi(register, value);
                d.indexed(0x3D4, 0x11, 0);
                d.indexed(0x3D4, index, if index == 0x18 { 0 } else { 0xFF });
                d.touch();
            }
        }
    }
    assert_eq!(d.chip.mmio_read(d.now, u64::MAX - 8, 8), u64::MAX, "nothing is there");
}
