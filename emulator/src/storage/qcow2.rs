//! qcow2 images, through the imago crate. Backing files are opened only if the user named them.

use super::format::Format;
use super::{Access, inside, lock, qcow2_check};
use crate::error::{Error, Result};
use imago::file::File as ImageFile;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder};
use ring86_devices::BlockMedia;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Longest chain of backing files.
const MAX_DEPTH: usize = 32;

/// An open qcow2 image with its backing files.
struct Qcow2Media {
    access: FormatAccess<ImageFile>,
    writable: bool,
}

/// Opens the qcow2 image in `file`, which lies at `path` and is locked already.
///
/// # Errors
/// One sentence if it is damaged, or wants a file that the user did not name.
pub fn open(file: File, path: &Path, writable: bool, access: &Access) -> Result<Box<dyn BlockMedia>> {
    let access = open_layer(file, path, writable, access, 0)?;
    Ok(Box::new(Qcow2Media { access, writable }))
}

fn open_layer(
    mut file: File,
    path: &Path,
    writable: bool,
    access: &Access,
    depth: usize,
) -> Result<FormatAccess<ImageFile>> {
    let name = path.display();
    let damaged = |e: io::Error| Error::new(format!("cannot use '{name}' as a qcow2 image: {e}"));
    if depth > MAX_DEPTH {
        return Err(Error::new(format!("'{name}': more than {MAX_DEPTH} images stand behind each other")));
    }
    qcow2_check::check(&mut file).map_err(damaged)?;
    let storage = ImageFile::try_from(file).map_err(damaged)?;
    let mut image = Qcow2::<ImageFile>::builder(storage)
        .write(writable)
        .backing(None)
        .data_file(None)
        .open(DenyImplicitOpenGate::default())
        .map_err(damaged)?;
    if image.requires_external_data_file() {
        return Err(Error::new(format!(
            "'{name}' keeps its data in another file, which ring86 does not open; convert it with qemu-img convert"
        )));
    }
    if let Some(backing) = image.implicit_backing_file().cloned() {
        let format = match image.implicit_backing_format().map(String::as_str) {
            Some("raw") => Format::Raw,
            Some("qcow2") => Format::Qcow2,
            Some(other) => {
                return Err(Error::new(format!(
                    "'{name}' has a backing file in the format '{other}'; ring86 reads raw and qcow2"
                )));
            }
            None => {
                return Err(Error::new(format!(
                    "'{name}' does not say which format its backing file '{backing}' has; say it with qemu-img rebase -u -F"
                )));
            }
        };
        image.set_backing(Some(open_backing(path, &backing, format, access, depth)?));
    }
    Ok(FormatAccess::new(image))
}

/// Opens the file that the image at `path` calls `backing`, if the user named it too.
fn open_backing(
    path: &Path,
    backing: &str,
    format: Format,
    access: &Access,
    depth: usize,
) -> Result<FormatAccess<ImageFile>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let wanted: PathBuf = folder.join(backing);
    let refused = || {
        Error::new(format!(
            "'{}' has the backing file '{}', which you did not name; add --backing {1} if you trust the image",
            path.display(),
            wanted.display(),
        ))
    };
    // Compared as the host resolves them; nothing is opened before they are equal.
    let same = |allowed: &&PathBuf| match (allowed.canonicalize(), wanted.canonicalize()) {
        (Ok(allowed), Ok(wanted)) => allowed == wanted,
        _ => false,
    };
    let allowed = access.backing.iter().find(same).ok_or_else(refused)?;
    let file = File::open(allowed).map_err(|e| Error::io("read", allowed, &e))?;
    lock::lock(&file, allowed, false)?;
    match format {
        Format::Qcow2 => open_layer(file, allowed, false, access, depth + 1),
        Format::Raw => {
            let broken = |e: io::Error| Error::io("read", allowed, &e);
            let storage = ImageFile::try_from(file).map_err(broken)?;
            Ok(FormatAccess::new(Raw::open_image(storage, false).map_err(broken)?))
        }
    }
}

impl BlockMedia for Qcow2Media {
    fn len(&self) -> u64 {
        self.access.size() / 512 * 512
    }

    fn read_only(&self) -> bool {
        !self.writable
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        inside(offset, buffer.len(), self.len())?;
        self.access.read(buffer, offset)
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        inside(offset, data.len(), self.len())?;
        if !self.writable {
            return Err(io::Error::other("the medium is write-protected"));
        }
        self.access.write(data, offset)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.writable {
            return Ok(());
        }
        self.access.flush()?;
        self.access.sync()
    }
}
