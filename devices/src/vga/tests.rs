//! Registers, memory modes, timing and pictures, against the PS/2 technical reference.

use super::*;
use crate::clock::SECOND;

struct Bench {
    vga: Vga,
}

/// CRT controller values of the standard 80x25 text mode (mode 3, 400 lines, 9 dots).
const CRTC_TEXT: [u8; 25] = [
    0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E, 0x00, 0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F,
    0x28, 0x1F, 0x96, 0xB9, 0xA3, 0xFF,
];
/// Those of mode 13h.
const CRTC_256: [u8; 25] = [
    0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0xBF, 0x1F, 0x00, 0x41, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F,
    0x28, 0x40, 0x96, 0xB9, 0xA3, 0xFF,
];
/// Those of mode 12h.
const CRTC_16: [u8; 25] = [
    0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0x0B, 0x3E, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xEA, 0x8C, 0xDF,
    0x28, 0x00, 0xE7, 0x04, 0xE3, 0xFF,
];
/// Those of mode 4.
const CRTC_CGA: [u8; 25] = [
    0x2D, 0x27, 0x28, 0x90, 0x2B, 0x80, 0xBF, 0x1F, 0x00, 0xC1, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F,
    0x14, 0x00, 0x96, 0xB9, 0xA2, 0xFF,
];

impl Bench {
    fn mode(misc: u8, seq: [u8; 4], crtc: [u8; 25], gc: [u8; 9], attr_mode: u8) -> Self {
        let mut b = Self { vga: Vga::new() };
        b.out(0x3C2, misc);
        for (index, value) in (1..).zip(seq) {
            b.indexed(0x3C4, index, value);
        }
        b.indexed(0x3D4, 0x11, 0);
        for (index, value) in (0..).zip(crtc) {
            b.indexed(0x3D4, index, value);
        }
        for (index, value) in (0..).zip(gc) {
            b.indexed(0x3CE, index, value);
        }
        for index in 0..16 {
            b.attribute(index, index);
        }
        for (index, value) in [(0x10, attr_mode), (0x11, 0), (0x12, 0x0F), (0x13, 0), (0x14, 0)] {
            b.attribute(index, value);
        }
        // Each DAC entry tells its own number.
        b.out(0x3C8, 0);
        for index in 0..=255u8 {
            for value in [index & 0x3F, index >> 2, 0x3F] {
                b.out(0x3C9, value);
            }
        }
        b.inb(0x3DA);
        b.out(0x3C0, 0x20);
        b
    }

    fn text() -> Self {
        let mut b =
            Self::mode(0x67, [0x00, 0x03, 0x00, 0x02], CRTC_TEXT, [0, 0, 0, 0, 0, 0x10, 0x0E, 0x0F, 0xFF], 0x0C);
        b.attribute(0x13, 8);
        b.inb(0x3DA);
        b.out(0x3C0, 0x20);
        b
    }

    fn planar() -> Self {
        Self::mode(0xE3, [0x01, 0x0F, 0x00, 0x06], CRTC_16, [0, 0, 0, 0, 0, 0x00, 0x05, 0x0F, 0xFF], 0x01)
    }

    fn chained() -> Self {
        Self::mode(0x63, [0x01, 0x0F, 0x00, 0x0E], CRTC_256, [0, 0, 0, 0, 0, 0x40, 0x05, 0x0F, 0xFF], 0x41)
    }

    fn cga() -> Self {
        Self::mode(0x63, [0x09, 0x03, 0x00, 0x02], CRTC_CGA, [0, 0, 0, 0, 0, 0x30, 0x0F, 0x0F, 0xFF], 0x01)
    }

    fn out(&mut self, port: u16, value: u8) {
        self.vga.write8(0, port, value);
    }

    fn inb(&mut self, port: u16) -> u8 {
        self.vga.read8(0, port)
    }

    fn indexed(&mut self, port: u16, index: u8, value: u8) {
        self.out(port, index);
        self.out(port + 1, value);
    }

    fn attribute(&mut self, index: u8, value: u8) {
        self.inb(0x3DA);
        self.out(0x3C0, index);
        self.out(0x3C0, value);
    }

    fn print(&mut self, cell: u32, text: &str, attribute: u8) {
        for (i, byte) in (cell..).zip(text.bytes()) {
            self.vga.mem_write(0xB_8000 + 2 * i, byte);
            self.vga.mem_write(0xB_8001 + 2 * i, attribute);
        }
    }

    /// Loads a character's pattern through plane 2, as firmware does.
    fn glyph(&mut self, code: u8, rows: [u8; 16]) {
        self.indexed(0x3C4, 2, 4);
        self.indexed(0x3C4, 4, 6);
        self.indexed(0x3CE, 5, 0);
        self.indexed(0x3CE, 6, 4);
        for (i, row) in (0..).zip(rows) {
            self.vga.mem_write(0xA_0000 + u32::from(code) * 32 + i, row);
        }
        self.indexed(0x3C4, 2, 3);
        self.indexed(0x3C4, 4, 2);
        self.indexed(0x3CE, 5, 0x10);
        self.indexed(0x3CE, 6, 0x0E);
    }

    /// The DAC index of a pixel, recovered from the colours that [`Bench::mode`] loads.
    fn pixel(frame: &Frame, x: usize, y: usize) -> u8 {
        let at = (y * frame.width + x) * 3;
        frame.rgb[at] >> 2 | (frame.rgb[at + 1] >> 2 << 2 & 0xC0)
    }

    fn row(frame: &Frame, y: usize, count: usize) -> Vec<u8> {
        (0..count).map(|x| Self::pixel(frame, x, y)).collect()
    }
}

#[test]
fn indexed_registers_read_back_with_their_masks() {
    let mut b = Bench::text();
    b.indexed(0x3C4, 4, 0xFF);
    assert_eq!((b.inb(0x3C4), b.inb(0x3C5)), (4, 0x0E));
    b.indexed(0x3CE, 5, 0xFF);
    assert_eq!(b.inb(0x3CF), 0x7B);
    b.indexed(0x3D4, 0x0E, 0x12);
    assert_eq!((b.inb(0x3D4), b.inb(0x3D5)), (0x0E, 0x12));
    assert_eq!(b.inb(0x3CC), 0x67);
    b.out(0x3DA, 0xFF);
    assert_eq!(b.inb(0x3CA), 0x0B);
    assert_eq!((b.inb(0x3B4), b.inb(0x3B5), b.inb(0x3BA)), (0xFF, 0xFF, 0xFF), "colour decoding");
    b.out(0x3C2, 0x66);
    assert_eq!((b.inb(0x3D4), b.inb(0x3B4)), (0xFF, 0x0E));
}

#[test]
fn crtc_registers_0_to_7_can_be_protected() {
    let mut b = Bench::text();
    b.indexed(0x3D4, 0x00, 0x11);
    b.out(0x3D4, 0x00);
    assert_eq!(b.inb(0x3D5), 0x5F, "mode 3 leaves them protected");
    b.indexed(0x3D4, 0x07, 0x00);
    assert_eq!(b.inb(0x3D5), 0x0F, "but for line compare bit 8");
    b.indexed(0x3D4, 0x11, 0x0E);
    b.indexed(0x3D4, 0x00, 0x11);
    assert_eq!(b.inb(0x3D5), 0x11);
}

#[test]
fn the_attribute_flip_flop_alternates_and_status_1_resets_it() {
    let mut b = Bench::text();
    b.inb(0x3DA);
    b.out(0x3C0, 0x31);
    assert_eq!(b.inb(0x3C0), 0x31);
    b.out(0x3D4, 0x24);
    assert_eq!(b.inb(0x3D5), 0x80);
    b.out(0x3C0, 0x2A);
    assert_eq!((b.inb(0x3C1), b.inb(0x3D5)), (0x2A, 0));
    b.out(0x3C0, 0x32);
    b.inb(0x3DA);
    b.out(0x3C0, 0x33);
    assert_eq!(b.inb(0x3C0), 0x33);
}

#[test]
fn the_dac_moves_through_its_colours() {
    let mut b = Bench::text();
    b.out(0x3C8, 0x10);
    assert_eq!(b.inb(0x3C7), 0);
    for value in [0xFF, 2, 3, 4, 5] {
        b.out(0x3C9, value);
    }
    assert_eq!(b.inb(0x3C8), 0x11);
    b.out(0x3C7, 0x10);
    assert_eq!(b.inb(0x3C7), 3);
    // The second colour is incomplete and was not stored.
    assert_eq!((0..6).map(|_| b.inb(0x3C9)).collect::<Vec<_>>(), [0x3F, 2, 3, 0x11, 4, 0x3F]);
    b.out(0x3C6, 0x0F);
    assert_eq!(b.inb(0x3C6), 0x0F);
}

#[test]
fn status_1_follows_the_beam() {
    let b = Bench::text();
    let (mut retraces, mut was, mut hidden, steps) = (0, false, 0, 1_000_000);
    let mut vga = b.vga;
    for step in 0..steps {
        let status = vga.read8(step * SECOND / steps, 0x3DA);
        let retrace = status & 8 != 0;
        retraces += u32::from(retrace && !was);
        was = retrace;
        hidden += u32::from(status & 1 != 0);
        assert!(!retrace || status & 1 != 0);
    }
    assert_eq!(retraces, 70, "28.322 MHz / (900 * 449) is 70.09 Hz");
    // 80 of 100 characters in 400 of 449 lines are shown.
    let expected = 1.0 - 0.8 * 400.0 / 449.0;
    assert!((f64::from(hidden) / steps as f64 - expected).abs() < 0.002);
}

#[test]
fn the_memory_window_follows_the_map_select() {
    let mut b = Bench::text();
    b.vga.mem_write(0xB_8000, 0x41);
    assert_eq!((b.vga.mem_read(0xB_8000), b.vga.mem_read(0xB_0000), b.vga.mem_read(0xA_0000)), (0x41, 0xFF, 0xFF));
    b.indexed(0x3CE, 6, 0x0A);
    assert_eq!((b.vga.mem_read(0xB_0000), b.vga.mem_read(0xB_8000)), (0x41, 0xFF));
    b.indexed(0x3CE, 6, 0x02);
    assert_eq!(b.vga.mem_read(0xA_0000), 0x41);
    b.out(0x3C2, 0x65);
    assert_eq!(b.vga.mem_read(0xA_0000), 0xFF, "RAM disabled");
}

#[test]
fn odd_even_addressing_pairs_characters_and_attributes() {
    let mut b = Bench::text();
    b.print(0, "AB", 0x1F);
    assert_eq!((b.vga.mem_read(0xB_8000), b.vga.mem_read(0xB_8001), b.vga.mem_read(0xB_8002)), (0x41, 0x1F, 0x42));
    assert_eq!((b.vga.memory.byte(0, 0), b.vga.memory.byte(1, 0), b.vga.memory.byte(0, 2)), (0x41, 0x1F, 0x42));
    assert_eq!(b.vga.memory.byte(2, 0), 0);
}

#[test]
fn write_mode_0_rotates_sets_and_masks() {
    let mut b = Bench::planar();
    b.vga.mem_write(0xA_0000, 0xA5);
    assert_eq!(b.vga.memory.cell(0), 0xA5A5_A5A5);
    b.indexed(0x3C4, 2, 0x05);
    b.indexed(0x3CE, 3, 0x04);
    b.vga.mem_write(0xA_0001, 0x12);
    assert_eq!(b.vga.memory.cell(1), 0x0021_0021);
    b.indexed(0x3C4, 2, 0x0F);
    b.indexed(0x3CE, 3, 0x00);
    b.indexed(0x3CE, 0, 0x09);
    b.indexed(0x3CE, 1, 0x0B);
    b.indexed(0x3CE, 8, 0xF0);
    b.vga.mem_read(0xA_0000);
    b.vga.mem_write(0xA_0002, 0x3C);
    assert_eq!(b.vga.memory.cell(2), 0xF535_05F5, "planes 0 and 3 set, 1 reset, 2 from the processor");
}

#[test]
fn the_logical_functions_use_the_latches() {
    for (function, expected) in [(0, 0x0F), (1, 0x05), (2, 0xAF), (3, 0xAA)] {
        let mut b = Bench::planar();
        b.vga.mem_write(0xA_0000, 0xA5);
        b.vga.mem_read(0xA_0000);
        b.indexed(0x3CE, 3, function << 3);
        b.vga.mem_write(0xA_0001, 0x0F);
        assert_eq!(b.vga.memory.byte(2, 1), expected);
    }
}

#[test]
fn write_modes_1_2_and_3() {
    let mut b = Bench::planar();
    for (plane, value) in [(0, 0x11), (1, 0x22), (2, 0x33), (3, 0x44)] {
        b.indexed(0x3C4, 2, 1 << plane);
        b.vga.mem_write(0xA_0000, value);
    }
    b.indexed(0x3C4, 2, 0x0F);
    b.vga.mem_read(0xA_0000);
    b.indexed(0x3CE, 5, 1);
    b.vga.mem_write(0xA_0001, 0xFF);
    assert_eq!(b.vga.memory.cell(1), 0x4433_2211);
    b.indexed(0x3CE, 5, 2);
    b.indexed(0x3CE, 8, 0x0F);
    b.vga.mem_write(0xA_0002, 0x0A);
    assert_eq!(b.vga.memory.cell(2), 0x4F30_2F10);
    b.indexed(0x3CE, 5, 3);
    b.indexed(0x3CE, 8, 0x3F);
    b.indexed(0x3CE, 0, 0x05);
    b.vga.mem_write(0xA_0003, 0xF3);
    assert_eq!(b.vga.memory.cell(3), 0x4433_0033);
}

#[test]
fn read_modes_select_a_plane_or_compare_colours() {
    let mut b = Bench::planar();
    for (plane, value) in [(0, 0xF0), (1, 0xCC), (2, 0xAA), (3, 0x00)] {
        b.indexed(0x3C4, 2, 1 << plane);
        b.vga.mem_write(0xA_0000, value);
    }
    for (plane, value) in [(0, 0xF0), (1, 0xCC), (2, 0xAA), (3, 0x00)] {
        b.indexed(0x3CE, 4, plane);
        assert_eq!(b.vga.mem_read(0xA_0000), value);
        b.out(0x3D4, 0x22);
        assert_eq!(b.inb(0x3D5), value, "the latch read-back");
    }
    b.indexed(0x3CE, 5, 0x08);
    b.indexed(0x3CE, 2, 0x03);
    assert_eq!(b.vga.mem_read(0xA_0000), 0xF0 & 0xCC & !0xAA);
    b.indexed(0x3CE, 7, 0x03);
    assert_eq!(b.vga.mem_read(0xA_0000), 0xC0);
    b.indexed(0x3CE, 7, 0x00);
    assert_eq!(b.vga.mem_read(0xA_0000), 0xFF);
}

#[test]
fn the_text_screen_follows_start_address_cursor_and_split() {
    let mut b = Bench::text();
    for cell in 0..80 * 26 {
        b.print(cell, " ", 0x07);
    }
    b.print(0, "first", 0x1E);
    b.print(80, "second", 0x07);
    b.print(25 * 80, "below", 0x07);
    b.indexed(0x3D4, 0x0F, 85);
    let screen = b.vga.text_screen().unwrap();
    assert_eq!((screen.rows.len(), screen.rows[0].chars().count()), (25, 80));
    assert_eq!((screen.rows[0].trim_end(), screen.rows[1].trim_end()), ("first", "second"));
    assert_eq!((screen.attributes[0][4], screen.attributes[0][5], screen.cursor), (0x1E, 0x07, Some((1, 5))));
    b.indexed(0x3D4, 0x0D, 80);
    let screen = b.vga.text_screen().unwrap();
    assert_eq!((screen.rows[0].trim_end(), screen.rows[24].trim_end()), ("second", "below"));
    assert_eq!(screen.cursor, Some((0, 5)));
    // Split after 23 rows, at line 16Fh: the start of memory follows.
    b.indexed(0x3D4, 0x09, 0x0F);
    b.indexed(0x3D4, 0x18, 0x6F);
    let screen = b.vga.text_screen().unwrap();
    assert_eq!((screen.rows[22].trim_end(), screen.rows[23].trim_end(), screen.rows.len()), ("", "first", 25));
    b.indexed(0x3D4, 0x0A, 0x20);
    assert_eq!(b.vga.text_screen().unwrap().cursor, None);
    b.indexed(0x3CE, 6, 0x0F);
    assert!(b.vga.text_screen().is_none() && !b.vga.is_text());
}

#[test]
fn code_page_437_is_complete() {
    assert_eq!(
        (CODE_PAGE_437[0x41], CODE_PAGE_437[0xC9], CODE_PAGE_437[0xDB], CODE_PAGE_437[0x01]),
        ('A', '╔', '█', '☺')
    );
    let distinct: std::collections::HashSet<char> = CODE_PAGE_437.into_iter().collect();
    assert_eq!(distinct.len(), 254, "the three blanks are two spaces and a no-break space");
}

#[test]
fn text_is_drawn_with_the_font_in_plane_2() {
    let mut b = Bench::text();
    b.glyph(b'A', [0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x18]);
    b.glyph(0xC4, [0xFF; 16]);
    b.print(0, "A", 0x2E);
    b.vga.mem_write(0xB_8002, 0xC4);
    b.vga.mem_write(0xB_8003, 0x04);
    b.indexed(0x3D4, 0x0A, 0x20);
    let frame = b.vga.render(0);
    assert_eq!((frame.width, frame.height, frame.rgb.len()), (720, 400, 720 * 400 * 3));
    assert_eq!(Bench::row(&frame, 0, 9), [14, 2, 2, 2, 2, 2, 2, 14, 2]);
    assert_eq!(Bench::row(&frame, 1, 9), [14, 14, 14, 14, 14, 14, 14, 14, 2], "the ninth dot is background");
    assert_eq!(Bench::row(&frame, 15, 9), [2, 2, 2, 14, 14, 2, 2, 2, 2]);
    assert_eq!((9..18).map(|x| Bench::pixel(&frame, x, 3)).collect::<Vec<_>>(), [4; 9], "but for line graphics");
    // Foreground bit 3 can choose the second font.
    b.indexed(0x3C4, 3, 0x04);
    assert_eq!(Bench::row(&b.vga.render(0), 1, 9), [2; 9]);
}

#[test]
fn cursor_and_blinking_characters_follow_time() {
    let mut b = Bench::text();
    b.glyph(b'X', [0xFF; 16]);
    b.print(0, "X", 0x9F);
    b.indexed(0x3D4, 0x0F, 1);
    let frame_time = SECOND / 70;
    let at = |b: &Bench, frames: u64| {
        let frame = b.vga.render(frames * frame_time + frame_time / 2);
        (Bench::pixel(&frame, 0, 0), Bench::pixel(&frame, 10, 13))
    };
    b.vga.mem_write(0xB_8003, 0x07);
    assert_eq!(at(&b, 0), (15, 7));
    assert_eq!(at(&b, 9), (15, 0));
    assert_eq!(at(&b, 17), (1, 7));
    b.attribute(0x10, 0x04);
    b.inb(0x3DA);
    b.out(0x3C0, 0x20);
    assert_eq!(at(&b, 17).0, 15, "without blinking bit 7 is a bright background");
}

#[test]
fn planar_graphics_show_four_planes() {
    let mut b = Bench::planar();
    for (plane, value) in [(0, 0x80), (1, 0xC0), (2, 0x01), (3, 0x41)] {
        b.indexed(0x3C4, 2, 1 << plane);
        b.vga.mem_write(0xA_0000 + 80, value);
    }
    let frame = b.vga.render(0);
    assert_eq!((frame.width, frame.height), (640, 480));
    assert_eq!(Bench::row(&frame, 1, 9), [3, 10, 0, 0, 0, 0, 0, 12, 0]);
    assert_eq!(Bench::row(&frame, 0, 2), [0, 0]);
    // Pan by one dot, mask planes, start one line further.
    b.attribute(0x13, 1);
    b.attribute(0x12, 0x07);
    b.indexed(0x3D4, 0x0D, 80);
    b.inb(0x3DA);
    b.out(0x3C0, 0x20);
    assert_eq!(Bench::row(&b.vga.render(0), 0, 7), [2, 0, 0, 0, 0, 0, 4]);
    b.indexed(0x3C4, 1, 0x21);
    assert!(b.vga.render(0).rgb.iter().all(|&c| c == 0), "screen off");
}

#[test]
fn chained_256_colours_and_mode_x() {
    let mut b = Bench::chained();
    for (i, value) in [(0, 0x11), (1, 0x82), (2, 0xC3), (3, 0x04), (4, 0x05), (320, 0x77)] {
        b.vga.mem_write(0xA_0000 + i, value);
    }
    assert_eq!((b.vga.mem_read(0xA_0001), b.vga.mem_read(0xA_0140)), (0x82, 0x77));
    let frame = b.vga.render(0);
    assert_eq!((frame.width, frame.height), (640, 400));
    let expected = [0x11, 0x11, 0x82, 0x82, 0xC3, 0xC3, 0x04, 0x04, 0x05, 0x05];
    assert_eq!(Bench::row(&frame, 0, 10), expected);
    assert_eq!(Bench::row(&frame, 1, 10), expected);
    assert_eq!(Bench::pixel(&frame, 0, 2), 0x77);
    // Unchained, bytes mode: one address holds four pixels.
    let mut b = Bench::chained();
    b.indexed(0x3C4, 4, 0x06);
    b.indexed(0x3D4, 0x14, 0x00);
    b.indexed(0x3D4, 0x17, 0xE3);
    b.indexed(0x3C4, 2, 0x02);
    b.vga.mem_write(0xA_0001, 0x33);
    assert_eq!(Bench::row(&b.vga.render(0), 0, 12), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x33, 0x33]);
}

#[test]
fn cga_graphics_interleave_their_lines() {
    let mut b = Bench::cga();
    b.vga.mem_write(0xB_8000, 0x1B);
    b.vga.mem_write(0xB_8001, 0xFF);
    b.vga.mem_write(0xB_A000, 0x55);
    b.vga.mem_write(0xB_8050, 0xAA);
    let frame = b.vga.render(0);
    assert_eq!((frame.width, frame.height), (640, 400));
    let row = |y: usize| (0..8).map(|x| Bench::pixel(&frame, 2 * x, y)).collect::<Vec<_>>();
    assert_eq!(row(0), [0, 1, 2, 3, 3, 3, 3, 3]);
    assert_eq!(row(1), row(0), "lines are doubled");
    assert_eq!(row(2), [1, 1, 1, 1, 0, 0, 0, 0]);
    assert_eq!(row(4), [2, 2, 2, 2, 0, 0, 0, 0]);
}

#[test]
fn changes_are_reported_and_reset_keeps_memory() {
    let mut b = Bench::text();
    assert!(b.vga.take_change());
    assert!(!b.vga.take_change());
    b.vga.mem_write(0xA_0000, 1);
    assert!(!b.vga.take_change(), "outside the window");
    b.print(0, "Z", 7);
    assert!(b.vga.take_change());
    b.vga.reset();
    assert_eq!((b.vga.memory.byte(0, 0), b.inb(0x3CC)), (b'Z', 0));
}
