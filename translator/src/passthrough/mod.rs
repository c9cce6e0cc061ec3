//! Floating point and vectors on x86-64 hosts: the guest's own instructions, run by the host's own processor.
//!
//! Compilers reorder, commute and drop floating-point operations; what they do to a NaN operand or to an exception flag
//! nobody promises. So a run of x87, SSE and SSE2 instructions becomes a *batch*: a small function that loads the guest
//! registers the run needs, executes the same instructions with their operands renamed, and stores what they changed.
//! The answers are the processor's, the ones the interpreter is measured against.
//!
//! # Calling a batch
//!
//! A batch is `extern "sysv64" fn(state: *mut State, args: *mut u64) -> u32`. Before the call the caller has checked and
//! translated every memory operand, in guest order, and put into `args` what [`Batch::args`], [`Batch::ip`] and
//! [`Batch::dp`] ask for; so nothing in a batch faults. 1: the instructions are done, and register and flag results are
//! in `args`. 0: a precondition does not hold, and nothing of the guest has changed: the interpreter runs the
//! instructions, behind [`settle`] code under [`Home::Host`].
//!
//! Preconditions: all SSE exceptions are masked if an instruction computes under MXCSR; for x87 instructions all x87
//! exceptions are masked, none is pending, precision control is not the reserved 01, and no register is empty that is
//! read, nor full that is pushed into.
//!
//! # Where the floating-point unit's state is
//!
//! Moving it takes longer than computing with it, so there are two ways, [`Home`]. A batch of the first kind must
//! not run while batches of the second have something on the host.

mod emit;
mod sse;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod tests;
mod x87;

use crate::ir::{Cc, Width};
use crate::lift;
use crate::model::Model;
use crate::state::{Slot, mode, slot};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

pub use emit::{release, settle};

/// Where the guest's x87 unit and MXCSR are between batches. XMM registers are always in the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// In the state. MXCSR is loaded before and stored behind the instructions, and the host gets its default back. Of
    /// the x87 registers those that the batch touches are loaded and stored, which leaves the host's stack empty; its
    /// control word and exception flags stay as they come out, since changing them costs more than the batch itself.
    /// [`crate::state::HostX87`] remembers what they are, and [`release`] code tidies up.
    State,
    /// In the host's own registers once a batch has used them; [`crate::State::fp_on_host`] tells. [`settle`] code brings
    /// them home, and must run before anything but a batch looks at or changes `fpu` or `mxcsr` in the state, and before
    /// compiled Rust runs that may compute with floats: at the latest when [`crate::Cpu::run`] returns. Bringing x87 home
    /// and back takes about as long as a hundred instructions. A register stack fault is no reason to refuse here: the
    /// host gives the masked response itself.
    Host,
}

/// Most instructions in a batch.
pub const MAX_ITEMS: usize = 64;

/// What an instruction does with its memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemUse {
    /// Size in bytes: 2, 4, 8, 10 or 16.
    pub bytes: u8,
    /// It is read.
    pub read: bool,
    /// It is written, every byte of it.
    pub write: bool,
    /// An address that is not a multiple of 16 is #GP(0).
    pub align16: bool,
}

/// What a batched instruction needs from the code around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shape {
    /// Its memory operand.
    pub mem: Option<MemUse>,
    /// A general register whose low 32 bits it reads.
    pub gpr_in: Option<Slot>,
    /// A general register whose low 16 or 32 bits it writes; the value handed back is zero-extended.
    pub gpr_out: Option<(Slot, Width)>,
    /// It sets ZF, PF and CF, and clears OF, SF and AF.
    pub flags_out: bool,
    /// It moves or not by this condition.
    pub condition: Option<Cc>,
    /// It is an x87 instruction that leaves its address, opcode and, with a memory operand, that operand's offset for
    /// FSTENV.
    pub pointers: bool,
}

/// One guest instruction.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// As decoded.
    pub ins: Instruction,
    /// The eleven opcode bits that FSTENV shows, see [`crate::lift::x87::opcode`]; 0 for SSE.
    pub opcode: u16,
}

/// Where in the argument array a batch finds and leaves an instruction's values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ArgLayout {
    /// In: host pointer of the memory operand.
    pub mem: Option<usize>,
    /// In: value of the general register read.
    pub gpr_in: Option<usize>,
    /// Out: value of the general register written.
    pub gpr_out: Option<usize>,
    /// Out: ZF, PF and CF at their places in EFLAGS, all other bits zero. Only the batch's last instruction that sets
    /// flags has it.
    pub flags: Option<usize>,
    /// In: 1 if [`Shape::condition`] holds, 0 if not. Absent if an earlier instruction of the batch sets the flags.
    pub condition: Option<usize>,
}

/// An address that the x87 unit remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pointer {
    /// The instruction it belongs to.
    pub item: usize,
    /// In: the address.
    pub arg: usize,
}

/// A batch, assembled.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Machine code, entered at its first byte; it runs at any address and never writes to itself.
    pub code: Vec<u8>,
    /// One for each instruction.
    pub args: Vec<ArgLayout>,
    /// The last x87 instruction's EIP, 32 bits.
    pub ip: Option<Pointer>,
    /// The offset, inside its segment, of the last x87 instruction's memory operand; the last one that has any.
    pub dp: Option<Pointer>,
    /// Length of the argument array.
    pub arg_count: usize,
    /// True if the batch can return 0.
    pub may_refuse: bool,
}

/// What an instruction is to a batch.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// WAIT: nothing, since no exception is pending.
    Wait,
    X87(x87::Op),
    /// On the x87 unit itself.
    Unit(Unit),
    /// SSE and MMX.
    Sse(sse::Op),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    StatusToAx,
    StoreStatus,
    StoreControl,
    /// The first of its batch, since a control word that unmasks an exception refuses the batch.
    LoadControl,
}

impl Kind {
    /// The whole x87 unit has to be on the host.
    fn needs_host(&self) -> bool {
        match self {
            Kind::Unit(_) => true,
            Kind::X87(op) => op.sets_flags,
            Kind::Sse(op) => op.mmx,
            Kind::Wait => false,
        }
    }
}

impl Unit {
    fn of(ins: &Instruction) -> Option<Unit> {
        match ins.mnemonic() {
            Mnemonic::Fnstsw if ins.op0_kind() == OpKind::Register => Some(Unit::StatusToAx),
            Mnemonic::Fnstsw => Some(Unit::StoreStatus),
            Mnemonic::Fnstcw => Some(Unit::StoreControl),
            Mnemonic::Fldcw => Some(Unit::LoadControl),
            _ => None,
        }
    }
}

fn classify(ins: &Instruction) -> Option<(Kind, Shape)> {
    if ins.has_lock_prefix() {
        return None;
    }
    if ins.mnemonic() == Mnemonic::Wait {
        return Some((Kind::Wait, Shape::default()));
    }
    if let Some(unit) = Unit::of(ins) {
        let write = unit != Unit::LoadControl;
        let mem = MemUse { bytes: 2, read: !write, write, align16: false };
        let to_ax = unit == Unit::StatusToAx;
        let gpr_out = to_ax.then_some((slot::RAX, Width::W));
        return Some((Kind::Unit(unit), Shape { mem: (!to_ax).then_some(mem), gpr_out, ..Shape::default() }));
    }
    if lift::x87::is_x87(ins) {
        let op = x87::op(ins)?;
        let mem = (ins.op_count() > 0 && ins.op0_kind() == OpKind::Memory).then(|| {
            let write = matches!(ins.mnemonic(), Mnemonic::Fst | Mnemonic::Fstp | Mnemonic::Fist | Mnemonic::Fistp);
            MemUse { bytes: ins.memory_size().size() as u8, read: !write, write, align16: false }
        });
        let condition = match ins.mnemonic() {
            Mnemonic::Fcmovb => Some(Cc::B),
            Mnemonic::Fcmove => Some(Cc::E),
            Mnemonic::Fcmovbe => Some(Cc::Be),
            Mnemonic::Fcmovu => Some(Cc::P),
            Mnemonic::Fcmovnb => Some(Cc::Ae),
            Mnemonic::Fcmovne => Some(Cc::Ne),
            Mnemonic::Fcmovnbe => Some(Cc::A),
            Mnemonic::Fcmovnu => Some(Cc::Np),
            _ => None,
        };
        let shape = Shape { mem, condition, flags_out: op.sets_flags, pointers: true, ..Shape::default() };
        return Some((Kind::X87(op), shape));
    }
    let op = sse::op(ins)?;
    let shape = Shape {
        mem: op.mem,
        gpr_in: op.gpr_in.map(|(_, r)| r),
        gpr_out: op.gpr_out.map(|(_, r)| (r, Width::D)),
        flags_out: op.flags,
        ..Shape::default()
    };
    Some((Kind::Sse(op), shape))
}

/// What `ins` needs in a batch; `None` if it is not for one: on other hosts, in a mode where it would fault, and where
/// the host's result or its effect on the state may differ from the interpreter's. The 8086 here has no coprocessor, and
/// bytes of its own meaning where later processors have prefixes.
///
/// MMX instructions, FNSTSW, FNSTCW and FLDCW are for batches of [`Home::Host`] alone: with the x87 unit in the state they
/// are a few loads and stores.
pub fn shape(ins: &Instruction, model: Model, mode: u32, home: Home) -> Option<Shape> {
    if !cfg!(target_arch = "x86_64") || model == Model::I8086 || !lift::supported(model, ins) {
        return None;
    }
    let (kind, shape) = classify(ins)?;
    let usable = match kind {
        Kind::Wait => mode & mode::WAIT_NM == 0,
        Kind::X87(_) | Kind::Unit(_) => mode & mode::FPU != 0,
        Kind::Sse(op) if op.mmx => mode & mode::FPU != 0,
        Kind::Sse(_) => mode & mode::SSE != 0,
    };
    let usable = usable && (home == Home::Host || !kind.needs_host());
    usable.then_some(shape)
}

/// The instructions of a batch and what they add up to.
#[derive(Clone, Debug)]
struct Plan<'a> {
    home: Home,
    items: Vec<(&'a Item, Kind, Shape)>,
    stack: x87::Stack,
    /// An x87 or MMX instruction or WAIT is among them.
    x87: bool,
    mxcsr: bool,
    /// XMM registers read before they are written, one bit each.
    xmm_loads: u16,
    xmm_writes: u16,
    gpr_written: u16,
}

impl<'a> Plan<'a> {
    fn new(home: Home) -> Self {
        Plan {
            home,
            items: Vec::new(),
            stack: x87::Stack::default(),
            x87: false,
            mxcsr: false,
            xmm_loads: 0,
            xmm_writes: 0,
            gpr_written: 0,
        }
    }

    /// Adds an instruction; `None`, and nothing changes, if it cannot be in the same batch.
    fn push(&mut self, item: &'a Item) -> Option<()> {
        if self.items.len() >= MAX_ITEMS {
            return None;
        }
        let (kind, shape) = classify(&item.ins)?;
        let written = |r: Register| r != Register::None && self.gpr_written >> (r.number() & 15) & 1 != 0;
        let address = shape.mem.is_some() && (written(item.ins.memory_base()) || written(item.ins.memory_index()));
        if address || shape.gpr_in.is_some_and(|s| self.gpr_written >> s & 1 != 0) {
            return None;
        }
        if self.home == Home::State && kind.needs_host() {
            return None;
        }
        match &kind {
            Kind::Wait => self.x87 = true,
            Kind::Unit(Unit::LoadControl) if !self.items.is_empty() => return None,
            Kind::Unit(_) => self.x87 = true,
            // The host keeps its own stack, faults included.
            Kind::X87(_) if self.home == Home::Host => self.x87 = true,
            Kind::X87(op) => {
                let mut stack = self.stack;
                stack.step(op, self.items.len())?;
                self.stack = stack;
                self.x87 = true;
            }
            Kind::Sse(op) => {
                self.mxcsr |= op.mxcsr;
                self.x87 |= op.mmx;
                self.xmm_loads |= op.reads & !self.xmm_writes;
                self.xmm_writes |= op.writes;
            }
        }
        if let Some((s, _)) = shape.gpr_out {
            self.gpr_written |= 1 << s;
        }
        self.items.push((item, kind, shape));
        Some(())
    }
}

/// How many of the leading `items` can be one batch. It ends before an instruction that needs a general register,
/// for its address or as an operand, that an earlier one writes, before FLDCW, and, in [`Home::State`], before a certain
/// register stack fault.
pub fn longest(items: &[Item], home: Home) -> usize {
    let mut plan = Plan::new(home);
    items.iter().take_while(|i| plan.push(i).is_some()).count()
}

/// Assembles a batch; `None` unless `items` is not empty and [`longest`] takes all of it.
pub fn assemble(items: &[Item], home: Home) -> Option<Batch> {
    let mut plan = Plan::new(home);
    for item in items {
        plan.push(item)?;
    }
    if plan.items.is_empty() { None } else { emit::batch(&plan).ok() }
}
