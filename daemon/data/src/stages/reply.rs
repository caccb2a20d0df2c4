//! Reply: the answer as the client gets it (spec/doorman.md 1.4, 5.6): listed headers, the body byte for byte.

use crate::call::{Allowed, Call};
use crate::lane::Lane;
use crate::pool::{Connection, Pool};
use crate::stages::forward::Answer;
use crate::stages::hop::HopByHop;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use hyper::body::{Body as _, Incoming};
use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// Describe the body itself and always pass.
static ALWAYS: [HeaderName; 10] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_DISPOSITION,
    header::CONTENT_RANGE,
    header::CACHE_CONTROL,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::VARY,
];
static BACKEND_TIME: HeaderName = HeaderName::from_static("x-backend-time");

/// The upstream fell silent within an answer.
#[derive(Debug, thiserror::Error)]
#[error("the upstream stalled")]
pub(crate) struct Stalled;

/// How long the next piece of an answer may take. The timer is made only when there is something to wait for.
pub(crate) struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn lost(&mut self, context: &mut Context<'_>) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit)));
        timer.as_mut().poll(context).is_ready()
    }
}

/// The answer's body: made by us, or streamed from the upstream.
pub(crate) enum Body {
    Own(BoxBody),
    Upstream {
        incoming: Incoming,
        size: BodySize,
        home: Option<(Connection, Pool, usize)>,
        patience: Patience,
    },
}

impl MessageBody for Body {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        match self {
            Self::Own(body) => body.size(),
            Self::Upstream { size, .. } => *size,
        }
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_next(context),
            Self::Upstream { incoming, home, patience, .. } => loop {
                let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(context) else {
                    let lost = patience.lost(context);
                    return if lost { Poll::Ready(Some(Err(Stalled.into()))) } else { Poll::Pending };
                };
                patience.timer = None;
                match frame {
                    // Trailers are dropped: HTTP/1.1 clients of older systems do not expect them.
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(bytes) => return Poll::Ready(Some(Ok(bytes))),
                        Err(_trailers) => {}
                    },
                    Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                    None => {
                        if let Some((connection, pool, most)) = home.take() {
                            pool.give(connection, most);
                        }
                        return Poll::Ready(None);
                    }
                }
            },
        }
    }
}

pub(crate) fn reply(answer: Answer, call: &Call<'_, Allowed<'_>>) -> HttpResponse<Body> {
    let Answer { response, connection, upstream_time, patience: limit } = answer;
    let (parts, incoming) = response.into_parts();
    let status = StatusCode::from_u16(parts.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let route = call.stage.0.routed.route;
    let mut head = HttpResponseBuilder::new(status).finish();
    let headers = head.headers_mut();
    let named = parts.headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let hop = HopByHop::named(named);
    for (name, value) in &parts.headers {
        let text = name.as_str();
        let name = match ALWAYS.iter().find(|always| always.as_str() == text) {
            Some(always) => Some(always.clone()),
            None if route.headers.contains(text) => HeaderName::from_bytes(text.as_bytes()).ok(),
            None => None,
        };
        if let Some(name) = name
            && !hop.ends(text)
            && let Ok(value) = HeaderValue::from_bytes(value.as_bytes())
        {
            headers.append(name, value);
        }
    }
    let millis = u64::try_from(upstream_time.as_millis()).unwrap_or(u64::MAX);
    headers.insert(BACKEND_TIME.clone(), HeaderValue::from(millis));
    common(headers, call.lane);
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    call.lane.spare(parts.headers);
    let size = match (status.as_u16(), length) {
        (204 | 304, _) => BodySize::None,
        (_, Some(length)) => BodySize::Sized(length),
        (_, None) if incoming.is_end_stream() => BodySize::Sized(0),
        (_, None) => BodySize::Stream,
    };
    let most = call.prepared.limits.idle_connections;
    let mut home = Some((connection, call.lane.pool.clone(), most));
    // Such an answer's body is never polled: the connection goes home at once.
    if incoming.is_end_stream()
        && let Some((connection, pool, most)) = home.take()
    {
        pool.give(connection, most);
    }
    let patience = Patience { limit, timer: None };
    head.set_body(Body::Upstream { incoming, size, home, patience })
}

/// An answer of our own.
pub(crate) fn refused(response: HttpResponse, lane: &Lane) -> HttpResponse<Body> {
    let mut response = response.map_body(|_, body| Body::Own(body));
    common(response.headers_mut(), lane);
    response
}

/// OPTIONS: always 204, without authentication (spec/doorman.md 5.7). Cross-origin headers are not given yet.
pub(crate) fn preflight(lane: &Lane) -> HttpResponse<Body> {
    refused(HttpResponse::NoContent().finish(), lane)
}

fn common(headers: &mut HeaderMap, lane: &Lane) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if lane.draining.load(Ordering::Relaxed) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}
