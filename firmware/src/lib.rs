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

/// [`bios_image`] for a machine without local APIC, I/O APIC and HPET: its tables describe none.
#[must_use]
pub fn bios_image_without_apic() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let mut image = bios_image().to_vec();
        tables::place(&mut image, false);
        image
    })
}

/// The VGA BIOS as an option ROM of 32 KiB for C0000h: 55h AAh header, checksum, entry at offset 3.
#[must_use]
pub fn vga_bios_image() -> &'static [u8] {
    &images().video
}

/// The VGA BIOS's font with glyphs of `height` lines (8, 14 or 16), one byte for each line, for characters 0 to 255.
#[must_use]
pub fn font(height: usize) -> Option<Vec<u8>> {
    video::font(height)
}

/// Offsets of the system BIOS's labels in segment F000h, for traces and debuggers.
#[must_use]
pub fn bios_symbols() -> &'static Symbols {
    &images().symbols
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    fn word(bytes: &[u8], at: usize) -> u16 {
        u16::from_le_bytes([bytes[at], bytes[at + 1]])
    }

    /// Offset of a table that starts with `signature` on a 16-byte boundary.
    fn find(signature: &[u8]) -> usize {
        let paragraph = bios_image().chunks(16).position(|paragraph| paragraph.starts_with(signature));
        16 * paragraph.unwrap_or_else(|| panic!("{signature:?} is not in the image"))
    }

    #[test]
    fn reset_vector_jumps_to_post() {
        let bios = bios_image();
        assert_eq!(bios.len(), 0x1_0000);
        assert_eq!(bios[0xfff0..0xfff5], [0xea, 0x5b, 0xe0, 0x00, 0xf0]);
        assert_eq!(bios[0xfffe], 0xfc);
        assert_eq!(bios[0xe05b], 0xe9);
        assert_eq!(word(bios, 0xe05c).wrapping_add(0xe05e), bios_symbols()["post"]);
    }

    #[test]
    fn customary_entry_points_reach_their_services() {
        for (at, name) in
            [(0xe3fe, "int13"), (0xf841, "int12"), (0xf859, "int15"), (0xfe6e, "int1a"), (0xfea5, "int08")]
        {
            assert_eq!(bios_image()[at], 0xe9, "{name}");
            let target = word(bios_image(), at + 1).wrapping_add(at as u16 + 3);
            assert_eq!(target, bios_symbols()[name], "{name}");
        }
        assert_eq!(bios_image()[0xff53], 0xcf);
        assert_eq!(word(bios_image(), 0xe6f5), 8, "length of the configuration table");
    }

    #[test]
    fn a_machine_without_apics_is_told_of_none() {
        let (with, without) = (bios_image(), bios_image_without_apic());
        let has = |image: &[u8], text: &[u8]| image.windows(4).any(|word| word == text);
        for signature in [b"_MP_", b"APIC", b"HPET", b"PICM"] {
            assert!(has(&with[0xd000..0xe000], signature) && !has(&without[0xd000..0xe000], signature));
        }
        for signature in [b"RSDT", b"FACP", b"DSDT", b"$PIR", b"_SM_"] {
            assert!(has(with, signature) && has(without, signature));
        }
        assert!(with[..0xd000] == without[..0xd000] && with[0xe000..] == without[0xe000..]);
    }

    #[test]
    fn video_bios_is_an_option_rom() {
        let video = vga_bios_image();
        assert_eq!(video[..3], [0x55, 0xaa, 64]);
        assert_eq!(video.len(), 64 * 512);
        assert_eq!(sum(video), 0);
        assert_eq!(video[3], 0xe9);
        assert_eq!(&bios_image()[..video.len()], video);
    }

    #[test]
    fn tables_can_be_found() {
        let bios = bios_image();
        let rsdp = find(b"RSD PTR ");
        assert_eq!(sum(&bios[rsdp..rsdp + 20]), 0);
        let rsdt = u32::from_le_bytes([bios[rsdp + 16], bios[rsdp + 17], bios[rsdp + 18], bios[rsdp + 19]]);
        assert_eq!(&bios[rsdt as usize - 0xf_0000..][..4], b"RSDT");
        let routing = find(b"$PIR");
        assert_eq!(sum(&bios[routing..routing + usize::from(word(bios, routing + 6))]), 0);
        let pointer = find(b"_MP_");
        let table = u32::from_le_bytes([bios[pointer + 4], bios[pointer + 5], bios[pointer + 6], bios[pointer + 7]]);
        assert_eq!(&bios[table as usize - 0xf_0000..][..4], b"PCMP");
        let smbios = find(b"_SM_");
        assert_eq!(sum(&bios[smbios..smbios + 31]), 0);
        let plug_and_play = find(b"$PnP");
        assert_eq!(sum(&bios[plug_and_play..plug_and_play + 33]), 0);
        assert_eq!(word(bios, plug_and_play + 13), bios_symbols()["pnp_entry"]);
        let memory_manager = find(b"$PMM");
        assert_eq!(sum(&bios[memory_manager..memory_manager + 16]), 0);
        assert_eq!(word(bios, memory_manager + 7), bios_symbols()["pmm_entry"]);
    }
}
