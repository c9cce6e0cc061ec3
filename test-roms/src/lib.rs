//! One small program per architectural fact, and the demo guest.
//!
//! Every program is a flat image that a bare PC can start: a multiboot-1 image (`Kind::Multiboot`) or a floppy boot
//! sector (`Kind::BootSector`). It writes one line of text to port E9h and ends by writing a doubleword to the
//! debug-exit port F4h: 0 when the fact holds, otherwise the number of the check that failed.
#![forbid(unsafe_code)]

mod asm;
mod demo;
mod floppy;
mod pm;
mod rm;
mod roms;

pub use demo::demo_image;
pub use floppy::floppy;
pub use roms::all;

/// How an image is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Multiboot 1 with the address fields: loaded at 1 MiB, entered in 32-bit protected mode.
    Multiboot,
    /// Loaded at 0000:7C00 by the BIOS, 512 bytes ending in 55AAh, entered in real mode.
    BootSector,
}

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Rom {
    /// Unique, as printed by the program.
    pub name: &'static str,
    /// The file it is written in, which is the subject.
    pub group: &'static str,
    /// What it shows, in one sentence.
    pub fact: &'static str,
    /// Where the manual says so.
    pub section: &'static str,
    /// The oldest processor model that has it.
    pub cpu: &'static str,
    /// The bytes.
    pub image: &'static [u8],
    /// How to start it.
    pub kind: Kind,
    /// What QEMU's own CPU does instead, if it departs from the manual.
    pub qemu_differs: Option<&'static str>,
}
