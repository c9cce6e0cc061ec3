//! The parts of tier 0: decoding and lifting, dispatch of short blocks, flags, the memory path, and REP strings.
//!
//! Throughput is in guest instructions (or bytes) a second. Compare before and after a change on the same machine:
//! `cargo bench -p ring86-benches -- --save-baseline before`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iced_x86::code_asm::*;
use ring86_translator::state::{Segment, attr, cr, slot};
use ring86_translator::{Cpu, Memory, Model, NullBus, Pins};
use std::hint::black_box;
use std::sync::Arc;

const CODE: u64 = 0x1000;
const DATA: u32 = 0x10_0000;
const ROUNDS: u32 = 100_000;

/// A processor in flat 32-bit protected mode with `code` loaded.
fn cpu(code: &[u8]) -> Cpu {
    let pins = Arc::new(Pins::default());
    let mem = Arc::new(Memory::flat(8 << 20, pins.clone()).expect("8 MiB of memory"));
    mem.ram().write_bytes(CODE as usize, code);
    let mut cpu = Cpu::new(Model::Max, mem, pins);
    let data = attr::P | attr::S | attr::RW | attr::ACCESSED | attr::DB | attr::G;
    cpu.state.segs = [Segment { base: 0, limit: u32::MAX, attr: data, selector: 0x10 }; 6];
    cpu.state.segs[1] = Segment { base: 0, limit: u32::MAX, attr: data | attr::CODE, selector: 8 };
    cpu.state.cr0 |= cr::PE;
    cpu.state.update_mode();
    cpu.flush();
    cpu.intercept = true;
    cpu
}

fn assemble(f: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let mut a = CodeAssembler::new(32).expect("32-bit code");
    f(&mut a).expect("valid instructions");
    a.assemble(CODE).expect("encodable")
}

/// `body` in a loop of [`ROUNDS`] rounds, ended by UD2.
fn looped(body: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    assemble(|a| {
        let mut top = a.create_label();
        a.mov(ecx, ROUNDS)?;
        a.mov(esi, DATA)?;
        a.set_label(&mut top)?;
        body(a)?;
        a.dec(ecx)?;
        a.jne(top)?;
        a.ud2()
    })
}

fn run(cpu: &mut Cpu) -> u64 {
    let before = cpu.retired();
    cpu.state.rip = CODE;
    cpu.state.set_gpr(slot::RSP, 0x8_0000);
    black_box(cpu.run(&mut NullBus, u64::MAX));
    cpu.retired() - before
}

fn loops(c: &mut Criterion) {
    let mut group = c.benchmark_group("run");
    group.sample_size(20);
    let mut bench = |name: &str, code: Vec<u8>| {
        let mut cpu = cpu(&code);
        let instructions = run(&mut cpu);
        group.throughput(Throughput::Elements(instructions));
        group.bench_function(name, |b| b.iter(|| run(&mut cpu)));
    };
    bench(
        "alu",
        looped(|a| {
            a.mov(eax, ecx)?;
            a.shr(eax, 3)?;
            a.xor(ebx, eax)?;
            a.add(edx, ebx)?;
            a.lea(edi, ptr(edx + ebx * 4 + 8))
        }),
    );
    bench(
        "flags",
        looped(|a| {
            a.add(eax, ebx)?;
            a.adc(edx, ecx)?;
            a.cmp(eax, edx)?;
            a.setl(bl)?;
            a.cmovb(eax, edx)
        }),
    );
    bench(
        "memory",
        looped(|a| {
            a.mov(eax, dword_ptr(esi))?;
            a.add(eax, ecx)?;
            a.mov(dword_ptr(esi + 64), eax)?;
            a.movzx(edx, byte_ptr(esi + 3))?;
            a.add(dword_ptr(esi + 128), edx)
        }),
    );
    bench(
        "calls",
        looped(|a| {
            let mut f = a.create_label();
            let mut over = a.create_label();
            a.call(f)?;
            a.jmp(over)?;
            a.set_label(&mut f)?;
            a.push(ebp)?;
            a.mov(ebp, esp)?;
            a.pop(ebp)?;
            a.ret()?;
            a.set_label(&mut over)?;
            a.inc(eax)
        }),
    );
    group.finish();
}

fn strings(c: &mut Criterion) {
    let bytes = 1u32 << 20;
    let code = assemble(|a| {
        a.mov(esi, DATA)?;
        a.mov(edi, DATA + (2 << 20))?;
        a.mov(ecx, bytes / 4)?;
        a.rep().movsd()?;
        a.ud2()
    });
    let mut cpu = cpu(&code);
    let mut group = c.benchmark_group("rep");
    group.throughput(Throughput::Bytes(bytes.into()));
    group.bench_function("movsd", |b| b.iter(|| run(&mut cpu)));
    group.finish();
}

fn lift(c: &mut Criterion) {
    // A page of straight code that is thrown away before each round by a write to it.
    let body: Vec<u8> = assemble(|a| {
        for _ in 0..200 {
            a.mov(eax, dword_ptr(esi + 4))?;
            a.add(eax, ebx)?;
            a.push(eax)?;
            a.pop(edx)?;
        }
        a.ud2()
    });
    let mut cpu = cpu(&body);
    cpu.state.set_gpr(slot::RSI, DATA.into());
    let instructions = run(&mut cpu);
    let mut group = c.benchmark_group("lift");
    group.throughput(Throughput::Elements(instructions));
    group.bench_function("decode, lift and run once", |b| {
        b.iter(|| {
            cpu.memory().dma_write(CODE, &body);
            run(&mut cpu)
        });
    });
    group.finish();
}

criterion_group!(benches, loops, strings, lift);
criterion_main!(benches);
