//! What the screen shows, as dots.

use super::spec::{attr, crtc, gc, seq};
use super::text::Cursor;
use super::{Registers, Vga};
use crate::Time;

/// A picture of the displayed area: one dot of the CRT per pixel, rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Red, green, blue of each pixel, eight bits each.
    pub rgb: Vec<u8>,
}

/// One scan line's source: counter value of the first character, row within the character, panning in dots.
#[derive(Clone, Copy)]
struct Line {
    address: u32,
    row: u8,
    pan: u32,
}

impl Registers {
    /// The picture is switched off: screen off, palette open for the processor, or the CRT controller in reset.
    fn blanked(&self) -> bool {
        self.seq[seq::CLOCKING_MODE] & seq::SO != 0
            || self.attribute_index & attr::PAS == 0
            || self.crtc[crtc::MODE_CONTROL] & 0x80 == 0
    }

    /// Counter value to memory address: byte, word or doubleword mode, with the row scan bits of CGA and
    /// Hercules interleaving.
    pub(super) fn memory_address(&self, counter: u32, row: u8) -> u32 {
        let control = self.crtc[crtc::MODE_CONTROL];
        let mut address = if self.crtc[crtc::UNDERLINE] & 0x40 != 0 {
            counter << 2
        } else if control & 0x40 == 0 {
            counter << 1
        } else {
            counter
        };
        if control & 1 == 0 {
            address = address & !0x2000 | u32::from(row & 1) << 13;
        }
        if control & 2 == 0 {
            address = address & !0x4000 | u32::from(row >> 1 & 1) << 14;
        }
        address & 0xFFFF
    }

    pub(super) fn start_address(&self) -> u32 {
        u32::from(self.crtc[crtc::START_HIGH]) << 8 | u32::from(self.crtc[crtc::START_LOW])
    }

    /// Distance of rows in counter units.
    pub(super) fn row_offset(&self) -> u32 {
        u32::from(self.crtc[crtc::OFFSET]) * 2
    }

    /// Rows of a character less one.
    pub(super) fn maximum_row(&self) -> u8 {
        self.crtc[crtc::MAXIMUM_SCAN_LINE] & 0x1F
    }

    /// Scan lines for each step of the row counter.
    pub(super) fn scan_doubling(&self) -> u32 {
        let double = if self.crtc[crtc::MAXIMUM_SCAN_LINE] & 0x80 != 0 { 2 } else { 1 };
        // Mode control bit 2 clocks the vertical counters every second line.
        double * if self.crtc[crtc::MODE_CONTROL] & 4 != 0 { 2 } else { 1 }
    }

    fn panning(&self) -> u32 {
        let pan = u32::from(self.attr[attr::PANNING]);
        match (self.dots(), pan) {
            (9, 8..) => 0,
            (9, _) => pan + 1,
            _ => pan & 7,
        }
    }

    /// Walks the scan lines as the CRT controller does.
    fn lines(&self) -> Vec<Line> {
        let byte_pan = u32::from(self.crtc[crtc::PRESET_ROW_SCAN] >> 5 & 3);
        let mut start = self.start_address() + byte_pan;
        let mut row = self.crtc[crtc::PRESET_ROW_SCAN] & 0x1F;
        let mut pan = self.panning();
        let mut repeat = 0;
        let split = self.line_compare();
        (0..self.vertical_display())
            .map(|y| {
                let line = Line { address: start, row, pan };
                repeat += 1;
                if repeat >= self.scan_doubling() {
                    repeat = 0;
                    if row == self.maximum_row() {
                        row = 0;
                        start = start.wrapping_add(self.row_offset());
                    } else {
                        row = (row + 1) & 0x1F;
                    }
                }
                if y == split {
                    (start, row, repeat) = (0, 0, 0);
                    if self.attr[attr::MODE] & attr::PP != 0 {
                        pan = 0;
                    }
                }
                line
            })
            .collect()
    }

    /// Four bits from the planes to an index of the DAC.
    fn palette(&self, color: u8) -> u8 {
        let entry = self.attr[usize::from(color & self.attr[attr::PLANE_ENABLE] & 0xF)];
        let select = self.attr[attr::COLOR_SELECT];
        if self.attr[attr::MODE] & attr::P54S != 0 {
            select << 4 | entry & 0xF
        } else {
            (select & 0xC) << 4 | entry & 0x3F
        }
    }
}

impl Vga {
    /// Draws the displayed area as it is at `now` (which decides what blinks). Switched-off screens are black.
    pub fn render(&self, now: Time) -> Frame {
        let regs = &self.regs;
        if let Some(picture) = self.dispi.picture() {
            let mut rgb = vec![0; picture.width * picture.height * 3];
            if regs.seq[seq::CLOCKING_MODE] & seq::SO == 0 && regs.attribute_index & attr::PAS != 0 {
                self.dispi.draw(picture, &self.dac_colors(), &mut rgb);
            }
            return Frame { width: picture.width, height: picture.height, rgb };
        }
        let stretch = if regs.seq[seq::CLOCKING_MODE] & seq::DC != 0 { 2 } else { 1 };
        let dots = (regs.columns() * regs.dots()) as usize;
        let (width, height) = (dots * stretch, regs.vertical_display() as usize);
        let mut rgb = vec![0; width * height * 3];
        if regs.blanked() {
            return Frame { width, height, rgb };
        }
        let colors = self.dac_colors();
        let frame = regs.beam(now).frame;
        let mut line_dots = Vec::with_capacity(dots + 16);
        for (line, out) in regs.lines().into_iter().zip(rgb.chunks_exact_mut(width * 3)) {
            line_dots.clear();
            if regs.gc[gc::MISC] & gc::GM == 0 {
                self.text_line(line, frame, &mut line_dots);
            } else {
                self.graphics_line(line, &mut line_dots);
            }
            let shown = line_dots.iter().skip(line.pan as usize).take(dots);
            for (&dot, out) in shown.zip(out.chunks_exact_mut(stretch * 3)) {
                for pixel in out.chunks_exact_mut(3) {
                    pixel.copy_from_slice(&colors[usize::from(dot)]);
                }
            }
        }
        Frame { width, height, rgb }
    }

    /// The 256 colours after the PEL mask, widened from six to eight bits unless the DAC has eight.
    fn dac_colors(&self) -> Vec<[u8; 3]> {
        (0..=255u8)
            .map(|index| {
                let entry = usize::from(index & self.pel_mask) * 3;
                std::array::from_fn(|i| {
                    if self.dispi.wide_dac() {
                        return self.dac[entry + i];
                    }
                    let level = self.dac[entry + i] & 0x3F;
                    level << 2 | level >> 4
                })
            })
            .collect()
    }

    fn text_line(&self, line: Line, frame: u64, dots: &mut Vec<u8>) {
        let regs = &self.regs;
        let cursor = self.cursor_registers();
        let cursor_shown = frame & 8 == 0;
        let blink_shown = frame & 16 == 0;
        let mode = regs.attr[attr::MODE];
        // One character more than shown, for panning.
        for column in 0..=regs.columns() {
            let counter = line.address.wrapping_add(column) & 0xFFFF;
            let address = regs.memory_address(counter, line.row);
            let (code, attribute) = (self.memory.byte(0, address), self.memory.byte(1, address));
            let mut pattern =
                self.memory.byte(2, self.font_base(attribute) + u32::from(code) * 32 + u32::from(line.row));
            let mut foreground = attribute & 0xF;
            let mut background = attribute >> 4;
            if mode & attr::EB != 0 {
                background &= 7;
                if attribute & 0x80 != 0 && !blink_shown {
                    foreground = background;
                }
            }
            let underlined = attribute & 0x77 == 0x01 && line.row == regs.crtc[crtc::UNDERLINE] & 0x1F;
            let in_cursor =
                cursor.is_some_and(|c: Cursor| c.address == counter && (c.start..=c.end).contains(&line.row));
            if underlined || (in_cursor && cursor_shown) {
                pattern = 0xFF;
            }
            if in_cursor && cursor_shown {
                foreground = attribute & 0xF;
            }
            let (foreground, background) = (regs.palette(foreground), regs.palette(background));
            let dot = |on: bool| if on { foreground } else { background };
            dots.extend((0..8).rev().map(|bit| dot(pattern >> bit & 1 != 0)));
            if regs.dots() == 9 {
                let line_graphics = mode & attr::ELG != 0 && (0xC0..=0xDF).contains(&code);
                let full = pattern == 0xFF && (underlined || (in_cursor && cursor_shown));
                dots.push(dot((line_graphics || full) && pattern & 1 != 0));
            }
        }
    }

    /// Address in plane 2 of the font a character with this attribute uses.
    fn font_base(&self, attribute: u8) -> u32 {
        let select = self.regs.seq[seq::CHARACTER_MAP];
        let map = if attribute & 8 != 0 { select >> 2 & 3 | select >> 3 & 4 } else { select & 3 | select >> 2 & 4 };
        u32::from(map & 3) * 0x4000 + u32::from(map >> 2) * 0x2000
    }

    fn graphics_line(&self, line: Line, dots: &mut Vec<u8>) {
        let regs = &self.regs;
        let mode = regs.gc[gc::MODE];
        for column in 0..=regs.columns() {
            let counter = self.graphics_counter(line.address, column);
            let planes = self.memory.cell(regs.memory_address(counter, line.row)).to_le_bytes();
            if mode & gc::C256 != 0 {
                // Four bytes make four pixels, each two dots wide.
                dots.extend(planes.into_iter().flat_map(|pixel| [pixel, pixel]));
            } else if mode & gc::SR != 0 {
                // Two bits of planes 0 and 2 for each dot, then of planes 1 and 3.
                for plane in 0..2 {
                    for shift in [6, 4, 2, 0] {
                        let color = planes[plane] >> shift & 3 | (planes[plane + 2] >> shift & 3) << 2;
                        dots.push(regs.palette(color));
                    }
                }
            } else {
                for bit in (0..8).rev() {
                    let color = (0..4).fold(0, |color, plane| color | (planes[plane] >> bit & 1) << plane);
                    dots.push(regs.palette(color));
                }
            }
            if regs.dots() == 9 {
                dots.push(regs.palette(0));
            }
        }
    }

    /// The address counter may be clocked only every second or fourth character.
    fn graphics_counter(&self, start: u32, column: u32) -> u32 {
        let by_four = self.regs.crtc[crtc::UNDERLINE] & 0x20 != 0;
        let by_two = self.regs.crtc[crtc::MODE_CONTROL] & 8 != 0;
        let steps = if by_four {
            column / 4
        } else if by_two {
            column / 2
        } else {
            column
        };
        start.wrapping_add(steps) & 0xFFFF
    }
}
