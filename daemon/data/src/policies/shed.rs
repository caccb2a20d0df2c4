//! Bounds of what is in flight, for the gateway and for an API; and load shedding: near the gateway's bound those APIs
//! are refused first whose priority is lowest (503).

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

/// Priorities, 0 to 9.
const PRIORITIES: usize = 10;

/// How much of the gateway's bound calls of each priority may fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shares([u64; PRIORITIES]);

impl Default for Shares {
    fn default() -> Self {
        Self([u64::MAX; PRIORITIES])
    }
}

impl Shares {
    /// Compiles from the bound and the priorities that APIs have. The highest may fill it all, the others each a step
    /// less, down to half; so a gateway whose APIs are all alike loses nothing.
    pub(crate) fn compile(bound: u64, priorities: impl IntoIterator<Item = u8>) -> Result<Self, String> {
        let mut taken = [false; PRIORITIES];
        for priority in priorities {
            let place = taken.get_mut(usize::from(priority));
            *place.ok_or_else(|| format!("api_priority: {priority}: expected 0 to 9"))? = true;
        }
        let kinds = taken.iter().filter(|taken| **taken).count().max(1);
        let share = |priority: usize| {
            let higher = taken.iter().skip(priority + 1).filter(|taken| **taken).count();
            let less = u128::from(bound) * u128::try_from(higher).unwrap_or(0)
                / (2 * u128::try_from(kinds).unwrap_or(1));
            bound.saturating_sub(u64::try_from(less).unwrap_or(0)).max(1)
        };
        Ok(Self(std::array::from_fn(share)))
    }

    /// All of it, whatever the priority.
    pub(crate) fn all(&self) -> u64 {
        self.0.last().copied().unwrap_or(u64::MAX)
    }

    /// What may be in flight for a call of this priority to come in.
    pub(crate) fn of(&self, priority: u8) -> u64 {
        self.0.get(usize::from(priority)).or(self.0.last()).copied().unwrap_or(u64::MAX)
    }
}

/// Counts what is in flight; the same one under every snapshot. Alone in its cache line, for all workers write it.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Gate(AtomicU64);

impl Gate {
    /// Lets a call in if fewer than `most` are; it is out when the permit is dropped, with the last byte of its answer.
    pub(crate) fn enter<H: Deref<Target = Self>>(holder: H, most: u64) -> Option<Permit<H>> {
        enter(&holder.0, most).then(|| Permit(holder))
    }

    /// Calls in flight.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts one that comes in, if fewer than `most` are; who is refused is not counted, so that refusals, however many, fill
/// no place.
pub(crate) fn enter(inside: &AtomicU64, most: u64) -> bool {
    // Added first and taken back: one step where it passes, and never more than `most` that do.
    let passes = inside.fetch_add(1, Ordering::AcqRel) < most;
    if !passes {
        inside.fetch_sub(1, Ordering::AcqRel);
    }
    passes
}

/// A call's place.
#[derive(Debug)]
#[must_use]
pub(crate) struct Permit<H: Deref<Target = Gate>>(H);

impl<H: Deref<Target = Gate>> Drop for Permit<H> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    #[test]
    fn the_lower_the_priority_the_smaller_the_share() {
        for (priorities, wanted) in [
            (vec![], [(0, 100), (9, 100)]),
            (vec![0, 0], [(0, 100), (9, 100)]),
            (vec![0, 9], [(0, 75), (9, 100)]),
            (vec![0, 5], [(0, 75), (5, 100)]),
            (vec![0, 3, 5, 9], [(0, 63), (5, 88)]),
            ((0..10).collect(), [(0, 55), (9, 100)]),
        ] {
            let shares = Shares::compile(100, priorities.clone()).unwrap();
            assert_eq!(wanted.map(|(priority, _)| (priority, shares.of(priority))), wanted, "{priorities:?}");
        }
        assert_eq!(Shares::compile(0, [0]).unwrap().of(0), 1, "nobody could come in to change it");
        assert!(Shares::compile(1, [10]).unwrap_err().contains("expected 0 to 9"));
    }

    #[test]
    fn the_lowest_are_refused_first_and_places_come_back() {
        let (gate, shares) = (Arc::new(Gate::default()), Shares::compile(10, [0, 9]).unwrap());
        let enter = |priority| Gate::enter(Arc::clone(&gate), shares.of(priority));
        let low: Vec<_> = (0..10).filter_map(|_| enter(0)).collect();
        assert_eq!((low.len(), gate.in_flight()), (8, 8));
        let high: Vec<_> = (0..10).filter_map(|_| enter(9)).collect();
        assert_eq!((high.len(), gate.in_flight()), (2, 10));
        drop(high);
        assert!(enter(0).is_none());
        drop(low);
        assert_eq!(gate.in_flight(), 0);
        assert!(enter(0).is_some());
    }

    #[test]
    fn many_threads_never_have_more_in_flight_than_the_bound() {
        let (gate, inside) = (Gate::default(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        if let Some(permit) = Gate::enter(&gate, 2) {
                            let before = inside.fetch_add(1, Ordering::SeqCst);
                            assert!(before < 2, "{before} were inside");
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(permit);
                        }
                    }
                });
            }
        });
        assert_eq!(gate.in_flight(), 0);
    }

    #[test]
    fn refusals_take_no_place() {
        let inside = AtomicU64::new(0);
        assert!(enter(&inside, 2) && enter(&inside, 2));
        (0..10).for_each(|_| assert!(!enter(&inside, 2)));
        assert_eq!(inside.load(Ordering::Relaxed), 2);
    }

    proptest! {
        /// No call comes in beyond its priority's share, and none is lost.
        #[test]
        fn never_more_than_the_share(
            bound in 1u64..40,
            steps in proptest::collection::vec((0u8..10, any::<bool>()), 1..200),
        ) {
            let shares = Shares::compile(bound, steps.iter().map(|(priority, _)| *priority)).unwrap();
            let (gate, mut inside) = (Gate::default(), Vec::new());
            for (priority, enters) in steps {
                if !enters {
                    inside.pop();
                    continue;
                }
                let before = inside.len() as u64;
                let permit = Gate::enter(&gate, shares.of(priority));
                prop_assert_eq!(permit.is_some(), before < shares.of(priority));
                inside.extend(permit);
                prop_assert!(inside.len() as u64 <= bound && gate.in_flight() == inside.len() as u64);
            }
        }

        #[test]
        fn shares_never_fall_with_the_priority(bound in any::<u64>(), priorities in proptest::collection::vec(0u8..10, 0..12)) {
            let shares = Shares::compile(bound, priorities.clone()).unwrap();
            prop_assert!((1..10).all(|priority| shares.of(priority - 1) <= shares.of(priority)));
            let highest = priorities.iter().max().copied().unwrap_or(9);
            prop_assert_eq!(shares.of(highest), bound.max(1));
            prop_assert!(shares.of(0) >= bound / 2);
        }
    }
}
