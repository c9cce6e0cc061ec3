//! Mechanism #1, and what software sees of the chipset.

use super::i440fx::HostBridge;
use super::piix3::IsaBridge;
use super::piix4_pm::{PM_CLOCK, PowerManagement, Wiring};
use super::*;
use crate::capability::Shared;
use crate::{IrqInputs, Timed};

struct Bench {
    bus: PciBus,
    host: Shared<HostBridge>,
    isa: Shared<IsaBridge>,
    pm: Shared<PowerManagement>,
    inputs: IrqInputs,
    reset: Latch,
    smi: Latch,
    power_off: Latch,
    now: Time,
}

impl Bench {
    fn new() -> Self {
        let (reset, smi, power_off, inputs) = (Latch::new(), Latch::new(), Latch::new(), IrqInputs::new());
        let host = Shared::new(HostBridge::new(128 << 20, reset.clone()));
        let isa = Shared::new(IsaBridge::new(|irq| inputs.line(irq)));
        let wiring = Wiring { sci: inputs.line(9), smi: smi.clone(), power_off: power_off.clone() };
        let pm = Shared::new(PowerManagement::new(wiring).with_acpi_commands(0xF1, 0xF0));
        let mut bus = PciBus::new(reset.clone());
        bus.insert(0, 0, Box::new(host.clone()));
        bus.insert(1, 0, Box::new(isa.clone()));
        bus.insert(1, 3, Box::new(pm.clone()));
        Self { bus, host, isa, pm, inputs, reset, smi, power_off, now: 0 }
    }

    fn select(&mut self, device: u32, function: u32, offset: u8) -> u16 {
        self.bus.port_write(0, 0xCF8, 4, 0x8000_0000 | device << 11 | function << 8 | u32::from(offset & 0xFC));
        0xCFC + u16::from(offset & 3)
    }

    fn read(&mut self, (device, function): (u32, u32), offset: u8, size: u8) -> u32 {
        let port = self.select(device, function, offset);
        self.bus.port_read(0, port, size)
    }

    fn write(&mut self, (device, function): (u32, u32), offset: u8, size: u8, value: u32) {
        let port = self.select(device, function, offset);
        self.bus.port_write(0, port, size, value);
    }

    fn enable_pm(&mut self) {
        self.write((1, 3), 0x40, 4, 0x600);
        self.write((1, 3), 0x80, 1, 1);
    }

    fn pm_out(&mut self, offset: u16, size: u8, value: u32) {
        self.pm.port_write(self.now, 0x600 + offset, size, value);
    }

    fn pm_in(&mut self, offset: u16, size: u8) -> u32 {
        self.pm.port_read(self.now, 0x600 + offset, size)
    }
}

const HOST: (u32, u32) = (0, 0);
const ISA: (u32, u32) = (1, 0);
const PM: (u32, u32) = (1, 3);

#[test]
fn functions_are_found_and_absent_ones_read_as_ones() {
    let mut b = Bench::new();
    assert_eq!(b.read(HOST, 0, 4), 0x1237_8086);
    assert_eq!(b.read(ISA, 0, 4), 0x7000_8086);
    assert_eq!(b.read(ISA, 0x0E, 1), 0x80);
    assert_eq!(b.read(PM, 0, 4), 0x7113_8086);
    assert_eq!((b.read(PM, 0x0A, 2), b.read(HOST, 0x0B, 1)), (0x0680, 0x06));
    assert_eq!(b.read((5, 0), 0, 4), 0xFFFF_FFFF);
    assert_eq!(b.read((5, 0), 0, 2), 0xFFFF);
    assert_eq!(b.bus.port_read(0, 0xCF8, 4), 0x8000_2800);
    b.bus.port_write(0, 0xCF8, 4, 0x0000_0000);
    assert_eq!(b.bus.port_read(0, 0xCFC, 4), 0xFFFF_FFFF, "configuration cycles off");
    b.bus.port_write(0, 0xCF8, 4, 0x8001_0000);
    assert_eq!(b.bus.port_read(0, 0xCFC, 4), 0xFFFF_FFFF, "no bus 1");
    b.bus.port_write(0, 0xCF8, 2, 0x1234);
    assert_eq!(b.bus.port_read(0, 0xCF8, 4), 0x8001_0000, "only dwords reach the address");
}

#[test]
fn parts_of_a_dword_can_be_read() {
    let mut b = Bench::new();
    assert_eq!(b.read(HOST, 1, 2), 0x3780);
    assert_eq!(b.read(HOST, 3, 1), 0x12);
    assert_eq!(b.read(HOST, 3, 2), 0xFF12, "the second byte is beyond the data port");
}

#[test]
fn the_reset_control_register_resets_on_a_rising_bit() {
    let mut b = Bench::new();
    b.bus.port_write(0, 0xCF9, 1, 0x02);
    assert!(!b.reset.is_raised());
    b.bus.port_write(0, 0xCF9, 1, 0x06);
    assert!(b.reset.take());
    assert_eq!(b.bus.port_read(0, 0xCF9, 1), 0x06);
    b.bus.port_write(0, 0xCF9, 1, 0x06);
    assert!(!b.reset.take());
    b.write(HOST, 0x93, 1, 0x04);
    assert!(b.reset.take(), "the host bridge has one of its own");
}

#[test]
fn pam_registers_map_thirteen_regions() {
    let mut b = Bench::new();
    assert!(b.host.lock().take_mapping_change());
    assert!(b.host.lock().pam().iter().all(|region| !region.read_ram && !region.write_ram));
    b.write(HOST, 0x59, 1, 0xFF);
    b.write(HOST, 0x5A, 2, 0x0231);
    assert_eq!(b.read(HOST, 0x59, 1), 0x30);
    assert!(b.host.lock().take_mapping_change());
    assert!(!b.host.lock().take_mapping_change());
    let pam = b.host.lock().pam();
    let of = |start: u32| *pam.iter().find(|region| region.start == start).unwrap();
    assert_eq!((of(0xF_0000).length, of(0xF_0000).read_ram, of(0xF_0000).write_ram), (0x1_0000, true, true));
    assert_eq!((of(0xC_0000).read_ram, of(0xC_0000).write_ram), (true, false));
    assert_eq!((of(0xC_4000).read_ram, of(0xC_4000).write_ram), (true, true));
    assert_eq!((of(0xC_8000).read_ram, of(0xC_8000).write_ram), (false, true));
    assert_eq!((of(0xE_C000).read_ram, of(0xE_C000).length), (false, 0x4000));
    b.write(HOST, 0x04, 2, 0x0107);
    assert!(!b.host.lock().take_mapping_change());
    b.write(HOST, 0x68, 1, 0x80);
    assert_eq!(b.host.lock().memory_hole(), Some((0xF0_0000, 0x10_0000)));
}

#[test]
fn smram_locks() {
    let mut b = Bench::new();
    assert_eq!(b.read(HOST, 0x72, 1), 0x02);
    b.write(HOST, 0x72, 1, 0x4F);
    assert_eq!(b.host.lock().smram(), 0x4A);
    b.write(HOST, 0x72, 1, 0x58);
    assert_eq!(b.read(HOST, 0x72, 1), 0x1A, "locking closes");
    b.write(HOST, 0x72, 1, 0x60);
    assert_eq!(b.read(HOST, 0x72, 1), 0x3A, "only DCLS still changes");
    b.host.lock().reset();
    assert_eq!(b.read(HOST, 0x72, 1), 0x02);
}

#[test]
fn row_boundaries_tell_the_memory_size() {
    let mut b = Bench::new();
    assert_eq!(b.read(HOST, 0x60, 4), 0x1010_1010);
}

#[test]
fn pirqs_are_routed_to_isa_interrupts() {
    let mut b = Bench::new();
    let line = b.isa.lock().pirq(pirq_of(3, 1));
    line.set_level(true);
    assert_eq!(b.inputs.levels(), 0, "not routed after reset");
    assert_eq!(b.read(ISA, 0x60, 4), 0x8080_8080);
    b.write(ISA, 0x62, 1, 0x0B);
    assert_eq!(b.inputs.levels(), 1 << 11);
    b.write(ISA, 0x62, 1, 0x05);
    assert_eq!(b.inputs.levels(), 1 << 5);
    b.write(ISA, 0x62, 1, 0x08);
    assert_eq!(b.inputs.levels(), 0, "IRQ 8 is not for PCI");
    b.write(ISA, 0x62, 1, 0x05);
    b.isa.lock().reset();
    assert_eq!(b.inputs.levels(), 0);
    assert_eq!([pirq_of(1, 1), pirq_of(1, 2), pirq_of(2, 1), pirq_of(4, 4)], [0, 1, 1, 2]);
}

#[test]
fn pm_space_moves_with_its_base() {
    let mut b = Bench::new();
    assert!(b.pm.lock().take_decode_change());
    assert!(!b.pm.lock().claims(0x600) && b.pm.lock().claims(0xB2));
    b.write(PM, 0x40, 4, 0xFFFF_FFFF);
    assert_eq!(b.read(PM, 0x40, 4), 0xFFC1);
    b.enable_pm();
    assert!(b.pm.lock().take_decode_change());
    assert!(b.pm.lock().claims(0x63F) && !b.pm.lock().claims(0x640));
    assert_eq!(b.pm.lock().io_ranges().collect::<Vec<_>>(), [(0x600, 0x40), (0xB2, 2)]);
    b.write(PM, 0x80, 1, 0);
    assert_eq!(b.pm.port_read(0, 0x608, 4), 0xFFFF_FFFF);
}

#[test]
fn the_pm_timer_is_exact_and_its_overflow_raises_sci() {
    let mut b = Bench::new();
    b.enable_pm();
    b.now = 1_000_000_000;
    assert_eq!(b.pm_in(8, 4), 3_579_545);
    b.pm_out(4, 2, 1);
    b.pm_out(2, 2, 1);
    let at = b.pm.next_event().unwrap();
    assert_eq!(PM_CLOCK.ticks(at), 1 << 23);
    b.now = at - 1;
    b.pm.advance(b.now);
    assert_eq!((b.inputs.levels(), b.pm_in(8, 4)), (0, 0x7F_FFFF));
    b.now = at;
    b.pm.advance(b.now);
    assert_eq!((b.inputs.levels(), b.pm_in(0, 2)), (1 << 9, 1));
    assert_eq!(b.pm.next_event(), None);
    b.pm_out(0, 2, 1);
    assert_eq!((b.inputs.levels(), b.pm_in(0, 2)), (0, 0));
    b.now = PM_CLOCK.time_of(1 << 24).unwrap();
    assert_eq!(b.pm_in(8, 4), 0, "24 bits");
}

#[test]
fn the_power_button_raises_sci_or_smi() {
    let mut b = Bench::new();
    b.enable_pm();
    b.pm_out(2, 2, 0x100);
    b.pm.lock().press_power_button();
    assert_eq!((b.inputs.levels(), b.smi.is_raised()), (0, false));
    b.pm_out(0x28, 1, 1);
    assert!(b.smi.take(), "SMI while SCI is off");
    b.pm_out(4, 2, 1);
    assert_eq!((b.inputs.levels(), b.pm_in(0, 2)), (1 << 9, 0x100));
    b.pm_out(0, 2, 0x100);
    assert_eq!(b.inputs.levels(), 0);
}

#[test]
fn suspend_type_0_switches_off() {
    let mut b = Bench::new();
    b.enable_pm();
    b.pm_out(4, 2, 0x2401);
    assert!(!b.power_off.is_raised());
    assert_eq!(b.pm.lock().take_suspend(), Some(1));
    assert_eq!(b.pm_in(4, 2), 0x0401, "SUS_EN reads as 0");
    b.pm_out(4, 2, 0x2001);
    assert!(b.power_off.take());
}

#[test]
fn the_apm_port_raises_smi_and_switches_acpi() {
    let mut b = Bench::new();
    b.enable_pm();
    b.pm.port_write(0, 0xB2, 2, 0x55F1);
    assert_eq!((b.pm.port_read(0, 0xB2, 2), b.pm_in(4, 2)), (0x55F1, 1));
    assert!(!b.smi.is_raised());
    b.write(PM, 0x58, 4, 1 << 25);
    b.pm.port_write(0, 0xB2, 1, 0xF0);
    assert_eq!((b.smi.take(), b.pm_in(4, 2), b.pm.lock().apm()), (true, 0, [0xF0, 0x55]));
}

#[test]
fn the_smbus_host_finds_no_device() {
    let mut b = Bench::new();
    b.write(PM, 0x90, 4, 0x701);
    b.write(PM, 0xD2, 1, 1);
    b.write(PM, 0x04, 2, 1);
    assert!(b.pm.lock().claims(0x700));
    b.pm.port_write(0, 0x702, 1, 0x48);
    assert_eq!(b.pm.port_read(0, 0x700, 1), 0x04);
    b.pm.port_write(0, 0x700, 1, 0x04);
    assert_eq!(b.pm.port_read(0, 0x700, 1), 0x00);
}

#[test]
fn reset_returns_the_pm_function_to_its_defaults() {
    let mut b = Bench::new();
    b.enable_pm();
    b.pm_out(4, 2, 1);
    b.pm.lock().reset(0);
    assert!(!b.pm.lock().claims(0x600));
    b.enable_pm();
    assert_eq!(b.pm_in(4, 2), 0);
}

#[test]
fn without_smm_the_apm_port_is_set_up_from_reset_on() {
    let wiring = Wiring { sci: IrqInputs::new().line(9), smi: Latch::new(), power_off: Latch::new() };
    let mut pm = PowerManagement::new(wiring).without_smm();
    assert_eq!(pm.config_read(0x58, 4), 1 << 25);
    pm.config_write(0x58, 4, 0);
    pm.reset(0);
    assert_eq!(pm.config_read(0x5B, 1), 2);
}
