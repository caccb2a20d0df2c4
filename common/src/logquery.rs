//! The log filter grammar, used by console, CLI and HTTP alike.
//!
//! `word`, `"a phrase"`, `-not`, `/regex/`, `level>=warn`, `route:x`, `consumer:x`, `request:x`, `target:x`,
//! `since:10m`. Terms are joined by *and*; a field's value may end in `*`.

use crate::ops::logs::{Level, LogLine};
use crate::problem::{Code, Problem};
use regex::Regex;

#[derive(Debug, Clone)]
enum Term {
    Text(String),
    Pattern(Regex),
    Level(Level),
    Field(String, String),
    SinceMillis(i64),
    Not(Box<Term>),
}

/// A parsed filter.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    terms: Vec<Term>,
}

impl LogFilter {
    /// Parses a filter; an empty text matches everything.
    ///
    /// # Errors
    /// A [`Problem`] that names the term and what was expected.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        words(text)?.iter().map(|word| term(word)).collect::<Result<_, _>>().map(|terms| Self { terms })
    }

    /// Whether a line passes; `now_unix_ms` is for `since:`.
    #[must_use]
    pub fn matches(&self, line: &LogLine, now_unix_ms: i64) -> bool {
        self.terms.iter().all(|term| holds(term, line, now_unix_ms))
    }
}

fn bad(word: &str, expected: &str) -> Problem {
    Problem::new(Code::BadInput, format!("log filter: {word:?}: {expected}")).at("q")
}

/// Splits at blanks; quotes and slashes keep their blanks.
pub(crate) fn words(text: &str) -> Result<Vec<String>, Problem> {
    let mut found = Vec::new();
    let mut word = String::new();
    let mut closing = None;
    for c in text.chars() {
        match closing {
            Some(end) if c == end => {
                word.push(c);
                closing = None;
            }
            Some(_) => word.push(c),
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    found.push(std::mem::take(&mut word));
                }
            }
            None => {
                let opens = c == '"' || (c == '/' && (word.is_empty() || word == "-"));
                closing = opens.then_some(c);
                word.push(c);
            }
        }
    }
    if let Some(end) = closing {
        return Err(bad(&word, &format!("expected a closing {end}")));
    }
    if !word.is_empty() {
        found.push(word);
    }
    Ok(found)
}

/// A term and the signs before it, two of which cancel out: there may be as many as a query is long, and to each one level of
/// nesting would end the stack.
fn term(word: &str) -> Result<Term, Problem> {
    let signs = word.len() - word.trim_start_matches('-').len();
    // The last of nothing but signs is a word.
    let signs = if signs == word.len() { signs.saturating_sub(1) } else { signs };
    let term = unsigned(word.get(signs..).unwrap_or_default())?;
    Ok(if signs % 2 == 1 { Term::Not(Box::new(term)) } else { term })
}

fn unsigned(word: &str) -> Result<Term, Problem> {
    if let Some(pattern) = word.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        let regex = Regex::new(pattern).map_err(|error| bad(word, &error.to_string()))?;
        return Ok(Term::Pattern(regex));
    }
    if let Some(level) = word.strip_prefix("level>=") {
        return level_named(level)
            .map(Term::Level)
            .ok_or_else(|| bad(word, "expected trace, debug, info, warn or error"));
    }
    if let Some(span) = word.strip_prefix("since:") {
        return millis(span)
            .map(Term::SinceMillis)
            .ok_or_else(|| bad(word, "expected a span like 30s, 10m, 2h or 1d"));
    }
    for field in ["route", "consumer", "request", "target", "workspace", "status"] {
        if let Some(value) = word.strip_prefix(field).and_then(|rest| rest.strip_prefix(':')) {
            return Ok(Term::Field(field.to_owned(), value.trim_matches('"').to_owned()));
        }
    }
    Ok(Term::Text(word.trim_matches('"').to_lowercase()))
}

fn level_named(name: &str) -> Option<Level> {
    serde_json::from_value(serde_json::Value::String(name.to_lowercase())).ok()
}

pub(crate) fn millis(span: &str) -> Option<i64> {
    let unit = span.chars().last()?;
    let count: i64 = span.strip_suffix(unit)?.parse().ok()?;
    let factor = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    count.checked_mul(factor)
}

fn holds(term: &Term, line: &LogLine, now_unix_ms: i64) -> bool {
    match term {
        Term::Text(text) => {
            line.message.to_lowercase().contains(text)
                || line.fields.values().any(|value| value.to_lowercase().contains(text))
        }
        Term::Pattern(regex) => regex.is_match(&line.message),
        Term::Level(level) => line.level >= *level,
        Term::Field(name, wanted) => {
            let value = if name == "target" { Some(&line.target) } else { line.fields.get(name) };
            value.is_some_and(|value| match wanted.strip_suffix('*') {
                Some(prefix) => value.starts_with(prefix),
                None => value == wanted,
            })
        }
        Term::SinceMillis(span) => line.at_unix_ms >= now_unix_ms.saturating_sub(*span),
        Term::Not(inner) => !holds(inner, line, now_unix_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(level: Level, route: &str, message: &str) -> LogLine {
        LogLine {
            number: 1,
            at_unix_ms: 1_000_000,
            level,
            target: "forward".into(),
            message: message.into(),
            fields: [("route".to_owned(), route.to_owned())].into(),
        }
    }

    #[test]
    fn terms_are_joined_by_and() {
        let filter = LogFilter::parse(r#"level>=warn route:bill* "timed out" -/retry \d/"#).unwrap();
        assert!(filter.matches(&line(Level::Warn, "billing", "upstream Timed out"), 0));
        assert!(!filter.matches(&line(Level::Info, "billing", "upstream timed out"), 0));
        assert!(!filter.matches(&line(Level::Warn, "orders", "upstream timed out"), 0));
        assert!(!filter.matches(&line(Level::Warn, "billing", "timed out, retry 2"), 0));
        assert!(!LogFilter::parse("since:1s").unwrap().matches(&line(Level::Warn, "", ""), 2_000_000));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, part) in
            [("level>=loud", "expected trace"), ("\"open", "closing"), ("since:5y", "span"), ("/(/", "(")]
        {
            let problem = LogFilter::parse(text).unwrap_err();
            assert!(problem.detail.contains(part), "{text}: {}", problem.detail);
        }
    }

    #[test]
    fn any_number_of_signs_is_one_or_none() {
        let filter = |count: usize| LogFilter::parse(&format!("{}word", "-".repeat(count)));
        assert!(!filter(100_001).unwrap().matches(&line(Level::Info, "r", "a word"), 0));
        assert!(filter(100_002).unwrap().matches(&line(Level::Info, "r", "a word"), 0));
    }

    #[test]
    fn never_panics_on_the_corpus() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/corpus/log_filter");
        let files: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(files.len() > 5);
        for file in files {
            let text = std::fs::read(file.unwrap().path()).unwrap();
            if let Ok(filter) = LogFilter::parse(&String::from_utf8_lossy(&text)) {
                let _either = filter.matches(&line(Level::Info, "r", "m"), 5);
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,60}", message in ".{0,60}") {
            if let Ok(filter) = LogFilter::parse(&text) {
                let _either = filter.matches(&line(Level::Info, "r", &message), 5);
            }
        }
    }
}
