//! The expansion ROM base address register of a function that has a ROM on its card (PCI Local Bus Specification 2.1,
//! 6.2.5.2), but for one thing: the register's enable bit alone decides, not the command register's memory space bit
//! with it. The Bochs BIOS copies the video BIOS before it sets that bit.

use crate::{PciFunction, capability::Shared};

/// The register's offset.
const REGISTER: u8 = 0x30;
/// The register's enable bit.
const ENABLE: u32 = 1;

/// Where the ROM is decoded.
#[derive(Debug)]
pub struct ExpansionRom {
    // Parts.
    size: u32,
    // Volatile state.
    register: u32,
    place: Option<u64>,
    changed: bool,
}

impl ExpansionRom {
    /// A decoder for `bytes` of ROM: it takes the next power of two, 4 KiB at least. `None` if that is no size for a
    /// ROM (more than the 16 MiB that the specification allows, or nothing).
    pub fn new(bytes: usize) -> Option<Self> {
        let size = u32::try_from(bytes).ok().filter(|n| (1..=16 << 20).contains(n))?.next_power_of_two().max(4096);
        Some(Self { size, register: 0, place: None, changed: false })
    }

    /// Bytes decoded.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Where it is decoded, if it is.
    pub fn place(&self) -> Option<u64> {
        self.place
    }

    /// Whether that changed since this was last asked.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The system's reset.
    pub fn reset(&mut self) {
        self.register = 0;
        self.decode();
    }

    fn decode(&mut self) {
        let place = (self.register & ENABLE != 0).then_some(u64::from(self.register & !ENABLE));
        self.changed |= place != self.place;
        self.place = place;
    }
}

/// A function with a ROM beside it.
#[derive(Debug)]
pub struct WithRom<T> {
    function: T,
    rom: Shared<ExpansionRom>,
}

impl<T: PciFunction> WithRom<T> {
    /// `function` with `rom`, whose register it lacks itself.
    pub fn new(function: T, rom: Shared<ExpansionRom>) -> Self {
        Self { function, rom }
    }
}

impl<T: PciFunction> PciFunction for WithRom<T> {
    fn config_read(&mut self, offset: u8, size: u8) -> u32 {
        if offset & !3 != REGISTER {
            return self.function.config_read(offset, size);
        }
        self.rom.lock().register >> (8 * (offset & 3)) & (u32::MAX >> (32 - 8 * u32::from(size.clamp(1, 4))))
    }

    fn config_write(&mut self, offset: u8, size: u8, value: u32) {
        if offset & !3 != REGISTER {
            return self.function.config_write(offset, size, value);
        }
        let mut rom = self.rom.lock();
        let shift = 8 * u32::from(offset & 3);
        let lanes = (u32::MAX >> (32 - 8 * u32::from(size.clamp(1, 4)))) << shift;
        let writable = (rom.size.wrapping_neg() | ENABLE) & lanes;
        rom.register = rom.register & !writable | value << shift & writable;
        rom.decode();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::ConfigSpace;

    struct Function(ConfigSpace);

    impl PciFunction for Function {
        fn config_read(&mut self, offset: u8, size: u8) -> u32 {
            self.0.read(offset, size)
        }

        fn config_write(&mut self, offset: u8, size: u8, value: u32) {
            self.0.write(offset, size, value);
        }
    }

    #[test]
    fn the_register_sizes_places_and_enables() {
        let space = ConfigSpace::new(0x1234, 0x1111, 0x03_0000, 0);
        let rom = Shared::new(ExpansionRom::new(39_936).unwrap());
        let mut function = WithRom::new(Function(space), rom.clone());
        let seen = || {
            let mut rom = rom.lock();
            (rom.place(), rom.take_change())
        };
        function.config_write(REGISTER, 4, 0xFFFF_FFFE);
        assert_eq!(function.config_read(REGISTER, 4), 0xFFFF_0000);
        assert_eq!(seen(), (None, false));
        function.config_write(REGISTER, 4, 0xFEBE_0001);
        assert_eq!(seen(), (Some(0xFEBE_0000), true));
        assert_eq!((function.config_read(REGISTER + 2, 2), function.config_read(REGISTER, 1)), (0xFEBE, 1));
        assert_eq!(function.config_read(0, 4), 0x1111_1234);
        function.config_write(REGISTER, 1, 0);
        assert_eq!(seen(), (None, true));
        rom.lock().reset();
        assert_eq!((function.config_read(REGISTER, 4), seen()), (0, (None, false)));
    }

    #[test]
    fn sizes() {
        let size = |n| ExpansionRom::new(n).map(|rom| rom.size());
        assert_eq!((size(0), size(1), size(65_537), size((16 << 20) + 1)), (None, Some(4096), Some(131_072), None));
    }
}
