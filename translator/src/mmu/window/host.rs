//! What the operating system has to do for a window: reserve, map, and say what went wrong.

use super::{File, GRANULE_BITS, GUARD, PAGE, PAGES, PERM_BELOW, PERM_LEN};
use libc::{c_int, c_void};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const LEN: usize = PAGES * PAGE;
/// Alignment of linear address 0, so that the host's page tables and its reading ahead fall as the guest's do.
const ALIGN: usize = 2 << 20;
const RESERVED: usize = LEN + 2 * GUARD + PERM_BELOW + ALIGN;
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

/// Empties a memory file of `len` bytes: all that map it read zeroes. False if the host refuses.
pub(super) fn empty(file: &File, len: usize) -> bool {
    let Ok(len) = libc::off_t::try_from(len) else { return false };
    let how = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: the call gets no pointer, and the file's bytes are plain integers to all that map them.
    unsafe { libc::fallocate(file.as_raw_fd(), how, 0, len) == 0 }
}

/// 4 GiB of address space between two guards, with its view's permissions below. Nobody else's memory is ever inside.
pub(super) struct Reservation {
    start: NonNull<u8>,
    /// From `start` to linear address 0; at least a guard, the permissions and another guard.
    offset: usize,
    registered: Option<&'static Registered>,
}

// SAFETY: the address of mappings that belong to this value alone; their bytes have no invariants.
unsafe impl Send for Reservation {}

impl Reservation {
    /// Reserves, and shows the view's permission bytes to compiled code.
    pub(super) fn new(permissions: &File) -> Option<Self> {
        // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { libc::mmap(ptr::null_mut(), RESERVED, libc::PROT_NONE, NOTHING, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        let start = NonNull::new(start.cast::<u8>())?;
        install_handler();
        let address = start.as_ptr() as usize;
        let offset = (address + GUARD + PERM_BELOW).next_multiple_of(ALIGN) - address;
        let mut space = Reservation { start, offset, registered: None };
        let (flags, fd) = (libc::MAP_SHARED | libc::MAP_FIXED, permissions.as_raw_fd());
        // SAFETY: replaces a part of the reservation that was just made and that nothing refers into.
        let at = unsafe { libc::mmap(space.below(PERM_BELOW).cast(), PERM_LEN, libc::PROT_READ, flags, fd, 0) };
        if at == libc::MAP_FAILED {
            return None;
        }
        space.registered = register(address, address + offset);
        Some(space)
    }

    /// Address of the byte so far below linear address 0.
    fn below(&self, bytes: usize) -> *mut u8 {
        self.start.as_ptr().wrapping_add(self.offset - bytes)
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
            r.zero.store(0, Ordering::Release);
            r.start.store(0, Ordering::Release);
        }
        // SAFETY: unmaps what `new` mapped, of which nobody holds a reference.
        unsafe { libc::munmap(self.start.as_ptr().cast(), RESERVED) };
    }
}

// ------------------------------------------------------------------------------------- faults inside a window

/// A reservation that the fault handler knows: its first address (0: free) and that of linear address 0.
struct Registered {
    start: AtomicUsize,
    zero: AtomicUsize,
}

/// Enough for several machines in one process. What does not fit dies of its faults without a message.
static REGISTRY: [Registered; 64] =
    [const { Registered { start: AtomicUsize::new(0), zero: AtomicUsize::new(0) } }; 64];

fn register(start: usize, zero: usize) -> Option<&'static Registered> {
    let free = |r: &&Registered| r.start.compare_exchange(0, start, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    let r = REGISTRY.iter().find(free)?;
    r.zero.store(zero, Ordering::Release);
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
            let zero = r.zero.load(Ordering::Acquire);
            let lin = at.wrapping_sub(zero);
            let known = zero != 0 && lin < LEN;
            let bits = match known {
                // SAFETY: below a registered slot are its permission bytes, one for each granule of the 4 GiB.
                true => unsafe { ((zero - PERM_BELOW + (lin >> GRANULE_BITS)) as *const u8).read() },
                false => 0,
            };
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
