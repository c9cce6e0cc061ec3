//! x87.

use super::Lifter;
use crate::fault::Res;
use crate::state::{Slot, State};
use iced_x86::Instruction;

/// x87 operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FpuOp {
    /// FNINIT.
    Init,
}

/// Runs one.
pub(crate) fn exec(s: &mut State, op: FpuOp, _sti: u8, _a: Slot, _b: Slot) -> Res<()> {
    match op {
        FpuOp::Init => s.fpu.reset(),
    }
    Ok(())
}

/// True for instructions of the x87 unit.
pub(crate) fn is_x87(ins: &Instruction) -> bool {
    let op = ins.code().op_code();
    (0xd8..=0xdf).contains(&op.op_code()) && op.table() == iced_x86::OpCodeTableKind::Normal || op.op_code() == 0x9b
}

impl Lifter {
    pub(super) fn x87(&mut self, _ins: &Instruction) -> bool {
        self.undefined()
    }
}
