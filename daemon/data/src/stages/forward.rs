//! Forward: sends the shaped request over a pooled connection and waits for the head of the answer. A reused
//! connection that dies before the first byte is tried once more on a fresh one, if nothing of a body was sent.

use crate::call::{Allowed, Call};
use crate::client::stream::{BodyError, Client};
use crate::deadlines::Deadline;
use crate::failure::Failure;
use crate::prepare::Upstream;
use crate::stages::record::Record;
use crate::upstream::connection::{Broken, Connection};
use crate::upstream::upload::Upload;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A request, ready to be sent.
pub(crate) struct Shaped<'a> {
    pub(crate) upload: Upload,
    pub(crate) upstream: &'a Upstream,
}

/// An answer's head, with its body still to come.
pub(crate) struct Answered {
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
    Gone,
    Upstream(Broken),
}

/// Sends and receives at once, and sees whether the client is still there.
fn exchange(
    connection: &mut Connection,
    upload: &mut Upload,
    client: &mut Client,
    context: &mut Context<'_>,
) -> Poll<Result<(), Error>> {
    if let Poll::Ready(Err(error)) = connection.poll_upload(upload, client, context) {
        return Poll::Ready(Err(Error::Client(error)));
    }
    match connection.poll_head(context) {
        Poll::Ready(answer) => Poll::Ready(answer.map_err(Error::Upstream)),
        Poll::Pending if client.gone(context) => Poll::Ready(Err(Error::Gone)),
        Poll::Pending => Poll::Pending,
    }
}

/// Waits for an answer's head; as long as the request's body moves, the time begins anew. `None`: it was too
/// long.
async fn patiently(
    connection: &mut Connection,
    upload: &mut Upload,
    client: &mut Client,
    mut deadline: Deadline,
    patience: Duration,
) -> Option<Result<(), Error>> {
    let mut before = client.came();
    poll_fn(|context| {
        if let Poll::Ready(answer) = exchange(connection, upload, client, context) {
            return Poll::Ready(Some(answer));
        }
        if !deadline.passed(context) {
            return Poll::Pending;
        }
        if client.came() > before {
            before = client.came();
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
    client: &mut Client,
    record: &mut Record,
) -> Result<Answered, Failure> {
    let Shaped { mut upload, upstream } = shaped;
    let limits = &call.prepared.limits;
    let api = &call.stage.0.routed.route.api;
    let connect_ms = api.timeouts.connect_ms.unwrap_or(limits.connect_timeout_ms);
    let patience = Duration::from_millis(api.timeouts.read_ms.unwrap_or(limits.read_timeout_ms));
    let begun = Instant::now();
    let idempotent = matches!(call.head.method(), "GET" | "HEAD" | "PUT" | "DELETE");
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
        let outcome = patiently(&mut connection, &mut upload, client, deadline, patience).await;
        let upstream_time = begun.elapsed();
        record.access.upstream_micros = u64::try_from(upstream_time.as_micros()).unwrap_or(u64::MAX);
        let error = match outcome {
            None => return Err(Failure::Timeout),
            Some(Ok(())) => return Ok(Answered { connection, upload, upstream_time, patience }),
            Some(Err(Error::Client(error))) => return Err(error.into()),
            Some(Err(Error::Gone)) => return Err(Failure::ClientGone),
            Some(Err(Error::Upstream(error))) => error,
        };
        tracing::debug!(target: "forward", %error, upstream = &*upstream.authority, "no answer");
        // Either nothing was sent, or there is no body and the method may be repeated (RFC 9110 9.2.2).
        let died = connection.reused && reuse && !connection.answered();
        if !died || !(upload.unsent() || upload.repeatable() && idempotent) {
            return Err(Failure::Upstream);
        }
        upload.again();
        reuse = false;
    }
}
