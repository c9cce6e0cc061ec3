//! A sector of a CD as it lies on the disc: ECMA-130, sections 14 and 20 and annexes A and B, mode 1.

use super::cdrom::BLOCK;

/// Bytes in a sector with everything that belongs to it.
pub(super) const RAW: usize = 2352;

/// Where the header begins, behind the synchronisation pattern.
const HEADER: usize = 12;
/// Where the user data begin.
const DATA: usize = HEADER + 4;
/// Where error detection begins.
const EDC: usize = DATA + BLOCK;

/// Which parts of a sector a command asks for, as bits of READ CD's byte 9.
pub(super) mod part {
    /// Synchronisation pattern.
    pub const SYNC: u8 = 1 << 7;
    /// Header.
    pub const HEADER: u8 = 1 << 5;
    /// User data.
    pub const DATA: u8 = 1 << 4;
    /// Error detection and correction.
    pub const EDC: u8 = 1 << 3;
}

/// Minutes, seconds and frames of a block, with the two seconds before block 0.
pub(super) fn msf(block: u32) -> [u8; 3] {
    let frames = block.wrapping_add(150);
    [(frames / 75 / 60) as u8, (frames / 75 % 60) as u8, (frames % 75) as u8]
}

/// Whether the parts lie one behind the other, without a gap: the only way in which a drive gives them.
pub(super) fn is_contiguous(parts: u8) -> bool {
    let present = [part::SYNC, part::HEADER, part::DATA, part::EDC].map(|part| parts & part != 0);
    let starts = (0..4).filter(|&i| present[i] && (i == 0 || !present[i - 1])).count();
    starts <= 1
}

/// Appends the parts of a block to `out`.
pub(super) fn append(out: &mut Vec<u8>, block: u32, data: &[u8; BLOCK], parts: u8) {
    if parts & (part::SYNC | part::HEADER | part::EDC) == 0 {
        if parts & part::DATA != 0 {
            out.extend_from_slice(data);
        }
        return;
    }
    let sector = raw(block, data);
    let places =
        [(part::SYNC, 0..HEADER), (part::HEADER, HEADER..DATA), (part::DATA, DATA..EDC), (part::EDC, EDC..RAW)];
    for (_, place) in places.into_iter().filter(|(part, _)| parts & part != 0) {
        out.extend_from_slice(&sector[place]);
    }
}

/// The whole sector.
fn raw(block: u32, data: &[u8; BLOCK]) -> [u8; RAW] {
    let mut sector = [0; RAW];
    sector[1..11].fill(0xFF);
    let bcd = |value: u8| ((value / 10) << 4) | (value % 10);
    let address = msf(block).map(bcd);
    sector[HEADER..HEADER + 3].copy_from_slice(&address);
    sector[HEADER + 3] = 1;
    sector[DATA..EDC].copy_from_slice(data);
    let edc = edc(&sector[..EDC]);
    sector[EDC..EDC + 4].copy_from_slice(&edc.to_le_bytes());
    // P parity over the 43 columns of 24 words, Q over the 26 diagonals of 43 words, P parity among them.
    parity(&mut sector, 43, 24, |column, row| 43 * row + column);
    parity(&mut sector, 26, 43, |diagonal, n| (44 * n + 43 * diagonal) % 1118);
    sector
}

/// The cyclic redundancy check whose generator is (x^16 + x^15 + x^2 + 1)(x^16 + x^2 + x + 1), lowest bit first.
fn edc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 != 0 { crc >> 1 ^ 0xD801_8001 } else { crc >> 1 })
    })
}

/// Multiplies by the primitive element of GF(2^8), whose polynomial is x^8 + x^4 + x^3 + x^2 + 1.
fn times_alpha(value: u8) -> u8 {
    value << 1 ^ if value & 0x80 != 0 { 0x1D } else { 0 }
}

/// Multiplies in that field.
fn product(mut a: u8, b: u8) -> u8 {
    let mut sum = 0;
    for bit in 0..8 {
        if b >> bit & 1 != 0 {
            sum ^= a;
        }
        a = times_alpha(a);
    }
    sum
}

/// Fills in two parity words for each of `vectors` vectors of `length` words, for low and high bytes by themselves. The
/// words are counted from the header; `word` says which is a vector's n-th. The parities' columns lie behind all of them.
fn parity(sector: &mut [u8; RAW], vectors: usize, length: usize, word: impl Fn(usize, usize) -> usize) {
    /// 1 / (alpha + 1).
    const INVERSE: u8 = 0xF4;
    for vector in 0..vectors {
        for half in 0..2 {
            // The symbols and the parities add up to zero, each by itself and each times a power of alpha, which
            // falls from symbol to symbol to alpha and 1 at the parities.
            let (mut plain, mut weighted) = (0, 0);
            for n in 0..length {
                let symbol = sector[HEADER + 2 * word(vector, n) + half];
                plain ^= symbol;
                weighted = times_alpha(weighted ^ symbol);
            }
            let first = product(plain ^ times_alpha(weighted), INVERSE);
            let place = HEADER + 2 * (vectors * length + vector) + half;
            sector[place] = first;
            sector[place + 2 * vectors] = first ^ plain;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> [u8; RAW] {
        let mut data = [0; BLOCK];
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = (i * i + i / 7) as u8;
        }
        raw(4500 * 12 + 75 * 34 + 56 - 150, &data)
    }

    #[test]
    fn the_header_tells_the_address() {
        assert_eq!(sample()[..16], [0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0x12, 0x34, 0x56, 1]);
    }

    #[test]
    fn the_checks_come_out_as_zero() {
        let sector = sample();
        assert_eq!(edc(&sector[..EDC + 4]), 0);
        // By the parity check matrices, with the powers of alpha multiplied out.
        let power = |n: usize| (0..n).fold(1, |value, _| product(value, 2));
        let symbol = |word: usize, half: usize| sector[HEADER + 2 * word + half];
        let sums = |words: Vec<usize>, half: usize| {
            let last = words.len() - 1;
            words.iter().enumerate().fold((0, 0), |(a, b), (i, &word)| {
                let value = symbol(word, half);
                (a ^ value, b ^ product(value, power(last - i)))
            })
        };
        for half in 0..2 {
            for column in 0..43 {
                assert_eq!(sums((0..26).map(|row| 43 * row + column).collect(), half), (0, 0), "P {column}");
            }
            for n in 0..26 {
                let words = (0..43).map(|m| (44 * m + 43 * n) % 1118).chain([1118 + n, 1144 + n]);
                assert_eq!(sums(words.collect(), half), (0, 0), "Q {n}");
            }
        }
    }

    #[test]
    fn parts_are_cut_out() {
        let sector = sample();
        let data: [u8; BLOCK] = sector[DATA..EDC].try_into().unwrap();
        let block = 4500 * 12 + 75 * 34 + 56 - 150;
        for (parts, range) in [(0xF8, 0..RAW), (0xB8, 0..RAW), (0x10, DATA..EDC), (0x30, HEADER..EDC), (0x08, EDC..RAW)]
        {
            let mut out = Vec::new();
            append(&mut out, block, &data, parts);
            assert_eq!(out, sector[range], "{parts:02X}");
            assert!(is_contiguous(parts));
        }
        assert!(!is_contiguous(0x90) && !is_contiguous(0x28));
    }
}
