//! The interpreter end to end: small programs in flat 32-bit code, assembled with iced, without a PC around them.

use iced_x86::code_asm::*;
use ring86_translator::fault::vector;
use ring86_translator::state::{Segment, attr, cr, slot};
use ring86_translator::{Cpu, Exit, Fault, Memory, Model, NullBus, Pins};
use std::sync::Arc;

const CODE: u64 = 0x1000;
const STACK: u64 = 0x8_0000;
const DATA: u32 = 0x1_0000;

fn cpu() -> Cpu {
    let pins = Arc::new(Pins::default());
    let mem = Arc::new(Memory::flat(1 << 20, pins.clone()).expect("1 MiB of memory"));
    let mut cpu = Cpu::new(Model::Max, mem, pins);
    let data = attr::P | attr::S | attr::RW | attr::ACCESSED | attr::DB | attr::G;
    cpu.state.segs = [Segment { base: 0, limit: u32::MAX, attr: data, selector: 0x10 }; 6];
    cpu.state.segs[1] = Segment { base: 0, limit: u32::MAX, attr: data | attr::CODE, selector: 8 };
    cpu.state.cr0 |= cr::PE;
    cpu.state.update_mode();
    cpu.flush();
    cpu.intercept = true;
    cpu.state.rip = CODE;
    cpu.state.set_gpr(slot::RSP, STACK);
    if std::env::var_os("EAGER").is_some() {
        let config = ring86_translator::engine::Config { threshold: 1, synchronous: true, ..Default::default() };
        cpu.enable_translator(config).expect("a host with a code generator");
    }
    cpu
}

fn assemble(f: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let mut a = CodeAssembler::new(32).expect("32-bit code");
    f(&mut a).expect("valid instructions");
    a.assemble(CODE).expect("encodable")
}

fn run(cpu: &mut Cpu, code: &[u8]) -> Fault {
    cpu.memory().ram().write_bytes(CODE as usize, code);
    match cpu.run(&mut NullBus, 1_000_000) {
        Exit::Exception(f) => f,
        other => panic!("the program ends in an exception, not {other:?}"),
    }
}

#[test]
fn arithmetic_and_calls() {
    let mut c = cpu();
    let code = assemble(|a| {
        let mut f = a.create_label();
        let mut done = a.create_label();
        a.mov(eax, 5)?;
        a.mov(ecx, 7)?;
        a.call(f)?;
        a.jmp(done)?;
        a.set_label(&mut f)?;
        a.push(ebp)?;
        a.mov(ebp, esp)?;
        a.imul_2(eax, ecx)?;
        a.pop(ebp)?;
        a.ret()?;
        a.set_label(&mut done)?;
        a.ud2()
    });
    assert_eq!(run(&mut c, &code).vector, vector::UD);
    assert_eq!(c.state.gpr(slot::RAX), 35);
    assert_eq!(c.state.gpr(slot::RSP), STACK);
}

#[test]
fn a_program_may_rewrite_its_next_instruction() {
    let mut c = cpu();
    let code = assemble(|a| {
        // mov byte [patch], imm: the immediate of the instruction right behind it.
        a.mov(byte_ptr(CODE as u32 + 8), 0x42)?;
        a.mov(eax, 0x11)?;
        a.ud2()
    });
    // The first instruction is 7 bytes, so the immediate of MOV EAX is at offset 8.
    assert_eq!(&code[7..9], &[0xb8, 0x11]);
    run(&mut c, &code);
    assert_eq!(c.state.gpr(slot::RAX), 0x42);
}

#[test]
fn rewritten_code_runs_anew_in_a_loop() {
    let mut c = cpu();
    let code = assemble(|a| {
        let mut top = a.create_label();
        a.xor(ebx, ebx)?;
        a.mov(ecx, 5)?;
        a.set_label(&mut top)?;
        a.add(ebx, 1)?;
        a.inc(byte_ptr(CODE as u32 + 9))?;
        a.dec(ecx)?;
        a.jne(top)?;
        a.ud2()
    });
    assert_eq!(&code[7..10], &[0x83, 0xc3, 0x01]);
    run(&mut c, &code);
    assert_eq!(c.state.gpr(slot::RBX), 1 + 2 + 3 + 4 + 5);
}

#[test]
fn rep_movs_over_itself_repeats_its_pattern() {
    let mut c = cpu();
    c.memory().ram().write_bytes(DATA as usize, b"ab");
    let code = assemble(|a| {
        a.mov(esi, DATA)?;
        a.mov(edi, DATA + 2)?;
        a.mov(ecx, 6)?;
        a.rep().movsb()?;
        a.ud2()
    });
    run(&mut c, &code);
    let mut out = [0; 8];
    c.memory().ram().read_bytes(DATA as usize, &mut out);
    assert_eq!(&out, b"abababab");
    assert_eq!(c.state.gpr(slot::RCX), 0);
}

#[test]
fn a_long_rep_stos_crosses_pages_and_chunks() {
    let mut c = cpu();
    let code = assemble(|a| {
        a.mov(eax, 0x1122_3344)?;
        a.mov(edi, DATA + 2)?;
        a.mov(ecx, 5000)?;
        a.rep().stosd()?;
        a.ud2()
    });
    run(&mut c, &code);
    assert_eq!(c.state.gpr(slot::RDI), u64::from(DATA) + 2 + 20000);
    assert_eq!(c.memory().ram().read::<u32>(DATA as usize + 2 + 19996), 0x1122_3344);
    assert_eq!(c.memory().ram().read::<u32>(DATA as usize + 2 + 20000), 0);
    assert_eq!(c.memory().ram().read::<u8>(DATA as usize + 1), 0);
}

#[test]
fn the_budget_is_exact() {
    let mut c = cpu();
    let code = assemble(|a| {
        for _ in 0..20 {
            a.inc(eax)?;
        }
        a.ud2()
    });
    c.memory().ram().write_bytes(CODE as usize, &code);
    for n in [1u64, 2, 7, 3] {
        let before = c.state.gpr(slot::RAX);
        assert!(matches!(c.run(&mut NullBus, n), Exit::Budget));
        assert_eq!(c.state.gpr(slot::RAX) - before, n);
    }
    assert_eq!(c.retired(), 13);
    assert_eq!(c.state.rip, CODE + 13);
}

#[test]
fn a_fault_restarts_its_instruction_with_nothing_changed() {
    let mut c = cpu();
    let code = assemble(|a| {
        a.mov(eax, 100)?;
        a.xor(edx, edx)?;
        a.stc()?;
        a.div(ecx)?;
        a.ud2()
    });
    let f = run(&mut c, &code);
    assert_eq!(f.vector, vector::DE);
    assert_eq!(c.state.rip, CODE + 8);
    assert_eq!(c.state.gpr(slot::RAX), 100);
    assert!(c.state.cf());
    assert_eq!(c.retired(), 3);
}

#[test]
fn read_modify_write_faults_as_a_write() {
    let mut c = cpu();
    // Identity page table in which page 0x10 is read-only.
    let (dir, table) = (0x2_0000u64, 0x2_1000u64);
    c.memory().ram().write(dir as usize, (table | 7) as u32);
    for i in 0..256u64 {
        let rights = if i == 0x10 { 5 } else { 7 };
        c.memory().ram().write((table + i * 4) as usize, (i << 12 | rights) as u32);
    }
    c.state.cr3 = dir;
    c.state.cr0 |= cr::PG | cr::WP;
    c.flush();
    let code = assemble(|a| {
        a.mov(eax, 1)?;
        a.add(dword_ptr(DATA), eax)?;
        a.ud2()
    });
    let f = run(&mut c, &code);
    assert_eq!((f.vector, f.error, f.address), (vector::PF, Some(3), u64::from(DATA)));
    assert_eq!(c.state.rip, CODE + 5);
    // The page was accessed by nobody, the code page was.
    assert_eq!(c.memory().ram().read::<u32>((table + 0x10 * 4) as usize) & 0x60, 0);
    assert_eq!(c.memory().ram().read::<u32>((table + 4) as usize) & 0x60, 0x20);
}

#[test]
fn instructions_and_data_cross_pages() {
    let mut c = cpu();
    let code = assemble(|a| {
        a.mov(eax, dword_ptr(DATA - 2))?;
        a.mov(dword_ptr(DATA + 0xffe), eax)?;
        a.ud2()
    });
    c.memory().ram().write(DATA as usize - 2, 0xcafe_f00du32);
    // Place the program so that its first instruction crosses into the next page.
    c.memory().ram().write_bytes(0x1ffe, &code);
    c.state.rip = 0x1ffe;
    let Exit::Exception(f) = c.run(&mut NullBus, 100) else { panic!("ends in #UD") };
    assert_eq!(f.vector, vector::UD);
    assert_eq!(c.memory().ram().read::<u32>(DATA as usize + 0xffe), 0xcafe_f00d);
    // The tail in the second page is code too: rewriting it is seen.
    c.memory().dma_write(0x2000, &[code[2] ^ 4]);
    c.state.rip = 0x1ffe;
    c.run(&mut NullBus, 1);
    assert_ne!(c.state.gpr(slot::RAX), 0xcafe_f00d);
}

#[test]
fn too_long_an_instruction_is_a_general_protection_fault() {
    let mut c = cpu();
    let f = run(&mut c, &[&[0x66; 15][..], &[0x90]].concat());
    assert_eq!((f.vector, f.error), (vector::GP, Some(0)));
    let mut c = cpu();
    let f = run(&mut c, &[&[0x66; 14][..], &[0x90, 0x0f, 0x0b]].concat());
    assert_eq!(f.vector, vector::UD);
    assert_eq!(c.retired(), 1);
}

#[test]
fn lock_is_refused_where_it_makes_no_sense() {
    let mut c = cpu();
    assert_eq!(run(&mut c, &[0xf0, 0x01, 0xc0]).vector, vector::UD); // lock add eax, eax
    let mut c = cpu();
    c.state.set_gpr(slot::RBX, u64::from(DATA));
    let f = run(&mut c, &[0xf0, 0x01, 0x03, 0x0f, 0x0b]); // lock add [ebx], eax
    assert_eq!((f.vector, c.retired()), (vector::UD, 1));
}

#[test]
fn compare_and_exchange() {
    let mut c = cpu();
    c.memory().ram().write(DATA as usize, 0x1111_2222_3333_4444u64);
    let code = assemble(|a| {
        a.mov(edi, DATA)?;
        a.mov(eax, 0x3333_4444)?;
        a.mov(edx, 0x1111_2222)?;
        a.mov(ebx, 1)?;
        a.mov(ecx, 2)?;
        a.cmpxchg8b(qword_ptr(edi))?;
        a.sete(bl)?;
        a.cmpxchg8b(qword_ptr(edi))?;
        a.sete(bh)?;
        a.mov(esi, 9)?;
        a.xadd(dword_ptr(edi), esi)?;
        a.ud2()
    });
    run(&mut c, &code);
    assert_eq!(c.state.gpr(slot::RBX) & 0xffff, 1);
    assert_eq!((c.state.gpr(slot::RAX), c.state.gpr(slot::RDX)), (1, 2));
    assert_eq!(c.state.gpr(slot::RSI), 1);
    assert_eq!(c.memory().ram().read::<u32>(DATA as usize), 10);
}
