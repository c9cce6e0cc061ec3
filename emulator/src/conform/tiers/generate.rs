//! Cases of the suite `tiers`, by family: each is made from the seed and its number alone.

use super::forms::{Ending, Forms};
use super::machine::{ABSENT, CODE, CODE_END, DATA, READ_ONLY, SUPERVISOR, descriptors, repaired};
use super::rules::{INSTRUCTIONS, Rule};
use crate::conform::generate::write_form;
use crate::conform::templates::Form;
use crate::conform::values::Random;
use iced_x86::{Decoder, DecoderOptions, FlowControl};
use ring86_translator::state::{cr, eflags};

/// What a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Instructions that privilege matters to, at every CPL and IOPL and in virtual-8086 mode, held to the manual too.
    Privilege,
    /// Loads of segment registers, held to the manual too.
    Segments,
    /// Short programs under TF and with breakpoints on code, data and I/O.
    Debug,
    /// String instructions that fault on their way, are repaired and go on.
    Strings,
    /// Random bytes before a page that is absent.
    Decoder,
    /// Every form that the host is not asked about, or that only faults in user mode, at CPL 0.
    Forms,
}

/// All families, with their names in reports.
pub const FAMILIES: [(Family, &str); 6] = [
    (Family::Privilege, "privilege"),
    (Family::Segments, "segments"),
    (Family::Debug, "debug"),
    (Family::Strings, "strings"),
    (Family::Decoder, "decoder"),
    (Family::Forms, "forms"),
];

/// What the manual says, for the families that it judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing that the rules cover.
    Open,
    /// As [`super::rules::privilege`].
    Privilege(Rule),
    /// As [`super::rules::load`]: the selector, and whether it goes to SS.
    Load(u16, bool),
    /// As [`super::forms::wrong`].
    Ends(Ending),
    /// Element size and whether ESI and EDI move; the count in ECX.
    String(u32, bool, bool),
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Privilege level, outside virtual-8086 mode.
    pub cpl: u8,
    /// In virtual-8086 mode.
    pub v86: bool,
    /// Size of code outside virtual-8086 mode; 16 at CPL 0 only.
    pub bits: u32,
    /// Data segments other than DS and SS are short.
    pub short: bool,
    /// EFLAGS, IOPL included.
    pub flags: u32,
    /// CR4 beside what is always set.
    pub cr4: u64,
    /// General registers.
    pub gpr: [u32; 8],
    /// Debug registers.
    pub dr: [u64; 8],
    /// Each byte of the I/O permission bitmap.
    pub bitmap: u8,
    /// What memory is filled from.
    pub fill: u64,
    /// Where the code lies.
    pub at: u32,
    /// The code.
    pub code: Vec<u8>,
    /// What else is laid into memory.
    pub memory: Vec<(u32, Vec<u8>)>,
    /// Vectors with an interrupt gate. Without any, exceptions are not delivered but end the run.
    pub gates: Vec<u8>,
    /// The MSRs of SYSENTER: CS, ESP, EIP.
    pub sysenter: (u64, u64, u64),
    /// Instructions to run.
    pub steps: u64,
    /// Page table entries to write after each exception, after which the run goes on.
    pub repairs: Vec<(u32, u32)>,
    /// What the manual says.
    pub expect: Expect,
}

/// Case number `number` of a family.
pub fn case(family: Family, seed: u64, number: u64, forms: &Forms) -> Case {
    let mut random = Random::new(seed.wrapping_mul(0x1_0000_0001).wrapping_add(number * 8 + family as u64));
    let r = &mut random;
    let cpl = r.below(4) as u8;
    let mut case = Case {
        cpl,
        v86: false,
        bits: 32,
        short: r.one_in(4),
        flags: r.next32() & (eflags::ARITH | eflags::DF | eflags::IF) | r.below(4) << 12,
        cr4: 0,
        gpr: std::array::from_fn(|_| r.int32()),
        dr: [0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400],
        bitmap: r.pick(&[0, 0xFF]),
        fill: r.next(),
        at: CODE + 0x100,
        code: Vec::new(),
        memory: Vec::new(),
        gates: Vec::new(),
        sysenter: (0, 0, 0),
        steps: 1,
        repairs: Vec::new(),
        expect: Expect::Open,
    };
    case.gpr[4] = DATA + 0x1800 + (r.below(64) << 2);
    match family {
        Family::Privilege => privilege(&mut case, r),
        Family::Segments => segments(&mut case, r),
        Family::Debug => debug(&mut case, r, &forms.any),
        Family::Strings => strings(&mut case, r),
        Family::Decoder => decoder(&mut case, r),
        Family::Forms => super::forms::fill(&mut case, r, forms.kernel(number)),
    }
    case
}

impl Case {
    /// Size of its code in bits.
    pub fn bits(&self) -> u32 {
        if self.v86 { 16 } else { self.bits }
    }
}

fn privilege(case: &mut Case, r: &mut Random) {
    let (bytes, rule) = r.pick(INSTRUCTIONS);
    case.code = bytes.to_vec();
    case.expect = Expect::Privilege(rule);
    case.v86 = r.one_in(4);
    case.short = false;
    if rule == Rule::TimeStamp && r.one_in(2) {
        case.cr4 = cr::TSD;
    }
    // An operand for [EBX], and for [BP+DI] in 16-bit code.
    case.gpr[3] = DATA + 0x100;
    case.gpr[5] = 0;
    case.gpr[7] = 0x100;
    case.gpr[2] = if r.one_in(4) { 0x500 + r.below(0x8000) } else { r.below(0x3F0) };
    if case.v86 {
        case.gpr[4] = 0x1800;
    }
}

fn segments(case: &mut Case, r: &mut Random) {
    // Not CS: 8E /1 is #UD.
    let register = r.pick(&[0u8, 2, 3, 4, 5]);
    let index = r.below(descriptors().len() as u32 + 2) as u16;
    let selector = index << 3 | r.below(4) as u16 | if r.one_in(16) { 4 } else { 0 };
    case.gpr[0] = u32::from(selector) | r.next32() & 0xFFFF_0000;
    case.code = vec![0x8E, 0xC0 | register << 3];
    // What comes after runs on the segment: a load by way of it.
    if register != 2 && r.one_in(2) {
        let prefix = [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65][usize::from(register)];
        case.gpr[3] = r.pick(&[0, 0xFFD, 0x1000, DATA, DATA + 0xFFE, u32::MAX - 1]);
        case.code.extend([prefix, 0x8B, 0x0B]);
        case.steps = 2;
        case.expect = Expect::Open;
    } else {
        case.expect = Expect::Load(selector, register == 2);
    }
}

/// A random instruction of the forms given that goes on with the next one.
fn instruction(r: &mut Random, forms: &[Form]) -> Vec<u8> {
    for _ in 0..64 {
        let mut bytes = [0; 15];
        write_form(r.pick(forms), r, &mut bytes);
        let decoded = Decoder::new(32, &bytes, DecoderOptions::NONE).decode();
        if !decoded.is_invalid() && decoded.flow_control() == FlowControl::Next {
            return bytes[..decoded.len()].to_vec();
        }
    }
    vec![0x90]
}

/// An address that is good for most accesses, or near an edge.
fn address(r: &mut Random) -> u32 {
    match r.below(8) {
        0 => r.pick(&[ABSENT, READ_ONLY, SUPERVISOR, DATA + 0x1000]).wrapping_sub(r.below(8)),
        1 => r.pick(&[READ_ONLY, SUPERVISOR]) + r.below(0x800),
        _ => DATA + 0x400 + (r.below(0xC00) & if r.one_in(2) { !15 } else { !0 }),
    }
}

fn debug(case: &mut Case, r: &mut Random, forms: &[Form]) {
    for index in [0, 1, 2, 3, 5, 6, 7] {
        if !r.one_in(4) {
            case.gpr[index] = address(r);
        }
    }
    let mut starts = Vec::new();
    for _ in 0..2 + r.below(5) {
        starts.push(case.at + case.code.len() as u32);
        match r.below(12) {
            // POP SS, MOV SS and STI hold back what comes with the next instruction.
            0 => case.code.extend([0x8C, 0xD0, 0x8E, 0xD0]),
            1 => case.code.extend([0x16, 0x17]),
            2 => case.code.push(0xFB),
            // PUSHF; OR BYTE [ESP+1], 1; POPF: TF on the way.
            3 => case.code.extend([0x9C, 0x80, 0x4C, 0x24, 0x01, 0x01, 0x9D]),
            4 => case.code.extend([r.pick(&[0xE4, 0xE5, 0xE6, 0xE7]), 0x80]),
            5 => case.code.extend([0xF3, r.pick(&[0xA4, 0xA5, 0xAA, 0xAB, 0xA6, 0xAE, 0xAC])]),
            // MOV from and to DR7 and DR6: with GD, #DB.
            6 => case.code.extend([0x0F, r.pick(&[0x21, 0x23]), r.pick(&[0xF0, 0xF8, 0xC0])]),
            7 => case.code.push(r.pick(&[0xCC, 0xF1, 0xCE])),
            _ => case.code.extend(instruction(r, forms)),
        }
    }
    if r.one_in(2) {
        case.gpr[1] = r.below(6);
    }
    if r.one_in(3) {
        case.flags |= eflags::TF;
    }
    if r.one_in(8) {
        case.flags |= eflags::RF;
    }
    for index in 0..4u64 {
        if r.one_in(2) {
            continue;
        }
        let kind = r.below(4);
        let target = match kind {
            0 => r.pick(&starts),
            2 => 0x80,
            _ => r.pick(&case.gpr).wrapping_add(r.below(8)).wrapping_sub(r.below(8)),
        };
        case.dr[index as usize] = u64::from(target);
        // Length by kind: code has length 1.
        let length = if kind == 0 { 0 } else { r.pick(&[0u32, 1, 3]) };
        case.dr[7] |= u64::from(1 + r.below(3)) << (index * 2) | u64::from(kind | length << 2) << (16 + index * 4);
    }
    if r.one_in(16) {
        case.dr[7] |= 1 << 13;
    }
    case.steps = 4 + u64::from(r.below(8));
}

fn strings(case: &mut Case, r: &mut Random) {
    // Opcode, and whether ESI and EDI move.
    let (opcode, source, destination) = r.pick(&[
        (0xA4u8, true, true),
        (0xAA, false, true),
        (0xAC, true, false),
        (0xA6, true, true),
        (0xAE, false, true),
    ]);
    let wide = r.below(3);
    let size = 1 << wide;
    let compares = matches!(opcode, 0xA6 | 0xAE);
    case.code = match wide {
        0 => vec![0xF3, opcode],
        1 => vec![0x66, 0xF3, opcode | 1],
        _ => vec![0xF3, opcode | 1],
    };
    if compares && r.one_in(2) {
        let at = case.code.len() - 2;
        case.code[at] = 0xF2;
    }
    case.short = false;
    let down = case.flags & eflags::DF != 0;
    // A start from which the count reaches a page that faults, or one that does not.
    let mut start = |edge: bool| {
        let page = if edge { r.pick(&[ABSENT, READ_ONLY, SUPERVISOR]) } else { DATA + 0x1000 };
        let back = r.below(24) * size + r.below(size);
        if down { page + 0x1000 + back - r.below(2) * size } else { page - back }
    };
    case.gpr[6] = start(true);
    case.gpr[7] = start(true);
    if r.one_in(2) {
        let to_source = r.one_in(2);
        case.gpr[if to_source { 6 } else { 7 }] = DATA + 0x800 + r.below(0x20) * size;
    }
    if opcode == 0xA4 && r.one_in(4) {
        // Overlapping.
        case.gpr[7] = case.gpr[6].wrapping_add(r.below(16)).wrapping_sub(r.below(16));
    }
    case.gpr[1] = r.below(64);
    case.steps = 1;
    case.repairs = [ABSENT, READ_ONLY, SUPERVISOR, ABSENT + 0x1000, CODE_END].map(repaired).to_vec();
    if r.one_in(2) {
        let (a, b) = (r.below(3) as usize, r.below(3) as usize);
        case.repairs.swap(a, b);
    }
    if r.one_in(4) {
        case.flags |= eflags::TF;
    }
    case.expect = Expect::String(size, source, destination);
}

fn decoder(case: &mut Case, r: &mut Random) {
    let len = 1 + r.below(16);
    case.at = CODE_END - len;
    case.code = (0..len).map(|_| r.next32() as u8).collect();
    // Prefixes and opcodes of two bytes, more often than chance has them.
    for byte in case.code.iter_mut().take(6) {
        match r.below(6) {
            0 => *byte = r.pick(&[0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65]),
            1 => *byte = 0x0F,
            2 => break,
            _ => {}
        }
    }
    case.v86 = r.one_in(6);
    for index in [0, 1, 2, 3, 5, 6, 7] {
        case.gpr[index] = address(r);
    }
    if case.v86 {
        case.gpr[4] = 0x1800;
    }
    case.steps = 1 + u64::from(r.below(2));
}
