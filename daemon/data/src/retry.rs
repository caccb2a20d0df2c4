//! Attempts after the first (spec/doorman.md 5.8): as many as the API says, for outcomes that another attempt may mend,
//! never twice what must not happen twice, and never so many that they drown a server that is down already.

use gatehouse_corridor::snapshot::api::Retries;
use std::sync::atomic::{AtomicU64, Ordering};

/// Of so many calls one may be retried: 20 %.
const CALLS_PER_RETRY: u64 = 5;
/// Retries of a window that even an API with little traffic has.
const FLOOR: u64 = 10;
/// Milliseconds of a budget's window.
const WINDOW_MS: i64 = 10_000;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// With this status; the answer has not gone to the client yet.
    Answered(u16),
    /// With no answer in time.
    TimedOut,
    /// With no connection, or one that broke before the answer's head was whole.
    Broken,
}

/// What is known of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Any byte of the request went out.
    pub(crate) begun: bool,
    /// The body can be sent once more: there is none, none of it was taken, or it was kept.
    pub(crate) repeatable: bool,
    /// The method is idempotent (RFC 9110 9.2.2).
    pub(crate) idempotent: bool,
}

/// Whether an attempt may be followed by another; `made`: attempts so far, this one included. The budget is asked last,
/// by the caller, so that only retries that happen use it up.
pub(crate) fn may(retries: Retries, made: u32, attempt: Attempt, sent: Sent) -> bool {
    let mends = match attempt {
        Attempt::Answered(status) => matches!(status, 500 | 502 | 503 | 504),
        Attempt::TimedOut | Attempt::Broken => true,
    };
    // An answer is proof that the request arrived.
    let arrived = sent.begun || matches!(attempt, Attempt::Answered(_));
    let safe = sent.idempotent || retries.non_idempotent || !arrived;
    mends && made <= retries.count && sent.repeatable && safe
}

/// Milliseconds before an attempt (2 is the first retry): by chance, up to `min(most, base * 2^(attempt - 1))`.
/// `chance` is any random number.
pub(crate) fn delay_ms(attempt: u32, (base, most): (u64, u64), chance: u64) -> u64 {
    let doubled = 1u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
    let bound = base.saturating_mul(doubled).min(most);
    let scaled = (u128::from(chance) * (u128::from(bound) + 1)) >> 64;
    u64::try_from(scaled).unwrap_or(bound)
}

/// What an API may retry: a fifth of the calls of a window, or [`FLOOR`] if those are few. Window number, calls and
/// retries in one atomic, so that they never part.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicU64);

const FIELD: u64 = (1 << 24) - 1;

/// The three numbers of a budget's word: 16, 24 and 24 bits.
#[derive(Debug, Clone, Copy)]
struct Counts {
    window: u64,
    calls: u64,
    retries: u64,
}

impl Counts {
    fn read(word: u64, now_ms: i64) -> Self {
        let window = u64::try_from(now_ms / WINDOW_MS).unwrap_or(0) & 0xffff;
        let seen = Self { window: word >> 48, calls: word >> 24 & FIELD, retries: word & FIELD };
        // A call whose time was taken a little earlier counts in the window that runs.
        let ahead = seen.window.wrapping_sub(window) & 0xffff;
        if ahead <= 1 && word != 0 { seen } else { Self { window, calls: 0, retries: 0 } }
    }

    fn word(self) -> u64 {
        self.window << 48 | self.calls.min(FIELD) << 24 | self.retries.min(FIELD)
    }
}

impl Budget {
    /// Counts a call, at its first attempt; not needed for an API that never retries.
    pub(crate) fn called(&self, now_ms: i64) {
        self.update(|word| {
            let counts = Counts::read(word, now_ms);
            Some(Counts { calls: counts.calls + 1, ..counts })
        });
    }

    /// Takes one retry, if there is one to take.
    pub(crate) fn take(&self, now_ms: i64) -> bool {
        self.update(|word| {
            let counts = Counts::read(word, now_ms);
            let allowed = (counts.calls / CALLS_PER_RETRY).max(FLOOR);
            (counts.retries < allowed).then_some(Counts { retries: counts.retries + 1, ..counts })
        })
    }

    fn update(&self, next: impl Fn(u64) -> Option<Counts>) -> bool {
        let put = |word| next(word).map(Counts::word);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_may_be_retried() {
        use Attempt::{Answered, Broken, TimedOut};
        let once = Retries { count: 1, non_idempotent: false };
        let opted = Retries { non_idempotent: true, ..once };
        let get = Sent { begun: true, repeatable: true, idempotent: true };
        let post = Sent { idempotent: false, ..get };
        let unsent = Sent { begun: false, ..post };
        let gone = Sent { repeatable: false, ..get };
        for (retries, made, attempt, sent, wanted) in [
            (once, 1, Answered(500), get, true),
            (once, 1, Answered(503), get, true),
            (once, 2, Answered(500), get, false),
            (Retries::default(), 1, Answered(500), get, false),
            (once, 1, Answered(501), get, false),
            (once, 1, Answered(429), get, false),
            (once, 1, Answered(200), get, false),
            (once, 1, TimedOut, get, true),
            (once, 1, Broken, get, true),
            (once, 1, Answered(502), post, false),
            (once, 1, TimedOut, post, false),
            (once, 1, Broken, unsent, true),
            (once, 1, Answered(502), unsent, false),
            (opted, 1, Answered(504), post, true),
            (opted, 1, Broken, post, true),
            (opted, 1, Broken, gone, false),
            (once, 1, Broken, gone, false),
        ] {
            assert_eq!(may(retries, made, attempt, sent), wanted, "{made} {attempt:?} {sent:?} {retries:?}");
        }
    }

    #[test]
    fn delays_double_up_to_the_most() {
        for (attempt, bound) in [(2, 500), (3, 1_000), (4, 2_000), (5, 2_000), (70, 2_000)] {
            assert_eq!(delay_ms(attempt, (250, 2_000), u64::MAX), bound);
            assert_eq!(delay_ms(attempt, (250, 2_000), 0), 0);
            assert_eq!(delay_ms(attempt, (250, 2_000), u64::MAX / 2), bound / 2);
        }
        assert_eq!(delay_ms(0, (0, 0), u64::MAX), 0);
    }

    #[test]
    fn a_fifth_of_the_traffic_or_a_few() {
        let budget = Budget::default();
        let taken = |now| (0..1_000).filter(|_| budget.take(now)).count();
        assert_eq!((taken(0), taken(9_999), taken(10_000)), (10, 0, 10));
        (0..1_000).for_each(|_| budget.called(20_000));
        assert_eq!(taken(20_000), 200);
        assert_eq!((taken(19_999), taken(30_000)), (0, 10));
    }

    #[test]
    fn many_threads_never_take_more_than_a_fifth() {
        let (budget, taken) = (Budget::default(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        budget.called(0);
                        taken.fetch_add(u64::from(budget.take(0)), Ordering::Relaxed);
                    }
                });
            }
        });
        assert!((1_590..=1_600).contains(&taken.into_inner()));
    }

    proptest! {
        #[test]
        fn never_more_than_the_budget_in_a_window(
            steps in proptest::collection::vec((0u64..60, 0u64..30, 0i64..4_000), 1..100),
        ) {
            let (budget, mut now) = (Budget::default(), 0);
            let mut counts = std::collections::BTreeMap::<i64, (u64, u64)>::new();
            for (calls, tries, gap) in steps {
                now += gap;
                let (all, retries) = counts.entry(now / WINDOW_MS).or_default();
                (0..calls).for_each(|_| budget.called(now));
                *all += calls;
                *retries += (0..tries).filter(|_| budget.take(now)).count() as u64;
            }
            prop_assert!(counts.values().all(|(calls, retries)| *retries <= (calls / 5).max(10)), "{counts:?}");
        }

        #[test]
        fn never_longer_than_the_bound(attempt in any::<u32>(), base in any::<u64>(), most in any::<u64>(), chance in any::<u64>()) {
            prop_assert!(delay_ms(attempt, (base, most), chance) <= most);
        }
    }
}
