//! Writes the firmware's images to files, for use with another emulator: `dump-bios BIOS [VIDEO-BIOS]`.
fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(bios) = arguments.next() else {
        eprintln!("usage: dump-bios BIOS [VIDEO-BIOS]");
        std::process::exit(2);
    };
    std::fs::write(bios, ring86_firmware::bios_image())?;
    if let Some(video) = arguments.next() {
        std::fs::write(video, ring86_firmware::vga_bios_image())?;
    }
    Ok(())
}
