//! The firmware that `build.rs` assembled.

/// The system BIOS with the VGA BIOS in it, 64 KiB. Without APICs its tables describe none.
#[must_use]
pub fn bios(has_apics: bool) -> &'static [u8] {
    if has_apics {
        include_bytes!(concat!(env!("OUT_DIR"), "/bios.bin"))
    } else {
        include_bytes!(concat!(env!("OUT_DIR"), "/bios-without-apic.bin"))
    }
}

/// The VGA BIOS's font with glyphs of `height` lines (8, 14 or 16), one byte for each line, for characters 0 to 255.
#[must_use]
pub fn font(height: usize) -> Option<&'static [u8]> {
    match height {
        8 => Some(include_bytes!(concat!(env!("OUT_DIR"), "/font-8.bin"))),
        14 => Some(include_bytes!(concat!(env!("OUT_DIR"), "/font-14.bin"))),
        16 => Some(include_bytes!(concat!(env!("OUT_DIR"), "/font-16.bin"))),
        _ => None,
    }
}
