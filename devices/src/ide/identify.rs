//! What IDENTIFY (PACKET) DEVICE says.

use super::disk::{Disk, Modes};

/// 256 words being filled in.
struct Words([u16; 256]);

impl Words {
    /// Stores a string as ATA does: padded with spaces, the first of each two characters in the high byte.
    fn text(&mut self, first: usize, count: usize, text: &str) {
        let mut bytes = text.bytes().chain(std::iter::repeat(b' '));
        for word in &mut self.0[first..first + count] {
            let high = bytes.next().unwrap_or(b' ');
            *word = u16::from_be_bytes([high, bytes.next().unwrap_or(b' ')]);
        }
    }

    fn dword(&mut self, first: usize, value: u32) {
        self.0[first] = value as u16;
        self.0[first + 1] = (value >> 16) as u16;
    }

    fn finish(self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.0.into_iter().flat_map(u16::to_le_bytes).collect();
        // Word 255: signature and a checksum that makes all bytes add up to zero.
        bytes[510] = 0xA5;
        bytes[511] = 0;
        bytes[511] = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
        bytes
    }
}

const FIRMWARE: &str = "1.0";

/// Modes 0 to 2 in the low byte, the selected one in the high byte.
fn dma_modes(selected: Option<u8>) -> u16 {
    0x0007 | selected.map_or(0, |mode| 0x100 << mode)
}

/// An ATA disk.
pub(super) fn disk(disk: &Disk, modes: Modes, serial: &str) -> Vec<u8> {
    let mut words = Words([0; 256]);
    let total = disk.sectors();
    let (cylinders, heads, sectors) = disk.default_geometry();
    let (now_cylinders, now_heads, now_sectors) = disk.geometry();
    words.0[0] = 0x0040;
    words.0[1] = cylinders;
    words.0[3] = heads;
    words.0[6] = sectors;
    words.text(10, 10, serial);
    words.text(23, 4, FIRMWARE);
    words.text(27, 20, "RING86 HARDDISK");
    words.0[47] = 0x8000 | u16::from(Disk::MULTIPLE_MAX);
    // LBA, DMA, IORDY.
    words.0[49] = 0x0F00;
    words.0[50] = 0x4000;
    words.0[51] = 0x0200;
    words.0[53] = 0x0007;
    words.0[54] = now_cylinders;
    words.0[55] = now_heads;
    words.0[56] = now_sectors;
    words.dword(57, u32::from(now_cylinders) * u32::from(now_heads) * u32::from(now_sectors));
    words.0[59] = if disk.multiple() > 0 { 0x100 | u16::from(disk.multiple()) } else { 0 };
    words.dword(60, total.min(0x0FFF_FFFF) as u32);
    words.0[63] = dma_modes(modes.multiword);
    words.0[64] = 0x0003;
    words.0[65..69].fill(120);
    // ATA/ATAPI-1 to 6.
    words.0[80] = 0x007E;
    // NOP, buffer commands, host protected area, write cache, power management; LBA48, flush cache (ext). No SMART.
    words.0[82] = 0x7428;
    words.0[83] = 0x7400;
    words.0[84] = 0x4000;
    words.0[85] = if disk.has_cache() { 0x7428 } else { 0x7408 };
    words.0[86] = 0x3400;
    words.0[87] = 0x4000;
    words.0[88] = dma_modes(modes.ultra);
    words.0[93] = 0x6001;
    words.dword(100, total as u32);
    words.dword(102, (total >> 32) as u32);
    words.finish()
}

/// An ATAPI CD-ROM drive.
pub(super) fn cdrom(modes: Modes, serial: &str) -> Vec<u8> {
    let mut words = Words([0; 256]);
    // ATAPI, CD-ROM, removable, DRQ within 50 us, 12-byte packets.
    words.0[0] = 0x85C0;
    words.text(10, 10, serial);
    words.text(23, 4, FIRMWARE);
    words.text(27, 20, "RING86 CD-ROM");
    // LBA, DMA, IORDY. The direction of DMA need not be said.
    words.0[49] = 0x0F00;
    words.0[50] = 0x4000;
    words.0[51] = 0x0200;
    words.0[53] = 0x0007;
    words.0[63] = dma_modes(modes.multiword);
    words.0[64] = 0x0003;
    words.0[65..69].fill(120);
    words.0[80] = 0x001E;
    words.0[82] = 0x4210;
    words.0[83] = 0x4000;
    words.0[84] = 0x4000;
    words.0[85] = 0x4210;
    words.0[87] = 0x4000;
    words.0[88] = dma_modes(modes.ultra);
    words.finish()
}
