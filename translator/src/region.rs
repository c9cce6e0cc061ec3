//! Regions: what is compiled together. A plan is a set of hot blocks that reach each other, with everything that the
//! compiler needs in it, so that it can be lowered on another thread while the guest goes on.

use crate::block::{End, Id, Mark};
use crate::engine::Show;
use crate::ir::{Op, Width};
use crate::model::Model;

/// One block of a plan. Places are *deltas*: linear distances in bytes from the plan's anchor.
#[derive(Clone, Debug)]
pub struct PlanBlock {
    /// Where the block begins.
    pub delta: i32,
    /// Its operations.
    pub ops: Vec<Op>,
    /// One mark an instruction.
    pub marks: Vec<Mark>,
    /// Guest bytes.
    pub bytes: Vec<u8>,
    /// Instructions, by number, whose loads and stores often miss: the host makes them and the region goes on.
    pub resume: Vec<u16>,
    /// How it ends.
    pub end: End,
    /// Compiled code may be entered here.
    pub entry: bool,
    /// Blocks (by index) that an indirect terminator went to so far.
    pub targets: Vec<usize>,
}

/// A page that a plan's code lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanPage {
    /// Linear distance of the page's start from the anchor.
    pub delta: i32,
    /// RAM offset of the page.
    pub at: u64,
}

/// Code that is not in a flat segment is compiled for one place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// RIP of the anchor.
    pub rip: u64,
    /// Limit of the code segment.
    pub limit: u32,
}

/// What to compile.
#[derive(Clone, Debug)]
pub struct Plan {
    /// [`crate::state::mode`] bits.
    pub mode: u32,
    /// The processor's model.
    pub model: Model,
    /// Present unless CS is flat.
    pub fixed: Option<Fixed>,
    /// The blocks; the first one is the anchor.
    pub blocks: Vec<PlanBlock>,
    /// The pages.
    pub pages: Vec<PlanPage>,
    /// Write the region to the log: the anchor's linear address, and what.
    pub show: Option<(u64, Show)>,
    /// Number and serial of each block in the cache: the plan is void once one of them is gone.
    pub ids: Vec<(Id, u64)>,
}

impl Plan {
    /// Index of the block at `delta`.
    pub fn at(&self, delta: i32) -> Option<usize> {
        self.blocks.iter().position(|b| b.delta == delta)
    }

    /// Index of the block at `delta` that may be entered from outside or indirectly; it may have a copy for loops.
    pub fn entry_at(&self, delta: i32) -> Option<usize> {
        self.blocks.iter().position(|b| b.delta == delta && b.entry)
    }

    /// Number and serial of the blocks that it is entered at.
    pub fn entries(&self) -> impl Iterator<Item = (Id, u64)> + use<'_> {
        // Copies of blocks that lowering has added have no number.
        self.ids.iter().zip(&self.blocks).filter(|(_, b)| b.entry).map(|(id, _)| *id)
    }

    /// Guest instructions in it.
    pub fn instructions(&self) -> usize {
        self.blocks.iter().map(|b| b.marks.len()).sum()
    }

    /// Where a static jump of `rel` from block `from` leads, cut to the branch's width: a delta, or `None` when only the
    /// run time knows or the code segment forbids it.
    pub fn target(&self, from: usize, rel: i32, wide: bool) -> Option<i32> {
        self.landing(self.blocks[from].delta.wrapping_add(rel), wide)
    }

    /// As [`Plan::target`], for a jump to `delta`.
    fn landing(&self, delta: i32, wide: bool) -> Option<i32> {
        match self.fixed {
            None if wide => Some(delta),
            None => None,
            Some(f) => {
                let mask = if wide { 0xffff_ffff } else { 0xffff };
                let rip = f.rip.wrapping_add(delta as i64 as u64) & mask;
                (rip <= u64::from(f.limit)).then(|| rip.wrapping_sub(f.rip) as i32)
            }
        }
    }

    /// Deltas of the places that the terminator of `block` names: where a branch goes, then where it falls through to.
    pub fn statics(&self, block: &PlanBlock) -> Vec<i32> {
        let to = |rel: i32, wide: bool| self.landing(block.delta.wrapping_add(rel), wide);
        match block.ops.last() {
            Some(Op::Jump { w, rel }) => to(*rel, *w == Width::D).into_iter().collect(),
            Some(Op::Fall { rel } | Op::After { rel }) => to(*rel, true).into_iter().collect(),
            Some(Op::Branch { w, taken, fall, .. } | Op::BranchIf { w, taken, fall, .. }) => {
                to(*taken, *w == Width::D).into_iter().chain(to(*fall, true)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Indices of the blocks that the terminator of block `i` names.
    pub fn successors(&self, i: usize) -> Vec<usize> {
        self.statics(&self.blocks[i]).into_iter().filter_map(|d| self.at(d)).collect()
    }
}
