//! Images of every kind behind one interface.

use super::*;

/// A folder of one test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ring86-storage-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind harms nothing.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn read(image: &mut Image, offset: u64, len: usize) -> Vec<u8> {
    let mut buffer = vec![0xee; len];
    image.read(offset, &mut buffer).unwrap();
    buffer
}

fn error(path: &Path, role: Role, access: &Access) -> String {
    open(path, role, access).unwrap_err().to_string()
}

#[test]
fn raw_files_are_written_and_kept_apart() {
    let folder = Folder::new("raw");
    let path = folder.file("disk", &[7; 2048]);
    let mut first = open(&path, Role::Disk, &Access::default()).unwrap();
    assert_eq!((first.format, first.image.len(), first.image.read_only()), ("raw", 2048, false));
    first.image.write(512, &[1; 512]).unwrap();
    first.image.flush().unwrap();
    assert!(first.image.write(2048, &[0; 512]).is_err());
    assert!(error(&path, Role::Disk, &Access::default()).contains("in use by another machine"));
    assert!(error(&path, Role::Cd, &Access::default()).contains("in use by another machine"));
    drop(first);
    let mut again = open(&path, Role::Cd, &Access::default()).unwrap();
    assert_eq!(read(&mut again.image, 510, 4), [7, 7, 1, 1]);
    assert!(again.image.read_only() && again.image.write(0, &[0; 512]).is_err());
    let second = open(&path, Role::Cd, &Access::default()).unwrap();
    assert_eq!(second.image.len(), 2048, "two may read");
}

/// What makes something else of a file: its name in the refusal, where it lies, and its bytes.
fn tricks() -> Vec<(&'static str, usize, Vec<u8>)> {
    let multiboot = [0x1bad_b002u32, 0, 0u32.wrapping_sub(0x1bad_b002)];
    vec![
        ("a qcow2 image", 0, format::QCOW2_MAGIC.to_vec()),
        ("an ELF file", 0, b"\x7fELF".to_vec()),
        ("a Linux kernel", 0x202, b"HdrS".to_vec()),
        ("a CD", 0x8001, b"CD001".to_vec()),
        ("a file compressed by gzip", 0, vec![0x1f, 0x8b, 8]),
        ("a multiboot kernel", 0x400, multiboot.iter().flat_map(|w| w.to_le_bytes()).collect()),
    ]
}

#[test]
fn a_guest_cannot_make_something_else_of_an_image() {
    use crate::boot::image::{Kind, no_disk, recognise};
    let folder = Folder::new("trick");
    let mut plain = vec![0; 1440 << 10];
    plain[510..512].copy_from_slice(&[0x55, 0xaa]);
    for (role, name, size, kind) in
        [(Role::Floppy, "a.img", 1440 << 10, Kind::Floppy), (Role::Disk, "c.img", 4 << 20, Kind::Disk)]
    {
        plain.resize(size, 0);
        for (what, at, bytes) in tricks() {
            // A multiboot header counts only where no boot sector stands before it.
            let signed = what != "a multiboot kernel";
            let mut content = plain.clone();
            content[510] = if signed { 0x55 } else { 0 };
            let path = folder.file(name, &content);
            let first = at / 512 * 512;
            let mut evil = content[first..first + 1024].to_vec();
            evil[at - first..at - first + bytes.len()].copy_from_slice(&bytes);
            let stays = || {
                let file = std::fs::read(&path).unwrap();
                assert!(file == content, "{what}");
                assert_eq!(recognise(&file, file.len() as u64), signed.then_some(kind), "{what}");
            };
            let mut image = open(&path, role, &Access::default()).unwrap().image;
            // Whole, with what comes before it, and in pieces, of which the last one counts.
            assert!(image.write(first as u64, &evil).unwrap_err().to_string().contains(what), "{what}");
            assert!(image.write(first as u64, &evil[..512]).is_err(), "{what}");
            let before = content[..first].to_vec();
            assert!(image.write(0, &[before, evil.clone()].concat()).is_err(), "{what}");
            stays();
            image.write(at as u64, &bytes[..2]).unwrap();
            assert!(image.write(at as u64 + 2, &bytes[2..]).is_err(), "{what}");
            image.write(at as u64, &content[at..at + 2]).unwrap();
            stays();
            // The same bytes elsewhere are anybody's.
            image.write(0x1_0000, &evil).unwrap();
            drop(image);
            std::fs::write(&path, &content).unwrap();
            // Stated, it is what was stated; thrown away, it harms nobody.
            let access = Access { ephemeral: true, ..Access::default() };
            open(&path, role, &access).unwrap().image.write(first as u64, &evil).unwrap();
            stays();
            let stated = PathBuf::from(format!("raw:{}", path.display()));
            open(&stated, role, &Access::default()).unwrap().image.write(first as u64, &evil).unwrap();
            let file = std::fs::read(&path).unwrap();
            assert_eq!(no_disk(&file, file.len() as u64, Some(kind)), Some(what), "the trick would work");
            assert_eq!(open(&stated, role, &Access::default()).unwrap().format, "raw");
        }
    }
}

#[test]
fn ordinary_writes_near_the_beginning_go_through() {
    let folder = Folder::new("ordinary");
    let path = folder.file("blank", &[0; 1 << 20]);
    let mut image = open(&path, Role::Disk, &Access::default()).unwrap().image;
    // A boot sector on a blank disk, its end, another one, and everything at once.
    for byte in [0xeb, 0, 0xfa] {
        let mut sector = [byte; 512];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        image.write(0, &sector).unwrap();
        assert_eq!(read(&mut image, 0, 512), sector);
    }
    image.write(0, &vec![0; 1 << 20]).unwrap();
    drop(image);
    // What was a CD image before may stay one.
    let mut iso = vec![0; 0x9000];
    iso[0x8001..0x8006].copy_from_slice(b"CD001");
    let path = folder.file("iso", &iso);
    let mut image = open(&path, Role::Disk, &Access::default()).unwrap().image;
    image.write(0, &[1; 512]).unwrap();
    assert!(image.write(0, b"\x7fELF").is_err());
}

#[test]
fn what_looks_like_qcow2_must_be_named_in_other_drives() {
    let folder = Folder::new("ambiguous");
    let path = folder.file("x.qcow2", &[&format::QCOW2_MAGIC[..], &[0; 1020]].concat());
    let stated = |format: &str| PathBuf::from(format!("{format}:{}", path.display()));
    for role in [Role::Floppy, Role::Cd] {
        let says = error(&path, role, &Access::default());
        assert!(
            says.contains("looks like a qcow2 image") && says.contains("raw:") && says.contains("qcow2:"),
            "{says}"
        );
        assert_eq!(open(&stated("raw"), role, &Access::default()).unwrap().format, "raw");
        assert!(error(&stated("qcow2"), role, &Access::default()).contains("as a qcow2 image"));
    }
    assert!(error(&path, Role::Disk, &Access::default()).contains("as a qcow2 image"));
}

#[test]
fn floppies_have_a_floppys_size() {
    let folder = Folder::new("floppy");
    let path = folder.file("short", &[5; 700]);
    let mut image = open(&path, Role::Floppy, &Access::default()).unwrap().image;
    assert_eq!(image.len(), 1440 << 10);
    assert_eq!(read(&mut image, 699, 3), [5, 0, 0]);
    image.write(1024, &[9; 512]).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 1536);
    let large = folder.file("large", &[0; 3 << 20]);
    assert!(error(&large, Role::Floppy, &Access::default()).contains("use --hd"));
}

#[test]
fn ephemeral_writes_leave_the_file_alone() {
    let folder = Folder::new("ephemeral");
    let content: Vec<u8> = (0..40_000u32).map(|i| (i / 100) as u8).collect();
    let path = folder.file("disk", &content);
    let access = Access { ephemeral: true, ..Access::default() };
    let mut image = open(&path, Role::Disk, &access).unwrap().image;
    let mut model = content[..40_000 / 512 * 512].to_vec();
    for (offset, len, byte) in [(512, 1024, 1), (4000, 5000, 2), (39_000, 900, 3), (4096, 4096, 4), (0, 1, 5)] {
        image.write(offset as u64, &vec![byte; len]).unwrap();
        model[offset..offset + len].fill(byte);
        assert_eq!(read(&mut image, 0, model.len()), model);
    }
    assert!(image.write(39_900, &[0; 512]).is_err());
    image.flush().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), content);
}

mod qcow2_images {
    use super::*;
    use imago::FormatCreateBuilder;
    use imago::file::File as ImageFile;
    use imago::qcow2::Qcow2;

    fn create(path: &Path, backing: Option<(&str, &str)>) {
        std::fs::write(path, b"").unwrap();
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut builder = Qcow2::<ImageFile>::create_builder(ImageFile::try_from(file).unwrap()).size(1 << 20);
        if let Some((name, format)) = backing {
            builder = builder.backing(name.to_owned(), format.to_owned());
        }
        builder.create().unwrap();
    }

    #[test]
    fn what_is_flushed_is_there_again() {
        let folder = Folder::new("qcow2");
        let path = folder.0.join("disk.qcow2");
        create(&path, None);
        let mut opened = open(&path, Role::Disk, &Access::default()).unwrap();
        assert_eq!((opened.format, opened.image.len()), ("qcow2", 1 << 20));
        opened.image.write(65_000, &[3; 2000]).unwrap();
        opened.image.flush().unwrap();
        // As after kill -9: nothing is dropped in order.
        std::mem::forget(opened);
        let copy = folder.0.join("copy.qcow2");
        std::fs::copy(&path, &copy).unwrap();
        let mut image = open(&copy, Role::Disk, &Access::default()).unwrap().image;
        let back = read(&mut image, 64_999, 2002);
        assert_eq!((back[0], back[1], back[2000], back[2001]), (0, 3, 3, 0));
    }

    #[test]
    fn other_drives_take_those_that_fit() {
        let folder = Folder::new("qcow2-floppy");
        let path = folder.0.join("disk.qcow2");
        create(&path, None);
        let stated = PathBuf::from(format!("qcow2:{}", path.display()));
        for role in [Role::Floppy, Role::Cd] {
            let opened = open(&stated, role, &Access::default()).unwrap();
            assert_eq!(
                (opened.format, opened.image.len(), opened.image.read_only()),
                ("qcow2", 1 << 20, role == Role::Cd)
            );
        }
        std::fs::write(&path, b"").unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        Qcow2::<ImageFile>::create_builder(ImageFile::try_from(file).unwrap()).size(8 << 20).create().unwrap();
        assert!(error(&stated, Role::Floppy, &Access::default()).contains("more than a floppy's"));
    }

    #[test]
    fn backing_files_are_opened_only_if_named() {
        let folder = Folder::new("backing");
        let below = folder.file("base", &vec![6; 1 << 20]);
        let path = folder.0.join("top.qcow2");
        create(&path, Some(("base", "raw")));
        assert!(error(&path, Role::Disk, &Access::default()).contains("add --backing"));
        let access = Access { backing: vec![below.clone()], ..Access::default() };
        let mut image = open(&path, Role::Disk, &access).unwrap().image;
        image.write(512, &[1; 512]).unwrap();
        image.flush().unwrap();
        assert_eq!(read(&mut image, 511, 2), [6, 1]);
        assert_eq!(std::fs::read(&below).unwrap(), vec![6; 1 << 20]);
        drop(image);
        let outside = folder.0.join("outside.qcow2");
        create(&outside, Some(("/etc/hostname", "raw")));
        assert!(error(&outside, Role::Disk, &access).contains("which you did not name"));
        // Another user of the file below may read it, but not write it.
        let held = open(&path, Role::Disk, &access).unwrap();
        assert!(error(&below, Role::Disk, &Access::default()).contains("in use by another machine"));
        drop(held);
    }

    #[test]
    fn damage_is_a_sentence() {
        let folder = Folder::new("damage");
        let path = folder.0.join("disk.qcow2");
        create(&path, None);
        let good = std::fs::read(&path).unwrap();
        let mut state = 1u64;
        let mut refused = 0;
        for round in 0..2_000 {
            let mut bytes = good.clone();
            for _ in 0..=round % 4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = 4 + (state >> 33) as usize % if round % 3 == 0 { good.len() - 4 } else { 108 };
                bytes[at] = (state >> 20) as u8;
            }
            std::fs::write(&path, &bytes).unwrap();
            match open(&path, Role::Disk, &Access::default()) {
                Ok(mut opened) => {
                    let mut sector = [0; 512];
                    // Whether it can be read does not matter here, only that nothing breaks.
                    drop(opened.image.read(0, &mut sector));
                    drop(opened.image.write(opened.image.len().saturating_sub(512), &sector));
                }
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 100, "{refused}");
    }
}
