//! The flat shadow table: what the guest's page tables say about each linear page, resolved once.
//!
//! One table of 2^20 entries for each view (supervisor, user). An entry is the RAM offset (or, with [`IO`], the
//! physical address) of the page with permission bits below. A list of the valid entries makes a flush cheap. With
//! [`Shadow::enable_window`] every change of an entry also reaches the permission bytes that compiled code looks at.

use super::ram::Ram;
use super::window::{WindowStats, Windows};

/// Reading needs no walk.
pub const R: u64 = 1 << 0;
/// Writing needs no walk: the guest allows it and the dirty bit is set.
pub const W: u64 = 1 << 1;
/// Fetching needs no walk: the guest allows it, and code has been looked for in the page. Data pages never get this bit,
/// so that dropping them says nothing about code.
pub const X: u64 = 1 << 2;
/// The page is not RAM: the address bits are physical.
pub const IO: u64 = 1 << 3;
/// The guest's page is global.
pub const G: u64 = 1 << 4;
/// The guest allows writes; [`W`] may be off because the page holds code.
pub const GUEST_W: u64 = 1 << 5;

/// One entry a linear page. The fixed length lets a 20-bit index go unchecked.
type Table = Box<[u64; 1 << 20]>;

fn table() -> Table {
    // A vector of zeroes comes from the host untouched: pages the guest never uses cost nothing.
    match vec![0; 1 << 20].into_boxed_slice().try_into() {
        Ok(t) => t,
        Err(_) => unreachable!("the length is that of the vector above"),
    }
}

/// The supervisor's and the user's table.
pub struct Shadow {
    tables: [Table; 2],
    valid: [Vec<u32>; 2],
    /// The window of compiled code. Whatever has a permission byte there has an entry here.
    window: Option<Box<Windows>>,
    /// Moves whenever an entry that code was fetched through ([`X`]) goes away.
    pub generation: u64,
    /// The same of global entries alone. Its numbers are never those of `generation`.
    pub global_generation: u64,
}

/// Where [`Shadow::global_generation`] begins.
const GLOBAL: u64 = 1 << 63;

impl Default for Shadow {
    fn default() -> Self {
        Shadow {
            tables: [table(), table()],
            valid: [Vec::new(), Vec::new()],
            window: None,
            generation: 1,
            global_generation: GLOBAL,
        }
    }
}

impl Shadow {
    /// The entry for a 32-bit linear address in `view` (0 supervisor, 1 user); 0 when a walk is needed.
    #[inline(always)]
    pub fn get(&self, view: usize, lin: u64) -> u64 {
        self.tables[view & 1][(lin as u32 >> 12) as usize]
    }

    /// Address of a view's table, for compiled code: 2^20 entries, never moved.
    pub(crate) fn table_address(&self, view: usize) -> usize {
        self.tables[view & 1].as_ptr() as usize
    }

    /// Stores an entry.
    pub fn fill(&mut self, view: usize, lin: u64, entry: u64) {
        let i = lin as u32 >> 12;
        let e = &mut self.tables[view & 1][i as usize];
        let old = std::mem::replace(e, entry);
        if old == 0 {
            self.valid[view & 1].push(i);
        }
        if old & X != 0 && (old ^ entry) & (!0xfff | X | IO | G) != 0 {
            self.fetched_gone(old);
        }
        if let Some(w) = &mut self.window {
            w.refresh(view, i as usize, entry);
        }
    }

    /// An entry goes away: code found through it has to be looked for again.
    fn fetched_gone(&mut self, entry: u64) {
        if entry & X != 0 {
            self.generation += 1;
            self.global_generation += u64::from(entry & G != 0);
        }
    }

    /// Drops everything, or everything but global pages.
    pub fn flush(&mut self, keep_global: bool) {
        self.generation += 1;
        self.global_generation += u64::from(!keep_global);
        for (view, (table, valid)) in self.tables.iter_mut().zip(&mut self.valid).enumerate() {
            valid.retain(|i| {
                let e = &mut table[*i as usize];
                let keep = keep_global && *e & G != 0;
                if !keep {
                    *e = 0;
                    if let Some(w) = &mut self.window {
                        w.drop_page(view, *i as usize);
                    }
                }
                keep
            });
        }
    }

    /// Drops one page from both views.
    pub fn flush_page(&mut self, lin: u64) {
        let i = lin as u32 >> 12;
        let mut gone = [0; 2];
        for (view, (table, valid)) in self.tables.iter_mut().zip(&mut self.valid).enumerate() {
            let old = std::mem::take(&mut table[i as usize]);
            if old != 0 {
                if let Some(w) = &mut self.window {
                    w.drop_page(view, i as usize);
                }
                gone[view] = old;
                // The list may keep a number whose entry is empty, but must not name it twice.
                if let Some(p) = valid.iter().rposition(|v| *v == i) {
                    valid.swap_remove(p);
                }
            }
        }
        gone.into_iter().for_each(|entry| self.fetched_gone(entry));
    }

    /// Takes the write permission of every entry that maps the RAM page at offset `off`: it now holds code.
    pub fn protect(&mut self, off: u64) {
        for (view, (table, valid)) in self.tables.iter_mut().zip(&self.valid).enumerate() {
            for i in valid {
                let e = &mut table[*i as usize];
                if *e & !0xfff == off & !0xfff && *e & IO == 0 {
                    *e &= !W;
                    if let Some(w) = &mut self.window {
                        w.refresh(view, *i as usize, *e);
                    }
                }
            }
        }
    }

    /// Number of valid entries, both views.
    pub fn len(&self) -> usize {
        self.valid[0].len() + self.valid[1].len()
    }

    /// True if nothing is shadowed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Keeps a window onto `ram` for compiled code from now on. False where the host has none: see [`Windows::new`].
    pub fn enable_window(&mut self, ram: &Ram) -> bool {
        self.window = Windows::new(ram).map(Box::new);
        self.window.is_some()
    }

    /// Tells which address space the entries belong to from now on; after a flush that its change calls for. `key` is
    /// anything that recognises it again: it decides what is cached, not what is permitted.
    pub fn activate(&mut self, key: u64) {
        if let Some(w) = &mut self.window
            && w.activate(key)
        {
            for i in &self.valid[1] {
                w.refresh(1, *i as usize, self.tables[1][*i as usize]);
            }
        }
    }

    /// Compiled code found no permission for `size` bytes at `lin`, and the access has since been made another way, so
    /// that the entries are there. Maps the page once it has been missed often enough. True if compiled code can do
    /// it by itself next time.
    pub fn window_miss(&mut self, view: usize, lin: u64, size: u64, write: bool) -> bool {
        let Some(w) = &mut self.window else { return false };
        let (view, lin) = (view & 1, lin & 0xffff_ffff);
        let (first, last) = ((lin >> 12) as usize, ((lin + size.max(1) - 1) >> 12) as usize);
        let table = &self.tables[view];
        // What ends beyond 4 GiB is never served.
        let mut served = last < table.len();
        for page in first..=last.min(table.len() - 1) {
            served &= w.fill(view, table, page, write);
        }
        served
    }

    /// Where linear address 0 of a view is, with its permission bytes below ([`super::window`] names the bits); null
    /// without a window. Changes with [`Shadow::activate`] only.
    pub fn base_ptr(&self, view: usize) -> *mut u8 {
        self.window.as_ref().map_or(std::ptr::null_mut(), |w| w.base_ptr(view))
    }

    /// What the window did, if there is one.
    pub fn window_stats(&self) -> Option<WindowStats> {
        self.window.as_ref().map(|w| w.stats)
    }
    /// The permission byte of the last granule of the page at `lin`; 0 without a window.
    pub fn window_perm(&self, view: usize, lin: u64) -> u8 {
        self.window.as_ref().map_or(0, |w| w.perm(view, (lin as u32 >> 12) as usize))
    }

    #[cfg(test)]
    pub(super) fn set_window(&mut self, window: Windows) {
        self.window = Some(Box::new(window));
    }
}
