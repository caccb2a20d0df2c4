//! A request on its way upstream: its head, and its body as far as the client has sent it. The head and what there
//! is of the body leave in one write.

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream as _;
use std::cell::Cell;
use std::io::Write as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// Bytes gathered before they are written.
const GATHER_BYTES: usize = 16_384;

/// Why a request body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("longer than allowed")]
    TooLarge,
    #[error("ended early")]
    Ended,
}

/// A request body as the client sends it.
pub(crate) struct Incoming {
    pub(crate) payload: Payload,
    /// Bytes still to come; `None` if the client did not say.
    pub(crate) left: Option<u64>,
    pub(crate) allowed: u64,
    pub(crate) count: Rc<Cell<u64>>,
}

impl Incoming {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.left == Some(0) {
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = Pin::new(&mut self.payload).poll_next(context) else { return Poll::Pending };
        Poll::Ready(match next {
            None if self.left.is_none() => None,
            Some(Ok(bytes)) => {
                let length = bytes.len() as u64;
                let count = self.count.get() + length;
                self.count.set(count);
                match self.left.map(|left| left.checked_sub(length)) {
                    _ if count > self.allowed => Some(Err(BodyError::TooLarge)),
                    Some(None) => Some(Err(BodyError::Ended)),
                    left => {
                        self.left = left.flatten();
                        Some(Ok(bytes))
                    }
                }
            }
            Some(Err(PayloadError::Overflow)) => Some(Err(BodyError::TooLarge)),
            None | Some(Err(_)) => Some(Err(BodyError::Ended)),
        })
    }
}

/// A request that is being sent.
pub(crate) struct Upload {
    bytes: Vec<u8>,
    /// Of `bytes`.
    sent: usize,
    /// Some byte has left.
    begun: bool,
    body: Option<Box<Incoming>>,
    bodiless: bool,
    chunked: bool,
    /// The upstream takes no more.
    refused: bool,
}

impl Upload {
    /// A whole head, without a body or with one.
    pub(crate) fn new(head: Vec<u8>, body: Option<Box<Incoming>>) -> Self {
        let (bodiless, chunked) = (body.is_none(), body.as_ref().is_some_and(|body| body.left.is_none()));
        Self { bytes: head, sent: 0, begun: false, body, bodiless, chunked, refused: false }
    }

    /// Nothing has left.
    pub(crate) fn unsent(&self) -> bool {
        !self.begun
    }

    pub(crate) fn bodiless(&self) -> bool {
        self.bodiless
    }

    /// All of it has left.
    pub(crate) fn complete(&self) -> bool {
        self.body.is_none() && self.sent == self.bytes.len() && !self.refused
    }

    /// Begins anew on another connection. The caller has seen that it may: nothing was sent, or there is no body.
    pub(crate) fn again(&mut self) {
        (self.sent, self.refused) = (0, false);
    }

    /// The buffer, for the next one.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Sends what there is. Ready when all has left or the upstream takes no more: its answer tells why.
    pub(crate) fn poll(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BodyError>> {
        loop {
            let waits = self.gather(context)?;
            while let Some(rest) =
                self.bytes.get(self.sent..).filter(|rest| !rest.is_empty() && !self.refused)
            {
                match Pin::new(&mut *stream).poll_write(context, rest) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(count)) if count > 0 => {
                        self.sent += count;
                        self.begun = true;
                    }
                    Poll::Ready(_) => self.refused = true,
                }
            }
            if self.refused || self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    /// Takes of the body what has come; whether more is waited for.
    fn gather(&mut self, context: &mut Context<'_>) -> Result<bool, BodyError> {
        if self.refused {
            return Ok(false);
        }
        while let Some(body) = &mut self.body {
            if self.sent == self.bytes.len() {
                self.bytes.clear();
                self.sent = 0;
            }
            if self.bytes.len() >= GATHER_BYTES {
                return Ok(false);
            }
            let Poll::Ready(next) = body.poll(context) else { return Ok(true) };
            match next.transpose()? {
                Some(bytes) => frame(&mut self.bytes, &bytes, self.chunked),
                None => {
                    if self.chunked {
                        self.bytes.extend_from_slice(b"0\r\n\r\n");
                    }
                    self.body = None;
                }
            }
        }
        Ok(false)
    }
}

fn frame(into: &mut Vec<u8>, bytes: &[u8], chunked: bool) {
    if !chunked {
        into.extend_from_slice(bytes);
    } else if !bytes.is_empty() {
        // Into memory: this cannot fail.
        write!(into, "{:x}\r\n", bytes.len()).ok();
        into.extend_from_slice(bytes);
        into.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn upload(pieces: &'static [&'static str], left: Option<u64>, allowed: u64) -> Upload {
        let pieces = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let stream: Pin<Box<dyn futures_util::Stream<Item = Result<Bytes, PayloadError>>>> =
            Box::pin(futures_util::stream::iter(pieces));
        let payload = Payload::Stream { payload: stream };
        let body = Incoming { payload, left, allowed, count: Rc::default() };
        Upload::new(b"head;".to_vec(), Some(Box::new(body)))
    }

    #[test]
    fn a_body_is_framed_as_it_came() {
        for (pieces, left, wanted) in [
            (["a", "", "bc"].as_slice(), Some(3), Ok("head;abc")),
            (&["a", "", "bc"], None, Ok("head;1\r\na\r\n2\r\nbc\r\n0\r\n\r\n")),
            (&[], None, Ok("head;0\r\n\r\n")),
            (&["abcdef"], None, Err(BodyError::TooLarge)),
            (&["a"], Some(3), Err(BodyError::Ended)),
            (&["abcd"], Some(3), Err(BodyError::Ended)),
        ] {
            let pieces: &'static [&'static str] = pieces;
            let (mut upload, mut sent) = (upload(pieces, left, 5), Vec::new());
            let polled = upload.poll(&mut sent, &mut Context::from_waker(Waker::noop()));
            let got = match polled {
                Poll::Ready(Ok(())) => Ok(std::str::from_utf8(&sent).unwrap()),
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => panic!("all is there"),
            };
            assert_eq!(got, wanted, "{pieces:?}");
            assert_eq!(upload.complete(), wanted.is_ok());
        }
    }

    #[test]
    fn an_upstream_that_takes_nothing_ends_it() {
        let mut upload = upload(&["abc"], None, 5);
        let mut closed = std::io::Cursor::new([0u8; 0].as_mut_slice());
        let polled = upload.poll(&mut closed, &mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(Ok(())));
        assert!(upload.unsent() && !upload.complete());
    }
}
