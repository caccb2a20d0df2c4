//! Connections of each client address, so that one cannot take them all. Which addresses come nobody knows before: a
//! table of fixed size, a cache line for each set of places, no lock. An IPv6 client owns a /64, so that is what counts.

use crate::policies::rules::owner;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

/// Places of a set, the last of which all share that found no other: they count together. Who has some there and then
/// finds a place of its own may have twice the bound, no more.
const WAYS: usize = 8;
/// A place: the mark of its address above, the count below; free when the count is 0.
const COUNT_BITS: u32 = 24;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// The connections that are open.
#[derive(Debug)]
pub(crate) struct Connections {
    sets: Box<[Set]>,
    /// Keyed by chance: nobody outside can aim at a set.
    hasher: RandomState,
}

/// An open connection; it is counted until this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Guard<H: Deref<Target = Connections>> {
    holder: H,
    set: usize,
    way: usize,
}

fn count(word: u64) -> u64 {
    word & COUNT
}

impl Set {
    /// Counts one for a mark and tells where. A place with a count keeps its mark, so whoever counted there can take it
    /// back.
    fn add(&self, mark: u64) -> usize {
        'again: loop {
            let own = || self.0.iter().take(WAYS - 1).enumerate();
            let words = || own().map(|(way, word)| (way, word, word.load(Ordering::SeqCst)));
            let mine = words().find(|(_, _, seen)| count(*seen) > 0 && seen >> COUNT_BITS == mark);
            let place = mine.or_else(|| words().find(|(_, _, seen)| count(*seen) == 0));
            let Some((way, word, seen)) = place else { break };
            let next = mark << COUNT_BITS | (count(seen) + 1).min(COUNT);
            if word.compare_exchange(seen, next, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return way;
            }
            continue 'again;
        }
        if let Some(shared) = self.0.last() {
            shared.fetch_add(1, Ordering::SeqCst);
        }
        WAYS - 1
    }

    /// What an address has; in two places, if it came twice at once.
    fn sum(&self, mark: u64, way: usize) -> u64 {
        if way == WAYS - 1 {
            return self.0.last().map_or(0, |shared| count(shared.load(Ordering::SeqCst)));
        }
        let words = self.0.iter().take(WAYS - 1).map(|word| word.load(Ordering::SeqCst));
        words.filter(|word| word >> COUNT_BITS == mark).map(count).sum()
    }
}

impl Connections {
    /// Room for about seven addresses a set, 64 bytes each set.
    pub(crate) fn new(sets: usize) -> Self {
        let sets = (0..sets.max(1).next_power_of_two()).map(|_| Set::default()).collect();
        Self { sets, hasher: RandomState::new() }
    }

    /// Counts a connection of an address, if it has fewer than `most`; else the connection is to be closed.
    pub(crate) fn open<H: Deref<Target = Self>>(holder: H, client: IpAddr, most: u64) -> Option<Guard<H>> {
        let hash = holder.hasher.hash_one(owner(client));
        let mark = hash >> COUNT_BITS;
        // The mark takes the upper bits, the set the lower.
        let set = usize::try_from(hash & COUNT).unwrap_or_default() & (holder.sets.len() - 1);
        let place = holder.sets.get(set)?;
        // Counted first and looked at then: of those that come at once the last to count sees all others.
        let way = place.add(mark);
        let sum = place.sum(mark, way);
        let guard = Guard { holder, set, way };
        (sum <= most).then_some(guard)
    }
}

impl<H: Deref<Target = Connections>> Drop for Guard<H> {
    fn drop(&mut self) {
        if let Some(place) = self.holder.sets.get(self.set).and_then(|set| set.0.get(self.way)) {
            place.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn v4(host: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, host])
    }

    #[test]
    fn each_address_has_its_own_and_gets_it_back() {
        let connections = Arc::new(Connections::new(1_024));
        let open = |address: &str| Connections::open(Arc::clone(&connections), address.parse().unwrap(), 2);
        let first = open("1.2.3.4").unwrap();
        let _second = open("::ffff:1.2.3.4").unwrap();
        assert!(open("1.2.3.4").is_none() && open("1.2.3.5").is_some());
        drop(first);
        let again = open("1.2.3.4");
        assert!(again.is_some() && open("1.2.3.4").is_none());
        let _v6 = [open("2001:db8::1").unwrap(), open("2001:db8::ffff:1").unwrap()];
        assert!(open("2001:db8::2").is_none() && open("2001:db8:0:1::2").is_some());
    }

    #[test]
    fn a_full_set_counts_the_rest_together() {
        let connections = Connections::new(1);
        let mut held: Vec<_> =
            (0..7).map(|host| Connections::open(&connections, v4(host), 3).unwrap()).collect();
        let rest: Vec<_> = (10..20).filter_map(|host| Connections::open(&connections, v4(host), 3)).collect();
        assert_eq!(rest.len(), 3);
        drop(rest);
        held.pop();
        let own: Vec<_> = (0..5).filter_map(|_| Connections::open(&connections, v4(30), 3)).collect();
        assert_eq!(own.len(), 3, "a place that is free again");
    }

    #[test]
    fn many_threads_never_have_more_than_the_bound() {
        let connections = Connections::new(1);
        let inside: [AtomicU64; 10] = std::array::from_fn(|_| AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..4usize {
                let (connections, inside) = (&connections, &inside);
                scope.spawn(move || {
                    for step in 0..3_000usize {
                        let host = (step * 7 + thread) % 10;
                        let address = v4(u8::try_from(host).unwrap());
                        if let Some(guard) = Connections::open(connections, address, 2) {
                            assert!(inside[host].fetch_add(1, Ordering::SeqCst) < 2);
                            inside[host].fetch_sub(1, Ordering::SeqCst);
                            drop(guard);
                        }
                    }
                });
            }
        });
        let left: u64 = connections.sets[0].0.iter().map(|word| count(word.load(Ordering::SeqCst))).sum();
        assert_eq!(left, 0, "all were given back");
    }

    proptest! {
        /// However many come and go: with room each address has the bound, without never more than twice that.
        #[test]
        fn never_more_than_the_bound_and_with_room_never_fewer(
            sets in prop_oneof![Just(1usize), Just(512)],
            steps in proptest::collection::vec((0u8..20, any::<bool>()), 1..300),
        ) {
            let connections = Connections::new(sets);
            let mut held: Vec<Vec<Guard<&Connections>>> = (0..20).map(|_| Vec::new()).collect();
            for (host, opens) in steps {
                let mine = &mut held[usize::from(host)];
                if !opens {
                    mine.pop();
                    continue;
                }
                let guard = Connections::open(&connections, v4(host), 3);
                if sets > 1 {
                    prop_assert_eq!(guard.is_some(), mine.len() < 3);
                }
                mine.extend(guard);
                let most = if sets > 1 { 3 } else { 6 };
                prop_assert!(mine.len() <= most);
            }
        }
    }
}
