//! Raw images: the file's bytes are the disk's.

use super::{Role, inside};
use crate::boot::image::{self, HEAD, Kind};
use ring86_devices::BlockMedia;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What watches over an image whose format nobody stated: its contents told what it is, and do so again at the next
/// start, so the guest may not make something of it that is no disk.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    option: &'static str,
    /// What it was at the start.
    was: Option<Kind>,
    /// The user knows.
    told: bool,
}

impl Guard {
    /// A guard over `file`, which lies at `path`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn new(file: &mut File, path: &Path, role: Role) -> io::Result<Self> {
        let (head, len) = start(file)?;
        let option = if role == Role::Floppy { "--floppy" } else { "--hd" };
        Ok(Guard { path: path.to_owned(), option, was: image::recognise(&head, len), told: false })
    }

    /// Refuses a write after which the file would be something else.
    fn check(&mut self, file: &mut File, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset >= HEAD as u64 {
            return Ok(());
        }
        let (mut head, len) = start(file)?;
        let first = offset as usize;
        let end = (first + data.len()).min(HEAD);
        head.resize(head.len().max(end), 0);
        head[first..end].copy_from_slice(&data[..end - first]);
        let Some(what) = image::no_disk(&head, len.max(offset + data.len() as u64), self.was) else { return Ok(()) };
        if !self.told {
            self.told = true;
            log::warn!(
                "'{0}': the guest wants to write what would make {what} of it at the next start; such writes are refused \
                 unless it is given as {1} raw:{0}",
                self.path.display(),
                self.option
            );
        }
        Err(io::Error::other(format!("that would make {what} of the image")))
    }
}

/// As much of the file's beginning as tells what it is, and its length.
fn start(file: &mut File) -> io::Result<(Vec<u8>, u64)> {
    let len = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut head = Vec::with_capacity(HEAD);
    file.take(HEAD as u64).read_to_end(&mut head)?;
    Ok((head, len))
}

/// A raw image in a file.
#[derive(Debug)]
pub struct RawFile {
    file: File,
    len: u64,
    writable: bool,
    guard: Option<Guard>,
}

impl RawFile {
    /// `file` as a medium of `len` bytes. Beyond the file's end it reads as zeros, and a write makes the file longer.
    pub fn new(file: File, len: u64, writable: bool, guard: Option<Guard>) -> Self {
        RawFile { file, len, writable, guard }
    }
}

impl BlockMedia for RawFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_only(&self) -> bool {
        !self.writable
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        inside(offset, buffer.len(), self.len)?;
        self.file.seek(SeekFrom::Start(offset))?;
        let mut rest = buffer;
        while !rest.is_empty() {
            match self.file.read(rest) {
                Ok(0) => break,
                Ok(n) => rest = &mut rest[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        rest.fill(0);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        inside(offset, data.len(), self.len)?;
        if !self.writable {
            return Err(io::Error::other("the medium is write-protected"));
        }
        if let Some(guard) = &mut self.guard {
            guard.check(&mut self.file, offset, data)?;
        }
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.writable { self.file.sync_data() } else { Ok(()) }
    }
}
