//! Tables that operating systems look for in the ROM: ACPI, MultiProcessor, PCI interrupt routing, SMBIOS.
//!
//! They are the same on every Ring86 machine, whether it has APICs apart, so they stand in the image itself.

mod acpi;
mod aml;
mod interrupts;
pub mod routing;
mod smbios;

/// Offset in segment F000h of the first table.
pub const START: u16 = 0xd000;
/// Offset behind the last: the PC's customary entry points begin here.
const END: usize = 0xe000;
/// Linear address of segment F000h.
const SEGMENT: u32 = 0xf_0000;

/// Places all tables; those that describe APICs only if there are some.
pub fn place(image: &mut [u8], apic: bool) {
    image[usize::from(START)..END].fill(0);
    let mut next = usize::from(START);
    let mut put = |alignment: usize, build: &dyn Fn(u32) -> Vec<u8>| {
        let at = next.next_multiple_of(alignment);
        let address = SEGMENT + at as u32;
        let table = build(address);
        assert!(at + table.len() <= END, "tables reach {:#x}", at + table.len());
        image[at..at + table.len()].copy_from_slice(&table);
        next = at + table.len();
        address
    };
    let facs = put(64, &|_| acpi::facs());
    let dsdt = put(16, &|_| acpi::dsdt(apic));
    let mut described = vec![put(16, &|_| acpi::fadt(facs, dsdt, apic))];
    if apic {
        described.push(put(16, &|_| acpi::madt()));
        described.push(put(16, &|_| acpi::hpet()));
        let configuration = put(16, &|_| interrupts::configuration());
        put(16, &|_| interrupts::pointer(configuration));
    }
    let rsdt = put(16, &|_| acpi::rsdt(&described));
    put(16, &|_| acpi::rsdp(rsdt));
    put(16, &|_| routing::table());
    let (structures, count, largest) = smbios::structures();
    let at = put(16, &|_| structures.clone());
    put(16, &|_| smbios::entry_point(at, structures.len(), count, largest));
}

/// The byte that makes the sum of `bytes` zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}
