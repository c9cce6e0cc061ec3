//! A bug planted on purpose, to show that the laboratory finds it: one flag of one instruction form comes out
//! wrong, or its length.

use super::generate::encoding_of;
use super::layout::{NO_EXCEPTION, Placement, Shape, field, get32, put32};
use super::masks::flag;
use super::subject::{CpuSubject, Subject};
use super::templates::completes_never;
use iced_x86::Code;

/// Which flag of which instruction form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plant {
    /// The instruction form.
    pub code: Code,
    /// Its bit in EFLAGS.
    pub flag: u32,
    /// Its length instead.
    pub length: bool,
}

const FLAGS: [(&str, u32); 8] = [
    ("CF", flag::CF),
    ("PF", flag::PF),
    ("AF", flag::AF),
    ("ZF", flag::ZF),
    ("SF", flag::SF),
    ("DF", 1 << 10),
    ("OF", flag::OF),
    ("LENGTH", 0),
];

/// The flags that a [`Plant`] may get wrong, with their bits in EFLAGS.
pub fn flags() -> impl Iterator<Item = (&'static str, u32)> {
    FLAGS.into_iter().filter(|(_, bit)| *bit != 0)
}

impl Plant {
    /// Parses `CODE:FLAG`, for example `Add_rm32_r32:OF`.
    ///
    /// # Errors
    /// One sentence.
    pub fn parse(text: &str) -> Result<Plant, String> {
        let (name, flag) = text.split_once(':').unwrap_or((text, ""));
        let code = Code::values().find(|code| format!("{code:?}").eq_ignore_ascii_case(name));
        let flag = FLAGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(flag));
        match (code, flag) {
            (Some(code), Some((name, flag))) => Ok(Plant { code, flag: *flag, length: *name == "LENGTH" }),
            _ => Err(format!(
                "--plant {text}: not CODE:FLAG with a code of iced-x86 and one of CF PF AF ZF SF DF OF, or LENGTH"
            )),
        }
    }
}

/// Ring86's CPU, with the bug if there is one.
pub struct Planted {
    cpu: CpuSubject,
    plant: Option<Plant>,
    /// The flag to get wrong in the loaded instruction, or 0.
    wrong: u32,
    /// It gets it wrong for the handler of an exception too, since it never completes.
    faults: bool,
}

impl Planted {
    /// `cpu` with the bug.
    pub fn new(cpu: CpuSubject, plant: Option<Plant>) -> Planted {
        Planted { cpu, plant, wrong: 0, faults: plant.is_some_and(|plant| completes_never(plant.code)) }
    }

    /// As [`CpuSubject::refused`].
    pub fn refused(&mut self) -> Option<String> {
        self.cpu.refused()
    }
}

impl Subject for Planted {
    fn load(&mut self, placement: Placement, shape: Shape, instruction: &[u8], arena: &[u8]) {
        self.wrong = match self.plant {
            Some(plant) => encoding_of(placement, instruction)
                .filter(|encoding| encoding.instruction.code() == plant.code)
                .map_or(0, |_| plant.flag),
            None => 0,
        };
        self.cpu.load(placement, shape, instruction, arena);
    }

    fn run_case(&mut self, input: &[u8], output: &mut [u8]) {
        self.cpu.run_case(input, output);
        if get32(output, field::VECTOR) == NO_EXCEPTION || self.faults {
            put32(output, field::EFLAGS, get32(output, field::EFLAGS) ^ self.wrong);
        }
    }

    fn arena(&mut self, out: &mut [u8]) {
        self.cpu.arena(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        assert_eq!(Plant::parse("add_rm32_r32:of"), Ok(Plant { code: Code::Add_rm32_r32, flag: 0x800, length: false }));
        for bad in ["Add_rm32_r32", "Add_rm32_r32:XF", "Ad:CF", ""] {
            assert!(Plant::parse(bad).unwrap_err().starts_with(&format!("--plant {bad}: ")), "{bad}");
        }
    }
}
