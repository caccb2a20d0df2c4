//! Formats of text that field rules may ask for.

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Email,
    Url,
    Date,
    DateTime,
    Uuid,
}

impl Format {
    const ALL: [(&str, Self); 5] = [
        ("email", Self::Email),
        ("url", Self::Url),
        ("date", Self::Date),
        ("datetime", Self::DateTime),
        ("uuid", Self::Uuid),
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| name)
    }

    pub(super) fn has(self, text: &str) -> bool {
        match self {
            Self::Email => is_email(text),
            Self::Url => is_url(text),
            Self::Date => is_date(text),
            Self::DateTime => is_date_time(text),
            // The crate knows shorter forms and braces, which the format does not.
            Self::Uuid => text.len() == 36 && uuid::Uuid::try_parse(text).is_ok(),
        }
    }
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let local_ok = (1..=64).contains(&local.len())
        && !local.contains("..")
        && !local.starts_with('.')
        && !local.ends_with('.')
        && local.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte));
    local_ok && domain.contains('.') && is_host(domain)
}

fn is_host(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

fn is_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    matches!(uri.scheme_str(), Some("http" | "https" | "ftp"))
        && uri.host().is_some_and(|host| host.starts_with('[') || is_host(host))
}

/// A number of exactly so many digits within bounds.
fn number(text: &str, digits: usize, least: u32, most: u32) -> Option<u32> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| plain && (least..=most).contains(number))
}

fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let mut next = |digits, least, most| number(parts.next()?, digits, least, most);
    let (Some(year), Some(month), Some(day)) = (next(4, 1, 9_999), next(2, 1, 12), next(2, 1, 31)) else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    day <= days
}

/// `2026-01-31T12:30:59[.123][Z|+01:00]`, a blank for the `T` too; the zone may be left out.
fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't', ' ']) else { return false };
    let (clock, zone) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, ""),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let zone_ok =
        matches!(zone, "" | "Z" | "z") || zone.get(1..).is_some_and(|offset| is_clock(offset, false));
    let fraction_ok = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    is_date(date) && is_clock(clock, true) && fraction_ok && zone_ok
}

fn is_clock(text: &str, seconds: bool) -> bool {
    let mut parts = text.splitn(3, ':');
    let mut next = |most| number(parts.next()?, 2, 0, most);
    let hours_and_minutes = next(23).is_some() && next(59).is_some();
    let seconds_ok = if seconds { next(60).is_some() } else { parts.next().is_none() };
    hours_and_minutes && seconds_ok
}

#[cfg(test)]
mod tests {
    use super::Format;
    use proptest::prelude::*;

    #[test]
    fn formats() {
        for (format, good, bad) in [
            (
                "email",
                vec!["a@b.de", "a.b+c@x-y.example.org"],
                vec!["", "a", "@b.de", "a@b", "a@-b.de", "a..b@c.de", "a b@c.de", "a@b.de\n"],
            ),
            (
                "url",
                vec!["http://a", "https://a.b/c?d=e", "ftp://[::1]/x"],
                vec!["", "a.b", "//a", "javascript:alert(1)", "http://", "http://a b"],
            ),
            (
                "date",
                vec!["2024-02-29", "1999-12-31"],
                vec![
                    "2023-02-29",
                    "2024-13-01",
                    "2024-00-10",
                    "24-01-01",
                    "2024-1-01",
                    "2024-01-01x",
                    "+024-01-01",
                ],
            ),
            (
                "datetime",
                vec!["2024-02-29T12:30:00Z", "2024-02-29 12:30:00.123+01:00", "2024-02-29T23:59:60"],
                vec![
                    "2024-02-29",
                    "2024-02-30T00:00:00Z",
                    "2024-02-29T24:00:00Z",
                    "2024-02-29T12:30",
                    "2024-02-29T12:30:00.Z",
                    "2024-02-29T12:30:00+1",
                ],
            ),
            (
                "uuid",
                vec!["67e55044-10b1-426f-9247-bb680e5fe0c8"],
                vec!["67e5504410b1426f9247bb680e5fe0c8", "{67e55044-10b1-426f-9247-bb680e5fe0c8}", "x"],
            ),
        ] {
            let known = Format::named(format).unwrap();
            assert_eq!(known.name(), format);
            assert!(good.iter().all(|text| known.has(text)), "{format}: {good:?}");
            for text in bad {
                assert!(!known.has(text), "{format}: {text}");
            }
        }
        assert_eq!(Format::named("ipv4"), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in r"\PC{0,30}|[0-9TZ:+\-. é]{0,30}") {
            for (_, format) in Format::ALL {
                let _either = format.has(&text);
            }
        }
    }
}
