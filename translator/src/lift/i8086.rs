//! What the 8086 decodes differently: no invalid opcodes, aliases of later instructions, no length limit. Recorded from
//! silicon (SingleStepTests 8086); Intel documents none of it.

use super::Lifter;
use crate::helpers::Helper;
use crate::ir::{Op, Src};
use crate::state::slot;
use iced_x86::{Code, Decoder, DecoderError, DecoderOptions, Instruction, Mnemonic, OpKind};

/// Helper selector: POP CS.
pub const POP_CS: u32 = 1;
/// Helper selector: SETMO and SETMOC.
pub const SETMO: u32 = 2;

fn is_prefix(b: u8) -> bool {
    matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0xf0..=0xf3)
}

fn opcode_at(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| is_prefix(**b)).count()
}

/// Decodes one instruction from bytes fetched so far; `None` if it needs more. The length counts every byte.
pub fn decode(bytes: &[u8]) -> Option<(Instruction, usize)> {
    let at = opcode_at(bytes);
    if at >= 14 {
        // Nothing but prefixes: each is harmless alone.
        return Some((Instruction::with(Code::Nopw), at));
    }
    let op = *bytes.get(at)?;
    if op == 0x0f {
        return Some((Instruction::with(Code::Nopw), at + 1));
    }
    let mut rewritten: Vec<u8> = bytes[..at].iter().copied().filter(|b| !matches!(b, 0xf0 | 0xf1)).collect();
    let dropped = at - rewritten.len();
    rewritten.push(match op {
        0x60..=0x6f => op + 0x10,
        0xc0 | 0xc1 | 0xc8 | 0xc9 => op + 2,
        // ESC: any of them has a word operand, whatever a coprocessor would make of it.
        0xd8..=0xdf => 0x8b,
        0xf1 => 0x90,
        _ => op,
    });
    if let Some(modrm) = bytes.get(at + 1) {
        rewritten.push(match op {
            0x8c | 0x8e => modrm & 0xdf,
            0x8f | 0xc6 | 0xc7 => modrm & 0xc7,
            0xff if modrm & 0x38 == 0x38 => modrm & 0xf7,
            _ => *modrm,
        });
        rewritten.extend_from_slice(&bytes[at + 2..]);
    }
    let options = DecoderOptions::NO_INVALID_CHECK;
    let mut d = Decoder::with_ip(16, &rewritten, dropped as u64, options);
    let ins = d.decode();
    match d.last_error() {
        DecoderError::None => Some((ins, ins.len() + dropped)),
        DecoderError::NoMoreBytes => None,
        _ if bytes.len() < at + 2 => None,
        // FE /2-7 and the like: the chip does something, nobody relies on it.
        _ => Some((Instruction::with(Code::Nopw), at + 2)),
    }
}

impl Lifter {
    /// Lifts an instruction that [`decode`] found at the start of `bytes`. True if it ends the block.
    pub(crate) fn instruction_8086(&mut self, ins: &Instruction, bytes: &[u8], len: usize) -> bool {
        self.next = len as i32;
        self.start = 0;
        let at = opcode_at(bytes);
        let op = bytes.get(at).copied().unwrap_or(0x90);
        let modrm = bytes.get(at + 1).copied().unwrap_or(0);
        match op {
            0x0f => {
                self.call(Helper::I8086, slot::ZERO, slot::ZERO, POP_CS);
                self.end_here()
            }
            0xd0..=0xd3 if modrm & 0x38 == 0x30 => {
                let count = if op >= 0xd2 { slot::RCX } else { self.constant(1) };
                self.modify(ins, |l, w, dst, a| {
                    let t = l.temp();
                    l.e(Op::Mov { w, dst: t, a });
                    let imm = SETMO | u32::from(w.bytes()) << 8;
                    l.e(Op::Call { helper: Helper::I8086, dst, a: t, b: count, imm });
                    l.e(Op::Mov { w, dst, a: slot::VTEMP_8086 });
                });
                false
            }
            // No coprocessor: the operand is read and forgotten.
            0xd8..=0xdf => {
                if ins.op_count() > 0 && (0..ins.op_count()).any(|n| ins.op_kind(n) == OpKind::Memory) {
                    let mem = self.mem(ins);
                    self.load(crate::ir::Width::W, mem);
                }
                false
            }
            0xd4 if modrm == 0 => {
                // AAM by zero leaves the flags of a zero result before it raises the divide error.
                let t = self.temp();
                self.e(Op::And {
                    w: crate::ir::Width::B,
                    f: true,
                    dst: t,
                    a: slot::ZERO,
                    b: Src { slot: slot::ZERO, imm: 0 },
                });
                self.dispatch(ins)
            }
            // LEA, LES and LDS of a register: no memory operand to speak of.
            0x8d | 0xc4 | 0xc5 if modrm >= 0xc0 => false,
            _ => {
                let negates = bytes[..at].iter().any(|b| matches!(b, 0xf2 | 0xf3));
                let ended = self.dispatch(ins);
                if negates && ins.mnemonic() == Mnemonic::Idiv {
                    // A REP prefix flips the sign of the quotient.
                    let w = self.width(ins, 0);
                    let t = self.temp();
                    self.e(Op::Sub { w, f: false, dst: t, a: slot::ZERO, b: Src { slot: slot::RAX, imm: 0 } });
                    self.e(Op::Insert { w, hi: false, dst: slot::RAX, a: t });
                }
                ended
            }
        }
    }
}
