//! Other people's firmware: `--bios`, `--vga-bios` and `--option-rom`, and what such firmware wants to know.
//!
//! SeaBIOS, the Bochs BIOS and U-Boot run unmodified. They find a 440FX board as ours does, and beside it what QEMU's
//! machines offer: the configuration device (RAM, boot menu, files) and the debug console at port 402h. The processor
//! has no system management mode; the power management function says so in the way that these programs understand.

use crate::boot;
use crate::config::MachineConfig;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::network::CardModel;
use crate::session::read_file;
use clap::Args;
use ring86_devices::BlockMedia;
use ring86_devices::fw_cfg::{FwCfg, spec::key};
use std::path::{Path, PathBuf};

/// Least and most bytes of a BIOS; between them, multiples of the least.
const BIOS_SIZES: (usize, usize) = (64 << 10, 16 << 20);
/// Most bytes of a video BIOS: the machine leaves it the space up to D0000h.
const VIDEO_BIOS_MOST: usize = 64 << 10;
/// Most bytes of a card's ROM.
const CARD_ROM_MOST: usize = 1 << 20;

/// Values of the APM control port that switch ACPI on and off, as these programs put them into their ACPI tables.
pub const ACPI_COMMANDS: (u8, u8) = (0xf1, 0xf0);
/// First and last port of the debug console: SeaBIOS and the Bochs BIOS write what they do to the first, the Bochs BIOS
/// its debugging lines to the last.
pub const DEBUG_PORTS: (u16, u16) = (0x402, 0x403);

/// Firmware in place of our own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firmware {
    /// The system BIOS: multiples of 64 KiB.
    pub bios: Vec<u8>,
    /// The display adapter's ROM.
    pub video: Option<Vec<u8>>,
}

/// The options about firmware.
#[derive(Clone, Debug, Default, Args)]
pub struct FirmwareArgs {
    /// Firmware in place of our own, for example SeaBIOS: 64K to 16M, it ends at 4 GiB and (128K of it) at 1 MiB.
    #[arg(long, value_name = "FILE")]
    bios: Option<PathBuf>,
    /// The display adapter's ROM, for --bios: our own firmware has its own.
    #[arg(long, value_name = "FILE")]
    vga_bios: Option<PathBuf>,
    /// The network card's ROM, for example iPXE's.
    #[arg(long, value_name = "FILE")]
    option_rom: Option<PathBuf>,
    /// Write what the guest's firmware says on its debug ports (402h, E9h) to a file, at the end.
    #[arg(long, value_name = "FILE")]
    firmware_log: Option<PathBuf>,
}

impl FirmwareArgs {
    /// Whether a BIOS or a card's ROM is given, which can do something without a drive or a kernel.
    pub fn has_rom(&self) -> bool {
        self.bios.is_some() || self.option_rom.is_some()
    }

    /// The file of `--firmware-log`.
    pub fn log(&self) -> Option<&Path> {
        self.firmware_log.as_deref()
    }

    /// Reads the files and puts them into the machine.
    ///
    /// # Errors
    /// One sentence if a file cannot be read or is not what its option wants.
    pub fn insert(&self, config: &mut MachineConfig) -> Result<()> {
        match (&self.bios, &self.vga_bios) {
            (Some(bios), video) => {
                let video = video.as_deref().map(|path| rom("--vga-bios", path, VIDEO_BIOS_MOST)).transpose()?;
                config.firmware = Some(Firmware { bios: read_bios(bios)?, video });
            }
            (None, Some(video)) => {
                return Err(Error::new(format!(
                    "--vga-bios {}: our own firmware has its own video BIOS; give --bios as well",
                    video.display()
                )));
            }
            (None, None) => {}
        }
        if let Some(path) = &self.option_rom {
            let wants = |what| Err(Error::new(format!("--option-rom {}: {what}", path.display())));
            match &config.network {
                None => return wants("this machine has no network card to carry it; give --net user"),
                Some(net) if net.model == CardModel::Ne2kIsa => {
                    return wants("an ISA card has no socket for it here; use --net user,model=rtl8139 or ne2k_pci");
                }
                Some(_) => config.network_rom = Some(rom("--option-rom", path, CARD_ROM_MOST)?),
            }
        }
        Ok(())
    }
}

/// A BIOS of a size that chips have.
fn read_bios(path: &Path) -> Result<Vec<u8>> {
    let bytes = read_file(path).map_err(|e| e.of("--bios"))?;
    let (least, most) = BIOS_SIZES;
    if bytes.is_empty() || bytes.len() % least != 0 || bytes.len() > most {
        return Err(Error::new(format!(
            "--bios {}: it has {} bytes; a BIOS has a multiple of 64 KiB, up to 16 MiB",
            path.display(),
            bytes.len()
        )));
    }
    Ok(bytes)
}

/// A ROM that begins as adapters' ROMs do and is as long as it says.
fn rom(option: &str, path: &Path, most: usize) -> Result<Vec<u8>> {
    let bytes = read_file(path).map_err(|e| e.of(option))?;
    let bad = |what: String| Err(Error::new(format!("{option} {}: {what}", path.display())));
    match bytes.get(..3) {
        Some([0x55, 0xaa, _]) if bytes.len() > most => {
            bad(format!("it has {} bytes, more than the {} KiB there is room for", bytes.len(), most >> 10))
        }
        Some([0x55, 0xaa, blocks]) if usize::from(*blocks) * 512 > bytes.len() => {
            bad(format!("it has {} bytes, fewer than the {} its header names", bytes.len(), usize::from(*blocks) * 512))
        }
        Some([0x55, 0xaa, _]) => Ok(bytes),
        _ => bad("it is no adapter's ROM, which begins with the bytes 55h AAh".to_owned()),
    }
}

/// One entry of the file `etc/e820`.
fn e820(start: u64, len: u64, kind: u32) -> Vec<u8> {
    [&start.to_le_bytes()[..], &len.to_le_bytes(), &kind.to_le_bytes()].concat()
}

/// The configuration device of a machine with others' firmware.
pub fn configuration_device(config: &MachineConfig, layout: &Layout) -> FwCfg {
    let mut device = FwCfg::new();
    device.add(key::RAM_SIZE, layout.low_end().to_le_bytes().to_vec());
    device.add(key::NB_CPUS, vec![1, 0]);
    device.add(key::MAX_CPUS, vec![1, 0]);
    device.add(key::BOOT_MENU, vec![config.drives.boot.menu.into(), 0]);
    device.add(key::IRQ0_OVERRIDE, vec![1]);
    let (low, high) = (layout.low_end(), layout.high_end());
    let mut memory = e820(0, low, 1);
    if high > crate::layout::FOUR_GIB {
        memory.extend(e820(crate::layout::FOUR_GIB, high - crate::layout::FOUR_GIB, 1));
    }
    device.add_file("etc/e820", memory);
    if config.payload.is_some() {
        // SeaBIOS looks for ROMs in its files and on PCI cards only, not at the addresses where ISA cards have theirs.
        device.add_file("genroms/ring86-boot.rom", boot::option_rom());
    }
    device
}

/// What these programs look for in the clock chip's RAM beside what our own firmware does: how they shall translate the
/// geometry of each hard disk (39h, 3Ah: two bits each, 1 for LBA).
pub fn fill_cmos(config: &MachineConfig, cmos: &mut [u8; 256]) {
    /// Sectors of the largest disk that int 13h reaches with its physical geometry: 1024 cylinders, 16 heads.
    const UNTRANSLATED: u64 = 1024 * 16 * 63;
    for (place, unit) in config.drives.ide_units() {
        if let crate::drives::Unit::Disk(image) = unit
            && image.len() / 512 > UNTRANSLATED
        {
            cmos[0x39 + place / 4] |= 1 << (2 * (place % 4));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Image;
    use ring86_devices::PortIo;
    use ring86_translator::Pins;
    use std::sync::Arc;

    fn item(device: &mut FwCfg, key: u16, len: usize) -> Vec<u8> {
        device.port_write(0, 0x510, 2, key.into());
        (0..len).map(|_| device.port_read(0, 0x511, 1) as u8).collect()
    }

    #[test]
    fn the_configuration_device_knows_the_machine() {
        let mut config = MachineConfig::new();
        config.ram = crate::layout::PCI_HOLE + (1 << 20);
        let layout = Layout::new(config.ram, &[0; 65_536], None, Arc::new(Pins::default())).unwrap();
        let mut device = configuration_device(&config, &layout);
        assert_eq!(item(&mut device, key::RAM_SIZE, 8), 0xc000_0000_u64.to_le_bytes());
        let directory = item(&mut device, key::FILE_DIR, 80);
        assert_eq!((&directory[..8], &directory[12..21]), (&[0, 0, 0, 1, 0, 0, 0, 40][..], &b"etc/e820\0"[..]));
        let map = item(&mut device, key::FILE_FIRST, 40);
        assert_eq!(map[20..36], [(1u64 << 32).to_le_bytes(), (1u64 << 20).to_le_bytes()].concat());
    }

    #[test]
    fn large_disks_are_translated() {
        let mut config = MachineConfig::new();
        config.drives.disks = vec![Image::memory(vec![0; 512], false), Image::memory(vec![0; 505 << 20], false)];
        let mut cmos = [0; 256];
        fill_cmos(&config, &mut cmos);
        assert_eq!((cmos[0x39], cmos[0x3a]), (4, 0));
    }
}
