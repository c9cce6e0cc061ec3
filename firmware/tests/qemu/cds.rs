//! CDs, without emulation and as another drive.

use super::{Program, Scratch, arguments, disk, floppy};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

/// A CD image: a boot record and a catalogue whose default entry is `program`, loaded to 800h:0000 with media type
/// `media`. Block n of 2048 bytes holds its number behind that.
fn cd(media: u8, sectors: u16, image: &[u8]) -> Vec<u8> {
    let mut cd: Vec<u8> = (0..2000u32).flat_map(|block| block.to_le_bytes().repeat(512)).collect();
    let record = &mut cd[17 * 2048..18 * 2048];
    record[..30].copy_from_slice(b"\0CD001\x01EL TORITO SPECIFICATION");
    record[0x47..0x4b].copy_from_slice(&19u32.to_le_bytes());
    let catalogue = &mut cd[19 * 2048..20 * 2048];
    catalogue[..64].fill(0);
    catalogue[0] = 1;
    catalogue[0x1e..0x20].copy_from_slice(&[0x55, 0xaa]);
    let segment: u16 = if media == 0 { 0x800 } else { 0 };
    catalogue[0x20..0x22].copy_from_slice(&[0x88, media]);
    catalogue[0x22..0x24].copy_from_slice(&segment.to_le_bytes());
    catalogue[0x26..0x28].copy_from_slice(&sectors.to_le_bytes());
    catalogue[0x28..0x2c].copy_from_slice(&20u32.to_le_bytes());
    cd[20 * 2048..20 * 2048 + image.len()].copy_from_slice(image);
    cd
}

fn cd_drive(path: &str) -> String {
    format!("if=ide,index=2,media=cdrom,format=raw,file={path}")
}

#[test]
fn cds_boot_without_emulation() -> Result<(), IcedError> {
    let mut p = Program::new()?;
    // The code runs at 0800:0000 but is assembled for 8000h, which only its jumps within do not notice.
    p.report(|a| a.mov(ax, dx))?;
    p.report(|a| a.mov(ax, cs))?;
    p.line()?;
    p.asm.xor(ax, ax)?;
    p.asm.mov(ds, ax)?;
    p.asm.mov(si, 0x6000)?;
    p.asm.mov(dword_ptr(si), 0x0003_0010)?;
    p.asm.mov(dword_ptr(si + 4), 0x2000_0000)?;
    p.asm.mov(dword_ptr(si + 8), 1500)?;
    p.asm.mov(dword_ptr(si + 12), 0)?;
    p.asm.mov(ah, 0x42)?;
    p.asm.int(0x13)?;
    p.report(|a| a.sbb(ax, ax))?;
    p.asm.mov(ax, 0x2000)?;
    p.asm.mov(es, ax)?;
    p.report(|a| a.mov(ax, word_ptr(0).es()))?;
    p.report(|a| a.mov(ax, word_ptr(0x1000).es()))?;
    p.line()?;
    let program = p.finish()?;
    let scratch = Scratch::new("cd");
    let image = scratch.file("cd.iso", &cd(0, 24, &program));
    let Some(log) = scratch.run(&arguments(&[cd_drive(&image)])) else { return Ok(()) };
    assert_eq!(log.lines().collect::<Vec<_>>(), ["00E0 0800 ", "0000 05DC 05DE "]);
    Ok(())
}

#[test]
fn cds_boot_as_a_floppy() -> Result<(), IcedError> {
    let mut p = Program::new()?;
    p.report(|a| a.mov(ax, dx))?;
    // Cylinder 2, head 1, sector 11 is sector (2 * 2 + 1) * 18 + 10 = 100; the floppy numbers its sectors.
    p.asm.mov(ax, 0x2000)?;
    p.asm.mov(es, ax)?;
    p.asm.mov(ax, 0x0202)?;
    p.asm.mov(bx, 0)?;
    p.asm.mov(cx, 0x020b)?;
    p.asm.mov(dx, 0x0100)?;
    p.asm.int(0x13)?;
    p.report(|_| Ok(()))?;
    p.report(|a| a.mov(ax, word_ptr(0).es()))?;
    p.report(|a| a.mov(ax, word_ptr(0x3fc).es()))?;
    p.asm.mov(ax, 0x0301)?;
    p.asm.int(0x13)?;
    p.report(|_| Ok(()))?;
    p.line()?;
    let floppy = disk(2880, &p.finish()?)?;
    let scratch = Scratch::new("cd-floppy");
    let image = scratch.file("cd.iso", &cd(2, 1, &floppy));
    let Some(log) = scratch.run(&arguments(&[cd_drive(&image)])) else { return Ok(()) };
    assert_eq!(log.lines().collect::<Vec<_>>(), ["0000 0002 0064 0065 0301 "]);
    Ok(())
}

/// While the CD's image is drive A, the floppy in the machine is drive B.
#[test]
fn a_cds_floppy_moves_the_real_one_up() -> Result<(), IcedError> {
    let mut p = Program::new()?;
    p.asm.mov(ax, 0x2000)?;
    p.asm.mov(es, ax)?;
    let look = |p: &mut Program| -> Result<(), IcedError> {
        p.asm.int(0x11)?;
        p.asm.and(ax, 0xc1)?;
        p.report(|_| Ok(()))?;
        for drive in [0, 1] {
            // How many drives there are, the kind of this one, and its sector 6.
            p.asm.push(es)?;
            p.asm.mov(ax, 0x0800)?;
            p.asm.mov(dx, drive)?;
            p.asm.int(0x13)?;
            p.asm.pop(es)?;
            p.report(|a| a.mov(ax, dx))?;
            p.asm.mov(ax, 0x1500)?;
            p.asm.mov(dx, drive)?;
            p.asm.int(0x13)?;
            p.report(|_| Ok(()))?;
            p.asm.mov(word_ptr(0).es(), 0)?;
            // The first access finds that the medium may have been changed.
            for _ in 0..2 {
                p.asm.mov(ax, 0x0201)?;
                p.asm.mov(bx, 0)?;
                p.asm.mov(cx, 6)?;
                p.asm.mov(dx, 0x0100 | drive)?;
                p.asm.int(0x13)?;
            }
            p.report(|a| a.mov(ax, word_ptr(0).es()))?;
        }
        p.line()
    };
    look(&mut p)?;
    p.asm.mov(ax, 0x4b00)?;
    p.asm.mov(dx, 0)?;
    p.asm.mov(si, 0x7000)?;
    p.asm.int(0x13)?;
    look(&mut p)?;
    let floppy_image = disk(2880, &p.finish()?)?;
    let real: Vec<u8> = floppy_image.iter().map(|byte| !byte).collect();
    let scratch = Scratch::new("cd-and-floppy");
    let (cd_image, real) = (scratch.file("cd.iso", &cd(2, 1, &floppy_image)), scratch.file("floppy", &real));
    let mut all = arguments(&[cd_drive(&cd_image), floppy(&real)]);
    all.extend(["-boot".to_owned(), "d".to_owned()]);
    let Some(log) = scratch.run(&all) else { return Ok(()) };
    // Sector 23 is 17h. Without the image there is one drive again, and QEMU knows no second one.
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines[0], "0041 0102 0100 0017 0102 0200 FFE8 ", "{log}");
    assert!(lines[1].starts_with("0001 0101 0200 FFE8 "), "{log}");
    assert_eq!(lines.len(), 2);
    Ok(())
}

#[test]
fn cds_boot_as_a_disk() -> Result<(), IcedError> {
    let mut p = Program::new()?;
    p.report(|a| a.mov(ax, dx))?;
    p.asm.mov(ax, 0x2000)?;
    p.asm.mov(es, ax)?;
    // Cylinder 2, head 1, sector 3 is sector (2 * 4 + 1) * 17 + 2 = 155 of the image.
    p.asm.mov(ax, 0x0207)?;
    p.asm.mov(bx, 0)?;
    p.asm.mov(cx, 0x0203)?;
    p.asm.mov(dx, 0x0180)?;
    p.asm.int(0x13)?;
    p.report(|_| Ok(()))?;
    p.report(|a| a.mov(ax, word_ptr(0).es()))?;
    p.report(|a| a.mov(ax, word_ptr(6 * 512 + 0x1fc).es()))?;
    p.asm.mov(ax, 0x0301)?;
    p.asm.int(0x13)?;
    p.report(|_| Ok(()))?;
    p.line()?;
    // The geometry of both disks: the real one has moved up, and there is no third.
    for drive in [0x80, 0x81, 0x82] {
        p.asm.mov(ax, 0x0800)?;
        p.asm.mov(dx, drive)?;
        p.asm.int(0x13)?;
        p.report(|a| a.mov(ax, cx))?;
        p.report(|a| a.mov(ax, dx))?;
        p.report(|a| a.sbb(ax, ax))?;
        p.line()?;
    }
    // After the end of the emulation the real disk, of 2016 sectors, is the first.
    p.asm.mov(si, 0x6000)?;
    p.asm.mov(ax, 0x4b00)?;
    p.asm.mov(dx, 0x0080)?;
    p.asm.int(0x13)?;
    p.report(|a| a.mov(ax, word_ptr(0x6000)))?;
    p.report(|a| a.mov(ax, word_ptr(0x6002)))?;
    p.report(|a| a.mov(ax, word_ptr(0x6010)))?;
    p.asm.mov(ax, 0x1500)?;
    p.asm.mov(dx, 0x0080)?;
    p.asm.int(0x13)?;
    p.report(|a| a.mov(ax, dx))?;
    p.line()?;
    let mut image = disk(5 * 4 * 17, &p.finish()?)?;
    // One partition, to head 3, sector 17, cylinder 4.
    image[0x1be..0x1c6].copy_from_slice(&[0x80, 1, 1, 0, 0x0b, 3, 17, 4]);
    let scratch = Scratch::new("cd-disk");
    let image = scratch.file("cd.iso", &cd(4, 1, &image));
    let real = scratch.file("real", &vec![0; 2016 * 512]);
    let real = format!("if=ide,index=0,format=raw,file={real}");
    let Some(log) = scratch.run(&arguments(&[cd_drive(&image), real])) else { return Ok(()) };
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines[0], "0080 0007 009B 00A1 0300 ");
    assert_eq!(lines[1..4], ["0411 0302 0000 ", "013F 0F02 0000 ", "013F 0082 FFFF "], "{log}");
    assert_eq!(lines[4], "0413 0180 1104 07E0 ");
    Ok(())
}
