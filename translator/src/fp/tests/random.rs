//! Operands that crowd around the edges.

use super::super::F80;

/// A xorshift generator: the same operands in every run.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    /// A significand of `bits` bits with long runs of ones and zeros, or near a boundary, or of any kind.
    fn significand(&mut self, bits: u32) -> u64 {
        let mask = u64::MAX >> (64 - bits);
        let any = self.next();
        let v = match self.below(8) {
            0 => 0,
            1 => mask,
            2 => 1 << self.below(u64::from(bits)),
            3 => (1u64 << self.below(u64::from(bits))).wrapping_neg(),
            4 => mask - self.below(4),
            5 => self.below(4),
            6 => {
                // Half way, or next to it, at one of the precisions a value is rounded to.
                let at = [39, 40, 10, 11, 28, 29, 8, 12][self.below(8) as usize];
                (any >> at << at | 1 << at).wrapping_add(self.below(3)).wrapping_sub(1)
            }
            _ => any,
        };
        v & mask
    }

    /// Any encoding of the extended format.
    pub(super) fn f80(&mut self) -> F80 {
        let sign = (self.next() >> 48) as u16 & 0x8000;
        let exp = match self.below(16) {
            0 => 0,
            1 => 1 + self.below(70) as u16,
            2 => 0x7fff,
            3 => 0x7ffe - self.below(70) as u16,
            4 => 0x3fff - 1023 - 60 + self.below(70) as u16,
            5 => 0x3fff + 1020 + self.below(6) as u16,
            6 => 0x3fff - 127 - 30 + self.below(35) as u16,
            7 => 0x3fff + 124 + self.below(6) as u16,
            8 => self.below(0x8000) as u16,
            _ => 0x3fff - 40 + self.below(110) as u16,
        };
        let mut mantissa = self.significand(63) | 1 << 63;
        if exp == 0 || self.below(24) == 0 {
            mantissa ^= (self.next() >> 63) << 63;
        }
        F80::new(sign | exp, mantissa)
    }

    /// A number whose exponent is that of `near`, give or take a few.
    pub(super) fn f80_near(&mut self, near: F80) -> F80 {
        let shift = self.below(9) as i32 - 4;
        let exp = (i32::from(near.exponent()) + shift).clamp(0, 0x7fff) as u16;
        let mantissa = if self.below(3) == 0 { near.mantissa ^ self.below(8) } else { self.significand(63) | 1 << 63 };
        F80::new((self.next() >> 48) as u16 & 0x8000 | exp, mantissa)
    }

    /// Any bits of a format with `frac` bits of fraction and `exp` of exponent.
    pub(super) fn narrow(&mut self, frac: u32, exp: u32) -> u64 {
        let max = (1u64 << exp) - 1;
        let bias = max >> 1;
        let e = match self.below(12) {
            0 => 0,
            1 => 1 + self.below(u64::from(frac) + 2),
            2 => max,
            3 => max - 1 - self.below(u64::from(frac) + 2),
            4 => self.next() & max,
            5 => bias + u64::from(frac) + self.below(14) - 7,
            6 => bias + 28 + self.below(6),
            7 => (bias + 61 + self.below(4)) & max,
            _ => bias - 12 + self.below(24),
        };
        let fraction = self.significand(frac);
        let sign = self.next() >> 63;
        sign << (frac + exp) | e << frac | fraction
    }

    /// A control word: all masked more often than not, every rounding and precision.
    pub(super) fn control(&mut self) -> u16 {
        let masks = if self.below(5) < 3 { 0x3f } else { self.next() >> 58 };
        let precision = [0, 2, 3, 3, 3, 3, 1, 0][self.below(8) as usize];
        (self.below(4) << 10 | precision << 8 | 0x40 | masks) as u16
    }
}
