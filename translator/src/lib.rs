//! Guest x86 code to host code: decoder, typed IR, tiers, shadow MMU.
//!
//! The way of a block: [`Cpu::run`] looks the instruction pointer up in the [`block`] cache; a miss decodes with
//! iced-x86 up to a control transfer ([`decode`]), lifts every instruction to the [`ir`] ([`lift`]), and [`interp`] runs
//! it. Loads and stores go through the shadow of [`mmu`]; what cannot be said in the IR is a call from the one table in
//! [`helpers`], most of them into [`system`]. The crate knows no device: everything outside is a [`Bus`].

pub mod activity;
pub mod block;
pub mod bus;
mod code_cache;
pub mod cpu;
pub mod decode;
pub mod engine;
pub mod fault;
mod flags;
pub mod fp;
mod frame;
pub mod helpers;
pub mod interp;
pub mod ir;
pub mod lift;
mod lower;
pub mod mmu;
pub mod model;
pub mod passthrough;
pub mod pins;
mod region;
pub mod state;
pub mod system;

pub use bus::{Bus, NullBus};
pub use cpu::{Cpu, Exit, Stats, TripleFault};
pub use fault::{Fault, Res};
pub use mmu::{Backing, Memory, Ram};
pub use model::Model;
pub use pins::Pins;
pub use state::State;
