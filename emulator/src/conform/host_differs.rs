//! Where processors of one make do what the manual leaves to them, or what an implementation may, and Ring86 does as
//! those of another make: whole cases that have no mask. Seen on the processors that `docs/conformance.md` names.

use super::generate::Encoding;
use super::layout::vector::{ALIGNMENT, BOUND, PAGE, PROTECTION, STACK};
use super::layout::{FX_LEN, NO_EXCEPTION, field, get32, put32};
use super::masks::{ARITHMETIC, mask};
use super::native::Maker;
use super::report::compare;
use iced_x86::{Code, Mnemonic};

/// Why a case in which a host of this make (`expected`) and Ring86 (`got`) differ is neither's fault, if it is.
pub(super) fn known(
    maker: Maker,
    encoding: &Encoding,
    input: &[u8],
    expected: &[u8],
    got: &[u8],
) -> Option<&'static str> {
    match maker {
        Maker::Amd => None,
        Maker::Intel | Maker::Other => intel(maker, encoding, input, expected, got),
    }
}

/// Seen on Intel's Sapphire Rapids.
fn intel(maker: Maker, encoding: &Encoding, input: &[u8], expected: &[u8], got: &[u8]) -> Option<&'static str> {
    use Mnemonic as M;
    let instruction = &encoding.instruction;
    let (theirs, ours) = (get32(expected, field::VECTOR), get32(got, field::VECTOR));
    let mask = mask(encoding, maker);
    // Whether they are the same but for what `patch` takes from the host.
    let same_but = |patch: &dyn Fn(&mut [u8])| {
        let mut got = got.to_vec();
        patch(&mut got);
        compare(encoding, mask, input, expected, &got).is_none()
    };
    let take = |at: usize| move |got: &mut [u8]| put32(got, at, get32(expected, at));
    let memory_fault = |vector| matches!(vector, STACK | PROTECTION | PAGE | ALIGNMENT);
    let fx = encoding.shape.fx_offset();
    let take_underflow = |got: &mut [u8]| {
        let ours = get32(got, fx);
        put32(got, fx, ours ^ (ours ^ get32(expected, fx)) & UNDERFLOW);
    };
    let windows = encoding.shape.window_offset(0)..encoding.shape.window_offset(1) + encoding.shape.window[1];
    match instruction.mnemonic() {
        M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Scasb | M::Scasw | M::Scasd
            if theirs != NO_EXCEPTION
                && (instruction.has_rep_prefix() || instruction.has_repne_prefix())
                && (get32(expected, field::EFLAGS) ^ get32(input, field::EFLAGS)) & ARITHMETIC == 0
                && same_but(&take(field::EFLAGS)) =>
        {
            Some("a repetition that faults leaves the flags as they were before it (SDM volume 2, REP)")
        }
        M::Bound if theirs == BOUND && memory_fault(ours) => {
            Some("the lower bound is compared before the upper one is read")
        }
        M::Pop if instruction.op0_register().is_segment_register() && ours == ALIGNMENT => {
            Some("of 32 bits for a segment register the lower half is read (SDM volume 2, POP)")
        }
        // Its own place goes onto the stack, too, where it makes more than one level.
        M::Enter
            if theirs == NO_EXCEPTION
                && get32(input, field::GPR[4]) & 0xFFFF < 4
                && (get32(expected, field::GPR[5]) ^ get32(got, field::GPR[5])) & 0xFFFF == 0
                && same_but(&|got| {
                    take(field::GPR[5])(got);
                    got[windows.clone()].copy_from_slice(&expected[windows.clone()]);
                }) =>
        {
            Some("EBP has all bits of a subtraction from ESP, where only SP is counted down")
        }
        M::Fst | M::Fstp | M::Fist | M::Fistp | M::Fbstp
            if memory_fault(ours) && theirs == NO_EXCEPTION && get32(expected, fx) >> 16 & 0x80 != 0 =>
        {
            Some("an unmasked exception of a store comes before the fault of its operand")
        }
        M::Fstp | M::Fbstp
            if theirs != NO_EXCEPTION
                && matches!(instruction.code(), Code::Fstp_m80fp | Code::Fbstp_m80bcd)
                && same_but(&|got| got[windows.clone()].copy_from_slice(&expected[windows.clone()])) =>
        {
            Some("of a store of ten bytes that faults a part may be in memory")
        }
        _ if mask.ulp
            && [fx + 40, fx + 56].iter().any(|st| get32(expected, *st) & 0x7FFF <= 1)
            && same_but(&|got| {
                take_underflow(got);
                // With the exception unmasked the smaller one has another exponent, too.
                if get32(input, fx) & UNDERFLOW_MASK == 0 {
                    got[fx + 32..fx + 64].copy_from_slice(&expected[fx + 32..fx + 64]);
                }
            }) =>
        {
            Some("between the smallest normal number and the largest below it is the last place")
        }
        M::Fscale | M::Fprem | M::Fprem1
            if get32(input, fx) & UNDERFLOW_MASK == 0
                && get32(expected, fx + 40) & 0x7FFF == 0
                && expected[fx + 32..fx + 42] == input[fx + 32..fx + 42]
                && same_but(&|got| {
                    take_underflow(got);
                    got[fx + 32..fx + 48].copy_from_slice(&expected[fx + 32..fx + 48]);
                }) =>
        {
            Some("a tiny operand that comes back as it is does not raise an unmasked underflow")
        }
        _ if theirs != NO_EXCEPTION
            && (0..instruction.op_count()).any(|n| instruction.op_register(n).is_mm())
            && get32(expected, fx) >> 16 & TOP == 0
            && same_but(&|got| top_to_0(&mut got[fx..fx + FX_LEN])) =>
        {
            Some("an MMX store that faults has set TOP to 0")
        }
        _ => None,
    }
}

/// TOP in the x87 status word.
const TOP: u32 = 0x3800;
/// UE in the x87 status word, with ES and B that follow it, as they lie in the first doubleword of an FXSAVE image.
const UNDERFLOW: u32 = 0x8090 << 16;
/// UM in the control word, there.
const UNDERFLOW_MASK: u32 = 0x10;

/// Turns an FXSAVE image's stack, so that its top is the first physical register.
fn top_to_0(fx: &mut [u8]) {
    let first = get32(fx, 0);
    let top = (first >> 16 & TOP) as usize >> 11;
    put32(fx, 0, first & !(TOP << 16));
    // ST(0) is the physical register TOP.
    fx[32..32 + 16 * 8].rotate_right(16 * top);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::generate::encoding_of;
    use crate::conform::layout::{Environment, Placement};

    #[test]
    fn only_what_a_make_is_known_for_is_left_out() {
        let placement = Placement { environment: Environment::Flat32, offset: 0x8100 };
        let encoding = encoding_of(placement, &[0xF3, 0xA6]).expect("REPE CMPSB");
        let mut input = vec![0; encoding.shape.stride()];
        put32(&mut input, field::EFLAGS, 0x202);
        put32(&mut input, field::VECTOR, PAGE);
        // The host's flags are as before the repetition, Ring86's those of the elements before the fault.
        let (mut host, mut ours) = (input.clone(), input.clone());
        put32(&mut ours, field::EFLAGS, 0x246);
        assert!(known(Maker::Intel, &encoding, &input, &host, &ours).is_some());
        assert!(known(Maker::Other, &encoding, &input, &host, &ours).is_some());
        assert_eq!(known(Maker::Amd, &encoding, &input, &host, &ours), None);
        // A register besides is a difference, and so are flags that come from nowhere.
        put32(&mut ours, field::GPR[1], 1);
        assert_eq!(known(Maker::Intel, &encoding, &input, &host, &ours), None);
        put32(&mut ours, field::GPR[1], 0);
        put32(&mut host, field::EFLAGS, 0x203);
        assert_eq!(known(Maker::Intel, &encoding, &input, &host, &ours), None);
    }

    #[test]
    fn a_turned_stack_has_its_registers_where_they_were() {
        let mut fx = [0; FX_LEN];
        put32(&mut fx, 0, 0x2A00_037F);
        // ST(3) with TOP 5 is the physical register 0.
        fx[32 + 16 * 3] = 7;
        top_to_0(&mut fx);
        assert_eq!((get32(&fx, 0), fx[32]), (0x0200_037F, 7));
    }
}
