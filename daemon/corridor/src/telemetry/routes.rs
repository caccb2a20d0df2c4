//! The counters of each route, kept from one snapshot to the next.

use super::histogram::Histogram;
use super::record::AccessRecord;
use gatehouse_common::ids::RouteId;
use gatehouse_common::limits::ROUTE_STATS_MAX;
use imbl::OrdMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Name and id of what all routes beyond [`ROUTE_STATS_MAX`] share.
pub const OTHER: &str = "other";

/// Counters of one route, shared by the workers; each is written with relaxed atomics.
#[derive(Debug, Default)]
pub struct RouteStats {
    /// Requests finished.
    pub requests: AtomicU64,
    /// Answers 500 and above.
    pub errors: AtomicU64,
    /// Refused by a policy of ours.
    pub refused: AtomicU64,
    /// Body bytes from clients.
    pub bytes_in: AtomicU64,
    /// Body bytes to clients.
    pub bytes_out: AtomicU64,
    /// Latency, microseconds.
    pub latency: Histogram,
    /// Answers 1xx to 5xx, by class; of a route only, not of the total.
    pub classes: [AtomicU64; 5],
    /// Attempts after the first.
    pub retries: AtomicU64,
    /// Attempts that the upstream let time out.
    pub timeouts: AtomicU64,
}

impl RouteStats {
    /// Counts a finished request, without its class.
    pub(super) fn count(&self, record: &AccessRecord) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        for (counter, more) in [
            (&self.errors, u64::from(record.status >= 500)),
            (&self.refused, u64::from(record.refused)),
            (&self.bytes_in, record.bytes_in),
            (&self.bytes_out, record.bytes_out),
        ] {
            // Most add nothing, and a write that changes nothing still takes the line from the other processors.
            if more > 0 {
                counter.fetch_add(more, Ordering::Relaxed);
            }
        }
        self.attempts(record);
        self.latency.record(record.micros);
    }

    /// Counts what the attempts were.
    pub(super) fn attempts(&self, record: &AccessRecord) {
        if record.retries > 0 {
            self.retries.fetch_add(u64::from(record.retries), Ordering::Relaxed);
        }
        let timeouts = record.upstream_timeouts();
        if timeouts > 0 {
            self.timeouts.fetch_add(timeouts, Ordering::Relaxed);
        }
    }

    /// Counts an answer by its class.
    pub(super) fn classed(&self, status: u16) {
        if let Some(class) =
            usize::from(status / 100).checked_sub(1).and_then(|class| self.classes.get(class))
        {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A route and its counters.
#[derive(Debug, Clone)]
pub struct RouteEntry {
    /// `name/version`.
    pub name: Arc<str>,
    /// What was counted.
    pub stats: Arc<RouteStats>,
}

/// Routes and their counters at one moment: a cheap, consistent copy.
pub type Routes = OrdMap<RouteId, RouteEntry>;

/// The registry. A change costs what it changes; a reader takes the whole for the price of a pointer.
#[derive(Debug, Default)]
pub(super) struct Registry(RwLock<Routes>);

impl Registry {
    /// The counters of a route, made if there are none, under its present name.
    pub(super) fn stats(&self, id: &RouteId, name: &str) -> Arc<RouteStats> {
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = routes.get_mut(id) {
            if *entry.name != *name {
                entry.name = name.into();
            }
            return Arc::clone(&entry.stats);
        }
        // The last place is that of the others.
        let full = routes.len() + 1 >= ROUTE_STATS_MAX;
        let (id, name) = if full { (RouteId::from(OTHER), OTHER) } else { (id.clone(), name) };
        let made = || RouteEntry { name: name.into(), stats: Arc::default() };
        Arc::clone(&routes.entry(id).or_insert_with(made).stats)
    }

    /// Forgets one route.
    pub(super) fn forget(&self, id: &RouteId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Forgets all routes but those that are to be kept; the others' shared counters stay.
    pub(super) fn retain(&self, keep: impl Fn(&RouteId) -> bool) {
        let known = self.all();
        let gone: Vec<&RouteId> = known.keys().filter(|id| id.as_str() != OTHER && !keep(id)).collect();
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for id in gone {
            routes.remove(id);
        }
    }

    pub(super) fn all(&self) -> Routes {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(registry: &Registry) -> Vec<String> {
        registry.all().values().map(|entry| entry.name.to_string()).collect()
    }

    #[test]
    fn counters_stay_while_the_route_does() {
        let registry = Registry::default();
        let first = registry.stats(&RouteId::from("1"), "a/v1");
        let before = registry.all();
        assert!(
            Arc::ptr_eq(&first, &registry.stats(&RouteId::from("1"), "a/v2")),
            "renamed, the same counters"
        );
        registry.stats(&RouteId::from("2"), "b/v1");
        assert_eq!(names(&registry), ["a/v2", "b/v1"]);
        assert_eq!(before.len(), 1, "a reader's list does not move");
        registry.retain(|id| id.as_str() == "2");
        registry.forget(&RouteId::from("none"));
        assert_eq!(names(&registry), ["b/v1"]);
        assert!(!Arc::ptr_eq(&first, &registry.stats(&RouteId::from("1"), "a/v1")), "begun anew");
        registry.forget(&RouteId::from("2"));
        assert_eq!(names(&registry), ["a/v1"]);
    }

    #[test]
    fn too_many_routes_share_one() {
        let registry = Registry::default();
        for number in 0..ROUTE_STATS_MAX + 50 {
            registry.stats(&RouteId::from(&*number.to_string()), "some/v1");
        }
        assert_eq!(registry.all().len(), ROUTE_STATS_MAX);
        let (one, two) = (registry.stats(&RouteId::from("x"), "x"), registry.stats(&RouteId::from("y"), "y"));
        assert!(Arc::ptr_eq(&one, &two));
        registry.retain(|_| false);
        assert_eq!(names(&registry), [OTHER]);
    }

    #[test]
    fn a_finished_request_is_counted_once_in_each_place() {
        let stats = RouteStats::default();
        let record = AccessRecord {
            status: 504,
            failure: "GTW010",
            retries: 2,
            timeouts: 3,
            bytes_in: 5,
            micros: 40,
            ..AccessRecord::default()
        };
        for status in [504, 204, 0, 999] {
            let record = AccessRecord { status, ..record.clone() };
            stats.count(&record);
            stats.classed(status);
        }
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!(stats.classes.each_ref().map(read), [0, 1, 0, 0, 1]);
        let seen =
            [&stats.requests, &stats.errors, &stats.bytes_in, &stats.retries, &stats.timeouts].map(read);
        assert_eq!((seen, stats.latency.sum()), ([4, 2, 20, 8, 12], 160));
    }
}
