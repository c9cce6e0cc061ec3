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
