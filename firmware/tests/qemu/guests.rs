//! What needs the screen: other people's systems, and nothing to start from.

use super::{PATIENCE, Scratch, arguments, floppy};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn nothing_to_boot_is_said() {
    let scratch = Scratch::new("nothing");
    let screen = scratch.0.join("screen");
    let arguments: Vec<String> = ["-nodefaults", "-monitor", "stdio"].map(str::to_owned).into();
    let Some(mut child) = scratch.start(&arguments) else { return };
    let text = wait_for_text(&mut child, &screen, "Nothing to start from");
    assert!(text.contains("Ring86 BIOS"), "{text}");
    assert!(text.contains("65536 KiB"), "{text}");
}

/// A guest image of the shared collection, if it is there.
fn shared_guest(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/guests").join(name);
    if !path.exists() {
        eprintln!("skipped: the guest image {name} is not here");
        return None;
    }
    Some(path)
}

fn boot_shared(name: &str, expected: &str) {
    let Some(path) = shared_guest(name) else { return };
    let unpacked = Command::new("gzip").arg("-dc").arg(&path).output().expect("gzip runs").stdout;
    let scratch = Scratch::new(name);
    let image = scratch.file("a.img", &unpacked);
    let mut arguments = arguments(&[floppy(&image)]);
    arguments.extend(["-monitor".to_owned(), "stdio".to_owned()]);
    let Some(mut child) = scratch.start(&arguments) else { return };
    let text = wait_for_text(&mut child, &scratch.0.join("screen"), expected);
    assert!(text.contains(expected), "{text}");
}

#[test]
fn freedos_reaches_its_prompt() {
    boot_shared("freedos722.img.gz", "A:\\>");
}

#[test]
fn mikeos_shows_its_dialog() {
    boot_shared("mikeos.flp.gz", "Thanks for trying out MikeOS!");
}

#[test]
fn openbsd_starts_its_kernel() {
    boot_shared("openbsd.img.gz", "mainbus0 (root)");
}

/// Polls the text screen until it shows `expected` or patience ends; ends the guest and returns the screen.
fn wait_for_text(child: &mut std::process::Child, screen: &Path, expected: &str) -> String {
    use std::io::Write;
    let mut monitor = child.stdin.take().expect("stdin is a pipe");
    let end = Instant::now() + PATIENCE;
    let mut text = String::new();
    while Instant::now() < end && !text.contains(expected) {
        std::thread::sleep(Duration::from_millis(300));
        writeln!(monitor, "pmemsave 0xb8000 4000 \"{}\"", screen.display()).expect("the monitor listens");
        std::thread::sleep(Duration::from_millis(100));
        let cells = std::fs::read(screen).unwrap_or_default();
        text = cells
            .chunks(160)
            .map(|row| {
                row.iter().step_by(2).map(|byte| if *byte < 0x20 { ' ' } else { *byte as char }).collect::<String>()
            })
            .collect::<Vec<_>>()
            .join("\n");
    }
    writeln!(monitor, "quit").expect("the monitor listens");
    child.wait().expect("child is ours");
    text
}
