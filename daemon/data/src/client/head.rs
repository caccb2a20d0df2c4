//! The head of a request (RFC 9112 3, 5; RFC 9110 7.2), read strictly: what two programs could read differently is
//! refused, with a text that says what was wrong.

use crate::http1::fields::{self, NAMES, Name};
use crate::http1::{Framing, Span, digits, span};
use gatehouse_common::limits::{HEAD_BYTES, HEAD_FIELDS, TARGET_BYTES};
use std::mem::MaybeUninit;

/// What a connection keeps of a head's memory while it waits for the next one; most heads fit.
const REST_BYTES: usize = 1_024;
const REST_FIELDS: usize = 16;

/// Why a head is none. Texts are fixed, so that nothing of the request can come back in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHead {
    /// 400, and what is wrong.
    Malformed(&'static str),
    /// 414.
    TargetTooLong,
    /// 431.
    TooLarge,
    /// 505.
    Version,
}

use BadHead::Malformed;

/// A request's head. One per connection, used again for each request.
#[derive(Debug)]
pub(crate) struct Head {
    text: Vec<u8>,
    /// Method and target, known to be text: they are asked for again and again.
    line: String,
    fields: Vec<(Name, Span)>,
    /// Place of the first field of each name, plus one.
    first: [u8; NAMES],
    method: (u32, u32),
    path: (u32, u32),
    /// Behind the question mark; `None` without one.
    query: Option<(u32, u32)>,
    pub(crate) framing: Body,
    /// HTTP/1.1, not 1.0.
    pub(crate) recent: bool,
    /// The client would use the connection again.
    pub(crate) keeps: bool,
    /// `Expect: 100-continue`.
    pub(crate) expects: bool,
}

/// A request's body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Body {
    #[default]
    None,
    Length(u64),
    Chunked,
}

impl From<Body> for Framing {
    fn from(body: Body) -> Self {
        match body {
            Body::None => Self::None,
            Body::Length(length) => Self::Length(length),
            Body::Chunked => Self::Chunked,
        }
    }
}

impl Default for Head {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            line: String::new(),
            fields: Vec::new(),
            first: [0; NAMES],
            method: (0, 0),
            path: (0, 0),
            query: None,
            framing: Body::None,
            recent: true,
            keeps: false,
            expects: false,
        }
    }
}

impl Head {
    fn part(&self, (from, to): (u32, u32)) -> &[u8] {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }

    /// Of method and target; the grammar lets only ASCII pass there.
    fn text(&self, (from, to): (u32, u32)) -> &str {
        self.line.get(from as usize..to as usize).unwrap_or_default()
    }

    pub(crate) fn method(&self) -> &str {
        self.text(self.method)
    }

    /// As it came, without the query; begins with a slash, or is `*`.
    pub(crate) fn path(&self) -> &str {
        self.text(self.path)
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.query.map(|query| self.text(query))
    }

    /// Name, its bytes as they came, and the value.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (Name, &[u8], &[u8])> + Clone {
        self.fields.iter().map(|(name, [a, b, c, d])| (*name, self.part((*a, *b)), self.part((*c, *d))))
    }

    /// The first value of a name.
    pub(crate) fn get(&self, name: Name) -> Option<&[u8]> {
        let place = usize::from(*self.first.get(name as usize)?).checked_sub(1)?;
        let (_, [_, _, from, to]) = self.fields.get(place)?;
        Some(self.part((*from, *to)))
    }

    /// The first value of a name, if it is text.
    pub(crate) fn get_text(&self, name: Name) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// All values of a name.
    pub(crate) fn all(&self, name: Name) -> impl DoubleEndedIterator<Item = &[u8]> {
        let none = self.first.get(name as usize).is_none_or(|place| *place == 0);
        let fields = if none { &[] } else { self.fields.as_slice() };
        let same = fields.iter().filter(move |(other, _)| *other == name);
        same.map(|(_, [_, _, from, to])| self.part((*from, *to)))
    }

    /// The first value of a name that is no [`Name`] of its own, given in any case.
    pub(crate) fn named(&self, name: &str) -> Option<&[u8]> {
        self.fields()
            .find(|(_, text, _)| text.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, _, value)| value)
    }

    /// Whether a field ends here because `Connection` names it.
    pub(crate) fn ends(&self, name: &[u8]) -> bool {
        fields::named_by(self.all(Name::Connection), name)
    }

    /// Whether it asks to switch to WebSocket (RFC 6455 4.1). To switch to anything else is not understood, and an
    /// `Upgrade` that is not understood may be passed over (RFC 9110 7.8).
    pub(crate) fn switches(&self) -> bool {
        let has = |value: &[u8], wanted: &str| {
            value
                .split(|byte| *byte == b',')
                .any(|one| one.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
        };
        self.method() == "GET"
            && self.recent
            && self.framing == Body::None
            && self.all(Name::Upgrade).any(|value| has(value, "websocket"))
            && self.all(Name::Connection).any(|value| has(value, "upgrade"))
    }

    /// Reads a head from the front of these bytes; how many it takes, or `None` if more are needed. What was read
    /// before is forgotten.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadHead> {
        let mut room = [const { MaybeUninit::uninit() }; HEAD_FIELDS];
        let mut found = httparse::Request::new(&mut []);
        let config = httparse::ParserConfig::default();
        let used = match config.parse_request_with_uninit_headers(&mut found, bytes, &mut room) {
            Ok(httparse::Status::Complete(used)) if used <= HEAD_BYTES => used,
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(too_large(bytes)),
            Err(error) => return Err(bad(error)),
        };
        let head = bytes.get(..used).unwrap_or_default();
        // A lone line feed ends a line for some and not for others.
        let plain = memchr::memchr_iter(b'\n', head)
            .all(|at| at.checked_sub(1).is_some_and(|before| head.get(before) == Some(&b'\r')));
        if !plain {
            return Err(Malformed("a line must end with carriage return and line feed"));
        }
        self.clear(head);
        self.recent = found.version == Some(1);
        self.keeps = self.recent;
        self.method = self.line_with(found.method.unwrap_or_default());
        let target = self.line_with(found.path.unwrap_or_default());
        let authority = self.target(target)?;
        for field in found.headers.iter() {
            let name = Name::of(field.name.as_bytes());
            if let Some(first) = self.first.get_mut(name as usize).filter(|first| **first == 0) {
                // At most HEAD_FIELDS fields, which is below 255.
                *first = u8::try_from(self.fields.len() + 1).unwrap_or(u8::MAX);
            }
            self.fields.push((name, span(bytes, field.name.as_bytes(), field.value)));
        }
        self.host(authority)?;
        self.framing = self.body()?;
        self.connection();
        Ok(Some(used))
    }

    /// Lets go of what a long head took, before a wait that may be long.
    pub(crate) fn rest(&mut self) {
        self.text.clear();
        self.text.shrink_to(REST_BYTES);
        self.line.clear();
        self.line.shrink_to(REST_BYTES);
        self.fields.clear();
        self.fields.shrink_to(REST_FIELDS);
        self.first = [0; NAMES];
    }

    /// Adds a part of the request line; where it is then.
    fn line_with(&mut self, part: &str) -> (u32, u32) {
        // Below HEAD_BYTES, which fits.
        let end = |line: &String| u32::try_from(line.len()).unwrap_or(u32::MAX);
        let from = end(&self.line);
        self.line.push_str(part);
        (from, end(&self.line))
    }

    fn clear(&mut self, head: &[u8]) {
        self.line.clear();
        self.text.clear();
        self.text.extend_from_slice(head);
        self.fields.clear();
        self.first = [0; NAMES];
        (self.query, self.framing, self.expects) = (None, Body::None, false);
    }

    /// Origin form, absolute form, whose authority it gives, or `*` (RFC 9112 3.2).
    fn target(&mut self, place: (u32, u32)) -> Result<Option<(u32, u32)>, BadHead> {
        let target = self.text(place).as_bytes();
        if target.len() > TARGET_BYTES {
            return Err(BadHead::TargetTooLong);
        }
        if target.iter().any(|byte| !(b'!'..=b'~').contains(byte) || *byte == b'#') {
            return Err(Malformed("the request target must be of visible ASCII without a fragment"));
        }
        let authority = absolute(target);
        if authority.is_none() && !target.starts_with(b"/") && target != b"*" && self.method() != "CONNECT" {
            return Err(Malformed("the request target must begin with a slash"));
        }
        // Below TARGET_BYTES, which fits.
        let behind = |at: usize| place.0 + u32::try_from(at).unwrap_or(0);
        let from = authority.map_or(place.0, |(_, end)| behind(end));
        let authority = authority.map(|(start, end)| (behind(start), behind(end)));
        let mark = memchr::memchr(b'?', self.text((from, place.1)).as_bytes());
        let path_end = mark.map_or(place.1, |mark| from + u32::try_from(mark).unwrap_or(0));
        self.path = (from, path_end);
        self.query = mark.map(|_| (path_end + 1, place.1));
        Ok(authority)
    }

    /// Exactly one (HTTP/1.0: at most one), a host with or without a port, and none other than the target's
    /// (RFC 9112 3.2).
    fn host(&self, authority: Option<(u32, u32)>) -> Result<(), BadHead> {
        let authority = authority.map(|place| self.text(place).as_bytes());
        if !authority.is_none_or(host_is_valid) {
            return Err(Malformed("the host of the request target must be a host with or without a port"));
        }
        let mut hosts = self.all(Name::Host);
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host,
            (None, _) if !self.recent => return Ok(()),
            (None, _) => return Err(Malformed("HTTP/1.1 needs a Host header")),
            (Some(_), Some(_)) => return Err(Malformed("there must be one Host header")),
        };
        if !host_is_valid(host) {
            return Err(Malformed("the Host header must be a host with or without a port"));
        }
        match authority {
            Some(authority) if !authority.eq_ignore_ascii_case(host) => {
                Err(Malformed("the Host header must be the host of the request target"))
            }
            _ => Ok(()),
        }
    }

    /// RFC 9112 6: one length or chunks, never both, never a list, nothing else.
    fn body(&self) -> Result<Body, BadHead> {
        let mut codings = self.all(Name::TransferEncoding);
        let (coding, second) = (codings.next(), codings.next());
        let mut lengths = self.all(Name::ContentLength);
        let (length, other) = (lengths.next(), lengths.next());
        let framing = match (coding, length) {
            _ if second.is_some() || other.is_some() => {
                return Err(Malformed("there must be one Content-Length or one Transfer-Encoding"));
            }
            (Some(_), Some(_)) => {
                return Err(Malformed("Content-Length and Transfer-Encoding must not come together"));
            }
            (Some(_), None) if !self.recent => return Err(Malformed("HTTP/1.0 has no Transfer-Encoding")),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Body::Chunked,
            (Some(_), None) => return Err(Malformed("the only Transfer-Encoding is chunked")),
            (None, Some(length)) => match digits(length) {
                Some(0) => Body::None,
                Some(length) => Body::Length(length),
                None => return Err(Malformed("Content-Length must be a number")),
            },
            (None, None) => Body::None,
        };
        Ok(framing)
    }

    fn connection(&mut self) {
        let (mut close, mut keep) = (false, false);
        for value in self.all(Name::Connection) {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                close |= option.eq_ignore_ascii_case(b"close");
                keep |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        self.keeps = !close && (self.recent || keep);
        self.expects =
            self.recent && self.get(Name::Expect).is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue"));
    }
}

/// Which bound was broken: a target that never ends is one that is too long.
fn too_large(bytes: &[u8]) -> BadHead {
    let line = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    if line > TARGET_BYTES { BadHead::TargetTooLong } else { BadHead::TooLarge }
}

fn bad(error: httparse::Error) -> BadHead {
    match error {
        httparse::Error::HeaderName => Malformed("a header name must be a token, followed by a colon"),
        httparse::Error::HeaderValue => Malformed("a header value must not hold control characters"),
        httparse::Error::NewLine => Malformed("a line must end with carriage return and line feed"),
        httparse::Error::Version => BadHead::Version,
        _ => Malformed("the request line must be a method, a target and HTTP/1.1"),
    }
}

/// Where the authority of a target in absolute form begins, and where its path does.
fn absolute(target: &[u8]) -> Option<(usize, usize)> {
    let scheme = [b"http://".as_slice(), b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))?;
    let end = target.get(scheme.len()..)?.iter().position(|byte| *byte == b'/')?;
    Some((scheme.len(), scheme.len() + end))
}

/// RFC 3986 3.2.2 and 3.2.3, without user information: a name or address, or one in brackets, and digits behind a colon.
fn host_is_valid(host: &[u8]) -> bool {
    let (name, port) = if host.first() == Some(&b'[') {
        let Some(end) = memchr::memchr(b']', host) else { return false };
        let inner = host.get(1..end).unwrap_or_default();
        if inner.is_empty() || !inner.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')) {
            return false;
        }
        (b"x".as_slice(), host.get(end + 1..).unwrap_or_default())
    } else {
        let end = memchr::memchr(b':', host).unwrap_or(host.len());
        host.split_at(end)
    };
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(b);
    let port = match port.split_first() {
        None => true,
        Some((b':', digits)) => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    port && !name.is_empty() && name.iter().all(plain)
}

#[cfg(test)]
mod tests;
