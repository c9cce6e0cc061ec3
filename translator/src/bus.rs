//! What the CPU needs from outside.

/// Ports, memory-mapped devices, interrupt acknowledge and time. Implemented by the board.
///
/// `retired` is the number of instructions completed since reset when the access happens: with a virtual clock it is
/// the guest's time.
pub trait Bus {
    /// Reads `size` (1, 2 or 4) bytes from an I/O port. Nobody there: all ones.
    fn port_read(&mut self, retired: u64, port: u16, size: u8) -> u32;
    /// Writes `size` (1, 2 or 4) bytes to an I/O port.
    fn port_write(&mut self, retired: u64, port: u16, size: u8, value: u32);
    /// Reads `size` (1, 2, 4 or 8) bytes from a physical address that is not RAM. Never crosses a page.
    fn mem_read(&mut self, retired: u64, addr: u64, size: u8) -> u64;
    /// Writes `size` (1, 2, 4 or 8) bytes to a physical address that is not RAM. Never crosses a page.
    fn mem_write(&mut self, retired: u64, addr: u64, size: u8, value: u64);
    /// The INTA cycle: the interrupt controller's vector for the pending request.
    fn acknowledge(&mut self, retired: u64) -> u8;
    /// The time stamp counter's raw value.
    fn tsc(&mut self, retired: u64) -> u64;
    /// IA32_APIC_BASE was written: where the local APIC's registers are, and whether it is on. Its page is reached by
    /// [`Bus::mem_read`] and [`Bus::mem_write`]. Only asked of a CPU with [`crate::Cpu::connect_local_apic`].
    fn set_apic_base(&mut self, _retired: u64, _base: u64) {}
    /// The raw time stamp that the local APIC's timer waits for, if it does.
    fn tsc_deadline(&mut self, _retired: u64) -> Option<u64> {
        None
    }
    /// Makes the local APIC's timer wait for a raw time stamp, or no longer.
    fn set_tsc_deadline(&mut self, _retired: u64, _deadline: Option<u64>) {}
}

/// A bus with nothing on it, for tests and conformance runs.
#[derive(Debug, Default)]
pub struct NullBus;

impl Bus for NullBus {
    fn port_read(&mut self, _: u64, _: u16, size: u8) -> u32 {
        u32::MAX >> (32 - 8 * u32::from(size.clamp(1, 4)))
    }
    fn port_write(&mut self, _: u64, _: u16, _: u8, _: u32) {}
    fn mem_read(&mut self, _: u64, _: u64, size: u8) -> u64 {
        u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)))
    }
    fn mem_write(&mut self, _: u64, _: u64, _: u8, _: u64) {}
    fn acknowledge(&mut self, _: u64) -> u8 {
        0xff
    }
    fn tsc(&mut self, retired: u64) -> u64 {
        retired
    }
}
