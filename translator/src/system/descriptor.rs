//! Segment and gate descriptors as they lie in memory (SDM vol. 3, 3.4.5 and 5.8).

use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::Res;
use crate::model::Model;
use crate::state::{Segment, attr};

/// System descriptor types (SDM vol. 3, table 3-2).
pub(crate) mod kind {
    /// 16-bit TSS, available.
    pub const TSS16: u8 = 1;
    /// Local descriptor table.
    pub const LDT: u8 = 2;
    /// 16-bit TSS, busy.
    pub const TSS16_BUSY: u8 = 3;
    /// 16-bit call gate.
    pub const CALL16: u8 = 4;
    /// Task gate.
    pub const TASK: u8 = 5;
    /// 16-bit interrupt gate.
    pub const INT16: u8 = 6;
    /// 16-bit trap gate.
    pub const TRAP16: u8 = 7;
    /// 32-bit TSS, available.
    pub const TSS32: u8 = 9;
    /// 32-bit TSS, busy.
    pub const TSS32_BUSY: u8 = 11;
    /// 32-bit call gate.
    pub const CALL32: u8 = 12;
    /// 32-bit interrupt gate.
    pub const INT32: u8 = 14;
    /// 32-bit trap gate.
    pub const TRAP32: u8 = 15;
}

/// A selector's part of an error code: everything but RPL.
pub(crate) fn code(sel: u16) -> u32 {
    u32::from(sel & 0xfffc)
}

/// True for the selectors 0 to 3.
pub(crate) fn is_null(sel: u16) -> bool {
    sel & 0xfffc == 0
}

/// Requested privilege level.
pub(crate) fn rpl(sel: u16) -> u8 {
    (sel & 3) as u8
}

/// Eight bytes of a descriptor table, and where they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Descriptor {
    /// The selector that named it.
    pub selector: u16,
    /// First doubleword.
    pub lo: u32,
    /// Second doubleword.
    pub hi: u32,
    /// Linear address.
    pub at: u64,
}

impl Descriptor {
    /// Base address of a segment.
    pub fn base(&self) -> u64 {
        u64::from(self.hi & 0xff00_0000 | (self.hi & 0xff) << 16 | self.lo >> 16)
    }
    /// Limit in bytes, granularity applied.
    pub fn limit(&self) -> u32 {
        let raw = self.hi & 0xf_0000 | self.lo & 0xffff;
        if self.hi & attr::G != 0 { raw << 12 | 0xfff } else { raw }
    }
    /// The segment register contents it stands for.
    pub fn segment(&self) -> Segment {
        Segment { base: self.base(), limit: self.limit(), attr: self.hi & attr::MASK, selector: self.selector }
    }
    /// Descriptor privilege level.
    pub fn dpl(&self) -> u8 {
        (self.hi >> 13 & 3) as u8
    }
    /// Present.
    pub fn present(&self) -> bool {
        self.hi & attr::P != 0
    }
    /// Code or data.
    pub fn is_segment(&self) -> bool {
        self.hi & attr::S != 0
    }
    /// Code segment.
    pub fn is_code(&self) -> bool {
        self.hi & (attr::S | attr::CODE) == attr::S | attr::CODE
    }
    /// Conforming code segment.
    pub fn is_conforming(&self) -> bool {
        self.is_code() && self.hi & attr::EC != 0
    }
    /// Writable data segment.
    pub fn is_writable(&self) -> bool {
        self.hi & (attr::S | attr::CODE | attr::RW) == attr::S | attr::RW
    }
    /// Data segment or readable code segment.
    pub fn is_readable(&self) -> bool {
        self.is_segment() && self.hi & (attr::CODE | attr::RW) != attr::CODE
    }
    /// Type of a system descriptor; 0, which is reserved, for code and data.
    pub fn system_type(&self) -> u8 {
        if self.is_segment() { 0 } else { (self.hi >> 8 & 0xf) as u8 }
    }
    /// A gate's target selector.
    pub fn gate_selector(&self) -> u16 {
        (self.lo >> 16) as u16
    }
    /// A gate's operand size in bytes.
    pub fn gate_size(&self) -> u8 {
        if self.hi & 0x800 != 0 { 4 } else { 2 }
    }
    /// A gate's target offset, by its size.
    pub fn gate_offset(&self) -> u64 {
        let low = self.lo & 0xffff;
        u64::from(if self.gate_size() == 4 { self.hi & 0xffff_0000 | low } else { low })
    }
    /// Its part of an error code.
    pub fn code(&self) -> u32 {
        code(self.selector)
    }
}

impl Cpu {
    /// Reads the descriptor of `sel`; `None` if it lies outside its table or there is no LDT.
    pub(crate) fn find_descriptor(&mut self, bus: &mut dyn Bus, sel: u16) -> Res<Option<Descriptor>> {
        let (base, limit) = if sel & 4 == 0 {
            (self.state.gdtr.base, u32::from(self.state.gdtr.limit))
        } else if self.state.ldtr.present() {
            (self.state.ldtr.base, self.state.ldtr.limit)
        } else {
            return Ok(None);
        };
        let off = u32::from(sel & 0xfff8);
        if off + 7 > limit {
            return Ok(None);
        }
        self.descriptor_at(bus, base.wrapping_add(u64::from(off)), sel).map(Some)
    }

    /// Reads the eight bytes at linear address `at` as a descriptor.
    pub(crate) fn descriptor_at(&mut self, bus: &mut dyn Bus, at: u64, selector: u16) -> Res<Descriptor> {
        let at = at & 0xffff_ffff;
        let raw: u64 = self.read_lin(bus, at, false)?;
        let mut d = Descriptor { selector, lo: raw as u32, hi: (raw >> 32) as u32, at };
        if self.model == Model::I286 {
            // The 80286 has neither the last two bytes nor the 32-bit types.
            d.hi &= 0xffff;
            if !d.is_segment() && d.system_type() >= 8 {
                d.hi &= !0xf00;
            }
        }
        Ok(d)
    }

    /// Sets the accessed bit of a code or data descriptor in memory, if it is clear.
    pub(crate) fn mark_accessed(&mut self, bus: &mut dyn Bus, d: &mut Descriptor) -> Res<()> {
        if d.is_segment() && d.hi & attr::ACCESSED == 0 {
            d.hi |= attr::ACCESSED;
            self.write_lin::<u8>(bus, d.at.wrapping_add(5) & 0xffff_ffff, false, (d.hi >> 8) as u8)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let d = Descriptor { selector: 0x0b, lo: 0x5678_ffff, hi: 0x12cf_9a34, at: 0 };
        assert_eq!(d.base(), 0x1234_5678);
        assert_eq!(d.limit(), 0xffff_ffff);
        assert!(d.is_code() && d.is_readable() && !d.is_conforming() && !d.is_writable() && d.present());
        assert_eq!((d.dpl(), d.code(), d.system_type()), (0, 8, 0));
        let byte = Descriptor { hi: 0x124f_f634, ..d };
        assert_eq!(byte.limit(), 0xf_ffff);
        assert!(!byte.is_code() && byte.is_writable());
        assert_eq!(byte.dpl(), 3);
        let gate = Descriptor { selector: 0, lo: 0x0008_1234, hi: 0x5678_ec03, at: 0 };
        assert_eq!((gate.gate_selector(), gate.gate_offset(), gate.gate_size()), (8, 0x5678_1234, 4));
        let gate16 = Descriptor { hi: 0x5678_e403, ..gate };
        assert_eq!((gate16.gate_offset(), gate16.gate_size(), gate16.system_type()), (0x1234, 2, kind::CALL16));
    }
}
