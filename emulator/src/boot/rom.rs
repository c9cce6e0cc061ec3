//! The option ROM that takes over the firmware's boot service.

/// A byte written here asks the machine to load the payload. The port exists only in machines that have one.
pub const HANDOFF_PORT: u16 = 0x8b00;
/// ROMs are counted in blocks of 512 bytes.
const LEN: usize = 512;
/// Offset of the new int 19h service.
const BOOT: usize = 18;

/// 512 bytes: the header (55h AAh, length, entry at 3), the code, and a checksum that makes all bytes sum to zero.
pub fn option_rom() -> Vec<u8> {
    let [port_low, port_high] = HANDOFF_PORT.to_le_bytes();
    #[rustfmt::skip]
    let mut rom = vec![
        0x55, 0xaa, 1,
        // Entered by a far call with all registers saved: points int 19h at BOOT.
        0x31, 0xc0,                               // xor ax, ax
        0x8e, 0xd8,                               // mov ds, ax
        0xc7, 0x06, 0x64, 0x00, BOOT as u8, 0x00, // mov word [0064h], BOOT
        0x8c, 0x0e, 0x66, 0x00,                   // mov [0066h], cs
        0xcb,                                     // retf
        // BOOT: the machine sets new registers before the HLT runs.
        0xfa,                                     // cli
        0xba, port_low, port_high,                // mov dx, HANDOFF_PORT
        0xee,                                     // out dx, al
        0xf4,                                     // hlt
        0xeb, 0xfd,                               // jmp to the hlt
    ];
    rom.resize(LEN, 0);
    let sum = rom.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    rom[LEN - 1] = sum.wrapping_neg();
    rom
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rom_is_one_that_post_accepts() {
        let rom = option_rom();
        assert_eq!((rom.len(), &rom[..3]), (512, &[0x55, 0xaa, 1][..]));
        assert_eq!(rom.iter().fold(0u8, |s, b| s.wrapping_add(*b)), 0);
        // The address the vector gets is that of CLI, just behind RETF.
        assert_eq!(rom[BOOT - 1..=BOOT], [0xcb, 0xfa]);
    }
}
