//! Makes a failing case small: fewer prefixes, registers and memory of zeros, no flags set, an empty FPU, for as long as
//! the same things differ.

use super::content::empty_fx;
use super::generate::{Encoding, encoding_of};
use super::judge::Judge;
use super::layout::{FX_LEN, NO_EXCEPTION, arena_pattern, field, get32, put32};
use super::report::{compare, line};
use super::results::Reproducer;
use super::subject::Subject;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The judge and the engine, asked about one case at a time.
pub struct Trial<'a> {
    judge: &'a mut dyn Judge,
    subject: &'a mut dyn Subject,
    pattern: Vec<u8>,
    got: Vec<u8>,
    /// Nothing is left out of comparisons.
    unmasked: bool,
    /// Why the judge is known to be wrong about the case that ran last.
    pub known: Option<&'static str>,
    /// Cases still to be tried before the work is broken off.
    left: u32,
}

/// Most cases tried for one failure: a fraction of a second.
const PATIENCE: u32 = 3000;

impl<'a> Trial<'a> {
    /// Asks `judge` and `subject`.
    pub fn new(judge: &'a mut dyn Judge, subject: &'a mut dyn Subject, unmasked: bool) -> Trial<'a> {
        Trial { judge, subject, unmasked, known: None, pattern: arena_pattern(), got: vec![0; 4096], left: PATIENCE }
    }

    /// Runs a case on both sides and gives the fields that differ, as one text; empty if none does, or if
    /// the judge is known to be wrong.
    ///
    /// # Errors
    /// If the judge was lost.
    pub fn differences(&mut self, encoding: &Encoding, record: &[u8]) -> Result<String, String> {
        let stride = encoding.shape.stride();
        self.judge.load(encoding.placement, encoding.shape, &encoding.bytes);
        self.judge.arena().copy_from_slice(&self.pattern);
        self.judge.input()[..stride].copy_from_slice(record);
        self.judge.run(1).map_err(|lost| lost.reason)?;
        self.subject.load(encoding.placement, encoding.shape, &encoding.bytes, &self.pattern);
        self.subject.run_case(record, &mut self.got[..stride]);
        let expected = &self.judge.output()[..stride];
        let mask = self.judge.mask(encoding, self.unmasked);
        let got = &self.got[..stride];
        let differences = compare(encoding, mask, record, expected, got);
        let known = |_| self.judge.known(encoding, record, expected, got, self.unmasked);
        self.known = differences.as_ref().and_then(known);
        Ok(differences.filter(|_| self.known.is_none()).unwrap_or_default())
    }

    fn shows(&mut self, encoding: &Encoding, record: &[u8], fields: &BTreeSet<String>) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let now = self.differences(encoding, record).map(|text| fields_of(&text));
        now.is_ok_and(|now| !now.is_empty() && now.is_subset(fields))
    }

    /// The smallest case found that differs as `record` does.
    ///
    /// # Errors
    /// If `record` does not differ when it is run alone.
    pub fn minimise(&mut self, encoding: &Encoding, record: &[u8]) -> Result<Reproducer, String> {
        let fields = fields_of(&self.differences(encoding, record)?);
        if fields.is_empty() {
            return Err("the difference does not show when the case is run alone".to_owned());
        }
        let (mut encoding, mut record) = (encoding.clone(), record.to_vec());
        // What becomes possible by one step may make an earlier one possible.
        loop {
            let before = (encoding.bytes.clone(), record.clone());
            self.shorten(&mut encoding, &record, &fields);
            self.simplify_state(&encoding, &mut record, &fields);
            if before == (encoding.bytes.clone(), record.clone()) || self.left == 0 {
                break;
            }
        }
        let differences = self.differences(&encoding, &record)?;
        let text = self.explain(&encoding, &record, &differences);
        Ok(Reproducer { line: line(&encoding, &record, &differences), text })
    }

    /// The case that [`Trial::differences`] ran last, in several lines.
    pub fn explain(&self, encoding: &Encoding, record: &[u8], differences: &str) -> String {
        explain(encoding, record, self.judge.output(), &self.got, differences)
    }

    /// Leaves out prefixes, and makes immediates small.
    fn shorten(&mut self, encoding: &mut Encoding, record: &[u8], fields: &BTreeSet<String>) {
        let is_prefix = |byte: u8| matches!(byte, 0x26 | 0x2E | 0x36 | 0x3E | 0x64..=0x67 | 0xF0 | 0xF2 | 0xF3);
        let mut at = 0;
        while encoding.bytes.get(at).is_some_and(|byte| is_prefix(*byte)) {
            let mut bytes = encoding.bytes.clone();
            bytes.remove(at);
            if !self.try_bytes(encoding, &bytes, record, fields) {
                at += 1;
            }
        }
        let constants = encoding.constants();
        if constants.has_immediate() && !encoding.is_branch() {
            let (from, len) = (constants.immediate_offset(), constants.immediate_size());
            for value in [0, 1] {
                let mut bytes = encoding.bytes.clone();
                bytes[from..from + len].fill(0);
                bytes[from] = value;
                if bytes == encoding.bytes || self.try_bytes(encoding, &bytes, record, fields) {
                    break;
                }
            }
        }
    }

    fn try_bytes(&mut self, encoding: &mut Encoding, bytes: &[u8], record: &[u8], fields: &BTreeSet<String>) -> bool {
        let Some(other) = encoding_of(encoding.placement, bytes) else { return false };
        let same = other.bytes.len() == bytes.len()
            && other.instruction.mnemonic() == encoding.instruction.mnemonic()
            && other.shape == encoding.shape
            && other.reaches_same(encoding, record);
        if same && self.shows(&other, record, fields) {
            *encoding = other;
            return true;
        }
        false
    }

    fn simplify_state(&mut self, encoding: &Encoding, record: &mut Vec<u8>, fields: &BTreeSet<String>) {
        for (reg, free) in encoding.free_registers().into_iter().enumerate() {
            if free {
                self.simplify_word(encoding, record, field::GPR[reg], 0, fields);
            }
        }
        // Bit 1 is always set; IF is the host's.
        self.simplify_word(encoding, record, field::EFLAGS, 0x202, fields);
        if encoding.free_memory() {
            for index in 0..2 {
                let from = encoding.shape.window_offset(index);
                self.simplify_range(encoding, record, from..from + encoding.shape.window[index], fields);
            }
        }
        if encoding.shape.fx && encoding.free_memory() {
            let at = encoding.shape.fx_offset();
            let mut candidate = record.clone();
            candidate[at..at + FX_LEN].copy_from_slice(&empty_fx());
            if candidate != *record && self.shows(encoding, &candidate, fields) {
                *record = candidate;
            }
            // Each register alone, by its image's 16 bytes.
            for slot in 2..18 {
                let from = at + 16 * slot;
                let mut candidate = record.clone();
                candidate[from..from + 16].fill(0);
                if candidate != *record && self.shows(encoding, &candidate, fields) {
                    *record = candidate;
                }
            }
        }
    }

    /// Makes the 32-bit word at `at` `floor`, or clears as many of its bits as possible.
    fn simplify_word(
        &mut self,
        encoding: &Encoding,
        record: &mut Vec<u8>,
        at: usize,
        floor: u32,
        fields: &BTreeSet<String>,
    ) {
        let value = get32(record, at);
        let mut attempt = |record: &mut Vec<u8>, candidate: u32| {
            let old = get32(record, at);
            if candidate == old {
                return true;
            }
            put32(record, at, candidate);
            let shows = self.shows(encoding, record, fields);
            if !shows {
                put32(record, at, old);
            }
            shows
        };
        if attempt(record, floor) || floor == 0 && value != 1 && attempt(record, 1) {
            return;
        }
        for bit in (0..32).rev() {
            let now = get32(record, at);
            if now & !floor & 1 << bit != 0 {
                attempt(record, now & !(1 << bit));
            }
        }
    }

    /// Zeros the bytes of `range`, all or halves of it, down to single bytes.
    fn simplify_range(
        &mut self,
        encoding: &Encoding,
        record: &mut Vec<u8>,
        range: std::ops::Range<usize>,
        fields: &BTreeSet<String>,
    ) {
        if range.is_empty() || record[range.clone()].iter().all(|byte| *byte == 0) {
            return;
        }
        let mut candidate = record.clone();
        candidate[range.clone()].fill(0);
        if self.shows(encoding, &candidate, fields) {
            *record = candidate;
        } else if range.len() > 1 {
            let middle = range.start + range.len() / 2;
            self.simplify_range(encoding, record, range.start..middle, fields);
            self.simplify_range(encoding, record, middle..range.end, fields);
        }
    }
}

/// The names of the fields in a text of differences: ` eax: 1/2 eflags: 2/3`.
fn fields_of(differences: &str) -> BTreeSet<String> {
    let words = differences.split_whitespace().filter_map(|word| word.strip_suffix(':'));
    // Addresses and numbers in a name may change while a case shrinks.
    words.map(|word| word.split(['[', '(']).next().unwrap_or_default().to_owned()).collect()
}

/// The case in several lines: bytes, state before, what the judge left, what the engine left.
pub fn explain(encoding: &Encoding, input: &[u8], expected: &[u8], got: &[u8], differences: &str) -> String {
    let placement = encoding.placement;
    let bytes: Vec<String> = encoding.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut text = format!(
        "{}  ({}, {}-bit code at {:x}, {})\n",
        bytes.join(" "),
        encoding.text(),
        placement.environment.bits(),
        placement.eip(),
        placement.environment.name()
    );
    for (name, record, is_input) in [("before", input, true), ("judge ", expected, false), ("ring86", got, false)] {
        let _ = write!(text, "{name} ");
        for (reg, offset) in field::GPR.iter().enumerate() {
            let _ = write!(text, " {}={:08x}", super::report::REGISTERS[reg], get32(record, *offset));
        }
        let _ = write!(text, " eflags={:06x}", get32(record, field::EFLAGS));
        if !is_input {
            let _ = write!(text, " eip={:x}", get32(record, field::EIP));
            let vector = get32(record, field::VECTOR);
            if vector != NO_EXCEPTION {
                let _ = write!(text, " exception={vector} error={:x}", get32(record, field::ERROR));
            }
        }
        for index in 0..2 {
            let len = encoding.shape.window[index];
            if len > 0 {
                let at = encoding.shape.window_offset(index);
                let _ = write!(text, " [{:08x}]=", get32(input, field::WINDOW[index]));
                record[at..at + len].iter().for_each(|byte| {
                    let _ = write!(text, "{byte:02x}");
                });
            }
        }
        text.push('\n');
    }
    let _ = write!(text, "differs (judge/ring86):{differences}");
    text
}

#[cfg(test)]
mod tests {
    use super::fields_of;

    #[test]
    fn fields_are_named_without_their_numbers() {
        let fields: Vec<_> = fields_of(" eax: 1/2 [10100004]: 5/6 st0(4000/3fff): 7/8").into_iter().collect();
        assert_eq!(fields, ["", "eax", "st0"]);
    }
}
