//! Runs the firmware under another emulator, QEMU, with small programs of our own that call its services and report
//! over the debug console. Without `qemu-system-i386` each test says so and passes.

mod cards;
mod cds;
mod disks;
mod guests;
#[path = "../support/print_ax.rs"]
mod print_ax;

use iced_x86::IcedError;
use iced_x86::code_asm::*;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where the program of a test disk runs, and the sectors it may fill.
const PROGRAM: u64 = 0x8000;
const PROGRAM_SECTORS: usize = 12;
/// How long a test waits for QEMU, on a host that may stand still for many seconds.
const PATIENCE: Duration = Duration::from_secs(180);

/// Builds a test program: calls services and writes register values to port E9h as hexadecimal words.
struct Program {
    asm: CodeAssembler,
    print: CodeLabel,
}

impl Program {
    fn new() -> Result<Self, IcedError> {
        let mut asm = CodeAssembler::new(16)?;
        let print = asm.create_label();
        Ok(Self { asm, print })
    }

    /// Prints the word that `load` puts into AX. All registers are kept.
    fn report(&mut self, load: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Result<(), IcedError> {
        self.asm.pushf()?;
        self.asm.pushad()?;
        load(&mut self.asm)?;
        self.asm.call(self.print)?;
        self.asm.popad()?;
        self.asm.popf()
    }

    /// Prints AX, BX, CX, DX and the carry flag, then starts a new line.
    fn report_all(&mut self) -> Result<(), IcedError> {
        self.report(|_| Ok(()))?;
        self.report(|a| a.mov(ax, bx))?;
        self.report(|a| a.mov(ax, cx))?;
        self.report(|a| a.mov(ax, dx))?;
        self.report(|a| a.sbb(ax, ax))?;
        self.line()
    }

    fn line(&mut self) -> Result<(), IcedError> {
        self.asm.push(ax)?;
        self.asm.mov(al, 10)?;
        self.asm.out(0xe9, al)?;
        self.asm.pop(ax)
    }

    /// Ends the machine through the debug-exit device at F4h.
    fn finish(mut self) -> Result<Vec<u8>, IcedError> {
        let a = &mut self.asm;
        a.mov(al, 0)?;
        a.out(0xf4, al)?;
        let mut stop = a.create_label();
        a.set_label(&mut stop)?;
        a.hlt()?;
        a.jmp(stop)?;
        a.set_label(&mut self.print)?;
        print_ax::emit(a)?;
        a.assemble(PROGRAM)
    }
}

/// A disk image of `sectors` sectors that boots `program`; every other sector holds its number throughout.
fn disk(sectors: usize, program: &[u8]) -> Result<Vec<u8>, IcedError> {
    assert!(program.len() <= 512 * PROGRAM_SECTORS);
    let mut boot = CodeAssembler::new(16)?;
    boot.mov(ax, 0x0200 + PROGRAM_SECTORS as i32)?;
    boot.mov(bx, PROGRAM as i32)?;
    boot.mov(cx, 2)?;
    boot.mov(dh, 0)?;
    boot.int(0x13)?;
    boot.db(&[0xea, 0x00, 0x80, 0x00, 0x00])?;
    let mut image: Vec<u8> = (0..sectors).flat_map(|sector| (sector as u32).to_le_bytes().repeat(128)).collect();
    let boot = boot.assemble(0x7c00)?;
    image[..512].fill(0);
    image[..boot.len()].copy_from_slice(&boot);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image[512..512 + program.len()].copy_from_slice(program);
    Ok(image)
}

/// A directory for one test's files, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ring86-firmware-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory is writable");
        std::fs::write(path.join("bios"), ring86_firmware::bios_image()).expect("image written");
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("file written");
        path.display().to_string()
    }

    /// Starts QEMU with our firmware and no other ROM.
    fn start(&self, arguments: &[String]) -> Option<std::process::Child> {
        let mut command = Command::new("qemu-system-i386");
        command.args(["-display", "none", "-net", "none", "-vga", "none", "-device", "VGA,romfile=", "-m", "64"]);
        command.arg("-bios").arg(self.0.join("bios")).args(arguments);
        match command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn() {
            Ok(child) => Some(child),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "qemu-system-i386 is not installed");
                eprintln!("skipped: qemu-system-i386 is not installed");
                None
            }
            Err(error) => panic!("qemu-system-i386 does not start: {error}"),
        }
    }

    /// Runs until the guest ends; returns what it wrote to the debug console.
    fn run(&self, arguments: &[String]) -> Option<String> {
        let log = format!("file:{}", self.0.join("log").display());
        let ends = ["-no-reboot", "-device", "isa-debug-exit,iobase=0xf4", "-debugcon", &log].map(str::to_owned);
        let mut child = self.start(&[&ends[..], arguments].concat())?;
        let end = Instant::now() + PATIENCE;
        while child.try_wait().expect("child is ours").is_none() {
            if Instant::now() > end {
                child.kill().expect("child is ours");
                panic!("the guest did not finish; it wrote: {:?}", std::fs::read_to_string(self.0.join("log")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(std::fs::read_to_string(self.0.join("log")).expect("the log exists"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn floppy(path: &str) -> String {
    format!("if=floppy,format=raw,file={path}")
}

fn hard_disk(path: &str) -> String {
    format!("if=ide,index=0,media=disk,format=raw,file={path}")
}

fn arguments(drives: &[String]) -> Vec<String> {
    drives.iter().flat_map(|drive| ["-drive".to_owned(), drive.clone()]).collect()
}
