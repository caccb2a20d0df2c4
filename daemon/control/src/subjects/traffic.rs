//! What the access records say of a span of time (spec/doorman.md 4.21): sums, percentiles, the most frequent names, a
//! series. Bounded: names beyond so many are counted in the sums alone.

use super::logs::Item;
use gatehouse_corridor::telemetry::{Histogram, quantile};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};

/// Names of one kind.
const NAMES: usize = 5_000;
/// Points of a series.
const POINTS: i64 = 2_000;

/// Sums of some requests.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) requests: u64,
    /// Answers 500 and above.
    pub(crate) errors: u64,
    micros: u64,
    least: Option<u64>,
    most: u64,
    pub(crate) bytes: (u64, u64),
    statuses: BTreeMap<u16, u64>,
    histogram: Option<Box<Histogram>>,
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

impl Sum {
    fn add(&mut self, item: &Item) {
        let (status, micros) = (item.status.unwrap_or(0), item.micros.unwrap_or(0));
        self.requests += 1;
        self.errors += u64::from(status >= 500);
        self.micros += micros;
        self.least = Some(self.least.map_or(micros, |least| least.min(micros)));
        self.most = self.most.max(micros);
        self.bytes = (self.bytes.0 + item.bytes.0, self.bytes.1 + item.bytes.1);
        *self.statuses.entry(status).or_default() += 1;
        self.histogram.get_or_insert_default().record(micros);
    }

    pub(crate) fn mean_ms(&self) -> f64 {
        rounded(millis(self.micros) / self.requests.max(1) as f64)
    }

    /// Share of errors, 0 to 1.
    pub(crate) fn error_rate(&self) -> f64 {
        (self.errors as f64 / self.requests.max(1) as f64 * 1e6).round() / 1e6
    }

    /// Milliseconds; each within a quarter of a power of two, the ends exact.
    pub(crate) fn percentiles(&self) -> Value {
        let counts = self.histogram.as_ref().map(|histogram| histogram.counts());
        let at = |share: f64| {
            let value = counts.as_ref().and_then(|counts| quantile(counts, share)).unwrap_or(0);
            rounded(millis(value.min(self.most)))
        };
        json!({"p50": at(0.5), "p75": at(0.75), "p90": at(0.9), "p95": at(0.95), "p99": at(0.99),
               "min": millis(self.least.unwrap_or(0)), "max": millis(self.most)})
    }

    pub(crate) fn statuses(&self) -> Value {
        Value::Object(
            self.statuses.iter().map(|(status, count)| (status.to_string(), json!(count))).collect(),
        )
    }

    pub(crate) fn summary(&self, users: usize) -> Value {
        json!({"total_requests": self.requests, "total_errors": self.errors, "error_rate": self.error_rate(),
               "avg_response_ms": self.mean_ms(), "unique_users": users,
               "total_bandwidth": self.bytes.0 + self.bytes.1, "bandwidth_in": self.bytes.0,
               "bandwidth_out": self.bytes.1})
    }
}

/// What a series tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    Requests,
    Errors,
    Latency,
    Bandwidth,
}

/// Sums over a span.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) all: Sum,
    pub(crate) apis: HashMap<String, Sum>,
    pub(crate) users: HashMap<String, Sum>,
    /// By method and path.
    pub(crate) endpoints: HashMap<(String, String), Sum>,
    series: BTreeMap<i64, Sum>,
    /// Seconds of one point; 0: no series.
    step: i64,
}

fn of<K: Eq + std::hash::Hash>(map: &mut HashMap<K, Sum>, key: K, item: &Item) {
    if map.len() < NAMES || map.contains_key(&key) {
        map.entry(key).or_default().add(item);
    }
}

impl Traffic {
    /// With a series of points of so many seconds; 0 for none.
    pub(crate) fn new(step: i64) -> Self {
        Self { step, ..Self::default() }
    }

    pub(crate) fn add(&mut self, item: &Item) {
        self.all.add(item);
        if !item.api.is_empty() {
            of(&mut self.apis, item.api.clone(), item);
        }
        if !item.user.is_empty() {
            of(&mut self.users, item.user.clone(), item);
        }
        of(&mut self.endpoints, (item.method.clone(), item.endpoint.clone()), item);
        if self.step > 0 {
            let at = item.at_ms.div_euclid(1_000).div_euclid(self.step) * self.step;
            if self.series.len() < POINTS as usize || self.series.contains_key(&at) {
                self.series.entry(at).or_default().add(item);
            }
        }
    }

    /// The points that saw something, oldest first.
    pub(crate) fn series(&self, metric: Metric) -> Vec<Value> {
        let point = |(at, sum): (&i64, &Sum)| {
            let mut point = Map::new();
            point.insert("timestamp".to_owned(), json!(at));
            match metric {
                Metric::Requests => drop(point.insert("value".to_owned(), json!(sum.requests))),
                Metric::Errors => drop(point.insert("value".to_owned(), json!(sum.error_rate()))),
                Metric::Latency => {
                    point.insert("value".to_owned(), json!(sum.mean_ms()));
                    point.insert("percentiles".to_owned(), sum.percentiles());
                }
                Metric::Bandwidth => {
                    point.insert("value".to_owned(), json!(sum.bytes.0 + sum.bytes.1));
                    point.insert("bytes_in".to_owned(), json!(sum.bytes.0));
                    point.insert("bytes_out".to_owned(), json!(sum.bytes.1));
                }
            }
            Value::Object(point)
        };
        self.series.iter().map(point).collect()
    }
}

/// The names with the most requests, under a word.
pub(crate) fn top(map: &HashMap<String, Sum>, word: &str, most: usize) -> Vec<Value> {
    let mut all: Vec<_> = map.iter().collect();
    all.sort_by(|a, b| b.1.requests.cmp(&a.1.requests).then_with(|| a.0.cmp(b.0)));
    all.into_iter().take(most).map(|(name, sum)| json!({word: name, "count": sum.requests})).collect()
}

/// Seconds of a point: as asked for, or so that a span has a hundred and some.
pub(crate) fn step(granularity: &str, span_secs: i64) -> Option<i64> {
    Some(match granularity {
        "minute" => 60,
        "5minute" => 300,
        "hour" => 3_600,
        "day" => 86_400,
        "auto" | "" => [60, 300, 3_600].into_iter().find(|step| span_secs / step <= 200).unwrap_or(86_400),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subjects::logs::Source;

    fn item(at_ms: i64, user: &str, status: u16, micros: u64) -> Item {
        Item {
            at_ms,
            source: Source::Gateway,
            level: "INFO",
            message: String::new(),
            user: user.to_owned(),
            api: "shop/v1".to_owned(),
            endpoint: "/x".to_owned(),
            method: "GET".to_owned(),
            status: Some(status),
            micros: Some(micros),
            bytes: (10, 20),
            address: String::new(),
            request: String::new(),
            protocol: "rest".to_owned(),
        }
    }

    #[test]
    fn sums_are_of_what_was_added() {
        let mut traffic = Traffic::new(60);
        for (at, user, status, micros) in [
            (1_000, "ana", 200, 1_000),
            (59_000, "", 404, 3_000),
            (61_000, "ana", 502, 8_000),
            (62_000, "eva", 200, 4_000),
        ] {
            traffic.add(&item(at, user, status, micros));
        }
        let summary = traffic.all.summary(traffic.users.len());
        let wanted = json!({"total_requests": 4, "total_errors": 1, "error_rate": 0.25, "avg_response_ms": 4.0,
            "unique_users": 2, "total_bandwidth": 120, "bandwidth_in": 40, "bandwidth_out": 80});
        assert_eq!(summary, wanted);
        let percentiles = traffic.all.percentiles();
        assert_eq!(
            (&percentiles["min"], &percentiles["max"], &percentiles["p99"]),
            (&json!(1.0), &json!(8.0), &json!(8.0))
        );
        let counts: Vec<_> =
            traffic.series(Metric::Requests).iter().map(|point| point["value"].clone()).collect();
        assert_eq!(counts, [json!(2), json!(2)]);
        assert_eq!(traffic.series(Metric::Errors)[1]["value"], 0.5);
        assert_eq!(top(&traffic.users, "user", 1), [json!({"user": "ana", "count": 2})]);
        assert_eq!(traffic.all.statuses(), json!({"200": 2, "404": 1, "502": 1}));
    }

    #[test]
    fn names_are_bounded_and_sums_are_not() {
        let mut traffic = Traffic::new(0);
        for user in 0..NAMES + 10 {
            traffic.add(&item(0, &user.to_string(), 200, 1));
        }
        assert_eq!((traffic.users.len(), traffic.all.requests), (NAMES, NAMES as u64 + 10));
    }

    #[test]
    fn a_series_has_no_more_points_than_a_chart_can_show() {
        for (span, wanted) in [(3_600, 60), (86_400, 3_600), (604_800, 3_600), (2_592_000, 86_400)] {
            assert_eq!(step("auto", span), Some(wanted), "{span}");
        }
        assert_eq!(step("fortnight", 1), None);
    }
}
