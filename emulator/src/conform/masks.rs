//! What the manual leaves undefined and silicon does differently from Ring86: one reviewed entry each, as narrow as
//! possible. Where all silicon of a kind agrees on an undefined value, Ring86 follows it and there is no entry.

use super::generate::Encoding;
use iced_x86::{Code, Mnemonic};

/// Arithmetic flags.
pub mod flag {
    /// Carry.
    pub const CF: u32 = 1 << 0;
    /// Parity.
    pub const PF: u32 = 1 << 2;
    /// Auxiliary carry.
    pub const AF: u32 = 1 << 4;
    /// Zero.
    pub const ZF: u32 = 1 << 6;
    /// Sign.
    pub const SF: u32 = 1 << 7;
    /// Overflow.
    pub const OF: u32 = 1 << 11;
}

/// All of them.
pub const ARITHMETIC: u32 = 0x8D5;

/// What a comparison leaves out for one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    /// EFLAGS bits that count.
    pub eflags: u32,
    /// x87 status bits that count.
    pub fsw: u16,
    /// x87 results may differ in the last place.
    pub ulp: bool,
    /// Bytes of the memory operand (or the stack) that do not count: up to two ranges of offsets.
    pub memory: [(i64, i64); 2],
}

/// EFLAGS bits that exist and that a comparison sees; RF is in the frame of every fault and no result.
const EFLAGS: u32 = 0x0024_4FD5;

/// The mask for an instruction.
pub fn mask(encoding: &Encoding) -> Mask {
    use Mnemonic as M;
    let mut mask = Mask { eflags: EFLAGS, fsw: 0xFFFF, ulp: false, memory: [(0, 0); 2] };
    match encoding.instruction.mnemonic() {
        // SDM volume 2, FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1: "worst case error ... less than
        // 1 ulp" (volume 1, 8.3.10); C1 and PE follow the last place.
        M::Fsin | M::Fcos | M::Fsincos | M::Fptan | M::Fpatan | M::F2xm1 | M::Fyl2x | M::Fyl2xp1 => {
            mask.ulp = true;
            mask.fsw &= !0x0200;
        }
        // SDM volume 2, PUSH: a segment register pushed with 32-bit operands either is zero-extended or leaves the
        // upper word of the slot as it was. Zen does the former, recent Intel processors the latter.
        M::Push if encoding.instruction.op0_register().is_segment_register() => mask.memory[0] = (-2, 0),
        // SDM volume 1, 8.1.8 and volume 2, FSAVE: the last instruction and data pointers. AMD's FXRSTOR loads
        // them only with an exception pending (APM volume 2, 11.4.4), so the state before is not known.
        M::Fnstenv | M::Fnsave => {
            let wide = matches!(
                encoding.instruction.code(),
                Code::Fnstenv_m28byte | Code::Fnsave_m108byte | Code::Fstenv_m28byte | Code::Fsave_m108byte
            );
            mask.memory[0] = if wide { (12, 28) } else { (6, 14) };
        }
        // SDM volume 2, FXSAVE: opcode and pointers as above; MXCSR_MASK is the model's; the rest is reserved.
        M::Fxsave => mask.memory = [(5, 24), (28, 32)],
        _ => {}
    }
    mask
}
