//! A connection to an upstream, driven by whoever asks over it.

use super::Wrong;
use super::body::{Decoder, Step};
use super::head::{self, Head};
use super::upload::Upload;
use bytes::{Buf as _, Bytes, BytesMut};
use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Bytes read at once: small enough to stay in the processor's cache.
const READ_BYTES: usize = 16_384;
/// Interim answers before the answer.
const INTERIM: usize = 16;

/// Why an answer did not come, or not whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// Before its first byte.
    #[error("the upstream closed the connection")]
    Closed,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Wrong(#[from] Wrong),
}

/// A connection that is free or in use.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) authority: Arc<str>,
    /// It has carried an answer before.
    pub(crate) reused: bool,
    stream: TcpStream,
    bytes: BytesMut,
    /// Some byte of the present answer has come.
    answered: bool,
    interim: usize,
}

impl Connection {
    pub(crate) fn new(authority: Arc<str>, stream: TcpStream) -> Self {
        let bytes = BytesMut::with_capacity(READ_BYTES);
        Self { authority, reused: false, stream, bytes, answered: false, interim: 0 }
    }

    /// Ready for the next request; `false` if it has closed or has spoken unasked.
    pub(crate) fn again(&mut self) -> bool {
        (self.reused, self.answered, self.interim) = (true, false, 0);
        let mut context = Context::from_waker(Waker::noop());
        self.bytes.is_empty()
            && match self.stream.poll_read_ready(&mut context) {
                Poll::Pending => true,
                // Perhaps of the last read, which may have taken all there was.
                Poll::Ready(_) => {
                    let tried = self.stream.try_read(&mut [0]);
                    tried.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
                }
            }
    }

    /// Nothing came behind the answer.
    pub(crate) fn clean(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Some byte of the answer has come, so that the request was taken.
    pub(crate) fn answered(&self) -> bool {
        self.answered
    }

    /// Sends.
    pub(crate) fn poll_upload(
        &mut self,
        upload: &mut Upload,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), super::upload::BodyError>> {
        upload.poll(&mut self.stream, context)
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        self.bytes.reserve(READ_BYTES);
        // The future keeps nothing between two polls.
        let read = ready!(pin!(self.stream.read_buf(&mut self.bytes)).poll(context))?;
        self.answered |= read > 0;
        Poll::Ready(Ok(read))
    }

    /// Reads the head of the answer; interim ones are skipped.
    pub(crate) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
        // On entry it was looked at before, unless there is nothing.
        let mut look = false;
        loop {
            if look && let Some((head, used)) = head::parse(&self.bytes)? {
                match head.status {
                    101 => {
                        return Poll::Ready(Err(Wrong("a switch of protocols that nobody asked for").into()));
                    }
                    100..200 if self.interim < INTERIM => {
                        self.bytes.advance(used);
                        self.interim += 1;
                        continue;
                    }
                    100..200 => return Poll::Ready(Err(Wrong("too many interim answers").into())),
                    _ => return Poll::Ready(Ok(head.with(self.bytes.split_to(used).freeze()))),
                }
            }
            let before = self.bytes.len();
            if ready!(self.poll_fill(context))? == 0 {
                let cut = if self.answered { Wrong("cut off").into() } else { Broken::Closed };
                return Poll::Ready(Err(cut));
            }
            // A head that drips is not parsed again for each drop.
            look = before == 0
                || ends(self.bytes.get(before.saturating_sub(3)..))
                || self.bytes.len() >= head::HEAD_BYTES;
        }
    }

    /// The next piece of the answer's body.
    pub(crate) fn poll_body(
        &mut self,
        decoder: &mut Decoder,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            match decoder.next(&mut self.bytes) {
                Ok(Step::Data(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(Step::End) => return Poll::Ready(None),
                Ok(Step::More) => {}
                Err(wrong) => return Poll::Ready(Some(Err(wrong.into()))),
            }
            let closed = match ready!(self.poll_fill(context)) {
                Ok(0) => decoder.closed(),
                Ok(_) => continue,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            return Poll::Ready(closed.err().map(|wrong| Err(wrong.into())));
        }
    }
}

/// Whether an empty line is among these bytes.
fn ends(bytes: Option<&[u8]>) -> bool {
    let bytes = bytes.unwrap_or_default();
    bytes.windows(3).any(|three| three == b"\n\r\n") || bytes.windows(2).any(|two| two == b"\n\n")
}
