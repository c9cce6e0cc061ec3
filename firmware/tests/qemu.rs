//! Runs the firmware under another emulator, QEMU, with small programs of our own that call its services and report
//! over the debug console. Without `qemu-system-i386` each test says so and passes.

#[path = "support/print_ax.rs"]
mod print_ax;

use iced_x86::IcedError;
use iced_x86::code_asm::*;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where the program of a test disk runs, and the sectors it may fill.
const PROGRAM: u64 = 0x8000;
const PROGRAM_SECTORS: usize = 12;

/// Builds a test program: calls services and writes register values to port E9h as hexadecimal words.
struct Program {
    asm: CodeAssembler,
    print: CodeLabel,
}

impl Program {
    fn new() -> Result<Self, IcedError> {
        let mut asm = CodeAssembler::new(16)?;
        let print = asm.create_label();
        Ok(Self { asm, print })
    }

    /// Prints the word that `load` puts into AX. All registers are kept.
    fn report(&mut self, load: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Result<(), IcedError> {
        self.asm.pushf()?;
        self.asm.pushad()?;
        load(&mut self.asm)?;
        self.asm.call(self.print)?;
        self.asm.popad()?;
        self.asm.popf()
    }

    /// Prints AX, BX, CX, DX and the carry flag, then starts a new line.
    fn report_all(&mut self) -> Result<(), IcedError> {
        self.report(|_| Ok(()))?;
        self.report(|a| a.mov(ax, bx))?;
        self.report(|a| a.mov(ax, cx))?;
        self.report(|a| a.mov(ax, dx))?;
        self.report(|a| a.sbb(ax, ax))?;
        self.line()
    }

    fn line(&mut self) -> Result<(), IcedError> {
        self.asm.push(ax)?;
        self.asm.mov(al, 10)?;
        self.asm.out(0xe9, al)?;
        self.asm.pop(ax)
    }

    /// Ends the machine through the debug-exit device at F4h.
    fn finish(mut self) -> Result<Vec<u8>, IcedError> {
        let a = &mut self.asm;
        a.mov(al, 0)?;
        a.out(0xf4, al)?;
        let mut stop = a.create_label();
        a.set_label(&mut stop)?;
        a.hlt()?;
        a.jmp(stop)?;
        a.set_label(&mut self.print)?;
        print_ax::emit(a)?;
        a.assemble(PROGRAM)
    }
}

/// A disk image of `sectors` sectors that boots `program`; every other sector holds its number throughout.
fn disk(sectors: usize, program: &[u8]) -> Result<Vec<u8>, IcedError> {
    assert!(program.len() <= 512 * PROGRAM_SECTORS);
    let mut boot = CodeAssembler::new(16)?;
    boot.mov(ax, 0x0200 + PROGRAM_SECTORS as i32)?;
    boot.mov(bx, PROGRAM as i32)?;
    boot.mov(cx, 2)?;
    boot.mov(dh, 0)?;
    boot.int(0x13)?;
    boot.db(&[0xea, 0x00, 0x80, 0x00, 0x00])?;
    let mut image: Vec<u8> = (0..sectors).flat_map(|sector| (sector as u32).to_le_bytes().repeat(128)).collect();
    let boot = boot.assemble(0x7c00)?;
    image[..512].fill(0);
    image[..boot.len()].copy_from_slice(&boot);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image[512..512 + program.len()].copy_from_slice(program);
    Ok(image)
}

/// A directory for one test's files, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ring86-firmware-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory is writable");
        std::fs::write(path.join("bios"), ring86_firmware::bios_image()).expect("image written");
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("file written");
        path.display().to_string()
    }

    /// Starts QEMU with our firmware and no other ROM.
    fn start(&self, arguments: &[String]) -> Option<std::process::Child> {
        let log = format!("file:{}", self.0.join("log").display());
        let mut command = Command::new("qemu-system-i386");
        command.args(["-display", "none", "-net", "none", "-no-reboot", "-vga", "none", "-device", "VGA,romfile="]);
        command.args(["-device", "isa-debug-exit,iobase=0xf4", "-debugcon", &log, "-m", "64"]);
        command.arg("-bios").arg(self.0.join("bios")).args(arguments);
        match command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn() {
            Ok(child) => Some(child),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "qemu-system-i386 is not installed");
                eprintln!("skipped: qemu-system-i386 is not installed");
                None
            }
            Err(error) => panic!("qemu-system-i386 does not start: {error}"),
        }
    }

    /// Runs until the guest ends; returns what it wrote to the debug console.
    fn run(&self, arguments: &[String]) -> Option<String> {
        let mut child = self.start(arguments)?;
        let end = Instant::now() + Duration::from_secs(90);
        while child.try_wait().expect("child is ours").is_none() {
            if Instant::now() > end {
                child.kill().expect("child is ours");
                panic!("the guest did not finish; it wrote: {:?}", std::fs::read_to_string(self.0.join("log")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(std::fs::read_to_string(self.0.join("log")).expect("the log exists"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn floppy(path: &str) -> String {
    format!("if=floppy,format=raw,file={path}")
}

fn hard_disk(path: &str) -> String {
    format!("if=ide,index=0,media=disk,format=raw,file={path}")
}

fn arguments(drives: &[String]) -> Vec<String> {
    drives.iter().flat_map(|drive| ["-drive".to_owned(), drive.clone()]).collect()
}

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

/// A network card's ROM of 2 KiB that writes a letter to the debug console whenever it is called: I when it is
/// initialised, C by its boot connection vector, E by its bootstrap entry vector; X where it is not called as it should
/// be. Its entry leaves a mark in its own memory, which it cannot change any more when it is to start a system.
fn card_rom() -> Result<Vec<u8>, IcedError> {
    const MARK: i32 = 0x7e;
    let mut rom = vec![0; 2048];
    let mut put = |at: usize, bytes: &[u8]| rom[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[0x55, 0xaa, 4]);
    put(0x18, &[0x20, 0, 0x40, 0]);
    put(0x20, b"PCIR\xec\x10\x39\x81\0\0\x18\0\0\0\0\x02\x04\0\0\0\0\x80");
    put(0x40, b"$PnP\x01\x02");
    let mut at = 0x80;
    let mut entry = |code: &dyn Fn(&mut CodeAssembler, CodeLabel) -> Result<(), IcedError>, letter: u8| {
        let mut a = CodeAssembler::new(16)?;
        let (mut wrong, mut say) = (a.create_label(), a.create_label());
        a.mov(dl, i32::from(letter))?;
        a.cmp(word_ptr(di).es(), 0x5024)?; // "$P"
        a.jne(wrong)?;
        code(&mut a, wrong)?;
        a.jmp(say)?;
        a.set_label(&mut wrong)?;
        a.mov(dl, i32::from(b'X'))?;
        a.set_label(&mut say)?;
        a.mov(al, dl)?;
        a.out(0xe9, al)?;
        a.retf()?;
        let bytes = a.assemble(at as u64)?;
        put(at, &bytes);
        at += bytes.len();
        Ok((at - bytes.len()) as u16)
    };
    let initialise = entry(
        &|a, wrong| {
            a.cmp(ax, 5 << 3)?; // bus 0, device 5, function 0
            a.jne(wrong)?;
            a.cmp(bx, -1)?;
            a.jne(wrong)?;
            a.mov(byte_ptr(MARK).cs(), 1)
        },
        b'I',
    )?;
    let connect = entry(&|a, _| a.mov(byte_ptr(MARK).cs(), 2), b'C')?;
    let start = entry(
        &|a, wrong| {
            a.mov(byte_ptr(MARK).cs(), 3)?;
            a.cmp(byte_ptr(MARK).cs(), 2)?;
            a.jne(wrong)
        },
        b'E',
    )?;
    put(3, &[0xe9]);
    put(4, &(initialise - 6).to_le_bytes());
    put(0x56, &connect.to_le_bytes());
    put(0x5a, &start.to_le_bytes());
    let sum = rom.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    rom[2047] = sum.wrapping_neg();
    Ok(rom)
}

#[test]
fn a_cards_rom_is_run_and_may_decline_to_boot() -> Result<(), IcedError> {
    let mut p = Program::new()?;
    p.report(|a| a.mov(ax, 0x1234))?;
    let floppy_image = disk(2880, &p.finish()?)?;
    let scratch = Scratch::new("card-rom");
    let (image, rom) = (scratch.file("floppy", &floppy_image), scratch.file("rom", &card_rom()?));
    let mut all = arguments(&[floppy(&image)]);
    all.extend(["-boot".to_owned(), "nac".to_owned(), "-device".to_owned()]);
    all.push(format!("rtl8139,addr=5,romfile={rom}"));
    let Some(log) = scratch.run(&all) else { return Ok(()) };
    assert_eq!(log, "ICE1234 ");
    Ok(())
}

/// Where the ROM below leaves what it was told, and how many answers there are.
const ANSWERS: i32 = 0x8_f000;
const ANSWER_COUNT: i32 = 15;

/// A network card's ROM of 2 KiB that asks for memory while it is initialised, writes to it, and keeps the answers.
fn memory_rom() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    let (mut look, mut found) = (a.create_label(), a.create_label());
    a.pusha()?;
    a.push(ds)?;
    a.push(es)?;
    a.mov(ax, ANSWERS >> 4)?;
    a.mov(ds, ax)?;
    a.xor(si, si)?;
    a.mov(ax, 0xe000)?;
    a.set_label(&mut look)?;
    a.mov(es, ax)?;
    a.cmp(dword_ptr(0).es(), 0x4d4d_5024)?; // "$PMM"
    a.je(found)?;
    a.inc(ax)?;
    a.jnz(look)?;
    a.set_label(&mut found)?;
    let call = |a: &mut CodeAssembler, function: i32, arguments: &[(bool, u32)]| -> Result<(), IcedError> {
        a.mov(bp, sp)?;
        for (long, argument) in arguments.iter().rev() {
            a.mov(eax, *argument)?;
            if *long { a.push(eax)? } else { a.push(ax)? }
        }
        a.push(function)?;
        a.db(&[0x26, 0xff, 0x1e, 0x07, 0x00])?; // call far es:[7]
        a.mov(sp, bp)?;
        a.mov(word_ptr(si), ax)?;
        a.mov(word_ptr(si + 2), dx)?;
        a.add(si, 4)
    };
    let (long, short) = (|value: u32| (true, value), |value: u32| (false, value));
    let allocate =
        |a: &mut CodeAssembler, paragraphs, handle, flags| call(a, 0, &[long(paragraphs), long(handle), short(flags)]);
    const HANDLE: u32 = 0x6162_6364;
    const NO_HANDLE: u32 = 0xffff_ffff;
    allocate(&mut a, 0, NO_HANDLE, 2)?; // the longest block of extended memory
    allocate(&mut a, 0x801, NO_HANDLE, 2)?; // 32 KiB and a paragraph
    allocate(&mut a, 0x1000, HANDLE, 6)?; // 64 KiB, aligned to that
    // What it got is memory, and can be reached.
    a.push(es)?;
    a.xor(ax, ax)?;
    a.mov(es, ax)?;
    a.mov(edi, dword_ptr(si - 4))?;
    a.mov(dword_ptr(edi + 0xfffc).es(), 0x1234_5678)?;
    a.mov(eax, dword_ptr(edi + 0xfffc).es())?;
    a.mov(dword_ptr(si), eax)?;
    a.add(si, 4)?;
    a.pop(es)?;
    allocate(&mut a, 0, NO_HANDLE, 2)?;
    allocate(&mut a, 0x10, NO_HANDLE, 1)?; // conventional
    allocate(&mut a, 0, NO_HANDLE, 1)?;
    call(&mut a, 1, &[long(HANDLE)])?;
    call(&mut a, 1, &[long(NO_HANDLE)])?;
    allocate(&mut a, 0x100_0000, NO_HANDLE, 3)?; // more than there is
    allocate(&mut a, 0x10, NO_HANDLE, 0x0a)?; // a flag that is reserved
    // Frees the aligned block, which is not to be found then, nor freed again.
    a.mov(eax, dword_ptr(8))?;
    a.push(eax)?;
    a.push(2)?;
    a.db(&[0x26, 0xff, 0x1e, 0x07, 0x00])?;
    a.add(sp, 6)?;
    a.mov(word_ptr(si), ax)?;
    a.mov(word_ptr(si + 2), dx)?;
    a.add(si, 4)?;
    call(&mut a, 1, &[long(HANDLE)])?;
    call(&mut a, 2, &[long(0x20_0000)])?;
    call(&mut a, 9, &[])?; // no such function
    a.pop(es)?;
    a.pop(ds)?;
    a.popa()?;
    a.retf()?;
    let mut rom = vec![0; 2048];
    let code = a.assemble(0x80)?;
    rom[..6].copy_from_slice(&[0x55, 0xaa, 4, 0xe9, 0x7a, 0]);
    rom[0x18..0x1a].copy_from_slice(&[0x20, 0]);
    rom[0x20..0x38].copy_from_slice(b"PCIR\xec\x10\x39\x81\0\0\x18\0\0\0\0\x02\x04\0\0\0\0\x80\0\0");
    rom[0x80..0x80 + code.len()].copy_from_slice(&code);
    rom[2047] = rom.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    Ok(rom)
}

#[test]
fn a_cards_rom_gets_memory() -> Result<(), IcedError> {
    let mut p = Program::new()?;
    p.asm.mov(ax, ANSWERS >> 4)?;
    p.asm.mov(es, ax)?;
    for answer in 0..ANSWER_COUNT {
        p.report(|a| a.mov(ax, word_ptr(4 * answer + 2).es()))?;
        p.report(|a| a.mov(ax, word_ptr(4 * answer).es()))?;
        p.line()?;
    }
    // Once a system is started there is none to be had: the handle is not looked for.
    p.asm.push(0)?;
    p.asm.push(0)?;
    p.asm.push(1)?;
    p.asm.mov(ax, 0xf000)?;
    p.asm.mov(es, ax)?;
    p.asm.db(&[0x26, 0xff, 0x1e, 0xb7, 0xe0])?; // call far es:[E0B7h]
    p.asm.add(sp, 6)?;
    p.report(|_| Ok(()))?;
    let image = disk(2880, &p.finish()?)?;
    let scratch = Scratch::new("memory-rom");
    let (image, rom) = (scratch.file("floppy", &image), scratch.file("rom", &memory_rom()?));
    let mut all = arguments(&[floppy(&image)]);
    all.extend(["-device".to_owned(), format!("rtl8139,addr=5,romfile={rom}")]);
    let Some(log) = scratch.run(&all) else { return Ok(()) };
    // 64 MiB: extended memory from 48 MiB on, conventional memory from 64 KiB to 639 KiB.
    let expected = [
        "0010 0000",
        "0300 0000",
        "0301 0000",
        "1234 5678",
        "000F E000",
        "0001 0000",
        "0000 8FB0",
        "0301 0000",
        "0000 0000",
        "0000 0000",
        "0000 0000",
        "0000 0000",
        "0000 0000",
        "0000 0001",
        "FFFF FFFF",
        "FFFF",
    ];
    assert_eq!(log.lines().map(str::trim_end).collect::<Vec<_>>(), expected, "{log}");
    Ok(())
}

#[test]
fn nothing_to_boot_is_said() {
    let scratch = Scratch::new("nothing");
    let screen = scratch.0.join("screen");
    let arguments: Vec<String> = ["-nodefaults", "-monitor", "stdio"].map(str::to_owned).into();
    let Some(mut child) = start_with_monitor(&scratch, &arguments) else { return };
    let text = wait_for_text(&mut child, &screen, "Nothing to start from");
    assert!(text.contains("Ring86 BIOS"), "{text}");
    assert!(text.contains("65536 KiB"), "{text}");
}

/// A guest image of the shared collection, if it is there.
fn shared_guest(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/guests").join(name);
    if !path.exists() {
        eprintln!("skipped: the guest image {name} is not here");
        return None;
    }
    Some(path)
}

fn boot_shared(name: &str, expected: &str) {
    let Some(path) = shared_guest(name) else { return };
    let unpacked = Command::new("gzip").arg("-dc").arg(&path).output().expect("gzip runs").stdout;
    let scratch = Scratch::new(name);
    let image = scratch.file("a.img", &unpacked);
    let mut arguments = arguments(&[floppy(&image)]);
    arguments.extend(["-monitor".to_owned(), "stdio".to_owned()]);
    let Some(mut child) = start_with_monitor(&scratch, &arguments) else { return };
    let text = wait_for_text(&mut child, &scratch.0.join("screen"), expected);
    assert!(text.contains(expected), "{text}");
}

#[test]
fn freedos_reaches_its_prompt() {
    boot_shared("freedos722.img.gz", "A:\\>");
}

#[test]
fn mikeos_shows_its_dialog() {
    boot_shared("mikeos.flp.gz", "Thanks for trying out MikeOS!");
}

#[test]
fn openbsd_starts_its_kernel() {
    boot_shared("openbsd.img.gz", "mainbus0 (root)");
}

fn start_with_monitor(scratch: &Scratch, arguments: &[String]) -> Option<std::process::Child> {
    let mut command = Command::new("qemu-system-i386");
    command.args(["-display", "none", "-net", "none", "-vga", "none", "-device", "VGA,romfile=", "-m", "64"]);
    command.arg("-bios").arg(scratch.0.join("bios")).args(arguments);
    match command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn() {
        Ok(child) => Some(child),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "qemu-system-i386 is not installed");
            eprintln!("skipped: qemu-system-i386 is not installed");
            None
        }
        Err(error) => panic!("qemu-system-i386 does not start: {error}"),
    }
}

/// Polls the text screen until it shows `expected` or 90 seconds pass; ends the guest and returns the screen.
fn wait_for_text(child: &mut std::process::Child, screen: &Path, expected: &str) -> String {
    use std::io::Write;
    let mut monitor = child.stdin.take().expect("stdin is a pipe");
    let end = Instant::now() + Duration::from_secs(90);
    let mut text = String::new();
    while Instant::now() < end && !text.contains(expected) {
        std::thread::sleep(Duration::from_millis(300));
        writeln!(monitor, "pmemsave 0xb8000 4000 \"{}\"", screen.display()).expect("the monitor listens");
        std::thread::sleep(Duration::from_millis(100));
        let cells = std::fs::read(screen).unwrap_or_default();
        text = cells
            .chunks(160)
            .map(|row| {
                row.iter().step_by(2).map(|byte| if *byte < 0x20 { ' ' } else { *byte as char }).collect::<String>()
            })
            .collect::<Vec<_>>()
            .join("\n");
    }
    writeln!(monitor, "quit").expect("the monitor listens");
    child.wait().expect("child is ours");
    text
}
