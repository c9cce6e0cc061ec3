//! Register values of the standard modes, in the layout of IBM's video parameter table, and what the services need to
//! know about each mode's memory.

use crate::asm::{Builder, Emit, x86};

/// How a mode's memory is organised.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Text = 0,
    /// Interleaved lines at B8000h, 2 bits a pixel.
    Cga4 = 1,
    /// Interleaved lines at B8000h, 1 bit a pixel.
    Cga2 = 2,
    /// Four planes at A0000h.
    Planar = 3,
    /// A byte for each pixel at A0000h.
    Linear = 4,
}

/// Which colours the DAC is loaded with.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Dac {
    /// The 64 colours of an EGA monitor.
    Ega = 0,
    /// The 16 colours of a CGA, for the modes of 200 lines.
    Cga = 1,
    /// Black, grey, white.
    Mono = 2,
    /// 16 colours, 16 greys, 216 hues.
    Full = 3,
}

struct Mode {
    number: u8,
    kind: Kind,
    dac: Dac,
    columns: u8,
    rows: u8,
    height: u8,
    page_size: u16,
    /// Miscellaneous output register.
    misc: u8,
    /// Sequencer registers 1 to 4.
    sequencer: [u8; 4],
    crtc: &'static [u8; 25],
    attributes: [u8; 20],
    graphics: [u8; 9],
}

const CRTC_TEXT_40: [u8; 25] = [
    0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0x1f,
    0x96, 0xb9, 0xa3, 0xff,
];
const CRTC_TEXT_80: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x1f,
    0x96, 0xb9, 0xa3, 0xff,
];
const CRTC_TEXT_40_200: [u8; 25] = [
    0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0, 0xbf, 0x1f, 0, 0xc7, 0x06, 0x07, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0x1f,
    0x96, 0xb9, 0xa3, 0xff,
];
const CRTC_TEXT_80_200: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0xc7, 0x06, 0x07, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x1f,
    0x96, 0xb9, 0xa3, 0xff,
];
const CRTC_TEXT_40_350: [u8; 25] = [
    0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0, 0xbf, 0x1f, 0, 0x4d, 0x0b, 0x0c, 0, 0, 0, 0, 0x83, 0x85, 0x5d, 0x14, 0x1f,
    0x63, 0xba, 0xa3, 0xff,
];
const CRTC_TEXT_80_350: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4d, 0x0b, 0x0c, 0, 0, 0, 0, 0x83, 0x85, 0x5d, 0x28, 0x1f,
    0x63, 0xba, 0xa3, 0xff,
];
const CRTC_MONO: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x0d,
    0x96, 0xb9, 0xa3, 0xff,
];
const CRTC_CGA_320: [u8; 25] = [
    0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96,
    0xb9, 0xa2, 0xff,
];
const CRTC_CGA_640: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x00, 0x96,
    0xb9, 0xc2, 0xff,
];
const CRTC_EGA_320: [u8; 25] = [
    0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96,
    0xb9, 0xe3, 0xff,
];
const CRTC_EGA_640: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x00, 0x96,
    0xb9, 0xe3, 0xff,
];
const CRTC_350: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x40, 0, 0, 0, 0, 0, 0, 0x83, 0x85, 0x5d, 0x28, 0x0f, 0x63,
    0xba, 0xe3, 0xff,
];
const CRTC_480: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7,
    0x04, 0xe3, 0xff,
];
const CRTC_480_2: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7,
    0x04, 0xc3, 0xff,
];
/// 100 of 132 characters, 600 of 628 lines.
const CRTC_600: [u8; 25] = [
    0x7f, 0x63, 0x64, 0x82, 0x69, 0x19, 0x72, 0xf0, 0, 0x60, 0, 0, 0, 0, 0, 0, 0x59, 0x8d, 0x57, 0x32, 0x00, 0x58,
    0x72, 0xe3, 0xff,
];
const CRTC_256: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96,
    0xb9, 0xa3, 0xff,
];

/// Sixteen palette registers followed by mode control, overscan, plane enable and panning.
const fn attributes(palette: [u8; 16], control: u8, planes: u8, panning: u8) -> [u8; 20] {
    let mut all = [0; 20];
    let mut i = 0;
    while i < 16 {
        all[i] = palette[i];
        i += 1;
    }
    all[16] = control;
    all[18] = planes;
    all[19] = panning;
    all
}

const EGA_16: [u8; 16] = [0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f];
const CGA_16: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];
const CGA_4: [u8; 16] = [0, 0x13, 0x15, 0x17, 2, 4, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];
const CGA_2: [u8; 16] = [0, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17];
const MONO_TEXT: [u8; 16] = [0, 8, 8, 8, 8, 8, 8, 8, 0x10, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18];
const MONO_GRAPHICS: [u8; 16] = [0, 8, 0, 0, 0x18, 0x18, 0, 0, 0, 8, 0, 0, 0, 0x18, 0, 0];
const TWO_16: [u8; 16] = [0, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f];
const SIXTEEN: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

const GRAPHICS_TEXT: [u8; 9] = [0, 0, 0, 0, 0, 0x10, 0x0e, 0x0f, 0xff];
const GRAPHICS_MONO: [u8; 9] = [0, 0, 0, 0, 0, 0x10, 0x0a, 0x0f, 0xff];
const GRAPHICS_CGA_4: [u8; 9] = [0, 0, 0, 0, 0, 0x30, 0x0f, 0x0f, 0xff];
const GRAPHICS_CGA_2: [u8; 9] = [0, 0, 0, 0, 0, 0, 0x0d, 0x0f, 0xff];
const GRAPHICS_PLANAR: [u8; 9] = [0, 0, 0, 0, 0, 0, 0x05, 0x0f, 0xff];
const GRAPHICS_256: [u8; 9] = [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff];

const fn text(number: u8, columns: u8, page_size: u16, clocking: u8, crtc: &'static [u8; 25]) -> Mode {
    Mode {
        number,
        kind: Kind::Text,
        dac: Dac::Ega,
        columns,
        rows: 25,
        height: 16,
        page_size,
        misc: 0x67,
        sequencer: [clocking, 3, 0, 2],
        crtc,
        attributes: attributes(EGA_16, 0x0c, 0x0f, 8),
        graphics: GRAPHICS_TEXT,
    }
}

/// Text of 8 by 8 on 200 lines, each shown twice.
const fn text_200(number: u8, columns: u8, page_size: u16, crtc: &'static [u8; 25]) -> Mode {
    Mode {
        dac: Dac::Cga,
        height: 8,
        misc: 0x63,
        attributes: attributes(CGA_16, 8, 0x0f, 0),
        ..text(number, columns, page_size, if columns == 40 { 9 } else { 1 }, crtc)
    }
}

/// Text of 8 by 14 on 350 lines.
const fn text_350(number: u8, columns: u8, page_size: u16, crtc: &'static [u8; 25]) -> Mode {
    Mode {
        height: 14,
        misc: 0xa3,
        attributes: attributes(EGA_16, 8, 0x0f, 0),
        ..text(number, columns, page_size, if columns == 40 { 9 } else { 1 }, crtc)
    }
}

const fn cga(number: u8, columns: u8, crtc: &'static [u8; 25]) -> Mode {
    let two = columns == 80;
    Mode {
        number,
        kind: if two { Kind::Cga2 } else { Kind::Cga4 },
        dac: Dac::Cga,
        columns,
        rows: 25,
        height: 8,
        page_size: 0x4000,
        misc: 0x63,
        sequencer: if two { [1, 1, 0, 6] } else { [9, 3, 0, 2] },
        crtc,
        attributes: if two { attributes(CGA_2, 1, 1, 0) } else { attributes(CGA_4, 1, 3, 0) },
        graphics: if two { GRAPHICS_CGA_2 } else { GRAPHICS_CGA_4 },
    }
}

struct Planar {
    number: u8,
    dac: Dac,
    columns: u8,
    rows: u8,
    height: u8,
    page_size: u16,
    misc: u8,
    attributes: [u8; 20],
}

const fn planar(mode: Planar, crtc: &'static [u8; 25]) -> Mode {
    Mode {
        number: mode.number,
        kind: Kind::Planar,
        dac: mode.dac,
        columns: mode.columns,
        rows: mode.rows,
        height: mode.height,
        page_size: mode.page_size,
        misc: mode.misc,
        sequencer: [if mode.columns == 40 { 9 } else { 1 }, 0x0f, 0, 6],
        crtc,
        attributes: mode.attributes,
        graphics: GRAPHICS_PLANAR,
    }
}

const MODES: [Mode; 20] = [
    text(0, 40, 0x800, 8, &CRTC_TEXT_40),
    text(1, 40, 0x800, 8, &CRTC_TEXT_40),
    text(2, 80, 0x1000, 0, &CRTC_TEXT_80),
    text(3, 80, 0x1000, 0, &CRTC_TEXT_80),
    cga(4, 40, &CRTC_CGA_320),
    cga(5, 40, &CRTC_CGA_320),
    cga(6, 80, &CRTC_CGA_640),
    Mode {
        number: 7,
        kind: Kind::Text,
        dac: Dac::Mono,
        columns: 80,
        rows: 25,
        height: 16,
        page_size: 0x1000,
        misc: 0x66,
        sequencer: [0, 3, 0, 2],
        crtc: &CRTC_MONO,
        attributes: attributes(MONO_TEXT, 0x0e, 0x0f, 8),
        graphics: GRAPHICS_MONO,
    },
    planar(
        Planar {
            number: 0x0d,
            dac: Dac::Cga,
            columns: 40,
            rows: 25,
            height: 8,
            page_size: 0x2000,
            misc: 0x63,
            attributes: attributes(CGA_16, 1, 0x0f, 0),
        },
        &CRTC_EGA_320,
    ),
    planar(
        Planar {
            number: 0x0e,
            dac: Dac::Cga,
            columns: 80,
            rows: 25,
            height: 8,
            page_size: 0x4000,
            misc: 0x63,
            attributes: attributes(CGA_16, 1, 0x0f, 0),
        },
        &CRTC_EGA_640,
    ),
    planar(
        Planar {
            number: 0x0f,
            dac: Dac::Mono,
            columns: 80,
            rows: 25,
            height: 14,
            page_size: 0x8000,
            misc: 0xa2,
            attributes: attributes(MONO_GRAPHICS, 0x0b, 5, 0),
        },
        &CRTC_350,
    ),
    planar(
        Planar {
            number: 0x10,
            dac: Dac::Ega,
            columns: 80,
            rows: 25,
            height: 14,
            page_size: 0x8000,
            misc: 0xa3,
            attributes: attributes(EGA_16, 1, 0x0f, 0),
        },
        &CRTC_350,
    ),
    planar(
        Planar {
            number: 0x11,
            dac: Dac::Ega,
            columns: 80,
            rows: 30,
            height: 16,
            page_size: 0xa000,
            misc: 0xe3,
            attributes: attributes(TWO_16, 1, 0x0f, 0),
        },
        &CRTC_480_2,
    ),
    planar(
        Planar {
            number: 0x12,
            dac: Dac::Ega,
            columns: 80,
            rows: 30,
            height: 16,
            page_size: 0xa000,
            misc: 0xe3,
            attributes: attributes(EGA_16, 1, 0x0f, 0),
        },
        &CRTC_480,
    ),
    Mode {
        number: 0x13,
        kind: Kind::Linear,
        dac: Dac::Full,
        columns: 40,
        rows: 25,
        height: 8,
        page_size: 0,
        misc: 0x63,
        sequencer: [1, 0x0f, 0, 0x0e],
        crtc: &CRTC_256,
        attributes: attributes(SIXTEEN, 0x41, 0x0f, 0),
        graphics: GRAPHICS_256,
    },
    text_200(FEWER_LINES, 40, 0x800, &CRTC_TEXT_40_200),
    text_200(FEWER_LINES + 1, 80, 0x1000, &CRTC_TEXT_80_200),
    text_350(FEWER_LINES + 2, 40, 0x800, &CRTC_TEXT_40_350),
    text_350(FEWER_LINES + 3, 80, 0x1000, &CRTC_TEXT_80_350),
    planar(
        Planar {
            number: PLANAR_800_PLACE,
            dac: Dac::Ega,
            columns: 100,
            rows: 37,
            height: 16,
            page_size: 60_000,
            misc: 0x27,
            attributes: attributes(EGA_16, 1, 0x0f, 0),
        },
        &CRTC_600,
    ),
];

/// Fields of a mode's parameters as the services see them: IBM's 64 bytes, then ours.
pub mod parameter {
    pub const COLUMNS: i32 = 0;
    pub const LAST_ROW: i32 = 1;
    pub const HEIGHT: i32 = 2;
    pub const PAGE_SIZE: i32 = 3;
    pub const SEQUENCER: i32 = 5;
    pub const MISC: i32 = 9;
    pub const CRTC: i32 = 10;
    pub const ATTRIBUTES: i32 = 35;
    pub const GRAPHICS: i32 = 55;
    pub const KIND: i32 = 64;
    pub const DAC: i32 = 65;
    pub const SEGMENT: i32 = 66;
}

/// Highest mode number.
pub const LAST_MODE: i32 = 0x13;

/// The first of the numbers that parameters for modes 0 to 3 on fewer lines go by in the table: 40 and 80 columns on 200
/// lines, then on 350. They are no modes.
pub const FEWER_LINES: u8 = LAST_MODE as u8 + 1;

/// VESA's 800 by 600 in four planes, and its place in the table.
pub const PLANAR_800: i32 = 0x6a;
pub const PLANAR_800_PLACE: u8 = FEWER_LINES + 4;

/// Three bytes, 0 to 63, for each colour that a DAC set defines.
fn dac_colours(set: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    match set {
        0 => {
            for i in 0..64u8 {
                let level = |high: u8, low: u8| (i >> high & 1) * 0x2a + (i >> low & 1) * 0x15;
                bytes.extend([level(2, 5), level(1, 4), level(0, 3)]);
            }
        }
        1 => {
            for i in 0..64u8 {
                bytes.extend(cga_colour(i & 7, i & 0x10 != 0));
            }
        }
        2 => {
            for i in 0..64u8 {
                let level = [0, 0x2a, 0, 0x3f][usize::from(i >> 3 & 3)];
                bytes.extend([level; 3]);
            }
        }
        _ => {
            for i in 0..16u8 {
                bytes.extend(cga_colour(i & 7, i & 8 != 0));
            }
            for grey in [0, 5, 8, 0x0b, 0x0e, 0x11, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x2d, 0x32, 0x38, 0x3f] {
                bytes.extend([grey; 3]);
            }
            bytes.extend(hues());
            bytes.resize(768, 0);
        }
    }
    bytes
}

/// A colour of the CGA: blue, green, red bits; brown is the dark yellow with half the green.
fn cga_colour(colour: u8, bright: bool) -> [u8; 3] {
    let base = if bright { 0x15 } else { 0 };
    let level = |bit: u8| base + (colour >> bit & 1) * 0x2a;
    if colour == 6 && !bright { [0x2a, 0x15, 0] } else { [level(2), level(1), level(0)] }
}

/// Colours 32 to 247 of mode 13h: three brightnesses, each with three saturations of 24 hues from blue over red and
/// green back to blue.
fn hues() -> Vec<u8> {
    const LEVELS: [[u8; 5]; 9] = [
        [0x00, 0x10, 0x1f, 0x2f, 0x3f],
        [0x1f, 0x27, 0x2f, 0x37, 0x3f],
        [0x2d, 0x31, 0x36, 0x3a, 0x3f],
        [0x00, 0x07, 0x0e, 0x15, 0x1c],
        [0x0e, 0x11, 0x15, 0x18, 0x1c],
        [0x14, 0x16, 0x18, 0x1a, 0x1c],
        [0x00, 0x04, 0x08, 0x0c, 0x10],
        [0x08, 0x0a, 0x0c, 0x0e, 0x10],
        [0x0b, 0x0c, 0x0d, 0x0f, 0x10],
    ];
    let mut bytes = Vec::new();
    for levels in LEVELS {
        for hue in 0..24usize {
            // Each channel is a trapezium over the circle of 24 hues: red centred on 8, green on 16, blue on 0.
            let channel = |centre: usize| {
                let distance = (hue + 24 - centre) % 24;
                let distance = distance.min(24 - distance);
                levels[8usize.saturating_sub(distance).min(4)]
            };
            bytes.extend([channel(8), channel(16), channel(0)]);
        }
    }
    bytes
}

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b; mode_offsets:);
    let table = b.at("mode_parameters");
    for number in 0..=PLANAR_800_PLACE {
        let index = MODES.iter().position(|mode| mode.number == number);
        let address = index.map_or(0, |index| table + 68 * index as i32);
        b.db(&(address as u16).to_le_bytes())?;
    }
    x86!(b; mode_parameters:);
    for mode in &MODES {
        b.db(&[mode.columns, mode.rows - 1, mode.height])?;
        b.db(&mode.page_size.to_le_bytes())?;
        b.db(&mode.sequencer)?;
        b.db(&[mode.misc])?;
        b.db(mode.crtc)?;
        b.db(&mode.attributes)?;
        b.db(&mode.graphics)?;
        let segment: u16 = match (mode.kind, mode.number) {
            (Kind::Text, 7) => 0xb000,
            (Kind::Text | Kind::Cga4 | Kind::Cga2, _) => 0xb800,
            _ => 0xa000,
        };
        b.db(&[mode.kind as u8, mode.dac as u8])?;
        b.db(&segment.to_le_bytes())?;
    }
    x86!(b; dac_tables:);
    let names = ["dac_ega", "dac_cga", "dac_mono", "dac_full"];
    b.addresses(&names)?;
    for (set, name) in names.into_iter().enumerate() {
        b.define(name)?;
        b.db(&dac_colours(set as u8))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_colours_are_ibms() {
        let full = dac_colours(3);
        let colour = |i: usize| [full[3 * i], full[3 * i + 1], full[3 * i + 2]];
        assert_eq!(colour(6), [0x2a, 0x15, 0]);
        assert_eq!(colour(32), [0, 0, 0x3f]);
        assert_eq!(colour(33), [0x10, 0, 0x3f]);
        assert_eq!(colour(36), [0x3f, 0, 0x3f]);
        assert_eq!(colour(40), [0x3f, 0, 0]);
        assert_eq!(colour(44), [0x3f, 0x3f, 0]);
        assert_eq!(colour(48), [0, 0x3f, 0]);
        assert_eq!(colour(52), [0, 0x3f, 0x3f]);
        assert_eq!(colour(55), [0, 0x10, 0x3f]);
        assert_eq!(colour(247), [0x0b, 0x0c, 0x10]);
        assert_eq!(colour(255), [0, 0, 0]);
        let ega = dac_colours(0);
        assert_eq!(ega[3 * 0x14..3 * 0x15], [0x2a, 0x15, 0]);
        assert_eq!(ega[3 * 0x3f..], [0x3f, 0x3f, 0x3f]);
    }
}
