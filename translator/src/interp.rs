//! Tier 0: the interpreter. It looks blocks up, runs their operations one after the other, and is the oracle that
//! compiled code is compared with.

use crate::block::{Id, Key, Mark};
use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res, vector};
use crate::flags;
use crate::helpers;
use crate::ir::{BitOp, Mem, Op, Src, Width};
use crate::lift::{vector as vec_ops, x87};
use crate::mmu::shadow;
use crate::mmu::walk::Access;
use crate::model::Model;
use crate::state::{SegReg, Slot, slot};

impl Cpu {
    /// Runs blocks until something needs the run loop: a pin, a halt, a shadow, single-stepping, the end of the budget.
    pub(crate) fn run_blocks(&mut self, bus: &mut dyn Bus, end: u64) -> Res<()> {
        loop {
            let id = self.lookup(bus)?;
            let special = self.run_block(bus, id, end - self.retired)?;
            if special || self.retired >= end || self.pins.get() & self.watched() != 0 {
                return Ok(());
            }
        }
    }

    /// Runs one instruction.
    pub(crate) fn run_one(&mut self, bus: &mut dyn Bus) -> Res<()> {
        let id = self.lookup(bus)?;
        self.run_block(bus, id, 1).map(|_| ())
    }

    /// The block at CS:RIP, decoded and lifted if need be. Faults are those of the fetch.
    #[inline]
    fn lookup(&mut self, bus: &mut dyn Bus) -> Res<Id> {
        let lin = self.state.segs[1].base.wrapping_add(self.state.rip) & 0xffff_ffff;
        let mode = self.state.mode;
        if let Some(id) = self.blocks.hint(lin, mode, self.shadow.generation) {
            let last = self.state.rip + u64::from(self.blocks.get(id).len) - 1;
            if last <= u64::from(self.state.segs[1].limit) {
                return Ok(id);
            }
        }
        self.lookup_slow(bus, lin, mode)
    }

    #[cold]
    #[inline(never)]
    fn lookup_slow(&mut self, bus: &mut dyn Bus, lin: u64, mode: u32) -> Res<Id> {
        let limit = u64::from(self.state.segs[1].limit);
        if self.state.rip > limit {
            return Err(Fault::gp(0));
        }
        let user = self.user();
        let entry = self.translate(lin, Access::Fetch, user)?;
        if entry & shadow::IO != 0 {
            return self.lift_uncached(bus, lin);
        }
        let key = Key { at: (entry & !0xfff) | (lin & 0xfff), mode };
        if let Some(id) = self.blocks.find(key) {
            let (len, tail) = (self.blocks.get(id).len, self.blocks.get(id).tail);
            let fits = self.state.rip + u64::from(len) - 1 <= limit;
            let same_tail = match tail {
                None => true,
                Some(page) => {
                    let next = (lin & !0xfff).wrapping_add(4096) & 0xffff_ffff;
                    let e = self.translate(next, Access::Fetch, user)?;
                    e & shadow::IO == 0 && e & !0xfff == page
                }
            };
            if fits && same_tail {
                self.blocks.set_hint(lin, mode, self.shadow.generation, id);
                return Ok(id);
            }
            if !fits {
                return self.lift_uncached(bus, lin);
            }
            // The page behind the last instruction is another one now.
            self.code_written(key.at, 1);
        }
        let block = self.lift_block(bus, lin, key.at, limit)?;
        let wraps = self.model == Model::I8086 && self.state.rip + 15 > 0xffff;
        if self.state.rip + u64::from(block.len) - 1 > limit || wraps {
            return Ok(self.blocks.insert_private(block));
        }
        self.stats.blocks_lifted += 1;
        let pages: Vec<u64> = std::iter::once(key.at & !0xfff).chain(block.tail).collect();
        for page in pages {
            if !self.mem.is_code(page) {
                self.shadow.protect(page);
            }
        }
        let mem = self.mem.clone();
        let id = self.blocks.insert(key, block, &mem);
        self.blocks.set_hint(lin, mode, self.shadow.generation, id);
        Ok(id)
    }

    /// Lifts the one instruction at RIP into a block that is used once: code in device memory or at a segment's limit.
    fn lift_uncached(&mut self, bus: &mut dyn Bus, lin: u64) -> Res<Id> {
        let block = self.lift_single(bus, lin)?;
        Ok(self.blocks.insert_private(block))
    }

    /// Runs at most `budget` instructions of a block. True if the run loop has to look at the state.
    #[inline]
    fn run_block(&mut self, bus: &mut dyn Bus, id: Id, budget: u64) -> Res<bool> {
        let block = self.blocks.get_mut(id);
        let (ops, serial) = (std::mem::take(&mut block.ops), block.serial);
        self.blocks.running = Some(id);
        let (start, end) = (self.state.rip, self.retired + budget);
        let mut result = self.exec(bus, &ops, id, budget);
        // A block that branches to its own start goes round without a new look-up.
        while matches!(result, Ok(false)) && self.state.rip == start && self.retired < end {
            if self.pins.get() & self.watched() != 0 {
                break;
            }
            result = self.exec(bus, &ops, id, end - self.retired);
        }
        self.blocks.running = None;
        if let Some(b) = self.blocks.alive(id, serial) {
            b.ops = ops;
        }
        result
    }

    fn mark(&self, id: Id, n: usize) -> Option<Mark> {
        self.blocks.get(id).marks.get(n).copied()
    }

    /// Number of instructions of block `id` that begin at or before operation `op`.
    fn begun(&self, id: Id, op: usize) -> usize {
        self.blocks.get(id).marks.partition_point(|m| usize::from(m.op) <= op)
    }

    #[inline(always)]
    fn g(&self, s: Slot) -> u64 {
        self.state.slots[s as usize]
    }

    #[inline(always)]
    fn p(&mut self, s: Slot, v: u64) {
        self.state.slots[s as usize] = v;
    }

    #[inline(always)]
    fn src(&self, s: Src) -> u64 {
        self.state.slots[s.slot as usize].wrapping_add(s.imm as i64 as u64)
    }

    /// The offset of a memory operand.
    #[inline(always)]
    pub(crate) fn offset(&self, m: &Mem) -> u64 {
        let off = self.g(m.base).wrapping_add(self.g(m.index) << m.scale).wrapping_add(m.disp as i64 as u64);
        if m.asize == Width::D { off & 0xffff_ffff } else { off & m.asize.mask() }
    }

    #[inline(always)]
    fn load(&mut self, bus: &mut dyn Bus, w: Width, lin: u64) -> Res<u64> {
        let user = self.user();
        match w {
            Width::D => self.read_lin::<u32>(bus, lin, user).map(u64::from),
            Width::B => self.read_lin::<u8>(bus, lin, user).map(u64::from),
            Width::W => self.read_lin::<u16>(bus, lin, user).map(u64::from),
            Width::Q => self.read_lin::<u64>(bus, lin, user),
        }
    }

    #[inline(always)]
    fn store(&mut self, bus: &mut dyn Bus, w: Width, lin: u64, v: u64) -> Res<()> {
        let user = self.user();
        match w {
            Width::D => self.write_lin(bus, lin, user, v as u32),
            Width::B => self.write_lin(bus, lin, user, v as u8),
            Width::W => self.write_lin(bus, lin, user, v as u16),
            Width::Q => self.write_lin(bus, lin, user, v),
        }
    }

    fn load_seg_w(&mut self, bus: &mut dyn Bus, w: Width, seg: SegReg, off: u64) -> Res<u64> {
        match w {
            Width::B => self.read_seg::<u8>(bus, seg, off).map(u64::from),
            Width::W => self.read_seg::<u16>(bus, seg, off).map(u64::from),
            Width::D => self.read_seg::<u32>(bus, seg, off).map(u64::from),
            Width::Q => self.read_seg::<u64>(bus, seg, off),
        }
    }

    fn store_seg_w(&mut self, bus: &mut dyn Bus, w: Width, seg: SegReg, off: u64, v: u64) -> Res<()> {
        match w {
            Width::B => self.write_seg(bus, seg, off, v as u8),
            Width::W => self.write_seg(bus, seg, off, v as u16),
            Width::D => self.write_seg(bus, seg, off, v as u32),
            Width::Q => self.write_seg(bus, seg, off, v),
        }
    }

    #[inline(always)]
    fn shift(&mut self, w: Width, f: bool, dst: Slot, a: u64, shifted: flags::Shifted) {
        match shifted {
            Some((r, cf, of)) => {
                self.p(dst, r);
                if f {
                    self.state.set_zsp(w, r);
                    self.state.set_cf_of(cf, of);
                    self.state.set_af(false);
                }
            }
            None => self.p(dst, a),
        }
    }

    #[inline(always)]
    fn rotate(&mut self, f: bool, dst: Slot, a: u64, rotated: flags::Shifted) {
        match rotated {
            Some((r, cf, of)) => {
                self.p(dst, r);
                if f {
                    self.state.set_cf_of(cf, of);
                }
            }
            None => self.p(dst, a),
        }
    }

    /// Leaves the block at operation `op` before its instruction: RIP and the count are those of its start.
    #[cold]
    #[inline(never)]
    fn leave_before(&mut self, id: Id, op: usize) {
        let n = self.begun(id, op).saturating_sub(1);
        let offset = self.mark(id, n).map_or(0, |m| m.offset);
        self.retired += n as u64;
        self.state.rip = self.wrap_ip(self.state.rip.wrapping_add(u64::from(offset)));
    }

    fn wrap_ip(&self, ip: u64) -> u64 {
        // An 8086 wraps at 64 KiB; everything later runs into the segment limit instead.
        if self.model == Model::I8086 { ip & 0xffff } else { ip & 0xffff_ffff }
    }

    /// Commits a near transfer, checked against the code segment's limit: the fault belongs to the branch itself.
    #[inline(always)]
    fn go(&mut self, ip: u64) -> Res<()> {
        if ip > u64::from(self.state.segs[1].limit) {
            return Err(Fault::gp(0));
        }
        self.state.rip = ip;
        Ok(())
    }

    /// Runs operations until a terminator, a fault, the budget, or a request to stop.
    fn exec(&mut self, bus: &mut dyn Bus, ops: &[Op], id: Id, budget: u64) -> Res<bool> {
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
                Op::TestFlags { w, a } => by_width!(w, {
                    let r = self.g(a) & w.mask();
                    self.state.flags_logic(w, r);
                }),
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

    #[expect(clippy::too_many_arguments, reason = "the fields of one operation")]
    fn mul(&mut self, w: Width, signed: bool, f: bool, lo: Slot, hi: Slot, a: Slot, b: Slot) {
        let up = 64 - w.bits();
        let (x, y) = (self.g(a), self.g(b));
        let wide = if signed {
            (i128::from((x << up) as i64 >> up) * i128::from((y << up) as i64 >> up)) as u128
        } else {
            u128::from(x & w.mask()) * u128::from(y & w.mask())
        };
        let l = wide as u64 & w.mask();
        let h = (wide >> w.bits()) as u64 & w.mask();
        self.p(lo, l);
        self.p(hi, h);
        if f {
            let fill = if signed && l >> (w.bits() - 1) & 1 != 0 { w.mask() } else { 0 };
            self.state.set_zsp(w, l);
            self.state.set_cf_of(h != fill, h != fill);
            self.state.set_af(false);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one operation")]
    fn div(&mut self, w: Width, signed: bool, quot: Slot, rem: Slot, hi: Slot, lo: Slot, b: Slot) -> Res<()> {
        let overflow = Fault::new(vector::DE);
        let n = w.bits();
        let d = self.g(b) & w.mask();
        if d == 0 {
            return Err(overflow);
        }
        let wide = u128::from(self.g(hi) & w.mask()) << n | u128::from(self.g(lo) & w.mask());
        let (q, r) = if signed {
            let up = 128 - 2 * n;
            let x = (wide << up) as i128 >> up;
            let d = i128::from((d << (64 - n)) as i64 >> (64 - n));
            let (Some(q), Some(r)) = (x.checked_div(d), x.checked_rem(d)) else { return Err(overflow) };
            // The 8086 and 8088 also refuse the most negative quotient.
            let min = -(1i128 << (n - 1)) + i128::from(self.model == Model::I8086);
            if q < min || q > (1i128 << (n - 1)) - 1 {
                return Err(overflow);
            }
            (q as u64, r as u64)
        } else {
            let q = wide / u128::from(d);
            if q > u128::from(w.mask()) {
                return Err(overflow);
            }
            (q as u64, (wide % u128::from(d)) as u64)
        };
        self.p(quot, q & w.mask());
        self.p(rem, r & w.mask());
        Ok(())
    }

    fn vector_lin(&mut self, mem: &Mem, write: bool, aligned: bool) -> Res<u64> {
        let off = self.offset(mem);
        let lin = self.seg_lin(mem.seg, off, 16, write)?;
        if aligned && lin & 15 != 0 {
            return Err(Fault::gp(0));
        }
        Ok(lin)
    }

    fn load_vector(&mut self, bus: &mut dyn Bus, dst: u8, mem: &Mem, aligned: bool) -> Res<()> {
        let lin = self.vector_lin(mem, false, aligned)?;
        let user = self.user();
        let lo = self.read_lin::<u64>(bus, lin, user)?;
        let hi = self.read_lin::<u64>(bus, lin.wrapping_add(8), user)?;
        self.state.vectors[usize::from(dst & 31)] = u128::from(hi) << 64 | u128::from(lo);
        Ok(())
    }

    fn store_vector(&mut self, bus: &mut dyn Bus, a: u8, mem: &Mem, aligned: bool) -> Res<()> {
        let lin = self.vector_lin(mem, true, aligned)?;
        let user = self.user();
        self.probe_write(lin, 16, user)?;
        let v = self.state.vectors[usize::from(a & 31)];
        self.write_lin(bus, lin, user, v as u64)?;
        self.write_lin(bus, lin.wrapping_add(8), user, (v >> 64) as u64)
    }
}

const _: () = assert!(slot::TEMP > slot::ZERO && size_of::<Op>() <= 16);
