//! Cells that the data plane counts in and control reads: one atomic each, the same ones in every snapshot.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

/// Bits of a window's number, above those of its count.
const WINDOW_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << (64 - WINDOW_BITS)) - 1;
/// Windows that a call may be late.
const LATE_WINDOWS: u64 = 64;

/// A count within windows aligned to the epoch: window number and count in one atomic, so that they never part.
#[derive(Debug, Default)]
pub struct Meter(AtomicU64);

impl Meter {
    fn window(now_ms: i64, window_ms: u64) -> u64 {
        let number = u64::try_from(now_ms).unwrap_or(0) / window_ms.max(1);
        number & ((1 << WINDOW_BITS) - 1)
    }

    /// The window that counts now, and its count. One that is a little ahead goes on: a call whose time was taken
    /// before another's must not set back what the other counted.
    fn look(seen: u64, now_ms: i64, window_ms: u64) -> (u64, u64) {
        let (window, at, count) =
            (Self::window(now_ms, window_ms), seen >> (64 - WINDOW_BITS), seen & COUNT_MASK);
        let ahead = at.wrapping_sub(window) & ((1 << WINDOW_BITS) - 1);
        if count > 0 && ahead <= LATE_WINDOWS { (at, count) } else { (window, 0) }
    }

    /// The count of the present window.
    #[must_use]
    pub fn used(&self, now_ms: i64, window_ms: u64) -> u64 {
        Self::look(self.0.load(Ordering::Relaxed), now_ms, window_ms).1
    }

    /// Adds and tells the new count.
    pub fn add(&self, count: u64, now_ms: i64, window_ms: u64) -> u64 {
        let next = |seen: u64| {
            let (window, used) = Self::look(seen, now_ms, window_ms);
            (window, used.saturating_add(count).min(COUNT_MASK))
        };
        let put = |seen: u64| {
            let (window, used) = next(seen);
            Some(window << (64 - WINDOW_BITS) | used)
        };
        // The closure never declines.
        next(self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put).unwrap_or_default()).1
    }

    /// Adds one if the count stays within `most`, and tells the new count; `None`: it is used up, and nothing was
    /// counted.
    pub fn take(&self, most: u64, now_ms: i64, window_ms: u64) -> Option<u64> {
        let next = |seen: u64| {
            let (window, used) = Self::look(seen, now_ms, window_ms);
            (used < most.min(COUNT_MASK)).then_some((window, used + 1))
        };
        let put = |seen: u64| next(seen).map(|(window, used)| window << (64 - WINDOW_BITS) | used);
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put).ok()?;
        next(before).map(|(_, used)| used)
    }

    /// Begins anew.
    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// As it stands, to be kept over a restart.
    #[must_use]
    pub fn raw(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// As it stood before a restart.
    pub fn restore(&self, raw: u64) {
        self.0.store(raw, Ordering::Relaxed);
    }
}

/// Which calendar day and month it is, as window numbers of a [`Meter`] with a window of one millisecond.
#[must_use]
pub fn calendar(now_ms: i64) -> (i64, i64) {
    let days = now_ms.div_euclid(86_400_000);
    // Civil month from days (H. Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    (days, (era * 400 + year) * 12 + march_month)
}

/// What one consumer has used.
#[derive(Debug, Default)]
pub struct Usage {
    /// Body bytes in the window of its bandwidth limit.
    pub bandwidth: Meter,
    /// Calls of the throttle's window.
    pub throttle: Meter,
    /// Calls per second, minute, hour, day and month of 30 days.
    pub tier: [Meter; 5],
    /// Requests of the calendar day.
    pub day_requests: Meter,
    /// Requests of the calendar month.
    pub month_requests: Meter,
    /// Body bytes of the calendar month.
    pub month_bytes: Meter,
}

impl Usage {
    /// Sets the counters of limits back (`DELETE /api/caches`); quotas and bandwidth stay.
    pub fn clear_limits(&self) {
        self.throttle.clear();
        self.tier.iter().for_each(Meter::clear);
    }
}

/// A leased block of credits. Control fills it after the lease is on the disk, the data plane takes; so no credit is
/// spent twice, and a crash loses the block at most.
#[derive(Debug, Default)]
pub struct Credit {
    left: AtomicU64,
    /// Control has nothing more to lease.
    dry: AtomicBool,
    wanted: AtomicBool,
    filled: Notify,
}

/// What became of a wish to spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// It is paid.
    Paid,
    /// The block is empty; control has more.
    Wait,
    /// There is no more.
    Dry,
}

impl Credit {
    /// Takes one credit.
    #[must_use]
    pub fn take(&self) -> Spent {
        let taken = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        match taken {
            Ok(_) => Spent::Paid,
            Err(_) if self.dry.load(Ordering::Acquire) => Spent::Dry,
            Err(_) => Spent::Wait,
        }
    }

    /// What is left of the block.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Acquire)
    }

    /// Says that more is wanted; true for the first who says so since the last fill, who then tells control.
    #[must_use]
    pub fn want(&self) -> bool {
        !self.dry.load(Ordering::Acquire) && !self.wanted.swap(true, Ordering::AcqRel)
    }

    /// Whether somebody waits for a block, or soon will.
    #[must_use]
    pub fn wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Adds a block that was leased; `dry`: nothing more can be.
    pub fn fill(&self, block: u64, dry: bool) {
        self.left.fetch_add(block, Ordering::AcqRel);
        self.dry.store(dry, Ordering::Release);
        self.wanted.store(false, Ordering::Release);
        self.filled.notify_waiters();
    }

    /// Takes back what is left, so that it can be written down.
    #[must_use]
    pub fn drain(&self) -> u64 {
        self.drain_to(0)
    }

    /// Takes back what is left beyond `kept`, which stays to be taken.
    #[must_use]
    pub fn drain_to(&self, kept: u64) -> u64 {
        let left = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| Some(left.min(kept)));
        // The closure never declines.
        left.unwrap_or_default().saturating_sub(kept)
    }

    /// Waits for the next fill; to be made before the last look at [`Credit::take`].
    pub fn filled(&self) -> tokio::sync::futures::Notified<'_> {
        self.filled.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_window_begins_at_nothing() {
        let meter = Meter::default();
        assert_eq!((meter.add(2, 999, 1_000), meter.add(1, 999, 1_000)), (2, 3));
        assert_eq!((meter.used(999, 1_000), meter.used(1_000, 1_000)), (3, 0));
        assert_eq!(meter.add(1, 1_000, 1_000), 1);
    }

    #[test]
    fn a_late_call_does_not_set_back_the_window() {
        let meter = Meter::default();
        assert_eq!((meter.add(2, 1_000, 1_000), meter.add(1, 999, 1_000)), (2, 3));
        assert_eq!((meter.take(3, 1_500, 1_000), meter.used(1_500, 1_000)), (None, 3));
        // Numbers of windows come round: the last before that and the first after.
        let round = 1_000 << WINDOW_BITS;
        let meter = Meter::default();
        assert_eq!((meter.take(2, round - 1, 1_000), meter.take(1, round, 1_000)), (Some(1), Some(1)));
        assert_eq!((meter.take(1, round - 1, 1_000), meter.take(1, round + 1_000, 1_000)), (None, Some(1)));
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        let months =
            |text: &[(i64, i64)]| text.iter().map(|(a, b)| calendar(*a).1 == calendar(*b).1).collect();
        const DAY: i64 = 86_400_000;
        // 1970-01-01 to 01-31, to 02-01; 2024-02-29 (day 19782) and 03-01.
        let same: Vec<bool> = months(&[(0, 30 * DAY), (0, 31 * DAY), (19_782 * DAY, 19_783 * DAY)]);
        assert_eq!(same, [true, false, false]);
    }

    #[test]
    fn many_takers_never_take_more_than_was_leased() {
        let credit = Credit::default();
        credit.fill(1_000, true);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while credit.take() == Spent::Paid {
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!((taken.into_inner(), credit.left(), credit.take()), (1_000, 0, Spent::Dry));
    }

    #[test]
    fn many_takers_of_a_window_never_take_more_than_its_most() {
        let meter = Meter::default();
        let taken = [const { AtomicU64::new(0) }; 4];
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for at in 0..4_000i64 {
                        if meter.take(50, at, 1_000).is_some() {
                            taken[usize::try_from(at / 1_000).unwrap()].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let taken = taken.map(AtomicU64::into_inner);
        // A late one counts in the window that is ahead of it, so there may be fewer in one.
        assert!(taken.iter().sum::<u64>() <= 200 && taken[0] > 0, "{taken:?}");
    }

    proptest! {
        #[test]
        fn never_panics_and_counts_what_was_added(adds in proptest::collection::vec((0u64..1_000, 0i64..5_000), 0..50)) {
            let (meter, mut wanted) = (Meter::default(), std::collections::HashMap::<i64, u64>::new());
            let mut sorted = adds;
            sorted.sort_by_key(|(_, at)| *at);
            for (count, at) in sorted {
                let sum = wanted.entry(at / 1_000).or_default();
                *sum += count;
                prop_assert_eq!(meter.add(count, at, 1_000), *sum);
            }
        }
    }
}
