//! An ATA disk: addressing, its media, and what its commands leave behind.

use std::io;

use crate::BlockMedia;

/// Bytes in a sector.
pub(super) const SECTOR: usize = 512;

/// A disk's media and modes.
pub(super) struct Disk {
    pub(super) media: Box<dyn BlockMedia>,
    /// Heads and sectors set by INITIALIZE DEVICE PARAMETERS.
    translation: Option<(u16, u16)>,
    /// Sectors in a block of READ/WRITE MULTIPLE; 0 is off.
    multiple: u8,
    multiword: Option<u8>,
    ultra: Option<u8>,
    /// Write cache: without it a write is over when it is durable.
    cache: bool,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("sectors", &self.sectors()).finish_non_exhaustive()
    }
}

impl Disk {
    pub(super) const MULTIPLE_MAX: u8 = 16;

    pub(super) fn new(media: Box<dyn BlockMedia>) -> Self {
        Self { media, translation: None, multiple: 0, multiword: None, ultra: Some(2), cache: true }
    }

    /// Hardware reset: modes go back to their defaults.
    pub(super) fn reset(&mut self) {
        (self.translation, self.multiple, self.multiword, self.ultra) = (None, 0, None, Some(2));
        self.cache = true;
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

    pub(super) fn sectors(&self) -> u64 {
        self.media.len() / SECTOR as u64
    }

    pub(super) fn multiple(&self) -> u8 {
        self.multiple
    }

    pub(super) fn dma_mode(&self) -> (Option<u8>, Option<u8>) {
        (self.multiword, self.ultra)
    }

    /// Sets the block size of multiple transfers; whether it is one the disk can do.
    pub(super) fn set_multiple(&mut self, count: u8) -> bool {
        let valid = count <= Self::MULTIPLE_MAX && (count == 0 || count.is_power_of_two());
        if valid {
            self.multiple = count;
        }
        valid
    }

    /// SET FEATURES 03h: the transfer mode; whether the disk has it.
    pub(super) fn set_transfer_mode(&mut self, mode: u8) -> bool {
        match mode {
            // PIO default, PIO flow control modes 0 to 4.
            0x00 | 0x01 | 0x08..=0x0C => {}
            0x20..=0x22 => (self.multiword, self.ultra) = (Some(mode & 7), None),
            0x40..=0x42 => (self.multiword, self.ultra) = (None, Some(mode & 7)),
            _ => return false,
        }
        true
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
