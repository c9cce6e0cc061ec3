//! Starting a guest without a boot disk: Linux bzImage, ELF32 and multiboot 1.
//!
//! The machine's firmware runs first in every case. A small option ROM ([`option_rom`]) takes over its boot service
//! (int 19h) and writes to [`HANDOFF_PORT`]; the machine then places the payload in RAM and sets the processor's
//! registers as the payload's protocol wants them, so a guest finds the interrupt table, the video mode and the
//! chips as after a boot from disk.

pub mod cpio;
pub mod elf;
pub mod image;
pub mod linux;
pub mod multiboot;
mod rom;

use crate::error::{Error, Result};
use crate::layout::Layout;
use ring86_translator::State;
use ring86_translator::state::{Segment, TableReg, attr, cr};

pub use rom::{HANDOFF_PORT, option_rom};

/// What is started in place of a boot disk, parsed and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A Linux kernel with its boot protocol header.
    Linux(Box<linux::Linux>),
    /// A 32-bit executable without a boot protocol.
    Elf(Box<elf::Elf>),
    /// A multiboot 1 kernel.
    Multiboot(Box<multiboot::Multiboot>),
}

impl Payload {
    /// Places the payload in guest memory and sets the registers for its entry.
    ///
    /// # Errors
    /// If it does not fit into the machine's memory.
    pub fn start(&self, layout: &Layout, state: &mut State) -> Result<()> {
        match self {
            Payload::Linux(linux) => linux.start(layout, state),
            Payload::Elf(elf) => elf.start(layout, state),
            Payload::Multiboot(multiboot) => multiboot.start(layout, state),
        }
    }

    /// What it is, for the line that tells the user.
    pub fn describe(&self) -> String {
        match self {
            Payload::Linux(linux) => linux.describe(),
            Payload::Elf(_) => "an ELF32 executable for i386".to_owned(),
            Payload::Multiboot(multiboot) => multiboot.describe(),
        }
    }
}

/// Where the flat descriptor table for 32-bit entries lies: below the boot sector, where the BIOS keeps nothing.
const GDT: u64 = 0x600;

/// Flat 32-bit protected mode at `entry` with interrupts off and paging off: code selector 10h, data selector 18h.
fn enter_flat(layout: &Layout, state: &mut State, entry: u32) {
    const CODE: u64 = 0x00cf_9b00_0000_ffff;
    const DATA: u64 = 0x00cf_9300_0000_ffff;
    let table = [0, 0, CODE, DATA];
    for (i, descriptor) in (0u64..).zip(table) {
        layout.memory().dma_write(GDT + i * 8, &u64::to_le_bytes(descriptor));
    }
    state.gdtr = TableReg { base: GDT, limit: 0x1f };
    let flat = |selector, kind| Segment { base: 0, limit: u32::MAX, attr: kind | attr::G | attr::DB, selector };
    for segment in &mut state.segs {
        *segment = flat(0x18, attr::REAL_DATA);
    }
    state.segs[1] = flat(0x10, attr::REAL_CODE);
    state.cr0 = state.cr0 & !(cr::PG | cr::TS | cr::EM | cr::CD | cr::NW) | cr::PE | cr::ET;
    state.cpl = 0;
    begin(state, u64::from(entry));
}

/// Real mode at `segment`:`offset` with interrupts off and every data segment at `data`.
fn enter_real(state: &mut State, segment: u16, offset: u16, data: u16) {
    for register in &mut state.segs {
        *register = Segment::real(data);
    }
    state.segs[1] = Segment { attr: attr::REAL_CODE, ..Segment::real(segment) };
    begin(state, u64::from(offset));
}

fn begin(state: &mut State, rip: u64) {
    for n in 0..8 {
        state.set_gpr(n, 0);
    }
    state.rip = rip;
    state.halted = false;
    state.sti_shadow = false;
    state.ss_shadow = false;
    state.set_eflags(0);
}

/// Writes `bytes` at `at` if all of it lies in RAM between 64 KiB and the end of low memory but outside the hole
/// between 640 KiB and 1 MiB. `name` is the file.
fn place(layout: &Layout, name: &str, what: &str, at: u64, bytes: &[u8]) -> Result<()> {
    check_room(layout, name, what, at, bytes.len() as u64)?;
    layout.memory().dma_write(at, bytes);
    Ok(())
}

/// Checks that `len` bytes at `at` are RAM.
fn check_room(layout: &Layout, name: &str, what: &str, at: u64, len: u64) -> Result<()> {
    let end = at.saturating_add(len);
    let low = end <= crate::layout::EBDA && at >= 0x1000;
    let high = at >= crate::layout::HIGH && end <= layout.low_end();
    if len == 0 || low || high {
        return Ok(());
    }
    if at >= crate::layout::HIGH && end <= crate::layout::PCI_HOLE {
        let need = end.div_ceil(1 << 20);
        return Err(Error::new(format!(
            "'{name}': {what} needs memory up to {need} MiB; give the machine more with -m"
        )));
    }
    Err(Error::new(format!("'{name}': {what} wants {at:#x}-{:#x}, where a PC has no RAM", end.saturating_sub(1))))
}

/// Little-endian integers at a byte offset; `None` beyond the end.
fn get16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn get32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}
