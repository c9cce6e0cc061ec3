//! System instructions (SDM vol. 1, 5.20): each becomes a hypervisor call, where the ring is checked.

use super::Lifter;
use crate::helpers::Helper;
use crate::ir::{Op, Width};
use crate::state::{mode, slot};
use iced_x86::{Code, Instruction, Mnemonic, OpKind};

impl Lifter {
    pub(super) fn system(&mut self, ins: &Instruction) -> bool {
        use Mnemonic::*;
        let z = slot::ZERO;
        match ins.mnemonic() {
            Nop | Reservednop | Pause | Endbr32 | Endbr64 | Prefetchnta | Prefetcht0 | Prefetcht1 | Prefetcht2
            | Sfence | Lfence | Mfence => false,
            // CLFLUSH is ordered and checked like a load of the byte.
            Clflush => {
                let mem = self.mem(ins);
                self.load(Width::B, mem);
                false
            }
            Cli => {
                self.call(Helper::Cli, z, z, 0);
                false
            }
            Sti => {
                self.call(Helper::Sti, z, z, 0);
                false
            }
            Cld => {
                self.call(Helper::SetDf, z, z, 0);
                false
            }
            Std => {
                self.call(Helper::SetDf, z, z, 1);
                false
            }
            Hlt => {
                self.call(Helper::Hlt, z, z, 0);
                self.end_here()
            }
            Cpuid => self.plain(Helper::Cpuid),
            Rdtsc => self.plain(Helper::Rdtsc),
            Rdpmc => self.plain(Helper::Rdpmc),
            Rdmsr => self.plain(Helper::Rdmsr),
            Wrmsr => {
                self.call(Helper::Wrmsr, z, z, 0);
                self.end_here()
            }
            Clts => {
                self.call(Helper::Clts, z, z, 0);
                self.end_here()
            }
            Invd | Wbinvd => self.plain(Helper::Wbinvd),
            Lmsw => {
                self.call(Helper::CheckCpl0, z, z, 0);
                let a = self.read(ins, 0);
                self.call(Helper::Lmsw, a, z, 0);
                self.end_here()
            }
            Smsw => {
                let a = self.call(Helper::Smsw, z, z, 0);
                self.write(ins, 0, a);
                false
            }
            Lgdt => self.table(ins, Helper::Lgdt),
            Lidt => self.table(ins, Helper::Lidt),
            Sgdt => self.table(ins, Helper::Sgdt),
            Sidt => self.table(ins, Helper::Sidt),
            Invlpg => {
                let (mem, off) = (self.mem(ins), self.temp());
                self.e(Op::Lea { dst: off, mem });
                self.call(Helper::Invlpg, off, z, mem.seg as u32);
                self.end_here()
            }
            Sysenter => {
                self.call(Helper::Sysenter, z, z, 0);
                self.e(Op::Exit);
                true
            }
            Sysexit => {
                self.call(Helper::Sysexit, z, z, 0);
                self.e(Op::Exit);
                true
            }
            Lldt | Ltr | Sldt | Str | Lar | Lsl | Verr | Verw | Arpl => self.selectors(ins),
            _ => self.undefined(),
        }
    }

    fn plain(&mut self, helper: Helper) -> bool {
        self.call(helper, slot::ZERO, slot::ZERO, 0);
        false
    }

    fn table(&mut self, ins: &Instruction, helper: Helper) -> bool {
        if ins.op0_kind() != OpKind::Memory {
            return self.undefined();
        }
        let (mem, off) = (self.mem(ins), self.temp());
        self.e(Op::Lea { dst: off, mem });
        use Code::{Lgdt_m1632_16, Lidt_m1632_16, Sgdt_m1632_16, Sidt_m1632_16};
        let word = matches!(ins.code(), Lgdt_m1632_16 | Lidt_m1632_16 | Sgdt_m1632_16 | Sidt_m1632_16);
        let osize = if word { 2 } else { 4 };
        self.call(helper, off, slot::ZERO, mem.seg as u32 | osize << 8);
        false
    }

    /// The instructions on selectors exist only in protected mode outside virtual-8086 (#UD elsewhere).
    fn selectors(&mut self, ins: &Instruction) -> bool {
        use Mnemonic::*;
        if self.mode & (mode::PE | mode::VM) != mode::PE {
            return self.undefined();
        }
        let z = slot::ZERO;
        match ins.mnemonic() {
            m @ (Sldt | Str) => {
                let a = self.call(if m == Sldt { Helper::Sldt } else { Helper::Str }, z, z, 0);
                self.write(ins, 0, a);
            }
            m @ (Lldt | Ltr | Verr | Verw) => {
                let helper = match m {
                    Lldt => Helper::Lldt,
                    Ltr => Helper::Ltr,
                    Verr => Helper::Verr,
                    _ => Helper::Verw,
                };
                let cpl0 = matches!(m, Lldt | Ltr);
                if cpl0 {
                    self.call(Helper::CheckCpl0, z, z, 0);
                }
                let a = self.read(ins, 0);
                self.call(helper, a, z, 0);
            }
            m @ (Lar | Lsl) => {
                let w = self.width(ins, 0);
                let a = match ins.op1_kind() {
                    OpKind::Memory => {
                        let mem = self.mem(ins);
                        self.load(Width::W, mem)
                    }
                    _ => Self::gpr(ins.op1_register()).0,
                };
                let old = Self::gpr(ins.op0_register()).0;
                let v = self.call(if m == Lar { Helper::Lar } else { Helper::Lsl }, a, old, u32::from(w.bytes()));
                self.write_reg(ins.op0_register(), v);
            }
            // ARPL r/m16, r16.
            _ => {
                let b = Self::gpr(ins.op1_register()).0;
                if ins.op0_kind() == OpKind::Memory {
                    let (mem, off) = (self.mem(ins), self.temp());
                    self.e(Op::Lea { dst: off, mem });
                    self.call(Helper::Arpl, off, b, mem.seg as u32 | crate::helpers::ARPL_MEMORY);
                } else {
                    let dst = Self::gpr(ins.op0_register()).0;
                    let a = self.call(Helper::Arpl, dst, b, 0);
                    self.e(Op::Insert { w: Width::W, hi: false, dst, a });
                }
            }
        }
        false
    }
}
