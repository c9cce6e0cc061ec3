//! A WAV file (RIFF, PCM, 16 bits, stereo) that is complete at every moment but the last second.
//!
//! The header is 44 bytes: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0".

use super::synthesis::{RATE, Sample};
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const FRAME: u32 = 4;
const HEADER: u32 = 44;
/// Most frames that the header's 32-bit lengths can tell: 6.2 hours.
const MOST_FRAMES: u32 = (u32::MAX - HEADER) / FRAME;

/// The header for `frames` samples.
fn header(frames: u32) -> [u8; HEADER as usize] {
    let mut bytes = Vec::with_capacity(HEADER as usize);
    let data = frames * FRAME;
    bytes.extend(b"RIFF");
    bytes.extend((data + HEADER - 8).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16u32.to_le_bytes());
    // PCM, two channels.
    bytes.extend([1, 0, 2, 0]);
    bytes.extend(RATE.to_le_bytes());
    bytes.extend((RATE * FRAME).to_le_bytes());
    // Bytes in a frame, bits in a sample.
    bytes.extend([FRAME as u8, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend(data.to_le_bytes());
    std::array::from_fn(|i| bytes[i])
}

/// The file being written.
pub struct Wav {
    file: BufWriter<File>,
    path: PathBuf,
    frames: u32,
    /// Frames that the header in the file tells.
    told: u32,
}

impl Wav {
    /// Makes the file at `path` anew.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|e| Error::io("create", path, &e).of("--sound"))?;
        let mut wav = Wav { file: BufWriter::with_capacity(1 << 18, file), path: path.to_owned(), frames: 0, told: 0 };
        wav.file.write_all(&header(0)).map_err(|e| Error::io("write", path, &e))?;
        Ok(wav)
    }

    fn append(&mut self, samples: &[Sample]) -> io::Result<()> {
        for [left, right] in samples {
            self.file.write_all(&left.to_le_bytes())?;
            self.file.write_all(&right.to_le_bytes())?;
        }
        Ok(())
    }

    /// Tells in the header what the file holds.
    fn tell(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header(self.frames))?;
        self.file.seek(SeekFrom::End(0))?;
        self.file.flush()?;
        self.told = self.frames;
        Ok(())
    }

    /// Appends samples. A file that is as long as it can be stays as it is.
    ///
    /// # Errors
    /// If the host cannot write them.
    pub fn write(&mut self, samples: &[Sample]) -> Result<()> {
        let room = (MOST_FRAMES - self.frames) as usize;
        let fitting = &samples[..samples.len().min(room)];
        if fitting.len() < samples.len() && self.frames < MOST_FRAMES {
            log::warn!("'{}' is full: a WAV file holds six hours of sound", self.path.display());
        }
        let written = self.append(fitting).and_then(|()| {
            self.frames += fitting.len() as u32;
            if self.frames - self.told >= RATE { self.tell() } else { Ok(()) }
        });
        written.map_err(|e| Error::io("write", &self.path, &e))
    }

    /// Completes the file.
    ///
    /// # Errors
    /// If the host cannot write it.
    pub fn finish(mut self) -> Result<()> {
        self.tell().map_err(|e| Error::io("write", &self.path, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let mut wav = Wav::create(&path).unwrap();
        wav.write(&vec![[1, -2]; 48_000]).unwrap();
        // A run that is killed leaves what a player can read.
        assert_eq!(std::fs::read(&path).unwrap()[40..44], 192_000u32.to_le_bytes());
        wav.write(&[[3, 4]]).unwrap();
        wav.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 44 + 48_001 * 4);
        assert_eq!((&bytes[..4], &bytes[8..16], &bytes[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
        assert_eq!(bytes[4..8], (bytes.len() as u32 - 8).to_le_bytes());
        assert_eq!(bytes[16..36], [16, 0, 0, 0, 1, 0, 2, 0, 0x80, 0xbb, 0, 0, 0, 0xee, 2, 0, 4, 0, 16, 0]);
        assert_eq!(bytes[44..48], [1, 0, 0xfe, 0xff]);
        assert_eq!(bytes[bytes.len() - 4..], [3, 0, 4, 0]);
        assert!(Wav::create(folder.path()).is_err());
    }
}
