//! Second opinions on guests: other emulators, each a process of its own.

use super::guest::{End, Left, Limits};
use super::qemu::Image;
use super::{bochs, qemu};
use std::io::Read;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// An emulator that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulator {
    /// QEMU's own processor.
    Qemu,
    /// Bochs.
    Bochs,
}

impl Emulator {
    /// By its name on the command line.
    pub fn named(name: &str) -> Option<Emulator> {
        [Emulator::Qemu, Emulator::Bochs].into_iter().find(|emulator| emulator.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Emulator::Qemu => "qemu",
            Emulator::Bochs => "bochs",
        }
    }

    /// Whether it is there.
    ///
    /// # Errors
    /// One sentence if it is not.
    pub fn check(self) -> Result<(), String> {
        match self {
            Emulator::Qemu => qemu::check(),
            Emulator::Bochs => bochs::check(),
        }
    }

    /// Why it cannot be asked about a guest that is started so, or reports by a debug-exit port.
    pub fn unable(self, image: &Image, exit: bool) -> Option<&'static str> {
        match self {
            Emulator::Qemu => None,
            Emulator::Bochs if matches!(image, Image::Kernel(_)) => Some("bochs cannot start a kernel without a disk"),
            Emulator::Bochs if exit => Some("bochs has no debug-exit port"),
            Emulator::Bochs => None,
        }
    }

    /// Runs a guest with `ram` MiB. `arguments` are a kernel's. POST codes are not seen.
    ///
    /// # Errors
    /// One sentence.
    pub fn run(self, image: &Image, ram: u64, arguments: &str, limits: &Limits) -> Result<Left, String> {
        match self {
            Emulator::Qemu => qemu::run(image, ram, arguments, limits),
            Emulator::Bochs => bochs::run(image, ram, limits),
        }
    }
}

/// Reads a pipe to its end on a thread of its own, so that the child never waits for room in it.
pub(super) fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).ok();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for a child's own end, or ends it: when the text that `limits` names has come on COM1, or when its time is over.
pub(super) fn wait(
    child: &mut Child,
    patience: Duration,
    limits: &Limits,
    serial: &Path,
) -> std::io::Result<Result<ExitStatus, End>> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ok(status));
        }
        let said = limits.until_text.as_ref().is_some_and(|text| {
            std::fs::read(serial).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text.as_str()))
        });
        if said || begin.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            return Ok(Err(if said { End::Seen } else { End::Time }));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
