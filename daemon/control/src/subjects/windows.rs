//! So many per minute and name, in a window that slides: what the last whole minute saw counts for the part of it that
//! the window still covers, so that no burst passes by straddling a minute's end.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// Names remembered; when full, those that are not refused are forgotten.
const NAMES: usize = 10_000;

/// What one name has done in the minute of a number and in the one before.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    window: i64,
    now: u64,
    before: u64,
}

/// Counts by name.
#[derive(Debug, Default)]
pub(crate) struct Windows(RwLock<HashMap<String, Count>>);

/// Where a name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// How many more may come now.
    pub(crate) remaining: u64,
    /// Seconds until one may come again, at least 1; `None`: this one may.
    pub(crate) wait_secs: Option<i64>,
    /// Unix seconds at which all that was counted no longer counts.
    pub(crate) reset_secs: i64,
}

impl Count {
    /// The same count as it stands in a later window.
    fn at(self, window: i64) -> Self {
        match window - self.window {
            0 => self,
            1 => Self { window, now: 0, before: self.now },
            _ => Self { window, ..Self::default() },
        }
    }

    /// What counts at a point of the window, in thousandths.
    fn weight(self, into_ms: i64, window_ms: i64) -> u64 {
        let left = u64::try_from((window_ms - into_ms) * 1_000 / window_ms).unwrap_or(0);
        self.now.saturating_mul(1_000).saturating_add(self.before.saturating_mul(left))
    }

    /// Milliseconds until one more stays within the limit.
    fn wait_ms(self, limit: u64, into_ms: i64, window_ms: i64) -> i64 {
        let free = |share: u64, of: u64, from: i64| {
            // The older count has to fall to `share`.
            let left = i64::try_from(share.saturating_mul(u64::try_from(window_ms).unwrap_or(1)) / of.max(1));
            (window_ms - left.unwrap_or(window_ms) - from).max(0)
        };
        match limit.checked_sub(self.now + 1) {
            Some(share) => free(share, self.before, into_ms),
            // Not in this window; in the next one, what this one counts is the older count.
            None => window_ms - into_ms + free(limit.saturating_sub(1), self.now, 0),
        }
    }
}

impl Windows {
    /// Counts one, unless it is refused. With `limit` 0 nothing passes.
    pub(crate) fn attempt(&self, name: &str, limit: u64, window_secs: i64, now_ms: i64) -> Place {
        self.look(name, limit, window_secs, (now_ms, true))
    }

    /// Where a name stands; counts nothing.
    pub(crate) fn place(&self, name: &str, limit: u64, window_secs: i64, now_ms: i64) -> Place {
        self.look(name, limit, window_secs, (now_ms, false))
    }

    fn look(&self, name: &str, limit: u64, window_secs: i64, (now_ms, counts): (i64, bool)) -> Place {
        let window_ms = window_secs.max(1).saturating_mul(1_000);
        let (window, into_ms) = (now_ms.div_euclid(window_ms), now_ms.rem_euclid(window_ms));
        let most = limit.saturating_mul(1_000);
        let mut counts_by_name = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if counts && counts_by_name.len() >= NAMES && !counts_by_name.contains_key(name) {
            // Who is refused stays refused, however many names are sent to make us forget.
            counts_by_name.retain(|_, count| count.at(window).weight(into_ms, window_ms) + 1_000 > most);
            if counts_by_name.len() >= NAMES {
                counts_by_name.clear();
            }
        }
        let mut count = counts_by_name.get(name).copied().unwrap_or_default().at(window);
        let refused = count.weight(into_ms, window_ms).saturating_add(1_000) > most;
        if counts && !refused {
            count.now += 1;
            counts_by_name.insert(name.to_owned(), count);
        }
        let wait_ms = count.wait_ms(limit, into_ms, window_ms);
        Place {
            remaining: most.saturating_sub(count.weight(into_ms, window_ms)) / 1_000,
            wait_secs: refused.then_some((wait_ms + 999) / 1_000).map(|secs| secs.max(1)),
            reset_secs: (window + 2) * window_secs.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_over_a_minutes_end_is_refused() {
        let windows = Windows::default();
        let passed = |from_ms: i64, count: usize| {
            (0..count).filter(|_| windows.attempt("a", 60, 60, from_ms).wait_secs.is_none()).count()
        };
        assert_eq!((passed(119_500, 50), passed(120_500, 50)), (50, 10));
        assert!(windows.attempt("b", 60, 60, 120_500).wait_secs.is_none());
        assert!(windows.attempt("c", 0, 60, 120_500).wait_secs.is_some());
        assert_eq!(windows.place("d", 5, 60, 0), Place { remaining: 5, wait_secs: None, reset_secs: 120 });
    }

    proptest! {
        #[test]
        fn who_waits_as_told_passes_and_no_window_passes_twice_the_limit(
            limit in 1u64..20, steps in proptest::collection::vec(0i64..20_000, 1..200),
        ) {
            let windows = Windows::default();
            let mut now_ms = 1_000_000;
            let mut passed = Vec::new();
            for step in steps {
                now_ms += step;
                match windows.attempt("a", limit, 60, now_ms).wait_secs {
                    None => passed.push(now_ms),
                    Some(secs) => {
                        prop_assert!((1..=120).contains(&secs), "{secs}");
                        let then = windows.place("a", limit, 60, now_ms + secs * 1_000);
                        prop_assert!(then.wait_secs.is_none(), "told {secs} s, then {then:?}");
                    }
                }
                let recent = passed.iter().filter(|at| **at > now_ms - 60_000).count();
                prop_assert!(recent as u64 <= 2 * limit);
            }
        }
    }
}
