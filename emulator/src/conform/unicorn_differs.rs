//! Where Unicorn 2.0.1 is wrong: what it does instead of what the manual says and the host's processor does.

use super::generate::Encoding;
use super::layout::{field, get32};
use super::masks::Mask;
use iced_x86::{CpuidFeature, Mnemonic, RflagsBits};

/// Exceptions by vector.
const INVALID: u32 = 6;
const STACK: u32 = 12;
const PROTECTION: u32 = 13;
const PAGE: u32 = 14;
const ALIGNMENT: u32 = 17;

/// Why a case in which Unicorn (`expected`) and Ring86 (`got`) differ is Unicorn's fault, if it is. `native` asks the
/// host's processor about the same cases, and it does as Ring86 does.
pub(super) fn known(encoding: &Encoding, expected: &[u8], got: &[u8]) -> Option<&'static str> {
    let (theirs, ours) = (get32(expected, field::VECTOR), get32(got, field::VECTOR));
    match ours {
        INVALID if theirs != ours && encoding.instruction.has_lock_prefix() => {
            Some("LOCK is taken before any instruction (SDM volume 2, LOCK)")
        }
        STACK | PROTECTION if theirs != ours && encoding.uses_memory() => {
            Some("no segment limits or types, and no alignment of 16-byte operands (SDM volume 3, 5.3 and 6.15)")
        }
        ALIGNMENT if theirs != ours => Some("no alignment check (SDM volume 3, 6.15, interrupt 17)"),
        PAGE if theirs == ours && matches!(encoding.instruction.mnemonic(), Mnemonic::Pusha | Mnemonic::Pushad) => {
            Some("EDI is pushed first (SDM volume 2, PUSHA: EAX)")
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
    let undefined = encoding.instruction.rflags_undefined();
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
