//! The 93C46 serial EEPROM of 64 words from which the card, and its drivers, take the station address.

use super::spec::cr_9346::{EECS, EEDI, EEDO, EESK};
use crate::net::MacAddress;

/// Words it holds.
const WORDS: usize = 64;

/// The EEPROM behind its four pins. It is read-only here: what drivers write is not kept.
#[derive(Clone, Debug)]
pub(super) struct Eeprom {
    words: [u16; WORDS],
    pins: u8,
    /// What was shifted in since chip select, the start bit first; 0 before the start bit.
    command: u16,
    /// The word being shifted out; a zero bit leads it.
    output: u32,
    /// Bits of `output` that are left.
    left: u8,
}

/// A start bit, two bits of operation, six of address.
const COMMAND_BITS: u16 = 1 << 8;
/// The operation that reads.
const READ: u16 = 0b10;

impl Eeprom {
    /// An EEPROM as a board with `mac` has it.
    pub(super) fn new(mac: &MacAddress) -> Self {
        let mut words = [0; WORDS];
        words[0] = 0x8129;
        words[1] = 0x10EC;
        words[2] = 0x8139;
        words[3] = 0x10EC;
        words[4] = 0x8139;
        for (word, pair) in words[7..].iter_mut().zip(mac.chunks_exact(2)) {
            *word = u16::from_le_bytes([pair[0], pair[1]]);
        }
        Self { words, pins: 0, command: 0, output: 0, left: 0 }
    }

    /// Drives the pins.
    pub(super) fn write(&mut self, pins: u8) {
        let rising = pins & !self.pins & EESK != 0;
        self.pins = pins;
        if pins & EECS == 0 {
            (self.command, self.left) = (0, 0);
            return;
        }
        if !rising {
            return;
        }
        if self.command & COMMAND_BITS != 0 {
            self.left = self.left.saturating_sub(1);
            return;
        }
        self.command = self.command << 1 | u16::from(pins & EEDI != 0);
        if self.command & COMMAND_BITS != 0 && self.command >> 6 & 3 == READ {
            self.output = self.words[usize::from(self.command & 0x3F)].into();
            self.left = 17;
        }
    }

    /// The pins, with what the EEPROM puts out. An idle output floats high.
    pub(super) fn read(&self) -> u8 {
        let out = self.left == 0 || self.output >> (self.left - 1) & 1 != 0;
        self.pins & (EECS | EESK | EEDI) | if out { EEDO } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a word as drivers do, with this many address bits.
    fn word(eeprom: &mut Eeprom, address: u16, bits: u8) -> u16 {
        let clock = |eeprom: &mut Eeprom, bit: bool| {
            let data = EECS | if bit { EEDI } else { 0 };
            eeprom.write(data);
            eeprom.write(data | EESK);
            let out = eeprom.read() & EEDO != 0;
            eeprom.write(data);
            out
        };
        eeprom.write(EECS);
        for i in (0..bits + 3).rev() {
            clock(eeprom, (0b110 << bits | address) >> i & 1 != 0);
        }
        let value = (0..16).fold(0, |value, _| value << 1 | u16::from(clock(eeprom, false)));
        eeprom.write(0);
        value
    }

    #[test]
    fn words_are_read_bit_by_bit() {
        let mut eeprom = Eeprom::new(&[0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);
        assert_eq!(word(&mut eeprom, 0, 6), 0x8129);
        assert_eq!([7, 8, 9].map(|i| word(&mut eeprom, i, 6)), [0x5452, 0x1200, 0x5634]);
        assert_ne!(word(&mut eeprom, 0, 8), 0x8129, "a larger EEPROM would answer to this");
    }
}
