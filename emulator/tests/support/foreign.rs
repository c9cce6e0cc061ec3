//! The firmware that a test runs: ours, or what `tools/guests` installs.

use crate::guest::guest;

/// The options for SeaBIOS with its video BIOS.
#[must_use]
pub fn seabios() -> Option<Vec<String>> {
    firmware("seabios/bios-256k.bin", "seabios/vgabios-stdvga.bin")
}

/// The options for a system BIOS and a video BIOS from the guests' folder.
#[must_use]
pub fn firmware(bios: &str, video: &str) -> Option<Vec<String>> {
    let (bios, video) = (guest(bios)?.display().to_string(), guest(video)?.display().to_string());
    Some(vec!["--bios".to_owned(), bios, "--vga-bios".to_owned(), video])
}
