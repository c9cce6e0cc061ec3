//! `ring86 demo`: the built-in guest, a multiboot kernel with a prompt on the screen and on COM1.

use crate::boot::image;
use crate::boot::linux::Entry;
use crate::config::MachineConfig;
use crate::error::Result;

/// The machine of `config` with the demonstration guest in it.
///
/// # Errors
/// If the guest's image cannot be parsed.
pub fn config(mut config: MachineConfig) -> Result<MachineConfig> {
    let image = ring86_test_roms::demo_image();
    config.payload = Some(image::kernel("the demo", image, "", None, Entry::Real)?);
    Ok(config)
}
