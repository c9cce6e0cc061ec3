//! Capture files (the classic libpcap format, nanosecond variant) of what goes over the cable.

use crate::error::{Error, Result};
use ring86_devices::Time;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Marks the format, with nanoseconds.
const MAGIC: u32 = 0xA1B2_3C4D;
/// Frames are kept whole up to this length.
const SNAP_LENGTH: u32 = 65535;
/// Link type: Ethernet.
const ETHERNET: u32 = 1;

/// A capture file being written.
#[derive(Debug)]
pub(super) struct Pcap {
    path: PathBuf,
    /// `None` after an error, of which the user was told.
    file: Option<BufWriter<File>>,
}

impl Pcap {
    /// Makes the file anew.
    ///
    /// # Errors
    /// If the host refuses.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|e| Error::io("create", path, &e).of("--net pcap"))?;
        let mut pcap = Pcap { path: path.to_owned(), file: Some(BufWriter::new(file)) };
        let mut header = Vec::with_capacity(24);
        header.extend(MAGIC.to_le_bytes());
        // Version 2.4, then two fields that nobody uses.
        header.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        header.extend(SNAP_LENGTH.to_le_bytes());
        header.extend(ETHERNET.to_le_bytes());
        pcap.write(&header);
        Ok(pcap)
    }

    /// Notes down a frame, at guest time `now`.
    pub(super) fn record(&mut self, now: Time, frame: &[u8]) {
        let fields = [now / 1_000_000_000, now % 1_000_000_000, frame.len() as u64, frame.len() as u64];
        let mut record: Vec<u8> = fields.iter().flat_map(|&field| (field as u32).to_le_bytes()).collect();
        record.extend_from_slice(frame);
        self.write(&record);
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.write_all(bytes) {
            log::warn!("cannot write '{}': {error}; the capture ends here", self.path.display());
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_as_others_read_it() {
        let path = std::env::temp_dir().join(format!("ring86-{}.pcap", std::process::id()));
        let mut pcap = Pcap::create(&path).expect("the temporary folder is writable");
        pcap.record(1_000_000_002, &[1, 2, 3]);
        drop(pcap);
        let bytes = std::fs::read(&path).expect("it was written");
        std::fs::remove_file(&path).expect("it can be removed");
        assert_eq!(bytes.len(), 24 + 16 + 3);
        assert_eq!(
            (&bytes[..6], &bytes[16..24]),
            (&[0x4D, 0x3C, 0xB2, 0xA1, 2, 0][..], &[255, 255, 0, 0, 1, 0, 0, 0][..])
        );
        assert_eq!(&bytes[24..], [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3]);
        assert!(Pcap::create(Path::new("/nonexistent/x.pcap")).is_err());
    }
}
