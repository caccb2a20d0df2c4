//! Throttle (spec/doorman.md 5.3): calls above the limit wait, the longer the more there are; those beyond the queue
//! are refused.

use gatehouse_corridor::meter::Meter;
use gatehouse_corridor::snapshot::consumer::Throttle;

/// Nobody waits longer, milliseconds: who would have to is refused, so that waiting calls cannot pile up.
const MOST_WAIT_MS: u64 = 60_000;

/// What is to become of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Pass,
    /// It goes on after so many milliseconds.
    Wait(u64),
    /// 429.
    Refuse,
}

/// Counts a call and decides; refused ones count too, as the contract says.
pub(crate) fn decide(throttle: &Throttle, meter: &Meter, now_ms: i64) -> Verdict {
    let call = meter.add(1, now_ms, throttle.rate.window_ms);
    let above = call.saturating_sub(throttle.rate.limit);
    let wait = throttle.wait_ms.saturating_mul(above);
    if call > throttle.queue || wait > MOST_WAIT_MS {
        return Verdict::Refuse;
    }
    if wait == 0 { Verdict::Pass } else { Verdict::Wait(wait) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_corridor::snapshot::Rate;
    use proptest::prelude::*;

    fn throttle(limit: u64, window_ms: u64, queue: u64, wait_ms: u64) -> Throttle {
        Throttle { rate: Rate { limit, window_ms }, queue, wait_ms }
    }

    #[test]
    fn as_the_contract_says() {
        let (pass, wait, refuse) = (Verdict::Pass, Verdict::Wait, Verdict::Refuse);
        for (one, wanted) in [
            (throttle(1, 60_000, 10, 100), vec![pass, wait(100), wait(200)]),
            (throttle(10, 1_000, 1, 500), vec![pass, refuse, refuse]),
            (throttle(1, 1_000, 3, 500), vec![pass, wait(500), wait(1_000), refuse]),
            (throttle(1_000_000, 1_000, 1_000_000, 0), vec![pass; 50]),
            (throttle(0, 1_000, 5, 0), vec![pass; 5]),
            (throttle(0, 1_000, 5, 40_000), vec![wait(40_000), refuse]),
        ] {
            let meter = Meter::default();
            let found: Vec<_> = wanted.iter().map(|_| decide(&one, &meter, 500)).collect();
            assert_eq!(found, wanted, "{one:?}");
            let window = i64::try_from(one.rate.window_ms).unwrap();
            assert_eq!(decide(&one, &meter, 500 + window), wanted[0], "a new window: {one:?}");
        }
    }

    #[test]
    fn many_threads_never_get_more_than_the_queue() {
        let (one, meter) = (throttle(20, 1_000, 50, 5), Meter::default());
        let counts: Vec<(usize, usize)> = std::thread::scope(|scope| {
            let work = || {
                let all: Vec<_> = (0..100).map(|_| decide(&one, &meter, 0)).collect();
                let count =
                    |wanted: fn(&Verdict) -> bool| all.iter().filter(|verdict| wanted(verdict)).count();
                (count(|verdict| *verdict == Verdict::Pass), count(|verdict| *verdict != Verdict::Refuse))
            };
            let all: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let sum = counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert_eq!(sum, (20, 50));
    }

    proptest! {
        /// Of a window at most `queue` calls go on, and at most `limit` without a wait.
        #[test]
        fn never_more_than_the_queue_in_a_window(
            (limit, queue) in (1u64..20, 1u64..40),
            gaps in proptest::collection::vec(0i64..200, 1..300),
        ) {
            let (one, meter) = (throttle(limit, 1_000, queue, 5), Meter::default());
            let mut now = 0;
            let mut counts = std::collections::BTreeMap::<i64, (u64, u64)>::new();
            for gap in gaps {
                now += gap;
                let (at_once, all) = counts.entry(now / 1_000).or_default();
                let verdict = decide(&one, &meter, now);
                *at_once += u64::from(verdict == Verdict::Pass);
                *all += u64::from(verdict != Verdict::Refuse);
            }
            prop_assert!(counts.values().all(|(at_once, all)| *at_once <= limit && *all <= queue), "{counts:?}");
        }
    }
}
