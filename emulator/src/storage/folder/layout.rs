//! Where things lie on the disk that shows a folder: Microsoft's FAT specification (fatgen103), FAT16 and FAT32.

use std::ops::Range;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// First sector of the partition, behind one track.
const PARTITION: u64 = 63;
/// Sectors of the FAT16 disk: 1024 cylinders of 16 heads and 63 sectors, the most that every BIOS and DOS can reach.
const SMALL: u64 = 1024 * 16 * 63;
/// Clusters in use up to which the FAT16 disk is taken: some 60 MiB stay free.
const SMALL_USED: u64 = 56_000;
/// Room that a FAT32 disk leaves beyond twice the folder's size, in sectors.
const ROOM: u64 = 2 << 21;
/// Bytes of a directory entry.
pub const ENTRY: usize = 32;
/// Entries of a FAT16 disk's root: the folder's own and these.
const ROOT_ROOM: usize = 512;
/// Most entries of such a root.
pub const ROOT_MOST: usize = 8192;

/// The layout of one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Entries of the table have 32 bits, and the root is a cluster chain.
    pub fat32: bool,
    /// Sectors of the whole disk.
    pub sectors: u64,
    /// Sectors of a cluster.
    pub per_cluster: u64,
    /// Sectors before the first table.
    reserved: u64,
    /// Sectors of a table, of which there are two.
    table: u64,
    /// Sectors of a FAT16 root.
    root: u64,
    /// Clusters, which have the numbers from 2 on.
    pub clusters: u32,
}

impl Layout {
    /// A disk for directories and files of these sizes in bytes, and `root` entries of 32 bytes in the root.
    /// `None` if FAT32 has no room for them.
    pub fn of(sizes: &[u64], root: usize) -> Option<Self> {
        let used = |per_cluster: u64| sizes.iter().map(|size| size.div_ceil(per_cluster * SECTOR)).sum::<u64>();
        if used(16) <= SMALL_USED && root + ROOT_ROOM <= ROOT_MOST {
            let root = ((root + ROOT_ROOM) * ENTRY).div_ceil(SECTOR as usize) as u64;
            return Self::with(false, SMALL, 16, root);
        }
        for per_cluster in [8, 16, 32, 64] {
            let sectors = PARTITION + ROOM + used(per_cluster) * per_cluster * 2;
            if sectors <= per_cluster << 21 || (per_cluster == 64 && sectors < 1 << 31) {
                return Self::with(true, sectors, per_cluster, 0);
            }
        }
        None
    }

    fn with(fat32: bool, sectors: u64, per_cluster: u64, root: u64) -> Option<Self> {
        let (reserved, width) = if fat32 { (32, 4) } else { (1, 2) };
        let room = sectors - PARTITION - reserved - root;
        // A table that has an entry for every cluster there could be has one for each that there is.
        let table = ((room / per_cluster + 2) * width).div_ceil(SECTOR);
        let clusters = u32::try_from((room - 2 * table) / per_cluster).ok()?;
        Some(Self { fat32, sectors, per_cluster, reserved, table, root, clusters })
    }

    /// Bytes of a cluster.
    pub fn cluster_bytes(&self) -> usize {
        (self.per_cluster * SECTOR) as usize
    }

    fn tables_start(&self) -> u64 {
        PARTITION + self.reserved
    }

    fn data_start(&self) -> u64 {
        self.tables_start() + 2 * self.table + self.root
    }

    /// The first table, in bytes of the disk.
    pub fn table(&self) -> Range<u64> {
        let start = self.tables_start() * SECTOR;
        start..start + self.table * SECTOR
    }

    /// Both tables.
    pub fn tables(&self) -> Range<u64> {
        self.table().start..self.table().start + 2 * self.table * SECTOR
    }

    /// The root of a FAT16 disk; empty with FAT32.
    pub fn root(&self) -> Range<u64> {
        self.tables().end..self.data_start() * SECTOR
    }

    /// Where a cluster's bytes are, if there is such a cluster.
    pub fn cluster(&self, number: u32) -> Option<u64> {
        let index = number.checked_sub(2).filter(|index| *index < self.clusters)?;
        Some((self.data_start() + u64::from(index) * self.per_cluster) * SECTOR)
    }

    /// The clusters that bytes of the disk belong to.
    pub fn clusters_of(&self, bytes: Range<u64>) -> Range<u32> {
        let start = self.data_start() * SECTOR;
        let size = self.per_cluster * SECTOR;
        let number = |at: u64| 2 + (at / size).min(self.clusters.into()) as u32;
        if bytes.end <= start {
            return 0..0;
        }
        number(bytes.start.saturating_sub(start))..number((bytes.end - start).next_multiple_of(size))
    }

    /// The first cluster of a FAT32 root.
    pub const ROOT_CLUSTER: u32 = 2;

    /// Reads an entry of a table: the next cluster.
    pub fn next(&self, table: &[u8], cluster: u32) -> u32 {
        let at = cluster as usize;
        if self.fat32 {
            table.get(at * 4..at * 4 + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) & 0x0fff_ffff)
        } else {
            table.get(at * 2..at * 2 + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]).into())
        }
    }

    /// Whether an entry ends a chain.
    pub fn is_end(&self, entry: u32) -> bool {
        entry >= if self.fat32 { 0x0fff_fff8 } else { 0xfff8 }
    }

    /// Writes a chain of consecutive clusters into a table.
    pub fn chain(&self, table: &mut [u8], clusters: Range<u32>) {
        for cluster in clusters.clone() {
            let next = if cluster + 1 == clusters.end { 0x0fff_ffff } else { cluster + 1 };
            self.set(table, cluster, next);
        }
    }

    fn set(&self, table: &mut [u8], cluster: u32, value: u32) {
        let at = cluster as usize;
        if self.fat32 {
            table[at * 4..at * 4 + 4].copy_from_slice(&value.to_le_bytes());
        } else {
            table[at * 2..at * 2 + 2].copy_from_slice(&(value as u16).to_le_bytes());
        }
    }

    /// A table without files.
    pub fn empty_table(&self) -> Vec<u8> {
        let mut table = vec![0; (self.table * SECTOR) as usize];
        self.set(&mut table, 0, 0x0fff_fff8);
        self.set(&mut table, 1, 0x0fff_ffff);
        table
    }

    /// What lies before the tables: the partition table and the boot sector with its kin.
    pub fn head(&self) -> Vec<u8> {
        let mut head = vec![0; (self.tables_start() * SECTOR) as usize];
        let size = (self.sectors - PARTITION) as u32;
        // Not bootable: int 18h.
        head[..4].copy_from_slice(&[0xcd, 0x18, 0xeb, 0xfe]);
        let kind = if self.fat32 { 0x0c } else { 0x06 };
        // Cylinder 0, head 1, sector 1; the end is that of the FAT16 disk, or beyond what three bytes can say.
        head[0x1be..0x1c6].copy_from_slice(&[0, 1, 1, 0, kind, if self.fat32 { 0xfe } else { 15 }, 0xff, 0xff]);
        head[0x1c6..0x1ca].copy_from_slice(&(PARTITION as u32).to_le_bytes());
        head[0x1ca..0x1ce].copy_from_slice(&size.to_le_bytes());
        head[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);

        let mut boot = vec![0; SECTOR as usize];
        let mut put = |at: usize, bytes: &[u8]| boot[at..at + bytes.len()].copy_from_slice(bytes);
        let code = if self.fat32 { 90 } else { 62 };
        put(0, &[0xeb, code - 2, 0x90]);
        put(3, b"RING86  ");
        put(11, &(SECTOR as u16).to_le_bytes());
        put(13, &[self.per_cluster as u8]);
        put(14, &(self.reserved as u16).to_le_bytes());
        put(16, &[2]);
        put(17, &((self.root * SECTOR) as usize / ENTRY).to_le_bytes()[..2]);
        put(21, &[0xf8]);
        put(24, &63u16.to_le_bytes());
        put(26, &if self.fat32 { 255u16 } else { 16 }.to_le_bytes());
        put(28, &(PARTITION as u32).to_le_bytes());
        put(32, &size.to_le_bytes());
        let mut extended = 36;
        if self.fat32 {
            put(36, &(self.table as u32).to_le_bytes());
            put(44, &Self::ROOT_CLUSTER.to_le_bytes());
            put(48, &[1, 0, 6, 0]);
            extended = 64;
        } else {
            put(22, &(self.table as u16).to_le_bytes());
        }
        put(extended, &[0x80, 0, 0x29, 0x86, 0x36, 0x38, 0x52]);
        put(extended + 7, VOLUME);
        put(extended + 18, if self.fat32 { b"FAT32   " } else { b"FAT16   " });
        put(usize::from(code), &[0xcd, 0x18, 0xeb, 0xfe]);
        put(510, &[0x55, 0xaa]);
        let at = (PARTITION * SECTOR) as usize;
        let sector = SECTOR as usize;
        head[at..at + sector].copy_from_slice(&boot);
        if self.fat32 {
            let mut info = vec![0; sector];
            info[..4].copy_from_slice(b"RRaA");
            info[484..488].copy_from_slice(b"rrAa");
            // How many clusters are free, and where to look first, are unknown.
            info[488..496].fill(0xff);
            info[510..].copy_from_slice(&[0x55, 0xaa]);
            head[at + sector..at + 2 * sector].copy_from_slice(&info);
            head[at + 6 * sector..at + 7 * sector].copy_from_slice(&boot);
            head[at + 7 * sector..at + 8 * sector].copy_from_slice(&info);
        }
        head
    }

    /// The bytes of the disk that say how it is laid out, which a guest that formats it changes.
    pub fn parameters(&self) -> Vec<Range<u64>> {
        let boot = PARTITION * SECTOR;
        vec![0x1c2..0x1c3, 0x1c6..0x1ce, boot + 11..boot + if self.fat32 { 48 } else { 36 }]
    }
}

/// The name of the volume.
pub const VOLUME: &[u8; 11] = b"RING86 HOST";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cluster_has_its_entry_and_its_place() {
        for sizes in [vec![], vec![300 << 20], vec![900 << 20], vec![40 << 30]] {
            let layout = Layout::of(&sizes, 3).expect("there is room");
            let width = if layout.fat32 { 4 } else { 2 };
            assert!(layout.empty_table().len() as u64 / width >= u64::from(layout.clusters) + 2);
            let last = layout.cluster(layout.clusters + 1).expect("the last one");
            assert!(last + layout.cluster_bytes() as u64 <= layout.sectors * SECTOR);
            assert_eq!(layout.cluster(layout.clusters + 2), None);
            assert_eq!(layout.cluster(1), None);
            assert_eq!(layout.clusters_of(last..last + 1), layout.clusters + 1..layout.clusters + 2);
            assert_eq!(layout.clusters_of(layout.root()), 0..0);
            // What the number of clusters says is what software takes the kind of table from.
            assert_eq!(layout.clusters >= 65_525, layout.fat32, "{sizes:?}");
            assert!(layout.clusters >= 4085);
        }
        assert_eq!(Layout::of(&[3 << 40], 3), None);
    }
}
