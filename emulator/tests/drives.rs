//! Floppies, hard disks and CDs of others boot by file name alone and are used by keyboard, through scripts.

#[path = "support/folder.rs"]
mod folder;
#[path = "support/guest.rs"]
mod guest;
#[path = "support/iso.rs"]
mod iso;
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
    let mut a = CodeAssembler::new(16).expect("16-bit code");
    code(&mut a).expect("the code is right");
    let mut image = a.assemble(0x7c00).expect("the code is right");
    assert!(image.len() <= 510);
    image.resize(510, 0);
    image.extend([0x55, 0xaa]);
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
    let ended = run(&folder, script, &[&cd]);
    assert!(ended.out.contains("> /two by=keyboard"), "{}", ended.out);
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
    let ended = ring86(&folder.0, &all);
    assert!(ended.out.contains("FFF"), "{ended:?}");
    assert!(ended.out.contains("Floppy A: 1.44 MiB") && ended.out.contains("Disk: 1 MiB"), "{ended:?}");
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
