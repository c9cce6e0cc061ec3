//! The CPU's input pins: what the board may signal at any time, from any thread.

use std::sync::atomic::{AtomicU32, Ordering};

/// INTR: a maskable interrupt is requested (level).
pub const INTR: u32 = 1 << 0;
/// NMI: latched until taken (edge).
pub const NMI: u32 = 1 << 1;
/// The board wants [`crate::Cpu::run`] to return at the next instruction boundary (edge).
pub const EXIT: u32 = 1 << 2;
/// DMA has overwritten translated code (edge).
pub const STALE: u32 = 1 << 3;
/// The physical memory map or the A20 gate has changed (edge).
pub const MAP: u32 = 1 << 4;
/// INIT: the processor resets at the next instruction boundary (edge); RAM is kept.
pub const INIT: u32 = 1 << 5;

/// Shared between board and CPU.
#[derive(Debug)]
pub struct Pins {
    lines: AtomicU32,
    /// 1 when address bit 20 passes.
    a20: AtomicU32,
}

impl Default for Pins {
    fn default() -> Self {
        Pins { lines: AtomicU32::new(0), a20: AtomicU32::new(1) }
    }
}

impl Pins {
    /// Sets the bits of `mask` (the constants of this module).
    pub fn raise(&self, mask: u32) {
        self.lines.fetch_or(mask, Ordering::Release);
    }
    /// Clears the bits of `mask`.
    pub fn clear(&self, mask: u32) {
        self.lines.fetch_and(!mask, Ordering::Release);
    }
    /// Drives INTR.
    pub fn set_intr(&self, level: bool) {
        if level { self.raise(INTR) } else { self.clear(INTR) }
    }
    /// All pins.
    #[inline(always)]
    pub fn get(&self) -> u32 {
        self.lines.load(Ordering::Relaxed)
    }
    /// Host address of the word that [`Pins::get`] reads, for compiled code.
    pub(crate) fn address(&self) -> usize {
        self.lines.as_ptr() as usize
    }
    /// Drives the A20 gate: `true` lets address bit 20 through.
    pub fn set_a20(&self, enabled: bool) {
        if self.a20.swap(u32::from(enabled), Ordering::AcqRel) != u32::from(enabled) {
            self.raise(MAP);
        }
    }
    /// State of the A20 gate.
    pub fn a20(&self) -> bool {
        self.a20.load(Ordering::Acquire) != 0
    }
}
