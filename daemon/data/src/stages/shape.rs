//! Shape: the request as the upstream gets it (spec/doorman.md 5.5). Framing is made anew, never copied.

use crate::call::{Allowed, Call};
use crate::failure::Failure;
use crate::stages::forward::{Outgoing, Shaped};
use crate::stages::hop::HopByHop;
use crate::stages::record::Record;
use actix_web::HttpMessage as _;
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use std::sync::atomic::Ordering;

/// Passed without being listed.
const ALWAYS: [&str; 5] = ["soapaction", "content-type", "accept", "user-agent", "accept-encoding"];
/// Never passed, listed or not: credentials of the gateway, and the headers that only the gateway may set.
const NEVER: [&str; 11] = [
    "authorization",
    "www-authenticate",
    "x-api-key",
    "api-key",
    "cookie",
    "set-cookie",
    "x-csrf-token",
    "csrf-token",
    "host",
    "x-user-email",
    "x-doorman-user",
];

pub(crate) fn shape<'a>(
    call: Call<'a, Allowed<'a>>,
    record: &mut Record,
) -> Result<(Shaped, Call<'a, Allowed<'a>>), Failure> {
    let Call { lane, prepared, request, payload, stage } = call;
    let routed = &stage.0.routed;
    let targets = if routed.endpoint.all.is_empty() { &routed.route.targets } else { routed.endpoint };
    let turn = targets.turn.fetch_add(1, Ordering::Relaxed);
    let upstream = targets.all.get(turn % targets.all.len().max(1)).ok_or(Failure::NoUpstream)?.clone();
    let tail = request.uri().path().get(routed.rest_at..).unwrap_or("/");
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("{}{}{tail}{query}", upstream.prefix, if tail.starts_with('/') { "" } else { "/" });
    let mut head = http::Request::builder()
        .method(request.method().as_str())
        .uri(target)
        .body(())
        .map_err(|_| Failure::BadPath)?;
    let headers = head.headers_mut();
    headers.insert(HOST, value(&upstream.authority)?);
    let connection = request.headers().get_all("connection").filter_map(|value| value.to_str().ok());
    let hop = HopByHop::named(connection);
    for (name, content) in request.headers() {
        let name = name.as_str();
        let passes = (ALWAYS.contains(&name) || routed.route.headers.contains(name))
            && !NEVER.contains(&name)
            && !hop.ends(name);
        if let (true, Ok(name), Ok(content)) =
            (passes, HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(content.as_bytes()))
        {
            headers.append(name, content);
        }
    }
    if let Some(swap) = &routed.route.api.authorization_swap {
        let swapped = request.headers().get(swap.as_str()).or_else(|| request.headers().get("authorization"));
        if let Some(Ok(content)) = swapped.map(|content| HeaderValue::from_bytes(content.as_bytes())) {
            headers.insert(AUTHORIZATION, content);
        }
    }
    headers.insert("x-request-id", value(&record.access.request)?);
    if let Some(who) = &stage.0.who {
        headers.insert("x-user-email", value(who.consumer.id.as_str())?);
        headers.insert("x-doorman-user", value(who.consumer.id.as_str())?);
    }
    let length =
        request.headers().get("content-length").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let has_body = length.map_or_else(|| request.chunked().unwrap_or(false), |length: u64| length > 0);
    let body = if has_body {
        Outgoing::stream(payload, length, prepared.limits.body_bytes, record.bytes_in())
    } else {
        Outgoing::Empty
    };
    upstream.authority.as_ref().clone_into(&mut record.access.upstream);
    let empty = actix_web::dev::Payload::None;
    Ok((Shaped { head, body, upstream }, Call { lane, prepared, request, payload: empty, stage }))
}

fn value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| Failure::BadPath)
}
