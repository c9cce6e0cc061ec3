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
    /// One bit for each 64 bytes that a block may cover: stores elsewhere in the page need no search. DOS programs keep
    /// code, data and stack in one page.
    lines: u64,
}

/// The 64-byte lines that `len` bytes from offset `start` of a page touch, one bit each; the page's end cuts it short.
fn lines(start: u64, len: u64) -> u64 {
    let first = (start & 0xfff) >> 6;
    let last = ((start & 0xfff) + len.max(1) - 1).min(0xfff) >> 6;
    u64::MAX >> (63 - (last - first)) << first
}

impl Block {
    /// Bytes in the second page.
    fn tail_len(&self, key: Key) -> u64 {
        u64::from(self.len).saturating_sub(4096 - (key.at & 0xfff))
    }

    /// The lines of the page at RAM offset `page` that the block covers. Both of its linear pages may be this one.
    fn lines_in(&self, key: Key, page: u64) -> u64 {
        let head = if key.at & !0xfff == page { lines(key.at, u64::from(self.len)) } else { 0 };
        let tail = if self.tail == Some(page) { lines(0, self.tail_len(key)) } else { 0 };
        head | tail
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
            let covered = self.blocks[id as usize].lines_in(key, page);
            let entry = self.pages.entry(page).or_default();
            entry.blocks.push(id);
            entry.lines |= covered;
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
        let Some(p) = self.pages.get_mut(&page) else { return (0, false) };
        if p.lines & lines(off, len) == 0 {
            return (0, false);
        }
        p.lines = 0;
        let (mut dropped, mut running) = (0, false);
        let mut i = 0;
        let mut gone: Vec<Id> = Vec::new();
        while i < p.blocks.len() {
            let id = p.blocks[i];
            let b = &self.blocks[id as usize];
            let Some(key) = b.key else {
                p.blocks.swap_remove(i);
                continue;
            };
            if b.overlaps(key, page, off, len) {
                p.blocks.swap_remove(i);
                gone.push(id);
            } else {
                p.lines |= b.lines_in(key, page);
                i += 1;
            }
        }
        if p.blocks.is_empty() {
            self.pages.remove(&page);
            mem.set_code(page, false);
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
                        if q.blocks.is_empty() {
                            self.pages.remove(&other);
                            mem.set_code(other, false);
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
mod line_tests {
    use super::lines;

    #[test]
    fn a_range_touches_its_lines() {
        assert_eq!(lines(0x1000, 1), 1);
        assert_eq!(lines(0x103f, 2), 0b11);
        assert_eq!(lines(0x1fff, 1), 1 << 63);
        assert_eq!(lines(0x1fff, 100), 1 << 63);
        assert_eq!(lines(0x1000, 4096), u64::MAX);
        assert_eq!(lines(0x1080, 0), 0b100);
    }
}
