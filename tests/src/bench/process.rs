//! What the kernel counts for a process and its children, from /proc.

use anyhow::Context as _;

/// `USER_HZ`: a constant of the kernel's interface on every architecture that Debian runs on here.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process and all below it.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at) {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        at += 1;
    }
    found
}

/// utime and stime of one line of /proc/PID/stat, in ticks. The name before may hold spaces and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    Some(user + fields.next()?.parse::<u64>().ok()?)
}

/// CPU time of the family so far, microseconds; in steps of ten milliseconds.
pub(crate) fn cpu_us(pid: u32) -> anyhow::Result<f64> {
    let mut sum = 0;
    for member in family(pid) {
        let stat = std::fs::read_to_string(format!("/proc/{member}/stat"))?;
        sum += ticks(&stat).with_context(|| format!("reading {stat:?}"))?;
    }
    Ok(sum as f64 * 1e6 / TICKS_PER_SECOND)
}

/// Resident memory of the family, KiB.
pub(crate) fn rss_kib(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for member in family(pid) {
        let status = std::fs::read_to_string(format!("/proc/{member}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().strip_suffix("kB"));
        sum += number.context("no VmRSS")?.trim().parse::<u64>()?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_behind_a_strange_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 1 0";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(rss_kib(std::process::id()).unwrap() > 100);
        assert!(cpu_us(std::process::id()).unwrap() >= 0.0);
    }
}
