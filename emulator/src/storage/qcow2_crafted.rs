//! Crafted qcow2 images: whatever a header or a table says, opening one gives an image or a sentence, and a guest's
//! accesses give data or an I/O error; never a panic, a hang, or memory without bound (CVE-2014-0142 to 0147).

use super::{Access, Role, open};
use imago::file::File as ImageFile;
use imago::qcow2::Qcow2;
use imago::{FormatAccess, FormatCreateBuilder};
use ring86_devices::BlockMedia;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const SIZE: u64 = 4 << 20;
/// Offsets of the header's numbers, with their sizes: all of version 3's.
const FIELDS: [(usize, usize); 17] = [
    (4, 4),
    (8, 8),
    (16, 4),
    (20, 4),
    (24, 8),
    (32, 4),
    (36, 4),
    (40, 8),
    (48, 8),
    (56, 4),
    (60, 4),
    (64, 8),
    (72, 8),
    (80, 8),
    (88, 8),
    (96, 4),
    (100, 4),
];

/// An image with some data in it, as bytes.
fn image(folder: &TempDir) -> Vec<u8> {
    let path = folder.path().join("good.qcow2");
    fs::write(&path, b"").expect("writable");
    let file = || {
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).expect("it is ours");
        ImageFile::try_from(file).expect("it is a file")
    };
    FormatCreateBuilder::create(Qcow2::<ImageFile>::create_builder(file()).size(SIZE)).expect("an image can be made");
    let image = FormatAccess::new(Qcow2::<ImageFile>::open_image(file(), true).expect("it is an image"));
    for at in [0, 70_000, SIZE - 512] {
        image.write([0x5A_u8; 512].as_slice(), at).expect("writable");
    }
    image.flush().expect("writable");
    image.sync().expect("writable");
    drop(image);
    fs::read(&path).expect("it is there")
}

fn put(bytes: &mut [u8], at: usize, size: usize, value: u64) {
    if let Some(place) = bytes.get_mut(at..at + size) {
        place.copy_from_slice(&value.to_be_bytes()[8 - size..]);
    }
}

fn field(bytes: &[u8], at: usize) -> usize {
    bytes[at..at + 8].iter().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

/// Opens and uses an image. The sentence, if it is refused.
fn try_image(path: &Path, bytes: &[u8]) -> Option<String> {
    fs::write(path, bytes).expect("writable");
    let mut image = match open(path, Role::Disk, &Access::default()) {
        Ok(opened) => opened.image,
        Err(error) => return Some(error.to_string()),
    };
    let len = image.len();
    let mut sector = [0; 512];
    // Errors are what the drive reports to the guest.
    for at in [0, 65_536, 70_144, SIZE - 512, len.saturating_sub(512), len / 2 / 512 * 512] {
        drop(image.read(at, &mut sector));
        drop(image.write(at, &sector));
    }
    drop(image.flush());
    // No write of these can make the file large, sparse as it may be.
    let size = fs::metadata(path).expect("it is there").len();
    assert!(size < bytes.len() as u64 + (64 << 20), "the file grew to {size} bytes");
    None
}

/// Memory that this process uses, in bytes; 0 where the host does not say.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

#[test]
fn headers_that_lie_are_a_sentence_or_an_image() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (good, path) = (image(&folder), folder.path().join("disk.qcow2"));
    assert_eq!(try_image(&path, &good), None);
    let before = resident();
    let mut refused = 0;
    for (at, size) in FIELDS {
        for value in [
            0,
            1,
            2,
            3,
            8,
            9,
            21,
            22,
            31,
            63,
            64,
            0x1000,
            0x10_0000,
            0x7fff_ffff,
            0xffff_ffff,
            1 << 40,
            1 << 62,
            u64::MAX,
        ] {
            let mut bytes = good.clone();
            put(&mut bytes, at, size, value);
            if let Some(error) = try_image(&path, &bytes) {
                assert!(error.contains("disk.qcow2") && error.len() < 600 && !error.contains('\n'), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused} refused");
    let growth = resident().saturating_sub(before);
    assert!(growth < 256 << 20, "{growth} bytes more");
    // Cut short anywhere.
    for len in (0..good.len()).step_by(4096 - 7) {
        try_image(&path, &good[..len]);
    }
}

#[test]
fn tables_that_lie_are_an_error_for_the_guest_at_worst() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (good, path) = (image(&folder), folder.path().join("disk.qcow2"));
    let level_1 = field(&good, 40);
    let counts = field(&good, 48);
    let offset = |entry: usize| entry & 0x00ff_ffff_ffff_fe00;
    let (level_2, block) = (offset(field(&good, level_1)), offset(field(&good, counts)));
    assert!(level_2 > 0 && block > 0);
    let len = good.len() as u64;
    let values = [
        0,
        1,
        // Over the header, the tables themselves, the end, and far away; in use or not, compressed, zero, misaligned.
        1 << 63,
        1 << 63 | level_1 as u64,
        1 << 63 | level_2 as u64,
        1 << 63 | counts as u64,
        1 << 63 | block as u64,
        1 << 63 | len,
        1 << 63 | 1 << 50,
        1 << 63 | 0x200,
        1 << 62 | 0x3fff_ffff_ffff_ffff,
        1 << 62 | len,
        1 << 62,
        u64::MAX,
        0x00ff_ffff_ffff_fe00,
    ];
    for table in [level_1, level_2, counts, block] {
        for index in [0, 1, 7] {
            for value in values {
                let mut bytes = good.clone();
                put(&mut bytes, table + 8 * index, 8, value);
                try_image(&path, &bytes);
            }
        }
    }
    // Several at once, at random.
    let mut random = 0x2545_F491_4F6C_DD1Du64;
    let mut next = move |bound: u64| {
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        (random >> 8) % bound
    };
    for _ in 0..300 {
        let mut bytes = good.clone();
        for _ in 0..1 + next(6) {
            let table = [0, level_1, level_2, counts, block][next(5) as usize];
            let value = [next(256), values[next(15) as usize], next(u64::MAX)][next(3) as usize];
            put(&mut bytes, table + 8 * next(14) as usize, 8, value);
        }
        try_image(&path, &bytes);
    }
}
