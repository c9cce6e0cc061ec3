//! CPUID (SDM vol. 2): one table of what each model says about itself.

use super::msr::APIC_ENABLE;
use crate::cpu::Cpu;
use crate::model::Model;
use crate::state::slot;

/// Leaf 1 EDX bits.
mod feature {
    pub const FPU: u32 = 1 << 0;
    pub const VME: u32 = 1 << 1;
    pub const DE: u32 = 1 << 2;
    pub const PSE: u32 = 1 << 3;
    pub const TSC: u32 = 1 << 4;
    pub const MSR: u32 = 1 << 5;
    pub const PAE: u32 = 1 << 6;
    pub const MCE: u32 = 1 << 7;
    pub const CX8: u32 = 1 << 8;
    /// A local APIC that is switched on.
    pub const APIC: u32 = 1 << 9;
    pub const SEP: u32 = 1 << 11;
    pub const MTRR: u32 = 1 << 12;
    pub const PGE: u32 = 1 << 13;
    pub const MCA: u32 = 1 << 14;
    pub const CMOV: u32 = 1 << 15;
    pub const PAT: u32 = 1 << 16;
    pub const PSE36: u32 = 1 << 17;
    pub const CLFSH: u32 = 1 << 19;
    pub const MMX: u32 = 1 << 23;
    pub const FXSR: u32 = 1 << 24;
    pub const SSE: u32 = 1 << 25;
    pub const SSE2: u32 = 1 << 26;
    /// In ECX: the local APIC's timer has TSC deadline mode.
    pub const TSC_DEADLINE: u32 = 1 << 24;
    /// Leaf 8000_0001h.
    pub const NX: u32 = 1 << 20;
}

struct Identity {
    /// Highest basic leaf.
    leaves: u32,
    /// Leaf 1 EBX: CLFLUSH line size in quadwords, bits 8-15.
    misc: u32,
    /// Leaf 1 ECX and EDX.
    features: [u32; 2],
    /// Leaf 2: cache and TLB descriptors.
    caches: [u32; 4],
    /// Extended leaves: EDX of 8000_0001h and the brand string.
    extended: Option<(u32, &'static [u8; 48])>,
}

/// Old systems know only a handful of vendors.
const VENDOR: [u32; 3] = [0x756e_6547, 0x4965_6e69, 0x6c65_746e];

const BRAND: &[u8; 48] = b"Ring86 virtual processor\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

const P5: u32 = {
    use feature::*;
    FPU | VME | DE | PSE | TSC | MSR | CX8 | MMX
};
const P6: u32 = {
    use feature::*;
    P5 | PAE | SEP | MTRR | PGE | CMOV | PAT | PSE36 | FXSR | SSE
};

const I486: Identity = Identity { leaves: 1, misc: 0, features: [0, feature::FPU], caches: [0; 4], extended: None };
const PENTIUM: Identity =
    Identity { leaves: 1, misc: 0, features: [0, P5 | feature::MCE], caches: [0; 4], extended: None };
const P3: Identity = Identity {
    leaves: 2,
    misc: 0,
    // Machine check with no banks.
    features: [0, P6 | feature::MCE | feature::MCA],
    // 16 KiB + 16 KiB first level, 256 KiB second level.
    caches: [0x0302_0101, 0, 0, 0x0c04_0882],
    extended: None,
};
const MAX: Identity = Identity {
    leaves: 2,
    misc: 8 << 8,
    features: [0, P6 | feature::CLFSH | feature::SSE2],
    // 8 KiB first level data, 12 K trace cache, 512 KiB second level.
    caches: [0x665b_5001, 0, 0, 0x007b_7040],
    extended: Some((feature::NX, BRAND)),
};

impl Cpu {
    /// CPUID: EAX selects the leaf, the answer goes to EAX, EBX, ECX and EDX.
    pub(crate) fn cpuid(&mut self) {
        let leaf = self.state.gpr(slot::RAX) as u32;
        let [a, b, c, d] = self.cpuid_leaf(leaf);
        self.state.set_gpr(slot::RAX, a.into());
        self.state.set_gpr(slot::RBX, b.into());
        self.state.set_gpr(slot::RCX, c.into());
        self.state.set_gpr(slot::RDX, d.into());
    }

    /// What leaf 1 says of the local APIC in ECX and EDX.
    fn apic_features(&self) -> [u32; 2] {
        if !self.local_apic {
            return [0; 2];
        }
        let deadline = if self.model == Model::Max { feature::TSC_DEADLINE } else { 0 };
        // The Pentium's cannot be switched off by software.
        let on = self.model == Model::Pentium || self.state.apic_base & APIC_ENABLE != 0;
        [deadline, if on { feature::APIC } else { 0 }]
    }

    /// What CPUID answers for `leaf`: EAX, EBX, ECX, EDX.
    pub fn cpuid_leaf(&self, leaf: u32) -> [u32; 4] {
        let id = match self.model {
            Model::I8086 | Model::I286 | Model::I386 => return [0; 4],
            Model::I486 => I486,
            Model::Pentium => PENTIUM,
            Model::P3 => P3,
            Model::Max => MAX,
        };
        if let Some((features, brand)) = id.extended {
            match leaf {
                0x8000_0000 => return [0x8000_0004, 0, 0, 0],
                0x8000_0001 => return [0, 0, 0, features],
                0x8000_0002..=0x8000_0004 => {
                    let at = (leaf - 0x8000_0002) as usize * 16;
                    let mut out = [0; 4];
                    for (v, bytes) in out.iter_mut().zip(brand[at..at + 16].as_chunks::<4>().0) {
                        *v = u32::from_le_bytes(*bytes);
                    }
                    return out;
                }
                _ => {}
            }
        }
        // Beyond the last leaf Intel's chips answer with the last one.
        match leaf.min(id.leaves) {
            0 => [id.leaves, VENDOR[0], VENDOR[2], VENDOR[1]],
            1 => {
                let [c, d] = self.apic_features();
                // The initial APIC ID, EBX bits 24-31, is 0.
                [self.model.signature(), id.misc, id.features[0] | c, id.features[1] | d]
            }
            _ => id.caches,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use super::*;

    #[test]
    fn vendor_and_features() {
        for (model, leaves, signature, features) in [
            (Model::I486, 1, 0x435, 0x1),
            (Model::Pentium, 1, 0x543, 0x0080_01bf),
            (Model::P3, 2, 0x681, 0x0383_f9ff),
            (Model::Max, 2, 0xf29, 0x078b_b97f),
        ] {
            let r = Rig::real(model);
            let [a, b, c, d] = r.cpu.cpuid_leaf(0);
            let name: Vec<u8> = [b, d, c].iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!((a, name.as_slice()), (leaves, b"GenuineIntel".as_slice()));
            let [a, _, _, d] = r.cpu.cpuid_leaf(1);
            assert_eq!((a, d), (signature, features), "{model}: {d:08x}");
        }
    }

    #[test]
    fn a_local_apic_shows_while_it_is_on() {
        for (model, ecx, on, off) in [
            (Model::I486, 0, 0, 0),
            (Model::Pentium, 0, 0x200, 0x200),
            (Model::P3, 0, 0x200, 0),
            (Model::Max, 1 << 24, 0x200, 0),
        ] {
            let mut r = Rig::real(model);
            let without = r.cpu.cpuid_leaf(1);
            r.cpu.connect_local_apic();
            let [_, _, c, d] = r.cpu.cpuid_leaf(1);
            assert_eq!((c ^ without[2], d ^ without[3]), (ecx, on), "{model}");
            r.cpu.state.apic_base &= !APIC_ENABLE;
            assert_eq!(r.cpu.cpuid_leaf(1)[3] ^ without[3], off, "{model}");
        }
    }

    #[test]
    fn leaves_beyond_the_last() {
        let max = Rig::real(Model::Max);
        assert_eq!(max.cpu.cpuid_leaf(7), max.cpu.cpuid_leaf(2));
        assert_eq!(max.cpu.cpuid_leaf(0x8000_0000)[0], 0x8000_0004);
        let mut text = Vec::new();
        for leaf in 0x8000_0002u32..=0x8000_0004 {
            text.extend(max.cpu.cpuid_leaf(leaf).iter().flat_map(|v| v.to_le_bytes()));
        }
        assert!(text.starts_with(b"Ring86 ") && text.len() == 48 && text[47] == 0);
        let p3 = Rig::real(Model::P3);
        assert_eq!(p3.cpu.cpuid_leaf(0x8000_0000), p3.cpu.cpuid_leaf(2));
    }

    #[test]
    fn results_are_zero_extended() {
        let mut r = Rig::real(Model::Max);
        r.cpu.state.set_gpr(slot::RAX, 0xffff_ffff_0000_0001);
        r.cpu.cpuid();
        assert_eq!(r.cpu.state.gpr(slot::RAX), 0xf29);
    }
}
