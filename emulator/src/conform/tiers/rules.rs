//! What the manual's tables say of an instruction by privilege: SDM volume 3, 5.9 (privileged instructions), 5.4 and 5.6
//! (segment selectors), 20.2.7 and 20.2.8 (virtual-8086 mode); volume 1, 19.5 (I/O privilege level and bitmap).

use super::generate::Case;
use super::machine::{NO_EXCEPTION, Seen, descriptors};

/// How privilege matters to an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Only at CPL 0; also in virtual-8086 mode #GP(0).
    Kernel,
    /// Only at CPL 0; unknown in virtual-8086 mode.
    KernelProtected,
    /// Anyone's; unknown in virtual-8086 mode.
    Protected,
    /// CPL must not be above IOPL, in virtual-8086 mode IOPL must be 3.
    Iopl,
    /// In virtual-8086 mode IOPL must be 3; otherwise anyone's.
    Virtual,
    /// I/O on the port in DX: above IOPL and in virtual-8086 mode the bitmap decides.
    Port,
    /// Only at CPL 0 if CR4.TSD is set.
    TimeStamp,
    /// Anyone's.
    Free,
}

/// The instructions, with memory operands at EBX.
pub const INSTRUCTIONS: &[(&[u8], Rule)] = &[
    (&[0xF4], Rule::Kernel),
    (&[0x0F, 0x06], Rule::Kernel),
    (&[0x0F, 0x08], Rule::Kernel),
    (&[0x0F, 0x09], Rule::Kernel),
    (&[0x0F, 0x30], Rule::Kernel),
    (&[0x0F, 0x32], Rule::Kernel),
    (&[0x0F, 0x20, 0xC0], Rule::Kernel),
    (&[0x0F, 0x20, 0xD1], Rule::Kernel),
    (&[0x0F, 0x20, 0xDA], Rule::Kernel),
    (&[0x0F, 0x20, 0xE6], Rule::Kernel),
    (&[0x0F, 0x22, 0xC0], Rule::Kernel),
    (&[0x0F, 0x22, 0xD0], Rule::Kernel),
    (&[0x0F, 0x22, 0xD8], Rule::Kernel),
    (&[0x0F, 0x22, 0xE0], Rule::Kernel),
    (&[0x0F, 0x21, 0xC0], Rule::Kernel),
    (&[0x0F, 0x21, 0xF1], Rule::Kernel),
    (&[0x0F, 0x23, 0xC0], Rule::Kernel),
    (&[0x0F, 0x23, 0xF8], Rule::Kernel),
    (&[0x0F, 0x01, 0x13], Rule::Kernel),
    (&[0x0F, 0x01, 0x1B], Rule::Kernel),
    (&[0x0F, 0x01, 0x33], Rule::Kernel),
    (&[0x0F, 0x01, 0xF0], Rule::Kernel),
    (&[0x0F, 0x01, 0x3B], Rule::Kernel),
    (&[0x0F, 0x00, 0x13], Rule::KernelProtected),
    (&[0x0F, 0x00, 0x1B], Rule::KernelProtected),
    (&[0x0F, 0x00, 0x03], Rule::Protected),
    (&[0x0F, 0x00, 0x0B], Rule::Protected),
    (&[0x0F, 0x00, 0x23], Rule::Protected),
    (&[0x0F, 0x00, 0x2B], Rule::Protected),
    (&[0x0F, 0x02, 0xC1], Rule::Protected),
    (&[0x0F, 0x03, 0xC1], Rule::Protected),
    (&[0x63, 0xC8], Rule::Protected),
    (&[0x0F, 0x01, 0x03], Rule::Free),
    (&[0x0F, 0x01, 0x0B], Rule::Free),
    (&[0x0F, 0x01, 0xE0], Rule::Free),
    (&[0xFA], Rule::Iopl),
    (&[0xFB], Rule::Iopl),
    (&[0x9C], Rule::Virtual),
    (&[0x9D], Rule::Virtual),
    (&[0xCF], Rule::Virtual),
    (&[0xCD, 0x21], Rule::Virtual),
    (&[0xEC], Rule::Port),
    (&[0xED], Rule::Port),
    (&[0xEE], Rule::Port),
    (&[0xEF], Rule::Port),
    (&[0x0F, 0x31], Rule::TimeStamp),
];

const GENERAL: (u32, Option<u32>) = (13, Some(0));

/// What must end a privilege case at its first instruction, or `None` if privilege is no hindrance.
pub fn fault(rule: Rule, case: &Case) -> Option<(u32, Option<u32>)> {
    let cpl = if case.v86 { 3 } else { case.cpl };
    let iopl = (case.flags >> 12 & 3) as u8;
    let unknown = Some((6, None));
    match rule {
        Rule::Kernel => (cpl != 0).then_some(GENERAL),
        Rule::KernelProtected | Rule::Protected if case.v86 => unknown,
        Rule::KernelProtected => (cpl != 0).then_some(GENERAL),
        Rule::Iopl => (cpl > iopl).then_some(GENERAL),
        Rule::Virtual => (case.v86 && iopl < 3).then_some(GENERAL),
        // The bitmap is all zeros or all ones, and covers the ports below 400h.
        Rule::Port => {
            let allowed = case.bitmap == 0 && case.gpr[2] & 0xFFFF < 0x3F0;
            ((case.v86 || cpl > iopl) && !allowed).then_some(GENERAL)
        }
        Rule::TimeStamp => (case.cr4 != 0 && cpl != 0).then_some(GENERAL),
        Rule::Free | Rule::Protected => None,
    }
}

/// What is wrong with how a privilege case ended, by the rule.
pub fn privilege(rule: Rule, case: &Case, seen: &Seen) -> Option<String> {
    let end = seen.ends[0];
    match fault(rule, case) {
        Some(fault) if (end.0, end.1) != fault => {
            Some(format!("{rule:?} at CPL {}: the manual asks for {fault:x?}, it was {end:x?}", case.cpl))
        }
        // Above CPL 0 an instruction that is allowed does not end in #GP(0) or #UD: operands are good.
        None if seen.bits.0 != 0
            && matches!(rule, Rule::Iopl | Rule::Port | Rule::TimeStamp | Rule::Free)
            && end.0 < NO_EXCEPTION =>
        {
            Some(format!("{rule:?} at CPL {}: nothing hinders it, but it ended with {end:x?}", case.cpl))
        }
        _ => None,
    }
}

/// What loading `selector` into a segment register ends with: SDM volume 2, MOV.
pub fn load(selector: u16, stack: bool, cpl: u8) -> Option<(u32, Option<u32>)> {
    let error = Some(u32::from(selector & !3));
    let general = Some((13, error));
    if selector & !3 == 0 {
        return if stack { Some(GENERAL) } else { None };
    }
    let (list, rpl) = (descriptors(), (selector & 3) as u8);
    let Some(descriptor) = list.get(usize::from(selector >> 3)).filter(|_| selector & 4 == 0) else { return general };
    let access = (descriptor >> 40) as u8;
    let level = access >> 5 & 3;
    let (system, code) = (access & 0x10 == 0, access & 8 != 0);
    let (conforming, readable) = (access & 4 != 0, access & 2 != 0);
    let present = access & 0x80 != 0;
    if stack {
        if system || code || !readable || rpl != cpl || level != cpl {
            return general;
        }
        return if present { None } else { Some((12, error)) };
    }
    if system || code && !readable || !(code && conforming) && level < cpl.max(rpl) {
        return general;
    }
    if present { None } else { Some((11, error)) }
}
