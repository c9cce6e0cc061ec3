//! What compiled code keeps besides the architectural state: its frame, at the end of [`State`].
//!
//! Compiled code works on general registers in host registers and leaves the arithmetic flags *lazy*: instead of the
//! four flag slots it stores the operation that made them and its operands. [`State::resolve_flags`] turns that into
//! slots; it runs whenever compiled code is left or calls into the host, so that nobody else ever sees lazy flags.

use crate::flags;
use crate::ir::Width;
use crate::state::{SegReg, Segment, State, attr, eflags};

/// Lazy flags: which operation made them. 0: the flag slots are up to date. Otherwise a base plus the width
/// (see [`Width`]); a high half that is not 0 says that INC or DEC followed.
pub mod lazy {
    /// `a + b`.
    pub const ADD: u32 = 1;
    /// `a - b`.
    pub const SUB: u32 = 5;
    /// A logical operation with result `a`.
    pub const LOGIC: u32 = 9;
    /// `a << b`, b constant and not 0.
    pub const SHL: u32 = 13;
    /// `a >> b`, b constant and not 0.
    pub const SHR: u32 = 17;
    /// As [`SHR`], signed.
    pub const SAR: u32 = 21;
    /// A product with result `a`, which overflowed if `b` is not 0.
    pub const PRODUCT: u32 = 25;
    /// `a + b` and a carry, with result `r`.
    pub const ADC: u32 = 29;
    /// `a - b` and a borrow, with result `r`.
    pub const SBB: u32 = 33;
    /// In the high half: INC whose result is `over`. CF is that of the low half.
    pub const INC: u32 = 1;
    /// In the high half: DEC whose result is `over`.
    pub const DEC: u32 = 5;
}

/// What a region's function returns: why compiled code was left, and of the exits that leave in the middle of a block
/// where. See [`exit::pack`].
pub mod exit {
    /// RIP is in place: look for the next region there.
    pub const JUMP: u32 = 0;
    /// The instruction at the exit needs the interpreter: an access missed, or something rare.
    pub const MISS: u32 = 1;
    /// A helper raised a fault.
    pub const FAULT: u32 = 2;
    /// Too few instructions are left for the next stretch.
    pub const BUDGET: u32 = 3;
    /// A helper asked to stop at this instruction boundary.
    pub const STOP: u32 = 4;
    /// A helper has set RIP and the run loop has to look at the state.
    pub const DONE: u32 = 5;
    /// As [`STOP`], with RIP in place.
    pub const STOP_AT: u32 = 6;

    /// Why, how many instructions are to be taken off the count (24 bits, signed: some may have been taken off already),
    /// and the distance from the anchor, in one number. 0 is [`JUMP`].
    pub fn pack(why: u32, done: i32, delta: i32) -> u64 {
        u64::from(why) << 56 | u64::from(done as u32 & 0xff_ffff) << 32 | u64::from(delta as u32)
    }

    /// The parts of [`pack`].
    pub fn unpack(packed: u64) -> (u32, i32, i32) {
        ((packed >> 56) as u32, (packed >> 24) as i32 >> 8, packed as i32)
    }
}

/// Accesses that compiled code asks the host to make: what, packed into one number.
pub mod access {
    use crate::ir::Width;
    use crate::state::SegReg;

    /// A load.
    pub const LOAD: u32 = 0;
    /// A store.
    pub const STORE: u32 = 1;
    /// The load of a read-modify-write.
    pub const LOAD_RMW: u32 = 2;
    /// What a write would raise.
    pub const PROBE: u32 = 3;

    /// Packs. `seg` for accesses with the segment's checks; `last` if nothing behind the access makes the interpreter
    /// run the instruction again.
    pub fn pack(what: u32, w: Width, seg: Option<SegReg>, last: bool) -> u32 {
        what | (w as u32) << 2 | seg.map_or(0, |s| 0x10 | (s as u32) << 5) | u32::from(last) << 8
    }

    /// Unpacks what [`pack`] made.
    pub fn unpack(v: u32) -> (u32, Width, Option<SegReg>, bool) {
        let w = [Width::B, Width::W, Width::D, Width::Q][(v >> 2 & 3) as usize];
        let seg = (v & 0x10 != 0).then(|| SegReg::ALL[(v >> 5 & 7).min(5) as usize]);
        (v & 3, w, seg, v >> 8 & 1 != 0)
    }
}

/// A segment as compiled code checks it: an access of `n` bytes at `off` is allowed if `off + n <= read_end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Bounds {
    /// Linear base address.
    pub base: u64,
    /// First offset that cannot be read; 0 when every access needs the slow path.
    pub read_end: u64,
    /// First offset that cannot be written; 0 when every access needs the slow path.
    pub write_end: u64,
}

/// The frame. Addresses are only valid while [`crate::Cpu`] runs compiled code.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Frame {
    /// Instructions that may still run.
    pub left: i64,
    /// RIP of the running region's anchor.
    pub rip_base: u64,
    /// Linear address that missed.
    pub exit_addr: u64,
    /// [`lazy`]: low half, high half.
    pub lazy: u64,
    /// First operand or result.
    pub lazy_a: u64,
    /// Second operand.
    pub lazy_b: u64,
    /// Result of ADC or SBB.
    pub lazy_r: u64,
    /// Result of the INC or DEC on top.
    pub lazy_over: u64,
    /// Host address of linear address 0 in the current view, the permission bytes below it (checked window).
    pub window: usize,
    /// Flat table of the current view.
    pub table: usize,
    /// Host address of RAM.
    pub ram: usize,
    /// One bit for each 8 bytes of RAM that translated code was made from.
    pub chunks: usize,
    /// What a load made by the host returned.
    pub loaded: u64,
    /// The jump cache.
    pub jumps: usize,
    /// The CPU, for helpers.
    pub cpu: usize,
    /// A `&mut dyn Bus` on the caller's stack, for helpers.
    pub bus: usize,
    /// Code that brings floating-point state home; 0 where there is none.
    pub settle: usize,
    /// Host address of the CPU's pins, a 32-bit word.
    pub pins: usize,
    /// `left` at the last STI that compiled code has made by itself; `i64::MIN` for none.
    pub sti_left: i64,
    /// Segments in encoding order.
    pub segs: [Bounds; 6],
    /// What the segment registers were loaded from.
    pub loaded_segs: [Loaded; 6],
}

/// The descriptor that a data segment register was loaded from, as it was in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Loaded {
    /// The selector; [`Loaded::NONE`] if the next load has to look.
    pub selector: u32,
    /// Linear address of the descriptor, which does not cross into another page.
    pub at: u32,
    /// Its eight bytes.
    pub descriptor: u64,
    /// What the register got.
    pub segment: Segment,
}

impl Loaded {
    /// No selector has this value.
    pub const NONE: u32 = u32::MAX;
}

impl Default for Loaded {
    fn default() -> Self {
        Loaded { selector: Loaded::NONE, at: 0, descriptor: 0, segment: Segment::default() }
    }
}

impl State {
    /// Makes the flag slots say what the lazy flags say.
    #[inline]
    pub(crate) fn resolve_flags(&mut self) {
        if self.frame.lazy != 0 {
            self.resolve_lazy();
        }
    }

    #[cold]
    fn resolve_lazy(&mut self) {
        let (kind, over) = (self.frame.lazy as u32, (self.frame.lazy >> 32) as u32);
        self.frame.lazy = 0;
        let width = |n: u32| [Width::B, Width::W, Width::D, Width::Q][(n & 3) as usize];
        let (a, b) = (self.frame.lazy_a, self.frame.lazy_b);
        match kind {
            0 => {}
            lazy::ADD..lazy::SUB => {
                let w = width(kind - lazy::ADD);
                let (a, b) = (a & w.mask(), b & w.mask());
                self.flags_add(w, a, b, a.wrapping_add(b) & w.mask());
            }
            lazy::SUB..lazy::LOGIC => {
                let w = width(kind - lazy::SUB);
                let (a, b) = (a & w.mask(), b & w.mask());
                self.flags_sub(w, a, b, a.wrapping_sub(b) & w.mask());
            }
            lazy::LOGIC..lazy::SHL => {
                let w = width(kind - lazy::LOGIC);
                self.flags_logic(w, a & w.mask());
            }
            lazy::SHL..lazy::PRODUCT => {
                let w = width(kind - lazy::SHL);
                let shift = match kind {
                    lazy::SHL..lazy::SHR => flags::shl,
                    lazy::SHR..lazy::SAR => flags::shr,
                    _ => flags::sar,
                };
                if let Some((r, cf, of)) = shift(w, a & w.mask(), b as u32) {
                    self.set_zsp(w, r);
                    self.set_cf_of(cf, of);
                    self.set_af(false);
                }
            }
            lazy::PRODUCT..lazy::ADC => {
                let w = width(kind - lazy::PRODUCT);
                self.set_zsp(w, a & w.mask());
                self.set_cf_of(b != 0, b != 0);
                self.set_af(false);
            }
            _ => {
                let subtract = kind >= lazy::SBB;
                let w = width(kind - if subtract { lazy::SBB } else { lazy::ADC });
                let (a, b, r) = (a & w.mask(), b & w.mask(), self.frame.lazy_r & w.mask());
                if subtract { self.flags_sub(w, a, b, r) } else { self.flags_add(w, a, b, r) }
            }
        }
        if over == 0 {
            return;
        }
        let cf = self.cf();
        if over < lazy::DEC {
            let w = width(over - lazy::INC);
            let r = self.frame.lazy_over & w.mask();
            self.flags_add(w, r.wrapping_sub(1) & w.mask(), 1, r);
        } else {
            let w = width(over - lazy::DEC);
            let r = self.frame.lazy_over & w.mask();
            self.flags_sub(w, r.wrapping_add(1) & w.mask(), 1, r);
        }
        self.set_cf(cf);
    }

    /// Recomputes a segment as compiled code checks it.
    pub(crate) fn update_bounds(&mut self, n: SegReg) {
        let checks_rights = self.cr0 & crate::state::cr::PE != 0 && self.sys_flags & eflags::VM == 0;
        self.frame.segs[n as usize] = bounds(&self.segs[n as usize], checks_rights);
        if self.frame.loaded_segs[n as usize].segment != self.segs[n as usize] {
            self.frame.loaded_segs[n as usize] = Loaded::default();
        }
    }

    /// A descriptor table has moved: the next load of any segment register looks its descriptor up.
    pub(crate) fn forget_descriptors(&mut self) {
        self.frame.loaded_segs = [Loaded::default(); 6];
    }
}

/// Expand-down and unusable segments take the slow path.
fn bounds(s: &Segment, checks_rights: bool) -> Bounds {
    let code = s.attr & attr::CODE != 0;
    let simple = code || s.attr & attr::EC == 0;
    let end = u64::from(s.limit) + 1;
    let readable = simple && (!checks_rights || (s.present() && (!code || s.attr & attr::RW != 0)));
    let writable = simple && (!checks_rights || (s.present() && !code && s.attr & attr::RW != 0));
    Bounds {
        base: s.base & 0xffff_ffff,
        read_end: if readable { end } else { 0 },
        write_end: if writable { end } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;

    #[test]
    fn lazy_flags_are_those_of_the_operation() {
        let mut s = State::reset(Model::Max);
        s.frame.lazy = u64::from(lazy::SUB + Width::D as u32);
        (s.frame.lazy_a, s.frame.lazy_b) = (0, 1);
        s.resolve_flags();
        assert_eq!(s.arith_flags(), 0x95);
        // INC of 7Fh on top keeps CF.
        s.frame.lazy = u64::from(lazy::INC + Width::B as u32) << 32;
        s.frame.lazy_over = 0x80;
        s.resolve_flags();
        assert_eq!(s.arith_flags(), 0x891);
        assert_eq!(s.frame.lazy, 0);
        s.frame.lazy = u64::from(lazy::LOGIC + Width::W as u32) | u64::from(lazy::DEC + Width::W as u32) << 32;
        (s.frame.lazy_a, s.frame.lazy_over) = (3, 0x7fff);
        s.resolve_flags();
        assert_eq!(s.arith_flags(), 0x814);
    }

    #[test]
    fn exits_come_apart_as_they_were_put_together() {
        for parts in
            [(exit::JUMP, 0, 0), (exit::MISS, 3, -7), (exit::STOP_AT, -3, 7), (exit::FAULT, 0x7f_ffff, i32::MIN)]
        {
            assert_eq!(exit::unpack(exit::pack(parts.0, parts.1, parts.2)), parts);
        }
    }

    #[test]
    fn bounds_refuse_what_the_segment_refuses() {
        let data = Segment { base: 0x1000, limit: 0xff, attr: attr::P | attr::S | attr::RW, selector: 8 };
        assert_eq!(bounds(&data, true), Bounds { base: 0x1000, read_end: 0x100, write_end: 0x100 });
        let down = Segment { attr: data.attr | attr::EC, ..data };
        assert_eq!(bounds(&down, true).read_end, 0);
        let code = Segment { attr: data.attr | attr::CODE, ..data };
        assert_eq!((bounds(&code, true).read_end, bounds(&code, true).write_end), (0x100, 0));
        assert_eq!(bounds(&Segment::default(), true).read_end, 0);
    }
}
