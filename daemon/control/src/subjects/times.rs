//! Times as texts: RFC 3339 with the offset written out, since older clients' readers know no `Z`.

use actix_web::cookie::time::OffsetDateTime;
use actix_web::cookie::time::format_description::well_known::Rfc3339;
use serde_json::Value;

/// Unix milliseconds as text; empty outside the years 0 to 9999.
pub(crate) fn text(unix_ms: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000);
    let text = at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
    text.replace('Z', "+00:00")
}

/// Unix milliseconds of RFC 3339, of the same without an offset (UTC), of a day alone (its begin), or of a number
/// of unix seconds.
pub(crate) fn parse(value: &Value) -> Option<i64> {
    let text = match value {
        Value::String(text) => text.trim(),
        Value::Number(seconds) => {
            let seconds = seconds.as_f64().filter(|seconds| seconds.abs() < 1e11)?;
            return Some((seconds * 1e3) as i64);
        }
        _ => return None,
    };
    let text = text.replacen(' ', "T", 1);
    let shapes = [text.clone(), format!("{text}Z"), format!("{text}:00Z"), format!("{text}T00:00:00Z")];
    let at = shapes.iter().find_map(|shape| OffsetDateTime::parse(shape, &Rfc3339).ok())?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

/// The day of a time, `YYYY-MM-DD`.
pub(crate) fn day(unix_ms: i64) -> String {
    text(unix_ms).get(..10).unwrap_or_default().to_owned()
}

/// The month of a time, `YYYY-MM`.
pub(crate) fn month(unix_ms: i64) -> String {
    text(unix_ms).get(..7).unwrap_or_default().to_owned()
}

/// Unix milliseconds of the next day's begin, UTC.
pub(crate) fn next_day(unix_ms: i64) -> i64 {
    (unix_ms.div_euclid(86_400_000) + 1) * 86_400_000
}

/// Unix milliseconds of the next month's begin, UTC.
pub(crate) fn next_month(unix_ms: i64) -> i64 {
    let this = month(unix_ms);
    // A month has 31 days at most.
    let later = (1..=31).map(|days| next_day(unix_ms) + (days - 1) * 86_400_000);
    later.into_iter().find(|at| month(*at) != this).unwrap_or(unix_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn many_shapes_are_one_time() {
        for value in [
            json!("2026-01-31T12:30:00Z"),
            json!("2026-01-31T13:30:00+01:00"),
            json!("2026-01-31 12:30:00"),
            json!("2026-01-31T12:30"),
            json!(1_769_862_600),
        ] {
            assert_eq!(parse(&value).map(text).as_deref(), Some("2026-01-31T12:30:00+00:00"), "{value}");
        }
        assert_eq!(parse(&json!("2026-01-31")).map(text).as_deref(), Some("2026-01-31T00:00:00+00:00"));
        assert_eq!((parse(&json!("soon")), parse(&json!(true)), parse(&json!(1e300))), (None, None, None));
    }

    #[test]
    fn a_month_ends_where_the_calendar_says() {
        for (at, next) in
            [("2026-01-31", "2026-02-01"), ("2028-02-29", "2028-03-01"), ("2026-12-01", "2027-01-01")]
        {
            let at = parse(&json!(at)).unwrap();
            assert_eq!(day(next_month(at)), next);
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_reads_what_it_wrote(at in 0i64..4_000_000_000_000, text in ".{0,40}") {
            parse(&json!(text));
            prop_assert_eq!(parse(&json!(super::text(at))), Some(at));
            prop_assert!(next_month(at) > at && next_day(at) > at);
        }
    }
}
