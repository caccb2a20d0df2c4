//! Door 2, data to whoever reads: atomics, histograms, one bounded ring of access records per worker.
//! Never blocks the sender; what is dropped is counted.

use crate::text::Text;
use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use gatehouse_common::ids::RouteId;
use gatehouse_common::limits::ACCESS_RING_RECORDS;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets of [`Histogram`]: four per power of two, from 1 µs to about 67 s.
pub const BUCKETS: usize = 104;

/// Fixed log-scale histogram of microseconds, under 1 KB.
#[derive(Debug)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS], max: AtomicU64::new(0) }
    }
}

/// Bucket of a value: exact below 4, then quarters of powers of two.
#[must_use]
pub fn bucket(micros: u64) -> usize {
    if micros < 4 {
        return usize::try_from(micros).unwrap_or(0);
    }
    let exponent = 63 - micros.leading_zeros();
    let quarter = (micros >> (exponent - 2)) & 3;
    let index = (exponent as usize - 1) * 4 + quarter as usize;
    index.min(BUCKETS - 1)
}

/// Largest value of a bucket, microseconds.
#[must_use]
pub fn bucket_top(index: usize) -> u64 {
    if index < 4 {
        return index as u64;
    }
    let exponent = index / 4 + 1;
    let quarter = (index % 4) as u64;
    ((4 + quarter + 1) << (exponent - 2)) - 1
}

impl Histogram {
    /// Counts one value.
    pub fn record(&self, micros: u64) {
        if let Some(count) = self.counts.get(bucket(micros)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.max.fetch_max(micros, Ordering::Relaxed);
    }

    /// Counts so far, by bucket.
    #[must_use]
    pub fn counts(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|index| self.counts.get(index).map_or(0, |count| count.load(Ordering::Relaxed)))
    }

    /// The largest value since the last call.
    pub fn take_max(&self) -> u64 {
        self.max.swap(0, Ordering::Relaxed)
    }
}

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
}

/// One finished request; written on every exit, also a cancelled one.
#[derive(Debug, Clone, Default)]
pub struct AccessRecord {
    /// Unix milliseconds of the end.
    pub at_unix_ms: i64,
    /// Request id.
    pub request: Text,
    /// Method.
    pub method: Text,
    /// Path without its query.
    pub path: String,
    /// `name/version`; empty if no route matched.
    pub route: Text,
    /// User name; empty if anonymous.
    pub consumer: Text,
    /// Client address.
    pub peer: Text,
    /// Status answered; 499 when the client went away first.
    pub status: u16,
    /// From the head of the request to the last byte of the answer, microseconds.
    pub micros: u64,
    /// The upstream's part of it, microseconds.
    pub upstream_micros: u64,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// Upstream asked; empty if none.
    pub upstream: Text,
    /// Code of the failure; empty if none.
    pub failure: &'static str,
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
    /// Records dropped because a ring was full.
    pub dropped_records: AtomicU64,
    /// Log lines dropped.
    pub dropped_lines: AtomicU64,
    routes: ArcSwap<Vec<(RouteId, String, Arc<RouteStats>)>>,
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
            dropped_records: AtomicU64::new(0),
            dropped_lines: AtomicU64::new(0),
            routes: ArcSwap::default(),
            rings: (0..workers.max(1)).map(|_| ArrayQueue::new(ACCESS_RING_RECORDS)).collect(),
        })
    }

    /// Names the routes of a new snapshot; counters of routes that stay are kept. Off the hot path.
    pub fn set_routes(&self, names: &[(RouteId, String)]) -> Vec<Arc<RouteStats>> {
        let known = self.routes.load();
        let old: std::collections::HashMap<&RouteId, &Arc<RouteStats>> =
            known.iter().map(|(id, _, stats)| (id, stats)).collect();
        let rows: Vec<(RouteId, String, Arc<RouteStats>)> = names
            .iter()
            .map(|(id, name)| {
                (id.clone(), name.clone(), old.get(id).map(|stats| Arc::clone(stats)).unwrap_or_default())
            })
            .collect();
        let stats = rows.iter().map(|(_, _, stats)| Arc::clone(stats)).collect();
        self.routes.store(Arc::new(rows));
        stats
    }

    /// The routes and their counters.
    #[must_use]
    pub fn routes(&self) -> Arc<Vec<(RouteId, String, Arc<RouteStats>)>> {
        self.routes.load_full()
    }

    /// Leaves a record in a worker's ring; full rings drop and count.
    pub fn leave(&self, worker: usize, record: AccessRecord) {
        let ring = self.rings.get(worker % self.rings.len());
        if ring.is_none_or(|ring| ring.push(record).is_err()) {
            self.dropped_records.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes what has gathered in all rings. One reader: the record writer.
    pub fn take_records(&self, into: &mut Vec<AccessRecord>) {
        for ring in &self.rings {
            while let Some(record) = ring.pop() {
                into.push(record);
            }
        }
    }
}

/// Value below which this share (0 to 1) of the counted values lies; `None` when nothing was counted.
#[must_use]
pub fn quantile(counts: &[u64; BUCKETS], share: f64) -> Option<u64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let wanted = ((total as f64) * share).ceil().max(1.0) as u64;
    let mut seen = 0;
    for (index, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= wanted {
            return Some(bucket_top(index));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(micros in 0u64..60_000_000) {
            let index = bucket(micros);
            prop_assert!(micros <= bucket_top(index));
            prop_assert!(index == 0 || micros > bucket_top(index - 1));
        }
    }

    #[test]
    fn quantiles_are_within_a_quarter_of_a_power() {
        let histogram = Histogram::default();
        (1..=1000).for_each(|micros| histogram.record(micros));
        let p50 = quantile(&histogram.counts(), 0.5).unwrap();
        assert!((500..=640).contains(&p50), "{p50}");
        assert_eq!(histogram.take_max(), 1000);
        assert_eq!(quantile(&Histogram::default().counts(), 0.5), None);
    }

    #[test]
    fn a_full_ring_drops_and_counts() {
        let telemetry = Telemetry::new(1);
        for _ in 0..=ACCESS_RING_RECORDS {
            telemetry.leave(0, AccessRecord::default());
        }
        assert_eq!(telemetry.dropped_records.load(Ordering::Relaxed), 1);
    }
}
