//! Two 8259A interrupt controllers, cascaded as in the PC/AT, with the PIIX3's edge/level control.

mod chip;
pub mod spec;
#[cfg(test)]
mod tests;

use crate::{BytePorts, IrqInputs, Time};
use chip::Chip;
use spec::{CASCADE, ELCR_MASK, ELCR1, ELCR2, icw1};

/// The PC/AT interrupt controller: master at ports 20h-21h, slave at A0h-A1h, ELCR at 4D0h-4D1h.
///
/// The 16 inputs are those of the [`IrqInputs`] it is made with; input 2 is the cascade and is not sampled.
/// The slave's INT output reaches the master as a level: it drops on every acknowledge, so for the master's
/// edge sense this is the same thing.
#[derive(Debug)]
pub struct PicPair {
    // Wiring.
    inputs: IrqInputs,
    // Parts.
    master: Chip,
    slave: Chip,
    // Volatile state.
    elcr: [u8; 2],
    has_elcr: bool,
}

impl PicPair {
    /// The pair inside a PIIX3: trigger modes come from ELCR, and the LTIM bit of ICW1 does nothing.
    pub fn new(inputs: IrqInputs) -> Self {
        let mut pair = Self { inputs, master: Chip::new(), slave: Chip::new(), elcr: [0; 2], has_elcr: true };
        pair.set_trigger_modes();
        pair
    }

    /// Two discrete chips as in the PC/AT: no ELCR, LTIM is obeyed.
    pub fn discrete(inputs: IrqInputs) -> Self {
        Self { has_elcr: false, ..Self::new(inputs) }
    }

    /// The bank of inputs, for attaching more lines.
    pub fn inputs(&self) -> &IrqInputs {
        &self.inputs
    }

    /// Puts both chips in their power-on state. The inputs keep their levels.
    pub fn reset(&mut self) {
        (self.master, self.slave, self.elcr) = (Chip::new(), Chip::new(), [0; 2]);
        self.set_trigger_modes();
    }

    /// Samples the input lines.
    fn absorb(&mut self) {
        let rises = self.inputs.take_rises() as u16;
        let levels = self.inputs.levels16();
        self.slave.sample((levels >> 8) as u8, (rises >> 8) as u8);
        self.feed_master(levels as u8, rises as u8);
    }

    /// Samples the master's lines with the slave's INT output in place of input 2.
    fn feed_master(&mut self, levels: u8, rises: u8) {
        let cascade = u8::from(self.slave.request().is_some()) << CASCADE;
        let own = !(1 << CASCADE);
        self.master.sample(levels & own | cascade, rises & own | cascade);
    }

    /// The level of the INTR output to the processor.
    pub fn intr(&self) -> bool {
        let rises = self.inputs.rises() as u16;
        let levels = self.inputs.levels16();
        let mut now = (self.master.clone(), self.slave.clone());
        now.1.sample((levels >> 8) as u8, (rises >> 8) as u8);
        let cascade = u8::from(now.1.request().is_some()) << CASCADE;
        let own = !(1 << CASCADE);
        now.0.sample(levels as u8 & own | cascade, rises as u8 & own | cascade);
        now.0.request().is_some()
    }

    /// The processor's two INTA# cycles: puts the request into service and returns its vector. A request that
    /// went away meanwhile gives the controller's IR7 (IRQ 7 or IRQ 15) without an in-service bit.
    pub fn acknowledge(&mut self) -> u8 {
        self.absorb();
        let level = self.master.begin_service();
        let answered_by_slave =
            level.is_some_and(|level| self.master.icw3 & (1 << level) != 0 && self.master.icw1() & icw1::SNGL == 0);
        let vector = if answered_by_slave && level == Some(CASCADE) {
            let inner = self.slave.begin_service();
            let vector = self.slave.vector(inner.unwrap_or(7));
            self.slave.end_acknowledge(inner);
            vector
        } else if answered_by_slave {
            // ICW3 claims a slave where the board has none: nobody drives the bus.
            0xFF
        } else {
            self.master.vector(level.unwrap_or(7))
        };
        self.master.end_acknowledge(level);
        vector
    }

    fn set_trigger_modes(&mut self) {
        let ltim = |chip: &Chip| if chip.icw1() & icw1::LTIM != 0 { 0xFF } else { 0 };
        let modes = if self.has_elcr { self.elcr } else { [ltim(&self.master), ltim(&self.slave)] };
        // The cascade input is a level here, whatever the mode (see the type's comment).
        self.master.level_mode = modes[0] | 1 << CASCADE;
        self.slave.level_mode = modes[1];
    }
}

impl BytePorts for PicPair {
    fn read8(&mut self, _now: Time, port: u16) -> u8 {
        self.absorb();
        match port {
            ELCR1 | ELCR2 if self.has_elcr => self.elcr[usize::from(port & 1)],
            ELCR1 | ELCR2 => 0xFF,
            _ if port & 0x80 == 0 => self.master.read(port & 1 != 0),
            _ => self.slave.read(port & 1 != 0),
        }
    }

    fn write8(&mut self, _now: Time, port: u16, value: u8) {
        self.absorb();
        match port {
            ELCR1 | ELCR2 => {
                let i = usize::from(port & 1);
                self.elcr[i] = value & ELCR_MASK[i];
            }
            _ if port & 0x80 == 0 => self.master.write(port & 1 != 0, value),
            _ => self.slave.write(port & 1 != 0, value),
        }
        self.set_trigger_modes();
    }
}
