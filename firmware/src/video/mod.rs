//! The VGA BIOS: an option ROM of 32 KiB that is independent of the segment it runs in.

mod fonts;
mod graphics;
mod modes;
mod palette;
mod save;
mod set_mode;
mod state;
mod text;
mod vbe;
mod vbe_modes;
mod vbe_monitor;
mod vbe_planar;
mod vbe_protected;
mod write;

pub use fonts::{FONT_8X8, font};

use crate::asm::{Builder, Emit, Symbols, assemble, x86};
use crate::layout::{BDA, bda, frame};
use iced_x86::code_asm::*;

/// Size of the ROM in bytes.
const SIZE: usize = 0x8000;
/// Code starts behind the option ROM header.
const CODE_START: u16 = 0x40;

/// The ROM with its header and checksum.
pub fn image() -> (Vec<u8>, Symbols) {
    let (code, symbols) = assemble(CODE_START, &emit);
    let mut image = vec![0; SIZE];
    let start = usize::from(CODE_START);
    assert!(start + code.len() < SIZE, "the VGA BIOS is {} bytes long", code.len());
    image[start..start + code.len()].copy_from_slice(&code);
    image[..3].copy_from_slice(&[0x55, 0xaa, (SIZE / 512) as u8]);
    let relative = symbols["initialise"].wrapping_sub(6).to_le_bytes();
    image[3..6].copy_from_slice(&[0xe9, relative[0], relative[1]]);
    image[0x1e..0x30].copy_from_slice(b"IBM VGA compatible");
    let sum = image.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    image[SIZE - 1] = sum.wrapping_neg();
    (image, symbols)
}

fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        // Option ROM entry: takes int 10h and sets mode 3.
        initialise:
            push ds;
            push es;
            pushad;
            cld;
            xor ax, ax;
            mov es, ax;
            mov word_ptr(4 * 0x10).es(), b.at("int10");
            mov word_ptr(4 * 0x10 + 2).es(), cs;
            mov word_ptr(4 * 0x42).es(), b.at("int10");
            mov word_ptr(4 * 0x42 + 2).es(), cs;
            mov word_ptr(4 * 0x1f).es(), b.at("font_8x8") + 1024;
            mov word_ptr(4 * 0x1f + 2).es(), cs;
            push BDA;
            pop ds;
            and byte_ptr(bda::EQUIPMENT), 0xcf;
            or byte_ptr(bda::EQUIPMENT), 0x20; // 80x25 colour
            mov byte_ptr(bda::VIDEO_CONTROL), 0x60; // 256 KiB
            mov byte_ptr(bda::VIDEO_SWITCHES), 0xf9;
            mov byte_ptr(bda::VIDEO_FLAGS), 0x11; // VGA, 400 lines
            mov byte_ptr(bda::VIDEO_COMBINATION), 0x0b; // colour VGA in the combination table
            mov word_ptr(bda::VIDEO_SAVE_TABLE), b.at("save_table");
            mov word_ptr(bda::VIDEO_SAVE_TABLE + 2), cs;
            mov ax, 3;
            int 0x10;
            popad;
            pop es;
            pop ds;
            retf;
        int10:
            sti;
            push ds;
            push es;
            pushad;
            mov bp, sp;
            cld;
            push BDA;
            pop ds;
            cmp ah, 0x4f;
            je @vbe_service;
            cmp ah, 0x1c;
            ja @video_return;
            movzx si, ah;
            add si, si;
            jmp word_ptr(si + b.at("int10_table")).cs();
        video_return:
            popad;
            pop es;
            pop ds;
            iret;
        // The function exists: AL = its number (AH, 1Ah, 1Bh ...).
        video_return_ah:
            mov al, byte_ptr(bp + frame::AH);
            mov byte_ptr(bp + frame::AL), al;
            jmp @video_return;
        int10_table:
    );
    b.jump_table(
        0x1d,
        "video_return",
        &[
            (0x00, "mode_service"),
            (0x01, "cursor_shape_service"),
            (0x02, "cursor_set_service"),
            (0x03, "cursor_get_service"),
            (0x04, "light_pen_service"),
            (0x05, "page_service"),
            (0x06, "scroll_up_service"),
            (0x07, "scroll_down_service"),
            (0x08, "read_character_service"),
            (0x09, "write_character_service"),
            (0x0a, "write_only_character_service"),
            (0x0b, "cga_palette_service"),
            (0x0c, "write_pixel_service"),
            (0x0d, "read_pixel_service"),
            (0x0e, "teletype_service"),
            (0x0f, "get_mode_service"),
            (0x10, "palette_service"),
            (0x11, "font_service"),
            (0x12, "alternate_service"),
            (0x13, "write_string_service"),
            (0x1a, "combination_service"),
            (0x1b, "state_service"),
            (0x1c, "save_state_service"),
        ],
    )?;
    set_mode::emit(b)?;
    text::emit(b)?;
    write::emit(b)?;
    graphics::emit(b)?;
    palette::emit(b)?;
    state::emit(b)?;
    save::emit(b)?;
    fonts::emit(b)?;
    vbe::emit(b)?;
    modes::emit(b)
}
