//! The RTL8139C+: a Fast Ethernet card that masters the bus, with its own receive ring and with C+ descriptor rings.
//!
//! A frame is sent the moment the guest says so and arrives whole. Frames move in [`NetworkCard::run_dma`], which the
//! board calls after every access and event: no access ever waits in the middle of another. Descriptors and headers
//! come from guest memory and are read once, checked, and followed for a bounded number of steps.

mod cplus;
mod eeprom;
mod offload;
mod registers;
pub mod spec;
#[cfg(test)]
mod tests;

use super::{
    Destination, HEADER, MAX_FRAME, MIN_FRAME, MacAddress, NetPort, NetworkCard, PATIENCE, crc32, multicast_bit,
};
use crate::clock::{Ratio, SECOND, earliest};
use crate::pci::ConfigSpace;
use crate::pci::spec::{command, header};
use crate::{GuestMemory, IrqLine, PciFunction, PortIo, Time, Timed};
use cplus::CPlus;
use eeprom::Eeprom;
use spec::{FCS, REGISTERS, cr, isr, rcr, rx, tcr, tsd};

/// The timer counts the PCI clock.
const TIMER: Ratio = Ratio::new(33, 1_000);
/// How long the card waits before it looks again whether the guest gave it a receive descriptor.
const STARVED: Time = SECOND / 2_000;
/// What is behind the receive buffer's end for packets that go on there.
const RX_OVERRUN: usize = 2048;

/// An RTL8139C+ in a PCI slot.
pub struct Rtl8139 {
    // Wiring.
    irq: IrqLine,
    port: Box<dyn NetPort>,
    // Parts.
    eeprom: Eeprom,
    mac: MacAddress,
    // Volatile state.
    space: ConfigSpace,
    decode_changed: bool,
    id: [u8; 8],
    multicast: [u8; 8],
    tx_status: [u32; 4],
    tx_address: [u32; 4],
    /// Descriptors that the guest handed over and that wait for [`NetworkCard::run_dma`].
    tx_waiting: [bool; 4],
    rx_start: u32,
    command: u8,
    /// Current address of packet read, as the guest writes it (16 below the true place).
    read_pointer: u16,
    /// Offset at which the next packet is stored.
    write_pointer: u16,
    mask: u16,
    status: u16,
    tx_config: u32,
    rx_config: u32,
    timer_base: u64,
    timer_interrupt: u32,
    /// Timer ticks up to which the timer interrupt was looked at.
    timer_seen: u64,
    missed: u32,
    /// When the driver last wrote a register.
    written: Time,
    eeprom_mode: u8,
    config: [u8; 6],
    basic_control: u16,
    advertisement: u16,
    cplus: CPlus,
    /// A looped-back frame that waits for the receiver.
    loopback: Option<Vec<u8>>,
    now: Time,
}

impl std::fmt::Debug for Rtl8139 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rtl8139").field("io", &self.io_range()).finish_non_exhaustive()
    }
}

impl Rtl8139 {
    /// A card with address `mac` in its EEPROM; `irq` is what INTA# of its slot reaches.
    pub fn new(irq: IrqLine, port: Box<dyn NetPort>, mac: MacAddress) -> Self {
        let mut card = Self {
            irq,
            port,
            eeprom: Eeprom::new(&mac),
            mac,
            space: Self::configuration(),
            decode_changed: true,
            id: [0; 8],
            multicast: [0; 8],
            tx_status: [tsd::OWN; 4],
            tx_address: [0; 4],
            tx_waiting: [false; 4],
            rx_start: 0,
            command: cr::BUFE,
            read_pointer: 0xFFF0,
            write_pointer: 0,
            mask: 0,
            status: 0,
            tx_config: 0,
            rx_config: 0,
            timer_base: 0,
            timer_interrupt: 0,
            timer_seen: 0,
            missed: 0,
            written: 0,
            eeprom_mode: 0,
            config: [0; 6],
            basic_control: 0,
            advertisement: 0,
            cplus: CPlus::default(),
            loopback: None,
            now: 0,
        };
        card.load_eeprom();
        card.soft_reset();
        card
    }

    fn configuration() -> ConfigSpace {
        // Revision 20h is what tells drivers that the C+ registers exist.
        let mut space = ConfigSpace::new(0x10EC, 0x8139, 0x02_0000, 0x20);
        // Beside the three that matter: memory write and invalidate, parity and system error. Drivers of the C+ refuse
        // a card whose cache line size they cannot set.
        space.register(header::COMMAND, 2, 0, 0x0150 | u32::from(command::IOSE | command::MSE | command::BME));
        space.register(0x0C, 1, 0, 0xFF);
        space.register(header::STATUS, 2, 0x0280, 0);
        space.write_one_to_clear(header::STATUS + 1, 0xF9);
        space.register(0x0D, 1, 0, 0xF8);
        space.register(header::BAR0, 4, 1, !u32::from(REGISTERS - 1) & !1);
        space.register(header::BAR0 + 4, 4, 0, !u32::from(REGISTERS - 1));
        space.register(0x2C, 4, 0x8139_10EC, 0);
        space.register(header::INTERRUPT_LINE, 1, 0, 0xFF);
        space.register(header::INTERRUPT_PIN, 1, 1, 0);
        space.register(0x3E, 2, 0x4020, 0);
        space
    }

    /// What the card does after power-on and when told to auto-load.
    fn load_eeprom(&mut self) {
        self.id = [0; 8];
        self.id[..6].copy_from_slice(&self.mac);
        // CONFIG0, CONFIG1 (I/O and memory mapped, driver loaded), CONFIG3 (parity of the magic packet), CONFIG4,
        // CONFIG5.
        self.config = [0x00, 0x0C, 0x00, 0x01, 0x00, 0x00];
        self.basic_control = 0x1100;
        self.advertisement = 0x05E1;
    }

    /// The reset bit of the command register; addresses and configuration stay.
    fn soft_reset(&mut self) {
        self.tx_status = [tsd::OWN; 4];
        self.tx_address = [0; 4];
        self.tx_waiting = [false; 4];
        self.command = cr::BUFE;
        self.read_pointer = 0xFFF0;
        self.write_pointer = 0;
        (self.mask, self.status) = (0, 0);
        (self.tx_config, self.rx_config) = (0, 0);
        self.timer_interrupt = 0;
        self.missed = 0;
        self.cplus = CPlus::default();
        self.loopback = None;
        self.update_irq();
    }

    fn update_irq(&self) {
        self.irq.set_level(self.status & self.mask != 0);
    }

    fn raise(&mut self, bits: u16) {
        self.status |= bits;
        self.update_irq();
    }

    fn masters(&self) -> bool {
        self.space.get16(header::COMMAND) & command::BME != 0
    }

    // --------------------------------------------------------------------------------------------------- sending

    /// Puts a frame on the cable, or into the receiver in loopback mode.
    fn emit(&mut self, frame: &[u8]) {
        if self.tx_config & tcr::LBK == tcr::LBK {
            self.loopback = Some(frame.to_vec());
        } else {
            self.port.send(frame);
        }
    }

    /// Sends the descriptors of the four transmit registers that wait.
    fn send_waiting(&mut self, memory: &mut dyn GuestMemory) {
        for i in 0..4 {
            if !std::mem::take(&mut self.tx_waiting[i]) || self.command & cr::TE == 0 {
                continue;
            }
            let length = (self.tx_status[i] & tsd::SIZE) as usize;
            if (HEADER..=MAX_FRAME).contains(&length) {
                let mut frame = [0; MAX_FRAME];
                memory.read(self.tx_address[i].into(), &mut frame[..length]);
                self.emit(&frame[..length]);
                self.tx_status[i] |= tsd::OWN | tsd::TOK;
                self.raise(isr::TOK);
            } else {
                // Nothing that a cable carries.
                self.tx_status[i] |= tsd::OWN | tsd::TABT;
                self.raise(isr::TER);
            }
        }
    }

    // ------------------------------------------------------------------------------------------------- receiving

    /// What the receive status says of a frame with this destination; `None` if the card does not want it.
    fn accepts(&self, to: &[u8]) -> Option<u16> {
        let own = self.mac_now();
        let (wanted, status) = match super::destination(to, &own) {
            Destination::Broadcast => (self.rx_config & rcr::AB != 0, rx::BAR),
            Destination::Multicast => {
                let bit = multicast_bit(to);
                let listed = self.multicast[(bit >> 3) as usize] >> (bit & 7) & 1 != 0;
                (self.rx_config & rcr::AM != 0 && listed, rx::MAR)
            }
            Destination::Own => (self.rx_config & rcr::APM != 0, rx::PAM),
            Destination::Other => (false, 0),
        };
        (wanted || self.rx_config & rcr::AAP != 0).then_some(status)
    }

    fn mac_now(&self) -> MacAddress {
        let mut mac = [0; 6];
        mac.copy_from_slice(&self.id[..6]);
        mac
    }

    /// Bytes of the receive buffer.
    fn buffer_size(&self) -> usize {
        8192 << (self.rx_config >> rcr::RBLEN_SHIFT & 3)
    }

    /// Bytes that may be written before the guest's read pointer is met; equal pointers mean an empty buffer.
    fn buffer_room(&self) -> usize {
        let size = self.buffer_size();
        let read = usize::from(self.read_pointer.wrapping_add(16)) & (size - 1);
        let write = usize::from(self.write_pointer) & (size - 1);
        (read + size - write - 1) % size + 1
    }

    fn buffer_is_empty(&self) -> bool {
        self.buffer_room() == self.buffer_size()
    }

    fn listening(&self) -> bool {
        self.command & cr::RE != 0 && self.masters()
    }

    /// Whether a waiting frame can be dealt with now.
    fn can_take(&self) -> bool {
        let waiting = if self.loopback.is_some() { self.loopback.as_ref().map(Vec::len) } else { self.port.waiting() };
        let Some(length) = waiting else { return false };
        if !self.listening() {
            return true;
        }
        if self.cplus.receives() {
            return !self.cplus.starved_until(self.now);
        }
        length.max(MIN_FRAME) + FCS + 4 + 4 < self.buffer_room()
    }

    fn next_frame(&mut self) -> Option<Vec<u8>> {
        let from_loop = self.loopback.take();
        let frame = if from_loop.is_some() { from_loop } else { self.port.poll() };
        frame.map(|mut frame| {
            frame.resize(frame.len().max(MIN_FRAME), 0);
            frame
        })
    }

    /// Takes the frames that wait, as far as there is room.
    fn receive(&mut self, memory: &mut dyn GuestMemory) {
        while self.can_take() {
            if self.cplus.receives() && self.listening() && !self.has_descriptor(memory) {
                return;
            }
            let Some(frame) = self.next_frame() else { return };
            if !self.listening() || !(HEADER..=MAX_FRAME).contains(&frame.len()) {
                continue;
            }
            let Some(class) = self.accepts(&frame[..6]) else { continue };
            if self.cplus.receives() {
                self.store_by_descriptor(&frame, class, memory);
            } else {
                self.store_in_buffer(&frame, class, memory);
            }
        }
    }

    /// When the frame that waits is lost, if the receive buffer has no room for it and the driver was told of all packets
    /// there. (In C+ mode the card says at once that it has no descriptor, which costs no frame.)
    fn overflows_at(&self) -> Option<Time> {
        let told = self.status & (isr::ROK | isr::RXOVW) == 0 && !self.cplus.receives();
        (told && self.port.waiting().is_some() && !self.can_take()).then(|| self.written.saturating_add(PATIENCE))
    }

    /// The receive buffer overflows: the frame that waits is lost.
    fn overflow(&mut self) {
        if let Some(frame) = self.next_frame()
            && frame.get(..6).is_some_and(|to| self.accepts(to).is_some())
        {
            self.missed = self.missed.saturating_add(1) & 0xFF_FFFF;
            self.raise(isr::RXOVW);
        }
    }

    /// Stores a packet, for which there is room, in the receive buffer.
    fn store_in_buffer(&mut self, frame: &[u8], class: u16, memory: &mut dyn GuestMemory) {
        let size = self.buffer_size();
        let mut packet = Vec::with_capacity(frame.len() + FCS + 4);
        packet.extend_from_slice(&(rx::ROK | class).to_le_bytes());
        packet.extend_from_slice(&((frame.len() + FCS) as u16).to_le_bytes());
        packet.extend_from_slice(frame);
        packet.extend_from_slice(&crc32(frame).to_le_bytes());
        let at = usize::from(self.write_pointer) & (size - 1);
        let end = if self.rx_config & rcr::WRAP != 0 && size < 65536 { size + RX_OVERRUN } else { size };
        let (first, rest) = packet.split_at(packet.len().min(end - at));
        memory.write(u64::from(self.rx_start) + at as u64, first);
        memory.write(self.rx_start.into(), rest);
        self.write_pointer = ((at + packet.len().next_multiple_of(4)) & (size - 1)) as u16;
        self.raise(isr::ROK);
    }
}

impl NetworkCard for Rtl8139 {
    fn reset(&mut self) {
        self.space = Self::configuration();
        self.decode_changed = true;
        self.multicast = [0; 8];
        self.eeprom_mode = 0;
        self.load_eeprom();
        self.soft_reset();
    }

    fn io_range(&self) -> Option<(u16, u16)> {
        let base = self.space.get16(header::BAR0) & !(REGISTERS - 1);
        (base != 0 && self.space.get16(header::COMMAND) & command::IOSE != 0).then_some((base, REGISTERS))
    }

    fn memory_range(&self) -> Option<(u64, u64)> {
        let base = self.space.get32(header::BAR0 + 4) & !u32::from(REGISTERS - 1);
        let decoded = base != 0 && self.space.get16(header::COMMAND) & command::MSE != 0;
        decoded.then_some((base.into(), REGISTERS.into()))
    }

    fn take_decode_change(&mut self) -> bool {
        std::mem::take(&mut self.decode_changed)
    }

    fn dma_pending(&self) -> bool {
        self.masters() && (self.tx_waiting.contains(&true) || self.cplus.has_work()) || self.can_take()
    }

    fn run_dma(&mut self, now: Time, memory: &mut dyn GuestMemory) {
        self.now = now;
        if self.masters() {
            self.send_waiting(memory);
            self.send_by_descriptor(memory);
            self.dump_tallies(memory);
        }
        self.receive(memory);
    }
}

/// The registers are the same in ports and in memory; only the low bits of the address count.
impl PortIo for Rtl8139 {
    fn port_read(&mut self, now: Time, port: u16, size: u8) -> u32 {
        self.read(now, port as u8, size)
    }

    fn port_write(&mut self, now: Time, port: u16, size: u8, value: u32) {
        self.write(now, port as u8, size, value);
    }
}

impl Timed for Rtl8139 {
    fn next_event(&self) -> Option<Time> {
        let frame = if self.can_take() { Some(0) } else { self.port.waiting().and(self.cplus.retry_time()) };
        earliest(earliest(frame, self.overflows_at()), self.timer_event())
    }

    fn advance(&mut self, now: Time) {
        self.now = now;
        self.check_timer(now);
        if self.overflows_at().is_some_and(|at| at <= now) {
            self.overflow();
        }
    }
}

impl PciFunction for Rtl8139 {
    fn config_read(&mut self, offset: u8, size: u8) -> u32 {
        self.space.read(offset, size)
    }

    fn config_write(&mut self, offset: u8, size: u8, value: u32) {
        let before = (self.io_range(), self.memory_range());
        self.space.write(offset, size, value);
        self.decode_changed |= (self.io_range(), self.memory_range()) != before;
    }
}
