//! Where everything lies: the addresses both sides of a differential run agree on, the record that carries
//! one case in and out, and the segment environments a case runs in.

/// First linear address of everything the native side maps.
pub const LOW: u32 = 0x1000_0000;
/// Control page: pointers, the scratch record and what the fault handler needs.
pub const CTRL: u32 = LOW;
/// Initial ESP of the harness's own flat stack.
pub const STACK_TOP: u32 = LOW + 0x2000 - 64;
/// Code area: harness code in its lower half, the tested instruction in its upper half.
pub const CODE: u32 = LOW + 0x2_0000;
/// Bytes in the code area.
pub const CODE_LEN: u32 = 0x1_0000;
/// Below this offset of the code area lies the harness, above it only tested code and INT3.
pub const HARNESS_LEN: u32 = 0x8000;
/// Offset in the code area of a page that is not present: instructions may end before it, or reach into it.
pub const ABSENT_CODE: u32 = 0xD000;
/// Where the code area above the harness may be written.
pub const CODE_ALIAS: u32 = LOW + 0x4_0000;
/// Data the tested instructions may touch.
pub const ARENA: u32 = LOW + 0x10_0000;
/// Bytes in the arena.
pub const ARENA_LEN: u32 = 0x1_0000;
/// Page of the arena that is not present.
pub const ABSENT_PAGE: u32 = 8;
/// Page of the arena that is read-only.
pub const READ_ONLY_PAGE: u32 = 9;
/// Input records.
pub const INPUT: u32 = LOW + 0x20_0000;
/// Output records.
pub const OUTPUT: u32 = LOW + 0x60_0000;
/// Bytes in each of the two record areas.
pub const RECORDS_LEN: u32 = 0x40_0000;
/// Bytes from [`LOW`] to the end of the last area.
pub const TOTAL_LEN: u32 = 0xA0_0000;

/// Offsets of fields in a record's 64-byte header. ESP and SS lie together because LSS loads them as one.
pub mod field {
    /// Offset of each general register, by its number in an instruction (EAX ECX EDX EBX ESP EBP ESI EDI).
    pub const GPR: [usize; 8] = [0, 4, 8, 12, 16, 24, 28, 32];
    /// SS selector (input only).
    pub const SS: usize = 20;
    /// EFLAGS.
    pub const EFLAGS: usize = 36;
    /// EIP after the instruction, or of the faulting one (output only).
    pub const EIP: usize = 40;
    /// Exception vector, or [`super::NO_EXCEPTION`] (output only).
    pub const VECTOR: usize = 44;
    /// Error code of the exception (output only).
    pub const ERROR: usize = 48;
    /// CR2 if the exception is a page fault (output only).
    pub const CR2: usize = 52;
    /// Selectors of ES, DS and GS (output only, and only if the shape says so).
    pub const SELECTORS: [(usize, usize); 3] = [(super::seg::ES, 20), (super::seg::DS, 22), (super::seg::GS, 56)];
    /// Linear addresses of the two memory windows (input only).
    pub const WINDOW: [usize; 2] = [56, 60];
}

/// Length of a record's header.
pub const HEADER_LEN: usize = 64;
/// Exceptions, as the vector field has them (SDM volume 3, 6.3.1).
pub mod vector {
    /// #BR.
    pub const BOUND: u32 = 5;
    /// #UD.
    pub const INVALID: u32 = 6;
    /// #SS.
    pub const STACK: u32 = 12;
    /// #GP.
    pub const PROTECTION: u32 = 13;
    /// #PF.
    pub const PAGE: u32 = 14;
    /// #AC.
    pub const ALIGNMENT: u32 = 17;
}

/// Value of the vector field when the instruction completed.
pub const NO_EXCEPTION: u32 = 0xFFFF_FFFF;
/// Length of the FXSAVE image in a record.
pub const FX_LEN: usize = 512;

/// What a record holds after its header: two memory windows, then an FXSAVE image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Shape {
    /// Lengths of the two windows in bytes, multiples of 16; 0 if unused.
    pub window: [usize; 2],
    /// Whether the record carries an FXSAVE image.
    pub fx: bool,
    /// Whether the instruction changes ES, DS or GS: they are set before each case, and their selectors stand in the
    /// output.
    pub segments: bool,
    /// Whether the first window is code, by way of [`CODE_ALIAS`].
    pub code: bool,
}

impl Shape {
    /// Bytes in one record.
    pub fn stride(self) -> usize {
        HEADER_LEN + self.window[0] + self.window[1] + if self.fx { FX_LEN } else { 0 }
    }

    /// Offset of window `index` in a record.
    pub fn window_offset(self, index: usize) -> usize {
        HEADER_LEN + if index == 0 { 0 } else { self.window[0] }
    }

    /// Offset of the FXSAVE image in a record.
    pub fn fx_offset(self) -> usize {
        HEADER_LEN + self.window[0] + self.window[1]
    }

    /// How many records fit the area.
    pub fn capacity(self) -> usize {
        RECORDS_LEN as usize / self.stride()
    }
}

/// Reads a little-endian u32 at `offset`.
pub fn get32(record: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([record[offset], record[offset + 1], record[offset + 2], record[offset + 3]])
}

/// Writes a little-endian u32 at `offset`.
pub fn put32(record: &mut [u8], offset: usize, value: u32) {
    record[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

/// One segment register's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Linear base.
    pub base: u32,
    /// Limit in bytes, inclusive (for expand-down segments: the last invalid offset).
    pub limit: u32,
    /// Expand-down data segment.
    pub expand_down: bool,
    /// The descriptor's D/B bit.
    pub big: bool,
    /// Code segment (readable, not writable).
    pub code: bool,
}

impl Segment {
    /// The offsets that may be used: first and last.
    pub fn range(self) -> (u32, u32) {
        if self.expand_down {
            (self.limit.wrapping_add(1), if self.big { u32::MAX } else { 0xFFFF })
        } else {
            (0, self.limit)
        }
    }

    /// The descriptor as it would stand in a descriptor table (SDM volume 3, 3.4.5), DPL 3, accessed.
    pub fn descriptor(self) -> u64 {
        let (limit, granular) = if self.limit > 0xF_FFFF { (self.limit >> 12, 1) } else { (self.limit, 0) };
        let kind: u64 = if self.code { 0xFB } else { 0xF3 | (u64::from(self.expand_down) << 2) };
        let base = u64::from(self.base);
        u64::from(limit & 0xFFFF)
            | (base & 0xFF_FFFF) << 16
            | kind << 40
            | u64::from(limit >> 16 & 0xF) << 48
            | u64::from(self.big) << 54
            | granular << 55
            | (base >> 24) << 56
    }
}

/// The segment registers a case runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Environment {
    /// 32-bit code, every segment flat (base 0, limit 4 GiB - 1).
    Flat32,
    /// 32-bit code, each segment with a base and a limit of its own.
    Segmented32,
    /// 16-bit protected-mode code with a 16-bit stack, each segment with a base and a limit of its own.
    Segmented16,
}

/// Every environment.
pub const ENVIRONMENTS: [Environment; 3] = [Environment::Flat32, Environment::Segmented32, Environment::Segmented16];

/// Index of each LDT entry that the environments use.
const LDT_CS32: u16 = 0;
const LDT_CS16: u16 = 1;
const LDT_DS: u16 = 2;
const LDT_ES: u16 = 3;
const LDT_GS: u16 = 4;
const LDT_SS32: u16 = 5;
const LDT_SS16: u16 = 6;

const fn ldt(index: u16) -> u16 {
    index << 3 | 7
}

const FLAT_DATA: Segment =
    Segment { selector: 0x2B, base: 0, limit: u32::MAX, expand_down: false, big: true, code: false };
const FLAT_CODE: Segment = Segment { selector: 0x23, code: true, ..FLAT_DATA };
const LOCAL_CODE32: Segment =
    Segment { selector: ldt(LDT_CS32), base: CODE, limit: 0xFFFF, expand_down: false, big: true, code: true };
const LOCAL_CODE16: Segment = Segment { selector: ldt(LDT_CS16), big: false, ..LOCAL_CODE32 };
// Four different bases, so that a wrong choice of segment is seen.
const LOCAL_DS: Segment =
    Segment { selector: ldt(LDT_DS), base: ARENA + 0x2000, limit: 0xDFFF, expand_down: false, big: true, code: false };
const LOCAL_ES: Segment = Segment { selector: ldt(LDT_ES), base: ARENA + 0x1000, limit: 0xEFFF, ..LOCAL_DS };
const LOCAL_GS: Segment =
    Segment { selector: ldt(LDT_GS), base: ARENA, limit: 0x0FFF, expand_down: true, big: false, code: false };
const LOCAL_SS32: Segment = Segment { selector: ldt(LDT_SS32), base: ARENA, limit: 0xFFFF, ..LOCAL_DS };
const LOCAL_SS16: Segment = Segment { selector: ldt(LDT_SS16), big: false, ..LOCAL_SS32 };

/// The LDT: every local segment at the index its selector names.
pub const LDT: [Segment; 7] = [LOCAL_CODE32, LOCAL_CODE16, LOCAL_DS, LOCAL_ES, LOCAL_GS, LOCAL_SS32, LOCAL_SS16];

/// Selectors whose descriptors are the same for the host and for Ring86: null, the LDT's, and some beyond both
/// tables' limits. Null selectors with an RPL are left out: an interrupt on the host may clear the RPL.
pub const SELECTORS: [u16; 13] = [0, 0x04, 0x07, 0x0F, 0x16, 0x17, 0x1F, 0x27, 0x2F, 0x37, 0x3F, 0x1004, 0xFFF3];

/// Index of each segment register in [`Environment::segments`], as in the instruction encoding.
pub mod seg {
    /// ES.
    pub const ES: usize = 0;
    /// CS.
    pub const CS: usize = 1;
    /// SS.
    pub const SS: usize = 2;
    /// DS.
    pub const DS: usize = 3;
    /// FS.
    pub const FS: usize = 4;
    /// GS.
    pub const GS: usize = 5;
}

impl Environment {
    /// Code size in bits.
    pub fn bits(self) -> u32 {
        if self == Environment::Segmented16 { 16 } else { 32 }
    }

    /// The six segment registers: ES CS SS DS FS GS. FS is flat everywhere: the harness reaches its own data
    /// through it.
    pub fn segments(self) -> [Segment; 6] {
        match self {
            Environment::Flat32 => [FLAT_DATA, FLAT_CODE, FLAT_DATA, FLAT_DATA, FLAT_DATA, FLAT_DATA],
            Environment::Segmented32 => [LOCAL_ES, LOCAL_CODE32, LOCAL_SS32, LOCAL_DS, FLAT_DATA, LOCAL_GS],
            Environment::Segmented16 => [LOCAL_ES, LOCAL_CODE16, LOCAL_SS16, LOCAL_DS, FLAT_DATA, LOCAL_GS],
        }
    }

    /// Linear address of EIP 0.
    pub fn code_base(self) -> u32 {
        self.segments()[seg::CS].base
    }

    /// The name used in failure lines.
    pub fn name(self) -> &'static str {
        match self {
            Environment::Flat32 => "flat32",
            Environment::Segmented32 => "seg32",
            Environment::Segmented16 => "seg16",
        }
    }

    /// The environment with that name.
    pub fn from_name(name: &str) -> Option<Environment> {
        ENVIRONMENTS.into_iter().find(|environment| environment.name() == name)
    }
}

/// The deterministic content of the arena before each batch.
pub fn arena_pattern() -> Vec<u8> {
    let mut random = super::values::Random::new(0xA4E4A);
    (0..ARENA_LEN / 8).flat_map(|_| random.next().to_le_bytes()).collect()
}

/// Distance from the tested instruction to the landing pads before and after it. Both are within reach of an
/// 8-bit displacement.
pub const LANDING_BEFORE: u32 = 32;
/// See [`LANDING_BEFORE`].
pub const LANDING_AFTER: u32 = 64;

/// Where the tested instruction lies and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The segments.
    pub environment: Environment,
    /// Offset of the instruction in the code area.
    pub offset: u32,
}

impl Placement {
    /// EIP of the tested instruction.
    pub fn eip(self) -> u32 {
        (CODE + self.offset).wrapping_sub(self.environment.code_base())
    }

    /// The EIPs at which a control transfer may land: before and after the instruction.
    pub fn landings(self) -> [u32; 2] {
        [self.eip() - LANDING_BEFORE, self.eip() + LANDING_AFTER]
    }
}
