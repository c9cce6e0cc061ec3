//! Guest memory: RAM, the physical map, page walks and the shadow of linear addresses.

pub mod access;
pub mod memory;
pub mod ram;
pub mod shadow;
pub mod walk;
pub mod window;

pub use memory::{Backing, Memory};
pub use ram::Ram;
