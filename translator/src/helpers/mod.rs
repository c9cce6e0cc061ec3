//! The hypervisor calls: every host function that lifted code may call, in one table.
//!
//! An operation [`crate::ir::Op::Call`] names a [`Helper`], two slots and a constant; the result goes to a third slot. A
//! helper that returns a fault has changed nothing (string instructions: has finished whole elements). RIP is the
//! block's start while a helper runs; helpers that need the address of the next instruction get its offset in `imm`.

mod counts;
pub mod fpu_env;
pub mod misc;
pub mod string;

pub use counts::CallCounts;

use crate::activity::Doing;
use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res, vector};
use crate::state::{SegReg, Slot, eflags, slot};

/// Makes the enum and the list of its members from one table.
macro_rules! helpers {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The table.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Helper {
            $($(#[$doc])* $name,)*
        }

        impl Helper {
            /// Every helper, in the order of its number.
            pub const ALL: &[Helper] = &[$(Helper::$name),*];
        }
    };
}

helpers! {
    /// Segment register imm <- selector a.
    LoadSeg,
    /// dst <- selector of segment register imm.
    ReadSeg,
    /// Interrupts and debug traps wait for one more instruction.
    SsShadow,
    /// Far jump to a:b; imm: operand size, next offset << 8.
    FarJmp,
    /// Far call to a:b; imm as FarJmp.
    FarCall,
    /// imm: operand size, bytes to release << 16.
    FarRet,
    /// imm as FarJmp.
    Iret,
    /// imm: vector, next offset << 8.
    Int,
    /// imm: next offset << 8.
    Int3,
    /// imm: next offset << 8.
    Into,
    /// imm: next offset << 8.
    Icebp,
    /// dst <- flags image; imm: operand size.
    Pushf,
    /// Flags <- a; imm: operand size.
    Popf,
    /// CLI.
    Cli,
    /// STI.
    Sti,
    /// DF <- imm.
    SetDf,
    /// dst <- port a; imm: size.
    In,
    /// Port a <- b; imm: size.
    Out,
    /// HLT.
    Hlt,
    /// CPUID.
    Cpuid,
    /// RDTSC.
    Rdtsc,
    /// RDPMC.
    Rdpmc,
    /// RDMSR.
    Rdmsr,
    /// WRMSR.
    Wrmsr,
    /// CLTS.
    Clts,
    /// INVD, WBINVD.
    Wbinvd,
    /// Machine status word <- a.
    Lmsw,
    /// dst <- machine status word.
    Smsw,
    /// a: offset; imm: segment, operand size << 8.
    Lgdt,
    /// As Lgdt.
    Lidt,
    /// As Lgdt.
    Sgdt,
    /// As Lgdt.
    Sidt,
    /// a: offset; imm: segment.
    Invlpg,
    /// LLDT a.
    Lldt,
    /// LTR a.
    Ltr,
    /// dst <- LDTR selector.
    Sldt,
    /// dst <- TR selector.
    Str,
    /// dst <- access rights of selector a, or b; ZF; imm: operand size.
    Lar,
    /// dst <- limit of selector a, or b; ZF; imm: operand size.
    Lsl,
    /// ZF <- selector a is readable.
    Verr,
    /// ZF <- selector a is writable.
    Verw,
    /// dst <- a with the RPL of b if that is larger; ZF.
    Arpl,
    /// #GP(0) unless CPL is 0.
    CheckCpl0,
    /// Control register imm <- a.
    MovToCr,
    /// dst <- control register imm.
    MovFromCr,
    /// Debug register imm <- a.
    MovToDr,
    /// dst <- debug register imm.
    MovFromDr,
    /// SYSENTER.
    Sysenter,
    /// SYSEXIT.
    Sysexit,
    /// One string instruction; imm: [`string::Spec`]. dst <- 1 if a REP has more to do.
    String,
    /// imm: size, level << 16, operand size << 24.
    Enter,
    /// #BR if a < b, signed.
    BoundLow,
    /// #BR if a > b, signed.
    BoundHigh,
    /// a: offset; imm: segment.
    Cmpxchg8b,
    /// x87 and SSE state in memory; a: offset; imm: [`misc::env`].
    FpuEnv,
    /// Stores the result of an x87 store operation; a: offset; imm: segment, size << 8, slots << 16 and << 24.
    FpuStore,
    /// MASKMOVQ, MASKMOVDQU; a: offset; imm: segment, data register << 8, mask register << 16, 1 << 24 for MMX.
    MaskMove,
    /// 80-bit store: the operands' writability is checked before anything changes; a: offset; imm: segment, size << 8.
    Probe,
    /// What only the 8086 or the 80286 does: see [`mod@misc`].
    I8086,
}

/// In the immediate of [`Helper::Arpl`]: a is the offset of a memory operand in segment imm & 7.
pub(crate) const ARPL_MEMORY: u32 = 0x100;

pub(crate) fn seg(imm: u32) -> SegReg {
    SegReg::ALL[(imm & 7).min(5) as usize]
}

/// What an instruction of the table becomes in compiled code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// A hypervisor call.
    Call,
    /// No call but a few instructions of the host, under this condition.
    Inline(&'static str),
    /// Beside the call a few instructions of the host for what it nearly always comes to, under this condition.
    Beside(&'static str),
}

impl Helper {
    /// What compiled code does in place of the instruction: `lower/privileged.rs` follows this.
    pub fn rewrite(self) -> Rewrite {
        match self {
            Helper::ReadSeg | Helper::SetDf => Rewrite::Inline("always"),
            Helper::Cli => Rewrite::Inline("CPL is not above IOPL"),
            Helper::Pushf => Rewrite::Inline("outside virtual-8086 mode, from the 80286 on"),
            Helper::Sti => Rewrite::Beside("CPL is not above IOPL and no pin is raised"),
            Helper::LoadSeg => Rewrite::Beside("DS, ES, FS or GS at CPL 0 finds selector and descriptor as they were"),
            Helper::Popf => Rewrite::Beside("CPL is 0, no pin is raised, and IF, DF and arithmetic flags alone change"),
            _ => Rewrite::Call,
        }
    }

    /// True for what a hypervisor must see: privileged instructions, sensitive ones that would not trap, and transfers
    /// through gates. The others are here because they are long.
    pub fn is_sensitive(self) -> bool {
        !matches!(
            self,
            Helper::SsShadow
                | Helper::SetDf
                | Helper::String
                | Helper::Enter
                | Helper::BoundLow
                | Helper::BoundHigh
                | Helper::Cmpxchg8b
                | Helper::FpuEnv
                | Helper::FpuStore
                | Helper::MaskMove
                | Helper::Probe
                | Helper::I8086
        )
    }
}

/// Runs helper `h`, counted and now and then timed.
pub(crate) fn call(cpu: &mut Cpu, bus: &mut dyn Bus, h: Helper, dst: Slot, a: Slot, b: Slot, imm: u32) -> Res<()> {
    let before = cpu.activity.enter(Doing::Call);
    let began = cpu.calls.begin(h);
    let result = perform(cpu, bus, h, dst, a, b, imm);
    if let Some(began) = began {
        cpu.calls.end(h, began);
    }
    cpu.activity.leave(before);
    result
}

#[inline(always)]
fn perform(cpu: &mut Cpu, bus: &mut dyn Bus, h: Helper, dst: Slot, a: Slot, b: Slot, imm: u32) -> Res<()> {
    let x = cpu.state.slots[a as usize];
    let y = cpu.state.slots[b as usize];
    let next_ip = cpu.state.rip.wrapping_add(u64::from(imm >> 8 & 0xffff)) & 0xffff_ffff;
    let osize = imm as u8;
    let result = match h {
        Helper::LoadSeg => return cpu.load_seg(bus, seg(imm), x as u16),
        Helper::ReadSeg => u64::from(cpu.state.segs[seg(imm) as usize].selector),
        Helper::SsShadow => {
            cpu.state.ss_shadow = true;
            return Ok(());
        }
        Helper::FarJmp => return cpu.far_jmp(bus, x as u16, y as u32, osize, next_ip),
        Helper::FarCall => return cpu.far_call(bus, x as u16, y as u32, osize, next_ip),
        Helper::FarRet => return cpu.far_ret(bus, osize, (imm >> 16) as u16),
        Helper::Iret => return cpu.iret(bus, osize, next_ip),
        Helper::Int => return cpu.software_int(bus, imm as u8, next_ip),
        Helper::Int3 => return cpu.int3(bus, next_ip),
        Helper::Into => {
            if cpu.state.of() {
                return cpu.into(bus, next_ip);
            }
            cpu.state.rip = next_ip;
            return Ok(());
        }
        Helper::Icebp => return cpu.icebp(bus, next_ip),
        Helper::Pushf => u64::from(cpu.pushf(osize)?),
        Helper::Popf => return cpu.popf(x as u32, osize),
        Helper::Cli => return cpu.cli(),
        Helper::Sti => return cpu.sti(),
        Helper::SetDf => {
            cpu.state.sys_flags = cpu.state.sys_flags & !eflags::DF | if imm != 0 { eflags::DF } else { 0 };
            return Ok(());
        }
        Helper::In => u64::from(cpu.port_in(bus, x as u16, osize)?),
        Helper::Out => return cpu.port_out(bus, x as u16, osize, y as u32),
        Helper::Hlt => return cpu.hlt(),
        Helper::Cpuid => {
            cpu.cpuid();
            return Ok(());
        }
        Helper::Rdtsc => return cpu.rdtsc(bus),
        Helper::Rdpmc => return cpu.rdpmc(),
        Helper::Rdmsr => return cpu.rdmsr(bus),
        Helper::Wrmsr => return cpu.wrmsr(bus),
        Helper::Clts => return cpu.clts(),
        Helper::Wbinvd | Helper::CheckCpl0 => {
            return if cpu.state.cpl != 0 { Err(Fault::gp(0)) } else { Ok(()) };
        }
        Helper::Lmsw => return cpu.lmsw(x as u16),
        Helper::Smsw => cpu.smsw(),
        Helper::Lgdt => return cpu.lgdt(bus, seg(imm), x, (imm >> 8) as u8),
        Helper::Lidt => return cpu.lidt(bus, seg(imm), x, (imm >> 8) as u8),
        Helper::Sgdt => return cpu.sgdt(bus, seg(imm), x, (imm >> 8) as u8),
        Helper::Sidt => return cpu.sidt(bus, seg(imm), x, (imm >> 8) as u8),
        Helper::Invlpg => {
            let lin = cpu.state.segs[seg(imm) as usize].base.wrapping_add(x) & 0xffff_ffff;
            return cpu.invlpg(lin);
        }
        Helper::Lldt => return cpu.load_ldt(bus, x as u16),
        Helper::Ltr => return cpu.load_tr(bus, x as u16),
        Helper::Sldt => u64::from(cpu.state.ldtr.selector),
        Helper::Str => u64::from(cpu.state.tr.selector),
        Helper::Lar | Helper::Lsl => {
            let found = if h == Helper::Lar { cpu.lar(bus, x as u16)? } else { cpu.lsl(bus, x as u16)? };
            cpu.state.set_zf(found.is_some());
            found.map_or(y, u64::from)
        }
        Helper::Verr | Helper::Verw => {
            let ok = if h == Helper::Verr { cpu.verr(bus, x as u16)? } else { cpu.verw(bus, x as u16)? };
            cpu.state.set_zf(ok);
            return Ok(());
        }
        Helper::Arpl if imm & ARPL_MEMORY != 0 => {
            // The operand is written only when its RPL is raised.
            let old = cpu.read_seg::<u16>(bus, seg(imm), x)?;
            let raise = old & 3 < y as u16 & 3;
            if raise {
                cpu.write_seg(bus, seg(imm), x, old & !3 | y as u16 & 3)?;
            }
            cpu.state.set_zf(raise);
            return Ok(());
        }
        Helper::Arpl => {
            let raise = x & 3 < y & 3;
            cpu.state.set_zf(raise);
            if raise { x & !3 | y & 3 } else { x }
        }
        Helper::MovToCr => return cpu.mov_to_cr(bus, imm as u8, x),
        Helper::MovFromCr => cpu.mov_from_cr(imm as u8)?,
        Helper::MovToDr => return cpu.mov_to_dr(imm as u8, x),
        Helper::MovFromDr => cpu.mov_from_dr(imm as u8)?,
        Helper::Sysenter => return cpu.sysenter(),
        Helper::Sysexit => return cpu.sysexit(),
        Helper::String => u64::from(string::run(cpu, bus, imm)?),
        Helper::Enter => return misc::enter(cpu, bus, imm),
        Helper::BoundLow | Helper::BoundHigh => {
            let (v, bound) = (x as i64, y as i64);
            let outside = if h == Helper::BoundLow { v < bound } else { v > bound };
            return if outside { Err(Fault::new(vector::BR)) } else { Ok(()) };
        }
        Helper::Cmpxchg8b => return misc::cmpxchg8b(cpu, bus, seg(imm), x),
        Helper::FpuEnv => return fpu_env::run(cpu, bus, seg(imm), x, imm),
        Helper::FpuStore => return fpu_env::store(cpu, bus, seg(imm), x, imm),
        Helper::MaskMove => return misc::mask_move(cpu, bus, seg(imm), x, imm),
        Helper::Probe => {
            return cpu.probe_seg(seg(imm), x, (imm >> 8) as u8);
        }
        Helper::I8086 => return misc::i8086(cpu, bus, x, y, imm),
    };
    cpu.state.slots[dst.max(slot::TEMP) as usize] = result;
    Ok(())
}
