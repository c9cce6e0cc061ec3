//! An ATA disk: addressing, its media, and what its commands leave behind.

use std::io;

use crate::BlockMedia;

/// Bytes in a sector.
pub(super) const SECTOR: usize = 512;

/// The transfer modes in use, which SET FEATURES 03h selects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Modes {
    pub(super) multiword: Option<u8>,
    pub(super) ultra: Option<u8>,
}

impl Default for Modes {
    fn default() -> Self {
        Self { multiword: None, ultra: Some(2) }
    }
}

impl Modes {
    /// Selects a mode; whether the device has it.
    pub(super) fn select(&mut self, mode: u8) -> bool {
        match mode {
            // PIO default, PIO flow control modes 0 to 4.
            0x00 | 0x01 | 0x08..=0x0C => {}
            0x20..=0x22 => (self.multiword, self.ultra) = (Some(mode & 7), None),
            0x40..=0x42 => (self.multiword, self.ultra) = (None, Some(mode & 7)),
            _ => return false,
        }
        true
    }
}

/// A disk's media and modes.
pub(super) struct Disk {
    pub(super) media: Box<dyn BlockMedia>,
    /// Heads and sectors set by INITIALIZE DEVICE PARAMETERS.
    translation: Option<(u16, u16)>,
    /// Sectors in a block of READ/WRITE MULTIPLE; 0 is off.
    multiple: u8,
    /// Write cache: without it a write is over when it is durable.
    cache: bool,
    /// Sectors that SET MAX ADDRESS left to be seen.
    shown: Option<u64>,
    /// What WRITE BUFFER left for READ BUFFER.
    pub(super) sector_buffer: Box<[u8; SECTOR]>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("sectors", &self.sectors()).finish_non_exhaustive()
    }
}

impl Disk {
    pub(super) const MULTIPLE_MAX: u8 = 16;

    pub(super) fn new(media: Box<dyn BlockMedia>) -> Self {
        let sector_buffer = Box::new([0; SECTOR]);
        Self { media, translation: None, multiple: 0, cache: true, shown: None, sector_buffer }
    }

    /// Reset: modes go back to their defaults.
    pub(super) fn reset(&mut self) {
        (self.translation, self.multiple) = (None, 0);
        self.cache = true;
    }

    /// Hardware reset: all sectors can be seen again.
    pub(super) fn show_all(&mut self) {
        self.shown = None;
    }

    /// SET MAX ADDRESS until the next hardware reset; whether the disk has that sector.
    pub(super) fn set_last(&mut self, last: u64) -> bool {
        let valid = last < self.native_sectors();
        if valid {
            self.shown = Some(last + 1);
        }
        valid
    }

    /// SET FEATURES 02h and 82h. Switching the cache off writes it out first.
    pub(super) fn set_cache(&mut self, on: bool) -> io::Result<()> {
        self.cache = on;
        self.settle()
    }

    pub(super) fn has_cache(&self) -> bool {
        self.cache
    }

    /// The end of a write command.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if self.cache { Ok(()) } else { self.media.flush() }
    }

    /// Sectors that there are.
    pub(super) fn native_sectors(&self) -> u64 {
        self.media.len() / SECTOR as u64
    }

    /// Sectors that commands reach.
    pub(super) fn sectors(&self) -> u64 {
        let native = self.native_sectors();
        self.shown.map_or(native, |shown| shown.min(native))
    }

    pub(super) fn multiple(&self) -> u8 {
        self.multiple
    }

    /// Sets the block size of multiple transfers; whether it is one the disk can do.
    pub(super) fn set_multiple(&mut self, count: u8) -> bool {
        let valid = count <= Self::MULTIPLE_MAX && (count == 0 || count.is_power_of_two());
        if valid {
            self.multiple = count;
        }
        valid
    }

    pub(super) fn default_geometry(&self) -> (u16, u16, u16) {
        ((self.sectors() / (16 * 63)).clamp(1, 16_383) as u16, 16, 63)
    }

    pub(super) fn set_translation(&mut self, heads: u16, sectors: u16) -> bool {
        let valid = sectors > 0;
        self.translation = valid.then_some((heads, sectors));
        valid
    }

    /// The geometry in use: cylinders, heads, sectors.
    pub(super) fn geometry(&self) -> (u16, u16, u16) {
        match self.translation {
            Some((heads, sectors)) => {
                let track = u64::from(heads) * u64::from(sectors);
                ((self.sectors() / track).min(0xFFFF) as u16, heads, sectors)
            }
            None => self.default_geometry(),
        }
    }

    /// Logical address of a cylinder, head and sector.
    pub(super) fn chs(&self, cylinder: u16, head: u16, sector: u16) -> Option<u64> {
        let (_, heads, sectors) = self.geometry();
        let inside = head < heads && (1..=sectors).contains(&sector);
        let track = u64::from(cylinder) * u64::from(heads) + u64::from(head);
        inside.then(|| track * u64::from(sectors) + u64::from(sector) - 1)
    }

    pub(super) fn read(&mut self, lba: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.media.read(lba * SECTOR as u64, buffer)
    }

    pub(super) fn write(&mut self, lba: u64, data: &[u8]) -> io::Result<()> {
        self.media.write(lba * SECTOR as u64, data)
    }
}
