//! One attempt: the request to one server, and the head of its answer. A reused connection that dies before the first
//! byte is replaced by a fresh one, if nothing that matters was sent: that is no attempt of its own.

use crate::call::{Allowed, Call};
use crate::client::stream::Client;
use crate::deadlines::Deadline;
use crate::failure::Failure;
use crate::pool::Bounds;
use crate::prepare::server::Server;
use crate::stages::shape::idempotent;
use crate::upstream::connection::{Broken, Connection};
use crate::upstream::upload::Upload;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Why there is no answer.
pub(crate) enum Error {
    /// It is the client's fault.
    Client(Failure),
    /// No connection.
    Unreachable,
    /// As many connections as may be, and none came free.
    Crowded,
    /// It broke, or is none of HTTP/1.1.
    Broken,
    TimedOut,
}

/// Bounds of time for one call, and what answer it may get.
pub(crate) struct Patience {
    connect_ms: u64,
    /// To the first byte of the answer, and between two pieces.
    pub(crate) read: Duration,
    /// Between two pieces of the request that the upstream takes.
    write: Duration,
    /// The end of all attempts together.
    until: Option<Instant>,
    /// It may switch protocols.
    switch: bool,
}

impl Patience {
    pub(crate) fn of(call: &Call<'_, Allowed<'_>>) -> Self {
        let (limits, own) = (&call.prepared.limits, call.stage.0.routed.route.api.timeouts);
        let read = Duration::from_millis(own.read_ms.unwrap_or(limits.read_timeout_ms));
        Self {
            connect_ms: own.connect_ms.unwrap_or(limits.connect_timeout_ms),
            read,
            write: own.write_ms.map_or(read, Duration::from_millis),
            until: own.total_ms.map(|millis| Instant::now() + Duration::from_millis(millis)),
            switch: call.stage.0.routed.switch,
        }
    }

    /// Whether there is time for an attempt that begins in so many milliseconds.
    pub(crate) fn allows(&self, delay_ms: u64) -> bool {
        self.until.is_none_or(|until| Instant::now() + Duration::from_millis(delay_ms) < until)
    }

    /// Milliseconds to connect: no more than are left of all.
    fn connect_ms(&self) -> u64 {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()).as_millis());
        left.map_or(self.connect_ms, |left| self.connect_ms.min(u64::try_from(left).unwrap_or(u64::MAX)))
    }

    fn ends(&self, now: Instant) -> Instant {
        let read = now + self.read;
        self.until.map_or(read, |until| read.min(until))
    }
}

pub(crate) async fn exchange(
    server: &Server,
    upload: &mut Upload,
    call: &Call<'_, Allowed<'_>>,
    client: &mut Client,
    patience: &Patience,
) -> Result<Connection, Error> {
    let (lane, limits) = (call.lane, &call.prepared.limits);
    let now = Instant::now();
    let idle = lane.pool.take(&server.peer, limits.idle_timeout_ms, now);
    let (mut connection, now) = match idle {
        Some(connection) => (connection, now),
        // To connect has a time of its own.
        None => (open(server, call, client, patience, false).await?, Instant::now()),
    };
    let mut failed = attempt(&mut connection, upload, call, (client, patience, now)).await;
    // Either nothing was sent, or it can be sent again and does no harm twice (RFC 9110 9.2.2).
    let harmless = upload.unsent() || upload.repeatable() && idempotent(call.head.method());
    if matches!(failed, Some(Error::Broken)) && connection.reused && harmless && !connection.answered() {
        upload.rewind();
        drop(connection); // it counts among those that there may be
        connection = open(server, call, client, patience, true).await?;
        failed = attempt(&mut connection, upload, call, (client, patience, Instant::now())).await;
    }
    failed.map_or(Ok(connection), Err)
}

/// Opens a connection, unless the client leaves.
async fn open(
    server: &Server,
    call: &Call<'_, Allowed<'_>>,
    client: &mut Client,
    patience: &Patience,
    fresh: bool,
) -> Result<Connection, Error> {
    let most = call.lane.share(call.prepared.limits.upstream_connections);
    let bounds = Bounds { connect_ms: patience.connect_ms(), most, fresh };
    let mut opening = std::pin::pin!(call.lane.pool.open(&server.peer, bounds));
    poll_fn(|context| match opening.as_mut().poll(context) {
        Poll::Ready(Ok(connection)) => Poll::Ready(Ok(connection)),
        Poll::Ready(Err(Failure::Timeout)) => Poll::Ready(Err(Error::TimedOut)),
        Poll::Ready(Err(Failure::Crowded)) => Poll::Ready(Err(Error::Crowded)),
        Poll::Ready(Err(_)) => Poll::Ready(Err(Error::Unreachable)),
        Poll::Pending if client.gone(context) => Poll::Ready(Err(Error::Client(Failure::ClientGone))),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Sends and waits for the head; as long as the request's body moves, the time begins anew. `None`: it is there.
async fn attempt(
    connection: &mut Connection,
    upload: &mut Upload,
    call: &Call<'_, Allowed<'_>>,
    (client, patience, now): (&mut Client, &Patience, Instant),
) -> Option<Error> {
    let mut deadline = call.lane.deadlines.at(patience.ends(now));
    let mut before = (client.came(), upload.moved());
    // Begins when the upstream takes nothing, and how much it had taken then.
    let mut writing: Option<(Deadline, u64)> = None;
    poll_fn(|context| {
        if let Poll::Ready(done) = both_ways(connection, upload, (client, patience.switch), context) {
            return Poll::Ready(done);
        }
        if !upload.blocked() {
            writing = None;
        } else {
            let began = || (call.lane.deadlines.at(Instant::now() + patience.write), upload.moved());
            let (until, moved) = writing.get_or_insert_with(began);
            if *moved != upload.moved() {
                *moved = upload.moved();
                until.again(patience.write);
            } else if until.passed(context) {
                return Poll::Ready(Some(Error::TimedOut));
            }
        }
        if !deadline.passed(context) {
            return Poll::Pending;
        }
        if upload.hungry() {
            if !patience.allows(0) {
                return Poll::Ready(Some(Error::Client(Failure::SlowBody)));
            }
            // It is the client that lets wait, which has a pace of its own.
            again(&mut deadline, patience);
            return Poll::Pending;
        }
        let now = (client.came(), upload.moved());
        let moved = now != before && patience.until.is_none_or(|until| until > Instant::now());
        if !moved {
            return Poll::Ready(Some(Error::TimedOut));
        }
        before = now;
        again(&mut deadline, patience);
        Poll::Pending
    })
    .await
}

fn again(deadline: &mut Deadline, patience: &Patience) {
    let now = Instant::now();
    deadline.again(patience.ends(now).saturating_duration_since(now));
}

/// Sends and receives at once, and sees whether the client is still there.
fn both_ways(
    connection: &mut Connection,
    upload: &mut Upload,
    (client, switch): (&mut Client, bool),
    context: &mut Context<'_>,
) -> Poll<Option<Error>> {
    if let Poll::Ready(Err(error)) = connection.poll_upload(upload, client, context) {
        return Poll::Ready(Some(Error::Client(error.into())));
    }
    match connection.poll_head(switch, context) {
        Poll::Ready(Ok(())) => Poll::Ready(None),
        Poll::Ready(Err(error)) => Poll::Ready(Some(broken(&error))),
        Poll::Pending if client.gone(context) => Poll::Ready(Some(Error::Client(Failure::ClientGone))),
        Poll::Pending => Poll::Pending,
    }
}

fn broken(error: &Broken) -> Error {
    tracing::debug!(target: "forward", %error, "no answer");
    Error::Broken
}
