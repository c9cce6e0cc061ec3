//! The PC: the only crate that sees both the processor and the chips.
//!
//! [`machine`] runs the CPU in slices between the moments at which a chip of the [`board`] wants attention; [`bus`] is
//! what the CPU sees of the board; [`scheduler`] is guest time; [`layout`] is the physical address space; [`boot`]
//! starts kernels. [`session`] connects a machine to the user's terminal and files, and [`cli`] is the command line.

pub mod apics;
pub mod automation;
pub mod board;
pub mod boot;
pub mod bus;
pub mod cli;
pub mod compare;
pub mod config;
pub mod conform;
pub mod demo;
pub mod display;
pub mod drives;
pub mod error;
pub mod firmware;
pub mod foreign;
pub mod keys;
pub mod kvm;
pub mod layout;
pub mod lockstep;
pub mod logging;
pub mod machine;
pub mod network;
pub mod printer;
pub mod scheduler;
pub mod serial;
pub mod session;
pub mod sound;
pub mod stats;
pub mod storage;
pub mod terminal;
pub mod trace;
