//! Record: one access record for each request, on every exit. It lives as long as the answer is written; dropped
//! before, it says that the client went away (status 499).

use crate::client::answer::{Answer, Cut};
use crate::client::head::Head;
use crate::failure::Failure;
use crate::http1::fields::Name;
use crate::lane::Lane;
use crate::policies::bandwidth;
use crate::policies::shed::{self, Gate, Permit};
use crate::policies::standing::Standing;
use crate::prepare::route::Route;
use crate::prepare::who::Who;
use crate::rescue::{limits, policy, row};
use gatehouse_corridor::telemetry::AccessRecord;
use gatehouse_corridor::text::Text;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Status recorded when the client went away first.
const CLIENT_GONE: u16 = 499;

/// An open record.
pub(crate) struct Record<'a> {
    pub(crate) access: AccessRecord,
    pub(crate) begun: Instant,
    lane: &'a Lane,
    pub(crate) route: Option<&'a Route>,
    pub(crate) who: Option<&'a Who>,
    /// From where they call, through the proxies that are trusted.
    pub(crate) client: IpAddr,
    /// Of the API's own bound.
    pub(crate) gate: Option<Permit<&'a Gate>>,
    /// How the caller stands with its tier, for the answer.
    pub(crate) standing: Option<Standing>,
    /// What is wrong, beyond the failure's own text.
    pub(crate) detail: Option<String>,
    /// It is counted as in flight.
    inside: bool,
    closed: bool,
}

impl<'a> Record<'a> {
    pub(crate) fn open(lane: &'a Lane, head: &Head, peer: IpAddr, now_ms: i64) -> Self {
        let access = AccessRecord {
            method: head.method().into(),
            path: head.path().to_owned(),
            at_unix_ms: now_ms,
            peer: lane.peer(peer),
            agent: head.get(Name::UserAgent).and_then(|agent| lane.agent(agent)),
            ..AccessRecord::default()
        };
        Self {
            access,
            begun: Instant::now(),
            lane,
            route: None,
            who: None,
            client: peer,
            gate: None,
            standing: None,
            detail: None,
            inside: false,
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

    pub(crate) fn routed(&mut self, route: &'a Route) {
        self.access.route = (&*route.name).into();
        self.access.priority = route.api.priority;
        self.route = Some(route);
    }

    pub(crate) fn known(&mut self, who: &'a Who) {
        self.access.consumer = who.consumer.id.as_str().into();
        self.who = Some(who);
    }

    /// Counts the call as in flight until the record closes, unless `most` are already.
    pub(crate) fn enter(&mut self, most: u64) -> bool {
        self.inside = shed::enter(&self.lane.telemetry.in_flight, most);
        self.inside
    }

    /// It is not in flight any more.
    pub(crate) fn leave(&mut self) {
        if std::mem::take(&mut self.inside) {
            self.lane.telemetry.in_flight.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// What the client gets instead of what it asked for; the status is the failure's own, also where strict envelopes
    /// say 200.
    pub(crate) fn refuse(&mut self, failure: Failure) {
        let (status, code, _) = row(failure);
        self.access.failure = code;
        self.access.policy = policy(failure);
        self.access.refused = (400..500).contains(&status) && status != CLIENT_GONE;
        self.access.status = status;
        // A refusal tells the numbers of the limit that refused, if one did.
        self.standing = None;
    }

    /// Puts the request's id and the time so far on the answer (spec/doorman.md 1.3, 5.6).
    pub(crate) fn sign(&self, answer: &mut Answer) {
        let id = self.access.request.as_bytes();
        answer.field(b"x-request-id", id);
        answer.field(b"request_id", id);
        let millis = self.begun.elapsed().as_millis();
        // Into memory: this cannot fail.
        write!(answer.head, "x-gateway-time: {millis}\r\n").ok();
        if let Some(standing) = &self.standing {
            limits(answer, standing);
        }
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
            Some(Cut::Revoked) => Failure::Unauthenticated,
        };
        (self.access.status, self.access.failure, _) = row(failure);
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.leave();
        let mut access = std::mem::take(&mut self.access);
        if !self.closed {
            access.status = CLIENT_GONE;
        }
        access.micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        access.at_unix_ms += i64::try_from(access.micros / 1_000).unwrap_or(0);
        let bytes = access.bytes_in + access.bytes_out;
        if let Some(who) = &self.who {
            if let Some(rate) = who.consumer.bandwidth {
                bandwidth::moved(rate, &who.consumer.usage.bandwidth, bytes, access.at_unix_ms);
            }
            if let Some(tier) = &who.tier {
                tier.moved(&who.consumer.usage, bytes, access.at_unix_ms);
            }
        }
        self.lane.telemetry.finish(self.lane.worker, self.route.map(|route| &*route.stats), access);
    }
}
