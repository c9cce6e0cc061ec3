//! Writes every program and the demo guest into a directory, for running them elsewhere by hand.

fn main() -> std::io::Result<()> {
    let dir = std::path::PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    for rom in ring86_test_roms::all() {
        std::fs::write(dir.join(rom.name), rom.image)?;
        std::fs::write(dir.join(format!("{}.flp", rom.name)), ring86_test_roms::floppy(rom))?;
        println!("{}\t{}\t{:?}\t{}\t{}", rom.name, rom.group, rom.kind, rom.cpu, rom.fact);
    }
    std::fs::write(dir.join("demo.img"), ring86_test_roms::demo_image())?;
    Ok(())
}
