//! `ring86 demo`: the built-in guest.

use crate::config::MachineConfig;
use crate::error::{Error, Result};

/// The machine of `config` with the demonstration guest in it.
///
/// # Errors
/// If the guest's image cannot be parsed.
pub fn config(_config: MachineConfig) -> Result<MachineConfig> {
    Err(Error::new("the demonstration guest is not in this build; use 'ring86 run'"))
}
