//! FBLD and FBSTP: packed decimal integers of 18 digits (SDM vol. 1, 4.7).

use super::convert::{from_i64, to_magnitude};
use super::{Control, F80, Outcome, flag};

/// FBLD. Nibbles above 9 are not checked, and count with their binary value.
pub fn from_bcd(bytes: [u8; 10]) -> F80 {
    let [digits @ .., sign] = bytes;
    let magnitude = digits.iter().rev().fold(0i64, |n, &d| n * 100 + i64::from(d >> 4) * 10 + i64::from(d & 15));
    let value = from_i64(magnitude);
    F80 { sign_exp: value.sign_exp | u16::from(sign & 0x80) << 8, ..value }
}

/// FBSTP.
pub fn to_bcd(a: F80, c: Control) -> Outcome<[u8; 10]> {
    let limit = 1_000_000_000_000_000_000;
    let Some((mut magnitude, status)) = to_magnitude(a, c.rounding()).filter(|&(magnitude, _)| magnitude < limit)
    else {
        return Outcome::checked([0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff], flag::IE, c);
    };
    let mut bytes = [0; 10];
    for byte in bytes.iter_mut().take(9) {
        let pair = (magnitude % 100) as u8;
        *byte = ((pair / 10) << 4) | (pair % 10);
        magnitude /= 100;
    }
    bytes[9] = u8::from(a.sign()) << 7;
    Outcome::done(bytes, status)
}
