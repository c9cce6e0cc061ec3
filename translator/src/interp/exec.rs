//! The loop over a block's operations: what each of them does.

use crate::block::Id;
use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::flags;
use crate::helpers;
use crate::ir::{BitOp, Op, Width};
use crate::lift::{vector as vec_ops, x87};

impl Cpu {
    /// Runs operations until a terminator, a fault, the budget, or a request to stop.
    pub(super) fn exec(&mut self, bus: &mut dyn Bus, ops: &[Op], id: Id, budget: u64) -> Res<bool> {
        self.stats.blocks_run += 1;
        let count = self.blocks.get(id).marks.len();
        let mut end = ops.len();
        if (count as u64) > budget {
            end = self.mark(id, budget as usize).map_or(end, |m| usize::from(m.op));
        }
        let mut i = 0;
        macro_rules! fail {
            ($fault:expr) => {{
                let fault: Fault = $fault;
                self.bail = false;
                if fault.dr6 & crate::system::NEW_TASK != 0 {
                    // RIP already belongs to the task that the fault is raised in.
                    self.retired += self.begun(id, i).saturating_sub(1) as u64;
                } else {
                    self.leave_before(id, i);
                }
                return Err(fault);
            }};
        }
        macro_rules! tri {
            ($e:expr) => {
                match $e {
                    Ok(v) => v,
                    Err(f) => fail!(f),
                }
            };
        }
        // After anything that can reach a device or change code: stop at the next instruction boundary if asked.
        macro_rules! poll {
            () => {
                if self.bail {
                    let n = self.begun(id, i);
                    end = self.mark(id, n).map_or(end, |m| end.min(usize::from(m.op)));
                }
            };
        }
        // 32-bit operations are most of what runs: a copy of the body with the width known is twice as short.
        macro_rules! by_width {
            ($w:ident, $body:block) => {
                if $w == Width::D {
                    let $w = Width::D;
                    $body
                } else {
                    $body
                }
            };
        }
        while i < end {
            match ops[i] {
                Op::Const { dst, value } => self.p(dst, value),
                Op::Mov { w, dst, a } => by_width!(w, {
                    let v = self.g(a) & w.mask();
                    self.p(dst, v);
                }),
                Op::Sext { from, w, dst, a } => {
                    let up = 64 - from.bits();
                    let v = ((self.g(a) << up) as i64 >> up) as u64 & w.mask();
                    self.p(dst, v);
                }
                Op::Insert { w, hi, dst, a } => {
                    let sh = if hi { 8 } else { 0 };
                    let m = w.mask() << sh;
                    let v = self.g(dst) & !m | self.g(a) << sh & m;
                    self.p(dst, v);
                }
                Op::High8 { dst, a } => {
                    let v = self.g(a) >> 8 & 0xff;
                    self.p(dst, v);
                }
                Op::Lea { dst, ref mem } => {
                    let v = self.offset(mem);
                    self.p(dst, v);
                }
                Op::Eip { w, dst, rel } => {
                    let v = self.state.rip.wrapping_add(rel as i64 as u64) & w.mask();
                    self.p(dst, v);
                }
                Op::Add { w, f, dst, a, b } => by_width!(w, {
                    let (x, y) = (self.g(a) & w.mask(), self.src(b) & w.mask());
                    let r = x.wrapping_add(y) & w.mask();
                    self.p(dst, r);
                    if f {
                        self.state.flags_add(w, x, y, r);
                    }
                }),
                Op::Adc { w, f, dst, a, b } => by_width!(w, {
                    let (x, y) = (self.g(a) & w.mask(), self.src(b) & w.mask());
                    let r = x.wrapping_add(y).wrapping_add(u64::from(self.state.cf())) & w.mask();
                    self.p(dst, r);
                    if f {
                        self.state.flags_add(w, x, y, r);
                    }
                }),
                Op::Sub { w, f, dst, a, b } => by_width!(w, {
                    let (x, y) = (self.g(a) & w.mask(), self.src(b) & w.mask());
                    let r = x.wrapping_sub(y) & w.mask();
                    self.p(dst, r);
                    if f {
                        self.state.flags_sub(w, x, y, r);
                    }
                }),
                Op::Sbb { w, f, dst, a, b } => by_width!(w, {
                    let (x, y) = (self.g(a) & w.mask(), self.src(b) & w.mask());
                    let r = x.wrapping_sub(y).wrapping_sub(u64::from(self.state.cf())) & w.mask();
                    self.p(dst, r);
                    if f {
                        self.state.flags_sub(w, x, y, r);
                    }
                }),
                Op::And { w, f, dst, a, b } => by_width!(w, {
                    let r = self.g(a) & self.src(b) & w.mask();
                    self.p(dst, r);
                    if f {
                        self.state.flags_logic(w, r);
                    }
                }),
                Op::Or { w, f, dst, a, b } => by_width!(w, {
                    let r = (self.g(a) | self.src(b)) & w.mask();
                    self.p(dst, r);
                    if f {
                        self.state.flags_logic(w, r);
                    }
                }),
                Op::Xor { w, f, dst, a, b } => by_width!(w, {
                    let r = (self.g(a) ^ self.src(b)) & w.mask();
                    self.p(dst, r);
                    if f {
                        self.state.flags_logic(w, r);
                    }
                }),
                Op::Inc { w, f, dst, a } => by_width!(w, {
                    let x = self.g(a) & w.mask();
                    let r = x.wrapping_add(1) & w.mask();
                    self.p(dst, r);
                    if f {
                        let cf = self.state.cf();
                        self.state.flags_add(w, x, 1, r);
                        self.state.set_cf(cf);
                    }
                }),
                Op::Dec { w, f, dst, a } => by_width!(w, {
                    let x = self.g(a) & w.mask();
                    let r = x.wrapping_sub(1) & w.mask();
                    self.p(dst, r);
                    if f {
                        let cf = self.state.cf();
                        self.state.flags_sub(w, x, 1, r);
                        self.state.set_cf(cf);
                    }
                }),
                Op::Neg { w, f, dst, a } => {
                    let x = self.g(a) & w.mask();
                    let r = 0u64.wrapping_sub(x) & w.mask();
                    self.p(dst, r);
                    if f {
                        self.state.flags_sub(w, 0, x, r);
                    }
                }
                Op::Not { w, dst, a } => {
                    let r = !self.g(a) & w.mask();
                    self.p(dst, r);
                }
                Op::Shl { w, f, dst, a, b } => by_width!(w, {
                    let x = self.g(a) & w.mask();
                    let n = self.src(b) as u32 & 0xff;
                    self.shift(w, f, dst, x, flags::shl(w, x, n));
                }),
                Op::Shr { w, f, dst, a, b } => by_width!(w, {
                    let x = self.g(a) & w.mask();
                    let n = self.src(b) as u32 & 0xff;
                    self.shift(w, f, dst, x, flags::shr(w, x, n));
                }),
                Op::Sar { w, f, dst, a, b } => by_width!(w, {
                    let x = self.g(a) & w.mask();
                    let n = self.src(b) as u32 & 0xff;
                    self.shift(w, f, dst, x, flags::sar(w, x, n));
                }),
                Op::Rol { w, f, dst, a, b } => {
                    let x = self.g(a) & w.mask();
                    let n = self.src(b) as u32 & 0xff;
                    self.rotate(f, dst, x, flags::rol(w, x, n));
                }
                Op::Ror { w, f, dst, a, b } => {
                    let x = self.g(a) & w.mask();
                    let n = self.src(b) as u32 & 0xff;
                    self.rotate(f, dst, x, flags::ror(w, x, n));
                }
                Op::Rcl { w, f, dst, a, b } => {
                    let x = self.g(a) & w.mask();
                    let n = self.src(b) as u32 & 0xff;
                    self.rotate(f, dst, x, flags::rcl(w, x, n, self.state.cf()));
                }
                Op::Rcr { w, f, dst, a, b } => {
                    let x = self.g(a) & w.mask();
                    let n = self.src(b) as u32 & 0xff;
                    self.rotate(f, dst, x, flags::rcr(w, x, n, self.state.cf()));
                }
                Op::Shld { w, f, dst, a, b, count } => {
                    let (x, y) = (self.g(a) & w.mask(), self.g(b) & w.mask());
                    let n = self.src(count) as u32 & 0xff;
                    self.shift(w, f, dst, x, flags::shld(w, x, y, n));
                }
                Op::Shrd { w, f, dst, a, b, count } => {
                    let (x, y) = (self.g(a) & w.mask(), self.g(b) & w.mask());
                    let n = self.src(count) as u32 & 0xff;
                    self.shift(w, f, dst, x, flags::shrd(w, x, y, n));
                }
                Op::Mul { w, signed, f, lo, hi, a, b } => self.mul(w, signed, f, lo, hi, a, b),
                Op::Imul { w, f, dst, a, b } => {
                    let up = 64 - w.bits();
                    let x = (self.g(a) << up) as i64 >> up;
                    let y = (self.src(b) << up) as i64 >> up;
                    let wide = i128::from(x) * i128::from(y);
                    let r = wide as u64 & w.mask();
                    self.p(dst, r);
                    if f {
                        let fits = i128::from((r << up) as i64 >> up) == wide;
                        self.state.set_zsp(w, r);
                        self.state.set_cf_of(!fits, !fits);
                        self.state.set_af(false);
                    }
                }
                Op::Div { w, signed, quot, rem, hi, lo, b } => {
                    tri!(self.div(w, signed, quot, rem, hi, lo, b));
                }
                Op::Bsf { w, dst, a, old } => {
                    let x = self.g(a) & w.mask();
                    let r = if x == 0 { self.g(old) & w.mask() } else { u64::from(x.trailing_zeros()) };
                    self.p(dst, r);
                    self.state.set_zf(x == 0);
                }
                Op::Bsr { w, dst, a, old } => {
                    let x = self.g(a) & w.mask();
                    let r = if x == 0 { self.g(old) & w.mask() } else { u64::from(63 - x.leading_zeros()) };
                    self.p(dst, r);
                    self.state.set_zf(x == 0);
                }
                Op::Bit { op, w, dst, a, b } => {
                    let x = self.g(a) & w.mask();
                    let bit = 1u64 << (self.src(b) as u32 & (w.bits() - 1));
                    self.state.set_cf(x & bit != 0);
                    let r = match op {
                        BitOp::Test => x,
                        BitOp::Set => x | bit,
                        BitOp::Reset => x & !bit,
                        BitOp::Complement => x ^ bit,
                    };
                    self.p(dst, r);
                }
                Op::Bswap { w, dst, a } => {
                    let x = self.g(a);
                    let r = match w {
                        Width::Q => x.swap_bytes(),
                        Width::D => u64::from((x as u32).swap_bytes()),
                        // Undefined in the SDM; hardware zeroes the register's low half.
                        _ => 0,
                    };
                    self.p(dst, r);
                }
                Op::Bcd { op, imm } => tri!(self.bcd(op, imm)),
                Op::Cond { cc, dst } => {
                    let v = u64::from(self.state.holds(cc));
                    self.p(dst, v);
                }
                Op::Select { w, dst, c, a, b } => {
                    let v = if self.g(c) != 0 { self.g(a) } else { self.g(b) } & w.mask();
                    self.p(dst, v);
                }
                Op::IsZero { w, dst, a } => {
                    let v = u64::from(self.g(a) & w.mask() == 0);
                    self.p(dst, v);
                }
                Op::GetFlags { dst } => {
                    let v = u64::from(self.state.arith_flags());
                    self.p(dst, v);
                }
                Op::SetFlags { a, mask } => {
                    let v = self.state.arith_flags() & !mask | self.g(a) as u32 & mask;
                    self.state.set_arith_flags(v);
                }
                Op::Cmc => {
                    let cf = self.state.cf();
                    self.state.set_cf(!cf);
                }
                Op::Load { w, dst, ref mem } => {
                    let lin = self.offset(mem);
                    self.current_op = i;
                    let v = tri!(self.load(bus, w, lin));
                    self.p(dst, v);
                    poll!();
                }
                Op::Store { w, a, ref mem } => {
                    let lin = self.offset(mem);
                    let v = self.g(a);
                    self.current_op = i;
                    tri!(self.store(bus, w, lin, v));
                    poll!();
                }
                Op::LoadRmw { w, dst, ref mem } => {
                    let lin = self.offset(mem);
                    self.current_op = i;
                    let user = self.user();
                    tri!(self.probe_write(lin, w.bytes(), user));
                    let v = tri!(self.load(bus, w, lin));
                    self.p(dst, v);
                    poll!();
                }
                Op::LoadSeg { w, dst, ref mem } => {
                    let off = self.offset(mem);
                    self.current_op = i;
                    let v = tri!(self.load_seg_w(bus, w, mem.seg, off));
                    self.p(dst, v);
                    poll!();
                }
                Op::StoreSeg { w, a, ref mem } => {
                    let off = self.offset(mem);
                    let v = self.g(a);
                    self.current_op = i;
                    tri!(self.store_seg_w(bus, w, mem.seg, off, v));
                    poll!();
                }
                Op::LoadRmwSeg { w, dst, ref mem } => {
                    let off = self.offset(mem);
                    self.current_op = i;
                    tri!(self.probe_seg(mem.seg, off, w.bytes()));
                    let v = tri!(self.load_seg_w(bus, w, mem.seg, off));
                    self.p(dst, v);
                    poll!();
                }
                Op::ProbeSeg { w, ref mem } => {
                    let off = self.offset(mem);
                    self.current_op = i;
                    tri!(self.probe_seg(mem.seg, off, w.bytes()));
                }
                Op::LoadV { dst, ref mem, aligned } => {
                    self.current_op = i;
                    tri!(self.load_vector(bus, dst, mem, aligned));
                    poll!();
                }
                Op::StoreV { a, ref mem, aligned } => {
                    self.current_op = i;
                    tri!(self.store_vector(bus, a, mem, aligned));
                    poll!();
                }
                Op::GetV { dst, a, hi } => {
                    let v = self.state.vectors[usize::from(a & 31)];
                    self.p(dst, if hi { (v >> 64) as u64 } else { v as u64 });
                }
                Op::SetV { dst, a, hi, clear } => {
                    let new = u128::from(self.g(a));
                    let v = &mut self.state.vectors[usize::from(dst & 31)];
                    let old = if clear { 0 } else { *v };
                    *v = if hi { old & u128::from(u64::MAX) | new << 64 } else { old & !u128::from(u64::MAX) | new };
                }
                Op::MovV { dst, a } => {
                    self.state.vectors[usize::from(dst & 31)] = self.state.vectors[usize::from(a & 31)];
                }
                Op::Vec { op, dst, a, b, imm } => tri!(vec_ops::exec(&mut self.state, op, dst, a, b, imm)),
                Op::Fpu { op, sti, a, b } => tri!(x87::exec(&mut self.state, op, sti, a, b)),
                Op::Call { helper, dst, a, b, imm } => {
                    self.current_op = i;
                    self.stats.helpers += 1;
                    tri!(helpers::call(self, bus, helper, dst, a, b, imm));
                    poll!();
                }
                Op::Nop => {}
                Op::Undefined => fail!(Fault::ud()),
                Op::NotAvailable => fail!(Fault::nm()),
                Op::Jump { w, rel } => {
                    tri!(self.go(self.state.rip.wrapping_add(rel as i64 as u64) & w.mask()));
                    self.retired += count as u64;
                    return Ok(std::mem::take(&mut self.bail));
                }
                Op::Branch { cc, w, taken, fall } => {
                    if self.state.holds(cc) {
                        tri!(self.go(self.state.rip.wrapping_add(taken as i64 as u64) & w.mask()));
                    } else {
                        // Only a branch that is taken cuts IP to the operand size (SDM vol. 2, Jcc).
                        self.state.rip = self.wrap_ip(self.state.rip.wrapping_add(fall as i64 as u64));
                    }
                    self.retired += count as u64;
                    return Ok(std::mem::take(&mut self.bail));
                }
                Op::BranchIf { c, w, taken, fall } => {
                    if self.g(c) != 0 {
                        tri!(self.go(self.state.rip.wrapping_add(taken as i64 as u64) & w.mask()));
                    } else {
                        // Only a branch that is taken cuts IP to the operand size (SDM vol. 2, Jcc).
                        self.state.rip = self.wrap_ip(self.state.rip.wrapping_add(fall as i64 as u64));
                    }
                    self.retired += count as u64;
                    return Ok(std::mem::take(&mut self.bail));
                }
                Op::JumpInd { a } => {
                    tri!(self.go(self.g(a)));
                    self.retired += count as u64;
                    return Ok(std::mem::take(&mut self.bail));
                }
                Op::CheckTarget { a } => {
                    if self.g(a) > u64::from(self.state.segs[1].limit) {
                        fail!(Fault::gp(0));
                    }
                }
                Op::Fall { rel } => {
                    self.state.rip = self.wrap_ip(self.state.rip.wrapping_add(rel as i64 as u64));
                    self.retired += count as u64;
                    return Ok(std::mem::take(&mut self.bail));
                }
                Op::After { rel } => {
                    self.state.rip = self.wrap_ip(self.state.rip.wrapping_add(rel as i64 as u64));
                    self.retired += count as u64;
                    self.bail = false;
                    return Ok(true);
                }
                Op::Exit => {
                    self.retired += count as u64;
                    self.bail = false;
                    return Ok(true);
                }
            }
            i += 1;
        }
        // Out of budget or asked to stop, at an instruction boundary.
        self.bail = false;
        if i < ops.len() {
            self.leave_before(id, i);
        }
        Ok(true)
    }
}
