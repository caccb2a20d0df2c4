//! Reports over the history (spec/doorman.md 4.20 and 7): an object for a range, a table for days. They are long enough to
//! be made outside the workers.

use gatehouse_corridor::history::{Bucket, Detail, History, Step};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Names in a top list.
const TOP: usize = 10;

/// A range of a report: the last hour, day, week or month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) word: &'static str,
    secs: i64,
    /// What its sums are made of.
    sums: Step,
    /// What its points are when minutes are asked for: an hour where there would be too many.
    points: Step,
}

/// All ranges.
pub(crate) const RANGES: &[Range] = &[
    Range { word: "1h", secs: 3_600, sums: Step::Minute, points: Step::Minute },
    Range { word: "24h", secs: 86_400, sums: Step::Hour, points: Step::Minute },
    Range { word: "7d", secs: 7 * 86_400, sums: Step::Hour, points: Step::Hour },
    Range { word: "30d", secs: 30 * 86_400, sums: Step::Hour, points: Step::Hour },
];

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) range: Range,
    pub(crate) by_day: bool,
    pub(crate) descending: bool,
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

fn summed(buckets: &[Bucket]) -> (Bucket, Detail) {
    let mut sum = Bucket::default();
    buckets.iter().for_each(|bucket| sum.merge(bucket));
    let detail = sum.detail.take().map(|detail| *detail).unwrap_or_default();
    (sum, detail)
}

fn point(bucket: &Bucket) -> Value {
    json!({
        "timestamp": bucket.at,
        "count": bucket.requests,
        "test_count": bucket.tests,
        "error_count": bucket.errors,
        "avg_ms": rounded(bucket.mean_ms()),
        "p95_ms": rounded(bucket.p95_ms()),
        "bytes_in": bucket.bytes_in,
        "bytes_out": bucket.bytes_out,
        "error_rate": rounded(bucket.error_rate()),
        "upstream_timeouts": bucket.timeouts,
        "retries": bucket.retries,
    })
}

/// APIs without their versions, as the older lists have them: `rest:name`.
fn by_name(detail: &Detail) -> Vec<(String, u64)> {
    let mut names = BTreeMap::<&str, u64>::new();
    for (api, count) in detail.apis.iter() {
        *names.entry(api.rsplit_once('/').map_or(api, |(name, _)| name)).or_default() += count;
    }
    let mut names: Vec<(String, u64)> =
        names.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    names.truncate(TOP);
    names
}

fn statuses(detail: &Detail) -> Map<String, Value> {
    detail.statuses.iter().map(|(status, count)| (status.to_string(), json!(count))).collect()
}

/// The object of `/platform/monitor/metrics`: sums and points begin with a whole step, so that both tell the same.
pub(crate) fn metrics(history: &History, asked: Asked, now_ms: i64) -> Value {
    let Asked { range, by_day, descending } = asked;
    let from = range.sums.begin(now_ms.div_euclid(1_000) - range.secs);
    let sums = history.between(from, i64::MAX, range.sums);
    let (sum, detail) = summed(&sums);
    let mut series = match by_day {
        true => days(&sums),
        false if range.points == range.sums => sums,
        false => history.between(from, i64::MAX, range.points),
    };
    if descending {
        series.reverse();
    }
    let ms = |share: f64| rounded(detail.quantile(share).unwrap_or(0) as f64 / 1e3);
    let (p50, p95, p99) = (ms(0.5), ms(0.95), ms(0.99));
    let apis: Vec<Value> = detail
        .apis
        .largest(TOP)
        .iter()
        .map(|(api, count)| json!({"api": api.split_once(':').map_or(&**api, |(_, name)| name), "count": count}))
        .collect();
    json!({
        "period": range.word, "from": from,
        "total_requests": sum.requests, "total_test_requests": sum.tests, "total_errors": sum.errors,
        "error_rate": rounded(sum.error_rate()), "avg_response_ms": rounded(sum.mean_ms()),
        "p50": p50, "p95": p95, "p99": p99,
        "total_bytes_in": sum.bytes_in, "total_bytes_out": sum.bytes_out,
        "total_upstream_timeouts": sum.timeouts, "total_retries": sum.retries,
        "unique_users": detail.unique.count(), "status_counts": statuses(&detail),
        "top_users": detail.users.largest(TOP), "top_apis": by_name(&detail), "apis": apis,
        "series": series.iter().map(point).collect::<Vec<_>>(),
    })
}

fn days(buckets: &[Bucket]) -> Vec<Bucket> {
    let mut days = BTreeMap::<i64, Bucket>::new();
    for bucket in buckets {
        let at = Step::Day.begin(bucket.at);
        days.entry(at).or_insert_with(|| Bucket::begun(at)).merge(bucket);
    }
    days.into_values().collect()
}

/// A cell of a table: quoted where it must be, and never a formula for the program that opens it.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// The day of a moment, `YYYY-MM-DD`.
fn date(secs: i64) -> String {
    let day = actix_web::cookie::time::OffsetDateTime::from_unix_timestamp(secs).map(|at| at.date());
    day.map_or_else(|_| String::new(), |day| day.to_string())
}

/// The table of `/platform/monitor/report`, from the begin of one day to the end of another (both Unix seconds).
pub(crate) fn table(history: &History, from: i64, to: i64) -> String {
    let days = history.between(from, to, Step::Day);
    let (sum, detail) = summed(&days);
    let mut sections: Vec<(&str, &str, Vec<Vec<String>>)> = Vec::new();
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    sections.push((
        "Overview",
        "Metric,Value",
        vec![
            row("Start", date(from)),
            row("End", date(to - 1)),
            row("Total requests", sum.requests.to_string()),
            row("Test requests", sum.tests.to_string()),
            row("Errors", sum.errors.to_string()),
            row("Error rate", rounded(sum.error_rate()).to_string()),
            row("Average response ms", rounded(sum.mean_ms()).to_string()),
            row("Unique users", detail.unique.count().to_string()),
            row("Upstream timeouts", sum.timeouts.to_string()),
            row("Retries", sum.retries.to_string()),
        ],
    ));
    let all = sum.bytes_in.saturating_add(sum.bytes_out);
    sections.push((
        "Bandwidth",
        "Direction,Bytes",
        vec![
            row("In", sum.bytes_in.to_string()),
            row("Out", sum.bytes_out.to_string()),
            row("Total", all.to_string()),
        ],
    ));
    let codes = detail.statuses.iter().map(|(status, count)| vec![status.to_string(), count.to_string()]);
    sections.push(("Status codes", "Status,Requests", codes.collect()));
    let apis = detail.apis.largest(usize::MAX).into_iter().map(|(api, count)| vec![api, count.to_string()]);
    sections.push(("API usage", "API,Requests", apis.collect()));
    let bytes: BTreeMap<&str, u64> = detail.user_bytes.iter().collect();
    let users = detail.users.largest(usize::MAX).into_iter().map(|(user, count)| {
        let bytes = bytes.get(&*user).copied().unwrap_or(0);
        vec![user, count.to_string(), bytes.to_string()]
    });
    sections.push(("User usage", "User,Requests,Bytes", users.collect()));
    let daily = days.iter().map(|day| {
        [date(day.at), day.requests.to_string(), day.bytes_in.to_string(), day.bytes_out.to_string()].to_vec()
    });
    sections.push(("Bandwidth per day", "Date,Requests,Bytes in,Bytes out", daily.collect()));
    written(&sections)
}

fn written(sections: &[(&str, &str, Vec<Vec<String>>)]) -> String {
    let mut text = String::new();
    for (index, (title, head, rows)) in sections.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\r\n" };
        // Infallible: a String grows.
        write!(text, "{gap}{title}\r\n{head}\r\n").ok();
        for row in rows {
            let cells: Vec<String> = row.iter().map(|text| cell(text)).collect();
            write!(text, "{}\r\n", cells.join(",")).ok();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_corridor::telemetry::AccessRecord;

    /// 2025-01-01T00:00:00Z.
    const BEGIN: i64 = 1_735_689_600;

    /// One call each ten minutes, for so many days.
    fn fed(days: i64) -> (History, i64) {
        let history = History::default();
        for number in 0..days * 144 {
            history.advance((BEGIN + number * 600) * 1_000);
            let record = AccessRecord {
                status: if number % 4 == 0 { 503 } else { 200 },
                micros: 2_000,
                test: number % 2 == 0,
                route: if number % 3 == 0 { "shop/v2".into() } else { "shop/v1".into() },
                consumer: "=ana,".into(),
                bytes_out: 7,
                ..AccessRecord::default()
            };
            history.count(&[record], 0);
        }
        (history, (BEGIN + (days * 144 - 1) * 600) * 1_000)
    }

    #[test]
    fn sums_and_points_tell_the_same_in_each_range() {
        let (history, now_ms) = fed(3);
        for (range, requests, points, days) in
            [(0, 7, 7, 1), (1, 150, 150, 2), (2, 432, 72, 3), (3, 432, 72, 3)]
        {
            for (by_day, wanted) in [(false, points), (true, days)] {
                let asked = Asked { range: RANGES[range], by_day, descending: true };
                let made = metrics(&history, asked, now_ms);
                let series = made["series"].as_array().unwrap();
                let sum: u64 = series.iter().map(|point| point["count"].as_u64().unwrap()).sum();
                let statuses: u64 =
                    made["status_counts"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
                let total = made["total_requests"].as_u64().unwrap();
                assert_eq!(
                    (total, sum, statuses, series.len()),
                    (requests, requests, requests, wanted),
                    "{range} {by_day}"
                );
                assert!(
                    series.len() == 1 || series[0]["timestamp"].as_i64() > series[1]["timestamp"].as_i64()
                );
                assert_eq!(made["top_users"], json!([["=ana,", requests]]));
                assert_eq!(
                    (&made["top_apis"], &made["unique_users"]),
                    (&json!([["rest:shop", requests]]), &json!(1))
                );
                assert_eq!(
                    (&made["avg_response_ms"], &made["total_bytes_out"]),
                    (&json!(2.0), &json!(7 * requests))
                );
            }
        }
        let empty =
            metrics(&History::default(), Asked { range: RANGES[3], by_day: true, descending: false }, now_ms);
        assert_eq!(
            (&empty["total_requests"], &empty["series"], &empty["error_rate"]),
            (&json!(0), &json!([]), &json!(0.0))
        );
    }

    #[test]
    fn a_table_has_its_sections_and_no_formula() {
        let (history, _) = fed(3);
        let text = table(&history, BEGIN + 86_400, BEGIN + 2 * 86_400);
        for line in [
            "Start,2025-01-02",
            "End,2025-01-02",
            "Total requests,144",
            "503,36",
            "rest:shop/v1,96",
            "\"'=ana,\",144,1008",
            "2025-01-02,144,0,1008",
        ] {
            assert!(text.split("\r\n").any(|seen| seen == line), "{line}: {text}");
        }
    }
}
