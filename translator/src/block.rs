//! Blocks of lifted code and their cache, keyed by physical address.

use crate::ir::Op;
use crate::mmu::Memory;
use std::collections::HashMap;

/// What a block depends on besides its bytes: RAM offset of its first byte and the mode bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// RAM offset of the first byte.
    pub at: u64,
    /// [`crate::state::mode`] bits.
    pub mode: u32,
}

/// Where a guest instruction begins inside a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Index of its first operation.
    pub op: u16,
    /// Byte offset from the block's first byte.
    pub offset: u16,
}

/// How a block's last instruction leaves it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum End {
    /// To places known from the code, or not by a near transfer.
    #[default]
    Static,
    /// CALL to a known place.
    Call,
    /// CALL through a register or memory.
    IndirectCall,
    /// JMP through a register or memory.
    Indirect,
    /// RET.
    Return,
}

/// Number of a compiled region.
pub type RegionId = u32;

/// What the tiers above the interpreter know of a block.
#[derive(Debug, Default)]
pub struct Profile {
    /// How often the interpreter has entered the block.
    pub count: u32,
    /// Where its indirect terminator went: linear distances from the block's start.
    pub targets: Vec<i32>,
    /// The region that is entered here, with its entry number.
    pub native: Option<(RegionId, u32)>,
    /// A region that is entered here is being compiled.
    pub pending: bool,
    /// Regions that contain it.
    pub regions: Vec<RegionId>,
    /// How often the threshold for compilation is doubled, since this code changes again and again.
    pub patience: u8,
    /// Instructions, by number, whose loads and stores often missed in compiled code.
    pub resume: Vec<u16>,
}

impl Profile {
    /// True if no region is entered here, nor will be soon.
    pub fn unclaimed(&self) -> bool {
        self.native.is_none() && !self.pending
    }
}

/// A straight run of guest instructions, lifted.
#[derive(Debug, Default)]
pub struct Block {
    /// The operations, the last one a terminator. Empty while the block runs.
    pub ops: Vec<Op>,
    /// One mark an instruction.
    pub marks: Vec<Mark>,
    /// Bytes that operations and marks take.
    pub(crate) size: usize,
    /// Guest bytes covered.
    pub len: u32,
    /// RAM offset of the page that holds the tail, if the last instruction crosses a page.
    pub tail: Option<u64>,
    /// What it was found by; `None` for blocks that cannot be found.
    pub key: Option<Key>,
    /// Distinguishes the block from one that took its place.
    pub serial: u64,
    /// How it ends.
    pub end: End,
    /// For the tiers above.
    pub profile: Profile,
}

/// Number of a block in the cache.
pub type Id = u32;

#[derive(Clone, Copy)]
struct Hint {
    lin: u64,
    generation: u64,
    serial: u64,
    mode: u32,
    id: Id,
}

const NO_HINT: Hint = Hint { lin: u64::MAX, generation: 0, serial: 0, mode: 0, id: 0 };
const HINTS: usize = 1 << 13;
/// Blocks kept before everything is thrown away: bounds memory against guests that make code without end.
const MAX_BLOCKS: usize = 1 << 17;
/// Bytes of operations and marks kept before everything is thrown away, for the same reason.
const MAX_BYTES: usize = 96 << 20;

#[derive(Default)]
struct CodePage {
    blocks: Vec<Id>,
    /// Chunks are marked that belong to blocks which went away through another page.
    stale: bool,
}

impl Block {
    /// Bytes in the second page.
    fn tail_len(&self, key: Key) -> u64 {
        u64::from(self.len).saturating_sub(4096 - (key.at & 0xfff))
    }

    /// Marks the bytes of the page at RAM offset `page` that the block was made from. Both of its linear pages may be
    /// this one.
    fn note_in(&self, key: Key, page: u64, mem: &Memory) {
        if key.at & !0xfff == page {
            mem.note_code(key.at, u64::from(self.len).min(4096 - (key.at & 0xfff)));
        }
        if self.tail == Some(page) {
            mem.note_code(page, self.tail_len(key));
        }
    }

    /// Whether the block was made from any of RAM bytes `off..off + len` of the page at `page`.
    fn overlaps(&self, key: Key, page: u64, off: u64, len: u64) -> bool {
        let head = key.at & !0xfff == page && off < key.at + u64::from(self.len) && key.at < off + len;
        head || (self.tail == Some(page) && (off & 0xfff) < self.tail_len(key))
    }

    /// RAM offsets of its pages, each once.
    fn pages(&self, key: Key) -> impl Iterator<Item = u64> + use<> {
        let head = key.at & !0xfff;
        std::iter::once(head).chain(self.tail.filter(|t| *t != head))
    }
}

/// Multiplicative hashing of small integer keys; guests cannot be allowed to slow it by much, and cannot see it.
#[derive(Default, Clone, Copy)]
pub struct Mixer(u64);

impl std::hash::Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u64(u64::from(*b));
        }
    }
    fn write_u32(&mut self, v: u32) {
        self.write_u64(u64::from(v));
    }
    fn write_u64(&mut self, v: u64) {
        self.0 = (self.0.rotate_left(23) ^ v).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }
}

type Build = std::hash::BuildHasherDefault<Mixer>;

/// All blocks.
pub struct BlockCache {
    blocks: Vec<Block>,
    free: Vec<Id>,
    map: HashMap<Key, Id, Build>,
    pages: HashMap<u64, CodePage, Build>,
    hints: Vec<Hint>,
    serial: u64,
    /// Bytes that the blocks in `map` take.
    bytes: usize,
    private: Option<Id>,
    /// The block being run.
    pub running: Option<Id>,
    /// Regions that lost a block.
    pub(crate) dead: Vec<RegionId>,
}

impl Default for BlockCache {
    fn default() -> Self {
        BlockCache {
            blocks: Vec::new(),
            free: Vec::new(),
            map: HashMap::default(),
            pages: HashMap::default(),
            hints: vec![NO_HINT; HINTS],
            serial: 0,
            bytes: 0,
            private: None,
            running: None,
            dead: Vec::new(),
        }
    }
}

impl BlockCache {
    fn hint_index(lin: u64) -> usize {
        (lin ^ lin >> 13) as usize & (HINTS - 1)
    }

    /// The block last run at linear address `lin`, if nothing has changed since that could make another one right.
    /// `generations`: the shadow's present numbers, that of global pages among them.
    #[inline(always)]
    pub fn hint(&self, lin: u64, mode: u32, generations: [u64; 2]) -> Option<Id> {
        let h = &self.hints[Self::hint_index(lin)];
        let fresh = h.lin == lin && h.mode == mode && generations.contains(&h.generation);
        (fresh && self.blocks.get(h.id as usize).is_some_and(|b| b.serial == h.serial)).then_some(h.id)
    }

    /// Remembers the answer for [`BlockCache::hint`], for as long as the shadow keeps that generation.
    pub fn set_hint(&mut self, lin: u64, mode: u32, generation: u64, id: Id) {
        self.hints[Self::hint_index(lin)] = Hint { lin, generation, serial: self.get(id).serial, mode, id };
    }

    /// Finds a block by key.
    pub fn find(&self, key: Key) -> Option<Id> {
        self.map.get(&key).copied()
    }

    /// The block numbered `id`.
    #[inline(always)]
    pub fn get(&self, id: Id) -> &Block {
        &self.blocks[id as usize]
    }

    /// The block numbered `id`.
    #[inline(always)]
    pub fn get_mut(&mut self, id: Id) -> &mut Block {
        &mut self.blocks[id as usize]
    }

    /// Adds a block and marks its pages as code. The caller takes write permission off those pages.
    pub fn insert(&mut self, key: Key, mut block: Block, mem: &Memory) -> Id {
        if self.map.len() >= MAX_BLOCKS || self.bytes >= MAX_BYTES {
            self.clear(mem);
        }
        block.ops.shrink_to_fit();
        block.marks.shrink_to_fit();
        block.size = block.ops.len() * size_of::<Op>() + block.marks.len() * size_of::<Mark>();
        self.bytes += block.size;
        self.serial += 1;
        block.serial = self.serial;
        block.key = Some(key);
        let pages = block.pages(key);
        for page in block.pages(key) {
            mem.set_code(page, true);
        }
        let id = match self.free.pop() {
            Some(id) => {
                self.blocks[id as usize] = block;
                id
            }
            None => {
                self.blocks.push(block);
                (self.blocks.len() - 1) as Id
            }
        };
        for page in pages {
            self.blocks[id as usize].note_in(key, page, mem);
            self.pages.entry(page).or_default().blocks.push(id);
        }
        self.map.insert(key, id);
        id
    }

    /// Adds a block that nothing can find again; its place is reused by the next private one.
    pub fn insert_private(&mut self, mut block: Block) -> Id {
        self.serial += 1;
        block.serial = self.serial;
        match self.private {
            Some(id) if (id as usize) < self.blocks.len() => {
                self.blocks[id as usize] = block;
                id
            }
            _ => {
                self.blocks.push(block);
                let id = (self.blocks.len() - 1) as Id;
                self.private = Some(id);
                id
            }
        }
    }

    /// The block numbered `id` if it is still the one with this serial.
    #[inline(always)]
    pub fn alive(&mut self, id: Id, serial: u64) -> Option<&mut Block> {
        self.blocks.get_mut(id as usize).filter(|b| b.serial == serial)
    }

    /// Drops every block.
    pub fn clear(&mut self, mem: &Memory) {
        for page in self.pages.keys() {
            mem.set_code(*page, false);
            mem.forget_code(*page);
        }
        for b in &self.blocks {
            self.dead.extend(&b.profile.regions);
        }
        self.blocks.clear();
        self.bytes = 0;
        self.private = None;
        self.free.clear();
        self.map.clear();
        self.pages.clear();
        self.hints.fill(NO_HINT);
    }

    /// Drops the blocks made from RAM bytes `off..off + len` (inside one page). Returns how many, and whether the
    /// running one was among them. A page left without blocks is no longer code.
    pub fn invalidate(&mut self, off: u64, len: u64, mem: &Memory) -> (u64, bool) {
        let page = off & !0xfff;
        if !mem.has_code(off, len) {
            return (0, false);
        }
        let Some(p) = self.pages.get_mut(&page) else { return (0, false) };
        let (mut dropped, mut running) = (0, false);
        let mut gone: Vec<Id> = Vec::new();
        let blocks = &self.blocks;
        p.blocks.retain(|id| {
            let b = &blocks[*id as usize];
            let hit = b.key.is_some_and(|key| b.overlaps(key, page, off, len));
            if hit {
                gone.push(*id);
            }
            !hit && b.key.is_some()
        });
        if p.blocks.is_empty() {
            self.pages.remove(&page);
            mem.set_code(page, false);
            mem.forget_code(page);
        } else if p.stale || !gone.is_empty() {
            p.stale = false;
            mem.forget_code(page);
            for id in &p.blocks {
                let b = &blocks[*id as usize];
                if let Some(key) = b.key {
                    b.note_in(key, page, mem);
                }
            }
        }
        for id in gone {
            dropped += 1;
            running |= self.running == Some(id);
            let b = &mut self.blocks[id as usize];
            if let Some(key) = b.key.take() {
                let others = b.pages(key).filter(|o| *o != page);
                self.bytes -= b.size;
                self.map.remove(&key);
                for other in others {
                    if let Some(q) = self.pages.get_mut(&other) {
                        q.blocks.retain(|x| *x != id);
                        q.stale = true;
                        if q.blocks.is_empty() {
                            self.pages.remove(&other);
                            mem.set_code(other, false);
                            mem.forget_code(other);
                        }
                    }
                }
            }
            // The operations and marks stay until the place is reused: the block may be running.
            self.blocks[id as usize].serial = 0;
            let profile = std::mem::take(&mut self.blocks[id as usize].profile);
            self.dead.extend(profile.regions);
            self.free.push(id);
        }
        (dropped, running)
    }

    /// The instruction at RAM offset `at` often misses in compiled code: from now on the blocks that contain it are
    /// compiled so that the region goes on there. Returns the regions that they are in now.
    pub fn let_resume(&mut self, at: u64, mode: u32) -> Vec<RegionId> {
        let mut regions = Vec::new();
        let Some(page) = self.pages.get(&(at & !0xfff)) else { return regions };
        for id in &page.blocks {
            let Some(b) = self.blocks.get_mut(*id as usize) else { continue };
            let Some(key) = b.key.filter(|key| key.mode == mode && key.at <= at) else { continue };
            let Some(n) = b.marks.iter().position(|m| key.at + u64::from(m.offset) == at) else { continue };
            if b.profile.resume.contains(&(n as u16)) {
                continue;
            }
            let sites = crate::lower::resume::sites(&b.ops, &b.marks, n);
            if !sites.is_empty() {
                b.profile.resume.extend(sites);
                b.profile.resume.sort_unstable();
                b.profile.resume.dedup();
                regions.extend(&b.profile.regions);
            }
        }
        regions
    }

    /// Number of blocks held.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// True if no block is held.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pins::Pins;
    use std::sync::Arc;

    #[test]
    fn only_bytes_of_a_block_are_code() {
        let mem = Memory::flat(0x4000, Arc::new(Pins::default())).expect("memory");
        let mut cache = BlockCache::default();
        let block = |len, tail| Block { len, tail, ..Block::default() };
        cache.insert(Key { at: 0x1010, mode: 0 }, block(8, None), &mem);
        cache.insert(Key { at: 0x1ffc, mode: 0 }, block(10, Some(0x3000)), &mem);
        for (at, there) in [(0x100f, false), (0x1010, true), (0x1017, true), (0x1018, false), (0x1ffb, true)] {
            assert_eq!(mem.has_code(at, 1), there, "{at:x}");
        }
        assert!(mem.has_code(0x3000, 1) && !mem.has_code(0x3008, 1) && !mem.has_code(0x2000, 1));
        assert!(mem.has_code(0x100c, 8) && mem.is_code(0x3000));
        // In the chunk, but not in the block.
        assert_eq!(cache.invalidate(0x3006, 1, &mem), (0, false));
        assert_eq!(cache.invalidate(0x3005, 1, &mem), (1, false));
        assert!(!mem.is_code(0x3000) && !mem.has_code(0x3000, 8));
        assert_eq!(cache.invalidate(0x1ffc, 4, &mem), (0, false));
        assert!(!mem.has_code(0x1ffc, 4) && mem.has_code(0x1010, 1));
        assert_eq!(cache.invalidate(0x1000, 0x11, &mem), (1, false));
        assert!(!mem.is_code(0x1000) && cache.is_empty());
    }
}
