//! The life of a client's connection: one request after the other, each phase with its bound of time.

use super::answer::send;
use super::head::{BadHead, Head};
use super::stream::{Client, Paced, READ_BYTES};
use crate::failure::Failure;
use crate::http1::ends;
use crate::lane::Lane;
use crate::pipeline;
use crate::policies::proxy_protocol::{self, Parsed};
use crate::rescue::{Told, rescue};
use crate::stages::record::Record;
use bytes::{Buf as _, BytesMut};
use gatehouse_common::limits::HEAD_BYTES;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long a connection is read on after its last answer.
const LINGER: Duration = Duration::from_secs(2);

/// What a connection gave.
enum Next {
    Head,
    Bad(BadHead),
    /// It goes to another process.
    Moves,
    /// It closed, or asked for nothing for long, or the daemon drains.
    End,
    /// A head began and did not end in time.
    Late,
}

/// Serves a connection until it ends; `moved` is what was read of one that comes from another process. What it gives
/// back is to go on in another one, its peer the one it speaks for.
pub(crate) async fn serve(
    lane: Rc<Lane>,
    stream: TcpStream,
    peer: SocketAddr,
    moved: Option<BytesMut>,
) -> Option<(TcpStream, SocketAddr, BytesMut)> {
    let reading = Paced::new(lane.pace, &lane.deadlines);
    // Who was served elsewhere has introduced itself there.
    let introduces = lane.proxy_protocol && moved.is_none();
    let mut client = Client::resumed(stream, peer, moved.unwrap_or_default(), reading);
    let mut head = Head::default();
    if introduces && !introduced(&mut client, &lane).await {
        return None;
    }
    loop {
        let failure = match next(&mut client, &mut head, &lane).await {
            Next::Head => {
                client.begin(&head);
                if pipeline::handle(&lane, &mut client, &head).await {
                    continue;
                }
                if !client.body_done() || !client.input().is_empty() {
                    client.linger(&lane, LINGER).await;
                }
                return None;
            }
            Next::Moves => return Some(client.leave()),
            Next::End => return None,
            Next::Bad(bad) => Failure::Head(bad),
            Next::Late => Failure::LateHead,
        };
        refuse(&mut client, failure, &lane).await;
        client.linger(&lane, LINGER).await;
        return None;
    }
}

/// Reads who the peer speaks for. False: it did not say so in time, and who it is then nobody knows.
async fn introduced(client: &mut Client, lane: &Rc<Lane>) -> bool {
    let mut deadline = lane.deadlines.at(Instant::now() + lane.head_time);
    std::future::poll_fn(|context| {
        loop {
            match client.poll_more(lane, context) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(false),
                Poll::Pending if deadline.passed(context) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
            match proxy_protocol::parse(client.input()) {
                Ok(Parsed::More) if client.input().len() < proxy_protocol::MOST_BYTES => {}
                Ok(Parsed::Head(length, named)) => {
                    client.input().advance(length);
                    client.peer = named.unwrap_or(client.peer);
                    return Poll::Ready(true);
                }
                Ok(Parsed::More) => return Poll::Ready(false),
                Err(error) => {
                    tracing::debug!(target: "listener", peer = %client.peer, error, "closed");
                    return Poll::Ready(false);
                }
            }
        }
    })
    .await
}

/// Answers what is no request; it gets an id and a record all the same.
async fn refuse(client: &mut Client, failure: Failure, lane: &Lane) {
    let nothing = Head::default();
    let mut record = Record::open(lane, &nothing, client.peer.ip(), lane.clock.unix_ms());
    record.name(None);
    let now_ms = lane.clock.unix_ms();
    let mut answer = rescue(failure, None, &Told { lane, strict_envelope: false, now_ms });
    record.refuse(failure);
    record.sign(&mut answer);
    let sent = send(client, &nothing, &mut answer, lane, &mut record.access.bytes_out).await;
    record.close(sent.err());
}

async fn next(client: &mut Client, head: &mut Head, lane: &Rc<Lane>) -> Next {
    let mut deadline = lane.deadlines.at(Instant::now() + lane.idle);
    let mut begun = !client.input().is_empty();
    if begun {
        deadline.again(lane.head_time);
    }
    // What has come is looked at first; after that only when a head may have ended.
    let mut look = begun;
    std::future::poll_fn(|context| {
        loop {
            if lane.is_moving() {
                return Poll::Ready(Next::Moves);
            }
            if look {
                look = false;
                match head.read(client.input()) {
                    Ok(Some(used)) => {
                        client.input().advance(used);
                        return Poll::Ready(Next::Head);
                    }
                    Ok(None) => {}
                    Err(bad) => return Poll::Ready(Next::Bad(bad)),
                }
            }
            let before = client.input().len();
            match client.poll_more(lane, context) {
                Poll::Ready(true) => {
                    if !begun {
                        begun = true;
                        deadline.again(lane.head_time);
                    }
                    let input = client.input();
                    let new = input.get(before.saturating_sub(3)..).unwrap_or_default();
                    // A head that drips is not parsed again for each drop, but one that is none is refused early.
                    look = ends(new)
                        || input.len() >= HEAD_BYTES
                        || before / READ_BYTES != input.len() / READ_BYTES
                        || before == 0;
                }
                Poll::Ready(false) => return Poll::Ready(Next::End),
                Poll::Pending => {
                    // Also how it is told to move.
                    if deadline.passed(context) {
                        return Poll::Ready(if begun { Next::Late } else { Next::End });
                    }
                    if !begun {
                        head.rest();
                    }
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}
