//! A connection that has switched to WebSocket (RFC 9110 7.8, RFC 6455 4): bytes both ways, as they come, until one side
//! ends. What is said in them is none of the gateway's business; how much is counted.

use super::answer::Cut;
use super::stream::{Client, READ_BYTES};
use crate::lane::Lane;
use crate::upstream::stream::Stream;
use bytes::{Buf as _, BytesMut};
use gatehouse_corridor::telemetry::AccessRecord;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

/// A tunnel through which nothing goes for so long is taken for dead. Peers that are alive ping each other.
const SILENCE: Duration = Duration::from_secs(600);

/// One direction.
#[derive(PartialEq, Eq)]
enum Way {
    Open,
    /// The source has ended; what came is still to be written.
    Ending,
    Ended,
}

/// Carries until both ways have ended, one breaks, or nothing goes for long.
pub(crate) async fn tunnel(
    client: &mut Client,
    (mut upstream, mut down): (Stream, BytesMut),
    lane: &Lane,
    access: &mut AccessRecord,
) -> Result<(), Cut> {
    let (mut up_way, mut down_way) = (Way::Open, Way::Open);
    let mut deadline = lane.deadlines.at(Instant::now() + SILENCE);
    let mut before = (0, 0);
    poll_fn(|context| {
        let up = poll_up(client, &mut upstream, &mut up_way, &mut access.bytes_in, context);
        let down =
            poll_down(client, &mut upstream, (&mut down, &mut down_way), &mut access.bytes_out, context);
        match (up, down) {
            (Poll::Ready(Err(cut)), _) | (_, Poll::Ready(Err(cut))) => Poll::Ready(Err(cut)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            // An upstream that has said all is done; a client may only have ended its own side.
            (_, Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ if !deadline.passed(context) => Poll::Pending,
            _ if before == (access.bytes_in, access.bytes_out) => Poll::Ready(Err(Cut::Stalled)),
            _ => {
                before = (access.bytes_in, access.bytes_out);
                deadline.again(SILENCE);
                Poll::Pending
            }
        }
    })
    .await
}

fn poll_up(
    client: &mut Client,
    upstream: &mut Stream,
    way: &mut Way,
    count: &mut u64,
    context: &mut Context<'_>,
) -> Poll<Result<(), Cut>> {
    loop {
        while !client.input().is_empty() {
            let written = ready!(Pin::new(&mut *upstream).poll_write(context, client.input()));
            let written = written.ok().filter(|written| *written > 0).ok_or(Cut::Upstream)?;
            client.input().advance(written);
            *count += written as u64;
        }
        ready!(Pin::new(&mut *upstream).poll_flush(context)).map_err(|_| Cut::Upstream)?;
        match way {
            Way::Ended => return Poll::Ready(Ok(())),
            Way::Ending => {
                ready!(Pin::new(&mut *upstream).poll_shutdown(context)).map_err(|_| Cut::Upstream)?;
                *way = Way::Ended;
            }
            Way::Open => match ready!(client.poll_read(context)) {
                Ok(0) => *way = Way::Ending,
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err(Cut::Client)),
            },
        }
    }
}

fn poll_down(
    client: &mut Client,
    upstream: &mut Stream,
    (bytes, way): (&mut BytesMut, &mut Way),
    count: &mut u64,
    context: &mut Context<'_>,
) -> Poll<Result<(), Cut>> {
    loop {
        while !bytes.is_empty() {
            let written = ready!(client.poll_write(context, bytes, &[])).map_err(|_| Cut::Client)?;
            bytes.advance(written);
            *count += written as u64;
        }
        if *way != Way::Open {
            return Poll::Ready(Ok(()));
        }
        bytes.reserve(READ_BYTES);
        let read = std::pin::pin!(upstream.read_buf(bytes)).poll(context);
        match ready!(read) {
            Ok(0) => *way = Way::Ended,
            Ok(_) => {}
            Err(_) => return Poll::Ready(Err(Cut::Upstream)),
        }
    }
}
