//! Intel 82371SB (PIIX3) datasheet 290550: function 0, the ISA bridge, with the PCI interrupt router.

use super::ConfigSpace;
use super::spec::header;
use crate::{IrqLine, PciFunction, Router};

/// Register offsets.
pub mod register {
    /// ISA I/O recovery timer.
    pub const IORT: u8 = 0x4C;
    /// X-bus chip select.
    pub const XBCS: u8 = 0x4E;
    /// PIRQA# route control, first of four.
    pub const PIRQRCA: u8 = 0x60;
    /// PIRQD# route control.
    pub const PIRQRCD: u8 = 0x63;
    /// Top of memory.
    pub const TOM: u8 = 0x69;
    /// Miscellaneous status.
    pub const MSTAT: u8 = 0x6A;
    /// Motherboard device IRQ route control.
    pub const MBIRQ0: u8 = 0x70;
    /// Motherboard device DMA control, first of two.
    pub const MBDMA0: u8 = 0x76;
    /// Programmable chip select.
    pub const PCSC: u8 = 0x78;
    /// APIC base address relocation.
    pub const APICBASE: u8 = 0x80;
    /// Deterministic latency control.
    pub const DLC: u8 = 0x82;
    /// SMI control.
    pub const SMICNTL: u8 = 0xA0;
    /// SMI enable.
    pub const SMIEN: u8 = 0xA2;
    /// System event enable.
    pub const SEE: u8 = 0xA4;
    /// Fast-off timer.
    pub const FTMR: u8 = 0xA8;
    /// SMI request.
    pub const SMIREQ: u8 = 0xAA;
    /// Clock throttle STPCLK# low timer.
    pub const CTLTMR: u8 = 0xAC;
    /// Clock throttle STPCLK# high timer.
    pub const CTHTMR: u8 = 0xAE;
}

/// Route control: the interrupt is not routed.
pub const ROUTING_DISABLED: u8 = 1 << 7;
/// The ISA interrupts a PIRQ may go to: 3-7, 9-12, 14, 15.
pub const ROUTABLE: u16 = 0xDEF8;

/// The ISA bridge, function 0 of its device (number 1 on a PC of this kind).
#[derive(Debug)]
pub struct IsaBridge {
    // Parts.
    routers: [Router; 4],
    // Volatile state.
    space: ConfigSpace,
}

impl IsaBridge {
    /// A bridge as after reset. `irqs` yields a new source for each ISA interrupt asked for; the bridge takes
    /// four of each, one for every PIRQ.
    pub fn new(mut irqs: impl FnMut(usize) -> IrqLine) -> Self {
        let mut output = |irq: usize| if ROUTABLE >> irq & 1 != 0 { irqs(irq) } else { IrqLine::unconnected() };
        let routers = std::array::from_fn(|_| Router::new((0..16).map(&mut output).collect()));
        Self { routers, space: Self::registers() }
    }

    fn registers() -> ConfigSpace {
        use register as r;
        let mut space = ConfigSpace::new(0x8086, 0x7000, 0x06_0100, 0);
        space.register(header::COMMAND, 2, 0x0007, 0x0108);
        space.register(header::STATUS, 2, 0x0200, 0);
        space.write_one_to_clear(header::STATUS + 1, 0x78);
        space.set8(header::HEADER_TYPE, 0x80);
        space.register(r::IORT, 1, 0x4D, 0xFF);
        space.register(r::XBCS, 2, 0x0003, 0x01FF);
        for pirq in r::PIRQRCA..=r::PIRQRCD {
            space.register(pirq, 1, 0x80, 0x8F);
        }
        space.register(r::TOM, 1, 0x02, 0xFE);
        space.register(r::MSTAT, 2, 0x0000, 0x8080);
        space.register(r::MBIRQ0, 1, 0x80, 0xEF);
        space.register(r::MBDMA0, 2, 0x0C0C, 0x8F8F);
        space.register(r::PCSC, 2, 0x0002, 0xFFFF);
        space.register(r::APICBASE, 1, 0, 0x7F);
        space.register(r::DLC, 1, 0, 0x0F);
        space.register(r::SMICNTL, 1, 0x08, 0x1F);
        space.register(r::SMIEN, 2, 0, 0x01FF);
        space.register(r::SEE, 4, 0, 0xE000_FFFF);
        space.register(r::FTMR, 1, 0x0F, 0xFF);
        // Request bits are cleared by writing 0.
        space.register(r::SMIREQ, 2, 0, 0);
        space.register(r::CTLTMR, 1, 0, 0xFF);
        space.register(r::CTHTMR, 1, 0, 0xFF);
        space
    }

    /// The system's reset: PCI interrupts are no longer routed.
    pub fn reset(&mut self) {
        self.space = Self::registers();
        self.route();
    }

    /// A new source on PIRQ input 0 (A) to 3 (D); [`super::pirq_of`] says which one a slot's pin reaches.
    pub fn pirq(&self, input: usize) -> IrqLine {
        self.routers[input & 3].line()
    }

    fn route(&self) {
        for (router, register) in self.routers.iter().zip(register::PIRQRCA..) {
            let control = self.space.get8(register);
            router.select((control & ROUTING_DISABLED == 0).then_some(usize::from(control & 0xF)));
        }
    }
}

impl PciFunction for IsaBridge {
    fn config_read(&mut self, offset: u8, size: u8) -> u32 {
        self.space.read(offset, size)
    }

    fn config_write(&mut self, offset: u8, size: u8, value: u32) {
        self.space.write(offset, size, value);
        self.route();
    }
}
