//! Commands, transfers through a real 8237A, interrupts, the mixer and the MPU-401 against Creative's guide.

use super::*;
use crate::clock::SECOND;
use crate::dma::DmaPair;
use crate::{GuestMemory, IrqInputs};

struct Memory(Vec<u8>);

impl GuestMemory for Memory {
    fn read(&mut self, address: u64, buffer: &mut [u8]) {
        for (i, byte) in buffer.iter_mut().enumerate() {
            *byte = self.0.get(address as usize + i).copied().unwrap_or(0xFF);
        }
    }

    fn write(&mut self, address: u64, data: &[u8]) {
        for (i, byte) in data.iter().enumerate() {
            if let Some(cell) = self.0.get_mut(address as usize + i) {
                *cell = *byte;
            }
        }
    }
}

/// Where the buffer lies.
const BUFFER: usize = 0x2_0000;

struct Bench {
    card: SoundBlaster,
    dma: DmaPair,
    memory: Memory,
    inputs: IrqInputs,
    now: Time,
}

impl Bench {
    fn new() -> Self {
        let inputs = IrqInputs::new();
        let card = SoundBlaster::new([9, 5, 7, 10].map(|n| inputs.line(n)));
        let mut bench = Self { card, dma: DmaPair::new(), memory: Memory(vec![0; 0x10_0000]), inputs, now: 0 };
        bench.card.listen();
        // The cascade, as firmware leaves it; then voices as loud as they are stored.
        bench.dma.write8(0, 0xD6, 0xC0);
        bench.dma.write8(0, 0xD4, 0x00);
        for register in [0x32, 0x33] {
            bench.mixer(register, 0xF8);
        }
        bench.reset();
        bench
    }

    fn out(&mut self, offset: u16, value: u8) {
        self.run();
        self.card.write8(self.now, 0x220 + offset, value);
        self.run();
    }

    fn inb(&mut self, offset: u16) -> u8 {
        self.card.read8(self.now, 0x220 + offset)
    }

    fn mixer(&mut self, register: u8, value: u8) {
        self.out(4, register);
        self.out(5, value);
    }

    fn mixer_read(&mut self, register: u8) -> u8 {
        self.out(4, register);
        self.inb(5)
    }

    fn reset(&mut self) {
        self.out(6, 1);
        self.now += 3_000;
        self.out(6, 0);
        assert_eq!((self.inb(0xE) & 0x80, self.inb(0xA)), (0x80, 0xAA));
    }

    fn command(&mut self, bytes: &[u8]) {
        for byte in bytes {
            assert_eq!(self.inb(0xC) & 0x80, 0);
            self.out(0xC, *byte);
        }
    }

    /// Programs a channel for `count` items from [`BUFFER`] on.
    fn program(&mut self, channel: u16, auto: bool, count: u16) {
        let wide = channel > 3;
        let (number, address) = (channel & 3, if wide { BUFFER >> 1 } else { BUFFER } as u16);
        let register = |n: u16| if wide { 0xC0 + 2 * n } else { n };
        let dma = &mut self.dma;
        let mut out = |port: u16, value: u8| dma.write8(0, port, value);
        out(register(12), 0);
        out(register(11), 0x48 | u8::from(auto) << 4 | number as u8);
        for (n, value) in [(2 * number, address), (2 * number + 1, count - 1)] {
            out(register(n), value as u8);
            out(register(n), (value >> 8) as u8);
        }
        out([0x87, 0x83, 0x81, 0x82, 0x8F, 0x8B, 0x89, 0x8A][usize::from(channel)], 2);
        out(register(10), number as u8);
    }

    fn run(&mut self) {
        self.card.advance(self.now);
        if self.card.dreq() {
            if let Some(channel) = self.card.dma_channel() {
                self.dma.run(self.now, &mut self.memory, channel, &mut self.card);
            }
            self.card.served();
        }
    }

    /// Lets `span` pass, waking the card when it wants; returns when interrupt line `irq` rose.
    fn pass(&mut self, span: Time, irq: usize) -> Vec<Time> {
        let end = self.now + span;
        let mut rises = Vec::new();
        loop {
            self.now = self.card.next_event().map_or(end, |at| at.clamp(self.now, end));
            self.run();
            if self.inputs.take_rises() >> irq & 1 != 0 {
                rises.push(self.now);
                self.inb(0xE);
                self.inb(0xF);
            }
            if self.now == end {
                return rises;
            }
        }
    }

    /// What was played since the last call: time and level of each side.
    fn played(&mut self) -> Vec<(Time, i32, i32)> {
        let mut steps = Vec::new();
        self.card.hear(self.now, &mut steps);
        let mut level = (0, 0);
        let heard = steps.iter().map(|s| {
            level = (level.0 + s.left, level.1 + s.right);
            (s.time, level.0, level.1)
        });
        heard.collect()
    }

    fn fill(&mut self, bytes: &[u8]) {
        self.memory.0[BUFFER..BUFFER + bytes.len()].copy_from_slice(bytes);
    }
}

#[test]
fn the_dsp_tells_who_it_is() {
    let mut b = Bench::new();
    b.command(&[0xE1]);
    assert_eq!((b.inb(0xA), b.inb(0xE) & 0x80, b.inb(0xA), b.inb(0xE) & 0x80), (4, 0x80, 5, 0));
    b.command(&[0xE0, 0x5A]);
    assert_eq!(b.inb(0xA), 0xA5);
    b.command(&[0xE4, 0x77, 0xE8]);
    assert_eq!(b.inb(0xA), 0x77);
    b.command(&[0xE3]);
    let text: Vec<u8> = (0..COPYRIGHT_LENGTH).map(|_| b.inb(0xA)).collect();
    assert!(text.starts_with(b"COPYRIGHT (C) CREATIVE") && text.ends_with(&[0]));
    for (command, flag) in [(0xD1, 0xFF), (0xD3, 0x00)] {
        b.command(&[command, 0xD8]);
        assert_eq!(b.inb(0xA), flag);
    }
    // A reset in the middle of a command forgets it.
    b.command(&[0x48, 0x12]);
    b.reset();
    b.command(&[0xE1]);
    assert_eq!(b.inb(0xA), 4);
}

const COPYRIGHT_LENGTH: usize = spec::COPYRIGHT.len();

#[test]
fn direct_output_is_heard_at_once() {
    let mut b = Bench::new();
    b.now = 1_000_000;
    for value in [0xFF, 0x80, 0x00] {
        b.now += 50_000;
        b.command(&[0x10, value]);
    }
    assert_eq!(b.played(), [(1_050_000, 32_512, 32_512), (1_100_000, 0, 0), (1_150_000, -32_768, -32_768)]);
}

#[test]
fn an_8_bit_buffer_is_played_to_the_sample() {
    let mut b = Bench::new();
    let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 37 % 251) as u8).collect();
    b.fill(&bytes);
    b.program(1, false, 1000);
    // 8 kHz: 125 us a sample.
    b.now = SECOND;
    b.command(&[0x40, 256u16.wrapping_sub(125) as u8, 0x14, 0xE7, 0x03]);
    let rises = b.pass(SECOND, 5);
    assert_eq!(rises, [SECOND + 999 * 125_000]);
    let expected = bytes.iter().enumerate().map(|(i, v)| {
        let level = (i32::from(*v) - 128) * 256;
        (SECOND + i as u64 * 125_000, level, level)
    });
    assert_eq!(b.played(), expected.collect::<Vec<_>>());
    assert_eq!(b.card.next_event(), None);
}

#[test]
fn blocks_repeat_until_told_to_stop() {
    for (start, end) in [(&[0x1C][..], 0xDA), (&[0x90], 0xDA), (&[0xC6, 0x00, 0xFF, 0x00], 0xDA)] {
        let mut b = Bench::new();
        b.program(1, true, 512);
        b.command(&[0x40, 256u16.wrapping_sub(100) as u8, 0x48, 0xFF, 0x00]);
        b.command(start);
        // 256 samples of 100 us in a block.
        let rises = b.pass(SECOND, 5);
        assert_eq!(rises.len(), 39);
        assert!(rises.windows(2).all(|w| w[1] - w[0] == 25_600_000));
        b.command(&[end]);
        assert_eq!(b.pass(SECOND, 5).len(), 1, "the block under way is finished");
        assert!(b.card.dsp.transfer.is_none());
    }
}

#[test]
fn sixteen_bit_stereo_goes_over_channel_5_or_as_bytes_over_1() {
    let values: Vec<i16> = (0..400).map(|i| (i * 163) as i16).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    for narrow in [false, true] {
        let mut b = Bench::new();
        b.fill(&bytes);
        if narrow {
            b.mixer(0x81, 0x02);
            b.program(1, false, 800);
        } else {
            b.program(5, false, 400);
        }
        // 20 kHz, signed stereo, 400 words.
        b.command(&[0x41, 0x4E, 0x20, 0xB0, 0x30, 0x8F, 0x01]);
        let start = b.now;
        let rises = b.pass(SECOND, 5);
        assert_eq!(rises, [start + 399 * 25_000], "{narrow}");
        let expected = values
            .chunks(2)
            .enumerate()
            .map(|(i, v)| (start + i as u64 * 50_000 + 25_000, i32::from(v[0]), i32::from(v[1])));
        assert_eq!(b.played(), expected.filter(|(_, l, r)| (*l, *r) != (0, 0)).collect::<Vec<_>>(), "{narrow}");
    }
}

#[test]
fn interrupts_are_told_apart_and_steered() {
    let mut b = Bench::new();
    assert_eq!((b.mixer_read(0x80), b.mixer_read(0x81), b.mixer_read(0x82)), (0x02, 0x22, 0x20));
    b.command(&[0xF2, 0xF3]);
    assert_eq!((b.mixer_read(0x82), b.inputs.levels()), (0x23, 1 << 5));
    b.inb(0xE);
    assert_eq!((b.mixer_read(0x82), b.inputs.levels()), (0x22, 1 << 5));
    b.inb(0xF);
    assert_eq!((b.mixer_read(0x82), b.inputs.levels()), (0x20, 0));
    for (select, line) in [(1, 9), (2, 5), (4, 7), (8, 10)] {
        b.mixer(0x80, select);
        b.command(&[0xF2]);
        assert_eq!(b.inputs.levels(), 1 << line);
        b.inb(0xE);
    }
    b.mixer(0x80, 0);
    b.command(&[0xF2]);
    assert_eq!(b.inputs.levels(), 0);
}

#[test]
fn a_transfer_waits_for_its_channel_and_pauses() {
    let mut b = Bench::new();
    let bytes: Vec<u8> = (1..=100).collect();
    b.fill(&bytes);
    b.command(&[0x40, 256u16.wrapping_sub(100) as u8, 0x14, 99, 0]);
    assert!(b.pass(SECOND, 5).is_empty() && b.card.next_event().is_none(), "the channel is masked");
    b.program(1, false, 100);
    let start = b.now;
    // The board looks after each access to the DMA controllers.
    b.run();
    b.pass(2_000_000, 5);
    b.command(&[0xD0]);
    assert!(b.pass(SECOND, 5).is_empty() && b.card.next_event().is_none());
    b.command(&[0xD4]);
    let resumed = b.now;
    assert_eq!(b.pass(SECOND, 5).len(), 1);
    let times: Vec<Time> = b.played().iter().map(|p| p.0).collect();
    assert_eq!(times.len(), 100);
    assert_eq!((times[0], times[20], times[21], times[99]), (start, start + 2_000_000, resumed, resumed + 7_800_000));
}

#[test]
fn silence_takes_its_time() {
    let mut b = Bench::new();
    b.command(&[0x40, 256u16.wrapping_sub(100) as u8, 0x80, 0xF3, 0x01]);
    assert_eq!(b.pass(SECOND, 5).len(), 1);
    b.command(&[0x80, 0xF3, 0x01]);
    let start = b.now;
    assert_eq!(b.pass(SECOND, 5), [start + 50_000_000]);
}

#[test]
fn packed_samples_are_unpacked() {
    let mut b = Bench::new();
    b.fill(&[0x80, 0x77, 0x77]);
    b.program(1, false, 3);
    b.command(&[0x40, 256u16.wrapping_sub(100) as u8, 0x75, 2, 0]);
    assert_eq!(b.pass(SECOND, 5).len(), 1);
    let levels: Vec<i32> = b.played().iter().map(|p| p.1 / 256).collect();
    assert_eq!(levels, [7, 21, 49, 105]);
}

#[test]
fn recording_stores_silence() {
    let mut b = Bench::new();
    b.fill(&[1; 20]);
    b.program(1, false, 10);
    b.dma.write8(0, 0x0B, 0x45);
    b.command(&[0x24, 9, 0]);
    assert_eq!(b.pass(SECOND, 5).len(), 1);
    assert_eq!(b.memory.0[BUFFER + 8..BUFFER + 12], [0x80, 0x80, 1, 1]);
    assert!(b.played().is_empty());
}

#[test]
fn the_mixer_sets_volumes() {
    let mut b = Bench::new();
    // As on a Sound Blaster Pro: four bits a side.
    b.mixer(0x04, 0xC3);
    assert_eq!((b.mixer_read(0x32), b.mixer_read(0x33), b.mixer_read(0x04)), (0xC8, 0x38, 0xC3));
    b.mixer(0x32, 0xF8);
    b.mixer(0x33, 0xE8);
    b.command(&[0x10, 0xC0]);
    // 31 is full, each step below 2 dB less.
    let played = b.played();
    assert_eq!(played.len(), 1);
    assert_eq!((played[0].1, played[0].2), (0x4000, 10_337));
    b.mixer(0x30, 0x00);
    b.command(&[0x10, 0xFF]);
    assert_eq!(b.played().last().map(|p| p.1), Some(-0x4000), "down to nothing");
    b.mixer(0x00, 0);
    assert_eq!((b.mixer_read(0x30), b.mixer_read(0x32), b.mixer_read(0x80)), (0xC0, 0xC0, 0x02));
}

#[test]
fn the_synthesizer_answers_at_all_its_ports() {
    let mut b = Bench::new();
    for base in [0x220, 0x228, 0x388] {
        for (register, value) in [(4, 0x60), (4, 0x80), (2, 0xFF), (4, 0x21)] {
            b.card.write8(b.now, base, register);
            b.card.write8(b.now, base + 1, value);
        }
        b.now += 100_000;
        assert_eq!(b.card.read8(b.now, base) & 0xE0, 0xC0);
    }
    assert_eq!(b.card.next_event(), None, "nobody is woken for it");
}

#[test]
fn the_mpu_401_acknowledges() {
    let mut b = Bench::new();
    let mut mpu = |value: u8| {
        b.card.write8(0, 0x331, value);
        let mut answers = Vec::new();
        while b.card.read8(0, 0x331) & 0x80 == 0 {
            answers.push(b.card.read8(0, 0x330));
        }
        answers
    };
    assert_eq!((mpu(0xFF), mpu(0x3F), mpu(0xFF), mpu(0xFF)), (vec![0xFE], vec![0xFE], vec![], vec![0xFE]));
    b.card.write8(0, 0x330, 0x90);
    assert_eq!(b.card.read8(0, 0x331) & 0x40, 0, "ready for the next byte");
}
