//! Medians, the table, the file, the bars.

use super::load::Sample;
use super::{BASE, median};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Most CPU time per request, in those of another proxy of the same run: body, connections, the other, how much.
const BARS: [(&str, u32, &str, f64); 5] = [
    ("b100", 64, BASE, 1.0),
    ("b100", 64, "nginx limit+log", 0.85),
    ("b100", 64, "haproxy jwt+limit+log", 0.5),
    ("b10k", 64, BASE, 1.0),
    ("b1m", 64, BASE, 0.7),
];
/// Most time added to a call over one connection, in that of nginx.
const BAR_ADDED: f64 = 1.2;
/// Most idle memory of a fresh daemon, MiB.
const BAR_IDLE_MIB: f64 = 40.0;
/// Longest time from exec to READY on an empty store, milliseconds.
const BAR_READY_MS: f64 = 300.0;

/// One proxy under one load: medians over the rounds.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    body: String,
    connections: u32,
    /// To the base, paired round by round.
    ratio: f64,
    sample: Sample,
    each: Vec<f64>,
}

/// Medians of a proxy's rounds beside those of the base.
pub(crate) fn row(name: &'static str, body: &str, connections: u32, own: &[Sample], base: &[Sample]) -> Row {
    let of = |field: fn(&Sample) -> f64| median(own.iter().map(field).collect());
    let each: Vec<f64> = own.iter().zip(base).map(|(own, base)| own.cpu_us / base.cpu_us).collect();
    let sample = Sample {
        requests: own.iter().map(|sample| sample.requests).sum(),
        cpu_us: of(|sample| sample.cpu_us),
        per_second: of(|sample| sample.per_second),
        p50_us: of(|sample| sample.p50_us),
        p99_us: of(|sample| sample.p99_us),
        rss_kib: of(|sample| sample.rss_kib),
    };
    Row { name, body: body.to_owned(), connections, ratio: median(each.clone()), sample, each }
}

/// One group of the table.
pub(crate) fn say(out: &mut impl Write, cell: &[Row], first: bool) -> anyhow::Result<()> {
    if first {
        writeln!(
            out,
            "| body, connections | proxy | CPU µs/request | ratio | req/s | p50 µs | p99 µs | RSS MiB |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    }
    for Row { name, body, connections, ratio, sample, .. } in cell {
        let Sample { cpu_us, per_second, p50_us, p99_us, rss_kib, .. } = sample;
        let mib = rss_kib / 1024.0;
        writeln!(
            out,
            "| {body}, {connections} | {name} | {cpu_us:.1} | {ratio:.2} | {per_second:.0} | {p50_us:.0} | {p99_us:.0} | {mib:.1} |"
        )?;
    }
    Ok(out.flush()?)
}

fn version(program: &str) -> String {
    let Ok(output) = Command::new(program).arg("-v").output() else { return String::new() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}

fn value(row: &Row) -> Value {
    let Sample { requests, cpu_us, per_second, p50_us, p99_us, rss_kib } = row.sample;
    json!({"proxy": row.name, "body": row.body, "connections": row.connections, "requests": requests, "cpu_us_per_request": cpu_us,
           "ratio": row.ratio, "ratio_each_round": row.each, "requests_per_second": per_second, "p50_us": p50_us,
           "p99_us": p99_us, "rss_kib": rss_kib})
}

/// Requests per second that each carried in this cell.
pub(crate) fn carried(rows: &[Row], (body, connections): (&str, u32)) -> Vec<(&'static str, f64)> {
    let cell = rows.iter().filter(|row| row.body == body && row.connections == connections);
    cell.map(|row| (row.name, row.sample.per_second)).collect()
}

/// The time that ours adds to a call over one connection, in that of nginx; medians of p50.
pub(crate) fn added(rows: &[Row], body: &str, direct_us: f64) -> f64 {
    let of = |name: &str| {
        let row = rows.iter().find(|row| (row.name, &*row.body, row.connections) == (name, body, 1));
        row.map_or(f64::NAN, |row| row.sample.p50_us - direct_us)
    };
    of("gatehouse") / of(BASE)
}

/// CPU time per request of ours to that of another, median of the rounds' pairs.
fn ratio(rows: &[Row], body: &str, connections: u32, other: &str) -> Option<f64> {
    let cell = |name: &str| {
        rows.iter().find(|row| (row.name, &*row.body, row.connections) == (name, body, connections))
    };
    let (ours, other) = (cell("gatehouse")?, cell(other)?);
    // Both are told in the base's, round by round.
    Some(median(ours.each.iter().zip(&other.each).map(|(ours, other)| ours / other).collect()))
}

/// The bars and the file.
pub(crate) fn conclude(
    out: &mut impl Write,
    results: &Path,
    (rows, added): (&[Row], f64),
    sections: &[(&str, Value)],
    calls: &[(&str, Option<f64>)],
) -> anyhow::Result<()> {
    let fresh = sections.iter().find(|(name, _)| *name == "fresh").map(|(_, fresh)| fresh);
    let number =
        |name: &str| fresh.and_then(|fresh| fresh.get(name)).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let mut bars = vec![
        ("idle memory of a fresh daemon, MiB".to_owned(), number("idle_rss_kib") / 1024.0, BAR_IDLE_MIB),
        ("exec to READY on an empty store, ms".to_owned(), number("ready_ms"), BAR_READY_MS),
        ("p50 added to a call over one connection, in nginx's".to_owned(), added, BAR_ADDED),
    ];
    for (body, connections, other, most) in BARS {
        let got = ratio(rows, body, connections, other).context("the plan has no cell for a bar")?;
        bars.push((format!("CPU per request, {body}, {connections} connections, to {other}"), got, most));
    }
    writeln!(out, "\nratio: CPU time per request to {BASE}, median of the rounds' pairs")?;
    for (what, got, most) in &bars {
        let verdict = if got <= most { "met" } else { "MISSED" };
        writeln!(out, "{verdict}: {what}: {got:.2}, at most {most}")?;
    }
    for (name, calls) in calls {
        let calls = calls.map_or("strace is missing".to_owned(), |calls| format!("{calls:.2}"));
        writeln!(out, "system calls per request, 100 B, 64 connections: {name}: {calls}")?;
    }
    let calls: Vec<Value> =
        calls.iter().map(|(name, calls)| json!({"proxy": name, "calls_per_request": calls})).collect();
    let bars: Vec<Value> = bars
        .iter()
        .map(|(what, got, most)| json!({"what": what, "got": got, "at_most": most, "met": got <= most}))
        .collect();
    let mut page = json!({
        "versions": [version("/usr/sbin/nginx"), version("/usr/sbin/haproxy"), version("/usr/bin/wrk")],
        "processors": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "bars": bars,
        "system_calls": calls,
        "rows": rows.iter().map(value).collect::<Vec<_>>(),
    });
    if let Some(page) = page.as_object_mut() {
        page.extend(sections.iter().map(|(name, section)| ((*name).to_owned(), section.clone())));
    }
    std::fs::write(results, format!("{page:#}\n")).with_context(|| results.display().to_string())?;
    Ok(writeln!(out, "written: {}", results.display())?)
}
