//! MMX, SSE and SSE2.

use super::Lifter;
use crate::fault::Res;
use crate::state::{State, VSlot};
use iced_x86::Instruction;

/// Vector operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum VecOp {
    /// Bitwise and.
    And,
}

/// Runs one.
pub(crate) fn exec(s: &mut State, op: VecOp, dst: VSlot, a: VSlot, b: VSlot, _imm: u8) -> Res<()> {
    match op {
        VecOp::And => s.vectors[usize::from(dst & 31)] = s.vectors[usize::from(a & 31)] & s.vectors[usize::from(b & 31)],
    }
    Ok(())
}

impl Lifter {
    pub(super) fn vector(&mut self, _ins: &Instruction) -> bool {
        self.undefined()
    }
}
