//! Shape: the request as the upstream gets it (spec/doorman.md 5.5). Framing is made anew, never copied.

use crate::call::{Allowed, Call};
use crate::failure::Failure;
use crate::prepare::Upstream;
use crate::stages::forward::Shaped;
use crate::stages::hop::HopByHop;
use crate::stages::record::Record;
use crate::upstream::upload::{Incoming, Upload};
use actix_web::HttpMessage as _;
use actix_web::http::Uri;
use actix_web::http::header::{CONNECTION, CONTENT_LENGTH};
use std::io::Write as _;
use std::sync::atomic::Ordering;

/// Passed without being listed.
const ALWAYS: [&str; 5] = ["soapaction", "content-type", "accept", "user-agent", "accept-encoding"];
/// Never passed, listed or not: credentials of the gateway, and the headers that only the gateway may set.
const NEVER: [&str; 12] = [
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
    "x-request-id",
];

pub(crate) fn shape<'a>(
    call: Call<'a, Allowed<'a>>,
    record: &mut Record,
) -> Result<(Shaped<'a>, Call<'a, Allowed<'a>>), Failure> {
    let routed = &call.stage.0.routed;
    let targets = if routed.endpoint.all.is_empty() { &routed.route.targets } else { routed.endpoint };
    let turn = targets.turn.fetch_add(1, Ordering::Relaxed);
    let upstream = targets.all.get(turn % targets.all.len().max(1)).ok_or(Failure::NoUpstream)?;
    let length = call.request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let length: Option<u64> = length.and_then(|length| length.parse().ok());
    let has_body = length.map_or_else(|| call.request.chunked().unwrap_or(false), |length| length > 0);
    let mut head = call.lane.buffer();
    fields(&call, upstream, &record.access.request, &mut head)?;
    match (length, has_body) {
        (Some(length), true) => {
            write!(head, "content-length: {length}\r\n\r\n").map_err(|_| Failure::BadPath)?
        }
        (None, true) => head.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n"),
        // RFC 9110 8.6: a method that usually has a body says that there is none.
        _ if matches!(call.request.method().as_str(), "POST" | "PUT" | "PATCH") => {
            head.extend_from_slice(b"content-length: 0\r\n\r\n");
        }
        _ => head.extend_from_slice(b"\r\n"),
    }
    let Call { lane, prepared, now_ms, request, payload, stage } = call;
    let allowed = prepared.limits.body_bytes;
    let body =
        has_body.then(|| Box::new(Incoming { payload, left: length, allowed, count: record.bytes_in() }));
    record.access.upstream = (&*upstream.authority).into();
    let empty = actix_web::dev::Payload::None;
    let shaped = Shaped { upload: Upload::new(head, body), upstream };
    Ok((shaped, Call { lane, prepared, now_ms, request, payload: empty, stage }))
}

/// Request line and fields, but not the framing. Names and values are of types that cannot hold a line end.
fn fields(
    call: &Call<'_, Allowed<'_>>,
    upstream: &Upstream,
    id: &str,
    head: &mut Vec<u8>,
) -> Result<(), Failure> {
    let (request, known) = (&call.request, &call.stage.0);
    let routed = &known.routed;
    head.extend_from_slice(request.method().as_str().as_bytes());
    head.push(b' ');
    target(request.uri(), routed.rest_at, &upstream.prefix, head)?;
    head.extend_from_slice(b" HTTP/1.1\r\n");
    field(head, "host", upstream.authority.as_bytes());
    let connection = request.headers().get_all(CONNECTION).filter_map(|value| value.to_str().ok());
    let hop = HopByHop::named(connection);
    let swap = routed.route.api.authorization_swap.as_ref();
    for (name, content) in request.headers() {
        let text = name.as_str();
        let passes = (ALWAYS.contains(&text) || routed.route.headers.contains(text))
            && !NEVER.contains(&text)
            && !hop.ends(text);
        if passes {
            field(head, text, content.as_bytes());
        }
    }
    if let Some(swap) = swap {
        let swapped = request.headers().get(swap.as_str()).or_else(|| request.headers().get("authorization"));
        if let Some(content) = swapped {
            field(head, "authorization", content.as_bytes());
        }
    }
    field(head, "x-request-id", id.as_bytes());
    if let Some(who) = &known.who {
        let name = who.name.as_ref().ok_or(Failure::BadPath)?.as_bytes();
        field(head, "x-user-email", name);
        field(head, "x-doorman-user", name);
    }
    Ok(())
}

fn field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// The upstream's prefix, then the path behind the route, then the query as it came.
fn target(uri: &Uri, rest_at: usize, prefix: &str, head: &mut Vec<u8>) -> Result<(), Failure> {
    let begin = head.len();
    let tail = uri.path().get(rest_at..).unwrap_or("/");
    head.extend_from_slice(prefix.as_bytes());
    if !tail.starts_with('/') {
        head.push(b'/');
    }
    head.extend_from_slice(tail.as_bytes());
    if let Some(query) = uri.query() {
        head.push(b'?');
        head.extend_from_slice(query.as_bytes());
    }
    // The server's parser lets nothing else pass; that no second line can begin here is worth a look.
    let plain = head.iter().skip(begin).all(|byte| *byte > b' ' && *byte != 0x7f);
    if plain { Ok(()) } else { Err(Failure::BadPath) }
}
