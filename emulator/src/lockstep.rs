//! Two machines, one with compiled code and one with the interpreter, run the same guest side by side and are compared
//! whenever compiled code is left. Instruction counts are exact in both, so with the virtual clock the second can be
//! run to exactly where the first is.

use crate::config::{Engine, MachineConfig};
use crate::error::{Error, Result};
use crate::machine::{Machine, Outcome};
use crate::scheduler::ClockKind;
use ring86_devices::Time;
use ring86_translator::State;
use ring86_translator::engine::Config;

/// All of RAM is compared each time this many instructions have passed.
const RAM_EVERY: u64 = 20_000_000;

/// Compiled code is compared at the first exit after this many instructions.
const STEP: u64 = 1000;

/// How often a block runs before it is compiled, unless the user says otherwise: low, so that much is compiled.
pub const THRESHOLD: u32 = 50;

/// Two machines in step.
pub struct Lockstep {
    compiled: Machine,
    interpreted: Machine,
    /// Comparisons made.
    pub compared: u64,
    ram_at: u64,
    /// Instructions at the last agreement.
    agreed: u64,
}

/// A state as lines, one a field; what differs is found by comparing lines.
fn describe(m: &Machine) -> Vec<String> {
    let s: &State = &m.cpu().state;
    let mut lines =
        vec![format!("instructions {}", m.retired()), format!("cs:eip {:04x}:{:08x}", s.segs[1].selector, s.rip)];
    for (n, name) in ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"].iter().enumerate() {
        lines.push(format!("{name} {:08x}", s.gpr(n as u8)));
    }
    lines.push(format!("eflags {:08x}", s.eflags()));
    lines.push(format!("cpl {} halted {} shadows {} {}", s.cpl, s.halted, s.sti_shadow, s.ss_shadow));
    for (n, name) in ["es", "cs", "ss", "ds", "fs", "gs"].iter().enumerate() {
        lines.push(format!("{name} {:x?}", s.segs[n]));
    }
    lines.push(format!("ldtr {:x?} tr {:x?} gdtr {:x?} idtr {:x?}", s.ldtr, s.tr, s.gdtr, s.idtr));
    lines.push(format!("cr0 {:x} cr2 {:x} cr3 {:x} cr4 {:x} dr {:x?}", s.cr0, s.cr2, s.cr3, s.cr4, s.dr));
    lines.push(format!("fpu {:x?}", s.fpu));
    lines.push(format!("xmm {:x?} mxcsr {:x}", &s.vectors[..8], s.mxcsr));
    lines
}

/// Whether the states that a guest can see are the same, without the cost of [`describe`].
fn same(a: &Machine, b: &Machine) -> bool {
    let (s, t) = (&a.cpu().state, &b.cpu().state);
    a.retired() == b.retired()
        && s.rip == t.rip
        && s.slots[..8] == t.slots[..8]
        && s.eflags() == t.eflags()
        && (s.cpl, s.halted, s.sti_shadow, s.ss_shadow) == (t.cpl, t.halted, t.sti_shadow, t.ss_shadow)
        && s.segs == t.segs
        && (s.ldtr, s.tr, s.gdtr, s.idtr) == (t.ldtr, t.tr, t.gdtr, t.idtr)
        && (s.cr0, s.cr2, s.cr3, s.cr4, s.dr) == (t.cr0, t.cr2, t.cr3, t.cr4, t.dr)
        && s.fpu == t.fpu
        && s.vectors[..8] == t.vectors[..8]
        && s.mxcsr == t.mxcsr
}

/// The first RAM offset at which two machines differ.
fn ram_difference(a: &Machine, b: &Machine) -> Option<usize> {
    let (x, y) = (a.layout().memory().ram(), b.layout().memory().ram());
    let (mut p, mut q) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    (0..x.len()).step_by(1 << 16).find_map(|at| {
        x.read_bytes(at, &mut p);
        y.read_bytes(at, &mut q);
        p.iter().zip(&q).position(|(a, b)| a != b).map(|i| at + i)
    })
}

impl Lockstep {
    /// Two machines of `config`, which asks for the virtual clock. `engine` is that of the first.
    ///
    /// # Errors
    /// If the host cannot provide them, or the clock is the host's.
    pub fn new(config: &MachineConfig, engine: Config) -> Result<Self> {
        if config.clock != ClockKind::Virtual {
            return Err(Error::new("--engine lockstep needs --clock virtual: two runs are only the same with it"));
        }
        let engine = Config { stop_at_exits: Some(STEP), synchronous: true, ..engine };
        let compiled = Machine::new(MachineConfig { engine: Engine::Translator(engine), ..config.clone() })?;
        let interpreted = Machine::new(MachineConfig { engine: Engine::Interpreter, ..config.clone() })?;
        Ok(Lockstep { compiled, interpreted, compared: 0, ram_at: 0, agreed: 0 })
    }

    /// The machine with compiled code.
    pub fn compiled(&self) -> &Machine {
        &self.compiled
    }

    /// Gives both the same input on COM1.
    pub fn serial_input(&mut self, bytes: &[u8]) {
        self.compiled.serial_input(bytes);
        self.interpreted.serial_input(bytes);
    }

    /// Takes one step, at most to guest time `limit`, and compares.
    ///
    /// # Errors
    /// The difference, in several lines.
    pub fn step(&mut self, limit: Time) -> std::result::Result<Option<Outcome>, String> {
        let from = self.compiled.retired();
        let outcome = self.compiled.slice(limit);
        let now = self.compiled.now();
        let mut other = None;
        while self.interpreted.now() < now && other.is_none() {
            other = self.interpreted.slice(now);
        }
        self.compared += 1;
        let ended = outcome.is_some() != other.is_some();
        if !same(&self.compiled, &self.interpreted) || (ended && outcome.is_some()) {
            return Err(self.difference(from));
        }
        self.agreed = self.compiled.retired();
        if outcome.is_some() || self.agreed - self.ram_at >= RAM_EVERY {
            if let Some(at) = ram_difference(&self.compiled, &self.interpreted) {
                return Err(format!(
                    "memory differs at RAM offset {at:x} after {} instructions; it was the same after {}",
                    self.agreed, self.ram_at
                ));
            }
            self.ram_at = self.agreed;
        }
        if self.compiled.serial_output() != self.interpreted.serial_output() {
            return Err(format!("serial output differs after {} instructions", self.agreed));
        }
        Ok(outcome)
    }

    fn difference(&self, from: u64) -> String {
        let (a, b) = (describe(&self.compiled), describe(&self.interpreted));
        let mut text = format!("compiled code and the interpreter differ between instructions {from} and {}:", a[0]);
        for (x, y) in a.iter().zip(&b).filter(|(x, y)| x != y) {
            text += &format!("\n  compiled    {x}\n  interpreter {y}");
        }
        text += &format!("\n  last instruction reached: {}", crate::trace::disassemble(self.interpreted.cpu()));
        text
    }
}
