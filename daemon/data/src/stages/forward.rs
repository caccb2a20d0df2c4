//! Forward: chooses a server, sends the shaped request and waits for the head of the answer; tries again where the API
//! says so (spec/doorman.md 5.4, 5.8).

use crate::breaker::{Change, Outcome, Pass};
use crate::call::{Allowed, Call};
use crate::client::stream::Client;
use crate::failure::Failure;
use crate::prepare::server::{Busy, Server, Targets};
use crate::retry::{self, Attempt, Sent};
use crate::stages::authorize::wait;
use crate::stages::exchange::{Error, Patience, exchange};
use crate::stages::record::Record;
use crate::stages::shape::{Shaped, idempotent};
use crate::upstream::connection::Connection;
use crate::upstream::upload::Upload;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// An answer's head, with its body still to come.
pub(crate) struct Answered {
    pub(crate) connection: Connection,
    /// What is still to be sent: an upstream may answer early.
    pub(crate) upload: Upload,
    pub(crate) upstream_time: Duration,
    /// How long each further piece may take.
    pub(crate) patience: Duration,
    /// The server is busy until the body has come.
    pub(crate) busy: Busy,
}

/// A server that was chosen, with leave to ask it.
struct Chosen<'a> {
    server: &'a Arc<Server>,
    place: usize,
    pass: Pass,
}

pub(crate) async fn forward<'a>(
    mut shaped: Shaped<'a>,
    call: &Call<'a, Allowed<'a>>,
    client: &mut Client,
    record: &mut Record<'a>,
) -> Result<Answered, Failure> {
    let route = call.stage.0.routed.route;
    let retries = route.api.retries;
    if retries.count > 0 {
        route.budget.called(call.now_ms);
    }
    let patience = Patience::of(call);
    let source = std::mem::replace(&mut shaped.source, crate::upstream::upload::Source::Done);
    let mut upload = Upload::new(Vec::new(), source);
    let (mut made, mut asked) = (0u32, 0u64);
    loop {
        let chosen = choose(&shaped, call, asked)?;
        let server = chosen.server;
        made += 1;
        // Lists longer than the word are rare, and then some server may be asked twice.
        asked |= 1u64.checked_shl(u32::try_from(chosen.place).unwrap_or(64)).unwrap_or(0);
        call.lane.spare(upload.again(shaped.head(server, call.lane.buffer())));
        record.access.upstream = (&*server.authority).into();
        let busy = Busy::at(server);
        let begun = Instant::now();
        let outcome = exchange(server, &mut upload, call, client, &patience).await;
        let upstream_time = begun.elapsed();
        record.access.upstream_micros = u64::try_from(upstream_time.as_micros()).unwrap_or(u64::MAX);
        let (attempt, failure) = match &outcome {
            Ok(connection) => (Attempt::Answered(connection.head.status), Failure::Upstream),
            Err(Error::TimedOut) => {
                record.access.timeouts = record.access.timeouts.saturating_add(1);
                (Attempt::TimedOut, Failure::Timeout)
            }
            Err(Error::Unreachable) => (Attempt::Broken, Failure::Connect),
            Err(Error::Broken) => (Attempt::Broken, Failure::Upstream),
            Err(Error::Client(failure)) => {
                ended(&chosen, Outcome::Unknown, call);
                return Err(*failure);
            }
            Err(Error::Crowded) => {
                ended(&chosen, Outcome::Unknown, call);
                return Err(Failure::Crowded);
            }
        };
        let failed =
            !matches!(attempt, Attempt::Answered(status) if !matches!(status, 500 | 502 | 503 | 504));
        ended(&chosen, if failed { Outcome::Failure } else { Outcome::Success }, call);
        if failed && let Some(delay) = again(call, shaped.targets, (made, attempt), &upload, &patience) {
            // What is waited for needs neither this answer nor a place at this server.
            drop((outcome, busy));
            record.access.retries = record.access.retries.saturating_add(1);
            wait(call.lane, client, delay).await?;
            continue;
        }
        let connection = outcome.map_err(|_| failure)?;
        call.lane.spare(shaped.into_fields());
        return Ok(Answered { connection, upload, upstream_time, patience: patience.read, busy });
    }
}

/// Whether there is another attempt, and the milliseconds before it. Without a server that would be asked, or the time for
/// it, what this one said is the better answer.
fn again(
    call: &Call<'_, Allowed<'_>>,
    targets: &Targets,
    (made, attempt): (u32, Attempt),
    upload: &Upload,
    patience: &Patience,
) -> Option<u64> {
    let (route, limits) = (call.stage.0.routed.route, &call.prepared.limits);
    let sent = Sent {
        begun: !upload.unsent(),
        repeatable: upload.unsent() || upload.repeatable(),
        idempotent: idempotent(call.head.method()),
    };
    if !retry::may(route.api.retries, made, attempt, sent) {
        return None;
    }
    let (now_ms, delay) =
        (call.lane.clock.unix_ms(), retry::delay_ms(made + 1, limits.retry_delay_ms, rand::random()));
    let then = now_ms.saturating_add(i64::try_from(delay).unwrap_or(i64::MAX));
    let asked = targets.servers.iter().any(|server| server.circuit.available(&limits.breaker, then));
    (asked && patience.allows(delay) && route.budget.take(now_ms)).then_some(delay)
}

/// A server that may be asked, one that this call has not asked yet if there is one.
fn choose<'a>(shaped: &Shaped<'a>, call: &Call<'a, Allowed<'a>>, asked: u64) -> Result<Chosen<'a>, Failure> {
    let Targets { servers, balancer } = shaped.targets;
    let (rules, now_ms) = (&call.prepared.limits.breaker, call.lane.clock.unix_ms());
    let out = |place: usize, (asked, probes): (u64, bool)| {
        let before = asked.checked_shr(u32::try_from(place).unwrap_or(64)).unwrap_or(0) & 1 == 1;
        servers.get(place).is_none_or(|server| {
            before
                || probes && server.sick.load(Ordering::Relaxed)
                || !server.circuit.available(rules, now_ms)
        })
    };
    let key = balancer.header().and_then(|name| call.head.named(name));
    let busy = |place: usize| servers.get(place).map_or(0, |server| server.in_flight.load(Ordering::Relaxed));
    // All were asked: then any that is not out otherwise. Probes say that all the others are: then any whose breaker lets
    // calls through, for probes may err.
    let ways = [(asked, true), (0, true), (0, false)];
    let way = ways.into_iter().find(|way| (0..servers.len()).any(|place| !out(place, *way)));
    let way = way.unwrap_or((0, false));
    let place = balancer.choose(key, |place| out(place, way), busy).ok_or(Failure::NoUpstream)?;
    let server = servers.get(place).ok_or(Failure::NoUpstream)?;
    let pass = server.circuit.admit(rules, now_ms).map_err(Failure::CircuitOpen)?;
    Ok(Chosen { server, place, pass })
}

/// Tells the server's breaker how it went.
fn ended(chosen: &Chosen<'_>, outcome: Outcome, call: &Call<'_, Allowed<'_>>) {
    let rules = &call.prepared.limits.breaker;
    if chosen.server.circuit.indifferent(rules, outcome) {
        return; // nearly always, and without asking for the time
    }
    let now_ms = call.lane.clock.unix_ms();
    let upstream = &*chosen.server.authority;
    let route = &*call.stage.0.routed.route.name;
    match chosen.server.circuit.ended(rules, chosen.pass, outcome, now_ms) {
        Some(Change::Opened) => tracing::warn!(target: "breaker", route, upstream, "opened"),
        Some(Change::Closed) => tracing::info!(target: "breaker", route, upstream, "closed"),
        None => {}
    }
}
