//! What may be changed in a case without sending the native processor to places that are not its own, and where a
//! case's operands lie.

use super::address::{Anchor, PAGE, linear_address};
use super::content::Content;
use super::generate::{Encoding, decode, is_near_branch};
use super::layout::{field, get32};
use iced_x86::{ConstantOffsets, Mnemonic};

impl Encoding {
    /// Whether it reads or writes memory.
    pub fn uses_memory(&self) -> bool {
        !self.windows.is_empty()
    }

    /// Whether an operand of the case in `record` lies in two pages.
    pub fn straddles(&self, record: &[u8]) -> bool {
        let gpr = field::GPR.map(|offset| get32(record, offset));
        let segments = self.placement.environment.segments();
        self.windows.iter().any(|window| {
            let size = match window.anchor {
                Anchor::Operand(operand) => operand.size,
                Anchor::Stack(size) | Anchor::Frame(size) => size,
            };
            let linear = linear_address(window.anchor, &gpr, segments);
            linear & (PAGE - 1) > PAGE.saturating_sub(size)
        })
    }

    /// The general registers that may hold any number without sending the native processor to places that are not
    /// its own.
    pub fn free_registers(&self) -> [bool; 8] {
        let mut free = [true; 8];
        // The stack pointer is where a fault's frame would go, were it the harness's own.
        free[4] = false;
        for window in &self.windows {
            match window.anchor {
                Anchor::Operand(operand) => {
                    for register in [operand.base, operand.index].into_iter().flatten() {
                        free[register] = false;
                    }
                    free[0] &= !operand.index_al;
                }
                Anchor::Stack(_) => {}
                Anchor::Frame(_) => free[5] = false,
            }
        }
        free[1] &= !self.is_repeated();
        let bits = matches!(self.instruction.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc);
        let bit = self.bit_register().filter(|_| bits && self.uses_memory());
        let others = [self.landing_register, self.selector_register(), bit];
        for register in others.into_iter().flatten() {
            free[register] = false;
        }
        free
    }

    /// Whether its memory may hold any bytes, too.
    pub fn free_memory(&self) -> bool {
        use Mnemonic as M;
        !matches!(self.content, Content::Landing | Content::Selector | Content::FarPointer)
            && !matches!(self.instruction.mnemonic(), M::Popf | M::Popfd | M::Fxrstor | M::Ldmxcsr)
    }

    /// Where displacement and immediate lie in its bytes.
    pub fn constants(&self) -> ConstantOffsets {
        decode(self.placement, &self.bytes).map(|(_, constants)| constants).unwrap_or_default()
    }

    /// Whether its immediate is a place to go to.
    pub fn is_branch(&self) -> bool {
        self.instruction.op_count() > 0 && is_near_branch(self.instruction.op0_kind())
    }

    /// Whether its operands lie where those of `other` do, with the state of `record`.
    pub fn reaches_same(&self, other: &Encoding, record: &[u8]) -> bool {
        let gpr = field::GPR.map(|offset| get32(record, offset));
        let places = |encoding: &Encoding| -> Vec<u32> {
            let segments = encoding.placement.environment.segments();
            encoding.windows.iter().map(|window| linear_address(window.anchor, &gpr, segments)).collect()
        };
        places(self) == places(other)
    }
}
