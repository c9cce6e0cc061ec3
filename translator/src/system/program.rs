//! Small guest programs through the run loop: every handler of the rig is HLT, so RIP tells which one was entered.

use super::testing::{HANDLER, Rig, STACK0, STACK3, TSS_B, sel};
use crate::bus::NullBus;
use crate::cpu::Exit;
use crate::model::Model;
use crate::pins;
use crate::state::{eflags, slot};

const CODE: u64 = 0x7000;
const HLT: u8 = 0xf4;

impl Rig {
    /// Runs `code` in the present mode until it halts, and returns the vector of the handler that halted.
    fn vector_of(&mut self, code: &[u8]) -> u64 {
        for v in 0..0x100 {
            self.poke8(HANDLER + v, HLT);
        }
        let base = self.cpu.state.segs[1].base;
        for (i, b) in code.iter().enumerate() {
            self.poke8(base + CODE + i as u64, *b);
        }
        self.cpu.state.rip = CODE;
        let exit = self.cpu.run(&mut NullBus, 1000);
        assert!(matches!(exit, Exit::Halted), "{exit:?}");
        self.cpu.state.rip.wrapping_sub(HANDLER + 1)
    }

    /// The EIP that the handler's frame returns to; `error` if there is an error code below it.
    fn return_ip(&self, error: bool) -> u64 {
        let sp = self.cpu.state.gpr(slot::RSP) + if error { 4 } else { 0 };
        u64::from(self.dword(sp))
    }
}

#[test]
fn faults_return_to_the_instruction_and_traps_after_it() {
    // code, vector, has an error code, return address
    type Row = (&'static [u8], u64, bool, u64);
    let table: [Row; 7] = [
        (&[0x90, 0xcd, 0x80], 0x80, false, 3),          // NOP, INT 80h
        (&[0x90, 0xcd, 0x30], 13, true, 1),             // INT 30h: DPL 0
        (&[0x90, 0x0f, 0x0b], 6, false, 1),             // UD2
        (&[0x90, 0xfa], 13, true, 1),                   // CLI
        (&[0x90, 0xf1], 1, false, 2),                   // ICEBP
        (&[0x90, 0x0f, 0x20, 0xc0], 13, true, 1),       // MOV EAX, CR0
        (&[0x90, 0x31, 0xc0, 0xf7, 0xf0], 0, false, 3), // XOR EAX, EAX; DIV EAX
    ];
    for (code, vector, error, ret) in table {
        let mut r = Rig::protected(Model::Max);
        r.enter_ring3();
        assert_eq!(r.vector_of(code), vector, "{code:02x?}");
        assert_eq!(r.return_ip(error), CODE + ret, "{code:02x?}");
        assert_eq!(r.cpu.state.gpr(slot::RSP), STACK0 - if error { 24 } else { 20 });
    }
}

#[test]
fn single_step_traps_after_one_instruction_but_not_after_int() {
    let mut r = Rig::protected(Model::Max);
    r.cpu.state.set_eflags(eflags::TF);
    assert_eq!((r.vector_of(&[0x40, 0x40]), r.return_ip(false)), (1, CODE + 1));
    assert_eq!(r.cpu.state.dr[6], 0xffff_4ff0);
    let mut r = Rig::protected(Model::Max);
    r.cpu.state.set_eflags(eflags::TF);
    assert_eq!((r.vector_of(&[0xcd, 0x80]), r.return_ip(false)), (0x80, CODE + 2));
    assert_eq!(r.cpu.state.dr[6], 0xffff_0ff0);
}

#[test]
fn iret_to_ring_3_and_back() {
    let mut r = Rig::protected(Model::Max);
    for (i, b) in [0x90, 0xcd, 0x80].into_iter().enumerate() {
        r.poke8(0x6000 + i as u64, b);
    }
    for v in [(sel::DATA3 | 3).into(), STACK3 as u32, eflags::IF, (sel::CODE3 | 3).into(), 0x6000] {
        r.push(4, v).unwrap();
    }
    assert_eq!((r.vector_of(&[0x90, 0xcf]), r.return_ip(false)), (0x80, 0x6003));
    assert_eq!(r.dword(r.cpu.state.gpr(slot::RSP) + 12), STACK3 as u32);
}

#[test]
fn external_interrupts_wait_for_the_sti_shadow() {
    // NullBus acknowledges with vector FFh, which the rig's IDT does not have: #GP(FFh * 8 + IDT + EXT).
    let mut r = Rig::protected(Model::Max);
    r.cpu.pins.raise(pins::INTR);
    assert_eq!(r.vector_of(&[0xfb, 0x40, 0x40]), 13); // STI; INC EAX; INC EAX
    assert_eq!((r.dword(r.cpu.state.gpr(slot::RSP)), r.return_ip(true)), (0xff * 8 + 3, CODE + 2));
    r.cpu.pins.clear(pins::INTR);
}

#[test]
fn call_to_a_task_runs_it() {
    let mut r = Rig::protected(Model::Max);
    r.fill_tss32(TSS_B, 0x6000, 0, sel::CODE0, sel::DATA0, 0x6800);
    for (i, b) in [0xcd, 0x80].into_iter().enumerate() {
        r.poke8(0x6000 + i as u64, b);
    }
    // CALL 0050:00000000
    assert_eq!(r.vector_of(&[0x90, 0x9a, 0, 0, 0, 0, sel::TSS_B as u8, 0]), 0x80);
    assert_eq!((r.cpu.state.gpr(slot::RSP), r.return_ip(false)), (0x6800 - 12, 0x6002));
    assert_eq!(r.dword(super::testing::TSS_A + 0x20), CODE as u32 + 8);
}

#[test]
fn v86_leaves_through_gp() {
    let mut r = Rig::v86(0);
    // CLI at IOPL 0.
    assert_eq!((r.vector_of(&[0x90, 0xfa]), r.return_ip(true)), (13, CODE + 1));
    assert_eq!(r.cpu.state.gpr(slot::RSP), STACK0 - 40);
}
