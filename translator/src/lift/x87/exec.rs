//! What the x87 operations do to the register stack, tags and status word; the arithmetic is [`crate::fp::x87`].

use crate::fault::{Fault, Res, vector};
use crate::fp::x87::{self, Control, Outcome};
use crate::fp::{F80, Relation, flag};
use crate::state::{Slot, State};

/// x87 operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[rustfmt::skip]
#[expect(missing_docs, reason = "named as the instructions")]
pub enum FpuOp {
    /// #MF if an unmasked exception is pending.
    Wait,
    /// Last data pointer: segment number in sti, offset a.
    DataPointer,
    /// Last instruction: offset a, opcode b.
    CodePointer,
    Init, Clear, StatusWord, ControlWord, LoadControl,
    Load80, Load32, Load64, LoadI16, LoadI32, LoadI64, LoadBcd, LoadSt,
    /// Slots a (and b) <- ST(0) converted; sti bit 4 pops. Without a result (unmasked exception) a later store is skipped.
    Get80, Get32, Get64, GetI16, GetI32, GetI64, TruncI16, TruncI32, TruncI64, GetBcd,
    StoreSt, Exchange, Free, Rotate, MoveIf,
    /// sti is the kind: add, mul, sub, subr, div, divr.
    Arith32, Arith64, ArithI16, ArithI32,
    /// sti is register number, kind << 3.
    ArithSt0, ArithSti, ArithStiPop,
    Compare32, Compare64, CompareI16, CompareI32, Compare, CompareQuiet, CompareFlags, CompareFlagsQuiet,
    Chs, Abs, Tst, Xam, One, L2t, L2e, Pi, Lg2, Ln2, Zero,
    F2xm1, Fyl2x, Fyl2xp1, Tan, Patan, Xtract, Rem, Rem1, Sqrt, Sincos, Sin, Cos, Rndint, Scale,
}

const POP: u8 = 0x10;
const POP2: u8 = 0x20;
/// In sti of StoreSt: an empty ST(0) is no stack underflow.
pub(super) const UNCHECKED: u8 = 0x40;
/// Slot b's value after a store operation that an unmasked exception suppressed.
pub(crate) const SUPPRESSED: u64 = u64::MAX;

const OPS: [x87::Op; 6] = [x87::Op::Add, x87::Op::Mul, x87::Op::Sub, x87::Op::SubR, x87::Op::Div, x87::Op::DivR];

impl State {
    fn phys(&self, i: u8) -> usize {
        usize::from(self.fpu.top().wrapping_add(i) & 7)
    }
    fn st(&self, i: u8) -> F80 {
        self.fpu.regs[self.phys(i)]
    }
    fn set_st(&mut self, i: u8, v: F80) {
        let p = self.phys(i);
        self.fpu.regs[p] = v;
        self.fpu.empty &= !(1 << p);
    }
    fn is_empty(&self, i: u8) -> bool {
        self.fpu.empty >> self.phys(i) & 1 != 0
    }
    fn pop(&mut self) {
        self.fpu.empty |= 1 << self.phys(0);
        let top = self.fpu.top();
        self.fpu.set_top(top.wrapping_add(1));
    }
    fn pop_by(&mut self, how: u8) {
        if how & (POP | POP2) != 0 {
            self.pop();
        }
        if how & POP2 != 0 {
            self.pop();
        }
    }
    fn control(&self) -> Control {
        Control(self.fpu.cw)
    }
    /// Adds exceptions and condition codes; summary bits follow.
    fn raise_x87(&mut self, cleared: u16, status: u16) {
        self.fpu.sw = self.fpu.sw & !cleared | status;
        self.x87_summary();
    }
    /// ES and B follow from the exceptions that are not masked.
    pub(crate) fn x87_summary(&mut self) {
        if self.control().unmasked(self.fpu.sw) {
            self.fpu.sw |= flag::ES | flag::B;
        } else {
            self.fpu.sw &= !(flag::ES | flag::B);
        }
    }
    fn invalid_masked(&self) -> bool {
        self.fpu.cw & flag::IE != 0
    }
    /// Stack underflow; true if the masked response (the indefinite) is to be given.
    fn underflow(&mut self) -> bool {
        self.underflow_clearing(0)
    }
    /// Stack underflow of an instruction that clears C2 too when it completes.
    fn underflow_clearing(&mut self, clears: u16) -> bool {
        self.raise_x87(flag::C1 | clears & flag::C2, flag::IE | flag::SF);
        self.invalid_masked()
    }
    /// Pushes `v`, or on overflow the indefinite.
    fn push(&mut self, v: F80) {
        if !self.is_empty(7) {
            self.raise_x87(flag::C1, flag::IE | flag::SF | flag::C1);
            if !self.invalid_masked() {
                return;
            }
            self.push_unchecked(F80::INDEFINITE);
            return;
        }
        self.push_unchecked(v);
    }
    fn push_unchecked(&mut self, v: F80) {
        let top = self.fpu.top();
        self.fpu.set_top(top.wrapping_sub(1));
        self.set_st(0, v);
    }
    fn push_outcome(&mut self, o: Outcome<F80>) {
        if !self.is_empty(7) {
            self.push(o.value);
            return;
        }
        self.raise_x87(flag::C1, o.status);
        if o.write {
            self.push(o.value);
        }
    }
    fn put(&mut self, i: u8, o: Outcome<F80>, clears: u16, pop: u8) {
        self.raise_x87(clears, o.status);
        if o.write {
            self.set_st(i, o.value);
            self.pop_by(pop);
        }
    }
    /// ST(0) <- f(ST(0)).
    fn unary(&mut self, clears: u16, f: impl FnOnce(F80, Control) -> Outcome<F80>) {
        if self.is_empty(0) {
            if self.underflow_clearing(clears) {
                self.set_st(0, F80::INDEFINITE);
            }
            return;
        }
        let o = f(self.st(0), self.control());
        self.put(0, o, clears, 0);
    }
    /// ST(to) <- f(ST(0), ST(1)), popping by `pop`.
    fn two(&mut self, to: u8, pop: u8, clears: u16, f: impl FnOnce(F80, F80, Control) -> Outcome<F80>) {
        if self.is_empty(0) || self.is_empty(1) {
            if self.underflow_clearing(clears) {
                self.set_st(to, F80::INDEFINITE);
                self.pop_by(pop);
            }
            return;
        }
        let o = f(self.st(0), self.st(1), self.control());
        // Without a number for a result there is no quotient: C0 and C3 stay.
        let number = o.write && !o.value.is_nan() && o.status & flag::IE == 0;
        let clears = if number { clears } else { clears & (flag::C1 | flag::C2) };
        self.put(to, o, clears, pop);
    }
    fn relation(&mut self, pop: u8, quiet_empty: bool, f: impl FnOnce(F80, Control) -> Outcome<Relation>) {
        if self.is_empty(0) || quiet_empty {
            let masked = self.underflow();
            self.fpu.sw = self.fpu.sw & !flag::CC | flag::C0 | flag::C2 | flag::C3;
            if masked {
                self.pop_by(pop);
            }
            return;
        }
        let o = f(self.st(0), self.control());
        self.raise_x87(flag::C1, o.status);
        // The condition codes are set even when an unmasked exception keeps the stack as it was: docs/verdicts.md.
        self.fpu.sw = self.fpu.sw & !flag::CC | o.value.condition_codes();
        if o.write {
            self.pop_by(pop);
        }
    }
    /// A conversion of ST(0) for a store: the bits, or `None` when suppressed.
    fn get(
        &mut self,
        pop: u8,
        indefinite: (u64, u64),
        f: impl FnOnce(F80, Control) -> Outcome<(u64, u64)>,
    ) -> Option<(u64, u64)> {
        if self.is_empty(0) {
            if !self.underflow() {
                return None;
            }
            self.pop_by(pop);
            return Some(indefinite);
        }
        let o = f(self.st(0), self.control());
        self.raise_x87(flag::C1, o.status);
        if !o.write {
            return None;
        }
        self.pop_by(pop);
        Some(o.value)
    }
}

fn map<T, U>(o: Outcome<T>, f: impl FnOnce(T) -> U) -> Outcome<U> {
    Outcome { value: f(o.value), status: o.status, write: o.write }
}

/// Runs one operation.
pub(crate) fn exec(s: &mut State, op: FpuOp, sti: u8, a: Slot, b: Slot) -> Res<()> {
    use FpuOp::*;
    let (x, y) = (s.slots[a as usize], s.slots[b as usize]);
    let i = sti & 7;
    let pop = sti & (POP | POP2);
    match op {
        Wait => {
            if s.fpu.sw & flag::ES != 0 {
                return Err(Fault::new(vector::MF));
            }
        }
        DataPointer => {
            s.fpu.last_ds = s.segs[usize::from(sti.min(5))].selector;
            s.fpu.last_dp = x;
        }
        CodePointer => {
            s.fpu.last_cs = s.segs[1].selector;
            s.fpu.last_ip = x;
            s.fpu.last_opcode = y as u16;
        }
        Init => s.fpu.reset(),
        Clear => s.fpu.sw &= 0x7f00,
        StatusWord => s.slots[a as usize] = u64::from(s.fpu.sw),
        ControlWord => s.slots[a as usize] = u64::from(s.fpu.cw),
        LoadControl => {
            s.fpu.cw = x as u16 & 0x1f3f | 0x40;
            s.x87_summary();
        }
        Load80 => {
            s.fpu.sw &= !flag::C1;
            s.push(F80 { mantissa: x, sign_exp: y as u16 });
        }
        Load32 => {
            let o = x87::from_f32(x as u32, s.control());
            s.push_outcome(o);
        }
        Load64 => {
            let o = x87::from_f64(x, s.control());
            s.push_outcome(o);
        }
        LoadI16 | LoadI32 | LoadI64 | LoadBcd => {
            s.fpu.sw &= !flag::C1;
            s.push(match op {
                LoadI16 => x87::from_i16(x as i16),
                LoadI32 => x87::from_i32(x as i32),
                LoadI64 => x87::from_i64(x as i64),
                _ => x87::from_bcd(bytes10(x, y)),
            });
        }
        LoadSt => {
            if s.is_empty(i) {
                // Underflow of the source goes before overflow of the stack, and shows as the indefinite.
                if s.underflow() {
                    s.push_unchecked(F80::INDEFINITE);
                }
            } else {
                s.fpu.sw &= !flag::C1;
                let v = s.st(i);
                s.push(v);
            }
        }
        Get80 | Get32 | Get64 | GetI16 | GetI32 | GetI64 | TruncI16 | TruncI32 | TruncI64 | GetBcd => {
            let r = store_value(s, op, pop);
            s.slots[a as usize] = r.map_or(0, |v| v.0);
            s.slots[b as usize] = r.map_or(SUPPRESSED, |v| v.1);
        }
        StoreSt => {
            if s.is_empty(0) && sti & UNCHECKED != 0 {
                // The alias at D9 D8 only pops an empty register.
                s.fpu.sw &= !flag::C1;
                s.pop_by(pop);
            } else if s.is_empty(0) {
                if s.underflow() {
                    s.set_st(i, F80::INDEFINITE);
                    s.pop_by(pop);
                }
            } else {
                s.fpu.sw &= !flag::C1;
                let v = s.st(0);
                s.set_st(i, v);
                s.pop_by(pop);
            }
        }
        Exchange => {
            let (e0, ei) = (s.is_empty(0), s.is_empty(i));
            s.fpu.sw &= !flag::C1;
            if (e0 || ei) && !s.underflow() {
                return Ok(());
            }
            let v0 = if e0 { F80::INDEFINITE } else { s.st(0) };
            let vi = if ei { F80::INDEFINITE } else { s.st(i) };
            s.set_st(0, vi);
            s.set_st(i, v0);
        }
        Free => {
            s.fpu.empty |= 1 << s.phys(i);
            if pop != 0 {
                s.pop();
            }
        }
        Rotate => {
            s.fpu.sw &= !flag::C1;
            let top = s.fpu.top();
            s.fpu.set_top(top.wrapping_add(i));
        }
        MoveIf => {
            if s.is_empty(0) || s.is_empty(i) {
                // Whatever the condition is.
                if s.underflow() {
                    s.set_st(0, F80::INDEFINITE);
                }
            } else if x != 0 {
                // C1 stays as it is.
                let v = s.st(i);
                s.set_st(0, v);
            }
        }
        Arith32 => s.unary(flag::C1, |v, c| x87::arith_f32(OPS[usize::from(i).min(5)], v, x as u32, c)),
        Arith64 => s.unary(flag::C1, |v, c| x87::arith_f64(OPS[usize::from(i).min(5)], v, x, c)),
        ArithI16 => s.unary(flag::C1, |v, c| x87::arith_int(OPS[usize::from(i).min(5)], v, i32::from(x as i16), c)),
        ArithI32 => s.unary(flag::C1, |v, c| x87::arith_int(OPS[usize::from(i).min(5)], v, x as i32, c)),
        ArithSt0 | ArithSti | ArithStiPop => {
            let kind = OPS[usize::from(sti >> 3 & 7).min(5)];
            let (dst, src) = if op == ArithSt0 { (0, i) } else { (i, 0) };
            let pop = if op == ArithStiPop { POP } else { 0 };
            if s.is_empty(dst) || s.is_empty(src) {
                if s.underflow() {
                    s.set_st(dst, F80::INDEFINITE);
                    s.pop_by(pop);
                }
                return Ok(());
            }
            let o = x87::arith(kind, s.st(dst), s.st(src), s.control());
            s.put(dst, o, flag::C1, pop);
        }
        Compare32 => s.relation(pop, false, |v, c| x87::compare_f32(v, x as u32, c)),
        Compare64 => s.relation(pop, false, |v, c| x87::compare_f64(v, x, c)),
        CompareI16 => s.relation(pop, false, |v, c| x87::compare(v, x87::from_i16(x as i16), false, c)),
        CompareI32 => s.relation(pop, false, |v, c| x87::compare(v, x87::from_i32(x as i32), false, c)),
        Compare | CompareQuiet => {
            let (other, empty) = (s.st(i), s.is_empty(i));
            s.relation(pop, empty, |v, c| x87::compare(v, other, op == CompareQuiet, c));
        }
        CompareFlags | CompareFlagsQuiet => {
            if s.is_empty(0) || s.is_empty(i) {
                let masked = s.underflow();
                s.set_arith_flags(0x45);
                if masked {
                    s.pop_by(pop);
                }
                return Ok(());
            }
            let o = x87::compare(s.st(0), s.st(i), op == CompareFlagsQuiet, s.control());
            // C1 stays, and the flags are set even when an unmasked exception keeps the stack as it was.
            s.raise_x87(0, o.status);
            s.set_arith_flags(o.value.eflags());
            if o.write {
                s.pop_by(pop);
            }
        }
        Chs | Abs => {
            if s.is_empty(0) {
                if s.underflow() {
                    s.set_st(0, F80::INDEFINITE);
                }
                return Ok(());
            }
            s.fpu.sw &= !flag::C1;
            let v = s.st(0);
            s.set_st(0, if op == Chs { v.negate() } else { v.abs() });
        }
        Tst => s.relation(0, false, |v, c| x87::compare(v, F80::ZERO, false, c)),
        Xam => {
            let cc = x87::xam(s.st(0), s.is_empty(0));
            s.fpu.sw = s.fpu.sw & !flag::CC | cc;
        }
        One | L2t | L2e | Pi | Lg2 | Ln2 | Zero => {
            let c = s.control();
            s.fpu.sw &= !flag::C1;
            s.push(match op {
                One => x87::one(),
                L2t => x87::l2t(c),
                L2e => x87::l2e(c),
                Pi => x87::pi(c),
                Lg2 => x87::lg2(c),
                Ln2 => x87::ln2(c),
                _ => x87::zero(),
            });
        }
        F2xm1 => s.unary(flag::C1, x87::f2xm1),
        Sqrt => s.unary(flag::C1, x87::sqrt),
        Rndint => s.unary(flag::C1, x87::rndint),
        Sin => s.unary(flag::C1 | flag::C2, x87::sin),
        Cos => s.unary(flag::C1 | flag::C2, x87::cos),
        Scale => s.two(0, 0, flag::C1, x87::scale),
        Rem => s.two(0, 0, flag::CC, x87::rem),
        Rem1 => s.two(0, 0, flag::CC, x87::rem1),
        Fyl2x => s.two(1, POP, flag::C1, x87::fyl2x),
        Fyl2xp1 => s.two(1, POP, flag::C1, x87::fyl2xp1),
        Patan => s.two(1, POP, flag::C1, x87::patan),
        Tan => s.unary_push(flag::C1 | flag::C2, x87::tan),
        Sincos => s.unary_push(flag::C1 | flag::C2, x87::sincos),
        Xtract => s.unary_push(flag::C1, x87::xtract),
    }
    Ok(())
}

impl State {
    /// ST(0) <- first result, then the second is pushed.
    fn unary_push(&mut self, clears: u16, f: impl FnOnce(F80, Control) -> Outcome<(F80, F80)>) {
        if self.is_empty(0) {
            if self.underflow_clearing(clears) {
                self.set_st(0, F80::INDEFINITE);
                self.push_unchecked(F80::INDEFINITE);
            }
            return;
        }
        if !self.is_empty(7) {
            self.raise_x87(clears, flag::IE | flag::SF | flag::C1);
            if self.invalid_masked() {
                self.set_st(0, F80::INDEFINITE);
                self.push_unchecked(F80::INDEFINITE);
            }
            return;
        }
        let o = f(self.st(0), self.control());
        self.raise_x87(clears, o.status);
        if o.write {
            self.set_st(0, o.value.0);
            self.push(o.value.1);
        }
    }
}

fn bytes10(lo: u64, hi: u64) -> [u8; 10] {
    let mut v = [0; 10];
    v[..8].copy_from_slice(&lo.to_le_bytes());
    v[8..].copy_from_slice(&(hi as u16).to_le_bytes());
    v
}

fn store_value(s: &mut State, op: FpuOp, pop: u8) -> Option<(u64, u64)> {
    use FpuOp::*;
    let one = |v: u64| (v, 0);
    match op {
        Get80 => {
            if s.is_empty(0) {
                if !s.underflow() {
                    return None;
                }
                s.pop_by(pop);
                return Some((F80::INDEFINITE.mantissa, u64::from(F80::INDEFINITE.sign_exp)));
            }
            s.fpu.sw &= !flag::C1;
            let v = s.st(0);
            s.pop_by(pop);
            Some((v.mantissa, u64::from(v.sign_exp)))
        }
        Get32 => s.get(pop, one(0xffc0_0000), |v, c| map(x87::to_f32(v, c), |r| one(r.into()))),
        Get64 => s.get(pop, one(0xfff8_0000_0000_0000), |v, c| map(x87::to_f64(v, c), one)),
        GetI16 => s.get(pop, one(0x8000), |v, c| map(x87::to_i16(v, c), |r| one(r as u16 as u64))),
        GetI32 => s.get(pop, one(0x8000_0000), |v, c| map(x87::to_i32(v, c), |r| one(r as u32 as u64))),
        GetI64 => s.get(pop, one(1 << 63), |v, c| map(x87::to_i64(v, c), |r| one(r as u64))),
        TruncI16 => s.get(pop, one(0x8000), |v, c| map(x87::trunc_i16(v, c), |r| one(r as u16 as u64))),
        TruncI32 => s.get(pop, one(0x8000_0000), |v, c| map(x87::trunc_i32(v, c), |r| one(r as u32 as u64))),
        TruncI64 => s.get(pop, one(1 << 63), |v, c| map(x87::trunc_i64(v, c), |r| one(r as u64))),
        _ => s.get(pop, (0xc000_0000_0000_0000, 0xffff), |v, c| {
            map(x87::to_bcd(v, c), |r| {
                let lo = u64::from_le_bytes([r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]]);
                (lo, u64::from(u16::from_le_bytes([r[8], r[9]])))
            })
        }),
    }
}
