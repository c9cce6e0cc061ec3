//! What the screen shows in every standard mode: pictures in `emulator/tests/vga/`, drawn by boot disks of our own.
//!
//! `services` there asks the video BIOS's services.
//!
//! `RING86_BLESS=1` draws the pictures anew; look at them then. `qemu_shows_the_same` holds them against QEMU's.

#[path = "support/patience.rs"]
mod patience;
#[path = "vga/programs.rs"]
mod programs;
#[path = "vga/services.rs"]
mod services;

use patience::PATIENCE;
use programs::PICTURES;
use ring86::config::MachineConfig;
use ring86::drives::Bay;
use ring86::machine::{Machine, Outcome};
use ring86::storage::Image;
use ring86_devices::vga::Frame;
use std::io::{Cursor, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vga").join(format!("{name}.png"))
}

/// The machine as a boot disk of [`programs`] leaves it.
fn run(disk: Vec<u8>) -> Machine {
    let mut config = MachineConfig::new();
    config.ram = 4 << 20;
    config.drives.floppies[0] = Bay::Loaded(Image::memory(disk, true));
    let mut machine = Machine::new(config).expect("the host has memory for a test machine");
    let end = machine.run_until(|_| false, 60_000_000_000);
    assert!(matches!(end, Err(Outcome::Halted)), "{end:?}: {}", machine.screen_text());
    assert_eq!(machine.console_text().chars().last(), Some('D'));
    machine
}

/// A picture as PNG with a palette, which all of ours have room in.
fn encode(frame: &Frame) -> Vec<u8> {
    let mut palette: Vec<[u8; 3]> = Vec::new();
    let dots = frame.rgb.as_chunks::<3>().0.iter().map(|dot| {
        let known = palette.iter().position(|colour| colour == dot);
        known.unwrap_or_else(|| {
            palette.push(*dot);
            palette.len() - 1
        }) as u8
    });
    let dots: Vec<u8> = dots.collect();
    assert!(palette.len() <= 256);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, frame.width as u32, frame.height as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    encoder.set_palette(palette.concat());
    let mut writer = encoder.write_header().expect("memory takes it");
    writer.write_image_data(&dots).expect("memory takes it");
    writer.finish().expect("memory takes it");
    bytes
}

fn decode(bytes: &[u8]) -> Frame {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().expect("it is a PNG");
    let mut rgb = vec![0; reader.output_buffer_size().expect("it is small")];
    let info = reader.next_frame(&mut rgb).expect("it is whole");
    Frame { width: info.width as usize, height: info.height as usize, rgb }
}

#[test]
fn every_mode_shows_its_picture() {
    let mut wrong = Vec::new();
    for (name, program) in PICTURES {
        let frame = run(programs::floppy(*program)).frame();
        let path = golden(name);
        if env::var_os("RING86_BLESS").is_some() {
            fs::write(&path, encode(&frame)).expect("the repository is writable");
            continue;
        }
        let known = decode(&fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
        if known != frame {
            let now = env::temp_dir().join(format!("ring86-{name}.png"));
            fs::write(&now, encode(&frame)).expect("a temporary file can be written");
            wrong.push(format!("{name}: not as in {}; now {}", path.display(), now.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Pictures that QEMU 7.2's VGA shows in another way, and what it does (`docs/displays.md` says why ours is right).
const QEMU_DIFFERS: &[(&str, &str)] = &[
    ("text-00", "characters of 8 dots, doubled, where the registers say 9"),
    ("text-01", "the same"),
    ("text-02", "a ninth dot for characters B0h to BFh too"),
    ("text-03", "the same"),
    ("text-07", "the same, and no underline"),
    ("text-200-lines", "lines are not doubled in text modes"),
    ("text-50-lines", "the ninth dot"),
    ("text-two-fonts", "the ninth dot"),
    ("text-cursor", "no blinking characters, the cursor at the host's pace"),
    ("text-scrolled", "no panning and no preset row scan"),
    ("split-panning", "no panning"),
    ("odd-even", "even addresses are stored side by side"),
    ("chain-4", "addresses of one plane are stored side by side"),
    ("pel-mask", "no mask"),
];

/// QEMU's screen after the same disk, with our firmware in it. `None` without QEMU.
fn draw_in_qemu(folder: &Path, disk: &[u8]) -> Option<Frame> {
    let path = |name: &str| folder.join(name).display().to_string();
    fs::write(path("disk"), disk).expect("a temporary file can be written");
    fs::write(path("bios"), ring86::firmware::bios(true)).expect("a temporary file can be written");
    drop(fs::remove_file(path("log")));
    let mut command = Command::new("qemu-system-i386");
    command.args(["-display", "none", "-net", "none", "-vga", "none", "-device", "VGA,romfile=", "-m", "16"]);
    command.args(["-monitor", "stdio", "-debugcon", &format!("file:{}", path("log")), "-bios", &path("bios")]);
    command.args(["-drive", &format!("if=floppy,format=raw,file={}", path("disk"))]);
    let mut child = match command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert_ne!(env::var("CI").as_deref(), Ok("true"), "qemu-system-i386 is not installed");
            eprintln!("skipped: qemu-system-i386 is not installed");
            return None;
        }
        Err(error) => panic!("qemu-system-i386 does not start: {error}"),
    };
    let end = Instant::now() + PATIENCE;
    while !fs::read(path("log")).is_ok_and(|log| log.ends_with(b"D")) {
        if Instant::now() > end {
            child.kill().expect("it is ours");
            panic!("no picture in QEMU");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut monitor = child.stdin.take().expect("it is piped");
    writeln!(monitor, "screendump {}\nquit", path("screen")).expect("QEMU listens");
    child.wait().expect("it is ours");
    let ppm = fs::read(path("screen")).expect("QEMU wrote it");
    let mut at = 0;
    let mut word = || {
        let len = ppm[at..].iter().position(u8::is_ascii_whitespace).expect("a header");
        let word = String::from_utf8_lossy(&ppm[at..at + len]).into_owned();
        at += len + 1;
        word
    };
    let header = [word(), word(), word(), word()];
    let number = |text: &str| text.parse().expect("a number");
    Some(Frame { width: number(&header[1]), height: number(&header[2]), rgb: ppm[at..].to_vec() })
}

/// How many pixels differ, QEMU's picture stretched to ours. QEMU fills the low two bits of a colour in another way.
fn differing(ours: &Frame, theirs: &Frame) -> Result<usize, String> {
    if !ours.width.is_multiple_of(theirs.width) || !ours.height.is_multiple_of(theirs.height) {
        let size = |frame: &Frame| format!("{}x{}", frame.width, frame.height);
        return Err(format!("{} here and {} there", size(ours), size(theirs)));
    }
    let (x_scale, y_scale) = (ours.width / theirs.width, ours.height / theirs.height);
    let different = (0..ours.width * ours.height).filter(|dot| {
        let (x, y) = (dot % ours.width / x_scale, dot / ours.width / y_scale);
        let (a, b) = (&ours.rgb[dot * 3..][..3], &theirs.rgb[(y * theirs.width + x) * 3..][..3]);
        a.iter().zip(b).any(|(a, b)| a >> 2 != b >> 2)
    });
    Ok(different.count())
}

#[test]
fn qemu_shows_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut wrong = Vec::new();
    for (name, program) in PICTURES {
        let ours = decode(&fs::read(golden(name)).expect("the picture is there"));
        let Some(theirs) = draw_in_qemu(folder.path(), &programs::floppy(*program)) else { return };
        let same = differing(&ours, &theirs);
        let known = QEMU_DIFFERS.iter().any(|(other, _)| other == name);
        if (same == Ok(0)) == known {
            let now = env::temp_dir().join(format!("ring86-{name}-qemu.png"));
            fs::write(&now, encode(&theirs)).expect("a temporary file can be written");
            wrong.push(format!("{name}: {same:?} pixels differ, {}", now.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
