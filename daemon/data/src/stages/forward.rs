//! Forward: sends the shaped request over a pooled connection and waits for the head of the answer. A reused
//! connection that dies before the first byte is tried once more on a fresh one, if nothing of a body was sent.

use crate::call::{Allowed, Call};
use crate::failure::Failure;
use crate::pool::Connection;
use crate::prepare::Upstream;
use crate::stages::record::Record;
use crate::stages::shape::head as head_of;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A request, ready to be sent.
pub(crate) struct Shaped<'a> {
    pub(crate) head: http::Request<()>,
    pub(crate) body: Outgoing,
    pub(crate) upstream: &'a Upstream,
}

/// An answer's head, with its body still to come.
pub(crate) struct Answer {
    pub(crate) response: http::Response<Incoming>,
    pub(crate) connection: Connection,
    pub(crate) upstream_time: Duration,
    /// How long each further piece may take.
    pub(crate) patience: Duration,
}

/// Why a request body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("longer than allowed")]
    TooLarge,
    #[error("ended early")]
    Ended,
}

/// The request body on its way upstream.
pub(crate) enum Outgoing {
    Empty,
    Stream {
        payload: Box<Payload>,
        left: Option<u64>,
        allowed: u64,
        count: Rc<Cell<u64>>,
        broke: Rc<Cell<Option<BodyError>>>,
    },
}

impl Outgoing {
    pub(crate) fn stream(payload: Payload, length: Option<u64>, allowed: u64, count: Rc<Cell<u64>>) -> Self {
        Self::Stream { payload: Box::new(payload), left: length, allowed, count, broke: Rc::default() }
    }

    fn broke(&self) -> Option<Rc<Cell<Option<BodyError>>>> {
        match self {
            Self::Empty => None,
            Self::Stream { broke, .. } => Some(Rc::clone(broke)),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self::Stream { payload, left, allowed, count, broke } = self.get_mut() else {
            return Poll::Ready(None);
        };
        let Poll::Ready(next) = Pin::new(payload.as_mut()).poll_next(context) else { return Poll::Pending };
        let fault = match next {
            None => return Poll::Ready(None),
            Some(Ok(bytes)) => {
                let length = bytes.len() as u64;
                count.set(count.get() + length);
                *left = left.map(|left| left.saturating_sub(length));
                if count.get() <= *allowed {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                BodyError::TooLarge
            }
            Some(Err(PayloadError::Overflow)) => BodyError::TooLarge,
            Some(Err(_)) => BodyError::Ended,
        };
        broke.set(Some(fault));
        Poll::Ready(Some(Err(fault)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty | Self::Stream { left: Some(0), .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream { left: Some(left), .. } => SizeHint::with_exact(*left),
            Self::Stream { .. } => SizeHint::default(),
        }
    }
}

/// Waits for an answer's head; as long as the request's body moves, the time begins anew. `None`: it was too
/// long.
async fn patiently<T>(answer: impl Future<Output = T>, patience: Duration, sent: &Cell<u64>) -> Option<T> {
    let mut answer = pin!(answer);
    loop {
        let before = sent.get();
        match tokio::time::timeout(patience, &mut answer).await {
            Ok(answer) => return Some(answer),
            Err(_) if sent.get() > before => {}
            Err(_) => return None,
        }
    }
}

pub(crate) async fn forward(
    shaped: Shaped<'_>,
    call: &Call<'_, Allowed<'_>>,
    record: &mut Record,
) -> Result<Answer, Failure> {
    let Shaped { head, body, upstream } = shaped;
    let limits = &call.prepared.limits;
    let api = &call.stage.0.routed.route.api;
    let connect_ms = api.connect_timeout_ms.unwrap_or(limits.connect_timeout_ms);
    let patience = Duration::from_millis(api.read_timeout_ms.unwrap_or(limits.read_timeout_ms));
    let begun = Instant::now();
    let broke = body.broke();
    let bodiless = broke.is_none();
    let idempotent = head.method().is_idempotent();
    let mut request = head.map(|()| body);
    let mut reuse = true;
    loop {
        let idle = reuse.then(|| call.lane.pool.take(&upstream.authority, limits.idle_timeout_ms)).flatten();
        let mut connection = match idle {
            Some(connection) => connection,
            None => call.lane.pool.open(&upstream.authority, connect_ms).await?,
        };
        let sending = connection.sender.try_send_request(request);
        let outcome = patiently(sending, patience, &record.bytes_in()).await;
        let upstream_time = begun.elapsed();
        record.access.upstream_micros = u64::try_from(upstream_time.as_micros()).unwrap_or(u64::MAX);
        let mut error = match outcome {
            None => return Err(Failure::Timeout),
            Some(Ok(response)) => return Ok(Answer { response, connection, upstream_time, patience }),
            Some(Err(error)) => error,
        };
        match broke.as_ref().and_then(|broke| broke.get()) {
            Some(BodyError::TooLarge) => return Err(Failure::BodyTooLarge),
            Some(BodyError::Ended) => return Err(Failure::ClientBody),
            None => {}
        }
        // Either nothing was sent, or there is no body and the method may be repeated (RFC 9110 9.2.2).
        let unsent = error.take_message();
        let repeatable = bodiless && idempotent;
        request = match (connection.reused && reuse, unsent) {
            (true, Some(unsent)) => unsent,
            (true, None) if repeatable => {
                head_of(call, upstream, &record.access.request)?.map(|()| Outgoing::Empty)
            }
            _ => return Err(Failure::Upstream),
        };
        reuse = false;
    }
}
