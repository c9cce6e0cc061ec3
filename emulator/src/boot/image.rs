//! What a file is, judged by its contents and size.

use super::{Payload, elf, linux, multiboot};
use crate::error::{Error, Result};
use crate::storage::format::QCOW2_MAGIC;
use ring86_devices::floppy::Geometry;
use std::io::Read;

/// As much of a file's start as [`recognise`] looks at: the volume descriptors of a CD lie deepest.
pub const HEAD: usize = 0x1_0000;

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
    /// A hard disk image in the qcow2 format.
    Qcow2,
    /// A CD image (ISO 9660).
    Cd,
}

impl Kind {
    /// The words for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Linux => "a Linux kernel",
            Kind::Multiboot => "a multiboot kernel",
            Kind::Elf => "an ELF file",
            Kind::Floppy => "a floppy",
            Kind::Disk => "a hard disk",
            Kind::Qcow2 => "a qcow2 image",
            Kind::Cd => "a CD",
        }
    }
}

/// What a raw disk of `len` bytes that begins with `head` would be taken for by [`recognise`] or unpacked as, if that is
/// no disk and not what it `was` before.
pub fn no_disk(head: &[u8], len: u64, was: Option<Kind>) -> Option<&'static str> {
    if is_gzip(head) {
        return Some("a file compressed by gzip");
    }
    let kind = recognise(head, len).filter(|kind| !matches!(kind, Kind::Floppy | Kind::Disk))?;
    (Some(kind) != was).then(|| kind.name())
}

/// Recognises a file of `len` bytes by the first [`HEAD`] of them.
pub fn recognise(bytes: &[u8], len: u64) -> Option<Kind> {
    // Before everything that lies deeper, where the guest's data may be in such a file.
    if bytes.starts_with(&QCOW2_MAGIC) {
        return Some(Kind::Qcow2);
    }
    if linux::is_linux(bytes) {
        return Some(Kind::Linux);
    }
    let multiboot = multiboot::find_header(bytes).is_some();
    if elf::is_elf(bytes) {
        return Some(if multiboot { Kind::Multiboot } else { Kind::Elf });
    }
    if bytes.get(0x8001..0x8006) == Some(b"CD001") {
        return Some(Kind::Cd);
    }
    let signature = bytes.get(510..512) == Some(&[0x55, 0xaa]);
    let floppy_size = Geometry::exactly(len).is_some();
    // A data floppy starts with the jump over its parameter block even if nothing on it boots.
    let jump = matches!(bytes.first(), Some(0xeb | 0xe9));
    if floppy_size && (signature || jump) {
        return Some(Kind::Floppy);
    }
    if signature && len.is_multiple_of(512) {
        return Some(if floppy_length(len).is_some() { Kind::Floppy } else { Kind::Disk });
    }
    // After the disks: GRUB's core, which lies behind the first sector of a disk, has a multiboot header too.
    multiboot.then_some(Kind::Multiboot)
}

/// True if the bytes begin like a file compressed by gzip (RFC 1952, section 2.3.1).
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b, 8])
}

/// A kernel file as it is to be started: unpacked if gzip compressed it, as boot loaders do.
///
/// # Errors
/// One sentence if it is damaged, or larger than 512 MiB when unpacked.
pub fn unpacked(name: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
    const LIMIT: u64 = 512 << 20;
    if !is_gzip(&bytes) {
        return Ok(bytes);
    }
    let mut out = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(LIMIT + 1).read_to_end(&mut out);
    read.map_err(|e| Error::new(format!("'{name}' is a damaged gzip file ({e}); copy it again")))?;
    if out.len() as u64 > LIMIT {
        return Err(Error::new(format!("'{name}' is larger than 512 MiB when unpacked; unpack it with gunzip first")));
    }
    Ok(out)
}

/// One sentence for a file that nothing recognises.
pub fn unknown(name: &str, len: u64) -> Error {
    Error::new(format!(
        "'{name}' ({len} bytes) is no image that ring86 knows: not a Linux kernel, ELF or multiboot file, no CD, and no disk with 55 AA at byte 510; say what it is with --floppy, --hd, --cd or --kernel"
    ))
}

/// The size of the floppy that holds an image of `len` bytes; `None` if none does.
pub fn floppy_length(len: u64) -> Option<u64> {
    Geometry::of_length(len).map(Geometry::bytes)
}

/// The contents of a floppy drive for an image that is no longer than a floppy: padded with zeros to the next floppy size.
pub fn floppy(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(len) = floppy_length(bytes.len() as u64) {
        bytes.resize(len as usize, 0);
    }
    bytes
}

/// The type of the drive that takes a floppy of `len` bytes, as CMOS byte 10h has it.
pub fn drive_type(len: u64) -> u8 {
    match Geometry::of_length(len) {
        Some(Geometry { sectors: ..=10, cylinders: ..=42, .. }) => 1,
        Some(Geometry { sectors: ..=10, .. }) => 3,
        Some(Geometry { sectors: 15, .. }) => 2,
        Some(Geometry { sectors: ..=21, .. }) => 4,
        Some(_) | None => 5,
    }
}

/// What a disk or CD image says about itself, for the line that tells the user: partitions, or how it boots.
pub fn details(kind: Kind, head: &[u8]) -> String {
    match kind {
        Kind::Disk => {
            let entries = head.get(446..510).unwrap_or(&[]).chunks_exact(16);
            let plausible = entries.clone().all(|e| e[0] & 0x7f == 0);
            match entries.filter(|e| e[4] != 0).count() {
                0 => String::new(),
                _ if !plausible => String::new(),
                1 => " with one partition".to_owned(),
                n => format!(" with {n} partitions"),
            }
        }
        Kind::Cd => {
            let el_torito = head.get(0x8807..0x881e) == Some(b"EL TORITO SPECIFICATION");
            if el_torito { " that boots" } else { ", not bootable" }.to_owned()
        }
        _ => String::new(),
    }
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
    match recognise(bytes, bytes.len() as u64) {
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
        let recognise = |bytes: &[u8]| recognise(bytes, bytes.len() as u64);
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
        assert_eq!((recognise(&iso), details(Kind::Cd, &iso)), (Some(Kind::Cd), ", not bootable".to_owned()));
        iso[0x8807..0x881e].copy_from_slice(b"EL TORITO SPECIFICATION");
        assert_eq!(details(Kind::Cd, &iso), " that boots");
        let mut disk = vec![0; 512];
        disk[450] = 0x83;
        assert_eq!(details(Kind::Disk, &disk), " with one partition");
        disk[446] = 0x12;
        assert_eq!(details(Kind::Disk, &disk), "", "code where the table would be");
        let mut grub = vec![0; 4 << 20];
        grub[510..512].copy_from_slice(&[0x55, 0xaa]);
        grub[1024..1036].copy_from_slice(&[2, 0xb0, 0xad, 0x1b, 0, 0, 0, 0, 0xfe, 0x4f, 0x52, 0xe4]);
        assert_eq!(recognise(&grub), Some(Kind::Disk), "a boot loader's own header makes no kernel of its disk");
        grub[510] = 0;
        assert_eq!(recognise(&grub), Some(Kind::Multiboot));
        assert_eq!(recognise(b"QFI\xfb\0\0\0\x03"), Some(Kind::Qcow2));
        assert_eq!(recognise(b"\x7fELF"), Some(Kind::Elf));
        iso[..4].copy_from_slice(&QCOW2_MAGIC);
        assert_eq!(recognise(&iso), Some(Kind::Qcow2), "a guest's data in small clusters make no CD of it");
    }

    #[test]
    fn kernels_are_unpacked() {
        let plain = b"plain".to_vec();
        assert_eq!(unpacked("k", plain.clone()).unwrap(), plain);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, &plain).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(unpacked("k", packed.clone()).unwrap(), plain);
        let error = unpacked("k", packed[..packed.len() - 9].to_vec()).unwrap_err().to_string();
        assert!(error.contains("damaged gzip file"), "{error}");
    }

    #[test]
    fn short_floppies_grow() {
        assert_eq!(floppy(vec![1; 512]).len(), 1440 * 1024);
        assert_eq!(floppy(vec![1; 2000 * 1024]).len(), 2880 * 1024);
        let small = floppy(vec![1; 720 * 1024]);
        assert_eq!((small.len(), drive_type(small.len() as u64)), (720 * 1024, 3));
        let types = [(160, 1), (360, 1), (720, 3), (800, 3), (1200, 2), (1245, 2), (1440, 4), (1680, 4), (2880, 5)];
        for (kib, drive) in types {
            assert_eq!((floppy_length(kib << 10), drive_type(kib << 10)), (Some(kib << 10), drive), "{kib} KiB");
        }
        assert_eq!(floppy_length(3 << 20), None);
    }
}
