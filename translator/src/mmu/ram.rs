//! Guest RAM in one anonymous memory file, mapped once. Compiled code and device DMA reach the same bytes.
#![expect(unsafe_code, reason = "raw access to the guest RAM mapping, bounds-checked here")]

use memmap2::MmapRaw;
use std::ffi::CStr;
use std::fs::File;
use std::io;

/// A block of guest-visible bytes: RAM first, ROM images behind it.
pub struct Ram {
    map: MmapRaw,
    len: usize,
    /// What is mapped, for further mappings of the same bytes; hosts without memory files have none.
    file: Option<File>,
}

/// A copy of a [`Ram`]'s address for the hot path: one load away instead of three.
///
/// Made by `Ram::window`; whoever keeps one keeps the [`Ram`] as well.
#[derive(Clone, Copy)]
pub struct Window {
    base: *mut u8,
    len: usize,
}

impl Window {
    /// As [`Ram::read`].
    #[inline(always)]
    pub fn read<T: Word + From<u8>>(&self, off: usize) -> T {
        if off > self.len - size_of::<T>() {
            return T::from(0xff);
        }
        // SAFETY: off + size <= len, checked above (len is at least one page), and the mapping lives as long as the
        // `Ram` that the owner keeps beside this.
        unsafe { T::read(self.base.add(off)) }
    }

    /// As [`Ram::write`].
    #[inline(always)]
    pub fn write<T: Word>(&self, off: usize, v: T) {
        if off > self.len - size_of::<T>() {
            return;
        }
        // SAFETY: as in `read`.
        unsafe { T::write(self.base.add(off), v) }
    }
}

// SAFETY: the window is the address of a shared mapping whose bytes have no invariants; `Ram` itself is Send and Sync.
unsafe impl Send for Window {}

/// Integers that guest memory holds, little-endian.
pub trait Word: Copy {
    /// Reads from `p`, any alignment.
    ///
    /// # Safety
    /// `p` must be valid for reads of the word's size.
    unsafe fn read(p: *const u8) -> Self;
    /// Writes to `p`, any alignment.
    ///
    /// # Safety
    /// `p` must be valid for writes of the word's size.
    unsafe fn write(p: *mut u8, v: Self);
}

macro_rules! word {
    ($($t:ty),*) => {$(
        impl Word for $t {
            #[inline(always)]
            unsafe fn read(p: *const u8) -> Self {
                // SAFETY: the caller vouches for `p`.
                <$t>::from_le(unsafe { p.cast::<$t>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn write(p: *mut u8, v: Self) {
                // SAFETY: the caller vouches for `p`.
                unsafe { p.cast::<$t>().write_unaligned(v.to_le()) }
            }
        }
    )*};
}
word!(u8, u16, u32, u64, u128);

/// An anonymous memory file of `len` bytes.
#[cfg(target_os = "linux")]
pub(crate) fn memory_file(name: &CStr, len: usize) -> io::Result<File> {
    use std::os::fd::FromRawFd;
    // SAFETY: the name ends in NUL; the call has no other preconditions.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just returned by the kernel and is owned by nobody else.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(len as u64)?;
    Ok(file)
}

/// Other hosts have no such thing yet: no compiled code there.
#[cfg(not(target_os = "linux"))]
pub(crate) fn memory_file(_: &CStr, _: usize) -> io::Result<File> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this host has no anonymous memory files"))
}

impl Ram {
    /// Allocates `len` bytes of zeroed memory, rounded up to whole pages. Fails when the host has no room.
    pub fn new(len: usize) -> io::Result<Self> {
        let len = len.next_multiple_of(4096).max(4096);
        #[cfg(target_os = "linux")]
        let (map, file) = {
            let file = memory_file(c"ring86-ram", len)?;
            (memmap2::MmapOptions::new().len(len).map_raw(&file)?, Some(file))
        };
        #[cfg(not(target_os = "linux"))]
        let (map, file) = (MmapRaw::from(memmap2::MmapMut::map_anon(len)?), None);
        Ok(Ram { map, len, file })
    }

    /// The file whose bytes these are, from offset 0 on.
    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// The mapping's address and length, for a holder that keeps this `Ram` alive.
    pub(crate) fn window(&self) -> Window {
        Window { base: self.map.as_mut_ptr(), len: self.len }
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never true: at least one page is allocated.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads a word at byte offset `off`; all ones outside.
    #[inline(always)]
    pub fn read<T: Word + From<u8>>(&self, off: usize) -> T {
        self.window().read(off)
    }

    /// Writes a word at byte offset `off`; ignored outside.
    #[inline(always)]
    pub fn write<T: Word>(&self, off: usize, v: T) {
        self.window().write(off, v);
    }

    /// Copies out of RAM; bytes outside read as FFh.
    pub fn read_bytes(&self, off: usize, out: &mut [u8]) {
        if off <= self.len && out.len() <= self.len - off {
            // SAFETY: the range lies inside the mapping, and `out` is a distinct Rust allocation.
            unsafe { self.map.as_ptr().add(off).copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) }
        } else {
            for (i, b) in out.iter_mut().enumerate() {
                *b = self.read(off.saturating_add(i));
            }
        }
    }

    /// Copies into RAM; bytes outside are dropped.
    pub fn write_bytes(&self, off: usize, data: &[u8]) {
        if off <= self.len && data.len() <= self.len - off {
            // SAFETY: the range lies inside the mapping, and `data` is a distinct Rust allocation.
            unsafe { self.map.as_mut_ptr().add(off).copy_from_nonoverlapping(data.as_ptr(), data.len()) }
        } else {
            for (i, b) in data.iter().enumerate() {
                self.write(off.saturating_add(i), *b);
            }
        }
    }

    /// Fills `len` bytes from `off` with repetitions of `pattern`'s low `width` bytes (1, 2 or 4).
    pub fn fill(&self, off: usize, len: usize, pattern: u32, width: usize) {
        if off > self.len || len > self.len - off {
            return;
        }
        // SAFETY: the range lies inside the mapping; every write below stays in it.
        unsafe {
            let p = self.map.as_mut_ptr().add(off);
            match width {
                1 => p.write_bytes(pattern as u8, len),
                2 => (0..len / 2).for_each(|i| u16::write(p.add(i * 2), pattern as u16)),
                _ => (0..len / 4).for_each(|i| u32::write(p.add(i * 4), pattern)),
            }
        }
    }

    /// Copies `len` bytes inside RAM, as if through a buffer.
    pub fn copy_within(&self, from: usize, to: usize, len: usize) {
        if from > self.len || to > self.len || len > self.len - from || len > self.len - to {
            return;
        }
        // SAFETY: both ranges lie inside the mapping; `copy_to` allows overlap.
        unsafe { self.map.as_ptr().add(from).copy_to(self.map.as_mut_ptr().add(to), len) }
    }

    /// The mapping's address, for compiled code.
    pub fn as_ptr(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }
}
