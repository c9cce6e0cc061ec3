//! Flags that the 80286 leaves behind where its manual calls them undefined. Recorded from silicon (SingleStepTests
//! 80286); Intel documents none of it.

use super::Lifter;
use crate::helpers::Helper;
use crate::ir::{Src, Width};
use crate::state::{Slot, slot};

/// Helper selector: flags of SHR and SAR.
pub const SHIFT_RIGHT: u32 = 0x10;
/// Helper selector: flags of SHL.
pub const SHIFT_LEFT: u32 = 0x11;
/// Helper selector: flags of MUL and IMUL.
pub const MULTIPLY: u32 = 0x12;
/// Helper selector: flags of DIV.
pub const DIVIDE: u32 = 0x13;
/// Helper selector: flags of IDIV.
pub const DIVIDE_SIGNED: u32 = 0x14;
/// Helper selector: faults of PUSHA, found before its first store.
pub const PROBE_PUSHA: u32 = 0x15;

impl Lifter {
    /// AF after a shift by `count` that gave `result`.
    pub(super) fn shift_flags_286(&mut self, left: bool, result: Slot, count: Src) {
        let b = if count.slot == slot::ZERO { self.constant(count.imm as u64) } else { count.slot };
        self.call(Helper::I8086, result, b, if left { SHIFT_LEFT } else { SHIFT_RIGHT });
    }

    /// AF, SF, ZF and PF after a multiplication whose upper half is `hi`.
    pub(super) fn multiply_flags_286(&mut self, w: Width, hi: Slot) {
        self.call(Helper::I8086, hi, slot::ZERO, MULTIPLY | u32::from(w.bytes()) << 8);
    }

    /// The arithmetic flags that a division of `hi`:xAX by `divisor` leaves, emitted before it: #DE shows them too.
    pub(super) fn divide_flags_286(&mut self, w: Width, signed: bool, hi: Slot, divisor: Slot) {
        let what = if signed { DIVIDE_SIGNED } else { DIVIDE };
        self.call(Helper::I8086, hi, divisor, what | u32::from(w.bytes()) << 8);
    }
}
