//! One log line for each kind of thing a guest asks for that a chip does not do.

/// Codes (command bytes) that were reported already.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reported([u64; 4]);

impl Reported {
    /// Whether this is the first time for `code`.
    pub(crate) fn first(&mut self, code: u8) -> bool {
        let (word, bit) = (usize::from(code >> 6), 1u64 << (code & 63));
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_first_once() {
        let mut reported = Reported::default();
        assert!((0..=255).all(|code| reported.first(code)));
        assert!(!(0..=255).any(|code| reported.first(code)));
    }
}
