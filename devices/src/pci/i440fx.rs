//! Intel 82441FX (440FX PMC) host bridge, datasheet 290549: what of it software can see.

use super::ConfigSpace;
use super::spec::header;
use crate::{Latch, PciFunction};

/// Register offsets.
pub mod register {
    /// PMC configuration.
    pub const PMCCFG: u8 = 0x50;
    /// Deturbo counter control.
    pub const DETURBO: u8 = 0x52;
    /// DBX buffer control.
    pub const DBC: u8 = 0x53;
    /// Auxiliary control.
    pub const AXC: u8 = 0x54;
    /// DRAM row type.
    pub const DRT: u8 = 0x55;
    /// DRAM control.
    pub const DRAMC: u8 = 0x57;
    /// DRAM timing.
    pub const DRAMT: u8 = 0x58;
    /// Programmable attribute map, first of seven.
    pub const PAM0: u8 = 0x59;
    /// Programmable attribute map, last of seven.
    pub const PAM6: u8 = 0x5F;
    /// DRAM row boundary, first of eight, in units of 8 MiB.
    pub const DRB0: u8 = 0x60;
    /// Fixed DRAM hole control.
    pub const FDHC: u8 = 0x68;
    /// Multi-transaction timer.
    pub const MTT: u8 = 0x70;
    /// CPU latency timer.
    pub const CLT: u8 = 0x71;
    /// System management RAM control.
    pub const SMRAM: u8 = 0x72;
    /// Error command.
    pub const ERRCMD: u8 = 0x90;
    /// Error status.
    pub const ERRSTS: u8 = 0x91;
    /// Turbo reset control.
    pub const TRC: u8 = 0x93;
}

/// Bits of the SMRAM control register.
pub mod smram {
    /// SMM space open to everyone.
    pub const DOPEN: u8 = 1 << 6;
    /// SMM space closed to data.
    pub const DCLS: u8 = 1 << 5;
    /// Locked until the next reset.
    pub const DLCK: u8 = 1 << 4;
    /// SMRAM enable.
    pub const SMRAME: u8 = 1 << 3;
    /// The base segment field, A0000h, which cannot be changed.
    pub const BASE: u8 = 2;
}

/// Where accesses to one region between C0000h and FFFFFh go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PamRegion {
    /// First address.
    pub start: u32,
    /// Length in bytes.
    pub length: u32,
    /// Reads come from RAM, rather than from PCI (ROM).
    pub read_ram: bool,
    /// Writes go to RAM, rather than to PCI.
    pub write_ram: bool,
}

/// The host bridge, bus 0 device 0 function 0.
#[derive(Debug)]
pub struct HostBridge {
    // Wiring.
    reset: Latch,
    // Volatile state.
    space: ConfigSpace,
    mapping_changed: bool,
    ram_bytes: u64,
}

impl HostBridge {
    /// A bridge as after reset, with row boundaries as for `ram_bytes` of memory. `reset` is raised through the
    /// turbo reset control register.
    pub fn new(ram_bytes: u64, reset: Latch) -> Self {
        Self { reset, space: Self::registers(ram_bytes), mapping_changed: true, ram_bytes }
    }

    fn registers(ram_bytes: u64) -> ConfigSpace {
        use register as r;
        let mut space = ConfigSpace::new(0x8086, 0x1237, 0x06_0000, 2);
        space.register(header::COMMAND, 2, 0x0006, 0x0140);
        space.register(header::STATUS, 2, 0x0280, 0);
        space.write_one_to_clear(header::STATUS + 1, 0xF9);
        space.register(0x0D, 1, 0, 0xF8);
        space.register(r::PMCCFG, 2, 0, 0xFFFF);
        space.register(r::DETURBO, 1, 0, 0xFF);
        space.register(r::DBC, 1, 0x80, 0xFF);
        space.register(r::AXC, 1, 0, 0xFF);
        space.register(r::DRT, 2, 0, 0xFFFF);
        space.register(r::DRAMC, 1, 0x01, 0x7F);
        space.register(r::DRAMT, 1, 0x10, 0xFF);
        space.register(r::PAM0, 1, 0, 0x30);
        for pam in r::PAM0 + 1..=r::PAM6 {
            space.register(pam, 1, 0, 0x33);
        }
        let boundary = (ram_bytes >> 23).clamp(1, 0xFF) as u32;
        for row in 0..8 {
            space.register(r::DRB0 + row, 1, boundary, 0xFF);
        }
        space.register(r::FDHC, 1, 0, 0xC0);
        space.register(r::MTT, 1, 0x20, 0xFF);
        space.register(r::CLT, 1, 0x10, 0xFF);
        space.register(r::SMRAM, 1, u32::from(smram::BASE), 0x78);
        space.register(r::ERRCMD, 1, 0, 0xFF);
        space.write_one_to_clear(r::ERRSTS, 0x11);
        space.register(r::TRC, 1, 0, 0x0E);
        space
    }

    /// The system's reset.
    pub fn reset(&mut self) {
        self.space = Self::registers(self.ram_bytes);
        self.mapping_changed = true;
    }

    /// The 13 regions of the attribute map, lowest first.
    pub fn pam(&self) -> [PamRegion; 13] {
        std::array::from_fn(|i| {
            // Regions 0 to 11 are nibbles of PAM1 to PAM6, low nibble first; the last is PAM0's high nibble.
            let (register, shift, start, length) = match i {
                0..=11 => (register::PAM0 + 1 + i as u8 / 2, 4 * (i & 1), 0xC_0000 + 0x4000 * i as u32, 0x4000),
                _ => (register::PAM0, 4, 0xF_0000, 0x1_0000),
            };
            let attributes = self.space.get8(register) >> shift;
            PamRegion { start, length, read_ram: attributes & 1 != 0, write_ram: attributes & 2 != 0 }
        })
    }

    /// The SMRAM control register.
    pub fn smram(&self) -> u8 {
        self.space.get8(register::SMRAM)
    }

    /// The hole in RAM that the fixed DRAM hole control opens, if any: first address and length.
    pub fn memory_hole(&self) -> Option<(u32, u32)> {
        match self.space.get8(register::FDHC) >> 6 {
            1 => Some((0x8_0000, 0x2_0000)),
            2 => Some((0xF0_0000, 0x10_0000)),
            _ => None,
        }
    }

    /// Whether PAM, SMRAM or the hole changed since this was last asked.
    pub fn take_mapping_change(&mut self) -> bool {
        std::mem::take(&mut self.mapping_changed)
    }

    fn mapping(&self) -> [u8; 9] {
        let pam = |i: u8| self.space.get8(register::PAM0 + i);
        [pam(0), pam(1), pam(2), pam(3), pam(4), pam(5), pam(6), self.space.get8(register::FDHC), self.smram()]
    }
}

impl PciFunction for HostBridge {
    fn config_read(&mut self, offset: u8, size: u8) -> u32 {
        self.space.read(offset, size)
    }

    fn config_write(&mut self, offset: u8, size: u8, value: u32) {
        let before = self.mapping();
        let old_trc = self.space.get8(register::TRC);
        self.space.write(offset, size, value);
        let old = before[8];
        if old & smram::DLCK != 0 {
            // Locked: only DCLS may still change.
            let new = self.smram();
            self.space.set8(register::SMRAM, old & !smram::DCLS | new & smram::DCLS);
        } else if self.smram() & smram::DLCK != 0 {
            let new = self.smram() & !smram::DOPEN;
            self.space.set8(register::SMRAM, new);
        }
        if self.space.get8(register::TRC) & !old_trc & super::spec::rc::RCPU != 0 {
            self.reset.raise();
        }
        self.mapping_changed |= self.mapping() != before;
    }
}
