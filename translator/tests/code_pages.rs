//! Guests that are hard on a translator: data beside code, stack beside code, descriptors that change under the segment
//! registers, code that is rewritten for ever, code without end.
//!
//! `RING86_BLOCKS` is the number of pieces of code that the last of them makes: with ten million, in a release build,
//! `RING86_BLOCKS=10000000 cargo test --release -p ring86-translator --test code_pages -- --nocapture`.

use iced_x86::code_asm::*;
use ring86_translator::engine::{Config, Mmu, TierStats};
use ring86_translator::state::{Segment, attr, cr, slot};
use ring86_translator::{Bus, Cpu, Exit, Memory, Model, Pins};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CODE: u64 = 0x1000;
const RAM: usize = 32 << 20;

/// Counts what the guest says, and remembers the last of it.
#[derive(Default)]
struct Listener {
    heard: u64,
    last: u32,
}

impl Bus for Listener {
    fn port_read(&mut self, _: u64, _: u16, _: u8) -> u32 {
        u32::MAX
    }
    fn port_write(&mut self, _: u64, _: u16, _: u8, value: u32) {
        self.heard += 1;
        self.last = value;
    }
    fn mem_read(&mut self, _: u64, _: u64, _: u8) -> u64 {
        u64::MAX
    }
    fn mem_write(&mut self, _: u64, _: u64, _: u8, _: u64) {}
    fn acknowledge(&mut self, _: u64) -> u8 {
        0
    }
    fn tsc(&mut self, retired: u64) -> u64 {
        retired
    }
}

struct Ran {
    cpu: Cpu,
    bus: Listener,
    /// What this thread took.
    time: Duration,
}

/// Time that this thread has had so far, if the host tells.
fn thread_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0))
}

impl Ran {
    fn stats(&self) -> TierStats {
        self.cpu.tier_stats().unwrap_or_default()
    }

    fn gpr(&self, n: u8) -> u32 {
        self.cpu.state.gpr(n) as u32
    }
}

/// Runs a program in flat 32-bit code until it halts.
fn run(config: Option<Config>, program: impl Fn(&mut CodeAssembler) -> Result<(), IcedError>) -> Ran {
    let mut a = CodeAssembler::new(32).expect("32-bit code");
    program(&mut a).expect("valid instructions");
    let code = a.assemble(CODE).expect("encodable");
    let pins = Arc::new(Pins::default());
    let mem = Arc::new(Memory::flat(RAM, pins.clone()).expect("memory"));
    mem.ram().write_bytes(CODE as usize, &code);
    let mut cpu = Cpu::new(Model::Max, mem, pins);
    let data = attr::P | attr::S | attr::RW | attr::ACCESSED | attr::DB | attr::G;
    cpu.state.segs = [Segment { base: 0, limit: u32::MAX, attr: data, selector: 0x10 }; 6];
    cpu.state.segs[1] = Segment { base: 0, limit: u32::MAX, attr: data | attr::CODE, selector: 8 };
    cpu.state.cr0 |= cr::PE;
    cpu.state.update_mode();
    cpu.flush();
    cpu.intercept = true;
    cpu.state.rip = CODE;
    cpu.state.set_gpr(slot::RSP, 0x10_0000);
    if let Some(config) = config {
        cpu.enable_translator(config).expect("a host with a code generator");
    }
    let mut bus = Listener::default();
    let (begun, before) = (Instant::now(), thread_time());
    loop {
        match cpu.run(&mut bus, 100_000_000) {
            Exit::Budget => assert!(begun.elapsed().as_secs() < 3600, "the guest does not come to its end"),
            Exit::Halted => break,
            other => panic!("the program ends in HLT, not {other:?}"),
        }
    }
    Ran { cpu, bus, time: thread_time().saturating_sub(before) }
}

fn both_mmus() -> [Config; 2] {
    let base = Config { synchronous: true, ..Config::default() };
    [base, Config { mmu: Mmu::Table, ..base }]
}

/// Compiled code loads a segment register without the host as long as its descriptor is the one it was loaded from.
#[test]
fn a_segment_is_loaded_anew_when_its_descriptor_or_its_table_has_changed() {
    const GDT: u32 = 0x8000;
    const OTHER: u32 = 0x8040;
    let program = |a: &mut CodeAssembler| {
        let (mut again, mut kept, mut same) = (a.create_label(), a.create_label(), a.create_label());
        // Selector 18h: data at 0, and in the other table at 2000h.
        for (table, base) in [(GDT, 0u32), (OTHER, 0x2000)] {
            a.mov(dword_ptr(table + 0x18), (base << 16 | 0xffff) as i32)?;
            a.mov(dword_ptr(table + 0x1c), 0x00cf_9300)?;
            a.mov(word_ptr(table + 0x20), 0x1f)?;
            a.mov(dword_ptr(table + 0x22), table as i32)?;
        }
        a.lgdt(fword_ptr(GDT + 0x20))?;
        for (at, value) in [(0xa000, 1), (0xb000, 0x100), (0xc000, 0x1_0000)] {
            a.mov(dword_ptr(at), value)?;
        }
        a.mov(ecx, 300)?;
        a.xor(ebx, ebx)?;
        a.set_label(&mut again)?;
        a.mov(eax, 0x18)?;
        a.mov(es, eax)?;
        a.add(ebx, dword_ptr(0xa000).es())?;
        a.cmp(ecx, 201)?;
        a.jne(kept)?;
        a.mov(word_ptr(GDT + 0x1a), 0x1000)?;
        a.set_label(&mut kept)?;
        a.cmp(ecx, 101)?;
        a.jne(same)?;
        a.lgdt(fword_ptr(OTHER + 0x20))?;
        a.set_label(&mut same)?;
        a.dec(ecx)?;
        a.jne(again)?;
        a.hlt()
    };
    let configs =
        both_mmus().into_iter().flat_map(|c| [true, false].map(|q| Config { quick_first: q, threshold: 3, ..c }));
    for config in std::iter::once(None).chain(configs.map(Some)) {
        let ran = run(config, program);
        assert_eq!(ran.gpr(slot::RBX), 100 + 100 * 0x100 + 100 * 0x1_0000, "{config:?}");
        assert!(config.is_none() || ran.stats().retired > 500, "{:?}", ran.stats());
    }
}

/// Enough to make compilation small beside it.
const ROUNDS: u32 = 5_000_000;

/// A loop with two stores, a read-modify-write and a load, at `data`.
fn storing(a: &mut CodeAssembler, data: u32) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.mov(ecx, ROUNDS)?;
    a.mov(ebx, data)?;
    a.set_label(&mut again)?;
    a.mov(dword_ptr(ebx), ecx)?;
    a.mov(byte_ptr(ebx + 5), cl)?;
    a.add(dword_ptr(ebx + 8), ecx)?;
    a.add(eax, dword_ptr(ebx + 8))?;
    a.dec(ecx)?;
    a.jnz(again)?;
    a.hlt()
}

#[test]
fn data_beside_code_costs_little_more_than_elsewhere() {
    let expected = run(None, |a| storing(a, 0x8000)).gpr(0);
    for config in both_mmus() {
        let far = run(Some(config), |a| storing(a, 0x8000));
        // In the page, and in the eight bytes behind the loop.
        for (place, least) in [(0x1800, 10_000), (0x1020, u64::MAX)] {
            let near = run(Some(config), |a| storing(a, place));
            println!("{:?}, data at {place:x}: {:?}, elsewhere {:?}", config.mmu, near.time, far.time);
            assert_eq!(near.gpr(0), expected);
            let s = near.stats();
            assert!(s.exits[1] < 20_000, "{:?} leaves for the interpreter all the time: {s:?}", config.mmu);
            assert!(s.exits[4] < least, "{:?} stops all the time: {s:?}", config.mmu);
            assert!(s.retired > u64::from(ROUNDS) * 5, "hardly anything ran in compiled code: {s:?}");
        }
    }
}

#[test]
fn a_stack_beside_code_costs_little_more_than_elsewhere() {
    let program = |a: &mut CodeAssembler, stack: u32| {
        let (mut again, mut f) = (a.create_label(), a.create_label());
        a.mov(esp, stack)?;
        a.mov(ecx, ROUNDS)?;
        a.set_label(&mut again)?;
        a.push(ecx)?;
        a.push(eax)?;
        a.call(f)?;
        a.pop(edx)?;
        a.pop(edx)?;
        a.dec(ecx)?;
        a.jnz(again)?;
        a.hlt()?;
        a.set_label(&mut f)?;
        a.add(eax, dword_ptr(esp + 8))?;
        a.ret()
    };
    let expected = run(None, |a| program(a, 0x9000)).gpr(0);
    for config in both_mmus() {
        let far = run(Some(config), |a| program(a, 0x9000));
        let near = run(Some(config), |a| program(a, 0x1f00));
        println!("{:?}, stack beside code: {:?}, elsewhere {:?}", config.mmu, near.time, far.time);
        assert_eq!(near.gpr(0), expected);
        let s = near.stats();
        assert!(s.exits[1] < 20_000, "{:?} leaves for the interpreter all the time: {s:?}", config.mmu);
    }
}

#[test]
fn code_that_is_rewritten_for_ever_is_not_compiled_for_ever() {
    // Every 1000 rounds of the inner loop its immediate changes.
    let program = |a: &mut CodeAssembler| {
        let (mut start, mut outer, mut inner) = (a.create_label(), a.create_label(), a.create_label());
        a.jmp(start)?;
        a.set_label(&mut inner)?;
        // add eax, 0, with the distance in its long form; it lies behind a short jump.
        a.db(&[0x05, 0, 0, 0, 0])?;
        a.dec(ecx)?;
        a.jnz(inner)?;
        a.dec(esi)?;
        a.jnz(outer)?;
        a.hlt()?;
        a.set_label(&mut start)?;
        a.mov(esi, 1000)?;
        a.set_label(&mut outer)?;
        a.mov(ecx, 1000)?;
        a.inc(dword_ptr(CODE as u32 + 3))?;
        a.jmp(inner)
    };
    let expected = run(None, program).gpr(0);
    let ran = run(Some(Config { synchronous: true, ..Config::default() }), program);
    let s = ran.stats();
    println!("rewritten 1000 times: {s:?}, {:?}", ran.time);
    assert_eq!(ran.gpr(0), expected);
    assert!(s.regions < 100, "compiled over and over: {s:?}");
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

#[test]
fn code_without_end_stays_within_bounds() {
    let blocks: u32 = std::env::var("RING86_BLOCKS").ok().and_then(|v| v.parse().ok()).unwrap_or(8_192);
    let full = blocks >= 1_000_000;
    // Functions of 16 bytes in 16 MiB, one after the other and round again: no two of them are the same. Every eighth is
    // called often enough to be compiled.
    let program = |a: &mut CodeAssembler| {
        let (mut make, mut again, mut on, mut quiet) =
            (a.create_label(), a.create_label(), a.create_label(), a.create_label());
        a.mov(edi, 0x40_0000)?;
        a.xor(esi, esi)?;
        a.set_label(&mut make)?;
        a.mov(byte_ptr(edi), 0xb8u32)?;
        a.mov(dword_ptr(edi + 1), esi)?;
        a.mov(dword_ptr(edi + 5), 0xc340u32)?;
        a.mov(ecx, 2)?;
        a.test(esi, 7)?;
        a.jnz(again)?;
        a.mov(ecx, 20)?;
        a.set_label(&mut again)?;
        a.call(edi)?;
        a.add(ebp, eax)?;
        a.dec(ecx)?;
        a.jnz(again)?;
        a.add(edi, 16)?;
        a.cmp(edi, 0x140_0000)?;
        a.jb(on)?;
        a.mov(edi, 0x40_0000)?;
        a.set_label(&mut on)?;
        a.inc(esi)?;
        a.test(esi, 0xfff)?;
        a.jnz(quiet)?;
        a.mov(eax, esi)?;
        a.out(0xe9, eax)?;
        a.set_label(&mut quiet)?;
        a.cmp(esi, blocks)?;
        a.jb(make)?;
        a.hlt()
    };
    let expected = (0..blocks).fold(0u32, |sum, n| {
        let calls = if n % 8 == 0 { 20 } else { 2 };
        sum.wrapping_add((n + 1).wrapping_mul(calls))
    });
    let before = resident();
    // Less than all of the code: old regions have to go.
    let config =
        Config { code_cache: 128 << 10, threshold: 10, synchronous: !full, optimise: false, ..Config::default() };
    let ran = run(Some(config), program);
    let grown = resident().saturating_sub(before);
    let s = ran.stats();
    println!("{blocks} pieces in {:?}: {} MiB more, {s:?}", ran.time, grown >> 20);
    assert_eq!(ran.gpr(slot::RBP), expected);
    assert_eq!((ran.bus.heard, ran.bus.last), (u64::from(blocks / 4096), blocks & !4095));
    assert!(s.regions > u64::from(if full { 1000 } else { blocks / 100 }), "hardly anything was compiled: {s:?}");
    assert!(s.flushes > 0, "the cache never filled: {s:?}");
    // RAM that the guest touched, the code, and what the translator knows about both.
    assert!(grown < (RAM as u64) + (300 << 20), "{} MiB more", grown >> 20);
}
