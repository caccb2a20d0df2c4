//! A crowd at the door: ten thousand connections that ask for nothing and two thousand that send a byte a second, and what
//! that does to those who ask. Reported, not judged: it is one process on one machine that plays the crowd.

use super::load::{self, Sample};
use super::proxies::Line;
use super::{BAR, median};
use crate::wait::eventually;
use anyhow::Context as _;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const IDLE: usize = 10_000;
const SLOW: usize = 2_000;
const ROUNDS: usize = 3;
/// Of one round. All rounds beside the slow ones must be over before a head must be whole.
const SECONDS: u32 = 2;
/// Most memory with the crowd, MiB, and most that the others' p99 may grow by.
const BAR_MIB: f64 = 100.0;
const BAR_P99: f64 = 1.2;

/// Files this process may have open, as many as it can; daemons that are started later may have as many.
pub(crate) fn raise_open_files() -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("raising the bound of open files")
}

/// One connection that has asked once, so that all that a connection needs has been allocated.
fn idle(address: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /platform/monitor/liveness HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    anyhow::ensure!(stream.read(&mut [0; 4_096])? > 0, "no answer");
    Ok(stream)
}

/// Sends a byte of a head on each, again and again, as long as told.
fn drip(mut streams: Vec<TcpStream>, over: &AtomicBool) {
    for byte in b"GET /a-long-path HTTP/1.1".iter() {
        for stream in &mut streams {
            // One that was closed is told of at the end, by how many are left.
            stream.write_all(&[*byte]).ok();
        }
        if over.load(Ordering::Relaxed) {
            return;
        }
        std::thread::park_timeout(Duration::from_secs(1));
    }
}

fn rounds(line: &Line, script: &Path) -> anyhow::Result<Vec<Sample>> {
    (0..ROUNDS).map(|_| load::measure(line, script, BAR.0, BAR.1, SECONDS)).collect()
}

/// Medians of p99 and requests per second, and the most memory.
fn told(samples: &[Sample]) -> (f64, f64, f64) {
    let of = |field: fn(&Sample) -> f64| median(samples.iter().map(field).collect());
    let most = samples.iter().map(|sample| sample.rss_kib).fold(0.0, f64::max);
    (of(|sample| sample.p99_us), of(|sample| sample.per_second), most / 1_024.0)
}

/// Measures a proxy alone, with the idle crowd, with the slow one too, and alone again.
pub(crate) fn measure(line: &Line, script: &Path, say: &mut impl std::io::Write) -> anyhow::Result<Value> {
    let address = line.base.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
    let alone = rounds(line, script)?;
    let crowd = (0..IDLE)
        .map(|_| idle(&address))
        .collect::<anyhow::Result<Vec<_>>>()
        .with_context(|| format!("{IDLE} idle connections"))?;
    let with_idle = rounds(line, script)?;
    let slow: Vec<TcpStream> = (0..SLOW)
        .map(|_| TcpStream::connect(&address))
        .collect::<Result<_, _>>()
        .context("slow connections")?;
    let over = AtomicBool::new(false);
    let with_slow = std::thread::scope(|scope| {
        scope.spawn(|| drip(slow, &over));
        let samples = rounds(line, script);
        over.store(true, Ordering::Relaxed);
        samples
    })?;
    let left = crowd.iter().filter(|stream| stream.set_nonblocking(true).is_ok() && waits(stream)).count();
    drop(crowd);
    eventually("the crowd to be gone", || load::measure(line, script, BAR.0, 1, 1))?;
    let again = rounds(line, script)?;
    let base = told(&[alone, again].concat());
    let mut page = json!({"idle": IDLE, "idle_left": left, "slow": SLOW, "alone": {"p99_us": base.0, "per_second": base.1}});
    for (name, samples) in [("with_idle", with_idle), ("with_idle_and_slow", with_slow)] {
        let (p99, per_second, mib) = told(&samples);
        let ratio = p99 / base.0;
        let verdict = if ratio <= BAR_P99 && mib <= BAR_MIB { "met" } else { "MISSED" };
        writeln!(
            say,
            "{verdict}: {}: {name}: p99 {p99:.0} µs, {ratio:.2} of alone, at most {BAR_P99}; {per_second:.0} req/s; {mib:.1} MiB, at most {BAR_MIB}",
            line.name
        )?;
        if let Some(page) = page.as_object_mut() {
            page.insert(
                name.to_owned(),
                json!({"p99_us": p99, "p99_ratio": ratio, "per_second": per_second, "rss_mib": mib}),
            );
        }
    }
    Ok(page)
}

/// Open, with nothing to read.
fn waits(mut stream: &TcpStream) -> bool {
    stream.read(&mut [0; 16]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rounds_beside_the_slow_ones_fit_into_the_time_of_a_head() {
        // `client_head_secs` is 10; between two rounds wrk ends and starts.
        assert!(ROUNDS as u32 * SECONDS < 8);
    }

    #[test]
    fn open_files_are_raised_to_what_there_may_be() {
        raise_open_files().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
