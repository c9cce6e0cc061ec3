//! Executable memory for regions: one memory file mapped twice, once writable and once executable, so that no page is
//! ever both. Regions come and go one by one; a region is written before anybody can know its address.
#![expect(unsafe_code, reason = "code is written through one mapping and run through the other")]

use memmap2::{Mmap, MmapOptions, MmapRaw};
use std::collections::BTreeMap;
use std::fs::File;
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
    file: File,
    write: MmapRaw,
    run: Mmap,
    /// New code may lie where other code has been run before.
    reuses: bool,
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
        let run = executable(&file, size)?;
        let mut cache = CodeCache { file, write, run, reuses: true, free: BTreeMap::from([(0, size)]), used: 0 };
        cache.reuses = sees_new_code(&mut cache);
        Ok(cache)
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
        if !self.reuses {
            if self.used == 0 {
                self.renew();
            }
            return;
        }
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

    /// The whole room again, at addresses where nothing has been run. Without it there is no more room for code.
    fn renew(&mut self) {
        let size = self.run.len();
        if let Ok(run) = executable(&self.file, size) {
            self.run = run;
            self.free = BTreeMap::from([(0, size)]);
        }
    }
}

fn executable(file: &File, size: usize) -> io::Result<Mmap> {
    // SAFETY: the file is the cache's alone and never shrinks; its bytes change only in pieces that are not being run.
    unsafe { MmapOptions::new().len(size).map_exec(file) }
}

/// Whether this host runs what has been written last, once told. Emulators of such hosts may keep what they made of the
/// first code at an address, since it was overwritten by way of another one (QEMU before 8.1 in user mode).
#[cfg(target_arch = "aarch64")]
fn sees_new_code(cache: &mut CodeCache) -> bool {
    let mut answers = [1u32, 2].map(|n| {
        // MOV W0, #n; RET
        let words = [0x5280_0000 | n << 5, 0xd65f_03c0];
        let Some(piece) = cache.insert(&words.map(u32::to_le_bytes).concat()) else { return 0 };
        // SAFETY: the two instructions are a function of this type.
        let f = unsafe { std::mem::transmute::<usize, extern "C" fn() -> u32>(cache.address(&piece)) };
        let answer = f();
        cache.free(piece);
        answer
    });
    answers.sort_unstable();
    let sees = answers == [1, 2];
    if !sees {
        cache.renew();
    }
    sees
}

/// x86 processors see it by themselves (SDM vol. 3, 11.6); of other hosts we do not know.
#[cfg(not(target_arch = "aarch64"))]
fn sees_new_code(_: &mut CodeCache) -> bool {
    cfg!(target_arch = "x86_64")
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
        c.reuses = true;
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
    fn a_host_that_keeps_old_code_gets_new_addresses() {
        let mut c = CodeCache::new(1 << 16).expect("memory");
        c.reuses = false;
        let a = c.insert(&[0x90; 100]).expect("room");
        let b = c.insert(&[0x90; 100]).expect("room");
        let (first, base) = (c.address(&a), c.run.as_ptr());
        c.free(a);
        let again = c.insert(&[0xc3; 100]).expect("room");
        assert_ne!(c.address(&again), first);
        c.free(again);
        c.free(b);
        assert_ne!(c.run.as_ptr(), base);
        assert!(c.insert(&vec![0; 1 << 16]).is_some(), "all of it is free again");
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
