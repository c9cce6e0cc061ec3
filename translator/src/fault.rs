//! Exceptions as values: every operation that can fault returns one, and the run loop delivers it.

/// Exception vectors (SDM vol. 3, table 6-1).
pub mod vector {
    /// Divide error.
    pub const DE: u8 = 0;
    /// Debug.
    pub const DB: u8 = 1;
    /// Non-maskable interrupt.
    pub const NMI: u8 = 2;
    /// Breakpoint.
    pub const BP: u8 = 3;
    /// Overflow.
    pub const OF: u8 = 4;
    /// BOUND range exceeded.
    pub const BR: u8 = 5;
    /// Invalid opcode.
    pub const UD: u8 = 6;
    /// Device not available.
    pub const NM: u8 = 7;
    /// Double fault.
    pub const DF: u8 = 8;
    /// Invalid TSS.
    pub const TS: u8 = 10;
    /// Segment not present.
    pub const NP: u8 = 11;
    /// Stack-segment fault.
    pub const SS: u8 = 12;
    /// General protection.
    pub const GP: u8 = 13;
    /// Page fault.
    pub const PF: u8 = 14;
    /// x87 floating-point error.
    pub const MF: u8 = 16;
    /// Alignment check.
    pub const AC: u8 = 17;
    /// SIMD floating-point exception.
    pub const XM: u8 = 19;
}

/// An exception raised by an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Vector number.
    pub vector: u8,
    /// Error code, for the vectors that push one.
    pub error: Option<u32>,
    /// What #PF puts in CR2.
    pub address: u64,
    /// DR6 bits that a #DB sets.
    pub dr6: u32,
}

/// Result of anything that can fault.
pub type Res<T> = Result<T, Fault>;

impl Fault {
    /// A fault without error code.
    pub const fn new(vector: u8) -> Self {
        Fault { vector, error: None, address: 0, dr6: 0 }
    }
    /// A fault with error code.
    pub const fn with(vector: u8, error: u32) -> Self {
        Fault { vector, error: Some(error), address: 0, dr6: 0 }
    }
    /// #GP(error).
    pub const fn gp(error: u32) -> Self {
        Fault::with(vector::GP, error)
    }
    /// #SS(error).
    pub const fn ss(error: u32) -> Self {
        Fault::with(vector::SS, error)
    }
    /// #NP(error).
    pub const fn np(error: u32) -> Self {
        Fault::with(vector::NP, error)
    }
    /// #TS(error).
    pub const fn ts(error: u32) -> Self {
        Fault::with(vector::TS, error)
    }
    /// #UD.
    pub const fn ud() -> Self {
        Fault::new(vector::UD)
    }
    /// #NM.
    pub const fn nm() -> Self {
        Fault::new(vector::NM)
    }
    /// #PF(error) at linear address `address`.
    pub const fn pf(error: u32, address: u64) -> Self {
        Fault { vector: vector::PF, error: Some(error), address, dr6: 0 }
    }
    /// #DB with these DR6 bits.
    pub const fn db(dr6: u32) -> Self {
        Fault { vector: vector::DB, error: None, address: 0, dr6 }
    }
}
