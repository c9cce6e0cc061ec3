//! MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS with and without REP (SDM vol. 2).
//!
//! A REP does a bounded number of elements at a time and asks to be called again, so that interrupts are taken between
//! elements as hardware does. Copies and fills of plain RAM go a page at a time.

use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res, vector};
use crate::ir::Width;
use crate::mmu::shadow;
use crate::model::Model;
use crate::pins;
use crate::state::{SegReg, eflags, mode, slot};

/// MOVS.
pub const MOVS: u8 = 0;
/// CMPS.
pub const CMPS: u8 = 1;
/// STOS.
pub const STOS: u8 = 2;
/// LODS.
pub const LODS: u8 = 3;
/// SCAS.
pub const SCAS: u8 = 4;
/// INS.
pub const INS: u8 = 5;
/// OUTS.
pub const OUTS: u8 = 6;

/// Elements done before the run loop is asked again. Each chunk counts as one instruction, so it must not depend on
/// how the elements are done.
const CHUNK: u64 = 4096;

/// One string instruction, packed into a helper's constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// One of the constants above.
    pub kind: u8,
    /// Element width.
    pub w: Width,
    /// Address size.
    pub asize: Width,
    /// Source segment; the destination is always ES.
    pub seg: SegReg,
    /// A repetition prefix is present.
    pub rep: bool,
    /// REPNE: CMPS and SCAS stop at equality rather than at difference.
    pub until_equal: bool,
}

impl Spec {
    /// Packs.
    pub fn pack(self) -> u32 {
        u32::from(self.kind)
            | (self.w as u32) << 4
            | (self.asize as u32) << 8
            | (self.seg as u32) << 12
            | u32::from(self.rep) << 16
            | u32::from(self.until_equal) << 17
    }

    /// Unpacks.
    pub fn unpack(v: u32) -> Self {
        let width = |n: u32| [Width::B, Width::W, Width::D, Width::Q][(n & 3) as usize];
        Spec {
            kind: v as u8 & 15,
            w: width(v >> 4),
            asize: width(v >> 8),
            seg: SegReg::ALL[(v >> 12 & 7).min(5) as usize],
            rep: v >> 16 & 1 != 0,
            until_equal: v >> 17 & 1 != 0,
        }
    }
}

fn get(cpu: &Cpu, r: u8, asize: Width) -> u64 {
    cpu.state.slots[r as usize] & asize.mask()
}

fn set(cpu: &mut Cpu, r: u8, asize: Width, v: u64) {
    let old = &mut cpu.state.slots[r as usize];
    *old = if asize == Width::W { *old & !0xffff | v & 0xffff } else { v & asize.mask() };
}

/// Runs one instruction or a chunk of a repetition; true if more is to be done.
pub(crate) fn run(cpu: &mut Cpu, bus: &mut dyn Bus, imm: u32) -> Res<bool> {
    let s = Spec::unpack(imm);
    if !s.rep {
        element(cpu, bus, &s).map_err(|fault| faulted(cpu, &s, fault))?;
        return Ok(false);
    }
    // Single-stepping and data breakpoints see every element.
    let chunk = if cpu.state.mode & (mode::STEP | mode::CHECKED) != 0 { 1 } else { CHUNK };
    let mut left = chunk;
    while left > 0 {
        let count = get(cpu, slot::RCX, s.asize);
        if count == 0 {
            // The right to the port is checked even if nothing is transferred.
            if matches!(s.kind, INS | OUTS) {
                let port = cpu.state.gpr(slot::RDX) as u16;
                cpu.check_io(bus, port, s.w.bytes())?;
            }
            return Ok(false);
        }
        let bulk = if chunk > 1 { bulk(cpu, &s, count.min(left)) } else { 0 };
        if bulk > 0 {
            set(cpu, slot::RCX, s.asize, count - bulk);
            left = left.saturating_sub(bulk);
            continue;
        }
        element(cpu, bus, &s).map_err(|fault| faulted(cpu, &s, fault))?;
        set(cpu, slot::RCX, s.asize, count.wrapping_sub(1));
        left -= 1;
        if matches!(s.kind, CMPS | SCAS) && cpu.state.zf() == s.until_equal {
            return Ok(false);
        }
        // Code that was overwritten does not end the chunk: which tier has made what of it must not be countable.
        if cpu.pins.get() & cpu.watched() & !pins::STALE != 0 || cpu.state.pending_debug != 0 {
            break;
        }
    }
    Ok(get(cpu, slot::RCX, s.asize) != 0)
}

fn load(cpu: &mut Cpu, bus: &mut dyn Bus, s: &Spec, seg: SegReg, off: u64) -> Res<u64> {
    Ok(match s.w {
        Width::B => u64::from(cpu.read_seg::<u8>(bus, seg, off)?),
        Width::W => u64::from(cpu.read_seg::<u16>(bus, seg, off)?),
        _ => u64::from(cpu.read_seg::<u32>(bus, seg, off)?),
    })
}

fn store(cpu: &mut Cpu, bus: &mut dyn Bus, s: &Spec, off: u64, v: u64) -> Res<()> {
    match s.w {
        Width::B => cpu.write_seg(bus, SegReg::Es, off, v as u8),
        Width::W => cpu.write_seg(bus, SegReg::Es, off, v as u16),
        _ => cpu.write_seg(bus, SegReg::Es, off, v as u32),
    }
}

/// The 80286 in real mode has moved its index registers and CX when an operand at FFFFh faults: CX twice for a store,
/// which it begins one element late, and not at all for the first operand of CMPS.
fn faulted(cpu: &mut Cpu, s: &Spec, fault: Fault) -> Fault {
    if cpu.model != Model::I286 || cpu.state.protected() || fault.vector != vector::GP {
        return fault;
    }
    let n = u64::from(s.w.bytes());
    let step = if cpu.state.sys_flags & eflags::DF != 0 { 0u64.wrapping_sub(n) } else { n };
    let (si, di) = (get(cpu, slot::RSI, s.asize), get(cpu, slot::RDI, s.asize));
    let (moves_si, moves_di) = match s.kind {
        MOVS => (true, si != 0xffff),
        CMPS => (di != 0xffff, true),
        LODS | OUTS => (true, false),
        _ => (false, true),
    };
    if moves_si {
        set(cpu, slot::RSI, s.asize, si.wrapping_add(step));
    }
    if moves_di {
        set(cpu, slot::RDI, s.asize, di.wrapping_add(step));
    }
    let less = match s.kind {
        CMPS => u64::from(moves_si),
        MOVS | STOS if moves_di => 2,
        _ => 1,
    };
    if s.rep {
        let count = get(cpu, slot::RCX, s.asize);
        set(cpu, slot::RCX, s.asize, count.wrapping_sub(less));
    }
    fault
}

fn element(cpu: &mut Cpu, bus: &mut dyn Bus, s: &Spec) -> Res<()> {
    let n = u64::from(s.w.bytes());
    let step = if cpu.state.sys_flags & eflags::DF != 0 { 0u64.wrapping_sub(n) } else { n };
    let (si, di) = (get(cpu, slot::RSI, s.asize), get(cpu, slot::RDI, s.asize));
    let (mut moves_si, mut moves_di) = (false, false);
    match s.kind {
        MOVS => {
            let v = load(cpu, bus, s, s.seg, si)?;
            store(cpu, bus, s, di, v)?;
            (moves_si, moves_di) = (true, true);
        }
        CMPS => {
            let b = load(cpu, bus, s, SegReg::Es, di)?;
            let a = load(cpu, bus, s, s.seg, si)?;
            cpu.state.flags_sub(s.w, a, b, a.wrapping_sub(b) & s.w.mask());
            (moves_si, moves_di) = (true, true);
        }
        STOS => {
            let v = cpu.state.gpr(slot::RAX);
            store(cpu, bus, s, di, v)?;
            moves_di = true;
        }
        LODS => {
            let v = load(cpu, bus, s, s.seg, si)?;
            let old = cpu.state.gpr(slot::RAX);
            let m = s.w.mask();
            cpu.state.set_gpr(slot::RAX, if s.w == Width::D { v } else { old & !m | v });
            moves_si = true;
        }
        SCAS => {
            let b = load(cpu, bus, s, SegReg::Es, di)?;
            let a = cpu.state.gpr(slot::RAX) & s.w.mask();
            cpu.state.flags_sub(s.w, a, b, a.wrapping_sub(b) & s.w.mask());
            moves_di = true;
        }
        INS => {
            let port = cpu.state.gpr(slot::RDX) as u16;
            cpu.check_io(bus, port, n as u8)?;
            cpu.probe_seg(SegReg::Es, di, n as u8)?;
            let v = cpu.port_in(bus, port, n as u8)?;
            store(cpu, bus, s, di, u64::from(v))?;
            moves_di = true;
        }
        _ => {
            let port = cpu.state.gpr(slot::RDX) as u16;
            cpu.check_io(bus, port, n as u8)?;
            let v = load(cpu, bus, s, s.seg, si)?;
            cpu.port_out(bus, port, n as u8, v as u32)?;
            moves_si = true;
        }
    }
    if moves_si {
        set(cpu, slot::RSI, s.asize, si.wrapping_add(step));
    }
    if moves_di {
        set(cpu, slot::RDI, s.asize, di.wrapping_add(step));
    }
    Ok(())
}

/// RAM offset of `seg:off` and how many bytes from there on are plain RAM that needs no check.
fn plain(cpu: &Cpu, seg: SegReg, off: u64, asize: Width, write: bool) -> Option<(u64, u64)> {
    let s = &cpu.state.segs[seg as usize];
    if cpu.state.mode & mode::FLAT << seg as u32 == 0 {
        // Anything but a simple expand-up segment takes the slow path.
        let ok = s.present() && s.attr & crate::state::attr::CODE == 0 && s.attr & crate::state::attr::EC == 0;
        if !ok || (write && s.attr & crate::state::attr::RW == 0) || off > u64::from(s.limit) {
            return None;
        }
    } else if write && seg == SegReg::Cs {
        return None;
    }
    let lin = s.base.wrapping_add(off) & 0xffff_ffff;
    let e = cpu.shadow.get(usize::from(cpu.user()), lin);
    let need = if write { shadow::W } else { shadow::R };
    if e & need == 0 || e & shadow::IO != 0 {
        return None;
    }
    let room = (4096 - (lin & 0xfff)).min(u64::from(s.limit) - off + 1).min(asize.mask() - off + 1);
    Some(((e & !0xfff) | (lin & 0xfff), room))
}

/// Moves or fills as many of `count` elements as lie in plain RAM pages; 0 if the slow path has to look.
fn bulk(cpu: &mut Cpu, s: &Spec, count: u64) -> u64 {
    if !matches!(s.kind, MOVS | STOS) || cpu.state.sys_flags & eflags::DF != 0 || cpu.model == Model::I8086 {
        return 0;
    }
    let n = u64::from(s.w.bytes());
    let (si, di) = (get(cpu, slot::RSI, s.asize), get(cpu, slot::RDI, s.asize));
    let Some((to, room)) = plain(cpu, SegReg::Es, di, s.asize, true) else { return 0 };
    let mut elements = count.min(room / n);
    if s.kind == STOS {
        if elements == 0 {
            return 0;
        }
        let v = cpu.state.gpr(slot::RAX) as u32;
        cpu.mem.ram().fill(to as usize, (elements * n) as usize, v, n as usize);
    } else {
        let Some((from, room)) = plain(cpu, s.seg, si, s.asize, false) else { return 0 };
        elements = elements.min(room / n);
        let bytes = elements * n;
        // A forward copy onto itself repeats its pattern: element by element.
        if elements == 0 || (to > from && to < from + bytes) {
            return 0;
        }
        cpu.mem.ram().copy_within(from as usize, to as usize, bytes as usize);
        set(cpu, slot::RSI, s.asize, si.wrapping_add(bytes));
    }
    set(cpu, slot::RDI, s.asize, di.wrapping_add(elements * n));
    elements
}
