//! The addresses that software expects in every PC's ROM: entry points, tables, the reset vector, model and date.
//!
//! IBM's technical reference lists them; each entry point here is a near jump to the service.

use crate::asm::Symbols;
use crate::video::FONT_8X8;

/// Entry points of segment F000h.
const ENTRIES: &[(usize, &str)] = &[
    (0xe05b, "post"),
    (0xe3fe, "int13"),
    (0xe6f2, "int19"),
    (0xe739, "int14"),
    (0xe82e, "int16"),
    (0xe987, "int09"),
    (0xec59, "int40"),
    (0xef57, "int0e"),
    (0xefd2, "int17"),
    (0xf841, "int12"),
    (0xf84d, "int11"),
    (0xf859, "int15"),
    (0xfe6e, "int1a"),
    (0xfea5, "int08"),
    (0xff54, "int05"),
];

/// Plug and Play installation check structure, on a 16-byte boundary.
pub const PNP: usize = 0xe080;
/// POST Memory Manager structure, likewise.
pub const PMM: usize = 0xe0b0;
/// BIOS32 service directory, likewise.
const DIRECTORY: usize = 0xe0c0;
/// System configuration table (int 15h AH=C0h).
const CONFIGURATION: usize = 0xe6f5;
/// Diskette parameter table (int 1Eh).
const FLOPPY_PARAMETERS: usize = 0xefc7;
/// Glyphs 0-127 of the 8x8 font.
const FONT: usize = 0xfa6e;
/// Where the processor starts.
const RESET: usize = 0xfff0;

/// Writes the fixed places of the image.
pub fn place(image: &mut [u8], symbols: &Symbols) {
    let mut put = |at: usize, bytes: &[u8]| {
        let free = &mut image[at..at + bytes.len()];
        assert!(free.iter().all(|byte| *byte == 0), "something is at {at:#x} already");
        free.copy_from_slice(bytes);
    };
    for (at, name) in ENTRIES {
        let target = usize::from(symbols[*name]);
        let relative = (target.wrapping_sub(at + 3) as u16).to_le_bytes();
        put(*at, &[0xe9, relative[0], relative[1]]);
    }
    // Length 8, model FCh (AT), submodel 1, revision 0; features: second 8259A, RTC, keyboard intercept, EBDA.
    put(CONFIGURATION, &[8, 0, 0xfc, 1, 0, 0x74, 0x40, 0, 0, 0]);
    // SPECIFY bytes, motor-off ticks, N, sectors, gap, DTL, format gap, fill, settle ms, motor start in 1/8 s.
    put(FLOPPY_PARAMETERS, &[0xdf, 0x02, 0x25, 0x02, 18, 0x1b, 0xff, 0x6c, 0xf6, 0x0f, 0x08]);
    put(PNP, &installation_check(symbols));
    put(PMM, &memory_manager(symbols));
    put(DIRECTORY, &service_directory(symbols));
    put(FONT, &FONT_8X8[..1024]);
    put(RESET, &[0xea, 0x5b, 0xe0, 0x00, 0xf0]); // jmp F000:E05B
    put(0xff53, &[0xcf]); // IRET
    put(0xfff5, b"11/21/26");
    put(0xfffe, &[0xfc]);
}

/// Plug and Play BIOS Specification 1.0A, 4.4: version 1.0, no events, one service in real mode, none in protected mode.
fn installation_check(symbols: &Symbols) -> [u8; 33] {
    let mut check = [0; 33];
    let mut at = |place: usize, bytes: &[u8]| check[place..place + bytes.len()].copy_from_slice(bytes);
    at(0, b"$PnP\x10\x21");
    at(13, &symbols["pnp_entry"].to_le_bytes());
    at(15, &[0x00, 0xf0]);
    at(17, &symbols["pnp_protected_entry"].to_le_bytes());
    at(19, &0xf_0000u32.to_le_bytes());
    at(27, &[0x00, 0xf0]);
    at(29, &0xf_0000u32.to_le_bytes());
    check[8] = check.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    check
}

/// POST Memory Manager Specification 1.01, 3.1: revision 1, length, checksum, entry point.
fn memory_manager(symbols: &Symbols) -> [u8; 16] {
    let mut header = *b"$PMM\x01\x10\0\0\0\x00\xf0\0\0\0\0\0";
    header[7..9].copy_from_slice(&symbols["pmm_entry"].to_le_bytes());
    header[6] = header.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    header
}

/// Standard BIOS 32-bit Service Directory Proposal 0.4, 2: entry point, revision 0, length in paragraphs, checksum.
fn service_directory(symbols: &Symbols) -> [u8; 16] {
    let mut header = *b"_32_\0\0\x0f\0\0\x01\0\0\0\0\0\0";
    header[4..6].copy_from_slice(&symbols["protected.bios32_entry"].to_le_bytes());
    header[10] = header.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    header
}
