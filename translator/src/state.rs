//! The CPU state and its layout.
//!
//! Every value that instructions compute on lives in one array of 64-bit *slots*: the general registers, the split
//! arithmetic flags, a constant zero, and the temporaries of the instruction being run. The IR names them by number,
//! the interpreter indexes the array, and compiled code reads the same array through a pointer, which is why the
//! layout is `repr(C)`. Everything is 64 bits wide although only 16- and 32-bit code is lifted so far.

use crate::fp::F80;
use crate::frame::Frame;
use crate::model::Model;

/// Index of a 64-bit value in [`State::slots`].
pub type Slot = u8;
/// Index of a 128-bit value in [`State::vectors`]: 0-15 are XMM0-15, the rest temporaries.
pub type VSlot = u8;

/// The numbers of the slots that have a meaning of their own. General registers use 0-15 in encoding order.
pub mod slot {
    use super::Slot;
    /// AX, EAX, RAX.
    pub const RAX: Slot = 0;
    /// CX, ECX, RCX.
    pub const RCX: Slot = 1;
    /// DX, EDX, RDX.
    pub const RDX: Slot = 2;
    /// BX, EBX, RBX.
    pub const RBX: Slot = 3;
    /// SP, ESP, RSP.
    pub const RSP: Slot = 4;
    /// BP, EBP, RBP.
    pub const RBP: Slot = 5;
    /// SI, ESI, RSI.
    pub const RSI: Slot = 6;
    /// DI, EDI, RDI.
    pub const RDI: Slot = 7;
    /// ZF is set exactly when this slot is zero.
    pub const NZ: Slot = 16;
    /// SF is bit 63, PF the even parity of bits 0-7.
    pub const SP: Slot = 17;
    /// CF is bit 63, OF is bit 63 XOR bit 62 (the two topmost carries of the last operation).
    pub const CO: Slot = 18;
    /// AF is bit 4.
    pub const AF: Slot = 19;
    /// Always zero.
    pub const ZERO: Slot = 23;
    /// Result of a helper that has another use for its own destination.
    pub const VTEMP_8086: Slot = 24;
    /// First temporary; temporaries live for one instruction.
    pub const TEMP: Slot = 32;
    /// First vector temporary in [`super::State::vectors`].
    pub const VTEMP: super::VSlot = 16;
}

/// EFLAGS bits (SDM vol. 1, 3.4.3).
pub mod eflags {
    /// Carry.
    pub const CF: u32 = 1 << 0;
    /// Reserved, always one.
    pub const ONE: u32 = 1 << 1;
    /// Parity.
    pub const PF: u32 = 1 << 2;
    /// Auxiliary carry.
    pub const AF: u32 = 1 << 4;
    /// Zero.
    pub const ZF: u32 = 1 << 6;
    /// Sign.
    pub const SF: u32 = 1 << 7;
    /// Trap (single step).
    pub const TF: u32 = 1 << 8;
    /// Interrupt enable.
    pub const IF: u32 = 1 << 9;
    /// Direction.
    pub const DF: u32 = 1 << 10;
    /// Overflow.
    pub const OF: u32 = 1 << 11;
    /// I/O privilege level, two bits.
    pub const IOPL: u32 = 3 << 12;
    /// Nested task.
    pub const NT: u32 = 1 << 14;
    /// Resume.
    pub const RF: u32 = 1 << 16;
    /// Virtual-8086 mode.
    pub const VM: u32 = 1 << 17;
    /// Alignment check.
    pub const AC: u32 = 1 << 18;
    /// Virtual interrupt flag.
    pub const VIF: u32 = 1 << 19;
    /// Virtual interrupt pending.
    pub const VIP: u32 = 1 << 20;
    /// CPUID available.
    pub const ID: u32 = 1 << 21;
    /// The six arithmetic flags, kept split in slots.
    pub const ARITH: u32 = CF | PF | AF | ZF | SF | OF;
}

/// Control register bits (SDM vol. 3, 2.5).
pub mod cr {
    /// CR0: protection enable.
    pub const PE: u64 = 1 << 0;
    /// CR0: monitor coprocessor.
    pub const MP: u64 = 1 << 1;
    /// CR0: emulation.
    pub const EM: u64 = 1 << 2;
    /// CR0: task switched.
    pub const TS: u64 = 1 << 3;
    /// CR0: extension type.
    pub const ET: u64 = 1 << 4;
    /// CR0: numeric error.
    pub const NE: u64 = 1 << 5;
    /// CR0: write protect.
    pub const WP: u64 = 1 << 16;
    /// CR0: alignment mask.
    pub const AM: u64 = 1 << 18;
    /// CR0: not write-through.
    pub const NW: u64 = 1 << 29;
    /// CR0: cache disable.
    pub const CD: u64 = 1 << 30;
    /// CR0: paging.
    pub const PG: u64 = 1 << 31;
    /// CR4: virtual-8086 mode extensions.
    pub const VME: u64 = 1 << 0;
    /// CR4: protected-mode virtual interrupts.
    pub const PVI: u64 = 1 << 1;
    /// CR4: time stamp disable.
    pub const TSD: u64 = 1 << 2;
    /// CR4: debugging extensions.
    pub const DE: u64 = 1 << 3;
    /// CR4: page size extensions.
    pub const PSE: u64 = 1 << 4;
    /// CR4: physical address extension.
    pub const PAE: u64 = 1 << 5;
    /// CR4: machine check enable.
    pub const MCE: u64 = 1 << 6;
    /// CR4: page global enable.
    pub const PGE: u64 = 1 << 7;
    /// CR4: performance counter enable for RDPMC.
    pub const PCE: u64 = 1 << 8;
    /// CR4: FXSAVE and SSE enabled by the operating system.
    pub const OSFXSR: u64 = 1 << 9;
    /// CR4: unmasked SSE exceptions raise #XM.
    pub const OSXMMEXCPT: u64 = 1 << 10;
    /// EFER: no-execute enable.
    pub const EFER_NXE: u64 = 1 << 11;
}

/// The mode bits of a block key: what a decoder or lifter may take as given in a block.
pub mod mode {
    /// Default operand and address size is 32 bits (CS.D).
    pub const CODE32: u32 = 1 << 0;
    /// Stack pointer is ESP (SS.B).
    pub const STACK32: u32 = 1 << 1;
    /// Protected mode (CR0.PE), virtual-8086 included.
    pub const PE: u32 = 1 << 2;
    /// Virtual-8086 mode.
    pub const VM: u32 = 1 << 3;
    /// CPL is 3: the user view of the page tables applies.
    pub const USER: u32 = 1 << 4;
    /// x87 and MMX instructions need no #NM check (CR0.EM and CR0.TS clear).
    pub const FPU: u32 = 1 << 5;
    /// SSE instructions are usable (CR4.OSFXSR set, CR0.EM and CR0.TS clear).
    pub const SSE: u32 = 1 << 6;
    /// Data accesses go through the checked path: alignment checks or data breakpoints are on.
    pub const CHECKED: u32 = 1 << 7;
    /// Bit 8 + n: segment register n is flat (base 0, limit 4 GiB - 1, readable, and writable unless it is CS).
    pub const FLAT: u32 = 1 << 8;
    /// WAIT needs a #NM check (CR0.TS and CR0.MP both set).
    pub const WAIT_NM: u32 = 1 << 14;
    /// IOPL-sensitive instructions need no check (CPL <= IOPL, not virtual-8086).
    pub const IOPL_OK: u32 = 1 << 15;
    /// Single-step or code breakpoints: every instruction is dispatched alone.
    pub const STEP: u32 = 1 << 16;
    /// CPL is not 0.
    pub const NOT_CPL0: u32 = 1 << 17;
}

/// Segment register numbers in encoding order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SegReg {
    /// Extra segment.
    Es = 0,
    /// Code segment.
    Cs = 1,
    /// Stack segment.
    Ss = 2,
    /// Data segment.
    Ds = 3,
    /// Additional data segment.
    Fs = 4,
    /// Additional data segment.
    Gs = 5,
}

impl SegReg {
    /// All six in encoding order.
    pub const ALL: [SegReg; 6] = [SegReg::Es, SegReg::Cs, SegReg::Ss, SegReg::Ds, SegReg::Fs, SegReg::Gs];
}

/// A segment register with its hidden part (SDM vol. 3, 3.4.3), also used for LDTR and TR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Segment {
    /// Linear base address.
    pub base: u64,
    /// Limit in bytes, granularity already applied.
    pub limit: u32,
    /// Bits 8-15 and 20-23 of the descriptor's second doubleword, in place: type, S, DPL, P, AVL, L, D/B, G.
    /// Zero (not present) for a null selector.
    pub attr: u32,
    /// Visible selector.
    pub selector: u16,
}

/// Attribute bits of a descriptor's second doubleword (SDM vol. 3, 3.4.5).
pub mod attr {
    /// Accessed.
    pub const ACCESSED: u32 = 1 << 8;
    /// Data: writable. Code: readable.
    pub const RW: u32 = 1 << 9;
    /// Data: expand-down. Code: conforming.
    pub const EC: u32 = 1 << 10;
    /// Code segment.
    pub const CODE: u32 = 1 << 11;
    /// Code or data, not system.
    pub const S: u32 = 1 << 12;
    /// Present.
    pub const P: u32 = 1 << 15;
    /// Long-mode code.
    pub const L: u32 = 1 << 21;
    /// Default size 32 bits / big stack / 4 GiB upper bound.
    pub const DB: u32 = 1 << 22;
    /// Limit in 4 KiB units.
    pub const G: u32 = 1 << 23;
    /// The bits kept in a segment register's hidden part.
    pub const MASK: u32 = 0x00f0_ff00;
    /// A present, accessed, writable data segment of DPL 0, as real mode has it.
    pub const REAL_DATA: u32 = P | S | RW | ACCESSED;
    /// A present, accessed, readable code segment of DPL 0.
    pub const REAL_CODE: u32 = P | S | CODE | RW | ACCESSED;
}

impl Segment {
    /// A real-mode segment: base is the selector times 16, limit 64 KiB - 1.
    pub fn real(selector: u16) -> Self {
        Segment { base: u64::from(selector) << 4, limit: 0xffff, attr: attr::REAL_DATA, selector }
    }
    /// Descriptor privilege level.
    pub fn dpl(&self) -> u8 {
        (self.attr >> 13 & 3) as u8
    }
    /// Present bit.
    pub fn present(&self) -> bool {
        self.attr & attr::P != 0
    }
    /// D/B bit.
    pub fn big(&self) -> bool {
        self.attr & attr::DB != 0
    }
    /// System descriptor type (bits 8-11).
    pub fn system_type(&self) -> u8 {
        (self.attr >> 8 & 0xf) as u8
    }
    /// True if every 32-bit offset can be read, and written unless it is code, with no check and base 0.
    pub fn is_flat(&self) -> bool {
        let data_rw =
            self.attr & (attr::P | attr::S | attr::CODE | attr::EC | attr::RW) == attr::P | attr::S | attr::RW;
        let code_r =
            self.attr & (attr::P | attr::S | attr::CODE | attr::RW) == attr::P | attr::S | attr::CODE | attr::RW;
        self.base == 0 && self.limit == u32::MAX && (data_rw || code_r)
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct TableReg {
    /// Linear base address.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u16,
}

/// The x87 unit (SDM vol. 1, 8.1).
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Fpu {
    /// Physical registers R0-R7; ST(i) is `regs[(top + i) & 7]`. MMi is the mantissa of `regs[i]`.
    pub regs: [F80; 8],
    /// Control word.
    pub cw: u16,
    /// Status word, TOP in bits 11-13 included.
    pub sw: u16,
    /// Bit i set: physical register i is empty.
    pub empty: u8,
    /// Last instruction's opcode, 11 bits.
    pub last_opcode: u16,
    /// Last instruction's CS selector.
    pub last_cs: u16,
    /// Last instruction's offset.
    pub last_ip: u64,
    /// Last operand's segment selector.
    pub last_ds: u16,
    /// Last operand's offset.
    pub last_dp: u64,
}

impl Fpu {
    /// The state after FNINIT.
    pub fn reset(&mut self) {
        self.cw = 0x37f;
        self.sw = 0;
        self.empty = 0xff;
        self.last_opcode = 0;
        self.last_cs = 0;
        self.last_ip = 0;
        self.last_ds = 0;
        self.last_dp = 0;
    }
    /// TOP of stack, 0-7.
    pub fn top(&self) -> u8 {
        (self.sw >> 11 & 7) as u8
    }
    /// Sets TOP.
    pub fn set_top(&mut self, top: u8) {
        self.sw = self.sw & !0x3800 | u16::from(top & 7) << 11;
    }
}

/// What the host's own x87 unit holds between batches of [`crate::passthrough`] on the thread that runs this CPU. It
/// says nothing about the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct HostX87 {
    /// The host's control word, one that masks all exceptions; 0 if not known.
    pub control: u16,
    /// Exception flags that may be set in the host's status word, bits 0-5; [`HostX87::UNKNOWN`] has more.
    pub sticky: u16,
}

/// Bits of [`State::fp_on_host`]; [`crate::passthrough::settle`] code brings everything home.
pub mod on_host {
    /// The guest's MXCSR is the host's, all exceptions masked.
    pub const MXCSR: u8 = 1;
    /// The guest's x87 registers, tags, status and control word are the host's, all exceptions masked and none pending.
    pub const X87: u8 = 2;
}

impl HostX87 {
    /// Nothing is known: the first batch sets both. Whoever lets another thread, or another CPU's code, run on must
    /// start from this.
    pub const UNKNOWN: Self = HostX87 { control: 0, sticky: 0x803f };
}

/// Everything the CPU remembers between instructions.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct State {
    /// General registers, split flags, zero, temporaries: see [`slot`].
    pub slots: [u64; 256],
    /// XMM registers and vector temporaries.
    pub vectors: [u128; 32],
    /// Instruction pointer. While a block runs it stays at the block's first instruction.
    pub rip: u64,
    /// EFLAGS without the six arithmetic flags, bit 1 clear.
    pub sys_flags: u32,
    /// Bits of [`mode`], always up to date: call [`State::update_mode`] after changing what they derive from.
    pub mode: u32,
    /// Current privilege level: 0 in real mode, 3 in virtual-8086 mode.
    pub cpl: u8,
    /// HLT is waiting for an interrupt.
    pub halted: bool,
    /// One more instruction runs before interrupts are recognised (STI).
    pub sti_shadow: bool,
    /// One more instruction runs before interrupts and debug traps are recognised (MOV SS, POP SS).
    pub ss_shadow: bool,
    /// An NMI handler is running: NMIs wait for IRET.
    pub nmi_blocked: bool,
    /// DR6 bits of data breakpoints hit by the running instruction, reported as a trap after it.
    pub pending_debug: u32,
    /// ES, CS, SS, DS, FS, GS.
    pub segs: [Segment; 6],
    /// Local descriptor table register.
    pub ldtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table register.
    pub gdtr: TableReg,
    /// Interrupt descriptor table register.
    pub idtr: TableReg,
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// DR0-DR3, and DR6, DR7 at their own index; 4 and 5 are unused.
    pub dr: [u64; 8],
    /// IA32_EFER.
    pub efer: u64,
    /// IA32_SYSENTER_CS.
    pub sysenter_cs: u64,
    /// IA32_SYSENTER_ESP.
    pub sysenter_esp: u64,
    /// IA32_SYSENTER_EIP.
    pub sysenter_eip: u64,
    /// IA32_PAT.
    pub pat: u64,
    /// IA32_APIC_BASE.
    pub apic_base: u64,
    /// Added to the bus's time stamp counter; WRMSR to IA32_TIME_STAMP_COUNTER changes it.
    pub tsc_offset: u64,
    /// The four page-directory-pointer entries loaded by MOV CR3 in PAE mode.
    pub pdpte: [u64; 4],
    /// MTRR MSRs that are plain storage: 16 variable, 11 fixed, default type.
    pub mtrr: [u64; 28],
    /// x87.
    pub fpu: Fpu,
    /// SSE control and status.
    pub mxcsr: u32,
    /// What compiled code keeps besides; not part of the architectural state.
    pub(crate) frame: Frame,
    /// The host's x87 unit: a cache, not part of the guest.
    pub host_x87: HostX87,
    /// Bits of [`on_host`]: parts of the guest that are in the host's own registers now, and stale here.
    pub fp_on_host: u8,
}

impl State {
    /// The state after a hardware reset of `model` (SDM vol. 3, table 9-1).
    pub fn reset(model: Model) -> Self {
        let fpu = Fpu {
            regs: [F80::default(); 8],
            cw: 0x40,
            sw: 0,
            empty: 0,
            last_opcode: 0,
            last_cs: 0,
            last_ip: 0,
            last_ds: 0,
            last_dp: 0,
        };
        let mut s = State {
            slots: [0; 256],
            vectors: [0; 32],
            rip: 0xfff0,
            sys_flags: 0,
            mode: 0,
            cpl: 0,
            halted: false,
            sti_shadow: false,
            ss_shadow: false,
            nmi_blocked: false,
            pending_debug: 0,
            segs: [Segment::real(0); 6],
            ldtr: Segment { limit: 0xffff, attr: attr::P | 2 << 8, ..Segment::default() },
            tr: Segment { limit: 0xffff, attr: attr::P | 0xb << 8, ..Segment::default() },
            gdtr: TableReg { base: 0, limit: 0xffff },
            idtr: TableReg { base: 0, limit: if model >= Model::I286 { 0xffff } else { 0x3ff } },
            cr0: if model >= Model::I486 { cr::CD | cr::NW | cr::ET } else { cr::ET },
            cr2: 0,
            cr3: 0,
            cr4: 0,
            dr: [0, 0, 0, 0, 0, 0, 0xffff_0ff0, 0x400],
            efer: 0,
            sysenter_cs: 0,
            sysenter_esp: 0,
            sysenter_eip: 0,
            pat: 0x0007_0406_0007_0406,
            apic_base: 0xfee0_0900,
            tsc_offset: 0,
            pdpte: [0; 4],
            mtrr: [0; 28],
            fpu,
            mxcsr: 0x1f80,
            frame: Frame::default(),
            host_x87: HostX87::UNKNOWN,
            fp_on_host: 0,
        };
        s.segs[1] = Segment { base: 0xffff_0000, limit: 0xffff, attr: attr::REAL_CODE, selector: 0xf000 };
        match model {
            Model::I8086 => {
                s.segs[1] = Segment { base: 0xffff0, limit: 0xffff, attr: attr::REAL_CODE, selector: 0xffff };
                s.rip = 0;
            }
            Model::I286 => s.segs[1].base = 0xff_0000,
            _ => {}
        }
        s.slots[slot::RDX as usize] = u64::from(model.signature());
        s.set_arith_flags(0);
        s.update_mode();
        s
    }

    /// General register `n` (encoding order), all 64 bits.
    pub fn gpr(&self, n: u8) -> u64 {
        self.slots[usize::from(n & 15)]
    }
    /// Sets general register `n`, all 64 bits.
    pub fn set_gpr(&mut self, n: u8, v: u64) {
        self.slots[usize::from(n & 15)] = v;
    }
    /// CF.
    pub fn cf(&self) -> bool {
        self.slots[slot::CO as usize] >> 63 != 0
    }
    /// ZF.
    pub fn zf(&self) -> bool {
        self.slots[slot::NZ as usize] == 0
    }
    /// SF.
    pub fn sf(&self) -> bool {
        self.slots[slot::SP as usize] >> 63 != 0
    }
    /// OF.
    pub fn of(&self) -> bool {
        let co = self.slots[slot::CO as usize];
        (co ^ co << 1) >> 63 != 0
    }
    /// PF.
    pub fn pf(&self) -> bool {
        (self.slots[slot::SP as usize] as u8).count_ones() & 1 == 0
    }
    /// AF.
    pub fn af(&self) -> bool {
        self.slots[slot::AF as usize] & 0x10 != 0
    }
    /// The six arithmetic flags in their EFLAGS positions.
    pub fn arith_flags(&self) -> u32 {
        u32::from(self.cf())
            | u32::from(self.pf()) << 2
            | u32::from(self.af()) << 4
            | u32::from(self.zf()) << 6
            | u32::from(self.sf()) << 7
            | u32::from(self.of()) << 11
    }
    /// Sets the six arithmetic flags from their EFLAGS positions.
    pub fn set_arith_flags(&mut self, f: u32) {
        self.slots[slot::NZ as usize] = u64::from(f & eflags::ZF == 0);
        self.slots[slot::SP as usize] = u64::from(f & eflags::SF != 0) << 63 | u64::from(f & eflags::PF == 0);
        let cf = f & eflags::CF != 0;
        let of = f & eflags::OF != 0;
        self.slots[slot::CO as usize] = u64::from(cf) << 63 | u64::from(cf ^ of) << 62;
        self.slots[slot::AF as usize] = u64::from(f & eflags::AF);
    }
    /// EFLAGS, bit 1 set.
    pub fn eflags(&self) -> u32 {
        self.sys_flags | self.arith_flags() | eflags::ONE
    }
    /// Sets all of EFLAGS and what derives from it. Bits the architecture reserves must be masked by the caller.
    pub fn set_eflags(&mut self, f: u32) {
        const MODE: u32 = eflags::TF | eflags::RF | eflags::AC | eflags::VM | eflags::IOPL;
        self.set_arith_flags(f);
        let old = std::mem::replace(&mut self.sys_flags, f & !(eflags::ARITH | eflags::ONE));
        if (old ^ f) & MODE != 0 {
            self.update_mode();
        }
    }
    /// I/O privilege level.
    pub fn iopl(&self) -> u8 {
        (self.sys_flags >> 12 & 3) as u8
    }
    /// Protected mode without virtual-8086.
    pub fn protected(&self) -> bool {
        self.cr0 & cr::PE != 0 && self.sys_flags & eflags::VM == 0
    }
    /// Virtual-8086 mode.
    pub fn v86(&self) -> bool {
        self.sys_flags & eflags::VM != 0
    }
    /// Recomputes [`State::mode`] after a change of CS, SS, DS..., CPL, EFLAGS, CR0, CR4 or DR7.
    pub fn update_mode(&mut self) {
        self.mode = self.mode_bits();
        for n in SegReg::ALL {
            self.update_segment(n);
        }
    }

    /// As [`State::update_mode`] when of the segments only `segs` have changed, and neither CR0.PE nor EFLAGS.VM.
    pub(crate) fn update_mode_for(&mut self, segs: &[SegReg]) {
        const SEGMENTS: u32 = (mode::FLAT * 0x3f) | mode::CODE32 | mode::STACK32;
        self.mode = self.mode_bits() | self.mode & SEGMENTS;
        for n in segs {
            self.update_segment(*n);
        }
    }

    /// What derives from one segment register alone.
    pub(crate) fn update_segment(&mut self, n: SegReg) {
        let s = &self.segs[n as usize];
        let bit = mode::FLAT << n as u32;
        // Compiled code tells by the register alone whether it may write: code that a data segment register was
        // loaded with, which cannot be written (SDM vol. 3, 3.4.5.1), takes the checked way.
        let flat = s.is_flat() && (n == SegReg::Cs || s.attr & attr::CODE == 0);
        self.mode = if flat { self.mode | bit } else { self.mode & !bit };
        match n {
            SegReg::Cs => self.mode = if s.big() { self.mode | mode::CODE32 } else { self.mode & !mode::CODE32 },
            SegReg::Ss => self.mode = if s.big() { self.mode | mode::STACK32 } else { self.mode & !mode::STACK32 },
            _ => {}
        }
        self.update_bounds(n);
    }

    /// The mode bits that derive from something else than a segment.
    fn mode_bits(&self) -> u32 {
        let mut m = 0;
        if self.cr0 & cr::PE != 0 {
            m |= mode::PE;
        }
        if self.v86() {
            m |= mode::VM;
        }
        if self.cpl == 3 {
            m |= mode::USER;
        }
        if self.cpl != 0 {
            m |= mode::NOT_CPL0;
        }
        if self.cr0 & (cr::EM | cr::TS) == 0 {
            m |= mode::FPU;
            if self.cr4 & cr::OSFXSR != 0 {
                m |= mode::SSE;
            }
        }
        if self.cr0 & (cr::TS | cr::MP) == cr::TS | cr::MP {
            m |= mode::WAIT_NM;
        }
        if !self.v86() && self.cpl <= self.iopl() {
            m |= mode::IOPL_OK;
        }
        let align = self.cpl == 3 && self.cr0 & cr::AM != 0 && self.sys_flags & eflags::AC != 0;
        let mut data_bp = false;
        let mut code_bp = false;
        for i in (0..4).filter(|_| self.dr[7] & 0xff != 0) {
            if self.dr[7] >> (i * 2) & 3 != 0 {
                if self.dr[7] >> (16 + i * 4) & 3 == 0 {
                    code_bp = true;
                } else {
                    data_bp = true;
                }
            }
        }
        if align || data_bp {
            m |= mode::CHECKED;
        }
        // RF is there to be cleared after one instruction.
        if code_bp || self.sys_flags & (eflags::TF | eflags::RF) != 0 {
            m |= mode::STEP;
        }
        m
    }
}
