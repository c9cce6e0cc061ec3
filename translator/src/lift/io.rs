//! Port I/O (SDM vol. 1, 5.1.9). An access that raises an interrupt stops the block at the next boundary by itself.

use super::Lifter;
use crate::helpers::Helper;
use iced_x86::{Instruction, Mnemonic, OpKind};

impl Lifter {
    pub(super) fn io(&mut self, ins: &Instruction) -> bool {
        let input = ins.mnemonic() == Mnemonic::In;
        let (reg, port) = if input { (0, 1) } else { (1, 0) };
        let port = match ins.op_kind(port) {
            OpKind::Register => crate::state::slot::RDX,
            _ => self.constant(u64::from(ins.immediate8())),
        };
        let r = ins.op_register(reg);
        if input {
            let a = self.call(Helper::In, port, crate::state::slot::ZERO, r.size() as u32);
            self.write_reg(r, a);
        } else {
            self.call(Helper::Out, port, crate::state::slot::RAX, r.size() as u32);
        }
        false
    }
}
