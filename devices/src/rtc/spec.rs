//! Motorola MC146818 datasheet (ADI-1009); ports from the 82371SB/82371AB PIIX datasheets, "RTC Registers".

use crate::clock::Ratio;

/// The crystal: 32.768 kHz, which is 512 ticks in 15625000 ns.
pub const CRYSTAL: Ratio = Ratio::new(512, 15_625_000);

/// Index port of the lower 128 bytes; bit 7 masks NMI.
pub const INDEX: u16 = 0x70;
/// Data port of the lower 128 bytes.
pub const DATA: u16 = 0x71;
/// Index port of the upper 128 bytes.
pub const EXTENDED_INDEX: u16 = 0x72;
/// Data port of the upper 128 bytes.
pub const EXTENDED_DATA: u16 = 0x73;
/// NMI mask in the index port.
pub const NMI_DISABLE: u8 = 1 << 7;

/// Register addresses.
pub mod register {
    /// Seconds; its bit 7 is read-only.
    pub const SECONDS: usize = 0x0;
    /// Seconds alarm.
    pub const SECONDS_ALARM: usize = 0x1;
    /// Minutes.
    pub const MINUTES: usize = 0x2;
    /// Minutes alarm.
    pub const MINUTES_ALARM: usize = 0x3;
    /// Hours; in 12-hour mode bit 7 is PM.
    pub const HOURS: usize = 0x4;
    /// Hours alarm.
    pub const HOURS_ALARM: usize = 0x5;
    /// Day of the week, Sunday is 1.
    pub const DAY_OF_WEEK: usize = 0x6;
    /// Day of the month.
    pub const DATE_OF_MONTH: usize = 0x7;
    /// Month.
    pub const MONTH: usize = 0x8;
    /// Year in its century.
    pub const YEAR: usize = 0x9;
    /// Register A.
    pub const A: usize = 0xA;
    /// Register B.
    pub const B: usize = 0xB;
    /// Register C.
    pub const C: usize = 0xC;
    /// Register D.
    pub const D: usize = 0xD;
}

/// Bits of register A.
pub mod a {
    /// Update in progress.
    pub const UIP: u8 = 1 << 7;
    /// Divider control, in place.
    pub const DV: u8 = 7 << 4;
    /// Rate selection.
    pub const RS: u8 = 0xF;
}

/// Bits of register B.
pub mod b {
    /// Halts updates.
    pub const SET: u8 = 1 << 7;
    /// Periodic interrupt enable.
    pub const PIE: u8 = 1 << 6;
    /// Alarm interrupt enable.
    pub const AIE: u8 = 1 << 5;
    /// Update-ended interrupt enable.
    pub const UIE: u8 = 1 << 4;
    /// Square wave enable.
    pub const SQWE: u8 = 1 << 3;
    /// Binary data mode.
    pub const DM: u8 = 1 << 2;
    /// 24-hour mode.
    pub const HOURS_24: u8 = 1 << 1;
    /// Daylight savings enable.
    pub const DSE: u8 = 1 << 0;
}

/// Bits of register C.
pub mod c {
    /// Interrupt request flag.
    pub const IRQF: u8 = 1 << 7;
    /// Periodic flag.
    pub const PF: u8 = 1 << 6;
    /// Alarm flag.
    pub const AF: u8 = 1 << 5;
    /// Update-ended flag.
    pub const UF: u8 = 1 << 4;
}

/// Valid RAM and time, in register D.
pub const VRT: u8 = 1 << 7;
/// PM, in the hours bytes of 12-hour mode.
pub const PM: u8 = 1 << 7;
/// Both bits set make an alarm byte match anything.
pub const ALARM_DONT_CARE: u8 = 0xC0;

/// What the divider control field selects, in ticks of the crystal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeBase {
    /// Ticks in what the chip takes for a second.
    pub second: u64,
    /// UIP rises this long before the update cycle (244 us).
    pub before_update: u64,
    /// Length of the update cycle (1984 us, or 248 us with a fast crystal).
    pub update: u64,
    /// Period of rate 1; each further rate doubles it.
    pub rate_1: u64,
}

/// The time base for a divider control value; `None` while the divider is held in reset or under test.
pub fn time_base(dv: u8) -> Option<TimeBase> {
    match dv {
        0b000 => Some(TimeBase { second: 4_194_304, before_update: 1024, update: 1040, rate_1: 128 }),
        0b001 => Some(TimeBase { second: 1_048_576, before_update: 256, update: 260, rate_1: 32 }),
        0b010 => Some(TimeBase { second: 32_768, before_update: 8, update: 65, rate_1: 1 }),
        _ => None,
    }
}
