//! Connections that go on in another process: between two requests nothing of a connection is in memory but what was
//! read of the next one, so that its client notices nothing.

use crate::listener::{Accepted, Counted};
use crate::policies::connections::{Connections, Guard};
use bytes::BytesMut;
use gatehouse_corridor::telemetry::Telemetry;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc::Sender;

/// A client's connection between two requests. It counts as open here until this is dropped.
#[derive(Debug)]
pub struct Moved {
    /// The connection.
    pub stream: TcpStream,
    /// The client, which a proxy in front may have named.
    pub peer: SocketAddr,
    /// What was read and belongs to the next request: less than a whole head, or requests sent ahead.
    pub input: BytesMut,
    _open: (Counted, Guard<Arc<Connections>>),
}

impl Moved {
    /// Takes a connection from its worker; `None` if it is gone.
    pub(crate) fn new(
        (stream, peer, input): (tokio::net::TcpStream, SocketAddr, BytesMut),
        open: (Counted, Guard<Arc<Connections>>),
    ) -> Option<Self> {
        let stream = stream.into_std().ok()?;
        Some(Self { stream, peer, input, _open: open })
    }
}

/// Gives connections from elsewhere to the workers, in turn.
#[derive(Debug)]
pub struct Adopter {
    lanes: Vec<Sender<Accepted>>,
    telemetry: Arc<Telemetry>,
    open: Arc<Connections>,
    per_address: u64,
    turn: AtomicUsize,
}

impl Adopter {
    pub(crate) fn new(
        lanes: Vec<Sender<Accepted>>,
        (telemetry, open, per_address): (Arc<Telemetry>, Arc<Connections>, u64),
    ) -> Self {
        Self { lanes, telemetry, open, per_address, turn: AtomicUsize::new(0) }
    }

    /// Gives a connection, and what was read of it, to a worker; waits while that one is behind.
    ///
    /// # Errors
    /// When the connection is gone, or the worker; or its address has too many.
    pub async fn adopt(&self, stream: TcpStream, peer: SocketAddr, input: BytesMut) -> std::io::Result<()> {
        let place = Connections::open(Arc::clone(&self.open), stream.peer_addr()?.ip(), self.per_address);
        let place = place.ok_or_else(|| std::io::Error::other("too many connections of one address"))?;
        stream.set_nonblocking(true)?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let ended = || std::io::Error::other("the workers have ended");
        let lane = self.lanes.get(turn % self.lanes.len().max(1)).ok_or_else(ended)?;
        let counted = Counted::new(&self.telemetry);
        let accepted = Accepted { stream, peer, moved: Some(input), counted, place };
        lane.send(accepted).await.map_err(|_| ended())
    }
}
