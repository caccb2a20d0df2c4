//! The families of `/metrics`: those of spec/doorman.md 4.20 and of its guide (7), and ours by route, process and house.

use super::exposition::{Format, Kind, Page, seconds};
use super::process::Process;
use crate::Inner;
use gatehouse_corridor::telemetry::{BUCKETS, OTHER, RouteEntry, RouteStats, Telemetry};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Powers of two of microseconds that bound the buckets: 128 µs to 67 s, and every other one for a route.
const TOTAL_POWERS: std::ops::RangeInclusive<u32> = 7..=26;
const ROUTE_POWERS: [u32; 10] = [8, 10, 12, 14, 16, 18, 20, 22, 24, 26];

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The whole page.
pub(crate) fn page(control: &Inner, format: Format) -> String {
    let config = control.config();
    let telemetry = &config.telemetry;
    let mut page = Page::new(format);
    traffic(&mut page, telemetry);
    routes(&mut page, telemetry, config.metrics.apis_max);
    house(&mut page, control, telemetry);
    process(&mut page, control.started_unix_ms);
    page.finish()
}

fn traffic(page: &mut Page, telemetry: &Telemetry) {
    use Kind::{Counter, Gauge, Histogram};
    let total = &telemetry.total;
    let latency = (&total.latency.counts(), total.latency.sum());
    let (name, help) = ("doorman_http_requests_total", "Requests finished, by status.");
    page.family(name, Counter, help);
    for (code, count) in telemetry.codes() {
        page.sample(name, &[("code", &code.to_string())], count);
    }
    for (name, help) in [
        ("doorman_http_request_duration_seconds", "From a request's head to the last byte of its answer."),
        ("request_duration", "The same, by the name of the older guide, in seconds."),
    ] {
        page.family(name, Histogram, help);
        page.histogram(name, &[], latency, TOTAL_POWERS);
    }
    for (name, help, value) in [
        ("doorman_upstream_timeouts_total", "Attempts that an upstream let time out.", read(&total.timeouts)),
        ("doorman_http_retries_total", "Attempts after the first.", read(&total.retries)),
        ("request_count", "Requests finished.", read(&total.requests)),
        ("error_count", "Answers 500 and above.", read(&total.errors)),
        ("credit_usage", "Credits spent.", read(&telemetry.credits)),
        ("gatehouse_refused_total", "Requests refused by a policy.", read(&total.refused)),
        ("gatehouse_received_bytes_total", "Body bytes from clients.", read(&total.bytes_in)),
        ("gatehouse_sent_bytes_total", "Body bytes to clients.", read(&total.bytes_out)),
    ] {
        page.single(name, Counter, help, value);
    }
    let (flying, connections) = (read(&telemetry.in_flight), read(&telemetry.connections));
    page.single("gatehouse_requests_in_flight", Gauge, "Requests in flight.", flying);
    page.single("gatehouse_connections", Gauge, "Open client connections.", connections);
}

/// Counters of one route or of several.
#[derive(Clone)]
struct Sums {
    numbers: [u64; 6],
    classes: [u64; 5],
    latency: [u64; BUCKETS],
    micros: u64,
}

impl Default for Sums {
    fn default() -> Self {
        Self { numbers: [0; 6], classes: [0; 5], latency: [0; BUCKETS], micros: 0 }
    }
}

impl Sums {
    fn add(&mut self, stats: &RouteStats) {
        let numbers = [
            &stats.requests,
            &stats.refused,
            &stats.retries,
            &stats.timeouts,
            &stats.bytes_in,
            &stats.bytes_out,
        ];
        if read(&stats.requests) == 0 {
            return;
        }
        self.numbers.iter_mut().zip(numbers).for_each(|(sum, more)| *sum += read(more));
        self.classes.iter_mut().zip(&stats.classes).for_each(|(sum, more)| *sum += read(more));
        self.latency.iter_mut().zip(stats.latency.counts()).for_each(|(sum, more)| *sum += more);
        self.micros += stats.latency.sum();
    }
}

/// The first routes by name, and the rest as one: each has some thirty series, and there may be ten thousand routes.
fn bounded(telemetry: &Telemetry, most: usize) -> Vec<(Arc<str>, Sums)> {
    let routes = telemetry.routes();
    let mut entries: Vec<&RouteEntry> = routes.values().filter(|route| &*route.name != OTHER).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let (own, rest) = entries.split_at(most.min(entries.len()));
    let mut shown: Vec<(Arc<str>, Sums)> = Vec::new();
    for route in own {
        let mut sums = Sums::default();
        sums.add(&route.stats);
        shown.push((Arc::clone(&route.name), sums));
    }
    let shared = routes.values().filter(|route| &*route.name == OTHER);
    let mut others = rest.iter().copied().chain(shared).peekable();
    if others.peek().is_some() {
        let mut sums = Sums::default();
        others.for_each(|route| sums.add(&route.stats));
        shown.push((OTHER.into(), sums));
    }
    shown
}

fn routes(page: &mut Page, telemetry: &Telemetry, most: usize) {
    let shown = bounded(telemetry, most);
    for (index, (name, help)) in [
        ("gatehouse_api_requests_total", "Requests finished."),
        ("gatehouse_api_refused_total", "Requests refused by a policy."),
        ("gatehouse_api_retries_total", "Attempts after the first."),
        ("gatehouse_api_upstream_timeouts_total", "Attempts that an upstream let time out."),
        ("gatehouse_api_received_bytes_total", "Body bytes from clients."),
        ("gatehouse_api_sent_bytes_total", "Body bytes to clients."),
    ]
    .into_iter()
    .enumerate()
    {
        page.family(name, Kind::Counter, help);
        for (api, sums) in &shown {
            page.sample(name, &[("api", api)], sums.numbers.get(index).copied().unwrap_or_default());
        }
    }
    let name = "gatehouse_api_responses_total";
    page.family(name, Kind::Counter, "Answers by class of their status.");
    for (api, sums) in &shown {
        for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(sums.classes) {
            page.sample(name, &[("api", api), ("class", class)], count);
        }
    }
    let name = "gatehouse_api_request_duration_seconds";
    page.family(name, Kind::Histogram, "From a request's head to the last byte of its answer.");
    for (api, sums) in &shown {
        page.histogram(name, &[("api", api)], (&sums.latency, sums.micros), ROUTE_POWERS.into_iter());
    }
}

fn house(page: &mut Page, control: &Inner, telemetry: &Telemetry) {
    use Kind::{Counter, Gauge};
    page.family("gatehouse_build_info", Gauge, "1; the version is the label.");
    page.sample("gatehouse_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let revision = control.changes.state().revision.0;
    page.single("gatehouse_revision", Gauge, "Revision of the configuration.", revision);
    page.single("gatehouse_apis", Gauge, "APIs that are served.", telemetry.routes().len());
    page.single("gatehouse_store_bytes", Gauge, "Size of the store on disk.", control.store.size_bytes());
    let (dropped, unwritten) = (read(&telemetry.dropped_records), read(&telemetry.dropped_lines));
    let help = "Access records dropped: their writer was too slow.";
    page.single("gatehouse_access_records_dropped_total", Counter, help, dropped);
    let help = "Access records that could not be written.";
    page.single("gatehouse_access_records_unwritten_total", Counter, help, unwritten);
    let seen = &telemetry.seen;
    page.family("gatehouse_health_items", Gauge, "Items of the health screen, by severity.");
    for (severity, count) in [("warning", &seen.warnings), ("critical", &seen.criticals)] {
        page.sample("gatehouse_health_items", &[("severity", severity)], read(count));
    }
    for (name, help, value) in [
        ("gatehouse_disk_free_bytes", "Free on the disk of the data folder.", &seen.disk_free_bytes),
        ("gatehouse_backup_age_seconds", "Age of the newest backup.", &seen.backup_age_secs),
    ] {
        if let Ok(value) = u64::try_from(value.load(Ordering::Relaxed)) {
            page.single(name, Gauge, help, value);
        }
    }
}

fn process(page: &mut Page, started_unix_ms: i64) {
    let process = Process::look();
    let started = seconds(u64::try_from(started_unix_ms).unwrap_or(0).saturating_mul(1_000));
    page.single("process_start_time_seconds", Kind::Gauge, "Start, Unix seconds.", started);
    if let Some(cpu) = process.cpu_secs {
        page.single("process_cpu_seconds_total", Kind::Counter, "Processor time.", cpu);
    }
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Memory in use.", process.resident),
        ("process_virtual_memory_bytes", "Address space in use.", process.virtual_bytes),
        ("process_open_fds", "Open file descriptors.", process.open_fds.map(|count| count as u64)),
        ("process_max_fds", "Most file descriptors there may be.", process.max_fds),
        ("process_threads", "Threads.", process.threads),
    ] {
        if let Some(value) = value {
            page.single(name, Kind::Gauge, help, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_common::ids::RouteId;
    use gatehouse_corridor::telemetry::AccessRecord;

    #[test]
    fn the_first_by_name_stand_alone_and_the_rest_together() {
        let telemetry = Telemetry::new(1);
        for (id, name) in [("1", "c/v1"), ("2", "a/v1"), ("3", "b/v1"), ("4", "d/v1")] {
            let stats = telemetry.route_stats(&RouteId::from(id), name);
            let record = AccessRecord { status: 200, micros: 300, bytes_out: 5, ..AccessRecord::default() };
            telemetry.finish(0, Some(&stats), record);
        }
        let seen = |most| -> Vec<(String, u64)> {
            bounded(&telemetry, most).iter().map(|(name, sums)| (name.to_string(), sums.numbers[0])).collect()
        };
        let named =
            |names: &[(&str, u64)]| names.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect::<Vec<_>>();
        assert_eq!(seen(2), named(&[("a/v1", 1), ("b/v1", 1), (OTHER, 2)]));
        assert_eq!(seen(0), named(&[(OTHER, 4)]));
        assert_eq!(seen(9).len(), 4);
        let mut page = Page::new(Format::Text);
        routes(&mut page, &telemetry, 1);
        let text = page.finish();
        for line in [
            "gatehouse_api_responses_total{api=\"other\",class=\"2xx\"} 3",
            "gatehouse_api_sent_bytes_total{api=\"a/v1\"} 5",
            "gatehouse_api_request_duration_seconds_bucket{api=\"other\",le=\"0.001024\"} 3",
            "gatehouse_api_request_duration_seconds_sum{api=\"other\"} 0.000900",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line}: {text}");
        }
    }
}
