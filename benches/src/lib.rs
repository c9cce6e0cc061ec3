//! Measurements in three sizes: criterion benchmarks of the translator's parts in `benches/`, a guest of timed kernels
//! in `guest/` (built by `guest/build.sh`), and `side-by-side`, which runs that guest in ring86 and in QEMU.
//!
//! A criterion benchmark is a file in `benches/` with a `[[bench]]` entry and `harness = false` in this crate's manifest;
//! [`kernel_image`] hands it the guest's image without an operating system.
#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};

/// Where `guest/build.sh` puts the image: a multiboot 1 ELF file that runs the kernels its command line names, prints
/// `name checksum` to port E9h and ends through port F4h with the value 10h.
pub fn kernel_image_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/bench/kernels.elf")
}

/// Reads that image.
///
/// # Errors
/// The image has not been built, or cannot be read.
pub fn kernel_image() -> io::Result<Vec<u8>> {
    std::fs::read(kernel_image_path())
}

/// The checksum that a kernel gives for a number of units, from `guest/expected.txt`, which was written by a run on the
/// host's own processor.
pub fn expected_checksum(kernel: &str, units: u32) -> Option<u32> {
    let table = include_str!("../guest/expected.txt");
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let here = words.next()?.parse() == Ok(units) && words.next() == Some(kernel);
        here.then(|| words.next().and_then(|w| u32::from_str_radix(w, 16).ok())).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_found_by_name_and_units() {
        assert_eq!(expected_checksum("crc32", 100), Some(0x9277_9d6c));
        assert_eq!(expected_checksum("crc32", 3), None);
        assert_eq!(expected_checksum("nothing", 100), None);
        for units in [1, 20, 100] {
            for kernel in ["sieve", "sha256", "quicksort", "bytecode", "chase", "fib", "calls", "copy-loop"] {
                assert!(expected_checksum(kernel, units).is_some(), "{kernel} {units}");
            }
        }
    }
}
