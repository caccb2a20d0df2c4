//! System calls per request, by strace. It slows a proxy several times, so it runs after all else.

use super::load;
use super::process::family;
use super::proxies::Line;
use anyhow::Context as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Until strace holds all threads.
const ATTACH: Duration = Duration::from_millis(300);

/// The calls in the last line of `strace -c`.
fn total(summary: &str) -> Option<f64> {
    let line = summary.lines().rfind(|line| line.trim_end().ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// System calls per request, all threads and processes; `None` without strace.
pub(crate) fn measure(
    line: &Line,
    script: &Path,
    folder: &Path,
    (body, connections): (&str, u32),
) -> anyhow::Result<Option<f64>> {
    let summary = folder.join("strace");
    let mut command = Command::new("strace");
    command.args(["-c", "-f", "-o"]).arg(&summary);
    for member in family(line.pid()) {
        command.arg("-p").arg(member.to_string());
    }
    let Ok(mut child) = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn() else { return Ok(None) };
    std::thread::park_timeout(ATTACH);
    let loaded = load::measure(line, script, body, connections, 1);
    // It writes its summary and lets go; killed, it would leave neither.
    let asked = Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    child.wait()?;
    asked?;
    let text = std::fs::read_to_string(&summary)?;
    let calls = total(&text).with_context(|| format!("strace said {text:?}"))?;
    Ok(Some(calls / loaded?.requests))
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_of_a_summary() {
        let summary = "% time seconds usecs/call calls errors syscall\n\
                       100.00    0.000012           1         8         2 total\n";
        assert_eq!(total(summary), Some(8.0));
        assert_eq!(total(""), None);
    }
}
