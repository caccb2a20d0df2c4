//! The head of an answer (RFC 9112): status, fields, and how its body is framed. What two programs could read
//! differently is refused.

use crate::http1::fields::{self, Name};
use crate::http1::{Framing, Span, Wrong, digits, span};
use std::mem::MaybeUninit;

/// Longest head, bytes.
pub(crate) const HEAD_BYTES: usize = 65_536;
/// Most fields of a head.
const FIELDS: usize = 100;

/// A head. One per connection, used again for each answer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// `Content-Length`; on an answer to HEAD that of the body it would have had.
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
    /// The upstream keeps the connection.
    pub(crate) keeps: bool,
    text: Vec<u8>,
    fields: Vec<(Name, Span)>,
}

impl Head {
    /// A head that no connection brought.
    pub(crate) fn made<'f>(
        status: u16,
        length: Option<u64>,
        fields: impl Iterator<Item = (&'f str, &'f [u8])>,
    ) -> Self {
        let mut head = Self { status, length, ..Self::default() };
        let mut add = |text: &[u8]| {
            let from = u32::try_from(head.text.len()).unwrap_or(u32::MAX);
            head.text.extend_from_slice(text);
            (from, u32::try_from(head.text.len()).unwrap_or(u32::MAX))
        };
        for (name, value) in fields {
            let ((a, b), (c, d)) = (add(name.as_bytes()), add(value));
            head.fields.push((Name::of(name.as_bytes()), [a, b, c, d]));
        }
        head
    }

    /// Name, its bytes as they came, and the value.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (Name, &[u8], &[u8])> + Clone {
        let part = |from: u32, to: u32| self.text.get(from as usize..to as usize).unwrap_or_default();
        self.fields.iter().map(move |(name, [a, b, c, d])| (*name, part(*a, *b), part(*c, *d)))
    }

    /// The first value of a name.
    pub(crate) fn get(&self, wanted: Name) -> Option<&[u8]> {
        self.fields().find(|(name, _, _)| *name == wanted).map(|(_, _, value)| value)
    }

    /// Whether a field ends here because `Connection` names it.
    pub(crate) fn ends(&self, name: &[u8]) -> bool {
        let values = self.fields().filter(|(name, _, _)| *name == Name::Connection);
        fields::named_by(values.map(|(_, _, value)| value), name)
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

    fn learn(&mut self, name: Name, value: &[u8]) -> Result<(), Wrong> {
        match name {
            Name::ContentLength => {
                let length = digits(value).ok_or(Wrong("a length that is no number"))?;
                if self.length.is_some_and(|other| other != length) {
                    return Err(Wrong("two lengths"));
                }
                self.length = Some(length);
            }
            Name::TransferEncoding => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Wrong("a transfer encoding other than chunked"));
                }
                self.chunked = true;
            }
            Name::Connection => {
                let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                self.keeps &= !options.any(|option| option.eq_ignore_ascii_case(b"close"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads a head from the front of these bytes; how many it takes, or `None` if more are needed. What was read
    /// before is forgotten.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, Wrong> {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS];
        let mut found = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let used = match config.parse_response_with_uninit_headers(&mut found, bytes, &mut room) {
            Ok(httparse::Status::Complete(used)) if used <= HEAD_BYTES => used,
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES => return Ok(None),
            Ok(_) => return Err(Wrong("a head that is too long")),
            Err(_) => return Err(Wrong("no head of HTTP/1.1")),
        };
        self.status = found.code.filter(|code| *code >= 100).ok_or(Wrong("no status"))?;
        let recent = found.version == Some(1);
        (self.keeps, self.chunked, self.length) = (recent, false, None);
        self.text.clear();
        self.text.extend_from_slice(bytes.get(..used).unwrap_or_default());
        self.fields.clear();
        for field in found.headers.iter() {
            let name = Name::of(field.name.as_bytes());
            self.learn(name, field.value)?;
            self.fields.push((name, span(bytes, field.name.as_bytes(), field.value)));
        }
        if self.chunked && (self.length.is_some() || !recent) {
            return Err(Wrong("a length and chunks, or chunks in HTTP/1.0"));
        }
        // Such an answer has no body (RFC 9110 15.3.5), but one who says so may send it, and late.
        self.keeps &= self.status != 204 || !(self.chunked || self.length.is_some_and(|length| length > 0));
        Ok(Some(used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Option<Head>, Wrong> {
        let mut head = Head::default();
        Ok(head.read(text.as_bytes())?.map(|_| head))
    }

    #[test]
    fn framing_follows_the_fields() {
        for (fields, to_head, framing, keeps) in [
            ("200 OK\r\nContent-Length: 5", false, Framing::Length(5), true),
            ("200 OK\r\nContent-Length: 5\r\ncontent-length: 5", false, Framing::Length(5), true),
            ("200 OK\r\nContent-Length: 5", true, Framing::None, true),
            ("200 OK\r\nTransfer-Encoding: Chunked", false, Framing::Chunked, true),
            ("200 OK\r\nTransfer-Encoding: chunked", true, Framing::None, true),
            ("204 No\r\nContent-Length: 5", false, Framing::None, false),
            ("204 No\r\nContent-Length: 0", false, Framing::None, true),
            ("204 No\r\nTransfer-Encoding: chunked", false, Framing::None, false),
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
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields: Vec<_> = head.fields().map(|(_, name, value)| text(name) + "=" + &text(value)).collect();
        assert_eq!(fields, ["X-A=b c", "Empty=", "Connection=X-A"]);
        assert!(head.ends(b"x-a") && !head.ends(b"empty"));
        assert_eq!(head.get(Name::Connection), Some(b"X-A".as_slice()));
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut head = Head::default();
            head.read(&bytes).ok();
            head.read(&[b"HTTP/1.1 200 OK\r\n", &*bytes].concat()).ok();
        }

        /// What is short of a head says so, and never gives another one.
        #[test]
        fn never_panics_on_a_part_and_gives_the_same(
            fields in proptest::collection::vec("[A-Za-z-]{1,12}: ?[ -~]{0,12}\r\n", 0..6),
            share in 0.0..1.0f64,
        ) {
            let text = format!("HTTP/1.1 200 OK\r\n{}\r\n", fields.concat());
            let mut head = Head::default();
            let whole = head.read(text.as_bytes());
            let cut = (text.len() as f64 * share) as usize;
            let part = head.read(&text.as_bytes()[..cut]);
            prop_assert!(part == Ok(None) || (part.is_err() && whole.is_err()), "{part:?} {whole:?}");
            if let Ok(Some(used)) = whole {
                prop_assert_eq!(used, text.len());
            }
        }
    }
}
