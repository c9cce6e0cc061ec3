//! Code that compiled code is bad at: instructions whose loads and stores miss again and again, and code that is
//! rewritten again and again.

use crate::cpu::Cpu;
use crate::mmu::shadow;
use std::collections::HashMap;

/// Instructions that missed, by linear address and mode, and how often; others take their places in time.
pub(super) struct Sites(Box<[(u64, u32); SITES]>);

const SITES: usize = 256;

impl Sites {
    pub fn new() -> Sites {
        Sites(Box::new([(u64::MAX, 0); SITES]))
    }

    /// Counts a miss. True the `often`th time.
    fn miss(&mut self, tag: u64, often: u32) -> bool {
        let site = &mut self.0[(tag ^ tag >> 8 ^ tag >> 16) as usize & (SITES - 1)];
        if site.0 != tag {
            if site.1 > 0 {
                site.1 -= 1;
                return false;
            }
            *site = (tag, 0);
        }
        site.1 += 1;
        if site.1 >= often {
            site.1 = 0;
            return true;
        }
        false
    }
}

/// Which lines of RAM have lost compiled code to stores, so that it is not compiled over and over.
#[derive(Default)]
pub(super) struct Rewrites(HashMap<u64, (u8, u64)>);

/// Bytes of RAM that are counted together.
const LINE: u64 = 64;
/// Lines that are remembered at most.
const LINES: usize = 4096;
/// Doublings of the threshold at most.
const PATIENCE: u8 = 12;
/// Instructions in which one doubling is forgotten.
const FORGET: u64 = 20_000_000;

impl Rewrites {
    /// Compiled code made from the line at RAM offset `off` was dropped because it has changed.
    fn note(&mut self, off: u64, now: u64) {
        if self.0.len() >= LINES {
            self.0.clear();
        }
        let old = self.patience(off, now);
        self.0.insert(off / LINE, ((old + 1).min(PATIENCE), now));
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By how many doublings code there waits longer before it is compiled.
    fn patience(&self, off: u64, now: u64) -> u8 {
        let Some((n, when)) = self.0.get(&(off / LINE)) else { return 0 };
        n.saturating_sub((now.saturating_sub(*when) / FORGET).min(255) as u8)
    }
}

impl Cpu {
    /// Compiled code left before the instruction at RIP, which the interpreter will run: if that happens often, the
    /// regions around it are compiled anew in a way that goes on there.
    pub(super) fn count_miss(&mut self) {
        let lin = self.state.segs[1].base.wrapping_add(self.state.rip) & 0xffff_ffff;
        let (mode, user) = (self.state.mode, self.user());
        let Some(e) = &mut self.engine else { return };
        let often = e.config.resume_after;
        if !e.sites.miss(lin | u64::from(mode) << 32, often) {
            return;
        }
        let entry = self.shadow.get(usize::from(user), lin);
        if entry & shadow::X == 0 || entry & shadow::IO != 0 {
            return;
        }
        let regions = self.blocks.let_resume((entry & !0xfff) | (lin & 0xfff), mode);
        if !regions.is_empty() {
            e.stats.resuming += 1;
            self.blocks.dead.extend(regions);
            self.drop_dead_regions();
        }
    }

    /// By how many doublings the threshold for compilation is higher for a block of `len` bytes at RAM offset `at`.
    pub(crate) fn patience(&self, at: u64, len: u32) -> u8 {
        let Some(e) = &self.engine else { return 0 };
        if e.rewrites.is_empty() {
            return 0;
        }
        let lines = at / LINE..=(at + u64::from(len)).saturating_sub(1) / LINE;
        let most = lines.map(|l| e.rewrites.patience(l * LINE, self.retired)).max().unwrap_or(0);
        most.min(e.config.patience).min(PATIENCE)
    }

    /// A store has changed the RAM byte at `off`, from which the regions named in [`crate::block::BlockCache::dead`]
    /// were compiled.
    pub(crate) fn note_rewrite(&mut self, off: u64) {
        let now = self.retired;
        if let Some(e) = &mut self.engine
            && !self.blocks.dead.is_empty()
        {
            e.rewrites.note(off, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_noticed_among_others() {
        let mut s = Sites::new();
        assert_eq!((0..10).filter(|_| s.miss(0x1234, 4)).count(), 2);
        // Rare ones in the same place do not hide it.
        let mut noticed = 0;
        for n in 0..100 {
            noticed += u32::from(s.miss(0x1234, 20));
            if n % 4 == 0 {
                s.miss(0x1234 ^ 0x101 << 8 ^ 0x100_0000, 20);
            }
        }
        assert!(noticed >= 2);
    }

    #[test]
    fn patience_grows_and_is_forgotten() {
        let mut r = Rewrites::default();
        assert_eq!(r.patience(0x1000, 0), 0);
        for _ in 0..20 {
            r.note(0x1004, 1000);
        }
        assert_eq!(r.patience(0x1030, 1000), PATIENCE);
        assert_eq!(r.patience(0x1040, 1000), 0);
        assert_eq!(r.patience(0x1000, 1000 + 3 * FORGET), PATIENCE - 3);
        assert_eq!(r.patience(0x1000, u64::MAX), 0);
        for n in 0..2 * LINES as u64 {
            r.note(n * LINE, 0);
        }
        assert!(r.0.len() <= LINES);
    }
}
