//! Runs of floating-point and vector instructions: the guest's own instructions on an x86-64 host, see
//! [`crate::passthrough`]. The batch's machine code lies behind the region's own and is called like a function; here its
//! operands are checked and handed over. Any refusal leaves before the first instruction of the run.

use super::{Lowerer, exits::Kind};
use crate::ir::Mem;
use crate::lift;
use crate::model::Model;
use crate::passthrough::{self, Batch, Home, Item};
use crate::region::{Plan, PlanBlock};
use crate::state::{eflags, mode};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, InstBuilder, Signature, StackSlotData, StackSlotKind, UserExternalName,
};
use cranelift_codegen::isa::CallConv;
use iced_x86::{Decoder, DecoderOptions};

/// A run of a block.
pub(super) struct Run {
    /// Number of its first instruction in the block.
    pub first: usize,
    items: Vec<Item>,
    batch: Batch,
}

impl Run {
    /// Instructions in it.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// For each instruction with a memory operand: its number in the block, the operand, bytes, whether it is written.
    pub fn accesses(&self, model: Model, mode: u32) -> Vec<(usize, Mem, u32, bool)> {
        let mut all = Vec::new();
        for (k, item) in self.items.iter().enumerate() {
            if let Some(m) = passthrough::shape(&item.ins, model, mode, Home::Host).and_then(|s| s.mem) {
                all.push((self.first + k, lift::memory_operand(&item.ins), u32::from(m.bytes), m.write));
            }
        }
        all
    }
}

/// The runs of a block. `keep_last`: the last instruction stays out of them.
pub(super) fn runs(plan: &Plan, block: &PlanBlock, keep_last: bool) -> Vec<Run> {
    let mut found = Vec::new();
    let end = block.marks.len() - usize::from(keep_last);
    let bits = if plan.mode & mode::CODE32 != 0 { 32 } else { 16 };
    let mut n = 0;
    while n < end {
        let mut items = Vec::new();
        while let Some(item) = block.marks.get(n + items.len()).filter(|_| n + items.len() < end).and_then(|m| {
            if block.resume.contains(&((n + items.len()) as u16)) {
                return None;
            }
            let at = usize::from(m.offset);
            let bytes = block.bytes.get(at..)?;
            let ins = Decoder::with_ip(bits, bytes, at as u64, DecoderOptions::NONE).decode();
            passthrough::shape(&ins, plan.model, plan.mode, Home::Host)?;
            Some(Item { ins, opcode: lift::x87::opcode(&bytes[..ins.len().min(bytes.len())]) })
        }) {
            items.push(item);
        }
        let count = passthrough::longest(&items, Home::Host);
        items.truncate(count);
        match passthrough::assemble(&items, Home::Host) {
            Some(batch) => {
                let len = items.len();
                found.push(Run { first: n, items, batch });
                n += len;
            }
            None => n += 1,
        }
    }
    found
}

/// For each operation of a block, whether it is part of a run.
pub(super) fn in_runs(block: &PlanBlock, runs: &[Run]) -> Vec<bool> {
    let mut all = vec![false; block.ops.len()];
    for run in runs {
        let op = |n: usize| block.marks.get(n).map_or(block.ops.len() - 1, |m| usize::from(m.op));
        all[op(run.first)..op(run.first + run.len())].fill(true);
    }
    all
}

impl Lowerer<'_, '_> {
    /// Lowers a run; [`Lowerer::snap`] is the start of its first instruction.
    pub(super) fn run(&mut self, run: &Run) {
        let (model, mode) = (self.plan.model, self.plan.mode);
        let size = (run.batch.arg_count.max(1) * 8) as u32;
        let slot = self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, size, 3));
        let put = |s: &mut Self, v, n: usize| {
            s.b.ins().stack_store(I64, v, slot, (n * 8) as i32);
        };
        for (k, (item, args)) in run.items.iter().zip(&run.batch.args).enumerate() {
            let Some(shape) = passthrough::shape(&item.ins, model, mode, Home::Host) else { continue };
            if let (Some(m), Some(n)) = (shape.mem, args.mem) {
                let mem = lift::memory_operand(&item.ins);
                let (at, disp) = self.run_operand(run.first + k, &mem, u32::from(m.bytes), m.write, m.align16);
                let at = if disp == 0 { at } else { self.b.ins().iadd_imm_s(at, i64::from(disp)) };
                put(self, at, n);
            }
            if let (Some(s), Some(n)) = (shape.gpr_in, args.gpr_in) {
                let v = self.g(s);
                put(self, v, n);
            }
            if let (Some(cc), Some(n)) = (shape.condition, args.condition) {
                let v = self.cond(cc);
                let v = self.b.ins().uextend(I64, v);
                put(self, v, n);
            }
        }
        if let Some(ip) = run.batch.ip {
            let block = &self.plan.blocks[self.block];
            let delta = block.delta.wrapping_add(i32::from(block.marks[run.first + ip.item].offset));
            let v = self.rip(delta);
            put(self, v, ip.arg);
        }
        if let Some(dp) = run.batch.dp {
            let mem = lift::memory_operand(&run.items[dp.item].ins);
            let v = self.offset(&mem);
            put(self, v, dp.arg);
        }
        let number = self.batches.len() as u32;
        self.batches.push(run.batch.code.clone());
        let name = self.b.func.declare_imported_user_function(UserExternalName { namespace: 1, index: number });
        let mut signature = Signature::new(CallConv::SystemV);
        signature.params = vec![AbiParam::new(I64); 2];
        signature.returns = vec![AbiParam::new(I32)];
        let signature = self.b.import_signature(signature);
        let f = self.b.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        });
        let at = self.b.ins().stack_addr(I64, slot, 0);
        let st = self.st;
        let call = self.b.ins().call(f, &[st, at]);
        if run.batch.may_refuse {
            let done = self.b.inst_results(call)[0];
            let done = self.b.ins().icmp_imm_u(IntCC::NotEqual, done, 0);
            self.leave_unless(done);
        }
        for (item, args) in run.items.iter().zip(&run.batch.args) {
            let Some(shape) = passthrough::shape(&item.ins, model, mode, Home::Host) else { continue };
            if let (Some((s, w)), Some(n)) = (shape.gpr_out, args.gpr_out) {
                let v = self.b.ins().stack_load(I64, I64, slot, (n * 8) as i32);
                self.set_register(s, w, v);
            }
            if let Some(n) = args.flags {
                let v = self.b.ins().stack_load(I64, I64, slot, (n * 8) as i32);
                self.set_flags_image(v, eflags::ARITH);
            }
        }
    }
}

const _: () = {
    // A refusal is an ordinary way out.
    assert!(Kind::Miss as u32 == crate::frame::exit::MISS);
};
