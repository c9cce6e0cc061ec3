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

#[test]
fn a_guest_cannot_change_the_format() {
    let folder = Folder::new("format");
    let path = folder.file("disk", &[0; 2048]);
    let magic = [&format::QCOW2_MAGIC[..], &[0; 508]].concat();
    let mut image = open(&path, Role::Disk, &Access::default()).unwrap().image;
    assert!(image.write(0, &magic).unwrap_err().to_string().contains("raw:FILE"));
    image.write(512, &magic).unwrap();
    assert_eq!(read(&mut image, 0, 4), [0; 4]);
    drop(image);
    let stated = PathBuf::from(format!("raw:{}", path.display()));
    let mut image = open(&stated, Role::Disk, &Access::default()).unwrap().image;
    image.write(0, &magic).unwrap();
    drop(image);
    // What is in the file now counts as qcow2 unless the user says otherwise.
    assert!(error(&path, Role::Disk, &Access::default()).contains("as a qcow2 image"));
    assert_eq!(open(&stated, Role::Disk, &Access::default()).unwrap().format, "raw");
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
