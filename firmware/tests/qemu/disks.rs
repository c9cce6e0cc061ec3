//! Floppies and hard disks, and the services that a program on them finds.

use super::{PROGRAM, Program, Scratch, arguments, disk, floppy, hard_disk};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

#[test]
fn services_answer_from_a_floppy() -> Result<(), IcedError> {
    let mut p = Program::new()?;
    // Memory: int 12h, AH=88h, E801h.
    p.asm.int(0x12)?;
    p.report(|_| Ok(()))?;
    p.asm.mov(ah, 0x88)?;
    p.asm.int(0x15)?;
    p.report(|_| Ok(()))?;
    p.asm.mov(ax, 0xe801)?;
    p.asm.int(0x15)?;
    p.report(|_| Ok(()))?;
    p.report(|a| a.mov(ax, bx))?;
    p.line()?;
    // Keyboard buffer: store a key, look at it, take it.
    p.asm.mov(ax, 0x0500)?;
    p.asm.mov(cx, 0x1e61)?;
    p.asm.int(0x16)?;
    p.asm.mov(ah, 1)?;
    p.asm.int(0x16)?;
    p.report(|_| Ok(()))?;
    p.asm.mov(ah, 0)?;
    p.asm.int(0x16)?;
    p.report(|_| Ok(()))?;
    p.line()?;
    // Video: mode, then a character with its attribute.
    p.asm.mov(ah, 0x0f)?;
    p.asm.int(0x10)?;
    p.report(|_| Ok(()))?;
    p.asm.mov(ax, 0x0200)?;
    p.asm.mov(bx, 0)?;
    p.asm.mov(dx, 0x0a14)?;
    p.asm.int(0x10)?;
    p.asm.mov(ax, 0x0951)?;
    p.asm.mov(bx, 0x1e)?;
    p.asm.mov(cx, 1)?;
    p.asm.int(0x10)?;
    p.asm.mov(ax, 0x0601)?;
    p.asm.mov(bx, 0x0700)?;
    p.asm.mov(cx, 0)?;
    p.asm.mov(dx, 0x184f)?;
    p.asm.int(0x10)?;
    p.asm.mov(ax, 0x0200)?;
    p.asm.mov(bx, 0)?;
    p.asm.mov(dx, 0x0914)?;
    p.asm.int(0x10)?;
    p.asm.mov(ah, 0x08)?;
    p.asm.int(0x10)?;
    p.report(|_| Ok(()))?;
    p.line()?;
    // Floppy parameters, then two sectors to 1FF00h, across a DMA page: sectors 33 and 34.
    p.asm.mov(ah, 8)?;
    p.asm.mov(dl, 0)?;
    p.asm.int(0x13)?;
    p.report_all()?;
    p.asm.mov(ax, 0x1000)?;
    p.asm.mov(es, ax)?;
    p.asm.mov(ax, 0x0202)?;
    p.asm.mov(bx, 0xff00)?;
    p.asm.mov(cx, 0x0010)?;
    p.asm.mov(dx, 0x0100)?;
    p.asm.int(0x13)?;
    p.report_all()?;
    p.asm.mov(ax, word_ptr(0xff00).es())?;
    p.report(|_| Ok(()))?;
    p.asm.mov(ax, 0x2000)?;
    p.asm.mov(es, ax)?;
    p.asm.mov(ax, word_ptr(0x00fc).es())?;
    p.report(|_| Ok(()))?;
    p.asm.mov(ax, word_ptr(0x02fc).es())?;
    p.report(|_| Ok(()))?;
    p.line()?;
    // Write the program's first sector to cylinder 79 and read it back.
    p.asm.mov(ax, 0)?;
    p.asm.mov(es, ax)?;
    p.asm.mov(ax, 0x0301)?;
    p.asm.mov(bx, PROGRAM as i32)?;
    p.asm.mov(cx, 0x4f12)?;
    p.asm.mov(dx, 0x0100)?;
    p.asm.int(0x13)?;
    p.asm.mov(ax, 0x0201)?;
    p.asm.mov(bx, 0x6000)?;
    p.asm.int(0x13)?;
    p.report_all()?;
    p.asm.mov(si, 0x6000)?;
    p.asm.mov(di, PROGRAM as i32)?;
    p.asm.mov(cx, 256)?;
    p.asm.cld()?;
    p.asm.repe().cmpsw()?;
    p.report(|a| a.mov(ax, cx))?;
    p.line()?;
    // A waiting millisecond, PCI BIOS, the date's century.
    p.asm.mov(ah, 0x86)?;
    p.asm.mov(cx, 0)?;
    p.asm.mov(dx, 1000)?;
    p.asm.int(0x15)?;
    p.asm.mov(ax, 0xb101)?;
    p.asm.int(0x1a)?;
    p.report(|a| a.sbb(ax, ax))?;
    p.report(|a| a.mov(ax, dx))?;
    p.asm.mov(ah, 4)?;
    p.asm.int(0x1a)?;
    p.report(|a| a.mov(al, ch))?;
    p.line()?;
    let program = p.finish()?;

    let scratch = Scratch::new("floppy");
    let image = scratch.file("a.img", &disk(2880, &program)?);
    let Some(log) = scratch.run(&arguments(&[floppy(&image)])) else { return Ok(()) };
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "027F FC00 3C00 0300 ", "memory sizes");
    assert_eq!(lines[1], "1E61 1E61 ", "keyboard buffer");
    assert_eq!(lines[2], "5003 1E51 ", "video mode, character");
    assert_eq!(lines[3], "0000 0004 4F12 0101 0000 ", "floppy parameters");
    assert_eq!(lines[4], "0002 FF00 0010 0100 0000 ", "read across a DMA page");
    assert_eq!(lines[5], "0021 0021 0022 ", "what was read");
    assert_eq!(lines[6], "0001 6000 4F12 0100 0000 ", "read after write");
    assert_eq!(lines[7], "0000 ", "words that differ");
    assert_eq!(&lines[8][..10], "0000 4350 ", "PCI BIOS");
    assert_eq!(&lines[8][12..14], "20", "century");
    Ok(())
}

#[test]
fn the_ide_controllers_bus_master_function_is_on() -> Result<(), IcedError> {
    let mut p = Program::new()?;
    p.asm.mov(ax, 0xb109)?; // read a configuration word: bus 0, device 1, function 1, the command register
    p.asm.mov(bx, 1 << 3 | 1)?;
    p.asm.mov(di, 4)?;
    p.asm.int(0x1a)?;
    p.report(|a| a.mov(ax, cx))?;
    let image = disk(2880, &p.finish()?)?;
    let scratch = Scratch::new("bus-master");
    let path = scratch.file("floppy", &image);
    let Some(log) = scratch.run(&arguments(&[floppy(&path)])) else { return Ok(()) };
    assert_eq!(log, "0007 ", "I/O space, memory space and bus master");
    Ok(())
}

#[test]
fn hard_disks_boot_and_transfer() -> Result<(), IcedError> {
    // 40 MiB: 80 cylinders of 16 heads and 63 sectors, which needs no translation.
    const SECTORS: usize = 80 * 16 * 63;
    let packet = 0x6000;
    let mut p = Program::new()?;
    p.report(|a| a.mov(ax, dx))?;
    p.line()?;
    p.asm.mov(ah, 8)?;
    p.asm.mov(dl, 0x80)?;
    p.asm.int(0x13)?;
    p.report_all()?;
    p.asm.mov(ah, 0x41)?;
    p.asm.mov(bx, 0x55aa)?;
    p.asm.mov(dl, 0x80)?;
    p.asm.int(0x13)?;
    p.report(|a| a.mov(ax, bx))?;
    p.line()?;
    // CHS 1/2/3 is block 63 * (16 + 2) + 2 = 1136.
    p.asm.mov(ax, 0)?;
    p.asm.mov(es, ax)?;
    p.asm.mov(ds, ax)?;
    p.asm.mov(ax, 0x0201)?;
    p.asm.mov(bx, 0x5000)?;
    p.asm.mov(cx, 0x0103)?;
    p.asm.mov(dx, 0x0280)?;
    p.asm.int(0x13)?;
    p.report_all()?;
    p.asm.mov(ax, word_ptr(0x51fc))?;
    p.report(|_| Ok(()))?;
    p.line()?;
    // 200 blocks from 70000 to 1000:0000 by packet, then block 70199's number; write them back at 1000 and read that.
    let set_packet = |p: &mut Program, count: i32, segment: i32, block: i32| -> Result<(), IcedError> {
        p.asm.mov(word_ptr(packet), 0x10)?;
        p.asm.mov(word_ptr(packet + 2), count)?;
        p.asm.mov(word_ptr(packet + 4), 0)?;
        p.asm.mov(word_ptr(packet + 6), segment)?;
        p.asm.mov(dword_ptr(packet + 8), block)?;
        p.asm.mov(dword_ptr(packet + 12), 0)?;
        p.asm.mov(si, packet)?;
        p.asm.mov(dl, 0x80)
    };
    for (function, count, segment, block) in
        [(0x42, 200, 0x1000, 70_000), (0x43, 200, 0x1000, 1000), (0x42, 2, 0x4000, 1198), (0x42, 2, 0x4000, 80_639)]
    {
        set_packet(&mut p, count, segment, block)?;
        p.asm.mov(ah, function)?;
        p.asm.mov(al, 0)?;
        p.asm.int(0x13)?;
        p.report(|_| Ok(()))?;
        p.report(|a| a.sbb(ax, ax))?;
        p.line()?;
    }
    p.asm.mov(ax, 0x4000)?;
    p.asm.mov(es, ax)?;
    p.asm.mov(eax, dword_ptr(0x200).es())?;
    p.report(|_| Ok(()))?;
    p.report(|a| a.shr(eax, 16))?;
    p.line()?;
    let program = p.finish()?;

    let scratch = Scratch::new("disk");
    let image = scratch.file("c.img", &disk(SECTORS, &program)?);
    let Some(log) = scratch.run(&arguments(&[hard_disk(&image)])) else { return Ok(()) };
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "0080 ", "boot drive");
    assert_eq!(lines[1], "0000 8000 4F3F 0F01 0000 ", "geometry");
    assert_eq!(lines[2], "AA55 ", "extensions");
    assert_eq!(lines[3], "0001 5000 0103 0280 0000 ", "CHS read");
    assert_eq!(lines[4], "0470 ", "block 1136");
    assert_eq!(lines[5..9], ["0000 0000 ", "0000 0000 ", "0000 0000 ", "0400 FFFF "], "packets, the last past the end");
    assert_eq!(lines[9], "1237 0001 ", "block 70199, as written to 1199");
    Ok(())
}
