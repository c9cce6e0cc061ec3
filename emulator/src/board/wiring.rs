//! The wiring: which chip answers at which port, which line its interrupt takes, which slot it sits in.
//!
//! This file is the one place that says so. A chip knows no bus.

use super::{Board, Chip, Requests, open_bus};
use crate::apics::Apics;
use crate::boot::HANDOFF_PORT;
use crate::bus::Dma;
use crate::config::MachineConfig;
use crate::drives::{Drives, Unit};
use crate::foreign;
use crate::layout::{CardMemory, Layout};
use crate::network::{CardEnd, CardModel, UserNet};
use ring86_devices::capability::Shared;
use ring86_devices::debug::{DebugConsole, DebugExit};
use ring86_devices::dma::DmaPair;
use ring86_devices::floppy::FloppyController;
use ring86_devices::fw_cfg;
use ring86_devices::game_port::GamePort;
use ring86_devices::hotplug::{self, HotPlug};
use ring86_devices::i8042::{self, Controller};
use ring86_devices::ide::IdeController;
use ring86_devices::net::dp8390::{Ne2000, Rtl8029};
use ring86_devices::net::rtl8139::Rtl8139;
use ring86_devices::net::{NetPort, Nic};
use ring86_devices::parallel::ParallelPort;
use ring86_devices::pci::expansion_rom::{ExpansionRom, WithRom};
use ring86_devices::pci::i440fx::HostBridge;
use ring86_devices::pci::piix3::IsaBridge;
use ring86_devices::pci::piix4_pm::{self, PowerManagement};
use ring86_devices::pci::{self, PciBus};
use ring86_devices::pic::PicPair;
use ring86_devices::pit::Pit;
use ring86_devices::port92::Port92;
use ring86_devices::rtc::{Rtc, RtcInit};
use ring86_devices::sound::sb16::SoundBlaster;
use ring86_devices::test_device::{self, TestDevice};
use ring86_devices::uart::Uart;
use ring86_devices::vga::Vga;
use ring86_devices::{IrqInputs, IrqLine, Latch, Level, PciFunction, PortIo, Time, Timed};
use ring86_translator::pins::Pins;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Interrupt lines of the PC/AT, by what uses them.
mod irq {
    pub const TIMER: usize = 0;
    pub const KEYBOARD: usize = 1;
    pub const COM2_COM4: usize = 3;
    pub const COM1_COM3: usize = 4;
    pub const FLOPPY: usize = 6;
    pub const PARALLEL: usize = 7;
    pub const CLOCK: usize = 8;
    pub const ACPI: usize = 9;
    pub const NE2000: usize = 10;
    /// Of which the Sound Blaster's mixer chooses one.
    pub const SOUND: [usize; 4] = [9, 5, 7, 10];
    pub const MOUSE: usize = 12;
    pub const IDE: [usize; 2] = [14, 15];
}

/// The four serial ports: first port and interrupt line.
const COM: [(u16, usize); 4] =
    [(0x3f8, irq::COM1_COM3), (0x2f8, irq::COM2_COM4), (0x3e8, irq::COM1_COM3), (0x2e8, irq::COM2_COM4)];
/// PCI slots: device and function numbers.
mod slot {
    pub const HOST_BRIDGE: (u8, u8) = (0, 0);
    pub const ISA_BRIDGE: (u8, u8) = (1, 0);
    pub const IDE: (u8, u8) = (1, 1);
    pub const POWER_MANAGEMENT: (u8, u8) = (1, 3);
    pub const DISPLAY: (u8, u8) = (2, 0);
    pub const NETWORK: (u8, u8) = (3, 0);
}

/// Where the firmware looks whether to ask what to start from.
const CMOS_BOOT_MENU: usize = 0x3f;
/// Ports of an NE2000 on ISA, as its jumpers are most often set.
const NE2000_BASE: u16 = 0x300;
/// Where the debug console writes and answers.
const DEBUG_CONSOLE: u16 = 0xe9;

/// The floppy controller with its drives; the first one is always on the cable.
fn floppies(drives: &Drives, irq: IrqLine, foreign: bool) -> FloppyController {
    let mut controller = FloppyController::new(irq, drives.floppy_drives());
    if foreign {
        controller.seek_unasked();
    }
    for (i, bay) in drives.floppies.iter().enumerate() {
        controller.insert(i, bay.image().map(|image| Box::new(image.clone()) as _));
    }
    controller
}

/// The IDE controller with disks and CD drive.
fn ide_units(drives: &Drives, irqs: [IrqLine; 2]) -> IdeController {
    let mut controller = IdeController::new(irqs);
    for (place, unit) in drives.ide_units() {
        let (channel, number) = (place / 2, place % 2);
        match unit {
            Unit::Disk(image) => {
                controller.attach_disk(channel, number, Box::new(image), &format!("R86-{:07}", place + 1));
            }
            Unit::Cd(disc) => {
                let disc = disc.map(|image| Box::new(image) as _);
                controller.attach_cdrom(channel, number, disc, &format!("R86-{:07}", place + 1));
            }
        }
    }
    controller
}

/// `function` as it goes into its slot, with the `bytes` of ROM that it carries, if any.
fn with_rom<T: PciFunction + Send + 'static>(
    function: T,
    bytes: Option<usize>,
    card: CardMemory,
    roms: &mut Vec<(CardMemory, Shared<ExpansionRom>)>,
) -> Box<dyn PciFunction + Send> {
    let Some(rom) = bytes.and_then(ExpansionRom::new) else { return Box::new(function) };
    let rom = Shared::new(rom);
    roms.push((card, rom.clone()));
    Box::new(WithRom::new(function, rom))
}

/// The card that `net` asks for: on ISA with interrupt line `isa`, on PCI with `pirq`.
fn network_card(net: &UserNet, cable: Box<dyn NetPort>, isa: IrqLine, pirq: IrqLine) -> Nic {
    match net.model {
        CardModel::Ne2kIsa => Nic::new(Ne2000::new(isa, cable, net.mac, NE2000_BASE)),
        CardModel::Ne2kPci => Nic::new(Rtl8029::new(pirq, cable, net.mac)),
        CardModel::Rtl8139 => Nic::new(Rtl8139::new(pirq, cable, net.mac)),
    }
}

/// The interrupt of pin A of PCI slot `device`: to the ISA bridge's router, and to the I/O APIC.
fn pci_interrupt(bridge: &IsaBridge, apics: Option<&Apics>, device: u8) -> IrqLine {
    let input = pci::pirq_of(device, 1);
    let routed = bridge.pirq(input);
    apics.map_or(routed.clone(), |apics| IrqLine::joined(&[routed, apics.pirq_line(input)]))
}

/// Whether a program may drive ISA interrupt line `n` through the test device: not the cascade's.
fn test_device_drives(n: usize) -> bool {
    n != 2
}

impl Board {
    /// Builds and connects the chips of `config` as after power-on. The CPU's lines are `pins`.
    /// `cable` is what the network card is plugged into, if there is to be one.
    pub fn new(config: &MachineConfig, layout: &Arc<Layout>, pins: Arc<Pins>, cable: Option<CardEnd>) -> Self {
        let inputs = IrqInputs::new();
        let apics = Apics::new(config.model, &inputs, config.firmware.is_some()).filter(|_| config.apic);
        let line = |n| apics.as_ref().map_or_else(|| inputs.line(n), |apics| apics.isa_line(n));
        let requests = Requests::default();
        // One gate with two handles: the 8042 and port 92h, whoever wrote last.
        let gate = Level::new(true);
        let a20 = [gate.clone(), gate];
        let mut cmos = layout.cmos(config.drives.floppy_types(), config.drives.boot_order());
        cmos[CMOS_BOOT_MENU] = config.drives.boot.menu.into();
        let firmware = config.firmware.as_ref();
        if firmware.is_some() {
            foreign::fill_cmos(config, &mut cmos);
        }

        let pic = Shared::new(PicPair::new(inputs.clone()));
        let pit = Shared::new(Pit::new(line(irq::TIMER), requests.nmi.clone()));
        let rtc = Shared::new(Rtc::new(0, line(irq::CLOCK), &RtcInit { time: config.date, cmos }));
        let keyboard = Shared::new(Controller::new(i8042::Wiring {
            irq1: line(irq::KEYBOARD),
            irq12: line(irq::MOUSE),
            a20: a20[0].clone(),
            reset: requests.reset.clone(),
        }));
        let port92 = Shared::new(Port92::new(a20[1].clone(), requests.reset.clone()));
        let com = COM.map(|(_, irq)| Shared::new(Uart::new(line(irq))));
        let dma = Shared::new(DmaPair::new());
        let vga = Shared::new(Vga::with_ram(Box::new(layout.video_ram())));
        let parallel = Shared::new(ParallelPort::new(line(irq::PARALLEL)));
        let game_port = Shared::new(GamePort::new());
        let sound = Shared::new(SoundBlaster::new(irq::SOUND.map(line)));
        let console = Shared::new(DebugConsole::new());
        let debug_exit = Shared::new(DebugExit::new());

        let host_bridge = Shared::new(HostBridge::new(config.ram, requests.reset.clone()));
        let isa_bridge = Shared::new(IsaBridge::new(line));
        let wiring =
            piix4_pm::Wiring { sci: line(irq::ACPI), smi: Latch::new(), power_off: requests.power_off.clone() };
        let power = PowerManagement::new(wiring);
        let (enable, disable) = foreign::ACPI_COMMANDS;
        let power = if firmware.is_some() { power.without_smm().with_acpi_commands(enable, disable) } else { power };
        let power = Shared::new(power);
        let mut roms = Vec::new();
        let mut bus = PciBus::new(requests.reset.clone());
        bus.insert(slot::HOST_BRIDGE.0, slot::HOST_BRIDGE.1, Box::new(host_bridge.clone()));
        bus.insert(slot::ISA_BRIDGE.0, slot::ISA_BRIDGE.1, Box::new(isa_bridge.clone()));
        bus.insert(slot::POWER_MANAGEMENT.0, slot::POWER_MANAGEMENT.1, Box::new(power.clone()));
        let rom = firmware.and_then(|f| f.video.as_ref()).map(Vec::len);
        if config.display {
            let display = with_rom(vga.clone(), rom, CardMemory::VideoRom, &mut roms);
            bus.insert(slot::DISPLAY.0, slot::DISPLAY.1, display);
        }
        let floppy = Shared::new(floppies(&config.drives, line(irq::FLOPPY), config.firmware.is_some()));
        let ide = ide_units(&config.drives, irq::IDE.map(line));
        let ide = Shared::new(if firmware.is_some() { ide.with_wide_base() } else { ide });
        bus.insert(slot::IDE.0, slot::IDE.1, Box::new(ide.clone()));
        let network = cable.map(|cable| {
            let net = config.network.clone().unwrap_or_default();
            let (device, function) = slot::NETWORK;
            let pirq = pci_interrupt(&isa_bridge.lock(), apics.as_ref(), device);
            let card = Shared::new(network_card(&net, Box::new(cable), line(irq::NE2000), pirq));
            if net.model != CardModel::Ne2kIsa {
                let rom = config.network_rom.as_ref().map(Vec::len);
                bus.insert(device, function, with_rom(card.clone(), rom, CardMemory::NetworkRom, &mut roms));
            }
            card
        });
        let pci = Shared::new(bus);
        let fw_cfg = firmware.map(|_| Shared::new(foreign::configuration_device(config, layout)));

        let mut board = Board {
            apics: None,
            pic: pic.clone(),
            com: com.clone(),
            parallel: parallel.clone(),
            game_port: game_port.clone(),
            keyboard: keyboard.clone(),
            vga: vga.clone(),
            has_display: config.display,
            console: console.clone(),
            debug_exit: debug_exit.clone(),
            requests: requests.clone(),
            pit: pit.clone(),
            sound: sound.clone(),
            rtc: rtc.clone(),
            host_bridge: host_bridge.clone(),
            power: power.clone(),
            dma: dma.clone(),
            floppy: floppy.clone(),
            ide: ide.clone(),
            network: network.clone(),
            roms: roms.clone(),
            fw_cfg: fw_cfg.clone(),
            memory: Dma(Arc::clone(layout.memory())),
            floppy_drives: config.drives.floppy_drives(),
            has_cd: config.drives.cd.is_present(),
            power_chip: 0,
            ide_chip: 0,
            network_chip: 0,
            network_memory: None,
            display_registers: None,
            sound_chip: 0,
            dma_chip: 0,
            movers: 0..=0,
            layout: Arc::clone(layout),
            a20,
            pins,
            chips: Vec::new(),
            resets: Vec::new(),
            map: vec![0; 0x1_0000].into_boxed_slice(),
        };
        board.add("8259A", &pic, |c, _| c.reset(), &[0x20..=0x21, 0xa0..=0xa1, 0x4d0..=0x4d1]);
        board.add_timed("8254", &pit, |c, now| c.reset(now), &[0x40..=0x43, 0x61..=0x61]);
        board.add_timed("8042", &keyboard, |c, _| c.reset(), &[0x60..=0x60, 0x64..=0x64]);
        board.add_timed("MC146818", &rtc, |c, _| c.reset(), &[0x70..=0x73]);
        board.add("port 92h", &port92, |c, _| c.reset(), &[0x92..=0x92]);
        for (uart, (base, _)) in com.iter().zip(COM) {
            board.add_timed("16550A", uart, |c, _| c.reset(), &[base..=base + 7]);
        }
        board.add("parallel port", &parallel, |c, _| c.reset(), &[0x378..=0x37a]);
        board.add("game port", &game_port, |c, _| c.reset(), &[0x201..=0x201]);
        let first = board.chips.len() + 1;
        board.add("8237A", &dma, |c, _| c.reset(), &[0x00..=0x0f, 0x80..=0x8f, 0xc0..=0xdf]);
        board.dma_chip = board.chips.len();
        board.add_timed("82077AA", &floppy, |c, _| c.reset(), &[0x3f0..=0x3f5, 0x3f7..=0x3f7]);
        board.add("PIIX3 IDE", &ide, |c, _| c.reset(), &[]);
        board.ide_chip = board.chips.len();
        if let Some(card) = &network {
            board.add_timed("network card", card, |c, _| c.card().reset(), &[]);
            board.network_chip = board.chips.len();
        }
        board.add_timed(
            "Sound Blaster 16",
            &sound,
            |c, now| c.reset(now),
            &[0x220..=0x22f, 0x330..=0x331, 0x388..=0x38b],
        );
        board.sound_chip = board.chips.len();
        if let Some(device) = &fw_cfg {
            let last = fw_cfg::spec::DMA_ADDRESS_END;
            board.add("fw_cfg", device, |c, _| c.reset(), &[0x510..=0x511, fw_cfg::spec::DMA_ADDRESS..=last]);
        }
        board.movers = first..=board.chips.len();
        let vga_ports = [0x3b0..=0x3bb, 0x3c0..=0x3df, 0x1ce..=0x1d1];
        board.add("VGA", &vga, |c, _| c.reset(), if config.display { &vga_ports } else { &[] });
        board.add("PCI configuration", &pci, |c, _| c.reset(), &[0xcf8..=0xcff]);
        board.add_timed("PIIX4 power management", &power, |c, now| c.reset(now), &[]);
        board.power_chip = board.chips.len();
        board.pure_reset(&host_bridge, |c, _| c.reset());
        board.pure_reset(&isa_bridge, |c, _| c.reset());
        board.add("debug console", &console, |_, _| {}, &[DEBUG_CONSOLE..=DEBUG_CONSOLE]);
        if firmware.is_some() {
            let (first, last) = foreign::DEBUG_PORTS;
            board.add("firmware's console", &console, |_, _| {}, &[first..=last]);
            let (slots, processors, events) = (hotplug::SLOTS, hotplug::PROCESSORS, hotplug::EVENTS);
            let ports = [slots..=slots + 15, processors..=processors + 31, events..=events + 3];
            board.add("hot-plug registers", &Shared::new(HotPlug::new()), |c, _| c.reset(), &ports);
        }
        for (_, rom) in &roms {
            board.pure_reset(rom, |rom, _| rom.reset());
        }
        if let Some(port) = config.debug_exit {
            board.add("debug exit", &debug_exit, |_, _| {}, &[port..=port.saturating_add(3)]);
        }
        if config.test_ports.device {
            let lines = (0..16usize).map(|n| if test_device_drives(n) { line(n) } else { IrqLine::unconnected() });
            let device = Shared::new(TestDevice::new(lines.collect()));
            let last_line = test_device::LINES + test_device::LINE_COUNT - 1;
            let ports = [
                test_device::REGISTER..=test_device::REGISTER + 7,
                test_device::BYTE..=test_device::BYTE,
                test_device::LINES..=last_line,
            ];
            board.add("test device", &device, |_, _| {}, &ports);
        }
        if config.payload.is_some() {
            let handoff = Shared::new(Handoff(requests.handoff));
            board.add("boot handoff", &handoff, |_, _| {}, &[HANDOFF_PORT..=HANDOFF_PORT]);
        }
        board.apics = apics;
        board.follow_pci();
        board
    }

    /// A chip without ports that the reset line reaches.
    fn pure_reset<T: Send + 'static>(&mut self, chip: &Shared<T>, reset: fn(&mut T, Time)) {
        let chip = chip.clone();
        self.resets.push(Box::new(move |now| reset(&mut chip.lock(), now)));
    }

    fn add<T: PortIo + Send + 'static>(
        &mut self,
        name: &'static str,
        chip: &Shared<T>,
        reset: fn(&mut T, Time),
        ports: &[RangeInclusive<u16>],
    ) {
        self.connect(name, chip, None, reset, ports);
    }

    fn add_timed<T: PortIo + Timed + Send + 'static>(
        &mut self,
        name: &'static str,
        chip: &Shared<T>,
        reset: fn(&mut T, Time),
        ports: &[RangeInclusive<u16>],
    ) {
        self.connect(name, chip, Some(Box::new(chip.clone())), reset, ports);
    }

    fn connect<T: PortIo + Send + 'static>(
        &mut self,
        name: &'static str,
        chip: &Shared<T>,
        timed: Option<Box<dyn Timed + Send>>,
        reset: fn(&mut T, Time),
        ports: &[RangeInclusive<u16>],
    ) {
        let handle = chip.clone();
        self.resets.push(Box::new(move |now| reset(&mut handle.lock(), now)));
        self.chips.push(Chip { name, io: Box::new(chip.clone()), timed });
        let number = self.chips.len() as u8;
        for port in ports.iter().cloned().flatten() {
            let entry = &mut self.map[usize::from(port)];
            // The first chip at a port keeps it: only --debug-exit can ask for one that is taken.
            if *entry == 0 {
                *entry = number;
            }
        }
    }
}

/// The port on which the boot option ROM asks for the payload.
struct Handoff(Latch);

impl PortIo for Handoff {
    fn port_read(&mut self, _: Time, _: u16, size: u8) -> u32 {
        open_bus(size)
    }

    fn port_write(&mut self, _: Time, _: u16, _: u8, _: u32) {
        self.0.raise();
    }
}
