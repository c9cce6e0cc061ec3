//! Golden files: guest code, its operations and Cranelift's IR, in `translator/tests/golden/`. `RING86_BLESS=1` writes
//! them anew; what changed is then read in the diff.

use super::compile::{Effort, target};
use super::{Host, Mmu, lower};
use crate::block::{Block, End};
use crate::bus::NullBus;
use crate::cpu::Cpu;
use crate::mmu::Memory;
use crate::model::Model;
use crate::pins::Pins;
use crate::region::{Plan, PlanBlock, PlanPage};
use crate::state::{Segment, attr, cr};
use cranelift_codegen::ir::Function;
use cranelift_frontend::FunctionBuilderContext;
use iced_x86::code_asm::*;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

const CODE: u64 = 0x1000;

/// A flat 32-bit processor with `code` at [`CODE`].
fn cpu(code: &[u8]) -> Cpu {
    let pins = Arc::new(Pins::default());
    let mem = Arc::new(Memory::flat(1 << 20, Arc::clone(&pins)).expect("a megabyte"));
    mem.ram().write_bytes(CODE as usize, code);
    let mut cpu = Cpu::new(Model::Max, mem, pins);
    let data = attr::P | attr::S | attr::RW | attr::ACCESSED | attr::DB | attr::G;
    cpu.state.segs = [Segment { base: 0, limit: u32::MAX, attr: data, selector: 0x10 }; 6];
    cpu.state.segs[1].attr |= attr::CODE;
    cpu.state.cr0 |= cr::PE;
    cpu.state.update_mode();
    cpu.flush();
    cpu
}

/// A plan of all blocks that begin at `starts`, offsets from [`CODE`]; the first one is the anchor and the only entry
/// besides return sites.
fn plan(cpu: &mut Cpu, code: &[u8], starts: &[usize]) -> Plan {
    let mut blocks: Vec<PlanBlock> = Vec::new();
    for (n, start) in starts.iter().enumerate() {
        cpu.state.rip = CODE + *start as u64;
        let lin = cpu.state.rip;
        let b: Block = cpu.lift_block(&mut NullBus, lin, lin, u64::from(u32::MAX)).expect("the code can be fetched");
        let bytes = code.get(*start..(*start + b.len as usize).min(code.len())).unwrap_or_default().to_vec();
        let delta = *start as i32 - starts[0] as i32;
        blocks.push(PlanBlock {
            delta,
            ops: b.ops,
            marks: b.marks,
            bytes,
            resume: Vec::new(),
            end: b.end,
            entry: n == 0,
            targets: Vec::new(),
        });
    }
    for i in 0..blocks.len() {
        if matches!(blocks[i].end, End::Call | End::IndirectCall) {
            let site = blocks[i].delta + blocks[i].bytes.len() as i32;
            blocks.iter_mut().filter(|b| b.delta == site).for_each(|b| b.entry = true);
        }
    }
    let pages = vec![PlanPage { delta: -(starts[0] as i32), at: CODE }];
    Plan { mode: cpu.state.mode, model: Model::Max, fixed: None, blocks, pages, show: None, ids: Vec::new() }
}

/// Compares one case with its file.
fn golden(name: &str, mmu: Mmu, starts: &[usize], f: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) {
    let mut a = CodeAssembler::new(32).expect("32-bit code");
    f(&mut a).expect("valid instructions");
    let code = a.assemble(CODE).expect("encodable");
    let mut text = String::new();
    let mut decoder = iced_x86::Decoder::with_ip(32, &code, CODE, iced_x86::DecoderOptions::NONE);
    while decoder.can_decode() {
        let ins = decoder.decode();
        writeln!(text, "; {:04x} {ins}", ins.ip()).expect("a string takes everything");
    }
    let mut cpu = cpu(&code);
    let mut plan = plan(&mut cpu, &code, starts);
    for b in &plan.blocks {
        write!(text, "\n; block {:+}\n{}", b.delta, crate::ir::print(&b.ops)).expect("a string takes everything");
    }
    let isa = target(Effort::Speed).expect("this host has a code generator");
    let host = Host {
        resolve: 0x1000,
        operation: 0x2000,
        access: 0x3000,
        convention: cranelift_codegen::isa::CallConv::SystemV,
        frontend: isa.frontend_config(),
    };
    let mut enterable = plan.clone();
    enterable.blocks.iter_mut().for_each(|b| b.entry = true);
    for (title, plan, quick) in [("optimised", &mut plan, false), ("quick", &mut enterable, true)] {
        let mut func = Function::new();
        lower(&mut func, &mut FunctionBuilderContext::new(), plan, mmu, host, quick);
        cranelift_codegen::verify_function(&func, &*isa).expect("valid IR");
        writeln!(text, "\n; {title}\n{}", func.display()).expect("a string takes everything");
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.clif"));
    if std::env::var_os("RING86_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(&path, &text).expect("the file can be written");
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{} differs; bless with RING86_BLESS=1 and read the diff. Now:\n{text}", path.display());
}

#[test]
fn a_loop_over_memory() {
    golden("loop", Mmu::Window, &[0, 5], |a| {
        let mut top = a.create_label();
        a.mov(ecx, 100)?;
        a.set_label(&mut top)?;
        a.add(eax, dword_ptr(esi + ecx * 4))?;
        a.dec(ecx)?;
        a.jne(top)?;
        a.ret()
    });
}

#[test]
fn a_call_and_its_return() {
    golden("call", Mmu::Window, &[0, 5, 6], |a| {
        let mut f = a.create_label();
        a.call(f)?;
        a.nop()?;
        a.set_label(&mut f)?;
        a.push(ebx)?;
        a.mov(ebx, dword_ptr(esp + 8))?;
        a.pop(ebx)?;
        a.ret()
    });
}

#[test]
fn flags_of_shifts_and_carries() {
    golden("carry", Mmu::Table, &[0], |a| {
        a.shl(eax, 3)?;
        a.adc(edx, 0)?;
        a.sbb(al, 5)?;
        a.mov(byte_ptr(edi), al)?;
        a.setc(cl)?;
        a.ret()
    });
}

#[test]
fn one_string_element() {
    golden("string", Mmu::Window, &[0], |a| {
        a.movsd()?;
        a.stosb()?;
        a.ret()
    });
}
