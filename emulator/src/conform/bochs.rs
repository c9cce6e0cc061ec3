//! A second opinion: the same guest in Bochs, as a process of its own. Its firmware starts disks and ROMs, not kernels.

use super::guest::{End, Left, Limits};
use super::opinion::{drain, wait};
use super::qemu::Image;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

const PROGRAM: &str = "bochs";
/// Where Debian's bochsbios and vgabios lay the firmware.
const BIOS: &str = "/usr/share/bochs/BIOS-bochs-latest";
const VGA_BIOS: &str = "/usr/share/bochs/VGABIOS-lgpl-latest";
/// Longest that a guest may take, in the host's time. Bochs interprets, its firmware too.
const PATIENCE: Duration = Duration::from_secs(120);
/// What Bochs says when a guest writes 'Shutdown' to port 8900h.
const SHUTDOWN: &str = "Shutdown port: shutdown requested";

/// Whether Bochs is there, with its firmware.
///
/// # Errors
/// One sentence if it is not.
pub fn check() -> Result<(), String> {
    let mut asked = Command::new(PROGRAM);
    if asked.arg("--help").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return Err(format!(
            "conform against bochs: {PROGRAM} is not installed (on Debian: apt-get install bochs bochs-term)"
        ));
    }
    match [BIOS, VGA_BIOS].into_iter().find(|file| !std::path::Path::new(file).is_file()) {
        None => Ok(()),
        Some(file) => Err(format!(
            "conform against bochs: its firmware {file} is missing (on Debian: apt-get install bochsbios vgabios)"
        )),
    }
}

/// Runs a guest with `ram` MiB. POST codes are not seen; there is no debug-exit port, and what is written to it is lost.
///
/// # Errors
/// One sentence.
pub fn run(image: &Image, ram: u64, limits: &Limits) -> Result<Left, String> {
    let fail = |what: &str, error: std::io::Error| format!("conform against bochs: {what}: {error}");
    let folder = tempfile::tempdir().map_err(|error| fail("no temporary folder", error))?;
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (path, serial, log) = (at("image"), folder.path().join("serial"), at("log"));
    let (bytes, start) = match image {
        Image::Kernel(_) => return Err("conform against bochs: it cannot start a kernel without a disk".to_owned()),
        Image::Floppy(bytes) => (bytes, format!("floppya: 1_44={path}, status=inserted\nboot: floppy")),
        Image::Disk(bytes) => (bytes, format!("ata0-master: type=disk, path={path}, mode=flat\nboot: disk")),
        Image::Rom(bytes) => (bytes, String::new()),
    };
    std::fs::write(&path, bytes).map_err(|error| fail("the image cannot be written", error))?;
    let bios = if matches!(image, Image::Rom(_)) { path.as_str() } else { BIOS };
    let mut settings = format!("megs: {ram}\nromimage: file={bios}\nvgaromimage: file={VGA_BIOS}\n{start}\n");
    // By itself Bochs lets guests read and write MSRs that it does not have.
    settings += "display_library: term\nport_e9_hack: enabled=1\ncpu: reset_on_triple_fault=0, ignore_bad_msrs=0\n";
    let _ = write!(settings, "log: {log}\ncom1: enabled=1, mode=file, dev={}\nspeaker: enabled=0\n", serial.display());
    settings += "panic: action=fatal\nerror: action=report\ninfo: action=report\ndebug: action=ignore\n";
    std::fs::write(at("settings"), settings).map_err(|error| fail("its settings cannot be written", error))?;
    // Debian's Bochs stops in its debugger first, and when the processor is shut down.
    std::fs::write(at("commands"), "continue\nquit\n")
        .map_err(|error| fail("its commands cannot be written", error))?;
    let mut command = Command::new(PROGRAM);
    command.args(["-q", "-f", &at("settings"), "-rc", &at("commands")]).env("TERM", "xterm");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| fail("it cannot be started", error))?;
    let console = drain(child.stdout.take());
    let errors = drain(child.stderr.take());
    let status = wait(&mut child, PATIENCE, limits, &serial).map_err(|error| fail("it cannot be waited for", error))?;
    let console = console.join().unwrap_or_default();
    let errors = errors.join().unwrap_or_default();
    let log = std::fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let end = match status {
        Err(end) => end,
        Ok(_) if console.contains(SHUTDOWN) || errors.contains(SHUTDOWN) || log.contains(SHUTDOWN) => End::Off,
        Ok(status) => {
            let panic = log.lines().find(|line| line.get(11..13) == Some("p[")).unwrap_or_default();
            End::Crashed(format!("bochs: {status} {panic}"))
        }
    };
    let serial = std::fs::read(&serial).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    Ok(Left { end, console, serial, posts: Vec::new(), refused: None })
}
