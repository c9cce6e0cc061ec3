//! The programs, one file per subject.

use std::sync::OnceLock;

use crate::asm::Emit;
use crate::pm::{self, Pm};
use crate::rm::{self, Rm};
use crate::{Kind, Rom};

mod apic;
mod chips;
mod debug;
mod exceptions;
mod integer;
mod paging;
mod real;
mod segments;
mod smc;
mod sse;
mod strings;
mod transfers;
mod v86;
mod x87;

/// What a program is made from.
enum Source {
    Protected(Box<dyn Fn(&mut Pm) -> Emit>),
    Real(Box<dyn Fn(&mut Rm) -> Emit>),
}

/// A program before it is assembled.
struct Program {
    name: &'static str,
    fact: &'static str,
    section: &'static str,
    cpu: &'static str,
    qemu_differs: Option<&'static str>,
    source: Source,
}

impl Program {
    /// The oldest processor that has it.
    fn cpu(mut self, model: &'static str) -> Self {
        self.cpu = model;
        self
    }

    /// What QEMU's own CPU does instead.
    fn qemu_differs(mut self, how: &'static str) -> Self {
        self.qemu_differs = Some(how);
        self
    }
}

/// A protected-mode program; for the 486 unless said otherwise, since INVLPG and CR0.WP are the newest things it uses.
fn pm(
    name: &'static str,
    fact: &'static str,
    section: &'static str,
    body: impl Fn(&mut Pm) -> Emit + 'static,
) -> Program {
    Program { name, fact, section, cpu: "486", qemu_differs: None, source: Source::Protected(Box::new(body)) }
}

/// A real-mode program.
fn rm(
    name: &'static str,
    fact: &'static str,
    section: &'static str,
    body: impl Fn(&mut Rm) -> Emit + 'static,
) -> Program {
    Program { name, fact, section, cpu: "8086", qemu_differs: None, source: Source::Real(Box::new(body)) }
}

/// Every program, assembled at the first call.
///
/// # Panics
/// If a program does not assemble, which the crate's own test rules out.
pub fn all() -> &'static [Rom] {
    static ALL: OnceLock<Vec<Rom>> = OnceLock::new();
    ALL.get_or_init(|| {
        let groups = [
            ("exceptions", exceptions::programs()),
            ("segments", segments::programs()),
            ("transfers", transfers::programs()),
            ("paging", paging::programs()),
            ("debug", debug::programs()),
            ("v86", v86::programs()),
            ("integer", integer::programs()),
            ("strings", strings::programs()),
            ("x87", x87::programs()),
            ("sse", sse::programs()),
            ("smc", smc::programs()),
            ("chips", chips::programs()),
            ("apic", apic::programs()),
            ("real", real::programs()),
        ];
        let mut roms = Vec::new();
        for (group, programs) in groups {
            for p in programs {
                let (kind, image) = match &p.source {
                    Source::Protected(body) => (Kind::Multiboot, pm::build(p.name, body.as_ref())),
                    Source::Real(body) => (Kind::BootSector, rm::build(p.name, body.as_ref())),
                };
                let image = image.unwrap_or_else(|error| panic!("{}: {error}", p.name));
                roms.push(Rom {
                    name: p.name,
                    group,
                    fact: p.fact,
                    section: p.section,
                    cpu: p.cpu,
                    image: image.leak(),
                    kind,
                    qemu_differs: p.qemu_differs,
                });
            }
        }
        roms
    })
}
