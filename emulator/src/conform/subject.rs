//! The CPU under test, loaded with a record's state and asked for one instruction.

use super::layout::{
    ARENA, CODE, CODE_ALIAS, CODE_LEN, Environment, FX_LEN, HARNESS_LEN, LOW, NO_EXCEPTION, Placement, Shape, field,
    get32, put32, seg,
};
use super::refused::Refused;
use super::tables;
use crate::config::Engine;
use ring86_translator::fp::F80;
use ring86_translator::state::{self, attr, cr};
use ring86_translator::{Cpu, Exit, Memory, Model, NullBus, Pins};
use std::sync::Arc;

/// Something that runs cases: Ring86's CPU, or the native one asked twice.
pub trait Subject {
    /// Makes `instruction` at `placement` the one that the next cases run, with the arena as given.
    fn load(&mut self, placement: Placement, shape: Shape, instruction: &[u8], arena: &[u8]);
    /// Runs one case: `input` and `output` are records of the loaded shape.
    fn run_case(&mut self, input: &[u8], output: &mut [u8]);
    /// Reads the arena back.
    fn arena(&mut self, out: &mut [u8]);
}

/// Ring86's CPU in user mode, with page tables and descriptor tables as the native side has them.
pub struct CpuSubject {
    cpu: Cpu,
    bus: NullBus,
    placement: Placement,
    shape: Shape,
    fall: u64,
    landings: [u64; 2],
    refused: Refused,
}

const RAM: usize = 0x20_0000;

/// Physical address of a linear one.
fn physical(linear: u32) -> u64 {
    u64::from(linear - LOW)
}

impl CpuSubject {
    /// A CPU of the model whose user-mode instructions the host has too.
    pub fn new(engine: Engine) -> Result<CpuSubject, String> {
        let pins = Arc::new(Pins::default());
        let memory = Memory::flat(RAM, pins.clone()).map_err(|error| format!("no guest memory: {error}"))?;
        let memory = Arc::new(memory);
        let mut cpu = Cpu::new(Model::Max, memory.clone(), pins);
        cpu.intercept = true;
        engine.apply(&mut cpu).map_err(|e| e.to_string())?;
        let tables = tables::lay(&mut |offset, bytes| memory.dma_write(u64::from(offset), bytes), 0, false);
        let s = &mut cpu.state;
        s.cr0 = cr::PE | cr::MP | cr::ET | cr::NE | cr::WP | cr::AM | cr::PG;
        s.cr3 = u64::from(tables.cr3);
        s.cr4 = cr::OSFXSR | cr::OSXMMEXCPT | cr::DE;
        s.gdtr = state::TableReg { base: u64::from(tables.gdtr.0), limit: tables.gdtr.1 as _ };
        let system = |(selector, base, limit): (u16, u32, u32), kind: u32| state::Segment {
            base: u64::from(base),
            limit,
            attr: attr::P | kind << 8,
            selector,
        };
        s.ldtr = system(tables.ldtr, 2);
        s.tr = system(tables.tr, 0xB);
        s.cpl = 3;
        s.update_mode();
        cpu.flush();
        let placement = Placement { environment: Environment::Flat32, offset: HARNESS_LEN };
        let refused = Refused::default();
        Ok(CpuSubject { cpu, bus: NullBus, placement, shape: Shape::default(), fall: 0, landings: [0; 2], refused })
    }

    /// What was not compiled since the last call, in words, if there is something.
    pub fn refused(&mut self) -> Option<String> {
        self.refused.since(&self.cpu)
    }

    fn load_segments(&mut self) {
        let s = &mut self.cpu.state;
        for (index, segment) in self.placement.environment.segments().into_iter().enumerate() {
            s.segs[index] = state::Segment {
                base: u64::from(segment.base),
                limit: segment.limit,
                attr: (segment.descriptor() >> 32) as u32 & attr::MASK,
                selector: segment.selector,
            };
        }
        s.update_mode();
    }

    fn load_fx(&mut self, image: &[u8]) {
        let fpu = &mut self.cpu.state.fpu;
        let word = |at: usize| u16::from_le_bytes([image[at], image[at + 1]]);
        fpu.cw = word(0);
        fpu.sw = word(2);
        fpu.empty = !image[4];
        let top = fpu.top();
        for index in 0..8u8 {
            let at = 32 + 16 * usize::from(index);
            fpu.regs[usize::from(top.wrapping_add(index) & 7)] =
                F80 { mantissa: get64(image, at), sign_exp: word(at + 8) };
        }
        self.cpu.state.mxcsr = get32(image, 24);
        for index in 0..8 {
            let at = 160 + 16 * index;
            self.cpu.state.vectors[index] = u128::from(get64(image, at)) | u128::from(get64(image, at + 8)) << 64;
        }
    }

    fn store_fx(&self, image: &mut [u8]) {
        let fpu = &self.cpu.state.fpu;
        image[..FX_LEN].fill(0);
        image[0..2].copy_from_slice(&fpu.cw.to_le_bytes());
        image[2..4].copy_from_slice(&fpu.sw.to_le_bytes());
        image[4] = !fpu.empty;
        for index in 0..8u8 {
            let at = 32 + 16 * usize::from(index);
            let value = fpu.regs[usize::from(fpu.top().wrapping_add(index) & 7)];
            image[at..at + 8].copy_from_slice(&value.mantissa.to_le_bytes());
            image[at + 8..at + 10].copy_from_slice(&value.sign_exp.to_le_bytes());
        }
        put32(image, 24, self.cpu.state.mxcsr);
        for index in 0..8 {
            let at = 160 + 16 * index;
            image[at..at + 16].copy_from_slice(&self.cpu.state.vectors[index].to_le_bytes());
        }
    }
}

fn get64(bytes: &[u8], at: usize) -> u64 {
    u64::from(get32(bytes, at)) | u64::from(get32(bytes, at + 4)) << 32
}

impl Subject for CpuSubject {
    fn load(&mut self, placement: Placement, shape: Shape, instruction: &[u8], arena: &[u8]) {
        let memory = self.cpu.memory().clone();
        // Everything around is INT3; only the pages just behind the harness are ever used, but for code in records.
        let mut code = [0xCC; (CODE_LEN - HARNESS_LEN) as usize];
        let used = if shape.code { code.len() } else { 0x3000 };
        let at = (placement.offset - HARNESS_LEN) as usize;
        code[at..at + instruction.len()].copy_from_slice(instruction);
        memory.dma_write(physical(CODE + HARNESS_LEN), &code[..used]);
        memory.dma_write(physical(ARENA), arena);
        self.placement = placement;
        self.shape = shape;
        self.fall = u64::from(placement.eip()) + instruction.len() as u64;
        self.landings = placement.landings().map(u64::from);
        self.load_segments();
    }

    fn run_case(&mut self, input: &[u8], output: &mut [u8]) {
        let memory = self.cpu.memory().clone();
        for index in 0..2 {
            let len = self.shape.window[index];
            if len > 0 {
                let at = self.shape.window_offset(index);
                let linear = get32(input, field::WINDOW[index]);
                if self.shape.code && index == 0 {
                    memory.dma_write(physical(linear - CODE_ALIAS + CODE), &input[at..at + len]);
                } else {
                    memory.ram().write_bytes(physical(linear) as usize, &input[at..at + len]);
                }
            }
        }
        if self.shape.segments {
            self.load_segments();
        }
        if self.shape.fx {
            self.load_fx(&input[self.shape.fx_offset()..]);
        }
        let s = &mut self.cpu.state;
        for (reg, offset) in field::GPR.iter().enumerate() {
            s.slots[reg] = u64::from(get32(input, *offset));
        }
        s.set_eflags(get32(input, field::EFLAGS));
        let start = u64::from(self.placement.eip());
        s.rip = start;
        s.halted = false;
        s.sti_shadow = false;
        s.ss_shadow = false;

        let retired = self.cpu.retired();
        let (mut vector, mut error, mut address) = (NO_EXCEPTION, 0, 0);
        // A repeated string instruction may stop between iterations; a wild transfer faults at its target.
        for _ in 0..64 {
            match self.cpu.run(&mut self.bus, 1) {
                Exit::Budget => {
                    let rip = self.cpu.state.rip;
                    let done = if self.shape.code {
                        self.cpu.retired() != retired
                    } else {
                        rip == self.fall || self.landings.contains(&rip)
                    };
                    if done {
                        break;
                    }
                }
                Exit::Exception(fault) => {
                    vector = u32::from(fault.vector);
                    error = fault.error.unwrap_or(0);
                    address = fault.address as u32;
                    break;
                }
                other => {
                    // No user-mode instruction may halt, shut down or be interrupted here.
                    vector = 0x1_0000 | if matches!(other, Exit::Halted) { 1 } else { 2 };
                    break;
                }
            }
        }
        let s = &self.cpu.state;
        // INT3, INTO and INT1 are traps: what is reported is the return address.
        let trap = matches!(vector, 1 | 3 | 4) && s.rip == start;
        let eip = if trap { self.fall } else { s.rip };
        for (reg, offset) in field::GPR.iter().enumerate() {
            put32(output, *offset, s.slots[reg] as u32);
        }
        put32(output, field::EFLAGS, s.eflags());
        put32(output, field::EIP, eip as u32);
        if self.shape.segments {
            for (index, offset) in field::SELECTORS {
                output[offset..offset + 2].copy_from_slice(&s.segs[index].selector.to_le_bytes());
            }
        }
        put32(output, field::VECTOR, vector);
        put32(output, field::ERROR, error);
        put32(output, field::CR2, address);
        for index in 0..2 {
            let len = self.shape.window[index];
            if len > 0 {
                let at = self.shape.window_offset(index);
                let address = physical(get32(input, field::WINDOW[index])) as usize;
                memory.ram().read_bytes(address, &mut output[at..at + len]);
            }
        }
        if self.shape.fx {
            let at = self.shape.fx_offset();
            self.store_fx(&mut output[at..at + FX_LEN]);
        }
        let segments = self.placement.environment.segments();
        debug_assert_eq!(self.cpu.state.segs[seg::SS].selector, segments[seg::SS].selector);
    }

    fn arena(&mut self, out: &mut [u8]) {
        self.cpu.memory().ram().read_bytes(physical(ARENA) as usize, out);
    }
}
