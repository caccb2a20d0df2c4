//! Route: `/api/rest/{api}/{version}/{path}` to a route and an endpoint. Matching works on the very bytes that
//! go upstream, and refuses those that two programs could read differently.

use crate::call::{Call, Placed, Routed};
use crate::failure::Failure;
use crate::http1::fields::Name;
use crate::prepare::route::Route;
use crate::stages::identify::{UNLISTED, client};
use crate::stages::record::Record;
use gatehouse_corridor::telemetry::Protocol;
use std::borrow::Cow;
use std::sync::Arc;

const PREFIX: &str = "/api/rest/";
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

/// What a path leads to.
pub(crate) enum Found<'a> {
    Upstream(Call<'a, Routed<'a>>),
    /// The appliance's own surface.
    Local(Call<'a, Placed>),
    /// OPTIONS, which asks about a path of the gateway; of an unknown API it learns nothing.
    Preflight(Call<'a, Placed>, Option<&'a Route>),
}

pub(crate) fn route<'a>(call: Call<'a, Placed>, record: &mut Record<'a>) -> Result<Found<'a>, Failure> {
    let path = call.head.path();
    let (route, rest_at) = match path.strip_prefix(PREFIX) {
        Some(rest) => {
            let Some(name) = name(rest) else { return Ok(Found::Local(call)) };
            let route = call.prepared.routes.get(name);
            (route.ok_or(Failure::UnknownApi), PREFIX.len() + name.len())
        }
        // No address list holds for this path, so it must not lead to an API.
        None if path == UNLISTED => return Ok(Found::Local(call)),
        // A host of its own needs no prefix (spec/doorman.md 8.5).
        None => match by_host(&call) {
            Some(route) => (Ok(route), 0),
            None => return Ok(Found::Local(call)),
        },
    };
    if ambiguous(path) {
        return Err(Failure::BadPath);
    }
    let method = call.head.method();
    if method == "OPTIONS" {
        return preflight(call, route.ok().map(|route| &**route), rest_at);
    }
    let route = &**route?;
    record.routed(route);
    if !METHODS.contains(&method) {
        return Err(Failure::Method);
    }
    if !route.api.active {
        return Err(Failure::Inactive);
    }
    if route.methods.is_empty() {
        return Err(Failure::NoEndpoints);
    }
    let switch = call.head.switches();
    if switch && !(route.api.websocket || call.prepared.limits.websockets) {
        return Err(Failure::Upgrade);
    }
    if switch {
        record.access.protocol = Protocol::WebSocket;
    }
    let tail = tail(path, rest_at);
    // HEAD is matched against GET's endpoints.
    let wanted = if method == "HEAD" { "GET" } else { method };
    let router = route.methods.get(wanted).ok_or(Failure::UnknownEndpoint)?;
    let endpoint = router.at(&tail).map_err(|_| Failure::UnknownEndpoint)?.value;
    let client = match route.api.addresses.trust_forwarded {
        Some(trust) if trust != call.prepared.security.trust_forwarded => client(&call, trust),
        _ => call.stage.client,
    };
    Ok(Found::Upstream(call.on(|_| Routed { client, route, endpoint, rest_at, switch })))
}

/// `{api}/{version}` at the begin of what follows the prefix.
fn name(rest: &str) -> Option<&str> {
    let version_at = rest.find('/')? + 1;
    let end = rest.get(version_at..)?.find('/').map_or(rest.len(), |at| version_at + at);
    rest.get(..end)
}

fn by_host<'a>(call: &Call<'a, Placed>) -> Option<&'a Arc<Route>> {
    if call.prepared.hosts.is_empty() {
        return None;
    }
    let host = call.head.get_text(Name::Host)?;
    let host = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
    });
    call.prepared.hosts.get(host).or_else(|| call.prepared.hosts.get(host.to_ascii_lowercase().as_str()))
}

fn preflight<'a>(
    call: Call<'a, Placed>,
    route: Option<&'a Route>,
    rest_at: usize,
) -> Result<Found<'a>, Failure> {
    let tail = tail(call.head.path(), rest_at);
    let matches = route.is_some_and(|route| route.methods.values().any(|router| router.at(&tail).is_ok()));
    if call.prepared.limits.strict_options && !matches {
        return Err(Failure::Method);
    }
    Ok(Found::Preflight(call, route))
}

/// What endpoints are matched against: the path behind the API's, in which characters that need no escape have none. They
/// are the same either way (RFC 3986 6.2.2.2), also to the upstream; so nobody gets past an endpoint's rules by another
/// spelling.
fn tail(path: &str, rest_at: usize) -> Cow<'_, str> {
    let tail = path.get(rest_at..).filter(|tail| !tail.is_empty()).unwrap_or("/");
    let mut parts = tail.split('%');
    let (Some(first), Some(_)) = (parts.next(), tail.find('%')) else { return Cow::Borrowed(tail) };
    let mut plain = String::with_capacity(tail.len());
    plain.push_str(first);
    for part in parts {
        let escaped = part.get(..2).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.filter(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(part.get(2..).unwrap_or_default());
            }
            None => plain.extend(["%", part]),
        }
    }
    Cow::Owned(plain)
}

/// Dot segments (also with parameters, as in `..;a`), backslashes, and encodings of the characters that delimit
/// segments.
pub(crate) fn ambiguous(path: &str) -> bool {
    // Nearly every path ends here, without an allocation.
    if !path.contains(['%', '\\']) && !path.contains("/.") {
        return false;
    }
    let lower = path.to_ascii_lowercase();
    if ["\\", "%2f", "%5c", "%00"].iter().any(|delimiter| lower.contains(delimiter)) {
        return true;
    }
    let plain = lower.replace("%2e", ".").replace("%3b", ";");
    plain.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

#[cfg(test)]
mod tests {
    use super::{ambiguous, tail};
    use proptest::prelude::*;

    #[test]
    fn one_spelling_for_what_is_the_same() {
        for (path, wanted) in [
            ("", "/"),
            ("/orders", "/orders"),
            ("/%6frders/%41%7e%2D", "/orders/A~-"),
            ("/a%20b%2Fc%c3%bc", "/a%20b%2Fc%c3%bc"),
            ("/a%", "/a%"),
            ("/a%4", "/a%4"),
            ("/%zz%+1", "/%zz%+1"),
            ("/%256f", "/%256f"),
        ] {
            assert_eq!(tail(&format!("/x{path}"), 2), wanted, "{path}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_a_plain_path_is_its_own(path in "[a-c%0-9A-F/~é]{0,20}", at in 0usize..4) {
            let once = tail(&path, at).into_owned();
            prop_assert!(!once.is_empty());
            if !path.contains('%') {
                prop_assert!(path.ends_with(&once) || once == "/");
            }
        }
    }

    #[test]
    fn ambiguous_paths() {
        for path in [
            "/a/../b",
            "/a/./b",
            "/a/%2e%2E/b",
            "/a%2fb",
            "/a\\b",
            "/a/.%2e",
            "/a%00",
            "/..;/b",
            "/a/%2e.%3bx/b",
        ] {
            assert!(ambiguous(path), "{path}");
        }
        for path in ["/a/b.c", "/a/...", "/a%20b", "/", "/.well-known/x", "/a;b"] {
            assert!(!ambiguous(path), "{path}");
        }
    }
}
