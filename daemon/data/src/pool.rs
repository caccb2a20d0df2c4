//! Upstream connections of one worker: last in, first out. No lock, and no wake-up across threads.

use crate::failure::Failure;
use crate::prepare::server::Server;
use crate::upstream::connection::Connection;
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

type Idle = FxHashMap<Arc<str>, Vec<(Connection, Instant)>>;

/// Idle connections by upstream address.
#[derive(Default, Clone)]
pub(crate) struct Pool(Rc<RefCell<Idle>>);

impl Pool {
    /// A connection that was used before, if one is still open and young enough.
    pub(crate) fn take(&self, authority: &Arc<str>, idle_ms: u64, now: Instant) -> Option<Connection> {
        let mut idle = self.0.borrow_mut();
        let stack = idle.get_mut(authority)?;
        while let Some((mut connection, since)) = stack.pop() {
            if now.saturating_duration_since(since) < Duration::from_millis(idle_ms) && connection.again() {
                return Some(connection);
            }
        }
        None
    }

    /// Opens a connection.
    pub(crate) async fn open(&self, server: &Server, connect_ms: u64) -> Result<Connection, Failure> {
        let connecting = TcpStream::connect(&*server.authority);
        let stream = tokio::time::timeout(Duration::from_millis(connect_ms), connecting)
            .await
            .map_err(|_| Failure::Timeout)?
            .map_err(|_| Failure::Connect)?;
        stream.set_nodelay(true).map_err(|_| Failure::Connect)?;
        Ok(Connection::new(Arc::clone(&server.authority), stream))
    }

    /// Gives a connection back after its answer was read to the end.
    pub(crate) fn give(&self, connection: Connection, most: usize) {
        let mut idle = self.0.borrow_mut();
        if !idle.contains_key(&connection.authority) {
            idle.insert(Arc::clone(&connection.authority), Vec::new());
        }
        if let Some(stack) = idle.get_mut(&connection.authority)
            && stack.len() < most
        {
            stack.push((connection, Instant::now()));
        }
    }
}
