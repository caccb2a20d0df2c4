//! Bytes, durations and ratios as people read them.

use std::time::Duration;

/// `1536` as `1.5 KB` (powers of 1024, one decimal below ten).
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        unit = next;
        if value < 1024.0 {
            break;
        }
        if next != "TB" {
            value /= 1024.0;
        }
    }
    if unit == "B" || value >= 10.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// The two largest units of a span: `12d04h`, `3m20s`, `48ms`.
#[must_use]
pub fn span(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{secs}s"),
        60..3600 => format!("{}m{:02}s", secs / 60, secs % 60),
        3600..86_400 => format!("{}h{:02}m", secs / 3600, secs % 3600 / 60),
        _ => format!("{}d{:02}h", secs / 86_400, secs % 86_400 / 3600),
    }
}

/// Microseconds as the console shows latencies: `850us`, `3ms`, `1.2s`.
#[must_use]
pub fn latency(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{}ms", micros / 1_000),
        _ => format!("{:.1}s", micros as f64 / 1e6),
    }
}

/// A rate per second: `0.2`, `12`, `1.28k`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if r < 0.05 => "0".to_owned(),
        r if r < 10.0 => format!("{r:.1}"),
        r if r < 1_000.0 => format!("{r:.0}"),
        r if r < 1e6 => format!("{:.2}k", r / 1e3),
        r => format!("{:.2}M", r / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_people_write() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1536), "1.5 KB");
        assert_eq!(bytes(214 * 1024 * 1024), "214 MB");
        assert_eq!(span(Duration::from_secs(12 * 86_400 + 4 * 3600)), "12d04h");
        assert_eq!(span(Duration::from_millis(48)), "48ms");
        assert_eq!(latency(48_000), "48ms");
        assert_eq!(rate(1280.0), "1.28k");
        assert_eq!(rate(0.0), "0");
    }
}
