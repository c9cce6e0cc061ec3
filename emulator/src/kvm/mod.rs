//! `--engine kvm`: the host's processor itself behind the same board, to compare with.
//!
//! Memory, chips and firmware are those of every machine; only the processor is KVM's. What it leaves the guest for
//! (ports, device memory, HLT, interrupts) is counted and timed by kind, as hypervisor calls are. The feature `kvm`
//! builds it; without it, or on other hosts, making one says why not.

#[cfg(all(feature = "kvm", target_os = "linux", target_arch = "x86_64"))]
mod probe;
#[cfg(all(feature = "kvm", target_os = "linux", target_arch = "x86_64"))]
mod registers;
#[cfg(all(feature = "kvm", target_os = "linux", target_arch = "x86_64"))]
mod vcpu;

#[cfg(all(feature = "kvm", target_os = "linux", target_arch = "x86_64"))]
pub use {probe::trouble, vcpu::Kvm};

#[cfg(not(all(feature = "kvm", target_os = "linux", target_arch = "x86_64")))]
mod absent;
#[cfg(not(all(feature = "kvm", target_os = "linux", target_arch = "x86_64")))]
pub use absent::{Kvm, trouble};
