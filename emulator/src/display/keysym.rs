//! From X11 keysyms, which VNC viewers send, to keys.

use crate::keys;
use ring86_devices::i8042::KeyCode;

/// Keysyms of keys without a character (X11/keysymdef.h).
#[rustfmt::skip]
const KEYSYMS: &[(u32, KeyCode)] = &[
    (0xff08, KeyCode::Backspace), (0xff09, KeyCode::Tab), (0xfe20, KeyCode::Tab), (0xff0d, KeyCode::Enter),
    (0xff1b, KeyCode::Escape), (0xffff, KeyCode::Delete), (0xff63, KeyCode::Insert),
    (0xff50, KeyCode::Home), (0xff57, KeyCode::End), (0xff55, KeyCode::PageUp), (0xff56, KeyCode::PageDown),
    (0xff51, KeyCode::ArrowLeft), (0xff52, KeyCode::ArrowUp), (0xff53, KeyCode::ArrowRight),
    (0xff54, KeyCode::ArrowDown),
    (0xffbe, KeyCode::F1), (0xffbf, KeyCode::F2), (0xffc0, KeyCode::F3), (0xffc1, KeyCode::F4),
    (0xffc2, KeyCode::F5), (0xffc3, KeyCode::F6), (0xffc4, KeyCode::F7), (0xffc5, KeyCode::F8),
    (0xffc6, KeyCode::F9), (0xffc7, KeyCode::F10), (0xffc8, KeyCode::F11), (0xffc9, KeyCode::F12),
    (0xffe1, KeyCode::ShiftLeft), (0xffe2, KeyCode::ShiftRight),
    (0xffe3, KeyCode::ControlLeft), (0xffe4, KeyCode::ControlRight),
    (0xffe7, KeyCode::AltLeft), (0xffe8, KeyCode::AltRight), (0xffe9, KeyCode::AltLeft), (0xffea, KeyCode::AltRight),
    (0xfe03, KeyCode::AltRight), (0xff7e, KeyCode::AltRight),
    (0xffeb, KeyCode::MetaLeft), (0xffec, KeyCode::MetaRight), (0xff67, KeyCode::ContextMenu),
    (0xffe5, KeyCode::CapsLock), (0xff7f, KeyCode::NumLock), (0xff14, KeyCode::ScrollLock),
    (0xff61, KeyCode::PrintScreen), (0xff13, KeyCode::Pause),
    (0xffb0, KeyCode::Numpad0), (0xffb1, KeyCode::Numpad1), (0xffb2, KeyCode::Numpad2), (0xffb3, KeyCode::Numpad3),
    (0xffb4, KeyCode::Numpad4), (0xffb5, KeyCode::Numpad5), (0xffb6, KeyCode::Numpad6), (0xffb7, KeyCode::Numpad7),
    (0xffb8, KeyCode::Numpad8), (0xffb9, KeyCode::Numpad9), (0xff8d, KeyCode::NumpadEnter),
    (0xff9e, KeyCode::Numpad0), (0xff9c, KeyCode::Numpad1), (0xff99, KeyCode::Numpad2), (0xff9b, KeyCode::Numpad3),
    (0xff96, KeyCode::Numpad4), (0xff9d, KeyCode::Numpad5), (0xff98, KeyCode::Numpad6), (0xff95, KeyCode::Numpad7),
    (0xff97, KeyCode::Numpad8), (0xff9a, KeyCode::Numpad9), (0xff9f, KeyCode::NumpadDecimal),
    (0xffab, KeyCode::NumpadAdd), (0xffad, KeyCode::NumpadSubtract), (0xffaa, KeyCode::NumpadMultiply),
    (0xffaf, KeyCode::NumpadDivide), (0xffae, KeyCode::NumpadDecimal),
];

/// The key that gives `keysym`; for characters the one on a US keyboard, with or without Shift.
pub fn key(keysym: u32) -> Option<KeyCode> {
    if let Some((_, key)) = KEYSYMS.iter().find(|(known, _)| *known == keysym) {
        return Some(*key);
    }
    let character = char::from_u32(keysym).filter(|c| (' '..='~').contains(c))?;
    keys::strokes(character)?.into_iter().filter(|(_, pressed)| *pressed).map(|(key, _)| key).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_and_named_keys() {
        assert_eq!((key(0x61), key(0x41), key(0x3f)), (Some(KeyCode::A), Some(KeyCode::A), Some(KeyCode::Slash)));
        assert_eq!((key(0xff0d), key(0xffe1)), (Some(KeyCode::Enter), Some(KeyCode::ShiftLeft)));
        assert_eq!((key(0), key(0x0d), key(0x100_0000), key(u32::MAX)), (None, None, None, None));
    }
}
