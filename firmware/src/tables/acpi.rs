//! ACPI 1.0 tables: RSDP, RSDT, FADT, FACS, DSDT, and for machines with APICs MADT and HPET. The power management block is the PIIX4's at 600h.

use super::aml::{
    buffer, device, eisa_id, if_set, integer, method, name, package, processor, return_named, scope, store_argument,
};
use super::checksum;
use super::interrupts::{IO_APIC, IO_APIC_ID, LOCAL_APIC, PCI_PINS, SCI, TIMER_PIN};

/// PIIX4 power management base, which POST programs.
const PM_BASE: u32 = 0x600;
/// Registers of the high precision event timers: first address, size, and the low half of their ID register.
const HPET: (u32, u32, u32) = (0xfed0_0000, 0x400, 0x8086_a201);
/// First and last address of the PCI memory window.
const PCI_MEMORY: (u32, u32) = (0xe000_0000, 0xfebf_ffff);

/// A description table: header, body, checksum.
fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = signature.to_vec();
    bytes.extend((36 + body.len() as u32).to_le_bytes());
    bytes.extend([revision, 0]);
    bytes.extend(b"RING86RING86PC");
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(b"R86 ");
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(body);
    bytes[9] = checksum(&bytes);
    bytes
}

pub fn rsdp(rsdt: u32) -> Vec<u8> {
    let mut bytes = b"RSD PTR \0RING86\0".to_vec();
    bytes.extend(rsdt.to_le_bytes());
    bytes[8] = checksum(&bytes);
    bytes
}

pub fn rsdt(tables: &[u32]) -> Vec<u8> {
    let body: Vec<u8> = tables.iter().flat_map(|address| address.to_le_bytes()).collect();
    table(b"RSDT", 1, &body)
}

/// Firmware control structure: 64 bytes, no waking vector. In ROM, so the global lock can never be taken, and nothing
/// asks for it.
pub fn facs() -> Vec<u8> {
    let mut bytes = b"FACS".to_vec();
    bytes.extend(64u32.to_le_bytes());
    bytes.resize(64, 0);
    bytes
}

pub fn fadt(facs: u32, dsdt: u32, apic: bool) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(facs.to_le_bytes());
    body.extend(dsdt.to_le_bytes());
    body.extend([apic.into(), 0]); // interrupt model (dual 8259A, or APICs too), reserved
    body.extend(u16::from(SCI).to_le_bytes());
    body.extend(0u32.to_le_bytes()); // no SMI command port: ACPI mode is always on
    body.extend([0; 4]); // ACPI enable and disable, S4BIOS, reserved
    for block in [PM_BASE, 0, PM_BASE + 4, 0, 0, PM_BASE + 8, 0, 0] {
        body.extend(block.to_le_bytes()); // PM1a/b event, PM1a/b control, PM2 control, timer, GPE0, GPE1
    }
    body.extend([4, 2, 0, 4, 0, 0, 0, 0]); // their lengths
    body.extend(0x0fffu16.to_le_bytes()); // no C2
    body.extend(0x0fffu16.to_le_bytes()); // no C3
    body.extend([0; 4]); // flush size and stride
    body.extend([0, 0, 0, 0, 0x32]); // duty cycle, alarm registers, century in CMOS 32h
    body.extend([0; 3]);
    // WBINVD works, C1 works, no sleep button, RTC wake is not in the fixed registers.
    body.extend(0b110_0101u32.to_le_bytes());
    table(b"FACP", 1, &body)
}

/// The PCI root with its windows and interrupt wiring, the ISA bridge's devices that are found by name, and S5.
pub fn dsdt(apic: bool) -> Vec<u8> {
    let isa = device(
        "ISA_",
        &[
            name("_ADR", &integer(0x1_0000)),
            isa_device("RTC_", "PNP0B00", &[&io(0x70, 2), &irq(8)]),
            isa_device("KBD_", "PNP0303", &[&io(0x60, 1), &io(0x64, 1), &irq(1)]),
            isa_device("MOU_", "PNP0F13", &[&irq(12)]),
            isa_device("FDC0", "PNP0700", &[&io(0x3f2, 4), &io(0x3f7, 1), &irq(6), &[0x2a, 0x04, 0x00]]),
            isa_device("COM1", "PNP0501", &[&io(0x3f8, 8), &irq(4)]),
            isa_device("COM2", "PNP0501", &[&io(0x2f8, 8), &irq(3)]),
        ],
    );
    let mut root = vec![
        name("_HID", &eisa_id("PNP0A03")),
        name("_ADR", &integer(0)),
        name("_UID", &integer(1)),
        name("_CRS", &buffer(&windows())),
        isa,
    ];
    // POST programs PIRQA-D: 10, 10, 11, 11.
    let routed = routing(|pirq| 10 + pirq / 2);
    let soft_off = name("\\_S5_", &package(&[integer(0), integer(0), integer(0), integer(0)]));
    if !apic {
        root.push(name("_PRT", &routed));
        return table(b"DSDT", 1, &[scope("\\_SB_", &[device("PCI0", &root)]), soft_off].concat());
    }
    // The system says by _PIC (1) that it uses the I/O APIC.
    root.extend([
        name("PRTP", &routed),
        name("PRTA", &routing(|pirq| PCI_PINS + pirq)),
        method("_PRT", 0, &[if_set("PICM", &[return_named("PRTA")]), return_named("PRTP")]),
    ]);
    let body = [
        name("PICM", &integer(0)),
        method("_PIC", 1, &[store_argument("PICM")]),
        scope("\\_PR_", &[processor("CPU0", 0)]),
        scope("\\_SB_", &[device("PCI0", &root), timers()]),
        soft_off,
    ];
    table(b"DSDT", 1, &body.concat())
}

/// The high precision event timers as a device.
fn timers() -> Vec<u8> {
    let mut template = vec![0x86, 0x09, 0x00, 0x00];
    template.extend(HPET.0.to_le_bytes());
    template.extend(HPET.1.to_le_bytes());
    template.extend([0x79, 0x00]);
    device("HPET", &[name("_HID", &eisa_id("PNP0103")), name("_CRS", &buffer(&template))])
}

/// Multiple APIC description table: one processor, one I/O APIC beside the 8259A pair, the ISA interrupts that are not
/// wired one to one, NMI at LINT1.
pub fn madt() -> Vec<u8> {
    let mut body = LOCAL_APIC.to_le_bytes().to_vec();
    body.extend(1u32.to_le_bytes()); // 8259A pair present
    body.extend([0, 8, 0, 0, 1, 0, 0, 0]); // processor 0 has APIC ID 0 and is enabled
    body.extend([1, 12, IO_APIC_ID, 0]);
    body.extend(IO_APIC.to_le_bytes());
    body.extend(0u32.to_le_bytes()); // its first interrupt is 0
    body.extend([2, 10, 0, 0, TIMER_PIN, 0, 0, 0, 0, 0]);
    body.extend([2, 10, 0, SCI, SCI, 0, 0, 0, 0x0d, 0]); // active high, level
    body.extend([4, 6, 0xff, 0, 0, 1]);
    table(b"APIC", 1, &body)
}

/// IA-PC HPET description table: where the timers are.
pub fn hpet() -> Vec<u8> {
    let mut body = HPET.2.to_le_bytes().to_vec();
    body.extend([0, 64, 0, 0]); // memory, 64 bits wide
    body.extend(u64::from(HPET.0).to_le_bytes());
    body.push(0); // the first block
    body.extend(128u16.to_le_bytes()); // fewest ticks of a periodic timer
    body.push(0); // nothing is said about the rest of the page
    table(b"HPET", 1, &body)
}

fn isa_device(device_name: &str, id: &str, resources: &[&[u8]]) -> Vec<u8> {
    let mut template = resources.concat();
    template.extend([0x79, 0x00]);
    device(device_name, &[name("_HID", &eisa_id(id)), name("_CRS", &buffer(&template))])
}

/// I/O port descriptor, 16-bit decode.
fn io(port: u16, length: u8) -> Vec<u8> {
    let [low, high] = port.to_le_bytes();
    vec![0x47, 0x01, low, high, low, high, 1, length]
}

/// IRQ descriptor, edge triggered.
fn irq(line: u8) -> Vec<u8> {
    let [low, high] = (1u16 << line).to_le_bytes();
    vec![0x22, low, high]
}

/// What the root decodes: its bus numbers, the I/O space around the configuration ports, the video memory, the PCI
/// window.
fn windows() -> Vec<u8> {
    fn word(kind: u8, flags: u8, first: u16, last: u16) -> Vec<u8> {
        let mut bytes = vec![0x88, 0x0d, 0x00, kind, 0x0c, flags, 0, 0];
        bytes.extend(first.to_le_bytes());
        bytes.extend(last.to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend((last - first).wrapping_add(1).to_le_bytes());
        bytes
    }
    fn dword(flags: u8, first: u32, last: u32) -> Vec<u8> {
        let mut bytes = vec![0x87, 0x17, 0x00, 0, 0x0c, flags, 0, 0, 0, 0];
        bytes.extend(first.to_le_bytes());
        bytes.extend(last.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend((last - first + 1).to_le_bytes());
        bytes
    }
    [
        word(2, 0, 0, 0xff),
        io(0xcf8, 8),
        word(1, 3, 0, 0x0cf7),
        word(1, 3, 0x0d00, 0xffff),
        dword(3, 0xa_0000, 0xb_ffff),
        dword(1, PCI_MEMORY.0, PCI_MEMORY.1),
        vec![0x79, 0x00],
    ]
    .concat()
}

/// Slot and pin to interrupt, given that of each PIRQ (0 to 3). The PIIX4's power management has the SCI.
fn routing(interrupt: impl Fn(u32) -> u32) -> Vec<u8> {
    let entry = |slot: u32, pin: u32, line: u32| {
        package(&[integer(slot << 16 | 0xffff), integer(pin), integer(0), integer(line)])
    };
    let mut entries = Vec::new();
    for slot in 1..=15u32 {
        for pin in 0..4 {
            let line = if (slot, pin) == (1, 0) { u32::from(SCI) } else { interrupt((slot - 1 + pin) & 3) };
            entries.push(entry(slot, pin, line));
        }
    }
    package(&entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_their_lengths_and_sums() {
        for table in [rsdt(&[1]), fadt(1, 2, true), dsdt(true), dsdt(false), madt(), hpet()] {
            assert_eq!(checksum(&table), 0);
            assert_eq!(table.len() as u32, u32::from_le_bytes([table[4], table[5], table[6], table[7]]));
        }
        assert_eq!((fadt(0, 0, false).len(), hpet().len()), (116, 56));
        assert_eq!(rsdp(0).len(), 20);
        assert_eq!(checksum(&rsdp(0xf_d000)), 0);
    }
}
