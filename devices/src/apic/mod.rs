//! The APICs: the local one in the processor and the 82093AA I/O APIC, and the messages between them.
//!
//! Neither knows the other. The owner carries [`Message`]s from the I/O APIC to the local APIC, and the vectors whose
//! service has ended back.

pub mod io;
pub mod local;
pub mod spec;
#[cfg(test)]
mod tests;
mod timer;

pub use io::IoApic;
pub use local::{Acknowledged, Generation, LocalApic, Wiring};

/// What an interrupt message makes a processor do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The vector is requested.
    Fixed,
    /// The vector is requested of the processor with the lowest priority.
    Lowest,
    /// System management interrupt.
    Smi,
    /// Non-maskable interrupt.
    Nmi,
    /// Processor reset that keeps memory.
    Init,
    /// The processor asks the 8259A for the vector.
    ExtInt,
    /// A reserved code.
    Reserved,
}

impl Delivery {
    /// The delivery mode field, bits 10-8 of LVT, ICR and redirection entries.
    #[must_use]
    pub fn of(entry: u32) -> Self {
        match entry >> 8 & 7 {
            0 => Self::Fixed,
            1 => Self::Lowest,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            7 => Self::ExtInt,
            _ => Self::Reserved,
        }
    }
}

/// An interrupt message on the APIC bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whom it is for.
    pub destination: u8,
    /// The destination is a set of logical IDs, not a physical ID.
    pub logical: bool,
    /// What it asks for.
    pub delivery: Delivery,
    /// The vector, where the delivery has one.
    pub vector: u8,
    /// Level triggered: the end of its service is reported back.
    pub level: bool,
}
