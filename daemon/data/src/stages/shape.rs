//! Shape: the request as the upstream gets it (spec/doorman.md 5.5). Framing is made anew, never copied.

use crate::call::{Allowed, Call};
use crate::client::head::{Body, Head};
use crate::client::stream::Client;
use crate::failure::Failure;
use crate::http1::fields::Name;
use crate::prepare::Upstream;
use crate::stages::forward::Shaped;
use crate::stages::record::Record;
use crate::upstream::upload::{Source, Upload};
use std::io::Write as _;
use std::sync::atomic::Ordering;

pub(crate) fn shape<'a>(
    call: &Call<'a, Allowed<'a>>,
    client: &mut Client,
    record: &mut Record,
) -> Result<Shaped<'a>, Failure> {
    let routed = &call.stage.0.routed;
    let targets = if routed.endpoint.all.is_empty() { &routed.route.targets } else { routed.endpoint };
    let turn = targets.turn.fetch_add(1, Ordering::Relaxed);
    let upstream = targets.all.get(turn % targets.all.len().max(1)).ok_or(Failure::NoUpstream)?;
    client.allow(call.prepared.limits.body_bytes);
    let mut head = call.lane.buffer();
    fields(call, upstream, &record.access.request, &mut head)?;
    let source = match call.head.framing {
        Body::Length(length) => {
            // Into memory: this cannot fail.
            write!(head, "content-length: {length}\r\n\r\n").ok();
            Source::Client { chunked: false }
        }
        Body::Chunked => {
            head.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            Source::Client { chunked: true }
        }
        // RFC 9110 8.6: a method that usually has a body says that there is none.
        Body::None if matches!(call.head.method(), "POST" | "PUT" | "PATCH") => {
            head.extend_from_slice(b"content-length: 0\r\n\r\n");
            Source::Done
        }
        Body::None => {
            head.extend_from_slice(b"\r\n");
            Source::Done
        }
    };
    record.access.upstream = (&*upstream.authority).into();
    Ok(Shaped { upload: Upload::new(head, source), upstream })
}

/// Request line and fields, but not the framing. The parser let no line end into a name or a value.
fn fields(
    call: &Call<'_, Allowed<'_>>,
    upstream: &Upstream,
    id: &str,
    into: &mut Vec<u8>,
) -> Result<(), Failure> {
    let (head, known) = (call.head, &call.stage.0);
    let route = known.routed.route;
    into.extend_from_slice(head.method().as_bytes());
    into.push(b' ');
    target(head, known.routed.rest_at, &upstream.prefix, into);
    into.extend_from_slice(b" HTTP/1.1\r\n");
    field(into, b"host", upstream.authority.as_bytes());
    for (name, text, value) in head.fields() {
        if passes(name, text, route) && !head.ends(text) {
            field(into, text, value);
        }
    }
    if let Some(swap) = &route.api.authorization_swap {
        let swapped = head.named(swap).or_else(|| head.get(Name::Authorization));
        if let Some(content) = swapped {
            field(into, b"authorization", content);
        }
    }
    field(into, b"x-request-id", id.as_bytes());
    if let Some(who) = &known.who {
        let name = who.name.as_ref().ok_or(Failure::BadPath)?.as_bytes();
        field(into, b"x-user-email", name);
        field(into, b"x-doorman-user", name);
    }
    Ok(())
}

/// Whether a client's field goes upstream: of the fixed set, or listed by the API.
fn passes(name: Name, text: &[u8], route: &crate::prepare::Route) -> bool {
    if name.always_up() {
        return true;
    }
    if route.headers.is_empty() || name.never_up() {
        return false;
    }
    route.lists(text)
}

fn field(into: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        into.extend_from_slice(part);
    }
}

/// The upstream's prefix, then the path behind the route, then the query as it came.
fn target(head: &Head, rest_at: usize, prefix: &str, into: &mut Vec<u8>) {
    let tail = head.path().get(rest_at..).unwrap_or("/");
    into.extend_from_slice(prefix.as_bytes());
    if !tail.starts_with('/') {
        into.push(b'/');
    }
    into.extend_from_slice(tail.as_bytes());
    if let Some(query) = head.query() {
        into.push(b'?');
        into.extend_from_slice(query.as_bytes());
    }
}
