//! The head of an answer (RFC 9112): status, fields, and how its body is framed. What two programs could read
//! differently is refused.

use super::Wrong;
use bytes::Bytes;
use std::mem::MaybeUninit;

/// Longest head, bytes.
pub(crate) const HEAD_BYTES: usize = 65_536;
/// Most fields of a head.
const FIELDS: usize = 100;

/// Where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none, whatever the fields say.
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// A field: where its name and its value begin and end.
type Span = [u32; 4];

/// A head that is whole.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// `Content-Length`; on an answer to HEAD that of the body it would have had.
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
    /// The upstream keeps the connection.
    pub(crate) keeps: bool,
    text: Bytes,
    fields: Vec<Span>,
}

impl Head {
    /// The bytes that [`parse`] read from.
    pub(crate) fn with(mut self, text: Bytes) -> Self {
        self.text = text;
        self
    }

    /// Names as they came, and values.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, Bytes)> {
        self.fields.iter().filter_map(|[name, name_end, value, value_end]| {
            let name = std::str::from_utf8(self.text.get(*name as usize..*name_end as usize)?).ok()?;
            Some((name, self.text.slice(*value as usize..*value_end as usize)))
        })
    }

    /// The values of `Connection`.
    pub(crate) fn connection(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter_map(|[name, name_end, value, value_end]| {
            let name = self.text.get(*name as usize..*name_end as usize)?;
            let value = self.text.get(*value as usize..*value_end as usize)?;
            name.eq_ignore_ascii_case(b"connection").then(|| std::str::from_utf8(value).ok()).flatten()
        })
    }

    /// How the body of an answer to this method is framed.
    pub(crate) fn framing(&self, to_head: bool) -> Framing {
        match (self.status, self.length) {
            _ if to_head => Framing::None,
            (204 | 304, _) => Framing::None,
            _ if self.chunked => Framing::Chunked,
            (_, Some(length)) => Framing::Length(length),
            (_, None) => Framing::UntilClose,
        }
    }

    fn learn(&mut self, name: &str, value: &[u8]) -> Result<(), Wrong> {
        if name.eq_ignore_ascii_case("content-length") {
            let length = digits(value).ok_or(Wrong("a length that is no number"))?;
            if self.length.is_some_and(|other| other != length) {
                return Err(Wrong("two lengths"));
            }
            self.length = Some(length);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Wrong("a transfer encoding other than chunked"));
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case("connection") {
            let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            self.keeps &= !options.any(|option| option.eq_ignore_ascii_case(b"close"));
        }
        Ok(())
    }
}

/// Digits and nothing else: no sign, no space, no list.
fn digits(text: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for byte in text {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    (!text.is_empty()).then_some(number)
}

/// Parses a head; with it how many bytes it takes. `None`: more is needed.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Wrong> {
    let mut room = [const { MaybeUninit::uninit() }; FIELDS];
    let mut found = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let used = match config.parse_response_with_uninit_headers(&mut found, bytes, &mut room) {
        Ok(httparse::Status::Complete(used)) if used <= HEAD_BYTES => used,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES => return Ok(None),
        Ok(_) => return Err(Wrong("a head that is too long")),
        Err(_) => return Err(Wrong("no head of HTTP/1.1")),
    };
    let status = found.code.filter(|code| *code >= 100).ok_or(Wrong("no status"))?;
    let recent = found.version == Some(1);
    let mut head = Head { status, keeps: recent, ..Head::default() };
    head.fields.reserve_exact(found.headers.len());
    let place = |part: &[u8]| (part.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
    for field in found.headers.iter() {
        head.learn(field.name, field.value)?;
        let (name, value) = (place(field.name.as_bytes()), place(field.value));
        let span = [name, name + field.name.len(), value, value + field.value.len()];
        // Bounded by HEAD_BYTES. An empty value may point anywhere.
        let span = if field.value.is_empty() { [name, name + field.name.len(), 0, 0] } else { span };
        head.fields.push(span.map(|at| u32::try_from(at).unwrap_or(u32::MAX)));
    }
    if head.chunked && (head.length.is_some() || !recent) {
        return Err(Wrong("a length and chunks, or chunks in HTTP/1.0"));
    }
    Ok(Some((head, used)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Option<Head>, Wrong> {
        let parsed = parse(text.as_bytes())?;
        Ok(parsed.map(|(head, used)| head.with(Bytes::copy_from_slice(&text.as_bytes()[..used]))))
    }

    #[test]
    fn framing_follows_the_fields() {
        for (fields, to_head, framing, keeps) in [
            ("200 OK\r\nContent-Length: 5", false, Framing::Length(5), true),
            ("200 OK\r\nContent-Length: 5\r\ncontent-length: 5", false, Framing::Length(5), true),
            ("200 OK\r\nContent-Length: 5", true, Framing::None, true),
            ("200 OK\r\nTransfer-Encoding: Chunked", false, Framing::Chunked, true),
            ("200 OK\r\nTransfer-Encoding: chunked", true, Framing::None, true),
            ("204 No\r\nContent-Length: 5", false, Framing::None, true),
            ("304 No\r\nTransfer-Encoding: chunked", false, Framing::None, true),
            ("200 OK\r\nConnection: x-a, CLOSE", false, Framing::UntilClose, false),
            ("200 \r\nX: ", false, Framing::UntilClose, true),
        ] {
            let head = read(&format!("HTTP/1.1 {fields}\r\n\r\n")).unwrap().unwrap();
            assert_eq!((head.framing(to_head), head.keeps), (framing, keeps), "{fields}");
        }
        assert!(!read("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").unwrap().unwrap().keeps);
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused() {
        for fields in [
            "200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
            "200 OK\r\nContent-Length: 5, 5",
            "200 OK\r\nContent-Length: +5",
            "200 OK\r\nContent-Length: 0x5",
            "200 OK\r\nContent-Length:",
            "200 OK\r\nContent-Length: 18446744073709551616",
            "200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
            "200 OK\r\nTransfer-Encoding: gzip, chunked",
            "200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "200 OK\r\nTransfer-Encoding: identity",
            "200 OK\r\nX : 1",
            "200 OK\r\nX: 1\r\n folded",
            "20 OK",
            "099 OK",
        ] {
            assert!(read(&format!("HTTP/1.1 {fields}\r\n\r\n")).is_err(), "{fields}");
        }
        assert!(read("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(read("HTTP/2.0 200 OK\r\n\r\n").is_err());
        assert!(read(&format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD_BYTES))).is_err());
        assert!(read(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: 1\r\n".repeat(FIELDS + 1))).is_err());
    }

    #[test]
    fn fields_are_as_they_came() {
        let head =
            read("HTTP/1.1 200 OK\r\nX-A:  b c \r\nEmpty:\r\nConnection: X-A\r\n\r\nrest").unwrap().unwrap();
        let fields: Vec<_> = head.fields().map(|(name, value)| format!("{name}={value:?}")).collect();
        assert_eq!(fields, ["X-A=b\"b c\"", "Empty=b\"\"", "Connection=b\"X-A\""]);
        assert_eq!(head.connection().collect::<Vec<_>>(), ["X-A"]);
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(parse(&bytes));
            drop(parse(&[b"HTTP/1.1 200 OK\r\n", &*bytes].concat()));
        }

        /// What is short of a head says so, and never gives another one.
        #[test]
        fn never_panics_on_a_part_and_gives_the_same(
            fields in proptest::collection::vec("[A-Za-z-]{1,12}: ?[ -~]{0,12}\r\n", 0..6),
            share in 0.0..1.0f64,
        ) {
            let text = format!("HTTP/1.1 200 OK\r\n{}\r\n", fields.concat());
            let whole = parse(text.as_bytes());
            let cut = (text.len() as f64 * share) as usize;
            let part = parse(&text.as_bytes()[..cut]);
            prop_assert!(part == Ok(None) || (part.is_err() && whole.is_err()), "{part:?} {whole:?}");
            if let Ok(Some((_, used))) = whole {
                prop_assert_eq!(used, text.len());
            }
        }
    }
}
