//! Page tables, descriptor tables and the TSS of a CPU under test: user mode, as the native judge's process has it.

use super::layout::{
    ABSENT_CODE, ABSENT_PAGE, ARENA, ARENA_LEN, CODE, CODE_LEN, CTRL, Environment, HARNESS_LEN, INPUT, LDT, LOW,
    OUTPUT, READ_ONLY_PAGE, RECORDS_LEN,
};

const PAGE: u32 = 4096;
/// Offsets from [`LOW`]. Nothing else lies here.
const DIRECTORY: u32 = 0x8000;
const TABLES: u32 = 0x9000;
const GDT: u32 = 0xC000;
const LDT_AT: u32 = 0xD000;
const TSS: u32 = 0xE000;
/// A page for the supervisor alone, of whoever sets up the CPU.
pub(super) const SUPERVISOR: u32 = LOW + 0xF000;
/// Selectors of the supervisor's code and data: 32 bits, flat.
pub(super) const SUPERVISOR_CODE: u16 = 0x08;
pub(super) const SUPERVISOR_DATA: u16 = 0x10;

/// What a page table entry says: present, writable, user, accessed, dirty.
const SUPERVISORS: u32 = 0x63;
const WRITABLE: u32 = 0x67;
const READ_ONLY: u32 = 0x65;
const ABSENT: u32 = 0x64;

/// What the CPU's registers hold.
pub(super) struct Tables {
    /// Physical address of the page directory.
    pub(super) cr3: u32,
    /// Linear base and limit of the GDT.
    pub(super) gdtr: (u32, u32),
    /// Selector, linear base and limit of the LDT.
    pub(super) ldtr: (u16, u32, u32),
    /// The same of a TSS without an I/O permission bitmap.
    pub(super) tr: (u16, u32, u32),
}

/// Writes the tables by way of `write`, which takes an offset from [`LOW`]. [`LOW`] is at the physical address `origin`.
/// With `harness` the records and the control page are mapped too.
pub(super) fn lay(write: &mut dyn FnMut(u32, &[u8]), origin: u32, harness: bool) -> Tables {
    for table in 0..3 {
        let entry = (origin + TABLES + table * PAGE) | WRITABLE;
        write(DIRECTORY + ((LOW >> 22) + table) * 4, &entry.to_le_bytes());
    }
    let mut map = |start: u32, len: u32, flags: u32| {
        for page in (start..start + len).step_by(PAGE as usize) {
            let entry = (page - LOW + origin) | flags;
            write(TABLES + ((page - LOW) >> 12) * 4, &entry.to_le_bytes());
        }
    };
    map(CODE, CODE_LEN, READ_ONLY);
    map(CODE + ABSENT_CODE, PAGE, ABSENT);
    map(ARENA, ARENA_LEN, WRITABLE);
    map(ARENA + ABSENT_PAGE * PAGE, PAGE, ABSENT);
    map(ARENA + READ_ONLY_PAGE * PAGE, PAGE, READ_ONLY);
    map(LOW + GDT, SUPERVISOR + PAGE - (LOW + GDT), SUPERVISORS);
    if harness {
        map(CTRL, 2 * PAGE, WRITABLE);
        map(INPUT, RECORDS_LEN, WRITABLE);
        map(OUTPUT, RECORDS_LEN, WRITABLE);
    }
    let mut descriptor = |table: u32, selector: u16, value: u64| {
        write(table + u32::from(selector & !7), &value.to_le_bytes());
    };
    let flat = Environment::Flat32.segments();
    for segment in flat {
        descriptor(GDT, segment.selector, segment.descriptor());
    }
    // The same with DPL 0 (SDM volume 3, 3.4.5).
    let supervisor = |index: usize| flat[index].descriptor() & !(3 << 45);
    descriptor(GDT, SUPERVISOR_CODE, supervisor(super::layout::seg::CS));
    descriptor(GDT, SUPERVISOR_DATA, supervisor(super::layout::seg::DS));
    for segment in LDT {
        descriptor(LDT_AT, segment.selector, segment.descriptor());
    }
    write(TSS + 0x66, &[0xFF, 0xFF]);
    Tables {
        cr3: origin + DIRECTORY,
        gdtr: (LOW + GDT, 0x3F),
        ldtr: (0x30, LOW + LDT_AT, LDT.len() as u32 * 8 - 1),
        tr: (0x38, LOW + TSS, 0x67),
    }
}

const _: () = assert!(SUPERVISOR + PAGE <= CODE && HARNESS_LEN < CODE_LEN);
