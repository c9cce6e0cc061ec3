//! Guest time and exact clock ratios.

/// Guest time in nanoseconds since power-on.
pub type Time = u64;

/// Nanoseconds in a second.
pub const SECOND: Time = 1_000_000_000;

/// A clock derived from guest time by an exact ratio: `ticks = time * numerator / denominator`, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    numerator: u64,
    denominator: u64,
}

impl Ratio {
    /// A clock that ticks `numerator` times every `denominator` nanoseconds. Neither may be zero.
    pub const fn new(numerator: u64, denominator: u64) -> Self {
        assert!(numerator != 0 && denominator != 0, "a clock needs a rate");
        Self { numerator, denominator }
    }

    /// Whole ticks completed at `time`.
    pub fn ticks(self, time: Time) -> u64 {
        // 64 bits are enough for years of most clocks, and much quicker to divide.
        match time.checked_mul(self.numerator) {
            Some(product) => product / self.denominator,
            None => (u128::from(time) * u128::from(self.numerator) / u128::from(self.denominator)) as u64,
        }
    }

    /// The first nanosecond at which [`Ratio::ticks`] is at least `tick`; `None` beyond the end of time.
    pub fn time_of(self, tick: u64) -> Option<Time> {
        if let Some(product) = tick.checked_mul(self.denominator) {
            return Some(product.div_ceil(self.numerator));
        }
        let time = (u128::from(tick) * u128::from(self.denominator)).div_ceil(u128::from(self.numerator));
        Time::try_from(time).ok()
    }
}

/// The earlier of two optional wake-up times.
pub fn earliest(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_exact_over_years() {
        // 105/88 MHz: 21 ticks every 17600 ns.
        let pit = Ratio::new(21, 17_600);
        assert_eq!(pit.ticks(17_599), 20);
        assert_eq!(pit.ticks(17_600), 21);
        let year = 365 * 86_400 * SECOND;
        assert_eq!(pit.ticks(year), year / 17_600 * 21 + pit.ticks(year % 17_600));
        for tick in [0, 1, 20, 21, 22, 1_000_000_007] {
            let time = pit.time_of(tick).unwrap();
            assert_eq!(pit.ticks(time), tick);
            assert!(time == 0 || pit.ticks(time - 1) < tick);
        }
        assert_eq!(pit.time_of(u64::MAX), None);
        // Where the product no longer fits 64 bits.
        let late = u64::MAX / 21 + 1;
        assert_eq!(pit.ticks(late), (u128::from(late) * 21 / 17_600) as u64);
        let tick = u64::MAX / 17_600 + 1;
        assert_eq!(pit.time_of(tick), Some((u128::from(tick) * 17_600).div_ceil(21) as u64));
    }

    #[test]
    fn earliest_prefers_what_exists() {
        assert_eq!(earliest(None, None), None);
        assert_eq!(earliest(Some(3), None), Some(3));
        assert_eq!(earliest(None, Some(4)), Some(4));
        assert_eq!(earliest(Some(3), Some(4)), Some(3));
    }
}
