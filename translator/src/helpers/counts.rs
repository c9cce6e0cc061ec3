//! How often each helper was called, and what it cost.
//!
//! Every call is counted. The first calls of a kind are timed, and then every 64th, which stands for the 63 after it;
//! what reading the clock itself costs is taken off.

use super::Helper;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Number of helpers.
const KINDS: usize = Helper::ALL.len();
/// Every call up to this one is timed, and from then on one in this many.
const STRIDE: u64 = 64;
/// A sample that took longer stands for itself alone: the host ran something else meanwhile, or the call was one of a
/// few long ones.
const LONG: Duration = Duration::from_millis(1);

/// Calls and time by kind of helper.
#[derive(Clone, Debug)]
pub struct CallCounts {
    count: [u64; KINDS],
    /// Estimated nanoseconds.
    ns: [u64; KINDS],
}

impl Default for CallCounts {
    fn default() -> Self {
        CallCounts { count: [0; KINDS], ns: [0; KINDS] }
    }
}

impl CallCounts {
    /// Counts a call. The time now, if this call is to be timed.
    #[inline(always)]
    pub(crate) fn begin(&mut self, helper: Helper) -> Option<Instant> {
        let count = &mut self.count[helper as usize % KINDS];
        let before = *count;
        *count += 1;
        if before < STRIDE || before.is_multiple_of(STRIDE) { Some(Instant::now()) } else { None }
    }

    /// Ends a call that [`CallCounts::begin`] timed.
    #[cold]
    pub(crate) fn end(&mut self, helper: Helper, began: Instant) {
        let took = began.elapsed();
        let i = helper as usize % KINDS;
        let weight = if self.count[i] <= STRIDE || took > LONG { 1 } else { STRIDE };
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).saturating_sub(clock_cost());
        self.ns[i] = self.ns[i].saturating_add(ns.saturating_mul(weight));
    }

    /// Kinds that were called: the helper, its calls and the estimated nanoseconds they took in all.
    pub fn iter(&self) -> impl Iterator<Item = (Helper, u64, u64)> {
        Helper::ALL
            .iter()
            .map(|&h| (h, self.count[h as usize % KINDS], self.ns[h as usize % KINDS]))
            .filter(|(_, count, _)| *count != 0)
    }
}

/// Nanoseconds between two readings of the clock with nothing in between.
fn clock_cost() -> u64 {
    static COST: OnceLock<u64> = OnceLock::new();
    *COST.get_or_init(|| {
        let once = || {
            let began = Instant::now();
            began.elapsed()
        };
        (0..64).map(|_| once()).min().map_or(0, |d| d.as_nanos() as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_order() {
        for (i, helper) in Helper::ALL.iter().enumerate() {
            assert_eq!(*helper as usize, i, "{helper:?}");
        }
    }

    #[test]
    fn one_sample_in_many_stands_for_the_rest() {
        let mut c = CallCounts::default();
        let mut timed = 0;
        for _ in 0..STRIDE * 10 {
            if let Some(began) = c.begin(Helper::Cli) {
                timed += 1;
                c.end(Helper::Cli, began - Duration::from_micros(100));
            }
        }
        assert_eq!(timed, STRIDE + 9);
        let found: Vec<_> = c.iter().collect();
        assert_eq!(found.len(), 1);
        let (helper, count, ns) = found[0];
        assert_eq!((helper, count), (Helper::Cli, STRIDE * 10));
        let mean = ns / count;
        assert!((90_000..400_000).contains(&mean), "{mean}");
    }
}
