//! `Cache-Control` (RFC 9111 5.2) of requests and answers. Whoever writes it wrong gets the careful reading.

/// Longest time that is told apart, seconds (RFC 9111 1.2.2).
pub(super) const LONGEST_SECS: u64 = 1 << 31;

/// What the fields of one message say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) no_store: bool,
    /// With or without names of fields.
    pub(super) no_cache: bool,
    /// With or without names of fields.
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) only_if_cached: bool,
    /// Seconds; unreadable or contradictory is 0.
    pub(super) max_age: Option<u64>,
    /// Seconds; unreadable or contradictory is 0.
    pub(super) s_maxage: Option<u64>,
    /// Seconds; unreadable is the longest.
    pub(super) min_fresh: Option<u64>,
}

impl Control {
    /// Reads all values of the field.
    pub(super) fn parse<'v>(values: impl Iterator<Item = &'v [u8]>) -> Self {
        let mut control = Self::default();
        for value in values {
            let mut rest = value;
            while !rest.is_empty() {
                let (directive, after) = split_directive(rest);
                rest = after;
                control.take(directive);
            }
        }
        control
    }

    fn take(&mut self, directive: &[u8]) {
        let (name, argument) = match directive.iter().position(|byte| *byte == b'=') {
            Some(at) => (directive.get(..at).unwrap_or_default(), directive.get(at + 1..)),
            None => (directive, None),
        };
        let is = |known: &str| name.trim_ascii().eq_ignore_ascii_case(known.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("private") {
            self.private = true;
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            // Nothing stale is served anyway; it only says that the answer may be shared.
            self.must_revalidate = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            merge(&mut self.max_age, seconds(argument).unwrap_or(0));
        } else if is("s-maxage") {
            merge(&mut self.s_maxage, seconds(argument).unwrap_or(0));
        } else if is("min-fresh") {
            self.min_fresh = Some(seconds(argument).unwrap_or(LONGEST_SECS));
        }
    }

    /// Whether the answer to a call with credentials may be given to others (RFC 9111 3.5).
    pub(super) fn shares(&self) -> bool {
        self.public || self.must_revalidate || self.s_maxage.is_some()
    }
}

/// Two that differ are none (RFC 9111 4.2.1).
fn merge(place: &mut Option<u64>, seconds: u64) {
    *place = Some(if place.is_none_or(|other| other == seconds) { seconds } else { 0 });
}

fn seconds(argument: Option<&[u8]>) -> Option<u64> {
    let text = argument?.trim_ascii();
    let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // What does not fit is longer than anything that is told apart.
    let number = std::str::from_utf8(text).ok()?.parse().unwrap_or(LONGEST_SECS);
    Some(number.min(LONGEST_SECS))
}

/// Up to the next comma outside quotes.
fn split_directive(text: &[u8]) -> (&[u8], &[u8]) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                return (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
            }
            _ => {}
        }
    }
    (text, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn control(text: &str) -> Control {
        Control::parse([text.as_bytes()].into_iter())
    }

    #[test]
    fn directives() {
        for (text, expected) in [
            ("", Control::default()),
            ("No-Store", Control { no_store: true, ..Control::default() }),
            ("max-age=5 , PUBLIC", Control { max_age: Some(5), public: true, ..Control::default() }),
            ("max-age=\"5\"", Control { max_age: Some(5), ..Control::default() }),
            ("max-age=5, max-age=5", Control { max_age: Some(5), ..Control::default() }),
            ("max-age=5, max-age=6", Control { max_age: Some(0), ..Control::default() }),
            ("max-age=-1", Control { max_age: Some(0), ..Control::default() }),
            ("max-age=1.5", Control { max_age: Some(0), ..Control::default() }),
            ("max-age", Control { max_age: Some(0), ..Control::default() }),
            (
                "s-maxage=99999999999999999999999",
                Control { s_maxage: Some(LONGEST_SECS), ..Control::default() },
            ),
            ("private=\"set-cookie, max-age=5\"", Control { private: true, ..Control::default() }),
            ("no-cache=\"a\\\", public\"", Control { no_cache: true, ..Control::default() }),
            ("x=\"no-store\", y", Control::default()),
            ("xno-store, no-storex", Control::default()),
            ("proxy-revalidate", Control::default()),
            (
                "must-revalidate, only-if-cached, min-fresh=x",
                Control {
                    must_revalidate: true,
                    only_if_cached: true,
                    min_fresh: Some(LONGEST_SECS),
                    ..Control::default()
                },
            ),
        ] {
            assert_eq!(control(text), expected, "{text}");
        }
        let two = Control::parse([b"public".as_slice(), b"max-age=1"].into_iter());
        assert!(two.public && two.max_age == Some(1));
        assert!(two.shares() && control("s-maxage=0").shares() && !control("max-age=9").shares());
    }

    proptest! {
        #[test]
        fn never_panics(text in r#"[",=\\a-z0-9 -]{0,40}"#, bytes in any::<Vec<u8>>()) {
            let found = Control::parse([text.as_bytes(), bytes.as_slice()].into_iter());
            prop_assert!(found.max_age.is_none_or(|secs| secs <= LONGEST_SECS));
            let appended = format!("{}, no-store", text.replace('"', ""));
            prop_assert!(control(&appended).no_store);
        }
    }
}
