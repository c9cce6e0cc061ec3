//! The system half of the CPU: segments, far transfers, interrupts, tasks, control registers, MSRs, CPUID.
//!
//! Everything here is a method of [`crate::Cpu`] that an instruction calls through the helper table. While a block runs
//! RIP stays at the block's first instruction, so a function that needs the address of the next instruction takes
//! `next_ip`. A function that returns a fault has changed nothing, with the exceptions the manual makes: descriptors
//! keep their accessed bit, IRET unblocks NMI, and a task switch that has passed the point of no return faults in the
//! new task (`NEW_TASK`).

mod control;
mod cpuid;
mod debug;
mod descriptor;
mod exception;
mod explain;
mod flags;
mod interrupt;
mod io;
mod iret;
mod msr;
#[cfg(test)]
mod program;
#[cfg(test)]
mod random;
mod segments;
mod stack;
mod task;
#[cfg(test)]
pub(crate) mod testing;
mod transfer;

/// In [`crate::Fault::dr6`]: the fault belongs to the first instruction of a task just switched to. RIP is already
/// there and must not be set back to the instruction that switched.
pub(crate) const NEW_TASK: u32 = 1 << 30;

/// Error code bit: the fault happened while an external event or an earlier exception was delivered (SDM vol. 3, 6.13).
pub(crate) const EXT: u32 = 1;

/// Error code bit: the index is into the IDT.
pub(crate) const IDT: u32 = 2;
