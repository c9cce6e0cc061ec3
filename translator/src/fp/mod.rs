//! Floating-point arithmetic of the x87 unit and of SSE, on integers only.
//!
//! Every function takes bit patterns and the control word (or MXCSR) by value and returns the result together with the
//! exception flags it raises; nothing here keeps state, and no host floating-point result is used, so the answers are the
//! same on every host. [`x87`] works on [`F80`], [`sse`] on the bits of binary32 and binary64. The caller owns the register
//! stack, its tags and faults, and the delivery of exceptions.

mod pack;
pub mod sse;
pub mod x87;

/// Bits of the x87 status word (SDM vol. 1, 8.1.3); bits 0-5 are also those of MXCSR.
pub mod flag {
    /// Invalid operation.
    pub const IE: u16 = 0x01;
    /// Denormal operand.
    pub const DE: u16 = 0x02;
    /// Division by zero.
    pub const ZE: u16 = 0x04;
    /// Overflow.
    pub const OE: u16 = 0x08;
    /// Underflow.
    pub const UE: u16 = 0x10;
    /// Precision (inexact result).
    pub const PE: u16 = 0x20;
    /// Stack fault.
    pub const SF: u16 = 0x40;
    /// Error summary.
    pub const ES: u16 = 0x80;
    /// Busy, a copy of ES since the 387.
    pub const B: u16 = 0x8000;
    /// Condition code 0.
    pub const C0: u16 = 0x100;
    /// Condition code 1: the last rounding went up in magnitude.
    pub const C1: u16 = 0x200;
    /// Condition code 2.
    pub const C2: u16 = 0x400;
    /// Condition code 3.
    pub const C3: u16 = 0x4000;
    /// All four condition codes.
    pub const CC: u16 = C0 | C1 | C2 | C3;
    /// The exceptions found before an operation is computed; unmasked, they leave the destination alone.
    pub const BEFORE: u16 = IE | DE | ZE;
    /// All six exceptions.
    pub const ALL: u16 = 0x3f;
}

/// Rounding control, with the encoding of RC (SDM vol. 1, table 4-8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// Towards minus infinity.
    Down,
    /// Towards plus infinity.
    Up,
    /// Towards zero.
    Zero,
}

impl Rounding {
    /// From the two bits of RC.
    #[inline]
    pub fn from_bits(rc: u32) -> Self {
        match rc & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }

    /// Does a magnitude whose dropped part is `rest` round away from zero? `rest` is a fraction of the last place kept
    /// with its top bit worth one half; `odd` is that last place.
    #[inline]
    fn up(self, sign: bool, odd: bool, rest: u128) -> bool {
        const HALF: u128 = 1 << 127;
        match self {
            Self::Nearest => rest > HALF || rest == HALF && odd,
            Self::Down => sign && rest != 0,
            Self::Up => !sign && rest != 0,
            Self::Zero => false,
        }
    }

    /// The same for a dropped part of 64 bits.
    #[inline]
    fn up64(self, sign: bool, odd: bool, rest: u64) -> bool {
        const HALF: u64 = 1 << 63;
        match self {
            Self::Nearest => rest > HALF || rest == HALF && odd,
            Self::Down => sign && rest != 0,
            Self::Up => !sign && rest != 0,
            Self::Zero => false,
        }
    }

    /// Is an overflow of this sign delivered as infinity, rather than as the largest finite number?
    #[inline]
    fn overflows_to_infinity(self, sign: bool) -> bool {
        match self {
            Self::Nearest => true,
            Self::Down => sign,
            Self::Up => !sign,
            Self::Zero => false,
        }
    }
}

/// Result of an ordered or unordered comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    /// First operand below the second.
    Less,
    /// Equal; both zeros are.
    Equal,
    /// First operand above the second.
    Greater,
    /// At least one operand is a NaN or no number at all.
    Unordered,
}

impl Relation {
    /// C3, C2 and C0 at their places in the status word (SDM vol. 1, table 8-6).
    #[inline]
    pub fn condition_codes(self) -> u16 {
        match self {
            Self::Greater => 0,
            Self::Less => flag::C0,
            Self::Equal => flag::C3,
            Self::Unordered => flag::C0 | flag::C2 | flag::C3,
        }
    }

    /// ZF, PF and CF at their places in EFLAGS (SDM vol. 1, table 8-7).
    #[inline]
    pub fn eflags(self) -> u32 {
        match self {
            Self::Greater => 0,
            Self::Less => 1,
            Self::Equal => 0x40,
            Self::Unordered => 0x45,
        }
    }

    fn of(order: std::cmp::Ordering) -> Self {
        match order {
            std::cmp::Ordering::Less => Self::Less,
            std::cmp::Ordering::Equal => Self::Equal,
            std::cmp::Ordering::Greater => Self::Greater,
        }
    }
}

/// A value of the 80-bit double extended-precision format (SDM vol. 1, 4.2.2), every encoding of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct F80 {
    /// Explicit integer bit and 63 bits of fraction.
    pub mantissa: u64,
    /// Sign in bit 15, exponent biased by 16383 below.
    pub sign_exp: u16,
}

/// The explicit integer bit of an [`F80`].
const INTEGER_BIT: u64 = 1 << 63;
/// The bit that tells a quiet NaN from a signalling one.
const QUIET_BIT: u64 = 1 << 62;

impl F80 {
    /// Plus zero.
    pub const ZERO: Self = Self { mantissa: 0, sign_exp: 0 };
    /// Plus one.
    pub const ONE: Self = Self { mantissa: INTEGER_BIT, sign_exp: 0x3fff };
    /// QNaN floating-point indefinite, the masked response to an invalid operation.
    pub const INDEFINITE: Self = Self { mantissa: INTEGER_BIT | QUIET_BIT, sign_exp: 0xffff };

    /// From its two parts.
    #[inline]
    pub fn new(sign_exp: u16, mantissa: u64) -> Self {
        Self { mantissa, sign_exp }
    }
    /// From ten bytes of memory.
    pub fn from_bytes(bytes: [u8; 10]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = bytes;
        Self { mantissa: u64::from_le_bytes([a, b, c, d, e, f, g, h]), sign_exp: u16::from_le_bytes([i, j]) }
    }
    /// The ten bytes it has in memory.
    pub fn to_bytes(self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.mantissa.to_le_bytes());
        bytes[8..].copy_from_slice(&self.sign_exp.to_le_bytes());
        bytes
    }
    /// Zero of the given sign.
    #[inline]
    pub fn zero(sign: bool) -> Self {
        Self { mantissa: 0, sign_exp: u16::from(sign) << 15 }
    }
    /// Infinity of the given sign.
    #[inline]
    pub fn infinity(sign: bool) -> Self {
        Self { mantissa: INTEGER_BIT, sign_exp: u16::from(sign) << 15 | 0x7fff }
    }
    /// Sign bit.
    #[inline]
    pub fn sign(self) -> bool {
        self.sign_exp >> 15 != 0
    }
    /// Biased exponent.
    #[inline]
    pub fn exponent(self) -> u16 {
        self.sign_exp & 0x7fff
    }
    /// FCHS: the sign bit flipped, whatever the encoding.
    #[inline]
    pub fn negate(self) -> Self {
        Self { sign_exp: self.sign_exp ^ 0x8000, ..self }
    }
    /// FABS: the sign bit cleared, whatever the encoding.
    #[inline]
    pub fn abs(self) -> Self {
        Self { sign_exp: self.sign_exp & 0x7fff, ..self }
    }
    /// What FNSTENV writes in the tag word for a register that is not empty: 0 valid, 1 zero, 2 special.
    pub fn tag(self) -> u8 {
        match self.exponent() {
            0 if self.mantissa == 0 => 1,
            0 | 0x7fff => 2,
            _ if self.mantissa & INTEGER_BIT == 0 => 2,
            _ => 0,
        }
    }
    /// Quiet or signalling NaN, in a supported encoding.
    #[inline]
    pub fn is_nan(self) -> bool {
        self.exponent() == 0x7fff && self.mantissa > INTEGER_BIT
    }
    /// Signalling NaN, in a supported encoding.
    #[inline]
    pub fn is_signalling(self) -> bool {
        self.is_nan() && self.mantissa & QUIET_BIT == 0
    }
    /// Infinity, in a supported encoding.
    #[inline]
    pub fn is_infinity(self) -> bool {
        self.exponent() == 0x7fff && self.mantissa == INTEGER_BIT
    }
    /// Plus or minus zero.
    #[inline]
    pub fn is_zero(self) -> bool {
        self.exponent() == 0 && self.mantissa == 0
    }
    /// Denormal or pseudo-denormal.
    #[inline]
    pub fn is_denormal(self) -> bool {
        self.exponent() == 0 && self.mantissa != 0
    }
    /// An encoding the 387 and later reject: unnormal, pseudo-NaN, pseudo-infinity (SDM vol. 1, table 8-3).
    #[inline]
    pub fn is_unsupported(self) -> bool {
        self.exponent() != 0 && self.mantissa & INTEGER_BIT == 0
    }
    /// A normal number.
    #[inline]
    pub fn is_normal(self) -> bool {
        self.mantissa & INTEGER_BIT != 0 && self.exponent().wrapping_sub(1) < 0x7ffe
    }
    /// The same NaN with its quiet bit set.
    #[inline]
    fn quieted(self) -> Self {
        Self { mantissa: self.mantissa | QUIET_BIT, ..self }
    }
}

#[cfg(test)]
mod tests;
