//! The conformance laboratory: Ring86 against judges, by suites.
//!
//! [`command`] reads the command line and calls the suites; what they find is [`results`], which [`output`] and [`html`]
//! print, [`results::merge`] joins over [`shard`]s, and [`coverage`] counts by instruction form.
//!
//! The native suite: [`templates`] finds every instruction form, [`generate`] makes encodings and states, [`native`] and
//! [`thunk`] run them on the host CPU, [`subject`] on ours, and [`report`] compares, under the [`masks`]. [`minimise`]
//! makes what fails small; [`plant`] is a bug on purpose that shows it, [`sweep`] one in every flag of every form. Other suites: recorded [`vectors`], our own
//! [`roms`], guests that report by themselves ([`image`]), programs with their end [`states`], Linux [`programs`],
//! our engines among themselves ([`tiers`]), and [`lockstep`].
//! [`qemu`] and [`bochs`] give a second [`opinion`] on guests, [`unicorn`] is another [`judge`] of single instructions, and
//! [`bytes`] asks the host about random bytes.

mod address;
pub mod bochs;
pub mod bytes;
pub mod command;
mod content;
pub mod coverage;
mod fields;
mod freedom;
pub mod generate;
pub mod guest;
mod host_differs;
pub mod html;
pub mod image;
pub mod judge;
pub mod layout;
pub mod lockstep;
pub mod masks;
pub mod minimise;
pub mod moo;
pub mod native;
pub mod opinion;
pub mod output;
pub mod plant;
pub mod programs;
pub mod qemu;
mod refused;
pub mod report;
pub mod results;
pub mod roms;
pub mod run;
pub mod shard;
pub mod states;
pub mod subject;
pub mod sweep;
mod tables;
pub mod templates;
pub mod thunk;
pub mod tiers;
pub mod unicorn;
mod unicorn_differs;
pub mod values;
pub mod vectors;
mod vectors_json;
