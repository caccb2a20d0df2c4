//! Windows of traffic, one per second.

use crate::ids::{Revision, RouteId};
use serde::{Deserialize, Serialize};

/// Query of `GET /v1/metrics`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsQuery {
    /// Period: `1s` (default) to `60s`.
    #[serde(default)]
    pub every: Option<String>,
    /// `0`: answer one window and end.
    #[serde(default)]
    pub follow: Option<u8>,
    /// This many windows of a second each first, as far as they are kept.
    #[serde(default)]
    pub history: Option<usize>,
}

/// Latency and counts of one route or of all, within one window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests finished.
    pub requests: u64,
    /// Answers 500 and above, and upstream failures.
    pub errors: u64,
    /// Answers 4xx made by a policy of ours.
    pub refused: u64,
    /// Body bytes from clients.
    pub bytes_in: u64,
    /// Body bytes to clients.
    pub bytes_out: u64,
    /// Median latency, microseconds; `None` without requests.
    pub p50_us: Option<u64>,
    /// 90th percentile.
    pub p90_us: Option<u64>,
    /// 99th percentile.
    pub p99_us: Option<u64>,
    /// Largest.
    pub max_us: Option<u64>,
}

/// One route's share of a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteTraffic {
    /// The route.
    pub route: RouteId,
    /// `name/version`.
    pub name: String,
    /// Its traffic.
    pub traffic: Traffic,
}

/// One window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Unix milliseconds of its end.
    pub at_unix_ms: i64,
    /// Length, milliseconds; rates are counts divided by this.
    pub length_ms: u64,
    /// Revision served.
    pub revision: Revision,
    /// Everything.
    pub total: Traffic,
    /// Requests in flight at the end.
    pub in_flight: u64,
    /// Open client connections.
    pub connections: u64,
    /// Latency histogram: upper bounds and counts, for the heat map.
    pub heat: Vec<(u64, u64)>,
    /// Routes with traffic, busiest first.
    pub routes: Vec<RouteTraffic>,
    /// Access records and log lines dropped since start, counted.
    pub dropped: u64,
    /// Resident memory of the daemon, bytes.
    pub rss_bytes: u64,
    /// Free share of the data folder's disk, 0 to 1; `None` if unknown.
    pub disk_free: Option<f64>,
    /// Age of the newest backup in seconds; `None` if there is none.
    pub backup_age_secs: Option<u64>,
    /// Health items of severity warning and above.
    pub notices: u64,
}
