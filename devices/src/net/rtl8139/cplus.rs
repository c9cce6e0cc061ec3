//! C+ mode: descriptor rings in guest memory for both directions, with checksums, large sends and VLAN tags.

use super::offload::{self, MAX_LARGE, Wanted};
use super::spec::{FCS, RING_MAX, cpcr, cr, isr, opts1, opts2, rx};
use super::{Rtl8139, STARVED};
use crate::net::{HEADER, MAX_FRAME};
use crate::{GuestMemory, Time};

/// Descriptors looked at for one request; more than two full rings mean that the memory does not keep what the card
/// writes.
const STEPS: u32 = 2 * RING_MAX;

/// Physical addresses that exist on any PC; arithmetic on them cannot overflow.
const ADDRESS: u64 = (1 << 52) - 1;

/// A ring with the card's place in it.
#[derive(Clone, Copy, Debug, Default)]
struct Ring {
    base: u64,
    index: u32,
    /// The guest asked for it to be looked at.
    polled: bool,
}

impl Ring {
    fn write(&mut self, byte: u8, value: u8) {
        let shift = 8 * u32::from(byte & 7);
        self.base = self.base & !(0xFF << shift) | u64::from(value) << shift;
        self.index = 0;
    }

    /// Address of the present descriptor. The rings lie at multiples of 256.
    fn place(&self) -> u64 {
        (self.base & ADDRESS & !0xFF) + 16 * u64::from(self.index)
    }

    fn step(&mut self, end_of_ring: bool) {
        self.index = if end_of_ring || self.index + 1 >= RING_MAX { 0 } else { self.index + 1 };
    }
}

/// A descriptor as read from memory, once.
#[derive(Clone, Copy, Debug, Default)]
struct Descriptor {
    opts1: u32,
    opts2: u32,
    buffer: u64,
}

impl Descriptor {
    fn read(at: u64, memory: &mut dyn GuestMemory) -> Self {
        let mut bytes = [0; 16];
        memory.read(at, &mut bytes);
        let word = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        Self { opts1: word(0), opts2: word(4), buffer: (u64::from(word(8)) | u64::from(word(12)) << 32) & ADDRESS }
    }

    fn is(&self, bit: u32) -> bool {
        self.opts1 & bit != 0
    }
}

/// Registers and state of C+ mode.
#[derive(Clone, Debug, Default)]
pub(super) struct CPlus {
    command: u16,
    normal: Ring,
    high: Ring,
    receive: Ring,
    tally: u64,
    tally_wanted: bool,
    /// The receive ring had no descriptor; the card looks again at this time.
    retry_at: Option<Time>,
    /// Parts of a packet whose last descriptor has not come.
    partial: Vec<u8>,
    sent: u64,
    received: u64,
}

impl CPlus {
    pub(super) fn sends(&self) -> bool {
        self.command & cpcr::CP_TX != 0
    }

    pub(super) fn receives(&self) -> bool {
        self.command & cpcr::CP_RX != 0
    }

    pub(super) fn command(&self) -> u16 {
        self.command
    }

    pub(super) fn set_command(&mut self, value: u16) {
        self.command = value;
    }

    pub(super) fn tally_address(&self) -> u64 {
        self.tally
    }

    pub(super) fn receive_ring(&self) -> u64 {
        self.receive.base
    }

    pub(super) fn write_tally(&mut self, byte: u8, value: u8) {
        let shift = 8 * u32::from(byte & 7);
        // The command bits are no part of the address and read as 0 when the dump is done.
        let value = if byte == 0 { value & 0xC0 } else { value };
        self.tally = self.tally & !(0xFF << shift) | u64::from(value) << shift;
    }

    pub(super) fn request_tallies(&mut self) {
        self.tally_wanted = true;
    }

    pub(super) fn write_transmit_ring(&mut self, byte: u8, value: u8) {
        if byte < 8 { self.normal.write(byte, value) } else { self.high.write(byte, value) }
    }

    pub(super) fn write_receive_ring(&mut self, byte: u8, value: u8) {
        self.receive.write(byte, value);
    }

    pub(super) fn poll(&mut self, high: bool, normal: bool) {
        self.high.polled |= high;
        self.normal.polled |= normal;
    }

    pub(super) fn restart_receiver(&mut self) {
        self.receive.index = 0;
    }

    pub(super) fn restart_transmitter(&mut self) {
        (self.normal.index, self.high.index) = (0, 0);
        self.partial.clear();
    }

    pub(super) fn has_work(&self) -> bool {
        self.high.polled || self.normal.polled || self.tally_wanted
    }

    /// The guest touched a register: perhaps it gave descriptors, too.
    pub(super) fn guest_acted(&mut self) {
        self.retry_at = None;
    }

    pub(super) fn starved_until(&self, now: Time) -> bool {
        self.retry_at.is_some_and(|at| now < at)
    }

    /// Bytes of an unfinished packet.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.partial.len()
    }

    pub(super) fn retry_time(&self) -> Option<Time> {
        self.retry_at
    }
}

impl Rtl8139 {
    /// Sends what the polled transmit rings hold, the high priority one first.
    pub(super) fn send_by_descriptor(&mut self, memory: &mut dyn GuestMemory) {
        for high in [true, false] {
            let ring = if high { &mut self.cplus.high } else { &mut self.cplus.normal };
            if !std::mem::take(&mut ring.polled) {
                continue;
            }
            if self.command & cr::TE == 0 || !self.cplus.sends() {
                continue;
            }
            let mut ring = if high { self.cplus.high } else { self.cplus.normal };
            for _ in 0..STEPS {
                let at = ring.place();
                let descriptor = Descriptor::read(at, memory);
                if !descriptor.is(opts1::OWN) {
                    break;
                }
                self.take_segment(&descriptor, memory);
                memory.write(at, &(descriptor.opts1 & !opts1::OWN).to_le_bytes());
                ring.step(descriptor.is(opts1::EOR));
            }
            *(if high { &mut self.cplus.high } else { &mut self.cplus.normal }) = ring;
            self.raise(isr::TOK | isr::TDU);
        }
    }

    /// One transmit descriptor: gathers its bytes, and sends the packet if it is the last.
    fn take_segment(&mut self, descriptor: &Descriptor, memory: &mut dyn GuestMemory) {
        if descriptor.is(opts1::FS) {
            self.cplus.partial.clear();
        }
        let length = (descriptor.opts1 & opts1::TX_LENGTH) as usize;
        let held = self.cplus.partial.len();
        if held + length <= MAX_LARGE {
            self.cplus.partial.resize(held + length, 0);
            memory.read(descriptor.buffer, &mut self.cplus.partial[held..]);
        }
        if !descriptor.is(opts1::LS) {
            return;
        }
        let mut frame = std::mem::take(&mut self.cplus.partial);
        self.finish_packet(descriptor, &mut frame);
        // The allocation serves the next packet.
        frame.clear();
        if frame.capacity() <= 2 * MAX_LARGE {
            self.cplus.partial = frame;
        }
    }

    fn finish_packet(&mut self, descriptor: &Descriptor, frame: &mut [u8]) {
        if descriptor.is(opts1::LGSEN) {
            let mss = (descriptor.opts1 >> opts1::MSS_SHIFT & 0x7FF) as usize;
            for part in offload::segment(frame, mss).unwrap_or_default() {
                self.emit_tagged(descriptor, part);
            }
            return;
        }
        let wanted = Wanted {
            ip: descriptor.is(opts1::IPCS),
            tcp: descriptor.is(opts1::TCPCS),
            udp: descriptor.is(opts1::UDPCS),
        };
        offload::fill_checksums(frame, wanted);
        self.emit_tagged(descriptor, frame.to_vec());
    }

    fn emit_tagged(&mut self, descriptor: &Descriptor, mut frame: Vec<u8>) {
        if descriptor.opts2 & opts2::TAGC != 0 && frame.len() >= HEADER {
            // The tag control information is in network order in the descriptor.
            let [low, high] = (descriptor.opts2 as u16).to_le_bytes();
            frame.splice(12..12, [0x81, 0x00, low, high]);
        }
        if (HEADER..=MAX_FRAME).contains(&frame.len()) {
            self.cplus.sent = self.cplus.sent.wrapping_add(1);
            self.emit(&frame);
        }
    }

    /// Whether the receive ring has a descriptor for the card; without one, the card waits.
    pub(super) fn has_descriptor(&mut self, memory: &mut dyn GuestMemory) -> bool {
        let descriptor = Descriptor::read(self.cplus.receive.place(), memory);
        let ready = descriptor.is(opts1::OWN);
        if !ready {
            self.cplus.retry_at = Some(self.now.saturating_add(STARVED));
            self.raise(isr::RXOVW);
        }
        ready
    }

    /// Stores a packet in the buffer of the present receive descriptor, of which the card is the owner.
    pub(super) fn store_by_descriptor(&mut self, frame: &[u8], class: u16, memory: &mut dyn GuestMemory) {
        let at = self.cplus.receive.place();
        let descriptor = Descriptor::read(at, memory);
        let room = (descriptor.opts1 & opts1::RX_LENGTH) as usize;
        let mut packet = Vec::with_capacity(frame.len() + FCS);
        let mut tag = 0;
        if self.cplus.command & cpcr::RX_VLAN != 0 && frame.get(12..14) == Some(&[0x81, 0x00]) && frame.len() >= 64 {
            tag = opts2::TAVA | u32::from(u16::from_le_bytes([frame[14], frame[15]]));
            packet.extend_from_slice(&frame[..12]);
            packet.extend_from_slice(&frame[16..]);
        } else {
            packet.extend_from_slice(frame);
        }
        let verdict =
            if self.cplus.command & cpcr::RX_CHKSUM != 0 { offload::verify(&packet) } else { Default::default() };
        let check = super::crc32(&packet);
        packet.extend_from_slice(&check.to_le_bytes());
        if packet.len() > room {
            // The packet is lost; the descriptor serves the next one.
            self.missed = self.missed.saturating_add(1) & 0xFF_FFFF;
            self.raise(isr::RER);
            return;
        }
        memory.write(descriptor.buffer, &packet);
        let group = match class {
            rx::BAR => opts1::BAR,
            rx::MAR => opts1::MAR,
            _ => opts1::PAM,
        };
        let mut status = descriptor.opts1 & opts1::EOR | opts1::FS | opts1::LS | group | packet.len() as u32;
        status |= verdict.protocol << opts1::PID_SHIFT;
        status |= if verdict.ip_bad { opts1::IPF } else { 0 };
        status |= match (verdict.payload_bad, verdict.protocol) {
            (true, 1) => opts1::TCPF,
            (true, 2) => opts1::UDPF,
            _ => 0,
        };
        memory.write(at + 4, &tag.to_le_bytes());
        memory.write(at, &status.to_le_bytes());
        self.cplus.receive.step(descriptor.is(opts1::EOR));
        self.cplus.received = self.cplus.received.wrapping_add(1);
        self.raise(isr::ROK);
    }

    /// Writes the tally counters to guest memory, if the guest asked for them.
    pub(super) fn dump_tallies(&mut self, memory: &mut dyn GuestMemory) {
        if !std::mem::take(&mut self.cplus.tally_wanted) {
            return;
        }
        let mut block = [0; 64];
        block[..8].copy_from_slice(&self.cplus.sent.to_le_bytes());
        block[8..16].copy_from_slice(&self.cplus.received.to_le_bytes());
        block[28..30].copy_from_slice(&(self.missed as u16).to_le_bytes());
        memory.write(self.cplus.tally & ADDRESS, &block);
    }
}
