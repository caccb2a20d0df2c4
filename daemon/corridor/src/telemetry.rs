//! Door 2, data to whoever reads: atomics, histograms, one bounded ring of access records per worker.
//! Never blocks the sender; what is dropped is counted.

mod histogram;
mod record;
mod routes;
mod servers;

pub use histogram::{BUCKETS, Histogram, bucket, bucket_top, quantile};
pub use record::{AccessRecord, Protocol};
pub use routes::{OTHER, RouteEntry, RouteStats, Routes};
pub use servers::{ServerName, Servers};

use crossbeam_queue::ArrayQueue;
use gatehouse_common::ids::RouteId;
use gatehouse_common::limits::ACCESS_RING_RECORDS;
use routes::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Status codes counted one by one: 100 to 599.
const CODES: usize = 500;

/// What the monitor of the ops room saw last, for who cannot ask it.
#[derive(Debug)]
pub struct Seen {
    /// Health items of severity warning.
    pub warnings: AtomicU64,
    /// Health items of severity critical.
    pub criticals: AtomicU64,
    /// Free bytes of the data folder's disk; below 0 while unknown.
    pub disk_free_bytes: AtomicI64,
    /// Age of the newest backup, seconds; below 0 if there is none.
    pub backup_age_secs: AtomicI64,
}

impl Default for Seen {
    fn default() -> Self {
        let unknown = || AtomicI64::new(-1);
        Self {
            warnings: AtomicU64::new(0),
            criticals: AtomicU64::new(0),
            disk_free_bytes: unknown(),
            backup_age_secs: unknown(),
        }
    }
}

/// The data plane's counters.
#[derive(Debug)]
pub struct Telemetry {
    /// Requests in flight.
    pub in_flight: AtomicU64,
    /// Of those, requests to the appliance's own surface.
    pub local: AtomicU64,
    /// Open client connections.
    pub connections: AtomicU64,
    /// All requests, those without a route too.
    pub total: RouteStats,
    /// Credits spent by calls.
    pub credits: AtomicU64,
    /// Records dropped because a ring was full.
    pub dropped_records: AtomicU64,
    /// Records and log lines that could not be written.
    pub dropped_lines: AtomicU64,
    /// What the monitor saw.
    pub seen: Seen,
    codes: [AtomicU64; CODES],
    routes: Registry,
    servers: servers::Registry,
    rings: Vec<ArrayQueue<AccessRecord>>,
}

impl Telemetry {
    /// Counters for this many workers.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicU64::new(0),
            local: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            total: RouteStats::default(),
            credits: AtomicU64::new(0),
            dropped_records: AtomicU64::new(0),
            dropped_lines: AtomicU64::new(0),
            seen: Seen::default(),
            codes: [const { AtomicU64::new(0) }; CODES],
            routes: Registry::default(),
            servers: servers::Registry::default(),
            rings: (0..workers.max(1)).map(|_| ArrayQueue::new(ACCESS_RING_RECORDS)).collect(),
        })
    }

    /// The counters of a route, under its present name; the same ones each time while the route is not forgotten. Beyond
    /// `ROUTE_STATS_MAX` routes all new ones share those of [`OTHER`]. Off the hot path.
    #[must_use]
    pub fn route_stats(&self, id: &RouteId, name: &str) -> Arc<RouteStats> {
        self.routes.stats(id, name)
    }

    /// Forgets the counters of a route that is gone.
    pub fn forget_route(&self, id: &RouteId) {
        self.routes.forget(id);
    }

    /// Forgets the counters of all routes but those to be kept; looks at each, so only where all are prepared anew.
    pub fn retain(&self, keep: impl Fn(&RouteId) -> bool) {
        self.routes.retain(keep);
    }

    /// The routes and their counters.
    #[must_use]
    pub fn routes(&self) -> Routes {
        self.routes.all()
    }

    /// Says what probes found of a server of an API: whether it is out.
    pub fn probed(&self, route: &Arc<str>, server: &Arc<str>, out: bool) {
        self.servers.set(route, server, out);
    }

    /// Forgets what probes found of an API's servers.
    pub fn forget_probed(&self, route: &Arc<str>) {
        self.servers.forget(route);
    }

    /// The probed servers, and whether each is out.
    #[must_use]
    pub fn servers(&self) -> Servers {
        self.servers.all()
    }

    /// Answers so far by status code, those that were given.
    #[must_use]
    pub fn codes(&self) -> Vec<(u16, u64)> {
        let counted = (100..).zip(&self.codes).map(|(code, count)| (code, count.load(Ordering::Relaxed)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    fn coded(&self, status: u16) {
        if let Some(count) = usize::from(status).checked_sub(100).and_then(|index| self.codes.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a finished request in all places and leaves its record in the worker's ring; full rings drop and count.
    /// A call of the appliance's own surface leaves its record and is no traffic.
    pub fn finish(&self, worker: usize, route: Option<&RouteStats>, record: AccessRecord) {
        if record.protocol == Protocol::Manage {
            self.push(worker, record);
            return;
        }
        self.coded(record.status);
        self.total.count(&record);
        if let Some(route) = route {
            route.count(&record);
            route.classed(record.status);
        }
        self.push(worker, record);
    }

    fn push(&self, worker: usize, record: AccessRecord) {
        let ring = self.rings.get(worker % self.rings.len());
        if ring.is_none_or(|ring| ring.push(record).is_err()) {
            self.dropped_records.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes what has gathered in all rings. One reader: the record writer.
    pub fn take_records(&self, into: &mut Vec<AccessRecord>) {
        for ring in &self.rings {
            // No more than there is room for: a worker that fills as fast as we take must not keep us here.
            for record in std::iter::from_fn(|| ring.pop()).take(ACCESS_RING_RECORDS) {
                into.push(record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_drops_and_counts() {
        let telemetry = Telemetry::new(1);
        for _ in 0..=ACCESS_RING_RECORDS {
            telemetry.finish(0, None, AccessRecord { status: 204, ..AccessRecord::default() });
        }
        assert_eq!(telemetry.dropped_records.load(Ordering::Relaxed), 1);
        assert_eq!(
            telemetry.codes(),
            [(204, ACCESS_RING_RECORDS as u64 + 1)],
            "a dropped one was answered too"
        );
        let mut taken = Vec::new();
        telemetry.take_records(&mut taken);
        assert_eq!(taken.len(), ACCESS_RING_RECORDS);
    }

    #[test]
    fn finishing_counts_in_all_places() {
        let telemetry = Telemetry::new(2);
        let route = telemetry.route_stats(&RouteId::from("1"), "shop/v1");
        let record = AccessRecord { status: 429, refused: true, retries: 1, ..AccessRecord::default() };
        telemetry.finish(1, Some(&route), record.clone());
        // A status that is none is in no place of its own.
        telemetry.finish(7, None, AccessRecord { status: 99, ..record });
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!([&telemetry.total.requests, &telemetry.total.retries].map(read), [2, 2]);
        assert_eq!([&route.requests, &route.refused, &route.classes[3]].map(read), [1, 1, 1]);
        assert_eq!(telemetry.codes(), [(429, 1)]);
    }
}
