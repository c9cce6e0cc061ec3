//! Where the beam is: the CRT controller's counters as a function of guest time.

use super::Registers;
use super::spec::{CLOCK_25, CLOCK_28, crtc, misc, seq};
use crate::Time;
use crate::clock::Ratio;

/// The beam's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beam {
    pub(super) displaying: bool,
    pub(super) vertical_retrace: bool,
    /// Frames completed.
    pub(super) frame: u64,
}

/// Vertical values whose high bits are spread over the overflow registers.
impl Registers {
    fn overflow(&self, low: usize, bit8: u8, bit9: u8) -> u32 {
        let overflow = u32::from(self.crtc[crtc::OVERFLOW]);
        u32::from(self.crtc[low]) | (overflow >> bit8 & 1) << 8 | (overflow >> bit9 & 1) << 9
    }

    /// Scan lines in a frame.
    pub(super) fn vertical_total(&self) -> u32 {
        self.overflow(crtc::VERTICAL_TOTAL, 0, 5) + 2
    }

    /// Scan lines shown.
    pub(super) fn vertical_display(&self) -> u32 {
        self.overflow(crtc::VERTICAL_DISPLAY_END, 1, 6) + 1
    }

    fn vertical_retrace_start(&self) -> u32 {
        self.overflow(crtc::VERTICAL_RETRACE_START, 2, 7)
    }

    /// The scan line at which the display starts again at address 0.
    pub(super) fn line_compare(&self) -> u32 {
        let overflow = u32::from(self.crtc[crtc::OVERFLOW]);
        let maximum_scan = u32::from(self.crtc[crtc::MAXIMUM_SCAN_LINE]);
        u32::from(self.crtc[crtc::LINE_COMPARE]) | (overflow >> 4 & 1) << 8 | (maximum_scan >> 6 & 1) << 9
    }

    /// Characters shown in a line.
    pub(super) fn columns(&self) -> u32 {
        u32::from(self.crtc[crtc::HORIZONTAL_DISPLAY_END]) + 1
    }

    /// Dots in a character.
    pub(super) fn dots(&self) -> u32 {
        if self.seq[seq::CLOCKING_MODE] & seq::D89 != 0 { 8 } else { 9 }
    }

    /// The dot clock, and by how much it is divided.
    fn dot_clock(&self) -> (Ratio, u64) {
        let clock = if self.misc & misc::CS == 0 { CLOCK_25 } else { CLOCK_28 };
        (clock, if self.seq[seq::CLOCKING_MODE] & seq::DC != 0 { 2 } else { 1 })
    }

    pub(super) fn beam(&self, now: Time) -> Beam {
        let (clock, divisor) = self.dot_clock();
        let characters = clock.ticks(now) / divisor / u64::from(self.dots());
        let line_length = u64::from(self.crtc[crtc::HORIZONTAL_TOTAL]) + 5;
        let total = u64::from(self.vertical_total());
        let line = characters / line_length % total;
        let start = u64::from(self.vertical_retrace_start());
        // Retrace ends where the line counter's low four bits match.
        let end = u64::from(self.crtc[crtc::VERTICAL_RETRACE_END] & 0xF);
        let length = match end.wrapping_sub(start) & 0xF {
            0 => 16,
            length => length,
        };
        Beam {
            displaying: characters % line_length < u64::from(self.columns())
                && line < u64::from(self.vertical_display()),
            vertical_retrace: (start..start + length).contains(&line),
            frame: characters / line_length / total,
        }
    }
}
