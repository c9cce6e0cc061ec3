//! A second opinion: the same guest in QEMU, as a process of its own with its own processor (no KVM).

use super::guest::{End, Left, Limits};
use super::opinion::{drain, wait};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const PROGRAM: &str = "qemu-system-i386";
/// Longest that a guest may take, in the host's time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What another emulator starts.
pub enum Image {
    /// A multiboot or Linux kernel.
    Kernel(Vec<u8>),
    /// A floppy disk.
    Floppy(Vec<u8>),
    /// A hard disk.
    Disk(Vec<u8>),
    /// A ROM in place of the firmware.
    Rom(Vec<u8>),
}

/// Whether QEMU is there.
///
/// # Errors
/// One sentence if it is not.
pub fn check() -> Result<(), String> {
    let found = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("conform against qemu: {PROGRAM} cannot be run ({status})")),
        Err(_) => Err(format!(
            "conform against qemu: {PROGRAM} is not installed (on Debian: apt-get install qemu-system-x86)"
        )),
    }
}

/// Runs a guest with `ram` MiB. `arguments` are a kernel's. POST codes are not seen.
///
/// # Errors
/// One sentence.
pub fn run(image: &Image, ram: u64, arguments: &str, limits: &Limits) -> Result<Left, String> {
    let fail = |what: &str, error: std::io::Error| format!("conform against qemu: {what}: {error}");
    let folder = tempfile::tempdir().map_err(|error| fail("no temporary folder", error))?;
    let (path, serial) = (folder.path().join("image"), folder.path().join("serial"));
    let (bytes, start): (&[u8], Vec<String>) = match image {
        Image::Kernel(bytes) => {
            let mut start = vec!["-kernel".to_owned(), path.display().to_string()];
            if !arguments.is_empty() {
                start.extend(["-append".to_owned(), arguments.to_owned()]);
            }
            (bytes, start)
        }
        Image::Floppy(bytes) => (bytes, drive(&path, "floppy")),
        Image::Disk(bytes) => (bytes, drive(&path, "ide")),
        Image::Rom(bytes) => (bytes, vec!["-bios".to_owned(), path.display().to_string()]),
    };
    std::fs::write(&path, bytes).map_err(|error| fail("the image cannot be written", error))?;
    let mut command = Command::new(PROGRAM);
    command.args(["-accel", "tcg", "-cpu", "max", "-display", "none", "-no-reboot", "-nodefaults", "-net", "none"]);
    command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-debugcon", "stdio"]);
    command.args(["-m", &ram.to_string()]).arg("-serial").arg(format!("file:{}", serial.display())).args(start);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| fail("it cannot be started", error))?;
    let console = drain(child.stdout.take());
    let errors = drain(child.stderr.take());
    let patience = PATIENCE.min(Duration::from_nanos(limits.time));
    let end = wait(&mut child, patience, limits, &serial).map_err(|error| fail("it cannot be waited for", error))?;
    let end = end.map_or_else(
        |end| end,
        |status| match status.code() {
            // The exit device makes odd codes of what the guest writes; QEMU has only 7 bits left for it.
            Some(code) if code & 1 == 1 && code != 1 => End::Exit((code >> 1) as u32),
            // 1 is QEMU's own complaint as well as a guest's 0.
            Some(1) => End::Exit(0),
            Some(0) => End::Off,
            _ => End::Crashed(status.to_string()),
        },
    );
    let console = console.join().unwrap_or_default();
    let errors = errors.join().unwrap_or_default();
    if end == End::Exit(0) && console.is_empty() && !errors.is_empty() {
        return Err(format!("conform against qemu: {}", errors.lines().next().unwrap_or_default()));
    }
    let end = match end {
        End::Crashed(code) => End::Crashed(format!("qemu: {code} {}", errors.lines().next().unwrap_or_default())),
        end => end,
    };
    let serial = std::fs::read(&serial).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    Ok(Left { end, console, serial, posts: Vec::new(), refused: None })
}

fn drive(path: &Path, interface: &str) -> Vec<String> {
    vec!["-drive".to_owned(), format!("file={},format=raw,if={interface}", path.display())]
}
