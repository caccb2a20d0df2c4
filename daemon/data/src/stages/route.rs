//! Route: `/api/rest/{api}/{version}/{path}` to a route and an endpoint. Matching works on the very bytes that
//! go upstream, and refuses those that two programs could read differently.

use crate::call::{Call, Placed, Routed};
use crate::failure::Failure;
use crate::http1::fields::Name;
use crate::prepare::route::Route;
use crate::stages::identify::{UNLISTED, client};
use crate::stages::record::Record;
use gatehouse_corridor::telemetry::Protocol;
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
    let tail = path.get(rest_at..).filter(|tail| !tail.is_empty()).unwrap_or("/");
    // HEAD is matched against GET's endpoints.
    let wanted = if method == "HEAD" { "GET" } else { method };
    let router = route.methods.get(wanted).ok_or(Failure::UnknownEndpoint)?;
    let endpoint = router.at(tail).map_err(|_| Failure::UnknownEndpoint)?.value;
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
    let tail = call.head.path().get(rest_at..).filter(|tail| !tail.is_empty()).unwrap_or("/");
    let matches = route.is_some_and(|route| route.methods.values().any(|router| router.at(tail).is_ok()));
    if call.prepared.limits.strict_options && !matches {
        return Err(Failure::Method);
    }
    Ok(Found::Preflight(call, route))
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
    use super::ambiguous;

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
