//! SMBIOS 2.4: who made the firmware and the machine.

use super::checksum;

/// A structure: type, its formatted part behind the header, strings.
fn structure(kind: u8, handle: u16, fields: &[u8], strings: &[&str]) -> Vec<u8> {
    let mut bytes = vec![kind, (4 + fields.len()) as u8];
    bytes.extend(handle.to_le_bytes());
    bytes.extend(fields);
    for string in strings {
        bytes.extend(string.as_bytes());
        bytes.push(0);
    }
    if strings.is_empty() {
        bytes.push(0);
    }
    bytes.push(0);
    bytes
}

/// All structures, their number, and the size of the largest.
pub fn structures() -> (Vec<u8>, u16, u16) {
    // Type 0: vendor, version, segment F000h, date, 64 KiB, characteristics: PCI, boot from CD, EDD, int 5h/9h/14h/17h.
    let mut firmware = vec![1, 2, 0x00, 0xf0, 3, 0];
    firmware.extend(0x7a01_8080u64.to_le_bytes());
    firmware.extend([0x01, 0x00, 0, 0, 0xff, 0xff]);
    // Type 1: manufacturer, product, version, no serial number; zero UUID; wake-up by the power switch.
    let mut system = vec![1, 2, 3, 0];
    system.extend([0; 16]);
    system.extend([6, 0, 0]);
    // Type 3: manufacturer; a desktop; states unknown.
    let chassis = [1, 3, 0, 0, 0, 3, 3, 3, 2];
    let all = [
        structure(0, 0, &firmware, &["Ring86", env!("CARGO_PKG_VERSION"), "11/21/2026"]),
        structure(1, 1, &system, &["Ring86", "Ring86 PC", env!("CARGO_PKG_VERSION")]),
        structure(3, 3, &chassis, &["Ring86"]),
        structure(127, 127, &[], &[]),
    ];
    let largest = all.iter().map(Vec::len).max().unwrap_or(0);
    (all.concat(), all.len() as u16, largest as u16)
}

/// The entry point structure for structures at `address`.
pub fn entry_point(address: u32, length: usize, count: u16, largest: u16) -> Vec<u8> {
    let mut intermediate = b"_DMI_\0".to_vec();
    intermediate.extend((length as u16).to_le_bytes());
    intermediate.extend(address.to_le_bytes());
    intermediate.extend(count.to_le_bytes());
    intermediate.push(0x24);
    intermediate[5] = checksum(&intermediate);
    let mut bytes = b"_SM_\0\x1f\x02\x04".to_vec();
    bytes.extend(largest.to_le_bytes());
    bytes.extend([0; 6]); // revision and formatted area
    bytes.extend(intermediate);
    bytes[4] = checksum(&bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_point_sums_to_zero() {
        let entry = entry_point(0xf_d800, 200, 4, 60);
        assert_eq!(entry.len(), 0x1f);
        assert_eq!(checksum(&entry), 0);
        assert_eq!(checksum(&entry[16..]), 0);
    }
}
