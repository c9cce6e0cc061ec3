//! The BIOS's services as a program on a floppy calls them, inside Ring86: one row for each, with what it must answer.
//!
//! Every table runs a second time with its interrupts pointed at an IRET, and then no row may come out right: a service
//! that is not there cannot pass.

#[path = "../../firmware/tests/support/print_ax.rs"]
mod print_ax;

use iced_x86::IcedError;
use iced_x86::code_asm::*;
use ring86::config::MachineConfig;
use ring86::drives::Bay;
use ring86::machine::{Machine, Outcome};
use ring86::storage::Image;

const DEBUG_EXIT: u16 = 0xf4;
/// Where the boot sector puts the program, and how much of the floppy: the rest of the first cylinder.
const PROGRAM: u32 = 0x8000;
const PROGRAM_LEN: usize = 35 * 512;
/// Where the program keeps the registers after a call: AX, BX, CX, DX, flags, SI, DI.
const SAVED: u32 = 0x6000;
const SI: u32 = SAVED + 10;
const DI: u32 = SAVED + 12;
/// An IRET.
const STUB: u32 = 0x5ef0;

/// Where the carry flag stands in an answer.
const CARRY: usize = 20;

/// One call of a service.
#[derive(Clone, Copy, Default)]
struct Row {
    what: &'static str,
    /// Calls in front of it: interrupt, AX, BX, CX, DX.
    before: &'static [(u8, u16, u16, u16, u16)],
    /// Words written to memory before all that.
    poke: &'static [(u32, u16)],
    /// Bytes written to ports right before the call.
    out: &'static [(u16, u8)],
    /// Ticks of the timer to wait before the call.
    ticks: u16,
    int: u8,
    /// EAX, EBX, ECX, EDX, ESI, EDI. ES and DS are zero.
    set: [u32; 6],
    /// Words looked at afterwards.
    look: &'static [u32],
    /// Ports read afterwards.
    port: &'static [u16],
    /// AX, BX, CX, DX and the carry flag, then what was looked at; a dot stands for any digit.
    answer: &'static str,
}

const fn row(what: &'static str, int: u8, set: [u32; 6], answer: &'static str) -> Row {
    Row { what, before: &[], poke: &[], out: &[], ticks: 0, int, set, look: &[], port: &[], answer }
}

/// Puts the word at linear address `address` within reach: ES:0 plus the returned offset.
fn reach(a: &mut CodeAssembler, address: u32) -> Result<i32, IcedError> {
    let segment = (address >> 4).min(0xffff);
    a.push(ax)?;
    a.mov(ax, segment as i32)?;
    a.mov(es, ax)?;
    a.pop(ax)?;
    Ok((address - (segment << 4)) as i32)
}

/// The program that makes the calls of `rows`; their services are taken away first if `stubbed`.
fn program(rows: &[Row], stubbed: bool) -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    let (mut after, mut print) = (a.create_label(), a.create_label());
    a.sti()?;
    if stubbed {
        a.mov(byte_ptr(STUB).cs(), 0xcf)?;
        for int in rows.iter().flat_map(|row| row.before.iter().map(|call| call.0).chain([row.int])) {
            a.mov(dword_ptr(4 * u32::from(int)).cs(), STUB)?;
        }
    }
    for row in rows {
        for (address, word) in row.poke {
            let offset = reach(&mut a, *address)?;
            a.mov(word_ptr(offset).es(), u32::from(*word))?;
        }
        a.xor(eax, eax)?;
        a.mov(es, ax)?;
        for (int, ax_, bx_, cx_, dx_) in row.before {
            for (register, value) in [(ax, ax_), (bx, bx_), (cx, cx_), (dx, dx_)] {
                a.mov(register, u32::from(*value))?;
            }
            a.int(i32::from(*int))?;
        }
        if row.ticks > 0 {
            a.mov(cx, u32::from(row.ticks))?;
            let mut tick = a.create_label();
            let mut wait = a.create_label();
            a.set_label(&mut tick)?;
            a.mov(ax, word_ptr(0x46c).cs())?;
            a.set_label(&mut wait)?;
            a.hlt()?;
            a.cmp(ax, word_ptr(0x46c).cs())?;
            a.je(wait)?;
            a.loop_(tick)?;
        }
        for (port, byte) in row.out {
            a.mov(dx, u32::from(*port))?;
            a.mov(al, u32::from(*byte))?;
            a.out(dx, al)?;
        }
        for (register, value) in [eax, ebx, ecx, edx, esi, edi].into_iter().zip(row.set) {
            a.mov(register, value)?;
        }
        // CF is what the service has to change, where services use it.
        let carry = row.answer.as_bytes()[CARRY] == b'1';
        if matches!(row.int, 0x13 | 0x15 | 0x1a) && !carry {
            a.stc()?
        } else {
            a.clc()?
        }
        a.int(i32::from(row.int))?;
        a.call(after)?;
        for address in row.look {
            let offset = reach(&mut a, *address)?;
            a.mov(ax, word_ptr(offset).es())?;
            a.call(print)?;
        }
        for port in row.port {
            a.mov(dx, u32::from(*port))?;
            a.in_(al, dx)?;
            a.mov(ah, 0)?;
            a.call(print)?;
        }
        a.mov(al, 10)?;
        a.out(0xe9, al)?;
    }
    a.mov(eax, 0)?;
    a.out(i32::from(DEBUG_EXIT), eax)?;
    a.hlt()?;
    // Keeps and prints what a call gave back.
    a.set_label(&mut after)?;
    a.pushf()?;
    a.pop(word_ptr(SAVED + 8).cs())?;
    for (i, register) in [ax, bx, cx, dx].into_iter().enumerate() {
        a.mov(word_ptr(SAVED + 2 * i as u32).cs(), register)?;
    }
    a.mov(word_ptr(SI).cs(), si)?;
    a.mov(word_ptr(DI).cs(), di)?;
    a.xor(ax, ax)?;
    a.mov(ds, ax)?;
    for i in 0..4 {
        a.mov(ax, word_ptr(SAVED + 2 * i))?;
        a.call(print)?;
    }
    a.mov(al, byte_ptr(SAVED + 8))?;
    a.and(al, 1)?;
    a.add(al, b'0' as i32)?;
    a.out(0xe9, al)?;
    a.mov(al, b' ' as i32)?;
    a.out(0xe9, al)?;
    a.ret()?;
    // Prints AX.
    a.set_label(&mut print)?;
    print_ax::emit(&mut a)?;
    a.assemble(u64::from(PROGRAM))
}

/// A floppy that loads `program` behind its boot sector and runs it.
fn floppy(program: &[u8]) -> Result<Vec<u8>, IcedError> {
    assert!(program.len() <= PROGRAM_LEN, "{} bytes of program", program.len());
    let mut boot = CodeAssembler::new(16)?;
    for (function, to, sector, head) in [(0x0211, PROGRAM, 2, 0), (0x0212, PROGRAM + 17 * 512, 1, 0x100)] {
        boot.mov(ax, function)?;
        boot.mov(bx, to)?;
        boot.mov(cx, sector)?;
        boot.mov(dx, head)?;
        boot.int(0x13)?;
    }
    boot.db(&[0xea, 0x00, 0x80, 0x00, 0x00])?;
    let mut image = boot.assemble(0x7c00)?;
    image.resize(510, 0);
    image.extend([0x55, 0xaa]);
    image.extend(program);
    image.resize(1440 << 10, 0);
    Ok(image)
}

fn config(floppy: Vec<u8>) -> MachineConfig {
    let mut config = MachineConfig::new();
    config.ram = 16 << 20;
    config.debug_exit = Some(DEBUG_EXIT);
    config.drives.floppies[0] = Bay::Loaded(Image::memory(floppy, false));
    config
}

/// Runs a machine to its end; what it wrote to the debug console.
#[track_caller]
fn finish(machine: &mut Machine) -> String {
    match machine.run_until(|_| false, 20_000_000_000) {
        Err(Outcome::DebugExit(0) | Outcome::PowerOff) => machine.console_text(),
        other => panic!("{other:?}: {}\n{}", machine.console_text(), machine.screen_text()),
    }
}

fn matches(answer: &str, line: &str) -> bool {
    answer.len() == line.len() && answer.bytes().zip(line.bytes()).all(|(wanted, is)| wanted == b'.' || wanted == is)
}

/// Rows whose answer is right.
fn right(rows: &[Row], said: &str) -> Vec<bool> {
    let mut lines = said.lines();
    rows.iter().map(|row| matches(row.answer, lines.next().unwrap_or("").trim_end())).collect()
}

/// Every row's answer, and that none is right without its service. `prepare` is for both runs' machines.
#[track_caller]
fn check(rows: &[Row], drives: impl Fn(&mut MachineConfig), prepare: impl Fn(&mut Machine)) -> Machine {
    let start = |stubbed| {
        let image = program(rows, stubbed).and_then(|program| floppy(&program)).expect("the program assembles");
        let mut config = config(image);
        drives(&mut config);
        let mut machine = Machine::new(config).expect("the host has memory for a test machine");
        prepare(&mut machine);
        let said = finish(&mut machine);
        (machine, said)
    };
    let (machine, said) = start(false);
    let wrong: Vec<String> = right(rows, &said)
        .iter()
        .zip(rows)
        .zip(said.lines())
        .filter(|((right, _), _)| !**right)
        .map(|((_, row), line)| format!("{}: {}, not {line}", row.what, row.answer))
        .collect();
    assert!(wrong.is_empty() && said.lines().count() == rows.len(), "{}\nall:\n{said}", wrong.join("\n"));
    let (_, said) = start(true);
    let blind: Vec<&str> =
        right(rows, &said).iter().zip(rows).filter(|(right, _)| **right).map(|(_, row)| row.what).collect();
    assert!(blind.is_empty(), "right without their services: {blind:?}\n{said}");
    machine
}

#[test]
fn keyboard_ports_and_printing() {
    let rows = [
        row("14h 00h: 9600 8N1", 0x14, [0x00e3, 0, 0, 0, 0, 0], "6... 0000 0000 0000 0"),
        row("14h 01h: sends", 0x14, [0x0141, 0, 0, 0, 0, 0], "6.41 0000 0000 0000 0"),
        Row { ticks: 1, ..row("14h 03h: data is ready", 0x14, [0x0300, 0, 0, 0, 0, 0], ".1.. 0000 0000 0000 0") },
        row("14h 02h: receives", 0x14, [0x0200, 0, 0, 0, 0, 0], "005A 0000 0000 0000 0"),
        Row {
            poke: &[(0x47c, 0)],
            ..row("14h 02h: nothing comes", 0x14, [0x0200, 0, 0, 0, 0, 0], "E... 0000 0000 0000 0")
        },
        Row {
            poke: &[(0x500, 0xaaaa)],
            look: &[0x500],
            ..row("05h: prints the screen", 0x05, [0; 6], "0000 0000 0000 0000 0 AA00")
        },
        row("16h 05h: stores a key", 0x16, [0x05ff, 0, 0x1e61, 0, 0, 0], "..00 0000 1E61 0000 0"),
        row("16h 00h: gives it back", 0x16, [0; 6], "1E61 0000 0000 0000 0"),
        row("16h 09h: has 0Ah, 0306h, 0305h, 0300h", 0x16, [0x0900, 0, 0, 0, 0, 0], "..3D 0000 0000 0000 0"),
        row("16h 0Ah: an MF2 keyboard, translated", 0x16, [0x0a00, 0, 0, 0, 0, 0], ".... 41AB 0000 0000 0"),
        Row {
            before: &[(0x16, 0x0305, 0x0103, 0, 0)],
            ..row("16h 0306h: what 0305h set", 0x16, [0x0306, 0, 0, 0, 0, 0], ".... 0103 0000 0000 0")
        },
        Row {
            before: &[(0x16, 0x0300, 0, 0, 0)],
            ..row("16h 0306h: the default", 0x16, [0x0306, 0, 0, 0, 0, 0], ".... 010B 0000 0000 0")
        },
        Row {
            poke: &[(0x417, 0x0241)],
            ..row("16h 12h: shift state", 0x16, [0x1200, 0, 0, 0, 0, 0], "0241 0000 0000 0000 0")
        },
        Row {
            poke: &[(0x417, 0x0001)],
            ..row("16h 02h: shift state", 0x16, [0x0200, 0, 0, 0, 0, 0], "..01 0000 0000 0000 0")
        },
    ];
    let mut machine = check(
        &rows,
        |_| (),
        |machine| {
            machine.board().parallel.lock().connect_printer();
            machine.serial_input(b"Z");
        },
    );
    assert_eq!(machine.serial_output(), b"A");
    let printed = machine.board().parallel.lock().take_printed();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    let lines: Vec<&str> = printed.split("\r\n").map(str::trim_end).collect();
    let screen = machine.screen_text();
    assert!(screen.lines().any(|line| !line.is_empty()));
    assert_eq!(lines[..screen.lines().count()], screen.lines().collect::<Vec<_>>());
}

#[test]
fn system_services() {
    const MAP: u32 = 0x6200;
    const SMAP: u32 = 0x534d_4150;
    const ENTRY: [u32; 6] = [MAP, MAP + 2, MAP + 8, MAP + 10, MAP + 4, MAP + 16];
    const fn map(index: u32, answer: &'static str) -> Row {
        Row { look: &ENTRY, ..row("15h E820h", 0x15, [0xe820, index, 20, SMAP, 0, MAP], answer) }
    }
    let rows = [
        row("11h", 0x11, [0xffff, 0, 0, 0, 0, 0], "4.2. 0000 0000 0000 0"),
        row("12h", 0x12, [0; 6], "027F 0000 0000 0000 0"),
        map(0, "4150 0001 0014 4150 0 0000 0000 FC00 0009 0000 0001"),
        map(1, "4150 0002 0014 4150 0 FC00 0009 0400 0000 0000 0002"),
        map(2, "4150 0003 0014 4150 0 0000 000F 0000 0001 0000 0002"),
        map(3, "4150 0004 0014 4150 0 0000 0010 0000 00F0 0000 0001"),
        map(4, "4150 0000 0014 4150 0 0000 FFFC 0000 0004 0000 0002"),
        row("15h E820h: no such entry", 0x15, [0xe820, 9, 20, SMAP, 0, MAP], "86.. 0009 0014 4150 1"),
        row("15h E801h", 0x15, [0xe801, 1, 1, 1, 0, 0], "3C00 0000 3C00 0000 0"),
        row("15h 88h", 0x15, [0x8800, 0, 0, 0, 0, 0], "3C00 0000 0000 0000 0"),
        Row {
            poke: &[
                (0x6400, 0xbeef),
                (0x10_0700, 0),
                (0x6310, 0xffff),
                (0x6312, 0x6400),
                (0x6314, 0x9300),
                (0x6316, 0),
                (0x6318, 0xffff),
                (0x631a, 0x0700),
                (0x631c, 0x9310),
                (0x631e, 0),
            ],
            look: &[0x10_0700],
            ..row("15h 87h: moves above 1 MiB", 0x15, [0x8700, 0, 1, 0, 0x6300, 0], "00.. 0000 0001 0000 0 BEEF")
        },
        Row {
            before: &[(0x15, 0x8300, 0x6100, 0, 2000)],
            poke: &[(0x6100, 0)],
            look: &[0x6100],
            ..row("15h 83h: the flag, after 86h", 0x15, [0x8600, 0, 0, 0x4e20, 0, 0], "00.. 0000 0000 4E20 0 0080")
        },
        Row {
            before: &[(0x15, 0x8300, 0x6100, 1, 0)],
            ..row("15h 83h: one at a time", 0x15, [0x8300, 0x6100, 0, 100, 0, 0], ".... 6100 0000 0064 1")
        },
        Row {
            before: &[(0x15, 0x8301, 0, 0, 0)],
            poke: &[(0x6100, 0)],
            look: &[0x6100],
            ticks: 4,
            ..row("15h 8301h: cancels", 0x15, [0x8301, 0, 0, 0, 0, 0], "00.. 0000 0000 0000 0 0000")
        },
        row("15h 2403h", 0x15, [0x2403, 0, 0, 0, 0, 0], "00.. 0003 0000 0000 0"),
        Row {
            poke: &[(0x10_0600, 0x5678), (0x600, 0x1234)],
            look: &[0x10_0600],
            ..row("15h 2400h: A20 off", 0x15, [0x2400, 0, 0, 0, 0, 0], "00.. 0000 0000 0000 0 1234")
        },
        row("15h 2402h: off", 0x15, [0x2402, 0, 0, 0, 0, 0], "0000 0000 0000 0000 0"),
        Row {
            look: &[0x10_0600],
            ..row("15h 2401h: A20 on", 0x15, [0x2401, 0, 0, 0, 0, 0], "00.. 0000 0000 0000 0 5678")
        },
        row("15h 2402h: on", 0x15, [0x2402, 0, 0, 0, 0, 0], "0001 0000 0000 0000 0"),
        row("15h 52h: ejecting is allowed", 0x15, [0x5200, 0, 0, 0x80, 0, 0], "00.. 0000 0000 0080 0"),
    ];
    check(&rows, |_| (), |_| ());
}

#[test]
fn power_management() {
    const fn apm(what: &'static str, function: u32, bx_: u32, cx_: u32, answer: &'static str) -> Row {
        row(what, 0x15, [0x5300 + function, bx_, cx_, 0, 0, 0], answer)
    }
    let rows = [
        apm("00h", 0x00, 0, 0, "0102 504D 0003 0000 0"),
        apm("05h: not connected", 0x05, 0, 0, "0305 0000 0000 0000 1"),
        apm("01h: connects", 0x01, 0, 0, "0001 0000 0000 0000 0"),
        apm("01h: connected already", 0x01, 0, 0, "0201 0000 0000 0000 1"),
        apm("03h: connected already", 0x03, 0, 0, "0203 0000 0000 0000 1"),
        apm("05h: idles", 0x05, 0, 0, "0005 0000 0000 0000 0"),
        apm("06h: busy", 0x06, 0, 0, "0006 0000 0000 0000 0"),
        apm("0Ah: on line, no battery", 0x0a, 1, 0, "000A 01FF 80FF FFFF 0"),
        apm("0Ah: no first battery", 0x0a, 0x8001, 0, "090A 8001 0000 0000 1"),
        apm("0Bh: no event", 0x0b, 0, 0, "800B 0000 0000 0000 1"),
        apm("0Ch: enabled", 0x0c, 1, 0xffff, "000C 0001 0000 0000 0"),
        apm("0Eh: driver 1.2", 0x0e, 0, 0x0102, "0102 0000 0102 0000 0"),
        apm("0Eh: driver 1.1", 0x0e, 0, 0x0101, "0101 0000 0101 0000 0"),
        apm("07h: a single device", 0x07, 0x0100, 3, "0907 0100 0003 0000 1"),
        apm("07h: no such state", 0x07, 1, 6, "0A07 0001 0006 0000 1"),
        apm("07h: standby", 0x07, 1, 1, "0007 0001 0001 0000 0"),
        apm("07h: suspension", 0x07, 1, 2, "6007 0001 0002 0000 1"),
        apm("08h: disables", 0x08, 1, 0, "0008 0001 0000 0000 0"),
        apm("00h: disabled", 0x00, 0, 0, "0102 504D 000B 0000 0"),
        apm("07h: off, but disabled", 0x07, 1, 3, "0107 0001 0003 0000 1"),
        apm("0Dh: enables", 0x0d, 1, 1, "000D 0001 0001 0000 0"),
        apm("0Fh: disengages", 0x0f, 1, 0, "000F 0001 0000 0000 0"),
        apm("00h: disengaged", 0x00, 0, 0, "0102 504D 0013 0000 0"),
        apm("07h: off, but disengaged", 0x07, 1, 3, "0B07 0001 0003 0000 1"),
        apm("09h: defaults", 0x09, 1, 0, "0009 0001 0000 0000 0"),
        apm("00h: enabled and engaged", 0x00, 0, 0, "0102 504D 0003 0000 0"),
        apm("10h: capabilities", 0x10, 0, 0xffff, "0010 0000 0000 0000 0"),
        apm("11h: does not exist", 0x11, 0, 0, "0C11 0000 0000 0000 1"),
        apm("04h: disconnects", 0x04, 0, 0, "0004 0000 0000 0000 0"),
        apm("04h: not connected", 0x04, 0, 0, "0304 0000 0000 0000 1"),
        Row { look: &[SI, DI], ..apm("02h", 0x02, 0, 0, "F000 .... 9FC0 0000 0 FFFF 0400") },
        apm("01h: connected by 02h", 0x01, 0, 0, "0501 0000 0000 0000 1"),
        apm("04h: disconnects again", 0x04, 0, 0, "0004 0000 0000 0000 0"),
        Row { look: &[SI, DI], ..apm("03h", 0x03, 0, 0, "F000 .... F000 9FC0 0 FFFF 0400") },
        apm("01h: connected by 03h", 0x01, 0, 0, "0701 0000 0000 0000 1"),
    ];
    check(&rows, |_| (), |_| ());
}

#[test]
fn time_of_day_and_pci() {
    const fn time(what: &'static str, ah_: u32, cx_: u32, dx_: u32, answer: &'static str) -> Row {
        row(what, 0x1a, [ah_ << 8, 0, cx_, dx_, 0, 0], answer)
    }
    const fn pci(what: &'static str, al_: u32, bx_: u32, cx_: u32, di_: u32, answer: &'static str) -> Row {
        row(what, 0x1a, [0xb100 + al_, bx_, cx_, 0x8086, 0, di_], answer)
    }
    // What int 4Ah calls: INC WORD CS:[5FF0h], IRET.
    const ALARM: &[(u32, u16)] =
        &[(0x5f00, 0xff2e), (0x5f02, 0xf006), (0x5f04, 0xcf5f), (0x5ff0, 0), (0x128, 0x5f00), (0x12a, 0)];
    let rows = [
        Row {
            before: &[(0x1a, 0x0100, 0, 0x0012, 0x3450)],
            ..time("00h: what 01h set", 0, 0, 0, "0000 0000 0012 345. 0")
        },
        Row {
            before: &[(0x1a, 0x0300, 0, 0x1234, 0x1000)],
            ..time("02h: what 03h set", 2, 0, 0, "00.. 0000 1234 1... 0")
        },
        Row {
            before: &[(0x1a, 0x0500, 0, 0x2031, 0x0315)],
            ..time("04h: what 05h set", 4, 0, 0, "00.. 0000 2031 0315 0")
        },
        Row {
            before: &[(0x1a, 0x0300, 0, 0x1200, 0), (0x1a, 0x0600, 0, 0x1200, 0x0100)],
            poke: ALARM,
            ticks: 30,
            look: &[0x5ff0],
            ..time("06h: the alarm", 6, 0x1300, 0, ".... 0000 1300 0000 1 0001")
        },
        time("07h: no alarm", 7, 0, 0, "00.. 0000 0000 0000 0"),
        time("06h: another alarm", 6, 0x1300, 0, "00.. 0000 1300 0000 0"),
        pci("B101h", 1, 0, 0, 0, "0011 0210 0000 4350 0"),
        row("B102h: the PIIX3", 0x1a, [0xb102, 0, 0x7000, 0x8086, 0, 0], "0002 0008 7000 8086 0"),
        row("B102h: no such device", 0x1a, [0xb102, 5, 0x1234, 0x8086, 0, 0], "8602 0005 1234 8086 1"),
        row("B102h: no vendor", 0x1a, [0xb102, 5, 0x1234, 0xffff, 0, 0], "8302 0005 1234 FFFF 1"),
        row("B103h: the IDE controller", 0x1a, [0xb103, 0, 0x01_0180, 0, 0, 0], "0003 0009 0180 0000 0"),
        row("B103h: no second one", 0x1a, [0xb103, 5, 0x01_0180, 0, 1, 0], "8603 0005 0180 0000 1"),
        pci("B106h: a special cycle", 0x06, 0, 0, 0, "0006 0000 0000 8086 0"),
        pci("B108h", 0x08, 8, 0xff00, 1, "0008 0008 FF80 8086 0"),
        pci("B109h", 0x09, 8, 0, 0, "0009 0008 8086 8086 0"),
        pci("B10Ah", 0x0a, 8, 0, 0, "000A 0008 8086 8086 0"),
        pci("B109h: not aligned", 0x09, 8, 0, 1, "8709 0008 0000 8086 1"),
        pci("B10Ah: not aligned", 0x0a, 8, 0, 2, "870A 0008 0000 8086 1"),
        pci("B109h: no such register", 0x09, 8, 0, 0x100, "8709 0008 0000 8086 1"),
        pci("B107h: does not exist", 0x07, 8, 0, 0, "8107 0008 0000 8086 1"),
        Row {
            before: &[(0x1a, 0xb10f, 0x08, 0x0b0a, 0)],
            ..pci("B10Fh: PIRQA to 11", 0x08, 8, 0, 0x60, "0008 0008 000B 8086 0")
        },
        pci("B10Fh: back to 10", 0x0f, 8, 0x0a0a, 0, "000F 0008 0A0A 8086 0"),
        pci("B108h: it is", 0x08, 8, 0, 0x60, "0008 0008 000A 8086 0"),
        pci("B10Fh: not to 5", 0x0f, 8, 0x050a, 0, "880F 0008 050A 8086 1"),
        pci("B10Fh: no pin E", 0x0f, 8, 0x0a0e, 0, "880F 0008 0A0E 8086 1"),
        Row {
            poke: &[(0x6500, 16)],
            look: &[0x6500],
            ..pci("B10Eh: too small a buffer", 0x0e, 0, 0, 0x6500, "890E 0000 0000 8086 1 00F0")
        },
        Row {
            poke: &[(0x6500, 0xf0), (0x6502, 0x0004), (0x6504, 0x0660)],
            look: &[0x6604, 0x6606, 0x6608, 0x660a, 0x660c, 0x660e, 0x6610, 0x6612, 0x6614, 0x6616, 0x66f2],
            ..pci(
                "B10Eh: slots 1 and 2, the last",
                0x0e,
                0xffff,
                0,
                0x6500,
                "000E 0000 0000 8086 0 0800 0060 610C 0C00 0062 630C 0C00 0001 1000 0061 000F",
            )
        },
    ];
    check(&rows, |_| (), |_| ());
}

/// A CD with a boot catalogue at block 19 whose entry is block 20, of media type 2: a 1.44 MB floppy whose first sector is
/// `image`. Every block begins with its number otherwise.
fn cd(image: &[u8]) -> Vec<u8> {
    let mut cd: Vec<u8> = (0..1000u32).flat_map(|block| block.to_le_bytes().repeat(512)).collect();
    cd[17 * 2048..][..30].copy_from_slice(b"\0CD001\x01EL TORITO SPECIFICATION");
    cd[17 * 2048 + 0x47..][..4].copy_from_slice(&19u32.to_le_bytes());
    let catalogue = &mut cd[19 * 2048..20 * 2048];
    catalogue.fill(0);
    catalogue[0] = 1;
    catalogue[0x1e..0x22].copy_from_slice(&[0x55, 0xaa, 0x88, 2]);
    catalogue[0x26] = 1;
    catalogue[0x28] = 20;
    cd[20 * 2048..][..image.len()].copy_from_slice(image);
    cd
}

fn disk_and_cd(config: &mut MachineConfig, image: &[u8]) {
    config.drives.disks = vec![Image::memory(vec![0; 20 << 20], false)];
    config.drives.cd = Bay::Loaded(Image::memory(cd(image), true));
    config.drives.boot = "a".parse().expect("a boot order");
}

/// Rows call int 13h with a packet at 6740h.
const PACKET: u32 = 0x6740;
/// El Torito's specification packet for the image on the CD, as a floppy in drive A.
const A_FLOPPY: &[(u32, u16)] = &[
    (PACKET, 0x0213),
    (PACKET + 2, 0x0100),
    (PACKET + 4, 20),
    (PACKET + 6, 0),
    (PACKET + 8, 0),
    (PACKET + 10, 0),
    (PACKET + 12, 0),
    (PACKET + 14, 1),
];

#[test]
fn disks_and_cds() {
    const fn disk(what: &'static str, ax_: u32, dl_: u32, answer: &'static str) -> Row {
        row(what, 0x13, [ax_, 0, 0, dl_, PACKET, 0], answer)
    }
    const PARAMETERS: &[u32] = &[PACKET + 2, PACKET + 16, PACKET + 18, PACKET + 24];
    let rows = [
        Row {
            out: &[(0x1f2, 0x55)],
            port: &[0x1f2],
            look: &[0x43e],
            ..disk("00h: disk and floppy are reset", 0x0000, 0x80, "0000 0000 0000 0080 0 ...0 0001")
        },
        Row {
            out: &[(0x1f2, 0x55)],
            port: &[0x1f2],
            ..disk("0Dh: the disk is reset", 0x0d00, 0x80, "0000 0000 0000 0080 0 0001")
        },
        Row {
            out: &[(0x172, 0x55)],
            port: &[0x172],
            ..disk("00h: so is the CD", 0, 0xe0, "0000 0000 0000 00E0 0 0001")
        },
        row("41h: disk", 0x13, [0x4100, 0x55aa, 0, 0x80, 0, 0], "21.. AA55 0005 0080 0"),
        row("41h: CD", 0x13, [0x4100, 0x55aa, 0, 0xe0, 0, 0], "21.. AA55 0007 00E0 0"),
        disk("45h: a disk cannot be locked", 0x4500, 0x80, "B200 0000 0000 0080 1"),
        disk("46h: nor ejected", 0x4600, 0x80, "B200 0000 0000 0080 1"),
        disk("49h: nor changed", 0x4900, 0x80, "0000 0000 0000 0080 0"),
        disk("4E00h: prefetch", 0x4e00, 0x80, "0000 0000 0000 0080 0"),
        disk("4E01h: no prefetch", 0x4e01, 0x80, "0000 0000 0000 0080 0"),
        disk("4E02h: fastest PIO", 0x4e02, 0x80, "0000 0000 0000 0080 0"),
        disk("4E03h: slowest PIO", 0x4e03, 0x80, "0000 0000 0000 0080 0"),
        disk("4E04h: usual PIO", 0x4e04, 0x80, "0000 0000 0000 0080 0"),
        disk("4E05h: no DMA", 0x4e05, 0x80, "0105 0000 0000 0080 1"),
        disk("4E06h: no DMA", 0x4e06, 0x80, "0000 0000 0000 0080 0"),
        Row {
            poke: &[(PACKET, 0x1a)],
            look: &[PACKET, PACKET + 2, PACKET + 16, PACKET + 18, PACKET + 24],
            ..disk("48h: disk", 0x4800, 0x80, "0000 0000 0000 0080 0 001A 0002 A000 0000 0200")
        },
        disk("4500h: locks", 0x4500, 0xe0, "0001 0000 0000 00E0 0"),
        disk("4500h: twice", 0x4500, 0xe0, "0001 0000 0000 00E0 0"),
        disk("4600h: locked", 0x4600, 0xe0, "B100 0000 0000 00E0 1"),
        disk("4501h: unlocks", 0x4501, 0xe0, "0001 0000 0000 00E0 0"),
        disk("4502h: still", 0x4502, 0xe0, "0001 0000 0000 00E0 0"),
        disk("4501h: unlocks at last", 0x4501, 0xe0, "0000 0000 0000 00E0 0"),
        disk("4502h: not locked", 0x4502, 0xe0, "0000 0000 0000 00E0 0"),
        disk("4501h: not locked", 0x4501, 0xe0, "B001 0000 0000 00E0 1"),
        disk("49h: CD, not changed", 0x4900, 0xe0, "0000 0000 0000 00E0 0"),
        Row {
            poke: &[(PACKET, 0x1a)],
            look: PARAMETERS,
            ..disk("48h: CD", 0x4800, 0xe0, "0000 0000 0000 00E0 0 0034 03E8 0000 0800")
        },
        Row {
            poke: &[(PACKET, 0x0108), (PACKET + 2, 0x0008), (PACKET + 4, 0x0400), (PACKET + 6, 0)],
            look: &[0x4008, 0x4026, 0x4028, 0x402e, 0x4030],
            ..disk("4Dh: the catalogue", 0x4d00, 0xe0, "0000 0000 0000 00E0 0 0001 AA55 0288 0001 0014")
        },
        Row { poke: A_FLOPPY, ..disk("4Ah: drive A is the CD's", 0x4a00, 0, "0000 0000 0000 0000 0") },
        Row {
            look: &[0x6804],
            // The image's second block, at cylinder 0, head 0, sector 5.
            ..row("02h: its sector 5", 0x13, [0x0201, 0x6800, 5, 0, 0, 0], "0001 6800 0005 0000 0 0015")
        },
        Row {
            poke: &[(PACKET, 0)],
            look: &[PACKET],
            ..disk("4B00h: ends it", 0x4b00, 0, "0000 0000 0000 0000 0 0213")
        },
        disk("4Bh: is over", 0x4b01, 0, "0101 0000 0000 0000 1"),
        disk("46h: ejects", 0x4600, 0xe0, "0000 0000 0000 00E0 0"),
        Row { ticks: 1, ..disk("49h: changed", 0x4900, 0xe0, "0600 0000 0000 00E0 1") },
        disk("49h: nothing in it", 0x4900, 0xe0, "3100 0000 0000 00E0 1"),
        Row {
            poke: &[(PACKET, 0x1a)],
            look: PARAMETERS,
            ..disk("48h: nothing in it", 0x4800, 0xe0, "0000 0000 0000 00E0 0 0074 FFFF FFFF 0800")
        },
    ];
    check(&rows, |config| disk_and_cd(config, &[]), |_| ());
}

#[test]
fn an_image_on_a_cd_is_started() {
    let mut image = CodeAssembler::new(16).expect("16-bit code");
    let emit = |a: &mut CodeAssembler| -> Result<(), IcedError> {
        a.mov(al, dl)?;
        a.add(al, b'A' as i32)?;
        a.out(0xe9, al)?;
        // What it was started from is drive A: its first sector holds this program.
        a.mov(ax, 0x0201)?;
        a.mov(bx, 0x6000)?;
        a.mov(cx, 1)?;
        a.mov(dh, 0)?;
        a.int(0x13)?;
        a.mov(eax, dword_ptr(0x6000))?;
        a.sub(eax, dword_ptr(0x7c00))?;
        a.out(i32::from(DEBUG_EXIT), eax)
    };
    emit(&mut image).expect("the program assembles");
    let image = image.assemble(0x7c00).expect("the program assembles");
    let mut rows = [Row { poke: A_FLOPPY, ..row("4Ch", 0x13, [0x4c00, 0, 0, 0, PACKET, 0], "") }];
    rows[0].answer = ".... .... .... .... .";
    let floppy = program(&rows, false).and_then(|program| floppy(&program)).expect("the program assembles");
    let mut config = config(floppy);
    disk_and_cd(&mut config, &image);
    let mut machine = Machine::new(config).expect("the host has memory for a test machine");
    assert_eq!(finish(&mut machine), "A");
}
