//! Names of keys in scripts.

use crate::keys;
use ring86_devices::i8042::KeyCode;

/// Keys that have a name; those with a character of their own go by that too.
#[rustfmt::skip]
const NAMES: &[(&str, KeyCode)] = &[
    ("ctrl", KeyCode::ControlLeft), ("rctrl", KeyCode::ControlRight),
    ("alt", KeyCode::AltLeft), ("altgr", KeyCode::AltRight), ("ralt", KeyCode::AltRight),
    ("shift", KeyCode::ShiftLeft), ("rshift", KeyCode::ShiftRight),
    ("win", KeyCode::MetaLeft), ("rwin", KeyCode::MetaRight), ("menu", KeyCode::ContextMenu),
    ("esc", KeyCode::Escape), ("enter", KeyCode::Enter), ("tab", KeyCode::Tab),
    ("backspace", KeyCode::Backspace), ("space", KeyCode::Space),
    ("up", KeyCode::ArrowUp), ("down", KeyCode::ArrowDown),
    ("left", KeyCode::ArrowLeft), ("right", KeyCode::ArrowRight),
    ("home", KeyCode::Home), ("end", KeyCode::End), ("pgup", KeyCode::PageUp), ("pgdn", KeyCode::PageDown),
    ("ins", KeyCode::Insert), ("del", KeyCode::Delete),
    ("control", KeyCode::ControlLeft), ("escape", KeyCode::Escape), ("return", KeyCode::Enter),
    ("pageup", KeyCode::PageUp), ("pagedown", KeyCode::PageDown),
    ("insert", KeyCode::Insert), ("delete", KeyCode::Delete),
    ("f1", KeyCode::F1), ("f2", KeyCode::F2), ("f3", KeyCode::F3), ("f4", KeyCode::F4),
    ("f5", KeyCode::F5), ("f6", KeyCode::F6), ("f7", KeyCode::F7), ("f8", KeyCode::F8),
    ("f9", KeyCode::F9), ("f10", KeyCode::F10), ("f11", KeyCode::F11), ("f12", KeyCode::F12),
    ("capslock", KeyCode::CapsLock), ("numlock", KeyCode::NumLock), ("scrolllock", KeyCode::ScrollLock),
    ("print", KeyCode::PrintScreen), ("pause", KeyCode::Pause),
    ("minus", KeyCode::Minus), ("equal", KeyCode::Equal),
    ("kp0", KeyCode::Numpad0), ("kp1", KeyCode::Numpad1), ("kp2", KeyCode::Numpad2), ("kp3", KeyCode::Numpad3),
    ("kp4", KeyCode::Numpad4), ("kp5", KeyCode::Numpad5), ("kp6", KeyCode::Numpad6), ("kp7", KeyCode::Numpad7),
    ("kp8", KeyCode::Numpad8), ("kp9", KeyCode::Numpad9), ("kpenter", KeyCode::NumpadEnter),
    ("kpplus", KeyCode::NumpadAdd), ("kpminus", KeyCode::NumpadSubtract), ("kptimes", KeyCode::NumpadMultiply),
    ("kpdivide", KeyCode::NumpadDivide), ("kppoint", KeyCode::NumpadDecimal),
];

/// The key called `name`, in any case. A single character is the key that types it without Shift.
pub fn key(name: &str) -> Option<KeyCode> {
    let name = name.to_ascii_lowercase();
    if let Some((_, key)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(*key);
    }
    let mut chars = name.chars();
    let (Some(c), None) = (chars.next(), chars.next()) else { return None };
    match keys::strokes(c)?.as_slice() {
        [(key, true), (_, false)] if !c.is_control() => Some(*key),
        _ => None,
    }
}

/// All names.
pub fn all() -> impl Iterator<Item = &'static str> + Clone {
    NAMES.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_characters() {
        assert_eq!((key("Del"), key("a"), key("A")), (Some(KeyCode::Delete), Some(KeyCode::A), Some(KeyCode::A)));
        assert_eq!((key("/"), key("="), key("?")), (Some(KeyCode::Slash), Some(KeyCode::Equal), None));
        assert_eq!((key(""), key("\n"), key("ab")), (None, None, None));
        let mut names: Vec<_> = all().collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
