//! Forward: sends the shaped request over a pooled connection and waits for the head of the answer. A reused
//! connection that dies before the first byte is tried once more on a fresh one, if nothing of a body was sent.

use crate::call::{Allowed, Call};
use crate::deadlines::Deadline;
use crate::failure::Failure;
use crate::prepare::Upstream;
use crate::stages::record::Record;
use crate::upstream::connection::{Broken, Connection};
use crate::upstream::head::Head;
use crate::upstream::upload::{BodyError, Upload};
use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A request, ready to be sent.
pub(crate) struct Shaped<'a> {
    pub(crate) upload: Upload,
    pub(crate) upstream: &'a Upstream,
}

/// An answer's head, with its body still to come.
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) connection: Connection,
    /// What is still to be sent: an upstream may answer early.
    pub(crate) upload: Upload,
    pub(crate) upstream_time: Duration,
    /// How long each further piece may take.
    pub(crate) patience: Duration,
}

/// Why there is no answer.
enum Error {
    Client(BodyError),
    Upstream(Broken),
}

/// Sends and receives at once.
fn exchange(
    connection: &mut Connection,
    upload: &mut Upload,
    context: &mut Context<'_>,
) -> Poll<Result<Head, Error>> {
    if let Poll::Ready(Err(error)) = connection.poll_upload(upload, context) {
        return Poll::Ready(Err(Error::Client(error)));
    }
    connection.poll_head(context).map_err(Error::Upstream)
}

/// Waits for an answer's head; as long as the request's body moves, the time begins anew. `None`: it was too
/// long.
async fn patiently(
    connection: &mut Connection,
    upload: &mut Upload,
    mut deadline: Deadline,
    (patience, moved): (Duration, &Cell<u64>),
) -> Option<Result<Head, Error>> {
    let mut before = moved.get();
    poll_fn(|context| {
        if let Poll::Ready(answer) = exchange(connection, upload, context) {
            return Poll::Ready(Some(answer));
        }
        if !deadline.passed(context) {
            return Poll::Pending;
        }
        if moved.get() > before {
            before = moved.get();
            deadline.again(patience);
            return Poll::Pending;
        }
        Poll::Ready(None)
    })
    .await
}

pub(crate) async fn forward(
    shaped: Shaped<'_>,
    call: &Call<'_, Allowed<'_>>,
    record: &mut Record,
) -> Result<Answer, Failure> {
    let Shaped { mut upload, upstream } = shaped;
    let limits = &call.prepared.limits;
    let api = &call.stage.0.routed.route.api;
    let connect_ms = api.timeouts.connect_ms.unwrap_or(limits.connect_timeout_ms);
    let patience = Duration::from_millis(api.timeouts.read_ms.unwrap_or(limits.read_timeout_ms));
    let begun = Instant::now();
    let repeatable = upload.bodiless() && call.request.method().is_idempotent();
    let mut reuse = true;
    loop {
        let idle =
            reuse.then(|| call.lane.pool.take(&upstream.authority, limits.idle_timeout_ms, begun)).flatten();
        let mut connection = match idle {
            Some(connection) => connection,
            None => call.lane.pool.open(&upstream.authority, connect_ms).await?,
        };
        let now = if connection.reused { begun } else { Instant::now() };
        let deadline = call.lane.deadlines.at(now + patience);
        let outcome = patiently(&mut connection, &mut upload, deadline, (patience, record.moved())).await;
        let upstream_time = begun.elapsed();
        record.access.upstream_micros = u64::try_from(upstream_time.as_micros()).unwrap_or(u64::MAX);
        let error = match outcome {
            None => return Err(Failure::Timeout),
            Some(Ok(head)) => return Ok(Answer { head, connection, upload, upstream_time, patience }),
            Some(Err(Error::Client(BodyError::TooLarge))) => return Err(Failure::BodyTooLarge),
            Some(Err(Error::Client(BodyError::Ended))) => return Err(Failure::ClientBody),
            Some(Err(Error::Upstream(error))) => error,
        };
        tracing::debug!(target: "forward", %error, upstream = &*upstream.authority, "no answer");
        // Either nothing was sent, or there is no body and the method may be repeated (RFC 9110 9.2.2).
        let died = connection.reused && reuse && !connection.answered();
        if !died || !(upload.unsent() || repeatable) {
            return Err(Failure::Upstream);
        }
        upload.again();
        reuse = false;
    }
}
