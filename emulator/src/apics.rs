//! The processor's local APIC, the I/O APIC and the timers of the HPET: what each is wired to, where they are in memory,
//! and the way of an interrupt message between them.
//!
//! The local APIC belongs to the processor and sits beside the board's chips because all that reaches it does so as they
//! are reached: by memory accesses, wires and time. The processor sees it through the pins INTR, NMI and INIT.

use ring86_devices::apic::spec::{io, local as reg};
use ring86_devices::apic::{Acknowledged, Generation, IoApic, LocalApic, Wiring};
use ring86_devices::clock::earliest;
use ring86_devices::hpet::{self, Hpet};
use ring86_devices::{IrqInputs, IrqLine, Mmio, Router, Time, Timed};
use ring86_translator::Model;
use ring86_translator::pins::{self, Pins};

/// First address of the I/O APIC's page.
const IO_APIC: u64 = 0xfec0_0000;
/// First address of the HPET's registers.
const HPET: u64 = 0xfed0_0000;
/// Memory that the I/O APIC decodes.
const IO_APIC_SIZE: u64 = 0x1000;

/// The I/O APIC's input for the 8254; those of the other ISA interrupts have the interrupts' numbers.
const TIMER_PIN: usize = 2;
/// The I/O APIC's input for PIRQA; B to D follow.
const PIRQ_PIN: usize = 16;
/// Inputs that carry PCI's interrupts, which are low while asserted.
const PCI_PINS: u32 = 0x00ff_0000;

/// ISA interrupts that the HPET may take over, and the cascade, which is no interrupt.
mod isa {
    pub const TIMER: usize = 0;
    pub const CASCADE: usize = 2;
    pub const CLOCK: usize = 8;
}

/// The three together.
pub struct Apics {
    local: LocalApic,
    io: IoApic,
    hpet: Hpet,
    /// What the local APIC asks of the processor.
    wiring: Wiring,
    /// The 8259A's inputs.
    pic: IrqInputs,
    /// The I/O APIC's inputs.
    pins: IrqInputs,
    /// The 8254's and the clock chip's interrupts on their way to both controllers.
    replaced: [Router; 2],
}

impl Apics {
    /// Those of a machine with a processor of `model`, whose 8259A has the inputs `pic`; `None` if there were none.
    /// `virtual_wire`: see [`Wiring::virtual_wire`].
    pub fn new(model: Model, pic: &IrqInputs, virtual_wire: bool) -> Option<Self> {
        let generation = match model {
            Model::I8086 | Model::I286 | Model::I386 | Model::I486 => return None,
            Model::Pentium => Generation::P5,
            Model::P3 => Generation::P6,
            Model::Max => Generation::P4,
        };
        let pins = IrqInputs::new();
        let both = |isa, pin| IrqLine::joined(&[pic.line(isa), pins.line(pin)]);
        let timer = || both(isa::TIMER, TIMER_PIN);
        let clock = || both(isa::CLOCK, isa::CLOCK);
        let replaced = [Router::new(vec![timer()]), Router::new(vec![clock()])];
        let routes = std::array::from_fn(|_| std::array::from_fn(|n| pins.line(hpet::spec::FIRST_ROUTE + n)));
        let hpet = Hpet::new(hpet::Wiring { legacy: [timer(), clock()], replaced: replaced.clone(), routes });
        let wiring = Wiring { virtual_wire, ..Wiring::default() };
        Some(Apics {
            local: LocalApic::new(generation, wiring.clone()),
            io: IoApic::new(pins.clone(), PCI_PINS),
            hpet,
            wiring,
            pic: pic.clone(),
            pins,
            replaced,
        })
    }

    /// A new source for ISA interrupt `n`, at the 8259A and at the I/O APIC.
    pub fn isa_line(&self, n: usize) -> IrqLine {
        match n {
            isa::TIMER => self.replaced[0].line(),
            isa::CLOCK => self.replaced[1].line(),
            isa::CASCADE => self.pic.line(n),
            _ => IrqLine::joined(&[self.pic.line(n), self.pins.line(n)]),
        }
    }

    /// A new source for PIRQ `n` (0 to 3) at the I/O APIC.
    pub fn pirq_line(&self, n: usize) -> IrqLine {
        self.pins.line(PIRQ_PIN + (n & 3))
    }

    /// Whether one of them answers at `address`.
    pub fn claims(&self, address: u64) -> bool {
        self.local.page() == Some(address & !0xfff)
            || address.wrapping_sub(IO_APIC) < IO_APIC_SIZE
            || address.wrapping_sub(HPET) < hpet::spec::SIZE
    }

    /// A read of a register.
    pub fn read(&mut self, now: Time, address: u64, size: u8) -> u64 {
        if self.local.page() == Some(address & !0xfff) {
            self.local.mmio_read(now, address, size)
        } else if address < HPET {
            self.io.mmio_read(now, address, size)
        } else {
            self.hpet.mmio_read(now, address, size)
        }
    }

    /// A write of a register.
    pub fn write(&mut self, now: Time, address: u64, size: u8, value: u64) {
        if self.local.page() == Some(address & !0xfff) {
            self.local.mmio_write(now, address, size, value);
            if let Some(vector) = self.local.take_ended() {
                self.io.end_of_interrupt(vector);
            }
            if matches!(address as u16 & 0xff0, reg::ID | reg::LDR | reg::DFR | reg::SVR) {
                self.io.retry();
            }
        } else if address < HPET {
            self.io.mmio_write(now, address, size, value);
        } else {
            self.hpet.mmio_write(now, address, size, value);
        }
    }

    /// IA32_APIC_BASE was written.
    pub fn set_base(&mut self, base: u64) {
        self.local.set_base(base);
        self.io.retry();
    }

    /// The guest time that IA32_TSC_DEADLINE stands for, if it is armed.
    pub fn deadline(&self) -> Option<Time> {
        self.local.deadline()
    }

    /// IA32_TSC_DEADLINE was written: waits for a guest time, or no longer.
    pub fn set_deadline(&mut self, now: Time, deadline: Option<Time>) {
        self.local.set_deadline(now, deadline);
    }

    /// Delivers what waits. `pic` says whether the 8259A interrupts, and is asked only if that matters. Returns the level
    /// of INTR; NMI and INIT go to `pins`.
    pub fn drive(&mut self, pins: &Pins, pic: impl FnOnce() -> bool) -> bool {
        let Self { local, io, .. } = self;
        io.service(|message| local.accept(message));
        let level = local.listens_to_lint0().then(pic);
        local.set_lint0(level);
        if self.wiring.nmi.take() {
            pins.raise(pins::NMI);
        }
        if self.wiring.init.take() {
            pins.raise(pins::INIT);
        }
        local.intr()
    }

    /// An edge on the board's NMI. Whether it reaches the processor as such.
    pub fn nmi(&mut self) -> bool {
        self.local.lint1()
    }

    /// The interrupt acknowledge cycle: a vector, or the 8259A has it.
    pub fn acknowledge(&mut self) -> Acknowledged {
        self.local.acknowledge()
    }

    /// The reset line of the bus.
    pub fn reset(&mut self, now: Time) {
        self.io.reset();
        self.hpet.reset(now);
        self.local.reset();
    }

    /// The processor alone is reset.
    pub fn reset_processor(&mut self) {
        self.local.reset();
    }
}

impl Timed for Apics {
    fn next_event(&self) -> Option<Time> {
        earliest(self.local.next_event(), self.hpet.next_event())
    }

    fn advance(&mut self, now: Time) {
        self.local.advance(now);
        self.hpet.advance(now);
    }
}

const _: () = assert!(PIRQ_PIN + 4 <= hpet::spec::FIRST_ROUTE && hpet::spec::FIRST_ROUTE + 4 <= io::PINS);
