//! A connection to an upstream, driven by whoever asks over it.

use super::head::{self, Head};
use super::stream::Stream;
use super::upload::Upload;
use crate::client::stream::{BodyError, Client};
use crate::http1::body::{Decoder, Step};
use crate::http1::{Wrong, ends};
use crate::pool::Ticket;
use bytes::{Buf as _, BytesMut};
use std::future::Future as _;
use std::net::IpAddr;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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
    #[error("the upstream's answer: {0}")]
    Wrong(#[from] Wrong),
}

/// A connection that is free or in use.
#[derive(Debug)]
pub(crate) struct Connection {
    /// It has carried an answer before.
    pub(crate) reused: bool,
    /// Of the present answer.
    pub(crate) head: Head,
    stream: Stream,
    bytes: BytesMut,
    /// Some byte of the present answer has come.
    answered: bool,
    interim: usize,
}

impl Connection {
    pub(crate) fn new(stream: Stream) -> Self {
        let bytes = BytesMut::with_capacity(READ_BYTES);
        Self { reused: false, head: Head::default(), stream, bytes, answered: false, interim: 0 }
    }

    /// Ready for the next request; `false` if it has closed or has spoken unasked.
    pub(crate) fn again(&mut self) -> bool {
        (self.reused, self.answered, self.interim) = (true, false, 0);
        self.bytes.is_empty() && self.stream.quiet()
    }

    /// The address of the other side.
    pub(crate) fn address(&self) -> IpAddr {
        self.stream.address
    }

    /// Which counts it.
    pub(crate) fn ticket(&self) -> &Ticket {
        &self.stream.ticket
    }

    /// For a tunnel, after a head with status 101: the stream, which counts as a connection until it is dropped, and
    /// what came behind the head.
    pub(crate) fn into_parts(self) -> (Stream, BytesMut) {
        (self.stream, self.bytes)
    }

    /// Nothing came behind the answer.
    pub(crate) fn clean(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Some byte of the answer has come, so that the request was taken.
    pub(crate) fn answered(&self) -> bool {
        self.answered
    }

    /// Sends a request that has no body and nobody waits for.
    pub(crate) async fn send(&mut self, head: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(head).await?;
        self.stream.flush().await
    }

    /// Sends.
    pub(crate) fn poll_upload(
        &mut self,
        upload: &mut Upload,
        client: &mut Client,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BodyError>> {
        upload.poll(&mut self.stream, client, context)
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        self.bytes.reserve(READ_BYTES);
        // The future keeps nothing between two polls.
        let read = ready!(pin!(self.stream.read_buf(&mut self.bytes)).poll(context))?;
        self.answered |= read > 0;
        Poll::Ready(Ok(read))
    }

    /// Reads the head of the answer; interim ones are skipped. A switch of protocols (101) is an answer if the request
    /// asked for one.
    pub(crate) fn poll_head(
        &mut self,
        expect_upgrade: bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        // On entry it was looked at before, unless there is nothing.
        let mut look = false;
        loop {
            if look && let Some(used) = self.head.read(&self.bytes)? {
                match self.head.status {
                    101 if !expect_upgrade => {
                        return Poll::Ready(Err(Wrong("a switch of protocols that nobody asked for").into()));
                    }
                    100..=100 | 102..200 if self.interim < INTERIM => {
                        self.bytes.advance(used);
                        self.interim += 1;
                        continue;
                    }
                    100..=100 | 102..200 => {
                        return Poll::Ready(Err(Wrong("too many interim answers").into()));
                    }
                    _ => {
                        self.bytes.advance(used);
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            let before = self.bytes.len();
            if ready!(self.poll_fill(context))? == 0 {
                let cut = if self.answered { Wrong("cut off").into() } else { Broken::Closed };
                return Poll::Ready(Err(cut));
            }
            // A head that drips is not parsed again for each drop.
            look = before == 0
                || ends(self.bytes.get(before.saturating_sub(3)..).unwrap_or_default())
                || self.bytes.len() >= head::HEAD_BYTES;
        }
    }

    /// The next piece of the answer's body: so many bytes, for [`Connection::piece`]. `None`: its end.
    pub(crate) fn poll_body(
        &mut self,
        decoder: &mut Decoder,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<usize, Broken>>> {
        loop {
            match decoder.next(&mut self.bytes) {
                Ok(Step::Data(count)) => return Poll::Ready(Some(Ok(count))),
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

    /// A piece that [`Connection::poll_body`] found.
    pub(crate) fn piece(&self, count: usize) -> &[u8] {
        self.bytes.get(..count).unwrap_or_default()
    }

    /// Drops a piece that was used.
    pub(crate) fn took(&mut self, decoder: &mut Decoder, count: usize) {
        decoder.took(&mut self.bytes, count);
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::Wire;
    use super::super::upload::{Source, Upload};
    use super::*;
    use crate::client::stream::tests::{pair, run};
    use std::future::poll_fn;
    use std::io::{Read as _, Write as _};
    use tokio::net::TcpStream;

    /// Status and content, or the error, of an upstream that sends these pieces and closes; and whether the connection
    /// could be used again.
    fn ask(
        pieces: &'static [&'static str],
        to_head: bool,
        upgrade: bool,
    ) -> (Result<(u16, String), String>, bool) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
            for piece in pieces {
                stream.write_all(piece.as_bytes()).unwrap();
                std::thread::park_timeout(std::time::Duration::from_millis(5));
            }
        });
        let asked = run(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut connection =
                Connection::new(Stream::new(Wire::Plain(stream), address.ip(), Ticket::free()));
            let mut upload = Upload::new(b"head".to_vec(), Source::Done);
            let (mut client, _other) = pair().await;
            poll_fn(|context| connection.poll_upload(&mut upload, &mut client, context)).await.unwrap();
            let answer = async {
                poll_fn(|context| connection.poll_head(upgrade, context)).await?;
                let framing = connection.head.framing(to_head);
                let (mut decoder, mut content) = (Decoder::new(framing), Vec::new());
                while let Some(count) = poll_fn(|context| connection.poll_body(&mut decoder, context)).await {
                    let count = count?;
                    content.extend_from_slice(connection.piece(count));
                    connection.took(&mut decoder, count);
                }
                let keeps = connection.head.keeps;
                Ok::<_, Broken>((connection.head.status, String::from_utf8(content).unwrap(), keeps))
            };
            let answer = answer.await.map_err(|error| error.to_string());
            let keeps = answer.as_ref().is_ok_and(|(_, _, keeps)| *keeps) && connection.clean();
            (answer.map(|(status, content, _)| (status, content)), keeps)
        });
        served.join().unwrap();
        asked
    }

    #[test]
    fn answers_are_read_to_their_end_and_no_further() {
        for (pieces, to_head, status, content, again) in [
            (["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"].as_slice(), false, 200, "abc", true),
            (&["HTTP/1.1 200 OK\r\nContent-", "Length: 3\r", "\n\r", "\na", "bc"], false, 200, "abc", true),
            (
                &[
                    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n",
                    "HTTP/1.1 204 No\r\n\r\n",
                ],
                false,
                204,
                "",
                true,
            ),
            (
                &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", "0\r\n\r\n"],
                false,
                200,
                "a",
                true,
            ),
            (&["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"], true, 200, "", true),
            (&["HTTP/1.1 200 OK\r\n\r\nab", "c"], false, 200, "abc", true),
            (&["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc"], false, 200, "a", false),
            (&["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"], true, 200, "", false),
            (&["HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na"], false, 200, "a", false),
        ] {
            let pieces: &'static [&'static str] = pieces;
            assert_eq!(ask(pieces, to_head, false), (Ok((status, content.to_owned())), again), "{pieces:?}");
        }
    }

    #[test]
    fn answers_that_are_none_are_errors() {
        for (pieces, error) in [
            ([].as_slice(), "the upstream closed the connection"),
            (&["HTTP/1.1 200 OK\r\n"], "the upstream's answer: cut off"),
            (&["hello"], "the upstream's answer: no head of HTTP/1.1"),
            (
                &["HTTP/1.1 101 Switching\r\n\r\n"],
                "the upstream's answer: a switch of protocols that nobody asked for",
            ),
            (&["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na"], "the upstream's answer: cut off"),
            (
                &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na"],
                "the upstream's answer: cut off",
            ),
            (
                &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz"],
                "the upstream's answer: broken chunks",
            ),
        ] {
            let pieces: &'static [&'static str] = pieces;
            assert_eq!(ask(pieces, false, false), (Err(error.to_owned()), false), "{pieces:?}");
        }
    }

    #[test]
    fn a_switch_of_protocols_that_was_asked_for_gives_the_stream_and_what_came_behind_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 101 S\r\nUpgrade: x\r\n\r\nfirst").unwrap();
            let mut sent = [0; 4];
            stream.read_exact(&mut sent).unwrap();
            stream.write_all(&sent).unwrap();
        });
        run(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let stream = Stream::new(Wire::Plain(stream), address.ip(), Ticket::free());
            let mut connection = Connection::new(stream);
            poll_fn(|context| connection.poll_head(true, context)).await.unwrap();
            assert_eq!(connection.head.status, 101);
            let (mut stream, mut bytes) = connection.into_parts();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"then").await.unwrap();
            while bytes.len() < 9 {
                stream.read_buf(&mut bytes).await.unwrap();
            }
            assert_eq!(&bytes[..], b"firstthen");
        });
        served.join().unwrap();
    }
}
