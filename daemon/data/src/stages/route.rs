//! Route: `/api/rest/{api}/{version}/{path}` to a route and an endpoint. Matching works on the very bytes that
//! go upstream, and refuses those that two programs could read differently.

use crate::call::{Arrived, Call, Routed};
use crate::failure::Failure;
use crate::stages::record::Record;

const PREFIX: &str = "/api/rest/";
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

/// What a path leads to.
pub(crate) enum Found<'a> {
    Upstream(Call<'a, Routed<'a>>),
    /// The appliance's own surface.
    Local(Call<'a, Arrived>),
    /// OPTIONS, which asks about a path of the gateway.
    Preflight(Call<'a, Arrived>),
}

pub(crate) fn route<'a>(call: Call<'a, Arrived>, record: &mut Record) -> Result<Found<'a>, Failure> {
    let path = call.head.path();
    let Some(rest) = path.strip_prefix(PREFIX) else { return Ok(Found::Local(call)) };
    if ambiguous(path) {
        return Err(Failure::BadPath);
    }
    if call.head.method() == "OPTIONS" {
        return Ok(Found::Preflight(call));
    }
    let Some(version_at) = rest.find('/').map(|slash| slash + 1) else { return Ok(Found::Local(call)) };
    let name_end =
        rest.get(version_at..).and_then(|tail| tail.find('/')).map_or(rest.len(), |at| version_at + at);
    let name = rest.get(..name_end).unwrap_or_default();
    let route = call.prepared.routes.get(name).ok_or(Failure::UnknownApi)?;
    record.routed(route);
    let method = call.head.method();
    if !METHODS.contains(&method) {
        return Err(Failure::Method);
    }
    if !route.api.active {
        return Err(Failure::Inactive);
    }
    if route.methods.is_empty() {
        return Err(Failure::NoEndpoints);
    }
    let rest_at = PREFIX.len() + name_end;
    let tail = path.get(rest_at..).filter(|tail| !tail.is_empty()).unwrap_or("/");
    // HEAD is matched against GET's endpoints.
    let wanted = if method == "HEAD" { "GET" } else { method };
    let router = route.methods.get(wanted).ok_or(Failure::UnknownEndpoint)?;
    let endpoint = router.at(tail).map_err(|_| Failure::UnknownEndpoint)?.value;
    Ok(Found::Upstream(call.on(|Arrived| Routed { route, endpoint, rest_at })))
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
