//! The text screen as characters.

use super::Vga;
use super::spec::crtc;

/// What a text mode screen shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextScreen {
    /// Each row's characters (code page 437 as Unicode), all as long as the screen is wide.
    pub rows: Vec<String>,
    /// The attribute byte of each character, in the same order.
    pub attributes: Vec<Vec<u8>>,
    /// Row and column of the cursor, if it is on and on the screen.
    pub cursor: Option<(usize, usize)>,
}

/// The cursor registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    pub(super) address: u32,
    pub(super) start: u8,
    pub(super) end: u8,
}

impl Vga {
    /// The screen as characters, following start address, row offset and line compare; `None` in graphics modes.
    pub fn text_screen(&self) -> Option<TextScreen> {
        let regs = &self.regs;
        if !self.is_text() {
            return None;
        }
        let height = (u32::from(regs.maximum_row()) + 1) * regs.scan_doubling();
        let mut screen = TextScreen { rows: Vec::new(), attributes: Vec::new(), cursor: None };
        let cursor = self.cursor_registers();
        let mut start = regs.start_address();
        let mut split = regs.line_compare().saturating_add(1);
        let mut y = 0;
        while y < regs.vertical_display() {
            let (mut row, mut attributes) = (String::new(), Vec::new());
            for column in 0..regs.columns() {
                let counter = start.wrapping_add(column) & 0xFFFF;
                let address = regs.memory_address(counter, 0);
                row.push(CODE_PAGE_437[usize::from(self.memory.byte(0, address))]);
                attributes.push(self.memory.byte(1, address));
                if cursor.is_some_and(|cursor| cursor.address == counter) {
                    screen.cursor = Some((screen.rows.len(), column as usize));
                }
            }
            screen.rows.push(row);
            screen.attributes.push(attributes);
            start = start.wrapping_add(regs.row_offset());
            y += height;
            if y >= split {
                (start, y, split) = (0, split, u32::MAX);
            }
        }
        Some(screen)
    }

    /// The cursor, unless it is switched off or has no line.
    pub(super) fn cursor_registers(&self) -> Option<Cursor> {
        let crtc = &self.regs.crtc;
        let (start, end) = (crtc[crtc::CURSOR_START], crtc[crtc::CURSOR_END] & 0x1F);
        let on = start & 0x20 == 0 && start & 0x1F <= end && start & 0x1F <= self.regs.maximum_row();
        let skew = u32::from(crtc[crtc::CURSOR_END] >> 5 & 3);
        let address = u32::from(crtc[crtc::CURSOR_HIGH]) << 8 | u32::from(crtc[crtc::CURSOR_LOW]);
        on.then_some(Cursor { address: address.wrapping_add(skew) & 0xFFFF, start: start & 0x1F, end })
    }
}

/// What the standard font shows for each code.
#[rustfmt::skip]
pub const CODE_PAGE_437: [char; 256] = [
    ' ', '☺', '☻', '♥', '♦', '♣', '♠', '•', '◘', '○', '◙', '♂', '♀', '♪', '♫', '☼',
    '►', '◄', '↕', '‼', '¶', '§', '▬', '↨', '↑', '↓', '→', '←', '∟', '↔', '▲', '▼',
    ' ', '!', '"', '#', '$', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/',
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?',
    '@', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O',
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', '[', '\\', ']', '^', '_',
    '`', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', '{', '|', '}', '~', '⌂',
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å',
    'É', 'æ', 'Æ', 'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ',
    'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐', '¬', '½', '¼', '¡', '«', '»',
    '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜', '╛', '┐',
    '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧',
    '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐', '▀',
    'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩',
    '≡', '±', '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', ' ',
];
