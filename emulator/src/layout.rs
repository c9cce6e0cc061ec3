//! The PC's physical address space: where RAM, the firmware and the devices lie, and what the firmware is told of it.
//!
//! RAM offsets equal physical addresses below the PCI hole; RAM beyond it continues at 4 GiB. The firmware's bytes lie
//! behind RAM in the same block of host memory.

use crate::error::{Error, Result};
use ring86_devices::VideoRam;
use ring86_translator::{Backing, Memory, Pins};
use std::sync::{Arc, Mutex, PoisonError};

/// End of conventional memory and start of the VGA window.
pub const VGA_WINDOW: u64 = 0xa_0000;
/// End of the VGA window; option ROMs and the BIOS follow.
pub const VGA_WINDOW_END: u64 = 0xc_0000;
/// Where the option ROM that starts a payload lies.
pub const OPTION_ROM: u64 = 0xc_8000;
/// Start of our own firmware below 1 MiB, and of the last region that the host bridge shadows.
pub const BIOS: u64 = 0xf_0000;
/// End of the first megabyte.
pub const HIGH: u64 = 0x10_0000;
/// RAM below 4 GiB ends here at the latest: PCI windows, I/O APIC, local APIC and the BIOS lie above.
pub const PCI_HOLE: u64 = 0xc000_0000;
/// Where RAM that does not fit below [`PCI_HOLE`] continues.
pub const FOUR_GIB: u64 = 1 << 32;
/// Start of the extended BIOS data area, whose size the BIOS fixes at 1 KiB.
pub const EBDA: u64 = 0x9_fc00;

/// Bytes of memory for the display adapter's packed-pixel modes.
pub const VIDEO_RAM: u64 = 16 << 20;
/// Most of a system BIOS that lies below 1 MiB: its last 128 KiB.
const BIOS_LOW: u64 = 128 << 10;
/// Where PCI windows end: I/O APIC, local APIC and BIOS follow.
const PCI_WINDOWS_END: u64 = 0xfec0_0000;

/// What one of the regions that the host bridge's PAM registers govern does for reads and for writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadowing {
    /// First physical address.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// Reads come from RAM, not from the ROM.
    pub read_ram: bool,
    /// Writes go to RAM, not to the bus.
    pub write_ram: bool,
}

/// One line of the memory map handed to operating systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct E820 {
    /// First physical address.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// 1 usable RAM, 2 reserved.
    pub kind: u32,
}

/// What is burnt into the machine's ROMs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Roms<'a> {
    /// The system BIOS, at the end of 1 MiB (its last 128 KiB) and of 4 GiB.
    pub bios: &'a [u8],
    /// The ROM that starts a payload, at [`OPTION_ROM`], or behind the video BIOS if that is longer.
    pub option: Option<&'a [u8]>,
    /// The display adapter's ROM: at C0000h, and where its PCI register says.
    pub video: Option<&'a [u8]>,
    /// The network card's ROM, where its PCI register says.
    pub network: Option<&'a [u8]>,
}

/// A memory on a card, which the card's PCI registers place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardMemory {
    /// The display adapter's frame buffer.
    FrameBuffer,
    /// The display adapter's ROM.
    VideoRom,
    /// The network card's ROM.
    NetworkRom,
}

/// A range of the host memory behind RAM.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    offset: u64,
    len: u64,
}

/// A ROM below 1 MiB.
#[derive(Clone, Copy, Debug)]
struct LowRom {
    start: u64,
    range: Range,
}

/// Guest memory with the map of a PC.
pub struct Layout {
    memory: Arc<Memory>,
    ram: u64,
    /// The system BIOS.
    bios: Range,
    /// What reads see below 1 MiB where nothing is shadowed.
    low_roms: Vec<LowRom>,
    /// By [`CardMemory`].
    cards: [Range; 3],
    /// Where each of them is mapped at present.
    placed: Mutex<[Option<u64>; 3]>,
}

impl Layout {
    /// `ram` bytes of RAM (a multiple of 4 KiB), `bios` at the top of 1 MiB and of 4 GiB, and `option` (at most
    /// 4 KiB) at [`OPTION_ROM`].
    ///
    /// # Errors
    /// As for [`Layout::with_roms`].
    pub fn new(ram: u64, bios: &[u8], option: Option<&[u8]>, pins: Arc<Pins>) -> Result<Self> {
        Layout::with_roms(ram, &Roms { bios, option, ..Roms::default() }, pins)
    }

    /// `ram` bytes of RAM (a multiple of 4 KiB) and `roms`.
    ///
    /// # Errors
    /// If the host has no room for that much memory.
    pub fn with_roms(ram: u64, roms: &Roms<'_>, pins: Arc<Pins>) -> Result<Self> {
        let no_room = |why: &dyn std::fmt::Display| {
            Error::new(format!("-m {}M: the host cannot provide that much memory ({why})", ram >> 20))
        };
        let ram_len = usize::try_from(ram).map_err(|e| no_room(&e))?;
        let mut end = ram;
        let mut behind = |len: usize| {
            let range = Range { offset: end, len: (len as u64).next_multiple_of(4096) };
            end += range.len;
            range
        };
        // A card decodes a power of two.
        let decoded = |rom: Option<&[u8]>| rom.map_or(0, |rom| rom.len().next_power_of_two());
        let bios = behind(roms.bios.len());
        let option = behind(roms.option.map_or(0, <[u8]>::len));
        let cards = [behind(VIDEO_RAM as usize), behind(decoded(roms.video)), behind(decoded(roms.network))];
        let memory = Memory::new(ram_len, (end - ram) as usize, pins).map_err(|e| no_room(&e))?;
        let memory = Arc::new(memory);
        let burn = |range: Range, rom: &[u8]| memory.ram().write_bytes(range.offset as usize, rom);
        burn(bios, roms.bios);
        for (range, rom) in [(option, roms.option), (cards[1], roms.video), (cards[2], roms.network)] {
            burn(range, rom.unwrap_or(&[]));
        }
        let low = bios.len.min(BIOS_LOW);
        let video = Range { len: roms.video.map_or(0, |rom| (rom.len() as u64).next_multiple_of(4096)), ..cards[1] };
        let low_roms = vec![
            LowRom { start: HIGH - low, range: Range { offset: bios.offset + bios.len - low, len: low } },
            LowRom { start: VGA_WINDOW_END, range: video },
            LowRom { start: OPTION_ROM.max(VGA_WINDOW_END + video.len), range: option },
        ];
        let layout = Layout { memory, ram, bios, low_roms, cards, placed: Mutex::default() };
        layout.reset();
        Ok(layout)
    }

    /// The memory itself.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// End of RAM below 4 GiB.
    pub fn low_end(&self) -> u64 {
        self.ram.min(PCI_HOLE)
    }

    /// End of RAM above 4 GiB, or 4 GiB if there is none.
    pub fn high_end(&self) -> u64 {
        FOUR_GIB + self.ram.saturating_sub(PCI_HOLE)
    }

    /// The map as after a hardware reset: the firmware's ROMs read, nothing shadowed.
    pub fn reset(&self) {
        let m = &self.memory;
        m.map_region(0, VGA_WINDOW, Backing::Ram(0), Backing::Ram(0));
        m.map_region(VGA_WINDOW, VGA_WINDOW_END - VGA_WINDOW, Backing::Bus, Backing::Bus);
        if self.low_end() > HIGH {
            m.map_region(HIGH, self.low_end() - HIGH, Backing::Ram(HIGH), Backing::Ram(HIGH));
        }
        if self.high_end() > FOUR_GIB {
            let ram = Backing::Ram(PCI_HOLE);
            m.map_region(FOUR_GIB, self.high_end() - FOUR_GIB, ram, ram);
        }
        m.map_region(FOUR_GIB - self.bios.len, self.bios.len, Backing::Ram(self.bios.offset), Backing::Bus);
        self.shadow(&[Shadowing {
            start: VGA_WINDOW_END,
            len: HIGH - VGA_WINDOW_END,
            read_ram: false,
            write_ram: false,
        }]);
    }

    /// Maps the regions between C0000h and FFFFFh as the host bridge's PAM registers say.
    pub fn shadow(&self, regions: &[Shadowing]) {
        for region in regions {
            let write = if region.write_ram { Backing::Ram(region.start) } else { Backing::Bus };
            let read = if region.read_ram { Backing::Ram(region.start) } else { Backing::Bus };
            self.memory.map_region(region.start, region.len, read, write);
            if !region.read_ram {
                for rom in &self.low_roms {
                    self.map_rom(region, write, rom);
                }
            }
        }
    }

    /// Opens or closes the RAM behind the VGA window, as the host bridge's SMRAM register says. This processor has no
    /// system management mode, for which the RAM would be open as well.
    pub fn open_smram(&self, open: bool) {
        let backing = if open { Backing::Ram(VGA_WINDOW) } else { Backing::Bus };
        self.memory.map_region(VGA_WINDOW, VGA_WINDOW_END - VGA_WINDOW, backing, backing);
    }

    /// The display adapter's memory as the adapter reaches it.
    pub fn video_ram(&self) -> AdapterRam {
        AdapterRam { memory: Arc::clone(&self.memory), start: self.cards[CardMemory::FrameBuffer as usize].offset }
    }

    /// Maps a card's memory at `place` and nowhere else. RAM and what lies above the PCI windows come first: an address
    /// there is not decoded.
    pub fn place_card_memory(&self, card: CardMemory, place: Option<u64>) {
        let Range { offset, len } = self.cards[card as usize];
        let place = place.filter(|start| (self.low_end()..=PCI_WINDOWS_END - len).contains(start));
        let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        let mapped = &mut placed[card as usize];
        if *mapped == place {
            return;
        }
        if let Some(old) = mapped.take() {
            self.memory.map_region(old, len, Backing::Bus, Backing::Bus);
        }
        if let Some(new) = place {
            let write = if card == CardMemory::FrameBuffer { Backing::Ram(offset) } else { Backing::Bus };
            self.memory.map_region(new, len, Backing::Ram(offset), write);
        }
        *mapped = place;
    }

    /// Lays the part of a ROM that a region covers over the region.
    fn map_rom(&self, region: &Shadowing, write: Backing, rom: &LowRom) {
        let start = rom.start.max(region.start);
        let end = (rom.start + rom.range.len).min(region.start + region.len);
        if start < end {
            let write = match write {
                Backing::Ram(_) => Backing::Ram(start),
                Backing::Bus => Backing::Bus,
            };
            let read = Backing::Ram(rom.range.offset + (start - rom.start));
            self.memory.map_region(start, end - start, read, write);
        }
    }

    /// The memory map for operating systems started without asking the BIOS.
    pub fn e820(&self) -> Vec<E820> {
        let mut map = vec![
            E820 { start: 0, len: EBDA, kind: 1 },
            E820 { start: EBDA, len: VGA_WINDOW - EBDA, kind: 2 },
            E820 { start: BIOS, len: HIGH - BIOS, kind: 2 },
        ];
        if self.low_end() > HIGH {
            map.push(E820 { start: HIGH, len: self.low_end() - HIGH, kind: 1 });
        }
        map.push(E820 { start: FOUR_GIB - self.bios.len, len: self.bios.len, kind: 2 });
        if self.high_end() > FOUR_GIB {
            map.push(E820 { start: FOUR_GIB, len: self.high_end() - FOUR_GIB, kind: 1 });
        }
        map
    }

    /// The battery-backed RAM of the clock chip as a set-up program leaves it: memory sizes, floppy type, boot order.
    /// `floppies` are the types of drives A and B (0 none, 4 for 1.44 MB); `boot` is the order of floppy (1), disk (2)
    /// and CD (3).
    pub fn cmos(&self, floppies: [u8; 2], boot: [u8; 3]) -> [u8; 256] {
        let mut cmos = [0; 256];
        let mut word = |at: usize, value: u64| {
            cmos[at] = value as u8;
            cmos[at + 1] = (value >> 8) as u8;
        };
        let extended = (self.low_end() - HIGH.min(self.low_end())) >> 10;
        word(0x15, 640);
        word(0x17, extended.min(0xfc00));
        word(0x30, extended.min(0xfc00));
        word(0x34, self.low_end().saturating_sub(16 << 20) >> 16);
        let high = (self.high_end() - FOUR_GIB) >> 16;
        word(0x5b, high);
        cmos[0x5d] = (high >> 16) as u8;
        cmos[0x10] = floppies[0] << 4 | floppies[1] & 0xf;
        // Equipment: VGA, 80x25 colour is bits 5-4 = 0; bit 1 a coprocessor, bit 0 a floppy drive, bit 6 a second one.
        cmos[0x14] = 0x02 | u8::from(floppies[0] != 0) | u8::from(floppies[1] != 0) << 6;
        cmos[0x32] = 0x20;
        cmos[0x3d] = boot[0] | boot[1] << 4;
        cmos[0x38] = boot[2] << 4;
        cmos
    }
}

/// The display adapter's end of its memory.
pub struct AdapterRam {
    memory: Arc<Memory>,
    /// Offset behind RAM and ROMs.
    start: u64,
}

impl VideoRam for AdapterRam {
    fn len(&self) -> usize {
        VIDEO_RAM as usize
    }

    fn read(&self, offset: usize, buffer: &mut [u8]) {
        let (inside, outside) = buffer.split_at_mut(self.len().saturating_sub(offset).min(buffer.len()));
        self.memory.ram().read_bytes(self.start as usize + offset.min(self.len()), inside);
        outside.fill(0xff);
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        let inside = self.len().saturating_sub(offset).min(data.len());
        if inside > 0 {
            self.memory.store(self.start + offset as u64, &data[..inside]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CardMemory::FrameBuffer;
    use super::*;

    fn layout(ram: u64) -> Layout {
        let mut bios = vec![0xaa; 0x1_0000];
        bios[0xfff0] = 0xea;
        Layout::new(ram, &bios, Some(&[0x55, 0xaa, 1]), Arc::new(Pins::default())).unwrap()
    }

    fn peek(l: &Layout, addr: u64) -> u8 {
        let mut b = [0];
        l.memory().dma_read(addr, &mut b);
        b[0]
    }

    #[test]
    fn the_bios_ends_at_one_megabyte_and_at_four_gigabytes() {
        let l = layout(2 << 20);
        assert_eq!((peek(&l, 0xffff0), peek(&l, 0xffff_fff0)), (0xea, 0xea));
        assert_eq!((peek(&l, OPTION_ROM), peek(&l, 0xd_0000)), (0x55, 0xff));
        l.memory().dma_write(0xffff0, &[1]);
        assert_eq!(peek(&l, 0xffff0), 0xea);
        assert_eq!(peek(&l, 2 << 20), 0xff);
        l.memory().dma_write((2 << 20) - 1, &[7]);
        assert_eq!(peek(&l, (2 << 20) - 1), 7);
    }

    #[test]
    fn shadowing_copies_and_protects() {
        let l = layout(2 << 20);
        let mut f = Shadowing { start: BIOS, len: 0x1_0000, read_ram: false, write_ram: true };
        l.shadow(&[f]);
        l.memory().dma_write(0xffff0, &[1]);
        assert_eq!(peek(&l, 0xffff0), 0xea);
        f.read_ram = true;
        l.shadow(&[f]);
        assert_eq!(peek(&l, 0xffff0), 1);
        f.write_ram = false;
        l.shadow(&[f]);
        l.memory().dma_write(0xffff0, &[2]);
        assert_eq!(peek(&l, 0xffff0), 1);
        l.reset();
        assert_eq!(peek(&l, 0xffff0), 0xea);
    }

    #[test]
    fn a_large_bios_with_a_video_bios_and_roms_on_cards() {
        let bios: Vec<u8> = (0..1u32 << 20).map(|i| (i >> 16) as u8).collect();
        let video = vec![0x77; 39 << 10];
        let roms = Roms { bios: &bios, option: Some(&[0x55]), video: Some(&video), network: Some(&[0x99]) };
        let l = Layout::with_roms(2 << 20, &roms, Arc::new(Pins::default())).unwrap();
        assert_eq!(
            [0xd_ffff, 0xe_0000, 0xf_0000, 0xffff_ffff, 0xfff0_0000].map(|a| peek(&l, a)),
            [0xff, 14, 15, 15, 0]
        );
        assert_eq!(
            [0xc_0000, 0xc_9bff, 0xc_9c00, 0xc_a000, 0xc_b000].map(|a| peek(&l, a)),
            [0x77, 0x77, 0, 0x55, 0xff]
        );
        l.place_card_memory(CardMemory::VideoRom, Some(0xfebe_0000));
        l.place_card_memory(CardMemory::NetworkRom, Some(0xfebf_0000));
        assert_eq!([0xfebe_0000, 0xfebf_0000, 0xfebf_1000].map(|a| peek(&l, a)), [0x77, 0x99, 0xff]);
        l.memory().dma_write(0xfebe_0000, &[1]);
        l.place_card_memory(CardMemory::NetworkRom, None);
        assert_eq!([0xfebe_0000, 0xfebf_0000].map(|a| peek(&l, a)), [0x77, 0xff]);
    }

    #[test]
    fn smram_opens_and_closes() {
        let l = layout(2 << 20);
        l.open_smram(true);
        l.memory().dma_write(0xa_8000, &[5]);
        assert_eq!(peek(&l, 0xa_8000), 5);
        l.open_smram(false);
        assert_eq!(peek(&l, 0xa_8000), 0xff);
        l.open_smram(true);
        assert_eq!(peek(&l, 0xa_8000), 5);
        l.reset();
        assert_eq!(peek(&l, 0xa_8000), 0xff);
    }

    #[test]
    fn the_frame_buffer_moves_and_never_covers_ram() {
        let l = layout(2 << 20);
        let mut adapter = l.video_ram();
        adapter.write(5, &[7]);
        adapter.write(VIDEO_RAM as usize - 1, &[8, 9]);
        for place in [0xe000_0000, 0xd000_0000] {
            l.place_card_memory(FrameBuffer, Some(place));
            assert_eq!((peek(&l, place + 5), peek(&l, place + VIDEO_RAM - 1)), (7, 8));
            assert_eq!(peek(&l, place + VIDEO_RAM), 0xff);
        }
        assert_eq!(peek(&l, 0xe000_0005), 0xff);
        l.memory().dma_write(0xd000_0006, &[3]);
        let mut seen = [0; 4];
        adapter.read(VIDEO_RAM as usize - 2, &mut seen);
        assert_eq!(seen, [0, 8, 0xff, 0xff]);
        adapter.read(6, &mut seen);
        assert_eq!(seen[0], 3);
        for refused in [Some(0), Some(0x10_0000), Some(0xfe00_0000), None] {
            l.place_card_memory(FrameBuffer, refused);
            assert_eq!((peek(&l, 0xd000_0005), peek(&l, 0x10_0005)), (0xff, 0));
            l.place_card_memory(FrameBuffer, Some(0xd000_0000));
        }
        l.reset();
        assert_eq!(peek(&l, 0xd000_0005), 7, "the adapter's BAR decides, not the host bridge");
    }

    #[test]
    fn ram_beyond_the_hole_continues_at_four_gigabytes() {
        let l = layout(PCI_HOLE + (1 << 20));
        assert_eq!(l.low_end(), PCI_HOLE);
        assert_eq!(l.high_end(), FOUR_GIB + (1 << 20));
        assert_eq!(peek(&l, PCI_HOLE), 0xff);
        l.memory().dma_write(FOUR_GIB + 5, &[9]);
        assert_eq!(peek(&l, FOUR_GIB + 5), 9);
        let usable: u64 = l.e820().iter().filter(|e| e.kind == 1).map(|e| e.len).sum();
        assert_eq!(usable, PCI_HOLE + (1 << 20) - (HIGH - EBDA));
        let cmos = l.cmos([4, 0], [1, 2, 3]);
        assert_eq!((cmos[0x5b], cmos[0x34], cmos[0x35]), (16, 0x00, 0xbf));
        assert_eq!((cmos[0x17], cmos[0x18]), (0x00, 0xfc));
    }
}
