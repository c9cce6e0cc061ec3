//! String instructions (SDM vol. 1, 5.1.8): all through one helper that does one element, or a REP's bulk.

use super::{Lifter, seg_of};
use crate::helpers::{Helper, string};
use crate::ir::Width;
use crate::state::slot;
use iced_x86::{Instruction, Mnemonic, OpKind};

impl Lifter {
    pub(super) fn string(&mut self, ins: &Instruction) -> bool {
        use Mnemonic::*;
        let (kind, w) = match ins.mnemonic() {
            Movsb => (string::MOVS, Width::B),
            Movsw => (string::MOVS, Width::W),
            Movsd => (string::MOVS, Width::D),
            Cmpsb => (string::CMPS, Width::B),
            Cmpsw => (string::CMPS, Width::W),
            Cmpsd => (string::CMPS, Width::D),
            Stosb => (string::STOS, Width::B),
            Stosw => (string::STOS, Width::W),
            Stosd => (string::STOS, Width::D),
            Lodsb => (string::LODS, Width::B),
            Lodsw => (string::LODS, Width::W),
            Lodsd => (string::LODS, Width::D),
            Scasb => (string::SCAS, Width::B),
            Scasw => (string::SCAS, Width::W),
            Scasd => (string::SCAS, Width::D),
            Insb => (string::INS, Width::B),
            Insw => (string::INS, Width::W),
            Insd => (string::INS, Width::D),
            Outsb => (string::OUTS, Width::B),
            Outsw => (string::OUTS, Width::W),
            _ => (string::OUTS, Width::D),
        };
        let wide = (0..ins.op_count())
            .any(|n| matches!(ins.op_kind(n), OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI));
        let asize = if wide { Width::D } else { Width::W };
        let rep = ins.has_rep_prefix() || ins.has_repe_prefix() || ins.has_repne_prefix();
        let imm = string::Spec {
            kind,
            w,
            asize,
            seg: seg_of(ins.memory_segment()),
            rep,
            until_equal: ins.has_repne_prefix() && !ins.has_repe_prefix(),
        }
        .pack();
        let more = self.call(Helper::String, slot::ZERO, slot::ZERO, imm);
        if rep { self.repeat(more) } else { false }
    }
}
