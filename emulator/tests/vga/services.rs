//! What the video BIOS's services answer and do, asked by boot disks that report over the debug console.

use super::programs::{Draw, Emit, floppy};
use super::run;
use iced_x86::code_asm::*;
use ring86::machine::Machine;

/// Runs a program; what it reported, and the machine it left.
fn answers(program: fn(&mut Draw) -> Emit) -> (Vec<String>, Machine) {
    let machine = run(floppy(program));
    let text = machine.console_text();
    let words = text.trim_end_matches('D').split_whitespace().map(str::to_owned).collect();
    (words, machine)
}

/// The picture that a program leaves.
fn picture(program: fn(&mut Draw) -> Emit) -> ring86_devices::vga::Frame {
    answers(program).1.frame()
}

/// Calls int 10h with AX, BX, CX and DX, ES = 3000h and DI = 0.
fn call(d: &mut Draw, all: [u32; 4]) -> Emit {
    d.segment(0x3000)?;
    d.0.xor(di, di)?;
    d.0.mov(cx, all[2])?;
    d.0.mov(dx, all[3])?;
    d.bios(all[0], all[1])
}

/// Text mode with a text, colours of its own and blinking off.
fn own_text(d: &mut Draw) -> Emit {
    d.mode(3)?;
    d.print("What was on the screen", 7)?;
    call(d, [0x1010, 7, 0x1020, 0x3000])?;
    call(d, [0x1000, 0x1207, 0, 0])?;
    call(d, [0x1010, 0x12, 0x3f00, 0x0700])?;
    d.bios(0x1003, 0)
}

#[test]
fn vbe_restores_a_text_screen_behind_a_graphics_mode() {
    let (said, machine) = answers(|d| {
        own_text(d)?;
        call(d, [0x4f04, 0, 0x0f, 0])?;
        d.report(bx)?;
        call(d, [0x4f04, 0, 0x0f, 1])?;
        d.report(ax)?;
        call(d, [0x4f02, 0x4101, 0, 0])?;
        call(d, [0x1012, 0, 0, 0])?;
        call(d, [0x1010, 0x12, 0, 0])?;
        call(d, [0x4f04, 0, 0x0f, 2])?;
        d.report(ax)?;
        d.bios(0x0f00, 0)?;
        d.report(ax)
    });
    assert_eq!(said, ["000F", "004F", "004F", "5003"], "15 blocks; 80 columns, mode 3");
    assert!(machine.screen_text().contains("What was on the screen"));
    assert_eq!(machine.frame(), picture(own_text));
}

#[test]
fn vbe_restores_a_graphics_mode_behind_a_text_screen() {
    let (said, machine) = answers(|d| {
        call(d, [0x4f02, 0x4103, 0, 0])?;
        call(d, [0x4f08, 0x0800, 0, 0])?;
        call(d, [0x4f06, 0, 1024, 0])?;
        call(d, [0x4f07, 0, 16, 3])?;
        call(d, [0x1010, 5, 0x80c0, 0x4000])?;
        d.segment(0xa000)?;
        d.0.mov(byte_ptr(0x0c10 + 2048).es(), 5)?;
        call(d, [0x4f04, 0, 0x0f, 1])?;
        d.bios(0x0003, 0)?;
        call(d, [0x4f04, 0, 0x0f, 2])?;
        call(d, [0x4f03, 0, 0, 0])?;
        d.report(bx)?;
        call(d, [0x4f07, 1, 0, 0])?;
        d.report(cx)?;
        d.report(dx)?;
        call(d, [0x4f06, 1, 0, 0])?;
        d.report(cx)
    });
    assert_eq!(said, ["4103", "0010", "0003", "0400"]);
    let frame = machine.frame();
    assert_eq!((frame.width, frame.height), (800, 600));
    let mut expected = vec![0; 800 * 600 * 3];
    expected[2 * 800 * 3..][..3].copy_from_slice(&[0x40, 0x80, 0xc0]);
    assert!(frame.rgb == expected, "one dot of a colour with eight bits");
}

#[test]
fn each_part_of_the_adapters_state_is_saved_by_itself() {
    let (said, machine) = answers(|d| {
        for part in [0, 1, 2, 4, 7] {
            call(d, [0x1c00, 0, part, 0])?;
            d.report(ax)?;
            d.report(bx)?;
        }
        own_text(d)?;
        call(d, [0x1c01, 0, 7, 0])?;
        d.mode(0x13)?;
        // Hardware alone: the BIOS still believes in mode 13h, and the colours are that mode's.
        call(d, [0x1c02, 0, 1, 0])?;
        d.bios(0x0f00, 0)?;
        d.report(ax)?;
        call(d, [0x1015, 0x12, 0, 0])?;
        d.report(cx)?;
        call(d, [0x1c02, 0, 2, 0])?;
        d.bios(0x0f00, 0)?;
        d.report(ax)?;
        call(d, [0x1c02, 0, 4, 0])?;
        call(d, [0x1015, 0x12, 0, 0])?;
        d.report(cx)?;
        // A part that was not saved stays as it is.
        call(d, [0x1c01, 0, 1, 0])?;
        call(d, [0x1010, 0x12, 0x0102, 0x0300])?;
        call(d, [0x1c02, 0, 7, 0])?;
        call(d, [0x1015, 0x12, 0, 0])?;
        d.report(cx)
    });
    let blocks = ["1C1C", "0001", "1C1C", "0002", "1C1C", "0001", "1C1C", "000D", "1C1C", "000F"];
    assert_eq!(said[..10], blocks.map(str::to_owned));
    assert_eq!(said[10..], ["2813", "0808", "5003", "3F00", "0102"]);
    assert!(machine.screen().is_some_and(|screen| screen.rows.len() == 25));
}

#[test]
fn characters_are_read_back_from_the_picture() {
    let (said, _) = answers(|d| {
        // One mode of each kind of memory; 06h and 04h take the upper half of the characters from int 1Fh.
        for mode in [0x04, 0x06, 0x0d, 0x10, 0x12, 0x13] {
            d.mode(mode)?;
            d.0.mov(dx, 0x0507)?;
            d.bios(0x0200, 0)?;
            d.0.mov(cx, 1)?;
            d.bios(0x0900 | u32::from(b'g'), 0x0f)?;
            d.bios(0x0800, 0)?;
            d.report(ax)?;
            d.0.mov(dx, 0x0008)?;
            d.bios(0x0200, 0)?;
            d.0.mov(cx, 1)?;
            d.bios(0x09e1, 0x0b)?;
            d.bios(0x0800, 0)?;
            d.report(ax)?;
            // No character looks like this.
            d.repeat(cx, 64, 72, |d| {
                d.0.mov(dx, 1)?;
                d.bios(0x0c01, 0)
            })?;
            d.bios(0x0800, 0)?;
            d.report(ax)?;
        }
        Ok(())
    });
    assert_eq!(said.len(), 18);
    for (mode, read) in said.chunks(3).enumerate() {
        assert_eq!(read, ["0867", "08E1", "0800"], "mode {mode}");
    }
}

#[test]
fn text_modes_have_the_scan_lines_that_were_asked_for() {
    let (said, machine) = answers(|d| {
        for lines in [0, 1, 2] {
            d.bios(0x1200 | lines, 0x30)?;
            d.report(ax)?;
            d.mode(if lines == 1 { 1 } else { 3 })?;
            // Height of characters and rows, BX as it was asked for, then the code for the lines.
            d.0.mov(bp, 0)?;
            d.bios(0x1130, 0)?;
            d.report(cx)?;
            d.report(dx)?;
            call(d, [0x1b00, 0, 0, 0])?;
            d.0.mov(ax, word_ptr(0x2a).es())?;
            d.0.mov(ah, 0)?;
            d.report(ax)?;
        }
        // 8x8 characters on 200 lines are 25 rows, not 50.
        d.bios(0x1200, 0x30)?;
        d.mode(3)?;
        d.bios(0x1112, 0)?;
        d.0.mov(bp, 0)?;
        d.bios(0x1130, 0)?;
        d.report(dx)?;
        d.print("two hundred lines", 7)
    });
    let rows = |at: usize| &said[at][2..];
    assert_eq!([&said[0], &said[4], &said[8]], ["1212"; 3]);
    assert_eq!([&said[1], &said[5], &said[9]], ["0008", "000E", "0010"]);
    assert_eq!([rows(2), rows(6), rows(10), rows(12)], ["18"; 4]);
    assert_eq!([&said[3], &said[7], &said[11]], ["0000", "0001", "0002"]);
    assert!(machine.screen_text().starts_with("two hundred lines"), "{}", machine.screen_text());
    let frame = machine.frame();
    assert_eq!((frame.width, frame.height), (640, 400));
    let line = |y: usize| &frame.rgb[y * 640 * 3..(y + 1) * 640 * 3];
    assert!((0..200).all(|y| line(2 * y) == line(2 * y + 1)) && line(2) != line(4));
    let medium = picture(|d| {
        d.bios(0x1201, 0x30)?;
        d.mode(3)?;
        d.print("three hundred and fifty", 7)
    });
    assert_eq!((medium.width, medium.height), (640, 350));
}

#[test]
fn colours_that_are_loaded_become_grey_on_request() {
    let (said, machine) = answers(|d| {
        d.bios(0x1200, 0x33)?;
        d.report(ax)?;
        d.mode(0x13)?;
        call(d, [0x1010, 200, 0x0000, 0x3f00])?;
        call(d, [0x1015, 200, 0, 0])?;
        d.report(cx)?;
        d.segment(0x3000)?;
        for at in [0, 3] {
            d.0.mov(word_ptr(at).es(), 0x3f00)?;
            d.0.mov(byte_ptr(at + 2).es(), 0)?;
        }
        call(d, [0x1012, 100, 2, 0])?;
        call(d, [0x1015, 101, 0, 0])?;
        d.report(cx)?;
        d.segment(0xa000)?;
        d.repeat(di, 0, 64000, |d| {
            d.0.mov(ax, di)?;
            d.0.stosb()?;
            d.0.dec(di)
        })
    });
    assert_eq!(said, ["1212", "1212", "2525"]);
    let rgb = machine.frame().rgb;
    assert!(rgb.as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b), "every colour is grey");
    assert!(rgb.iter().any(|level| *level != rgb[0]));
    let (said, _) = answers(|d| {
        d.bios(0x1200, 0x33)?;
        d.bios(0x1201, 0x33)?;
        d.mode(0x13)?;
        call(d, [0x1015, 4, 0, 0])?;
        d.report(cx)?;
        d.report(dx)
    });
    assert_eq!((&said[0][..], &said[1][..2]), ("0000", "2A"), "red stays red");
}

/// Segment where a program puts the copy of the protected-mode interface, and places behind it.
const COPY: u32 = 0x2000;
const TRAMPOLINE: u32 = 0x800;
const TABLES: u32 = 0xa00;

/// Stores words from `at` on in segment [`COPY`], which ES holds.
fn store(d: &mut Draw, at: u32, words: &[u32]) -> Emit {
    for (i, word) in words.iter().enumerate() {
        d.0.mov(word_ptr(at + 2 * i as u32).es(), *word)?;
    }
    Ok(())
}

/// Copies the interface's table as the BIOS tells it, with a way in and out of its 32-bit code behind it: `call esi` and
/// a far jump back, and descriptors for both kinds of code.
fn copy_interface(d: &mut Draw) -> Emit {
    call(d, [0x4f0a, 0, 0, 0])?;
    d.report(ax)?;
    let a = &mut d.0;
    a.push(es)?;
    a.pop(ds)?;
    a.mov(si, di)?;
    a.mov(ax, COPY)?;
    a.mov(es, ax)?;
    a.xor(di, di)?;
    a.rep().movsb()?;
    a.xor(ax, ax)?;
    a.mov(ds, ax)?;
    store(d, TRAMPOLINE, &[0xd6ff, 0x00ea, 0x0000, 0x1000, 0x0000])?;
    let base = COPY << 4;
    store(d, TABLES, &[0, 0, 0, 0, 0xffff, base & 0xffff, 0x9b00 | base >> 16, 0x0040])?;
    store(d, TABLES + 16, &[0xffff, 0, 0x9b00, 0])?;
    store(d, TABLES + 32, &[23, (base + TABLES) & 0xffff, base >> 16])
}

/// Calls the interface's routine whose offset is at `entry` in protected mode, with ES = 3000h and EDI = 0.
fn call_protected(d: &mut Draw, entry: u32, [ebx_, ecx_, edx_]: [u32; 3]) -> Emit {
    d.segment(COPY)?;
    let a = &mut d.0;
    let (mut enter, mut leave, mut real) = (a.create_label(), a.create_label(), a.create_label());
    a.cli()?;
    a.call(enter)?;
    // The far jump comes here, in 16-bit protected mode.
    a.mov(ebx, cr0)?;
    a.and(bl, 0xfe)?;
    a.mov(cr0, ebx)?;
    a.push(0)?;
    a.call(leave)?;
    a.jmp(real)?;
    a.set_label(&mut leave)?;
    a.retf()?;
    a.set_label(&mut enter)?;
    a.pop(ax)?;
    a.mov(word_ptr(TRAMPOLINE + 3).es(), ax)?;
    a.movzx(esi, word_ptr(entry).es())?;
    a.lgdt(fword_ptr(TABLES + 32).es())?;
    a.mov(ax, 0x3000)?;
    a.mov(es, ax)?;
    a.xor(edi, edi)?;
    a.mov(ebx, ebx_)?;
    a.mov(ecx, ecx_)?;
    a.mov(edx, edx_)?;
    a.mov(eax, cr0)?;
    a.or(al, 1)?;
    a.mov(cr0, eax)?;
    a.db(&[0x66, 0xea, TRAMPOLINE as u8, (TRAMPOLINE >> 8) as u8, 0, 0, 8, 0])?;
    a.set_label(&mut real)?;
    a.sti()?;
    d.report(ax)
}

#[test]
fn the_protected_mode_interface_moves_the_window_the_picture_and_the_palette() {
    let (said, _) = answers(|d| {
        copy_interface(d)?;
        call(d, [0x4f02, 0x4111, 0, 0])?;
        call(d, [0x4f06, 0, 1024, 0])?;
        call_protected(d, 0, [0, 0, 5])?;
        call(d, [0x4f05, 0x0100, 0, 0])?;
        d.report(dx)?;
        call_protected(d, 0, [0, 0, 0xffff])?;
        // Line 70, pixel 20 of lines of 2048 bytes: byte 143400, as DX:CX times four.
        call_protected(d, 2, [0x80, (143_400 / 4) & 0xffff, (143_400 / 4) >> 16])?;
        call(d, [0x4f07, 1, 0, 0])?;
        d.report(cx)?;
        d.report(dx)?;
        d.segment(0x3000)?;
        store(d, 0, &[0x0201, 0x0003, 0x0605, 0x0007])?;
        call_protected(d, 4, [0, 2, 0x40])?;
        call_protected(d, 4, [0, 200, 0x40])?;
        call(d, [0x1015, 0x41, 0, 0])?;
        d.report(cx)?;
        d.report(dx)
    });
    assert_eq!(said[..6], ["004F", "004F", "0005", "014F", "004F", "0014"]);
    assert_eq!(said[6..10], ["0046", "004F", "014F", "0605"]);
    assert_eq!(&said[10][..2], "07", "red");
}

#[test]
fn modes_take_pixel_clocks_and_timings() {
    let (said, machine) = answers(|d| {
        for clock in [65_000_000, 400_000_000] {
            d.0.mov(ecx, clock)?;
            d.0.mov(dx, 0x4105)?;
            d.bios(0x4f0b, 0)?;
            d.report(ax)?;
            d.report(cx)?;
            d.0.shr(ecx, 16)?;
            d.report(cx)?;
        }
        // 1024x768 at 60 Hz; then with a line too short for the picture.
        d.segment(0x3000)?;
        store(d, 0, &[1344, 1048, 1184, 806, 771, 777])?;
        d.0.mov(byte_ptr(12).es(), 0)?;
        d.0.mov(dword_ptr(13).es(), 65_000_000)?;
        d.0.mov(word_ptr(17).es(), 6000)?;
        call(d, [0x4f02, 0x4905, 0, 0])?;
        d.report(ax)?;
        store(d, 0, &[1000])?;
        call(d, [0x4f02, 0x4903, 0, 0])?;
        d.report(ax)
    });
    let clock = |low: &str, high: &str| ["004F", low, high].map(str::to_owned);
    assert_eq!(said[..3], clock("D240", "03DF"));
    assert_eq!(said[3..6], clock("8580", "0DB5"));
    assert_eq!(said[6..], ["004F", "014F"]);
    assert_eq!((machine.frame().width, machine.frame().height), (1024, 768));
}

#[test]
fn the_monitors_power_is_switched() {
    let (said, machine) = answers(|d| {
        d.mode(3)?;
        d.print("shown", 7)?;
        call(d, [0x4f10, 0, 0, 0])?;
        d.report(ax)?;
        d.report(bx)?;
        for state in [0, 1, 2, 3, 4] {
            call(d, [0x4f10, state << 8 | 1, 0, 0])?;
            d.report(ax)?;
            call(d, [0x4f10, 2, 0, 0])?;
            d.report(bx)?;
        }
        // A mode set switches the picture on.
        d.mode(3)?;
        call(d, [0x4f10, 2, 0, 0])?;
        d.report(bx)?;
        d.print("shown", 7)?;
        call(d, [0x4f10, 0x0401, 0, 0])
    });
    assert_eq!(said[..2], ["004F", "0710"]);
    let states = ["004F", "0002", "004F", "0102", "004F", "0202", "014F", "0202", "004F", "0402"];
    assert_eq!(said[2..12], states.map(str::to_owned));
    assert_eq!(said[12..], ["0002"]);
    assert!(machine.screen_text().contains("shown"));
    assert!(machine.frame().rgb.iter().all(|level| *level == 0), "the screen is dark");
}

#[test]
fn eight_hundred_by_six_hundred_in_planes() {
    let (said, machine) = answers(|d| {
        call(d, [0x4f01, 0, 0x102, 0])?;
        // Attributes, window's, bytes of a line; planes and bits; model.
        for at in [0, 2, 0x10, 0x18, 0x1b, 0x28] {
            d.0.mov(ax, word_ptr(at).es())?;
            d.report(ax)?;
        }
        call(d, [0x4f02, 0x4102, 0, 0])?;
        d.report(ax)?;
        call(d, [0x4f02, 0x0102, 0, 0])?;
        d.report(ax)?;
        call(d, [0x4f03, 0, 0, 0])?;
        d.report(bx)?;
        call(d, [0x4f05, 0, 0, 1])?;
        d.report(ax)?;
        call(d, [0x4f06, 0, 850, 0])?;
        d.report(bx)?;
        d.report(cx)?;
        d.report(dx)?;
        call(d, [0x4f07, 0, 13, 2])?;
        d.report(ax)?;
        call(d, [0x4f07, 0, 0, 7])?;
        d.report(ax)?;
        call(d, [0x4f07, 1, 0, 0])?;
        d.report(cx)?;
        d.report(dx)
    });
    assert_eq!(said[..6], ["001F", "0006", "0064", "0404", "0003", "0000"]);
    assert_eq!(said[6..10], ["014F", "004F", "0102", "014F"]);
    assert_eq!(said[10..13], ["006C", "0360", "025E"], "108 bytes, 864 pixels, 606 lines");
    assert_eq!(said[13..], ["004F", "014F", "000D", "0002"], "736 bytes are left below the picture");
    assert_eq!((machine.frame().width, machine.frame().height), (800, 600));
    let frame = picture(|d| {
        d.mode(0x6a)?;
        d.0.mov(cx, 799)?;
        d.0.mov(dx, 599)?;
        d.bios(0x0c0e, 0)?;
        // A row of the last characters, scrolled up by one.
        d.0.mov(dx, 0x2463)?;
        d.bios(0x0200, 0)?;
        d.0.mov(cx, 1)?;
        d.bios(0x09db, 2)?;
        d.0.mov(cx, 0)?;
        d.0.mov(dx, 0x2463)?;
        d.bios(0x0601, 0)
    });
    assert_eq!((frame.width, frame.height), (800, 600));
    let mut expected = vec![0; 800 * 600 * 3];
    for y in 35 * 16..36 * 16 {
        for x in 792..800 {
            expected[(y * 800 + x) * 3 + 1] = 0xaa;
        }
    }
    expected[(599 * 800 + 799) * 3..].copy_from_slice(&[0xff, 0xff, 0x55]);
    assert!(frame.rgb == expected);
}
