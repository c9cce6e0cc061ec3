//! The NE2000 through its ports, as drivers use it, and with ring pointers that no driver sets.

use super::*;
use crate::IrqInputs;
use crate::net::testing::Cable;

const MAC: MacAddress = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
const BASE: u16 = 0x300;

struct Bench {
    card: Ne2000,
    cable: Cable,
    irqs: IrqInputs,
}

impl Bench {
    fn new() -> Self {
        let (cable, irqs) = (Cable::default(), IrqInputs::new());
        let card = Ne2000::new(irqs.line(10), Box::new(cable.clone()), MAC, BASE);
        Self { card, cable, irqs }
    }

    fn out(&mut self, register: u16, value: u8) {
        self.card.port_write(0, BASE + register, 1, value.into());
    }

    fn inb(&mut self, register: u16) -> u8 {
        self.card.port_read(0, BASE + register, 1) as u8
    }

    fn remote(&mut self, command: u8, at: u16, count: u16) {
        self.out(r::RBCR0, count as u8);
        self.out(r::RBCR1, (count >> 8) as u8);
        self.out(r::RSAR0, at as u8);
        self.out(r::RSAR1, (at >> 8) as u8);
        self.out(r::CR, command | cr::STA);
    }

    fn read_memory(&mut self, at: u16, count: u16) -> Vec<u8> {
        self.remote(cr::RD_READ, at, count);
        (0..count / 2).flat_map(|_| (self.card.port_read(0, BASE + r::DATA, 2) as u16).to_le_bytes()).collect()
    }

    fn write_memory(&mut self, at: u16, data: &[u8]) {
        self.remote(cr::RD_WRITE, at, data.len() as u16);
        for pair in data.chunks(2) {
            let word = u32::from(pair[0]) | u32::from(pair.get(1).copied().unwrap_or(0)) << 8;
            self.card.port_write(0, BASE + r::DATA, 2, word);
        }
    }

    /// As drivers start it: ring of pages 46h-7Fh, transmit buffer at 40h.
    fn start(&mut self) {
        self.out(r::CR, cr::STP | cr::RD_ABORT);
        self.out(r::DCR, 0x49);
        self.out(r::RCR, rcr::AB);
        self.out(r::TCR, 0);
        self.out(r::PSTART, 0x46);
        self.out(r::PSTOP, 0x80);
        self.out(r::BNRY, 0x46);
        self.out(r::ISR, 0xFF);
        self.out(r::IMR, 0x7F);
        self.out(r::CR, 0x61);
        for (i, byte) in (0..).zip(MAC) {
            self.out(r::PAR0 + i, byte);
        }
        self.out(r::CURR, 0x47);
        self.out(r::CR, cr::STA | cr::RD_ABORT);
    }

    fn current(&mut self) -> u8 {
        self.out(r::CR, 0x62);
        let current = self.inb(r::CURR);
        self.out(r::CR, cr::STA | cr::RD_ABORT);
        current
    }

    fn deliver(&mut self) {
        if self.card.next_event().is_some() {
            self.card.advance(0);
        }
    }
}

fn frame(to: MacAddress, length: usize) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend((0..length - 6).map(|i| i as u8));
    frame
}

#[test]
fn the_prom_holds_the_address_twice_and_the_mark_of_a_16_bit_board() {
    let mut b = Bench::new();
    assert_eq!(b.card.port_read(0, BASE + 0x1F, 1), 0);
    assert_ne!(b.inb(r::ISR) & isr::RST, 0);
    b.out(r::DCR, 0x49);
    let prom = b.read_memory(0, 32);
    assert_eq!(prom.iter().step_by(2).copied().take(6).collect::<Vec<_>>(), MAC);
    assert_eq!(&prom[28..], b"WWWW");
    assert_ne!(b.inb(r::ISR) & isr::RDC, 0);
    b.remote(cr::RD_READ, 0, 32);
    let bytes: Vec<u8> = (0..16).map(|_| b.inb(r::DATA)).collect();
    assert_eq!((&bytes[..6], &bytes[14..]), (&MAC[..], &b"WW"[..]), "a byte access in word mode takes a word");
    b.out(r::DCR, 0x48);
    b.remote(cr::RD_READ, 0, 32);
    let bytes: Vec<u8> = (0..4).map(|_| b.inb(r::DATA)).collect();
    assert_eq!(bytes, [MAC[0], MAC[0], MAC[1], MAC[1]]);
}

#[test]
fn a_packet_is_sent_from_its_memory() {
    let mut b = Bench::new();
    b.start();
    let data = frame([0xFF; 6], 60);
    b.write_memory(0x4000, &data);
    b.out(r::TPSR, 0x40);
    b.out(r::TBCR0, 60);
    b.out(r::TBCR1, 0);
    b.out(r::ISR, 0xFF);
    b.out(r::CR, cr::STA | cr::TXP | cr::RD_ABORT);
    assert_eq!(b.cable.sent(), Some(data));
    assert_eq!((b.inb(r::CR) & cr::TXP, b.inb(r::ISR), b.inb(r::TSR)), (0, isr::PTX, tsr::PTX));
    assert_eq!(b.irqs.levels(), 1 << 10);
    b.out(r::ISR, isr::PTX);
    assert_eq!(b.irqs.levels(), 0);
    for count in [0u16, 13, 1519, 0xFFFF] {
        b.out(r::TBCR0, count as u8);
        b.out(r::TBCR1, (count >> 8) as u8);
        b.out(r::CR, cr::STA | cr::TXP | cr::RD_ABORT);
        assert_eq!((b.cable.sent(), b.inb(r::TSR)), (None, tsr::ABT), "{count}");
    }
    b.out(r::TBCR0, 60);
    b.out(r::TBCR1, 0);
    b.out(r::TCR, 2);
    b.out(r::CR, cr::STA | cr::TXP | cr::RD_ABORT);
    assert_eq!((b.cable.sent(), b.inb(r::TSR)), (None, tsr::PTX), "loopback stays inside");
}

#[test]
fn packets_fill_the_ring_and_wrap() {
    let mut b = Bench::new();
    b.start();
    let data = frame(MAC, 1000);
    // 58 pages, 4 for each packet, one of them the guest's: 14 packets fit.
    for _ in 0..20 {
        b.cable.offer(&data);
    }
    b.deliver();
    assert_eq!((b.cable.lengths()[0], b.card.next_event()), (6, None), "the rest waits for room");
    assert_eq!(b.current(), 0x47 + 56);
    let mut page = 0x47;
    for _ in 0..20 {
        let head = b.read_memory(u16::from(page) << 8, 4);
        assert_eq!((head[0], u16::from_le_bytes([head[2], head[3]])), (rsr::PRX, 1004));
        let body = b.read_memory((u16::from(page) << 8) + 4, 1004);
        assert_eq!(body[..1000], data, "remote reads wrap with the ring");
        assert_eq!(body[1000..], crc32(&data).to_le_bytes());
        page = head[1];
        assert!((0x46..0x80).contains(&page));
        let boundary = if page == 0x46 { 0x7F } else { page - 1 };
        b.out(r::BNRY, boundary);
        b.deliver();
    }
    assert_eq!((b.cable.lengths()[0], b.current()), (0, page));
    assert_ne!(b.inb(r::ISR) & isr::PRX, 0);
}

/// Linux reads nine packets at most before it clears PRX, after which a card with a full ring that said nothing would
/// wait for the driver as the driver for the card.
#[test]
fn a_full_ring_that_the_driver_has_left_overflows() {
    let mut b = Bench::new();
    b.start();
    for _ in 0..16 {
        b.cable.offer(&frame(MAC, 1000));
    }
    b.deliver();
    assert_eq!((b.cable.lengths()[0], b.card.next_event()), (2, None), "the driver has still to look");
    b.card.port_write(500, BASE + r::ISR, 1, isr::PRX.into());
    assert_eq!(b.card.next_event(), Some(500 + PATIENCE));
    b.card.advance(500 + PATIENCE - 1);
    assert_eq!((b.inb(r::ISR), b.cable.lengths()[0]), (0, 2));
    b.card.advance(500 + PATIENCE);
    assert_eq!((b.inb(r::ISR), b.inb(r::RSR), b.inb(r::CNTR2)), (isr::OVW, rsr::MPA, 1));
    assert_eq!((b.cable.lengths()[0], b.card.next_event(), b.irqs.levels()), (1, None, 1 << 10));
    // Room: the driver goes on where it was, and the next frame comes.
    b.out(r::ISR, isr::OVW);
    b.out(r::BNRY, 0x4A);
    b.deliver();
    assert_eq!((b.inb(r::ISR), b.cable.lengths()[0]), (isr::PRX, 0));
    // A frame for somebody else is no loss.
    b.out(r::ISR, isr::PRX);
    b.cable.offer(&frame([2; 6], 1000));
    b.card.advance(PATIENCE);
    assert_eq!((b.inb(r::ISR), b.inb(r::CNTR2), b.cable.lengths()[0]), (0, 0, 0));
}

#[test]
fn the_send_command_reads_a_packet_and_moves_the_boundary() {
    let mut b = Bench::new();
    b.start();
    b.out(r::BNRY, 0x47);
    b.cable.offer(&frame(MAC, 300));
    b.deliver();
    b.out(r::CR, cr::STA | cr::RD_SEND);
    let count = 304 / 2;
    let words: Vec<_> = (0..count).map(|_| b.card.port_read(0, BASE + r::DATA, 2) as u16).collect();
    assert_eq!(words[1], 304);
    assert_eq!((b.inb(r::BNRY), b.inb(r::ISR) & isr::RDC), (0x49, isr::RDC));
}

#[test]
fn selecting_a_page_neither_starts_nor_stops() {
    let mut b = Bench::new();
    b.start();
    b.out(r::CR, 0x40);
    b.out(r::CR, 0x00);
    b.cable.offer(&frame(MAC, 60));
    b.deliver();
    assert_eq!(b.inb(r::ISR), isr::PRX, "still running");
    b.out(r::CR, cr::STP);
    b.out(r::CR, 0x00);
    b.cable.offer(&frame(MAC, 60));
    b.deliver();
    assert_eq!(b.current(), 0x48, "still stopped");
}

#[test]
fn filters() {
    let mut b = Bench::new();
    b.start();
    let mut taken = |config: u8, to: MacAddress| {
        b.out(r::RCR, config);
        let before = b.current();
        b.cable.offer(&frame(to, 60));
        b.deliver();
        let after = b.current();
        b.out(r::BNRY, if after == 0x46 { 0x7F } else { after - 1 });
        before != after
    };
    let group = [0x01, 0x00, 0x5E, 0, 0, 1];
    assert!(taken(0, MAC) && !taken(0, [0xFF; 6]) && taken(rcr::AB, [0xFF; 6]));
    assert!(!taken(0, [2; 6]) && taken(rcr::PRO, [2; 6]));
    assert!(!taken(rcr::AM, group) && !taken(rcr::MON | rcr::AB, [0xFF; 6]));
    b.out(r::CR, 0x62);
    b.out(r::MAR0 + 3, 0x80);
    b.out(r::CR, 0x22);
    b.out(r::RCR, rcr::AM);
    b.cable.offer(&frame(group, 60));
    b.deliver();
    assert_eq!(b.inb(r::RSR), rsr::PRX | rsr::PHY);
    assert_eq!((b.inb(r::CNTR2), b.inb(r::CNTR2)), (1, 0), "the monitored packet");
}

/// CVE-2015-5278 (the ring's pages run in a circle that never ends) and CVE-2015-5279 (the ring lies outside the
/// packet memory): every combination of a few ring pointers, with the longest and the shortest frame.
#[test]
fn rings_without_sense_neither_hang_nor_write_elsewhere() {
    let values = [0x00, 0x01, 0x3F, 0x40, 0x41, 0x46, 0x7F, 0x80, 0x81, 0xC0, 0xFE, 0xFF];
    let mut b = Bench::new();
    for start in values {
        for stop in values {
            for current in values {
                for boundary in values {
                    b.start();
                    b.out(r::PSTART, start);
                    b.out(r::PSTOP, stop);
                    b.out(r::BNRY, boundary);
                    b.out(r::CR, 0x62);
                    b.out(r::CURR, current);
                    b.out(r::CR, 0x22);
                    b.cable.offer(&frame(MAC, 1514));
                    b.cable.offer(&frame(MAC, 60));
                    b.deliver();
                    assert!(!b.card.chip.can_take(), "{start:x} {stop:x} {current:x} {boundary:x} would spin");
                    while b.card.chip.port.poll().is_some() {}
                }
            }
        }
    }
    assert_eq!(b.card.chip.memory.len(), usize::from(MEMORY_SIZE));
}

#[test]
fn remote_dma_outside_the_memory_reads_ones() {
    let mut b = Bench::new();
    b.start();
    for at in [0x20, 0x3FFE, 0x8000, 0xFFFE] {
        b.write_memory(at, &[1, 2]);
        assert_eq!(b.read_memory(at, 2), [0xFF, 0xFF], "{at:x}");
    }
    assert_eq!(b.card.port_read(0, BASE + r::DATA, 2), 0xFFFF, "the count is used up");
}

#[test]
fn the_pci_card_moves_and_has_identification() {
    let cable = Cable::default();
    let mut card = Rtl8029::new(IrqLine::unconnected(), Box::new(cable), MAC);
    assert_eq!((card.config_read(0, 4), card.config_read(0x0A, 2)), (0x8029_10EC, 0x0200));
    card.config_write(0x10, 4, u32::MAX);
    assert_eq!(card.config_read(0x10, 4), 0xFFFF_FFE1);
    card.config_write(0x10, 4, 0xC100);
    assert_eq!(card.io_range(), None);
    card.config_write(0x04, 2, 1);
    assert_eq!((card.io_range(), card.take_decode_change()), (Some((0xC100, 32)), true));
    let id = [card.port_read(0, 0xC10A, 1), card.port_read(0, 0xC10B, 1)];
    assert_eq!(id, [b'P'.into(), b'C'.into()]);
    NetworkCard::reset(&mut card);
    assert_eq!(card.io_range(), None);
}
