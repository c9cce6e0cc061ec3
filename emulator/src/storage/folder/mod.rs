//! `--hd fat:DIR`: a folder of the host as a hard disk with a FAT file system, which any guest can use.
//!
//! The disk is made when it is opened: tables and directories in memory, files read where they lie. What the guest writes
//! is kept aside; when it flushes, and when the machine ends, the disk is read as a file system and what changed goes
//! into the folder ([`merge`] has the rules).

mod layout;
mod merge;
mod names;
mod read;
mod scan;
#[cfg(test)]
mod tests;

use super::inside;
use super::overlay::Overlay;
use crate::error::{Error, Result};
use layout::{Layout, SECTOR};
use merge::{Known, Merge};
use ring86_devices::BlockMedia;
use scan::{Built, Content, Source};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The files that clusters come from, shared by the disk below and those who move files.
#[derive(Clone)]
pub struct Sources(Arc<Mutex<Vec<Source>>>);

impl Sources {
    fn lock(&self) -> MutexGuard<'_, Vec<Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file or folder is elsewhere now.
    pub fn moved(&self, from: &Path, to: &Path) {
        for source in self.lock().iter_mut() {
            if let Ok(rest) = source.path.strip_prefix(from) {
                source.path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            }
        }
    }

    /// First cluster and number of clusters.
    pub fn clusters(&self, source: usize) -> (u32, u32) {
        self.lock().get(source).map_or((2, 0), |source| (source.first, source.count))
    }
}

/// The disk before the guest writes to it.
struct Below {
    root: PathBuf,
    layout: Layout,
    head: Vec<u8>,
    table: Vec<u8>,
    directory: Vec<u8>,
    content: BTreeMap<u32, (u32, Content)>,
    sources: Sources,
    /// The file that was read last.
    open: Option<(PathBuf, File)>,
}

impl Below {
    /// Reads a part of a file; what it does not have any more reads as zeros.
    fn file(&mut self, source: usize, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let path = self.sources.lock().get(source).map(|source| source.path.clone()).ok_or(io::ErrorKind::NotFound)?;
        if self.open.as_ref().is_none_or(|(open, _)| *open != path) {
            // No way out of the folder, whatever became of it since.
            let mut full = self.root.clone();
            for part in path.components() {
                full.push(part);
                if fs::symlink_metadata(&full)?.is_symlink() {
                    return Err(io::Error::other(format!("'{}' became a symbolic link", full.display())));
                }
            }
            self.open = Some((path.clone(), File::open(full)?));
        }
        let Some((_, file)) = &mut self.open else { return Ok(()) };
        file.seek(SeekFrom::Start(at))?;
        let mut done = 0;
        while done < buffer.len() {
            match file.read(&mut buffer[done..]) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        buffer[done..].fill(0);
        Ok(())
    }

    /// Reads from one region of the disk; returns how much.
    fn part(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let (tables, root) = (self.layout.tables(), self.layout.root());
        let from = |bytes: &[u8], start: u64, end: u64, buffer: &mut [u8]| {
            let len = buffer.len().min((end - offset) as usize);
            for (byte, at) in buffer[..len].iter_mut().zip((offset - start) as usize..) {
                *byte = bytes.get(at).copied().unwrap_or(0);
            }
            len
        };
        if offset < tables.start {
            return Ok(from(&self.head, 0, tables.start, buffer));
        }
        if offset < tables.end {
            let table = self.layout.table();
            let (start, end) = if offset < table.end { (table.start, table.end) } else { (table.end, tables.end) };
            return Ok(from(&self.table, start, end, buffer));
        }
        if offset < root.end {
            return Ok(from(&self.directory, root.start, root.end, buffer));
        }
        let cluster = self.layout.clusters_of(offset..offset + 1).start;
        let size = self.layout.cluster_bytes() as u64;
        let Some(start) = self.layout.cluster(cluster) else {
            // A rest at the end that makes no cluster.
            buffer.fill(0);
            return Ok(buffer.len());
        };
        let len = buffer.len().min((start + size - offset) as usize);
        let buffer = &mut buffer[..len];
        let known = self.content.range(..=cluster).next_back().filter(|(first, (count, _))| cluster - **first < *count);
        let Some((first, (_, content))) = known else {
            buffer.fill(0);
            return Ok(len);
        };
        let at = u64::from(cluster - first) * size + (offset - start);
        match content {
            Content::Bytes(bytes) => {
                for (byte, at) in buffer.iter_mut().zip(at as usize..) {
                    *byte = bytes.get(at).copied().unwrap_or(0);
                }
            }
            Content::File(source) => {
                let source = *source;
                self.file(source, at, buffer)?;
            }
        }
        Ok(len)
    }
}

impl BlockMedia for Below {
    fn len(&self) -> u64 {
        self.layout.sectors * SECTOR
    }

    fn read_only(&self) -> bool {
        true
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        inside(offset, buffer.len(), self.len())?;
        let mut done = 0;
        while done < buffer.len() {
            done += self.part(offset + done as u64, &mut buffer[done..])?;
        }
        Ok(())
    }

    fn write(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::Error::other("writes are kept aside"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A folder as a disk.
pub struct FolderDisk {
    root: PathBuf,
    layout: Layout,
    disk: Overlay,
    known: HashMap<String, Known>,
    sources: Sources,
    /// Clusters written since the folder was brought up to date.
    dirty: HashSet<u32>,
    changed: bool,
    read_only: bool,
    /// What the guest writes is thrown away.
    ephemeral: bool,
    /// What the disk's parameters must be for its contents to mean anything.
    parameters: Vec<u8>,
    /// The user has been told that the guest formatted the disk.
    told: bool,
    /// Keeps other machines out.
    _lock: File,
}

impl FolderDisk {
    /// Makes a disk of the folder at `root`; unless `ephemeral`, what the guest writes goes into it.
    ///
    /// # Errors
    /// One sentence if it is no folder, the host refuses to read it, it holds too much, or another machine has it.
    pub fn open(root: &Path, ephemeral: bool) -> Result<Self> {
        let refused = |e| Error::io("read", root, &e);
        let meta = fs::metadata(root).map_err(refused)?;
        if !meta.is_dir() {
            let name = root.display();
            return Err(Error::new(format!("'{name}' is no folder; leave out the 'fat:' for an image file")));
        }
        let root = fs::canonicalize(root).map_err(refused)?;
        let lock = File::open(&root).map_err(refused)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if !ephemeral => {
                let name = root.display();
                return Err(Error::new(format!(
                    "'{name}' is in use by another machine; stop that one, or use --ephemeral"
                )));
            }
            _ => {}
        }
        let Built { layout, table, root: directory, content, sources, known } = scan::build(&root)?;
        let sources = Sources(Arc::new(Mutex::new(sources)));
        let below = Below {
            root: root.clone(),
            head: layout.head(),
            table,
            directory,
            content,
            sources: sources.clone(),
            layout: layout.clone(),
            open: None,
        };
        let mut disk = Self {
            disk: Overlay::new(Box::new(below), &root)?,
            root,
            layout,
            known,
            sources,
            dirty: HashSet::new(),
            changed: false,
            read_only: meta.permissions().readonly() && !ephemeral,
            ephemeral,
            parameters: Vec::new(),
            told: false,
            _lock: lock,
        };
        disk.parameters = disk.read_parameters().map_err(|e| Error::io("read", &disk.root, &e))?;
        Ok(disk)
    }

    fn read_parameters(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        for range in self.layout.parameters() {
            let mut part = vec![0; (range.end - range.start) as usize];
            self.disk.read(range.start, &mut part)?;
            all.extend(part);
        }
        Ok(all)
    }

    /// Brings the folder up to date.
    fn merge(&mut self) -> io::Result<()> {
        if !self.changed || self.ephemeral {
            return Ok(());
        }
        if self.read_parameters()? != self.parameters {
            if !std::mem::replace(&mut self.told, true) {
                let name = self.root.display();
                log::warn!("the guest partitioned or formatted the disk made of '{name}'; the folder stays as it is");
            }
            return Ok(());
        }
        let tree = read::tree(&mut self.disk, &self.layout)?;
        let merge = Merge {
            root: &self.root,
            layout: &self.layout,
            disk: &mut self.disk,
            known: &mut self.known,
            sources: &self.sources,
            dirty: &self.dirty,
            touched: Default::default(),
        };
        merge.run(&tree)?;
        if tree.broken.is_empty() {
            self.dirty.clear();
            self.changed = false;
        }
        Ok(())
    }
}

impl BlockMedia for FolderDisk {
    fn len(&self) -> u64 {
        self.disk.len()
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, buffer)
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.read_only {
            return Err(io::Error::other("the folder is read-only"));
        }
        self.disk.write(offset, data)?;
        self.changed = true;
        self.dirty.extend(self.layout.clusters_of(offset..offset + data.len() as u64));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.merge()
    }
}

impl Drop for FolderDisk {
    fn drop(&mut self) {
        if let Err(error) = self.merge() {
            log::error!("what the guest wrote last is not in '{}': {error}", self.root.display());
        }
    }
}
