//! The 256 bytes of a function's configuration space, with what of them can be written.

use super::spec::header;

/// Plain configuration registers: read-only, read/write, and write-one-to-clear bits.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: [u8; 256],
    writable: [u8; 256],
    clearable: [u8; 256],
}

impl ConfigSpace {
    /// A type 00h header with the given identity; everything else zero and read-only. `class` is base class,
    /// sub-class and programming interface, as in 0x060100.
    pub fn new(vendor: u16, device: u16, class: u32, revision: u8) -> Self {
        let mut space = Self { bytes: [0; 256], writable: [0; 256], clearable: [0; 256] };
        space.set16(header::VENDOR_ID, vendor);
        space.set16(header::DEVICE_ID, device);
        space.set32(header::REVISION_ID, class << 8 | u32::from(revision));
        space
    }

    /// The byte at `offset`.
    pub fn get8(&self, offset: u8) -> u8 {
        self.bytes[usize::from(offset)]
    }

    /// The word at `offset`.
    pub fn get16(&self, offset: u8) -> u16 {
        self.read(offset, 2) as u16
    }

    /// The dword at `offset`.
    pub fn get32(&self, offset: u8) -> u32 {
        self.read(offset, 4)
    }

    /// Sets a byte whatever its mask says.
    pub fn set8(&mut self, offset: u8, value: u8) {
        self.bytes[usize::from(offset)] = value;
    }

    /// Sets a word whatever its mask says.
    pub fn set16(&mut self, offset: u8, value: u16) {
        self.set_bytes(offset, &value.to_le_bytes());
    }

    /// Sets a dword whatever its mask says.
    pub fn set32(&mut self, offset: u8, value: u32) {
        self.set_bytes(offset, &value.to_le_bytes());
    }

    fn set_bytes(&mut self, offset: u8, bytes: &[u8]) {
        for (i, &byte) in bytes.iter().enumerate() {
            self.bytes[usize::from(offset.wrapping_add(i as u8))] = byte;
        }
    }

    /// Sets the default value and writable bits of a register of `size` bytes.
    pub fn register(&mut self, offset: u8, size: u8, value: u32, writable: u32) {
        for i in 0..size.min(4) {
            let at = usize::from(offset.wrapping_add(i));
            self.bytes[at] = (value >> (8 * i)) as u8;
            self.writable[at] = (writable >> (8 * i)) as u8;
        }
    }

    /// Makes bits of the byte at `offset` clear when 1 is written.
    pub fn write_one_to_clear(&mut self, offset: u8, bits: u8) {
        self.clearable[usize::from(offset)] = bits;
    }

    /// Reads `size` bytes, lowest first.
    pub fn read(&self, offset: u8, size: u8) -> u32 {
        (0..size.min(4)).fold(0, |value, i| value | u32::from(self.get8(offset.wrapping_add(i))) << (8 * i))
    }

    /// Writes `size` bytes as software may.
    pub fn write(&mut self, offset: u8, size: u8, value: u32) {
        for i in 0..size.min(4) {
            let at = usize::from(offset.wrapping_add(i));
            let byte = (value >> (8 * i)) as u8;
            let kept = self.bytes[at] & !self.writable[at] | byte & self.writable[at];
            self.bytes[at] = kept & !(byte & self.clearable[at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_decide_what_a_write_changes() {
        let mut space = ConfigSpace::new(0x8086, 0x7113, 0x06_8000, 3);
        assert_eq!(space.get32(0), 0x7113_8086);
        assert_eq!(space.get32(8), 0x0680_0003);
        space.register(0x40, 4, 1, 0xFFC0);
        space.write(0x40, 4, u32::MAX);
        assert_eq!(space.get32(0x40), 0xFFC1);
        space.write(0x41, 1, 0x12);
        assert_eq!(space.get16(0x40), 0x12C1);
        space.set8(7, 0xF0);
        space.write_one_to_clear(7, 0x30);
        space.write(4, 4, 0x1000_0000);
        assert_eq!(space.get8(7), 0xE0);
        space.write(0, 4, 0);
        assert_eq!(space.get16(0), 0x8086);
    }
}
