//! One counter of the 8254: counting element, count register, latches, and the six modes.

use super::spec::{control, status};

/// What a data access means (the RW field).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Low,
    High,
    LowThenHigh,
}

/// Volatile state of one counter. Clock pulses are applied in bulk by [`Counter::run`].
#[derive(Clone, Debug)]
pub(super) struct Counter {
    mode: u8,
    bcd: bool,
    access: Access,
    /// The control word's low six bits, as the status byte gives them back.
    programmed: u8,
    /// Count register: 1 to the modulus.
    cr: u32,
    cr_written: bool,
    /// First byte of a two-byte count, once written.
    first_byte: Option<u8>,
    /// Counting element: 0 to the modulus.
    ce: u32,
    /// The counting element was loaded since the control word.
    loaded: bool,
    /// Load on the next clock because a count was written.
    pending: bool,
    /// Load on the next clock because GATE rose.
    trigger: bool,
    /// Reaching the end changes OUT (modes 0, 1, 4, 5).
    armed: bool,
    /// Mode 3: the running half-cycle started from an odd count.
    odd: bool,
    null_count: bool,
    pub(super) gate: bool,
    pub(super) out: bool,
    status_latch: Option<u8>,
    count_latch: Option<u16>,
    read_high_next: bool,
}

impl Counter {
    pub(super) fn new(gate: bool) -> Self {
        Self {
            mode: 0,
            bcd: false,
            access: Access::LowThenHigh,
            programmed: control::RW,
            cr: 0x1_0000,
            cr_written: false,
            first_byte: None,
            ce: 0,
            loaded: false,
            pending: false,
            trigger: false,
            armed: false,
            odd: false,
            null_count: true,
            gate,
            out: true,
            status_latch: None,
            count_latch: None,
            read_high_next: false,
        }
    }

    fn modulus(&self) -> u32 {
        if self.bcd { 10_000 } else { 0x1_0000 }
    }

    fn decode(&self, raw: u16) -> u32 {
        let value = if self.bcd {
            (0..4).rev().fold(0, |n, digit| n * 10 + u32::from(raw >> (4 * digit) & 0xF)) % 10_000
        } else {
            u32::from(raw)
        };
        if value == 0 { self.modulus() } else { value }
    }

    fn encode(&self, count: u32) -> u16 {
        let count = count % self.modulus();
        if self.bcd {
            let digit = |weight: u32| count / weight % 10;
            (digit(1000) << 12 | digit(100) << 8 | digit(10) << 4 | digit(1)) as u16
        } else {
            count as u16
        }
    }

    pub(super) fn control(&mut self, value: u8) {
        match (value & control::RW) >> 4 {
            0 => {
                self.latch_count();
                return;
            }
            1 => self.access = Access::Low,
            2 => self.access = Access::High,
            _ => self.access = Access::LowThenHigh,
        }
        self.programmed = value & 0x3F;
        self.mode = match (value & control::MODE) >> 1 {
            mode @ 6..=7 => mode - 4,
            mode => mode,
        };
        self.bcd = value & control::BCD != 0;
        self.cr_written = false;
        self.first_byte = None;
        self.loaded = false;
        self.pending = false;
        self.trigger = false;
        self.armed = false;
        self.null_count = true;
        self.status_latch = None;
        self.count_latch = None;
        self.read_high_next = false;
        self.out = self.mode != 0;
    }

    pub(super) fn latch_count(&mut self) {
        if self.count_latch.is_none() {
            self.count_latch = Some(self.encode(self.ce));
        }
    }

    pub(super) fn latch_status(&mut self) {
        if self.status_latch.is_none() {
            let out = if self.out { status::OUTPUT } else { 0 };
            let null = if self.null_count { status::NULL_COUNT } else { 0 };
            self.status_latch = Some(out | null | self.programmed);
        }
    }

    pub(super) fn read(&mut self) -> u8 {
        if let Some(status) = self.status_latch.take() {
            return status;
        }
        let count = self.count_latch.unwrap_or_else(|| self.encode(self.ce));
        let (high, last) = match self.access {
            Access::Low => (false, true),
            Access::High => (true, true),
            Access::LowThenHigh => {
                let high = self.read_high_next;
                self.read_high_next = !high;
                (high, high)
            }
        };
        if last {
            self.count_latch = None;
        }
        (if high { count >> 8 } else { count }) as u8
    }

    pub(super) fn write(&mut self, value: u8) {
        let raw = match self.access {
            Access::Low => u16::from(value),
            Access::High => u16::from(value) << 8,
            Access::LowThenHigh => match self.first_byte.take() {
                Some(low) => u16::from(low) | u16::from(value) << 8,
                None => {
                    self.first_byte = Some(value);
                    if self.mode == 0 {
                        // The first byte stops counting and OUT falls at once.
                        self.out = false;
                    }
                    return;
                }
            },
        };
        self.cr = self.decode(raw);
        self.cr_written = true;
        self.null_count = true;
        match self.mode {
            0 => {
                self.out = false;
                self.pending = true;
            }
            4 => self.pending = true,
            // Periodic modes take a new count at the end of the (half-)cycle, unless nothing runs yet.
            2 | 3 => self.pending |= !self.loaded,
            // Modes 1 and 5 wait for a trigger.
            _ => {}
        }
    }

    pub(super) fn set_gate(&mut self, gate: bool) {
        let rose = gate && !self.gate;
        self.gate = gate;
        match self.mode {
            // A trigger before any count was written is lost.
            1 | 5 => self.trigger |= rose && self.cr_written,
            2 | 3 => {
                self.trigger |= rose;
                if !gate {
                    self.out = true;
                }
            }
            _ => {}
        }
    }

    /// Whether a clock pulse decrements the counting element.
    fn counting(&self) -> bool {
        let gated = matches!(self.mode, 1 | 5) || self.gate;
        let held = self.mode == 0 && self.first_byte.is_some();
        self.loaded && gated && !held
    }

    fn loading(&self) -> bool {
        self.cr_written && (self.pending || self.trigger)
    }

    /// Value of the counting element from which the next clock ends a mode 3 half-cycle.
    fn half_cycle_end(&self) -> u32 {
        if self.odd && self.out { 0 } else { 2 }
    }

    /// How many clocks only decrement, with nothing else to see; `None` if that is so for ever.
    fn quiet(&self) -> Option<u64> {
        if self.loading() {
            return Some(0);
        }
        if matches!(self.mode, 4 | 5) && !self.out {
            return Some(0);
        }
        if !self.counting() {
            return None;
        }
        match self.mode {
            2 if !self.out => Some(0),
            2 => Some(u64::from(self.ce.checked_sub(2).unwrap_or(self.ce + self.modulus() - 2))),
            3 => Some(u64::from(self.ce.saturating_sub(self.half_cycle_end()) / 2)),
            _ if self.armed => Some(u64::from(self.ce.max(1) - 1)),
            _ => None,
        }
    }

    /// Clocks until something other than counting happens, if it ever does.
    pub(super) fn next_change(&self) -> Option<u64> {
        self.quiet().map(|quiet| quiet + 1)
    }

    fn skip(&mut self, clocks: u64) {
        if !self.counting() {
            return;
        }
        let modulus = u64::from(self.modulus());
        let step = if self.mode == 3 { 2 * clocks } else { clocks };
        let down = step % modulus;
        let ce = u64::from(self.ce);
        self.ce = if down <= ce { ce - down } else { ce + modulus - down } as u32;
    }

    fn load(&mut self) {
        self.odd = self.mode == 3 && self.cr & 1 != 0;
        self.ce = if self.mode == 3 { self.cr & !1 } else { self.cr };
        self.loaded = true;
        self.null_count = false;
        self.armed = true;
    }

    fn clock(&mut self) {
        if self.loading() {
            self.load();
            self.pending = false;
            self.trigger = false;
            match self.mode {
                1 => self.out = false,
                0 => {}
                _ => self.out = true,
            }
            return;
        }
        if matches!(self.mode, 4 | 5) {
            self.out = true;
        }
        if !self.counting() {
            return;
        }
        match self.mode {
            2 if !self.out => {
                self.load();
                self.out = true;
            }
            3 if self.ce <= self.half_cycle_end() => {
                self.load();
                self.out = !self.out;
            }
            3 => self.ce -= 2,
            mode => {
                self.ce = self.ce.checked_sub(1).unwrap_or(self.modulus() - 1);
                match mode {
                    2 => self.out = self.ce != 1,
                    _ if self.ce == 0 && self.armed => {
                        self.armed = false;
                        self.out = mode < 4;
                    }
                    _ => {}
                }
            }
        }
    }

    /// Whether a periodic mode stands at the start of a cycle that will repeat unchanged.
    fn period_start(&self) -> Option<u64> {
        let start = if self.mode == 3 { self.cr & !1 } else { self.cr };
        let steady = !self.loading() && self.counting() && self.out && self.ce == start;
        let same_parity = self.mode == 2 || self.odd == (self.cr & 1 != 0);
        let period = match (self.mode, self.cr) {
            // The datasheet forbids a count of 1; the counter then misses its end and goes all the way round, or
            // toggles on every clock.
            (2, 1) => self.modulus() + 1,
            (3, 1) => 2,
            _ => self.cr,
        };
        (steady && matches!(self.mode, 2 | 3) && same_parity && !self.null_count).then_some(u64::from(period))
    }

    /// Applies `clocks` pulses; returns whether OUT rose at least once.
    pub(super) fn run(&mut self, mut clocks: u64) -> bool {
        let mut rose = false;
        while clocks > 0 {
            if let Some(period) = self.period_start()
                && clocks >= period
            {
                rose = true;
                clocks %= period;
                continue;
            }
            let quiet = self.quiet().map_or(clocks, |quiet| quiet.min(clocks));
            self.skip(quiet);
            clocks -= quiet;
            if clocks > 0 {
                let before = self.out;
                self.clock();
                rose |= self.out && !before;
                clocks -= 1;
            }
        }
        rose
    }
}
