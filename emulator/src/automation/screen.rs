//! What the screen says: the characters of text modes, and in graphics modes the cells that look like a glyph of the
//! VGA's fonts.

use crate::machine::Machine;
use ring86_devices::vga::{CODE_PAGE_437, Frame};
use std::collections::HashMap;
use std::sync::OnceLock;

/// Stands for a cell of a graphics screen that is no glyph.
const NO_GLYPH: char = '\u{fffd}';
/// Width of a glyph.
const WIDTH: usize = 8;

/// The rows of the screen, top first, each as wide as the screen.
pub fn rows(machine: &Machine) -> Vec<String> {
    machine.screen().map_or_else(|| read(&machine.frame()), |screen| screen.rows)
}

/// [`rows`] as one text, without blanks at their ends and empty rows at the bottom.
pub fn text(machine: &Machine) -> String {
    let lines: String = rows(machine).iter().map(|row| format!("{}\n", row.trim_end())).collect();
    let end = lines.trim_end_matches('\n').len();
    if end == 0 { String::new() } else { lines[..=end].to_owned() }
}

/// A font: rows of each glyph to its character.
struct Font {
    height: usize,
    glyphs: HashMap<Vec<u8>, char>,
}

/// The fonts in the VGA's ROM.
fn fonts() -> &'static [Font] {
    static FONTS: OnceLock<Vec<Font>> = OnceLock::new();
    FONTS.get_or_init(|| {
        let font = |height: usize| {
            let bytes = crate::firmware::font(height)?;
            let mut glyphs = HashMap::new();
            // Where two characters look the same, the one in ASCII counts.
            let order = (0x20..0x7f).chain(0..0x20).chain(0x7f..256);
            for code in order {
                let rows = bytes.get(code * height..(code + 1) * height)?;
                glyphs.entry(rows.to_vec()).or_insert(CODE_PAGE_437[code]);
            }
            Some(Font { height, glyphs })
        };
        [16, 14, 8].into_iter().filter_map(font).collect()
    })
}

/// The picture without the doubling of dots and lines that low resolutions have.
struct Pixels {
    width: usize,
    height: usize,
    colors: Vec<[u8; 3]>,
}

impl Pixels {
    fn of(frame: &Frame) -> Self {
        let (pixels, _) = frame.rgb.as_chunks::<3>();
        let mut pixels = Pixels { width: frame.width, height: frame.height, colors: pixels.to_vec() };
        if pixels.width == 0 {
            return Pixels { width: 0, height: 0, colors: Vec::new() };
        }
        let row_pairs = |p: &Pixels| p.colors.chunks_exact(2 * p.width).all(|two| two[..p.width] == two[p.width..]);
        if pixels.height.is_multiple_of(2) && row_pairs(&pixels) {
            let rows = pixels.colors.chunks_exact(pixels.width).step_by(2);
            pixels.colors = rows.flatten().copied().collect();
            pixels.height /= 2;
        }
        if pixels.width.is_multiple_of(2) && pixels.colors.chunks_exact(2).all(|two| two[0] == two[1]) {
            pixels.colors = pixels.colors.iter().step_by(2).copied().collect();
            pixels.width /= 2;
        }
        pixels
    }

    /// The cell at a column and a pixel row: for each line, the dots that do not have the commoner of its colours.
    /// `None` if it is of one colour.
    fn cell(&self, column: usize, top: usize, height: usize) -> Option<Vec<u8>> {
        let rows = (top..top + height).map(|y| &self.colors[y * self.width + column * WIDTH..][..WIDTH]);
        let first = *rows.clone().next()?.first()?;
        let different = rows.clone().flatten().filter(|color| **color != first).count();
        if different == 0 {
            return None;
        }
        let inverse = different > WIDTH * height / 2;
        let bits =
            |row: &[[u8; 3]]| row.iter().fold(0, |bits, color| bits << 1 | u8::from((*color != first) != inverse));
        Some(rows.map(bits).collect())
    }
}

/// Reads text in cells of one font from the top left. Returns how many glyphs were found, with the lines.
fn read_cells(pixels: &Pixels, font: &Font) -> (usize, Vec<String>) {
    let mut found = 0;
    let lines = (0..pixels.height / font.height).map(|row| {
        let cells = (0..pixels.width / WIDTH).map(|column| {
            let Some(cell) = pixels.cell(column, row * font.height, font.height) else { return ' ' };
            let inverse = || cell.iter().map(|bits| !bits).collect::<Vec<_>>();
            let glyph = font.glyphs.get(&cell).or_else(|| font.glyphs.get(&inverse()));
            found += usize::from(glyph.is_some());
            glyph.copied().unwrap_or(NO_GLYPH)
        });
        cells.collect()
    });
    let lines = lines.collect();
    (found, lines)
}

/// The text of a graphics screen, by the font that explains most of it.
pub fn read(frame: &Frame) -> Vec<String> {
    let pixels = Pixels::of(frame);
    let readings = fonts().iter().map(|font| {
        let (found, lines) = read_cells(&pixels, font);
        (found * font.height, lines)
    });
    readings.max_by_key(|(area, _)| *area).map(|(_, lines)| lines).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture with `text` at a character position, each pixel `scale` dots wide and high.
    fn picture(size: (usize, usize), font: usize, at: (usize, usize), text: &str, scale: usize) -> Frame {
        let glyphs = crate::firmware::font(font).unwrap();
        let (width, height) = (size.0 * scale, size.1 * scale);
        let mut rgb = vec![10; width * height * 3];
        for (i, c) in text.bytes().enumerate() {
            for y in 0..font * scale {
                for x in 0..WIDTH * scale {
                    let bits = glyphs[usize::from(c) * font + y / scale];
                    if bits >> (7 - x / scale) & 1 != 0 {
                        let (px, py) = ((at.0 + i) * WIDTH * scale + x, at.1 * font * scale + y);
                        rgb[(py * width + px) * 3..][..3].fill(200);
                    }
                }
            }
        }
        Frame { width, height, rgb }
    }

    #[test]
    fn text_is_read_in_every_font_and_scale() {
        for (size, font, scale) in [((640, 480), 16, 1), ((640, 350), 14, 1), ((320, 200), 8, 2)] {
            let lines = read(&picture(size, font, (3, 2), "Hello, M\u{7f}x_[#]", scale));
            assert_eq!(lines[2], format!("{:1$}", "   Hello, M⌂x_[#]", size.0 / WIDTH), "{font}");
            assert_eq!(lines.iter().filter(|line| !line.trim().is_empty()).count(), 1);
        }
    }

    #[test]
    fn other_pictures_are_not_text() {
        let mut frame = picture((640, 480), 16, (0, 0), "A", 1);
        frame.rgb[3..6].fill(77);
        assert_eq!(read(&frame)[0].trim_end(), NO_GLYPH.to_string());
        assert!(read(&Frame { width: 0, height: 0, rgb: Vec::new() }).is_empty());
        let blank = read(&Frame { width: 640, height: 480, rgb: vec![1; 640 * 480 * 3] });
        assert!(blank.iter().all(|line| line.trim().is_empty()));
    }
}
