//! A floppy drive and the disk in it.

use std::io;

use crate::BlockMedia;

/// Bytes in a sector.
pub const SECTOR: usize = 512;

/// How a disk is formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: u8,
    /// Heads.
    pub heads: u8,
    /// Sectors on a track.
    pub sectors: u8,
}

const fn geometry(cylinders: u8, heads: u8, sectors: u8) -> Geometry {
    Geometry { cylinders, heads, sectors }
}

/// What an image may be by its length: the formats of the PC's disks, those with more sectors on a track that DOS and
/// Linux tools make, and those with up to three tracks more than the 80 that drives promise.
const FORMATS: [Geometry; 32] = [
    // 5.25 inch, double density: 160, 180, 320 and 360 KiB.
    geometry(40, 1, 8),
    geometry(40, 1, 9),
    geometry(40, 2, 8),
    geometry(40, 2, 9),
    // Double density, 80 tracks: 720 and 800 KiB.
    geometry(80, 2, 9),
    geometry(81, 2, 9),
    geometry(82, 2, 9),
    geometry(83, 2, 9),
    geometry(80, 2, 10),
    geometry(81, 2, 10),
    geometry(82, 2, 10),
    geometry(83, 2, 10),
    // 5.25 inch, high density: 1200 KiB.
    geometry(80, 2, 15),
    geometry(81, 2, 15),
    geometry(82, 2, 15),
    geometry(83, 2, 15),
    // 3.5 inch, high density: 1440, 1600, 1680 and 1722 KiB.
    geometry(80, 2, 18),
    geometry(81, 2, 18),
    geometry(82, 2, 18),
    geometry(83, 2, 18),
    geometry(80, 2, 20),
    geometry(81, 2, 20),
    geometry(82, 2, 20),
    geometry(83, 2, 20),
    geometry(80, 2, 21),
    geometry(81, 2, 21),
    geometry(82, 2, 21),
    geometry(83, 2, 21),
    // 3.5 inch, extra density: 2880 KiB.
    geometry(80, 2, 36),
    geometry(81, 2, 36),
    geometry(82, 2, 36),
    geometry(83, 2, 36),
];

/// The formats that an image of another length is the beginning of.
const WHOLE: [Geometry; 4] = [geometry(80, 2, 18), geometry(80, 2, 21), geometry(82, 2, 21), geometry(80, 2, 36)];

impl Geometry {
    /// Size in bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors) * SECTOR as u64
    }

    /// The format whose disks have `length` bytes.
    pub fn exactly(length: u64) -> Option<Self> {
        FORMATS.into_iter().find(|format| format.bytes() == length)
    }

    /// The format of an image of `length` bytes: the one of that size, or the smallest usual one (from 1.44 MB
    /// up) that holds it, the rest being blank. `None` if it is too long.
    pub fn of_length(length: u64) -> Option<Self> {
        Self::exactly(length).or_else(|| WHOLE.into_iter().find(|format| format.bytes() >= length))
    }

    /// Whether the data rate select value suits the recording density.
    pub(super) fn rate_fits(self, rate: u8) -> bool {
        match self.sectors {
            // 250 kb/s, or 300 kb/s in a drive that turns faster.
            ..=10 => rate == 2 || rate == 1,
            11..=21 => rate == 0,
            _ => rate == 3,
        }
    }

    fn offset(self, cylinder: u8, head: u8, sector: u8) -> Option<u64> {
        let inside = cylinder < self.cylinders && head < self.heads && (1..=self.sectors).contains(&sector);
        let track = u64::from(cylinder) * u64::from(self.heads) + u64::from(head);
        inside.then(|| (track * u64::from(self.sectors) + u64::from(sector) - 1) * SECTOR as u64)
    }
}

pub(super) struct Disk {
    pub(super) media: Box<dyn BlockMedia>,
    pub(super) geometry: Geometry,
}

impl Disk {
    /// Whether the sector exists.
    pub(super) fn has(&self, cylinder: u8, head: u8, sector: u8) -> bool {
        self.geometry.offset(cylinder, head, sector).is_some()
    }

    /// The part of the sector that the image holds.
    fn held(&self, offset: u64) -> usize {
        self.media.len().saturating_sub(offset).min(SECTOR as u64) as usize
    }

    pub(super) fn read(&mut self, (cylinder, head, sector): (u8, u8, u8)) -> io::Result<[u8; SECTOR]> {
        let mut data = [0; SECTOR];
        if let Some(offset) = self.geometry.offset(cylinder, head, sector) {
            let held = self.held(offset);
            if held > 0 {
                self.media.read(offset, &mut data[..held])?;
            }
        }
        Ok(data)
    }

    pub(super) fn write(&mut self, (cylinder, head, sector): (u8, u8, u8), data: &[u8; SECTOR]) -> io::Result<()> {
        let Some(offset) = self.geometry.offset(cylinder, head, sector) else { return Ok(()) };
        let held = self.held(offset);
        if held == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.media.write(offset, &data[..held])
    }
}

/// One drive on the cable.
#[derive(Default)]
pub(super) struct Drive {
    pub(super) present: bool,
    pub(super) disk: Option<Disk>,
    /// Where the head stands.
    pub(super) cylinder: u8,
    /// The disk was changed, and no step pulse came since.
    pub(super) changed: bool,
}

impl std::fmt::Debug for Drive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drive")
            .field("present", &self.present)
            .field("cylinder", &self.cylinder)
            .finish_non_exhaustive()
    }
}

impl Drive {
    /// Steps the head; the change line follows the presence of a disk.
    pub(super) fn step_to(&mut self, cylinder: u8) {
        self.cylinder = cylinder.min(84);
        self.changed = self.disk.is_none();
    }

    pub(super) fn write_protected(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.media.read_only())
    }
}
