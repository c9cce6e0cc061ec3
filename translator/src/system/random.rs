//! Random descriptors, tasks and stacks: nothing panics, and a fault leaves the CPU as it was.

use super::NEW_TASK;
use super::testing::{GDT, IDT, Rig, TSS_A, TSS_B, TSS16};
use crate::fault::Fault;
use crate::model::Model;
use crate::state::{SegReg, cr, eflags, slot};

/// A linear congruential generator, upper half (Knuth, MMIX).
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }
    fn below(&mut self, n: u32) -> u32 {
        self.next() % n
    }
    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
    fn selector(&mut self) -> u16 {
        let tables = if self.one_in(8) { 4 } else { 0 };
        (self.below(0x16) * 8) as u16 | tables | if self.one_in(2) { 3 } else { self.below(4) as u16 }
    }
}

const DIRECTORY: u64 = 0x4_0000;
const TABLE: u64 = 0x4_1000;
const COUNT: u32 = 100_000;

fn scramble(r: &mut Rig, g: &mut Lcg) {
    for _ in 0..g.below(4) {
        let at = GDT + u64::from(g.below(0x16)) * 8;
        match g.below(4) {
            0 => r.poke8(at + 5, g.next() as u8),
            1 => r.poke16(at, g.next() as u16),
            2 => r.poke8(at + 6, g.next() as u8 & 0xcf),
            _ => r.poke16(at + 2, g.selector()),
        }
    }
    for _ in 0..g.below(3) {
        let at = IDT + u64::from(g.below(0x86)) * 8;
        r.poke8(at + 5, g.next() as u8 | 0x60);
        r.poke16(at + 2, g.selector());
    }
    for _ in 0..g.below(3) {
        let base = [TSS_A, TSS_B, TSS16][g.below(3) as usize];
        let v = g.selector();
        r.poke16(base + u64::from(g.below(0x34)) * 2, v);
    }
    // A plausible frame on the stack: EIP, CS, EFLAGS, ESP, SS, and data segments.
    let sp = r.cpu.state.gpr(slot::RSP);
    let size = if g.one_in(2) { 2 } else { 4 };
    for i in 0..9 {
        let v = match i {
            0 | 3 => g.below(0x1_1000),
            2 => g.next() & 0x003f_7fd7 & if g.one_in(2) { !eflags::VM } else { !0 },
            _ => u32::from(g.selector()),
        };
        if size == 2 { r.poke16(sp + i * 2, v as u16) } else { r.poke32(sp + i * 4, v) }
    }
}

fn page_tables(r: &mut Rig, g: &mut Lcg) {
    r.poke32(DIRECTORY, TABLE as u32 | 7);
    for page in 0..0x100 {
        let rights = if g.one_in(40) { g.below(8) } else { 7 };
        r.poke32(TABLE + u64::from(page) * 4, page << 12 | rights);
    }
    r.cpu.state.cr3 = DIRECTORY;
    r.cpu.state.cr0 |= cr::PG | if g.one_in(2) { cr::WP } else { 0 };
    r.cpu.flush();
}

#[test]
fn faults_leave_no_trace() {
    let mut g = Lcg(0x2545_f491_4f6c_dd1d);
    let (mut done, mut faults) = ([0u32; 16], [0u32; 16]);
    let mut r = Rig::protected(Model::Max);
    for case in 0..COUNT {
        if case % 8 == 0 {
            let model = if g.one_in(8) { Model::I286 } else { Model::Max };
            r.again(model);
            if g.one_in(5) && model == Model::Max {
                r.enter_v86(g.below(4));
            }
        }
        if !r.cpu.state.v86() && g.one_in(3) {
            r.enter_ring3();
        }
        scramble(&mut r, &mut g);
        if g.one_in(2) {
            page_tables(&mut r, &mut g);
        }
        if g.one_in(4) {
            r.cpu.state.sys_flags ^= [eflags::NT, eflags::IOPL, eflags::IF][g.below(3) as usize];
            r.cpu.state.update_mode();
        }
        if g.one_in(16) {
            r.cpu.state.cr4 ^= cr::VME;
        }
        let before = r.cpu.state.clone();
        let (s, off, osize) = (g.selector(), g.below(0x1_2000), if g.one_in(2) { 2 } else { 4 });
        let vector = if g.one_in(2) { 0x80 + g.below(6) } else { g.below(0x90) } as u8;
        let op = g.below(14) as usize;
        let result: Result<(), Fault> = r.run(|c, b| match op {
            0 => c.far_jmp(b, s, off, osize, 0x1234),
            1 | 2 => c.far_call(b, s, off, osize, 0x1234),
            3 => c.far_ret(b, osize, off as u16 & 0xc),
            4 | 5 => c.iret(b, osize, 0x1234),
            6 | 7 => c.software_int(b, vector, 0x1234),
            8 => c.external_interrupt(b, vector),
            9 => c.load_seg(b, SegReg::ALL[[0, 2, 3, 4, 5][off as usize % 5]], s),
            10 => c.load_tr(b, s),
            11 => c.load_ldt(b, s),
            12 => c.lar(b, s).and(c.lsl(b, s)).and(c.verr(b, s)).and(c.verw(b, s)).map(|_| ()),
            _ => c.check_io(b, off as u16, osize),
        });
        match result {
            Ok(()) => done[op] += 1,
            Err(f) => {
                faults[op] += 1;
                if f.dr6 & NEW_TASK == 0 {
                    r.assert_same(&before);
                }
                let rip = r.cpu.state.rip;
                if let Err(t) = r.run(|c, b| c.deliver_exception(b, f, true)) {
                    assert!(t.chain.len() >= 2 && t.report.len() > 100, "{:?}", t.chain);
                    r.again(Model::Max);
                } else {
                    assert!(r.cpu.state.rip != rip || r.cpu.state.cpl <= before.cpl);
                }
            }
        }
        let mode = r.cpu.state.mode;
        r.cpu.state.update_mode();
        assert_eq!(r.cpu.state.mode, mode, "case {case}: the mode bits were stale");
        // A stack somewhere else would be hard to fill.
        if r.cpu.state.gpr(slot::RSP) > 0xa000 || r.cpu.state.rip > 0x2_0000 {
            r.again(Model::Max);
        }
    }
    for op in 0..14 {
        assert!(done[op] > 50 && faults[op] > 50, "operation {op} is not exercised: {done:?} {faults:?}");
    }
}
