//! The CPU models and what each of them can do.

use std::fmt;
use std::str::FromStr;

/// A processor generation; later ones compare greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Model {
    /// Intel 8086.
    I8086,
    /// Intel 80286.
    I286,
    /// Intel 80386 with 80387.
    I386,
    /// Intel 80486DX.
    I486,
    /// Intel Pentium with MMX.
    Pentium,
    /// Intel Pentium III: CMOV, SYSENTER, PAE, SSE.
    P3,
    /// Everything Ring86 implements.
    Max,
}

impl Model {
    /// All models with the names the command line takes.
    pub const NAMES: [(&'static str, Model); 7] = [
        ("8086", Model::I8086),
        ("286", Model::I286),
        ("386", Model::I386),
        ("486", Model::I486),
        ("pentium", Model::Pentium),
        ("p3", Model::P3),
        ("max", Model::Max),
    ];

    /// The signature that DX/EDX holds after reset and CPUID leaf 1 returns: family, model, stepping.
    pub fn signature(self) -> u32 {
        match self {
            Model::I8086 | Model::I286 => 0,
            Model::I386 => 0x308,
            Model::I486 => 0x435,
            Model::Pentium => 0x543,
            Model::P3 => 0x681,
            Model::Max => 0xf29,
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Model::NAMES.iter().find(|(_, m)| m == self).map_or("?", |(n, _)| n))
    }
}

impl FromStr for Model {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Model::NAMES.iter().find(|(n, _)| *n == s).map(|(_, m)| *m).ok_or_else(|| {
            let names: Vec<_> = Model::NAMES.iter().map(|(n, _)| *n).collect();
            format!("unknown CPU model '{s}': use one of {}", names.join(", "))
        })
    }
}
