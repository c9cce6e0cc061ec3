//! Random numbers and edge-weighted operand values.

/// xoshiro256++ seeded through splitmix64: small, fast, and the same on every host.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
    last: u64,
}

impl Random {
    /// A generator whose sequence depends on `seed` alone.
    pub fn new(seed: u64) -> Random {
        let mut z = seed;
        let state = std::array::from_fn(|_| {
            z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut x = z;
            x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            x ^ x >> 31
        });
        Random { state, last: 0 }
    }

    /// 64 random bits.
    #[expect(clippy::should_implement_trait, reason = "a generator without an end is no iterator worth the name")]
    pub fn next(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// 32 random bits.
    pub fn next32(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.next32()) * u64::from(bound)) >> 32) as u32
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    /// One element of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u32) as usize]
    }

    /// An integer operand: often an edge of an 8-, 16- or 32-bit operand, often the previous one or next to
    /// it, otherwise random.
    pub fn int32(&mut self) -> u32 {
        let r = self.next();
        let value = (r >> 32) as u32;
        let value = match r & 15 {
            0..=4 => value,
            5..=7 => INT_EDGES[value as usize % INT_EDGES.len()],
            8 => value & 0x3F,
            9 => value & 0xFF,
            10 => value & 0xFFFF,
            11 => 1 << (value & 31),
            12 => u32::MAX << (value & 31),
            13 => (self.last as u32).wrapping_add(value & 3).wrapping_sub(1),
            14 => !(self.last as u32),
            _ => (value as i32 >> (value & 31)) as u32,
        };
        self.last = u64::from(value);
        value
    }

    /// A single-precision operand.
    pub fn f32(&mut self) -> u32 {
        let r = self.next();
        let value = (r >> 32) as u32;
        let value = match r & 15 {
            0..=2 => F32_EDGES[value as usize % F32_EDGES.len()],
            3 => value,
            // Numbers near 1, so that sums cancel and products stay finite.
            4..=8 => value & 0x83FF_FFFF | 0x3C00_0000,
            9 => (value as i32 % 4096) as f32 as i32 as u32,
            10 => ((value as i32 >> (value & 31)) as f32).to_bits(),
            11 => (value as i32 as f32 / 2.0).to_bits(),
            // Round-off and cancellation: the last value with another sign or last bits.
            12 => self.last as u32 ^ 0x8000_0000,
            13 => (self.last as u32).wrapping_add(value & 7).wrapping_sub(3),
            14 => value & 0x807F_FFFF | (value & 0x1F) << 23 & 0x0F80_0000,
            _ => value & 0x8000_FFFF | 0x7F00_0000,
        };
        self.last = u64::from(value);
        value
    }

    /// A double-precision operand.
    pub fn f64(&mut self) -> u64 {
        let r = self.next();
        let value = self.next();
        let value = match r & 15 {
            0..=2 => F64_EDGES[(value >> 32) as usize % F64_EDGES.len()],
            3 => value,
            4..=7 => value & 0x803F_FFFF_FFFF_FFFF | 0x3FC0_0000_0000_0000,
            8 => (value as i32 as f64).to_bits(),
            9 => ((value as i64 >> (r >> 58)) as f64).to_bits(),
            10 => (value as i32 as f64 / 2.0).to_bits(),
            // What narrows to a single with or without an error.
            11 => f64::from(f32::from_bits(value as u32 & 0x83FF_FFFF | 0x3C00_0000)).to_bits(),
            12 => self.last ^ 1 << 63,
            13 => self.last.wrapping_add(r >> 61).wrapping_sub(3),
            14 => value & 0x800F_FFFF_FFFF_FFFF | (r >> 59) << 52,
            // The range in which a single overflows, underflows or is denormal.
            _ => {
                value & 0x801F_FFFF_FFFF_FFFF | if r >> 63 == 0 { 0x3800_0000_0000_0000 } else { 0x47E0_0000_0000_0000 }
            }
        };
        self.last = value;
        value
    }

    /// An extended-precision operand: significand, then sign and exponent.
    pub fn f80(&mut self) -> (u64, u16) {
        let r = self.next();
        let m = self.next();
        let sign = (r >> 63 << 15) as u16;
        let normal = m | 1 << 63;
        let (m, e) = match r & 31 {
            0..=5 => F80_EDGES[(r >> 40) as usize % F80_EDGES.len()],
            6 => (m, (r >> 16) as u16),
            7 => (normal, (r >> 16) as u16 & 0x7FFF),
            8..=14 => (normal, 0x3FFF - 40 + (r >> 16) as u16 % 80),
            15..=17 => (normal, 0x3FFF - 3 + (r >> 16) as u16 % 6),
            18..=20 => widen(m as i32 as f64),
            21 => widen(m as i32 as f64 / 2.0),
            22 => widen(f64::from_bits(self.f64())),
            23 => widen(f64::from(f32::from_bits(self.f32()))),
            // Long runs of ones and zeros, where rounding carries.
            24 => (u64::MAX << (m & 63), 0x3FFF - 70 + (r >> 16) as u16 % 140),
            25 => (1 << 63 | 1 << (m & 63), 0x3FFF - 70 + (r >> 16) as u16 % 140),
            26 => (u64::MAX - (m & 3), 0x3FFF - 70 + (r >> 16) as u16 % 140),
            // The edges of single, double and extended range.
            27 => (normal, 0x3FFF - 150 + (r >> 16) as u16 % 30),
            28 => (normal, 0x3FFF + 126 + (r >> 16) as u16 % 4),
            29 => (normal, 0x3FFF + 1022 + (r >> 16) as u16 % 4),
            30 => (normal, 0x3FFF - 1080 + (r >> 16) as u16 % 62),
            _ => (normal, if r & 1 << 40 == 0 { 1 } else { 0x7FFE }),
        };
        (m, e ^ sign)
    }
}

/// A double as an extended number: significand, then sign and exponent.
pub(in crate::conform) fn widen(value: f64) -> (u64, u16) {
    let bits = value.to_bits();
    let sign = (bits >> 63 << 15) as u16;
    let exponent = (bits >> 52 & 0x7FF) as u16;
    let fraction = bits << 11 & u64::MAX >> 1;
    match exponent {
        0 if fraction == 0 => (0, sign),
        0 => {
            let shift = fraction.leading_zeros();
            (fraction << shift, sign | (0x3FFF - 1022 - shift as u16))
        }
        0x7FF => (fraction | 1 << 63, sign | 0x7FFF),
        _ => (fraction | 1 << 63, sign | (exponent + 0x3FFF - 1023)),
    }
}

const INT_EDGES: [u32; 26] = [
    0,
    0,
    1,
    2,
    7,
    8,
    0xF,
    0x10,
    0x1F,
    0x20,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x1_0000,
    0x7FFF_FFFF,
    0x8000_0000,
    0x8000_0001,
    0xFFFF_FFFE,
    0xFFFF_FFFF,
    0xFFFF_0000,
    0x9999_9999,
    0x0F0F_0F0F,
];

const F32_EDGES: [u32; 24] = [
    0x0000_0000,
    0x8000_0000,
    0x3F80_0000,
    0xBF80_0000,
    0x3F00_0000,
    0x3FC0_0000,
    0x4020_0000,
    0x7F80_0000,
    0xFF80_0000,
    0x7FC0_0000,
    0xFFC0_0000,
    0x7F80_0001,
    0xFFBF_FFFF,
    0x7FFF_FFFF,
    0x0000_0001,
    0x807F_FFFF,
    0x0080_0000,
    0x8080_0001,
    0x7F7F_FFFF,
    0xFF7F_FFFF,
    0x4F00_0000,
    0xCF00_0000,
    0x4EFF_FFFF,
    0x4F80_0000,
];

const F64_EDGES: [u64; 30] = [
    0x0000_0000_0000_0000,
    0x8000_0000_0000_0000,
    0x3FF0_0000_0000_0000,
    0xBFF0_0000_0000_0000,
    0x3FE0_0000_0000_0000,
    0x3FF8_0000_0000_0000,
    0x4004_0000_0000_0000,
    0x7FF0_0000_0000_0000,
    0xFFF0_0000_0000_0000,
    0x7FF8_0000_0000_0000,
    0xFFF8_0000_0000_0000,
    0x7FF0_0000_0000_0001,
    0xFFF7_FFFF_FFFF_FFFF,
    0x7FFF_FFFF_FFFF_FFFF,
    0x0000_0000_0000_0001,
    0x800F_FFFF_FFFF_FFFF,
    0x0010_0000_0000_0000,
    0x8010_0000_0000_0001,
    0x7FEF_FFFF_FFFF_FFFF,
    0xFFEF_FFFF_FFFF_FFFF,
    0x41DF_FFFF_FFC0_0000,
    0x41DF_FFFF_FFE0_0000,
    0x41E0_0000_0000_0000,
    0xC1E0_0000_0000_0000,
    0xC1E0_0000_0010_0000,
    0xC1E0_0000_0020_0000,
    0x36A0_0000_0000_0000,
    0x380F_FFFF_FFFF_FFFF,
    0x47EF_FFFF_EFFF_FFFF,
    0x47EF_FFFF_F000_0000,
];

const F80_EDGES: [(u64, u16); 34] = [
    (0, 0),
    (0, 0x8000),
    (1 << 63, 0x3FFF),
    (1 << 63, 0xBFFF),
    (1 << 63, 0x3FFE),
    (3 << 62, 0x3FFF),
    (5 << 61, 0x4000),
    (1 << 63, 0x7FFF),
    (1 << 63, 0xFFFF),
    (3 << 62, 0x7FFF),
    (3 << 62, 0xFFFF),
    (1 << 63 | 1, 0x7FFF),
    (0xBFFF_FFFF_FFFF_FFFF, 0xFFFF),
    (u64::MAX, 0x7FFF),
    // Denormals, a pseudo-denormal, unnormals, a pseudo-infinity, a pseudo-NaN.
    (1, 0),
    (u64::MAX >> 1, 0x8000),
    (1 << 62, 0),
    (1 << 63, 0),
    (u64::MAX, 0x8000),
    (1 << 62, 0x3FFF),
    (0, 0x3FFF),
    (0, 0x7FFF),
    (1, 0xFFFF),
    (1 << 62, 0x7FFF),
    // The smallest and largest normals.
    (1 << 63, 1),
    (u64::MAX, 1),
    (u64::MAX, 0x7FFE),
    (1 << 63, 0xFFFE),
    // Pi, pi/4, ln 2, log2 10.
    (0xC90F_DAA2_2168_C235, 0x4000),
    (0xC90F_DAA2_2168_C235, 0x3FFE),
    (0xB172_17F7_D1CF_79AC, 0x3FFE),
    (0xD49A_784B_CD1B_8AFE, 0x4000),
    // 2^63 and the largest FBSTP value.
    (1 << 63, 0x403E),
    (0xDE0B_6B3A_763F_FFF0, 0x403A),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_keeps_the_value() {
        assert_eq!(widen(1.0), (1 << 63, 0x3FFF));
        assert_eq!(widen(-2.5), (5 << 61, 0xC000));
        assert_eq!(widen(f64::from_bits(1)), (1 << 63, 0x3FFF - 1074));
        assert_eq!(widen(f64::from_bits(1 << 51)), (1 << 63, 0x3FFF - 1023));
        assert_eq!(widen(f64::INFINITY), (1 << 63, 0x7FFF));
        assert_eq!(widen(0.0), (0, 0));
    }

    #[test]
    fn a_seed_fixes_the_sequence() {
        let sequence = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.next()]
        };
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
        // Values from the reference implementation of splitmix64 and xoshiro256++.
        assert_eq!(Random::new(0).state[0], 0xE220_A839_7B1D_CDAF);
    }
}
