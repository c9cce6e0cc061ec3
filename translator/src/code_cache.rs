//! Executable memory for regions: one memory file mapped twice, once writable and once executable, so that no page is
//! ever both. Regions come and go one by one; a region is written before anybody can know its address.
#![expect(unsafe_code, reason = "code is written through one mapping and run through the other")]

use memmap2::{Mmap, MmapOptions, MmapRaw};
use std::collections::BTreeMap;
use std::io;

/// Regions begin at multiples of this: a cache line.
const ALIGN: usize = 64;

/// A piece of the cache. Give it back with [`CodeCache::free`].
#[derive(Debug)]
pub struct Piece {
    offset: usize,
    len: usize,
}

/// The cache.
pub struct CodeCache {
    write: MmapRaw,
    run: Mmap,
    /// Free ranges by offset.
    free: BTreeMap<usize, usize>,
    used: usize,
}

impl CodeCache {
    /// Reserves `size` bytes; the host provides pages as they are used.
    ///
    /// # Errors
    /// If the host refuses the memory, or executable mappings of it.
    pub fn new(size: usize) -> io::Result<Self> {
        let size = size.next_multiple_of(1 << 16);
        let file = crate::mmu::ram::memory_file(c"ring86-code", size)?;
        let write = MmapOptions::new().len(size).map_raw(&file)?;
        // SAFETY: the file is ours alone and never shrinks; its bytes change only in pieces that are not being run.
        let run = unsafe { MmapOptions::new().len(size).map_exec(&file)? };
        Ok(CodeCache { write, run, free: BTreeMap::from([(0, size)]), used: 0 })
    }

    /// Bytes in use.
    #[cfg(test)]
    fn used(&self) -> usize {
        self.used
    }

    /// Copies `code` into the cache. `None` when there is no room.
    pub fn insert(&mut self, code: &[u8]) -> Option<Piece> {
        let len = code.len().max(1).next_multiple_of(ALIGN);
        let (&offset, &room) = self.free.iter().find(|(_, room)| **room >= len)?;
        self.free.remove(&offset);
        if room > len {
            self.free.insert(offset + len, room - len);
        }
        self.used += len;
        // SAFETY: offset + code.len() lies inside the mapping (a free range did), and nobody runs a free range.
        unsafe { self.write.as_mut_ptr().add(offset).copy_from_nonoverlapping(code.as_ptr(), code.len()) }
        let piece = Piece { offset, len };
        synchronise(self.address(&piece), len);
        Some(piece)
    }

    /// Where a piece runs.
    pub fn address(&self, piece: &Piece) -> usize {
        self.run.as_ptr() as usize + piece.offset
    }

    /// Takes a piece back. Nobody may be running it, or know its address any more.
    pub fn free(&mut self, piece: Piece) {
        let (mut offset, mut len) = (piece.offset, piece.len);
        self.used -= len;
        if let Some((&before, &room)) = self.free.range(..offset).next_back()
            && before + room == offset
        {
            self.free.remove(&before);
            (offset, len) = (before, room + len);
        }
        if let Some(room) = self.free.remove(&(offset + len)) {
            len += room;
        }
        self.free.insert(offset, len);
    }
}

/// Makes new code visible to instruction fetch; x86 hosts need nothing.
fn synchronise(address: usize, len: usize) {
    #[cfg(not(target_arch = "x86_64"))]
    {
        // SAFETY: the range has just been written and is mapped; failure would only mean that the host needs nothing.
        let _ = unsafe { wasmtime_internal_jit_icache_coherence::clear_cache(address as *const _, len) };
        let _ = wasmtime_internal_jit_icache_coherence::pipeline_flush_mt();
    }
    #[cfg(target_arch = "x86_64")]
    let _ = (address, len);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_and_go() {
        let mut c = CodeCache::new(1 << 16).expect("memory");
        let a = c.insert(&[0x90; 100]).expect("room");
        let b = c.insert(&[0xc3; 64]).expect("room");
        assert_eq!(c.address(&b) - c.address(&a), 128);
        assert_eq!(c.used(), 192);
        assert!(c.insert(&vec![0; 1 << 16]).is_none());
        let at = c.address(&b) - c.address(&a);
        assert_eq!(c.run[b.offset], 0xc3);
        c.free(a);
        let again = c.insert(&[1; 10]).expect("room");
        assert_eq!(c.address(&b) - c.address(&again), at);
        c.free(again);
        c.free(b);
        assert_eq!(c.used(), 0);
        assert_eq!(c.free.len(), 1);
        assert!(c.insert(&vec![0; 1 << 16]).is_some());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn no_mapping_is_writable_and_executable() {
        let _c = CodeCache::new(1 << 16).expect("memory");
        let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
        let both = maps.lines().filter(|l| l.split(' ').nth(1).is_some_and(|p| p.starts_with("rwx"))).count();
        assert_eq!(both, 0, "{maps}");
        assert!(maps.lines().any(|l| l.contains("ring86-code") && l.contains("r-x")));
    }
}
