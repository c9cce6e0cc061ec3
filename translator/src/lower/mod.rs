//! IR to Cranelift: one function for each region.
//!
//! The eight general registers are SSA variables, loaded at the entries and stored at the exits; flags are symbolic
//! (see [`flags`]); guest memory is reached through a check (see [`memory`]); what cannot be said in Cranelift's IR is
//! a call of the interpreter's own code (see [`calls`]). A cold way out stores everything as it was at the start of an
//! instruction, so that the interpreter can run that instruction with all its faults (see [`exits`]).

mod batch;
mod calls;
pub mod compile;
mod control;
mod describe;
mod exits;
mod flags;
mod int;
mod memory;
mod order;
mod privileged;
pub mod resume;
mod string;
#[cfg(test)]
mod tests;
pub mod trampoline;

use crate::frame::{Bounds, Frame};
use crate::ir::{Mem, Op, Width};
use crate::region::Plan;
use crate::state::{SegReg, State, VSlot, slot};
use core::mem::offset_of;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{
    AbiParam, Block, Function, InstBuilder, MemFlagsData, SigRef, Signature, Type, UserFuncName, Value,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Switch, Variable};
use exits::{Kind, Snapshot};
use flags::Fl;
use std::collections::HashMap;
use std::rc::Rc;

/// How compiled code reaches guest memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mmu {
    /// The flat shadow table.
    #[default]
    Table,
    /// The checked window.
    Window,
}

/// Addresses of the host functions that compiled code calls, and how to call them.
#[derive(Clone, Copy)]
pub struct Host {
    /// `fn(state)`: makes the flag slots up to date.
    pub resolve: usize,
    /// `fn(state, &Op)`: runs one operation; returns an [`exit`] code, 0 to go on.
    pub operation: usize,
    /// `fn(state, offset, value, what)`: makes an access to memory, see [`crate::frame::access`]; returns an [`exit`]
    /// code, 0 to go on.
    pub access: usize,
    /// The host's calling convention.
    pub convention: CallConv,
    /// What the function builder wants to know of the target.
    pub frontend: TargetFrontendConfig,
}

/// Operations that compiled code refers to by address: they must live as long as the code.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "the addresses are in the code: the operations must not move")]
pub struct Kept(Vec<Box<Op>>);

impl Kept {
    /// Keeps an operation and returns its address.
    fn keep(&mut self, op: Op) -> usize {
        let kept = Box::new(op);
        let address = std::ptr::from_ref::<Op>(&kept) as usize;
        self.0.push(kept);
        address
    }
}

/// A place that a region can be entered at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Distance from the anchor.
    pub delta: i32,
    /// Instructions that run at most from there to the next look at the count: no fewer may be left.
    pub need: i64,
}

/// A lowered region besides its Cranelift function.
#[derive(Debug, Default)]
pub struct Lowered {
    /// What the code refers to.
    pub kept: Kept,
    /// The entries, in the order of their numbers.
    pub entries: Vec<Entry>,
    /// Machine code of the batches that the region calls, in the order of their numbers.
    pub batches: Vec<Vec<u8>>,
}

fn ty(w: Width) -> Type {
    match w {
        Width::B => I8,
        Width::W => I16,
        Width::D => I32,
        Width::Q => I64,
    }
}

/// Accesses to the state: always mapped and aligned.
fn trusted() -> MemFlagsData {
    MemFlagsData::trusted()
}

/// Accesses to guest memory behind a check: they do not trap but need not be aligned. Little-endian on every host.
fn guest() -> MemFlagsData {
    MemFlagsData::new().with_notrap().with_endianness(cranelift_codegen::ir::Endianness::Little)
}

fn slot_offset(s: u8) -> usize {
    offset_of!(State, slots) + s as usize * 8
}

/// Where the low half of a slot is: the upper half of a general register's slot is always zero.
const LOW_HALF: usize = if cfg!(target_endian = "big") { 4 } else { 0 };

fn vector_offset(v: VSlot) -> usize {
    offset_of!(State, vectors) + usize::from(v & 31) * 16
}

fn bounds_offset(seg: SegReg) -> usize {
    offset_of!(Frame, segs) + seg as usize * size_of::<Bounds>()
}

/// True if nothing is known of the registers after `op`.
fn reloads(op: &Op) -> bool {
    matches!(op, Op::Call { .. } | Op::Fpu { .. } | Op::Vec { .. } | Op::Bcd { .. } | Op::Rcl { .. } | Op::Rcr { .. })
        || (calls::reach(op) == Some(calls::Reach::All) && !inline(op))
}

/// Operations that [`calls::reach`] names but that are usually lowered inline.
fn inline(op: &Op) -> bool {
    match *op {
        Op::Rcl { b, .. } | Op::Rcr { b, .. } => b.slot == slot::ZERO && b.imm == 1,
        Op::Shld { w, .. } | Op::Shrd { w, .. } => w == Width::D,
        Op::Mul { w, .. } | Op::Imul { w, .. } | Op::Div { w, .. } => w != Width::Q,
        _ => string::element(op).is_some(),
    }
}

/// The slots that an operation writes, helpers' results apart.
fn for_each_write(op: &Op, mut f: impl FnMut(u8)) {
    if let Some(s) = string::element(op) {
        string::for_each_write(&s, &mut f);
    }
    match *op {
        Op::Const { dst, .. }
        | Op::Mov { dst, .. }
        | Op::Sext { dst, .. }
        | Op::Insert { dst, .. }
        | Op::High8 { dst, .. }
        | Op::Lea { dst, .. }
        | Op::Eip { dst, .. }
        | Op::Add { dst, .. }
        | Op::Adc { dst, .. }
        | Op::Sub { dst, .. }
        | Op::Sbb { dst, .. }
        | Op::And { dst, .. }
        | Op::Or { dst, .. }
        | Op::Xor { dst, .. }
        | Op::Inc { dst, .. }
        | Op::Dec { dst, .. }
        | Op::Neg { dst, .. }
        | Op::Not { dst, .. }
        | Op::Shl { dst, .. }
        | Op::Shr { dst, .. }
        | Op::Sar { dst, .. }
        | Op::Rol { dst, .. }
        | Op::Ror { dst, .. }
        | Op::Rcl { dst, .. }
        | Op::Rcr { dst, .. }
        | Op::Shld { dst, .. }
        | Op::Shrd { dst, .. }
        | Op::Imul { dst, .. }
        | Op::Bsf { dst, .. }
        | Op::Bsr { dst, .. }
        | Op::Bit { dst, .. }
        | Op::Bswap { dst, .. }
        | Op::Cond { dst, .. }
        | Op::Select { dst, .. }
        | Op::IsZero { dst, .. }
        | Op::GetFlags { dst }
        | Op::Load { dst, .. }
        | Op::LoadRmw { dst, .. }
        | Op::LoadSeg { dst, .. }
        | Op::LoadRmwSeg { dst, .. }
        | Op::GetV { dst, .. }
        | Op::Call { dst, .. } => f(dst),
        Op::Mul { lo, hi, .. } => {
            f(lo);
            f(hi);
        }
        Op::Div { quot, rem, .. } => {
            f(quot);
            f(rem);
        }
        Op::Fpu { a, b, .. } => {
            f(a);
            f(b);
        }
        _ => {}
    }
}

/// The state of lowering.
struct Lowerer<'a, 'b> {
    b: FunctionBuilder<'b>,
    plan: &'a Plan,
    order: order::Order,
    mmu: Mmu,
    host: Host,
    st: Value,
    window: Value,
    table: Value,
    ram: Value,
    /// General registers, zero-extended: addresses need no extension then.
    regs: [Variable; 8],
    left: Variable,
    /// Quick code: registers and the count live in the state and nothing but flags passes from block to block in host
    /// registers. Exits have next to nothing to store, and the register allocator next to nothing to do.
    in_memory: bool,
    /// With `in_memory`: instructions of the running block that the count in the state has been lowered by.
    counted: i64,
    /// Cranelift's block for each block of the plan.
    blocks: Vec<Block>,
    signatures: [Option<SigRef>; 8],
    kept: Kept,
    exits: Vec<exits::Exit>,
    tails: Vec<exits::Tail>,
    /// With `in_memory`: the end of all exits.
    last: Option<Block>,
    trace_calls: bool,

    // The block being lowered.
    block: usize,
    /// Instructions left at the start of the block: a value and what to add to it.
    left_at: (Value, i64),
    /// The same of blocks that others follow.
    left_out: Vec<Option<(Value, i64)>>,
    /// Registers whose value is known in this block.
    cur: [Option<Value>; 8],
    /// Registers whose variable has to be set at the block's end.
    written: u8,
    /// Registers whose value differs from the state's.
    dirty: u8,
    temps: Box<[Option<Value>; 256]>,
    spilled: Box<[bool; 256]>,
    /// 32-bit values that are the low half of a 64-bit one whose upper half is zero.
    wide: HashMap<Value, Value>,
    fl: Fl,
    groups: memory::Groups,
    checked: Vec<memory::Checked>,

    // The instruction being lowered.
    snap: Snapshot,
    next_delta: i32,
    miss: Option<Block>,
    rmw: Option<(Mem, Value)>,
    /// The instruction's accesses often miss: see [`resume`].
    resuming: bool,
    stop: Option<Value>,
    /// The block's shared way out.
    tail: Option<Block>,
    /// The block's runs of floating-point and vector instructions.
    runs: Rc<Vec<batch::Run>>,
    batches: Vec<Vec<u8>>,
}

/// The signature of every region: `fn(state, entry number) -> exit`; see [`exit`] for what it returns.
pub fn signature(convention: CallConv) -> Signature {
    let mut s = Signature::new(convention);
    s.params = vec![AbiParam::new(I64), AbiParam::new(I64)];
    s.returns = vec![AbiParam::new(I64)];
    s
}

/// Lowers a plan into `func`. The plan gains copies of blocks, unless the code is to be quick to make rather than to run.
pub fn lower(
    func: &mut Function,
    fc: &mut FunctionBuilderContext,
    plan: &mut Plan,
    mmu: Mmu,
    host: Host,
    quick: bool,
) -> Lowered {
    if !quick {
        describe::split_entries(plan);
    }
    let plan = &*plan;
    func.signature = signature(host.convention);
    func.name = UserFuncName::user(0, 0);
    let mut b = FunctionBuilder::new(func, fc);
    let head = b.create_block();
    b.append_block_params_for_function_params(head);
    b.switch_to_block(head);
    b.seal_block(head);
    let (st, number) = (b.block_params(head)[0], b.block_params(head)[1]);
    let regs = std::array::from_fn(|_| b.declare_var(I64));
    let left = b.declare_var(I64);
    let blocks: Vec<Block> = plan.blocks.iter().map(|_| b.create_block()).collect();
    let order = order::Order::new(plan);
    let snap = Snapshot { regs: [None; 8], dirty: 0, fl: Fl::Memory, done: 0, delta: 0 };
    let mut l = Lowerer {
        b,
        plan,
        order,
        mmu,
        host,
        st,
        window: st,
        table: st,
        ram: st,
        regs,
        left,
        in_memory: quick,
        counted: 0,
        blocks,
        signatures: [None; 8],
        kept: Kept::default(),
        exits: Vec::new(),
        tails: Vec::new(),
        last: None,
        trace_calls: log::log_enabled!(log::Level::Trace),
        block: 0,
        left_at: (st, 0),
        left_out: vec![None; plan.blocks.len()],
        cur: [None; 8],
        written: 0,
        dirty: 0,
        temps: Box::new([None; 256]),
        spilled: Box::new([false; 256]),
        wide: HashMap::new(),
        fl: Fl::Memory,
        groups: memory::Groups::default(),
        checked: Vec::new(),
        snap,
        next_delta: 0,
        miss: None,
        rmw: None,
        resuming: false,
        stop: None,
        tail: None,
        runs: Rc::default(),
        batches: Vec::new(),
    };
    let entries = l.head(number);
    l.body();
    l.emit_exits();
    l.b.seal_all_blocks();
    let Lowerer { b, kept, batches, .. } = l;
    b.finalize(host.frontend);
    Lowered { kept, entries, batches }
}

impl Lowerer<'_, '_> {
    /// Continues in a block all of whose predecessors are known.
    fn enter(&mut self, block: Block) {
        self.b.switch_to_block(block);
        self.b.seal_block(block);
    }

    fn cold_block(&mut self) -> Block {
        let block = self.b.create_block();
        self.b.set_cold_block(block);
        block
    }

    fn state_load(&mut self, ty: Type, offset: usize) -> Value {
        self.b.ins().load(ty, trusted(), self.st, offset as i32)
    }

    fn state_store(&mut self, v: Value, offset: usize) {
        self.b.ins().store(trusted(), v, self.st, offset as i32);
    }

    fn frame_load(&mut self, ty: Type, offset: usize) -> Value {
        self.state_load(ty, offset_of!(State, frame) + offset)
    }

    fn frame_store(&mut self, v: Value, offset: usize) {
        self.state_store(v, offset_of!(State, frame) + offset);
    }

    /// RIP of the place `delta` from the anchor.
    fn rip(&mut self, delta: i32) -> Value {
        if let Some(f) = self.plan.fixed {
            let rip = f.rip.wrapping_add(delta as i64 as u64) & 0xffff_ffff;
            return self.b.ins().iconst(I64, rip as i64);
        }
        let base = self.frame_load(I64, offset_of!(Frame, rip_base));
        if delta == 0 {
            return base;
        }
        let v = self.b.ins().ireduce(I32, base);
        let v = self.b.ins().iadd_imm_s(v, i64::from(delta));
        self.b.ins().uextend(I64, v)
    }

    /// A slot's value, zero-extended to 64 bits.
    fn g(&mut self, s: u8) -> Value {
        let v = self.raw(s);
        self.zext(v)
    }

    /// A slot's value in whatever type it is held: general registers are I32, temporaries what they were set to; the
    /// bits above are zero.
    fn raw(&mut self, s: u8) -> Value {
        match s {
            0..8 => {
                if let Some(v) = self.cur[s as usize] {
                    return v;
                }
                let v = self.register(s);
                self.cur[s as usize] = Some(v);
                v
            }
            slot::ZERO => self.b.ins().iconst(I32, 0),
            slot::TEMP.. => {
                if let Some(v) = self.temps[s as usize] {
                    return v;
                }
                let v = self.state_load(I64, slot_offset(s));
                self.temps[s as usize] = Some(v);
                self.spilled[s as usize] = true;
                v
            }
            _ => self.state_load(I64, slot_offset(s)),
        }
    }

    /// A general register's value at the start of the block.
    fn register(&mut self, r: u8) -> Value {
        let wide = match self.in_memory {
            true => self.b.ins().uload32(trusted(), self.st, (slot_offset(r) + LOW_HALF) as i32),
            false => self.b.use_var(self.regs[r as usize]),
        };
        self.low_half(wide)
    }

    /// Sets a slot to a value of any type, zero-extended.
    fn p(&mut self, s: u8, v: Value) {
        match s {
            0..8 => {
                let v = self.fit(I32, v);
                self.cur[s as usize] = Some(v);
                if self.in_memory {
                    // Nothing in the instruction can fault any more: see the rule in [`crate::ir`].
                    self.state_store(v, slot_offset(s) + LOW_HALF);
                } else {
                    self.written |= 1 << s;
                    self.dirty |= 1 << s;
                }
            }
            slot::TEMP.. => {
                self.temps[s as usize] = Some(v);
                self.spilled[s as usize] = false;
            }
            slot::ZERO => {}
            _ => {
                let v = self.zext(v);
                self.state_store(v, slot_offset(s));
            }
        }
    }

    /// Instructions left when `done` of the block's are.
    fn left_after(&mut self, done: i64) -> Value {
        if self.in_memory {
            let left = self.frame_load(I64, offset_of!(Frame, left));
            return self.b.ins().iadd_imm_s(left, self.counted - done);
        }
        match (self.left_at.0, self.left_at.1 - done) {
            (left, 0) => left,
            (left, more) => self.b.ins().iadd_imm_s(left, more),
        }
    }

    fn block_instructions(&self) -> i64 {
        self.plan.blocks[self.block].marks.len() as i64
    }

    /// Loads what accesses to guest memory need.
    fn find_memory(&mut self) {
        match self.mmu {
            Mmu::Window => {
                self.window = self.frame_load(I64, offset_of!(Frame, window));
            }
            Mmu::Table => {
                self.table = self.frame_load(I64, offset_of!(Frame, table));
                self.ram = self.frame_load(I64, offset_of!(Frame, ram));
            }
        }
    }

    /// Loads what the whole region needs and goes to the entry asked for.
    fn head(&mut self, number: Value) -> Vec<Entry> {
        if !self.in_memory {
            let left = self.frame_load(I64, offset_of!(Frame, left));
            self.find_memory();
            for r in 0..8 {
                let v = self.b.ins().uload32(trusted(), self.st, (slot_offset(r) + LOW_HALF) as i32);
                self.b.def_var(self.regs[r as usize], v);
            }
            self.b.def_var(self.left, left);
        }
        let all: Vec<usize> = (0..self.plan.blocks.len()).filter(|i| self.plan.blocks[*i].entry).collect();
        let stubs: Vec<Block> = all.iter().map(|i| self.blocks[*i]).collect();
        if let [only] = stubs[..] {
            self.b.ins().jump(only, &[]);
        } else {
            let mut s = Switch::new();
            for (n, stub) in stubs.iter().enumerate().skip(1) {
                s.set_entry(n as u128, *stub);
            }
            s.emit(&mut self.b, number, stubs[0]);
        }
        all.iter().map(|i| Entry { delta: self.plan.blocks[*i].delta, need: self.order.need[*i] }).collect()
    }

    /// Goes on to `to` if `n` instructions may still run from this instruction on; otherwise leaves before it.
    fn need(&mut self, n: i64, to: Block) {
        let out = self.exit_before(Kind::Budget);
        let (left, n) = match self.in_memory {
            true => (self.frame_load(I64, offset_of!(Frame, left)), n - self.counted),
            false => (self.left_at.0, n - self.left_at.1),
        };
        let enough = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, left, n + self.snap.done);
        self.b.ins().brif(enough, to, &[], out, &[]);
    }

    fn body(&mut self) {
        let sequence = self.order.sequence.clone();
        let mut flags_out: Vec<Option<Fl>> = vec![None; self.plan.blocks.len()];
        for i in sequence {
            self.begin(i, &flags_out);
            let block = &self.plan.blocks[i];
            let mut mark = 0;
            let mut skip = 0;
            for (n, op) in block.ops.iter().enumerate() {
                if n < skip && !op.is_terminator() {
                    continue;
                }
                if block.marks.get(mark).is_some_and(|m| usize::from(m.op) == n) {
                    if mark > 0 {
                        self.stop_here();
                    }
                    self.instruction(i, mark);
                    let runs = Rc::clone(&self.runs);
                    if let Some(run) = runs.iter().find(|r| r.first == mark) {
                        self.run(run);
                        mark += run.len();
                        skip = block.marks.get(mark).map_or(usize::MAX, |m| usize::from(m.op));
                        continue;
                    }
                    mark += 1;
                }
                if op.is_terminator() {
                    flags_out[i] = Some(self.fl);
                    self.terminate(i, op, &mut flags_out);
                    break;
                }
                self.operation(n, op);
            }
        }
    }

    /// Starts a block.
    fn begin(&mut self, i: usize, flags_out: &[Option<Fl>]) {
        self.b.switch_to_block(self.blocks[i]);
        self.block = i;
        if !self.in_memory {
            let known = self.order.follows[i].and_then(|p| self.left_out[p]);
            self.left_at = known.unwrap_or_else(|| (self.b.use_var(self.left), 0));
        }
        self.cur = [None; 8];
        self.written = 0;
        self.dirty = if self.in_memory { 0 } else { self.order.dirty_in[i] };
        self.counted = 0;
        self.tail = None;
        self.fl = match (self.order.inherits[i].and_then(|p| flags_out[p]), self.order.described[i]) {
            (Some(fl), _) => fl,
            (None, Some(d)) => self.described(d),
            (None, None) => Fl::Memory,
        };
        let block = &self.plan.blocks[i];
        self.runs = Rc::clone(&self.order.runs[i]);
        if self.in_memory && (!self.runs.is_empty() || block.ops.iter().any(memory::touches)) {
            self.find_memory();
        }
        self.groups = memory::groups(block, &self.runs, self.plan.model, self.plan.mode);
        self.checked.clear();
        self.stop = None;
    }

    /// Starts an instruction.
    fn instruction(&mut self, i: usize, n: usize) {
        let block = &self.plan.blocks[i];
        let delta = block.delta.wrapping_add(i32::from(block.marks[n].offset));
        self.next_delta = block.marks.get(n + 1).map_or(delta, |m| block.delta.wrapping_add(i32::from(m.offset)));
        self.temps.fill(None);
        self.spilled.fill(false);
        self.miss = None;
        self.rmw = None;
        self.resuming = block.resume.contains(&(n as u16));
        self.snap = Snapshot { regs: self.cur, dirty: self.dirty, fl: self.fl, done: n as i64, delta };
        if n + 1 == block.marks.len()
            && let Some(need) = self.order.latch[i]
        {
            let go = self.b.create_block();
            self.need(need, go);
            self.enter(go);
        }
    }

    fn operation(&mut self, n: usize, op: &Op) {
        match *op {
            Op::Nop => {}
            Op::Undefined | Op::NotAvailable => self.always_leave(),
            Op::CheckTarget { a } => {
                let v = self.g(a);
                self.check_limit(v);
            }
            Op::GetV { dst, a, hi } => {
                let v = self.state_load(I64, vector_offset(a) + if hi { 8 } else { 0 });
                self.p(dst, v);
            }
            Op::SetV { dst, a, hi, clear } => {
                let v = self.g(a);
                self.state_store(v, vector_offset(dst) + if hi { 8 } else { 0 });
                if clear {
                    let zero = self.b.ins().iconst(I64, 0);
                    self.state_store(zero, vector_offset(dst) + if hi { 0 } else { 8 });
                }
            }
            Op::MovV { dst, a } => {
                for half in [0, 8] {
                    let v = self.state_load(I64, vector_offset(a) + half);
                    self.state_store(v, vector_offset(dst) + half);
                }
            }
            _ if (self.resuming && self.resuming_op(n, op))
                || self.memory_op(n, op)
                || self.int_op(op)
                || self.inline_call(op) => {}
            _ if let Some(s) = string::element(op) => self.string_element(&s),
            _ => match calls::reach(op) {
                Some(reach) => self.call_op(op, reach),
                None => self.always_leave(),
            },
        }
    }

    /// Sets the variables for the blocks that follow.
    fn commit(&mut self) {
        if self.in_memory {
            self.count_all();
            return;
        }
        for r in 0..8 {
            if self.written >> r & 1 != 0
                && let Some(v) = self.cur[r]
            {
                let v = self.zext(v);
                self.b.def_var(self.regs[r], v);
            }
        }
        let n = self.block_instructions();
        let left = self.left_after(n);
        self.b.def_var(self.left, left);
        self.left_out[self.block] = Some((self.left_at.0, self.left_at.1 - n));
    }

    /// With `in_memory`: takes what is left of the running block off the count.
    fn count_all(&mut self) {
        let n = self.block_instructions();
        if self.counted != n {
            let left = self.left_after(n);
            self.frame_store(left, offset_of!(Frame, left));
            self.counted = n;
        }
    }
}
