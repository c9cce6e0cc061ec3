//! The demo guest: what `ring86 demo` boots. A small monitor on COM1, the keyboard and the VGA text screen.
//!
//! It is one multiboot image. Each file writes the commands of one subject; a routine is called by its name.

use std::sync::OnceLock;

use iced_x86::code_asm::*;

use crate::asm::{Emit, code};
use crate::pm::{Pm, SCRATCH, VARS, build_hosted};

mod bench;
mod console;
mod machine;
mod power;
mod show;
mod tests;

/// Physical address of the multiboot information.
const MBINFO: u32 = VARS + 0x200;
/// Timer interrupts since the start, 100 a second.
const TICKS: u32 = VARS + 0x204;
/// Next character cell of the text screen, 0 to 1999.
const CURSOR: u32 = VARS + 0x208;
/// Attribute with which characters are drawn.
const ATTR: u32 = VARS + 0x20C;
/// Read and write positions in `RING`.
const RING_TAIL: u32 = VARS + 0x210;
const RING_HEAD: u32 = VARS + 0x214;
/// Whether a shift key is down.
const SHIFT: u32 = VARS + 0x218;
/// Where a failing self-test goes on, and with which stack.
const FAIL_TO: u32 = VARS + 0x21C;
const FAIL_ESP: u32 = VARS + 0x220;
/// Self-tests passed and failed.
const PASSED: u32 = VARS + 0x224;
const FAILED: u32 = VARS + 0x228;
/// Arguments of the command: address of the rest of the line.
const ARGS: u32 = VARS + 0x22C;
/// What commands keep for themselves.
const TEMP: u32 = VARS + 0x240;
/// Typed characters that nobody has read yet.
const RING: u32 = VARS + 0x300;
/// The line being typed.
const LINE: u32 = VARS + 0x400;
/// Longest line.
const LINE_MAX: u32 = 100;
/// Memory that commands may fill.
const HEAP: u32 = SCRATCH;

/// What can be typed, and what it does.
const COMMANDS: [(&str, &str); 15] = [
    ("help", "this list"),
    ("cpu", "name the processor and what it can do"),
    ("mem", "the memory map"),
    ("pci", "the devices on the PCI bus"),
    ("test", "self-tests of the processor"),
    ("bench", "a small benchmark"),
    ("mandel", "the Mandelbrot set"),
    ("life", "the game of life, until a key is pressed"),
    ("clock", "date and time"),
    ("echo", "echo TEXT: print it"),
    ("peek", "peek ADDR: 64 bytes of memory at a hexadecimal address"),
    ("clear", "clear the screen"),
    ("crash", "a triple fault, on purpose, to see it explained"),
    ("reboot", "reset the machine"),
    ("poweroff", "switch it off"),
];

/// Prints a text.
fn say(t: &mut Pm, text: &str) -> Emit {
    let at = t.string(text);
    code!(t; push(at as i32); call(t.at("puts")));
    Ok(())
}

/// Chooses the colour of what follows: 0 to 7 in the order of ANSI, 8 more for bright.
fn color(t: &mut Pm, color: u32) -> Emit {
    code!(t; push(color as i32); call(t.at("color")));
    Ok(())
}

fn write(t: &mut Pm) -> Emit {
    code!(t; mov(dword_ptr(MBINFO), ebx); call(t.at("console.init")));
    color(t, 14)?;
    say(t, "\n  Ring86")?;
    color(t, 7)?;
    say(t, "  a PC in software. This is its built-in guest.\n\n")?;
    for command in ["cpu", "mem", "pci", "clock", "test", "bench", "mandel"] {
        code!(t; call(t.at(&format!("cmd.{command}"))));
    }
    say(t, "\nType help for the commands.\n")?;
    t.here("prompt")?;
    color(t, 10)?;
    say(t, "ring86> ")?;
    color(t, 7)?;
    code!(t; call(t.at("readline")));
    for (name, _) in COMMANDS {
        let next = t.fresh("next");
        let at = t.string(name);
        code!(t; mov(edi, at); call(t.at("match")); jne(t.at(&next)); call(t.at(&format!("cmd.{name}"))); jmp(t.at("prompt")));
        t.here(&next)?;
    }
    code!(t; cmp(byte_ptr(LINE), 0); je(t.at("prompt")));
    say(t, "No such command; help lists them.\n")?;
    code!(t; jmp(t.at("prompt")));

    t.here("cmd.help")?;
    for (name, what) in COMMANDS {
        say(t, &format!("  {name:<9} {what}\n"))?;
    }
    code!(t; ret());
    t.here("cmd.echo")?;
    code!(t; push(dword_ptr(ARGS)); call(t.at("puts")); push(10); call(t.at("putc")); ret());
    console::write(t)?;
    machine::write(t)?;
    tests::write(t)?;
    bench::write(t)?;
    show::write(t)?;
    power::write(t)?;
    t.pool()
}

/// The image: multiboot 1, loaded at 1 MiB; wants 8 MiB of memory.
///
/// # Panics
/// If it does not assemble, which the crate's own test rules out.
pub fn demo_image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| build_hosted(&write).unwrap_or_else(|error| panic!("the demo does not assemble: {error}")))
}
