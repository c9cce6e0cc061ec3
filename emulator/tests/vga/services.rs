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
