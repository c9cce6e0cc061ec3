//! Raw images: the file's bytes are the disk's.

use super::format::QCOW2_MAGIC;
use super::inside;
use ring86_devices::BlockMedia;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// A raw image in a file.
#[derive(Debug)]
pub struct RawFile {
    file: File,
    len: u64,
    writable: bool,
    /// The format was judged by the first bytes, so they must not become another format's.
    judged: bool,
}

impl RawFile {
    /// `file` as a medium of `len` bytes. Beyond the file's end it reads as zeros, and a write makes the file longer.
    pub fn new(file: File, len: u64, writable: bool, judged: bool) -> Self {
        RawFile { file, len, writable, judged }
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
        if self.judged && offset == 0 && data.starts_with(&QCOW2_MAGIC) {
            return Err(io::Error::other(
                "the guest would turn this raw image into a qcow2 one; name it raw:FILE to allow that",
            ));
        }
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.writable { self.file.sync_data() } else { Ok(()) }
    }
}
