//! The adapter as a PCI function: frame buffer at BAR 0, the same registers as at the ports in memory at BAR 2 (QEMU's
//! specification of its standard VGA, device 1234h:1111h, revision 2).

use super::Vga;
use super::spec::{REGISTER_WINDOW, dispi, mmio};
use crate::pci::ConfigSpace;
use crate::pci::spec::{command, header};
use crate::{Mmio, PciFunction, PortIo, Time};

/// BAR 2.
const BAR2: u8 = header::BAR0 + 8;

/// The configuration registers of an adapter with `ram` bytes (a power of two, or none).
pub(super) fn configuration(ram: usize) -> ConfigSpace {
    let mut space = ConfigSpace::new(0x1234, 0x1111, 0x03_0000, 2);
    space.register(header::COMMAND, 2, 0, u32::from(command::IOSE | command::MSE));
    if ram > 0 {
        let size = u32::try_from(ram.next_power_of_two()).unwrap_or(1 << 31);
        // Bit 3: prefetchable.
        space.register(header::BAR0, 4, 8, size.wrapping_neg());
        space.register(BAR2, 4, 0, REGISTER_WINDOW.wrapping_neg());
    }
    space.register(0x2C, 4, 0x1100_1AF4, 0);
    space
}

impl Vga {
    fn window(&self, bar: u8) -> Option<u64> {
        let base = self.space.get32(bar) & !0xF;
        (base != 0 && self.space.get16(header::COMMAND) & command::MSE != 0).then_some(base.into())
    }

    /// Where the frame buffer is decoded; it is as long as the memory.
    pub fn frame_buffer(&self) -> Option<u64> {
        self.window(header::BAR0)
    }

    /// Where the registers are decoded in memory, 4 KiB.
    pub fn register_window(&self) -> Option<u64> {
        self.window(BAR2)
    }

    /// Whether what is decoded changed since this was last asked.
    pub fn take_decode_change(&mut self) -> bool {
        std::mem::take(&mut self.decode_changed)
    }
}

impl PciFunction for Vga {
    fn config_read(&mut self, offset: u8, size: u8) -> u32 {
        self.space.read(offset, size)
    }

    fn config_write(&mut self, offset: u8, size: u8, value: u32) {
        let decoded = |vga: &Self| (vga.frame_buffer(), vga.register_window());
        let before = decoded(self);
        self.space.write(offset, size, value);
        self.decode_changed |= decoded(self) != before;
    }
}

/// `address` is the offset in the register window, or the address itself: only its low twelve bits are decoded.
impl Mmio for Vga {
    fn mmio_read(&mut self, now: Time, address: u64, size: u8) -> u64 {
        let offset = address as u16 & 0xFFF;
        let ones = u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)));
        match offset {
            mmio::PORTS..mmio::PORTS_END => self.port_read(now, 0x3C0 + (offset - mmio::PORTS), size.min(4)).into(),
            mmio::DISPI..mmio::DISPI_END => {
                u64::from(self.dispi.read((offset - mmio::DISPI) / 2)) >> (8 * (offset & 1)) & ones
            }
            _ => ones,
        }
    }

    fn mmio_write(&mut self, now: Time, address: u64, size: u8, value: u64) {
        let offset = address as u16 & 0xFFF;
        match offset {
            mmio::PORTS..mmio::PORTS_END => {
                self.port_write(now, 0x3C0 + (offset - mmio::PORTS), size.min(4), value as u32);
            }
            mmio::DISPI..mmio::DISPI_END if size >= 2 && offset & 1 == 0 => {
                self.changed = true;
                let register = (offset - mmio::DISPI) / 2;
                self.dispi.write(register, value as u16);
                if size >= 4 && register < dispi::index::VIDEO_MEMORY_64K {
                    self.dispi.write(register + 1, (value >> 16) as u16);
                }
            }
            _ => {}
        }
    }
}
