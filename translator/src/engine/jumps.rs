//! The jump cache: where compiled code is, by RIP and mode, for the trampoline and the dispatcher.
//!
//! An entry rests on the mapping of its region's pages. What rests on global pages alone outlives loads of CR3, which
//! drop the rest: a kernel's regions stay known from one address space to the next.
//!
//! An entry may be in either of two places, so that two hot places in the guest do not drive each other out: every time
//! one is not found costs as much as some fifty times that it is.

use crate::block::RegionId;
use crate::lower::trampoline::{self, JUMPS, Jump};
use crate::mmu::shadow::Shadow;

/// Tag of an empty place.
const EMPTY: u64 = u64::MAX;

/// The cache of one CPU.
pub(super) struct JumpCache {
    places: Box<[Jump]>,
    /// Places that are not empty: of entries that rest on pages of one address space, and of those that rest on global
    /// pages alone. A place may be listed more than once, and under the kind that was there before.
    filled: [Vec<u16>; 2],
    /// [`Shadow::generation`] that the first kind belongs to, `global_generation` for the second.
    generations: [u64; 2],
    /// Base and limit of CS that entries of segments which are not flat belong to.
    cs: (u64, u32),
    /// Which of two places is given up next.
    turn: usize,
}

impl JumpCache {
    pub fn new() -> JumpCache {
        JumpCache {
            places: vec![Jump { tag: EMPTY, ..Jump::default() }; JUMPS].into_boxed_slice(),
            filled: [Vec::new(), Vec::new()],
            generations: [0; 2],
            cs: (0, 0),
            turn: 0,
        }
    }

    /// Address of the places, for compiled code.
    pub fn address(&self) -> usize {
        self.places.as_ptr() as usize
    }

    /// The entry for a place in the guest.
    #[inline]
    pub fn find(&self, rip: u64, mode: u32) -> Option<Jump> {
        let tag = trampoline::tag(rip, mode);
        trampoline::places(rip).into_iter().map(|i| self.places[i]).find(|jump| jump.tag == tag)
    }

    /// Stores an entry for `rip`: in its own place, in an empty one, or instead of another.
    pub fn put(&mut self, rip: u64, jump: Jump) {
        let places = trampoline::places(rip);
        let holds = |tag: u64| places.into_iter().find(|i| self.places[*i].tag == tag);
        let free = holds(jump.tag).or_else(|| holds(EMPTY));
        let i = free.unwrap_or_else(|| {
            self.turn ^= 1;
            places[self.turn]
        });
        let kind = usize::from(jump.global & 1);
        let old = std::mem::replace(&mut self.places[i], jump);
        if old.tag != EMPTY && old.global == jump.global {
            return;
        }
        let filled = &mut self.filled[kind];
        filled.push(i as u16);
        // Places that go back and forth between the kinds.
        if filled.len() > 2 * JUMPS {
            filled.sort_unstable();
            filled.dedup();
        }
    }

    /// Empties the cache.
    pub fn clear(&mut self) {
        for kind in 0..2 {
            self.clear_kind(kind);
        }
    }

    fn clear_kind(&mut self, kind: usize) {
        for i in self.filled[kind].drain(..) {
            let jump = &mut self.places[usize::from(i)];
            if usize::from(jump.global) == kind {
                jump.tag = EMPTY;
            }
        }
    }

    /// Drops what may rest on something that the shadow has dropped.
    pub fn follow(&mut self, shadow: &Shadow) {
        for (kind, now) in [shadow.generation, shadow.global_generation].into_iter().enumerate() {
            if self.generations[kind] != now {
                self.clear_kind(kind);
                self.generations[kind] = now;
            }
        }
    }

    /// Whether entries of segments that are not flat belong to this base and limit.
    pub fn is_of(&self, cs: (u64, u32)) -> bool {
        self.cs == cs
    }

    /// Makes the cache belong to a code segment that is not flat.
    pub fn enter_segment(&mut self, cs: (u64, u32)) {
        if self.cs != cs {
            self.clear();
            self.cs = cs;
        }
    }

    /// Takes a region out.
    pub fn forget(&mut self, id: RegionId) {
        let places = &mut self.places;
        for filled in &mut self.filled {
            filled.retain(|i| {
                let jump = &mut places[usize::from(*i)];
                let gone = jump.region == id;
                if gone {
                    jump.tag = EMPTY;
                }
                !gone
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jump(rip: u64, region: RegionId, global: u16) -> Jump {
        Jump { tag: trampoline::tag(rip, 1), region, global, ..Jump::default() }
    }

    fn known(cache: &JumpCache, places: &[u64]) -> Vec<bool> {
        places.iter().map(|rip| cache.find(*rip, 1).is_some()).collect()
    }

    #[test]
    fn global_entries_outlive_an_address_space() {
        let mut shadow = Shadow::default();
        let mut cache = JumpCache::new();
        cache.follow(&shadow);
        cache.put(0x1000, jump(0x1000, 1, 0));
        cache.put(0xc000_2000, jump(0xc000_2000, 2, 1));
        assert_eq!(cache.find(0x1000, 0).map(|j| j.region), None, "another mode");
        shadow.flush(true);
        cache.follow(&shadow);
        assert_eq!(known(&cache, &[0x1000, 0xc000_2000]), [false, true]);
        shadow.flush(false);
        cache.follow(&shadow);
        assert_eq!(known(&cache, &[0xc000_2000]), [false]);
    }

    #[test]
    fn two_entries_of_one_place_do_not_drive_each_other_out() {
        let mut cache = JumpCache::new();
        // The low bits are the same, and so are those of the page numbers.
        let places = [0x1000, 0x1000 + (1 << 26), 0x1000 + (2 << 26)];
        let tags = places.map(trampoline::places);
        assert!(tags.iter().all(|t| *t == tags[0]));
        for (n, rip) in places[..2].iter().enumerate() {
            cache.put(*rip, jump(*rip, n as u32, 0));
            cache.put(*rip, jump(*rip, n as u32, 0));
        }
        assert_eq!(known(&cache, &places), [true, true, false]);
        cache.put(places[2], jump(places[2], 2, 0));
        assert_eq!(known(&cache, &places).iter().filter(|known| **known).count(), 2);
        assert!(known(&cache, &places)[2]);
        cache.clear();
        assert_eq!(known(&cache, &places), [false; 3]);
    }

    #[test]
    fn places_that_change_hands_are_cleared_with_their_last_owner() {
        let mut shadow = Shadow::default();
        let mut cache = JumpCache::new();
        cache.follow(&shadow);
        for n in 0..5 * JUMPS as u32 {
            cache.put(0x1000, jump(0x1000, n, (n & 1) as u16));
        }
        assert!(cache.filled.iter().all(|f| f.len() <= 2 * JUMPS));
        shadow.flush(true);
        cache.follow(&shadow);
        assert_eq!(known(&cache, &[0x1000]), [true], "the last one was global");
        cache.forget(5 * JUMPS as u32 - 1);
        assert_eq!(known(&cache, &[0x1000]), [false]);
        cache.put(0x1000, jump(0x1000, 7, 0));
        cache.enter_segment((0x10, 0xffff));
        assert_eq!(known(&cache, &[0x1000]), [false]);
        assert!(cache.is_of((0x10, 0xffff)));
    }
}
