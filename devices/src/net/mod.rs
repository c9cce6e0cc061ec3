//! Network cards: NE2000 on ISA and PCI (DP8390), and RTL8139C+.
//!
//! A card exchanges whole Ethernet frames, without preamble and check sequence, with a [`NetPort`]: the far end of its
//! cable. Frames wait there until the card has room, so a card never holds more than its own memory. A frame that
//! waits for [`PATIENCE`] while the driver does nothing is lost and the card says so, as when a real ring overflows:
//! a driver that has left packets in a full ring would never be told of another one.

pub mod dp8390;
pub mod rtl8139;

use crate::{GuestMemory, PciFunction, PortIo, Time, Timed};

/// Longest frame that a card sends or takes: 1500 bytes of payload, the header and a VLAN tag.
pub const MAX_FRAME: usize = 1518;
/// Shortest frame on the cable; shorter ones are padded with zeros on their way to the guest.
pub const MIN_FRAME: usize = 60;
/// Destination, source and type.
pub const HEADER: usize = 14;

/// How long, in nanoseconds of guest time, a frame waits for room in a ring that the driver has stopped to read: that
/// of eight long frames on a cable of 10 Mbit/s, which is what an NE2000's ring holds.
pub const PATIENCE: Time = 10_000_000;

/// An Ethernet (MAC) address.
pub type MacAddress = [u8; 6];

/// The far end of a card's cable. Queues behind it are bounded by whoever implements it: a frame that finds no room
/// is lost, as on a real cable.
pub trait NetPort: Send {
    /// The card sends `frame`, of [`HEADER`] to [`MAX_FRAME`] bytes.
    fn send(&mut self, frame: &[u8]);
    /// Length of the frame that waits for the card, if one does.
    fn waiting(&self) -> Option<usize>;
    /// Takes the frame that waits.
    fn poll(&mut self) -> Option<Vec<u8>>;
}

/// What the board needs of a card beside its ports.
pub trait NetworkCard: PortIo + Timed + PciFunction + Send {
    /// The system's reset.
    fn reset(&mut self);
    /// First port and number of ports decoded at present.
    fn io_range(&self) -> Option<(u16, u16)>;
    /// First address and length of the memory decoded at present.
    fn memory_range(&self) -> Option<(u64, u64)> {
        None
    }
    /// Whether what is decoded changed since this was last asked.
    fn take_decode_change(&mut self) -> bool;
    /// Whether [`NetworkCard::run_dma`] has something to do.
    fn dma_pending(&self) -> bool {
        false
    }
    /// Moves frames between guest memory and the cable; the board calls this after accesses and events.
    fn run_dma(&mut self, _now: Time, _memory: &mut dyn GuestMemory) {}
}

/// A card of any kind.
pub struct Nic(Box<dyn NetworkCard>);

impl Nic {
    /// Wraps `card`.
    pub fn new(card: impl NetworkCard + 'static) -> Self {
        Self(Box::new(card))
    }

    /// The card.
    pub fn card(&mut self) -> &mut dyn NetworkCard {
        &mut *self.0
    }
}

impl std::fmt::Debug for Nic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nic").field("io", &self.0.io_range()).finish_non_exhaustive()
    }
}

impl PortIo for Nic {
    fn port_read(&mut self, now: Time, port: u16, size: u8) -> u32 {
        self.0.port_read(now, port, size)
    }

    fn port_write(&mut self, now: Time, port: u16, size: u8, value: u32) {
        self.0.port_write(now, port, size, value);
    }
}

impl Timed for Nic {
    fn next_event(&self) -> Option<Time> {
        self.0.next_event()
    }

    fn advance(&mut self, now: Time) {
        self.0.advance(now);
    }
}

impl PciFunction for Nic {
    fn config_read(&mut self, offset: u8, size: u8) -> u32 {
        self.0.config_read(offset, size)
    }

    fn config_write(&mut self, offset: u8, size: u8, value: u32) {
        self.0.config_write(offset, size, value);
    }
}

/// A cable with nothing at its far end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unplugged;

impl NetPort for Unplugged {
    fn send(&mut self, _frame: &[u8]) {}

    fn waiting(&self) -> Option<usize> {
        None
    }

    fn poll(&mut self) -> Option<Vec<u8>> {
        None
    }
}

/// The check sequence of IEEE 802.3, clause 3.2.9, of `data`.
pub(crate) fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ if crc & 1 != 0 { 0xEDB8_8320 } else { 0 })
    })
}

/// The bit of a card's 64-bit multicast table that stands for `address`: the six highest bits of the check sequence
/// as it leaves the shift register, that is before inversion and most significant bit first.
pub(crate) fn multicast_bit(address: &[u8]) -> u32 {
    (!crc32(address)).reverse_bits() >> 26
}

/// Which receiver rule lets a frame with this destination through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Broadcast,
    Multicast,
    /// The card's own address.
    Own,
    Other,
}

/// What kind of destination a frame for `to` has at the card with address `own`.
pub(crate) fn destination(to: &[u8], own: &MacAddress) -> Destination {
    if to == [0xFF; 6] {
        Destination::Broadcast
    } else if to.first().is_some_and(|first| first & 1 != 0) {
        Destination::Multicast
    } else if to == own {
        Destination::Own
    } else {
        Destination::Other
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A cable whose both ends the test holds.

    use super::*;
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    pub(crate) struct Cable(Arc<Mutex<[VecDeque<Vec<u8>>; 2]>>);

    impl Cable {
        pub(crate) fn offer(&self, frame: &[u8]) {
            self.0.lock().unwrap()[0].push_back(frame.to_vec());
        }

        pub(crate) fn sent(&self) -> Option<Vec<u8>> {
            self.0.lock().unwrap()[1].pop_front()
        }

        pub(crate) fn lengths(&self) -> [usize; 2] {
            let queues = self.0.lock().unwrap();
            [queues[0].len(), queues[1].len()]
        }
    }

    impl NetPort for Cable {
        fn send(&mut self, frame: &[u8]) {
            assert!((HEADER..=MAX_FRAME).contains(&frame.len()));
            self.0.lock().unwrap()[1].push_back(frame.to_vec());
        }

        fn waiting(&self) -> Option<usize> {
            self.0.lock().unwrap()[0].front().map(Vec::len)
        }

        fn poll(&mut self) -> Option<Vec<u8>> {
            self.0.lock().unwrap()[0].pop_front()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_sequence_and_the_multicast_table() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
        // 01-00-5E-00-00-01 (all hosts) is bit 31 of the table, as in the datasheets' drivers' tables.
        assert_eq!(multicast_bit(&[0x01, 0x00, 0x5E, 0x00, 0x00, 0x01]), 31);
        assert_eq!(destination(&[0xFF; 6], &[2; 6]), Destination::Broadcast);
        assert_eq!(destination(&[2; 6], &[2; 6]), Destination::Own);
        assert_eq!(destination(&[3; 6], &[2; 6]), Destination::Multicast);
        assert_eq!(destination(&[4; 6], &[2; 6]), Destination::Other);
    }
}
