//! Time: read in one place, shown in UTC with Z.

use gatehouse_common::units;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Unix milliseconds now.
#[must_use]
pub fn now_unix_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the one place; everything else is given its time")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `14:02:07`
#[must_use]
pub fn time_of_day(unix_ms: i64) -> String {
    let secs = unix_ms.div_euclid(1_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", secs / 3_600, secs % 3_600 / 60, secs % 60)
}

/// `14:02:07.114`
#[must_use]
pub fn time_with_millis(unix_ms: i64) -> String {
    format!("{}.{:03}", time_of_day(unix_ms), unix_ms.rem_euclid(1_000))
}

/// `2026-11-21`, by the civil-from-days rule of the proleptic Gregorian calendar.
#[must_use]
pub fn date(unix_ms: i64) -> String {
    let days = unix_ms.div_euclid(86_400_000).saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096).div_euclid(365);
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2026-11-21 14:02:07Z`
#[must_use]
pub fn date_time(unix_ms: i64) -> String {
    format!("{} {}Z", date(unix_ms), time_of_day(unix_ms))
}

/// Span between two moments as people read it; never negative.
#[must_use]
pub fn between(from_unix_ms: i64, to_unix_ms: i64) -> String {
    let millis = u64::try_from(to_unix_ms.saturating_sub(from_unix_ms)).unwrap_or(0);
    units::span(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        assert_eq!(date_time(0), "1970-01-01 00:00:00Z");
        assert_eq!(date_time(951_782_400_000), "2000-02-29 00:00:00Z");
        assert_eq!(date_time(1_795_269_727_114), "2026-11-21 14:02:07Z");
        assert_eq!(time_with_millis(1_795_269_727_114), "14:02:07.114");
        assert_eq!(date_time(-1_000), "1969-12-31 23:59:59Z");
        assert_eq!(between(5_000, 0), "0ms");
        assert!(!date(i64::MAX).is_empty() && !date(i64::MIN).is_empty());
    }
}
