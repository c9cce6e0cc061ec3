//! Creative's 8-bit ADPCM: samples as differences of 4, 3 (or 2) and 2 bits. Creative never published it; this follows
//! what is known from comparing the card's output with its input.

/// How samples lie in a byte, highest bits first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Two of 4 bits.
    Four,
    /// Two of 3 bits and one of 2, called 2.6 bits.
    Three,
    /// Four of 2 bits.
    Two,
}

/// The decoder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adpcm {
    packing: Packing,
    level: i32,
    step: u32,
}

impl Adpcm {
    /// A decoder that begins in the middle.
    pub(super) fn new(packing: Packing) -> Self {
        Self { packing, level: 0x80, step: 0 }
    }

    /// Begins anew at `level`.
    pub(super) fn reference(&mut self, level: u8) {
        self.level = level.into();
        self.step = 0;
    }

    /// Samples in a byte.
    pub(super) fn count(&self) -> u64 {
        match self.packing {
            Packing::Four => 2,
            Packing::Three => 3,
            Packing::Two => 4,
        }
    }

    /// Sample number `number` of `byte`; to be asked for in order.
    pub(super) fn next(&mut self, byte: u8, number: u64) -> u8 {
        let (shift, bits) = match (self.packing, number) {
            (Packing::Four, 0) => (4, 4),
            (Packing::Four, _) => (0, 4),
            (Packing::Three, 0) => (5, 3),
            (Packing::Three, 1) => (2, 3),
            (Packing::Three, _) => (0, 2),
            (Packing::Two, n) => (6 - 2 * n.min(3), 2),
        };
        let code = u32::from(byte) >> shift & ((1 << bits) - 1);
        let size = code & ((1 << (bits - 1)) - 1);
        let scale = self.step + if self.packing == Packing::Two { 2 } else { 0 };
        let difference = (size << scale) as i32;
        self.level += if code == size { difference } else { -difference };
        self.level = self.level.clamp(0, 255);
        if size >= 2 * bits - 3 {
            self.step = (self.step + 1).min(3);
        } else if size == 0 {
            self.step = self.step.saturating_sub(1);
        }
        self.level as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_grow_and_shrink() {
        let mut a = Adpcm::new(Packing::Four);
        a.reference(0x80);
        // +7 at steps 0 to 3, -1 at step 3, +0 brings the step down, then +1 at step 2.
        let found: Vec<u8> = [0x77, 0x77, 0x90, 0x10].iter().flat_map(|b| [0, 1].map(|n| a.next(*b, n))).collect();
        assert_eq!(found, [135, 149, 177, 233, 225, 225, 229, 229]);
        let mut a = Adpcm::new(Packing::Three);
        a.reference(100);
        // 011 111 01: +3 (step 0), -3 (step 1), +1 of two bits (step 2).
        assert_eq!([0, 1, 2].map(|n| a.next(0b0111_1101, n)), [103, 97, 101]);
        let mut a = Adpcm::new(Packing::Two);
        a.reference(10);
        assert_eq!([0, 1, 2, 3].map(|n| a.next(0b0101_1100, n)), [14, 22, 6, 6]);
    }
}
