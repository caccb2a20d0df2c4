//! What the fields of an API may say; each refusal names the field and what was expected.

use crate::index::{self, By};
use crate::state::{Fields as _, Row, State};
use crate::subjects::addresses;
use actix_web::http::header::HeaderName;
use actix_web::http::{Method, Uri};
use gatehouse_common::problem::Problem;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Map, Value};

/// Longest host name and label, characters (RFC 1035 2.3.4).
const LABEL_CHARS: usize = 63;

type Checked = Result<(), String>;

/// Checks a row that is about to be stored.
///
/// # Errors
/// 400 `API002`, or `API013` for credits on a public API.
pub(crate) fn check(state: &State, key: &str, row: &Row) -> Result<(), Problem> {
    let rules: [(&str, Checked); 20] = [
        ("api_servers", row.list("api_servers").iter().try_for_each(|server| server_url(server))),
        ("api_allowed_headers", names(row, "api_allowed_headers")),
        ("api_authorization_field_swap", optional(row, "api_authorization_field_swap", header)),
        ("api_ip_mode", one_of(row.text("api_ip_mode"), &["allow_all", "whitelist"])),
        ("api_ip_whitelist", networks(row, "api_ip_whitelist")),
        ("api_ip_blacklist", networks(row, "api_ip_blacklist")),
        ("api_cors_allow_origins", row.list("api_cors_allow_origins").iter().try_for_each(|o| origin(o))),
        ("api_cors_allow_methods", row.list("api_cors_allow_methods").iter().try_for_each(|m| method(m))),
        ("api_cors_allow_headers", names(row, "api_cors_allow_headers")),
        ("api_cors_expose_headers", names(row, "api_cors_expose_headers")),
        ("api_request_transform", transform(row.get("api_request_transform"), "request")),
        ("api_response_transform", transform(row.get("api_response_transform"), "response")),
        ("api_hostname", host_name(state, key, row.text("api_hostname"))),
        ("api_balance", balance(row.text("api_balance"))),
        ("api_health_check", health_check(row.get("api_health_check"))),
        ("api_issuer", issuer(row.get("api_issuer")).map(drop)),
        ("api_upstream_roots", optional(row, "api_upstream_roots", roots)),
        ("api_openapi_url", optional(row, "api_openapi_url", document_url)),
        ("api_wsdl_url", optional(row, "api_wsdl_url", document_url)),
        ("api_graphql_schema_url", optional(row, "api_graphql_schema_url", document_url)),
    ];
    let refused =
        |field: &str, text: &str| Err(Problem::compat(400, "API002", format!("{field}: {text}")).at(field));
    for (field, rule) in rules {
        if let Err(text) = rule {
            return refused(field, &text);
        }
    }
    if row.flag("api_public") && row.flag("api_credits_enabled") {
        return Err(Problem::compat(400, "API013", "A public API cannot have credits enabled"));
    }
    // A call that nobody pays for would be relied on to be paid.
    if row.flag("api_credits_enabled") && row.text("api_credit_group").is_empty() {
        return refused("api_credit_group", "expected a credit group, since api_credits_enabled is true");
    }
    if row.flag("api_anonymous_allowed") && row.get("api_auth_required") != Some(&Value::Bool(false)) {
        return refused("api_anonymous_allowed", "expected api_auth_required to be false with it");
    }
    Ok(())
}

fn optional(row: &Row, field: &str, rule: fn(&str) -> Checked) -> Checked {
    let text = row.text(field);
    if text.is_empty() { Ok(()) } else { rule(text) }
}

fn one_of(text: &str, allowed: &[&str]) -> Checked {
    let known = text.is_empty() || allowed.contains(&text);
    if known { Ok(()) } else { Err(format!("{text:?}: expected one of {}", allowed.join(", "))) }
}

fn header(name: &str) -> Checked {
    HeaderName::from_bytes(name.as_bytes())
        .map(drop)
        .map_err(|_| format!("{name:?}: expected a header name (RFC 9110 5.1)"))
}

fn names(row: &Row, field: &str) -> Checked {
    row.list(field).iter().filter(|name| *name != "*").try_for_each(|name| header(name))
}

fn networks(row: &Row, field: &str) -> Checked {
    addresses::problem(&row.list(field)).map_or(Ok(()), Err)
}

fn method(name: &str) -> Checked {
    let known = name == "*" || Method::from_bytes(name.as_bytes()).is_ok();
    if known { Ok(()) } else { Err(format!("{name:?}: expected an HTTP method")) }
}

/// What is wrong with an upstream's address.
pub(crate) fn server_url(server: &str) -> Checked {
    let expected =
        || format!("{server:?}: expected SCHEME://HOST[:PORT][/PREFIX], scheme http, https, grpc or grpcs");
    let (scheme, rest) = server.split_once("://").ok_or_else(expected)?;
    let whole =
        ["http", "https", "grpc", "grpcs"].contains(&scheme) && !server.contains(['@', '?', '#', ' ']);
    // What stands behind the host: an address in brackets has colons of its own.
    let place = rest.split('/').next().unwrap_or_default();
    let port = place.rsplit_once(']').map_or(place, |(_, port)| port).split_once(':').map(|(_, port)| port);
    let port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let named = server.parse::<Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    if whole && port && named { Ok(()) } else { Err(expected()) }
}

/// A URL of a document, or its path behind the API's servers. No user and password: the field is shown and exported.
fn document_url(text: &str) -> Checked {
    let whole = |url: url::Url| {
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
    };
    if !text.contains("://") || text.parse().is_ok_and(whole) {
        return Ok(());
    }
    Err("expected a path, or a URL of http or https without user and password".to_owned())
}

/// `*`, an origin (RFC 6454 6.1), or `https://*.suffix`.
fn origin(text: &str) -> Checked {
    let good = text == "*"
        || text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).is_some_and(|rest| {
            let rest = rest.strip_prefix("*.").unwrap_or(rest);
            !rest.is_empty() && !rest.contains(['/', '*', '@', '?', '#', ' '])
        });
    if good {
        Ok(())
    } else {
        Err(format!("{text:?}: expected *, http(s)://HOST[:PORT] or http(s)://*.SUFFIX"))
    }
}

/// A host name of its own: two APIs under one could not be told apart.
fn host_name(state: &State, key: &str, text: &str) -> Checked {
    if text.is_empty() {
        return Ok(());
    }
    let label = |label: &str| {
        (1..=LABEL_CHARS).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !text.split('.').all(label) {
        return Err(format!("{text:?}: expected a host name such as api.example.org, without port"));
    }
    let host = index::host(text);
    match state.keys_by(By::ApiHost, &host).find(|other| *other != key) {
        Some(other) => Err(format!("{text:?}: expected a host name of its own; {other} has this one")),
        None => Ok(()),
    }
}

fn balance(text: &str) -> Checked {
    let expected = || format!("{text:?}: expected round_robin, least_request or hash:HEADER");
    match text.split_once(':') {
        None if ["", "round_robin", "least_request"].contains(&text) => Ok(()),
        Some(("hash", name)) if header(name).is_ok() => Ok(()),
        _ => Err(expected()),
    }
}

fn object(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn only(object: &Map<String, Value>, known: &[&str]) -> Checked {
    let other = object.keys().find(|name| !known.contains(&name.as_str()));
    other.map_or(Ok(()), |name| Err(format!("{name:?} is unknown; expected {}", known.join(", "))))
}

fn health_check(value: Option<&Value>) -> Checked {
    let Some(object) = object(value) else { return Ok(()) };
    only(object, &["path", "interval", "timeout", "failures", "successes"])?;
    let path = object.get("path").and_then(Value::as_str).unwrap_or_default();
    if !path.starts_with('/') || path.parse::<Uri>().is_err() {
        return Err("path: expected a path that begins with /".to_owned());
    }
    for name in ["interval", "timeout"] {
        let good = |value: &Value| value.as_f64().is_some_and(|secs| (0.05..=3_600.0).contains(&secs));
        if !object.get(name).is_none_or(good) {
            return Err(format!("{name}: expected seconds from 0.05 to 3600"));
        }
    }
    for name in ["failures", "successes"] {
        let good = |value: &Value| value.as_i64().is_some_and(|count| (1..=100).contains(&count));
        if !object.get(name).is_none_or(good) {
            return Err(format!("{name}: expected a whole number from 1 to 100"));
        }
    }
    Ok(())
}

/// An external issuer of tokens, as an API names it.
pub(crate) struct Issuer {
    pub(crate) name: String,
    pub(crate) jwks_url: String,
    pub(crate) audience: Option<String>,
    pub(crate) user_claim: String,
}

/// Reads `api_issuer`.
///
/// # Errors
/// What was expected.
pub(crate) fn issuer(value: Option<&Value>) -> Result<Option<Issuer>, String> {
    let Some(object) = object(value) else { return Ok(None) };
    only(object, &["name", "jwks_url", "audience", "user_claim"])?;
    let text = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(format!("{name}: expected text")),
    };
    let needed = |name: &str| text(name)?.ok_or_else(|| format!("{name}: expected text"));
    let jwks_url = needed("jwks_url")?;
    let uri: Option<Uri> = jwks_url.parse().ok();
    let web = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if web.is_none() || jwks_url.contains('@') {
        return Err(format!("jwks_url: {jwks_url:?}: expected a URL that begins with https:// or http://"));
    }
    Ok(Some(Issuer {
        name: needed("name")?,
        jwks_url,
        audience: text("audience")?,
        user_claim: text("user_claim")?.unwrap_or_else(|| "sub".to_owned()),
    }))
}

/// PEM text of at least one certificate, each of which can be a root: else the data plane could not serve the API.
fn roots(text: &str) -> Checked {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => found.iter().enumerate().try_for_each(|(at, root)| {
            let anchor = webpki::anchor_from_trusted_cert(root);
            anchor.map(drop).map_err(|error| format!("certificate {}: expected a root: {error}", at + 1))
        }),
        Ok(_) => Err("expected PEM text with a CERTIFICATE in it".to_owned()),
        Err(error) => Err(format!("expected PEM text: {error}")),
    }
}

/// spec/doorman.md 5.9; the object may lie below its direction's name.
fn transform(value: Option<&Value>, direction: &str) -> Checked {
    let Some(object) = object(value) else { return Ok(()) };
    let inner = match object.get(direction) {
        Some(Value::Object(inner)) => inner,
        Some(_) => return Err(format!("{direction}: expected an object")),
        None => object,
    };
    for part in ["headers", "query", "body"] {
        let Some(rules) = inner.get(part) else { continue };
        let Some(rules) = rules.as_object() else { return Err(format!("{part}: expected an object")) };
        for (name, expected, good) in [
            ("remove", "a list of texts", rules.get("remove").is_none_or(texts)),
            ("rename", "an object of texts", rules.get("rename").is_none_or(pairs)),
            ("add", "an object", rules.get("add").is_none_or(Value::is_object)),
            ("set", "an object", rules.get("set").is_none_or(Value::is_object)),
            ("wrap", "text", rules.get("wrap").is_none_or(|wrap| wrap.is_string() || wrap.is_null())),
        ] {
            if !good {
                return Err(format!("{part}.{name}: expected {expected}"));
            }
        }
    }
    let status = |(from, to): (&String, &Value)| {
        let good = |code: Option<u64>| code.is_some_and(|code| (200..=599).contains(&code));
        good(from.parse().ok()) && good(to.as_u64())
    };
    match inner.get("status_map") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(map)) if map.iter().all(status) => Ok(()),
        Some(_) => Err("status_map: expected an object such as {\"500\": 502}, codes 200 to 599".to_owned()),
    }
}

fn texts(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
}

fn pairs(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(|items| items.values().all(Value::is_string))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::sync::Arc;

    fn row(value: Value) -> Row {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_refusal_names_the_field_and_what_was_expected() {
        for (field, bad, good) in [
            (
                "api_servers",
                json!(["ftp://a"]),
                json!(["http://a", "https://a:8443/x", "grpc://a:1", "http://[::1]:80"]),
            ),
            ("api_servers", json!(["http://u:p@a"]), json!(["http://a:80/"])),
            ("api_servers", json!(["http://a:99999"]), json!([])),
            ("api_ip_mode", json!("deny_all"), json!("whitelist")),
            ("api_ip_whitelist", json!(["10.0.0.0/40"]), json!(["10.0.0.0/8", "::1"])),
            (
                "api_cors_allow_origins",
                json!(["example.org"]),
                json!(["*", "https://*.example.org", "http://a:1"]),
            ),
            ("api_cors_allow_methods", json!(["GE T"]), json!(["GET", "PURGE"])),
            ("api_cors_allow_headers", json!(["a b"]), json!(["*", "x-a"])),
            ("api_hostname", json!("a_b.-x"), json!("Api.Example.org")),
            ("api_hostname", json!("taken.example.org"), json!("other.example.org")),
            ("api_balance", json!("hash"), json!("hash:X-Tenant")),
            ("api_balance", json!("random"), json!("least_request")),
            ("api_health_check", json!({"path": "x"}), json!({"path": "/up", "interval": 1, "failures": 2})),
            ("api_health_check", json!({"path": "/", "often": 1}), json!({"path": "/", "timeout": 0.5})),
            (
                "api_issuer",
                json!({"name": "https://i"}),
                json!({"name": "https://i", "jwks_url": "https://i/k"}),
            ),
            ("api_issuer", json!({"name": "i", "jwks_url": "file:///x"}), Value::Null),
            ("api_upstream_roots", json!("roots"), Value::Null),
            (
                "api_upstream_roots",
                json!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
                Value::Null,
            ),
            (
                "api_request_transform",
                json!({"headers": {"remove": "x"}}),
                json!({"request": {"headers": {"remove": ["x"]}}}),
            ),
            ("api_response_transform", json!({"status_map": {"x": 1}}), json!({"status_map": {"500": 502}})),
            ("api_openapi_url", json!("http://u:p@a/x"), json!("https://a/openapi.json")),
            ("api_wsdl_url", json!("file:///etc/passwd"), json!("/calc?wsdl")),
            ("api_graphql_schema_url", json!("ftp://a/"), json!("graphql")),
            ("api_credit_group", json!(""), json!("gold")),
            ("api_anonymous_allowed", json!(true), json!(false)),
        ] {
            let mut state = State::default();
            let taken = row(json!({"api_hostname": "TAKEN.example.org"}));
            state.set("apis", "other/v1", Some(Arc::new(taken)));
            let base = json!({"api_name": "a", "api_version": "v1", "api_auth_required": true,
                              "api_credits_enabled": field == "api_credit_group"});
            let with = |value: Value| {
                let mut row = row(base.clone());
                row.insert(field.to_owned(), value);
                check(&state, "a/v1", &row)
            };
            let problem = with(bad.clone()).unwrap_err();
            assert_eq!((problem.status, problem.field.as_deref()), (400, Some(field)), "{bad}: {problem}");
            assert!(problem.detail.contains("expected"), "{problem}");
            with(good).unwrap();
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,60}") {
            for rule in [server_url, origin, balance, roots, header, method, document_url] {
                drop(rule(&text));
            }
            drop(host_name(&State::default(), "a/v1", &text));
            drop(issuer(Some(&json!({"name": text, "jwks_url": text}))));
        }
    }
}
