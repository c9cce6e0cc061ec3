//! A million programs of random bytes in wild surroundings: the processor answers in the architectural way, in bounded
//! time, and never panics. Debug builds check every arithmetic overflow on the way. And what let guests out of other
//! emulators, from inside a machine with the devices and without them.

#[path = "support/patience.rs"]
mod patience;

use iced_x86::IcedError;
use iced_x86::code_asm::*;
use patience::PATIENCE;
use ring86::config::MachineConfig;
use ring86::drives::Bay;
use ring86::machine::{Machine, Outcome};
use ring86::storage::Image;
use ring86_translator::state::{Segment, TableReg, attr, cr, eflags};
use ring86_translator::{Bus, Cpu, Exit, Memory, Model, Pins};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const PROGRAMS: u64 = 1_000_000;
const RAM: u64 = 1 << 20;
const DEBUG_EXIT: u16 = 0xf4;
/// Instructions that a program may run.
const BUDGET: u64 = 60;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    /// A 32-bit value with a liking for edges.
    fn edge(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => self.below(32),
            2 => 0xffff_ffff - self.below(32),
            3 => 0x7fff_fff0 + self.below(32),
            4 => self.below(RAM),
            5 => RAM - 16 + self.below(32),
            6 => self.below(256) << 12 | 0xff0 | self.below(16),
            _ => self.next() & 0xffff_ffff,
        }
    }
}

/// Devices that answer anything.
struct Noise(Random);

impl Bus for Noise {
    fn port_read(&mut self, _: u64, _: u16, size: u8) -> u32 {
        self.0.next() as u32 >> (32 - 8 * u32::from(size))
    }
    fn port_write(&mut self, _: u64, _: u16, _: u8, _: u32) {}
    fn mem_read(&mut self, _: u64, _: u64, size: u8) -> u64 {
        self.0.next() >> (64 - 8 * u32::from(size))
    }
    fn mem_write(&mut self, _: u64, _: u64, _: u8, _: u64) {}
    fn acknowledge(&mut self, _: u64) -> u8 {
        self.0.next() as u8
    }
    fn tsc(&mut self, retired: u64) -> u64 {
        retired
    }
}

/// Beginnings of instructions that reach deep into the system.
const DEEP: [&[u8]; 44] = [
    &[0x0f, 0x00],
    &[0x0f, 0x01],
    &[0x0f, 0x02],
    &[0x0f, 0x03],
    &[0x0f, 0x06],
    &[0x0f, 0x20],
    &[0x0f, 0x21],
    &[0x0f, 0x22],
    &[0x0f, 0x23],
    &[0x0f, 0x30],
    &[0x0f, 0x32],
    &[0x0f, 0x34],
    &[0x0f, 0x35],
    &[0x0f, 0xa2],
    &[0x0f, 0xae],
    &[0x0f, 0xb2],
    &[0x0f, 0xc7],
    &[0x0f, 0x0d],
    &[0x8e],
    &[0x8c],
    &[0x9a],
    &[0xea],
    &[0xcf],
    &[0xcb],
    &[0xca],
    &[0xcd],
    &[0xcc],
    &[0xce],
    &[0xf1],
    &[0xf4],
    &[0xfb],
    &[0x9d],
    &[0xc8],
    &[0xc9],
    &[0x62],
    &[0x63],
    &[0xff],
    &[0xf3, 0xa4],
    &[0xf3, 0xab],
    &[0xf2, 0xae],
    &[0xf3, 0x6d],
    &[0xf3, 0x6f],
    &[0xd9],
    &[0xdb],
];

fn program(r: &mut Random) -> Vec<u8> {
    let mut code = Vec::new();
    for _ in 0..4 + r.below(16) {
        if r.chance(6) {
            code.push([0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65][r.below(11) as usize]);
        }
        match r.below(3) {
            0 => code.extend(DEEP[r.below(DEEP.len() as u64) as usize]),
            1 => code.push(0x0f),
            _ => {}
        }
        for _ in 0..r.below(9) {
            code.push(r.next() as u8);
        }
    }
    code
}

/// A descriptor that is sometimes sensible.
fn descriptor(r: &mut Random) -> u64 {
    match r.below(6) {
        0 => r.next(),
        // Flat or small, any type and privilege.
        1 | 2 => 0x00cf_0000_0000_ffff | r.below(256) << 40,
        3 => 0x0040_0000_0000_ffff | r.below(256) << 40 | r.below(16) << 28,
        // Gates to a selector in the table.
        4 => r.below(256) << 40 | r.below(64) << 16 | (r.edge() & 0xffff) | (r.edge() & 0xf) << 48,
        // Task state segments.
        _ => 0x0000_8900_0000_0067 | r.below(RAM) << 16,
    }
}

fn segment(r: &mut Random, code: bool) -> Segment {
    let flat = !r.chance(4);
    let kind = if code { attr::REAL_CODE } else { attr::REAL_DATA };
    let wild = (r.next() as u32) & attr::MASK & !attr::L;
    Segment {
        base: if flat { 0 } else { r.edge() },
        limit: if flat { u32::MAX } else { r.edge() as u32 },
        attr: if flat { kind | attr::G | if r.chance(3) { 0 } else { attr::DB } } else { wild | attr::P | kind },
        selector: r.next() as u16,
    }
}

/// Fills memory with tables and the program, and sets the registers.
fn prepare(cpu: &mut Cpu, r: &mut Random) {
    let memory = Arc::clone(cpu.memory());
    let write64 = |at: u64, v: u64| memory.dma_write(at, &v.to_le_bytes());
    let at = r.below(16) << 12 | if r.chance(3) { 0xff0 + r.below(16) } else { r.below(0x1000) };
    memory.dma_write(0x2_0000 + at, &program(r));
    for i in 0..64 {
        if r.chance(4) {
            write64(0x1_0000 + i * 8, descriptor(r));
            write64(0x1_1000 + i * 8, descriptor(r));
        }
    }
    // Page tables at 4_0000h whose entries point anywhere, often at themselves.
    for _ in 0..32 {
        let entry = match r.below(4) {
            0 => 0x4_0000 | r.below(16) << 12 | r.below(512),
            1 => r.next(),
            _ => r.below(256) << 12 | 0x67 | r.below(2) << 7,
        };
        let table = 0x4_0000 + (r.below(16) << 12) + r.below(1024) * 4;
        memory.dma_write(table, &(entry as u32).to_le_bytes());
    }
    cpu.reset();
    let s = &mut cpu.state;
    for n in 0..8 {
        s.set_gpr(n, r.edge());
    }
    s.rip = 0x2_0000 + at;
    let mut flags = r.next() as u32 & 0x0025_7fd5;
    if r.chance(4) {
        flags |= eflags::TF;
    }
    if r.chance(2) {
        // Real mode.
        for segment in &mut s.segs {
            *segment = Segment::real(r.next() as u16);
        }
        s.segs[1] = Segment { attr: attr::REAL_CODE, ..Segment::real(((0x2_0000 + at) >> 4) as u16) };
        s.rip = at & 15;
        s.set_gpr(4, r.edge() & 0xffff);
    } else {
        s.cr0 = cr::PE | cr::ET | (r.next() & (cr::MP | cr::EM | cr::TS | cr::NE | cr::WP | cr::AM));
        s.cr4 = r.next() & 0x6ff;
        s.cr3 = 0x4_0000 | r.below(16) << 12;
        s.efer = r.next() & cr::EFER_NXE;
        if r.chance(2) {
            s.cr0 |= cr::PG;
            for entry in &mut s.pdpte {
                *entry = 0x4_0001 | r.below(16) << 12;
            }
        }
        for i in 0..6 {
            s.segs[i] = segment(r, i == 1);
        }
        s.cpl = [0, 0, 0, 3, 3, 1][r.below(6) as usize];
        if r.chance(8) {
            flags |= eflags::VM;
            s.cpl = 3;
            for segment in &mut s.segs {
                *segment = Segment { attr: attr::REAL_DATA | 3 << 13, ..Segment::real(r.next() as u16) };
            }
        }
        s.gdtr = TableReg { base: 0x1_0000, limit: if r.chance(8) { r.next() as u16 } else { 0x1ff } };
        s.idtr = TableReg { base: 0x1_1000, limit: if r.chance(8) { r.next() as u16 } else { 0x1ff } };
        s.tr = Segment { base: r.below(RAM), limit: r.edge() as u32, attr: attr::P | 0xb << 8, selector: 0x28 };
        s.ldtr = Segment { base: 0x1_0000, limit: 0x1ff, attr: attr::P | 2 << 8, selector: 0x30 };
        if r.chance(4) {
            for i in [0, 1, 2, 3, 7] {
                s.dr[i] = r.edge();
            }
        }
    }
    s.set_eflags(flags);
    s.update_mode();
    cpu.flush();
}

/// Runs the programs of one seed. Returns how many shut the processor down.
fn run(seed: u64, programs: u64, model: Model) -> u64 {
    let mut r = Random(seed);
    let pins = Arc::new(Pins::default());
    let memory = Arc::new(Memory::flat(RAM as usize, Arc::clone(&pins)).expect("the host has a megabyte"));
    let mut cpu = Cpu::new(model, memory, Arc::clone(&pins));
    let mut bus = Noise(Random(seed ^ 0x5555));
    let mut shutdowns = 0;
    for n in 0..programs {
        prepare(&mut cpu, &mut r);
        pins.set_intr(r.chance(8));
        if r.chance(64) {
            pins.set_a20(r.chance(2));
        }
        let start = Instant::now();
        let before = cpu.retired();
        let exit = cpu.run(&mut bus, BUDGET);
        let ran = cpu.retired() - before;
        assert!(start.elapsed() < PATIENCE, "program {n} of seed {seed:#x} ran for {:?}", start.elapsed());
        // A block may run to its end past the budget.
        assert!(ran < BUDGET + 4096, "program {n} of seed {seed:#x} ran {ran} instructions");
        if let Exit::TripleFault(fault) = exit {
            assert!(fault.chain.len() >= 2 && !fault.report.is_empty(), "program {n} of seed {seed:#x}: {fault:?}");
            shutdowns += 1;
        }
        let mode = cpu.state.mode;
        cpu.state.update_mode();
        assert_eq!(cpu.state.mode, mode, "program {n} of seed {seed:#x} left stale mode bits");
    }
    shutdowns
}

#[test]
fn a_million_random_programs() {
    let models = [Model::Max, Model::P3, Model::Max, Model::I486, Model::Max, Model::I386, Model::Max, Model::Pentium];
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let (next, shutdowns) = (AtomicU64::new(0), AtomicU64::new(0));
    let parts = 64;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let part = next.fetch_add(1, Ordering::Relaxed);
                    if part >= parts {
                        return;
                    }
                    let seed = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(part + 1);
                    let count = PROGRAMS.div_ceil(parts);
                    shutdowns.fetch_add(run(seed, count, models[part as usize % models.len()]), Ordering::Relaxed);
                }
            });
        }
    });
    // The surroundings are wild enough to shut the processor down, and tame enough not to do so always.
    let shutdowns = shutdowns.into_inner();
    assert!((PROGRAMS / 100..PROGRAMS).contains(&shutdowns), "{shutdowns} shutdowns");
}

/// A ROM in place of the firmware that does to floppy controller, IDE channels and display what let guests out of other
/// emulators (CVE-2015-3456, CVE-2015-5154, CVE-2014-9718, CVE-2016-3710, CVE-2016-3712), and then says through port 80h
/// what answered: IDE's status of both masters, and the display interface's identity.
fn escapes() -> Vec<u8> {
    fn code(a: &mut CodeAssembler) -> Result<(), IcedError> {
        let out8 = |a: &mut CodeAssembler, port: u32, value: u32| {
            a.mov(dx, port)?;
            a.mov(al, value)?;
            a.out(dx, al)
        };
        let out16 = |a: &mut CodeAssembler, port: u32, value: u32| {
            a.mov(dx, port)?;
            a.mov(ax, value)?;
            a.out(dx, ax)
        };
        let configure = |a: &mut CodeAssembler, address: u32, value: u32| {
            for (port, value) in [(0xcf8u32, address), (0xcfc, value)] {
                a.mov(dx, port)?;
                a.mov(eax, value)?;
                a.out(dx, eax)?;
            }
            Ok::<(), IcedError>(())
        };
        a.cli()?;
        a.cld()?;
        a.mov(ax, cs)?;
        a.mov(ds, ax)?;
        a.mov(ax, 0x2000u32)?;
        a.mov(es, ax)?;
        // IDE at slot 1, function 1: its ports, bus mastering at C000h. The display at slot 2: its memory at E0000000h.
        for (address, value) in [
            (0x8000_0904u32, 5u32),
            (0x8000_0920, 0xc000),
            (0x8000_0940, 0x8000_8000),
            (0x8000_1010, 0xe000_0000),
            (0x8000_1004, 3),
        ] {
            configure(a, address, value)?;
        }
        for command in [0x0a, 0x4a, 0x8e, 0x0e] {
            out8(a, 0x3f2, 0)?;
            out8(a, 0x3f2, 0x1c)?;
            out8(a, 0x3f5, command)?;
            a.mov(cx, 0xffffu32)?;
            a.xor(si, si)?;
            a.rep().outsb()?;
        }
        for base in [0x1f0, 0x170] {
            for command in [0xec, 0xa1, 0x20, 0x30, 0xc4, 0xa0, 0xe8, 0xc8, 0x35] {
                for register in 1..6 {
                    out8(a, base + register, if register == 2 { 0xff } else { 1 })?;
                }
                out8(a, base + 6, 0xe0)?;
                out8(a, base + 7, command)?;
                out8(a, 0xc000, 9)?;
                out8(a, 0xc008, 9)?;
                a.mov(dx, base)?;
                a.mov(cx, 0x4000u32)?;
                a.xor(di, di)?;
                a.rep().insw()?;
                a.mov(cx, 0x4000u32)?;
                a.xor(si, si)?;
                a.rep().outsw()?;
                out8(a, 0xc000, 0)?;
                out8(a, 0xc008, 0)?;
            }
            out8(a, base + 0x206, 4)?;
            out8(a, base + 0x206, 0)?;
        }
        a.mov(ax, 0xa000u32)?;
        a.mov(es, ax)?;
        for bits in [4, 8, 32] {
            for bank in [0x10, 0x1ff, 0xffff] {
                for (register, value) in
                    [(4, 0), (1, 2560), (2, 1600), (3, bits), (4, 0x41), (6, 0xffff), (9, 0xffff), (5, bank)]
                {
                    out16(a, 0x1ce, register)?;
                    out16(a, 0x1cf, value)?;
                }
                for register in [0x0c, 0x0d, 0x11, 0x13] {
                    out16(a, 0x3d4, if register == 0x11 { 0x11 } else { 0xff00 | register })?;
                }
                a.mov(cx, 0xffffu32)?;
                a.xor(di, di)?;
                a.rep().stosb()?;
                a.push(ds)?;
                a.push(es)?;
                a.pop(ds)?;
                a.mov(cx, 0xffffu32)?;
                a.xor(si, si)?;
                a.rep().lodsb()?;
                a.pop(ds)?;
            }
        }
        for port in [0x1f7u32, 0x177] {
            a.mov(dx, port)?;
            a.in_(al, dx)?;
            a.out(0x80u32, al)?;
        }
        out16(a, 0x1ce, 0)?;
        a.mov(dx, 0x1cfu32)?;
        a.in_(ax, dx)?;
        a.out(0x80u32, al)?;
        a.mov(al, ah)?;
        a.out(0x80u32, al)?;
        out8(a, DEBUG_EXIT.into(), 0)?;
        a.hlt()
    }
    let mut a = CodeAssembler::new(16).expect("16-bit code");
    code(&mut a).expect("the code is right");
    let mut rom = a.assemble(0).expect("the code is right");
    assert!(rom.len() < 0xfff0);
    rom.resize(0x1_0000, 0x5a);
    // The reset vector: jmp F000:0000.
    rom[0xfff0..0xfff5].copy_from_slice(&[0xea, 0, 0, 0, 0xf0]);
    rom
}

#[test]
fn what_let_guests_out_of_others_with_the_devices_there_and_absent() {
    let disk = || Image::memory(vec![0x5a; 1 << 20], false);
    for (drives, display) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut config = MachineConfig::new();
        config.ram = 4 << 20;
        config.debug_exit = Some(DEBUG_EXIT);
        config.test_ports.post = Some(0x80);
        config.rom = Some(escapes());
        config.display = display;
        if drives {
            config.drives.floppies = [(); 2].map(|()| Bay::Loaded(Image::memory(vec![0; 1440 << 10], false)));
            config.drives.disks = vec![disk(), disk()];
            config.drives.cd = Bay::Loaded(Image::memory(vec![0; 2048 * 100], true));
        }
        let mut machine = Machine::new(config).expect("the host has memory for a test machine");
        let end = machine.run_until(|_| false, 60_000_000_000);
        assert!(matches!(end, Err(Outcome::DebugExit(0))), "drives {drives}, display {display}: {end:?}");
        let status = if drives { [0x50, 0x00] } else { [0x7f; 2] };
        let identity: u16 = if display { 0xb0c5 } else { 0xffff };
        assert_eq!(
            machine.post_codes(),
            [status, identity.to_le_bytes()].concat(),
            "drives {drives}, display {display}"
        );
        let frame = machine.frame();
        assert_eq!(frame.rgb.len(), frame.width * frame.height * 3);
        machine.screen_text();
    }
}
