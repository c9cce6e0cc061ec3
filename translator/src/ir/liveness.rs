//! Dead flags: an operation whose flags are all overwritten before anyone can see them need not compute them.

use super::Op;

/// What an operation does to the arithmetic flags.
enum Effect {
    /// Overwrites all six without reading any, and cannot fault.
    Kills,
    /// Leaves them alone and cannot fault.
    None,
    /// Reads them, or changes some of them, or can fault or leave the block: all are live before it.
    Uses,
}

fn effect(op: &Op) -> Effect {
    match *op {
        Op::Add { f: true, .. }
        | Op::Sub { f: true, .. }
        | Op::And { f: true, .. }
        | Op::Or { f: true, .. }
        | Op::Xor { f: true, .. }
        | Op::Neg { f: true, .. }
        | Op::Imul { f: true, .. }
        | Op::Mul { f: true, .. } => Effect::Kills,
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
        | Op::Inc { f: false, .. }
        | Op::Dec { f: false, .. }
        | Op::Neg { .. }
        | Op::Not { .. }
        | Op::Shl { f: false, .. }
        | Op::Shr { f: false, .. }
        | Op::Sar { f: false, .. }
        | Op::Rol { f: false, .. }
        | Op::Ror { f: false, .. }
        | Op::Shld { f: false, .. }
        | Op::Shrd { f: false, .. }
        | Op::Mul { f: false, .. }
        | Op::Imul { f: false, .. }
        | Op::Select { .. }
        | Op::IsZero { .. }
        | Op::Bswap { .. }
        | Op::Nop => Effect::None,
        _ => Effect::Uses,
    }
}

/// Clears `f` where the flags are dead. `last` is where the last instruction begins: compiled code may leave a block
/// that closes a loop there, so the flags are live before it.
pub fn drop_dead_flags(ops: &mut [Op], last: usize) {
    let mut live = true;
    for (n, op) in ops.iter_mut().enumerate().rev() {
        live |= n + 1 == last;
        if !live && let Some(f) = op.wants_flags() {
            *f = false;
        }
        match effect(op) {
            Effect::Kills => live = false,
            Effect::None => {}
            Effect::Uses => live = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Src, Width};
    use crate::state::slot;

    fn add(f: bool) -> Op {
        Op::Add { w: Width::D, f, dst: 0, a: 0, b: Src { slot: slot::ZERO, imm: 1 } }
    }

    #[test]
    fn overwritten_flags_are_dropped() {
        let mut ops = [add(true), add(true), Op::Exit];
        drop_dead_flags(&mut ops, 2);
        assert_eq!(ops, [add(false), add(true), Op::Exit]);
        let mut ops = [add(true), add(true), add(true), Op::Exit];
        drop_dead_flags(&mut ops, 2);
        assert_eq!(ops, [add(false), add(true), add(true), Op::Exit]);
    }

    #[test]
    fn a_fault_between_keeps_them() {
        let mem = super::super::Mem {
            base: 0,
            index: slot::ZERO,
            scale: 0,
            seg: crate::state::SegReg::Ds,
            asize: Width::D,
            disp: 0,
        };
        let load = Op::Load { w: Width::D, dst: 1, mem };
        let mut ops = [add(true), load, add(true), Op::Exit];
        drop_dead_flags(&mut ops, 3);
        assert_eq!(ops[0], add(true));
    }
}
