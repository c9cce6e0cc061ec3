//! Runs every program under QEMU, where it is installed: a second opinion on the programs, not on the emulator.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ring86_test_roms::{Kind, Rom, all, demo_image, floppy};

/// How long a program may take that QEMU is to pass: it takes a tenth of a second, but the host may stand still for many.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long one may take that QEMU is known to fail: some of these never end.
const PATIENCE_WITH_DIFFERENT: Duration = Duration::from_secs(3);

enum Outcome {
    Pass,
    Fail(i32),
    Hang,
}

fn run(rom: &Rom, accel: &str) -> (Outcome, String) {
    let path = std::env::temp_dir().join(format!("ring86-rom-{}-{}", std::process::id(), rom.name));
    let mut image = rom.image.to_vec();
    if rom.kind == Kind::BootSector {
        image.resize(1_474_560, 0);
    }
    std::fs::write(&path, &image).unwrap();
    let mut qemu = Command::new("qemu-system-i386");
    qemu.args(["-accel", accel, "-m", "16", "-display", "none", "-no-reboot", "-nodefaults", "-net", "none"]);
    qemu.args(["-cpu", if accel == "kvm" { "host,arch-capabilities=off" } else { "max" }]);
    qemu.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-debugcon", "stdio"]);
    match rom.kind {
        Kind::Multiboot => qemu.arg("-kernel").arg(&path),
        Kind::BootSector => qemu.arg("-drive").arg(format!("file={},format=raw,if=floppy", path.display())),
    };
    let mut child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let patience = if accel == "tcg" && rom.qemu_differs.is_some() { PATIENCE_WITH_DIFFERENT } else { PATIENCE };
    let begin = Instant::now();
    let outcome = loop {
        match child.try_wait().unwrap() {
            Some(status) => {
                break match status.code() {
                    Some(1) => Outcome::Pass,
                    Some(code) if code & 1 == 1 => Outcome::Fail(code >> 1),
                    _ => Outcome::Hang,
                };
            }
            None if begin.elapsed() > patience => {
                child.kill().unwrap();
                child.wait().unwrap();
                break Outcome::Hang;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut text).ok();
    std::fs::remove_file(&path).ok();
    (outcome, text.lines().filter(|l| l.contains(rom.name) || l.contains("unexpected")).collect::<Vec<_>>().join(" | "))
}

#[test]
fn every_program_has_its_own_name_and_a_whole_header() {
    let mut names: Vec<_> = all().iter().map(|r| r.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all().len());
    for rom in all() {
        assert!(!rom.fact.is_empty() && !rom.section.is_empty(), "{}", rom.name);
        assert!(rom.kind == Kind::Multiboot || rom.image.len() == 512, "{}", rom.name);
    }
}

#[test]
fn qemu_agrees_with_every_program_or_the_difference_is_recorded() {
    if Command::new("qemu-system-i386").arg("--version").output().is_err() {
        println!("skipped: qemu-system-i386 is not installed");
        return;
    }
    let accel = std::env::var("RING86_ROMS_ACCEL").unwrap_or_else(|_| "tcg".to_owned());
    let only = std::env::var("RING86_ROMS_ONLY").unwrap_or_default();
    let (mut passed, mut differ, mut wrong) = (0, 0, Vec::new());
    for rom in all().iter().filter(|r| r.name.contains(&only) || r.group == only) {
        let (outcome, text) = run(rom, &accel);
        let how = match outcome {
            Outcome::Pass => {
                passed += 1;
                if accel == "tcg" && rom.qemu_differs.is_some() {
                    println!("note: {} passes although a difference is recorded", rom.name);
                }
                continue;
            }
            Outcome::Fail(check) => format!("{}: check {check}: {text}", rom.name),
            Outcome::Hang => format!("{}: no end: {text}", rom.name),
        };
        match rom.qemu_differs {
            Some(why) if accel == "tcg" => {
                differ += 1;
                println!("recorded: {how} ({why})");
            }
            _ => wrong.push(how),
        }
    }
    println!("{passed} pass, {differ} differ as recorded, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_floppy_starts_with_a_boot_sector_and_carries_the_image() {
    for rom in all() {
        let disk = floppy(rom);
        assert_eq!((disk.len(), &disk[510..512]), (1_474_560, &[0x55, 0xAA][..]), "{}", rom.name);
        let at = if rom.kind == Kind::BootSector { 0 } else { 512 };
        assert_eq!(&disk[at..at + rom.image.len()], rom.image, "{}", rom.name);
    }
}

#[test]
fn the_demo_guest_passes_its_own_tests_under_qemu_and_switches_off() {
    if Command::new("qemu-system-i386").arg("--version").output().is_err() {
        println!("skipped: qemu-system-i386 is not installed");
        return;
    }
    let path = std::env::temp_dir().join(format!("ring86-demo-{}", std::process::id()));
    std::fs::write(&path, demo_image()).unwrap();
    let mut qemu = Command::new("qemu-system-i386");
    qemu.args(["-m", "32", "-display", "none", "-no-reboot", "-net", "none", "-serial", "stdio", "-kernel"]).arg(&path);
    let mut child = qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let watch = std::thread::spawn(move || {
        // What is typed before the prompt waits in the guest's ring or in the UART.
        let (mut text, mut chunk) = (String::new(), [0; 4096]);
        let mut typed = false;
        while let Ok(n @ 1..) = std::io::Read::read(&mut stdout, &mut chunk) {
            text.push_str(&String::from_utf8_lossy(&chunk[..n]));
            if !typed && text.contains("ring86> ") {
                typed = true;
                std::io::Write::write_all(&mut stdin, b"echo heard\rpoweroff\r").ok();
            }
        }
        text
    });
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if begin.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = watch.join().unwrap();
    std::fs::remove_file(&path).ok();
    assert!(text.contains("10 passed, 0 failed"), "{text}");
    assert!(text.contains("\r\nheard\r\n"), "{text}");
    assert!(status.is_some_and(|s| s.success()), "{text}");
}
