//! CD images with an El Torito boot record, as ECMA-119 and the El Torito specification have them: a root folder only.

const BLOCK: usize = 2048;
/// Blocks of the descriptors, tables and the root folder.
const ROOT: u32 = 21;
const CATALOGUE: u32 = 22;
const FIRST_FILE: u32 = 23;

/// How the boot image is started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// Its first sectors are loaded at 7C00h. It gets a boot information table, as ISOLINUX wants it.
    NoEmulation,
    /// It is a 1.44 MB floppy.
    Floppy,
    /// It is a hard disk with one partition.
    Disk,
}

fn both(value: u32) -> [u8; 8] {
    let (l, b) = (value.to_le_bytes(), value.to_be_bytes());
    [l[0], l[1], l[2], l[3], b[0], b[1], b[2], b[3]]
}

fn record(name: &[u8], block: u32, len: usize, is_folder: bool) -> Vec<u8> {
    let mut r = vec![0; 33];
    r[2..10].copy_from_slice(&both(block));
    r[10..18].copy_from_slice(&both(len as u32));
    r[18..25].copy_from_slice(&[126, 1, 1, 12, 0, 0, 0]);
    r[25] = u8::from(is_folder) << 1;
    r[28..32].copy_from_slice(&[1, 0, 0, 1]);
    r[32] = name.len() as u8;
    r.extend_from_slice(name);
    r.resize(r.len().next_multiple_of(2), 0);
    r[0] = r.len() as u8;
    r
}

/// A CD that starts the first of `files`.
#[must_use]
pub fn image(boot: Boot, files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut names: Vec<_> = files.iter().collect();
    names.sort_by_key(|(name, _)| *name);
    let mut block = FIRST_FILE;
    let mut root = [record(&[0], ROOT, BLOCK, true), record(&[1], ROOT, BLOCK, true)].concat();
    let mut data = Vec::new();
    let mut boot_block = 0;
    for (name, bytes) in names {
        let mut bytes = bytes.clone();
        root.extend(record(format!("{name};1").as_bytes(), block, bytes.len(), false));
        if *name == files[0].0 {
            boot_block = block;
            if boot == Boot::NoEmulation {
                let words = bytes[64..].chunks(4);
                let sum = words.fold(0u32, |sum, word| {
                    sum.wrapping_add(word.iter().rev().fold(0, |n, byte| n << 8 | u32::from(*byte)))
                });
                let table = [16, block, bytes.len() as u32, sum].map(u32::to_le_bytes).concat();
                bytes[8..24].copy_from_slice(&table);
                bytes[24..64].fill(0);
            }
        }
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        block += (bytes.len() / BLOCK) as u32;
        data.extend(bytes);
    }
    assert!(root.len() <= BLOCK);

    let mut image = vec![0; FIRST_FILE as usize * BLOCK];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    let primary = 16 * BLOCK;
    put(primary, b"\x01CD001\x01");
    put(primary + 8, &[b' '; 64]);
    put(primary + 40, b"RING86_TEST");
    put(primary + 80, &both(block));
    put(primary + 120, &[1, 0, 0, 1, 1, 0, 0, 1, 0, 8, 8, 0]);
    put(primary + 132, &both(10));
    put(primary + 140, &19u32.to_le_bytes());
    put(primary + 148, &20u32.to_be_bytes());
    put(primary + 156, &record(&[0], ROOT, BLOCK, true));
    put(primary + 190, &[b' '; 623]);
    put(primary + 881, &[1]);
    let boot_record = 17 * BLOCK;
    put(boot_record, b"\0CD001\x01EL TORITO SPECIFICATION");
    put(boot_record + 0x47, &CATALOGUE.to_le_bytes());
    put(18 * BLOCK, b"\xffCD001\x01");
    put(19 * BLOCK, &[1, 0, ROOT as u8, 0, 0, 0, 1, 0, 0, 0]);
    put(20 * BLOCK, &[1, 0, 0, 0, 0, ROOT as u8, 0, 1, 0, 0]);
    put(ROOT as usize * BLOCK, &root);
    let catalogue = CATALOGUE as usize * BLOCK;
    // The validation entry's words sum to zero.
    put(catalogue, &[1]);
    put(catalogue + 28, &[0xaa, 0x55, 0x55, 0xaa]);
    let (media, kind, sectors) = match boot {
        Boot::NoEmulation => (0, 0, 4),
        Boot::Floppy => (2, 0, 1),
        Boot::Disk => (4, data[(boot_block - FIRST_FILE) as usize * BLOCK + 0x1c2], 1),
    };
    put(catalogue + 32, &[0x88, media, 0, 0, kind, 0, sectors, 0]);
    put(catalogue + 40, &boot_block.to_le_bytes());
    image.extend(data);
    image
}
