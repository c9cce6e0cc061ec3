//! One 8259A: command words, priority resolver, in-service logic.

use super::spec::{POLL_INT, icw1, icw4, ocw2, ocw3};

/// Which initialization word the chip expects next at A0 = 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Operation,
    Icw2,
    Icw3,
    Icw4,
}

/// Volatile state of one 8259A. The inputs are sampled by the owner and passed in.
#[derive(Clone, Debug)]
pub(super) struct Chip {
    expect: Expect,
    icw1: u8,
    icw2: u8,
    pub(super) icw3: u8,
    icw4: u8,
    imr: u8,
    isr: u8,
    /// Edge sense latches: inputs that rose and were not acknowledged or withdrawn since.
    edges: u8,
    /// The levels seen last.
    levels: u8,
    /// Inputs that are level-triggered.
    pub(super) level_mode: u8,
    /// The input of lowest priority; the next one up is the highest.
    lowest: u8,
    special_mask: bool,
    rotate_on_aeoi: bool,
    read_isr: bool,
    poll: bool,
}

impl Chip {
    pub(super) fn new() -> Self {
        Self {
            expect: Expect::Operation,
            icw1: 0,
            icw2: 0,
            icw3: 0,
            icw4: icw4::UPM,
            imr: 0xFF,
            isr: 0,
            edges: 0,
            levels: 0,
            level_mode: 0,
            lowest: 7,
            special_mask: false,
            rotate_on_aeoi: false,
            read_isr: false,
            poll: false,
        }
    }

    /// Takes in the inputs: `rises` went from low to high since the last call. An edge-triggered request is
    /// withdrawn when its input falls before it is acknowledged.
    pub(super) fn sample(&mut self, levels: u8, rises: u8) {
        self.edges = (self.edges | rises) & levels;
        self.levels = levels;
    }

    /// The interrupt request register.
    pub(super) fn irr(&self) -> u8 {
        (self.edges & !self.level_mode) | (self.levels & self.level_mode)
    }

    pub(super) fn icw1(&self) -> u8 {
        self.icw1
    }

    fn rank(&self, level: u8) -> u8 {
        level.wrapping_sub(self.lowest).wrapping_sub(1) & 7
    }

    /// The input of highest priority among `set`.
    fn highest(&self, set: u8) -> Option<u8> {
        (1..=8).map(|i| (self.lowest + i) & 7).find(|level| set & (1 << level) != 0)
    }

    /// The request that INT stands for, if any, were IRR `irr`.
    pub(super) fn request_of(&self, irr: u8) -> Option<u8> {
        let wanted = self.highest(irr & !self.imr)?;
        // In special mask mode a masked in-service level holds nobody back.
        let serving = if self.special_mask { self.isr & !self.imr } else { self.isr };
        let Some(current) = self.highest(serving) else { return Some(wanted) };
        let (new, old) = (self.rank(wanted), self.rank(current));
        // Special fully nested mode lets the slave in service interrupt again.
        let nested = new == old && self.icw4 & icw4::SFNM != 0 && self.icw3 & (1 << wanted) != 0;
        (new < old || nested).then_some(wanted)
    }

    pub(super) fn request(&self) -> Option<u8> {
        // During initialization the chip gives no INT: priorities and vectors are not there yet.
        if self.expect != Expect::Operation { None } else { self.request_of(self.irr()) }
    }

    /// The first INTA#: moves the request into service. `None` is the spurious case, served as IR7 without
    /// an in-service bit.
    pub(super) fn begin_service(&mut self) -> Option<u8> {
        let level = self.request()?;
        self.edges &= !(1 << level);
        self.isr |= 1 << level;
        Some(level)
    }

    /// The end of the last INTA#.
    pub(super) fn end_acknowledge(&mut self, level: Option<u8>) {
        if let Some(level) = level
            && self.icw4 & icw4::AEOI != 0
        {
            self.isr &= !(1 << level);
            if self.rotate_on_aeoi {
                self.lowest = level;
            }
        }
    }

    /// The byte on the bus during the second INTA#.
    pub(super) fn vector(&self, level: u8) -> u8 {
        if self.icw4 & icw4::UPM != 0 {
            self.icw2 & 0xF8 | level
        } else if self.icw1 & icw1::ADI != 0 {
            // 8080 mode: the low byte of a call address.
            self.icw1 & 0xE0 | level << 2
        } else {
            self.icw1 & 0xC0 | level << 3
        }
    }

    fn initialize(&mut self, value: u8) {
        self.icw1 = value;
        self.edges = 0;
        self.imr = 0;
        self.isr = 0;
        self.lowest = 7;
        self.icw3 = if value & icw1::SNGL != 0 { 0 } else { 7 };
        self.special_mask = false;
        self.rotate_on_aeoi = false;
        self.read_isr = false;
        self.poll = false;
        if value & icw1::IC4 == 0 {
            self.icw4 = 0;
        }
        self.expect = Expect::Icw2;
    }

    fn command(&mut self, value: u8) {
        let level = value & ocw2::L;
        let specific = value & ocw2::SL != 0;
        let rotate = value & ocw2::R != 0;
        if value & ocw2::EOI != 0 {
            let ended = if specific {
                Some(level)
            } else {
                // In special mask mode a masked level is not ended by a non-specific EOI.
                self.highest(if self.special_mask { self.isr & !self.imr } else { self.isr })
            };
            if let Some(ended) = ended {
                self.isr &= !(1 << ended);
                if rotate {
                    self.lowest = ended;
                }
            }
        } else if !specific {
            self.rotate_on_aeoi = rotate;
        } else if rotate {
            self.lowest = level;
        }
    }

    pub(super) fn write(&mut self, a0: bool, value: u8) {
        if !a0 {
            if value & icw1::ICW1 != 0 {
                self.initialize(value);
            } else if value & ocw3::OCW3 != 0 {
                if value & ocw3::ESMM != 0 {
                    self.special_mask = value & ocw3::SMM != 0;
                }
                if value & ocw3::P != 0 {
                    self.poll = true;
                } else if value & ocw3::RR != 0 {
                    self.read_isr = value & ocw3::RIS != 0;
                }
            } else {
                self.command(value);
            }
            return;
        }
        let after_icw3 = if self.icw1 & icw1::IC4 != 0 { Expect::Icw4 } else { Expect::Operation };
        match self.expect {
            Expect::Operation => self.imr = value,
            Expect::Icw2 => {
                self.icw2 = value;
                self.expect = if self.icw1 & icw1::SNGL != 0 { after_icw3 } else { Expect::Icw3 };
            }
            Expect::Icw3 => {
                self.icw3 = value;
                self.expect = after_icw3;
            }
            Expect::Icw4 => {
                self.icw4 = value;
                self.expect = Expect::Operation;
            }
        }
    }

    pub(super) fn read(&mut self, a0: bool) -> u8 {
        if std::mem::take(&mut self.poll) {
            // The read acts as INTA#.
            let level = self.begin_service();
            self.end_acknowledge(level);
            return level.map_or(0, |level| POLL_INT | level);
        }
        match (a0, self.read_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr(),
        }
    }
}
