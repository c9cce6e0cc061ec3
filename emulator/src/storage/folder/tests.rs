//! The disk as other software sees it: the `fatfs` crate stands for the guest.

use super::layout::SECTOR;
use super::*;
use ring86_devices::capability::Shared;
use std::io::Write;
use std::time::Duration;
use tempfile::TempDir;

/// The partition of a disk, as `fatfs` wants it.
struct Partition {
    disk: Shared<FolderDisk>,
    at: u64,
}

const START: u64 = 63 * SECTOR;

impl Read for Partition {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.lock().read(START + self.at, buffer)?;
        self.at += buffer.len() as u64;
        Ok(buffer.len())
    }
}

impl Write for Partition {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.disk.lock().write(START + self.at, data)?;
        self.at += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Partition {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.wrapping_add_signed(by),
            SeekFrom::End(by) => (self.disk.lock().len() - START).wrapping_add_signed(by),
        };
        Ok(self.at)
    }
}

type Guest = fatfs::FileSystem<Partition>;

/// A guest mounts the disk.
fn mount(disk: &Shared<FolderDisk>) -> Guest {
    let partition = Partition { disk: disk.clone(), at: 0 };
    fatfs::FileSystem::new(partition, fatfs::FsOptions::new()).expect("it has a file system")
}

/// Does something as the guest; then the machine ends.
fn with_guest(folder: &Path, act: impl FnOnce(&Guest)) {
    let disk = Shared::new(FolderDisk::open(folder, false).expect("the folder can be a disk"));
    let guest = mount(&disk);
    act(&guest);
    guest.unmount().expect("the tables can be written");
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (path, bytes) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
    folder
}

fn get(guest: &Guest, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    guest
        .root_dir()
        .open_file(path)
        .unwrap_or_else(|e| panic!("{path}: {e}"))
        .read_to_end(&mut bytes)
        .expect("readable");
    bytes
}

fn put(guest: &Guest, path: &str, bytes: &[u8]) {
    let mut file = guest.root_dir().create_file(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    file.truncate().expect("writable");
    file.write_all(bytes).expect("writable");
    file.flush().expect("writable");
}

/// All files below a folder with their contents.
fn files(folder: &TempDir) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(at).expect("readable") {
            let path = entry.expect("readable").path();
            let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                found.insert(format!("{name}/"), Vec::new());
                walk(root, &path, found);
            } else if !path.is_symlink() {
                found.insert(name, fs::read(&path).expect("readable"));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder.path(), folder.path(), &mut found);
    found
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).flat_map(|i| (i.wrapping_mul(0x9E37_79B9)).to_le_bytes()).take(len).collect()
}

#[test]
fn a_guest_reads_what_the_folder_holds() {
    let long = "A rather long name, with spaces & more.text";
    let big = pattern(100_000);
    let folder = folder(&[("README.TXT", b"hello"), (long, &big), ("src/deep/x.rs", b"fn"), ("empty", b"")]);
    with_guest(folder.path(), |guest| {
        assert_eq!(get(guest, "README.TXT"), b"hello");
        assert!(get(guest, long) == big);
        assert!(get(guest, "src/deep/x.rs") == b"fn" && get(guest, "empty").is_empty());
        let names: Vec<_> = guest.root_dir().iter().map(|e| e.expect("an entry").file_name()).collect();
        assert_eq!(names, [long, "README.TXT", "empty", "src"]);
        assert_eq!(guest.fat_type(), fatfs::FatType::Fat16);
    });
    assert_eq!(files(&folder).len(), 6);
}

#[test]
fn what_a_guest_writes_is_in_the_folder() {
    let folder = folder(&[("a.txt", b"old"), ("sub/keep.txt", b"kept"), ("big.bin", &pattern(50_000))]);
    let big = pattern(77_777);
    with_guest(folder.path(), |guest| {
        put(guest, "a.txt", b"new");
        put(guest, "NEW.TXT", b"made");
        guest.root_dir().create_dir("Made here").expect("a folder");
        put(guest, "Made here/large file.bin", &big);
        let mut file = guest.root_dir().open_file("big.bin").expect("it is there");
        file.seek(SeekFrom::Start(20_000)).expect("inside");
        file.write_all(b"PATCH").expect("writable");
    });
    let files = files(&folder);
    let mut patched = pattern(50_000);
    patched[20_000..20_005].copy_from_slice(b"PATCH");
    assert_eq!(files["a.txt"], b"new");
    assert_eq!(files["NEW.TXT"], b"made");
    assert!(files["Made here/large file.bin"] == big && files["big.bin"] == patched);
    assert_eq!(files["sub/keep.txt"], b"kept");
    assert_eq!(files.len(), 7, "{:?}", files.keys());
}

#[test]
fn deleted_files_are_kept_and_renamed_ones_move() {
    let folder = folder(&[("gone.txt", b"precious"), ("old name.txt", b"same"), ("dir/in/x", b"x"), ("dir/y", b"y")]);
    with_guest(folder.path(), |guest| {
        let root = guest.root_dir();
        root.remove("gone.txt").expect("it is there");
        root.rename("old name.txt", &root, "new name.txt").expect("it is there");
        root.rename("dir", &root, "moved").expect("it is there");
        put(guest, "short-lived", b"1");
        root.remove("short-lived").expect("it is there");
        assert_eq!(get(guest, "moved/in/x"), b"x");
    });
    let names: Vec<_> = files(&folder).into_keys().collect();
    let kept = format!("{}/gone.txt", names::KEPT);
    let expected = [".ring86-deleted/", &kept, "moved/", "moved/in/", "moved/in/x", "moved/y", "new name.txt"];
    assert_eq!(names, expected);
    assert_eq!(files(&folder)[&kept], b"precious");
}

#[test]
fn flushes_bring_the_folder_up_to_date_under_way() {
    let folder = folder(&[("a", &pattern(30_000)), ("b", b"b")]);
    let disk = Shared::new(FolderDisk::open(folder.path(), false).expect("a disk"));
    for round in 0..3u8 {
        let guest = mount(&disk);
        let mut file = guest.root_dir().open_file("a").expect("it is there");
        file.seek(SeekFrom::Start(10_000)).expect("inside");
        file.write_all(&[round; 10]).expect("writable");
        drop(file);
        put(&guest, "c", &[round]);
        assert!(get(&guest, "a")[9_990..10_000] == pattern(30_000)[9_990..10_000]);
        let name = format!("b{round}");
        let before = if round == 0 { "b".to_owned() } else { format!("b{}", round - 1) };
        guest.root_dir().rename(&before, &guest.root_dir(), &name).expect("it is there");
        assert_eq!(get(&guest, &name), b"b");
        guest.unmount().expect("the tables can be written");
        disk.lock().flush().expect("the folder takes it");
        let files = files(&folder);
        assert_eq!((&files["a"][10_000..10_010], files["a"].len()), (&[round; 10][..], 30_000));
        assert_eq!((&files["c"][..], &files[&name][..]), (&[round][..], &b"b"[..]));
        assert_eq!(files.len(), 3, "{:?}", files.keys());
    }
}

#[test]
fn nothing_of_the_hosts_is_overwritten_or_left() {
    let folder = folder(&[("both.txt", b"first"), ("a.txt", b"a")]);
    let outside = self::folder(&[("secret", b"secret")]);
    std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).expect("a link");
    std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("secret")).expect("a link");
    with_guest(folder.path(), |guest| {
        let names: Vec<_> = guest.root_dir().iter().map(|e| e.expect("an entry").file_name()).collect();
        assert_eq!(names, ["a.txt", "both.txt"]);
        put(guest, "both.txt", b"the guest's");
        put(guest, "link", b"no way out");
        put(guest, "secret", b"mine");
        put(guest, "made.txt", b"the guest's");
        std::thread::sleep(Duration::from_millis(20));
        fs::write(folder.path().join("both.txt"), b"the host's").expect("writable");
        fs::write(folder.path().join("made.txt"), b"the host's").expect("writable");
    });
    let files = files(&folder);
    assert_eq!((&files["both.txt"][..], &files["made.txt"][..]), (&b"the host's"[..], &b"the host's"[..]));
    assert_eq!(files["both.txt (guest)"], b"the guest's");
    assert_eq!((&files["made.txt (guest)"][..], &files["secret (guest)"][..]), (&b"the guest's"[..], &b"mine"[..]));
    assert_eq!(files["link (guest)"], b"no way out");
    assert_eq!(self::files(&outside).into_iter().collect::<Vec<_>>(), [("secret".to_owned(), b"secret".to_vec())]);
}

#[test]
fn a_damaged_or_hostile_disk_harms_nothing() {
    let content: &[(&str, &[u8])] = &[("a.txt", b"aaaa"), ("sub/b.txt", b"bbbb"), ("sub/c.txt", b"cccc")];
    let mut random = 0x2545_F491_4F6C_DD1Du64;
    let mut next = move |bound: u64| {
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        (random >> 8) % bound
    };
    for round in 0..300 {
        let folder = folder(content);
        {
            let mut disk = FolderDisk::open(folder.path(), false).expect("a disk");
            let (table, root) = (disk.layout.table(), disk.layout.root());
            let sub = disk.layout.cluster(3).expect("a cluster");
            for _ in 0..1 + next(40) {
                let place = match next(3) {
                    0 => table.start + next(64),
                    1 => root.start + next(160),
                    _ => sub + next(192),
                };
                disk.write(place, &[next(256) as u8]).expect("inside");
            }
            if round % 3 == 0 {
                // Names that lead out of the folder.
                let mut entry = [0x20; 32];
                entry[..11].copy_from_slice([b"../ESCAPETX", b"/ETC/X  TXT", b"..         "][round / 3 % 3]);
                disk.write(root.start + 32, &entry).expect("inside");
            }
            disk.flush().expect("what makes no sense is left alone");
        }
        // Every file of the host's still has its contents somewhere, or its name, if the damage looks like a change.
        let files = files(&folder);
        for (path, bytes) in content {
            let name = path.rsplit('/').next();
            let is_there = files.iter().any(|(now, text)| now.rsplit('/').next() == name || text == bytes);
            assert!(is_there, "round {round}: {path} is lost: {:?}", files.keys());
        }
    }
}

#[test]
fn a_formatted_disk_changes_nothing() {
    let folder = folder(&[("a.txt", b"a")]);
    let mut disk = FolderDisk::open(folder.path(), false).expect("a disk");
    disk.write(0, &[0; 512 * 100]).expect("inside");
    disk.write(disk.layout.root().start, &[0; 512]).expect("inside");
    disk.flush().expect("nothing to do");
    drop(disk);
    assert_eq!(files(&folder).into_keys().collect::<Vec<_>>(), ["a.txt"]);
}

#[test]
fn two_machines_and_files_are_refused() {
    let folder = folder(&[("a.txt", b"a")]);
    let _first = FolderDisk::open(folder.path(), false).expect("a disk");
    let error = |result: Result<FolderDisk>| result.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error(FolderDisk::open(folder.path(), false)).contains("in use by another machine"));
    assert!(FolderDisk::open(folder.path(), true).is_ok());
    assert!(error(FolderDisk::open(&folder.path().join("a.txt"), false)).contains("is no folder"));
    assert!(error(FolderDisk::open(&folder.path().join("b"), false)).contains("there is no such file"));
}

#[test]
fn what_does_not_fit_a_small_disk_gets_a_large_one() {
    let folder = folder(&[("a.txt", b"a")]);
    // Sparse, so that it costs the host nothing.
    for name in ["large-1", "large-2"] {
        File::create(folder.path().join(name)).and_then(|file| file.set_len(300 << 20)).expect("a sparse file");
    }
    with_guest(folder.path(), |guest| {
        assert_eq!(guest.fat_type(), fatfs::FatType::Fat32);
        assert_eq!(get(guest, "a.txt"), b"a");
        put(guest, "b.txt", b"b");
        guest.root_dir().remove("large-2").expect("it is there");
    });
    assert_eq!(fs::read(folder.path().join("b.txt")).expect("it is there"), b"b");
    assert_eq!(fs::metadata(folder.path().join(".ring86-deleted/large-2")).expect("it is kept").len(), 300 << 20);
}
