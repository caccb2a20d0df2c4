//! Record: one access record for each request, on every exit. It lives as long as the answer is written; dropped
//! before, it says that the client went away (status 499).

use crate::client::answer::{Answer, Cut};
use crate::client::head::Head;
use crate::failure::Failure;
use crate::lane::Lane;
use crate::prepare::Route;
use crate::rescue::row;
use gatehouse_corridor::telemetry::{AccessRecord, RouteStats, Telemetry};
use gatehouse_corridor::text::Text;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Status recorded when the client went away first.
const CLIENT_GONE: u16 = 499;

/// An open record.
pub(crate) struct Record {
    pub(crate) access: AccessRecord,
    pub(crate) begun: Instant,
    worker: usize,
    telemetry: Arc<Telemetry>,
    stats: Option<Arc<RouteStats>>,
    refused: bool,
    permit: bool,
    closed: bool,
}

impl Record {
    pub(crate) fn open(lane: &Lane, head: &Head, peer: IpAddr, now_ms: i64) -> Self {
        let access = AccessRecord {
            method: head.method().into(),
            path: head.path().to_owned(),
            at_unix_ms: now_ms,
            peer: lane.peer(peer),
            ..AccessRecord::default()
        };
        Self {
            access,
            begun: Instant::now(),
            worker: lane.worker,
            telemetry: Arc::clone(&lane.telemetry),
            stats: None,
            refused: false,
            permit: false,
            closed: false,
        }
    }

    /// The id the client gave, or one of ours.
    pub(crate) fn name(&mut self, given: Option<&str>) {
        self.access.request = match given {
            Some(id) => id.into(),
            None => {
                let mut room = uuid::Uuid::encode_buffer();
                Text::from(&*uuid::Uuid::new_v4().hyphenated().encode_lower(&mut room))
            }
        };
    }

    pub(crate) fn routed(&mut self, route: &Route) {
        self.access.route = (&*route.name).into();
        self.stats = Some(Arc::clone(&route.stats));
    }

    /// Counts the call as in flight until the record closes.
    pub(crate) fn permit(&mut self) -> &AtomicU64 {
        self.permit = true;
        self.telemetry.in_flight.fetch_add(1, Ordering::AcqRel);
        &self.telemetry.in_flight
    }

    /// What the client gets instead of what it asked for.
    pub(crate) fn refuse(&mut self, failure: Failure, answered: u16) {
        let (status, code, _) = row(failure);
        self.access.failure = code;
        self.refused = (400..500).contains(&status) && status != CLIENT_GONE;
        self.access.status = if failure == Failure::ClientGone { CLIENT_GONE } else { answered };
    }

    /// Puts the request's id and the time so far on the answer (spec/doorman.md 1.3, 5.6).
    pub(crate) fn sign(&self, answer: &mut Answer) {
        let id = self.access.request.as_bytes();
        answer.field(b"x-request-id", id);
        answer.field(b"request_id", id);
        let millis = self.begun.elapsed().as_millis();
        // Into memory: this cannot fail.
        write!(answer.head, "x-gateway-time: {millis}\r\n").ok();
    }

    /// The answer is over: whole, or cut.
    pub(crate) fn close(mut self, cut: Option<Cut>) {
        self.closed = true;
        let failure = match cut {
            None => return,
            Some(Cut::Client) => {
                self.access.status = CLIENT_GONE;
                return;
            }
            Some(Cut::Upstream) => Failure::Upstream,
            Some(Cut::Stalled) => Failure::Timeout,
        };
        (self.access.status, self.access.failure, _) = row(failure);
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
