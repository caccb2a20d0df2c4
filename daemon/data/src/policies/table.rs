//! Counts by keys that clients choose (addresses, mostly), in memory that does not grow: sets of a few places, found by a
//! keyed hash. A key that has a place counts without a lock and costs two cache lines; places of a set are given one after
//! the other. When a set is full of keys that count in the present window, the others of that set count together, so that
//! no flood of keys gets more than the limit lets one.

use gatehouse_corridor::meter::Meter;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Places of a set, the last of which all share that found no other.
const WAYS: usize = 8;
/// Attempts to count before others take the place; there are fewer places to lose.
const ATTEMPTS: usize = 4 * WAYS;
/// Looks at a latch before the thread lets others run.
const SPINS: usize = 64;
/// Tag of a place that is being given away; no key's, for those are odd.
const CLAIMED: u64 = 2;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Set {
    /// 0: free. The last one is the latch of whoever gives a place away.
    tags: [AtomicU64; WAYS],
    meters: [Meter; WAYS],
}

/// The table of one limit.
#[derive(Debug)]
pub(crate) struct Table {
    sets: Box<[Set]>,
    window_ms: u64,
    /// Keyed by chance: nobody outside can aim at a set.
    hasher: RandomState,
}

/// A key's place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(u64);

impl Table {
    /// Room for about seven keys a set, 128 bytes each set; all count in windows of this length.
    pub(crate) fn new(sets: usize, window_ms: u64) -> Self {
        let sets = (0..sets.max(1).next_power_of_two()).map(|_| Set::default()).collect();
        Self { sets, window_ms, hasher: RandomState::new() }
    }

    /// Where a key lies.
    pub(crate) fn mark(&self, key: impl Hash) -> Mark {
        Mark(self.hasher.hash_one(key))
    }

    /// What a key has used of the present window.
    pub(crate) fn used(&self, mark: Mark, now_ms: i64) -> u64 {
        let Some(set) = self.set(mark) else { return 0 };
        let meter = match set.find(tag(mark)) {
            Some((_, meter)) => Some(meter),
            None if set.idle(now_ms, self.window_ms).is_some() => None,
            None => set.meters.last(),
        };
        meter.map_or(0, |meter| meter.used(now_ms, self.window_ms))
    }

    /// Counts one if that stays within `most`, and tells the new count.
    pub(crate) fn take(&self, mark: Mark, most: u64, now_ms: i64) -> Option<u64> {
        let (set, tag) = (self.set(mark)?, tag(mark));
        for _ in 0..ATTEMPTS {
            let place = set.find(tag).or_else(|| set.claim(tag, now_ms, self.window_ms));
            let Some((owner, meter)) = place else {
                return set.meters.last()?.take(most, now_ms, self.window_ms);
            };
            let count = meter.take(most, now_ms, self.window_ms);
            // Either this sees that the place was taken away meanwhile, or whoever takes it sees the count.
            fence(Ordering::SeqCst);
            if owner.load(Ordering::Acquire) == tag {
                return count;
            }
        }
        None
    }

    fn set(&self, mark: Mark) -> Option<&Set> {
        // The tag is mostly the lower bits, the set the upper ones.
        let upper = usize::try_from(mark.0 >> 32).unwrap_or_default();
        self.sets.get(upper & (self.sets.len() - 1))
    }
}

fn tag(mark: Mark) -> u64 {
    mark.0 | 1
}

impl Set {
    /// The places that keys own.
    fn places(&self) -> impl Iterator<Item = (&AtomicU64, &Meter)> {
        self.tags.iter().zip(&self.meters).take(WAYS - 1)
    }

    fn find(&self, tag: u64) -> Option<(&AtomicU64, &Meter)> {
        self.places().find(|(owner, _)| owner.load(Ordering::Acquire) == tag)
    }

    /// A place whose key counts nothing now; its meter begins anew by itself.
    fn idle(&self, now_ms: i64, window_ms: u64) -> Option<(&AtomicU64, &Meter)> {
        self.places().find(|(_, meter)| meter.used(now_ms, window_ms) == 0)
    }

    /// Takes an idle place for a key, if there is one; one after the other, so that a key never gets two. The latch is held
    /// for a few instructions, none of which waits, and only by keys that are new in their window.
    fn claim(&self, tag: u64, now_ms: i64, window_ms: u64) -> Option<(&AtomicU64, &Meter)> {
        let latch = self.tags.last()?;
        let mut spins = 0;
        while latch.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            spins += 1;
            if spins % SPINS == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        let place = self.find(tag).or_else(|| self.give(tag, now_ms, window_ms));
        latch.store(0, Ordering::Release);
        place
    }

    /// Gives an idle place to a key; the caller holds the latch.
    fn give(&self, tag: u64, now_ms: i64, window_ms: u64) -> Option<(&AtomicU64, &Meter)> {
        let idle = |meter: &Meter| meter.used(now_ms, window_ms) == 0;
        self.places().filter(|(_, meter)| idle(meter)).find(|(owner, meter)| {
            let before = owner.swap(CLAIMED, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            // The key it belongs to may have counted in between: then it keeps it.
            let free = idle(meter);
            owner.store(if free { tag } else { before }, Ordering::Release);
            free
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn keys_count_apart_and_windows_begin_at_nothing() {
        let table = Table::new(64, 1_000);
        let take = |key: u32, now| table.take(table.mark(key), 2, now);
        assert_eq!([take(1, 0), take(1, 0), take(1, 0), take(2, 0)], [Some(1), Some(2), None, Some(1)]);
        assert_eq!((table.used(table.mark(1), 0), table.used(table.mark(3), 0)), (2, 0));
        assert_eq!((take(1, 1_000), table.used(table.mark(2), 1_000)), (Some(1), 0));
    }

    #[test]
    fn a_full_set_counts_the_rest_together_until_places_are_idle() {
        let table = Table::new(1, 1_000);
        let take = |key: u32, now| table.take(table.mark(key), 3, now).is_some();
        let passed: Vec<usize> = (0..20).map(|key| (0..5).filter(|_| take(key, 0)).count()).collect();
        assert_eq!(passed[..7], [3; 7], "those that have a place");
        assert_eq!(passed[7..].iter().sum::<usize>(), 3, "all others together");
        assert_eq!(table.used(table.mark(99), 0), 3);
        assert!(take(19, 1_000) && take(19, 1_000) && take(19, 1_000) && !take(19, 1_000));
    }

    #[test]
    fn many_threads_never_get_more_than_the_limit_for_a_key() {
        let table = Table::new(2, 1_000);
        for now in (0..200).map(|window| window * 1_000) {
            let counts: Vec<BTreeMap<u32, u64>> = std::thread::scope(|scope| {
                let work = || {
                    let mut counts = BTreeMap::<u32, u64>::new();
                    for key in (0..12).cycle().take(120) {
                        let went = table.take(table.mark((key, now)), 5, now).is_some();
                        *counts.entry(key).or_default() += u64::from(went);
                    }
                    counts
                };
                let all: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            for key in 0..12 {
                let passed: u64 = counts.iter().filter_map(|one| one.get(&key)).sum();
                assert!(passed <= 5, "{passed} of key {key} at {now}");
            }
        }
    }

    proptest! {
        /// In any window no key passes more often than the limit lets it, however many keys there are.
        #[test]
        fn never_more_than_allowed_per_key_and_window(
            sets in 1usize..8,
            calls in proptest::collection::vec((0u32..60, 0i64..80), 1..300),
        ) {
            let table = Table::new(sets, 1_000);
            let (mut now, mut counts) = (0, BTreeMap::<(u32, i64), u64>::new());
            for (key, gap) in calls {
                now += gap;
                if table.take(table.mark(key), 4, now).is_some() {
                    *counts.entry((key, now / 1_000)).or_default() += 1;
                }
            }
            prop_assert!(counts.values().all(|count| *count <= 4), "{counts:?}");
        }

        /// With room for all, each gets what is its own.
        #[test]
        fn never_less_than_allowed_if_there_is_room(keys in 1u32..200) {
            let table = Table::new(1_024, 1_000);
            for key in 0..keys {
                prop_assert_eq!((0..6).filter(|_| table.take(table.mark(key), 4, 0).is_some()).count(), 4);
            }
        }
    }
}
