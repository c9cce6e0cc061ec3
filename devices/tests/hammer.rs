//! No sequence of guest accesses makes a chip panic, whatever it writes, wherever, whenever.
//!
//! Debug builds check every arithmetic operation, so wrapping that was not meant is found here too.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use ring86_devices::fw_cfg::FwCfg;
use ring86_devices::i8042::{Buttons, Controller, KeyCode, Wiring};
use ring86_devices::pci::i440fx::HostBridge;
use ring86_devices::pci::piix3::IsaBridge;
use ring86_devices::pci::piix4_pm::{self, PowerManagement};
use ring86_devices::sound::{opl3, sb16};
use ring86_devices::{
    BlockMedia, BytePorts, DmaPeer, GuestMemory, IrqInputs, IrqLine, Latch, Level, Mmio, PciFunction, PortIo, Router,
    Time, Timed, apic, dma, floppy, game_port, hpet, ide, net, parallel, pic, pit, rtc, uart, vga,
};

/// A small generator of repeatable pseudo-random numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Mostly small steps of time, sometimes seconds, rarely years.
    fn step(&mut self) -> Time {
        match self.below(1000) {
            0 => self.below(1 << 50),
            1..50 => self.below(1 << 31),
            _ => self.below(1 << 14),
        }
    }

    fn value(&mut self) -> u32 {
        match self.below(4) {
            0 => self.below(8) as u32,
            1 => 1 << self.below(32),
            _ => self.next() as u32,
        }
    }
}

const ROUNDS: usize = 300_000;

/// Random reads and writes of `ports`; `after` is called after each.
fn hammer<T: PortIo>(chip: &mut T, seed: u64, ports: &[u16], mut after: impl FnMut(&mut T, &mut Random, Time)) {
    let mut random = Random(seed);
    let mut now = 0;
    for _ in 0..ROUNDS {
        now = random.step().saturating_add(now).min(1 << 62);
        let port = ports[random.below(ports.len() as u64) as usize];
        let size = [1, 1, 1, 2, 4][random.below(5) as usize];
        if random.below(3) == 0 {
            chip.port_read(now, port, size);
        } else {
            let value = random.value();
            chip.port_write(now, port, size, value);
        }
        after(chip, &mut random, now);
    }
}

/// Runs a few due events, and checks that asking does no harm.
fn tick<T: Timed>(chip: &mut T, now: Time) {
    if let Some(at) = chip.next_event() {
        chip.advance(at.min(now.saturating_add(1_000_000)));
    }
    chip.advance(now);
}

#[derive(Default)]
struct Memory;

impl GuestMemory for Memory {
    fn read(&mut self, address: u64, buffer: &mut [u8]) {
        for (i, byte) in (address..).zip(buffer) {
            *byte = (i.wrapping_mul(0x9E37_79B9) >> 13) as u8;
        }
    }

    fn write(&mut self, _address: u64, _data: &[u8]) {}
}

struct Image(Vec<u8>);

impl BlockMedia for Image {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let source = self.0.get(offset..offset + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(source);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let place = self.0.get_mut(offset..offset + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        place.copy_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn pic() {
    for discrete in [false, true] {
        let inputs = IrqInputs::new();
        let lines: Vec<IrqLine> = (0..16).map(|i| inputs.line(i)).collect();
        let mut chip = if discrete { pic::PicPair::discrete(inputs) } else { pic::PicPair::new(inputs) };
        hammer(&mut chip, 1, &[0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1], |chip, random, _| {
            lines[random.below(16) as usize].set_level(random.below(2) == 0);
            if chip.intr() && random.below(2) == 0 {
                chip.acknowledge();
            }
        });
    }
}

#[test]
fn pit() {
    let mut chip = pit::Pit::new(IrqLine::unconnected(), Latch::new());
    hammer(&mut chip, 2, &[0x40, 0x41, 0x42, 0x43, 0x61], |chip, _, now| {
        tick(chip, now);
    });
    let mut chip = pit::Pit::new(IrqLine::unconnected(), Latch::new());
    chip.listen(1000);
    let mut steps = Vec::new();
    hammer(&mut chip, 2, &[0x42, 0x43, 0x61], |chip, random, now| {
        if random.below(16) == 0 {
            steps.clear();
            chip.hear(now, &mut steps);
            assert!(steps.is_sorted_by_key(|step| step.time) && steps.iter().all(|step| step.time <= now));
        }
    });
}

#[test]
fn rtc() {
    let mut chip = rtc::Rtc::new(0, IrqLine::unconnected(), &rtc::RtcInit::default());
    let mut random = Random(3);
    let mut now = 0;
    for _ in 0..ROUNDS {
        now += random.step() % (1 << 33);
        chip.write8(now, 0x70, random.below(16) as u8);
        if random.below(2) == 0 {
            chip.write8(now, 0x71, random.value() as u8);
        } else {
            chip.read8(now, 0x71);
        }
        tick(&mut chip, now);
    }
}

#[test]
fn uart() {
    let mut chip = uart::Uart::new(IrqLine::unconnected());
    let ports: Vec<u16> = (0x3F8..0x400).collect();
    hammer(&mut chip, 4, &ports, |chip, random, now| {
        match random.below(8) {
            0 => {
                chip.push_rx(now, &[random.value() as u8; 5]);
            }
            1 => {
                chip.push_rx_error(now, 0, random.value() as u8);
            }
            2 if random.below(1000) == 0 => chip.set_pacing(now, uart::Pacing::Baud),
            3 if random.below(1000) == 0 => chip.set_pacing(now, uart::Pacing::Free),
            _ => {}
        }
        tick(chip, now);
        chip.drain_tx();
    });
}

#[test]
fn i8042() {
    let (irq1, irq12) = (IrqLine::unconnected(), IrqLine::unconnected());
    let mut chip = Controller::new(Wiring { irq1, irq12, a20: Level::new(true), reset: Latch::new() });
    let keys: Vec<KeyCode> = KeyCode::all().collect();
    hammer(&mut chip, 5, &[0x60, 0x64], |chip, random, now| {
        match random.below(6) {
            0 => chip.key(now, keys[random.below(keys.len() as u64) as usize], random.below(2) == 0),
            1 => {
                let buttons = Buttons { left: random.below(2) == 0, ..Buttons::default() };
                chip.mouse(now, random.value() as i32, random.value() as i32, random.value() as i32, buttons);
            }
            _ => {}
        }
        tick(chip, now);
    });
}

#[test]
fn pci_functions() {
    let inputs = IrqInputs::new();
    let wiring = piix4_pm::Wiring { sci: inputs.line(9), smi: Latch::new(), power_off: Latch::new() };
    let mut host = HostBridge::new(1 << 40, Latch::new());
    let mut isa = IsaBridge::new(|irq| inputs.line(irq));
    let mut pm = PowerManagement::new(wiring).with_acpi_commands(1, 2);
    let mut ide = ide::IdeController::new([inputs.line(14), inputs.line(15)]);
    let pirq = isa.pirq(2);
    let mut random = Random(6);
    for round in 0..ROUNDS as u64 {
        let size = [1, 2, 4][random.below(3) as usize];
        let offset = random.below(256) as u8 & !(size - 1);
        let value = random.value();
        for function in [&mut host as &mut dyn PciFunction, &mut isa, &mut pm, &mut ide] {
            function.config_write(offset, size, value);
            function.config_read(offset, size);
        }
        pirq.set_level(value & 1 != 0);
        host.pam();
        host.memory_hole();
        let port = random.next() as u16;
        let inside = pm.io_ranges().next().map_or(port, |(base, _)| base.wrapping_add(port & 0x3F));
        let at = round * 1_000_000_000;
        pm.port_write(at, inside, size, value);
        pm.port_read(at, inside, size);
        tick(&mut pm, at);
        ide.port_write(at, port, size, value);
        ide.port_read(at, port, size);
    }
}

#[test]
fn firmware_configuration() {
    let mut chip = FwCfg::new();
    chip.add_file("etc/e820", vec![1; 20]);
    let ports: Vec<u16> = (0x50F..0x520).collect();
    hammer(&mut chip, 11, &ports, |chip, random, _| {
        // Most random lengths ask for more than is worth waiting for here.
        if random.below(64) == 0 {
            chip.run_dma(&mut Memory);
        }
        if random.below(1000) == 0 {
            chip.reset();
        }
    });
}

#[test]
fn vga() {
    let mut chip = vga::Vga::new();
    let ports: Vec<u16> = (0x3B0..0x3E0).collect();
    hammer(&mut chip, 7, &ports, |chip, random, now| {
        let address = 0xA_0000 + random.below(0x2_0000) as u32;
        chip.mem_write(address, random.value() as u8);
        chip.mem_read(address);
        if random.below(3000) == 0 {
            chip.render(now);
            chip.text_screen();
        }
    });
}

#[test]
fn vga_with_packed_pixels() {
    let mut chip = vga::Vga::with_ram(Box::new(vec![0u8; 1 << 20]));
    // The interface's ports weigh as much as all of the VGA's.
    let ports: Vec<u16> = (0x3B0..0x3E0).chain((0..48).map(|i| 0x1CE + (i & 1))).collect();
    hammer(&mut chip, 17, &ports, |chip, random, now| {
        let address = 0xA_0000 + random.below(0x2_0000) as u32;
        chip.mem_write(address, random.value() as u8);
        chip.mem_read(address);
        // Likely values for an index and its register, ports and all in the register window.
        let register = random.below(12);
        let value = [0, 1, 8, 16, 32, 64, 320, 1024, 0xFFFF][random.below(9) as usize] | random.below(2);
        chip.mmio_write(now, 0x500 + 2 * register, [2, 4][random.below(2) as usize], value);
        chip.mmio_read(now, random.below(0x1000), [1, 2, 4, 8][random.below(4) as usize]);
        chip.config_write(random.below(256) as u8 & !3, 4, random.value());
        if random.below(3000) == 0 {
            let frame = chip.render(now);
            assert_eq!(frame.rgb.len(), frame.width * frame.height * 3);
            chip.text_screen();
        }
    });
}

#[test]
fn floppy_with_dma() {
    let mut dma = dma::DmaPair::new();
    let mut chip = floppy::FloppyController::new(IrqLine::unconnected(), 2);
    chip.insert(0, Some(Box::new(Image(vec![0x5A; 1_474_560]))));
    let mut random = Random(8);
    let mut now = 0;
    let dma_ports: Vec<u16> = (0x00..0x10).chain(0x80..0x90).chain(0xC0..0xE0).collect();
    for round in 0..ROUNDS {
        now += random.step() & 0xF_FFFF;
        if round % 1000 == 0 {
            chip.port_write(now, 0x3F2, 1, 0x00);
            chip.port_write(now, 0x3F2, 1, 0x1C);
        }
        if random.below(4) == 0 {
            let port = dma_ports[random.below(dma_ports.len() as u64) as usize];
            dma.port_write(now, port, 1, random.value());
            dma.port_read(now, port, 1);
        }
        match random.below(20) {
            0 => chip.port_write(now, 0x3F0 + random.below(8) as u16, 1, random.value()),
            1..10 => {
                chip.port_read(now, 0x3F0 + random.below(8) as u16, 1);
            }
            // Small values make commands that find sectors likelier.
            _ => {
                let value = if random.below(2) == 0 { random.below(20) as u32 } else { random.value() };
                chip.port_write(now, 0x3F5, 1, value);
            }
        }
        tick(&mut chip, now);
        if chip.dreq() {
            dma.run(now, &mut Memory, 2, &mut chip);
        }
        dma.run_memory_to_memory(&mut Memory);
    }
}

#[test]
fn ide_channels() {
    let mut chip = ide::IdeController::new([IrqLine::unconnected(), IrqLine::unconnected()]);
    chip.firmware_defaults();
    chip.config_write(0x20, 4, 0xC000);
    chip.attach_disk(0, 0, Box::new(Image(vec![1; 512 * 5000])), "1");
    chip.attach_disk(0, 1, Box::new(Image(vec![])), "2");
    chip.attach_cdrom(1, 0, Some(Box::new(Image(vec![2; 2048 * 50 + 7]))), "3");
    let ports: Vec<u16> = (0x1F0..0x1F8).chain(0x170..0x178).chain([0x3F6, 0x376]).chain(0xC000..0xC010).collect();
    hammer(&mut chip, 9, &ports, |chip, random, now| {
        chip.run_dma(&mut Memory);
        // Data registers deserve more than their share, so that transfers end.
        let data = [0x1F0, 0x170][random.below(2) as usize];
        for _ in 0..random.below(300) {
            chip.port_read(now, data, 2);
        }
        for _ in 0..random.below(20) {
            let value = random.value();
            chip.port_write(now, data, 4, value);
        }
    });
}

/// A cable on which random frames wait, and that keeps count of what it was given.
#[derive(Default)]
struct Cable {
    waiting: VecDeque<Vec<u8>>,
}

#[derive(Clone, Default)]
struct CableEnd(Arc<Mutex<Cable>>);

impl CableEnd {
    fn offer(&self, random: &mut Random) {
        let mut cable = self.0.lock().expect("the cable");
        if cable.waiting.len() < 8 {
            let length = [14, 60, 61, 256, 1514, 1518][random.below(6) as usize];
            let first = if random.below(2) == 0 { 0xFF } else { 0x52 };
            let mut frame = vec![random.next() as u8; length];
            frame[..6].fill(first);
            cable.waiting.push_back(frame);
        }
    }
}

impl net::NetPort for CableEnd {
    fn send(&mut self, frame: &[u8]) {
        assert!((net::HEADER..=net::MAX_FRAME).contains(&frame.len()));
    }

    fn waiting(&self) -> Option<usize> {
        self.0.lock().expect("the cable").waiting.front().map(Vec::len)
    }

    fn poll(&mut self) -> Option<Vec<u8>> {
        self.0.lock().expect("the cable").waiting.pop_front()
    }
}

/// A million accesses to a card; each event must lead to something, or the machine would never get past it.
fn hammer_card(card: &mut dyn net::NetworkCard, cable: &CableEnd, base: u16, ports: u16, seed: u64) {
    let mut random = Random(seed);
    let mut now = 0;
    for round in 0..1_000_000 {
        now += random.step() & 0xF_FFFF;
        let port = base + random.below(ports.into()) as u16;
        let size = [1, 1, 2, 4][random.below(4) as usize];
        if random.below(3) == 0 {
            card.port_read(now, port, size);
        } else {
            // Now and then the value stays a small one, so that lengths and ring pointers make sense.
            let value = if random.below(3) == 0 { 0x40 + random.below(0x40) as u32 } else { random.value() };
            card.port_write(now, port, size, value);
        }
        if random.below(4) == 0 {
            cable.offer(&mut random);
        }
        if card.next_event().is_some_and(|at| at <= now) {
            card.advance(now);
            if card.dma_pending() {
                card.run_dma(now, &mut Memory);
            }
            assert!(card.next_event().is_none_or(|at| at > now), "round {round}: an event that does not pass");
        } else if card.dma_pending() {
            card.run_dma(now, &mut Memory);
        }
    }
}

#[test]
fn ne2000() {
    let cable = CableEnd::default();
    let mut card = net::dp8390::Ne2000::new(IrqLine::unconnected(), Box::new(cable.clone()), [0x52; 6], 0x300);
    hammer_card(&mut card, &cable, 0x300, 32, 10);
}

#[test]
fn rtl8029() {
    let cable = CableEnd::default();
    let mut card = net::dp8390::Rtl8029::new(IrqLine::unconnected(), Box::new(cable.clone()), [0x52; 6]);
    card.config_write(0x10, 4, 0xC000);
    card.config_write(4, 2, 1);
    hammer_card(&mut card, &cable, 0xC000, 32, 11);
}

#[test]
fn rtl8139() {
    let cable = CableEnd::default();
    let mut card = net::rtl8139::Rtl8139::new(IrqLine::unconnected(), Box::new(cable.clone()), [0x52; 6]);
    card.config_write(0x10, 4, 0xC000);
    card.config_write(4, 2, 7);
    hammer_card(&mut card, &cable, 0xC000, 256, 12);
}

#[test]
fn sound_synthesizer() {
    // Computing what is heard takes its time, so that there are fewer rounds of it.
    for heard in [false, true] {
        let mut chip = opl3::Opl3::new();
        if heard {
            chip.listen();
        }
        let mut random = Random(31);
        let (mut now, mut steps) = (0, Vec::new());
        for _ in 0..if heard { ROUNDS / 2 } else { 3 * ROUNDS } {
            now += if heard { random.below(1 << 16) } else { random.step() % (1 << 40) };
            match random.below(8) {
                0 => drop(chip.read8(now, random.below(4) as u16)),
                n => chip.write8(now, n as u16, random.value() as u8),
            }
            chip.hear(now, &mut steps);
            assert!(steps.is_sorted_by_key(|step| step.time) && steps.iter().all(|step| step.time <= now));
            steps.clear();
        }
    }
}

#[test]
fn sound_card() {
    let ports: Vec<u16> = (0x224..0x230).chain([0x22C; 24]).chain(0x330..0x332).collect();
    for (seed, rounds, heard) in [(32, 0x40, false), (33, 0x02, false), (34, 0x40, true), (35, 0x02, true)] {
        let mut random = Random(seed);
        let mut card = sb16::SoundBlaster::new(std::array::from_fn(|_| IrqLine::unconnected()));
        let mut dma = dma::DmaPair::new();
        if heard {
            card.listen();
        }
        let (mut now, mut steps) = (0, Vec::new());
        for _ in 0..ROUNDS / 2 {
            // The machine comes by every millisecond while a transfer plays.
            now += random.below(1 << 18);
            let port = ports[random.below(ports.len() as u64) as usize];
            match random.below(3) {
                0 => drop(card.read8(now, port)),
                _ => card.write8(now, port, random.value() as u8),
            }
            if random.below(4) == 0 {
                let port = [0x0A, 0x0B, 0x0E, 0x02, 0x03, 0xD4, 0xD6, 0xC6, 0x224][random.below(9) as usize];
                dma.write8(now, port, random.value() as u8 & !rounds);
            }
            tick(&mut card, now);
            if card.dreq() {
                if let Some(channel) = card.dma_channel() {
                    dma.run(now, &mut Memory, channel, &mut card);
                }
                card.served();
            }
            card.hear(now, &mut steps);
            steps.clear();
        }
    }
}

#[test]
fn parallel_and_game_port() {
    for seed in 34..38 {
        let mut chip = parallel::ParallelPort::new(IrqLine::unconnected());
        if seed % 2 == 0 {
            chip.connect_printer();
        }
        hammer(&mut chip, seed, &[0x378, 0x379, 0x37A], |chip, random, _| {
            if random.below(1000) == 0 {
                chip.take_printed();
            }
        });
        let mut chip = game_port::GamePort::new();
        hammer(&mut chip, seed, &[0x201], |chip, random, _| {
            let axes = [random.next() as i16, random.next() as i16];
            let stick = game_port::Joystick { axes, buttons: [random.below(2) == 0; 2] };
            chip.set(random.below(3) as usize, (random.below(4) != 0).then_some(stick));
        });
    }
}

#[test]
fn apics_and_hpet() {
    let inputs = IrqInputs::new();
    let lines: Vec<_> = (0..24).map(|n| inputs.line(n)).collect();
    let mut io = apic::IoApic::new(inputs.clone(), 0x00FF_0000);
    let mut local = apic::LocalApic::new(apic::Generation::P4, apic::Wiring::default());
    let route = || std::array::from_fn(|n| inputs.line(20 + n));
    let mut timers = hpet::Hpet::new(hpet::Wiring {
        legacy: [inputs.line(2), inputs.line(8)],
        replaced: [Router::new(vec![inputs.line(2)]), Router::new(vec![inputs.line(8)])],
        routes: [route(), route(), route()],
    });
    let mut random = Random(77);
    let (mut now, mut taken) = (0, 0u64);
    for _ in 0..ROUNDS {
        now = random.step().saturating_add(now).min(1 << 62);
        let size = [1, 2, 4, 4, 4, 4, 8][random.below(7) as usize];
        let value = u64::from(random.value()) | u64::from(random.value()) << 32;
        match random.below(8) {
            0 => lines[random.below(24) as usize].set_level(value & 1 != 0),
            1 if random.below(64) == 0 => local.set_base(value & 0xFFFF_F000 | (value & 7).min(1) << 11),
            2 => local.set_deadline(now, Some(now.saturating_add(value >> 32))),
            3 => local.mmio_write(now, random.below(0x410), size, value),
            // Enabled, as it is most of the time.
            4 if random.below(4) == 0 => local.mmio_write(now, 0xF0, 4, value | 0x100),
            4 => local.mmio_write(now, random.below(0x40) << 4, 4, value),
            5 => io.mmio_write(now, random.below(0x20), size, value & 0x3FFF_FFFF),
            6 => timers.mmio_write(now, random.below(0x180), size, value),
            _ => {
                local.mmio_read(now, random.below(0x1000), size);
                io.mmio_read(now, random.below(0x1000), size);
                timers.mmio_read(now, random.below(0x400), size);
            }
        }
        tick(&mut local, now);
        tick(&mut timers, now);
        io.service(|message| local.accept(message));
        local.set_lint0(local.listens_to_lint0().then_some(value & 2 != 0));
        if local.intr() {
            taken += u64::from(matches!(local.acknowledge(), apic::Acknowledged::Vector(_)));
        }
        if let Some(vector) = local.take_ended() {
            io.end_of_interrupt(vector);
        }
    }
    assert!(taken > 100, "{taken} interrupts");
}
