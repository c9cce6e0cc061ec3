//! A CPU with descriptor tables, tasks and handlers in place, for tests.

use super::descriptor::Descriptor;
use super::segments::V86_DATA;
use crate::bus::{Bus, NullBus};
use crate::cpu::Cpu;
use crate::fault::Res;
use crate::mmu::Memory;
use crate::model::Model;
use crate::pins::Pins;
use crate::state::{SegReg, Segment, State, TableReg, attr, cr, eflags, slot};
use std::sync::Arc;

/// Selectors of the rig's GDT.
pub mod sel {
    pub const CODE0: u16 = 0x08;
    pub const DATA0: u16 = 0x10;
    pub const CODE3: u16 = 0x18;
    pub const DATA3: u16 = 0x20;
    pub const CONFORMING: u16 = 0x28;
    pub const EXEC_ONLY: u16 = 0x30;
    pub const ABSENT: u16 = 0x38;
    pub const RO_DATA: u16 = 0x40;
    pub const TSS_A: u16 = 0x48;
    pub const TSS_B: u16 = 0x50;
    pub const TSS16: u16 = 0x58;
    pub const LDT: u16 = 0x60;
    pub const CALL0: u16 = 0x68;
    pub const CALL_PARAMS: u16 = 0x70;
    pub const DATA16: u16 = 0x78;
    pub const CODE16: u16 = 0x80;
    pub const EXPAND_DOWN: u16 = 0x88;
    pub const ABSENT_CODE: u16 = 0x90;
    pub const TASK_GATE: u16 = 0x98;
}

pub const GDT: u64 = 0x2_0000;
pub const IDT: u64 = 0x2_0800;
/// The current TSS: I/O bitmap at 88h, all ports denied, redirection bit set for vector 80h only.
pub const TSS_A: u64 = 0x2_1000;
/// Another 32-bit TSS.
pub const TSS_B: u64 = 0x2_4000;
/// A 16-bit TSS.
pub const TSS16: u64 = 0x2_4800;
const LDT: u64 = 0x2_4c00;
/// Handler of vector n is at `HANDLER + n`.
pub const HANDLER: u64 = 0x1_0000;
/// ESP of rings 0 and 3.
pub const STACK0: u64 = 0x8000;
pub const STACK3: u64 = 0x9000;

pub struct Rig {
    pub cpu: Cpu,
    bus: NullBus,
}

fn descriptor(base: u32, limit: u32, access: u32, nibble: u32) -> u64 {
    let lo = base << 16 | limit & 0xffff;
    let hi = base & 0xff00_0000 | nibble << 20 | limit & 0xf_0000 | access << 8 | base >> 16 & 0xff;
    u64::from(hi) << 32 | u64::from(lo)
}

fn gate(selector: u16, offset: u64, access: u32, params: u32) -> u64 {
    let offset = offset as u32;
    let hi = offset & 0xffff_0000 | access << 8 | params;
    u64::from(hi) << 32 | u64::from(u32::from(selector) << 16 | offset & 0xffff)
}

impl Rig {
    pub fn real(model: Model) -> Rig {
        let pins = Arc::new(Pins::default());
        let mem = Arc::new(Memory::flat(1 << 20, pins.clone()).unwrap());
        let mut r = Rig { cpu: Cpu::new(model, mem, pins), bus: NullBus };
        r.reset_real(model);
        r
    }

    /// Back to the start as another model, with less work than a new rig.
    pub fn again(&mut self, model: Model) {
        self.cpu.mem.ram().fill(0, 0x5_0000, 0, 1);
        self.reset_real(model);
        self.enter_protected();
        self.cpu.flush();
    }

    fn reset_real(&mut self, model: Model) {
        let cpu = &mut self.cpu;
        cpu.model = model;
        cpu.state = State::reset(model);
        cpu.state.segs[1] = Segment { attr: attr::REAL_CODE, ..Segment::real(0) };
        cpu.state.rip = 0x100;
        cpu.state.idtr.limit = 0x3ff;
        cpu.state.set_gpr(slot::RSP, STACK0);
        cpu.state.update_mode();
    }

    pub fn protected(model: Model) -> Rig {
        let mut r = Rig::real(model);
        r.enter_protected();
        r
    }

    fn enter_protected(&mut self) {
        let r = self;
        let big = 0xfffff;
        let gdt = [
            0,
            descriptor(0, big, 0x9b, 0xc),
            descriptor(0, big, 0x93, 0xc),
            descriptor(0, big, 0xfb, 0xc),
            descriptor(0, big, 0xf3, 0xc),
            descriptor(0, big, 0x9f, 0xc),
            descriptor(0, big, 0x99, 0xc),
            descriptor(0, big, 0x13, 0xc),
            descriptor(0, big, 0x91, 0xc),
            descriptor(TSS_A as u32, 0x20ff, 0x8b, 0),
            descriptor(TSS_B as u32, 0x67, 0x89, 0),
            descriptor(TSS16 as u32, 0x2b, 0x81, 0),
            descriptor(LDT as u32, 7, 0x82, 0),
            gate(sel::CODE0, 0x5678, 0xec, 0),
            gate(sel::CODE0, 0x5678, 0xec, 3),
            descriptor(0, 0xffff, 0x92, 0),
            descriptor(0, 0xffff, 0x9a, 0),
            descriptor(0, 0xfff, 0x96, 0),
            descriptor(0, big, 0x1a, 0xc),
            gate(sel::TSS_B, 0, 0xe5, 0),
        ];
        for (i, d) in gdt.iter().enumerate() {
            r.poke64(GDT + 8 * i as u64, *d);
        }
        r.poke64(LDT, descriptor(0, 0xffff, 0x93, 0));
        for v in (0..0x20).chain([0x30]) {
            r.poke64(IDT + v * 8, gate(sel::CODE0, HANDLER + v, 0x8e, 0));
        }
        r.poke64(IDT + 0x80 * 8, gate(sel::CODE0, HANDLER + 0x80, 0xef, 0));
        r.poke64(IDT + 0x81 * 8, gate(sel::CODE0, HANDLER + 0x81, 0x6e, 0));
        r.poke64(IDT + 0x82 * 8, gate(sel::CODE0, HANDLER + 0x82, 0xec, 0));
        r.poke64(IDT + 0x83 * 8, gate(sel::CONFORMING, HANDLER + 0x83, 0xef, 0));
        r.poke64(IDT + 0x84 * 8, gate(sel::DATA0, HANDLER + 0x84, 0xef, 0));
        r.poke64(IDT + 0x85 * 8, gate(sel::ABSENT_CODE, HANDLER + 0x85, 0xef, 0));
        r.set_inner_stack(sel::DATA0, STACK0);
        r.poke16(TSS_A + 0x66, 0x88);
        r.poke8(TSS_A + 0x68 + 0x80 / 8, 1);
        for i in 0x88..0x2100 {
            r.poke8(TSS_A + i, 0xff);
        }
        let s = &mut r.cpu.state;
        s.cr0 = cr::PE | cr::ET;
        s.gdtr = TableReg { base: GDT, limit: gdt.len() as u16 * 8 - 1 };
        s.idtr = TableReg { base: IDT, limit: 0x86 * 8 - 1 };
        r.cpu.state.tr = r.segment(sel::TSS_A);
        r.cpu.state.ldtr = Segment::default();
        r.set_segments(sel::CODE0, sel::DATA0);
    }

    /// Virtual-8086 mode with this IOPL and IF set.
    pub fn v86(iopl: u32) -> Rig {
        let mut r = Rig::protected(Model::Max);
        r.enter_v86(iopl);
        r
    }

    pub fn enter_v86(&mut self, iopl: u32) {
        let r = self;
        for (seg, selector) in [1, 0x100, 0x200, 2, 3, 4].into_iter().enumerate() {
            r.cpu.state.segs[seg] = Segment { base: u64::from(selector) << 4, limit: 0xffff, attr: V86_DATA, selector };
        }
        r.cpu.state.cpl = 3;
        r.cpu.state.set_gpr(slot::RSP, 0x800);
        r.cpu.state.set_eflags(eflags::VM | eflags::IF | iopl << 12);
    }

    fn segment(&mut self, selector: u16) -> Segment {
        let raw = self.descriptor(selector);
        Descriptor { selector, lo: raw as u32, hi: (raw >> 32) as u32, at: 0 }.segment()
    }

    pub fn set_segments(&mut self, code: u16, data: u16) {
        let data = self.segment(data);
        self.cpu.state.segs = [data; 6];
        self.cpu.state.segs[SegReg::Cs as usize] = self.segment(code);
        self.cpu.state.cpl = (code & 3) as u8;
        self.cpu.state.update_mode();
    }

    pub fn enter_ring3(&mut self) {
        self.set_segments(sel::CODE3 | 3, sel::DATA3 | 3);
        self.cpu.state.set_gpr(slot::RSP, STACK3);
    }

    pub fn run<T>(&mut self, f: impl FnOnce(&mut Cpu, &mut dyn Bus) -> T) -> T {
        f(&mut self.cpu, &mut self.bus)
    }

    pub fn push(&mut self, osize: u8, v: u32) -> Res<()> {
        let st = self.cpu.current_stack(0);
        let sp = self.run(|c, b| c.push_frame(b, &st, osize, &[v]))?;
        self.cpu.state.set_gpr(slot::RSP, sp);
        Ok(())
    }

    pub fn pop(&mut self, osize: u8) -> Res<u32> {
        let v = self.run(|c, b| c.stack_read(b, 0, osize))?;
        self.cpu.set_sp(self.cpu.state.gpr(slot::RSP).wrapping_add(osize.into()));
        Ok(v)
    }

    pub fn cs(&self) -> u16 {
        self.cpu.state.segs[1].selector
    }

    pub fn poke8(&mut self, at: u64, v: u8) {
        self.cpu.mem.ram().write(at as usize, v);
    }
    pub fn poke16(&mut self, at: u64, v: u16) {
        self.cpu.mem.ram().write(at as usize, v);
    }
    pub fn poke32(&mut self, at: u64, v: u32) {
        self.cpu.mem.ram().write(at as usize, v);
    }
    pub fn poke64(&mut self, at: u64, v: u64) {
        self.cpu.mem.ram().write(at as usize, v);
    }
    pub fn byte(&self, at: u64) -> u8 {
        self.cpu.mem.ram().read(at as usize)
    }
    pub fn word(&self, at: u64) -> u16 {
        self.cpu.mem.ram().read(at as usize)
    }
    pub fn dword(&self, at: u64) -> u32 {
        self.cpu.mem.ram().read(at as usize)
    }

    /// The raw GDT entry of a selector.
    pub fn descriptor(&self, selector: u16) -> u64 {
        self.cpu.mem.ram().read((GDT + u64::from(selector & 0xfff8)) as usize)
    }

    pub fn busy(&self, selector: u16) -> bool {
        self.descriptor(selector) >> 41 & 1 != 0
    }

    /// Sets the low 16 limit bits of a GDT entry.
    pub fn set_limit(&mut self, selector: u16, limit: u16) {
        self.poke16(GDT + u64::from(selector & 0xfff8), limit);
    }

    pub fn set_inner_stack(&mut self, ss: u16, sp: u64) {
        self.poke32(TSS_A + 4, sp as u32);
        self.poke16(TSS_A + 8, ss);
    }

    /// Takes the present bit of an IDT gate.
    pub fn spoil_gate(&mut self, vector: u8) {
        let at = IDT + u64::from(vector) * 8 + 5;
        let v = self.byte(at) & 0x7f;
        self.poke8(at, v);
    }

    pub fn set_task_gate(&mut self, vector: u8, tss: u16) {
        self.poke64(IDT + u64::from(vector) * 8, gate(tss, 0, 0x85, 0));
    }

    pub fn fill_tss32(&mut self, base: u64, eip: u32, flags: u32, cs: u16, data: u16, esp: u32) {
        self.poke32(base + 0x20, eip);
        self.poke32(base + 0x24, flags);
        self.poke32(base + 0x38, esp);
        for (i, s) in [data, cs, data, data, 0, 0].into_iter().enumerate() {
            self.poke16(base + 0x48 + 4 * i as u64, s);
        }
    }

    /// Panics unless everything that instructions see is as it was.
    pub fn assert_same(&self, before: &State) {
        let s = &self.cpu.state;
        assert_eq!(s.slots[..24], before.slots[..24]);
        assert_eq!((s.rip, s.sys_flags, s.cpl, s.mode), (before.rip, before.sys_flags, before.cpl, before.mode));
        assert_eq!(s.segs, before.segs);
        assert_eq!((s.ldtr, s.tr, s.gdtr, s.idtr), (before.ldtr, before.tr, before.gdtr, before.idtr));
        assert_eq!((s.cr0, s.cr3, s.cr4, s.dr), (before.cr0, before.cr3, before.cr4, before.dr));
    }
}
