//! The CD-ROM drive and its packets.

use super::*;

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
