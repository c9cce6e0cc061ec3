//! Names: long ones in UTF-16, their short aliases, and which of them a host folder may see.

use super::layout::ENTRY;
use ring86_devices::vga::CODE_PAGE_437;
use std::collections::HashSet;

/// Where deleted files go; the guest never sees it.
pub const KEPT: &str = ".ring86-deleted";
/// Attribute of a long name's entries.
pub const LONG: u8 = 0x0f;

/// Whether a name can be a long name on the disk and a file's name on the host: one plain component of a path.
pub fn is_plain(name: &str) -> bool {
    let forbidden = |c: char| c < ' ' || "\"*/:<>?\\|\u{7f}".contains(c);
    !name.is_empty()
        && name.len() <= 255
        && name.encode_utf16().count() <= 255
        && !name.chars().any(forbidden)
        && !name.ends_with(['.', ' '])
        && !name.eq_ignore_ascii_case(KEPT)
}

/// Whether the characters may be in a short name.
fn is_short(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || "!#$%&'()-@^_`{}~".contains(c)
}

/// The directory entries' names for `long`: the short one, and whether a long one must go with it.
pub fn short(long: &str, taken: &mut HashSet<[u8; 11]>) -> ([u8; 11], bool) {
    let (base, extension) = long.rsplit_once('.').unwrap_or((long, ""));
    let fits = |part: &str, most: usize| part.len() <= most && part.chars().all(is_short);
    if !base.is_empty() && fits(base, 8) && fits(extension, 3) && (extension.is_empty() != long.contains('.')) {
        let name = join(base, extension);
        if taken.insert(name) {
            return (name, false);
        }
    }
    let keep = |part: &str| part.chars().map(|c| c.to_ascii_uppercase()).filter(|c| is_short(*c)).collect::<String>();
    let (mut base, mut extension) = (keep(base), keep(extension));
    extension.truncate(3);
    if base.is_empty() {
        base = "_".to_owned();
    }
    let simple = join(&base[..base.len().min(8)], &extension);
    if base.len() <= 8 && taken.insert(simple) {
        return (simple, true);
    }
    let mut number = 1u32;
    loop {
        let tail = format!("~{number}");
        let name = join(&format!("{}{tail}", &base[..base.len().min(8 - tail.len())]), &extension);
        if taken.insert(name) {
            return (name, true);
        }
        number += 1;
    }
}

fn join(base: &str, extension: &str) -> [u8; 11] {
    let mut name = [b' '; 11];
    name[..base.len()].copy_from_slice(base.as_bytes());
    name[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    name
}

/// The checksum that ties a long name to its short one.
pub fn checksum(short: &[u8]) -> u8 {
    short.iter().take(11).fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// Places of the thirteen characters in a long name's entry.
const PLACES: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// The entries of a long name, in the order of the disk.
pub fn long_entries(long: &str, short: &[u8; 11]) -> Vec<u8> {
    let mut units: Vec<u16> = long.encode_utf16().collect();
    if !units.len().is_multiple_of(13) {
        units.push(0);
    }
    units.resize(units.len().next_multiple_of(13), 0xffff);
    let count = units.len() / 13;
    let mut entries = Vec::with_capacity(count * ENTRY);
    for (i, part) in units.chunks(13).enumerate().rev() {
        let mut entry = [0; ENTRY];
        entry[0] = (i + 1) as u8 | if i + 1 == count { 0x40 } else { 0 };
        entry[11] = LONG;
        entry[13] = checksum(short);
        for (place, unit) in PLACES.into_iter().zip(part) {
            entry[place..place + 2].copy_from_slice(&unit.to_le_bytes());
        }
        entries.extend(entry);
    }
    entries
}

/// The name of a short entry. Its letters are small where Windows NT's bits say so.
pub fn of_short(entry: &[u8]) -> String {
    let case = entry[12];
    let part = |bytes: &[u8], small: bool| {
        let text: String = bytes
            .iter()
            .enumerate()
            .map(|(i, byte)| if i == 0 && *byte == 0x05 { 0xe5 } else { *byte })
            .map(|byte| if byte < 0x80 { char::from(byte) } else { CODE_PAGE_437[usize::from(byte)] })
            .collect();
        let text = text.trim_end_matches(' ').to_owned();
        if small { text.to_ascii_lowercase() } else { text }
    };
    let (base, extension) = (part(&entry[..8], case & 0x08 != 0), part(&entry[8..11], case & 0x10 != 0));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

/// Puts long names together while a directory is read.
#[derive(Default)]
pub struct LongName {
    units: Vec<u16>,
    checksum: u8,
    /// The number that the next entry must have; 0 when the name is whole.
    next: u8,
}

impl LongName {
    /// Takes one of a long name's entries.
    pub fn take(&mut self, entry: &[u8]) {
        let number = entry[0] & 0x1f;
        if entry[0] & 0x40 != 0 && number > 0 {
            (self.units, self.checksum, self.next) = (vec![0; usize::from(number) * 13], entry[13], number);
        }
        if number == 0 || number != self.next || entry[13] != self.checksum {
            *self = Self::default();
            return;
        }
        let start = usize::from(number - 1) * 13;
        for (unit, place) in self.units[start..start + 13].iter_mut().zip(PLACES) {
            *unit = u16::from_le_bytes([entry[place], entry[place + 1]]);
        }
        self.next -= 1;
    }

    /// The name, if it is whole and belongs to the short entry that follows it.
    pub fn finish(&mut self, short: &[u8]) -> Option<String> {
        let name = std::mem::take(self);
        if name.units.is_empty() || name.next != 0 || name.checksum != checksum(short) {
            return None;
        }
        let end = name.units.iter().position(|unit| *unit == 0).unwrap_or(name.units.len());
        String::from_utf16(&name.units[..end]).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_to_the_disk_and_come_back() {
        let mut taken = HashSet::new();
        let mut seen = Vec::new();
        for long in ["README.TXT", "readme.txt", "A long name, with spaces.text", "Ärger.md", ".profile", "a.b.c", "X"]
        {
            let (name, needs_long) = short(long, &mut taken);
            seen.push(String::from_utf8_lossy(&name).into_owned());
            let mut entry = [0; ENTRY];
            entry[..11].copy_from_slice(&name);
            let mut reader = LongName::default();
            if needs_long {
                long_entries(long, &name).chunks(ENTRY).for_each(|entry| reader.take(entry));
            }
            assert_eq!(reader.finish(&entry).unwrap_or_else(|| of_short(&entry)), long);
        }
        assert_eq!(seen[..3], ["README  TXT", "README~1TXT", "ALONGN~1TEX"]);
        assert_eq!(seen[6], "X          ");
    }

    #[test]
    fn names_that_lead_elsewhere_are_not_plain() {
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "c:", "x\0", "con\n", "tail.", "tail ", ".Ring86-Deleted"] {
            assert!(!is_plain(name), "{name:?}");
        }
        assert!(is_plain("..x") && is_plain("a b.c") && is_plain("Ω"));
        assert!(!is_plain(&"x".repeat(256)));
    }
}
