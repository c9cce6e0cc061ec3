//! Who runs a guest: one row of a table each.

use super::child;
use super::guest::{Reads, SUITE, Start};
use super::initrd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How a runner works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// This program, with these options.
    Ring86(&'static [&'static str]),
    /// This program over the host's own hypervisor.
    Kvm,
    /// The host itself: the same work as an ordinary process.
    Native,
    /// Another emulator, for a second opinion.
    Qemu,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Runner {
    /// Its name on the command line.
    pub id: &'static str,
    /// Its name in the report.
    pub title: &'static str,
    way: Way,
}

/// The table.
pub const RUNNERS: &[Runner] = &[
    Runner { id: "interpreter", title: "interpreter", way: Way::Ring86(&["--engine", "interpreter"]) },
    Runner { id: "translator", title: "translator", way: Way::Ring86(&["--engine", "translator"]) },
    Runner {
        id: "translator-table",
        title: "translator, --mmu table",
        way: Way::Ring86(&["--engine", "translator", "--mmu", "table"]),
    },
    Runner { id: "kvm", title: "KVM", way: Way::Kvm },
    Runner { id: "native", title: "native", way: Way::Native },
    Runner { id: "qemu", title: "QEMU TCG", way: Way::Qemu },
];

/// What all runs have in common.
#[derive(Clone, Debug)]
pub struct Host {
    /// This program.
    pub ring86: PathBuf,
    /// QEMU, if a second opinion is wanted.
    pub qemu: Option<PathBuf>,
    /// Guest memory as `-m` takes it, and in MiB.
    pub memory: (String, u64),
    /// Longest a run may take.
    pub limit: Duration,
    /// A folder for what is made on the way.
    pub work: PathBuf,
}

impl Runner {
    /// The native one.
    pub fn is_native(&self) -> bool {
        self.way == Way::Native
    }

    /// It writes counters.
    pub fn has_stats(&self) -> bool {
        matches!(self.way, Way::Ring86(_) | Way::Kvm)
    }

    /// Why it cannot run here at all, in one sentence; `None` if it can.
    pub fn unavailable(&self, host: &Host) -> Option<String> {
        match self.way {
            Way::Ring86(options) => self.refusal(host, options),
            Way::Kvm => crate::kvm::trouble(),
            Way::Native if cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "x86"))) => None,
            Way::Native => Some("this host does not run i386 programs of Linux".to_owned()),
            Way::Qemu => {
                let Some(qemu) = &host.qemu else { return Some("not asked for: --with-qemu".to_owned()) };
                let mut version = Command::new(qemu);
                version.arg("--version");
                match child::run(version, Duration::from_secs(60)) {
                    Ok(done) if done.code == Some(0) => None,
                    Ok(done) => Some(format!("'{}' does not tell its version: {}", qemu.display(), done.last_words)),
                    Err(error) => Some(error),
                }
            }
        }
    }

    /// What this program itself says to an engine: a boot sector that halts at once is started with it.
    fn refusal(&self, host: &Host, options: &[&str]) -> Option<String> {
        // CLI, HLT: ends with the exit code for "halted".
        let mut sector = vec![0xfa, 0xf4];
        sector.resize(510, 0);
        sector.extend([0x55, 0xaa]);
        let path = host.work.join("probe.img");
        if let Err(error) = std::fs::write(&path, sector) {
            return Some(format!("'{}' cannot be written: {error}", path.display()));
        }
        let mut command = Command::new(&host.ring86);
        command.arg("run").arg(path).args(["-m", "2M", "--serial", "none", "--clock", "virtual"]).args(options);
        match child::run(command, Duration::from_secs(60)) {
            Ok(done) if done.code == Some(i32::from(crate::session::code::HALTED)) => None,
            Ok(done) if done.code == Some(i32::from(crate::session::code::USAGE)) => {
                Some(format!("not built in this binary yet: it does not know {}", options.join(" ")))
            }
            Ok(done) => Some(format!("not in this binary: {}", done.last_words.trim_start_matches("ring86: "))),
            Err(error) => Some(error),
        }
    }

    /// Why it does not run this guest, in one sentence; `None` if it does.
    pub fn declines(&self, start: &Start) -> Option<String> {
        match self.way {
            Way::Native if start.native.is_none() => Some(match start.reads {
                Reads::Suite => "only the boot was asked for, which the host cannot repeat".to_owned(),
                _ => "a kernel is no program of the host".to_owned(),
            }),
            _ => None,
        }
    }

    /// The command that runs `start`, with counters to `stats`.
    pub fn command(&self, start: &Start, host: &Host, stats: &Path) -> Command {
        match self.way {
            Way::Ring86(_) | Way::Kvm => {
                let options = match self.way {
                    Way::Ring86(options) => options,
                    _ => &["--engine", "kvm"],
                };
                let mut command = Command::new(&host.ring86);
                command.arg("run").args(options).arg("--kernel").arg(&start.kernel);
                if let Some(initrd) = &start.initrd {
                    command.arg("--initrd").arg(initrd);
                }
                command.args(["--append", &start.append, "-m", &host.memory.0]);
                command.args(["--serial", "stdio", "--display", "none", "--clock", "host", "--no-reboot"]);
                command.args(["--debug-exit", "0xf4", "--stats-json"]).arg(stats);
                // Each of these begins a line that ends a workload.
                let words = [initrd::READY, initrd::TIMES].into_iter().chain(SUITE.iter().map(|w| w.0));
                command.arg("--stats-at").arg(words.collect::<Vec<_>>().join(","));
                command
            }
            Way::Native => {
                let words = start.native.as_deref().unwrap_or_default();
                let mut command = Command::new(words.first().map_or("", String::as_str));
                command.args(words.iter().skip(1));
                command
            }
            Way::Qemu => {
                let mut command = Command::new(host.qemu.as_deref().unwrap_or(Path::new("qemu-system-i386")));
                command.args(["-accel", "tcg", "-m", &host.memory.1.to_string(), "-kernel"]).arg(&start.kernel);
                if let Some(initrd) = &start.initrd {
                    command.arg("-initrd").arg(initrd);
                }
                if !start.append.is_empty() {
                    command.args(["-append", &start.append]);
                }
                command.args(["-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot"]);
                command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
                command
            }
        }
    }
}
