//! What a file is, judged by its contents and size.

use super::{Payload, elf, linux, multiboot};
use crate::error::{Error, Result};

/// Floppy sizes in KiB with the drive type that CMOS byte 10h gives them.
pub const FLOPPIES: [(usize, u8); 8] =
    [(160, 1), (180, 1), (320, 1), (360, 1), (720, 3), (1200, 2), (1440, 4), (2880, 5)];

/// What a file seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Linux kernel with a set-up header.
    Linux,
    /// A kernel with a multiboot 1 header.
    Multiboot,
    /// An ELF file.
    Elf,
    /// A floppy image: boot signature or file system, and a size that a floppy has, or less.
    Floppy,
    /// A hard disk image: boot signature, and larger than a floppy.
    Disk,
    /// A CD image (ISO 9660).
    Cd,
}

/// Recognises `bytes`.
pub fn recognise(bytes: &[u8]) -> Option<Kind> {
    if linux::is_linux(bytes) {
        return Some(Kind::Linux);
    }
    if multiboot::find_header(bytes).is_some() {
        return Some(Kind::Multiboot);
    }
    if elf::is_elf(bytes) {
        return Some(Kind::Elf);
    }
    if bytes.get(0x8001..0x8006) == Some(b"CD001") {
        return Some(Kind::Cd);
    }
    let signature = bytes.get(510..512) == Some(&[0x55, 0xaa]);
    let floppy_size = FLOPPIES.iter().any(|(kib, _)| bytes.len() == kib * 1024);
    // A data floppy starts with the jump over its parameter block even if nothing on it boots.
    let jump = matches!(bytes.first(), Some(0xeb | 0xe9));
    if floppy_size && (signature || jump) {
        return Some(Kind::Floppy);
    }
    if signature && bytes.len().is_multiple_of(512) {
        return Some(if bytes.len() <= 2880 * 1024 { Kind::Floppy } else { Kind::Disk });
    }
    None
}

/// One sentence for a file that nothing recognises.
pub fn unknown(name: &str, len: usize) -> Error {
    Error::new(format!(
        "'{name}' ({len} bytes) is no image that ring86 knows: not a Linux kernel, ELF or multiboot file, nor a disk image with 55 AA at byte 510"
    ))
}

/// The contents of a floppy drive for an image of at most 2.88 MB: padded with zeros to the next floppy size.
pub fn floppy(mut bytes: Vec<u8>) -> Vec<u8> {
    // A short image goes on the usual medium, since small sizes need old drives.
    let exact = FLOPPIES.iter().any(|(kib, _)| bytes.len() == kib * 1024);
    if !exact {
        let kib = if bytes.len() <= 1440 * 1024 { 1440 } else { 2880 };
        bytes.resize(kib * 1024, 0);
    }
    bytes
}

/// The drive type for a floppy of `len` bytes, one of the sizes in [`FLOPPIES`].
pub fn drive_type(len: usize) -> u8 {
    FLOPPIES.iter().find(|(kib, _)| len == kib * 1024).map_or(4, |(_, drive)| *drive)
}

/// Parses a file given as a kernel: Linux, multiboot or ELF32.
///
/// # Errors
/// One sentence if it is none of them, damaged, or its initial RAM disk is not wanted.
pub fn kernel(
    name: &str,
    bytes: &[u8],
    cmdline: &str,
    initrd: Option<(String, Vec<u8>)>,
    entry: linux::Entry,
) -> Result<Payload> {
    match recognise(bytes) {
        Some(Kind::Linux) => Ok(Payload::Linux(Box::new(linux::Linux::parse(name, bytes, cmdline, initrd, entry)?))),
        Some(Kind::Multiboot) => {
            let header = multiboot::find_header(bytes).unwrap_or(0);
            let modules = initrd.into_iter().collect();
            let parsed = multiboot::Multiboot::parse(name, bytes, header, cmdline, modules)?;
            Ok(Payload::Multiboot(Box::new(parsed)))
        }
        Some(Kind::Elf) => {
            let parsed = elf::Elf::parse(name, bytes)?;
            if initrd.is_some() || !cmdline.is_empty() {
                return Err(Error::new(format!(
                    "'{name}' is an ELF file without a multiboot header, which takes no --initrd and no --append"
                )));
            }
            Ok(Payload::Elf(Box::new(parsed)))
        }
        Some(_) | None => Err(Error::new(format!(
            "'{name}' is no kernel: not a Linux bzImage, a multiboot kernel or an i386 ELF file"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses() {
        assert_eq!(recognise(b""), None);
        assert_eq!(recognise(b"plain text, not an image"), None);
        assert_eq!(recognise(&[0; 1440 * 1024]), None);
        let mut sector = vec![0; 512];
        sector[510] = 0x55;
        sector[511] = 0xaa;
        assert_eq!(recognise(&sector), Some(Kind::Floppy));
        sector.resize(1440 * 1024, 0);
        assert_eq!(recognise(&sector), Some(Kind::Floppy));
        sector.resize(16 << 20, 0);
        assert_eq!(recognise(&sector), Some(Kind::Disk));
        sector.push(0);
        assert_eq!(recognise(&sector), None);
        let mut iso = vec![0; 0x9000];
        iso[0x8001..0x8006].copy_from_slice(b"CD001");
        assert_eq!(recognise(&iso), Some(Kind::Cd));
        assert_eq!(recognise(b"\x7fELF"), Some(Kind::Elf));
    }

    #[test]
    fn short_floppies_grow() {
        assert_eq!(floppy(vec![1; 512]).len(), 1440 * 1024);
        assert_eq!(floppy(vec![1; 2000 * 1024]).len(), 2880 * 1024);
        let small = floppy(vec![1; 720 * 1024]);
        assert_eq!((small.len(), drive_type(small.len())), (720 * 1024, 3));
    }
}
