//! The graphics controller's data path: four planes, latches, read and write modes.

use super::spec::{gc, misc, seq};
use super::{PLANE_SIZE, Registers};

/// Spreads the low four bits over four bytes, 0xFF for each bit set.
const fn spread(bits: u8) -> u32 {
    let mut value = 0;
    let mut plane = 0;
    while plane < 4 {
        if bits & (1 << plane) != 0 {
            value |= 0xFF << (8 * plane);
        }
        plane += 1;
    }
    value
}

/// The same byte for all four planes.
const fn repeat(byte: u8) -> u32 {
    byte as u32 * 0x0101_0101
}

/// 256 KiB as 64 Ki addresses of four planes, and the latches.
#[derive(Clone)]
pub(super) struct Memory {
    cells: Box<[u32]>,
    pub(super) latches: u32,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("latches", &self.latches).finish_non_exhaustive()
    }
}

/// A processor address brought down to planes.
struct Place {
    offset: usize,
    /// Planes the address itself selects.
    planes: u8,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self { cells: vec![0; PLANE_SIZE].into_boxed_slice(), latches: 0 }
    }

    /// All planes at an address; addresses wrap at 64 Ki.
    pub(super) fn cell(&self, offset: u32) -> u32 {
        self.cells[offset as usize & (PLANE_SIZE - 1)]
    }

    /// One plane's byte.
    pub(super) fn byte(&self, plane: u8, offset: u32) -> u8 {
        (self.cell(offset) >> (8 * (plane & 3))) as u8
    }

    /// The offset in the mapped window; `None` if the address is not decoded.
    fn window(regs: &Registers, address: u32) -> Option<u32> {
        let (start, length) = match regs.gc[gc::MISC] >> 2 & 3 {
            0 => (0xA_0000, 0x2_0000),
            1 => (0xA_0000, 0x1_0000),
            2 => (0xB_0000, 0x8000),
            _ => (0xB_8000, 0x8000),
        };
        let offset = address.wrapping_sub(start);
        (offset < length && regs.misc & misc::ERAM != 0).then_some(offset)
    }

    // In odd/even and chain 4 addressing the chip puts high address bits in place of the low ones that select a
    // plane, and the CRT controller's word and doubleword modes do the same. Both sides leave them zero here.
    fn place(offset: u32, odd_even: bool, chain4: bool) -> Place {
        let (offset, planes) = if chain4 {
            (offset & !3, 1 << (offset & 3))
        } else if odd_even {
            (offset & !1, 0b0101 << (offset & 1))
        } else {
            (offset, 0b1111)
        };
        Place { offset: offset as usize & (PLANE_SIZE - 1), planes }
    }

    pub(super) fn read(&mut self, regs: &Registers, address: u32) -> u8 {
        let Some(offset) = Self::window(regs, address) else { return 0xFF };
        let mode = regs.gc[gc::MODE];
        let chain4 = regs.seq[seq::MEMORY_MODE] & seq::CH4 != 0;
        let odd_even = mode & gc::OE != 0;
        let place = Self::place(offset, odd_even, chain4);
        self.latches = self.cells[place.offset];
        if mode & gc::RM != 0 {
            // Read mode 1: a 1 for each dot whose cared-for planes match.
            let different = (self.latches ^ spread(regs.gc[gc::COLOR_COMPARE])) & spread(regs.gc[gc::COLOR_DONT_CARE]);
            return !different.to_le_bytes().into_iter().fold(0, |any, plane| any | plane);
        }
        let plane = if chain4 {
            (offset & 3) as u8
        } else if odd_even {
            regs.gc[gc::READ_MAP] & 2 | (offset & 1) as u8
        } else {
            regs.gc[gc::READ_MAP]
        };
        (self.latches >> (8 * (plane & 3))) as u8
    }

    /// Stores a byte; whether the memory could have changed.
    pub(super) fn write(&mut self, regs: &Registers, address: u32, value: u8) -> bool {
        let Some(offset) = Self::window(regs, address) else { return false };
        let memory_mode = regs.seq[seq::MEMORY_MODE];
        let place = Self::place(offset, memory_mode & seq::OE == 0, memory_mode & seq::CH4 != 0);
        let rotated = value.rotate_right(u32::from(regs.gc[gc::DATA_ROTATE] & 7));
        let set_reset = spread(regs.gc[gc::SET_RESET]);
        let bit_mask = regs.gc[gc::BIT_MASK];
        let data = match regs.gc[gc::MODE] & 3 {
            0 => {
                let enabled = spread(regs.gc[gc::ENABLE_SET_RESET]);
                self.combine(regs, set_reset & enabled | repeat(rotated) & !enabled, bit_mask)
            }
            1 => self.latches,
            2 => self.combine(regs, spread(value & 0xF), bit_mask),
            _ => self.combine(regs, set_reset, bit_mask & rotated),
        };
        let planes = spread(place.planes & regs.seq[seq::MAP_MASK]);
        let cell = &mut self.cells[place.offset];
        *cell = *cell & !planes | data & planes;
        true
    }

    /// The logical function and the bit mask.
    fn combine(&self, regs: &Registers, data: u32, bit_mask: u8) -> u32 {
        let data = match regs.gc[gc::DATA_ROTATE] >> 3 & 3 {
            0 => data,
            1 => data & self.latches,
            2 => data | self.latches,
            _ => data ^ self.latches,
        };
        let mask = repeat(bit_mask);
        data & mask | self.latches & !mask
    }
}
