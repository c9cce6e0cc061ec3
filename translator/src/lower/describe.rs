//! Flags as a statement about registers: "what CMP ECX, EAX would set". Where every way into a block agrees on such a
//! statement, the flags need not be stored on the way: whoever wants them computes them from the registers. Loops
//! nearly always end in such a comparison, and only a cold exit looks at its flags again.

use super::{calls, for_each_write, inline};
use crate::ir::{Op, Src, Width};
use crate::region::Plan;
use crate::state::slot;

/// What the flags are, in terms of the registers as they are now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Desc {
    /// Those of `a - b`.
    Compare { w: Width, a: u8, b: Src },
    /// Those of `a AND b`.
    Test { w: Width, a: u8, b: Src },
    /// Those of a logical operation with this result.
    Logic { w: Width, r: u8 },
    /// Those of an addition of `b` with this result.
    Added { r: u8, b: i32 },
    /// Those of a subtraction of `b` with this result.
    Subtracted { r: u8, b: i32 },
    /// Those of INC or DEC with this result, with CF as it is in the state.
    Step { inc: bool, r: u8 },
}

impl Desc {
    fn registers(self) -> u8 {
        let bit = |s: u8| if s < 8 { 1 << s } else { 0 };
        match self {
            Desc::Compare { a, b, .. } | Desc::Test { a, b, .. } => bit(a) | bit(b.slot),
            Desc::Logic { r, .. } | Desc::Added { r, .. } | Desc::Subtracted { r, .. } | Desc::Step { r, .. } => bit(r),
        }
    }
}

/// What is known of the flags at one point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// No way has been seen to get there.
    Nothing,
    /// They are wherever the block left them: in the state, or symbolic in the block alone.
    Unknown,
    /// They are in the state.
    State,
    Is(Desc),
}

fn register(s: u8) -> bool {
    s < 8
}

fn plain(b: Src) -> bool {
    b.slot == slot::ZERO || (register(b.slot) && b.imm == 0)
}

/// What `op` makes of the flags.
fn after(op: &Op, before: Known) -> Known {
    let set = match *op {
        Op::Sub { f: true, w, dst, a, b } if dst >= slot::TEMP && register(a) && plain(b) => {
            Some(Known::Is(Desc::Compare { w, a, b }))
        }
        Op::And { f: true, w, dst, a, b } if dst >= slot::TEMP && register(a) && plain(b) => {
            Some(Known::Is(Desc::Test { w, a, b }))
        }
        Op::And { f: true, w: Width::D, dst, .. }
        | Op::Or { f: true, w: Width::D, dst, .. }
        | Op::Xor { f: true, w: Width::D, dst, .. }
            if register(dst) =>
        {
            Some(Known::Is(Desc::Logic { w: Width::D, r: dst }))
        }
        Op::Add { f: true, w: Width::D, dst, b, .. } if register(dst) && b.slot == slot::ZERO => {
            Some(Known::Is(Desc::Added { r: dst, b: b.imm }))
        }
        Op::Sub { f: true, w: Width::D, dst, b, .. } if register(dst) && b.slot == slot::ZERO => {
            Some(Known::Is(Desc::Subtracted { r: dst, b: b.imm }))
        }
        Op::Inc { f: true, w: Width::D, dst, .. } | Op::Dec { f: true, w: Width::D, dst, .. } if register(dst) => {
            let inc = matches!(op, Op::Inc { .. });
            Some(match before {
                Known::State | Known::Is(Desc::Step { .. }) => Known::Is(Desc::Step { inc, r: dst }),
                _ => Known::Unknown,
            })
        }
        _ => None,
    };
    if let Some(set) = set {
        return set;
    }
    if touches_flags(op) {
        return Known::Unknown;
    }
    let Known::Is(d) = before else { return before };
    let mut kept = true;
    for_each_write(op, |s| kept &= s >= 8 || d.registers() >> s & 1 == 0);
    if kept { before } else { Known::Unknown }
}

/// Operations after which the flags are not what they were.
fn touches_flags(op: &Op) -> bool {
    if let Some(f) = { *op }.wants_flags() {
        return *f;
    }
    match *op {
        Op::Bsf { .. } | Op::Bsr { .. } | Op::Bit { .. } | Op::Bcd { .. } | Op::SetFlags { .. } | Op::Cmc => true,
        _ => match calls::reach(op) {
            Some(calls::Reach::Operands) | None => false,
            Some(_) => !inline(op),
        },
    }
}

fn meet(a: Known, b: Known) -> Known {
    match (a, b) {
        (Known::Nothing, x) | (x, Known::Nothing) => x,
        (x, y) if x == y => x,
        _ => Known::State,
    }
}

/// For each block, what its flags are at its start if every way in agrees. `next` are the static edges, `indirect` the
/// blocks that indirect transfers reach, `inherits` the blocks that take symbolic flags from their one predecessor.
pub(super) fn describe(
    plan: &Plan,
    next: &[Vec<usize>],
    indirect: &[usize],
    inherits: &[Option<usize>],
    sequence: &[usize],
) -> Vec<Option<Desc>> {
    let n = plan.blocks.len();
    let mut into = vec![Known::Nothing; n];
    for (i, known) in into.iter_mut().enumerate() {
        if plan.blocks[i].entry || indirect.contains(&i) {
            *known = Known::State;
        }
    }
    let mut changed = true;
    while changed {
        changed = false;
        for &i in sequence {
            let out = plan.blocks[i].ops.iter().fold(into[i], |k, op| after(op, k));
            for &s in &next[i] {
                // What is not a statement about registers is stored on the way, unless the next block inherits it.
                let stored = out == Known::Unknown && inherits[s] != Some(i);
                let m = meet(into[s], if stored { Known::State } else { out });
                if m != into[s] {
                    into[s] = m;
                    changed = true;
                }
            }
        }
    }
    into.into_iter().map(|k| if let Known::Is(d) = k { Some(d) } else { None }).collect()
}

/// Gives every entry that a loop of the region comes back to a copy of its own: the loop's way in then agrees.
pub(super) fn split_entries(plan: &mut Plan) {
    let n = plan.blocks.len();
    let mut reached = vec![false; n];
    for i in 0..n {
        for s in plan.successors(i) {
            reached[s] = true;
        }
    }
    for (i, reached) in reached.iter().enumerate() {
        if plan.blocks[i].entry && *reached {
            let mut copy = plan.blocks[i].clone();
            copy.entry = true;
            plan.blocks[i].entry = false;
            let index = plan.blocks.len();
            plan.blocks.push(copy);
            for b in &mut plan.blocks {
                for t in &mut b.targets {
                    if *t == i {
                        *t = index;
                    }
                }
            }
        }
    }
}
