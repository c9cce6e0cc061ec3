//! Disks: identification, transfers by PIO, errors.

use super::*;

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
