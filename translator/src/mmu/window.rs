//! The checked window: guest RAM mapped where the guest's page tables put it, for compiled code.
//!
//! A *slot* is 4 GiB of reserved address space in which frames of the RAM file appear at their linear addresses, so that
//! compiled code reaches linear address `lin` at `base + lin`. One *permission byte* a page and view says whether it may:
//! a set bit means that the shadow's entry of the current address space grants the access and that the slot maps exactly
//! that frame at this moment. The bytes are the authority and follow the shadow's table entry by entry; what is mapped is
//! only a cache. A flush of the guest's TLB therefore costs byte writes, and an entry that comes back with the same
//! frame costs one byte and no system call.
//!
//! The supervisor's view has one slot for all address spaces, since kernels look the same from each of them; user views
//! have a slot for each of the last few values of CR3. The permission bytes belong to the view, not to the slot: those
//! of the view's other slots would all be zero.
#![expect(unsafe_code, reason = "reserves address space, maps guest RAM into it and handles faults there")]

use super::ram::Ram;
use super::shadow;
use memmap2::{MmapMut, MmapRaw};
use std::fs::File;
use std::marker::PhantomData;

/// The page can be read.
pub const READ: u8 = 1 << 0;
/// The page can be written.
pub const WRITE: u8 = 1 << 1;
/// This page and the next can be read.
pub const READ2: u8 = 1 << 2;
/// This page and the next can be written.
pub const WRITE2: u8 = 1 << 3;

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
impl Plain for u8 {}
impl Plain for u32 {}

/// The address space of one view of one guest address space.
struct Slot {
    key: u64,
    /// When it last became active.
    used: u64,
    space: host::Reservation,
    /// For each page the frame mapped there plus 1, or 0, in the low 24 bits; misses since then in the high 8.
    frames: Zeroed<u32>,
    /// Kernel mappings that the reservation consists of: what max_map_count limits.
    pieces: usize,
}

const FRAME: u32 = 0xff_ffff;

impl Slot {
    fn new(key: u64, perm: *const u8) -> Option<Self> {
        let space = host::Reservation::new(perm)?;
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
    /// Supervisor and user slots; never empty. The fault handler knows the bytes below as long as these live.
    slots: [Vec<Slot>; 2],
    perm: [Zeroed<u8>; 2],
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
        // Nothing writes the byte behind the last page, so accesses cannot leave the space at 4 GiB.
        let perm = [Zeroed::new(PAGES + 1)?, Zeroed::new(PAGES + 1)?];
        let slots = [vec![Slot::new(0, perm[0].ptr())?], vec![Slot::new(u64::MAX, perm[1].ptr())?]];
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

    /// The permission bytes of a view, one for each linear page. Stays the same as long as the windows live.
    pub fn perm_ptr(&self, view: usize) -> *const u8 {
        self.perm[view & 1].ptr()
    }

    /// Where linear address 0 of a view is. Changes only with [`Windows::activate`].
    pub fn base_ptr(&self, view: usize) -> *mut u8 {
        self.slots[view & 1][self.active[view & 1]].space.at(0)
    }

    /// The permission byte of a page.
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
            && let Some(slot) = Slot::new(key, self.perm[1].ptr())
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
            self.put(view, page, bits);
        }
    }

    /// Takes all permissions of a page whose entry goes away.
    #[inline(always)]
    pub fn drop_page(&mut self, view: usize, page: usize) {
        if self.perm[view & 1].get(page) != 0 {
            self.stats.drops += 1;
            self.put(view & 1, page, 0);
        }
    }

    /// Stores a page's READ and WRITE bits, and the bits that depend on them.
    #[inline(always)]
    fn put(&mut self, view: usize, page: usize, bits: u8) {
        let perm = &mut self.perm[view];
        let next = perm.get(page + 1);
        perm.set(page, bits | (bits & next & (READ | WRITE)) << 2);
        if page > 0 {
            let before = perm.get(page - 1) & (READ | WRITE);
            perm.set(page - 1, before | (before & bits) << 2);
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
        self.perm.iter_mut().for_each(Zeroed::clear);
    }
}

/// What the operating system has to do.
#[cfg(target_os = "linux")]
mod host {
    use super::{File, PAGE, PAGES};
    use libc::{c_int, c_void};
    use std::cell::UnsafeCell;
    use std::mem::MaybeUninit;
    use std::os::fd::AsRawFd;
    use std::ptr::{self, NonNull};
    use std::sync::Once;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// Reserved and never mapped below and above each slot. An access of at most 64 bytes at a checked address stays
    /// far inside, and so does a small displacement that a faulty lowering might add unchecked.
    pub(super) const GUARD: usize = 64 << 10;
    const LEN: usize = PAGES * PAGE;
    /// Alignment of linear address 0, so that the host's page tables and its reading ahead fall as the guest's do.
    const ALIGN: usize = 2 << 20;
    const RESERVED: usize = LEN + 2 * GUARD + ALIGN;
    const NOTHING: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

    /// Half of the mappings that the kernel lets a process have (the default limit is 65,530), or None if pages are not
    /// 4 KiB.
    pub(super) fn max_pieces() -> Option<usize> {
        // SAFETY: no preconditions.
        if unsafe { libc::sysconf(libc::_SC_PAGESIZE) } != PAGE as libc::c_long {
            return None;
        }
        let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
        Some(limit.and_then(|s| s.trim().parse::<usize>().ok()).unwrap_or(65_530) / 2)
    }

    /// 4 GiB of address space between two guards. Nobody else's memory is ever inside.
    pub(super) struct Reservation {
        start: NonNull<u8>,
        /// From `start` to linear address 0; at least a guard.
        offset: usize,
        registered: Option<&'static Registered>,
    }

    // SAFETY: the address of mappings that belong to this value alone; their bytes have no invariants.
    unsafe impl Send for Reservation {}

    impl Reservation {
        /// Reserves. `perm` is the view's permission table, for the message about a fault.
        pub(super) fn new(perm: *const u8) -> Option<Self> {
            // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
            let start = unsafe { libc::mmap(ptr::null_mut(), RESERVED, libc::PROT_NONE, NOTHING, -1, 0) };
            if start == libc::MAP_FAILED {
                return None;
            }
            let start = NonNull::new(start.cast::<u8>())?;
            install_handler();
            let address = start.as_ptr() as usize;
            let offset = (address + GUARD).next_multiple_of(ALIGN) - address;
            let registered = register(address, address + offset, perm as usize);
            Some(Reservation { start, offset, registered })
        }

        /// Address of a linear page (up to one behind the last).
        pub(super) fn at(&self, page: usize) -> *mut u8 {
            self.start.as_ptr().wrapping_add(self.offset + page.min(PAGES) * PAGE)
        }

        /// Shows `pages` pages of `file` from byte `offset` at `page`. False if the host refuses or it does not fit.
        pub(super) fn map(&self, page: usize, pages: usize, file: &File, offset: u64) -> bool {
            let flags = libc::MAP_SHARED | libc::MAP_FIXED;
            let Ok(offset) = libc::off_t::try_from(offset) else { return false };
            self.place(page, pages, libc::PROT_READ | libc::PROT_WRITE, flags, file.as_raw_fd(), offset)
        }

        /// Makes a page present that the last call of [`Reservation::map`] mapped.
        pub(super) fn touch(&self, page: usize) {
            // SAFETY: the page is mapped readable, from a file that covers it.
            unsafe { self.at(page).read_volatile() };
        }

        /// Makes pages inaccessible again. False if the host refuses.
        pub(super) fn unmap(&self, page: usize, pages: usize) -> bool {
            self.place(page, pages, libc::PROT_NONE, NOTHING | libc::MAP_FIXED, -1, 0)
        }

        fn place(&self, page: usize, pages: usize, prot: c_int, flags: c_int, fd: c_int, offset: libc::off_t) -> bool {
            if page > PAGES || pages > PAGES - page {
                return false;
            }
            // SAFETY: the range was checked to lie inside this reservation, which nothing in Rust refers into.
            unsafe { libc::mmap(self.at(page).cast(), pages * PAGE, prot, flags, fd, offset) != libc::MAP_FAILED }
        }
    }

    impl Drop for Reservation {
        fn drop(&mut self) {
            if let Some(r) = self.registered {
                r.perm.store(0, Ordering::Release);
                r.zero.store(0, Ordering::Release);
                r.start.store(0, Ordering::Release);
            }
            // SAFETY: unmaps what `new` mapped, of which nobody holds a reference.
            unsafe { libc::munmap(self.start.as_ptr().cast(), RESERVED) };
        }
    }

    // ------------------------------------------------------------------------------------- faults inside a window

    /// A reservation that the fault handler knows: its first address (0: free), that of linear address 0, and its
    /// permission table.
    struct Registered {
        start: AtomicUsize,
        zero: AtomicUsize,
        perm: AtomicUsize,
    }

    /// Enough for several machines in one process. What does not fit dies of its faults without a message.
    static REGISTRY: [Registered; 64] =
        [const { Registered { start: AtomicUsize::new(0), zero: AtomicUsize::new(0), perm: AtomicUsize::new(0) } }; 64];

    fn register(start: usize, zero: usize, perm: usize) -> Option<&'static Registered> {
        let free = |r: &&Registered| r.start.compare_exchange(0, start, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let r = REGISTRY.iter().find(free)?;
        r.zero.store(zero, Ordering::Release);
        r.perm.store(perm, Ordering::Release);
        Some(r)
    }

    /// The handler that was there before ours; written once, before ours can run.
    struct Previous(UnsafeCell<MaybeUninit<libc::sigaction>>);
    // SAFETY: written by one thread under `INSTALL` before `KNOWN` is set, and only read after that.
    unsafe impl Sync for Previous {}

    static PREVIOUS: Previous = Previous(UnsafeCell::new(MaybeUninit::uninit()));
    static KNOWN: AtomicBool = AtomicBool::new(false);
    static INSTALL: Once = Once::new();

    fn install_handler() {
        INSTALL.call_once(|| {
            // SAFETY: an all-zero sigaction is a valid value; both calls get valid pointers, and `on_fault` does only
            // what a signal handler may do. `PREVIOUS` is written before anybody can read it.
            unsafe {
                if libc::sigaction(libc::SIGSEGV, ptr::null(), (*PREVIOUS.0.get()).as_mut_ptr()) != 0 {
                    return;
                }
                KNOWN.store(true, Ordering::Release);
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_fault as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&mut action.sa_mask);
                libc::sigaction(libc::SIGSEGV, &action, ptr::null_mut());
            }
        });
    }

    /// A fault inside a window means that compiled code skipped or misread a permission byte: it must not go on.
    extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        // SAFETY: the kernel passes a valid siginfo; `si_addr` belongs to it when the code says that a fault caused it.
        let at = unsafe { if (*info).si_code > 0 { (*info).si_addr() as usize } else { 0 } };
        for r in &REGISTRY {
            let start = r.start.load(Ordering::Acquire);
            if start != 0 && at.wrapping_sub(start) < RESERVED {
                let lin = at.wrapping_sub(r.zero.load(Ordering::Acquire));
                let perm = r.perm.load(Ordering::Acquire) as *const u8;
                // SAFETY: a registered table lives until it is taken from the registry, and has PAGES + 1 bytes.
                let bits = if perm.is_null() || lin >= LEN { 0 } else { unsafe { perm.add(lin / PAGE).read() } };
                die(lin, bits);
            }
        }
        chain(signal, info, context);
    }

    /// Says where and stops the process, with nothing but calls that a signal handler may make.
    fn die(lin: usize, bits: u8) -> ! {
        let mut text = *b"ring86: bug: compiled code faulted in the guest memory window at linear 0000000000000000, \
                          permission 00\n";
        let hex = |v: usize, out: &mut [u8]| {
            for (i, c) in out.iter_mut().rev().enumerate() {
                *c = b"0123456789abcdef"[v >> (4 * i) & 15];
            }
        };
        let end = text.len();
        hex(lin, &mut text[end - 32..end - 16]);
        hex(usize::from(bits), &mut text[end - 3..end - 1]);
        // SAFETY: a valid buffer; write and abort may be called from a signal handler.
        unsafe {
            libc::write(2, text.as_ptr().cast(), end);
            libc::abort()
        }
    }

    fn chain(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        if !KNOWN.load(Ordering::Acquire) {
            return;
        }
        // SAFETY: `KNOWN` says that `PREVIOUS` was written; what it holds came from the kernel, so that its handler is a
        // function of the kind that its flags name.
        unsafe {
            let previous = (*PREVIOUS.0.get()).assume_init_ref();
            match previous.sa_sigaction {
                // The faulting instruction runs again and meets the default action.
                libc::SIG_DFL | libc::SIG_IGN => {
                    libc::sigaction(signal, previous, ptr::null_mut());
                }
                handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = std::mem::transmute(handler);
                    handler(signal, info, context);
                }
                handler => {
                    let handler: extern "C" fn(c_int) = std::mem::transmute(handler);
                    handler(signal);
                }
            }
        }
    }
}

/// Hosts without windows: there is never a reservation.
#[cfg(not(target_os = "linux"))]
mod host {
    use super::File;

    pub(super) fn max_pieces() -> Option<usize> {
        None
    }

    pub(super) struct Reservation(std::convert::Infallible);

    impl Reservation {
        pub(super) fn new(_perm: *const u8) -> Option<Self> {
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
mod tests {
    use super::host::GUARD;
    use super::*;
    use crate::mmu::shadow::{G, GUEST_W, IO, R, Shadow, W};
    use std::collections::HashMap;

    const FRAMES: u64 = 64;

    fn ram() -> Ram {
        let ram = Ram::new(FRAMES as usize * PAGE).unwrap();
        for f in 0..FRAMES {
            for at in [0, 8, 4088] {
                ram.write(f as usize * PAGE + at, f << 16 | at as u64);
            }
        }
        ram
    }

    fn shadow(ram: &Ram) -> Shadow {
        let mut s = Shadow::default();
        assert!(s.enable_window(ram));
        s
    }

    fn read(s: &Shadow, view: usize, lin: u64) -> u64 {
        assert!(s.window_perm(view, lin) & READ != 0 && lin & 0xfff <= 4088);
        // SAFETY: the permission byte says that the page is mapped readable, which is what these tests are about.
        unsafe { s.base_ptr(view).add(lin as usize).cast::<u64>().read_unaligned() }
    }

    fn write(s: &Shadow, view: usize, lin: u64, v: u64) {
        assert!(s.window_perm(view, lin) & WRITE != 0 && lin & 0xfff <= 4088);
        // SAFETY: the permission byte says that the page is mapped writable, which is what these tests are about.
        unsafe { s.base_ptr(view).add(lin as usize).cast::<u64>().write_unaligned(v) }
    }

    fn miss(s: &mut Shadow, view: usize, lin: u64, write: bool) -> bool {
        (0..MAP_AFTER).fold(false, |_, _| s.window_miss(view, lin, 1, write))
    }

    const RW: u64 = R | W | GUEST_W;

    #[test]
    fn a_page_is_mapped_once_it_was_missed_often_and_its_byte_comes_back_with_the_entry() {
        let ram = ram();
        let mut s = shadow(&ram);
        s.fill(0, 0xc000_5000, 7 << 12 | RW);
        for _ in 1..MAP_AFTER {
            assert!(!s.window_miss(0, 0xc000_5004, 4, true));
            assert_eq!(s.window_perm(0, 0xc000_5000), 0);
        }
        assert!(s.window_miss(0, 0xc000_5004, 4, true));
        assert_eq!(s.window_perm(0, 0xc000_5000), READ | WRITE);
        assert_eq!(read(&s, 0, 0xc000_5008), 7 << 16 | 8);
        write(&s, 0, 0xc000_5ff0, 0x1234);
        assert_eq!(ram.read::<u64>(0x7ff0), 0x1234);
        s.flush(false);
        assert_eq!(s.window_perm(0, 0xc000_5000), 0);
        s.fill(0, 0xc000_5000, 7 << 12 | R);
        assert_eq!(s.window_perm(0, 0xc000_5000), READ);
        let stats = s.window_stats().unwrap();
        assert_eq!((stats.maps, stats.fills, stats.byte_fills, stats.drops), (1, 2, 1, 1));
        // Another frame at the same address does not show the old one.
        s.fill(0, 0xc000_5000, 9 << 12 | R);
        assert_eq!(s.window_perm(0, 0xc000_5000), 0);
        assert!(miss(&mut s, 0, 0xc000_5000, false));
        assert_eq!(read(&s, 0, 0xc000_5008), 9 << 16 | 8);
    }

    #[test]
    fn pairs_follow_both_pages_and_end_at_4_gib() {
        let ram = ram();
        let mut s = shadow(&ram);
        let last = 0xffff_f000;
        s.fill(0, last, 3 << 12 | RW);
        s.fill(0, last - 0x1000, 5 << 12 | RW);
        s.fill(0, 0, 4 << 12 | RW);
        assert!(miss(&mut s, 0, last, true) && miss(&mut s, 0, 0, true));
        assert_eq!(s.window_perm(0, last), READ | WRITE);
        assert!(miss(&mut s, 0, last - 0x1000, true));
        let all = READ | WRITE | READ2 | WRITE2;
        assert_eq!([s.window_perm(0, last - 0x1000), s.window_perm(0, last)], [all, READ | WRITE]);
        s.protect(3 << 12);
        assert_eq!([s.window_perm(0, last - 0x1000), s.window_perm(0, last)], [READ | WRITE | READ2, READ]);
        s.flush_page(last);
        assert_eq!([s.window_perm(0, last - 0x1000), s.window_perm(0, last)], [READ | WRITE, 0]);
        assert!(!s.window_miss(0, 0xffff_fffe, 4, false));
    }

    #[test]
    fn devices_and_frames_beyond_ram_are_never_served() {
        let ram = ram();
        let mut s = shadow(&ram);
        s.fill(0, 0x1000, 3 << 12 | RW | IO);
        s.fill(0, 0x2000, FRAMES << 12 | RW);
        s.fill(0, 0x3000, 0xf_ffff_f000 | RW);
        for lin in [0x1000, 0x2000, 0x3000, 0x4000] {
            assert!(!miss(&mut s, 0, lin, false) && !miss(&mut s, 0, lin, false));
            assert_eq!(s.window_perm(0, lin), 0);
        }
    }

    #[test]
    fn a_kernel_gets_a_block_with_one_call_and_a_user_what_is_known() {
        let ram = ram();
        let mut s = shadow(&ram);
        for view in 0..2 {
            for page in 3..6u64 {
                s.fill(view, page << 12, (page + 8) << 12 | R);
            }
            assert!(miss(&mut s, view, 0x4000, false));
            assert_eq!([3, 4, 5].map(|p| s.window_perm(view, p << 12) & READ), [READ; 3]);
        }
        let before = s.window_stats().unwrap();
        assert_eq!((before.maps, before.mapped_pages), (2, (FRAMES - 8) + 3));
        s.fill(0, 0x7000, 15 << 12 | R);
        s.fill(1, 0x7000, 15 << 12 | R);
        assert_eq!((s.window_perm(0, 0x7000), s.window_perm(1, 0x7000)), (READ, 0));
        assert_eq!(read(&s, 0, 0x7000), 15 << 16);
    }

    #[test]
    fn address_spaces_keep_what_they_map() {
        let ram = ram();
        let mut s = shadow(&ram);
        let mut bases = Vec::new();
        for round in 0..2 {
            for key in 0..USER_SLOTS as u64 {
                s.flush(true);
                s.activate(0x1000 * key);
                s.fill(1, 0x8_0000, key << 12 | RW);
                assert!(round == 0 || s.window_perm(1, 0x8_0000) == READ | WRITE);
                assert!(miss(&mut s, 1, 0x8_0000, true));
                assert_eq!(read(&s, 1, 0x8_0000), key << 16);
                bases.push(s.base_ptr(1) as usize);
            }
        }
        assert_eq!(bases[..USER_SLOTS], bases[USER_SLOTS..]);
        let stats = s.window_stats().unwrap();
        // The slot handed on is the one of the time without paging.
        assert_eq!((stats.maps, stats.evictions), (USER_SLOTS as u64, 1));
        // A global page of the user's view has its permission only where its frame is mapped.
        s.fill(1, 0x9_0000, 20 << 12 | R | G);
        assert!(miss(&mut s, 1, 0x9_0000, false));
        s.flush(true);
        assert_eq!(s.window_perm(1, 0x9_0000), READ);
        s.activate(0);
        assert_eq!(s.window_perm(1, 0x9_0000), 0);
        s.activate(0x1000 * (USER_SLOTS as u64 - 1));
        assert_eq!(s.window_perm(1, 0x9_0000), READ);
        s.activate(1);
        assert_eq!(s.window_stats().unwrap().evictions, 2);
    }

    /// A small generator of its own: the test is the same on every run.
    struct Random(u64);
    impl Random {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) % n
        }
    }

    /// Pages of the model test: a few clusters, both ends of the address space among them.
    fn some_page(r: &mut Random) -> u64 {
        let at = [0, 0x3f, 0x8_0000, 0xc_0000, 0xf_fff0][r.below(5) as usize];
        at + r.below(16)
    }

    fn model_test(seed: u64, user_slots: usize, max_pieces: usize) -> WindowStats {
        let ram = ram();
        let mut s = Shadow::default();
        s.set_window(Windows::with_limits(&ram, user_slots, max_pieces).unwrap());
        let mut r = Random(seed);
        let mut model: [HashMap<u64, u64>; 2] = Default::default();
        for step in 0..30_000 {
            match r.below(100) {
                0..40 => {
                    let (view, page) = (r.below(2) as usize, some_page(&mut r));
                    // Mostly as a kernel maps: linear, so that blocks join up.
                    let frame = if r.below(3) == 0 { r.below(FRAMES) } else { page % FRAMES };
                    let flags = [R, RW, RW, RW, R | GUEST_W, RW | IO][r.below(6) as usize];
                    let e = frame << 12 | flags | if r.below(2) == 0 { G } else { 0 };
                    s.fill(view, page << 12, e);
                    model[view].insert(page, e);
                }
                40..90 => {
                    let (view, page, write) = (r.below(2) as usize, some_page(&mut r), r.below(2) == 0);
                    let size = 1 << r.below(4);
                    for _ in 0..1 + r.below(2 * u64::from(MAP_AFTER)) {
                        s.window_miss(view, page << 12 | r.below(4096), size, write);
                    }
                }
                90..93 => {
                    let keep = r.below(3) != 0;
                    s.flush(keep);
                    model.iter_mut().for_each(|m| m.retain(|_, e| keep && *e & G != 0));
                    s.activate(r.below(6) << 12);
                }
                93..97 => {
                    let page = some_page(&mut r);
                    s.flush_page(page << 12);
                    model.iter_mut().for_each(|m| m.retain(|p, _| *p != page));
                }
                _ => {
                    let frame = r.below(FRAMES);
                    s.protect(frame << 12);
                    let of_frame = |e: &&mut u64| **e >> 12 == frame && **e & IO == 0;
                    model.iter_mut().flat_map(|m| m.values_mut()).filter(of_frame).for_each(|e| *e &= !W);
                }
            }
            check(&s, &model, step);
        }
        s.window_stats().unwrap()
    }

    /// Every permission against the model, and the bytes behind it.
    fn check(s: &Shadow, model: &[HashMap<u64, u64>; 2], step: u64) {
        let clusters = [0u64, 0x3f, 0x8_0000, 0xc_0000, 0xf_fff0];
        for (view, m) in model.iter().enumerate() {
            let bits = |page: u64| if page > 0xf_ffff { 0 } else { s.window_perm(view, page << 12) };
            for page in clusters.iter().flat_map(|at| at.saturating_sub(1)..(at + 17).min(0x10_0000)) {
                let have = bits(page);
                let e = m.get(&page).copied().unwrap_or(0);
                assert_eq!(s.get(view, page << 12), e, "step {step}");
                let allowed = match e & (R | IO) {
                    R => READ | if e & W != 0 { WRITE } else { 0 },
                    _ => 0,
                };
                assert_eq!(have & (READ | WRITE) & !allowed, 0, "step {step}: page {page:05x} of view {view}");
                assert!(have & READ == 0 || have & (READ | WRITE) == allowed, "step {step}: a lost permission");
                assert_eq!(have >> 2, have & bits(page + 1) & 3, "step {step}: the pair of page {page:05x}");
                if have & READ != 0 {
                    for at in [0, 8, 4088] {
                        assert_eq!(
                            read(s, view, page << 12 | at),
                            (e >> 12) << 16 | at,
                            "step {step}: page {page:05x}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_window_agrees_with_a_simple_model() {
        let plenty = model_test(0x1234_5678_9abc_def1, 3, 10_000);
        assert!(plenty.maps > 100 && plenty.byte_fills > 1000 && plenty.evictions > 100, "{plenty:?}");
        assert_eq!(plenty.resets, 0);
        // With hardly any mappings allowed slots are emptied all the time, current ones too.
        let scarce = model_test(0x0fed_cba9_8765_4321, 3, 24);
        assert!(scarce.resets > 100 && scarce.maps > 100, "{scarce:?}");
    }
    /// How many of the kernel's mappings of this process touch a slot's reservation.
    fn kernel_pieces(slot: &Slot) -> usize {
        let (start, end) = (slot.space.at(0) as usize - GUARD, slot.space.at(PAGES) as usize + GUARD);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let ranges = maps.lines().filter_map(|l| l.split(' ').next()?.split_once('-'));
        let parse = |s| usize::from_str_radix(s, 16).unwrap();
        ranges.filter(|(a, b)| parse(a) < end && parse(b) > start).count()
    }

    #[test]
    fn the_kernels_mappings_are_counted_right() {
        let ram = ram();
        let mut w = Windows::with_limits(&ram, 2, 10_000).unwrap();
        let mut table: Box<[u64; PAGES]> = vec![0; PAGES].try_into().unwrap();
        let mut r = Random(77);
        for step in 0..400 {
            let page = some_page(&mut r) as usize;
            let frame = if r.below(3) == 0 { r.below(FRAMES) } else { page as u64 % FRAMES };
            table[page] = frame << 12 | R;
            w.refresh(0, page, table[page]);
            for _ in 0..MAP_AFTER {
                w.fill(0, &table, page, false);
            }
            assert_eq!(w.slots[0][0].pieces, kernel_pieces(&w.slots[0][0]), "step {step}");
        }
        assert!(w.slots[0][0].pieces > 20);
        assert!(w.slots[0][0].reset());
        assert_eq!(kernel_pieces(&w.slots[0][0]), 1);
    }

    #[test]
    fn a_host_that_refuses_leaves_nothing_behind() {
        use std::os::fd::AsRawFd;
        let ram = ram();
        let mut w = Windows::with_limits(&ram, 2, 10_000).unwrap();
        let mut table: Box<[u64; PAGES]> = vec![0; PAGES].try_into().unwrap();
        let often = |w: &mut Windows, table: &[u64; PAGES], page| {
            (0..MAP_AFTER).fold(false, |_, _| w.fill(0, table, page, false))
        };
        for page in [5, 9] {
            table[page] = (page as u64 + 1) << 12 | R;
            assert!(often(&mut w, &table, page));
        }
        // Opened for reading only the file cannot be mapped for writing.
        let path = format!("/proc/self/fd/{}", w.file.as_raw_fd());
        let good = std::mem::replace(&mut w.file, File::open(path).unwrap());
        table[5] = 20 << 12 | R;
        w.refresh(0, 5, table[5]);
        assert!(!often(&mut w, &table, 5));
        assert_eq!([w.perm(0, 5), w.perm(0, 9)], [0, READ]);
        assert_eq!((w.slots[0][0].pieces, kernel_pieces(&w.slots[0][0])), (3, 3));
        w.file = good;
        assert!(often(&mut w, &table, 5));
        assert_eq!(w.slots[0][0].pieces, kernel_pieces(&w.slots[0][0]));
    }

    #[test]
    fn mappings_are_never_executable_and_guards_surround_them() {
        let ram = ram();
        let mut s = shadow(&ram);
        for page in [0, PAGES as u64 - 1] {
            s.fill(0, page << 12, RW);
            assert!(miss(&mut s, 0, page << 12, true));
        }
        let base = s.base_ptr(0) as usize;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let rights = |at: usize| {
            let parse = |s| usize::from_str_radix(s, 16).unwrap();
            let mut lines = maps.lines().map(|l| (l.split_once('-').unwrap(), l));
            let line = lines.find(|((a, b), _)| parse(a) <= at && at < parse(b.split(' ').next().unwrap()));
            line.map(|(_, l)| l.split(' ').nth(1).unwrap().to_owned()).unwrap()
        };
        let end = base + (PAGES << 12);
        assert_eq!([rights(base), rights(end - 1)], ["rw-s", "rw-s"]);
        for guard in [base - GUARD, base - 1, base + PAGE, end, end + GUARD - 1] {
            assert_eq!(rights(guard), "---p");
        }
    }

    /// Runs one of these tests by itself, as its own process with `RING86_WINDOW_CHILD` set; how it ended and what it
    /// said. `RING86_RUNNER` names what runs programs of this kind on a host of another one (`tools/cross`).
    fn child(test: &str) -> (Option<i32>, String) {
        use std::os::unix::process::ExitStatusExt;
        let name = format!("mmu::window::tests::{test}");
        let this = std::env::current_exe().unwrap();
        let mut command = std::process::Command::new(std::env::var_os("RING86_RUNNER").unwrap_or(this.clone().into()));
        if std::env::var_os("RING86_RUNNER").is_some() {
            command.arg(this);
        }
        let out = command
            .args([&name, "--exact", "--nocapture", "--test-threads=1"])
            .env("RING86_WINDOW_CHILD", "1")
            .output()
            .unwrap();
        (out.status.signal(), String::from_utf8_lossy(&out.stderr).into_owned())
    }

    fn is_child() -> bool {
        std::env::var_os("RING86_WINDOW_CHILD").is_some()
    }

    #[test]
    fn a_fault_in_the_window_is_named_and_final() {
        if is_child() {
            let ram = ram();
            let mut s = shadow(&ram);
            s.fill(0, 0x1234_5000, 5 << 12 | RW);
            assert!(miss(&mut s, 0, 0x1234_5000, true));
            // SAFETY: the reservation is not readable behind the page: this process is meant to die here.
            unsafe { s.base_ptr(0).add(0x1234_6abc).read_volatile() };
            std::process::exit(0);
        }
        let (signal, text) = child("a_fault_in_the_window_is_named_and_final");
        assert_eq!(signal, Some(libc::SIGABRT), "{text}");
        assert!(text.contains("fault"), "{text}");
        assert!(text.contains("at linear 0000000012346abc, permission 00\n"), "{text}");
    }

    #[test]
    fn other_faults_take_their_usual_way() {
        if is_child() {
            let ram = ram();
            let s = shadow(&ram);
            let outside = s.base_ptr(0).wrapping_sub(GUARD);
            drop(s);
            // SAFETY: no window is there any more, and nothing else yet: this process is meant to die here.
            unsafe { outside.read_volatile() };
            std::process::exit(0);
        }
        let (signal, text) = child("other_faults_take_their_usual_way");
        assert_eq!(signal, Some(libc::SIGSEGV), "{text}");
        assert!(!text.contains("window at linear"), "{text}");
    }

    mod with_cpu {
        use super::*;
        use crate::mmu::walk::pte;
        use crate::state::{Segment, attr, cr, mode};
        use crate::{Cpu, Exit, Memory, Model, NullBus, Pins};
        use std::sync::Arc;

        const DIRECTORIES: [u64; 3] = [0x1000, 0x2000, 0x3000];
        /// One table for addresses from 0 in each address space, and one that all have at C0000000h.
        const TABLES: [u64; 3] = [0x4000, 0x5000, 0x6000];
        const KERNEL: u64 = 0x7000;
        const FIRST: u64 = 16;
        const RAM: u64 = 96;
        const PAGES_USED: u64 = 12;

        fn cpu() -> Cpu {
            let pins = Arc::new(Pins::default());
            let mem = Arc::new(Memory::flat(RAM as usize * PAGE, pins.clone()).unwrap());
            let mut c = Cpu::new(Model::Max, mem, pins);
            let data = attr::P | attr::S | attr::RW | attr::ACCESSED | attr::DB | attr::G;
            c.state.segs = [Segment { base: 0, limit: u32::MAX, attr: data, selector: 0x10 }; 6];
            c.state.segs[1] = Segment { base: 0, limit: u32::MAX, attr: data | attr::CODE, selector: 8 };
            let ram = c.mem.ram();
            for (d, t) in DIRECTORIES.iter().zip(TABLES) {
                ram.write(*d as usize, t as u32 | 7);
                ram.write(*d as usize + 0xc00, KERNEL as u32 | 3);
            }
            for f in FIRST..RAM {
                // NOP and UD2, so that every frame can be run.
                ram.write(f as usize * PAGE, f << 32 | 0x0b_0f90);
            }
            assert!(c.shadow.enable_window(c.mem.ram()));
            c.state.cr4 |= cr::PGE;
            c.state.cr0 |= cr::PE | cr::PG | cr::WP;
            c.state.cr3 = DIRECTORIES[0];
            c.state.update_mode();
            c.flush();
            c.intercept = true;
            c
        }

        /// Table entry of a linear page under the current CR3, with its address.
        fn entry(c: &Cpu, page: u64) -> (usize, u64) {
            let table = if page >= 0xc_0000 {
                KERNEL
            } else {
                TABLES[DIRECTORIES.iter().position(|d| *d == c.state.cr3).unwrap()]
            };
            let at = (table + (page & 0x3ff) * 4) as usize;
            (at, u64::from(c.mem.ram().read::<u32>(at)))
        }

        fn some(r: &mut Random) -> u64 {
            [0, 0xc_0000][r.below(2) as usize] + r.below(PAGES_USED)
        }

        /// Permissions against the page tables themselves, not the shadow.
        fn check(c: &Cpu, step: u64) -> u32 {
            let mut set = 0;
            for view in 0..2 {
                for page in (0..PAGES_USED).chain(0xc_0000..0xc_0000 + PAGES_USED) {
                    let have = c.shadow.window_perm(view, page << 12);
                    if have == 0 {
                        continue;
                    }
                    set += 1;
                    let (_, e) = entry(c, page);
                    let user = page < 0xc_0000 && e & pte::US != 0;
                    assert!(e & pte::P != 0 && (view == 0 || user), "step {step}: page {page:05x} of view {view}");
                    let frame = e & 0xffff_f000;
                    let writable = e & pte::RW != 0 && e & pte::D != 0 && !c.mem.is_code(frame);
                    assert!(
                        have & WRITE == 0 || writable,
                        "step {step}: page {page:05x} of view {view}: {e:x} {:x} {}",
                        c.shadow.get(view, page << 12),
                        c.mem.is_code(frame)
                    );
                    for at in [0, 2048] {
                        let there: u64 = c.mem.ram().read((frame + at) as usize);
                        assert_eq!(read(&c.shadow, view, page << 12 | at), there, "step {step}: page {page:05x}");
                    }
                }
            }
            set
        }

        #[test]
        fn the_window_follows_page_tables_code_and_address_spaces() {
            let mut c = cpu();
            let mut r = Random(0x9e37_79b9_7f4a_7c15);
            let (mut seen, mut ran, mut stored) = (0, 0, 0);
            for step in 0..20_000u64 {
                let page = some(&mut r);
                match r.below(40) {
                    0 => {
                        let (at, _) = entry(&c, page);
                        // Only what all address spaces have in common may be global.
                        let global = if page >= 0xc_0000 { 0x100 } else { 0 };
                        let rights = [7, 7, 7, 5, 3, 1, 0, 7 | global][r.below(8) as usize];
                        let frame = FIRST + r.below(RAM - FIRST);
                        c.mem.ram().write(at, (frame << 12 | rights) as u32);
                        c.state.cpl = 0;
                        c.invlpg(page << 12).unwrap();
                    }
                    1 => {
                        c.state.cpl = 0;
                        c.mov_to_cr(&mut NullBus, 3, DIRECTORIES[r.below(3) as usize]).unwrap();
                    }
                    2 => {
                        // Run a frame: it becomes code, or the fetch faults.
                        c.state.cpl = [0, 3][r.below(2) as usize];
                        c.state.update_mode();
                        assert_eq!(c.state.mode & mode::STEP, 0);
                        c.state.rip = page << 12;
                        assert!(matches!(c.run(&mut NullBus, 10), Exit::Exception(_)));
                        let (_, e) = entry(&c, page);
                        ran += u32::from(c.mem.is_code(e & 0xffff_f000) && e & pte::P != 0);
                    }
                    n => {
                        // What compiled code does: through the window, or else the interpreter's way and a miss.
                        let user = r.below(2) == 0;
                        let (view, at) = (usize::from(user), page << 12 | r.below(8) << 3);
                        let bit = if n % 2 == 0 { WRITE } else { READ };
                        let v = step << 32 | 0x0b_0f90;
                        if c.shadow.window_perm(view, at) & bit == 0 {
                            let done = if bit == WRITE {
                                c.write_lin::<u64>(&mut NullBus, at, user, v).is_ok()
                            } else {
                                c.read_lin::<u64>(&mut NullBus, at, user).is_ok()
                            };
                            if done {
                                c.shadow.window_miss(view, at, 8, bit == WRITE);
                            }
                        } else if bit == WRITE {
                            write(&c.shadow, view, at, v);
                            assert_eq!(c.read_lin::<u64>(&mut NullBus, at, user), Ok(v));
                            stored += 1;
                        }
                    }
                }
                seen += check(&c, step);
            }
            let stats = c.shadow.window_stats().unwrap();
            assert!(seen > 10_000 && ran > 100 && stored > 500, "{seen} {ran} {stored} {stats:?}");
            assert!(stats.maps > 100 && stats.byte_fills > 1000, "{stats:?}");
        }
    }
}
