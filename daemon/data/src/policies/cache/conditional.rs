//! Conditional requests (RFC 9110 13): whether a client has the answer already.

use std::time::UNIX_EPOCH;

/// An entity tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    weak: bool,
    /// Between the quotes.
    opaque: &'a [u8],
}

impl<'a> Tag<'a> {
    /// Reads one tag and what follows it.
    fn split(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let inner = quoted.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| *byte == b'"')?;
        let opaque = inner.get(..end)?;
        let allowed = opaque.iter().all(|byte| *byte == b'!' || (*byte > b'"' && *byte != 127));
        allowed.then_some((Self { weak, opaque }, inner.get(end + 1..)?))
    }

    /// The value of `ETag`.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        Self::split(text.trim_ascii()).filter(|(_, rest)| rest.is_empty()).map(|(tag, _)| tag)
    }

    /// Weak comparison (RFC 9110 8.8.3.2).
    pub(super) fn same(self, other: Self) -> bool {
        self.opaque == other.opaque
    }

    /// It tells bytes apart, not only meanings.
    pub(super) fn is_strong(self) -> bool {
        !self.weak
    }
}

/// Whether a value of `If-None-Match` names a tag; one that cannot be read names none.
fn names(list: &[u8], tag: Option<Tag<'_>>) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    while let Some((one, after)) = Tag::split(rest) {
        if tag.is_some_and(|tag| tag.same(one)) {
            return true;
        }
        let Some(next) = after.trim_ascii_start().strip_prefix(b",") else { return false };
        rest = next.trim_ascii_start();
    }
    false
}

/// A date of HTTP, Unix milliseconds.
pub(super) fn date(value: &[u8]) -> Option<i64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(value).ok()?.trim()).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// Whether 304 answers a request of these fields; `etag` and `modified` are what the answer itself carries.
pub(super) fn has_it<'f>(
    fields: impl Iterator<Item = (&'f str, &'f [u8])>,
    etag: Option<&[u8]>,
    modified: Option<&[u8]>,
) -> bool {
    let tag = etag.and_then(Tag::parse);
    let (mut asked_by_tag, mut named, mut since) = (false, false, None);
    for (name, value) in fields {
        if name.eq_ignore_ascii_case("if-none-match") {
            asked_by_tag = true;
            named |= names(value, tag);
        } else if name.eq_ignore_ascii_case("if-modified-since") {
            since = date(value);
        }
    }
    match (asked_by_tag, since, modified.and_then(date)) {
        (true, ..) => named,
        (false, Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_are_compared() {
        for (list, etag, expected) in [
            ("\"a\"", "\"a\"", true),
            ("W/\"a\"", "\"a\"", true),
            ("\"a\"", "W/\"a\"", true),
            ("\"b\", \"a\"", "\"a\"", true),
            ("\"b,a\",\"c\"", "\"b,a\"", true),
            ("\"b,a\"", "\"a\"", false),
            ("*", "", true),
            ("a", "\"a\"", false),
            ("\"a\" \"b\"", "\"b\"", false),
            ("w/\"a\"", "\"a\"", false),
            ("\"a", "\"a\"", false),
            ("", "\"\"", false),
            ("\"\"", "\"\"", true),
            ("\"a\"", "a", false),
        ] {
            let fields = [("If-None-Match", list.as_bytes())];
            assert_eq!(has_it(fields.into_iter(), Some(etag.as_bytes()), None), expected, "{list} {etag}");
        }
        assert!(Tag::parse(b"\"a\"").unwrap().is_strong());
        assert!(!Tag::parse(b"W/\"a\"").unwrap().is_strong());
    }

    #[test]
    fn dates_count_only_without_tags() {
        let at = b"Tue, 15 Nov 1994 12:45:26 GMT".as_slice();
        let later = b"Tue, 15 Nov 1994 12:45:27 GMT".as_slice();
        assert_eq!(date(at), Some(784_903_526_000));
        assert_eq!(date(b"0"), None);
        for (since, modified, expected) in [
            (at, Some(at), true),
            (later, Some(at), true),
            (at, Some(later), false),
            (at, None, false),
            (b"x", Some(at), false),
        ] {
            assert_eq!(has_it([("if-modified-since", since)].into_iter(), None, modified), expected);
        }
        let both = [("if-none-match", b"\"b\"".as_slice()), ("if-modified-since", later)];
        assert!(!has_it(both.into_iter(), Some(b"\"a\""), Some(at)));
        assert!(!has_it([].into_iter(), Some(b"\"a\""), Some(at)));
    }

    proptest! {
        #[test]
        fn never_panics(list in r#"[W/"a, *]{0,20}"#, bytes in any::<Vec<u8>>()) {
            let fields = [("if-none-match", list.as_bytes()), ("if-modified-since", bytes.as_slice())];
            let _either = has_it(fields.into_iter(), Some(&bytes), Some(&bytes));
            let _either = Tag::parse(&bytes);
        }
    }
}
