//! The flat shadow table: what the guest's page tables say about each linear page, resolved once.
//!
//! One table of 2^20 entries for each view (supervisor, user). An entry is the RAM offset (or, with [`IO`], the
//! physical address) of the page with permission bits below. A list of the valid entries makes a flush cheap.

/// Reading needs no walk.
pub const R: u64 = 1 << 0;
/// Writing needs no walk: the guest allows it and the dirty bit is set.
pub const W: u64 = 1 << 1;
/// Fetching needs no walk.
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
    /// Moves whenever an entry that code may have been fetched through goes away.
    pub generation: u64,
}

impl Default for Shadow {
    fn default() -> Self {
        Shadow { tables: [table(), table()], valid: [Vec::new(), Vec::new()], generation: 1 }
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
        if *e == 0 {
            self.valid[view & 1].push(i);
        }
        *e = entry;
    }

    /// Drops everything, or everything but global pages.
    pub fn flush(&mut self, keep_global: bool) {
        self.generation += 1;
        for (table, valid) in self.tables.iter_mut().zip(&mut self.valid) {
            valid.retain(|i| {
                let e = &mut table[*i as usize];
                let keep = keep_global && *e & G != 0;
                if !keep {
                    *e = 0;
                }
                keep
            });
        }
    }

    /// Drops one page from both views.
    pub fn flush_page(&mut self, lin: u64) {
        let i = lin as u32 >> 12;
        for (table, valid) in self.tables.iter_mut().zip(&mut self.valid) {
            if table[i as usize] != 0 {
                table[i as usize] = 0;
                self.generation += 1;
                // The list may keep a number whose entry is empty, but must not name it twice.
                if let Some(p) = valid.iter().rposition(|v| *v == i) {
                    valid.swap_remove(p);
                }
            }
        }
    }

    /// Takes the write permission of every entry that maps the RAM page at offset `off`: it now holds code.
    pub fn protect(&mut self, off: u64) {
        for (table, valid) in self.tables.iter_mut().zip(&self.valid) {
            for i in valid {
                let e = &mut table[*i as usize];
                if *e & !0xfff == off & !0xfff && *e & IO == 0 {
                    *e &= !W;
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
}
