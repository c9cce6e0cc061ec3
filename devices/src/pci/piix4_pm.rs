//! Intel 82371AB (PIIX4) datasheet 290562, function 3: power management (ACPI PM1, PM timer, APM port), SMBus.

use super::ConfigSpace;
use super::spec::{command, header};
use crate::clock::Ratio;
use crate::{BytePorts, IrqLine, Latch, PciFunction, Time, Timed};

/// The PM timer's clock: 3.579545 MHz = 315/88 MHz, which is 63 ticks in 17600 ns.
pub const PM_CLOCK: Ratio = Ratio::new(63, 17_600);

/// Configuration register offsets.
pub mod register {
    /// Power management base address.
    pub const PMBA: u8 = 0x40;
    /// Device activity B; bit 25 makes APM control writes raise SMI#.
    pub const DEVACTB: u8 = 0x58;
    /// Power management miscellaneous; bit 0 enables the I/O space.
    pub const PMREGMISC: u8 = 0x80;
    /// SMBus base address.
    pub const SMBBA: u8 = 0x90;
    /// SMBus host configuration; bit 0 enables it.
    pub const SMBHSTCFG: u8 = 0xD2;
}

/// Offsets in the power management I/O space.
pub mod io {
    /// Power management status.
    pub const PMSTS: usize = 0x00;
    /// Power management resume enable.
    pub const PMEN: usize = 0x02;
    /// Power management control.
    pub const PMCNTRL: usize = 0x04;
    /// Power management timer.
    pub const PMTMR: usize = 0x08;
    /// General purpose status.
    pub const GPSTS: usize = 0x0C;
    /// General purpose enable.
    pub const GPEN: usize = 0x0E;
    /// Processor control.
    pub const PCNTRL: usize = 0x10;
    /// Processor level 2.
    pub const PLVL2: usize = 0x14;
    /// Global status.
    pub const GLBSTS: usize = 0x18;
    /// Device status.
    pub const DEVSTS: usize = 0x1C;
    /// Global enable.
    pub const GLBEN: usize = 0x20;
    /// Global control.
    pub const GLBCTL: usize = 0x28;
    /// General purpose inputs.
    pub const GPIREG: usize = 0x30;
    /// General purpose outputs.
    pub const GPOREG: usize = 0x34;
    /// Size of the space.
    pub const SIZE: u16 = 0x40;
}

/// Bits of PMSTS, and of PMEN where they exist.
pub mod pmsts {
    /// The timer's highest bit toggled.
    pub const TMROF: u16 = 1 << 0;
    /// Global status: the BIOS wants attention.
    pub const GBL: u16 = 1 << 5;
    /// Power button.
    pub const PWRBTN: u16 = 1 << 8;
    /// RTC alarm.
    pub const RTC: u16 = 1 << 10;
    /// Resume.
    pub const RSM: u16 = 1 << 15;
    /// Status bits that clear when 1 is written.
    pub const CLEARABLE: u16 = 0x8D31;
    /// Enable bits that exist.
    pub const ENABLES: u16 = 0x0521;
}

/// Bits of PMCNTRL.
pub mod pmcntrl {
    /// Events raise SCI rather than SMI#.
    pub const SCI_EN: u16 = 1 << 0;
    /// Global release.
    pub const GBL_RLS: u16 = 1 << 2;
    /// Suspend type's shift; type 0 is soft off.
    pub const SUS_TYP_SHIFT: u16 = 10;
    /// Enter the suspend state; reads as 0.
    pub const SUS_EN: u16 = 1 << 13;
    /// The bits that are kept.
    pub const KEPT: u16 = 0x1C03;
}

/// Advanced power management control port.
pub const APMC: u16 = 0xB2;
/// Advanced power management status port.
pub const APMS: u16 = 0xB3;
/// DEVACTB's byte and bit that let APMC raise SMI#.
const APMC_EN: u32 = 1 << 25;
/// Global control: SMI# enable.
const SMI_EN: u8 = 1 << 0;
/// Global enable: BIOS enable, which lets GBL_RLS raise SMI#.
const BIOS_EN: u8 = 1 << 1;
/// Size of the SMBus host's I/O space.
const SMBUS_SIZE: u16 = 0x10;

/// What the pins lead to.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// System control interrupt (IRQ 9 on this chip).
    pub sci: IrqLine,
    /// System management interrupt.
    pub smi: Latch,
    /// The machine is to be switched off.
    pub power_off: Latch,
}

/// The power management function. Its I/O space moves with the base registers; see
/// [`PowerManagement::io_ranges`].
#[derive(Debug)]
pub struct PowerManagement {
    // Wiring.
    wiring: Wiring,
    /// Values of the APM port that switch SCI_EN on and off in a machine without SMM firmware.
    acpi_commands: Option<(u8, u8)>,
    /// DEVACTB after reset.
    devactb: u32,
    // Volatile state.
    space: ConfigSpace,
    io: [u8; io::SIZE as usize],
    /// Host status, control, command, address, data of the SMBus.
    smbus: [u8; SMBUS_SIZE as usize],
    apm: [u8; 2],
    /// Timer ticks up to which overflow was noted.
    ticks: u64,
    decode_changed: bool,
    suspended: Option<u8>,
}

impl PowerManagement {
    /// A function as after reset.
    pub fn new(wiring: Wiring) -> Self {
        Self {
            wiring,
            acpi_commands: None,
            devactb: 0,
            space: Self::registers(0),
            io: Self::io_registers(),
            smbus: [0; SMBUS_SIZE as usize],
            apm: [0; 2],
            ticks: 0,
            decode_changed: true,
            suspended: None,
        }
    }

    /// Lets the APM control values `enable` and `disable` switch SCI_EN, as the firmware's SMM handler does in a
    /// real machine; for machines whose firmware has none. They are what the FADT gives as ACPI_ENABLE and
    /// ACPI_DISABLE.
    pub fn with_acpi_commands(self, enable: u8, disable: u8) -> Self {
        Self { acpi_commands: Some((enable, disable)), ..self }
    }

    /// Tells firmware that system management mode is set up already, by having APMC_EN set from reset on: the convention
    /// of machines whose processor has no such mode. SeaBIOS and the Bochs BIOS then leave it alone, where they would
    /// otherwise wait for their handler for ever.
    pub fn without_smm(self) -> Self {
        let devactb = APMC_EN;
        Self { devactb, space: Self::registers(devactb), ..self }
    }

    fn registers(devactb: u32) -> ConfigSpace {
        use register as r;
        let mut space = ConfigSpace::new(0x8086, 0x7113, 0x06_8000, 3);
        space.register(header::COMMAND, 2, 0, u32::from(command::IOSE) | 0x0008);
        space.register(header::STATUS, 2, 0x0280, 0);
        space.write_one_to_clear(header::STATUS + 1, 0x38);
        space.register(header::INTERRUPT_LINE, 1, 0, 0xFF);
        space.set8(header::INTERRUPT_PIN, 1);
        space.register(r::PMBA, 4, 1, 0xFFC0);
        // Counters, activity events and device resources keep what software puts there.
        for offset in (0x44..0x80).step_by(4) {
            space.register(offset, 4, 0, u32::MAX);
        }
        space.set32(r::DEVACTB, devactb);
        space.register(r::PMREGMISC, 1, 0, 0x01);
        space.register(r::SMBBA, 4, 1, 0xFFF0);
        space.register(r::SMBHSTCFG, 1, 0, 0x0F);
        space.register(0xD3, 4, 0, u32::MAX);
        space
    }

    fn io_registers() -> [u8; io::SIZE as usize] {
        let mut registers = [0; io::SIZE as usize];
        // Unconnected general purpose inputs are pulled up.
        registers[io::GPIREG..io::GPIREG + 3].fill(0xFF);
        registers[io::GPOREG..io::GPOREG + 4].copy_from_slice(&[0xFF, 0xBF, 0xFF, 0x7F]);
        registers
    }

    /// The system's reset.
    pub fn reset(&mut self, now: Time) {
        self.advance(now);
        self.space = Self::registers(self.devactb);
        self.io = Self::io_registers();
        (self.smbus, self.apm) = ([0; SMBUS_SIZE as usize], [0; 2]);
        self.suspended = None;
        self.decode_changed = true;
        self.update_sci();
    }

    /// The I/O ranges decoded now (first port, count): power management and SMBus, each only if enabled, and the
    /// APM ports.
    pub fn io_ranges(&self) -> impl Iterator<Item = (u16, u16)> {
        let pm = self.pm_base().map(|base| (base, io::SIZE));
        let smbus = self.smbus_base().map(|base| (base, SMBUS_SIZE));
        [pm, smbus, Some((APMC, 2))].into_iter().flatten()
    }

    /// Whether the I/O ranges changed since this was last asked.
    pub fn take_decode_change(&mut self) -> bool {
        std::mem::take(&mut self.decode_changed)
    }

    /// Whether `port` is decoded.
    pub fn claims(&self, port: u16) -> bool {
        self.io_ranges().any(|(base, count)| port.wrapping_sub(base) < count)
    }

    /// The power button is pressed (and let go within four seconds).
    pub fn press_power_button(&mut self) {
        self.raise_status(pmsts::PWRBTN);
    }

    /// The real-time clock's alarm output, for machines that connect it.
    pub fn rtc_alarm(&mut self) {
        self.raise_status(pmsts::RTC);
    }

    /// The suspend type (1 to 7) last entered, once; soft off goes to the power-off wire instead.
    pub fn take_suspend(&mut self) -> Option<u8> {
        self.suspended.take()
    }

    /// The last byte written to the APM control port, and the status byte beside it.
    pub fn apm(&self) -> [u8; 2] {
        self.apm
    }

    fn pm_base(&self) -> Option<u16> {
        (self.space.get8(register::PMREGMISC) & 1 != 0).then(|| self.space.get16(register::PMBA) & 0xFFC0)
    }

    fn smbus_base(&self) -> Option<u16> {
        let enabled =
            self.space.get8(register::SMBHSTCFG) & 1 != 0 && self.space.get16(header::COMMAND) & command::IOSE != 0;
        enabled.then(|| self.space.get16(register::SMBBA) & 0xFFF0)
    }

    fn word(&self, offset: usize) -> u16 {
        u16::from_le_bytes([self.io[offset], self.io[offset + 1]])
    }

    fn set_word(&mut self, offset: usize, value: u16) {
        self.io[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn raise_status(&mut self, bits: u16) {
        let status = self.word(io::PMSTS) | bits;
        self.set_word(io::PMSTS, status);
        self.update_sci();
    }

    fn update_sci(&mut self) {
        let pm1 = self.word(io::PMSTS) & self.word(io::PMEN) & pmsts::ENABLES != 0;
        let general = self.word(io::GPSTS) & self.word(io::GPEN) != 0;
        let event = pm1 || general;
        let sci = self.word(io::PMCNTRL) & pmcntrl::SCI_EN != 0;
        self.wiring.sci.set_level(event && sci);
        if event && !sci && self.io[io::GLBCTL] & SMI_EN != 0 {
            self.wiring.smi.raise();
        }
    }

    fn control(&mut self, value: u16) {
        self.set_word(io::PMCNTRL, value & pmcntrl::KEPT);
        if value & pmcntrl::GBL_RLS != 0 && self.io[io::GLBEN] & BIOS_EN != 0 {
            self.wiring.smi.raise();
        }
        if value & pmcntrl::SUS_EN != 0 {
            match (value >> pmcntrl::SUS_TYP_SHIFT & 7) as u8 {
                0 => self.wiring.power_off.raise(),
                suspend => self.suspended = Some(suspend),
            }
        }
    }

    fn read_io(&mut self, offset: usize) -> u8 {
        match offset {
            // The timer has 24 bits.
            io::PMTMR..=0x0A => (self.ticks >> (8 * (offset - io::PMTMR))) as u8,
            0x0B => 0,
            // Reading a level register would stop the processor's clock until an event; it goes on at once.
            io::PLVL2 | 0x15 => 0,
            _ => self.io[offset],
        }
    }

    fn write_io(&mut self, offset: usize, value: u8) {
        let merged = |register: usize, old: u16| {
            if offset == register { old & 0xFF00 | u16::from(value) } else { old & 0x00FF | u16::from(value) << 8 }
        };
        match offset {
            io::PMSTS | 0x01 => {
                let ones = merged(io::PMSTS, 0) & pmsts::CLEARABLE;
                let status = self.word(io::PMSTS) & !ones;
                self.set_word(io::PMSTS, status);
            }
            io::PMEN | 0x03 => {
                let enables = merged(io::PMEN, self.word(io::PMEN)) & pmsts::ENABLES;
                self.set_word(io::PMEN, enables);
            }
            io::PMCNTRL | 0x05 => self.control(merged(io::PMCNTRL, self.word(io::PMCNTRL))),
            io::PMTMR..=0x0B | io::PLVL2 | 0x15 | io::GPIREG..=0x33 => {}
            io::GPSTS | 0x0D | io::GLBSTS | 0x19 | io::DEVSTS..=0x1F => self.io[offset] &= !value,
            _ => self.io[offset] = value,
        }
        self.update_sci();
    }

    /// The SMBus host, with no device on the bus: a started transaction ends with a device error.
    fn write_smbus(&mut self, offset: usize, value: u8) {
        const START: u8 = 1 << 6;
        const DEV_ERR: u8 = 1 << 2;
        match offset {
            0 | 1 => self.smbus[offset] &= !(value & 0x1E),
            2 => {
                self.smbus[2] = value & !START;
                if value & START != 0 {
                    self.smbus[0] |= DEV_ERR;
                }
            }
            _ => self.smbus[offset] = value,
        }
    }

    fn write_apm(&mut self, value: u8) {
        self.apm[0] = value;
        if self.space.get32(register::DEVACTB) & APMC_EN != 0 {
            self.wiring.smi.raise();
        }
        if let Some((enable, disable)) = self.acpi_commands {
            let control = self.word(io::PMCNTRL);
            if value == enable {
                self.set_word(io::PMCNTRL, control | pmcntrl::SCI_EN);
            } else if value == disable {
                self.set_word(io::PMCNTRL, control & !pmcntrl::SCI_EN);
            }
            self.update_sci();
        }
    }
}

impl PciFunction for PowerManagement {
    fn config_read(&mut self, offset: u8, size: u8) -> u32 {
        self.space.read(offset, size)
    }

    fn config_write(&mut self, offset: u8, size: u8, value: u32) {
        let before = (self.pm_base(), self.smbus_base());
        self.space.write(offset, size, value);
        self.decode_changed |= (self.pm_base(), self.smbus_base()) != before;
    }
}

impl Timed for PowerManagement {
    fn next_event(&self) -> Option<Time> {
        let waits = self.word(io::PMEN) & !self.word(io::PMSTS) & pmsts::TMROF != 0;
        if waits { PM_CLOCK.time_of(((self.ticks >> 23) + 1) << 23) } else { None }
    }

    fn advance(&mut self, now: Time) {
        let ticks = PM_CLOCK.ticks(now).max(self.ticks);
        let toggled = ticks >> 23 != self.ticks >> 23;
        self.ticks = ticks;
        if toggled {
            self.raise_status(pmsts::TMROF);
        }
    }
}

impl BytePorts for PowerManagement {
    fn read8(&mut self, now: Time, port: u16) -> u8 {
        self.advance(now);
        match port {
            APMC | APMS => self.apm[usize::from(port - APMC)],
            _ if let Some(offset) = inside(self.pm_base(), io::SIZE, port) => self.read_io(offset),
            _ if let Some(offset) = inside(self.smbus_base(), SMBUS_SIZE, port) => self.smbus[offset],
            _ => 0xFF,
        }
    }

    fn write8(&mut self, now: Time, port: u16, value: u8) {
        self.advance(now);
        match port {
            APMC => self.write_apm(value),
            APMS => self.apm[1] = value,
            _ if let Some(offset) = inside(self.pm_base(), io::SIZE, port) => self.write_io(offset, value),
            _ if let Some(offset) = inside(self.smbus_base(), SMBUS_SIZE, port) => self.write_smbus(offset, value),
            _ => {}
        }
    }
}

fn inside(base: Option<u16>, size: u16, port: u16) -> Option<usize> {
    let offset = port.wrapping_sub(base?);
    (offset < size).then_some(usize::from(offset))
}
