//! Redaction of text that leaves: log lines and access records. One pass in linear time; what is masked is the value, so
//! that a reader still sees that there was one.

use crate::secret::MASK;
use regex::{Captures, Regex};
use std::borrow::Cow;
use std::sync::Arc;

/// Names whose values are always masked; a name that ends so counts too (`x-auth-token`).
const NAMES: &[&str] = &[
    "authorization",
    "cookie",
    "token",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "credential",
    "credentials",
    "session",
    "api[_-]?key",
    "access[_-]?key",
    "private[_-]?key",
    "signing[_-]?key",
    "encryption[_-]?key",
];

/// A signed token (RFC 7519): a JSON object in base64url, and what belongs to it.
const TOKEN: &str = r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?";
/// An API key of ours.
const KEY: &str = "mcp_[A-Za-z0-9_-]{8,}";
const PEM: &str = "-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*-----)?";
/// What follows an authentication scheme.
const SCHEME: &str =
    r#"(?i:(?-u:\b)(?P<scheme>(?:bearer|basic|digest|apikey)(?:\s|%20|\+)+)(?:\\.|[^\s"'\\,;&])+)"#;
/// Headers whose whole line is secret.
const HEADER: &str = r#"(?i:(?-u:\b)(?P<head>(?:proxy-)?authorization|(?:set-)?cookie)(?P<is>\\*["']?\s*[:=]\s*\\*["']?)[^"'\r\n\\]+)"#;

/// Names of one's own, and bytes of each.
const OWN_NAMES: usize = 64;
const OWN_BYTES: usize = 64;

/// What finds secrets in text; cheap to clone.
#[derive(Debug, Clone)]
pub struct Redactor {
    text: Arc<Regex>,
    name: Arc<Regex>,
}

/// Why there is no redactor.
#[derive(Debug, thiserror::Error)]
#[error("expected at most {OWN_NAMES} names of at most {OWN_BYTES} bytes each")]
pub struct TooMany;

impl Redactor {
    /// A redactor that also masks the values of these names (whole ones, in any case).
    ///
    /// # Errors
    /// [`TooMany`] names.
    pub fn new(names: &[String]) -> Result<Self, TooMany> {
        if names.len() > OWN_NAMES || names.iter().any(|name| name.len() > OWN_BYTES) {
            return Err(TooMany);
        }
        let own: Vec<String> = names.iter().map(|name| regex::escape(name.trim())).collect();
        let own: Vec<&str> = own.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        // A name that nothing has, so that the alternative is never empty.
        let own = if own.is_empty() { "\u{0}".to_owned() } else { own.join("|") };
        let name = format!("(?:[A-Za-z0-9_.-]*(?:{})|{own})", NAMES.join("|"));
        let named = format!(
            r#"(?i:(?-u:\b)(?P<name>{name})(?P<mark>\\*["']?\s*(?:[:=]|%3D|%3A)\s*)(?P<quote>\\*["'])?[^\s"'\\,;&)}}\]/]+)"#
        );
        // The bounds of our own names keep it below what the engine takes at most.
        let text = [TOKEN, KEY, PEM, SCHEME, HEADER, &named].join("|");
        let built = |pattern: &str| Regex::new(pattern).map(Arc::new).map_err(|_| TooMany);
        Ok(Self { text: built(&text)?, name: built(&format!("(?i)^(?:{name})$"))? })
    }

    /// The text with what looks like a secret masked: tokens, keys, what follows an authentication scheme, values of known
    /// names.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if harmless(text) {
            return Cow::Borrowed(text);
        }
        self.masked(text)
    }

    fn masked<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.text.replace_all(text, |found: &Captures<'_>| {
            let part = |name: &str| found.name(name).map_or("", |part| part.as_str());
            let kept = ["scheme", "head", "is", "name", "mark", "quote"].map(part).concat();
            kept + MASK
        })
    }

    /// A named value: masked whole if its name says so, else like any text.
    #[must_use]
    pub fn field<'t>(&self, name: &str, value: &'t str) -> Cow<'t, str> {
        if !value.is_empty() && self.name.is_match(name) { Cow::Borrowed(MASK) } else { self.text(value) }
    }
}

/// Whether a text has nothing that any of the patterns begins or parts with: most paths and all ids of ours, of which a
/// busy gateway writes a hundred thousand a second.
fn harmless(text: &str) -> bool {
    let (mut before, mut last) = (0, 0);
    text.bytes().all(|byte| {
        let part = byte <= b' ' || matches!(byte, b'=' | b':' | b'%' | b'+' | 0x7f..);
        let begin = matches!((before, last, byte), (b'e', b'y', b'J') | (b'c', b'p', b'_'));
        (before, last) = (last, byte);
        !part && !begin
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    fn redactor() -> Redactor {
        Redactor::new(&["iban".to_owned(), "x.y".to_owned(), " ".to_owned()]).unwrap()
    }

    #[test]
    fn masks_the_value_and_keeps_the_rest() {
        let redactor = redactor();
        for (text, wanted) in [
            ("GET /api/rest/shop/v1/items 200 12ms", "GET /api/rest/shop/v1/items 200 12ms"),
            ("/a/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.sig-_x/b", "/a/•••/b"),
            ("key mcp_0a1b2c3d_Zm9vYmFy.", "key •••."),
            ("sent Bearer abc.def, again", "sent Bearer •••, again"),
            ("Authorization: Basic dXNlcjpwYXNz\nnext: 1", "Authorization: •••\nnext: 1"),
            ("Cookie: a=b; access_token_cookie=c; d=e", "Cookie: •••"),
            (r#"{"password":"hunter2","user":"ana"}"#, r#"{"password":"•••","user":"ana"}"#),
            (r#"{\"client_secret\": \"s3\",\"n\":1}"#, r#"{\"client_secret\": \"•••\",\"n\":1}"#),
            ("/login?token=abc&next=/home", "/login?token=•••&next=/home"),
            ("/reset;x-auth-token=abc/page", "/reset;x-auth-token=•••/page"),
            ("API_KEY=k1 apikey: k2", "API_KEY=••• apikey: •••"),
            ("IBAN=DE00 miban=1 x.y=2 xzy=3", "IBAN=••• miban=1 x.y=••• xzy=3"),
            ("3 tokens: none", "3 tokens: none"),
        ] {
            assert_eq!(redactor.text(text), wanted);
            assert_eq!(redactor.text(wanted), wanted, "masked once is masked for good");
        }
    }

    #[test]
    fn a_field_is_masked_by_its_name() {
        let redactor = redactor();
        for (name, value, wanted) in [
            ("password", "a b", MASK),
            ("Iban", "DE 00", MASK),
            ("miban", "DE 00", "DE 00"),
            ("set-cookie", "a=b", MASK),
            ("path", "/x?secret=1", "/x?secret=•••"),
            ("token", "", ""),
        ] {
            assert_eq!(redactor.field(name, value), wanted, "{name}");
        }
    }

    #[test]
    fn any_name_may_be_listed() {
        for name in ["a b", "x#y", "(", "\u{e9}", "-", "]"] {
            let redactor = Redactor::new(&[name.to_owned()]).unwrap();
            assert_eq!(redactor.field(name, "v"), MASK, "{name}");
        }
        let many: Vec<String> = (0..OWN_NAMES).map(|n| format!("{n:0>OWN_BYTES$}")).collect();
        assert!(Redactor::new(&many).is_ok());
        assert!(Redactor::new(&["x".repeat(OWN_BYTES + 1)]).is_err());
    }

    static ONE: LazyLock<Redactor> = LazyLock::new(redactor);

    proptest! {
        #[test]
        fn never_panics_on_any_text(text in any::<String>(), name in any::<String>()) {
            drop(ONE.text(&text));
            drop(ONE.field(&name, &text));
        }

        #[test]
        fn never_panics_nor_skips_what_is_to_be_masked(
            parts in proptest::collection::vec(
                "eyJ|mcp_|bearer|token|iban|cookie|secret|[a-zA-Z0-9_./;,=:%+ -]{1,9}|\\PC{1,3}", 0..8,
            ),
        ) {
            let text = parts.concat();
            prop_assert_eq!(ONE.text(&text), ONE.masked(&text));
        }

        #[test]
        fn never_panics_nor_lets_a_planted_secret_through(
            before in "[ -~]{0,40}", after in "([ \"',;&][ -~]{0,40})?", secret in "[A-Za-z0-9]{12,40}",
            how in 0usize..6,
        ) {
            let planted = match how {
                0 => format!("Authorization: Bearer {secret}"),
                1 => format!(" token={secret}"),
                2 => format!(" \"password\": \"{secret}\""),
                3 => format!("mcp_0a1b2c3d_{secret}"),
                4 => format!("eyJ{secret}.{secret}.{secret}"),
                _ => format!(" iban={secret}"),
            };
            let redacted = ONE.text(&format!("{before} {planted}{after}")).into_owned();
            prop_assert!(!redacted.contains(&secret), "{}", redacted);
        }
    }
}
