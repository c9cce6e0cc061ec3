//! The system BIOS: segment F000h, code from 8000h (the 32-bit part first), tables from D000h, the PC's customary entry points from E000h.

mod apm;
mod boot;
mod cd;
mod chipset;
mod cmos;
mod disk;
mod disk_detect;
mod disk_io;
mod entry_points;
mod floppy;
mod floppy_chip;
mod frames;
mod keyboard_codes;
mod keyboard_irq;
mod keyboard_service;
mod memory;
mod messages;
mod mouse;
mod option_roms;
mod pci;
mod pci_service;
mod pmm;
mod ports;
mod post;
mod protected;
mod system;
mod timer;

use crate::asm::{Builder, Emit, Symbols, assemble, assemble_32};
use crate::tables;

/// Where the VGA BIOS ends and this BIOS's code starts.
const CODE_START: u16 = 0x8000;
/// What the names of the 32-bit part's labels begin with.
const PROTECTED: &str = "protected.";

/// Fills the 64 KiB image around the VGA BIOS. Returns it with the addresses of its labels.
pub fn image(video: &[u8]) -> (Vec<u8>, Symbols) {
    let (protected, entries) = assemble_32(CODE_START, &protected::emit);
    let start = usize::from(CODE_START) + protected.len();
    let (code, mut symbols) = assemble(start as u16, &|b| emit(b, &entries));
    symbols.extend(entries.into_iter().map(|(name, at)| (format!("{PROTECTED}{name}"), at)));
    let end = start + code.len();
    assert!(end <= usize::from(tables::START), "code ends at {end:#x}, inside the tables");
    let mut image = vec![0; 0x1_0000];
    image[..video.len()].copy_from_slice(video);
    image[usize::from(CODE_START)..start].copy_from_slice(&protected);
    image[start..end].copy_from_slice(&code);
    tables::place(&mut image, true);
    entry_points::place(&mut image, &symbols);
    (image, symbols)
}

/// The 16-bit part; `protected` are the labels of the other.
fn emit(b: &mut Builder, protected: &Symbols) -> Emit {
    post::emit(b)?;
    chipset::emit(b)?;
    cmos::emit(b)?;
    memory::emit(b)?;
    pci::emit(b)?;
    messages::emit(b)?;
    option_roms::emit(b)?;
    pmm::emit(b)?;
    boot::emit(b)?;
    cd::emit(b)?;
    timer::emit(b)?;
    keyboard_irq::emit(b)?;
    keyboard_codes::emit(b)?;
    keyboard_service::emit(b)?;
    mouse::emit(b)?;
    floppy::emit(b)?;
    floppy_chip::emit(b)?;
    disk::emit(b)?;
    disk_detect::emit(b)?;
    disk_io::emit(b)?;
    system::emit(b)?;
    apm::emit(b, protected)?;
    ports::emit(b)?;
    pci_service::emit(b)?;
    frames::emit(b)
}
