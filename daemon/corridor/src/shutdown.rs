//! Named phases of the daemon's life that any task can await.

use std::time::Duration;
use tokio::sync::watch;

/// Where the daemon is. Order: running, draining, closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// No new connections; what is in flight may finish until the deadline.
    Draining,
    /// Rooms end, the store is flushed.
    Closing,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The process exits.
    Exit,
    /// The process executes its binary anew, listeners kept.
    Restart,
}

/// The handle that every room holds.
#[derive(Debug, Clone)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
    asked: watch::Sender<Option<Ending>>,
    /// Longest time in [`Phase::Draining`].
    pub drain: Duration,
}

impl Shutdown {
    /// A daemon that runs.
    #[must_use]
    pub fn new(drain: Duration) -> Self {
        Self { phase: watch::Sender::new(Phase::Running), asked: watch::Sender::new(None), drain }
    }

    /// Asks for the end; the first one wins.
    pub fn ask(&self, ending: Ending) {
        self.asked.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(ending);
            first
        });
    }

    /// Waits until the end is asked for.
    pub async fn asked(&self) -> Ending {
        let mut asked = self.asked.subscribe();
        match asked.wait_for(Option::is_some).await {
            Ok(ending) => ending.unwrap_or(Ending::Exit),
            Err(_) => Ending::Exit,
        }
    }

    /// Enters a phase; never goes back. Only `run.rs` calls this.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            if later {
                *now = phase;
            }
            later
        });
    }

    /// The present phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits for a phase or a later one.
    pub async fn reached(&self, phase: Phase) {
        let mut now = self.phase.subscribe();
        // The sender lives in self, so this cannot fail while we wait.
        drop(now.wait_for(|now| *now >= phase).await);
    }
}
