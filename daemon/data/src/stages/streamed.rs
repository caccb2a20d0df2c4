//! A body on its way from the upstream to the client, and the upstream's connection with it.

use crate::client::answer::Cut;
use crate::client::stream::Client;
use crate::deadlines::{Deadline, Deadlines};
use crate::http1::Framing;
use crate::http1::body::Decoder;
use crate::lane::Lane;
use crate::pool::Pool;
use crate::prepare::server::Busy;
use crate::stages::forward::Answered;
use crate::upstream::connection::Connection;
use crate::upstream::upload::Upload;
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

/// A body that is being read.
pub(crate) struct Streamed {
    decoder: Decoder,
    /// `None` once it was given back or dropped.
    connection: Option<(Connection, Busy)>,
    /// Of the request, if the upstream answered before it was sent.
    upload: Option<Upload>,
    keeps: bool,
    home: (Pool, usize),
    patience: Patience,
}

impl Streamed {
    /// Follows a head. `None`: there is no body, and the connection has gone home.
    pub(crate) fn begin(answered: Answered, to_head: bool, lane: &Lane, idle: usize) -> Option<Self> {
        let Answered { connection, upload, patience: limit, busy, .. } = answered;
        let framing = connection.head.framing(to_head);
        let upload = if upload.complete() {
            lane.spare(upload.into_bytes());
            None
        } else {
            Some(upload)
        };
        let mut streamed = Self {
            decoder: Decoder::new(framing),
            keeps: connection.head.keeps && framing != Framing::UntilClose,
            connection: Some((connection, busy)),
            upload,
            home: (lane.pool.clone(), idle),
            patience: Patience { limit, all: lane.deadlines.clone(), deadline: None },
        };
        if !streamed.decoder.done() {
            return Some(streamed);
        }
        streamed.finish();
        None
    }

    /// Lets the connection go: home, if it can serve another request.
    fn finish(&mut self) {
        if let Some((connection, _)) = self.connection.take()
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
        let Some((connection, _)) = &mut self.connection else { return Poll::Ready(None) };
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
        self.connection.as_ref().map(|(connection, _)| connection.piece(count)).unwrap_or_default()
    }

    pub(crate) fn took(&mut self, count: usize) {
        if let Some((connection, _)) = &mut self.connection {
            connection.took(&mut self.decoder, count);
            if self.decoder.done() {
                self.finish();
            }
        }
    }
}
