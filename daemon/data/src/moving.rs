//! Connections that go on in another process: between two requests nothing of a connection is in memory but what was
//! read of the next one, so that its client notices nothing.

use crate::listener::{Accepted, Counted};
use bytes::BytesMut;
use gatehouse_corridor::telemetry::Telemetry;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc::Sender;

/// A client's connection between two requests. It counts as open here until this is dropped.
#[derive(Debug)]
pub struct Moved {
    /// The connection.
    pub stream: TcpStream,
    /// What was read and belongs to the next request: less than a whole head, or requests sent ahead.
    pub input: BytesMut,
    _counted: Counted,
}

impl Moved {
    /// Takes a connection from its worker; `None` if it is gone.
    pub(crate) fn new((stream, input): (tokio::net::TcpStream, BytesMut), counted: Counted) -> Option<Self> {
        let stream = stream.into_std().ok()?;
        Some(Self { stream, input, _counted: counted })
    }
}

/// Gives connections from elsewhere to the workers, in turn.
#[derive(Debug)]
pub struct Adopter {
    lanes: Vec<Sender<Accepted>>,
    telemetry: Arc<Telemetry>,
    turn: AtomicUsize,
}

impl Adopter {
    pub(crate) fn new(lanes: Vec<Sender<Accepted>>, telemetry: Arc<Telemetry>) -> Self {
        Self { lanes, telemetry, turn: AtomicUsize::new(0) }
    }

    /// Gives a connection, and what was read of it, to a worker; waits while that one is behind.
    ///
    /// # Errors
    /// When the connection is gone, or the worker.
    pub async fn adopt(&self, stream: TcpStream, input: BytesMut) -> std::io::Result<()> {
        let peer = stream.peer_addr()?;
        stream.set_nonblocking(true)?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let ended = || std::io::Error::other("the workers have ended");
        let lane = self.lanes.get(turn % self.lanes.len().max(1)).ok_or_else(ended)?;
        let accepted = Accepted { stream, peer, input, counted: Counted::new(&self.telemetry) };
        lane.send(accepted).await.map_err(|_| ended())
    }
}
