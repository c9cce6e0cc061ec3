//! IA-PC HPET (High Precision Event Timers) specification 1.0a, section 2.3.

use crate::clock::Ratio;

/// The main counter's clock: 14.31818 MHz, which is 63 ticks in 4400 ns.
pub const CLOCK: Ratio = Ratio::new(63, 4_400);
/// One tick in femtoseconds.
pub const PERIOD: u64 = 69_841_270;
/// How many timers there are.
pub const TIMERS: usize = 3;
/// The I/O APIC inputs that timers may be routed to, as the capability field has them: 20 to 23.
pub const ROUTES: u64 = 0x00F0_0000;
/// First of these.
pub const FIRST_ROUTE: usize = 20;
/// Size of the register block.
pub const SIZE: u64 = 0x400;

/// Register offsets; each register has 64 bits.
pub mod register {
    /// General capabilities and ID.
    pub const GCAP_ID: u64 = 0x000;
    /// General configuration.
    pub const GEN_CONF: u64 = 0x010;
    /// General interrupt status.
    pub const GINTR_STA: u64 = 0x020;
    /// Main counter value.
    pub const MAIN_CNT: u64 = 0x0F0;
    /// First timer; the others follow at distances of 20h.
    pub const TIMER: u64 = 0x100;
    /// In a timer: configuration and capability.
    pub const TIM_CONF: u64 = 0x00;
    /// In a timer: comparator value.
    pub const TIM_COMP: u64 = 0x08;
}

/// General capabilities: period, Intel, legacy replacement, 64 bits, number of the last timer, revision 1.
pub const CAPABILITIES: u64 = PERIOD << 32 | 0x8086 << 16 | 1 << 15 | 1 << 13 | (TIMERS as u64 - 1) << 8 | 1;

/// Bits of the general configuration.
pub mod gen_conf {
    /// The main counter runs and timers interrupt.
    pub const ENABLE_CNF: u64 = 1 << 0;
    /// Timers 0 and 1 take the places of the 8254 and the clock chip.
    pub const LEG_RT_CNF: u64 = 1 << 1;
}

/// Bits of a timer's configuration.
pub mod tim_conf {
    /// Level triggered.
    pub const INT_TYPE_CNF: u64 = 1 << 1;
    /// Interrupts.
    pub const INT_ENB_CNF: u64 = 1 << 2;
    /// Periodic.
    pub const TYPE_CNF: u64 = 1 << 3;
    /// Can be periodic.
    pub const PER_INT_CAP: u64 = 1 << 4;
    /// Has 64 bits.
    pub const SIZE_CAP: u64 = 1 << 5;
    /// The next write of the comparator of a periodic timer reaches the accumulator.
    pub const VAL_SET_CNF: u64 = 1 << 6;
    /// Behaves as a timer of 32 bits.
    pub const MODE32_CNF: u64 = 1 << 8;
    /// Route: an I/O APIC input.
    pub const INT_ROUTE_SHIFT: u64 = 9;
    /// Bits that can be written; messages over the front side bus are not offered.
    pub const WRITABLE: u64 = 0x3F4E;
}
