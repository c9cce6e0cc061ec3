//! The coverage matrix: how many cases each instruction form (an iced-x86 code) had, in which mode, with which kind of
//! operand, by which judge and in which engine, and how many of them failed.

use super::generate::Encoding;
use super::layout::NO_EXCEPTION;
use super::masks::{self, Mask};
use super::results::{Reproducer, Results};
use iced_x86::{Code, Instruction, OpKind};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Names of the operand kinds, in the order of [`Kind`].
pub const KINDS: [&str; 4] = ["register", "memory", "page-straddling", "faulting"];

/// Where a case's operands lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Registers and immediates only.
    Register,
    /// Memory, in one page.
    Memory,
    /// Memory in two pages.
    Straddling,
    /// Whatever raises an exception.
    Faulting,
}

/// The name of an iced code by number.
pub fn code_name(code: u16) -> String {
    Code::try_from(usize::from(code)).map_or_else(|_| code.to_string(), |code| format!("{code:?}"))
}

/// A row of the matrix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Name of the iced-x86 code.
    pub code: String,
    /// Code size in bits.
    pub mode: u8,
    /// The suite that judged.
    pub judge: String,
    /// Engine under test.
    pub engine: String,
}

/// A row's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Cases and failures, by [`Kind`].
    pub counts: [(u64, u64); 4],
    /// What the comparison left out.
    pub masks: String,
    /// A failing case of each [`Kind`], where the suite's tests are not the instruction forms themselves.
    pub reproducers: [Option<Reproducer>; 4],
}

impl Cell {
    /// Adds the figures of another shard.
    pub fn add(&mut self, other: &Cell) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            mine.0 += theirs.0;
            mine.1 += theirs.1;
        }
        if self.masks.is_empty() {
            self.masks.clone_from(&other.masks);
        }
        for (mine, theirs) in self.reproducers.iter_mut().zip(&other.reproducers) {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
    }
}

/// The kind of a native case with input `record` that raised `vector`.
pub fn kind_of(encoding: &Encoding, record: &[u8], vector: u32) -> Kind {
    if vector != NO_EXCEPTION {
        Kind::Faulting
    } else if !encoding.uses_memory() {
        Kind::Register
    } else if encoding.straddles(record) {
        Kind::Straddling
    } else {
        Kind::Memory
    }
}

/// The kind of a recorded case, whose addresses are not looked at.
pub fn kind_of_instruction(instruction: &Instruction, excepted: bool) -> Kind {
    let memory = (0..instruction.op_count()).any(|op| {
        !matches!(
            instruction.op_kind(op),
            OpKind::Register
                | OpKind::NearBranch16
                | OpKind::NearBranch32
                | OpKind::FarBranch16
                | OpKind::FarBranch32
                | OpKind::Immediate8
                | OpKind::Immediate8_2nd
                | OpKind::Immediate16
                | OpKind::Immediate32
                | OpKind::Immediate8to16
                | OpKind::Immediate8to32
        )
    });
    match () {
        () if excepted => Kind::Faulting,
        () if memory || instruction.is_stack_instruction() => Kind::Memory,
        () => Kind::Register,
    }
}

/// What a mask leaves out, in words.
pub fn describe_mask(mask: &Mask) -> String {
    let flags = [
        ("CF", masks::flag::CF),
        ("PF", masks::flag::PF),
        ("AF", masks::flag::AF),
        ("ZF", masks::flag::ZF),
        ("SF", masks::flag::SF),
        ("OF", masks::flag::OF),
    ];
    let mut words: Vec<String> =
        flags.iter().filter(|(_, bit)| mask.eflags & bit == 0).map(|(name, _)| (*name).to_owned()).collect();
    for (bit, name) in [(0x100, "C0"), (0x200, "C1"), (0x400, "C2"), (0x4000, "C3")] {
        if mask.fsw & bit == 0 {
            words.push(name.to_owned());
        }
    }
    let others = [
        (mask.eflags_unmasked != u32::MAX || mask.fsw_unmasked != u16::MAX, "flags with an exception pending"),
        (mask.of_single, "OF of counts above 1"),
        (mask.ulp, "last place"),
        (mask.approximate, "beyond 12 bits"),
        (mask.no_error_code, "error codes"),
        (mask.many_accesses, "which part faults"),
        (mask.memory[0] != (0, 0), "reserved bytes stored"),
    ];
    words.extend(others.into_iter().filter(|(is, _)| *is).map(|(_, text)| text.to_owned()));
    words.join(", ")
}

/// Instruction forms that Ring86 claims and the native judge is not asked about, with the reason, for one code size.
pub fn not_asked(bits: u32) -> BTreeMap<String, &'static str> {
    let mut list = BTreeMap::new();
    for code in Code::values() {
        let op_code = code.op_code();
        let valid = op_code.is_instruction() && if bits == 16 { op_code.mode16() } else { op_code.mode32() };
        if valid
            && let Some(reason) = super::templates::excluded(code)
            && reason != super::templates::NOT_CLAIMED
        {
            list.insert(format!("{code:?}"), reason);
        }
    }
    list
}

/// The matrix as text: one line an instruction form, mode, judge and engine.
pub fn table(results: &Results) -> String {
    let mut text = String::new();
    let width = results.cells.keys().map(|key| key.code.len()).max().unwrap_or(0).max("instruction form".len());
    let _ = write!(text, "{:width$} mode judge    engine          ", "instruction form");
    for kind in KINDS {
        let _ = write!(text, " {kind:>16}");
    }
    text.push_str("  not compared\n");
    for (key, cell) in &results.cells {
        let _ = write!(text, "{:width$} {:>4} {:8} {:16}", key.code, key.mode, key.judge, key.engine);
        for (cases, failed) in cell.counts {
            let shown = match (cases, failed) {
                (0, _) => "-".to_owned(),
                (_, 0) => cases.to_string(),
                _ => format!("{failed} of {cases}"),
            };
            let _ = write!(text, " {shown:>16}");
        }
        let _ = writeln!(text, "  {}", cell.masks);
    }
    for bits in [16, 32] {
        for (code, reason) in not_asked(bits) {
            let _ = writeln!(text, "{code:width$} {bits:>4} native   not asked: {reason}");
        }
    }
    text
}
