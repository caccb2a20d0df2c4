//! Changes to requests and answers (spec/doorman.md 5.9): header fields, the query, a JSON body, the status.

pub(crate) mod body;
mod fields;
pub(crate) mod path;

use body::{BodyChanges, BodyError};
use fields::{Changes, Fate};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use std::fmt::Display;

/// Fields that each side makes for itself (framing, RFC 9110 7.6.1) or that say who calls: no rule may touch them.
const FIXED: [&str; 27] = [
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "request_id",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-backend-time",
    "x-body-length",
    "x-doorman-user",
    "x-gateway-time",
    "x-real-ip",
    "x-request-id",
    "x-user-email",
    "request-id",
];
const FIXED_PREFIXES: [&str; 4] = ["access-control-", "sec-websocket-", "x-forwarded-", "x-ratelimit-"];
/// What is escaped in a query: all but the unreserved (RFC 3986 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Statuses whose answers have a framing of their own.
const BARE: [u16; 3] = [204, 205, 304];

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// To the upstream.
    Request,
    /// To the client.
    Response,
}

/// Compiled changes of one API and side.
#[derive(Debug, Default)]
pub(crate) struct Transform {
    headers: Changes,
    query: Changes,
    body: Option<BodyChanges>,
    status: Vec<(u16, u16)>,
}

impl Transform {
    /// Takes the object itself, or one that holds it below `request` or `response`.
    ///
    /// # Errors
    /// The field and what was expected.
    pub(crate) fn compile(rules: &Value, side: Side) -> Result<Self, String> {
        let (field, key) = match side {
            Side::Request => ("api_request_transform", "request"),
            Side::Response => ("api_response_transform", "response"),
        };
        Self::parts(rules.get(key).unwrap_or(rules), side).map_err(|error| format!("{field}: {error}"))
    }

    fn parts(rules: &Value, side: Side) -> Result<Self, String> {
        let mut transform = Self::default();
        let rules = rules.as_object().ok_or("expected an object")?;
        for (key, rules) in rules {
            match (key.as_str(), rules, side) {
                (_, Value::Null, _) => {}
                ("headers", Value::Object(rules), _) => {
                    transform.headers = Changes::compile("headers", rules, header_name, header_value)?;
                }
                ("query", Value::Object(rules), Side::Request) => {
                    let any = |text: &str| Ok(text.to_owned());
                    transform.query = Changes::compile("query", rules, query_name, any)?;
                }
                ("body", Value::Object(rules), _) => {
                    transform.body = Some(BodyChanges::compile(rules)?).filter(|_| !rules.is_empty());
                }
                ("status_map", Value::Object(rules), Side::Response) => {
                    let pairs = rules.iter().map(|(from, to)| {
                        Ok((status(from.parse().ok())?, status(to.as_u64()).and_then(target)?))
                    });
                    transform.status = pairs
                        .collect::<Result<_, &str>>()
                        .map_err(|expected| format!("status_map: expected {expected}"))?;
                }
                ("headers" | "query" | "body" | "status_map", ..) => {
                    return Err(format!(
                        "{key}: expected an object, and query in requests, status_map in answers only"
                    ));
                }
                _ => return Err(format!("{key}: expected headers, query, body or status_map")),
            }
        }
        Ok(transform)
    }

    /// Whether header fields change.
    pub(crate) fn changes_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    /// Whether the body, if it is JSON, is to be collected for [`Transform::body`].
    pub(crate) fn changes_body(&self) -> bool {
        self.body.is_some()
    }

    /// Passes on fields, names in any case, as they are to be.
    pub(crate) fn headers<'f>(
        &'f self,
        fields: impl Iterator<Item = (&'f str, &'f [u8])> + Clone,
        mut out: impl FnMut(&'f str, &'f [u8]),
    ) {
        let names = fields.clone().map(|(name, _)| name);
        let fates = self.headers.fates(names, |name, rule| name.eq_ignore_ascii_case(rule));
        for ((name, value), fate) in fields.zip(fates) {
            match fate {
                Fate::Keep => out(name, value),
                Fate::Rename(to) => out(to, value),
                Fate::Drop => {}
            }
        }
        for (name, value) in self.headers.added() {
            out(name, value.as_bytes());
        }
    }

    /// The query, without its `?`, as it is to be; what no rule names stays byte for byte. `None`: as it was.
    pub(crate) fn query(&self, query: &str) -> Option<String> {
        if self.query.is_empty() {
            return None;
        }
        let pairs = query.split('&').filter(|_| !query.is_empty());
        let decoded: Vec<String> = pairs.clone().map(|pair| decoded(name_of(pair))).collect();
        let fates = self.query.fates(decoded.iter().map(String::as_str), |name, rule| name == rule);
        let mut out = String::with_capacity(query.len());
        let mut first = true;
        let mut push = |parts: [&str; 2]| {
            if !std::mem::take(&mut first) {
                out.push('&');
            }
            parts.iter().for_each(|part| out.push_str(part));
        };
        for (pair, fate) in pairs.zip(fates) {
            match fate {
                Fate::Keep => push([pair, ""]),
                Fate::Rename(to) => {
                    push([&encoded(to).to_string(), pair.get(name_of(pair).len()..).unwrap_or_default()])
                }
                Fate::Drop => {}
            }
        }
        for (name, value) in self.query.added() {
            push([&format!("{}={}", encoded(name), encoded(value)), ""]);
        }
        Some(out)
    }

    /// The changed body, of at most `most` bytes; the caller has seen to it that it is JSON and has no content coding.
    ///
    /// # Errors
    /// It is not JSON after all, or grows too long.
    pub(crate) fn body(&self, body: &[u8], most: usize) -> Option<Result<Vec<u8>, BodyError>> {
        self.body.as_ref().map(|changes| changes.apply(body, most))
    }

    /// The status a client sees.
    pub(crate) fn status(&self, status: u16) -> u16 {
        self.status.iter().find(|(from, _)| *from == status).map_or(status, |(_, to)| *to)
    }
}

/// Whether a media type is JSON: `application/json`, `text/json`, `application/problem+json` and such.
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

fn header_name(text: &str) -> Result<String, String> {
    let name = text.trim().to_ascii_lowercase();
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!("{text:?}: expected a header name"));
    }
    if FIXED.contains(&name.as_str()) || FIXED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(format!("{name}: expected a header that the gateway does not make itself"));
    }
    Ok(name)
}

fn header_value(text: &str) -> Result<String, String> {
    // The value is not repeated: it may be a key.
    if text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 127)) {
        Ok(text.trim().to_owned())
    } else {
        Err("expected a value without control characters".into())
    }
}

fn query_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("expected a name".into()) } else { Ok(text.to_owned()) }
}

fn status(number: Option<u64>) -> Result<u16, &'static str> {
    let status = number.and_then(|number| u16::try_from(number).ok());
    status
        .filter(|status| (200..600).contains(status) && *status != 304)
        .ok_or("statuses from 200 to 599, not 304")
}

fn target(status: u16) -> Result<u16, &'static str> {
    if BARE.contains(&status) { Err("no status that has no body as target") } else { Ok(status) }
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// A name with `+` and `%xx` read; what is no escape stays.
fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

fn encoded(text: &str) -> impl Display {
    utf8_percent_encode(text, UNRESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn request(rules: &Value) -> Transform {
        Transform::compile(rules, Side::Request).unwrap()
    }

    fn headers(rules: &Value, fields: &[(&str, &str)]) -> String {
        let transform = request(rules);
        let mut found = Vec::new();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        transform.headers(fields.iter().copied(), |name, value| {
            found.push(format!("{name}={}", String::from_utf8_lossy(value)));
        });
        found.join(" ")
    }

    #[test]
    fn header_fields_change() {
        let sent = [("X-A", "1"), ("X-B", "2"), ("x-a", "3"), ("X-C", "4")];
        for (rules, expected) in [
            (json!({}), "X-A=1 X-B=2 x-a=3 X-C=4"),
            (json!({"remove": ["x-a"]}), "X-B=2 X-C=4"),
            (json!({"rename": {"X-A": "X-N"}}), "x-n=1 X-B=2 x-n=3 X-C=4"),
            (json!({"rename": {"X-A": "X-B"}}), "x-b=1 x-b=3 X-C=4"),
            (json!({"rename": {"X-No": "X-B"}}), "X-A=1 X-B=2 x-a=3 X-C=4"),
            (json!({"remove": ["x-a"], "rename": {"X-A": "X-B"}}), "X-B=2 X-C=4"),
            (json!({"rename": {"X-A": "X-B", "X-B": "X-D"}}), "x-b=1 x-d=2 x-b=3 X-C=4"),
            (json!({"add": {"x-b": "new", "X-N": 5}}), "X-A=1 x-a=3 X-C=4 x-n=5 x-b=new"),
            (json!({"rename": {"X-A": "X-B"}, "add": {"X-B": true}}), "X-C=4 x-b=true"),
        ] {
            let mut found: Vec<String> =
                headers(&json!({"headers": rules}), &sent).split(' ').map(str::to_owned).collect();
            let mut expected: Vec<&str> = expected.split(' ').collect();
            // What is added has no order of its own.
            let kept = found.len() - rules.get("add").map_or(0, |add| add.as_object().unwrap().len());
            found[kept..].sort();
            expected[kept..].sort_unstable();
            assert_eq!(found, expected, "{rules}");
        }
    }

    #[test]
    fn queries_change() {
        for (rules, query, expected) in [
            (json!({}), "a=1&b", None),
            (json!({"remove": ["a"]}), "a=1&b=%2f+&a=2&b=x&&c", Some("b=%2f+&b=x&&c")),
            (json!({"remove": ["a b"]}), "a+b=1&a%20b&a%2Bb=2", Some("a%2Bb=2")),
            (json!({"rename": {"a": "n n"}}), "b=0&a=%41%zz&a&n%20n=old", Some("b=0&n%20n=%41%zz&n%20n")),
            (json!({"add": {"k": "a&b=c"}}), "k=old&x=1", Some("x=1&k=a%26b%3Dc")),
            (json!({"add": {"k": 1}}), "", Some("k=1")),
            (json!({"remove": ["a"]}), "a=1", Some("")),
        ] {
            assert_eq!(
                request(&json!({"query": rules})).query(query).as_deref(),
                expected,
                "{rules} {query}"
            );
        }
    }

    #[test]
    fn whole_transforms() {
        let rules =
            json!({"request": {"headers": {"add": {"x-a": "1"}}, "body": {"wrap": "d"}, "query": null}});
        let transform = request(&rules);
        assert!(transform.changes_headers() && transform.changes_body());
        assert_eq!(transform.body(b"1", 99).unwrap().unwrap(), br#"{"d":1}"#);
        assert!(!request(&json!({"body": {}})).changes_body());
        assert!(request(&json!({})).body(b"1", 9).is_none());
        let answer =
            Transform::compile(&json!({"status_map": {"500": 502, "200": 201}}), Side::Response).unwrap();
        assert_eq!([500, 502, 200, 404].map(|status| answer.status(status)), [502, 502, 201, 404]);
        assert!(["application/json", "Application/Problem+JSON; charset=utf-8"].into_iter().all(is_json));
        assert!(!["text/plain", "", "application/jsonp"].into_iter().any(is_json));
    }

    #[test]
    fn says_what_is_wrong() {
        for (rules, side, part) in [
            (json!([]), Side::Request, "api_request_transform: expected an object"),
            (json!({"header": {}}), Side::Request, "header: expected headers"),
            (json!({"headers": []}), Side::Request, "headers: expected an object"),
            (json!({"query": {}}), Side::Response, "api_response_transform: query"),
            (json!({"status_map": {}}), Side::Request, "status_map"),
            (json!({"status_map": {"500": 99}}), Side::Response, "200 to 599"),
            (json!({"status_map": {"500": 204}}), Side::Response, "no body"),
            (json!({"status_map": {"304": 200}}), Side::Response, "not 304"),
            (
                json!({"headers": {"add": {"Transfer-Encoding": "chunked"}}}),
                Side::Request,
                "headers.add: transfer-encoding",
            ),
            (
                json!({"headers": {"remove": ["content-length"]}}),
                Side::Response,
                "headers.remove: content-length",
            ),
            (json!({"headers": {"rename": {"x": "Host"}}}), Side::Request, "headers.rename: host"),
            (json!({"headers": {"rename": {"X-Request-ID": "x"}}}), Side::Request, "x-request-id"),
            (json!({"headers": {"add": {"X-Forwarded-For": "1.2.3.4"}}}), Side::Request, "x-forwarded-for"),
            (json!({"headers": {"add": {"a b": "1"}}}), Side::Request, "expected a header name"),
            (json!({"headers": {"add": {"x": "a\r\nb: c"}}}), Side::Request, "control characters"),
            (json!({"headers": {"add": {"x": []}}}), Side::Request, "expected text"),
            (json!({"headers": {"set": {}}}), Side::Request, "headers.set: expected remove"),
            (json!({"query": {"remove": [""]}}), Side::Request, "query.remove: expected a name"),
        ] {
            let error = Transform::compile(&rules, side).unwrap_err();
            assert!(error.contains(part), "{rules}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_leaves_other_pairs(query in r"[ab=&%+0-9é]{0,30}") {
            let rules = json!({"query": {"remove": ["a"], "rename": {"b": "c"}, "add": {"d": "ü"}}});
            let changed = request(&rules).query(&query).unwrap();
            prop_assert!(changed.ends_with("d=%C3%BC"));
            let left = |text: &str| text.split('&').filter(|pair| {
                !["a", "b", "c", "d"].contains(&decoded(name_of(pair)).as_str())
            }).map(str::to_owned).collect::<Vec<_>>();
            let (before, after) = (left(&query), left(&changed));
            prop_assert!(before == after || query.is_empty());
        }
    }
}
