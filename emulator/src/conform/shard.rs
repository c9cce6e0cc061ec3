//! Shares of a run: exact, disjoint parts of the same work for many processes or machines, and work spread over threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Part `index` (from 0) of `of`. Piece number `n` of the work belongs to the part `n % of`, so the parts of one run
/// never overlap and together are the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which part, counted from 0.
    pub index: u64,
    /// How many parts there are.
    pub of: u64,
}

impl Default for Shard {
    fn default() -> Self {
        Shard::WHOLE
    }
}

impl Shard {
    /// All of the work.
    pub const WHOLE: Shard = Shard { index: 0, of: 1 };

    /// Parses `M/N`, M from 1 to N.
    ///
    /// # Errors
    /// One sentence.
    pub fn parse(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/').and_then(|(m, n)| Some((m.parse::<u64>().ok()?, n.parse::<u64>().ok()?)));
        match parts {
            Some((m, n)) if m >= 1 && m <= n => Ok(Shard { index: m - 1, of: n }),
            _ => Err(format!("--shard {text}: not of the form M/N with M from 1 to N")),
        }
    }

    /// Whether piece `number` of the work is in this part.
    pub fn has(self, number: u64) -> bool {
        number % self.of == self.index
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.of)
    }
}

/// Calls `work` for 0 to `count` - 1 on `jobs` threads and gives the results in order.
pub fn spread<T: Send>(jobs: usize, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    let result = work(index);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_disjoint_and_whole() {
        for of in 1..9 {
            for number in 0..100 {
                let owners = (1..=of).filter(|m| Shard::parse(&format!("{m}/{of}")).unwrap().has(number)).count();
                assert_eq!(owners, 1, "piece {number} of {of} parts");
            }
        }
    }

    #[test]
    fn wrong_parts_are_one_sentence() {
        for text in ["5/4", "0/4", "4", "a/b", "1/0", "-1/2", "1/2/3", ""] {
            let error = Shard::parse(text).unwrap_err();
            assert_eq!(error, format!("--shard {text}: not of the form M/N with M from 1 to N"));
        }
        assert_eq!(Shard::parse("2/4").unwrap().to_string(), "2/4");
    }

    #[test]
    fn spread_work_comes_back_in_order() {
        assert_eq!(spread(4, 100, |n| n * n), (0..100).map(|n| n * n).collect::<Vec<_>>());
        assert_eq!(spread(4, 0, |n| n), Vec::<usize>::new());
    }
}
