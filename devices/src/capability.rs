//! What a chip can be asked to do, one small trait for each capability.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Time;

/// A chip with I/O ports. `port` is the absolute port number, `size` is 1, 2 or 4 bytes.
pub trait PortIo {
    /// Reads `size` bytes at `port`; bits above the size are zero. Open bus reads as all ones.
    fn port_read(&mut self, now: Time, port: u16, size: u8) -> u32;
    /// Writes the low `size` bytes of `value` at `port`.
    fn port_write(&mut self, now: Time, port: u16, size: u8, value: u32);
}

/// A chip on an eight-bit data bus: wider accesses arrive as consecutive bytes, lowest port first.
///
/// Every such chip is a [`PortIo`] too, with the splitting done for it as the bus controller does.
pub trait BytePorts {
    /// Reads the byte at `port`.
    fn read8(&mut self, now: Time, port: u16) -> u8;
    /// Writes the byte at `port`.
    fn write8(&mut self, now: Time, port: u16, value: u8);
}

impl<T: BytePorts> PortIo for T {
    fn port_read(&mut self, now: Time, port: u16, size: u8) -> u32 {
        (0..size.min(4))
            .fold(0, |value, i| value | u32::from(self.read8(now, port.wrapping_add(u16::from(i)))) << (8 * i))
    }

    fn port_write(&mut self, now: Time, port: u16, size: u8, value: u32) {
        for i in 0..size.min(4) {
            self.write8(now, port.wrapping_add(u16::from(i)), (value >> (8 * i)) as u8);
        }
    }
}

/// A chip with memory-mapped registers. `address` is the guest-physical address, `size` 1, 2, 4 or 8 bytes.
pub trait Mmio {
    /// Reads `size` bytes at `address`; bits above the size are zero.
    fn mmio_read(&mut self, now: Time, address: u64, size: u8) -> u64;
    /// Writes the low `size` bytes of `value` at `address`.
    fn mmio_write(&mut self, now: Time, address: u64, size: u8, value: u64);
}

/// A chip whose outputs change by themselves as time passes.
pub trait Timed {
    /// When the chip next wants [`Timed::advance`]; `None` if nothing is due. Asking again after any access
    /// or `advance` is the caller's duty.
    fn next_event(&self) -> Option<Time>;
    /// Brings outputs and interrupts up to `now`. Calling early or late is harmless.
    fn advance(&mut self, now: Time);
}

/// One function of a PCI device, seen through configuration space.
pub trait PciFunction {
    /// Reads `size` (1, 2, 4) bytes at `offset`, naturally aligned.
    fn config_read(&mut self, offset: u8, size: u8) -> u32;
    /// Writes `size` (1, 2, 4) bytes at `offset`, naturally aligned.
    fn config_write(&mut self, offset: u8, size: u8, value: u32);
}

/// Guest-physical memory as a bus master sees it. Addresses that no memory answers read as all ones and
/// swallow writes.
pub trait GuestMemory {
    /// Fills `buffer` from `address` on.
    fn read(&mut self, address: u64, buffer: &mut [u8]);
    /// Stores `data` from `address` on.
    fn write(&mut self, address: u64, data: &[u8]);
}

/// A display adapter's memory, which the processor may reach beside the adapter. Offsets are in bytes.
pub trait VideoRam: Send {
    /// Size in bytes.
    fn len(&self) -> usize;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Fills `buffer` from `offset` on; what lies outside reads as all ones.
    fn read(&self, offset: usize, buffer: &mut [u8]);
    /// Stores `data` from `offset` on; what lies outside is dropped.
    fn write(&mut self, offset: usize, data: &[u8]);
}

impl VideoRam for Vec<u8> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn read(&self, offset: usize, buffer: &mut [u8]) {
        for (out, at) in buffer.iter_mut().zip(offset..) {
            *out = self.get(at).copied().unwrap_or(0xFF);
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        for (byte, at) in data.iter().zip(offset..) {
            if let Some(cell) = self.get_mut(at) {
                *cell = *byte;
            }
        }
    }
}

/// The peripheral's side of one 8237A channel: DREQ, DACK with data, and terminal count.
pub trait DmaPeer {
    /// Whether DREQ is asserted.
    fn dreq(&self) -> bool;
    /// DACK with IOR#: the peripheral gives a byte (a word on channels 5 to 7) that goes to memory.
    fn dma_take(&mut self, now: Time) -> u16;
    /// DACK with IOW#: the peripheral receives a byte (a word on channels 5 to 7) that came from memory.
    fn dma_give(&mut self, now: Time, value: u16);
    /// TC: the channel's count ran out with the transfer just made.
    fn terminal_count(&mut self, now: Time);
}

/// What a drive holds. Offsets and lengths are in bytes; a drive asks in whole sectors.
pub trait BlockMedia: Send {
    /// Size in bytes.
    fn len(&self) -> u64;
    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether writes are refused.
    fn read_only(&self) -> bool;
    /// Reads exactly `buffer.len()` bytes at `offset`.
    ///
    /// # Errors
    /// If the host cannot supply them, or the range lies outside the medium.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// If the host cannot store it, the medium is read-only, or the range lies outside.
    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Makes earlier writes durable.
    ///
    /// # Errors
    /// If the host cannot.
    fn flush(&mut self) -> io::Result<()>;
}

/// A shared chip's state stays usable even if a host thread panicked while it held the lock.
fn lock<T: ?Sized>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A chip reached in two ways (ports and configuration space, say) is shared behind a lock.
#[derive(Debug)]
pub struct Shared<T: ?Sized>(Arc<Mutex<T>>);

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Shared<T> {
    /// Puts `chip` behind a lock.
    pub fn new(chip: T) -> Self {
        Self(Arc::new(Mutex::new(chip)))
    }
}

impl<T: ?Sized> Shared<T> {
    /// Locks the chip. Do not lock it twice on one thread.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        lock(&self.0)
    }
}

impl<T: PciFunction + ?Sized> PciFunction for Shared<T> {
    fn config_read(&mut self, offset: u8, size: u8) -> u32 {
        self.lock().config_read(offset, size)
    }

    fn config_write(&mut self, offset: u8, size: u8, value: u32) {
        self.lock().config_write(offset, size, value);
    }
}

impl<T: PortIo + ?Sized> PortIo for Shared<T> {
    fn port_read(&mut self, now: Time, port: u16, size: u8) -> u32 {
        self.lock().port_read(now, port, size)
    }

    fn port_write(&mut self, now: Time, port: u16, size: u8, value: u32) {
        self.lock().port_write(now, port, size, value);
    }
}

impl<T: Timed + ?Sized> Timed for Shared<T> {
    fn next_event(&self) -> Option<Time> {
        self.lock().next_event()
    }

    fn advance(&mut self, now: Time) {
        self.lock().advance(now);
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A medium in memory that the test holds the other end of.

    use super::BlockMedia;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    pub(crate) struct Image {
        pub(crate) bytes: Arc<Mutex<Vec<u8>>>,
        pub(crate) read_only: bool,
        /// A byte that cannot be read.
        pub(crate) bad: Option<u64>,
        /// How often it was flushed.
        pub(crate) flushes: Arc<Mutex<u32>>,
        /// The host cannot make anything durable.
        pub(crate) no_flush: bool,
    }

    impl BlockMedia for Image {
        fn len(&self) -> u64 {
            self.bytes.lock().unwrap().len() as u64
        }

        fn read_only(&self) -> bool {
            self.read_only
        }

        fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            let end = offset + buffer.len() as u64;
            if self.bad.is_some_and(|bad| (offset..end).contains(&bad)) {
                return Err(io::ErrorKind::Other.into());
            }
            buffer.copy_from_slice(&self.bytes.lock().unwrap()[offset as usize..end as usize]);
            Ok(())
        }

        fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
            let offset = offset as usize;
            self.bytes.lock().unwrap()[offset..offset + data.len()].copy_from_slice(data);
            Ok(())
        }

        fn flush(&mut self) -> io::Result<()> {
            *self.flushes.lock().unwrap() += 1;
            if self.no_flush { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes([u8; 4]);
    impl BytePorts for Bytes {
        fn read8(&mut self, _: Time, port: u16) -> u8 {
            self.0[usize::from(port & 3)]
        }
        fn write8(&mut self, _: Time, port: u16, value: u8) {
            self.0[usize::from(port & 3)] = value;
        }
    }

    #[test]
    fn wide_accesses_split_lowest_port_first() {
        let mut chip = Bytes([0; 4]);
        chip.port_write(0, 0x10, 4, 0x4433_2211);
        assert_eq!(chip.0, [0x11, 0x22, 0x33, 0x44]);
        chip.port_write(0, 0x11, 2, 0xFFFF_BBAA);
        assert_eq!(chip.port_read(0, 0x10, 4), 0x44BB_AA11);
        assert_eq!(chip.port_read(0, 0x11, 2), 0xBBAA);
        assert_eq!(chip.port_read(0, 0x13, 1), 0x44);
    }
}
