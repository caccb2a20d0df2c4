//! The bytes of one client: what has come and was not used yet, the body of the present request, how fast it all moves.

use super::head::Head;
use crate::deadlines::{Deadline, Deadlines};
use crate::http1::Framing;
use crate::http1::body::{Decoder, Step};
use crate::lane::Lane;
use bytes::BytesMut;
use std::future::Future as _;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::net::TcpStream;

/// Bytes read at once: a head, and most bodies with it.
pub(crate) const READ_BYTES: usize = 16_384;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Why a request body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("longer than allowed")]
    TooLarge,
    #[error("ended early")]
    Ended,
    #[error("broken chunks")]
    Malformed,
    #[error("too slow")]
    Slow,
}

/// How fast the other side must be: within each period so many bytes, or all that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// A period.
    pub period: Duration,
    /// Bytes.
    pub bytes: u64,
}

/// A pace that is being watched; it begins when there is something to wait for.
pub(crate) struct Paced {
    pace: Pace,
    all: Deadlines,
    waiting: Option<(Deadline, u64)>,
}

impl Paced {
    pub(crate) fn new(pace: Pace, all: &Deadlines) -> Self {
        Self { pace, all: all.clone(), waiting: None }
    }

    /// Whether it was too slow, given how many bytes have moved altogether.
    pub(crate) fn lost(&mut self, moved: u64, context: &Context<'_>) -> bool {
        let (deadline, before) =
            self.waiting.get_or_insert_with(|| (self.all.at(Instant::now() + self.pace.period), moved));
        if !deadline.passed(context) {
            return false;
        }
        if moved.saturating_sub(*before) < self.pace.bytes {
            return true;
        }
        *before = moved;
        deadline.again(self.pace.period);
        false
    }

    /// Nothing is waited for.
    pub(crate) fn rest(&mut self) {
        self.waiting = None;
    }
}

/// A client.
pub(crate) struct Client {
    pub(crate) peer: SocketAddr,
    stream: TcpStream,
    input: BytesMut,
    decoder: Decoder,
    /// The client waits to be told that it may send.
    expects: bool,
    /// Of the present request's body: bytes that came, and that may.
    came: u64,
    allowed: u64,
    reading: Paced,
    /// It ends with a reset.
    broken: bool,
}

impl Client {
    #[cfg(test)]
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr, pace: Pace, deadlines: &Deadlines) -> Self {
        Self::resumed(stream, peer, BytesMut::new(), Paced::new(pace, deadlines))
    }

    /// A client of whom something was read before.
    pub(crate) fn resumed(stream: TcpStream, peer: SocketAddr, input: BytesMut, reading: Paced) -> Self {
        let decoder = Decoder::new(Framing::None);
        Self { peer, stream, input, decoder, expects: false, came: 0, allowed: 0, reading, broken: false }
    }

    /// The connection, who it is, and what was read of its next request, once there is no present one.
    pub(crate) fn leave(self) -> (TcpStream, SocketAddr, BytesMut) {
        (self.stream, self.peer, self.input)
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        self.input.reserve(READ_BYTES);
        // The future keeps nothing between two polls.
        pin!(self.stream.read_buf(&mut self.input)).poll(context)
    }

    /// Reads what has come, whatever it is: of a tunnel.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        self.poll_fill(context)
    }

    /// What has come and was not used.
    pub(crate) fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Waits for bytes without holding memory for them. False: the client has closed.
    pub(crate) fn poll_more(&mut self, lane: &Lane, context: &mut Context<'_>) -> Poll<bool> {
        if self.input.capacity() == 0 {
            if ready!(self.stream.poll_read_ready(context)).is_err() {
                return Poll::Ready(false);
            }
            self.input = lane.input();
        }
        match self.poll_fill(context) {
            Poll::Ready(Ok(count)) => Poll::Ready(count > 0),
            Poll::Ready(Err(_)) => Poll::Ready(false),
            Poll::Pending => {
                self.idle(lane);
                Poll::Pending
            }
        }
    }

    /// Gives an empty buffer back.
    pub(crate) fn idle(&mut self, lane: &Lane) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            lane.spare_input(std::mem::take(&mut self.input));
        }
    }

    /// A head was read from the front: what follows is its body.
    pub(crate) fn begin(&mut self, head: &Head) {
        self.decoder = Decoder::new(head.framing.into());
        self.reading.rest();
        (self.expects, self.came, self.allowed) = (head.expects && !self.decoder.done(), 0, u64::MAX);
    }

    /// Bounds the body of the present request, bytes.
    pub(crate) fn allow(&mut self, bytes: u64) {
        self.allowed = bytes;
    }

    /// Body bytes of the present request that came.
    pub(crate) fn came(&self) -> u64 {
        self.came
    }

    /// The present request's body was read to its end.
    pub(crate) fn body_done(&self) -> bool {
        self.decoder.done()
    }

    /// The next piece of the body: so many bytes, for [`Client::piece`]. `None`: its end.
    pub(crate) fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<usize, BodyError>>> {
        loop {
            match self.decoder.next(&mut self.input) {
                Ok(Step::Data(count)) if self.came.saturating_add(count as u64) > self.allowed => {
                    return Poll::Ready(Some(Err(BodyError::TooLarge)));
                }
                Ok(Step::Data(count)) => return Poll::Ready(Some(Ok(count))),
                Ok(Step::End) => {
                    self.reading.rest();
                    return Poll::Ready(None);
                }
                Ok(Step::More) => {}
                Err(_) => return Poll::Ready(Some(Err(BodyError::Malformed))),
            }
            if self.expects {
                // Nothing else is under way to the client, so that this short text is written at once or never.
                match ready!(Pin::new(&mut self.stream).poll_write(context, CONTINUE)) {
                    Ok(count) if count == CONTINUE.len() => self.expects = false,
                    _ => return Poll::Ready(Some(Err(BodyError::Ended))),
                }
            }
            match self.poll_fill(context) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Some(Err(BodyError::Ended))),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if self.reading.lost(self.came, context) => {
                    return Poll::Ready(Some(Err(BodyError::Slow)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// A piece that [`Client::poll_body`] found.
    pub(crate) fn piece(&self, count: usize) -> &[u8] {
        self.input.get(..count).unwrap_or_default()
    }

    /// Drops a piece that was used.
    pub(crate) fn took(&mut self, count: usize) {
        self.came += count as u64;
        self.decoder.took(&mut self.input, count);
        if self.decoder.done() {
            self.reading.rest();
        }
    }

    /// Whether the client has gone; looked at while it waits for an answer. What it sends ahead is kept, a bounded part.
    pub(crate) fn gone(&mut self, context: &mut Context<'_>) -> bool {
        while self.decoder.done() && self.input.len() < READ_BYTES {
            match self.poll_fill(context) {
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return false,
            }
        }
        false
    }

    /// Writes what it can of both, in this order.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let written = match (first.is_empty(), second.is_empty()) {
            (_, true) => ready!(stream.poll_write(context, first)),
            (true, _) => ready!(stream.poll_write(context, second)),
            _ => ready!(stream.poll_write_vectored(context, &[IoSlice::new(first), IoSlice::new(second)])),
        };
        Poll::Ready(match written {
            Ok(0) => Err(std::io::ErrorKind::WriteZero.into()),
            other => other,
        })
    }

    /// The final answer begins: nobody is told to send any more.
    pub(crate) fn answering(&mut self) {
        self.expects = false;
    }

    /// Makes the end of the connection a reset, for an answer whose end it would else be.
    pub(crate) fn reset(&mut self) {
        // On a connection that is gone already it fails, and need not succeed.
        self.broken = self.stream.set_zero_linger().is_ok();
    }

    /// Ends the writing side, then reads on for a while: closing at once would make the kernel throw away what the
    /// client has not read yet, if it is still sending (RFC 9112 9.6).
    pub(crate) async fn linger(&mut self, lane: &Lane, most: Duration) {
        if self.broken {
            return;
        }
        let mut deadline = lane.deadlines.at(Instant::now() + most);
        std::future::poll_fn(|context| {
            if ready!(Pin::new(&mut self.stream).poll_shutdown(context)).is_err() {
                return Poll::Ready(());
            }
            loop {
                self.input.clear();
                match self.poll_fill(context) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(_)) if deadline.passed(context) => return Poll::Ready(()),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending if deadline.passed(context) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A client and its other end.
    pub(crate) async fn pair() -> (Client, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let pace = Pace { period: Duration::from_millis(100), bytes: 10 };
        (Client::new(stream, peer, pace, &Deadlines::default()), other)
    }

    /// Runs as a worker does.
    pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test)
    }

    /// What a body gives whose client sends these pieces, each after a pause, and then nothing more.
    fn body(fields: &str, allowed: u64, pieces: &'static [&'static str]) -> Result<String, BodyError> {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        run(async move {
            let (mut client, mut other) = pair().await;
            let mut head = Head::default();
            head.read(text.as_bytes()).unwrap();
            client.begin(&head);
            client.allow(allowed);
            let sends = async {
                for piece in pieces {
                    tokio::io::AsyncWriteExt::write_all(&mut other, piece.as_bytes()).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
                std::future::pending::<()>().await;
            };
            let reads = async {
                let mut content = String::new();
                while let Some(count) = std::future::poll_fn(|context| client.poll_body(context)).await {
                    let count = count?;
                    content.push_str(std::str::from_utf8(client.piece(count)).unwrap());
                    client.took(count);
                }
                assert!(client.body_done());
                Ok(content)
            };
            tokio::select! {
                () = sends => unreachable!("it waits for ever"),
                content = reads => content,
            }
        })
    }

    #[test]
    fn a_body_comes_whole_or_says_why_not() {
        for (fields, allowed, pieces, wanted) in [
            ("", 5, [].as_slice(), Ok("")),
            ("Content-Length: 3\r\n", 5, &["a", "bcd"], Ok("abc")),
            ("Content-Length: 3\r\nExpect: 100-continue\r\n", 5, &["abc"], Ok("abc")),
            (
                "Transfer-Encoding: chunked\r\n",
                5,
                &["1\r\na\r\n", "2;x\r\nbc\r\n0\r\nT: 1\r\n\r\n"],
                Ok("abc"),
            ),
            ("Transfer-Encoding: chunked\r\n", 5, &["6\r\nabcdef\r\n0\r\n\r\n"], Err(BodyError::TooLarge)),
            ("Transfer-Encoding: chunked\r\n", 5, &["x\r\n"], Err(BodyError::Malformed)),
            ("Content-Length: 30\r\n", 50, &["a"], Err(BodyError::Slow)),
            ("Content-Length: 12\r\n", 50, &["aaaa", "aaaa", "aaaa"], Ok("aaaaaaaaaaaa")),
        ] {
            let pieces: &'static [&'static str] = pieces;
            assert_eq!(body(fields, allowed, pieces), wanted.map(str::to_owned), "{fields} {pieces:?}");
        }
    }
}
