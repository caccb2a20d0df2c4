//! A request on its way upstream: its head, and its body as far as the client has sent it. The head and what there
//! is of the body leave in one write.

use crate::client::stream::{BodyError, Client};
use bytes::Bytes;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Bytes gathered before they are written.
const GATHER_BYTES: usize = 16_384;

/// Where a request's body comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// There is none, or all of it is in the buffer.
    Done,
    /// From the client, as it comes; sent in chunks if no length was said.
    Client { chunked: bool },
    /// It was collected before.
    Whole(Bytes),
}

/// A request that is being sent.
pub(crate) struct Upload {
    bytes: Vec<u8>,
    /// Of `bytes`.
    sent: usize,
    head: usize,
    /// Some byte has left.
    begun: bool,
    source: Source,
    /// As at the beginning, for another attempt.
    first: Source,
    /// The upstream takes no more.
    refused: bool,
    /// It takes nothing at the moment, although there is something.
    blocked: bool,
    /// Nothing lies in between: TLS keeps what the socket did not take.
    flushed: bool,
    /// Bytes that have left, of all attempts.
    moved: u64,
}

impl Upload {
    /// A whole head, and where the body comes from.
    pub(crate) fn new(head: Vec<u8>, source: Source) -> Self {
        let length = head.len();
        Self {
            bytes: head,
            sent: 0,
            head: length,
            begun: false,
            first: source.clone(),
            source,
            refused: false,
            blocked: false,
            flushed: false,
            moved: 0,
        }
    }

    /// Nothing has left.
    pub(crate) fn unsent(&self) -> bool {
        !self.begun
    }

    /// It can be sent from the beginning again: nothing of it came from the client as it was sent.
    pub(crate) fn repeatable(&self) -> bool {
        !matches!(self.first, Source::Client { .. })
    }

    /// All of it has left.
    pub(crate) fn complete(&self) -> bool {
        self.source == Source::Done && self.sent == self.bytes.len() && self.flushed && !self.refused
    }

    /// There is something to send that the upstream does not take.
    pub(crate) fn blocked(&self) -> bool {
        self.blocked
    }

    /// All that the client has sent has left, and more is to come.
    pub(crate) fn hungry(&self) -> bool {
        matches!(self.source, Source::Client { .. }) && self.sent == self.bytes.len() && !self.refused
    }

    /// Bytes that have left, of all attempts.
    pub(crate) fn moved(&self) -> u64 {
        self.moved
    }

    /// Begins anew with a head for another connection. The caller has seen that it may: nothing was sent, or it is
    /// repeatable.
    pub(crate) fn again(&mut self, mut head: Vec<u8>) -> Vec<u8> {
        let length = head.len();
        if self.begun {
            self.source = self.first.clone();
        } else {
            // What was taken from the client and has not left.
            head.extend_from_slice(self.bytes.get(self.head..).unwrap_or_default());
        }
        (self.head, self.sent, self.begun, self.refused) = (length, 0, false, false);
        (self.blocked, self.flushed) = (false, false);
        std::mem::replace(&mut self.bytes, head)
    }

    /// The same again on another connection to the same server.
    pub(crate) fn rewind(&mut self) {
        let head = self.bytes.get(..self.head).unwrap_or_default().to_vec();
        drop(self.again(head));
    }

    /// The buffer, for the next one.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Sends what there is. Ready when all has left or the upstream takes no more: its answer tells why.
    pub(crate) fn poll(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        client: &mut Client,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BodyError>> {
        loop {
            let waits = self.gather(client, context)?;
            if self.write(stream, context).is_pending() {
                self.blocked = true;
                return Poll::Pending;
            }
            self.blocked = false;
            if self.refused || self.source == Source::Done {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    /// Writes all that was gathered, unless the upstream takes no more.
    fn write(&mut self, stream: &mut (impl AsyncWrite + Unpin), context: &mut Context<'_>) -> Poll<()> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty() && !self.refused) {
            match ready!(Pin::new(&mut *stream).poll_write(context, rest)) {
                Ok(count) if count > 0 => {
                    self.sent += count;
                    self.moved += count as u64;
                    (self.begun, self.flushed) = (true, false);
                }
                _ => self.refused = true,
            }
        }
        if !self.flushed && !self.refused {
            match ready!(Pin::new(stream).poll_flush(context)) {
                Ok(()) => self.flushed = true,
                Err(_) => self.refused = true,
            }
        }
        Poll::Ready(())
    }

    /// Takes of the body what has come; whether more is waited for.
    fn gather(&mut self, client: &mut Client, context: &mut Context<'_>) -> Result<bool, BodyError> {
        while !self.refused {
            // The head stays as long as it may be needed again.
            if self.sent == self.bytes.len() && self.begun && !self.repeatable() {
                self.bytes.clear();
                self.sent = 0;
            }
            if self.bytes.len() - self.sent >= GATHER_BYTES {
                return Ok(false);
            }
            match &mut self.source {
                Source::Done => return Ok(false),
                Source::Whole(body) => {
                    self.bytes.extend_from_slice(body);
                    self.source = Source::Done;
                }
                Source::Client { chunked } => {
                    let chunked = *chunked;
                    let Poll::Ready(next) = client.poll_body(context) else { return Ok(true) };
                    match next.transpose()? {
                        Some(count) => {
                            frame(&mut self.bytes, client.piece(count), chunked);
                            client.took(count);
                        }
                        None => {
                            if chunked {
                                self.bytes.extend_from_slice(b"0\r\n\r\n");
                            }
                            self.source = Source::Done;
                        }
                    }
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
    use crate::client::head::Head;
    use crate::client::stream::tests::{pair, run};
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt as _;

    /// What goes upstream of a request whose client sends these pieces and closes.
    fn sent(
        fields: &'static str,
        source: Source,
        pieces: &'static [&'static str],
        allowed: u64,
    ) -> (Result<(), BodyError>, String, bool) {
        run(async move {
            let (mut client, mut other) = pair().await;
            let mut head = Head::default();
            head.read(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()).unwrap();
            client.begin(&head);
            client.allow(allowed);
            let (mut upload, mut sent) = (Upload::new(b"head;".to_vec(), source), Vec::new());
            for piece in pieces {
                other.write_all(piece.as_bytes()).await.unwrap();
            }
            drop(other);
            let polled = poll_fn(|context| upload.poll(&mut sent, &mut client, context)).await;
            (polled, String::from_utf8(sent).unwrap(), upload.complete())
        })
    }

    #[test]
    fn a_body_is_framed_anew() {
        let (plain, chunks) = (Source::Client { chunked: false }, Source::Client { chunked: true });
        for (fields, source, pieces, wanted) in [
            ("Content-Length: 3\r\n", plain.clone(), ["a", "bc"].as_slice(), Ok("head;abc")),
            (
                "Transfer-Encoding: chunked\r\n",
                chunks.clone(),
                &["3\r\nabc\r\n0\r\nT: 1\r\n\r\n"],
                Ok("head;3\r\nabc\r\n0\r\n\r\n"),
            ),
            ("Transfer-Encoding: chunked\r\n", chunks.clone(), &["0\r\n\r\n"], Ok("head;0\r\n\r\n")),
            ("", Source::Whole(Bytes::from_static(b"abc")), &[], Ok("head;abc")),
            ("", Source::Done, &[], Ok("head;")),
            ("Transfer-Encoding: chunked\r\n", chunks, &["6\r\nabcdef\r\n"], Err(BodyError::TooLarge)),
            ("Content-Length: 3\r\n", plain, &["a"], Err(BodyError::Ended)),
        ] {
            let pieces: &'static [&'static str] = pieces;
            let (polled, text, complete) = sent(fields, source, pieces, 5);
            assert_eq!((polled, complete), (wanted.map(drop), wanted.is_ok()), "{pieces:?}");
            assert_eq!(text, wanted.unwrap_or(&text), "{pieces:?}");
        }
    }

    #[test]
    fn an_upstream_that_takes_nothing_ends_it_and_another_gets_all() {
        run(async {
            let (mut client, _other) = pair().await;
            let mut upload = Upload::new(b"head;".to_vec(), Source::Whole(Bytes::from_static(b"abc")));
            let mut room = [0u8; 2];
            let mut closed = std::io::Cursor::new(room.as_mut_slice());
            poll_fn(|context| upload.poll(&mut closed, &mut client, context)).await.unwrap();
            assert!(!upload.unsent() && !upload.complete() && upload.repeatable());
            upload.again(b"head;".to_vec());
            let mut sent = Vec::new();
            poll_fn(|context| upload.poll(&mut sent, &mut client, context)).await.unwrap();
            assert_eq!((sent.as_slice(), upload.complete()), (b"head;abc".as_slice(), true));
        });
    }

    /// Takes so many bytes at once, so often, and counts the writes.
    struct Slow {
        writes: Vec<usize>,
        takes: usize,
        left: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            if self.left == 0 {
                return Poll::Pending;
            }
            self.left -= 1;
            let taken = bytes.len().min(self.takes);
            self.writes.push(taken);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn head_and_first_piece_leave_in_one_write_and_a_full_upstream_is_told() {
        run(async {
            let (mut client, mut other) = pair().await;
            let mut head = Head::default();
            head.read(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n").unwrap();
            for (takes, left, writes, blocked) in [(99, 9, &[8][..], false), (2, 3, &[2, 2, 2], true)] {
                other.write_all(b"abc").await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                client.begin(&head);
                let mut upload = Upload::new(b"head;".to_vec(), Source::Client { chunked: false });
                let mut slow = Slow { writes: Vec::new(), takes, left };
                let done = poll_fn(|context| Poll::Ready(upload.poll(&mut slow, &mut client, context))).await;
                assert_eq!((done.is_pending(), upload.blocked()), (blocked, blocked));
                assert_eq!((&slow.writes[..], upload.moved()), (writes, writes.iter().sum::<usize>() as u64));
                assert_eq!(upload.complete(), !blocked);
            }
        });
    }
}
