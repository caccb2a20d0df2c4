//! Reply: the answer as the client gets it (spec/doorman.md 1.4, 5.6): listed headers, the body byte for byte.

use crate::call::{Allowed, Call};
use crate::deadlines::{Deadline, Deadlines};
use crate::lane::Lane;
use crate::pool::Pool;
use crate::stages::forward::Answer;
use crate::stages::hop::HopByHop;
use crate::upstream::body::Decoder;
use crate::upstream::connection::Connection;
use crate::upstream::head::{Framing, Head};
use crate::upstream::upload::Upload;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use std::collections::HashSet;
use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Describe the body itself and always pass. Their names as text, too: to ask a name for it takes a table.
static ALWAYS: [(&str, HeaderName); 10] = [
    ("content-type", header::CONTENT_TYPE),
    ("content-encoding", header::CONTENT_ENCODING),
    ("content-language", header::CONTENT_LANGUAGE),
    ("content-disposition", header::CONTENT_DISPOSITION),
    ("content-range", header::CONTENT_RANGE),
    ("cache-control", header::CACHE_CONTROL),
    ("etag", header::ETAG),
    ("last-modified", header::LAST_MODIFIED),
    ("location", header::LOCATION),
    ("vary", header::VARY),
];
static BACKEND_TIME: HeaderName = HeaderName::from_static("x-backend-time");

/// The upstream fell silent within an answer.
#[derive(Debug, thiserror::Error)]
#[error("the upstream stalled")]
pub(crate) struct Stalled;

/// How long the next piece of an answer may take. It begins only when there is something to wait for.
pub(crate) struct Patience {
    limit: Duration,
    all: Deadlines,
    deadline: Option<Deadline>,
}

impl Patience {
    fn lost(&mut self, context: &Context<'_>) -> bool {
        self.deadline.get_or_insert_with(|| self.all.at(Instant::now() + self.limit)).passed(context)
    }
}

/// The answer's body: made by us, or streamed from the upstream.
pub(crate) enum Body {
    Own(BoxBody),
    Upstream(Box<Streamed>),
}

/// A body on its way from the upstream.
pub(crate) struct Streamed {
    size: BodySize,
    decoder: Decoder,
    /// `None` once it was given back or dropped.
    connection: Option<Connection>,
    /// Of the request, if the upstream answered before it was sent.
    upload: Option<Upload>,
    keeps: bool,
    home: (Pool, usize),
    patience: Patience,
}

impl Streamed {
    /// Lets the connection go: home, if it can serve another request.
    fn finish(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.keeps
            && self.upload.is_none()
            && connection.clean()
        {
            self.home.0.give(connection, self.home.1);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Box<dyn Error>>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        if let Some(upload) = &mut self.upload {
            match connection.poll_upload(upload, context) {
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(Ok(())) if upload.complete() => self.upload = None,
                _ => {}
            }
        }
        let Poll::Ready(next) = connection.poll_body(&mut self.decoder, context) else {
            let lost = self.patience.lost(context);
            return if lost { Poll::Ready(Some(Err(Stalled.into()))) } else { Poll::Pending };
        };
        self.patience.deadline = None;
        if self.decoder.done() {
            self.finish();
        }
        Poll::Ready(next.map(|next| next.map_err(Into::into)))
    }
}

impl MessageBody for Body {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        match self {
            Self::Own(body) => body.size(),
            Self::Upstream(streamed) => streamed.size,
        }
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_next(context),
            Self::Upstream(streamed) => streamed.poll(context),
        }
    }
}

pub(crate) fn reply(answer: Answer, call: &Call<'_, Allowed<'_>>) -> HttpResponse<Body> {
    let Answer { head, connection, upload, upstream_time, patience: limit } = answer;
    let status = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponseBuilder::new(status).finish();
    let headers = response.headers_mut();
    pass(&head, &call.stage.0.routed.route.headers, headers);
    let millis = u64::try_from(upstream_time.as_millis()).unwrap_or(u64::MAX);
    headers.insert(BACKEND_TIME.clone(), time(millis));
    common(headers);
    close_if_draining(&mut response, call.lane);
    let framing = head.framing(call.request.method() == Method::HEAD);
    let decoder = Decoder::new(framing);
    let size = match (head.status, head.length) {
        (204 | 304, _) => BodySize::None,
        (_, Some(length)) => BodySize::Sized(length),
        (_, None) if decoder.done() => BodySize::Sized(0),
        (_, None) => BodySize::Stream,
    };
    let upload = if upload.complete() {
        call.lane.spare(upload.into_bytes());
        None
    } else {
        Some(upload)
    };
    let mut streamed = Streamed {
        size,
        decoder,
        connection: Some(connection),
        upload,
        keeps: head.keeps && framing != Framing::UntilClose,
        home: (call.lane.pool.clone(), call.prepared.limits.idle_connections),
        patience: Patience { limit, all: call.lane.deadlines.clone(), deadline: None },
    };
    // Such an answer's body is never polled.
    if streamed.decoder.done() {
        streamed.finish();
    }
    response.set_body(Body::Upstream(Box::new(streamed)))
}

/// The fields that go on to the client: those that always do, and the listed ones.
fn pass(head: &Head, listed: &HashSet<String>, headers: &mut HeaderMap) {
    let hop = HopByHop::named(head.connection());
    for (name, value) in head.fields() {
        let name = match ALWAYS.iter().find(|(always, _)| always.eq_ignore_ascii_case(name)) {
            Some((_, always)) => Some(always.clone()),
            None if listed.is_empty() => None,
            // Made in lower case, as the list is.
            None => {
                HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| listed.contains(name.as_str()))
            }
        };
        if let Some(name) = name
            && !hop.ends(name.as_str())
            && let Ok(value) = HeaderValue::from_maybe_shared(value)
        {
            headers.append(name, value);
        }
    }
}

/// Milliseconds; few of them need no memory.
pub(crate) fn time(millis: u64) -> HeaderValue {
    const FEW: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let few = usize::try_from(millis).ok().and_then(|millis| FEW.get(millis));
    few.map_or_else(|| HeaderValue::from(millis), |few| HeaderValue::from_static(few))
}

/// An answer of our own.
pub(crate) fn refused(response: HttpResponse, lane: &Lane) -> HttpResponse<Body> {
    let mut response = response.map_body(|_, body| Body::Own(body));
    common(response.headers_mut());
    close_if_draining(&mut response, lane);
    response
}

/// OPTIONS: always 204, without authentication (spec/doorman.md 5.7). Cross-origin headers are not given yet.
pub(crate) fn preflight(lane: &Lane) -> HttpResponse<Body> {
    refused(HttpResponse::NoContent().finish(), lane)
}

fn common(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// A draining daemon closes behind each answer, so that a client's next connection meets whoever comes after. The
/// server takes this from the head's type and ignores a field of that name.
fn close_if_draining<B>(response: &mut HttpResponse<B>, lane: &Lane) {
    if lane.draining.load(Ordering::Relaxed) {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
}
