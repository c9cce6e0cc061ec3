//! What drives hold: files in the raw and qcow2 formats, bytes in memory, and a layer that keeps writes off either.
//!
//! A file's format is decided once, when it is opened. Where the user did not state it, the guest cannot change what the
//! file will be taken for the next time. No file is opened that the user did not name.

mod folder;
pub mod format;
mod lock;
mod memory;
mod overlay;
mod qcow2;
mod qcow2_check;
#[cfg(test)]
mod qcow2_crafted;
mod raw;

use crate::error::{Error, Result};
use folder::FolderDisk;
pub use memory::MemoryMedia;
use overlay::Overlay;
use raw::{Guard, RawFile};
use ring86_devices::BlockMedia;
use ring86_devices::capability::Shared;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// An opened image. Clones are the same image, so a configuration that is used twice shares it.
#[derive(Clone)]
pub struct Image(Shared<Box<dyn BlockMedia>>);

impl Image {
    /// An image of anything that stores blocks.
    pub fn new(media: Box<dyn BlockMedia>) -> Self {
        Image(Shared::new(media))
    }

    /// An image in memory: what a guest writes lives as long as the machine.
    pub fn memory(bytes: Vec<u8>, read_only: bool) -> Self {
        Self::new(Box::new(MemoryMedia::new(bytes, read_only)))
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl BlockMedia for Image {
    fn len(&self) -> u64 {
        self.0.lock().len()
    }

    fn read_only(&self) -> bool {
        self.0.lock().read_only()
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.lock().read(offset, buffer)
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().write(offset, data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().flush()
    }
}

/// What an image is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A floppy drive.
    Floppy,
    /// A hard disk.
    Disk,
    /// A CD drive, which never writes.
    Cd,
}

/// What the user allows for all images of a run.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// What guests write is thrown away at the end.
    pub ephemeral: bool,
    /// Files that a qcow2 image may name as its backing file.
    pub backing: Vec<PathBuf>,
}

/// An opened image, with what the user should know about it.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The image.
    pub image: Image,
    /// Its format: "raw" or "qcow2".
    pub format: &'static str,
    /// What becomes of what the guest writes, for the line that tells the user.
    pub writes: &'static str,
}

/// Opens the image at `path` for `role`. The name may begin with `raw:` or `qcow2:` to say the format, which is
/// otherwise judged by the file's first bytes; floppies and CDs are raw unless it is said. For a hard disk, `fat:` and a
/// folder's name is that folder as a disk.
///
/// # Errors
/// One sentence if the host refuses, another machine uses it, or its contents do not fit the drive.
pub fn open(path: &Path, role: Role, access: &Access) -> Result<Opened> {
    if let Some(folder) = format::folder(path).filter(|_| role == Role::Disk) {
        return open_folder(&folder, access);
    }
    let (stated, path) = format::stated(path);
    let want_write = role != Role::Cd && !access.ephemeral;
    let (mut file, writable) = open_file(&path, want_write)?;
    lock::lock(&file, &path, writable)?;
    let unreadable = |e| Error::io("read", &path, &e);
    let len = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
    let found = match stated {
        Some(format) => format,
        None => match (format::judged(&mut file).map_err(unreadable)?, role) {
            (format::Format::Qcow2, Role::Floppy | Role::Cd) => return Err(role.ambiguous(&path)),
            (format, _) => format,
        },
    };
    let media: Box<dyn BlockMedia> = match found {
        format::Format::Raw => {
            let len = role.fit(&path, len)?;
            let guarded = writable && stated.is_none();
            let guard = guarded.then(|| Guard::new(&mut file, &path, role)).transpose().map_err(unreadable)?;
            Box::new(RawFile::new(file, len, writable, guard))
        }
        format::Format::Qcow2 => {
            let media = qcow2::open(file, &path, writable, access)?;
            role.fit(&path, media.len())?;
            media
        }
    };
    let keeps_out = access.ephemeral && role != Role::Cd;
    let media = if keeps_out { Box::new(Overlay::new(media, &path)?) } else { media };
    let writes = match (role, keeps_out, writable) {
        (Role::Cd, ..) => "",
        (_, true, _) => "; what the guest writes to it is thrown away",
        (_, _, true) => "; what the guest writes goes into it",
        _ => "; what the guest writes is refused, since the file is read-only (--ephemeral gives it a copy)",
    };
    Ok(Opened { image: Image::new(media), format: found.name(), writes })
}

/// A folder as a hard disk.
fn open_folder(folder: &Path, access: &Access) -> Result<Opened> {
    let disk = FolderDisk::open(folder, access.ephemeral)?;
    let writes = match (access.ephemeral, disk.read_only()) {
        (true, _) => "; what the guest writes to it is thrown away",
        (_, true) => "; what the guest writes is refused, since the folder is read-only (--ephemeral gives it a copy)",
        _ => "; what the guest writes goes into it when the guest flushes and at the end",
    };
    Ok(Opened { image: Image::new(Box::new(disk)), format: "FAT", writes })
}

impl Role {
    /// One sentence for a file that looks like qcow2 in a drive whose images are raw.
    fn ambiguous(self, path: &Path) -> Error {
        let name = path.display();
        let drive = if self == Role::Floppy { "a floppy drive" } else { "a CD drive" };
        Error::new(format!(
            "'{name}' looks like a qcow2 image, and images for {drive} are raw: write qcow2:{name} if it is one, or \
             raw:{name} if its bytes are the disk's"
        ))
    }

    /// The length that the drive sees for a raw file of `len` bytes.
    fn fit(self, path: &Path, len: u64) -> Result<u64> {
        let name = path.display();
        match self {
            _ if len == 0 => Err(Error::new(format!("'{name}' is empty; an image needs at least one sector"))),
            Role::Floppy => crate::boot::image::floppy_length(len).ok_or_else(|| {
                Error::new(format!("'{name}' has {len} bytes, more than a floppy's 2880 KiB; use --hd or --cd for it"))
            }),
            Role::Disk if len < 512 => {
                Err(Error::new(format!("'{name}' has {len} bytes, less than a hard disk's first sector of 512")))
            }
            Role::Disk => Ok(len / 512 * 512),
            Role::Cd => Ok(len),
        }
    }
}

/// Opens a file or block device, writable if that is wanted and allowed. Returns it with whether it is.
///
/// # Errors
/// One sentence if the host refuses, or it is neither.
pub fn open_file(path: &Path, write: bool) -> Result<(File, bool)> {
    let meta = std::fs::metadata(path).map_err(|e| Error::io("read", path, &e))?;
    if !is_image_file(&meta) {
        let what = if meta.is_dir() { "it is a folder" } else { "it is neither a file nor a block device" };
        return Err(Error::new(format!("cannot read '{}': {what}", path.display())));
    }
    if write {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => return Ok((file, true)),
            Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {}
            Err(e) => return Err(Error::io("open", path, &e)),
        }
    }
    let file = File::open(path).map_err(|e| Error::io("read", path, &e))?;
    Ok((file, false))
}

/// A file, or a block device where the host has such files. Others (a pipe, say) may wait for ever.
fn is_image_file(meta: &std::fs::Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if meta.file_type().is_block_device() {
            return true;
        }
    }
    meta.is_file()
}

/// `offset..offset + len`, if it lies inside `size` bytes.
fn inside(offset: u64, len: usize, size: u64) -> io::Result<()> {
    let end = offset.checked_add(len as u64).filter(|end| *end <= size);
    end.map(|_| ()).ok_or_else(|| io::Error::other("beyond the end of the medium"))
}

#[cfg(test)]
mod tests;
