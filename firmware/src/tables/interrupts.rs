//! How interrupts are wired on machines with APICs, and the MultiProcessor specification's tables (version 1.4) that
//! say so. ACPI's say the same.

use super::checksum;

/// Registers of the local APIC.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// Registers of the I/O APIC.
pub const IO_APIC: u32 = 0xfec0_0000;
/// The I/O APIC's ID, which POST programs.
pub const IO_APIC_ID: u8 = 1;
/// SCI: IRQ9, wired so in the PIIX4.
pub const SCI: u8 = 9;
/// I/O APIC input of ISA's IRQ 0; the other ISA interrupts are at the inputs of their numbers.
pub const TIMER_PIN: u8 = 2;
/// I/O APIC input of PIRQA; B to D follow.
pub const PCI_PINS: u32 = 16;

/// Slots that the table lists.
const SLOTS: std::ops::RangeInclusive<u8> = 1..=15;
/// Bus numbers in the table: PCI's is its own.
const PCI: u8 = 0;
const ISA: u8 = 1;

/// Kinds of interrupts.
mod kind {
    pub const INT: u8 = 0;
    pub const NMI: u8 = 1;
    pub const EXT_INT: u8 = 3;
}

/// Polarity and trigger mode: as the bus has it, or active high and level.
const CONFORMS: u8 = 0;
const HIGH_LEVEL: u8 = 0x0d;

/// The configuration table.
pub fn configuration() -> Vec<u8> {
    let mut entries: Vec<Vec<u8>> = Vec::new();
    // Processor: APIC ID 0, version of the Pentium 4's, enabled and first, signature, features (FPU, APIC).
    let mut processor = vec![0, 0, 0x14, 3];
    processor.extend(0xf00u32.to_le_bytes());
    processor.extend(0x201u32.to_le_bytes());
    processor.extend([0; 8]);
    entries.push(processor);
    entries.push([&[1, PCI], b"PCI   ".as_slice()].concat());
    entries.push([&[1, ISA], b"ISA   ".as_slice()].concat());
    entries.push([[2, IO_APIC_ID, 0x11, 1], IO_APIC.to_le_bytes()].concat());
    let mut assign = |flags, bus, source, pin| {
        entries.push(vec![3, kind::INT, flags, 0, bus, source, IO_APIC_ID, pin]);
    };
    for irq in (0..16).filter(|irq| *irq != 2) {
        let pin = if irq == 0 { TIMER_PIN } else { irq };
        assign(if irq == SCI { HIGH_LEVEL } else { CONFORMS }, ISA, irq, pin);
    }
    for slot in SLOTS {
        for pin in 0..4 {
            // The PIIX4's power management has the SCI.
            if (slot, pin) == (1, 0) {
                assign(HIGH_LEVEL, PCI, slot << 2, SCI);
            } else {
                assign(CONFORMS, PCI, slot << 2 | pin, PCI_PINS as u8 + ((slot - 1 + pin) & 3));
            }
        }
    }
    entries.push(vec![4, kind::EXT_INT, CONFORMS, 0, ISA, 0, 0, 0]);
    entries.push(vec![4, kind::NMI, CONFORMS, 0, ISA, 0, 0xff, 1]);

    let length: usize = 44 + entries.iter().map(Vec::len).sum::<usize>();
    let mut bytes = b"PCMP".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend([4, 0]); // version 1.4
    bytes.extend(b"RING86  PC          ");
    bytes.extend([0; 6]); // no table of the maker's
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend(LOCAL_APIC.to_le_bytes());
    bytes.extend([0; 4]); // no extended entries
    bytes.extend(entries.concat());
    bytes[7] = checksum(&bytes);
    bytes
}

/// The floating pointer to the configuration table at `address`. The 8259A's interrupts pass through the local APIC
/// (virtual wire), so there is no mode register.
pub fn pointer(address: u32) -> Vec<u8> {
    let mut bytes = b"_MP_".to_vec();
    bytes.extend(address.to_le_bytes());
    bytes.extend([1, 4, 0, 0, 0, 0, 0, 0]);
    bytes[10] = checksum(&bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_their_lengths_and_sums() {
        let table = configuration();
        assert_eq!(usize::from(u16::from_le_bytes([table[4], table[5]])), table.len());
        assert_eq!((checksum(&table), checksum(&pointer(0xf_d000)), pointer(0).len()), (0, 0, 16));
        // Entries follow each other without gaps, as many as the header says.
        let (mut at, mut count) = (44, 0);
        while at < table.len() {
            at += if table[at] == 0 { 20 } else { 8 };
            count += 1;
        }
        assert_eq!((at, count), (table.len(), u16::from_le_bytes([table[34], table[35]])));
    }
}
