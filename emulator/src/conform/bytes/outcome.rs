//! What became of a case, in terms that both sides can be compared in.

use super::Case;
use super::make::opcode;
use crate::conform::layout::{NO_EXCEPTION, field, get32};
use crate::conform::masks::{LONGEST_OPERAND, many_accesses};
use crate::conform::native::Maker;
use crate::conform::plant::Plant;
use iced_x86::{Code, Decoder, DecoderOptions};
use std::fmt;

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The instruction ended, and the next one would be at this EIP.
    Next(u32),
    /// INT3 or INTO ended in its trap.
    Trap(u32),
    /// An exception.
    Fault {
        /// Its vector.
        vector: u32,
        /// Its error code.
        error: u32,
        /// EIP that it reports.
        eip: u32,
        /// The address of a page fault.
        address: u32,
    },
}

/// Of an instruction fetch, in a page fault's error code; the host pages with NX, Ring86 here does not.
const FETCH: u32 = 0x10;

impl Outcome {
    /// From what the host left.
    pub fn of_host(case: &Case, record: &[u8]) -> Outcome {
        let placement = case.placement();
        let (vector, eip) = (get32(record, field::VECTOR), get32(record, field::EIP));
        let (error, address) = (get32(record, field::ERROR), get32(record, field::CR2));
        let elsewhere = eip != placement.eip();
        let fetch = address == placement.environment.code_base().wrapping_add(eip) && error & FETCH != 0;
        match vector {
            3 if !matches!(code_of(case), Code::Int3) => Outcome::Next(eip.wrapping_sub(1)),
            3 | 4 => Outcome::Trap(vector),
            14 if elsewhere && fetch => Outcome::Next(eip),
            13 if elsewhere => Outcome::Next(eip),
            _ => Outcome::fault(record),
        }
    }

    /// From what Ring86 left. A planted bug makes one instruction form a byte longer.
    pub fn of_ring86(case: &Case, record: &[u8], plant: Option<Plant>) -> Outcome {
        let wrong = plant.is_some_and(|plant| plant.length && plant.code == code_of(case));
        match get32(record, field::VECTOR) {
            NO_EXCEPTION => Outcome::Next(get32(record, field::EIP).wrapping_add(wrong.into())),
            vector @ (3 | 4) => Outcome::Trap(vector),
            _ => Outcome::fault(record),
        }
    }

    /// The same with this address of the page fault.
    fn at(self, address: u32) -> Outcome {
        match self {
            Outcome::Fault { vector, error, eip, .. } => Outcome::Fault { vector, error, eip, address },
            other => other,
        }
    }

    /// #UD at the case's first byte.
    pub fn undefined(case: &Case) -> Outcome {
        Outcome::Fault { vector: 6, error: 0, eip: case.placement().eip(), address: 0 }
    }

    fn fault(record: &[u8]) -> Outcome {
        let vector = get32(record, field::VECTOR);
        let error = if matches!(vector, 8 | 10..=14 | 17) { get32(record, field::ERROR) & !FETCH } else { 0 };
        let address = if vector == 14 { get32(record, field::CR2) } else { 0 };
        Outcome::Fault { vector, error, eip: get32(record, field::EIP), address }
    }
}

/// Why two outcomes that differ are both right, if they are.
///
/// Whether an undefined opcode takes more bytes before it is refused shows where they cannot be fetched: Intel's Sapphire
/// Rapids fetches them, AMD's Zen 3 and Ring86 do not.
pub fn known(maker: Maker, case: &Case, host: Outcome, ring86: Outcome) -> Option<&'static str> {
    if maker == Maker::Amd {
        return None;
    }
    let takes_more = matches!(opcode(case), [0x0F, 0x39 | 0x3B..=0x3F | 0x7A | 0x7B | 0xA6 | 0xA7, ..]);
    match (host, ring86) {
        (Outcome::Fault { vector: 13 | 14, .. }, Outcome::Fault { vector: 6, .. }) if takes_more => {
            Some("operands are fetched behind an undefined opcode")
        }
        (Outcome::Fault { vector: 14, address, .. }, Outcome::Fault { address: ours, .. })
            if many_accesses(code_of(case).mnemonic(), maker)
                && address.abs_diff(ours) < LONGEST_OPERAND
                && host.at(0) == ring86.at(0) =>
        {
            Some("which part of a long operand faults is not architectural")
        }
        _ => None,
    }
}

fn code_of(case: &Case) -> Code {
    Decoder::new(case.environment.bits(), &case.bytes, DecoderOptions::NONE).decode().code()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Next(eip) => write!(f, "next instruction at {eip:x}"),
            Outcome::Trap(vector) => write!(f, "trap {vector}"),
            Outcome::Fault { vector: 14, error, eip, address } => {
                write!(f, "exception 14, error {error:x}, address {address:x}, at {eip:x}")
            }
            Outcome::Fault { vector, error, eip, .. } => write!(f, "exception {vector}, error {error:x}, at {eip:x}"),
        }
    }
}
