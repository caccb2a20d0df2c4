//! One measurement: wrk for some seconds, the proxy's CPU time before and after.

use super::proxies::Line;
use super::{LOAD, pinned, process};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Numbers as numbers: wrk's own text rounds them and changes their units.
const SCRIPT: &str = r#"done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.timeout + e.status, latency:percentile(50), latency:percentile(99)))
end
"#;
/// Lines and records that are written in batches belong to the requests before.
const SETTLE: Duration = Duration::from_millis(120);

/// What one measurement gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) requests: f64,
    pub(crate) cpu_us: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) rss_kib: f64,
}

/// Writes wrk's script.
pub(crate) fn script(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("wrk.lua");
    std::fs::write(&path, SCRIPT)?;
    Ok(path)
}

/// Requests, microseconds, errors, p50, p99 of wrk's output.
fn result(output: &str) -> Option<[f64; 5]> {
    let line = output.lines().find_map(|line| line.strip_prefix("RESULT "))?;
    let numbers: Vec<f64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().ok()
}

/// What wrk saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) requests: f64,
    pub(crate) micros: f64,
    pub(crate) errors: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Asks for one URL with this token, as fast as it is answered.
pub(crate) fn drive(
    (url, token): (&str, &str),
    script: &Path,
    connections: u32,
    seconds: u32,
) -> anyhow::Result<Seen> {
    let output = pinned(LOAD, Path::new("/usr/bin/wrk"))
        .args(["--latency", "--timeout", "10s", "--threads", "1"])
        .args(["--connections", &connections.to_string(), "--duration", &format!("{seconds}s")])
        .args(["--header", &format!("Authorization: Bearer {token}"), "--script"])
        .arg(script)
        .arg(url)
        .output()
        .context("starting wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let [requests, micros, errors, p50_us, p99_us] =
        result(&text).with_context(|| format!("{url}: wrk said {text}"))?;
    anyhow::ensure!(requests > 0.0, "{url}, {connections} connections: nothing was answered");
    Ok(Seen { requests, micros, errors, p50_us, p99_us })
}

/// Loads a proxy.
pub(crate) fn measure(
    line: &Line,
    script: &Path,
    body: &str,
    connections: u32,
    seconds: u32,
) -> anyhow::Result<Sample> {
    let before = process::cpu_us(line.pid())?;
    let seen = drive((&format!("{}/{body}", line.base), &line.token), script, connections, seconds)?;
    std::thread::park_timeout(SETTLE);
    let used = process::cpu_us(line.pid())? - before;
    let what = || format!("{}, {body}, {connections} connections: {seen:?}", line.name);
    anyhow::ensure!(seen.errors == 0.0, "{}", what());
    Ok(Sample {
        requests: seen.requests,
        cpu_us: used / seen.requests,
        per_second: seen.requests * 1e6 / seen.micros,
        p50_us: seen.p50_us,
        p99_us: seen.p99_us,
        rss_kib: process::rss_kib(line.pid())? as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_the_output() {
        let output = "Requests/sec: 10\nRESULT 10 1000000 0 5 9\n";
        assert_eq!(result(output), Some([10.0, 1e6, 0.0, 5.0, 9.0]));
        assert_eq!(result("RESULT 1 2"), None);
    }
}
