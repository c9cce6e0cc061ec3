//! From characters to keys of a US keyboard.

use ring86_devices::i8042::KeyCode;

/// The keys that are typed without and with Shift, by the characters they give.
const KEYS: [(char, char, KeyCode); 48] = {
    use KeyCode::*;
    [
        ('a', 'A', A),
        ('b', 'B', B),
        ('c', 'C', C),
        ('d', 'D', D),
        ('e', 'E', E),
        ('f', 'F', F),
        ('g', 'G', G),
        ('h', 'H', H),
        ('i', 'I', I),
        ('j', 'J', J),
        ('k', 'K', K),
        ('l', 'L', L),
        ('m', 'M', M),
        ('n', 'N', N),
        ('o', 'O', O),
        ('p', 'P', P),
        ('q', 'Q', Q),
        ('r', 'R', R),
        ('s', 'S', S),
        ('t', 'T', T),
        ('u', 'U', U),
        ('v', 'V', V),
        ('w', 'W', W),
        ('x', 'X', X),
        ('y', 'Y', Y),
        ('z', 'Z', Z),
        ('1', '!', Digit1),
        ('2', '@', Digit2),
        ('3', '#', Digit3),
        ('4', '$', Digit4),
        ('5', '%', Digit5),
        ('6', '^', Digit6),
        ('7', '&', Digit7),
        ('8', '*', Digit8),
        ('9', '(', Digit9),
        ('0', ')', Digit0),
        ('`', '~', Grave),
        ('-', '_', Minus),
        ('=', '+', Equal),
        ('[', '{', BracketLeft),
        (']', '}', BracketRight),
        ('\\', '|', Backslash),
        (';', ':', Semicolon),
        ('\'', '"', Quote),
        (',', '<', Comma),
        ('.', '>', Period),
        ('/', '?', Slash),
        (' ', ' ', Space),
    ]
};

/// The key events (key, pressed) that type `c`; `None` if the keyboard has no such character.
pub fn strokes(c: char) -> Option<Vec<(KeyCode, bool)>> {
    let plain = match c {
        '\n' | '\r' => Some(KeyCode::Enter),
        '\t' => Some(KeyCode::Tab),
        '\u{8}' | '\u{7f}' => Some(KeyCode::Backspace),
        '\u{1b}' => Some(KeyCode::Escape),
        _ => KEYS.iter().find(|(low, _, _)| *low == c).map(|(_, _, key)| *key),
    };
    if let Some(key) = plain {
        return Some(press(key, &[]));
    }
    if let Some((_, _, key)) = KEYS.iter().find(|(_, high, _)| *high == c) {
        return Some(press(*key, &[KeyCode::ShiftLeft]));
    }
    // Control characters: 1 is Ctrl-A.
    let letter = char::from_u32(u32::from(c).checked_add(0x60)?).filter(|_| u32::from(c) < 0x20)?;
    let (_, _, key) = KEYS.iter().find(|(low, _, _)| *low == letter && letter.is_ascii_lowercase())?;
    Some(press(*key, &[KeyCode::ControlLeft]))
}

/// A press and release of `key` with `modifiers` held.
pub fn press(key: KeyCode, modifiers: &[KeyCode]) -> Vec<(KeyCode, bool)> {
    let mut events: Vec<_> = modifiers.iter().map(|m| (*m, true)).collect();
    events.push((key, true));
    events.push((key, false));
    events.extend(modifiers.iter().rev().map(|m| (*m, false)));
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printable_ascii_character_can_be_typed() {
        for c in ' '..='~' {
            assert!(strokes(c).is_some(), "{c}");
        }
        assert_eq!(strokes('a'), Some(vec![(KeyCode::A, true), (KeyCode::A, false)]));
        assert_eq!(strokes('A').map(|s| s.len()), Some(4));
        assert_eq!(strokes('\u{3}').map(|s| s[0]), Some((KeyCode::ControlLeft, true)));
        assert_eq!(strokes('\u{e4}'), None);
        assert_eq!(strokes('\0'), None);
    }
}
