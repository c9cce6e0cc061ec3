//! From a hot block to a plan: which blocks around it are worth compiling with it.

use crate::block::{End, Id, Key};
use crate::cpu::Cpu;
use crate::mmu::shadow;
use crate::region::{Fixed, Plan, PlanBlock, PlanPage};
use crate::state::{SegReg, mode};
use std::collections::{HashMap, VecDeque};

/// Blocks in a region at most.
const MAX_BLOCKS: usize = 48;
/// Guest instructions in a region at most: compilation grows faster than linearly.
const MAX_INSTRUCTIONS: usize = 500;
/// Pages a region's code lies in at most.
const MAX_PAGES: usize = 8;
/// A block belongs to the region if it ran at least this fraction of the anchor's count.
const SHARE: u32 = 32;

impl Cpu {
    /// The plan anchored at block `id`, which begins at RIP. `None` if the block cannot be compiled. A `wide` one takes in
    /// whatever belongs to the anchor's work, compiled elsewhere or not; the others end where other regions begin, so
    /// that hardly anything is compiled twice.
    pub(super) fn plan(&mut self, id: Id, wide: bool) -> Option<Plan> {
        let first = self.blocks.get(id);
        let key = first.key?;
        let count = first.profile.count;
        let cs = &self.state.segs[SegReg::Cs as usize];
        let rip = self.state.rip;
        let lin = cs.base.wrapping_add(rip) & 0xffff_ffff;
        let flat = self.state.mode & mode::FLAT << SegReg::Cs as u32 != 0;
        let fixed = (!flat).then_some(Fixed { rip, limit: cs.limit });
        let mut plan = Plan {
            mode: key.mode,
            model: self.model,
            fixed,
            blocks: Vec::new(),
            pages: Vec::new(),
            ids: Vec::new(),
            show: None,
        };
        let mut work = VecDeque::from([(0i32, id)]);
        let mut index: HashMap<i32, usize> = HashMap::new();
        let mut targets: Vec<Vec<i32>> = Vec::new();
        let mut instructions = 0;
        while let Some((delta, id)) = work.pop_front() {
            if index.contains_key(&delta) {
                continue;
            }
            let b = self.blocks.get(id);
            let Some(at) = b.key else { continue };
            if plan.blocks.len() >= MAX_BLOCKS || instructions + b.marks.len() > MAX_INSTRUCTIONS.max(b.marks.len()) {
                break;
            }
            if !self.add_pages(&mut plan, lin, delta, at, id) {
                continue;
            }
            let b = self.blocks.get(id);
            instructions += b.marks.len();
            index.insert(delta, plan.blocks.len());
            plan.ids.push((id, b.serial));
            let block = PlanBlock {
                delta,
                ops: b.ops.clone(),
                marks: b.marks.clone(),
                bytes: self.bytes_of(at, b.len, b.tail),
                resume: b.profile.resume.clone(),
                end: b.end,
                entry: plan.blocks.is_empty(),
                targets: Vec::new(),
            };
            let mut next: Vec<i32> = plan.statics(&block).into_iter().rev().collect();
            let observed: Vec<i32> = b.profile.targets.iter().map(|t| delta.wrapping_add(*t)).collect();
            next.extend(&observed);
            if matches!(block.end, End::Call | End::IndirectCall) {
                next.push(delta.wrapping_add(b.len as i32));
            }
            plan.blocks.push(block);
            targets.push(observed);
            for d in next {
                if !index.contains_key(&d)
                    && let Some(id) = self.known(lin, d, key.mode, count / SHARE)
                    && (wide || self.blocks.get(id).profile.unclaimed())
                {
                    work.push_back((d, id));
                }
            }
        }
        if plan.blocks.is_empty() {
            return None;
        }
        if !wide {
            // Quick code keeps nothing in registers from block to block, so that every block can be an entry.
            for b in &mut plan.blocks {
                b.entry = true;
            }
        }
        // Where calls return to and indirect jumps go, compiled code is entered as well.
        for (i, targets) in targets.iter().enumerate() {
            let (delta, end, len) = (plan.blocks[i].delta, plan.blocks[i].end, plan.blocks[i].bytes.len() as i32);
            plan.blocks[i].targets = targets.iter().filter_map(|d| index.get(d).copied()).collect();
            for t in plan.blocks[i].targets.clone() {
                plan.blocks[t].entry = true;
            }
            if matches!(end, End::Call | End::IndirectCall)
                && let Some(&site) = index.get(&delta.wrapping_add(len))
            {
                plan.blocks[site].entry = true;
            }
        }
        if wide {
            // Optimised code is left at back edges, when a slice is over; it goes on where it was left.
            for i in loop_headers(&plan) {
                plan.blocks[i].entry = true;
            }
        }
        Some(plan)
    }

    /// The block at `delta` from linear address `lin`, if the interpreter has run it often enough.
    fn known(&self, lin: u64, delta: i32, mode: u32, least: u32) -> Option<Id> {
        let at = lin.wrapping_add(delta as i64 as u64) & 0xffff_ffff;
        let e = self.shadow.get(usize::from(self.user()), at);
        if e & shadow::X == 0 || e & shadow::IO != 0 {
            return None;
        }
        let id = self.blocks.find(Key { at: (e & !0xfff) | (at & 0xfff), mode })?;
        let b = self.blocks.get(id);
        // What is rewritten all the time would take the region with it.
        let threshold = self.engine.as_ref().map_or(0, |e| e.config.threshold);
        let least = if b.profile.patience == 0 { least } else { threshold.saturating_mul(1 << b.profile.patience) };
        (b.profile.count >= least.max(1) || b.profile.native.is_some()).then_some(id)
    }

    /// Adds the pages of a block to the plan. False if they are too many.
    fn add_pages(&self, plan: &mut Plan, lin: u64, delta: i32, at: Key, id: Id) -> bool {
        let b = self.blocks.get(id);
        let start = lin.wrapping_add(delta as i64 as u64) & 0xffff_ffff;
        let limit = self.state.segs[SegReg::Cs as usize].limit;
        if let Some(f) = plan.fixed {
            let rip = f.rip.wrapping_add(delta as i64 as u64) & 0xffff_ffff;
            if rip + u64::from(b.len) - 1 > u64::from(limit) {
                return false;
            }
        }
        let in_page = (start & 0xfff) as i32;
        let mut pages = vec![PlanPage { delta: delta.wrapping_sub(in_page), at: at.at & !0xfff }];
        if let Some(tail) = b.tail {
            pages.push(PlanPage { delta: delta.wrapping_sub(in_page).wrapping_add(4096), at: tail });
        }
        let new: Vec<PlanPage> = pages.into_iter().filter(|p| !plan.pages.contains(p)).collect();
        if plan.pages.len() + new.len() > MAX_PAGES {
            return false;
        }
        plan.pages.extend(new);
        true
    }

    fn bytes_of(&self, at: Key, len: u32, tail: Option<u64>) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        let room = (4096 - (at.at & 0xfff) as usize).min(bytes.len());
        let (head, rest) = bytes.split_at_mut(room);
        self.mem.ram().read_bytes(at.at as usize, head);
        if let Some(tail) = tail {
            self.mem.ram().read_bytes(tail as usize, rest);
        }
        bytes
    }
}

/// The blocks that back edges lead to, in the order of a search from the anchor.
fn loop_headers(plan: &Plan) -> Vec<usize> {
    let next: Vec<Vec<usize>> = (plan.blocks.iter().enumerate())
        .map(|(i, b)| plan.successors(i).into_iter().chain(b.targets.iter().copied()).collect())
        .collect();
    let (mut seen, mut open) = (vec![false; next.len()], vec![false; next.len()]);
    let mut headers = Vec::new();
    let mut path = vec![(0, 0)];
    (seen[0], open[0]) = (true, true);
    while let Some((i, k)) = path.pop() {
        let Some(&s) = next[i].get(k) else {
            open[i] = false;
            continue;
        };
        path.push((i, k + 1));
        if open[s] && !headers.contains(&s) {
            headers.push(s);
        }
        if !seen[s] {
            (seen[s], open[s]) = (true, true);
            path.push((s, 0));
        }
    }
    headers
}
