//! MC146818 real-time clock with 256 bytes of CMOS RAM, and the NMI mask that shares its index port.

mod calendar;
pub mod spec;
#[cfg(test)]
mod tests;

use crate::clock::earliest;
use crate::{BytePorts, IrqLine, Time, Timed};
use calendar::Format;
use spec::{ALARM_DONT_CARE, CRYSTAL, NMI_DISABLE, TimeBase, VRT, a, b, c, register as r, time_base};
use spec::{DATA, EXTENDED_DATA, EXTENDED_INDEX, INDEX};

/// A calendar date and time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// Full year, 1999 say.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

/// What the battery kept: the time, and the RAM.
#[derive(Clone, Debug)]
pub struct RtcInit {
    /// The time at the moment the chip is made.
    pub time: DateTime,
    /// Initial RAM. Bytes 0 to 0Dh are the chip's own and are ignored here: the chip starts with the
    /// 32.768 kHz time base, rate 6 (register A = 26h) and 24-hour BCD (register B = 02h).
    pub cmos: [u8; 256],
}

impl Default for RtcInit {
    /// The PC's epoch with cleared RAM.
    fn default() -> Self {
        let time = DateTime { year: 1980, month: 1, day: 1, hour: 0, minute: 0, second: 0 };
        Self { time, cmos: [0; 256] }
    }
}

/// The real-time clock at ports 70h-71h, with the second bank of RAM at 72h-73h.
#[derive(Debug)]
pub struct Rtc {
    // Wiring.
    irq: IrqLine,
    // Volatile state.
    cells: [u8; 256],
    index: u8,
    extended_index: u8,
    /// Crystal ticks up to which the state is current.
    ticks: u64,
    /// Added to `ticks`, gives the divider chain's count.
    phase: u64,
    fell_back: bool,
}

impl Rtc {
    /// A clock that shows `init.time` at `now` and has its next update end one second later.
    pub fn new(now: Time, irq: IrqLine, init: &RtcInit) -> Self {
        let mut cells = init.cmos;
        cells[..=r::D].fill(0);
        cells[r::A] = 0x26;
        cells[r::B] = b::HOURS_24;
        let format = Format::of(cells[r::B]);
        calendar::store(&mut cells, format, &init.time);
        let mut rtc =
            Self { irq, cells, index: 0, extended_index: 0, ticks: CRYSTAL.ticks(now), phase: 0, fell_back: false };
        if let Some(base) = rtc.base() {
            rtc.set_divider(base.update);
        }
        rtc
    }

    /// The RESET# pin: interrupt enables and flags clear, time and RAM stay.
    pub fn reset(&mut self) {
        self.cells[r::B] &= !(b::PIE | b::AIE | b::UIE | b::SQWE);
        self.cells[r::C] = 0;
        self.index = 0;
        self.update_irq();
    }

    /// Whether the guest masked NMI with bit 7 of port 70h.
    pub fn nmi_masked(&self) -> bool {
        self.index & NMI_DISABLE != 0
    }

    /// All 256 bytes as stored, clock registers included; for keeping the RAM across runs.
    pub fn cmos(&self) -> &[u8; 256] {
        &self.cells
    }

    fn base(&self) -> Option<TimeBase> {
        time_base((self.cells[r::A] & a::DV) >> 4)
    }

    /// Makes the divider chain read `count` now.
    fn set_divider(&mut self, count: u64) {
        self.phase = count.wrapping_sub(self.ticks);
    }

    fn divider(&self, ticks: u64) -> u64 {
        ticks.wrapping_add(self.phase)
    }

    fn period(&self) -> Option<u64> {
        let base = self.base()?;
        match (self.cells[r::A] & a::RS, base.rate_1) {
            (0, _) => None,
            // With the slow crystal rates 1 and 2 would be too fast for the chain; they repeat 8 and 9.
            (rate @ 1..=2, 1) => Some(1 << (rate + 6)),
            (rate, first) => Some(first << (rate - 1)),
        }
    }

    fn updating(&self) -> bool {
        let Some(base) = self.base() else { return false };
        let phase = self.divider(self.ticks) % base.second;
        self.cells[r::B] & b::SET == 0 && (phase < base.update || phase >= base.second - base.before_update)
    }

    fn end_update(&mut self) {
        let register_b = self.cells[r::B];
        if register_b & b::SET != 0 {
            return;
        }
        calendar::increment(&mut self.cells, Format::of(register_b), register_b & b::DSE != 0, &mut self.fell_back);
        self.cells[r::C] |= c::UF;
        let matches = |alarm: usize| {
            let wanted = self.cells[alarm];
            wanted & ALARM_DONT_CARE == ALARM_DONT_CARE || wanted == self.cells[alarm - 1]
        };
        if [r::SECONDS_ALARM, r::MINUTES_ALARM, r::HOURS_ALARM].into_iter().all(matches) {
            self.cells[r::C] |= c::AF;
        }
    }

    /// The enable bits of B and the flags of C stand in the same places.
    fn update_irq(&mut self) {
        let active = self.cells[r::B] & self.cells[r::C] & (c::PF | c::AF | c::UF) != 0;
        self.cells[r::C] = self.cells[r::C] & !c::IRQF | if active { c::IRQF } else { 0 };
        self.irq.set_level(active);
    }

    fn read_cell(&mut self, index: usize) -> u8 {
        match index {
            r::A => self.cells[r::A] & !a::UIP | if self.updating() { a::UIP } else { 0 },
            r::C => {
                let flags = self.cells[r::C];
                self.cells[r::C] = 0;
                self.update_irq();
                flags
            }
            r::D => VRT,
            _ => self.cells[index],
        }
    }

    fn write_cell(&mut self, index: usize, value: u8) {
        match index {
            r::SECONDS => self.cells[r::SECONDS] = value & 0x7F,
            r::A => {
                let stopped = self.base().is_none();
                self.cells[r::A] = value & !a::UIP;
                if stopped && let Some(base) = self.base() {
                    // The first update follows half a second after the divider is let go.
                    self.set_divider(base.second / 2);
                }
            }
            r::B => {
                // SET stops the update-ended interrupt too.
                self.cells[r::B] = if value & b::SET != 0 { value & !b::UIE } else { value };
                self.update_irq();
            }
            r::C | r::D => {}
            _ => self.cells[index] = value,
        }
    }

    /// First tick after the present one at which the divider, less `offset`, is a multiple of `period`.
    fn next_multiple(&self, period: u64, offset: u64) -> u64 {
        let past = self.divider(self.ticks).wrapping_sub(offset) % period;
        self.ticks.saturating_add(period - past)
    }
}

impl Timed for Rtc {
    fn next_event(&self) -> Option<Time> {
        let base = self.base()?;
        let (enabled, flags) = (self.cells[r::B], self.cells[r::C]);
        let wanted = enabled & !flags;
        let periodic = if wanted & b::PIE != 0 { self.period().map(|p| self.next_multiple(p, 0)) } else { None };
        let update = (wanted & (b::AIE | b::UIE) != 0 && enabled & b::SET == 0)
            .then(|| self.next_multiple(base.second, base.update));
        earliest(periodic, update).and_then(|tick| CRYSTAL.time_of(tick))
    }

    fn advance(&mut self, now: Time) {
        let ticks = CRYSTAL.ticks(now);
        if ticks <= self.ticks {
            return;
        }
        if let Some(base) = self.base() {
            let (before, after) = (self.divider(self.ticks), self.divider(ticks));
            if self.period().is_some_and(|period| before / period != after / period) {
                self.cells[r::C] |= c::PF;
            }
            // The divider starts at no less than an update's length, so neither difference wraps.
            let ended = |divider: u64| divider.saturating_sub(base.update) / base.second;
            for _ in ended(before)..ended(after) {
                self.end_update();
            }
        }
        self.ticks = ticks;
        self.update_irq();
    }
}

impl BytePorts for Rtc {
    fn read8(&mut self, now: Time, port: u16) -> u8 {
        self.advance(now);
        match port {
            DATA => self.read_cell(usize::from(self.index & 0x7F)),
            EXTENDED_DATA => self.cells[usize::from(self.extended_index | 0x80)],
            // The index ports are write-only.
            _ => 0xFF,
        }
    }

    fn write8(&mut self, now: Time, port: u16, value: u8) {
        self.advance(now);
        match port {
            INDEX => self.index = value,
            DATA => self.write_cell(usize::from(self.index & 0x7F), value),
            EXTENDED_INDEX => self.extended_index = value & 0x7F,
            EXTENDED_DATA => self.cells[usize::from(self.extended_index | 0x80)] = value,
            _ => {}
        }
    }
}
