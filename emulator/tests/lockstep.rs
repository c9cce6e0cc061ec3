//! Compiled code beside the interpreter: the demo guest, Linux up to where its kernel is unpacked and begins, and wrong
//! compiled code, planted here, that has to be found and named.

use ring86::boot::image;
use ring86::boot::linux::Entry;
use ring86::config::MachineConfig;
use ring86::drives::Bay;
use ring86::lockstep::{Difference, Lockstep, Maker, Trouble};
use ring86::machine::Outcome;
use ring86::storage::Image;
use ring86_translator::engine::Config;
use ring86_translator::ir::{Op, Width};
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

/// Steps until the guest ends or `instructions` have retired.
fn run(both: &mut Lockstep, instructions: u64) -> Result<Option<Outcome>, Box<Difference>> {
    while both.compiled().retired() < instructions {
        match both.step() {
            Ok(None) => {}
            Ok(end) => return Ok(end),
            Err(Trouble::Difference(difference)) => return Err(difference),
            Err(Trouble::Host(error)) => panic!("{error}"),
        }
    }
    Ok(None)
}

fn maker(config: &MachineConfig) -> Maker {
    let config = config.clone();
    Rc::new(move || Ok(config.clone()))
}

/// Runs both machines for `instructions`.
fn agree(config: &MachineConfig, engine: Config, instructions: u64) {
    let mut both = Lockstep::new(maker(config), engine, u64::MAX).expect("the host has memory for two machines");
    if let Err(difference) = run(&mut both, instructions) {
        panic!("{}", both.explain(*difference, "this test"));
    }
    let compiled = both.compiled().cpu().tier_stats().map_or(0, |t| t.retired);
    assert!(compiled > 1_000_000, "hardly anything ran in compiled code: {compiled} instructions");
    let every = both.compiled().executed() / both.compared.max(1);
    println!("{} instructions, compared every {every}", both.compiled().executed());
    assert!(every < 2000, "compared only every {every} instructions");
}

#[test]
fn the_demo_guest_is_the_same() {
    let config = ring86::demo::config(MachineConfig::new()).expect("the demo is in the binary");
    agree(&config, Config { threshold: 20, ..Config::default() }, 60_000_000);
}

#[test]
fn linux_is_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests");
    let (kernel, initrd) = (folder.join("vmlinuz-686"), folder.join("initrd-busybox.cpio.gz"));
    let (Ok(bytes), Ok(disk)) = (std::fs::read(&kernel), std::fs::read(&initrd)) else {
        assert!(std::env::var_os("CI").is_none(), "no guests: run tools/guests ci");
        eprintln!("skipped: no guests; run tools/guests ci");
        return;
    };
    let disk = Some(("initrd".to_owned(), disk));
    let mut config = MachineConfig::new();
    config.ram = 256 << 20;
    config.payload = Some(image::kernel("vmlinuz", &bytes, "console=ttyS0", disk, Entry::Real).expect("a kernel"));
    agree(&config, Config { threshold: 50, ..Config::default() }, 600_000_000);
}

/// A run that ends in HLT goes on behind an interrupt, at a place where the two machines can be compared.
#[test]
fn a_guest_that_waits_for_interrupts_is_the_same() {
    let mut code: Vec<u8> = vec![0x31, 0xc0, 0x8e, 0xd8]; // xor ax, ax; mov ds, ax
    code.extend([0xb0, 0x34, 0xe6, 0x43]); // mov al, 34h; out 43h, al
    code.extend([0xb0, 0x11, 0xe6, 0x40]); // mov al, 11h; out 40h, al
    code.extend([0xb0, 0x01, 0xe6, 0x40, 0xfb]); // mov al, 1; out 40h, al; sti: a tick in 111h clocks, 0.23 ms
    let head = code.len();
    code.extend([0x8b, 0x0e, 0x6c, 0x04]); // mov cx, [46Ch], which counts ticks
    code.extend([0x83, 0xe1, 0x7f, 0x41]); // and cx, 7Fh; inc cx
    code.extend([0x01, 0xc8, 0xe2, 0xfc, 0xf4]); // add ax, cx; loop -4; hlt
    code.extend([0xeb, head.wrapping_sub(code.len() + 2) as u8]); // jmp
    code.resize(510, 0);
    code.extend([0x55, 0xaa]);
    code.resize(1_474_560, 0);
    let make = move || {
        let mut config = MachineConfig::new();
        config.drives.floppies[0] = Bay::Loaded(Image::memory(code.clone(), true));
        Ok(config)
    };
    let engine = Config { threshold: 20, ..Config::default() };
    let mut both = Lockstep::new(Rc::new(make), engine, 10_000_000_000).expect("two machines");
    if let Err(difference) = run(&mut both, 150_000_000) {
        panic!("{}", both.explain(*difference, "this test"));
    }
    let ticks = both.compiled().cpu().stats.interrupts;
    assert!(ticks > 4000, "{ticks} interrupts");
}

/// Where [`guest`]'s code begins.
const CODE: usize = 0x10_0020;

/// A multiboot kernel that runs a loop often enough to be compiled, then ends with debug exit 10h.
fn guest() -> MachineConfig {
    let mut code: Vec<u8> = vec![0xbc, 0, 0, 0x20, 0]; // mov esp, 200000h
    code.extend([0xb9, 0x20, 0x4e, 0, 0]); // mov ecx, 20000
    code.extend([0xbe, 0, 0, 0x10, 0]); // mov esi, 100000h
    let head = code.len();
    code.extend([0x01, 0xc8]); // add eax, ecx
    code.extend([0xc1, 0xc0, 0x05]); // rol eax, 5
    code.extend([0x89, 0xc2]); // mov edx, eax
    code.extend([0x81, 0xe2, 0xfc, 0x0f, 0, 0]); // and edx, 0FFCh
    code.extend([0x89, 0x84, 0x16, 0x78, 0x56, 0x34, 0]); // mov [esi+edx+345678h], eax
    code.extend([0x69, 0xd8, 0x67, 0x45, 0x23, 0x01]); // imul ebx, eax, 1234567h
    code.extend([0x3d, 0x77, 0x56, 0x34, 0x12]); // cmp eax, 12345677h
    code.extend([0x83, 0xd7, 0x00]); // adc edi, 0
    code.extend([0x49]); // dec ecx
    let back = head.wrapping_sub(code.len() + 2) as u8;
    code.extend([0x75, back]); // jnz
    code.extend([0xb0, 0x10, 0xe6, 0xf4, 0xf4]); // mov al, 10h; out 0F4h, al; hlt
    multiboot(&code)
}

/// A machine with `code` at [`CODE`], as a multiboot kernel, and a debug exit at port F4h.
fn multiboot(code: &[u8]) -> MachineConfig {
    let (start, end) = (0x10_0000u32, 0x10_2000u32);
    let words =
        [0x1bad_b002u32, 1 << 16, 0u32.wrapping_sub(0x1bad_b002 + (1 << 16)), start, start, end, end, CODE as u32];
    let mut file: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    file.extend(code);
    assert!(file.len() < 0x2000);
    file.resize((end - start) as usize, 0);
    let mut config = MachineConfig::new();
    config.ram = 16 << 20;
    config.debug_exit = Some(0xf4);
    config.payload = Some(image::kernel("the guest", &file, "", None, Entry::Real).expect("a multiboot kernel"));
    config
}

const ENOUGH: u64 = 1_000_000_000;

/// Plants a fault in compiled code and returns what lockstep says of it, after its own way to reproduce it has shown
/// the difference once more.
fn found(plant: fn(&mut Op)) -> String {
    let engine = Config { threshold: 20, plant: Some(plant), ..Config::default() };
    let lockstep = || Lockstep::new(maker(&guest()), engine, u64::MAX).expect("two machines");
    let mut both = lockstep();
    let difference = run(&mut both, ENOUGH).expect_err("a planted fault is a difference");
    let report = both.explain(*difference, "ring86 run guest");
    println!("{report}");
    let command = report.lines().last().and_then(|l| l.strip_prefix("to reproduce: ring86 run guest"));
    let foci = command.expect("the report ends with a command").split("--lockstep-from ").skip(1);
    let mut both = lockstep();
    both.focus(foci.map(|f| f.trim().parse().expect("the command names places")).collect());
    let again = run(&mut both, ENOUGH).expect_err("the way to reproduce it shows it");
    assert!(report.contains(&format!("differ after instruction {}; they agreed after {}", again.to, again.from)));
    report
}

#[test]
fn without_a_fault_there_is_no_difference() {
    let engine = Config { threshold: 20, ..Config::default() };
    let mut both = Lockstep::new(maker(&guest()), engine, u64::MAX).expect("two machines");
    let end = run(&mut both, ENOUGH).expect("compiled code is right");
    assert!(matches!(end, Some(Outcome::DebugExit(0x10))), "{end:?}");
    assert!(both.ram_compared > 0 && both.compared > 500, "{} {}", both.ram_compared, both.compared);
}

#[test]
fn a_wrong_flag_is_found() {
    let report = found(|op| {
        if let Op::Sub { w, f: true, b, .. } = op
            && b.imm == 0x1234_5677
        {
            *w = Width::W;
        }
    });
    assert!(report.contains("\n  compiled    eflags ") && report.contains("\n  interpreter eflags "), "{report}");
    assert!(report.contains("\none instruction, compiled by itself, shows it:\n"), "{report}");
    assert!(report.contains(":00100049  3d 77 56 34 12           cmp eax,12345677h  ; writes eflags\n"), "{report}");
}

#[test]
fn a_wrong_register_is_found() {
    let report = found(|op| {
        if let Op::Imul { b, .. } = op
            && b.imm == 0x123_4567
        {
            b.imm += 1 << 20;
        }
    });
    assert!(report.contains("\n  compiled    ebx ") && report.contains("\n  interpreter ebx "), "{report}");
    assert!(report.contains("\none instruction, compiled by itself, shows it:\n"), "{report}");
    assert!(report.contains("imul ebx,eax,1234567h  ; writes ebx"), "{report}");
}

#[test]
fn a_wrong_store_is_found() {
    let report = found(|op| {
        if let Op::Store { mem, .. } = op
            && mem.disp == 0x34_5678
        {
            mem.disp += 0x1000;
        }
    });
    assert!(report.contains("\n  interpreter RAM 00"), "{report}");
    assert!(report.contains("\none instruction, compiled by itself, shows it:\n"), "{report}");
    assert!(report.contains("mov [esi+edx+345678h],eax  ; writes RAM"), "{report}");
}

/// A fault that no instruction shows by itself: the plant is only in the block of the whole loop.
#[test]
fn a_fault_of_a_block_is_found() {
    let report = found(|op| {
        if let Op::Branch { taken: taken @ 0, fall: 0x25, .. } = op {
            // Behind ROL EAX, not to ADD EAX before it.
            *taken = 5;
        }
    });
    assert!(report.contains("\n  compiled    cs:eip 0010:001000"), "{report}");
    assert!(report.contains("instructions, one stretch of compiled code, show it; alone none does:\n"), "{report}");
    assert!(report.contains("jne short 0010002Fh"), "{report}");
}

/// Code may be left before the last instruction of a block that closes a loop. Here that instruction overwrites the flags
/// that SHR sets, which must be there all the same.
#[test]
fn flags_before_the_last_instruction_of_a_loop_are_there() {
    let mut code: Vec<u8> = vec![0xb9, 0x40, 0x0d, 0x03, 0]; // mov ecx, 200000
    code.extend([0xe9, 0xd2, 0x0f, 0, 0]); // jmp 100FFCh
    code.resize(0x10_0ff8 - CODE, 0x90);
    code.extend([0xd1, 0xe8]); // shr eax, 1
    code.extend([0x01, 0xd0]); // add eax, edx
    code.extend([0x69, 0xd2, 0x67, 0x45, 0x23, 0x01]); // imul edx, edx, 1234567h, which crosses into the next page
    code.extend([0x83, 0xc2, 0x35]); // add edx, 35h
    code.extend([0x49, 0x75, 0xf0]); // dec ecx; jnz 100FF8h
    code.extend([0xb0, 0x10, 0xe6, 0xf4, 0xf4]); // mov al, 10h; out 0F4h, al; hlt
    let engine = Config { threshold: 20, ..Config::default() };
    let mut both = Lockstep::new(maker(&multiboot(&code)), engine, u64::MAX).expect("two machines");
    both.focus(vec!["0,1".parse().expect("a place")]);
    match run(&mut both, ENOUGH) {
        Ok(end) => assert!(matches!(end, Some(Outcome::DebugExit(0x10))), "{end:?}"),
        Err(difference) => panic!("{}", both.explain(*difference, "this test")),
    }
}

#[test]
fn an_interpreter_that_ends_alone_is_noticed() {
    let made = Cell::new(0);
    let make = move || {
        made.set(made.get() + 1);
        // The second machine is the interpreter's.
        Ok(MachineConfig { debug_exit: (made.get() % 2 == 0).then_some(0xf4), ..guest() })
    };
    let mut both = Lockstep::new(Rc::new(make), Config::default(), u64::MAX).expect("two machines");
    let difference = run(&mut both, ENOUGH).expect_err("one machine ended");
    let report = both.explain(*difference, "ring86 run guest");
    assert!(report.contains("  interpreter ended DebugExit(16)"), "{report}");
    assert!(report.contains("out 0F4h,al"), "{report}");
}
