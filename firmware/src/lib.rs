//! The firmware that ships inside Ring86: a PC BIOS and a VGA BIOS of our own.
//!
//! Both are written with iced-x86's assembler and assembled at first use, so they build on any host with cargo alone.
//! One file holds one service. The firmware shares no constants with the emulator's devices: it is written from the
//! datasheets, so that one wrong constant cannot cancel itself out.
#![forbid(unsafe_code)]
#![recursion_limit = "1024"]

mod asm;
mod bios;
mod layout;
mod tables;
mod video;

pub use asm::Symbols;
use std::sync::OnceLock;

struct Images {
    bios: Vec<u8>,
    video: Vec<u8>,
    symbols: Symbols,
}

fn images() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let (video, _) = video::image();
        let (bios, symbols) = bios::image(&video);
        Images { bios, video, symbols }
    })
}

/// The system BIOS: 64 KiB that end at 1 MiB and, as a second mapping, at 4 GiB.
///
/// Its first 32 KiB are the VGA BIOS, which POST runs in place where no option ROM answers at C0000h.
#[must_use]
pub fn bios_image() -> &'static [u8] {
    &images().bios
}

/// The VGA BIOS as an option ROM of 32 KiB for C0000h: 55h AAh header, checksum, entry at offset 3.
#[must_use]
pub fn vga_bios_image() -> &'static [u8] {
    &images().video
}

/// Offsets of the system BIOS's labels in segment F000h, for traces and debuggers.
#[must_use]
pub fn bios_symbols() -> &'static Symbols {
    &images().symbols
}
