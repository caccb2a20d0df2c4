//! Accepts connections on a thread of its own and deals them out to the workers in turn. It stops between two
//! connections, so that whoever waits for its end knows that every accepted one is in a worker's hands.

use crate::policies::connections::{Connections, Guard};
use bytes::BytesMut;
use gatehouse_corridor::telemetry::Telemetry;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

/// Wait after an error that is ours, such as too many open files: trying at once would only spin.
const BACKOFF: Duration = Duration::from_millis(100);

/// Counts a connection for as long as it is open.
#[derive(Debug)]
pub(crate) struct Counted(Arc<Telemetry>);

impl Counted {
    pub(crate) fn new(telemetry: &Arc<Telemetry>) -> Self {
        telemetry.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(telemetry))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection on its way to a worker.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    /// It was served elsewhere: what was read of its next request.
    pub(crate) moved: Option<BytesMut>,
    pub(crate) counted: Counted,
    pub(crate) place: Guard<Arc<Connections>>,
}

/// Accepts until it is stopped.
pub(crate) async fn accept(
    listener: TcpListener,
    lanes: Vec<Sender<Accepted>>,
    stop: CancellationToken,
    (telemetry, open, per_address): (Arc<Telemetry>, Arc<Connections>, u64),
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut turn = lanes.iter().cycle();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // It fails on a connection that is gone already.
                let Ok(stream) = stream.set_nodelay(true).and_then(|()| stream.into_std()) else { continue };
                let Some(place) = Connections::open(Arc::clone(&open), peer.ip(), per_address) else {
                    tracing::debug!(target: "listener", %peer, per_address, "closed: too many connections");
                    continue;
                };
                let counted = Counted::new(&telemetry);
                let accepted = Accepted { stream, peer, moved: None, counted, place };
                // A worker that is behind holds the others up; that is what the queue of the system is for.
                let Some(lane) = turn.next() else { return Ok(()) };
                if lane.send(accepted).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) if refused(&error) => {}
            Err(error) => {
                tracing::warn!(target: "listener", %error, "cannot accept a connection");
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}

/// An error of that one connection, not of ours (accept(2)).
fn refused(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
