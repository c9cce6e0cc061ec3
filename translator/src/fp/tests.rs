//! The host processor as judge: every operation on edge-weighted random operands, against the real instruction.

#[cfg(target_arch = "x86_64")]
mod native;
mod random;
#[cfg(target_arch = "x86_64")]
mod sse;
#[cfg(target_arch = "x86_64")]
mod transcendental;
#[cfg(target_arch = "x86_64")]
mod x87;
