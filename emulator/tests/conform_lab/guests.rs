//! Guests that report by themselves, second opinions on them, lockstep.

use super::{Folder, conform, has, results, statuses};
use iced_x86::code_asm::*;
use ring86::conform::judge;
use ring86::conform::results::Status;

/// A multiboot kernel of `code`, which is linked at its own address.
fn multiboot(code: impl Fn(&mut CodeAssembler, u32)) -> Vec<u8> {
    const BASE: u32 = 0x10_0000;
    const HEADER: u32 = 48;
    let mut a = CodeAssembler::new(32).unwrap();
    code(&mut a, BASE + HEADER);
    let code = a.assemble(u64::from(BASE + HEADER)).unwrap();
    let end = BASE + HEADER + code.len() as u32;
    let flags = 0x1_0000u32;
    let magic = 0x1BAD_B002u32;
    let checksum = 0u32.wrapping_sub(magic).wrapping_sub(flags);
    let words = [magic, flags, checksum, BASE, BASE, end, end, BASE + HEADER, 0, 0, 0, 0];
    words.into_iter().flat_map(u32::to_le_bytes).chain(code).collect()
}

/// A kernel that sends `text` on COM1, after it read from port E0h what it wrote there, and writes `value` to F4h.
fn unit_tests(text: &str, value: u32) -> Vec<u8> {
    multiboot(|a, _| {
        a.mov(eax, 0x1234_5678).unwrap();
        a.mov(edx, 0xE0).unwrap();
        a.out(dx, eax).unwrap();
        a.xor(eax, eax).unwrap();
        a.in_(eax, dx).unwrap();
        let mut same = a.create_label();
        a.cmp(eax, 0x1234_5678).unwrap();
        a.je(same).unwrap();
        a.hlt().unwrap();
        a.set_label(&mut same).unwrap();
        // 115,200 baud, 8 bits.
        for (port, value) in [(0x3FB, 0x80), (0x3F8, 1), (0x3F9, 0), (0x3FB, 3)] {
            a.mov(edx, port).unwrap();
            a.mov(al, value).unwrap();
            a.out(dx, al).unwrap();
        }
        for byte in text.bytes() {
            let mut wait = a.create_label();
            a.mov(edx, 0x3FD).unwrap();
            a.set_label(&mut wait).unwrap();
            a.in_(al, dx).unwrap();
            a.test(al, 0x20).unwrap();
            a.je(wait).unwrap();
            a.mov(edx, 0x3F8).unwrap();
            a.mov(al, u32::from(byte)).unwrap();
            a.out(dx, al).unwrap();
        }
        a.mov(edx, 0xF4).unwrap();
        a.mov(eax, value).unwrap();
        a.out(dx, eax).unwrap();
        let mut forever = a.create_label();
        a.set_label(&mut forever).unwrap();
        a.jmp(forever).unwrap();
    })
}

/// A ROM in place of the firmware that writes `codes` to port 190h and halts.
fn post_rom(codes: &[u8]) -> Vec<u8> {
    let mut a = CodeAssembler::new(16).unwrap();
    a.cli().unwrap();
    a.mov(dx, 0x190).unwrap();
    for code in codes {
        a.mov(al, u32::from(*code)).unwrap();
        a.out(dx, al).unwrap();
    }
    a.hlt().unwrap();
    let code = a.assemble(0).unwrap();
    let mut rom = vec![0; 0x1_0000];
    rom[..code.len()].copy_from_slice(&code);
    // JMP F000:0000 at the reset vector.
    rom[0xFFF0..0xFFF5].copy_from_slice(&[0xEA, 0, 0, 0, 0xF0]);
    rom
}

#[test]
fn guests_report_in_the_manner_of_kvm_unit_tests() {
    let folder = Folder::new("kvm");
    folder.file(
        "suite.toml",
        "name = 'units'\nconvention = 'kvm-unit-tests'\n[[image]]\nname = 'c.flat'\nskip = 'no APIC'\n",
    );
    folder
        .file("a.flat", unit_tests("x\r\nPASS: first\r\nSKIP: second (why)\r\nPASS: first\r\nSUMMARY: 3 tests\r\n", 0));
    folder.file("b.flat", unit_tests("PASS: one\nFAIL: two\n", 1));
    folder.file("c.flat", unit_tests("", 0));
    let path = folder.path("");
    let (code, got) = results(&["image", &path]);
    assert_eq!(code, 1);
    let expected = [
        ("a.flat: first", "pass"),
        ("a.flat: second (why)", "skip"),
        ("a.flat: first (3)", "pass"),
        ("a.flat", "pass"),
        ("b.flat: one", "pass"),
        ("b.flat: two", "fail"),
        ("b.flat", "fail"),
        ("c.flat", "skip"),
    ];
    assert_eq!(statuses(&got), expected);
    assert!(got.tests[6].detail.starts_with("it was to write 0 to the exit port, but wrote 1 to the exit port;"));
    // A verdict turns the failure into something left out; one on what passes is a failure.
    let verdicts = "name = 'units'\nconvention = 'kvm-unit-tests'\n[[image]]\nname = 'b.flat'\nverdict = 'known'\n\
                    [[image]]\nname = 'c.flat'\nskip = 'no APIC'\n";
    folder.file("suite.toml", verdicts);
    assert_eq!(results(&["image", &path]).0, 0);
    folder.file("suite.toml", verdicts.replace("b.flat", "a.flat"));
    let (code, got) = results(&["image", &path, "--filter", "a.flat"]);
    assert_eq!(code, 1);
    assert!(got.tests.iter().any(|test| test.detail.contains("its verdict in suite.toml is out of date")));
    // In shards each image runs once.
    let (_, first) = results(&["image", &path, "--shard", "1/2"]);
    let (_, second) = results(&["image", &path, "--shard", "2/2"]);
    assert_eq!(first.tests.len() + second.tests.len(), 8);
}

#[test]
fn roms_report_in_the_manner_of_test386() {
    let folder = Folder::new("post");
    folder.file("suite.toml", "name = 'post'\nconvention = 'test386'\n");
    folder.file("good.bin", post_rom(&[0, 1, 2, 0xFF]));
    folder.file("bad.bin", post_rom(&[0, 1, 2]));
    let (code, got) = results(&["image", &folder.path(""), "--engine", "interpreter,eager"]);
    assert_eq!(code, 1);
    let expected = [("bad.bin", "fail"), ("good.bin", "pass"), ("bad.bin", "fail"), ("good.bin", "pass")];
    assert_eq!(statuses(&got), expected);
    assert!(got.tests[0].detail.starts_with("the last POST code is 02h, not ffh, and it halted"), "{:?}", got.tests[0]);
}

#[test]
fn text_and_other_ports_are_a_convention_too() {
    let folder = Folder::new("text");
    let toml = "name = 'text'\nconvention = 'text'\ntest-device = true\nseconds = 1\n[text]\nfrom = 'serial'\npass = 'ok'\n\
                done = 'all done'\n";
    folder.file("suite.toml", toml);
    // Nothing listens at F4h, so the program goes on for ever: its text ends the run.
    folder.file("a.bin", unit_tests("ok 1 - adds\nok 2 - all done\n", 0));
    folder.file("b.bin", unit_tests("ok 1\n", 0));
    let (code, got) = results(&["image", &folder.path("")]);
    assert_eq!(code, 1);
    assert_eq!(statuses(&got)[2], ("a.bin", "pass"));
    assert_eq!(statuses(&got)[4], ("b.bin", "fail"));
    assert!(got.tests[4].detail.starts_with("it did not say 'all done' and had not ended"), "{}", got.tests[4].detail);
}

#[test]
fn bochs_gives_a_second_opinion() {
    let (code, _, err) = conform(&["against", "bochs", "roms", "--filter", "nosuchrom"]);
    if !err.contains("no program matches") {
        assert!(code == 120 && err.starts_with("ring86: conform against bochs: "), "{err}");
        eprintln!("skipped: {err}");
        return;
    }
    let folder = Folder::new("bochs");
    let path = folder.path("");
    folder.file("suite.toml", "name = 'x'\nconvention = 'exit'\n");
    folder.file("a.flat", unit_tests("PASS: one\n", 0));
    let (code, got) = results(&["against", "bochs", "image", &path]);
    assert_eq!((code, got.tests[0].status), (0, Status::Skip));
    assert_eq!(got.tests[0].detail, "bochs cannot start a kernel without a disk");
    let (code, got) = results(&["against", "bochs", "roms", "--filter", "popf,gp-msr", "--jobs", "1"]);
    assert!(code == 0 && got.tests.len() > 1 && got.tests.iter().all(|test| test.status == Status::Pass), "{got:?}");
}

#[test]
fn qemu_gives_a_second_opinion() {
    if !has("qemu-system-i386") {
        return;
    }
    let folder = Folder::new("qemu");
    folder.file("suite.toml", "name = 'units'\nconvention = 'kvm-unit-tests'\n");
    // QEMU has no test device here, so the first program halts there and passes here.
    folder.file("a.flat", unit_tests("PASS: one\n", 0));
    let exit = |value: u32| {
        multiboot(|a, _| {
            a.mov(eax, value).unwrap();
            a.out(0xF4, eax).unwrap();
            a.hlt().unwrap();
        })
    };
    folder.file("b.flat", exit(0));
    folder.file("c.flat", exit(3));
    let path = folder.path("");
    let (code, got) = results(&["against", "qemu", "image", &path, "--filter", "b.flat,c.flat"]);
    assert_eq!((code, statuses(&got)), (0, vec![("b.flat", "pass"), ("c.flat", "pass")]), "{:?}", got.tests);
    let (code, got) = results(&["against", "qemu", "roms", "--filter", "popf"]);
    assert!(code == 0 && !got.tests.is_empty(), "{:?}", got.tests);
}

#[test]
fn unicorn_gives_a_second_opinion_on_instructions() {
    if let Err(reason) = judge::Kind::Unicorn.start() {
        // .ci/run installs it.
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let forms = "add_rm32_r32,adc_rm8_imm8,shld_rm32_r32_cl,pushad,ud2,int3,div_rm16,popfd";
    let few = ["against", "unicorn", "--cases", "8000", "--jobs", "1", "--filter", forms];
    let (code, got) = results(&[&few[..], &["--engine", "interpreter,single"]].concat());
    let bad: Vec<_> = got.tests.iter().filter(|test| test.status != Status::Pass).collect();
    assert_eq!(code, 0, "{bad:?}");
    assert!(got.totals().cases > 8000 && got.tests.iter().all(|test| test.suite == "unicorn"), "{:?}", got.totals());
    assert!(got.cells.keys().all(|key| key.judge == "unicorn") && got.cells.len() > 30);
    // Exceptions were raised on both sides, too.
    assert!(got.cells.values().any(|cell| cell.counts[3].0 > 0));
    // What differs is made small, and a line says who judged.
    let plant = ["--plant", "Add_rm32_r32:ZF", "--environment", "seg16"];
    let (code, got) = results(&[&few[..], &plant[..]].concat());
    let bad: Vec<_> = got.tests.iter().filter(|test| test.status != Status::Pass).collect();
    assert_eq!((code, bad.len(), bad[0].name.as_str()), (1, 1, "seg16 Add_rm32_r32"), "{bad:?}");
    let line = &bad[0].reproducer.as_ref().expect("a reproducer").line;
    assert!(line.starts_with("judge=unicorn env=seg16 "), "{line}");
    assert_eq!(conform(&["replay", line, "--plant", "Add_rm32_r32:ZF"]).0, 1);
    let (code, out, err) = conform(&["replay", line]);
    assert_eq!((code, out.lines().next()), (0, Some("interpreter: no difference")), "{err}");
}

#[test]
fn a_kernel_runs_in_lockstep() {
    let folder = Folder::new("lockstep");
    let image = folder.file(
        "k",
        multiboot(|a, _| {
            let mut again = a.create_label();
            a.mov(ecx, 2_000_000).unwrap();
            a.set_label(&mut again).unwrap();
            a.add(eax, ecx).unwrap();
            a.rol(eax, 3).unwrap();
            a.dec(ecx).unwrap();
            a.jne(again).unwrap();
            a.out(0xF4, eax).unwrap();
            a.hlt().unwrap();
        }),
    );
    let (code, got) = results(&["lockstep", &image]);
    assert_eq!(code, 0, "{:?}", got.tests);
    assert!(got.tests.len() == 1 && got.tests[0].cases > 20, "{:?}", got.tests);
    assert!(results(&["lockstep", &image, "--shard", "2/2"]).1.tests.is_empty());
}
