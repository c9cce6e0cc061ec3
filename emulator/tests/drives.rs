//! Floppies, hard disks and CDs of others boot by file name alone and are used by keyboard, through scripts.

#[path = "support/folder.rs"]
mod folder;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/guest.rs"]
mod guest;
#[path = "support/iso.rs"]
mod iso;
#[path = "support/sector.rs"]
mod sector;
#[path = "support/shared_guest.rs"]
mod shared_guest;

use folder::{Ended, Folder, ring86};
use guest::guest;
use iced_x86::code_asm::*;
use shared_guest::shared_guest;
use std::fs;

/// Runs a script on the virtual clock; it must end well.
#[track_caller]
fn run(folder: &Folder, script: &str, args: &[&str]) -> Ended {
    let script = folder.file("script", format!("timeout 15\n{script}"));
    let mut all = vec!["run", "--clock", "virtual", "--serial", "none", "--script", &script];
    all.extend(args);
    let ended = ring86(&folder.0, &all);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended
}

/// A boot sector, as floppy image of 1.44 MB with `sectors` behind it.
fn floppy(code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>, sectors: &[u8]) -> Vec<u8> {
    let mut image = sector::boot(code);
    image.extend(sectors);
    image.resize(1440 << 10, 0);
    image
}

#[test]
fn freedos_from_a_floppy() {
    let Some(image) = shared_guest("freedos722.img") else { return };
    let folder = Folder::new("freedos");
    let path = folder.file("freedos.img", &image);
    let script = "wait-screen 'A:\\>'\ntype 'echo zyxwvu> new.txt\\n'\nsleep 3\ntype 'dir new.txt\\n'\nwait-screen '1 file(s)'\n";
    let ended = run(&folder, script, &[&path]);
    assert!(ended.err.contains("is a floppy image of 720 KiB; what the guest writes goes into it"), "{}", ended.err);
    let written = folder.read("freedos.img");
    assert_eq!(written.len(), image.len());
    assert!(written.windows(7).any(|w| w == b"zyxwvu\r") && !image.windows(7).any(|w| w == b"zyxwvu\r"));
    // The file it wrote is there after the next start; what is written now is thrown away.
    let script = "wait-screen 'A:\\>'\ntype 'type new.txt\\n'\nwait-screen zyxwvu\ntype 'del new.txt\\n'\nsleep 2\n";
    run(&folder, script, &["--ephemeral", &path]);
    assert!(folder.read("freedos.img") == written);
}

#[test]
fn mikeos_from_a_floppy_and_as_a_floppy_on_a_cd() {
    let Some(image) = shared_guest("mikeos.flp") else { return };
    let folder = Folder::new("mikeos");
    let script = "wait-screen 'Thanks for trying out MikeOS!'\nkey right\nkey enter\nwait-screen 'Commands: DIR'\n\
                  type 'dir\\n'\nwait-screen KERNEL.BIN\nscreen\n";
    let path = folder.file("mikeos.flp", &image);
    let ended = run(&folder, script, &[&path]);
    assert!(ended.out.contains("FILEMAN.BIN"), "{}", ended.out);
    let cd = folder.file("mikeos.iso", iso::image(iso::Boot::Floppy, &[("MIKEOS.FLP", image)]));
    let ended = run(&folder, script, &[&cd]);
    assert!(ended.err.contains("is a CD image of") && ended.err.contains("that boots"), "{}", ended.err);
    assert!(ended.out.contains("FILEMAN.BIN"), "{}", ended.out);
}

#[test]
fn memtest_from_a_cd() {
    let Some(path) = guest("memtest86+ia32.iso") else { return };
    let folder = Folder::new("memtest");
    let script = "wait-screen 'Test #2'\nkey f1\nwait-screen 'Test selection'\nscreen\n";
    let ended = run(&folder, script, &["-m", "32M", "--cd", &path.display().to_string()]);
    assert!(ended.out.contains("Memtest86+ v6"), "{}", ended.out);
}

#[test]
fn grub_from_a_hard_disk() {
    let Some(path) = guest("grub/grub-rescue-cdrom.iso") else { return };
    let folder = Folder::new("grub");
    let disk = folder.file("disk.img", fs::read(path).expect("the image is readable"));
    let script = "wait-screen GNU/Linux\nkey down down\nwait-screen '*FreeBSD'\nkey c\nwait-screen 'grub>'\n\
                  type 'ls\\n'\nwait-screen '(hd0,msdos1)'\n";
    run(&folder, script, &["--hd", &disk]);
}

#[test]
fn isolinux_menu_from_a_cd() {
    let names = ["isolinux.bin", "ldlinux.c32", "libcom32.c32", "libutil.c32", "menu.c32"];
    let mut files = Vec::new();
    for name in names {
        let Some(path) = guest(&format!("syslinux/{name}")) else { return };
        files.push((name.to_uppercase(), fs::read(path).expect("the file is readable")));
    }
    let config = "UI menu.c32\nMENU TITLE Ring86 test disc\nLABEL first\nMENU LABEL The first\nKERNEL /one\n\
                  LABEL second\nMENU LABEL The second\nKERNEL /two\nAPPEND by=keyboard\n";
    files.push(("ISOLINUX.CFG".to_owned(), config.as_bytes().to_vec()));
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let folder = Folder::new("isolinux");
    let cd = folder.file("test.iso", iso::image(iso::Boot::NoEmulation, &files));
    let script =
        "wait-screen 'Ring86 test disc'\nwait-screen 'The second'\nkey down tab\nwait-screen 'by=keyboard'\nscreen\n";
    for firmware in [Some(Vec::new()), foreign::seabios()].into_iter().flatten() {
        let args: Vec<_> = firmware.iter().chain([&cd]).map(String::as_str).collect();
        let ended = run(&folder, script, &args);
        assert!(ended.out.contains("> /two by=keyboard"), "{firmware:?}: {}", ended.out);
    }
}

#[test]
fn freedos_reads_and_writes_a_folder_of_the_hosts() {
    let Some(image) = shared_guest("freedos722.img") else { return };
    let folder = Folder::new("folder-disk");
    let floppy = folder.file("freedos.img", &image);
    let shown = folder.0.join("shown");
    fs::create_dir_all(shown.join("sub")).expect("a folder can be made");
    fs::write(shown.join("HELLO.TXT"), "qwertz\r\n").expect("a file can be written");
    fs::write(shown.join("sub/a long name.txt"), "uiop\r\n").expect("a file can be written");
    let script = "wait-screen 'A:\\>'\ntype 'c:\\n'\nwait-screen 'C:\\>'\ntype 'type hello.txt\\n'\nwait-screen qwertz\n\
                  type 'copy sub\\\\*.* .\\n'\nwait-screen ALONGN~1\ntype 'ren hello.txt renamed.txt\\n'\n\
                  type 'md made\\n'\ntype 'echo yxcvbn> made\\\\new.txt\\n'\nsleep 3\ntype 'dir\\n'\nwait-screen RENAMED\n";
    let ended = run(&folder, script, &["--hd", &format!("fat:{}", shown.display()), &floppy]);
    assert!(ended.err.contains("is a FAT hard disk"), "{}", ended.err);
    let read = |name: &str| fs::read_to_string(shown.join(name)).unwrap_or_else(|e| format!("{name}: {e}"));
    assert_eq!((read("RENAMED.TXT"), read("MADE/NEW.TXT")), ("qwertz\r\n".to_owned(), "yxcvbn\r\n".to_owned()));
    assert_eq!((read("ALONGN~1.TXT"), read("sub/a long name.txt")), ("uiop\r\n".to_owned(), "uiop\r\n".to_owned()));
    assert!(!shown.join("HELLO.TXT").exists() && !shown.join(".ring86-deleted").exists());
}

/// Reads sector 2 of drive A again and again and prints its first byte.
fn reader(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = a.create_label();
    let mut bad = a.create_label();
    a.set_label(&mut again)?;
    a.xor(ax, ax)?;
    a.mov(es, ax)?;
    a.mov(ds, ax)?;
    a.mov(ax, 0x0201)?;
    a.mov(bx, 0x8000)?;
    a.mov(cx, 2)?;
    a.xor(dx, dx)?;
    a.int(0x13)?;
    a.jc(bad)?;
    a.mov(al, byte_ptr(0x8000))?;
    a.mov(ah, 0x0e)?;
    a.int(0x10)?;
    a.set_label(&mut bad)?;
    a.hlt()?;
    a.jmp(again)
}

#[test]
fn floppies_are_changed_under_way() {
    let folder = Folder::new("change");
    let first = folder.file("first.img", floppy(reader, b"A"));
    folder.file("second.img", floppy(reader, b"B"));
    let script = "wait-screen AAA\ninsert a second.img\nwait-screen ABBB\neject a\nsleep 1\ninsert a first.img\n\
                  wait-screen BAAA\n";
    run(&folder, script, &[&first]);
}

/// Writes its own first sector over sector 3 of the first hard disk, and prints int 13h's status.
fn disk_writer(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.xor(ax, ax)?;
    a.mov(es, ax)?;
    a.mov(ax, 0x0301)?;
    a.mov(bx, 0x7c00)?;
    a.mov(cx, 3)?;
    a.mov(dx, 0x0080)?;
    a.int(0x13)?;
    a.mov(al, ah)?;
    a.add(al, i32::from(b'0'))?;
    a.mov(ah, 0x0e)?;
    a.int(0x10)?;
    a.int(0x10)?;
    a.cli()?;
    a.hlt()
}

/// A boot sector that writes itself back to where it came from with `magic` at its beginning, and says W or R for written
/// or refused.
fn trick(drive: u32, magic: &[u8; 4]) -> impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError> {
    let magic = u32::from_le_bytes(*magic);
    move |a| {
        let mut refused = a.create_label();
        a.xor(ax, ax)?;
        a.mov(es, ax)?;
        a.mov(ds, ax)?;
        a.mov(dword_ptr(0x7c00), magic)?;
        a.mov(ax, 0x0301)?;
        a.mov(bx, 0x7c00)?;
        a.mov(cx, 1)?;
        a.mov(dx, drive)?;
        a.int(0x13)?;
        a.mov(ax, 0x0e00 | u32::from(b'R'))?;
        a.jc(refused)?;
        a.mov(al, u32::from(b'W'))?;
        a.set_label(&mut refused)?;
        for _ in 0..3 {
            a.int(0x10)?;
        }
        a.cli()?;
        a.hlt()
    }
}

#[test]
fn a_bare_image_stays_what_it_is() {
    let folder = Folder::new("trick");
    for magic in [b"QFI\xfb", b"\x7fELF", b"\x1f\x8b\x08\0"] {
        for (drive, size, option, kind) in
            [(0, 1440 << 10, "--floppy", "a floppy image"), (0x80, 4 << 20, "--hd", "a hard disk image")]
        {
            let mut content = floppy(trick(drive, magic), b"");
            content.resize(size, 0);
            let path = folder.file("trick.img", &content);
            let stated = format!("raw:{path}");
            let machine = ["run", "--clock", "virtual", "--serial", "none", "--dump-screen"];
            let ended = ring86(&folder.0, &[&machine[..], &[&path]].concat());
            assert!(ended.err.contains(kind) && ended.out.contains("RRR"), "{magic:x?}: {ended:?}");
            let remedy = format!("as {option} {stated}");
            assert_eq!(ended.err.matches(&remedy).count(), 1, "{magic:x?}: {}", ended.err);
            assert!(folder.read("trick.img") == content, "{magic:x?}");
            let ended = ring86(&folder.0, &[&machine[..], &[option, &stated]].concat());
            assert!(ended.out.contains("WWW") && !ended.err.contains("refused"), "{magic:x?}: {ended:?}");
            assert!(folder.read("trick.img").starts_with(magic));
        }
    }
}

#[test]
fn a_bare_qcow2_image_boots_and_is_written() {
    use imago::file::File;
    use imago::qcow2::Qcow2;
    use imago::{FormatAccess, FormatCreateBuilder};
    let folder = Folder::new("qcow2");
    let path = folder.file("disk.qcow2", b"");
    let open = || {
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).expect("it is ours");
        File::try_from(file).expect("it is a file")
    };
    let builder = Qcow2::<File>::create_builder(open()).size(8 << 20);
    FormatCreateBuilder::create(builder).expect("an image can be made");
    let content = floppy(disk_writer, b"");
    let image = FormatAccess::new(Qcow2::<File>::open_image(open(), true).expect("it is an image"));
    image.write(content.as_slice(), 0).expect("it can be written");
    drop(image);
    let args = ["run", "--clock", "virtual", "--serial", "none", "--dump-screen", &path];
    let ended = ring86(&folder.0, &args);
    assert_eq!(ended.code, Some(122), "{}", ended.err);
    assert!(ended.err.contains("is a qcow2 hard disk image of"), "{}", ended.err);
    assert!(ended.out.contains("Disk: 8 MiB") && ended.out.contains("00"), "{}", ended.out);
    let image = FormatAccess::new(Qcow2::<File>::open_image(open(), false).expect("it is still an image"));
    let mut sector = vec![0; 512];
    image.read(sector.as_mut_slice(), 1024).expect("it can be read");
    assert!(sector == content[..512]);
    // A raw disk, where the guess has to be a partition table or a size.
    let mut raw = content.clone();
    raw.resize(8 << 20, 0);
    let raw = folder.file("disk.img", raw);
    let ended = ring86(&folder.0, &["run", "--clock", "virtual", "--serial", "none", &raw]);
    assert!(ended.err.contains("is a hard disk image of 8192 KiB"), "{}", ended.err);
    assert!(folder.read("disk.img")[1024..1536] == content[..512]);
}

#[test]
fn the_boot_order_counts() {
    let folder = Folder::new("order");
    let says = |letter: u8| {
        move |a: &mut CodeAssembler| {
            a.mov(ax, 0x0e00 | u32::from(letter))?;
            a.int(0x10)?;
            a.int(0x10)?;
            a.int(0x10)?;
            a.cli()?;
            a.hlt()
        }
    };
    let f = folder.file("floppy.img", floppy(says(b'F'), b""));
    let h = folder.file("disk.img", floppy(says(b'H'), b""));
    let cd = folder.file("cd.iso", iso::image(iso::Boot::Floppy, &[("CD.IMG", floppy(says(b'C'), b""))]));
    let all =
        ["run", "--clock", "virtual", "--serial", "none", "--dump-screen", "--floppy", &f, "--hd", &h, "--cd", &cd];
    for (order, seen) in [("a", "FFF"), ("c", "HHH"), ("d", "CCC"), ("dc", "CCC")] {
        let ended = ring86(&folder.0, &[&all[..], &["--boot", order]].concat());
        assert!(ended.out.contains(seen), "{order}: {ended:?}");
    }
    // SeaBIOS reads the same order from CMOS.
    if let Some(seabios) = foreign::seabios() {
        let seabios: Vec<_> = seabios.iter().map(String::as_str).collect();
        for (order, seen) in [("a", "FFF"), ("c", "HHH"), ("dc", "CCC"), ("ca", "HHH")] {
            let ended = ring86(&folder.0, &[&all[..], &seabios, &["--boot", order]].concat());
            assert!(ended.out.contains(seen), "{order}: {ended:?}");
        }
    }
    let ended = ring86(&folder.0, &all);
    assert!(ended.out.contains("FFF"), "{ended:?}");
    // A key that was pressed before the keyboard was looked for opens the menu.
    let menu = folder.file("menu", "timeout 15\nkey esc\nwait-screen 'Start from'\nkey 3\n");
    let chosen = ring86(&folder.0, &[&all[..], &["--script", &menu]].concat());
    assert!(chosen.out.contains("CCC"), "{chosen:?}");
    assert!(ended.out.contains("Floppy A: 1.44 MiB") && ended.out.contains("Disk: 1 MiB"), "{ended:?}");
}

/// A boot sector's code that prints what int 13h says of the drives while a CD's image stands for the first one.
fn emulated_disk(a: &mut CodeAssembler) -> Result<(), IcedError> {
    const BUFFER: u32 = 0x8000;
    const PACKET: u32 = 0x7e00;
    let mut print = a.create_label();
    let mut start = a.create_label();
    a.jmp(start)?;
    // AL as two hexadecimal digits, or as it is.
    let (mut hex, mut digit) = (a.create_label(), a.create_label());
    a.set_label(&mut hex)?;
    a.push(ax)?;
    a.shr(al, 4)?;
    a.call(digit)?;
    a.pop(ax)?;
    a.and(al, 15)?;
    a.set_label(&mut digit)?;
    a.add(al, i32::from(b'0'))?;
    a.cmp(al, i32::from(b'9'))?;
    a.jbe(print)?;
    a.add(al, 7)?;
    a.set_label(&mut print)?;
    a.mov(ah, 0x0e)?;
    a.int(0x10)?;
    a.ret()?;
    a.set_label(&mut start)?;
    a.xor(ax, ax)?;
    a.mov(ds, ax)?;
    a.mov(es, ax)?;
    a.cld()?;
    a.mov(al, dl)?;
    a.call(hex)?;
    // The geometry and how many disks there are.
    a.mov(ax, 0x0800)?;
    a.mov(dl, 0x80)?;
    a.int(0x13)?;
    for register in [ch, cl, dh, dl] {
        a.mov(al, register)?;
        a.call(hex)?;
    }
    // By CHS: cylinder 1, head 2, sector 3 of the CD's image; the first sector of the real disk.
    for (place, drive) in [(0x0103, 0x0280), (0x0001, 0x0081)] {
        a.mov(ax, 0x0201)?;
        a.mov(bx, BUFFER)?;
        a.mov(cx, place)?;
        a.mov(dx, drive)?;
        a.xor(bp, bp)?;
        a.int(0x13)?;
        a.mov(al, byte_ptr(BUFFER))?;
        a.call(print)?;
    }
    // By LBA: seven sectors from the third, across blocks of the CD.
    a.mov(si, PACKET)?;
    a.mov(word_ptr(si), 0x10)?;
    a.mov(word_ptr(si + 2), 7)?;
    a.mov(word_ptr(si + 4), BUFFER as i32)?;
    a.mov(word_ptr(si + 6), 0)?;
    a.mov(dword_ptr(si + 8), 3)?;
    a.mov(dword_ptr(si + 12), 0)?;
    a.mov(ax, 0x4200)?;
    a.mov(dx, 0x0280)?;
    a.int(0x13)?;
    for sector in 0..7 {
        a.mov(al, byte_ptr(BUFFER + 512 * sector))?;
        a.call(print)?;
    }
    // Writes are refused.
    for function in [0x0301, 0x4300] {
        a.mov(ax, function)?;
        a.mov(si, PACKET)?;
        a.mov(bx, BUFFER)?;
        a.mov(cx, 1)?;
        a.mov(dx, 0x0080)?;
        a.int(0x13)?;
        a.mov(al, ah)?;
        a.call(hex)?;
    }
    // What is emulated, for drive 80h and, refused, for 81h; the end of it; what drive 80h is then.
    for (function, drive) in [(0x4b01, 0x80), (0x4b01, 0x81), (0x4b00, 0x7f)] {
        a.mov(ax, function)?;
        a.mov(dx, drive)?;
        a.mov(si, PACKET)?;
        a.int(0x13)?;
        a.mov(al, ah)?;
        a.call(hex)?;
    }
    a.mov(al, byte_ptr(PACKET + 1))?;
    a.call(hex)?;
    a.mov(al, byte_ptr(PACKET + 2))?;
    a.call(hex)?;
    a.mov(ax, 0x0201)?;
    a.mov(bx, BUFFER)?;
    a.mov(cx, 1)?;
    a.mov(dx, 0x0080)?;
    a.int(0x13)?;
    a.mov(al, byte_ptr(BUFFER))?;
    a.call(print)?;
    a.cli()?;
    a.hlt()
}

#[test]
fn an_image_on_a_cd_is_the_first_disk() {
    let folder = Folder::new("el-torito-disk");
    // 5 cylinders, 4 heads, 17 sectors; one partition from the second track on.
    let (cylinders, heads, sectors) = (5u32, 4u32, 17u32);
    let total = cylinders * heads * sectors;
    let mut disk = floppy(emulated_disk, b"");
    assert!(disk[0x1b8..0x1fe].iter().all(|byte| *byte == 0), "the code reaches into the partition table");
    disk.resize(total as usize * 512, 0);
    let entry = [0x80, 1, 1, 0, 0x0b, heads as u8 - 1, sectors as u8, cylinders as u8 - 1];
    disk[0x1be..0x1c6].copy_from_slice(&entry);
    disk[0x1c6..0x1ca].copy_from_slice(&sectors.to_le_bytes());
    disk[0x1ca..0x1ce].copy_from_slice(&(total - sectors).to_le_bytes());
    disk[((heads + 2) * sectors + 2) as usize * 512] = b'c';
    for (sector, letter) in (3..10).zip(b"tuvwxyz") {
        disk[sector * 512] = *letter;
    }
    let mut real = vec![0; 1 << 20];
    real[0] = b'r';
    let cd = folder.file("cd.iso", iso::image(iso::Boot::Disk, &[("DISK.IMG", disk)]));
    let hd = folder.file("disk.img", real);
    let args =
        ["run", "--clock", "virtual", "--serial", "none", "--dump-screen", "--hd", &hd, "--cd", &cd, "--boot", "d"];
    let ended = ring86(&folder.0, &args);
    assert_eq!(ended.code, Some(122), "{ended:?}");
    // Drive; highest cylinder, sectors, highest head, disks; both sectors; seven; two refusals; 4B01, 4B01, 4B00.
    let seen = "80".to_owned() + "04110302" + "cr" + "tuvwxyz" + "0303" + "000100" + "0480" + "r";
    assert!(ended.out.contains(&seen), "no {seen} in {}", ended.out);
}

#[test]
fn a_read_only_file_is_a_write_protected_disk() {
    // Writes a sector to drive A and prints int 13h's status.
    let code = |a: &mut CodeAssembler| {
        a.xor(ax, ax)?;
        a.mov(es, ax)?;
        a.mov(ax, 0x0301)?;
        a.mov(bx, 0x7c00)?;
        a.mov(cx, 3)?;
        a.xor(dx, dx)?;
        a.int(0x13)?;
        a.mov(al, ah)?;
        a.add(al, i32::from(b'0'))?;
        a.mov(ah, 0x0e)?;
        a.int(0x10)?;
        a.int(0x10)?;
        a.cli()?;
        a.hlt()
    };
    let folder = Folder::new("protected");
    let image = floppy(code, b"");
    let path = folder.file("disk.img", &image);
    let mut permissions = fs::metadata(&path).expect("it exists").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).expect("it is ours");
    if fs::OpenOptions::new().write(true).open(&path).is_ok() {
        eprintln!("skipped: this user may write read-only files");
        return;
    }
    let args = ["run", "--clock", "virtual", "--serial", "none", "--dump-screen", &path];
    let ended = ring86(&folder.0, &args);
    assert!(ended.out.contains("33") && ended.err.contains("the file is read-only"), "{ended:?}");
    let ended = ring86(&folder.0, &[&args[..], &["--ephemeral"]].concat());
    assert!(ended.out.contains("00"), "{ended:?}");
    assert!(folder.read("disk.img") == image);
}
