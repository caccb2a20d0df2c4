//! Bandwidth (spec/doorman.md 5.3): body bytes both ways, per user and window. What a call moves is known only when
//! it ends, so those in flight together may go beyond the limit by what they move; the next ones are refused.

use crate::policies::standing::{Standing, window_ends};
use gatehouse_corridor::meter::Meter;
use gatehouse_corridor::snapshot::Rate;

/// Before a call: by what was used and what the request says it will send; `Err` is 429.
pub(crate) fn admit(rate: Rate, meter: &Meter, content_length: u64, now_ms: i64) -> Result<(), Standing> {
    let used = meter.used(now_ms, rate.window_ms);
    if used >= rate.limit || used.saturating_add(content_length) > rate.limit {
        return Err(Standing::new(rate.limit, 0, used, window_ends(now_ms, rate.window_ms)));
    }
    Ok(())
}

/// After it, with the time of then: what its bodies had.
pub(crate) fn moved(rate: Rate, meter: &Meter, bytes: u64, now_ms: i64) {
    meter.add(bytes, now_ms, rate.window_ms);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_the_contract_says() {
        const DAY: u64 = 86_400_000;
        for (used, length, passes) in [
            (0, 0, true),
            (0, 100, true),
            (0, 101, false),
            (99, 0, true),
            (99, 1, true),
            (99, 2, false),
            (100, 0, false),
            (0, u64::MAX, false),
        ] {
            let (rate, meter) = (Rate { limit: 100, window_ms: DAY }, Meter::default());
            moved(rate, &meter, used, 5_000);
            let found = admit(rate, &meter, length, 6_000);
            assert_eq!(found.is_ok(), passes, "{used} {length}");
            if let Err(standing) = found {
                assert_eq!((standing.remaining, standing.reset_secs()), (100 - used, 86_400));
            }
            assert!(admit(rate, &meter, 1, 5_000 + 86_400_000).is_ok(), "a new window");
        }
    }

    proptest! {
        /// One after the other, calls that say what they send never go beyond the limit.
        #[test]
        fn never_more_than_the_limit_if_lengths_are_told(
            calls in proptest::collection::vec((0u64..60, 0i64..300), 1..200),
        ) {
            let (rate, meter) = (Rate { limit: 100, window_ms: 1_000 }, Meter::default());
            let (mut now, mut sums) = (0, std::collections::BTreeMap::<i64, u64>::new());
            for (bytes, gap) in calls {
                now += gap;
                if admit(rate, &meter, bytes, now).is_ok() {
                    moved(rate, &meter, bytes, now);
                    *sums.entry(now / 1_000).or_default() += bytes;
                }
            }
            prop_assert!(sums.values().all(|sum| *sum <= 100), "{sums:?}");
        }
    }
}
