//! The PCI interrupt routing table ($PIR, Microsoft's specification 1.0) for the PIIX3 at slot 1.

use super::checksum;

/// Slots that the table lists.
pub const SLOTS: std::ops::RangeInclusive<u8> = 1..=15;
/// IRQs that a PIRQ line may be routed to: 10 and 11.
pub const LINES: u16 = 0x0c00;
/// Link value of PIRQA, which is its register in the router; the others follow.
pub const PIRQA: u8 = 0x60;
/// The router: bus 0, slot 1.
pub const ROUTER: u8 = 1 << 3;

pub fn table() -> Vec<u8> {
    let count = SLOTS.count() as u16;
    let mut bytes = b"$PIR".to_vec();
    bytes.extend([0x00, 0x01]); // version 1.0
    bytes.extend((32 + 16 * count).to_le_bytes());
    bytes.extend([0, ROUTER]);
    bytes.extend([0, 0]); // no IRQ is PCI's alone
    bytes.extend([0x86, 0x80, 0x00, 0x70]); // compatible with the PIIX3
    bytes.extend([0; 16]);
    for slot in SLOTS {
        bytes.extend([0, slot << 3]);
        for pin in 0..4 {
            bytes.push(PIRQA + ((slot - 1 + pin) & 3)); // link: PIRQRC register
            bytes.extend(LINES.to_le_bytes());
        }
        bytes.extend([slot, 0]);
    }
    bytes[31] = checksum(&bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_sums_to_zero() {
        let table = table();
        assert_eq!(checksum(&table), 0);
        assert_eq!(table.len(), usize::from(u16::from_le_bytes([table[6], table[7]])));
        assert_eq!(table[32..36], [0, 8, 0x60, 0x00]);
    }
}
