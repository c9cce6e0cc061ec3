//! Who is believed about cases of single instructions, and what every judge can do.

use super::generate::Encoding;
use super::host_differs;
use super::layout::{Placement, Shape};
use super::masks::{Mask, NOTHING_LEFT_OUT, mask};
use super::native::{Lost, Maker, Oracle};
use super::report::many_stores;
use super::unicorn::Unicorn;
use super::unicorn_differs;
use iced_x86::Code;
use std::ops::Range;

/// Runs batches of cases: one instruction on many states.
pub trait Judge: Send {
    /// Makes `instruction` the one that the next batches run.
    fn load(&mut self, placement: Placement, shape: Shape, instruction: &[u8]);
    /// The input records.
    fn input(&mut self) -> &mut [u8];
    /// Part of the input records.
    fn input_ref(&self, range: Range<usize>) -> &[u8];
    /// The output records.
    fn output(&self) -> &[u8];
    /// The memory the tested instructions work on.
    fn arena(&mut self) -> &mut [u8];
    /// Runs the loaded instruction on the first `count` input records.
    ///
    /// # Errors
    /// The record at which the judge was lost; the next batch gets a new one.
    fn run(&mut self, count: usize) -> Result<(), Lost>;
    /// Whose way it has where results are undefined.
    fn maker(&self) -> Maker;
    /// Why a case in which they differ is no fault of Ring86, if that is known: the judge is wrong or, but with
    /// `unmasked`, free to differ.
    fn known(
        &self,
        encoding: &Encoding,
        input: &[u8],
        expected: &[u8],
        got: &[u8],
        unmasked: bool,
    ) -> Option<&'static str>;
    /// What the judge cannot say, besides what is undefined.
    fn narrow(&self, _encoding: &Encoding, _mask: &mut Mask) {}

    /// What counts in a comparison with this judge.
    fn mask(&self, encoding: &Encoding, unmasked: bool) -> Mask {
        let mut mask = if unmasked { NOTHING_LEFT_OUT } else { mask(encoding, self.maker()) };
        self.narrow(encoding, &mut mask);
        mask
    }

    /// Whether an instruction that faults may leave another part of its stores in memory than Ring86 does.
    fn stores_in_part(&self, encoding: &Encoding) -> bool {
        self.maker() != Maker::Amd && many_stores(encoding)
    }
}

impl Judge for Oracle {
    fn load(&mut self, placement: Placement, shape: Shape, instruction: &[u8]) {
        Oracle::load(self, placement, shape, instruction);
    }

    fn input(&mut self) -> &mut [u8] {
        Oracle::input(self)
    }

    fn input_ref(&self, range: Range<usize>) -> &[u8] {
        Oracle::input_ref(self, range)
    }

    fn output(&self) -> &[u8] {
        Oracle::output(self)
    }

    fn arena(&mut self) -> &mut [u8] {
        Oracle::arena(self)
    }

    fn run(&mut self, count: usize) -> Result<(), Lost> {
        Oracle::run(self, count)
    }

    fn maker(&self) -> Maker {
        Maker::of_host()
    }

    fn known(
        &self,
        encoding: &Encoding,
        input: &[u8],
        expected: &[u8],
        got: &[u8],
        unmasked: bool,
    ) -> Option<&'static str> {
        if unmasked { None } else { host_differs::known(self.maker(), encoding, input, expected, got) }
    }
}

/// The judges there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// This host's processor.
    #[default]
    Host,
    /// Unicorn, as a process of its own.
    Unicorn,
}

impl Kind {
    /// The name of its suite and of its columns in the coverage matrix.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Host => "native",
            Kind::Unicorn => "unicorn",
        }
    }

    /// Who it is, in sentences.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Host => "the host's processor",
            Kind::Unicorn => "unicorn",
        }
    }

    /// How a line to replay begins that is judged by it.
    pub fn mark(self) -> &'static str {
        match self {
            Kind::Host => "",
            Kind::Unicorn => "judge=unicorn ",
        }
    }

    /// Why it is not asked about an instruction.
    pub fn not_asked(self, code: Code) -> Option<&'static str> {
        match self {
            Kind::Host => None,
            Kind::Unicorn => unicorn_differs::not_asked(code.cpuid_features()),
        }
    }

    /// The judge whose mark a line has.
    pub fn of_line(line: &str) -> Kind {
        if line.starts_with(Kind::Unicorn.mark()) { Kind::Unicorn } else { Kind::Host }
    }

    /// Starts it.
    ///
    /// # Errors
    /// One sentence that says why it is absent.
    pub fn start(self) -> Result<Box<dyn Judge>, String> {
        Ok(match self {
            Kind::Host => Box::new(Oracle::new()?),
            Kind::Unicorn => Box::new(Unicorn::new()?),
        })
    }
}
