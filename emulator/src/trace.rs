//! `--trace`: instructions, interrupts and device accesses as lines of text. Compiled code is the translator's to show.

use crate::error::{Error, Result};
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use ring86_devices::Time;
use ring86_translator::Cpu;
use ring86_translator::state::State;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// What is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// Every instruction, before it runs (slow: instructions run one at a time).
    Exec,
    /// Interrupts and exceptions (slow: instructions run one at a time).
    Int,
    /// Port accesses and loads and stores that reach a device.
    Io,
    /// Guest instructions of each region that is compiled, block by block.
    Blocks,
    /// The operations that it was lifted to.
    Ir,
    /// Cranelift's form of it.
    Clif,
    /// The host's instructions.
    Asm,
    /// Each time compiled code is left, and why.
    Exits,
}

impl What {
    /// It is about compiled code, in a range of addresses, and the translator writes it to the log.
    pub fn is_code(self) -> bool {
        matches!(self, What::Blocks | What::Ir | What::Clif | What::Asm | What::Exits)
    }
}

/// The trace of one machine.
pub struct Trace {
    exec: bool,
    int: bool,
    io: bool,
    out: Option<Box<dyn Write + Send>>,
}

impl Trace {
    /// No trace.
    pub fn off() -> Self {
        Trace { exec: false, int: false, io: false, out: None }
    }

    /// A trace of `what` to the file at `path`, or to stderr.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn new(what: &[What], path: Option<&Path>) -> Result<Self> {
        if what.iter().all(|w| w.is_code()) {
            if let Some(path) = path {
                let path = path.display();
                return Err(Error::new(format!(
                    "--trace-file {path}: traces of compiled code go to stderr; leave it out"
                )));
            }
            return Ok(Trace::off());
        }
        let out: Box<dyn Write + Send> = match path {
            Some(path) => {
                let file =
                    File::create(path).map_err(|e| Error::io("create the trace", path, &e).of("--trace-file"))?;
                Box::new(BufWriter::new(file))
            }
            None => Box::new(std::io::stderr()),
        };
        let has = |w| what.contains(&w);
        Ok(Trace { exec: has(What::Exec), int: has(What::Int), io: has(What::Io), out: Some(out) })
    }

    /// Instructions must run one at a time.
    pub fn single_steps(&self) -> bool {
        self.exec || self.int
    }

    /// Device accesses are wanted.
    pub fn io(&self) -> bool {
        self.io
    }

    /// Interrupts are wanted.
    pub fn interrupts(&self) -> bool {
        self.int
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        if let Some(out) = &mut self.out
            && writeln!(out, "{text}").is_err()
        {
            log::warn!("the trace ends here: its file cannot be written");
            *self = Trace::off();
        }
    }

    /// A port access.
    pub fn port(&mut self, now: Time, way: &str, port: u16, size: u8, value: u32, chip: Option<&str>) {
        let width = usize::from(size) * 2;
        self.line(format_args!("{now:>14} {way} {port:04x} {value:0width$x} {}", chip.unwrap_or("nobody")));
    }

    /// A load or store that reached a device.
    pub fn memory(&mut self, now: Time, way: &str, addr: u64, size: u8, value: u64) {
        let width = usize::from(size) * 2;
        self.line(format_args!("{now:>14} {way} {addr:08x} {value:0width$x}"));
    }

    /// An interrupt that was acknowledged.
    pub fn interrupt(&mut self, now: Time, vector: u8) {
        self.line(format_args!("{now:>14} irq vector {vector:02x}"));
    }

    /// The instruction about to run.
    pub fn instruction(&mut self, cpu: &Cpu) {
        if !self.exec {
            return;
        }
        let s = &cpu.state;
        let flags = s.eflags();
        let text = disassemble(cpu);
        let regs: String = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"]
            .iter()
            .zip(0..)
            .map(|(name, n)| format!(" {name}={:x}", s.gpr(n) as u32))
            .collect();
        self.line(format_args!("{:04x}:{:08x} {text:<40}{regs} fl={flags:x}", s.segs[1].selector, s.rip));
    }

    /// The instruction that just ran raised an exception, which was delivered to where the CPU is now.
    pub fn exception(&mut self, now: Time, from: (u16, u64), state: &State) {
        let (cs, ip) = from;
        let (to, at) = (state.segs[1].selector, state.rip);
        self.line(format_args!(
            "{now:>14} exception at {cs:04x}:{ip:08x} handled at {to:04x}:{at:08x}, cr2 {:08x}",
            state.cr2
        ));
    }

    /// Writes out what is buffered.
    pub fn flush(&mut self) {
        if let Some(out) = &mut self.out
            && out.flush().is_err()
        {
            log::warn!("the trace is incomplete: its file cannot be written");
        }
    }
}

/// The instruction at CS:EIP in Intel syntax.
pub fn disassemble(cpu: &Cpu) -> String {
    disassemble_bytes(&cpu.state, &code_bytes(cpu)).1
}

/// The bytes at CS:EIP, fifteen of them at most, as far as they are mapped.
pub fn code_bytes(cpu: &Cpu) -> Vec<u8> {
    let s = &cpu.state;
    let linear = s.segs[1].base.wrapping_add(s.rip) & 0xffff_ffff;
    let mut bytes = vec![0; 15];
    let in_page = (4096 - (linear & 0xfff) as usize).min(bytes.len());
    let Some(first) = physical(cpu, linear) else { return Vec::new() };
    cpu.memory().dma_read(first, &mut bytes[..in_page]);
    if in_page < bytes.len() {
        match physical(cpu, linear.wrapping_add(in_page as u64) & 0xffff_ffff) {
            Some(second) => cpu.memory().dma_read(second, &mut bytes[in_page..]),
            None => bytes.truncate(in_page),
        }
    }
    bytes
}

/// The first instruction of `bytes`, which lie at CS:EIP of `s`: its bytes in hexadecimal, and in Intel syntax.
pub fn disassemble_bytes(s: &State, bytes: &[u8]) -> (String, String) {
    if bytes.is_empty() {
        return (String::new(), "(not mapped)".to_owned());
    }
    let bits = if s.segs[1].big() { 32 } else { 16 };
    let instruction = Decoder::with_ip(bits, bytes, s.rip, DecoderOptions::NONE).decode();
    let mut text = String::new();
    IntelFormatter::new().format(&instruction, &mut text);
    let hex: Vec<String> = bytes[..instruction.len().min(bytes.len())].iter().map(|b| format!("{b:02x}")).collect();
    (hex.join(" "), text)
}

/// Where a linear address leads, without side effects; `None` if no page is mapped there.
fn physical(cpu: &Cpu, linear: u64) -> Option<u64> {
    if cpu.state.cr0 & ring86_translator::state::cr::PG == 0 {
        return Some(linear);
    }
    let last = *cpu.explain_walk(linear).last()?;
    if last.value & 1 == 0 {
        return None;
    }
    const FRAME: u64 = 0x000f_ffff_ffff_f000;
    let offset_bits = match last.level {
        "PTE" => 12,
        // A PDE ends the walk if it maps a large page: 2 MiB with eight-byte entries, 4 MiB with four-byte ones.
        "PDE" if cpu.state.cr4 & ring86_translator::state::cr::PAE != 0 => 21,
        "PDE" => 22,
        _ => return None,
    };
    let mask = (1 << offset_bits) - 1;
    Some((last.value & FRAME & !mask) | linear & mask)
}
