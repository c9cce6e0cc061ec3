//! The host processor as judge: every operation on edge-weighted random operands, against the real instruction.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod native;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod random;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod sse;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod transcendental;
mod values;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x87;
