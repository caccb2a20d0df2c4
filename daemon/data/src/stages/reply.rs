//! Reply: the answer as the client gets it (spec/doorman.md 1.4, 5.6): listed headers, the body byte for byte.

use crate::call::{Allowed, Arrived, Call};
use crate::client::answer::{Answer, Content, Cut};
use crate::client::stream::Client;
use crate::deadlines::{Deadline, Deadlines};
use crate::http1::Framing;
use crate::http1::body::Decoder;
use crate::pool::Pool;
use crate::prepare::Route;
use crate::stages::forward::Answered;
use crate::upstream::connection::Connection;
use crate::upstream::upload::Upload;
use std::io::Write as _;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How long the next piece of an answer may take. It begins only when there is something to wait for.
struct Patience {
    limit: Duration,
    all: Deadlines,
    deadline: Option<Deadline>,
}

impl Patience {
    fn lost(&mut self, context: &Context<'_>) -> bool {
        self.deadline.get_or_insert_with(|| self.all.at(Instant::now() + self.limit)).passed(context)
    }
}

/// A body on its way from the upstream.
pub(crate) struct Streamed {
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

    pub(crate) fn poll(
        &mut self,
        client: &mut Client,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<usize, Cut>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        if let Some(upload) = &mut self.upload {
            match connection.poll_upload(upload, client, context) {
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Err(Cut::Client))),
                Poll::Ready(Ok(())) if upload.complete() => self.upload = None,
                _ => {}
            }
        }
        match connection.poll_body(&mut self.decoder, context) {
            Poll::Ready(Some(Ok(count))) => {
                self.patience.deadline = None;
                Poll::Ready(Some(Ok(count)))
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(target: "forward", %error, "an answer broke off");
                Poll::Ready(Some(Err(Cut::Upstream)))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending if self.patience.lost(context) => Poll::Ready(Some(Err(Cut::Stalled))),
            Poll::Pending => Poll::Pending,
        }
    }

    pub(crate) fn piece(&self, count: usize) -> &[u8] {
        self.connection.as_ref().map(|connection| connection.piece(count)).unwrap_or_default()
    }

    pub(crate) fn took(&mut self, count: usize) {
        if let Some(connection) = &mut self.connection {
            connection.took(&mut self.decoder, count);
            if self.decoder.done() {
                self.finish();
            }
        }
    }
}

pub(crate) fn reply(answered: Answered, call: &Call<'_, Allowed<'_>>) -> Answer {
    let Answered { connection, upload, upstream_time, patience: limit } = answered;
    let head = &connection.head;
    let mut answer = Answer::new(head.status, call.lane);
    pass(&connection, call.stage.0.routed.route, &mut answer);
    // Into memory: this cannot fail.
    write!(answer.head, "x-backend-time: {}\r\n", upstream_time.as_millis()).ok();
    guard(&mut answer);
    let framing = head.framing(call.head.method() == "HEAD");
    let decoder = Decoder::new(framing);
    answer.length = match (head.length, decoder.done()) {
        (Some(length), _) => Some(length),
        (None, true) if head.chunked => None,
        (None, true) => Some(0),
        (None, false) => None,
    };
    let upload = if upload.complete() {
        call.lane.spare(upload.into_bytes());
        None
    } else {
        Some(upload)
    };
    let mut streamed = Streamed {
        decoder,
        keeps: head.keeps && framing != Framing::UntilClose,
        connection: Some(connection),
        upload,
        home: (call.lane.pool.clone(), call.prepared.limits.idle_connections),
        patience: Patience { limit, all: call.lane.deadlines.clone(), deadline: None },
    };
    if streamed.decoder.done() {
        streamed.finish();
    } else {
        answer.content = Content::Streamed(Box::new(streamed));
    }
    answer
}

/// The fields that go on to the client: those that always do, and the listed ones.
fn pass(connection: &Connection, route: &Route, answer: &mut Answer) {
    let head = &connection.head;
    for (name, text, value) in head.fields() {
        let passes =
            name.always_down() || !route.headers.is_empty() && !name.never_down() && route.lists(text);
        if passes && !head.ends(text) {
            answer.field(text, value);
        }
    }
}

/// Fields of every answer of the gateway.
pub(crate) fn guard(answer: &mut Answer) {
    answer.head.extend_from_slice(
        b"x-content-type-options: nosniff\r\nx-frame-options: DENY\r\nreferrer-policy: no-referrer\r\n",
    );
}

/// OPTIONS: always 204, without authentication (spec/doorman.md 5.7). Cross-origin headers are not given yet.
pub(crate) fn preflight(call: &Call<'_, Arrived>) -> Answer {
    let mut answer = Answer::new(204, call.lane);
    guard(&mut answer);
    answer
}
