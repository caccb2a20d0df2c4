//! How a room asks the daemon to read its settings anew, as SIGHUP does, and hears what came of it.

use tokio::sync::{mpsc, oneshot};

/// Askers that may wait; more are refused.
const WAITING: usize = 4;

/// Names of the settings that differ and wait for a restart, or every problem that keeps the old ones.
pub type Outcome = Result<Vec<&'static str>, Vec<String>>;

/// The daemon's end: each item is one who waits for the outcome.
pub type Asked = mpsc::Receiver<oneshot::Sender<Outcome>>;

/// The asking end.
#[derive(Debug, Clone)]
pub struct Reloader(mpsc::Sender<oneshot::Sender<Outcome>>);

impl Reloader {
    /// Asks and waits; `None` if the daemon is about to end, or too many wait already.
    pub async fn reload(&self) -> Option<Outcome> {
        let (tell, told) = oneshot::channel();
        self.0.try_send(tell).ok()?;
        told.await.ok()
    }
}

/// Makes both ends.
#[must_use]
pub fn door() -> (Reloader, Asked) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Reloader(sender), receiver)
}
