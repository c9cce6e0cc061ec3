//! The modes and the monitor that the VBE services tell of.

use crate::asm::{Builder, Emit, x86};

/// Number, width, height and bits of a pixel, 4 for planes. The numbers below 120h are VESA's; the others customary or our own.
const MODES: &[(u16, u16, u16, u8)] = &[
    (0x06a, 800, 600, 4),
    (0x100, 640, 400, 8),
    (0x101, 640, 480, 8),
    (0x102, 800, 600, 4),
    (0x103, 800, 600, 8),
    (0x105, 1024, 768, 8),
    (0x107, 1280, 1024, 8),
    (0x10d, 320, 200, 15),
    (0x10e, 320, 200, 16),
    (0x10f, 320, 200, 24),
    (0x110, 640, 480, 15),
    (0x111, 640, 480, 16),
    (0x112, 640, 480, 24),
    (0x113, 800, 600, 15),
    (0x114, 800, 600, 16),
    (0x115, 800, 600, 24),
    (0x116, 1024, 768, 15),
    (0x117, 1024, 768, 16),
    (0x118, 1024, 768, 24),
    (0x119, 1280, 1024, 15),
    (0x11a, 1280, 1024, 16),
    (0x11b, 1280, 1024, 24),
    (0x11c, 1600, 1200, 8),
    (0x11d, 1600, 1200, 15),
    (0x11e, 1600, 1200, 16),
    (0x11f, 1600, 1200, 24),
    (0x140, 320, 200, 32),
    (0x141, 640, 400, 32),
    (0x142, 640, 480, 32),
    (0x143, 800, 600, 32),
    (0x144, 1024, 768, 32),
    (0x145, 1280, 1024, 32),
    (0x146, 320, 200, 8),
    (0x147, 1600, 1200, 32),
    (0x148, 1152, 864, 8),
    (0x14a, 1152, 864, 16),
    (0x14c, 1152, 864, 32),
    (0x175, 1280, 720, 16),
    (0x177, 1280, 720, 32),
    (0x178, 1280, 800, 16),
    (0x17a, 1280, 800, 32),
    (0x17b, 1440, 896, 16),
    (0x17d, 1440, 896, 32),
    (0x18d, 1920, 1080, 16),
    (0x18f, 1920, 1080, 32),
];

/// Bytes of an entry in the ROM's table, and its fields.
pub const ENTRY: i32 = 7;
pub const ENTRY_WIDTH: i32 = 2;
pub const ENTRY_HEIGHT: i32 = 4;
pub const ENTRY_BITS: i32 = 6;

/// The monitor as DDC tells it (VESA EDID 1.3): established timings up to 1280x1024, prefers 1024x768 at 60 Hz.
fn edid() -> [u8; 128] {
    let mut block = [0; 128];
    block[..8].copy_from_slice(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    // Manufacturer 'RNG' in five-bit letters, product, week 1 of 2026, version 1.3.
    let letter = |c: u8| u16::from(c - b'@');
    let manufacturer = letter(b'R') << 10 | letter(b'N') << 5 | letter(b'G');
    block[8..10].copy_from_slice(&manufacturer.to_be_bytes());
    block[10..20].copy_from_slice(&[0x86, 0, 1, 0, 0, 0, 1, 36, 1, 3]);
    // Analogue, 32 by 24 cm, gamma 2.2, RGB, first timing preferred; sRGB chromaticities.
    block[20..25].copy_from_slice(&[0x08, 32, 24, 120, 0x0a]);
    block[25..35].copy_from_slice(&[0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54]);
    // 640x480, 800x600, 1024x768, 1280x1024.
    block[35..38].copy_from_slice(&[0x21, 0x09, 0x00]);
    for standard in 0..8 {
        block[38 + 2 * standard..40 + 2 * standard].copy_from_slice(&[1, 1]);
    }
    // 65 MHz, 1024 + 320, 768 + 38, sync 24/136 and 3/6, negative.
    block[54..72].copy_from_slice(&[
        0x64, 0x19, 0x00, 0x40, 0x41, 0x00, 0x26, 0x30, 0x18, 0x88, 0x36, 0x00, 0x40, 0xf0, 0x10, 0, 0, 0x18,
    ]);
    block[72..90].copy_from_slice(b"\0\0\0\xfc\0Ring86\n      ");
    block[90..108].copy_from_slice(&[0, 0, 0, 0xfd, 0, 50, 75, 30, 80, 16, 0, 10, 32, 32, 32, 32, 32, 32]);
    block[108..126].copy_from_slice(&[0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    block[127] = block.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    block
}

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b; vbe_edid:);
    b.db(&edid())?;
    x86!(b; vbe_modes:);
    for (number, width, height, bits) in MODES {
        b.db(&number.to_le_bytes())?;
        b.db(&width.to_le_bytes())?;
        b.db(&height.to_le_bytes())?;
        b.db(&[*bits])?;
    }
    b.db(&[0xff, 0xff])?;
    x86!(b; vbe_mode_list:);
    for (number, ..) in MODES {
        b.db(&number.to_le_bytes())?;
    }
    b.db(&[0xff, 0xff])?;
    for (name, text) in [
        ("vbe_text_vendor", "Ring86"),
        ("vbe_text_product", "Ring86 VBE adapter"),
        ("vbe_text_revision", env!("CARGO_PKG_VERSION")),
    ] {
        b.define(name)?;
        b.text(text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monitors_description_is_well_formed() {
        let block = edid();
        assert_eq!(block.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        assert_eq!(u16::from(block[56]) | u16::from(block[58] >> 4) << 8, 1024);
        assert_eq!(u16::from(block[59]) | u16::from(block[61] >> 4) << 8, 768);
    }

    #[test]
    fn modes_fit_sixteen_mebibytes_and_their_numbers_are_distinct() {
        for (i, (number, width, height, bits)) in MODES.iter().enumerate() {
            let bytes = u32::from(*width) * u32::from(*height) * u32::from(bits.div_ceil(8));
            assert!(bytes <= 16 << 20 && width % 8 == 0, "{number:x}");
            assert!(MODES[..i].iter().all(|(other, ..)| other < number), "{number:x}");
        }
    }
}
