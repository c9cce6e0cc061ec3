//! A floppy of 1.44 MB with a FAT12 file system whose reserved sectors hold a boot loader, as FAT: General Overview of
//! On-Disk Format has it.

const SECTOR: usize = 512;
const SECTORS: u16 = 2880;
const FAT_SECTORS: usize = 9;
const ROOT_ENTRIES: usize = 112;

/// A floppy that starts with `boot`, of which the first sector's parameter block is filled in here and the rest lies in
/// the sectors behind it. `files` are in the folder `BOOT/GRUB`; names as in directory entries: 8 and 3 characters.
#[must_use]
pub fn floppy(boot: &[u8], files: &[(&[u8; 11], &[u8])]) -> Vec<u8> {
    let reserved = boot.len().div_ceil(SECTOR);
    let mut image = vec![0; usize::from(SECTORS) * SECTOR];
    image[..boot.len()].copy_from_slice(boot);
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(11, &(SECTOR as u16).to_le_bytes());
    put(13, &[1]); // sectors in a cluster
    put(14, &(reserved as u16).to_le_bytes());
    put(16, &[2]); // FATs
    put(17, &(ROOT_ENTRIES as u16).to_le_bytes());
    put(19, &SECTORS.to_le_bytes());
    put(21, &[0xf0]);
    put(22, &(FAT_SECTORS as u16).to_le_bytes());
    put(24, &[18, 0, 2, 0]); // sectors on a track, heads
    put(54, b"FAT12   ");

    let root = (reserved + 2 * FAT_SECTORS) * SECTOR;
    let data = root + ROOT_ENTRIES * 32;
    let at_cluster = |cluster: usize| data + (cluster - 2) * SECTOR;
    let entry = |name: &[u8; 11], folder: bool, cluster: usize, len: usize| {
        let mut e = [0; 32];
        e[..11].copy_from_slice(name);
        e[11] = if folder { 0x10 } else { 0x20 };
        e[26..28].copy_from_slice(&(cluster as u16).to_le_bytes());
        e[28..32].copy_from_slice(&(len as u32).to_le_bytes());
        e
    };
    // Cluster 2 is BOOT, 3 is BOOT/GRUB, the files follow.
    let mut chain = vec![0xff0, 0xfff, 0xfff, 0xfff];
    put(root, &entry(b"BOOT       ", true, 2, 0));
    put(at_cluster(2), &[entry(b".          ", true, 2, 0), entry(b"..         ", true, 0, 0)].concat());
    put(at_cluster(2) + 64, &entry(b"GRUB       ", true, 3, 0));
    let mut folder = [entry(b".          ", true, 3, 0), entry(b"..         ", true, 2, 0)].concat();
    for (name, bytes) in files {
        let first = chain.len();
        folder.extend(entry(name, false, first, bytes.len()));
        put(at_cluster(first), bytes);
        let clusters = bytes.len().div_ceil(SECTOR).max(1);
        chain.extend((first + 1..first + clusters).map(|next| next as u16));
        chain.push(0xfff);
    }
    assert!(folder.len() <= SECTOR && at_cluster(chain.len()) <= image.len());
    image[at_cluster(3)..][..folder.len()].copy_from_slice(&folder);
    for fat in 0..2 {
        let start = (reserved + fat * FAT_SECTORS) * SECTOR;
        for (i, link) in chain.iter().enumerate() {
            let at = start + i * 3 / 2;
            let shift = 4 * (i % 2);
            image[at] |= (link << shift) as u8;
            image[at + 1] |= (link << shift >> 8) as u8;
        }
    }
    image
}
