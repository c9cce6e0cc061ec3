//! The machine code of a batch.
//!
//! RDI is the state and RSI the arguments throughout. R8D: the guest's status word at the start. R9D: the host's status
//! word behind the last instruction that defines C1. R11D: AH is what LAHF showed behind the last instruction that set
//! flags. EDX: TOP at the start, times 16. EAX and ECX: addresses.

use super::{ArgLayout, Batch, Home, Kind, Plan, Pointer, Unit, sse, x87};
use crate::state::{Fpu, HostX87, Segment, State, on_host};
use iced_x86::code_asm::*;
use iced_x86::{Code, IcedError, Instruction};
use std::mem::offset_of;

/// Offset of a field in the state, as a displacement.
macro_rules! at {
    ($($field:tt)+) => { offset_of!(State, $($field)+) as i32 };
}

/// MXCSR as the host's compiled code expects it.
const HOST_MXCSR: u32 = 0x1f80;
/// The control word that x86-64 code expects.
const HOST_CONTROL: u32 = 0x37f;
/// ES and B: an exception is pending.
const PENDING: i32 = 0x8080;

const _: () = assert!(size_of::<crate::fp::F80>() == 16 && offset_of!(crate::fp::F80, sign_exp) == 8);
const _: () = assert!(offset_of!(State, vectors) % 16 == 0 && align_of::<State>() >= 16);
const _: () = assert!(offset_of!(Fpu, regs) == 0 && offset_of!(HostX87, control) == 0);

/// Numbers handed out for arguments.
#[derive(Default)]
struct Args(usize);

impl Args {
    fn next(&mut self) -> usize {
        self.0 += 1;
        self.0 - 1
    }
}

fn arg(n: usize) -> i32 {
    n as i32 * 8
}

struct Emitter<'a> {
    a: CodeAssembler,
    plan: &'a Plan<'a>,
    home: Home,
    fail: CodeLabel,
    args: Args,
    /// The host's x87 stack, top last: numbers of guest registers.
    host: Vec<u8>,
    /// Registers that differ from what the state holds, one bit each.
    dirty: u8,
    /// The guest's register stack as the instructions go.
    stack: x87::Stack,
    /// The instruction behind which the status word is complete.
    last_status: Option<usize>,
    /// The last instruction that sets flags.
    last_flags: Option<usize>,
    /// One has been emitted.
    flags_valid: bool,
}

/// Assembles the planned instructions.
pub(super) fn batch(plan: &Plan) -> Result<Batch, IcedError> {
    let (mut defined, mut from_host) = (0, 0);
    let (mut last_status, mut last_flags, mut last_ip, mut last_dp) = (None, None, None, None);
    for (n, (_, kind, shape)) in plan.items.iter().enumerate() {
        if let Kind::X87(op) = kind {
            if op.defines != 0 {
                last_status = Some(n);
                defined |= op.defines;
                from_host |= op.defines;
            }
            last_ip = Some(n);
            if shape.mem.is_some() {
                last_dp = Some(n);
            }
        }
        if shape.flags_out {
            last_flags = Some(n);
        }
    }
    let mut a = CodeAssembler::new(64)?;
    let fail = a.create_label();
    let mut e = Emitter {
        a,
        plan,
        home: plan.home,
        fail,
        args: Args::default(),
        host: Vec::new(),
        dirty: 0,
        stack: x87::Stack::default(),
        last_status,
        last_flags,
        flags_valid: false,
    };
    let labels = Labels {
        fail,
        control: e.a.create_label(),
        control_done: e.a.create_label(),
        clear: e.a.create_label(),
        clear_done: e.a.create_label(),
        fetch_mxcsr: e.a.create_label(),
        mxcsr_here: e.a.create_label(),
        fetch_x87: e.a.create_label(),
        x87_here: e.a.create_label(),
        default: e.a.create_label(),
    };
    let mut labels = labels;
    e.enter(&mut labels)?;
    let mut layouts = Vec::with_capacity(plan.items.len());
    for n in 0..plan.items.len() {
        layouts.push(e.item(n)?);
    }
    let mut pointer = |item: Option<usize>| item.map(|item| Pointer { item, arg: e.args.next() });
    let (ip, dp) = (pointer(last_ip), pointer(last_dp));
    e.leave(&labels, (defined, from_host), ip, dp, &layouts)?;
    e.out_of_line(&mut labels)?;
    let code = e.a.assemble(0)?;
    let may_refuse = plan.x87 || plan.mxcsr;
    Ok(Batch { code, args: layouts, ip, dp, arg_count: e.args.0, may_refuse })
}

struct Labels {
    fail: CodeLabel,
    control: CodeLabel,
    control_done: CodeLabel,
    clear: CodeLabel,
    clear_done: CodeLabel,
    fetch_mxcsr: CodeLabel,
    mxcsr_here: CodeLabel,
    fetch_x87: CodeLabel,
    x87_here: CodeLabel,
    default: CodeLabel,
}

fn bits(mask: u32) -> impl DoubleEndedIterator<Item = u8> {
    (0..16).filter(move |n| mask >> n & 1 != 0)
}

fn xmm(n: u8) -> AsmRegisterXmm {
    [xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13, xmm14, xmm15]
        [usize::from(n & 15)]
}

fn vector(n: u8) -> i32 {
    at!(vectors) + i32::from(n & 15) * 16
}

impl Emitter<'_> {
    /// Checks the preconditions and loads registers.
    fn enter(&mut self, l: &mut Labels) -> Result<(), IcedError> {
        let plan = self.plan;
        if self.home == Home::Host {
            self.enter_host(l)?;
        } else {
            self.enter_state(l)?;
        }
        for n in bits(plan.xmm_loads.into()) {
            self.a.movaps(xmm(n), xmmword_ptr(rdi + vector(n)))?;
        }
        if self.home == Home::State {
            for v in bits(plan.stack.loads.into()).rev() {
                let place = self.place(v)?;
                self.a.fld(tbyte_ptr(place))?;
                self.host.push(v);
            }
        }
        Ok(())
    }

    /// What the batch needs of the floating-point unit is on the host, or is put there.
    fn enter_host(&mut self, l: &mut Labels) -> Result<(), IcedError> {
        let a = &mut self.a;
        if self.plan.x87 {
            a.test(byte_ptr(rdi + at!(fp_on_host)), u32::from(on_host::X87))?;
            a.je(l.fetch_x87)?;
            a.set_label(&mut l.x87_here)?;
        }
        if self.plan.mxcsr {
            a.test(byte_ptr(rdi + at!(fp_on_host)), u32::from(on_host::MXCSR))?;
            a.je(l.fetch_mxcsr)?;
            a.set_label(&mut l.mxcsr_here)?;
        }
        Ok(())
    }

    fn enter_state(&mut self, l: &mut Labels) -> Result<(), IcedError> {
        let a = &mut self.a;
        if self.plan.mxcsr {
            a.mov(eax, dword_ptr(rdi + at!(mxcsr)))?;
            a.not(eax)?;
            a.test(eax, 0x1f80)?;
            a.jne(l.fail)?;
        }
        if self.plan.x87 {
            a.movzx(r8d, word_ptr(rdi + at!(fpu.sw)))?;
            a.movzx(eax, word_ptr(rdi + at!(fpu.cw)))?;
            a.test(r8d, PENDING)?;
            a.jne(l.fail)?;
            let (full, empty) = (self.plan.stack.full_before, self.plan.stack.empty_before);
            if full | empty != 0 {
                // Bit 3 of the count may be C3, which turns 8 bits full circle.
                a.mov(ecx, r8d)?;
                a.shr(ecx, 11)?;
                a.movzx(edx, byte_ptr(rdi + at!(fpu.empty)))?;
                a.ror(dl, cl)?;
                a.and(dl, u32::from(full | empty))?;
                if empty != 0 {
                    a.cmp(dl, u32::from(empty))?;
                }
                a.jne(l.fail)?;
            }
            a.cmp(ax, word_ptr(rdi + at!(host_x87.control)))?;
            a.jne(l.control)?;
            a.set_label(&mut l.control_done)?;
            // Flags that the host has raised and the guest has not would count as the guest's.
            a.mov(edx, r8d)?;
            a.not(edx)?;
            a.test(word_ptr(rdi + at!(host_x87.sticky)), dx)?;
            a.jne(l.clear)?;
            a.set_label(&mut l.clear_done)?;
            a.mov(edx, r8d)?;
            a.shr(edx, 7)?;
            a.and(edx, 0x70)?;
        }
        if self.plan.mxcsr {
            a.ldmxcsr(dword_ptr(rdi + at!(mxcsr)))?;
        }
        Ok(())
    }

    /// The address of guest register `v`. Changes ECX and the flags.
    fn place(&mut self, v: u8) -> Result<AsmMemoryOperand, IcedError> {
        if v == 0 {
            return Ok(rdi + rdx + at!(fpu));
        }
        self.a.lea(ecx, dword_ptr(rdx + i32::from(v) * 16))?;
        self.a.and(ecx, 0x70)?;
        Ok(rdi + rcx + at!(fpu))
    }

    /// How deep in the host's stack guest register `v` is.
    fn depth(&self, v: u8) -> u8 {
        self.host.iter().rev().position(|x| *x == v).unwrap_or(0) as u8
    }

    fn add(&mut self, ins: Instruction) -> Result<(), IcedError> {
        self.a.add_instruction(ins)
    }

    fn item(&mut self, n: usize) -> Result<ArgLayout, IcedError> {
        let plan = self.plan;
        let (item, kind, shape) = &plan.items[n];
        let mut layout = ArgLayout::default();
        if shape.mem.is_some() {
            let k = self.args.next();
            layout.mem = Some(k);
            self.a.mov(rax, qword_ptr(rsi + arg(k)))?;
        }
        match kind {
            Kind::Wait => {}
            Kind::Unit(unit) => self.unit(*unit, &mut layout)?,
            Kind::X87(op) => {
                let mut code = op.core;
                if shape.condition.is_some() {
                    code = Some(self.condition(item.ins.code(), &mut layout)?);
                }
                let op = x87::Op { core: code, ..*op };
                match self.home {
                    Home::Host => self.x87_on_host(&op)?,
                    Home::State => self.x87(n, &op)?,
                }
            }
            Kind::Sse(op) => {
                if op.gpr_in.is_some() {
                    layout.gpr_in = Some(self.args.next());
                }
                let place = layout.gpr_in.map_or(0, arg);
                self.add(sse::encoded(&item.ins, op, place.into()))?;
                if op.gpr_out.is_some() {
                    let k = self.args.next();
                    layout.gpr_out = Some(k);
                    self.a.mov(qword_ptr(rsi + arg(k)), rax)?;
                }
                if op.flags {
                    self.flags_set()?;
                }
            }
        }
        if self.last_flags == Some(n) {
            layout.flags = Some(self.args.next());
        }
        Ok(layout)
    }

    /// The control word in the state is always the guest's; the status word is the host's.
    fn unit(&mut self, unit: Unit, layout: &mut ArgLayout) -> Result<(), IcedError> {
        let fail = self.fail;
        let a = &mut self.a;
        match unit {
            Unit::StatusToAx => {
                let k = self.args.next();
                layout.gpr_out = Some(k);
                a.fnstsw(ax)?;
                a.movzx(eax, ax)?;
                a.mov(qword_ptr(rsi + arg(k)), rax)
            }
            Unit::StoreStatus => a.fnstsw(word_ptr(rax)),
            Unit::StoreControl => {
                a.mov(cx, word_ptr(rdi + at!(fpu.cw)))?;
                a.mov(word_ptr(rax), cx)
            }
            Unit::LoadControl => {
                a.movzx(eax, word_ptr(rax))?;
                control_is_usable(a, fail)?;
                a.and(eax, 0x1f3f)?;
                a.or(eax, 0x40)?;
                a.mov(word_ptr(rdi + at!(fpu.cw)), ax)?;
                a.fldcw(word_ptr(rdi + at!(fpu.cw)))
            }
        }
    }

    fn flags_set(&mut self) -> Result<(), IcedError> {
        self.flags_valid = true;
        self.a.lahf()?;
        self.a.mov(r11d, eax)
    }

    /// Sets the host's flags for a conditional move; returns the move to use.
    fn condition(&mut self, code: Code, layout: &mut ArgLayout) -> Result<Code, IcedError> {
        if self.flags_valid {
            self.a.mov(eax, r11d)?;
            self.a.sahf()?;
            return Ok(code);
        }
        let k = self.args.next();
        layout.condition = Some(k);
        self.a.cmp(dword_ptr(rsi + arg(k)), 0)?;
        Ok(Code::Fcmovne_st0_sti)
    }

    /// One x87 instruction, on the guest's own stack.
    fn x87_on_host(&mut self, op: &x87::Op) -> Result<(), IcedError> {
        let Some(code) = op.popping.or(op.core) else { return Ok(()) };
        self.add(x87::encoded(code, op.i))?;
        if op.sets_flags { self.flags_set() } else { Ok(()) }
    }

    /// One x87 instruction. What it pops goes back to the state if that lacks it.
    fn x87(&mut self, n: usize, op: &x87::Op) -> Result<(), IcedError> {
        let v = self.stack.at(op.i);
        let top = self.stack.at(0);
        let k = self.depth(v);
        if op.writes_top {
            self.dirty |= 1 << top;
        }
        if op.writes_i {
            self.dirty |= 1 << v;
        }
        // A register that is pushed again later gets its last value there.
        let keeps = |e: &Self, v: u8| e.dirty >> v & 1 != 0 && e.plan.stack.last_push[usize::from(v)] <= n;
        let popped: Vec<u8> = (0..op.pops).map(|p| self.stack.at(p)).collect();
        let kept = popped.iter().any(|v| keeps(self, *v));
        let before = self.host.len();
        // The plan has taken this step, so it cannot fail.
        let followed = self.stack.step(op, n);
        debug_assert!(followed.is_some());
        if !kept && op.pops > 0 {
            if let Some(code) = op.popping {
                self.add(x87::encoded(code, k))?;
            }
            self.host.truncate(before.saturating_sub(popped.len()));
            self.behind(n)?;
        } else if let Some(code) = op.core {
            self.add(x87::encoded(code, k))?;
            if op.push {
                let v = self.stack.at(0);
                self.host.push(v);
                self.dirty |= 1 << v;
            }
            self.behind(n)?;
            for v in popped.iter().copied() {
                self.discard(v, keeps(self, v))?;
            }
        } else if let Some(code) = op.popping {
            // There is no such store without a pop: it pops a copy.
            if self.host.len() < 8 {
                self.a.fld(st0)?;
                self.add(x87::encoded(code, k))?;
                self.behind(n)?;
                self.discard(top, true)?;
            } else {
                let place = self.place(top)?;
                self.a.fstp(tbyte_ptr(place))?;
                self.a.fld(tbyte_ptr(place))?;
                self.add(x87::encoded(code, k))?;
                self.host.pop();
                self.behind(n)?;
            }
        }
        for v in popped {
            self.dirty &= !(1 << v);
        }
        Ok(())
    }

    /// Between an instruction and what the batch adds to it, which would change C1.
    fn behind(&mut self, n: usize) -> Result<(), IcedError> {
        if self.last_status == Some(n) {
            self.a.fnstsw(ax)?;
            // FNSTSW leaves the flags alone, LAHF needs AX.
            self.a.mov(r9d, eax)?;
        }
        Ok(())
    }

    /// Pops the host's stack, keeping the value if `keep`.
    fn discard(&mut self, v: u8, keep: bool) -> Result<(), IcedError> {
        self.host.pop();
        if keep {
            let place = self.place(v)?;
            self.a.fstp(tbyte_ptr(place))
        } else {
            self.a.fstp(st0)
        }
    }

    /// Stores registers and status.
    fn leave(
        &mut self,
        l: &Labels,
        (defined, from_host): (u16, u16),
        ip: Option<Pointer>,
        dp: Option<Pointer>,
        layouts: &[ArgLayout],
    ) -> Result<(), IcedError> {
        while let Some(v) = self.host.last().copied() {
            self.discard(v, self.dirty >> v & 1 != 0)?;
        }
        for n in bits(self.plan.xmm_writes.into()) {
            self.a.movaps(xmmword_ptr(rdi + vector(n)), xmm(n))?;
        }
        let a = &mut self.a;
        if self.plan.mxcsr && self.home == Home::State {
            a.stmxcsr(dword_ptr(rdi + at!(mxcsr)))?;
            a.ldmxcsr(dword_ptr(l.default))?;
        }
        if self.home == Home::State {
            self.status(defined, from_host)?;
        }
        self.pointers(ip, dp)?;
        let a = &mut self.a;
        if let Some(k) = layouts.iter().find_map(|l| l.flags) {
            a.shr(r11d, 8)?;
            a.and(r11d, 0x45)?;
            a.mov(qword_ptr(rsi + arg(k)), r11)?;
        }
        a.mov(eax, 1)?;
        a.ret()
    }

    /// Stores tags and status word.
    fn status(&mut self, defined: u16, from_host: u16) -> Result<(), IcedError> {
        let a = &mut self.a;
        let (filled, emptied) = (self.plan.stack.filled(), self.plan.stack.emptied());
        if filled | emptied != 0 {
            a.mov(ecx, r8d)?;
            a.shr(ecx, 11)?;
            a.movzx(eax, byte_ptr(rdi + at!(fpu.empty)))?;
            a.ror(al, cl)?;
            a.and(al, u32::from(!filled))?;
            a.or(al, u32::from(emptied))?;
            a.rol(al, cl)?;
            a.mov(byte_ptr(rdi + at!(fpu.empty)), al)?;
        }
        let top = i32::from(self.plan.stack.top);
        if self.last_status.is_some() {
            a.mov(eax, r9d)?;
            a.and(eax, 0x3f)?;
            a.mov(word_ptr(rdi + at!(host_x87.sticky)), ax)?;
        }
        if top != 0 || self.last_status.is_some() {
            a.mov(eax, r8d)?;
            let mut cleared = i32::from(defined);
            if top != 0 {
                a.lea(ecx, dword_ptr(r8 + (top << 11)))?;
                a.and(ecx, 0x3800)?;
                cleared |= 0x3800;
            }
            a.and(eax, !cleared)?;
            if top != 0 {
                a.or(eax, ecx)?;
            }
            if self.last_status.is_some() {
                a.and(r9d, i32::from(from_host | 0x3f))?;
                a.or(eax, r9d)?;
            }
            a.mov(word_ptr(rdi + at!(fpu.sw)), ax)?;
        }
        Ok(())
    }

    /// The last instruction's addresses and opcode.
    fn pointers(&mut self, ip: Option<Pointer>, dp: Option<Pointer>) -> Result<(), IcedError> {
        let a = &mut self.a;
        let selector =
            |n: usize| (offset_of!(State, segs) + n * size_of::<Segment>() + offset_of!(Segment, selector)) as i32;
        if let Some(p) = ip {
            a.mov(eax, dword_ptr(rsi + arg(p.arg)))?;
            a.mov(qword_ptr(rdi + at!(fpu.last_ip)), rax)?;
            a.movzx(eax, word_ptr(rdi + selector(1)))?;
            a.mov(word_ptr(rdi + at!(fpu.last_cs)), ax)?;
            a.mov(eax, u32::from(self.plan.items[p.item].0.opcode))?;
            a.mov(word_ptr(rdi + at!(fpu.last_opcode)), ax)?;
        }
        if let Some(p) = dp {
            let seg = crate::lift::seg_of(self.plan.items[p.item].0.ins.memory_segment());
            a.mov(rax, qword_ptr(rsi + arg(p.arg)))?;
            a.mov(qword_ptr(rdi + at!(fpu.last_dp)), rax)?;
            a.movzx(eax, word_ptr(rdi + selector(seg as usize)))?;
            a.mov(word_ptr(rdi + at!(fpu.last_ds)), ax)?;
        }
        Ok(())
    }

    /// What is rarely needed.
    fn out_of_line(&mut self, l: &mut Labels) -> Result<(), IcedError> {
        let plan = self.plan;
        let a = &mut self.a;
        if plan.x87 && self.home == Home::State {
            // The host's control word becomes the guest's, if that masks everything. Its reserved precision is not
            // the same on all processors.
            a.set_label(&mut l.control)?;
            control_is_usable(a, l.fail)?;
            a.fldcw(word_ptr(rdi + at!(fpu.cw)))?;
            a.mov(word_ptr(rdi + at!(host_x87.control)), ax)?;
            a.jmp(l.control_done)?;
            a.set_label(&mut l.clear)?;
            a.fnclex()?;
            a.mov(word_ptr(rdi + at!(host_x87.sticky)), 0)?;
            a.jmp(l.clear_done)?;
        }
        if plan.x87 && self.home == Home::Host {
            a.set_label(&mut l.fetch_x87)?;
            fetch_x87(a, l.fail)?;
            a.jmp(l.x87_here)?;
        }
        if plan.mxcsr && self.home == Home::Host {
            a.set_label(&mut l.fetch_mxcsr)?;
            a.mov(eax, dword_ptr(rdi + at!(mxcsr)))?;
            a.not(eax)?;
            a.test(eax, 0x1f80)?;
            a.jne(l.fail)?;
            a.ldmxcsr(dword_ptr(rdi + at!(mxcsr)))?;
            a.or(byte_ptr(rdi + at!(fp_on_host)), u32::from(on_host::MXCSR))?;
            a.jmp(l.mxcsr_here)?;
        }
        if plan.x87 || plan.mxcsr {
            a.set_label(&mut l.fail)?;
            a.xor(eax, eax)?;
            a.ret()?;
        }
        if plan.mxcsr && self.home == Home::State {
            a.set_label(&mut l.default)?;
            a.dd(&[HOST_MXCSR])?;
        }
        Ok(())
    }
}

/// Goes to `fail` unless the control word in EAX masks everything. The reserved precision is refused too: it is not the
/// same on all processors.
fn control_is_usable(a: &mut CodeAssembler, fail: CodeLabel) -> Result<(), IcedError> {
    a.mov(ecx, eax)?;
    a.and(ecx, 0x3f)?;
    a.cmp(ecx, 0x3f)?;
    a.jne(fail)?;
    a.mov(ecx, eax)?;
    a.and(ecx, 0x300)?;
    a.cmp(ecx, 0x100)?;
    a.je(fail)
}

/// Offsets in the image of FXSAVE (SDM vol. 1, table 10-2).
mod image {
    pub const CONTROL: i32 = 0;
    pub const STATUS: i32 = 2;
    /// One bit a register, set if it is not empty.
    pub const TAGS: i32 = 4;
    pub const MXCSR: i32 = 24;
    /// ST(0), and so on.
    pub const STACK: i32 = 32;
    pub const SIZE: i32 = 512;
}

/// An image on the stack, at RSP; RBP holds the old stack pointer.
fn reserve_image(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.push(rbp)?;
    a.mov(rbp, rsp)?;
    a.sub(rsp, image::SIZE)?;
    a.and(rsp, -64)
}

fn free_image(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(rsp, rbp)?;
    a.pop(rbp)
}

/// Copies the eight registers between state and image; EDX is TOP times 16. Changes RCX, RDX and XMM0.
fn copy_registers(a: &mut CodeAssembler, to_image: bool) -> Result<(), IcedError> {
    let mut next = a.create_label();
    a.xor(ecx, ecx)?;
    a.set_label(&mut next)?;
    let (here, there) = (xmmword_ptr(rdi + rdx + at!(fpu)), xmmword_ptr(rsp + rcx + image::STACK));
    if to_image {
        a.movups(xmm0, here)?;
        a.movaps(there, xmm0)?;
    } else {
        a.movaps(xmm0, there)?;
        a.movups(here, xmm0)?;
    }
    a.add(edx, 16)?;
    a.and(edx, 0x70)?;
    a.add(ecx, 16)?;
    a.cmp(ecx, 128)?;
    a.jne(next)
}

/// Gives the guest's x87 unit to the host, or goes to `fail`. Changes all XMM registers.
fn fetch_x87(a: &mut CodeAssembler, fail: CodeLabel) -> Result<(), IcedError> {
    a.movzx(r8d, word_ptr(rdi + at!(fpu.sw)))?;
    a.test(r8d, PENDING)?;
    a.jne(fail)?;
    a.movzx(eax, word_ptr(rdi + at!(fpu.cw)))?;
    control_is_usable(a, fail)?;
    reserve_image(a)?;
    a.xorps(xmm0, xmm0)?;
    a.movaps(xmmword_ptr(rsp), xmm0)?;
    a.movaps(xmmword_ptr(rsp + 16), xmm0)?;
    a.mov(word_ptr(rsp + image::CONTROL), ax)?;
    a.mov(word_ptr(rsp + image::STATUS), r8w)?;
    a.movzx(eax, byte_ptr(rdi + at!(fpu.empty)))?;
    a.not(eax)?;
    a.mov(byte_ptr(rsp + image::TAGS), al)?;
    a.stmxcsr(dword_ptr(rsp + image::MXCSR))?;
    a.mov(edx, r8d)?;
    a.shr(edx, 7)?;
    a.and(edx, 0x70)?;
    copy_registers(a, true)?;
    a.fxrstor64(ptr(rsp))?;
    free_image(a)?;
    a.or(byte_ptr(rdi + at!(fp_on_host)), u32::from(on_host::X87))
}

/// Code of `extern "sysv64" fn(state: *mut State)` that brings home what [`State::fp_on_host`] names, and gives the host
/// the floating-point state that the calling convention asks for. It does next to nothing if there is nothing to do.
/// `None` if it cannot be assembled.
pub fn settle() -> Option<Vec<u8>> {
    let build = || -> Result<Vec<u8>, IcedError> {
        let mut a = CodeAssembler::new(64)?;
        let mut default = a.create_label();
        let mut control = a.create_label();
        let mut no_mxcsr = a.create_label();
        let mut done = a.create_label();
        a.movzx(eax, byte_ptr(rdi + at!(fp_on_host)))?;
        a.test(eax, eax)?;
        a.je(done)?;
        a.mov(byte_ptr(rdi + at!(fp_on_host)), 0)?;
        a.test(eax, i32::from(on_host::MXCSR))?;
        a.je(no_mxcsr)?;
        a.stmxcsr(dword_ptr(rdi + at!(mxcsr)))?;
        a.ldmxcsr(dword_ptr(default))?;
        a.set_label(&mut no_mxcsr)?;
        a.test(eax, i32::from(on_host::X87))?;
        a.je(done)?;
        reserve_image(&mut a)?;
        a.fxsave64(ptr(rsp))?;
        a.movzx(edx, word_ptr(rsp + image::STATUS))?;
        a.mov(word_ptr(rdi + at!(fpu.sw)), dx)?;
        a.movzx(eax, byte_ptr(rsp + image::TAGS))?;
        a.not(eax)?;
        a.mov(byte_ptr(rdi + at!(fpu.empty)), al)?;
        a.shr(edx, 7)?;
        a.and(edx, 0x70)?;
        copy_registers(&mut a, false)?;
        free_image(&mut a)?;
        // Many times faster than FNINIT; the exception flags may stay.
        a.emms()?;
        a.fldcw(word_ptr(control))?;
        a.mov(dword_ptr(rdi + at!(host_x87)), HOST_CONTROL | u32::from(HostX87::UNKNOWN.sticky) << 16)?;
        a.set_label(&mut done)?;
        a.ret()?;
        a.set_label(&mut default)?;
        a.dd(&[HOST_MXCSR])?;
        a.set_label(&mut control)?;
        a.dw(&[HOST_CONTROL as u16])?;
        a.assemble(0)
    };
    build().ok()
}

/// Code of `extern "sysv64" fn(state: *mut State)` that gives the host's x87 unit, left as [`Home::State`] leaves it, the
/// state that the calling convention asks for. `None` if it cannot be assembled.
pub fn release() -> Option<Vec<u8>> {
    let build = || -> Result<Vec<u8>, IcedError> {
        let mut a = CodeAssembler::new(64)?;
        let mut default = a.create_label();
        a.fnclex()?;
        a.fldcw(word_ptr(default))?;
        a.mov(dword_ptr(rdi + at!(host_x87)), HOST_CONTROL)?;
        a.ret()?;
        a.set_label(&mut default)?;
        a.dw(&[HOST_CONTROL as u16])?;
        a.assemble(0)
    };
    build().ok()
}
