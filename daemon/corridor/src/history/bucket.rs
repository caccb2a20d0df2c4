//! What happened within a minute, an hour or a day.

use super::sketch::{Top, Unique};
use crate::telemetry::{AccessRecord, BUCKETS, Protocol, bucket, quantile};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

fn none(number: &u64) -> bool {
    *number == 0
}

/// Sums of one span of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bucket {
    /// Unix seconds of its begin.
    pub at: i64,
    /// Requests finished.
    pub requests: u64,
    /// Of them those whose records were dropped: nothing more is known of them.
    #[serde(skip_serializing_if = "none")]
    pub unseen: u64,
    /// Requests with `X-IS-TEST: true`.
    #[serde(skip_serializing_if = "none")]
    pub tests: u64,
    /// Answers 500 and above.
    #[serde(skip_serializing_if = "none")]
    pub errors: u64,
    /// Sum of the latencies, microseconds.
    pub micros: u64,
    /// Body bytes from clients.
    #[serde(skip_serializing_if = "none")]
    pub bytes_in: u64,
    /// Body bytes to clients.
    #[serde(skip_serializing_if = "none")]
    pub bytes_out: u64,
    /// Attempts that the upstream let time out.
    #[serde(skip_serializing_if = "none")]
    pub timeouts: u64,
    /// Attempts after the first.
    #[serde(skip_serializing_if = "none")]
    pub retries: u64,
    /// 95th percentile of the latency, microseconds, once the detail is gone; of a sum the largest.
    #[serde(skip_serializing_if = "none")]
    pub(super) p95: u64,
    /// Who, what and how; of an old minute no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<Detail>>,
}

/// The breakdown of a bucket, each part bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Latencies by bucket of [`crate::telemetry::Histogram`].
    pub latency: BTreeMap<usize, u64>,
    /// Users with the most requests.
    pub users: Top,
    /// APIs with the most requests, `protocol:name/version`.
    pub apis: Top,
    /// Body bytes both ways by user.
    pub user_bytes: Top,
    /// How many users there were.
    pub unique: Unique,
}

fn add_all<K: Ord + Copy>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *into.entry(*key).or_default() += count;
    }
}

impl Detail {
    fn count(&mut self, record: &AccessRecord, name: &mut String) {
        *self.statuses.entry(record.status).or_default() += 1;
        *self.latency.entry(bucket(record.micros)).or_default() += 1;
        if !record.consumer.is_empty() {
            self.users.add(&record.consumer, 1);
            self.unique.add(&record.consumer);
            let bytes = record.bytes_in.saturating_add(record.bytes_out);
            if bytes > 0 {
                self.user_bytes.add(&record.consumer, bytes);
            }
        }
        if !record.route.is_empty() {
            name.clear();
            name.push_str(record.protocol.word());
            name.push(':');
            name.push_str(&record.route);
            self.apis.add(name, 1);
        }
    }

    fn merge(&mut self, other: &Self) {
        add_all(&mut self.statuses, &other.statuses);
        add_all(&mut self.latency, &other.latency);
        self.users.merge(&other.users);
        self.apis.merge(&other.apis);
        self.user_bytes.merge(&other.user_bytes);
        self.unique.merge(&other.unique);
    }

    /// Latency below which this share (0 to 1) of the requests stayed, microseconds.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let mut counts = [0; BUCKETS];
        for (index, count) in &self.latency {
            if let Some(slot) = counts.get_mut(*index) {
                *slot = *count;
            }
        }
        quantile(&counts, share)
    }
}

impl Bucket {
    /// An empty one that begins at these Unix seconds.
    #[must_use]
    pub fn begun(at: i64) -> Self {
        Self { at, ..Self::default() }
    }

    /// Counts finished requests.
    pub(super) fn count(&mut self, records: &[AccessRecord]) {
        let mut detail = self.detail.take().unwrap_or_default();
        let mut name = String::new();
        for record in records.iter().filter(|record| record.protocol != Protocol::Manage) {
            self.requests += 1;
            self.tests += u64::from(record.test);
            self.errors += u64::from(record.status >= 500);
            self.micros = self.micros.saturating_add(record.micros);
            self.bytes_in = self.bytes_in.saturating_add(record.bytes_in);
            self.bytes_out = self.bytes_out.saturating_add(record.bytes_out);
            self.timeouts += record.upstream_timeouts();
            self.retries += u64::from(record.retries);
            detail.count(record, &mut name);
        }
        self.detail = Some(detail);
    }

    /// Adds another's sums; the begin stays.
    pub fn merge(&mut self, other: &Self) {
        for (mine, more) in [
            (&mut self.requests, other.requests),
            (&mut self.unseen, other.unseen),
            (&mut self.tests, other.tests),
            (&mut self.errors, other.errors),
            (&mut self.micros, other.micros),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.timeouts, other.timeouts),
            (&mut self.retries, other.retries),
        ] {
            *mine = mine.saturating_add(more);
        }
        self.p95 = self.p95.max(other.p95);
        if let Some(detail) = &other.detail {
            self.detail.get_or_insert_default().merge(detail);
        }
    }

    /// Mean latency, milliseconds; 0 without requests.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        self.micros as f64 / 1e3 / (self.requests.saturating_sub(self.unseen)).max(1) as f64
    }

    /// 95th percentile of the latency, milliseconds; 0 without requests.
    #[must_use]
    pub fn p95_ms(&self) -> f64 {
        let detailed = self.detail.as_ref().and_then(|detail| detail.quantile(0.95));
        detailed.unwrap_or(self.p95) as f64 / 1e3
    }

    /// Errors of the requests, 0 to 1.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        self.errors as f64 / self.requests.max(1) as f64
    }

    /// The same without its breakdown.
    pub(super) fn stripped(&self) -> Self {
        let p95 = self.detail.as_ref().and_then(|detail| detail.quantile(0.95)).unwrap_or(self.p95);
        Self { p95, detail: None, ..self.clone() }
    }
}
