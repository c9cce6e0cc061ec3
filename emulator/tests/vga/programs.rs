//! Boot disks that draw a known picture, one for each standard mode and for each way of addressing the VGA's memory.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

/// Where a program runs, and the sectors that it may fill.
const PROGRAM: u64 = 0x8000;
const SECTORS: usize = 8;
/// Port that hears a `D` when the picture is done.
const CONSOLE: u32 = 0xe9;

/// What every step of a program returns.
pub type Emit = Result<(), IcedError>;

/// A program under construction.
pub struct Draw(pub CodeAssembler);

/// What a picture is called, and what draws it.
pub type Picture = (&'static str, fn(&mut Draw) -> Emit);

/// All pictures.
pub const PICTURES: &[Picture] = &[
    ("text-00", |d| d.characters(0x00, 40, 0xb800)),
    ("text-01", |d| d.characters(0x01, 40, 0xb800)),
    ("text-02", |d| d.characters(0x02, 80, 0xb800)),
    ("text-03", |d| d.characters(0x03, 80, 0xb800)),
    ("text-07", |d| d.characters(0x07, 80, 0xb000)),
    ("text-200-lines", |d| {
        d.bios(0x1200, 0x30)?;
        d.characters(0x03, 80, 0xb800)
    }),
    ("text-350-lines", |d| {
        d.bios(0x1201, 0x30)?;
        d.characters(0x03, 80, 0xb800)
    }),
    ("text-50-lines", fifty_lines),
    ("text-8-dots", |d| {
        d.characters(0x03, 80, 0xb800)?;
        d.register(0x3c4, 1, 0x01)
    }),
    ("text-two-fonts", two_fonts),
    ("text-cursor", cursor),
    ("text-scrolled", scrolled),
    ("cga-04", |d| d.cga(0x04)),
    ("cga-05", |d| d.cga(0x05)),
    ("cga-06", |d| d.cga(0x06)),
    ("ega-0d", |d| d.planar(0x0d, 40, 200)),
    ("ega-0e", |d| d.planar(0x0e, 80, 200)),
    ("ega-0f", |d| d.planar(0x0f, 80, 350)),
    ("ega-10", |d| d.planar(0x10, 80, 350)),
    ("vga-11", |d| d.planar(0x11, 80, 480)),
    ("vga-12", |d| d.planar(0x12, 80, 480)),
    ("vga-13", mode_13),
    ("svga-6a", |d| d.planar(0x6a, 100, 600)),
    ("mode-x", mode_x),
    ("split-screen", split_screen),
    ("split-panning", split_panning),
    ("odd-even", odd_even),
    ("chain-4", chain_4),
    ("write-modes", write_modes),
    ("colours", colours),
    ("pel-mask", pel_mask),
];

/// A 1.44 MB floppy with the program that `draw` writes.
#[must_use]
pub fn floppy(draw: fn(&mut Draw) -> Emit) -> Vec<u8> {
    build(draw).expect("the program is right")
}

fn build(draw: fn(&mut Draw) -> Emit) -> Result<Vec<u8>, IcedError> {
    let mut boot = CodeAssembler::new(16)?;
    boot.xor(ax, ax)?;
    boot.mov(ds, ax)?;
    boot.mov(es, ax)?;
    boot.mov(ax, 0x0200 + SECTORS as u32)?;
    boot.mov(bx, PROGRAM as u32)?;
    boot.mov(cx, 2)?;
    boot.mov(dh, 0)?;
    boot.int(0x13)?;
    boot.db(&[0xea, 0x00, 0x80, 0x00, 0x00])?;
    let mut image = boot.assemble(0x7c00)?;
    image.resize(510, 0);
    image.extend([0x55, 0xaa]);

    let mut d = Draw(CodeAssembler::new(16)?);
    d.0.cld()?;
    draw(&mut d)?;
    let a = &mut d.0;
    a.mov(al, u32::from(b'D'))?;
    a.out(CONSOLE, al)?;
    a.cli()?;
    a.hlt()?;
    let program = a.assemble(PROGRAM)?;
    assert!(program.len() <= SECTORS * 512, "{} bytes", program.len());
    image.extend(program);
    image.resize(1440 << 10, 0);
    Ok(image)
}

impl Draw {
    /// Sets a BIOS mode; the cursor of text modes goes away.
    pub fn mode(&mut self, mode: u32) -> Emit {
        self.bios(mode, 0)?;
        if mode < 4 || mode == 7 {
            self.0.mov(cx, 0x2000)?;
            self.bios(0x0100, 0)?;
        }
        Ok(())
    }

    /// Calls int 10h with AX and BX.
    pub fn bios(&mut self, function: u32, argument: u32) -> Emit {
        self.0.mov(ax, function)?;
        self.0.mov(bx, argument)?;
        self.0.int(0x10)
    }

    /// Writes a register to the debug console, four hexadecimal digits and a space. Changes nothing but flags.
    pub fn report(&mut self, register: AsmRegister16) -> Emit {
        let a = &mut self.0;
        a.push(ax)?;
        a.push(cx)?;
        a.mov(ax, register)?;
        a.mov(cx, 4)?;
        let mut digit = a.create_label();
        a.set_label(&mut digit)?;
        a.rol(ax, 4)?;
        a.push(ax)?;
        // Ten and more become letters by the decimal adjustment.
        a.and(al, 0x0f)?;
        a.cmp(al, 10)?;
        a.sbb(al, 0x69)?;
        a.das()?;
        a.out(CONSOLE, al)?;
        a.pop(ax)?;
        a.loop_(digit)?;
        a.mov(al, u32::from(b' '))?;
        a.out(CONSOLE, al)?;
        a.pop(cx)?;
        a.pop(ax)
    }

    /// Writes an indexed register: index and data in one word.
    pub fn register(&mut self, port: u32, index: u32, value: u32) -> Emit {
        self.0.mov(dx, port)?;
        self.0.mov(ax, value << 8 | index)?;
        self.0.out(dx, ax)
    }

    /// Reads an indexed register and writes it back with some bits cleared and others set.
    fn change(&mut self, port: u32, index: u32, clear: u32, set: u32) -> Emit {
        self.0.mov(dx, port)?;
        self.0.mov(al, index)?;
        self.0.out(dx, al)?;
        self.0.inc(dx)?;
        self.0.in_(al, dx)?;
        self.0.and(al, !clear & 0xff)?;
        self.0.or(al, set)?;
        self.0.out(dx, al)
    }

    /// Writes a register of the attribute controller and switches the picture on again.
    fn attribute(&mut self, index: u32, value: u32) -> Emit {
        let a = &mut self.0;
        a.mov(dx, 0x3da)?;
        a.in_(al, dx)?;
        a.mov(dx, 0x3c0)?;
        for byte in [index, value, 0x20] {
            a.mov(al, byte)?;
            a.out(dx, al)?;
        }
        Ok(())
    }

    /// ES is a segment of video memory.
    pub fn segment(&mut self, segment: u32) -> Emit {
        self.0.mov(ax, segment)?;
        self.0.mov(es, ax)
    }

    /// Repeats `body` with `counter` from `first` to just below `end`. The body keeps the counter.
    pub fn repeat(
        &mut self,
        counter: AsmRegister16,
        first: u32,
        end: u32,
        body: impl FnOnce(&mut Self) -> Emit,
    ) -> Emit {
        let mut again = self.0.create_label();
        self.0.mov(counter, first)?;
        self.0.set_label(&mut again)?;
        body(self)?;
        self.0.inc(counter)?;
        self.0.cmp(counter, end)?;
        self.0.jb(again)
    }

    /// Prints through the BIOS, in a colour for graphics modes.
    pub fn print(&mut self, text: &str, colour: u32) -> Emit {
        for byte in text.bytes() {
            self.bios(0x0e00 | u32::from(byte), colour)?;
        }
        Ok(())
    }

    /// Every character and every attribute, with bright backgrounds in place of blinking.
    fn characters(&mut self, mode: u32, columns: u32, segment: u32) -> Emit {
        self.mode(mode)?;
        self.bios(0x1003, 0)?;
        self.segment(segment)?;
        self.cells(columns * 25)
    }

    /// Fills cells: the character counts, and the attribute counts every seventh.
    fn cells(&mut self, count: u32) -> Emit {
        self.0.xor(di, di)?;
        self.repeat(si, 0, count, |d| {
            let a = &mut d.0;
            a.mov(ax, si)?;
            a.xor(dx, dx)?;
            a.mov(bx, 7)?;
            a.div(bx)?;
            a.mov(ah, al)?;
            a.mov(dx, si)?;
            a.mov(al, dl)?;
            a.stosw()
        })
    }

    /// A diagonal of pixels through the BIOS, each with its number as colour.
    fn diagonal(&mut self, x: u32, y: u32, length: u32) -> Emit {
        self.repeat(si, 0, length, |d| {
            let a = &mut d.0;
            a.mov(cx, si)?;
            a.add(cx, x as i32)?;
            a.mov(dx, si)?;
            a.add(dx, y as i32)?;
            a.mov(ax, si)?;
            a.and(al, 0x0f)?;
            a.mov(ah, 0x0c)?;
            a.mov(bx, 0)?;
            a.int(0x10)
        })
    }

    /// A CGA mode: text and pixels by the BIOS, bars by writes to both banks.
    fn cga(&mut self, mode: u32) -> Emit {
        self.mode(mode)?;
        self.print("Ring86 CGA", 3)?;
        self.diagonal(8, 16, 64)?;
        self.segment(0xb800)?;
        // Rows 100 to 199 of each bank: the byte is its column.
        for bank in [0u32, 0x2000] {
            self.repeat(di, bank + 50 * 80, bank + 100 * 80, |d| {
                let a = &mut d.0;
                a.mov(ax, di)?;
                a.and(ax, 0x1fff)?;
                a.xor(dx, dx)?;
                a.mov(bx, 80)?;
                a.div(bx)?;
                a.mov(al, dl)?;
                a.add(al, dl)?;
                a.add(al, dl)?;
                a.mov(byte_ptr(di).es(), al)
            })?;
        }
        Ok(())
    }

    /// A planar mode: text and pixels by the BIOS, and in the lower half sixteen bars in set/reset's colours.
    fn planar(&mut self, mode: u32, pitch: u32, height: u32) -> Emit {
        self.mode(mode)?;
        self.print("Ring86 ", 15)?;
        self.print("planes", 10)?;
        self.diagonal(8, 20, 70)?;
        self.segment(0xa000)?;
        self.register(0x3ce, 1, 0x0f)?;
        self.repeat(di, pitch * (height / 2), pitch * height, |d| {
            let a = &mut d.0;
            a.mov(ax, di)?;
            a.xor(dx, dx)?;
            a.mov(bx, pitch)?;
            a.div(bx)?;
            a.mov(ax, dx)?;
            a.shl(ax, 4)?;
            a.xor(dx, dx)?;
            a.div(bx)?;
            a.mov(ah, al)?;
            a.mov(al, 0)?;
            a.mov(dx, 0x3ce)?;
            a.out(dx, ax)?;
            a.mov(byte_ptr(di).es(), al)
        })?;
        self.register(0x3ce, 1, 0)
    }

    /// Fills `pitch` times `rows` bytes from `start` with column xor row.
    fn squares(&mut self, start: u32, pitch: u32, rows: u32) -> Emit {
        self.0.mov(di, start)?;
        self.repeat(bx, 0, rows, |d| {
            d.repeat(cx, 0, pitch, |d| {
                let a = &mut d.0;
                a.mov(ax, cx)?;
                a.xor(ax, bx)?;
                a.stosb()
            })
        })
    }
}

/// Mode 3 with the 8x8 font.
fn fifty_lines(d: &mut Draw) -> Emit {
    d.mode(3)?;
    d.bios(0x1112, 0)?;
    d.0.mov(cx, 0x2000)?;
    d.bios(0x0100, 0)?;
    d.bios(0x1003, 0)?;
    d.segment(0xb800)?;
    d.cells(80 * 50)
}

/// 512 characters: attribute bit 3 chooses a second font, which has the first one's dots inverted.
fn two_fonts(d: &mut Draw) -> Emit {
    d.mode(3)?;
    d.bios(0x1003, 0)?;
    d.0.mov(bp, 0)?;
    d.bios(0x1130, 0x0600)?;
    let a = &mut d.0;
    a.push(ds)?;
    a.push(es)?;
    a.pop(ds)?;
    a.mov(si, bp)?;
    a.mov(ax, 0x1000)?;
    a.mov(es, ax)?;
    a.xor(di, di)?;
    a.mov(cx, 256 * 16)?;
    let mut again = a.create_label();
    a.set_label(&mut again)?;
    a.lodsb()?;
    a.not(al)?;
    a.stosb()?;
    a.loop_(again)?;
    a.pop(ds)?;
    a.mov(bp, 0)?;
    a.mov(cx, 256)?;
    a.mov(dx, 0)?;
    d.bios(0x1100, 0x1001)?;
    d.bios(0x1103, 0x0004)?;
    d.segment(0xb800)?;
    d.cells(2000)
}

/// A tall cursor above blinking text, as they are at the program's end.
fn cursor(d: &mut Draw) -> Emit {
    d.mode(3)?;
    d.print("Ring86: a cursor of lines 3 to 12 ->", 7)?;
    d.0.mov(cx, 0x030c)?;
    d.bios(0x0100, 0)?;
    d.segment(0xb800)?;
    d.0.mov(di, 160 * 2)?;
    d.repeat(cx, 0, 80, |d| {
        d.0.mov(al, cl)?;
        d.0.mov(ah, cl)?;
        d.0.or(ah, 0x80)?;
        d.0.stosw()
    })
}

/// Text that begins three lines down, five scan lines into a row and four dots into a column.
fn scrolled(d: &mut Draw) -> Emit {
    d.mode(3)?;
    d.bios(0x1003, 0)?;
    d.segment(0xb800)?;
    d.cells(80 * 40)?;
    d.register(0x3d4, 0x0d, 240)?;
    d.register(0x3d4, 0x08, 5)?;
    d.attribute(0x33, 4)
}

/// 256 colours, one byte each.
fn mode_13(d: &mut Draw) -> Emit {
    d.mode(0x13)?;
    d.segment(0xa000)?;
    d.squares(0, 320, 200)?;
    d.print("Ring86 256", 15)?;
    d.diagonal(8, 16, 100)
}

/// 320x240 with planes of their own, drawn on the second page; its lower half is a copy through the latches.
fn mode_x(d: &mut Draw) -> Emit {
    d.mode(0x13)?;
    d.register(0x3c4, 4, 0x06)?;
    d.register(0x3c4, 0, 0x01)?;
    d.0.mov(dx, 0x3c2)?;
    d.0.mov(al, 0xe3)?;
    d.0.out(dx, al)?;
    d.register(0x3c4, 0, 0x03)?;
    d.change(0x3d4, 0x11, 0x80, 0)?;
    let timing =
        [(0x06, 0x0d), (0x07, 0x3e), (0x09, 0x41), (0x10, 0xea), (0x11, 0xac), (0x12, 0xdf), (0x14, 0), (0x15, 0xe7)];
    for (index, value) in timing.into_iter().chain([(0x16, 0x06), (0x17, 0xe3)]) {
        d.register(0x3d4, index, value)?;
    }
    d.segment(0xa000)?;
    // Setting mode 13h cleared the chained addresses alone.
    d.register(0x3c4, 2, 0x0f)?;
    d.0.xor(di, di)?;
    d.0.xor(ax, ax)?;
    d.0.mov(cx, 0x8000)?;
    d.0.rep().stosw()?;
    // Plane p of the upper half holds the columns 4n + p: colour is column plus row.
    const PAGE: u32 = 80 * 240;
    for plane in 0..4 {
        d.register(0x3c4, 2, 1 << plane)?;
        d.0.mov(di, PAGE)?;
        d.repeat(bx, 0, 120, |d| {
            d.repeat(cx, 0, 80, |d| {
                let a = &mut d.0;
                a.mov(ax, cx)?;
                a.shl(ax, 2)?;
                a.add(ax, bx)?;
                a.add(ax, plane)?;
                a.stosb()
            })
        })?;
    }
    d.register(0x3c4, 2, 0x0f)?;
    d.register(0x3ce, 5, 0x41)?;
    d.0.push(ds)?;
    d.0.push(es)?;
    d.0.pop(ds)?;
    d.0.mov(si, PAGE)?;
    d.0.mov(di, PAGE + 120 * 80 + 20)?;
    d.0.mov(cx, 100 * 80)?;
    d.0.rep().movsb()?;
    d.0.pop(ds)?;
    d.register(0x3ce, 5, 0x40)?;
    d.register(0x3d4, 0x0c, PAGE >> 8)?;
    d.register(0x3d4, 0x0d, PAGE & 0xff)
}

/// Mode 10h, the lower part of which shows the start of memory: line compare at 250.
fn split_screen(d: &mut Draw) -> Emit {
    d.planar(0x10, 80, 350)?;
    d.register(0x3d4, 0x18, 250)?;
    d.change(0x3d4, 0x07, 0x10, 0)?;
    d.change(0x3d4, 0x09, 0x40, 0)?;
    // The upper part begins at line 100.
    d.register(0x3d4, 0x0c, (100 * 80) >> 8)?;
    d.register(0x3d4, 0x0d, (100 * 80) & 0xff)
}

/// Mode 0Dh with a split at 240, panned by five dots above it alone.
fn split_panning(d: &mut Draw) -> Emit {
    d.planar(0x0d, 40, 200)?;
    d.register(0x3d4, 0x18, 240)?;
    d.change(0x3d4, 0x07, 0x10, 0)?;
    d.change(0x3d4, 0x09, 0x40, 0)?;
    d.register(0x3d4, 0x0c, (60 * 40) >> 8)?;
    d.register(0x3d4, 0x0d, (60 * 40) & 0xff)?;
    d.attribute(0x30, 0x21)?;
    d.attribute(0x33, 5)
}

/// Mode 10h with the processor's addresses split into even and odd planes, as text modes have them.
fn odd_even(d: &mut Draw) -> Emit {
    d.mode(0x10)?;
    d.print("Ring86 odd/even", 15)?;
    d.register(0x3c4, 4, 0x02)?;
    d.register(0x3ce, 5, 0x10)?;
    d.change(0x3ce, 6, 0, 0x02)?;
    // The display counts words, so that what is stored at even addresses is side by side.
    d.change(0x3d4, 0x17, 0x40, 0)?;
    d.segment(0xa000)?;
    d.squares(80 * 100, 80, 120)?;
    // Planes 0 and 1 alone, then 2 and 3 alone.
    d.register(0x3c4, 2, 0x03)?;
    d.squares(80 * 230, 80, 40)?;
    d.register(0x3c4, 2, 0x0c)?;
    d.squares(80 * 280, 80, 40)
}

/// Mode 13h with planes 1 and 3 masked off in the middle, and at the bottom a copy read back plane by plane.
fn chain_4(d: &mut Draw) -> Emit {
    d.mode(0x13)?;
    d.segment(0xa000)?;
    d.squares(0, 320, 60)?;
    d.register(0x3c4, 2, 0x05)?;
    d.squares(320 * 60, 320, 60)?;
    d.register(0x3c4, 2, 0x0f)?;
    // The first 20 lines' plane 2 as an unchained read sees it: every byte whose chained address is 4n + 2, at 4n.
    d.register(0x3c4, 4, 0x06)?;
    d.register(0x3ce, 4, 2)?;
    d.repeat(si, 0, 320 * 20, |d| {
        let a = &mut d.0;
        a.mov(al, byte_ptr(si).es())?;
        a.mov(byte_ptr(si + 320 * 140).es(), al)
    })?;
    d.register(0x3c4, 4, 0x0e)
}

/// Mode 12h: write modes 0 to 3 and the logical functions over a background of bars.
fn write_modes(d: &mut Draw) -> Emit {
    d.planar(0x12, 80, 480)?;
    // One line of bars for each of the fields above, copied through the latches (write mode 1).
    d.register(0x3ce, 5, 1)?;
    d.0.push(ds)?;
    d.0.push(es)?;
    d.0.pop(ds)?;
    d.0.mov(si, 80 * 300)?;
    d.0.mov(di, 80 * 100)?;
    d.0.mov(cx, 80 * 100)?;
    d.0.rep().movsb()?;
    d.0.pop(ds)?;
    // Write mode 0: rotated data with each function under a bit mask, set/reset for planes 0 and 1.
    for function in 0..4 {
        d.register(0x3ce, 5, 0)?;
        d.register(0x3ce, 3, function << 3 | 3)?;
        d.register(0x3ce, 8, 0x7e)?;
        d.register(0x3ce, 0, 0x01)?;
        d.register(0x3ce, 1, 0x03)?;
        strip(d, 104 + 12 * function, 0xf1)?;
    }
    // Write mode 2: the data is a colour.
    d.register(0x3ce, 3, 3 << 3)?;
    d.register(0x3ce, 5, 2)?;
    strip(d, 152, 0x0c)?;
    // Write mode 3: the data is a mask, set/reset the colour.
    d.register(0x3ce, 3, 2)?;
    d.register(0x3ce, 5, 3)?;
    d.register(0x3ce, 8, 0xff)?;
    d.register(0x3ce, 0, 0x0e)?;
    strip(d, 164, 0xc6)?;
    // Read mode 1: where colour 5 is in the bars, planes 0 to 2 cared for, a white byte.
    d.register(0x3ce, 3, 0)?;
    d.register(0x3ce, 2, 5)?;
    d.register(0x3ce, 7, 7)?;
    d.register(0x3ce, 1, 0)?;
    d.register(0x3ce, 5, 0x08)?;
    d.repeat(si, 80 * 176, 80 * 186, |d| {
        d.0.mov(al, byte_ptr(si).es())?;
        d.0.mov(byte_ptr(si + 80 * 20).es(), al)
    })
}

/// Reads each byte of eight lines from `line` on and writes `value` there.
fn strip(d: &mut Draw, line: u32, value: u32) -> Emit {
    d.repeat(si, 80 * line, 80 * (line + 8), |d| {
        d.0.mov(al, byte_ptr(si).es())?;
        d.0.mov(byte_ptr(si).es(), value)
    })
}

/// Mode 0Dh through the rest of the colours' way: palette registers, plane enable, colour select and DAC.
fn colours(d: &mut Draw) -> Emit {
    d.planar(0x0d, 40, 200)?;
    // DAC entries 30h to 3Fh: a ramp from blue to yellow.
    d.0.mov(dx, 0x3c8)?;
    d.0.mov(al, 0x30)?;
    d.0.out(dx, al)?;
    d.0.inc(dx)?;
    d.repeat(cx, 0, 16, |d| {
        let a = &mut d.0;
        a.mov(al, cl)?;
        a.shl(al, 2)?;
        a.out(dx, al)?;
        a.out(dx, al)?;
        a.mov(ah, 63)?;
        a.sub(ah, al)?;
        a.mov(al, ah)?;
        a.out(dx, al)
    })?;
    // The palette backwards, bits 4 and 5 from the colour select register: entries 30h and above.
    for entry in 0..16 {
        d.attribute(entry, 15 - entry)?;
    }
    d.attribute(0x30, 0x81)?;
    d.attribute(0x34, 0x03)?;
    // Plane 3 is hidden.
    d.attribute(0x32, 0x07)
}

/// 256 colours of which the PEL mask lets sixteen through.
fn pel_mask(d: &mut Draw) -> Emit {
    mode_13(d)?;
    d.0.mov(dx, 0x3c6)?;
    d.0.mov(al, 0x0f)?;
    d.0.out(dx, al)
}
