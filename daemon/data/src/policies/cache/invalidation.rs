//! What all workers share of the cache: one counter for each of many places, so that an answer that became void is void
//! for all of them. Each worker keeps its answers for itself, and none waits for another.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Places; what shares one is voided together, which costs a request upstream and nothing else.
const PLACES: usize = 4_096;

/// Counters of what became void.
#[derive(Debug)]
pub(crate) struct Invalidations {
    places: Box<[AtomicU64]>,
    /// Clients choose targets, so where they fall must not be foreseen.
    hasher: RandomState,
}

impl Default for Invalidations {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }
}

impl Invalidations {
    fn place(&self, route: &str, target: &str) -> Option<&AtomicU64> {
        let hash = self.hasher.hash_one((route, target));
        let index = usize::try_from(hash % u64::try_from(PLACES).ok()?).ok()?;
        self.places.get(index)
    }

    /// The state of a target's place.
    pub(super) fn stamp(&self, route: &str, target: &str) -> u64 {
        self.place(route, target).map_or(0, |place| place.load(Ordering::Acquire))
    }

    /// Answers to this target that were asked for until now are void, on every worker: after each unsafe call that the
    /// upstream answered with 2xx or 3xx (RFC 9111 4.4). `route` is the API's `name/version`, the target path and query.
    pub(crate) fn void(&self, route: &str, target: &str) {
        if let Some(place) = self.place(route, target) {
            place.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Whether a call of this method and answer voids what is kept.
pub(crate) fn voids(method: &str, status: u16) -> bool {
    !matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE") && (200..400).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_moves_on() {
        let shared = Invalidations::default();
        let before = shared.stamp("a/v1", "/x?y");
        shared.void("a/v1", "/x?y");
        assert_ne!(shared.stamp("a/v1", "/x?y"), before);
        let others = (0..100).filter(|number| shared.stamp("a/v1", &format!("/{number}")) == 0).count();
        assert!(others > 90, "most targets have another place");
        for (method, status, expected) in [
            ("POST", 201, true),
            ("DELETE", 302, true),
            ("PUT", 500, false),
            ("POST", 404, false),
            ("GET", 200, false),
            ("HEAD", 200, false),
        ] {
            assert_eq!(voids(method, status), expected, "{method} {status}");
        }
    }
}
