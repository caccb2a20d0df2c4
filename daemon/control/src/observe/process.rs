//! The process as the kernel sees it (proc(5)); what it does not say is left out.

use std::fs;

/// Numbers of this process.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// Bytes.
    pub(crate) resident: Option<u64>,
    /// Bytes.
    pub(crate) virtual_bytes: Option<u64>,
    pub(crate) open_fds: Option<usize>,
    pub(crate) max_fds: Option<u64>,
    pub(crate) threads: Option<u64>,
    /// User and system time, seconds.
    pub(crate) cpu_secs: Option<f64>,
}

impl Process {
    pub(crate) fn look() -> Self {
        let text = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let mut process = read(&text("stat"), &text("limits"));
        process.open_fds = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
        process
    }
}

fn read(stat: &str, limits: &str) -> Process {
    // The name may hold spaces and parentheses; the fields begin behind its last one, with the third.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    Process {
        resident: field(24).map(|pages| pages * rustix::param::page_size() as u64),
        virtual_bytes: field(23),
        open_fds: None,
        max_fds: line.and_then(|line| line.split_whitespace().next()?.parse().ok()),
        threads: field(20),
        cpu_secs: field(14).zip(field(15)).map(|(user, system)| (user + system) as f64 / ticks as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_proc_says() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 777 4096 3 18446744073709551615";
        let limits = "Limit   Soft Limit  Hard Limit Units\nMax open files   1024    4096   files\n";
        let seen = read(stat, limits);
        let page = rustix::param::page_size() as u64;
        assert_eq!((seen.virtual_bytes, seen.resident), (Some(4096), Some(3 * page)));
        assert_eq!((seen.threads, seen.max_fds), (Some(9), Some(1024)));
        assert_eq!(seen.cpu_secs, Some(300.0 / rustix::param::clock_ticks_per_second() as f64));
        assert_eq!(read("", "x"), Process::default());
        let real = Process::look();
        assert!(
            real.resident > Some(1 << 20) && real.open_fds > Some(2) && real.threads >= Some(1),
            "{real:?}"
        );
    }
}
