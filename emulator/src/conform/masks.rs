//! What the manual leaves undefined and silicon does differently from Ring86: one reviewed entry each, as narrow as
//! possible. Where all silicon of a kind agrees on an undefined value, Ring86 follows it and there is no entry.

use super::generate::Encoding;
use super::native::Maker;
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
    /// OF counts for shifts and rotates by 0 and 1 only.
    pub of_single: bool,
    /// x87 status bits that count.
    pub fsw: u16,
    /// x87 status bits that count when the instruction leaves an unmasked exception pending.
    pub fsw_unmasked: u16,
    /// EFLAGS bits that count when the instruction leaves an unmasked x87 exception pending.
    pub eflags_unmasked: u32,
    /// x87 results may differ in the last place.
    pub ulp: bool,
    /// Singles need only be as near to the true value as the manual promises for RCPPS and RSQRTPS.
    pub approximate: bool,
    /// The judge does not show error codes.
    pub no_error_code: bool,
    /// CR2 need only be in the operand.
    pub many_accesses: bool,
    /// Bytes of the memory operand (or the stack) that do not count: up to two ranges of offsets.
    pub memory: [(i64, i64); 2],
}

/// Compares everything: shows what the masks are for on this host.
pub const NOTHING_LEFT_OUT: Mask = Mask {
    eflags: EFLAGS,
    of_single: false,
    fsw: 0xFFFF,
    fsw_unmasked: 0xFFFF,
    eflags_unmasked: !0,
    ulp: false,
    approximate: false,
    no_error_code: false,
    many_accesses: false,
    memory: [(0, 0); 2],
};

/// EFLAGS bits that exist and that a comparison sees; RF is in the frame of every fault and no result.
const EFLAGS: u32 = 0x0024_4FD5;

/// The mask for an instruction and a processor of this make.
pub fn mask(encoding: &Encoding, maker: Maker) -> Mask {
    use Mnemonic as M;
    let mut mask = NOTHING_LEFT_OUT;
    // What is left out for a make is left out for one of which nothing is known.
    let (amd, intel) = (maker != Maker::Intel, maker != Maker::Amd);
    let only = |make: bool, flags: u32| if make { flags } else { 0 };
    match encoding.instruction.mnemonic() {
        // SDM volume 2, SAL/SAR/SHL/SHR: "the AF flag is undefined" for a count other than 0. Zen sets it, Intel
        // clears it, as Ring86 does. "The OF flag is affected only on 1-bit shifts": Zen has one rule for all counts, which
        // is compared.
        M::Shl | M::Sal | M::Shr | M::Sar => {
            mask.eflags &= !only(amd, flag::AF);
            mask.of_single = intel;
        }
        // SDM volume 2, RCL/RCR/ROL/ROR: "the OF flag is defined only for the 1-bit rotates": as above.
        M::Rol | M::Ror | M::Rcl | M::Rcr => mask.of_single = intel,
        // SDM volume 2, BSF and BSR: "the CF, OF, SF, AF, and PF flags are undefined". Zen leaves them, as Ring86 does.
        M::Bsf | M::Bsr => mask.eflags &= !only(intel, flag::CF | flag::OF | flag::SF | flag::AF | flag::PF),
        // SDM volume 2, SHLD and SHRD: AF is undefined; for a count above 1 OF is undefined.
        M::Shld | M::Shrd => {
            mask.eflags &= !only(amd, flag::AF | flag::OF);
            mask.of_single = intel;
        }
        // SDM volume 2, MUL and IMUL: "the SF, ZF, AF, and PF flags are undefined".
        M::Mul | M::Imul => mask.eflags &= !(flag::ZF | only(amd, flag::SF | flag::AF | flag::PF)),
        // SDM volume 2, DIV and IDIV: "the CF, OF, SF, ZF, AF, and PF flags are undefined". Intel leaves them, as Ring86
        // does.
        M::Div | M::Idiv => mask.eflags &= !only(amd, ARITHMETIC),
        // SDM volume 2, AAA and AAS: "the OF, SF, ZF, and PF flags are undefined". Ring86 does as Intel.
        M::Aaa | M::Aas => mask.eflags &= !only(amd, flag::OF | flag::SF | flag::ZF | flag::PF),
        // SDM volume 2, DAA and DAS: "the OF flag is undefined". Ring86 does as Intel.
        M::Daa | M::Das => mask.eflags &= !only(amd, flag::OF),
        // SDM volume 2, FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1: "worst case error ... less than
        // 1 ulp" (volume 1, 8.3.10); C1 and PE follow the last place.
        M::Fsin | M::Fcos | M::Fsincos | M::Fptan | M::Fpatan | M::F2xm1 | M::Fyl2x | M::Fyl2xp1 => {
            mask.ulp = true;
            mask.fsw &= !0x0200;
        }
        // SDM volume 2, PUSH: a segment register pushed with 32-bit operands either is zero-extended or leaves the
        // upper word of the slot as it was. Zen does the former, recent Intel processors and Ring86 the latter.
        M::Push if amd && encoding.instruction.op0_register().is_segment_register() => mask.memory[0] = (-2, 0),
        // SDM volume 2, FCOMI: C1 is "set to 0"; Zen and Intel's Sapphire Rapids leave it. "If the
        // invalid-arithmetic-operand exception is unmasked, the status flags are not set"; both set them. So does Ring86.
        // What Zen does about an empty register has not been looked at.
        M::Fcomi | M::Fcomip | M::Fucomi | M::Fucomip if amd => {
            mask.fsw &= !0x0200;
            mask.eflags_unmasked &= !ARITHMETIC;
        }
        // SDM volume 2, FCOM: "if the invalid-arithmetic-operand exception is unmasked, the condition code flags are
        // not set"; Zen and Sapphire Rapids set them, as Ring86 does. Again not looked at: Zen and an empty register.
        M::Fcom | M::Fcomp | M::Fcompp | M::Fucom | M::Fucomp | M::Fucompp | M::Ficom | M::Ficomp | M::Ftst if amd => {
            mask.fsw_unmasked &= !0x4500;
        }
        // SDM volume 2, FFREE: "C0, C1, C2, C3: undefined".
        M::Ffree | M::Ffreep => mask.fsw &= if amd { !0x4700 } else { !0x0200 },
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
        // SDM volume 2, RCPPS and RSQRTPS: "relative error for this approximation is <= 1.5 * 2^-12"; tables differ.
        M::Rcpps | M::Rcpss | M::Rsqrtps | M::Rsqrtss => mask.approximate = true,
        _ => {}
    }
    mask.many_accesses = many_accesses(encoding.instruction.mnemonic(), maker);
    mask
}

/// Bytes of the longest memory operand, FXSAVE's.
pub const LONGEST_OPERAND: u32 = 512;

/// Whether it differs which part of the operand faults: the order in which the parts of a long one are accessed is not
/// architectural.
pub fn many_accesses(mnemonic: Mnemonic, maker: Maker) -> bool {
    use Mnemonic as M;
    match mnemonic {
        M::Fldenv | M::Frstor | M::Fxrstor | M::Popa | M::Popad | M::Fnstenv | M::Fnsave | M::Fxsave => true,
        M::Maskmovdqu => maker != Maker::Amd,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::generate::encoding_of;
    use crate::conform::layout::{Environment, Placement};

    #[test]
    fn of_an_unknown_make_the_least_is_compared() {
        let placement = Placement { environment: Environment::Flat32, offset: 0x8100 };
        // SHL, ROL, BSF, SHLD, MUL, DIV, AAA, DAA, PUSH ES, FFREE, ADD.
        let codes: [&[u8]; 11] = [
            &[0xC1, 0xE0, 5],
            &[0xC1, 0xC0, 5],
            &[0x0F, 0xBC, 0xC1],
            &[0x0F, 0xA4, 0xC8, 5],
            &[0xF7, 0xE1],
            &[0xF7, 0xF1],
            &[0x37],
            &[0x27],
            &[0x06],
            &[0xDD, 0xC1],
            &[0x01, 0xC8],
        ];
        let mut differing = 0;
        for code in codes {
            let encoding = encoding_of(placement, code).expect("an instruction that is generated");
            let [amd, intel, other] = [Maker::Amd, Maker::Intel, Maker::Other].map(|maker| mask(&encoding, maker));
            assert_eq!(other.eflags, amd.eflags & intel.eflags, "{code:x?}");
            assert_eq!(other.fsw, amd.fsw & intel.fsw, "{code:x?}");
            assert_eq!(other.of_single, amd.of_single | intel.of_single, "{code:x?}");
            // No maker has a mask for memory here but AMD.
            assert_eq!(other.memory, amd.memory, "{code:x?}");
            differing += u32::from(amd != intel);
        }
        assert_eq!(differing, 10);
    }
}
