//! From the host's folder to a disk: what is in it, and where each thing lies.

use super::layout::{ENTRY, Layout, VOLUME};
use super::merge::{Known, Stamp};
use super::names;
use crate::config::date_of;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Deepest folder.
pub const DEPTH: usize = 32;
/// Most files and folders.
pub const MOST: usize = 100_000;
/// Longest file that a directory entry can name.
const LONGEST: u64 = u32::MAX as u64;
/// How many names of those left out are told.
const TOLD: usize = 5;

/// What a stretch of clusters holds before the guest writes to it.
pub enum Content {
    /// A directory.
    Bytes(Vec<u8>),
    /// The file with this index in [`Built::sources`].
    File(usize),
}

/// A file that clusters are read from.
pub struct Source {
    /// Where it is now, from the folder.
    pub path: PathBuf,
    /// Its first cluster.
    pub first: u32,
    /// How many it has.
    pub count: u32,
}

/// A disk made of a folder.
pub struct Built {
    /// Its layout.
    pub layout: Layout,
    /// The table, of which the disk has two copies.
    pub table: Vec<u8>,
    /// The root of a FAT16 disk.
    pub root: Vec<u8>,
    /// Contents by their first cluster.
    pub content: BTreeMap<u32, (u32, Content)>,
    /// The files behind them.
    pub sources: Vec<Source>,
    /// What the folder holds, by its path on the disk.
    pub known: HashMap<String, Known>,
}

struct Item {
    name: String,
    host: PathBuf,
    /// Of files: length.
    len: u64,
    stamp: Stamp,
    inside: Option<Vec<Item>>,
}

#[derive(Default)]
struct Scan {
    count: usize,
    left_out: Vec<String>,
    sizes: Vec<u64>,
}

impl Scan {
    fn leave_out(&mut self, path: &Path, why: &str) {
        self.left_out.push(format!("'{}' ({why})", path.display()));
    }

    fn folder(&mut self, root: &Path, at: &Path, depth: usize) -> Result<Vec<Item>> {
        let folder = root.join(at);
        let refused = |e| Error::io("read", &folder, &e);
        let mut names: Vec<_> =
            fs::read_dir(&folder).map_err(refused)?.collect::<std::io::Result<_>>().map_err(refused)?;
        names.sort_by_key(fs::DirEntry::file_name);
        let mut taken = HashSet::new();
        let mut items = Vec::new();
        for entry in names {
            let host = at.join(entry.file_name());
            if host == Path::new(names::KEPT) {
                continue;
            }
            let meta = entry.metadata().map_err(refused)?;
            let Some(name) = entry.file_name().to_str().filter(|name| names::is_plain(name)).map(str::to_owned) else {
                self.leave_out(&host, "its name is none for a FAT disk");
                continue;
            };
            if !meta.is_file() && !meta.is_dir() {
                self.leave_out(&host, "neither file nor folder");
                continue;
            }
            if meta.len() > LONGEST && meta.is_file() {
                self.leave_out(&host, "longer than 4 GiB");
                continue;
            }
            if meta.is_dir() && depth == DEPTH {
                self.leave_out(&host, "too deep");
                continue;
            }
            if !taken.insert(name.to_uppercase()) {
                self.leave_out(&host, "the same name in other case");
                continue;
            }
            self.count += 1;
            if self.count > MOST {
                return Err(Error::new(format!(
                    "'{}' holds more than {MOST} files and folders; give a smaller folder to fat:",
                    root.display()
                )));
            }
            let inside = if meta.is_dir() { Some(self.folder(root, &host, depth + 1)?) } else { None };
            let len = if meta.is_file() { meta.len() } else { 0 };
            self.sizes.push(if let Some(inside) = &inside { directory_size(inside, 2) } else { len });
            items.push(Item { name, host, len, stamp: Stamp::of(&meta), inside });
        }
        Ok(items)
    }
}

/// An upper bound of a directory's size in bytes: each name with its long entries, and some `more` entries.
fn directory_size(items: &[Item], more: usize) -> u64 {
    let entries: usize = items.iter().map(|item| 1 + item.name.encode_utf16().count().div_ceil(13)).sum();
    ((entries + more) * ENTRY) as u64
}

/// Makes a disk of the folder at `root`. Symbolic links, devices and names that FAT does not have are left out, which
/// the user is told.
///
/// # Errors
/// One sentence if the host refuses to read it, or it holds too much.
pub fn build(root: &Path) -> Result<Built> {
    let mut scan = Scan::default();
    let items = scan.folder(root, Path::new(""), 0)?;
    let root_entries = directory_size(&items, 1) as usize / ENTRY;
    scan.sizes.push((root_entries * ENTRY) as u64);
    let too_large =
        || Error::new(format!("'{}' holds more than a FAT disk can; give a smaller folder", root.display()));
    let layout = Layout::of(&scan.sizes, root_entries).ok_or_else(too_large)?;
    if !scan.left_out.is_empty() {
        let count = scan.left_out.len();
        let more = if count > TOLD { format!(" and {} more", count - TOLD) } else { String::new() };
        scan.left_out.truncate(TOLD);
        log::warn!("the guest does not see {}{more} of '{}'", scan.left_out.join(", "), root.display());
    }
    let mut build = Build {
        built: Built {
            table: layout.empty_table(),
            root: Vec::new(),
            content: BTreeMap::new(),
            sources: Vec::new(),
            known: HashMap::new(),
            layout,
        },
        next: 2,
    };
    let volume = entry(VOLUME, 0x08, 0, 0, UNIX_EPOCH);
    if build.built.layout.fat32 {
        // The root has the first clusters, whatever its length turns out to be.
        let clusters = build.take(directory_size(&items, 1));
        let bytes = build.directory(&items, String::new(), volume.to_vec(), 0);
        build.built.content.insert(clusters.start, (clusters.len() as u32, Content::Bytes(bytes)));
    } else {
        build.built.root = build.directory(&items, String::new(), volume.to_vec(), 0);
    }
    Ok(build.built)
}

struct Build {
    built: Built,
    /// First free cluster.
    next: u32,
}

impl Build {
    /// Clusters for `bytes`.
    fn take(&mut self, bytes: u64) -> std::ops::Range<u32> {
        let start = self.next;
        self.next += bytes.div_ceil(self.built.layout.cluster_bytes() as u64) as u32;
        self.built.layout.chain(&mut self.built.table, start..self.next);
        start..self.next
    }

    /// The entries of a directory after `bytes`, with everything below it.
    fn directory(&mut self, items: &[Item], path: String, mut bytes: Vec<u8>, own: u32) -> Vec<u8> {
        let mut taken = HashSet::new();
        for item in items {
            let (short, needs_long) = names::short(&item.name, &mut taken);
            let below = if path.is_empty() { item.name.clone() } else { format!("{path}/{}", item.name) };
            let size = item.inside.as_ref().map_or(item.len, |inside| directory_size(inside, 2));
            let clusters = self.take(size);
            let (first, count) = (if clusters.is_empty() { 0 } else { clusters.start }, clusters.len() as u32);
            let mut source = None;
            if let Some(inside) = &item.inside {
                let dots = [
                    entry(b".          ", 0x10, first, 0, item.stamp.time()),
                    entry(b"..         ", 0x10, own, 0, item.stamp.time()),
                ];
                let content = self.directory(inside, below.clone(), dots.concat(), first);
                self.built.content.insert(first, (count, Content::Bytes(content)));
            } else if count > 0 {
                source = Some(self.built.sources.len());
                self.built.sources.push(Source { path: item.host.clone(), first, count });
                self.built.content.insert(first, (count, Content::File(self.built.sources.len() - 1)));
            }
            if needs_long {
                bytes.extend(names::long_entries(&item.name, &short));
            }
            let attributes = if item.inside.is_some() { 0x10 } else { 0x20 };
            bytes.extend(entry(&short, attributes, first, item.len as u32, item.stamp.time()));
            let known = Known {
                host: item.host.clone(),
                folder: item.inside.is_some(),
                len: item.len as u32,
                chain: clusters.collect(),
                stamp: item.stamp,
                source,
                of_host: true,
            };
            self.built.known.insert(below, known);
        }
        bytes
    }
}

/// A directory entry.
fn entry(name: &[u8; 11], attributes: u8, cluster: u32, len: u32, time: SystemTime) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..11].copy_from_slice(name);
    entry[11] = attributes;
    let date = date_of(time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()));
    let year = date.year.clamp(1980, 2107);
    let day = (year - 1980) << 9 | u16::from(date.month) << 5 | u16::from(date.day);
    let clock = u16::from(date.hour) << 11 | u16::from(date.minute) << 5 | u16::from(date.second / 2);
    entry[14..16].copy_from_slice(&clock.to_le_bytes());
    entry[16..18].copy_from_slice(&day.to_le_bytes());
    entry[18..20].copy_from_slice(&day.to_le_bytes());
    entry[20..22].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
    entry[22..24].copy_from_slice(&clock.to_le_bytes());
    entry[24..26].copy_from_slice(&day.to_le_bytes());
    entry[26..28].copy_from_slice(&(cluster as u16).to_le_bytes());
    entry[28..32].copy_from_slice(&len.to_le_bytes());
    entry
}
