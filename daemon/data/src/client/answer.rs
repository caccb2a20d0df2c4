//! An answer on its way to the client: status line and fields once, then the body's pieces from where they lie.

use super::coded::Coded;
use super::head::Head;
use super::recorded::Recorded;
use super::stream::{Client, Paced};
use crate::lane::Lane;
use crate::prepare::server::Busy;
use crate::stages::streamed::Streamed;
use crate::targets::local::Own;
use crate::upstream::connection::Connection;
use bytes::Bytes;
use http::StatusCode;
use std::io::Write as _;
use std::task::{Context, Poll, ready};

/// Pieces up to this are gathered into one write with what is before them; longer ones are written from where they lie.
const COPY_BYTES: usize = 4_096;
/// Bytes gathered before they are written.
const GATHER_BYTES: usize = 16_384;

/// Why an answer was not sent whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The client went away, or takes nothing.
    Client,
    /// The upstream broke off.
    Upstream,
    /// The upstream fell silent.
    Stalled,
    /// Whoever asked may not any more.
    Revoked,
}

/// What stands in an answer behind its head.
pub(crate) enum Content {
    None,
    Whole(Bytes),
    /// From the upstream.
    Streamed(Box<Streamed>),
    /// From the upstream, and into the cache on its way.
    Recorded(Box<Recorded>),
    /// Compressed on its way.
    Coded(Box<Coded>),
    /// From the appliance's own surface.
    Own(Own),
    /// The connection has switched protocols: what follows is a tunnel.
    Tunnel(Box<(Connection, Busy)>),
}

impl Content {
    /// The next piece: so many bytes, for [`Content::piece`]. `None`: its end.
    pub(crate) fn poll(
        &mut self,
        client: &mut Client,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<usize, Cut>>> {
        match self {
            Self::None | Self::Tunnel(_) => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes.len()))),
            Self::Streamed(streamed) => streamed.poll(client, context),
            Self::Recorded(recorded) => recorded.poll(client, context),
            Self::Coded(coded) => coded.poll(client, context),
            Self::Own(own) => own.poll(context),
        }
    }

    pub(crate) fn piece(&self, count: usize) -> &[u8] {
        match self {
            Self::None | Self::Tunnel(_) => &[],
            Self::Whole(bytes) => bytes.get(..count).unwrap_or_default(),
            Self::Streamed(streamed) => streamed.piece(count),
            Self::Recorded(recorded) => recorded.piece(count),
            Self::Coded(coded) => coded.piece(count),
            Self::Own(own) => own.piece(count),
        }
    }

    pub(crate) fn took(&mut self, count: usize) {
        match self {
            Self::None | Self::Tunnel(_) => {}
            Self::Whole(bytes) => bytes::Buf::advance(bytes, count),
            Self::Streamed(streamed) => streamed.took(count),
            Self::Recorded(recorded) => recorded.took(count),
            Self::Coded(coded) => coded.took(count),
            Self::Own(own) => own.took(count),
        }
    }
}

/// An answer: its head without framing, and its content.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and fields.
    pub(crate) head: Vec<u8>,
    pub(crate) content: Content,
    /// Of the content, if it is known. To HEAD that of the content it would have had.
    pub(crate) length: Option<u64>,
}

impl Answer {
    /// Begins with a status line.
    pub(crate) fn new(status: u16, lane: &Lane) -> Self {
        let mut head = lane.buffer();
        match status {
            200 => head.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
            _ => {
                let code = StatusCode::from_u16(status).ok();
                let reason = code.and_then(|code| code.canonical_reason()).unwrap_or("Status");
                // Into memory: this cannot fail.
                write!(head, "HTTP/1.1 {status} {reason}\r\n").ok();
            }
        }
        Self { status, head, content: Content::None, length: Some(0) }
    }

    /// Adds a field. A value that could end the line is left out.
    pub(crate) fn field(&mut self, name: &[u8], value: &[u8]) {
        if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return;
        }
        for part in [name, b": ", value, b"\r\n"] {
            self.head.extend_from_slice(part);
        }
    }

    /// A content that is whole.
    pub(crate) fn with(mut self, content_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        self.field(b"content-type", content_type.as_bytes());
        self.length = Some(bytes.len() as u64);
        self.content = Content::Whole(bytes);
        self
    }
}

/// An answer that is being written.
struct Writer {
    out: Vec<u8>,
    sent: usize,
    chunked: bool,
    /// Of the chunk whose size was written.
    chunk_left: usize,
    ended: bool,
    /// The client takes nothing now.
    blocked: bool,
}

/// Sends an answer; `bytes_out` counts its content. Whether the connection can be used again.
pub(crate) async fn send(
    client: &mut Client,
    request: &Head,
    answer: &mut Answer,
    lane: &Lane,
    bytes_out: &mut u64,
) -> Result<bool, Cut> {
    let bodiless = request.method() == "HEAD" || matches!(answer.status, 100..200 | 204 | 304);
    let chunked = !bodiless && answer.length.is_none() && request.recent;
    let to_close = !bodiless && answer.length.is_none() && !request.recent;
    // What is left of a body that nobody wants: read on if that is quick, else the connection ends.
    let keeps = request.keeps && !to_close && !lane.is_draining() && client.body_done();
    client.answering();
    let mut out = std::mem::take(&mut answer.head);
    match answer.length {
        _ if matches!(answer.status, 100..200 | 204) => {}
        Some(0) if bodiless => {}
        // Into memory: this cannot fail.
        Some(length) => drop(write!(out, "content-length: {length}\r\n")),
        None if chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        None => {}
    }
    let switched = answer.status == 101;
    if !keeps && !switched {
        out.extend_from_slice(b"connection: close\r\n");
    } else if !request.recent && !switched {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    lane.date(&mut out);
    out.extend_from_slice(b"\r\n");
    if bodiless && !switched {
        answer.content = Content::None;
    }
    let mut writer = Writer { out, sent: 0, chunked, chunk_left: 0, ended: false, blocked: false };
    let mut pace = Paced::new(lane.pace, &lane.deadlines);
    let sent = std::future::poll_fn(|context| {
        writer.blocked = false;
        let polled = writer.poll(client, &mut answer.content, bytes_out, context);
        if writer.blocked {
            if pace.lost(*bytes_out, context) {
                return Poll::Ready(Err(Cut::Client));
            }
        } else {
            pace.rest();
        }
        polled
    })
    .await;
    lane.spare(writer.out);
    if to_close && sent.is_err() {
        client.reset();
    }
    sent.map(|()| keeps)
}

impl Writer {
    fn poll(
        &mut self,
        client: &mut Client,
        content: &mut Content,
        bytes_out: &mut u64,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Cut>> {
        loop {
            if self.out.len() >= GATHER_BYTES {
                ready!(self.flush(client, &[], context))?;
            }
            let next = if self.ended { Poll::Ready(None) } else { content.poll(client, context) };
            match next {
                Poll::Ready(Some(Ok(count))) => {
                    let count = self.begin_chunk(count);
                    let used = if count <= COPY_BYTES {
                        self.out.extend_from_slice(content.piece(count));
                        count
                    } else {
                        ready!(self.flush(client, content.piece(count), context))?
                    };
                    content.took(used);
                    *bytes_out += used as u64;
                    self.end_chunk(used);
                }
                Poll::Ready(None) => {
                    if self.chunked && !self.ended {
                        self.out.extend_from_slice(b"0\r\n\r\n");
                    }
                    self.ended = true;
                    ready!(self.flush(client, &[], context))?;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Some(Err(cut))) => {
                    // What came is passed on, as far as the client takes it at once.
                    self.flush(client, &[], context).map_ok(drop).is_ready();
                    return Poll::Ready(Err(cut));
                }
                Poll::Pending => {
                    ready!(self.flush(client, &[], context))?;
                    // Nothing is read of a client whose answer is on its way, but that it left is worth knowing.
                    let gone = client.gone(context);
                    return if gone { Poll::Ready(Err(Cut::Client)) } else { Poll::Pending };
                }
            }
        }
    }

    /// How much of a piece may follow.
    fn begin_chunk(&mut self, count: usize) -> usize {
        if !self.chunked {
            return count;
        }
        if self.chunk_left == 0 {
            // Into memory: this cannot fail.
            write!(self.out, "{count:x}\r\n").ok();
            self.chunk_left = count;
        }
        count.min(self.chunk_left)
    }

    fn end_chunk(&mut self, used: usize) {
        if self.chunked {
            self.chunk_left -= used.min(self.chunk_left);
            if self.chunk_left == 0 {
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Writes what was gathered and then of `piece`; ready when something of the piece was written, or, without one,
    /// when all was.
    fn flush(
        &mut self,
        client: &mut Client,
        piece: &[u8],
        context: &mut Context<'_>,
    ) -> Poll<Result<usize, Cut>> {
        loop {
            let rest = self.out.get(self.sent..).unwrap_or_default();
            if rest.is_empty() && piece.is_empty() {
                self.out.clear();
                self.sent = 0;
                return Poll::Ready(Ok(0));
            }
            let polled = client.poll_write(context, rest, piece);
            self.blocked |= polled.is_pending();
            let written = ready!(polled).map_err(|_| Cut::Client)?;
            let of_piece = written.saturating_sub(rest.len());
            self.sent += written - of_piece;
            if of_piece > 0 {
                self.out.clear();
                self.sent = 0;
                return Poll::Ready(Ok(of_piece));
            }
        }
    }
}
