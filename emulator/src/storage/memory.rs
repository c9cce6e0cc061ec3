//! Images in memory.

use super::inside;
use ring86_devices::BlockMedia;
use std::io;

/// Bytes as a drive's contents. What the guest writes is lost with the machine.
#[derive(Debug)]
pub struct MemoryMedia {
    bytes: Vec<u8>,
    read_only: bool,
}

impl MemoryMedia {
    /// A drive's contents, padded with zeros to whole sectors.
    pub fn new(mut bytes: Vec<u8>, read_only: bool) -> Self {
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        MemoryMedia { bytes, read_only }
    }

    fn range(&self, offset: u64, len: usize) -> io::Result<std::ops::Range<usize>> {
        inside(offset, len, self.bytes.len() as u64)?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        Ok(start..start + len)
    }
}

impl BlockMedia for MemoryMedia {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let range = self.range(offset, buffer.len())?;
        buffer.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.read_only {
            return Err(io::Error::other("the medium is write-protected"));
        }
        let range = self.range(offset, data.len())?;
        self.bytes[range].copy_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_write_protection() {
        let mut media = MemoryMedia::new(vec![1; 700], false);
        assert_eq!(media.len(), 1024);
        media.write(1020, &[5; 4]).unwrap();
        let mut back = [0; 4];
        media.read(1020, &mut back).unwrap();
        assert_eq!(back, [5; 4]);
        assert!(media.read(1021, &mut back).is_err());
        assert!(media.write(u64::MAX, &[0]).is_err());
        let mut media = MemoryMedia::new(vec![1; 512], true);
        assert!(media.read_only() && media.write(0, &[0]).is_err());
    }
}
