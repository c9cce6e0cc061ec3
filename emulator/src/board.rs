//! The board at work: accesses, events and DMA on their way to the chips, the chips' outputs on theirs to the CPU.
//!
//! What reaches a chip in another way than by port (the interrupt acknowledge, host input, the memory window) goes
//! through the handles at the top of [`Board`]. What is connected to what is in `wiring`.

mod decode;
mod wiring;

use crate::apics::Apics;
use crate::bus::Dma;
use crate::drives::CD_PLACE;
use crate::layout::{CardMemory, Layout, VGA_WINDOW, VGA_WINDOW_END};
use crate::storage::Image;
use ring86_devices::apic::Acknowledged;
use ring86_devices::capability::Shared;
use ring86_devices::clock::earliest;
use ring86_devices::debug::{DebugConsole, DebugExit};
use ring86_devices::dma::DmaPair;
use ring86_devices::floppy::FloppyController;
use ring86_devices::fw_cfg::FwCfg;
use ring86_devices::game_port::GamePort;
use ring86_devices::i8042::Controller;
use ring86_devices::ide::IdeController;
use ring86_devices::net::Nic;
use ring86_devices::parallel::ParallelPort;
use ring86_devices::pci::expansion_rom::ExpansionRom;
use ring86_devices::pci::i440fx::HostBridge;
use ring86_devices::pci::piix4_pm::PowerManagement;
use ring86_devices::pic::PicPair;
use ring86_devices::pit::Pit;
use ring86_devices::rtc::Rtc;
use ring86_devices::sound::Step;
use ring86_devices::sound::sb16::SoundBlaster;
use ring86_devices::uart::Uart;
use ring86_devices::vga::Vga;
use ring86_devices::{DmaPeer, Latch, Level, PortIo, Time, Timed};
use ring86_translator::pins::{self, Pins};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The DMA channel of the floppy controller.
const FLOPPY_CHANNEL: u8 = 2;
/// First port of the PCI configuration data window.
const CONFIG_DATA: u16 = 0xcfc;

/// One chip as the port table sees it.
struct Chip {
    name: &'static str,
    io: Box<dyn PortIo + Send>,
    timed: Option<Box<dyn Timed + Send>>,
}

/// Requests that chips make to the machine.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// The processor (and with it the machine) is to be reset.
    pub reset: Latch,
    /// Power goes off.
    pub power_off: Latch,
    /// A non-maskable interrupt.
    pub nmi: Latch,
    /// The firmware is ready to start the payload.
    pub handoff: Latch,
}

/// All chips, wired.
pub struct Board {
    /// Interrupt controllers, for the acknowledge cycle.
    pub pic: Shared<PicPair>,
    /// COM1 to COM4.
    pub com: [Shared<Uart>; 4],
    /// LPT1.
    pub parallel: Shared<ParallelPort>,
    /// Joysticks.
    pub game_port: Shared<GamePort>,
    /// Keyboard and mouse controller, for host input.
    pub keyboard: Shared<Controller>,
    /// The display adapter.
    pub vga: Shared<Vga>,
    /// Whether it is in its slot.
    has_display: bool,
    /// Local APIC, I/O APIC and HPET, if the machine has them.
    pub apics: Option<Apics>,
    /// Characters written to port E9h.
    pub console: Shared<DebugConsole>,
    /// The debug-exit device; connected only if the configuration gives it a port.
    pub debug_exit: Shared<DebugExit>,
    /// What the chips ask of the machine.
    pub requests: Requests,

    pit: Shared<Pit>,
    sound: Shared<SoundBlaster>,
    rtc: Shared<Rtc>,
    host_bridge: Shared<HostBridge>,
    power: Shared<PowerManagement>,
    dma: Shared<DmaPair>,
    floppy: Shared<FloppyController>,
    ide: Shared<IdeController>,
    network: Option<Shared<Nic>>,
    /// The ROMs on cards.
    roms: Vec<(CardMemory, Shared<ExpansionRom>)>,
    /// For others' firmware only.
    fw_cfg: Option<Shared<FwCfg>>,
    memory: Dma,
    /// Drives on the floppy cable.
    floppy_drives: usize,
    /// There is a CD drive.
    has_cd: bool,
    /// Table number of the power management function, whose ports move.
    power_chip: usize,
    /// Table number of the IDE function, whose bus master ports move.
    ide_chip: usize,
    /// Table number of the network card, whose ports and memory move.
    network_chip: usize,
    /// Where the network card's registers lie in memory: first address and length.
    network_memory: Option<(u64, u64)>,
    /// Where the display adapter's registers lie in memory.
    display_registers: Option<u64>,
    /// Table numbers of the sound card and of the DMA controllers, which see each other's accesses in order.
    sound_chip: usize,
    dma_chip: usize,
    /// Table numbers of the first and last chip that may start a DMA transfer when accessed.
    movers: RangeInclusive<usize>,
    layout: Arc<Layout>,
    a20: [Level; 2],
    pins: Arc<Pins>,
    chips: Vec<Chip>,
    /// What the bus's reset line does to each chip.
    resets: Vec<Box<dyn FnMut(Time) + Send>>,
    /// For each port 0 (nobody) or one more than the chip's index.
    map: Box<[u8]>,
}

/// Unconnected ports read as all ones.
fn open_bus(size: u8) -> u32 {
    u32::MAX >> (32 - 8 * u32::from(size.clamp(1, 4)))
}

impl Board {
    /// Fetches the samples that the sound card should have by now.
    fn run_sound_dma(&mut self, now: Time) {
        let mut sound = self.sound.lock();
        sound.advance(now);
        if sound.dreq() {
            if let Some(channel) = sound.dma_channel() {
                self.dma.lock().run(now, &mut self.memory, channel, &mut *sound);
            }
            sound.served();
        }
    }

    /// What has to happen before chip number `chip` is accessed: the guest finds the count of its DMA channel, and
    /// changes what is played, as of now.
    fn before_access(&mut self, now: Time, chip: usize) {
        if chip + 1 == self.dma_chip || chip + 1 == self.sound_chip {
            self.run_sound_dma(now);
        }
    }

    /// Performs the DMA transfers that wait.
    fn run_dma(&mut self, now: Time) {
        let mut floppy = self.floppy.lock();
        if floppy.dreq() {
            self.dma.lock().run(now, &mut self.memory, FLOPPY_CHANNEL, &mut *floppy);
            floppy.advance(now);
        }
        drop(floppy);
        let mut ide = self.ide.lock();
        if ide.dma_pending() {
            ide.run_dma(&mut self.memory);
        }
        if let Some(device) = &self.fw_cfg
            && device.lock().dma_pending()
        {
            device.lock().run_dma(&mut self.memory);
        }
        let (channel, unit) = (CD_PLACE / 2, CD_PLACE % 2);
        if ide.take_eject_request(channel, unit) {
            ide.insert_disc(channel, unit, None);
        }
        drop(ide);
        self.run_sound_dma(now);
        if let Some(network) = &self.network {
            let mut network = network.lock();
            if network.card().dma_pending() {
                network.card().run_dma(now, &mut self.memory);
            }
        }
    }

    /// Name of the chip at `port`.
    pub fn name_at(&self, port: u16) -> Option<&'static str> {
        self.chip_at(port).map(|i| self.chips[i].name)
    }

    fn chip_at(&self, port: u16) -> Option<usize> {
        usize::from(self.map[usize::from(port)]).checked_sub(1)
    }

    /// True if all `size` bytes from `port` belong to the chip at `port`.
    fn whole(&self, port: u16, size: u8) -> bool {
        let first = self.map[usize::from(port)];
        (1..u16::from(size)).all(|i| self.map.get(usize::from(port) + usize::from(i)) == Some(&first))
    }

    /// A port read. Returns the value and when the chip next wants attention.
    pub fn port_read(&mut self, now: Time, port: u16, size: u8) -> (u32, Option<Time>) {
        if size > 1 && !self.whole(port, size) {
            let mut value = 0;
            let mut event = None;
            for i in 0..size.min(4) {
                let (byte, next) = self.port_read(now, port.wrapping_add(u16::from(i)), 1);
                value |= byte << (8 * i);
                event = earliest(event, next);
            }
            return (value, event);
        }
        let Some(i) = self.chip_at(port) else { return (open_bus(size), None) };
        self.before_access(now, i);
        let value = self.chips[i].io.port_read(now, port, size);
        if self.movers.contains(&(i + 1)) {
            self.run_dma(now);
        }
        (value, self.chips[i].timed.as_ref().and_then(|t| t.next_event()))
    }

    /// A port write. Returns when the chip next wants attention.
    pub fn port_write(&mut self, now: Time, port: u16, size: u8, value: u32) -> Option<Time> {
        if size > 1 && !self.whole(port, size) {
            return (0..size.min(4)).fold(None, |event, i| {
                let byte = value >> (8 * i) & 0xff;
                earliest(event, self.port_write(now, port.wrapping_add(u16::from(i)), 1, byte))
            });
        }
        let i = self.chip_at(port)?;
        self.before_access(now, i);
        self.chips[i].io.port_write(now, port, size, value);
        if self.movers.contains(&(i + 1)) {
            self.run_dma(now);
        }
        let event = self.chips[i].timed.as_ref().and_then(|t| t.next_event());
        if (CONFIG_DATA..CONFIG_DATA + 4).contains(&port) {
            self.follow_pci();
        }
        event
    }

    /// A read from the VGA window or from where no memory answers.
    pub fn mem_read(&mut self, address: u64, size: u8) -> u64 {
        if !self.has_display || !(VGA_WINDOW..VGA_WINDOW_END).contains(&address) {
            return u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)));
        }
        let mut vga = self.vga.lock();
        (0..size.min(8)).fold(0, |value, i| {
            let byte = vga.mem_read(address as u32 + u32::from(i));
            value | u64::from(byte) << (8 * i)
        })
    }

    /// A write to the VGA window or to where no memory answers.
    pub fn mem_write(&mut self, address: u64, size: u8, value: u64) {
        if self.has_display && (VGA_WINDOW..VGA_WINDOW_END).contains(&address) {
            let mut vga = self.vga.lock();
            for i in 0..size.min(8) {
                vga.mem_write(address as u32 + u32::from(i), (value >> (8 * i)) as u8);
            }
        }
    }

    /// The interrupt acknowledge cycle.
    pub fn acknowledge(&mut self, _now: Time) -> u8 {
        match self.apics.as_mut().map(Apics::acknowledge) {
            Some(Acknowledged::Vector(vector)) => vector,
            Some(Acknowledged::External) | None => self.pic.lock().acknowledge(),
        }
    }

    /// When a chip next wants attention.
    pub fn next_event(&self) -> Option<Time> {
        let apics = self.apics.as_ref().and_then(Timed::next_event);
        self.chips.iter().filter_map(|c| c.timed.as_ref()).fold(apics, |e, t| earliest(e, t.next_event()))
    }

    /// Changes the disk in floppy drive 0 or 1.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn change_floppy(&mut self, drive: usize, disk: Option<Image>) -> Result<(), &'static str> {
        if drive >= self.floppy_drives {
            return Err(crate::drives::NO_DRIVE_B);
        }
        self.floppy.lock().insert(drive, disk.map(|image| Box::new(image) as _));
        Ok(())
    }

    /// Changes the disc in the CD drive.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn change_disc(&mut self, disc: Option<Image>) -> Result<(), &'static str> {
        let mut ide = self.ide.lock();
        let (channel, unit) = (CD_PLACE / 2, CD_PLACE % 2);
        if !self.has_cd {
            return Err(crate::drives::NO_CD_DRIVE);
        }
        if ide.is_locked(channel, unit) {
            return Err("the guest holds the tray of the CD drive shut");
        }
        ide.insert_disc(channel, unit, disc.map(|image| Box::new(image) as _));
        Ok(())
    }

    /// Brings every chip up to `now`.
    pub fn advance(&mut self, now: Time) {
        for chip in &mut self.chips {
            if let Some(timed) = &mut chip.timed
                && timed.next_event().is_some_and(|t| t <= now)
            {
                timed.advance(now);
            }
        }
        if let Some(apics) = &mut self.apics {
            apics.advance(now);
        }
        self.run_dma(now);
        self.drive_pins();
    }

    /// Carries the chips' outputs to the CPU's pins; [`pins::EXIT`] asks for the machine's attention.
    pub fn drive_pins(&mut self) {
        let pic = || self.pic.lock().intr();
        let intr = match &mut self.apics {
            Some(apics) => apics.drive(&self.pins, pic),
            None => pic(),
        };
        if intr != (self.pins.get() & pins::INTR != 0) {
            self.pins.set_intr(intr);
        }
        self.pins.set_a20(self.a20.iter().any(Level::get));
        let requests = &self.requests;
        if requests.nmi.is_raised() && !self.rtc.lock().nmi_masked() {
            requests.nmi.take();
            if self.apics.as_mut().is_none_or(Apics::nmi) {
                self.pins.raise(pins::NMI);
            }
        }
        let stop = requests.reset.is_raised() || requests.power_off.is_raised() || requests.handoff.is_raised();
        if stop || self.debug_exit.lock().status().is_some() {
            self.pins.raise(pins::EXIT);
        }
    }

    /// What a reset of the processor alone does: its APIC is reset with it, and address line 20 passes, so that it finds
    /// its first instruction.
    pub fn reset_processor(&mut self) {
        if let Some(apics) = &mut self.apics {
            apics.reset_processor();
        }
        self.a20[0].set(true);
        self.drive_pins();
    }

    /// The byte in which software says what a reset is for (CMOS 0Fh); zero is an ordinary reset.
    pub fn shutdown_status(&self) -> u8 {
        self.rtc.lock().cmos()[0x0f]
    }

    /// What the chips play is kept from now on; a driven speaker has the level `speaker`.
    pub fn listen(&mut self, speaker: i32) {
        self.pit.lock().listen(speaker);
        self.sound.lock().listen();
    }

    /// Moves what the chips played up to `now` to `steps`; an output's steps are in order of time.
    pub fn hear(&mut self, now: Time, steps: &mut Vec<Step>) {
        self.pit.lock().hear(now, steps);
        self.sound.lock().hear(now, steps);
    }

    /// The reset line of the bus: every chip returns to its power-on state.
    pub fn reset(&mut self, now: Time) {
        for reset in &mut self.resets {
            reset(now);
        }
        if let Some(apics) = &mut self.apics {
            apics.reset(now);
        }
        self.follow_pci();
        self.drive_pins();
    }
}
