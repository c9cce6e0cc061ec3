//! Memory operands: where they point, and registers and addresses that make them point into the arena, at its edges
//! and at pages that fault.

use super::layout::{ABSENT_PAGE, ARENA, ARENA_LEN, READ_ONLY_PAGE, Segment, seg};
use super::values::Random;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// Bytes in a page.
pub(super) const PAGE: u32 = 4096;

/// A memory operand's address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub(super) base: Option<usize>,
    pub(super) index: Option<usize>,
    /// XLAT: the index is AL alone.
    pub(super) index_al: bool,
    pub(super) scale: u32,
    pub(super) displacement: u32,
    pub(super) address16: bool,
    pub(super) segment: usize,
    pub(super) size: u32,
}

/// A place in memory that the instruction uses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Operand(Operand),
    /// [SS:ESP]; the size of what is popped or pushed.
    Stack(u32),
    /// [SS:EBP].
    Frame(u32),
}

pub(super) fn number(register: Register) -> Option<usize> {
    (Register::EAX..=Register::EDI).contains(&register).then(|| register as usize - Register::EAX as usize)
}

/// Index of a segment register as in [`Environment::segments`].
pub(super) fn segment_index(register: Register) -> usize {
    (register as usize).wrapping_sub(Register::ES as usize).min(5)
}

/// The memory operand in the ModRM byte, of XLAT, of the moffs forms or of MASKMOV.
pub(super) fn explicit_operand(instruction: &Instruction) -> Option<Operand> {
    let size = instruction.memory_size().size() as u32;
    let segment = segment_index(instruction.memory_segment());
    for index in 0..instruction.op_count() {
        let kind = instruction.op_kind(index);
        match kind {
            OpKind::Memory => {}
            OpKind::MemorySegDI | OpKind::MemorySegEDI if is_maskmov(instruction) => {
                return Some(Operand {
                    base: Some(7),
                    index: None,
                    index_al: false,
                    scale: 1,
                    displacement: 0,
                    address16: kind == OpKind::MemorySegDI,
                    segment,
                    size,
                });
            }
            _ => continue,
        }
        let base = instruction.memory_base();
        let indexed = instruction.memory_index();
        let address16 = if base != Register::None {
            base.size() == 2
        } else if indexed != Register::None {
            indexed.size() == 2
        } else {
            instruction.memory_displ_size() == 2
        };
        // FXSAVE's and FNSAVE's sizes by the operand size are known to iced; SIZE 0 (NOP, LEA) counts as 4.
        return Some(Operand {
            base: number(base.full_register32()),
            index: number(indexed.full_register32()),
            index_al: indexed == Register::AL,
            scale: instruction.memory_index_scale(),
            displacement: instruction.memory_displacement32(),
            address16,
            segment,
            size: if size == 0 { 4 } else { size },
        });
    }
    None
}

pub(super) fn is_maskmov(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Maskmovq | Mnemonic::Maskmovdqu)
}

/// The implicit operands of string instructions.
pub(super) fn string_operands(instruction: &Instruction) -> Vec<Operand> {
    if is_maskmov(instruction) {
        return Vec::new();
    }
    let size = instruction.memory_size().size().max(1) as u32;
    (0..instruction.op_count())
        .filter_map(|index| {
            let (base, address16, segment) = match instruction.op_kind(index) {
                OpKind::MemorySegSI => (6, true, segment_index(instruction.memory_segment())),
                OpKind::MemorySegESI => (6, false, segment_index(instruction.memory_segment())),
                OpKind::MemoryESDI => (7, true, seg::ES),
                OpKind::MemoryESEDI => (7, false, seg::ES),
                _ => return None,
            };
            Some(Operand {
                base: Some(base),
                index: None,
                index_al: false,
                scale: 1,
                displacement: 0,
                address16,
                segment,
                size,
            })
        })
        .collect()
}

/// Operands that the x87 accesses in parts: 80-bit numbers, environments and states.
pub(super) fn in_parts(size: u32) -> bool {
    matches!(size, 10 | 14 | 28 | 94 | 108)
}

pub(super) fn set_address(gpr: &mut [u32; 8], reg: usize, value: u32, address16: bool) {
    gpr[reg] = if address16 { gpr[reg] & !0xFFFF | value & 0xFFFF } else { value };
}

pub(super) fn effective_address(operand: &Operand, gpr: &[u32; 8]) -> u32 {
    let base = operand.base.map_or(0, |reg| gpr[reg]);
    let index = match operand.index {
        _ if operand.index_al => gpr[0] & 0xFF,
        Some(reg) => gpr[reg].wrapping_mul(operand.scale),
        None => 0,
    };
    let sum = base.wrapping_add(index).wrapping_add(operand.displacement);
    if operand.address16 { sum & 0xFFFF } else { sum }
}

pub(super) fn linear_address(anchor: Anchor, gpr: &[u32; 8], segments: [Segment; 6]) -> u32 {
    let stack = segments[seg::SS];
    let mask = if stack.big { u32::MAX } else { 0xFFFF };
    match anchor {
        Anchor::Operand(operand) => segments[operand.segment].base.wrapping_add(effective_address(&operand, gpr)),
        Anchor::Stack(_) => stack.base.wrapping_add(gpr[4] & mask),
        Anchor::Frame(_) => stack.base.wrapping_add(gpr[5] & mask),
    }
}

/// A linear address in the arena for an operand of `size` bytes in `segment`: mostly in the middle of pages,
/// sometimes across them, and with `edges` at the segment's limits and at pages that fault.
pub(super) fn target(segment: Segment, size: u32, edges: bool, random: &mut Random) -> Option<u32> {
    let size = size.max(1);
    let (low, high) = segment.range();
    let flat = segment.limit == u32::MAX;
    let in_segment = |linear: u32| {
        let offset = linear.wrapping_sub(segment.base);
        flat || offset >= low && offset <= high
    };
    for _ in 0..8 {
        let linear = match random.below(64) {
            0..=1 if edges && !flat => {
                let offset = high.wrapping_sub(size + 3).wrapping_add(random.below(8 + size));
                return Some(segment.base.wrapping_add(offset));
            }
            2 if edges && !flat => {
                return Some(segment.base.wrapping_add(low).wrapping_sub(2).wrapping_add(random.below(6)));
            }
            3 if edges => ARENA + ABSENT_PAGE * PAGE - random.below(size + 2),
            4 => ARENA + ABSENT_PAGE * PAGE + random.below(PAGE - size.min(64)),
            5 if edges => ARENA + READ_ONLY_PAGE * PAGE + random.below(PAGE + size) - size,
            6..=12 if edges => {
                let page = random.pick(&[1u32, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15]);
                ARENA + page * PAGE - 1 - random.below(size)
            }
            _ => {
                let page = random.pick(&[0u32, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15]);
                ARENA + page * PAGE + 0x200 + random.below(PAGE - 0x600)
            }
        };
        if in_segment(linear) {
            return Some(linear);
        }
    }
    None
}

/// The nearest start for a window of `len` bytes that lies in writable pages of the arena.
pub(super) fn window_start(start: u32, len: u32) -> u32 {
    let offset = i64::from(start.wrapping_sub(ARENA) as i32);
    let len = i64::from(len);
    let lower_end = i64::from(ABSENT_PAGE * PAGE);
    let upper_start = i64::from((READ_ONLY_PAGE + 1) * PAGE);
    let upper_end = i64::from(ARENA_LEN);
    let middle = (lower_end + upper_start) / 2;
    let clamped = if offset + len / 2 < middle {
        offset.clamp(0, lower_end - len)
    } else {
        offset.clamp(upper_start, upper_end - len)
    };
    ARENA + clamped as u32
}
