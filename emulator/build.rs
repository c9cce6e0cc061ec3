//! Assembles the firmware, so that no start of a machine has to.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    write(&out, "bios.bin", ring86_firmware::bios_image())?;
    write(&out, "bios-without-apic.bin", ring86_firmware::bios_image_without_apic())?;
    for height in [8, 14, 16] {
        let font = ring86_firmware::font(height).ok_or(io::ErrorKind::NotFound)?;
        write(&out, &format!("font-{height}.bin"), &font)?;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::write(folder.join(name), bytes)
}
