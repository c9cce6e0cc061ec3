//! Checks a qcow2 image's header and reference counts before it is written to.
//!
//! Layout as in QEMU's `docs/interop/qcow2.txt`. The library that does the work trusts the counts: where they call the
//! image's own tables free, it would overwrite them, or look for room without end. So an image is refused whose counts
//! do not cover its tables.

use super::format::QCOW2_MAGIC;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Largest table of reference counts or of level 1, in bytes.
const MAX_TABLE: u64 = 32 << 20;
/// Bits of a table entry that are an offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

struct Image<'a> {
    file: &'a mut File,
    /// Clusters of the file, the last one perhaps in part.
    clusters: u64,
    cluster_bits: u32,
    /// Bits of a count.
    count_bits: u64,
    /// The table of blocks of counts.
    blocks: Vec<u64>,
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn read_at(file: &mut File, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len { Ok(bytes) } else { Err(bad("it is cut short")) }
}

/// Reads header and reference counts of `file`.
///
/// # Errors
/// What is wrong with them, or what the host says.
pub fn check(file: &mut File) -> io::Result<()> {
    let len = file.seek(SeekFrom::End(0))?;
    let header = read_at(file, 0, 104.min(len))?;
    if !header.starts_with(&QCOW2_MAGIC) {
        return Err(bad("it is none, since it does not begin with 'QFI' and FBh; use raw:FILE for a raw image"));
    }
    let field = |at: usize, size: usize| header.get(at..at + size).map(be).ok_or_else(|| bad("it is cut short"));
    let version = field(4, 4)?;
    let cluster_bits = u32::try_from(field(20, 4)?).map_err(io::Error::other)?;
    if !(2..=3).contains(&version) {
        return Err(bad("its version is neither 2 nor 3"));
    }
    if !(9..=21).contains(&cluster_bits) {
        return Err(bad("its clusters are smaller than 512 bytes or larger than 2 MiB"));
    }
    let order = if version == 3 { field(96, 4)? } else { 4 };
    if order > 6 {
        return Err(bad("its reference counts have more than 64 bits"));
    }
    let level_1 = (field(40, 8)?, field(36, 4)? * 8);
    let table = (field(48, 8)?, field(56, 4)? << cluster_bits);
    for (offset, bytes) in [level_1, table] {
        let aligned = offset & ((1 << cluster_bits) - 1) == 0;
        let whole = offset.checked_add(bytes).is_some_and(|end| end <= len.next_multiple_of(1 << cluster_bits));
        if !aligned || !whole || bytes > MAX_TABLE {
            return Err(bad("a table of its header lies outside the file"));
        }
    }
    let blocks = read_at(file, table.0, table.1)?.chunks_exact(8).map(|entry| be(entry) & OFFSET).collect();
    let clusters = len.div_ceil(1 << cluster_bits);
    let mut image = Image { file, clusters, cluster_bits, count_bits: 1 << order, blocks };
    image.require(0, 1)?;
    image.require(level_1.0, level_1.1)?;
    image.require(table.0, table.1)?;
    for i in 0..image.blocks.len() {
        match image.blocks[i] {
            0 if (i as u64) < image.clusters.div_ceil(image.counts_in_block()) => {
                return Err(bad("reference counts are missing"));
            }
            0 => {}
            offset => image.require(offset, 1 << cluster_bits)?,
        }
    }
    Ok(())
}

impl Image<'_> {
    fn counts_in_block(&self) -> u64 {
        (8 << self.cluster_bits) / self.count_bits
    }

    /// All clusters of these bytes lie in the file and are in use.
    fn require(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        let first = offset >> self.cluster_bits;
        let end = first + bytes.div_ceil(1 << self.cluster_bits);
        if offset & ((1 << self.cluster_bits) - 1) != 0 || end > self.clusters {
            return Err(bad("a table lies outside the file"));
        }
        for cluster in first..end {
            if self.count(cluster)? == 0 {
                return Err(bad("a table of its own counts as free"));
            }
        }
        Ok(())
    }

    /// The reference count of a cluster.
    fn count(&mut self, cluster: u64) -> io::Result<u64> {
        let (block, index) = (cluster / self.counts_in_block(), cluster % self.counts_in_block());
        let block = usize::try_from(block).ok().and_then(|i| self.blocks.get(i).copied()).unwrap_or(0);
        if block == 0 {
            return Ok(0);
        }
        let bit = index * self.count_bits;
        let bytes = read_at(self.file, block.saturating_add(bit / 8), (self.count_bits / 8).max(1))?;
        let mask = if self.count_bits < 8 { (1 << self.count_bits) - 1 } else { u64::MAX };
        Ok(be(&bytes) >> (bit % 8) & mask)
    }
}
