//! Into compiled code and back: the only place that calls it, and the functions that it calls.
#![expect(unsafe_code, reason = "compiled code is called through its address, and calls back with raw pointers")]

use crate::activity::Doing;
use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::frame::exit;
use crate::helpers;
use crate::ir::Op;
use crate::lift::{vector, x87};
use crate::lower::trampoline::Jump;
use crate::state::{SegReg, State, mode};

type Trampoline = unsafe extern "C" fn(*mut State, *const Jump) -> u64;

pub(super) fn resolve_address() -> usize {
    resolve as unsafe extern "C" fn(*mut State) -> u32 as usize
}

pub(super) fn operation_address() -> usize {
    operation as unsafe extern "C" fn(*mut State, *const Op) -> u32 as usize
}

pub(super) fn access_address() -> usize {
    access as unsafe extern "C" fn(*mut State, u64, u64, u64) -> u32 as usize
}

/// Makes the flag slots up to date.
///
/// # Safety
/// `state` is the state that compiled code was entered with.
unsafe extern "C" fn resolve(state: *mut State) -> u32 {
    // SAFETY: compiled code passes on the pointer it was given, and nobody else uses the state meanwhile.
    unsafe { (*state).resolve_flags() };
    0
}

/// Runs one operation for compiled code. Returns 0, [`exit::FAULT`] or [`exit::STOP`].
///
/// # Safety
/// `state` is the state that compiled code was entered with; `op` is one of the operations that its region keeps.
unsafe extern "C" fn operation(state: *mut State, op: *const Op) -> u32 {
    // SAFETY: as below; the floating-point state comes home before any Rust code can use or look at it.
    unsafe { settle(state) };
    // SAFETY: [`run`] has put the addresses of the CPU and of its bus into the frame and touches neither until compiled
    // code returns; `op` lives as long as the region.
    let (cpu, bus, op) = unsafe {
        let frame = &(*state).frame;
        (&mut *(frame.cpu as *mut Cpu), &mut **(frame.bus as *mut &mut dyn Bus), &*op)
    };
    cpu.host_operation(bus, op)
}

/// Makes an access to memory for compiled code. Returns 0, [`exit::FAULT`], [`exit::MISS`] or [`exit::STOP`].
///
/// # Safety
/// `state` is the state that compiled code was entered with.
unsafe extern "C" fn access(state: *mut State, off: u64, value: u64, info: u64) -> u32 {
    // SAFETY: as in [`operation`].
    unsafe { settle(state) };
    // SAFETY: as in [`operation`].
    let (cpu, bus) = unsafe {
        let frame = &(*state).frame;
        (&mut *(frame.cpu as *mut Cpu), &mut **(frame.bus as *mut &mut dyn Bus))
    };
    cpu.host_access(bus, off, value, info as u32)
}

/// The code that [`settle`] calls. Only x86-64 hosts have any.
#[cfg(target_arch = "x86_64")]
type Settle = unsafe extern "sysv64" fn(*mut State);
#[cfg(not(target_arch = "x86_64"))]
type Settle = unsafe extern "C" fn(*mut State);

/// Brings home what batches have left in the host's floating-point registers.
///
/// # Safety
/// As for [`operation`].
unsafe fn settle(state: *mut State) {
    // SAFETY: the caller vouches for the state; the address is that of code which does just this, and lives as long as
    // the code cache that the running code is in.
    unsafe {
        if (*state).fp_on_host != 0 && (*state).frame.settle != 0 {
            let f = std::mem::transmute::<usize, Settle>((*state).frame.settle);
            f(state);
        }
    }
}

impl Cpu {
    fn host_operation(&mut self, bus: &mut dyn Bus, op: &Op) -> u32 {
        let (generation, user) = (self.shadow.generation, self.user());
        let result = self.run_operation(bus, op);
        if self.user() != user {
            self.show_view();
        }
        match result {
            Err(fault) => self.keep_fault(fault),
            Ok(()) if std::mem::take(&mut self.bail) || self.shadow.generation != generation => exit::STOP,
            Ok(()) if matches!(op, Op::Call { .. }) && self.must_look() => exit::STOP,
            Ok(()) => 0,
        }
    }

    fn host_access(&mut self, bus: &mut dyn Bus, off: u64, value: u64, info: u32) -> u32 {
        let generation = self.shadow.generation;
        match self.make_access(bus, off, value, info) {
            Err(fault) => self.keep_fault(fault),
            Ok(None) => exit::MISS,
            Ok(Some(v)) => {
                self.state.frame.loaded = v;
                let stop = std::mem::take(&mut self.bail) || self.shadow.generation != generation;
                if stop { exit::STOP } else { 0 }
            }
        }
    }

    /// Keeps a fault until compiled code has been left.
    fn keep_fault(&mut self, fault: Fault) -> u32 {
        self.bail = false;
        if let Some(e) = &mut self.engine {
            e.fault = Some(fault);
        }
        exit::FAULT
    }

    /// Whether the run loop has something to do before the next instruction, or compiled code must not find its way to
    /// it alone: regions of a code segment that is not flat belong to that segment.
    fn must_look(&self) -> bool {
        let s = &self.state;
        let cs = &s.segs[1];
        s.halted
            || s.ss_shadow
            || s.pending_debug != 0
            || s.mode & mode::STEP != 0
            || self.pins.get() & self.watched() != 0
            || (s.mode & mode::FLAT << SegReg::Cs as u32 == 0
                && self.engine.as_ref().is_some_and(|e| !e.jumps.is_of((cs.base, cs.limit))))
    }

    /// Gives compiled code the memory of the present privilege.
    fn show_view(&mut self) {
        let view = usize::from(self.user());
        let frame = &mut self.state.frame;
        frame.table = self.shadow.table_address(view);
        frame.window = self.shadow.base_ptr(view) as usize;
    }

    fn run_operation(&mut self, bus: &mut dyn Bus, op: &Op) -> Res<()> {
        match *op {
            Op::Fpu { op, sti, a, b } => {
                if matches!(op, x87::FpuOp::CompareFlags | x87::FpuOp::CompareFlagsQuiet | x87::FpuOp::MoveIf) {
                    self.state.resolve_flags();
                }
                x87::exec(&mut self.state, op, sti, a, b)
            }
            Op::Vec { op, dst, a, b, imm } => {
                self.state.resolve_flags();
                vector::exec(&mut self.state, op, dst, a, b, imm)
            }
            Op::Call { helper, dst, a, b, imm } => {
                self.stats.helpers += 1;
                self.state.resolve_flags();
                helpers::call(self, bus, helper, dst, a, b, imm)
            }
            _ => {
                self.state.resolve_flags();
                self.plain_operation(bus, op)
            }
        }
    }
}

/// Runs compiled code from `jump` until it is left. RIP and the count are exact afterwards.
pub(super) fn run(cpu: &mut Cpu, bus: &mut dyn Bus, jump: &Jump, end: u64) -> Res<u32> {
    let before = cpu.retired;
    cpu.state.frame.left = (end - cpu.retired).min(i64::MAX as u64) as i64;
    cpu.state.frame.exit_addr = u64::from(u32::MAX);
    cpu.show_view();
    cpu.state.frame.ram = cpu.mem.ram().as_ptr() as usize;
    cpu.state.frame.chunks = cpu.mem.chunks_address();
    cpu.state.frame.pins = cpu.pins.address();
    cpu.state.frame.sti_left = i64::MIN;
    let Some(e) = &mut cpu.engine else { return Ok(exit::DONE) };
    e.running = true;
    e.end = end;
    e.stats.entries += 1;
    cpu.state.frame.jumps = e.jumps.address();
    cpu.state.frame.settle = e.settle;
    // SAFETY: the trampoline was built for exactly this signature.
    let enter: Trampoline = unsafe { std::mem::transmute::<usize, Trampoline>(e.trampoline) };
    let before_activity = cpu.activity.enter(Doing::Compiled);
    let mut bus: &mut dyn Bus = bus;
    cpu.state.frame.bus = &raw mut bus as usize;
    let this: *mut Cpu = cpu;
    // SAFETY: `jump` comes from the jump cache, which holds regions that are installed and valid for the present mode
    // and address space. Compiled code touches the state, guest memory behind checks, and the CPU and bus through
    // `operation`, while this function touches none of them.
    let packed = unsafe {
        (*this).state.frame.cpu = this as usize;
        let state = &raw mut (*this).state;
        let packed = enter(state, jump);
        settle(state);
        packed
    };
    let (why, done, delta) = exit::unpack(packed);
    cpu.activity.leave(before_activity);
    cpu.state.resolve_flags();
    let left = cpu.state.frame.left - i64::from(done);
    cpu.retired = end.saturating_sub(left.max(0) as u64);
    let sti_left = std::mem::replace(&mut cpu.state.frame.sti_left, i64::MIN);
    if sti_left != i64::MIN {
        // The later one counts if calls have made others.
        let until = end.saturating_sub(sti_left.max(0) as u64) + 1;
        cpu.sti_until = if cpu.sti_until == u64::MAX { until } else { until.max(cpu.sti_until) };
    }
    let Some(e) = &mut cpu.engine else { return Ok(exit::DONE) };
    e.running = false;
    e.bury();
    e.stats.retired += cpu.retired - before;
    e.stats.exits[(why as usize).min(6)] += 1;
    let fault = if why == exit::FAULT { e.fault.take() } else { None };
    let new_task = fault.is_some_and(|f: Fault| f.dr6 & crate::system::NEW_TASK != 0);
    if matches!(why, exit::MISS | exit::FAULT | exit::BUDGET | exit::STOP) && !new_task {
        cpu.state.rip = cpu.state.frame.rip_base.wrapping_add(delta as i64 as u64) & 0xffff_ffff;
    }
    match fault {
        Some(fault) => Err(fault),
        None => Ok(why),
    }
}
