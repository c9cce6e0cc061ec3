//! Byte strings that may be instructions, and which of them the host is asked about.

use super::{Case, End, MOST};
use crate::conform::address::{Anchor, explicit_operand, linear_address, string_operands};
use crate::conform::generate::is_near_branch;
use crate::conform::layout::{
    ABSENT_PAGE, ARENA, ARENA_LEN, CODE, Environment, HARNESS_LEN, LOW, READ_ONLY_PAGE, Segment, TOTAL_LEN, seg,
};
use crate::conform::templates::{NOT_CLAIMED, excluded};
use crate::conform::values::Random;
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

const PREFIXES: [u8; 11] = [0x66, 0x67, 0xF2, 0xF3, 0xF0, 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65];

/// Registers of every case. In segments they are offsets, in the flat environment addresses in the arena; ECX counts.
pub fn registers(environment: Environment) -> [u32; 8] {
    let base = if environment == Environment::Flat32 { ARENA } else { 0 };
    [0x1240, 3u32.wrapping_sub(base), 0x2280, 0x32C0, 0x5000, 0x6000, 0x1400, 0x2400].map(|r| base.wrapping_add(r))
}

/// A random case of `len` bytes. Where a whole instruction ends before the last of them, the rest is INT3.
pub fn random(environment: Environment, end: End, len: usize, r: &mut Random) -> Case {
    let mut bytes = Vec::with_capacity(2 * MOST);
    let prefixes = match r.below(20) {
        0..=9 => 0,
        10..=13 => 1,
        14..=15 => 2,
        16..=17 => 3,
        18 => r.below(6),
        _ => r.below(16),
    };
    for _ in 0..prefixes {
        let which = if r.one_in(2) { &PREFIXES[..5] } else { &PREFIXES };
        bytes.push(r.pick(which));
    }
    match r.below(20) {
        0..=8 => {}
        9 => bytes.extend([0x0F, r.pick(&[0x38, 0x3A])]),
        10 => bytes.push(r.pick(&[0xC4, 0xC5, 0x62, 0x8F])),
        _ => bytes.push(0x0F),
    }
    bytes.push(r.next32() as u8);
    // ModRM and SIB: the forms without a base, with one, and with displacements of each size are as frequent.
    if r.one_in(2) {
        for edges in [&[4, 5, 6][..], &[4, 5]] {
            let low = if r.one_in(3) { r.below(8) } else { r.pick(edges) };
            bytes.push((r.below(4) << 6 | r.below(8) << 3 | low) as u8);
        }
    }
    while bytes.len() < 2 * MOST {
        bytes.push(r.int32() as u8);
    }
    let mut case = Case { environment, end, bytes };
    if let Some((_, length)) = decode(&case, len, DecoderOptions::NONE)
        && length < len
    {
        case.bytes[length..].fill(0xCC);
    }
    case
}

/// The instruction that the case's bytes are if its code ends `len` bytes after its start, whatever is behind.
fn decode(case: &Case, len: usize, options: u32) -> Option<(Instruction, usize)> {
    let ip = u64::from(case.end.offset() + CODE) - len as u64 - u64::from(case.environment.code_base());
    let mut decoder = Decoder::with_ip(case.environment.bits(), &case.bytes, ip, options);
    let instruction = decoder.decode();
    (!instruction.is_invalid()).then_some((instruction, instruction.len()))
}

/// What the instruction is, as far as the host must not run it, or runs it because it has more instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The host is asked.
    Yes,
    /// It is not, with the reason.
    No(&'static str),
    /// No model claims the instruction, so it must be #UD, whatever the host has.
    Undefined,
}

/// The bytes behind the prefixes.
pub fn opcode(case: &Case) -> &[u8] {
    let at = case.bytes.iter().position(|byte| !PREFIXES.contains(byte)).unwrap_or(case.bytes.len());
    &case.bytes[at..]
}

/// Whether the host can be asked about the first `len` of the case's bytes, before which and behind which no more is
/// to be had.
pub fn asked(case: &Case, len: usize) -> Asked {
    if let [0x0F, 0xB9 | 0xFF, ..] = opcode(case) {
        return Asked::No("Intel takes a ModRM byte, AMD none");
    }
    if let [0xC7, 0xF8, ..] = opcode(case) {
        return Asked::No("a transaction on Intel's processors, which ends at a place of chance");
    }
    let whole = decode(case, len, DecoderOptions::NONE);
    let Some((instruction, length)) = whole else { return asked_invalid(case, len) };
    if case.bytes[..len].iter().skip(length).any(|byte| *byte != 0xCC) {
        return Asked::No("more than one instruction");
    }
    match excluded(instruction.code()) {
        Some(NOT_CLAIMED) if older(&instruction) => return Asked::No("another instruction on processors without it"),
        Some(NOT_CLAIMED) if length <= len => return Asked::Undefined,
        Some(NOT_CLAIMED) => return Asked::No(NOT_CLAIMED),
        _ if length > len => return Asked::Yes,
        Some(reason) => return Asked::No(reason),
        None => {}
    }
    run(case, &instruction, len)
}

/// Whether processors without the instruction's feature take its bytes for another one: BSF and BSR with a prefix,
/// WBINVD with a prefix, and NOPs.
fn older(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(instruction.mnemonic(), M::Tzcnt | M::Lzcnt | M::Wbnoinvd | M::Prefetchw | M::Prefetch | M::Prefetchwt1)
        || matches!(instruction.mnemonic(), M::Endbr32 | M::Endbr64 | M::Rdsspd | M::Reservednop | M::Nop)
}

/// Bytes that are no instruction to a decoder that knows all of them.
fn asked_invalid(case: &Case, len: usize) -> Asked {
    // What other processors have added since SSE2 depends on the host. 0F 78 and 0F 79 are SSE4a's or
    // VMX's, register forms of 0F 01 those of many.
    let other = match opcode(case) {
        [0x0F, 0x78 | 0x79, ..] | [0x0F, 0x01, 0xC0..=0xFF, ..] => true,
        [0x0F, 0x38 | 0x3A | 0x0F | 0x0E, ..] => true,
        [0xC4 | 0xC5 | 0x62, modrm, ..] => *modrm >= 0xC0,
        [0x8F, modrm, ..] => *modrm & 0x38 != 0,
        _ => false,
    };
    if other {
        return Asked::No("a map of later instructions");
    }
    match decode(case, len, DecoderOptions::NO_INVALID_CHECK) {
        // AMD reaches CR8 by LOCK, and takes it before VERW.
        Some((instruction, _)) if instruction.has_lock_prefix() => {
            let odd = [Code::Mov_r32_cr, Code::Mov_cr_r32, Code::Verw_rm16, Code::Verw_r32m16];
            match excluded(instruction.code()) {
                _ if odd.contains(&instruction.code()) => Asked::No("LOCK, which AMD takes here"),
                Some(reason) => Asked::No(reason),
                None => Asked::Yes,
            }
        }
        _ => Asked::Yes,
    }
}

/// An instruction that the host would run to its end.
fn run(case: &Case, instruction: &Instruction, len: usize) -> Asked {
    use Mnemonic as M;
    let segments = case.environment.segments();
    let mnemonic = instruction.mnemonic();
    let loads = matches!(mnemonic, M::Mov | M::Pop) && instruction.op0_register().is_segment_register();
    if loads || matches!(mnemonic, M::Lds | M::Les | M::Lgs) {
        return Asked::No("a selector of chance would be loaded");
    }
    let bits = matches!(mnemonic, M::Bt | M::Bts | M::Btr | M::Btc) && instruction.op0_kind() == OpKind::Memory;
    if bits && instruction.op1_kind() == OpKind::Register {
        return Asked::No("a bit of chance, up to 256 MiB from the operand");
    }
    if mnemonic == M::Ret || instruction.is_jmp_near_indirect() || instruction.is_call_near_indirect() {
        return Asked::No("goes to a place of chance");
    }
    if matches!(mnemonic, M::Loope | M::Loopne) && (instruction.has_rep_prefix() || instruction.has_repne_prefix()) {
        return Asked::No("REP before LOOP, which is reserved");
    }
    if (0..instruction.op_count()).any(|op| matches!(instruction.op_register(op), Register::DR4 | Register::DR5)) {
        return Asked::No("whether CR4.DE or privilege is looked at first differs between vendors");
    }
    if instruction.op_count() > 0 && is_near_branch(instruction.op0_kind()) {
        let target = (instruction.near_branch_target() as u32).wrapping_add(case.environment.code_base());
        let edge = CODE + case.end.offset();
        let harness = target.wrapping_sub(LOW) < CODE - LOW + HARNESS_LEN;
        if harness || (edge - len as u32..edge).contains(&target) {
            return Asked::No("goes into the harness or into itself");
        }
    }
    let gpr = registers(case.environment);
    let operands = explicit_operand(instruction).into_iter().chain(string_operands(instruction));
    for operand in operands {
        let linear = linear_address(Anchor::Operand(operand), &gpr, segments);
        if !reachable(segments[operand.segment], linear, operand.size) {
            return Asked::No("would reach the harness");
        }
        let segment = segments[operand.segment];
        let last = u64::from(linear.wrapping_sub(segment.base)) + u64::from(operand.size) - 1;
        if operand.size >= 16 && linear & 15 != 0 && last > u64::from(segment.range().1) {
            return Asked::No("misaligned and beyond a limit: which comes first is not specified");
        }
        let begin = linear.wrapping_sub(ARENA);
        let end = begin.wrapping_add(operand.size - 1);
        let refused = begin >> 12 <= READ_ONLY_PAGE && end >> 12 >= ABSENT_PAGE;
        if operand.size > 16 && (begin >= ARENA_LEN || refused) {
            return Asked::No("which part of a long operand faults is not specified");
        }
        if operand.segment == seg::CS && segments[seg::CS].limit != u32::MAX {
            return Asked::No("reads the harness's code");
        }
    }
    let many = instruction.op_count() > 0 && instruction.op0_kind() == OpKind::Immediate16;
    if mnemonic == M::Enter && many && instruction.immediate16() > 0x2000 {
        return Asked::No("takes more stack than there is");
    }
    Asked::Yes
}

/// Whether an operand lies where both sides have the same: in the arena, or where nothing is.
fn reachable(segment: Segment, linear: u32, size: u32) -> bool {
    const MARGIN: u32 = 0x1000;
    if segment.limit != u32::MAX {
        return true;
    }
    let in_arena = linear.wrapping_sub(ARENA) < ARENA_LEN - size;
    let far = linear.wrapping_sub(LOW - MARGIN) >= TOTAL_LEN + 2 * MARGIN;
    // Nothing is mapped below 64 KiB, and the processor's own idea of the top of the address space is not asked.
    in_arena || far && !(0xF000..0x1_0000).contains(&linear) && linear < 0xFFFF_0000
}
