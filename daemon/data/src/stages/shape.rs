//! Shape: the request as the upstream gets it (spec/doorman.md 5.5). Framing is made anew, never copied.

use crate::call::{Allowed, Call};
use crate::failure::Failure;
use crate::prepare::Upstream;
use crate::stages::forward::{Outgoing, Shaped};
use crate::stages::hop::HopByHop;
use crate::stages::record::Record;
use actix_web::HttpMessage as _;
use actix_web::http::header::{CONNECTION, CONTENT_LENGTH};
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

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static USER_EMAIL: HeaderName = HeaderName::from_static("x-user-email");
static USER: HeaderName = HeaderName::from_static("x-doorman-user");

pub(crate) fn shape<'a>(
    call: Call<'a, Allowed<'a>>,
    record: &mut Record,
) -> Result<(Shaped<'a>, Call<'a, Allowed<'a>>), Failure> {
    let routed = &call.stage.0.routed;
    let targets = if routed.endpoint.all.is_empty() { &routed.route.targets } else { routed.endpoint };
    let turn = targets.turn.fetch_add(1, Ordering::Relaxed);
    let upstream = targets.all.get(turn % targets.all.len().max(1)).ok_or(Failure::NoUpstream)?;
    let head = head(&call, upstream, &record.access.request)?;
    let Call { lane, prepared, request, payload, stage } = call;
    let length = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let length = length.and_then(|length| length.parse().ok());
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

/// The head alone; made anew when it must be sent again.
pub(crate) fn head(
    call: &Call<'_, Allowed<'_>>,
    upstream: &Upstream,
    id: &str,
) -> Result<http::Request<()>, Failure> {
    let (request, known) = (&call.request, &call.stage.0);
    let routed = &known.routed;
    let mut head = http::Request::new(());
    *head.method_mut() = request.method().as_str().parse().map_err(|_| Failure::BadPath)?;
    *head.uri_mut() = target(request.uri(), routed.rest_at, &upstream.prefix)?;
    *head.headers_mut() = call.lane.headers();
    let headers = head.headers_mut();
    headers.insert(HOST, upstream.host.clone());
    let connection = request.headers().get_all(CONNECTION).filter_map(|value| value.to_str().ok());
    let hop = HopByHop::named(connection);
    for (name, content) in request.headers() {
        let text = name.as_str();
        let passes = (ALWAYS.contains(&text) || routed.route.headers.contains(text))
            && !NEVER.contains(&text)
            && !hop.ends(text);
        if passes
            && let (Ok(name), Ok(content)) =
                (HeaderName::from_bytes(text.as_bytes()), HeaderValue::from_bytes(content.as_bytes()))
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
    headers.insert(REQUEST_ID.clone(), HeaderValue::from_str(id).map_err(|_| Failure::BadPath)?);
    if let Some(who) = &known.who {
        let name = who.name.as_ref().ok_or(Failure::BadPath)?;
        headers.insert(USER_EMAIL.clone(), name.clone());
        headers.insert(USER.clone(), name.clone());
    }
    Ok(head)
}

/// The upstream's prefix, then the path behind the route, then the query as it came.
fn target(uri: &actix_web::http::Uri, rest_at: usize, prefix: &str) -> Result<http::Uri, Failure> {
    let tail = uri.path().get(rest_at..).unwrap_or("/");
    let query = uri.query();
    let mut target = String::with_capacity(prefix.len() + tail.len() + query.map_or(0, str::len) + 2);
    target.push_str(prefix);
    if !tail.starts_with('/') {
        target.push('/');
    }
    target.push_str(tail);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    http::Uri::try_from(target).map_err(|_| Failure::BadPath)
}
