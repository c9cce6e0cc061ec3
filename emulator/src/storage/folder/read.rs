//! From the disk, as the guest left it, to a tree of files. Nothing on it is believed: chains end, clusters belong to one
//! file, names are plain.

use super::layout::{ENTRY, Layout};
use super::names::{self, LongName};
use super::scan::DEPTH;
use ring86_devices::BlockMedia;
use std::collections::HashSet;
use std::io;

/// Most files and folders that are looked at.
const MOST: usize = 1_000_000;
/// Longest directory in bytes: what DOS and Windows can search.
const DIRECTORY: usize = 65_536 * ENTRY;

/// A file or folder on the disk.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path, with slashes.
    pub path: String,
    /// A folder.
    pub folder: bool,
    /// Bytes of a file.
    pub len: u32,
    /// Its clusters.
    pub chain: Vec<u32>,
}

/// What is on the disk.
#[derive(Debug, Default)]
pub struct Tree {
    /// Files and folders, each folder before what is in it.
    pub found: Vec<Found>,
    /// Paths that make no sense at the moment: the guest is in the middle of something, or has damaged them.
    pub broken: Vec<String>,
}

struct Reader<'a> {
    disk: &'a mut dyn BlockMedia,
    layout: &'a Layout,
    table: Vec<u8>,
    /// Which clusters belong to something already.
    claimed: Vec<bool>,
    tree: Tree,
}

impl Reader<'_> {
    /// The clusters from `first` on, `None` if they run in a circle, into another file or out of the disk.
    fn chain(&mut self, first: u32) -> Option<Vec<u32>> {
        let mut chain = Vec::new();
        let mut at = first;
        let whole = loop {
            match self.claimed.get_mut(at as usize) {
                Some(claimed) if !*claimed && at >= 2 => *claimed = true,
                _ => break false,
            }
            chain.push(at);
            at = self.layout.next(&self.table, at);
            if self.layout.is_end(at) {
                break true;
            }
        };
        whole.then_some(chain)
    }

    fn contents(&mut self, chain: &[u32]) -> io::Result<Vec<u8>> {
        let size = self.layout.cluster_bytes();
        let mut bytes = vec![0; chain.len() * size];
        for (cluster, part) in chain.iter().zip(bytes.chunks_exact_mut(size)) {
            let at = self.layout.cluster(*cluster).ok_or(io::ErrorKind::InvalidData)?;
            self.disk.read(at, part)?;
        }
        Ok(bytes)
    }

    fn directory(&mut self, bytes: &[u8], path: &str, depth: usize) -> io::Result<()> {
        let mut long = LongName::default();
        let mut seen = HashSet::new();
        for entry in bytes.chunks_exact(ENTRY) {
            match entry[0] {
                0 => break,
                0xe5 => {
                    long = LongName::default();
                    continue;
                }
                _ if entry[11] & 0x3f == names::LONG => {
                    long.take(entry);
                    continue;
                }
                _ => {}
            }
            let long = long.finish(entry);
            if entry[11] & 0x08 != 0 || entry[0] == b'.' {
                // The volume's name, and the two entries for a folder itself and the one above.
                continue;
            }
            let name = long.unwrap_or_else(|| names::of_short(entry));
            let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            if !names::is_plain(&name) || !seen.insert(name.to_uppercase()) || self.tree.found.len() >= MOST {
                self.tree.broken.push(below);
                continue;
            }
            let word = |at: usize| u32::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
            let high = if self.layout.fat32 { word(20) << 16 } else { 0 };
            let (first, len) = (high | word(26), word(30) << 16 | word(28));
            let folder = entry[11] & 0x10 != 0;
            let chain = if first == 0 && !folder { Some(Vec::new()) } else { self.chain(first) };
            let size = self.layout.cluster_bytes();
            // A file may have more clusters than it needs, never fewer.
            let sound = |chain: &Vec<u32>| {
                if folder { chain.len() * size <= DIRECTORY } else { (chain.len() * size) as u64 >= u64::from(len) }
            };
            let Some(chain) = chain.filter(sound).filter(|_| !folder || depth < DEPTH) else {
                self.tree.broken.push(below);
                continue;
            };
            let inside = if folder { Some(self.contents(&chain)?) } else { None };
            let len = if folder { 0 } else { len };
            self.tree.found.push(Found { path: below.clone(), folder, len, chain });
            if let Some(inside) = inside {
                self.directory(&inside, &below, depth + 1)?;
            }
        }
        Ok(())
    }
}

/// Reads the tree of `disk`.
///
/// # Errors
/// If the host cannot supply what the guest did not write.
pub fn tree(disk: &mut dyn BlockMedia, layout: &Layout) -> io::Result<Tree> {
    let bytes = layout.table();
    let mut table = vec![0; (bytes.end - bytes.start) as usize];
    disk.read(bytes.start, &mut table)?;
    let claimed = vec![false; layout.clusters as usize + 2];
    let mut reader = Reader { disk, layout, table, claimed, tree: Tree::default() };
    let root = if layout.fat32 {
        match reader.chain(Layout::ROOT_CLUSTER).filter(|chain| chain.len() * layout.cluster_bytes() <= DIRECTORY) {
            Some(chain) => reader.contents(&chain)?,
            None => {
                reader.tree.broken.push(String::new());
                Vec::new()
            }
        }
    } else {
        let bytes = layout.root();
        let mut root = vec![0; (bytes.end - bytes.start) as usize];
        reader.disk.read(bytes.start, &mut root)?;
        root
    };
    reader.directory(&root, "", 0)?;
    Ok(reader.tree)
}
