//! The NE2000: a DP8390 network interface controller with 16 KiB of packet memory behind a data port.
//!
//! A frame is sent the moment the guest says so and arrives whole. The guest's ring pointers are taken as they are and
//! never trusted: every step through the ring is bounded by the frame's length and stays inside the packet memory.

mod pci;
pub mod spec;
#[cfg(test)]
mod tests;

use super::{
    Destination, HEADER, MAX_FRAME, MIN_FRAME, MacAddress, NetPort, NetworkCard, PATIENCE, crc32, multicast_bit,
};
use crate::{IrqLine, PciFunction, PortIo, Time, Timed};
pub use pci::Rtl8029;
use spec::{
    FCS, MEMORY_SIZE, MEMORY_START, PACKET_HEADER, PAGE, PROM_SIZE, cr, dcr, isr, rcr, register as r, rsr, tcr, tsr,
};

/// Number of ports.
pub const PORTS: u16 = 0x20;

/// The chip with its board's memory and PROM.
struct Dp8390 {
    // Wiring.
    irq: IrqLine,
    port: Box<dyn NetPort>,
    // Kept over a reset.
    prom: [u8; PROM_SIZE],
    memory: Box<[u8]>,
    /// An RTL8029 has identification registers and a page 3.
    is_8029: bool,
    // Volatile state.
    command: u8,
    /// Between a start and a stop command. A command with neither changes nothing, and some drivers select pages so.
    running: bool,
    page_start: u8,
    page_stop: u8,
    boundary: u8,
    current: u8,
    tx_page: u8,
    tx_count: u16,
    tx_status: u8,
    rx_status: u8,
    rx_config: u8,
    tx_config: u8,
    data_config: u8,
    status: u8,
    mask: u8,
    missed: u8,
    /// When the driver last wrote a register.
    written: Time,
    remote_address: u16,
    remote_count: u16,
    /// What the remote registers were set to, for DCR's auto-initialise.
    local_address: u16,
    address: MacAddress,
    multicast: [u8; 8],
}

impl Dp8390 {
    fn new(irq: IrqLine, port: Box<dyn NetPort>, mac: MacAddress, is_8029: bool) -> Self {
        let mut prom = [b'W'; PROM_SIZE];
        for (pair, &byte) in prom.chunks_exact_mut(2).zip(&mac) {
            pair.fill(byte);
        }
        let mut chip = Self {
            irq,
            port,
            prom,
            memory: vec![0; MEMORY_SIZE.into()].into_boxed_slice(),
            is_8029,
            command: cr::STP | cr::RD_ABORT,
            running: false,
            page_start: 0,
            page_stop: 0,
            boundary: 0,
            current: 0,
            tx_page: 0,
            tx_count: 0,
            tx_status: 0,
            rx_status: 0,
            rx_config: 0,
            tx_config: 0,
            data_config: 0,
            status: isr::RST,
            mask: 0,
            missed: 0,
            written: 0,
            remote_address: 0,
            remote_count: 0,
            local_address: 0,
            address: [0; 6],
            multicast: [0; 8],
        };
        chip.reset();
        chip
    }

    /// The reset pin. Ring pointers and addresses keep what they have, as in the chip.
    fn reset(&mut self) {
        self.command = cr::STP | cr::RD_ABORT;
        self.running = false;
        self.status = isr::RST;
        self.mask = 0;
        self.data_config &= !0x08;
        self.tx_config &= !tcr::LB;
        self.tx_status = 0;
        self.remote_count = 0;
        self.update_irq();
    }

    fn update_irq(&self) {
        self.irq.set_level(self.status & self.mask & !isr::RST != 0);
    }

    fn raise(&mut self, bits: u8) {
        self.status |= bits;
        self.update_irq();
    }

    /// The place of board address `at` in the packet memory.
    fn cell(at: u16) -> Option<usize> {
        (MEMORY_START..MEMORY_START + MEMORY_SIZE).contains(&at).then(|| usize::from(at - MEMORY_START))
    }

    fn load(&self, at: u16) -> u8 {
        match Self::cell(at) {
            Some(cell) => self.memory[cell],
            None => self.prom.get(usize::from(at)).copied().unwrap_or(0xFF),
        }
    }

    fn store(&mut self, at: u16, value: u8) {
        if let Some(cell) = Self::cell(at) {
            self.memory[cell] = value;
        }
    }

    // ------------------------------------------------------------------------------------------------ remote DMA

    /// One byte moved through the data port.
    fn remote_step(&mut self) {
        self.remote_address = self.remote_address.wrapping_add(1);
        if self.remote_address == u16::from(self.page_stop) << 8 {
            self.remote_address = u16::from(self.page_start) << 8;
        }
        self.remote_count = self.remote_count.saturating_sub(1);
        if self.remote_count == 0 {
            if self.command & cr::RD == cr::RD_SEND {
                self.boundary = self.load((u16::from(self.boundary) << 8).wrapping_add(1));
            }
            self.raise(isr::RDC);
        }
    }

    fn remote_read(&mut self) -> u8 {
        let reading = matches!(self.command & cr::RD, cr::RD_READ | cr::RD_SEND);
        if !reading || self.remote_count == 0 {
            return 0xFF;
        }
        let value = self.load(self.remote_address);
        self.remote_step();
        value
    }

    fn remote_write(&mut self, value: u8) {
        if self.command & cr::RD == cr::RD_WRITE && self.remote_count != 0 {
            self.store(self.remote_address, value);
            self.remote_step();
        }
    }

    /// Bytes that the data port moves when the processor asks for `size`. In word mode a byte access moves a word, too,
    /// of which the processor sees the low half: that is how drivers get the address out of the doubled PROM.
    fn data_width(&self, size: u8) -> u8 {
        if self.data_config & dcr::WTS != 0 { size.max(2) } else { 1 }
    }

    fn data_read(&mut self, size: u8) -> u32 {
        let width = self.data_width(size);
        let value = (0..width).fold(0, |value, i| value | u32::from(self.remote_read()) << (8 * i));
        if size == 1 { value & 0xFF } else { value }
    }

    fn data_write(&mut self, size: u8, value: u32) {
        for i in 0..self.data_width(size) {
            self.remote_write((value >> (8 * i)) as u8);
        }
    }

    // --------------------------------------------------------------------------------------------------- sending

    fn transmit(&mut self) {
        let length = usize::from(self.tx_count);
        let start = u16::from(self.tx_page) << 8;
        self.local_address = start.wrapping_add(self.tx_count);
        self.tx_status = tsr::PTX;
        if !(HEADER..=MAX_FRAME).contains(&length) {
            // Nothing that a cable carries.
            self.tx_status = tsr::ABT;
            self.raise(isr::TXE);
            return;
        }
        if self.tx_config & tcr::LB == 0 {
            let mut frame = [0; MAX_FRAME];
            for (i, byte) in frame[..length].iter_mut().enumerate() {
                *byte = self.load(start.wrapping_add(i as u16));
            }
            self.port.send(&frame[..length]);
        }
        self.raise(isr::PTX);
    }

    // ------------------------------------------------------------------------------------------------- receiving

    fn listening(&self) -> bool {
        self.running && self.tx_config & tcr::LB == 0
    }

    /// Whether the ring lies inside the packet memory and is not empty.
    fn ring_makes_sense(&self) -> bool {
        let first = (MEMORY_START >> 8) as u8;
        let end = first + (MEMORY_SIZE >> 8) as u8;
        self.page_start < self.page_stop
            && self.page_start >= first
            && self.page_stop <= end
            && (self.page_start..self.page_stop).contains(&self.current)
    }

    /// Pages of the ring that a packet may fill. Equal pointers mean an empty ring.
    fn free_pages(&self) -> usize {
        let size = usize::from(self.page_stop - self.page_start);
        let used = if self.boundary < self.current {
            usize::from(self.current - self.boundary)
        } else {
            (size + usize::from(self.current)).saturating_sub(self.boundary.into()) % size
        };
        size.saturating_sub(used)
    }

    fn pages_for(length: usize) -> usize {
        (length.max(MIN_FRAME) + PACKET_HEADER + FCS).div_ceil(PAGE)
    }

    /// Whether the frame that waits can be taken now: stored, or dropped because nobody wants it.
    fn can_take(&self) -> bool {
        let Some(length) = self.port.waiting() else { return false };
        if !self.listening() || !self.ring_makes_sense() {
            return true;
        }
        // A frame that fills the ring would leave equal pointers, which look like an empty one.
        Self::pages_for(length) < self.free_pages() || Self::pages_for(length) >= self.ring_size()
    }

    fn ring_size(&self) -> usize {
        usize::from(self.page_stop.saturating_sub(self.page_start))
    }

    fn accepts(&self, to: &[u8]) -> bool {
        match super::destination(to, &self.address) {
            Destination::Broadcast => self.rx_config & rcr::AB != 0,
            Destination::Multicast => {
                let bit = multicast_bit(to);
                self.rx_config & rcr::AM != 0 && self.multicast[(bit >> 3) as usize] >> (bit & 7) & 1 != 0
            }
            Destination::Own => true,
            Destination::Other => self.rx_config & rcr::PRO != 0,
        }
    }

    /// Takes the frames that wait, as far as there is room.
    fn receive(&mut self) {
        while self.can_take() {
            let Some(frame) = self.port.poll() else { return };
            self.receive_frame(&frame);
        }
    }

    /// When the frame that waits is lost, if the ring has no room for it and the driver was told of all packets there.
    fn overflows_at(&self) -> Option<Time> {
        let told = self.status & (isr::PRX | isr::OVW) == 0;
        (told && self.port.waiting().is_some() && !self.can_take()).then(|| self.written.saturating_add(PATIENCE))
    }

    /// The ring overflows: the frame that waits is lost (datasheet, "Buffer ring overflow").
    fn overflow(&mut self) {
        let Some(frame) = self.port.poll() else { return };
        if frame.get(..6).is_some_and(|to| self.accepts(to)) {
            self.miss(&frame);
            self.raise(isr::OVW);
        }
    }

    /// Counts a frame that was meant for this station and is not stored.
    fn miss(&mut self, frame: &[u8]) {
        let monitor = if self.rx_config & rcr::MON != 0 { rsr::DIS } else { 0 };
        self.missed = self.missed.saturating_add(1).min(0xC0);
        self.rx_status = rsr::MPA | Self::group(frame) | monitor;
    }

    /// What the receive status says of a frame to several stations.
    fn group(frame: &[u8]) -> u8 {
        if frame[0] & 1 != 0 { rsr::PHY } else { 0 }
    }

    fn receive_frame(&mut self, frame: &[u8]) {
        if !self.listening() || !(HEADER..=MAX_FRAME).contains(&frame.len()) || !self.accepts(&frame[..6]) {
            return;
        }
        let pages = Self::pages_for(frame.len());
        if self.rx_config & rcr::MON != 0 || !self.ring_makes_sense() || pages >= self.ring_size() {
            return self.miss(frame);
        }
        let mut packet = [0; MAX_FRAME + PACKET_HEADER + FCS];
        let length = frame.len().max(MIN_FRAME);
        let end = PACKET_HEADER + length;
        packet[PACKET_HEADER..PACKET_HEADER + frame.len()].copy_from_slice(frame);
        let check = crc32(&packet[PACKET_HEADER..end]);
        packet[end..end + FCS].copy_from_slice(&check.to_le_bytes());
        let size = self.ring_size();
        let offset = usize::from(self.current - self.page_start);
        let next = self.page_start + ((offset + pages) % size) as u8;
        self.rx_status = rsr::PRX | Self::group(frame);
        let [low, high] = ((length + FCS) as u16).to_le_bytes();
        packet[..PACKET_HEADER].copy_from_slice(&[self.rx_status, next, low, high]);
        for (i, page) in packet[..end + FCS].chunks(PAGE).enumerate() {
            let number = self.page_start + ((offset + i) % size) as u8;
            if let Some(cell) = Self::cell(u16::from(number) << 8) {
                self.memory[cell..cell + page.len()].copy_from_slice(page);
            }
        }
        self.current = next;
        self.local_address = u16::from(next) << 8;
        self.raise(isr::PRX);
    }

    // ------------------------------------------------------------------------------------------------- registers

    fn page(&self) -> u8 {
        self.command >> cr::PAGE_SHIFT
    }

    fn read(&mut self, number: u16) -> u8 {
        if number == r::CR {
            return self.command;
        }
        match (self.page(), number) {
            (0, r::CLDA0) => self.local_address as u8,
            (0, r::CLDA1) => (self.local_address >> 8) as u8,
            (0, r::BNRY) => self.boundary,
            (0, r::TSR) => self.tx_status,
            (0, r::NCR | r::FIFO | r::CNTR0 | r::CNTR1) => 0,
            (0, r::ISR) => self.status,
            (0, r::CRDA0) => self.remote_address as u8,
            (0, r::CRDA1) => (self.remote_address >> 8) as u8,
            (0, r::ID0_8029) if self.is_8029 => b'P',
            (0, r::ID1_8029) if self.is_8029 => b'C',
            (0, r::RSR) => self.rx_status,
            (0, r::CNTR2) => std::mem::take(&mut self.missed),
            (1, r::PAR0..=r::PAR5) => self.address[usize::from(number - r::PAR0)],
            (1, r::CURR) => self.current,
            (1, r::MAR0..) => self.multicast[usize::from(number & 7)],
            (2, r::PSTART) => self.page_start,
            (2, r::PSTOP) => self.page_stop,
            (2, r::TPSR) => self.tx_page,
            (2, r::RCR) => self.rx_config | 0xC0,
            (2, r::TCR) => self.tx_config | 0xE0,
            (2, r::DCR) => self.data_config | 0x80,
            (2, r::IMR) => self.mask | 0x80,
            // Full duplex and the boot ROM are off, the medium is detected, the jumpers are those of a bare board.
            (3, r::CR_9346 | r::CONFIG0 | r::CONFIG2) if self.is_8029 => 0,
            (3, r::CONFIG3) if self.is_8029 => 0x40,
            _ => 0xFF,
        }
    }

    fn write(&mut self, number: u16, value: u8) {
        if number == r::CR {
            return self.write_command(value);
        }
        match (self.page(), number) {
            (0, r::PSTART) => self.page_start = value,
            (0, r::PSTOP) => self.page_stop = value,
            (0, r::BNRY) => self.boundary = value,
            (0, r::TPSR) => self.tx_page = value,
            (0, r::TBCR0) => self.tx_count = self.tx_count & 0xFF00 | u16::from(value),
            (0, r::TBCR1) => self.tx_count = self.tx_count & 0xFF | u16::from(value) << 8,
            (0, r::ISR) => self.status &= !(value & !isr::RST),
            (0, r::RSAR0) => self.remote_address = self.remote_address & 0xFF00 | u16::from(value),
            (0, r::RSAR1) => self.remote_address = self.remote_address & 0xFF | u16::from(value) << 8,
            (0, r::RBCR0) => self.remote_count = self.remote_count & 0xFF00 | u16::from(value),
            (0, r::RBCR1) => self.remote_count = self.remote_count & 0xFF | u16::from(value) << 8,
            (0, r::RCR) => self.rx_config = value & 0x3F,
            (0, r::TCR) => self.tx_config = value & 0x1F,
            (0, r::DCR) => self.data_config = value & 0x7F,
            (0, r::IMR) => self.mask = value & 0x7F,
            (1, r::PAR0..=r::PAR5) => self.address[usize::from(number - r::PAR0)] = value,
            (1, r::CURR) => self.current = value,
            (1, r::MAR0..) => self.multicast[usize::from(number & 7)] = value,
            _ => {}
        }
        self.update_irq();
    }

    fn write_command(&mut self, value: u8) {
        let stopped = value & cr::STP != 0;
        // TXP clears by itself, which here is at once.
        self.command = value & !cr::TXP;
        if stopped {
            self.running = false;
            self.status |= isr::RST;
        } else if value & cr::STA != 0 {
            self.running = true;
            self.status &= !isr::RST;
        }
        match value & cr::RD {
            cr::RD_SEND => {
                // The packet at the boundary pointer says how long it is.
                self.remote_address = u16::from(self.boundary) << 8;
                let [low, high] = [2, 3].map(|i| self.load(self.remote_address.wrapping_add(i)));
                self.remote_count = u16::from_le_bytes([low, high]);
            }
            cr::RD_READ | cr::RD_WRITE if self.remote_count == 0 && !stopped => self.status |= isr::RDC,
            _ => {}
        }
        self.update_irq();
        if value & cr::TXP != 0 && self.running {
            self.transmit();
        }
    }

    fn port_read(&mut self, port: u16, size: u8) -> u32 {
        let number = port & (PORTS - 1);
        if number >= r::RESET {
            self.reset();
            return 0;
        }
        if number >= r::DATA {
            return self.data_read(size);
        }
        (0..size.min(4)).fold(0, |value, i| {
            let number = number + u16::from(i);
            let byte = if number < r::DATA { self.read(number) } else { 0xFF };
            value | u32::from(byte) << (8 * i)
        })
    }

    fn port_write(&mut self, now: Time, port: u16, size: u8, value: u32) {
        self.written = now;
        let number = port & (PORTS - 1);
        if number >= r::RESET {
            // The board's reset is triggered by reading; the write ends it.
            return;
        }
        if number >= r::DATA {
            return self.data_write(size, value);
        }
        for i in 0..size.min(4) {
            let number = number + u16::from(i);
            if number < r::DATA {
                self.write(number, (value >> (8 * i)) as u8);
            }
        }
    }
}

impl Timed for Dp8390 {
    fn next_event(&self) -> Option<Time> {
        if self.can_take() { Some(0) } else { self.overflows_at() }
    }

    fn advance(&mut self, now: Time) {
        self.receive();
        if self.overflows_at().is_some_and(|at| at <= now) {
            self.overflow();
        }
    }
}

/// An NE2000 in an ISA slot: sixteen registers, data port and reset port at [`PORTS`] ports, one interrupt line.
pub struct Ne2000 {
    chip: Dp8390,
    base: u16,
    decode_changed: bool,
}

impl std::fmt::Debug for Ne2000 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ne2000").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Ne2000 {
    /// A board jumpered to `base`, with address `mac` in its PROM.
    pub fn new(irq: IrqLine, port: Box<dyn NetPort>, mac: MacAddress, base: u16) -> Self {
        Self { chip: Dp8390::new(irq, port, mac, false), base, decode_changed: true }
    }
}

impl PortIo for Ne2000 {
    fn port_read(&mut self, _now: Time, port: u16, size: u8) -> u32 {
        self.chip.port_read(port, size)
    }

    fn port_write(&mut self, now: Time, port: u16, size: u8, value: u32) {
        self.chip.port_write(now, port, size, value);
    }
}

impl Timed for Ne2000 {
    fn next_event(&self) -> Option<Time> {
        self.chip.next_event()
    }

    fn advance(&mut self, now: Time) {
        self.chip.advance(now);
    }
}

/// Not on the PCI bus: reads as an empty slot.
impl PciFunction for Ne2000 {
    fn config_read(&mut self, _offset: u8, size: u8) -> u32 {
        u32::MAX >> (32 - 8 * u32::from(size.clamp(1, 4)))
    }

    fn config_write(&mut self, _offset: u8, _size: u8, _value: u32) {}
}

impl NetworkCard for Ne2000 {
    fn reset(&mut self) {
        self.chip.reset();
    }

    fn io_range(&self) -> Option<(u16, u16)> {
        Some((self.base, PORTS))
    }

    fn take_decode_change(&mut self) -> bool {
        std::mem::take(&mut self.decode_changed)
    }
}
