//! Image formats: what the user says, or what a file's first bytes say.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The first bytes of a qcow2 image.
pub const QCOW2_MAGIC: [u8; 4] = *b"QFI\xfb";

/// How an image's bytes are laid out in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As on the disk.
    Raw,
    /// QEMU's copy-on-write format, version 2 or 3.
    Qcow2,
}

impl Format {
    /// Its name, which is also the prefix that states it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        }
    }
}

/// Takes a `raw:` or `qcow2:` off a file's name.
pub fn stated(path: &Path) -> (Option<Format>, PathBuf) {
    for format in [Format::Raw, Format::Qcow2] {
        let rest = path.to_str().and_then(|text| text.strip_prefix(format.name())?.strip_prefix(':'));
        if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
            return (Some(format), rest.into());
        }
    }
    (None, path.to_owned())
}

/// Takes the `fat:` off a folder's name.
pub fn folder(path: &Path) -> Option<PathBuf> {
    path.to_str()?.strip_prefix("fat:").filter(|rest| !rest.is_empty()).map(PathBuf::from)
}

/// The format of an image by its first bytes.
///
/// # Errors
/// If the file cannot be read.
pub fn judged(file: &mut File) -> io::Result<Format> {
    let mut magic = Vec::with_capacity(QCOW2_MAGIC.len());
    file.seek(SeekFrom::Start(0))?;
    file.take(QCOW2_MAGIC.len() as u64).read_to_end(&mut magic)?;
    Ok(if magic == QCOW2_MAGIC { Format::Qcow2 } else { Format::Raw })
}
