//! The keys, and their codes in the scan sets.

/// What the host's key events name: a key by its place on a 101/102-key keyboard with US legends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyCode {
    /// A.
    A,
    /// B.
    B,
    /// C.
    C,
    /// D.
    D,
    /// E.
    E,
    /// F.
    F,
    /// G.
    G,
    /// H.
    H,
    /// I.
    I,
    /// J.
    J,
    /// K.
    K,
    /// L.
    L,
    /// M.
    M,
    /// N.
    N,
    /// O.
    O,
    /// P.
    P,
    /// Q.
    Q,
    /// R.
    R,
    /// S.
    S,
    /// T.
    T,
    /// U.
    U,
    /// V.
    V,
    /// W.
    W,
    /// X.
    X,
    /// Y.
    Y,
    /// Z.
    Z,
    /// 1 of the main block.
    Digit1,
    /// 2 of the main block.
    Digit2,
    /// 3 of the main block.
    Digit3,
    /// 4 of the main block.
    Digit4,
    /// 5 of the main block.
    Digit5,
    /// 6 of the main block.
    Digit6,
    /// 7 of the main block.
    Digit7,
    /// 8 of the main block.
    Digit8,
    /// 9 of the main block.
    Digit9,
    /// 0 of the main block.
    Digit0,
    /// Grave accent.
    Grave,
    /// Hyphen.
    Minus,
    /// Equals sign.
    Equal,
    /// Backspace.
    Backspace,
    /// Tab.
    Tab,
    /// Opening bracket.
    BracketLeft,
    /// Closing bracket.
    BracketRight,
    /// Backslash (the number sign of 102-key keyboards).
    Backslash,
    /// Caps Lock.
    CapsLock,
    /// Semicolon.
    Semicolon,
    /// Apostrophe.
    Quote,
    /// Enter of the main block.
    Enter,
    /// Left Shift.
    ShiftLeft,
    /// The extra key of 102-key keyboards, beside left Shift.
    Intl102,
    /// Comma.
    Comma,
    /// Full stop.
    Period,
    /// Slash of the main block.
    Slash,
    /// Right Shift.
    ShiftRight,
    /// Left Ctrl.
    ControlLeft,
    /// Left Alt.
    AltLeft,
    /// Space bar.
    Space,
    /// Right Alt.
    AltRight,
    /// Right Ctrl.
    ControlRight,
    /// Insert.
    Insert,
    /// Delete.
    Delete,
    /// Cursor left.
    ArrowLeft,
    /// Home.
    Home,
    /// End.
    End,
    /// Cursor up.
    ArrowUp,
    /// Cursor down.
    ArrowDown,
    /// Page Up.
    PageUp,
    /// Page Down.
    PageDown,
    /// Cursor right.
    ArrowRight,
    /// Num Lock.
    NumLock,
    /// 7 of the keypad.
    Numpad7,
    /// 4 of the keypad.
    Numpad4,
    /// 1 of the keypad.
    Numpad1,
    /// 8 of the keypad.
    Numpad8,
    /// 5 of the keypad.
    Numpad5,
    /// 2 of the keypad.
    Numpad2,
    /// 0 of the keypad.
    Numpad0,
    /// 9 of the keypad.
    Numpad9,
    /// 6 of the keypad.
    Numpad6,
    /// 3 of the keypad.
    Numpad3,
    /// Slash of the keypad.
    NumpadDivide,
    /// Asterisk of the keypad.
    NumpadMultiply,
    /// Point of the keypad.
    NumpadDecimal,
    /// Minus of the keypad.
    NumpadSubtract,
    /// Plus of the keypad.
    NumpadAdd,
    /// Enter of the keypad.
    NumpadEnter,
    /// Esc.
    Escape,
    /// F1.
    F1,
    /// F2.
    F2,
    /// F3.
    F3,
    /// F4.
    F4,
    /// F5.
    F5,
    /// F6.
    F6,
    /// F7.
    F7,
    /// F8.
    F8,
    /// F9.
    F9,
    /// F10.
    F10,
    /// F11.
    F11,
    /// F12.
    F12,
    /// Print Screen / SysRq.
    PrintScreen,
    /// Scroll Lock.
    ScrollLock,
    /// Pause / Break.
    Pause,
    /// Left logo key.
    MetaLeft,
    /// Right logo key.
    MetaRight,
    /// Menu key.
    ContextMenu,
    /// Power.
    Power,
    /// Sleep.
    Sleep,
    /// Wake.
    WakeUp,
    /// Japanese and Brazilian Ro.
    IntlRo,
    /// Japanese Yen.
    IntlYen,
    /// Japanese Henkan.
    Convert,
    /// Japanese Muhenkan.
    NonConvert,
    /// Japanese Katakana/Hiragana.
    KanaMode,
    /// Brazilian keypad point.
    NumpadComma,
}

/// How a key behaves in scan set 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Typematic,
    MakeBreak,
    TypematicMakeBreak,
    Make,
}

/// A key's codes. Set 1 is what the controller's translation makes of set 2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) code: KeyCode,
    /// Set 2 make code, after the E0h prefix if `extended`.
    pub(super) set2: u8,
    pub(super) extended: bool,
    /// Set 3 make code; 0 if the key has none.
    pub(super) set3: u8,
    /// Set 3 default.
    pub(super) kind: Kind,
}

impl KeyCode {
    /// Every key.
    pub fn all() -> impl Iterator<Item = Self> {
        KEYS.iter().map(|key| key.code)
    }

    pub(super) fn key(self) -> &'static Key {
        // KEYS lists the keys in the order of the enum, which a test checks.
        &KEYS[self as usize]
    }
}

const fn key(code: KeyCode, set2: u8, extended: bool, set3: u8, kind: Kind) -> Key {
    Key { code, set2, extended, set3, kind }
}

pub(super) const KEYS: [Key; 114] = [
    key(KeyCode::A, 0x1C, false, 0x1C, Kind::Typematic),
    key(KeyCode::B, 0x32, false, 0x32, Kind::Typematic),
    key(KeyCode::C, 0x21, false, 0x21, Kind::Typematic),
    key(KeyCode::D, 0x23, false, 0x23, Kind::Typematic),
    key(KeyCode::E, 0x24, false, 0x24, Kind::Typematic),
    key(KeyCode::F, 0x2B, false, 0x2B, Kind::Typematic),
    key(KeyCode::G, 0x34, false, 0x34, Kind::Typematic),
    key(KeyCode::H, 0x33, false, 0x33, Kind::Typematic),
    key(KeyCode::I, 0x43, false, 0x43, Kind::Typematic),
    key(KeyCode::J, 0x3B, false, 0x3B, Kind::Typematic),
    key(KeyCode::K, 0x42, false, 0x42, Kind::Typematic),
    key(KeyCode::L, 0x4B, false, 0x4B, Kind::Typematic),
    key(KeyCode::M, 0x3A, false, 0x3A, Kind::Typematic),
    key(KeyCode::N, 0x31, false, 0x31, Kind::Typematic),
    key(KeyCode::O, 0x44, false, 0x44, Kind::Typematic),
    key(KeyCode::P, 0x4D, false, 0x4D, Kind::Typematic),
    key(KeyCode::Q, 0x15, false, 0x15, Kind::Typematic),
    key(KeyCode::R, 0x2D, false, 0x2D, Kind::Typematic),
    key(KeyCode::S, 0x1B, false, 0x1B, Kind::Typematic),
    key(KeyCode::T, 0x2C, false, 0x2C, Kind::Typematic),
    key(KeyCode::U, 0x3C, false, 0x3C, Kind::Typematic),
    key(KeyCode::V, 0x2A, false, 0x2A, Kind::Typematic),
    key(KeyCode::W, 0x1D, false, 0x1D, Kind::Typematic),
    key(KeyCode::X, 0x22, false, 0x22, Kind::Typematic),
    key(KeyCode::Y, 0x35, false, 0x35, Kind::Typematic),
    key(KeyCode::Z, 0x1A, false, 0x1A, Kind::Typematic),
    key(KeyCode::Digit1, 0x16, false, 0x16, Kind::Typematic),
    key(KeyCode::Digit2, 0x1E, false, 0x1E, Kind::Typematic),
    key(KeyCode::Digit3, 0x26, false, 0x26, Kind::Typematic),
    key(KeyCode::Digit4, 0x25, false, 0x25, Kind::Typematic),
    key(KeyCode::Digit5, 0x2E, false, 0x2E, Kind::Typematic),
    key(KeyCode::Digit6, 0x36, false, 0x36, Kind::Typematic),
    key(KeyCode::Digit7, 0x3D, false, 0x3D, Kind::Typematic),
    key(KeyCode::Digit8, 0x3E, false, 0x3E, Kind::Typematic),
    key(KeyCode::Digit9, 0x46, false, 0x46, Kind::Typematic),
    key(KeyCode::Digit0, 0x45, false, 0x45, Kind::Typematic),
    key(KeyCode::Grave, 0x0E, false, 0x0E, Kind::Typematic),
    key(KeyCode::Minus, 0x4E, false, 0x4E, Kind::Typematic),
    key(KeyCode::Equal, 0x55, false, 0x55, Kind::Typematic),
    key(KeyCode::Backspace, 0x66, false, 0x66, Kind::Typematic),
    key(KeyCode::Tab, 0x0D, false, 0x0D, Kind::Typematic),
    key(KeyCode::BracketLeft, 0x54, false, 0x54, Kind::Typematic),
    key(KeyCode::BracketRight, 0x5B, false, 0x5B, Kind::Typematic),
    key(KeyCode::Backslash, 0x5D, false, 0x5C, Kind::Typematic),
    key(KeyCode::CapsLock, 0x58, false, 0x14, Kind::MakeBreak),
    key(KeyCode::Semicolon, 0x4C, false, 0x4C, Kind::Typematic),
    key(KeyCode::Quote, 0x52, false, 0x52, Kind::Typematic),
    key(KeyCode::Enter, 0x5A, false, 0x5A, Kind::Typematic),
    key(KeyCode::ShiftLeft, 0x12, false, 0x12, Kind::MakeBreak),
    key(KeyCode::Intl102, 0x61, false, 0x13, Kind::Typematic),
    key(KeyCode::Comma, 0x41, false, 0x41, Kind::Typematic),
    key(KeyCode::Period, 0x49, false, 0x49, Kind::Typematic),
    key(KeyCode::Slash, 0x4A, false, 0x4A, Kind::Typematic),
    key(KeyCode::ShiftRight, 0x59, false, 0x59, Kind::MakeBreak),
    key(KeyCode::ControlLeft, 0x14, false, 0x11, Kind::MakeBreak),
    key(KeyCode::AltLeft, 0x11, false, 0x19, Kind::MakeBreak),
    key(KeyCode::Space, 0x29, false, 0x29, Kind::Typematic),
    key(KeyCode::AltRight, 0x11, true, 0x39, Kind::Make),
    key(KeyCode::ControlRight, 0x14, true, 0x58, Kind::Make),
    key(KeyCode::Insert, 0x70, true, 0x67, Kind::Make),
    key(KeyCode::Delete, 0x71, true, 0x64, Kind::Typematic),
    key(KeyCode::ArrowLeft, 0x6B, true, 0x61, Kind::Typematic),
    key(KeyCode::Home, 0x6C, true, 0x6E, Kind::Make),
    key(KeyCode::End, 0x69, true, 0x65, Kind::Make),
    key(KeyCode::ArrowUp, 0x75, true, 0x63, Kind::Typematic),
    key(KeyCode::ArrowDown, 0x72, true, 0x60, Kind::Typematic),
    key(KeyCode::PageUp, 0x7D, true, 0x6F, Kind::Make),
    key(KeyCode::PageDown, 0x7A, true, 0x6D, Kind::Make),
    key(KeyCode::ArrowRight, 0x74, true, 0x6A, Kind::Typematic),
    key(KeyCode::NumLock, 0x77, false, 0x76, Kind::Make),
    key(KeyCode::Numpad7, 0x6C, false, 0x6C, Kind::Make),
    key(KeyCode::Numpad4, 0x6B, false, 0x6B, Kind::Make),
    key(KeyCode::Numpad1, 0x69, false, 0x69, Kind::Make),
    key(KeyCode::Numpad8, 0x75, false, 0x75, Kind::Make),
    key(KeyCode::Numpad5, 0x73, false, 0x73, Kind::Make),
    key(KeyCode::Numpad2, 0x72, false, 0x72, Kind::Make),
    key(KeyCode::Numpad0, 0x70, false, 0x70, Kind::Make),
    key(KeyCode::Numpad9, 0x7D, false, 0x7D, Kind::Make),
    key(KeyCode::Numpad6, 0x74, false, 0x74, Kind::Make),
    key(KeyCode::Numpad3, 0x7A, false, 0x7A, Kind::Make),
    key(KeyCode::NumpadDivide, 0x4A, true, 0x77, Kind::Make),
    key(KeyCode::NumpadMultiply, 0x7C, false, 0x7E, Kind::Make),
    key(KeyCode::NumpadDecimal, 0x71, false, 0x71, Kind::Make),
    key(KeyCode::NumpadSubtract, 0x7B, false, 0x84, Kind::Make),
    key(KeyCode::NumpadAdd, 0x79, false, 0x7C, Kind::Typematic),
    key(KeyCode::NumpadEnter, 0x5A, true, 0x79, Kind::Make),
    key(KeyCode::Escape, 0x76, false, 0x08, Kind::Make),
    key(KeyCode::F1, 0x05, false, 0x07, Kind::Make),
    key(KeyCode::F2, 0x06, false, 0x0F, Kind::Make),
    key(KeyCode::F3, 0x04, false, 0x17, Kind::Make),
    key(KeyCode::F4, 0x0C, false, 0x1F, Kind::Make),
    key(KeyCode::F5, 0x03, false, 0x27, Kind::Make),
    key(KeyCode::F6, 0x0B, false, 0x2F, Kind::Make),
    key(KeyCode::F7, 0x83, false, 0x37, Kind::Make),
    key(KeyCode::F8, 0x0A, false, 0x3F, Kind::Make),
    key(KeyCode::F9, 0x01, false, 0x47, Kind::Make),
    key(KeyCode::F10, 0x09, false, 0x4F, Kind::Make),
    key(KeyCode::F11, 0x78, false, 0x56, Kind::Make),
    key(KeyCode::F12, 0x07, false, 0x5E, Kind::Make),
    key(KeyCode::PrintScreen, 0x7C, true, 0x57, Kind::Make),
    key(KeyCode::ScrollLock, 0x7E, false, 0x5F, Kind::Make),
    key(KeyCode::Pause, 0x77, false, 0x62, Kind::Make),
    key(KeyCode::MetaLeft, 0x1F, true, 0x8B, Kind::MakeBreak),
    key(KeyCode::MetaRight, 0x27, true, 0x8C, Kind::MakeBreak),
    key(KeyCode::ContextMenu, 0x2F, true, 0x8D, Kind::MakeBreak),
    key(KeyCode::Power, 0x37, true, 0x00, Kind::Make),
    key(KeyCode::Sleep, 0x3F, true, 0x00, Kind::Make),
    key(KeyCode::WakeUp, 0x5E, true, 0x00, Kind::Make),
    key(KeyCode::IntlRo, 0x51, false, 0x51, Kind::Typematic),
    key(KeyCode::IntlYen, 0x6A, false, 0x5D, Kind::Typematic),
    key(KeyCode::Convert, 0x64, false, 0x86, Kind::Make),
    key(KeyCode::NonConvert, 0x67, false, 0x85, Kind::Make),
    key(KeyCode::KanaMode, 0x13, false, 0x87, Kind::Make),
    key(KeyCode::NumpadComma, 0x6D, false, 0x7B, Kind::Make),
];
