//! Privileged and sensitive instructions whose rewrite into a hypervisor call is a few instructions of the host: all of
//! it, or the way that guests nearly always take, beside the call.

use super::Lowerer;
use super::flags::Fl;
use crate::frame::{Frame, Loaded};
use crate::helpers::{Helper, Rewrite, seg};
use crate::ir::Op;
use crate::model::Model;
use crate::state::{SegReg, Segment, State, eflags, mode, slot};
use core::mem::offset_of;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Value};

const FLAGS: usize = offset_of!(State, sys_flags);

/// A load of segment register `n` that may find the descriptor as it was.
pub(super) fn reloads_segment(op: &Op) -> bool {
    matches!(*op, Op::Call { helper: Helper::LoadSeg, imm, .. } if !matches!(seg(imm), SegReg::Cs | SegReg::Ss))
}

impl Lowerer<'_, '_> {
    /// The hypervisor calls that are no call at all. False for all others.
    pub(super) fn inline_call(&mut self, op: &Op) -> bool {
        let Op::Call { helper, dst, imm, .. } = *op else { return false };
        if !matches!(helper.rewrite(), Rewrite::Inline(_)) {
            return false;
        }
        match helper {
            Helper::SetDf => {
                let old = self.state_load(I32, FLAGS);
                let new = match imm {
                    0 => self.b.ins().band_imm_u(old, i64::from(!eflags::DF)),
                    _ => self.b.ins().bor_imm_u(old, i64::from(eflags::DF)),
                };
                self.state_store(new, FLAGS);
            }
            Helper::Cli if self.plan.mode & mode::IOPL_OK != 0 => {
                let old = self.state_load(I32, FLAGS);
                let new = self.b.ins().band_imm_u(old, i64::from(!eflags::IF));
                self.state_store(new, FLAGS);
            }
            // The 8086 pushes ones in bits 12 to 15; a virtual-8086 program may have to be stopped, or sees VIF.
            Helper::Pushf if self.plan.model != Model::I8086 && self.plan.mode & mode::VM == 0 => {
                let keep = if imm as u8 == 2 { 0xffff } else { !(eflags::VM | eflags::RF) };
                let image = self.flags_image();
                let image = self.b.ins().ireduce(I32, image);
                let system = self.state_load(I32, FLAGS);
                let image = self.b.ins().bor(image, system);
                let image = self.b.ins().bor_imm_u(image, i64::from(eflags::ONE));
                let image = self.b.ins().band_imm_u(image, i64::from(keep));
                self.p(dst.max(slot::TEMP), image);
            }
            Helper::ReadSeg => {
                let at = offset_of!(State, segs) + seg(imm) as usize * size_of::<Segment>();
                let v = self.state_load(I16, at + offset_of!(Segment, selector));
                self.p(dst.max(slot::TEMP), v);
            }
            _ => return false,
        }
        true
    }

    /// What `op` comes to nearly always, in front of its call: returns the block behind both, which takes whether to stop
    /// there. Whoever calls this goes on with the call. The registers and flags are in the state as the call wants them.
    pub(super) fn short_way(&mut self, op: &Op) -> Option<Block> {
        let Op::Call { helper, a, imm, .. } = *op else { return None };
        if !matches!(helper.rewrite(), Rewrite::Beside(_)) {
            return None;
        }
        let (bits, model) = (self.plan.mode, self.plan.model);
        let supervisor = mode::PE | mode::VM | mode::NOT_CPL0 | mode::CHECKED;
        let (slow, done) = match helper {
            Helper::Sti if bits & mode::IOPL_OK != 0 => self.ways(),
            Helper::LoadSeg if reloads_segment(op) && bits & supervisor == mode::PE => self.ways(),
            // CPL 0: IOPL may be written, so that its bits need no mask.
            Helper::Popf if !matches!(model, Model::I8086 | Model::I286) && bits & (mode::VM | mode::NOT_CPL0) == 0 => {
                self.ways()
            }
            _ => return None,
        };
        match helper {
            Helper::Sti => self.short_sti(slow),
            Helper::LoadSeg => self.short_load_seg(a, seg(imm), slow),
            _ => self.short_popf(a, imm as u8, slow),
        }
        let go_on = self.b.ins().iconst(I8, 0);
        self.b.ins().jump(done, &[BlockArg::Value(go_on)]);
        self.enter(slow);
        Some(done)
    }

    fn ways(&mut self) -> (Block, Block) {
        let (slow, done) = (self.cold_block(), self.b.create_block());
        self.b.append_block_param(done, I8);
        (slow, done)
    }

    /// On in a new block if `c` holds, else to `slow`.
    fn go_if(&mut self, c: Value, slow: Block) {
        let on = self.b.create_block();
        self.b.ins().brif(c, on, &[], slow, &[]);
        self.enter(on);
    }

    /// STI with no interrupt waiting. The count says for which boundary interrupts stay off, should the slice end there.
    fn short_sti(&mut self, slow: Block) {
        self.go_if_no_pin(slow);
        let old = self.state_load(I32, FLAGS);
        let on = self.b.ins().band_imm_u(old, i64::from(eflags::IF));
        let new = self.b.ins().bor_imm_u(old, i64::from(eflags::IF));
        self.state_store(new, FLAGS);
        // With IF set already, there is no shadow.
        let left = self.frame_load(I64, offset_of!(Frame, left));
        let before = self.frame_load(I64, offset_of!(Frame, sti_left));
        let left = self.b.ins().select(on, before, left);
        self.frame_store(left, offset_of!(Frame, sti_left));
    }

    fn go_if_no_pin(&mut self, slow: Block) {
        let pins = self.frame_load(I64, offset_of!(Frame, pins));
        let pins = self.b.ins().load(I32, super::trusted(), pins, 0);
        let none = self.b.ins().icmp_imm_u(IntCC::Equal, pins, 0);
        self.go_if(none, slow);
    }

    /// The selector that the register holds, and its descriptor as it was loaded: nothing changes. At CPL 0 a selector
    /// that could be loaded once is allowed again, and the accessed bit is set.
    fn short_load_seg(&mut self, selector: u8, seg: SegReg, slow: Block) {
        let at = offset_of!(Frame, loaded_segs) + seg as usize * size_of::<Loaded>();
        let selector = self.gw(selector, crate::ir::Width::D);
        let selector = self.b.ins().band_imm_u(selector, 0xffff);
        let held = self.frame_load(I32, at + offset_of!(Loaded, selector));
        let same = self.b.ins().icmp(IntCC::Equal, selector, held);
        self.go_if(same, slow);
        let addr = self.frame_load(I32, at + offset_of!(Loaded, at));
        let addr = self.b.ins().uextend(I64, addr);
        let host = self.permitted(addr, 8, false, slow);
        let now = self.b.ins().load(I64, super::guest(), host, 0);
        let then = self.frame_load(I64, at + offset_of!(Loaded, descriptor));
        let same = self.b.ins().icmp(IntCC::Equal, now, then);
        self.go_if(same, slow);
    }

    /// POPF at CPL 0 of an image that changes nothing but DF, IF and the arithmetic flags, with no interrupt waiting.
    fn short_popf(&mut self, image: u8, osize: u8, slow: Block) {
        const PLAIN: u32 = eflags::IF | eflags::DF;
        let system = if osize == 2 {
            eflags::TF | eflags::IOPL | eflags::NT
        } else {
            eflags::TF | eflags::IOPL | eflags::NT | eflags::AC | eflags::ID
        };
        self.go_if_no_pin(slow);
        let image = self.gw(image, crate::ir::Width::D);
        let old = self.state_load(I32, FLAGS);
        let changed = self.b.ins().bxor(image, old);
        let changed = self.b.ins().band_imm_u(changed, i64::from(system));
        // RF is cleared.
        let resume = self.b.ins().band_imm_u(old, i64::from(eflags::RF));
        let changed = self.b.ins().bor(changed, resume);
        let same = self.b.ins().icmp_imm_u(IntCC::Equal, changed, 0);
        self.go_if(same, slow);
        let kept = self.b.ins().band_imm_u(old, i64::from(!PLAIN));
        let taken = self.b.ins().band_imm_u(image, i64::from(PLAIN));
        let new = self.b.ins().bor(kept, taken);
        self.state_store(new, FLAGS);
        let wide = self.b.ins().uextend(I64, image);
        self.set_flags_image(wide, eflags::ARITH);
        let fl = self.fl;
        self.spill_flags(fl);
        self.fl = Fl::Memory;
    }
}
