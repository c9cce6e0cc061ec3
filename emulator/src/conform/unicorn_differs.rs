//! Where Unicorn 2.0.1 is wrong: what it does instead of what the manual says and the host's processor does.

use super::generate::Encoding;
use super::layout::vector::{ALIGNMENT, INVALID, PAGE, PROTECTION, STACK};
use super::layout::{NO_EXCEPTION, field, get32};
use super::masks::Mask;
use iced_x86::{Code, CpuidFeature, Mnemonic, OpKind, RflagsBits};

/// Why a case in which Unicorn (`expected`) and Ring86 (`got`) differ is Unicorn's fault, if it is. `native` asks the
/// host's processor about the same cases, and it does as Ring86 does.
pub(super) fn known(encoding: &Encoding, expected: &[u8], got: &[u8]) -> Option<&'static str> {
    let (theirs, ours) = (get32(expected, field::VECTOR), get32(got, field::VECTOR));
    let mnemonic = encoding.instruction.mnemonic();
    match ours {
        INVALID if theirs != ours && encoding.instruction.has_lock_prefix() => {
            Some("LOCK is taken before any instruction (SDM volume 2, LOCK)")
        }
        STACK | PROTECTION if theirs != ours && encoding.uses_memory() => {
            Some("no segment limits or types, and no alignment of 16-byte operands (SDM volume 3, 5.3 and 6.15)")
        }
        ALIGNMENT if theirs != ours => Some("no alignment check (SDM volume 3, 6.15, interrupt 17)"),
        PROTECTION if theirs != ours && matches!(mnemonic, Mnemonic::In | Mnemonic::Out) => {
            Some("ports are free for all (SDM volume 1, 19.5.1)")
        }
        PAGE if theirs == ours && matches!(mnemonic, Mnemonic::Pusha | Mnemonic::Pushad) => {
            Some("EDI is pushed first (SDM volume 2, PUSHA: EAX)")
        }
        PAGE if theirs == ours && matches!(mnemonic, Mnemonic::Rcl | Mnemonic::Rcr) => {
            Some("flags change although the store faults (SDM volume 3, 6.5: faults)")
        }
        PAGE if theirs != ours && mnemonic == Mnemonic::Clflush => {
            Some("CLFLUSH looks at no page (SDM volume 2, CLFLUSH: #PF)")
        }
        _ if theirs == PAGE && theirs != ours && mnemonic == Mnemonic::Arpl => {
            Some("ARPL writes what it does not change (SDM volume 2, ARPL)")
        }
        _ if mnemonic == Mnemonic::Enter => {
            Some("ENTER looks at no page of the new frame, and EBP keeps its half (SDM volume 2, ENTER)")
        }
        _ if theirs == INVALID
            && matches!(
                encoding.instruction.code(),
                Code::Reservednop_rm16_r16_0F18 | Code::Reservednop_rm32_r32_0F18
            ) =>
        {
            Some("0F 18 with a register is refused (SDM volume 2, opcode map: reserved NOP)")
        }
        _ if theirs == INVALID
            && matches!(
                encoding.instruction.code(),
                Code::Test_rm8_imm8_F6r1 | Code::Test_rm16_imm16_F7r1 | Code::Test_rm32_imm32_F7r1
            ) =>
        {
            Some("F6 and F7 /1 are refused (APM volume 3, A.2.2: TEST)")
        }
        NO_EXCEPTION if encoding.instruction.code() == Code::Bswap_r16 => {
            Some("BSWAP of 16 bits swaps 32: undefined (SDM volume 2, BSWAP)")
        }
        _ if theirs == ours && matches!(encoding.instruction.code(), Code::Retnw_imm16 | Code::Retnd_imm16) => {
            Some("RET takes its operand for signed (SDM volume 2, RET)")
        }
        _ => None,
    }
}

/// Why Unicorn is not asked about an instruction.
pub(super) fn not_asked(features: &[CpuidFeature]) -> Option<&'static str> {
    use CpuidFeature as F;
    let vector = |feature: &F| matches!(feature, F::FPU | F::FPU287 | F::FPU387 | F::MMX | F::SSE | F::SSE2 | F::FXSR);
    features
        .iter()
        .any(vector)
        .then_some("floating point without exceptions, MMX registers without the upper bits that a write sets")
}

/// Leaves out what Unicorn does not say: error codes, and whatever the manual leaves undefined (the masks have only that in
/// which processors differ from each other).
pub(super) fn narrow(encoding: &Encoding, mask: &mut Mask) {
    mask.no_error_code = true;
    let mut undefined = encoding.instruction.rflags_undefined();
    let i = &encoding.instruction;
    if matches!(i.mnemonic(), Mnemonic::Rcl | Mnemonic::Rcr)
        && i.op1_kind() == OpKind::Immediate8
        && i.immediate8() != 1
    {
        // Of a count that comes to no rotation at all, too (SDM volume 2, RCL).
        undefined |= RflagsBits::OF;
    }
    for (bit, eflag) in [
        (RflagsBits::OF, 1 << 11),
        (RflagsBits::SF, 1 << 7),
        (RflagsBits::ZF, 1 << 6),
        (RflagsBits::AF, 1 << 4),
        (RflagsBits::CF, 1 << 0),
        (RflagsBits::PF, 1 << 2),
    ] {
        if undefined & bit != 0 {
            mask.eflags &= !eflag;
        }
    }
}
