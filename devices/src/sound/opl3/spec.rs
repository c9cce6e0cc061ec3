//! Yamaha YMF262 (OPL3) application manual, with the YM3812 (OPL2) manual for what both have; the contents of the two
//! ROMs and the order of operations inside follow published readings of the dies.

use crate::clock::Ratio;

/// Samples: 14.31818 MHz / 288 = 49,715.9 a second, 7 in 140,800 ns.
pub const SAMPLES: Ratio = Ratio::new(7, 140_800);
/// Samples in a tick of timer 1 (80 us); timer 2 ticks a quarter as often.
pub const TIMER_1_SAMPLES: u64 = 4;
/// Samples in a tick of timer 2 (320 us).
pub const TIMER_2_SAMPLES: u64 = 16;
/// Channels with two operators each.
pub const CHANNELS: usize = 18;
/// Operators.
pub const OPERATORS: usize = 36;

/// Registers of the chip as a whole, in the first array; those of the second array have bit 8 set.
pub mod register {
    /// Preset of timer 1.
    pub const TIMER_1: u16 = 0x02;
    /// Preset of timer 2.
    pub const TIMER_2: u16 = 0x03;
    /// Timer control.
    pub const TIMER_CONTROL: u16 = 0x04;
    /// Composite speech mode (not on the YMF262) and note select.
    pub const NOTE_SELECT: u16 = 0x08;
    /// Depths, and the rhythm section.
    pub const RHYTHM: u16 = 0xBD;
    /// Which channels have four operators.
    pub const CONNECTION_SELECT: u16 = 0x104;
    /// OPL3 mode.
    pub const NEW: u16 = 0x105;
}

/// Fields of the timer control register.
pub mod timer_control {
    /// Clears both flags; the other bits are ignored with it.
    pub const RESET: u8 = 1 << 7;
    /// Timer 1 does not set its flag.
    pub const MASK_1: u8 = 1 << 6;
    /// Timer 1 runs.
    pub const START_1: u8 = 1 << 0;
}

/// Fields of the status register.
pub mod status {
    /// A timer's flag is set.
    pub const IRQ: u8 = 1 << 7;
    /// Timer 1 overflowed; timer 2's flag is the next lower bit.
    pub const TIMER_1: u8 = 1 << 6;
}

/// Fields of the rhythm register.
pub mod rhythm {
    /// Tremolo of 4.8 dB in place of 1.
    pub const DEEP_TREMOLO: u8 = 1 << 7;
    /// Vibrato of 14 cents in place of 7.
    pub const DEEP_VIBRATO: u8 = 1 << 6;
    /// Channels 6 to 8 are percussion.
    pub const ENABLE: u8 = 1 << 5;
    /// Bass drum.
    pub const BASS_DRUM: u8 = 1 << 4;
    /// Snare drum.
    pub const SNARE_DRUM: u8 = 1 << 3;
    /// Tom-tom.
    pub const TOM_TOM: u8 = 1 << 2;
    /// Top cymbal.
    pub const CYMBAL: u8 = 1 << 1;
    /// Hi-hat.
    pub const HI_HAT: u8 = 1 << 0;
}

/// Note select: the key scale rate splits at bit 8 of F-NUM in place of bit 9.
pub const NTS: u8 = 1 << 6;
/// OPL3 mode bit.
pub const NEW: u8 = 1 << 0;

/// Twice the frequency factor of each MULT value.
pub const MULTIPLES: [u32; 16] = [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 20, 24, 24, 30, 30];
/// Key scale attenuation at the eighth octave by the high bits of F-NUM, in 3/4 dB.
pub const KEY_SCALE: [u16; 16] = [0, 32, 40, 45, 48, 51, 53, 55, 56, 58, 59, 60, 61, 62, 63, 64];
