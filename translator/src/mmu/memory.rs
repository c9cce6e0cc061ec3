//! The physical address space: which ranges are RAM, ROM or devices, and which RAM pages hold translated code.
//!
//! Shared between the CPU and the devices that do DMA. The CPU drops its shadow when [`Memory::generation`] moves.

use super::ram::Ram;
use crate::pins::{self, Pins};
use bitvec::prelude::*;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// What one direction of access to a physical range reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// Bytes of [`Ram`] from this offset, for the start of the range.
    Ram(u64),
    /// A device, or nothing: the bus is asked.
    Bus,
}

#[derive(Clone, Copy, Debug)]
struct Region {
    start: u64,
    /// Last byte.
    last: u64,
    read: Backing,
    write: Backing,
}

/// Where the reads and writes of one 4 KiB physical page go: RAM offsets of the page, or `None` for the bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageTarget {
    /// RAM offset that reads come from.
    pub read: Option<u64>,
    /// RAM offset that writes go to.
    pub write: Option<u64>,
}

/// Bytes of RAM for each bit that says whether translated code was made from them.
pub const CHUNK: u64 = 8;

/// Bytes of chunk bits for each page.
const CHUNK_BYTES: usize = 4096 / CHUNK as usize / 8;

/// RAM, ROM and the map that places them.
pub struct Memory {
    ram: Ram,
    /// Later regions lie over earlier ones.
    map: RwLock<Vec<Region>>,
    generation: AtomicU64,
    code: BitBox<AtomicUsize>,
    /// One bit for each [`CHUNK`] bytes of RAM that translated code was made from, in memory that the host provides when
    /// it is touched: stores beside code need no search.
    chunks: Ram,
    stale: Mutex<Vec<(u64, u64)>>,
    pins: Arc<Pins>,
}

impl Memory {
    /// `ram_len` bytes of RAM and room for `rom_len` bytes of ROM images behind it; nothing is mapped yet.
    pub fn new(ram_len: usize, rom_len: usize, pins: Arc<Pins>) -> io::Result<Self> {
        let ram = Ram::new(ram_len.next_multiple_of(4096) + rom_len)?;
        let pages = ram.len() / 4096;
        // Compiled code reads two bytes at a time.
        let chunks = Ram::new(pages * CHUNK_BYTES + 1)?;
        Ok(Memory {
            chunks,
            ram,
            map: RwLock::new(Vec::new()),
            generation: AtomicU64::new(1),
            code: bitvec![AtomicUsize, Lsb0; 0; pages].into_boxed_bitslice(),
            stale: Mutex::new(Vec::new()),
            pins,
        })
    }

    /// A PC with all of `ram_len` bytes of RAM from address 0, without holes: for tests and bare programs.
    pub fn flat(ram_len: usize, pins: Arc<Pins>) -> io::Result<Self> {
        let m = Memory::new(ram_len, 0, pins)?;
        m.map_region(0, ram_len as u64, Backing::Ram(0), Backing::Ram(0));
        Ok(m)
    }

    /// The bytes behind the map. Writing here directly does not invalidate translated code: see [`Memory::dma_write`].
    pub fn ram(&self) -> &Ram {
        &self.ram
    }

    /// Places `len` bytes from physical `start` (both multiples of 4 KiB) over what was there before.
    pub fn map_region(&self, start: u64, len: u64, read: Backing, write: Backing) {
        if len == 0 {
            return;
        }
        let last = start + (len - 1);
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        map.retain(|r| !(r.start >= start && r.last <= last));
        map.push(Region { start, last, read, write });
        drop(map);
        self.generation.fetch_add(1, Ordering::Release);
        self.pins.raise(pins::MAP);
    }

    /// Moves whenever the map changes.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Resolves the page that contains physical address `addr`.
    pub fn page(&self, addr: u64) -> PageTarget {
        let page = addr & !0xfff;
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        for r in map.iter().rev() {
            if page >= r.start && page <= r.last {
                let at = |b: Backing| match b {
                    Backing::Ram(off) => Some(off + (page - r.start)).filter(|o| *o < self.ram.len() as u64),
                    Backing::Bus => None,
                };
                return PageTarget { read: at(r.read), write: at(r.write) };
            }
        }
        PageTarget { read: None, write: None }
    }

    /// The whole map as pieces (first address, length, where accesses go) in the order of their addresses; what is not in
    /// it is the bus's alone. Neighbouring pieces may lead to the same place.
    pub fn extents(&self) -> Vec<(u64, u64, PageTarget)> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let mut edges: Vec<u64> = map.iter().flat_map(|r| [r.start, r.last.saturating_add(1)]).collect();
        drop(map);
        edges.sort_unstable();
        edges.dedup();
        let pieces = edges.windows(2).map(|w| (w[0], w[1] - w[0], self.page(w[0])));
        pieces.filter(|(_, _, to)| to.read.is_some() || to.write.is_some()).collect()
    }

    /// True if translated code was made from the RAM page at offset `off`.
    pub fn is_code(&self, off: u64) -> bool {
        self.code.get((off >> 12) as usize).is_some_and(|b| *b)
    }

    /// Marks or clears a RAM page as a source of translated code.
    pub fn set_code(&self, off: u64, on: bool) {
        let i = (off >> 12) as usize;
        if i < self.code.len() {
            self.code.set_aliased(i, on);
        }
    }

    /// True if translated code may have been made from the RAM bytes `off..off + len`, which lie in one page.
    pub fn has_code(&self, off: u64, len: u64) -> bool {
        let (first, last) = (off / CHUNK, (off + len.max(1) - 1) / CHUNK);
        (first..=last).any(|c| self.chunks.read::<u8>((c / 8) as usize) >> (c % 8) & 1 != 0)
    }

    /// Notes that translated code was made from the RAM bytes `off..off + len`, which lie in one page.
    pub fn note_code(&self, off: u64, len: u64) {
        for c in off / CHUNK..=(off + len.max(1) - 1) / CHUNK {
            let at = (c / 8) as usize;
            self.chunks.write(at, self.chunks.read::<u8>(at) | 1 << (c % 8));
        }
    }

    /// Forgets what [`Memory::note_code`] noted of the page at RAM offset `page`.
    pub fn forget_code(&self, page: u64) {
        let at = (page >> 12) as usize * CHUNK_BYTES;
        self.chunks.fill(at, CHUNK_BYTES, 0, 1);
    }

    /// Address of the chunk bits, for compiled code.
    pub(crate) fn chunks_address(&self) -> usize {
        self.chunks.as_ptr() as usize
    }

    /// Reads physical memory as a device does: RAM and ROM only, anything else reads FFh.
    pub fn dma_read(&self, addr: u64, out: &mut [u8]) {
        let mut done = 0;
        while done < out.len() {
            let a = addr.wrapping_add(done as u64);
            let n = (4096 - (a & 0xfff) as usize).min(out.len() - done);
            match self.page(a).read {
                Some(off) => self.ram.read_bytes((off + (a & 0xfff)) as usize, &mut out[done..done + n]),
                None => out[done..done + n].fill(0xff),
            }
            done += n;
        }
    }

    /// Writes physical memory as a device does: RAM only. Translated code made from the bytes is dropped before the
    /// guest's next instruction.
    pub fn dma_write(&self, addr: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let a = addr.wrapping_add(done as u64);
            let n = (4096 - (a & 0xfff) as usize).min(data.len() - done);
            if let Some(page) = self.page(a).write {
                self.store(page + (a & 0xfff), &data[done..done + n]);
            }
            done += n;
        }
    }

    /// Writes at offset `off` of [`Memory::ram`] as a device does that owns those bytes, wherever they are mapped.
    /// Translated code made from them is dropped before the guest's next instruction.
    pub fn store(&self, off: u64, data: &[u8]) {
        self.ram.write_bytes(off as usize, data);
        let end = off + data.len() as u64;
        let mut at = off;
        while at < end {
            let n = (4096 - (at & 0xfff)).min(end - at);
            if self.is_code(at & !0xfff) && self.has_code(at, n) {
                self.stale.lock().unwrap_or_else(PoisonError::into_inner).push((at, n));
                self.pins.raise(pins::STALE);
            }
            at += n;
        }
    }

    /// Takes the RAM ranges (offset, length) whose code DMA has overwritten.
    pub fn take_stale(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut *self.stale.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
