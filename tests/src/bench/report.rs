//! Medians, the table, the file, the bars.

use super::load::Sample;
use super::{BAR, BASE, median};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Most CPU time per request, in those of nginx; 100 B, 64 connections.
const BAR_RATIO: f64 = 1.5;
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

/// The bars and the file.
pub(crate) fn conclude(
    out: &mut impl Write,
    results: &Path,
    rows: &[Row],
    (fresh, crowd): (&Value, &Value),
    calls: &[(&str, Option<f64>)],
) -> anyhow::Result<()> {
    let ratio = rows
        .iter()
        .find(|row| (row.name, row.body.as_str(), row.connections) == ("gatehouse", BAR.0, BAR.1))
        .map(|row| row.ratio)
        .context("the plan has no cell for the bar")?;
    let number = |name: &str| fresh.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let bars = [
        ("CPU per request, 100 B, 64 connections, to nginx plain", ratio, BAR_RATIO),
        ("idle memory of a fresh daemon, MiB", number("idle_rss_kib") / 1024.0, BAR_IDLE_MIB),
        ("exec to READY on an empty store, ms", number("ready_ms"), BAR_READY_MS),
    ];
    writeln!(out, "\nratio: CPU time per request to {BASE}, median of the rounds' pairs")?;
    for (what, got, most) in bars {
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
    let page = json!({
        "versions": [version("/usr/sbin/nginx"), version("/usr/sbin/haproxy"), version("/usr/bin/wrk")],
        "processors": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "fresh": fresh,
        "crowd": crowd,
        "bars": bars,
        "system_calls": calls,
        "rows": rows.iter().map(value).collect::<Vec<_>>(),
    });
    std::fs::write(results, format!("{page:#}\n")).with_context(|| results.display().to_string())?;
    Ok(writeln!(out, "written: {}", results.display())?)
}
