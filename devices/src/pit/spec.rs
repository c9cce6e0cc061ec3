//! Intel 8254 datasheet (231164-005); port 61h from the 82371SB PIIX3 datasheet (290550), "NMI Status and Control".

use crate::clock::Ratio;

/// The counters' clock: 14.31818 MHz / 12 = 105/88 MHz, which is 21 ticks in 17600 ns.
pub const CLOCK: Ratio = Ratio::new(21, 17_600);

/// Counter 0.
pub const COUNTER_0: u16 = 0x40;
/// Counter 2.
pub const COUNTER_2: u16 = 0x42;
/// Control word register.
pub const CONTROL_WORD: u16 = 0x43;
/// NMI status and control, speaker gate.
pub const NMI_SC: u16 = 0x61;

/// Fields of the control word.
pub mod control {
    /// Binary coded decimal counter.
    pub const BCD: u8 = 1 << 0;
    /// The mode field, in place.
    pub const MODE: u8 = 7 << 1;
    /// The read/write field, in place.
    pub const RW: u8 = 3 << 4;
    /// Select counter field's shift.
    pub const SC_SHIFT: u8 = 6;
    /// Select counter: read-back command.
    pub const READ_BACK: u8 = 3;
}

/// Fields of the read-back command.
pub mod read_back {
    /// Do not latch the count.
    pub const NO_COUNT: u8 = 1 << 5;
    /// Do not latch the status.
    pub const NO_STATUS: u8 = 1 << 4;
    /// Counter 0 is meant; counters 1 and 2 follow.
    pub const COUNTER_0: u8 = 1 << 1;
}

/// Fields of the status byte.
pub mod status {
    /// Level of OUT.
    pub const OUTPUT: u8 = 1 << 7;
    /// The count written has not reached the counting element.
    pub const NULL_COUNT: u8 = 1 << 6;
}

/// Fields of port 61h.
pub mod nmi_sc {
    /// Timer counter 2 enable (its GATE).
    pub const TIM_CNT2_EN: u8 = 1 << 0;
    /// Speaker data enable.
    pub const SPKR_DAT_EN: u8 = 1 << 1;
    /// PCI SERR# enable: 1 clears and disables.
    pub const PCI_SERR_EN: u8 = 1 << 2;
    /// IOCHK# enable: 1 clears and disables.
    pub const IOCHK_EN: u8 = 1 << 3;
    /// Refresh cycle toggle.
    pub const REF_TOGGLE: u8 = 1 << 4;
    /// Timer counter 2 OUT status.
    pub const TMR2_OUT_STS: u8 = 1 << 5;
    /// IOCHK# NMI source status.
    pub const IOCHK_NMI_STS: u8 = 1 << 6;
    /// SERR# NMI source status.
    pub const SERR_NMI_STS: u8 = 1 << 7;
    /// The bits that are written.
    pub const WRITABLE: u8 = 0x0F;
}

/// Counter clocks between two changes of the refresh toggle (15.09 us).
pub const REFRESH_TICKS: u64 = 18;
