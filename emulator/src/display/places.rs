//! From the names that browsers and windows give the places of keys (UI Events KeyboardEvent code values) to keys.

use ring86_devices::i8042::KeyCode;

/// The key at the place called `code`.
pub fn key(code: &str) -> Option<KeyCode> {
    if let Some(letter) = code.strip_prefix("Key").or_else(|| code.strip_prefix("Digit")) {
        return crate::automation::key(letter);
    }
    use KeyCode as K;
    #[rustfmt::skip]
    let keys: &[(&str, KeyCode)] = &[
        ("Escape", K::Escape), ("Enter", K::Enter), ("Tab", K::Tab), ("Backspace", K::Backspace), ("Space", K::Space),
        ("ArrowUp", K::ArrowUp), ("ArrowDown", K::ArrowDown), ("ArrowLeft", K::ArrowLeft), ("ArrowRight", K::ArrowRight),
        ("Home", K::Home), ("End", K::End), ("PageUp", K::PageUp), ("PageDown", K::PageDown),
        ("Insert", K::Insert), ("Delete", K::Delete),
        ("ShiftLeft", K::ShiftLeft), ("ShiftRight", K::ShiftRight), ("ControlLeft", K::ControlLeft),
        ("ControlRight", K::ControlRight), ("AltLeft", K::AltLeft), ("AltRight", K::AltRight),
        ("MetaLeft", K::MetaLeft), ("MetaRight", K::MetaRight), ("ContextMenu", K::ContextMenu),
        ("CapsLock", K::CapsLock), ("NumLock", K::NumLock), ("ScrollLock", K::ScrollLock),
        ("PrintScreen", K::PrintScreen), ("Pause", K::Pause),
        ("Backquote", K::Grave), ("Minus", K::Minus), ("Equal", K::Equal), ("BracketLeft", K::BracketLeft),
        ("BracketRight", K::BracketRight), ("Backslash", K::Backslash), ("Semicolon", K::Semicolon),
        ("Quote", K::Quote), ("Comma", K::Comma), ("Period", K::Period), ("Slash", K::Slash),
        ("F1", K::F1), ("F2", K::F2), ("F3", K::F3), ("F4", K::F4), ("F5", K::F5), ("F6", K::F6), ("F7", K::F7),
        ("F8", K::F8), ("F9", K::F9), ("F10", K::F10), ("F11", K::F11), ("F12", K::F12),
        ("Numpad0", K::Numpad0), ("Numpad1", K::Numpad1), ("Numpad2", K::Numpad2), ("Numpad3", K::Numpad3),
        ("Numpad4", K::Numpad4), ("Numpad5", K::Numpad5), ("Numpad6", K::Numpad6), ("Numpad7", K::Numpad7),
        ("Numpad8", K::Numpad8), ("Numpad9", K::Numpad9), ("NumpadEnter", K::NumpadEnter), ("NumpadAdd", K::NumpadAdd),
        ("NumpadSubtract", K::NumpadSubtract), ("NumpadMultiply", K::NumpadMultiply),
        ("NumpadDivide", K::NumpadDivide), ("NumpadDecimal", K::NumpadDecimal),
    ];
    keys.iter().find(|(name, _)| *name == code).map(|(_, key)| *key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_digits_and_named_places() {
        assert_eq!(
            (key("KeyQ"), key("Digit0"), key("Backquote")),
            (Some(KeyCode::Q), Some(KeyCode::Digit0), Some(KeyCode::Grave))
        );
        assert_eq!((key("Key"), key("KeyAB"), key("BrowserBack"), key("")), (None, None, None, None));
    }
}
