//! The small machine of the suite `tiers`: where things lie in its memory, and one engine over it.

use super::generate::Case;
use crate::config::Engine;
use crate::conform::plant::Plant;
use crate::conform::refused::Refused;
use iced_x86::{Decoder, DecoderOptions};
use ring86_translator::state::{Fpu, Segment, TableReg, attr, cr, eflags};
use ring86_translator::{Cpu, Exit, Memory, Model, NullBus, Pins};
use std::sync::Arc;

const RAM: usize = 0x20_0000;
/// The page directory.
pub const DIRECTORY: u32 = 0x1000;
const TABLE: u32 = 0x2000;
/// The descriptor table.
pub const GDT: u32 = 0x3000;
const TSS: u32 = 0x4000;
/// Length of the I/O permission bitmap in the TSS: ports 0 to 3FFh, and the byte of ones that ends it.
const BITMAP: u32 = 0x81;
/// Everything below is read back after a run, and laid anew before each.
const REACH: usize = 0x2_8000;

/// Linear and physical address of the first page of code. The page before the last is CODE + 1000h; the one behind is
/// absent.
pub const CODE: u32 = 0x1_0000;
/// The page behind code, absent.
pub const CODE_END: u32 = CODE + 0x2000;
/// Data pages that all may write, two of them, then [`ABSENT`].
pub const DATA: u32 = 0x2_0000;
/// An absent page, between pages of data.
pub const ABSENT: u32 = 0x2_2000;
/// A page that users may only read, and so may the supervisor (CR0.WP).
pub const READ_ONLY: u32 = 0x2_4000;
/// A page of the supervisor's.
pub const SUPERVISOR: u32 = 0x2_6000;

/// Rights in a page table entry: present, writable, user.
fn rights(page: u32) -> u32 {
    match page << 12 {
        ABSENT | CODE_END => 0,
        READ_ONLY => 0x5,
        SUPERVISOR => 0x3,
        // The tables are the supervisor's.
        0..=0x4FFF => 0x3,
        _ => 0x7,
    }
}

/// CR0 that a case begins with.
pub const CR0: u64 = cr::PE | cr::MP | cr::ET | cr::NE | cr::WP | cr::AM | cr::PG;
/// CR4 that a case begins with, beside [`Case::cr4`].
pub const CR4: u64 = cr::OSFXSR | cr::OSXMMEXCPT | cr::DE;
/// Selector of the TSS.
pub const TSS_SELECTOR: u16 = 18 << 3;
/// Selector of code of 16 bits of level 0, 64 KiB from [`CODE`] on.
pub const CODE16: u16 = 19 << 3;
/// Where the gates of [`Case::gates`] lead, in the flat code of level 0.
const HANDLER: u32 = CODE + 0x1800;

/// The descriptors: by index. At each privilege level flat code, flat data and data of 4 KiB at [`DATA`], then what
/// cannot be loaded into a data segment, or not at all, and at last code of 16 bits.
pub fn descriptors() -> Vec<u64> {
    let make = |base: u32, limit: u32, access: u64, flags: u64| {
        u64::from(limit & 0xFFFF)
            | u64::from(base & 0xFF_FFFF) << 16
            | access << 40
            | u64::from(limit >> 16 & 0xF) << 48
            | flags << 52
            | u64::from(base >> 24) << 56
    };
    let mut list = vec![0];
    for level in 0..4 {
        list.push(make(0, 0xF_FFFF, 0x9B | level << 5, 0xC));
        list.push(make(0, 0xF_FFFF, 0x93 | level << 5, 0xC));
        list.push(make(DATA, 0xFFF, 0x93 | level << 5, 0x4));
    }
    // 13 on: code that cannot be read, conforming code, read-only data, data and code that are not present, a TSS.
    list.push(make(0, 0xF_FFFF, 0xF9, 0xC));
    list.push(make(0, 0xF_FFFF, 0x9F, 0xC));
    list.push(make(0, 0xF_FFFF, 0xF1, 0xC));
    list.push(make(0, 0xF_FFFF, 0x73, 0xC));
    list.push(make(0, 0xF_FFFF, 0x7B, 0xC));
    list.push(make(TSS, 0x67 + BITMAP, 0x89, 0));
    list.push(make(CODE, 0xFFFF, 0x9B, 0));
    list
}

/// Selector of the level's flat code, data, or short data: `which` is 0, 1 or 2.
pub fn selector(level: u8, which: u16) -> u16 {
    (1 + u16::from(level) * 3 + which) << 3 | u16::from(level)
}

/// What a run left, to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Vector, error code, address and DR6 bits of the exception that ended each part of the run; a vector above FFh: none.
    pub ends: Vec<(u32, Option<u32>, u64, u32)>,
    /// Instructions retired.
    pub retired: u64,
    /// EIP.
    pub ip: u64,
    /// General registers.
    pub gpr: [u64; 8],
    /// EFLAGS.
    pub flags: u32,
    /// CPL and what shadows the next instruction.
    pub bits: (u8, [bool; 3], u32),
    /// Segments, LDTR, TR.
    pub segments: [Segment; 8],
    /// GDTR, IDTR.
    pub tables: (TableReg, TableReg),
    /// CR0, CR2, CR3, CR4.
    pub control: [u64; 4],
    /// DR0 to DR7.
    pub debug: [u64; 8],
    /// The x87 state.
    pub fpu: Fpu,
    /// XMM0 to XMM7, MXCSR.
    pub vectors: ([u128; 8], u32),
}

/// No exception: the budget was used up, HLT, or shutdown.
pub const NO_EXCEPTION: u32 = 0x100;

/// The end of a part by HLT.
pub const HALTED: u32 = NO_EXCEPTION + 1;

/// One engine.
pub struct Bench {
    cpu: Cpu,
    memory: Arc<Memory>,
    plant: Option<Plant>,
    refused: Refused,
}

impl Bench {
    /// A machine for `engine`, with a bug on purpose if there is one.
    pub fn new(engine: Engine, plant: Option<Plant>) -> Result<Bench, String> {
        let pins = Arc::new(Pins::default());
        pins.set_a20(true);
        let memory = Arc::new(Memory::flat(RAM, pins.clone()).map_err(|error| format!("no guest memory: {error}"))?);
        let mut cpu = Cpu::new(Model::Max, memory.clone(), pins);
        engine.apply(&mut cpu).map_err(|error| error.to_string())?;
        Ok(Bench { cpu, memory, plant, refused: Refused::default() })
    }

    /// What was not compiled since the last call, in words, if there is something.
    pub fn refused(&mut self) -> Option<String> {
        self.refused.since(&self.cpu)
    }

    /// The memory that a case begins with.
    fn image(case: &Case) -> Vec<u8> {
        let mut image = vec![0; REACH];
        let mut put = |at: u32, bytes: &[u8]| image[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        put(DIRECTORY, &(TABLE | 0x7).to_le_bytes());
        for page in 0..0x200 {
            put(TABLE + page * 4, &(page << 12 | rights(page)).to_le_bytes());
        }
        for (index, descriptor) in (0..).zip(descriptors()) {
            put(GDT + index * 8, &descriptor.to_le_bytes());
        }
        put(TSS + 0x66, &0x68u16.to_le_bytes());
        put(TSS + 0x68, &[case.bitmap; BITMAP as usize]);
        put(TSS + 0x68 + BITMAP - 1, &[0xFF]);
        let mut value = case.fill;
        for at in (DATA..DATA + 0x8000).step_by(8) {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            put(at, &value.to_le_bytes());
        }
        put(CODE, &[0x90; 0x2000]);
        put(case.at, &case.code);
        for vector in &case.gates {
            let gate = u64::from(HANDLER & 0xFFFF)
                | u64::from(selector(0, 0)) << 16
                | 0x8E00 << 32
                | u64::from(HANDLER >> 16) << 48;
            put(u32::from(*vector) * 8, &gate.to_le_bytes());
        }
        for (at, bytes) in &case.memory {
            put(*at, bytes);
        }
        image
    }

    fn begin(&mut self, case: &Case) {
        self.memory.dma_write(0, &Self::image(case));
        self.cpu.reset();
        self.cpu.intercept = case.gates.is_empty();
        let s = &mut self.cpu.state;
        for (slot, value) in s.slots.iter_mut().zip(case.gpr) {
            *slot = u64::from(value);
        }
        s.cr0 = CR0;
        s.cr3 = u64::from(DIRECTORY);
        s.cr4 = CR4 | case.cr4;
        (s.sysenter_cs, s.sysenter_esp, s.sysenter_eip) = case.sysenter;
        s.fpu.reset();
        let list = descriptors();
        s.gdtr = TableReg { base: u64::from(GDT), limit: list.len() as u16 * 8 - 1 };
        s.idtr = TableReg { base: 0, limit: 0x3FF };
        s.tr = Segment { base: u64::from(TSS), limit: 0x67 + BITMAP, attr: attr::P | 0xB << 8, selector: TSS_SELECTOR };
        s.dr = case.dr;
        s.rip = u64::from(case.at);
        if case.v86 {
            for (index, segment) in s.segs.iter_mut().enumerate() {
                *segment = Segment::real([DATA, CODE, DATA, DATA, DATA, DATA][index].wrapping_shr(4) as u16);
                segment.limit = 0xFFFF;
                segment.attr |= 3 << 13;
            }
            s.rip = u64::from(case.at - CODE);
        } else {
            for (index, segment) in s.segs.iter_mut().enumerate() {
                let which = match index {
                    1 => 0,
                    0 | 4 | 5 if case.short => 2,
                    _ => 1,
                };
                let selector = selector(case.cpl, which);
                let descriptor = list[usize::from(selector >> 3)];
                let (base, limit) = if which == 2 { (u64::from(DATA), 0xFFF) } else { (0, u32::MAX) };
                *segment = Segment { base, limit, attr: (descriptor >> 32) as u32 & attr::MASK, selector };
            }
            if case.bits == 16 {
                let attr = (list[usize::from(CODE16 >> 3)] >> 32) as u32 & attr::MASK;
                s.segs[1] = Segment { base: u64::from(CODE), limit: 0xFFFF, attr, selector: CODE16 };
                s.rip = u64::from(case.at - CODE);
            }
        }
        s.cpl = if case.v86 { 3 } else { case.cpl };
        s.set_eflags(case.flags | 2 | if case.v86 { eflags::VM } else { 0 });
        s.update_mode();
        self.cpu.flush();
    }

    /// Runs a case: `case.steps` instructions or to the first exception, then again for each repair.
    pub fn run(&mut self, case: &Case) -> (Seen, Vec<u8>) {
        self.begin(case);
        let from = self.cpu.retired();
        let mut ends = Vec::new();
        for part in 0..=case.repairs.len() {
            let end = self.part(case.steps);
            let stopped = end.0 == NO_EXCEPTION;
            ends.push(end);
            let Some(&(page, entry)) = case.repairs.get(part).filter(|_| !stopped) else { break };
            self.memory.dma_write(u64::from(TABLE + page * 4), &entry.to_le_bytes());
            self.cpu.flush();
        }
        let s = &self.cpu.state;
        let seen = Seen {
            ends,
            retired: self.cpu.retired() - from,
            ip: s.rip,
            gpr: std::array::from_fn(|index| s.slots[index]),
            flags: s.eflags(),
            bits: (s.cpl, [s.halted, s.sti_shadow, s.ss_shadow], s.pending_debug),
            segments: std::array::from_fn(|index| match index {
                6 => s.ldtr,
                7 => s.tr,
                _ => s.segs[index],
            }),
            tables: (s.gdtr, s.idtr),
            control: [s.cr0, s.cr2, s.cr3, s.cr4],
            debug: s.dr,
            fpu: s.fpu.clone(),
            vectors: (std::array::from_fn(|index| s.vectors[index]), s.mxcsr),
        };
        let mut memory = vec![0; REACH];
        self.memory.dma_read(0, &mut memory);
        (seen, memory)
    }

    /// The flag that the next instruction gets wrong by the bug on purpose, or 0.
    fn wrong(&self) -> u32 {
        let Some(plant) = self.plant else { return 0 };
        let s = &self.cpu.state;
        let mut bytes = [0; 15];
        self.memory.dma_read(s.segs[1].base.wrapping_add(s.rip), &mut bytes);
        let bits = if s.segs[1].attr & attr::DB != 0 { 32 } else { 16 };
        let code = Decoder::new(bits, &bytes, DecoderOptions::NONE).decode().code();
        if code == plant.code { plant.flag } else { 0 }
    }

    fn get_wrong(&mut self, flag: u32) {
        if flag != 0 {
            let flags = self.cpu.state.eflags() ^ flag;
            self.cpu.state.set_eflags(flags);
        }
    }

    fn part(&mut self, steps: u64) -> (u32, Option<u32>, u64, u32) {
        let end = self.cpu.retired() + steps;
        // A repeated string instruction may stop between iterations without retiring.
        for _ in 0..10_000 {
            let left = end.saturating_sub(self.cpu.retired());
            if left == 0 {
                break;
            }
            let wrong = self.wrong();
            // With a bug on purpose one instruction at a time, to see which it is.
            let before = self.cpu.retired();
            match self.cpu.run(&mut NullBus, if self.plant.is_some() { 1 } else { left }) {
                Exit::Budget | Exit::Attention => {
                    if self.cpu.retired() != before {
                        self.get_wrong(wrong);
                    }
                }
                Exit::Halted => {
                    self.get_wrong(wrong);
                    return (HALTED, None, 0, 0);
                }
                Exit::TripleFault(_) => return (NO_EXCEPTION + 2, None, 0, 0),
                Exit::Exception(fault) => {
                    self.get_wrong(wrong);
                    return (fault.vector.into(), fault.error, fault.address, fault.dr6);
                }
            }
        }
        (NO_EXCEPTION, None, 0, 0)
    }
}

/// The page table's entry that makes a page present and writable for all.
pub fn repaired(page: u32) -> (u32, u32) {
    (page >> 12, page | 0x7)
}
