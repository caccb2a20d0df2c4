//! Rate limit per consumer: GCRA in one atomic, no lock and no timer. `limit` calls may come at once, then
//! one each `window / limit`.

use gatehouse_corridor::snapshot::Rate;
use std::sync::atomic::{AtomicI64, Ordering};

/// A cell: the theoretical arrival time of the next call, microseconds.
#[derive(Debug)]
pub(crate) struct Limiter {
    pub(crate) rate: Rate,
    next_us: AtomicI64,
}

impl Limiter {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, next_us: AtomicI64::new(i64::MIN) }
    }

    /// Lets a call pass, or tells in how many milliseconds the next one would.
    pub(crate) fn admit(&self, now_ms: i64) -> Result<(), u64> {
        let window = i64::try_from(self.rate.window_ms.saturating_mul(1_000)).unwrap_or(i64::MAX / 4);
        // More calls than microseconds: the finest step there is.
        let step = (window / i64::try_from(self.rate.limit.max(1)).unwrap_or(i64::MAX)).max(1);
        let now = now_ms.saturating_mul(1_000);
        let mut seen = self.next_us.load(Ordering::Relaxed);
        loop {
            let arrival = seen.max(now);
            let wait = arrival - now - (window - step);
            if wait > 0 {
                return Err(u64::try_from(wait).unwrap_or(0).div_ceil(1_000));
            }
            let next = arrival.saturating_add(step);
            match self.next_us.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => seen = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_a_second() {
        let limiter = Limiter::new(Rate { limit: 1, window_ms: 1_000 });
        assert_eq!(limiter.admit(5_000), Ok(()));
        assert_eq!(limiter.admit(5_000), Err(1_000));
        assert_eq!(limiter.admit(6_100), Ok(()));
    }

    proptest! {
        /// Within any window never more than the burst plus what flows in.
        #[test]
        fn never_more_than_twice_the_limit_in_a_window(
            limit in 1u64..50,
            gaps in proptest::collection::vec(0i64..300, 1..400),
        ) {
            let limiter = Limiter::new(Rate { limit, window_ms: 1_000 });
            let (mut now, mut passed) = (0i64, Vec::new());
            for gap in gaps {
                now += gap;
                if limiter.admit(now).is_ok() {
                    passed.push(now);
                }
            }
            for (index, start) in passed.iter().enumerate() {
                let within = passed.iter().skip(index).take_while(|at| **at < start + 1_000).count() as u64;
                prop_assert!(within <= limit * 2, "{within} in one window with limit {limit}");
            }
        }
    }
}
