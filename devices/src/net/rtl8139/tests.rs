//! The RTL8139C+ with a little guest memory, as drivers use it, and with descriptors that no driver writes.

use super::offload::tests::tcp_frame;
use super::spec::{cpcr, dtccr, opts1, opts2, register as r, tppoll};
use super::*;
use crate::IrqInputs;
use crate::net::testing::Cable;

const MAC: MacAddress = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
const BASE: u16 = 0xC000;

/// Guest memory that ends at its size.
struct Ram(Vec<u8>);

impl GuestMemory for Ram {
    fn read(&mut self, address: u64, buffer: &mut [u8]) {
        for (at, byte) in (address..).zip(buffer) {
            *byte = usize::try_from(at).ok().and_then(|at| self.0.get(at)).copied().unwrap_or(0xFF);
        }
    }

    fn write(&mut self, address: u64, data: &[u8]) {
        for (at, byte) in (address..).zip(data) {
            if let Some(place) = usize::try_from(at).ok().and_then(|at| self.0.get_mut(at)) {
                *place = *byte;
            }
        }
    }
}

struct Bench {
    card: Rtl8139,
    cable: Cable,
    irqs: IrqInputs,
    ram: Ram,
    now: Time,
}

impl Bench {
    fn new() -> Self {
        let (cable, irqs) = (Cable::default(), IrqInputs::new());
        let mut card = Rtl8139::new(irqs.line(11), Box::new(cable.clone()), MAC);
        card.config_write(0x10, 4, BASE.into());
        card.config_write(0x04, 2, 7);
        Self { card, cable, irqs, ram: Ram(vec![0; 0x4_0000]), now: 0 }
    }

    fn out(&mut self, register: u8, size: u8, value: u32) {
        self.card.port_write(self.now, BASE + u16::from(register), size, value);
        self.run();
    }

    fn input(&mut self, register: u8, size: u8) -> u32 {
        self.card.port_read(self.now, BASE + u16::from(register), size)
    }

    fn run(&mut self) {
        self.card.advance(self.now);
        if self.card.dma_pending() {
            self.card.run_dma(self.now, &mut self.ram);
        }
    }

    fn put(&mut self, at: u64, words: &[u32]) {
        for (i, word) in words.iter().enumerate() {
            self.ram.write(at + 4 * i as u64, &word.to_le_bytes());
        }
    }

    fn get(&mut self, at: u64) -> u32 {
        let mut bytes = [0; 4];
        self.ram.read(at, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn bytes(&self, at: usize, count: usize) -> Vec<u8> {
        self.ram.0[at..at + count].to_vec()
    }

    /// The plain mode, with an 8 KiB ring at 10000h.
    fn start(&mut self) {
        self.out(r::CR, 1, cr::RST.into());
        self.out(r::CR, 1, u32::from(cr::RE | cr::TE));
        self.out(r::RBSTART, 4, 0x1_0000);
        self.out(r::RCR, 4, rcr::APM | rcr::AB);
        self.out(r::IMR, 2, 0xFFFF);
    }

    /// C+ mode: transmit ring at 1000h, receive ring at 2000h.
    fn start_cplus(&mut self) {
        self.start();
        self.out(r::CPCR, 2, u32::from(cpcr::CP_TX | cpcr::CP_RX | cpcr::RX_CHKSUM | cpcr::RX_VLAN));
        self.out(r::TSAD0, 4, 0x1000);
        self.out(r::TSAD0 + 4, 4, 0);
        self.out(r::RDSAR, 4, 0x2000);
        self.out(r::RDSAR + 4, 4, 0);
    }
}

fn frame(to: MacAddress, length: usize) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend((0..length - 6).map(|i| i as u8));
    frame
}

#[test]
fn identity_and_link() {
    let mut b = Bench::new();
    assert_eq!((b.card.config_read(0, 4), b.card.config_read(8, 1)), (0x8139_10EC, 0x20));
    assert_eq!((b.input(r::IDR0, 4), b.input(4, 2)), (0x1200_5452, 0x5634));
    assert_eq!(b.input(r::TCR, 4) & 0x7CC0_0000, tcr::HWVERID);
    assert_eq!((b.input(r::BMSR, 2) & 0x24, b.input(r::MSR, 1) & 4), (0x24, 0));
    b.card.config_write(0x0C, 1, 8);
    assert_eq!(b.card.config_read(0x0C, 1), 8, "or Linux's driver refuses the card");
    b.card.config_write(0x14, 4, u32::MAX);
    assert_eq!(b.card.config_read(0x14, 4), 0xFFFF_FF00);
    b.card.config_write(0x14, 4, 0xE000_0000);
    assert_eq!(b.card.memory_range(), Some((0xE000_0000, 256)));
    b.out(r::CONFIG5, 1, 0x55);
    assert_eq!(b.input(r::CONFIG5, 1), 0, "locked");
    b.out(r::CR_9346, 1, 0xC0);
    b.out(r::CONFIG5, 1, 0x55);
    assert_eq!(b.input(r::CONFIG5, 1), 0x55);
}

#[test]
fn the_four_transmit_descriptors() {
    let mut b = Bench::new();
    b.start();
    for i in 0..4u8 {
        let data = frame([i; 6], 60 + usize::from(i));
        b.ram.write(0x3000, &data);
        b.out(r::TSAD0 + 4 * i, 4, 0x3000);
        b.out(r::TSD0 + 4 * i, 4, data.len() as u32);
        assert_eq!(b.cable.sent(), Some(data));
        assert_eq!(b.input(r::TSD0 + 4 * i, 4) & (tsd::OWN | tsd::TOK), tsd::OWN | tsd::TOK);
    }
    assert_eq!((b.input(r::TSAD, 2), b.irqs.levels()), (0xF00F, 1 << 11));
    b.out(r::ISR, 2, isr::TOK.into());
    assert_eq!(b.irqs.levels(), 0);
    for size in [0, 13, 1519, 0x1FFF] {
        b.out(r::TSD0, 4, size);
        assert_eq!((b.cable.sent(), b.input(r::TSD0, 4) & tsd::TABT), (None, tsd::TABT));
    }
    b.card.config_write(4, 2, 3);
    b.out(r::TSD0, 4, 60);
    assert_eq!(b.cable.sent(), None, "no bus master, no transfer");
    b.card.config_write(4, 2, 7);
    b.run();
    assert!(b.cable.sent().is_some());
}

#[test]
fn the_receive_buffer_wraps_and_waits() {
    let mut b = Bench::new();
    b.start();
    let data = frame(MAC, 1000);
    for _ in 0..30 {
        b.cable.offer(&data);
    }
    b.run();
    let mut at = 0usize;
    for i in 0..30 {
        assert_eq!(b.input(r::CR, 1) & u32::from(cr::BUFE), 0, "packet {i}");
        let ring: Vec<u8> = (0..1012).map(|k| b.ram.0[0x1_0000 + (at + k) % 8192]).collect();
        assert_eq!(ring[..4], [(rx::ROK | rx::PAM).to_le_bytes(), 1004u16.to_le_bytes()].concat());
        assert_eq!((&ring[4..1004], &ring[1004..1008]), (&data[..], &crc32(&data).to_le_bytes()[..]));
        at = (at + 1008) % 8192;
        b.out(r::CAPR, 2, (at as u32).wrapping_sub(16) & 0xFFFF);
    }
    assert_ne!(b.input(r::CR, 1) & u32::from(cr::BUFE), 0);
    assert_eq!((b.cable.lengths()[0], b.input(r::CBR, 2)), (0, at as u32));
    assert!(b.ram.0[0x1_2000..].iter().all(|&byte| byte == 0), "nothing behind the buffer");
}

#[test]
fn with_wrap_a_packet_goes_on_behind_the_buffer() {
    let mut b = Bench::new();
    b.start();
    b.out(r::RCR, 4, rcr::APM | rcr::WRAP);
    b.out(r::CAPR, 2, 8000 - 16);
    b.card.write_pointer = 8000;
    b.cable.offer(&frame(MAC, 600));
    b.run();
    assert_eq!(b.bytes(0x1_0000 + 8004, 600), frame(MAC, 600));
    assert_eq!(b.input(r::CBR, 2), (8000 + 608) % 8192);
}

#[test]
fn loopback_comes_back_once() {
    let mut b = Bench::new();
    b.start();
    b.out(r::TCR, 4, tcr::LBK);
    b.ram.write(0x3000, &frame(MAC, 60));
    b.out(r::TSAD0, 4, 0x3000);
    b.out(r::TSD0, 4, 60);
    assert_eq!((b.cable.lengths(), b.input(r::CBR, 2)), ([0, 0], 68));
    assert_eq!(b.bytes(0x1_0004, 60), frame(MAC, 60));
}

#[test]
fn the_timer_interrupts() {
    let mut b = Bench::new();
    b.out(r::IMR, 2, isr::TIMEOUT.into());
    b.now = 1_000_000;
    b.out(r::TCTR, 4, 0);
    b.out(r::TIMER_INT, 4, 33_000);
    let at = b.card.next_event().expect("the timer runs");
    assert!((1_999_900..2_000_100).contains(&at), "{at}");
    b.now = at - 40;
    b.run();
    assert_eq!(b.irqs.levels(), 0);
    b.now = at;
    b.run();
    assert_eq!((b.irqs.levels(), b.input(r::TCTR, 4)), (1 << 11, 33_000));
    b.out(r::ISR, 2, isr::TIMEOUT.into());
    assert!(b.card.next_event().is_some_and(|next| next > at + SECOND));
}

#[test]
fn cplus_sends_gathered_packets_with_checksums() {
    let mut b = Bench::new();
    b.start_cplus();
    let data = tcp_frame(b"some data, long enough to need no padding");
    b.ram.write(0x3000, &data[..20]);
    b.ram.write(0x3800, &data[20..]);
    b.put(0x1000, &[opts1::OWN | opts1::FS | 20, 0, 0x3000, 0]);
    let last = opts1::OWN | opts1::LS | opts1::EOR | opts1::IPCS | opts1::TCPCS | (data.len() as u32 - 20);
    b.put(0x1010, &[last, 0, 0x3800, 0]);
    b.out(r::TPPOLL, 1, tppoll::NPQ.into());
    let sent = b.cable.sent().expect("a packet is sent");
    assert_eq!((&sent[..24], &sent[54..]), (&data[..24], &data[54..]));
    assert_eq!(offload::verify(&sent), offload::Verdict { protocol: 1, ip_bad: false, payload_bad: false });
    assert_eq!((b.get(0x1000) & opts1::OWN, b.get(0x1010) & opts1::OWN), (0, 0));
    assert_eq!(b.input(r::ISR, 2) as u16 & (isr::TOK | isr::TDU), isr::TOK | isr::TDU);
    let tagged = opts1::OWN | opts1::FS | opts1::LS | 60;
    b.put(0x1000, &[tagged, opts2::TAGC | 0x6400, 0x3000, 0]);
    b.out(r::TPPOLL, 1, tppoll::NPQ.into());
    let sent = b.cable.sent().expect("a packet is sent");
    assert_eq!((sent.len(), &sent[12..16]), (64, &[0x81, 0, 0, 0x64][..]));
}

#[test]
fn a_full_buffer_that_the_driver_has_left_overflows() {
    let mut b = Bench::new();
    b.start();
    for _ in 0..10 {
        b.cable.offer(&frame(MAC, 1000));
    }
    b.run();
    let waiting = b.cable.lengths()[0];
    assert_eq!((b.card.next_event(), waiting > 1), (None, true), "the driver has still to look");
    b.now = 500;
    b.out(r::ISR, 2, isr::ROK.into());
    assert_eq!(b.card.next_event(), Some(500 + PATIENCE));
    b.now += PATIENCE;
    b.run();
    assert_eq!((b.input(r::ISR, 2) as u16, b.input(r::MPC, 4)), (isr::RXOVW, 1));
    assert_eq!((b.cable.lengths()[0], b.card.next_event()), (waiting - 1, None));
}

#[test]
fn cplus_receives_and_says_when_descriptors_are_missing() {
    let mut b = Bench::new();
    b.start_cplus();
    b.put(0x2000, &[opts1::OWN | 1536, 0, 0x8000, 0]);
    b.put(0x2010, &[opts1::OWN | opts1::EOR | 1536, 0, 0x9000, 0]);
    let mut data = tcp_frame(&[7; 100]);
    data[..6].copy_from_slice(&MAC);
    offload::fill_checksums(&mut data, offload::Wanted { ip: true, tcp: true, udp: false });
    for _ in 0..3 {
        b.cable.offer(&data);
    }
    b.run();
    let length = data.len() as u32 + 4;
    let status = opts1::FS | opts1::LS | opts1::PAM | 1 << opts1::PID_SHIFT | length;
    assert_eq!((b.get(0x2000), b.get(0x2010)), (status, status | opts1::EOR));
    assert_eq!(b.bytes(0x9000, data.len()), data);
    assert_eq!((b.cable.lengths()[0], b.input(r::ISR, 2) as u16 & isr::RXOVW), (1, isr::RXOVW));
    assert_eq!(b.card.next_event(), Some(STARVED), "descriptors may come without any access");
    b.put(0x2000, &[opts1::OWN | 1536, 0, 0x8000, 0]);
    b.now = STARVED;
    b.run();
    assert_eq!(b.cable.lengths()[0], 0);
    b.put(0x2010, &[opts1::OWN | opts1::EOR | 64, 0, 0x9000, 0]);
    b.cable.offer(&data);
    b.out(r::ISR, 2, 0xFFFF);
    assert_eq!(b.input(r::ISR, 2) as u16, isr::RER, "the buffer is too small");
    b.out(r::DTCCR, 4, 0x3000 | dtccr::CMD);
    assert_eq!((b.input(r::DTCCR, 4), b.get(0x3008)), (0x3000, 3));
}

/// CVE-2015-5165: offload descriptors whose headers promise more bytes than the buffer has must not put anything else
/// on the cable.
#[test]
fn offload_sends_no_byte_that_the_guest_did_not_give() {
    let mut b = Bench::new();
    b.start_cplus();
    b.ram.0[0x3000..0x8000].fill(0xA5);
    let data = tcp_frame(b"x");
    for (at, value) in [(14, 0x4F), (14, 0x41), (16, 0xFF), (17, 0x00), (17, 0x14), (46, 0xF0), (46, 0x00)] {
        for flags in [opts1::LGSEN | 100 << opts1::MSS_SHIFT, opts1::IPCS | opts1::TCPCS | opts1::UDPCS] {
            let mut lie = data.clone();
            lie[at] = value;
            b.ram.write(0x3000, &lie);
            b.put(0x1000, &[opts1::OWN | opts1::FS | opts1::LS | opts1::EOR | flags | lie.len() as u32, 0, 0x3000, 0]);
            b.out(r::TPPOLL, 1, tppoll::NPQ.into());
            while let Some(sent) = b.cable.sent() {
                assert!(sent.len() <= lie.len() && !sent.contains(&0xA5), "byte {at} = {value:x}: {sent:x?}");
            }
        }
    }
}

#[test]
fn rings_without_end_stop() {
    let mut b = Bench::new();
    b.start_cplus();
    // The ring lies where no memory is: descriptors read as all ones and never change.
    b.out(r::TSAD0, 4, 0xF000_0000);
    b.out(r::RDSAR, 4, 0xF000_0000);
    b.cable.offer(&frame(MAC, 60));
    b.out(r::TPPOLL, 1, u32::from(tppoll::NPQ | tppoll::HPQ));
    b.run();
    assert!(!b.card.dma_pending());
    // A ring of first segments only gathers no more than a large packet.
    b.out(r::TSAD0, 4, 0x1000);
    for i in 0..RING {
        b.put(0x1000 + 16 * i, &[opts1::OWN | 0xFFFF, 0, 0x3000, 0]);
    }
    for _ in 0..10 {
        b.out(r::TPPOLL, 1, tppoll::NPQ.into());
        for i in 0..RING {
            b.put(0x1000 + 16 * i, &[opts1::OWN | 0xFFFF, 0, 0x3000, 0]);
        }
    }
    assert!(b.card.cplus_held() <= offload::MAX_LARGE);
}

const RING: u64 = spec::RING_MAX as u64;

impl Rtl8139 {
    fn cplus_held(&self) -> usize {
        self.cplus.held()
    }
}
