//! Secrets are taken out of text before it leaves: log lines, records, messages. One pass from left to right, each byte
//! looked at a bounded number of times. Where it is in doubt how far a secret goes, more is taken out rather than less.

mod value;

use crate::secret::MASK;
use std::borrow::Cow;
use value::Shape;

/// Bytes of a text that are kept.
pub const TEXT_BYTES: usize = 65_536;
/// Names one redactor may be given.
const NAMES: usize = 64;
/// Bytes of a name.
const NAME_BYTES: usize = 64;
/// Blanks between a name, its separator and its value.
const BLANKS: usize = 8;
/// Headers whose values end with their line.
const LINES: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];
/// Names whose values are secret, also as the end of longer ones: `db_password`.
const KNOWN: [&str; 22] = [
    "accesstoken",
    "apikey",
    "api-key",
    "api_key",
    "authorization",
    "clientsecret",
    "cookie",
    "csrf",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "private-key",
    "private_key",
    "privatekey",
    "pwd",
    "refreshtoken",
    "secret",
    "session",
    "sessionid",
    "token",
    "set-cookie",
];
const API_KEY: &[u8] = b"mcp_";
/// What a JSON object's beginning is in base64.
const JWT: &[u8] = b"eyJ";
/// Bytes from which a text that begins like a token is one.
const JWT_BYTES: usize = 16;
/// Bytes within which a token's first dot is looked for.
const HEADER_BYTES: usize = 256;
const SCHEMES: [&[u8]; 3] = [b"bearer", b"basic", b"digest"];
/// Words that follow a scheme in prose.
const PROSE: [&[u8]; 8] =
    [b"auth", b"authentication", b"authorization", b"credentials", b"realm", b"scheme", b"token", b"tokens"];

/// Takes secrets out of text.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    names: Vec<String>,
}

impl Redactor {
    /// A redactor that also knows these names of fields, in any case, whole or as the end of a longer name behind `_`, `-`
    /// or `.`.
    ///
    /// # Errors
    /// The name and what was expected.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, String> {
        let mut own = Vec::new();
        for name in names.into_iter().map(str::trim).filter(|name| !name.is_empty()) {
            if name.len() > NAME_BYTES || !name.bytes().all(is_name) {
                return Err(format!("{name:?}: expected a field name of letters, digits, _, - and ."));
            }
            if own.len() >= NAMES {
                return Err(format!("{name:?}: expected at most {NAMES} names"));
            }
            own.push(name.to_ascii_lowercase());
        }
        Ok(Self { names: own })
    }

    /// Whether the value of a field of this name is secret as a whole.
    #[must_use]
    pub fn is_secret(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let is = |known: &str| {
            let Some(at) = name.len().checked_sub(known.len()) else { return false };
            let (before, end) = name.split_at(at);
            end.eq_ignore_ascii_case(known.as_bytes())
                && before.last().is_none_or(|byte| b"_-.".contains(byte))
        };
        KNOWN.iter().any(|known| is(known)) || self.names.iter().any(|known| is(known))
    }

    /// The text without secrets, each replaced by [`MASK`]; what is beyond [`TEXT_BYTES`] is cut off.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let kept = text.get(..text.floor_char_boundary(TEXT_BYTES)).unwrap_or_default();
        let bytes = kept.as_bytes();
        let (mut out, mut copied, mut at) = (String::new(), 0, 0);
        while let Some(byte) = bytes.get(at) {
            let found = match byte {
                b'=' | b':' | b',' | b'%' => self.field(bytes, at).or_else(|| userinfo(bytes, at)),
                b'e' => token(bytes, at),
                b'm' => api_key(bytes, at),
                b'g' => opaque_token(bytes, at),
                b'b' | b'B' | b'd' | b'D' => credentials(bytes, at),
                _ => None,
            };
            if let Some((from, to)) = found.filter(|(from, to)| from < to && *from >= copied) {
                out.push_str(kept.get(copied..from).unwrap_or_default());
                out.push_str(MASK);
                (copied, at) = (to, to);
            } else {
                at += 1;
            }
        }
        if copied == 0 && kept.len() == text.len() {
            return Cow::Borrowed(text);
        }
        out.push_str(kept.get(copied..).unwrap_or_default());
        if kept.len() < text.len() {
            out.push('…');
        }
        Cow::Owned(out)
    }

    /// The value behind the separator at `at`, if the name before it is a secret's.
    fn field(&self, text: &[u8], at: usize) -> Option<(usize, usize)> {
        let rest = text.get(at..)?;
        let separator = match rest.first()? {
            b'%' if rest
                .get(1..3)
                .is_some_and(|code| code.eq_ignore_ascii_case(b"3d") || code == b"3A" || code == b"3a") =>
            {
                3
            }
            b'%' => return None,
            b'=' | b':' => rest.iter().take(2).take_while(|byte| b"=:>".contains(byte)).count(),
            _ => 1,
        };
        let is_pair = rest.first() == Some(&b',');
        let blanks = |bytes: &[u8]| {
            bytes.iter().take(BLANKS).take_while(|byte| **byte == b' ' || **byte == b'\t').count()
        };
        let start = at + separator + blanks(rest.get(separator..)?);
        let Name { name, quoted, within } = name_before(text.get(..at)?)?;
        // Of two items only a quoted pair is a name and its value: `("authorization", "…")`.
        if is_pair && !(quoted && value::quote(text.get(start..)?).is_some()) {
            return None;
        }
        let name = std::str::from_utf8(name).ok().filter(|name| self.is_secret(name))?;
        let line = LINES.iter().any(|known| name.eq_ignore_ascii_case(known));
        Some(value::inside(text, start, value::end(text, start, Shape { line, within })))
    }
}

struct Name<'t> {
    name: &'t [u8],
    /// In quotes by itself.
    quoted: bool,
    /// The quote that opens before it and has not closed.
    within: Option<u8>,
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

/// The name that a text ends with, blanks and a quote behind it left out.
fn name_before(text: &[u8]) -> Option<Name<'_>> {
    let trailing = |bytes: &[u8], most: usize, is: &dyn Fn(u8) -> bool| {
        bytes.iter().rev().take(most).take_while(|byte| is(**byte)).count()
    };
    let cut = |bytes: &[u8], count: usize| bytes.len().saturating_sub(count);
    let text = text.get(..cut(text, trailing(text, BLANKS, &|byte| byte == b' ' || byte == b'\t')))?;
    let unquoted = match text.last() {
        Some(mark) if b"\"'`]".contains(mark) => text.get(..cut(text, 1))?,
        _ => text,
    };
    let quoted = unquoted.len() < text.len();
    let unquoted = unquoted.get(..cut(unquoted, trailing(unquoted, 4, &|byte| byte == b'\\')))?;
    let length = trailing(unquoted, NAME_BYTES * 2, &is_name);
    let (before, name) = unquoted.split_at_checked(cut(unquoted, length))?;
    // `%3Ftoken%3D`: the escape's digits are none of the name's.
    let escaped = before.last() == Some(&b'%')
        && name.get(..2).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
    let name = if escaped { name.get(2..)? } else { name };
    let within = before.last().copied().filter(|mark| !quoted && b"\"'`".contains(mark));
    (!name.is_empty()).then_some(Name { name, quoted, within })
}

fn run(text: &[u8], is: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|byte| is(**byte)).count()
}

/// Whether a word begins here.
fn begins(text: &[u8], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| text.get(before)).is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

fn token(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = text.get(at..)?.strip_prefix(JWT)?;
    let is = |byte| is_name(byte) || b"+/=~".contains(&byte);
    // In the middle of a word only a dot soon behind it tells; no further, or long words would be looked at again and again.
    let whole = begins(text, at)
        || rest.iter().take(HEADER_BYTES).take_while(|byte| is(**byte)).any(|byte| *byte == b'.');
    if !whole {
        return None;
    }
    let end = JWT.len() + run(rest, is);
    (end >= JWT_BYTES).then_some((at, at + end))
}

fn api_key(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = text.get(at..)?.strip_prefix(API_KEY)?;
    let length = run(rest, |byte| is_name(byte) || b"+/=~".contains(&byte));
    (length > 0).then_some((at, at + API_KEY.len() + length))
}

/// `gh_KIND_…`: see [`crate::opaque`].
fn opaque_token(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = text.get(at..)?;
    let kind = crate::opaque::KINDS.iter().find(|kind| rest.starts_with(kind.as_bytes()))?;
    let length = run(rest.get(kind.len()..)?, |byte| is_name(byte) || b"+/=~".contains(&byte));
    (length > 0).then_some((at, at + kind.len() + length))
}

/// What follows `Bearer` and its like.
fn credentials(text: &[u8], at: usize) -> Option<(usize, usize)> {
    // What is cheap to see comes first: behind it a word of any length is looked at.
    if !begins(text, at) {
        return None;
    }
    let rest = text.get(at..)?;
    let scheme = SCHEMES
        .iter()
        .find(|scheme| rest.get(..scheme.len()).is_some_and(|word| word.eq_ignore_ascii_case(scheme)))?;
    let rest = rest.get(scheme.len()..)?;
    let encoded = if rest.starts_with(b"%20") { 3 } else { 0 };
    let blanks = run(rest, |byte| b" \t+".contains(&byte)).max(encoded);
    if blanks == 0 {
        return None;
    }
    let rest = rest.get(blanks..)?;
    let length = run(rest, |byte| !byte.is_ascii_whitespace() && !b"\"'`<>".contains(&byte) && byte != b'\\');
    let word = rest.get(..length)?;
    let bare = word.get(..run(word, |byte| byte.is_ascii_alphabetic()))?;
    let tail = word.get(bare.len()..)?;
    let prose = tail.iter().all(|byte| b".,:;!?)".contains(byte))
        && (bare.is_empty() || PROSE.iter().any(|known| bare.eq_ignore_ascii_case(known)));
    let from = at + scheme.len() + blanks;
    (!prose).then_some((from, from + length))
}

/// `user:password` in `scheme://user:password@host`.
fn userinfo(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = text.get(at..)?.strip_prefix(b"://")?;
    let authority =
        rest.get(..run(rest, |byte| !byte.is_ascii_whitespace() && !b"/?#\"'`<>\\".contains(&byte)))?;
    let end = authority.iter().rposition(|byte| *byte == b'@')?;
    Some((at + 3, at + 3 + end))
}

#[cfg(test)]
mod tests;
