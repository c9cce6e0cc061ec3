//! What the guest changed goes into the folder. The rule: nothing of the host's is lost. Deleted files move into
//! `.ring86-deleted`, a file that somebody else changed or made meanwhile keeps its name and its contents, nothing is
//! written through a symbolic link, and what makes no sense on the disk stays as it is in the folder.

use super::Sources;
use super::layout::Layout;
use super::names::KEPT;
use super::read::{Found, Tree};
use crate::storage::overlay::Overlay;
use ring86_devices::BlockMedia;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many names are tried for a file that must not replace another.
const NAMES: u32 = 10_000;

/// By what a change of a file on the host shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(u64, Option<SystemTime>);

impl Stamp {
    /// Of a file's metadata.
    pub fn of(meta: &Metadata) -> Self {
        Stamp(meta.len(), meta.modified().ok())
    }

    /// Its time.
    pub fn time(&self) -> SystemTime {
        self.1.unwrap_or(UNIX_EPOCH)
    }
}

/// A file or folder that both sides have.
#[derive(Debug)]
pub struct Known {
    /// Where it is, from the folder.
    pub host: PathBuf,
    /// A folder.
    pub folder: bool,
    /// Bytes of a file.
    pub len: u32,
    /// Its clusters.
    pub chain: Vec<u32>,
    /// The host's file, as it was left.
    pub stamp: Stamp,
    /// Which of the sources its clusters are read from.
    pub source: Option<usize>,
    /// It was in the folder before the guest started.
    pub of_host: bool,
}

/// Carries changes over.
pub struct Merge<'a> {
    /// The folder.
    pub root: &'a Path,
    /// The disk's layout.
    pub layout: &'a Layout,
    /// The disk as the guest sees it.
    pub disk: &'a mut Overlay,
    /// What both sides have.
    pub known: &'a mut HashMap<String, Known>,
    /// Where clusters that the guest did not write come from.
    pub sources: &'a Sources,
    /// Clusters written since the last time.
    pub dirty: &'a HashSet<u32>,
    /// Folders whose entries changed.
    pub touched: BTreeSet<PathBuf>,
}

/// The path of what a path lies in, on the disk.
fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

fn last(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

impl Merge<'_> {
    /// Makes the folder hold what `tree` holds.
    ///
    /// # Errors
    /// If the host refuses; what is done by then stays done, and the next call goes on.
    pub fn run(mut self, tree: &Tree) -> io::Result<()> {
        let present: HashSet<&str> = tree.found.iter().map(|found| found.path.as_str()).collect();
        for found in &tree.found {
            if self.known.get(&found.path).is_some_and(|known| known.folder != found.folder) {
                self.remove_tree(&found.path)?;
            }
            if !self.known.contains_key(&found.path) {
                self.rename_or_make(found, &present)?;
            } else if !found.folder {
                self.update(found)?;
            }
            if let Some(known) = self.known.get_mut(&found.path)
                && found.folder
            {
                known.chain.clone_from(&found.chain);
            }
        }
        let is_broken = |path: &str| {
            let inside = |broken: &String| {
                broken.is_empty()
                    || path == broken
                    || path.strip_prefix(broken).is_some_and(|rest| rest.starts_with('/'))
            };
            tree.broken.iter().any(inside)
        };
        let mut gone: Vec<String> =
            self.known.keys().filter(|path| !present.contains(path.as_str()) && !is_broken(path)).cloned().collect();
        // What is in a folder goes before the folder.
        gone.sort_by(|a, b| b.cmp(a));
        for path in gone {
            self.remove(&path)?;
        }
        for folder in &self.touched {
            match File::open(self.root.join(folder)) {
                Ok(folder) => folder.sync_all()?,
                // It moved or went in the meantime; its parent is in the list as well.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Refuses to go through anything but real folders below the root.
    fn check_folder(&self, folder: &Path) -> io::Result<()> {
        let mut at = self.root.to_owned();
        for part in folder.components() {
            at.push(part);
            if !fs::symlink_metadata(&at)?.is_dir() {
                return Err(io::Error::other(format!("'{}' is no folder any more", at.display())));
            }
        }
        Ok(())
    }

    /// Where something called `path` on the disk goes, under a name that nothing has.
    fn free_place(&self, path: &str) -> io::Result<PathBuf> {
        let parent = match above(path) {
            "" => PathBuf::new(),
            above => self.known.get(above).map(|known| known.host.clone()).ok_or(io::ErrorKind::NotFound)?,
        };
        self.check_folder(&parent)?;
        self.unused(&parent, last(path), " (guest")
    }

    /// `name` in `folder`, or one like it that nothing has.
    fn unused(&self, folder: &Path, name: &str, mark: &str) -> io::Result<PathBuf> {
        for number in 0..NAMES {
            let place = folder.join(match number {
                0 => name.to_owned(),
                1 => format!("{name}{mark})"),
                _ => format!("{name}{mark} {number})"),
            });
            match fs::symlink_metadata(self.root.join(&place)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    if number > 0 {
                        log::warn!("'{name}' is taken in the host's folder; '{}' it is", place.display());
                    }
                    return Ok(place);
                }
                Err(e) => return Err(e),
                Ok(_) => {}
            }
        }
        Err(io::Error::other(format!("no free name for '{name}' in the host's folder")))
    }

    fn touch(&mut self, path: &Path) {
        self.touched.insert(path.parent().unwrap_or(Path::new("")).to_owned());
    }

    /// Something that was not there: a file or folder under another name, or a new one.
    fn rename_or_make(&mut self, found: &Found, present: &HashSet<&str>) -> io::Result<()> {
        let clean = found.folder || found.chain.iter().all(|cluster| !self.dirty.contains(cluster));
        let same = |(path, known): &(&String, &Known)| {
            !found.chain.is_empty()
                && !present.contains(path.as_str())
                && known.folder == found.folder
                && known.chain.first() == found.chain.first()
                && (found.folder || (known.chain == found.chain && known.len == found.len))
        };
        let old = self.known.iter().find(same).map(|(path, _)| path.clone()).filter(|_| clean);
        // A folder that moves into itself is no move.
        let old = old.filter(|old| !found.path.starts_with(&format!("{old}/")));
        let place = self.free_place(&found.path)?;
        if let Some(old) = old {
            return self.rename(&old, &found.path, place);
        }
        let full = self.root.join(&place);
        if found.folder {
            fs::create_dir(&full)?;
        } else {
            self.write_file(found, &full)?;
        }
        self.touch(&place);
        let stamp = Stamp::of(&fs::symlink_metadata(&full)?);
        let known = Known {
            host: place,
            folder: found.folder,
            len: found.len,
            chain: found.chain.clone(),
            stamp,
            source: None,
            of_host: false,
        };
        self.known.insert(found.path.clone(), known);
        Ok(())
    }

    /// Moves a file or folder, with all that is known of it.
    fn rename(&mut self, old: &str, new: &str, place: PathBuf) -> io::Result<()> {
        let Some(known) = self.known.get(old) else { return Ok(()) };
        let from = known.host.clone();
        self.check_folder(from.parent().unwrap_or(Path::new("")))?;
        fs::rename(self.root.join(&from), self.root.join(&place))?;
        self.touch(&from);
        self.touch(&place);
        self.sources.moved(&from, &place);
        let inside = format!("{old}/");
        let paths: Vec<String> =
            self.known.keys().filter(|path| *path == old || path.starts_with(&inside)).cloned().collect();
        for path in paths {
            if let Some(mut known) = self.known.remove(&path) {
                if let Ok(rest) = known.host.strip_prefix(&from) {
                    known.host = if rest.as_os_str().is_empty() { place.clone() } else { place.join(rest) };
                }
                self.known.insert(format!("{new}{}", &path[old.len()..]), known);
            }
        }
        Ok(())
    }

    /// A file that was there already.
    fn update(&mut self, found: &Found) -> io::Result<()> {
        let Some(known) = self.known.get(&found.path) else { return Ok(()) };
        let clean = !found.chain.iter().any(|cluster| self.dirty.contains(cluster));
        if clean && known.chain == found.chain && known.len == found.len {
            return Ok(());
        }
        let (host, stamp, source) = (known.host.clone(), known.stamp, known.source);
        self.check_folder(host.parent().unwrap_or(Path::new("")))?;
        let full = self.root.join(&host);
        let now = fs::symlink_metadata(&full).ok();
        let is_ours = now.as_ref().is_some_and(|meta| meta.is_file() && Stamp::of(meta) == stamp);
        if let Some(source) = source {
            // The file is replaced, and the disk's clusters must stay what they are.
            self.copy_up(source)?;
        }
        let place = match (is_ours, now) {
            (true, _) => host,
            (false, None) => self.free_place(&found.path)?,
            (false, Some(_)) => {
                log::warn!("'{}' changed in the host's folder while the guest changed it as well", full.display());
                self.free_place(&found.path)?
            }
        };
        let full = self.root.join(&place);
        self.write_file(found, &full)?;
        self.touch(&place);
        let stamp = Stamp::of(&fs::symlink_metadata(&full)?);
        if let Some(known) = self.known.get_mut(&found.path) {
            (known.host, known.len, known.stamp) = (place, found.len, stamp);
            (known.chain, known.source) = (found.chain.clone(), None);
        }
        Ok(())
    }

    /// Puts what the host's file holds into the disk's own clusters.
    fn copy_up(&mut self, source: usize) -> io::Result<()> {
        let (first, count) = self.sources.clusters(source);
        let mut bytes = vec![0; self.layout.cluster_bytes()];
        for at in (first..first + count).filter_map(|cluster| self.layout.cluster(cluster)) {
            self.disk.read(at, &mut bytes)?;
            self.disk.write(at, &bytes)?;
        }
        Ok(())
    }

    /// Writes a file beside its place, makes it durable and puts it there.
    fn write_file(&mut self, found: &Found, full: &Path) -> io::Result<()> {
        let folder = full.parent().unwrap_or(self.root);
        let mut builder = tempfile::Builder::new();
        builder.prefix(".ring86-new-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.tempfile_in(folder)?;
        if let Ok(meta) = fs::symlink_metadata(full) {
            file.as_file().set_permissions(meta.permissions())?;
        }
        let mut bytes = vec![0; self.layout.cluster_bytes()];
        let mut left = found.len as usize;
        for cluster in &found.chain {
            let part = left.min(bytes.len());
            let at = self.layout.cluster(*cluster).ok_or(io::ErrorKind::InvalidData)?;
            self.disk.read(at, &mut bytes)?;
            file.write_all(&bytes[..part])?;
            left -= part;
            if left == 0 {
                break;
            }
        }
        file.as_file().sync_all()?;
        file.persist(full).map_err(|e| e.error)?;
        Ok(())
    }

    /// Takes away something whose place on the disk is another kind of thing's now.
    fn remove_tree(&mut self, path: &str) -> io::Result<()> {
        let inside = format!("{path}/");
        let mut paths: Vec<String> =
            self.known.keys().filter(|other| *other == path || other.starts_with(&inside)).cloned().collect();
        paths.sort_by(|a, b| b.cmp(a));
        paths.iter().try_for_each(|path| self.remove(path))
    }

    /// Takes away what the guest deleted: files of the host's go to the folder for that, empty folders just go.
    fn remove(&mut self, path: &str) -> io::Result<()> {
        let Some(known) = self.known.get(path) else { return Ok(()) };
        let (host, folder, stamp, of_host) = (known.host.clone(), known.folder, known.stamp, known.of_host);
        let full = self.root.join(&host);
        let parent = host.parent().unwrap_or(Path::new("")).to_owned();
        self.check_folder(&parent)?;
        match fs::symlink_metadata(&full) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
            Ok(meta) if meta.is_dir() && folder => match fs::remove_dir(&full) {
                Ok(()) => self.touch(&host),
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    log::warn!("'{}' stays: it holds what the guest does not see", full.display());
                }
                Err(e) => return Err(e),
            },
            // It became something else meanwhile, which is not the guest's.
            Ok(meta) if meta.is_dir() || folder || !meta.is_file() => {}
            Ok(meta) if meta.len() == 0 || (!of_host && Stamp::of(&meta) == stamp) => {
                fs::remove_file(&full)?;
                self.touch(&host);
            }
            Ok(_) => self.keep(&host, &parent)?,
        }
        self.known.remove(path);
        Ok(())
    }

    /// Moves a file to where deleted ones are kept.
    fn keep(&mut self, host: &Path, parent: &Path) -> io::Result<()> {
        let folder = Path::new(KEPT).join(parent);
        let mut at = PathBuf::new();
        for part in folder.components() {
            at.push(part);
            match fs::create_dir(self.root.join(&at)) {
                Ok(()) => self.touch(&at),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        self.check_folder(&folder)?;
        let name = host.file_name().and_then(|name| name.to_str()).unwrap_or("file");
        let place = self.unused_quietly(&folder, name)?;
        fs::rename(self.root.join(host), self.root.join(&place))?;
        self.touch(host);
        self.touch(&place);
        self.sources.moved(host, &place);
        Ok(())
    }

    /// A name for another copy of a deleted file.
    fn unused_quietly(&self, folder: &Path, name: &str) -> io::Result<PathBuf> {
        let numbered = |number: u32| if number == 0 { name.to_owned() } else { format!("{name} ({number})") };
        (0..NAMES)
            .map(|number| folder.join(numbered(number)))
            .find(|place| fs::symlink_metadata(self.root.join(place)).is_err())
            .ok_or_else(|| io::Error::other(format!("no free name for '{name}' in '{KEPT}'")))
    }
}
