//! Upstream connections of one worker: last in, first out, each driven by a task of the same worker. No
//! lock, and no wake-up across threads.

use crate::failure::Failure;
use crate::stages::forward::Outgoing;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// A connection that is free or in use.
pub(crate) struct Connection {
    pub(crate) authority: Arc<str>,
    pub(crate) sender: SendRequest<Outgoing>,
    pub(crate) reused: bool,
}

type Idle = HashMap<Arc<str>, Vec<(SendRequest<Outgoing>, Instant)>>;

/// Idle connections by upstream address.
#[derive(Default, Clone)]
pub(crate) struct Pool(Rc<RefCell<Idle>>);

impl Pool {
    /// A connection that was used before, if one is still open and young enough.
    pub(crate) fn take(&self, authority: &Arc<str>, idle_ms: u64) -> Option<Connection> {
        let mut idle = self.0.borrow_mut();
        let stack = idle.get_mut(authority)?;
        while let Some((sender, since)) = stack.pop() {
            if sender.is_ready() && since.elapsed() < Duration::from_millis(idle_ms) {
                return Some(Connection { authority: Arc::clone(authority), sender, reused: true });
            }
        }
        None
    }

    /// Opens a connection; its own task drives it.
    pub(crate) async fn open(&self, authority: &Arc<str>, connect_ms: u64) -> Result<Connection, Failure> {
        let connecting = TcpStream::connect(&**authority);
        let stream = tokio::time::timeout(Duration::from_millis(connect_ms), connecting)
            .await
            .map_err(|_| Failure::Timeout)?
            .map_err(|_| Failure::Connect)?;
        stream.set_nodelay(true).map_err(|_| Failure::Connect)?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Connect)?;
        drop(actix_web::rt::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(target: "forward", %error, "upstream connection ended");
            }
        }));
        Ok(Connection { authority: Arc::clone(authority), sender, reused: false })
    }

    /// Gives a connection back after its answer was read to the end.
    pub(crate) fn give(&self, connection: Connection, most: usize) {
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = self.0.borrow_mut();
        let stack = idle.entry(connection.authority).or_default();
        if stack.len() < most {
            stack.push((connection.sender, Instant::now()));
        }
    }
}
