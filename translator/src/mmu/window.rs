//! The checked window: guest RAM mapped where the guest's page tables put it, for compiled code.
//!
//! A *slot* is 4 GiB of reserved address space in which frames of the RAM file appear at their linear addresses, so that
//! compiled code reaches linear address `lin` at `base + lin`. *Permission bytes* of each view say whether it may: a set
//! bit means that the shadow's entry of the current address space grants the access and that the slot maps exactly that
//! frame at this moment. The bytes are the authority and follow the shadow's table entry by entry; what is mapped is
//! only a cache. A flush of the guest's TLB therefore costs writes of eight bytes, and an entry that comes back with the
//! same frame costs one such write and no system call.
//!
//! There is one byte for each *granule* of 512 bytes, eight a page, so that one test nearly always suffices: what begins
//! in the first seven granules of a page ends in that page, whatever the next one is. Only the last byte's bits of two
//! pages depend on the neighbour.
//!
//! The supervisor's view has one slot for all address spaces, since kernels look the same from each of them; user views
//! have a slot for each of the last few values of CR3. The permission bytes belong to the view, not to the slot: those
//! of the view's other slots would all be zero. They appear below each slot of the view, so that compiled code finds
//! them from the slot's base and needs no second register.
#![expect(unsafe_code, reason = "reserves address space, maps guest RAM into it and handles faults there")]

use super::ram::{Ram, memory_file};
use super::shadow;
use memmap2::{MmapMut, MmapOptions, MmapRaw};
use std::fs::File;
use std::marker::PhantomData;

/// The page can be read.
pub const READ: u8 = 1 << 0;
/// The page can be written.
pub const WRITE: u8 = 1 << 1;
/// What begins in this granule and is no longer than one can be read.
pub const READ2: u8 = 1 << 2;
/// What begins in this granule and is no longer than one can be written.
pub const WRITE2: u8 = 1 << 3;

/// Bits of the place in a granule.
pub const GRANULE_BITS: u32 = 9;
/// Bytes that share a permission byte.
pub const GRANULE: u32 = 1 << GRANULE_BITS;
/// From linear address 0 of a slot down to the permission byte of its first granule.
pub const PERM_BELOW: usize = PERM_LEN + GUARD;

/// Bytes of a view's permissions: eight a page.
const PERM_LEN: usize = PAGES * 8;
/// Reserved and never mapped below and above each slot. An access of at most 64 bytes at a checked address stays
/// far inside, and so does a small displacement that a faulty lowering might add unchecked.
const GUARD: usize = 64 << 10;

/// Pages of a 32-bit linear address space.
const PAGES: usize = 1 << 20;
/// Size of a page, of the guest and of hosts that can have windows.
const PAGE: usize = 4096;
/// Slots for user address spaces. Each costs address space, and host page tables for what is mapped in it.
const USER_SLOTS: usize = 8;
/// Misses of compiled code on a page before it is mapped by itself. Mapping, its first touch and its end take some 9 us,
/// going through the interpreter once some 0.2 us: pages that are touched a few times between changes of their frame are
/// better not mapped at all.
const MAP_AFTER: u32 = 16;
/// Misses before it is mapped together with at least [`RUN`] neighbours, which makes it cheaper for each.
const MAP_RUN_AFTER: u32 = 4;
/// Pages that count as a run.
const RUN: usize = 8;
/// Neighbours that one system call may map together: the aligned block of this many pages around the page that missed.
const BLOCK: usize = 64;
/// Pages of a shared file that Linux makes present at the first read of one of them, if they lie in the same aligned
/// piece of this many (fault_around_bytes, 64 KiB).
const AROUND: usize = 16;

/// What the windows did: for `--stats` and for tuning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowStats {
    /// System calls that mapped frames.
    pub maps: u64,
    /// Pages mapped by them.
    pub mapped_pages: u64,
    /// Permission bytes that became non-zero.
    pub fills: u64,
    /// Of those, the ones whose frame was mapped already.
    pub byte_fills: u64,
    /// Misses counted towards mapping but not served.
    pub deferred: u64,
    /// Permission bytes that became zero.
    pub drops: u64,
    /// User slots handed to another address space.
    pub evictions: u64,
    /// Slots emptied because the host's mappings ran out.
    pub resets: u64,
    /// Changes of the current address space.
    pub activations: u64,
}

/// Zeroed numbers in pages that the host provides when they are first touched. Out-of-range indices read as 0.
struct Zeroed<T> {
    map: MmapRaw,
    len: usize,
    holds: PhantomData<T>,
}

impl<T: Copy + Default + Plain> Zeroed<T> {
    fn new(len: usize) -> Option<Self> {
        let map = MmapMut::map_anon(len * size_of::<T>()).ok()?;
        Some(Zeroed { map: map.into(), len, holds: PhantomData })
    }

    /// The bytes of a new file.
    fn of(file: &File, len: usize) -> Option<Self> {
        let map = MmapOptions::new().len(len * size_of::<T>()).map_raw(file).ok()?;
        Some(Zeroed { map, len, holds: PhantomData })
    }

    fn ptr(&self) -> *mut T {
        self.map.as_mut_ptr().cast()
    }

    #[inline(always)]
    fn get(&self, i: usize) -> T {
        if i >= self.len {
            return T::default();
        }
        // SAFETY: in range of the mapping, aligned as mappings are, and any bits are a value of a plain integer.
        unsafe { self.ptr().add(i).read() }
    }

    #[inline(always)]
    fn set(&mut self, i: usize, v: T) {
        if i < self.len {
            // SAFETY: as in `get`; compiled code only reads these numbers, on this thread.
            unsafe { self.ptr().add(i).write(v) }
        }
    }

    fn clear(&mut self) {
        // SAFETY: the whole mapping, and zero is a value of a plain integer.
        unsafe { self.ptr().write_bytes(0, self.len) }
    }
}

/// Integers: any bits are a value.
trait Plain {}
impl Plain for u32 {}
impl Plain for u64 {}

/// The permission bytes of one view, the eight of a page as one number.
struct Permissions {
    bytes: Zeroed<u64>,
    /// The same bytes, to be mapped below each slot.
    file: File,
}

impl Permissions {
    fn new() -> Option<Self> {
        let file = memory_file(c"ring86-permissions", PERM_LEN).ok()?;
        Some(Permissions { bytes: Zeroed::of(&file, PAGES)?, file })
    }

    /// The byte of a page's last granule, of which the others follow. Beyond the last page nothing is permitted.
    #[inline(always)]
    fn get(&self, page: usize) -> u8 {
        (self.bytes.get(page) >> 56) as u8
    }

    /// Stores a page's READ and WRITE bits, and the bits that depend on them.
    #[inline(always)]
    fn put(&mut self, page: usize, bits: u8) {
        let next = self.get(page + 1);
        // The same byte seven times.
        let inside = u64::from(bits | bits << 2) * 0x01_0101_0101_0101;
        self.bytes.set(page, inside | u64::from(bits | (bits & next & (READ | WRITE)) << 2) << 56);
        if page > 0 {
            let word = self.bytes.get(page - 1);
            let before = (word >> 56) as u8 & (READ | WRITE);
            self.bytes.set(page - 1, word << 8 >> 8 | u64::from(before | (before & bits) << 2) << 56);
        }
    }

    /// Takes all permissions.
    fn clear(&mut self) {
        if !host::empty(&self.file, PERM_LEN) {
            self.bytes.clear();
        }
    }
}

/// The address space of one view of one guest address space.
struct Slot {
    key: u64,
    /// When it last became active.
    used: u64,
    space: host::Reservation,
    /// For each page the frame mapped there plus 1, or 0, in the low 24 bits; misses since then in the high 8.
    frames: Zeroed<u32>,
    /// Kernel mappings that the 4 GiB consist of: what max_map_count limits.
    pieces: usize,
}

const FRAME: u32 = 0xff_ffff;

impl Slot {
    fn new(key: u64, permissions: &Permissions) -> Option<Self> {
        let space = host::Reservation::new(&permissions.file)?;
        Some(Slot { key, used: 0, space, frames: Zeroed::new(PAGES)?, pieces: 1 })
    }

    /// The frame mapped at a page, plus 1; 0 if none is. Beyond both ends nothing is.
    #[inline(always)]
    fn mapped(&self, page: usize) -> u32 {
        self.frames.get(page) & FRAME
    }

    /// True if the kernel keeps two mappings for two pages beside each other.
    fn split(left: u32, right: u32) -> bool {
        (left | right) != 0 && (left == 0 || right != left + 1)
    }

    /// Notes that pages `first..=last` now map the frames from `frame` (plus 1; 0: nothing).
    fn note(&mut self, first: usize, last: usize, frame: u32) {
        let (before, after) = (self.mapped(first.wrapping_sub(1)), self.mapped(last + 1));
        let mut left = before;
        for page in first..=last + 1 {
            let right = self.mapped(page);
            self.pieces -= usize::from(Self::split(left, right));
            left = right;
        }
        for page in first..=last {
            self.frames.set(page, if frame == 0 { 0 } else { frame + (page - first) as u32 });
        }
        self.pieces += usize::from(Self::split(before, self.mapped(first)));
        self.pieces += usize::from(Self::split(self.mapped(last), after));
    }

    /// Unmaps everything. False if the host refuses.
    fn reset(&mut self) -> bool {
        match Zeroed::new(PAGES) {
            Some(frames) => self.frames = frames,
            None => self.frames.clear(),
        }
        self.pieces = 1;
        self.space.unmap(0, PAGES)
    }
}

/// The slots, and the permission bytes of both views.
pub struct Windows {
    file: File,
    /// Frames of RAM and ROM.
    frames: u64,
    /// Supervisor and user slots; never empty.
    slots: [Vec<Slot>; 2],
    perm: [Permissions; 2],
    active: [usize; 2],
    user_slots: usize,
    /// Kernel mappings that all slots together may use.
    max_pieces: usize,
    /// The host left a hole in a reservation: nothing is permitted any more.
    broken: bool,
    now: u64,
    /// Counters.
    pub stats: WindowStats,
}

impl Windows {
    /// Windows onto `ram`. None where the host cannot have them: not Linux, pages that are not 4 KiB, no address space.
    pub fn new(ram: &Ram) -> Option<Self> {
        Self::with_limits(ram, USER_SLOTS, host::max_pieces()?)
    }

    fn with_limits(ram: &Ram, user_slots: usize, max_pieces: usize) -> Option<Self> {
        let file = ram.file()?.try_clone().ok()?;
        let frames = (ram.len() / PAGE) as u64;
        if frames >= u64::from(FRAME) {
            return None;
        }
        let perm = [Permissions::new()?, Permissions::new()?];
        let slots = [vec![Slot::new(0, &perm[0])?], vec![Slot::new(u64::MAX, &perm[1])?]];
        Some(Windows {
            file,
            frames,
            perm,
            slots,
            active: [0; 2],
            user_slots,
            max_pieces,
            broken: false,
            now: 0,
            stats: WindowStats::default(),
        })
    }

    /// Where linear address 0 of a view is. Changes only with [`Windows::activate`].
    pub fn base_ptr(&self, view: usize) -> *mut u8 {
        self.slots[view & 1][self.active[view & 1]].space.at(0)
    }

    /// The permission byte of a page's last granule.
    #[inline(always)]
    pub fn perm(&self, view: usize, page: usize) -> u8 {
        self.perm[view & 1].get(page)
    }

    /// Makes the address space named `key` current. True if the user's view has another base now; the caller then
    /// refreshes every page of that view that has an entry.
    pub fn activate(&mut self, key: u64) -> bool {
        if self.slots[1][self.active[1]].key == key {
            return false;
        }
        self.stats.activations += 1;
        self.now += 1;
        let current = self.active[1];
        self.slots[1][current].used = self.now;
        let found = self.slots[1].iter().position(|s| s.key == key);
        self.active[1] = found.unwrap_or_else(|| self.assign(key));
        true
    }

    /// A user slot for `key`: a new one or the one least recently used. What that one maps may still be of use: children
    /// share frames with their parents, and programs share libraries.
    fn assign(&mut self, key: u64) -> usize {
        if self.slots[1].len() < self.user_slots
            && let Some(slot) = Slot::new(key, &self.perm[1])
        {
            self.slots[1].push(slot);
            return self.slots[1].len() - 1;
        }
        self.stats.evictions += 1;
        let oldest = self.slots[1].iter().enumerate().min_by_key(|(_, s)| s.used).map_or(0, |(i, _)| i);
        self.slots[1][oldest].key = key;
        oldest
    }

    /// Sets the permission byte of a page to what its entry grants and the slot can serve, and mends its neighbour's.
    #[inline]
    pub fn refresh(&mut self, view: usize, page: usize, entry: u64) {
        let view = view & 1;
        let mut bits = 0;
        if entry & (shadow::R | shadow::IO) == shadow::R {
            let slot = &self.slots[view][self.active[view]];
            if u64::from(slot.mapped(page)) == (entry >> 12) + 1 && !self.broken {
                bits = if entry & shadow::W != 0 { READ | WRITE } else { READ };
            }
        }
        let old = self.perm[view].get(page);
        if bits | old != 0 {
            self.stats.fills += u64::from(old == 0);
            self.stats.byte_fills += u64::from(old == 0);
            self.stats.drops += u64::from(bits == 0);
            self.perm[view].put(page, bits);
        }
    }

    /// Takes all permissions of a page whose entry goes away.
    #[inline(always)]
    pub fn drop_page(&mut self, view: usize, page: usize) {
        if self.perm[view & 1].get(page) != 0 {
            self.stats.drops += 1;
            self.perm[view & 1].put(page, 0);
        }
    }

    /// Compiled code missed on a page whose entry in `table` grants the access: counts, and maps the page once it is
    /// worth it. True if the permission is there now.
    pub fn fill(&mut self, view: usize, table: &[u64; PAGES], page: usize, write: bool) -> bool {
        let view = view & 1;
        let entry = table[page];
        let need = if write { shadow::W } else { shadow::R };
        if entry & (need | shadow::IO) != need || self.broken || entry >> 12 >= self.frames {
            return false;
        }
        let slot = &self.slots[view][self.active[view]];
        let word = slot.frames.get(page);
        if u64::from(word & FRAME) != (entry >> 12) + 1 {
            let misses = (word >> 24) + 1;
            let (first, last) = match misses {
                MAP_RUN_AFTER | MAP_AFTER.. => self.run(view, table, page),
                _ => (page, page),
            };
            if misses < MAP_AFTER && last + 1 - first < RUN {
                self.slots[view][self.active[view]].frames.set(page, word & FRAME | misses << 24);
                self.stats.deferred += 1;
                return false;
            }
            if !self.map(view, table, page, first, last) {
                return false;
            }
        }
        self.refresh(view, page, entry);
        self.perm(view, page) & (if write { WRITE } else { READ }) != 0
    }

    /// The pages that can be mapped in one call with a page: neighbours whose frames follow on.
    fn run(&self, view: usize, table: &[u64; PAGES], page: usize) -> (usize, usize) {
        let slot = &self.slots[view][self.active[view]];
        let frame = table[page] >> 12;
        let block = page & !(BLOCK - 1);
        let joins =
            |q: usize, wanted: u64| table[q] & (shadow::R | shadow::IO) == shadow::R && table[q] >> 12 == wanted;
        // A kernel maps RAM as it lies: beside a neighbour that follows on, the rest of the block very likely does too.
        let linear = view == 0
            && ((page > 0 && frame > 0 && joins(page - 1, frame - 1))
                || (page + 1 < PAGES && joins(page + 1, frame + 1)));
        let fits = |q: usize, wanted: u64| {
            let there = u64::from(slot.mapped(q));
            wanted < self.frames
                && if table[q] != 0 { joins(q, wanted) && there != wanted + 1 } else { linear && there == 0 }
        };
        let (mut first, mut last) = (page, page);
        while first > block && ((page - first) as u64) < frame && fits(first - 1, frame - (page - first) as u64 - 1) {
            first -= 1;
        }
        while last + 1 < block + BLOCK && fits(last + 1, frame + (last - page) as u64 + 1) {
            last += 1;
        }
        (first, last)
    }

    /// Maps pages `first..=last`, a run around `page`. False if the host refuses.
    fn map(&mut self, view: usize, table: &[u64; PAGES], page: usize, first: usize, last: usize) -> bool {
        self.make_room();
        let slot = &mut self.slots[view][self.active[view]];
        let frame = ((table[page] >> 12) - (page - first) as u64) as u32;
        if !slot.space.map(first, last + 1 - first, &self.file, u64::from(frame) * PAGE as u64) {
            // Whatever the host left there, nothing but our own reservation must be.
            slot.note(first, last, 0);
            let closed = slot.space.unmap(first, last + 1 - first);
            self.max_pieces = (self.pieces() * 3 / 4).max(BLOCK);
            self.make_room();
            if !closed {
                self.give_up();
            }
            return false;
        }
        // Pages that the guest uses already become present now, some by the touch of a neighbour. The others wait: the
        // guest may never have touched their frames.
        let mut q = first;
        while q <= last {
            if table[q] != 0 {
                slot.space.touch(q);
                q |= AROUND - 1;
            }
            q += 1;
        }
        slot.note(first, last, frame + 1);
        self.stats.maps += 1;
        self.stats.mapped_pages += (last + 1 - first) as u64;
        for (q, entry) in table.iter().enumerate().take(last + 1).skip(first) {
            if *entry != 0 {
                let before = self.stats.byte_fills;
                self.refresh(view, q, *entry);
                self.stats.byte_fills = before;
            }
        }
        true
    }

    fn pieces(&self) -> usize {
        self.slots.iter().flatten().map(|s| s.pieces).sum()
    }

    /// Empties slots until one more call can map: least recently used first, the current ones last.
    fn make_room(&mut self) {
        // One call cuts at most one mapping into three.
        while self.pieces() + 2 > self.max_pieces && self.slots.iter().flatten().any(|s| s.pieces > 1) {
            let (user, supervisor) = (self.active[1], self.active[0]);
            let idle = self.slots[1].iter().enumerate().filter(|(i, s)| *i != user && s.pieces > 1);
            let oldest = idle.min_by_key(|(_, s)| s.used).map(|(i, _)| i);
            self.stats.resets += 1;
            let (view, index) = match oldest {
                Some(i) => (1, i),
                None if self.slots[1][user].pieces > self.slots[0][supervisor].pieces => (1, user),
                None => (0, supervisor),
            };
            if self.active[view] == index {
                self.perm[view].clear();
            }
            if !self.slots[view][index].reset() {
                self.give_up();
                return;
            }
        }
    }

    /// The host cannot even reserve what was reserved before. Compiled code goes without windows from here on.
    fn give_up(&mut self) {
        log::warn!("the host is out of memory mappings: compiled code loses its window onto guest memory");
        self.broken = true;
        self.perm.iter_mut().for_each(Permissions::clear);
    }
}

#[cfg(target_os = "linux")]
mod host;

/// Hosts without windows: there is never a reservation.
#[cfg(not(target_os = "linux"))]
mod host {
    use super::File;

    pub(super) fn max_pieces() -> Option<usize> {
        None
    }

    pub(super) fn empty(_file: &File, _len: usize) -> bool {
        false
    }

    pub(super) struct Reservation(std::convert::Infallible);

    impl Reservation {
        pub(super) fn new(_permissions: &File) -> Option<Self> {
            None
        }
        pub(super) fn at(&self, _page: usize) -> *mut u8 {
            match self.0 {}
        }
        pub(super) fn map(&self, _page: usize, _pages: usize, _file: &File, _offset: u64) -> bool {
            match self.0 {}
        }
        pub(super) fn touch(&self, _page: usize) {
            match self.0 {}
        }
        pub(super) fn unmap(&self, _page: usize, _pages: usize) -> bool {
            match self.0 {}
        }
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests;
