//! The filter grammar of the audit trail, for console, verbs and the daemon's own command line alike.
//!
//! `word` or `"a phrase"` (in actor, source, action, object or outcome), `-not`, `actor:x`, `source:x`, `action:x`,
//! `object:x`, `outcome:x`, `since:1h`, `until:10m`, `from:2026-11-25`, `to:2026-11-25T14:30`. Terms are joined by *and*; a
//! field's value may end in `*`; times are UTC, `from` inclusive, `to` and `until` exclusive.

use crate::logquery::{millis, words};
use crate::ops::audit::AuditEntry;
use crate::problem::{Code, Problem};

const FIELDS: [&str; 5] = ["actor", "source", "action", "object", "outcome"];

#[derive(Debug, Clone)]
enum Term {
    Text(String),
    Field(&'static str, String),
    /// Unix milliseconds.
    From(i64),
    /// Unix milliseconds.
    To(i64),
    Not(Box<Term>),
}

/// A parsed filter.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    terms: Vec<Term>,
}

impl AuditFilter {
    /// Parses a filter; an empty text matches everything. `now_unix_ms` is for `since:` and `until:`.
    ///
    /// # Errors
    /// A [`Problem`] that names the term and what was expected.
    pub fn parse(text: &str, now_unix_ms: i64) -> Result<Self, Problem> {
        let words = words(text).map_err(|problem| bad(text, &problem.detail))?;
        words.iter().map(|word| term(word, now_unix_ms)).collect::<Result<_, _>>().map(|terms| Self { terms })
    }

    /// Whether a record passes.
    #[must_use]
    pub fn matches(&self, entry: &AuditEntry) -> bool {
        self.terms.iter().all(|term| holds(term, entry))
    }
}

fn bad(word: &str, expected: &str) -> Problem {
    Problem::new(Code::BadInput, format!("audit filter: {word:?}: {expected}")).at("q")
}

fn term(word: &str, now_unix_ms: i64) -> Result<Term, Problem> {
    if let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.is_empty() && !rest.starts_with('-')) {
        return Ok(Term::Not(Box::new(term(rest, now_unix_ms)?)));
    }
    if let Some((name, value)) = word.split_once(':') {
        let ago = |value: &str| {
            let span = millis(value).ok_or_else(|| bad(word, "expected a span like 30s, 10m, 2h or 1d"));
            span.map(|span| now_unix_ms.saturating_sub(span))
        };
        let at = |value: &str| {
            let expected = "expected a time like 2026-11-25, 2026-11-25T14:30 or 2026-11-25T14:30:05Z";
            moment(value).ok_or_else(|| bad(word, expected))
        };
        match name {
            "since" => return ago(value).map(Term::From),
            "until" => return ago(value).map(Term::To),
            "from" => return at(value).map(Term::From),
            "to" => return at(value).map(Term::To),
            _ => {}
        }
        if let Some(field) = FIELDS.into_iter().find(|field| *field == name) {
            return Ok(Term::Field(field, value.trim_matches('"').to_lowercase()));
        }
    }
    Ok(Term::Text(word.trim_matches('"').to_lowercase()))
}

fn holds(term: &Term, entry: &AuditEntry) -> bool {
    let AuditEntry { actor, source, action, object, outcome, at_unix_ms, .. } = entry;
    match term {
        Term::Text(text) => {
            [actor, source, action, object, outcome].iter().any(|field| field.to_lowercase().contains(text))
        }
        Term::Field(name, wanted) => {
            let value = match *name {
                "actor" => actor,
                "source" => source,
                "action" => action,
                "object" => object,
                _ => outcome,
            };
            let value = value.to_lowercase();
            wanted.strip_suffix('*').map_or(value == *wanted, |begin| value.starts_with(begin))
        }
        Term::From(least) => at_unix_ms >= least,
        Term::To(end) => at_unix_ms < end,
        Term::Not(term) => !holds(term, entry),
    }
}

/// Unix milliseconds of a date, or a date and a time of day, in UTC.
fn moment(text: &str) -> Option<i64> {
    let text = text.trim_matches('"');
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let numbers = |text: &str, mark: char| -> Option<Vec<i64>> {
        let part = |part: &str| {
            let digits =
                !part.is_empty() && part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        };
        text.split(mark).map(part).collect()
    };
    let [year, month, day] = numbers(date, '-')?.try_into().ok()?;
    let time = numbers(time, ':')?;
    let [hour, minute, second] = match *time.as_slice() {
        [hour, minute] => [hour, minute, 0],
        [hour, minute, second] => [hour, minute, second],
        _ => return None,
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let whole = (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60;
    // Days from civil (H. Hinnant, "chrono-compatible low-level date algorithms").
    let (shifted, of_year) = (year - i64::from(month <= 2), (153 * ((month + 9) % 12) + 2) / 5 + day - 1);
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    whole.then(|| (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Revision;
    use proptest::prelude::*;

    const NOON: i64 = 1_795_608_000_000;

    fn entry() -> AuditEntry {
        AuditEntry {
            at_unix_ms: NOON,
            actor: "Ana".into(),
            source: "10.0.0.9".into(),
            action: "user.update".into(),
            object: "user/ben".into(),
            outcome: "ok".into(),
            detail: serde_json::Value::Null,
            revision: Revision(1),
        }
    }

    #[test]
    fn filters() {
        for (text, passes) in [
            ("", true),
            ("ben update", true),
            ("ben delete", false),
            ("-delete \"user.update\"", true),
            ("actor:ana action:user.* object:user/ben outcome:ok", true),
            ("actor:an", false),
            ("actor:an*", true),
            ("-actor:ana", false),
            ("source:10.0.0.9", true),
            ("from:2026-11-25 to:2026-11-26", true),
            ("from:2026-11-25T12:00 to:2026-11-25T12:00:01Z", true),
            ("to:2026-11-25T12:00", false),
            ("from:2026-11-25T12:00:01", false),
            ("since:1h", true),
            ("since:10m", false),
            ("until:10m", true),
            ("until:1h", false),
        ] {
            let filter = AuditFilter::parse(text, NOON + 1_800_000).unwrap();
            assert_eq!(filter.matches(&entry()), passes, "{text}");
        }
        for (text, part) in [
            ("since:soon", "expected a span"),
            ("from:yesterday", "expected a time"),
            ("to:2026-02-29", "expected a time"),
            ("from:2026-11-25T24:00", "expected a time"),
            ("\"open", "closing"),
        ] {
            let problem = AuditFilter::parse(text, NOON).unwrap_err();
            assert!(problem.detail.contains(part) && problem.field.as_deref() == Some("q"), "{problem:?}");
        }
        assert!(moment("2024-02-29").is_some() && moment("1970-01-01") == Some(0));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}|(actor:|from:|since:|-|[0-9]{1,5}|-|T|:|\"| ){0,12}", now in any::<i64>()) {
            if let Ok(filter) = AuditFilter::parse(&text, now) {
                let _either = filter.matches(&entry());
            }
        }
    }
}
