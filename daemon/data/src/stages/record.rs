//! Record: one access record for each request, on every exit. It travels with the answer's body and closes
//! with its last byte, or, when the client goes away first, with its drop (status 499).

use crate::failure::Failure;
use crate::lane::Lane;
use crate::prepare::Route;
use crate::rescue::row;
use crate::stages::reply::{Body, Stalled, time};
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use gatehouse_corridor::telemetry::{AccessRecord, RouteStats, Telemetry};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

/// Status recorded when the client went away first.
const CLIENT_GONE: u16 = 499;
static OLD_REQUEST_ID: HeaderName = HeaderName::from_static("request_id");
/// Also what a client or a proxy in front may send.
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static GATEWAY_TIME: HeaderName = HeaderName::from_static("x-gateway-time");

/// An open record.
pub(crate) struct Record {
    pub(crate) access: AccessRecord,
    begun: Instant,
    worker: usize,
    telemetry: Arc<Telemetry>,
    stats: Option<Arc<RouteStats>>,
    bytes_in: Rc<Cell<u64>>,
    refused: bool,
    permit: bool,
    closed: bool,
}

impl Record {
    pub(crate) fn open(lane: &Lane, request: &HttpRequest, now_ms: i64) -> Self {
        let access = AccessRecord {
            method: request.method().as_str().into(),
            path: request.uri().path().to_owned(),
            at_unix_ms: now_ms,
            peer: request.peer_addr().map(|peer| lane.peer(peer.ip())).unwrap_or_default(),
            ..AccessRecord::default()
        };
        Self {
            access,
            begun: Instant::now(),
            worker: lane.worker,
            telemetry: Arc::clone(&lane.telemetry),
            stats: None,
            bytes_in: Rc::default(),
            refused: false,
            permit: false,
            closed: false,
        }
    }

    pub(crate) fn routed(&mut self, route: &Route) {
        self.access.route = (&*route.name).into();
        self.stats = Some(Arc::clone(&route.stats));
    }

    /// Counts the call as in flight until the record closes.
    pub(crate) fn permit<'t>(&mut self, telemetry: &'t Telemetry) -> &'t AtomicU64 {
        self.permit = true;
        telemetry.in_flight.fetch_add(1, Ordering::AcqRel);
        &telemetry.in_flight
    }

    /// The counter that the request's body feeds.
    pub(crate) fn bytes_in(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.bytes_in)
    }

    /// What of it has come.
    pub(crate) fn moved(&self) -> &Cell<u64> {
        &self.bytes_in
    }

    pub(crate) fn refuse(&mut self, status: u16, code: &'static str) {
        self.access.failure = code;
        self.refused = (400..500).contains(&status);
        self.access.status = status;
    }

    /// Ties the record to the answer.
    pub(crate) fn follow(mut self, mut response: HttpResponse<Body>) -> HttpResponse<Followed> {
        if self.access.status == 0 {
            self.access.status = response.status().as_u16();
        }
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&self.access.request) {
            headers.insert(OLD_REQUEST_ID.clone(), id.clone());
            headers.insert(REQUEST_ID.clone(), id);
        }
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        headers.insert(GATEWAY_TIME.clone(), time(millis));
        response.map_body(|_, body| {
            // Without a body there is nothing to follow: it closes when it is dropped.
            self.closed = matches!(body.size(), BodySize::None | BodySize::Sized(0));
            Followed { body, record: self }
        })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.permit {
            self.telemetry.in_flight.fetch_sub(1, Ordering::AcqRel);
        }
        let mut access = std::mem::take(&mut self.access);
        if !self.closed {
            access.status = CLIENT_GONE;
        }
        access.micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        access.at_unix_ms += i64::try_from(access.micros / 1_000).unwrap_or(0);
        access.bytes_in = self.bytes_in.get();
        let route = self.stats.as_deref();
        for stats in std::iter::once(&self.telemetry.total).chain(route) {
            stats.requests.fetch_add(1, Ordering::Relaxed);
            stats.errors.fetch_add(u64::from(access.status >= 500), Ordering::Relaxed);
            stats.refused.fetch_add(u64::from(self.refused), Ordering::Relaxed);
            stats.bytes_in.fetch_add(access.bytes_in, Ordering::Relaxed);
            stats.bytes_out.fetch_add(access.bytes_out, Ordering::Relaxed);
            stats.latency.record(access.micros);
        }
        self.telemetry.leave(self.worker, access);
    }
}

/// A body with its record.
pub(crate) struct Followed {
    body: Body,
    record: Record,
}

impl MessageBody for Followed {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_next(context);
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => {
                this.record.access.bytes_out += bytes.len() as u64;
                // The last byte of a known length: some writers do not ask again.
                if let BodySize::Sized(length) = this.body.size() {
                    this.record.closed |= this.record.access.bytes_out >= length;
                }
            }
            Poll::Ready(Some(Err(error))) => {
                let failure = if error.is::<Stalled>() { Failure::Timeout } else { Failure::Upstream };
                (this.record.access.status, this.record.access.failure, _) = row(failure);
                this.record.closed = true;
            }
            Poll::Ready(None) => this.record.closed = true,
            Poll::Pending => {}
        }
        polled
    }
}
