//! Cross-origin rules of one API (spec/doorman.md 5.7): what a preflight and what an answer carries. An unset list of
//! origins is `*`, and an origin that only `*` lets in is never given credentials.

use gatehouse_corridor::snapshot::api;

/// Methods of an API that names none.
const METHODS: &str = "GET, POST, PUT, DELETE, PATCH, HEAD, OPTIONS";
/// An origin, or a list of names asked for, is sent back: bytes of either.
const ECHO_BYTES: usize = 1_024;

/// Receives header fields, names in lower case.
pub(crate) trait Fields: FnMut(&'static str, &[u8]) {}
impl<F: FnMut(&'static str, &[u8])> Fields for F {}

/// `https://*.suffix[:port]`.
#[derive(Debug)]
struct Below {
    /// `https://`.
    scheme: String,
    /// `.suffix[:port]`.
    suffix: String,
}

/// What a preflight asks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Preflight<'a> {
    /// `Origin`.
    pub(crate) origin: Option<&'a [u8]>,
    /// `Access-Control-Request-Method`.
    pub(crate) method: Option<&'a [u8]>,
    /// `Access-Control-Request-Headers`.
    pub(crate) headers: Option<&'a [u8]>,
}

/// Compiled rules of one API.
#[derive(Debug)]
pub(crate) struct Cors {
    any: bool,
    exact: Vec<String>,
    below: Vec<Below>,
    credentials: bool,
    /// `None`: `*`.
    methods: Option<String>,
    /// `None`: `*`.
    headers: Option<String>,
    expose: Option<String>,
}

/// How an origin is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Named,
    ByStar,
}

impl Cors {
    /// # Errors
    /// The field and what was expected.
    pub(crate) fn compile(rules: &api::Cors) -> Result<Self, String> {
        let mut cors = Self {
            any: rules.origins.is_none(),
            exact: Vec::new(),
            below: Vec::new(),
            credentials: rules.credentials,
            methods: methods(rules.methods.as_deref())?,
            headers: names("api_cors_allow_headers", rules.headers.as_deref())?.filter(|list| list != "*"),
            expose: names("api_cors_expose_headers", rules.expose.as_deref())?
                .filter(|list| !list.is_empty()),
        };
        for origin in rules.origins.iter().flatten() {
            cors.origin(origin)?;
        }
        Ok(cors)
    }

    fn origin(&mut self, text: &str) -> Result<(), String> {
        let wrong = || {
            format!(
                "api_cors_allow_origins: {text:?}: expected *, http(s)://host[:port] or http(s)://*.suffix"
            )
        };
        let text = text.trim().trim_end_matches('/').to_ascii_lowercase();
        if text == "*" {
            self.any = true;
            return Ok(());
        }
        let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        // A browser leaves the scheme's own port out.
        let host = host.strip_suffix(default_port).unwrap_or(host);
        let named = |host: &str| !host.is_empty() && host.bytes().all(is_host_byte);
        if !named(scheme) {
            return Err(wrong());
        }
        match host.strip_prefix("*.") {
            Some(suffix) if named(suffix) && !default_port.is_empty() => {
                self.below.push(Below { scheme: format!("{scheme}://"), suffix: format!(".{suffix}") });
            }
            None if named(host) => self.exact.push(format!("{scheme}://{host}")),
            _ => return Err(wrong()),
        }
        Ok(())
    }

    fn entry(&self, origin: &[u8]) -> Option<Entry> {
        // A browser sends scheme and host in lower case; `null` is nobody's name.
        let named = self.exact.iter().any(|exact| exact.as_bytes() == origin)
            || self.below.iter().any(|below| below.has(origin));
        let echoed =
            !origin.is_empty() && origin.len() <= ECHO_BYTES && origin.iter().all(u8::is_ascii_graphic);
        match named {
            true => Some(Entry::Named),
            false => (self.any && echoed).then_some(Entry::ByStar),
        }
    }

    /// Writes what every answer carries; tells whether the page may send credentials, `None` if it may not read it.
    fn allow(&self, origin: Option<&[u8]>, out: &mut impl Fields) -> Option<bool> {
        out("vary", b"Origin");
        let origin = origin?;
        let entry = self.entry(origin)?;
        out("access-control-allow-origin", origin);
        let credentials = self.credentials && entry == Entry::Named;
        if credentials {
            out("access-control-allow-credentials", b"true");
        }
        Some(credentials)
    }

    /// Fields of the 204 that answers `OPTIONS`.
    pub(crate) fn preflight(&self, asked: Preflight<'_>, out: &mut impl Fields) {
        let Some(credentials) = self.allow(asked.origin, out) else { return };
        if let Some(method) = asked.method {
            match &self.methods {
                Some(methods) => out("access-control-allow-methods", methods.as_bytes()),
                // With credentials `*` is but a method of that name.
                None if credentials && is_list(method) => out("access-control-allow-methods", method),
                None => out("access-control-allow-methods", b"*"),
            }
        }
        if let Some(headers) = asked.headers {
            match &self.headers {
                Some(list) => out("access-control-allow-headers", list.as_bytes()),
                // `*` covers neither a call with credentials nor ever `Authorization`.
                None if is_list(headers) && (credentials || asks_authorization(headers)) => {
                    out("access-control-allow-headers", headers);
                }
                None => out("access-control-allow-headers", b"*"),
            }
        }
    }

    /// Fields of any other answer; what the upstream sent in [`is_ours`] is to be left out.
    pub(crate) fn answer(&self, origin: Option<&[u8]>, out: &mut impl Fields) {
        if let (Some(_), Some(expose)) = (self.allow(origin, out), &self.expose) {
            out("access-control-expose-headers", expose.as_bytes());
        }
    }
}

/// Whether a field of the upstream's answer, name in lower case, would contradict the gateway's.
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with("access-control-")
}

impl Below {
    fn has(&self, origin: &[u8]) -> bool {
        origin
            .strip_prefix(self.scheme.as_bytes())
            .and_then(|host| host.strip_suffix(self.suffix.as_bytes()))
            .is_some_and(|labels| {
                !labels.is_empty() && labels.iter().all(|byte| is_host_byte(*byte) && *byte != b':')
            })
    }
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]+".contains(&byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A list of names that may go into an answer.
fn is_list(text: &[u8]) -> bool {
    text.len() <= ECHO_BYTES && text.iter().all(|byte| is_token_byte(*byte) || b", ".contains(byte))
}

fn asks_authorization(headers: &[u8]) -> bool {
    headers.split(|byte| *byte == b',').any(|name| name.trim_ascii().eq_ignore_ascii_case(b"authorization"))
}

/// A list as a field's value; `*` in it stands for all.
fn names(field: &str, list: Option<&[String]>) -> Result<Option<String>, String> {
    let Some(list) = list else { return Ok(None) };
    let trimmed: Vec<_> = list.iter().map(|name| name.trim()).collect();
    if let Some(bad) = trimmed.iter().find(|name| name.is_empty() || !name.bytes().all(is_token_byte)) {
        return Err(format!("{field}: {bad:?}: expected a name, or *"));
    }
    Ok(Some(if trimmed.contains(&"*") { "*".into() } else { trimmed.join(", ") }))
}

fn methods(list: Option<&[String]>) -> Result<Option<String>, String> {
    let Some(list) = names("api_cors_allow_methods", list)? else { return Ok(Some(METHODS.into())) };
    let mut list = list.to_ascii_uppercase();
    if list == "*" {
        return Ok(None);
    }
    if !list.split(", ").any(|method| method == "OPTIONS") {
        list.push_str(if list.is_empty() { "OPTIONS" } else { ", OPTIONS" });
    }
    Ok(Some(list))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(text: &str) -> Option<Vec<String>> {
        (text != "unset").then(|| text.split_whitespace().map(str::to_owned).collect())
    }

    fn cors(origins: &str, credentials: bool) -> Cors {
        Cors::compile(&api::Cors { origins: list(origins), credentials, ..api::Cors::default() }).unwrap()
    }

    fn answer(cors: &Cors, origin: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut out = |name: &'static str, value: &[u8]| {
            found.push(format!("{}={}", name.replace("access-control-", ""), String::from_utf8_lossy(value)));
        };
        cors.answer((!origin.is_empty()).then_some(origin.as_bytes()), &mut out);
        found
    }

    fn preflight(cors: &Cors, origin: &str, method: &str, headers: &str) -> String {
        let mut found = Vec::new();
        let mut out = |name: &'static str, value: &[u8]| {
            found.push(format!("{}={}", name.replace("access-control-", ""), String::from_utf8_lossy(value)));
        };
        let some = |text: &'static str| (!text.is_empty()).then_some(text.as_bytes());
        let leaked = |text: &str| -> &'static str { String::from(text).leak() };
        let asked = Preflight {
            origin: some(leaked(origin)),
            method: some(leaked(method)),
            headers: some(leaked(headers)),
        };
        cors.preflight(asked, &mut out);
        found.join("; ")
    }

    #[test]
    fn origins_are_let_in() {
        for (rules, origin, expected) in [
            ("unset", "https://a.b", true),
            ("*", "http://x:8080", true),
            ("*", "null", true),
            ("*", "http://x y", false),
            ("*", "", false),
            ("https://a.b", "https://a.b", true),
            ("https://A.b:443/", "https://a.b", true),
            ("https://a.b", "http://a.b", false),
            ("https://a.b", "https://a.b:8443", false),
            ("https://a.b", "https://a.bc", false),
            ("https://a.b", "null", false),
            ("http://localhost:3000 https://a.b", "http://localhost:3000", true),
            ("https://*.a.b", "https://x.y.a.b", true),
            ("https://*.a.b", "https://a.b", false),
            ("https://*.a.b", "https://.a.b", false),
            ("https://*.a.b", "https://xa.b", false),
            ("https://*.a.b", "http://x.a.b", false),
            ("https://*.a.b", "https://evil/x.a.b", false),
            ("https://*.a.b", "https://evil@x.a.b", false),
            ("https://*.a.b", "https://evil:1.a.b", false),
            ("https://*.a.b:8443", "https://x.a.b:8443", true),
            ("https://*.a.b:8443", "https://x.a.b", false),
            ("", "https://a.b", false),
        ] {
            let mut expected_fields = vec!["vary=Origin".to_owned()];
            expected_fields.extend(expected.then(|| format!("allow-origin={origin}")));
            assert_eq!(answer(&cors(rules, false), origin), expected_fields, "{rules} {origin}");
        }
    }

    #[test]
    fn credentials_never_by_star() {
        let has = |rules: &str| {
            answer(&cors(rules, true), "https://a.b").contains(&"allow-credentials=true".to_owned())
        };
        assert!(has("https://a.b"));
        assert!(has("* https://a.b"));
        assert!(has("https://*.b"));
        assert!(!has("*"));
        assert!(!has("unset"));
        assert!(!has("https://c.d"));
    }

    #[test]
    fn preflights() {
        let plain = cors("https://a.b", false);
        let all = METHODS;
        for (cors, origin, method, headers, expected) in [
            (
                &plain,
                "https://a.b",
                "PUT",
                "x-a, authorization",
                format!(
                    "vary=Origin; allow-origin=https://a.b; allow-methods={all}; allow-headers=x-a, authorization"
                ),
            ),
            (
                &plain,
                "https://a.b",
                "PUT",
                "x-a",
                format!("vary=Origin; allow-origin=https://a.b; allow-methods={all}; allow-headers=*"),
            ),
            (&plain, "https://a.b", "", "", "vary=Origin; allow-origin=https://a.b".into()),
            (&plain, "https://x.y", "PUT", "x-a", "vary=Origin".into()),
            (&plain, "", "PUT", "x-a", "vary=Origin".into()),
            (
                &cors("https://a.b", true),
                "https://a.b",
                "GET",
                "x-a",
                format!(
                    "vary=Origin; allow-origin=https://a.b; allow-credentials=true; allow-methods={all}; allow-headers=x-a"
                ),
            ),
        ] {
            assert_eq!(preflight(cors, origin, method, headers), expected);
        }
        let rules = api::Cors {
            methods: list("get post"),
            headers: list("X-A X-B"),
            expose: list("X-C"),
            ..api::Cors::default()
        };
        let set = Cors::compile(&rules).unwrap();
        assert_eq!(
            preflight(&set, "https://a.b", "GET", "x-z"),
            "vary=Origin; allow-origin=https://a.b; allow-methods=GET, POST, OPTIONS; allow-headers=X-A, X-B"
        );
        assert_eq!(answer(&set, "https://a.b").last().unwrap(), "expose-headers=X-C");
        let star = Cors::compile(&api::Cors {
            methods: list("*"),
            origins: list("https://a.b"),
            credentials: true,
            ..api::Cors::default()
        });
        assert!(preflight(&star.unwrap(), "https://a.b", "PURGE", "").ends_with("allow-methods=PURGE"));
        assert!(is_ours("access-control-max-age") && !is_ours("vary"));
    }

    #[test]
    fn says_what_is_wrong() {
        for origin in [
            "null",
            "a.b",
            "https://",
            "https://a/b",
            "https://*",
            "https://*.",
            "https://a*b",
            "ht tp://a",
            "x://*.a",
        ] {
            let rules = api::Cors { origins: Some(vec![origin.into()]), ..api::Cors::default() };
            let error = Cors::compile(&rules).unwrap_err();
            assert!(error.starts_with("api_cors_allow_origins:"), "{error}");
        }
        let rules = api::Cors { headers: Some(vec!["a\r\nb".into()]), ..api::Cors::default() };
        assert!(Cors::compile(&rules).unwrap_err().starts_with("api_cors_allow_headers"));
    }

    proptest! {
        #[test]
        fn never_panics_nor_sends_back_a_control_byte(
            rule in ".{0,30}", origin in any::<Vec<u8>>(), asked in any::<Vec<u8>>(), credentials in any::<bool>(),
        ) {
            for origins in [None, Some(vec![rule])] {
                let Ok(cors) = Cors::compile(&api::Cors { origins, credentials, ..api::Cors::default() }) else { continue };
                let mut clean = true;
                let mut out = |_: &'static str, value: &[u8]| clean &= value.iter().all(|b| (32..127).contains(b));
                let asked = Preflight { origin: Some(&origin), method: Some(&asked), headers: Some(&asked) };
                cors.preflight(asked, &mut out);
                cors.answer(Some(&origin), &mut out);
                prop_assert!(clean);
            }
        }
    }
}
