//! The firmware configuration device of QEMU's machines, through which other people's firmware learns what it runs on
//! (see [`spec`]): items by number, named files among them, byte by byte or by DMA. Nothing can be written into it.

pub mod spec;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::once::Reported;
use crate::{GuestMemory, PortIo, Time};
use spec::{
    DATA, DMA_ADDRESS, DMA_ADDRESS_END, DMA_SIGNATURE, NAME_SIZE, SELECTOR, WRITE_CHANNEL, dma_control, id, key,
};

/// Bytes of a DMA operation's description in memory: control, length, address.
const DESCRIPTION: usize = 16;
/// Most bytes that one DMA operation moves; a longer one fails, so that no guest keeps the machine busy for long.
const DMA_MOST: u32 = 64 << 20;

/// The device. Items are put in before the machine starts.
#[derive(Debug)]
pub struct FwCfg {
    // Parts.
    items: BTreeMap<u16, Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
    // Volatile state.
    selected: u16,
    offset: usize,
    dma_address: [u8; 8],
    dma_pending: bool,
    reported: Reported,
}

impl Default for FwCfg {
    fn default() -> Self {
        Self::new()
    }
}

impl FwCfg {
    /// A device that says what it is, with an empty directory.
    pub fn new() -> Self {
        let mut device = Self {
            items: BTreeMap::new(),
            files: BTreeMap::new(),
            selected: 0,
            offset: 0,
            dma_address: [0; 8],
            dma_pending: false,
            reported: Reported::default(),
        };
        device.add(key::SIGNATURE, spec::SIGNATURE_TEXT.to_vec());
        device.add(key::ID, (id::TRADITIONAL | id::DMA).to_le_bytes().to_vec());
        device.list();
        device
    }

    /// Puts an item in, in place of one with the same key.
    pub fn add(&mut self, key: u16, bytes: Vec<u8>) {
        self.items.insert(key & !WRITE_CHANNEL, bytes);
    }

    /// Puts a file in. Its name has at most 55 bytes; what is longer is cut off.
    pub fn add_file(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.insert(name.to_owned(), bytes);
        self.list();
    }

    /// Numbers the files by their names' order and writes the directory.
    fn list(&mut self) {
        let mut directory = (self.files.len() as u32).to_be_bytes().to_vec();
        for (key, (name, bytes)) in (key::FILE_FIRST..).zip(&self.files) {
            directory.extend((bytes.len() as u32).to_be_bytes());
            directory.extend(key.to_be_bytes());
            directory.extend([0; 2]);
            let mut field = name.as_bytes().to_vec();
            field.truncate(NAME_SIZE - 1);
            field.resize(NAME_SIZE, 0);
            directory.extend(field);
            self.items.insert(key, bytes.clone());
        }
        self.items.insert(key::FILE_DIR, directory);
    }

    /// The system's reset.
    pub fn reset(&mut self) {
        (self.selected, self.offset, self.dma_address, self.dma_pending) = (0, 0, [0; 8], false);
    }

    fn select(&mut self, key: u16) {
        (self.selected, self.offset) = (key & !WRITE_CHANNEL, 0);
    }

    /// The selected item from the current offset on.
    fn rest(&self) -> &[u8] {
        self.items.get(&self.selected).and_then(|item| item.get(self.offset..)).unwrap_or(&[])
    }

    /// The next byte of the item; zero beyond its end.
    fn next_byte(&mut self) -> u8 {
        let byte = self.rest().first().copied();
        self.offset += usize::from(byte.is_some());
        byte.unwrap_or(0)
    }

    /// Whether a DMA operation waits for [`FwCfg::run_dma`].
    pub fn dma_pending(&self) -> bool {
        self.dma_pending
    }

    /// Carries the waiting DMA operation out.
    pub fn run_dma(&mut self, memory: &mut dyn GuestMemory) {
        if !std::mem::take(&mut self.dma_pending) {
            return;
        }
        let description = u64::from_be_bytes(std::mem::take(&mut self.dma_address));
        let mut bytes = [0; DESCRIPTION];
        memory.read(description, &mut bytes);
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (control, length) = (word(0), word(4));
        let address = u64::from(word(8)) << 32 | u64::from(word(12));
        if control & dma_control::SELECT != 0 {
            self.select((control >> 16) as u16);
        }
        let fails = if control & dma_control::READ != 0 {
            self.dma_read(memory, address, length)
        } else if control & dma_control::WRITE != 0 {
            if self.reported.first(0) {
                log::warn!("fw_cfg: the guest writes to item {:#x}, but nothing here can be written", self.selected);
            }
            true
        } else {
            if control & dma_control::SKIP != 0 {
                self.offset += (length as usize).min(self.rest().len());
            }
            false
        };
        let status = if fails { dma_control::ERROR } else { 0 };
        memory.write(description, &status.to_be_bytes());
    }

    /// Copies `length` bytes to `address`, zeros beyond the item's end. Returns whether that is refused.
    fn dma_read(&mut self, memory: &mut dyn GuestMemory, address: u64, length: u32) -> bool {
        if length > DMA_MOST {
            return true;
        }
        let rest = self.rest();
        let data = &rest[..rest.len().min(length as usize)];
        memory.write(address, data);
        let copied = data.len();
        self.offset += copied;
        let zeros = [0; 4096];
        let mut done = copied;
        while done < length as usize {
            let n = (length as usize - done).min(zeros.len());
            memory.write(address.wrapping_add(done as u64), &zeros[..n]);
            done += n;
        }
        false
    }
}

impl PortIo for FwCfg {
    fn port_read(&mut self, _now: Time, port: u16, size: u8) -> u32 {
        (0..size.min(4)).fold(0, |value, i| {
            let byte = match port.wrapping_add(u16::from(i)) {
                DATA => self.next_byte(),
                port @ DMA_ADDRESS..=DMA_ADDRESS_END => DMA_SIGNATURE[usize::from(port - DMA_ADDRESS)],
                _ => 0,
            };
            value | u32::from(byte) << (8 * i)
        })
    }

    fn port_write(&mut self, _now: Time, port: u16, size: u8, value: u32) {
        if port == SELECTOR && size >= 2 {
            self.select(value as u16);
        }
        for i in 0..size.min(4) {
            let port = port.wrapping_add(u16::from(i));
            if (DMA_ADDRESS..=DMA_ADDRESS_END).contains(&port) {
                self.dma_address[usize::from(port - DMA_ADDRESS)] = (value >> (8 * i)) as u8;
                self.dma_pending |= port == DMA_ADDRESS_END;
            }
        }
    }
}
