//! What lowering wants to know of the whole region before it begins: the order of the blocks, where loops close, which
//! registers may have changed and whether flags are wanted at a block's start.

use super::describe::{Desc, describe};
use super::{batch, calls, for_each_write, inline};
use crate::block::End;
use crate::ir::Op;
use crate::region::Plan;
use std::rc::Rc;

/// The answers, by block.
#[derive(Default)]
pub(super) struct Order {
    /// Blocks in the order they are lowered: reverse postorder.
    pub sequence: Vec<usize>,
    /// Instructions that run at most from the block's start to the next check or exit.
    pub need: Vec<i64>,
    /// For blocks that close a loop: how many instructions have to be left at their last instruction.
    pub latch: Vec<Option<i64>>,
    /// Registers that may differ from the state's at the block's start.
    pub dirty_in: Vec<u8>,
    /// Someone may look at the flags that the block begins with.
    pub flags_in: Vec<bool>,
    /// What the flags are at the block's start, in terms of registers.
    pub described: Vec<Option<Desc>>,
    /// The one block that this one follows.
    pub follows: Vec<Option<usize>>,
    /// The one block that this one follows, if it takes the flags symbolically from it.
    pub inherits: Vec<Option<usize>>,
    /// Runs of floating-point and vector instructions in the block.
    pub runs: Vec<Rc<Vec<batch::Run>>>,
    /// Registers that the block writes.
    pub writes: Vec<u8>,
    /// Blocks that an indirect terminator may go to.
    pub candidates: Vec<Vec<usize>>,
}

impl Order {
    pub fn new(plan: &Plan) -> Order {
        let n = plan.blocks.len();
        let mut o = Order { candidates: candidates(plan), ..Order::default() };
        let next: Vec<Vec<usize>> = (0..n)
            .map(|i| {
                let mut all = plan.successors(i);
                all.extend(&o.candidates[i]);
                all
            })
            .collect();
        o.sequence = reverse_postorder(plan, &next);
        let mut position = vec![0; n];
        for (p, i) in o.sequence.iter().enumerate() {
            position[*i] = p;
        }
        let closes: Vec<bool> = (0..n).map(|i| next[i].iter().any(|s| position[*s] <= position[i])).collect();
        o.need = vec![0; n];
        o.latch = vec![None; n];
        // Twice: what a latch needs after its check depends on blocks that come earlier in the order.
        for i in o.sequence.iter().rev() {
            let own = plan.blocks[*i].marks.len() as i64;
            let after = next[*i].iter().filter(|s| position[**s] > position[*i]).map(|s| o.need[*s]).max().unwrap_or(0);
            o.need[*i] = if closes[*i] { own - 1 } else { own + after };
        }
        for i in 0..n {
            if closes[i] {
                o.latch[i] = Some(1 + next[i].iter().map(|s| o.need[*s]).max().unwrap_or(0));
            }
        }
        o.runs = (0..n).map(|i| Rc::new(batch::runs(plan, &plan.blocks[i], closes[i]))).collect();
        let own: Vec<Vec<bool>> = (0..n).map(|i| batch::in_runs(&plan.blocks[i], &o.runs[i])).collect();
        o.dirty_in = dirty(plan, &own, &next, &o.sequence);
        o.flags_in = flags(plan, &next, &o.sequence);
        o.writes = (0..n).map(|i| writes(&plan.blocks[i].ops, &own[i])).collect();
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); n];
        for (i, all) in next.iter().enumerate() {
            for s in all {
                before[*s].push(i);
            }
        }
        o.follows = (0..n)
            .map(|i| match before[i][..] {
                [p] if !plan.blocks[i].entry && position[p] < position[i] => Some(p),
                _ => None,
            })
            .collect();
        o.inherits = o.follows.iter().map(|p| p.filter(|p| o.candidates[*p].is_empty())).collect();
        let statics: Vec<Vec<usize>> = (0..n).map(|i| plan.successors(i)).collect();
        let indirect: Vec<usize> = o.candidates.iter().flatten().copied().collect();
        o.described = describe(plan, &statics, &indirect, &o.inherits, &o.sequence);
        o
    }
}

/// Returns go to the return sites of the region's calls, other indirect transfers where they went before.
fn candidates(plan: &Plan) -> Vec<Vec<usize>> {
    let sites: Vec<usize> = plan
        .blocks
        .iter()
        .filter(|b| matches!(b.end, End::Call | End::IndirectCall))
        .filter_map(|b| plan.entry_at(b.delta.wrapping_add(b.bytes.len() as i32)))
        .collect();
    plan.blocks
        .iter()
        .map(|b| {
            let mut all = match b.end {
                End::Return => sites.clone(),
                End::Indirect | End::IndirectCall => b.targets.clone(),
                _ => Vec::new(),
            };
            all.sort_unstable();
            all.dedup();
            all
        })
        .collect()
}

fn reverse_postorder(plan: &Plan, next: &[Vec<usize>]) -> Vec<usize> {
    let n = next.len();
    let mut seen = vec![false; n];
    let mut post = Vec::with_capacity(n);
    let entries = (0..n).filter(|i| plan.blocks[*i].entry);
    for start in std::iter::once(0).chain(entries).chain(0..n) {
        if seen[start] {
            continue;
        }
        seen[start] = true;
        let mut stack = vec![(start, 0)];
        while let Some((i, k)) = stack.pop() {
            match next[i].get(k) {
                Some(&s) => {
                    stack.push((i, k + 1));
                    if !seen[s] {
                        seen[s] = true;
                        stack.push((s, 0));
                    }
                }
                None => post.push(i),
            }
        }
    }
    post.reverse();
    post
}

/// `batched`: operations that are part of a run of [`batch`] call nobody.
fn writes(ops: &[Op], batched: &[bool]) -> u8 {
    let mut all = 0;
    for (op, batched) in ops.iter().zip(batched) {
        if calls::reach(op) == Some(calls::Reach::All) && !inline(op) && !batched {
            return u8::MAX;
        }
        for_each_write(op, |s| {
            if s < 8 {
                all |= 1 << s;
            }
        });
    }
    all
}

fn dirty(plan: &Plan, batched: &[Vec<bool>], next: &[Vec<usize>], sequence: &[usize]) -> Vec<u8> {
    let n = next.len();
    let mut into = vec![0u8; n];
    let mut changed = true;
    while changed {
        changed = false;
        for &i in sequence {
            let mut d = into[i];
            for (op, batched) in plan.blocks[i].ops.iter().zip(&batched[i]) {
                if calls::reach(op) == Some(calls::Reach::All) && !inline(op) && !batched {
                    d = 0;
                } else {
                    for_each_write(op, |s| {
                        if s < 8 {
                            d |= 1 << s;
                        }
                    });
                }
            }
            for &s in &next[i] {
                if into[s] | d != into[s] {
                    into[s] |= d;
                    changed = true;
                }
            }
        }
    }
    into
}

/// What a block does with the flags it begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Somebody may look at them before they are overwritten.
    Wanted,
    Overwritten,
    Passed,
}

fn use_of(ops: &[Op]) -> Use {
    for op in ops {
        match op {
            Op::Add { f: true, .. }
            | Op::Sub { f: true, .. }
            | Op::And { f: true, .. }
            | Op::Or { f: true, .. }
            | Op::Xor { f: true, .. }
            | Op::Neg { f: true, .. } => return Use::Overwritten,
            Op::Imul { f: true, .. } => return Use::Overwritten,
            Op::Const { .. }
            | Op::Mov { .. }
            | Op::Sext { .. }
            | Op::Insert { .. }
            | Op::High8 { .. }
            | Op::Lea { .. }
            | Op::Eip { .. }
            | Op::Add { .. }
            | Op::Sub { .. }
            | Op::And { .. }
            | Op::Or { .. }
            | Op::Xor { .. }
            | Op::Neg { .. }
            | Op::Not { .. }
            | Op::Imul { .. }
            | Op::Inc { f: false, .. }
            | Op::Dec { f: false, .. }
            | Op::Shl { f: false, .. }
            | Op::Shr { f: false, .. }
            | Op::Sar { f: false, .. }
            | Op::Bswap { .. }
            | Op::Select { .. }
            | Op::IsZero { .. }
            | Op::GetV { .. }
            | Op::SetV { .. }
            | Op::MovV { .. }
            | Op::Nop => {}
            Op::Jump { .. } | Op::Fall { .. } | Op::After { .. } | Op::BranchIf { .. } => return Use::Passed,
            _ => return Use::Wanted,
        }
    }
    Use::Wanted
}

fn flags(plan: &Plan, next: &[Vec<usize>], sequence: &[usize]) -> Vec<bool> {
    let n = next.len();
    // A block with a way out of the region passes its flags to somebody unknown; one that closes a loop may leave
    // before its last instruction.
    let leaves: Vec<bool> = (0..n)
        .map(|i| {
            let ways = match plan.blocks[i].ops.last() {
                Some(Op::Branch { .. } | Op::BranchIf { .. }) => 2,
                // The mode may be another one afterwards.
                Some(Op::After { .. }) => 2,
                _ => 1,
            };
            plan.successors(i).len() < ways
        })
        .collect();
    let mut position = vec![0; n];
    for (p, i) in sequence.iter().enumerate() {
        position[*i] = p;
    }
    let closes: Vec<bool> = (0..n).map(|i| next[i].iter().any(|s| position[*s] <= position[i])).collect();
    let uses: Vec<Use> = (plan.blocks.iter().zip(&closes))
        .map(|(b, closes)| {
            // A block that closes a loop may leave before its last instruction: what that overwrites is still seen.
            let last = b.marks.last().map_or(0, |m| usize::from(m.op)).min(b.ops.len());
            use_of(if *closes { &b.ops[..last] } else { &b.ops })
        })
        .collect();
    let mut wanted: Vec<bool> = uses.iter().map(|u| *u == Use::Wanted).collect();
    let mut changed = true;
    while changed {
        changed = false;
        for i in 0..n {
            if wanted[i] || uses[i] == Use::Overwritten {
                continue;
            }
            if leaves[i] || next[i].iter().any(|s| wanted[*s]) {
                wanted[i] = true;
                changed = true;
            }
        }
    }
    wanted
}
