//! Scan code set 1 to BIOS key codes: for each make code the words (scan << 8 | ASCII) that int 16h returns plain, with
//! Shift, with Ctrl and with Alt. Zero means that the combination produces nothing.

use crate::asm::{Builder, Emit, x86};

/// Highest make code in the table.
pub const LAST_SCAN: i32 = 0x58;

type Row = [u16; 4];

/// A key whose Ctrl and Alt codes are its own scan code with no character.
fn printable(scan: u16, plain: char, shift: char, ctrl: u16) -> Row {
    let code = |character: u16| scan << 8 | character;
    [code(plain as u16), code(shift as u16), ctrl, code(0)]
}

/// The key code table, indexed by make code.
fn rows() -> [Row; LAST_SCAN as usize + 1] {
    let mut rows = [[0; 4]; LAST_SCAN as usize + 1];
    rows[0x01] = [0x011b, 0x011b, 0x011b, 0x0100];
    for (i, (plain, shift)) in "1234567890-=".chars().zip("!@#$%^&*()_+".chars()).enumerate() {
        let scan = 0x02 + i as u16;
        let ctrl = match plain {
            '2' => 0x0300,
            '6' => 0x071e,
            '-' => 0x0c1f,
            _ => 0,
        };
        rows[usize::from(scan)] = printable(scan, plain, shift, ctrl);
        rows[usize::from(scan)][3] = 0x7800 + ((i as u16) << 8);
    }
    rows[0x0e] = [0x0e08, 0x0e08, 0x0e7f, 0x0e00];
    rows[0x0f] = [0x0f09, 0x0f00, 0x9400, 0xa500];
    for (first, letters) in [(0x10, "qwertyuiop"), (0x1e, "asdfghjkl"), (0x2c, "zxcvbnm")] {
        for (i, letter) in letters.chars().enumerate() {
            let scan = first + i as u16;
            let control = scan << 8 | (letter as u16 & 0x1f);
            rows[usize::from(scan)] = printable(scan, letter, letter.to_ascii_uppercase(), control);
        }
    }
    rows[0x1a] = printable(0x1a, '[', '{', 0x1a1b);
    rows[0x1b] = printable(0x1b, ']', '}', 0x1b1d);
    rows[0x1c] = [0x1c0d, 0x1c0d, 0x1c0a, 0x1c00];
    rows[0x27] = printable(0x27, ';', ':', 0);
    rows[0x28] = printable(0x28, '\'', '"', 0);
    rows[0x29] = printable(0x29, '`', '~', 0);
    rows[0x2b] = printable(0x2b, '\\', '|', 0x2b1c);
    rows[0x33] = printable(0x33, ',', '<', 0);
    rows[0x34] = printable(0x34, '.', '>', 0);
    rows[0x35] = printable(0x35, '/', '?', 0);
    rows[0x37] = [0x372a, 0x372a, 0x9600, 0x3700];
    rows[0x39] = [0x3920; 4];
    for i in 0..10 {
        rows[0x3b + usize::from(i)] = [0x3b00, 0x5400, 0x5e00, 0x6800].map(|code: u16| code + (i << 8));
    }
    // Keypad: plain is the cursor function, "shift" the digit; Num Lock swaps the two. Alt collects digits elsewhere.
    let keypad = "789-456+1230.".chars();
    let control = [0x77, 0x8d, 0x84, 0x8e, 0x73, 0x8f, 0x74, 0x90, 0x75, 0x91, 0x76, 0x92, 0x93];
    for (i, (digit, control)) in keypad.zip(control).enumerate() {
        let scan = 0x47 + i as u16;
        let with_digit = scan << 8 | digit as u16;
        rows[usize::from(scan)] = match digit {
            '-' | '+' => [with_digit, with_digit, control << 8, scan << 8],
            '5' => [0x4c00, with_digit, control << 8, 0],
            _ => [scan << 8, with_digit, control << 8, 0],
        };
    }
    rows[0x56] = printable(0x56, '\\', '|', 0);
    rows[0x57] = [0x8500, 0x8700, 0x8900, 0x8b00];
    rows[0x58] = [0x8600, 0x8800, 0x8a00, 0x8c00];
    rows
}

/// Keys that follow an E0h prefix: make code, then as in the main table. The list ends with a zero.
const EXTENDED: &[(u8, Row)] = &[
    (0x1c, [0xe00d, 0xe00d, 0xe00a, 0xa600]),
    (0x35, [0xe02f, 0xe02f, 0x9500, 0xa400]),
    (0x47, [0x47e0, 0x47e0, 0x77e0, 0x9700]),
    (0x48, [0x48e0, 0x48e0, 0x8de0, 0x9800]),
    (0x49, [0x49e0, 0x49e0, 0x84e0, 0x9900]),
    (0x4b, [0x4be0, 0x4be0, 0x73e0, 0x9b00]),
    (0x4d, [0x4de0, 0x4de0, 0x74e0, 0x9d00]),
    (0x4f, [0x4fe0, 0x4fe0, 0x75e0, 0x9f00]),
    (0x50, [0x50e0, 0x50e0, 0x91e0, 0xa000]),
    (0x51, [0x51e0, 0x51e0, 0x76e0, 0xa100]),
    (0x52, [0x52e0, 0x52e0, 0x92e0, 0xa200]),
    (0x53, [0x53e0, 0x53e0, 0x93e0, 0xa300]),
];

/// Make codes of letters, which Caps Lock turns: one bit for each code.
fn letters() -> [u8; 11] {
    let mut bits = [0; 11];
    for scan in (0x10..=0x19).chain(0x1e..=0x26).chain(0x2c..=0x32) {
        bits[scan / 8] |= 1 << (scan % 8);
    }
    bits
}

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b; key_table:);
    for row in rows() {
        for code in row {
            b.db(&code.to_le_bytes())?;
        }
    }
    x86!(b; extended_key_table:);
    for (scan, row) in EXTENDED {
        b.db(&[*scan])?;
        for code in row {
            b.db(&code.to_le_bytes())?;
        }
    }
    b.db(&[0])?;
    x86!(b; letter_bits:);
    b.db(&letters())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_technical_reference() {
        let rows = rows();
        assert_eq!(rows[0x1e], [0x1e61, 0x1e41, 0x1e01, 0x1e00]);
        assert_eq!(rows[0x03], [0x0332, 0x0340, 0x0300, 0x7900]);
        assert_eq!(rows[0x0d], [0x0d3d, 0x0d2b, 0, 0x8300]);
        assert_eq!(rows[0x44], [0x4400, 0x5d00, 0x6700, 0x7100]);
        assert_eq!(rows[0x53], [0x5300, 0x532e, 0x9300, 0]);
        assert_eq!(rows[0x4a], [0x4a2d, 0x4a2d, 0x8e00, 0x4a00]);
        assert_eq!(letters().iter().map(|byte| byte.count_ones()).sum::<u32>(), 26);
    }
}
