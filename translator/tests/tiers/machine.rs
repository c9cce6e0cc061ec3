//! Machines that run one program each in their own tier, and what is compared between them.

use crate::generate::{ALIAS, Generator, Kind, Piece, Random, STACK, Theme};
use iced_x86::code_asm::*;
use ring86_translator::engine::{Config, Mmu, TierStats};
use ring86_translator::state::{Fpu, Segment, TableReg, attr, cr, eflags, slot};
use ring86_translator::{Bus, Cpu, Exit, Memory, Model, Pins, pins};
use std::sync::Arc;
use std::time::Duration;

const RAM: usize = 0x4_0000;
/// Where handlers put what, and the list of places that they resume at.
const COUNTERS: u32 = 0x7000;
const PLACES: u32 = 0x7040;
const HANDLERS: u64 = 0x1000;

/// What the run of a program meets between two slices.
#[derive(Clone, Debug)]
pub enum Event {
    Nothing,
    Interrupt,
    Dma(u64, Vec<u8>),
}

/// How the program's processor is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setup {
    /// Flat 32-bit code; exceptions come back to the test.
    Flat,
    /// Flat 32-bit code with an interrupt table, at CPL 0 or 3, with paging or without.
    System { user: bool, paging: bool },
    /// Real mode.
    Real,
    /// 16-bit segments with odd bases.
    Short,
}

#[derive(Clone, Debug)]
pub struct Program {
    pub pieces: Vec<Piece>,
    pub setup: Setup,
    /// Linear address of the first piece.
    pub start: u32,
    /// What is taken off the code segment's limit.
    pub cut: Option<u32>,
    pub slices: Vec<(u64, Event)>,
    pub regs: [u32; 8],
    pub fill: u64,
}

impl Program {
    pub fn random(seed: u64, theme: Theme) -> Program {
        let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            r.next();
        }
        let setup = match theme {
            Theme::Plain => r.pick(&[Setup::Flat, Setup::Flat, Setup::System { user: true, paging: false }]),
            Theme::Rewrite => r.pick(&[
                Setup::Flat,
                Setup::Flat,
                Setup::System { user: false, paging: true },
                Setup::System { user: true, paging: true },
                Setup::Real,
            ]),
            Theme::Paging => {
                let user = r.chance(3);
                Setup::System { user, paging: true }
            }
            Theme::Short => r.pick(&[Setup::Real, Setup::Short]),
            Theme::Interrupts => r.pick(&[
                Setup::System { user: false, paging: false },
                Setup::System { user: false, paging: true },
                Setup::Real,
            ]),
        };
        let wide = !matches!(setup, Setup::Real | Setup::Short);
        let (user, aliases) = match setup {
            Setup::System { user, paging } => (user, paging),
            _ => (false, false),
        };
        let pieces = Generator::new(&mut r, theme, wide, user, aliases).program();
        let start = if wide {
            r.pick(&[0x1_0100, 0x1_0fc0, 0x1_0fe0, 0x1_1f90]) + r.below(32) as u32
        } else {
            r.pick(&[0x1_0100, 0x1_0fc0, 0x1_ff80, 0x1_ffc0]) + r.below(32) as u32
        };
        let cut = (setup == Setup::Short && r.chance(2)).then(|| r.below(120) as u32);
        let mut slices = Vec::new();
        let long = r.chance(2);
        let mut total = 0;
        while total < 600 {
            let n = if long { 1 + r.below(400) } else { 1 + r.below(if r.0 & 4 == 0 { 4 } else { 60 }) };
            total += n;
            let event = match theme {
                Theme::Interrupts if r.chance(2) => Event::Interrupt,
                Theme::Rewrite if r.chance(4) => {
                    let at = u64::from(start) + r.below(0x100);
                    let bytes = (0..=r.below(4)).map(|_| r.pick(&[0x40, 0x43, 0x46, 0x4b, 0x90, 0xf8, 0xf5])).collect();
                    Event::Dma(at, bytes)
                }
                _ if r.chance(30) => Event::Interrupt,
                _ => Event::Nothing,
            };
            slices.push((n, event));
        }
        let mut regs = [0; 8];
        for v in &mut regs {
            *v = if r.chance(2) { 0x2_0000 + r.below(0x1000) as u32 } else { r.edge() };
        }
        regs[1] = r.below(60) as u32;
        regs[4] = STACK;
        Program { pieces, setup, start, cut, slices, regs, fill: r.next() }
    }

    fn code_base(&self) -> u32 {
        match self.setup {
            Setup::Real => 0x1_0000,
            Setup::Short => 0x1_0013,
            _ => 0,
        }
    }

    /// Offsets of the pieces in the code segment, and all bytes.
    pub fn layout(&self) -> (Vec<u32>, Vec<u8>) {
        let mut at = self.start - self.code_base();
        let first = at;
        let mut places = Vec::new();
        for p in &self.pieces {
            places.push(at);
            at += p.bytes.len() as u32;
        }
        let mut bytes = Vec::new();
        for (p, place) in self.pieces.iter().zip(&places) {
            let begin = bytes.len();
            bytes.extend_from_slice(&p.bytes);
            for r in &p.references {
                let target = places[r.to].wrapping_add(r.add as u32);
                let (v, n) = match r.kind {
                    Kind::Offset(n) => (target, n),
                    Kind::Near(n) => {
                        let v = target.wrapping_sub(place + (r.at + n) as u32);
                        (if n == 1 && v as i32 != i32::from(v as i8) { 0 } else { v }, n)
                    }
                };
                bytes[begin + r.at..begin + r.at + n].copy_from_slice(&v.to_le_bytes()[..n]);
            }
        }
        debug_assert!(first + bytes.len() as u32 == at);
        // Programs that run off their end go round.
        bytes.push(0xe9);
        let n = if self.code_base() != 0 { 2 } else { 4 };
        let back = first.wrapping_sub(at + 1 + n as u32);
        bytes.extend_from_slice(&back.to_le_bytes()[..n]);
        (places, bytes)
    }

    /// RAM before the first instruction.
    fn image(&self) -> Vec<u8> {
        let mut ram = vec![0u8; RAM];
        let mut put = |at: usize, bytes: &[u8]| ram[at..at + bytes.len()].copy_from_slice(bytes);
        let (places, bytes) = self.layout();
        let real = self.setup == Setup::Real;
        for v in 0..256usize {
            if real {
                put(v * 4, &[0, 0x18, 0, 0]);
            } else {
                let at = HANDLERS as usize + if v < 32 { v * 64 } else { 0x800 + usize::from(v == 0x20) * 64 };
                let gate = (at & 0xffff) as u64 | 8 << 16 | 0xee00 << 32;
                put(0x800 + v * 8, &gate.to_le_bytes());
            }
        }
        put(0x1800, &[0x2e, 0xff, 0x06, 0x00, 0x19, 0xcf]);
        if !real {
            for (n, d) in descriptors(self).iter().enumerate() {
                put(0x500 + n * 8, &d.to_le_bytes());
            }
            put(0x604, &0x7ff0u32.to_le_bytes());
            put(0x608, &0x10u32.to_le_bytes());
            put(0x666, &[0x68, 0]);
            // The handler of #PF takes the place of vector 15, which nothing raises.
            for v in (0..32).filter(|v| *v != 15) {
                put(HANDLERS as usize + v * 64, &handler(v as u8));
            }
            put(0x1800, &flushing());
            put(0x1840, &counter(8));
            for i in 0..16 {
                let place = places[(i * 7) % places.len()];
                put(PLACES as usize + i * 4, &place.to_le_bytes());
            }
            for (dir, table) in [(0x2000usize, 0x3000u32), (0x4000, 0x5000)] {
                put(dir, &(table | 7).to_le_bytes());
                for page in 0..0x100u32 {
                    let frame = if (0x80..0x90).contains(&page) { page - ALIAS as u32 / 4096 } else { page };
                    let absent = (0x22..0x24).contains(&page);
                    let rights = match page {
                        _ if absent => 6,
                        0x24 => 5,
                        0x25 => 3,
                        _ => 7,
                    };
                    put(table as usize + page as usize * 4, &(frame << 12 | rights).to_le_bytes());
                }
            }
        }
        let mut r = Random(self.fill | 1);
        for page in [0x2_0000, 0x2_1000] {
            for at in (page..page + 0x80).step_by(8) {
                let v = if r.chance(2) { u64::from(r.edge()) } else { r.next() };
                put(at, &v.to_le_bytes());
            }
        }
        put(self.start as usize, &bytes);
        ram
    }

    fn prepare(&self, cpu: &mut Cpu) {
        cpu.reset();
        let s = &mut cpu.state;
        for (n, v) in self.regs.iter().enumerate() {
            s.set_gpr(n as u8, u64::from(*v));
        }
        for (n, v) in s.vectors.iter_mut().take(8).enumerate() {
            *v = u128::from(self.fill.rotate_left(n as u32 * 5)) * 0x1_0000_0001;
        }
        s.cr0 &= !(cr::CD | cr::NW);
        s.cr4 |= cr::OSFXSR;
        s.fpu.reset();
        s.rip = u64::from(self.start - self.code_base());
        s.gdtr = TableReg { base: 0x500, limit: 0x5f };
        cpu.intercept = true;
        let data = attr::P | attr::S | attr::RW | attr::ACCESSED | attr::DB | attr::G;
        match self.setup {
            Setup::Real => {
                for n in 0..8 {
                    s.set_gpr(n, u64::from(self.regs[n as usize] & 0xffff));
                }
                s.segs = [Segment::real(0x2000); 6];
                s.segs[0] = Segment::real(0x1000);
                s.segs[1] = Segment { base: 0x1_0000, limit: 0xffff, attr: attr::REAL_CODE, selector: 0x1000 };
                s.segs[2] = Segment::real(0);
            }
            Setup::Short => {
                s.idtr = TableReg { base: 0x800, limit: 0x7ff };
                s.cr0 |= cr::PE | cr::NE;
                for (n, sel) in [(0, 0x48), (1, 0x30), (2, 0x40), (3, 0x38), (4, 0x38), (5, 0x48)] {
                    s.segs[n] = segment(descriptors(self)[sel / 8], sel as u16);
                }
                s.set_gpr(slot::RSP, 0x5ff0);
            }
            Setup::Flat | Setup::System { .. } => {
                s.idtr = TableReg { base: 0x800, limit: 0x7ff };
                s.cr0 |= cr::PE | cr::NE;
                s.segs = [Segment { base: 0, limit: u32::MAX, attr: data, selector: 0x10 }; 6];
                s.segs[1] = Segment { base: 0, limit: u32::MAX, attr: data | attr::CODE, selector: 8 };
                if let Setup::System { user, paging } = self.setup {
                    cpu.intercept = false;
                    if paging {
                        s.cr3 = 0x2000;
                        s.cr0 |= cr::PG | cr::WP;
                    }
                    s.tr = Segment { base: 0x600, limit: 0x67, attr: attr::P | 0xb << 8, selector: 0x50 };
                    if user {
                        s.cpl = 3;
                        for (n, g) in s.segs.iter_mut().enumerate() {
                            g.selector = if n == 1 { 0x1b } else { 0x23 };
                            g.attr |= 3 << 13;
                        }
                    }
                }
            }
        }
        s.sys_flags =
            if self.fill & 2 == 0 { eflags::IF } else { 0 } | if self.fill & 4 == 0 { eflags::IOPL } else { 0 };
        s.update_mode();
        cpu.flush();
    }
}

fn descriptors(p: &Program) -> [u64; 12] {
    let make = |base: u64, limit: u64, access: u64, flags: u64| {
        limit & 0xffff
            | (base & 0xff_ffff) << 16
            | access << 40
            | (limit >> 16 & 0xf) << 48
            | flags << 52
            | (base >> 24) << 56
    };
    let end = u64::from(p.start - 0x1_0000) + p.pieces.iter().map(|p| p.bytes.len() as u64).sum::<u64>();
    let limit = match p.cut {
        Some(cut) if p.setup == Setup::Short => end.saturating_sub(u64::from(cut)).clamp(0x20, 0xffff),
        _ => 0x1_ffff,
    };
    [
        0,
        make(0, 0xf_ffff, 0x9b, 0xc),
        make(0, 0xf_ffff, 0x93, 0xc),
        make(0, 0xf_ffff, 0xfb, 0xc),
        make(0, 0xf_ffff, 0xf3, 0xc),
        0,
        make(0x1_0013, limit, 0x9b, 0),
        make(0x1_fff1, 0x8123, 0x93, 0),
        make(0xa001, 0x5fff, 0x93, 0),
        make(0x1_0013, 0x1_ffff, 0x93, 0),
        make(0x600, 0x67, 0x8b, 0),
        0,
    ]
}

fn segment(d: u64, selector: u16) -> Segment {
    let limit = (d & 0xffff | d >> 32 & 0xf_0000) as u32;
    let limit = if d >> 55 & 1 != 0 { limit << 12 | 0xfff } else { limit };
    let base = d >> 16 & 0xff_ffff | (d >> 56) << 24;
    Segment { base, limit, attr: (d >> 32) as u32 & 0xf0_ff00, selector }
}

fn code(f: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let mut a = CodeAssembler::new(32).expect("32-bit code");
    f(&mut a).expect("valid instructions");
    a.assemble(HANDLERS).expect("encodable")
}

/// The handler of INT 80h empties the TLB: user programs that change page tables call it.
fn flushing() -> Vec<u8> {
    code(|a| {
        a.push(eax)?;
        a.mov(eax, cr3)?;
        a.mov(cr3, eax)?;
        a.pop(eax)?;
        a.inc(dword_ptr(COUNTERS + 4))?;
        a.iretd()
    })
}

fn counter(n: u32) -> Vec<u8> {
    code(|a| {
        a.inc(dword_ptr(COUNTERS + n))?;
        a.iretd()
    })
}

/// Goes on at the next place of the list; #PF on a low page maps it first and tries again.
fn handler(v: u8) -> Vec<u8> {
    let error = i32::from(matches!(v, 8 | 10..=14 | 17)) * 4;
    if matches!(v, 1 | 3 | 4) {
        return counter(12);
    }
    code(|a| {
        a.pushad()?;
        if v == 14 {
            let mut elsewhere = a.create_label();
            let mut frame = a.create_label();
            a.mov(eax, cr2)?;
            a.shr(eax, 12)?;
            a.cmp(eax, 0x90)?;
            a.jae(elsewhere)?;
            a.mov(edx, eax)?;
            a.cmp(eax, 0x80)?;
            a.jb(frame)?;
            a.sub(edx, ALIAS >> 12)?;
            a.set_label(&mut frame)?;
            a.shl(edx, 12)?;
            a.or(edx, 7)?;
            a.mov(dword_ptr(0x3000) + eax * 4, edx)?;
            a.mov(dword_ptr(0x5000) + eax * 4, edx)?;
            a.popad()?;
            a.add(esp, 4)?;
            a.iretd()?;
            a.set_label(&mut elsewhere)?;
            a.nop()?;
            return Ok(());
        }
        a.mov(eax, dword_ptr(COUNTERS))?;
        a.inc(dword_ptr(COUNTERS))?;
        a.and(eax, 15)?;
        a.mov(eax, dword_ptr(PLACES) + eax * 4)?;
        a.mov(dword_ptr(esp + 32 + error), eax)?;
        a.popad()?;
        a.add(esp, error)?;
        a.iretd()
    })
    .into_iter()
    .chain(if v == 14 {
        code(|a| {
            a.mov(eax, dword_ptr(COUNTERS))?;
            a.inc(dword_ptr(COUNTERS))?;
            a.and(eax, 15)?;
            a.mov(eax, dword_ptr(PLACES) + eax * 4)?;
            a.mov(dword_ptr(esp + 36), eax)?;
            a.popad()?;
            a.add(esp, 4)?;
            a.iretd()
        })
    } else {
        Vec::new()
    })
    .collect()
}

/// Devices: DMA over code, an interrupt, and answers that depend on the address alone.
struct Devices {
    mem: Arc<Memory>,
    pins: Arc<Pins>,
    base: u64,
    code: u64,
    seen: Vec<(u64, u64, u8, u64)>,
    hash: u64,
}

impl Devices {
    fn note(&mut self, kind: u64, retired: u64, at: u64, size: u8, v: u64) {
        let e = (retired - self.base, kind << 60 | at, size, v);
        for x in [e.0, e.1, u64::from(e.2), e.3] {
            self.hash = (self.hash.rotate_left(7) ^ x).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        if self.seen.len() < 64 {
            self.seen.push(e);
        }
    }
}

impl Bus for Devices {
    fn port_read(&mut self, retired: u64, port: u16, size: u8) -> u32 {
        let v = u32::from(port).wrapping_mul(0x0101_0101) >> (32 - 8 * u32::from(size));
        self.note(1, retired, port.into(), size, v.into());
        v
    }
    fn port_write(&mut self, retired: u64, port: u16, size: u8, value: u32) {
        self.note(2, retired, port.into(), size, value.into());
        match port {
            0x80 => self.mem.dma_write(self.code + u64::from(value >> 8 & 0x3ff), &[value as u8]),
            0x90 => self.pins.set_intr(true),
            _ => {}
        }
    }
    fn mem_read(&mut self, retired: u64, addr: u64, size: u8) -> u64 {
        let v = addr.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - 8 * u32::from(size));
        self.note(3, retired, addr, size, v);
        v
    }
    fn mem_write(&mut self, retired: u64, addr: u64, size: u8, value: u64) {
        self.note(4, retired, addr, size, value);
    }
    fn acknowledge(&mut self, retired: u64) -> u8 {
        self.note(5, retired, 0, 0, 0);
        self.pins.set_intr(false);
        0x20
    }
    fn tsc(&mut self, retired: u64) -> u64 {
        retired - self.base
    }
}

/// What tiers have to agree on at the end of a slice.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    exit: String,
    retired: u64,
    rip: String,
    regs: [String; 8],
    eflags: String,
    bits: (u32, u8, [bool; 4], u32),
    segs: [Segment; 8],
    tables: (TableReg, TableReg),
    cr: [u64; 4],
    dr: [u64; 8],
    fpu: Fpu,
    vectors: [u128; 8],
    mxcsr: u32,
    devices: (u64, Vec<(u64, u64, u8, u64)>),
}

/// One processor in one tier.
pub struct Machine {
    pub name: &'static str,
    /// Regions are compiled beside the program.
    background: bool,
    cpu: Cpu,
    bus: Devices,
}

/// The tiers: name and configuration.
pub fn tiers() -> Vec<(&'static str, Config)> {
    // Code that is rewritten all the time is compiled all the same here.
    let base = Config { synchronous: true, quick_first: false, code_cache: 16 << 20, patience: 0, ..Config::default() };
    let one = Config { threshold: 1, resume_after: 1, ..base };
    let few = Config { threshold: 3, resume_after: 2, ..base };
    vec![
        ("eager, window, speed", one),
        ("leaving, window, none", Config { optimise: false, resume_after: u32::MAX, ..one }),
        ("eager, table, none", Config { mmu: Mmu::Table, optimise: false, ..one }),
        ("single, window, none", Config { block_limit: 1, optimise: false, ..one }),
        ("normal, window, speed", few),
        ("normal, table, speed", Config { mmu: Mmu::Table, ..few }),
        ("normal, window, none", Config { optimise: false, ..few }),
        ("single, table, speed", Config { block_limit: 1, mmu: Mmu::Table, ..one }),
        ("background, window, quick first", Config { synchronous: false, quick_first: true, ..few }),
        ("quick first, window", Config { quick_first: true, ..one }),
    ]
}

impl Machine {
    pub fn new(name: &'static str, config: Option<Config>) -> Machine {
        let pins = Arc::new(Pins::default());
        let mem = Arc::new(Memory::flat(RAM, pins.clone()).expect("memory"));
        let mut cpu = Cpu::new(Model::Max, mem.clone(), pins.clone());
        if let Some(c) = config {
            cpu.enable_translator(c).expect("a host with a code generator");
        }
        let background = config.is_some_and(|c| !c.synchronous);
        Machine { name, background, cpu, bus: Devices { mem, pins, base: 0, code: 0, seen: Vec::new(), hash: 0 } }
    }

    pub fn stats(&self) -> TierStats {
        self.cpu.tier_stats().unwrap_or_default()
    }

    fn begin(&mut self, p: &Program, image: &[u8]) {
        self.cpu.pins().clear(pins::INTR);
        self.cpu.memory().dma_write(0, image);
        p.prepare(&mut self.cpu);
        self.bus.base = self.cpu.retired();
        self.bus.code = p.start.into();
        self.bus.seen.clear();
        self.bus.hash = 0;
    }

    fn seen(&self, exit: &Exit) -> Seen {
        let s = &self.cpu.state;
        let exit = match exit {
            Exit::TripleFault(t) => format!("triple fault {:?}", t.chain),
            other => format!("{other:x?}"),
        };
        Seen {
            exit,
            retired: self.cpu.retired() - self.bus.base,
            rip: format!("{:x}", s.rip),
            regs: std::array::from_fn(|n| format!("r{n} {:x}", s.slots[n])),
            eflags: format!("{:x}", s.eflags()),
            bits: (s.mode, s.cpl, [s.halted, s.sti_shadow, s.ss_shadow, s.nmi_blocked], s.pending_debug),
            segs: std::array::from_fn(|n| match n {
                6 => s.ldtr,
                7 => s.tr,
                _ => s.segs[n],
            }),
            tables: (s.gdtr, s.idtr),
            cr: [s.cr0, s.cr2, s.cr3, s.cr4],
            dr: s.dr,
            fpu: s.fpu.clone(),
            vectors: std::array::from_fn(|n| s.vectors[n]),
            mxcsr: s.mxcsr,
            devices: (self.bus.hash, self.bus.seen.clone()),
        }
    }

    fn slice(&mut self, n: u64, event: &Event, places: &[u32]) -> (Seen, bool) {
        let exit = self.cpu.run(&mut self.bus, n);
        if self.background {
            // A program of some hundred instructions would be over before its first region is there.
            std::thread::sleep(Duration::from_micros(300));
        }
        let seen = self.seen(&exit);
        let s = &mut self.cpu.state;
        let goes_on = match exit {
            Exit::TripleFault(_) => false,
            Exit::Exception(f) if matches!(f.vector, 1 | 3 | 4) => true,
            Exit::Exception(_) => {
                s.rip = u64::from(places[seen.retired as usize % places.len()]);
                s.set_gpr(slot::RSP, 0x5000 + s.gpr(slot::RSP) % 64);
                true
            }
            Exit::Halted => {
                self.bus.pins.set_intr(true);
                s.sys_flags & eflags::IF != 0
            }
            _ => true,
        };
        match event {
            Event::Nothing => {}
            Event::Interrupt => self.bus.pins.set_intr(true),
            Event::Dma(at, bytes) => self.bus.mem.dma_write(*at, bytes),
        }
        (seen, goes_on)
    }

    fn ram(&self) -> Vec<u8> {
        let mut out = vec![0; RAM];
        self.cpu.memory().ram().read_bytes(0, &mut out);
        out
    }
}

/// Runs `p` on both machines. The first difference, or `None`.
pub fn compare(p: &Program, model: &mut Machine, other: &mut Machine) -> Option<String> {
    let image = p.image();
    let (places, _) = p.layout();
    model.begin(p, &image);
    other.begin(p, &image);
    for (i, (n, event)) in p.slices.iter().enumerate() {
        let (a, goes_on) = model.slice(*n, event, &places);
        let (b, _) = other.slice(*n, event, &places);
        if a != b {
            return Some(format!("slice {i} of {n} instructions:\n{}", differing(&a, &b)));
        }
        if !goes_on {
            break;
        }
    }
    let (a, b) = (model.ram(), other.ram());
    let at = a.iter().zip(&b).position(|(x, y)| x != y)?;
    Some(format!("RAM at {at:05x}: {:02x?} and {:02x?}", &a[at..(at + 8).min(RAM)], &b[at..(at + 8).min(RAM)]))
}

fn differing(a: &Seen, b: &Seen) -> String {
    let (a, b) = (format!("{a:#x?}"), format!("{b:#x?}"));
    let lines = a.lines().zip(b.lines()).filter(|(x, y)| x != y).take(24);
    lines.map(|(x, y)| format!("  {:40} {}", x.trim(), y.trim())).collect::<Vec<_>>().join("\n")
}

/// Drops pieces and slices as long as the difference stays, on fresh machines.
pub fn minimise(p: &Program, name: &'static str, config: Config) -> (Program, Option<String>) {
    let differs =
        |p: &Program| compare(p, &mut Machine::new("interpreter", None), &mut Machine::new(name, Some(config)));
    let mut best = p.clone();
    let Some(mut why) = differs(&best) else { return (best, None) };
    let mut n = best.pieces.len();
    while n > 0 {
        for from in (0..best.pieces.len()).step_by(n) {
            let mut less = best.clone();
            let to = (from + n).min(less.pieces.len());
            if less.pieces[from..to].iter().all(|p| p.bytes.is_empty()) {
                continue;
            }
            less.pieces[from..to].fill(Piece::default());
            if let Some(w) = differs(&less) {
                (best, why) = (less, w);
            }
        }
        n /= 2;
    }
    for i in (0..best.slices.len()).rev() {
        let mut less = best.clone();
        less.slices.remove(i);
        if let Some(w) = differs(&less) {
            (best, why) = (less, w);
        }
    }
    (best, Some(why))
}

/// The program as people read it.
pub fn disassemble(p: &Program) -> String {
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
    let (places, bytes) = p.layout();
    let bits = if p.code_base() != 0 { 16 } else { 32 };
    let mut d = Decoder::with_ip(bits, &bytes, places[0].into(), DecoderOptions::NONE);
    let (mut f, mut out) = (
        IntelFormatter::new(),
        format!("{:?} cut {:?} slices {:?} regs {:x?} fill {:x}\n", p.setup, p.cut, p.slices, p.regs, p.fill),
    );
    while d.can_decode() {
        let i = d.decode();
        let mut text = String::new();
        f.format(&i, &mut text);
        let at = (i.ip() - u64::from(places[0])) as usize;
        out += &format!(
            "{:05x}  {:24} {text}\n",
            i.ip(),
            bytes[at..at + i.len()].iter().map(|b| format!("{b:02x}")).collect::<String>()
        );
    }
    out
}
