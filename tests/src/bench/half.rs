//! Latency at half of what a proxy can carry, where operators run them: h2load sends at a fixed rate, the same for both.

use super::proxies::Line;
use super::{BAR, BASE, LOAD, median, pinned};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

const ROUNDS: usize = 5;
const SECONDS: u32 = 3;
/// Most p99 at half load, in nginx's.
const BAR_P99: f64 = 1.2;

/// Durations in h2load's log, microseconds: each line is a begin, a status and a duration. `None`: a call failed.
fn durations(log: &str) -> Option<Vec<u64>> {
    let line = |line: &str| {
        let mut fields = line.split('\t').skip(1);
        let (status, duration) = (fields.next()?, fields.next()?);
        (status == "200").then(|| duration.trim().parse().ok())?
    };
    log.lines().map(line).collect()
}

/// 50th and 99th percentile.
fn percentiles(mut durations: Vec<u64>) -> Option<(f64, f64)> {
    durations.sort_unstable();
    let at = |share: usize| durations.get(durations.len() * share / 100).map(|micros| *micros as f64);
    Some((at(50)?, at(99)?))
}

fn round(line: &Line, per_second: f64, folder: &Path) -> anyhow::Result<(f64, f64)> {
    let (body, connections) = BAR;
    let log = folder.join("h2load.log");
    // It goes on behind what is there.
    std::fs::remove_file(&log).ok();
    let each = (per_second / f64::from(connections)).floor().max(1.0);
    let output = pinned(LOAD, Path::new("/usr/bin/h2load"))
        .args(["--h1", "--threads=1", &format!("--clients={connections}"), &format!("--rps={each}")])
        .args([&format!("--duration={SECONDS}"), &format!("--log-file={}", log.display())])
        .arg(format!("--header=authorization: Bearer {}", line.token))
        .arg(format!("{}/{body}", line.base))
        .output()
        .context("starting h2load")?;
    let said = || format!("{}: h2load said {}", line.name, String::from_utf8_lossy(&output.stdout));
    let text = std::fs::read_to_string(&log).with_context(said)?;
    durations(&text).and_then(percentiles).with_context(said)
}

/// p50 and p99 of nginx plain and of ours at half of what the slower one carried; nothing where h2load is missing.
pub(crate) fn measure(
    lines: &[Line],
    carried: &[(&str, f64)],
    folder: &Path,
    say: &mut impl Write,
) -> anyhow::Result<Value> {
    if !Path::new("/usr/bin/h2load").exists() {
        writeln!(say, "SKIPPED: latency at half load: h2load is missing")?;
        return Ok(Value::Null);
    }
    let both = |name: &str| [BASE, "gatehouse"].contains(&name);
    let most =
        carried.iter().filter(|(name, _)| both(name)).map(|(_, rate)| *rate).fold(f64::INFINITY, f64::min);
    let mut rounds: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    let pair: Vec<&Line> = lines.iter().filter(|line| both(line.name)).collect();
    rounds.extend(pair.iter().map(|line| (line.name, Vec::new())));
    for _ in 0..ROUNDS {
        for (line, (_, own)) in pair.iter().zip(&mut rounds) {
            own.push(round(line, most / 2.0, folder)?);
        }
    }
    let of = |wanted: &str, field: fn(&(f64, f64)) -> f64| {
        let own = rounds.iter().find(|(name, _)| *name == wanted);
        median(own.map(|(_, own)| own.iter().map(field).collect()).unwrap_or_default())
    };
    let told = |name: &str| (of(name, |pair| pair.0), of(name, |pair| pair.1));
    let (base, ours) = (told(BASE), told("gatehouse"));
    let ratio = ours.1 / base.1;
    let verdict = if ratio <= BAR_P99 { "met" } else { "MISSED" };
    writeln!(
        say,
        "\n{verdict}: p99 at {:.0} requests per second, half of full load: {:.0} µs, nginx plain {:.0} µs: {ratio:.2}, at most {BAR_P99}; p50 {:.0} and {:.0} µs",
        most / 2.0,
        ours.1,
        base.1,
        ours.0,
        base.0
    )?;
    Ok(json!({"per_second": most / 2.0, "p99_ratio": ratio, "met": ratio <= BAR_P99,
              "gatehouse": {"p50_us": ours.0, "p99_us": ours.1}, "nginx": {"p50_us": base.0, "p99_us": base.1}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_good_calls_and_of_a_bad_one() {
        assert_eq!(durations("1\t200\t30\n2\t200\t10\n"), Some(vec![30, 10]));
        assert_eq!(durations("1\t200\t30\n2\t429\t10\n"), None);
        assert_eq!(durations("1\t200\n"), None);
        assert_eq!(percentiles((1..=100).rev().collect()), Some((51.0, 100.0)));
        assert_eq!(percentiles(Vec::new()), None);
    }
}
