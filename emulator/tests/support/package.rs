//! A Debian package made of one file, and the package list that names it, as deb(5) and the repository format have them.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// A repository with one package.
pub struct Repository {
    /// The list that apt asks for first.
    pub packages: String,
    /// `PACKAGE.deb`.
    pub deb: Vec<u8>,
}

/// A package `name` that installs `content` as `/srv/data`. Its checksum is the host's `sha256sum`'s; `folder` holds the
/// file for it.
#[must_use]
pub fn repository(folder: &Path, name: &str, content: &[u8]) -> Repository {
    let control = format!(
        "Package: {name}\nVersion: 1\nArchitecture: i386\nMaintainer: Ring86 <nobody@example.org>\nDescription: test data\n"
    );
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", archive(&[("./control", control.as_bytes())])),
        ("data.tar.gz", archive(&[("./srv/data", content)])),
    ];
    let mut deb = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        deb.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len()).bytes());
        deb.extend(&bytes);
        deb.resize(deb.len().next_multiple_of(2), b'\n');
    }
    let sum = sha256(folder, &deb);
    let packages = format!("{control}Filename: ./{name}.deb\nSize: {}\nSHA256: {sum}\n\n", deb.len());
    Repository { packages, deb }
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn sha256(folder: &Path, bytes: &[u8]) -> String {
    let file = folder.join("to-sum");
    std::fs::write(&file, bytes).expect("a temporary file can be written");
    let output = Command::new("sha256sum").arg(&file).output().expect("the host has sha256sum");
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().expect("a sum").to_owned()
}

/// A tar archive (the "ustar" format of POSIX) of plain files, compressed.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, bytes) in files {
        let mut header = [0; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, "0000644\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", bytes.len()));
        put(136, "00000000000\0");
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend(header);
        tar.extend(*bytes);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&tar).expect("memory can be written");
    packed.finish().expect("memory can be written")
}
