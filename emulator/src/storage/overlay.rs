//! `--ephemeral`: what the guest writes goes into a file without a name, which the host removes with the process.

use super::inside;
use crate::error::{Error, Result};
use ring86_devices::BlockMedia;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes that are copied up together.
const UNIT: u64 = 4096;
/// Words of a group of the map, one bit for each unit.
const WORDS: usize = 64;
/// Units of a group.
const GROUP: u64 = WORDS as u64 * 64;

/// Which units lie in the upper file.
#[derive(Debug, Default)]
struct Present(HashMap<u64, Box<[u64; WORDS]>>);

impl Present {
    fn has(&self, unit: u64) -> bool {
        let bit = unit % GROUP;
        self.0.get(&(unit / GROUP)).is_some_and(|words| words[(bit / 64) as usize] >> (bit % 64) & 1 != 0)
    }

    fn add(&mut self, unit: u64) {
        let bit = unit % GROUP;
        let words = self.0.entry(unit / GROUP).or_insert_with(|| Box::new([0; WORDS]));
        words[(bit / 64) as usize] |= 1 << (bit % 64);
    }
}

/// A medium whose writes do not reach what is below.
pub struct Overlay {
    below: Box<dyn BlockMedia>,
    upper: File,
    present: Present,
}

impl Overlay {
    /// A layer over the image at `path`.
    ///
    /// # Errors
    /// If the host has no room for temporary files.
    pub fn new(below: Box<dyn BlockMedia>, path: &Path) -> Result<Self> {
        let upper = tempfile::tempfile().map_err(|e| {
            let folder = std::env::temp_dir();
            Error::new(format!(
                "cannot keep the writes to '{}' in '{}': {e}; set TMPDIR to a folder that takes files",
                path.display(),
                folder.display()
            ))
        })?;
        Ok(Overlay { below, upper, present: Present::default() })
    }

    fn upper_at(&mut self, offset: u64) -> io::Result<&mut File> {
        self.upper.seek(SeekFrom::Start(offset))?;
        Ok(&mut self.upper)
    }

    /// Copies a unit up that is about to be written in part.
    fn copy_up(&mut self, unit: u64) -> io::Result<()> {
        let start = unit * UNIT;
        let mut whole = vec![0; self.below.len().saturating_sub(start).min(UNIT) as usize];
        self.below.read(start, &mut whole)?;
        self.upper_at(start)?.write_all(&whole)
    }
}

/// The parts of `offset..offset + len` that lie in one unit each: unit, start in the buffer, length.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let part = ((UNIT - at % UNIT) as usize).min(len - done);
        let start = done;
        done += part;
        (part > 0).then_some((at / UNIT, start, part))
    })
}

impl BlockMedia for Overlay {
    fn len(&self) -> u64 {
        self.below.len()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        inside(offset, buffer.len(), self.len())?;
        for (unit, start, part) in parts(offset, buffer.len()) {
            let target = &mut buffer[start..start + part];
            if self.present.has(unit) {
                self.upper_at(offset + start as u64)?.read_exact(target)?;
            } else {
                self.below.read(offset + start as u64, target)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        inside(offset, data.len(), self.len())?;
        for (unit, start, part) in parts(offset, data.len()) {
            if part < UNIT as usize && !self.present.has(unit) {
                self.copy_up(unit)?;
            }
            self.upper_at(offset + start as u64)?.write_all(&data[start..start + part])?;
            self.present.add(unit);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing of it outlives the process.
        Ok(())
    }
}
