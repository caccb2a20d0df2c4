//! Counts by keys that clients choose (addresses, mostly), in memory that does not grow: sets of a few places, found by a
//! keyed hash. No lock; a key costs two cache lines. When a set is full of keys that count in the present window, the
//! others of that set count together, so that no flood of keys gets more than the limit lets one.

use gatehouse_corridor::meter::Meter;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Places of a set, the last of which all share that found no other.
const WAYS: usize = 8;
/// Attempts to find a place while others take them.
const ATTEMPTS: usize = 4;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Set {
    /// 0: free. The last one is never used.
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
            let Some((owner, meter)) = set.find(tag).or_else(|| set.claim(tag, now_ms, self.window_ms))
            else {
                break;
            };
            let count = meter.take(most, now_ms, self.window_ms);
            // If another key took the place meanwhile, the count went to that one.
            if owner.load(Ordering::Acquire) == tag {
                return count;
            }
        }
        set.meters.last()?.take(most, now_ms, self.window_ms)
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

    /// Takes an idle place for a key. The first idle one, so that two who bring the same key meet there; and if they
    /// do not, the later one sees the other.
    fn claim(&self, tag: u64, now_ms: i64, window_ms: u64) -> Option<(&AtomicU64, &Meter)> {
        for _ in 0..ATTEMPTS {
            let (owner, meter) = self.idle(now_ms, window_ms)?;
            let seen = owner.load(Ordering::SeqCst);
            if seen != tag && owner.compare_exchange(seen, tag, Ordering::SeqCst, Ordering::SeqCst).is_err() {
                continue;
            }
            let twice = self.places().filter(|(owner, _)| owner.load(Ordering::SeqCst) == tag).count() > 1;
            if !twice {
                return Some((owner, meter));
            }
            // Fails if the place went to another key already.
            let freed = owner.compare_exchange(tag, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
            if freed && let Some(found) = self.find(tag) {
                return Some(found);
            }
        }
        None
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
